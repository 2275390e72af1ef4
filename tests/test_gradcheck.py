"""Every gradient against five-point differences, and the checker against wrong gradients."""

from __future__ import annotations

from collections import Counter
from zlib import crc32

import numpy as np
import pytest
from networks import ACTIVATIONS, LOSSES, random_networks

import ctrain
from ctrain._core.ops import OPS
from op_cases import CASES

TOLERANCE = 1e-8
WANTED = 2000
NETS = 200
ROWS = (1, 4)
DIFFERENTIABLE = [name for name, op in OPS.items() if op.differentiable != ()]
#: a step of 1e-3 is not small beside the distance to a singularity at 0, so it is taken relative
SINGULAR_AT_ZERO = {"div", "log", "power", "sqrt", "lgamma", "mape", "smape"}


def record(name, case, tensors):
    """``fn(tape, ...) -> output`` of one case, for tensors found by name."""
    return lambda tape, **given: getattr(tape, name)(
        *(None if t is None else given[t] for t in tensors), **case.attributes
    )


def record_and_use_again(name, case, tensors, again):
    """The same; then some inputs are used once more, so that their gradients are sums."""
    first = record(name, case, tensors)

    def fn(tape, **given):
        parts = [first(tape, **given), *(tape.square(given[t]) for t in again)]
        return tape.concat(*(tape.reshape(part, -1) for part in parts))

    return fn


def record_relative(name, case, tensors):
    """The same with each input multiplied by an array of ones, whose gradient is checked."""
    first = record(name, case, tensors)

    def fn(tape, **given):
        factors = {t: given.pop(f"relative {t}") for t in list(given) if f"relative {t}" in given}
        return first(tape, **{t: tape.mul(x, factors[t]) for t, x in given.items()})

    return fn


def checks(name: str):
    """Arguments of ``check_gradients``: cases x numbers of rows x levels x forms."""
    op = OPS[name]
    for k, case in enumerate(CASES[name]):
        for rows in ROWS:
            rng = np.random.default_rng([crc32(name.encode()), k, rows])
            arrays = case.sample(rng, rows)
            tensors = [None if x is None else f"x{i}" for i, x in enumerate(arrays)]
            wrt = [
                t
                for i, t in enumerate(tensors)
                if t is not None and (op.differentiable is None or i in op.differentiable)
            ]
            weights = {f"x{i}": arrays[i] for i in case.weights}
            inputs = {
                t: x
                for t, x in zip(tensors, arrays, strict=True)
                if t is not None and t not in weights
            }
            single = {t: x[0] for t, x in inputs.items()}
            args = (name, case, tensors)
            if name in SINGULAR_AT_ZERO:
                factors = {f"relative {t}": np.ones_like(inputs[t]) for t in inputs}
                plain, given = record_relative(*args), {**inputs, **factors}
                yield k, plain, given, weights, [f"relative {t}" for t in wrt]
                factors = {f"relative {t}": np.ones_like(single[t]) for t in single}
                yield k, plain, {}, {**single, **factors}, [f"relative {t}" for t in wrt]
                continue
            yield k, record(*args), inputs, weights, wrt
            for again in dict.fromkeys((tuple(wrt), tuple(wrt[:1]), tuple(wrt[1:2]))):
                yield k, record_and_use_again(*args, again), inputs, weights, wrt
            if op.batch:
                continue
            yield k, record(*args), {}, {**single, **weights}, wrt
            if len(inputs) > 1:  # one input is the same in every row
                row_level = [t for t in wrt if t in inputs]
                t = row_level[k % len(row_level)]
                rest = {s: np.repeat(x[:1], rows, 0) for s, x in inputs.items() if s != t}
                yield k, record(*args), rest, {t: single[t], **weights}, wrt
            same = {x.shape for x in inputs.values()}
            if len(wrt) > 1 and len(same) == 1 and not weights:  # one tensor in all places
                tensors = [wrt[0] if t in wrt else t for t in tensors]
                left = {t: inputs[t] for t in dict.fromkeys(tensors)}
                yield k, record(name, case, tensors), left, {}, wrt[:1]


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_gradients(name):
    for seed, (k, fn, inputs, parameters, wrt) in enumerate(checks(name)):
        try:
            ctrain.check_gradients(fn, inputs, parameters, wrt=wrt, random_state=seed)
        except AssertionError as error:
            raise AssertionError(f"{name} {k} {CASES[name][k].attributes}: {error}") from None


def test_enough_cases():
    assert sum(1 for name in DIFFERENTIABLE for _ in checks(name)) >= WANTED


def tanh_with_gradient(factor):
    """``tanh(x)`` whose gradient is `factor` times the right one."""

    def fn(tape, x):
        f = tape.tanh(x)
        steep = tape.scale(f, factor)
        return tape.add(tape.stop_gradient(tape.sub(f, steep)), steep)

    return fn


X = np.random.default_rng(0).normal(size=(3, 4))


@pytest.mark.parametrize("level", ["inputs", "parameters"])
@pytest.mark.parametrize("factor", [1.0005, 0.9995, -1.0, 0.0])
def test_the_checker_finds_a_wrong_gradient(factor, level):
    with pytest.raises(AssertionError, match=r"gradient of x is wrong: element \(\d, \d\) is "):
        ctrain.check_gradients(tanh_with_gradient(factor), **{level: {"x": X}})


def test_the_checker_finds_a_gradient_that_is_not_a_number():
    with pytest.raises(AssertionError, match=r"gradient of x is wrong: .* nan"):
        ctrain.check_gradients(lambda tape, x: tape.sqrt(tape.scale(x, 0.0)), {"x": X})


def test_the_checker_finds_one_wrong_element():
    wrong = np.ones((3, 4))
    wrong[1, 2] = 1.0005

    def fn(tape, x):
        f = tape.tanh(x)
        steep = tape.mul(f, wrong)
        return tape.add(tape.stop_gradient(tape.sub(f, steep)), steep)

    with pytest.raises(AssertionError, match=r"element \(1, 2\)"):
        ctrain.check_gradients(fn, parameters={"x": X})


def test_the_checker_passes_a_right_gradient():
    assert ctrain.check_gradients(tanh_with_gradient(1.0), {"x": X}) < TOLERANCE
    assert ctrain.check_gradients(lambda tape, x: tape.sum(x), {"x": X}, tolerance=1e-9) < 1e-9


def test_the_checker_changes_nothing_it_is_given():
    x = X.copy()
    ctrain.check_gradients(lambda tape, x: tape.exp(x), {"x": x})
    ctrain.check_gradients(lambda tape, x: tape.exp(x), parameters={"x": x})
    assert x.tobytes() == X.tobytes()


def test_random_networks():
    seen = Counter()
    for net in random_networks(NETS):
        wrt = [*net.parameters, *(f"x{i}" for i in range(net.n_features)), "target"]
        ctrain.check_gradients(net, net.inputs, net.parameters, wrt=wrt, tolerance=TOLERANCE)
        seen.update(node.op for node in net.tape.nodes)
    assert set(ACTIVATIONS) | set(LOSSES) | {"bernoulli", "softmax", "batch_mean"} <= set(seen)


P, W = np.random.default_rng(1).uniform(1, 2, 4), np.random.default_rng(2).normal(size=(4, 4))
#: one parameter for rows and, without a batch axis, before and after the batch has been seen
STAGES = {
    "rows and a later stage": lambda t, x, p, w: t.add(
        t.mul(x, p), t.sqrt(t.add(t.batch_mean(t.square(x)), p))
    ),
    "both stages": lambda t, x, p, w: t.add(
        t.mul(x, t.square(p)), t.sqrt(t.add(t.batch_mean(t.square(x)), t.exp(p)))
    ),
    "a product in both stages": lambda t, x, p, w: t.add(
        t.matmul(x, w, p), t.matmul(t.batch_mean(t.matmul(x, w)), w, p)
    ),
    "weights made of the batch": lambda t, x, p, w: t.matmul(
        t.tanh(x), t.mul(w, t.batch_mean(t.square(x)))
    ),
    "a mean of means": lambda t, x, p, w: t.sub(x, t.batch_mean(t.mul(x, t.batch_mean(x)))),
    "three stages": lambda t, x, p, w: t.mul(
        t.sub(t.matmul(x, w), t.batch_mean(x)), t.batch_mean(t.square(t.sub(x, t.batch_mean(x))))
    ),
    "a matrix with itself": lambda t, x, p, w: t.add(x, t.sum(t.matmul(w, w, p))),
    "a matrix and its transpose": lambda t, x, p, w: t.matmul(t.matmul(x, w), t.transpose(w)),
    "no rows": lambda t, x, p, w: t.matmul(p, w),
    "a constant matrix": lambda t, x, p, w: t.matmul(t.tanh(x), W),
    "dropped weights": lambda t, x, p, w: t.matmul(x, t.dropout(w, 0.4), p),
}


@pytest.mark.parametrize("fn", STAGES.values(), ids=STAGES)
@pytest.mark.parametrize("rows", [1, 5])
def test_levels_and_stages(fn, rows):
    x = np.random.default_rng(3).normal(size=(rows, 4))
    ctrain.check_gradients(fn, {"x": x}, {"p": P, "w": W}, tolerance=TOLERANCE)
