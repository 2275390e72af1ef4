r"""Schedules: the learning rate as a function of the step.

A schedule is a name, an object of this module, or any callable that takes the step, counted
from 0, and returns the learning rate itself. Objects follow scikit-learn's conventions, so that
a grid can search ``schedule__eta_min``. Below, :math:`s` is the step, :math:`\eta_0` the
estimator's ``learning_rate_init`` and :math:`T` the length of the schedule in steps.

Every duration is given in one way: an int counts units (``unit="epoch"`` or ``"step"``), a float
is a share of the length, and a ``length`` of None is that of the fit. The rate moves with every
step, whatever the unit. Where there is no length (``partial_fit``), a schedule that needs one
stays at :math:`\eta_0`; beyond its length it stays where it ended.
"""

from __future__ import annotations

from collections.abc import Callable
from numbers import Real

import numpy as np

from ..rules import find
from .curves import (
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    InverseScaling,
    OneCycle,
    Step,
    WarmupCosine,
    WarmupLinear,
)
from .plateau import ReduceOnPlateau
from .schedule import Length, Schedule

__all__ = [
    "SCHEDULES",
    "Constant",
    "Cosine",
    "CosineRestarts",
    "Exponential",
    "InverseScaling",
    "Length",
    "OneCycle",
    "ReduceOnPlateau",
    "Schedule",
    "Step",
    "WarmupCosine",
    "WarmupLinear",
    "learning_rates",
    "observes",
    "resolve",
]

SCHEDULES: dict[str, type[Schedule]] = {
    "constant": Constant,
    "step": Step,
    "exponential": Exponential,
    "inverse_scaling": InverseScaling,
    "cosine": Cosine,
    "cosine_restarts": CosineRestarts,
    "warmup_linear": WarmupLinear,
    "warmup_cosine": WarmupCosine,
    "one_cycle": OneCycle,
    "reduce_on_plateau": ReduceOnPlateau,
}

ALIASES = {"invscaling": "inverse_scaling"}


def resolve(schedule: str | Schedule | Callable[[int], float]) -> Schedule | Callable[[int], float]:
    """Give the schedule of a name, or the object or callable itself, with its parameters checked.

    Parameters
    ----------
    schedule : str, Schedule or callable
        A key of `SCHEDULES`, which stands for its class with default parameters, or scikit-learn's
        ``"invscaling"``; an object; or ``schedule(step) -> learning rate``.

    Returns
    -------
    Schedule or callable

    Raises
    ------
    ValueError
        If it is an unknown name, or a parameter is out of its range.
    TypeError
        If it cannot be called with a step.

    Examples
    --------
    >>> from ctrain.schedules import resolve
    >>> resolve("warmup_cosine"), resolve("invscaling")
    (WarmupCosine(), InverseScaling())
    """
    if isinstance(schedule, str):
        return find("schedule", schedule, SCHEDULES, ALIASES)()
    if not callable(schedule) or isinstance(schedule, type):
        raise TypeError(
            f"schedule must be a name ({', '.join(SCHEDULES)}), an object such as Constant() or a "
            f"function of the step. Got {schedule!r} instead."
        )
    if isinstance(schedule, Schedule):
        schedule.validate()
    return schedule


def observes(schedule: Schedule | Callable[[int], float]) -> bool:
    """Whether a schedule looks at the history; if not, its rates can be computed far ahead.

    Parameters
    ----------
    schedule : Schedule or callable
        What `resolve` answers.

    Returns
    -------
    bool

    Examples
    --------
    >>> from ctrain.schedules import Cosine, ReduceOnPlateau, observes
    >>> observes(ReduceOnPlateau()), observes(Cosine())
    (True, False)
    """
    return isinstance(schedule, Schedule) and type(schedule).observe is not Schedule.observe


def learning_rates(
    schedule: Schedule | Callable[[int], float],
    learning_rate_init: float,
    first_step: int,
    n_steps: int,
    length: Length | None = None,
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
    length : Length or None, default=None
        Of the fit; None for ``Length()``, a fit whose end nobody knows.

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
    >>> from ctrain.schedules import Cosine, Length, learning_rates
    >>> learning_rates(Cosine(), 0.01, first_step=0, n_steps=3, length=Length(total_steps=2))
    array([0.01 , 0.005, 0.   ])
    >>> learning_rates(lambda step: 0.1 / (1 + step), 0.01, first_step=3, n_steps=2)
    array([0.025, 0.02 ])
    """
    if isinstance(schedule, Schedule):
        steps = np.arange(first_step, first_step + n_steps)
        given = schedule(steps, float(learning_rate_init), Length() if length is None else length)
        rates = np.asarray(given, dtype=np.float64)
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
