"""k steps, a checkpoint, a new process' estimator and the other steps: the bits of the whole."""

from __future__ import annotations

import itertools
import random

import classes
import forecasts
import numpy as np
import pytest
import small
from resumption import OPTIMIZERS, SCHEDULES, STOPPING, Cautious, Saves, differences, fingerprint

import ctrain
from ctrain import checkpoint, layers, training
from ctrain.callbacks import Callback, OnEpochEnd
from ctrain.schedules import ReduceOnPlateau

X, Y = small.problem()
X_VAL, Y_VAL = small.problem(20, seed=1)
WEIGHT = np.random.default_rng(2).uniform(0, 2, len(X))


@pytest.fixture(autouse=True)
def looks_between_all_steps(monkeypatch):
    """Callbacks are asked after each step, not ten times a second."""
    monkeypatch.setattr(training, "GLANCE", 0.0)


def check(make, data, folder, steps=None) -> int:
    """Resume from each file of one fit and compare with the whole one; answer how many."""
    predicted = data["X"] if isinstance(data, dict) else data[0]
    data = data if isinstance(data, dict) else {"X": data[0], "y": data[1]}
    whole = fingerprint(make().fit(**data), predicted)
    saved = make().set_callbacks(Saves(folder, steps)).fit(**data)
    assert differences(whole, fingerprint(saved, predicted)) == []  # saving changes nothing
    files = sorted(folder.iterdir())
    for file in files:
        resumed = fingerprint(make().fit(**data, resume=file), predicted)
        assert differences(whole, resumed) == [], file.name
        file.unlink()
    return len(files)


# --------------------------------------------------------------------------- each step of a fit

PLATEAU = ReduceOnPlateau(factor=0.5, patience=0, threshold=0.2)
EVERYTHING = {
    "dropout": 0.2, "alpha": 1e-3, "l1": 1e-4, "schedule": PLATEAU, "early_stopping": True,
    "metrics": ["r2"], "n_iter_no_change": 3, "max_iter": 6, "batch_size": 9,
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_after_each_step(tmp_path, dtype):
    """48 training rows: 5 batches of 9 and one of 3, six epochs."""
    n = check(lambda: small.small(dtype=dtype, **EVERYTHING), (X, Y), tmp_path)
    assert n >= 3 * 6 + 3


def test_after_each_step_of_one_that_stops_early(tmp_path):
    def make():
        return small.small(
            early_stopping=True, n_iter_no_change=2, max_iter=50, learning_rate_init=0.3
        )

    stopped = make().fit(X, Y)
    assert stopped.stopped_by_ == "early_stopping" and stopped.n_iter_ < 20
    assert check(make, (X, Y), tmp_path) == stopped.t_ + stopped.n_iter_


@pytest.mark.parametrize(
    "settings",
    [
        {"max_steps": 7},  # ends in the middle of an epoch
        {"max_steps": 8},
        {"max_steps": 1},
        {"max_steps": 7, "early_stopping": True},
        {"batch_size": 60, "max_iter": 4},  # epochs of one step
        {"accumulate_steps": 3, "batch_size": 7},
        {"validation_interval": 2, "early_stopping": True, "max_iter": 5},
        {"shuffle": False, "early_stopping": True},
        {"monitor": "r2", "early_stopping": True, "max_iter": 4},
        {"schedule": Cautious(), "learning_rate_init": 0.2, "max_iter": 6},
        {"hidden_layer_sizes": (), "loss": "huber"},
        {"clip_norm": None, "clip_value": 0.01},
        {"n_jobs": 2},
    ],
    ids=lambda settings: ", ".join(f"{k}={v}" for k, v in settings.items()),
)
def test_after_each_step_of_other_fits(tmp_path, settings):
    assert check(lambda: small.small(**settings), (X, Y), tmp_path) >= 2


def test_after_each_step_with_weights_and_validation_rows(tmp_path):
    data = {"X": X, "y": Y, "sample_weight": WEIGHT, "X_val": X_VAL, "y_val": Y_VAL}
    data["sample_weight_val"] = WEIGHT[: len(X_VAL)]
    assert check(lambda: small.small(early_stopping=True), data, tmp_path) == 12 + 3


def test_after_each_step_of_several_targets_and_quantiles(tmp_path):
    two = np.column_stack([Y, X[:, 0]])
    check(lambda: small.small(dropout=0.3), (X, two), tmp_path)
    loss = ctrain.losses.Quantile((0.1, 0.5, 0.9))
    check(lambda: small.small(loss=loss, early_stopping=True), (X, Y), tmp_path)


@pytest.mark.parametrize("early_stopping", [False, True])
@pytest.mark.parametrize("labels", [["no", "yes"], ["a", "bb", "ccc"], [3, -1, 7]])
def test_after_each_step_of_a_classifier(tmp_path, labels, early_stopping):
    features, index = classes.problem(classes=len(labels))
    y = np.array(labels)[index]

    def make():
        return classes.quick(
            dropout=0.2, early_stopping=early_stopping, class_weight="balanced", monitor="accuracy"
        )

    assert check(make, (features, y), tmp_path) >= 9
    make().set_callbacks(Saves(tmp_path, [3])).fit(features, y)
    assert set(ctrain.load(tmp_path / "3.npz").predict(features)) <= set(labels)


def seen(tape, x):
    """The mean of the batch, and dropout."""
    h = tape.batch_mean(x)
    h = tape.tanh(tape.matmul(tape.sub(x, h), tape.parameter((4, 5), name="in")))
    return tape.dropout(h, 0.2)


def normed(tape, x):
    """Running mean and variance, moved by each step."""
    h = layers.batch_norm(tape, layers.dense(tape, x, 6, "dense"), "norm", momentum=0.3)
    return tape.dropout(tape.relu(h), 0.2)


def tracked(tape, x):
    """A user's own running average, which scales what follows."""
    spread = tape.parameter(np.ones(4), name="spread", trainable=False)
    tape.track(spread, tape.batch_mean(tape.abs(x)), momentum=0.5)
    return layers.dense(tape, tape.div(x, spread), 6, "dense")


def recurrent(cell):
    """Two layers over four steps, with dropout between them."""

    def model(tape, x):
        h = tape.reshape(x, (4, 1))
        h = getattr(layers, cell)(tape, h, 3, cell, num_layers=2, dropout=0.3)[0]
        return tape.reshape(h, (12,))

    return model


def attending(tape, x):
    """Drops weights of the attention."""
    h = layers.dense(tape, tape.reshape(x, (4, 1)), 6, "in")
    h = layers.layer_norm(tape, tape.attention(h, h, h, n_heads=2, rate=0.3), "norm")
    return tape.reshape(h, (24,))


def drawing(tape, x):
    """Noise on what is hidden, while it trains."""
    h = layers.dense(tape, x, 6, "in")
    return tape.random_normal(h, tape.constant(np.full(6, 0.1))) if tape.training else h


BODIES = {
    "mean of the batch": seen,
    "batch norm": normed,
    "running average": tracked,
    **{cell: recurrent(cell) for cell in ("rnn", "gru", "lstm")},
    "attention": attending,
    "noise": drawing,
}


def own_loss(tape, prediction, target):
    return tape.mean(tape.logcosh(prediction, target))


@pytest.mark.parametrize("body", BODIES)
def test_after_each_step_of_a_users_own_model_and_loss(tmp_path, body):
    """Whatever a network draws or keeps: random numbers and running averages, best ones too."""

    def model(tape, x):
        return layers.dense(tape, BODIES[body](tape, x), 1, "out")

    def make():
        return small.small(model=model, loss=own_loss, early_stopping=True, n_iter_no_change=2)

    assert check(make, (X, Y), tmp_path) == 9 + 3


@pytest.mark.parametrize("model", forecasts.SMALL)
def test_in_the_middle_of_an_epoch_of_a_forecaster(tmp_path, model):
    data = forecasts.frame(n_rows=24)

    def fit(callback=None, **given):
        fc = forecasts.forecaster(model, scaler="standard", validation_interval=2)
        fc = fc if callback is None else fc.set_callbacks(callback)
        return fc.fit(data, val_size=4, **given)

    whole = fit()
    fit(Saves(tmp_path, {2, 5}))
    assert {file.stem for file in tmp_path.iterdir()} >= {"2", "5"}
    for file in sorted(tmp_path.iterdir()):
        again = fit(resume=file)
        assert forecasts.weights(again) == forecasts.weights(whole), file.name
        assert again.history_["loss"] == whole.history_["loss"]
        assert forecasts.bits(again.predict()) == forecasts.bits(whole.predict())


# --------------------------------------------------------------------------------- combinations

COMBINATIONS = list(itertools.product(
    OPTIMIZERS, SCHEDULES, (0.0, 0.3), (True, False), STOPPING, (1, 3)
))  # fmt: skip


def settings_of(optimizer, schedule, dropout, shuffle, stopping, accumulate_steps) -> dict:
    return {
        "optimizer": optimizer, "schedule": schedule, "dropout": dropout, "shuffle": shuffle,
        "accumulate_steps": accumulate_steps, "learning_rate_init": 0.01, "batch_size": 7,
        "max_iter": 4, **stopping,
    }  # fmt: skip


def chosen(n: int) -> list[tuple]:
    """Spread over the product, the same at each call, and every value of every factor in it."""
    found = random.Random(0).sample(COMBINATIONS, n)
    for k, factor in enumerate(zip(*COMBINATIONS, strict=True)):
        assert {repr(row[k]) for row in found} == {repr(value) for value in factor}
    return found


@pytest.mark.parametrize("part", range(8))
def test_two_hundred_combinations(tmp_path, part):
    """One step somewhere in each fit."""
    combinations = chosen(208)[part::8]
    assert len(combinations) == 26
    rng = random.Random(part)
    for combination in combinations:
        settings = settings_of(*combination)
        settings["dtype"] = rng.choice(["float32", "float64"])
        steps = small.small(**settings).fit(X, Y).t_
        n = check(lambda s=settings: small.small(**s), (X, Y), tmp_path, {rng.randint(1, steps)})
        assert n in (1, 2)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(8))
def test_all_combinations_after_each_step(tmp_path, part):
    for combination in COMBINATIONS[part::8]:
        check(lambda c=combination: small.small(**settings_of(*c)), (X, Y), tmp_path)


# ---------------------------------------------------------------------------- again and again


def test_resumed_after_each_step_again(tmp_path):
    """Twelve processes of one step each."""

    class OneStep(Callback):
        def due(self, estimator):
            return -np.inf

        def between_steps(self, estimator):
            if estimator._state.step > self.reached:
                checkpoint.save(estimator, tmp_path / "fit.npz")
                raise KeyboardInterrupt

    whole = fingerprint(small.small(**EVERYTHING).fit(X, Y), X)
    callback, resume, interruptions = OneStep(), None, 0
    while True:
        callback.reached = interruptions
        try:
            reg = small.small(**EVERYTHING).set_callbacks(callback).fit(X, Y, resume=resume)
        except KeyboardInterrupt:
            interruptions, resume = interruptions + 1, tmp_path / "fit.npz"
        else:
            break
    assert interruptions == reg.t_
    assert differences(whole, fingerprint(reg, X)) == []


def test_the_best_weights_of_an_interrupted_fit_are_no_place_to_resume_from(tmp_path):
    def stop(reg):
        if len(reg.history_["loss"]) == 3:
            raise RuntimeError("enough")

    settings = {"early_stopping": True, "max_iter": 9}
    fitted = small.small(**settings).set_callbacks(OnEpochEnd(stop))
    with pytest.raises(RuntimeError, match="enough"):
        fitted.fit(X, Y)
    fitted.save(tmp_path / "interrupted.npz")
    with pytest.raises(ctrain.CheckpointError, match=r"holds its best weights.*Checkpoint wrote"):
        small.small(**settings).fit(X, Y, resume=tmp_path / "interrupted.npz")
    whole = small.small(**settings).fit(X, Y)
    whole.save(tmp_path / "whole.npz")
    # nothing is left to do
    again = small.small(**settings).fit(X, Y, resume=tmp_path / "whole.npz")
    assert small.same_bits(again.predict(X), whole.predict(X)) and again.t_ == whole.t_
