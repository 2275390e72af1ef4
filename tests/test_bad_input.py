"""Bad input is refused before any work, by an error that names argument, rule, value and place."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from ctrain import Regressor, training
from ctrain.losses import Weighted
from ctrain.models import LSTM

N, WIDTH = 12, 3


def good():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(N, WIDTH))
    return {"X": X, "y": X[:, 0] + 1.0}


def put(array, at, value):
    array = array.astype(object if isinstance(value, (str, dict)) else array.dtype)
    array[at] = value
    return array


@pytest.fixture
def no_work(monkeypatch):
    """Fail where training begins."""

    def begin(*_, **__):
        raise AssertionError("training began")

    monkeypatch.setattr(training, "fit", begin)


X, Y = good().values()
W = np.ones(N)
NAN, INF = np.nan, np.inf

# what fit gets instead of the good data, what the message must say, and what is no ValueError
DATA = {
    "NaN in X": ({"X": put(X, (5, 2), NAN)}, r"Input X contains NaN at row 5, column 2"),
    "infinity in X": ({"X": put(X, (3, 0), INF)}, r"X contains infinity at row 3, column 0"),
    "-infinity in X": ({"X": put(X, (0, 1), -INF)}, r"X .*infinity at row 0, column 1"),
    "the first of two": (
        {"X": put(put(X, (9, 0), INF), (7, 1), NAN)},
        r"NaN at row 7, column 1",
    ),
    "NaN in X, Fortran order": (
        {"X": np.asfortranarray(put(put(X, (8, 0), NAN), (6, 2), NAN))},
        "row 6, column 2",
    ),
    "NaN in CSR": (
        {"X": scipy.sparse.csr_array(put(np.where(X > 0, X, 0), (4, 2), NAN))},
        r"X contains NaN at row 4, column 2",
    ),
    "NaN in a frame": (
        {"X": pd.DataFrame(put(X, (2, 1), NAN))},
        r"X contains NaN at row 2, column 1",
    ),
    "NaN in float32 X": (
        {"X": put(X.astype("f4"), (2, 1), NAN)},
        r"X contains NaN at row 2, column 1",
    ),
    "None in X": ({"X": [[1.0, None, 2.0]] * N}, r"X contains NaN at row 0, column 1"),
    "word in X": (
        {"X": put(X, (4, 1), "low")},
        r"X must hold numbers; row 4, column 1 is 'low'",
    ),
    "words in a frame": (
        {"X": pd.DataFrame({"a": [1.0] * N, "b": ["x"] * N})},
        "row 0, column 1 is 'x'",
    ),
    "dict in X": (
        {"X": put(X, (0, 0), {})},
        r"X must hold numbers; row 0, column 0 is {}",
        TypeError,
    ),
    "complex X": ({"X": X + 1j}, r"X: Complex data not supported"),
    "one axis": ({"X": X[:, 0]}, r"X: Expected 2D array, got 1D array.*Reshape your data"),
    "three axes": ({"X": X[None]}, r"X: Found array with dim 3"),
    "a number": ({"X": 3.0}, r"X: Expected 2D array, got scalar"),
    "ragged rows": ({"X": [[1.0], [1.0, 2.0]]}, r"X: .*inhomogeneous"),
    "no rows": ({"X": X[:0], "y": Y[:0]}, r"X: Found array with 0 sample\(s\)"),
    "no columns": ({"X": X[:, :0]}, r"X: Found array with 0 feature\(s\)"),
    "no X": ({"X": None}, r"X: Expected 2D array, got scalar array"),
    "NaN in y": ({"y": put(Y, 7, NAN)}, r"Input y contains NaN at row 7\."),
    "infinity in y": ({"y": put(Y, 7, INF)}, r"Input y contains infinity at row 7\."),
    "NaN in two targets": (
        {"y": put(np.stack([Y, Y], 1), (4, 1), NAN)},
        r"y contains NaN at row 4, column 1",
    ),
    "word in y": ({"y": put(Y, 3, "high")}, r"y must hold numbers; row 3 is 'high'"),
    "words as y": ({"y": np.array(["a"] * N)}, r"y must hold numbers; row 0 is .*'a'"),
    "complex y": ({"y": Y + 0j}, r"y: Complex data not supported"),
    "no y": ({"y": None}, r"requires y to be passed, but the target y is None"),
    "y too short": (
        {"y": Y[:-1]},
        r"y must have one row for each of the 12 rows of X; got shape \(11,\)",
    ),
    "y of three axes": ({"y": Y.reshape(N, 1, 1)}, r"y: Found array with dim 3"),
    "y a number": (
        {"y": 1.0},
        r"y must have one row for each of the 12 rows of X; got shape \(\)",
    ),
    "sparse y": (
        {"y": scipy.sparse.csr_array(Y[:, None])},
        r"y: Sparse data was passed",
        TypeError,
    ),
    "y without columns": ({"y": np.ones((N, 0))}, r"y: Found array with 0 feature"),
    "y too large for float32": (
        {"X": X.astype("f4"), "y": put(Y, 2, 1e300)},
        r"y contains 1e\+300 at row 2, too large for float32; scale it or set dtype='float64'",
    ),
    "NaN weight": (
        {"sample_weight": put(W, 6, NAN)},
        r"sample_weight contains NaN at row 6",
    ),
    "infinite weight": (
        {"sample_weight": put(W, 6, INF)},
        r"sample_weight contains infinity at row 6",
    ),
    "negative weight": (
        {"sample_weight": put(W, 6, -0.5)},
        r"sample_weight must not be negative; row 6 is -0\.5",
    ),
    "zero weights": (
        {"sample_weight": 0 * W},
        r"sample_weight must hold at least one weight above 0",
    ),
    "weights that vanish in float32": (
        {"X": X.astype("f4"), "sample_weight": 1e-300 * W},
        r"at least one weight above 0",
    ),
    "too many weights": (
        {"sample_weight": np.ones(N + 1)},
        r"sample_weight must have shape \(12,\).*\(13,\)",
    ),
    "weights of two axes": (
        {"sample_weight": np.ones((N, 1))},
        r"sample_weight must have shape \(12,\)",
    ),
    "complex weights": ({"sample_weight": W + 1j}, r"sample_weight: Complex data"),
    "word as weight": (
        {"sample_weight": put(W, 2, "much")},
        r"sample_weight must hold numbers; row 2 is 'much'",
    ),
    "negative number as weight": ({"sample_weight": -1.0}, r"not be negative; row 0 is -1"),
    "X_val alone": ({"X_val": X}, r"X_val and y_val go together; y_val is missing"),
    "y_val alone": ({"y_val": Y}, r"X_val and y_val go together; X_val is missing"),
    "empty X_val": (
        {"X_val": X[:0], "y_val": Y[:0]},
        r"X_val: Found array with 0 sample\(s\) \(shape=\(0, 3\)\)",
    ),
    "sample_weight_val alone": (
        {"sample_weight_val": W},
        r"sample_weight_val needs X_val and y_val",
    ),
    "sample_weight_val too short": (
        {"X_val": X, "y_val": Y, "sample_weight_val": W[:3]},
        r"sample_weight_val must have shape \(12,\).*X_val; got \(3,\)",
    ),
    "no sample_weight_val above 0": (
        {"X_val": X, "y_val": Y, "sample_weight_val": 0 * W},
        r"sample_weight_val must hold at least one weight above 0",
    ),
    "negative sample_weight_val": (
        {"X_val": X, "y_val": Y, "sample_weight_val": put(W, 6, -0.5)},
        r"sample_weight_val must not be negative; row 6 is -0\.5",
    ),
    "X_val too narrow": (
        {"X_val": X[:, :2], "y_val": Y},
        r"X_val: X has 2 features, .* expecting 3 features",
    ),
    "X_val of one axis": ({"X_val": Y, "y_val": Y}, r"X_val: Expected 2D array"),
    "X_val empty": ({"X_val": X[:0], "y_val": Y[:0]}, r"X_val: Found array with 0 sample"),
    "NaN in X_val": (
        {"X_val": put(X, (1, 1), NAN), "y_val": Y},
        r"X_val contains NaN at row 1, column 1",
    ),
    "word in X_val": (
        {"X_val": put(X, (1, 1), "?"), "y_val": Y},
        r"X_val must hold numbers; row 1, column 1",
    ),
    "NaN in y_val": ({"X_val": X, "y_val": put(Y, 1, NAN)}, r"y_val contains NaN at row 1"),
    "y_val too short": (
        {"X_val": X, "y_val": Y[:3]},
        r"y_val must have one row for each of the 12 rows of X_val; got shape \(3,\)",
    ),
    "y_val of two targets": (
        {"X_val": X, "y_val": np.stack([Y, Y], 1)},
        r"y_val must have as many targets as y, 1; got 2",
    ),
    "names of X_val": (
        {
            "X": pd.DataFrame(X, columns=list("abc")),
            "X_val": pd.DataFrame(X, columns=list("abd")),
            "y_val": Y,
        },
        r"X_val: The feature names should match",
    ),
}


@pytest.mark.parametrize("case", DATA)
def test_data(case, no_work):
    bad, message, *error = DATA[case]
    arguments = {**good(), **bad}
    with pytest.raises(error[0] if error else ValueError, match=re.compile(message, re.S)):
        Regressor((4,)).fit(**arguments)


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_last_of_many_rows(order, no_work):
    many = np.asarray(np.zeros((300_000, 2)), order=order)
    many[-1, 1] = NAN
    with pytest.raises(ValueError, match="NaN at row 299999, column 1"):
        Regressor().fit(many, np.zeros(len(many)))


def test_a_step_of_a_sequence(no_work):
    sequences = put(np.zeros((N, 5, 2)), (7, 4, 1), NAN)
    with pytest.raises(ValueError, match="NaN at row 7, step 4, feature 1"):
        Regressor(model=LSTM(3)).fit(sequences, Y)
    with pytest.raises(ValueError, match=r"NaN at row 7 at \(4, 1, 0\)"):
        Regressor(model=LSTM(3)).fit(sequences[..., None], Y)


def test_good_data_pass(no_work):
    with pytest.raises(AssertionError, match="training began"):
        Regressor((4,)).fit(**good(), sample_weight=W, X_val=X, y_val=Y)


def of_predict(X, **parameters):
    return Regressor((4,), max_iter=1, **parameters).fit(**good()).predict(X)


PREDICT = {
    "NaN": (put(X, (5, 2), NAN), r"Input X contains NaN at row 5, column 2"),
    "NaN in one row": (put(X, (0, 2), NAN)[:1], r"X contains NaN at row 0, column 2"),
    "infinity": (put(X, (11, 0), -INF), r"X contains infinity at row 11, column 0"),
    "NaN in float32": (put(X.astype("f4"), (5, 2), NAN), r"X contains NaN at row 5, column 2"),
    "NaN in Fortran order": (np.asfortranarray(put(X, (5, 2), NAN)), r"NaN at row 5, column 2"),
    "NaN in CSR": (scipy.sparse.csr_array(put(X, (5, 2), NAN)), r"NaN at row 5, column 2"),
    "NaN in a list": (put(X, (5, 2), NAN).tolist(), r"NaN at row 5, column 2"),
    "too wide": (np.ones((2, 4)), r"X: X has 4 features, but Regressor is expecting 3 features"),
    "one axis": (X[0], r"X: Expected 2D array, got 1D array"),
    "three axes": (X[None], r"X: Found array with dim 3"),
    "no rows": (X[:0], r"X: Found array with 0 sample"),
    "word": (put(X, (2, 2), "a"), r"X must hold numbers; row 2, column 2 is 'a'"),
    "complex": (X + 1j, r"X: Complex data not supported"),
}


@pytest.mark.parametrize("case", PREDICT)
def test_predict(case):
    data, message = PREDICT[case]
    with pytest.raises(ValueError, match=message):
        of_predict(data)


@pytest.mark.parametrize("row", [0, 1, 4095, 29_999])
def test_predict_names_the_first_bad_row_of_many(row):
    data = np.zeros((30_000, WIDTH))
    data[row, 1] = NAN
    data[-1, 0] = NAN
    column = 0 if row == len(data) - 1 else 1
    with pytest.raises(ValueError, match=rf"X contains NaN at row {row}, column {column}\."):
        of_predict(data)


def test_values_too_large_for_float32():
    message = r"X contains 1e\+39 at row 2, column 1, too large for float32"
    with pytest.raises(ValueError, match=message):
        of_predict(put(X, (2, 1), 1e39), dtype="float32")
    with pytest.raises(ValueError, match=message):
        Regressor(dtype="float32").fit(put(X, (2, 1), 1e39), Y)


def test_losses_with_a_domain(no_work):
    counts = np.abs(Y)
    two = np.stack([counts, counts], 1)
    cases = [
        ("poisson", put(put(counts, 9, -3), 4, -1), r"loss='poisson' needs y >= 0; row 4 is -1"),
        ("poisson", put(two, (4, 1), -2.0), r"needs y >= 0; row 4, column 1 is -2"),
        ("log_loss", put(0 * Y, 3, 1.5), r"probabilities, y in \[0, 1\]; row 3 is 1\.5"),
        ("log_loss", put(0 * two, (3, 1), -0.5), r", y in \[0, 1\]; row 3, column 1 is -0\.5"),
        (Weighted("poisson", lambda t, y: y), -counts, r"loss='poisson' needs y >= 0"),
    ]
    for loss, y, message in cases:
        with pytest.raises(ValueError, match=message):
            Regressor((4,), loss=loss).fit(X, y)
        with pytest.raises(ValueError, match=message.replace(" y ", " y_val ")):
            Regressor((4,), loss=loss).fit(X, np.zeros_like(y), X_val=X, y_val=y)


@pytest.mark.parametrize("use, rows", [("train", slice(0, 9)), ("validate", slice(9, 12))])
def test_a_split_without_weight(use, rows, no_work):
    weight = W.copy()
    weight[rows] = 0.0
    with pytest.raises(ValueError, match=f"leaves only rows of sample_weight 0 to {use} on"):
        Regressor(early_stopping=True, validation_fraction=0.25, shuffle=False).fit(
            **good(), sample_weight=weight
        )
