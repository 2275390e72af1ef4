"""Operations that read every row of the batch."""

from __future__ import annotations

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
