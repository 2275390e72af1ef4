"""A schedule that looks at the history: lower the learning rate where nothing gets better."""

from __future__ import annotations

import math
from numbers import Integral
from typing import ClassVar

import numpy as np

from ..rules import POSITIVE_OR_ZERO, OneOf, Range
from .schedule import Schedule


class ReduceOnPlateau(Schedule):
    r"""A factor each time the monitored number has not become better for a while.

    A number is better if it is below the best so far times ``1 - threshold`` (``"rel"``) or minus
    ``threshold`` (``"abs"``); for ``mode="max"`` above, times ``1 + threshold`` or plus it. NaN
    never is. After more than `patience` numbers in a row that were not better,
    :math:`\eta \leftarrow \max(\eta \cdot \text{factor}, \eta_{\min})` from the next step on.

    Parameters
    ----------
    monitor : str or None, default=None
        A column of the history; None for "validation_loss", without validation "loss".
    mode : {"min", "max"}, default="min"
        Whether lower or higher numbers are better.
    factor : float, default=0.1
        What a reduction leaves of the learning rate.
    patience : int, default=5
        Validations without a better number that are put up with. With early stopping keep it
        below ``n_iter_no_change``, or there is nothing left to reduce.
    threshold : float, default=1e-4
        How much better counts.
    threshold_mode : {"rel", "abs"}, default="rel"
    cooldown : int, default=0
        Validations after a reduction during which nothing is counted.
    min_lr : float, default=0.0
        :math:`\eta_{\min}`.
    eps : float, default=1e-8
        A reduction by no more than this is left out.

    Attributes
    ----------
    best_ : float or None
        The best number so far.
    n_bad_, n_cooldown_, n_reductions_ : int
        Numbers since then that were not better; validations of the cooldown that are left;
        reductions so far.

    References
    ----------
    PyTorch's ``ReduceLROnPlateau``, whose default ``patience`` is 10.

    Examples
    --------
    >>> from ctrain.schedules import Length, ReduceOnPlateau
    >>> plateau = ReduceOnPlateau(factor=0.5, patience=1)
    >>> history, rates = {"validation_loss": []}, []
    >>> for loss in (3.0, 2.0, 2.5, float("nan"), 1.0):
    ...     history["validation_loss"].append(loss)
    ...     plateau.observe(history)
    ...     rates.append(float(plateau(0, 0.1, Length())))
    >>> rates
    [0.1, 0.1, 0.1, 0.05, 0.05]
    """

    best_ = None
    n_bad_ = 0
    n_cooldown_ = 0
    n_reductions_ = 0
    _rules: ClassVar = {
        "monitor": OneOf((str, None)),
        "mode": OneOf(("min", "max")),
        "factor": Range(0.0, 1.0, "()"),
        "patience": Range(0, kind=Integral),
        "threshold": POSITIVE_OR_ZERO,
        "threshold_mode": OneOf(("rel", "abs")),
        "cooldown": Range(0, kind=Integral),
        "min_lr": POSITIVE_OR_ZERO,
        "eps": POSITIVE_OR_ZERO,
    }

    def __init__(
        self,
        monitor=None,
        mode="min",
        factor=0.1,
        patience=5,
        threshold=1e-4,
        threshold_mode="rel",
        cooldown=0,
        min_lr=0.0,
        eps=1e-8,
    ):
        self.monitor = monitor
        self.mode = mode
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_mode = threshold_mode
        self.cooldown = cooldown
        self.min_lr = min_lr
        self.eps = eps

    def __call__(self, step, base, length):
        """Give the learning rate of each step: the same for all, until the next observation."""
        rate = base
        for _ in range(self.n_reductions_):
            reduced = max(rate * self.factor, self.min_lr)
            if rate - reduced <= self.eps:
                break  # and so would be all that follow
            rate = reduced
        return np.full(np.shape(step), rate, dtype=np.float64)

    def observe(self, history):
        """Compare the last number of the monitored column with the best before it."""
        column = self.monitor or ("validation_loss" if "validation_loss" in history else "loss")
        if column not in history:
            raise ValueError(
                f"The 'monitor' parameter of ReduceOnPlateau must be a column of the history: "
                f"{', '.join(history)}. Got {column!r} instead."
            )
        value = float(history[column][-1])
        if self._is_better(value):
            self.best_, self.n_bad_ = value, 0
        else:
            self.n_bad_ += 1
        if self.n_cooldown_ > 0:
            self.n_cooldown_ -= 1
            self.n_bad_ = 0
        if self.n_bad_ > self.patience:
            self.n_reductions_ += 1
            self.n_cooldown_, self.n_bad_ = int(self.cooldown), 0

    def _is_better(self, value: float) -> bool:
        sign = 1.0 if self.mode == "max" else -1.0
        if self.best_ is None:
            return sign * value > -math.inf
        if self.threshold_mode == "rel":
            return sign * value > sign * (self.best_ * (1.0 + sign * self.threshold))
        return sign * value > sign * (self.best_ + sign * self.threshold)
