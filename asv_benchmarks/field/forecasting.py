"""Forecasts of electricity transformers far ahead, and of the hourly series of the M4 competition."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from peers import table, verdict
from sklearn.base import BaseEstimator, clone

from ctrain import Forecaster
from ctrain.baselines import LinearForecaster, SeasonalNaive
from ctrain.models import NHITS, DLinear, NLinear

from .finished import Finished

SETS = ("ETTh1", "ETTm2", "M4 Hourly")
N_SEEDS = 3
HORIZONS = (96, 192, 336, 720)
LOOKBACK = 336
BATCH = 32  #: of the loaders that dropped the last test windows

#: rows of training, and of validation and test each, of an electricity transformer set
ROWS = {"ETTh1": (8640, 2880), "ETTm2": (34560, 11520)}

#: "Repeat", MSE and MAE: all windows (own count of the set's rows), and as published, cut
REPEAT = {
    "ETTh1": {
        "all": ((1.294, 0.713), (1.325, 0.733), (1.330, 0.746), (1.335, 0.755)),
        "cut": ((1.295, 0.713), (1.325, 0.733), (1.323, 0.744), (1.339, 0.756)),
    },
    "ETTm2": {
        "all": ((0.266, 0.328), (0.340, 0.371), (0.412, 0.410), (0.522, 0.466)),
        "cut": ((0.266, 0.328), (0.340, 0.371), (0.412, 0.410), (0.521, 0.465)),
    },
}
#: MSE that is asked for
CLOSED = {"ETTh1": (0.370, 0.403, 0.428, 0.434)}
DLINEAR = {"ETTh1": (0.384, 0.443, 0.446, 0.504), "ETTm2": (0.171, 0.237, 0.294, 0.426)}
N_HITS = {"ETTm2": (0.173, 0.245)}

#: both linear models on both sets: plain least squares, walked to the end
LINEAR = Forecaster(
    horizon=1, input_size=LOOKBACK, loss="squared_error", scaler=None, learning_rate_init=3e-3,
    max_iter=10, early_stopping=False, random_state=0, n_jobs=1,
)  # fmt: skip


def transformers(folder: Path, name: str) -> np.ndarray:
    """The seven series, shape (7, training + validation + test), in units of the training rows."""
    train, part = ROWS[name]
    path = folder / "ett" / f"{name}.csv"
    if not path.exists():
        raise FileNotFoundError(f"{path}, of zhouhaoyi/ETDataset")
    values = np.loadtxt(
        path, delimiter=",", skiprows=1, usecols=range(1, 8), max_rows=train + 2 * part
    )
    known = values[:train]
    return ((values - known.mean(axis=0)) / known.std(axis=0)).T


def scores(forecaster, series: np.ndarray, part: int) -> dict:
    """Errors on the last rows: of all windows, and of the first that fill batches."""
    every = forecaster.backtest(series, part)
    n_windows = part - forecaster.horizon + 1
    left = n_windows % BATCH
    cut = forecaster.backtest(series[:, : series.shape[1] - left], part - left)
    return {"mse": every["mse"], "mae": every["mae"], "cut": [cut["mse"], cut["mae"]]}


def trained(folder: Path, forecaster: BaseEstimator, name: str, done: Finished, stops=False):
    """Scores of a forecaster that is fitted to the training rows.

    With `stops` it sees the validation rows as well, to keep the best weights by.
    """
    train, part = ROWS[name]

    def work() -> dict:
        series, model = transformers(folder, name), clone(forecaster)
        if stops:
            model.fit(series[:, : train + part], val_size=part)
        else:
            model.fit(series[:, :train])
        answer = scores(model, series, part)
        if isinstance(model, Forecaster):
            answer |= {
                "validation": model.backtest(series[:, : train + part], part)["mse"],
                "epochs": model.n_iter_, "steps": model.t_, "seconds": model.fit_time_,
            }  # fmt: skip
        return answer

    key = {
        "field": "forecasting", "set": name, "forecaster": repr(forecaster), "stops": stops,
        "version": f"ctrain {version('ctrain')}",
    }  # fmt: skip
    answer = done.get(key, work)
    print(f"{name}, {forecaster}: {answer}", flush=True)
    return answer


def pair(values) -> str:
    return " / ".join(f"{value:.3f}" for value in values)


def near(values, wanted) -> bool:
    """Whether figures that are given to three digits are met."""
    return all(abs(a - b) <= 0.001 for a, b in zip(values, wanted, strict=True))


def repeat(folder: Path, sets, done: Finished) -> str:
    rows = [("set", "horizon", "all windows", "counted", "ok", f"cut to batches of {BATCH}",
             "published", "ok")]  # fmt: skip
    for name in sets:
        for k, horizon in enumerate(HORIZONS):
            found = trained(folder, SeasonalNaive(horizon=horizon), name, done)
            every, wanted = (found["mse"], found["mae"]), REPEAT[name]
            rows.append((
                name, horizon, pair(every), pair(wanted["all"][k]), said(near(every, wanted["all"][k])),
                pair(found["cut"]), pair(wanted["cut"][k]), said(near(found["cut"], wanted["cut"][k])),
            ))  # fmt: skip
    return table(*rows)


def said(good: bool) -> str:
    return "yes" if good else "**no**"


def linear(folder: Path, sets, done: Finished) -> str:
    rows = [("set", "horizon", "least squares", "asked", "ok", "NLinear", "above least squares",
             "asked", "ok", "DLinear", "asked", "ok")]  # fmt: skip
    for name in sets:
        for k, horizon in enumerate(HORIZONS):
            exact = LinearForecaster(horizon=horizon, input_size=LOOKBACK)
            best = trained(folder, exact, name, done)["mse"]
            by_steps, other = (
                trained(folder, clone(LINEAR).set_params(model=m, horizon=horizon), name, done)["mse"]
                for m in (NLinear(), DLinear())
            )
            asked = CLOSED[name][k] if name in CLOSED else None
            rows.append((
                name, horizon, f"{best:.4f}", "-" if asked is None else f"{asked:.3f}",
                "-" if asked is None else said(near([best], [asked])),
                f"{by_steps:.4f}", f"{by_steps / best - 1:+.2%}", "1%",
                verdict(by_steps, 1.01 * best, below=True),
                f"{other:.4f}", f"{DLINEAR[name][k]:.3f}",
                verdict(other, DLINEAR[name][k], below=True),
            ))  # fmt: skip
    return table(*rows)
