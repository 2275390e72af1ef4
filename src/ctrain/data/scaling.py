"""Scalers of series: each has its own center and scale, from its training part, in float64."""

from __future__ import annotations

import numpy as np

from ..scalers import NORMAL_MAD

KINDS = ("none", "standard", "robust", "minmax")


class SeriesScaler:
    """Scale each series by its own statistics: ``(values - center) / scale``.

    Parameters
    ----------
    kind : {"none", "standard", "robust", "minmax"}, default="standard"
        Mean and standard deviation (ddof 0); median and median absolute deviation from it, or if
        that is 0, what it is for a normal variable of the same standard deviation; minimum and
        range. A scale of 0, of a constant series, is 1.

    Attributes
    ----------
    center_, scale_ : float64 ndarray of shape (n_series, ...)

    Examples
    --------
    >>> import numpy as np
    >>> from ctrain.data import read_panel
    >>> panel = read_panel(np.array([[1.0, 3.0, 99.0], [5.0, 5.0, 7.0]]))
    >>> scaler = SeriesScaler("standard").fit(panel, panel.y, stops=[2, 5])
    >>> scaler.center_, scaler.scale_
    (array([2., 5.]), array([1., 1.]))
    >>> scaler.transform_rows(panel, panel.y)
    array([-1.,  1., 97.,  0.,  0.,  2.])
    >>> scaler.inverse(np.array([[0.0, 1.0]]), series=[1])
    array([[5., 6.]])
    """

    def __init__(self, kind: str = "standard") -> None:
        if kind not in KINDS:
            raise ValueError(
                f"a series scaler is one of {', '.join(map(repr, KINDS))}; got {kind!r}"
            )
        self.kind = kind

    def fit(self, panel, values, stops=None) -> SeriesScaler:
        """Take the statistics of each series' available rows before ``stops[i]``.

        Parameters
        ----------
        panel : Panel
        values : ndarray of shape (n_rows,) or (n_rows, n_columns)
            ``panel.y`` or a block of covariates.
        stops : array of int of shape (n_series,), default=None
            Row numbers of the panel; None for all rows.

        Returns
        -------
        SeriesScaler
            This one. A series without an available row has center 0 and scale 1.
        """
        values = np.asarray(values)
        begins = panel.offsets[:-1]
        stops = panel.offsets[1:] if stops is None else np.asarray(stops)
        shape = (panel.n_series, *values.shape[1:])
        self.center_, self.scale_ = np.zeros(shape), np.ones(shape)
        if self.kind == "none":
            return self
        rows = panel.mask
        counts = _reduce(np.add, rows.astype(np.int64), begins, stops)
        some = np.flatnonzero((stops > begins) & (counts > 0))
        if len(some):
            statistics = {"standard": _standard, "robust": _robust, "minmax": _minmax}[self.kind]
            center, scale = statistics(values, rows, begins[some], stops[some], counts[some])
            self.center_[some], self.scale_[some] = center, np.where(scale > 0, scale, 1.0)
        return self

    def transform(self, values, series=None) -> np.ndarray:
        """Scale values of shape (n, ...), the first axis belonging to `series`.

        Parameters
        ----------
        values : ndarray of shape (n, ...)
        series : array of int of shape (n,), default=None
            None for all series in order.

        Returns
        -------
        float64 ndarray of the values' shape
        """
        center, scale = self._broadcast(values, series)
        return (values - center) / scale

    def inverse(self, values, series=None) -> np.ndarray:
        """Undo `transform`: of predictions, and of the ends of their intervals alike."""
        center, scale = self._broadcast(values, series)
        return values * scale + center

    def transform_rows(self, panel, values) -> np.ndarray:
        """Scale all rows of a panel; rows that are not available stay 0.

        Returns
        -------
        ndarray of the values' shape and dtype
        """
        if self.kind == "none":
            return values
        series = np.repeat(np.arange(panel.n_series), panel.lengths)
        scaled = self.transform(values, series).astype(values.dtype)
        if values.ndim == 1:
            scaled[~panel.mask] = 0.0
        return scaled

    def _broadcast(self, values, series) -> tuple[np.ndarray, np.ndarray]:
        series = slice(None) if series is None else np.asarray(series)
        center, scale = self.center_[series], self.scale_[series]
        axes = tuple(range(center.ndim, np.ndim(values)))
        return np.expand_dims(center, axes), np.expand_dims(scale, axes)


def _rows(begins: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Numbers of rows ``begins[i]:ends[i]``, one range after the other."""
    lengths = ends - begins
    first = np.cumsum(lengths) - lengths
    return np.arange(lengths.sum()) + np.repeat(begins - first, lengths)


def _reduce(function: np.ufunc, values: np.ndarray, begins, stops) -> np.ndarray:
    """Reduce ``values[begins[i]:stops[i]]`` for each i; what is empty is undefined."""
    padded = np.concatenate([values, values[-1:]])  # a stop may be the number of rows
    bounds = np.stack([begins, stops], axis=1).reshape(-1)
    return function.reduceat(padded, bounds, axis=0)[::2]


def _like(rows: np.ndarray, values: np.ndarray) -> np.ndarray:
    return rows.reshape(-1, *[1] * (values.ndim - 1))


def _standard(values, rows, begins, stops, counts):
    low, spread = _minmax(values, rows, begins, stops, counts)
    rows, counts = _like(rows, values), _like(counts, values)
    values = values.astype(np.float64)
    mean = _reduce(np.add, np.where(rows, values, 0.0), begins, stops) / counts
    centered = np.zeros_like(values)
    within = _rows(begins, stops)
    centered[within] = values[within] - np.repeat(mean, stops - begins, axis=0)
    variance = _reduce(np.add, np.where(rows, centered * centered, 0.0), begins, stops) / counts
    # a constant is its own mean, and the rounding error of a mean is no spread
    return np.where(spread > 0, mean, low), np.where(spread > 0, np.sqrt(variance), 0.0)


def _robust(values, rows, begins, stops, counts):
    center = np.empty((len(begins), *values.shape[1:]))
    scale = np.empty_like(center)
    for i, (begin, stop) in enumerate(zip(begins, stops, strict=True)):
        part = values[begin:stop][rows[begin:stop]].astype(np.float64)
        center[i] = _median(part)
        scale[i] = _median(np.abs(part - center[i]))
    if not np.all(scale > 0):
        deviation = _standard(values, rows, begins, stops, counts)[1]
        scale = np.where(scale > 0, scale, NORMAL_MAD * deviation)
    return center, scale


def _median(part: np.ndarray) -> np.ndarray:
    # numpy.median is as exact and three times as slow for short series
    low, high = (len(part) - 1) // 2, len(part) // 2
    part = np.partition(part, (low, high), axis=0)
    return (part[low] + part[high]) / 2


def _minmax(values, rows, begins, stops, counts):
    rows = _like(rows, values)
    low = _reduce(np.minimum, np.where(rows, values, np.inf), begins, stops).astype(np.float64)
    high = _reduce(np.maximum, np.where(rows, values, -np.inf), begins, stops)
    return low, high - low
