"""Rows that are held out to validate on, and scikit-learn's metrics of a fit."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from scipy.sparse import issparse
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from ._core import random
from .validation import check_scorer


def split(
    n: int, fraction: float, shuffle: bool, seed: int, strata=None, weights=None
) -> tuple[np.ndarray, np.ndarray]:
    """Choose the rows to train on and those to validate on.

    Parameters
    ----------
    n : int
        Rows.
    fraction : float
        Share to validate on.
    shuffle : bool
        Whether to choose at random; otherwise the last ones.
    seed : int
    strata : array of shape (n,), default=None
        Labels, whose shares a random choice keeps as well as whole rows can; at least one row of
        each stays to train on.
    weights : array of shape (n,), default=None

    Returns
    -------
    train, validate : ndarray of int64
        Both rise.

    Raises
    ------
    ValueError
        If one of the parts has no row, or only rows of weight 0.
    """
    count = int(np.ceil(fraction * n))
    order = np.arange(n)
    if shuffle:
        order = random.permutation(random.key(seed, "validation"), n)
    if shuffle and strata is not None:  # the last of each label's rows
        order = order[np.argsort(strata[order], kind="stable")]
        _, sizes = np.unique(strata, return_counts=True)
        held = np.minimum(np.rint(fraction * sizes).astype(int), sizes - 1)
        chosen = np.concatenate(
            [np.arange(end - k, end) for end, k in zip(np.cumsum(sizes), held, strict=True)]
        )
        order = np.concatenate([np.delete(order, chosen), order[chosen]])
        count = len(chosen)
    remedy = "change it, pass X_val and y_val, or set early_stopping=False"
    if not 0 < count < n:
        use = "train" if count else "validate"
        raise ValueError(
            f"validation_fraction={fraction} of n_samples={n} leaves no row to {use} on; {remedy}"
        )
    train, validate = np.sort(order[: n - count]), np.sort(order[n - count :])
    for part, use in ((train, "train"), (validate, "validate")):
        if weights is not None and not weights[part].any():
            raise ValueError(
                f"validation_fraction={fraction} leaves only rows of sample_weight 0 to {use} on; "
                f"drop those rows, {remedy}"
            )
    return train, validate


def metric_name(metric) -> str:
    """Name of a scorer, of its metric or of a function."""
    if isinstance(metric, str):
        return metric
    function = getattr(metric, "_score_func", metric)
    return getattr(function, "__name__", type(metric).__name__)


def scorers(estimator) -> dict[str, Callable]:
    """Scorers of an estimator's metrics and monitor by name; the loss is none of them."""
    metrics = [] if estimator.metrics is None else estimator.metrics
    metrics = metrics if isinstance(metrics, (list, tuple)) else [metrics]
    named = [("metrics", metric) for metric in metrics]
    if not (isinstance(estimator.monitor, str) and estimator.monitor == "loss"):
        named.append(("monitor", estimator.monitor))
    for name, metric in named:
        check_scorer(estimator, name, metric)
    if not named:
        return {}
    from sklearn.metrics import check_scoring  # costs as much to import as all of ctrain

    found: dict = {}
    for _, metric in named:
        if found.setdefault(metric_name(metric), metric) != metric:
            raise ValueError(
                f"metrics and monitor: two scorers are named {metric_name(metric)!r}, which is "
                "their column in history_; give their functions names of their own"
            )
    return {name: check_scoring(estimator, metric) for name, metric in found.items()}


class Scores:
    """Metrics of an estimator, as it is when called, on parts of the data.

    Parameters
    ----------
    estimator : Estimator
    scorers : dict of str to scorer
    parts : dict of str to tuple
        X, y, sample weights or None, and rows (None for all).

    Attributes
    ----------
    columns : list of str
        ``<part>_<metric>``.
    """

    def __init__(self, estimator, scorers: dict[str, Callable], parts: dict) -> None:
        self.estimator, self.scorers, self.parts = estimator, scorers, {}
        self.columns = [f"{part}_{name}" for part in parts for name in scorers]
        for part, (X, y, weight, rows) in parts.items() if scorers else ():
            given = {"X": X, "y": y}  # a scorer gets data in the user's form
            if getattr(y, "dtype", None) == np.dtype(object):  # but metrics want types
                given["y"] = np.array(list(y))
            if weight is not None:
                given["sample_weight"] = np.broadcast_to(np.asarray(weight), _num_samples(X))
            if rows is not None:
                given = {name: _taken(data, rows) for name, data in given.items()}
            self.parts[part] = given.pop("X"), given.pop("y"), given

    def __call__(self) -> dict[str, float]:
        row = {}
        for part, (X, y, weight) in self.parts.items():
            for name, scorer in self.scorers.items():
                try:
                    row[f"{part}_{name}"] = float(scorer(self.estimator, X, y, **weight))
                except Exception as error:
                    given = " with sample_weight" if weight else ""
                    error.add_note(f"raised by the metric {name!r} on the {part} rows{given}")
                    raise
        return row


def _taken(data, rows: np.ndarray):
    """Some rows of data in the user's form, or what comes nearest and has rows to take."""
    if issparse(data):
        data = data.tocsr()
    elif not hasattr(data, "__getitem__"):
        data = np.asarray(data)
    return _safe_indexing(data, rows)
