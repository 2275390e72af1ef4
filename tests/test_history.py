"""What a fit records: columns of epochs, numbers of steps, and the files made of them."""

from __future__ import annotations

import copy
import csv
import io
import json
import logging
import math
import pickle

import numpy as np
import pytest
from small import problem, same_bits, small

from ctrain import training
from ctrain.callbacks import OnEpochEnd
from ctrain.history import History

NAN = math.nan
X, Y = problem(60)
X_VAL, Y_VAL = problem(20, seed=1)
PLAIN = ["epoch", "loss", "learning_rate", "gradient_norm", "seconds"]


def watched(**parameters):
    """A fit with every kind of column, validated in epochs 2, 4 and 5."""
    settings = {"max_iter": 5, "validation_interval": 2, "metrics": "r2"}
    return small(**settings, **parameters).fit(X, Y, X_val=X_VAL, y_val=Y_VAL)


# ------------------------------------------------------------------------- what it holds


def test_columns():
    assert list(small().fit(X, Y).history_) == PLAIN
    history = watched().history_
    assert list(history) == [*PLAIN, "validation_loss", "train_r2", "validation_r2"]
    assert len(history) == 8 and "validation_loss" in history and "nothing" not in history
    assert history["epoch"] == [1, 2, 3, 4, 5]
    assert {len(column) for column in history.values()} == {5}
    for name, column in history.items():
        missing = [k for k, value in enumerate(column, 1) if math.isnan(value)]
        assert missing == ([] if name in PLAIN else [1, 3]), name
        assert all(type(value) in (int, float) for value in column), name
    with pytest.raises(KeyError, match="nothing"):
        history["nothing"]


def test_curves_are_columns():
    fitted = watched(schedule="cosine")
    history = fitted.history_
    assert fitted.loss_curve_ == history["loss"] and fitted.loss_ == history["loss"][-1]
    np.testing.assert_array_equal(fitted.validation_loss_curve_, history["validation_loss"])
    assert fitted.lr_curve_ == history["learning_rate"]
    assert fitted.lr_curve_[0] > fitted.lr_curve_[-1] > 0.0
    fitted.loss_curve_.clear()  # a copy
    assert len(history["loss"]) == 5


def test_steps():
    fitted = small(schedule=lambda step: 1e-3 / (1 + step), optimizer="sgd").fit(X, Y)
    history, steps = fitted.history_, fitted.history_.steps
    assert list(steps) == ["loss", "gradient_norm", "learning_rate"]
    assert all(values.shape == (12,) and values.dtype == np.float64 for values in steps.values())
    np.testing.assert_array_equal(steps["learning_rate"], 1e-3 / (1 + np.arange(12)))
    rows = [16, 16, 16, 12]  # of a step
    losses = steps["loss"].reshape(3, 4)
    np.testing.assert_allclose(np.average(losses, axis=1, weights=rows), history["loss"])
    norms = steps["gradient_norm"].reshape(3, 4)
    np.testing.assert_allclose(norms.mean(axis=1), history["gradient_norm"])
    np.testing.assert_array_equal(steps["learning_rate"][3::4], history["learning_rate"])
    steps["loss"][:] = 0.0  # a copy
    assert fitted.history_.steps["loss"].min() > 0.0


def test_loss_and_gradient_norm_of_the_first_step():
    """By hand: one full batch of a linear model that starts at zero."""

    def linear(tape, x):
        return tape.matmul(x, tape.parameter((4, 1), name="w", init="zeros"))

    fitted = small(model=linear, batch_size=60, max_iter=1, clip_norm=1e-3).fit(X, Y)
    steps = fitted.history_.steps
    assert steps["loss"][0] == pytest.approx(np.mean(Y**2), rel=1e-12)
    gradient = -2.0 * X.T @ Y / 60  # before clipping
    assert steps["gradient_norm"][0] == pytest.approx(np.linalg.norm(gradient), rel=1e-12)


def test_lbfgs_has_no_learning_rate():
    fitted = small(optimizer="lbfgs", max_iter=4).fit(X, Y)
    history = fitted.history_
    assert history["epoch"] == [1, 2, 3, 4] and len(history.steps["loss"]) == 4
    assert history["loss"] == sorted(history["loss"], reverse=True)
    assert np.isfinite(history["gradient_norm"]).all()
    assert np.isnan(fitted.lr_curve_).all() and len(fitted.lr_curve_) == 4


def test_seconds_are_those_of_the_epochs():
    fitted = small(max_iter=50).fit(X, Y)
    seconds = fitted.history_["seconds"]
    assert min(seconds) > 0.0
    assert sum(seconds) < fitted.fit_time_


def test_it_grows_while_the_fit_runs():
    seen = []
    fitted = small().set_callbacks(
        OnEpochEnd(lambda reg: seen.append((id(reg.history_), dict(reg.history_), reg.predict(X))))
    )
    fitted.fit(X, Y)
    assert {first for first, *_ in seen} == {id(fitted.history_)}
    for k, (_, _, answer) in enumerate(seen, 1):
        assert same_bits(answer, small(max_iter=k).fit(X, Y).predict(X))
    lengths = []
    fitted.set_callbacks(OnEpochEnd(lambda reg: lengths.append(len(reg.history_["loss"]))))
    fitted.fit(X, Y)
    assert lengths == [1, 2, 3]


def test_an_interrupted_epoch_leaves_its_steps_and_no_row(monkeypatch):
    real = training.run_steps

    def two_steps(program, source, order, bounds, rates, optimizer, state, **settings):
        """In the second epoch, two steps and then Ctrl-C."""
        if state.step < 4:
            return real(program, source, order, bounds, rates, optimizer, state, **settings)
        for name in ("loss_sums", "weight_sums", "norms"):
            settings[name] = settings[name][:2]
        real(program, source, order, bounds[:3], rates[:2], optimizer, state, **settings)
        raise KeyboardInterrupt

    fitted = small(warm_start=True)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(training, "run_steps", two_steps)
        fitted.fit(X, Y)
    history = fitted.history_
    assert (history["epoch"], fitted.n_iter_, fitted.t_) == ([1], 1, 6)
    assert len(history.steps["loss"]) == 6
    assert same_bits(fitted.predict(X), small(max_steps=6).fit(X, Y).predict(X))
    fitted.set_params(max_iter=1).fit(X, Y)
    history = fitted.history_
    assert (history["epoch"], fitted.n_iter_, fitted.t_) == ([1, 2], 2, 10)
    mean = np.average(history.steps["loss"][-4:], weights=[16, 16, 16, 12])
    assert history["loss"][-1] == pytest.approx(mean, rel=1e-12)


def test_steps_of_weight_zero():
    weight = np.ones(60)
    weight[:16] = 0.0
    fitted = small(shuffle=False, max_iter=2).fit(X, Y, weight)
    steps = fitted.history_.steps["loss"]
    assert np.flatnonzero(np.isnan(steps)).tolist() == [0, 4]  # skipped
    assert np.isfinite(fitted.loss_curve_).all()
    without = small(shuffle=False, max_iter=2).fit(X[16:], Y[16:])
    assert fitted.loss_curve_ == without.loss_curve_


# --------------------------------------------------------------------------------- files


def test_csv_round_trip(tmp_path):
    history = watched().history_
    text = history.to_csv()
    path = tmp_path / "history.csv"
    assert history.to_csv(path) is None and path.read_text() == text
    assert history.to_csv(str(path)) is None and path.read_text() == text
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 5 and text.endswith("\n") and "\r" not in text
    for name, column in history.items():
        again = [float(row[name]) if row[name] else NAN for row in rows]
        np.testing.assert_array_equal(again, column)
    assert rows[0]["epoch"] == "1" and rows[0]["validation_r2"] == ""


def test_json_round_trip(tmp_path):
    history = watched().history_
    text = history.to_json()
    path = tmp_path / "history.json"
    assert history.to_json(path) is None and path.read_text() == text

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    answer = json.loads(text, parse_constant=refuse)
    assert list(answer) == ["epochs", "steps"] and list(answer["epochs"]) == list(history)
    for name, column in history.items():
        again = [NAN if value is None else value for value in answer["epochs"][name]]
        np.testing.assert_array_equal(again, column)
    for name, values in history.steps.items():
        np.testing.assert_array_equal(answer["steps"][name], values)


def test_files_of_a_history_without_epochs():
    empty = History()
    assert empty.to_csv() == ",".join(PLAIN) + "\n"
    assert json.loads(empty.to_json())["steps"] == {
        "loss": [], "gradient_norm": [], "learning_rate": [],
    }  # fmt: skip
    assert repr(empty) == "History(0 epochs, 0 steps)"
    assert math.isnan(empty.last_rate())


def test_infinity_is_no_json():
    history = History()
    history.append({"epoch": 1, "loss": math.inf, "metric": -math.inf})
    assert json.loads(history.to_json())["epochs"]["loss"] == [None]
    assert history.to_csv().splitlines()[1].split(",")[:2] == ["1", "inf"]


# ----------------------------------------------------------------------------- the object


def test_rows_may_lack_columns_and_bring_new_ones():
    history = History()
    for row in ({"epoch": 1, "loss": 3.0}, {"epoch": 2, "new": 5.0}, {"epoch": 3, "loss": 1.0}):
        history.append(row)
    assert list(history) == [*PLAIN, "new"]
    assert history["epoch"] == [1, 2, 3]
    np.testing.assert_array_equal(history["loss"], [3.0, NAN, 1.0])
    np.testing.assert_array_equal(history["new"], [NAN, 5.0, NAN])
    np.testing.assert_array_equal(history["seconds"], [NAN] * 3)


def test_room_for_steps_keeps_those_before():
    history, told = History(), []
    rng = np.random.default_rng(0)
    for n in (1, 2, 30, 1, 500):
        part = rng.uniform(size=(4, n))
        history.room(n)[:] = part
        history.n_steps += n
        told.append(part)
        everything = np.concatenate(told, axis=1)
        steps = history.steps
        np.testing.assert_array_equal(steps["loss"], everything[0] / everything[1])
        np.testing.assert_array_equal(steps["gradient_norm"], everything[2])
        np.testing.assert_array_equal(steps["learning_rate"], everything[3])
        np.testing.assert_allclose(history.sums(n), part[:3].sum(axis=1))
        assert history.last_rate() == part[3, -1]
    history.room(1000)  # asked for and not used
    assert len(history.steps["loss"]) == 534


@pytest.mark.parametrize(
    "way",
    [
        lambda history: History.restored(*history.state()),
        lambda history: pickle.loads(pickle.dumps(history)),
        copy.deepcopy,
    ],
    ids=["restored", "pickle", "deepcopy"],
)
def test_copies_are_equal_and_of_their_own(way):
    history = watched().history_
    before = history.to_json()
    again = way(history)
    assert (
        type(again) is History and again.to_json() == before and again.to_csv() == history.to_csv()
    )
    assert again.last_rate() == history.last_rate() and again.sums(4) == history.sums(4)
    again.append({"epoch": 6})
    again.room(3)[:] = 1.0
    again.n_steps += 3
    again["loss"][0] = -1.0
    assert history.to_json() == before


def test_repr_tells_the_last_epoch():
    text = repr(watched().history_)
    assert text.startswith("History(5 epochs, 20 steps: epoch=5, loss=1.0")
    assert "validation_r2=" in text and "\n" not in text


# ------------------------------------------------------------------------------- verbose


def lines(caplog, estimator, **data):
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="ctrain"):
        estimator.fit(X, Y, **data)
    assert {record.name for record in caplog.records} <= {"ctrain"}
    return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    "verbose, epochs, told",
    [(0, 5, []), (1, 3, [1, 2, 3]), (2, 5, [2, 4, 5]), (3, 6, [3, 6]), (100, 2, [2])],
)
def test_one_line_every_so_many_epochs(verbose, epochs, told, caplog):
    found = lines(caplog, small(verbose=verbose, max_iter=epochs))
    assert [line.split(":")[0] for line in found] == [f"epoch {k}" for k in told]


def test_a_line_holds_the_row(caplog):
    fitted = small(verbose=2, max_iter=5, validation_interval=2, metrics="r2")
    found = lines(caplog, fitted, X_val=X_VAL, y_val=Y_VAL)
    for line, k in zip(found, (2, 4, 5), strict=True):
        row = {name: column[k - 1] for name, column in fitted.history_.items()}
        for name, value in row.items():
            if name not in ("epoch", "seconds"):
                assert f" {name.replace('_', ' ')} {value:.6g}," in line
        assert line.endswith(f", {row['seconds']:.2f} s")


def test_the_last_line_of_a_fit_that_stops_early_is_told(caplog):
    settings = {"verbose": 100, "early_stopping": True, "n_iter_no_change": 2, "tol": 1e6}
    found = lines(caplog, small(**settings, max_iter=50))
    assert [line.split(":")[0] for line in found] == ["epoch 3"]
