"""The regressor: what it learns, what each parameter does, what it takes and gives back."""

from __future__ import annotations

import inspect
import logging
import pickle
import re
import threading
import weakref

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn
from sklearn.base import clone
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_squared_error
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

from ctrain import Regressor
from ctrain.losses import Quantile, Weighted
from ctrain.models import MLP
from ctrain.optimizers import LBFGS, SGD, Adagrad, Adam, AdamW, RMSprop


def problem(n=60, features=4, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, features))
    y = np.sin(X[:, 0]) + X[:, 1] * X[:, 2] + 0.1 * rng.normal(size=n)
    return X.astype(dtype), y.astype(dtype)


def small(**parameters):
    """An estimator whose fit takes a few milliseconds and whose batches do not divide 60 rows."""
    defaults = {"hidden_layer_sizes": (8,), "max_iter": 3, "batch_size": 16, "random_state": 0}
    return Regressor(**{**defaults, **parameters})


def same_bits(a, b) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


@parametrize_with_checks(
    [
        Regressor(),
        Regressor(optimizer="lbfgs"),
        Regressor(loss="huber", n_jobs=1),
        Regressor(model=MLP((20,), "tanh"), max_steps=200, accumulate_steps=2),
    ]
)
def test_scikit_learn_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    check(estimator)


# ------------------------------------------------------------------------- what it learns


@pytest.mark.parametrize(
    "optimizer, rate",
    [
        ("lbfgs", 1e-3),
        ("sgd", 0.1),
        (SGD(momentum=0.9), 0.02),
        ("adam", 0.03),
        (AdamW(weight_decay=0.0), 0.03),
        ("rmsprop", 0.03),
        ("adagrad", 1.0),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_linear_regression(optimizer, rate, dtype):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(400, 6))
    y = X @ rng.normal(size=6) + 2.0
    fitted = Regressor(
        (), optimizer=optimizer, schedule=lambda step: rate * 0.995**step, max_iter=200,
        clip_norm=None, batch_size=50, dtype=dtype, random_state=0,
    ).fit(X, y)  # fmt: skip
    assert 1.0 - fitted.score(X, y) < 1e-6


@pytest.mark.parametrize("loss", ["squared_error", "log_loss", "huber"])
@pytest.mark.parametrize("optimizer, rate", [("adam", 0.05), ("lbfgs", 1.0)])
def test_xor(loss, optimizer, rate):
    X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = np.array([0.0, 1.0, 1.0, 0.0])
    fitted = Regressor(
        (16,), "tanh", loss=loss, optimizer=optimizer, learning_rate_init=rate, max_iter=300,
        random_state=0,
    ).fit(X, y)  # fmt: skip
    assert np.array_equal(fitted.predict(X) > 0.5, y == 1.0)


@pytest.mark.parametrize(
    "optimizer, rate", [("adamw", 5e-3), ("adam", 5e-3), (SGD(momentum=0.9), 0.05), ("lbfgs", 1.0)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sine(optimizer, rate, dtype):
    x = np.linspace(-3.0, 3.0, 400)[:, None]
    y = np.sin(2.0 * x[:, 0])
    fitted = Regressor(
        (32, 32), "tanh", optimizer=optimizer, learning_rate_init=rate, max_iter=300,
        batch_size=32, dtype=dtype, n_jobs=1, random_state=0,
    ).fit(x, y)  # fmt: skip
    assert mean_squared_error(y, fitted.predict(x)) < 0.01


def test_several_targets_are_learnt_each():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(300, 3))
    Y = np.stack([X[:, 0] + 1.0, -2.0 * X[:, 1], X[:, 2] - X[:, 0]], axis=1)
    fitted = Regressor((), optimizer="lbfgs").fit(X, Y)
    assert fitted.n_outputs_ == 3
    np.testing.assert_allclose(fitted.predict(X), Y, atol=1e-4)


def test_quantiles_cover_their_share():
    rng = np.random.default_rng(3)
    X = rng.uniform(size=(4000, 1))
    y = X[:, 0] + rng.normal(size=4000)
    levels = (0.1, 0.5, 0.9)
    fitted = Regressor(
        (), loss=Quantile(levels), learning_rate_init=0.02, max_iter=60, random_state=0
    ).fit(X, y)
    answer = fitted.predict(X)
    assert answer.shape == (4000, 3)
    np.testing.assert_allclose((y[:, None] <= answer).mean(axis=0), levels, atol=0.03)
    with pytest.raises(ValueError, match="score: R2 needs one prediction for each target"):
        fitted.score(X, y)


@pytest.mark.parametrize(
    "targets, levels, shape",
    [
        (None, 0.5, (7,)),
        (1, (0.1, 0.9), (7, 2)),
        (None, (0.1, 0.5, 0.9), (7, 3)),
        (2, 0.3, (7, 2)),
        (2, (0.1, 0.9), (7, 2, 2)),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
def test_shape_of_predictions(targets, levels, shape):
    X, y = problem(7)
    Y = y if targets is None else np.tile(y[:, None], (1, targets))
    assert small(loss=Quantile(levels)).fit(X, Y).predict(X).shape == shape


# ----------------------------------------------------------------- what each parameter does

EFFECTS = {
    "hidden_layer_sizes": (8, (8, 4)),
    "activation": ("relu", "tanh"),
    "loss": ("squared_error", "absolute_error"),
    "optimizer": ("adamw", "sgd"),
    "learning_rate_init": (1e-3, 2e-3),
    "schedule": ("constant", lambda step: 1e-2 / (1 + step)),
    "alpha": (0.0, 0.1),
    "l1": (0.0, 0.1),
    "dropout": (0.0, 0.2),
    "clip_norm": (None, 0.01),
    "clip_value": (None, 1e-3),
    "batch_size": (16, "auto"),
    "accumulate_steps": (1, 2),
    "max_iter": (3, 4),
    "max_steps": (None, 5),
    "shuffle": (True, False),
    "validation_fraction": (0.0, 0.25),
    "model": (None, MLP((8,), "tanh")),
    "dtype": ("float64", "float32"),
    "random_state": (0, 1),
}
NO_EFFECT_ON_THE_RESULT = {"n_jobs", "verbose", "warm_start"}  # each has a test of its own


def test_every_parameter_is_tested():
    names = set(inspect.signature(Regressor).parameters)
    assert names == set(EFFECTS) | NO_EFFECT_ON_THE_RESULT


@pytest.mark.parametrize("name", EFFECTS)
def test_parameter_has_an_effect(name):
    X, y = problem()
    base = {"optimizer": SGD()} if name in {"clip_norm", "clip_value"} else {}
    one, other = (small(**{**base, name: value}).fit(X, y).predict(X) for value in EFFECTS[name])
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("alpha", [0.01, 1.0])
def test_alpha_is_ridge_regression(alpha):
    """Mean squared error + alpha / 2 ||w||^2 is scikit-learn's Ridge with n alpha / 2."""
    X, y = problem(80)
    ours = Regressor((), optimizer=LBFGS(tol=1e-10), max_iter=500, alpha=alpha).fit(X, y)
    ridge = Ridge(alpha=0.5 * alpha * len(X)).fit(X, y)
    least = np.mean((ridge.predict(X) - y) ** 2) + 0.5 * alpha * ridge.coef_ @ ridge.coef_
    found = ours.loss_ + 0.5 * alpha * np.sum(ours.coefs_[0] ** 2)
    assert least <= found * (1 + 1e-12) and found <= least * (1 + 1e-8)
    np.testing.assert_allclose(ours.coefs_[0][:, 0], ridge.coef_, atol=1e-4)
    np.testing.assert_allclose(ours.intercepts_[0], [ridge.intercept_], atol=1e-4)


@pytest.mark.parametrize("penalty", ["alpha", "l1"])
def test_penalties_are_applied_after_clipping_to_weights_only(penalty):
    X, y = problem()
    common = {"optimizer": SGD(), "learning_rate_init": 0.1, "max_steps": 1, "clip_norm": 1e-3}
    plain = small(**common, batch_size=60).fit(X, y)
    start = small(**{**common, "learning_rate_init": 1e-300}, batch_size=60).fit(X, y)
    penalised = small(**common, **{penalty: 0.5}, batch_size=60).fit(X, y)
    for k in range(2):
        w = start.coefs_[k]
        expected = plain.coefs_[k] - 0.1 * 0.5 * (w if penalty == "alpha" else np.sign(w))
        np.testing.assert_allclose(penalised.coefs_[k], expected, atol=1e-15)
        np.testing.assert_array_equal(penalised.intercepts_[k], plain.intercepts_[k])


def change(before, after):
    pairs = zip(before.coefs_ + before.intercepts_, after.coefs_ + after.intercepts_, strict=True)
    return np.concatenate([(b - a).ravel() for a, b in pairs])


def test_clip_norm_and_clip_value_bound_a_step():
    X, y = problem()
    y = 100.0 * y
    step = {"optimizer": SGD(), "max_steps": 1, "batch_size": 60, "learning_rate_init": 1.0}
    start = small(**{**step, "learning_rate_init": 1e-300}, clip_norm=None).fit(X, y)
    free = change(start, small(**step, clip_norm=None).fit(X, y))
    assert np.linalg.norm(free) > 10.0
    clipped = change(start, small(**step, clip_norm=0.5).fit(X, y))
    assert np.linalg.norm(clipped) == pytest.approx(0.5, rel=1e-6)
    np.testing.assert_allclose(clipped / 0.5, free / np.linalg.norm(free), atol=1e-6)
    by_value = change(start, small(**step, clip_norm=None, clip_value=0.25).fit(X, y))
    np.testing.assert_allclose(by_value, np.clip(free, -0.25, 0.25), atol=1e-12)
    loose = small(**step, clip_norm=1e9, clip_value=1e9).fit(X, y)
    np.testing.assert_allclose(change(start, loose), free, rtol=1e-12)


@pytest.mark.parametrize(
    "n, batch, accumulate, steps",
    [
        (1, "auto", 1, 1),
        (5, 1, 1, 5),
        (10, 3, 1, 4),
        (10, 64, 1, 1),
        (10, 3, 2, 2),
        (450, "auto", 1, 3),
    ],
)
def test_number_of_steps(n, batch, accumulate, steps):
    X, y = problem(n)
    fitted = small(batch_size=batch, accumulate_steps=accumulate).fit(X, y)
    assert (fitted.n_iter_, fitted.t_, len(fitted.loss_curve_)) == (3, 3 * steps, 3)
    stopped = small(batch_size=batch, accumulate_steps=accumulate, max_steps=4).fit(X, y)
    assert (stopped.t_, stopped.n_iter_) == (4, -(-4 // steps))


def test_accumulation_is_a_larger_batch():
    X, y = problem(70)
    one = small(batch_size=24, dropout=0.2).fit(X, y).predict(X)
    other = small(batch_size=8, accumulate_steps=3, dropout=0.2).fit(X, y).predict(X)
    assert same_bits(one, other)


def test_schedule_is_followed():
    X, y = problem(60)
    rates = [0.1, 0.02, 0.05]
    fitted = small(schedule=lambda step: rates[step // 4]).fit(X, y)  # 4 steps an epoch
    assert fitted.lr_curve_ == rates
    assert small(learning_rate_init=0.25).fit(X, y).lr_curve_ == [0.25] * 3


@pytest.mark.parametrize("n_jobs", [2, 3, 7, -1, None])
def test_threads_do_not_change_a_bit(n_jobs):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(600, 40)), rng.normal(size=600)
    settings = {"hidden_layer_sizes": (96, 64), "batch_size": 250, "dropout": 0.1}
    one = small(**settings, n_jobs=1).fit(X, y)
    other = small(**settings, n_jobs=n_jobs).fit(X, y)
    assert same_bits(one.predict(X), other.predict(X))
    assert one.loss_curve_ == other.loss_curve_


def test_random_state():
    X, y = problem()
    assert same_bits(small().fit(X, y).predict(X), small().fit(X, y).predict(X))
    state = np.random.RandomState(5)
    first, second = small(random_state=state), small(random_state=state)
    assert not np.array_equal(first.fit(X, y).predict(X), second.fit(X, y).predict(X))
    again = small(random_state=np.random.RandomState(5)).fit(X, y).predict(X)
    assert same_bits(again, first.predict(X))
    unseeded = [small(random_state=None).fit(X, y).predict(X) for _ in range(2)]
    assert not np.array_equal(*unseeded)


def test_shuffle_draws_a_new_order_each_epoch():
    """One step per row without shuffling sees the rows in order; so does reordered input."""
    X, y = problem(20)
    order = np.random.default_rng(0).permutation(20)
    still = small(shuffle=False, batch_size=1)
    assert not np.array_equal(still.fit(X, y).predict(X), still.fit(X[order], y[order]).predict(X))
    full = small(shuffle=False, batch_size=20)
    shuffled = small(shuffle=True, batch_size=20)
    np.testing.assert_allclose(full.fit(X, y).predict(X), shuffled.fit(X, y).predict(X), rtol=1e-9)


def test_precision_follows_the_data():
    X, y = problem()
    for dtype in (np.float32, np.float64):
        assert small().fit(X.astype(dtype), y).predict(X[:3]).dtype == dtype
        fitted = small(dtype=np.dtype(dtype).name).fit(X, y)
        assert fitted.predict(X.astype(np.float32)).dtype == dtype
    assert small().fit(X.astype(np.int64), y).predict(X[:3].astype(int)).dtype == np.float64
    assert small(dtype="float32").fit(X, y).coefs_[0].dtype == np.float32


def test_verbose_reports_through_logging(caplog, capsys):
    X, y = problem()
    with caplog.at_level(logging.INFO, logger="ctrain"):
        small(verbose=2, max_iter=5, validation_fraction=0.2).fit(X, y)
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] for line in lines] == ["epoch 2", "epoch 4", "epoch 5"]
    assert all(", validation loss " in line for line in lines)
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="ctrain"):
        small().fit(X, y)
        small(optimizer="lbfgs", verbose=1).fit(X, y)
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(":")[0] for line in lines] == ["epoch 1", "epoch 2", "epoch 3"]
    assert capsys.readouterr() == ("", "")


def test_verbose_shows_lines_where_logging_is_not_set_up(capsys, monkeypatch):
    X, y = problem()
    monkeypatch.setattr(logging.getLogger("ctrain"), "propagate", False)
    small().fit(X, y)
    assert capsys.readouterr() == ("", "")
    small(verbose=1).fit(X, y)
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 3 and err.startswith("epoch 1: loss ")
    assert logging.getLogger("ctrain").handlers == []


# ------------------------------------------------------------------------------ validation


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error"])
def test_validation_loss_is_that_of_the_held_out_rows(loss):
    X, y = problem(50)
    settings = {"loss": loss, "dropout": 0.3}
    split = small(**settings, shuffle=False, validation_fraction=0.2).fit(X, y)
    given = small(**settings, shuffle=False).fit(X[:40], y[:40], X_val=X[40:], y_val=y[40:])
    assert same_bits(split.predict(X), given.predict(X))
    error = np.abs(split.predict(X[40:]) - y[40:])
    expected = np.mean(error if loss == "absolute_error" else error**2)
    for fitted in (split, given):
        assert len(fitted.validation_loss_curve_) == 3
        assert fitted.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-12)


def test_validation_rows_change_nothing_else():
    X, y = problem(50)
    plain = small().fit(X, y)
    watched = small().fit(X, y, X_val=X[:5], y_val=y[:5])
    both = small(validation_fraction=0.5).fit(X, y, X_val=X[:5], y_val=y[:5])
    assert plain.validation_loss_curve_ is None
    for fitted in (watched, both):
        assert same_bits(plain.predict(X), fitted.predict(X))


def test_validation_split_is_random_and_seeded():
    X, y = problem(50)
    one, again, other = (
        small(validation_fraction=0.2, random_state=s).fit(X, y).validation_loss_curve_
        for s in (0, 0, 1)
    )
    assert one == again and one != other


def test_validation_is_weighted_by_sample_weight():
    X, y = problem(50)
    weight = np.random.default_rng(0).integers(0, 3, 50).astype(float)
    fitted = small(shuffle=False, validation_fraction=0.2).fit(X, y, weight)
    expected = np.average((fitted.predict(X[40:]) - y[40:]) ** 2, weights=weight[40:])
    assert fitted.validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-12)


def test_validation_data_pass_through_a_pipeline():
    X, y = problem(50)
    with sklearn.config_context(enable_metadata_routing=True):
        step = small().set_fit_request(X_val=True, y_val=True)
        pipe = make_pipeline(StandardScaler(), step, transform_input=["X_val"])
        pipe.fit(X, y, X_val=X[:9], y_val=y[:9])
    expected = np.mean((pipe.predict(X[:9]) - y[:9]) ** 2)
    assert pipe[-1].validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-12)


# -------------------------------------------------------------------------- sample weights


@pytest.mark.parametrize("loss", ["squared_error", "huber", Quantile((0.2, 0.8))], ids=str)
@pytest.mark.parametrize("optimizer", ["sgd", "lbfgs"])
def test_weight_is_repetition(loss, optimizer):
    """Full batches: the same sums in another order, so equal to rounding."""
    X, y = problem(40)
    weight = np.random.default_rng(4).integers(0, 4, 40)
    settings = {"loss": loss, "optimizer": optimizer, "batch_size": 1000, "max_iter": 10}
    settings |= {"learning_rate_init": 0.05}
    weighted = small(**settings).fit(X, y, sample_weight=weight)
    repeated = small(**settings).fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(weighted.loss_curve_, repeated.loss_curve_, rtol=1e-12)


@pytest.mark.parametrize("factor", [1.0, 0.25, 1024.0])
def test_common_factor_of_the_weights_does_not_matter(factor):
    X, y = problem()
    plain = small(dropout=0.1).fit(X, y).predict(X)
    assert same_bits(plain, small(dropout=0.1).fit(X, y, np.full(60, factor)).predict(X))
    assert same_bits(plain, small(dropout=0.1).fit(X, y, factor).predict(X))


def test_batches_of_weight_zero_are_skipped():
    X, y = problem(40)
    weight = np.ones(40)
    weight[8:16] = 0.0
    settings = {"batch_size": 8, "shuffle": False, "optimizer": SGD(), "max_iter": 2}
    with_zeros = small(**settings).fit(X, y, weight)
    without = small(**settings).fit(X[weight > 0], y[weight > 0])
    assert same_bits(with_zeros.predict(X), without.predict(X))
    assert with_zeros.loss_curve_ == without.loss_curve_


def test_rows_of_weight_zero_may_hold_any_finite_number():
    X, y = problem(40)
    weight = np.ones(40)
    weight[3] = 0.0
    settings = {"batch_size": 40, "shuffle": False}
    wild = X.copy()
    wild[3] = 1e6
    one = small(**settings).fit(X, y, weight).predict(X)
    other = small(**settings).fit(wild, y, weight).predict(X)
    assert same_bits(one, other)


# ------------------------------------------------------------------------- what it takes


def variants(X, tmp_path):
    mapped = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", X.dtype, X.shape)
    mapped[:] = X
    mapped.flush()
    yield "Fortran order", np.asfortranarray(X)
    yield "read-only memory map", np.load(tmp_path / "X.npy", mmap_mode="r")
    yield "strided view", np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]
    yield "reversed view", X[::-1, ::-1].copy()[::-1, ::-1]
    yield "unaligned", np.frombuffer(b"x" + X.tobytes(), X.dtype, offset=1).reshape(X.shape)
    yield "other byte order", X.astype(X.dtype.newbyteorder())
    yield "CSR", scipy.sparse.csr_array(X)
    yield "CSR matrix", scipy.sparse.csr_matrix(X)
    yield "CSC", scipy.sparse.csc_array(X)
    yield "list", X.tolist()
    yield "objects", X.astype(object)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_form_of_the_same_data_gives_the_same_bits(dtype, tmp_path):
    X, y = problem(33, dtype=dtype)
    X[np.abs(X) < 0.5] = 0.0
    name = np.dtype(dtype).name
    reference = small(dtype=name).fit(X, y)
    expected = reference.predict(X)
    for form, Z in variants(X, tmp_path):
        assert same_bits(reference.predict(Z), expected), form
        assert same_bits(small(dtype=name).fit(Z, y).predict(X), expected), form
        assert small(dtype=name).fit(X, y, X_val=Z, y_val=y).validation_loss_curve_ == (
            small(dtype=name).fit(X, y, X_val=X, y_val=y).validation_loss_curve_
        ), form


def test_targets_of_any_form():
    X, y = problem(33)
    expected = small().fit(X, y).predict(X)
    series = pd.Series(y, index=range(33, 66))
    for form in (list(y), series, np.repeat(y, 2)[::2], y.astype(object)):
        assert same_bits(small().fit(X, form).predict(X), expected)
    with pytest.warns(DataConversionWarning, match="column-vector y"):
        column = small().fit(X, y[:, None])
    assert same_bits(column.predict(X), expected)
    Y = np.stack([y, -y], axis=1)
    two = small().fit(X, Y).predict(X)
    assert same_bits(small().fit(X, np.asfortranarray(Y)).predict(X), two)
    whole = np.rint(3 * y).astype(int)
    assert same_bits(small().fit(X, whole).predict(X), small().fit(X, 1.0 * whole).predict(X))


def test_data_frames_and_their_names():
    X, y = problem(33)
    frame = pd.DataFrame(X, columns=list("abcd"))
    fitted = small().fit(frame, y)
    assert list(fitted.feature_names_in_) == list("abcd")
    assert same_bits(fitted.predict(frame), small().fit(X, y).predict(X))
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(frame[list("badc")])
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        fitted.predict(X)
    fitted.fit(X, y)
    assert not hasattr(fitted, "feature_names_in_")
    fitted.predict(X)


# ------------------------------------------------------------------------- predictions


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh"])
def test_a_row_predicts_the_same_bits_anywhere(dtype, activation):
    X, y = problem(203, features=9, dtype=dtype)
    fitted = small(hidden_layer_sizes=(37, 5), activation=activation).fit(X, y)
    together = fitted.predict(X)
    assert same_bits(together, np.concatenate([fitted.predict(X[i : i + 1]) for i in range(203)]))
    order = np.random.default_rng(0).permutation(203)
    assert same_bits(fitted.predict(X[order]), together[order])
    assert same_bits(fitted.predict(X[7:50]), together[7:50])


def test_plain_arrays_skip_validation_with_the_same_answer(monkeypatch):
    X, y = problem()
    fitted = small().fit(X, y)
    expected = fitted.predict(X.tolist())

    def never(*_, **__):
        raise AssertionError("a plain array of the fitted width was validated at length")

    monkeypatch.setattr("ctrain.regressor.check_features", never)
    for dtype in (np.float64, np.float32):
        fitted.predict(X.astype(dtype))
    assert same_bits(fitted.predict(X), expected)
    with pytest.raises(AssertionError, match="at length"):
        fitted.predict(X.tolist())


@pytest.mark.parametrize("rows", [1, 1000])
def test_eight_threads_predict_side_by_side(rows):
    X, y = problem(1000, features=16, dtype=np.float32)
    fitted = small(hidden_layer_sizes=(48, 24), max_iter=1).fit(X, y)
    expected = fitted.predict(X)
    wrong, gate = [], threading.Barrier(8)

    def work(k):
        mine = pickle.loads(shared) if k % 2 else fitted
        gate.wait()
        for i in range(k, k + 100):
            part = slice(i, i + rows) if rows == 1 else slice(0, rows - k)
            if not same_bits(mine.predict(X[part]), expected[part]):
                wrong.append((k, i))

    shared = pickle.dumps(fitted)
    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_not_fitted():
    for call in (lambda r: r.predict([[1.0]]), lambda r: r.coefs_, lambda r: r.intercepts_):
        with pytest.raises(NotFittedError):
            call(Regressor())
    assert not hasattr(Regressor(), "n_iter_")


# --------------------------------------------------------------------- fitted attributes


def test_attributes_have_the_names_of_mlp_regressor():
    X, y = problem()
    fitted = small(hidden_layer_sizes=(8, 5)).fit(X, y)
    assert [w.shape for w in fitted.coefs_] == [(4, 8), (8, 5), (5, 1)]
    assert [b.shape for b in fitted.intercepts_] == [(8,), (5,), (1,)]
    assert (fitted.n_layers_, fitted.n_outputs_, fitted.n_features_in_) == (4, 1, 4)
    assert fitted.out_activation_ == "identity"
    assert fitted.loss_ == fitted.loss_curve_[-1]
    assert fitted.best_loss_ == min(fitted.loss_curve_)
    assert fitted.fit_time_ > 0.0
    h = X
    for w, b in zip(fitted.coefs_[:-1], fitted.intercepts_[:-1], strict=True):
        h = np.maximum(h @ w + b, 0.0)
    np.testing.assert_allclose(
        (h @ fitted.coefs_[-1] + fitted.intercepts_[-1])[:, 0], fitted.predict(X), rtol=1e-12
    )
    assert small(loss="poisson").fit(X, np.abs(y)).out_activation_ == "exp"
    assert small(loss="log_loss").fit(X, y > 0).out_activation_ == "logistic"
    custom = small(model=lambda tape, x: tape.matmul(x, tape.parameter((4, 1)))).fit(X, y)
    assert custom.coefs_ is custom.intercepts_ is custom.n_layers_ is None


def test_loss_curve_does_not_depend_on_the_batch_size():
    """Weights that hardly move: the loss of every epoch is the loss of the start."""
    X, y = problem(50)
    weight = np.random.default_rng(0).uniform(size=50)
    still = small(learning_rate_init=1e-300, optimizer="sgd")
    curves = [still.set_params(batch_size=b).fit(X, y, weight).loss_curve_ for b in (1, 7, 32, 50)]
    for curve in curves:
        np.testing.assert_allclose(curve, curves[0], rtol=1e-13)


# ------------------------------------------------------- warm start, pickle, clone, search


WITH_STATE = [
    SGD(momentum=0.9),
    Adam(amsgrad=True),
    AdamW(),
    RMSprop(momentum=0.5, centered=True),
    Adagrad(lr_decay=0.1),
]


@pytest.mark.parametrize("pickled", [False, True])
@pytest.mark.parametrize("optimizer", WITH_STATE, ids=lambda o: type(o).__name__)
def test_warm_start_goes_on_as_if_nothing_had_happened(optimizer, pickled):
    X, y = problem()
    settings = {"optimizer": optimizer, "learning_rate_init": 0.01, "dropout": 0.1}
    whole = small(**settings, max_iter=5).fit(X, y)
    parts = small(**settings, max_iter=2, warm_start=True).fit(X, y)
    if pickled:
        parts = pickle.loads(pickle.dumps(parts))
    parts.set_params(max_iter=3).fit(X, y)
    assert same_bits(parts.predict(X), whole.predict(X))
    assert parts.loss_curve_ == whole.loss_curve_
    assert (parts.n_iter_, parts.t_) == (5, 20)


def test_a_cold_fit_forgets():
    X, y = problem()
    twice = small().fit(X, -y).fit(X, y)
    assert same_bits(twice.predict(X), small().fit(X, y).predict(X))
    assert twice.n_iter_ == 3


def test_warm_start_takes_new_parameters_or_refuses_them():
    X, y = problem()
    first = small(warm_start=True).fit(X, y)

    def second(**parameters):
        return pickle.loads(pickle.dumps(first)).set_params(**parameters).fit(X, y).predict(X)

    plain = second()
    changes = [
        {"activation": "tanh"}, {"loss": "huber"}, {"dropout": 0.5}, {"alpha": 1.0},
        {"optimizer": AdamW(weight_decay=1.0)}, {"optimizer": "sgd"}, {"learning_rate_init": 0.1},
        {"optimizer": "lbfgs"},
    ]  # fmt: skip
    for parameters in changes:
        assert not np.array_equal(plain, second(**parameters)), parameters
    with pytest.raises(ValueError, match=r"warm_start: .*layer_0.weight.*set warm_start=False"):
        second(hidden_layer_sizes=(9,))
    with pytest.raises(ValueError, match=r"warm_start: .*float64.*float32"):
        second(dtype="float32")
    with pytest.raises(ValueError, match="warm_start"):
        first.fit(X[:, :3], y)
    with pytest.raises(ValueError, match="warm_start"):
        first.fit(X, np.stack([y, y], axis=1))
    first.fit(X, y)


def test_pickle_keeps_every_bit():
    X, y = problem()
    fitted = small(loss=Weighted("mae", squared_target)).fit(X, y)
    text = pickle.dumps(fitted)
    again = pickle.loads(text)
    assert same_bits(again.predict(X), fitted.predict(X))
    assert same_bits(again.predict(X[:1]), fitted.predict(X[:1]))
    assert again.loss_curve_ == fitted.loss_curve_
    again.coefs_[0][:] = 0.0  # the weights themselves, not a copy of them
    assert not np.array_equal(again.predict(X), fitted.predict(X))
    more = small(loss=Weighted("mae", squared_target)).fit(np.tile(X, (50, 1)), np.tile(y, 50))
    assert len(pickle.dumps(more)) < len(text) + 20_000  # the data are not inside


def squared_target(tape, target):
    return tape.mean(tape.square(target))


def test_the_data_are_not_kept():
    X, y = problem()
    fitted = small()
    fitted.fit(X, y, X_val=X, y_val=y)
    fitted.predict(X)
    dead = weakref.ref(X), weakref.ref(y)
    del X, y
    assert [ref() for ref in dead] == [None, None]


def test_clone_and_parameters():
    model = MLP((4,), "tanh")
    original = Regressor(optimizer=AdamW(weight_decay=0.3), model=model, loss=Quantile(0.2))
    copy = clone(original)
    assert copy.get_params()["optimizer__weight_decay"] == 0.3
    assert copy.get_params()["model__activation"] == "tanh"
    assert copy.get_params()["loss__levels"] == 0.2
    copy.set_params(optimizer__weight_decay=0.1, model__hidden_layer_sizes=(3,), loss__levels=0.9)
    assert (original.optimizer.weight_decay, model.hidden_layer_sizes) == (0.3, (4,))
    assert repr(Regressor(max_iter=5)) == "Regressor(max_iter=5)"
    assert "unknown" not in str(inspect.signature(Regressor))


@pytest.mark.parametrize(
    "estimator, grid",
    [
        (small(), {"optimizer": ["adam", "lbfgs", SGD(momentum=0.9)], "loss": ["mse", "mae"]}),
        (small(optimizer=AdamW()), {"optimizer__weight_decay": [0.0, 0.1]}),
        (small(model=MLP()), {"model__hidden_layer_sizes": [(4,), (4, 4)]}),
        (small(loss=Quantile(0.5)), {"loss__levels": [0.4, 0.5]}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_grid_search(estimator, grid):
    X, y = problem()
    search = GridSearchCV(estimator, grid, cv=2, error_score="raise").fit(X, y)
    scores = search.cv_results_["mean_test_score"]
    assert len(set(scores)) == len(scores) > 1


def test_grid_search_in_worker_processes_gives_the_same_scores():
    X, y = problem()
    grid = {"hidden_layer_sizes": [(4,), (6,)]}
    one, two = (
        GridSearchCV(small(), grid, cv=2, n_jobs=n).fit(X, y).cv_results_["mean_test_score"]
        for n in (1, 2)
    )
    assert same_bits(one, two)


# -------------------------------------------------------------------------- bad days


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_loss_that_overflows_ends_the_fit_within_one_step(dtype):
    X, y = problem()
    good = small(optimizer="sgd", clip_norm=None, max_steps=5, dtype=dtype).fit(X, y)
    rates = [1e-3] * 5 + [1e30, 1e30, 1e30] + [1e300] * 50
    bad = small(
        optimizer="sgd", clip_norm=None, schedule=lambda step: rates[step], max_iter=20, dtype=dtype
    )
    with pytest.raises(ValueError, match=r"scale X and y .* lower learning_rate_init") as info:
        bad.fit(X, y)
    found = re.search(r"is not finite at epoch (\d+), step (\d+);", str(info.value))
    epoch, step = map(int, found.groups())
    assert 6 < step < 20 and bad.t_ == step - 1
    assert epoch == bad.n_iter_ + 1 == (step - 1) // 4 + 1
    assert all(np.isfinite(w).all() for w in bad.coefs_ + bad.intercepts_)
    bad.set_params(schedule="constant", max_steps=5).fit(X, y)
    assert same_bits(bad.predict(X), good.predict(X))


def test_lbfgs_stops_where_the_loss_is_not_finite():
    X, y = problem()
    fitted = small(optimizer="lbfgs", loss=lambda tape, p, t: tape.mean(tape.log(p)))
    with pytest.raises(ValueError, match=r"the loss is not finite at epoch 1, step 1 of lbfgs"):
        fitted.fit(X, y)
    start = small(optimizer="sgd", learning_rate_init=1e-300).fit(X, y)
    assert same_bits(fitted.predict(X), start.predict(X))
    fitted.set_params(loss="mse").fit(X, y)


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, MemoryError])
def test_an_interrupted_fit_leaves_the_last_whole_step(error):
    X, y = problem()

    def schedule(step):
        if step == 8:
            raise error("stop")
        return 1e-3

    fitted = small(schedule=schedule, max_iter=10)
    with pytest.raises(error):
        fitted.fit(X, y)
    whole = small(max_iter=2).fit(X, y)
    assert same_bits(fitted.predict(X), whole.predict(X))
    assert (fitted.n_iter_, fitted.t_, fitted.loss_curve_) == (2, 8, whole.loss_curve_)
    fitted.set_params(schedule="constant", max_iter=2).fit(X, y)
    assert same_bits(fitted.predict(X), whole.predict(X))


def test_an_interrupted_lbfgs_keeps_its_last_iterate():
    X, y = problem()
    count = 0

    class Stop(logging.Handler):
        def emit(self, record):
            nonlocal count
            count += 1
            if count == 3:
                raise KeyboardInterrupt

    log, stop = logging.getLogger("ctrain"), Stop()
    log.addHandler(stop)
    log.setLevel(logging.INFO)
    try:
        fitted = small(optimizer="lbfgs", max_iter=50, verbose=1)
        with pytest.raises(KeyboardInterrupt):
            fitted.fit(X, y)
    finally:
        log.removeHandler(stop)
        log.setLevel(logging.NOTSET)
    whole = small(optimizer="lbfgs", max_iter=3).fit(X, y)
    assert same_bits(fitted.predict(X), whole.predict(X))
    assert fitted.loss_curve_ == whole.loss_curve_


def test_refused_data_leave_the_fitted_estimator_as_it_was():
    X, y = problem()
    fitted = small().fit(pd.DataFrame(X, columns=list("abcd")), y)
    before = dict(vars(fitted))
    expected = fitted.predict(pd.DataFrame(X, columns=list("abcd")))
    refusals = [
        lambda: fitted.fit(X[:, :2], np.full(60, np.nan)),
        lambda: fitted.fit(X, np.stack([y, y], axis=1), sample_weight=-y),
        lambda: fitted.fit(X, y, X_val=X[:, :2], y_val=y),
        lambda: fitted.set_params(model=lambda tape, x: None).fit(X[:, :2], y),
    ]
    for refusal in refusals:
        with pytest.raises((ValueError, TypeError)):
            refusal()
        fitted.model = None
        assert vars(fitted) == before
    assert same_bits(fitted.predict(pd.DataFrame(X, columns=list("abcd"))), expected)
