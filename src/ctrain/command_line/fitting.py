"""``ctrain fit``: an estimator from the words of a command, and its training."""

from __future__ import annotations

import secrets
import time

import numpy as np

from .. import losses, optimizers, scalers, schedules
from ..classifier import Classifier
from ..data.frames import open_frame
from ..forecaster import MODELS, Forecaster
from ..models import Standardized
from ..regressor import Regressor
from . import tables
from .report import Interrupted, Progress, aligned, note, tell

#: parameters whose names stand for objects with parameters of their own
RESOLVE = {
    "model": lambda name: MODELS[name](),
    "loss": losses.resolve,
    "optimizer": optimizers.resolve,
    "schedule": schedules.resolve,
    "scaler": scalers.resolve,
}
ONLY_SERIES = ("model", "horizon", "input_size", "freq", "quantiles", "conformal", "static",
               "val_size", "test_size", "futr_exog", "hist_exog", "stat_exog")  # fmt: skip


def fit(options) -> int:
    """Train, save, and say how it went."""
    _check_words(options)
    tables.check_out(options.out, ())
    options.seed = secrets.randbelow(1 << 32) if options.seed is None else options.seed
    fitted = _series(options) if options.horizon is not None else _table(options)
    estimator, result = fitted
    history = estimator.history_
    measured = {
        name: column[-1] for name, column in history.items()
        if name == "loss" or name.startswith(("train_", "validation_"))
    }  # fmt: skip
    if estimator.best_epoch_:
        measured |= {
            name: column[estimator.best_epoch_ - 1]
            for name, column in history.items() if name in measured
        }  # fmt: skip
    result |= {
        "epochs": estimator.n_iter_, "steps": estimator.t_, "stopped_by": estimator.stopped_by_,
        "best_epoch": estimator.best_epoch_ or None, "seconds": estimator.fit_time_, **measured,
        "seed": options.seed, "saved": options.out,
    }  # fmt: skip
    if options.out is not None:
        estimator.save(options.out)
    else:
        note("fit: the model is not saved; name a file with --out")
    told = result if options.json else {**result, "weights": f"{result['weights']:,}"}
    tell(result, options.json, aligned(told.items()))
    return 0


def _check_words(options) -> None:
    """Leave with a usage error if words do not go together."""
    series = options.task == "forecasting" or (options.task is None and options.horizon is not None)
    if series:
        for name in ("horizon", "input_size"):
            if getattr(options, name) is None:
                options.usage_error(f"forecasting needs --{name.replace('_', '-')}")
        for name in ("drop", "no_scale"):
            if getattr(options, name):
                options.usage_error(f"--{name.replace('_', '-')} is for tables, not forecasting")
        if options.target is not None and len(options.target) != 1:
            options.usage_error("forecasting has one --target")
        return
    for name in ONLY_SERIES:
        if getattr(options, name):
            options.usage_error(
                f"--{name.replace('_', '-')} is for forecasting: give --horizon and --input-size, "
                "or leave it out"
            )
    if options.target is None:
        options.usage_error("a table needs --target COL; series need --horizon and --input-size")
    if options.task == "classification" and len(options.target) != 1:
        options.usage_error("classification has one --target")


def _with_settings(estimator, options):
    """Set what --set says; a name such as adamw becomes an object where its parameters are set."""
    given = dict(options.settings)
    for name in given:
        first, _, inner = name.partition("__")
        value = given.get(first, getattr(estimator, first, None))
        if inner and isinstance(value, str) and first in RESOLVE:
            estimator.set_params(**{first: RESOLVE[first](value)})
            given.pop(first, None)
    return estimator.set_params(**given)


def _trained(estimator, options, *data, **named):
    """Fit with progress; after Ctrl-C the weights so far are saved."""
    try:
        started = time.perf_counter()
        with Progress(estimator, options.json):
            estimator.fit(*data, **named)
    except KeyboardInterrupt:
        if options.out is None or not hasattr(estimator, "_network"):
            raise
        estimator.fit_time_ = time.perf_counter() - started
        _quiet(estimator, options).save(options.out)
        raise Interrupted(
            f"interrupted in epoch {estimator.n_iter_ + 1}; the weights so far are in {options.out}"
        ) from None
    return _quiet(estimator, options)


def _quiet(estimator, options):
    """Take back what only the terminal asked for."""
    estimator.set_callbacks()
    return estimator.set_params(verbose=dict(options.settings).get("verbose", 0))


def _weights(estimator) -> int:
    return sum(p.size for p in estimator._network.parameters)


# ------------------------------------------------------------------------ tables


def _table(options) -> tuple[object, dict]:
    path, targets = options.data, options.target
    frame = tables.read_table(path)
    for name in (*targets, *options.drop):
        if name not in frame.columns:
            raise ValueError(
                f"{path} has no column {name!r}; its columns are "
                f"{', '.join(map(repr, frame.columns))}"
            )
    task, reason = options.task, "--task"
    if task is None:
        kinds = [tables.task_of(frame.get_column(name), path) for name in targets]
        task, reason = kinds[0] if len(targets) == 1 else ("regression", "several targets")
    features = frame.drop(list(dict.fromkeys((*targets, *options.drop))))
    if not features.width:
        raise ValueError(f"{path} has no column beside the target that is a feature")
    tables.check_features(features, path, "; or leave it out: --drop '{}'")
    if task == "classification":
        y = tables.labels(frame.get_column(targets[0]), path)
    else:
        tables.check_features(frame.select(targets), path, "")
        y = frame.select(targets).to_numpy()
        y = y[:, 0] if len(targets) == 1 else y
    kind = Classifier if task == "classification" else Regressor
    estimator = _with_settings(kind(random_state=options.seed, n_jobs=options.threads), options)
    scaled = not options.no_scale and estimator.model is None
    if scaled:
        estimator.set_params(model=scaled_model(estimator, features.to_numpy(), y))
    estimator = _trained(estimator, options, features, y)
    result = {
        "estimator": kind.__name__, "task": task, "because": reason, "rows": frame.height,
        "features": features.width, "target": targets, "weights": _weights(estimator),
        "scaled": scaled,
    }  # fmt: skip
    if task == "classification":
        result["classes"] = estimator.classes_.tolist()
        result["train_accuracy"] = estimator.score(features, y)
    elif estimator._network.outputs["prediction"].shape == (len(targets),):
        result["train_r2"] = estimator.score(features, y)
    return estimator, result


def scaled_model(estimator, X: np.ndarray, y: np.ndarray) -> Standardized:
    """The estimator's network between standardised columns and targets.

    Targets are left as they are where the loss asks for their own units: classes, counts.
    """
    estimator._check_parameters()
    mean, scale = tables.moments(X)
    linear = isinstance(estimator, Regressor)
    linear = linear and type(losses.resolve(estimator.loss)).link is losses.Loss.link
    target = tables.moments(y) if linear else (0.0, 1.0)
    return Standardized(estimator._mlp(), mean, scale, *target)


# ------------------------------------------------------------------------ series


def _series(options) -> tuple[Forecaster, dict]:
    estimator = Forecaster(
        options.model or "nhits", horizon=options.horizon, input_size=options.input_size,
        quantiles=options.quantiles, conformal=options.conformal, freq=options.freq,
        id_col=options.id_col, time_col=options.time_col,
        target_col=options.target[0] if options.target else "y",
        futr_exog=tuple(options.futr_exog), hist_exog=tuple(options.hist_exog),
        stat_exog=tuple(options.stat_exog), random_state=options.seed, n_jobs=options.threads,
    )  # fmt: skip
    _with_settings(estimator, options)
    data = options.data
    if options.test_size:
        data = _before(data, estimator, options.test_size)
    _trained(estimator, options, data, static=options.static, val_size=options.val_size)
    tail = estimator._tail
    return estimator, {
        "estimator": "Forecaster", "task": "forecasting", "model": estimator._name(),
        "horizon": estimator.horizon, "input_size": estimator.input_size,
        "series": tail.n_series, "rows": estimator._state.data["n_rows"],
        "freq": tail.calendar.freq, "windows": estimator.n_windows_,
        "weights": _weights(estimator), "held_out": options.test_size or None,
    }  # fmt: skip


def _before(path: str, estimator: Forecaster, test_size: int):
    """The file's rows before the last `test_size` of each series."""
    schema = estimator._schema()
    names = [schema.time_col, schema.target_col, *schema.futr_exog, *schema.hist_exog]
    names += [] if schema.id_col is None else [schema.id_col]
    present = open_frame(path, names).names
    frame = open_frame(path, present).frame.sort(schema.time_col)
    if schema.id_col is None:
        kept = frame.head(max(0, frame.height - test_size))
    else:
        import polars as pl  # the file was read with it

        place, length = pl.int_range(pl.len()), pl.len()
        kept = frame.filter(place.over(schema.id_col) < length.over(schema.id_col) - test_size)
    if not kept.height:
        raise ValueError(f"--test-size {test_size} leaves no rows of {path} to train on")
    return kept
