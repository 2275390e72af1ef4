"""What a fitted forecaster answers: forecasts of windows, as frames and as scores."""

from __future__ import annotations

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from . import losses, scalers
from ._core.parallel import effective_n_threads
from ._core.source import Arrays, Windows
from .data import (
    Panel,
    SeriesScaler,
    cross_validation_rows,
    read_future,
    read_like,
    read_panel,
    refits,
)
from .estimator import Estimator
from .intervals import Conformal, check_levels, levels_of, uncrossed
from .metrics import seasonal_scale
from .network import NotFiniteError
from .units import Units
from .validation import check_count
from .window_scores import WindowScores
from .windowed import WindowNetwork

#: windows that are forecast in one go where all are scored
CHUNK = 1 << 13


class Forecasting(Estimator):
    """Windows of series in, forecasts out; a subclass fits.

    It has the parameters of :class:`ctrain.Forecaster`, and learns ``_tail`` (the last rows of each
    series), ``_units``, ``_spread`` (a scale of each series) and ``_conformal``.
    """

    # ------------------------------------------------------------------- forecasts

    def predict(self, df=None, *, future=None, static=None, level=None, steps=None):
        """Forecast the steps after the end of each series.

        Parameters
        ----------
        df : frame, path or array, default=None
            Series to forecast, new ones too; None for those of the fit.
        future : frame, default=None
            `futr_exog` of each series and time stamp to forecast.
        static : frame, default=None
            `stat_exog` of new series.
        level : float or sequence of float, default=None
            Percent of intervals, such as ``(80, 90)``: from the trained quantiles where they hold
            them, else conformal ones; None for all of the trained quantiles.
        steps : int, default=None
            Steps to forecast; None for `horizon`. Beyond it, forecasts are fed back as the past.

        Returns
        -------
        frame
            Like the one given, with the columns ``<model>``, ``<model>-lo-80``,
            ``<model>-hi-80``, ... For arrays an array of shape (steps,) or (series, steps), or a
            dict of them.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If :meth:`fit` has not been called.
        ValueError
            If covariates are missing, or the level is in neither way available.
        """
        check_is_fitted(self)
        panel = self._tail if df is None else read_like(df, self._tail, static=static)
        steps = self.horizon if steps is None else check_count("steps", steps, 1)
        raw = self._ahead(panel, steps, future)
        return panel.forecast_frame(self._columns(raw, level, self._spread_of(panel)))

    def predict_insample(self, df, *, static=None, step_size=None, level=None):
        """Forecast windows all over the given series, each from its own past.

        Parameters
        ----------
        df : frame, path or array
        static : frame, default=None
        step_size : int, default=None
            Steps from one window to the next; None for `horizon`, so that each step is forecast
            once.
        level : float or sequence of float, default=None

        Returns
        -------
        frame
            With the column ``cutoff``, the last stamp that a forecast knew, and what came.
        """
        check_is_fitted(self)
        panel = read_like(df, self._tail, static=static)
        step = self.horizon if step_size is None else check_count("step_size", step_size, 1)
        panel.check_length(self.horizon + 1, "one window")
        rows = np.concatenate([
            np.arange(end - self.horizon, begin, -step)[::-1]
            for begin, end in zip(panel.offsets, panel.offsets[1:], strict=False)
        ])  # fmt: skip
        return self._window_frame(panel, rows, self._at(panel, rows), level)

    def cross_validation(
        self, df, *, static=None, n_windows=1, step_size=1, test_size=None, refit=False,
        val_size=0, level=None,
    ):  # fmt: skip
        """Forecast the last windows of each series from models that have not seen them.

        Parameters
        ----------
        df : frame, path or array
        static : frame, default=None
        n_windows : int or None, default=1
        step_size : int, default=1
            Steps from one window to the next.
        test_size : int, default=None
            Rows at the end of each series that the windows cover, instead of `n_windows`.
        refit : bool or int, default=False
            Fit before the first window alone, before each one, or before each so many.
        val_size : int, default=0
            As of :meth:`fit`.
        level : float or sequence of float, default=None

        Returns
        -------
        frame
            With the column ``cutoff`` and what came. The estimator itself is left as it is.
        """
        self._check_parameters()
        panel = read_panel(df, self._schema(), freq=self.freq, static=static)
        rows = cross_validation_rows(panel, self.horizon, n_windows, step_size, test_size)
        pieces = []
        for row, again in zip(rows, refits(len(rows), refit), strict=True):
            if again:
                model = clone(self)
                model._fit_panel(panel.until(row), val_size)
            pieces.append(model._at(panel, row))
        order = np.argsort(rows.reshape(-1), kind="stable")
        rows, raw = rows.reshape(-1)[order], np.concatenate(pieces)[order]
        return model._window_frame(panel, rows, raw, level)

    def backtest(
        self, df, test_size, *, static=None, step_size=1, metrics=("mae", "mse"), season=1
    ):
        """Score the fitted model on every window of the last rows, without a frame.

        Parameters
        ----------
        df : frame, path or array
        test_size : int
            Rows at the end of each series whose windows are scored; inputs reach back before them.
        static : frame, default=None
        step_size : int, default=1
        metrics : sequence of str or Metric, default=("mae", "mse")
            Of :mod:`ctrain.metrics`.
        season : int, default=1
            Of MASE: steps of a season; the scale is from the rows before the test.

        Returns
        -------
        WindowScores
            A mapping of metric to number, with ``by_step`` and ``by_series``.
        """
        check_is_fitted(self)
        panel = read_like(df, self._tail, static=static)
        rows = cross_validation_rows(panel, self.horizon, None, step_size, test_size)
        rows = rows.T.reshape(-1)
        levels = self._quantile_levels()
        scale = seasonal_scale(
            panel.y, panel.offsets, season, panel.mask, panel.offsets[1:] - test_size
        )
        scores = WindowScores(metrics, panel.n_series, self.horizon, scale=scale, levels=levels)
        for begin in range(0, len(rows), CHUNK):
            part = rows[begin : begin + CHUNK]
            raw = self._at(panel, part)
            each = part[:, None] + np.arange(self.horizon)
            scores.add(
                panel.series_of(part), panel.y[each], self._point(raw), panel.mask[each],
                quantiles=raw if levels is not None else None,
            )  # fmt: skip
        return scores

    # ------------------------------------------------------------------- windows

    def _windows(self, panel: Panel, start, count, step_size: int = 1, weight=None) -> Windows:
        whole = panel.mask.all()
        return Windows(
            panel.y, self.input_size, self.horizon, offsets=panel.offsets, start=start, count=count,
            step_size=step_size, available=None if whole else panel.mask, past=panel.past,
            future=panel.future, static=panel.static, weight=weight,
        )  # fmt: skip

    def _training_windows(self, panel: Panel, stops: np.ndarray) -> Windows:
        """Windows whose horizon ends before ``stops[i]``."""
        first = 1 - self.input_size if self.start_padding else 0
        room = stops - panel.offsets[:-1] - self.input_size - self.horizon - first
        count = np.maximum(0, room // self.step_size + 1)
        if self.window_weight is None:
            return self._windows(panel, first, count, self.step_size)
        plan = self._windows(panel, first, count, self.step_size)
        series, start = plan.locate(np.arange(plan.n_rows))
        rows = panel.offsets[series] + start + self.input_size
        weight = np.asarray(self.window_weight(panel.stamps(rows), panel.y[rows]), self.dtype)
        if weight.shape != rows.shape or not np.isfinite(weight).all() or (weight < 0).any():
            raise ValueError(
                f"window_weight must return {len(rows)} finite weights that are not negative, one "
                f"for each window; got shape {weight.shape}"
            )
        return self._windows(panel, first, count, self.step_size, weight)

    def _at(self, panel: Panel, rows: np.ndarray) -> np.ndarray:
        """Forecasts of windows whose first step is a row of the panel, (n, horizon[, width])."""
        scaled = self._units.apply(panel)
        index = rows[:, None] + np.arange(-self.input_size, self.horizon)
        series = panel.series_of(rows)
        begins, ends = (bound[series][:, None] for bound in (panel.offsets, panel.offsets[1:]))
        seen = (index >= begins) & (index < rows[:, None])
        inside = (index >= begins) & (index < ends)
        index = np.where(inside, index, 0)
        past = slice(0, self.input_size)
        known = np.where(inside[..., None], scaled.future[index], 0.0)
        return self._run(
            np.where(seen & panel.mask[index], scaled.y[index], 0.0)[:, past],
            (seen & panel.mask[index])[:, past],
            np.where(seen[..., None], scaled.past[index], 0.0)[:, past],
            known, scaled.static[series], *(v[series] for v in self._units.of(panel)),
        )  # fmt: skip

    def _ahead(self, panel: Panel, steps: int, future) -> np.ndarray:
        """Forecasts after the end of each series, (n_series, steps[, width])."""
        scaled = self._units.apply(panel)
        n_in, n_out = self.input_size, self.horizon
        blocks = -(-steps // n_out)
        names = panel.schema.futr_exog
        if bool(names) != (future is not None):
            raise ValueError(
                f"predict: futr_exog={names} must be known for the steps to forecast; pass "
                "future=, such as future_frame() with these columns"
                if names else "predict: this model has no futr_exog, so future must be None"
            )  # fmt: skip
        if blocks > 1 and panel.schema.hist_exog:
            raise ValueError(
                f"predict: steps={steps} beyond horizon={n_out} need hist_exog="
                f"{panel.schema.hist_exog} that nobody knows"
            )
        index = panel.offsets[1:, None] + np.arange(-n_in, 0)
        seen = index >= panel.offsets[:-1, None]
        index = np.where(seen, index, 0)
        y = np.where(seen & panel.mask[index], scaled.y[index], 0.0)
        mask = seen & panel.mask[index]
        past = np.where(seen[..., None], scaled.past[index], 0.0)
        known = np.where(seen[..., None], scaled.future[index], 0.0)
        if names:
            ahead = self._units.covariates("future", read_future(future, panel, steps))
            rest = np.zeros((len(y), blocks * n_out - steps, len(names)), ahead.dtype)
            known = np.concatenate([known, ahead, rest], axis=1)
        else:
            known = np.zeros((len(y), n_in + blocks * n_out, 0), y.dtype)
        center, scale = self._units.of(panel)
        answers = []
        for k in range(blocks):
            window = known[:, k * n_out : k * n_out + n_in + n_out]
            answers.append(self._run(y, mask, past, window, scaled.static, center, scale))
            if k + 1 < blocks:
                fed = self._units.forward(self._point(answers[-1]), center, scale)
                y = np.concatenate([y, fed], axis=1)[:, -n_in:]
                mask = np.concatenate([mask, np.ones_like(fed, bool)], axis=1)[:, -n_in:]
        return np.concatenate(answers, axis=1)[:, :steps]

    def _run(self, y, mask, past, future, static, center, scale) -> np.ndarray:
        """The network on windows in its units; forecasts in those of the series."""
        floats = np.float64 if y.dtype == np.float64 else np.float32
        fields = {"past_y": y.astype(floats, copy=False), "past_mask": mask.astype(floats)}
        for name, block in (("past", past), ("future", future), ("static", static)):
            if block.shape[-1]:
                fields[name] = np.ascontiguousarray(block, floats)
        threads = effective_n_threads(self.n_jobs)
        try:
            raw = self._network.predict(Arrays(**fields), threads)
        except NotFiniteError as error:
            raise ValueError(
                f"predict: the past of window {error.row} holds a value that is not finite in "
                f"{self._network.dtype}; scale the series or set dtype='float64'"
            ) from None
        levels = self._quantile_levels()
        raw = self._units.inverse(raw, center, scale)
        return raw if levels is None else uncrossed(raw, levels)

    def _network_for(self, source: Windows, gaps: bool, seed: int) -> WindowNetwork:
        shapes = dict(zip(source.names, source.shapes, strict=True))
        inputs = {k: v for k, v in shapes.items() if k not in ("y", "y_mask", "weight")}
        weight = self.horizon_weight
        return WindowNetwork(
            self._model(), self._loss(), inputs, self.horizon, self.dtype, seed,
            scaler=scalers.resolve(self.scaler), gaps=gaps or self.start_padding,
            horizon_weight=None if weight is None else np.asarray(weight, np.float64),
        )  # fmt: skip

    # ------------------------------------------------------------------- files

    def _more_state(self) -> tuple[dict[str, np.ndarray], dict]:
        arrays, plain = self._tail.to_state()
        center, scale = self._units.center, self._units.scale
        arrays |= {"spread": self._spread, "center": center, "scale": scale}
        for name, (mean, deviation) in self._units.columns.items():
            arrays |= {f"{name}.mean": mean, f"{name}.deviation": deviation}
        if self._conformal is not None:
            arrays["conformal"] = self._conformal.scores
        ids = arrays.pop("ids")
        return arrays, {"panel": plain, "ids": ids, "n_windows": self.n_windows_}

    def _set_more_state(self, arrays: dict[str, np.ndarray], plain: dict) -> None:
        arrays = {**arrays, "ids": plain["ids"]}
        own = ("y", "mask", "future", "past", "static", "offsets", "ids", "start")
        self._tail = Panel.from_state({name: arrays[name] for name in own}, plain["panel"])
        self._units = Units(self.series_scaler)
        self._units.ids, self._spread = plain["ids"], arrays["spread"]
        self._units.center, self._units.scale = arrays["center"], arrays["scale"]
        self._units.columns = {
            name: (arrays[f"{name}.mean"], arrays[f"{name}.deviation"])
            for name in ("future", "past", "static")
        }
        scores = arrays.get("conformal")
        self._conformal = None if scores is None else Conformal(scores)
        self.n_windows_ = plain["n_windows"]

    # ------------------------------------------------------------------- answers

    def _quantile_levels(self) -> tuple[float, ...] | None:
        """Levels on the last axis of what the network forecasts."""
        loss = self._loss()
        if isinstance(loss, losses.Quantile) and loss.width > 1:
            return tuple(float(q) for q in loss.levels)
        return None

    def _point(self, raw: np.ndarray) -> np.ndarray:
        """The forecast: of several quantiles, the one next to the median."""
        levels = self._quantile_levels()
        if levels is None:
            return raw
        return raw[..., int(np.argmin(np.abs(np.array(levels) - 0.5)))]

    def _columns(self, raw: np.ndarray, level, spread: np.ndarray) -> dict[str, np.ndarray]:
        """Forecasts and ends of intervals by the name of their column."""
        name, levels = self._name(), self._quantile_levels()
        point = self._point(raw)
        columns = {name: point}
        trained = {} if levels is None else levels_of(levels)
        wanted = tuple(trained) if level is None else check_levels(level)
        for percent in wanted:
            if percent in trained:
                low, high = (raw[..., k] for k in trained[percent])
            elif self._conformal is not None:
                if point.shape[1] > self.horizon:
                    raise ValueError(
                        f"predict: conformal intervals reach {self.horizon} steps; got steps="
                        f"{point.shape[1]}"
                    )
                whole = np.zeros((len(point), self.horizon), point.dtype)
                whole[:, : point.shape[1]] = point
                low, high = (
                    end[:, : point.shape[1]]
                    for end in self._conformal.interval(whole, percent, spread)
                )
            else:
                raise ValueError(
                    f"level={percent}: the trained quantiles {levels} do not hold it and there are "
                    "no conformal intervals; fit with quantiles= that do, or conformal="
                )
            columns[f"{name}-lo-{percent}"], columns[f"{name}-hi-{percent}"] = low, high
        return columns

    def _window_frame(self, panel: Panel, rows, raw, level):
        spread = self._spread_of(panel)[panel.series_of(rows)]
        return panel.window_frame(rows, self._columns(raw, level, spread))

    def _spread_of(self, panel: Panel) -> np.ndarray:
        """Scale of each series' errors: its standard deviation in the fit, or its own."""
        at = self._tail.find(panel.ids)
        spread = self._spread[np.maximum(at, 0)]
        if (at < 0).any():
            own = SeriesScaler("standard").fit(panel, panel.y).scale_
            spread = np.where(at < 0, own, spread)
        return spread
