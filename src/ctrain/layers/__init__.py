"""Layers: what declares parameters and records the operations on them, for any model."""

from .convolution import conv1d
from .dense import ACTIVATIONS, activate, dense, linear
from .normalization import batch_norm, layer_norm, rms_norm, weight_norm
from .recurrent import gru, lstm, rnn

__all__ = [
    "ACTIVATIONS",
    "activate",
    "batch_norm",
    "conv1d",
    "dense",
    "gru",
    "layer_norm",
    "linear",
    "lstm",
    "rms_norm",
    "rnn",
    "weight_norm",
]
