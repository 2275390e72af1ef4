"""The fit loop: validation rows, metrics, limits, and fits that go on."""

from __future__ import annotations

import itertools
import math
import time

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
import sklearn
from sklearn.metrics import make_scorer, mean_absolute_error, r2_score
from sklearn.model_selection import cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small import problem, same_bits, small

from ctrain import Regressor, training
from ctrain.held_out import split
from ctrain.optimizers import SGD, Adagrad, Adam, AdamW, RMSprop

X, Y = problem(60)
X_VAL, Y_VAL = problem(20, seed=1)


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


# ------------------------------------------------------------------------ rows held out


@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.2, 0.37, 0.5, 0.99])
@pytest.mark.parametrize("n", [2, 10, 33, 1000])
@pytest.mark.parametrize("shuffle", [False, True])
def test_split_is_a_partition(n, fraction, shuffle):
    held = math.ceil(fraction * n)
    if held == n:
        with pytest.raises(
            ValueError, match=f"={fraction} of n_samples={n} leaves no row to train"
        ):
            split(n, fraction, shuffle, 0)
        return
    train, validate = split(n, fraction, shuffle, 0)
    assert len(validate) == held
    assert np.array_equal(np.sort(np.concatenate([train, validate])), np.arange(n))
    assert (np.diff(train) > 0).all() and (np.diff(validate) > 0).all()
    if not shuffle:
        assert np.array_equal(validate, np.arange(n - held, n))


def test_random_split_draws_each_row_equally_often():
    drawn = np.zeros(40)
    for seed in range(2000):
        drawn[split(40, 0.25, True, seed)[1]] += 1
    # a binomial of 2000 and 1/4: five standard deviations are 97
    assert np.abs(drawn - 500).max() < 97


def test_stratified_split_keeps_the_shares():
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.repeat(["a", "b", "c", "d"], [500, 100, 30, 1]))
    train, validate = split(len(labels), 0.2, True, 7, labels)
    assert np.array_equal(np.sort(np.concatenate([train, validate])), np.arange(len(labels)))
    counts = {name: int((labels[validate] == name).sum()) for name in "abcd"}
    assert counts == {"a": 100, "b": 20, "c": 6, "d": 0}  # the only d stays to train on
    other = split(len(labels), 0.2, True, 8, labels)[1]
    assert not np.array_equal(validate, other)


def test_a_split_without_rows_or_weight_names_the_numbers():
    with pytest.raises(
        ValueError, match=r"validation_fraction=0.1 of n_samples=4 leaves no row to v"
    ):
        split(4, 0.1, True, 0, np.arange(4))
    weights = np.array([0.0, 0.0, 1.0, 1.0])
    with pytest.raises(ValueError, match="only rows of sample_weight 0 to train on"):
        split(4, 0.5, False, 0, weights=weights)
    with pytest.raises(ValueError, match="only rows of sample_weight 0 to validate on"):
        split(4, 0.5, False, 0, weights=weights[::-1])


def test_early_stopping_holds_out_a_random_part(orders):
    for seed in (0, 0, 1):
        small(early_stopping=True, random_state=seed, max_iter=1).fit(X, Y)
    one, again, other = map(np.unique, orders)
    assert len(one) == len(other) == 48
    assert np.array_equal(one, again) and not np.array_equal(one, other)


def test_early_stopping_holds_out_what_the_strata_say(orders):
    class Signed(Regressor):
        def _strata(self, targets):
            return targets[:, 0] > 0.5

    for k in range(5):
        Signed((4,), early_stopping=True, max_iter=1, random_state=k).fit(X, Y)
    high = Y > 0.5
    assert [int(high[rows].sum()) for rows in orders] == [high.sum() - round(0.2 * high.sum())] * 5
    assert len({np.sort(rows).tobytes() for rows in orders}) == 5


@pytest.mark.parametrize("loss", ["squared_error", "absolute_error"])
def test_the_last_rows_held_out_are_like_rows_given(loss):
    settings = {"loss": loss, "dropout": 0.3, "shuffle": False, "early_stopping": True}
    held = small(**settings, validation_fraction=0.25).fit(X, Y)
    given = small(**settings).fit(X[:45], Y[:45], X_val=X[45:], y_val=Y[45:])
    assert same_bits(held.predict(X), given.predict(X))
    assert held.validation_loss_curve_ == given.validation_loss_curve_
    error = np.abs(held.predict(X[45:]) - Y[45:])
    expected = np.mean(error if loss == "absolute_error" else error**2)
    assert min(held.validation_loss_curve_) == pytest.approx(expected, rel=1e-12)


def test_given_rows_change_nothing_else():
    plain = small().fit(X, Y)
    watched = small(validation_fraction=0.5).fit(X, Y, X_val=X[:5], y_val=Y[:5])
    assert plain.validation_loss_curve_ is None and "validation_loss" not in plain.history_
    assert len(watched.validation_loss_curve_) == 3
    assert same_bits(plain.predict(X), watched.predict(X))


def test_validation_is_weighted():
    weight = np.random.default_rng(0).integers(0, 3, 60).astype(float)
    settings = {"shuffle": False, "early_stopping": True, "metrics": "neg_mean_absolute_error"}
    held = small(**settings).fit(X, Y, weight)
    given = small(**settings).fit(
        X[:48], Y[:48], weight[:48], X_val=X[48:], y_val=Y[48:], sample_weight_val=weight[48:]
    )
    unweighted = small(**settings).fit(X[:48], Y[:48], weight[:48], X_val=X[48:], y_val=Y[48:])
    for fitted in (held, given):
        assert fitted.best_epoch_ == 3
        miss = fitted.predict(X) - Y
        last = {name: column[-1] for name, column in fitted.history_.items()}
        error, absolute = (np.average(e[48:], weights=weight[48:]) for e in (miss**2, abs(miss)))
        assert last["validation_loss"] == pytest.approx(error, rel=1e-12)
        assert last["validation_neg_mean_absolute_error"] == pytest.approx(-absolute, rel=1e-12)
        absolute = np.average(abs(miss)[:48], weights=weight[:48])
        assert last["train_neg_mean_absolute_error"] == pytest.approx(-absolute, rel=1e-12)
    assert unweighted.validation_loss_curve_ != given.validation_loss_curve_


@pytest.mark.parametrize("weighted", [False, True])
def test_validation_rows_pass_through_a_pipeline(weighted):
    weight = np.linspace(0.5, 2.0, 20) if weighted else None
    shifted, shifted_val = 5.0 + 3.0 * X, 5.0 + 3.0 * X_VAL
    with sklearn.config_context(enable_metadata_routing=True):
        step = small().set_fit_request(X_val=True, y_val=True, sample_weight_val=weighted)
        pipe = make_pipeline(StandardScaler(), step, transform_input=["X_val"])
        given = {"X_val": shifted_val, "y_val": Y_VAL}
        pipe.fit(shifted, Y, **given, **({"sample_weight_val": weight} if weighted else {}))
    expected = np.average((pipe.predict(shifted_val) - Y_VAL) ** 2, weights=weight)
    assert pipe[-1].validation_loss_curve_[-1] == pytest.approx(expected, rel=1e-12)


def test_weights_are_routed_through_a_cross_validation():
    weight = np.random.default_rng(0).uniform(0.5, 2.0, 60)
    with sklearn.config_context(enable_metadata_routing=True):
        step = small().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
        answer = cross_validate(
            step, X, Y, params={"sample_weight": weight}, cv=2, return_estimator=True
        )
    expected = small().fit(X[30:], Y[30:], weight[30:])
    assert same_bits(answer["estimator"][0].predict(X), expected.predict(X))
    assert answer["test_score"][0] == expected.score(X[:30], Y[:30], weight[:30])


# ------------------------------------------------------------------- metrics, and how often


def test_metrics_of_training_and_validation():
    scorer = make_scorer(mean_absolute_error, greater_is_better=False)
    fitted = small(metrics=["r2", scorer]).fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    assert list(fitted.history_)[5:] == [
        "validation_loss", "train_r2", "train_mean_absolute_error",
        "validation_r2", "validation_mean_absolute_error",
    ]  # fmt: skip
    for part, (x, y) in {"train": (X, Y), "validation": (X_VAL, Y_VAL)}.items():
        answer = fitted.predict(x)
        assert fitted.history_[f"{part}_r2"][-1] == pytest.approx(r2_score(y, answer), rel=1e-12)
        error = mean_absolute_error(y, answer)
        assert fitted.history_[f"{part}_mean_absolute_error"][-1] == pytest.approx(-error)
        epochs = [small(max_iter=k).fit(X, Y).score(x, y) for k in (1, 2, 3)]
        assert fitted.history_[f"{part}_r2"] == epochs
    assert same_bits(fitted.predict(X), small().fit(X, Y).predict(X))


def test_metrics_without_validation_are_those_of_the_training_rows():
    fitted = small(metrics="r2").fit(X, Y)
    assert list(fitted.history_)[5:] == ["train_r2"]
    assert fitted.history_["train_r2"][-1] == fitted.score(X, Y)


def test_metrics_of_held_out_rows_are_of_those_rows():
    fitted = small(metrics=("r2",), early_stopping=True, shuffle=False).fit(X, Y)
    assert fitted.best_epoch_ == 3
    assert fitted.history_["train_r2"][-1] == fitted.score(X[:48], Y[:48])
    assert fitted.history_["validation_r2"][-1] == fitted.score(X[48:], Y[48:])


@pytest.mark.parametrize("form", [pd.DataFrame, scipy.sparse.csr_array, np.ndarray.tolist])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_metrics_of_data_of_any_form(form, early_stopping):
    data, held = (form(x) if form is not pd.DataFrame else form(x, columns=list("abcd"))
                  for x in (X, X_VAL))  # fmt: skip
    settings = {"metrics": ["r2"], "early_stopping": early_stopping}
    plain = small(**settings).fit(X, Y)
    fitted = small(**settings).fit(data, list(Y))
    assert fitted.history_["train_r2"] == plain.history_["train_r2"]
    given = small(**settings).fit(data, pd.Series(Y, index=range(7, 67)), X_val=held, y_val=Y_VAL)
    assert given.history_["validation_r2"][-1] == pytest.approx(given.score(held, Y_VAL), rel=1e-12)


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
    settings = {"optimizer": optimizer, "max_iter": 10**7, "alpha": 0.1}
    fitted = small(**settings, hidden_layer_sizes=(64, 64), max_time=0.3)
    started = time.perf_counter()
    fitted.fit(X, Y)
    passed = time.perf_counter() - started
    if optimizer == "lbfgs" and fitted.stopped_by_ == "converged":
        assert passed < 2.0
        return
    assert fitted.stopped_by_ == "max_time"
    assert 0.3 <= passed < 2.0  # a busy machine may stop this process for a while
    assert len(fitted.loss_curve_) == fitted.n_iter_ > 10
    steps = small(optimizer="adamw", hidden_layer_sizes=(64, 64), alpha=0.1, max_steps=fitted.t_)
    if optimizer == "adamw":
        assert same_bits(fitted.predict(X), steps.fit(X, Y).predict(X))


def test_max_time_and_a_long_epoch():
    """The time is over in the first epoch, which then counts as one."""
    x, y = np.tile(X, (2000, 1)), np.tile(Y, 2000)
    fitted = small(batch_size=1, max_time=0.1).fit(x, y)
    assert fitted.stopped_by_ == "max_time" and fitted.n_iter_ == 1
    assert 1 < fitted.t_ < len(x) == 2000 * 60
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
    assert fitted.partial_fit(X, Y).predict(X).dtype == np.float32


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
