"""Layers: what declares parameters and records the operations on them, for any model."""

from .dense import ACTIVATIONS, activate, dense, linear
from .normalization import layer_norm

__all__ = ["ACTIVATIONS", "activate", "dense", "layer_norm", "linear"]
