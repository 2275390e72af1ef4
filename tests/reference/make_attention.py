"""PyTorch's attention and neuralforecast's models of it, the oracle of test_attention.py.

``python tests/reference/make_attention.py`` rewrites attention.npz; it needs neuralforecast, the
tests do not. Inputs and weights are made here from names and shapes, so only outputs and gradients
are stored. Everything is float64.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

STORE = Path(__file__).with_name("attention.npz")
ROWS = 3

#: label: shapes of query, key and value (equal names are one tensor), heads, causal, bias
ATTENTIONS = {
    "self": ({"x": (7, 6)}, 3, False, True),
    "causal": ({"x": (7, 6)}, 2, True, True),
    "one head, no bias": ({"x": (5, 4)}, 1, False, False),
    "cross": ({"query": (4, 6), "key": (9, 5), "value": (9, 3)}, 2, False, True),
    "one step": ({"x": (1, 4)}, 2, True, True),
    "long": ({"x": (70, 8)}, 2, True, True),
}
#: label: shape, heads, units, activation, norm_first, causal
ENCODERS = {
    "post-norm": ((7, 6), 2, 10, "relu", False, False),
    "pre-norm": ((7, 6), 3, 10, "gelu", True, False),
    "post-norm causal": ((6, 4), 2, 7, "gelu", False, True),
}
QUANTILES = (0.1, 0.5, 0.9)
PATCHES = {
    "encoder_layers": 2,
    "n_heads": 2,
    "hidden_size": 6,
    "linear_hidden_size": 5,
    "patch_len": 4,
    "stride": 2,
    "dropout": 0.0,
}
INVERTED = {"hidden_size": 6, "n_heads": 2, "d_ff": 5, "dropout": 0.0}
#: label: model, settings, (input_size, horizon, values for each step), and of a model of several
#: series their number and that of the columns known in advance
MODELS = {
    "patchtst": ("PatchTST", PATCHES, (11, 5, 1), ()),
    "patchtst fused": ("PatchTST", {**PATCHES, "res_attention": False}, (11, 5, 1), ()),
    "patchtst norm first": ("PatchTST", {**PATCHES, "batch_normalization": True}, (11, 5, 1), ()),
    "patchtst quantiles": (
        "PatchTST",
        {**PATCHES, "revin_affine": True, "activation": "relu", "patch_len": 3},
        (11, 5, 3),
        (),
    ),
    "patchtst mean": (
        "PatchTST",
        {
            **PATCHES,
            "revin_affine": True,
            "revin_subtract_last": False,
            "learn_pos_embed": False,
            "stride": 5,
        },
        (13, 5, 1),
        (),
    ),
    "patchtst one patch": ("PatchTST", {**PATCHES, "patch_len": 40, "revin": False}, (7, 5, 1), ()),
    "itransformer": ("iTransformer", INVERTED, (11, 5, 1), (3, 0)),
    "itransformer quantiles": ("iTransformer", {**INVERTED, "e_layers": 1}, (11, 5, 3), (3, 0)),
    "itransformer future": ("iTransformer", {**INVERTED, "use_norm": False}, (7, 4, 1), (3, 2)),
}


def made(label: str, name: str, *shape: int) -> np.ndarray:
    """An input or a parameter by its name and shape in ctrain."""
    rng = np.random.RandomState(zlib.crc32(f"{label} {name}".encode()))
    bound = 1.5 / np.sqrt(shape[0]) if name.endswith("weight") else 1.0
    away = 1.5 if name.endswith("gain") else 0.0  # from 0: a forecast is divided by it
    return away + rng.uniform(-bound, bound, shape)


def stored(label: str) -> dict[str, np.ndarray]:
    """Arrays of one case."""
    with np.load(STORE) as arrays:
        start = f"{label}: "
        return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}


# ------------------------------------------------------------------------------ PyTorch's side


def _load(label: str, name: str, weight, bias) -> None:
    """Fill a linear layer, or the part of one that `weight` and `bias` are views of."""
    import torch

    weight.data.copy_(torch.tensor(made(label, f"{name}.weight", *weight.shape[::-1]).T))
    if bias is not None:
        bias.data.copy_(torch.tensor(made(label, f"{name}.bias", *bias.shape)))


def _projections(layer, name: str):
    """The four linear layers of an attention: name, weight, bias, and the same of gradients."""
    n, joint = layer.embed_dim, layer.in_proj_weight
    for k, part in enumerate(("query", "key", "value")):
        own = slice(k * n, (k + 1) * n)
        weight = getattr(layer, f"{part[0]}_proj_weight") if joint is None else joint
        at = slice(None) if joint is None else own
        yield f"{name}.{part}", weight, at, layer.in_proj_bias, own
    yield f"{name}.out", layer.out_proj.weight, slice(None), layer.out_proj.bias, slice(None)


def _gradients(name: str, weight, at, bias, own) -> dict[str, np.ndarray]:
    answers = {f"{name}.weight": weight.grad[at].numpy().T}
    if bias is not None:
        answers[f"{name}.bias"] = bias.grad[own].numpy()
    return answers


def _answers(label: str, y, inputs: dict, linears: list) -> dict[str, np.ndarray]:
    import torch

    (y * torch.tensor(made(label, "upstream", *y.shape))).sum().backward()
    answers = {"output": y.detach().numpy()} | {k: x.grad.numpy() for k, x in inputs.items()}
    for linear in linears:
        answers |= _gradients(*linear)
    return answers


def _inputs(label: str, shapes: dict) -> dict:
    import torch

    return {
        name: torch.tensor(made(label, name, ROWS, *shape), requires_grad=True)
        for name, shape in shapes.items()
    }


def _mask(steps: int):
    import torch

    return torch.ones(steps, steps, dtype=torch.bool).triu(1)


def attention(label: str) -> dict[str, np.ndarray]:
    """Output, and gradients of ``sum(output * upstream)``."""
    import torch

    shapes, heads, causal, bias = ATTENTIONS[label]
    inputs = _inputs(label, shapes)
    tensors = list(inputs.values()) * (1 if len(inputs) == 3 else 3)
    query, key, value = (x.shape[-1] for x in tensors)
    layer = torch.nn.MultiheadAttention(
        query, heads, bias=bias, kdim=key, vdim=value, batch_first=True
    )
    linears = list(_projections(layer, "attention"))
    for name, weight, at, shift, own in linears:
        _load(label, name, weight[at], None if shift is None else shift[own])
    mask = _mask(tensors[0].shape[1]) if causal else None
    y, _ = layer(*tensors, attn_mask=mask, need_weights=False)
    return _answers(label, y, inputs, linears)


def encoder(label: str) -> dict[str, np.ndarray]:
    """The same of an encoder layer."""
    import torch

    shape, heads, units, activation, norm_first, causal = ENCODERS[label]
    inputs = _inputs(label, {"x": shape})
    layer = torch.nn.TransformerEncoderLayer(
        shape[-1], heads, units, 0.0, activation, batch_first=True, norm_first=norm_first
    )
    every = slice(None)
    linears = [
        *_projections(layer.self_attn, "layer.attention"),
        ("layer.hidden", layer.linear1.weight, every, layer.linear1.bias, every),
        ("layer.output", layer.linear2.weight, every, layer.linear2.bias, every),
    ]
    for name, weight, at, shift, own in linears:
        _load(label, name, weight[at], shift[own])
    for k, norm in enumerate((layer.norm1, layer.norm2), start=1):
        linears.append((f"layer.norm_{k}", norm.weight, every, norm.bias, every))
        for part, vector in (("weight", norm.weight), ("bias", norm.bias)):
            values = made(label, f"layer.norm_{k}.{part}", *vector.shape)
            vector.data.copy_(torch.tensor(values))
    y = layer(inputs["x"], src_mask=_mask(shape[0]) if causal else None)
    return _answers(label, y, inputs, linears)


NAMES = {  # of layers in neuralforecast, and in ctrain
    "model.backbone.W_P": "patch",
    "model.backbone.W_pos": "positions.weight",
    "model.head.linear": "head",
    "model.revin_layer.affine_weight": "revin.gain",
    "model.revin_layer.affine_bias": "revin.bias",
    "model.backbone.encoder.layers.": "layer_",
    "self_attn.W_Q": "attention.query",
    "self_attn.W_K": "attention.key",
    "self_attn.W_V": "attention.value",
    "self_attn.to_out.0": "attention.out",
    "norm_attn.1": "norm_1",
    "norm_ffn.1": "norm_2",
    "ff.0": "hidden",
    "ff.3": "output",
    "enc_embedding.value_embedding": "embedding",
    "futr_embedding": "future",
    "projector": "out",
    "encoder.attn_layers.": "layer_",
    "encoder.norm": "norm",
    "attention.query_projection": "attention.query",
    "attention.key_projection": "attention.key",
    "attention.value_projection": "attention.value",
    "attention.out_projection": "attention.out",
    "conv1": "hidden",
    "conv2": "output",
    "norm1": "norm_1",
    "norm2": "norm_2",
}


def rows_of(label: str) -> dict[str, tuple[int, ...]]:
    """Row shapes of the inputs of a model by their names in ctrain."""
    _, _, (input_size, horizon, _), several = MODELS[label]
    if not several:
        return {"past_y": (input_size,)}
    series, columns = several
    shapes = {"past_y": (input_size, series)}
    return shapes | ({"future": (input_size + horizon, series, columns)} if columns else {})


def our_name(theirs: str) -> str:
    """Name of a parameter in ctrain."""
    for part, name in NAMES.items():
        theirs = theirs.replace(part, name)
    return theirs


def our_layout(label: str, name: str, values: np.ndarray) -> np.ndarray:
    """A parameter of neuralforecast as it is stored in ctrain, or its gradient."""
    if name == "positions.weight" or values.ndim == 1:
        return values
    values = values.squeeze(-1).T if values.ndim == 3 else values.T  # convolutions of one tap
    if name == "head.weight":  # of all values of a token over the tokens; in ctrain tokens first
        size = MODELS[label][1]["hidden_size"]
        return values.reshape(size, -1, values.shape[1]).swapaxes(0, 1).reshape(values.shape)
    return values


def their_layout(label: str, name: str, values: np.ndarray) -> np.ndarray:
    """The inverse."""
    if name == "positions.weight" or values.ndim == 1:
        return values
    if name == "head.weight":
        size = MODELS[label][1]["hidden_size"]
        values = values.reshape(-1, size, values.shape[1]).swapaxes(0, 1).reshape(values.shape)
    return values.T


def model(label: str) -> dict[str, np.ndarray]:
    """Training output, gradients of ``sum(output * upstream)``, and output after training.

    Batch norm takes the batch in training; afterwards its averages after that one step.
    """
    import torch
    from neuralforecast import models
    from neuralforecast.losses.pytorch import MAE, MQLoss

    name, settings, (input_size, horizon, values), several = MODELS[label]
    settings = dict(settings)
    if several:
        settings["n_series"] = several[0]
        if several[1]:
            settings["futr_exog_list"] = [f"column {k}" for k in range(several[1])]
    loss = MAE() if values == 1 else MQLoss(quantiles=list(QUANTILES))
    network = getattr(models, name)(h=horizon, input_size=input_size, loss=loss, **settings)
    network = network.double().train()
    parameters = {
        our_name(k): p for k, p in network.named_parameters() if not k.endswith("sdp_attn.scale")
    }
    for ours, parameter in parameters.items():
        like = our_layout(label, ours, parameter.detach().numpy())
        start = their_layout(label, ours, made(label, ours, *like.shape))
        parameter.data = torch.tensor(start.copy().reshape(parameter.shape))
    inputs = _inputs(label, rows_of(label))
    y = inputs["past_y"]
    if settings.get("use_norm", True):  # neuralforecast takes no gradient through what it divides
        y = y.detach()
    batch = {"insample_y": y if several else y[..., None]}
    if "future" in inputs:  # the columns first, the series last
        batch["futr_exog"] = inputs["future"].permute(0, 3, 1, 2)

    def forecast():
        answer = network(batch)
        if not several:
            return answer
        answer = answer.reshape(ROWS, horizon, values, several[0]).transpose(2, 3)
        return answer.squeeze(-1) if values == 1 else answer

    answer = forecast()
    (answer * torch.tensor(made(label, "upstream", *answer.shape))).sum().backward()
    kept = {"output": answer.detach().numpy()}
    for ours, parameter in parameters.items():
        if parameter.requires_grad:
            kept[ours] = our_layout(label, ours, parameter.grad.numpy())
    kept |= {name: x.grad.numpy() for name, x in inputs.items() if x.grad is not None}
    with torch.no_grad():
        network.eval()
        kept["inference"] = forecast().numpy()
    return kept


def main() -> None:
    """Write the store."""
    import neuralforecast
    import torch

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    kept = {
        "torch": np.array(torch.__version__),
        "neuralforecast": np.array(neuralforecast.__version__),
    }
    for function, labels in ((attention, ATTENTIONS), (encoder, ENCODERS), (model, MODELS)):
        for label in labels:
            kept.update({f"{label}: {k}": v for k, v in function(label).items()})
    np.savez_compressed(STORE, **kept)


if __name__ == "__main__":
    main()
