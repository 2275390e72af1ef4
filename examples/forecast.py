"""Airline passengers: N-HiTS beside the year before, on every window of three years.

Prints errors and the share of months inside the intervals; with matplotlib it draws the forecast of
the last year and the errors by month of the horizon.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from ctrain import Forecaster
from ctrain.baselines import SeasonalNaive
from ctrain.data import load_air_passengers
from ctrain.models import NHITS

TEST, HORIZON, LEVEL = 36, 12, 80


def main(steps: int = 300, picture: Path | None = None) -> dict:
    data = load_air_passengers()
    known = {name: column[:-TEST] for name, column in data.items()}  # no model sees the rest
    forecaster = Forecaster(
        NHITS(mlp_units=((128, 128), (128, 128))), horizon=HORIZON, input_size=24, scaler="last",
        series_scaler="standard", conformal=24, max_steps=steps, batch_size=32, random_state=0,
    )  # fmt: skip
    naive = SeasonalNaive(horizon=HORIZON, season=12)
    scores = {}
    for model in (forecaster, naive):
        model.fit(known)
        # every window of the last 36 months: the model stays, its input moves on
        scores[type(model).__name__] = model.backtest(
            data, TEST, metrics=("mae", "mase", "smape"), season=12
        )
    for name, each in scores.items():
        print(f"{name:<14}" + "".join(f"  {metric} {value:6.2f}" for metric, value in each.items()))
    # refitted each year, with intervals from the errors of an inner backtest
    frame = forecaster.cross_validation(
        data, n_windows=None, test_size=TEST, step_size=HORIZON, refit=True, level=LEVEL
    )
    inside = (frame[f"NHITS-lo-{LEVEL}"] <= frame["y"]) & (frame["y"] <= frame[f"NHITS-hi-{LEVEL}"])
    held = float(np.mean(inside))
    print(f"{LEVEL} % intervals hold {held:.0%} of {len(inside)} months")
    if picture is not None:
        _draw(forecaster, data, scores, picture)
    return {"scores": scores, "held": held, "forecaster": forecaster}


def _draw(forecaster, data, scores, picture: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    from ctrain.display import BacktestDisplay, ForecastDisplay

    figure, (left, right) = plt.subplots(
        1, 2, figsize=(12, 4), width_ratios=(3, 2), layout="constrained"
    )
    ForecastDisplay.from_estimator(forecaster, data, level=LEVEL, ax=left)
    BacktestDisplay(scores).plot(right, metrics="mae")
    figure.savefig(picture, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=300, help="optimizer steps of a fit")
    parser.add_argument("--picture", type=Path, help="a PNG to write")
    with threadpool_limits(1):
        main(**vars(parser.parse_args()))
