"""The fit loop: how often it validates, where it ends, and fits that go on."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pytest
from sklearn.metrics import r2_score
from small import problem, same_bits, small

from ctrain.optimizers import SGD, Adagrad, Adam, AdamW, RMSprop
from ctrain.schedules import Schedule

X, Y = problem(60)
X_VAL, Y_VAL = problem(20, seed=1)


# --------------------------------------------------------------------------- intervals


@pytest.mark.parametrize("interval, due", [(1, 7), (2, 4), (3, 3), (7, 1), (100, 1)])
def test_every_so_many_epochs(interval, due):
    fitted = small(max_iter=7, validation_interval=interval, metrics="r2")
    fitted.fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    every = small(max_iter=7, metrics="r2").fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    for name in ("validation_loss", "validation_r2", "train_r2"):
        column, whole = np.array(fitted.history_[name]), np.array(every.history_[name])
        there = np.isfinite(column)
        assert there.sum() == due and there[-1]
        expected = {k for k in range(1, 8) if k % interval == 0} | {7}
        assert set(1 + np.flatnonzero(there)) == expected
        assert np.array_equal(column[there], whole[there])
    assert same_bits(fitted.predict(X), every.predict(X))


# --------------------------------------------------------------------------------- limits


@pytest.mark.parametrize("limits, steps, epochs, reason", [
    ({"max_iter": 2}, 8, 2, "max_iter"),
    ({"max_iter": 2, "max_steps": 11}, 11, 3, "max_steps"),
    ({"max_iter": 2, "max_steps": 3}, 3, 1, "max_steps"),
    ({"max_iter": 2, "max_steps": 12}, 12, 3, "max_steps"),
    ({"max_time": 1e-9}, 1, 1, "max_time"),
    ({"max_time": 1000.0}, 12, 3, "max_iter"),
])  # fmt: skip
def test_limits(limits, steps, epochs, reason):
    fitted = small(**limits).fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    assert (fitted.t_, fitted.n_iter_, fitted.stopped_by_) == (steps, epochs, reason)
    assert np.isfinite(fitted.validation_loss_curve_[-1])
    same = small(max_steps=steps).fit(X, Y)
    assert same_bits(fitted.predict(X), same.predict(X))


@pytest.mark.parametrize("optimizer", ["adamw", "lbfgs"])
def test_max_time_is_kept(optimizer):
    settings = {"optimizer": optimizer, "hidden_layer_sizes": (128, 128), "n_jobs": 1}
    fitted = small(**settings, max_iter=10**7, max_time=0.05)
    started = time.perf_counter()
    fitted.fit(X, Y)
    passed = time.perf_counter() - started
    assert fitted.stopped_by_ == "max_time"
    assert 0.05 <= passed < 2.0  # a busy machine may stop this process for a while
    assert len(fitted.loss_curve_) == fitted.n_iter_ >= 1
    limit = {"max_iter": fitted.n_iter_} if optimizer == "lbfgs" else {"max_steps": fitted.t_}
    assert same_bits(fitted.predict(X), small(**settings, **limit).fit(X, Y).predict(X))


def test_max_time_and_a_long_epoch():
    """The time is over in the first epoch, which then counts as one."""
    x, y = np.tile(X, (20_000, 1)), np.tile(Y, 20_000)
    fitted = small(batch_size=1, max_time=0.1, n_jobs=1, early_stopping=False).fit(x, y)
    assert fitted.stopped_by_ == "max_time" and fitted.n_iter_ == 1
    assert 0 < fitted.t_ < len(x)
    assert len(fitted.history_.steps["loss"]) == fitted.t_


def test_max_time_ends_early_stopping_with_the_best_weights():
    def worse(regressor, X, y):
        time.sleep(0.02)
        return -len(regressor.history_["epoch"])

    fitted = small(early_stopping=True, n_iter_no_change=np.inf, monitor=worse, max_time=0.2,
                   max_iter=10**6)  # fmt: skip
    fitted.fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    assert fitted.stopped_by_ == "max_time" and fitted.n_iter_ > 1
    assert fitted.best_epoch_ == 1
    assert same_bits(fitted.predict(X), small(max_iter=1).fit(X, Y).predict(X))


# ---------------------------------------------------------------------------- partial_fit

OPTIMIZERS = [SGD(momentum=0.9), Adam(amsgrad=True), AdamW(), RMSprop(momentum=0.5), Adagrad()]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
def test_partial_fits_of_the_same_rows_are_epochs(optimizer):
    settings = {"optimizer": optimizer, "dropout": 0.1, "learning_rate_init": 0.01}
    parts = small(**settings)
    for k in range(1, 5):
        parts.partial_fit(X, Y)
        whole = small(**settings, max_iter=k).fit(X, Y)
        assert same_bits(parts.predict(X), whole.predict(X))
        assert (parts.n_iter_, parts.t_) == (k, 4 * k)
        assert parts.loss_curve_ == whole.loss_curve_
        assert parts.lr_curve_ == whole.lr_curve_


def test_partial_fit_goes_on_after_a_fit():
    fitted = small(max_iter=2).fit(X, Y).partial_fit(X, Y)
    assert same_bits(fitted.predict(X), small(max_iter=3).fit(X, Y).predict(X))
    assert fitted.n_iter_ == 3
    cold = fitted.fit(X, Y)  # max_iter=2
    assert same_bits(cold.predict(X), small(max_iter=2).fit(X, Y).predict(X))


def test_partial_fit_takes_weights_and_pieces_of_any_size():
    fitted = small(optimizer="sgd", batch_size=1000, learning_rate_init=0.05)
    weight = np.array([2.0, 1.0, 0.0])
    repeated = np.array([0, 0, 1])
    for piece in (slice(0, 3), slice(20, 23)):
        fitted.partial_fit(X[piece], Y[piece], weight)
    other = small(optimizer="sgd", batch_size=1000, learning_rate_init=0.05)
    for begin in (0, 20):
        other.partial_fit(X[begin + repeated], Y[begin + repeated])
    np.testing.assert_allclose(fitted.predict(X), other.predict(X), rtol=1e-12)
    assert fitted.partial_fit(X[:1], Y[:1]).n_iter_ == 3


def test_partial_fit_ignores_the_limits_of_a_fit():
    fitted = small(max_steps=1, max_time=1e-9, max_iter=7)
    for k in (1, 2):
        assert (fitted.partial_fit(X, Y).t_, fitted.n_iter_) == (4 * k, k)
    big = small().partial_fit(*problem(1000))  # "auto" holds nothing out
    assert big.validation_loss_curve_ is big.best_epoch_ is None
    assert big.t_ == math.ceil(1000 / 16)


def test_partial_fit_refuses_other_widths():
    fitted = small().partial_fit(X, Y)
    expected, before = fitted.predict(X), dict(vars(fitted))
    for x, y, message in [
        (X[:, :3], Y, "X has 3 features, but Regressor is expecting 4 features"),
        (X, np.stack([Y, Y], 1), r"as many targets as in the first call, 1; got 2"),
        (X, Y[:-1], r"y must have one row for each of the 60 rows of X"),
        (np.where(X > 2, np.nan, X), Y, "X contains NaN"),
    ]:
        with pytest.raises(ValueError, match=message):
            fitted.partial_fit(x, y)
        assert vars(fitted) == before
    assert same_bits(fitted.predict(X), expected)
    two = small().partial_fit(X, np.stack([Y, Y], 1))
    with pytest.raises(ValueError, match=r"as many targets as in the first call, 2; got 1"):
        two.partial_fit(X, Y)


def test_partial_fit_keeps_the_precision_of_the_first_call():
    fitted = small().partial_fit(X.astype(np.float32), Y)
    fitted.partial_fit(X, Y)
    assert fitted.coefs_[0].dtype == fitted.predict(X.astype(np.float32)).dtype == np.float32


@pytest.mark.parametrize("parameters, reason", [
    ({"optimizer": "lbfgs"}, "needs an optimizer that takes single steps; optimizer is lbfgs"),
    ({"early_stopping": True}, "holds nothing out, early_stopping=True asks for it"),
])  # fmt: skip
def test_who_has_no_partial_fit(parameters, reason):
    assert hasattr(small(), "partial_fit")
    assert not hasattr(small(**parameters), "partial_fit")
    with pytest.raises(AttributeError, match="has no attribute 'partial_fit'") as info:
        small(**parameters).partial_fit(X, Y)
    assert reason in str(info.value.__cause__)


# ------------------------------------------------------------------------------ bad days


class Sudden(Schedule):
    """Answers well until it does not."""

    def __init__(self, step=None, epoch=None):
        self.step, self.epoch = step, epoch

    def __call__(self, step, base, length):
        rates = np.full(np.shape(step), base)
        if self.step is not None:
            rates[np.asarray(step) >= self.step] = np.nan
        return rates

    def observe(self, history):
        if self.epoch == len(history["epoch"]):
            raise ArithmeticError("no idea")


@pytest.mark.parametrize("schedule, error, message, epochs", [
    (Sudden(step=6), ValueError, r"at step 6 Sudden\(step=6\) gave nan", 1),
    (Sudden(epoch=2), ArithmeticError, "no idea", 2),
    (lambda step: [1e-3, None][step // 8], TypeError, "at step 8 .* returned None", 2),
    (lambda step: 1e-3 if step < 8 else -1.0, ValueError, r"at step 8 .* gave -1\.0", 2),
])  # fmt: skip
def test_a_schedule_that_goes_wrong_in_the_middle(schedule, error, message, epochs):
    fitted = small(schedule=schedule, max_iter=5)
    with pytest.raises(error, match=message):
        fitted.fit(X, Y)
    assert (fitted.n_iter_, fitted.t_, fitted.stopped_by_) == (epochs, 4 * epochs, None)
    whole = small(max_iter=epochs).fit(X, Y)
    assert same_bits(fitted.predict(X), whole.predict(X))
    fitted.set_params(schedule="constant", max_iter=epochs).fit(X, Y)
    assert same_bits(fitted.predict(X), whole.predict(X))


def test_a_refused_warm_start_changes_nothing():
    settings = {"warm_start": True, "early_stopping": True, "optimizer": AdamW()}
    fitted, other = (small(**settings).fit(X, Y) for _ in range(2))
    refusals = [
        ({"metrics": r2_score}, (X, Y)), ({"monitor": "r3"}, (X, Y)), ({}, (X[:, :3], Y)),
        ({}, (X, np.stack([Y, Y], 1))), ({"hidden_layer_sizes": (9,)}, (X, Y)),
        ({"validation_fraction": 0.99}, (X, Y)), ({}, (X, np.full(60, np.nan))),
    ]  # fmt: skip
    for parameters, data in refusals:
        before = fitted.get_params()
        with pytest.raises(ValueError):
            fitted.set_params(**parameters).fit(*data)
        fitted.set_params(**{name: before[name] for name in parameters})
    assert same_bits(fitted.fit(X, Y).predict(X), other.fit(X, Y).predict(X))
    assert fitted.history_["loss"] == other.history_["loss"]


# ------------------------------------------------------------------- going on, same bits


@pytest.mark.parametrize("first, second", [(1, 4), (4, 1), (2, 3)])
@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: type(o).__name__)
def test_two_fits_and_partial_fits_are_one(optimizer, first, second):
    settings = {"optimizer": optimizer, "learning_rate_init": 0.01, "warm_start": True}
    whole = small(**settings, max_iter=5).fit(X, Y)
    mixed = small(**settings, max_iter=first).fit(X, Y)
    for _ in range(second):
        mixed.partial_fit(X, Y)
    assert same_bits(mixed.predict(X), whole.predict(X))
    assert mixed.loss_curve_ == whole.loss_curve_
    steps, again = whole.history_.steps, mixed.history_.steps
    assert all(same_bits(steps[name], again[name]) for name in steps)


def test_a_warm_start_keeps_the_seed_that_it_began_with():
    settings = {"dropout": 0.2, "warm_start": True}
    whole = small(**settings, random_state=np.random.RandomState(5), max_iter=5).fit(X, Y)
    parts = small(**settings, random_state=np.random.RandomState(5), max_iter=2).fit(X, Y)
    parts.set_params(max_iter=2).fit(X, Y).partial_fit(X, Y)
    assert same_bits(parts.predict(X), whole.predict(X))


def test_a_schedule_starts_anew_with_each_fit():
    fitted = small(schedule="cosine", warm_start=True).fit(X, Y).fit(X, Y)
    once = small(schedule="cosine").fit(X, Y)
    assert fitted.lr_curve_ == once.lr_curve_ * 2


def test_accumulated_batches_are_a_large_batch():
    settings = {"dropout": 0.2, "early_stopping": True, "max_iter": 5, "clip_norm": 0.1}
    for k, size in itertools.product((2, 3, 5), (4, 7)):
        one = small(**settings, batch_size=size, accumulate_steps=k).fit(X, Y)
        other = small(**settings, batch_size=size * k).fit(X, Y)
        assert same_bits(one.predict(X), other.predict(X))
        for name in ("loss", "gradient_norm"):
            assert same_bits(one.history_.steps[name], other.history_.steps[name])


def test_weight_is_repetition_over_epochs():
    """Full batches, all parts: training, validation, penalties, stopping."""
    rng = np.random.default_rng(4)
    weight, held_weight = rng.integers(0, 4, 60), rng.integers(0, 4, 20)
    settings = {"batch_size": 1000, "max_iter": 30, "learning_rate_init": 0.05, "alpha": 0.01}
    settings |= {"early_stopping": True, "n_iter_no_change": 3, "schedule": "warmup_cosine"}
    weighted = small(**settings).fit(
        X, Y, weight, X_val=X_VAL, y_val=Y_VAL, sample_weight_val=held_weight
    )
    repeated = small(**settings).fit(
        np.repeat(X, weight, axis=0), np.repeat(Y, weight),
        X_val=np.repeat(X_VAL, held_weight, axis=0), y_val=np.repeat(Y_VAL, held_weight),
    )  # fmt: skip
    assert weighted.n_iter_ == repeated.n_iter_
    assert weighted.best_epoch_ == repeated.best_epoch_
    for name in ("loss", "validation_loss", "gradient_norm"):
        np.testing.assert_allclose(weighted.history_[name], repeated.history_[name], rtol=1e-9)
    np.testing.assert_allclose(weighted.predict(X), repeated.predict(X), rtol=1e-8, atol=1e-10)
