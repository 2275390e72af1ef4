"""Forecasts of neuralforecast's models, the oracle of test_forecast_models.py.

``python tests/reference/make_forecast_models.py`` rewrites forecast_models.npz; it needs
neuralforecast, the tests do not. Weights and windows are made here from names and shapes, so only
outputs and numbers of weights are stored. Everything is float64; the constant bases of N-BEATS,
which neuralforecast rounds to float32, are made in float64 too.
"""

from __future__ import annotations

import re
import zlib
from contextlib import contextmanager
from pathlib import Path

import numpy as np

STORE = Path(__file__).with_name("forecast_models.npz")
ROWS = 5
QUANTILES = (0.1, 0.5, 0.9)
SMALL = {"mlp_units": ((7, 6), (6, 5))}
TIDE = {"hidden_size": 9, "decoder_output_dim": 3, "temporal_decoder_dim": 4, "temporal_width": 2}
COVARIATES = {"past": 2, "future": 3, "static": 2}

#: label: model, settings, (input_size, horizon, values for each step), columns of covariates;
#: "past_mask" among them for a window with missing steps
CASES = {
    "nlinear": ("NLinear", {}, (13, 6, 1), {}),
    "nlinear quantiles": ("NLinear", {}, (13, 6, 3), {}),
    "dlinear": ("DLinear", {}, (40, 6, 1), {}),
    "dlinear window longer than input": ("DLinear", {"moving_avg_window": 25}, (9, 6, 1), {}),
    "dlinear two steps": ("DLinear", {"moving_avg_window": 3}, (2, 4, 1), {}),
    "dlinear one step": ("DLinear", {"moving_avg_window": 3}, (1, 4, 1), {}),
    "dlinear no average": ("DLinear", {"moving_avg_window": 1}, (11, 4, 1), {}),
    "dlinear quantiles": ("DLinear", {"moving_avg_window": 5}, (13, 4, 3), {}),
    "mlp": ("MLP", {"num_layers": 2, "hidden_size": 8}, (13, 6, 1), {}),
    "mlp all inputs": ("MLP", {"num_layers": 3, "hidden_size": 8}, (13, 6, 3), COVARIATES),
    "nbeats": ("NBEATS", SMALL, (13, 6, 1), {}),
    "nbeats default sizes": ("NBEATS", {}, (30, 12, 1), {}),
    "nbeats quantiles": ("NBEATS", SMALL, (13, 6, 3), {}),
    "nbeats masked": ("NBEATS", SMALL, (13, 6, 1), {"past_mask": 1}),
    "nbeats shared": (
        "NBEATS",
        {**SMALL, "n_blocks": (2, 3, 2), "shared_weights": True, "activation": "tanh"},
        (13, 6, 1),
        {},
    ),
    "nbeats generic": (
        "NBEATS",
        {**SMALL, "stack_types": ("identity", "identity"), "n_blocks": (1, 2)},
        (13, 1, 1),
        {},
    ),
    "nbeats harmonics": (
        "NBEATS",
        {**SMALL, "stack_types": ("seasonality",), "n_blocks": (2,), "n_harmonics": 1},
        (13, 7, 1),
        {},
    ),
    **{
        f"nbeats {basis} trend": (
            "NBEATS",
            {**SMALL, "stack_types": ("trend",), "n_blocks": (2,), "basis": basis, "n_basis": n},
            (13, 7, 1),
            {},
        )
        for basis, n in (
            ("polynomial", 4),
            ("legendre", 3),
            ("chebyshev", 3),
            ("changepoint", 3),
            ("piecewise_linear", 4),
            ("linear_hat", 3),
            ("spline", 5),
        )
    },
    "nhits": ("NHITS", SMALL, (13, 12, 1), {}),
    "nhits default sizes": ("NHITS", {}, (30, 12, 1), {}),
    "nhits masked": ("NHITS", SMALL, (13, 12, 1), {"past_mask": 1}),
    "nhits quantiles": ("NHITS", SMALL, (13, 12, 3), {}),
    "nhits all inputs": ("NHITS", SMALL, (13, 12, 3), {**COVARIATES, "past_mask": 1}),
    "nhits average": (
        "NHITS",
        {
            **SMALL,
            "n_blocks": (1, 2),
            "n_pool_kernel_size": (4, 20),
            "n_freq_downsample": (5, 24),
            "pooling_mode": "AvgPool1d",
            "activation": "softplus",
        },
        (13, 12, 1),
        COVARIATES,
    ),
    **{
        f"nhits {mode}": (
            "NHITS",
            {**SMALL, "interpolation_mode": mode, "n_freq_downsample": (6, 3, 2)},
            (12, 25, 1),
            {},
        )
        for mode in ("linear", "nearest", "cubic")
    },
    "tide": ("TiDE", TIDE, (13, 6, 1), {}),
    "tide without norm": (
        "TiDE",
        {**TIDE, "layernorm": False},
        (13, 6, 1),
        {"past": 2, "future": 3},
    ),
    "tide all inputs": (
        "TiDE",
        {**TIDE, "num_encoder_layers": 2, "num_decoder_layers": 3},
        (13, 6, 3),
        COVARIATES,
    ),
}


def weights(label: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Weights of one parameter, by its name and shape in ctrain."""
    rng = np.random.RandomState(zlib.crc32(f"{label} {name}".encode()))
    bound = 1.0 if len(shape) == 1 else 1.5 / np.sqrt(shape[0])
    return rng.uniform(-bound, bound, shape)


def windows(label: str) -> dict[str, np.ndarray]:
    """Inputs of a case by their names in ctrain, each with ROWS rows."""
    _, _, (input_size, horizon, _), columns = CASES[label]
    rng = np.random.RandomState(zlib.crc32(label.encode()))
    shapes = {"past": (input_size,), "future": (input_size + horizon,), "static": ()}
    made = {"past_y": rng.uniform(-1, 2, (ROWS, input_size))}
    for name, n in columns.items():
        if name == "past_mask":
            made[name] = np.float64(rng.uniform(size=(ROWS, input_size)) < 0.7)
            made[name][:, -1] = 1.0  # neuralforecast takes the last step as it is, missing or not
        else:
            made[name] = rng.uniform(-1, 1, (ROWS, *shapes[name], n))
    return made


# ------------------------------------------------------------------- neuralforecast's side

CLASSES = {"relu": "ReLU", "tanh": "Tanh", "softplus": "Softplus"}
TIDE_NAMES = {
    "hist_exog_projection": "past_projection",
    "futr_exog_projection": "future_projection",
    "lin1": "dense",
    "lin2": "output",
}


@contextmanager
def float64_bases():
    """Let ``torch.tensor(..., dtype=torch.float32)`` of neuralforecast keep float64."""
    import torch

    float32 = torch.float32
    torch.float32 = torch.float64
    try:
        yield
    finally:
        torch.float32 = float32


def build(label: str):
    """The model of a case."""
    import torch
    from neuralforecast import models
    from neuralforecast.losses.pytorch import MAE, MQLoss

    name, settings, (input_size, horizon, values), columns = CASES[label]
    settings = {k: list(v) if isinstance(v, tuple) else v for k, v in settings.items()}
    if "activation" in settings:
        settings["activation"] = CLASSES[settings["activation"]]
    if name == "NHITS":
        settings["stack_types"] = ["identity"] * len(settings.get("n_blocks", (1, 1, 1)))
    lists = {"past": "hist_exog_list", "future": "futr_exog_list", "static": "stat_exog_list"}
    exogenous = {lists[k]: [f"{k}{i}" for i in range(n)] for k, n in columns.items() if k in lists}
    loss = MAE() if values == 1 else MQLoss(quantiles=list(QUANTILES))
    with float64_bases():
        model = getattr(models, name)(
            h=horizon, input_size=input_size, loss=loss, **settings, **exogenous
        )
    if name == "TiDE":
        # The norm over the values of one step: with one value its output is a constant, and
        # nothing that the network computes reaches the forecast. ctrain leaves it out.
        model.temporal_decoder.layernorm = False
        model.temporal_decoder.norm = torch.nn.Identity()
    return model.double().eval()


def ours(label: str, model, torch_name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Weights of a parameter of neuralforecast, put together from ctrain's."""
    name, _, (input_size, _, _), _ = CASES[label]

    def made(parameter: str, n_out: int | None = None):
        kind = torch_name.rsplit(".", 1)[1]
        if n_out is None:
            n_out = shape[0]
        ctrain_shape = (n_out,) if len(shape) == 1 else (shape[1], n_out)
        return weights(label, f"{parameter}.{kind}", ctrain_shape).T

    stem = torch_name.rsplit(".", 1)[0]
    if name in ("NBEATS", "NHITS"):
        block, layer = map(int, re.fullmatch(r"blocks\.(\d+)\.layers\.(\d+)", stem).groups())
        prefix = _block_names(label)[block]
        linear = [k for k, x in enumerate(model.blocks[block].layers) if hasattr(x, "weight")]
        if layer != linear[-1]:
            return made(f"{prefix}.layer_{linear.index(layer)}")
        basis = model.blocks[block].basis
        n_back = len(basis.backcast_basis) if hasattr(basis, "backcast_basis") else input_size
        parts = ((f"{prefix}.theta_b", n_back), (f"{prefix}.theta_f", shape[0] - n_back))
        return np.concatenate([made(part, n) for part, n in parts])
    if name == "MLP":
        last = len(model.mlp)
        return made(f"layer_{last}" if stem == "out" else stem.replace("mlp.", "layer_"))
    if name == "DLinear":
        return made({"linear_trend": "trend", "linear_season": "seasonality"}[stem])
    if name == "TiDE":
        stem = re.sub(r"dense_(en|de)coder\.(\d+)", r"\1coder_\2", stem)
        return made(".".join(TIDE_NAMES.get(part, part) for part in stem.split(".")))
    return made(stem)


def _block_names(label: str) -> list[str]:
    """Of each of neuralforecast's blocks in order."""
    settings = CASES[label][1]
    shared = settings.get("shared_weights", False)
    counts = settings.get("n_blocks", (1, 1, 1))
    return [f"stack_{s}.block_{0 if shared else b}" for s, n in enumerate(counts) for b in range(n)]


def forecast(label: str) -> tuple[np.ndarray, np.ndarray | None, int]:
    """Forecast (ROWS, horizon, values), its level and blocks if it has some, number of weights."""
    import torch

    model = build(label)
    trained = {k: p for k, p in model.named_parameters() if p.requires_grad}
    for name, parameter in trained.items():
        values = ours(label, model, name, tuple(parameter.shape))
        parameter.data = torch.tensor(values.reshape(parameter.shape))
    given = {k: torch.tensor(v) for k, v in windows(label).items()}
    y = given["past_y"][..., None]
    mask = given["past_mask"][..., None] if "past_mask" in given else torch.ones_like(y)
    batch = {
        "insample_y": y,
        "insample_mask": mask,
        "hist_exog": given.get("past"),
        "futr_exog": given.get("future"),
        "stat_exog": given.get("static"),
    }
    parts = None
    with torch.no_grad():
        answer = model(batch).numpy()
        if hasattr(model, "blocks") and answer.shape[-1] == 1:  # it takes no quantiles apart
            model.decompose_forecast = True
            parts = model(batch).numpy().reshape(len(answer), -1, answer.shape[1])
    count = sum(p.numel() for p in trained.values())
    return answer, parts, count


def main() -> None:
    """Write the store."""
    import neuralforecast
    import torch

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    kept = {"neuralforecast": np.array(neuralforecast.__version__)}
    for label in CASES:
        answer, parts, count = forecast(label)
        kept[f"{label} forecast"] = answer
        kept[f"{label} count"] = np.array(count)
        if parts is not None:
            kept[f"{label} parts"] = parts
    np.savez_compressed(STORE, **kept)


if __name__ == "__main__":
    main()
