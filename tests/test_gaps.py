"""Gaps, padding, short series: what is missing teaches nothing and is never taken for a value."""

from __future__ import annotations

import numpy as np
import pytest
from forecasts import HORIZON, INPUT_SIZE, bits, forecaster, frame, weights
from numpy.testing import assert_allclose

STAMP = np.datetime64("2024-01-01")


def test_windows_without_any_value_do_not_count():
    """A gap longer than a window, in order and one window a step."""
    data = frame(n_series=1)
    data["y"][20:50] = np.nan
    fc = forecaster("mlp", missing="mask", shuffle=False, batch_size=1, max_steps=None, max_iter=1)
    fc.fit(data)
    # the first step of the horizon lies in 8..20 (before the gap), or its past reaches beyond it
    starts = np.arange(INPUT_SIZE, 60 - HORIZON + 1)
    seen = ~np.isnan(data["y"])
    want = [seen[t - INPUT_SIZE : t].any() and seen[t : t + HORIZON].any() for t in starts]
    assert fc.n_windows_ == sum(want) == fc.t_
    assert np.isfinite(fc.loss_curve_).all()


def test_windows_whose_only_values_have_weight_0_do_not_count():
    data = frame(n_series=1)
    data["available_mask"] = (np.arange(60) % 5 == 0).astype(float)
    fc = forecaster(horizon_weight=(1, 1, 0, 1), shuffle=False, batch_size=1, max_steps=None,
                    max_iter=1)  # fmt: skip
    starts = np.arange(INPUT_SIZE, 60 - HORIZON + 1)
    want = [any((t + step) % 5 == 0 for step in (0, 1, 3)) for t in starts]
    assert fc.fit(data).n_windows_ == sum(want) == fc.t_ < len(want)


def test_what_a_hidden_value_is_does_not_matter():
    data, other = frame(), frame()
    data["available_mask"] = other["available_mask"] = (np.arange(180) % 11 > 0).astype(float)
    other["y"][np.arange(180) % 11 == 0] = -1e5
    for scaler in ("none", "standard", "robust", "minmax", "revin"):
        fits = [forecaster("mlp", scaler=scaler, series_scaler="standard").fit(d)
                for d in (data, other)]  # fmt: skip
        assert weights(fits[0]) == weights(fits[1]), scaler
        assert bits(fits[0].predict()) == bits(fits[1].predict()), scaler


@pytest.mark.parametrize("trained_on_gaps", [False, True])
@pytest.mark.parametrize("model", ["nlinear", "nbeats", "nhits"])
def test_where_the_last_step_is_missing_the_last_available_one_counts(model, trained_on_gaps):
    data, filled = frame(n_series=1), frame(n_series=1)
    data["y"][-3:], filled["y"][-3:] = np.nan, data["y"][-4]
    given = {"scaler": None, "missing": "mask", "dtype": "float64"}
    fc = forecaster(model, **given).fit(data if trained_on_gaps else frame(n_series=1))
    if model == "nlinear":  # what is missing is as far from the last value as itself
        assert_allclose(fc.predict(data)["NLinear"], fc.predict(filled)["NLinear"], rtol=1e-12)
    else:
        level = fc.decompose(data)[f"{fc._name()}-level"]
        assert_allclose(level, np.full(HORIZON, data["y"][-4]), rtol=1e-12)


def test_padding_adds_the_first_windows():
    plain = forecaster(horizon=HORIZON).fit(frame())
    padded = forecaster(start_padding=True).fit(frame())
    assert padded.n_windows_ == plain.n_windows_ + 3 * (INPUT_SIZE - 1)
    short = {name: v.reshape(3, 60)[:, :5].reshape(-1) for name, v in frame(seed=1).items()}
    assert padded.predict(short)["NLinear"].shape == (3 * HORIZON,)
    assert forecaster(start_padding=True).fit(short).n_windows_ == 3


def test_short_series_are_left_out_if_asked_for():
    data = frame()
    keep = (data["unique_id"] != "s1") | (data["ds"] < STAMP + 10)
    ragged = {name: v[keep] for name, v in data.items()}
    fc = forecaster(short="drop").fit(ragged)
    without = {name: v[data["unique_id"] != "s1"] for name, v in data.items()}
    assert weights(fc) == weights(forecaster().fit(without))
    assert list(np.unique(fc.predict()["unique_id"])) == ["s0", "s2"]
    rows = np.array([60, 5, 60])
    tiny = {name: np.concatenate([p[:n] for p, n in zip(v.reshape(3, 60), rows, strict=True)])
            for name, v in data.items()}  # fmt: skip
    assert list(np.unique(fc.predict(tiny)["unique_id"])) == ["s0", "s2"]


def test_a_partial_fit_with_gaps_after_one_without():
    """Masked targets are not learned as zeros: the loss is that of a fit that knew of gaps."""
    data = frame()
    data["y"][10:20] = np.nan
    given = {"missing": "mask", "learning_rate_init": 1e-30}  # weights stay as they are
    known = forecaster(**given).partial_fit(data).loss_curve_[-1]
    later = forecaster(**given).fit(frame()).partial_fit(data).loss_curve_[-1]
    assert later == pytest.approx(known, rel=1e-5)


@pytest.mark.parametrize("model", ["nlinear", "nhits"])
def test_a_partial_fit_with_padding_after_one_without(model):
    """Whose network had no mask: what is before a series is hidden all the same."""
    given = {"scaler": "revin", "learning_rate_init": 1e-30, "shuffle": False}
    known = forecaster(model, start_padding=True, **given).partial_fit(frame()).loss_curve_[-1]
    later = forecaster(model, **given).fit(frame()).set_params(start_padding=True)
    assert later.partial_fit(frame()).loss_curve_[-1] == pytest.approx(known, rel=1e-6)
