"""Layers: what declares parameters and records the operations on them, for any model."""

from .dense import ACTIVATIONS, activate, dense, linear
from .normalization import layer_norm
from .recurrent import gru, lstm, rnn

__all__ = ["ACTIVATIONS", "activate", "dense", "gru", "layer_norm", "linear", "lstm", "rnn"]
