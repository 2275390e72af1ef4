"""Baselines that every table of forecasts needs: the seasonal naive one and a linear one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.linalg
from sklearn.base import BaseEstimator, clone
from sklearn.utils.validation import check_is_fitted

from .data import Panel, Schema, cross_validation_rows, read_like, read_panel, refits
from .metrics import seasonal_scale
from .validation import check_bool, check_choice, check_float, check_int
from .window_scores import WindowScores

__all__ = ["LinearForecaster", "SeasonalNaive"]

BLOCK = 2048  # windows that are in memory at a time


class Baseline(BaseEstimator):
    """A forecaster without a network; subclasses fill in what it looks at, learns and answers."""

    _context = ""  #: parameter that says how many steps before a forecast are needed

    def fit(self, df):
        """Learn from series.

        Parameters
        ----------
        df : frame, path or arrays
            As :func:`ctrain.data.read_panel` takes it.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            A parameter out of its range, bad data, or a series that is too short.
        """
        return self._fit(self._read(df))

    def predict(self, df=None):
        """Forecast the steps after the end of each series.

        Parameters
        ----------
        df : frame, path or arrays, default=None
            Series to go on from; None for those of the fit.

        Returns
        -------
        frame like the one given
            With a column of the class's name; for plain arrays an array of shape (horizon,) or
            (n_series, horizon).
        """
        check_is_fitted(self, "_panel")
        if df is None:
            panel, known = self._panel, self._panel.y
        else:
            panel = read_like(df, self._panel)
            panel.check_length(getattr(self, self._context), self._context)
            known = self._known(panel)
        forecast = self._answer(panel, known, panel.offsets[1:])
        return panel.forecast_frame({type(self).__name__: forecast})

    def cross_validation(self, df, n_windows: int = 1, step_size: int = 1, *, refit=False):
        """Forecast the last windows of each series from what lies before them.

        Parameters
        ----------
        df : frame, path or arrays
        n_windows : int, default=1
        step_size : int, default=1
            Steps from one window to the next.
        refit : bool or int, default=False
            False: fitted before the first window alone; True: before each; k: before every k-th.
            A fit of this object itself is left alone.

        Returns
        -------
        frame like the one given
            With ``cutoff``, a column of the class's name, and the target.
        """
        panel = self._read(df)
        rows = self._rows(panel, n_windows, step_size)
        known, forecasts, model = self._known(panel), [], self
        for window, again in zip(rows, refits(len(rows), refit), strict=True):
            if again:
                model = clone(self)._fit(panel.until(window))
            forecasts.append(model._answer(panel, known, window))
        columns = {type(self).__name__: np.stack(forecasts, axis=1).reshape(-1, self.horizon)}
        return panel.window_frame(rows.T.reshape(-1), columns)

    def backtest(
        self, df, test_size: int, step_size: int = 1, metrics=("mae", "mse"), *, season: int = 1
    ) -> WindowScores:
        """Score the fitted forecaster on all windows of the last steps of each series.

        Parameters
        ----------
        df : frame, path or arrays
            The series with what lies before the test part.
        test_size : int
            Last steps of each series, which the windows forecast.
        step_size : int, default=1
            Steps from one window to the next.
        metrics : str, Metric, callable, or a sequence of them, default=("mae", "mse")
            See :mod:`ctrain.metrics`.
        season : int, default=1
            For ``"mase"``, whose scale is that of the steps before the test part.

        Returns
        -------
        WindowScores
        """
        check_is_fitted(self, "_panel")
        panel = read_like(df, self._panel)
        rows = self._rows(panel, None, step_size, test_size).T.reshape(-1)
        stops = panel.offsets[1:] - test_size
        scale = seasonal_scale(panel.y, panel.offsets, season, panel.mask, stops)
        scores = WindowScores(metrics, panel.n_series, self.horizon, scale=scale)
        known = self._known(panel)
        for first in range(0, len(rows), BLOCK):
            part = rows[first : first + BLOCK]
            steps = part[:, None] + np.arange(self.horizon)
            answer = self._answer(panel, known, part)
            scores.add(panel.series_of(part), panel.y[steps], answer, panel.mask[steps])
        return scores

    def _read(self, df) -> Panel:
        self._validate()
        schema = Schema(
            self.id_col, self.time_col, self.target_col,
            fill_gaps=self.fill_gaps, missing=self.missing,
        )  # fmt: skip
        return read_panel(df, schema, freq=self.freq)

    def _rows(self, panel: Panel, n_windows, step_size, test_size=None) -> np.ndarray:
        """First rows of the windows, shape (n_windows, n_series), each with enough before it."""
        rows = cross_validation_rows(panel, self.horizon, n_windows, step_size, test_size)
        behind = int(panel.offsets[-1] - rows[0, -1])
        needed = f"{self._context} before the {behind} steps that windows forecast"
        panel.check_length(getattr(self, self._context) + behind, needed)
        return rows

    def _fit(self, panel: Panel):
        panel.check_length(getattr(self, self._context), self._context)
        self._learn(panel)
        known = self._known(panel)
        self._answer(panel, known, panel.offsets[1:])
        panel = replace(panel, y=known.astype(panel.y.dtype), mask=np.ones(panel.n_rows, bool))
        self._panel = panel.tail(getattr(self, self._context))
        return self

    def _answer(self, panel: Panel, known: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Forecasts from these rows on, shape (n_windows, horizon), in the precision of y."""
        forecast = self._forecast(known, rows)
        bad = np.isnan(forecast).any(axis=1)
        if bad.any():
            last = int(rows[np.argmax(bad)]) - 1
            raise ValueError(
                f"{panel.place(last)}: too little is available up to there to forecast from; leave "
                "the series out, or begin with a later window"
            )
        return forecast.astype(panel.y.dtype)

    def _validate(self) -> None:
        check_int(self, "horizon", 1)
        check_int(self, self._context, 1)

    def _learn(self, panel: Panel) -> None:
        """Take parameters from the series."""

    def _known(self, panel: Panel) -> np.ndarray:
        """Values of all rows, float64, gaps filled from before; NaN where there is nothing."""
        raise NotImplementedError

    def _forecast(self, known: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Forecasts of shape (n_windows, horizon) from the known values before each row."""
        raise NotImplementedError


class SeasonalNaive(Baseline):
    """Forecast each step by the last value one or more whole seasons before it.

    Parameters
    ----------
    horizon : int
        Steps to forecast.
    season : int, default=1
        Steps, such as 24 for hours with a daily season; 1 repeats the last value. Where a value is
        not available the one a season before it stands for it.
    freq : str or int, default=None
        See :class:`ctrain.data.Calendar`; None to infer it.
    id_col, time_col, target_col : str, default="unique_id", "ds", "y"
        Columns of a frame; ``id_col=None`` for a single series.
    fill_gaps, missing : {"mask", "forward", "zero"}, default=None
        What becomes of missing rows and of NaN, see :func:`ctrain.data.read_panel`.

    Examples
    --------
    >>> from ctrain.baselines import SeasonalNaive
    >>> from ctrain.data import load_air_passengers
    >>> naive = SeasonalNaive(horizon=3, season=12).fit(load_air_passengers())
    >>> naive.predict()["SeasonalNaive"]
    array([417., 391., 419.])
    >>> naive.backtest(load_air_passengers(), test_size=36)
    WindowScores(mae=36.5686, mse=1828.84, n_windows=34)
    """

    _context = "season"

    def __init__(
        self, *, horizon, season=1, freq=None, id_col="unique_id", time_col="ds", target_col="y",
        fill_gaps=None, missing=None,
    ):  # fmt: skip
        self.horizon = horizon
        self.season = season
        self.freq = freq
        self.id_col = id_col
        self.time_col = time_col
        self.target_col = target_col
        self.fill_gaps = fill_gaps
        self.missing = missing

    def _known(self, panel: Panel) -> np.ndarray:
        return _filled(panel, self.season)

    def _forecast(self, known: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return known[rows[:, None] - self.season + np.arange(self.horizon) % self.season]


class LinearForecaster(Baseline):
    """Forecast by one linear map of the last steps, the same for all series, in closed form.

    The least-squares solution of NLinear: with the last value l of a window x,
    ``forecast = l + W (x - l) + b``, over all windows of all series. Its error is what a linear
    model trained step by step can at best come to, so it tells whether training works.

    Parameters
    ----------
    horizon : int
        Steps to forecast.
    input_size : int
        Steps to forecast from.
    alpha : float, default=0.0
        Ridge penalty: alpha times the sum of squared weights, as scikit-learn's ``Ridge`` over the
        windows. With 0 the shortest of equally good weights are taken.
    scaler : {"none", "standard"}, default="none"
        Whether windows are divided by their own standard deviation, for series of different size.
    fit_intercept : bool, default=True
    freq, id_col, time_col, target_col, fill_gaps, missing
        As those of `SeasonalNaive`. Windows with a value that is not available are not learned
        from; in a forecast the last one before stands for it.

    Attributes
    ----------
    coef_ : float64 ndarray of shape (horizon, input_size)
        Weights of the values themselves; each step's add up to 1.
    intercept_ : float64 ndarray of shape (horizon,)
    n_windows_ : int
        Windows that were learned from.

    References
    ----------
    Zeng, Chen, Zhang and Xu, Are transformers effective for time series forecasting?, AAAI 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from ctrain.baselines import LinearForecaster
    >>> wave = np.sin(np.arange(200) * 0.3)
    >>> linear = LinearForecaster(horizon=5, input_size=4).fit(wave[:-5])
    >>> bool(np.abs(linear.predict() - wave[-5:]).max() < 1e-6)
    True
    """

    _context = "input_size"

    def __init__(
        self, *, horizon, input_size, alpha=0.0, scaler="none", fit_intercept=True, freq=None,
        id_col="unique_id", time_col="ds", target_col="y", fill_gaps=None, missing=None,
    ):  # fmt: skip
        self.horizon = horizon
        self.input_size = input_size
        self.alpha = alpha
        self.scaler = scaler
        self.fit_intercept = fit_intercept
        self.freq = freq
        self.id_col = id_col
        self.time_col = time_col
        self.target_col = target_col
        self.fill_gaps = fill_gaps
        self.missing = missing

    def _validate(self) -> None:
        super()._validate()
        check_float(self, "alpha", 0.0)
        check_choice(self, "scaler", ("none", "standard"))
        check_bool(self, "fit_intercept")

    def _learn(self, panel: Panel) -> None:
        n_in, width = self.input_size, self.input_size + self.horizon
        starts = _whole_windows(panel, width)
        if not len(starts):
            raise ValueError(
                f"no series has {width} available steps in a row, which input_size={n_in} and "
                f"horizon={self.horizon} need; the longest has {panel.lengths.max()} rows"
            )
        # x and y of all windows: their sums, and the sums of x x' and x y', block by block
        total, product = np.zeros(width), np.zeros((n_in, width))
        for first in range(0, len(starts), BLOCK):
            rows = starts[first : first + BLOCK, None] + np.arange(width)
            windows = panel.y[rows].astype(np.float64)
            last, scale = self._units(windows[:, :n_in])
            windows = (windows - last) / scale
            total += windows.sum(axis=0)
            product += windows[:, :n_in].T @ windows
        mean = total / len(starts)
        if self.fit_intercept:
            product -= len(starts) * np.outer(mean[:n_in], mean)
        product[:, :n_in] += self.alpha * np.eye(n_in)
        values, vectors = scipy.linalg.eigh(product[:, :n_in])
        kept = values > values[-1] * n_in * np.finfo(np.float64).eps
        vectors = vectors[:, kept]
        weights = (vectors @ ((vectors.T @ product[:, n_in:]) / values[kept, None])).T
        self.intercept_ = mean[n_in:] - weights @ mean[:n_in]
        if not self.fit_intercept:
            self.intercept_ = np.zeros(self.horizon)
        weights[:, -1] = 0.0  # of l - l
        weights[:, -1] = 1.0 - weights.sum(axis=1)
        self.coef_, self.n_windows_ = weights, len(starts)

    def _known(self, panel: Panel) -> np.ndarray:
        return _filled(panel, 1)

    def _forecast(self, known: np.ndarray, rows: np.ndarray) -> np.ndarray:
        past = known[rows[:, None] + np.arange(-self.input_size, 0)].astype(np.float64)
        last, scale = self._units(past)
        return last + (past - last) @ self.coef_.T + scale * self.intercept_

    def _units(self, past: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Last value and scale of each window, shape (n_windows, 1)."""
        last = past[:, -1:]
        if self.scaler == "none":
            return last, np.ones_like(last)
        scale = past.std(axis=1, keepdims=True)
        return last, np.where(scale > 0, scale, 1.0)


def _filled(panel: Panel, season: int) -> np.ndarray:
    """Values with gaps filled by the last one a whole number of seasons before; else NaN."""
    known = panel.y.astype(np.float64)
    if panel.mask.all():
        return known
    known[~panel.mask] = np.nan
    series = np.repeat(np.arange(panel.n_series), panel.lengths)
    row = np.arange(panel.n_rows)
    chain = series * season + (row - panel.offsets[series]) % season
    order = np.argsort(chain, kind="stable")
    begins = np.diff(chain[order], prepend=-1) != 0
    # the last position up to here that has a value, or else where the chain begins
    source = np.maximum.accumulate(np.where(begins | panel.mask[order], row, 0))
    known[order] = known[order][source]
    return known


def _whole_windows(panel: Panel, width: int) -> np.ndarray:
    """First rows of all windows of `width` rows of one series that are available throughout."""
    start = np.arange(max(0, panel.n_rows - width + 1))
    missing = np.concatenate([[0], np.cumsum(~panel.mask)])
    stop = np.repeat(panel.offsets[1:], panel.lengths)[start]
    return start[(start + width <= stop) & (missing[start + width] == missing[start])]
