"""Rows to validate on, and metrics of a fit: which rows, which weights, which columns."""

from __future__ import annotations

import math

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


def test_a_warm_start_holds_out_the_same_rows(orders):
    fitted = small(early_stopping=True, max_iter=1, warm_start=True, random_state=None)
    fitted.fit(X, Y).fit(X, Y)
    small(early_stopping=True, max_iter=1, random_state=None).fit(X, Y)
    first, again, other = map(np.unique, orders)
    assert np.array_equal(first, again) and not np.array_equal(first, other)


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


def test_metrics_of_one_name():
    def twin(regressor, X, y):
        return 1.0

    first = twin

    def twin(regressor, X, y):
        return 2.0

    both = small(metrics=["r2", "r2"], monitor="r2", early_stopping=True).fit(X, Y)
    assert list(both.history_)[5:] == ["validation_loss", "train_r2", "validation_r2"]
    with pytest.raises(ValueError, match="two scorers are named 'twin'"):
        small(metrics=[first, twin]).fit(X, Y)
    with pytest.raises(ValueError, match="two scorers are named 'twin'"):
        small(metrics=first, monitor=twin).fit(X, Y)


def test_a_metric_that_raises_is_named():
    def broken(regressor, X, y):
        return 1.0 if len(regressor.history_["epoch"]) < 2 else None

    fitted = small(metrics=broken, max_iter=5)
    with pytest.raises(TypeError, match="NoneType") as info:
        fitted.fit(X, Y)
    assert info.value.__notes__ == ["raised by the metric 'broken' on the train rows"]
    assert (fitted.n_iter_, fitted.t_) == (2, 12)  # the third epoch was not recorded
    assert same_bits(fitted.predict(X), small().fit(X, Y).predict(X))
    weighted = small(metrics="neg_max_error")  # which takes no weights
    with pytest.raises(TypeError, match="sample_weight") as info:
        weighted.fit(X, Y, np.ones(60))
    assert "metric 'neg_max_error' on the train rows with sample_weight" in info.value.__notes__[0]
    assert same_bits(fitted.set_params(metrics=None, max_iter=3).fit(X, Y).predict(X),
                     small().fit(X, Y).predict(X))  # fmt: skip


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
