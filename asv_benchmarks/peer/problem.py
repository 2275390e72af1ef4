"""The problem that every library solves: data, initial weights, order of the rows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

LEARNING_RATE = 1e-4  #: small enough for the widest network here
BETAS = (0.9, 0.999)
EPS = 1e-8
WEIGHT_DECAY = 0.01
#: longer than every gradient here: the norm is computed and compared, no gradient is shortened, and
#: the libraries that do not clip walk the same way
CLIP_NORM = 1e4


def data(n_in: int, rows: int, dtype: str = "float32") -> tuple[np.ndarray, np.ndarray]:
    """X (rows, n_in) and y (rows, 1), a smooth function of X with noise."""
    rng = np.random.default_rng(1)
    X = rng.normal(size=(rows, n_in))
    y = np.tanh(X @ rng.normal(size=(n_in, 1)) / np.sqrt(n_in)) + 0.1 * rng.normal(size=(rows, 1))
    return X.astype(dtype), y.astype(dtype)


def weights(layers: list[int], dtype: str = "float32") -> list[tuple[np.ndarray, np.ndarray]]:
    """Glorot-uniform matrices (n_in, n_out) and zero biases."""
    rng = np.random.default_rng(2)
    pairs = []
    for n_in, n_out in pairwise(layers):
        bound = np.sqrt(6.0 / (n_in + n_out))
        w = rng.uniform(-bound, bound, size=(n_in, n_out))
        pairs.append((w.astype(dtype), np.zeros(n_out, dtype)))
    return pairs


def sequences(rows: int, time: int, n_in: int) -> tuple[np.ndarray, np.ndarray]:
    """X (rows, time, n_in) and y (rows, 1), a smooth function of all steps; float32."""
    rng = np.random.default_rng(5)
    X = rng.normal(size=(rows, time, n_in))
    y = np.tanh(X.mean(axis=(1, 2), keepdims=True)[:, 0] * np.sqrt(time))
    return X.astype(np.float32), y.astype(np.float32)


def named(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Initial values of a parameter by its name: uniform within 1 / sqrt(n_in), float32."""
    rng = np.random.default_rng(list(name.encode()))
    bound = 1.0 / np.sqrt(shape[0])
    return rng.uniform(-bound, bound, size=shape).astype(np.float32)


def order(rows: int, batch: int) -> np.ndarray:
    """Rows of each step of one epoch, (steps, batch); what does not fill a batch is left out."""
    steps = rows // batch
    return np.random.default_rng(3).permutation(rows)[: steps * batch].reshape(steps, batch)


def aligned(array: np.ndarray) -> np.ndarray:
    """A C-contiguous copy that begins on a cache line, as matrices do inside the libraries."""
    raw = np.empty(array.nbytes + 64, np.uint8)
    start = -raw.ctypes.data % 64
    copy = raw[start : start + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def loss(pairs, X: np.ndarray, y: np.ndarray) -> float:
    """Mean squared error of a ReLU network, in float64."""
    h = X.astype(np.float64)
    for k, (w, b) in enumerate(pairs):
        h = h @ np.asarray(w, np.float64) + np.asarray(b, np.float64)
        if k < len(pairs) - 1:
            h = np.maximum(h, 0.0)
    return float(np.mean((h - y) ** 2))


def attention(time: int, size: int) -> dict[str, np.ndarray]:
    """Weights of positions and four projections, by their names in ctrain; matrices (in, out)."""
    rng, bound = np.random.default_rng(4), size**-0.5
    shapes = {"positions.weight": (time, size)}
    for part in ("query", "key", "value", "out"):
        shapes |= {f"attention.{part}.weight": (size, size), f"attention.{part}.bias": (size,)}
    return {
        name: rng.uniform(-bound, bound, shape).astype(np.float32) for name, shape in shapes.items()
    }
