"""The units in which a network sees series: statistics of their training parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .data import Panel, SeriesScaler


class Units:
    """Each series in units of its own; each covariate in those of all series together.

    Parameters
    ----------
    kind : str
        Of `SeriesScaler`, for the targets. Covariates are standardised.

    Attributes
    ----------
    ids : ndarray of shape (n_series,)
        Series that were fitted.
    center, scale : float64 ndarray of shape (n_series,)
    columns : dict of str to (center, scale)
        Of the blocks ``future``, ``past`` and ``static``, float64 arrays of shape (n_columns,).
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def fit(self, panel: Panel, stops: np.ndarray) -> Units:
        """Take the statistics of each series' rows before ``stops[i]``."""
        scaler = SeriesScaler(self.kind).fit(panel, panel.y, stops)
        self.ids, self.center, self.scale = panel.ids, scaler.center_, scaler.scale_
        rows = np.zeros(panel.n_rows, bool)
        for begin, stop in zip(panel.offsets, stops, strict=False):
            rows[begin:stop] = True
        blocks = {"future": panel.future, "past": panel.past}
        self.columns = {name: _statistics(block[rows]) for name, block in blocks.items()}
        self.columns["static"] = _statistics(panel.static)
        return self

    def of(self, panel: Panel) -> tuple[np.ndarray, np.ndarray]:
        """Center and scale of a panel's series; new series have those of their own values."""
        center, scale = np.zeros(panel.n_series), np.ones(panel.n_series)
        if self.kind == "none":
            return center, scale
        at = panel_index(self.ids, panel.ids)
        known = at >= 0
        center[known], scale[known] = self.center[at[known]], self.scale[at[known]]
        if not known.all():
            own = SeriesScaler(self.kind).fit(panel, panel.y)
            center[~known], scale[~known] = own.center_[~known], own.scale_[~known]
        return center, scale

    def apply(self, panel: Panel) -> Panel:
        """A panel in these units; what needs no change is not copied."""
        y = panel.y
        if self.kind != "none":
            center, scale = (np.repeat(v, panel.lengths) for v in self.of(panel))
            y = np.where(panel.mask, (y - center) / scale, 0.0).astype(y.dtype)
        blocks = {name: self.covariates(name, getattr(panel, name)) for name in self.columns}
        return replace(panel, y=y, **blocks)

    def covariates(self, name: str, values: np.ndarray) -> np.ndarray:
        """A block of covariates, the last axis running over its columns, in these units."""
        if values.shape[-1] == 0:
            return values
        center, scale = self.columns[name]
        return ((values - center) / scale).astype(values.dtype)

    def forward(self, values: np.ndarray, center: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Values of shape (n, ...) of series, given for each of the n, in these units."""
        if self.kind == "none":
            return values
        axes = tuple(range(1, values.ndim))
        return (values - np.expand_dims(center, axes)) / np.expand_dims(scale, axes)

    def inverse(self, values: np.ndarray, center: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Forecasts of shape (n, ...) in the units of their series, given for each of the n."""
        if self.kind == "none":
            return values
        axes = tuple(range(1, values.ndim))
        return values * np.expand_dims(scale, axes) + np.expand_dims(center, axes)


def panel_index(known: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Position of each wanted name among the known ones, which ascend; -1 if it is not there."""
    if known.dtype.kind != wanted.dtype.kind:
        return np.full(len(wanted), -1)
    at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
    return np.where(known[at] == wanted, at, -1)


def _statistics(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column; a constant one has the scale 1."""
    if not block.size:
        return np.zeros(block.shape[-1]), np.ones(block.shape[-1])
    scale = block.std(axis=0, dtype=np.float64)
    return block.mean(axis=0, dtype=np.float64), np.where(scale > 0, scale, 1.0)
