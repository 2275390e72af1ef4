"""Small problems with classes, and a classifier that fits them in milliseconds."""

from __future__ import annotations

import numpy as np

from ctrain import Classifier


def problem(n=90, classes=3, dtype=np.float64, seed=0):
    """Overlapping classes of different sizes."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    noisy = X[:, 0] + 0.7 * X[:, 1] ** 2 + 0.3 * rng.normal(size=n)
    y = np.digitize(noisy, np.quantile(noisy, np.linspace(0, 1, classes + 1)[1:-1] ** 0.7))
    return X.astype(dtype), y


def indicators(n=90, labels=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    return X, (X @ rng.normal(size=(4, labels)) + rng.normal(size=(n, labels)) > 0).astype(int)


def quick(**parameters):
    """A classifier whose fit takes a few milliseconds and whose batches do not divide 90 rows."""
    defaults = {"hidden_layer_sizes": (8,), "max_iter": 3, "batch_size": 16, "random_state": 0}
    return Classifier(**{**defaults, **parameters})


def focal(tape, prediction, target):
    """Rows that are predicted well count less; Lin et al., 2017, with gamma = 2."""
    cost = tape.log_loss(prediction, target)
    return tape.mul(tape.square(tape.sub(1.0, tape.exp(tape.mul(cost, -1.0)))), cost)
