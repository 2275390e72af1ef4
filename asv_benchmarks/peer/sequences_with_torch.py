"""PyTorch's side of layers over sequences: its fused layers, fused AdamW, no clipping."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from . import problem


def lstm(threads: int, sizes: list[int], time: int, batch: int):
    return _recurrent(nn.LSTM, 4, threads, sizes, time, batch)


def gru(threads: int, sizes: list[int], time: int, batch: int):
    return _recurrent(nn.GRU, 3, threads, sizes, time, batch)


def _recurrent(layer, gates: int, threads: int, sizes: list[int], time: int, batch: int):
    hidden = sizes[1]
    module = layer(sizes[0], hidden, len(sizes) - 1, batch_first=True)
    with torch.no_grad():
        for k, n_in in enumerate(sizes[:-1]):
            for name, n in (("weight_ih", n_in), ("weight_hh", hidden)):
                values = problem.named(f"layer.{name}_l{k}", (n, gates * hidden))
                getattr(module, f"{name}_l{k}").copy_(torch.from_numpy(values.T.copy()))
            bias = torch.from_numpy(problem.named(f"layer.bias_l{k}", (4 * hidden,)))
            getattr(module, f"bias_ih_l{k}").copy_(bias[: gates * hidden])
            getattr(module, f"bias_hh_l{k}").zero_()
            if layer is nn.GRU:
                getattr(module, f"bias_hh_l{k}")[2 * hidden :] = bias[3 * hidden :]
    return _steps(module, lambda x: module(x)[0][:, -1], hidden, threads, (time, sizes[0]), batch)


def tcn(threads: int, channels: int, taps: int, dilations: list[int], time: int, batch: int):
    module = nn.ModuleList(
        nn.Conv1d(channels if k else 1, channels, taps, dilation=dilation)
        for k, dilation in enumerate(dilations)
    )
    with torch.no_grad():
        for k, layer in enumerate(module):
            n_out, n_in, _ = layer.weight.shape
            values = problem.named(f"conv_{k}.weight", (taps * n_in, n_out))
            layer.weight.copy_(torch.from_numpy(values.reshape(taps, n_in, n_out).T.copy()))
            layer.bias.copy_(torch.from_numpy(problem.named(f"conv_{k}.bias", (n_out,))))

    def network(x):
        x = x.transpose(1, 2)
        for layer, dilation in zip(module, dilations, strict=True):
            x = functional.relu(layer(functional.pad(x, ((taps - 1) * dilation, 0))))
        return x[..., -1]

    return _steps(module, network, channels, threads, (time, 1), batch)


def _steps(module, network, units: int, threads: int, row: tuple[int, ...], batch: int):
    """Steps of a network over sequences (time, features), a linear map behind it."""
    torch.set_num_threads(threads)
    X, y = map(torch.from_numpy, problem.sequences(2 * batch, *row))
    out = nn.Linear(units, 1)
    with torch.no_grad():
        out.weight.copy_(torch.from_numpy(problem.named("out.weight", (units, 1)).T.copy()))
        out.bias.copy_(torch.from_numpy(problem.named("out.bias", (1,))))
        loss = float(functional.mse_loss(out(network(X)), y))
    optimizer = torch.optim.AdamW(
        [*module.parameters(), *out.parameters()], lr=problem.LEARNING_RATE, betas=problem.BETAS,
        eps=problem.EPS, weight_decay=problem.WEIGHT_DECAY, fused=True,
    )  # fmt: skip

    def call():
        for begin in (0, batch):
            prediction = out(network(X[begin : begin + batch]))
            cost = functional.mse_loss(prediction, y[begin : begin + batch])
            optimizer.zero_grad(set_to_none=True)
            cost.backward()
            optimizer.step()

    return call, 2, {"loss": loss}
