"""From scikit-learn's perceptrons to ours and back: weights, predictions, further fits."""

from __future__ import annotations

import pickle
import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from perceptrons import TARGETS, equal_answers, equal_weights, fit_on, labels, numbers, theirs
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_random_state

import ctrain
from ctrain import Classifier, Regressor
from ctrain.losses import Huber, LogLoss, Loss, Quantile
from ctrain.models import MLP
from ctrain.optimizers import LBFGS, SGD, Adam, AdamW
from ctrain.schedules import InverseScaling, ReduceOnPlateau

SHAPES = [(), (7,), (50, 20), (16, 8, 4)]
ACTIVATIONS = ["identity", "logistic", "tanh", "relu"]


# ------------------------------------------------------------------------- predictions


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("n_targets", [1, 3])
@pytest.mark.parametrize("loss", ["squared_error", "poisson"])
def test_regressor_there_and_back(shape, activation, n_targets, loss):
    X, y = numbers(n_targets)
    new = 3.0 * numbers(seed=1)[0]
    mlp = theirs(MLPRegressor, X, y, hidden_layer_sizes=shape, activation=activation, loss=loss)
    reg = Regressor.from_sklearn(mlp)
    equal_weights(mlp, reg)
    equal_answers(mlp, reg, new)
    assert reg.out_activation_ == mlp.out_activation_
    assert (reg.n_layers_, reg.n_outputs_) == (mlp.n_layers_, mlp.n_outputs_)
    assert reg.score(X, y) == pytest.approx(mlp.score(X, y), abs=1e-12)
    back = reg.to_sklearn()
    equal_weights(mlp, back)
    np.testing.assert_array_equal(back.predict(new), mlp.predict(new))
    # and one of ours
    ours = Regressor(
        shape, activation, loss=loss, max_iter=3, random_state=0, learning_rate_init=0.02
    ).fit(X, y)  # fmt: skip
    equal_answers(ours.to_sklearn(), ours, new)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("kind", TARGETS)
def test_classifier_there_and_back(shape, activation, kind):
    X, y = labels(kind)
    new = 3.0 * labels(kind, seed=1)[0]
    mlp = theirs(MLPClassifier, X, y, hidden_layer_sizes=shape, activation=activation)
    clf = Classifier.from_sklearn(mlp)
    equal_weights(mlp, clf)
    equal_answers(mlp, clf, new)
    assert clf.out_activation_ == mlp.out_activation_
    assert (clf.n_layers_, clf.n_outputs_) == (mlp.n_layers_, mlp.n_outputs_)
    assert clf.score(X, y) == mlp.score(X, y)
    back = clf.to_sklearn()
    equal_weights(mlp, back)
    np.testing.assert_array_equal(back.predict_proba(new), mlp.predict_proba(new))
    np.testing.assert_array_equal(back.predict(new), mlp.predict(new))
    ours = Classifier(shape, activation, max_iter=3, random_state=0).fit(X, y)
    equal_answers(ours.to_sklearn(), ours, new)


@pytest.mark.parametrize("form", [scipy.sparse.csr_matrix, scipy.sparse.csr_array])
def test_sparse_rows(form):
    X, y = labels("classes")
    X[np.abs(X) < 0.7] = 0.0
    mlp = theirs(MLPClassifier, form(X), y)
    clf = Classifier.from_sklearn(mlp)
    equal_answers(mlp, clf, form(X))
    equal_answers(clf.to_sklearn(), clf, form(X))


@pytest.mark.parametrize("kind", ["numbers", *TARGETS])
def test_float32_stays(kind):
    X, y = numbers(2) if kind == "numbers" else labels(kind)
    X = X.astype(np.float32)
    theirs_, ours_ = (MLPRegressor, Regressor) if kind == "numbers" else (MLPClassifier, Classifier)
    mlp = theirs(theirs_, X, y)
    ours = ours_.from_sklearn(mlp)
    equal_weights(mlp, ours)
    single = {"rtol": 1e-5, "atol": 1e-6}
    equal_answers(mlp, ours, X, **single)
    assert ours.predict(X).dtype == mlp.predict(X).dtype
    back = ours.to_sklearn()
    equal_weights(mlp, back)
    equal_answers(mlp, back, X, rtol=0)


def test_names_of_columns_and_classes():
    X, y = labels("strings")
    frame = pd.DataFrame(X, columns=[f"x{k}" for k in range(5)])
    mlp = theirs(MLPClassifier, frame, y)
    clf = Classifier.from_sklearn(mlp)
    assert list(clf.feature_names_in_) == list(frame.columns)
    equal_answers(mlp, clf, frame)
    with pytest.raises(ValueError, match="feature names"):
        clf.predict(frame[frame.columns[::-1]])
    back = clf.to_sklearn()
    assert list(back.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        back.predict(frame[frame.columns[::-1]])
    equal_answers(mlp, back, frame)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        clf.predict(X)
    plain = Classifier.from_sklearn(theirs(MLPClassifier, X, y))
    assert not hasattr(plain, "feature_names_in_") and plain.n_features_in_ == 5
    assert not hasattr(plain.to_sklearn(), "feature_names_in_")


def test_weights_are_copies():
    X, y = numbers()
    mlp = theirs(MLPRegressor, X, y)
    before = mlp.predict(X)
    reg = Regressor.from_sklearn(mlp).set_params(warm_start=True)
    back = reg.to_sklearn()
    reg.fit(X, y)
    np.testing.assert_array_equal(mlp.predict(X), before)
    np.testing.assert_array_equal(back.predict(X), before)
    assert not np.array_equal(reg.predict(X), before)


@pytest.mark.parametrize("loss", ["huber", "absolute_error", Quantile(0.3), "mape", "poisson"])
def test_losses_that_predict_alike(loss):
    X, y = numbers()
    reg = Regressor((8,), loss=loss, max_iter=3, random_state=0).fit(X, y + 0.1)
    equal_answers(reg.to_sklearn(), reg, X)


def test_classifiers_that_predict_alike():
    X, y = labels("classes")
    clf = Classifier(
        (8,), ["sigmoid"], loss=LogLoss(0.1), class_weight="balanced", dropout=0.2, l1=1e-4,
        optimizer="rmsprop", max_iter=3, random_state=0,
    ).fit(X, y)  # fmt: skip
    mlp = clf.to_sklearn()
    assert mlp.activation == "logistic"
    equal_answers(mlp, clf, X)


# ------------------------------------------------------------------------- going on


def both(mlp, ours, X, y):
    """One more epoch on both sides, of all rows in their order."""
    mlp = fit_on(mlp.set_params(warm_start=True, max_iter=1, shuffle=False), X, y)
    ours.set_params(warm_start=True, max_iter=1, shuffle=False).fit(X, y)
    return mlp, ours


@pytest.mark.parametrize(
    "solver",
    [
        {"solver": "sgd", "learning_rate_init": 0.01},
        {"solver": "sgd", "momentum": 0.7, "nesterovs_momentum": False},
        {"solver": "sgd", "momentum": 0.0},
        # beside a large mean square the two ways of writing Adam's epsilon are the same
        {"solver": "adam", "epsilon": 1e-30, "beta_1": 0.8, "beta_2": 0.99},
    ],
)
@pytest.mark.parametrize("batch_size", ["auto", 16])
@pytest.mark.parametrize(
    "kind, loss",
    [("one", "squared_error"), ("three", "squared_error"), ("three", "poisson"),
     *((k, "log_loss") for k in TARGETS)],
)  # fmt: skip
def test_an_epoch_here_is_an_epoch_there(solver, batch_size, kind, loss):
    """Losses, penalty and steps have one scale, in both directions."""
    parameters = {"alpha": 0.3, "batch_size": batch_size, "hidden_layer_sizes": (6,), **solver}
    if loss == "log_loss":
        X, y = labels(kind)
        mlp = theirs(MLPClassifier, X, y, activation="tanh", **parameters)
        ours = Classifier.from_sklearn(mlp)
    else:
        X, y = numbers(3 if kind == "three" else 1)
        mlp = theirs(MLPRegressor, X, y, activation="tanh", loss=loss, **parameters)
        ours = Regressor.from_sklearn(mlp)
    back = ours.to_sklearn()
    assert back.get_params() == {
        **mlp.get_params(), "alpha": pytest.approx(0.3), "epsilon": pytest.approx(mlp.epsilon),
        "beta_1": back.beta_1, "beta_2": back.beta_2, "learning_rate_init": pytest.approx(
            mlp.learning_rate_init), "momentum": back.momentum,
        "nesterovs_momentum": back.nesterovs_momentum,
    }  # fmt: skip
    mlp, ours = both(mlp, ours, X, y)
    equal_weights(mlp, ours, rtol=1e-9, atol=1e-11)
    back, _ = both(back, clone(ours), X, y)
    equal_weights(mlp, back, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("kind", ["numbers", *TARGETS])
@pytest.mark.parametrize("stops", [False, True])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "lbfgs"])
def test_scikit_learns_is_whole(kind, stops, optimizer):
    """It pickles, clones, is fitted again, further and in parts."""
    X, y = numbers() if kind == "numbers" else labels(kind)
    ours = (Regressor if kind == "numbers" else Classifier)(
        (6,), optimizer=optimizer, early_stopping=stops, max_iter=4, warm_start=True,
        random_state=0,
    ).fit(X, y)  # fmt: skip
    mlp = ours.to_sklearn()
    assert mlp.n_iter_ == ours.n_iter_ and mlp.loss_curve_ == ours.loss_curve_
    assert mlp.t_ == 80 * ours.n_iter_ and mlp.early_stopping is stops
    equal_answers(pickle.loads(pickle.dumps(mlp)), ours, X)
    assert mlp.score(X, y) == pytest.approx(ours.score(X, y), abs=1e-12)
    fresh = fit_on(clone(mlp), X, y)
    assert fresh.score(X, y) == fit_on(clone(mlp), X, y).score(X, y)
    further = fit_on(pickle.loads(pickle.dumps(mlp)), X, y)
    if optimizer != "lbfgs":
        assert 1 <= further.n_iter_ <= 4
        assert len(further.loss_curve_) == ours.n_iter_ + further.n_iter_
    if stops and optimizer != "lbfgs":
        assert np.isfinite(further.best_validation_score_)
        with pytest.raises(ValueError, match="early_stopping"):
            mlp.partial_fit(X, y)
    elif optimizer != "lbfgs":
        before = mlp.coefs_[0].copy()
        mlp.partial_fit(X, y)
        assert not np.array_equal(mlp.coefs_[0], before)
        np.testing.assert_allclose(mlp.coefs_[0], before, atol=0.1)


@pytest.mark.parametrize("kind", ["numbers", *TARGETS])
def test_ours_is_whole(kind, tmp_path):
    X, y = numbers() if kind == "numbers" else labels(kind)
    if kind == "numbers":
        ours = Regressor.from_sklearn(theirs(MLPRegressor, X, y))
    else:
        ours = Classifier.from_sklearn(theirs(MLPClassifier, X, y))
    equal_answers(pickle.loads(pickle.dumps(ours)), ours, X, rtol=0)
    ours.save(tmp_path / "ours.npz")
    equal_answers(ctrain.load(tmp_path / "ours.npz"), ours, X, rtol=0)
    assert (ours.n_iter_, ours.t_, ours.loss_curve_, ours.loss_) == (0, 0, [], None)
    assert "<svg" not in ours._repr_html_()
    assert clone(ours).fit(X, y).n_iter_ == 3
    before = ours.coefs_[0].copy()
    ours.partial_fit(X, y)
    assert ours.n_iter_ == 1
    np.testing.assert_allclose(ours.coefs_[0], before, atol=0.01)
    assert ours.set_params(warm_start=True).fit(X, y).n_iter_ == 4
    if kind == "classes":
        with pytest.raises(ValueError, match="not among the classes of the training"):
            ours.partial_fit(X, y + 1)


def test_in_a_pipeline():
    X, y = numbers()
    there = make_pipeline(StandardScaler(), MLPRegressor(max_iter=3, random_state=0))
    here = clone(there).set_params(mlpregressor=Regressor())
    fit_on(there, X, y)
    here.steps[0] = there.steps[0]
    here.steps[1] = ("mlpregressor", Regressor.from_sklearn(there[-1]))
    equal_answers(there, here, X)


# ------------------------------------------------------------------------- parameters


def converted(**parameters):
    X, y = numbers(n=100)
    return Regressor.from_sklearn(theirs(MLPRegressor, X, y, **parameters))


def test_parameters_of_ours():
    reg = converted()
    assert isinstance(reg.optimizer, Adam) and not isinstance(reg.optimizer, AdamW)
    assert reg.optimizer.betas == (0.9, 0.999) and reg.optimizer.eps == pytest.approx(2e-8)
    assert (reg.schedule, reg.clip_norm, reg.early_stopping) == ("constant", None, False)
    assert reg.alpha == pytest.approx(2 * 1e-4 / 100)  # one batch of 100 rows
    assert (reg.verbose, reg.max_iter, reg.batch_size, reg.tol) == (0, 3, "auto", 1e-4)
    same = {
        "hidden_layer_sizes": (4, 3), "activation": "tanh", "batch_size": 20, "max_iter": 5,
        "shuffle": False, "random_state": 3, "tol": 0.5, "warm_start": True,
        "n_iter_no_change": 4, "learning_rate_init": 0.02,
    }  # fmt: skip
    reg = converted(**same)
    assert {name: getattr(reg, name) for name in same} == same
    assert reg.alpha == pytest.approx(2 * 1e-4 / 20)
    assert converted(hidden_layer_sizes=7).hidden_layer_sizes == (7,)
    assert converted(hidden_layer_sizes=[7, 2]).hidden_layer_sizes == (7, 2)
    stops = converted(early_stopping=True, validation_fraction=0.3)
    assert (stops.early_stopping, stops.validation_fraction) == (True, 0.3)
    assert stops.monitor == "r2"
    X, y = labels("two")
    assert Classifier.from_sklearn(theirs(MLPClassifier, X, y, early_stopping=True)).monitor == (
        "accuracy"
    )


def test_verbose_is_a_number(capsys):
    assert converted(verbose=True).verbose == 1
    capsys.readouterr()


def test_solvers():
    sgd = converted(solver="sgd", momentum=0.8)
    assert sgd.optimizer.get_params() == SGD(momentum=0.8, nesterov=True).get_params()
    assert sgd.learning_rate_init == pytest.approx(5e-4)  # our loss is twice theirs
    assert converted(solver="sgd", momentum=0.0).optimizer.get_params() == SGD().get_params()
    inverse = converted(solver="sgd", learning_rate="invscaling", power_t=0.3).schedule
    assert inverse.get_params() == InverseScaling(power_t=0.3).get_params()
    assert converted(solver="adam", learning_rate="invscaling").schedule == "constant"
    adaptive = converted(solver="sgd", learning_rate="adaptive", n_iter_no_change=2, tol=0.01)
    plateau = ReduceOnPlateau("loss", factor=0.2, patience=2, threshold=0.01, threshold_mode="abs")
    assert adaptive.schedule.get_params() == plateau.get_params()
    assert adaptive.n_iter_no_change == np.inf
    adaptive = converted(solver="sgd", learning_rate="adaptive", early_stopping=True)
    assert adaptive.schedule.monitor == "validation_r2" and adaptive.schedule.mode == "max"
    lbfgs = converted(solver="lbfgs", tol=1e-6, alpha=0.0, early_stopping=True)
    assert lbfgs.optimizer.get_params() == LBFGS(tol=1e-6).get_params()
    assert lbfgs.early_stopping is False and lbfgs.alpha == 0.0
    assert lbfgs.to_sklearn().solver == "lbfgs"
    with pytest.warns(UserWarning, match=r"set it to 0.002 / n_samples") as warned:
        assert converted(solver="lbfgs", alpha=1e-3).alpha == 0.0
    assert warned[0].filename == __file__


@pytest.mark.parametrize("stops", [False, True])
def test_adaptive_rates_fall_as_theirs(stops):
    """On a plateau, after as many epochs and by the same factor; and it does not end the fit."""
    X, y = np.zeros((50, 2)), np.zeros(50)  # nothing to learn from or for
    y[::2] = 1.0
    mlp = MLPRegressor(
        hidden_layer_sizes=(), solver="sgd", learning_rate="adaptive", n_iter_no_change=2,
        max_iter=13, learning_rate_init=1e-4, tol=1.0, early_stopping=stops, random_state=0,
    )  # fmt: skip
    mlp = fit_on(mlp, X, y)
    reg = clone(Regressor.from_sklearn(mlp)).fit(X, y)
    drops = np.flatnonzero(np.diff(reg.lr_curve_)) + 1
    assert len(reg.lr_curve_) == mlp.n_iter_ == 13
    assert reg.lr_curve_[-1] * 2 == pytest.approx(mlp._optimizer.learning_rate)
    assert list(drops) == [4, 7, 10]
    # theirs falls at the end of an epoch: the rate of the next one
    assert reg.lr_curve_[-1] == pytest.approx(0.5e-4 / 5**3)


def test_parameters_of_theirs():
    X, y = numbers(n=100)
    reg = Regressor(
        [5, 4], "tanh", optimizer=SGD(momentum=0.9, nesterov=True, weight_decay=0.01), alpha=0.02,
        schedule=InverseScaling(power_t=0.4), learning_rate_init=0.01, batch_size=10,
        accumulate_steps=2, max_iter=4, shuffle=False, tol=0.3, n_iter_no_change=7,
        validation_fraction=0.4, verbose=0, random_state=5,
    ).fit(X, y)  # fmt: skip
    mlp = reg.to_sklearn()
    assert isinstance(mlp, MLPRegressor)
    wanted = {
        "hidden_layer_sizes": (5, 4), "activation": "tanh", "solver": "sgd", "momentum": 0.9,
        "nesterovs_momentum": True, "learning_rate": "invscaling", "power_t": 0.4,
        "learning_rate_init": 0.02, "batch_size": 20, "max_iter": 4, "shuffle": False, "tol": 0.3,
        "n_iter_no_change": 7, "validation_fraction": 0.4, "verbose": False, "random_state": 5,
        "early_stopping": False, "warm_start": False,
    }  # fmt: skip
    assert {name: getattr(mlp, name) for name in wanted} == wanted
    assert mlp.alpha == pytest.approx((0.02 + 0.01) * 20 / 2)
    adam = Regressor(optimizer=Adam((0.8, 0.9), eps=1e-6), max_iter=2).fit(X, y).to_sklearn()
    assert (adam.solver, adam.beta_1, adam.beta_2, adam.epsilon) == ("adam", 0.8, 0.9, 5e-7)
    decoupled = Regressor(optimizer=AdamW(weight_decay=0.5), max_iter=2).fit(X, y).to_sklearn()
    assert (decoupled.solver, decoupled.alpha) == ("adam", 0.0)
    assert Regressor(optimizer=Adam(eps=0.0), max_iter=2).fit(X, y).to_sklearn().epsilon == 1e-8
    lbfgs = Regressor(optimizer=LBFGS(9, tol=0.1), alpha=0.01, max_iter=3).fit(X, y).to_sklearn()
    assert (lbfgs.solver, lbfgs.max_iter, lbfgs.tol) == ("lbfgs", 9, 0.1)
    assert lbfgs.alpha == pytest.approx(0.01 * 100 / 2)
    large = np.random.default_rng(0).normal(size=(1000, 2))
    auto = Regressor(max_iter=1).fit(large, large[:, 0])
    assert auto.to_sklearn().early_stopping is True
    assert Regressor(max_iter=1).fit(X, y).to_sklearn().early_stopping is False


def test_lbfgs_finds_the_same_minimum():
    """The same penalised problem, as a convex one: both solvers end where the gradient is zero."""
    X, y = labels("classes", n=200)
    clf = Classifier((), optimizer=LBFGS(tol=1e-8), alpha=0.01, max_iter=1000, random_state=0)
    clf.fit(X, y)
    mlp = clone(clf.to_sklearn()).set_params(random_state=1, max_fun=10**6).fit(X, y)
    # its solver also stops where the loss moves by less than 1e-9 of itself
    np.testing.assert_allclose(mlp.predict_proba(X), clf.predict_proba(X), atol=1e-3)


def test_the_global_generator_is_left_alone():
    X, y = labels("classes")
    clf = Classifier(max_iter=2, random_state=0).fit(X, y)
    before = check_random_state(None).get_state()[1].copy()
    clf.to_sklearn()
    np.testing.assert_array_equal(check_random_state(None).get_state()[1], before)


def test_the_fitted_network_counts(tmp_path):
    """Not what the parameters say by now; also of a file that holds no functions."""
    X, y = numbers()
    reg = Regressor(
        (7, 3), "tanh", optimizer=SGD(), schedule=lambda step: 0.01, max_iter=2, random_state=0
    ).fit(X, y)  # fmt: skip
    reg.save(tmp_path / "reg.npz")
    loaded = ctrain.load(tmp_path / "reg.npz").to_sklearn()
    assert (loaded.learning_rate, loaded.activation) == ("constant", "tanh")
    equal_answers(loaded, reg, X)
    reg.set_params(hidden_layer_sizes=5, activation="gelu", loss="poisson", max_iter=9)
    mlp = reg.to_sklearn()
    assert (mlp.hidden_layer_sizes, mlp.activation, mlp.max_iter) == ((7, 3), "tanh", 9)
    equal_answers(mlp, reg, X)
    reg.save(tmp_path / "reg.npz")
    assert [w.shape for w in ctrain.load(tmp_path / "reg.npz").coefs_] == [(5, 7), (7, 3), (3, 1)]


# ------------------------------------------------------------------------- what does not go


def test_not_fitted():
    with pytest.raises(NotFittedError):
        Regressor().to_sklearn()
    with pytest.raises(NotFittedError):
        Classifier().to_sklearn()
    with pytest.raises(NotFittedError):
        Regressor.from_sklearn(MLPRegressor())
    with pytest.raises(NotFittedError):
        Classifier.from_sklearn(MLPClassifier())


def test_the_wrong_class():
    X, y = labels("classes")
    mlp = theirs(MLPClassifier, X, y)
    with pytest.raises(
        TypeError, match=r"Regressor\.from_sklearn takes a fitted MLPRegressor; got M"
    ):
        Regressor.from_sklearn(mlp)
    with pytest.raises(
        TypeError, match=r"Classifier\.from_sklearn takes a fitted MLPClassifier; got P"
    ):
        Classifier.from_sklearn(make_pipeline(mlp))


def test_one_class():
    X, _ = labels("classes")
    mlp = theirs(MLPClassifier, X, np.ones(len(X)))
    with pytest.raises(ValueError, match="needs at least 2 classes; got 1 class"):
        Classifier.from_sklearn(mlp)


class SoftplusEnd(Loss):
    def record(self, tape, prediction, target):
        return tape.squared_error(self.link(tape, prediction), target)

    def link(self, tape, prediction):
        return tape.softplus(prediction)


class ShiftedExp(SoftplusEnd):
    def link(self, tape, prediction):
        return tape.exp(tape.add(prediction, 1.0))


@pytest.mark.parametrize(
    "parameters, message",
    [
        ({"activation": "gelu"}, "'gelu' has no counterpart"),
        ({"hidden_layer_sizes": (4, 3), "activation": ("relu", "silu")}, "'silu' has no counter"),
        (
            {"hidden_layer_sizes": (4, 3), "activation": ("relu", "tanh")},
            "one activation for all hidden layers; got relu, tanh",
        ),
        ({"model": MLP((4,))}, "dense layers only; model=MLP"),
        ({"loss": Quantile((0.1, 0.9))}, "one number for each target; loss=Quantile"),
        ({"loss": "log_loss"}, "loss='log_loss' ends it with sigmoid"),
        ({"loss": SoftplusEnd()}, "ends it with softplus"),
        ({"loss": ShiftedExp()}, "ends it with add, exp"),
    ],
)
def test_no_counterpart(parameters, message):
    X, y = numbers()
    reg = Regressor(**{"hidden_layer_sizes": (4,), "max_iter": 2, **parameters})
    reg.fit(X, y / y.max())
    with pytest.raises(ValueError, match=re.escape(message)):
        reg.to_sklearn()


def test_a_function_as_loss_ends_like_any_other():
    X, y = numbers()
    reg = Regressor(
        (4,), loss=lambda tape, p, t: tape.huber(p, t), max_iter=2, random_state=0
    ).fit(X, y)  # fmt: skip
    equal_answers(reg.to_sklearn(), reg, X)
    assert Regressor((), loss=Huber(), max_iter=1).fit(X, y).to_sklearn().activation == "identity"
