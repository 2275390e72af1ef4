"""What a fit is asked to do, and where it stands, to the step."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import numpy as np
from sklearn.base import clone

from ._core.optim import Optimizer
from .history import History
from .stopping import Stopping


class Pause(BaseException):
    """Raised by a signal handler that found ``state.stepping`` true and set it to false.

    The step that is under way is abandoned, who is due between steps is called, and the training
    goes on with that step.
    """


@dataclass
class Settings:
    """What a fit is asked to do; the names are the estimator's.

    ``batch_size`` is a number here, ``schedule`` and ``optimizer`` are objects; ``has_length`` is
    False for a partial fit, whose schedule knows no end.
    """

    optimizer: object
    schedule: object
    learning_rate_init: float
    batch_size: int
    accumulate_steps: int
    max_iter: int
    max_steps: int | None
    max_time: float | None
    has_length: bool
    shuffle: bool
    alpha: float
    l1: float
    clip_norm: float | None
    clip_value: float | None
    monitor: str
    stopping: Stopping | None
    validation_interval: int
    n_threads: int
    verbose: int


@dataclass
class State:
    """Where the training of one network stands, next to its weights.

    Attributes
    ----------
    seed : int
        Of initialisation, shuffling, dropout and the validation split.
    step, epoch : int
        Whole optimizer steps and epochs so far.
    epoch_step : int
        Steps of the epoch that is under way.
    first_step, first_epoch : int
        Where the schedule counts from, and where this fit began.
    partial : bool
        Whether the last call was a partial fit.
    history : History
    optimizer : Optimizer or None
        Slots of the last optimizer.
    schedule : object
        The fit's own copy, with what it remembers.
    stopping : Stopping or None
    best_weights : ndarray or None
        Those of the best epoch.
    restored : bool
        Whether the network has the best weights rather than those of the last step.
    data : dict of str to int
        Sizes of what this fit is trained on, which a resumed one must find again.
    stepping : bool
        Whether the core is at work, so that a signal handler may raise `Pause`.
    stopped_by : str or None
        What ended the last fit: "max_iter", "max_steps", "max_time", "early_stopping", "callback",
        "converged" (lbfgs); None if an error or an interrupt did.
    """

    seed: int
    step: int = 0
    epoch: int = 0
    epoch_step: int = 0
    first_step: int = 0
    first_epoch: int = 0
    partial: bool = False
    history: History = field(default_factory=History)
    optimizer: Optimizer | None = None
    schedule: object = None
    stopping: Stopping | None = None
    best_weights: np.ndarray | None = None
    restored: bool = False
    data: dict[str, int] = field(default_factory=dict)
    stepping: bool = False
    stopped_by: str | None = None

    def begin(self, settings: Settings) -> None:
        """Start a new fit from here: a new schedule, a new best epoch, the old slots."""
        partial = not settings.has_length
        self.first_epoch = self.epoch
        if not (partial and self.partial):  # the schedule of partial fits goes on
            self.first_step = self.step
            declared = settings.schedule
            self.schedule = clone(declared) if hasattr(declared, "get_params") else declared
        elif not callable(self.schedule):  # the user's own, of which a file knew what it remembered
            remembered, self.schedule = vars(self.schedule), copy.copy(settings.schedule)
            names = [name for name in remembered if name.endswith("_")]
            vars(self.schedule).update({name: remembered[name] for name in names})
        self.partial = partial
        self.epoch_step = 0
        self.stopping = settings.stopping
        self.best_weights = None
        self.restored = False
