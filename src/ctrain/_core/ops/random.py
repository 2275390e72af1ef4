"""Random operations: bernoulli."""

from __future__ import annotations

from .table import Row, op, size_of


@op(differentiable=(), random=True)
def bernoulli(x, /, p=0.5, scale=1.0):
    """``scale`` with probability ``p``, else 0: one draw for each element of ``x``'s shape.

    The draw is a function of the tape's seed, this node, the step, the identity of the row and
    the element's place in it, and of nothing else: not of the values of ``x``, the dtype, the
    batch or the threads. ``p`` is rounded to a multiple of 2**-32.
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"bernoulli: p must be between 0 and 1, it is {p}")
    size = size_of(x.shape)
    return Row(x.shape, (size, round(p * 2**32)), (float(scale),), flops=4.0 * size)
