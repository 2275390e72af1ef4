"""Metrics against their definitions and scikit-learn's; scores part by part; errors."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special
from sklearn import metrics as reference
from small import same_bits

from ctrain import metrics
from ctrain.metrics import METRICS, Metric, resolve, seasonal_scale
from ctrain.window_scores import WindowScores

LEVELS = (0.1, 0.5, 0.8)


def windows(rng, n=40, horizon=6):
    y = rng.normal(3.0, 2.0, (n, horizon))
    return y, y + rng.normal(size=y.shape), rng.random(y.shape) < 0.8


@pytest.mark.parametrize(
    "ours, theirs, factor",
    [
        (metrics.mae, reference.mean_absolute_error, 1.0),
        (metrics.mse, reference.mean_squared_error, 1.0),
        (metrics.rmse, reference.root_mean_squared_error, 1.0),
        (metrics.mape, reference.mean_absolute_percentage_error, 100.0),
    ],
)
def test_metrics_that_scikit_learn_has(ours, theirs, factor):
    y, p, mask = windows(np.random.default_rng(0))
    assert ours(y, p) == pytest.approx(factor * theirs(y.ravel(), p.ravel()), rel=1e-12)
    assert ours(y, p, mask) == pytest.approx(factor * theirs(y[mask], p[mask]), rel=1e-12)
    by_step = [theirs(y[mask[:, k], k], p[mask[:, k], k]) for k in range(6)]
    np.testing.assert_allclose(ours(y, p, mask, axis=0), factor * np.array(by_step), rtol=1e-12)


def test_symmetric_percentage_error_is_that_of_m4():
    y, p, _ = windows(np.random.default_rng(1))
    by_hand = np.mean(200.0 * np.abs(y - p) / (np.abs(y) + np.abs(p)))
    assert metrics.smape(y, p) == pytest.approx(by_hand, rel=1e-12)
    assert metrics.smape([5.0], [-5.0]) == 200.0  # its largest value
    assert metrics.smape([0.0], [0.0]) == 0.0


def test_quantile_losses():
    y, p, mask = windows(np.random.default_rng(2))
    quantiles = np.stack([p - 1.0, p, p + 1.0], axis=-1)
    pinball = [
        reference.mean_pinball_loss(y[mask], quantiles[mask, k], alpha=q)
        for k, q in enumerate(LEVELS)
    ]
    assert metrics.quantile_loss(y, quantiles, LEVELS, mask) == pytest.approx(np.mean(pinball))
    relative = 2.0 * np.mean(pinball) / np.abs(y[mask]).mean()
    assert metrics.wql(y, quantiles, LEVELS, mask) == pytest.approx(relative)


def test_the_weighted_quantile_loss_of_a_median_is_the_relative_absolute_error():
    y, p, _ = windows(np.random.default_rng(3))
    expected = np.abs(y - p).sum() / np.abs(y).sum()
    assert metrics.wql(y, p[..., None], (0.5,)) == pytest.approx(expected, rel=1e-12)


def test_coverage_counts_ends_and_leaves_gaps_out():
    y = np.array([[0.0, 1.0, 2.0, 3.0]])
    low, high = np.full_like(y, 1.0), np.full_like(y, 2.0)
    assert metrics.coverage(y, low, high) == 0.5
    assert metrics.coverage(y, low, high, [[False, True, True, False]]) == 1.0
    np.testing.assert_array_equal(metrics.coverage(y, low, high, axis=0), [0, 1, 1, 0])


@pytest.mark.parametrize("season", [1, 2, 24])
def test_seasonal_scale(season):
    rng = np.random.default_rng(4)
    lengths = np.array([60, 25, 24, 3])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    y, mask = rng.normal(size=offsets[-1]), rng.random(offsets[-1]) < 0.9
    stops = offsets[1:] - 2
    expected = []
    for begin, stop in zip(offsets, stops, strict=False):
        pairs = [
            abs(y[t] - y[t - season])
            for t in range(begin + season, stop)
            if mask[t] and mask[t - season]
        ]
        expected.append(np.mean(pairs) if pairs else np.nan)
    scale = seasonal_scale(y, offsets, season, mask, stops)
    np.testing.assert_allclose(scale, expected, rtol=1e-12)


def test_scaled_errors_leave_out_series_without_a_scale():
    y, p = np.zeros((4, 3)), np.ones((4, 3))
    assert metrics.mase(y, p, [1.0, 2.0, 0.0, np.nan]) == pytest.approx((1.0 + 0.5) / 2)
    assert metrics.mase(y, p, 4.0) == 0.25
    assert metrics.mase(y[0], p[0], 2.0) == 0.5
    assert np.isnan(metrics.mase(y, p, 0.0))


def test_a_perfect_forecast_and_no_forecast():
    y = np.random.default_rng(5).normal(size=(3, 4))
    for function in (metrics.mae, metrics.mse, metrics.rmse, metrics.mape, metrics.smape):
        assert function(y, y) == 0.0
        assert np.isnan(function(y, y, np.zeros(y.shape, bool)))


def test_what_is_hidden_may_be_anything():
    y, p, mask = windows(np.random.default_rng(6))
    hidden = np.where(mask, y, np.nan)
    for function in (metrics.mae, metrics.mse, metrics.smape):
        assert function(hidden, p, mask) == function(y, p, mask)
    assert np.isnan(metrics.mae(hidden, p))


def test_float32_is_summed_in_float64():
    y = np.full((1000, 100), 1e-3, np.float32)
    assert metrics.mae(y, np.zeros_like(y)) == pytest.approx(np.float64(np.float32(1e-3)), 1e-12)


# ----------------------------------------------------------------- part by part


@pytest.mark.parametrize("cut", [1, 7, 40, 200])
def test_scores_do_not_depend_on_the_parts(cut):
    rng = np.random.default_rng(7)
    y, p, mask = windows(rng, n=200)
    quantiles = np.stack([p - 1.0, p, p + 1.0], axis=-1)
    series, scale = np.sort(rng.integers(0, 9, 200)), rng.uniform(1.0, 2.0, 9)
    names = tuple(METRICS)
    whole = WindowScores(names, 9, 6, scale=scale, levels=LEVELS)
    whole.add(series, y, p, mask, quantiles)
    parts = WindowScores(names, 9, 6, scale=scale, levels=LEVELS)
    for first in range(0, 200, cut):
        at = slice(first, first + cut)
        parts.add(series[at], y[at], p[at], mask[at], quantiles[at])
    assert parts.n_windows == whole.n_windows == 200
    for name in names:
        assert same_bits(np.float64(parts[name]), np.float64(whole[name]))
        assert same_bits(parts.by_step(name), whole.by_step(name))
        assert same_bits(parts.by_series(name), whole.by_series(name))


def test_scores_are_the_functions():
    rng = np.random.default_rng(8)
    y, p, mask = windows(rng)
    quantiles = np.stack([p - 1.0, p, p + 1.0], axis=-1)
    series, scale = rng.integers(0, 3, 40), np.array([1.0, 2.0, 3.0])
    scores = WindowScores(tuple(METRICS), 3, 6, scale=scale, levels=LEVELS)
    scores.add(series, y, p, mask, quantiles)
    for name in ("mae", "mse", "rmse", "mape", "smape"):
        function = getattr(metrics, name)
        assert scores[name] == pytest.approx(function(y, p, mask), rel=1e-12)
        np.testing.assert_allclose(scores.by_step(name), function(y, p, mask, axis=0), rtol=1e-12)
        of_one = series == 1
        np.testing.assert_allclose(
            scores.by_series(name)[1], function(y[of_one], p[of_one], mask[of_one]), rtol=1e-12
        )
    assert scores["mase"] == pytest.approx(metrics.mase(y, p, scale[series], mask), rel=1e-12)
    for name in ("wql", "quantile_loss"):
        expected = getattr(metrics, name)(y, quantiles, LEVELS, mask)
        assert scores[name] == pytest.approx(expected, rel=1e-12)
    ends = quantiles[..., 0], quantiles[..., 2]
    assert scores["coverage"] == pytest.approx(metrics.coverage(y, *ends, mask), rel=1e-12)
    assert list(scores) == list(METRICS) and dict(scores)["mae"] == scores["mae"]


def test_a_series_without_windows_has_no_score():
    scores = WindowScores("mae", 2, 1)
    scores.add([1], [[1.0]], [[3.0]])
    np.testing.assert_array_equal(scores.by_series("mae"), [np.nan, 2.0])
    scores.add([], np.zeros((0, 1)), np.zeros((0, 1)))
    assert scores.n_windows == 1


def test_metrics_of_the_users_own():
    def bias(y, prediction):
        return prediction - y

    scores = WindowScores((bias, Metric("doubled", lambda y, p: 2.0 * np.abs(y - p))), 1, 2)
    scores.add([0], [[1.0, 1.0]], [[2.0, 0.0]])
    assert dict(scores) == {"bias": 0.0, "doubled": 2.0}


# ----------------------------------------------------------------------- errors


def test_names():
    assert resolve("mae") is METRICS["mae"] and resolve(METRICS["wql"]).relative
    with pytest.raises(ValueError, match=r"got 'sMAPE'; did you mean 'smape'\?"):
        resolve("sMAPE")
    with pytest.raises(TypeError, match=r"a metric must be a name, .*; got 3"):
        resolve(3)
    with pytest.raises(TypeError, match="a metric must be a name"):
        resolve(Metric)


def test_errors_of_scores():
    with pytest.raises(ValueError, match="at least one metric"):
        WindowScores((), 1, 1)
    with pytest.raises(ValueError, match=r"metrics must differ; got \['mae', 'mae'\]"):
        WindowScores(("mae", "mae"), 1, 1)
    with pytest.raises(ValueError, match="wql judges quantiles; this forecast has none"):
        WindowScores("wql", 1, 1)
    with pytest.raises(ValueError, match="mase needs scale="):
        WindowScores("mase", 1, 1)
    with pytest.raises(ValueError, match="wql judges quantiles; give quantiles="):
        WindowScores("wql", 1, 1, levels=(0.5,)).add([0], [[1.0]], [[1.0]])
    with pytest.raises(ValueError, match=r"\(n_windows, horizon\), \(1, 2\); got \(1, 3\)"):
        WindowScores("mae", 1, 2).add([0], np.zeros((1, 3)), np.zeros((1, 3)))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: metrics.mae([1.0], [[1.0]]), r"mae: y has shape \(1,\), .* got \(1, 1\)"),
        (lambda: metrics.mae([1.0], [1.0], [True, False]), r"mae: mask has shape \(2,\), y has"),
        (lambda: metrics.wql([1.0], [[1.0, 2.0]], (0.5,)), r"wql: .* must have \(1, 1\)"),
        (lambda: METRICS["wql"]([1.0], [[1.0]]), "wql judges quantiles; give their levels"),
        (lambda: METRICS["mase"]([1.0], [1.0]), "mase needs scale="),
        (lambda: metrics.coverage([1.0], [1.0, 2.0], [3.0]), r"coverage: .* got \(2,\)"),
        (lambda: metrics.mase(np.ones((2, 3)), np.ones((2, 3)), np.ones(3)), r"scale must be one"),
        (lambda: seasonal_scale([1.0, 2.0], season=0), "season must be an integer .* got 0"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_crps_of_draws_is_the_mean_over_pairs():
    rng = np.random.default_rng(0)
    y, x = rng.normal(size=(3, 4)), rng.normal(size=(3, 4, 11))
    pairs = np.abs(x[..., :, None] - x[..., None, :]).mean(axis=(-2, -1))
    each = np.abs(x - y[..., None]).mean(axis=-1) - 0.5 * pairs
    mask = rng.random(y.shape) < 0.7
    assert metrics.crps(y, x, mask=mask) == pytest.approx(each[mask].mean(), rel=1e-12)
    np.testing.assert_allclose(metrics.crps(y, x, axis=0), each.mean(axis=0), rtol=1e-12)
    with pytest.raises(ValueError, match=r"crps: .* must have \(3, 4, 11\)"):
        metrics.crps(y, x[:2])


def test_crps_of_quantiles_nears_that_of_draws():
    """The normal distribution's own score: 2 phi(0) - 1 / sqrt(pi) at its mean."""
    exact = 2.0 / np.sqrt(2.0 * np.pi) - 1.0 / np.sqrt(np.pi)
    levels = (np.arange(2000) + 0.5) / 2000
    quantiles = special.ndtri(levels)
    assert metrics.crps([0.0], [quantiles], levels) == pytest.approx(exact, rel=1e-3)
    assert metrics.crps([0.0], [quantiles]) == pytest.approx(exact, rel=1e-2)
    assert metrics.crps([3.0], [[1.0]]) == 2.0
