"""Initializers: distributions, fans, keys, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import stats
from sklearn.base import clone

from ctrain.initializers import (
    INITIALIZERS,
    Constant,
    Normal,
    Uniform,
    VarianceScaling,
    fans,
    resolve,
)

SHAPE = (300, 100)
# name: variance of the definition for SHAPE, and the distribution
DISTRIBUTIONS = {
    "glorot_uniform": (2 / 400, "uniform"),
    "glorot_normal": (2 / 400, "normal"),
    "he_uniform": (2 / 300, "uniform"),
    "he_normal": (2 / 300, "normal"),
    "lecun_uniform": (1 / 300, "uniform"),
    "lecun_normal": (1 / 300, "normal"),
    "uniform": (0.1**2 / 12, "uniform"),
    "normal": (0.05**2, "normal"),
}


def p_value(draws, low_or_std, high=None):
    """Kolmogorov-Smirnov against the uniform distribution of a range, or the normal one."""
    if high is None:
        return stats.kstest(draws.ravel(), stats.norm(0, low_or_std).cdf).pvalue
    return stats.kstest(draws.ravel(), stats.uniform(low_or_std, high - low_or_std).cdf).pvalue


def test_every_random_name_has_its_distribution_here():
    assert set(INITIALIZERS) == {*DISTRIBUTIONS, "zeros", "ones"}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_named_distribution(name):
    variance, family = DISTRIBUTIONS[name]
    draws = resolve(name)(SHAPE, 5)
    assert draws.shape == SHAPE
    assert draws.dtype == np.float64
    if family == "normal":
        assert p_value(draws, math.sqrt(variance)) > 1e-3
    else:
        bound = math.sqrt(3 * variance)
        assert abs(draws).max() <= bound
        assert p_value(draws, -bound, bound) > 1e-3


def test_the_distribution_test_sees_a_wrong_scale():
    draws = resolve("glorot_uniform")(SHAPE, 5)
    bound = math.sqrt(6 / 400) * 1.05
    assert p_value(draws, -bound, bound) < 1e-3


def test_scikit_learns_bounds():
    """MLPRegressor: sqrt(6 / (fan_in + fan_out)), for logistic units sqrt(2 / ...)."""
    for scale, factor in ((1.0, 6.0), (1 / 3, 2.0)):
        bound = math.sqrt(factor / 400)
        draws = VarianceScaling(scale)(SHAPE, 5)
        assert 0.999 * bound < abs(draws).max() <= bound


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((), (1, 1)),
        ((7,), (7, 7)),
        ((8, 64), (8, 64)),
        ((3, 8, 64), (24, 192)),
        ((3, 5, 8, 64), (120, 960)),
    ],
)
def test_fans(shape, expected):
    assert fans(shape) == expected
    draws = resolve("glorot_uniform")(shape, 1)
    assert draws.shape == shape
    assert np.all(abs(draws) <= math.sqrt(6 / sum(expected)))


def test_modes_divide_by_their_fan():
    unit = VarianceScaling(1.0, "fan_in", "normal")(SHAPE, 5) * math.sqrt(300)
    for mode, fan in (("fan_out", 100), ("fan_avg", 200)):
        draws = VarianceScaling(1.0, mode, "normal")(SHAPE, 5)
        np.testing.assert_allclose(draws * math.sqrt(fan), unit, rtol=1e-14)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_key_names_its_numbers(name):
    init = resolve(name)
    draws = init((40, 3), 11)
    init((5, 5), 12)
    assert_array_equal(init((40, 3), 11), draws)
    other = init((40, 3), 12)
    assert not np.any(draws == other)
    assert abs(np.corrcoef(draws.ravel(), other.ravel())[0, 1]) < 0.3


def test_constants():
    assert_array_equal(resolve("zeros")((2, 3), 1), np.zeros((2, 3)))
    assert_array_equal(resolve("ones")((2, 3), 1), np.ones((2, 3)))
    assert_array_equal(Constant(-0.5)((4,), 1), [-0.5] * 4)
    assert Constant(1)((2,), 0).dtype == np.float64


def test_parameters_of_uniform_and_normal():
    draws = Uniform(2.0, 3.0)((2000,), 3)
    assert 2.0 <= draws.min() < 2.01 < 2.99 < draws.max() < 3.0
    assert_array_equal(Uniform(2.0, 2.0)((3,), 3), [2.0] * 3)
    assert_array_equal(Normal(0.5)((50,), 3), 0.5 * Normal(1.0)((50,), 3))
    assert_array_equal(Normal(0.0)((3,), 3), np.zeros(3))


@pytest.mark.parametrize("name", INITIALIZERS)
def test_initializers_are_scikit_learn_objects(name):
    init = resolve(name)
    assert clone(init).get_params() == init.get_params() == INITIALIZERS[name].get_params()
    assert resolve(init) is init
    for key in init.get_params():
        init.set_params(**{key: None})
    assert None not in INITIALIZERS[name].get_params().values()


def test_a_callable_is_taken_as_it_is():
    def init(shape, key):
        return np.full(shape, key)

    assert resolve(init) is init


@pytest.mark.parametrize(
    ("init", "message"),
    [
        (
            VarianceScaling(scale=0.0),
            "The 'scale' parameter of VarianceScaling must be a float above 0. Got 0.0 instead.",
        ),
        (VarianceScaling(scale="1"), "Got '1' instead."),
        (VarianceScaling(mode="fan"), "one of fan_in, fan_out, fan_avg. Got 'fan' instead."),
        (VarianceScaling(distribution="cauchy"), "one of uniform, normal. Got 'cauchy' instead."),
        (Uniform(low=math.nan), "The 'low' parameter of Uniform must be a finite float. Got nan"),
        (Uniform(1.0, 0.5), "not below low=1.0. Got 0.5 instead."),
        (Uniform(0.0, math.inf), "The 'high' parameter of Uniform"),
        (Normal(std=-1.0), "The 'std' parameter of Normal must be a float, at least 0. Got -1.0"),
        (Constant(math.inf), "The 'value' parameter of Constant must be a finite float. Got inf"),
    ],
    ids=repr,
)
def test_parameters_out_of_range(init, message):
    with pytest.raises(ValueError) as info:
        init((3, 2), 0)
    assert message in str(info.value)


@pytest.mark.parametrize(
    ("init", "error", "message"),
    [
        ("glorot", ValueError, "got 'glorot'; did you mean 'glorot_"),
        ("xavier", ValueError, "'zeros']; got 'xavier'"),
        (Normal, TypeError, "an object such as Normal(0.02)"),
        (None, TypeError, "Got None instead."),
        (0.5, TypeError, "Got 0.5 instead."),
    ],
)
def test_what_is_no_initializer(init, error, message):
    with pytest.raises(error) as info:
        resolve(init)
    assert message in str(info.value)
