"""The units in which a network sees series: statistics of their training parts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .data import Panel, SeriesScaler
from .metrics import seasonal_scale


class Units:
    """Each series in units of its own; each covariate in those of all series together.

    Parameters
    ----------
    kind : str
        Of `SeriesScaler`, for the targets. Covariates are standardised.

    Attributes
    ----------
    ids : ndarray of shape (n_series,)
        Series that were fitted, ascending.
    center, scale : float64 ndarray of shape (n_series,)
    spread : float64 ndarray of shape (n_series,)
        Standard deviation of each series, the unit of its errors.
    columns : dict of str to (center, scale)
        Of the blocks ``future``, ``past`` and ``static``, float64 arrays of shape (n_columns,).
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def fit(self, panel: Panel, stops: np.ndarray) -> Units:
        """Take the statistics of each series' rows before ``stops[i]``."""
        self.ids = panel.ids
        self.center, self.scale, self.spread = self._statistics(panel, stops)
        rows = np.zeros(panel.n_rows, bool)
        for begin, stop in zip(panel.offsets, stops, strict=False):
            rows[begin:stop] = True
        blocks = {"future": panel.future[rows], "past": panel.past[rows], "static": panel.static}
        self.columns = {name: _of_columns(block) for name, block in blocks.items()}
        return self

    def extended(self, panel: Panel) -> Units:
        """These units and those of a panel's new series."""
        more = Units(self.kind)
        more.columns = self.columns
        new = self._find(panel.ids) < 0
        ids = np.concatenate([self.ids, panel.ids[new]])
        order = np.argsort(ids, kind="stable")
        own = self._statistics(panel, panel.offsets[1:])
        mine = (self.center, self.scale, self.spread)
        more.ids = ids[order]
        more.center, more.scale, more.spread = (
            np.concatenate([known, other[new]])[order]
            for known, other in zip(mine, own, strict=True)
        )
        return more

    def of(self, panel: Panel, stops: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Center, scale and spread of a panel's series.

        New series have those of their rows before ``stops[i]``.
        """
        at = self._find(panel.ids)
        mine = tuple(v[at] for v in (self.center, self.scale, self.spread))
        if (at >= 0).all():
            return mine
        own = self._statistics(panel, stops)
        return tuple(np.where(at >= 0, m, o) for m, o in zip(mine, own, strict=True))

    def seasonal_error(
        self, panel: Panel, stops: np.ndarray, season: int, squared: bool
    ) -> np.ndarray:
        """Error of the seasonal naive forecast of each series before ``stops[i]``, in these units.

        The mean of ``|y[t] - y[t - season]|``, or the root of the mean square.

        Raises
        ------
        ValueError
            A series without two values a season apart, or in which all such pairs are equal.
        """
        error = seasonal_scale(panel.y, panel.offsets, season, panel.mask, stops, squared=squared)
        for i in np.flatnonzero(~(error > 0))[:1]:
            why = "these are all 0" if error[i] == 0 else "there are none"
            raise ValueError(
                f"series {panel.name(i)}: season={season} measures errors by the differences of "
                f"values {season} steps apart in its training part, and {why}; leave the series "
                "out, or set another season or None"
            )
        return error if self.kind == "none" else error / self.of(panel, stops)[1]

    def apply(self, panel: Panel, stops: np.ndarray) -> Panel:
        """A panel in these units, for `Windows`, which hides what is not available.

        What needs no change is not copied.
        """
        blocks = {name: self.covariates(name, getattr(panel, name)) for name in self.columns}
        if self.kind != "none":
            center, scale = (np.repeat(v, panel.lengths) for v in self.of(panel, stops)[:2])
            blocks["y"] = self.forward(panel.y, center, scale)
        return replace(panel, **blocks)

    def covariates(self, name: str, values: np.ndarray) -> np.ndarray:
        """A block of covariates, the last axis running over its columns, in these units."""
        if values.shape[-1] == 0:
            return values
        center, scale = self.columns[name]
        return ((values - center) / scale).astype(values.dtype)

    def forward(self, values: np.ndarray, center: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Values of series in these units, also those that are not available; arrays broadcast."""
        if self.kind == "none":
            return values
        return ((values - center) / scale).astype(values.dtype)

    def inverse(self, values: np.ndarray, center: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Forecasts of shape (n, ...) in the units of their series, given for each of the n."""
        if self.kind == "none":
            return values
        axes = tuple(range(1, values.ndim))
        scaled = values * np.expand_dims(scale, axes) + np.expand_dims(center, axes)
        return scaled.astype(values.dtype)

    def _statistics(self, panel: Panel, stops: np.ndarray) -> tuple[np.ndarray, ...]:
        own = SeriesScaler(self.kind).fit(panel, panel.y, stops)
        spread = SeriesScaler("standard").fit(panel, panel.y, stops).scale_
        return own.center_, own.scale_, spread

    def _find(self, wanted: np.ndarray) -> np.ndarray:
        """Position of each name among those that were fitted; -1 if it is not there."""
        if self.ids.dtype.kind != wanted.dtype.kind:
            return np.full(len(wanted), -1)
        at = np.minimum(np.searchsorted(self.ids, wanted), len(self.ids) - 1)
        return np.where(self.ids[at] == wanted, at, -1)


def _of_columns(block: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column; a constant one has the scale 1."""
    if not block.size:
        return np.zeros(block.shape[-1]), np.ones(block.shape[-1])
    scale = block.std(axis=0, dtype=np.float64)
    constant = (block == block[0]).all(axis=0)  # the rounding error of a mean is no spread
    return block.mean(axis=0, dtype=np.float64), np.where(constant, 1.0, scale)
