"""Test inputs of matmul, affine and broadcast."""

from __future__ import annotations

import numpy as np

from .case import Case


def _matmul_case(row_shape: tuple[int, ...], n: int, bias: bool) -> Case:
    def sample(rng, rows):
        k = row_shape[-1]
        x = rng.normal(size=(rows, *row_shape))
        w = rng.normal(size=(k, n))
        return x, w, rng.normal(size=n) if bias else None

    return Case(sample, _matmul, weights=(1, 2) if bias else (1,))


def _matmul(x, w, bias=None):
    y = np.einsum("...k,kn->...n", x, w)
    return y if bias is None else y + bias


def _broadcast_case(row_shape: tuple[int, ...], shape: tuple[int, ...]) -> Case:
    def sample(rng, rows):
        return (rng.normal(size=(rows, *row_shape)),)

    return Case(sample, _broadcast, {"shape": shape})


def _broadcast(x, *, shape):
    ones = (1,) * (len(shape) - x.ndim + 1)
    return np.broadcast_to(x.reshape(len(x), *ones, *x.shape[1:]), (len(x), *shape))


def _affine_case(row_shape: tuple[int, ...], centered: bool) -> Case:
    def sample(rng, rows):
        x, columns = rng.normal(size=(rows, *row_shape)), rng.normal(size=(3, row_shape[-1]))
        return x, columns[0], columns[1], columns[2] if centered else None

    return Case(sample, _affine, weights=(1, 2, 3) if centered else (1, 2))


def _affine(x, scale, shift, center=None):
    return (x if center is None else x - center) * scale + shift


CASES = {
    "affine": [
        _affine_case(row_shape, centered)
        for row_shape in [(1,), (3,), (7, 5), (19,), (2, 3, 33)]
        for centered in (False, True)
    ],
    "matmul": [
        _matmul_case(row_shape, n, bias)
        for row_shape, n in [
            ((5,), 1),
            ((1,), 6),
            ((3,), 2),
            ((7,), 17),
            ((19,), 33),
            ((4, 3), 5),
            ((2, 3, 4), 3),
        ]
        for bias in (False, True)
    ],
    "broadcast": [
        _broadcast_case(row_shape, shape)
        for row_shape, shape in [
            ((), ()),
            ((), (5,)),
            ((3,), (3,)),
            ((1,), (18,)),
            ((3,), (4, 3)),
            ((4, 1), (4, 19)),
            ((1, 3), (2, 3)),
            ((2, 1, 3), (2, 4, 3)),
            ((1, 4, 1), (2, 4, 5)),
            ((2, 1, 2, 1, 3), (2, 2, 2, 3, 3)),
            ((1, 2, 1, 2, 1, 2), (2, 2, 3, 2, 2, 2)),
        ]
    ],
}
