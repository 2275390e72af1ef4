"""What each parameter of the regressor does, and what sample weights mean."""

from __future__ import annotations

import inspect
import logging

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from small import problem, same_bits, small

from ctrain import Regressor, training
from ctrain.losses import Quantile
from ctrain.models import MLP
from ctrain.optimizers import LBFGS, SGD

# ----------------------------------------------------------------- what each parameter does


def fewest_epochs(regressor, X, y):
    """A scorer for which the first epoch is the best."""
    return -len(regressor.history_["epoch"])


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
    "max_time": (None, 1e-9),
    "shuffle": (True, False),
    "early_stopping": (False, True),
    "validation_fraction": (0.2, 0.5),
    "validation_interval": (1, 2),
    "n_iter_no_change": (1, 2),
    "tol": (0.0, 1e6),
    "monitor": ("loss", fewest_epochs),
    "model": (None, MLP((8,), "tanh")),
    "dtype": ("float64", "float32"),
    "random_state": (0, 1),
}
# each has a test of its own
NO_EFFECT_ON_THE_RESULT = {"n_jobs", "verbose", "warm_start", "metrics"}
CLIPPING = {"optimizer": SGD()}  # Adam's steps do not depend on the gradient's scale
STOPPING = {"early_stopping": True, "max_iter": 6, "n_iter_no_change": 1, "tol": 1e6}
BASE = {"clip_norm": CLIPPING, "clip_value": CLIPPING, "validation_fraction": STOPPING}
BASE |= dict.fromkeys(("validation_interval", "n_iter_no_change", "tol", "monitor"), STOPPING)


def test_every_parameter_is_tested():
    names = set(inspect.signature(Regressor).parameters)
    assert names == set(EFFECTS) | NO_EFFECT_ON_THE_RESULT


@pytest.mark.parametrize("name", EFFECTS)
def test_parameter_has_an_effect(name):
    X, y = problem()
    base = BASE.get(name, {})
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


def test_losses_and_norms_of_each_step_are_kept():
    X, y = problem(60)
    fitted = small(optimizer="sgd").fit(X, y)
    steps = fitted.history_.steps
    losses, norms, rates = (steps[k] for k in ("loss", "gradient_norm", "learning_rate"))
    assert len(losses) == len(norms) == len(rates) == fitted.t_ == 12
    assert losses.min() > 0.0 and norms.min() > 0.0
    rows = [16, 16, 16, 12]
    np.testing.assert_allclose(
        np.average(losses.reshape(3, 4), axis=1, weights=rows), fitted.loss_curve_
    )


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


@pytest.fixture
def orders(monkeypatch):
    """Rows in the order in which each epoch trains on them."""
    seen = []
    real = training.run_steps

    def spy(program, source, index, *rest, **settings):
        seen.append(np.array(index))
        return real(program, source, index, *rest, **settings)

    monkeypatch.setattr(training, "run_steps", spy)
    return seen


@pytest.mark.parametrize("held_out", [False, True])
def test_shuffle_draws_a_new_order_of_the_same_rows_each_epoch(held_out, orders):
    X, y = problem(20)
    settings = {"max_iter": 4, "early_stopping": held_out, "validation_fraction": 0.25}
    small(**settings).fit(X, y)
    rows = np.unique(orders[0])
    assert len(rows) == (15 if held_out else 20)
    assert np.array_equal(rows, np.arange(len(rows))) == (not held_out)
    assert all(np.array_equal(np.sort(order), rows) for order in orders)
    assert len({order.tobytes() for order in orders}) == 4
    orders.clear()
    small(**settings, shuffle=False).fit(X, y)
    assert all(np.array_equal(order, np.arange(len(rows))) for order in orders)


def test_shuffle_changes_single_steps_and_no_full_batch():
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
        assert small().fit(X.astype(dtype), y).predict(X[:3].astype(dtype)).dtype == dtype
        fitted = small(dtype=np.dtype(dtype).name).fit(X, y)
        assert fitted.predict(X.astype(np.float32)).dtype == dtype
    assert small().fit(X.astype(np.int64), y).predict(X[:3].astype(int)).dtype == np.float64
    assert small(dtype="float32").fit(X, y).coefs_[0].dtype == np.float32


def test_verbose_reports_through_logging(caplog, capsys):
    X, y = problem()
    with caplog.at_level(logging.INFO, logger="ctrain"):
        small(verbose=2, max_iter=5, early_stopping=True).fit(X, y)
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
