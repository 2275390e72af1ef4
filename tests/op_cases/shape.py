"""Test inputs for slice, concat, reshape, transpose and pad."""

from __future__ import annotations

import numpy as np

from .case import Case


def _normal(*shapes):
    return lambda rng, rows: tuple(rng.normal(size=(rows, *shape)) for shape in shapes)


def _axis(axis: int) -> int:
    """An axis of the row, with the batch in front."""
    return axis if axis < 0 else axis + 1


def slice_(x, axis, start=None, stop=None, step=1):
    y = np.moveaxis(x, _axis(axis), -1)[..., start:stop:step]
    return np.moveaxis(y, -1, _axis(axis))


def concat(*xs, axis=-1):
    return np.concatenate(xs, axis=_axis(axis))


def reshape(x, shape):
    return x.reshape(len(x), *((shape,) if isinstance(shape, int) else shape))


def transpose(x, axes=None):
    rank = x.ndim - 1
    order = range(rank)[::-1] if axes is None else [axis % rank for axis in axes]
    return x.transpose(0, *(axis + 1 for axis in order))


def pad(x, widths, value=0.0):
    return np.pad(x, ((0, 0), *widths), constant_values=value)


def _slice(*shape, **attributes) -> Case:
    return Case(_normal(shape), slice_, attributes)


def _concat(*shapes, axis=-1) -> Case:
    return Case(_normal(*shapes), concat, {"axis": axis})


def _reshape(before, after) -> Case:
    return Case(_normal(before), reshape, {"shape": after})


def _transpose(*shape, axes=None) -> Case:
    return Case(_normal(shape), transpose, {"axes": axes})


def _pad(*shape, widths, **attributes) -> Case:
    return Case(_normal(shape), pad, {"widths": widths, **attributes})


def sort(x):
    return np.sort(x, axis=-1)


def _sort(*shape) -> Case:
    """Values that are at least 0.05 apart."""

    def sample(rng, rows):
        n = rows * int(np.prod(shape))
        x = 0.1 * rng.permutation(n) + rng.uniform(0.0, 0.05, n) - 0.05 * n
        return (x.reshape(rows, *shape),)

    return Case(sample, sort)


CASES: dict[str, list[Case]] = {
    "slice": [
        _slice(7, axis=0, start=2, stop=5),
        _slice(7, axis=-1),
        _slice(50, axis=0, start=3),
        _slice(50, axis=0, stop=-4),
        _slice(50, axis=0, start=1, stop=44, step=3),
        _slice(19, axis=-1, start=-2, stop=1, step=-4),
        _slice(9, axis=0, step=-1),
        _slice(5, 21, axis=0, start=1, stop=4),
        _slice(5, 21, axis=1, start=20),
        _slice(6, 5, 3, axis=1, start=-3, step=2),
        _slice(6, 5, 18, axis=0, start=5, stop=None, step=-2),
        _slice(2, 3, 37, axis=-1, start=-36, stop=-1, step=7),
    ],
    "concat": [
        _concat((3,), (5,)),
        _concat((1,), (17,), (40,), (2,)),
        _concat((9,)),
        _concat((4, 3), (4, 18), axis=-1),
        _concat((4, 3), (20, 3), (1, 3), axis=0),
        _concat((2, 3, 5), (2, 1, 5), (2, 7, 5), axis=1),
        _concat((2, 3, 5), (4, 3, 5), axis=-3),
        _concat((35,), (70,), axis=0),
        _concat((6,), (6,), (6,)),
        _concat((3, 5), (3, 5), axis=0),
    ],
    "reshape": [
        _reshape((12,), (3, 4)),
        _reshape((3, 7), (-1,)),
        _reshape((3, 7), 21),
        _reshape((2, 5, 9), (5, -1)),
        _reshape((1,), ()),
        _reshape((), (1, 1)),
        _reshape((6, 35), (2, 3, 5, 7)),
    ],
    "transpose": [
        _transpose(5),
        _transpose(3, 7),
        _transpose(19, 33),
        _transpose(70, 66),
        _transpose(2, 3, 5),
        _transpose(2, 3, 5, axes=(0, 2, 1)),
        _transpose(17, 3, 18, axes=(1, 0, 2)),
        _transpose(4, 17, 20, axes=(1, 2, 0)),
        _transpose(4, 17, 20, axes=(-1, 0, 1)),
        _transpose(1, 6, 1, 5, axes=(3, 2, 1, 0)),
        _transpose(3, 4, 5, 6, axes=(2, 0, 3, 1)),
        _transpose(2, 3, 4, 2, 3, axes=(4, 1, 3, 0, 2)),
        _transpose(2, 3, 2, 4, 3, 2, axes=(5, 3, 1, 4, 2, 0)),
        _transpose(2, 3, 2, 4, 3, 2, axes=(2, 1, 0, 3, 5, 4)),
        _transpose(2, 3, 4, axes=(0, 1, 2)),
    ],
    "pad": [
        _pad(5, widths=((2, 3),)),
        _pad(5, widths=((0, 0),), value=9.0),
        _pad(40, widths=((17, 0),), value=-1.5),
        _pad(3, 7, widths=((0, 0), (1, 20))),
        _pad(3, 7, widths=((2, 1), (0, 0)), value=0.25),
        _pad(3, 7, widths=((1, 2), (3, 4)), value=2.0),
        _pad(2, 5, 3, widths=((0, 0), (4, 1), (0, 0))),
        _pad(2, 5, 18, widths=((1, 1), (0, 0), (2, 0)), value=-3.0),
        _pad(2, 1, 3, 2, 2, 3, widths=((1, 0), (0, 1), (2, 0), (0, 2), (1, 1), (3, 0)), value=7.0),
    ],
    "sort": [_sort(1), _sort(2), _sort(7), _sort(16), _sort(100), _sort(4, 5), _sort(2, 3, 65)],
}
