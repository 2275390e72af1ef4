"""The fit of a forecaster: bits, resumption, files, parameters, weights, gaps."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from forecasts import COVARIATES, HORIZON, INPUT_SIZE, SMALL, bits, forecaster, frame, weights
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import ctrain
from ctrain import Forecaster, Regressor
from ctrain.callbacks import Checkpoint, OnEpochEnd
from ctrain.losses import Quantile
from ctrain.models import MLP, NHITS, NLinear
from ctrain.scalers import Standard

STAMP = np.datetime64("2024-01-01")


# ------------------------------------------------------------------- bits


@pytest.mark.parametrize("model", SMALL)
def test_threads_change_no_bit(model):
    data = frame(n_series=4)
    fits = [
        forecaster(model, n_jobs=n, batch_size=100, scaler="revin").fit(data, val_size=8)
        for n in (1, 2, 3, 7)
    ]
    assert len({weights(fc) for fc in fits}) == 1
    assert len({tuple(fc.validation_loss_curve_) for fc in fits}) == 1
    assert len({bits(fc.predict())[fc._name()] for fc in fits}) == 1


def test_threads_change_no_bit_of_a_large_step():
    """Enough work that the other threads do get some of it."""
    data = np.random.default_rng(0).normal(size=(20, 300)).astype(np.float32)
    given = {"horizon": 24, "input_size": 96, "batch_size": 256, "max_steps": 3}
    fits = [
        forecaster(MLP((256, 256)), n_jobs=n, **given).fit(data) for n in (1, 2, 3, 7)
    ]  # fmt: skip
    assert len({weights(fc) for fc in fits}) == 1
    scores = [fc.backtest(data, 60, metrics=("mae",)) for fc in fits]
    assert len({score["mae"] for score in scores}) == 1
    assert len({fc.predict().tobytes() for fc in fits}) == 1


def test_scores_do_not_depend_on_how_windows_are_cut_into_batches(monkeypatch):
    fc, data = forecaster("mlp", series_scaler="standard").fit(frame()), frame(seed=1)
    data["unique_id"][60:] = np.repeat(["s1", "new"], 60)  # whose units are those of all chunks
    found = set()
    for chunk in (1, 7, 50, 1 << 13):
        monkeypatch.setattr("ctrain.forecasting.CHUNK", chunk)
        scores = fc.backtest(data, 30, metrics=("mae", "mse", "smape", "mase"), season=7)
        assert scores.n_windows == 3 * 27
        found.add((*scores.values(), scores.by_step("mae").tobytes()))
    assert len(found) == 1


def test_the_validation_loss_does_not_depend_on_the_batch_size():
    losses = set()
    for batch_size in (1, 7, 1000):
        fc = forecaster("mlp", batch_size=batch_size, max_steps=1, learning_rate_init=1e-30)
        losses.add(fc.fit(frame(), val_size=10).validation_loss_curve_[-1])
    assert len(losses) == 1


def test_the_order_of_rows_and_series_does_not_matter():
    data = frame()
    order = np.random.default_rng(3).permutation(len(data["y"]))
    mixed = {name: values[order] for name, values in data.items()}
    assert weights(forecaster().fit(data)) == weights(forecaster().fit(mixed))


@pytest.mark.parametrize("model, conformal", [("nhits", None), ("nhits", 3), ("tsmixer", 3)])
def test_a_resumed_fit_is_the_one_that_was_not_interrupted(tmp_path, model, conformal):
    def interrupt(fc):
        if len(fc.history_["loss"]) == 3:
            raise KeyboardInterrupt

    data, path = frame(), tmp_path / "fit.npz"
    given = {"model": model, "max_steps": None, "max_iter": 6, "conformal": conformal,
             "series_scaler": "standard", "tol": 0.0, "season": 7}  # fmt: skip
    whole = forecaster(**given).fit(data, val_size=5)
    cut = forecaster(**given).set_callbacks(Checkpoint(path), OnEpochEnd(interrupt))
    with pytest.raises(KeyboardInterrupt):
        cut.fit(data, val_size=5)
    assert cut.n_iter_ == 3
    again = forecaster(**given).fit(data, val_size=5, resume=path)
    assert weights(again) == weights(whole)
    assert again.validation_loss_curve_ == whole.validation_loss_curve_
    level = None if conformal is None else 50
    assert bits(again.predict(level=level)) == bits(whole.predict(level=level))
    with pytest.raises(ValueError, match=r"val_size was 5, is 6"):
        forecaster(**given).fit(data, val_size=6, resume=path)
    with pytest.raises(ValueError, match=r"horizon was 4, is 5"):
        forecaster(**given, horizon=5).fit(data, val_size=5, resume=path)


# ------------------------------------------------------------------- files and copies

SAVED = {
    "plain": {},
    "quantiles": {"quantiles": (0.1, 0.5, 0.9)},
    "loss object": {"loss": Quantile((0.2, 0.5, 0.8))},
    "conformal, robust units": {"conformal": 6, "series_scaler": "robust"},
    "covariates": {"model": "tide", **COVARIATES},
    "revin": {"scaler": "revin", "series_scaler": "minmax"},
    "seasonal units": {"loss": "mase", "season": 7, "horizon_weight": (1, 2, 3, 4)},
    "gaps": {"missing": "mask", "start_padding": True},
    "all series": {"model": "tsmixer", "missing": "mask", "conformal": 6},
}


@pytest.mark.parametrize("given", SAVED.values(), ids=list(SAVED))
def test_copies_answer_the_same(given, tmp_path):
    data = frame()
    if "missing" in given:
        data["y"][[5, 70, 119, 179]] = np.nan
    fc = forecaster(**given).fit(data)
    fc.save(tmp_path / "model.npz", compress=True)
    level = 50 if fc.conformal else None
    future = fc.future_frame() | {"promo": np.ones(3 * HORIZON)} if fc.futr_exog else None
    fresh = frame(seed=5)
    for copy in (ctrain.load(tmp_path / "model.npz"), pickle.loads(pickle.dumps(fc))):
        assert bits(copy.predict(level=level, future=future)) == bits(
            fc.predict(level=level, future=future)
        )
        assert bits(copy.predict(fresh, level=level, future=future)) == bits(
            fc.predict(fresh, level=level, future=future)
        )
        assert bits(copy.predict_insample(fresh)) == bits(fc.predict_insample(fresh))
        assert copy.backtest(fresh, 9) == fc.backtest(fresh, 9)
        assert copy.get_params(deep=False).keys() == fc.get_params(deep=False).keys()


@pytest.mark.parametrize("kind", ["string ids", "integer ids", "arrays"])
def test_a_loaded_forecaster_is_fitted_on(kind, tmp_path):
    data = frame()
    if kind == "integer ids":
        data["unique_id"] = np.repeat([30, 7, 100], 60)
    if kind == "arrays":
        data = data["y"].reshape(3, 60)
    fc = forecaster("mlp", series_scaler="standard").partial_fit(data)
    fc.save(tmp_path / "model.npz")
    loaded = ctrain.load(tmp_path / "model.npz")
    assert loaded._units.ids.dtype.kind == fc._units.ids.dtype.kind
    for _ in range(2):
        assert weights(loaded.partial_fit(data)) == weights(fc.partial_fit(data))


def own_model(tape, past_y):
    hidden = tape.tanh(tape.matmul(past_y, tape.parameter((INPUT_SIZE, 5), name="first")))
    return tape.matmul(hidden, tape.parameter((5, HORIZON), name="second"))


def own_loss(tape, prediction, target):
    return tape.mean(tape.square(tape.sub(prediction, target)))


class Gated:
    """A model of the user's own that reads masks and covariates."""

    def record(self, tape, inputs, shape):
        assert inputs["past_y"].shape == inputs["past_mask"].shape == (INPUT_SIZE,)
        assert inputs["future"].shape == (INPUT_SIZE + HORIZON, 1)
        x = tape.concat(inputs["past_y"], tape.reshape(inputs["future"], (-1,)))
        w = tape.parameter((x.shape[0], shape[0]), name="w")
        return {"prediction": tape.matmul(x, w), "hidden": x}


def test_a_model_and_a_loss_of_ones_own_are_saved_by_name(tmp_path):
    fc = forecaster(own_model, loss=own_loss).fit(frame())
    assert list(fc.predict()) == ["unique_id", "ds", "own_model"]
    fc.save(tmp_path / "model.npz")
    loaded = ctrain.load(tmp_path / "model.npz")
    assert bits(loaded.predict()) == bits(fc.predict())
    with pytest.raises(ValueError, match=r"loss was \S*own_loss when this .* was saved"):
        loaded.fit(frame())
    again = loaded.set_params(model=own_model, loss=own_loss, warm_start=True)
    assert again.fit(frame()).t_ == 12


class Forced:
    """Forecasts each step from the one before: what came in training, its own forecast later."""

    def record(self, tape, inputs, shape):
        assert ("future_y" in inputs) == tape.training
        step = tape.slice(inputs["past_y"], -1, -1)
        answers = []
        for k in range(shape[0]):
            if k and tape.training:
                step = tape.slice(inputs["future_y"], -1, k - 1, k)
            w = tape.parameter((1, 1), name="w", init="ones")
            step = tape.matmul(step, w)
            answers.append(step)
        return tape.concat(*answers)


def test_what_came_is_there_for_teacher_forcing_in_training_alone():
    y = np.float32(0.9) ** np.arange(200)
    settings = {"scaler": "none", "loss": "mse", "max_steps": 300, "learning_rate_init": 0.01}
    fc = forecaster(Forced(), **settings).fit(1000.0 * y)
    w = fc._network.parameters["w"].value.item()
    assert_allclose(w, 0.9, rtol=1e-3)
    expected = 1000.0 * y[-1] * w ** np.arange(1, HORIZON + 1)
    assert_allclose(fc.predict(), expected, rtol=1e-4)
    with_gap = 1000.0 * y
    with_gap[50:53] = np.nan
    fc = forecaster(Forced(), missing="mask", **settings).fit(with_gap)
    assert_allclose(fc._network.parameters["w"].value.item(), 0.9, rtol=1e-3)


def test_units_of_series_that_the_last_partial_fit_lacked(tmp_path):
    fc = forecaster(series_scaler="standard").partial_fit(frame())
    fc.partial_fit({name: values[60:120] for name, values in frame().items()})
    fc.save(tmp_path / "model.npz")
    loaded = ctrain.load(tmp_path / "model.npz")
    assert list(np.unique(loaded.predict()["unique_id"])) == ["s1"]
    assert bits(loaded.predict(frame(seed=4))) == bits(fc.predict(frame(seed=4)))


def test_a_scaler_object_is_saved(tmp_path):
    fc = forecaster(scaler=Standard(eps=1e-3)).fit(frame())
    fc.save(tmp_path / "model.npz")
    loaded = ctrain.load(tmp_path / "model.npz")
    assert loaded.scaler.eps == 1e-3
    assert weights(clone(loaded).fit(frame())) == weights(fc)


def test_several_threads_may_predict():
    fc = forecaster("nhits", n_jobs=2, quantiles=(0.1, 0.5, 0.9)).fit(frame())
    data = [frame(seed=k) for k in range(8)]
    want = [bits(fc.predict(d)) for d in data]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda d: bits(fc.predict(d)), data)) == want


def test_a_class_of_ones_own(tmp_path):
    fc = forecaster(Gated(), futr_exog=("promo",)).fit(frame())
    future = fc.future_frame() | {"promo": np.zeros(3 * HORIZON)}
    fc.save(tmp_path / "model.npz")
    assert bits(ctrain.load(tmp_path / "model.npz").predict(future=future)) == bits(
        fc.predict(future=future)
    )
    assert list(fc.predict(future=future)) == ["unique_id", "ds", "Gated"]


def test_parameters_reach_into_objects():
    fc = forecaster(NHITS(), quantiles=(0.1, 0.9))
    assert fc.get_params(deep=True)["model__n_freq_downsample"] == (4, 2, 1)
    fc.set_params(model__n_freq_downsample=(2, 2, 1), optimizer="sgd")
    copy = clone(fc)
    assert copy.model.n_freq_downsample == (2, 2, 1) and copy.model is not fc.model
    with pytest.raises(TypeError, match=r"no parameter 'h'"):
        Forecaster("nhits", horizon=4, input_size=8, h=3)
    with pytest.raises(ValueError, match=r"'learning_rat'; did you mean"):
        fc.set_params(learning_rat=1)


def test_a_clone_fits_to_the_same_bits():
    fc = forecaster("nbeats").fit(frame())
    assert not hasattr(clone(fc), "history_")
    assert weights(clone(fc).fit(frame())) == weights(fc)


# ------------------------------------------------------------------- fitting on


def test_partial_fits_are_the_epochs_of_a_fit():
    given = {"max_steps": None, "max_iter": 3, "schedule": "constant"}
    data, whole = frame(), forecaster("mlp", **given).fit(frame())
    parts = forecaster("mlp", **given)
    for epoch in range(3):
        assert parts.partial_fit(data).n_iter_ == epoch + 1
    assert weights(parts) == weights(whole)
    assert bits(parts.predict()) == bits(whole.predict())


def test_a_partial_fit_goes_on_from_the_new_rows():
    data = frame()
    head = {name: v.reshape(3, 60)[:, :40].reshape(-1) for name, v in data.items()}
    tail = {name: v.reshape(3, 60)[:, 30:].reshape(-1) for name, v in data.items()}
    fc = forecaster(series_scaler="standard").fit(head)
    units = fc._units.of(fc._tail, fc._tail.offsets[1:])
    before = weights(fc)
    assert fc.predict()["ds"].min() == STAMP + 40
    fc.partial_fit(tail)
    assert weights(fc) != before
    assert fc.predict()["ds"].min() == STAMP + 60
    for old, new in zip(units, fc._units.of(fc._tail, fc._tail.offsets[1:]), strict=True):
        assert old.tobytes() == new.tobytes()


def test_a_partial_fit_takes_series_it_did_not_know():
    more = frame(seed=2)
    more["unique_id"] = np.char.add("a", more["unique_id"])
    fc = forecaster(series_scaler="standard").partial_fit(frame()).partial_fit(more)
    answer = fc.predict()
    assert list(np.unique(answer["unique_id"])) == ["as0", "as1", "as2"]
    assert bits(fc.predict(more)) == bits(answer)  # in the units in which they were trained
    assert bits(fc.predict(frame())) != bits(answer)


def test_partial_fit_with_a_loss_of_ones_own():
    assert forecaster(loss=own_loss).partial_fit(frame()).n_iter_ == 1


def test_a_warm_start_goes_on():
    data = frame()
    given = {"schedule": "constant", "shuffle": False, "max_steps": None}
    fc = forecaster("mlp", warm_start=True, max_iter=1, **given).fit(data).fit(data)
    once = forecaster("mlp", max_iter=2, **given).fit(data)
    assert weights(once) == weights(fc) and fc.t_ == once.t_


def test_the_best_weights_are_restored():
    fc = forecaster("mlp", max_steps=None, max_iter=40, learning_rate_init=0.3, clip_norm=None,
                    schedule="constant", n_iter_no_change=5)  # fmt: skip
    fc.fit(frame(), val_size=10)
    losses = fc.validation_loss_curve_
    assert fc.best_epoch_ == int(np.argmin(losses)) + 1 < len(losses)
    assert fc.stopped_by_ == "early_stopping"
    short = clone(fc).set_params(max_iter=fc.best_epoch_, n_iter_no_change=np.inf)
    assert weights(short.fit(frame(), val_size=10)) == weights(fc)
    without = clone(fc).set_params(early_stopping=False)
    assert weights(without.fit(frame(), val_size=10)) != weights(fc)


def test_steps_and_epochs():
    fc = forecaster(max_steps=None, max_iter=2, batch_size=20).fit(frame())
    n_windows = 3 * (60 - INPUT_SIZE - HORIZON + 1)
    assert fc.n_windows_ == n_windows and fc.t_ == 2 * -(-n_windows // 20)
    assert forecaster(max_steps=5, batch_size=20).fit(frame()).t_ == 5
    assert forecaster(step_size=7).fit(frame()).n_windows_ == 3 * 7


# ------------------------------------------------------------------- weights


def test_steps_of_weight_0_teach_nothing():
    """Windows that do not overlap: each row has one role, and step 2 of the horizon none."""
    data, other = frame(), frame()
    row = np.arange(180) % 60 % (INPUT_SIZE + HORIZON)
    other["y"][row == INPUT_SIZE + 1] = 777.0
    given = {"step_size": INPUT_SIZE + HORIZON, "batch_size": 3}
    fits = [
        [weights(forecaster(horizon_weight=w, **given).fit(d)) for d in (data, other)]
        for w in (None, (1, 0, 2, 0.5), (1, 1e-3, 2, 0.5))
    ]
    assert [one == two for one, two in fits] == [False, True, False]


def test_alike_weights_are_none():
    fits = [forecaster(horizon_weight=w).fit(frame()) for w in (None, (3, 3, 3, 3))]
    np.testing.assert_allclose(fits[0].loss_curve_, fits[1].loss_curve_, rtol=1e-5)


def test_windows_of_weight_0_are_left_out():
    """Bit by bit the fit of the shorter series, whatever the rows left out hold."""
    cut = STAMP + 40
    data = frame()
    short = {name: v.reshape(3, 60)[:, : 40 + HORIZON - 1].reshape(-1) for name, v in data.items()}

    def recent(stamps, values):
        assert stamps.shape == values.shape
        return np.where(stamps < cut, 1.0, 0.0)

    fc = forecaster("mlp", window_weight=recent).fit(data)
    same = forecaster("mlp", window_weight=lambda stamps, values: np.ones(len(stamps))).fit(short)
    assert weights(fc) == weights(same)
    assert fc.n_windows_ == same.n_windows_ == 3 * (40 - INPUT_SIZE)
    late = {**data, "y": data["y"].copy()}
    late["y"].reshape(3, 60)[:, 40 + HORIZON :] = 1e4
    assert weights(forecaster("mlp", window_weight=recent).fit(late)) == weights(fc)


def test_window_weights_see_the_values_as_they_are():
    data, shown = frame(n_series=1), []
    data["y"][30] = np.nan

    def weight(stamps, values):
        shown.append((stamps, values))
        return np.ones(len(values))

    forecaster(series_scaler="standard", missing="mask", window_weight=weight).fit(data)
    ((stamps, values),) = shown
    first = slice(INPUT_SIZE, 60 - HORIZON + 1)  # the first step of each horizon
    assert stamps.tolist() == data["ds"][first].tolist()
    np.testing.assert_array_equal(values, data["y"][first])


def test_window_weights_pull_towards_their_windows():
    """A series whose level jumps: what the recent half says, or the other."""
    y = np.where(np.arange(200) < 100, 1.0, 3.0)
    given = {"scaler": None, "loss": "squared_error", "max_steps": 300, "batch_size": 64}
    data = {"ds": np.arange(200), "y": y}

    def bias_only(tape, past_y):
        zero = tape.scale(tape.slice(past_y, 0, 0, HORIZON), 0.0)
        return tape.add(zero, tape.parameter((HORIZON,), name="b", init="zeros"))

    answers = []
    for early in (1.0, 3.0):
        fc = forecaster(bias_only, id_col=None, learning_rate_init=0.05, **given,
                        window_weight=lambda t, v, w=early: np.where(v == 1, w, 1.0))  # fmt: skip
        answers.append(fc.fit(data).predict()["bias_only"][0])
    n, m = 100 - INPUT_SIZE, 100 - HORIZON + 1
    for answer, early in zip(answers, (1.0, 3.0), strict=True):
        assert answer == pytest.approx((early * n + 3 * m) / (early * n + m), rel=0.02)


# ------------------------------------------------------------------- over arrays


def test_the_models_serve_a_regressor_in_a_search():
    rows = np.lib.stride_tricks.sliding_window_view(frame()["y"][:60], INPUT_SIZE + HORIZON)
    X, Y = rows[:, :INPUT_SIZE], rows[:, INPUT_SIZE:]
    for model in (m for m in SMALL.values() if not getattr(m, "multivariate", False)):
        pipeline = make_pipeline(StandardScaler(), Regressor(model=model, max_iter=2))
        assert pipeline.fit(X, Y).predict(X).shape == Y.shape
    search = GridSearchCV(
        make_pipeline(StandardScaler(), Regressor(model=SMALL["nhits"], max_iter=3)),
        {"regressor__model__n_freq_downsample": [(4, 2, 1), (1, 1, 1)],
         "regressor__model": [SMALL["nhits"]]},
        cv=2,
    )  # fmt: skip
    assert search.fit(X, Y).best_estimator_.predict(X[:2]).shape == (2, HORIZON)


def test_names_are_the_published_defaults():
    fc = Forecaster("nhits", horizon=4, input_size=8)
    assert repr(fc._model()) == repr(NHITS())
    assert repr(Forecaster("nlinear", horizon=4, input_size=8)._model()) == repr(NLinear())
