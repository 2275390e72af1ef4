"""Rows of the operation table, by family."""

from . import (
    attention,
    batch,
    convolution,
    elementwise,
    linear,
    loss,
    normalization,
    random,
    recurrent,
    reduce,
    shape,
)
from .table import OPS, Op, Row

__all__ = [
    "OPS",
    "Op",
    "Row",
    "attention",
    "batch",
    "convolution",
    "elementwise",
    "linear",
    "loss",
    "normalization",
    "random",
    "recurrent",
    "reduce",
    "shape",
]
