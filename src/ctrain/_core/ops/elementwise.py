"""Elementwise operations. Two inputs are broadcast to one shape before the kernel sees them.

Where a function has a kink, the gradient is PyTorch's: 0 at 0 for abs and relu; minimum and
maximum share it equally where their inputs tie; clip passes it on the closed interval. NaN stays
NaN in every value.
"""

from __future__ import annotations

import math

from .table import Row, op, size_of


def _like(x, flops: float, *floats: float) -> Row:
    """A row of x's shape; ``flops`` for one element."""
    n = size_of(x.shape)
    return Row(x.shape, (n,), floats, flops * n)


def _finite(name: str, **values: float) -> None:
    for key, value in values.items():
        if not math.isfinite(value):
            raise ValueError(f"{name}: {key} must be a finite number, got {value}")


def _not_negative(name: str, **values: float) -> None:
    _finite(name, **values)
    for key, value in values.items():
        if value < 0:
            raise ValueError(f"{name}: {key} must not be negative, got {value}")


@op(broadcasts=True)
def add(a, b, /):
    """``a + b``"""
    return _like(a, 1)


@op(broadcasts=True)
def sub(a, b, /):
    """``a - b``"""
    return _like(a, 1)


@op(reads=(0, 1), broadcasts=True)
def mul(a, b, /):
    """``a * b``"""
    return _like(a, 1)


@op(reads=(1, "out"), broadcasts=True)
def div(a, b, /):
    """``a / b``"""
    return _like(a, 1)


@op(reads=(0, 1), broadcasts=True)
def minimum(a, b, /):
    """The smaller of a and b; NaN if either is."""
    return _like(a, 1)


@op(reads=(0, 1), broadcasts=True)
def maximum(a, b, /):
    """The larger of a and b; NaN if either is."""
    return _like(a, 1)


@op(reads=(0,), differentiable=(1, 2), broadcasts=True)
def where(condition, a, b, /):
    """a where condition is not zero, else b."""
    return _like(a, 1)


@op()
def scale(x, /, factor=1.0, offset=0.0):
    """``factor * x + offset``"""
    _finite("scale", factor=factor, offset=offset)
    return _like(x, 2, float(factor), float(offset))


@op()
def neg(x, /):
    """``-x``"""
    return _like(x, 1)


@op(reads=("out",))
def exp(x, /):
    """Exponential function."""
    return _like(x, 18)


@op(reads=(0,))
def log(x, /):
    """Natural logarithm; -inf at 0, NaN below."""
    return _like(x, 24)


@op(reads=(0,))
def log1p(x, /):
    """``log(1 + x)``, accurate for small x."""
    return _like(x, 32)


@op(reads=("out",))
def sqrt(x, /):
    """Square root; NaN below 0."""
    return _like(x, 1)


@op(reads=(0,))
def square(x, /):
    """``x * x``"""
    return _like(x, 1)


@op(reads=(0,))
def abs_(x, /):
    """Absolute value; the gradient at 0 is 0."""
    return _like(x, 1)


@op(reads=(0,))
def power(x, /, exponent):
    """``x ** exponent`` for a constant exponent.

    Whole exponents and halves up to 16 are products, reciprocals and square roots. Others are
    ``exp(exponent * log(abs(x)))``, with a relative error of about ``abs(exponent * log(abs(x)))``
    units in the last place. A negative x gives NaN unless the exponent is whole.
    """
    _finite("power", exponent=exponent)
    return _like(x, 45, float(exponent))


@op(reads=(0,))
def clip(x, /, low=None, high=None):
    """x between low and high; None leaves that side open."""
    low = -math.inf if low is None else float(low)
    high = math.inf if high is None else float(high)
    if not low <= high:
        raise ValueError(f"clip: low must not exceed high, got low={low} and high={high}")
    return _like(x, 2, low, high)


@op(reads=(0,))
def erf(x, /):
    """Error function."""
    return _like(x, 45)


@op(reads=(0,))
def lgamma(x, /):
    """Logarithm of the absolute value of the gamma function; its derivative is digamma."""
    return _like(x, 150)


@op(reads=(0, 1), broadcasts=True)
def log_rising(x, n, /):
    """``lgamma(x + n) - lgamma(x)`` for x > 0 and n >= 0, the logarithm of a rising factorial.

    Computed in float64 in both precisions, as the two terms nearly cancel where x is large.
    """
    return _like(x, 400)


@op()
def identity(x, /):
    """x itself."""
    return _like(x, 0)


@op(differentiable=())
def stop_gradient(x, /):
    """x, as a constant to the gradient."""
    return _like(x, 0)


@op(reads=("out",))
def relu(x, /):
    """``max(x, 0)``"""
    return _like(x, 1)


@op(reads=("out",))
def leaky_relu(x, /, negative_slope=0.01):
    """x above 0, ``negative_slope * x`` below."""
    _not_negative("leaky_relu", negative_slope=negative_slope)
    return _like(x, 2, float(negative_slope))


@op(reads=("out",))
def elu(x, /, alpha=1.0):
    """x above 0, ``alpha * (exp(x) - 1)`` below."""
    _not_negative("elu", alpha=alpha)
    return _like(x, 20, float(alpha))


@op(reads=(0,))
def gelu(x, /):
    """``x * Phi(x)``, Phi the normal distribution function, exact (not the tanh formula)."""
    return _like(x, 45)


@op(reads=(0,))
def gelu_tanh(x, /):
    """``x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x**3)))``"""
    return _like(x, 30)


@op(reads=("out",))
def tanh(x, /):
    """Hyperbolic tangent."""
    return _like(x, 22)


@op(reads=("out",))
def sigmoid(x, /):
    """``1 / (1 + exp(-x))``"""
    return _like(x, 22)


@op(reads=(0,))
def silu(x, /):
    """``x * sigmoid(x)``, also called swish."""
    return _like(x, 24)


@op(reads=("out",))
def softplus(x, /):
    """``log(1 + exp(x))``, without a threshold beyond which it would be x."""
    return _like(x, 38)
