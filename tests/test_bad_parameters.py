"""Parameters, models and losses that cannot work are refused before any work."""

from __future__ import annotations

import inspect
import re

import numpy as np
import pytest
from small import problem

import ctrain
from ctrain import Regressor, losses, optimizers, training
from ctrain.losses import Huber, LogLoss, Quantile, Weighted

N, WIDTH = 12, 3
X, Y = problem(N, WIDTH)
NAN, INF = np.nan, np.inf


@pytest.fixture
def no_work(monkeypatch):
    """Fail where training begins."""

    def begin(*_, **__):
        raise AssertionError("training began")

    monkeypatch.setattr(training, "fit", begin)


INT = "must be an int in the range"
FLOAT = "must be a float in the range"
PARAMETERS = {
    "hidden_layer_sizes": (
        "hidden_layer_sizes must be an integer of at least 1 or a sequence of them",
        [0, -1, (4, 0), (4, 2.0), "100", None, 1.5, True, ((4,),), {"a": 1}, np.ones(2)],
    ),
    "activation": (
        "activation must be one",
        ["ReLu", "rellu", None, 3, ("relu", "relu"), [3], (), ["tanhh"], np.array([1.0])],
    ),
    "loss": (
        "loss must be",
        ["squarederror", "MSE", None, 3, Huber, ("mse",), np.array([1.0]), {}],
    ),
    "optimizer": (
        "optimizer",
        ["adma", "AdamW", None, 3, optimizers.Adam, ("adam",), np.array([1.0]), {}],
    ),
    "learning_rate_init": (
        f"'learning_rate_init' parameter of Regressor {FLOAT} (0.0, inf)",
        [0, -1e-3, NAN, INF, None, "0.1", True, np.ones(2), 1j],
    ),
    "schedule": ("schedule", ["constnat", None, 3, dict, np.array([1.0])]),
    "alpha": (f"'alpha' parameter of Regressor {FLOAT} [0.0, inf)", [-1e-9, NAN, INF, None, "1"]),
    "l1": (f"'l1' parameter of Regressor {FLOAT} [0.0, inf)", [-1e-9, NAN, INF, None, [1.0]]),
    "dropout": (f"'dropout' parameter of Regressor {FLOAT} [0.0, 1.0)", [-0.1, 1, 1.5, NAN, None]),
    "clip_norm": (
        f"'clip_norm' parameter of Regressor {FLOAT} (0.0, inf) or None",
        [0, -1, NAN, INF, "1"],
    ),
    "clip_value": (
        f"'clip_value' parameter of Regressor {FLOAT} (0.0, inf) or None",
        [0, -1, NAN, INF, "1"],
    ),
    "batch_size": (
        f"'batch_size' parameter of Regressor {INT} [1, inf) or 'auto'",
        [0, -1, 1.0, None, "Auto", True, NAN, np.ones(2)],
    ),
    "accumulate_steps": (
        f"'accumulate_steps' parameter of Regressor {INT} [1, inf)",
        [0, -1, 1.5, None, "2", True],
    ),
    "max_iter": (
        f"'max_iter' parameter of Regressor {INT} [1, inf)",
        [0, -1, 1.5, None, "2", True],
    ),
    "max_steps": (
        f"'max_steps' parameter of Regressor {INT} [1, inf) or None",
        [0, -1, 1.5, "2", True],
    ),
    "max_time": (
        f"'max_time' parameter of Regressor {FLOAT} (0.0, inf) or None",
        [0, -1, NAN, INF, "1", True],
    ),
    "shuffle": ("'shuffle' parameter of Regressor must be a bool", [0, 1, None, "yes", np.ones(2)]),
    "early_stopping": (
        "'early_stopping' parameter of Regressor must be a bool or 'auto'",
        [0, 1, None, "Auto", "yes", np.ones(2)],
    ),
    "validation_fraction": (
        f"'validation_fraction' parameter of Regressor {FLOAT} (0.0, 1.0)",
        [0, 0.0, -0.1, 1.0, NAN, None, "a"],
    ),
    "validation_interval": (
        f"'validation_interval' parameter of Regressor {INT} [1, inf)",
        [0, -1, 1.5, None, "2", True],
    ),
    "n_iter_no_change": (
        f"'n_iter_no_change' parameter of Regressor {INT} [1, inf) or inf",
        [0, -1, 1.5, None, "2", True, NAN, -INF],
    ),
    "tol": (f"'tol' parameter of Regressor {FLOAT} [0.0, inf)", [-1e-9, NAN, INF, None, "1"]),
    "monitor": (
        "'monitor' parameter of Regressor must be a scorer or a name of "
        "sklearn.metrics.get_scorer_names() or 'loss'",
        ["r3", "Loss", None, 3, np.ones(2)],
    ),
    "metrics": (
        "'metrics' parameter of Regressor must be a scorer or a name of "
        "sklearn.metrics.get_scorer_names(). Got",
        ["r3", ["loss", "r2"], 3, [None], np.ones(2)],
    ),
    "model": ("model must be a callable", [3, "mlp", ctrain.models.MLP, (1,), np.ones(2)]),
    "dtype": (
        "'dtype' parameter of Regressor must be one of 'auto', 'float32', 'float64'",
        ["float16", "Float32", "single", None, np.float32, 32, np.ones(2)],
    ),
    "n_jobs": ("n_jobs must be", [0, 1.5, "a", "2", True, [1], NAN, np.ones(2)]),
    "random_state": ("random_state", ["a", 1.5, -1, 2**40, np.random.default_rng(0), [1.5]]),
    "warm_start": ("'warm_start' parameter of Regressor must be a bool", [0, 1, None, "no"]),
    "verbose": (f"'verbose' parameter of Regressor {INT} [0, inf)", [-1, 1.5, None, "yes", True]),
}


def test_every_parameter_has_bad_values():
    assert set(PARAMETERS) == set(inspect.signature(Regressor).parameters)


@pytest.mark.parametrize(
    "name, value", [(name, value) for name, (_, values) in PARAMETERS.items() for value in values]
)
def test_parameter(name, value, no_work):
    reg = Regressor(**{name: value})  # refused in fit, as scikit-learn asks
    with pytest.raises((ValueError, TypeError), match=re.escape(PARAMETERS[name][0])) as info:
        reg.fit(X, Y)
    one_of_them = name in {"activation", "metrics"} and isinstance(value, list)
    shown = value[0] if one_of_them else value
    assert any(repr(v) in str(info.value) for v in (shown, getattr(value, "__name__", shown)))


PLUGS = [
    (Huber(0.0), "'delta' parameter of Huber", "0.0"),
    (Huber("1"), "'delta' parameter of Huber", "'1'"),
    (Huber(INF), "'delta' parameter of Huber", "inf"),
    (Quantile(1.0), "'levels' parameter of Quantile", "1.0"),
    (Quantile(()), "'levels' parameter of Quantile", "()"),
    (Quantile("a"), "'levels' parameter of Quantile", "'a'"),
    (Quantile(None), "'levels' parameter of Quantile", "None"),
    (Quantile((0.1, NAN)), "'levels' parameter of Quantile", "nan"),
    (Quantile([[0.1]]), "'levels' parameter of Quantile", "[[0.1]]"),
    (Quantile((0.1, 0.2), (1.0,)), "'weights' parameter of Quantile must be 2", "(1.0,)"),
    (Quantile(0.1, -1.0), "'weights' parameter of Quantile must be 1", "-1.0"),
    (LogLoss(1.1), "'label_smoothing' parameter of LogLoss", "1.1"),
    (LogLoss("a"), "'label_smoothing' parameter of LogLoss", "'a'"),
    (Weighted(Huber(-1.0), abs), "'delta' parameter of Huber", "-1.0"),
    (Weighted("mse", 3), "'function' parameter of Weighted must be callable", "3"),
    (Weighted("msee", abs), "loss must be one of", "'msee'"),
    (optimizers.SGD(momentum=2.0), "'momentum' parameter of SGD", "2.0"),
    (optimizers.Adam(betas=(0.9, 1.0)), "'betas' parameter of Adam", "(0.9, 1.0)"),
    (optimizers.AdamW(weight_decay=-1), "'weight_decay' parameter of AdamW", "-1"),
    (optimizers.LBFGS(memory=0), "'memory' parameter of LBFGS", "0"),
]


@pytest.mark.parametrize("plug, message, value", PLUGS, ids=lambda v: str(v))
def test_parameter_of_a_plug(plug, message, value, no_work):
    name = "loss" if isinstance(plug, losses.Loss) else "optimizer"
    with pytest.raises((ValueError, TypeError), match=re.escape(message)) as info:
        Regressor(**{name: plug}).fit(X, Y)
    assert value in str(info.value)


@pytest.mark.parametrize(
    "name, value, meant",
    [
        ("activation", "rellu", "relu"),
        ("activation", "GELU", "gelu"),
        ("loss", "squared_eror", "squared_error"),
        ("loss", "MAE", "mae"),
        ("optimizer", "admw", "adamw"),
        ("optimizer", "LBFGS", "lbfgs"),
        ("schedule", "constnat", "constant"),
        ("dtype", "float23", "float32"),
        ("monitor", "neg_mean_squared_eror", "neg_mean_squared_error"),
        ("metrics", "r_2", "r2"),
    ],
)
def test_did_you_mean(name, value, meant, no_work):
    with pytest.raises(ValueError, match=rf"[Dd]id you mean '{meant}'\?"):
        Regressor(**{name: value}).fit(X, Y)


def test_a_class_instead_of_an_object(no_work):
    with pytest.raises(TypeError, match=r"did you mean Huber\(\)\?"):
        Regressor(loss=Huber).fit(X, Y)


REPLACED = {
    "solver": "optimizer=",
    "learning_rate": "schedule= and learning_rate_init=",
    "power_t": "schedule=",
    "momentum": r"SGD\(momentum",
    "nesterovs_momentum": r"SGD\(nesterov",
    "beta_1": r"Adam\(betas",
    "beta_2": r"Adam\(betas",
    "epsilon": r"Adam\(eps",
    "max_fun": "LBFGS",
    "max_iters": r"did you mean 'max_iter'\?",
    "hidden_layers": r"did you mean 'hidden_layer_sizes'\?",
    "xyz": r"valid parameters are \['hidden_layer_sizes'",
}


@pytest.mark.parametrize("name", REPLACED)
def test_unknown_name(name):
    message = rf"Regressor has no parameter '{name}'.*{REPLACED[name]}"
    with pytest.raises(TypeError, match=message):
        Regressor(**{name: 1})
    if name != "xyz":
        with pytest.raises(ValueError, match=message):
            Regressor().set_params(**{name: 1})
    with pytest.raises(ValueError, match=f"Regressor has no parameter '{name}__inner'"):
        Regressor().set_params(**{f"{name}__inner": 1})


def test_parameters_of_a_name():
    with pytest.raises(ValueError, match=r"optimizer__eps needs an object .*optimizer='adamw'"):
        Regressor().set_params(optimizer__eps=1e-6)
    changed = Regressor().set_params(optimizer=optimizers.AdamW(), optimizer__eps=1e-6)
    assert changed.optimizer.eps == 1e-6
    with pytest.raises(ValueError, match="'epsilon'"):
        changed.set_params(optimizer__epsilon=1)


# ---------------------------------------------------------------- combinations, and plugs


def other_tape(tape, x):
    foreign = ctrain.Tape(tape.dtype)
    return foreign.matmul(foreign.input((WIDTH,), name="x"), foreign.parameter((WIDTH, 1)))


def unused_parameter(tape, x):
    tape.parameter((3,))
    return tape.mean(x)


def frozen(tape, x):
    return tape.matmul(x, tape.parameter((WIDTH, 1), trainable=False))


MODELS = {
    "too wide": (lambda t, x: x, r"model: the prediction must have shape \(1,\).* got \(3,\)"),
    "two axes": (
        lambda t, x: t.reshape(t.mean(x), (1, 1)),
        r"shape \(1,\).* got \(1, 1\)",
    ),
    "nothing": (lambda t, x: None, r"model: prediction must be a tensor .* NoneType", TypeError),
    "array": (lambda t, x: np.ones(1), r"must be a tensor of the tape; got ndarray", TypeError),
    "tuple": (lambda t, x: (x, x), r"must be a tensor of the tape; got tuple", TypeError),
    "dict without prediction": (
        lambda t, x: {"trend": x},
        r"dict needs 'prediction'; got \['trend'\]",
    ),
    "dict with an array": (
        lambda t, x: {"prediction": t.mean(x), "trend": 1.0},
        r"model: trend must be a tensor",
        TypeError,
    ),
    "constant": (
        lambda t, x: t.parameter((1,)),
        r"the prediction does not depend on the input",
    ),
    "another tape": (other_tape, r"model: prediction: .* belongs to another tape"),
    "no parameter": (lambda t, x: t.mean(x), r"depends on no trainable parameter"),
    "unused parameter": (unused_parameter, r"depends on no trainable parameter"),
    "frozen parameter": (frozen, r"depends on no trainable parameter"),
    "shapes that do not fit": (
        lambda t, x: t.matmul(x, t.parameter((5, 1))),
        r"matmul: .*\(3,\).*\(5, 1\)",
    ),
}


@pytest.mark.parametrize("case", MODELS)
def test_model(case, no_work):
    model, message, *error = MODELS[case]
    with pytest.raises(error[0] if error else ValueError, match=message):
        Regressor(model=model).fit(X, Y)


CALLABLES = {
    "one for each target": (lambda t, p, y: t.square(t.sub(p, y)), r"shape \(\); got"),
    "number": (lambda t, p, y: 1.0, r"loss must return one number per row"),
    "nothing": (lambda t, p, y: None, r"loss: expected a tensor .* NoneType", TypeError),
    "target alone": (lambda t, p, y: t.mean(y), r"depends on no trainable parameter"),
    "parameter": (lambda t, p, y: t.parameter(()), r"loss must return one number per row"),
    "stopped": (
        lambda t, p, y: t.squared_error(t.stop_gradient(p), y),
        r"no trainable parameter",
    ),
    "weight of each target": (
        Weighted("mse", lambda t, y: t.square(y)),
        r"Weighted: .* shape \(\); got \(1,\)",
    ),
    "weight is nothing": (
        Weighted("mse", lambda t, y: None),
        r"Weighted: expected a tensor",
        TypeError,
    ),
}


@pytest.mark.parametrize("case", CALLABLES)
def test_loss(case, no_work):
    loss, message, *error = CALLABLES[case]
    with pytest.raises(error[0] if error else ValueError, match=message):
        Regressor(loss=loss).fit(X, Y)


COMBINATIONS = [
    ({"optimizer": "lbfgs", "l1": 0.1}, r"needs a smooth objective; l1 must be 0"),
    ({"optimizer": "lbfgs", "dropout": 0.1}, r"deterministic objective; dropout must be 0"),
    ({"activation": ("relu", "tanh")}, r"one name or one for each of the 1 hidden layers"),
    (
        {"early_stopping": True, "validation_fraction": 0.99},
        r"validation_fraction=0.99 of n_samples=12 leaves no row to train on",
    ),
]


@pytest.mark.parametrize("parameters, message", COMBINATIONS)
def test_combination(parameters, message, no_work):
    with pytest.raises(ValueError, match=message):
        Regressor(**parameters).fit(X, Y)


def test_a_schedule_that_returns_nonsense():
    for value in (NAN, -1.0, "a", None):
        with pytest.raises((ValueError, TypeError), match=r"schedule.* at step 0"):
            Regressor(schedule=lambda step, value=value: value).fit(X, Y)
