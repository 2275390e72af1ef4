"""Which training windows count, and how much.

A window is known by the first row of its panel that it forecasts; a window of all series by those
of each, the columns of an array (n_windows, n_series).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .data import Panel


def window_rows(first: np.ndarray, count: np.ndarray, step_size: int) -> np.ndarray:
    """The rows ``first[i], first[i] + step_size, ...`` of each series, ``count[i]`` of them."""
    within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    return np.repeat(first, count) + within * step_size


def weights_of(window_weight: Callable, panel: Panel, at: np.ndarray, dtype) -> np.ndarray:
    """What the user's `window_weight` says of windows, shape (n_windows,).

    Raises
    ------
    ValueError
        If these are no weights.
    """
    stamps = panel.stamps(at if at.ndim == 1 else at[:, 0])
    weight = np.asarray(window_weight(stamps, np.where(panel.mask[at], panel.y[at], np.nan)), dtype)
    good = weight.shape == stamps.shape and np.isfinite(weight).all() and (weight >= 0).all()
    if not good or not weight.any():
        raise ValueError(
            f"window_weight must return {len(at)} finite weights that are not negative, "
            f"one for each window, and not all 0; got {weight!r}"
        )
    return weight


def informative(
    panel: Panel, at: np.ndarray, n_in: int, n_out: int, horizon_weight: Sequence[float] | None
) -> np.ndarray:
    """Whether windows have a value both in their past and in their horizon, shape (n_windows,).

    Others teach nothing. Of a window of all series one of them is enough.
    """
    n_before = np.concatenate([[0], np.cumsum(panel.mask)])
    begin = np.maximum(at - n_in, panel.offsets[panel.series_of(at)])
    some = np.zeros(at.shape, bool)
    for step in range(n_out):
        if horizon_weight is None or horizon_weight[step]:
            some |= panel.mask[at + step]
    some &= n_before[at] > n_before[begin]
    return some if at.ndim == 1 else some.any(axis=1)
