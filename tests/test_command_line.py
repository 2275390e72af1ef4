"""The command: exit codes, what goes where, and the same answers as the Python interface."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.datasets import load_diabetes, load_iris

import ctrain
from ctrain import Classifier, Forecaster, Regressor
from ctrain.__main__ import main
from ctrain.command_line import doctor, report, tables
from ctrain.data import load_air_passengers
from ctrain.models import MLP, NHITS, Standardized

pl = pytest.importorskip("polars", reason="the extra data is not installed")

ROOT = Path(__file__).parents[1]
QUICK = ["--set", "max_iter=3", "--seed", "7"]
SERIES = ["--horizon", "12", "--input-size", "24", "--model", "nlinear", *QUICK]


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with tables and series."""
    folder = tmp_path_factory.mktemp("files")
    data = load_diabetes(scaled=False)
    columns = {name: data.data[:, k] for k, name in enumerate(data.feature_names)}
    table = pl.DataFrame({**columns, "score": data.target})
    table.write_csv(folder / "diabetes.csv")
    table.write_parquet(folder / "diabetes.parquet")
    table.with_columns(pl.lit("x").alias("who")).write_csv(folder / "text.csv")
    table.with_columns(half=pl.col("score") / 2).write_csv(folder / "two.csv")
    table.head(0).write_csv(folder / "empty.csv")
    broken = pl.when(pl.int_range(pl.len()) == 7).then(None).otherwise(pl.col("bmi")).alias("bmi")
    table.with_columns(broken).write_csv(folder / "gap.csv")
    flowers = load_iris()
    names = ["sepal_length", "sepal_width", "petal_length", "petal_width"]
    iris = pl.DataFrame({name: flowers.data[:, k] for k, name in enumerate(names)})
    species = pl.Series("species", flowers.target_names[flowers.target])
    iris.with_columns(species).write_parquet(folder / "iris.parquet")
    iris.with_columns(pl.Series("code", flowers.target)).write_csv(folder / "codes.csv")
    iris.with_columns((species == "setosa").alias("is_setosa")).write_parquet(folder / "bool.pq")
    iris.with_columns(pl.lit("one").alias("species")).write_csv(folder / "single.csv")
    air = pl.DataFrame(load_air_passengers())
    air.write_csv(folder / "air.csv")
    air.write_parquet(folder / "air.parquet")
    air.drop("unique_id").write_csv(folder / "lone.csv")
    air.head(40).vstack(air.head(30).with_columns(pl.lit("b").alias("unique_id"))).write_csv(
        folder / "pair.csv"
    )
    air.head(20).vstack(air.tail(20)).write_csv(folder / "hole.csv")
    (folder / "notes.txt").write_text("not a table")
    (folder / "broken.npz").write_bytes(b"not a model")
    return folder


@pytest.fixture(autouse=True)
def in_folder(files, monkeypatch, request):
    if "tmp_path" not in request.fixturenames:
        monkeypatch.chdir(files)


@pytest.fixture(scope="module")
def models(files):
    """One file of each kind."""
    here = os.getcwd()
    os.chdir(files)
    try:
        made = {
            "reg.npz": ["diabetes.csv", "--target", "score", *QUICK],
            "clf.npz": ["iris.parquet", "--target", "species", *QUICK],
            "air.npz": ["air.csv", *SERIES, "--test-size", "24", "--quantiles", "0.1,0.5,0.9"],
        }
        for out, words in made.items():
            assert main(["fit", *words, "--out", out, "--json"]) == 0
    finally:
        os.chdir(here)
    return made


def run(capsys, *words) -> tuple[int, str, str]:
    code = main(list(map(str, words)))
    return code, *capsys.readouterr()


def answer(capsys, *words) -> dict:
    """JSON of a command that must succeed, with nothing on stderr."""
    code, out, err = run(capsys, *words, "--json")
    assert (code, err) == (0, ""), err
    assert out.count("\n") == 1
    return json.loads(out)


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


def test_warnings_are_one_line_of_stderr(capsys, files, monkeypatch):
    import warnings

    monkeypatch.setattr(
        tables, "read_table", lambda *_: warnings.warn("mind\nthe gap", stacklevel=1)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        with pytest.raises(AttributeError):  # what is no error of the user's has its traceback
            main(["fit", "x.csv", "--target", "y"])
    assert capsys.readouterr().err == "ctrain warning: mind the gap\n"


# ------------------------------------------------------------------------- errors

REFUSED = [
    (["fit", "absent.csv", "--target", "y"], "no file 'absent.csv'"),
    (["fit", "notes.txt", "--target", "y"], "must end in .csv"),
    (["fit", "empty.csv", "--target", "score"], "has no rows"),
    (["fit", "diabetes.csv", "--target", "scor"], "has no column 'scor'; its columns are 'age'"),
    (["fit", "diabetes.csv", "--target", "score", "--drop", "x"], "has no column 'x'"),
    (["fit", "text.csv", "--target", "score"], "column 'who' holds String such as 'x'"),
    (["fit", "text.csv", "--target", "score"], "--drop 'who'"),
    (["fit", "gap.csv", "--target", "score"], "column 'bmi' is empty in row 7 (1 rows in all"),
    (["fit", "gap.csv", "--target", "bmi"], "column 'bmi' is empty in row 7"),
    (["fit", "iris.parquet", "--target", "species", "--task", "regression"], "'species' holds Str"),
    (["fit", "single.csv", "--target", "species"], "at least 2 classes"),
    (["fit", "diabetes.csv", "--target", "score", "--set", "max_itr=3"], "did you mean 'max_iter'"),
    (["fit", "diabetes.csv", "--target", "score", "--set", "max_iter=none"], "Got 'none' instead"),
    (["fit", "diabetes.csv", "--target", "score", "--set", "activation=rely"], "rely"),
    (["fit", "diabetes.csv", "--target", "score", "--out", "no/m.npz"], "there is no folder 'no'"),
    (["fit", "air.csv", *SERIES, "--id-col", "name"], "has no column 'name'"),
    (["fit", "air.csv", *SERIES, "--test-size", "144"], "leaves no rows of air.csv"),
    (["fit", "air.csv", *SERIES, "--test-size", "120"], "has 24 rows"),
    (["fit", "hole.csv", *SERIES], "1950-09-01"),
    (["fit", "air.csv", *SERIES, "--val-size", "3"], "val_size=3"),
    (["predict", "absent.npz"], "absent.npz"),
    (["predict", "broken.npz"], "not a checkpoint of ctrain"),
    (["inspect", "broken.npz"], "not a checkpoint of ctrain"),
    (["predict", "reg.npz", "iris.parquet"], "has no column 'age'"),
    (["predict", "reg.npz", "gap.csv"], "column 'bmi' is empty in row 7"),
    (["predict", "reg.npz", "diabetes.csv", "--out", "p.txt"], "must end in .csv or .parquet"),
    (["predict", "air.npz", "--level", "50"], "level=50"),
    (["backtest", "reg.npz", "diabetes.csv", "--test-size", "9"], "holds a Regressor"),
    (["backtest", "air.npz", "air.csv", "--test-size", "5"], "12"),
    (["backtest", "air.npz", "air.csv", "--test-size", "24", "--metrics", "mea"], "mea"),
]


@pytest.mark.parametrize(("words", "message"), REFUSED, ids=lambda v: str(v)[:60])
def test_refused(capsys, models, words, message):
    code, out, err = run(capsys, *words)
    assert (code, out) == (1, "")
    assert err.startswith(f"ctrain {words[0]}: ") and err.count("\n") == 1
    assert message in err


MISUSED = [
    ([], "COMMAND"),
    (["train"], "invalid choice"),
    (["fit"], "DATA"),
    (["fit", "diabetes.csv"], "a table needs --target"),
    (["fit", "diabetes.csv", "--task", "forecasting"], "forecasting needs --horizon"),
    (["fit", "air.csv", "--horizon", "12"], "forecasting needs --input-size"),
    (["fit", "air.csv", "--horizon", "0"], "'0' is not an integer of at least 1"),
    (["fit", "air.csv", "--model", "nhits"], "--model is for forecasting: give --horizon"),
    (["fit", "air.csv", "--model", "nhit"], "invalid choice"),
    (["fit", "air.csv", *SERIES, "--drop", "x"], "--drop is for tables"),
    (["fit", "air.csv", *SERIES, "--target", "a,b"], "forecasting has one --target"),
    (["fit", "a.csv", "--target", "a,b", "--task", "classification"], "has one --target"),
    (["fit", "a.csv", "--target", "a", "--horizon", "3", "--task", "regression"], "--horizon is"),
    (["fit", "a.csv", "--target", "a", "--set", "3"], "'3' is not NAME=VALUE"),
    (["fit", "a.csv", "--target", "a", "--seed", "-1"], "not an integer of at least 0"),
    (["fit", "a.csv", "--target", "a", "--seed", str(1 << 32)], "not below 2**32"),
    (["fit", "a.csv", "--quantiles", "a"], "is not numbers with commas"),
    (["predict", "reg.npz"], "DATA is missing"),
    (["predict", "reg.npz", "diabetes.csv", "--proba"], "--proba is for classification"),
    (["predict", "air.npz", "--proba"], "--proba is for classification"),
    (["predict", "clf.npz", "iris.parquet", "--steps", "3"], "--steps is for forecasting"),
    (["backtest", "air.npz", "air.csv"], "--test-size"),
]


@pytest.mark.parametrize(("words", "message"), MISUSED, ids=lambda v: str(v)[:60])
def test_misused(capsys, models, words, message):
    with pytest.raises(SystemExit) as stop:
        main(words)
    out, err = capsys.readouterr()
    assert stop.value.code == 2 and out == ""
    assert err.startswith("usage: ctrain") and message in err


@pytest.mark.parametrize("command", ["", "fit", "predict", "backtest", "inspect", "doctor"])
def test_help(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([*command.split(), "--help"])
    assert stop.value.code == 0 and capsys.readouterr().out.startswith("usage: ctrain")


def test_without_polars(capsys, models, monkeypatch):
    monkeypatch.setitem(sys.modules, "polars", None)
    for words in (["fit", "diabetes.csv", "--target", "score"], ["predict", "air.npz"]):
        code, out, err = run(capsys, *words)
        assert (code, out) == (1, "")
        assert "pip install 'ctrain[data]'" in err and err.count("\n") == 1


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


# ------------------------------------------------------------------------- processes


def command(*words, **options):
    words = [sys.executable, "-m", "ctrain", *map(str, words)]
    return subprocess.Popen(words, text=True, **options)


def test_entry_point():
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {"ctrain": "ctrain.__main__:main"}


def test_process(tmp_path, files):
    pipe = subprocess.PIPE
    words = ["fit", files / "air.csv", *SERIES, "--out", "m.npz", "--json"]
    with command(*words, cwd=tmp_path, stdout=pipe, stderr=pipe) as process:
        out, err = process.communicate()
    assert (process.returncode, err) == (0, "")
    assert json.loads(out)["saved"] == "m.npz"
    with command("predict", "m.npz", "x.csv", cwd=tmp_path, stdout=pipe, stderr=pipe) as process:
        out, err = process.communicate()
    assert (process.returncode, out) == (1, "")
    assert err == "ctrain predict: no file 'x.csv'\n"


def on_terminal(words, cwd, everything: bool, stop_at: str = "") -> tuple[int, str, str]:
    """Run with stderr, or stdout too, on a terminal: exit code, what it showed, stdout.

    Ctrl-C once it has shown `stop_at`.
    """
    ours, theirs = pty.openpty()
    out = theirs if everything else subprocess.PIPE
    with command(*words, cwd=cwd, stdout=out, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        try:
            while part := os.read(ours, 4096):
                shown += part
                if stop_at and stop_at in shown.decode():
                    stop_at = ""
                    process.send_signal(signal.SIGINT)
        except OSError:  # Linux says so when the other end is closed
            pass
        rest = "" if everything else process.stdout.read()
    os.close(ours)
    return process.returncode, shown.decode(), rest


def test_progress_on_a_terminal(tmp_path, files):
    words = ["fit", files / "diabetes.csv", "--target", "score", "--out", "m.npz", *QUICK]
    code, shown, out = on_terminal([*words, "--json"], tmp_path, False)
    assert code == 0 and json.loads(out)["epochs"] == 3
    assert "epoch" in shown and "loss" in shown
    assert ctrain.load(tmp_path / "m.npz").verbose == 0
    pytest.importorskip("rich")
    code, shown, _ = on_terminal(words, tmp_path, True)
    assert code == 0 and "100%" in shown and "train_r2" in shown


def test_interrupt_saves_the_weights_so_far(tmp_path, files):
    words = ["fit", files / "diabetes.csv", "--target", "score", "--out", "m.npz",
             "--set", "max_iter=1_000_000", "--seed", 0]  # fmt: skip
    code, shown, out = on_terminal([*words, "--json"], tmp_path, False, stop_at="epoch ")
    assert (code, out) == (130, "")
    last = shown.rpartition("\x1b[K")[2]
    assert last.startswith("ctrain fit: interrupted in epoch") and "are in m.npz" in last
    assert 1_000_000 > ctrain.load(tmp_path / "m.npz").n_iter_ >= 1


def test_reader_that_stops_reading(tmp_path, files):
    rows = pl.concat([pl.read_csv(files / "diabetes.csv")] * 400)  # more than a pipe holds
    rows.write_csv(tmp_path / "many.csv")
    main(["fit", str(files / "diabetes.csv"), "--target", "score", "--json", "--out",
          str(tmp_path / "m.npz"), *QUICK])  # fmt: skip
    pipe = subprocess.PIPE
    with command("predict", "m.npz", "many.csv", cwd=tmp_path, stdout=pipe, stderr=pipe) as process:
        process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
    assert (process.returncode, err) == (141, "")
