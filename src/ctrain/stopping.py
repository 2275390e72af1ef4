"""When to stop: a state machine over the values of one metric."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass
class Stopping:
    """Best value so far, and how long ago.

    A value is better if it is strictly below (above, with mode "max") the best one; values that are
    not finite never are. Patience ends after `patience` values in a row none of which is better by
    more than `min_delta` than the last one that was, so that many small improvements add up.

    Parameters
    ----------
    mode : {"min", "max"}
    patience : float
        Values without improvement that end the training; infinity = any number.
    min_delta : float, default=0.0
        In units of the metric.

    Attributes
    ----------
    best : float
        Best value; NaN before the first finite one.
    best_epoch : int
        Its epoch; 0 before.
    reference : float
        What the next value has to beat by `min_delta`; NaN before the first finite one.
    waited : int
        Values since `reference`.

    Examples
    --------
    >>> from ctrain.stopping import Stopping
    >>> stopping = Stopping("min", patience=2)
    >>> [stopping.improves(epoch, v) for epoch, v in enumerate([3.0, 2.0, float("nan"), 2.5], 1)]
    [True, True, False, False]
    >>> stopping.best_epoch, stopping.exhausted
    (2, True)
    """

    mode: str
    patience: float
    min_delta: float = 0.0
    best: float = math.nan
    best_epoch: int = 0
    reference: float = math.nan
    waited: int = 0

    def improves(self, epoch: int, value: float) -> bool:
        """Take the value of an epoch; tell whether it is the best so far."""
        sign = 1.0 if self.mode == "min" else -1.0
        finite = math.isfinite(value)
        if finite and not sign * value >= sign * self.reference - self.min_delta:
            self.reference = value
            self.waited = 0
        else:
            self.waited += 1
        better = finite and not sign * value >= sign * self.best
        if better:
            self.best, self.best_epoch = value, epoch
        return better

    @property
    def exhausted(self) -> bool:
        """Whether patience has ended."""
        return self.waited >= self.patience
