"""TCN and TSMixer: neuralforecast's numbers, arrays of several columns, bad settings."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from reference.make_convolution_models import CASES, ROWS, STORE, made, row_shapes, stored
from sklearn.base import clone

import ctrain
from ctrain import Regressor, models
from ctrain.models import TCN, TSMixer

TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


def test_store_holds_exactly_the_cases():
    with np.load(STORE) as arrays:
        assert {key.split(":")[0] for key in arrays} == {"neuralforecast", *CASES}
        assert str(arrays["neuralforecast"]) == "3.3.0"


def recorded(tape, label):
    """Inputs by name, shape of the forecast, and the forecast of a case."""
    name, settings, (_, horizon, values), columns = CASES[label]
    inputs = {k: tape.input(shape, name=k) for k, shape in row_shapes(label).items()}
    series = [columns["n_series"]] if "n_series" in columns else []
    shape = (horizon, *series, *[values] * (values > 1))
    return inputs, shape, getattr(models, name)(**settings).record(tape, dict(inputs), shape)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("label", CASES)
def test_outputs_and_gradients_are_those_of_neuralforecast(label, dtype):
    tape = ctrain.Tape(dtype)
    inputs, shape, output = recorded(tape, label)
    upstream = tape.input(shape, name="upstream")
    loss = tape.sum(tape.mul(output, upstream))
    for p in tape.parameters:
        tape.parameters.assign(p.name, made(label, p.name, *p.shape))
    expected = stored(label)
    given = {k: made(label, k, ROWS, *x.shape) for k, x in inputs.items()}
    upstream_of = made(label, "upstream", *expected["output"].shape).reshape(ROWS, *shape)
    tape.forward(**given, upstream=upstream_of)
    tape.backward(loss, np.ones(ROWS))
    answers = {"output": tape.value(output).reshape(expected["output"].shape)}
    answers |= {k: ROWS * tape.gradient(x) for k, x in inputs.items()}
    for p in tape.parameters:
        if p.trainable:
            answers[p.name] = ROWS * tape.gradient(tape.parameter(p.shape, name=p.name))
    if "inference" in expected:
        tape = ctrain.Tape(dtype, training=False)
        output = recorded(tape, label)[-1]
        for p in tape.parameters:
            tape.parameters.assign(p.name, made(label, p.name, *p.shape))
        tape.forward(**given)
        answers["inference"] = tape.value(output)
    assert set(answers) == set(expected)
    for name, value in answers.items():
        size = np.abs(expected[name]).max()
        assert_allclose(value, expected[name], rtol=0, atol=TOLERANCE[dtype] * size, err_msg=name)


def test_defaults():
    expected = {  # of neuralforecast 3.3; its context_size is used nowhere
        "kernel_size": 2,
        "dilations": (1, 2, 4, 8, 16),
        "encoder_hidden_size": 128,
        "encoder_activation": "relu",
        "decoder_hidden_size": 128,
        "decoder_layers": 2,
        "decoder_activation": "relu",
    }
    assert TCN().get_params() == clone(TCN()).get_params() == expected
    expected = {"n_block": 2, "ff_dim": 64, "dropout": 0.9, "revin": True}
    assert TSMixer().get_params() == clone(TSMixer()).get_params() == expected


@pytest.mark.parametrize(
    "model, message",
    [
        (TCN(kernel_size=0), "kernel_size must be an integer of at least 1; got 0"),
        (TCN(dilations=()), r"dilations must be a sequence of integers .*; got \(\)"),
        (TCN(dilations=(1, 0)), r"dilations must be a sequence of integers .*; got \(1, 0\)"),
        (TCN(encoder_hidden_size=1.5), "encoder_hidden_size must be an integer .*; got 1.5"),
        (TCN(encoder_activation="ReLU"), "activation must be .*; got 'ReLU'; did you mean 'relu'?"),
        (TCN(decoder_activation=None), "activation must be one of .*; got None"),
        (TCN(decoder_layers=0), "decoder_layers must be an integer of at least 1; got 0"),
    ],
)
def test_wrong_settings_name_rule_and_value(model, message):
    tape = ctrain.Tape()
    with pytest.raises(ValueError, match=message):
        model.record(tape, {"x": tape.input((15,), name="x")}, (6,))


@pytest.mark.parametrize(
    "model, inputs, message",
    [
        (TSMixer(n_block=0), {"past_y": (5, 3)}, "n_block must be an integer of at least 1; got 0"),
        (TSMixer(ff_dim=0), {"past_y": (5, 3)}, "ff_dim must be an integer of at least 1; got 0"),
        (TSMixer(dropout=1), {"past_y": (5, 3)}, r"dropout must be in \[0, 1\); got 1"),
        (TSMixer(), {"past_y": (5, 3), "past": (5, 3, 1)}, "TSMixer takes no covariates; got past"),
        (
            TSMixer(),
            {"past_y": (5,)},
            r"needs past_y of row shape \(input_size, n_series\)",
        ),
        (TSMixer(), {"x": (5, 3)}, r"as Forecaster has it; got \{'x': \(5, 3\)\}"),
    ],
)
def test_what_a_mixer_refuses(model, inputs, message):
    tape = ctrain.Tape()
    with pytest.raises(ValueError, match=message):
        model.record(tape, {k: tape.input(row, name=k) for k, row in inputs.items()}, (4, 3))


@pytest.mark.parametrize("name, row", [("x", (5, 2, 3)), ("past_y", (5, 2))])
def test_a_window_of_more_axes_is_refused(name, row):
    tape = ctrain.Tape()
    rule = r"\(input_size,\)" + r" or \(input_size, n_columns\)" * (name == "x")
    with pytest.raises(ValueError, match=f"TCN: {name} must have row shape {rule}; got"):
        TCN().record(tape, {name: tape.input(row, name=name)}, (6,))


@pytest.mark.parametrize("columns", [1, 2])
def test_arrays_over_time_are_learned(columns):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 12, columns))
    y = np.stack([X[:, -1, 0] - X[:, -4, -1], X[:, 3].sum(axis=1)], axis=1)
    X = X[..., 0] if columns == 1 else X
    model = TCN(dilations=(1, 2), encoder_hidden_size=8, decoder_hidden_size=8)
    reg = Regressor(
        model=model, max_iter=60, learning_rate_init=0.02, batch_size=32, random_state=0
    )
    answers = [reg.set_params(n_jobs=n).fit(X[:240], y[:240]).predict(X[240:]) for n in (1, 3)]
    assert answers[0].tobytes() == answers[1].tobytes()
    assert np.square(answers[0] - y[240:]).mean() < 0.2 * y[240:].var()


def test_rows_of_several_axes_must_have_the_shape_of_the_fit(tmp_path):
    X = np.random.default_rng(0).normal(size=(20, 12, 3))
    model = TCN(dilations=(1,), encoder_hidden_size=2, decoder_hidden_size=2)
    reg = Regressor(model=model, max_iter=1).fit(X, X[:, -1, 0])
    reg.save(tmp_path / "model.npz")
    assert ctrain.load(tmp_path / "model.npz").predict(X).tobytes() == reg.predict(X).tobytes()
    for wrong in (X[..., :2], X[..., 0]):
        with pytest.raises(ValueError, match=r"X must have rows of shape \(12, 3\), as in fit"):
            reg.predict(wrong)
    with pytest.raises(ValueError, match=r"X_val must have rows of shape \(12, 3\), as in fit"):
        reg.fit(X, X[:, -1, 0], X_val=X[..., :2], y_val=X[:, -1, 0])
