"""``ctrain predict`` and ``ctrain backtest``: what a fitted estimator answers."""

from __future__ import annotations

import numpy as np

from .. import losses
from ..classifier import Classifier
from ..data import read_like
from ..estimator import load
from ..forecaster import Forecaster
from . import tables
from .report import aligned, note, tell

FILES = (".csv", ".parquet")


def predict(options) -> int:
    """Write answers for the rows of a table, or forecasts."""
    tables.check_out(options.out, FILES)
    estimator = load(options.model)
    if isinstance(estimator, Forecaster):
        columns = _forecast(estimator, options)
    else:
        columns = _predicted(estimator, options)
    n_rows = len(next(iter(columns.values())))
    if options.out is not None:
        tables.write(columns, options.out)
        result = {"rows": n_rows, "columns": list(columns), "saved": options.out}
        tell(result, options.json, aligned(result.items()))
    elif options.json:
        tell({"rows": n_rows, "columns": columns}, True)
    else:
        tell({}, False, [tables.write(columns, None).rstrip("\n")])
    return 0


def _forecast(estimator: Forecaster, options) -> dict[str, np.ndarray]:
    if options.proba:
        options.usage_error("--proba is for classification; this model is a Forecaster")
    answer = estimator.predict(
        options.data, future=options.future, static=options.static, level=options.level,
        steps=options.steps,
    )  # fmt: skip
    return tables.columns_of(answer)


def _predicted(estimator, options) -> dict[str, np.ndarray]:
    kind = type(estimator).__name__
    for name in ("level", "steps", "future", "static"):
        if getattr(options, name) is not None:
            options.usage_error(f"--{name} is for forecasting; this model is a {kind}")
    if options.data is None:
        options.usage_error(f"DATA is missing: this model is a {kind}, whose rows it answers for")
    names = getattr(estimator, "feature_names_in_", None)
    frame = tables.read_table(options.data, names)
    tables.check_features(frame, options.data, "")
    X = frame if names is not None else frame.to_numpy()
    if options.proba:
        if not isinstance(estimator, Classifier):
            options.usage_error(f"--proba is for classification; this model is a {kind}")
        shares = estimator.predict_proba(X)
        return {f"probability_{label}": shares[:, k] for k, label in enumerate(estimator.classes_)}
    return _named(estimator, estimator.predict(X))


def _named(estimator, values: np.ndarray) -> dict[str, np.ndarray]:
    """Columns of predictions: one, or by target, or by quantile, or both."""
    if values.ndim == 1:
        return {"prediction": values}
    levels = losses.resolve(estimator.loss).quantile_levels
    shape = estimator._network.outputs["prediction"].shape
    quantiles = None if levels is None else [f"{q:g}" for q in levels]
    if len(shape) == 1:
        ends = [str(k) for k in range(shape[0])]
    elif shape[0] == 1:
        ends = quantiles
    else:
        ends = [f"{k}_{q}" for k in range(shape[0]) for q in quantiles]
    values = values.reshape(len(values), -1)
    return {f"prediction_{end}": values[:, k] for k, end in enumerate(ends)}


def backtest(options) -> int:
    """Score a forecaster on every window of the last rows of a file."""
    tables.check_out(options.out, FILES)
    estimator = load(options.model)
    if not isinstance(estimator, Forecaster):
        raise ValueError(
            f"{options.model} holds a {type(estimator).__name__}, and a backtest scores a "
            "Forecaster; score tables with predict, or in Python with score(X, y)"
        )
    scores = estimator.backtest(
        options.data, options.test_size, static=options.static, step_size=options.step_size,
        metrics=options.metrics, season=options.season,
    )  # fmt: skip
    seen = _seen(estimator, options)
    if seen:
        note(f"backtest: the fit has seen up to {seen} of the last {options.test_size} rows of a "
             "series; hold them out with fit --test-size")  # fmt: skip
    by_step = {name: scores.by_step(name) for name in scores}
    result = {
        "metrics": dict(scores), "windows": scores.n_windows, "test_size": options.test_size,
        "step_size": options.step_size, "seen": seen, "by_step": by_step,
    }  # fmt: skip
    if options.out is not None:
        steps = np.arange(1, estimator.horizon + 1)
        tables.write({"step": steps, **by_step}, options.out)
        result["saved"] = options.out
    told = {**scores, "windows": scores.n_windows, "saved": options.out}
    tell(result, options.json, aligned(told.items()))
    return 0


def _seen(estimator: Forecaster, options) -> int:
    """Most rows of the test part of a series that lie before the end of what was fitted."""
    panel, known = read_like(options.data, estimator._tail, static=options.static), estimator._tail
    at = known.find(panel.ids)
    rows = panel.offsets[1:, None] - np.arange(options.test_size, 0, -1)
    stamps = panel.stamps(rows[at >= 0].reshape(-1)).reshape(-1, options.test_size)
    return int((stamps <= known.end[at[at >= 0], None]).sum(axis=1).max(initial=0))
