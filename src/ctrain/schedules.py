"""Schedules: the learning rate as a function of the step.

A schedule is a name, an object of this module, or any callable that takes the step, counted
from 0, and returns the learning rate itself. Objects are functions of the step (a number or an
array of them) and of ``learning_rate_init``; the training loop asks for many steps at once.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from numbers import Real

import numpy as np
from sklearn.base import BaseEstimator

__all__ = ["SCHEDULES", "Constant", "Schedule", "learning_rates", "resolve"]


class Schedule(BaseEstimator):
    """A function of the step and of the initial learning rate.

    Examples
    --------
    >>> from ctrain import Regressor
    >>> from ctrain.schedules import Schedule
    >>> class InverseRoot(Schedule):
    ...     def __init__(self, scale=100.0):
    ...         self.scale = scale
    ...     def __call__(self, step, base):
    ...         return base / (1 + step / self.scale) ** 0.5
    >>> float(InverseRoot(scale=1.0)(3, base=0.1))
    0.05
    >>> reg = Regressor(schedule=InverseRoot())
    """

    def __call__(self, step: int | np.ndarray, base: float) -> np.ndarray:
        """Give the learning rate of each step.

        Parameters
        ----------
        step : int or ndarray of int
            Counted from 0.
        base : float
            The estimator's ``learning_rate_init``.

        Returns
        -------
        ndarray of float64
            Of the shape of `step`.
        """
        raise NotImplementedError


class Constant(Schedule):
    """The same learning rate at every step.

    Examples
    --------
    >>> import numpy as np
    >>> from ctrain.schedules import Constant
    >>> Constant()(np.arange(3), 0.01)
    array([0.01, 0.01, 0.01])
    """

    def __call__(self, step: int | np.ndarray, base: float) -> np.ndarray:
        """Give the learning rate of each step."""
        return np.full(np.shape(step), base, dtype=np.float64)


SCHEDULES: dict[str, type[Schedule]] = {"constant": Constant}


def resolve(schedule: str | Schedule | Callable[[int], float]) -> Schedule | Callable[[int], float]:
    """Give the schedule of a name, or the object or callable itself.

    Parameters
    ----------
    schedule : str, Schedule or callable
        A key of `SCHEDULES`, which stands for its class with default parameters; an object; or
        ``schedule(step) -> learning rate``.

    Returns
    -------
    Schedule or callable

    Raises
    ------
    ValueError
        If it is an unknown name.
    TypeError
        If it cannot be called with a step.

    Examples
    --------
    >>> from ctrain.schedules import resolve
    >>> resolve("constant")
    Constant()
    """
    if isinstance(schedule, str):
        if schedule not in SCHEDULES:
            near = difflib.get_close_matches(schedule.lower(), SCHEDULES, 1)
            hint = f"Did you mean {near[0]!r}? " if near else ""
            raise ValueError(
                f"schedule: unknown name {schedule!r}. {hint}Names are {', '.join(SCHEDULES)}."
            )
        return SCHEDULES[schedule]()
    if not callable(schedule) or isinstance(schedule, type):
        raise TypeError(
            f"schedule must be a name ({', '.join(SCHEDULES)}), an object such as Constant() or a "
            f"function of the step. Got {schedule!r} instead."
        )
    return schedule


def learning_rates(
    schedule: Schedule | Callable[[int], float],
    learning_rate_init: float,
    first_step: int,
    n_steps: int,
) -> np.ndarray:
    """Compute the learning rates of consecutive steps.

    Parameters
    ----------
    schedule : Schedule or callable
        What `resolve` answers.
    learning_rate_init : float
        Handed to a `Schedule`; a callable returns the learning rate itself.
    first_step : int
        Counted from 0.
    n_steps : int

    Returns
    -------
    ndarray of float64, shape (n_steps,)
        Finite and not negative.

    Raises
    ------
    ValueError
        If one is not finite or negative, or a `Schedule` gives another number of them.
    TypeError
        If a callable returns something that is not a number.

    Examples
    --------
    >>> from ctrain.schedules import Constant, learning_rates
    >>> learning_rates(Constant(), 0.01, first_step=0, n_steps=2)
    array([0.01, 0.01])
    >>> learning_rates(lambda step: 0.1 / (1 + step), 0.01, first_step=3, n_steps=2)
    array([0.025, 0.02 ])
    """
    if isinstance(schedule, Schedule):
        steps = np.arange(first_step, first_step + n_steps)
        rates = np.asarray(schedule(steps, learning_rate_init), dtype=np.float64)
        if rates.shape != steps.shape:
            raise ValueError(
                f"schedule: {schedule!r} must give one learning rate per step; it gave shape "
                f"{rates.shape} for steps of shape {steps.shape}."
            )
    else:
        rates = np.empty(n_steps)
        for i in range(n_steps):
            rate = schedule(first_step + i)
            if not isinstance(rate, Real):
                raise TypeError(
                    f"schedule must return a number; at step {first_step + i} {schedule!r} "
                    f"returned {rate!r}."
                )
            rates[i] = rate
    wrong = np.flatnonzero(~(np.isfinite(rates) & (rates >= 0)))
    if wrong.size:
        raise ValueError(
            f"schedule: a learning rate must be finite and not negative; at step "
            f"{first_step + wrong[0]} {schedule!r} gave {float(rates[wrong[0]])!r}."
        )
    return rates
