"""Labels: which kinds a classifier takes, what it says about the others, what they weigh."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from classes import focal, indicators, problem, quick
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.utils.class_weight import compute_class_weight
from small import same_bits

from ctrain.losses import LogLoss, Weighted

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


@pytest.mark.parametrize("class_weight", ["balanced", {0: 2.0, 1: 0.25, 2: 1.0}])
def test_class_weights_weigh_validation_rows(class_weight):
    """With the weights of training, also where other classes are frequent."""
    X, y = problem()
    Xv, yv = X[30:], np.roll(y, 1)[30:]
    assert (np.bincount(y) / 90 != np.bincount(yv) / 60).any()
    each = class_weight
    if each == "balanced":
        each = dict(enumerate(compute_class_weight("balanced", classes=np.arange(3), y=y)))
    rows, rows_v = np.vectorize(each.get)(y), np.vectorize(each.get)(yv)
    mine = quick(class_weight=class_weight, early_stopping=True).fit(X, y, X_val=Xv, y_val=yv)
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
