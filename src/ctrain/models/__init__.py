"""Architectures: one file each, declaring parameters and recording operations."""

from .deepar import DeepAR
from .dlinear import DLinear
from .gru import GRU
from .itransformer import iTransformer
from .lstm import LSTM
from .mlp import MLP
from .nbeats import NBEATS
from .nhits import NHITS
from .nlinear import NLinear
from .patchtst import PatchTST
from .rnn import RNN
from .standardized import Standardized
from .tcn import TCN
from .tft import TFT
from .tide import TiDE
from .tsmixer import TSMixer
from .vanilla_transformer import VanillaTransformer

__all__ = [
    "GRU",
    "LSTM",
    "MLP",
    "NBEATS",
    "NHITS",
    "RNN",
    "TCN",
    "TFT",
    "DLinear",
    "DeepAR",
    "NLinear",
    "PatchTST",
    "Standardized",
    "TSMixer",
    "TiDE",
    "VanillaTransformer",
    "iTransformer",
]
