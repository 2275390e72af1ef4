"""Conformal intervals: ranks, coverage, gaps, errors; quantiles that do not cross."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from ctrain.intervals import Conformal, check_levels, levels_of, uncrossed
from ctrain.metrics import quantile_loss


@pytest.mark.parametrize("level", [0.1, 10, 50, 80, 90, 95, 99, 99.9])
@pytest.mark.parametrize("n", [1, 4, 9, 19, 99, 199, 999, 1999])
def test_half_width_is_the_order_statistic(n, level):
    """k = ceil((n + 1) level / 100), by exact arithmetic."""
    conformal = Conformal(np.random.default_rng(n).permutation(np.arange(1.0, n + 1))[:, None])
    rank = math.ceil((n + 1) * Fraction(str(level)) / 100)
    if rank <= n:
        assert conformal.half_width(level) == rank
    else:
        needed = next(
            m for m in range(n, 10**4) if math.ceil((m + 1) * Fraction(str(level)) / 100) <= m
        )
        with pytest.raises(ValueError, match=rf"needs at least {needed} calibration windows"):
            conformal.half_width(level)


@pytest.mark.parametrize("level", [50, 80, 95])
def test_coverage_of_exchangeable_errors(level):
    """It lies between level and level + 1 / (n + 1); here n + 1 = 100 makes them almost one."""
    rng, n, repeats = np.random.default_rng(0), 99, 20_000
    errors = np.abs(rng.standard_t(3, size=(repeats, n + 1)))
    inside = [Conformal(row[:n, None]).half_width(level)[0] >= row[n] for row in errors]
    error = 4.0 * math.sqrt(level / 100 * (1 - level / 100) / repeats)
    assert np.mean(inside) == pytest.approx(level / 100, abs=error)


def test_every_step_has_its_own_width_and_gaps_do_not_count():
    y = np.array([[1.0, 10.0], [2.0, 20.0], [3.0, 30.0], [4.0, 999.0]])
    mask = np.array([[True, True]] * 3 + [[True, False]])
    conformal = Conformal.calibrate(y, np.zeros_like(y), mask)
    np.testing.assert_array_equal(conformal.n_scores, [4, 3])
    np.testing.assert_array_equal(conformal.half_width(60), [3.0, 30.0])
    with pytest.raises(ValueError, match="step 2 of the horizon has 3"):
        conformal.half_width(80)


def test_scales_go_in_and_out():
    rng = np.random.default_rng(1)
    y, p = rng.normal(size=(30, 4)), rng.normal(size=(30, 4))
    scale = rng.uniform(0.5, 5.0, 30)
    plain = Conformal.calibrate(y, p)
    scaled = Conformal.calibrate(y * scale[:, None], p * scale[:, None], scale=scale)
    np.testing.assert_allclose(scaled.scores, plain.scores, rtol=1e-12)
    low, high = scaled.interval(np.zeros((2, 4)), 80, scale=[1.0, 10.0])
    np.testing.assert_array_equal(high, -low)
    np.testing.assert_allclose(high[1], 10.0 * high[0], rtol=1e-12)
    np.testing.assert_allclose(high[0], scaled.half_width(80))


def test_wider_for_higher_levels_and_precision_kept():
    rng = np.random.default_rng(2)
    conformal = Conformal(rng.random((99, 3), np.float32))
    assert conformal.scores.dtype == np.float32
    widths = np.array([conformal.half_width(level) for level in (50, 80, 90, 99)])
    assert (np.diff(widths, axis=0) > 0).all()
    low, high = conformal.interval(np.zeros((1, 3), np.float32), 80, scale=[2.0])
    assert low.dtype == high.dtype == np.float32


def test_rebuilt_from_its_scores():
    conformal = Conformal(np.random.default_rng(3).random((20, 3)))
    again = Conformal(conformal.scores)
    np.testing.assert_array_equal(again.half_width(80), conformal.half_width(80))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: Conformal(np.zeros(3)), r"\(n_windows, horizon\); got shape \(3,\)"),
        (lambda: Conformal(np.zeros((3, 1), int)), "dtype int64"),
        (lambda: Conformal(np.array([[-1.0]])), "must not be negative; got -1.0"),
        (lambda: Conformal.calibrate(np.ones((2, 3)), np.ones((2, 2))), r"got \(2, 2\)"),
        (lambda: Conformal.calibrate([[1.0]], [[1.0]], scale=[0.0]), "scale must be positive"),
        (lambda: Conformal(np.ones((9, 2))).interval(np.ones((1, 3)), 80), r"\(n_windows, 2\)"),
        (lambda: Conformal(np.ones((9, 2))).half_width(0), "percent in .* got 0"),
        (lambda: check_levels(100), "got 100"),
        (lambda: check_levels((80, "90")), "percent"),
        (lambda: check_levels("80"), "got '80'"),
        (lambda: check_levels(()), "percent"),
        (lambda: check_levels(True), "got True"),
        (lambda: check_levels(math.nan), "got nan"),
        (lambda: uncrossed(np.ones((2, 3)), (0.1, 0.9)), r"\(\.\.\., 2\), .*got \(2, 3\)"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_levels():
    assert check_levels(np.array([90.0, 80.0, 80.0])) == (80, 90)
    assert levels_of((0.1, 0.5, 0.9)) == {80: (0, 2)}
    assert levels_of((0.9, 0.1, 0.05, 0.95)) == {80: (1, 0), 90: (2, 3)}
    assert levels_of((0.0125, 0.9875)) == {97.5: (0, 1)}
    assert levels_of((0.1, 0.8)) == {} == levels_of((0.5,))
    deciles = [k / 10 for k in range(1, 10)]
    assert list(levels_of(deciles)) == [20, 40, 60, 80]


def test_sorting_uncrosses_and_never_costs():
    rng, levels = np.random.default_rng(4), (0.9, 0.1, 0.5)
    p, y = rng.normal(size=(50, 6, 3)), rng.normal(size=(50, 6))
    q = uncrossed(p, levels)
    assert (q[..., 1] <= q[..., 2]).all() and (q[..., 2] <= q[..., 0]).all()
    np.testing.assert_array_equal(np.sort(q, axis=-1), np.sort(p, axis=-1))
    before, after = (quantile_loss(y, x, levels, axis=0) for x in (p, q))
    assert (after < before).all()
    np.testing.assert_array_equal(uncrossed(q, levels), q)
