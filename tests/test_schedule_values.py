"""Schedules: exact values, PyTorch's sequences, the same bits however they are asked."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from reference.make_schedules import BASE, CASES, PLATEAUS, SCRIPTS, STORE

from ctrain.schedules import (
    SCHEDULES,
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    InverseScaling,
    Length,
    OneCycle,
    ReduceOnPlateau,
    Step,
    WarmupCosine,
    WarmupLinear,
    learning_rates,
    resolve,
)

# --- exact values: the formulas of the docstrings with 50 digits ----------------------------------

from_float = Decimal.from_float
PI = Decimal("3.14159265358979323846264338327950288419716939937510")


def cos(x: Decimal) -> Decimal:
    """Taylor's series, for 0 <= x <= pi."""
    total = term = Decimal(1)
    n = 0
    while abs(term) > Decimal("1e-55"):
        n += 2
        term = -term * x * x / (n * (n - 1))
        total += term
    return total


def wave(high, low, passed, of) -> Decimal:
    """From `high` down to `low` along half a cosine wave."""
    return low + (high - low) * (1 + cos(PI * passed / of)) / 2


def line(high, low, passed, of) -> Decimal:
    return high + (low - high) * passed / of


def warm(descent, base, eta_min, warmup, total, s):
    if s < warmup and s < total:
        return base * (s + 1) / (warmup + 1)
    return eta_min if s >= total else descent(base, eta_min, Decimal(s - warmup), total - warmup)


def restarts(base, eta_min, t_0, t_mult, s):
    while s >= t_0:
        s, t_0 = s - t_0, t_0 * t_mult
    return wave(base, eta_min, Decimal(s), t_0)


def cycle(form, base, p, d, f, total, s):
    peak, last = Decimal(p) * total - 1, total - 1
    if s <= peak:
        return form(base / d, base, Decimal(s), peak)
    return form(base, base / d / f, s - peak, last - peak) if s < last else base / d / f


T = 1000
#: schedule, length of the fit, and the exact rate at step s from base b
EXACT = [
    (Constant(), Length(), lambda b, s: b),
    (Step(3, 0.9, "step"), Length(), lambda b, s: b * from_float(0.9) ** (s // 3)),
    (Step(2, 0.5), Length(None, 50), lambda b, s: b * from_float(0.5) ** (s // 100)),
    (Step(0.25), Length(T, 50), lambda b, s: b * from_float(0.1) ** (s // 250)),
    (Exponential(0.999, "step"), Length(), lambda b, s: b * from_float(0.999) ** s),
    (Exponential(), Length(None, 7), lambda b, s: b * from_float(0.95) ** (Decimal(s) / 7)),
    (InverseScaling(), Length(), lambda b, s: b / (1 + Decimal(s)).sqrt()),
    (InverseScaling(1.7, "epoch"), Length(None, 7),
     lambda b, s: b / (1 + Decimal(s) / 7) ** from_float(1.7)),
    (Cosine(), Length(T), lambda b, s: warm(wave, b, Decimal(0), 0, T, s)),
    (Cosine(0.01), Length(7), lambda b, s: warm(wave, b, from_float(0.01), 0, 7, s)),
    (Cosine(1e-6, length=0.5), Length(T),
     lambda b, s: warm(wave, b, from_float(1e-6), 0, 500, s)),
    (Cosine(), Length(10_000, 100), lambda b, s: warm(wave, b, Decimal(0), 0, 10_000, s)),
    (CosineRestarts(t_0=13, unit="step"), Length(),
     lambda b, s: restarts(b, Decimal(0), 13, 1, s)),
    (CosineRestarts(1, 2, 1e-5), Length(None, 5),
     lambda b, s: restarts(b, from_float(1e-5), 5, 2, s)),
    (CosineRestarts(0.1, 3), Length(T, 7), lambda b, s: restarts(b, Decimal(0), 100, 3, s)),
    (WarmupCosine(), Length(T), lambda b, s: warm(wave, b, Decimal(0), 50, T, s)),
    (WarmupCosine(2, 1e-4), Length(41, 5),
     lambda b, s: warm(wave, b, from_float(1e-4), 10, 41, s)),
    (WarmupCosine(0), Length(3), lambda b, s: warm(wave, b, Decimal(0), 0, 3, s)),
    (WarmupCosine(9, unit="step"), Length(5), lambda b, s: warm(wave, b, Decimal(0), 5, 5, s)),
    (WarmupLinear(), Length(T), lambda b, s: warm(line, b, Decimal(0), 50, T, s)),
    (WarmupLinear(3, 0.0002, 30, "step"), Length(T, 9),
     lambda b, s: warm(line, b, from_float(0.0002), 3, 30, s)),
    (OneCycle(), Length(T), lambda b, s: cycle(wave, b, 0.3, 25, 10_000, T, s)),
    (OneCycle(0.45), Length(7), lambda b, s: cycle(wave, b, 0.45, 25, 10_000, 7, s)),
    (OneCycle(0.25, 10.0, 1e3, "linear", 2), Length(T, 99),
     lambda b, s: cycle(line, b, 0.25, 10, 1000, 198, s)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("schedule", "length", "exact"), EXACT, ids=lambda v: repr(v) if not callable(v) else None
)
@pytest.mark.parametrize("base", [1e-3, 0.7])
def test_exact_at_every_step(schedule, length, exact, base):
    """To 1e-15 of the rate itself, at every step of the fit and beyond."""
    n_steps = (length.total_steps or T) + 20
    rates = learning_rates(resolve(schedule), base, 0, n_steps, length)
    with localcontext(prec=50):
        for step, rate in enumerate(rates):
            want = exact(Decimal(base), step)
            assert abs(Decimal(float(rate)) - want) <= Decimal("1e-15") * want, step


def test_every_function_of_the_step_is_compared():
    compared = {type(schedule) for schedule, _, _ in EXACT}
    assert compared == set(SCHEDULES.values()) - {ReduceOnPlateau}


@pytest.mark.parametrize(
    ("schedule", "length", "rates"),
    [
        (Cosine(), Length(1), [1.0, 0.0, 0.0]),
        (Cosine(0.25), Length(2), [1.0, 0.625, 0.25, 0.25, 0.25]),
        (WarmupCosine(), Length(1), [1.0, 0.0]),
        (WarmupCosine(3), Length(6), [0.25, 0.5, 0.75, 1.0, 0.75, 0.25, 0.0, 0.0]),
        (WarmupLinear(0), Length(4), [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]),
        (WarmupLinear(1.0), Length(3), [0.25, 0.5, 0.75, 0.0, 0.0]),
        (WarmupLinear(9), Length(3), [0.25, 0.5, 0.75, 0.0, 0.0]),
        (OneCycle(div_factor=4, final_div_factor=2), Length(1), [1.0, 0.125, 0.125]),
        (OneCycle(0.0, 4, 2, "linear"), Length(2), [1.0, 0.125, 0.125]),
        (OneCycle(1.0, 4, 2, "linear"), Length(4), [0.25, 0.5, 0.75, 1.0, 0.125]),
        (Step(0.001, 0.5), Length(3), [1.0, 0.5, 0.25, 0.125]),
        (CosineRestarts(0.001), Length(3), [1.0, 1.0, 1.0]),
    ],
    ids=repr,
)
def test_short_fits(schedule, length, rates):
    ours = learning_rates(resolve(schedule), 1.0, 0, len(rates), length)
    assert_allclose(ours, rates, rtol=1e-15)


# --- PyTorch's sequences --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def torch_store():
    with np.load(STORE) as store:
        return dict(store)


def test_store_holds_exactly_the_cases(torch_store):
    assert set(torch_store) - {"torch"} == {*CASES, *PLATEAUS}
    ours_alone = {"constant", "inverse_scaling", "reduce_on_plateau"}
    assert {name for name, _, _ in CASES.values()} == set(SCHEDULES) - ours_alone


@pytest.mark.parametrize("label", CASES)
def test_functions_of_the_step_follow_torch(torch_store, label):
    """PyTorch computes most of them from the step before, so errors add up; ours is exact."""
    name, parameters, total = CASES[label]
    theirs = torch_store[label]
    unit = {"unit": "step"} if name != "one_cycle" else {}
    ours = learning_rates(
        resolve(SCHEDULES[name](**parameters, **unit)), BASE, 0, len(theirs), Length(total)
    )
    assert_allclose(ours, theirs, rtol=1e-12, atol=1e-15 * BASE)


@pytest.mark.parametrize("label", PLATEAUS)
def test_plateau_follows_torch(torch_store, label):
    for script, theirs in zip(SCRIPTS, torch_store[label], strict=True):
        schedule = resolve(ReduceOnPlateau(**PLATEAUS[label]))
        rates = []
        for n in range(1, len(script) + 1):
            schedule.observe({"validation_loss": list(script[:n])})
            rates.append(float(schedule(n, BASE, Length())))
        assert_array_equal(rates, theirs, err_msg=str(script))


# --- one function of the step, however it is asked ------------------------------------------------

OBJECTS = [cls() for cls in SCHEDULES.values()]


@pytest.mark.parametrize(
    "length", [Length(120, 4), Length(97, 10), Length(None, 3), Length(1)], ids=repr
)
@pytest.mark.parametrize("schedule", [*OBJECTS, *(row[0] for row in EXACT)], ids=repr)
def test_asked_at_once_in_pieces_or_step_by_step(schedule, length):
    n = 130
    whole = learning_rates(schedule, 0.1, 0, n, length)
    assert whole.dtype == np.float64
    assert whole.shape == (n,)
    pieces = [learning_rates(schedule, 0.1, i, k, length) for i, k in ((0, 31), (31, 0), (31, 99))]
    assert_array_equal(np.concatenate(pieces), whole)
    assert_array_equal([float(schedule(step, 0.1, length)) for step in range(n)], whole)
    assert_array_equal(schedule(np.arange(n)[::-3], 0.1, length), whole[::-3])
    grid = np.arange(n, dtype=np.int32).reshape(10, 13)
    assert_array_equal(schedule(grid, 0.1, length), whole.reshape(10, 13))


@pytest.mark.parametrize("schedule", OBJECTS, ids=repr)
def test_rates_are_in_proportion_to_the_initial_one(schedule):
    one, two = (learning_rates(schedule, base, 0, 130, Length(120, 4)) for base in (0.1, 0.2))
    assert_array_equal(two, 2 * one)
