"""Calendars: the same stamps as pandas.date_range, and what inference makes of data."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from ctrain.data import Calendar
from ctrain.data.calendar import MONTHS, WEEKDAYS, text

FIXED = ["ns", "us", "ms", "s", "min", "h", "D", "7D", "15min", "30s", "2h", "36h", "10D"]
ANCHORED = [
    "B", "2B", "7B", "W", "2W", *(f"W-{day}" for day in WEEKDAYS), "MS", "ME", "2MS", "5ME",
    "QS", "QE", "2QE", "YS", "YE", "3YS",
    *(f"{name}-{month}" for name in ("QS", "QE", "YS", "YE") for month in MONTHS),
]  # fmt: skip
STARTS = ["1899-12-25", "1968-02-28", "2000-02-29 07:30:15", "2023-12-31", "2024-01-31 23:59:59.5"]


def stamps(freq: str, start: str, n: int) -> np.ndarray:
    return pd.date_range(start, periods=n, freq=freq, unit="ns").to_numpy()


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("freq", FIXED + ANCHORED)
def test_stamps_are_those_of_pandas(freq, start):
    expected = stamps(freq, start, 60)
    calendar = Calendar(freq)
    assert_array_equal(calendar.range(expected[0], 60), expected)
    assert_array_equal(calendar.shift(expected[-1], -np.arange(60)[::-1]), expected)
    assert calendar.range(expected[0], 60).dtype == expected.dtype
    n, on = calendar.steps(expected[7], expected)
    assert_array_equal(n, np.arange(60) - 7)
    assert on.all() and calendar.holds(expected).all()


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns", "D"])
def test_units_are_kept(unit):
    for freq in ("D", "B", "W", "MS", "ME", "QE", "YS", "1mo"):
        start = stamps(freq if freq != "1mo" else "MS", "2023-05-01", 1).astype(f"M8[{unit}]")
        assert Calendar(freq).range(start[0], 3).dtype == start.dtype


@pytest.mark.parametrize("freq", ANCHORED)
def test_a_calendar_holds_what_pandas_puts_on_it(freq):
    days = pd.date_range("1996-01-01", "2001-12-31", freq="D", unit="s")
    anchor = freq.lstrip("0123456789")  # a multiple may start anywhere on the calendar
    expected = days.isin(pd.date_range(days[0], days[-1], freq=anchor, unit="s"))
    assert_array_equal(Calendar(freq).holds(days.to_numpy()), expected)


@pytest.mark.parametrize(
    "old, new",
    [("M", "ME"), ("Q", "QE-DEC"), ("A", "YE-DEC"), ("Y", "YE-DEC"), ("AS", "YS-JAN"),
     ("H", "h"), ("4H", "4h"), ("T", "min"), ("5T", "5min"), ("S", "s"), ("d", "D"), ("1d", "D"),
     ("W", "W-SUN"), ("2W", "2W-SUN"), ("1w", "7D"), ("1mo", "1mo"), ("1q", "3mo"), ("1y", "12mo"),
     ("QS", "QS-JAN"), ("w-mon".upper(), "W-MON"), ("YE-jun", "YE-JUN"), (3, 3), (np.int64(2), 2)],
)  # fmt: skip
def test_spelling(old, new):
    assert Calendar(old).freq == new
    assert Calendar(new) == Calendar(old) and hash(Calendar(new)) == hash(Calendar(old))
    assert repr(Calendar(old)) == f"Calendar({new!r})"


@pytest.mark.parametrize(
    "freq, message",
    [("fortnight", "freq must be one of 'ns'"), ("0D", "freq must be one of"), (0, "at least 1"),
     (-3, "at least 1; got -3"), (True, "freq must be one of"), (1.5, "got 1.5"), (None, "None"),
     ("", "got ''"), ("W-XXX", "anchor must be one of MON, TUE"), ("QS-MON", "one of JAN"),
     ("D-MON", "'D' takes no anchor; write 'D'"), ("5m", "write '5min' or '5MS'"),
     ("MS-JAN", "'MS' takes no anchor")],
)  # fmt: skip
def test_frequencies_that_do_not_exist(freq, message):
    with pytest.raises(ValueError, match=message):
        Calendar(freq)


def test_integers():
    calendar = Calendar(4)
    assert_array_equal(calendar.range(-6, 4), [-6, -2, 2, 6])
    n, on = calendar.steps(10, np.array([10, 11, 18, 2]))
    assert_array_equal(n[on], [0, 2, -2])
    assert_array_equal(on, [True, False, True, True])
    assert calendar.is_integer and not Calendar("D").is_integer


def test_stamps_between_the_grid():
    n, on = Calendar("h").steps(
        np.datetime64("2024-01-01T00:30"), np.array(["2024-01-01T02:30", "2024-01-01T03:00"], "M8")
    )
    assert (n[0], *on) == (2, True, False)
    for freq, stamp in (("ME", "2024-02-28"), ("B", "2024-06-01"), ("W", "2024-06-01")):
        start = Calendar(freq)
        first = {"ME": "2024-01-31", "B": "2024-05-31", "W": "2024-05-26"}[freq]
        assert not start.steps(np.datetime64(first), np.datetime64(stamp))[1]
        assert not start.holds(np.datetime64(stamp))


def test_a_weekend_belongs_to_the_steps_before():
    days = np.datetime64("2024-05-31") + np.arange(4)  # Friday to Monday
    n, on = Calendar("B").steps(days[0], days)
    assert_array_equal(n, [0, 0, 0, 1])
    assert_array_equal(on, [True, False, False, True])


def test_polars_months_keep_the_day():
    calendar = Calendar("1mo")
    expected = np.array(["2023-12-28T06", "2024-01-28T06", "2024-02-28T06"], "M8[s]")
    assert_array_equal(calendar.range(expected[0], 3), expected)
    assert_array_equal(
        calendar.holds(np.array(["2024-01-28", "2024-01-29"], "M8[D]")), [True, False]
    )


ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "UTC"]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("freq", ["30min", "h", "D", "B", "W-MON", "MS", "ME", "QE", "YS"])
def test_zones_count_as_pandas_does(zone, freq):
    """A year with both changes of the clock; days and longer keep the hour that it shows."""
    n = {"30min": 20_000, "h": 9000}.get(freq, 14)
    n = 300 if freq in ("D", "B") else n
    expected = pd.date_range("2023-12-31 05:00", periods=n, freq=freq, tz=zone, unit="us")
    instants = expected.tz_convert("UTC").tz_localize(None).to_numpy()
    calendar = Calendar(freq, zone)
    assert_array_equal(calendar.range(instants[0], n), instants)
    steps, on = calendar.steps(instants[0], instants)
    assert_array_equal(steps, np.arange(n))
    assert on.all() and calendar.holds(instants).all()
    assert Calendar.infer(instants, zone=zone) == calendar


def test_offsets_and_unknown_zones():
    stamp = np.datetime64("2024-05-31T23:30", "s")  # the first of June where clocks are ahead
    assert Calendar("MS", "+01:00").holds(stamp) and Calendar("MS", "UTC+05:30").holds(stamp)
    assert not Calendar("MS", "-03:00").holds(stamp)
    with pytest.raises(ValueError, match="time zone 'Europe/Atlantis' is not known"):
        Calendar("D", "Europe/Atlantis")


INFERRED = sorted({*FIXED, *ANCHORED} - {"7D", "2B", "7B"})


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("freq", INFERRED)
def test_inference_finds_the_frequency(freq, start):
    """Or another name of the same stamps, such as 3MS for quarters."""
    given = stamps(freq, start, 40)
    found = Calendar.infer(given)
    assert_array_equal(found.range(given[0], 80), Calendar(freq).range(given[0], 80))
    if not freq.startswith(("Q", "2Q", "Y", "3Y")):
        assert found == Calendar(freq)


@pytest.mark.parametrize("freq", ["h", "D", "B", "W-SUN", "MS", "ME", "QS-JAN", "YE-DEC"])
def test_inference_with_gaps_and_series_of_one_row(freq):
    given = stamps(freq, "2021-03-01", 60)
    rng = np.random.default_rng(0)
    keep = np.sort(rng.choice(60, 50, replace=False))
    parts = [given[:1], given[keep], given[5:30], given[-1:]]
    offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
    assert Calendar.infer(np.concatenate(parts), offsets).freq == freq


def test_inference_of_integers_and_days_of_the_month():
    assert Calendar.infer(np.array([5, 10, 15, 30, 35])).freq == 5
    given = np.array(["2024-01-15", "2024-02-15", "2024-03-15"], "M8[D]")
    assert Calendar.infer(given).freq == "1mo"
    assert Calendar.infer(given[:2]).freq == "1mo"
    assert Calendar.infer(np.array(["2024-01-31", "2024-02-29"], "M8[D]")).freq == "ME"


def test_inference_looks_at_a_part_of_long_data():
    given = np.datetime64("2000-01-01", "s") + np.arange(400_000) * np.timedelta64(15, "m")
    assert Calendar.infer(given).freq == "15min"


def test_inference_gives_up():
    with pytest.raises(ValueError, match="no series has two rows; pass freq="):
        Calendar.infer(np.array([1, 2, 3]), np.array([0, 1, 2, 3]))
    with pytest.raises(ValueError, match=r"steps between integers vary \(1, 2, 4"):
        Calendar.infer(np.array([1, 2, 4, 8, 16]))
    days = np.array(["2024-01-01", "2024-01-03", "2024-01-04", "2024-01-08", "2024-01-14"], "M8[D]")
    with pytest.raises(ValueError, match=r"time stamps vary \(D, 2D, 4D"):
        Calendar.infer(days)


def test_text():
    assert text(np.int64(5)) == "5"
    assert text(np.datetime64("2024-01-01T00:00", "ns")) == "2024-01-01"
    assert text(np.datetime64("2024-01-01T10:00", "ns")) == "2024-01-01 10:00:00"
    assert text(np.datetime64("2024-01-01T10:00:00.5", "ms")) == "2024-01-01 10:00:00.500"
    assert text(np.datetime64("2024-01-01", "us"), "Europe/Rome") == "2024-01-01 00:00:00 UTC"
