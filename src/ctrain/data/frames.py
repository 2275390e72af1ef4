"""Frames in and out: columns of any data frame as arrays, and answers as a frame of that kind.

pandas is spoken to by its own methods, so it is never imported before the user has; whatever else
exports Arrow (polars, pyarrow, ...) and files are read by polars.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

#: a column of this name says which rows count: 1 or 0, True or False
AVAILABLE = "available_mask"


@dataclass(frozen=True)
class Schema:
    """What the columns of a frame mean, and which kind of frame it was.

    Parameters
    ----------
    id_col, time_col : str or None
        Column of the series' name (None: the frame is one series) and of the time stamp (None for
        plain arrays).
    target_col : str
    futr_exog, hist_exog, stat_exog : tuple of str
        Covariates known in the future, known only in the past, and constant within a series.
    fill_gaps, missing : {"mask", "forward", "zero"} or None
        What becomes of stamps that are missing, and of targets that are NaN; None is an error.
    kind : {"pandas", "polars", "arrow", "dict", "array"}
    id_dtype, time_dtype : object
        Column types of the frame that was given, in its library's terms.
    """

    id_col: str | None = "unique_id"
    time_col: str | None = "ds"
    target_col: str = "y"
    futr_exog: tuple[str, ...] = ()
    hist_exog: tuple[str, ...] = ()
    stat_exog: tuple[str, ...] = ()
    fill_gaps: str | None = None
    missing: str | None = None
    kind: str = "dict"
    id_dtype: object = None
    time_dtype: object = None


class Keys(NamedTuple):
    """A column of series names, as runs of equal ones.

    `values` are the different names, ascending; run i starts at row ``starts[i]`` and has the
    name ``values[codes[i]]``.
    """

    starts: np.ndarray
    codes: np.ndarray
    values: np.ndarray
    dtype: object


class Stamps(NamedTuple):
    """A column of time stamps: int64, or datetime64 in UTC if there is a `zone`."""

    values: np.ndarray
    zone: str | None
    dtype: object


def open_frame(data, wanted: Iterable[str], optional: Iterable[str] = ()):
    """Give access to the columns of a frame, a mapping of arrays or a file.

    Parameters
    ----------
    data : pandas or polars frame, any object that exports Arrow, mapping of arrays, or path
        A path ends in .csv, .csv.gz, .parquet or .pq, or is a folder of Parquet files, and is
        scanned lazily.
    wanted, optional : iterable of str
        Columns to read, which must exist or may; others are not touched.

    Returns
    -------
    PandasColumns, PolarsColumns or ArrayColumns

    Raises
    ------
    ValueError
        A column that does not exist.
    TypeError
        An object that is no frame.
    """
    wanted = tuple(dict.fromkeys(wanted))
    if isinstance(data, str | os.PathLike):
        return _open_file(Path(data), wanted, optional)
    library = type(data).__module__.partition(".")[0]
    if library == "pandas" and hasattr(data, "columns"):
        return PandasColumns(data, wanted, optional)
    if library == "polars" and hasattr(data, "lazy"):
        return PolarsColumns(data, wanted, optional, "polars")
    if isinstance(data, Mapping):
        return ArrayColumns(data, wanted, optional)
    if hasattr(data, "__arrow_c_stream__"):
        frame = _polars(f"a {library} frame").DataFrame(data)
        kind = "arrow" if library == "pyarrow" else "polars"
        return PolarsColumns(frame, wanted, optional, kind)
    raise TypeError(
        f"data must be a pandas or polars frame, an Arrow table, a dict of arrays, a path to CSV "
        f"or Parquet, or plain arrays; got {type(data).__name__}"
    )


class PandasColumns:
    """Columns of a pandas frame; a named index counts as a column."""

    kind = "pandas"

    def __init__(self, frame, wanted, optional) -> None:
        if set(frame.index.names) & {*wanted, *optional} - set(frame.columns):
            frame = frame.reset_index()
        self.frame, self.names, self.n_rows = frame, list(frame.columns), len(frame)
        _check_names(self.names, wanted, "frame")

    def keys(self, name: str) -> Keys:
        column = self.frame[name]
        codes, values = column.factorize()
        _refuse_rows(codes < 0, name, "empty", "drop such rows or name the series")
        starts = _run_starts(codes)
        return _ascending(starts, codes[starts], np.asarray(values, object), name, column.dtype)

    def stamps(self, name: str) -> Stamps:
        column = self.frame[name]
        if column.dtype.kind == "M":
            zone = column.dt.tz
            _refuse_rows(column.isna().to_numpy(), name, "empty", "drop such rows")
            values = column.to_numpy(dtype=f"M8[{column.dt.unit}]")
            return Stamps(values, None if zone is None else str(zone), column.dtype)
        return _as_stamps(column.to_numpy(), name, column.dtype)

    def numbers(self, name: str, dtype) -> np.ndarray:
        column = self.frame[name]
        if not isinstance(column.dtype, np.dtype) and column.dtype.kind in "fiub":
            single = str(column.dtype).lower() in ("float32", "float[pyarrow]")
            column = column.astype("float32" if single else "float64")
            return _as_numbers(column.to_numpy(na_value=np.nan), name, dtype)
        return _as_numbers(column.to_numpy(), name, dtype)


class PolarsColumns:
    """Columns of a polars frame; of a lazy one only those wanted are collected."""

    def __init__(self, frame, wanted, optional, kind: str, what: str = "frame") -> None:
        self.polars, self.kind = _polars(what), kind
        self.names = frame.collect_schema().names()
        _check_names(self.names, wanted, what)
        if hasattr(frame, "collect"):
            frame = frame.select([n for n in self.names if n in {*wanted, *optional}]).collect()
        self.frame, self.n_rows = frame, frame.height

    def keys(self, name: str) -> Keys:
        pl, column = self.polars, self.frame.get_column(name)
        dtype = column.dtype
        if column.null_count():
            _refuse_rows(column.is_null().to_numpy(), name, "empty", "drop such rows")
        if dtype.is_integer():
            return _array_keys(column.to_numpy(), name, dtype)
        if isinstance(dtype, pl.Categorical | pl.Enum):
            column = column.cast(pl.String)
        elif dtype != pl.String:
            raise TypeError(f"column {name!r} must hold text or integers; got {dtype}")
        changes = (column != column.shift(1)).fill_null(True).arg_true()
        runs = column.gather(changes)
        values = runs.unique().sort()
        codes = runs.cast(pl.Enum(values)).to_physical().to_numpy().astype(np.int64)
        starts = changes.to_numpy().astype(np.int64)
        return Keys(starts, codes, np.array(values.to_list(), dtype=str), dtype)

    def stamps(self, name: str) -> Stamps:
        pl, column = self.polars, self.frame.get_column(name)
        dtype = column.dtype
        if column.null_count():
            _refuse_rows(column.is_null().to_numpy(), name, "empty", "drop such rows")
        if isinstance(dtype, pl.Datetime):
            values = column.to_physical().to_numpy().view(f"M8[{dtype.time_unit}]")
            return Stamps(values, dtype.time_zone, dtype)
        if dtype == pl.Date:
            return Stamps(column.to_physical().to_numpy().astype("M8[D]"), None, dtype)
        return _as_stamps(column.to_numpy(), name, dtype)

    def numbers(self, name: str, dtype) -> np.ndarray:
        pl, column = self.polars, self.frame.get_column(name)
        if not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
            raise TypeError(_no_numbers(name, column.dtype))
        if column.dtype not in (pl.Float32, pl.Float64):
            column = column.cast(pl.Float64)
        return _as_numbers(column.to_numpy(), name, dtype)


class ArrayColumns:
    """Arrays or lists under names."""

    kind = "dict"

    def __init__(self, arrays: Mapping, wanted, optional) -> None:
        self.names = list(arrays)
        _check_names(self.names, wanted, "dict")
        chosen = [name for name in self.names if name in {*wanted, *optional}]
        self.arrays = {name: np.asarray(arrays[name]) for name in chosen}
        for name, array in self.arrays.items():
            first = self.arrays[chosen[0]]
            if array.ndim != 1 or len(array) != len(first):
                raise ValueError(
                    f"columns must be one-dimensional and of one length: {chosen[0]!r} has shape "
                    f"{first.shape}, {name!r} has {array.shape}"
                )
        self.n_rows = len(self.arrays[chosen[0]]) if chosen else 0

    def keys(self, name: str) -> Keys:
        values = self.arrays[name]
        return _array_keys(values, name, values.dtype)

    def stamps(self, name: str) -> Stamps:
        return _as_stamps(self.arrays[name], name, self.arrays[name].dtype)

    def numbers(self, name: str, dtype) -> np.ndarray:
        return _as_numbers(self.arrays[name], name, dtype)


def build_frame(schema: Schema, columns: Mapping[str, np.ndarray], zone: str | None = None):
    """Build a frame of the kind that `schema` names.

    Parameters
    ----------
    schema : Schema
        The columns `id_col` and `time_col` come back in the types that were given; text that
        was read as time stamps comes back as time stamps.
    columns : mapping of str to array of shape (n_rows,)
        Stamps (``time_col`` and ``"cutoff"``) are UTC if there is a zone.
    zone : str, default=None

    Returns
    -------
    pandas.DataFrame, polars.DataFrame, pyarrow.Table or dict of arrays

    Examples
    --------
    >>> import numpy as np
    >>> build_frame(Schema(kind="polars"), {"unique_id": np.array([1, 2]), "y": np.ones(2)}).shape
    (2, 2)
    """
    columns = {name: np.asarray(values) for name, values in columns.items()}
    types = {schema.time_col: schema.time_dtype, "cutoff": schema.time_dtype}
    types[schema.id_col] = schema.id_dtype
    if schema.kind == "pandas":
        import pandas as pd

        def typed(name, values):
            given = types.get(name)
            if values.dtype.kind == "M" and zone is not None:
                values = pd.DatetimeIndex(values).tz_localize("UTC").tz_convert(zone)
            series = pd.Series(values)
            if given is None or (name != schema.id_col and given.kind not in "Miu"):
                return series
            return series.astype(given)

        return pd.DataFrame({name: typed(name, values) for name, values in columns.items()})
    if schema.kind in ("polars", "arrow"):
        pl = _polars("a polars frame")

        def typed(name, values):
            given, series = types.get(name), pl.Series(name, values)
            if values.dtype.kind == "M" and zone is not None:
                series = series.dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
            if given is None or (name != schema.id_col and given == pl.String):
                return series
            return series.cast(given)

        frame = pl.DataFrame([typed(name, values) for name, values in columns.items()])
        return frame.to_arrow() if schema.kind == "arrow" else frame
    return columns


def _polars(what: str):
    try:
        import polars
    except ImportError:
        raise ImportError(f"{what} is read with polars: pip install 'ctrain[data]'") from None
    return polars


def _open_file(path: Path, wanted, optional) -> PolarsColumns:
    what = f"file {os.fspath(path)!r}"
    pl = _polars(what)
    if not path.exists():
        raise FileNotFoundError(f"no {what}")
    suffix = ".parquet" if path.is_dir() else Path(path.name.removesuffix(".gz")).suffix.lower()
    if suffix == ".csv":
        # a column that changes its type further down asks for a look at the whole file
        scans = [
            partial(pl.scan_csv, path, try_parse_dates=True, infer_schema_length=n_rows)
            for n_rows in (10_000, None)
        ]
    elif suffix in (".parquet", ".pq"):
        scans = [partial(pl.scan_parquet, path)]
    else:
        raise ValueError(f"{what} must end in .csv, .csv.gz, .parquet or .pq; got {suffix!r}")
    for scan in scans:
        try:
            return PolarsColumns(scan(), wanted, optional, "polars", what)
        except pl.exceptions.PolarsError as error:
            reason = str(error).partition("\n")[0]
    raise ValueError(f"{what} cannot be read: {reason}")


def _check_names(names: list, wanted, what: str) -> None:
    absent = [name for name in wanted if name not in names]
    if absent:
        raise ValueError(
            f"the {what} has no column {absent[0]!r}; its columns are "
            f"{', '.join(map(repr, names))}. Name columns by id_col= (None for a single series), "
            "time_col=, target_col= and the lists of covariates"
        )
    twice = [name for name in wanted if names.count(name) > 1]
    if twice:
        raise ValueError(f"the {what} has {names.count(twice[0])} columns {twice[0]!r}; keep one")


def _refuse_rows(bad: np.ndarray, name: str, what: str, remedy: str) -> None:
    if bad.any():
        raise ValueError(
            f"column {name!r} is {what} in row {int(np.argmax(bad))} ({int(bad.sum())} rows in "
            f"all); {remedy}"
        )


def _run_starts(values: np.ndarray) -> np.ndarray:
    changes = np.ones(len(values), bool)
    np.not_equal(values[1:], values[:-1], out=changes[1:])
    return np.flatnonzero(changes)


def _array_keys(values: np.ndarray, name: str, dtype) -> Keys:
    if values.dtype.kind not in "iuUOT":
        raise TypeError(f"column {name!r} must hold text or integers; got {values.dtype}")
    if values.dtype.kind == "O":
        empty = np.array([value is None or value != value for value in values], bool)
        _refuse_rows(empty, name, "empty", "drop such rows or name the series")
    starts = _run_starts(values)
    return _ascending(starts, None, values[starts], name, dtype)


def _ascending(starts, codes, values: np.ndarray, name: str, dtype) -> Keys:
    """Keys with their names in order; codes are None if `values` has one name for each run."""
    if values.dtype.kind in "OT":
        kinds = {type(value) for value in values}
        texts = all(issubclass(kind, str) for kind in kinds)
        if not texts and not all(issubclass(kind, int | np.integer) for kind in kinds):
            names = sorted(kind.__name__ for kind in kinds)
            raise TypeError(
                f"column {name!r} must hold text or integers; got {' and '.join(names)}"
            )
        values = np.array(values.tolist(), dtype=str if texts else np.int64)
    if values.dtype.kind in "iu":
        values = values.astype(np.int64)
    values, inverse = np.unique(values, return_inverse=True)
    codes = inverse if codes is None else inverse[codes]
    return Keys(starts, codes.astype(np.int64), values, dtype)


def _as_stamps(values: np.ndarray, name: str, dtype) -> Stamps:
    """Integers, datetimes or ISO 8601 text as stamps."""
    kind = values.dtype.kind
    if kind in "iu":
        return Stamps(values.astype(np.int64, copy=False), None, dtype)
    if kind in "OUT":
        words = values.astype(str)  # numpy would drop a time zone
        zoned = np.strings.endswith(words, "Z") | (np.strings.rfind(words, "+") > 9)
        zoned |= np.strings.rfind(words, "-") > 9
        if zoned.any():
            raise ValueError(
                f"column {name!r} holds text or Python objects with a time zone, such as "
                f"{words[np.argmax(zoned)].item()!r}; convert it with pandas.to_datetime or "
                "polars' str.to_datetime"
            )
        try:
            values = values.astype("M8") if kind == "O" else words.astype("M8")
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"column {name!r} must hold time stamps, integers or ISO 8601 text; got "
                f"{values.tolist()[0]!r} ({error}). Convert it with pandas.to_datetime or polars' "
                "str.to_datetime"
            ) from None
    elif kind != "M":
        raise TypeError(f"column {name!r} must hold time stamps or integers; got {dtype}")
    _refuse_rows(np.isnat(values), name, "empty", "drop such rows")
    unit = np.datetime_data(values.dtype)[0]
    if unit in "YMW":
        values = values.astype("M8[D]")
    elif unit not in ("D", "s", "ms", "us", "ns"):
        values = values.astype("M8[s]")
    return Stamps(values, None, dtype)


def _as_numbers(values: np.ndarray, name: str, dtype) -> np.ndarray:
    """A column as float32 if it is so or if asked for, else float64; a new array is writable."""
    if values.dtype.kind == "O":
        texts = [value for value in values if isinstance(value, str)]
        if not texts:
            try:
                values = np.array([np.nan if v is None else v for v in values], np.float64)
            except (TypeError, ValueError):
                texts = list(values)
        if texts:
            raise TypeError(f"{_no_numbers(name, values.dtype)}, such as {texts[0]!r}")
    if values.dtype.kind not in "fiub":
        raise TypeError(_no_numbers(name, values.dtype))
    if dtype is None:
        dtype = np.float32 if values.dtype in (np.float16, np.float32) else np.float64
    return values.astype(dtype, copy=False)


def _no_numbers(name: str, dtype) -> str:
    return (
        f"column {name!r} must hold numbers; got {dtype}. Encode text first, for example with "
        "sklearn.preprocessing.OneHotEncoder"
    )


def is_frame(data) -> bool:
    """Whether `data` is read by `open_frame`, rather than plain arrays."""
    library = type(data).__module__.partition(".")[0]
    return (
        isinstance(data, str | os.PathLike | Mapping)
        or library in ("pandas", "polars")
        or hasattr(data, "__arrow_c_stream__")
    )
