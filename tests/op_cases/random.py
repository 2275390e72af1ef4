"""Test inputs for the random operations.

A random operation is as determined as any other once the state of the generator is given, so its
twin takes that state too: ``twin(x, seed=, stream=, step=, rows=, **attributes)``, where
``stream`` is the node's and ``rows`` are the identities of the rows, 0, 1, ... if absent. A test
compares for equality, not with a tolerance.
"""

from __future__ import annotations

import numpy as np

from .case import Case

MASK = (1 << 64) - 1

# Known answers of Philox4x32-10, from the authors' own kat_vectors (Random123):
# key, high and low half of the counter, the four words.
PHILOX_VECTORS = [
    (0, 0, 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (MASK, MASK, MASK, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        0x299F31D0A4093822,
        0x0370734413198A2E,
        0x85A308D3243F6A88,
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def philox(key: int, hi: np.ndarray, lo: np.ndarray) -> np.ndarray:
    """Philox4x32-10 of the counters (hi, lo): shape (..., 4), uint32."""
    low = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    hi, lo = np.broadcast_arrays(np.asarray(hi, np.uint64), np.asarray(lo, np.uint64))
    x0, x1, x2, x3 = lo & low, lo >> half, hi & low, hi >> half
    for i in range(10):
        k0 = np.uint64((key + i * 0x9E3779B9) & 0xFFFFFFFF)
        k1 = np.uint64(((key >> 32) + i * 0xBB67AE85) & 0xFFFFFFFF)
        p0, p1 = x0 * np.uint64(0xD2511F53), x2 * np.uint64(0xCD9E8D57)
        x0, x1, x2, x3 = (p1 >> half) ^ x1 ^ k0, p1 & low, (p0 >> half) ^ x3 ^ k1, p0 & low
    return np.stack([x0, x1, x2, x3], axis=-1).astype(np.uint32)


def mix(a: int, b: int) -> int:
    """A 64-bit key from a key and a number."""

    def spread(z: int) -> int:
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB & MASK
        return z ^ (z >> 31)

    return spread(spread((a + 0x9E3779B97F4A7C15) & MASK) ^ b)


def bernoulli_twin(seed, stream, step, rows, size, p=0.5, scale=1.0) -> np.ndarray:
    """``(len(rows), size)`` draws.

    Element 32 g + 8 j + i of a row is word j of counter (row, 8 g + i) under the key
    mix(mix(seed, stream), step); it is ``scale`` if the word is below p * 2**32.
    """
    groups = -(-size // 32)
    key = mix(mix(seed & MASK, stream), step)
    words = philox(key, np.asarray(rows, np.int64)[:, None], np.arange(8 * groups)[None, :])
    words = words.reshape(len(rows), groups, 8, 4).swapaxes(2, 3).reshape(len(rows), -1)[:, :size]
    return np.where(words.astype(np.uint64) < np.uint64(round(p * 2**32)), scale, 0.0)


def bernoulli(x, p=0.5, scale=1.0, *, seed, stream, step, rows=None):
    rows = np.arange(len(x)) if rows is None else rows
    size = int(np.prod(x.shape[1:]))
    return bernoulli_twin(seed, stream, step, rows, size, p, scale).reshape(x.shape)


def _case(*shape, **attributes) -> Case:
    return Case(lambda rng, rows: (rng.normal(size=(rows, *shape)),), bernoulli, attributes)


CASES: dict[str, list[Case]] = {
    "bernoulli": [
        _case(7),
        _case(3, 11, p=0.9, scale=1 / 0.9),
        _case(64, p=0.1, scale=-2.5),
        _case(131, p=0.25, scale=4 / 3),
        _case(5, 9, 4, p=1e-3),
        _case(33, p=1.0, scale=3.0),
        _case(33, p=0.0),
        _case(p=0.5),
    ],
}
