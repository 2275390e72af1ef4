"""The classifier: what it learns, which labels it takes, what its probabilities are."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from scipy.special import expit, softmax
from sklearn.base import clone
from sklearn.datasets import load_iris, make_classification
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer, make_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.estimator_checks import estimator_checks_generator
from small import same_bits

from ctrain import Classifier
from ctrain.losses import LogLoss, Loss, Weighted
from ctrain.models import MLP
from ctrain.optimizers import LBFGS, SGD


def problem(n=90, classes=3, dtype=np.float64, seed=0):
    """Points on a spiral, in overlapping classes of different sizes."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    noisy = X[:, 0] + 0.7 * X[:, 1] ** 2 + 0.3 * rng.normal(size=n)
    y = np.digitize(noisy, np.quantile(noisy, np.linspace(0, 1, classes + 1)[1:-1] ** 0.7))
    return X.astype(dtype), y


def indicators(n=90, labels=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    return X, (X @ rng.normal(size=(4, labels)) + rng.normal(size=(n, labels)) > 0).astype(int)


def quick(**parameters):
    """A classifier whose fit takes a few milliseconds and whose batches do not divide 90 rows."""
    defaults = {"hidden_layer_sizes": (8,), "max_iter": 3, "batch_size": 16, "random_state": 0}
    return Classifier(**{**defaults, **parameters})


def focal(tape, prediction, target):
    """Rows that are predicted well count less; Lin et al., 2017, with gamma = 2."""
    cost = tape.log_loss(prediction, target)
    return tape.mul(tape.square(tape.sub(1.0, tape.exp(tape.mul(cost, -1.0)))), cost)


#: outside of the weight checks, as MLPClassifier is with these settings
UNWEIGHTED = ("check_sample_weight_equivalence_on_dense_data",
              "check_sample_weight_equivalence_on_sparse_data")  # fmt: skip
CONFIGURATIONS = [
    (Classifier(), True),
    (Classifier(optimizer="sgd", learning_rate_init=0.1), True),
    (Classifier(optimizer="adam"), True),
    (Classifier(optimizer="rmsprop"), True),
    (Classifier(optimizer="adagrad", learning_rate_init=0.05), True),
    (Classifier(optimizer="lbfgs", n_jobs=1), True),
    (Classifier(dtype="float32"), False),
    (Classifier(early_stopping=True), False),
    (Classifier(dropout=0.1), False),
    (Classifier(n_jobs=2), True),
    (Classifier(warm_start=True), True),
    (Classifier(class_weight="balanced"), True),
    (Classifier(loss=LogLoss(label_smoothing=0.1)), True),
    (Classifier(loss=focal, activation="tanh", schedule="constant"), True),
    (Classifier(model=MLP((20,), "gelu"), max_steps=200, accumulate_steps=2), True),
]


def scikit_learn_checks():
    for estimator, weighted in CONFIGURATIONS:
        for instance, check in estimator_checks_generator(estimator):
            name = getattr(check, "func", check).__name__
            if weighted or name not in UNWEIGHTED:
                changed = {k: v for k, v in vars(estimator).items()
                           if v is not getattr(Classifier(), k)}  # fmt: skip
                yield pytest.param(instance, check, id=f"{changed}-{name}")


@pytest.mark.parametrize("estimator, check", [*scikit_learn_checks()])
def test_scikit_learn_checks(estimator, check, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    check(estimator)


# ------------------------------------------------------------------------- what it learns


def targets(y, shape) -> np.ndarray:
    """What the network shall put out: (n, K) of 0 and 1, or (n, 1) for two classes."""
    return np.eye(3)[y] if shape == "classes" else y.reshape(len(y), -1).astype(float)


CASES = {
    "two classes": lambda: (*problem(classes=2), expit, 1.0),
    "classes": lambda: (*problem(classes=3), lambda z: softmax(z, axis=1), 1.0),
    "labels": lambda: (*indicators(), expit, 4.0),
}


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_gradient_is_the_closed_form(case, weighted, smoothing):
    """X' (p - t) / sum(w), weighted; over the number of labels, whose losses are averaged."""
    X, y, link, divisor = CASES[case]()
    t = targets(y, case)
    t = (1.0 - smoothing) * t + smoothing / max(2, t.shape[1] if case == "classes" else 2)
    w = np.random.default_rng(1).uniform(0.1, 2.0, len(X)) if weighted else np.ones(len(X))

    def after_a_step(rate):
        fitted = quick(
            hidden_layer_sizes=(), loss=LogLoss(smoothing), optimizer=SGD(), schedule="constant",
            learning_rate_init=rate, max_steps=1, batch_size=90, clip_norm=None,
        ).fit(X, y, sample_weight=w if weighted else None)  # fmt: skip
        return np.vstack([fitted.coefs_[0], fitted.intercepts_[0][None]])

    one, two = after_a_step(0.5), after_a_step(1.0)
    start, gradient = 2.0 * one - two, 2.0 * (one - two)
    ones = np.column_stack([X, np.ones(len(X))])
    p = link(ones @ start)
    expected = ones.T @ (w[:, None] * (p - t)) / w.sum() / divisor
    # the start is recovered with an error of some eps
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-14)


def curvature(X, y, weights, alpha, case):
    """Gradient and Hessian of the penalised loss, weights (d + 1, K) with the intercepts last."""
    n, k = len(X), weights.shape[1]
    ones = np.column_stack([X, np.ones(n)])
    z = ones @ weights
    p = expit(z) if k == 1 else softmax(z, axis=1)
    penalty = np.ones_like(weights)
    penalty[-1] = 0.0
    gradient = ones.T @ (p - targets(y, case)) / n + alpha * penalty * weights
    blocks = np.einsum("ik,kl->ikl", p, np.eye(k)) - p[:, :, None] * p[:, None, :]
    if k == 1:
        blocks = (p * (1.0 - p))[:, :, None]
    hessian = np.einsum("ia,ikl,ib->akbl", ones, blocks, ones).reshape(weights.size, -1) / n
    return gradient.ravel(), hessian + alpha * np.diag(penalty.ravel())


@pytest.mark.parametrize("case, classes", [("two classes", 2), ("classes", 3)])
def test_optimum_is_logistic_regression(case, classes):
    X, y = problem(classes=classes)
    strength = 0.5
    alpha = 1.0 / (strength * len(X))
    ours = quick(
        hidden_layer_sizes=(), optimizer=LBFGS(tol=1e-9), alpha=alpha, max_iter=1000
    ).fit(X, y)  # fmt: skip
    rival = LogisticRegression(C=strength, tol=1e-10, max_iter=10_000).fit(X, y)
    mine = np.vstack([ours.coefs_[0], ours.intercepts_[0][None]])
    theirs = np.vstack([rival.coef_.T, rival.intercept_[None]])
    # a constant on all intercepts changes nothing
    mine[-1] -= mine[-1].mean() if classes > 2 else 0.0
    theirs[-1] -= theirs[-1].mean() if classes > 2 else 0.0
    # how far a point is from the optimum follows from its gradient: |H^-1 g|
    tolerance = 0.0
    for weights in (mine, theirs):
        gradient, hessian = curvature(X, y, weights, alpha, case)
        tolerance += 2.0 * np.linalg.norm(np.linalg.pinv(hessian, rcond=1e-10) @ gradient)
    assert tolerance < 1e-5
    np.testing.assert_allclose(mine, theirs, rtol=0, atol=tolerance)
    np.testing.assert_allclose(ours.predict_proba(X), rival.predict_proba(X), atol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_optimum_with_label_smoothing(classes, smoothing):
    """Without features the best probabilities are (1 - s) share + s / K."""
    y = np.repeat(np.arange(classes), np.arange(2, classes + 2))
    share = np.bincount(y) / len(y)
    loss, tol = LogLoss(label_smoothing=smoothing), 1e-7
    fitted = quick(hidden_layer_sizes=(), loss=loss, optimizer=LBFGS(tol=tol), max_iter=500)
    p = fitted.fit(np.zeros((len(y), 1)), y).predict_proba(np.zeros((1, 1)))[0]
    # the gradient by an intercept is the difference
    np.testing.assert_allclose(p, (1.0 - smoothing) * share + smoothing / classes, atol=2 * tol)


def test_labels_are_learnt_each_for_itself():
    """A network without hidden layers from zero: the steps of four fits of two classes."""
    X, Y = indicators()

    def linear(tape, x):
        # as many columns as the target has
        weight = tape.parameter((4, linear.width), name="w", init="zeros")
        return tape.matmul(x, weight)

    def fit(y, width, rate):
        linear.width = width
        return quick(
            model=linear, optimizer=SGD(), schedule="constant", learning_rate_init=rate,
            max_iter=20, clip_norm=None,
        ).fit(X, y)  # fmt: skip

    together = fit(Y, 4, 2.0).predict_proba(X)  # the loss is the mean over the labels
    for k in range(4):
        alone = fit(Y[:, k], 1, 0.5).predict_proba(X)[:, 1]
        np.testing.assert_allclose(together[:, k], alone, rtol=1e-13)


def test_learns_what_is_not_linear():
    rng = np.random.default_rng(0)
    angle, ring = rng.uniform(0, 2 * np.pi, 600), np.repeat([0, 1, 2], 200)
    X = (1.0 + ring)[:, None] * np.column_stack([np.cos(angle), np.sin(angle)])
    X += 0.05 * rng.normal(size=X.shape)
    fitted = quick(hidden_layer_sizes=(32,), learning_rate_init=0.02, max_iter=40).fit(X, ring)
    assert fitted.score(X, ring) > 0.99
    linear = quick(hidden_layer_sizes=(), optimizer="lbfgs", max_iter=200).fit(X, ring)
    assert linear.score(X, ring) < 0.6


def test_labels_that_are_not_linear():
    X = np.random.default_rng(0).normal(size=(600, 2))
    Y = np.column_stack([X[:, 0] > 0, X.sum(axis=1) > 0, np.abs(X[:, 0]) > 1, X.prod(axis=1) > 0])
    fitted = quick(hidden_layer_sizes=(32,), learning_rate_init=0.02, max_iter=60).fit(X, Y)
    assert (fitted.predict(X) == Y).mean() > 0.95
    assert fitted.score(X, Y) == (fitted.predict(X) == Y).all(axis=1).mean()


# ------------------------------------------------------------------------- weights


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("class_weight", ["balanced", {0: 2.0, 1: 0.5}, {2: 3}, {0: 1, 1: 0, 2: 7}])
def test_class_weights_are_sample_weights(class_weight, weighted):
    X, y = problem()
    w = np.random.default_rng(1).uniform(0.1, 2.0, len(X)) if weighted else None
    if class_weight == "balanced":
        each = compute_class_weight("balanced", classes=np.arange(3), y=y, sample_weight=w)
    else:
        each = np.array([float(class_weight.get(k, 1.0)) for k in range(3)])
    with_classes = quick(class_weight=class_weight).fit(X, y, sample_weight=w)
    rows = each[y] if w is None else each[y] * w
    with_rows = quick().fit(X, y, sample_weight=rows)
    assert same_bits(with_classes._network.parameters.arena, with_rows._network.parameters.arena)
    plain = quick().fit(X, y, sample_weight=w)
    assert not same_bits(plain._network.parameters.arena, with_rows._network.parameters.arena)


def test_class_weights_of_strings():
    X, y = problem()
    names = np.array(["low", "middle", "top"])
    mine = quick(class_weight={"low": 3.0, "top": 2.0}).fit(X, names[y])
    other = quick(class_weight={0: 3.0, 2: 2.0}).fit(X, y)
    assert same_bits(mine.predict_proba(X), other.predict_proba(X))


def test_class_weights_weigh_validation_rows():
    X, y = problem()
    Xv, yv = problem(seed=5)
    each = {0: 2.0, 1: 0.25, 2: 1.0}
    rows, rows_v = np.vectorize(each.get)(y), np.vectorize(each.get)(yv)
    mine = quick(class_weight=each, early_stopping=True).fit(X, y, X_val=Xv, y_val=yv)
    other = quick(early_stopping=True).fit(X, y, rows, X_val=Xv, y_val=yv, sample_weight_val=rows_v)
    assert mine.validation_loss_curve_ == other.validation_loss_curve_


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 2.0}])
def test_a_weight_is_a_repetition(class_weight):
    X, y = problem()
    times = np.random.default_rng(3).integers(0, 4, len(X))
    whole = {"batch_size": 1000, "max_iter": 30, "class_weight": class_weight}
    weighted = quick(**whole).fit(X, y, sample_weight=times)
    repeated = quick(**whole).fit(np.repeat(X, times, axis=0), np.repeat(y, times))
    np.testing.assert_allclose(
        weighted.predict_proba(X), repeated.predict_proba(X), rtol=1e-10, atol=1e-12
    )


def test_balanced_without_a_row_of_some_class():
    """A class whose rows all weigh nothing is not counted."""
    X, y = problem()
    w = (y != 1).astype(float)
    each = compute_class_weight("balanced", classes=np.array([0, 2]), y=y[y != 1])
    mine = quick(class_weight="balanced").fit(X, y, sample_weight=w)
    other = quick(class_weight={0: each[0], 2: each[1]}).fit(X, y, sample_weight=w)
    assert same_bits(mine.predict_proba(X), other.predict_proba(X))


# ------------------------------------------------------------------------- probabilities


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("classes", [2, 3, 10])
def test_probabilities(classes, dtype):
    X, y = problem(200, classes, dtype)
    fitted = quick(learning_rate_init=0.05).fit(X, y)
    p = fitted.predict_proba(X)
    assert p.dtype == dtype and p.shape == (200, classes)
    assert (p >= 0).all() and (p <= 1).all()
    sums = p.astype(np.float64).sum(axis=1)
    np.testing.assert_allclose(sums, 1.0, rtol=0, atol=classes * np.finfo(dtype).eps)
    assert np.array_equal(fitted.predict(X), fitted.classes_[p.argmax(axis=1)])
    assert same_bits(p[7:8], fitted.predict_proba(X[7:8]))
    assert fitted.out_activation_ == ("softmax" if classes > 2 else "logistic")
    assert fitted.n_outputs_ == (classes if classes > 2 else 1)
    log_p = fitted.predict_log_proba(X)
    assert log_p.dtype == dtype and log_p.shape == p.shape
    np.testing.assert_allclose(np.exp(log_p), p, rtol=64 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("case", ["two classes", "classes", "labels"])
def test_log_probabilities_stay_finite(case, dtype):
    X, y = CASES[case]()[:2]
    fitted = quick().fit(X.astype(dtype), y)
    far = 1e4 * X.astype(dtype)
    p, log_p = fitted.predict_proba(far), fitted.predict_log_proba(far)
    assert (p == 0).any() and np.isfinite(log_p).all() and (log_p <= 0).all()
    np.testing.assert_allclose(np.exp(log_p), p, rtol=0, atol=1e-5)


def test_probabilities_of_labels():
    X, Y = indicators()
    fitted = quick().fit(X, Y)
    p = fitted.predict_proba(X)
    assert p.shape == Y.shape and fitted.n_outputs_ == 4 and fitted.out_activation_ == "logistic"
    assert np.array_equal(fitted.classes_, np.arange(4))
    assert np.array_equal(fitted.predict(X), p > 0.5) and fitted.predict(X).dtype == Y.dtype
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(X)), p, rtol=1e-14)


# ------------------------------------------------------------------------- labels


NAMES = {
    "negative": np.array([-7, -1, 30]),
    "bytes": np.array([0, 7, 255], np.uint8),
    "whole floats": np.array([-1.0, 0.0, 2.0]),
    "strings": np.array(["a", "bb", "ccc"]),
    "objects": np.array(["a", "bb", "ccc"], object),
    "numbers as objects": np.array([1, 5, 9], object),
}


@pytest.mark.parametrize("form", [np.asarray, list, pd.Series, lambda y: pd.Series(list(y))])
@pytest.mark.parametrize("names", NAMES)
def test_kinds_of_labels(names, form):
    X, y = problem()
    labels = NAMES[names]
    fitted = quick().fit(X, form(labels[y]))
    assert fitted.classes_.tolist() == labels.tolist()
    assert set(fitted.predict(X).tolist()) <= set(labels.tolist())
    assert same_bits(fitted.predict_proba(X), quick().fit(X, y).predict_proba(X))
    assert fitted.score(X, labels[y].tolist()) == np.mean(fitted.predict(X) == labels[y])


def test_categories_and_bools():
    X, y = problem()
    names = np.array(["x", "y", "z"])
    fitted = quick().fit(X, pd.Categorical(names[y], categories=["z", "y", "x"]))
    assert fitted.classes_.tolist() == ["x", "y", "z"]
    fitted = quick().fit(X, y > 0)
    assert fitted.predict(X).dtype == bool and fitted.classes_.tolist() == [False, True]


def test_column_of_labels():
    X, y = problem()
    with pytest.warns(DataConversionWarning, match="column-vector y was passed") as caught:
        fitted = quick().fit(X, y[:, None])
    assert caught[0].filename == __file__
    assert same_bits(fitted.predict(X), quick().fit(X, y).predict(X))


@pytest.mark.parametrize("dtype", [bool, np.int8, np.float32, object])
@pytest.mark.parametrize("form", [np.asarray, np.ndarray.tolist, pd.DataFrame])
def test_kinds_of_indicators(form, dtype):
    X, Y = indicators()
    fitted = quick().fit(X, form(Y.astype(dtype)))
    assert same_bits(fitted.predict_proba(X), quick().fit(X, Y).predict_proba(X))
    assert np.array_equal(fitted.predict(X), quick().fit(X, Y).predict(X))


@pytest.mark.parametrize("sparse", [scipy.sparse.csr_array, scipy.sparse.csc_matrix])
def test_sparse_data(sparse):
    X, Y = indicators()
    X = np.where(np.abs(X) > 0.5, X, 0.0)
    fitted = quick(metrics="accuracy", early_stopping=True).fit(
        sparse(X), sparse(Y), X_val=X, y_val=sparse(Y)
    )
    dense = quick(metrics="accuracy", early_stopping=True).fit(X, Y, X_val=X, y_val=Y)
    assert same_bits(fitted.predict_proba(sparse(X)), dense.predict_proba(X))
    assert fitted.history_["validation_accuracy"] == dense.history_["validation_accuracy"]


X, y = problem()
Y = indicators()[1]
BAD = [
    ({}, np.zeros(90, int), r"at least 2 classes; got 1 class, \[0\]"),
    ({}, np.full(90, "a"), r"at least 2 classes; got 1 class, \['a'\]"),
    ({}, X[:, 0], "Unknown label type: continuous. y holds"),
    ({}, np.where(y == 0, np.nan, y), "Input y contains NaN at row"),
    ({}, np.where(y == 0, np.inf, y), "Input y contains infinity at row"),
    ({}, np.where(y == 0, None, "a"), "labels of one type.* got NoneType, str"),
    ({}, np.array([1, "a"] * 45, object), "labels of one type.* got int, str"),
    ({}, None, "requires y to be passed"),
    ({}, y[:80], r"one row for each of the 90 rows of X; got shape \(80,\)"),
    ({}, 3, "y"),
    ({}, y + 1j, "Complex data not supported"),
    ({}, np.column_stack([y, y]), r"must be an indicator matrix.*row \d+, column 0 is 2"),
    ({}, np.column_stack([y, y]).astype(str), "must be an indicator matrix.*MultiLabelBinarizer"),
    ({}, np.zeros((90, 2, 2)), "y: Found array with dim 3"),
    ({"class_weight": "Balanced"}, y, "class_weight.*must be a dict.*Got 'Balanced'"),
    ({"class_weight": {0: -1.0}}, y, "finite and not negative"),
    ({"class_weight": {0: np.inf}}, y, "finite and not negative"),
    ({"class_weight": {0: "much"}}, y, "finite and not negative"),
    ({"class_weight": [1, 2, 3]}, y, "must be a dict"),
    ({"class_weight": {"0": 2.0}}, y, r"names \['0'\]; the classes are \[0, 1, 2\]"),
    ({"class_weight": {0: 0, 1: 0, 2: 0}}, y, "leave no row of a weight above 0"),
    ({"class_weight": "balanced"}, Y, "class_weight must be None for multi-label targets"),
    ({"loss": "huber"}, y, "loss of a Classifier must be 'log_loss'.*got 'huber'"),
    ({"loss": Weighted("mse", focal)}, y, "loss of a Classifier must be 'log_loss'"),
    ({"loss": "log_los"}, y, "did you mean 'log_loss'"),
    ({"loss": LogLoss(1.5)}, y, "label_smoothing"),
    ({"monitor": "no_such_score"}, y, "no_such_score"),
]


@pytest.mark.parametrize("parameters, labels, message", BAD, ids=lambda v: None)
def test_bad_data_and_parameters(parameters, labels, message):
    estimator = quick(**parameters)
    with pytest.raises(ValueError, match=f"(?s){message}"):
        estimator.fit(X, labels)
    with pytest.raises(NotFittedError):
        estimator.predict(X)


@pytest.mark.parametrize(
    "y_train, y_val, message",
    [
        (y, y + 1, r"y_val holds \[3\], not among the classes of the training, \[0, 1, 2\]"),
        (y, y.astype(str), r"y_val holds \['0', '1', '2'\], not among"),
        (y, Y, r"y_val must be labels of shape \(n_samples,\) as in training; got shape \(90, 4\)"),
        (Y, y, "y_val must be an indicator matrix of 4 columns as in training"),
        (Y, Y[:, :3], r"of 4 columns as in training; got shape \(90, 3\)"),
        (y, y[:50], "y_val must be labels, one row for each of the 90 rows of X_val"),
        (y, None, "y_val is missing"),
    ],
)
def test_bad_validation_labels(y_train, y_val, message):
    with pytest.raises(ValueError, match=message):
        quick().fit(X, y_train, X_val=X, y_val=y_val)


def test_validation_rows_may_lack_a_class():
    few = y != 1
    fitted = quick(early_stopping=True).fit(X, y, X_val=X[few], y_val=y[few])
    assert len(fitted.validation_loss_curve_) == 3


def test_refused_data_leave_the_estimator_as_it_was():
    fitted = quick().fit(X, y)
    before = fitted.predict_proba(X)
    with pytest.raises(ValueError, match="not among"):
        fitted.fit(X, y > 0, X_val=X, y_val=y)
    assert fitted.classes_.tolist() == [0, 1, 2]
    assert same_bits(fitted.predict_proba(X), before)


# ------------------------------------------------------------------------- during the fit


def test_split_keeps_the_shares_of_classes():
    X, _ = problem(1000)
    y = np.repeat(["rare", "often", "mostly"], [20, 180, 800])
    seen = {}

    def count(estimator, X, y):
        seen[len(y)] = dict(zip(*np.unique(y, return_counts=True), strict=True))
        return 0.0

    quick(metrics=count, max_iter=1).fit(X, y)  # 1,000 rows: early stopping is on
    assert seen == {
        800: {"rare": 16, "often": 144, "mostly": 640}, 200: {"rare": 4, "often": 36, "mostly": 160}
    }  # fmt: skip


def test_a_class_of_one_row_is_trained_on():
    X, _ = problem(100)
    y = np.array(["once"] + ["many"] * 99)
    seen = []
    quick(early_stopping=True, metrics=lambda e, X, y: float(seen.append(set(y)) is None)).fit(X, y)
    assert seen[0] == {"once", "many"} and seen[1] == {"many"}


@pytest.mark.parametrize(
    "classes, metric",
    [
        (2, "accuracy"), (2, "roc_auc"), (2, "neg_log_loss"), (2, "d2_log_loss_score"),
        (3, "balanced_accuracy"), (3, "roc_auc_ovr"), (3, "neg_log_loss"), (3, "f1_macro"),
        ("labels", "roc_auc"), ("labels", "f1_macro"), ("labels", "average_precision"),
    ],
)  # fmt: skip
def test_metrics_of_scikit_learn(classes, metric):
    if classes == "labels":
        (X, y), (Xv, yv) = indicators(), indicators(seed=9)
    else:
        names = np.array(["no", "perhaps", "yes"])
        X, y = problem(classes=classes)
        Xv, yv = problem(classes=classes, seed=9)
        y, yv = names[y], names[yv]
    fitted = quick(monitor=metric, early_stopping=True, max_iter=8, learning_rate_init=0.02)
    fitted.fit(X, y, X_val=Xv, y_val=yv)
    curve = fitted.history_[f"validation_{metric}"]
    assert len(curve) == 8 and np.ptp(curve) > 0
    assert fitted.best_epoch_ == 1 + np.argmax(curve)
    scorer = get_scorer(metric)
    # the weights are those of the best epoch
    assert scorer(fitted, Xv, yv) == max(curve) == fitted.best_validation_score_
    assert scorer(fitted, X, y) == fitted.history_[f"train_{metric}"][fitted.best_epoch_ - 1]
    if metric == "neg_log_loss":
        loss = -np.array(fitted.validation_loss_curve_)
        np.testing.assert_allclose(curve, loss, rtol=1e-12)


def test_own_scorer_and_weights():
    X, y = problem(classes=2)
    w = np.random.default_rng(0).uniform(size=len(X))

    def share(truth, predicted, sample_weight=None):
        return np.average(truth == predicted, weights=sample_weight)

    fitted = quick(metrics=[make_scorer(share), "accuracy"]).fit(X, y, sample_weight=w)
    history = fitted.history_
    np.testing.assert_allclose(history["train_share"], history["train_accuracy"], rtol=1e-14)
    assert history["train_share"][-1] == share(y, fitted.predict(X), w)


# ------------------------------------------------------------------------- own losses and models


@pytest.mark.parametrize(
    "case, logits, target",
    [("two classes", (1,), (1,)), ("classes", (1, 3), (1,)), ("labels", (4,), (4,))],
)
def test_own_loss_sees_logits_and_class_indices(case, logits, target):
    X, y = CASES[case]()[:2]
    seen = set()

    def own(tape, prediction, t):
        seen.add((prediction.shape, t.shape))
        loss = LogLoss().record(tape, prediction, t)
        return tape.mul(loss, 1.0)

    fitted = quick(loss=own).fit(X, y)
    assert seen == {(logits, target)}
    np.testing.assert_allclose(
        fitted.predict_proba(X), quick().fit(X, y).predict_proba(X), rtol=1e-12
    )


def test_own_loss_object():
    class Scaled(Loss):
        def __init__(self, factor=1.0):
            self.factor = factor

        def record(self, tape, prediction, target):
            return tape.mul(tape.log_loss(prediction, target), self.factor)

    X, y = problem()
    fitted = quick(loss=Scaled(4.0), clip_norm=None).fit(X, y)
    np.testing.assert_allclose(
        fitted.loss_curve_[0], 4.0 * quick(clip_norm=None).fit(X, y).loss_curve_[0], rtol=0.05
    )
    search = GridSearchCV(fitted, {"loss__factor": [0.5, 2.0]}, cv=2).fit(X, y)
    assert search.best_params_["loss__factor"] in (0.5, 2.0)


def test_loss_weighted_by_class():
    """Weighted by a function of the class index: as class_weight."""
    X, y = problem()

    def third_counts(tape, target):
        return tape.add(1.0, tape.mul(4.0, tape.relu(tape.sub(tape.mean(target), 1.0))))

    mine = quick(loss=Weighted("log_loss", third_counts)).fit(X, y).predict_proba(X)
    other = quick(class_weight={2: 5.0}).fit(X, y).predict_proba(X)
    np.testing.assert_allclose(mine, other, rtol=1e-11)


def test_focal_loss_learns():
    X, y = load_iris(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    fitted = quick(loss=focal, max_iter=100, learning_rate_init=0.02).fit(X, y)
    assert fitted.score(X, y) > 0.95


def test_own_model():
    X, y = problem()

    def model(tape, x):
        hidden = tape.tanh(tape.matmul(x, tape.parameter((4, 8), name="a")))
        return tape.matmul(hidden, tape.parameter((8, 3), name="b"))

    fitted = quick(model=model).fit(X, y)
    assert fitted.predict_proba(X).shape == (90, 3) and fitted.coefs_ is None
    with pytest.raises(ValueError, match=r"prediction must have shape \(1,\)"):
        quick(model=model).fit(X, y > 0)


# ------------------------------------------------------------------------- going on


def test_partial_fit_is_an_epoch():
    X, y = problem()
    steps = quick(schedule="constant")
    for _ in range(3):
        steps.partial_fit(X, y, classes=[0, 1, 2])
    whole = quick(schedule="constant").fit(X, y)
    assert same_bits(steps.predict_proba(X), whole.predict_proba(X))


def test_partial_fit_of_parts():
    X, y = problem()
    names = np.array(["a", "b", "c"])
    fitted = quick()
    for part in (y == 0, y == 2, y == 1):  # one class at a time
        fitted.partial_fit(X[part], names[y[part]], classes=["c", "b", "a"])
        assert fitted.classes_.tolist() == ["a", "b", "c"]
        assert fitted.predict_proba(X).shape == (90, 3)
    assert fitted.n_iter_ == 3


def test_partial_fit_of_labels():
    X, Y = indicators()
    fitted = quick(schedule="constant").partial_fit(X, Y)
    fitted.partial_fit(X, Y, classes=range(4)).partial_fit(X, np.zeros_like(Y))
    two = quick(schedule="constant", max_iter=2).fit(X, Y).partial_fit(X, np.zeros_like(Y))
    assert same_bits(fitted.predict_proba(X), two.predict_proba(X))


def test_partial_fit_weights():
    X, y = problem()
    weighted = quick(class_weight={0: 2.0}).partial_fit(X, y, classes=[0, 1, 2])
    rows = quick().partial_fit(X, y, [0, 1, 2], np.where(y == 0, 2.0, 1.0))
    assert same_bits(weighted.predict_proba(X), rows.predict_proba(X))


@pytest.mark.parametrize(
    "first, then, message",
    [
        (None, (X, y), "classes must be passed on the first call to partial_fit"),
        (None, (X, y, [1, 2]), r"y holds \[0\], not among the classes of the training, \[1, 2\]"),
        (None, (X, y * 0, [0]), "at least 2 classes; got 1 class"),
        (None, (X, Y, [5, 6, 7, 8]), r"classes must be \[0, 1, 2, 3\].*got \[5, 6, 7, 8\]"),
        ((X, y, [0, 1, 2]), (X, y + 1), r"y holds \[3\], not among the classes"),
        ((X, y, [0, 1, 2]), (X, y, [0, 1]), r"classes must be \[0, 1, 2\].*got \[0, 1\]"),
        ((X, y, [0, 1, 2]), (X[:, :3], y), "X has 3 features"),
        ((X, y, [0, 1, 2]), (X, Y), r"y must be labels of shape \(n_samples,\) as in training"),
        ((X, Y), (X, Y[:, :2]), r"indicator matrix of 4 columns as in training"),
        ((X, Y), (X, y), "indicator matrix of 4 columns as in training"),
    ],
)
def test_partial_fit_refuses_new_classes_and_widths(first, then, message):
    fitted = quick()
    before = None if first is None else fitted.partial_fit(*first).predict_proba(X)
    with pytest.raises(ValueError, match=message):
        fitted.partial_fit(*then)
    if before is not None:
        assert same_bits(fitted.predict_proba(X), before)


def test_partial_fit_needs_steps_and_all_weights():
    with pytest.raises(ValueError, match="'balanced' needs all rows"):
        quick(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(AttributeError) as caught:
        quick(optimizer="lbfgs").partial_fit(X, y, classes=[0, 1, 2])
    assert "lbfgs" in str(caught.value.__cause__)


def test_warm_start_goes_on():
    X, y = problem()
    fitted = quick(warm_start=True, max_iter=2, schedule="constant").fit(X, y)
    fitted.set_params(max_iter=3).fit(X, y)
    whole = quick(max_iter=5, schedule="constant").fit(X, y)
    assert same_bits(fitted.predict_proba(X), whole.predict_proba(X))
    with pytest.raises(ValueError, match=r"warm_start needs the classes of the last fit, \[0, 1"):
        fitted.fit(X, y + 1)
    with pytest.raises(ValueError, match="warm_start needs the classes"):
        fitted.fit(X, Y)
    assert fitted.set_params(warm_start=False).fit(X, y + 1).classes_.tolist() == [1, 2, 3]


def test_copies_predict_the_same():
    X, y = problem()
    fitted = quick().fit(X, np.array(["a", "b", "c"])[y])
    again = pickle.loads(pickle.dumps(fitted))
    assert same_bits(again.predict_proba(X), fitted.predict_proba(X))
    assert same_bits(again.predict_log_proba(X), fitted.predict_log_proba(X))
    assert same_bits(again.predict(X), fitted.predict(X))
    anew = clone(fitted).fit(X, np.array(["a", "b", "c"])[y])
    assert same_bits(anew.predict_proba(X), fitted.predict_proba(X))


def test_one_thread_or_two():
    X, y = make_classification(2000, 20, n_informative=8, n_classes=4, random_state=0)
    one, two = (
        quick(hidden_layer_sizes=(64, 64), batch_size=512, n_jobs=k).fit(X, y).predict_proba(X)
        for k in (1, 2)
    )
    assert same_bits(one, two)


def test_search():
    X, y = load_iris(return_X_y=True)
    names = np.array(["setosa", "versicolor", "virginica"])
    search = GridSearchCV(
        make_pipeline(StandardScaler(), quick(learning_rate_init=0.02, max_iter=30)),
        {"classifier__class_weight": [None, "balanced"],
         "classifier__hidden_layer_sizes": [(), 16]},
        scoring="roc_auc_ovr", cv=3,
    ).fit(X, names[y])  # fmt: skip
    assert search.best_score_ > 0.95
    assert search.predict(X[:1]) == ["setosa"]
