"""ctrain's side of layers over sequences."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np

from ctrain import layers, losses, optimizers
from ctrain._core.optim import Optimizer
from ctrain._core.source import Arrays
from ctrain._core.step import run_steps
from ctrain.network import Network
from ctrain.state import State

from . import problem

EXAMPLES = Path(__file__).parents[2] / "examples"


def lstm(threads: int, sizes: list[int], time: int, batch: int):
    return _recurrent(layers.lstm, threads, sizes, time, batch)


def gru(threads: int, sizes: list[int], time: int, batch: int):
    return _recurrent(layers.gru, threads, sizes, time, batch)


def own_lstm(threads: int, sizes: list[int], time: int, batch: int):
    """The cell of examples/own_cell.py, from basic operations."""
    spec = importlib.util.spec_from_file_location("own_cell", EXAMPLES / "own_cell.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)

    def network(tape, x):
        return example.own_cell(tape, x, sizes[1], "layer")

    return _steps(network, threads, (time, sizes[0]), batch)


def _recurrent(layer, threads: int, sizes: list[int], time: int, batch: int):
    hidden = sizes[1]

    def network(tape, x):
        sequence, _ = layer(tape, x, hidden, "layer", num_layers=len(sizes) - 1)
        return tape.reshape(tape.slice(sequence, 0, -1), (hidden,))

    return _steps(network, threads, (time, sizes[0]), batch)


def tcn(threads: int, channels: int, taps: int, dilations: list[int], time: int, batch: int):
    def network(tape, x):
        for k, dilation in enumerate(dilations):
            x = layers.conv1d(tape, x, channels, taps, f"conv_{k}", dilation=dilation)
            x = tape.relu(x)
        return tape.reshape(tape.slice(x, 0, -1), (channels,))

    return _steps(network, threads, (time, 1), batch)


def _steps(network, threads: int, row: tuple[int, ...], batch: int):
    """Steps of a network over sequences (time, features), a linear map behind it."""
    rows = 2 * batch
    X, y = problem.sequences(rows, *row)

    def model(tape, x):
        return layers.linear(tape, network(tape, x), 1, "out")

    recorded = Network(model, losses.resolve("squared_error"), {"x": row}, 1, "float32", 0)
    for p in recorded.parameters:
        recorded.parameters.assign(p.name, problem.named(p.name, p.shape))
    source = Arrays(x=X, y=y)
    loss = recorded.evaluate(source, None, threads)
    program = recorded.trainer(batch, threads)
    adamw = optimizers.AdamW(
        betas=problem.BETAS, eps=problem.EPS, weight_decay=problem.WEIGHT_DECAY
    )
    optimizer = Optimizer(adamw, "float32", recorded.parameters.arena.size)
    index, bounds = np.arange(rows), np.arange(0, rows + 1, batch)
    rates, progress = np.full(2, problem.LEARNING_RATE), State(seed=0)
    sums = np.zeros((3, 2))

    def call():
        run_steps(
            program, source, index, bounds, rates, optimizer, progress,
            clip_norm=problem.CLIP_NORM, loss_sums=sums[0], weight_sums=sums[1], norms=sums[2],
        )  # fmt: skip

    return call, 2, {"loss": loss, "flops": float(program.plan.flops * batch)}
