"""PyTorch's convolution, weight norm and batch norm, the oracle of test_convolution.py.

``python tests/reference/make_convolution.py`` rewrites convolution.npz; it needs torch, the tests
do not. Inputs and weights are made here from names and shapes, so only outputs, gradients and what
training leaves are stored. Everything is float64.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

STORE = Path(__file__).with_name("convolution.npz")
ROWS = 4

#: label: steps, inputs, outputs, taps, dilations of layers with ReLU between, padding,
#: whether weights are normalised
CONVOLUTIONS = {
    "one tap": (6, 3, 5, 1, (1,), "causal", False),
    "causal": (9, 3, 5, 2, (3,), "causal", False),
    "longer than the input": (5, 2, 3, 3, (4,), "causal", False),
    "same": (9, 3, 4, 3, (2,), "same", False),
    "same, even": (8, 2, 4, 4, (1,), "same", False),
    "valid": (11, 3, 4, 3, (2,), "valid", False),
    "tcn": (40, 2, 6, 2, (1, 2, 4, 8), "causal", False),
    "weight norm": (9, 3, 5, 2, (1, 2), "causal", True),
}
#: label: leading axes, columns, momentum, eps, rows of each batch
BATCH_NORMS = {
    "flat": ((), 5, 0.1, 1e-5, (7, 7, 2)),
    "time": ((6,), 4, 0.1, 1e-5, (7, 5, 1)),
    "panel": ((3, 4), 2, 0.01, 1e-3, (6, 6, 4)),
}
RATE = 0.1  # of gradient descent


def made(label: str, name: str, *shape: int) -> np.ndarray:
    """An input or a parameter by its name and shape in ctrain."""
    rng = np.random.RandomState(zlib.crc32(f"{label} {name}".encode()))
    bound = 1.5 / np.sqrt(shape[0]) if name.endswith(("weight", "weight_v")) else 1.0
    return rng.uniform(-bound, bound, shape)


def stored(what: str, label: str) -> dict[str, np.ndarray]:
    """Arrays of one case: ``what`` is convolution or batch_norm."""
    with np.load(STORE) as arrays:
        start = f"{what} {label}: "
        return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}


def layers(label: str) -> list[tuple[str, tuple[int, int], int]]:
    """Name, shape of the weight and dilation of each layer."""
    _, n_in, n_out, taps, dilations, *_ = CONVOLUTIONS[label]
    sizes = [n_in, *[n_out] * len(dilations)]
    return [(f"layer_{k}", (taps * sizes[k], n_out), d) for k, d in enumerate(dilations)]


# ------------------------------------------------------------------------------ PyTorch's side


def torch_weight(x: np.ndarray, n_in: int) -> np.ndarray:
    """(taps * n_in, n_out) as (n_out, n_in, taps)."""
    return x.reshape(-1, n_in, x.shape[-1]).transpose(2, 1, 0)


def our_weight(x: np.ndarray) -> np.ndarray:
    """The inverse."""
    return x.transpose(2, 1, 0).reshape(-1, x.shape[0])


def convolution(label: str) -> dict[str, np.ndarray]:
    """Output, and gradients of ``sum(output * upstream)``."""
    import torch

    steps, n_in, n_out, taps, _, padding, normalized = CONVOLUTIONS[label]
    x = torch.tensor(made(label, "x", ROWS, steps, n_in), requires_grad=True)
    h, used = x.transpose(1, 2), []
    for k, (name, shape, dilation) in enumerate(layers(label)):
        layer = torch.nn.Conv1d(shape[0] // taps, n_out, taps, dilation=dilation)
        kind = "weight_v" if normalized else "weight"
        start = torch_weight(made(label, f"{name}.{kind}", *shape), shape[0] // taps)
        if normalized:
            layer = torch.nn.utils.parametrizations.weight_norm(layer)
            weight = layer.parametrizations.weight
            weight.original1.data = torch.tensor(start)
            length = torch.tensor(made(label, f"{name}.weight_g", n_out) + 2.0)
            weight.original0.data = length.reshape(-1, 1, 1)
            used += [
                (f"{name}.weight_v", weight.original1),
                (f"{name}.weight_g", weight.original0),
            ]
        else:
            layer.weight.data = torch.tensor(start)
            used.append((f"{name}.weight", layer.weight))
        layer.bias.data = torch.tensor(made(label, f"{name}.bias", n_out))
        used.append((f"{name}.bias", layer.bias))
        if k:
            h = torch.relu(h)
        if padding == "causal":
            h = torch.nn.functional.pad(h, ((taps - 1) * dilation, 0))
        elif padding == "same":
            layer.padding = "same"
        h = layer(h)
    y = h.transpose(1, 2)
    (y * torch.tensor(made(label, "upstream", *y.shape))).sum().backward()
    kept = {"output": y.detach().numpy(), "x": x.grad.numpy()}
    for name, parameter in used:
        gradient = parameter.grad.numpy()
        if name.endswith("weight_g"):
            gradient = gradient.reshape(-1)
        kept[name] = our_weight(gradient) if gradient.ndim == 3 else gradient
    return kept


def batch_norm(label: str) -> dict[str, np.ndarray]:
    """Steps of gradient descent on ``mean(sum(tanh(norm(x @ w)) * upstream))``."""
    import torch

    axes, n, momentum, eps, sizes = BATCH_NORMS[label]
    norm = torch.nn.BatchNorm1d(n, eps=eps, momentum=momentum)
    w = torch.tensor(made(label, "w", n, n), requires_grad=True)
    norm.weight.data = torch.tensor(made(label, "scale", n))
    norm.bias.data = torch.tensor(made(label, "shift", n))
    optimizer = torch.optim.SGD([w, *norm.parameters()], lr=RATE)
    rows = sum(sizes)
    data = torch.tensor(3.0 * made(label, "x", rows, *axes, n) + 2.0)
    upstream = torch.tensor(made(label, "upstream", rows, *axes, n))

    def output(x):
        return norm((x @ w).reshape(-1, n)).reshape(x.shape)

    kept, begin = {}, 0
    for size in sizes:
        x = data[begin : begin + size].clone().requires_grad_()
        y = output(x)
        loss = (torch.tanh(y) * upstream[begin : begin + size]).sum() / size
        optimizer.zero_grad()
        loss.backward()
        if not begin:
            kept = {"output": y, "x": x.grad, "w": w.grad.clone()}
            kept |= {"weight": norm.weight.grad.clone(), "bias": norm.bias.grad.clone()}
        optimizer.step()
        begin += size
    norm.eval()
    kept |= {"trained w": w, "trained weight": norm.weight, "trained bias": norm.bias}
    kept |= {"running_mean": norm.running_mean, "running_var": norm.running_var}
    kept["inference"] = output(data)
    return {name: value.detach().numpy() for name, value in kept.items()}


def main() -> None:
    """Write the store."""
    import torch

    torch.set_num_threads(1)
    torch.set_default_dtype(torch.float64)
    kept = {"torch": np.array(torch.__version__)}
    for function, labels in ((convolution, CONVOLUTIONS), (batch_norm, BATCH_NORMS)):
        for label in labels:
            answers = function(label)
            kept.update({f"{function.__name__} {label}: {k}": v for k, v in answers.items()})
    np.savez_compressed(STORE, **kept)


if __name__ == "__main__":
    main()
