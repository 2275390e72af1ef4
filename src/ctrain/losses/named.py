"""Losses by name, and those that are made of other things: of a loss, of a function."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ..distributions import Distribution
from ..rules import find, wrong
from .likelihood import NegativeLogLikelihood
from .loss import Loss
from .pointwise import (
    CRPS,
    MAPE,
    SMAPE,
    AbsoluteError,
    Huber,
    LogCosh,
    LogLoss,
    Poisson,
    Quantile,
    SquaredError,
)


class Weighted(Loss):
    """Another loss, each row weighted by a function of its target.

    The step minimises ``sum(w * f * l) / sum(w * f)``.

    Parameters
    ----------
    loss : str, Loss or callable
        What is weighted.
    function : callable
        ``function(tape, target) -> Tensor`` of shape (), not negative, made of tape operations.

    Examples
    --------
    >>> from ctrain import Regressor
    >>> from ctrain.losses import Weighted
    >>> def large_matters(tape, target):
    ...     return tape.mean(tape.abs(target))
    >>> reg = Regressor(loss=Weighted("mae", large_matters))
    """

    def __init__(self, loss, function) -> None:
        self.loss = loss
        self.function = function

    @property
    def width(self) -> int:
        return resolve(self.loss).width

    @property
    def head(self) -> Distribution | None:
        return resolve(self.loss).head

    @property
    def quantile_levels(self) -> tuple[float, ...] | None:
        return resolve(self.loss).quantile_levels

    def validate(self) -> None:
        resolve(self.loss).validate()
        if not callable(self.function):
            raise TypeError(str(wrong(self, "function", "callable")))

    def check_target(self, y: np.ndarray, name: str) -> None:
        resolve(self.loss).check_target(y, name)

    def within(self, location, scale) -> Loss:
        return Weighted(resolve(self.loss).within(location, scale), self.function)

    def record(self, tape, prediction, target):
        loss = tape.as_tensor(resolve(self.loss).record(tape, prediction, target), "loss")
        weight = tape.stop_gradient(tape.as_tensor(self.function(tape, target), "Weighted"))
        if weight.shape != ():
            raise ValueError(
                f"Weighted: function must return one number per row, shape (); got {weight.shape}"
            )
        return tape.ratio(tape.mul(loss, weight), weight)

    def link(self, tape, prediction):
        return resolve(self.loss).link(tape, prediction)


class Custom(Loss):
    """A loss written by the user; what a callable given as `loss` becomes.

    Parameters
    ----------
    function : callable
        ``function(tape, prediction, target) -> Tensor`` of shape (), made of tape operations.

    Examples
    --------
    >>> from ctrain.losses import resolve
    >>> resolve(lambda tape, p, t: tape.mean(tape.abs(tape.sub(p, t)))).width
    1
    """

    def __init__(self, function) -> None:
        self.function = function

    def record(self, tape, prediction, target):
        return self.function(tape, prediction, target)


LOSSES: dict[str, type[Loss]] = {
    "squared_error": SquaredError,
    "absolute_error": AbsoluteError,
    "huber": Huber,
    "quantile": Quantile,
    "crps": CRPS,
    "mape": MAPE,
    "smape": SMAPE,
    "logcosh": LogCosh,
    "poisson": Poisson,
    "log_loss": LogLoss,
}

#: likelihoods by the name of their distribution; that of "poisson" has a link of its own above
LIKELIHOODS: dict[str, Callable[[], Loss]] = {
    name: partial(NegativeLogLikelihood, name)
    for name in ("normal", "student_t", "negative_binomial")
}

ALIASES = {
    "mse": "squared_error",
    "l2": "squared_error",
    "mae": "absolute_error",
    "l1": "absolute_error",
    "pinball": "quantile",
    "mean_absolute_percentage_error": "mape",
    "log_cosh": "logcosh",
    "cross_entropy": "log_loss",
    # of a Forecaster, whose season says in what units
    "mase": "absolute_error",
    "msse": "squared_error",
}


def resolve(loss) -> Loss:
    """Return the loss that a name, an object or a callable stands for.

    Parameters
    ----------
    loss : str, Loss or callable

    Returns
    -------
    Loss

    Raises
    ------
    ValueError
        If it is an unknown name.
    TypeError
        If it is none of these.

    Examples
    --------
    >>> from ctrain.losses import resolve
    >>> resolve("mse"), resolve("pinball")
    (SquaredError(), Quantile())
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str):
        return find("loss", loss, {**LOSSES, **LIKELIHOODS}, ALIASES)()
    if callable(loss) and not isinstance(loss, type):
        return Custom(loss)
    hint = f"; did you mean {loss.__name__}()?" if isinstance(loss, type) else ""
    raise TypeError(
        f"loss must be a name, an object of ctrain.losses or a callable; got {loss!r}{hint}"
    )
