"""Baselines: what they forecast, the closed form, gaps, frames, no look-ahead, errors."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import Ridge

from ctrain.baselines import LinearForecaster, SeasonalNaive
from ctrain.metrics import mase, seasonal_scale

FORECASTERS = {
    "naive": SeasonalNaive(horizon=5),
    "seasonal": SeasonalNaive(horizon=5, season=3),
    "linear": LinearForecaster(horizon=5, input_size=8),
    "scaled": LinearForecaster(horizon=5, input_size=8, scaler="standard", alpha=1.0),
}


def walks(n_series=3, n_rows=120, seed=0):
    return np.random.default_rng(seed).normal(size=(n_series, n_rows)).cumsum(axis=1)


def frame(values, **columns):
    n_series, n_rows = values.shape
    return pd.DataFrame(
        {
            "unique_id": np.repeat([f"s{i}" for i in range(n_series)], n_rows),
            "ds": np.tile(pd.date_range("2024-01-01", periods=n_rows, freq="D"), n_series),
            "y": values.reshape(-1),
            **columns,
        }
    )


def test_naive_repeats_the_last_season():
    y = walks()
    np.testing.assert_array_equal(
        SeasonalNaive(horizon=4).fit(y).predict(), np.repeat(y[:, -1:], 4, axis=1)
    )
    seasonal = SeasonalNaive(horizon=7, season=3).fit(y).predict()
    np.testing.assert_array_equal(seasonal, np.tile(y[:, -3:], 3)[:, :7])


def test_naive_goes_back_to_the_last_season_that_has_a_value():
    y = np.array([1.0, 2.0, 3.0, 4.0, np.nan, 6.0, np.nan, np.nan, 9.0])
    naive = SeasonalNaive(horizon=4, season=3, missing="mask").fit(y)
    np.testing.assert_array_equal(naive.predict(), [4.0, 2.0, 9.0, 4.0])
    with pytest.raises(ValueError, match="series 'y' at 2: too little is available"):
        SeasonalNaive(horizon=3, season=3, missing="mask").fit(np.array([1.0, np.nan, 3.0]))


@pytest.mark.parametrize("alpha", [0.0, 2.5])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_the_closed_form_is_ridge_over_all_windows(alpha, fit_intercept):
    y, n_in, n_out = walks(), 8, 3
    linear = LinearForecaster(
        horizon=n_out, input_size=n_in, alpha=alpha, fit_intercept=fit_intercept
    ).fit(y)
    windows = np.concatenate([sliding_window_view(row, n_in + n_out) for row in y])
    windows = windows - windows[:, n_in - 1 : n_in]
    ridge = Ridge(alpha=alpha, fit_intercept=fit_intercept, solver="svd")
    ridge.fit(windows[:, : n_in - 1], windows[:, n_in:])
    assert linear.n_windows_ == len(windows)
    np.testing.assert_allclose(linear.coef_[:, :-1], ridge.coef_, atol=1e-10)
    np.testing.assert_allclose(linear.coef_.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(linear.intercept_, ridge.intercept_ * np.ones(n_out), atol=1e-10)
    past = y[:, -n_in:]
    expected = past[:, -1:] + ridge.predict((past - past[:, -1:])[:, :-1])
    np.testing.assert_allclose(linear.predict(), expected, atol=1e-10)
    np.testing.assert_allclose(past @ linear.coef_.T + linear.intercept_, expected, atol=1e-10)


def test_blocks_add_up(monkeypatch):
    y = walks()
    whole = LinearForecaster(horizon=4, input_size=8).fit(y)
    scores = whole.backtest(y, test_size=30)
    monkeypatch.setattr("ctrain.baselines.BLOCK", 7)
    parts = LinearForecaster(horizon=4, input_size=8).fit(y)
    np.testing.assert_allclose(parts.coef_, whole.coef_, atol=1e-10)
    assert parts.backtest(y, test_size=30)["mse"] == pytest.approx(scores["mse"], rel=1e-9)


def test_no_unique_solution_gives_the_shortest_weights():
    """More weights than windows, and windows that are all zero."""
    y = walks(n_series=1, n_rows=30)[0]
    linear = LinearForecaster(horizon=2, input_size=20, fit_intercept=False).fit(y)
    windows = sliding_window_view(y, 22) - y[19:-2, None]
    expected = np.linalg.lstsq(windows[:, :19], windows[:, 20:])[0].T
    np.testing.assert_allclose(linear.coef_[:, :-1], expected, atol=1e-8)
    constant = LinearForecaster(horizon=2, input_size=4, scaler="standard").fit(np.full(20, 3.0))
    np.testing.assert_array_equal(constant.predict(), [3.0, 3.0])


def test_scaled_windows_do_not_care_for_the_unit():
    y = walks(seed=1)
    linear = LinearForecaster(horizon=4, input_size=8, scaler="standard")
    expected = linear.fit(y).predict()
    units, shift = np.array([[1.0], [1e-3], [1e4]]), np.array([[0.0], [5.0], [-7.0]])
    np.testing.assert_allclose((linear.fit(y * units + shift).predict() - shift) / units, expected)


def test_windows_with_gaps_are_not_learned_from():
    y = walks(n_series=1, n_rows=100)[0]
    y[40] = np.nan
    linear = LinearForecaster(horizon=2, input_size=6, missing="mask").fit(y)
    assert linear.n_windows_ == 93 - 8
    again = LinearForecaster(horizon=2, input_size=6).fit([y[:40], y[41:]])
    np.testing.assert_allclose(linear.coef_, again.coef_, atol=1e-10)
    y[-1] = np.nan
    carried = np.append(y[:-1], y[-2])
    np.testing.assert_allclose(linear.predict(y), linear.predict(carried))


@pytest.mark.parametrize("name", FORECASTERS)
def test_nothing_after_the_cut_is_seen(name):
    y, forecaster = walks(), FORECASTERS[name]
    first = forecaster.cross_validation(y, n_windows=3, step_size=4)
    changed = y.copy()
    changed[:, 107:] = 1e3  # the first window forecasts the steps 107 to 111
    second = clone(forecaster).cross_validation(changed, n_windows=3, step_size=4)
    early = first["cutoff"] == 106
    assert early.sum() == 15
    np.testing.assert_array_equal(second["cutoff"], first["cutoff"])
    column = type(forecaster).__name__
    np.testing.assert_array_equal(second[column][early], first[column][early])
    assert (second[column][~early] != first[column][~early]).any()


@pytest.mark.parametrize("name", FORECASTERS)
def test_backtest_is_the_cross_validation_without_a_frame(name):
    y, forecaster = walks(), clone(FORECASTERS[name])
    forecaster.fit(y[:, :-11])
    scores = forecaster.backtest(y, 11, 3, ("mae", "mase"), season=2)
    table = forecaster.cross_validation(y, n_windows=3, step_size=3)
    errors = np.abs(table["y"] - table[type(forecaster).__name__]).reshape(3, 3, 5)
    assert scores.n_windows == 9
    assert scores["mae"] == pytest.approx(errors.mean(), rel=1e-12)
    np.testing.assert_allclose(scores.by_step("mae"), errors.mean(axis=(0, 1)))
    np.testing.assert_allclose(scores.by_series("mae"), errors.mean(axis=(1, 2)))
    scale = seasonal_scale(y[:, :-11].reshape(-1), np.arange(4) * 109, 2)
    expected = mase(np.zeros((3, 15)), errors.reshape(3, 15), scale)
    assert scores["mase"] == pytest.approx(expected, rel=1e-12)


def test_refits():
    y, linear = walks(), LinearForecaster(horizon=2, input_size=4)
    table = linear.cross_validation(y, n_windows=4, step_size=2, refit=2)
    answers = table["LinearForecaster"].reshape(3, 4, 2)
    for window, stop in ((0, 112), (2, 116)):
        by_hand = clone(linear).fit(y[:, :stop])
        np.testing.assert_allclose(answers[:, window], by_hand.predict())
        np.testing.assert_allclose(answers[:, window + 1], by_hand.predict(y[:, : stop + 2]))
    assert not hasattr(linear, "coef_")


def test_frames_go_in_and_out():
    y = walks(2, 60)
    data = frame(y)
    linear = LinearForecaster(horizon=3, input_size=8).fit(data.sample(frac=1.0, random_state=0))
    forecast = linear.predict()
    assert list(forecast) == ["unique_id", "ds", "LinearForecaster"]
    assert forecast["ds"].iloc[0] == pd.Timestamp("2024-03-01")
    np.testing.assert_allclose(
        forecast["LinearForecaster"].to_numpy().reshape(2, 3),
        LinearForecaster(horizon=3, input_size=8).fit(y).predict(),
    )
    table = linear.cross_validation(data, n_windows=2)
    assert list(table) == ["unique_id", "ds", "cutoff", "LinearForecaster", "y"]
    assert linear.backtest(data, 6).n_windows == 8
    renamed = data.rename(columns={"unique_id": "shop", "ds": "day", "y": "sales"})
    naive = SeasonalNaive(horizon=1, id_col="shop", time_col="day", target_col="sales")
    assert list(naive.fit(renamed).predict()) == ["shop", "day", "SeasonalNaive"]


@pytest.mark.parametrize("name", FORECASTERS)
def test_an_estimator_of_scikit_learn(name):
    forecaster = FORECASTERS[name]
    y = walks().astype(np.float32)
    copy = clone(forecaster).fit(y)
    assert copy.get_params() == forecaster.get_params()
    assert copy.predict().dtype == np.float32
    again = pickle.loads(pickle.dumps(copy))
    np.testing.assert_array_equal(again.predict(), copy.predict())
    assert len(pickle.dumps(copy)) < 20_000  # not the data
    np.testing.assert_array_equal(copy.predict(y), copy.predict())
    with pytest.raises(NotFittedError):
        clone(forecaster).predict()


@pytest.mark.parametrize(
    "forecaster, message",
    [
        (SeasonalNaive(horizon=0), "'horizon' .*Got 0"),
        (SeasonalNaive(horizon=1, season=0), "'season' .*Got 0"),
        (LinearForecaster(horizon=1, input_size=0), "'input_size' .*Got 0"),
        (LinearForecaster(horizon=1, input_size=1, alpha=-1.0), "'alpha' .*Got -1"),
        (LinearForecaster(horizon=1, input_size=1, scaler="last"), "'scaler' .*Got 'last'"),
        (
            LinearForecaster(horizon=1, input_size=1, fit_intercept=2),
            "'fit_intercept' .* a bool. Got 2",
        ),
        (SeasonalNaive(horizon=1, season=21), "series 0 has 20 rows; season needs at least 21"),
        (LinearForecaster(horizon=13, input_size=8), "no series has 21 available steps in a row"),
        (SeasonalNaive(horizon=1, freq="h"), "plain arrays have no time stamps"),
    ],
)
def test_errors(forecaster, message):
    with pytest.raises(ValueError, match=message):
        forecaster.fit(walks(2, 20))


def test_too_little_before_the_first_window():
    with pytest.raises(ValueError, match=r"before the 8 steps that windows .* at least 11"):
        SeasonalNaive(horizon=8, season=3).cross_validation(walks(2, 10))
