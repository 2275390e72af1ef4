"""A recurrent cell of one's own: LSTM from basic operations, beside the layer, one operation.

Each step of the cell is recorded once; what it learns from a sequence goes back through all of
them. The task needs a memory: the sum of the two numbers of a sequence that are marked.
"""

from __future__ import annotations

import time

import numpy as np

from ctrain import Regressor
from ctrain.layers import linear, lstm


def own_cell(tape, x, hidden: int, name: str):
    """State after the last step; parameters as those of ``ctrain.layers.lstm``."""
    steps, n_in = x.shape
    w_x = tape.parameter((n_in, 4 * hidden), name=f"{name}.weight_ih_l0")
    w_h = tape.parameter((hidden, 4 * hidden), name=f"{name}.weight_hh_l0")
    bias = tape.parameter((4 * hidden,), name=f"{name}.bias_l0", init="zeros", decay=False)
    of_x = tape.matmul(x, w_x, bias)  # of all steps
    h = c = tape.broadcast(tape.constant([0.0]), (hidden,))
    for t in range(steps):
        z = tape.reshape(tape.slice(of_x, 0, t, t + 1), (4 * hidden,))
        z = tape.add(z, tape.matmul(h, w_h))
        into, keep, new, out = (tape.slice(z, 0, k * hidden, (k + 1) * hidden) for k in range(4))
        kept = tape.mul(tape.sigmoid(keep), c)
        c = tape.add(kept, tape.mul(tape.sigmoid(into), tape.tanh(new)))
        h = tape.mul(tape.sigmoid(out), tape.tanh(c))
    return h


def from_cell(tape, x):
    """The model of the cell."""
    return linear(tape, own_cell(tape, x, 32, "memory"), 1, "out")


def from_layer(tape, x):
    """The model of the layer."""
    sequence, _ = lstm(tape, x, 32, "memory")
    return linear(tape, tape.reshape(tape.slice(sequence, 0, -1), (32,)), 1, "out")


def marked_sums(n: int, steps: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Sequences (n, steps, 2) of numbers of [0, 1) and marks, one in each half, and the sums."""
    rng = np.random.default_rng(seed)
    numbers, marks = rng.random((n, steps)), np.zeros((n, steps))
    for first, last in ((0, steps // 2), (steps // 2, steps)):
        marks[np.arange(n), rng.integers(first, last, n)] = 1.0
    return np.stack([numbers, marks], axis=2).astype(np.float32), (numbers * marks).sum(axis=1)


def main(epochs: int = 30, steps: int = 20) -> dict[str, float]:
    """Error of the cell, of the layer, and of the mean; how many times longer the cell takes."""
    X, y = marked_sums(4000, steps, 0)
    X_new, y_new = marked_sums(1000, steps, 1)
    answer, seconds = {"mean": float(y.std())}, []
    for name, model in (("own cell", from_cell), ("layer", from_layer)):
        reg = Regressor(
            model=model, max_iter=epochs, batch_size=64, learning_rate_init=1e-2,
            early_stopping=False, n_jobs=1, random_state=0,
        )  # fmt: skip
        started = time.process_time()
        reg.fit(X, y)
        seconds.append(time.process_time() - started)
        answer[name] = float(np.sqrt(np.mean((reg.predict(X_new) - y_new) ** 2)))
        print(f"{name:<10} error {answer[name]:.3f}, {seconds[-1]:.1f} s")
    answer["times"] = seconds[0] / seconds[1]
    print(f"the mean   error {answer['mean']:.3f}; the cell takes {answer['times']:.1f}x the time")
    return answer


if __name__ == "__main__":
    main()
