"""The command in bad and in interactive hands: errors, terminals, interrupts, closed pipes."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import polars as pl
import pytest
from commands import QUICK, SERIES, run

import ctrain
from ctrain.__main__ import main
from ctrain.command_line import tables

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.usefixtures("in_folder")


def test_warnings_are_one_line_of_stderr(capsys, files, monkeypatch):
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
