"""Window scalers against NumPy: values, gaps, constant windows, names."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats

from ctrain import Tape
from ctrain.losses import SquaredError
from ctrain.scalers import SCALERS, Last, MinMax, RevIN, Robust, Scaler, Standard, resolve
from ctrain.windowed import WindowNetwork

TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
N = 21


def standard(x):
    return x.mean(), np.sqrt(x.var() + 1e-5)


def robust(x):
    center, scale = np.median(x), stats.median_abs_deviation(x)
    if scale == 0.0:
        scale = stats.norm.ppf(0.75) * np.sqrt(np.mean((x - center) ** 2))
    return center, scale or 1.0


def minmax(x):
    return x.min(), np.ptp(x) or 1.0


TWINS = {
    "none": lambda x: (0.0, 1.0),
    "standard": standard,
    "robust": robust,
    "minmax": minmax,
    "last": lambda x: (x[-1], 1.0),
    "revin": standard,
}
every_scaler = pytest.mark.parametrize("name", SCALERS)
every_dtype = pytest.mark.parametrize("dtype", TOLERANCE)


def statistics(scaler, past, mask, dtype="float64"):
    """Location and scale of each window."""
    tape = Tape(dtype)
    inputs = (tape.input((past.shape[1],), name=name) for name in ("past", "mask"))
    found = scaler.record(tape, *inputs)
    tape.forward(past=past, mask=mask)
    default = np.zeros(len(past)), np.ones(len(past))
    return tuple(
        spare if tensor is None else tape.value(tensor).reshape(len(past))
        for tensor, spare in zip(found, default, strict=True)
    )


def windows(kind, rows=40, n=N):
    rng = np.random.default_rng(0)
    past = {
        "walks": lambda: rng.normal(size=(rows, n)).cumsum(axis=1),
        "far from zero": lambda: 1e3 + rng.normal(size=(rows, n)),
        "few values": lambda: np.round(rng.normal(size=(rows, n)) * 0.6),
        "constant": lambda: np.repeat(rng.normal(size=(rows, 1)) * 100.0, n, axis=1),
        "one spike": lambda: np.where(np.arange(n) == 5, 9.0, np.full((rows, n), 2.0)),
    }[kind]()
    return past.astype(np.float32).astype(np.float64)


def test_every_scaler_has_a_twin():
    assert set(TWINS) == set(SCALERS)


@every_dtype
@every_scaler
@pytest.mark.parametrize("gaps", [False, True])
@pytest.mark.parametrize("kind", ["walks", "far from zero", "few values", "constant", "one spike"])
def test_statistics_are_of_the_available_values(kind, gaps, name, dtype):
    past = windows(kind)
    mask = np.ones(past.shape)
    if gaps:
        mask = (np.random.default_rng(1).random(past.shape) < 0.6).astype(float)
        mask[np.arange(len(mask)), np.arange(len(mask)) % N] = 1.0  # one value at least
    location, scale = statistics(SCALERS[name](), past * mask, mask, dtype)
    expected = np.array([TWINS[name](x[m > 0]) for x, m in zip(past, mask, strict=True)]).T
    tolerance = TOLERANCE[dtype]
    size = np.abs(past).max()
    assert_allclose(location, expected[0], rtol=tolerance, atol=tolerance * size)
    # differences of numbers of that size
    assert_allclose(scale, expected[1], rtol=tolerance, atol=tolerance * size)


@every_dtype
@every_scaler
def test_a_constant_window_is_scaled_to_zero(name, dtype):
    past = windows("constant")
    location, scale = statistics(SCALERS[name](), past, np.ones(past.shape), dtype)
    assert (scale > 0).all()
    if name in ("robust", "minmax", "last"):
        assert_array_equal(location, past[:, 0])
        assert_array_equal(scale, 1.0)


@every_scaler
def test_a_window_without_any_value(name):
    nothing = np.zeros((2, 5))
    location, scale = statistics(SCALERS[name](), nothing, nothing)
    assert np.isfinite(location).all() and np.isfinite(scale).all() and (scale > 0).all()


def test_the_median_is_not_moved_by_one_spike():
    past = windows("walks")
    spiked = past.copy()
    spiked[:, 3] = 1e6
    location, scale = statistics(Robust(), spiked, np.ones(past.shape))
    inside = np.sort(past, axis=1)
    middle = N // 2
    assert (location >= inside[:, middle - 1]).all() and (location <= inside[:, middle + 1]).all()
    assert (scale < np.ptp(past, axis=1)).all()


@pytest.mark.parametrize("scaler", [Standard(eps=1e-30), Robust(), MinMax()])
def test_a_window_in_other_units_has_statistics_in_those(scaler):
    past, mask = windows("walks"), np.ones((40, N))
    location, scale = statistics(scaler, past, mask)
    other = statistics(scaler, 8.0 * past - 3.0, mask)
    assert_allclose(other[0], 8.0 * location - 3.0, rtol=1e-9)
    assert_allclose(other[1], 8.0 * scale, rtol=1e-9)


@every_dtype
@every_scaler
@pytest.mark.parametrize("horizon", [1, 4])
def test_what_is_scaled_comes_back(name, horizon, dtype):
    """A network that repeats what it sees forecasts the window's own first values."""

    def repeat(tape, past):
        gain = tape.parameter((1,), name="gain", init="ones")
        return tape.mul(tape.slice(past, 0, 0, horizon), gain)

    past, mask = windows("walks"), np.ones((40, N))
    shapes = {"past_y": (N,), "past_mask": (N,)}
    network = WindowNetwork(
        repeat, SquaredError(), shapes, horizon, dtype, 0, scaler=SCALERS[name]()
    )
    tape = network.inference
    y = np.zeros((40, horizon))
    tape.forward(past_y=past, past_mask=mask, y=y, y_mask=np.ones_like(y))
    found = tape.value(network.outputs["prediction"])
    tolerance = TOLERANCE[dtype]
    assert_allclose(found, past[:, :horizon], rtol=tolerance, atol=tolerance * np.abs(past).max())


def test_revin_undoes_what_it_learned():
    def repeat(tape, past):
        gain = tape.parameter((1,), name="gain", init="ones")
        return tape.mul(tape.slice(past, 0, 0, 4), gain)

    past = windows("walks")
    shapes = {"past_y": (N,), "past_mask": (N,)}
    network = WindowNetwork(repeat, SquaredError(), shapes, 4, "float64", 0, scaler=RevIN())
    network.parameters["revin.gain"].value[...] = 2.5
    network.parameters["revin.bias"].value[...] = -0.7
    y = np.ones((40, 4))
    network.inference.forward(past_y=past, past_mask=np.ones(past.shape), y=y, y_mask=y)
    found = network.inference.value(network.outputs["prediction"])
    assert_allclose(found, past[:, :4], rtol=1e-12, atol=1e-12 * np.abs(past).max())


@every_dtype
def test_the_median_of_special_values(dtype):
    tape = Tape(dtype)
    x, mask = tape.input((4,), name="x"), tape.input((4,), name="mask")
    median = tape.median(x, mask)
    inf = np.inf
    rows = [
        ([-0.0, -0.0, -0.0, 1.0], 0.0),
        ([np.nan, 1.0, 2.0, 3.0], np.nan),
        ([-inf, -1.0, 3.0, inf], 1.0),
        ([inf, inf, inf, 0.0], inf),
        ([1e-40, 3e-40, -1e30, 1e30], 2e-40),
    ]
    values = np.array([row for row, _ in rows]).astype(dtype)
    tape.forward(x=values, mask=np.ones((len(rows), 4)))
    found = tape.value(median)
    assert_allclose(found, [expected for _, expected in rows], rtol=1e-5)
    assert not np.signbit(found[0])
    tape.forward(x=values, mask=np.isfinite(values))  # what is hidden may be anything
    hidden = [np.median(row[np.isfinite(row)]) for row in values]
    assert_allclose(tape.value(median), hidden, rtol=1e-5)


def test_revin_starts_as_standard_and_learns_gain_and_bias():
    tape = Tape("float64")
    x, y = tape.input((1,), name="x"), tape.input((1,), name="y")
    gain, bias = RevIN().affine(tape)
    loss = tape.mse(tape.add(tape.mul(x, gain), bias), y)
    tape.forward(x=[[3.0]], y=[[1.0]])
    assert_array_equal([tape.value(gain), tape.value(bias)], [[1.0], [0.0]])
    tape.backward(loss)
    assert_array_equal([tape.gradient(gain), tape.gradient(bias)], [[12.0], [4.0]])


@pytest.mark.parametrize(
    "given, kind", [(None, Scaler), *SCALERS.items(), (Last(), Last), (Standard(eps=1.0), Standard)]
)
def test_names(given, kind):
    assert type(resolve(given)) is kind


def test_errors():
    with pytest.raises(ValueError, match=r"got 'standart'; did you mean 'standard'\?"):
        resolve("standart")
    with pytest.raises(TypeError, match=r"scaler must be a name, .* or None; got 3"):
        resolve(3)
    with pytest.raises(ValueError, match=r"'eps' parameter of Standard .*Got 0"):
        Standard(eps=0.0).validate()
