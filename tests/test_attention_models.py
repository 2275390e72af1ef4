"""Forecasting models of attention: neuralforecast's numbers and gradients, settings, masks."""

from __future__ import annotations

import numpy as np
import pytest
from forecasts import forecaster, frame
from numpy.testing import assert_allclose
from reference.make_attention import MODELS, ROWS, STORE, made, rows_of, stored
from sklearn.base import clone

import ctrain
from ctrain import models
from ctrain.models import iTransformer

TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


def recorded(label, dtype, training, parameters=None):
    """A tape and the forecast of a case."""
    name, settings, (_, horizon, values), several = MODELS[label]
    tape = ctrain.Tape(dtype, training=training, parameters=parameters)
    inputs = {k: tape.input(shape, name=k) for k, shape in rows_of(label).items()}
    shape = (horizon, *several[:1], *[values] * (values > 1))
    return tape, getattr(models, name)(**settings).record(tape, inputs, shape)


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
    given = {k: made(label, k, ROWS, *shape) for k, shape in rows_of(label).items()}
    above = made(label, "upstream", *expected["output"].shape).reshape(ROWS, *forecast.shape)
    tape.forward(**given, upstream=above)
    tape.backward(loss, np.ones(ROWS))
    answers = {"output": tape.value(forecast).reshape(expected["output"].shape)}
    for p in tape.parameters:
        if p.trainable:
            answers[p.name] = ROWS * tape.gradient(tape.parameter(p.shape, name=p.name))
    answers |= {k: ROWS * tape.gradient(tape.inputs[k]) for k in given if k in expected}
    for t in tape.tracked:  # what a step would do
        name = tape.parameter_of[t.parameter.id]
        average = tape.parameters[name].value
        tape.parameters.assign(name, average + t.momentum * (tape.value(t.value) - average))
    after, forecast = recorded(label, dtype, training=False, parameters=tape.parameters)
    after.forward(**given)
    answers["inference"] = after.value(forecast).reshape(expected["inference"].shape)
    assert set(answers) == set(expected)
    for name, value in answers.items():
        # of what cancels (a bias before a norm moves nothing) the size of what is added counts
        size = max(np.abs(expected[name]).max(), 1.0)
        assert_allclose(value, expected[name], rtol=0, atol=TOLERANCE[dtype] * size, err_msg=name)


@pytest.mark.parametrize("columns", [(), ("future",)])
def test_gradients_of_several_series_are_derivatives(columns):
    rng = np.random.default_rng(0)
    model = iTransformer(hidden_size=4, n_heads=2, e_layers=1, d_ff=3)
    rows = {"past_y": (6, 3)} | dict.fromkeys(columns, (8, 3, 2))
    inputs = {name: rng.normal(size=(2, *shape)) for name, shape in rows.items()}
    tape = ctrain.Tape("float64")
    model.record(tape, {k: tape.input(shape, name=k) for k, shape in rows.items()}, (2, 3, 2))
    parameters = {p.name: rng.normal(size=p.shape) / np.sqrt(p.shape[0]) for p in tape.parameters}

    def forecast(tape, **tensors):
        return model.record(tape, {name: tensors[name] for name in rows}, (2, 3, 2))

    # no gradient goes through a window's mean, as in neuralforecast
    checked = [name for name in (*inputs, *parameters) if name != "past_y"]
    assert ctrain.check_gradients(forecast, inputs, parameters, wrt=checked) < 1e-8


def test_the_order_of_the_series_does_not_matter():
    tape = ctrain.Tape("float64", training=False)
    y = iTransformer(8, 2, 1, 8).record(tape, {"past_y": tape.input((6, 4), name="y")}, (3, 4))
    x, order = np.random.default_rng(0).normal(size=(2, 6, 4)), [2, 0, 3, 1]
    tape.forward(y=x)
    before = tape.value(y)
    tape.forward(y=x[:, :, order])
    assert_allclose(tape.value(y), before[:, :, order], rtol=0, atol=1e-13)


def test_what_is_known_in_advance_is_read():
    data, model = frame(), iTransformer(8, 2, 1, 8)
    fc = forecaster(model, futr_exog=("promo",)).fit(data)
    assert "future.weight" in {p.name for p in fc._network.parameters}
    with pytest.raises(ValueError, match="no covariates but those known in advance; got past"):
        forecaster(model, hist_exog=("sold",)).fit(data)


def test_defaults_are_those_of_neuralforecast():
    expected = {
        "hidden_size": 512,
        "n_heads": 8,
        "e_layers": 2,
        "d_ff": 2048,
        "dropout": 0.1,
        "use_norm": True,
    }
    assert iTransformer().get_params() == clone(iTransformer()).get_params() == expected


@pytest.mark.parametrize(
    "model, row, message",
    [
        (iTransformer(e_layers=0), (5, 3), "e_layers must be an integer of at least 1; got 0"),
        (iTransformer(n_heads=3), (5, 3), "must be a multiple of n_heads; got 512 and 3"),
        (iTransformer(dropout=1), (5, 3), r"dropout must be in \[0, 1\); got 1"),
        (iTransformer(), (5,), r"needs past_y of row shape \(input_size, n_series\)"),
    ],
)
def test_wrong_settings_name_rule_and_value(model, row, message):
    tape = ctrain.Tape()
    with pytest.raises(ValueError, match=message):
        model.record(tape, {"past_y": tape.input(row, name="past_y")}, (4, 3))
