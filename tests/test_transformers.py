"""Transformers for forecasting: neuralforecast's numbers, gradients, bits, settings."""

from __future__ import annotations

import numpy as np
import pytest
from forecasts import COVARIATES as COLUMNS
from forecasts import forecaster, frame, weights
from numpy.testing import assert_allclose
from reference.make_transformers import CASES, ROWS, STORE, made, stored, windows
from sklearn.base import clone

import ctrain
from ctrain import models
from ctrain.callbacks import Checkpoint, OnEpochEnd
from ctrain.layers import gated_residual, transformer_decoder_layer, variable_selection
from ctrain.models import TFT, VanillaTransformer


def model_of(label):
    name, settings, *_ = CASES[label]
    return getattr(models, name)(**settings)


def recorded(label, dtype="float64"):
    """A case with the weights of the reference: tape, inputs by name, forecast."""
    tape = ctrain.Tape(dtype, training=False)
    inputs = {name: tape.input(x.shape[1:], name=name) for name, x in windows(label).items()}
    answer = model_of(label).record(tape, inputs, inputs["upstream"].shape)
    for p in tape.parameters:
        tape.parameters.assign(p.name, made(label, p.name, p.shape))
    return tape, inputs, answer


# ------------------------------------------------------------------------- neuralforecast


def test_the_store_holds_exactly_the_cases():
    with np.load(STORE) as arrays:
        assert {k.split(": ")[0] for k in arrays} == {*CASES, "neuralforecast"}
        assert str(arrays["neuralforecast"]) == "3.3.0"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("label", CASES)
def test_forecast_and_all_gradients_are_those_of_neuralforecast(label, dtype):
    """In float64 to 1e-10 of each tensor's largest gradient, in float32 to 1e-5 of that of all.

    A norm over two or four values passes on little of a gradient, as a difference: in float32
    PyTorch too errs by up to 6e-4 of the smallest tensors. What a bias adds to all keys is the
    same for all scores of a query, and softmax takes it out: its gradient is 0 but for rounding.
    """
    tape, inputs, answer = recorded(label, dtype)
    loss = tape.sum(tape.mul(answer, inputs["upstream"]))
    tape.forward(**windows(label))
    tape.backward(loss, np.ones(ROWS))
    tensors = {p.name: tape.parameter(p.shape, name=p.name) for p in tape.parameters}
    tensors |= {k: x for k, x in inputs.items() if k not in ("upstream", "past_mask")}
    got = {name: ROWS * tape.gradient(x).ravel() for name, x in tensors.items()}
    expected = stored(label)
    forecast = expected.pop("forecast")
    assert set(got) == set(expected)
    tolerance = 1e-10 if dtype == "float64" else 1e-5
    assert_allclose(
        tape.value(answer).ravel(), forecast, rtol=0, atol=tolerance * np.abs(forecast).max()
    )
    largest = max(np.abs(x).max() for x in expected.values())
    for name, value in expected.items():
        own = dtype == "float64" and not name.endswith("key.bias")
        scale = np.abs(value).max() if own else largest
        assert_allclose(got[name], value, rtol=0, atol=tolerance * scale, err_msg=name)


# ---------------------------------------------------------------------- gradients and bits

GRADIENTS = {
    "tft": (TFT(8, 2, dropout=0.0), (3,), ("past", "static")),
    "transformer": (VanillaTransformer(0.4, 8, 0.0, 2, 5), (3,), ("future",)),
    "transformer dropout": (VanillaTransformer(0.4, 8, 0.2, 2, 5, "tanh", 1, 2), (3, 2), ()),
    "tft dropout": (TFT(8, 2, 0.2, "tanh", rnn_type="gru", dropout=0.3), (3, 2), ("future",)),
}


@pytest.mark.parametrize("label", GRADIENTS)
def test_gradients_are_derivatives(label):
    model, shape, columns = GRADIENTS[label]
    rng = np.random.default_rng(0)
    rows = {"past_y": (5,), "past": (5, 2), "future": (8, 4), "static": (2,)}
    rows = {name: row for name, row in rows.items() if name in ("past_y", *columns)}
    inputs = {name: rng.normal(size=(3, *row)) for name, row in rows.items()}
    tape = ctrain.Tape("float64")
    model.record(tape, {k: tape.input(v, name=k) for k, v in rows.items()}, shape)
    # small: a norm over as few values as a selection has variables is steep
    parameters = {
        p.name: rng.normal(size=p.shape) / (2 * np.sqrt(p.shape[0])) for p in tape.parameters
    }

    def forecast(tape, **tensors):
        return model.record(tape, {name: tensors[name] for name in rows}, shape)

    assert ctrain.check_gradients(forecast, inputs, parameters) < 1e-8


@pytest.mark.parametrize("label", CASES)
def test_a_row_is_the_same_alone(label):
    tape, _, answer = recorded(label, "float32")
    given = windows(label)
    tape.forward(**given)
    together = tape.value(answer)
    for k in range(ROWS):
        tape.forward(**{name: x[k : k + 1] for name, x in given.items()})
        assert tape.value(answer).tobytes() == together[k : k + 1].tobytes()


@pytest.mark.parametrize("model", ["tft", "vanillatransformer"])
def test_a_resumed_fit_is_the_one_that_was_not_interrupted(model, tmp_path):
    columns = COLUMNS if model == "tft" else {"futr_exog": COLUMNS["futr_exog"]}
    given = {"max_steps": None, "max_iter": 4, "scaler": "revin", "n_jobs": 2, **columns}
    data, path = frame(), tmp_path / "fit.npz"

    def interrupt(fc):
        if len(fc.history_["loss"]) == 2:
            raise KeyboardInterrupt

    whole = forecaster(model, **given).fit(data)
    cut = forecaster(model, **given).set_callbacks(Checkpoint(path), OnEpochEnd(interrupt))
    with pytest.raises(KeyboardInterrupt):
        cut.fit(data)
    assert weights(forecaster(model, **given).fit(data, resume=path)) == weights(whole)


# ------------------------------------------------------------------------------- settings

DEFAULTS = {  # of neuralforecast 3.3
    TFT: {
        "hidden_size": 128,
        "n_head": 4,
        "attn_dropout": 0.0,
        "grn_activation": "elu",
        "n_rnn_layers": 1,
        "rnn_type": "lstm",
        "one_rnn_initial_state": False,
        "dropout": 0.1,
    },
    VanillaTransformer: {
        "decoder_input_size_multiplier": 0.5,
        "hidden_size": 128,
        "dropout": 0.05,
        "n_head": 4,
        "conv_hidden_size": 32,
        "activation": "gelu",
        "encoder_layers": 2,
        "decoder_layers": 1,
    },
}


@pytest.mark.parametrize("model", DEFAULTS)
def test_defaults(model):
    assert clone(model()).get_params() == model().get_params() == DEFAULTS[model]


@pytest.mark.parametrize(
    "model, message",
    [
        (TFT(hidden_size=0), "hidden_size must be an integer of at least 1; got 0"),
        (TFT(hidden_size=6), "hidden_size must be a multiple of n_head=4; got 6"),
        (TFT(n_head=True), "n_head must be an integer of at least 1; got True"),
        (TFT(n_rnn_layers=0), "n_rnn_layers must be an integer of at least 1; got 0"),
        (TFT(rnn_type="rnn"), "rnn_type must be one of lstm, gru; got 'rnn'"),
        (TFT(one_rnn_initial_state=None), "one_rnn_initial_state must be True or False; got None"),
        (TFT(grn_activation="ELU"), "activation must be .*; got 'ELU'; did you mean 'elu'?"),
        (TFT(attn_dropout=1.0), r"attn_dropout must be in \[0, 1\); got 1.0"),
        (VanillaTransformer(0), r"decoder_input_size_multiplier must be in \(0, 1\); got 0"),
        (VanillaTransformer(0.95), "=0.95 of input_size=15 is the whole window .* longer window"),
        (VanillaTransformer(hidden_size=6), "hidden_size must be a multiple of n_head=4; got 6"),
        (VanillaTransformer(n_head=0), "n_head must be an integer of at least 1; got 0"),
        (VanillaTransformer(conv_hidden_size=0), "conv_hidden_size must be an integer .*; got 0"),
        (VanillaTransformer(encoder_layers=0), "encoder_layers must be an integer .*; got 0"),
        (VanillaTransformer(decoder_layers=2.0), "decoder_layers must be an integer .*; got 2.0"),
        (VanillaTransformer(activation="relu6"), "activation must be .*; got 'relu6'"),
        (VanillaTransformer(dropout=1), r"dropout must be in \[0, 1\); got 1"),
        (TFT(dropout=-0.1), r"dropout must be in \[0, 1\); got -0.1"),
    ],
)
def test_wrong_settings_name_rule_and_value(model, message):
    tape = ctrain.Tape()
    with pytest.raises(ValueError, match=message):
        model.record(tape, {"x": tape.input((15,), name="x")}, (6,))


@pytest.mark.parametrize("rate", [0.0, 0.2])
@pytest.mark.parametrize(
    "model, masks, attentions",
    [
        (TFT(8, 2), 6, 1),
        (VanillaTransformer(hidden_size=8, n_head=2), 2 + 3 * 2 + 4, 4),
    ],
)
def test_dropout_acts_in_training_only(model, masks, attentions, rate):
    model = clone(model).set_params(dropout=rate)
    if isinstance(model, TFT):
        model.set_params(attn_dropout=rate)
    drawn = {}
    for training in (True, False):
        tape = ctrain.Tape(training=training)
        model.record(tape, {"x": tape.input((15,), name="x")}, (6,))
        kept = [n.attributes.get("rate", 0.0) for n in tape.nodes if n.op == "attention"]
        drawn[training] = sum(n.op == "bernoulli" for n in tape.nodes), kept
    zeros = [0.0] * attentions
    assert drawn == {True: (masks * (rate > 0), [rate] * attentions), False: (0, zeros)}


def test_a_transformer_takes_covariates_of_the_future_alone():
    tape = ctrain.Tape()
    inputs = {name: tape.input((9,), name=name) for name in ("past_y", "past", "static")}
    with pytest.raises(ValueError, match="takes future covariates alone; got past, static: "):
        VanillaTransformer().record(tape, inputs, (6,))


# --------------------------------------------------------------------------------- layers


@pytest.mark.parametrize("norm_first", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_the_last_steps_of_a_decoder_layer_are_those_of_all(causal, norm_first):
    tape = ctrain.Tape("float64")
    x, memory = tape.input((7, 4), name="x"), tape.input((5, 4), name="memory")
    every, some = (
        transformer_decoder_layer(
            tape, x, memory, 2, 6, "layer", causal=causal, norm_first=norm_first, dropout=0.0,
            steps=steps,
        )
        for steps in (None, 3)
    )  # fmt: skip
    rng = np.random.default_rng(0)
    tape.forward(x=rng.normal(size=(2, 7, 4)), memory=rng.normal(size=(2, 5, 4)))
    assert tape.value(some).tobytes() == tape.value(every)[:, -3:].tobytes()


def test_a_selection_is_a_mean_with_weights_that_add_up_to_one():
    tape = ctrain.Tape("float64")
    variables = [tape.input((6, 4), name=name) for name in "abc"]
    selected, share = variable_selection(tape, variables, "of_three")
    seen = [gated_residual(tape, x, 4, f"of_three.variable_{k}") for k, x in enumerate(variables)]
    rng = np.random.default_rng(0)
    tape.forward(**{name: rng.normal(size=(2, 6, 4)) for name in "abc"})
    share, seen = tape.value(share), np.stack([tape.value(x) for x in seen], axis=-1)
    assert_allclose(share.sum(axis=-1), 1.0, rtol=1e-14)
    assert_allclose(tape.value(selected), (seen @ share[..., None])[..., 0], rtol=1e-13)
    _, share = variable_selection(tape, variables[:1], "of_one")
    assert share is None
    assert not any(p.name.startswith("of_one.weights") for p in tape.parameters)
