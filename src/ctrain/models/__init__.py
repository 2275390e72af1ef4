"""Architectures: one file each, declaring parameters and recording operations."""

from .dlinear import DLinear
from .mlp import MLP
from .nbeats import NBEATS
from .nhits import NHITS
from .nlinear import NLinear
from .standardized import Standardized
from .tcn import TCN
from .tide import TiDE

__all__ = ["MLP", "NBEATS", "NHITS", "TCN", "DLinear", "NLinear", "Standardized", "TiDE"]
