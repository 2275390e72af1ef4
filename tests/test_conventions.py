"""What operations do where the formula does not say: kinks, ties, NaN, infinity, zero."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import ctrain
from ctrain._core import dispatch
from ctrain._core.ops import OPS

TARGETS = dispatch.available()
DTYPES = ("float64", "float32")
NAN, INF = np.nan, np.inf
WIDTH = 37  # beyond two vectors, and a tail


def answers(name, inputs, attributes, dtype):
    """Value of one row, and the gradient of its sum by each input."""
    tape = ctrain.Tape(dtype)
    arrays = {f"x{i}": np.asarray(x, dtype)[None] for i, x in enumerate(inputs)}
    tensors = [tape.input(x.shape[1:], name=k) for k, x in arrays.items()]
    y = getattr(tape, name)(*tensors, **attributes)
    tape.forward(**arrays)
    value = tape.value(y)[0]
    tape = ctrain.Tape(dtype)
    tensors = [tape.input(x.shape[1:], name=k) for k, x in arrays.items()]
    loss = tape.sum(getattr(tape, name)(*tensors, **attributes))
    tape.forward(**arrays)
    tape.backward(loss)
    return value, [tape.gradient(x)[0] for x in tensors]


#: operation, inputs, attributes: value, gradient by each input
KINKS = [
    ("abs", ([0.0, -0.0, -2.0],), {}, [0, 0, 2], [[0, 0, -1]]),
    ("relu", ([0.0, -0.0, -1.0, 3.0],), {}, [0, 0, 0, 3], [[0, 0, 0, 1]]),
    ("clip", ([-1.0, 2.0, -1.1, 2.1, 0.0],), {"low": -1, "high": 2}, [-1, 2, -1, 2, 0],
     [[1, 1, 0, 0, 1]]),
    ("clip", ([5.0],), {"low": 5, "high": 5}, [5], [[1]]),
    ("minimum", ([1.0, 2.0], [1.0, 1.0]), {}, [1, 1], [[0.5, 0], [0.5, 1]]),
    ("maximum", ([1.0, 2.0], [1.0, 3.0]), {}, [1, 3], [[0.5, 0], [0.5, 1]]),
    ("max", ([1.0, 4.0, 4.0, 2.0],), {}, 4, [[0, 1, 0, 0]]),
    ("max", ([[3.0, 3.0], [1.0, 3.0]],), {"axis": 0}, [3, 3], [[[1, 1], [0, 0]]]),
    ("where", ([0.0, -0.0, 1.0, NAN], [1.0] * 4, [2.0] * 4), {}, [2, 2, 1, 1],
     [[0] * 4, [0, 0, 1, 1], [1, 1, 0, 0]]),
    ("square", ([0.0],), {}, [0], [[0]]),
    ("power", ([0.0, -2.0],), {"exponent": 0}, [1, 1], [[0, 0]]),
    ("power", ([0.0, -2.0],), {"exponent": 1}, [0, -2], [[1, 1]]),
    ("power", ([0.0, -2.0],), {"exponent": 3}, [0, -8], [[0, 12]]),
    ("ratio", ([3.0, 0.0, 2.0], [0.0, 0.0, 4.0]), {}, [0, 0, 0.5], [[0, 0, 0.25], [0, 0, 0]]),
    ("stop_gradient", ([2.0],), {}, [2], [[0]]),
    ("absolute_error", ([1.0, 2.0], [1.0, 4.0]), {}, 1, [[0, -0.5], [0, 0.5]]),
    ("huber", ([1.0, -1.0], [0.0, 0.0]), {}, 0.5, [[0.5, -0.5], [-0.5, 0.5]]),
    ("quantile", ([1.0, 2.0], [1.0, 4.0]), {"levels": (0.9,)}, 0.9, [[0, -0.45], [0, 0.45]]),
    ("smape", ([0.0, 0.0], [0.0, 2.0]), {}, 1, [[0, -0.5], [0, 0]]),
    ("logcosh", ([0.0, 1000.0], [0.0, 0.0]), {}, 500 - np.log(2) / 2, [[0, 0.5], [0, -0.5]]),
    ("poisson", ([0.0], [0.0]), {}, 1, [[1], [0]]),
    ("log_loss", ([0.0, -INF, 0.0], [0.5, 0.0, 0.5]), {}, np.log(2), None),
    ("log_loss", ([0.0, 800.0], 1.0), {}, 0, [[0, 0], 0]),
    ("log_loss", ([800.0], [0.0]), {}, 800, [[1], [-800]]),
    ("softmax", ([1.0, -INF, 1.0],), {}, [0.5, 0, 0.5], [[0, 0, 0]]),
    ("softmax", ([1000.0, 1000.0],), {}, [0.5, 0.5], [[0, 0]]),
    ("log_softmax", ([1000.0, 0.0],), {}, [0, -1000], [[-1, 1]]),
    ("softplus", ([800.0, -800.0],), {}, [800, 0], [[1, 0]]),
    ("sigmoid", ([800.0, -800.0],), {}, [1, 0], [[0, 0]]),
    ("silu", ([-800.0, 800.0],), {}, [0, 800], [[0, 1]]),
    ("gelu", ([-50.0, 50.0, 0.0],), {}, [0, 50, 0], [[0, 1, 0.5]]),
    ("gelu_tanh", ([-50.0, 50.0, 0.0],), {}, [0, 50, 0], [[0, 1, 0.5]]),
    ("elu", ([-800.0, 0.0],), {"alpha": 2.0}, [-2, 0], None),
    ("exp", ([-INF, INF],), {}, [0, INF], None),
    ("log", ([0.0, -1.0, INF],), {}, [-INF, NAN, INF], None),
    ("log1p", ([-1.0, -2.0],), {}, [-INF, NAN], None),
    ("sqrt", ([0.0, -1.0],), {}, [0, NAN], None),
    ("div", ([1.0, -1.0, 0.0], [0.0, 0.0, 0.0]), {}, [INF, -INF, NAN], None),
    ("power", ([-2.0, 0.0, 4.0],), {"exponent": 0.5}, [NAN, 0, 2], None),
    ("power", ([-2.0, 0.0, INF],), {"exponent": 1.7}, [NAN, 0, INF], None),
    ("power", ([0.0, -2.0],), {"exponent": -1}, [INF, -0.5], None),
    ("lgamma", ([0.0, -1.0, INF, 1.0, 2.0],), {}, [INF, INF, INF, 0, 0], None),
    ("max", ([1.0, NAN, 3.0],), {}, NAN, None),
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("case", KINKS, ids=lambda case: f"{case[0]} {case[1]} {case[2]}")
def test_kinks(case, dtype):
    name, inputs, attributes, value, gradients = case
    ours, slopes = answers(name, inputs, attributes, dtype)
    tolerance = 4 * np.finfo(dtype).eps
    assert_allclose(ours, value, rtol=tolerance, atol=tolerance)
    if gradients is None:
        return
    for slope, gradient in zip(slopes, gradients, strict=True):
        assert_allclose(slope, gradient, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("index", [-1.0, 3.0, NAN, 1e30, -INF])
@pytest.mark.parametrize("dtype", DTYPES)
def test_an_index_that_is_no_class(index, dtype):
    assert np.isnan(answers("log_loss", ([0.0, 1.0, 2.0], index), {}, dtype)[0])


def test_an_index_is_rounded():
    exact = answers("log_loss", ([0.0, 1.0, 2.0], 1.0), {}, "float64")
    for index in (0.6, 1.4):
        close = answers("log_loss", ([0.0, 1.0, 2.0], index), {}, "float64")
        assert close[0] == exact[0] and close[1][1] == 0.0
        assert_array_equal(close[1][0], exact[1][0])


def test_mape_at_a_target_of_zero():
    for dtype in DTYPES:
        value, _ = answers("mape", ([3.0], [0.0]), {}, dtype)
        assert_allclose(value, 3.0 / np.finfo(dtype).eps, rtol=1e-6)


#: operations of one tensor or of two of one shape, whose NaN must come through
PASSING_NAN = [name for name, op in OPS.items() if op.family == "elementwise" and name != "where"]
ATTRIBUTES = {"power": {"exponent": 1.7}, "clip": {"low": -1.0, "high": 1.0}}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", PASSING_NAN)
def test_nan_stays_nan(name, dtype):
    """At every place of a vector and its tail, in every input, and nowhere else."""
    n_inputs = len(OPS[name].inputs)
    for which in range(n_inputs):
        for place in range(WIDTH):
            x = np.full((n_inputs, WIDTH), 0.5)
            x[which, place] = NAN
            value, _ = answers(name, list(x), ATTRIBUTES.get(name, {}), dtype)
            assert_array_equal(np.isnan(value), np.arange(WIDTH) == place)


@pytest.mark.parametrize("name", ["sum", "mean", "max", "softmax", "log_softmax"])
def test_reductions_do_not_lose_nan(name):
    for place in range(WIDTH):
        x = np.linspace(-1, 1, WIDTH)
        x[place] = NAN
        assert np.isnan(answers(name, [x], {}, "float32")[0]).all()


LOSSES = [name for name, op in OPS.items() if op.family == "loss" and name != "log_loss"]


@pytest.mark.parametrize("name", LOSSES)
def test_losses_do_not_lose_nan(name):
    for which in range(2):
        for place in range(WIDTH):
            x = np.full((2, WIDTH), 0.5)
            x[which, place] = NAN
            assert np.isnan(answers(name, list(x), {}, "float32")[0])


def special_values() -> dict[str, np.ndarray]:
    """Values of all tables above on the target in use."""
    kept = {}
    for k, (name, inputs, attributes, *_) in enumerate(KINKS):
        for dtype in DTYPES:
            value, slopes = answers(name, inputs, attributes, dtype)
            kept[f"{k} {name} {dtype}"] = np.concatenate(
                [np.ravel(value), *(np.ravel(s) for s in slopes)]
            )
    return kept


@pytest.mark.parametrize("target", TARGETS)
def test_targets(on_target, target):
    ours, here = on_target(target, "test_conventions", "special_values"), special_values()
    for key, value in ours.items():
        assert_allclose(value, here[key], rtol=1e-5, atol=1e-6, err_msg=key)
