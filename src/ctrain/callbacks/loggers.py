"""Callbacks that write or draw the history as it grows."""

from __future__ import annotations

import contextlib
import csv
import json
import math
import os
import time
from typing import ClassVar

import numpy as np

from ..curves import finite, is_logarithmic, loss_label
from ..validation import check_float
from .protocol import Callback


class _Logger(Callback):
    """A file of text with one line for each epoch, written as the epoch ends."""

    def __init__(self, path, append=False):
        self.path = path
        self.append = append
        self._files: dict[int, object] = {}  # by estimator

    def __getstate__(self) -> dict:
        return {**vars(self), "_files": {}}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({os.fspath(self.path)!r})"

    def on_fit_begin(self, estimator) -> None:
        file = open(self.path, "a" if self.append else "w", encoding="utf-8", newline="")
        self._files[id(estimator)] = file

    def on_epoch_end(self, estimator) -> None:
        file = self._files[id(estimator)]
        self._write(file, {name: column[-1] for name, column in estimator.history_.items()})
        file.flush()

    def on_fit_end(self, estimator) -> None:
        file = self._files.pop(id(estimator), None)
        if file is not None:
            file.close()

    def _write(self, file, row: dict[str, float]) -> None:
        raise NotImplementedError


class CSVLogger(_Logger):
    """Write each epoch as a line of a CSV file, whose header names the columns of ``history_``.

    Parameters
    ----------
    path : str or path-like
        Inside a search the fits would overwrite each other's file: use it on a single fit.
    append : bool, default=False
        Whether to go on in an existing file, as after ``resume``.

    Raises
    ------
    OSError
        If the file cannot be written; before the first epoch.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sklearn.datasets import make_regression
    >>> from ctrain import Regressor
    >>> from ctrain.callbacks import CSVLogger
    >>> X, y = make_regression(100, 4, random_state=0)
    >>> path = tempfile.mkdtemp() + "/log.csv"
    >>> reg = Regressor(max_iter=2).set_callbacks(CSVLogger(path)).fit(X, y)
    >>> [line.split(",")[0] for line in Path(path).read_text().splitlines()]
    ['epoch', '1', '2']
    """

    def _write(self, file, row: dict[str, float]) -> None:
        writer = csv.writer(file, lineterminator="\n")
        if file.tell() == 0:
            writer.writerow(row)
        writer.writerow("" if math.isnan(value) else repr(value) for value in row.values())


class JSONLogger(_Logger):
    """Write each epoch as a line of JSON: an object with the columns of ``history_``.

    Parameters
    ----------
    path : str or path-like
        Inside a search the fits would overwrite each other's file: use it on a single fit.
    append : bool, default=False
        Whether to go on in an existing file, as after ``resume``.

    Raises
    ------
    OSError
        If the file cannot be written; before the first epoch.

    Examples
    --------
    >>> import json, tempfile
    >>> from pathlib import Path
    >>> from sklearn.datasets import make_regression
    >>> from ctrain import Regressor
    >>> from ctrain.callbacks import JSONLogger
    >>> X, y = make_regression(100, 4, random_state=0)
    >>> path = tempfile.mkdtemp() + "/log.jsonl"
    >>> reg = Regressor(max_iter=2).set_callbacks(JSONLogger(path)).fit(X, y)
    >>> [json.loads(line)["epoch"] for line in Path(path).read_text().splitlines()]
    [1, 2]
    """

    def _write(self, file, row: dict[str, float]) -> None:
        plain = {name: value if math.isfinite(value) else None for name, value in row.items()}
        file.write(json.dumps(plain) + "\n")


class LivePlot(Callback):
    """Redraw the loss curves while a fit runs, in the notebook or in a picture file.

    Parameters
    ----------
    path : str or path-like, default=None
        Picture that is replaced with each drawing, such as ``"loss.png"``; None draws below the
        cell of a notebook.
    every_seconds : float, default=1.0
        Least time between two drawings; the last epoch is always drawn.

    Raises
    ------
    ImportError
        If matplotlib is missing (extra ``plot``), or IPython where there is no `path`.

    Examples
    --------
    >>> import os, tempfile
    >>> from sklearn.datasets import make_regression
    >>> from ctrain import Regressor
    >>> from ctrain.callbacks import LivePlot
    >>> X, y = make_regression(100, 4, random_state=0)
    >>> path = tempfile.mkdtemp() + "/loss.png"
    >>> reg = Regressor(max_iter=2).set_callbacks(LivePlot(path)).fit(X, y)
    >>> os.path.getsize(path) > 1000
    True
    """

    _curves: ClassVar = (("loss", "training"), ("validation_loss", "validation"))

    def __init__(self, path=None, every_seconds=1.0):
        self.path = path
        self.every_seconds = every_seconds
        self._drawings: dict[int, tuple] = {}  # by estimator: figure, cell, time of the last one

    def __getstate__(self) -> dict:
        return {**vars(self), "_drawings": {}}

    def on_fit_begin(self, estimator) -> None:
        check_float(self, "every_seconds", 0.0)
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ImportError:
            raise ImportError("LivePlot needs matplotlib: pip install 'ctrain[plot]'") from None
        figure = Figure(figsize=(6, 3.5), layout="constrained")
        FigureCanvasAgg(figure)
        cell = None
        if self.path is None:
            try:
                from IPython.display import display
            except ImportError:
                raise ImportError(
                    "LivePlot without a path draws in a notebook and needs IPython; give it a "
                    "path: LivePlot('loss.png')"
                ) from None
            cell = display(figure, display_id=True)
        self._drawings[id(estimator)] = figure, cell, -math.inf

    def on_epoch_end(self, estimator) -> None:
        figure, cell, last = self._drawings[id(estimator)]
        if time.perf_counter() - last >= self.every_seconds:
            self._draw(estimator, figure, cell)
            self._drawings[id(estimator)] = figure, cell, time.perf_counter()

    def on_fit_end(self, estimator) -> None:
        figure, cell, _ = self._drawings.pop(id(estimator), (None, None, None))
        if figure is not None and estimator.history_["epoch"]:
            self._draw(estimator, figure, cell)

    def _draw(self, estimator, figure, cell) -> None:
        figure.clear()
        axes = figure.subplots()
        drawn = []
        for column, label in self._curves:
            if column in estimator.history_:
                epochs, values = finite(estimator.history_, column)
                axes.plot(epochs, values, label=label)
                drawn.append(values)
        axes.set(xlabel="epoch", ylabel=loss_label(estimator.loss))
        if is_logarithmic(np.concatenate(drawn)):
            axes.set_yscale("log")
        axes.legend(frameon=False)
        if cell is not None:
            cell.update(figure)
        if self.path is not None:
            path = os.fspath(self.path)
            base, extension = os.path.splitext(path)
            spare = f"{base}.part{extension}"
            try:
                figure.savefig(spare)
                os.replace(spare, path)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(spare)
