"""Test inputs of layer_norm, rms_norm and affine."""

from __future__ import annotations

import numpy as np

from .case import Case


def layer_norm(x, weight, bias, eps=1e-5):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps) * weight + bias


def rms_norm(x, weight, eps=1e-5):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * weight


def _case(twin, *row_shape: int, n_weights: int, **attributes) -> Case:
    def sample(rng, rows):
        weights = rng.normal(size=(n_weights, row_shape[-1]))
        return (rng.normal(0.5, 2.0, size=(rows, *row_shape)), *weights)

    return Case(sample, twin, attributes, weights=(1, 2)[:n_weights])


def _affine_case(row_shape: tuple[int, ...], centered: bool) -> Case:
    def sample(rng, rows):
        x, columns = rng.normal(size=(rows, *row_shape)), rng.normal(size=(3, row_shape[-1]))
        return x, columns[0], columns[1], columns[2] if centered else None

    return Case(sample, _affine, weights=(1, 2, 3) if centered else (1, 2))


def _affine(x, scale, shift, center=None):
    return (x if center is None else x - center) * scale + shift


CASES = {
    name: [
        _case(twin, *shape, n_weights=n_weights, **attributes)
        for shape, attributes in [
            ((1,), {"eps": 0.5}),
            ((3,), {}),
            ((2, 5), {"eps": 1e-3}),
            ((16,), {}),
            ((2, 3, 37), {}),
            ((131,), {"eps": 0.1}),
        ]
    ]
    for name, twin, n_weights in [("layer_norm", layer_norm, 2), ("rms_norm", rms_norm, 1)]
} | {
    "affine": [
        _affine_case(row_shape, centered)
        for row_shape in [(1,), (3,), (7, 5), (19,), (2, 3, 33)]
        for centered in (False, True)
    ]
}
