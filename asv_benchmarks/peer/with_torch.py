"""PyTorch's side: eager, fused AdamW. No clipping, which would cost it further kernels."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from . import problem


def step(threads: int, layers: list[int], batch: int, rows: int):
    """The training loop of the tutorials, the batch taken by ``index_select``."""
    torch.set_num_threads(threads)
    X, y = map(torch.from_numpy, problem.data(layers[0], rows))
    index = torch.from_numpy(problem.order(rows, batch))
    network = _network(layers)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=problem.LEARNING_RATE, betas=problem.BETAS, eps=problem.EPS,
        weight_decay=problem.WEIGHT_DECAY, fused=True,
    )  # fmt: skip

    def call():
        for rows_of_step in index:
            prediction = network(X.index_select(0, rows_of_step))
            loss = functional.mse_loss(prediction, y.index_select(0, rows_of_step))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    call()
    dense = [m for m in network if isinstance(m, nn.Linear)]
    pairs = [(m.weight.detach().numpy().T, m.bias.detach().numpy()) for m in dense]
    return call, len(index), {"loss": problem.loss(pairs, X.numpy(), y.numpy())}


def layer(threads: int, op: str, rows: int, width: int):
    """An activation forward and backward, the gradient of its output given."""
    torch.set_num_threads(threads)
    values = np.random.default_rng(0).normal(size=(rows, width)).astype(np.float32)
    x = torch.from_numpy(values).requires_grad_()
    upstream = torch.ones_like(x)
    function = {"gelu": functional.gelu, "tanh": torch.tanh}[op]
    return lambda: torch.autograd.grad(function(x), x, upstream), 1, {}


def adamw(threads: int, n: int):
    """``optimizer.step()`` over n weights in one tensor."""
    torch.set_num_threads(threads)
    weights = torch.randn(n, requires_grad=True)
    weights.grad = torch.randn(n)
    optimizer = torch.optim.AdamW(
        [weights], lr=problem.LEARNING_RATE, weight_decay=problem.WEIGHT_DECAY, fused=True
    )
    return optimizer.step, 1, {}


def predict(threads: int, layers: list[int], rows: int, calls: int, chunk: int):
    """The forward pass without autograd, so many rows at a time."""
    torch.set_num_threads(threads)
    X = torch.from_numpy(problem.data(layers[0], rows)[0])
    network = _network(layers).eval()
    out = torch.empty(rows, 1)

    @torch.inference_mode()
    def call():
        for _ in range(calls):
            for start in range(0, rows, chunk):
                out[start : start + chunk] = network(X[start : start + chunk])

    return call, calls, {}


def _network(layers: list[int]) -> nn.Sequential:
    modules = []
    for w, b in problem.weights(layers):
        dense = nn.Linear(*w.shape)
        with torch.no_grad():
            dense.weight.copy_(torch.from_numpy(w.T.copy()))
            dense.bias.copy_(torch.from_numpy(b))
        modules += [dense, nn.ReLU()]
    return nn.Sequential(*modules[:-1])
