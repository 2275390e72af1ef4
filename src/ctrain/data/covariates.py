"""Covariates: complete in the past, given for the future, constant within a series."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .calendar import text
from .frames import Schema, open_frame
from .gaps import all_finite, last_before
from .series import Panel


def read_future(data, panel: Panel, horizon: int) -> np.ndarray:
    """Covariates of the time stamps to come.

    Parameters
    ----------
    data : frame
        With a row for each series and each of the `horizon` stamps after its last;
        ``panel.future_frame(horizon)`` makes its index. Other rows and series are not used.
    panel : Panel
    horizon : int

    Returns
    -------
    ndarray of shape (n_series, horizon, n_futr_exog)

    Raises
    ------
    ValueError
        A row that is missing or occurs twice, or a value that is not finite.

    Examples
    --------
    >>> from ctrain.data import Schema, read_panel
    >>> panel = read_panel({"unique_id": [1, 1], "ds": [1, 2], "y": [1, 2], "price": [5, 6]},
    ...                    Schema(futr_exog=("price",)))
    >>> read_future({"unique_id": [1, 1], "ds": [4, 3], "price": [8, 7]}, panel, 2)
    array([[[7.],
            [8.]]])
    """
    schema, calendar = panel.schema, panel.calendar
    names, named = schema.futr_exog, () if schema.id_col is None else (schema.id_col,)
    frame = open_frame(data, (*named, schema.time_col, *names))
    times, zone, _ = frame.stamps(schema.time_col)
    if calendar.is_integer != (times.dtype.kind == "i"):
        raise TypeError(
            f"column {schema.time_col!r} holds {times.dtype}, that of the series "
            f"{panel.start.dtype}"
        )
    if zone != calendar.zone:
        raise ValueError(
            f"column {schema.time_col!r} has time zone {zone}, that of the series "
            f"{calendar.zone}; convert it"
        )
    if named:
        keys = frame.keys(schema.id_col)
        lengths = np.diff(np.append(keys.starts, len(times)))
        series = np.repeat(panel.find(keys.values)[keys.codes], lengths)
    else:
        series = np.zeros(len(times), np.int64)
    rows = np.flatnonzero(series >= 0)
    steps, on = calendar.steps(panel.end[series[rows]], times[rows])
    wanted = (steps >= 1) & (steps <= horizon) & on
    rows, cells = rows[wanted], series[rows[wanted]] * horizon + steps[wanted] - 1
    count = np.bincount(cells, minlength=panel.n_series * horizon)
    bad = count != 1
    if bad.any():
        cell = int(np.argmax(bad))
        where = _future_place(panel, cell, horizon)
        raise ValueError(
            f"futr_exog: {where} has {count[cell]} rows ({int(bad.sum())} of "
            f"{panel.n_series * horizon} rows are missing or not unique); it needs one for each "
            f"series and each of the {horizon} stamps after its last"
        )
    block = np.empty((panel.n_series * horizon, len(names)), panel.future.dtype)
    for k, name in enumerate(names):
        block[cells, k] = frame.numbers(name, None)[rows]
        finite = np.isfinite(block[:, k])
        if not finite.all():
            cell = int(np.argmin(finite))
            raise ValueError(
                f"futr_exog {name!r} is {block[cell, k]} for "
                f"{_future_place(panel, cell, horizon)}; fill it in"
            )
    return block.reshape(panel.n_series, horizon, len(names))


def read_static(static, schema: Schema, ids: np.ndarray, dtype=None) -> np.ndarray:
    """Static covariates of some series, from a frame with a row for each.

    Returns
    -------
    ndarray of shape (n_series, n_stat_exog)

    Examples
    --------
    >>> import numpy as np
    >>> frame = {"unique_id": ["b", "a"], "area": [2.0, 1.0]}
    >>> read_static(frame, Schema(stat_exog=("area",)), np.array(["a", "b"]))
    array([[1.],
           [2.]])
    """
    names = schema.stat_exog
    if not names or schema.id_col is None:
        raise ValueError("static= needs id_col and stat_exog, the names of its columns to use")
    frame = open_frame(static, (schema.id_col, *names))
    keys = frame.keys(schema.id_col)
    columns = np.stack([frame.numbers(name, dtype) for name in names], axis=1)
    counts = np.bincount(np.repeat(keys.codes, np.diff(np.append(keys.starts, len(columns)))))
    if counts.size and counts.max() > 1:
        twice = keys.values[int(np.argmax(counts > 1))].item()
        raise ValueError(f"static: series {twice!r} has {counts.max()} rows; keep one")
    row_of = dict(zip(keys.values[keys.codes].tolist(), keys.starts.tolist(), strict=True))
    absent = [name for name in ids.tolist() if name not in row_of]
    if absent:
        raise ValueError(
            f"static: series {absent[0]!r} has no row ({len(absent)} of {len(ids)} series have "
            "none); add them, or leave such series out"
        )
    values = columns[[row_of[name] for name in ids.tolist()]]
    _refuse_not_finite(values, ids, names)
    return values


def complete(panel: Panel, names: Sequence[str], values: np.ndarray) -> None:
    """Covariates must be finite; where the target does not count, NaN repeats the row before."""
    if all_finite(values):
        return
    for k, name in enumerate(names):
        bad = ~np.isfinite(values[:, k])
        counted = bad & (panel.mask | np.isinf(values[:, k]))
        if counted.any():
            row = int(np.argmax(counted))
            raise ValueError(
                f"covariate {name!r} of {panel.place(row)} is {values[row, k]} "
                f"({int(counted.sum())} rows are not finite); fill it in"
            )
        last = last_before(~bad, panel.offsets)[bad]
        values[bad, k] = np.where(last >= 0, values[last, k], 0.0)


def constant(values: np.ndarray, offsets, ids, names: Sequence[str]) -> np.ndarray:
    """The value of each series, which must not change within it."""
    first = values[offsets[:-1]]
    _refuse_not_finite(first, ids, names)
    same = values == np.repeat(first, np.diff(offsets), axis=0)
    if not same.all():
        row, k = (int(i) for i in np.argwhere(~same)[0])
        series = int(np.searchsorted(offsets, row, side="right")) - 1
        raise ValueError(
            f"stat_exog {names[k]!r} of series {ids[series].item()!r} changes from "
            f"{first[series, k]} to {values[row, k]}; make it futr_exog or hist_exog"
        )
    return first


def _refuse_not_finite(values: np.ndarray, ids, names: Sequence[str]) -> None:
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        series, k = (int(i) for i in bad[0])
        raise ValueError(
            f"stat_exog {names[k]!r} of series {ids[series].item()!r} is {values[series, k]}; "
            "fill it in"
        )


def _future_place(panel: Panel, cell: int, horizon: int) -> str:
    series, step = divmod(cell, horizon)
    stamp = panel.calendar.shift(panel.end[series], step + 1)
    return f"series {panel.name(series)} at {text(stamp, panel.calendar.zone)}"
