"""Recurrent layers and models: PyTorch's and neuralforecast's numbers, long chains, lengths."""

from __future__ import annotations

import numpy as np
import pytest
from forecasts import bits, forecaster, frame, weights
from numpy.testing import assert_allclose, assert_array_equal
from reference.make_recurrent import LAYERS, MODELS, ROWS, STORE, made, stored, windows
from sklearn.base import clone

import ctrain
from ctrain import Regressor, layers, models
from ctrain.callbacks import Checkpoint
from ctrain.models import GRU, LSTM, RNN

TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
GATED = [LSTM, GRU, RNN]


def check(answers, expected, dtype):
    assert set(answers) == set(expected)
    for name, value in answers.items():
        size = np.abs(expected[name]).max()
        assert_allclose(value, expected[name], rtol=0, atol=TOLERANCE[dtype] * size, err_msg=name)


def gradients_by_name(tape):
    """Of all parameters, of the sum over the rows."""
    return {
        p.name: ROWS * tape.gradient(tape.parameter(p.shape, name=p.name)) for p in tape.parameters
    }


def test_the_store_holds_exactly_the_cases():
    with np.load(STORE) as arrays:
        found = {key.partition(":")[0] for key in arrays if ":" in key}
        assert str(arrays["neuralforecast"]) == "3.3.0"
    assert found == {*LAYERS, *MODELS}


# ---------------------------------------------------------------------------------- layers


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("label", LAYERS)
def test_layers_are_those_of_torch(label, dtype):
    """Outputs, last states and all gradients; of padded sequences up to their lengths."""
    kind, steps, n_in, hidden, n_layers, bias, started, lengths = LAYERS[label]
    settings = {"nonlinearity": "relu"} if kind == "rnn relu" else {}
    names = ("h", "c") if kind == "lstm" else ("h",)
    tape = ctrain.Tape(dtype)
    x = tape.input((steps, n_in), name="x")
    starts = [[tape.input((hidden,), name=f"{n}{k}") for n in names] for k in range(n_layers)]
    state = [tuple(s) if kind == "lstm" else s[0] for s in starts] if started else None
    layer = getattr(layers, kind.split()[0])
    y, last = layer(
        tape, x, hidden, "layer", num_layers=n_layers, bias=bias, state=state, **settings
    )
    last = {
        f"{n}{k}": s for k, pair in enumerate(last)
        for n, s in zip(names, pair if kind == "lstm" else (pair,), strict=True)
    }  # fmt: skip
    lengths = np.array(lengths or [steps] * ROWS)
    valid = tape.input((steps, 1), name="valid")
    upstream = tape.input((steps, hidden), name="upstream")
    loss = tape.sum(tape.mul(tape.mul(y, valid), upstream))
    given = {"valid": np.arange(steps) < lengths[:, None]}
    whole = LAYERS[label][-1] is None
    for name, value in last.items() if whole else ():
        weight = tape.input((hidden,), name=f"upstream {name}")
        loss = tape.add(loss, tape.sum(tape.mul(value, weight)))
    for name, t in tape.inputs.items():
        given.setdefault(name, made(label, name, ROWS, *t.shape))
    given["valid"] = given["valid"].reshape(ROWS, steps, 1).astype(float)
    for p in tape.parameters:
        tape.parameters.assign(p.name, made(label, p.name, *p.shape))
    tape.forward(**given)
    tape.backward(loss, np.ones(ROWS))
    answers = {"output": given["valid"] * tape.value(y), "x": ROWS * tape.gradient(x)}
    if whole:
        answers |= {f"last {name}": tape.value(value) for name, value in last.items()}
    else:
        answers["last"] = tape.value(y)[np.arange(ROWS), lengths - 1]
    for name in last if started else ():
        answers[name] = ROWS * tape.gradient(tape.inputs[name])
    check(answers | gradients_by_name(tape), stored(label), dtype)


@pytest.mark.parametrize("layer", ["lstm", "gru", "rnn"])
def test_gradients_through_fifty_steps(layer):
    """With weights that neither forget nor explode, so that the first step is felt at the last."""
    rng = np.random.default_rng(0)
    x = {"x": rng.normal(size=(2, 50, 2))}

    def last(tape, x, **_):
        sequence, _ = getattr(layers, layer)(tape, x, 4, "layer", num_layers=2)
        return tape.reshape(tape.slice(sequence, 0, -1), (4,))

    tape = ctrain.Tape("float64")
    last(tape, tape.input((50, 2), name="x"))
    weights = {p.name: rng.normal(size=p.shape) / np.sqrt(p.shape[0]) for p in tape.parameters}
    for name in weights:
        if layer == "rnn" and name.startswith("layer.weight_hh"):
            weights[name] = np.linalg.qr(weights[name])[0]
            weights[name.replace("hh", "ih")] *= 0.05
        elif name.startswith("layer.bias"):
            part = slice(4, 8)  # forget, or update
            weights[name][part] += 4.0
    assert ctrain.check_gradients(last, x, weights) < 1e-8
    tape = ctrain.Tape("float64")
    x = tape.input((50, 2), name="x")
    loss = tape.sum(tape.square(last(tape, x)))
    for name, value in weights.items():
        tape.parameters.assign(name, value)
    tape.forward(x=np.ones((1, 50, 2)))
    tape.backward(loss)
    felt = np.abs(tape.gradient(x)[0]).max(axis=1)
    assert felt[0] > 1e-6 * felt[-1]


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("layer", ["lstm", "gru", "rnn"])
def test_a_sequence_in_two_parts_is_the_whole_to_the_bit(layer, dtype):
    tape = ctrain.Tape(dtype, training=False)
    x = tape.input((9, 3), name="x")
    record = getattr(layers, layer)
    whole, end = record(tape, x, 17, "layer", num_layers=2)
    first, state = record(tape, tape.slice(x, 0, 0, 4), 17, "layer", num_layers=2)
    rest, last = record(tape, tape.slice(x, 0, 4), 17, "layer", num_layers=2, state=state)
    assert len(tape.parameters) == 6
    tape.forward(x=np.random.default_rng(0).normal(size=(5, 9, 3)))
    both = np.concatenate([tape.value(first), tape.value(rest)], axis=1)
    assert both.tobytes() == tape.value(whole).tobytes()
    flat = [[s for part in state for s in (part if layer == "lstm" else (part,))]
            for state in (end, last)]  # fmt: skip
    for a, b in zip(*flat, strict=True):
        assert tape.value(a).tobytes() == tape.value(b).tobytes()


@pytest.mark.parametrize("layer", ["lstm", "gru", "rnn"])
def test_more_axes_are_more_sequences(layer):
    tape = ctrain.Tape(training=False)
    panel = tape.input((3, 6, 2), name="panel")
    many, _ = getattr(layers, layer)(tape, panel, 5, "layer")
    one, _ = getattr(layers, layer)(tape, tape.input((6, 2), name="x"), 5, "layer")
    values = np.random.default_rng(0).normal(size=(4, 3, 6, 2))
    for k in range(3):
        tape.forward(panel=values, x=values[:, k])
        assert_array_equal(tape.value(many)[:, k], tape.value(one))


# ---------------------------------------------------------------------------------- models


def model_of(label):
    name, settings, *_ = MODELS[label]
    return getattr(models, name)(**settings)


def recorded(model, shapes, shape, dtype="float64", training=True):
    tape = ctrain.Tape(dtype, training=training)
    inputs = {name: tape.input(row, name=name) for name, row in shapes.items()}
    return tape, model.record(tape, inputs, shape)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("label", MODELS)
def test_models_are_those_of_neuralforecast(label, dtype):
    """Forecasts and all gradients."""
    _, _, (_, horizon, values), _ = MODELS[label]
    given = windows(label)
    shape = (horizon,) if values == 1 else (horizon, values)
    tape, forecast = recorded(
        model_of(label), {k: v.shape[1:] for k, v in given.items()}, shape, dtype
    )
    upstream = tape.input(shape, name="upstream")
    loss = tape.sum(tape.mul(forecast, upstream))
    for p in tape.parameters:
        tape.parameters.assign(p.name, made(label, p.name, *p.shape))
    tape.forward(
        **given, upstream=made(label, "upstream", ROWS, horizon, values).reshape(ROWS, *shape)
    )
    tape.backward(loss, np.ones(ROWS))
    expected = stored(label)
    answers = {"forecast": tape.value(forecast).reshape(expected["forecast"].shape)}
    answers |= {name: ROWS * tape.gradient(tape.inputs[name]) for name in given}
    if "default sizes" not in label:
        answers |= gradients_by_name(tape)
    check(answers, expected, dtype)


LABELS = ("own", "half", "forced")
FORCING = dict(zip(LABELS, (0.0, 0.5, 1.0), strict=True))


def truth_read(forcing, training=True, seed=0):
    """Which (window, step) of the horizon moves when the true value of an earlier one does."""
    tape = ctrain.Tape("float64", training=training, random_state=seed)
    inputs = {"past_y": tape.input((6,), name="past_y")}
    inputs["future_y"] = tape.input((5,), name="future_y")
    model = GRU(3, 1, recurrent=True, teacher_forcing=forcing)
    forecast = model.record(tape, inputs, (5,))
    rng = np.random.default_rng(0)
    given = {"past_y": rng.normal(size=(400, 6)), "future_y": rng.normal(size=(400, 5))}
    tape.forward(**given)
    before, read = tape.value(forecast), np.zeros((400, 5), bool)
    for k in range(5):
        moved = given["future_y"].copy()
        moved[:, k] += 1.0
        tape.forward(past_y=given["past_y"], future_y=moved)
        changed = tape.value(forecast) != before
        assert not changed[:, : k + 1].any()  # a value is read by the steps after it
        if k + 1 < 5:
            read[:, k] = changed[:, k + 1]
    return read[:, :-1]


def test_teacher_forcing_reads_the_truth_with_that_probability_in_training():
    assert not truth_read(0.0).any()
    assert truth_read(1.0).all()
    half = truth_read(0.5)
    assert 0.4 < half.mean() < 0.6
    assert 10 < len(np.unique(half, axis=0)) <= 16  # each step of each window by itself
    assert not (half == truth_read(0.5, seed=1)).all()
    assert truth_read(0.25).mean() == pytest.approx(0.25, abs=0.05)
    assert not truth_read(0.5, training=False).any()


@pytest.mark.parametrize("model", GATED)
def test_forced_all_the_way_is_one_sequence_to_the_bit(model):
    """Where every truth is drawn, step by step answers what a single pass does."""
    rng = np.random.default_rng(0)
    rows = {"past_y": (7,), "future_y": (4,), "past": (7, 2), "future": (11, 1), "static": (2,)}
    given = {name: rng.normal(size=(5, *row)) for name, row in rows.items()}
    answers = []
    for forcing in (1.0 - 2.0**-40, 1.0):  # rounded to a multiple of 2**-32 it is certain
        net = model(6, recurrent=True, teacher_forcing=forcing)
        tape, forecast = recorded(net, rows, (4,), "float32")
        tape.forward(**given)
        answers.append((len(tape.nodes), tape.value(forecast).tobytes()))
    assert answers[0][0] > answers[1][0] and answers[0][1] == answers[1][1]


def test_forecasts_are_read_as_the_past():
    """What a second forecast of a window that ends with the first one's steps begins with."""
    tape, forecast = recorded(LSTM(5, recurrent=True), {"past_y": (9,)}, (4,), training=False)
    longer = tape.input((11,), name="longer")
    model = LSTM(5, recurrent=True)
    again = model.record(tape, {"past_y": longer}, (2,))
    y = np.random.default_rng(0).normal(size=(3, 9))
    tape.forward(past_y=y, longer=np.zeros((3, 11)))
    first = tape.value(forecast)
    tape.forward(past_y=y, longer=np.concatenate([y, first[:, :2]], axis=1))
    assert_array_equal(tape.value(again), first[:, 2:])


def test_several_values_of_a_step_are_read_as_their_mean():
    tape, forecast = recorded(RNN(5, recurrent=True), {"past_y": (9,)}, (3, 3), training=False)
    longer = tape.input((10,), name="longer")
    again = RNN(5, recurrent=True).record(tape, {"past_y": longer}, (1, 3))
    y = np.random.default_rng(0).normal(size=(3, 9))
    tape.forward(past_y=y, longer=np.zeros((3, 10)))
    first = tape.value(forecast)
    tape.forward(past_y=y, longer=np.column_stack([y, first[:, 0].mean(axis=1)]))
    assert_allclose(tape.value(again)[:, 0], first[:, 1], rtol=1e-13)


COVARIATES = {"past": 2, "future": 3, "static": 2}
GRADIENTS = {
    "direct": (LSTM(4, decoder_hidden_size=5), (4, 2), COVARIATES),
    "direct, short window": (GRU(4, decoder_hidden_size=5), (9,), COVARIATES),
    "dropout": (LSTM(4, 3, dropout=0.4, decoder_layers=1), (4,), {}),
    **{
        f"{label} {model.__name__}": (
            model(4, num_layers=2, dropout=0.2, recurrent=True, teacher_forcing=forcing),
            (4, 2) if forcing else (4,),
            COVARIATES,
        )
        for label, forcing in FORCING.items()
        for model in GATED
    },
    "one step": (GRU(4, recurrent=True, teacher_forcing=1.0), (1,), {}),
}


@pytest.mark.parametrize("label", GRADIENTS)
def test_gradients_of_models_are_derivatives(label):
    """Through forecasts that are read again too, and through dropout and drawn truths."""
    model, shape, columns = GRADIENTS[label]
    rng = np.random.default_rng(0)
    horizon = shape[0]
    rows = {"past_y": (6,), "past": (6, 2), "future": (6 + horizon, 3), "static": (2,)}
    rows = {name: row for name, row in rows.items() if name in ("past_y", *columns)}
    if model.recurrent:
        rows["future_y"] = (horizon,)
    inputs = {name: rng.normal(size=(3, *row)) for name, row in rows.items()}
    tape, _ = recorded(model, rows, shape)
    parameters = {p.name: rng.normal(size=p.shape) / np.sqrt(p.shape[0]) for p in tape.parameters}
    for name, value in parameters.items():
        if name == "decoder.layer_0.bias":  # ReLU: each unit well on one side of its kink
            value[:] = np.where(np.arange(value.size) % 3, 9.0, -9.0)

    def forecast(tape, **tensors):
        return model.record(tape, {name: tensors[name] for name in rows}, shape)

    assert ctrain.check_gradients(forecast, inputs, parameters) < 1e-8


# -------------------------------------------------------------------------- declarations

SHARED = {
    "num_layers": 2, "dropout": 0.0, "bias": True, "decoder_hidden_size": 128,
    "decoder_layers": 2, "recurrent": False, "teacher_forcing": 0.0,
}  # fmt: skip
DEFAULTS = {  # of neuralforecast 3.3; there is no teacher forcing
    LSTM: {"hidden_size": 128, **SHARED},
    GRU: {"hidden_size": 200, **SHARED},
    RNN: {"hidden_size": 128, "nonlinearity": "tanh", **SHARED},
}


@pytest.mark.parametrize("model", GATED)
def test_defaults(model):
    assert model().get_params() == DEFAULTS[model]
    assert clone(model(7)).get_params() == {**DEFAULTS[model], "hidden_size": 7}


@pytest.mark.parametrize("model", GATED)
@pytest.mark.parametrize("recurrent", [False, True])
@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 3)])
@pytest.mark.parametrize("steps", [1, 4, 15])
def test_a_prediction_has_the_shape_asked_for(model, recurrent, shape, steps):
    _, forecast = recorded(model(4, recurrent=recurrent), {"x": (steps,)}, shape)
    assert forecast.shape == shape


def test_weights_start_as_torchs():
    """Uniform within 1 / sqrt(hidden units) in the layers, 1 / sqrt(n_in) in the decoder."""
    tape, _ = recorded(LSTM(100), {"past_y": (9,)}, (4,))
    for p in tape.parameters:
        n_in = 128 if p.name.startswith("decoder.layer_1") else 100
        two = 2.0 if p.name.startswith("encoder.bias") else 1.0
        assert 0 < np.abs(p.value).max() <= two * n_in**-0.5
        assert p.decay == (".bias" not in p.name)


def test_dropout_acts_between_layers_in_training_only():
    drawn = [
        sum(
            node.op == "bernoulli"
            for node in recorded(GRU(4, 3, 0.2), {"x": (9,)}, (4,), training=t)[0].nodes
        )
        for t in (True, False)
    ]
    assert drawn == [2, 0]


@pytest.mark.parametrize(
    "model, message",
    [
        (LSTM(0), "hidden_size must be an integer of at least 1; got 0"),
        (GRU(num_layers=1.5), "num_layers must be an integer of at least 1; got 1.5"),
        (RNN(decoder_layers=0), "decoder_layers must be an integer of at least 1; got 0"),
        (RNN(decoder_hidden_size=None), "decoder_hidden_size must be an integer .*; got None"),
        (LSTM(dropout=1.0), r"dropout must be in \[0, 1\); got 1.0"),
        (LSTM(teacher_forcing=1.5), r"teacher_forcing must be in \[0, 1\]; got 1.5"),
        (LSTM(teacher_forcing=True), r"teacher_forcing must be in \[0, 1\]; got True"),
        (RNN(nonlinearity="gelu"), "nonlinearity must be one of tanh, relu; got 'gelu'"),
        (GRU(recurrent=True, teacher_forcing=0.5), "reads the target, .* set teacher_forcing=0"),
    ],
)
def test_wrong_settings_name_rule_and_value(model, message):
    with pytest.raises(ValueError, match=message):
        recorded(model, {"x": (15,)}, (6,))


def test_a_recursion_needs_a_window_of_one_series():
    with pytest.raises(ValueError, match=r"recurrent=True feeds .* got \(15, 2\): set recurrent"):
        recorded(LSTM(recurrent=True), {"x": (15, 2)}, (6,))
    with pytest.raises(ValueError, match=r"past_y must have row shape \(input_size,\)"):
        recorded(LSTM(), {"past_y": (15, 2)}, (6,))


# ----------------------------------------------------------------- fits of series and of arrays

FORCED = [model(3, recurrent=True, teacher_forcing=0.5, dropout=0.3) for model in GATED]


@pytest.mark.parametrize("model", FORCED, ids=lambda model: type(model).__name__)
def test_drawn_truths_are_the_same_on_any_number_of_threads_and_on_resume(model, tmp_path):
    data = frame(n_series=2, n_rows=40)
    fits = [forecaster(model, n_jobs=n, batch_size=50).fit(data) for n in (1, 2, 3, 7)]
    assert len({weights(fc) for fc in fits}) == 1
    each = Checkpoint(tmp_path / "{step}.npz", keep_last=9)
    forecaster(model, batch_size=50).set_callbacks(each).fit(data)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 3  # epochs of two steps
    for file in files[:2]:
        resumed = forecaster(model, batch_size=50).fit(data, resume=file)
        assert weights(resumed) == weights(fits[0])


def test_teacher_forcing_is_of_the_training_alone():
    """What comes after a cutoff is read by no forecast and by no loss of validation rows."""
    data = frame(n_series=2, n_rows=40)
    other = dict(data, y=data["y"] + 9.0 * (np.arange(80) % 40 >= 30))
    given = {"early_stopping": False, "batch_size": 50}
    fits = [forecaster(FORCED[0], **given).fit(d, val_size=10) for d in (data, other)]
    assert weights(fits[0]) == weights(fits[1])
    assert bits(fits[0].predict(data)) != bits(fits[0].predict(other))


@pytest.mark.parametrize("model", GATED)
def test_sequences_of_several_features(model):
    """The largest of the first feature: all steps matter."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 6, 2)).astype(np.float32)
    y = X[:, :, 0].max(axis=1)
    reg = Regressor(
        model=model(16, num_layers=1), max_iter=25, learning_rate_init=1e-2, batch_size=50,
        early_stopping=False, n_jobs=1, random_state=0,
    )  # fmt: skip
    assert reg.fit(X[:500], y[:500]).score(X[500:], y[500:]) > 0.8
    one = reg.predict(X[500:501])  # one row
    assert one.tobytes() == reg.predict(X[500:])[:1].tobytes()
