"""Random operations: bernoulli, and draws from distributions.

A draw is a function of the tape's seed, this node, the step, the row, and the element's place in
it. The row is known by its number among the rows of the batch or the data, or where ``key`` is
given by the bits of the numbers in it: what is drawn for it then does not depend on where it
stands. Draws in float32 are those of float64, rounded.
"""

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


def _drawn(x, key, flops: float) -> Row:
    n = size_of(x.shape)
    return Row(x.shape, (n, 0 if key is None else size_of(key.shape)), flops=flops * n)


@op(differentiable=(), random=True)
def random_uniform(x, key=None, /):
    """A number of (0, 1) for each element of ``x``'s shape, of 52 random bits (float32: 24)."""
    return _drawn(x, key, 20.0)


@op(differentiable=(), random=True)
def random_normal(x, key=None, /):
    """A standard normal number for each element of ``x``'s shape (Box and Muller)."""
    return _drawn(x, key, 80.0)


@op(differentiable=(), random=True)
def random_gamma(shape, key=None, /):
    """A gamma variable of scale 1 for each ``shape`` >= 0; NaN for others.

    Marsaglia and Tsang, A simple method for generating gamma variables, ACM TOMS 26, 2000.
    """
    return _drawn(shape, key, 300.0)


@op(differentiable=(), random=True)
def random_poisson(rate, key=None, /):
    """A Poisson variable for each ``rate`` >= 0; NaN for others.

    By inversion below a rate of 10, by transformed rejection from there on (Hormann, Insurance:
    Mathematics and Economics 12, 1993); both are exact.
    """
    return _drawn(rate, key, 300.0)
