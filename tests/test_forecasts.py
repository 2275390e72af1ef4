"""What a fitted forecaster answers: rolling, insample, cross-validated, scored, with intervals."""

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
)
from scipy import stats

import ctrain
from ctrain import Forecaster
from ctrain.losses import Quantile
from ctrain.metrics import METRICS, seasonal_scale
from ctrain.models import MLP

N_ROWS = 60


def part(data, begin, end):
    """Rows of each series."""
    n = len(data["y"]) // N_ROWS
    return {k: v.reshape(n, N_ROWS)[:, begin:end].reshape(-1) for k, v in data.items()}


def of_series(answer, name, column):
    return answer[column][answer["unique_id"] == name]


# ------------------------------------------------------------------- windows


def test_the_scaled_network_by_hand():
    """NLinear between a standard scaler, in units of each series, as NumPy writes it."""
    fc = forecaster(series_scaler="standard", dtype="float64").fit(frame())
    y = frame()["y"].reshape(3, N_ROWS)
    mean, deviation = y.mean(1, keepdims=True), y.std(1, keepdims=True)
    x = ((y - mean) / deviation)[:, -INPUT_SIZE:]
    location, scale = x.mean(1, keepdims=True), np.sqrt(x.var(1, keepdims=True) + 1e-5)
    z = (x - location) / scale
    w, b = (p.value for p in fc._network.parameters)
    answer = ((z - z[:, -1:]) @ w + b + z[:, -1:]) * scale + location
    want = answer * deviation + mean
    np.testing.assert_allclose(fc.predict()["NLinear"].reshape(3, HORIZON), want, rtol=1e-12)


@pytest.mark.parametrize("series_scaler", ["none", "standard"])
@pytest.mark.parametrize("model", SMALL)
def test_windows_inside_are_forecasts_after_the_end(model, series_scaler):
    """predict_insample against predict of the rows up to each cutoff, one after the other."""
    data = frame(n_series=2)
    fc = forecaster(model, series_scaler=series_scaler).fit(data)
    answer, name = fc.predict_insample(data), fc._name()
    n_windows = (N_ROWS - INPUT_SIZE) // HORIZON
    assert len(answer["y"]) == 2 * n_windows * HORIZON
    assert sorted(set(of_series(answer, "s1", "ds"))) == sorted(data["ds"][INPUT_SIZE:N_ROWS])
    for k in range(n_windows):
        end = N_ROWS - (n_windows - k) * HORIZON
        now = fc.predict(part(data, 0, end))
        at = answer["cutoff"] == data["ds"][end - 1]
        for column in ("unique_id", "ds", name):
            assert answer[column][at].tobytes() == now[column].tobytes()
        assert answer["y"][at].tobytes() == part(data, end, end + HORIZON)["y"].tobytes()


def test_windows_that_begin_before_their_series():
    data = frame(n_series=1)
    fc = forecaster("mlp", start_padding=True).fit(data)
    answer = fc.predict_insample(data, step_size=1)
    assert answer["cutoff"].min() == data["ds"][0]
    for k in (1, 3, INPUT_SIZE + 1):
        at = answer["cutoff"] == data["ds"][k - 1]
        assert answer["MLP"][at].tobytes() == fc.predict(part(data, 0, k))["MLP"].tobytes()


@pytest.mark.parametrize("given", [{}, {"series_scaler": "minmax"}, {"futr_exog": ("promo",)}])
def test_beyond_the_horizon_forecasts_are_fed_back(given):
    data = frame()
    fc = forecaster("mlp", dtype="float64", **given).fit(data)
    steps = 3 * HORIZON - 1
    index = fc.future_frame(steps=steps)
    assert len(index["ds"]) == 3 * 3 * HORIZON
    promo = np.random.default_rng(1).normal(size=(3, 3 * HORIZON))
    covariates = {"future": index | {"promo": promo.reshape(-1)}} if given.get("futr_exog") else {}
    answer = fc.predict(steps=steps, **covariates)["MLP"].reshape(3, steps)
    known, by_hand = data, []
    for k in range(3):
        block = slice(k * HORIZON, (k + 1) * HORIZON)
        if covariates:
            covariates["future"] = fc.future_frame(known) | {"promo": promo[:, block].reshape(-1)}
        now = fc.predict(known, **covariates)
        by_hand.append(now["MLP"].reshape(3, HORIZON))
        more = {"unique_id": now["unique_id"], "ds": now["ds"], "y": now["MLP"],
                "promo": promo[:, block].reshape(-1)}  # fmt: skip
        known = {name: np.concatenate([known[name], more[name]]) for name in more}
    by_hand = np.concatenate(by_hand, axis=1)[:, :steps]
    assert answer[:, :HORIZON].tobytes() == by_hand[:, :HORIZON].tobytes()
    np.testing.assert_allclose(answer, by_hand, rtol=1e-12)  # units are left and entered again
    fewer = fc.predict(steps=2, **({"future": index | {"promo": promo.reshape(-1)}} if covariates
                                   else {}))["MLP"]  # fmt: skip
    assert fewer.tobytes() == answer[:, :2].tobytes()


@pytest.mark.parametrize("given", [{}, {"series_scaler": "standard"}, {"scaler": None}], ids=str)
def test_a_missing_value_is_0_for_the_network(given):
    """After all scaling: a network that repeats its last steps answers their mean (or 0) there."""

    def echo(tape, past_y):
        last = tape.slice(past_y, 0, INPUT_SIZE - HORIZON, INPUT_SIZE)
        return tape.add(last, tape.parameter((HORIZON,), name="b", init="zeros"))

    data = frame(n_series=1)
    data["y"][-2] = np.nan
    fc = forecaster(echo, missing="mask", learning_rate_init=1e-30, dtype="float64", **given)
    answer = fc.fit(data).predict()["echo"]
    y = data["y"][-INPUT_SIZE:]
    want = y[-HORIZON:].copy()
    want[-2] = 0.0 if "scaler" in given else np.nanmean(y)
    np.testing.assert_allclose(answer, want, rtol=1e-12, atol=1e-25)


# ------------------------------------------------------------------- cross-validation


@pytest.mark.parametrize("refit", [False, True, 2])
def test_cross_validation_by_hand(refit):
    data, n_windows, step = frame(n_series=2), 3, 5
    fc = forecaster("mlp", series_scaler="standard")
    answer = fc.cross_validation(data, n_windows=n_windows, step_size=step, refit=refit)
    assert not hasattr(fc, "history_")
    assert list(answer) == ["unique_id", "ds", "cutoff", "MLP", "y"]
    assert len(answer["y"]) == 2 * n_windows * HORIZON
    for k in range(n_windows):
        end = N_ROWS - HORIZON - (n_windows - 1 - k) * step
        known = part(data, 0, end)
        if k == 0 or refit is True or (refit and k % refit == 0):
            model = forecaster("mlp", series_scaler="standard").fit(known)
        now = model.predict(known)
        at = answer["cutoff"] == data["ds"][end - 1]
        for column in ("unique_id", "ds", "MLP"):
            assert answer[column][at].tobytes() == now[column].tobytes()
        assert answer["y"][at].tobytes() == part(data, end, end + HORIZON)["y"].tobytes()


def test_cross_validation_counts_windows():
    fc, data = forecaster(), frame()
    assert len(fc.cross_validation(data)["y"]) == 3 * HORIZON
    by_size = fc.cross_validation(data, test_size=13, step_size=3)
    assert bits(by_size) == bits(fc.cross_validation(data, n_windows=4, step_size=3))
    with pytest.raises(ValueError, match=r"n_windows or test_size, not both"):
        fc.cross_validation(data, n_windows=2, test_size=9)


@pytest.mark.parametrize("step_size", [1, 3])
@pytest.mark.parametrize("given", [{}, {"series_scaler": "standard", "quantiles": (0.1, 0.5, 0.9)}])
def test_a_backtest_scores_the_windows_of_a_cross_validation(given, step_size):
    data, size = frame(), 16
    fc = forecaster("mlp", **given)
    windows = fc.cross_validation(data, test_size=size, step_size=step_size)
    fitted = fc.fit(part(data, 0, N_ROWS - size))
    names = ("mae", "mse", "rmse", "smape", "mase")
    scores = fitted.backtest(data, size, step_size=step_size, metrics=names, season=7)
    y, forecast = (windows[c].reshape(-1, HORIZON) for c in ("y", "MLP"))
    panel = fitted._read(data, None)
    stops = panel.offsets[1:] - size
    scale = seasonal_scale(panel.y, panel.offsets, 7, panel.mask, stops)
    scale = np.repeat(scale, len(y) // 3)[:, None]
    for name in names:
        want = METRICS[name].score(y, forecast, scale=scale)
        assert scores[name] == pytest.approx(want, rel=1e-12)
    want = np.abs(y - forecast).reshape(3, -1, HORIZON)
    np.testing.assert_allclose(scores.by_step("mae"), want.mean((0, 1)), rtol=1e-12)
    np.testing.assert_allclose(scores.by_series("mae"), want.mean((1, 2)), rtol=1e-12)


def test_a_backtest_leaves_gaps_out():
    data = frame()
    data["y"][150:170] = np.nan
    fc = forecaster(missing="mask").fit(part(data, 0, 40))
    scores = fc.backtest(data, 20)
    windows = fc.predict_insample(data, step_size=1)
    last = windows["cutoff"] >= data["ds"][N_ROWS - 21]
    error = np.abs(windows["y"] - windows["NLinear"])[last]
    assert np.isnan(error).any()
    assert scores["mae"] == pytest.approx(np.nanmean(error), rel=1e-12)


def test_losses_are_those_of_the_windows():
    """With weights that stay: the mean over all training, and all validation windows."""
    data, size = frame(), 10
    fc = forecaster("mlp", scaler=None, learning_rate_init=1e-30, max_steps=1, batch_size=500)
    fc.fit(data, val_size=size)
    assert fc.validation_loss_curve_[-1] == pytest.approx(fc.backtest(data, size)["mae"], rel=1e-6)
    windows = fc.predict_insample(part(data, 0, N_ROWS - size), step_size=1)
    error = np.abs(windows["y"] - windows["MLP"])
    assert fc.n_windows_ == len(error) / HORIZON
    assert fc.loss_curve_[-1] == pytest.approx(error.mean(), rel=1e-6)


# ------------------------------------------------------------------- intervals


def test_columns_of_quantiles():
    fc = forecaster("mlp", quantiles=(0.9, 0.05, 0.5, 0.1, 0.2)).fit(frame())
    answer = fc.predict()
    assert list(answer) == ["unique_id", "ds", "MLP", "MLP-lo-80", "MLP-hi-80", "MLP-ql0.05",
                            "MLP-ql0.2"]  # fmt: skip
    assert list(fc.predict(level=80)) == ["unique_id", "ds", "MLP", "MLP-lo-80", "MLP-hi-80"]
    ordered = ["MLP-ql0.05", "MLP-lo-80", "MLP-ql0.2", "MLP", "MLP-hi-80"]
    stacked = np.stack([answer[name] for name in ordered])
    assert (np.diff(stacked, axis=0) >= 0).all()
    by_loss = forecaster("mlp", loss=Quantile((0.9, 0.05, 0.5, 0.1, 0.2))).fit(frame())
    assert bits(by_loss.predict()) == bits(answer)


def test_quantiles_never_cross():
    """Far from what it was trained on, where they would."""
    fc = forecaster("mlp", quantiles=(0.1, 0.3, 0.5, 0.7, 0.9), scaler=None).fit(frame())
    far = np.random.default_rng(0).normal(0, 1e4, (200, INPUT_SIZE))
    raw = fc._network.predict(
        fc._windows(fc._read(far, None), np.arange(1, 201) * INPUT_SIZE, 1), 1
    )
    assert (np.diff(raw, axis=-1) < 0).any()
    answer = fc.predict(far)
    for low, high in (("lo-80", "lo-40"), ("lo-40", "hi-40"), ("hi-40", "hi-80")):
        assert (answer[f"MLP-{low}"] <= answer[f"MLP-{high}"]).all()


def test_levels_from_quantiles_and_from_conformal():
    fc = forecaster("mlp", quantiles=(0.1, 0.5, 0.9), conformal=10).fit(frame())
    both = fc.predict(level=(60, 80))
    assert list(both)[2:] == ["MLP", "MLP-lo-60", "MLP-hi-60", "MLP-lo-80", "MLP-hi-80"]
    half = (both["MLP-hi-60"] - both["MLP-lo-60"]).reshape(3, HORIZON) / 2
    spread = frame()["y"].reshape(3, N_ROWS).std(1)
    width = fc._conformal.half_width(60)
    np.testing.assert_allclose(half, spread[:, None] * width, rtol=1e-4)
    assert bits(fc.predict())["MLP-hi-80"] == bits(both)["MLP-hi-80"]  # trained ones
    short = fc.predict(level=60, steps=2)
    first = both["MLP-lo-60"].reshape(3, HORIZON)[:, :2]
    np.testing.assert_allclose(short["MLP-lo-60"].reshape(3, 2), first, rtol=1e-6)
    with pytest.raises(ValueError, match=r"level=60: conformal intervals reach 4 steps.*steps=5"):
        fc.predict(level=60, steps=5)


def test_a_level_that_there_is_not():
    fc = forecaster("mlp", quantiles=(0.1, 0.5, 0.9)).fit(frame())
    for answer in (
        lambda: fc.predict(level=90),
        lambda: fc.predict_insample(frame(), level=(80, 90)),
        lambda: fc.cross_validation(frame(), level=90),
    ):
        with pytest.raises(ValueError, match=r"level=90: the trained quantiles .* conformal="):
            answer()
    with pytest.raises(ValueError, match=r"percent in \(0, 100\)"):
        fc.predict(level=0.9999e3)
    few = forecaster(conformal=2).fit(frame())
    with pytest.raises(ValueError, match=r"level=90 needs at least 9 calibration windows"):
        few.predict(level=90)


def noise(n_series, n_rows, seed):
    """Series whose next value is 0.8 of the last one and noise."""
    rng = np.random.default_rng(seed)
    y = np.zeros((n_series, n_rows))
    for t in range(1, n_rows):
        y[:, t] = 0.8 * y[:, t - 1] + rng.normal(size=n_series)
    return y


@pytest.mark.parametrize("given", [{"quantiles": (0.1, 0.5, 0.9)}, {"conformal": 2}],
                         ids=["quantiles", "conformal"])  # fmt: skip
def test_coverage_of_80_percent(given):
    """Of new series of the same process: one window each, so that they are independent."""
    n_new = 2000
    fc = Forecaster(MLP((16,)), horizon=3, input_size=6, scaler=None, batch_size=256, max_steps=600,
                    learning_rate_init=5e-3, random_state=0, n_jobs=1, **given)  # fmt: skip
    fc.fit(noise(500, 60, 0))
    y = noise(n_new, 40, 1)
    answer = fc.predict(y[:, :-3], level=80)
    inside = (answer["MLP-lo-80"] <= y[:, -3:]) & (y[:, -3:] <= answer["MLP-hi-80"])
    # 0.999 of the binomial distribution; conformal widths are quantiles of 1,000 scores themselves,
    # trained quantiles come from as many series: both vary about as much again
    bound = stats.binom.interval(0.999, n_new, 0.8)
    low, high = (2 * (b / n_new - 0.8) + 0.8 for b in bound)
    shares = inside.mean(axis=0)
    assert ((low <= shares) & (shares <= high)).all(), shares


def test_intervals_of_large_series_are_wide():
    y = noise(20, 80, 0)
    y[10:] *= 100
    fc = forecaster(conformal=5).fit(y)
    answer = fc.predict(level=80)
    width = (answer["NLinear-hi-80"] - answer["NLinear-lo-80"]).mean(axis=1)
    ratio = width / y.std(axis=1)
    np.testing.assert_allclose(ratio, ratio[0], rtol=0.01)


# ------------------------------------------------------------------- covariates


@pytest.mark.parametrize("model", TAKES_COVARIATES)
@pytest.mark.parametrize("kind", COVARIATES)
def test_a_covariate_changes_the_forecast(kind, model):
    (name,) = COVARIATES[kind]
    data = frame()
    fc = forecaster(model, **{kind: (name,)}).fit(data)
    future = fc.future_frame() | {"promo": np.zeros(3 * HORIZON)} if kind == "futr_exog" else None
    before = fc.predict(data, future=future)
    moved = data | {name: data[name] + 1.0}
    assert bits(fc.predict(moved, future=future)) != bits(before)
    if future:
        later = future | {"promo": np.ones(3 * HORIZON)}
        assert bits(fc.predict(data, future=later)) != bits(before)


def test_covariates_are_learned():
    """What the future covariate says is all that there is to know."""
    rng = np.random.default_rng(0)
    promo = rng.integers(0, 2, 300).astype(float)
    data = {"ds": np.arange(300), "y": 5 + 2 * promo, "promo": promo}
    fc = Forecaster(MLP((16,)), horizon=3, input_size=6, id_col=None, futr_exog=("promo",),
                    scaler=None, series_scaler="standard", max_steps=800,
                    learning_rate_init=1e-2, random_state=0, n_jobs=1)  # fmt: skip
    fc.fit(data)
    future = {"ds": np.arange(300, 303), "promo": np.array([1.0, 0.0, 1.0])}
    np.testing.assert_allclose(fc.predict(future=future)["MLP"], [7, 5, 7], atol=0.1)


# ------------------------------------------------------------------- decomposition


@pytest.mark.parametrize("given", [{}, {"scaler": "revin", "series_scaler": "standard"},
                                   {"quantiles": (0.1, 0.5, 0.9)}], ids=str)  # fmt: skip
@pytest.mark.parametrize("model", ["nbeats", "nhits", "dlinear"])
def test_parts_add_up_to_the_forecast(model, given, tmp_path):
    fc = forecaster(model, dtype="float64", **given).fit(frame())
    parts, name = fc.decompose(), fc._name()
    forecast = fc.predict()[name]
    own = {
        "dlinear": ["trend", "seasonality"],
        "nbeats": ["level", "identity", "trend", "seasonality"],
        "nhits": ["level", "stack_0", "stack_1", "stack_2"],
    }[model]
    assert list(parts) == ["unique_id", "ds", name, *(f"{name}-{part}" for part in own)]
    if "quantiles" not in given:  # those are sorted, their parts are not
        assert parts[name].tobytes() == forecast.tobytes()
    total = sum(parts[f"{name}-{part}"] for part in own)
    np.testing.assert_allclose(total, parts[name], rtol=1e-12)
    if model != "dlinear":  # the level is the last value of each series
        last = np.repeat(frame()["y"].reshape(3, N_ROWS)[:, -1], HORIZON)
        np.testing.assert_allclose(parts[f"{name}-level"], last, rtol=1e-12)
    fc.save(tmp_path / "model.npz")
    assert bits(ctrain.load(tmp_path / "model.npz").decompose(frame())) == bits(parts)


def test_what_has_no_parts():
    with pytest.raises(ValueError, match=r"NLinear names no parts of its forecast"):
        forecaster().fit(frame()).decompose()
    same = forecaster("nbeats", input_size=HORIZON).fit(frame())  # a backcast is no part
    assert len(same.decompose()) == 3 + 4

    class Odd:
        def record(self, tape, inputs, shape):
            w = tape.parameter((INPUT_SIZE, *shape), name="w")
            prediction = tape.matmul(inputs["past_y"], w)
            return {"other": tape.scale(prediction, 0.3), "prediction": prediction}

    with pytest.raises(ValueError, match=r"the parts \['other'\] of Odd do not add up"):
        forecaster(Odd()).fit(frame()).decompose()
