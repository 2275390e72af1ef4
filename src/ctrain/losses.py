"""Losses: small declarations of what one row costs, made of the tape's operations.

A step minimises ``sum(w_i * l_i) / sum(w_i)`` over the rows i of a batch, with the sample weights
w. The formulas of the rows themselves are in the operation table (``tape.huber`` ...).
"""

from __future__ import annotations

import difflib
import numbers

import numpy as np
from sklearn.base import BaseEstimator


class Loss(BaseEstimator):
    """What a loss tells the estimator; subclasses record the operations.

    Attributes
    ----------
    width : int
        Values that the network puts out for each target.
    """

    width = 1

    def validate(self) -> None:
        """Check the parameters; raise ValueError with the rule."""

    def check_target(self, y: np.ndarray) -> None:
        """Check that the targets lie in the loss's domain."""

    def record(self, tape, prediction, target):
        """Record the loss of one row.

        Parameters
        ----------
        tape : Tape
        prediction : Tensor of shape (n_targets,), or (n_targets, width) if width > 1
            What the network puts out.
        target : Tensor of shape (n_targets,)

        Returns
        -------
        Tensor of shape ()
        """
        raise NotImplementedError

    def link(self, tape, prediction):
        """Record what ``predict`` answers, from what the network puts out."""
        return prediction


class SquaredError(Loss):
    """Mean over the targets of ``(prediction - target) ** 2``.

    Predicts the conditional mean. Zero targets are like any other.

    Examples
    --------
    >>> from ctrain.losses import resolve
    >>> resolve("mse")
    SquaredError()
    """

    def record(self, tape, prediction, target):
        return tape.squared_error(prediction, target)


class AbsoluteError(Loss):
    """Mean over the targets of ``|prediction - target|``; predicts the conditional median."""

    def record(self, tape, prediction, target):
        return tape.absolute_error(prediction, target)


class Huber(Loss):
    """Quadratic for errors up to `delta`, linear beyond: ``delta * (|d| - delta / 2)``.

    Parameters
    ----------
    delta : float, default=1.0
        In units of the target; above 0.

    References
    ----------
    Huber, Robust estimation of a location parameter, Ann. Math. Stat. 35, 1964. Scaled as
    PyTorch's ``HuberLoss``: half the squared error inside.
    """

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = delta

    def validate(self) -> None:
        _check_number(self, "delta", self.delta, 0.0, None)

    def record(self, tape, prediction, target):
        return tape.huber(prediction, target, delta=float(self.delta))


class Quantile(Loss):
    """Pinball loss ``max(q * e, (q - 1) * e)`` with ``e = target - prediction``.

    With several levels the network puts out one value for each, the loss is their mean and
    ``predict`` answers one more axis, in the order of `levels`.

    Parameters
    ----------
    levels : float or sequence of float, default=0.5
        Each in (0, 1).
    weights : sequence of float, default=None
        Of each level; None = ones.

    References
    ----------
    Koenker and Bassett, Regression quantiles, Econometrica 46, 1978.

    Examples
    --------
    >>> from ctrain.losses import Quantile
    >>> Quantile((0.1, 0.5, 0.9)).width
    3
    """

    def __init__(self, levels=0.5, weights=None) -> None:
        self.levels = levels
        self.weights = weights

    @property
    def width(self) -> int:
        return len(self._levels())

    def _levels(self) -> tuple[float, ...]:
        return tuple(float(q) for q in np.atleast_1d(self.levels))

    def validate(self) -> None:
        levels = self._levels()
        if not levels or any(not 0.0 < q < 1.0 for q in levels):
            raise ValueError(
                f"The 'levels' parameter of Quantile must be in (0, 1). Got {self.levels!r} instead."
            )
        if self.weights is not None:
            weights = np.atleast_1d(self.weights)
            if weights.shape != (len(levels),) or not np.all(weights > 0.0):
                raise ValueError(
                    f"The 'weights' parameter of Quantile must be {len(levels)} positive numbers. "
                    f"Got {self.weights!r} instead."
                )

    def record(self, tape, prediction, target):
        weights = None if self.weights is None else tuple(float(w) for w in self.weights)
        return tape.quantile(prediction, target, levels=self._levels(), weights=weights)


class MAPE(Loss):
    """Mean absolute percentage error ``|p - t| / max(|t|, eps)``, as a fraction.

    A zero target divides by the tiny eps of the operation and dominates the mean, as in
    :func:`sklearn.metrics.mean_absolute_percentage_error`; drop such rows or use SMAPE.
    """

    def record(self, tape, prediction, target):
        return tape.mape(prediction, target)


class SMAPE(Loss):
    """Symmetric percentage error ``2 |p - t| / (|p| + |t|)`` in [0, 2]; 0 where both are zero.

    References
    ----------
    Makridakis and Hibon, The M3-competition, Int. J. Forecasting 16, 2000.
    """

    def record(self, tape, prediction, target):
        return tape.smape(prediction, target)


class LogCosh(Loss):
    """``log(cosh(p - t))``: quadratic near zero, linear far away, smooth everywhere."""

    def record(self, tape, prediction, target):
        return tape.logcosh(prediction, target)


class Poisson(Loss):
    """Negative log-likelihood ``exp(z) - t * z`` of counts, z the network's output.

    ``predict`` answers the rate ``exp(z)``. Zero targets are valid; negative ones are refused.
    The constant ``log(t!)`` is left out, as in PyTorch's ``PoissonNLLLoss``.
    """

    def check_target(self, y: np.ndarray) -> None:
        if np.min(y) < 0:
            at = np.unravel_index(np.argmin(y), y.shape)
            raise ValueError(
                f"loss='poisson' needs y >= 0; y{list(map(int, at))} is {y[at]}; "
                "use another loss for signed targets"
            )
        if not np.sum(y) > 0:
            raise ValueError("loss='poisson' needs at least one y above 0; all are 0")

    def record(self, tape, prediction, target):
        return tape.poisson(prediction, target, log_input=True)

    def link(self, tape, prediction):
        return tape.exp(prediction)


class LogLoss(Loss):
    """Cross-entropy of logits: classes by index or probability, one logit for two classes.

    Parameters
    ----------
    label_smoothing : float, default=0.0
        In [0, 1]: the share of the target spread evenly over the classes.

    References
    ----------
    Szegedy et al., Rethinking the Inception architecture for computer vision, CVPR 2016.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def validate(self) -> None:
        if not 0.0 <= self.label_smoothing <= 1.0:
            raise ValueError(
                "The 'label_smoothing' parameter of LogLoss must be in [0, 1]. "
                f"Got {self.label_smoothing!r} instead."
            )

    def check_target(self, y: np.ndarray) -> None:
        if np.min(y) < 0 or np.max(y) > 1:
            raise ValueError(
                f"loss='log_loss' of a regressor needs probabilities, y in [0, 1]; "
                f"got values from {np.min(y)} to {np.max(y)}"
            )

    def record(self, tape, prediction, target):
        if prediction.shape == target.shape and prediction.shape[-1] > 1:
            # several targets: each its own probability
            prediction = tape.reshape(prediction, (*prediction.shape, 1))
            target = tape.reshape(target, (*target.shape, 1))
        return tape.log_loss(prediction, target, label_smoothing=float(self.label_smoothing))

    def link(self, tape, prediction):
        return tape.sigmoid(prediction)


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

    def validate(self) -> None:
        resolve(self.loss).validate()
        if not callable(self.function):
            raise TypeError(
                f"The 'function' parameter of Weighted must be callable. Got {self.function!r} "
                "instead."
            )

    def check_target(self, y: np.ndarray) -> None:
        resolve(self.loss).check_target(y)

    def record(self, tape, prediction, target):
        loss = resolve(self.loss).record(tape, prediction, target)
        weight = tape.stop_gradient(tape.as_tensor(self.function(tape, target), "Weighted"))
        if weight.shape != ():
            raise ValueError(
                f"Weighted: function must return one number per row, shape (); got {weight.shape}"
            )
        return tape.ratio(tape.mul(loss, weight), weight)

    def link(self, tape, prediction):
        return resolve(self.loss).link(tape, prediction)


class Custom(Loss):
    """A loss written by the user: ``function(tape, prediction, target) -> Tensor``."""

    def __init__(self, function) -> None:
        self.function = function

    def record(self, tape, prediction, target):
        return tape.as_tensor(self.function(tape, prediction, target), "loss")


LOSSES: dict[str, type[Loss]] = {
    "squared_error": SquaredError,
    "absolute_error": AbsoluteError,
    "huber": Huber,
    "quantile": Quantile,
    "mape": MAPE,
    "smape": SMAPE,
    "logcosh": LogCosh,
    "poisson": Poisson,
    "log_loss": LogLoss,
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
}


def resolve(loss) -> Loss:
    """Return the loss that a name, an object or a callable stands for.

    Parameters
    ----------
    loss : str, Loss or callable

    Returns
    -------
    Loss
    """
    if isinstance(loss, Loss):
        return loss
    if isinstance(loss, str):
        name = ALIASES.get(loss, loss)
        if name in LOSSES:
            return LOSSES[name]()
        near = difflib.get_close_matches(loss, [*LOSSES, *ALIASES], 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(f"loss must be one of {sorted(LOSSES)}; got {loss!r}{hint}")
    if callable(loss) and not isinstance(loss, type):
        return Custom(loss)
    raise TypeError(
        f"loss must be a name, an object of ctrain.losses or a callable; got {type(loss).__name__}"
    )


def _check_number(owner, name: str, value, low: float, high: float | None) -> None:
    """Raise unless `value` is a number in (low, high)."""
    ok = isinstance(value, numbers.Real) and not isinstance(value, bool) and value > low
    if not ok or (high is not None and not value < high) or not np.isfinite(value):
        raise ValueError(
            f"The {name!r} parameter of {type(owner).__name__} must be a float in the range "
            f"({low}, {'inf' if high is None else high}). Got {value!r} instead."
        )
