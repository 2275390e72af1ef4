"""No forecast knows what comes after its cutoff: another future changes no bit of it."""

from __future__ import annotations

import numpy as np
import pytest
from forecasts import (
    COVARIATES,
    HORIZON,
    INPUT_SIZE,
    SMALL,
    TAKES_COVARIATES,
    bits,
    forecaster,
    frame,
    weights,
)

from ctrain.metrics import Metric
from ctrain.scalers import SCALERS

N_ROWS = 60


def changed(data, row, names=("y", "sold"), series=None):
    """The frame with other values from a row of each series on."""
    rng = np.random.default_rng(7)
    late = np.arange(len(data["y"])) % N_ROWS >= row
    if series is not None:
        late &= np.isin(data["unique_id"], series)
    other = dict(data)
    for name in names:
        other[name] = np.where(late, rng.normal(50, 30, len(late)), data[name])
    return other


def of_cutoffs(answer, last_row):
    """Forecasts, without what came, of windows whose cutoff is at most a row of its series."""
    keep = answer["cutoff"] <= np.datetime64("2024-01-01") + last_row
    assert keep.any()
    return {name: v[keep].tobytes() for name, v in answer.items() if name != "y"}


def check_cross_validation(fc, data, **how):
    """Windows of three cutoffs; each time everything after one of them is changed."""
    cutoffs = [N_ROWS - HORIZON - 1 - 5 * k for k in (2, 1, 0)]
    before = fc.cross_validation(data, n_windows=3, step_size=5, **how)
    for cutoff in cutoffs if how.get("refit") else cutoffs[:1]:
        other = changed(data, cutoff + 1)
        after = fc.cross_validation(other, n_windows=3, step_size=5, **how)
        assert of_cutoffs(before, cutoff) == of_cutoffs(after, cutoff)
    first = changed(data, cutoffs[0])  # the last value that all forecasts know
    after = fc.cross_validation(first, n_windows=3, step_size=5, **how)
    assert of_cutoffs(before, cutoffs[0]) != of_cutoffs(after, cutoffs[0])


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("model", SMALL)
def test_models(model, refit):
    check_cross_validation(forecaster(model), frame(), refit=refit)


@pytest.mark.parametrize("model", TAKES_COVARIATES)
def test_models_with_covariates(model):
    check_cross_validation(forecaster(model, **COVARIATES), frame(), refit=True)


@pytest.mark.parametrize("series_scaler", ["none", "standard", "robust", "minmax"])
@pytest.mark.parametrize("scaler", SCALERS)
def test_scalers(scaler, series_scaler):
    fc = forecaster("mlp", scaler=scaler, series_scaler=series_scaler)
    check_cross_validation(fc, frame(), refit=True)


@pytest.mark.parametrize("how", [{"val_size": 6}, {"refit": 2, "val_size": 4}])
@pytest.mark.parametrize("stops", [False, True])
def test_validation(stops, how):
    fc = forecaster("mlp", max_steps=None, max_iter=4, early_stopping=stops)
    check_cross_validation(fc, frame(), **how)


@pytest.mark.parametrize("refit", [False, True])
@pytest.mark.parametrize("val_size", [0, 4, 9])
def test_conformal(val_size, refit):
    """Calibrated on an inner fit, and (9 rows) on the validation rows."""
    fc = forecaster(conformal=4, series_scaler="standard")
    check_cross_validation(fc, frame(), refit=refit, val_size=val_size, level=50)


def test_quantiles_and_gaps():
    data = frame()
    data["y"][np.random.default_rng(1).random(len(data["y"])) < 0.1] = np.nan
    fc = forecaster("nhits", quantiles=(0.1, 0.5, 0.9), missing="mask", start_padding=True)
    check_cross_validation(fc, data, refit=True)


@pytest.mark.parametrize("model", ["mlp", "tft", "vanillatransformer"])
def test_the_future_covariates_after_the_horizon(model):
    fc, data = forecaster(model, futr_exog=("promo",)), frame()
    before = fc.cross_validation(data, n_windows=2, step_size=HORIZON, refit=True)
    cutoff = N_ROWS - 2 * HORIZON - 1
    later = changed(data, cutoff + 1 + HORIZON, ("promo",))
    after = fc.cross_validation(later, n_windows=2, step_size=HORIZON, refit=True)
    assert of_cutoffs(before, cutoff) == of_cutoffs(after, cutoff)
    within = changed(data, cutoff + HORIZON, ("promo",))  # its last step is known beforehand
    after = fc.cross_validation(within, n_windows=2, step_size=HORIZON, refit=True)
    assert of_cutoffs(before, cutoff) != of_cutoffs(after, cutoff)


def test_other_series_change_no_forecast_of_a_fitted_model():
    fc = forecaster("mlp", series_scaler="standard", **COVARIATES).fit(frame())
    data = frame(seed=1)
    other = changed(data, 0, ("y", "sold"), series=["s0", "s2"])
    for answer in (fc.predict_insample, lambda df: fc.predict(df, future=ahead(data))):
        before, after = answer(data), answer(other)
        mine = before["unique_id"] == "s1"
        assert before["MLP"][mine].tobytes() == after["MLP"][mine].tobytes()
        assert before["MLP"][~mine].tobytes() != after["MLP"][~mine].tobytes()


def ahead(data):
    """Covariates of the horizon after each series."""
    names = np.unique(data["unique_id"])
    last = data["ds"].max()
    return {
        "unique_id": np.repeat(names, HORIZON),
        "ds": np.tile(last + np.arange(1, HORIZON + 1), len(names)),
        "promo": np.ones(len(names) * HORIZON),
    }


def test_validation_rows_teach_nothing():
    """Without early stopping they are only looked at."""
    given = {"early_stopping": False, "series_scaler": "robust", **COVARIATES}
    data, parts = frame(), []
    for other in (data, changed(data, N_ROWS - 10, ("y", "sold", "promo"))):
        parts.append(forecaster("mlp", **given).fit(other, val_size=10))
    assert weights(parts[0]) == weights(parts[1])
    assert parts[0].loss_curve_ == parts[1].loss_curve_
    assert parts[0].validation_loss_curve_ != parts[1].validation_loss_curve_
    inside = changed(data, N_ROWS - 11)
    assert weights(forecaster("mlp", **given).fit(inside, val_size=10)) != weights(parts[0])


@pytest.mark.parametrize("fitted", [True, False], ids=["known series", "new series"])
@pytest.mark.parametrize("series_scaler", ["none", "standard", "robust", "minmax"])
def test_windows_of_a_fitted_model(series_scaler, fitted):
    """predict_insample: each window from its own past, in units that know nothing else."""
    data = frame(seed=1)
    if not fitted:
        data["unique_id"] = np.char.add("new ", data["unique_id"])
    fc = forecaster(series_scaler=series_scaler, conformal=5).fit(frame())
    before = fc.predict_insample(data, step_size=3, level=60)
    for cutoff in (20, 41):
        after = fc.predict_insample(changed(data, cutoff + 1), step_size=3, level=60)
        assert of_cutoffs(before, cutoff) == of_cutoffs(after, cutoff)


@pytest.mark.parametrize("fitted", [True, False], ids=["known series", "new series"])
def test_a_backtest(fitted):
    """What its metrics are shown: of the first window of each series nothing that comes later."""
    data = frame(seed=1)
    if not fitted:
        data["unique_id"] = np.char.add("new ", data["unique_id"])
    fc = forecaster(series_scaler="standard").fit(frame())
    size = 3 * HORIZON
    first = N_ROWS - size
    shown = []

    def errors(y, prediction):
        shown.append(prediction)
        return y - prediction

    for row in (N_ROWS, first + HORIZON, first, first - 1):
        other = changed(data, row)
        fc.backtest(other, size, step_size=2 * HORIZON, metrics=Metric("error", errors))
    same, later, target, known = (of[::2].tobytes() for of in shown)  # of two windows a series
    assert same == later == target != known
    assert shown[0][1::2].tobytes() != shown[1][1::2].tobytes()


def test_the_inner_fit_of_conformal_intervals():
    """The last row is the target of one step alone; nothing else of the errors may change."""
    data, n_windows = frame(), 5
    for val_size in (0, 6):
        scores = []
        for other in (data, changed(data, N_ROWS - 1)):
            fc = forecaster(
                "mlp", conformal=n_windows, series_scaler="minmax", early_stopping=False
            )
            scores.append(fc.fit(other, val_size=val_size)._conformal.scores)
        assert scores[0].shape == (3 * n_windows, HORIZON)
        assert scores[0][:, :-1].tobytes() == scores[1][:, :-1].tobytes()
        assert scores[0][:, -1].tobytes() != scores[1][:, -1].tobytes()


def test_what_a_window_weight_is_shown():
    """Of each fit, the inner one too, training windows alone."""
    shown = []

    def weight(stamps, values):
        shown.append(stamps.max())
        return np.ones(len(stamps))

    forecaster(conformal=5, window_weight=weight).fit(frame(), val_size=6)
    start = np.datetime64("2024-01-01")
    outer, inner = N_ROWS - 6, N_ROWS - 6 - (HORIZON + 5 - 1)
    assert shown == [start + outer - HORIZON, start + inner - HORIZON]


def test_input_before_the_window_is_not_used():
    fc = forecaster("mlp").fit(frame())
    data = frame(seed=1)
    early = {**data, "y": data["y"].copy()}
    early["y"].reshape(3, N_ROWS)[:, : N_ROWS - INPUT_SIZE] = 1e3
    assert bits(fc.predict(data)) == bits(fc.predict(early))
