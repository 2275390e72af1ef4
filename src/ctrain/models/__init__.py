"""Architectures: one file each, declaring parameters and recording operations."""

from .mlp import MLP

__all__ = ["MLP"]
