"""A panel: all series laid out once, one after the other, in one array for each kind of value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np

from .calendar import Calendar, text
from .frames import Schema, build_frame


@dataclass(frozen=True, eq=False)
class Panel:
    """Series on one calendar, without gaps; made by `read_panel`.

    Rows of series i are ``offsets[i]:offsets[i + 1]``, one step apart, the first at ``start[i]``.

    Parameters
    ----------
    y : ndarray of shape (n_rows,)
        Targets, float32 or float64; 0 where they are not available.
    mask : bool ndarray of shape (n_rows,)
        Whether the target is available.
    future : ndarray of shape (n_rows, n_futr_exog)
        Covariates that are known in the future.
    past : ndarray of shape (n_rows, n_hist_exog)
        Covariates that are known in the past only.
    static : ndarray of shape (n_series, n_stat_exog)
        Covariates of a series.
    offsets : int64 ndarray of shape (n_series + 1,)
    ids : ndarray of shape (n_series,)
        Names of the series, ascending: text or int64.
    start : ndarray of shape (n_series,)
        First time stamps: int64 or datetime64, in UTC if the calendar has a zone.
    calendar : Calendar
    schema : Schema
        What the columns of the frame were.

    Examples
    --------
    >>> from ctrain.data import read_panel
    >>> import numpy as np
    >>> panel = read_panel({"unique_id": ["b", "a", "a"], "ds": [1, 2, 1], "y": [1.0, 3.0, 2.0]})
    >>> panel
    Panel(n_series=2, n_rows=3, freq=1)
    >>> panel.ids, panel.offsets, panel.y
    (array(['a', 'b'], dtype='<U1'), array([0, 2, 3]), array([2., 3., 1.]))
    """

    y: np.ndarray
    mask: np.ndarray
    future: np.ndarray
    past: np.ndarray
    static: np.ndarray
    offsets: np.ndarray
    ids: np.ndarray
    start: np.ndarray
    calendar: Calendar
    schema: Schema

    def __repr__(self) -> str:
        return f"Panel(n_series={self.n_series}, n_rows={self.n_rows}, freq={self.calendar.freq!r})"

    @property
    def n_series(self) -> int:
        """Number of series."""
        return len(self.ids)

    @property
    def n_rows(self) -> int:
        """Number of rows of all series."""
        return len(self.y)

    @property
    def lengths(self) -> np.ndarray:
        """Number of rows of each series, shape (n_series,)."""
        return np.diff(self.offsets)

    @property
    def end(self) -> np.ndarray:
        """Last time stamp of each series, shape (n_series,)."""
        return self.calendar.shift(self.start, self.lengths - 1)

    def series_of(self, rows) -> np.ndarray:
        """Index of the series that each row belongs to.

        Examples
        --------
        >>> import numpy as np
        >>> from ctrain.data import read_panel
        >>> read_panel(np.zeros((2, 5))).series_of([0, 4, 5])
        array([0, 0, 1])
        """
        return np.searchsorted(self.offsets, np.asarray(rows), side="right") - 1

    def stamps(self, rows=None) -> np.ndarray:
        """Time stamps of rows; None for all.

        Examples
        --------
        >>> from ctrain.data import read_panel
        >>> panel = read_panel({"unique_id": [7, 7], "ds": ["2024-01-01", "2024-02-01"],
        ...                     "y": [1.0, 2.0]})
        >>> panel.stamps()
        array(['2024-01-01', '2024-02-01'], dtype='datetime64[D]')
        """
        if rows is None:
            series = np.repeat(np.arange(self.n_series), self.lengths)
            rows = np.arange(self.n_rows)
        else:
            rows = np.asarray(rows)
            series = self.series_of(rows)
        return self.calendar.shift(self.start[series], rows - self.offsets[series])

    def between(self, begins, ends) -> Panel:
        """A copy of rows ``begins[i]:ends[i]`` of each series i.

        Parameters
        ----------
        begins, ends : array of int of shape (n_series,)
            Row numbers of this panel.

        Examples
        --------
        >>> import numpy as np
        >>> from ctrain.data import read_panel
        >>> part = read_panel(np.arange(10.0).reshape(2, 5)).between([1, 5], [3, 6])
        >>> part.y, part.offsets, part.start
        (array([1., 2., 5.]), array([0, 2, 3]), array([1, 0]))
        """
        begins, ends = np.asarray(begins), np.asarray(ends)
        lengths = ends - begins
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        rows = np.arange(offsets[-1]) + np.repeat(begins - offsets[:-1], lengths)
        return replace(
            self,
            y=self.y[rows],
            mask=self.mask[rows],
            future=self.future[rows],
            past=self.past[rows],
            offsets=offsets,
            start=self.calendar.shift(self.start, begins - self.offsets[:-1]),
        )

    def until(self, stops) -> Panel:
        """A copy of each series' rows before row ``stops[i]``.

        Examples
        --------
        >>> import numpy as np
        >>> from ctrain.data import read_panel
        >>> read_panel(np.arange(10.0).reshape(2, 5)).until([2, 6]).y
        array([0., 1., 5.])
        """
        return self.between(self.offsets[:-1], stops)

    def tail(self, n_rows: int) -> Panel:
        """A copy of each series' last `n_rows` rows, or of all it has.

        Examples
        --------
        >>> from ctrain.data import read_panel
        >>> import numpy as np
        >>> read_panel(np.arange(10.0)).tail(3).y
        array([7., 8., 9.])
        """
        ends = self.offsets[1:]
        return self.between(np.maximum(ends - n_rows, self.offsets[:-1]), ends)

    def select(self, series) -> Panel:
        """A copy of some series, by index or as a bool array.

        Examples
        --------
        >>> from ctrain.data import read_panel
        >>> import numpy as np
        >>> read_panel(np.arange(6.0).reshape(3, 2)).select([2, 0]).y
        array([4., 5., 0., 1.])
        """
        series = np.arange(self.n_series)[np.asarray(series)]
        chosen = replace(
            self,
            ids=self.ids[series],
            start=self.start[series],
            static=self.static[series],
            # a panel whose rows lie elsewhere, for one moment
            offsets=np.append(self.offsets[:-1][series], 0),
        )
        return chosen.between(self.offsets[:-1][series], self.offsets[1:][series])

    def aligned(self) -> Panel:
        """All series over one span, from the first stamp of any to the last of any.

        Where a series has no row, its target is not available.

        Returns
        -------
        Panel
            This one if all series begin and end together.

        Raises
        ------
        ValueError
            Series without a stamp in common or between each other's, or whose covariates would be
            missing.

        Examples
        --------
        >>> from ctrain.data import read_panel
        >>> panel = read_panel({"unique_id": ["a", "a", "b"], "ds": [1, 2, 2], "y": [1, 2, 3]})
        >>> panel.aligned().y, panel.aligned().mask
        (array([1., 2., 0., 3.]), array([ True,  True, False,  True]))
        """
        first = self.start.min()
        begins, on = self.calendar.steps(first, self.start)
        ends = begins + self.lengths
        span = int(ends.max())
        if not on.all():
            bad = int(np.argmin(on))
            raise ValueError(
                f"{self.place(int(self.offsets[bad]))} lies between the stamps of series "
                f"{self.name(int(np.argmax(begins == 0)))}; series that are forecast together "
                "need one calendar"
            )
        if int(begins.max()) >= int(ends.min()):
            late, early = int(np.argmax(begins)), int(np.argmin(ends))
            raise ValueError(
                f"series that are forecast together need a common span: {self.name(late)} begins "
                f"at {text(self.start[late], self.calendar.zone)}, {self.name(early)} ends at "
                f"{text(self.end[early], self.calendar.zone)}; leave one out"
            )
        if (self.lengths == span).all():
            return self
        if self.future.shape[1] or self.past.shape[1]:
            short = int(np.argmax(self.lengths < span))
            raise ValueError(
                f"series {self.name(short)} has {self.lengths[short]} of {span} rows, and series "
                "that are forecast together need their covariates at all of them: add the rows, "
                "with NaN targets and missing='mask', or leave the covariates out"
            )
        rows = np.arange(self.n_rows)
        series = self.series_of(rows)
        to = rows - self.offsets[series] + begins[series] + series * span
        n = self.n_series * span
        y, mask = np.zeros(n, self.y.dtype), np.zeros(n, bool)
        y[to], mask[to] = self.y, self.mask
        return replace(
            self, y=y, mask=mask, future=np.zeros((n, 0), self.future.dtype),
            past=np.zeros((n, 0), self.past.dtype), offsets=np.arange(self.n_series + 1) * span,
            start=np.full(self.n_series, first),
        )  # fmt: skip

    def check_length(self, minimum: int, reason: str, short: str = "error") -> Panel:
        """Refuse or leave out series with fewer rows than `minimum`.

        Parameters
        ----------
        minimum : int
        reason : str
            What needs so many rows, such as ``"input_size + horizon"``.
        short : {"error", "drop"}, default="error"

        Returns
        -------
        Panel
            This one if all series are long enough.

        Raises
        ------
        ValueError
            A short series, or none that is long enough.

        Examples
        --------
        >>> from ctrain.data import read_panel
        >>> panel = read_panel({"unique_id": ["a", "b", "b"], "ds": [1, 1, 2], "y": [1, 2, 3]})
        >>> panel.check_length(2, "input_size", short="drop").ids
        array(['b'], dtype='<U1')
        """
        if short not in ("error", "drop"):
            raise ValueError(f"short must be 'error' or 'drop'; got {short!r}")
        bad = self.lengths < minimum
        if not bad.any():
            return self
        if short == "error" or bad.all():
            first = int(np.argmax(bad))
            raise ValueError(
                f"series {self.name(first)} has {self.lengths[first]} rows; {reason} needs at "
                f"least {minimum} ({int(bad.sum())} of {self.n_series} series are too short). "
                "Leave such series out, or ask for less"
            )
        return self.select(~bad)

    def name(self, series: int) -> str:
        """The name of a series as messages show it."""
        return repr(self.ids[series].item())

    def place(self, row: int) -> str:
        """Series and time stamp of a row as messages show them."""
        stamp = text(self.stamps(np.array([row]))[0], self.calendar.zone)
        return f"series {self.name(int(self.series_of(row)))} at {stamp}"

    def find(self, ids: np.ndarray) -> np.ndarray:
        """Index of the series of each name; -1 for names that are not here.

        Examples
        --------
        >>> import numpy as np
        >>> from ctrain.data import read_panel
        >>> read_panel(np.zeros((3, 5))).find(np.array([2, 7]))
        array([ 2, -1])
        """
        if self.ids.dtype.kind != np.asarray(ids).dtype.kind:
            return np.full(len(ids), -1)
        order = np.argsort(self.ids, kind="stable")
        at = np.minimum(np.searchsorted(self.ids, ids, sorter=order), self.n_series - 1)
        return np.where(self.ids[order[at]] == ids, order[at], -1)

    def future_stamps(self, horizon: int) -> np.ndarray:
        """The `horizon` stamps after each series' last, shape (n_series, horizon).

        Examples
        --------
        >>> import numpy as np
        >>> from ctrain.data import read_panel
        >>> read_panel([np.zeros(5), np.zeros(7)]).future_stamps(2)
        array([[5, 6],
               [7, 8]])
        """
        return self.calendar.shift(self.end[:, None], np.arange(1, horizon + 1))

    def future_frame(self, horizon: int):
        """A frame like the one given with the time stamps to come, ready for `futr_exog`.

        Examples
        --------
        >>> from ctrain.data import read_panel
        >>> panel = read_panel({"unique_id": ["a"] * 2, "ds": ["2024-01-05", "2024-01-08"],
        ...                     "y": [1.0, 2.0]}, freq="B")
        >>> panel.future_frame(2)["ds"]
        array(['2024-01-09', '2024-01-10'], dtype='datetime64[D]')
        """
        return build_frame(self.schema, self._index(horizon), self.calendar.zone)

    def forecast_frame(self, columns: Mapping[str, np.ndarray]):
        """Forecasts from each series' end on, as a frame like the one given.

        Parameters
        ----------
        columns : mapping of str to array of shape (n_series, horizon)

        Returns
        -------
        frame
            Columns ``id_col``, ``time_col`` and those given. If the panel was made of plain
            arrays: the array itself, or a dict of arrays if there are several, without the series
            axis if there was none.

        Examples
        --------
        >>> from ctrain.data import read_panel
        >>> import numpy as np
        >>> read_panel(np.arange(10.0)).forecast_frame({"NLinear": np.array([[10.0, 11.0]])})
        array([10., 11.])
        """
        columns = {name: np.asarray(values) for name, values in columns.items()}
        if self.schema.kind == "array":
            flat = self.schema.id_col is None
            arrays = {name: values[0] if flat else values for name, values in columns.items()}
            return next(iter(arrays.values())) if len(arrays) == 1 else arrays
        horizon = next(iter(columns.values())).shape[1]
        values = {name: value.reshape(-1) for name, value in columns.items()}
        return build_frame(self.schema, self._index(horizon) | values, self.calendar.zone)

    def window_frame(self, rows, columns: Mapping[str, np.ndarray]):
        """Forecasts of windows inside the panel, with what came.

        Parameters
        ----------
        rows : array of int of shape (n_windows,)
            The first row that each window forecasts, not the first of its series.
        columns : mapping of str to array of shape (n_windows, horizon)

        Returns
        -------
        frame
            Columns ``id_col``, ``time_col``, ``cutoff`` (the last stamp that the forecast knew),
            those given, and ``target_col``, NaN where it is not available. A dict of arrays if
            the panel was made of plain arrays.

        Examples
        --------
        >>> from ctrain.data import read_panel
        >>> import numpy as np
        >>> panel = read_panel(np.arange(10.0))
        >>> panel.window_frame([8], {"NLinear": np.array([[8.5, 9.5]])})["cutoff"]
        array([7, 7])
        """
        rows = np.asarray(rows)
        columns = {name: np.asarray(values) for name, values in columns.items()}
        horizon = next(iter(columns.values())).shape[1]
        series = np.repeat(self.series_of(rows), horizon)
        each = (rows[:, None] + np.arange(horizon)).reshape(-1)
        inside = each < self.offsets[series + 1]
        each_y = np.where(inside, each, 0)
        start, begins = self.start[series], self.offsets[series]
        frame = self._ids(series)
        frame[self.schema.time_col] = self.calendar.shift(start, each - begins)
        before = np.repeat(rows - 1, horizon) - begins
        frame["cutoff"] = self.calendar.shift(start, before)
        frame |= {name: value.reshape(-1) for name, value in columns.items()}
        frame[self.schema.target_col] = np.where(
            inside & self.mask[each_y], self.y[each_y], np.array(np.nan, self.y.dtype)
        )
        return build_frame(self.schema, frame, self.calendar.zone)

    def _ids(self, series: np.ndarray) -> dict[str, np.ndarray]:
        name = self.schema.id_col
        return {} if name is None else {name: self.ids[series]}

    def _index(self, horizon: int) -> dict[str, np.ndarray]:
        series = np.repeat(np.arange(self.n_series), horizon)
        stamps = self.future_stamps(horizon).reshape(-1)
        return self._ids(series) | {self.schema.time_col: stamps}

    def to_state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Arrays and plain values (str, int, lists) that hold the panel, for a checkpoint.

        The library types of the frame's columns are left out.

        Examples
        --------
        >>> from ctrain.data import read_panel
        >>> import numpy as np
        >>> panel = read_panel(np.arange(10.0))
        >>> bool((Panel.from_state(*panel.to_state()).y == panel.y).all())
        True
        """
        names = ("y", "mask", "future", "past", "static", "offsets", "ids", "start")
        arrays = {name: getattr(self, name) for name in names}
        unit = str(self.start.dtype)
        arrays["start"] = self.start.astype(np.int64)
        schema = {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in asdict(replace(self.schema, id_dtype=None, time_dtype=None)).items()
        }
        calendar = {"freq": self.calendar.freq, "zone": self.calendar.zone}
        return arrays, {"schema": schema, "calendar": calendar, "stamps": unit}

    @classmethod
    def from_state(cls, arrays: Mapping[str, np.ndarray], plain: Mapping) -> Panel:
        """The panel that `to_state` took apart."""
        schema = Schema(
            **{
                name: tuple(value) if isinstance(value, list) else value
                for name, value in plain["schema"].items()
            }
        )
        start = np.asarray(arrays["start"]).astype(plain["stamps"])
        return cls(
            **{**arrays, "start": start}, calendar=Calendar(**plain["calendar"]), schema=schema
        )
