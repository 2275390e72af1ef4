"""Panels: every kind of frame gives the same one, what is wrong is said, frames come back."""

from __future__ import annotations

import gzip
import io
import pickle
import time
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal

from ctrain.data import (
    Calendar,
    Panel,
    Schema,
    load_air_passengers,
    read_future,
    read_like,
    read_panel,
)

FULL = Schema(futr_exog=("price", "promo"), hist_exog=("visits",), stat_exog=("area",))
ARRAYS = ("y", "mask", "future", "past", "static", "offsets", "ids", "start")


def table(n_series=4, seed=0, shuffled=True) -> dict[str, np.ndarray]:
    """Series of unequal lengths and starts, hourly, with covariates, in any order."""
    rng = np.random.default_rng(seed)
    names = rng.permutation([f"shop {k}" for k in range(n_series)])
    lengths = rng.integers(5, 30, n_series)
    ids = np.repeat(names, lengths)
    first = rng.integers(0, 500, n_series)
    hours = np.concatenate([np.arange(n) + k for n, k in zip(lengths, first, strict=True)])
    n = len(ids)
    columns = {
        "unique_id": ids,
        "ds": np.datetime64("2024-02-20", "us") + hours.astype("m8[h]"),
        "y": rng.normal(100, 20, n),
        "price": rng.normal(size=n),
        "promo": rng.integers(0, 2, n),
        "visits": rng.integers(0, 99, n),
        "area": np.repeat(rng.normal(size=n_series), lengths),
        "note": np.repeat(np.array(["not read"]), n),
    }
    order = rng.permutation(n) if shuffled else np.arange(n)
    return {name: values[order] for name, values in columns.items()}


class Exports:
    """Nothing but the Arrow C stream, as libraries that nobody has heard of."""

    def __init__(self, frame) -> None:
        self.frame = frame

    def __arrow_c_stream__(self, requested_schema=None):
        return self.frame.__arrow_c_stream__(requested_schema)


def as_csv(data, folder):
    pl.DataFrame(data).write_csv(folder / "data.csv")
    return folder / "data.csv"


def as_gzip(data, folder):
    with gzip.open(folder / "data.csv.gz", "wb") as file:
        file.write(pl.DataFrame(data).write_csv().encode())
    return folder / "data.csv.gz"


def as_parquet(data, folder):
    pl.DataFrame(data).write_parquet(folder / "data.parquet")
    return str(folder / "data.parquet")


def as_parquet_folder(data, folder):
    frame = pl.DataFrame(data)
    frame[:20].write_parquet(folder / "0.parquet")
    frame[20:].write_parquet(folder / "1.parquet")
    return folder


def as_chunks(data, folder):
    frame = pl.DataFrame(data)
    return pl.concat([frame[:7], frame[7:40], frame[40:]], rechunk=False)


SOURCES = {
    "dates and times": lambda data, folder: data | {"ds": data["ds"].astype(object)},
    "dict": lambda data, folder: data,
    "lists": lambda data, folder: {name: values.tolist() for name, values in data.items()},
    "ISO text": lambda data, folder: data | {"ds": data["ds"].astype(str)},
    "pandas": lambda data, folder: pd.DataFrame(data),
    "pandas, categories": lambda data, folder: pd.DataFrame(data).astype({"unique_id": "category"}),
    "pandas, nanoseconds": lambda data, folder: pd.DataFrame(data).astype({"ds": "M8[ns]"}),
    "pandas, objects": lambda data, folder: pd.DataFrame(data).astype(
        {"unique_id": object, "y": object, "price": object}
    ),
    "pandas, nullable": lambda data, folder: pd.DataFrame(data).astype(
        {"y": "Float64", "promo": "Int64", "unique_id": "string"}
    ),
    "pandas, index": lambda data, folder: pd.DataFrame(data).set_index(["unique_id", "ds"]),
    "polars": lambda data, folder: pl.DataFrame(data),
    "polars, lazy": lambda data, folder: pl.LazyFrame(data),
    "polars, chunks": as_chunks,
    "polars, categories": lambda data, folder: pl.DataFrame(data).cast(
        {"unique_id": pl.Categorical, "promo": pl.Boolean}
    ),
    "Arrow stream": lambda data, folder: Exports(pl.DataFrame(data)),
    "CSV": as_csv,
    "CSV, gzip": as_gzip,
    "Parquet": as_parquet,
    "Parquet folder": as_parquet_folder,
}


def assert_same(a: Panel, b: Panel) -> None:
    """Bitwise, but for the unit of time stamps, which is the frame's own."""
    for name in ARRAYS:
        x, y = getattr(a, name), getattr(b, name)
        if name == "start" and x.dtype.kind == "M":
            x, y = x.astype("M8[ns]"), y.astype("M8[ns]")
        assert (x.dtype, x.shape, x.tobytes()) == (y.dtype, y.shape, y.tobytes()), name
    assert a.calendar == b.calendar


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("source", SOURCES)
def test_every_source_gives_the_same_panel(source, seed, tmp_path):
    data = table(seed=seed)
    expected = read_panel(table(seed=seed, shuffled=False), FULL)
    assert expected.calendar.freq == "h"
    assert_same(read_panel(SOURCES[source](data, tmp_path), FULL), expected)


def test_a_panel_holds_what_the_frame_held():
    """Against pandas: sorted, series by series."""
    data = table(n_series=9, seed=4)
    panel = read_panel(data, FULL)
    frame = pd.DataFrame(data).sort_values(["unique_id", "ds"])
    assert_array_equal(panel.y, frame.y)
    assert_array_equal(panel.stamps(), frame.ds)
    assert_array_equal(panel.future, frame[["price", "promo"]])
    assert_array_equal(panel.past[:, 0], frame.visits)
    assert_array_equal(panel.ids[panel.series_of(np.arange(panel.n_rows))], frame.unique_id)
    assert_array_equal(panel.static[:, 0], frame.groupby("unique_id").area.first())
    assert_array_equal(panel.lengths, frame.groupby("unique_id").y.count())
    assert_array_equal(panel.end, frame.groupby("unique_id").ds.max())
    assert panel.mask.all() and panel.y.flags.c_contiguous and panel.future.flags.c_contiguous


def test_reading_changes_and_keeps_nothing_of_the_input():
    for data in (table(shuffled=False), table()):
        before = {name: values.copy() for name, values in data.items()}
        panel = read_panel(data | {"available_mask": np.arange(len(data["y"])) % 2}, FULL)
        for name, values in data.items():
            assert_array_equal(values, before[name])
            assert not any(np.shares_memory(values, getattr(panel, a)) for a in ARRAYS)
        assert panel.mask.sum() in (len(data["y"]) // 2, -(-len(data["y"]) // 2))


def test_a_series_may_start_where_another_ends():
    data = {"unique_id": ["a", "a", "b", "b"], "ds": [1, 2, 2, 3], "y": [1, 2, 3, 4]}
    assert_array_equal(read_panel(data).start, [1, 2])


def test_more_series_than_sixteen_bits():
    n = 70_000
    ids, ds = np.repeat(np.arange(n), 2), np.tile([5, 6], n)
    order = np.random.default_rng(0).permutation(2 * n)
    panel = read_panel({"unique_id": ids[order], "ds": ds[order], "y": (10 * ids + ds)[order]})
    assert_array_equal(panel.y, 10 * ids + ds)


def test_names_integers_and_single_series():
    data = {"shop": [10, 9, 10, 9], "t": [2, 1, 1, 2], "sales": [4, 1, 3, 2]}
    schema = Schema(id_col="shop", time_col="t", target_col="sales")
    for frame in (data, pd.DataFrame(data), pl.DataFrame(data)):
        panel = read_panel(frame, schema)
        assert_array_equal(panel.ids, [9, 10])  # as numbers, not as text
        assert_array_equal(panel.y, [1, 2, 3, 4])
        assert panel.calendar == Calendar(1) and panel.y.dtype == np.float64
    single = {"ds": ["2024-01-02", "2024-01-01"], "y": [2.0, 1.0]}
    for frame in (single, pd.DataFrame(single), pl.DataFrame(single)):
        panel = read_panel(frame, Schema(id_col=None))
        assert_array_equal(panel.y, [1.0, 2.0])
        assert "unique_id" not in panel.future_frame(2)


def test_precision():
    data = table() | {"y": table()["y"].astype(np.float32)}
    for frame in (data, pd.DataFrame(data), pl.DataFrame(data)):
        panel = read_panel(frame, replace(FULL, futr_exog=("price",)))
        assert (panel.y.dtype, panel.future.dtype) == (np.float32, np.float64)
        panel = read_panel(frame, FULL, dtype="float32")
        assert {panel.y.dtype, panel.past.dtype, panel.static.dtype} == {np.dtype(np.float32)}
    nullable = pd.DataFrame(data).astype({"y": "Float32"})
    assert read_panel(nullable).y.dtype == np.float32


@pytest.mark.parametrize("kind", [np.array, list, tuple])
def test_plain_arrays(kind):
    panel = read_panel(kind([3.0, 1.0, 2.0]))
    assert_array_equal(panel.y, [3, 1, 2])
    assert panel.n_series == 1 and panel.calendar == Calendar(1)
    assert_array_equal(panel.forecast_frame({"m": np.array([[5.0, 6.0]])}), [5, 6])
    panel = read_panel(np.arange(6).reshape(2, 3))
    assert_array_equal(panel.y, np.arange(6.0))
    assert_array_equal(panel.forecast_frame({"m": np.eye(2)}), np.eye(2))
    answer = panel.forecast_frame({"m": np.eye(2), "m-lo-80": -np.eye(2)})
    assert set(answer) == {"m", "m-lo-80"}
    panel = read_panel([np.ones(3), np.ones(5, np.float32)])
    assert_array_equal(panel.offsets, [0, 3, 8])
    assert read_panel(np.ones(3, np.float32)).y.dtype == np.float32


@pytest.mark.parametrize("zone", ["Europe/Berlin", "UTC", "America/New_York"])
def test_time_zones_come_back(zone):
    """Daily at local midnight, over a change of the clock."""
    stamps = pd.date_range("2024-03-25", periods=10, freq="D", tz=zone, unit="us")
    frame = pd.DataFrame({"unique_id": "a", "ds": stamps, "y": np.arange(10.0)})
    polars = pl.DataFrame({"unique_id": ["a"] * 10, "y": np.arange(10.0)}).with_columns(
        ds=pl.Series(stamps.tz_convert("UTC").tz_localize(None).to_numpy())
        .dt.replace_time_zone("UTC")
        .dt.convert_time_zone(zone)
    )
    panel = read_panel(frame)
    assert panel.calendar == Calendar("D", zone)
    assert_same(panel, read_panel(polars))
    future = panel.future_frame(3)
    expected = pd.date_range("2024-04-04", periods=3, freq="D", tz=zone, unit="us")
    assert future.ds.dtype == frame.ds.dtype and list(future.ds) == list(expected)
    polars_future = read_panel(polars).future_frame(3)
    assert polars_future["ds"].dtype == polars["ds"].dtype
    assert polars_future["ds"].to_list() == expected.to_pydatetime().tolist()
    naive = pd.DataFrame({"unique_id": "a", "ds": stamps.tz_localize(None), "y": 1.0})
    with pytest.raises(ValueError, match=f"time zone None, that of the fit had {zone}"):
        read_like(naive, panel)


FORECAST = {"NHITS": np.array([[1.0, 2.0], [3.0, 4.0]]), "NHITS-lo-80": np.zeros((2, 2))}


@pytest.mark.parametrize("ids", ["category", object, "string", np.int32])
@pytest.mark.parametrize("unit", ["s", "ns"])
def test_pandas_comes_back(ids, unit):
    frame = pd.DataFrame(
        {"unique_id": [2, 2, 1, 1], "ds": pd.to_datetime(["2024-01-31", "2024-02-29"] * 2), "y": 1}
    )
    frame["unique_id"] = frame.unique_id.astype(str if ids is not np.int32 else int).astype(ids)
    frame["ds"] = frame.ds.astype(f"M8[{unit}]")
    answer = read_panel(frame).forecast_frame(FORECAST)
    assert list(answer) == ["unique_id", "ds", "NHITS", "NHITS-lo-80"]
    assert (answer.dtypes[["unique_id", "ds"]] == frame.dtypes[["unique_id", "ds"]]).all()
    assert [str(name) for name in answer.unique_id] == ["1", "1", "2", "2"]
    assert list(answer.ds) == list(pd.to_datetime(["2024-03-31", "2024-04-30"] * 2))
    assert list(answer.NHITS) == [1, 2, 3, 4]


@pytest.mark.parametrize("ids", [pl.String, pl.Categorical, pl.Int16])
@pytest.mark.parametrize("time", [pl.Date, pl.Datetime("ms")])
def test_polars_comes_back(ids, time, tmp_path):
    frame = pl.DataFrame(
        {"unique_id": ["2", "2", "1", "1"], "ds": ["2024-01-31", "2024-02-29"] * 2, "y": 1}
    ).with_columns(pl.col("unique_id").cast(ids), pl.col("ds").str.to_date().cast(time))
    for given in (frame, frame.lazy()):
        answer = read_panel(given).forecast_frame(FORECAST)
        assert answer.columns == ["unique_id", "ds", "NHITS", "NHITS-lo-80"]
        assert answer.schema["unique_id"] == ids and answer.schema["ds"] == time
        assert answer["ds"].dt.to_string("%F").to_list() == ["2024-03-31", "2024-04-30"] * 2
    frame.write_parquet(tmp_path / "a.parquet")
    assert read_panel(tmp_path / "a.parquet").forecast_frame(FORECAST).equals(answer)


def test_windows_come_back():
    data = {"unique_id": ["a"] * 6, "ds": np.arange(6) + 10, "y": np.arange(6.0)}
    data["available_mask"] = [1, 1, 1, 1, 0, 1]
    panel = read_panel(pd.DataFrame(data))
    frame = panel.window_frame(np.array([3, 5]), {"m": np.array([[30.0, 31.0], [50.0, 51.0]])})
    assert list(frame) == ["unique_id", "ds", "cutoff", "m", "y"]
    assert list(frame.ds) == [13, 14, 15, 16] and list(frame.cutoff) == [12, 12, 14, 14]
    assert_array_equal(frame.y, [3, np.nan, 5, np.nan])  # masked, and not come yet


def test_text_that_was_stamps_comes_back_as_stamps():
    frame = pd.DataFrame({"unique_id": "a", "ds": ["2024-01", "2024-02"], "y": [1, 2]})
    assert read_panel(frame).future_frame(1).ds[0] == pd.Timestamp("2024-03-01")


def test_short_series():
    panel = read_panel(np.ones(4))
    assert panel.check_length(4, "input_size") is panel
    panel = read_panel([np.ones(3), np.ones(9)])
    message = r"series 0 has 3 rows; input_size \+ horizon needs at least 8 \(1 of 2 series"
    with pytest.raises(ValueError, match=message):
        panel.check_length(8, "input_size + horizon")
    assert_array_equal(panel.check_length(8, "input_size", short="drop").ids, [1])
    with pytest.raises(ValueError, match="2 of 2 series"):
        panel.check_length(10, "input_size", short="drop")


def test_parts_of_a_panel():
    panel = read_panel(table(n_series=6), FULL)
    tail = panel.tail(7)
    for i in range(6):
        rows = slice(max(panel.offsets[i], panel.offsets[i + 1] - 7), panel.offsets[i + 1])
        ours = slice(*tail.offsets[i : i + 2])
        assert_array_equal(tail.y[ours], panel.y[rows])
        assert_array_equal(tail.stamps(np.arange(ours.start, ours.stop)), panel.stamps()[rows])
    assert_array_equal(tail.end, panel.end)
    some = panel.select([4, 1])
    assert_array_equal(some.ids, panel.ids[[4, 1]])
    assert_array_equal(some.end, panel.end[[4, 1]])
    assert_array_equal(some.static, panel.static[[4, 1]])
    assert_array_equal(some.find(panel.ids), [-1, 1, -1, -1, 0, -1])
    stops = panel.offsets[1:] - 2
    assert_array_equal(panel.until(stops).future, np.delete(panel.future, [*stops, *stops + 1], 0))


def test_static_frames():
    data, areas = table(), pd.DataFrame(table()).groupby("unique_id", as_index=False).area.first()
    plain = {name: values for name, values in data.items() if name != "area"}
    panel = read_panel(plain, FULL, static=areas.sample(frac=1, random_state=0))
    assert_same(panel, read_panel(data, FULL))
    assert_same(read_like(plain, panel), panel)
    for frame, message in (
        (areas[1:], r"static: series 'shop 0' has no row \(1 of 4"),
        (pd.concat([areas, areas[:1]]), "static: series 'shop 0' has 2 rows; keep one"),
        (areas.assign(area=np.nan), "stat_exog 'area' of series 'shop 0' is nan"),
    ):
        with pytest.raises(ValueError, match=message):
            read_panel(plain, FULL, static=frame)
    with pytest.raises(ValueError, match="static= needs id_col and stat_exog"):
        read_panel(plain, static=areas)
    new = plain | {"unique_id": np.repeat(np.array(["new shop"]), len(plain["y"]))}
    new = {name: values[:1] for name, values in new.items()}
    with pytest.raises(ValueError, match="series 'new shop' is new: its stat_exog 'area' are need"):
        read_like(new, panel)


def test_new_data_like_the_old():
    panel = read_panel(table(), FULL, dtype="float32")
    one_row = {name: values[:1] for name, values in table().items()}
    new = read_like(pl.DataFrame(one_row), panel)
    assert new.calendar == panel.calendar and new.y.dtype == np.float32 and new.n_rows == 1
    assert isinstance(new.future_frame(1), pl.DataFrame)
    assert_array_equal(read_like(np.arange(3.0), read_panel(np.arange(9.0))).y, [0, 1, 2])


def test_the_future():
    panel = read_panel(table(), FULL)
    frame = panel.future_frame(5)
    n, h = panel.n_series, 5
    frame |= {"price": np.arange(n * h), "promo": -np.arange(n * h)}
    # nobody's row, one of the past, one too far ahead, one between the stamps
    extra = {
        "unique_id": np.array(["nobody", *panel.ids[:3]]),
        "ds": frame["ds"][[0, 0, h, 2 * h]] + np.array([0, -1, 5, 0], "m8[h]"),
        "price": np.full(4, 0.5),
        "promo": np.full(4, 0.5),
    }
    extra["ds"][3] += np.timedelta64(30, "m")
    for library in (dict, pd.DataFrame, pl.DataFrame):
        order = np.random.default_rng(0).permutation(n * h + 4)
        rows = {name: np.concatenate([frame[name], extra[name]])[order] for name in extra}
        future = read_future(library(rows), panel, h)
        assert_array_equal(future[:, :, 0], np.arange(n * h).reshape(n, h))
        assert_array_equal(future[:, :, 1], -np.arange(n * h).reshape(n, h))
        assert_array_equal(read_future(library(rows), panel, 2), future[:, :2])
    place = f"series '{panel.ids[1]}' at {str(frame['ds'][7])[:19].replace('T', ' ')}"
    less = {name: np.delete(values, 7) for name, values in frame.items()}
    with pytest.raises(ValueError, match=rf"futr_exog: {place} has 0 rows \(1 of 20 rows are mi"):
        read_future(less, panel, h)
    twice = {name: np.append(values, values[7]) for name, values in frame.items()}
    with pytest.raises(ValueError, match=f"{place} has 2 rows"):
        read_future(twice, panel, h)
    empty = frame | {"price": np.where(np.arange(n * h) == 7, np.nan, 1.0)}
    with pytest.raises(ValueError, match=f"futr_exog 'price' is nan for {place}; fill it in"):
        read_future(empty, panel, h)
    with pytest.raises(ValueError, match="time zone UTC, that of the series None; convert it"):
        read_future(pl.DataFrame(frame).cast({"ds": pl.Datetime("us", "UTC")}), panel, h)
    with pytest.raises(TypeError, match="'ds' holds int64, that of the series datetime64"):
        read_future(frame | {"ds": np.arange(n * h)}, panel, h)


@pytest.mark.parametrize("source", ["dict", "pandas", "polars", "arrays"])
def test_state_and_pickle(source, tmp_path):
    if source == "arrays":
        panel = read_panel(np.arange(12.0).reshape(3, 4))
    else:
        panel = read_panel(SOURCES[source](table(), tmp_path), FULL)
    arrays, plain = panel.to_state()
    stored = io.BytesIO()
    np.savez(stored, **arrays)
    stored.seek(0)
    with np.load(stored, allow_pickle=False) as loaded:
        again = Panel.from_state(dict(loaded), plain)
    assert_same(again, panel)
    assert again.schema == replace(panel.schema, id_dtype=None, time_dtype=None)
    assert type(again.future_frame(2)) is type(panel.future_frame(2))
    assert_same(pickle.loads(pickle.dumps(panel)), panel)


def test_a_csv_whose_columns_change_further_down(tmp_path):
    """Integers turn out to be numbers, and names text."""
    n = 12_000
    data = {"unique_id": np.repeat([7], n), "ds": np.arange(n), "y": np.arange(n)}
    frame = pl.DataFrame(data).cast({"unique_id": pl.String, "y": pl.Float64})
    frame = frame.with_columns(y=pl.col("y").cast(pl.Int64).cast(pl.String))
    frame[n - 1, "y"], frame[n - 1, "unique_id"] = "0.5", "a"
    frame.write_csv(tmp_path / "a.csv")
    panel = read_panel(tmp_path / "a.csv")
    assert panel.ids.tolist() == ["7", "a"] and panel.y[-1] == 0.5


def test_no_data_frame_library_is_imported_unasked(run_python):
    run_python(
        """
        import sys, sklearn.base; before = set(sys.modules)
        from ctrain.data import load_air_passengers, read_panel
        read_panel(load_air_passengers()).future_frame(3)
        assert not (set(sys.modules) - before) & {"pandas", "polars", "pyarrow"}
        """
    )


def test_air_passengers():
    panel = read_panel(load_air_passengers())
    assert (panel.n_rows, panel.calendar.freq) == (144, "MS")
    assert (panel.y.sum(), panel.y.min(), panel.y.max()) == (40363, 104, 622)
    assert_array_equal(panel.end, np.array(["1960-12-01"], "M8[D]"))


@pytest.mark.slow
def test_parquet_is_ten_times_faster_than_csv(tmp_path):
    """From the path to the panel, 3 million rows with two decimals; the best of three."""
    n_series, n = 1000, 3000
    hours = np.datetime64("2015-01-01", "us") + np.arange(n) * np.timedelta64(1, "h")
    frame = pl.DataFrame(
        {
            "unique_id": np.repeat([f"store_{i:05d}" for i in range(n_series)], n),
            "ds": np.tile(hours, n_series),
            "y": np.random.default_rng(0).normal(100, 20, n_series * n).round(2),
        }
    )
    frame.write_csv(tmp_path / "a.csv")
    frame.write_parquet(tmp_path / "a.parquet")

    def seconds(path):
        times = []
        for _ in range(3):
            start = time.perf_counter()
            panel = read_panel(path)
            times.append(time.perf_counter() - start)
            assert panel.n_rows == n_series * n
        return min(times)

    assert seconds(tmp_path / "a.csv") > 10 * seconds(tmp_path / "a.parquet")
