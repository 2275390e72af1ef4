"""The regressor: what it learns, what it takes, what it gives back."""

from __future__ import annotations

import pickle
import re
import sys
import threading

import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.exceptions import DataConversionWarning, NotFittedError
from sklearn.metrics import mean_squared_error
from small import problem, same_bits, small

from ctrain import Regressor
from ctrain.losses import Quantile
from ctrain.optimizers import SGD, AdamW

# ------------------------------------------------------------------------- what it learns


@pytest.mark.parametrize(
    "optimizer, rate",
    [
        ("lbfgs", 1e-3),
        ("sgd", 0.1),
        (SGD(momentum=0.9), 0.02),
        ("adam", 0.03),
        (AdamW(weight_decay=0.0), 0.03),
        ("rmsprop", 0.03),
        ("adagrad", 1.0),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_linear_regression(optimizer, rate, dtype):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(400, 6))
    y = X @ rng.normal(size=6) + 2.0
    fitted = Regressor(
        (), optimizer=optimizer, schedule=lambda step: rate * 0.995**step, max_iter=200,
        clip_norm=None, batch_size=50, dtype=dtype, random_state=0,
    ).fit(X, y)  # fmt: skip
    assert 1.0 - fitted.score(X, y) < 1e-6


@pytest.mark.parametrize("loss", ["squared_error", "log_loss", "huber"])
@pytest.mark.parametrize("optimizer, rate", [("adam", 0.05), ("lbfgs", 1.0)])
def test_xor(loss, optimizer, rate):
    X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    y = np.array([0.0, 1.0, 1.0, 0.0])
    fitted = Regressor(
        (16,), "tanh", loss=loss, optimizer=optimizer, learning_rate_init=rate, max_iter=300,
        random_state=0,
    ).fit(X, y)  # fmt: skip
    assert np.array_equal(fitted.predict(X) > 0.5, y == 1.0)


@pytest.mark.parametrize(
    "optimizer, rate", [("adamw", 5e-3), ("adam", 5e-3), (SGD(momentum=0.9), 0.05), ("lbfgs", 1.0)]
)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sine(optimizer, rate, dtype):
    x = np.linspace(-3.0, 3.0, 400)[:, None]
    y = np.sin(2.0 * x[:, 0])
    fitted = Regressor(
        (32, 32), "tanh", optimizer=optimizer, learning_rate_init=rate, max_iter=300,
        batch_size=32, dtype=dtype, n_jobs=1, random_state=0,
    ).fit(x, y)  # fmt: skip
    assert mean_squared_error(y, fitted.predict(x)) < 0.01


def test_several_targets_are_learnt_each():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(300, 3))
    Y = np.stack([X[:, 0] + 1.0, -2.0 * X[:, 1], X[:, 2] - X[:, 0]], axis=1)
    fitted = Regressor((), optimizer="lbfgs").fit(X, Y)
    assert fitted.n_outputs_ == 3
    np.testing.assert_allclose(fitted.predict(X), Y, atol=1e-4)


def test_quantiles_cover_their_share():
    rng = np.random.default_rng(3)
    X = rng.uniform(size=(4000, 1))
    y = X[:, 0] + rng.normal(size=4000)
    levels = (0.1, 0.5, 0.9)
    fitted = Regressor(
        (), loss=Quantile(levels), learning_rate_init=0.02, max_iter=60, random_state=0
    ).fit(X, y)
    answer = fitted.predict(X)
    assert answer.shape == (4000, 3)
    np.testing.assert_allclose((y[:, None] <= answer).mean(axis=0), levels, atol=0.03)
    with pytest.raises(ValueError, match="score: R2 needs one prediction for each target"):
        fitted.score(X, y)


@pytest.mark.parametrize(
    "targets, levels, shape",
    [
        (None, 0.5, (7,)),
        (1, (0.1, 0.9), (7, 2)),
        (None, (0.1, 0.5, 0.9), (7, 3)),
        (2, 0.3, (7, 2)),
        (2, (0.1, 0.9), (7, 2, 2)),
    ],
)
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.DataConversionWarning")
def test_shape_of_predictions(targets, levels, shape):
    X, y = problem(7)
    Y = y if targets is None else np.tile(y[:, None], (1, targets))
    assert small(loss=Quantile(levels)).fit(X, Y).predict(X).shape == shape


# ------------------------------------------------------------------------- what it takes


def variants(X, tmp_path):
    mapped = np.lib.format.open_memmap(tmp_path / "X.npy", "w+", X.dtype, X.shape)
    mapped[:] = X
    mapped.flush()
    yield "Fortran order", np.asfortranarray(X)
    yield "read-only memory map", np.load(tmp_path / "X.npy", mmap_mode="r")
    yield "strided view", np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3]
    yield "reversed view", X[::-1, ::-1].copy()[::-1, ::-1]
    yield "unaligned", np.frombuffer(b"x" + X.tobytes(), X.dtype, offset=1).reshape(X.shape)
    yield "other byte order", X.astype(X.dtype.newbyteorder())
    yield "CSR", scipy.sparse.csr_array(X)
    yield "CSR matrix", scipy.sparse.csr_matrix(X)
    yield "CSC", scipy.sparse.csc_array(X)
    yield "list", X.tolist()
    yield "objects", X.astype(object)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_form_of_the_same_data_gives_the_same_bits(dtype, tmp_path):
    X, y = problem(33, dtype=dtype)
    X[np.abs(X) < 0.5] = 0.0
    name = np.dtype(dtype).name
    reference = small(dtype=name).fit(X, y)
    expected = reference.predict(X)
    for form, Z in variants(X, tmp_path):
        assert same_bits(reference.predict(Z).astype(dtype), expected), form
        assert same_bits(small(dtype=name).fit(Z, y).predict(X), expected), form
        assert small(dtype=name).fit(X, y, X_val=Z, y_val=y).validation_loss_curve_ == (
            small(dtype=name).fit(X, y, X_val=X, y_val=y).validation_loss_curve_
        ), form


def test_targets_of_any_form():
    X, y = problem(33)
    expected = small().fit(X, y).predict(X)
    series = pd.Series(y, index=range(33, 66))
    for form in (list(y), series, np.repeat(y, 2)[::2], y.astype(object)):
        assert same_bits(small().fit(X, form).predict(X), expected)
    with pytest.warns(DataConversionWarning, match="column-vector y"):
        column = small().fit(X, y[:, None])
    assert same_bits(column.predict(X), expected)
    Y = np.stack([y, -y], axis=1)
    two = small().fit(X, Y).predict(X)
    assert same_bits(small().fit(X, np.asfortranarray(Y)).predict(X), two)
    whole = np.rint(3 * y).astype(int)
    assert same_bits(small().fit(X, whole).predict(X), small().fit(X, 1.0 * whole).predict(X))


def test_data_frames_and_their_names():
    X, y = problem(33)
    frame = pd.DataFrame(X, columns=list("abcd"))
    fitted = small().fit(frame, y)
    assert list(fitted.feature_names_in_) == list("abcd")
    assert same_bits(fitted.predict(frame), small().fit(X, y).predict(X))
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(frame[list("badc")])
    with pytest.warns(UserWarning, match="X does not have valid feature names"):
        fitted.predict(X)
    fitted.fit(X, y)
    assert not hasattr(fitted, "feature_names_in_")
    fitted.predict(X)


# ------------------------------------------------------------------------- predictions


@pytest.mark.parametrize("fit", [np.float32, np.float64])
@pytest.mark.parametrize("now", [np.float32, np.float64])
def test_predictions_are_float32_where_all_is(fit, now):
    X, y = problem(33)
    answer = small().fit(X.astype(fit), y).predict(X.astype(now))
    assert answer.dtype == np.result_type(fit, now)
    for form in (X.tolist(), scipy.sparse.csr_array(X), np.rint(X).astype(int)):
        assert small(dtype="float32").fit(X, y).predict(form).dtype == np.float64


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("activation", ["relu", "gelu", "tanh"])
def test_a_row_predicts_the_same_bits_anywhere(dtype, activation):
    X, y = problem(203, features=9, dtype=dtype)
    fitted = small(hidden_layer_sizes=(37, 5), activation=activation).fit(X, y)
    together = fitted.predict(X)
    assert same_bits(together, np.concatenate([fitted.predict(X[i : i + 1]) for i in range(203)]))
    order = np.random.default_rng(0).permutation(203)
    assert same_bits(fitted.predict(X[order]), together[order])
    assert same_bits(fitted.predict(X[7:50]), together[7:50])


def test_plain_arrays_skip_validation_with_the_same_answer(monkeypatch):
    X, y = problem()
    fitted = small().fit(X, y)
    expected = fitted.predict(X.tolist())

    def never(*_, **__):
        raise AssertionError("a plain array of the fitted width was validated at length")

    monkeypatch.setattr("ctrain.tabular.check_features", never)
    for dtype in (np.float64, np.float32):
        fitted.predict(X.astype(dtype))
    assert same_bits(fitted.predict(X), expected)
    with pytest.raises(AssertionError, match="at length"):
        fitted.predict(X.tolist())


@pytest.mark.parametrize("rows", [1, 1000])
def test_eight_threads_predict_side_by_side(rows):
    X, y = problem(1000, features=16, dtype=np.float32)
    fitted = small(hidden_layer_sizes=(48, 24), max_iter=1).fit(X, y)
    expected = fitted.predict(X)
    wrong, gate = [], threading.Barrier(8)

    def work(k):
        mine = pickle.loads(shared) if k % 2 else fitted
        gate.wait()
        for i in range(k, k + 100):
            part = slice(i, i + rows) if rows == 1 else slice(0, rows - k)
            if not same_bits(mine.predict(X[part]), expected[part]):
                wrong.append((k, i))

    shared = pickle.dumps(fitted)
    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_threads_share_an_estimator_that_was_just_unpickled():
    X, y = problem(50, dtype=np.float32)
    fitted = small().fit(X, y)
    expected, text = fitted.predict(X), pickle.dumps(fitted)
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(20):
            fresh, gate, answers = pickle.loads(text), threading.Barrier(8), []

            def work(fresh=fresh, gate=gate, answers=answers):
                gate.wait()
                answers.append(fresh.predict(X))

            threads = [threading.Thread(target=work) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert len(answers) == 8 and all(same_bits(a, expected) for a in answers)
    finally:
        sys.setswitchinterval(before)


def test_not_fitted():
    for call in (lambda r: r.predict([[1.0]]), lambda r: r.coefs_, lambda r: r.intercepts_):
        with pytest.raises(NotFittedError):
            call(Regressor())
    assert not hasattr(Regressor(), "n_iter_")


# --------------------------------------------------------------------- fitted attributes


def test_attributes_have_the_names_of_mlp_regressor():
    X, y = problem()
    fitted = small(hidden_layer_sizes=(8, 5)).fit(X, y)
    assert [w.shape for w in fitted.coefs_] == [(4, 8), (8, 5), (5, 1)]
    assert [b.shape for b in fitted.intercepts_] == [(8,), (5,), (1,)]
    assert (fitted.n_layers_, fitted.n_outputs_, fitted.n_features_in_) == (4, 1, 4)
    assert fitted.out_activation_ == "identity"
    assert fitted.loss_ == fitted.loss_curve_[-1]
    assert fitted.best_loss_ == min(fitted.loss_curve_)
    assert fitted.fit_time_ > 0.0
    h = X
    for w, b in zip(fitted.coefs_[:-1], fitted.intercepts_[:-1], strict=True):
        h = np.maximum(h @ w + b, 0.0)
    np.testing.assert_allclose(
        (h @ fitted.coefs_[-1] + fitted.intercepts_[-1])[:, 0], fitted.predict(X), rtol=1e-12
    )
    assert small(loss="poisson").fit(X, np.abs(y)).out_activation_ == "exp"
    assert small(loss="log_loss").fit(X, y > 0).out_activation_ == "logistic"
    custom = small(model=lambda tape, x: tape.matmul(x, tape.parameter((4, 1)))).fit(X, y)
    assert custom.coefs_ is custom.intercepts_ is custom.n_layers_ is None


def test_fitted_attributes_are_those_that_the_documentation_lists():
    X, y = problem()
    fitted = small(early_stopping=True).fit(pd.DataFrame(X, columns=list("abcd")), y)
    text = Regressor.__doc__.split("Attributes\n")[1].split("Notes\n")[0]
    listed = set(re.findall(r"\b[a-z]\w*_\b(?=[\w, ]* : )", text))
    found = {name for name in dir(fitted) if name.endswith("_") and not name.startswith("_")}
    assert found == listed


def test_loss_curve_does_not_depend_on_the_batch_size():
    """Weights that hardly move: the loss of every epoch is the loss of the start."""
    X, y = problem(50)
    weight = np.random.default_rng(0).uniform(size=50)
    still = small(learning_rate_init=1e-300, optimizer="sgd")
    curves = [still.set_params(batch_size=b).fit(X, y, weight).loss_curve_ for b in (1, 7, 32, 50)]
    for curve in curves:
        np.testing.assert_allclose(curve, curves[0], rtol=1e-13)
