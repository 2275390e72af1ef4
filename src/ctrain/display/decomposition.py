"""What a forecast is made of: the parts that N-BEATS, N-HiTS and DLinear name."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..curves import printable
from .forecast import columns_of_series, date_axis, index_of
from .requires import check_fitted, pyplot


class DecompositionDisplay:
    """The forecast of one series, and below it the parts that add up to it.

    Make it with :meth:`from_estimator`.

    Parameters
    ----------
    stamps : ndarray of shape (n_steps,)
    forecast : ndarray of shape (n_steps,)
    parts : mapping of str to ndarray of shape (n_steps,)
        Their sum is the forecast.
    name : str, default="forecast"
    title : str, default=""

    Attributes
    ----------
    axes_ : ndarray of Axes of shape (1 + n_parts,)
    figure_ : matplotlib Figure
    lines_ : list of matplotlib Line2D
        The forecast and its parts.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from ctrain import Forecaster
    >>> from ctrain.data import load_air_passengers
    >>> from ctrain.display import DecompositionDisplay
    >>> from ctrain.models import NBEATS
    >>> model = NBEATS(stack_types=("trend", "seasonality"), n_blocks=(1, 1), mlp_units=((32, 32),))
    >>> fc = Forecaster(model, horizon=12, input_size=24, max_steps=50, random_state=0)
    >>> display = DecompositionDisplay.from_estimator(fc.fit(load_air_passengers()))
    >>> [ax.get_ylabel() for ax in display.axes_]
    ['NBEATS', 'level', 'trend', 'seasonality']
    >>> plt.close(display.figure_)
    """

    def __init__(self, *, stamps, forecast, parts: Mapping, name="forecast", title="") -> None:
        self.stamps, self.forecast = np.asarray(stamps), np.asarray(forecast)
        self.parts = dict(parts)
        self.name, self.title = name, title

    @classmethod
    def from_estimator(
        cls, estimator, *, series=None, future=None, ax=None, line_kw=None
    ) -> DecompositionDisplay:
        """Split the forecast from the end of the fit and plot it.

        Parameters
        ----------
        estimator : Forecaster
            Fitted, with a model that names parts.
        series : str or int, default=None
            Name of the series to plot; None for the first.
        future
            As :meth:`ctrain.Forecaster.decompose` takes it.
        ax, line_kw
            As :meth:`plot` takes them.

        Returns
        -------
        DecompositionDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        sklearn.exceptions.NotFittedError
        ValueError
            If there is no such series, or the model names no parts.
        """
        caller = f"{cls.__name__}.from_estimator"
        pyplot(caller)
        check_fitted(estimator, "_tail", caller)
        tail = estimator._tail
        k = 0 if series is None else index_of(tail, series, caller)
        name = estimator._name()
        columns = columns_of_series(estimator.decompose(future=future), tail.n_series, k, name)
        forecast = columns.pop(name)
        display = cls(
            stamps=tail.future_stamps(estimator.horizon)[k], forecast=forecast, name=name,
            parts={column[len(name) + 1 :]: part for column, part in columns.items()},
            title=str(tail.ids[k]) if tail.schema.id_col is not None else "",
        )  # fmt: skip
        return display.plot(ax, line_kw=line_kw)

    def plot(self, ax=None, *, line_kw=None) -> DecompositionDisplay:
        """Draw a panel for the forecast and one for each part.

        Parameters
        ----------
        ax : sequence of matplotlib Axes, default=None
            One for each panel; None = a new figure.
        line_kw : dict, default=None
            For ``Axes.plot``.

        Returns
        -------
        DecompositionDisplay
            Itself.

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If the number of axes is not that of the panels.
        """
        plt = pyplot(f"{type(self).__name__}.plot")
        panels = {self.name: self.forecast, **self.parts}
        if ax is None:
            _, axes = plt.subplots(
                len(panels), sharex=True, squeeze=False, layout="constrained",
                figsize=(6.4, 0.8 + 1.4 * len(panels)),
            )  # fmt: skip
        else:
            axes = np.atleast_1d(np.array(ax, object))
            if axes.size != len(panels):
                raise ValueError(
                    f"ax: {len(panels)} panels ({', '.join(panels)}) need as many axes; got "
                    f"{axes.size}"
                )
        self.axes_ = axes.ravel()
        self.figure_, self.lines_ = self.axes_[0].figure, []
        few = {"marker": "o", "markersize": 3} if len(self.stamps) <= 50 else {}
        for k, (panel, (name, values)) in enumerate(zip(self.axes_, panels.items(), strict=True)):
            style = {"color": f"C{min(k, 1)}", **few, **(line_kw or {})}
            self.lines_ += panel.plot(self.stamps, values, **style)
            panel.set_ylabel(printable(name), parse_math=False)
            if k and values.min() < 0.0 < values.max():
                panel.axhline(0.0, color="0.8", linewidth=0.8, zorder=0)
        date_axis(self.axes_[-1], self.stamps)
        if self.title:
            self.axes_[0].set_title(printable(self.title), parse_math=False)
        self.figure_.align_ylabels(list(self.axes_))
        return self
