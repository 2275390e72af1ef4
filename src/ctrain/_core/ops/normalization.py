"""Operations that bring values to one scale: layer_norm, rms_norm, affine."""

from __future__ import annotations

import math

from .table import Row, op, size_of


def _vectors(name: str, x, given: dict, eps: float, flops: float) -> Row:
    if len(x.shape) < 1:
        raise ValueError(f"{name}: x needs an axis to normalise, its row shape is {x.shape}")
    n = x.shape[-1]
    for what, tensor in given.items():
        if tensor.shape != (n,):
            raise ValueError(f"{name}: {what} must be {(n,)} for x {x.shape}, it is {tensor.shape}")
    if not 0 < eps < math.inf:
        raise ValueError(f"{name}: eps must be a positive finite number, got {eps}")
    size = size_of(x.shape)
    return Row(x.shape, (size // n, n), (float(eps),), flops * size)


@op(reads=(0,), param_reads=(0,), weights=(1, 2), whole=(1,))
def layer_norm(x, weight, bias, /, eps=1e-5):
    """``(x - mean) / sqrt(variance + eps) * weight + bias`` over the last axis.

    The variance is the mean of ``(x - mean)**2``, as in PyTorch's LayerNorm (Ba, Kiros, Hinton,
    2016). ``weight`` and ``bias`` are (n,).
    """
    return _vectors("layer_norm", x, {"weight": weight, "bias": bias}, eps, 8)


@op(reads=(0,), param_reads=(0,), weights=(1,), whole=(1,))
def rms_norm(x, weight, /, eps=1e-5):
    """``x / sqrt(mean(x**2) + eps) * weight`` over the last axis (Zhang, Sennrich, 2019)."""
    return _vectors("rms_norm", x, {"weight": weight}, eps, 5)


@op(param_reads=(0, 3), weights=(1, 2, 3), differentiable=(0, 1, 2))
def affine(x, scale, shift, center=None, /):
    """``(x - center) * scale + shift`` along the last axis of ``x`` (..., n); the others are (n,).

    ``center`` is 0 where it is absent, and has no gradient.
    """
    n = x.shape[-1:]
    if not n:
        raise ValueError("affine: x needs an axis, its row shape is ()")
    for name, given in (("scale", scale), ("shift", shift), ("center", center)):
        if given is not None and given.shape != n:
            raise ValueError(
                f"affine: {name} must be {n} for x {x.shape}, its shape is {given.shape}"
            )
    return Row(x.shape, (size_of(x.shape[:-1]), *n), flops=3.0 * size_of(x.shape))
