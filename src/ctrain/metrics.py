"""Metrics of forecasts that scikit-learn lacks: by step, with gaps, scaled, of quantiles.

Every metric is a quotient of two sums over what is available. Percentages are from 0 to 100 (sMAPE
to 200), as the M4 competition has them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .rules import find

__all__ = [
    "METRICS",
    "Metric",
    "coverage",
    "crps",
    "mae",
    "mape",
    "mase",
    "mse",
    "quantile_loss",
    "resolve",
    "rmse",
    "seasonal_scale",
    "smape",
    "wql",
]


def _absolute(y, prediction):
    return np.abs(y - prediction)


def _squared(y, prediction):
    return np.square(y - prediction)


def _percentage(y, prediction):
    return 100.0 * np.abs(y - prediction) / np.maximum(np.abs(y), np.finfo(np.float64).eps)


def _symmetric(y, prediction):
    total = np.abs(y) + np.abs(prediction)  # where both are zero the error is, too
    return 200.0 * np.abs(y - prediction) / np.maximum(total, np.finfo(np.float64).tiny)


def _pinball(y, prediction, levels):
    """Mean over the levels of ``max(q d, (q - 1) d)``, d = y - prediction."""
    distance = y[..., None] - prediction
    return np.maximum(levels * distance, (levels - 1.0) * distance).mean(axis=-1)


def _weighted_quantile(y, prediction, levels):
    return 2.0 * _pinball(y, prediction, levels)


def _ranked(y, samples):
    """Mean of ``|x - y|`` less half the mean of ``|x - x'|``, over the last axis of the samples."""
    x, n = np.sort(samples, axis=-1), samples.shape[-1]
    spread = (x * (2.0 * np.arange(n) + 1.0 - n)).sum(axis=-1) / n**2
    return np.abs(x - y[..., None]).mean(axis=-1) - spread


def _inside(y, prediction, levels):
    low, high = prediction[..., np.argmin(levels)], prediction[..., np.argmax(levels)]
    return ((low <= y) & (y <= high)).astype(np.float64)


@dataclass(frozen=True)
class Metric:
    """A score: errors of each step, summed and divided by what they are measured against.

    Parameters
    ----------
    name : str
    errors : callable
        ``errors(y, prediction)`` of two float64 arrays of shape (n_windows, horizon) answers one
        of that shape. With `quantiles` it takes ``(y, prediction, levels)``, the prediction of
        shape (n_windows, horizon, n_levels).
    scaled : bool, default=False
        Whether errors are divided by the scale of their series, see `seasonal_scale`.
    relative : bool, default=False
        Whether the sum is divided by the sum of ``|y|`` rather than by the number of steps.
    root : bool, default=False
        Whether the square root is taken at the end.
    quantiles : bool, default=False
        Whether it judges quantiles rather than the forecast.

    Examples
    --------
    >>> from ctrain.metrics import METRICS, Metric
    >>> METRICS["mae"]([[1.0, 2.0]], [[1.5, 2.0]], mask=[[True, True]])
    array([[0.5, 0. ]])
    >>> bias = Metric("bias", lambda y, prediction: prediction - y)
    """

    name: str
    errors: Callable[..., np.ndarray]
    scaled: bool = False
    relative: bool = False
    root: bool = False
    quantiles: bool = False

    def __call__(self, y, prediction, mask=None, scale=None, levels=None) -> np.ndarray:
        """Errors element by element; 0 where the mask is false.

        Parameters
        ----------
        y : array of shape (...)
        prediction : array of shape (...), or (..., n_levels) with `quantiles`
        mask : bool array of shape (...), default=None
            Where y is available; None for everywhere.
        scale : float, or array that is broadcast to the shape of `y`, default=None
        levels : array of shape (n_levels,), default=None

        Returns
        -------
        float64 ndarray of shape (...)
        """
        y, prediction = np.asarray(y, np.float64), np.asarray(prediction, np.float64)
        if self.quantiles:
            if levels is None:
                raise ValueError(f"{self.name} judges quantiles; give their levels")
            levels = np.asarray(levels, np.float64)
            wanted = (*y.shape, levels.size)
            with np.errstate(invalid="ignore"):
                each = self.errors(y, _of_shape(self.name, prediction, wanted, y), levels)
        else:
            _of_shape(self.name, prediction, y.shape, y)
            with np.errstate(invalid="ignore"):
                each = self.errors(y, prediction)
        if self.scaled:
            if scale is None:
                raise ValueError(f"{self.name} needs scale=, see seasonal_scale")
            each = each / np.where(_usable(scale), scale, 1.0)
        return np.where(self.counts(y, mask, scale), each, 0.0)

    def counts(self, y, mask=None, scale=None) -> np.ndarray:
        """Which steps count: those available, of series with a usable scale if one is needed."""
        counts = np.ones(np.shape(y), bool) if mask is None else np.asarray(mask) != 0
        if counts.shape != np.shape(y):
            raise ValueError(
                f"{self.name}: mask has shape {counts.shape}, y has shape {np.shape(y)}"
            )
        return counts & _usable(scale) if self.scaled else counts

    def weights(self, y, mask=None, scale=None) -> np.ndarray:
        """What the sum of errors is divided by, element by element."""
        counts = self.counts(y, mask, scale)
        return np.where(counts, np.abs(np.asarray(y, np.float64)) if self.relative else 1.0, 0.0)

    def quotient(self, errors, weights):
        """The score of sums of errors and weights; NaN where nothing was summed."""
        with np.errstate(invalid="ignore", divide="ignore"):
            score = np.divide(errors, weights)
        return np.sqrt(score) if self.root else score

    def score(self, y, prediction, mask=None, axis=None, scale=None, levels=None):
        """The metric over all elements, or over some axes."""
        errors = self(y, prediction, mask, scale, levels).sum(axis=axis)
        return self.quotient(errors, self.weights(y, mask, scale).sum(axis=axis))


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("mae", _absolute),
        Metric("mse", _squared),
        Metric("rmse", _squared, root=True),
        Metric("mape", _percentage),
        Metric("smape", _symmetric),
        Metric("mase", _absolute, scaled=True),
        Metric("quantile_loss", _pinball, quantiles=True),
        Metric("crps", _weighted_quantile, quantiles=True),
        Metric("wql", _weighted_quantile, quantiles=True, relative=True),
        Metric("coverage", _inside, quantiles=True),
    )
}


def resolve(metric) -> Metric:
    """Return the metric that a name, a `Metric` or a function stands for.

    Parameters
    ----------
    metric : str, Metric or callable
        A function ``errors(y, prediction)`` goes by its own name.

    Raises
    ------
    ValueError
        If it is an unknown name.
    TypeError
        If it is none of these.

    Examples
    --------
    >>> from ctrain.metrics import resolve
    >>> resolve("rmse").root
    True
    """
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, str):
        return find("a metric", metric, METRICS)
    if callable(metric) and not isinstance(metric, type):
        return Metric(getattr(metric, "__name__", type(metric).__name__), metric)
    raise TypeError(
        f"a metric must be a name, a ctrain.metrics.Metric or a function; got {metric!r}"
    )


def mae(y, prediction, mask=None, axis=None):
    """Mean absolute error, in units of y.

    Parameters
    ----------
    y, prediction : array of one shape
    mask : bool array of that shape, default=None
        Where y is available; None for everywhere.
    axis : int or tuple of int, default=None
        Axes to average over; None for all.

    Returns
    -------
    float or ndarray
        NaN where nothing is available.

    Raises
    ------
    ValueError
        If shapes differ.

    Examples
    --------
    >>> from ctrain.metrics import mae
    >>> mae([[1.0, 2.0], [3.0, 4.0]], [[1.0, 1.0], [3.0, 1.0]], axis=0)  # by step
    array([0., 2.])
    """
    return METRICS["mae"].score(y, prediction, mask, axis)


def mse(y, prediction, mask=None, axis=None):
    """Mean squared error, in units of y squared. Parameters as for `mae`.

    Examples
    --------
    >>> from ctrain.metrics import mse
    >>> float(mse([1.0, 2.0], [1.0, 4.0]))
    2.0
    """
    return METRICS["mse"].score(y, prediction, mask, axis)


def rmse(y, prediction, mask=None, axis=None):
    """Root of the mean squared error, in units of y. Parameters as for `mae`.

    Examples
    --------
    >>> from ctrain.metrics import rmse
    >>> float(rmse([1.0, 2.0, 3.0], [1.0, 2.0, 99.0], mask=[True, True, False]))
    0.0
    """
    return METRICS["rmse"].score(y, prediction, mask, axis)


def mape(y, prediction, mask=None, axis=None):
    """Mean of ``100 |y - prediction| / |y|``, in percent. Parameters as for `mae`.

    As in scikit-learn ``|y|`` is at least the smallest step of float64, so a zero in y makes the
    score very large; scikit-learn's is a fraction.

    Examples
    --------
    >>> from ctrain.metrics import mape
    >>> float(mape([100.0, 200.0], [110.0, 200.0]))
    5.0
    """
    return METRICS["mape"].score(y, prediction, mask, axis)


def smape(y, prediction, mask=None, axis=None):
    """Mean of ``200 |y - prediction| / (|y| + |prediction|)``, in percent, from 0 to 200.

    M4's definition; where both are zero the error is 0. Parameters as for `mae`.

    References
    ----------
    Makridakis, Spiliotis and Assimakopoulos, The M4 competition: 100,000 time series and 61
    forecasting methods, International Journal of Forecasting 36, 2020.

    Examples
    --------
    >>> from ctrain.metrics import smape
    >>> float(smape([100.0, 0.0], [300.0, 0.0]))
    50.0
    """
    return METRICS["smape"].score(y, prediction, mask, axis)


def mase(y, prediction, scale, mask=None, axis=None):
    """Mean absolute error in units of the seasonal naive forecast's error in the training part.

    Parameters
    ----------
    y, prediction : array of shape (horizon,) or (n_series, horizon)
    scale : float, or array of shape (n_series,)
        See `seasonal_scale`; a series whose scale is 0 or NaN does not count.
    mask, axis : as for `mae`

    References
    ----------
    Hyndman and Koehler, Another look at measures of forecast accuracy, International Journal of
    Forecasting 22, 2006.

    Examples
    --------
    >>> from ctrain.metrics import mase, seasonal_scale
    >>> scale = seasonal_scale([1.0, 2.0, 4.0], season=1)
    >>> float(mase([[5.0, 6.0]], [[4.0, 4.0]], scale))
    1.0
    """
    return METRICS["mase"].score(y, prediction, mask, axis, scale=_as_column(scale, y))


def quantile_loss(y, prediction, levels, mask=None, axis=None):
    """Mean over steps and levels q of ``max(q d, (q - 1) d)``, d = y - prediction.

    Parameters
    ----------
    y : array of shape (...)
    prediction : array of shape (..., n_levels)
    levels : sequence of float
        In (0, 1), one for each column.
    mask, axis : as for `mae`

    Examples
    --------
    >>> from ctrain.metrics import quantile_loss
    >>> float(quantile_loss([1.0], [[0.0, 2.0]], levels=(0.25, 0.75)))
    0.25
    """
    return METRICS["quantile_loss"].score(y, prediction, mask, axis, levels=levels)


def wql(y, prediction, levels, mask=None, axis=None):
    """Weighted quantile loss: the mean over levels of ``2 sum(pinball) / sum(|y|)``.

    Parameters as for `quantile_loss`. With the levels 0.1, 0.2, ..., 0.9 it estimates the
    continuous ranked probability score, relative to the size of y.

    Examples
    --------
    >>> from ctrain.metrics import wql
    >>> float(wql([4.0, 6.0], [[4.0], [5.0]], levels=(0.5,)))
    0.1
    """
    return METRICS["wql"].score(y, prediction, mask, axis, levels=levels)


def crps(y, prediction, levels=None, mask=None, axis=None):
    """Continuous ranked probability score, in units of y: of quantiles, or of draws.

    Parameters
    ----------
    y : array of shape (...)
    prediction : array of shape (..., n)
        Quantiles at `levels`, or draws without them.
    levels : sequence of float of length n, default=None
        Of quantiles: the score is then the mean of twice the pinball loss, near the integral where
        the levels are many and evenly spread.
    mask, axis : as for `mae`

    References
    ----------
    Gneiting and Raftery, Strictly proper scoring rules, prediction, and estimation, JASA 102, 2007.

    Examples
    --------
    >>> from ctrain.metrics import crps
    >>> float(crps([1.0], [[0.0, 2.0]]))  # draws: 1, and half of 1 less
    0.5
    >>> float(crps([1.0], [[0.0]], levels=(0.5,)))
    1.0
    """
    if levels is not None:
        return METRICS["crps"].score(y, prediction, mask, axis, levels=levels)
    y, prediction = np.asarray(y, np.float64), np.asarray(prediction, np.float64)
    wanted = (*y.shape, prediction.shape[-1] if prediction.ndim else 1)
    each = _ranked(y, _of_shape("crps", prediction, wanted, y))
    return METRICS["mae"].score(each, np.zeros(y.shape), mask, axis)


def coverage(y, low, high, mask=None, axis=None):
    """Share of y that lies in the interval from `low` to `high`, ends included.

    Parameters
    ----------
    y, low, high : array of one shape
    mask, axis : as for `mae`

    Examples
    --------
    >>> from ctrain.metrics import coverage
    >>> float(coverage([1.0, 2.0, 3.0, 4.0], [0.0] * 4, [3.0] * 4))
    0.75
    """
    shape = np.shape(y)
    bounds = [_of_shape("coverage", np.asarray(bound), shape, y) for bound in (low, high)]
    ends = np.stack(bounds, axis=-1)
    return METRICS["coverage"].score(y, ends, mask, axis, levels=(0.0, 1.0))


def seasonal_scale(
    y, offsets=None, season: int = 1, mask=None, stops=None, *, squared: bool = False
) -> np.ndarray:
    """Mean of ``|y[t] - y[t - season]|`` of each series: what MASE divides by.

    Parameters
    ----------
    y : array of shape (n_rows,)
        All series, one after the other.
    offsets : array of int of shape (n_series + 1,), default=None
        Series i is ``y[offsets[i]:offsets[i + 1]]``; None for one series.
    season : int, default=1
        Steps, 24 for hours with a daily season.
    mask : bool array of shape (n_rows,), default=None
        Where y is available.
    stops : array of int of shape (n_series,), default=None
        Rows before which the training part of each series ends; None for all of it.
    squared : bool, default=False
        Whether the root of the mean square is taken instead: what RMSSE divides by.

    Returns
    -------
    float64 ndarray of shape (n_series,)
        NaN for a series without a pair of available steps.

    Examples
    --------
    >>> from ctrain.metrics import seasonal_scale
    >>> seasonal_scale([1.0, 5.0, 2.0, 7.0, 0.0, 4.0, 0.0], offsets=[0, 4, 7], season=2)
    array([1.5, 0. ])
    """
    y = np.asarray(y, np.float64)
    if isinstance(season, bool) or not isinstance(season, int | np.integer) or season < 1:
        raise ValueError(f"season must be an integer of at least 1; got {season!r}")
    offsets = np.array([0, len(y)]) if offsets is None else np.asarray(offsets)
    stops = offsets[1:] if stops is None else np.asarray(stops)
    n_series, rows = len(offsets) - 1, np.arange(len(y))[season:]
    series = np.repeat(np.arange(n_series), np.diff(offsets))[season:]
    counts = (rows - season >= offsets[series]) & (rows < stops[series])
    if mask is not None:
        available = np.asarray(mask) != 0
        counts &= available[season:] & available[:-season]
    metric = METRICS["rmse" if squared else "mae"]
    distance = metric.errors(y[season:], y[:-season])[counts]
    sums = np.bincount(series[counts], weights=distance, minlength=n_series)
    return metric.quotient(sums, np.bincount(series[counts], minlength=n_series))


def _usable(scale):
    scale = np.asarray(np.nan if scale is None else scale, np.float64)
    return (scale > 0) & np.isfinite(scale)


def _as_column(scale, y):
    """One scale for each series, beside the steps of y."""
    scale = np.asarray(scale, np.float64)
    if scale.ndim and scale.shape not in ((1,), np.shape(y)[:1]):
        raise ValueError(
            f"mase: scale must be one number or have shape (n_series,), y has shape {np.shape(y)}; "
            f"got {scale.shape}"
        )
    return scale.reshape(-1, *[1] * (np.ndim(y) - 1)) if scale.ndim and np.ndim(y) > 1 else scale


def _of_shape(name: str, array: np.ndarray, wanted: tuple[int, ...], y):
    if array.shape != wanted:
        raise ValueError(
            f"{name}: y has shape {np.shape(y)}, so the prediction must have {wanted}; "
            f"got {array.shape}"
        )
    return array
