"""Data larger than memory: a fit reads a memory map batch by batch and copies none of it."""

from __future__ import annotations

import tempfile
import tracemalloc
from pathlib import Path

import numpy as np

from ctrain import Regressor


def write(path: Path, n_rows: int, n_features: int = 64) -> np.ndarray:
    """A file of float32 rows, written piece by piece; answers the target."""
    rng = np.random.default_rng(0)
    weight = rng.normal(size=n_features) / np.sqrt(n_features)
    data = np.lib.format.open_memmap(path, "w+", np.float32, (n_rows, n_features))
    y = np.empty(n_rows, np.float32)
    for begin in range(0, n_rows, 10_000):
        rows = slice(begin, begin + 10_000)
        data[rows] = rng.normal(size=data[rows].shape)
        y[rows] = np.sin(2 * data[rows] @ weight)
    data.flush()
    return y


def main(n_rows: int = 400_000, epochs: int = 2) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.npy"
        y = write(path, n_rows)
        X = np.load(path, mmap_mode="r")
        model = Regressor((32,), max_iter=epochs, batch_size=256, learning_rate_init=2e-2,
                          random_state=0)  # fmt: skip
        tracemalloc.start()
        model.fit(X[:-5000], y[:-5000])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        score = model.score(X[-5000:], y[-5000:])
    print(f"{X.nbytes / 1e6:.0f} MB of rows, {model.n_iter_} epochs in {model.fit_time_:.2f} s, "
          f"R2 {score:.3f} on the last 5,000 rows")  # fmt: skip
    print(f"arrays made during the fit: {peak / 1e6:.1f} MB at most")
    return {"score": score, "file": X.nbytes, "peak": peak}


if __name__ == "__main__":
    main()
