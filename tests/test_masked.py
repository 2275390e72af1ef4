"""Losses element by element: the fused operation with weights of one, and what weights mean."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from ctrain import Tape, losses
from ctrain.masked import ELEMENTS, masked

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
N_TARGETS = 7

LOSSES = {
    "squared_error": losses.SquaredError(),
    "absolute_error": losses.AbsoluteError(),
    "huber": losses.Huber(delta=0.4),
    "median": losses.Quantile(),
    "quantile": losses.Quantile(0.9),
    "quantiles": losses.Quantile((0.1, 0.5, 0.9)),
    "weighted quantiles": losses.Quantile((0.1, 0.5, 0.9), weights=(1.0, 2.0, 0.5)),
    "crps": losses.CRPS((0.1, 0.5, 0.9)),
    "student_t": losses.NegativeLogLikelihood("student_t"),
    "mape": losses.MAPE(),
    "smape": losses.SMAPE(),
    "logcosh": losses.LogCosh(),
    "poisson": losses.Poisson(),
}
every_loss = pytest.mark.parametrize("name", LOSSES)
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE)


def data(loss, rows=9, n_targets=N_TARGETS, seed=0):
    """Network outputs, targets and weights; numbers that float32 can hold."""
    rng = np.random.default_rng(seed)
    width = (loss.width,) if loss.width > 1 else ()
    z = rng.normal(size=(rows, n_targets, *width))
    y = rng.uniform(0.5, 3.0, (rows, n_targets))
    w = rng.uniform(0.1, 2.0, (rows, n_targets)) * (rng.random((rows, n_targets)) < 0.7)
    return tuple(a.astype(np.float32).astype(np.float64) for a in (z, y, w))


def run(loss, z, y, w, dtype="float64", record=masked):
    """Loss of each row, and the gradient of the batch's loss with respect to z."""
    tape = Tape(dtype)
    prediction = tape.input(z.shape[1:], name="z")
    target = tape.input(y.shape[1:], name="y")
    weight = tape.input(w.shape[1:], name="w")
    cost = record(tape, loss, prediction, target, weight)
    tape.forward(z=z, y=y, w=w)
    tape.backward(cost)
    return tape.value(cost), tape.gradient(prediction)


def fused(tape, loss, prediction, target, weight):
    return loss.record(tape, prediction, target)


def each(loss, z, y):
    """The loss of each target by itself."""
    rows, n = y.shape
    alone = z.reshape(rows * n, 1, *z.shape[2:]), y.reshape(rows * n, 1)
    return run(loss, *alone, np.ones((rows * n, 1)), record=fused)[0].reshape(rows, n)


def test_every_loss_that_can_be_taken_apart_is_tested():
    assert {type(loss) for loss in LOSSES.values()} == set(ELEMENTS)


@every_dtype
@every_loss
def test_with_weights_of_one_it_is_the_fused_loss(name, dtype):
    loss = LOSSES[name]
    z, y, _ = data(loss)
    ours, our_gradient = run(loss, z, y, np.ones_like(y), dtype)
    value, gradient = run(loss, z, y, np.ones_like(y), dtype, fused)
    tolerance = TOLERANCE[dtype]
    assert_allclose(ours, value, rtol=tolerance, atol=tolerance * np.abs(value).max())
    assert_allclose(our_gradient, gradient, rtol=tolerance, atol=tolerance * np.abs(gradient).max())


@every_loss
def test_weights(name):
    loss = LOSSES[name]
    z, y, w = data(loss)
    expected = (each(loss, z, y) * w).sum(axis=1) / w.sum(axis=1)
    assert_allclose(run(loss, z, y, w)[0], expected, rtol=1e-12)


@every_loss
def test_gradients_are_those_of_the_batch(name):
    """Of sum(w e) / sum(w) over all steps of all rows: rows weigh what their steps do."""
    loss = LOSSES[name]
    z, y, w = data(loss)
    gradient = run(loss, z, y, w)[1]
    step = 1e-6

    def cost(z):
        return (each(loss, z, y) * w).sum() / w.sum()

    for at in np.ndindex(*z.shape):
        shift = np.zeros_like(z)
        shift[at] = step
        slope = (cost(z + shift) - cost(z - shift)) / (2 * step)
        assert gradient[at] == pytest.approx(slope, abs=1e-7)


@every_loss
def test_steps_without_weight_do_not_count(name):
    loss = LOSSES[name]
    z, y, w = data(loss)
    other_z, other_y, _ = data(loss, seed=1)
    gone = w == 0.0
    assert gone.any()
    value, gradient = run(loss, z, y, w)
    new_value, new_gradient = run(
        loss,
        np.where(gone.reshape(*gone.shape, *[1] * (z.ndim - 2)), other_z, z),
        np.where(gone, other_y, y),
        w,
    )
    assert_array_equal(value, new_value)
    assert_array_equal(gradient, new_gradient)
    assert not gradient[gone].any()


@every_loss
def test_a_row_without_weight_is_as_if_it_were_not_there(name):
    loss = LOSSES[name]
    z, y, w = data(loss)
    w[3] = 0.0
    value, gradient = run(loss, z, y, w)
    rest = np.arange(len(z)) != 3
    less, less_gradient = run(loss, z[rest], y[rest], w[rest])
    assert value[3] == 0.0 and not gradient[3].any()
    assert_allclose(value[rest], less, rtol=1e-14)
    assert_allclose(gradient[rest], less_gradient, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("name", ["mape", "smape"])
def test_zeros_in_percentages(name):
    """Padding is zero, and a network may put out zero, too."""
    loss = LOSSES[name]
    z, y = np.zeros((1, 3)), np.zeros((1, 3))
    value, gradient = run(loss, z, y, np.ones((1, 3)))
    assert value == 0.0 and np.isfinite(gradient).all()
    z[0, 1] = 0.5
    value, gradient = run(loss, z, y, np.array([[1.0, 0.0, 1.0]]))
    assert value == 0.0 and np.isfinite(gradient).all()


@pytest.mark.parametrize(
    "loss", [losses.LogLoss(), losses.resolve(lambda tape, p, t: tape.mse(p, t))]
)
def test_losses_that_cannot_be_taken_apart(loss):
    z, y = np.zeros((2, 3)), np.zeros((2, 3))
    with pytest.raises(ValueError, match=r"cannot be weighted step by step, .*'AbsoluteError'"):
        run(loss, z, y, np.ones((2, 3)))
