"""A small problem, an estimator that fits it in milliseconds, and what "the same" means."""

from __future__ import annotations

import numpy as np

from ctrain import Regressor


def problem(n=60, features=4, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, features))
    y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * rng.normal(size=n)
    return X.astype(dtype), y.astype(dtype)


def small(**parameters):
    """An estimator whose fit takes a few milliseconds and whose batches do not divide 60 rows."""
    defaults = {"hidden_layer_sizes": (8,), "max_iter": 3, "batch_size": 16, "random_state": 0}
    defaults["schedule"] = "constant"
    return Regressor(**{**defaults, **parameters})


def same_bits(a, b) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
