"""PyTorch's recurrent layers and neuralforecast's models of them, the oracle of test_recurrent.py.

``python tests/reference/make_recurrent.py`` rewrites recurrent.npz; it needs neuralforecast, the
tests do not. Inputs and weights are made here from names and shapes in ctrain, so only outputs and
gradients are stored. Everything is float64.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

STORE = Path(__file__).with_name("recurrent.npz")
ROWS = 4
#: of what the layers multiply; of the biases that ctrain joins
GATES = {"lstm": 4, "gru": 3, "rnn": 1}

#: label: layer, steps, inputs, hidden units, layers, bias, initial state, lengths of the sequences
LAYERS = {
    "lstm": ("lstm", 7, 3, 5, 1, True, False, None),
    "lstm stacked": ("lstm", 6, 2, 4, 3, True, True, None),
    "lstm without bias": ("lstm", 5, 3, 4, 2, False, True, None),
    "lstm one step": ("lstm", 1, 3, 4, 2, True, False, None),
    "lstm padded": ("lstm", 8, 2, 4, 2, True, False, (8, 5, 1, 3)),
    "gru": ("gru", 7, 3, 5, 1, True, False, None),
    "gru stacked": ("gru", 6, 2, 4, 3, True, True, None),
    "gru without bias": ("gru", 5, 3, 4, 2, False, True, None),
    "gru one step": ("gru", 1, 3, 4, 2, True, False, None),
    "gru padded": ("gru", 8, 2, 4, 2, True, False, (8, 5, 1, 3)),
    "rnn": ("rnn", 7, 3, 5, 1, True, False, None),
    "rnn relu": ("rnn relu", 6, 2, 4, 2, True, True, None),
    "rnn without bias": ("rnn", 5, 3, 4, 2, False, False, None),
    "rnn one step": ("rnn", 1, 3, 4, 2, True, False, None),
    "rnn padded": ("rnn", 8, 2, 4, 2, True, False, (8, 5, 1, 3)),
}
COVARIATES = {"past": 2, "future": 3, "static": 2}
SMALL = {"hidden_size": 5, "decoder_hidden_size": 6}
#: label: model, settings, (input_size, horizon, values for each step), columns of covariates
MODELS = {
    "RNN": ("RNN", SMALL, (9, 4, 1), {}),
    "RNN all inputs": ("RNN", SMALL, (9, 4, 3), COVARIATES),
    "RNN recursive": ("RNN", {**SMALL, "recurrent": True}, (9, 4, 1), {"future": 2, "static": 1}),
    "LSTM": ("LSTM", SMALL, (9, 4, 1), {}),
    "LSTM default sizes": ("LSTM", {}, (6, 3, 1), {}),
    "LSTM all inputs": ("LSTM", {**SMALL, "decoder_layers": 3}, (9, 4, 3), COVARIATES),
    "LSTM short window": ("LSTM", {**SMALL, "bias": False}, (3, 8, 1), COVARIATES),
    "LSTM one step": ("LSTM", {**SMALL, "num_layers": 1}, (1, 1, 1), {}),
    "GRU": ("GRU", SMALL, (9, 4, 1), {}),
    "GRU default sizes": ("GRU", {}, (6, 3, 1), {}),
    "GRU all inputs": ("GRU", {**SMALL, "decoder_layers": 1}, (9, 4, 3), COVARIATES),
    "GRU short window": ("GRU", {**SMALL, "bias": False}, (3, 8, 1), COVARIATES),
    "GRU recursive": ("GRU", {**SMALL, "recurrent": True}, (9, 5, 1), COVARIATES),
}
QUANTILES = (0.1, 0.5, 0.9)


def made(label: str, name: str, *shape: int) -> np.ndarray:
    """An input or a parameter by its name and shape in ctrain.

    Upstream gradients are of one sign, for those of biases are their sums.
    """
    rng = np.random.RandomState(zlib.crc32(f"{label} {name}".encode()))
    bound = 1.5 / np.sqrt(shape[0]) if ".weight" in name else 1.0
    return rng.uniform(0.5 if name.startswith("upstream") else -bound, bound, shape)


def windows(label: str) -> dict[str, np.ndarray]:
    """Inputs of a model by their names in ctrain."""
    _, _, (input_size, horizon, _), columns = MODELS[label]
    shapes = {"past": (input_size,), "future": (input_size + horizon,), "static": ()}
    given = {"past_y": made(label, "past_y", ROWS, input_size)}
    return given | {k: made(label, k, ROWS, *shapes[k], n) for k, n in columns.items()}


def stored(label: str) -> dict[str, np.ndarray]:
    """Output, last states and gradients of one case."""
    with np.load(STORE) as arrays:
        start = f"{label}: "
        return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}


# ---------------------------------------------------------------------------------- PyTorch's side


def two_biases(kind: str, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What PyTorch adds to x and to h for ctrain's bias, not shared evenly."""
    if kind != "gru":
        return 0.25 * bias, 0.75 * bias
    (reset, update), (of_x, of_h) = np.split(bias, 4)[:2], np.split(bias, 4)[2:]
    first = np.concatenate([0.25 * reset, 0.25 * update, of_x])
    return first, np.concatenate([0.75 * reset, 0.75 * update, of_h])


def one_bias(kind: str, of_x: np.ndarray, of_h: np.ndarray) -> np.ndarray:
    """The gradient of ctrain's bias from those of PyTorch's."""
    if kind != "gru":
        np.testing.assert_allclose(of_x, of_h, rtol=1e-12, atol=1e-12)
        return of_x
    parts = np.split(of_x, 3)
    return np.concatenate([*parts, np.split(of_h, 3)[2]])


def load(layer, label: str, kind: str, name: str) -> None:
    """Give a recurrent layer of PyTorch ctrain's weights."""
    import torch

    sums = {"lstm": 4, "gru": 4, "rnn": 1}[kind]
    for k in range(layer.num_layers):
        for what in ("weight_ih", "weight_hh"):
            weight = getattr(layer, f"{what}_l{k}")
            values = made(label, f"{name}.{what}_l{k}", *weight.shape[::-1])
            weight.data = torch.tensor(values.T.copy())
        if layer.bias:
            bias = made(label, f"{name}.bias_l{k}", sums * layer.hidden_size)
            for what, values in zip(("ih", "hh"), two_biases(kind, bias), strict=True):
                getattr(layer, f"bias_{what}_l{k}").data = torch.tensor(values)


def gradients(layer, kind: str, name: str) -> dict[str, np.ndarray]:
    """Of a recurrent layer of PyTorch, by ctrain's names and in its shapes."""
    kept = {}
    for k in range(layer.num_layers):
        for what in ("weight_ih", "weight_hh"):
            kept[f"{name}.{what}_l{k}"] = getattr(layer, f"{what}_l{k}").grad.numpy().T
        if layer.bias:
            pair = (getattr(layer, f"bias_{what}_l{k}").grad.numpy() for what in ("ih", "hh"))
            kept[f"{name}.bias_l{k}"] = one_bias(kind, *pair)
    return kept


def layer(label: str) -> dict[str, np.ndarray]:
    """Outputs and last states, and gradients of their sum times ``upstream``.

    Of a padded sequence the outputs behind its length are 0, and the last states are those there.
    """
    import torch

    full, steps, n_in, hidden, n_layers, bias, started, lengths = LAYERS[label]
    kind = full.split()[0]
    settings = {"nonlinearity": "relu"} if full == "rnn relu" else {}
    module = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[kind](
        n_in, hidden, n_layers, bias=bias, batch_first=True, **settings
    )
    load(module, label, kind, "layer")
    x = torch.tensor(made(label, "x", ROWS, steps, n_in), requires_grad=True)
    names = ("h", "c") if kind == "lstm" else ("h",)
    start = {
        f"{name}{k}": torch.tensor(made(label, f"{name}{k}", ROWS, hidden), requires_grad=True)
        for name in names for k in range(n_layers) if started
    }  # fmt: skip
    state = None
    if started:
        stacked = [torch.stack([start[f"{n}{k}"] for k in range(n_layers)]) for n in names]
        state = tuple(stacked) if kind == "lstm" else stacked[0]
    if lengths is None:
        y, last = module(x, state)
    else:
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            x, torch.tensor(lengths), batch_first=True, enforce_sorted=False
        )
        y, last = module(packed, state)
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=steps)
    last = dict(zip(names, last if kind == "lstm" else (last,), strict=True))
    loss = (y * torch.tensor(made(label, "upstream", ROWS, steps, hidden))).sum()
    if lengths is None:
        for name, values in last.items():
            for k in range(n_layers):
                upstream = torch.tensor(made(label, f"upstream {name}{k}", ROWS, hidden))
                loss = loss + (values[k] * upstream).sum()
    loss.backward()
    kept = {"output": y.detach().numpy(), "x": x.grad.numpy()}
    if lengths is None:
        for name, values in last.items():
            kept |= {f"last {name}{k}": values[k].detach().numpy() for k in range(n_layers)}
    else:
        kept["last"] = last["h"][-1].detach().numpy()
    kept |= {name: value.grad.numpy() for name, value in start.items()}
    return kept | gradients(module, kind, "layer")


# --------------------------------------------------------------------------- neuralforecast's side

THEIRS = {
    "hidden_size": "encoder_hidden_size", "num_layers": "encoder_n_layers",
    "bias": "encoder_bias",
}  # fmt: skip


def linear(label: str, module, name: str) -> dict[str, tuple]:
    """Load a dense layer; its parameters by ctrain's names."""
    import torch

    n_out, n_in = module.weight.shape
    module.weight.data = torch.tensor(made(label, f"{name}.weight", n_in, n_out).T.copy())
    module.bias.data = torch.tensor(made(label, f"{name}.bias", n_out))
    return {f"{name}.weight": module.weight, f"{name}.bias": module.bias}


def model(label: str) -> dict[str, np.ndarray]:
    """Forecast, and gradients of its sum times ``upstream``; of small networks those of weights."""
    import torch
    from neuralforecast import models
    from neuralforecast.losses.pytorch import MAE, MQLoss

    name, settings, (input_size, horizon, values), columns = MODELS[label]
    lists = {"past": "hist_exog_list", "future": "futr_exog_list", "static": "stat_exog_list"}
    network = getattr(models, name)(
        h=horizon, input_size=input_size,
        loss=MAE() if values == 1 else MQLoss(quantiles=list(QUANTILES)),
        **{THEIRS.get(k, k): v for k, v in settings.items()},
        **{lists[k]: [f"{k}{i}" for i in range(n)] for k, n in columns.items()},
    )  # fmt: skip
    network.double()
    load(network.hist_encoder, label, name.lower(), "encoder")
    dense = {}
    if settings.get("recurrent"):
        dense |= linear(label, network.proj, "output")
    else:
        maps = [m for m in network.mlp_decoder.layers if hasattr(m, "weight")]
        for k, module in enumerate(maps):
            dense |= linear(label, module, f"decoder.layer_{k}")
        if horizon > input_size:
            dense |= linear(label, network.upsample_sequence, "upsample")
    given = {k: torch.tensor(v, requires_grad=True) for k, v in windows(label).items()}
    forecast = recursion(network, given, horizon) if settings.get("recurrent") else network({
        "insample_y": given["past_y"][..., None], "insample_mask": None,
        "hist_exog": given.get("past"), "futr_exog": given.get("future"),
        "stat_exog": given.get("static"),
    })  # fmt: skip
    (forecast * torch.tensor(made(label, "upstream", *forecast.shape))).sum().backward()
    kept = {"forecast": forecast.detach().numpy()}
    kept |= {k: v.grad.numpy() for k, v in given.items()}
    if "default sizes" in label:  # gradients of all weights are a matter of megabytes
        return kept
    kept |= gradients(network.hist_encoder, name.lower(), "encoder")
    for k, parameter in dense.items():
        kept[k] = parameter.grad.numpy().T
    return kept


def recursion(network, given: dict, horizon: int):
    """neuralforecast's way from step to step: its layers, its alignment, its zeros.

    The step that reads y[t] forecasts t + 1 and reads that step's known covariates; what is known
    of the past alone is 0 beyond it.
    """
    import torch

    y, input_size = given["past_y"][..., None], given["past_y"].shape[1]
    network.rnn_state, network.maintain_state = None, True
    forecast = []
    for k in range(horizon):
        begin, stop = (0, input_size) if k == 0 else (input_size + k - 1, input_size + k)
        past = given.get("past")
        if past is not None and k:
            past = torch.zeros_like(past[:, :1])
        future = given["future"][:, begin + 1 : stop + 1] if "future" in given else None
        y = network({
            "insample_y": y, "hist_exog": past, "futr_exog": future,
            "stat_exog": given.get("static"),
        })[:, -1:]  # fmt: skip
        forecast.append(y)
    network.rnn_state, network.maintain_state = None, False
    return torch.cat(forecast, dim=1)


def main() -> None:
    """Write the store."""
    import neuralforecast
    import torch

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    kept = {
        "torch": np.array(torch.__version__.split("+")[0]),
        "neuralforecast": np.array(neuralforecast.__version__),
    }
    for cases, answers in ((LAYERS, layer), (MODELS, model)):
        for label in cases:
            kept |= {f"{label}: {name}": value for name, value in answers(label).items()}
    np.savez_compressed(STORE, **kept)


if __name__ == "__main__":
    main()
