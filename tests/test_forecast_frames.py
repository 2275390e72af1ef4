"""Frames of every kind into a forecaster, and forecasts out in the same kind."""

from __future__ import annotations

import datetime
import zoneinfo

import numpy as np
import pytest
from forecasts import COVARIATES, HORIZON, INPUT_SIZE, bits, forecaster, frame, weights

import ctrain
from ctrain.callbacks import OnEpochEnd
from ctrain.data import load_air_passengers

pd = pytest.importorskip("pandas", reason="needs the extra data")
pl = pytest.importorskip("polars", reason="needs the extra data")


def as_csv(data, folder):
    pl.DataFrame(data).write_csv(folder / "series.csv")
    return folder / "series.csv"


def as_arrow(data, folder):
    pytest.importorskip("pyarrow", reason="an Arrow table needs pyarrow")
    return pl.DataFrame(data).to_arrow()


def as_parquet(data, folder):
    pl.DataFrame(data).write_parquet(folder / "series.parquet")
    return str(folder / "series.parquet")


KINDS = {
    "pandas": lambda data, folder: pd.DataFrame(data),
    "pandas index": lambda data, folder: pd.DataFrame(data).set_index(["unique_id", "ds"]),
    "polars": lambda data, folder: pl.DataFrame(data),
    "polars lazy": lambda data, folder: pl.LazyFrame(data),
    "arrow": as_arrow,
    "csv": as_csv,
    "parquet": as_parquet,
}
OUT = {"pandas": "pandas", "pandas index": "pandas", "arrow": "pyarrow"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_frame_gives_the_same_forecasts(kind, tmp_path):
    data = frame()
    given = {"model": "mlp", "series_scaler": "standard", "conformal": 5} | COVARIATES
    plain = forecaster(**given).fit(data, val_size=4)
    fc = forecaster(**given).fit(KINDS[kind](data, tmp_path), val_size=4)
    assert weights(fc) == weights(plain)
    later = plain.future_frame() | {"promo": np.ones(3 * HORIZON)}
    (tmp_path / "later").mkdir()
    future = KINDS[kind](later, tmp_path / "later")
    want = plain.predict(future=later, level=50)
    for series in (None, KINDS[kind](data, tmp_path)):
        answer = fc.predict(series, future=future, level=50)
        assert type(answer).__module__.partition(".")[0] == OUT.get(kind, "polars")
        columns = answer.column_names if kind == "arrow" else list(answer.columns)
        assert columns == ["unique_id", "ds", "MLP", "MLP-lo-50", "MLP-hi-50"]
        for name in columns:
            got = np.asarray(answer[name])
            assert got.tolist() == want[name].astype(got.dtype).tolist()
    assert type(fc.future_frame()) is type(answer)


@pytest.mark.parametrize("kind", ["pandas", "polars", "arrow"])
def test_insample_and_cross_validation_are_frames(kind, tmp_path):
    data = frame()
    given = KINDS[kind](data, tmp_path)
    fc, plain = forecaster().fit(given), forecaster().fit(data)
    for answer, want in (
        (fc.predict_insample(given), plain.predict_insample(data)),
        (fc.cross_validation(given), plain.cross_validation(data)),
    ):
        for name in ("unique_id", "ds", "cutoff", "NLinear", "y"):
            got = np.asarray(answer[name])
            assert got.tolist() == want[name].astype(got.dtype).tolist()
    assert fc.backtest(given, 8) == plain.backtest(data, 8)


def test_arrays():
    y = frame()["y"].reshape(3, 60)
    fc = forecaster("mlp", series_scaler="standard").fit(y)
    by_frame = forecaster("mlp", series_scaler="standard").fit(frame())
    assert weights(fc) == weights(by_frame)
    answer = fc.predict()
    assert answer.shape == (3, HORIZON)
    assert answer.tobytes() == by_frame.predict()["MLP"].astype(answer.dtype).tobytes()
    assert weights(forecaster("mlp", series_scaler="standard").fit(list(y))) == weights(fc)
    one = forecaster("mlp").fit(y[1])
    assert one.predict().shape == (HORIZON,) and one.predict(y[:2]).shape == (2, HORIZON)
    assert one.predict(y[0]).tobytes() == one.predict(y)[0].tobytes()
    ragged = fc.predict([y[0, :20], y[1], y[2, :INPUT_SIZE]])
    assert ragged.shape == (3, HORIZON)
    bands = forecaster(conformal=5).fit(y).predict(level=50)
    assert {k: v.shape for k, v in bands.items()} == dict.fromkeys(
        ("NLinear", "NLinear-lo-50", "NLinear-hi-50"), (3, HORIZON)
    )


def test_single_precision_goes_through():
    y = frame()["y"].reshape(3, 60).astype(np.float32)
    fc = forecaster(series_scaler="standard").fit(y)
    assert fc.predict().dtype == np.float32
    assert forecaster(dtype="float64").fit(y).predict().dtype == np.float64


def test_names_of_columns():
    data = frame()
    renamed = {"store": data["unique_id"], "day": data["ds"], "sales": data["y"]}
    names = {"id_col": "store", "time_col": "day", "target_col": "sales"}
    fc = forecaster(**names).fit(renamed)
    assert list(fc.predict()) == ["store", "day", "NLinear"]
    assert list(fc.predict_insample(renamed)) == ["store", "day", "cutoff", "NLinear", "sales"]
    assert weights(fc) == weights(forecaster().fit(data))
    alone = {name: values[:60] for name, values in data.items() if name != "unique_id"}
    fc = forecaster(id_col=None).fit(pd.DataFrame(alone))
    assert list(fc.predict().columns) == ["ds", "NLinear"]


def test_new_series_are_forecast_too():
    fc = forecaster("mlp", series_scaler="standard").fit(frame())
    new = frame(n_series=2, seed=3)
    new["unique_id"] = np.char.add("z", new["unique_id"])
    both = {name: np.concatenate([frame()[name], new[name]]) for name in new}
    answer = fc.predict(both)
    known = np.char.startswith(answer["unique_id"], "s")
    assert answer["MLP"][known].tobytes() == fc.predict(frame())["MLP"].tobytes()
    alone = fc.predict(new)
    assert answer["MLP"][~known].tobytes() == alone["MLP"].tobytes()
    # in units of their own: ten times the values, ten times the forecast
    large = fc.predict(new | {"y": 1000 * new["y"]})
    np.testing.assert_allclose(large["MLP"], 1000 * alone["MLP"], rtol=1e-4)


def test_static_covariates_of_new_series():
    data = frame()
    fc = forecaster("mlp", stat_exog=("area",)).fit(data)
    bare = {name: data[name] for name in ("unique_id", "ds", "y")}
    assert bits(fc.predict(bare)) == bits(fc.predict(data))
    bare["unique_id"] = np.char.add("z", bare["unique_id"])
    with pytest.raises(ValueError, match=r"series 'zs0' is new: its stat_exog 'area'"):
        fc.predict(bare)
    static = {"unique_id": ["zs0", "zs1", "zs2"], "area": data["area"][::60]}
    answer = fc.predict(bare, static=static)
    assert answer["MLP"].tobytes() == fc.predict()["MLP"].tobytes()
    by_frame = forecaster("mlp", stat_exog=("area",))
    given = {"unique_id": ["s2", "s0", "s1"], "area": data["area"][::60][[2, 0, 1]]}
    bare["unique_id"] = data["unique_id"]
    assert weights(by_frame.fit(bare, static=given)) == weights(fc)


# ------------------------------------------------------------------- calendars


@pytest.mark.parametrize(
    ("freq", "first", "wanted"),
    [
        ("MS", "2020-01-01", ["2024-01-01", "2024-02-01", "2024-03-01", "2024-04-01"]),
        ("ME", "2020-01-31", ["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"]),
        ("QE", "2012-03-31", ["2024-03-31", "2024-06-30", "2024-09-30", "2024-12-31"]),
        ("B", "2024-01-01", ["2024-03-07", "2024-03-08", "2024-03-11", "2024-03-12"]),
        ("h", "2024-01-01", ["2024-01-03 00:00", "2024-01-03 01:00", "2024-01-03 02:00"]),
    ],
)
def test_frequencies(freq, first, wanted):
    stamps = pd.date_range(first, periods=48, freq=freq)
    data = pd.DataFrame({"unique_id": "a", "ds": stamps, "y": np.arange(48.0)})
    for given in (freq, None):
        answer = forecaster(freq=given).fit(data).predict()
        assert answer["ds"].tolist()[: len(wanted)] == [pd.Timestamp(day) for day in wanted]
        assert answer["ds"].dtype == data["ds"].dtype


def test_months_of_passengers():
    data = load_air_passengers()
    fc = forecaster(horizon=3, input_size=24).fit(pd.DataFrame(data))
    assert fc.predict()["ds"].tolist() == [pd.Timestamp(1961, month, 1) for month in (1, 2, 3)]
    cutoffs = fc.predict_insample(pd.DataFrame(data))["cutoff"]
    assert (cutoffs.dt.day == 1).all()


def test_time_zones(tmp_path):
    """Days of Berlin around the change to summer time, in and out."""
    zone = "Europe/Berlin"
    stamps = pd.date_range("2024-02-08", periods=50, freq="D", tz=zone)
    data = pd.DataFrame({"unique_id": "a", "ds": stamps, "y": np.sin(np.arange(50.0))})
    fc = forecaster().fit(data)
    want = pd.date_range(stamps[-1], periods=HORIZON + 1, freq="D")[1:]
    answer = fc.predict()
    assert answer["ds"].tolist() == want.tolist()
    assert str(answer["ds"].dt.tz) == zone
    by_polars = forecaster().fit(pl.DataFrame({name: data[name].tolist() for name in data}))
    assert by_polars.predict()["ds"].to_list() == want.to_pydatetime().tolist()
    fc.save(tmp_path / "model.npz")
    loaded = ctrain.load(tmp_path / "model.npz").predict()
    assert loaded["ds"].tolist() == want.tolist()
    hour = datetime.datetime(2024, 3, 31, 0, tzinfo=zoneinfo.ZoneInfo("UTC"))
    hours = pd.date_range(hour, periods=40, freq="h").tz_convert(zone)
    clock = pd.DataFrame({"unique_id": "a", "ds": hours, "y": np.sin(np.arange(40.0))})
    answer = forecaster().fit(clock).predict()
    assert (answer["ds"].diff().dropna() == pd.Timedelta(hours=1)).all()
    moved = data.assign(ds=data["ds"].dt.tz_convert("UTC"))
    with pytest.raises(ValueError, match=r"has time zone UTC, that of the fit had Europe/Berlin"):
        fc.predict(moved)


def test_callbacks_hear_of_the_fit_alone():
    """Not of the inner fit of conformal intervals, nor of those of a cross-validation."""
    told = []
    fc = forecaster(conformal=5, max_steps=None, max_iter=3)
    fc.set_callbacks(OnEpochEnd(lambda fit: told.append(fit.predict()["NLinear"][0])))
    fc.fit(frame())
    assert len(told) == 3 and told[-1] == fc.predict()["NLinear"][0]
    fc.cross_validation(frame(), n_windows=2, refit=True)
    assert len(told) == 3
