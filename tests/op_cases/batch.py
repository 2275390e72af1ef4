"""Test inputs of the operations that read every row of the batch."""

from __future__ import annotations

import numpy as np

from .case import Case


def _case(*shape) -> Case:
    return Case(lambda rng, rows: (rng.normal(size=(rows, *shape)),), lambda x: x.mean(axis=0))


def batch_moments(x, count=1, ddof=0):
    """Moments of values that have those of each row: mean +- sqrt(variance)."""
    mean, spread = x[:, 0], np.sqrt(x[:, 1])
    values = np.concatenate([mean - spread, mean + spread])
    free = len(x) * count
    return np.stack([values.mean(axis=0), values.var(axis=0) * free / (free - ddof)])


def _moments_case(n, **attributes) -> Case:
    def sample(rng, rows):
        return (np.stack([rng.normal(size=(rows, n)), rng.uniform(0.1, 2, (rows, n))], axis=1),)

    return Case(sample, batch_moments, attributes)


CASES = {
    "batch_mean": [_case(), _case(1), _case(7), _case(16), _case(37), _case(3, 2, 11)],
    "batch_moments": [
        _moments_case(1),
        _moments_case(5, count=2, ddof=1),
        _moments_case(33, count=7, ddof=1),
        _moments_case(70, count=12),
    ],
}
