"""Losses: one number per row, the mean over the row's elements.

Definitions are PyTorch's or scikit-learn's, as each docstring says. The weighting of rows and the
mean over the batch belong to the training step.
"""

from __future__ import annotations

import math

from .table import Row, op, size_of


def _elementwise(name: str, prediction, target, flops: float, ints=(), floats=()) -> Row:
    """A mean over elements of equal shapes; ``flops`` for one element."""
    if prediction.shape != target.shape:
        raise ValueError(
            f"{name}: shapes differ: prediction is {prediction.shape}, target is "
            f"{target.shape}; reshape one of them"
        )
    return _mean(name, prediction, flops, ints, floats)


def _mean(name: str, prediction, flops: float, ints=(), floats=()) -> Row:
    n = size_of(prediction.shape)
    if n == 0:
        raise ValueError(f"{name}: prediction of row shape {prediction.shape} has no elements")
    return Row((), (n, *ints), tuple(float(v) for v in floats), flops * n)


@op(reads=(0, 1))
def squared_error(prediction, target, /):
    """Mean of ``(prediction - target)**2``.

    As PyTorch's MSELoss and scikit-learn's mean_squared_error: no factor of one half. A target of
    zero is nothing special.
    """
    return _elementwise("squared_error", prediction, target, 3)


@op(reads=(0, 1))
def absolute_error(prediction, target, /):
    """Mean of ``|prediction - target|``.

    As PyTorch's L1Loss. The gradient is 0 where the two are equal; a target of zero is nothing
    special.
    """
    return _elementwise("absolute_error", prediction, target, 3)


@op(reads=(0, 1))
def huber(prediction, target, /, delta=1.0):
    """``d**2 / 2`` up to ``|d| = delta``, ``delta * (|d| - delta / 2)`` beyond, d the error.

    As PyTorch's HuberLoss. A target of zero is nothing special.
    """
    if not 0 < delta < math.inf:
        raise ValueError(f"huber: delta must be a positive finite number, got {delta}")
    return _elementwise("huber", prediction, target, 6, (), (delta,))


@op(reads=(0, 1))
def quantile(prediction, target, /, levels=(0.5,), weights=None):
    """Mean over levels and elements of ``w * max(tau * d, (tau - 1) * d)``, d the error.

    d is target - prediction: the pinball loss of Koenker and Bassett (1978), as scikit-learn's
    mean_pinball_loss when there is one level. The last axis of the prediction runs over the levels;
    with a single level it may be absent. ``weights``, one for each level, are 1 by default and are
    not normalised. The gradient is 0 where d is 0; a target of zero is nothing special.
    """
    levels = tuple(levels) if hasattr(levels, "__iter__") else (levels,)
    weights = (1.0,) * len(levels) if weights is None else tuple(weights)
    q = len(levels)
    if q == 0 or not all(0 < tau < 1 for tau in levels):
        raise ValueError(f"quantile: levels must lie between 0 and 1, got {levels}")
    if len(weights) != q or not all(0 <= w < math.inf for w in weights):
        raise ValueError(
            f"quantile: weights must be {q} finite numbers >= 0, one for each level, got {weights}"
        )
    same = q == 1 and prediction.shape == target.shape
    if not same and prediction.shape != (*target.shape, q):
        raise ValueError(
            f"quantile: prediction must be the target's shape and one more axis over the {q} "
            f"levels, {(*target.shape, q)}, got {prediction.shape}"
        )
    return _mean("quantile", prediction, 6, (q,), (*levels, *weights))


@op(reads=(0, 1))
def mape(prediction, target, /):
    """Mean of ``|prediction - target| / max(|target|, eps)``, a fraction, not percent.

    As scikit-learn's mean_absolute_percentage_error, with eps the machine epsilon of the dtype
    that is computed in: 2.2e-16, and 1.2e-7 in float32, where the former would overflow. So the
    loss at a target of zero is ``|prediction| / eps``: finite, and huge.
    """
    return _elementwise("mape", prediction, target, 6)


@op(reads=(0, 1))
def smape(prediction, target, /):
    """Mean of ``2 |prediction - target| / (|prediction| + |target|)``, between 0 and 2.

    As in the M4 competition (Makridakis et al., 2020), as a fraction, not percent. Where both are
    zero, loss and gradient are 0; where only the target is, the loss is 2.
    """
    return _elementwise("smape", prediction, target, 8)


@op(reads=(0, 1))
def logcosh(prediction, target, /):
    """Mean of ``log(cosh(prediction - target))``.

    As Keras' LogCosh; computed without overflow and without cancellation near 0. A target of
    zero is nothing special.
    """
    return _elementwise("logcosh", prediction, target, 40)


@op(reads=(0, 1))
def poisson(prediction, target, /, log_input=True):
    """Mean of ``exp(prediction) - target * prediction``, the prediction being a log rate.

    With ``log_input=False`` the prediction is the rate itself: ``prediction - target *
    log(prediction + 1e-8)``. As PyTorch's PoissonNLLLoss, without the term of the target alone. A
    target of zero leaves the rate.
    """
    return _elementwise("poisson", prediction, target, 24, (int(bool(log_input)),))


@op(reads=(0, 1))
def log_loss(prediction, target, /, label_smoothing=0.0):
    """Cross entropy of logits.

    The last axis of the prediction runs over the classes. The target holds class indices, as
    numbers, without that axis, or probabilities in the prediction's shape; the loss is ``-sum_c
    t_c log softmax(prediction)_c``, the mean over the other axes. With a last axis of length 1 and
    a target of the same shape it is the binary cross entropy of ``sigmoid(prediction)``, the target
    between 0 and 1.

    As PyTorch's CrossEntropyLoss and BCEWithLogitsLoss. ``label_smoothing`` = s replaces t_c by
    ``(1 - s) t_c + s / classes`` (binary: two classes). Class 0 and a probability of 0 are nothing
    special: a probability of 0 leaves out its class, even at a logit of -inf. An index is
    rounded to the nearest whole number, its gradient is 0; one that is not a class gives NaN.
    """
    if not 0 <= label_smoothing <= 1:
        raise ValueError(f"log_loss: label_smoothing must lie in [0, 1], got {label_smoothing}")
    smoothing = (float(label_smoothing),)
    shape = prediction.shape
    if not shape or size_of(shape) == 0:
        raise ValueError(f"log_loss: prediction needs a last axis over the classes, got {shape}")
    classes = shape[-1]
    if classes == 1 and target.shape == shape:
        return _mean("log_loss", prediction, 45, (2, 1), smoothing)
    if classes == 1:
        raise ValueError(
            f"log_loss: a single logit {shape} needs a target of its shape, got {target.shape}"
        )
    if target.shape not in (shape[:-1], shape):
        raise ValueError(
            f"log_loss: target must hold class indices {shape[:-1]} or probabilities {shape}, got "
            f"{target.shape}"
        )
    kind = int(target.shape == shape)
    n = size_of(shape[:-1])
    return Row((), (n, kind, classes), smoothing, 25.0 * n * classes)
