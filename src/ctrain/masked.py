"""Losses element by element, for windows some of whose steps do not count or count differently."""

from __future__ import annotations

import math

import numpy as np

from . import losses


def masked(tape, loss: losses.Loss, prediction, target, weight):
    """Record ``sum(weight * element) / sum(weight)`` over the targets of a row.

    Parameters
    ----------
    tape : Tape
    loss : Loss
        One of :mod:`ctrain.losses` that compares each target with its prediction.
    prediction : Tensor of shape (n_targets,), or (n_targets, width)
    target : Tensor of shape (n_targets,)
    weight : Tensor of shape (n_targets,)
        Not negative. Rows count by the sum of theirs.

    Returns
    -------
    Tensor of shape ()

    Raises
    ------
    ValueError
        If the loss cannot be taken apart.
    """
    elements = ELEMENTS.get(type(loss))
    if elements is None:
        raise ValueError(
            f"loss={loss!r} cannot be weighted step by step, which missing values and "
            f"horizon_weight need; use one of {sorted(k.__name__ for k in ELEMENTS)}, or do "
            "without these"
        )
    each = elements(tape, loss, prediction, target)
    return tape.ratio(tape.sum(tape.mul(each, weight)), tape.sum(weight))


def _squared(tape, loss, p, t):
    return tape.square(tape.sub(p, t))


def _absolute(tape, loss, p, t):
    return tape.abs(tape.sub(p, t))


def _huber(tape, loss, p, t):
    """q (|d| - q / 2) with q = min(|d|, delta)"""
    d = tape.abs(tape.sub(p, t))
    q = tape.minimum(d, float(loss.delta))
    return tape.mul(q, tape.sub(d, tape.scale(q, 0.5)))


def _quantile(tape, loss, p, t):
    levels = np.atleast_1d(np.asarray(loss.levels, float))
    weights = np.ones(len(levels)) if loss.weights is None else np.asarray(loss.weights, float)
    if len(p.shape) == 1:
        p = tape.reshape(p, (*p.shape, 1))
    d = tape.sub(tape.reshape(t, (*t.shape, 1)), p)
    pinball = tape.maximum(tape.mul(d, levels), tape.mul(d, levels - 1.0))
    return tape.mean(tape.mul(pinball, weights), axis=-1)


def _mape(tape, loss, p, t):
    eps = float(np.finfo(tape.dtype).eps)
    return tape.div(tape.abs(tape.sub(p, t)), tape.maximum(tape.abs(t), eps))


def _smape(tape, loss, p, t):
    tiny = float(np.finfo(tape.dtype).tiny)  # where both are zero the error is, too
    total = tape.maximum(tape.add(tape.abs(p), tape.abs(t)), tiny)
    return tape.div(tape.scale(tape.abs(tape.sub(p, t)), 2.0), total)


def _logcosh(tape, loss, p, t):
    """|d| + log(1 + exp(-2 |d|)) - log 2"""
    d = tape.abs(tape.sub(p, t))
    return tape.add(d, tape.scale(tape.softplus(tape.scale(d, -2.0)), 1.0, -math.log(2.0)))


def _poisson(tape, loss, p, t):
    return tape.sub(tape.exp(p), tape.mul(t, p))


def _likelihood(tape, loss, p, t):
    return loss.elements(tape, p, t)


ELEMENTS = {
    losses.SquaredError: _squared,
    losses.AbsoluteError: _absolute,
    losses.Huber: _huber,
    losses.Quantile: _quantile,
    losses.CRPS: _quantile,
    losses.NegativeLogLikelihood: _likelihood,
    losses.MAPE: _mape,
    losses.SMAPE: _smape,
    losses.LogCosh: _logcosh,
    losses.Poisson: _poisson,
}
