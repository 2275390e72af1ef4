"""Schedules: lengths, the history, declarations, what is refused."""

from __future__ import annotations

import inspect
import json
import re
from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from reference.make_schedules import SCRIPTS
from sklearn.base import clone

from ctrain import Regressor
from ctrain.schedules import (
    ALIASES,
    SCHEDULES,
    Constant,
    Cosine,
    CosineRestarts,
    Exponential,
    InverseScaling,
    Length,
    OneCycle,
    ReduceOnPlateau,
    Schedule,
    Step,
    WarmupCosine,
    WarmupLinear,
    learning_rates,
    observes,
    resolve,
)

INF, NAN = float("inf"), float("nan")
FIT = Length(total_steps=120, steps_per_epoch=4)


class Halving(Schedule):
    """Half the learning rate after every `period` steps."""

    def __init__(self, period=2):
        self.period = period

    def __call__(self, step, base, length):
        return base * 0.5 ** (np.asarray(step) // self.period)


# --- lengths --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("duration", "unit", "steps"),
    [
        (3, "epoch", 12),
        (3, "step", 3),
        (0, "epoch", 0),
        (np.int64(3), "epoch", 12),
        (0.5, "epoch", 60),
        (0.5, "step", 60),
        (1.0, "epoch", 120),
        (0.0, "epoch", 0),
        (0.013, "epoch", 2),
        (None, "step", 120),
    ],
)
def test_steps_of_a_duration(duration, unit, steps):
    answer = FIT.steps(duration, unit)
    assert (answer, type(answer)) == (steps, int)


def test_what_depends_on_a_length_that_nobody_knows():
    unknown = Length(steps_per_epoch=4)
    assert unknown.steps(0.5) is None and unknown.steps(None) is None
    assert unknown.steps(3) == 12 and Length().steps(3) == 3


SAME = [
    (Step(5), Step(20, unit="step"), Step(1 / 6)),
    (Exponential(0.5**4), Exponential(0.5, unit="step")),
    (InverseScaling(unit="epoch"), InverseScaling(unit="epoch", power_t=np.float64(0.5))),
    (Cosine(length=15), Cosine(length=60, unit="step"), Cosine(length=0.5)),
    (Cosine(), Cosine(length=30), Cosine(length=1.0)),
    (CosineRestarts(6), CosineRestarts(24, unit="step"), CosineRestarts(0.2)),
    (WarmupCosine(3), WarmupCosine(12, unit="step"), WarmupCosine(0.1)),
    (WarmupLinear(3, length=15), WarmupLinear(0.2, length=0.5), WarmupLinear(0.2, 0.0, 15)),
    (WarmupCosine(0, 0.01), Cosine(0.01)),
    (OneCycle(length=15), OneCycle(length=60, unit="step"), OneCycle(length=0.5)),
]


@pytest.mark.parametrize("same", SAME, ids=lambda same: repr(same[0]))
def test_the_same_length_said_in_other_words(same):
    first, *others = (learning_rates(resolve(schedule), 0.1, 0, 130, FIT) for schedule in same)
    assert len(set(first)) > 2
    for other in others:
        assert_allclose(other, first, rtol=1e-15)


def test_every_schedule_with_a_unit_is_compared():
    compared = {type(schedule) for same in SAME for schedule in same}
    assert compared == {cls for cls in SCHEDULES.values() if hasattr(cls(), "unit")}


@pytest.mark.parametrize(
    "schedule",
    [Cosine(), WarmupCosine(), WarmupLinear(), OneCycle(), WarmupCosine(5), Step(0.5),
     CosineRestarts(0.5), Cosine(length=0.5), ReduceOnPlateau(), Constant()],
    ids=repr,
)  # fmt: skip
def test_without_a_length_the_initial_rate_stays(schedule):
    rates = learning_rates(resolve(schedule), 0.1, 0, 500, Length(None, 4))
    assert_array_equal(rates, np.full(500, 0.1))
    assert_array_equal(learning_rates(schedule, 0.1, 0, 500), rates)


@pytest.mark.parametrize(
    "schedule",
    [Step(5), Exponential(), InverseScaling(), CosineRestarts(5), Cosine(length=9),
     WarmupCosine(length=9), WarmupLinear(1, length=50, unit="step"), OneCycle(length=9)],
    ids=repr,
)  # fmt: skip
def test_what_brings_its_own_length_needs_no_other(schedule):
    known, unknown = Length(200, 4), Length(None, 4)
    with_length, without = (learning_rates(schedule, 0.1, 0, 100, n) for n in (known, unknown))
    assert_array_equal(without, with_length)
    assert len(set(without)) > 1


@pytest.mark.parametrize("schedule", [WarmupCosine(), WarmupLinear(), OneCycle()], ids=repr)
@pytest.mark.parametrize("total", [1, 2, 3, 10, 19, 20, 1000])
def test_no_step_of_a_fit_is_wasted(schedule, total):
    assert learning_rates(schedule, 0.1, 0, total, Length(total)).min() > 0


# --- the plateau and the history ------------------------------------------------------------------


def test_plateau_monitors_what_there_is():
    falling, flat = [3.0, 2.0, 1.0], [1.0, 1.0, 1.0]
    for monitor, mode, history, reductions in (
        (None, "min", {"loss": flat, "validation_loss": falling}, 0),
        (None, "min", {"loss": falling, "validation_loss": flat}, 2),
        (None, "min", {"loss": flat}, 2),
        ("loss", "min", {"loss": falling, "validation_loss": flat}, 0),
        ("validation_r2", "max", {"loss": falling, "validation_r2": falling}, 2),
        ("validation_r2", "max", {"loss": flat, "validation_r2": falling[::-1]}, 0),
    ):
        schedule = ReduceOnPlateau(monitor, mode, patience=0)
        for n in range(1, 4):
            schedule.observe({name: column[:n] for name, column in history.items()})
        assert schedule.n_reductions_ == reductions, (monitor, history)


def test_plateau_names_the_columns_there_are():
    schedule = ReduceOnPlateau("validation_r3")
    message = (
        "The 'monitor' parameter of ReduceOnPlateau must be a column of the history: loss, "
        "validation_r2. Got 'validation_r3' instead."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        schedule.observe({"loss": [1.0], "validation_r2": [0.5]})


def state_of(schedule):
    return {name: value for name, value in vars(schedule).items() if name.endswith("_")}


@pytest.mark.parametrize("cut", range(15))
@pytest.mark.parametrize("script", [0, 5, 16, 19], ids="script {}".format)
def test_state_of_the_plateau_goes_on_from_a_text_file(script, cut):
    declared = ReduceOnPlateau(patience=1, cooldown=1, factor=0.5)
    whole, first = clone(declared), clone(declared)
    values = SCRIPTS[script]
    for i, value in enumerate(values):
        whole.observe({"loss": [value]})
        if i < cut:
            first.observe({"loss": [value]})
    second = clone(first)
    assert state_of(second) == {}
    for name, value in json.loads(json.dumps(state_of(first), allow_nan=False)).items():
        setattr(second, name, value)
    for value in values[cut:]:
        second.observe({"loss": [value]})
    assert state_of(second) == state_of(whole)
    assert second(0, 0.1, Length()) == whole(0, 0.1, Length()) < 0.1


def test_rates_before_an_observation_are_not_changed_by_it():
    schedule = ReduceOnPlateau(patience=0)
    before = learning_rates(schedule, 0.1, 0, 5, FIT)
    for _ in range(2):
        schedule.observe({"loss": [1.0]})
    assert_array_equal(before, [0.1] * 5)
    assert_allclose(learning_rates(schedule, 0.1, 5, 5, FIT), [0.01] * 5, rtol=1e-15)


def test_who_looks_at_the_history():
    class Watching(Halving):
        def observe(self, history):
            self.period_ = 1

    assert observes(Watching()) and observes(ReduceOnPlateau())
    assert not observes(Halving()) and not observes(lambda step: 0.1)
    assert [name for name, cls in SCHEDULES.items() if observes(cls())] == ["reduce_on_plateau"]
    assert Halving().observe({"loss": [1.0]}) is None


# --- fits -----------------------------------------------------------------------------------------

ROWS = np.random.default_rng(0).normal(size=(40, 3))


def fitted(schedule, **parameters):
    reg = Regressor((4,), schedule=schedule, batch_size=10, random_state=0, **parameters)
    return reg.fit(ROWS, ROWS[:, 0])


@pytest.mark.parametrize("name", SCHEDULES)
@pytest.mark.parametrize("length", [{"max_iter": 9}, {"max_steps": 30}], ids=str)
def test_a_fit_takes_these_rates(name, length):
    reg = fitted(name, learning_rate_init=0.03, **length)
    total = length.get("max_steps", 36)
    rates = learning_rates(resolve(name), 0.03, 0, total, Length(total, 4))
    assert_array_equal(reg.history_.steps["learning_rate"], rates)


def test_a_fit_shows_its_history_to_its_own_copy():
    """Losses fall, so with mode="max" each epoch after the first is bad."""
    schedule = ReduceOnPlateau(mode="max", factor=0.5, patience=0)
    reg = fitted(schedule, learning_rate_init=0.03, max_iter=5)
    assert np.all(np.diff(reg.history_["loss"]) < 0)
    rates = np.repeat([0.03, 0.03, 0.015, 0.0075, 0.00375], 4)
    assert_array_equal(reg.history_.steps["learning_rate"], rates)
    assert state_of(schedule) == {}


@pytest.mark.parametrize(
    ("schedule", "moves"),
    [(InverseScaling(), True), (Cosine(length=9), True), (WarmupCosine(), False)],
    ids=repr,
)
def test_partial_fits_go_on_along_the_curve(schedule, moves):
    reg = Regressor((4,), schedule=schedule, batch_size=10, random_state=0)
    for _ in range(3):
        reg.partial_fit(ROWS, ROWS[:, 0])
    rates = learning_rates(schedule, 1e-3, 0, 12, Length(None, 4))
    assert (len(set(rates)) > 1) == moves
    assert_array_equal(reg.history_.steps["learning_rate"], rates)


# --- declarations ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*SCHEDULES, *ALIASES])
def test_schedules_are_scikit_learn_objects(name):
    schedule = resolve(name)
    cls = SCHEDULES[ALIASES.get(name, name)]
    assert type(schedule) is cls
    assert resolve(schedule) is schedule
    assert clone(schedule).get_params() == schedule.get_params()
    assert set(schedule.get_params()) == set(inspect.signature(cls).parameters)
    assert repr(schedule) == f"{cls.__name__}()"
    assert schedule.set_params(**schedule.get_params()) is schedule
    for key, value in Regressor(schedule=schedule).get_params().items():
        if key.startswith("schedule__"):
            assert schedule.get_params()[key.removeprefix("schedule__")] == value


INT, SHARE = "an int in the range [1, inf)", "a float in the range (0.0, 1.0]"
FACTOR, AT_LEAST_0 = SHARE, "a float in the range [0.0, inf)"
COUNT = "an int in the range [0, inf)"
DURATION, UNIT = f"{INT} or {SHARE}", "'epoch' or 'step'"
NO_DURATION = [0, -1, 0.0, 1.5, NAN, INF, "1", True, (1,), np.ones(2)]
NO_FACTOR = [0.0, -0.1, 1.01, NAN, INF, None, "0.1", True, np.ones(2)]
NEGATIVE = [-1e-9, NAN, INF, None, "0", False, np.ones(2)]
NO_UNIT = ["epochs", "Step", None, 1, np.array(["step"])]
BAD = {
    "step_size": (DURATION, [*NO_DURATION, None]),
    "t_0": (DURATION, [*NO_DURATION, None]),
    "length": (f"{DURATION} or None", NO_DURATION),
    "warmup": (f"{COUNT} or a float in the range [0.0, 1.0]", [-1, -0.1, 1.1, NAN, None, "1"]),
    "gamma": (FACTOR, NO_FACTOR),
    "unit": (UNIT, NO_UNIT),
    "power_t": (AT_LEAST_0, NEGATIVE),
    "eta_min": (AT_LEAST_0, NEGATIVE),
    "t_mult": (INT, [0, -1, 1.0, 2.5, None, True]),
    "pct_start": ("a float in the range [0.0, 1.0]", [-0.1, 1.1, NAN, None, "0.3"]),
    "div_factor": ("a float in the range [1.0, inf)", [0, 0.99, NAN, INF, None]),
    "final_div_factor": ("a float in the range [1.0, inf)", [0, 0.99, NAN, INF, None]),
    "anneal_strategy": ("'cos' or 'linear'", ["cosine", None, 1]),
    "monitor": ("a str or None", [3, ["loss"], b"loss"]),
    "mode": ("'min' or 'max'", ["auto", None, min]),
    "factor": ("a float in the range (0.0, 1.0)", [0.0, 1.0, -0.5, NAN, None]),
    "patience": (COUNT, [-1, 0.5, None, True]),
    "threshold": (AT_LEAST_0, NEGATIVE),
    "threshold_mode": ("'rel' or 'abs'", ["relative", None]),
    "cooldown": (COUNT, [-1, 0.5, None, True]),
    "min_lr": (AT_LEAST_0, NEGATIVE),
    "eps": (AT_LEAST_0, NEGATIVE),
}


@pytest.mark.parametrize("cls", SCHEDULES.values(), ids=SCHEDULES)
def test_bad_parameters(cls):
    for name in cls().get_params():
        rule, values = BAD[name]
        for value in values:
            schedule = cls(**{name: value})  # refused where it is used, as scikit-learn asks
            message = (
                f"The {name!r} parameter of {cls.__name__} must be {rule}. Got {value!r} instead."
            )
            with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
                resolve(schedule)


def test_every_parameter_is_refused_and_accepted():
    assert {name for cls in SCHEDULES.values() for name in cls().get_params()} == set(BAD)
    for schedule in (
        Step(1, 1.0), Step(np.int32(3), np.float32(0.5), "step"), Step(1.0), Cosine(0, None),
        Cosine(0.0, 1), WarmupLinear(0.0), WarmupLinear(1.0), OneCycle(0, 1, 1), OneCycle(1.0),
        CosineRestarts(1, 1), InverseScaling(0), ReduceOnPlateau("x", patience=0, eps=0, min_lr=1),
    ):  # fmt: skip
        assert resolve(schedule) is schedule
        assert np.isfinite(learning_rates(schedule, 0.1, 0, 130, FIT)).all()


# --- callables, objects of one's own, and what is refused -----------------------------------------


def test_constant_stays_at_the_initial_learning_rate():
    assert_array_equal(learning_rates(Constant(), 0.25, 7, 3), [0.25] * 3)
    assert_array_equal(learning_rates(Constant(), 0, 0, 2), [0.0, 0.0])


def test_the_initial_rate_may_be_a_number_of_any_kind():
    for base in (np.float32(0.3), np.int64(2), Fraction(3, 10)):
        rates = learning_rates(Cosine(eta_min=0.1), base, 0, 9, Length(8))
        assert_array_equal(rates, learning_rates(Cosine(eta_min=0.1), float(base), 0, 9, Length(8)))


def test_own_schedule_object():
    assert_array_equal(learning_rates(Halving(period=2), 1.0, 1, 4), [1.0, 0.5, 0.5, 0.25])


def test_own_schedule_object_is_told_the_length():
    class Line(Schedule):
        def __call__(self, step, base, length):
            return base * (1 - step / length.total_steps)

    rates = learning_rates(resolve(Line()), 2.0, 1, 3, Length(4))
    assert_array_equal(rates, [1.5, 1.0, 0.5])


def test_a_callable_gets_each_step_and_gives_the_rate_itself():
    seen = []

    def schedule(step):
        seen.append(step)
        return 0.5**step

    assert resolve(schedule) is schedule
    assert_array_equal(learning_rates(schedule, 123.0, 2, 3, FIT), [0.25, 0.125, 0.0625])
    assert seen == [2, 3, 4]
    assert all(type(step) is int for step in seen)


@pytest.mark.parametrize("number", [1, 0.5, np.float32(0.5), np.int64(1), Fraction(1, 2), 0])
def test_any_real_number_is_a_rate(number):
    assert_array_equal(learning_rates(lambda step: number, 1.0, 0, 2), [float(number)] * 2)


@pytest.mark.parametrize("bad", [NAN, INF, -1e-9])
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
        def __call__(self, step, base, length):
            return base

    with pytest.raises(ValueError, match=r"one learning rate per step; it gave shape \(\)"):
        learning_rates(Scalar(), 0.1, 0, 3)


@pytest.mark.parametrize(
    ("schedule", "error", "message"),
    [
        ("constnt", ValueError, "'warmup_linear']; got 'constnt'; did you mean 'constant'?"),
        ("warmup_cosin", ValueError, "got 'warmup_cosin'; did you mean 'warmup_cosine'?"),
        ("invscalng", ValueError, "got 'invscalng'; did you mean 'invscaling'?"),
        ("zzz", ValueError, "schedule must be one of ['constant', 'cosine', 'cosine_restarts', "),
        (Constant, TypeError, "an object such as Constant()"),
        (0.1, TypeError, "Got 0.1 instead."),
        (None, TypeError, "Got None instead."),
    ],
)
def test_what_is_no_schedule(schedule, error, message):
    with pytest.raises(error) as info:
        resolve(schedule)
    assert message in str(info.value)
