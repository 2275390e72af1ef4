"""Distributions of one number, made of the tape's operations: what a network's outputs mean.

A network gives a few numbers for each target, its *raw* outputs; a distribution turns them into
parameters, and these into a likelihood, a mean, draws and quantiles. The losses are in
:mod:`ctrain.losses`: ``NegativeLogLikelihood(StudentT())``.
"""

from __future__ import annotations

import math
import numbers

import numpy as np
from sklearn.base import BaseEstimator

from .rules import find, wrong

__all__ = [
    "DISTRIBUTIONS",
    "Distribution",
    "NegativeBinomial",
    "Normal",
    "Poisson",
    "Scaled",
    "StudentT",
    "empirical_quantiles",
    "resolve",
]

LOG_2PI = math.log(2.0 * math.pi)


class Distribution(BaseEstimator):
    """What a distribution tells the loss; subclasses record the operations.

    Attributes
    ----------
    width : int
        Numbers that the network gives for each target.
    counts : bool
        Whether it is of whole numbers from 0 on. Counts are never scaled: their parameters are.

    Examples
    --------
    >>> import math
    >>> from ctrain.distributions import Distribution
    >>> class Laplace(Distribution):
    ...     width = 2
    ...     def parameters(self, tape, raw, location=None, scale=None):
    ...         at, log_scale = self.columns(tape, raw)
    ...         return at, tape.exp(log_scale)
    ...     def nll(self, tape, parameters, y):
    ...         at, b = parameters
    ...         distance = tape.div(tape.abs(tape.sub(y, at)), b)
    ...         return tape.add(tape.add(distance, tape.log(b)), math.log(2.0))
    ...     def mean(self, tape, parameters):
    ...         return parameters[0]
    ...     def sample(self, tape, parameters, key):
    ...         at, b = parameters
    ...         e = [tape.log(tape.random_uniform(b, key)) for _ in range(2)]
    ...         return tape.add(at, tape.mul(b, tape.sub(*e)))
    """

    width = 1
    counts = False

    def validate(self) -> None:
        """Check the parameters of the class; raise ValueError with the rule."""

    def columns(self, tape, raw) -> list:
        """Raw outputs of shape (..., width), or (...) if width is 1, one by one."""
        if self.width == 1:
            return [raw]
        last, shape = len(raw.shape) - 1, raw.shape[:-1]
        return [tape.reshape(tape.slice(raw, last, k, k + 1), shape) for k in range(self.width)]

    def parameters(self, tape, raw, location=None, scale=None) -> tuple:
        """Record the parameters, tensors of shape (...).

        Parameters
        ----------
        tape : Tape
        raw : Tensor of shape (..., width), or (...) if width is 1
        location, scale : Tensor of shape (1,), default=None
            Of the window: ``location + scale * z`` is the number that the network knows as z. None
            where it knows the numbers themselves.
        """
        raise NotImplementedError

    def nll(self, tape, parameters: tuple, y):
        """Record the negative logarithm of the density, or probability, of `y`, shape (...)."""
        raise NotImplementedError

    def mean(self, tape, parameters: tuple):
        """Record the mean, shape (...)."""
        raise NotImplementedError

    def sample(self, tape, parameters: tuple, key):
        """Record one draw for each element of the parameters; without a gradient.

        Parameters
        ----------
        tape : Tape
        parameters : tuple of Tensor of shape (...)
        key : Tensor
            Row-level: rows with the same numbers in it draw the same.
        """
        raise NotImplementedError

    def quantiles(self, tape, parameters: tuple, levels, n_samples: int, key):
        """Record quantiles, shape (..., n_levels): those of `n_samples` draws, or exact ones."""
        shape = parameters[0].shape
        many = tuple(
            tape.broadcast(tape.reshape(p, (*shape, 1)), (*shape, n_samples)) for p in parameters
        )
        return empirical_quantiles(tape, self.sample(tape, many, key), levels)


class Scaled:
    """A distribution of the numbers that a model knows; its input ``distribution``.

    Parameters
    ----------
    distribution : Distribution
    location, scale : Tensor of shape (1,), default=None
        Of counts: ``(y - location) / scale`` is what the model knows.
    """

    def __init__(self, distribution: Distribution, location=None, scale=None) -> None:
        self.distribution, self.location, self.scale = distribution, location, scale

    def mean(self, tape, raw):
        """Record the mean of raw outputs of shape (..., width), or (...) if width is 1."""
        return self._known(tape, self.distribution.mean(tape, self._parameters(tape, raw)))

    def sample(self, tape, raw, key):
        """Record one draw for each: see :meth:`Distribution.sample`."""
        return self._known(tape, self.distribution.sample(tape, self._parameters(tape, raw), key))

    def _parameters(self, tape, raw):
        return self.distribution.parameters(tape, raw, self.location, self.scale)

    def _known(self, tape, y):
        y = y if self.location is None else tape.sub(y, self.location)
        return y if self.scale is None else tape.div(y, self.scale)


def empirical_quantiles(tape, samples, levels):
    """Record quantiles over the last axis: between two draws as ``numpy.quantile`` has them.

    Parameters
    ----------
    tape : Tape
    samples : Tensor of shape (..., n)
    levels : sequence of float

    Returns
    -------
    Tensor of shape (..., n_levels)

    Examples
    --------
    >>> import ctrain
    >>> from ctrain.distributions import empirical_quantiles
    >>> tape = ctrain.Tape()
    >>> x = tape.input((5,), name="x")
    >>> q = empirical_quantiles(tape, x, (0.5, 0.9))
    >>> tape.forward(x=[[5.0, 1.0, 4.0, 2.0, 3.0]])
    >>> tape.value(q)
    array([[3. , 4.6]], dtype=float32)
    """
    last, n = len(samples.shape) - 1, samples.shape[-1]
    ordered = tape.sort(samples)
    place = np.asarray(levels, np.float64) * (n - 1)
    below = np.floor(place).astype(int)
    low, high = (
        tape.concat(*(tape.slice(ordered, last, k, k + 1) for k in at))
        for at in (below.tolist(), np.minimum(below + 1, n - 1).tolist())
    )
    share = place - below
    return tape.add(low, tape.mul(tape.sub(high, low), share))  # exact between equal ones


class Normal(Distribution):
    """Normal distribution with a learned mean and standard deviation.

    Raw outputs: the mean, and what softplus turns into the deviation less `floor`. Quantiles are
    exact.

    Parameters
    ----------
    floor : float, default=1e-3
        Smallest standard deviation, in the units that the network knows: those of a scaled window.
        neuralforecast's is 0.2.

    Examples
    --------
    >>> from ctrain.distributions import Normal
    >>> Normal().width
    2
    """

    width = 2

    def __init__(self, floor: float = 1e-3) -> None:
        self.floor = floor

    def validate(self) -> None:
        _check_floor(self)

    def parameters(self, tape, raw, location=None, scale=None) -> tuple:
        loc, spread = self.columns(tape, raw)
        return _scaled(tape, loc, _spread(tape, spread, self.floor), location, scale)

    def nll(self, tape, parameters, y):
        loc, std = parameters
        z = tape.div(tape.sub(y, loc), std)
        return tape.add(tape.scale(tape.square(z), 0.5, 0.5 * LOG_2PI), tape.log(std))

    def mean(self, tape, parameters):
        return parameters[0]

    def sample(self, tape, parameters, key):
        loc, std = parameters
        return tape.add(loc, tape.mul(std, tape.random_normal(std, key)))

    def quantiles(self, tape, parameters, levels, n_samples, key):
        from scipy.special import ndtri

        loc, std = (tape.reshape(p, (*p.shape, 1)) for p in parameters)
        return tape.add(loc, tape.mul(std, ndtri(np.asarray(levels, np.float64))))


class StudentT(Distribution):
    """Student's t distribution with learned degrees of freedom, location and scale.

    Raw outputs: what softplus turns into the degrees of freedom less 3, the location, and what
    softplus turns into the scale less `floor`. Heavier tails than the normal distribution's: a few
    wild values do not widen all intervals. Quantiles are exact, to 1e-7 of the scale.

    Parameters
    ----------
    floor : float, default=1e-3
        Smallest scale, in the units that the network knows: those of a scaled window.
        neuralforecast's is 0.1.

    Examples
    --------
    >>> from ctrain.distributions import StudentT
    >>> StudentT().width
    3
    """

    width = 3
    least_df = 3.0

    def __init__(self, floor: float = 1e-3) -> None:
        self.floor = floor

    def validate(self) -> None:
        _check_floor(self)

    def parameters(self, tape, raw, location=None, scale=None) -> tuple:
        df, loc, spread = self.columns(tape, raw)
        df = tape.scale(tape.softplus(df), 1.0, self.least_df)
        return df, *_scaled(tape, loc, _spread(tape, spread, self.floor), location, scale)

    def nll(self, tape, parameters, y):
        # log(scale) - log Gamma((n + 1) / 2) / Gamma(n / 2) + log(pi n) / 2
        # + (n + 1) / 2 log(1 + z^2 / n), z = (y - loc) / scale
        df, loc, scale = parameters
        half = tape.scale(df, 0.5)
        z = tape.div(tape.sub(y, loc), scale)
        tail = tape.mul(tape.scale(half, 1.0, 0.5), tape.log1p(tape.div(tape.square(z), df)))
        norm = tape.sub(tape.scale(tape.log(tape.scale(df, math.pi)), 0.5),
                        tape.log_rising(half, 0.5))  # fmt: skip
        return tape.add(tape.add(norm, tail), tape.log(scale))

    def mean(self, tape, parameters):
        return parameters[1]

    def sample(self, tape, parameters, key):
        # a normal number over the root of a mean of squares of n others
        df, loc, scale = parameters
        half = tape.scale(df, 0.5)
        mean = tape.div(tape.random_gamma(half, key), half)
        t = tape.div(tape.random_normal(scale, key), tape.sqrt(mean))
        return tape.add(loc, tape.mul(scale, t))

    def quantiles(self, tape, parameters, levels, n_samples, key):
        """By a polynomial in 1 / df for each level, fitted where it is recorded."""
        from numpy.polynomial import chebyshev
        from scipy.special import ndtri, stdtrit

        levels = np.asarray(levels, np.float64)
        degree = 16
        nodes = np.cos(np.pi * (np.arange(degree + 1) + 0.5) / (degree + 1))
        inverse = (nodes + 1.0) / (2.0 * self.least_df)  # of df, from 0 to 1 / 3
        # as a factor of the normal quantile: of it there is less to lose at large df
        normal = ndtri(levels)
        factor = np.where(
            normal == 0.0, 1.0,
            stdtrit(1.0 / inverse[:, None], levels) / np.where(normal == 0.0, 1.0, normal),
        )  # fmt: skip
        powers = chebyshev.chebfit(nodes, factor, degree)
        powers = np.apply_along_axis(chebyshev.cheb2poly, 0, powers)
        df, loc, scale = (tape.reshape(p, (*p.shape, 1)) for p in parameters)
        s = tape.scale(tape.div(2.0 * self.least_df, df), 1.0, -1.0)
        t = tape.constant(powers[-1])
        for row in powers[-2::-1]:
            t = tape.add(tape.mul(t, s), row)
        return tape.add(loc, tape.mul(scale, tape.mul(t, normal)))


class Poisson(Distribution):
    """Poisson distribution of counts with a learned rate.

    The raw output z is the rate in the units that the network knows, made positive: ``scale *
    softplus(z + location / scale)``. Quantiles are those of draws.

    Examples
    --------
    >>> from ctrain.distributions import Poisson
    >>> Poisson().counts
    True
    """

    counts = True

    def parameters(self, tape, raw, location=None, scale=None) -> tuple:
        return (_positive(tape, raw, location, scale),)

    def nll(self, tape, parameters, y):
        (rate,) = parameters
        known = tape.lgamma(tape.scale(y, 1.0, 1.0))
        return tape.add(tape.sub(rate, tape.mul(y, tape.log(rate))), known)

    def mean(self, tape, parameters):
        return parameters[0]

    def sample(self, tape, parameters, key):
        return tape.random_poisson(parameters[0], key)


class NegativeBinomial(Distribution):
    """Negative binomial distribution of counts with a learned mean m and dispersion a.

    The variance is ``m + a * m ** 2``; PyTorch's `total_count` is ``1 / a``. Raw outputs: the mean
    as of :class:`Poisson`, and what softplus turns into the dispersion; in a scaled window it is
    divided by ``1 + scale``, so that large series begin with less of it. Quantiles are those of
    draws.

    References
    ----------
    Salinas, Flunkert, Gasthaus, Januschowski, "DeepAR: Probabilistic forecasting with
    autoregressive recurrent networks", International Journal of Forecasting 36, 2020.

    Examples
    --------
    >>> from ctrain.distributions import NegativeBinomial
    >>> NegativeBinomial().width
    2
    """

    width = 2
    counts = True

    def parameters(self, tape, raw, location=None, scale=None) -> tuple:
        mean, dispersion = self.columns(tape, raw)
        # a Poisson distribution's is 0, where 1 / a is nothing to compute with
        dispersion = tape.scale(tape.softplus(dispersion), 1.0, 1e-6)
        if scale is not None:
            dispersion = tape.div(dispersion, tape.scale(scale, 1.0, 1.0))
        return _positive(tape, mean, location, scale), dispersion

    def nll(self, tape, parameters, y):
        # log y! - log Gamma(n + y) / Gamma(n) + (n + y) log(1 + a m) - y log(a m), n = 1 / a
        mean, dispersion = parameters
        n = tape.div(1.0, dispersion)
        product = tape.mul(mean, dispersion)
        known = tape.sub(tape.lgamma(tape.scale(y, 1.0, 1.0)), tape.log_rising(n, y))
        rest = tape.sub(
            tape.mul(tape.add(n, y), tape.log1p(product)), tape.mul(y, tape.log(product))
        )
        return tape.add(known, rest)

    def mean(self, tape, parameters):
        return parameters[0]

    def sample(self, tape, parameters, key):
        # Poisson with a rate that is a gamma variable
        mean, dispersion = parameters
        rate = tape.random_gamma(tape.div(1.0, dispersion), key)
        return tape.random_poisson(tape.mul(rate, tape.mul(mean, dispersion)), key)


DISTRIBUTIONS: dict[str, type[Distribution]] = {
    "normal": Normal,
    "student_t": StudentT,
    "poisson": Poisson,
    "negative_binomial": NegativeBinomial,
}

ALIASES = {
    "gaussian": "normal",
    # neuralforecast's and PyTorch's
    "Normal": "normal",
    "StudentT": "student_t",
    "Poisson": "poisson",
    "NegativeBinomial": "negative_binomial",
}


def resolve(distribution) -> Distribution:
    """Return the distribution that a name or an object stands for.

    Parameters
    ----------
    distribution : str or Distribution

    Returns
    -------
    Distribution

    Raises
    ------
    ValueError
        If it is an unknown name.
    TypeError
        If it is neither.

    Examples
    --------
    >>> from ctrain.distributions import resolve
    >>> resolve("student_t"), resolve("NegativeBinomial")
    (StudentT(), NegativeBinomial())
    """
    if isinstance(distribution, Distribution):
        return distribution
    if isinstance(distribution, str):
        return find("distribution", distribution, DISTRIBUTIONS, ALIASES)()
    hint = f"; did you mean {distribution.__name__}()?" if isinstance(distribution, type) else ""
    raise TypeError(
        "distribution must be a name or an object of ctrain.distributions; got "
        f"{distribution!r}{hint}"
    )


def _scaled(tape, loc, spread, location, scale) -> tuple:
    """Location and spread in units outside the network."""
    if scale is not None:
        loc, spread = tape.mul(loc, scale), tape.mul(spread, scale)
    return loc if location is None else tape.add(loc, location), spread


def _spread(tape, raw, floor: float):
    return tape.scale(tape.softplus(raw), 1.0, float(floor))


def _positive(tape, raw, location, scale):
    """``scale * softplus(raw + location / scale)``, above 0 also where that underflows"""
    if location is not None:
        raw = tape.add(raw, location if scale is None else tape.div(location, scale))
    mean = tape.softplus(tape.maximum(raw, -80.0))
    return mean if scale is None else tape.mul(mean, scale)


def _check_floor(distribution) -> None:
    value = distribution.floor
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if not number or not 0.0 <= value < np.inf:
        raise wrong(distribution, "floor", "a float in the range [0.0, inf)")
