"""Losses in units of each series' seasonal naive error: MASE and its kin, trained and reported."""

from __future__ import annotations

import numpy as np
import pytest
from forecasts import HORIZON, INPUT_SIZE, SMALL, bits, forecaster, frame, weights

from ctrain import Classifier, Regressor
from ctrain.metrics import METRICS
from ctrain.scalers import SCALERS

SEASON, N_VAL = 7, 10
UNITS = ("none", "standard", "robust", "minmax")
GIVEN = {"season": SEASON, "early_stopping": False}


def with_gaps():
    data = frame()
    data["y"][np.random.default_rng(2).random(180) < 0.15] = np.nan
    return data


def held_out(fc, data):
    """Forecasts and targets of the validation rows, (3, n_windows, horizon), by NumPy's scale."""
    answer = fc.predict_insample(data, step_size=1)
    forecast, target = (
        np.asarray(answer[name], float).reshape(3, -1, HORIZON)[:, -(N_VAL - HORIZON + 1) :]
        for name in (fc._name(), "y")
    )
    known = np.asarray(data["y"], float).reshape(3, 60)[:, :-N_VAL]
    return forecast, target, known[:, SEASON:] - known[:, :-SEASON]


@pytest.mark.parametrize("series_scaler", UNITS)
@pytest.mark.parametrize("scaler", SCALERS)
def test_the_validation_loss_is_the_mase_of_the_backtest(scaler, series_scaler):
    fc = forecaster("mlp", loss="mase", scaler=scaler, series_scaler=series_scaler, **GIVEN)
    fc.fit(frame(), val_size=N_VAL)
    score = fc.backtest(frame(), N_VAL, metrics=("mase",))["mase"]
    assert fc.validation_loss_curve_[-1] == pytest.approx(score, rel=1e-5)
    assert score == fc.backtest(frame(), N_VAL, metrics=("mase",), season=SEASON)["mase"]
    assert score != fc.backtest(frame(), N_VAL, metrics=("mase",), season=1)["mase"]


@pytest.mark.parametrize("model", SMALL)
@pytest.mark.parametrize("weight", [None, (1.0, 0.0, 2.0, 0.5)])
@pytest.mark.parametrize("data", [frame, with_gaps])
def test_absolute_and_squared_errors(model, weight, data):
    """The formulas in NumPy, with gaps and with weights of the steps."""
    data, powers = data(), {"mase": 1, "msse": 2}
    for loss, power in powers.items():
        fc = forecaster(
            model, loss=loss, horizon_weight=weight, missing="mask", scaler="revin", **GIVEN
        ).fit(data, val_size=N_VAL)
        forecast, target, naive = held_out(fc, data)
        scale = np.nanmean(np.abs(naive) ** power, axis=1)[:, None, None]
        error = np.abs(forecast - target) ** power / scale
        w = np.where(np.isnan(target), 0.0, np.ones(HORIZON) if weight is None else weight)
        expected = np.nansum(w * error) / w.sum()
        assert fc.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-5), loss


def test_quantiles():
    levels = np.array([0.1, 0.5, 0.9])
    fc = forecaster(quantiles=tuple(levels), dtype="float64", max_steps=500, **GIVEN)
    fc.fit(frame(), val_size=N_VAL)  # long enough that they do not cross
    forecast, target, naive = held_out(fc, frame())
    answer = fc.predict_insample(frame(), step_size=1)
    names = ("NLinear-lo-80", "NLinear", "NLinear-hi-80")
    each = [answer[n].reshape(3, -1, HORIZON)[:, -forecast.shape[1] :] for n in names]
    pinball = METRICS["quantile_loss"].errors(target, np.stack(each, -1), levels)
    expected = (pinball / np.abs(naive).mean(axis=1)[:, None, None]).mean()
    assert fc.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-6)


def test_the_training_loss_is_in_these_units():
    """One step that moves nothing, over all windows."""
    fc = forecaster("mlp", loss="mase", max_steps=1, batch_size=1000, learning_rate_init=1e-30,
                    season=SEASON, start_padding=True).fit(frame())  # fmt: skip
    padded = fc.predict_insample(frame(), step_size=1)
    y = frame()["y"].reshape(3, 60)
    scale = np.abs(y[:, SEASON:] - y[:, :-SEASON]).mean(axis=1)
    error = np.abs(padded["MLP"] - padded["y"]).reshape(3, -1) / scale[:, None]
    assert fc.loss_curve_[-1] == pytest.approx(error.mean(), rel=1e-5)


def test_the_size_of_a_series_does_not_matter():
    """Without window scaling the loss alone keeps a large series from ruling the others."""
    small, large = frame(), frame()
    factor = np.repeat([1.0, 1000.0, 1.0], 60)
    large["y"] = large["y"] * factor
    given = {"series_scaler": "standard", "scaler": None, "max_steps": 20, "dtype": "float64"}
    for loss in ("mase", "msse"):
        fits = [forecaster("mlp", loss=loss, season=SEASON, **given).fit(d) for d in (small, large)]
        ratio = fits[1].predict()["MLP"] / fits[0].predict()["MLP"]
        np.testing.assert_allclose(ratio, np.repeat([1.0, 1000.0, 1.0], HORIZON), rtol=1e-9)
    assert bits(forecaster("mlp", loss="mse", **given).fit(small).predict()) != bits(
        fits[0].predict()
    )


def test_the_unit_of_a_loss_knows_the_training_part_alone():
    other = frame()
    other["y"].reshape(3, 60)[:, -N_VAL:] *= 50.0
    fits = [forecaster(loss="mase", **GIVEN).fit(d, val_size=N_VAL) for d in (frame(), other)]
    assert weights(fits[0]) == weights(fits[1])
    assert fits[0].loss_curve_ == fits[1].loss_curve_


@pytest.mark.parametrize("loss", ["absolute_error", "squared_error", "huber", "logcosh"])
def test_other_names_and_losses(loss):
    fc = forecaster(loss=loss, season=SEASON).fit(frame())
    alias = {"absolute_error": "mase", "squared_error": "msse"}.get(loss)
    if alias is not None:
        assert weights(forecaster(loss=alias, season=SEASON).fit(frame())) == weights(fc)
    assert weights(forecaster(loss=loss).fit(frame())) != weights(fc)
    assert weights(fc) != weights(forecaster(loss=loss, season=1).fit(frame()))


def test_a_partial_fit_measures_in_the_units_of_its_rows():
    fc = forecaster(loss="mase", season=SEASON, max_steps=None, max_iter=1, schedule="constant")
    whole = forecaster(loss="mase", season=SEASON, max_steps=None, max_iter=1, schedule="constant")
    assert weights(fc.partial_fit(frame())) == weights(whole.fit(frame()))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": "mase"}, "loss='mase' is in units of each series' seasonal naive error: it need"),
        ({"loss": "msse"}, "it needs the season of a Forecaster"),
        ({"season": 0}, "'season' parameter of Forecaster must be an int"),
        ({"season": 24.0}, "'season' parameter of Forecaster must be an int"),
        ({"season": 7, "loss": "smape"}, "season=7 measures errors .* loss='smape' is not of err"),
        ({"season": 7, "loss": "poisson", "scaler": None}, "loss='poisson' is not of errors"),
        ({"season": 60}, "series 's0': season=60 measures .* training part, and there are none"),
    ],
)
def test_what_is_refused(given, message):
    with pytest.raises(ValueError, match=message):
        forecaster(**given).fit(frame())


def test_a_series_that_repeats_itself_is_refused():
    data = frame()
    data["y"][60:120] = np.tile(np.arange(7.0), 9)[:60]
    with pytest.raises(ValueError, match=r"series 's1': season=7 .* and these are all 0"):
        forecaster(loss="mase", season=7).fit(data)
    assert forecaster(loss="mase", season=6).fit(data).n_iter_ > 0


@pytest.mark.parametrize("kind", [Regressor, Classifier])
def test_tables_have_no_season(kind):
    with pytest.raises(ValueError, match=r"loss='mase' .* needs the season of a Forecaster"):
        kind(loss="mase").fit(np.zeros((4, INPUT_SIZE)), [0, 1, 0, 1])
