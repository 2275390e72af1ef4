"""LSTM, GRU and TCN, ours and neuralforecast's, trained alike and scored on the same windows."""

from __future__ import annotations

import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
from peer.page import table, verdict
from sklearn.base import clone

from ctrain import Forecaster, models

from .finished import Finished
from .forecasting import ROWS, errors, hourly, transformers

UNITS, CHANNELS = 64, 32
MODELS = {
    "LSTM": models.LSTM(UNITS, decoder_hidden_size=UNITS),
    "GRU": models.GRU(UNITS, decoder_hidden_size=UNITS),
    "TCN": models.TCN(encoder_hidden_size=CHANNELS, decoder_hidden_size=CHANNELS),
}
#: input_size, horizon; steps, windows of each, learning rate, schedule of ctrain
WINDOWS = {"ETTh1": (96, 96), "M4 Hourly": (47, 48)}
TRAINING = {"ETTh1": (500, 32, 2e-3, "constant"), "M4 Hourly": (1500, 64, 3e-3, "warmup_cosine")}
#: how much above neuralforecast's error is allowed
SLACK = 1.02


def ours(name: str, kind: str, seed: int) -> Forecaster:
    input_size, horizon = WINDOWS[name]
    steps, batch, rate, schedule = TRAINING[name]
    return Forecaster(
        clone(MODELS[kind]), horizon=horizon,
        input_size=input_size, max_steps=steps, batch_size=batch, learning_rate_init=rate,
        optimizer="adam", schedule=schedule, early_stopping=False, n_jobs=1, random_state=seed,
    )  # fmt: skip


class Theirs:
    """neuralforecast's model of that size, fitted to series; forecasts windows by itself."""

    def __init__(self, name: str, kind: str, seed: int) -> None:
        import torch
        from neuralforecast import models as theirs

        torch.set_num_threads(1)
        input_size, horizon = WINDOWS[name]
        steps, batch, rate, _ = TRAINING[name]
        size = MODELS[kind].decoder_hidden_size  # of the encoder as well
        self.network = getattr(theirs, kind)(
            h=horizon, input_size=input_size, encoder_hidden_size=size, decoder_hidden_size=size,
            max_steps=steps, windows_batch_size=batch, learning_rate=rate, scaler_type="standard",
            random_seed=seed + 1, accelerator="cpu", logger=False, enable_progress_bar=False,
            enable_checkpointing=False, enable_model_summary=False,
        )  # fmt: skip

    def fit(self, series: list[np.ndarray]) -> Theirs:
        import pandas as pd
        from neuralforecast import NeuralForecast

        frame = pd.DataFrame({
            "unique_id": np.repeat([f"{k:04}" for k in range(len(series))], [*map(len, series)]),
            "ds": np.concatenate([np.arange(len(values)) for values in series]),
            "y": np.concatenate(series).astype(np.float32),
        })  # fmt: skip
        fitted = NeuralForecast(models=[self.network], freq=1)
        fitted.fit(frame)
        self.network = fitted.models[0].eval()
        return self

    def forecast(self, windows: np.ndarray) -> np.ndarray:
        """Forecasts (n, horizon) of windows (n, input_size), each in units of its own."""
        import torch

        location, scale = windows.mean(axis=1, keepdims=True), windows.std(axis=1, keepdims=True)
        scale = np.maximum(scale, 1e-3)
        found = []
        for begin in range(0, len(windows), 1024):
            part = slice(begin, begin + 1024)
            y = torch.tensor((windows[part] - location[part]) / scale[part], dtype=torch.float32)
            batch = {"insample_y": y[..., None], "insample_mask": None, "futr_exog": None,
                     "hist_exog": None, "stat_exog": None}  # fmt: skip
            with torch.no_grad():
                found.append(self.network(batch)[..., 0].numpy())
        return np.concatenate(found) * scale + location


def far(folder: Path, fit, forecast) -> dict:
    """Errors on all windows of the test rows of ETTh1."""
    train, part = ROWS["ETTh1"]
    input_size, horizon = WINDOWS["ETTh1"]
    series = transformers(folder, "ETTh1")
    started = time.process_time()
    fit(list(series[:, :train]))
    seconds = time.process_time() - started
    begin = train + part - input_size
    rows = np.lib.stride_tricks.sliding_window_view(series[:, begin:], input_size + horizon, axis=1)
    rows = rows.reshape(-1, input_size + horizon)
    error = forecast(rows[:, :input_size]) - rows[:, input_size:]
    return {"mse": float((error**2).mean()), "mae": float(np.abs(error).mean()), "s": seconds}


def next_hours(folder: Path, fit, forecast) -> dict:
    """Errors of the competition on the 48 hours after each series, trained on logarithms."""
    known, came = hourly(folder)
    logs = [np.log(series) for series in known]
    started = time.process_time()
    fit(logs)
    seconds = time.process_time() - started
    input_size, _ = WINDOWS["M4 Hourly"]
    windows = np.stack([series[-input_size:] for series in logs])
    return errors(known, np.array(came), np.exp(forecast(windows))) | {"s": seconds}


SETS = {"ETTh1": (far, ("mse", "mae")), "M4 Hourly": (next_hours, ("smape", "mase"))}


def measured(folder: Path, name: str, who: str, kind: str, seed: int, done: Finished) -> dict:
    """Errors of one fit, or of one that was measured before."""
    scores, _ = SETS[name]

    def work() -> dict:
        if who == "neuralforecast":
            model = Theirs(name, kind, seed)
            return scores(folder, model.fit, model.forecast)
        model = ours(name, kind, seed)
        return scores(folder, model.fit, lambda windows: model.predict(windows))

    key = {
        "field": "recurrent", "set": name, "model": kind, "seed": seed, "sizes": repr(MODELS[kind]),
        "training": TRAINING[name], "windows": WINDOWS[name],
        "version": f"{who} {version(who)}",
    }  # fmt: skip
    answer = done.get(key, work)
    print(f"{name}, {who} {kind}, seed {seed}: {answer}", flush=True)
    return answer


def naive(folder: Path, name: str) -> dict:
    """The same hour of the day before."""
    _, horizon = WINDOWS[name]

    def forecast(windows):
        return np.tile(windows[:, -24:], (1, horizon // 24))

    return SETS[name][0](folder, lambda series: None, forecast)


def run(folder: Path, splits: int | None, only: list[str] | None, done: Finished) -> str:
    """The field's section; `splits` is the number of seeds."""
    seeds = range(splits or 1)
    rows = [("set", "model", "error", "ctrain", "neuralforecast", "asked, at most", "ok",
             "seasonal naive", "ok", "CPU seconds, both")]  # fmt: skip
    for name in only or SETS:
        plain = naive(folder, name)
        for kind in MODELS:
            found = {
                who: [measured(folder, name, who, kind, seed, done) for seed in seeds]
                for who in ("ctrain", "neuralforecast")
            }
            for error in SETS[name][1]:
                mine, other = (np.mean([f[error] for f in found[who]]) for who in found)
                seconds = (f"{np.mean([f['s'] for f in found[who]]):.0f}" for who in found)
                rows.append((
                    name, kind, error, f"{mine:.4f}", f"{other:.4f}", f"{SLACK * other:.4f}",
                    verdict(mine, SLACK * other, below=True), f"{plain[error]:.4f}",
                    verdict(mine, plain[error], below=True), ", ".join(seconds),
                ))  # fmt: skip
    return TEXT.format(
        units=UNITS, channels=CHANNELS, seeds=len(seeds), version=version("neuralforecast"),
        table=table(*rows),
    )  # fmt: skip


TEXT = """\
LSTM and GRU: two layers of {units} units and a decoder of {units}, decoded directly; TCN:
{channels} channels, kernel 2, dilations 1 to 16, a decoder of {channels}. Adam, mean absolute
error, each window standardised, one thread: the same network, windows and steps in ctrain and
neuralforecast {version}; means over {seeds} seed. Asked: at most 2 % more error than its, and
less than the values of the same hour of the last day. ETTh1: one model of all seven series from
96 rows to the next 96, 500 steps of 32 windows, rate 0.002, all windows of the test part. M4
Hourly: 47 hours to the next 48, so that each step of the forecast sees all states, trained on
logarithms, 1,500 steps of 64 windows, rate 0.003, in ctrain with its default schedule; errors of
the competition.

{table}
"""
