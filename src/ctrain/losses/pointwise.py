"""Losses that compare a target with a prediction; the formulas are rows of the operation table."""

from __future__ import annotations

import numpy as np

from ..rules import wrong
from .loss import Loss, check_domain, is_number, numbers_of

TWENTIETHS = tuple(k / 20 for k in range(1, 20))


class SquaredError(Loss):
    """Mean over the targets of ``(prediction - target) ** 2``.

    Predicts the conditional mean. Zero targets are like any other. As PyTorch's ``MSELoss`` and
    scikit-learn's ``mean_squared_error``; scikit-learn's ``MLPRegressor`` minimises half of it.

    Examples
    --------
    >>> import numpy as np
    >>> from ctrain import Regressor
    >>> X = np.zeros((5, 1))  # nothing to learn from: the best constant
    >>> reg = Regressor((), loss="squared_error", optimizer="lbfgs")
    >>> reg.fit(X, [1, 2, 3, 4, 100]).predict(X[:1]).round(1)
    array([22.])
    """

    def record(self, tape, prediction, target):
        return tape.squared_error(prediction, target)


class AbsoluteError(Loss):
    """Mean over the targets of ``|prediction - target|``.

    Predicts the conditional median. Zero targets are like any other. As PyTorch's ``L1Loss``: the
    gradient is 0 where prediction and target are equal.

    Examples
    --------
    >>> import numpy as np
    >>> from ctrain import Regressor
    >>> X = np.zeros((5, 1))  # nothing to learn from: the best constant
    >>> reg = Regressor((), loss="absolute_error", optimizer="sgd", max_iter=1000,
    ...                 schedule=lambda step: 1 / (1 + step))
    >>> reg.fit(X, [1, 2, 3, 4, 100]).predict(X[:1]).round(1)
    array([3.])
    """

    def record(self, tape, prediction, target):
        return tape.absolute_error(prediction, target)


class Huber(Loss):
    """``d ** 2 / 2`` for errors ``|d|`` up to `delta`, ``delta * (|d| - delta / 2)`` beyond.

    Zero targets are like any other.

    Parameters
    ----------
    delta : float, default=1.0
        In units of the target; above 0.

    References
    ----------
    Huber, Robust estimation of a location parameter, Ann. Math. Stat. 35, 1964. Scaled as
    PyTorch's ``HuberLoss``: half the squared error inside.

    Examples
    --------
    >>> import numpy as np
    >>> from ctrain import Regressor
    >>> X = np.zeros((5, 1))  # nothing to learn from: the best constant
    >>> from ctrain.losses import Huber
    >>> reg = Regressor((), loss=Huber(delta=1.0), optimizer="lbfgs")
    >>> reg.fit(X, [1, 2, 3, 4, 100]).predict(X[:1]).round(1)
    array([3.])
    """

    def __init__(self, delta: float = 1.0) -> None:
        self.delta = delta

    def validate(self) -> None:
        value = self.delta
        if not is_number(value) or not 0.0 < value < np.inf:
            raise wrong(self, "delta", "a float in the range (0.0, inf)")

    def record(self, tape, prediction, target):
        return tape.huber(prediction, target, delta=float(self.delta))


class Quantile(Loss):
    """Pinball loss ``max(q * e, (q - 1) * e)`` with ``e = target - prediction``.

    With several levels the network puts out one value for each, the loss is their mean and
    ``predict`` answers one more axis, in the order of `levels`. Nothing keeps the levels from
    crossing. Zero targets are like any other.

    Parameters
    ----------
    levels : float or sequence of float, default=0.5
        Each in (0, 1).
    weights : sequence of float, default=None
        Of each level, above 0 and not normalised; None = ones.

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
        return len(numbers_of(self.levels))

    @property
    def quantile_levels(self) -> tuple[float, ...] | None:
        return numbers_of(self.levels) if self.width > 1 else None

    def validate(self) -> None:
        levels = numbers_of(self.levels)
        if not levels or not all(0.0 < q < 1.0 for q in levels):
            raise wrong(self, "levels", "one or more floats in the range (0, 1)")
        if self.weights is not None:
            weights = numbers_of(self.weights)
            if len(weights) != len(levels) or not all(0.0 < w < np.inf for w in weights):
                raise wrong(self, "weights", f"{len(levels)} positive floats, one for each level")

    def record(self, tape, prediction, target):
        weights = None if self.weights is None else numbers_of(self.weights)
        return tape.quantile(prediction, target, levels=numbers_of(self.levels), weights=weights)


class CRPS(Quantile):
    """Continuous ranked probability score by quantiles: the mean over levels of twice the pinball.

    The score is the integral of twice the pinball loss over all levels in (0, 1), which a grid of
    them estimates; the more and the more evenly spread, the closer. In units of the target, and the
    absolute error where there is one level, 0.5.

    Parameters
    ----------
    levels : float or sequence of float, default=(0.05, 0.1, ..., 0.95)
        Each in (0, 1).

    References
    ----------
    Gneiting and Raftery, Strictly proper scoring rules, prediction, and estimation, JASA 102, 2007.

    Examples
    --------
    >>> from ctrain.losses import CRPS
    >>> CRPS().width, CRPS((0.1, 0.5, 0.9)).width
    (19, 3)
    """

    def __init__(self, levels=TWENTIETHS) -> None:
        self.levels = levels

    @property
    def weights(self) -> tuple[float, ...]:
        return (2.0,) * self.width


class MAPE(Loss):
    """Mean absolute percentage error ``|p - t| / max(|t|, eps)``, as a fraction.

    As :func:`sklearn.metrics.mean_absolute_percentage_error`, eps being the machine epsilon of
    the dtype: a zero target divides by it and dominates the mean. Drop such rows or use SMAPE.

    Examples
    --------
    >>> import numpy as np
    >>> import ctrain
    >>> tape = ctrain.Tape("float64")
    >>> p, t = tape.input((1,), name="p"), tape.input((1,), name="t")
    >>> loss = ctrain.losses.MAPE().record(tape, p, t)
    >>> tape.forward(p=[[1.5], [1.5]], t=[[1.0], [2.0]])
    >>> tape.value(loss)
    array([0.5 , 0.25])
    """

    def record(self, tape, prediction, target):
        return tape.mape(prediction, target)


class SMAPE(Loss):
    """Symmetric percentage error ``2 |p - t| / (|p| + |t|)`` in [0, 2]; 0 where both are zero.

    References
    ----------
    Makridakis and Hibon, The M3-competition, Int. J. Forecasting 16, 2000.

    Examples
    --------
    >>> import numpy as np
    >>> import ctrain
    >>> tape = ctrain.Tape("float64")
    >>> p, t = tape.input((1,), name="p"), tape.input((1,), name="t")
    >>> loss = ctrain.losses.SMAPE().record(tape, p, t)
    >>> tape.forward(p=[[3.0], [3.0], [0.0]], t=[[1.0], [0.0], [0.0]])
    >>> tape.value(loss)
    array([1., 2., 0.])
    """

    def record(self, tape, prediction, target):
        return tape.smape(prediction, target)


class LogCosh(Loss):
    """``log(cosh(p - t))``: quadratic near zero, linear far away, smooth everywhere.

    As Keras' ``LogCosh``. Zero targets are like any other.

    Examples
    --------
    >>> import numpy as np
    >>> from ctrain import Regressor
    >>> X = np.zeros((5, 1))  # nothing to learn from: the best constant
    >>> reg = Regressor((), loss="logcosh", optimizer="lbfgs")
    >>> reg.fit(X, [1, 2, 3, 4, 100]).predict(X[:1]).round(1)
    array([3.])
    """

    def record(self, tape, prediction, target):
        return tape.logcosh(prediction, target)


class Poisson(Loss):
    """Negative log-likelihood ``exp(z) - t * z`` of counts, z the network's output.

    ``predict`` answers the rate ``exp(z)``. Zero targets are valid; negative ones are refused.
    The constant ``log(t!)`` is left out, as in PyTorch's ``PoissonNLLLoss``.

    Examples
    --------
    >>> import numpy as np
    >>> from ctrain import Regressor
    >>> X = np.zeros((5, 1))  # nothing to learn from: the best constant
    >>> reg = Regressor((), loss="poisson", optimizer="lbfgs")
    >>> reg.fit(X, [0, 0, 1, 3, 6]).predict(X[:1]).round(2)
    array([2.])
    """

    def check_target(self, y: np.ndarray, name: str) -> None:
        check_domain(y, y < 0, f"loss='poisson' needs {name} >= 0")

    def record(self, tape, prediction, target):
        return tape.poisson(prediction, target, log_input=True)

    def link(self, tape, prediction):
        return tape.exp(prediction)


class LogLoss(Loss):
    """Cross-entropy of logits: ``-t * log(s) - (1 - t) * log(1 - s)``, s the sigmoid of the logit.

    Of a regressor, whose targets are probabilities, one logit each, ``predict`` answers s. Of a
    classifier with K > 2 classes: ``-sum_c t_c * log(softmax(z)_c)`` over K logits z, t_c being 1
    for the row's class. A target of 0 is like any other. As PyTorch's ``BCEWithLogitsLoss`` and
    ``CrossEntropyLoss``.

    Parameters
    ----------
    label_smoothing : float, default=0.0
        In [0, 1]: the share s of the target spread evenly over the K classes (two for one logit),
        ``(1 - s) * t_c + s / K``.

    References
    ----------
    Szegedy et al., Rethinking the Inception architecture for computer vision, CVPR 2016
    (label smoothing).

    Examples
    --------
    >>> import numpy as np
    >>> from ctrain import Regressor
    >>> X = np.zeros((5, 1))  # nothing to learn from: the best constant
    >>> reg = Regressor((), loss="log_loss", optimizer="lbfgs")
    >>> reg.fit(X, [0, 0, 1, 1, 1]).predict(X[:1]).round(2)
    array([0.6])
    >>> from ctrain import Classifier
    >>> from ctrain.losses import LogLoss
    >>> clf = Classifier((), loss=LogLoss(label_smoothing=0.1), optimizer="lbfgs")
    >>> clf.fit(X, list("aabbc")).predict_proba(X[:1]).round(2)  # 0.9 * share + 0.1 / 3
    array([[0.39, 0.39, 0.21]])
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        self.label_smoothing = label_smoothing

    def validate(self) -> None:
        value = self.label_smoothing
        if not is_number(value) or not 0.0 <= value <= 1.0:
            raise wrong(self, "label_smoothing", "a float in the range [0.0, 1.0]")

    def check_target(self, y: np.ndarray, name: str) -> None:
        rule = f"loss='log_loss' of a regressor needs probabilities, {name} in [0, 1]"
        check_domain(y, (y < 0) | (y > 1), rule)

    def record(self, tape, prediction, target):
        if prediction.shape == target.shape and prediction.shape[-1] > 1:
            # several targets: each its own probability
            prediction = tape.reshape(prediction, (*prediction.shape, 1))
            target = tape.reshape(target, (*target.shape, 1))
        return tape.log_loss(prediction, target, label_smoothing=float(self.label_smoothing))

    def link(self, tape, prediction):
        return tape.sigmoid(prediction)
