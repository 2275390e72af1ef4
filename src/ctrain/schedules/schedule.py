"""What a schedule is, and how it is told the length of a fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import ClassVar, NamedTuple

import numpy as np
from sklearn.base import BaseEstimator

from ..rules import OneOf, Range, check

UNIT = OneOf(("epoch", "step"))
DECAY = Range(0.0, 1.0, "(]")
DURATION = OneOf((Range(1, kind=Integral), Range(0.0, 1.0, "(]")))


class Length(NamedTuple):
    """How long a fit is.

    Parameters
    ----------
    total_steps : int or None, default=None
        Optimizer steps of the whole fit; None where nobody knows, as in ``partial_fit``.
    steps_per_epoch : int, default=1

    Examples
    --------
    >>> from ctrain.schedules import Length
    >>> fit = Length(total_steps=500, steps_per_epoch=5)
    >>> fit.steps(10), fit.steps(10, unit="step"), fit.steps(0.1), fit.steps(None)
    (50, 10, 50, 500)
    """

    total_steps: int | None = None
    steps_per_epoch: int = 1

    def steps(self, duration: int | float | None, unit: str = "epoch") -> int | None:
        """Count the steps of a duration.

        Parameters
        ----------
        duration : int, float or None
            An int counts units; a float is a share of the total, rounded to whole steps; None
            is the total.
        unit : {"epoch", "step"}, default="epoch"

        Returns
        -------
        int or None
            None if it depends on a total that nobody knows.
        """
        if isinstance(duration, Integral):
            return int(duration) * (self.steps_per_epoch if unit == "epoch" else 1)
        if duration is None or self.total_steps is None:
            return self.total_steps
        return round(duration * self.total_steps)


class Schedule(BaseEstimator):
    """A function of the step, of the initial learning rate and of the fit's length.

    Subclass it for a schedule of one's own. What `observe` remembers must be attributes that end
    in ``_`` and hold numbers, strings, None or lists of them, so that a checkpoint keeps them;
    each fit works on a clone.

    Examples
    --------
    >>> from ctrain import Regressor
    >>> from ctrain.schedules import Length, Schedule
    >>> class InverseRoot(Schedule):
    ...     def __init__(self, scale=100.0):
    ...         self.scale = scale
    ...     def __call__(self, step, base, length):
    ...         return base / (1 + step / self.scale) ** 0.5
    >>> float(InverseRoot(scale=1.0)(3, 0.1, Length()))
    0.05
    >>> reg = Regressor(schedule=InverseRoot())
    """

    _rules: ClassVar[dict[str, Range | OneOf]] = {}

    def __call__(self, step: int | np.ndarray, base: float, length: Length) -> np.ndarray:
        """Give the learning rate of each step.

        Parameters
        ----------
        step : int or ndarray of int
            Counted from 0.
        base : float
            The estimator's ``learning_rate_init``.
        length : Length
            Of the fit.

        Returns
        -------
        ndarray of float64
            Of the shape of `step`.
        """
        raise NotImplementedError

    def observe(self, history: Mapping[str, Sequence[float]]) -> None:
        """Look at the history; steps that follow may have other learning rates.

        Called after each epoch that was validated, or after each epoch if none is validated.

        Parameters
        ----------
        history : mapping of str to list
            One number for each epoch so far in each column: "epoch", "loss", "learning_rate",
            "gradient_norm", "seconds"; with validation "validation_loss" and the metrics.
        """

    def validate(self) -> None:
        """Raise a ValueError that names the first parameter out of its range."""
        check(self, self._rules)
