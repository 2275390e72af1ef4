"""Forecasts and gradients of neuralforecast's transformers, the oracle of test_transformers.py.

``python tests/reference/make_transformers.py`` rewrites transformers.npz; it needs neuralforecast,
the tests do not. Weights and inputs are made here from names and shapes, so only forecasts and
gradients are stored. Everything is float64, the position encoding too, which neuralforecast rounds
to float32.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import numpy as np

STORE = Path(__file__).with_name("transformers.npz")
ROWS = 3
QUANTILES = (0.1, 0.5, 0.9)
COVARIATES = {"past": 2, "future": 3, "static": 2}
SMALL_TFT = {"hidden_size": 4, "n_head": 2}
SMALL_TRANSFORMER = {"hidden_size": 6, "n_head": 2, "conv_hidden_size": 5}

#: label: model, settings, (input_size, horizon, values for each step), columns of covariates;
#: "past_mask" among them for a window that begins before its series
CASES = {
    "tft": ("TFT", SMALL_TFT, (7, 4, 1), {}),
    "tft padded": ("TFT", SMALL_TFT, (7, 4, 1), {"past_mask": 1}),
    "tft all inputs": ("TFT", SMALL_TFT, (7, 4, 3), COVARIATES),
    "tft one of each": ("TFT", SMALL_TFT, (5, 1, 1), {"past": 1, "future": 1, "static": 1}),
    "tft gru": (
        "TFT",
        {**SMALL_TFT, "rnn_type": "gru", "n_rnn_layers": 2, "grn_activation": "tanh"},
        (5, 3, 1),
        {"static": 2},
    ),
    "tft one state": (
        "TFT",
        {**SMALL_TFT, "n_rnn_layers": 2, "one_rnn_initial_state": True, "n_head": 4},
        (5, 3, 1),
        {"static": 2, "past": 1},
    ),
    "transformer": ("VanillaTransformer", SMALL_TRANSFORMER, (7, 4, 1), {}),
    "transformer padded": ("VanillaTransformer", SMALL_TRANSFORMER, (7, 4, 1), {"past_mask": 1}),
    "transformer future": (
        "VanillaTransformer",
        {**SMALL_TRANSFORMER, "encoder_layers": 1, "decoder_layers": 2, "activation": "relu"},
        (6, 3, 3),
        {"future": 2},
    ),
    "transformer short": (
        "VanillaTransformer",
        {**SMALL_TRANSFORMER, "decoder_input_size_multiplier": 0.2, "n_head": 3},
        (2, 1, 1),
        {"future": 1},
    ),
}


def made(label: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A parameter by its name and shape in ctrain."""
    rng = np.random.RandomState(zlib.crc32(f"{label} {name}".encode()))
    if name.endswith(".weight") and len(shape) == 1:  # of a norm
        return rng.uniform(0.5, 1.5, shape)
    bound = 1.0 if len(shape) == 1 else 1.5 / np.sqrt(shape[0])
    return rng.uniform(-bound, bound, shape)


def windows(label: str) -> dict[str, np.ndarray]:
    """Inputs of a case by their names in ctrain, and the gradient of its forecast."""
    _, _, (input_size, horizon, values), columns = CASES[label]
    rng = np.random.RandomState(zlib.crc32(label.encode()))
    shapes = {"past": (input_size,), "future": (input_size + horizon,), "static": ()}
    given = {"past_y": rng.uniform(-1, 2, (ROWS, input_size))}
    for name, n in columns.items():
        if name == "past_mask":
            given[name] = np.float64(np.arange(input_size) >= [[0], [2], [input_size - 1]])
            given["past_y"] *= given[name]
        else:
            given[name] = rng.uniform(-1, 1, (ROWS, *shapes[name], n))
    shape = (horizon,) if values == 1 else (horizon, values)
    return {**given, "upstream": rng.uniform(-1, 1, (ROWS, *shape))}


def stored(label: str) -> dict[str, np.ndarray]:
    """Forecast, and gradients by the names of inputs and parameters, of one case."""
    with np.load(STORE) as arrays:
        parts = {kind: arrays[f"{label}: {kind}"] for kind in ("names", "sizes", "values")}
    return dict(
        zip(parts["names"], np.split(parts["values"], parts["sizes"].cumsum()[:-1]), strict=True)
    )


# ------------------------------------------------------------------- neuralforecast's side


class Leaves(dict):
    """Parameters of ctrain by name, as tensors of torch that get gradients."""

    def __init__(self, label: str) -> None:
        super().__init__()
        self.label = label

    def leaf(self, name: str, *shape: int):
        """The parameter of that name."""
        import torch

        if name not in self:
            self[name] = torch.tensor(made(self.label, name, shape), requires_grad=True)
        return self[name]

    def joined(self, names: list[str], shape: tuple[int, ...]):
        """A weight (n_out, n_in) or bias (n_out,) of torch whose outputs are of several layers."""
        import torch

        n_out = shape[0] // len(names)
        parts = [self.leaf(name, *shape[:0:-1], n_out) for name in names]
        return torch.cat([part.T if part.ndim > 1 else part for part in parts])


GRN = {"lin_a": "dense", "lin_c": "context", "lin_i": "output", "out_proj": "skip"}
CONTEXTS = {"lstm": ("selection", "enrichment", "h", "c"), "gru": ("selection", "enrichment", "h")}


def tft_weights(leaves: Leaves, name: str, shape: tuple[int, ...], settings: dict):
    """A parameter of neuralforecast's TFT, put together from ctrain's."""
    import torch

    stem, kind = name.rsplit(".", 1)
    if stem == "embedding":
        which, part = re.fullmatch(r"(\w+?)(?:_exog)?_embedding_(vectors|bias)", kind).groups()
        which = {"tgt": "target", "futr": "future_{}", "hist": "past_{}", "stat": "static_{}"}[
            which
        ]
        kind, row = ("bias", ()) if part == "bias" else ("weight", (1,))
        rows = [leaves.leaf(f"{which.format(k)}.{kind}", *row, shape[1]) for k in range(shape[0])]
        return torch.stack([row.reshape(-1) for row in rows])
    if found := re.search(r"(\w+)_encoder\.(\w+)_l(\d)", name):
        ours = {"history": "encoder", "future": "decoder"}[found[1]]
        if found[2].startswith("weight"):
            return leaves.joined([f"{ours}.{found[2]}_l{found[3]}"], shape)
        bias = f"{ours}.bias_l{found[3]}"
        if shape[0] == 4 * settings["hidden_size"]:  # ctrain has the sum of the two
            bias = leaves.leaf(bias, shape[0])
            return bias if found[2] == "bias_ih" else torch.zeros_like(bias)
        n = shape[0] // 3
        sums, new, of_state = leaves.leaf(bias, 4 * n).split((2 * n, n, n))
        if found[2] == "bias_ih":
            return torch.cat((sums, new))
        return torch.cat((torch.zeros_like(sums), of_state))
    if stem.endswith("qkv_linears"):
        hidden, d = shape[1], (shape[0] - 2 * shape[1])
        parts = (("query", hidden), ("key", hidden), ("value", d))
        return torch.cat([
            leaves.leaf(f"attention.{part}.weight", hidden, n).T for part, n in parts
        ])  # fmt: skip
    stem = re.sub(r"^(static|temporal)_(encoder|fusion_decoder)\.", "", stem)
    stem = re.sub(r"^vsn", "static_selection", stem)
    stem = re.sub(r"^history_vsn", "past_selection", stem)
    stem = re.sub(r"^future_vsn", "future_selection", stem)
    stem = re.sub(r"\.joint_grn", ".weights", stem)
    stem = re.sub(r"\.var_grns\.", ".variable_", stem)
    if found := re.match(r"context_grns\.(\d+)", stem):
        k, layers = int(found[1]), settings.get("n_rnn_layers", 1)
        layers = 1 if settings.get("one_rnn_initial_state") else layers
        contexts = ["selection", "enrichment"]
        contexts += [f"{s}_l{i}" for s in "hc" for i in range(layers)]
        stem = stem.replace(found[0], f"static_{contexts[k]}")
    stem = re.sub(r"^(enrichment|positionwise)_grn", r"\1", stem)
    stem = re.sub(r"^input_gate", "recurrent_gate", stem)
    stem = re.sub(r"^decoder_gate", "positionwise_gate", stem)
    stem = {
        "input_gate_ln": "recurrent_norm",
        "recurrent_gate_ln": "recurrent_norm",
        "attention_ln": "attention_norm",
        "decoder_ln": "positionwise_norm",
        "attention.out_proj": "attention.output",
        "output_adapter": "output",
    }.get(stem, stem)
    *path, last = stem.removesuffix(".ln").split(".")
    if last == "lin":  # of a gated linear unit, both halves
        halves = [".".join([*path, half]) for half in ("value", "gate")]
        return leaves.joined([f"{half}.{kind}" for half in halves], shape)
    last = {**GRN, "layer_norm": "norm"}.get(last, last)
    return leaves.joined([".".join([*path, last, kind])], shape)


def transformer_weights(leaves: Leaves, name: str, shape: tuple[int, ...], settings: dict):
    """A parameter of neuralforecast's VanillaTransformer, put together from ctrain's."""
    *path, last, kind = name.split(".")
    if last == "tokenConv":  # (n_out, 1, taps)
        which = path[0].replace("enc_", "encoder_").replace("dec_", "decoder_")
        return leaves.leaf(f"{which}.weight", shape[2], shape[0]).T[:, None]
    if last == "embed":
        which = path[0].replace("enc_", "encoder_").replace("dec_", "decoder_")
        return leaves.joined([f"{which}.future.weight"], shape)
    if len(path) == 1:
        ours = {"norm": f"{path[0]}_norm", "projection": "output"}[last]
        return leaves.joined([f"{ours}.{kind}"], shape)
    layer = f"{path[0]}_{path[2]}"
    if last.endswith("_projection"):
        cross = "cross_" * (path[3] == "cross_attention")
        part = f"{cross}attention.{last.removesuffix('_projection')}"
    else:
        part = {"conv1": "hidden", "conv2": "output"}.get(last, last.replace("norm", "norm_"))
    return leaves.joined([f"{layer}.{part}.{kind}"], shape[:2]).reshape(shape)


ASSEMBLED = {"TFT": tft_weights, "VanillaTransformer": transformer_weights}
CLASSES = {"tanh": "Tanh"}
EXOGENOUS = {"past": "hist_exog", "future": "futr_exog", "static": "stat_exog"}


def build(label: str):
    """The model of a case."""
    import torch
    from neuralforecast import models
    from neuralforecast.losses.pytorch import MAE, MQLoss

    name, settings, (input_size, horizon, values), columns = CASES[label]
    settings = {k: CLASSES.get(v, v) for k, v in settings.items()}
    for key, list_name in EXOGENOUS.items():
        settings[f"{list_name}_list"] = [f"{key}{i}" for i in range(columns.get(key, 0))]
    loss = MAE() if values == 1 else MQLoss(quantiles=list(QUANTILES))
    model = getattr(models, name)(h=horizon, input_size=input_size, loss=loss, **settings)
    for module in model.modules():
        if type(module).__name__ == "PositionalEmbedding":  # float32 until here
            _, steps, hidden = module.pe.shape
            angle = np.arange(steps)[:, None] / 10000.0 ** (np.arange(0, hidden, 2) / hidden)
            table = np.stack((np.sin(angle), np.cos(angle)), axis=-1).reshape(1, steps, -1)
            module.pe = torch.tensor(table)
    return model.double().eval()


def answers(label: str) -> dict[str, np.ndarray]:
    """Forecast, and the gradient of ``sum(forecast * upstream)`` for inputs and parameters."""
    import torch

    model, leaves = build(label), Leaves(label)
    parameters = {
        name: ASSEMBLED[CASES[label][0]](leaves, name, tuple(p.shape), CASES[label][1])
        for name, p in model.named_parameters()
        if p.requires_grad
    }
    given = {k: torch.tensor(v) for k, v in windows(label).items()}
    upstream, _ = given.pop("upstream"), given.pop("past_mask", None)  # it looks at no mask
    for x in given.values():
        x.requires_grad_()
    batch = {theirs: given.get(ours) for ours, theirs in EXOGENOUS.items()}
    batch["insample_y"] = given["past_y"][..., None]
    answer = torch.func.functional_call(model, parameters, (batch,)).reshape(upstream.shape)
    (answer * upstream).sum().backward()
    gradients = {**given, **leaves}
    # a network that chooses among one variable, and what multiplies a context of zeros, is not
    # trained: ctrain leaves it out
    gradients = {k: x.grad for k, x in gradients.items() if x.grad is not None and x.grad.any()}
    return {"forecast": answer.detach().numpy(), **{k: g.numpy() for k, g in gradients.items()}}


def main() -> None:
    """Write the store."""
    import neuralforecast
    import torch

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    kept = {"neuralforecast": np.array(neuralforecast.__version__)}
    for label in CASES:
        given = answers(label)
        kept[f"{label}: names"] = np.array(list(given))
        kept[f"{label}: sizes"] = np.array([x.size for x in given.values()])
        kept[f"{label}: values"] = np.concatenate([x.ravel() for x in given.values()])
    np.savez_compressed(STORE, **kept)


if __name__ == "__main__":
    main()
