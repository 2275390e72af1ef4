"""The tape alone: record a network, read every value and gradient, take steps by hand."""

from __future__ import annotations

import numpy as np

import ctrain


def main(steps: int = 500) -> float:
    # XOR: no linear model does better than a half everywhere
    X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    Y = np.array([[0.0], [1.0], [1.0], [0.0]])

    tape = ctrain.Tape(dtype="float64", random_state=1)
    x = tape.input((2,), name="x")  # the shape of one row: the batch has no axis here
    y = tape.input((1,), name="y")
    w1 = tape.parameter((2, 8), name="w1")
    b1 = tape.parameter((8,), name="b1", init="zeros")
    w2 = tape.parameter((8, 1), name="w2")
    b2 = tape.parameter((1,), name="b2", init="zeros")
    prediction = tape.matmul(tape.tanh(tape.matmul(x, w1, b1)), w2, b2)
    loss = tape.squared_error(prediction, y)
    print(tape.describe())

    for _ in range(steps):
        tape.forward(x=X, y=Y)
        tape.backward(loss)  # of the mean loss over the rows
        for tensor in (w1, b1, w2, b2):
            lower = tape.value(tensor) - 0.3 * tape.gradient(tensor)
            tape.parameters.assign(tensor.name, lower)

    tape.forward(x=X, y=Y)
    print(f"\nprediction after {steps} steps: {tape.value(prediction).round(3).ravel()}")
    return float(tape.value(loss).mean())


if __name__ == "__main__":
    main()
