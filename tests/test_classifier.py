"""The classifier: what it learns, which labels it takes, what its probabilities are."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from classes import focal, indicators, problem, quick
from scipy.special import expit, softmax
from sklearn.base import clone
from sklearn.datasets import load_iris, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer, make_scorer
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from small import same_bits

from ctrain.losses import LogLoss, Loss, Weighted
from ctrain.optimizers import LBFGS, SGD

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
@pytest.mark.parametrize("classes", [2, 3])
def test_small_probabilities_keep_their_digits(classes, dtype):
    """Of the first class of two as well, whose 1 - p would be 0."""
    X = np.zeros((6, 1), dtype)
    fitted = quick(hidden_layer_sizes=()).fit(X, np.arange(6) % classes)
    z = np.array([40.0] if classes == 2 else [-80.0, 0.0, 3.0])
    fitted.intercepts_[0][:] = z
    p = fitted.predict_proba(X[:1])[0]
    exact = expit([-40.0, 40.0]) if classes == 2 else softmax(z)
    np.testing.assert_allclose(p, exact, rtol=16 * np.finfo(dtype).eps)
    log_p = fitted.predict_log_proba(X[:1])[0]
    np.testing.assert_allclose(log_p[0], np.log(exact[0]), rtol=4 * np.finfo(dtype).eps)


def test_probabilities_that_are_zero():
    X, y = problem()
    fitted = quick().fit(X, y)
    p, log_p = fitted.predict_proba(1e5 * X), fitted.predict_log_proba(1e5 * X)
    assert np.array_equal(np.isneginf(log_p), p == 0) and (p == 0).any()


def test_probabilities_of_labels():
    X, Y = indicators()
    fitted = quick().fit(X, Y)
    p = fitted.predict_proba(X)
    assert p.shape == Y.shape and fitted.n_outputs_ == 4 and fitted.out_activation_ == "logistic"
    assert np.array_equal(fitted.classes_, np.arange(4))
    assert np.array_equal(fitted.predict(X), p > 0.5) and fitted.predict(X).dtype == Y.dtype
    np.testing.assert_allclose(np.exp(fitted.predict_log_proba(X)), p, rtol=1e-14)


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
    "parameters, reason",
    [
        ({"class_weight": "balanced"}, "class_weight='balanced' needs all"),
        ({"optimizer": "lbfgs"}, "lbfgs"),
        ({"early_stopping": True}, "early_stopping=True"),
    ],
)
def test_partial_fit_needs_steps_and_all_weights(parameters, reason):
    X, y = problem()
    with pytest.raises(AttributeError) as caught:
        quick(**parameters).partial_fit(X, y, classes=[0, 1, 2])
    assert reason in str(caught.value.__cause__)


def test_warm_start_goes_on():
    X, y = problem()
    fitted = quick(warm_start=True, max_iter=2, schedule="constant").fit(X, y)
    fitted.set_params(max_iter=3).fit(X, y)
    whole = quick(max_iter=5, schedule="constant").fit(X, y)
    assert same_bits(fitted.predict_proba(X), whole.predict_proba(X))
    with pytest.raises(ValueError, match=r"warm_start needs the classes of the last fit, \[0, 1"):
        fitted.fit(X, y + 1)
    with pytest.raises(ValueError, match="warm_start needs the classes"):
        fitted.fit(*indicators(labels=3))
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
