"""ctrain's side of forecasting."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile

import polars

from ctrain import Forecaster, models, optimizers
from ctrain.data import read_panel

from . import series

MODELS = {
    "DLinear": models.DLinear, "MLP": lambda: models.MLP((1024, 1024)), "NHITS": models.NHITS,
    "NBEATS": models.NBEATS, "GRU": models.GRU, "LSTM": models.LSTM, "TCN": models.TCN,
    "DeepAR": models.DeepAR, "PatchTST": models.PatchTST,
}  # fmt: skip
#: neuralforecast's defaults where they are not those of the others
SETTINGS = {
    "GRU": {"scaler": "robust"}, "LSTM": {"scaler": "robust"}, "TCN": {"scaler": "robust"},
    "DeepAR": {"loss": "student_t"},
}  # fmt: skip


def forecast_fit(
    threads: int, model: str, n_series: int, rows: int, horizon: int, input_size: int, batch: int,
    steps: int,
):  # fmt: skip
    """``fit`` of so many steps, from a frame."""
    data = series.frame(n_series, rows)
    fitted = _forecaster(threads, MODELS[model](), horizon, input_size, batch, steps)
    fitted.set_params(**SETTINGS.get(model, {}))

    def call():
        fitted.fit(data)

    call()
    trained = (p for p in fitted._network.parameters if p.trainable)
    return call, 1, {"weights": sum(p.size for p in trained)}


def forecast_memory(threads: int, **work):
    """Peak of the resident set of a process that imports, makes the frame and fits."""
    forecast_fit(threads, **work)
    return lambda: None, 1, {"peak": series.memory("VmHWM")}


def forecast_predict(threads: int, horizon: int, input_size: int, calls: int, form: str = "frame"):
    """``predict`` of one series from its last rows, N-HiTS."""
    data = series.frame(1, 2000) if form == "frame" else series.values(1, 2000)[0]
    fitted = _forecaster(threads, models.NHITS(), horizon, input_size, 256, 5).fit(data)
    last = data[-input_size:]

    def call():
        for _ in range(calls):
            fitted.predict(last)

    return call, calls, {}


AIR_PASSENGERS = """\
from ctrain import Forecaster
from ctrain.data import load_air_passengers
forecaster = Forecaster(
    "{name}", horizon=12, input_size=24, max_steps=500, batch_size=109, n_jobs={threads}
)
forecaster.fit(load_air_passengers())
assert len(forecaster.predict()["{model}"]) == 12
"""


def air_passengers(threads: int, model: str):
    """A process that imports, fits for 500 steps of 109 windows and predicts."""
    code = AIR_PASSENGERS.format(threads=threads, model=model, name=model.lower())
    return lambda: subprocess.run([sys.executable, "-c", code], check=True), 1, {}


def read_series(threads: int, kind: str, n_series: int, rows: int):
    """A file read and laid out as series, sorted and checked, before any fit."""
    folder = tempfile.TemporaryDirectory()
    path, columns = f"{folder.name}/series.{kind}", series.frame(n_series, rows)
    columns = {"unique_id": columns.pop("unique_id").tolist()} | {
        name: values.to_numpy() for name, values in columns.items()
    }
    getattr(polars.DataFrame(columns), f"write_{kind}")(path)

    def call():
        read_panel(path)
        return folder  # which lives as long as this function

    return call, 1, {"bytes": os.path.getsize(path)}


def _forecaster(threads: int, model, horizon: int, input_size: int, batch: int, steps: int):
    return Forecaster(
        model, horizon=horizon, input_size=input_size, scaler=None, batch_size=batch,
        max_steps=steps, optimizer=optimizers.Adam(), learning_rate_init=1e-3, schedule="constant",
        clip_norm=None, n_jobs=threads, random_state=0,
    )  # fmt: skip
