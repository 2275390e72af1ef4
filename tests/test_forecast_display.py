"""Pictures of forecasts show what predict, backtest and decompose answer."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError

from ctrain import Forecaster, Regressor
from ctrain.baselines import SeasonalNaive
from ctrain.data import load_air_passengers
from ctrain.display import BacktestDisplay, DecompositionDisplay, ForecastDisplay
from ctrain.models import NBEATS, NHITS

matplotlib = pytest.importorskip("matplotlib", reason="the extra plot is not installed")
matplotlib.use("agg")
plt = pytest.importorskip("matplotlib.pyplot")

SMALL = {"max_steps": 20, "random_state": 0, "batch_size": 32, "n_jobs": 1}


@pytest.fixture(autouse=True)
def no_figure_left():
    plt.close("all")
    yield
    plt.close("all")


def known(n_out=12):
    return {name: column[:-n_out] for name, column in load_air_passengers().items()}


@pytest.fixture(scope="module")
def fitted():
    quantiles = (0.05, 0.1, 0.5, 0.9, 0.95)
    return Forecaster(
        "nlinear", horizon=12, input_size=24, quantiles=quantiles, **SMALL
    ).fit(known())  # fmt: skip


def band(collection):
    """Low and high end of a drawn band, (n, 2)."""
    points = collection.get_paths()[0].vertices
    return [(points[points[:, 0] == x, 1].min(), points[points[:, 0] == x, 1].max())
            for x in np.unique(points[:, 0])]  # fmt: skip


def test_forecast_is_that_of_predict(fitted):
    data = load_air_passengers()
    display = ForecastDisplay.from_estimator(fitted, data)
    frame = fitted.predict()
    assert_array_equal(display.line_.get_ydata(), frame["NLinear"])
    assert_array_equal(display.stamps, frame["ds"])
    assert_array_equal(display.came_.get_ydata(), data["y"][-12:])
    assert_array_equal(display.past_.get_ydata(), data["y"][-60:-12])  # four horizons
    assert list(display.bands) == [90.0, 80.0] or list(display.bands) == [80.0, 90.0]
    widest, narrow = display.bands_
    for drawn, percent in ((widest, 90), (narrow, 80)):
        ends = np.stack([frame[f"NLinear-lo-{percent}"], frame[f"NLinear-hi-{percent}"]], axis=1)
        assert_allclose(band(drawn), ends, rtol=1e-6)
    assert narrow.get_alpha() > widest.get_alpha()
    assert display.ax_.get_title() == "AirPassengers" and display.ax_.get_ylabel() == "y"
    legend = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert legend == ["past", "90 % interval", "80 % interval", "NLinear", "what came"]
    assert plt.get_fignums() == [display.figure_.number]


def test_forecast_without_what_came(fitted):
    display = ForecastDisplay.from_estimator(fitted, level=80, steps=18, n_past=5)
    assert display.came is None and display.came_ is None
    assert_array_equal(display.past_.get_ydata(), known()["y"][-5:])
    frame = fitted.predict(level=80, steps=18)
    assert_array_equal(display.line_.get_ydata(), frame["NLinear"])
    assert list(display.bands) == [80.0] and len(display.bands_) == 1


@pytest.mark.parametrize("kind", ["pandas", "polars", "array", "series"])
def test_forecast_of_any_frame(kind):
    y = load_air_passengers()["y"]
    columns = {"unique_id": np.repeat(["b", "a"], 60), "ds": np.tile(np.arange(60), 2),
               "y": np.concatenate([y[:60], y[60:120]])}  # fmt: skip
    frame, which, title = np.stack([y[:60], y[60:120]]), 1, "1"
    if kind == "series":
        frame, which, title = y[60:120], None, ""
    elif kind != "array":
        frame, which, title = pytest.importorskip(kind).DataFrame(columns), "a", "a"
    fc = Forecaster("nlinear", horizon=6, input_size=12, **SMALL).fit(frame)
    display = ForecastDisplay.from_estimator(fc, frame, series=which)
    answer = fc.predict()
    expected = answer if isinstance(answer, np.ndarray) else np.asarray(answer["NLinear"])
    # names ascend: of "b" and "a" the series "a" comes first
    row = 0 if kind not in ("array", "series") else -1
    assert_array_equal(display.line_.get_ydata(), expected.reshape(-1, 6)[row])
    assert_array_equal(display.past_.get_ydata(), y[96:120])
    assert display.ax_.get_title() == title and display.bands == {}


def test_missing_values_are_gaps_of_the_line():
    data = known(24)
    y = data["y"].copy()
    y[100] = np.nan
    fc = Forecaster("nlinear", horizon=12, input_size=24, missing="mask", **SMALL)
    fc.fit({**data, "y": y})
    display = ForecastDisplay.from_estimator(fc, {**data, "y": y})
    assert_array_equal(display.past_.get_ydata(), y[-48:])


def test_one_step_is_a_point():
    fc = Forecaster("nlinear", horizon=1, input_size=12, **SMALL).fit(known())
    assert ForecastDisplay.from_estimator(fc).line_.get_marker() == "o"


def test_forecast_in_given_axes(fitted):
    _, (left, right) = plt.subplots(1, 2)
    display = ForecastDisplay.from_estimator(fitted, ax=right)
    assert display.ax_ is right and not left.lines
    again = display.plot(left, line_kw={"color": "red"}, band_kw={"alpha": 0.5})
    assert again is display and display.line_.get_color() == "red"
    assert {b.get_alpha() for b in display.bands_} == {0.5}


def test_backtest_is_the_scores(fitted):
    scores = fitted.backtest(load_air_passengers(), 36, metrics=("mae", "coverage"))
    display = BacktestDisplay(scores).plot()
    assert [ax.get_ylabel() for ax in display.axes_] == ["mae", "coverage"]
    for line, metric in zip(display.lines_, scores, strict=True):
        assert_array_equal(line.get_xdata(), np.arange(1, 13))
        assert_array_equal(line.get_ydata(), scores.by_step(metric))
        assert line.get_label() == f"mean {scores[metric]:.4g}"
    assert display.axes_[-1].get_xlabel() == "step of the horizon"


def test_backtest_of_several(fitted):
    data = load_air_passengers()
    naive = SeasonalNaive(horizon=12, season=12).fit(known())
    scores = {"net": fitted.backtest(data, 36, metrics=("mae", "mse")),
              "naive": naive.backtest(data, 36, metrics=("mse",))}  # fmt: skip
    display = BacktestDisplay(scores).plot()  # of what both have
    assert [line.get_label().partition(",")[0] for line in display.lines_] == ["net", "naive"]
    assert_array_equal(display.lines_[1].get_ydata(), scores["naive"].by_step("mse"))
    with pytest.raises(ValueError, match="'mae' is none of \\['mse'\\]"):
        BacktestDisplay(scores).plot(metrics="mae")
    with pytest.raises(ValueError, match="1 metrics need as many axes; got 2"):
        BacktestDisplay(scores).plot(plt.subplots(2)[1])


@pytest.mark.parametrize("model", [
    NBEATS(mlp_units=((16, 16),)), NHITS(mlp_units=((16, 16),)), "dlinear",
], ids=["nbeats", "nhits", "dlinear"])  # fmt: skip
@pytest.mark.parametrize("series_scaler", ["none", "standard"])
def test_parts_add_up(model, series_scaler):
    fc = Forecaster(model, horizon=12, input_size=24, series_scaler=series_scaler, **SMALL)
    display = DecompositionDisplay.from_estimator(fc.fit(known()))
    forecast, *parts = (line.get_ydata() for line in display.lines_)
    assert len(parts) == len(display.parts) >= 2
    assert_allclose(sum(part.astype("float64") for part in parts), forecast, rtol=1e-5)
    assert_array_equal(forecast, fc.predict()[fc._name()])
    assert [ax.get_ylabel() for ax in display.axes_] == [fc._name(), *display.parts]


def test_decomposition_of_a_series_by_name():
    data = known()
    names = np.repeat(["b", "a"], 66)
    fc = Forecaster(NBEATS(mlp_units=((8, 8),)), horizon=6, input_size=12, **SMALL)
    fc.fit({**data, "unique_id": names, "ds": np.tile(np.arange(66), 2)})
    second = fc.predict()["NBEATS"].reshape(2, 6)[1]
    display = DecompositionDisplay.from_estimator(fc, series="b")
    assert_array_equal(display.lines_[0].get_ydata(), second)
    assert display.axes_[0].get_title() == "b"
    with pytest.raises(ValueError, match="series 'c' is none of the fit's, such as 'a', 'b'"):
        DecompositionDisplay.from_estimator(fc, series="c")
    with pytest.raises(ValueError, match="need as many axes; got 1"):
        display.plot(plt.subplots()[1])


@pytest.mark.parametrize("display", [ForecastDisplay, DecompositionDisplay])
def test_who_may_be_displayed(display):
    with pytest.raises(NotFittedError):
        display.from_estimator(Forecaster("nlinear", horizon=2, input_size=4))
    reg = Regressor(max_iter=1).fit(np.zeros((9, 2)), np.zeros(9))
    with pytest.raises(TypeError, match="Regressor"):
        display.from_estimator(reg)


def test_a_series_that_is_not_there(fitted):
    data = load_air_passengers()
    other = {**data, "unique_id": np.full(144, "other")}
    with pytest.raises(ValueError, match="df holds no series 'AirPassengers'"):
        ForecastDisplay.from_estimator(fitted, other)


@pytest.mark.parametrize("display", [ForecastDisplay, BacktestDisplay, DecompositionDisplay])
def test_without_matplotlib(fitted, monkeypatch, display):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install ctrain\[plot\]"):
        if display is BacktestDisplay:
            display(fitted.backtest(load_air_passengers(), 24)).plot()
        else:
            display.from_estimator(fitted)
