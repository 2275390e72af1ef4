"""Forecasting models: neuralforecast's numbers, decompositions, gradients, bad settings, fits."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from reference.make_attention import MODELS as ATTENTION
from reference.make_convolution_models import CASES as CONVOLUTIONS
from reference.make_forecast_models import CASES, COVARIATES, STORE, weights, windows
from reference.make_recurrent import MODELS as RECURRENT
from reference.make_transformers import CASES as TRANSFORMERS
from sklearn.base import clone

import ctrain
from ctrain import Regressor, models
from ctrain.models import MLP, NBEATS, NHITS, DLinear, NLinear, PatchTST, TiDE
from ctrain.models.bases import seasonality, trend
from ctrain.models.nhits import interpolation
from ctrain.optimizers import LBFGS


@pytest.fixture(scope="module")
def store():
    with np.load(STORE) as arrays:
        return dict(arrays)


def model_of(label):
    name, settings, *_ = CASES[label]
    if name == "MLP":
        return MLP((settings["hidden_size"],) * settings["num_layers"])
    return getattr(models, name)(**settings)


def recorded(model, shapes, shape, training=True, dtype="float64"):
    """A tape with the model on it, and its outputs by name."""
    tape = ctrain.Tape(dtype, training=training)
    inputs = {name: tape.input(row, name=name) for name, row in shapes.items()}
    answer = model.record(tape, inputs, shape)
    return tape, answer if isinstance(answer, dict) else {"prediction": answer}


def replayed(label):
    """A case with the weights of the reference, replayed: tape and outputs."""
    _, _, (_, horizon, values), _ = CASES[label]
    given = windows(label)
    shape = (horizon,) if values == 1 else (horizon, values)
    tape, outputs = recorded(
        model_of(label), {k: v.shape[1:] for k, v in given.items()}, shape, training=False
    )
    for p in tape.parameters:
        tape.parameters.assign(p.name, weights(label, p.name, p.shape))
    tape.forward(**given)
    return tape, outputs


# ------------------------------------------------------------------------- neuralforecast


def test_store_holds_exactly_the_cases(store):
    assert {key.rsplit(" ", 1)[0] for key in store if " " in key} == set(CASES)
    assert str(store["neuralforecast"]) == "3.3.0"
    # what only scales the columns of a table has no counterpart there; sequences have other files
    stores = (CONVOLUTIONS, RECURRENT, ATTENTION, TRANSFORMERS)
    elsewhere = {"Standardized", "DeepAR"} | {
        name for store in stores for name, *_ in store.values()
    }
    assert {name for name, *_ in CASES.values()} == set(models.__all__) - elsewhere


@pytest.mark.parametrize("label", CASES)
def test_forecasts_are_those_of_neuralforecast(store, label):
    tape, outputs = replayed(label)
    expected = store[f"{label} forecast"]
    answer = tape.value(outputs["prediction"]).reshape(expected.shape)
    assert_allclose(answer, expected, rtol=0, atol=1e-12 * np.abs(expected).max())
    assert sum(p.size for p in tape.parameters) == store[f"{label} count"]


@pytest.mark.parametrize("label", CASES)
def test_every_weight_of_a_case_moves_its_forecast(label):
    """All but what nothing can read; so those numbers cover all of a model."""
    tape, outputs = replayed(label)
    before, idle = tape.value(outputs["prediction"]), []
    for p in tape.parameters:
        start = p.value.copy()
        tape.parameters.assign(p.name, 1.5 * start)
        tape.forward(**windows(label))
        if np.abs(tape.value(outputs["prediction"]) - before).max() < 1e-12:
            idle.append(p.name)
        tape.parameters.assign(p.name, start)
    if label in ("dlinear one step", "dlinear no average"):
        assert idle == ["seasonality.weight"]  # all of the window is trend
    elif CASES[label][0] in ("NBEATS", "NHITS") and label != "nbeats shared":
        last = list(tape.parameters)[-1].name.split(".theta_")[0]
        assert idle == [f"{last}.theta_b.weight", f"{last}.theta_b.bias"]
    else:
        assert idle == []


@pytest.mark.parametrize("label", CASES)
def test_parts_add_up_to_the_forecast(store, label):
    tape, outputs = replayed(label)
    parts = [tape.value(x) for k, x in outputs.items() if k not in ("prediction", "backcast")]
    if not parts:
        assert CASES[label][0] in ("NLinear", "MLP", "TiDE")
        return
    whole = tape.value(outputs["prediction"])
    assert_allclose(sum(parts), whole, rtol=0, atol=1e-13 * np.abs(parts).max())
    if f"{label} parts" in store:
        theirs = store[f"{label} parts"]
        ends = np.cumsum([1, *CASES[label][1].get("n_blocks", (1, 1, 1))])
        stacks = [theirs[:, a:b].sum(axis=1) for a, b in zip([0, *ends], ends, strict=False)]
        assert_allclose(parts, stacks, rtol=0, atol=1e-12 * np.abs(theirs).max())


# --------------------------------------------------------------------------------- shapes


@pytest.mark.parametrize(
    "model", [NLinear(), DLinear(), MLP(), NBEATS(), NHITS(), TiDE(), PatchTST(2, 2, 4)]
)
@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 3)])
def test_a_prediction_has_the_shape_asked_for(model, shape):
    _, outputs = recorded(model, {"x": (15,)}, shape)
    parts = [v for k, v in outputs.items() if k != "backcast"]
    assert {x.shape for x in parts} == {shape}
    assert "backcast" not in outputs or outputs["backcast"].shape == (15,)


def test_stacks_of_one_type_are_told_apart():
    model = NBEATS(
        stack_types=["trend", "identity", "trend"], n_blocks=[1, 1, 1], mlp_units=[[4, 4]]
    )
    _, outputs = recorded(model, {"x": (15,)}, (6,))
    assert list(outputs) == ["prediction", "level", "trend_0", "identity", "trend_2", "backcast"]


def test_missing_steps_count_as_explained():
    tape, outputs = replayed("nhits masked")
    given = windows("nhits masked")
    missing = given["past_mask"] == 0
    backcast = tape.value(outputs["backcast"])
    assert_array_equal(backcast[missing], given["past_y"][missing])
    assert (backcast[~missing] != given["past_y"][~missing]).all()


def test_no_interpolation_is_a_knot_for_each_step():
    shapes, small = {"x": (15,)}, ((4, 4),)
    X = np.random.default_rng(0).normal(size=(3, 15))
    answers = []
    for settings in ({"interpolation_mode": "none"}, {"n_freq_downsample": (1, 1, 1)}):
        tape, outputs = recorded(NHITS(mlp_units=small, **settings), shapes, (8,))
        tape.forward(x=X)
        answers.append(tape.value(outputs["prediction"]))
    assert_array_equal(*answers)


@pytest.mark.parametrize("mode", ["linear", "nearest", "cubic"])
@pytest.mark.parametrize("n_knots, horizon", [(1, 7), (3, 7), (6, 24), (7, 7)])
def test_interpolation_keeps_a_level(mode, n_knots, horizon):
    weights = interpolation(mode, n_knots, horizon)
    assert_allclose(weights.sum(axis=0), 1.0, rtol=1e-15)
    if n_knots == horizon:
        assert_array_equal(weights, np.eye(horizon))


def test_the_paper_s_seasonality_is_a_fourier_basis():
    backcast, forecast = seasonality(1, 30, 12)
    gram = forecast @ forecast.T
    assert_allclose(gram, np.diag([12.0] + [6.0] * 5 + [0.0] + [6.0] * 5), atol=1e-12)
    assert backcast.shape == (12, 30)


def test_a_trend_of_degree_two_holds_every_parabola():
    t = np.arange(12.0)
    for kind in ("polynomial", "legendre", "chebyshev"):
        _, forecast = trend(kind, 2, 30, 12)
        parabola = 3.0 - t + 0.25 * t**2
        weights, *_ = np.linalg.lstsq(forecast.T, parabola, rcond=None)
        assert_allclose(weights @ forecast, parabola, atol=1e-12)


# ------------------------------------------------------------------------------- gradients

SMOOTH = {"mlp_units": ((5, 4), (4, 6)), "activation": "softplus"}
GRADIENTS = {
    "nlinear": (NLinear(), (4, 3), {}),
    "dlinear": (DLinear(5), (4, 3), {}),
    "mlp": (MLP((5, 4), "tanh"), (4,), COVARIATES),
    "nbeats": (NBEATS(**SMOOTH), (4, 3), {}),
    "nbeats masked": (NBEATS(**SMOOTH), (4,), {"past_mask": 1}),
    "nbeats shared": (
        NBEATS(**SMOOTH, n_blocks=(2, 2, 2), shared_weights=True, basis="legendre"),
        (4,),
        {},
    ),
    "nbeats dropout": (NBEATS(**SMOOTH, dropout_prob_theta=0.3), (4,), {}),
    "nhits": (NHITS(**SMOOTH), (4, 3), COVARIATES),
    "nhits masked": (NHITS(**SMOOTH, pooling_mode="AvgPool1d"), (4,), {"past_mask": 1}),
    "nhits relu": (NHITS(mlp_units=((5, 4),)), (4,), {}),
    "tide": (TiDE(8, 3, 4, dropout=0.0, num_encoder_layers=2), (4,), COVARIATES),
    "tide dropout": (TiDE(8, 3, 4, num_decoder_layers=2), (4, 3), COVARIATES),
    "patchtst": (PatchTST(2, 2, 4, 3, patch_len=4, stride=3, revin_affine=True), (4, 3), {}),
    "patchtst masked": (PatchTST(1, 2, 4, 3, patch_len=4), (4,), {"past_mask": 1}),
    "patchtst fused": (
        PatchTST(2, 2, 4, 3, res_attention=False, attn_dropout=0.2, batch_normalization=True),
        (4,),
        {},
    ),
}


@pytest.mark.parametrize("label", GRADIENTS)
def test_gradients_are_derivatives(label):
    model, shape, columns = GRADIENTS[label]
    rng = np.random.default_rng(0)
    rows = {"past_y": (11,), "past_mask": (11,), "past": (11, 2), "future": (15, 3), "static": (2,)}
    rows = {name: row for name, row in rows.items() if name in ("past_y", *columns)}
    inputs = {name: rng.normal(size=(4, *row)) for name, row in rows.items()}
    if "past_mask" in inputs:
        inputs["past_mask"] = np.float64(inputs["past_mask"] > -0.5)
    tape, _ = recorded(model, rows, shape)
    parameters = {
        p.name: rng.normal(size=p.shape) / np.sqrt(p.shape[0])
        for p in tape.parameters
        if p.trainable
    }
    for name, value in parameters.items():
        if name.endswith("dense.bias"):  # ReLU: each unit well on one side of its kink
            value[:] = np.where(np.arange(value.size) % 3, 9.0, -9.0)

    def forecast(tape, **tensors):
        answer = model.record(tape, {name: tensors[name] for name in rows}, shape)
        return answer["prediction"] if isinstance(answer, dict) else answer

    checked = [name for name in (*inputs, *parameters) if name != "past_mask"]
    assert ctrain.check_gradients(forecast, inputs, parameters, wrt=checked) < 1e-8


# -------------------------------------------------------------------------- declarations

DEFAULTS = {  # of neuralforecast 3.3
    DLinear: {"moving_avg_window": 25},
    NBEATS: {
        "n_harmonics": 2,
        "n_basis": 2,
        "basis": "polynomial",
        "stack_types": ("identity", "trend", "seasonality"),
        "n_blocks": (1, 1, 1),
        "mlp_units": ((512, 512),) * 3,
        "dropout_prob_theta": 0.0,
        "activation": "relu",
        "shared_weights": False,
    },
    NHITS: {
        "n_blocks": (1, 1, 1),
        "mlp_units": ((512, 512),) * 3,
        "n_pool_kernel_size": (2, 2, 1),
        "n_freq_downsample": (4, 2, 1),
        "pooling_mode": "MaxPool1d",
        "interpolation_mode": "linear",
        "dropout_prob_theta": 0.0,
        "activation": "relu",
    },
    NLinear: {},
    TiDE: {
        "hidden_size": 512,
        "decoder_output_dim": 32,
        "temporal_decoder_dim": 128,
        "dropout": 0.3,
        "layernorm": True,
        "num_encoder_layers": 1,
        "num_decoder_layers": 1,
        "temporal_width": 4,
    },
    PatchTST: {
        "encoder_layers": 3,
        "n_heads": 16,
        "hidden_size": 128,
        "linear_hidden_size": 256,
        "dropout": 0.2,
        "head_dropout": 0.0,
        "attn_dropout": 0.0,
        "patch_len": 16,
        "stride": 8,
        "revin": True,
        "revin_affine": False,
        "revin_subtract_last": True,
        "activation": "gelu",
        "res_attention": True,
        "batch_normalization": False,
        "learn_pos_embed": True,
    },
}


@pytest.mark.parametrize("model", DEFAULTS)
def test_defaults(model):
    assert model().get_params() == DEFAULTS[model]
    assert clone(model()).get_params() == DEFAULTS[model]


@pytest.mark.parametrize("model", DEFAULTS)
def test_weights_start_uniform_within_one_over_the_root_of_the_inputs(model):
    tape, _ = recorded(model(), {"x": (144,)}, (24,))
    for p in tape.parameters:
        if ".norm" in p.name:
            assert_array_equal(p.value, float(p.name.endswith(("weight", "running_var"))))
        elif p.name == "positions.weight":
            assert p.value.std() == pytest.approx(0.02 / np.sqrt(3), rel=0.1) and not p.decay
        elif p.name.endswith("weight"):
            bound = p.shape[0] ** -0.5
            assert np.abs(p.value).max() <= bound and p.decay
            assert p.value.std() == pytest.approx(bound / np.sqrt(3), rel=0.1)
        else:
            weight = tape.parameters[p.name.replace(".bias", ".weight")]
            assert 0 < np.abs(p.value).max() <= weight.shape[0] ** -0.5 and not p.decay


DRAWS = {NBEATS: 9, NHITS: 9, TiDE: 3, PatchTST: 10}


@pytest.mark.parametrize("model", DRAWS)
def test_dropout_acts_in_training_only(model):
    name = "dropout" if "dropout" in model().get_params() else "dropout_prob_theta"
    drawn = []
    for training in (True, False):
        tape, _ = recorded(model(**{name: 0.2}), {"x": (15,)}, (6,), training=training)
        drawn.append(sum(node.op == "bernoulli" for node in tape.nodes))
    assert drawn == [DRAWS[model], 0]


@pytest.mark.parametrize(
    "model, message",
    [
        (DLinear(4), "moving_avg_window must be odd; got 4"),
        (DLinear(0), "moving_avg_window must be an integer of at least 1; got 0"),
        (DLinear(2.5), "moving_avg_window must be an integer of at least 1; got 2.5"),
        (NBEATS(n_harmonics=0), "n_harmonics must be an integer of at least 1; got 0"),
        (NBEATS(n_basis=True), "n_basis must be an integer of at least 1; got True"),
        (NBEATS(basis="spline"), "n_basis must be an integer of at least 3; got 2"),
        (NBEATS(basis="fourier"), r"basis must be one of polynomial, .*; got 'fourier'"),
        (NBEATS(stack_types=("trend", "x")), "stack_types must be one of .*; got 'x'"),
        (NBEATS(stack_types=None), "stack_types must be one of .*; got None"),
        (NBEATS(n_blocks=(1, 1)), r"n_blocks must be 3 integers, .* at least 1; got \(1, 1\)"),
        (
            NBEATS(mlp_units=((4, 5), (4, 4))),
            r"mlp_units must be pairs .* got \(\(4, 5\), \(4, 4\)",
        ),
        (NBEATS(mlp_units=()), r"mlp_units must be pairs .* got \(\)"),
        (NBEATS(mlp_units=None), "mlp_units must be pairs .* got None"),
        (NBEATS(mlp_units=((0, 4),)), r"mlp_units must be .* of at least 1; got \[0, 4\]"),
        (NBEATS(activation="ReLU"), "activation must be .*; got 'ReLU'; did you mean 'relu'?"),
        (NBEATS(dropout_prob_theta=1.0), r"dropout_prob_theta must be in \[0, 1\); got 1.0"),
        (NHITS(n_blocks=3), "n_blocks must be a sequence of integers of at least 1; got 3"),
        (NHITS(n_pool_kernel_size=(2, 1)), r"n_pool_kernel_size must be 3 .*; got \(2, 1\)"),
        (NHITS(n_freq_downsample=(2, 0, 1)), r"n_freq_downsample must be 3 .*; got \(2, 0, 1\)"),
        (NHITS(pooling_mode="max"), "pooling_mode must be one of MaxPool1d, .*; got 'max'"),
        (NHITS(interpolation_mode="spline"), "interpolation_mode must be one .*; got 'spline'"),
        (NHITS(activation=None), "activation must be one of .*; got None"),
        (NHITS(dropout_prob_theta=-0.1), r"dropout_prob_theta must be in \[0, 1\); got -0.1"),
        (TiDE(hidden_size=0), "hidden_size must be an integer of at least 1; got 0"),
        (TiDE(num_decoder_layers=0), "num_decoder_layers must be an integer of at least 1; got 0"),
        (TiDE(temporal_width="4"), "temporal_width must be an integer of at least 1; got '4'"),
        (TiDE(dropout=None), r"dropout must be in \[0, 1\); got None"),
        (PatchTST(patch_len=0), "patch_len must be an integer of at least 1; got 0"),
        (PatchTST(n_heads=3), "hidden_size must be a multiple of n_heads; got 128 and 3"),
        (PatchTST(attn_dropout=1), r"attn_dropout must be in \[0, 1\); got 1"),
        (PatchTST(activation="GELU"), "activation must be .*; got 'GELU'; did you mean 'gelu'?"),
    ],
)
def test_wrong_settings_name_rule_and_value(model, message):
    with pytest.raises(ValueError, match=message):
        recorded(model, {"x": (15,)}, (6,))


def test_interpretable_stacks_need_a_horizon():
    with pytest.raises(ValueError, match="trend and seasonality need a horizon of at least 2"):
        recorded(NBEATS(), {"x": (15,)}, (1,))


@pytest.mark.parametrize("model", [NLinear(), DLinear(), NBEATS(), PatchTST()])
def test_models_without_covariates_refuse_them(model):
    shapes = {"past_y": (15,), "past": (15, 2), "static": (1,)}
    with pytest.raises(ValueError, match=f"{type(model).__name__} takes no .*; got past, static"):
        recorded(model, shapes, (6,))


@pytest.mark.parametrize("model", [NLinear(), DLinear(), NBEATS(), NHITS(), TiDE(), PatchTST()])
def test_a_window_has_one_axis(model):
    with pytest.raises(ValueError, match=r"x must have row shape \(input_size,\); got \(15, 2\)"):
        recorded(model, {"x": (15, 2)}, (6,))


# -------------------------------------------------------------------------------- Regressor

FITTED = [
    NLinear(),
    DLinear(7),
    MLP((32, 32)),
    NBEATS(mlp_units=((32, 32),)),
    NHITS(mlp_units=((32, 32),)),
    TiDE(32, 4, 8, dropout=0.1),
    PatchTST(1, 2, 16, 32, dropout=0.0, patch_len=8, stride=4),
]


def series():
    """Windows of a noisy wave with two periods: 24 steps, and the 8 that follow."""
    t = np.arange(600.0)
    y = np.sin(t / 3.0) + 0.5 * np.cos(t / 11.0)
    y += np.random.default_rng(0).normal(size=t.size) * 0.05
    view = np.lib.stride_tricks.sliding_window_view(y, 32)
    return view[:, :24], view[:, 24:]


@pytest.mark.parametrize("model", FITTED, ids=lambda model: type(model).__name__)
def test_windows_of_a_wave_are_learned(model):
    X, y = series()
    reg = Regressor(
        model=model, loss="mae", max_iter=40, learning_rate_init=5e-3, batch_size=64, random_state=0
    )
    answers = [reg.set_params(n_jobs=n).fit(X[:400], y[:400]).predict(X[432:]) for n in (1, 3)]
    assert answers[0].tobytes() == answers[1].tobytes()
    error, naive = (np.abs(a - y[432:]).mean() for a in (answers[0], X[432:, -1:]))
    assert error < naive / 4


@pytest.mark.parametrize("model", [NLinear(), DLinear(7)], ids=lambda model: type(model).__name__)
def test_linear_models_reach_least_squares(model):
    X, y = series()
    last = X[:, -1:] if isinstance(model, NLinear) else 0.0
    design = np.column_stack((X - last, np.ones(len(X))))
    weights, *_ = np.linalg.lstsq(design[:400], (y - last)[:400], rcond=None)
    reg = Regressor(model=model, optimizer=LBFGS(tol=1e-9), early_stopping=False, max_iter=2000)
    answer = reg.fit(X[:400], y[:400]).predict(X[432:])
    assert_allclose(answer, (design @ weights + last)[432:], atol=1e-5)


def test_a_grid_searches_the_settings_of_a_model():
    reg = Regressor(model=NHITS(mlp_units=((8, 8),)))
    copy = clone(reg).set_params(model__n_freq_downsample=(8, 2, 1), model__n_blocks=(1, 2, 1))
    assert reg.model.n_blocks == (1, 1, 1) and copy.model.n_blocks == (1, 2, 1)
    assert copy.model.n_freq_downsample == (8, 2, 1)
