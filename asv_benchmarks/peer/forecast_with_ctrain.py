"""ctrain's side of forecasting."""

from __future__ import annotations

import subprocess
import sys

from ctrain import Forecaster, models, optimizers

from . import series

MODELS = {
    "DLinear": models.DLinear, "MLP": lambda: models.MLP((1024, 1024)), "NHITS": models.NHITS,
    "NBEATS": models.NBEATS, "PatchTST": models.PatchTST,
}  # fmt: skip


def forecast_fit(
    threads: int, model: str, n_series: int, rows: int, horizon: int, input_size: int, batch: int,
    steps: int,
):  # fmt: skip
    """``fit`` of so many steps, from a frame."""
    data = series.frame(n_series, rows)
    fitted = _forecaster(threads, MODELS[model](), horizon, input_size, batch, steps)

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
    "nhits", horizon=12, input_size=24, max_steps=500, batch_size=109, n_jobs={threads}
)
forecaster.fit(load_air_passengers())
assert len(forecaster.predict()["NHITS"]) == 12
"""


def air_passengers(threads: int):
    """A process that imports, fits N-HiTS for 500 steps of 109 windows and predicts."""
    command = [sys.executable, "-c", AIR_PASSENGERS.format(threads=threads)]
    return lambda: subprocess.run(command, check=True), 1, {}


def _forecaster(threads: int, model, horizon: int, input_size: int, batch: int, steps: int):
    return Forecaster(
        model, horizon=horizon, input_size=input_size, scaler=None, batch_size=batch,
        max_steps=steps, optimizer=optimizers.Adam(), learning_rate_init=1e-3, schedule="constant",
        clip_norm=None, n_jobs=threads, random_state=0,
    )  # fmt: skip
