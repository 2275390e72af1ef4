"""Scores: metrics of windows that come part by part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from .metrics import resolve


class WindowScores(Mapping):
    """Metrics of many windows, added up part by part: of all, by step, by series.

    Their bits depend on the order of windows, not on how they were cut into parts.

    Parameters
    ----------
    metrics : str, Metric, callable, or a sequence of them
    n_series, horizon : int
    scale : array of shape (n_series,), default=None
        For ``"mase"``, see `seasonal_scale`.
    levels : sequence of float, default=None
        Of the quantiles, for ``"wql"``, ``"crps"``, ``"quantile_loss"`` and ``"coverage"`` (the
        share of values between the lowest and the highest quantile).

    Attributes
    ----------
    n_windows : int

    Raises
    ------
    ValueError
        An unknown metric, or one that lacks what it needs.

    Examples
    --------
    >>> import numpy as np
    >>> from ctrain.window_scores import WindowScores
    >>> scores = WindowScores(("mae", "mse"), n_series=2, horizon=2)
    >>> scores.add([0, 1], y=np.zeros((2, 2)), prediction=np.array([[1.0, 2.0], [3.0, 0.0]]))
    >>> scores
    WindowScores(mae=1.5, mse=3.5, n_windows=2)
    >>> scores["mae"], scores.by_step("mae"), scores.by_series("mae")
    (1.5, array([2., 1.]), array([1.5, 1.5]))
    """

    def __init__(self, metrics, n_series: int, horizon: int, *, scale=None, levels=None) -> None:
        several = isinstance(metrics, Iterable) and not isinstance(metrics, str)
        chosen = [resolve(metric) for metric in (metrics if several else (metrics,))]
        if not chosen:
            raise ValueError("metrics must name at least one metric; got none")
        self._metrics = {metric.name: metric for metric in chosen}
        if len(self._metrics) < len(chosen):
            raise ValueError(f"metrics must differ; got {[metric.name for metric in chosen]}")
        for metric in chosen:
            if metric.quantiles and levels is None:
                raise ValueError(f"{metric.name} judges quantiles; this forecast has none")
            if metric.scaled and scale is None:
                raise ValueError(f"{metric.name} needs scale=, see seasonal_scale")
        self._scale = None if scale is None else np.asarray(scale, np.float64)
        self._levels = None if levels is None else np.asarray(levels, np.float64)
        self._sums = {name: np.zeros((2, n_series, horizon)) for name in self._metrics}
        self.n_windows = 0

    def add(self, series, y, prediction, mask=None, quantiles=None) -> None:
        """Add windows.

        Parameters
        ----------
        series : array of int of shape (n_windows,)
            Series that each window belongs to.
        y, prediction : array of shape (n_windows, horizon)
        mask : bool array of shape (n_windows, horizon), default=None
        quantiles : array of shape (n_windows, horizon, n_levels), default=None
        """
        series, y = np.asarray(series), np.asarray(y, np.float64)
        if not len(series):
            return
        horizon = next(iter(self._sums.values())).shape[2]
        if y.shape != (len(series), horizon):
            raise ValueError(
                f"y must have shape (n_windows, horizon), ({len(series)}, {horizon}); got {y.shape}"
            )
        low, high = series.min(), series.max() + 1
        scale = None if self._scale is None else self._scale[series, None]
        # a sum goes on from what there is, window by window: the order never depends on the part
        cells = np.arange((high - low) * horizon)
        steps = ((series - low)[:, None] * horizon + np.arange(horizon)).reshape(-1)
        at = np.concatenate([cells, steps])
        for name, metric in self._metrics.items():
            forecast = quantiles if metric.quantiles else prediction
            if forecast is None:
                raise ValueError(f"{name} judges quantiles; give quantiles=")
            both = metric(y, forecast, mask, scale, self._levels), metric.weights(y, mask, scale)
            for total, each in zip(self._sums[name], both, strict=True):
                weights = np.concatenate([total[low:high].reshape(-1), each.reshape(-1)])
                total[low:high] = np.bincount(at, weights).reshape(high - low, horizon)
        self.n_windows += len(series)

    def by_step(self, name: str) -> np.ndarray:
        """The metric at each step of the horizon, shape (horizon,)."""
        return self._metrics[name].quotient(*self._sums[name].sum(axis=1))

    def by_series(self, name: str) -> np.ndarray:
        """The metric of each series, shape (n_series,); NaN if it has no window."""
        return self._metrics[name].quotient(*self._sums[name].sum(axis=2))

    def __getitem__(self, name: str) -> float:
        return float(self._metrics[name].quotient(*self._sums[name].sum(axis=(1, 2))))

    def __iter__(self) -> Iterator[str]:
        return iter(self._metrics)

    def __len__(self) -> int:
        return len(self._metrics)

    def __repr__(self) -> str:
        values = "".join(f"{name}={value:.6g}, " for name, value in self.items())
        return f"WindowScores({values}n_windows={self.n_windows})"
