"""neuralforecast's side: its models of default size, Adam, and nothing shown, logged or saved."""

from __future__ import annotations

import logging
import subprocess
import sys
import warnings

import torch
from neuralforecast import NeuralForecast, models

from . import series


def forecast_fit(
    threads: int, model: str, n_series: int, rows: int, horizon: int, input_size: int, batch: int,
    steps: int,
):  # fmt: skip
    """``fit`` of so many steps, from a frame."""
    torch.set_num_threads(threads)
    data, fitted = series.frame(n_series, rows), None

    def call():
        nonlocal fitted
        fitted = _forecaster(model, horizon, input_size, batch, steps)
        fitted.fit(data)

    call()
    return call, 1, {"weights": _weights(fitted.models[0])}


def forecast_memory(threads: int, **work):
    """Peak of the resident set of a process that imports, makes the frame and fits."""
    forecast_fit(threads, **work)
    return lambda: None, 1, {"peak": series.memory("VmHWM")}


def forecast_predict(threads: int, horizon: int, input_size: int, calls: int):
    """``predict`` of one series from a frame of its last rows, N-HiTS."""
    torch.set_num_threads(threads)
    data = series.frame(1, 2000)
    fitted = _forecaster("NHITS", horizon, input_size, 256, 5)
    fitted.fit(data)
    last = data.iloc[-input_size:]

    def call():
        for _ in range(calls):
            fitted.predict(last)

    return call, calls, {}


AIR_PASSENGERS = """\
import logging, warnings
logging.disable(logging.WARNING)
warnings.simplefilter("ignore")
import torch
torch.set_num_threads({threads})
from neuralforecast import NeuralForecast
from neuralforecast.models import {model}
from neuralforecast.utils import AirPassengersDF
model = {model}(
    h=12, input_size=24, max_steps=500, windows_batch_size=109, scaler_type="standard",
    accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False,
    enable_model_summary=False,
)
forecaster = NeuralForecast(models=[model], freq="ME")
forecaster.fit(AirPassengersDF)
assert len(forecaster.predict()) == 12
"""


def air_passengers(threads: int, model: str):
    """A process that imports, fits for 500 steps of 109 windows and predicts."""
    code = AIR_PASSENGERS.format(threads=threads, model=model)
    return lambda: subprocess.run([sys.executable, "-c", code], check=True), 1, {}


def _weights(network) -> int:
    """How many are trained; of two biases of a recurrent layer that are only added, one."""
    added = {"LSTM": 4, "GRU": 2, "RNN_TANH": 1}
    recurrent = [m for m in network.modules() if isinstance(m, torch.nn.RNNBase) and m.bias]
    twice = sum(m.num_layers * added[m.mode] * m.hidden_size for m in recurrent)
    return sum(p.numel() for p in network.parameters() if p.requires_grad) - twice


def _forecaster(model: str, horizon: int, input_size: int, batch: int, steps: int):
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    network = getattr(models, model)(
        h=horizon, input_size=input_size, max_steps=steps, windows_batch_size=batch,
        learning_rate=1e-3, num_lr_decays=-1, random_seed=1, accelerator="cpu", logger=False,
        enable_progress_bar=False, enable_checkpointing=False, enable_model_summary=False,
    )  # fmt: skip
    return NeuralForecast(models=[network], freq="h")
