"""Whole fits: time, peak memory, and the loss that they reach."""

from __future__ import annotations

import numpy as np

from ctrain import Regressor

NETWORKS = {
    "10-64-1, 32": ((64,), 10, 32, 4096),
    "64-128-64-1, 32": ((128, 64), 64, 32, 4096),
    "128-512-512-1, 256": ((512, 512), 128, 256, 4096),
}
EPOCHS = 5


def data(n_features: int, rows: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(rows, n_features))
    y = np.tanh(X @ rng.normal(size=n_features) / np.sqrt(n_features))
    return X.astype(np.float32), (y + 0.1 * rng.normal(size=rows)).astype(np.float32)


class Fit:
    params = (list(NETWORKS), (1, 2))
    param_names = ("network, batch", "threads")
    timeout = 120

    def setup(self, network, threads):
        hidden, n_features, batch, rows = NETWORKS[network]
        self.X, self.y = data(n_features, rows)
        self.model = Regressor(
            hidden,
            batch_size=batch,
            max_iter=EPOCHS,
            n_jobs=threads,
            random_state=0,
            early_stopping=False,
        )

    def time_fit(self, network, threads):
        self.model.fit(self.X, self.y)

    def peakmem_fit(self, network, threads):
        self.model.fit(self.X, self.y)

    def track_loss(self, network, threads):
        return self.model.fit(self.X, self.y).loss_

    track_loss.unit = "mean squared error"


class Predict:
    params = (1, 100_000)
    param_names = ("rows",)

    def setup(self, rows):
        X, y = data(64, 512)
        self.model = Regressor((128, 64), max_iter=1, random_state=0).fit(X, y)
        self.X = data(64, rows)[0]

    def time_predict(self, rows):
        self.model.predict(self.X)
