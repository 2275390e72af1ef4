"""Schedules: learning rates as an array, and what is refused."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone

from ctrain.schedules import SCHEDULES, Constant, Schedule, learning_rates, resolve


class Halving(Schedule):
    """Half the learning rate after every `period` steps."""

    def __init__(self, period=2):
        self.period = period

    def __call__(self, step, base):
        return base * 0.5 ** (np.asarray(step) // self.period)


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_are_scikit_learn_objects(name):
    schedule = resolve(name)
    assert type(schedule) is SCHEDULES[name]
    assert resolve(schedule) is schedule
    assert clone(schedule).get_params() == schedule.get_params()
    assert repr(schedule) == f"{SCHEDULES[name].__name__}()"


@pytest.mark.parametrize("schedule", [*(cls() for cls in SCHEDULES.values()), Halving()], ids=repr)
def test_a_schedule_is_a_function_of_the_step_alone(schedule):
    """Asked for at once, in pieces or step by step, the rates are the same."""
    whole = learning_rates(schedule, 0.1, 0, 10)
    assert whole.dtype == np.float64
    assert whole.shape == (10,)
    pieces = [learning_rates(schedule, 0.1, first, n) for first, n in ((0, 3), (3, 0), (3, 7))]
    assert_array_equal(np.concatenate(pieces), whole)
    assert_array_equal([float(schedule(step, 0.1)) for step in range(10)], whole)


def test_constant_stays_at_the_initial_learning_rate():
    assert_array_equal(learning_rates(Constant(), 0.25, 7, 3), [0.25] * 3)
    assert_array_equal(learning_rates(Constant(), 0, 0, 2), [0.0, 0.0])


def test_own_schedule_object():
    assert_array_equal(learning_rates(Halving(period=2), 1.0, 1, 4), [1.0, 0.5, 0.5, 0.25])


def test_a_callable_gets_each_step_and_gives_the_rate_itself():
    seen = []

    def schedule(step):
        seen.append(step)
        return 0.5**step

    assert resolve(schedule) is schedule
    assert_array_equal(learning_rates(schedule, 123.0, 2, 3), [0.25, 0.125, 0.0625])
    assert seen == [2, 3, 4]
    assert all(type(step) is int for step in seen)


@pytest.mark.parametrize("number", [1, 0.5, np.float32(0.5), np.int64(1), Fraction(1, 2), 0])
def test_any_real_number_is_a_rate(number):
    assert_array_equal(learning_rates(lambda step: number, 1.0, 0, 2), [float(number)] * 2)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -1e-9])
def test_a_bad_rate_names_step_and_value(bad):
    def sometimes(step):
        return bad if step >= 12 else 0.1

    assert_array_equal(learning_rates(sometimes, 1.0, 0, 12), [0.1] * 12)
    message = rf"finite and not negative; at step 12 .*sometimes.* gave {re.escape(repr(bad))}\."
    with pytest.raises(ValueError, match=message):
        learning_rates(sometimes, 1.0, 10, 5)


def test_a_bad_initial_rate_is_found_in_a_named_schedule():
    with pytest.raises(ValueError, match=r"at step 3 Constant\(\) gave -0\.1"):
        learning_rates(Constant(), -0.1, 3, 2)


@pytest.mark.parametrize("bad", [None, "0.1", 0.1j, [0.1]])
def test_what_is_no_number(bad):
    with pytest.raises(TypeError, match=r"must return a number; at step 4 .* returned"):
        learning_rates(lambda step: bad if step == 4 else 0.1, 1.0, 0, 6)


def test_an_object_must_give_one_rate_per_step():
    class Scalar(Schedule):
        def __call__(self, step, base):
            return base

    with pytest.raises(ValueError, match=r"one learning rate per step; it gave shape \(\)"):
        learning_rates(Scalar(), 0.1, 0, 3)


@pytest.mark.parametrize(
    ("schedule", "error", "message"),
    [
        ("constnt", ValueError, "unknown name 'constnt'. Did you mean 'constant'? Names are const"),
        ("zigzag", ValueError, "unknown name 'zigzag'. Names are constant"),
        (Constant, TypeError, "an object such as Constant()"),
        (0.1, TypeError, "Got 0.1 instead."),
        (None, TypeError, "Got None instead."),
    ],
)
def test_what_is_no_schedule(schedule, error, message):
    with pytest.raises(error) as info:
        resolve(schedule)
    assert message in str(info.value)
