"""Gaps: rows that a calendar asks for and the data lack, and targets that are NaN."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from .calendar import Calendar, text, weekday
from .frames import AVAILABLE, Schema
from .series import Panel

#: what a missing target may be: not counted, the value before it, zero
FILLS = ("mask", "forward", "zero")


def place_on_calendar(times, offsets, ids, calendar: Calendar, schema: Schema):
    """New row number of each row and new offsets, or (None, offsets) if there are no gaps."""
    freq, zone = calendar.freq, calendar.zone
    if calendar.is_integer != (times.dtype.kind == "i"):
        held = "integers" if times.dtype.kind == "i" else "time stamps"
        wants = "an integer" if times.dtype.kind == "i" else "an alias such as 'D'"
        raise ValueError(
            f"column {schema.time_col!r} holds {held}: freq must be {wants}; got {freq!r}"
        )
    if calendar.needs_time and times.dtype == "M8[D]":
        raise ValueError(
            f"column {schema.time_col!r} holds dates, too coarse for freq {freq!r}; convert it to "
            "datetimes"
        )
    start = times[offsets[:-1]]
    held = calendar.holds(start)
    if not held.all():
        _refuse_off_grid(ids, int(np.argmin(held)), start[int(np.argmin(held))], calendar, None)
    if calendar.period is not None:
        even = np.diff(times) == calendar.period
        even[offsets[1:-1] - 1] = True
        if even.all():
            return None, offsets
    lengths = np.diff(offsets)
    series = np.repeat(np.arange(len(ids)), lengths)
    steps, on = calendar.steps(start[series], times)
    if not on.all():
        row = int(np.argmin(on))
        _refuse_off_grid(ids, int(series[row]), times[row], calendar, start[series[row]])
    places = np.arange(len(times)) - offsets[series]
    if np.array_equal(steps, places):
        return None, offsets
    if schema.fill_gaps is None:
        row = int(np.argmax(steps != places))
        absent = calendar.shift(times[row - 1], 1)
        spans = steps[offsets[1:] - 1] + 1
        raise ValueError(
            f"series {ids[series[row]].item()!r} has no row at {text(absent, zone)} "
            f"({int((spans - lengths).sum())} rows of {int((spans > lengths).sum())} series are "
            f"missing at freq {freq!r}). Add such rows, or say what they are: fill_gaps='mask', "
            "'forward' or 'zero'"
        )
    new = np.concatenate([[0], np.cumsum(steps[offsets[1:] - 1] + 1)])
    return new[series] + steps, new


def _refuse_off_grid(ids, series: int, stamp, calendar: Calendar, start) -> None:
    shown = text(stamp, calendar.zone)
    if np.asarray(stamp).dtype.kind == "M":
        day = calendar.clock(np.asarray(stamp))
        shown += (
            f", a {('Mon', 'Tues', 'Wednes', 'Thurs', 'Fri', 'Satur', 'Sun')[weekday(day)]}day,"
        )
    since = "" if start is None else f" counted from its first, {text(start, calendar.zone)}"
    raise ValueError(
        f"series {ids[series].item()!r}: {shown} is not a stamp of freq {calendar.freq!r}{since}. "
        "Pass the freq= that the data have, or move its stamps to the calendar"
    )


def with_gaps(panel: Panel, at: np.ndarray, offsets: np.ndarray) -> Panel:
    """The panel with rows put in where stamps were missing: NaN, as far as they are available."""
    n_rows = offsets[-1]
    y = np.full(n_rows, np.nan, panel.y.dtype)
    mask = np.ones(n_rows, bool)
    y[at], mask[at] = panel.y, panel.mask
    given = np.zeros(n_rows, bool)
    given[at] = True
    old = np.cumsum(given) - 1  # the row itself, or the last one before it
    return replace(
        panel, y=y, mask=mask, future=panel.future[old], past=panel.past[old], offsets=offsets
    )


def fill_missing(panel: Panel, at) -> Panel:
    """The panel with y 0 where it does not count, and NaN dealt with as the schema says."""
    y, mask, schema = panel.y, panel.mask, panel.schema
    if not mask.all():
        y[~mask] = 0.0
    if all_finite(y):
        return panel
    infinite = np.isinf(y)
    if infinite.any():
        row = int(np.argmax(infinite))
        raise ValueError(
            f"{schema.target_col!r} of {panel.place(row)} is {y[row]}; it must be finite. Correct "
            f"it, or mark it by 0 in a column {AVAILABLE!r}"
        )
    empty = np.isnan(y)
    inserted = np.zeros(len(y), bool)
    if at is not None:
        inserted[:] = True
        inserted[at] = False
    missing = empty & ~inserted
    if missing.any() and schema.missing is None:
        row = int(np.argmax(missing))
        raise ValueError(
            f"{schema.target_col!r} of {panel.place(row)} is NaN ({int(missing.sum())} rows are). "
            f"Fill it, mark it by 0 in a column {AVAILABLE!r}, or say what it is: "
            "missing='mask', 'forward' or 'zero'"
        )
    forward = np.zeros(len(y), bool)
    for rows, policy in ((missing, schema.missing), (inserted & empty, schema.fill_gaps)):
        if policy == "zero":
            y[rows] = 0.0
        elif policy == "mask":
            y[rows], mask[rows] = 0.0, False
        elif policy == "forward":
            forward |= rows
    if forward.any():
        last = last_before(mask & ~forward, panel.offsets)
        rows = np.flatnonzero(forward)
        known = last[rows] >= 0
        y[rows] = np.where(known, y[last[rows]], 0.0)
        mask[rows] = known
    return panel


def all_finite(values: np.ndarray) -> bool:
    """Whether no value is NaN or infinite, mostly in one pass."""
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(np.sum(values)) or np.isfinite(values).all())


def last_before(good: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The last good row up to each row in its own series, or -1."""
    last = np.maximum.accumulate(np.where(good, np.arange(len(good)), -1))
    return np.where(last >= np.repeat(offsets[:-1], np.diff(offsets)), last, -1)
