"""Batch norm: PyTorch's steps and running averages, bits, resumption, what a step leaves."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from reference.make_convolution import BATCH_NORMS, RATE, made, stored
from resumption import Saves, differences, fingerprint

import ctrain
from ctrain import Regressor, layers, training
from ctrain._core.optim import Optimizer
from ctrain._core.plan import compile_plan
from ctrain._core.program import Program
from ctrain._core.source import Arrays
from ctrain._core.step import Status, run_steps
from ctrain.optimizers import SGD

TOLERANCE = {"float64": 1e-10, "float32": 1e-5}


class Problem:
    """The case of the reference: ``mean(sum(tanh(norm(x @ w)) * upstream))``."""

    def __init__(self, label, dtype, training=True, parameters=None):
        axes, n, momentum, eps, self.sizes = BATCH_NORMS[label]
        self.tape = tape = ctrain.Tape(dtype, training, parameters=parameters)
        shape = (*axes, n)
        self.x, upstream = tape.input(shape, name="x"), tape.input(shape, name="upstream")
        w = tape.parameter(made(label, "w", n, n), name="w")
        tape.parameter(made(label, "scale", n), name="norm.weight", decay=False)
        tape.parameter(made(label, "shift", n), name="norm.bias", decay=False)
        self.y = layers.batch_norm(tape, tape.matmul(self.x, w), "norm", momentum, eps)
        self.loss = tape.sum(tape.mul(tape.tanh(self.y), upstream))
        rows = sum(self.sizes)
        self.data = {
            "x": (3.0 * made(label, "x", rows, *shape) + 2.0).astype(dtype),
            "upstream": made(label, "upstream", rows, *shape).astype(dtype),
        }

    def train(self, n_threads=1, data=None, tile_rows=None):
        """Steps over the batches in order; answer their number and how they ended."""
        tape, n = self.tape, len(self.sizes)
        plan = compile_plan(
            tape, max(self.sizes), loss=self.loss, backward=True, tile_rows=tile_rows
        )
        optimizer = Optimizer(SGD(), tape.dtype, tape.parameters.pack().size)
        sums = {name: np.zeros(n) for name in ("loss_sums", "weight_sums", "norms")}
        bounds = np.cumsum([0, *self.sizes])
        return run_steps(
            Program(plan, n_threads), Arrays(**(data or self.data)), np.arange(bounds[-1]), bounds,
            np.full(n, RATE), optimizer, SimpleNamespace(step=0), **sums,
        )  # fmt: skip

    def value(self, name):
        return self.tape.parameters[name].value

    def arena(self):
        return self.tape.parameters.pack().tobytes()


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("label", BATCH_NORMS)
def test_first_batch_training_and_inference_are_those_of_torch(label, dtype):
    expected = stored("batch_norm", label)
    problem = Problem(label, dtype)
    tape, rows = problem.tape, problem.sizes[0]
    tape.forward(**{name: x[:rows] for name, x in problem.data.items()})
    tape.backward(problem.loss)
    answers = {"output": tape.value(problem.y), "x": tape.gradient(problem.x)}
    for name in ("w", "norm.weight", "norm.bias"):
        tensor = tape.parameter(tape.parameters[name].shape, name=name)
        answers[name.removeprefix("norm.")] = tape.gradient(tensor)

    assert problem.train() == (len(problem.sizes), Status.OK)
    for name in ("w", "norm.weight", "norm.bias"):
        answers[f"trained {name.removeprefix('norm.')}"] = problem.value(name)
    for name in ("running_mean", "running_var"):
        answers[name] = problem.value(f"norm.{name}")
    inference = Problem(label, dtype, training=False, parameters=tape.parameters)
    inference.tape.forward(**inference.data)
    answers["inference"] = inference.tape.value(inference.y)

    assert set(answers) == set(expected)
    for name, value in answers.items():
        size = max(1.0, np.abs(expected[name]).max())
        assert_allclose(value, expected[name], rtol=0, atol=TOLERANCE[dtype] * size, err_msg=name)


def test_a_step_has_the_same_bits_on_any_threads_and_tiles():
    def trained(**how):
        problem = Problem("time", "float32")
        problem.train(**how)
        return problem.arena()

    one = trained()
    assert all(trained(n_threads=n) == one for n in (2, 3, 7))
    assert all(trained(n_threads=2, tile_rows=n) == one for n in (1, 3, 5))


def test_an_abandoned_step_leaves_the_averages_alone():
    problem, stopped = Problem("time", "float64"), Problem("time", "float64")
    data = {name: x.copy() for name, x in stopped.data.items()}
    data["upstream"][sum(problem.sizes[:-1]) - 1] = np.inf  # of the second batch
    assert stopped.train(data=data) == (1, Status.LOSS_NOT_FINITE)
    problem.sizes = problem.sizes[:1]
    problem.train()
    assert stopped.arena() == problem.arena()


def test_one_value_has_no_variance():
    """The output is the bias; the mean goes into its average, the variance stays."""
    label = "flat"
    problem = Problem(label, "float64")
    problem.sizes = (1,)
    problem.tape.forward(**{name: x[:1] for name, x in problem.data.items()})
    assert_array_equal(problem.tape.value(problem.y)[0], problem.value("norm.bias"))
    before = problem.value("w").copy()
    assert problem.train() == (1, Status.OK)
    z = problem.data["x"][0] @ before
    assert_allclose(problem.value("norm.running_mean"), 0.1 * z, rtol=1e-14)
    assert_array_equal(problem.value("norm.running_var"), 1.0)


# ------------------------------------------------------------------------------------- fits


def normed(tape, x):
    """Two hidden layers, each behind a batch norm."""
    for k in range(2):
        h = layers.dense(tape, x, 16, f"layer_{k}")
        x = tape.relu(layers.batch_norm(tape, h, f"norm_{k}"))
    return layers.dense(tape, x, 1, "out")


RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 5)) * [1, 10, 100, 1, 1] + [0, 0, 50, 0, 0]
Y = np.sin(X[:, 0]) + X[:, 1] / 10 + (X[:, 2] - 50) / 100


def fitted(callbacks=None, resume=None, **parameters):
    given = {"model": normed, "max_iter": 12, "batch_size": 64, "random_state": 0, "n_jobs": 1,
             "learning_rate_init": 0.02, "early_stopping": False} | parameters  # fmt: skip
    reg = Regressor(**given)
    if callbacks is not None:
        reg.set_callbacks(callbacks)
    return reg.fit(X, Y, resume=resume)


def bits(reg):
    return reg._network.parameters.pack().tobytes()


def test_a_fit_learns_and_a_prediction_sees_its_own_row_alone():
    reg = fitted(max_iter=40)
    assert reg.score(X, Y) > 0.9
    whole = reg.predict(X)
    assert_array_equal(np.concatenate([reg.predict(X[k : k + 1]) for k in range(20)]), whole[:20])


def test_a_resumed_fit_has_the_bits_of_the_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "GLANCE", 0.0)  # callbacks are asked after each step
    whole = fingerprint(fitted(), X)
    fitted(callbacks=Saves(tmp_path, (7, 25)))
    for file in sorted(tmp_path.iterdir()):
        assert differences(whole, fingerprint(fitted(resume=file), X)) == [], file.name
    loaded = ctrain.load(file)
    averages = [p for p in loaded._network.parameters if "running" in p.name]
    assert len(averages) == 4 and not any(p.trainable for p in averages)


def test_threads_do_not_change_a_fit():
    assert len({bits(fitted(n_jobs=n)) for n in (1, 2, 3, 7)}) == 1


def test_accumulated_batches_are_one_batch():
    assert bits(fitted(batch_size=16, accumulate_steps=4)) == bits(fitted(batch_size=64))


def test_best_weights_have_the_averages_of_their_epoch():
    """A schedule without a length, so that a shorter fit takes the same steps."""
    given = {"early_stopping": True, "validation_fraction": 0.3, "schedule": "constant",
             "learning_rate_init": 0.3, "n_iter_no_change": 4}  # fmt: skip
    stopped = fitted(max_iter=60, **given)
    assert stopped.best_epoch_ < stopped.n_iter_ < 60
    assert bits(stopped) == bits(fitted(max_iter=stopped.best_epoch_, **given))


def test_lbfgs_says_what_it_cannot_do():
    with pytest.raises(ValueError, match=r"running averages .*use another optimizer or layer_norm"):
        fitted(optimizer="lbfgs")


# ------------------------------------------------------------------------------------ track


def test_a_parameter_follows_another_as_it_was_in_each_step():
    tape = ctrain.Tape("float64")
    x = tape.input((3,), name="x")
    w = tape.parameter(np.eye(3), name="w")
    slow = tape.parameter(np.zeros((3, 3)), name="slow", trainable=False)
    tape.track(slow, w, 0.5)
    # the product reads a transposed copy of the average in backward
    y = tape.matmul(tape.matmul(x, w), slow)
    loss = tape.add(tape.sum(tape.square(tape.matmul(x, w))), tape.sum(y))
    plan = compile_plan(tape, 4, loss=loss, backward=True)
    data = np.random.default_rng(0).normal(size=(8, 3))
    ws, averages = [np.eye(3)], [np.zeros((3, 3))]
    for k in range(2):
        rows = data[4 * k : 4 * k + 4]
        gradient = 2 * rows.T @ rows @ ws[-1] + np.outer(rows.sum(axis=0), averages[-1].sum(axis=1))
        averages.append(0.5 * averages[-1] + 0.5 * ws[-1])
        ws.append(ws[-1] - RATE * gradient / 4)
    optimizer = Optimizer(SGD(), tape.dtype, tape.parameters.pack().size)
    sums = {name: np.zeros(2) for name in ("loss_sums", "weight_sums", "norms")}
    run_steps(Program(plan, 1), Arrays(x=data), np.arange(8), np.array([0, 4, 8]),
              np.full(2, RATE), optimizer, SimpleNamespace(step=0), **sums)  # fmt: skip
    assert_allclose(tape.parameters["w"].value, ws[-1], atol=1e-13)
    assert_allclose(tape.parameters["slow"].value, averages[-1], atol=1e-13)


def test_track_refuses_what_it_cannot_follow():
    tape = ctrain.Tape()
    x, w = tape.input((3,), name="x"), tape.parameter((3,), name="w")
    average = tape.parameter((3,), name="average", trainable=False)
    for arguments, message in (
        ((w, average), "w must be a parameter that is declared with trainable=False"),
        ((x, average), "x must be a parameter"),
        ((average, x), r"x must have the shape \(3,\) of average, and no rows; got <x: row"),
        ((average, tape.mean(w)), r"must have the shape \(3,\) of average"),
        ((average, w, 1.5), r"momentum must be in \[0, 1\]; got 1.5"),
    ):
        with pytest.raises(ValueError, match=message):
            tape.track(*arguments)
    inference = ctrain.Tape(training=False, parameters=tape.parameters)
    inference.track(inference.parameter((3,), name="average"), inference.parameter((3,), name="w"))
    assert inference.tracked == []
