"""Test inputs of the elementwise operations."""

from __future__ import annotations

import numpy as np
from scipy import special

from .case import Case

# shorter than a vector of any target, just one, a tail behind several, several axes
SHAPES = ((), (1,), (5,), (16,), (3, 7), (37,), (2, 3, 11))
TAILS = ((5,), (37,))  # for other attributes of the same loop


def spread(low, high, *kinks):
    """Draw uniformly from [low, high], at least 0.02 away from each kink."""

    def draw(rng, size):
        x = rng.uniform(low, high, size)
        for kink in kinks:
            d = x - kink
            x = np.where(np.abs(d) < 0.02, kink + np.where(d < 0, -0.02, 0.02) + d, x)
        return x

    return draw


def unary(draw, twin, *attributes, shapes=SHAPES):
    """One case for every shape with the first set of attributes, for two with each other one."""
    first, *others = attributes or ({},)
    return [
        Case(lambda rng, rows, shape=shape: (draw(rng, (rows, *shape)),), twin, kwargs)
        for given, sets in ((shapes, (first,)), (TAILS, others))
        for shape in given
        for kwargs in sets
    ]


def binary(draw, twin, shapes=SHAPES):
    """Pairs of one shape, then pairs that broadcast."""

    def case(a, b):
        def sample(rng, rows):
            return draw(rng, (rows, *a)), draw(rng, (rows, *b))

        def aligned(x, y):
            rank = max(x.ndim, y.ndim)
            return twin(*(v.reshape(len(v), *(1,) * (rank - v.ndim), *v.shape[1:]) for v in (x, y)))

        return Case(sample, aligned)

    mixed = (((5,), ()), ((), (17,)), ((4, 5), (5,)), ((3, 1), (2, 1, 19)))
    return [case(shape, shape) for shape in shapes] + [case(a, b) for a, b in mixed]


def apart(draw, twin):
    """Binary cases whose inputs differ by at least 0.02 everywhere, for kinks at a == b."""

    def case(shape):
        def sample(rng, rows):
            a = draw(rng, (rows, *shape))
            return a, a + spread(-2, 2, 0)(rng, a.shape)

        return Case(sample, twin)

    return [case(shape) for shape in SHAPES]


def where_case(shape):
    def sample(rng, rows):
        size = (rows, *shape)
        return rng.integers(-1, 2, size) * 1.5, rng.normal(size=size), rng.normal(size=size)

    return Case(sample, lambda c, a, b: np.where(c != 0, a, b))


def gelu(x):
    return x * special.ndtr(x)


def gelu_tanh(x):
    return x * special.expit(2 * np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def leaky_relu(x, negative_slope=0.01):
    return np.where(x > 0, x, negative_slope * x)


def clip(x, low=None, high=None):
    return np.clip(x, -np.inf if low is None else low, np.inf if high is None else high)


def power(x, exponent):
    return x**exponent


def scale(x, factor=1.0, offset=0.0):
    return factor * x + offset


normal = spread(-3, 3)
positive = spread(0.1, 5)
broken = spread(-3, 3, 0)

CASES: dict[str, list[Case]] = {
    "add": binary(normal, np.add),
    "sub": binary(normal, np.subtract),
    "mul": binary(normal, np.multiply),
    "div": binary(positive, np.divide) + binary(spread(-3, -0.3), np.divide),
    "minimum": apart(normal, np.minimum),
    "maximum": apart(normal, np.maximum),
    "where": [where_case(shape) for shape in SHAPES],
    "scale": unary(normal, scale, {}, {"factor": -2.5}, {"factor": 0.3, "offset": 7.0}),
    "neg": unary(normal, np.negative),
    "exp": unary(spread(-8, 8), np.exp),
    "log": unary(spread(0.1, 20), np.log),
    "log1p": unary(spread(-0.9, 9), np.log1p) + unary(spread(-0.05, 0.05), np.log1p),
    "sqrt": unary(positive, np.sqrt),
    "square": unary(normal, np.square),
    "abs": unary(broken, np.abs),
    "power": unary(
        positive, power, *({"exponent": p} for p in (2, 3.0, 0.5, -1, -1.5, 1.7, -0.3, 0, 1))
    )
    + unary(spread(0.7, 1.3), power, {"exponent": 23}, {"exponent": 16.5}, {"exponent": -17})
    + unary(spread(-1.5, -0.5), power, *({"exponent": p} for p in (2, 3, -1, -2, 17, 18, 0, 1))),
    "clip": unary(
        spread(-3, 3, -0.5, 1.5),
        clip,
        {},
        {"low": -0.5},
        {"high": 1.5},
        {"low": -0.5, "high": 1.5},
    ),
    "lgamma": unary(spread(0.05, 12, 1, 2), special.gammaln)
    + unary(spread(7.5, 90), special.gammaln)
    + unary(spread(-0.8, -0.2), special.gammaln, shapes=((37,),))
    + unary(spread(-2.36, -2.25), special.gammaln, shapes=((37,),)),
    "log_rising": binary(spread(0.3, 40), lambda x, n: special.gammaln(x + n) - special.gammaln(x)),
    "erf": unary(spread(-3, 3), special.erf),
    "identity": unary(normal, np.copy),
    "stop_gradient": unary(normal, np.copy),
    "relu": unary(broken, lambda x: np.maximum(x, 0)),
    "leaky_relu": unary(broken, leaky_relu, {}, {"negative_slope": 0.2}, {"negative_slope": 0}),
    "elu": unary(broken, elu, {}, {"alpha": 0.4}),
    "gelu": unary(spread(-6, 6), gelu),
    "gelu_tanh": unary(spread(-5, 5), gelu_tanh),
    "tanh": unary(spread(-4, 4), np.tanh),
    "sigmoid": unary(spread(-9, 9), special.expit),
    "silu": unary(spread(-9, 9), lambda x: x * special.expit(x)),
    "softplus": unary(spread(-9, 9), lambda x: np.logaddexp(0, x)),
}
