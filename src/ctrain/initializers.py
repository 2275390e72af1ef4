"""Initializers: what parameters start from.

An initializer is a name, an object of this module, or any callable ``init(shape, key)`` that
returns an array; `key` names a stream of `ctrain._core.random`, so that the same key gives the
same numbers on every machine, whatever was drawn before. A weight matrix has the shape
``(fan_in, fan_out)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator, clone

from ctrain._core import random

from .rules import find, require

__all__ = [
    "INITIALIZERS",
    "Constant",
    "Initializer",
    "Normal",
    "Uniform",
    "VarianceScaling",
    "fans",
    "resolve",
]


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """Count the inputs that an output adds up, and the outputs that an input reaches.

    Parameters
    ----------
    shape : tuple of int
        ``(..., fan_in, fan_out)``; leading axes are places of a kernel and multiply both. A
        vector counts as its own input and output.

    Returns
    -------
    fan_in, fan_out : int

    Examples
    --------
    >>> from ctrain.initializers import fans
    >>> fans((8, 64)), fans((3, 8, 64)), fans((5,))
    ((8, 64), (24, 192), (5, 5))
    """
    if len(shape) < 2:
        return math.prod(shape), math.prod(shape)
    places = math.prod(shape[:-2])
    return places * shape[-2], places * shape[-1]


class Initializer(BaseEstimator):
    """A function of shape and key.

    Examples
    --------
    >>> import numpy as np
    >>> import ctrain
    >>> class Ramp(ctrain.initializers.Initializer):
    ...     def __call__(self, shape, key):
    ...         return np.linspace(-1.0, 1.0, np.prod(shape)).reshape(shape)
    >>> tape = ctrain.Tape("float64")
    >>> w = tape.parameter((3,), name="w", init=Ramp())
    >>> tape.parameters["w"].value
    array([-1.,  0.,  1.])
    """

    def __call__(self, shape: tuple[int, ...], key: int) -> np.ndarray:
        """Draw a parameter.

        Parameters
        ----------
        shape : tuple of int
        key : int
            Stream of random numbers.

        Returns
        -------
        ndarray of float64
        """
        raise NotImplementedError


def _finite(value: object) -> bool:
    return isinstance(value, Real) and math.isfinite(value)


class VarianceScaling(Initializer):
    r"""Random weights whose variance keeps signals at one size from layer to layer.

    The variance is ``scale / fan``. Glorot's, He's and LeCun's rules are choices of both:

    ===============================  =====  =======
    name                             scale  mode
    ===============================  =====  =======
    glorot_uniform, glorot_normal    1      fan_avg
    he_uniform, he_normal            2      fan_in
    lecun_uniform, lecun_normal      1      fan_in
    ===============================  =====  =======

    Parameters
    ----------
    scale : float, default=1.0
        Above 0. 2 makes up for the half that ReLU cuts off; 1/3 with ``mode="fan_avg"`` and a
        uniform distribution is scikit-learn's choice for logistic units.
    mode : {"fan_in", "fan_out", "fan_avg"}, default="fan_avg"
        What divides: "fan_in" keeps the size of values forward, "fan_out" of gradients backward,
        their mean "fan_avg" is the compromise.
    distribution : {"uniform", "normal"}, default="uniform"
        Uniform in :math:`\pm\sqrt{3 \, scale / fan}`, or normal (not truncated).

    References
    ----------
    Glorot, Bengio, "Understanding the difficulty of training deep feedforward neural networks",
    AISTATS 2010.
    He, Zhang, Ren, Sun, "Delving deep into rectifiers", ICCV 2015.
    LeCun, Bottou, Orr, Müller, "Efficient BackProp", 1998.

    Examples
    --------
    >>> from ctrain.initializers import VarianceScaling
    >>> w = VarianceScaling(2.0, "fan_in")((600, 100), key=0)
    >>> bool(abs(w).max() <= 0.1)
    True
    """

    def __init__(self, scale=1.0, mode="fan_avg", distribution="uniform"):
        self.scale = scale
        self.mode = mode
        self.distribution = distribution

    def __call__(self, shape: tuple[int, ...], key: int) -> np.ndarray:
        """Draw a parameter."""
        fan_in, fan_out = fans(shape)
        fan = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}
        require(self, "scale", _finite(self.scale) and self.scale > 0, "a float above 0")
        require(self, "mode", self.mode in fan, f"one of {', '.join(fan)}")
        known = self.distribution in ("uniform", "normal")
        require(self, "distribution", known, "one of uniform, normal")
        deviation = math.sqrt(self.scale / max(fan[self.mode], 1))
        if self.distribution == "normal":
            return Normal(deviation)(shape, key)
        bound = math.sqrt(3) * deviation
        return Uniform(-bound, bound)(shape, key)


class Uniform(Initializer):
    """Uniform random numbers.

    Parameters
    ----------
    low, high : float, default=-0.05, 0.05
        The range, `high` left out.

    Examples
    --------
    >>> from ctrain.initializers import Uniform
    >>> Uniform(2.0, 3.0)((4, 2), key=0).shape
    (4, 2)
    """

    def __init__(self, low=-0.05, high=0.05):
        self.low = low
        self.high = high

    def __call__(self, shape: tuple[int, ...], key: int) -> np.ndarray:
        """Draw a parameter."""
        require(self, "low", _finite(self.low), "a finite float")
        rule = _finite(self.high) and self.high >= self.low
        require(self, "high", rule, f"a finite float, not below low={self.low!r}")
        drawn = random.uniform(key, math.prod(shape)).reshape(shape)
        drawn *= self.high - self.low
        drawn += self.low
        return drawn


class Normal(Initializer):
    """Normal random numbers around zero.

    Parameters
    ----------
    std : float, default=0.05
        Standard deviation.

    Examples
    --------
    >>> from ctrain.initializers import Normal
    >>> Normal(std=0.02)((4, 2), key=0).shape
    (4, 2)
    """

    def __init__(self, std=0.05):
        self.std = std

    def __call__(self, shape: tuple[int, ...], key: int) -> np.ndarray:
        """Draw a parameter."""
        require(self, "std", _finite(self.std) and self.std >= 0, "a float, at least 0")
        drawn = random.normal(key, math.prod(shape)).reshape(shape)
        drawn *= self.std
        return drawn


class Constant(Initializer):
    """The same number everywhere.

    Parameters
    ----------
    value : float, default=0.0
        That number: 0 for biases, 1 for the scales of norms.

    Examples
    --------
    >>> from ctrain.initializers import Constant
    >>> Constant(1.0)((3,), key=0)
    array([1., 1., 1.])
    """

    def __init__(self, value=0.0):
        self.value = value

    def __call__(self, shape: tuple[int, ...], key: int) -> np.ndarray:
        """Fill a parameter."""
        require(self, "value", _finite(self.value), "a finite float")
        return np.full(shape, self.value, dtype=np.float64)


INITIALIZERS: dict[str, Initializer] = {
    "glorot_uniform": VarianceScaling(1.0, "fan_avg", "uniform"),
    "glorot_normal": VarianceScaling(1.0, "fan_avg", "normal"),
    "he_uniform": VarianceScaling(2.0, "fan_in", "uniform"),
    "he_normal": VarianceScaling(2.0, "fan_in", "normal"),
    "lecun_uniform": VarianceScaling(1.0, "fan_in", "uniform"),
    "lecun_normal": VarianceScaling(1.0, "fan_in", "normal"),
    "uniform": Uniform(),
    "normal": Normal(),
    "zeros": Constant(0.0),
    "ones": Constant(1.0),
}


def resolve(
    initializer: str | Initializer | Callable[[tuple[int, ...], int], np.ndarray],
) -> Initializer | Callable[[tuple[int, ...], int], np.ndarray]:
    """Give the initializer of a name, or the object or callable itself.

    Parameters
    ----------
    initializer : str, Initializer or callable
        A key of `INITIALIZERS`, an object, or ``init(shape, key) -> array``.

    Returns
    -------
    Initializer or callable

    Raises
    ------
    ValueError
        If it is an unknown name.
    TypeError
        If it cannot be called.

    Examples
    --------
    >>> from ctrain.initializers import resolve
    >>> resolve("zeros")((2,), key=0)
    array([0., 0.])
    """
    if isinstance(initializer, str):
        return clone(find("init", initializer, INITIALIZERS))
    if not callable(initializer) or isinstance(initializer, type):
        raise TypeError(
            f"init must be a name ({', '.join(INITIALIZERS)}), an object such as Normal(0.02) or a "
            f"function of shape and key. Got {initializer!r} instead."
        )
    return initializer
