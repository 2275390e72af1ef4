"""The words that the command understands."""

from __future__ import annotations

import argparse
import ast

from .. import metrics
from ..forecaster import MODELS
from ..version import __version__
from . import answers, doctor, fitting, inspection, tables

TASKS = ("regression", "classification", "forecasting")
NONE = "none"


def parser() -> argparse.ArgumentParser:
    """Parser of the command and its subcommands; ``run`` of what it parses does the work."""
    whole = argparse.ArgumentParser(
        prog="ctrain",
        description="Neural networks for tables and time series, trained on this machine's CPU.",
        epilog="Exit codes: 0 done, 1 data or model refused, 2 wrong usage, 130 after Ctrl-C.",
    )
    whole.add_argument("--version", action="version", version=f"ctrain {__version__}")
    commands = whole.add_subparsers(dest="command", metavar="COMMAND", required=True)

    fit = _command(commands, "fit", fitting.fit, "train on a CSV or Parquet file")
    fit.add_argument("data", metavar="DATA", help=".csv, .csv.gz, .parquet, or a folder of Parquet")
    fit.add_argument("--out", metavar="FILE", help="where the model goes, such as model.npz")
    fit.add_argument("--target", metavar="COL", action="extend", type=_names, help=(
        "column to predict, several with commas; for series the default is y"))  # fmt: skip
    fit.add_argument("--task", choices=TASKS, help=(
        "default: forecasting with --horizon; else classification if the target is text, true and "
        f"false, or whole numbers with at most {tables.FEW} different values; else "
        "regression"))  # fmt: skip
    fit.add_argument("--set", metavar="NAME=VALUE", action="append", type=_setting, default=[],
                     dest="settings", help=(
        "parameter of the estimator, such as --set max_iter=200 --set 'hidden_layer_sizes=(64, "
        "64)' --set optimizer__weight_decay=0.1; may be repeated"))  # fmt: skip
    fit.add_argument("--seed", metavar="N", type=_seed, help="default: a new one, which is told")
    fit.add_argument("--threads", metavar="N", type=_count, help="default: all; same result")
    table = fit.add_argument_group("a table (one row for each case)")
    table.add_argument("--drop", metavar="COL", action="extend", type=_names, default=[], help=(
        "columns that are not features, with commas"))  # fmt: skip
    table.add_argument("--no-scale", action="store_true", help=(
        "leave columns as they are, instead of standardising them inside the network"))  # fmt: skip
    series = fit.add_argument_group("series (one row for each series and time stamp)")
    series.add_argument("--horizon", metavar="N", type=_count, help="steps to forecast")
    series.add_argument("--input-size", metavar="N", type=_count, help="steps of the past it sees")
    series.add_argument("--model", choices=sorted(MODELS), help="default: nhits")
    series.add_argument("--id-col", metavar="COL", type=_column, default="unique_id", help=(
        "name of the series, default unique_id; none if the file is one series"))  # fmt: skip
    series.add_argument("--time-col", metavar="COL", default="ds", help="default: ds")
    kinds = {"futr-exog": "known in the future", "hist-exog": "known in the past only",
             "stat-exog": "constant for a series"}  # fmt: skip
    for name, what in kinds.items():
        series.add_argument(f"--{name}", metavar="COL", action="extend", type=_names, default=[],
                            help=f"columns {what}, with commas")  # fmt: skip
    _static(series)
    series.add_argument("--freq", metavar="F", type=_literal, help="such as h, D, MS, 1")
    series.add_argument("--quantiles", metavar="Q", type=_numbers, help="such as 0.1,0.5,0.9")
    series.add_argument("--conformal", metavar="N", type=_count, help=(
        "windows whose errors calibrate intervals"))  # fmt: skip
    series.add_argument("--val-size", metavar="N", type=_natural, default=0, help=(
        "rows at the end of each series to validate on, for early stopping"))  # fmt: skip
    series.add_argument("--test-size", metavar="N", type=_natural, default=0, help=(
        "rows at the end of each series that the fit does not see, for backtest"))  # fmt: skip

    predict = _command(commands, "predict", answers.predict, "answer for new rows, or forecast")
    _model(predict)
    predict.add_argument("data", metavar="DATA", nargs="?", help=(
        "rows, or series to forecast; without it those of the fit are forecast"))  # fmt: skip
    predict.add_argument("--out", metavar="FILE", help=".csv or .parquet; default: CSV to stdout")
    predict.add_argument("--proba", action="store_true", help="probability of each class")
    predict.add_argument("--level", metavar="P", type=_numbers, help=(
        "percent of intervals, such as 80,90"))  # fmt: skip
    predict.add_argument("--steps", metavar="N", type=_count, help="default: the horizon")
    predict.add_argument("--future", metavar="FILE", help="columns of --futr-exog to come")
    _static(predict)

    backtest = _command(commands, "backtest", answers.backtest, (
        "score a forecaster on every window of the last rows"))  # fmt: skip
    _model(backtest)
    backtest.add_argument("data", metavar="DATA")
    backtest.add_argument("--test-size", metavar="N", type=_count, required=True, help=(
        "rows at the end of each series"))  # fmt: skip
    backtest.add_argument("--step-size", metavar="N", type=_count, default=1, help=(
        "steps from one window to the next, default 1"))  # fmt: skip
    backtest.add_argument("--metrics", metavar="M", type=_names, default=["mae", "mse"], help=(
        f"of {', '.join(metrics.METRICS)}; default mae,mse"))  # fmt: skip
    backtest.add_argument("--season", metavar="N", type=_count, help="of mase")
    backtest.add_argument("--out", metavar="FILE", help=(
        "the metrics by step of the horizon, .csv or .parquet"))  # fmt: skip
    _static(backtest)

    inspect = _command(commands, "inspect", inspection.inspect, "what a model file holds")
    _model(inspect)
    _command(commands, "doctor", doctor.doctor, "check this installation, for a bug report")
    return whole


def _command(commands, name: str, run, what: str) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
    command.add_argument("--json", action="store_true", help="one JSON object on stdout")
    command.set_defaults(run=run, usage_error=command.error)
    return command


def _model(command) -> None:
    command.add_argument("model", metavar="MODEL", help="file that fit or save wrote")


def _static(command) -> None:
    command.add_argument("--static", metavar="FILE", help="a row with --stat-exog for each series")


def _setting(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not (name.isidentifier() and equals):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=VALUE, such as max_iter=200")
    return name, _literal(value)


def _literal(text: str):
    """A Python literal, or the text itself: relu and 'relu' are the same."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _column(text: str) -> str | None:
    return None if text == NONE else text


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) if "." in part else int(part) for part in _names(text))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not numbers with commas") from None


def _integer(text: str, low: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = low - 1
    if value < low:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of at least {low}")
    return value


def _count(text: str) -> int:
    return _integer(text, 1)


def _natural(text: str) -> int:
    return _integer(text, 0)


def _seed(text: str) -> int:
    value = _integer(text, 0)
    if value >= 1 << 32:
        raise argparse.ArgumentTypeError(f"{text} is not below 2**32")
    return value
