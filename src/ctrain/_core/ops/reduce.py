"""Operations along axes of the row: sum, mean, max, cumsum, softmax; median and ratio."""

from __future__ import annotations

from .shape import around, axis_of
from .table import Row, op, size_of

MAX_BLOCKS = 3  # groups of neighbouring axes that are reduced at once


def _cells(name: str, x, axis, keepdims: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shape of the result, and sizes of x as (kept, reduced) * 3, kept."""
    if axis is None:
        axes = set(range(len(x.shape)))
    else:
        given = tuple(axis) if isinstance(axis, tuple | list) else (axis,)
        axes = {axis_of(name, x.shape, a) for a in given}
        if len(axes) != len(given):
            raise ValueError(f"{name}: an axis is named twice in {axis}, x has row shape {x.shape}")
    blocks: list[list[int]] = [[1]]  # kept, reduced, kept, ... from the front
    for i, n in enumerate(x.shape):
        if n == 1:
            continue
        if (i in axes) == (len(blocks) % 2 == 0):
            blocks[-1].append(n)
        else:
            blocks.append([n])
    if len(blocks) % 2 == 0:
        blocks.append([1])
    if len(blocks) > 2 * MAX_BLOCKS + 1:
        raise ValueError(
            f"{name}: at most {MAX_BLOCKS} groups of neighbouring axes, axis is {axis} of x "
            f"{x.shape}; transpose x first"
        )
    sizes = (1,) * (2 * MAX_BLOCKS + 1 - len(blocks)) + tuple(size_of(tuple(b)) for b in blocks)
    if keepdims:
        return tuple(1 if i in axes else n for i, n in enumerate(x.shape)), sizes
    return tuple(n for i, n in enumerate(x.shape) if i not in axes), sizes


@op()
def sum_(x, /, axis=None, keepdims=False):
    """Sum over one axis, several or all axes of the row."""
    shape, sizes = _cells("sum", x, axis, keepdims)
    return Row(shape, sizes, flops=size_of(x.shape))


@op()
def mean(x, /, axis=None, keepdims=False):
    """Mean over one axis, several or all axes of the row."""
    shape, sizes = _cells("mean", x, axis, keepdims)
    if size_of(x.shape) == 0:
        raise ValueError(f"mean: x of row shape {x.shape} has no elements")
    return Row(shape, sizes, flops=size_of(x.shape) + size_of(shape))


@op(reads=(0, "out"))
def moments(x, /):
    """Mean and biased variance of each column of ``x`` (..., n), shape (2, n)."""
    if not x.shape:
        raise ValueError("moments: x needs an axis, its row shape is ()")
    n = x.shape[-1]
    return Row((2, n), (size_of(x.shape[:-1]), n), flops=4.0 * size_of(x.shape))


@op(reads=(0, "out"))
def max_(x, /, axis=None, keepdims=False):
    """Largest element over one axis, several or all axes of the row; NaN if there is one.

    The gradient goes to the first of equal elements.
    """
    shape, sizes = _cells("max", x, axis, keepdims)
    if size_of(x.shape) == 0:
        raise ValueError(f"max: x of row shape {x.shape} has no elements")
    return Row(shape, sizes, flops=size_of(x.shape))


@op()
def cumsum(x, /, axis=-1):
    """Running sum along an axis of the row, added in order."""
    sizes = around(x.shape, axis_of("cumsum", x.shape, axis))
    return Row(x.shape, sizes, flops=size_of(x.shape))


@op(reads=("out",))
def softmax(x, /, axis=-1):
    """``exp(x) / sum(exp(x))`` along an axis of the row; ``-inf`` masks an element.

    Computed from ``x - max(x)``, so that no exponential overflows.
    """
    sizes = around(x.shape, axis_of("softmax", x.shape, axis))
    return Row(x.shape, sizes, flops=25.0 * size_of(x.shape))


@op(reads=("out",))
def log_softmax(x, /, axis=-1):
    """``x - log(sum(exp(x)))`` along an axis of the row, computed from ``x - max(x)``."""
    sizes = around(x.shape, axis_of("log_softmax", x.shape, axis))
    return Row(x.shape, sizes, flops=25.0 * size_of(x.shape))


@op(differentiable=(), broadcasts=True)
def median(x, mask, /, axis=None, keepdims=False):
    """Median of the elements whose mask is not 0, of the row or along its last axis; 0 of none.

    Of an even number it is the mean of the two in the middle; NaN if there is one. It has no
    gradient. ``axis`` is None or the last one.
    """
    outer = () if axis is None else x.shape[:-1]
    if axis is not None and axis_of("median", x.shape, axis) != len(x.shape) - 1:
        raise ValueError(f"median: axis must be None or the last of x {x.shape}, it is {axis}")
    kept = (1,) * (len(x.shape) - len(outer)) if keepdims else ()
    n = size_of(x.shape[len(outer) :])
    return Row((*outer, *kept), (n, size_of(outer)), flops=64.0 * size_of(x.shape))


@op(reads=(1,), differentiable=(0,), broadcasts=True)
def ratio(sum, count, /):
    """``sum / count``, 0 where ``count`` is 0.

    As a loss it is averaged as the sum of ``sum`` over the sum of ``count``, so that rows with
    more counted elements weigh more. ``count`` has no gradient.
    """
    return Row(sum.shape, (size_of(sum.shape),), flops=size_of(sum.shape))
