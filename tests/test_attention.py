"""Attention layers, embeddings, positions: PyTorch's numbers, gradients, what a step sees."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from reference.make_attention import ATTENTIONS, ENCODERS, ROWS, made, stored

import ctrain
from ctrain import layers

TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


def record(tape, label):
    """The layer of a case on a tape: inputs and output."""
    if label in ATTENTIONS:
        shapes, heads, causal, bias = ATTENTIONS[label]
        inputs = [tape.input(shape, name=name) for name, shape in shapes.items()]
        three = inputs * (3 // len(inputs))
        return inputs, layers.multi_head_attention(
            tape, *three, heads, "attention", causal=causal, bias=bias
        )
    shape, heads, units, activation, norm_first, causal = ENCODERS[label]
    x = tape.input(shape, name="x")
    return [x], layers.transformer_encoder_layer(
        tape, x, heads, units, "layer", activation=activation, dropout=0.0,
        norm_first=norm_first, causal=causal,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("label", [*ATTENTIONS, *ENCODERS])
def test_output_and_gradients_are_those_of_torch(label, dtype):
    tape = ctrain.Tape(dtype)
    inputs, y = record(tape, label)
    upstream = tape.input(y.shape, name="upstream")
    loss = tape.sum(tape.mul(y, upstream))
    for p in tape.parameters:
        tape.parameters.assign(p.name, made(label, p.name, *p.shape))
    tape.forward(**{t.name: made(label, t.name, ROWS, *t.shape) for t in (*inputs, upstream)})
    tape.backward(loss, np.ones(ROWS))
    answers = {"output": tape.value(y)} | {x.name: ROWS * tape.gradient(x) for x in inputs}
    for p in tape.parameters:
        answers[p.name] = ROWS * tape.gradient(tape.parameter(p.shape, name=p.name))
    expected = stored(label)
    assert set(answers) == set(expected)
    for name, value in answers.items():
        # of what cancels (a key's bias moves nothing) the size of what is added counts
        size = max(np.abs(expected[name]).max(), 1.0)
        assert_allclose(value, expected[name], rtol=0, atol=TOLERANCE[dtype] * size, err_msg=name)


def layer_of(kind):
    def record(tape, x):
        if kind == "attention":
            return layers.multi_head_attention(tape, x, x, x, 2, "layer", causal=True, dropout=0.3)
        return layers.transformer_encoder_layer(
            tape, x, 2, 6, "layer", activation="tanh", dropout=0.2, norm_first=kind == "pre-norm"
        )

    return record


@pytest.mark.parametrize("kind", ["attention", "post-norm", "pre-norm"])
def test_gradients_are_derivatives(kind):
    rng = np.random.default_rng(0)
    record = layer_of(kind)
    tape = ctrain.Tape("float64")
    record(tape, tape.input((5, 4), name="x"))
    parameters = {p.name: rng.normal(size=p.shape) / 2 for p in tape.parameters}
    inputs = {"x": rng.normal(size=(3, 5, 4))}

    def output(tape, x, **_):  # the layer finds its parameters by name
        return record(tape, x)

    assert ctrain.check_gradients(output, inputs, parameters) < 1e-8


@pytest.mark.parametrize("norm_first", [False, True])
def test_a_causal_layer_sees_what_was(norm_first):
    tape = ctrain.Tape("float64")
    y = layers.transformer_encoder_layer(
        tape, tape.input((6, 4), name="x"), 2, 8, "layer", causal=True, dropout=0.0,
        norm_first=norm_first,
    )  # fmt: skip
    x = np.random.default_rng(0).normal(size=(1, 6, 4))
    tape.forward(x=x)
    before = tape.value(y)
    for step in range(6):
        changed = x.copy()
        changed[0, step, 1] += 1.0
        tape.forward(x=changed)
        assert_array_equal((tape.value(y) != before).any(axis=(0, 2)), np.arange(6) >= step)


def test_dropout_is_for_training():
    def nodes(training):
        tape = ctrain.Tape(training=training)
        x = tape.input((5, 4), name="x")
        layers.transformer_encoder_layer(tape, x, 2, 6, "layer", dropout=0.5)
        rates = [n.attributes["rate"] for n in tape.nodes if n.op == "attention"]
        return rates, sum(n.op == "bernoulli" for n in tape.nodes)

    assert nodes(True) == ([0.5], 3)
    assert nodes(False) == ([0.0], 0)


def test_positions_and_embeddings():
    tape = ctrain.Tape("float64", training=False)
    index = tape.input((2,), name="index")
    outputs = [
        layers.embedding(tape, index, 3, 4, "category"),
        tape.add(layers.sinusoidal_positions(tape, 2, 5), tape.input((2, 5), name="x")),
        tape.add(layers.learned_positions(tape, 2, 5, "place"), tape.inputs["x"]),
    ]
    tape.forward(index=[[2.0, 0.0]], x=np.zeros((1, 2, 5)))
    values = [tape.value(y)[0] for y in outputs]
    assert_array_equal(values[0], tape.parameters["category.weight"].value[[2, 0]])
    slow, slowest = 10000.0**-0.4, 10000.0**-0.8
    assert_allclose(values[1][0], [0, 1, 0, 1, 0], rtol=0, atol=1e-16)
    second = [np.sin(1), np.cos(1), np.sin(slow), np.cos(slow), np.sin(slowest)]
    assert_allclose(values[1][1], second, rtol=1e-15)
    assert_array_equal(values[2], tape.parameters["place.weight"].value)
    assert 0 < np.abs(values[2]).max() <= 0.02


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda t, x: layers.multi_head_attention(t, x, x, x, 3, "a"),
            r"n_heads must divide .* it is 3: q is \(5, 4\)",
        ),
        (
            lambda t, x: layers.multi_head_attention(t, x, x, x, 2, "a", dropout=1.0),
            r"rate must be in \[0, 1\), got 1.0",
        ),
        (
            lambda t, x: layers.multi_head_attention(
                t, t.slice(x, 0, 0, 2), x, x, 2, "a", causal=True
            ),
            "causal needs as many queries as keys",
        ),
        (
            lambda t, x: layers.transformer_encoder_layer(t, x, 2, 8, "a", activation="rele"),
            "did you mean 'relu'",
        ),
    ],
)
def test_errors_name_rule_value_and_remedy(call, message):
    tape = ctrain.Tape()
    with pytest.raises(ValueError, match=message):
        call(tape, tape.input((5, 4), name="x"))
