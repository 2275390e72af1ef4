"""Convolution, pooling and weight norm: PyTorch's numbers, what they read, bad shapes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from reference.make_convolution import CONVOLUTIONS, ROWS, layers, made, stored

import ctrain
from ctrain.layers import conv1d, weight_norm

TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("label", CONVOLUTIONS)
def test_output_and_gradients_are_those_of_torch(label, dtype):
    steps, n_in, n_out, taps, _, padding, normalized = CONVOLUTIONS[label]
    tape = ctrain.Tape(dtype)
    x = h = tape.input((steps, n_in), name="x")
    for k, (name, _, dilation) in enumerate(layers(label)):
        h = tape.relu(h) if k else h
        h = conv1d(
            tape, h, n_out, taps, name, dilation=dilation, padding=padding, normalized=normalized
        )
    upstream = tape.input(h.shape, name="upstream")
    loss = tape.sum(tape.mul(h, upstream))
    for p in tape.parameters:
        longer = 2.0 if p.name.endswith("weight_g") else 0.0
        tape.parameters.assign(p.name, made(label, p.name, *p.shape) + longer)
    given = {t.name: made(label, t.name, ROWS, *t.shape) for t in (x, upstream)}
    tape.forward(**given)
    tape.backward(loss, np.ones(ROWS))
    answers = {"output": tape.value(h), "x": ROWS * tape.gradient(x)}
    for p in tape.parameters:
        answers[p.name] = ROWS * tape.gradient(tape.parameter(p.shape, name=p.name))
    expected = stored("convolution", label)
    assert set(answers) == set(expected)
    for name, value in answers.items():
        size = np.abs(expected[name]).max()
        assert_allclose(value, expected[name], rtol=0, atol=TOLERANCE[dtype] * size, err_msg=name)


@pytest.mark.parametrize("dilation", [1, 3])
def test_a_causal_convolution_reads_its_taps_and_nothing_later(dilation):
    tape = ctrain.Tape("float64", training=False)
    y = conv1d(tape, tape.input((12, 2), name="x"), 3, 3, "conv", dilation=dilation)
    x = np.random.default_rng(0).normal(size=(1, 12, 2))
    tape.forward(x=x)
    before = tape.value(y)
    for step in range(12):
        changed = x.copy()
        changed[0, step] += 1.0
        tape.forward(x=changed)
        moved = np.flatnonzero((tape.value(y) != before).any(axis=(0, 2)))
        read = [step + k * dilation for k in range(3) if step + k * dilation < 12]
        assert_array_equal(moved, read)


def test_a_shift_of_the_input_shifts_the_output_to_the_bit():
    """Each step is the same chain, wherever it lies."""
    tape = ctrain.Tape(training=False)
    y = conv1d(tape, tape.input((40, 3), name="x"), 20, 4, "conv", dilation=2, padding="valid")
    x = np.random.default_rng(0).normal(size=(1, 40, 3)).astype(np.float32)
    tape.forward(x=x)
    before = tape.value(y)
    tape.forward(x=np.roll(x, 5, axis=1))
    assert tape.value(y)[:, 5:].tobytes() == before[:, :-5].tobytes()


@pytest.mark.parametrize("padding", ["causal", "same", "valid"])
def test_flops_count_the_steps_that_are_read(padding):
    tape = ctrain.Tape()
    x, w = tape.input((2, 7, 3), name="x"), tape.parameter((3 * 3, 5), name="w")
    tape.conv1d(x, w, dilation=2, padding=padding)
    read = {"causal": 7 + 5 + 3, "same": 7 + 5 + 5, "valid": 3 * 3}[padding]
    assert tape.nodes[-1].flops == 2 * 2 * read * 3 * 5


def test_weight_norm_starts_at_its_matrix_and_scales_columns():
    tape = ctrain.Tape("float64")
    y = tape.matmul(tape.input((6,), name="x"), weight_norm(tape, (6, 4), "layer"))
    v = tape.parameters["layer.weight_v"].value.copy()
    tape.forward(x=np.eye(6))
    assert_allclose(tape.value(y), v, atol=1e-15)
    tape.parameters.assign("layer.weight_g", [1.0, 2.0, 3.0, 4.0])
    tape.forward(x=np.eye(6))
    assert_allclose(np.linalg.norm(tape.value(y), axis=0), [1.0, 2.0, 3.0, 4.0], rtol=1e-14)


@pytest.mark.parametrize(
    "record, message",
    [
        (lambda t, x, w: t.conv1d(t.slice(x, 0, 0, 1), w), "n_in 3, w is"),
        (lambda t, x, w: t.conv1d(t.reshape(x, (21,)), w), r"needs the axes \(time, n_in\)"),
        (lambda t, x, w: t.conv1d(x, t.reshape(w, (18,))), r"w must have two axes .*\(18,\)"),
        (lambda t, x, w: t.conv1d(x, w, t.constant([1.0])), r"bias must be \(2,\) .* is \(1,\)"),
        (lambda t, x, w: t.conv1d(x, w, dilation=0), "dilation must be at least 1, it is 0"),
        (lambda t, x, w: t.conv1d(x, w, padding="full"), "causal, same, valid, it is 'full'"),
        (
            lambda t, x, w: t.conv1d(x, w, dilation=4, padding="valid"),
            "3 taps at dilation 4 span 9 steps, x has 7: padding 'causal'",
        ),
        (lambda t, x, w: t.conv1d(x, x), "w must be a parameter, a constant or made of them"),
        (lambda t, x, w: t.max_pool1d(x, 0), "kernel_size and stride must be at least 1, .* 0 and"),
        (lambda t, x, w: t.avg_pool1d(x, 2, stride=-1), "they are 2 and -1"),
        (lambda t, x, w: t.max_pool1d(x, 8), "8 is longer than axis 0 .*ceil_mode=True"),
        (lambda t, x, w: t.avg_pool1d(x, 2, axis=2), "axis 2 is out of range"),
        (lambda t, x, w: t.affine(x, w, w), r"affine: scale must be \(3,\) for x \(7, 3\)"),
        (lambda t, x, w: t.batch_moments(x), r"batch_moments: x must be \(2, n\)"),
    ],
)
def test_errors_name_rule_value_and_remedy(record, message):
    tape = ctrain.Tape()
    x, w = tape.input((7, 3), name="x"), tape.parameter((9, 2), name="w")
    if "n_in 3" in message:
        x, w, message = tape.input((7, 3), name="x2"), tape.parameter((8, 2), name="w2"), "n_in 3"
    with pytest.raises(ValueError, match=message):
        record(tape, x, w)


def test_pools_are_those_of_a_slow_loop():
    """Odd ends: a pool longer than the input, and one that would begin outside."""
    tape = ctrain.Tape("float64", training=False)
    x = tape.input((7,), name="x")
    outputs = [
        tape.max_pool1d(x, 3, ceil_mode=True, axis=0),
        tape.avg_pool1d(x, 3, ceil_mode=True, axis=0),
        tape.avg_pool1d(x, 9, ceil_mode=True, axis=0),
        tape.max_pool1d(x, 1, stride=7, ceil_mode=True, axis=0),
    ]
    tape.forward(x=np.array([[3.0, 1.0, 2.0, 5.0, 4.0, 6.0, 9.0]]))
    expected = [[3, 6, 9], [2, 5, 9], [30 / 7], [3]]
    for y, values in zip(outputs, expected, strict=True):
        assert_allclose(tape.value(y)[0], values, rtol=1e-15)
