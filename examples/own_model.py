"""A model of one's own: two towers of a digit's upper half, multiplied and added.

A model is a function of a tape and the input that returns one value per target. It runs at the
speed of the built-in one, because it is recorded once and replayed in C.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from ctrain import Regressor
from ctrain.layers import dense


def gated(tape, x):
    """A linear path, and a gated one: gelu(x V) * (x W) with layer sizes 128."""
    gate = tape.gelu(dense(tape, x, 128, "gate"))
    hidden = tape.mul(gate, dense(tape, x, 128, "value"))
    return tape.add(dense(tape, x, 32, "linear"), dense(tape, hidden, 32, "out"))


def main(epochs: int = 40) -> dict[str, float]:
    """Errors of a linear model and of the gated one, in grey levels of 16."""
    pixels = (load_digits().data / 16).astype(np.float32)
    train, test = train_test_split(pixels, test_size=0.25, random_state=0)
    errors = {}
    for name, model in (("linear", Regressor(())), ("own model", Regressor(model=gated))):
        model.set_params(max_iter=epochs, batch_size=32, learning_rate_init=2e-3, random_state=0)
        guess = model.fit(train[:, :32], train[:, 32:]).predict(test[:, :32])
        errors[name] = 16 * float(np.sqrt(np.mean((guess - test[:, 32:]) ** 2)))
        print(f"{name:<10} error on the lower half of unseen digits: {errors[name]:.2f}")
    return errors


if __name__ == "__main__":
    main()
