"""Rows of the operation table, by family."""

from . import batch, convolution, elementwise, linear, loss, random, recurrent, reduce, shape
from .table import OPS, Op, Row

__all__ = [
    "OPS",
    "Op",
    "Row",
    "batch",
    "convolution",
    "elementwise",
    "linear",
    "loss",
    "random",
    "recurrent",
    "reduce",
    "shape",
]
