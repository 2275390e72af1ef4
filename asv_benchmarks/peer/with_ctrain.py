"""ctrain's side."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from scipy.special import ndtr

from ctrain import Regressor, Tape, losses, optimizers
from ctrain._core import dispatch
from ctrain._core.optim import Optimizer
from ctrain._core.plan import compile_plan
from ctrain._core.program import Program, Workspace
from ctrain._core.source import Arrays
from ctrain._core.step import accumulate, read, run_steps, update
from ctrain.models import MLP
from ctrain.network import Network
from ctrain.state import State

from . import problem


def step(threads: int, layers: list[int], batch: int, rows: int, dtype: str = "float32"):
    """Whole optimizer steps: gathering, forward, loss, backward, norm, clipping, AdamW."""
    X, y = problem.data(layers[0], rows, dtype)
    network = Network(
        MLP(layers[1:-1]), losses.resolve("squared_error"), {"x": (layers[0],)}, 1, dtype, 0
    )
    for k, (w, b) in enumerate(problem.weights(layers, dtype)):
        network.parameters.assign(f"layer_{k}.weight", w)
        network.parameters.assign(f"layer_{k}.bias", b)
    program = network.trainer(batch, threads)
    optimizer = Optimizer(_adamw(), dtype, network.parameters.arena.size)
    index = problem.order(rows, batch)
    steps = len(index)
    rates = np.full(steps, problem.LEARNING_RATE)
    loss_sums, weight_sums, norms = np.zeros((3, steps))
    source, progress, bounds = Arrays(x=X, y=y), State(seed=0), np.arange(steps + 1) * batch

    def call():
        run_steps(
            program, source, index.reshape(-1), bounds, rates, optimizer, progress,
            clip_norm=problem.CLIP_NORM,
            loss_sums=loss_sums, weight_sums=weight_sums, norms=norms,
        )  # fmt: skip

    call()
    pairs = [
        (network.parameters[f"layer_{k}.weight"].value, network.parameters[f"layer_{k}.bias"].value)
        for k in range(len(layers) - 1)
    ]
    info = {
        "loss": problem.loss(pairs, X, y),
        "flops": program.plan.flops * batch,
        "longest_gradient": float(norms.max()),
    }
    return call, steps, info


def fit(threads: int, layers: list[int], batch: int, rows: int, epochs: int):
    """``Regressor.fit`` as a user calls it, per step."""
    X, y = problem.data(layers[0], rows)
    model = Regressor(
        layers[1:-1], optimizer=_adamw(), batch_size=batch, max_iter=epochs, n_jobs=threads,
        random_state=0, learning_rate_init=problem.LEARNING_RATE, schedule="constant",
        early_stopping=False,
    )  # fmt: skip
    y = y[:, 0]
    return lambda: model.fit(X, y), -(-rows // batch) * epochs, {}


def layer(threads: int, op: str, rows: int, width: int):
    """An activation forward and backward, with a sum as loss: gradients reach x."""
    tape = Tape("float32")
    x = tape.input((width,), name="x")
    total = tape.sum(tape.record(op, x))
    plan = compile_plan(tape, rows, loss=total, outputs=[x], backward=True, keep=True)
    program = Program(plan, threads)
    values = np.random.default_rng(0).normal(size=(rows, width)).astype(np.float32)
    source = Arrays(x=values)
    accumulate(program, source, backward=True)
    gradient = read(program, x, rows, gradient=True)
    if gradient is None:
        raise RuntimeError(f"{op}: the plan computes no gradient of x, so backward is not timed")
    z = values.astype(np.float64)
    density = np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    exact = {"gelu": ndtr(z) + z * density, "tanh": 1 - np.tanh(z) ** 2}[op]
    if np.abs(gradient - exact).max() > 1e-5:
        raise RuntimeError(f"{op}: the gradient of x is wrong")
    return lambda: accumulate(program, source, backward=True), 1, {}


def adamw(threads: int, n: int):
    """The update phase of n weights in one matrix."""
    n_in = 2500
    tape = Tape("float32")
    x = tape.input((n_in,), name="x")
    w = tape.parameter((n_in, n // n_in), name="w")
    loss = tape.mean(tape.square(tape.matmul(x, w)))
    program = Program(compile_plan(tape, 1, loss=loss, backward=True), threads)
    source = Arrays(x=np.random.default_rng(0).normal(size=(1, n_in)).astype(np.float32))
    accumulate(program, source, backward=True)
    optimizer = Optimizer(_adamw(), "float32", tape.parameters.arena.size)
    return lambda: update(program, optimizer, problem.LEARNING_RATE), 1, {}


def predict(threads: int, layers: list[int], rows: int, calls: int):
    """``Regressor.predict`` on an array of the fitted width and dtype."""
    X, y = problem.data(layers[0], max(rows, 256))
    model = Regressor(layers[1:-1], max_iter=1, n_jobs=threads, random_state=0).fit(
        X[:256], y[:256, 0]
    )
    X = X[:rows]

    def call():
        for _ in range(calls):
            model.predict(X)

    return call, calls, {}


def gemm(threads: int, m: int, k: int, n: int, form: str):
    """Products ``c (m, n) = a (m, k) @ b (k, n)``, many in one call."""
    rng = np.random.default_rng(0)
    a = problem.aligned(rng.normal(size=(m, k)).astype(np.float32))
    b = problem.aligned(rng.normal(size=(k, n)).astype(np.float32))
    c = problem.aligned(np.zeros((m, n), np.float32))
    if form == "A transposed":
        a = problem.aligned(a.T).T
    if form == "B transposed":
        b = problem.aligned(np.ascontiguousarray(b.T).T)  # the kept copy of b.T
    repeat = max(1, int(2e8 / (2.0 * m * k * n)))
    dispatch.gemm(a, b, c)
    error = float(np.abs(c - a @ b).max())
    return lambda: dispatch.gemm(a, b, c, repeat=repeat), repeat, {"error": error}


def memory(threads: int, layers: list[int], batch: int, rows: int):
    """Growth of the resident set during a fit, beside what the plan states."""
    X, y = problem.data(layers[0], rows)
    y = y[:, 0]
    common = {"batch_size": batch, "n_jobs": threads, "random_state": 0,
              "early_stopping": False}  # fmt: skip
    Regressor((8,), max_iter=1, **common).fit(X[:batch], y[:batch])  # loads what a fit loads
    Path("/proc/self/clear_refs").write_text("5")  # the peak restarts from here
    before = _status("VmRSS")
    model = Regressor(layers[1:-1], max_iter=2, **common).fit(X, y)
    grown = _status("VmHWM") - before
    network = model._network
    info = {
        "measured": grown,
        "weights": 4 * sum(p.size for p in network.parameters),
        "slots": len(model._state.optimizer.slots),
        "workspace": Workspace(network.trainer(batch, threads)).nbytes,
        "order": 3 * 8 * rows,  # the row numbers, permuted, and while they are permuted
    }
    return lambda: None, 1, info


def _status(key: str) -> int:
    """Bytes, from the kernel's account of this process."""
    for line in Path(f"/proc/{os.getpid()}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return 1024 * int(line.split()[1])
    raise KeyError(key)


def _adamw():
    return optimizers.AdamW(betas=problem.BETAS, eps=problem.EPS, weight_decay=problem.WEIGHT_DECAY)
