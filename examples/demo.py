"""Half-seen digits, diabetes and air passengers: a Regressor, and a Forecaster with intervals.

The first two data sets come with scikit-learn, where a Regressor stands beside MLPRegressor. The
main job completes handwritten digits: a network sees the upper 32 pixels of an image and predicts
the lower 32. The third comes with ctrain: N-BEATS forecasts the last two years of airline
passengers. Prints tables of test errors and writes two pictures; `make demo` builds the package and
runs this.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import matplotlib
import numpy as np
from sklearn.datasets import load_diabetes, load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Ridge
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPRegressor
from threadpoolctl import threadpool_limits

import ctrain
from ctrain.baselines import SeasonalNaive
from ctrain.data import load_air_passengers
from ctrain.display import ForecastDisplay

matplotlib.use("Agg")
import matplotlib.pyplot as plt

COMMON = {"batch_size": 32, "learning_rate_init": 1e-3, "activation": "relu"}


@dataclass
class Job:
    """A data set, split and scaled, and the network for it."""

    name: str
    unit: str
    layers: tuple[int, ...]
    epochs: int
    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    scale: float  # from the network's targets to the unit

    def error(self, model) -> float:
        """Root mean squared error on the test rows."""
        return self.scale * float(np.sqrt(np.mean((model.predict(self.X_test) - self.y_test) ** 2)))


def digits(epochs: int) -> Job:
    """Upper half of an 8 x 8 image -> lower half; 1,797 images."""
    data = load_digits()
    train, test = train_test_split(
        (data.data / 16).astype(np.float32), test_size=0.25, random_state=0, stratify=data.target
    )
    return Job("digits", "grey levels of 16", (128, 128), epochs,
               train[:, :32], train[:, 32:], test[:, :32], test[:, 32:], 16.0)  # fmt: skip


def diabetes(epochs: int) -> Job:
    """Ten measurements -> progression of the disease after a year; 442 patients."""
    X, y = load_diabetes(return_X_y=True, scaled=False)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.25, random_state=0)
    mean, deviation = X.mean(0), X.std(0)
    low, scale = y.mean(), y.std()
    rows = [(X - mean) / deviation, (y - low) / scale, (X_test - mean) / deviation,
            (y_test - low) / scale]  # fmt: skip
    return Job("diabetes", "progression score", (32,), epochs,
               *(a.astype(np.float32) for a in rows), float(scale))  # fmt: skip


def with_ctrain(job: Job, seed: int, **options) -> ctrain.Regressor:
    """Adam at one rate, no clipping, no penalty, all rows, all epochs: as MLPRegressor, alpha=0."""
    return ctrain.Regressor(
        job.layers, optimizer="adam", schedule="constant", clip_norm=None, early_stopping=False,
        max_iter=job.epochs, random_state=seed, **COMMON, **options,
    )  # fmt: skip


def with_sklearn(job: Job, seed: int) -> MLPRegressor:
    """Adam for all epochs: no penalty, and never stopped because the loss is flat."""
    return MLPRegressor(
        hidden_layer_sizes=job.layers, solver="adam", alpha=0.0, max_iter=job.epochs,
        n_iter_no_change=job.epochs, random_state=seed, **COMMON,
    )  # fmt: skip


class ProgressLine(logging.StreamHandler):
    """Progress on stderr: one line that is written over on a terminal, plain lines elsewhere."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.updates = self.stream.isatty()
        self.terminator = "" if self.updates else "\n"

    def format(self, record: logging.LogRecord) -> str:
        return ("\r\x1b[K" if self.updates else "") + super().format(record)

    def close(self) -> None:
        if self.updates:
            self.stream.write("\n")
        super().close()


def watched(job: Job) -> ctrain.Regressor:
    """Fit once with a progress line and the loss on the test rows after each epoch."""
    line = ProgressLine()
    logger = logging.getLogger("ctrain")
    logger.addHandler(line)
    logger.setLevel(logging.INFO)
    every = 1 if line.updates else max(1, job.epochs // 5)
    try:
        return with_ctrain(job, 0, verbose=every).fit(
            job.X, job.y, X_val=job.X_test, y_val=job.y_test
        )
    finally:
        logger.removeHandler(line)
        line.close()


def compare(job: Job, repeats: int) -> dict[str, tuple[float, float, object]]:
    """Median test error and fit time over seeds, fits taking turns, and the first fitted model."""
    makers = {"MLPRegressor": with_sklearn, "ctrain.Regressor": with_ctrain}
    errors, times, first = {k: [] for k in makers}, {k: [] for k in makers}, {}
    for seed in range(repeats):
        for name, make in makers.items():
            model = make(job, seed)
            started = time.perf_counter()
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                model.fit(job.X, job.y)
            times[name].append(time.perf_counter() - started)
            errors[name].append(job.error(model))
            first.setdefault(name, model)
    return {name: (median(errors[name]), median(times[name]), first[name]) for name in makers}


def report(job: Job, results: dict) -> None:
    """Print the rows of one data set."""
    slowest = results["MLPRegressor"][1]
    linear = job.error(Ridge(1.0).fit(job.X, job.y))
    layers = "-".join(map(str, (job.X.shape[1], *job.layers, job.y[0].size)))
    print(f"{job.name}: {len(job.X)} rows, {layers}, {job.epochs} epochs, error in {job.unit}")
    print(f"  {'Ridge (linear)':<18}{linear:>12.3f}")
    for name, (error, seconds, _) in results.items():
        print(f"  {name:<18}{error:>12.3f}{seconds:>12.3f} s{slowest / seconds:>11.1f} x")


def draw(job: Job, fitted: ctrain.Regressor, rival: MLPRegressor, path: Path) -> None:
    """Write the loss curves, and some completed digits, as PNG."""
    figure, (curves, images) = plt.subplots(1, 2, figsize=(11, 4.2), width_ratios=(3, 2))
    epochs = np.arange(1, len(fitted.loss_curve_) + 1)
    curves.plot(epochs, fitted.loss_curve_, label="ctrain, training")
    curves.plot(epochs, fitted.validation_loss_curve_, label="ctrain, test")
    halved = np.array(rival.loss_curve_)  # scikit-learn reports half the squared error
    curves.plot(epochs, 2 * halved, "--", label="MLPRegressor, training")
    curves.set(xlabel="epoch", ylabel="mean squared error, pixels in [0, 1]", ylim=(0, None),
               title="Lower half of a digit from its upper half")  # fmt: skip
    curves.legend()
    shown = slice(0, 6)
    truth = np.hstack([job.X_test[shown], job.y_test[shown]])
    guess = np.hstack([job.X_test[shown], fitted.predict(job.X_test[shown])])
    rows = [np.hstack([np.pad(i.reshape(8, 8), 1) for i in half]) for half in (truth, guess)]
    images.imshow(np.vstack(rows), cmap="gray", vmin=0, vmax=1)
    for row in (5, 15):
        images.axhline(row - 0.5, color="tab:orange", linewidth=0.8)
    images.set_title("test images (top), completed below the line")
    images.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def passengers(steps: int, picture: Path) -> dict:
    """Forecast 24 months of airline passengers that the fit has not seen, and draw what came."""
    months, level = 24, 80
    data = load_air_passengers()
    known = {name: column[:-months] for name, column in data.items()}
    came = data["y"][-months:]
    network = ctrain.models.NBEATS(mlp_units=((128, 128), (128, 128)))
    started = time.perf_counter()
    fc = ctrain.Forecaster(
        network, horizon=months, input_size=24, conformal=12, max_steps=steps, batch_size=32,
        random_state=0,
    ).fit(known)  # fmt: skip
    frame = fc.predict(level=level)
    seconds = time.perf_counter() - started
    naive = SeasonalNaive(horizon=months, season=12).fit(known).predict()["SeasonalNaive"]
    low, high = frame[f"NBEATS-lo-{level}"], frame[f"NBEATS-hi-{level}"]
    errors = {
        name: float(np.mean(np.abs(forecast - came)))
        for name, forecast in (("the year before", naive), ("ctrain.Forecaster", frame["NBEATS"]))
    }
    held = int(((low <= came) & (came <= high)).sum())
    print(f"\nair passengers: {len(came)} months to forecast from {len(known['y'])}, error in "
          "thousands of passengers")  # fmt: skip
    print(f"  {'the year before':<18}{errors['the year before']:>12.1f}")
    print(f"  {'ctrain.Forecaster':<18}{errors['ctrain.Forecaster']:>12.1f}{seconds:>12.3f} s   "
          f"{held} of {months} months lie in the {level} % interval")  # fmt: skip
    display = ForecastDisplay.from_estimator(fc, data, level=(level, 90))
    display.ax_.set(title="Airline passengers: N-BEATS, and what came", ylabel="thousands a month")
    display.figure_.savefig(picture, dpi=110)
    plt.close(display.figure_)
    return {"errors": errors, "held": held, "months": months, "fitted": fc, "picture": picture}


def main(
    epochs: int = 50, repeats: int = 3, threads: int = 1, steps: int = 300,
    picture: Path | None = None,
) -> dict:  # fmt: skip
    """Run everything; answers what was measured, by data set."""
    picture = Path(__file__).with_suffix(".png") if picture is None else picture
    jobs = [digits(epochs), diabetes(epochs)]
    results = {}
    with threadpool_limits(threads):
        config = ctrain.show_config()
        print(f"ctrain {config['ctrain']} with {config['target']} kernels, scikit-learn "
              f"{config['scikit-learn']}; threads of each: {threads}", flush=True)  # fmt: skip
        fitted = watched(jobs[0])
        print(f"\n{'':20}{'test error':>12}{'fit time':>14}{'speed':>13}")
        for job in jobs:
            results[job.name] = compare(job, repeats)
            report(job, results[job.name])
        print(f"Medians of {repeats} fits each, taking turns. Both: float32, relu, Adam, learning "
              f"rate {COMMON['learning_rate_init']}, batches of "
              f"{COMMON['batch_size']}.")  # fmt: skip
        forecast = passengers(steps, picture.with_stem(f"{picture.stem}_forecast"))
    draw(jobs[0], fitted, results["digits"]["MLPRegressor"][2], picture)
    print(f"\nLoss curves: {picture}\nForecast: {forecast['picture']}")
    return {"fitted": fitted, "results": results, "picture": picture, "forecast": forecast}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--epochs", type=int, default=50, help="passes over the data")
    parser.add_argument("--repeats", type=int, default=3, help="fits per row of the table")
    parser.add_argument("--threads", type=int, default=1, help="of each library")
    parser.add_argument("--steps", type=int, default=300, help="of the forecaster's fit")
    parser.add_argument("--picture", type=Path, help="a PNG, default examples/demo.png; the "
                        "forecast goes beside it")  # fmt: skip
    main(**vars(parser.parse_args()))
