"""The command: the same answers as the Python interface, and what goes where."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from commands import QUICK, SERIES, answer, run
from numpy.testing import assert_array_equal

import ctrain
from ctrain import Classifier, Forecaster, Regressor
from ctrain.command_line import doctor, report, tables
from ctrain.data import load_air_passengers
from ctrain.models import MLP, NHITS, Standardized

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.usefixtures("in_folder")


def forecast(frame, name):
    return frame.get_column(name).to_numpy()


# ------------------------------------------------------------------------- the Python interface


def test_table_is_the_regressor(capsys, files):
    told = answer(capsys, "fit", "diabetes.csv", "--target", "score", "--out", "a.npz", *QUICK)
    frame = pl.read_csv("diabetes.csv")
    X, y = frame.drop("score"), frame.get_column("score").to_numpy()
    mean, scale = X.to_numpy().mean(axis=0).tolist(), X.to_numpy().std(axis=0).tolist()
    model = Standardized(MLP((100,)), mean, scale, float(y.mean()), float(y.std()))
    reg = Regressor(model=model, max_iter=3, random_state=7).fit(X, y)
    assert told["estimator"] == "Regressor" and told["rows"] == 442 and told["features"] == 10
    assert told["train_r2"] == reg.score(X, y) and told["loss"] == reg.loss_
    loaded = ctrain.load("a.npz")
    assert loaded.feature_names_in_.tolist() == X.columns
    assert_array_equal(loaded.predict(X), reg.predict(X))
    predicted = answer(capsys, "predict", "a.npz", "diabetes.csv")
    assert predicted["rows"] == 442
    assert_array_equal(predicted["columns"]["prediction"], reg.predict(X))


def test_no_scale_is_the_plain_regressor(capsys, files):
    words = ["--set", "hidden_layer_sizes=(8,)", "--set", "optimizer__weight_decay=0.5", *QUICK]
    answer(capsys, "fit", "diabetes.parquet", "--target", "score", "--no-scale", "--out", "n.npz",
           *words)  # fmt: skip
    frame = pl.read_csv("diabetes.csv")
    X, y = frame.drop("score"), frame.get_column("score").to_numpy()
    adamw = ctrain.optimizers.AdamW(weight_decay=0.5)
    reg = Regressor((8,), optimizer=adamw, max_iter=3, random_state=7).fit(X, y)
    loaded = ctrain.load("n.npz")
    assert_array_equal(loaded.predict(X), reg.predict(X))
    assert [c.tolist() for c in loaded.coefs_] == [c.tolist() for c in reg.coefs_]


def test_several_targets_and_csv_and_parquet_alike(capsys, files):
    told = answer(capsys, "fit", "two.csv", "--target", "score,half", "--out", "two.npz", *QUICK)
    assert told["target"] == ["score", "half"] and told["task"] == "regression"
    columns = answer(capsys, "predict", "two.npz", "diabetes.csv")["columns"]
    assert list(columns) == ["prediction_0", "prediction_1"]
    assert columns == answer(capsys, "predict", "two.npz", "diabetes.parquet")["columns"]


def test_table_is_the_classifier(capsys, models):
    frame = pl.read_parquet("iris.parquet")
    X, y = frame.drop("species"), frame.get_column("species").to_numpy()
    mean, scale = X.to_numpy().mean(axis=0).tolist(), X.to_numpy().std(axis=0).tolist()
    model = Standardized(MLP((100,)), mean, scale)
    clf = Classifier(model=model, max_iter=3, random_state=7).fit(X, y)
    columns = answer(capsys, "predict", "clf.npz", "iris.parquet")["columns"]
    assert columns["prediction"] == clf.predict(X).tolist()
    shares = answer(capsys, "predict", "clf.npz", "iris.parquet", "--proba")["columns"]
    assert list(shares) == [f"probability_{name}" for name in clf.classes_]
    assert_array_equal(np.stack(list(shares.values()), axis=1), clf.predict_proba(X))


@pytest.mark.parametrize(
    ("file", "target", "task", "because"),
    [
        ("iris.parquet", "species", "classification", "species is text"),
        ("bool.pq", "is_setosa", "classification", "is_setosa is true and false"),
        ("codes.csv", "code", "classification", "code has 3 different whole numbers"),
        ("codes.csv", "petal_width", "regression", "petal_width is a number"),
    ],
)
def test_task_follows_the_target(capsys, files, file, target, task, because):
    words = ["fit", file, "--target", target, "--out", "t.npz", *QUICK]
    told = answer(capsys, *words)
    assert (told["task"], told["because"]) == (task, because)
    assert type(ctrain.load("t.npz")).__name__ == told["estimator"]


def test_task_can_be_said(capsys, files):
    words = ["fit", "codes.csv", "--target", "code", "--out", "t.npz", *QUICK]
    assert answer(capsys, *words, "--task", "regression")["estimator"] == "Regressor"
    assert answer(capsys, *words, "--task", "classification")["classes"] == [0, 1, 2]


def test_series_are_the_forecaster(capsys, files):
    words = ["air.parquet", "--horizon", 12, "--input-size", 24, "--set", "max_steps=5", "--set",
             "model__mlp_units=((16, 16),)", "--val-size", 12, "--seed", 3]  # fmt: skip
    told = answer(capsys, "fit", *words, "--out", "f.npz")
    fc = Forecaster(NHITS(mlp_units=((16, 16),)), horizon=12, input_size=24, max_steps=5,
                    random_state=3)  # fmt: skip
    fc.fit("air.parquet", val_size=12)
    assert told["loss"] == fc.history_["loss"][(fc.best_epoch_ or 0) - 1]
    assert told["validation_loss"] == min(fc.validation_loss_curve_)
    assert told["windows"] == fc.n_windows_ and told["freq"] == "MS"
    columns = answer(capsys, "predict", "f.npz")["columns"]
    expected = fc.predict()
    assert list(columns) == expected.columns == ["unique_id", "ds", "NHITS"]
    assert_array_equal(np.array(columns["NHITS"], "float32"), forecast(expected, "NHITS"))
    assert columns["ds"][0] == "1961-01-01"
    longer = answer(capsys, "predict", "f.npz", "air.csv", "--steps", 20)["columns"]["NHITS"]
    assert_array_equal(
        np.array(longer, "float32"), forecast(fc.predict("air.csv", steps=20), "NHITS")
    )


def test_held_out_rows_do_not_reach_the_fit(capsys, models):
    loaded = ctrain.load("air.npz")
    train = {name: column[:-24] for name, column in load_air_passengers().items()}
    fc = Forecaster("nlinear", horizon=12, input_size=24, max_iter=3, random_state=7,
                    quantiles=(0.1, 0.5, 0.9)).fit(train)  # fmt: skip
    assert str(loaded._tail.end[0]) == "1958-12-01"
    assert_array_equal(loaded._network.parameters.arena, fc._network.parameters.pack())
    told = answer(capsys, "backtest", "air.npz", "air.csv", "--test-size", 24, "--metrics",
                  "mae,mase,coverage", "--season", 12)  # fmt: skip
    scores = fc.backtest(load_air_passengers(), 24, metrics=("mae", "mase", "coverage"), season=12)
    assert told["metrics"] == dict(scores) and told["windows"] == scores.n_windows == 13
    assert told["by_step"]["mae"] == scores.by_step("mae").tolist()
    assert told["seen"] == 0
    code, out, err = run(capsys, "backtest", "air.npz", "air.csv", "--test-size", 30, "--json")
    assert code == 0 and json.loads(out)["seen"] == 6 and "up to 6 of the last 30 rows" in err


def test_held_out_rows_of_each_series(capsys, files):
    words = ["pair.csv", "--horizon", 2, "--input-size", 4, "--model", "nlinear", *QUICK]
    told = answer(capsys, "fit", *words, "--test-size", 10, "--out", "p.npz")
    assert (told["series"], told["rows"], told["held_out"]) == (2, 50, 10)
    assert ctrain.load("p.npz")._tail.end.astype(str).tolist() == ["1951-06-01", "1950-08-01"]


def test_backtest_says_what_the_fit_has_seen(capsys, files):
    answer(capsys, "fit", "air.csv", *SERIES, "--out", "seen.npz")
    code, out, err = run(capsys, "backtest", "seen.npz", "air.csv", "--test-size", 15)
    assert code == 0 and "mae" in out
    assert "has seen up to 15 of the last 15 rows" in err and "fit --test-size" in err


def test_single_series_without_id(capsys, files):
    words = ["--id-col", "none", "--target", "y", "--time-col", "ds", *SERIES]
    assert answer(capsys, "fit", "lone.csv", *words, "--out", "l.npz")["series"] == 1
    columns = answer(capsys, "predict", "l.npz")["columns"]
    assert list(columns) == ["ds", "NLinear"] and len(columns["ds"]) == 12


def test_intervals(capsys, models):
    columns = answer(capsys, "predict", "air.npz", "--level", "80")["columns"]
    low, high = np.array(columns["NLinear-lo-80"]), np.array(columns["NLinear-hi-80"])
    assert (low <= high).all() and (low < high).any()


def test_forecast_of_a_model_fitted_on_arrays(capsys, files):
    y = np.arange(60.0).reshape(2, 30)
    fc = Forecaster("nlinear", horizon=3, input_size=6, max_iter=2, random_state=0).fit(y)
    fc.save("arrays.npz")
    columns = answer(capsys, "predict", "arrays.npz")["columns"]
    assert columns["unique_id"] == [0, 0, 0, 1, 1, 1] and columns["ds"] == [1, 2, 3, 1, 2, 3]
    assert_array_equal(np.array(columns["prediction"], "float32"), fc.predict().reshape(-1))


def test_covariates_reach_the_forecaster(capsys, files):
    air = pl.read_csv("air.csv", try_parse_dates=True)
    month = (pl.col("ds").dt.month() / 12).alias("month")
    air.with_columns(month, pl.lit(1.0).alias("kind")).write_csv("exog.csv")
    words = ["--horizon", 6, "--input-size", 12, "--model", "nhits", "--futr-exog", "month",
             "--stat-exog", "kind", "--set", "model__mlp_units=((8, 8),)", *QUICK]  # fmt: skip
    answer(capsys, "fit", "exog.csv", *words, "--out", "x.npz")
    fc = ctrain.load("x.npz")
    assert fc.futr_exog == ("month",) and fc.stat_exog == ("kind",)
    code, _, err = run(capsys, "predict", "x.npz")
    assert code == 1 and "month" in err
    future = pl.DataFrame({
        "unique_id": ["AirPassengers"] * 6,
        "ds": pl.date_range(pl.date(1961, 1, 1), pl.date(1961, 6, 1), "1mo", eager=True),
    }).with_columns(month)  # fmt: skip
    future.write_csv("future.csv")
    columns = answer(capsys, "predict", "x.npz", "--future", "future.csv")["columns"]
    assert_array_equal(
        np.array(columns["NHITS"], "float32"), forecast(fc.predict(future=future), "NHITS")
    )


# ------------------------------------------------------------------------- where things go


def test_predict_writes_csv_and_parquet(capsys, models):
    code, out, err = run(capsys, "predict", "reg.npz", "diabetes.csv")
    assert (code, err) == (0, "")
    printed = pl.read_csv(out.encode())
    assert printed.columns == ["prediction"] and printed.height == 442
    for name, read in (("out.csv", pl.read_csv), ("out.parquet", pl.read_parquet)):
        told = answer(capsys, "predict", "reg.npz", "diabetes.csv", "--out", name)
        assert told == {"rows": 442, "columns": ["prediction"], "saved": name}
        assert read(name).equals(printed)


def test_backtest_writes_the_steps(capsys, models):
    told = answer(capsys, "backtest", "air.npz", "air.csv", "--test-size", 24, "--out", "bt.csv")
    steps = pl.read_csv("bt.csv")
    assert steps.columns == ["step", "mae", "mse"]
    assert steps.get_column("mae").to_list() == told["by_step"]["mae"]


def test_fit_without_out_writes_nothing(capsys, files):
    before = sorted(files.iterdir())
    code, out, err = run(capsys, "fit", "diabetes.csv", "--target", "score", *QUICK)
    assert code == 0 and "train_r2" in out
    assert err == "ctrain fit: the model is not saved; name a file with --out\n"
    assert sorted(files.iterdir()) == before


def test_a_fit_without_a_seed_can_be_repeated(capsys, files):
    words = ["fit", "diabetes.csv", "--target", "score", "--set", "max_iter=2", "--out", "s.npz"]
    first, second = answer(capsys, *words), answer(capsys, *words)
    assert first["seed"] != second["seed"] and first["loss"] != second["loss"]
    again = answer(capsys, *words, "--seed", first["seed"])
    assert again["loss"] == first["loss"]


def test_inspect(capsys, models):
    for name in models:
        told = answer(capsys, "inspect", name)
        loaded = ctrain.load(name)
        assert told["estimator"] == type(loaded).__name__
        assert told["versions"]["ctrain"] == ctrain.__version__
        assert told["parameters"]["random_state"] == 7
        assert set(told["parameters"]) == set(loaded.get_params(deep=False))
        assert told["training"]["steps"] == loaded.t_
        assert told["training"]["last"]["loss"] == loaded.loss_
        sizes = {p["name"]: p["size"] for p in told["network"]["parameters"]}
        assert sizes == {p.name: p.size for p in loaded._network.parameters}
        assert told["network"]["weights"] == sum(sizes.values())
        code, out, err = run(capsys, "inspect", name)
        assert (code, err) == (0, "")
        assert told["estimator"] in out and f"{sum(sizes.values()):,} weights" in out
    assert answer(capsys, "inspect", "clf.npz")["learned"]["classes"] == [
        "setosa", "versicolor", "virginica"
    ]  # fmt: skip
    assert answer(capsys, "inspect", "air.npz")["learned"]["ends"] == "1958-12-01"


def test_doctor(capsys):
    told = answer(capsys, "doctor")
    assert told["ok"] is True and len(told["checks"]) == 5
    assert all(text.startswith("ok") for text in told["checks"].values())
    assert told["config"]["target"] == ctrain.show_config()["target"]
    assert told["extras"]["data"] == f"polars {pl.__version__}"


def test_doctor_finds_a_wrong_product(capsys, monkeypatch):
    value = ctrain.Tape.value
    monkeypatch.setattr(doctor.Tape, "value", lambda tape, t: value(tape, t) * 1.001)
    with pytest.raises(ArithmeticError, match="times the bound"):
        doctor.products("float32")
    for name in ("gradients", "threads", "targets"):
        monkeypatch.setattr(doctor, name, lambda: "")
    code, out, err = run(capsys, "doctor")
    assert (code, err) == (1, "") and "FAILED: ArithmeticError" in out


def test_doctor_finds_bits_that_differ(monkeypatch):
    monkeypatch.setattr(doctor, "fingerprint", lambda n=None: str(n))
    with pytest.raises(ArithmeticError, match="weights differ"):
        doctor.threads()
    monkeypatch.setattr(doctor, "FINGERPRINT", "import os; print(os.environ['CTRAIN_CPU'])")
    monkeypatch.setattr(doctor.dispatch, "available", lambda: ("avx512", "avx2", "baseline"))
    with pytest.raises(ArithmeticError, match="weights differ"):
        doctor.targets()


def test_page(capsys, tmp_path, monkeypatch):
    """The commands of the documentation do what it says, in its order."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "docs" / "command_line.md").read_text()
    exec(re.search(r"^```python\n(.*?)^```$", text, re.M | re.S)[1], {})
    lines = [line for block in re.findall(r"^```sh\n(.*?)^```$", text, re.M | re.S)
             for line in block.splitlines()]  # fmt: skip
    assert {line.split()[1] for line in lines} == {
        "fit",
        "predict",
        "backtest",
        "inspect",
        "doctor",
    }
    lines.remove("ctrain doctor")  # has a test of its own
    for line in lines:
        code, out, err = run(capsys, *shlex.split(line)[1:])
        assert (code, err) == (0, ""), f"{line}\n{err}"
        assert out
    assert pl.read_parquet("forecast.parquet").columns[-1] == "NHITS-hi-80"
    assert pl.read_csv("predicted.csv").height == 442


def test_quick_moments_of_constant_columns():
    X = np.column_stack([np.full(1000, 0.1), np.arange(1000.0), np.zeros(1000)])
    mean, scale = tables.moments(X)
    assert scale[0] == 1.0 and scale[2] == 1.0 and scale[1] == X[:, 1].std()
    assert mean[2] == 0.0


def test_json_says_what_json_can():
    value = {"a": np.float32(1.5), "b": float("nan"), 3: (np.int64(2), np.array([1.0, np.inf]))}
    value["when"] = np.array(["2024-01-01", "NaT"], "M8[D]")
    assert report.plain(value) == {
        "a": 1.5, "b": None, "3": [2, [1.0, None]], "when": ["2024-01-01", None]
    }  # fmt: skip
