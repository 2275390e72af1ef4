"""Losses: small declarations of what one row costs, made of the tape's operations.

A step minimises ``sum(w_i * l_i) / sum(w_i)`` over the rows i of a batch, with the sample weights
w; ``loss_curve_`` reports the same quotient. With several targets a row's loss is the mean over
them.
"""

from .likelihood import NegativeLogLikelihood
from .loss import Loss
from .named import ALIASES, LIKELIHOODS, LOSSES, Custom, Weighted, resolve
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

__all__ = [
    "ALIASES",
    "CRPS",
    "LIKELIHOODS",
    "LOSSES",
    "MAPE",
    "SMAPE",
    "AbsoluteError",
    "Custom",
    "Huber",
    "LogCosh",
    "LogLoss",
    "Loss",
    "NegativeLogLikelihood",
    "Poisson",
    "Quantile",
    "SquaredError",
    "Weighted",
    "resolve",
]
