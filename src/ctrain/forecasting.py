"""What a fitted forecaster answers: forecasts of windows, as frames and as scores."""

from __future__ import annotations

import itertools

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from . import checkpoint, objective
from ._core.parallel import effective_n_threads
from ._core.source import Windows
from .data import Panel, cross_validation_rows, read_future, read_like, read_panel, refits
from .estimator import Estimator
from .intervals import Conformal, check_levels, levels_of, uncrossed
from .metrics import seasonal_scale
from .network import NotFiniteError
from .units import Units
from .validation import check_count
from .window_choice import window_rows
from .window_scores import WindowScores
from .windowed import forecast_parts

#: windows that are forecast in one go where all are scored
CHUNK = 1 << 13


class Forecasting(Estimator):
    """Windows of series in, forecasts out; a subclass fits.

    It has the parameters of :class:`ctrain.Forecaster`, and learns ``_tail`` (the last rows of each
    series), ``_units`` and ``_conformal``.
    """

    # ------------------------------------------------------------------- forecasts

    def predict(self, df=None, *, future=None, static=None, level=None, steps=None):
        """Forecast the steps after the end of each series.

        Parameters
        ----------
        df : frame, path or array, default=None
            Series to forecast, new ones too; None for those of the fit.
        future : frame, default=None
            `futr_exog` of each series and time stamp of :meth:`future_frame`.
        static : frame, default=None
            `stat_exog` of new series.
        level : float or sequence of float, default=None
            Percent of intervals, such as ``(80, 90)``: from the trained quantiles where they hold
            them, else conformal ones; None for all that was trained.
        steps : int, default=None
            Steps to forecast; None for `horizon`. Beyond it, forecasts are fed back as the past;
            intervals there take them for what came.

        Returns
        -------
        frame
            Like the one given, with the columns ``<model>``, ``<model>-lo-80``,
            ``<model>-hi-80``, ..., and ``<model>-ql0.1`` of a trained quantile without its
            counterpart. For arrays an array of shape (steps,) or (series, steps), or a dict of
            them.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If :meth:`fit` has not been called.
        ValueError
            If a series is too short, covariates are missing, or the level is in neither way
            available.
        """
        check_is_fitted(self)
        steps = self.horizon if steps is None else check_count("steps", steps, 1)
        self._check_level(level, self._conformal is not None, steps)
        panel = self._tail
        if df is not None:
            panel = self._read(df, static).check_length(*self._past_needed(), self.short)
        raw, spread = self._ahead(panel, steps, future)
        return panel.forecast_frame(self._columns(raw, level, spread))

    def future_frame(self, df=None, *, static=None, steps=None):
        """Make the index of the frame that ``predict(future=...)`` needs.

        Parameters
        ----------
        df : frame or path, default=None
            Series to forecast; None for those of the fit.
        static : frame, default=None
        steps : int, default=None
            Steps to forecast; the frame goes to the end of the last whole horizon.

        Returns
        -------
        frame
            Series and time stamps; add the columns of `futr_exog`.
        """
        check_is_fitted(self)
        steps = self.horizon if steps is None else check_count("steps", steps, 1)
        panel = self._tail if df is None else self._read(df, static)
        return panel.future_frame(-(-steps // self.horizon) * self.horizon)

    def decompose(self, df=None, *, future=None, static=None):
        """Split forecasts after the end of each series into the parts that the model names.

        Parameters
        ----------
        df, future, static
            As for :meth:`predict`.

        Returns
        -------
        frame
            As of :meth:`predict`, and the columns ``<model>-<part>``, which add up to
            ``<model>``, such as the level and the stacks of N-BEATS and N-HiTS. The first part
            holds what the scalers took off. With quantiles: the median's, before they are sorted.

        Raises
        ------
        ValueError
            If the model names no parts of its forecast, or they do not add up to it.
        """
        check_is_fitted(self)
        panel = self._tail
        if df is not None:
            panel = self._read(df, static).check_length(*self._past_needed(), self.short)
        self._check_future(panel, future, self.horizon)
        center, scale, _ = self._units.of(panel, panel.offsets[1:])
        y, seen, fields = self._room(panel, 1, future, center, scale)
        source = Windows(
            y, self.input_size, self.horizon, count=1, available=seen, together=self._together(),
            **fields,
        )  # fmt: skip
        name, parts = self._name(), forecast_parts(self._network.outputs)
        if not parts:
            raise ValueError(f"{name} names no parts of its forecast; NBEATS, NHITS, DLinear do")
        columns = {}
        for k, part in enumerate(["prediction", *parts]):
            raw = self._forecasts(source, part)
            raw = raw if self._quantile_levels() is None else raw[..., self._median()]
            center_of = center if k < 2 else np.zeros_like(center)
            column = name if part == "prediction" else f"{name}-{part}"
            columns[column] = self._units.inverse(raw, center_of, scale)
        total = sum(v.astype(np.float64) for v in list(columns.values())[1:])
        size = sum(np.abs(v).max() for v in columns.values())
        if np.abs(total - columns[name]).max() > 1e-4 * size:
            raise ValueError(
                f"the parts {parts} of {name} do not add up to its forecast; they are off by "
                f"{np.abs(total - columns[name]).max():.3g}"
            )
        return panel.forecast_frame(columns)

    def predict_insample(self, df, *, static=None, step_size=None, level=None):
        """Forecast windows all over the given series, each from its own past.

        Parameters
        ----------
        df : frame, path or array
        static : frame, default=None
        step_size : int, default=None
            Steps from one window to the next; None for `horizon`, so that each step is forecast
            once. The last window ends with its series.
        level : float or sequence of float, default=None

        Returns
        -------
        frame
            With the column ``cutoff``, the last stamp that a forecast knew, and what came.
        """
        check_is_fitted(self)
        self._check_level(level, self._conformal is not None)
        step = self.horizon if step_size is None else check_count("step_size", step_size, 1)
        least, reason = self._past_needed(self.horizon)
        panel = self._read(df, static).check_length(least, reason, self.short)
        count = (panel.lengths - least) // step + 1
        first = panel.offsets[1:] - self.horizon - (count - 1) * step
        raw, spread = self._at(panel, first, count, step)
        rows = window_rows(first, count, step)
        return panel.window_frame(rows, self._columns(raw, level, spread))

    def cross_validation(
        self, df, *, static=None, n_windows=None, step_size=1, test_size=None, refit=False,
        val_size=0, level=None,
    ):  # fmt: skip
        """Forecast the last windows of each series from models that have not seen them.

        Parameters
        ----------
        df : frame, path or array
        static : frame, default=None
        n_windows : int, default=None
            None for one, or for those of `test_size`.
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
            With the column ``cutoff`` and what came. The estimator itself is left as it is, and
            its callbacks are not called.
        """
        self._check_parameters()
        self._check_level(level, self.conformal is not None)
        panel = self._read_anew(df, static)
        if n_windows is None and test_size is None:
            n_windows = 1
        rows = cross_validation_rows(panel, self.horizon, n_windows, step_size, test_size)
        starts = [*np.flatnonzero(refits(len(rows), refit)), len(rows)]
        pieces = []
        for begin, end in itertools.pairwise(starts):
            model = self._apart()
            model._fit_panel(panel.until(rows[begin]), val_size)
            count = np.full(panel.n_series, end - begin)
            raw, spread = model._at(panel, rows[begin], count, step_size)
            columns = model._columns(raw, level, spread)
            shape = (panel.n_series, end - begin, self.horizon)
            pieces.append({name: values.reshape(shape) for name, values in columns.items()})
        columns = {
            name: np.concatenate([piece[name] for piece in pieces], axis=1).reshape(-1, shape[-1])
            for name in columns
        }
        return panel.window_frame(rows.T.reshape(-1), columns)

    def backtest(
        self, df, test_size, *, static=None, step_size=1, metrics=("mae", "mse"), season=None
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
        season : int, default=None
            Of MASE: steps of a season; the scale is from the rows before the test. None for
            `season` of the forecaster, or 1.

        Returns
        -------
        WindowScores
            A mapping of metric to number, with ``by_step`` and ``by_series``.
        """
        check_is_fitted(self)
        check_count("test_size", test_size, self.horizon)
        panel = self._read(df, static)
        panel = panel.check_length(*self._past_needed(test_size, "test_size"), self.short)
        rows = cross_validation_rows(panel, self.horizon, None, step_size, test_size)
        levels, ends = self._quantile_levels(), panel.offsets[1:]
        if season is None:
            season = self.season or 1
        scale = seasonal_scale(panel.y, panel.offsets, season, panel.mask, ends - test_size)
        scores = WindowScores(metrics, panel.n_series, self.horizon, scale=scale, levels=levels)
        most = max(1, CHUNK // panel.n_series)
        for part in (rows[k : k + most] for k in range(0, len(rows), most)):
            count = np.full(panel.n_series, len(part))
            raw, _ = self._at(panel, part[0], count, step_size, stops=rows[0])
            first = part.T.reshape(-1)
            each = first[:, None] + np.arange(self.horizon)
            scores.add(
                panel.series_of(first), panel.y[each], self._point(raw), panel.mask[each],
                quantiles=raw if levels is not None else None,
            )  # fmt: skip
        return scores

    # ------------------------------------------------------------------- windows

    def _apart(self):
        """An unfitted copy, whose fit no callback of this one's is told of."""
        return clone(self).set_callbacks()

    def _read(self, df, static) -> Panel:
        """Series for the fitted network."""
        panel = read_like(df, self._tail, static=static)
        if not self._together():
            return panel
        known = self._units.ids
        if not np.array_equal(panel.ids, known):
            new, missing = np.setdiff1d(panel.ids, known), np.setdiff1d(known, panel.ids)
            raise ValueError(
                f"{self._name()} forecasts the {len(known)} series of the fit together; "
                + (f"{new[0].item()!r} is new" if len(new) else f"{missing[0].item()!r} is missing")
            )
        return panel.aligned()

    def _read_anew(self, df, static) -> Panel:
        """Series to fit."""
        panel = read_panel(df, self._schema(), freq=self.freq, static=static)
        return panel.aligned() if self._together() else panel

    def _together(self) -> bool:
        """Whether the network forecasts all series at once: its model is ``multivariate``."""
        model = self._model()
        if isinstance(model, checkpoint.Missing):
            return len(self._network.inference.inputs["past_y"].shape) > 1
        return bool(getattr(model, "multivariate", False))

    def _past_needed(self, more: int = 0, what: str = "horizon") -> tuple[int, str]:
        """Rows that a series must have, so many after a window's past, and why."""
        past, reason = self.input_size, "input_size"
        if self.start_padding:
            past, reason = 1, "one row of the past"
        return past + more, f"{reason} + {what}" if more else reason

    def _windows(
        self, panel: Panel, first, count, step_size: int = 1, weight=None, unit=None
    ) -> Windows:
        """Windows of each series, the first of which forecasts row ``first[i]`` first."""
        whole = panel.mask.all()
        return Windows(
            panel.y, self.input_size, self.horizon, offsets=panel.offsets,
            start=first - panel.offsets[:-1] - self.input_size, count=count, step_size=step_size,
            available=None if whole else panel.mask, past=panel.past, future=panel.future,
            static=panel.static, unit=unit, weight=weight, together=self._together(),
        )  # fmt: skip

    def _at(self, panel: Panel, first, count, step_size: int, stops=None):
        """Forecasts of windows inside a panel, series after series, and the spread of each.

        Units of new series are those of their rows before ``stops[i]``, ``first`` if it is None.
        """
        stops = first if stops is None else stops
        source = self._windows(self._units.apply(panel, stops), first, count, step_size)
        center, scale, spread = (np.repeat(v, count) for v in self._units.of(panel, stops))
        return self._answer(source, panel, center, scale), spread

    def _ahead(self, panel: Panel, steps: int, future):
        """Forecasts after the end of each series, (n_series, steps[, width]), and spreads."""
        n_in, n_out = self.input_size, self.horizon
        blocks = -(-steps // n_out)
        self._check_future(panel, future, steps)
        center, scale, spread = self._units.of(panel, panel.offsets[1:])
        y, seen, fields = self._room(panel, blocks, future, center, scale)
        answers = []
        for begin in range(0, blocks * n_out, n_out):
            source = Windows(
                y, n_in, n_out, start=begin, count=1, available=seen, together=self._together(),
                **fields,
            )  # fmt: skip
            answers.append(self._answer(source, panel, center, scale))
            rows = slice(begin + n_in, begin + n_in + n_out)
            seen[:, rows] = True
            fed = self._point(answers[-1])
            y[:, rows] = self._units.forward(fed, center[:, None], scale[:, None])
        return np.concatenate(answers, axis=1)[:, :steps], spread

    def _check_future(self, panel: Panel, future, steps: int) -> None:
        names = panel.schema.futr_exog
        if bool(names) != (future is not None):
            raise ValueError(
                f"predict: futr_exog={names} must be known for the steps to forecast; pass "
                "future=, the frame of future_frame() with these columns"
                if names else "predict: this model has no futr_exog, so future must be None"
            )  # fmt: skip
        if steps > self.horizon and panel.schema.hist_exog:
            raise ValueError(
                f"predict: steps={steps} beyond horizon={self.horizon} need hist_exog="
                f"{panel.schema.hist_exog} that nobody knows yet"
            )

    def _room(self, panel: Panel, blocks: int, future, center, scale):
        """The last rows of each series and room for what comes, (n_series, n_in + blocks n_out).

        Answers values, which of them there are, and covariates by name.
        """
        n_in, n_out, n = self.input_size, self.horizon, panel.n_series
        index = panel.offsets[1:, None] + np.arange(-n_in, 0)
        inside = index >= panel.offsets[:-1, None]
        index = np.where(inside, index, 0)
        room = np.zeros((n, blocks * n_out), bool)
        seen = np.concatenate([inside & panel.mask[index], room], axis=1)
        y = np.zeros(seen.shape, panel.y.dtype)
        y[:, :n_in] = self._units.forward(panel.y[index], center[:, None], scale[:, None])
        fields = {"static": self._units.covariates("static", panel.static)}
        for name, width in (("past", panel.past.shape[1]), ("future", panel.future.shape[1])):
            block = np.zeros((*seen.shape, width), panel.y.dtype)
            known = self._units.covariates(name, getattr(panel, name)[index])
            block[:, :n_in] = np.where(inside[..., None], known, 0.0)
            fields[name] = block
        if panel.schema.futr_exog:
            ahead = read_future(future, panel, blocks * n_out)
            fields["future"][:, n_in:] = self._units.covariates("future", ahead)
        return y, seen, fields

    def _answer(self, source: Windows, panel: Panel, center, scale) -> np.ndarray:
        """The network's forecasts of windows, in the units of their series."""
        try:
            raw = self._forecasts(source)
        except NotFiniteError as error:
            name = panel.name(int(source.locate([error.row])[0][0]))
            series = "all series" if self._together() else f"series {name}"
            raise ValueError(
                f"{series}: a window holds a value that is not finite in "
                f"{self._network.dtype}; scale the series or set dtype='float64'"
            ) from None
        raw, levels = self._units.inverse(raw, center, scale), self._quantile_levels()
        return raw if levels is None else uncrossed(raw, levels)

    def _forecasts(self, source: Windows, name: str = "prediction") -> np.ndarray:
        """One output for windows, series after series."""
        raw = self._network.predict(source, effective_n_threads(self.n_jobs), name)
        if not self._together():
            return raw
        return np.moveaxis(raw, 1, 0).reshape(-1, *raw.shape[2:])  # rows hold all series

    # ------------------------------------------------------------------- answers

    def _name(self) -> str:
        """Name of the forecast's column."""
        model = self._model()
        if isinstance(model, checkpoint.Missing):
            return model.name.rpartition(".")[2]
        return getattr(model, "__name__", type(model).__name__)

    def _quantile_levels(self) -> tuple[float, ...] | None:
        """Levels on the last axis of what the network forecasts."""
        return getattr(objective.trained(self.loss, self.quantiles), "quantile_levels", None)

    def _median(self) -> int:
        """Which of the quantiles is the forecast: the one next to 0.5."""
        return int(np.argmin(np.abs(np.array(self._quantile_levels()) - 0.5)))

    def _point(self, raw: np.ndarray) -> np.ndarray:
        return raw if self._quantile_levels() is None else raw[..., self._median()]

    def _check_level(self, level, conformal: bool, steps: int = 0) -> None:
        """Refuse intervals that there are not, before any work."""
        levels = self._quantile_levels()
        trained = {} if levels is None else levels_of(levels)
        for percent in () if level is None else check_levels(level):
            if percent in trained:
                continue
            if not conformal:
                raise ValueError(
                    f"level={percent}: the trained quantiles {levels} do not hold it and there "
                    "are no conformal intervals; fit with quantiles= that do, or conformal="
                )
            if steps > self.horizon:
                raise ValueError(
                    f"level={percent}: conformal intervals reach {self.horizon} steps, the "
                    f"horizon; got steps={steps}"
                )

    def _columns(self, raw: np.ndarray, level, spread: np.ndarray) -> dict[str, np.ndarray]:
        """Forecasts and ends of intervals by the name of their column."""
        name, levels, point = self._name(), self._quantile_levels(), self._point(raw)
        columns = {name: point}
        trained = {} if levels is None else levels_of(levels)
        for percent in trained if level is None else check_levels(level):
            if percent in trained:
                ends = (raw[..., k] for k in trained[percent])
            else:
                scores = self._conformal.scores[:, : point.shape[1]]
                ends = Conformal(scores).interval(point, percent, spread)
            columns |= zip((f"{name}-lo-{percent}", f"{name}-hi-{percent}"), ends, strict=True)
        if level is None and levels is not None:
            paired = {k for pair in trained.values() for k in pair} | {self._median()}
            lone = sorted(set(range(len(levels))) - paired)
            columns |= {f"{name}-ql{levels[k]:g}": raw[..., k] for k in lone}
        return columns

    # ------------------------------------------------------------------- files

    def _more_state(self) -> tuple[dict[str, np.ndarray], dict]:
        arrays, plain = self._tail.to_state()
        units = self._units
        arrays |= {"center": units.center, "scale": units.scale, "spread": units.spread}
        for name, (mean, deviation) in units.columns.items():
            arrays |= {f"{name}.mean": mean, f"{name}.deviation": deviation}
        if self._conformal is not None:
            arrays["conformal"] = self._conformal.scores
        ids = arrays.pop("ids")
        others = None if np.array_equal(units.ids, ids) else units.ids
        names = {"ids": ids, "fitted_ids": others, "n_windows": self.n_windows_}
        return arrays, {"panel": plain, **names}

    def _set_more_state(self, arrays: dict[str, np.ndarray], plain: dict) -> None:
        own = ("y", "mask", "future", "past", "static", "offsets", "start")
        tail = {name: arrays[name] for name in own} | {"ids": plain["ids"]}
        self._tail = Panel.from_state(tail, plain["panel"])
        self._units = units = Units(self.series_scaler)
        others = plain["fitted_ids"]
        units.ids = self._tail.ids if others is None else others
        units.spread = arrays["spread"]
        units.center, units.scale = arrays["center"], arrays["scale"]
        units.columns = {
            name: (arrays[f"{name}.mean"], arrays[f"{name}.deviation"])
            for name in ("future", "past", "static")
        }
        scores = arrays.get("conformal")
        self._conformal = None if scores is None else Conformal(scores)
        self.n_windows_ = plain["n_windows"]
