"""Small problems, scikit-learn's perceptrons fitted to them, and what "the same" means."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning

#: rounding of float64 over some hundred products
CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def numbers(n_targets=1, n=80, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 5))
    Y = np.abs(X @ rng.normal(size=(5, n_targets)) + 0.1 * rng.normal(size=(n, n_targets)))
    return X, Y[:, 0] if n_targets == 1 else Y


def labels(kind, n=80, seed=0):
    X, Y = numbers(4, n, seed)
    if kind == "labels":
        return X, (Y > np.median(Y, axis=0)).astype(int)
    if kind == "two":
        return X, np.array(["no", "yes"])[(Y[:, 0] > 1.0).astype(int)]
    if kind == "strings":
        return X, np.array(["ash", "beech", "cedar", "dogwood"], object)[Y.argmax(axis=1)]
    return X, 10 - 3 * Y.argmax(axis=1)


TARGETS = ["two", "classes", "strings", "labels"]


def theirs(kind, *args, epochs=3, **parameters):
    """A fit of scikit-learn's that need not converge."""
    parameters = {"max_iter": epochs, "random_state": 0, **parameters}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        X, y = args
        return kind(**parameters).fit(X, y)


def fit_on(mlp, X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mlp.fit(X, y)


def equal_answers(a, b, X, **tolerance):
    tolerance = tolerance or CLOSE
    if hasattr(a, "predict_proba"):
        np.testing.assert_allclose(a.predict_proba(X), b.predict_proba(X), **tolerance)
        np.testing.assert_array_equal(a.classes_, b.classes_)
        first, second = a.predict(X), b.predict(X)
        # objects that are strings are strings in scikit-learn's answer
        assert first.dtype == second.dtype or {first.dtype.kind, second.dtype.kind} == {"U", "O"}
        np.testing.assert_array_equal(first, second)
    else:
        first, second = a.predict(X), b.predict(X)
        assert first.shape == second.shape
        np.testing.assert_allclose(first, second, **tolerance)


def equal_weights(a, b, **tolerance):
    for mine, other in zip([*a.coefs_, *a.intercepts_], [*b.coefs_, *b.intercepts_], strict=True):
        assert mine.dtype == other.dtype
        np.testing.assert_allclose(mine, other, **(tolerance or {"rtol": 0}))
