"""Data that cannot be used as they are: what is wrong, where, and what policies make of it."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal

from ctrain.data import Schema, read_panel

BASE = {
    "unique_id": ["a"] * 4 + ["b"] * 4,
    "ds": np.array(["2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04"] * 2, "M8[D]"),
    "y": np.arange(8.0),
}


def altered(column, row, value):
    values = np.array(BASE[column]) if column in BASE else np.ones(8)
    values[row] = value
    return BASE | {column: values}


def without(*rows):
    return {name: np.delete(np.array(values), rows) for name, values in BASE.items()}


WRONG = {
    "duplicate": (
        altered("ds", 5, "2024-01-04"), {},
        r"series 'b' has 2 rows at 2024-01-04 \(1 rows .* mean of each group of 'unique_id' and 'd",
    ),
    "gap": (
        without(2, 5), {},
        r"series 'a' has no row at 2024-01-03 \(2 rows of 2 series .* freq 'D'.*fill_gaps='mask'",
    ),
    "NaN": (altered("y", 5, np.nan), {}, r"'y' of series 'b' at 2024-01-02 is NaN \(1 rows.*mask"),
    "infinity": (altered("y", 2, -np.inf), {}, "series 'a' at 2024-01-03 is -inf; it must be fini"),
    "no column": (
        {"id": [1]}, {}, "dict has no column 'unique_id'; its columns are 'id'. Name columns by id",
    ),
    "no rows": ({"unique_id": [], "ds": [], "y": []}, {}, "data has no rows; at least one is"),
    "no stamp": (altered("ds", 3, "NaT"), {}, r"column 'ds' is empty in row 3 \(1 rows in all\)"),
    "a mask of 2": (altered("available_mask", 0, 2), {}, "'available_mask' must hold 0 and 1; it"),
    "covariate": (
        altered("price", 6, np.nan), {"futr_exog": ("price",)},
        r"covariate 'price' of series 'b' at 2024-01-03 is nan \(1 rows are not finite\)",
    ),
    "static": (
        altered("area", 6, 2), {"stat_exog": ("area",)},
        "stat_exog 'area' of series 'b' changes from 1.0 to 2.0; make it futr_exog",
    ),
    "static NaN": (
        altered("area", slice(4, 8), np.nan), {"stat_exog": ("area",)},
        "stat_exog 'area' of series 'b' is nan",
    ),
    "two roles": (BASE, {"futr_exog": ("y",)}, "column 'y' has two roles"),
    "policy": (BASE, {"missing": "drop"}, "missing must be None, 'mask', 'forward' or 'zero'; got"),
    "not ISO": (
        BASE | {"ds": ["1/13/24"] * 8}, {}, "'ds' must hold time stamps.* got '1/13/24'.*to_datet",
    ),
}  # fmt: skip


@pytest.mark.parametrize("library", [dict, pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_said(wrong, library):
    data, names, message = WRONG[wrong]
    message = message.replace("dict has", "frame has" if library is not dict else "dict has")
    with pytest.raises(ValueError, match=message):
        read_panel(library(data), Schema(**names))


@pytest.mark.parametrize(
    "data, names, message",
    [
        (BASE | {"y": list("abcdefgh")}, {}, "column 'y' must hold numbers; got"),
        (BASE | {"unique_id": np.arange(8.0)}, {}, "'unique_id' must hold text or integers; got"),
        (BASE | {"unique_id": np.array(["a", 1] * 4, object)}, {}, "got int and str"),
        (BASE | {"ds": np.arange(8.0)}, {}, "'ds' must hold time stamps or integers; got"),
        (BASE, {"futr_exog": "price"}, r"sequence of names; got 'price': write \('price',\)"),
        (3.0, {}, "must be a frame, or numbers of shape"),
        (object(), {}, "must be a frame, or numbers of shape"),
    ],
)
def test_types_that_cannot_be_read(data, names, message):
    with pytest.raises((TypeError, ValueError), match=message):
        read_panel(data, Schema(**names))


def test_columns_of_unequal_lengths():
    with pytest.raises(ValueError, match=r"'unique_id' has shape \(8,\), 'y' has \(1,\)"):
        read_panel(BASE | {"y": [1]})


@pytest.mark.parametrize("ending", ["Z", "+00:00", "-05:00", "+0530"])
def test_text_with_a_time_zone(ending):
    """Which numpy would drop."""
    stamps = [f"2024-01-0{day}T12:00{ending}" for day in (1, 2)]
    message = r"'ds' holds text or Python objects with a time zone, such as '2024-01-01.*'; convert"
    data = {"unique_id": [1, 1], "ds": stamps, "y": [1, 2]}
    for library in (dict, pd.DataFrame, pl.DataFrame):
        with pytest.raises(ValueError, match=message):
            read_panel(library(data))
    with pytest.raises(ValueError, match=message):
        read_panel(data | {"ds": [pd.Timestamp(stamp).to_pydatetime() for stamp in stamps]})


def test_empty_names_of_series():
    for library in (pd.DataFrame, pl.DataFrame, dict):
        ids = np.array(["a", None, "b"], object)
        with pytest.raises(ValueError, match=r"'unique_id' is empty in row 1 \(1 rows in all\)"):
            read_panel(library({"unique_id": ids, "ds": [1, 2, 3], "y": [1, 2, 3]}))


@pytest.mark.parametrize(
    "freq, message",
    [
        ("h", "'ds' holds dates, too coarse for freq 'h'; convert it to datetimes"),
        ("B", "series 'a': 2024-01-06, a Saturday, is not a stamp of freq 'B' counted from its fi"),
        ("W", "2024-01-01, a Monday, is not a stamp of freq 'W-SUN'. Pass the freq="),
        ("MS", "2024-01-02, a Tuesday, is not a stamp of freq 'MS' counted from its first, 2024-0"),
        ("2D", "series 'a': 2024-01-02, a Tuesday, is not a stamp of freq '2D'"),
        (1, "'ds' holds time stamps: freq must be an alias such as 'D'; got 1"),
    ],
)
def test_a_frequency_that_the_data_do_not_have(freq, message):
    data = BASE | {"unique_id": ["a"] * 8, "ds": np.datetime64("2024-01-01") + np.arange(8)}
    with pytest.raises(ValueError, match=message):
        read_panel(data, freq=freq)
    with pytest.raises(ValueError, match="holds integers: freq must be an integer; got 'D'"):
        read_panel(data | {"ds": np.arange(8)}, freq="D")


GAPS = BASE | {"y": np.array([1, np.nan, 3, 4, np.nan, 6, 7, 8]), "x": np.arange(8.0)}
GAPS = {name: np.delete(np.array(values), [2, 6]) for name, values in GAPS.items()}
FILLED = {
    ("mask", "mask"): ([1, 0, 0, 4, 0, 6, 0, 8], [1, 0, 0, 1, 0, 1, 0, 1]),
    ("zero", "mask"): ([1, 0, 0, 4, 0, 6, 0, 8], [1, 0, 1, 1, 0, 1, 1, 1]),
    ("forward", "forward"): ([1, 1, 1, 4, 0, 6, 6, 8], [1, 1, 1, 1, 0, 1, 1, 1]),
    ("forward", "zero"): ([1, 0, 0, 4, 0, 6, 6, 8], [1] * 8),
    ("mask", "forward"): ([1, 1, 0, 4, 0, 6, 0, 8], [1, 1, 0, 1, 0, 1, 0, 1]),
}


@pytest.mark.parametrize("policies", FILLED)
def test_gaps_and_nan(policies):
    schema = Schema(fill_gaps=policies[0], missing=policies[1], hist_exog=("x",))
    panel = read_panel(GAPS, schema, freq="D")
    y, mask = FILLED[policies]
    assert_array_equal(panel.y, y)
    assert_array_equal(panel.mask, np.array(mask, bool))
    assert_array_equal(panel.past[:, 0], [0, 1, 1, 3, 4, 5, 5, 7])
    assert_array_equal(panel.offsets, [0, 4, 8])


def test_filling_never_looks_ahead():
    schema = Schema(fill_gaps="forward", missing="forward")
    early = read_panel(GAPS, schema, freq="D")
    later = read_panel(GAPS | {"y": np.where(np.arange(6) % 3 == 2, 99, GAPS["y"])}, schema)
    assert_array_equal(later.y[[0, 1, 2, 4, 5, 6]], early.y[[0, 1, 2, 4, 5, 6]])


def test_available_mask_excuses():
    """Values, covariates too, where the target does not count."""
    data = altered("y", 5, np.inf) | {"available_mask": np.arange(8) != 5}
    data["x"] = np.where(np.arange(8) == 5, np.nan, np.arange(8.0))
    for library in (dict, pd.DataFrame, pl.DataFrame):
        panel = read_panel(library(data), Schema(hist_exog=("x",)))
        assert_array_equal(panel.mask, data["available_mask"])
        assert panel.y[5] == 0 and panel.past[5, 0] == 4


def test_plain_arrays_that_are_wrong():
    for data in (
        np.ones((2, 2, 2)),
        np.array(["a"]),
        [],
        np.ones(0),
        [np.ones(2), np.ones((1, 2))],
    ):
        with pytest.raises(ValueError, match=r"numbers of shape \(n_rows,\)"):
            read_panel(data)
    with pytest.raises(ValueError, match="plain arrays have no time stamps, so freq must be None"):
        read_panel(np.ones(3), freq="D")
    with pytest.raises(ValueError, match="plain arrays have no columns for covariates"):
        read_panel(np.ones(3), Schema(futr_exog=("price",)))
    with pytest.raises(ValueError, match="'y' of series 1 at 1 is NaN"):
        read_panel(np.array([[1.0, 2.0], [3.0, np.nan]]))
    panel = read_panel(np.array([[1.0, 2.0], [3.0, np.nan]]), Schema(missing="mask"))
    assert_array_equal(panel.mask, [True, True, True, False])


def test_large_float32_values_are_finite():
    assert read_panel(np.full(9, 3e38, np.float32)).mask.all()


def test_files_that_are_no_data(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"no file '.*none.csv'"):
        read_panel(tmp_path / "none.csv")
    (tmp_path / "a.xlsx").touch()
    with pytest.raises(
        ValueError, match=r"must end in .csv, .csv.gz, .parquet or .pq; got '.xlsx'"
    ):
        read_panel(tmp_path / "a.xlsx")
    (tmp_path / "empty.csv").touch()
    with pytest.raises(ValueError, match=r"file '.*empty.csv' cannot be read: empty"):
        read_panel(tmp_path / "empty.csv")
    (tmp_path / "a.pq").write_text("this is no Parquet file")
    with pytest.raises(ValueError, match=r"file '.*a.pq' cannot be read: "):
        read_panel(tmp_path / "a.pq")
    (tmp_path / "a.csv").write_text("id,ds,y\n1,2,3\n")
    with pytest.raises(ValueError, match=r"the file '.*a.csv' has no column 'unique_id'; its col"):
        read_panel(tmp_path / "a.csv")
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(ImportError, match=r"is read with polars: pip install 'ctrain\[data\]'"):
        read_panel(tmp_path / "a.csv")
