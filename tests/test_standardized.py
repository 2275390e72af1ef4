"""Scaling inside the network is scaling outside it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone

import ctrain
from ctrain import Classifier, Regressor
from ctrain.losses import Quantile
from ctrain.models import MLP, Standardized

SMALL = {"max_iter": 4, "batch_size": 16, "random_state": 0, "n_jobs": 1}


def data(n_targets=1):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 3)) * [100.0, 1.0, 0.01] + [5000.0, 0.0, -1.0]
    Y = 1e4 + (X - X.mean(axis=0)) @ rng.normal(size=(3, n_targets)) * [1.0, 1.0, 50.0][:n_targets]
    return X, Y[:, 0] if n_targets == 1 else Y


def test_prediction_is_the_formula():
    X, Y = data(2)
    model = Standardized(MLP((5,)), X.mean(0), X.std(0), Y.mean(0), Y.std(0))
    reg = Regressor(model=model, **SMALL).fit(X, Y)
    weights = {p.name: p.value for p in reg._network.parameters}
    assert set(weights) == {f"layer_{k}.{part}" for k in (0, 1) for part in ("weight", "bias")}
    h = (X - X.mean(0)) / X.std(0) @ weights["layer_0.weight"] + weights["layer_0.bias"]
    raw = np.maximum(h, 0.0) @ weights["layer_1.weight"] + weights["layer_1.bias"]
    assert_allclose(reg.predict(X), raw * Y.std(0) + Y.mean(0), rtol=1e-12)


def test_columns_scaled_outside_give_the_same_fit():
    X, y = data()
    inside = Regressor(model=Standardized(MLP((5,)), X.mean(0), X.std(0)), **SMALL).fit(X, y)
    outside = Regressor((5,), **SMALL).fit((X - X.mean(0)) / X.std(0), y)
    assert_array_equal(inside.predict(X), outside.predict((X - X.mean(0)) / X.std(0)))
    assert inside.history_["loss"] == outside.history_["loss"]


def test_quantiles_classes_and_callables():
    X, Y = data(2)
    scales = (X.mean(0), X.std(0), Y.mean(0), Y.std(0))
    loss = Quantile((0.1, 0.5, 0.9))
    reg = Regressor(model=Standardized(MLP((5,)), *scales), loss=loss, **SMALL).fit(X, Y)
    assert reg.predict(X).shape == (120, 2, 3)
    assert (np.abs(reg.predict(X) - Y.mean(0)[:, None]) < 5 * Y.std(0)[:, None]).all()
    labels = np.array(["a", "b", "c"])[np.arange(120) % 3]
    clf = Classifier(model=Standardized(MLP((5,)), *scales[:2]), **SMALL).fit(X, labels)
    assert_allclose(clf.predict_proba(X).sum(axis=1), 1.0)

    def own(tape, x):
        return {"prediction": tape.slice(x, 0, 0, 1), "columns": x}

    with pytest.raises(ValueError, match="no trainable parameter"):
        Regressor(model=Standardized(own, *scales[:2]), **SMALL).fit(X, Y[:, 0])

    def linear(tape, x):
        return {"prediction": tape.matmul(x, tape.parameter((3, 1), name="w")), "columns": x}

    reg = Regressor(model=Standardized(linear, *scales[:2], 7.0, 2.0), **SMALL).fit(X, Y[:, 0])
    assert_allclose(reg._output(X, "columns"), (X - X.mean(0)) / X.std(0), rtol=1e-12)
    [w] = [p.value for p in reg._network.parameters]
    assert_allclose(reg.predict(X), ((X - X.mean(0)) / X.std(0) @ w)[:, 0] * 2.0 + 7.0, rtol=1e-12)


@pytest.mark.parametrize("kind", [list, np.asarray])
def test_saved_and_cloned(tmp_path, kind):
    X, y = data()
    model = Standardized(MLP((5,)), kind(X.mean(0)), kind(X.std(0)), float(y.mean()), 3.0)
    reg = Regressor(model=model, warm_start=True, **SMALL).fit(X, y)
    reg.save(tmp_path / "m.npz")
    loaded = ctrain.load(tmp_path / "m.npz")
    assert_array_equal(loaded.predict(X), reg.predict(X))
    assert isinstance(loaded.model, Standardized) and loaded.model.model.hidden_layer_sizes == (5,)
    assert_array_equal(loaded.model.mean, X.mean(0))
    assert_array_equal(loaded.fit(X, y).predict(X), reg.fit(X, y).predict(X))
    assert clone(reg).get_params()["model__model__activation"] == "relu"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mean": [0.0, 1.0]}, r"mean must be finite and of shape \(3,\); got shape \(2,\)"),
        ({"mean": [0.0, np.nan, 1.0]}, "mean must be finite"),
        ({"scale": [1.0, 0.0, 1.0]}, "scale must be positive; got 0"),
        ({"scale": -1.0}, "scale must be positive; got -1"),
        ({"target_mean": [1.0, 2.0]}, r"target_mean must be finite and of shape \(1,\)"),
        ({"target_scale": 0.0}, "target_scale must be positive"),
    ],
)
def test_settings_that_do_not_fit(settings, message):
    X, y = data()
    model = Standardized(MLP((5,)), **{"mean": 0.0, "scale": 1.0, **settings})
    with pytest.raises(ValueError, match=message):
        Regressor(model=model, **SMALL).fit(X, y)
