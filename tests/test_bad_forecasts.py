"""What a forecaster refuses: every message names the thing, the rule, the value and the remedy."""

from __future__ import annotations

import numpy as np
import pytest
from forecasts import COVARIATES, HORIZON, INPUT_SIZE, forecaster, frame
from sklearn.exceptions import NotFittedError

from ctrain import Forecaster
from ctrain.losses import LogCosh
from ctrain.models import NHITS, NLinear

STAMP = np.datetime64("2024-01-01")


def with_value(name, row, value):
    data = frame()
    data[name] = data[name].copy()
    data[name][row] = value
    return data


def without(row):
    return {name: np.delete(values, row) for name, values in frame().items()}


def twice(row):
    return {name: np.append(values, values[row]) for name, values in frame().items()}


def mixed(name, values):
    return frame() | {name: values}


BAD_DATA = {
    "NaN": (with_value("y", 65, np.nan), {},
     r"'y' of series 's1' at 2024-01-06 is NaN.*missing='mask'"),
    "infinite": (with_value("y", 65, np.inf), {}, r"'y' of series 's1' at 2024-01-06 is inf"),
    "too large": (with_value("y", 65, 1e200), {},
     r"'y' of series 's1' at 2024-01-06 is 1e\+200, too large for float32"),
    "gap": (without(130), {}, r"series 's2' has no row at 2024-01-11.*fill_gaps='mask'"),
    "duplicate": (twice(3), {}, r"series 's0' has 2 rows at 2024-01-04"),
    "off the calendar": (
        mixed("ds", frame()["ds"].astype("M8[s]") + 60 * (np.arange(180) == 70)), {"freq": "D"},
        r"series 's1': 2024-01-11 00:01:00.* is not a stamp of freq 'D' counted from its first",
    ),
    "wrong freq": (frame(), {"freq": "h"}, r"column 'ds' holds dates, too coarse for freq 'h'"),
    "no such freq": (frame(), {"freq": "fortnight"}, r"freq must be one of .*got 'fortnight'"),
    "no target": (mixed("z", frame()["y"]), {"target_col": "sales"},
     r"no column 'sales'; its columns are"),
    "text": (mixed("y", np.array(["a"] * 180)), {}, r"column 'y' must hold numbers"),
    "covariate NaN": (with_value("promo", 5, np.nan), {"futr_exog": ("promo",)},
     r"covariate 'promo' of series 's0' at 2024-01-06 is nan"),
    "static that changes": (with_value("area", 62, 9.0), {"stat_exog": ("area",)},
     r"stat_exog 'area' of series 's1' changes from .* to 9.0"),
    "two roles": (frame(), {"futr_exog": ("promo",), "hist_exog": ("promo",)},
     r"column 'promo' has two roles"),
    "a lone name": (frame(), {"futr_exog": "promo"},
     r"futr_exog must be a sequence of names; got 'promo'"),
    "no frame": (3.0, {}, r"must be a frame, or numbers of shape"),
    "no rows": ({"unique_id": [], "ds": [], "y": []}, {}, r"data has no rows"),
    "all hidden": (mixed("available_mask", np.zeros(180)), {},
     r"no window of the 1.. has values both"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_DATA)
def test_bad_data(case):
    data, given, message = BAD_DATA[case]
    given = {"model": "mlp", **given}
    with pytest.raises((ValueError, TypeError), match=message):
        forecaster(**given).fit(data)
    with pytest.raises((ValueError, TypeError), match=message):
        forecaster(**given).cross_validation(data)


@pytest.mark.parametrize("case", ["NaN", "infinite", "gap", "duplicate", "text", "no rows"])
def test_bad_data_in_predict(case):
    data, _, message = BAD_DATA[case]
    fc = forecaster().fit(frame())
    for answer in (fc.predict, fc.predict_insample, lambda df: fc.backtest(df, 8)):
        with pytest.raises((ValueError, TypeError), match=message):
            answer(data)


def test_what_overflows_in_predict():
    fc = forecaster().fit(frame())
    with pytest.raises(ValueError, match=r"series 's1': a window .* not finite in float32"):
        fc.predict(with_value("y", 119, 1e200))


BAD_PARAMETERS = {
    "model": ({"model": "nhit"}, r"model must be one of .*'nhit'; did you mean 'nhits'"),
    "model class": ({"model": NHITS}, r"model must be a name"),
    "scaler": ({"scaler": "standart"}, r"got 'standart'; did you mean 'standard'"),
    "scaler object": ({"scaler": 3}, r"scaler must be a name"),
    "series_scaler": ({"series_scaler": "standart"}, r"series.scaler.*'standart'"),
    "loss": ({"loss": "absolute_eror"}, r"did you mean 'absolute_error'"),
    "quantiles": ({"quantiles": (0.1, 1.5)}, r"\(0, 1\).*1\.5"),
    "quantiles of another loss": ({"quantiles": (0.1,), "loss": "mse"}, r"quantiles=.*loss='mse'"),
    "horizon": ({"horizon": 0}, r"'horizon' parameter of Forecaster must be .*Got 0"),
    "input_size": ({"input_size": 2.5}, r"'input_size' .*Got 2\.5"),
    "step_size": ({"step_size": True}, r"'step_size' .*Got True"),
    "conformal": ({"conformal": 0}, r"'conformal' .* or None. Got 0"),
    "short": ({"short": "dorp"}, r"Got 'dorp' instead; did you mean 'drop'\?"),
    "missing": ({"missing": "ignore"}, r"missing must be None, 'mask', 'forward' or 'zero'"),
    "start_padding": ({"start_padding": 1}, r"'start_padding' .* a bool"),
    "horizon_weight": ({"horizon_weight": (1, 2)}, r"horizon_weight must be 4 finite weights"),
    "negative horizon_weight": ({"horizon_weight": (1, 1, 1, -1)}, r"horizon_weight must be 4"),
    "horizon_weight of 0": ({"horizon_weight": (0,) * 4}, r"not all 0"),
    "infinite horizon_weight": ({"horizon_weight": (1, 1, 1, np.inf)}, r"horizon_weight must be 4"),
    "window_weight": ({"window_weight": 3}, r"window_weight must be callable; got 3"),
    "too few weights": ({"window_weight": lambda t, v: [1.0]}, r"window_weight must return 147"),
    "weights of 0": ({"window_weight": lambda t, v: 0 * v}, r"not all 0"),
    "NaN weights": ({"window_weight": lambda t, v: v * np.nan}, r"147 finite weights"),
    "dtype": ({"dtype": "auto"}, r"'dtype' .* 'float32', 'float64'. Got 'auto'"),
    "batch_size": ({"batch_size": 0}, r"'batch_size'.*Got 0"),
    "poisson of scaled values": ({"loss": "poisson"}, r"set scaler=None, series_scaler='none'"),
    "own loss with weights": (

                {"loss": lambda tape, p, t: tape.mean(tape.abs(tape.sub(p, t))),
         "horizon_weight": (1,) * 4},
        r"cannot be weighted step by step.*horizon_weight",
    ),
    "covariates": ({"model": NLinear(), "futr_exog": ("promo",)}, r"NLinear takes no covariates"),
    "model of another shape": (
        {"model": lambda tape, x: tape.slice(x, 0, 0, 3)}, r"prediction must have shape \(4,\)"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_PARAMETERS)
def test_bad_parameters(case):
    given, message = BAD_PARAMETERS[case]
    fc = forecaster(**{"model": "mlp", **given}) if given.get("model") not in ("nhit", NHITS) else (
        Forecaster(**given, horizon=4, input_size=8)
    )  # fmt: skip
    with pytest.raises((ValueError, TypeError), match=message):
        fc.fit(frame())
    assert not hasattr(fc, "_network")


def test_negative_counts():
    fc = forecaster("mlp", loss="poisson", scaler=None)
    with pytest.raises(ValueError, match=r"'y' of series 's0' >= 0; row 30 is -1"):
        fc.fit(with_value("y", 30, -1.0))


def test_a_loss_with_gaps():
    data = with_value("y", 65, np.nan)
    forecaster("mlp", missing="mask", loss=LogCosh()).fit(data)


SHORT = {name: values.reshape(3, 60)[:, :15].reshape(-1) for name, values in frame().items()}


def test_what_is_too_short():
    """Names the series, its rows, and what needs how many."""
    whole = forecaster().fit(frame())
    cases = [
        (lambda: forecaster().fit(SHORT, val_size=4),
         r"'s0' has 15 rows; input_size \+ horizon \+ val_size needs at least 16"),
        (lambda: forecaster(conformal=3).fit(SHORT), r"the conformal windows needs at least 18"),
        (lambda: forecaster(start_padding=True).fit(SHORT, val_size=11),
         r"one row of the past \+ horizon \+ val_size needs at least 16"),
        (lambda: whole.predict({k: v[:7] for k, v in SHORT.items()}),
         r"'s0' has 7 rows; input_size needs at least 8"),
        (lambda: whole.predict_insample({k: v[:11] for k, v in SHORT.items()}),
         r"input_size \+ horizon needs at least 12"),
        (lambda: whole.backtest(SHORT, 8), r"input_size \+ test_size needs at least 16"),
        (lambda: forecaster().cross_validation(SHORT, n_windows=1),
         r"'s0' has 11 rows; input_size \+ horizon needs at least 12"),
        (lambda: forecaster().cross_validation(SHORT, n_windows=12),
         r"12 windows of horizon 4, step_size 1 needs at least 16"),
    ]  # fmt: skip
    for call, message in cases:
        with pytest.raises(ValueError, match=message):
            call()


def test_arguments():
    fc = forecaster().fit(frame())
    for call, message in (
        (lambda: forecaster().fit(frame(), val_size=3),
         r"val_size=3 rows hold no window of horizon=4"),
        (lambda: forecaster().fit(frame(), val_size=-1), r"val_size must be an int"),
        (lambda: forecaster(early_stopping=True).fit(frame()), r"early_stopping=True needs rows"),
        (lambda: fc.predict(steps=0), r"steps must be an int in the range \[1"),
        (lambda: fc.backtest(frame(), 3), r"test_size must be an int in the range \[4"),
        (lambda: fc.backtest(frame(), 8, metrics=("mea",)), r"got 'mea'; did you mean"),
        (lambda: fc.backtest(frame(), 8, metrics=("wql",)), r"wql judges quantiles"),
        (lambda: fc.predict_insample(frame(), step_size=0), r"step_size must be an int"),
        (lambda: fc.cross_validation(frame(), refit=0.5), r"refit must be an integer"),
        (lambda: fc.cross_validation(frame(), n_windows=0), r"n_windows must be an integer"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            call()
    with pytest.raises(AttributeError, match=r"partial_fit") as raised:
        forecaster(early_stopping=True).partial_fit(frame())
    assert "early_stopping=True asks for it" in str(raised.value.__cause__)
    for name in ("predict", "future_frame"):
        with pytest.raises(NotFittedError):
            getattr(forecaster(), name)()
    with pytest.raises(NotFittedError):
        forecaster().backtest(frame(), 8)
    with pytest.raises(NotFittedError):
        forecaster().save("nowhere.npz")


def test_the_future_must_be_known():
    fc = forecaster("mlp", **COVARIATES).fit(frame())
    good = fc.future_frame() | {"promo": np.zeros(3 * HORIZON)}
    cases = [
        (None, r"futr_exog=\('promo',\) must be known .*future=, the frame of future_frame\(\)"),
        ({k: v[:-1] for k, v in good.items()}, r"futr_exog: series 's2' at 2024-03-04 has 0 rows"),
        ({k: np.append(v, v[1]) for k, v in good.items()}, r"series 's0' at 2024-03-02 has 2 rows"),
        (good | {"promo": np.full(12, np.nan)}, r"'promo' is nan for series 's0' at 2024-03-01"),
        (fc.future_frame(), r"no column 'promo'"),
    ]
    for future, message in cases:
        with pytest.raises(ValueError, match=message):
            fc.predict(future=future)
    with pytest.raises(ValueError, match=r"no futr_exog, so future must be None"):
        forecaster().fit(frame()).predict(future=good)
    with pytest.raises(ValueError, match=r"steps=5 beyond horizon=4 need hist_exog=\('sold',\)"):
        fc.predict(steps=5, future=good)
    bare = {name: frame()[name] for name in ("unique_id", "ds", "y", "promo", "area")}
    with pytest.raises(ValueError, match=r"no column 'sold'"):
        fc.predict(bare, future=good)


def test_a_refused_fit_leaves_the_old_one():
    fc = forecaster("mlp").fit(frame())
    before = fc.predict()["MLP"].tobytes()
    history = fc.history_
    for data, given in ((BAD_DATA["NaN"][0], {}), (SHORT, {"val_size": 4})):
        with pytest.raises(ValueError, match=r"series"):
            fc.fit(data, **given)
    with pytest.raises(ValueError, match=r"val_size=2 rows"):
        fc.fit(frame(), val_size=2)
    assert fc.predict()["MLP"].tobytes() == before and fc.history_ is history


def test_a_fit_that_diverges_says_so():
    fc = forecaster("mlp", learning_rate_init=1e30, clip_norm=None, optimizer="sgd")
    with pytest.raises(ValueError, match=r"not finite at epoch 1, step \d"):
        fc.fit(frame())


def test_one_window_is_enough():
    shortest = {name: values[: INPUT_SIZE + HORIZON] for name, values in frame().items()}
    assert forecaster().fit(shortest).n_windows_ == 1
