"""Forecasting models of attention: neuralforecast's numbers and gradients, settings, masks."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from reference.make_attention import MODELS, ROWS, STORE, made, stored

import ctrain
from ctrain import models

TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


def recorded(label, dtype, training, parameters=None):
    """A tape, its window and the forecast of a case."""
    name, settings, (input_size, horizon, values) = MODELS[label]
    tape = ctrain.Tape(dtype, training=training, parameters=parameters)
    past = tape.input((input_size,), name="past_y")
    shape = (horizon,) if values == 1 else (horizon, values)
    return tape, getattr(models, name)(**settings).record(tape, {"past_y": past}, shape)


def test_store_is_of_this_neuralforecast():
    with np.load(STORE) as arrays:
        assert str(arrays["neuralforecast"]) == "3.3.0"


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("label", MODELS)
def test_outputs_and_gradients_are_those_of_neuralforecast(label, dtype):
    tape, forecast = recorded(label, dtype, training=True)
    upstream = tape.input(forecast.shape, name="upstream")
    loss = tape.sum(tape.mul(forecast, upstream))
    for p in tape.parameters:
        if not p.name.endswith(("running_mean", "running_var")):
            tape.parameters.assign(p.name, made(label, p.name, *p.shape))
    expected = stored(label)
    past = made(label, "past_y", ROWS, *tape.inputs["past_y"].shape)
    above = made(label, "upstream", *expected["output"].shape).reshape(ROWS, *forecast.shape)
    tape.forward(past_y=past, upstream=above)
    tape.backward(loss, np.ones(ROWS))
    answers = {"output": tape.value(forecast).reshape(expected["output"].shape)}
    for p in tape.parameters:
        if p.trainable:
            answers[p.name] = ROWS * tape.gradient(tape.parameter(p.shape, name=p.name))
    for t in tape.tracked:  # what a step would do
        name = tape.parameter_of[t.parameter.id]
        average = tape.parameters[name].value
        tape.parameters.assign(name, average + t.momentum * (tape.value(t.value) - average))
    after, forecast = recorded(label, dtype, training=False, parameters=tape.parameters)
    after.forward(past_y=past)
    answers["inference"] = after.value(forecast).reshape(expected["inference"].shape)
    assert set(answers) == set(expected)
    for name, value in answers.items():
        # of what cancels (a bias before a norm moves nothing) the size of what is added counts
        size = max(np.abs(expected[name]).max(), 1.0)
        assert_allclose(value, expected[name], rtol=0, atol=TOLERANCE[dtype] * size, err_msg=name)
