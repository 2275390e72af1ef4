"""Intervals instead of points: one network, three quantiles, and how often they hold."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import KFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ctrain import Regressor
from ctrain.losses import Quantile


def main(epochs: int = 20, folds: int = 5) -> dict[str, float]:
    X, y = load_diabetes(return_X_y=True)
    network = Regressor((16,), loss=Quantile((0.1, 0.5, 0.9)), max_iter=epochs, batch_size=32,
                        learning_rate_init=5e-3, random_state=0)  # fmt: skip
    model = make_pipeline(StandardScaler(), network)
    # every patient is predicted by a network that has not seen them: (n_samples, 3)
    predicted = cross_val_predict(model, X, y / 100, cv=KFold(folds, shuffle=True, random_state=0))
    low, middle, high = 100 * predicted.T
    held = float(np.mean((low <= y) & (y <= high)))
    above = float(np.mean(y > middle))
    print(f"10 % to 90 %: holds {held:.0%} of {len(y)} patients, "
          f"{np.mean(high - low):.0f} points of the score wide on average")  # fmt: skip
    print(f"50 %: {above:.0%} of them are above it")
    return {"held": held, "above": above, "width": float(np.mean(high - low))}


if __name__ == "__main__":
    main()
