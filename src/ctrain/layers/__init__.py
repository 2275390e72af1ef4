"""Layers: what declares parameters and records the operations on them, for any model."""

from .attention import (
    multi_head_attention,
    transformer_decoder_layer,
    transformer_encoder_layer,
)
from .convolution import conv1d
from .dense import ACTIVATIONS, activate, dense, linear
from .embedding import embedding, learned_positions, sinusoidal_positions
from .gating import gated_linear_unit, gated_residual, variable_selection
from .normalization import batch_norm, layer_norm, rms_norm, weight_norm
from .recurrent import gru, lstm, rnn

__all__ = [
    "ACTIVATIONS",
    "activate",
    "batch_norm",
    "conv1d",
    "dense",
    "embedding",
    "gated_linear_unit",
    "gated_residual",
    "gru",
    "layer_norm",
    "learned_positions",
    "linear",
    "lstm",
    "multi_head_attention",
    "rms_norm",
    "rnn",
    "sinusoidal_positions",
    "transformer_decoder_layer",
    "transformer_encoder_layer",
    "variable_selection",
    "weight_norm",
]
