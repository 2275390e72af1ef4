"""A loss of one's own: an underestimate costs three times as much as an overestimate.

A loss is a function of tape, prediction and target that returns one number per row. Its gradient
is that of the operations; `check_gradients` compares it with differences.
"""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import ctrain


def costly_underestimate(tape, prediction, target):
    error = tape.sub(target, prediction)
    missing = tape.relu(error)
    return tape.mean(tape.add(tape.square(error), tape.scale(tape.square(missing), 2.0)))


def main(epochs: int = 60) -> dict[str, float]:
    rng = np.random.default_rng(0)
    worst = ctrain.check_gradients(
        costly_underestimate, {"prediction": rng.normal(size=(6, 2)), "target": np.zeros((6, 2))}
    )
    print(f"largest relative error of the loss's gradient: {worst:.1e}")
    X, y = load_diabetes(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y / y.std(), test_size=0.3, random_state=0)
    under = {"gradient error": worst}
    for name, loss in (("squared_error", "squared_error"), ("own loss", costly_underestimate)):
        network = ctrain.Regressor((32,), loss=loss, max_iter=epochs, batch_size=32,
                                   learning_rate_init=5e-3, random_state=0)  # fmt: skip
        model = make_pipeline(StandardScaler(), network).fit(X, y)
        under[name] = float(np.mean(model.predict(X_test) < y_test))
        print(f"{name:<14} patients whose disease went further than predicted: {under[name]:.0%}")
    return under


if __name__ == "__main__":
    main()
