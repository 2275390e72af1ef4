"""Whole fits and predictions: time, peak memory, and the loss that was reached."""

from __future__ import annotations

import numpy as np

from ctrain import Regressor

#: name -> features, hidden layers, batch
NETWORKS = {
    "10-64-1": (10, (64,), 32),
    "64-128-64-1": (64, (128, 64), 32),
    "128-512-512-1": (128, (512, 512), 256),
}
STEPS = 200


def data(network: str):
    features, _, batch = NETWORKS[network]
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50 * batch, features)).astype(np.float32)
    return X, np.sin(X[:, 0]) + X[:, 1] * X[:, 2] + np.float32(0.1) * X[:, 3]


def regressor(network: str, threads: int) -> Regressor:
    _, hidden, batch = NETWORKS[network]
    return Regressor(hidden, batch_size=batch, max_steps=STEPS, n_jobs=threads, random_state=0)


class Fit:
    params = (sorted(NETWORKS), [1, 2])
    param_names = ("network", "threads")

    def setup(self, network, threads):
        self.X, self.y = data(network)
        self.model = regressor(network, threads)

    def time_fit(self, network, threads):
        self.model.fit(self.X, self.y)

    def peakmem_fit(self, network, threads):
        self.model.fit(self.X, self.y)

    def track_loss(self, network, threads):
        return float(self.model.fit(self.X, self.y).loss_curve_[-1])


class Predict:
    params = (sorted(NETWORKS), [1, 10_000])
    param_names = ("network", "rows")

    def setup(self, network, rows):
        X, y = data(network)
        self.model = regressor(network, 1).fit(X, y)
        self.rows = np.resize(X, (rows, X.shape[1]))

    def time_predict(self, network, rows):
        self.model.predict(self.rows)
