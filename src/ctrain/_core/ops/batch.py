"""Operations that read every row of the batch."""

from __future__ import annotations

from operator import index

from .table import Row, op, size_of


@op(batch=True)
def batch_mean(x, /):
    """Average over the rows of the batch; the output has no batch axis.

    Every row of a training batch counts once, whatever its sample weight. What depends on it is
    computed after all rows have been seen, so such a network runs in two stages and its batch is
    not cut into slabs.

    Parameters
    ----------
    x : Tensor
        Row-level.

    Returns
    -------
    Tensor
        Parameter-level, of `x`'s row shape.
    """
    size = size_of(x.shape)
    return Row(x.shape, (size,), (), size)


@op(reads=(0, "out"), batch=True)
def batch_moments(x, /, count=1, ddof=0):
    """Mean and variance over the batch, from the :func:`moments` of ``count`` values in each row.

    Every row counts once, as in :func:`batch_mean`. Sums are float64.

    Parameters
    ----------
    x : Tensor
        Row-level, shape (2, n): mean and variance of a row.
    count : int, default=1
        Values that a row has of each column.
    ddof : int, default=0
        The variance is the sum of squares by ``rows * count - ddof``; NaN where that is not
        positive.

    Returns
    -------
    Tensor
        Parameter-level, shape (2, n).
    """
    if len(x.shape) != 2 or x.shape[0] != 2:
        raise ValueError(f"batch_moments: x must be (2, n), mean and variance; it is {x.shape}")
    if index(count) < 1 or index(ddof) < 0:
        raise ValueError(
            f"batch_moments: count must be at least 1 and ddof 0, they are {count} and {ddof}"
        )
    return Row(x.shape, (x.shape[1], index(count), index(ddof)), flops=6.0 * x.shape[1])
