"""Test inputs of attention; with dropout its twin takes the state of the generator, see random."""

from __future__ import annotations

import numpy as np

from .case import Case
from .random import bernoulli_twin

DRAWN = 32  # queries that one draw gives weights of a key


def attention(
    q, k, v, n_heads=1, causal=False, scale=None, rate=0.0, *, seed, stream, step, dtype
):  # fmt: skip
    def heads(x):  # (rows, lead, heads, time, size)
        x = x.reshape(len(x), -1, *x.shape[-2:-1], n_heads, x.shape[-1] // n_heads)
        return x.swapaxes(-2, -3)

    qh, kh, vh = heads(q), heads(k), heads(v)
    scores = qh @ kh.swapaxes(-1, -2) * (qh.shape[-1] ** -0.5 if scale is None else scale)
    if causal:
        scores[..., ~np.tri(q.shape[-2], dtype=bool)] = -np.inf
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    if rate:
        rows, lead, _, queries, keys = weights.shape
        blocks = -(-queries // DRAWN)
        size = lead * n_heads * keys * blocks * DRAWN
        drawn = bernoulli_twin(seed, stream, step, np.arange(rows), size, 1 - rate, 1 / (1 - rate))
        drawn = drawn.reshape(rows, lead, n_heads, keys, blocks * DRAWN)[..., :queries]
        weights = weights * drawn.swapaxes(-1, -2)
    y = (weights @ vh).swapaxes(-2, -3)
    return y.reshape(*q.shape[:-1], v.shape[-1])


def _case(lead, queries: int, keys: int, size: int, v_size: int, **attributes) -> Case:
    def sample(rng, rows):
        return (
            rng.normal(size=(rows, *lead, queries, size)),
            rng.normal(size=(rows, *lead, keys, size)),
            rng.normal(size=(rows, *lead, keys, v_size)),
        )

    return Case(sample, attention, attributes)


CASES = {
    "attention": [
        _case((), 1, 1, 1, 1),
        _case((), 3, 2, 2, 2),
        _case((), 4, 4, 6, 6, n_heads=3, causal=True),
        _case((), 5, 5, 4, 4, n_heads=2),
        _case((2,), 3, 7, 6, 2, n_heads=2, scale=0.7),
        _case((), 37, 37, 8, 8, n_heads=1, causal=True),
        _case((), 33, 18, 4, 2, n_heads=2, rate=0.25),
        _case((2, 2), 3, 5, 4, 4, n_heads=2, rate=0.5),
        _case((), 2, 3, 64, 19),
        _case((), 2, 530, 1, 1),  # two chunks of keys
    ]
}
