"""The series that every library forecasts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd


def values(n_series: int, rows: int) -> np.ndarray:
    """Daily and weekly waves of hours with noise, float32, shape (n_series, rows)."""
    rng = np.random.default_rng(4)
    t = np.arange(rows)
    day, week = (np.sin(2 * np.pi * (t / n + rng.uniform(size=(n_series, 1)))) for n in (24, 168))
    return (day + 0.5 * week + 0.3 * rng.normal(size=(n_series, rows))).astype(np.float32)


def frame(n_series: int, rows: int) -> pd.DataFrame:
    """They as a long frame: unique_id, ds, y."""
    stamps = pd.date_range("2020-01-01", periods=rows, freq="h")
    return pd.DataFrame({
        "unique_id": np.repeat([f"series {k}" for k in range(n_series)], rows),
        "ds": np.tile(stamps, n_series),
        "y": values(n_series, rows).reshape(-1),
    })  # fmt: skip


def memory(key: str) -> int:
    """Bytes, from the kernel's account of this process, such as VmRSS or VmHWM, its peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return 1024 * int(line.split()[1])
    raise KeyError(key)
