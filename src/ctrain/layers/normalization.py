"""Layers that bring values to one scale."""

from __future__ import annotations


def layer_norm(tape, x, name: str, eps: float = 1e-5):
    """Normalise the last axis, then scale and shift by ``<name>.weight`` and ``<name>.bias``."""
    centred = tape.sub(x, tape.mean(x, axis=-1, keepdims=True))
    variance = tape.mean(tape.square(centred), axis=-1, keepdims=True)
    normal = tape.mul(centred, tape.power(tape.scale(variance, 1.0, eps), -0.5))
    weight = tape.parameter((x.shape[-1],), name=f"{name}.weight", init="ones", decay=False)
    bias = tape.parameter((x.shape[-1],), name=f"{name}.bias", init="zeros", decay=False)
    return tape.add(tape.mul(normal, weight), bias)
