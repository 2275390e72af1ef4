"""Test inputs for the random operations.

A random operation is as determined as any other once the state of the generator is given, so its
twin takes that state too: ``twin(x, seed=, stream=, step=, dtype=, rows=, **attributes)``,
where ``stream`` is the node's and ``rows`` are the identities of the rows, 0, 1, ... if absent.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

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


def bernoulli(x, p=0.5, scale=1.0, *, seed, stream, step, dtype, rows=None):
    rows = np.arange(len(x)) if rows is None else rows
    size = int(np.prod(x.shape[1:]))
    return bernoulli_twin(seed, stream, step, rows, size, p, scale).reshape(x.shape)


def units(key: int, rows: np.ndarray, size: int, attempt: int) -> np.ndarray:
    """``(2, len(rows), size)`` numbers (2 k + 1) / 2**53, k of 52 bits.

    Those of words 0 and 1, and of 2 and 3, of the counters (row, attempt * 2**40 + element).
    """
    lo = np.uint64(attempt << 40) + np.arange(size, dtype=np.uint64)
    words = philox(key, rows[:, None], lo[None, :]).astype(np.uint64)
    high, low = words[..., 0::2], words[..., 1::2]
    bits = (high << np.uint64(20)) ^ (low >> np.uint64(12))
    return np.moveaxis((2.0 * bits + 1.0) / 2.0**53, -1, 0)


def box_muller(u: np.ndarray) -> np.ndarray:
    return np.sqrt(-2 * np.log(u[0])) * np.cos(2 * np.pi * u[1])


def uniform_twin(x, units, dtype):
    u = units(0)[0]
    if dtype == "float32":  # rounded down to 24 bits
        u = (u.view(np.uint64) & ~np.uint64(0x1FFFFFFF)).view(np.float64)
    return u


def normal_twin(x, units, dtype):
    return box_muller(units(0))


def gamma_twin(a, units, dtype):
    d = np.where(a < 1, a + 1, a) - 1 / 3
    power, y, k = units(1)[1], np.full(a.shape, np.nan), 0
    while np.isnan(y).any():
        x = box_muller(units(k))
        v = (1 + x / np.sqrt(9 * d)) ** 3
        with np.errstate(invalid="ignore"):
            hit = np.log(units(k + 1)[0]) < x * x / 2 + d - d * v + d * np.log(v)
        y = np.where(np.isnan(y) & hit, d * v, y)
        k += 2
    return np.where(a < 1, y * power ** (1 / a), y)


def poisson_twin(rate, units, dtype):
    few, u = rate < 10, units(0)[0]
    counts = np.arange(200).reshape(200, *[1] * rate.ndim)
    at_most = stats.poisson.cdf(counts, rate)
    y, k = np.where(few, (at_most <= u).sum(axis=0), np.nan), 0
    rate = np.maximum(rate, 10.0)
    b = 0.931 + 2.53 * np.sqrt(rate)
    a = -0.059 + 0.02483 * b
    while np.isnan(y).any():
        u, v = units(k)
        edge = 0.5 - np.abs(u - 0.5)
        n = np.floor((2 * a / edge + b) * (u - 0.5) + rate + 0.43)
        height = np.log(v * (1.1239 + 1.1328 / (b - 3.4)) / (a / edge**2 + b))
        hit = (edge >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2))
        hit |= (
            (n >= 0) & ((edge >= 0.013) | (v <= edge)) & (height <= stats.poisson.logpmf(n, rate))
        )
        y = np.where(np.isnan(y) & hit, n, y)
        k += 1
    return y


def drawn(twin):
    """The twin of an operation: the draws of a row, known by its number or its key's bits."""

    def draws(x, given=None, *, seed, stream, step, dtype, rows=None):
        rows = np.arange(len(x), dtype=np.uint64) if rows is None else rows
        if given is not None:
            bits = given.astype(dtype).view(dtype.replace("float", "uint")).reshape(len(x), -1)
            rows = []
            for row in bits:
                rows.append(len(row))
                for b in row:
                    rows[-1] = mix(rows[-1], int(b))
            rows = np.array(rows, np.uint64)
        key = mix(mix(seed & MASK, stream), step)
        flat = x.reshape(len(x), -1)
        return twin(flat, lambda k: units(key, rows, flat.shape[1], k), dtype).reshape(x.shape)

    return draws


def _draws(twin, low, high) -> list[Case]:
    """Arguments spread evenly in their logarithm."""

    def case(*shape, key=None):
        def sample(rng, rows):
            x = np.exp(rng.uniform(np.log(low), np.log(high), (rows, *shape)))
            return (x,) if key is None else (x, rng.normal(size=(rows, *key)))

        return Case(sample, drawn(twin))

    return [case(), case(7), case(33), case(5, 9, key=(1,)), case(3, 4, 11, key=(3, 5))]


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
    "random_uniform": _draws(uniform_twin, 1.0, 2.0),
    "random_normal": _draws(normal_twin, 1.0, 2.0),
    "random_gamma": _draws(gamma_twin, 0.05, 1e4),
    "random_poisson": _draws(poisson_twin, 1e-2, 1e6),
}
