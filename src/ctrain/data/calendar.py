"""Calendars: which time stamp follows which, as plain arithmetic on arrays of stamps.

Stamps are int64 or datetime64 arrays; with a time zone they are instants in UTC, and steps of a
day and longer count on the clock of that zone.
"""

from __future__ import annotations

import datetime
import numbers
import re
import zoneinfo

import numpy as np

WEEKDAYS = ("MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN")
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")

#: steps of a fixed length, by their numpy unit
FIXED = {"ns": "ns", "us": "us", "ms": "ms", "s": "s", "min": "m", "h": "h", "D": "D"}
NANOSECONDS = {
    "ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "min": 60 * 10**9, "h": 3600 * 10**9,
    "D": 86400 * 10**9,
}  # fmt: skip

#: steps of whole months: how many, the default anchor, counted from the month's start or its end
MONTHLY = {
    "MS": (1, None, False), "QS": (3, "JAN", False), "YS": (12, "JAN", False),
    "ME": (1, None, True), "QE": (3, "DEC", True), "YE": (12, "DEC", True),
}  # fmt: skip

#: what older versions of pandas and polars call them
OTHER_NAMES = {
    "H": "h", "T": "min", "S": "s", "L": "ms", "U": "us", "N": "ns", "d": "D",
    "M": "ME", "Q": "QE", "A": "YE", "Y": "YE", "AS": "YS",
}  # fmt: skip
POLARS_MONTHS = {"mo": 1, "q": 3, "y": 12}

ALIASES = (
    "'ns', 'us', 'ms', 's', 'min', 'h', 'D', 'B', 'W', 'W-MON', 'MS', 'ME', 'QS', 'QE', 'YS', 'YE'"
)
EPOCH_WEEKDAY = 3  # 1970-01-01 was a Thursday
SAMPLE = 10_000  # differences that inference looks at


class Calendar:
    """Time stamps at a frequency.

    Parameters
    ----------
    freq : str or int
        A pandas alias with an optional multiple and anchor: ``"15min"``, ``"h"``, ``"D"``,
        ``"B"`` (Monday to Friday), ``"W"`` (Sundays), ``"W-MON"``, ``"MS"`` and ``"ME"`` (first
        and last day of the month), ``"QS"``, ``"QE"``, ``"YS"``, ``"YE"`` (``"QS-FEB"`` ...), a
        polars one (``"1h"``, ``"1d"``, ``"1w"``, ``"1mo"``, ``"1q"``, ``"1y"``, which keep weekday
        or day of the month), or an int for stamps that are integers.
    zone : str, default=None
        IANA name of the time zone, such as ``"Europe/Berlin"``, or ``"+01:00"``; None for stamps
        without one.

    Attributes
    ----------
    freq : str or int
        The frequency in pandas' present spelling.
    zone : str or None

    Raises
    ------
    ValueError
        A frequency or a time zone that does not exist.

    Examples
    --------
    >>> import numpy as np
    >>> Calendar("ME").range(np.datetime64("2024-01-31"), 3)
    array(['2024-01-31', '2024-02-29', '2024-03-31'], dtype='datetime64[D]')
    >>> Calendar(5).range(100, 3)
    array([100, 105, 110])
    >>> Calendar("M").freq
    'ME'
    """

    def __init__(self, freq, zone: str | None = None) -> None:
        self._zone = None if zone in (None, "UTC") else _zone(zone)
        self.zone = zone
        self._anchor = None
        self._n, self._kind, self.freq = self._parse(freq)

    def __repr__(self) -> str:
        return f"Calendar({self.freq!r}" + (f", zone={self.zone!r})" if self.zone else ")")

    def __eq__(self, other) -> bool:
        return isinstance(other, Calendar) and (self.freq, self.zone) == (other.freq, other.zone)

    def __hash__(self) -> int:
        return hash((self.freq, self.zone))

    def _parse(self, freq) -> tuple[int, str, object]:
        if isinstance(freq, numbers.Integral) and not isinstance(freq, bool):
            if freq < 1:
                raise ValueError(f"freq must be an integer of at least 1; got {freq}")
            return int(freq), "integer", int(freq)
        match = re.fullmatch(r"(\d*)([A-Za-z]+)(?:-([A-Za-z]{3}))?", str(freq))
        if not isinstance(freq, str) or not match or (match[1] and int(match[1]) < 1):
            raise ValueError(f"freq must be one of {ALIASES}, or an integer; got {freq!r}")
        n, name = int(match[1] or 1), OTHER_NAMES.get(match[2], match[2])
        anchor, times = match[3] and match[3].upper(), str(n) if n > 1 else ""
        if name == "m":
            raise ValueError(
                f"freq {freq!r}: 'm' is minutes in polars and months in older pandas; write "
                f"'{times}min' or '{times}MS'"
            )
        if name == "W" or (name in MONTHLY and MONTHLY[name][1]):
            names = WEEKDAYS if name == "W" else MONTHS
            anchor = anchor or ("SUN" if name == "W" else MONTHLY[name][1])
            if anchor not in names:
                raise ValueError(f"freq {freq!r}: the anchor must be one of {', '.join(names)}")
            self._anchor = names.index(anchor)
            spelled = f"{times}{name}-{anchor}"
            return (7 * n, "D", spelled) if name == "W" else (*self._months(n, name), spelled)
        if anchor:
            raise ValueError(f"freq {freq!r}: {name!r} takes no anchor; write '{times}{name}'")
        if name in FIXED:
            return n, name, f"{times}{name}"
        if name in MONTHLY:
            return (*self._months(n, name), f"{times}{name}")
        if name == "B":
            return n, "business", f"{times}B"
        if name == "w":
            return 7 * n, "D", f"{7 * n}D"
        if name in POLARS_MONTHS:
            n *= POLARS_MONTHS[name]
            return n, "day of month", f"{n}mo"
        raise ValueError(f"freq must be one of {ALIASES}, or an integer; got {freq!r}")

    @staticmethod
    def _months(n: int, name: str) -> tuple[int, str]:
        months, _, end = MONTHLY[name]
        return n * months, "month end" if end else "month"

    @property
    def is_integer(self) -> bool:
        """Whether stamps are integers."""
        return self._kind == "integer"

    @property
    def needs_time(self) -> bool:
        """Whether a step is shorter than a day, so that dates alone cannot hold the stamps."""
        return self._kind in FIXED and self._kind != "D"

    @property
    def period(self):
        """An int or timedelta64 if every step is equally long, else None."""
        if self._kind == "integer":
            return self._n
        even = self.needs_time or (self._kind == "D" and self._zone is None)
        return np.timedelta64(self._n, FIXED[self._kind]) if even else None

    def shift(self, stamps, steps) -> np.ndarray:
        """Stamps so many steps later.

        Parameters
        ----------
        stamps : array of int64 or datetime64
        steps : int or array of int
            May be negative; broadcast against `stamps`.

        Returns
        -------
        ndarray of the stamps' dtype

        Examples
        --------
        >>> import numpy as np
        >>> Calendar("B").shift(np.datetime64("2024-05-31"), [0, 1, 5])
        array(['2024-05-31', '2024-06-03', '2024-06-07'], dtype='datetime64[D]')
        """
        stamps, n = np.asarray(stamps), np.asarray(steps, np.int64) * self._n
        if self._kind == "integer":
            return np.asarray(stamps + n)
        if self.needs_time:
            return np.asarray(stamps + n * np.timedelta64(1, FIXED[self._kind]))
        wall = self.clock(stamps)
        origin, rest = self._origin(wall)
        if self._kind == "business":
            number = origin + n
            day = number // 5 * 7 + number % 5 - EPOCH_WEEKDAY
            later = day.astype("M8[D]").astype(wall.dtype)
        else:
            later = (origin + n).astype(wall.dtype)
        return np.asarray(self._instant(later + rest))

    def steps(self, start, stamps) -> tuple[np.ndarray, np.ndarray]:
        """Whole steps from `start` to each stamp, and whether the stamp lies on the grid.

        Examples
        --------
        >>> import numpy as np
        >>> stamps = np.array(["2024-01-01", "2024-03-01", "2024-03-02"], "M8[D]")
        >>> Calendar("MS").steps(stamps[0], stamps)
        (array([0, 2, 2]), array([ True,  True, False]))
        """
        start, stamps = np.asarray(start), np.asarray(stamps)
        if self._kind == "integer":
            n, rest = np.divmod(stamps - start, self._n)
            return np.asarray(n), np.asarray(rest == 0)
        if self.needs_time:
            n, rest = np.divmod(stamps - start, np.timedelta64(self._n, FIXED[self._kind]))
            return np.asarray(n), np.asarray(rest == np.timedelta64(0))
        first, last = self._origin(self.clock(start))[0], self._origin(self.clock(stamps))[0]
        n = np.asarray((last - first).astype(np.int64) // self._n)
        return n, np.asarray(self.shift(start, n) == stamps)

    def range(self, start, periods: int) -> np.ndarray:
        """`periods` stamps from `start` on, which must lie on the calendar.

        Examples
        --------
        >>> import numpy as np
        >>> Calendar("W-MON").range(np.datetime64("2024-01-01"), 2)
        array(['2024-01-01', '2024-01-08'], dtype='datetime64[D]')
        """
        return self.shift(start, np.arange(periods))

    def holds(self, stamps) -> np.ndarray:
        """Whether a series at this frequency may have these stamps: weekday, first day ...

        Examples
        --------
        >>> import numpy as np
        >>> Calendar("QS").holds(np.array(["2024-01-01", "2024-02-01", "2024-04-02"], "M8[D]"))
        array([ True, False, False])
        """
        stamps = np.asarray(stamps)
        ok = np.ones(stamps.shape, bool)
        if self._kind == "integer" or self.needs_time:
            return ok
        wall = self.clock(stamps)
        days = wall.astype("M8[D]")
        if self._kind == "D" and self._anchor is not None:
            ok = weekday(days) == self._anchor
        elif self._kind == "business":
            ok = weekday(days) < 5
        elif self._kind == "day of month":
            ok = days - days.astype("M8[M]") < np.timedelta64(28, "D")
        elif self._kind in ("month", "month end"):
            day = days + np.timedelta64(int(self._kind == "month end"), "D")
            month = day.astype("M8[M]")
            ok = day == month
            if self._anchor is not None:
                every = 12 if "Y" in self.freq.partition("-")[0] else 3
                ends = int(self._kind == "month end")
                ok &= (month.astype(np.int64) - ends - self._anchor) % every == 0
        return np.asarray(ok)

    def _origin(self, wall: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What steps are counted in (days, business days, months), and the time since then."""
        if self._kind == "D":
            day = wall.astype("M8[D]")
        elif self._kind == "business":
            day = wall.astype("M8[D]")
            number = day.astype(np.int64) + EPOCH_WEEKDAY
            return number // 7 * 5 + np.minimum(number % 7, 4), wall - day
        elif self._kind == "month end":
            day = wall.astype("M8[M]") + np.timedelta64(1, "M")  # the rest is negative
        else:
            day = wall.astype("M8[M]")
        return day, wall - day.astype(wall.dtype)

    def clock(self, instants: np.ndarray) -> np.ndarray:
        """What the zone's clock shows at instants in UTC."""
        if self._zone is None:
            return instants
        quarters, inverse = _unique(instants.astype("M8[s]").astype(np.int64) // 900)
        offsets = [
            datetime.datetime.fromtimestamp(900 * int(quarter), self._zone).utcoffset()
            for quarter in quarters
        ]
        seconds = np.array([offset.total_seconds() for offset in offsets], np.int64)
        return _seconds_later(instants, seconds[inverse])

    def _instant(self, wall: np.ndarray) -> np.ndarray:
        """When the clock of the zone shows `wall`; the first time, if it does so twice."""
        if self._zone is None:
            return wall
        quarters, inverse = _unique(wall.astype("M8[s]").astype(np.int64) // 900)
        epoch = datetime.datetime(1970, 1, 1)
        moments = [epoch + datetime.timedelta(seconds=900 * int(quarter)) for quarter in quarters]
        seconds = np.array(
            [moment.replace(tzinfo=self._zone).utcoffset().total_seconds() for moment in moments],
            np.int64,
        )
        return _seconds_later(wall, -seconds[inverse])

    @classmethod
    def infer(cls, stamps, offsets=None, zone: str | None = None) -> Calendar:
        """The calendar of sorted stamps: what most of their differences say.

        Parameters
        ----------
        stamps : ndarray of shape (n_rows,)
            int64 or datetime64, ascending within each series.
        offsets : ndarray of shape (n_series + 1,), default=None
            First row of each series; None for one series.
        zone : str, default=None

        Raises
        ------
        ValueError
            No series with two rows, or differences that follow no calendar.

        Examples
        --------
        >>> import numpy as np
        >>> Calendar.infer(np.array(["2024-03-31", "2024-06-30", "2024-09-30"], "M8[D]")).freq
        'QE-DEC'
        >>> Calendar.infer(np.array([10, 12, 14, 18])).freq
        2
        """
        stamps = np.asarray(stamps)
        first = _first_rows_of_pairs(len(stamps), offsets)
        first = first[:: max(1, -(-len(first) // SAMPLE))]
        if not len(first):
            raise ValueError("freq cannot be inferred: no series has two rows; pass freq=")
        a, b = stamps[first], stamps[first + 1]
        if stamps.dtype.kind == "i":
            return cls(_usual((b - a).astype(np.int64), "integers"))
        days = cls("D", zone)
        wall_a, wall_b = days.clock(a), days.clock(b)
        if np.median((wall_b - wall_a) / np.timedelta64(1, "D")) >= 1:
            found = _infer_days(wall_a, wall_b)
            if found is not None:
                return cls(found, zone)
        return cls(_fixed(_usual(_nanoseconds(b - a), "time stamps")), zone)


def text(stamp, zone: str | None = None) -> str:
    """A stamp as messages show it.

    Examples
    --------
    >>> import numpy as np
    >>> text(np.datetime64("2024-05-01T00:00:00.000")), text(np.datetime64("2024-05-01T12:30"))
    ('2024-05-01', '2024-05-01 12:30:00')
    """
    stamp = np.asarray(stamp)
    if stamp.dtype.kind != "M":
        return str(stamp)
    day = stamp.astype("M8[D]")
    if zone is None and (stamp == day or np.isnat(stamp)):
        return str(day)
    second = stamp.astype("M8[s]")
    words = str(second if second == stamp else stamp).replace("T", " ")
    return words + (" UTC" if zone else "")


def weekday(days: np.ndarray) -> np.ndarray:
    """Day of the week of dates: Monday is 0."""
    return (days.astype("M8[D]").astype(np.int64) + EPOCH_WEEKDAY) % 7


def _zone(name: str) -> datetime.tzinfo:
    match = re.fullmatch(r"(?:UTC)?([+-])(\d\d):(\d\d)", name)
    if match:
        minutes = 60 * int(match[2]) + int(match[3])
        return datetime.timezone(datetime.timedelta(minutes=int(f"{match[1]}{minutes}")))
    try:
        return zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(
            f"time zone {name!r} is not known here; give an IANA name such as 'Europe/Berlin', "
            "or install tzdata"
        ) from error


def _unique(numbers_: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, inverse = np.unique(numbers_, return_inverse=True)
    return values, inverse.reshape(numbers_.shape)


def _seconds_later(stamps: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    later = stamps + seconds.astype("m8[s]")
    return later if stamps.dtype == "M8[D]" else later.astype(stamps.dtype)


def _first_rows_of_pairs(n_rows: int, offsets) -> np.ndarray:
    """Rows that have a successor in their own series."""
    has = np.ones(max(0, n_rows), bool)
    ends = np.array([n_rows]) if offsets is None else np.asarray(offsets)[1:]
    has[ends[ends > 0] - 1] = False
    return np.flatnonzero(has)


def _nanoseconds(differences: np.ndarray) -> np.ndarray:
    return differences.astype("m8[ns]").astype(np.int64)


def _usual(differences: np.ndarray, what: str) -> int:
    values, counts = np.unique(differences, return_counts=True)
    best = int(np.argmax(counts))
    if 2 * counts[best] < counts.sum():
        shown = values[np.argsort(-counts, kind="stable")[:3]]
        words = [str(v) if what == "integers" else _fixed(int(v)) for v in shown]
        raise ValueError(
            f"freq cannot be inferred: steps between {what} vary ({', '.join(words)} ...); pass "
            "freq=, or resample the data to a regular grid"
        )
    return int(values[best])


def _fixed(nanoseconds: int) -> str:
    for name in reversed(NANOSECONDS):
        n, rest = divmod(nanoseconds, NANOSECONDS[name])
        if not rest and n:
            return f"{n}{name}" if n > 1 else name
    return "0ns"


def _infer_days(a: np.ndarray, b: np.ndarray) -> str | None:
    """The frequency of steps of a day and more, on the clock of the zone; None for a fixed one."""
    both = np.concatenate([a, b])
    days = both.astype("M8[D]")
    steps = (b.astype("M8[D]") - a.astype("M8[D]")).astype(np.int64)
    if np.any(both - days != (both - days)[0]):
        return None
    months = both.astype("M8[M]")
    of_month = (days - months.astype("M8[D]")).astype(np.int64)
    end = np.all((days + np.timedelta64(1, "D")).astype("M8[M]") == months + np.timedelta64(1, "M"))
    if np.median(steps) >= 28 and (end or (np.all(of_month == of_month[0]) and of_month[0] < 28)):
        n = _usual((b.astype("M8[M]") - a.astype("M8[M]")).astype(np.int64), "integers")
        if not end and of_month[0]:
            return f"{n}mo"
        letter, phases = "E" if end else "S", months.astype(np.int64)
        for every, name in ((12, "Y"), (3, "Q")):
            if n % every == 0 and np.all((phases - phases[0]) % every == 0):
                # pandas' anchors: a quarter's last month for ends, its first for starts
                anchor = int(phases[0]) % 12
                if every == 3:
                    anchor = 9 + anchor % 3 if end else anchor % 3
                return f"{n // every if n > every else ''}{name}{letter}-{MONTHS[anchor]}"
        return f"{n if n > 1 else ''}M{letter}"
    usual = _usual(steps * NANOSECONDS["D"], "time stamps") // NANOSECONDS["D"]
    which = weekday(days)
    if usual == 1 and which.max() < 5 and np.any((steps == 3) & (weekday(a) == 4)):
        return "B"
    if usual % 7 == 0 and np.all(which == which[0]):
        return f"{usual // 7 if usual > 7 else ''}W-{WEEKDAYS[which[0]]}"
    return _fixed(usual * NANOSECONDS["D"])
