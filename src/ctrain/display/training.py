"""Training curves of a fit."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..curves import DOTS, best_epoch, finite, is_logarithmic, loss_label, printable
from ..rules import nearest
from .requires import check_fitted, pyplot

#: columns that are no measure of training or validation rows, with their labels
OTHERS = {
    "learning_rate": "learning rate",
    "gradient_norm": "gradient norm",
    "seconds": "time of an epoch (s)",
}
LOGARITHMIC = ("loss", "gradient_norm")
PARTS = {"train": "training", "validation": "validation"}


class TrainingCurveDisplay:
    """Loss and other columns of a fit's history, by epoch.

    Make it with :meth:`from_estimator`. Columns that measure the same (training and validation
    loss, training and validation values of a metric) share a panel; panels share the epochs.

    Parameters
    ----------
    history : mapping of str to list of float
        The column "epoch" and others of its length; copied. Epochs where a column is not finite,
        such as those without validation, are left out of its line.
    best : int, default=None
        Epoch to be marked; None or 0 = that of the smallest validation loss, if there is one.
    label : str, default="loss"
        Of the axis of the losses.
    name : str, default=None
        Stands before the labels of the legend, to tell fits in the same axes apart.

    Attributes
    ----------
    ax_ : matplotlib Axes
        The first panel.
    axes_ : ndarray of Axes of shape (n_panels,)
    figure_ : matplotlib Figure
    lines_ : list of matplotlib Line2D
        One for each column.
    best_ : list of matplotlib Line2D
        The vertical lines at the best epoch, and the points on validation columns; empty without
        a best epoch.

    See Also
    --------
    sklearn.model_selection.LearningCurveDisplay : Score by number of training rows.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_diabetes
    >>> from ctrain import Regressor
    >>> from ctrain.display import TrainingCurveDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> reg = Regressor(max_iter=20, early_stopping=True, random_state=0).fit(X, y)
    >>> display = TrainingCurveDisplay.from_estimator(reg)
    >>> [line.get_label() for line in display.lines_]
    ['training', 'validation']
    >>> plt.close(display.figure_)
    """

    def __init__(
        self, *, history: Mapping, best: int | None = None, label="loss", name=None
    ) -> None:
        self.history = {name: list(column) for name, column in history.items()}
        self.best = best or best_epoch(self.history)
        self.label = label
        self.name = name

    @classmethod
    def from_estimator(
        cls, estimator, *, columns=None, log_scale="auto", ax=None, name=None, line_kw=None
    ) -> TrainingCurveDisplay:
        """Plot the history of a fitted estimator.

        Parameters
        ----------
        estimator : Regressor, Classifier or Forecaster
            Fitted, or in the middle of a fit, for a callback.
        columns, log_scale, ax, line_kw
            As :meth:`plot` takes them.
        name : str, default=None
            Stands before the labels of the legend.

        Returns
        -------
        TrainingCurveDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        sklearn.exceptions.NotFittedError
        TypeError
            If the estimator keeps no history; of a pipeline, pass the last step.
        ValueError
            As :meth:`plot`.
        """
        pyplot(f"{cls.__name__}.from_estimator")
        check_fitted(estimator, "history_", f"{cls.__name__}.from_estimator")
        display = cls(
            history=estimator.history_,
            best=getattr(estimator, "best_epoch_", None),  # set when the first fit ends
            label=loss_label(estimator.loss),
            name=name,
        )
        return display.plot(ax, columns=columns, log_scale=log_scale, line_kw=line_kw)

    def plot(self, ax=None, *, columns=None, log_scale="auto", line_kw=None):
        """Draw columns of the history.

        Parameters
        ----------
        ax : matplotlib Axes or sequence of them, default=None
            One for each panel; None = a new figure.
        columns : str or sequence of str, default=None
            Columns of the history; None = "loss" and, where there is one, "validation_loss".
        log_scale : bool or "auto", default="auto"
            Whether the axes of loss and gradient norm are logarithmic; "auto" = where all values
            are positive and the largest is at least ten times the smallest.
        line_kw : dict, default=None
            For ``Axes.plot``.

        Returns
        -------
        TrainingCurveDisplay
            Itself.

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If a column is unknown, a logarithmic axis meets a value that is not positive, or the
            number of axes is not that of the panels.
        """
        plt = pyplot(f"{type(self).__name__}.plot")
        from matplotlib.cbook import normalize_kwargs
        from matplotlib.lines import Line2D
        from matplotlib.ticker import MaxNLocator

        line_kw = normalize_kwargs(line_kw, Line2D)
        columns = self._columns(columns)
        panels: dict[str, list[str]] = {}
        for column in columns:
            panels.setdefault(_quantity(column)[0], []).append(column)
        scales = {name: self._logarithmic(name, panels[name], log_scale) for name in panels}
        if ax is None:
            _, axes = plt.subplots(
                len(panels), sharex=True, squeeze=False, layout="constrained",
                figsize=(6.4, 2.0 + 2.0 * len(panels)),
            )  # fmt: skip
        else:
            axes = np.atleast_1d(np.array(ax, object))
            if axes.size != len(panels):
                raise ValueError(
                    f"ax: {len(panels)} panels ({', '.join(panels)}) need as many axes; got "
                    f"{axes.size}"
                )
        self.axes_ = axes.ravel()
        self.ax_, self.figure_ = self.axes_[0], self.axes_[0].figure
        self.lines_, self.best_ = [], []
        for panel, (name, members) in zip(self.axes_, panels.items(), strict=True):
            for column in members:
                x, y = finite(self.history, column)
                style = {"marker": "o", "markersize": 3} if len(x) <= DOTS else {}
                style["label"] = self._named(_quantity(column)[1])
                self.lines_ += panel.plot(x, y, **{**style, **line_kw})
            if scales[name]:
                panel.set_yscale("log")
            label = self.label if name == "loss" else OTHERS.get(name, name)
            panel.set_ylabel(printable(label), parse_math=False)
            self._mark(panel, dict(zip(members, self.lines_[-len(members) :], strict=True)))
            if name not in OTHERS or self.name:
                for text in panel.legend().get_texts():
                    text.set_parse_math(False)
            panel.xaxis.set_major_locator(
                MaxNLocator(integer=True, min_n_ticks=1, steps=(1, 2, 5, 10))
            )
        self.axes_[-1].set_xlabel("epoch")
        return self

    def _columns(self, columns) -> list[str]:
        known = [name for name in self.history if name != "epoch"]
        if columns is None:
            columns = ["loss", "validation_loss"]
            return [c for c in columns if c == "loss" or len(finite(self.history, c)[0])]
        columns = [columns] if isinstance(columns, str) else list(columns)
        for column in columns:
            if column not in known:
                hint = nearest(column, known)
                raise ValueError(f"columns: {column!r} is none of {known}{hint}")
        if not columns:
            raise ValueError(f"columns: name at least one of {known}")
        return columns

    def _logarithmic(self, name: str, members: list[str], log_scale) -> bool:
        if log_scale not in (True, False, "auto"):
            raise ValueError(f"log_scale must be True, False or 'auto'; got {log_scale!r}")
        if name not in LOGARITHMIC or not log_scale:
            return False
        parts = [finite(self.history, column) for column in members]
        values = np.concatenate([y for _, y in parts])
        if log_scale == "auto":
            return is_logarithmic(values)
        for column, (x, y) in zip(members, parts, strict=True):
            if (y <= 0).any():
                row = int((y <= 0).argmax())
                raise ValueError(
                    f"log_scale=True needs positive values; {column} is {y[row]:g} in epoch "
                    f"{x[row]:g}; pass log_scale=False"
                )
        return len(values) > 0

    def _mark(self, panel, lines: dict) -> None:
        """Draw a line at the best epoch, and a point where it meets the validation."""
        if self.best is None:
            return
        self.best_.append(panel.axvline(self.best, color="0.5", linestyle=":", linewidth=1))
        for column, line in lines.items():
            x, y = finite(self.history, column)
            if column.startswith("validation_") and self.best in x:
                value = y[x == self.best][0]
                label = self._named(f"best epoch {self.best}: {value:.4g}")
                self.best_ += panel.plot(
                    [self.best], [value], "o", color=line.get_color(), markeredgecolor="0.2",
                    label=label,
                )  # fmt: skip

    def _named(self, label: str) -> str:
        return f"{printable(self.name)}, {label}" if self.name else label


def _quantity(column: str) -> tuple[str, str]:
    """What a column measures, and on which rows."""
    part, _, name = column.partition("_")
    return (name, PARTS[part]) if part in PARTS and name else (column, PARTS["train"])
