"""What a fit leaves behind: warm starts, pickles, searches, and fits that end badly."""

from __future__ import annotations

import inspect
import logging
import pickle
import re
import weakref

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from small import problem, same_bits, small

from ctrain import Regressor, training
from ctrain.losses import Quantile, Weighted
from ctrain.models import MLP
from ctrain.optimizers import SGD, Adagrad, Adam, AdamW, RMSprop

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


@pytest.mark.parametrize("calls", [2, 3, 9, 20])
def test_lbfgs_interrupted_at_a_trial_point_goes_back_to_its_last_iterate(calls, monkeypatch):
    X, y = problem()
    real, left = training.accumulate, calls

    def accumulate(*arguments, **settings):
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        return real(*arguments, **settings)

    fitted = small(optimizer="lbfgs", hidden_layer_sizes=(8, 8), max_iter=100)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "accumulate", accumulate)
        fitted.fit(X, y)
    if fitted.n_iter_ == 0:
        whole = fitted.set_params(optimizer="sgd", learning_rate_init=1e-300, max_iter=1)
    else:
        whole = clone(fitted).set_params(max_iter=fitted.n_iter_)
    expected = fitted.predict(X)
    assert same_bits(whole.fit(X, y).predict(X), expected)


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
