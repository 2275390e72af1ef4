"""Tables: columns of a file as features and targets, answers as a file."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..data.frames import open_frame

#: whole numbers with at most so many different values are classes
FEW = 10


def read_table(path: str, names=None):
    """Columns of a CSV or Parquet file, a polars frame; None for all.

    Raises
    ------
    ValueError
        If it cannot be read, has no rows or lacks a column.
    """
    present = open_frame(path, ()).names
    absent = [name for name in (present if names is None else names) if name not in present]
    if absent:
        raise ValueError(
            f"{path} has no column {absent[0]!r}; its columns are {', '.join(map(repr, present))}"
        )
    frame = open_frame(path, present if names is None else names).frame
    if not frame.height:
        raise ValueError(f"{path} has no rows")
    return frame if names is None else frame.select(list(names))


def check_features(frame, path: str, remedy: str) -> None:
    """Raise ValueError naming the first column, and row, that holds no number."""
    for column in frame.iter_columns():
        if not (column.dtype.is_numeric() or column.dtype == frame_bool(column)):
            example = column.drop_nulls().head(1).to_list()
            such = f" such as {example[0]!r}" if example else ""
            raise ValueError(
                f"{path}: column {column.name!r} holds {column.dtype}{such}, a network needs "
                f"numbers; encode it as numbers{remedy.format(column.name)}"
            )
        empty = column.is_null() | (column.is_nan() if column.dtype.is_float() else False)
        if empty.any():
            raise ValueError(
                f"{path}: column {column.name!r} is empty in row {empty.arg_max()} "
                f"({empty.sum()} rows in all, counted from 0); fill it or drop such rows"
                f"{remedy.format(column.name)}"
            )


def frame_bool(column):
    """polars' type of true and false, without importing polars by name."""
    return type(column)([True]).dtype


def task_of(target, path: str) -> tuple[str, str]:
    """Classification or regression, and why, from the column of the target."""
    if not target.dtype.is_numeric():
        if target.dtype.is_temporal() or target.dtype.is_nested():
            raise ValueError(
                f"{path}: target {target.name!r} holds {target.dtype}; it must be numbers or text"
            )
        kind = "true and false" if target.dtype == frame_bool(target) else "text"
        return "classification", f"{target.name} is {kind}"
    n_different = target.n_unique()
    if target.dtype.is_integer() and n_different <= FEW:
        return "classification", f"{target.name} has {n_different} different whole numbers"
    return "regression", f"{target.name} is a number"


def labels(target, path: str) -> np.ndarray:
    """A target as labels."""
    if target.null_count():
        row = target.is_null().arg_max()
        raise ValueError(f"{path}: target {target.name!r} is empty in row {row}; drop such rows")
    if target.dtype.is_numeric() or target.dtype == frame_bool(target):
        return target.to_numpy()
    return np.array([str(value) for value in target.to_list()])


def moments(values: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of each column; a constant column has the scale 1."""
    values = np.asarray(values, np.float64)
    mean, scale = values.mean(axis=0), values.std(axis=0)
    constant = scale <= 1e-12 * np.abs(mean)  # what rounding makes of equal values
    return mean.tolist(), np.where(constant, 1.0, scale).tolist()


def columns_of(answer) -> dict[str, np.ndarray]:
    """Columns of whatever frame a forecast came in; of plain arrays, one row for each step."""
    if isinstance(answer, np.ndarray):
        answer = {"prediction": answer}
    if not isinstance(answer, dict):
        names = getattr(answer, "column_names", None) or list(answer.columns)
        return {name: np.asarray(answer[name]) for name in names}
    first = next(iter(answer.values()))
    if first.ndim == 1:
        return answer
    n_series, n_steps = first.shape
    place = {
        "unique_id": np.repeat(np.arange(n_series), n_steps),
        "ds": np.tile(np.arange(1, n_steps + 1), n_series),
    }
    return place | {name: values.reshape(-1) for name, values in answer.items()}


def write(columns: dict[str, np.ndarray], path: str | None) -> str | None:
    """Write columns as CSV or Parquet by the end of the name; answer CSV text without a name."""
    try:
        import polars
    except ImportError:
        raise ImportError("a table is written with polars: pip install 'ctrain[data]'") from None
    frame = polars.DataFrame(columns)
    if path is None:
        return frame.write_csv()
    if Path(path).suffix == ".parquet":
        frame.write_parquet(path)
    else:
        frame.write_csv(path)
    return None


def check_out(path: str | None, suffixes: tuple[str, ...]) -> None:
    """Raise before any work if a file cannot be written later."""
    if path is None:
        return
    if suffixes and Path(path).suffix not in suffixes:
        raise ValueError(f"--out {path} must end in {' or '.join(suffixes)}")
    folder = Path(path).parent
    if not folder.is_dir():
        raise FileNotFoundError(f"--out {path}: there is no folder {os.fspath(folder)!r}")
