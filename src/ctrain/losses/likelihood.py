"""Losses that are likelihoods: the network's outputs are the parameters of a distribution."""

from __future__ import annotations

import copy

import numpy as np

from .. import distributions
from ..rules import Range, wrong
from .loss import Loss, check_domain, numbers_of


class NegativeLogLikelihood(Loss):
    """Negative log-likelihood of a distribution whose parameters the network puts out.

    A `Regressor` predicts the mean, or with `level` or `quantiles` these quantiles on one more
    axis; a `Forecaster` predicts quantiles, of ``level=(80, 90)`` if nothing else is said. As
    neuralforecast's ``DistributionLoss`` and PyTorch's ``GaussianNLLLoss``, with all constants.

    Parameters
    ----------
    distribution : str or Distribution, default="normal"
        normal, student_t, poisson, negative_binomial, or an object of :mod:`ctrain.distributions`.
    level : float or sequence of float, default=None
        Percent of intervals to predict, such as ``(80, 90)``, and the median.
    quantiles : sequence of float, default=None
        Levels in (0, 1) to predict instead.
    num_samples : int, default=1000
        Draws whose quantiles are predicted where there are no exact ones: of counts.

    Examples
    --------
    >>> import numpy as np
    >>> from ctrain import Regressor
    >>> from ctrain.losses import NegativeLogLikelihood
    >>> X = np.zeros((5, 1))  # nothing to learn from: the best constants
    >>> loss = NegativeLogLikelihood("normal", quantiles=(0.16, 0.5, 0.84))
    >>> reg = Regressor((), loss=loss, optimizer="lbfgs").fit(X, [1, 2, 3, 4, 5])
    >>> reg.predict(X[:1]).round(1)  # mean 3, standard deviation 2 ** 0.5
    array([[1.6, 3. , 4.4]])
    >>> mean = Regressor((), loss="normal", optimizer="lbfgs").fit(X, [1, 2, 3, 4, 5])
    >>> mean.predict(X[:1]).round(1)
    array([3.])
    """

    _window = (None, None)

    def __init__(
        self, distribution="normal", level=None, quantiles=None, num_samples: int = 1000
    ) -> None:
        self.distribution = distribution
        self.level = level
        self.quantiles = quantiles
        self.num_samples = num_samples

    @property
    def head(self) -> distributions.Distribution:
        return distributions.resolve(self.distribution)

    @property
    def width(self) -> int:
        return self.head.width

    @property
    def quantile_levels(self) -> tuple[float, ...] | None:
        if self.quantiles is not None:
            return numbers_of(self.quantiles)
        if self.level is None:
            return None
        half = [percent / 200.0 for percent in numbers_of(self.level)]
        ends = {round(0.5 + sign * h, 9) for h in half for sign in (-1, 1)}
        return tuple(sorted(ends | {0.5}))

    def validate(self) -> None:
        self.head.validate()
        for name, most in (("level", 100), ("quantiles", 1)):
            value = getattr(self, name)
            levels = numbers_of(value)
            if value is not None and not (levels and all(0 < v < most for v in levels)):
                raise wrong(self, name, f"None, or one or more floats in the range (0, {most})")
        if self.level is not None and self.quantiles is not None:
            raise ValueError(
                f"level={self.level} and quantiles={self.quantiles} say the same thing twice; "
                "leave one of them None"
            )
        rule = Range(2, kind=int)
        if self.num_samples not in rule:
            raise wrong(self, "num_samples", rule)

    def check_target(self, y: np.ndarray, name: str) -> None:
        if self.head.counts:
            what = type(self.head).__name__
            outside = ~((y >= 0) & (y == np.floor(y)))
            check_domain(y, outside, f"{what} is of counts and needs whole numbers {name} >= 0")

    def elements(self, tape, prediction, target):
        """Record the loss of each target, shape (n_targets,)."""
        return self.head.nll(tape, self._parameters(tape, prediction), target)

    def record(self, tape, prediction, target):
        return tape.mean(self.elements(tape, prediction, target))

    def link(self, tape, prediction):
        parameters, levels = self._parameters(tape, prediction), self.quantile_levels
        if levels is None:
            return self.head.mean(tape, parameters)
        return self.head.quantiles(tape, parameters, levels, self.num_samples, prediction)

    def within(self, location, scale) -> NegativeLogLikelihood:
        loss = copy.copy(self)
        loss._window = location, scale
        return loss

    def _parameters(self, tape, raw) -> tuple:
        return self.head.parameters(tape, raw, *self._window)
