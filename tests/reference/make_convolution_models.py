"""Forecasts and gradients of TCN and TSMixer in neuralforecast, for test_convolution_models.py.

``python tests/reference/make_convolution_models.py`` rewrites convolution_models.npz; it needs
neuralforecast, the tests do not. Weights and windows are made here from names and shapes, so only
outputs and gradients are stored. Everything is float64.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

STORE = Path(__file__).with_name("convolution_models.npz")
ROWS = 3
QUANTILES = (0.1, 0.5, 0.9)
COVARIATES = {"past": 2, "future": 3, "static": 2}
SMALL = {"encoder_hidden_size": 6, "decoder_hidden_size": 5}

#: label: model, settings, (input_size, horizon, values for each step), columns of covariates, or
#: {"n_series": n}
CASES = {
    "tcn": ("TCN", SMALL, (13, 6, 1), {}),
    "tcn all inputs": ("TCN", {**SMALL, "decoder_layers": 3}, (13, 6, 3), COVARIATES),
    "tcn three taps": (
        "TCN",
        {
            **SMALL,
            "kernel_size": 3,
            "dilations": (1, 3),
            "encoder_activation": "tanh",
            "decoder_activation": "softplus",
        },
        (9, 4, 1),
        {"future": 2},
    ),
    "tcn linear decoder": (
        "TCN",
        {**SMALL, "dilations": (2,), "decoder_layers": 1},
        (9, 4, 2),
        {"past": 1},
    ),
    **{
        f"tsmixer{label}": (
            "TSMixer",
            {"ff_dim": 5, "dropout": 0.0, **settings},
            (9, 4, values),
            {"n_series": 3},
        )
        for label, settings, values in (
            ("", {}, 1),
            (" plain", {"revin": False, "n_block": 1}, 1),
            (" quantiles", {"n_block": 1}, 3),
        )
    },
}


def made(label: str, name: str, *shape: int) -> np.ndarray:
    """Weights, inputs and the gradient of the output by their name and shape in ctrain."""
    rng = np.random.RandomState(zlib.crc32(f"{label} {name}".encode()))
    if name.endswith(("gain", "norm.weight", "running_var")):  # away from 0
        return rng.uniform(0.5, 1.5, shape)
    bound = 1.5 / np.sqrt(shape[0]) if name.endswith("weight") and len(shape) > 1 else 1.0
    return rng.uniform(-bound, bound, shape)


def row_shapes(label: str) -> dict[str, tuple[int, ...]]:
    """Row shapes of the inputs of a case by their names in ctrain."""
    _, _, (input_size, horizon, _), columns = CASES[label]
    if "n_series" in columns:
        return {"past_y": (input_size, columns["n_series"])}
    leading = {"past": (input_size,), "future": (input_size + horizon,), "static": ()}
    return {"past_y": (input_size,), **{k: (*leading[k], n) for k, n in columns.items()}}


def stored(label: str) -> dict[str, np.ndarray]:
    """Output and gradients of a case by their names in ctrain."""
    with np.load(STORE) as arrays:
        start = f"{label}: "
        return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}


# ------------------------------------------------------------------- neuralforecast's side

CLASSES = {"relu": "ReLU", "tanh": "Tanh", "softplus": "Softplus"}
MIXERS = {"norm": "norm", "lin": "dense", "lin_1": "dense", "lin_2": "output"}
NAMES = {"hist_exog": "past", "futr_exog": "future", "stat_exog": "static"}


def build(label: str):
    """The model of a case."""
    from neuralforecast import models
    from neuralforecast.losses.pytorch import MAE, MQLoss

    name, settings, (input_size, horizon, values), columns = CASES[label]
    settings = {
        k: CLASSES[v] if k.endswith("activation") else list(v) if isinstance(v, tuple) else v
        for k, v in settings.items()
    }
    if "n_series" in columns:
        settings["n_series"] = columns["n_series"]
    lists = {f"{k.removesuffix('_exog')}_exog_list": v for k, v in NAMES.items()}
    exogenous = {
        k: [f"{v}{i}" for i in range(columns[v])] for k, v in lists.items() if v in columns
    }
    loss = MAE() if values == 1 else MQLoss(quantiles=list(QUANTILES[:values]))
    model = getattr(models, name)(
        h=horizon, input_size=input_size, loss=loss, **settings, **exogenous
    )
    return model.double()


def our_name(torch_name: str) -> str:
    """Name of a parameter in ctrain."""
    *stem, kind = torch_name.split(".")
    if stem[0] == "mixing_layers":
        mixer, layer = stem[2].removesuffix("_mixer"), stem[3]
        part = {"temporal": "time", "feature": "series"}[mixer]
        return f"block_{stem[1]}.{part}.{MIXERS[layer.partition('_')[2]]}.{kind}"
    if stem[0] == "norm":
        return {"affine_weight": "window.gain", "affine_bias": "window.bias"}[kind]
    if stem[0] == "hist_encoder":
        return f"conv_{stem[2]}.{kind}"
    if stem[0] == "mlp_decoder":
        return f"decoder_{int(stem[2]) // 3}.{kind}"  # a dense layer, its activation, dropout
    return f"{stem[0].removesuffix('_adapter')}.{kind}"


def ours(x: np.ndarray) -> np.ndarray:
    """(n_out, n_in) as (n_in, n_out), (n_out, n_in, taps) as (taps * n_in, n_out)."""
    if x.shape[:2] == (1, 1):  # a number for each series
        return x[0, 0]
    return x.T.reshape(-1, x.shape[0]) if x.ndim > 1 else x


def theirs(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The inverse."""
    return x.reshape(shape) if shape[:2] == (1, 1) else x.reshape(shape[::-1]).T


def answers(label: str) -> dict[str, np.ndarray]:
    """Outputs, and gradients of ``sum(output * upstream)``.

    A forecast of several series and values, (horizon, values * n_series), is put in ctrain's order.
    """
    import torch

    _, _, (_, horizon, values), columns = CASES[label]
    model = build(label).train()
    trained = {name: p for name, p in model.named_parameters() if p.requires_grad}
    for name, parameter in trained.items():
        shape = tuple(parameter.shape)
        weights = made(label, our_name(name), *ours(np.empty(shape)).shape)
        parameter.data = torch.tensor(theirs(weights, shape).copy())
    given = {
        k: torch.tensor(made(label, k, ROWS, *shape), requires_grad=True)
        for k, shape in row_shapes(label).items()
    }
    y = given["past_y"]
    batch = {"insample_y": y if y.ndim == 3 else y[..., None]}
    batch |= {theirs: given.get(mine) for theirs, mine in NAMES.items()}

    def forecast():
        output = model(batch)
        if "n_series" not in columns:
            return output
        output = output.reshape(ROWS, horizon, values, columns["n_series"]).transpose(2, 3)
        return output.squeeze(-1) if values == 1 else output

    output = forecast()
    (output * torch.tensor(made(label, "upstream", *output.shape))).sum().backward()
    kept = {"output": output.detach().numpy()}
    kept |= {name: x.grad.numpy() for name, x in given.items()}
    kept |= {our_name(name): ours(p.grad.numpy()) for name, p in trained.items()}
    running = {k: b for k, b in model.named_buffers() if "running_" in k}
    if running:
        for name, buffer in running.items():
            buffer.data = torch.tensor(made(label, our_name(name), *buffer.shape))
        model.eval()
        kept["inference"] = forecast().detach().numpy()
    return kept


def main() -> None:
    """Write the store."""
    import neuralforecast
    import torch

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    kept = {"neuralforecast": np.array(neuralforecast.__version__)}
    for label in CASES:
        kept |= {f"{label}: {name}": x for name, x in answers(label).items()}
    np.savez_compressed(STORE, **kept)


if __name__ == "__main__":
    main()
