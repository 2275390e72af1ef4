"""Files for the command, and how tests run it."""

from __future__ import annotations

import json
import os

import polars as pl
from sklearn.datasets import load_diabetes, load_iris

from ctrain.__main__ import main
from ctrain.data import load_air_passengers

QUICK = ["--set", "max_iter=3", "--seed", "7"]
SERIES = ["--horizon", "12", "--input-size", "24", "--model", "nlinear", *QUICK]


def make_files(folder):
    """Write tables and series into a folder."""
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


def make_models(folder) -> list[str]:
    """Fit one model of each kind in a folder of such files."""
    here = os.getcwd()
    os.chdir(folder)
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
    return list(made)


def run(capsys, *words) -> tuple[int, str, str]:
    code = main(list(map(str, words)))
    return code, *capsys.readouterr()


def answer(capsys, *words) -> dict:
    """JSON of a command that must succeed, with nothing on stderr."""
    code, out, err = run(capsys, *words, "--json")
    assert (code, err) == (0, ""), err
    assert out.count("\n") == 1
    return json.loads(out)
