"""What an epoch costs over the bare step loop: history, validation, early stopping, callbacks.

``python asv_benchmarks/epoch_cost.py`` prints CPU microseconds of an epoch of 10-64-1 over 1,000
rows in batches of 32, float32, one thread; medians of interleaved rounds.
"""

from __future__ import annotations

import statistics
import time
from types import SimpleNamespace

import numpy as np

from ctrain import Regressor, losses, optimizers
from ctrain._core import random
from ctrain._core.optim import Optimizer
from ctrain._core.source import Arrays
from ctrain._core.step import run_steps
from ctrain.callbacks import OnEpochEnd
from ctrain.models import MLP
from ctrain.network import Network

EPOCHS, ROUNDS, BATCH = 1000, 9, 32
rng = np.random.default_rng(0)
X = rng.normal(size=(1000, 10)).astype(np.float32)
y = X[:, :1] * X[:, 1:2]


def bare(n: int) -> float:
    """Shuffle and step, nothing else."""
    network = Network(MLP((64,)), losses.resolve("mse"), {"x": (10,)}, 1, np.float32, 0)
    program = network.trainer(BATCH, 1)
    optimizer = Optimizer(optimizers.AdamW(), network.dtype, network.parameters.arena.size)
    source, state = Arrays(x=X, y=y), SimpleNamespace(step=0)
    bounds = np.append(np.arange(0, n, BATCH), n)
    rates = np.full(len(bounds) - 1, 1e-3)
    sums, weights, norms = np.empty((3, len(rates)))
    started = time.thread_time()
    for epoch in range(EPOCHS):
        order = random.permutation(random.key(0, "shuffle", epoch), n)
        run_steps(
            program, source, order, bounds, rates, optimizer, state, clip_norm=1.0,
            loss_sums=sums, weight_sums=weights, norms=norms,
        )  # fmt: skip
    return (time.thread_time() - started) / EPOCHS


def fitted(callbacks=(), **parameters) -> float:
    """An epoch of `fit`: what more epochs cost more."""

    def seconds(epochs: int) -> float:
        reg = Regressor((64,), batch_size=BATCH, max_iter=epochs, n_iter_no_change=np.inf, n_jobs=1,
                        random_state=0, **parameters)  # fmt: skip
        reg.set_callbacks(*callbacks)
        started = time.thread_time()
        reg.fit(X, y[:, 0])
        return time.thread_time() - started

    return (seconds(EPOCHS + 100) - seconds(100)) / EPOCHS


WAYS = {
    "bare step loop, 1,000 rows": lambda: bare(1000),
    "bare step loop, 800 rows": lambda: bare(800),
    "fit with history, 1,000 rows": lambda: fitted(early_stopping=False),
    "fit with history and early stopping, 800 + 200 rows": lambda: fitted(early_stopping=True),
    "the same with one callback": lambda: fitted(
        [OnEpochEnd(lambda reg: False)], early_stopping=True
    ),
}


def main() -> None:
    times: dict[str, list[float]] = {name: [] for name in WAYS}
    for _ in range(ROUNDS):
        for name, way in WAYS.items():
            times[name].append(way())
    base = statistics.median(times["bare step loop, 1,000 rows"])
    for name, values in times.items():
        median = statistics.median(values)
        print(f"{name:<55} {1e6 * median:7.1f} us  {median / base:5.2f}x")


if __name__ == "__main__":
    main()
