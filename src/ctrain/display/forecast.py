"""Forecasts with their intervals, and how errors grow along the horizon."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np

from ..curves import printable
from ..data import read_like
from ..window_scores import WindowScores
from .requires import check_fitted, pyplot

#: opacity of the widest and of the narrowest band
FAINT, DENSE = 0.15, 0.4
#: rows of the past that are shown before a forecast, in horizons
PAST = 4


class ForecastDisplay:
    """The forecast of one series with its intervals, what was before it, and what came.

    Make it with :meth:`from_estimator`.

    Parameters
    ----------
    stamps : ndarray of shape (n_steps,)
        Of the forecast.
    forecast : ndarray of shape (n_steps,)
    bands : mapping of float to (low, high), default=()
        Ends of intervals, arrays of shape (n_steps,), by their percent.
    past, came : (stamps, values), default=None
        Arrays of shape (n,); NaN where there is no value.
    name : str, default="forecast"
        In the legend.
    title, label : str, default=""
        Of the picture and of the vertical axis.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    line_ : matplotlib Line2D
        The forecast.
    past_, came_ : matplotlib Line2D or None
    bands_ : list of matplotlib PolyCollection
        The widest first.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from ctrain import Forecaster
    >>> from ctrain.data import load_air_passengers
    >>> from ctrain.display import ForecastDisplay
    >>> data = load_air_passengers()
    >>> known = {name: column[:-12] for name, column in data.items()}
    >>> fc = Forecaster("nlinear", horizon=12, input_size=24, quantiles=(0.1, 0.5, 0.9),
    ...                 max_steps=100, random_state=0).fit(known)
    >>> display = ForecastDisplay.from_estimator(fc, data)
    >>> [text.get_text() for text in display.ax_.get_legend().get_texts()]
    ['past', '80 % interval', 'NLinear', 'what came']
    >>> plt.close(display.figure_)
    """

    def __init__(
        self, *, stamps, forecast, bands=(), past=None, came=None, name="forecast", title="",
        label="",
    ) -> None:  # fmt: skip
        self.stamps, self.forecast = np.asarray(stamps), np.asarray(forecast)
        self.bands = dict(bands)
        self.past, self.came = past, came
        self.name, self.title, self.label = name, title, label

    @classmethod
    def from_estimator(
        cls, estimator, df=None, *, series=None, future=None, static=None, level=None, steps=None,
        n_past=None, ax=None,
    ) -> ForecastDisplay:  # fmt: skip
        """Forecast from the end of the fit and plot it.

        Parameters
        ----------
        estimator : Forecaster
            Fitted.
        df : frame, path or array, default=None
            The series: rows up to the end of the fit are shown as the past, rows after it as what
            came. None: the past that the forecaster keeps.
        series : str or int, default=None
            Name of the series to plot; None for the first.
        future, static, level, steps
            As :meth:`ctrain.Forecaster.predict` takes them.
        n_past : int, default=None
            Rows of the past to show; None for four horizons.
        ax : matplotlib Axes, default=None
            None = a new figure.

        Returns
        -------
        ForecastDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        sklearn.exceptions.NotFittedError
        ValueError
            If there is no such series, or as ``predict``.
        """
        caller = f"{cls.__name__}.from_estimator"
        pyplot(caller)
        check_fitted(estimator, "_tail", caller)
        tail = estimator._tail
        k = 0 if series is None else index_of(tail, series, caller)
        steps = estimator.horizon if steps is None else steps
        answer = estimator.predict(future=future, level=level, steps=steps)
        columns = columns_of_series(answer, tail.n_series, k, estimator._name())
        name = next(iter(columns))
        bands = {}
        for column in columns:
            found = re.fullmatch(re.escape(name) + r"-lo-([\d.]+)", column)
            if found:
                bands[float(found[1])] = (columns[column], columns[f"{name}-hi-{found[1]}"])
        panel, at = tail, k
        if df is not None:
            panel = read_like(df, tail, static=static)
            at = int(panel.find(tail.ids[k : k + 1])[0])
            if at < 0:
                raise ValueError(f"{caller}: df holds no series {tail.name(k)}")
        rows = np.arange(panel.offsets[at], panel.offsets[at + 1])
        stamps = panel.stamps(rows)
        values = np.where(panel.mask[rows], panel.y[rows], np.nan)
        known = stamps <= tail.end[k]
        n_past = PAST * estimator.horizon if n_past is None else n_past
        past = stamps[known][-n_past:], values[known][-n_past:]
        ahead = tail.future_stamps(steps)[k]
        after = ~known & (stamps <= ahead[-1])
        came = (stamps[after], values[after]) if after.any() else None
        display = cls(
            stamps=ahead, forecast=columns[name], bands=bands, past=past, came=came, name=name,
            title=str(tail.ids[k]) if tail.schema.id_col is not None else "",
            label=estimator.target_col,
        )  # fmt: skip
        return display.plot(ax)

    def plot(self, ax=None, *, line_kw=None, band_kw=None) -> ForecastDisplay:
        """Draw past, intervals, forecast and what came.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            None = a new figure.
        line_kw, band_kw : dict, default=None
            For ``Axes.plot`` of the forecast and ``Axes.fill_between`` of the bands.

        Returns
        -------
        ForecastDisplay
            Itself.

        Raises
        ------
        ImportError
            Without matplotlib.
        """
        plt = pyplot(f"{type(self).__name__}.plot")
        if ax is None:
            _, ax = plt.subplots(figsize=(8, 4), layout="constrained")
        self.ax_, self.figure_ = ax, ax.figure
        self.past_ = self.came_ = None
        if self.past is not None and len(self.past[0]):
            [self.past_] = ax.plot(*self.past, color="0.55", linewidth=1.3, label="past")
        color = (line_kw or {}).get("color", "C0")
        self.bands_ = []
        widest_first = sorted(self.bands, reverse=True)
        n_bands = len(widest_first)
        shades = np.linspace(FAINT, DENSE, n_bands) if n_bands > 1 else [(FAINT + DENSE) / 2]
        for percent, alpha in zip(widest_first, shades, strict=False):
            low, high = self.bands[percent]
            style = {"color": color, "alpha": alpha, "linewidth": 0, **(band_kw or {})}
            label = f"{percent:g} % interval"
            self.bands_.append(ax.fill_between(self.stamps, low, high, label=label, **style))
        style = {"color": color, "linewidth": 2, "label": printable(self.name), **(line_kw or {})}
        if len(self.stamps) == 1:
            style.setdefault("marker", "o")
        [self.line_] = ax.plot(self.stamps, self.forecast, **style)
        if self.came is not None:
            [self.came_] = ax.plot(
                *self.came, color="0.1", linewidth=1.3, marker="o", markersize=3.5,
                label="what came",
            )  # fmt: skip
        date_axis(ax, self.stamps)
        if self.title:
            ax.set_title(printable(self.title), parse_math=False)
        ax.set_ylabel(printable(self.label), parse_math=False)
        for text in ax.legend(loc="upper left").get_texts():
            text.set_parse_math(False)
        return self


class BacktestDisplay:
    """Errors of a backtest by step of the horizon, of one forecaster or of several.

    Parameters
    ----------
    scores : WindowScores, or mapping of str to WindowScores
        What ``backtest`` returned; by the name for the legend.

    Attributes
    ----------
    axes_ : ndarray of Axes of shape (n_metrics,)
    figure_ : matplotlib Figure
    lines_ : list of matplotlib Line2D
        Metric by metric, of each forecaster.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from ctrain import Forecaster
    >>> from ctrain.baselines import SeasonalNaive
    >>> from ctrain.data import load_air_passengers
    >>> from ctrain.display import BacktestDisplay
    >>> data = load_air_passengers()
    >>> fc = Forecaster("nlinear", horizon=12, input_size=24, max_steps=50, random_state=0)
    >>> naive = SeasonalNaive(horizon=12, season=12)
    >>> scores = {type(model).__name__: model.fit(data).backtest(data, 36)
    ...           for model in (fc, naive)}
    >>> display = BacktestDisplay(scores).plot()
    >>> [ax.get_ylabel() for ax in display.axes_], len(display.lines_)
    (['mae', 'mse'], 4)
    >>> plt.close(display.figure_)
    """

    def __init__(self, scores) -> None:
        named = isinstance(scores, Mapping) and not isinstance(scores, WindowScores)
        self.scores = dict(scores) if named else {"": scores}

    def plot(self, ax=None, *, metrics=None, line_kw=None) -> BacktestDisplay:
        """Draw a panel for each metric.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of them, default=None
            One for each metric; None = a new figure.
        metrics : str or sequence of str, default=None
            None = those that all scores have.
        line_kw : dict, default=None
            For ``Axes.plot``.

        Returns
        -------
        BacktestDisplay
            Itself.

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If scores lack a metric, or the number of axes is not that of the metrics.
        """
        plt = pyplot(f"{type(self).__name__}.plot")
        from matplotlib.ticker import MaxNLocator

        every = list(self.scores.values())
        known = [name for name in every[0] if all(name in scores for scores in every)]
        metrics = [metrics] if isinstance(metrics, str) else list(metrics or known)
        for metric in metrics:
            if metric not in known:
                raise ValueError(f"metrics: {metric!r} is none of {known}, which all scores have")
        if ax is None:
            _, axes = plt.subplots(
                len(metrics), sharex=True, squeeze=False, layout="constrained",
                figsize=(6.4, 1.6 + 1.8 * len(metrics)),
            )  # fmt: skip
        else:
            axes = np.atleast_1d(np.array(ax, object))
            if axes.size != len(metrics):
                raise ValueError(f"ax: {len(metrics)} metrics need as many axes; got {axes.size}")
        self.axes_ = axes.ravel()
        self.figure_, self.lines_ = self.axes_[0].figure, []
        for panel, metric in zip(self.axes_, metrics, strict=True):
            for name, scores in self.scores.items():
                errors = scores.by_step(metric)
                style = {"marker": "o", "markersize": 3} if len(errors) <= 50 else {}
                style["label"] = printable(f"{name}, {scores[metric]:.4g}" if name else
                                           f"mean {scores[metric]:.4g}")  # fmt: skip
                style |= line_kw or {}
                self.lines_ += panel.plot(np.arange(1, len(errors) + 1), errors, **style)
            panel.set_ylabel(printable(metric), parse_math=False)
            panel.set_ylim(bottom=0.0)
            panel.xaxis.set_major_locator(
                MaxNLocator(integer=True, min_n_ticks=1, steps=(1, 2, 5, 10))
            )
            for text in panel.legend().get_texts():
                text.set_parse_math(False)
        self.axes_[-1].set_xlabel("step of the horizon")
        return self


def date_axis(ax, stamps: np.ndarray) -> None:
    """Let the ticks below be short dates, or whole steps."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
    from matplotlib.ticker import MaxNLocator

    if stamps.dtype.kind != "M":
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        return
    locator = AutoDateLocator()
    ax.xaxis.set_major_locator(locator)
    ax.xaxis.set_major_formatter(ConciseDateFormatter(locator))


def index_of(panel, series, caller: str) -> int:
    """Index of a series by its name."""
    at = np.flatnonzero(panel.ids == series)
    if not len(at):
        names = ", ".join(map(panel.name, range(min(5, panel.n_series))))
        raise ValueError(f"{caller}: series {series!r} is none of the fit's, such as {names}")
    return int(at[0])


def columns_of_series(answer, n_series: int, k: int, name: str) -> dict[str, np.ndarray]:
    """Forecast and ends of intervals of one series, from whatever ``predict`` answers."""
    if isinstance(answer, np.ndarray):
        answer = {name: answer}
    names = getattr(answer, "column_names", None)
    names = list(answer if isinstance(answer, dict) else answer.columns) if names is None else names
    chosen = [column for column in names if column == name or column.startswith(f"{name}-")]
    values = {column: np.asarray(answer[column]) for column in chosen}
    return {column: value.reshape(n_series, -1)[k] for column, value in values.items()}
