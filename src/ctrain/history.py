"""What was measured during training: one row for each epoch, one for each step."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

#: columns that every fit has
COLUMNS = ("epoch", "loss", "learning_rate", "gradient_norm", "seconds")
#: rows of the array of steps
LOSS_SUM, WEIGHT_SUM, NORM, RATE = range(4)


class History(Mapping):
    """Columns of the epochs so far; ``history["loss"][-1]`` is the loss of the last one.

    An epoch that was not validated holds NaN in the validation's columns.

    Attributes
    ----------
    steps : dict of str to ndarray
        ``loss``, ``gradient_norm`` and ``learning_rate`` of each optimizer step; also of an epoch
        that was not finished.

    Notes
    -----
    ``epoch`` counts from 1, ``loss`` is the mean training loss over the epoch's steps (with
    dropout, before penalties), ``validation_loss`` the loss after it, ``train_<metric>`` and
    ``validation_<metric>`` scores after it, ``learning_rate`` that of its last step,
    ``gradient_norm`` the mean over its steps of the norm before clipping, ``seconds`` how long the
    epoch took with its validation.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from ctrain import Regressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> history = Regressor(max_iter=3, batch_size=100).fit(X, y).history_
    >>> list(history)
    ['epoch', 'loss', 'learning_rate', 'gradient_norm', 'seconds']
    >>> history["epoch"], history.steps["loss"].shape
    ([1, 2, 3], (15,))
    >>> history.to_csv().splitlines()[0]
    'epoch,loss,learning_rate,gradient_norm,seconds'
    """

    def __init__(self) -> None:
        self._columns: dict[str, list | np.ndarray] = {name: [] for name in COLUMNS}
        self._steps = np.empty((4, 0))
        self.n_steps = 0

    def __getitem__(self, name: str) -> list:
        column = self._columns[name]
        if isinstance(column, np.ndarray):  # of a file, as lists they take four times the memory
            column = self._columns[name] = column.tolist()
        return column

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __repr__(self) -> str:
        epochs = len(self._columns["epoch"])
        last = ", ".join(f"{k}={v[-1]:.6g}" for k, v in self.items() if v)
        return f"History({epochs} epochs, {self.n_steps} steps{': ' + last if last else ''})"

    @property
    def steps(self) -> dict[str, np.ndarray]:
        sums, weights, norms, rates = self._steps[:, : self.n_steps]
        with np.errstate(invalid="ignore"):
            loss = sums / weights
        return {"loss": loss, "gradient_norm": norms.copy(), "learning_rate": rates.copy()}

    def room(self, n: int) -> np.ndarray:
        """Array (4, n) to fill with the next steps, one row for each kind of number."""
        end = self.n_steps + n
        if end > self._steps.shape[1]:
            grown = np.empty((4, max(end, 2 * self._steps.shape[1])))
            grown[:, : self.n_steps] = self._steps[:, : self.n_steps]
            self._steps = grown
        return self._steps[:, self.n_steps : end]

    def sums(self, n: int) -> list[float]:
        """Sums of losses, weights and norms over the last `n` steps."""
        return np.add.reduce(self._steps[:RATE, self.n_steps - n : self.n_steps], axis=1).tolist()

    def last_rate(self) -> float:
        """Learning rate of the last step; NaN before the first."""
        return float(self._steps[RATE, self.n_steps - 1]) if self.n_steps else math.nan

    def expect(self, names: Iterable[str]) -> None:
        """Add columns that epochs will fill, so that all rows of a log have them."""
        for name in names:
            self._columns.setdefault(name, [math.nan] * len(self._columns["epoch"]))

    def append(self, row: dict[str, float]) -> None:
        """Add an epoch; a column that it lacks, or that is new, holds NaN."""
        columns = self._columns = dict(self)
        n = len(columns["epoch"])
        for name, value in row.items():
            column = columns.get(name)
            if column is None:
                column = columns[name] = [math.nan] * n
            column.append(value)
        if len(row) < len(columns):
            for column in columns.values():
                if len(column) == n:
                    column.append(math.nan)

    def to_csv(self, path=None) -> str | None:
        """Write the epochs as CSV with a header; NaN is an empty field.

        Parameters
        ----------
        path : str or path-like, default=None
            None returns the text.
        """
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(self)
        for row in zip(*self.values(), strict=True):
            writer.writerow("" if math.isnan(value) else repr(value) for value in row)
        return _written(text.getvalue(), path)

    def to_json(self, path=None) -> str | None:
        """Write ``{"epochs": {column: [...]}, "steps": {...}}``; NaN and infinity are null.

        Parameters
        ----------
        path : str or path-like, default=None
            None returns the text.
        """
        steps = {name: values.tolist() for name, values in self.steps.items()}
        return _written(json.dumps({"epochs": _plain(self), "steps": _plain(steps)}), path)

    def state(self) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Columns, and steps that are not copied, as :meth:`restored` takes them."""
        columns = {name: np.array(column, np.float64) for name, column in self._columns.items()}
        return columns, self._steps[:, : self.n_steps]

    @classmethod
    def restored(cls, columns: Mapping[str, np.ndarray], steps: np.ndarray) -> History:
        """Make a history of what :meth:`state` gave."""
        history = cls()
        history._columns = {**columns, "epoch": columns["epoch"].astype(np.int64)}
        history._steps = np.asarray(steps, np.float64)
        history.n_steps = steps.shape[1]
        return history


def _plain(columns: Mapping) -> dict[str, list]:
    return {k: [v if math.isfinite(v) else None for v in values] for k, values in columns.items()}


def _written(text: str, path) -> str | None:
    if path is None:
        return text
    Path(path).write_text(text, encoding="utf-8")
    return None
