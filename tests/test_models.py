"""Models: the multi-layer perceptron, and what a user's own model may be."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.special import erf, expit
from sklearn.base import BaseEstimator, clone

import ctrain
from ctrain import Regressor
from ctrain.layers import ACTIVATIONS, dense
from ctrain.losses import Quantile
from ctrain.models import MLP

FUNCTIONS = {
    "identity": lambda z: z,
    "relu": lambda z: np.maximum(z, 0.0),
    "leaky_relu": lambda z: np.where(z > 0.0, z, 0.01 * z),
    "elu": lambda z: np.where(z > 0.0, z, np.expm1(z)),
    "gelu": lambda z: 0.5 * z * (1.0 + erf(z / np.sqrt(2.0))),
    "gelu_tanh": lambda z: 0.5 * z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))),
    "tanh": np.tanh,
    "logistic": expit,
    "sigmoid": expit,
    "silu": lambda z: z * expit(z),
    "swish": lambda z: z * expit(z),
    "softplus": lambda z: np.logaddexp(0.0, z),
}


def recorded(model, features=5, shape=(1,), dtype="float64", **inputs):
    """A tape with the model on it, and its output."""
    tape = ctrain.Tape(dtype)
    x = tape.input((features,) if isinstance(features, int) else features, name="x")
    return tape, model.record(tape, {"x": x}, shape)


def test_every_activation_is_known_here():
    assert set(ACTIVATIONS) == set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_layers_are_dense_then_activated(name):
    tape, answer = recorded(MLP((7, 4), name), shape=(3,))
    X = np.random.default_rng(0).normal(size=(20, 5))
    tape.forward(x=X)
    h = X
    for k in range(3):
        weight, bias = (tape.parameters[f"layer_{k}.{what}"].value for what in ("weight", "bias"))
        h = h @ weight + bias
        h = FUNCTIONS[name](h) if k < 2 else h
    np.testing.assert_allclose(tape.value(answer), h, rtol=1e-12, atol=1e-14)


def test_one_activation_for_each_layer():
    tape, _ = recorded(MLP((7, 4, 3), ("tanh", "identity", "logistic")))
    names = [node.op for node in tape.nodes]
    assert names == ["matmul", "tanh", "matmul", "matmul", "sigmoid", "matmul"]


@pytest.mark.parametrize(
    "sizes, layers", [((), 1), (6, 2), ((6,), 2), ([6, 5], 3), (np.array([6]), 2)]
)
def test_hidden_layer_sizes(sizes, layers):
    tape, answer = recorded(MLP(sizes), shape=(2,))
    assert len(tape.parameters) == 2 * layers and answer.shape == (2,)


def test_weights_start_within_glorot_and_biases_at_zero_without_decay():
    tape, _ = recorded(MLP((300,)), features=200)
    weight, bias = tape.parameters["layer_0.weight"], tape.parameters["layer_0.bias"]
    bound = np.sqrt(6.0 / 500.0)
    assert np.abs(weight.value).max() <= bound
    assert weight.value.std() == pytest.approx(bound / np.sqrt(3.0), rel=0.02)
    assert (weight.decay, bias.decay) == (True, False)
    assert not bias.value.any()


def test_dropout_follows_each_hidden_layer_in_training_only():
    for training in (True, False):
        tape = ctrain.Tape(training=training)
        MLP((4, 3), dropout=0.5).record(tape, {"x": tape.input((2,), name="x")}, (1,))
        assert [n.op for n in tape.nodes].count("bernoulli") == (2 if training else 0)


def test_inputs_of_several_axes_are_flattened():
    tape, answer = recorded(MLP((4,)), features=(2, 3))
    assert tape.parameters["layer_0.weight"].shape == (6, 4) and answer.shape == (1,)


# ----------------------------------------------------------------------------- user's models


def data(n=40):
    rng = np.random.default_rng(1)
    X = rng.normal(size=(n, 3))
    return X, X @ [1.0, 2.0, -1.0] + 0.5


SETTINGS = {"max_iter": 3, "batch_size": 16, "random_state": 0}


def perceptron(tape, x):
    """What MLP((8,), "tanh", dropout=0.1) records, by hand."""
    h = tape.dropout(tape.tanh(dense(tape, x, 8, "layer_0")), 0.1)
    return dense(tape, h, 1, "layer_1")


class Residual(BaseEstimator):
    """A model of the user's own with parameters."""

    def __init__(self, blocks=1, width=6):
        self.blocks = blocks
        self.width = width

    def record(self, tape, inputs, shape):
        h = dense(tape, inputs["x"], self.width, "in")
        for k in range(self.blocks):
            h = tape.add(h, tape.tanh(dense(tape, h, self.width, f"block_{k}")))
        return {"prediction": dense(tape, h, math.prod(shape), "out"), "hidden": h}


def test_a_function_trains_like_the_built_in_model():
    X, y = data()
    built_in = Regressor((8,), "tanh", dropout=0.1, **SETTINGS).fit(X, y)
    own = Regressor(model=perceptron, **SETTINGS).fit(X, y)
    as_object = Regressor(model=MLP((8,), "tanh", 0.1), **SETTINGS).fit(X, y)
    assert own.predict(X).tobytes() == built_in.predict(X).tobytes()
    assert as_object.predict(X).tobytes() == built_in.predict(X).tobytes()
    assert own.loss_curve_ == built_in.loss_curve_


def test_a_model_replaces_the_parameters_of_the_perceptron():
    X, y = data()
    one = Regressor(model=perceptron, **SETTINGS).fit(X, y)
    other = Regressor((3, 3), "relu", dropout=0.5, model=perceptron, **SETTINGS).fit(X, y)
    assert one.predict(X).tobytes() == other.predict(X).tobytes()


@pytest.mark.parametrize(
    "targets, loss, shape",
    [(1, "mse", (1,)), (2, "mse", (2,)), (2, Quantile((0.1, 0.5, 0.9)), (2, 3))],
)
def test_an_object_is_told_the_shape(targets, loss, shape):
    X, y = data()
    seen = []

    class Told(Residual):
        def record(self, tape, inputs, shape):
            seen.append((tape.training, set(inputs), shape))
            return super().record(tape, inputs, shape)

    Y = y if targets == 1 else np.stack([y] * targets, axis=1)
    reg = Regressor(model=Told(), loss=loss, **SETTINGS).fit(X, Y)
    assert seen == [(True, {"x"}, shape), (False, {"x"}, shape)]
    assert reg.predict(X).size == len(X) * np.prod(shape)


def test_a_prediction_without_an_axis_is_one_target():
    X, y = data()

    def scalar(tape, x):
        return tape.sum(tape.mul(x, tape.parameter((3,), name="w")))

    def vector(tape, x):
        return tape.matmul(x, tape.reshape(tape.parameter((3,), name="w"), (3, 1)))

    one, two = (Regressor(model=m, **SETTINGS).fit(X, y).predict(X) for m in (scalar, vector))
    np.testing.assert_allclose(one, two, rtol=1e-9)


def test_a_shared_parameter_gets_the_sum_of_its_gradients():
    """w used twice is the linear model 2 w x; halves of the same step reach the same fit."""
    X, y = data()

    def twice(tape, x):
        w = tape.parameter((3, 1), name="w", init="zeros")
        return tape.add(tape.matmul(x, w), tape.matmul(x, tape.parameter((3, 1), name="w")))

    reg = Regressor(model=twice, optimizer="lbfgs").fit(X, y - 0.5)
    np.testing.assert_allclose(reg.predict(X), y - 0.5, atol=1e-3)
    assert len(reg._network.parameters) == 1


def test_frozen_parameters_stay():
    X, y = data()
    start = np.full((3, 1), 0.5)

    def model(tape, x):
        frozen = tape.parameter(start, name="frozen", trainable=False)
        return dense(tape, tape.concat(x, tape.matmul(x, frozen)), 1, "out")

    for optimizer in ("adamw", "lbfgs"):
        reg = Regressor(model=model, optimizer=optimizer, alpha=0.1, l1=0.0, **SETTINGS).fit(X, y)
        np.testing.assert_array_equal(reg._network.parameters["frozen"].value, start)


def test_model_parameters_are_cloned_and_searchable():
    reg = Regressor(model=Residual(blocks=2))
    copy = clone(reg).set_params(model__blocks=3)
    assert (reg.model.blocks, copy.model.blocks) == (2, 3)
    X, y = data()
    fits = [clone(reg).set_params(model__blocks=b, **SETTINGS).fit(X, y) for b in (0, 1, 2)]
    assert [len(f._network.parameters) for f in fits] == [4, 6, 8]
