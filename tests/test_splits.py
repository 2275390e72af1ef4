"""Splits in time and scalers of series, against numpy and scikit-learn series by series."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats
from sklearn.preprocessing import MinMaxScaler, StandardScaler

from ctrain.data import (
    Schema,
    SeriesScaler,
    cross_validation_rows,
    read_panel,
    refits,
    split,
)


def ragged(seed=0, n_series=20, low=12):
    rng = np.random.default_rng(seed)
    return [rng.normal(k, 1 + k, rng.integers(low, 40)) for k in range(n_series)]


@pytest.mark.parametrize("val_size, test_size", [(0, 0), (3, 0), (0, 4), (5, 6)])
def test_split(val_size, test_size):
    series = ragged()
    panel = read_panel(series)
    parts = split(panel, val_size, test_size)
    for i, y in enumerate(series):
        begin = panel.offsets[i]
        n = len(y) - val_size - test_size
        assert_array_equal(panel.y[begin : parts.train_stop[i]], y[:n])
        assert_array_equal(panel.y[parts.train_stop[i] : parts.val_stop[i]], y[n : n + val_size])
        assert_array_equal(panel.y[parts.val_stop[i] : parts.stop[i]], y[n + val_size :])


def test_split_that_leaves_nothing():
    message = r"series 1 has 4 rows; val_size \+ test_size and one row of training needs at least 5"
    with pytest.raises(ValueError, match=message):
        split(read_panel([np.ones(9), np.ones(4)]), 2, 2)
    with pytest.raises(ValueError, match="val_size must be an integer of at least 0; got -1"):
        split(read_panel(np.ones(9)), -1)
    with pytest.raises(ValueError, match=r"test_size must be an integer of at least 0; got 0\.2"):
        split(read_panel(np.ones(9)), 0, 0.2)


@pytest.mark.parametrize("horizon, n_windows, step_size", [(1, 1, 1), (3, 4, 1), (2, 3, 4)])
def test_windows_of_a_cross_validation(horizon, n_windows, step_size):
    series = ragged()
    panel = read_panel(series)
    rows = cross_validation_rows(panel, horizon, n_windows, step_size)
    assert rows.shape == (n_windows, len(series))
    assert_array_equal(np.diff(rows, axis=0), step_size)
    for i, y in enumerate(series):
        assert_array_equal(panel.y[rows[-1, i] : rows[-1, i] + horizon], y[-horizon:])
    test_size = horizon + (n_windows - 1) * step_size
    for size in range(test_size, test_size + step_size):  # steps that do not divide it
        assert_array_equal(
            cross_validation_rows(panel, horizon, None, step_size, test_size=size), rows
        )


def test_windows_that_do_not_fit():
    panel = read_panel([np.ones(20), np.ones(7)])
    message = r"series 1 has 7 rows; 5 windows of horizon 3, step_size 1 needs at least 8"
    with pytest.raises(ValueError, match=message):
        cross_validation_rows(panel, 3, 5)
    with pytest.raises(
        ValueError, match="test_size must be an integer of at least horizon, 3; got"
    ):
        cross_validation_rows(panel, 3, None, test_size=2)
    with pytest.raises(ValueError, match="give n_windows or test_size, not both"):
        cross_validation_rows(panel, 3, 1, test_size=3)
    for horizon, n_windows, step_size in ((0, 1, 1), (1, 0, 1), (1, 1, 0), (1.5, 1, 1)):
        with pytest.raises(ValueError, match="must be an integer of at least 1"):
            cross_validation_rows(panel, horizon, n_windows, step_size)


def test_refits():
    assert_array_equal(refits(4), [True, False, False, False])
    assert_array_equal(refits(4, True), [True] * 4)
    assert_array_equal(refits(4, 3), [True, False, False, True])
    with pytest.raises(ValueError, match="refit must be an integer of at least 1; got 0"):
        refits(4, 0)


def reference(kind, y):
    if kind == "standard":
        scaler = StandardScaler().fit(y[:, None])
        return scaler.mean_[0], scaler.scale_[0]
    if kind == "minmax":
        scaler = MinMaxScaler().fit(y[:, None])
        return scaler.data_min_[0], scaler.data_range_[0]
    return np.median(y), stats.median_abs_deviation(y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["standard", "robust", "minmax"])
def test_scalers(kind, dtype):
    series = ragged()
    panel = read_panel(series, dtype=dtype)
    stops = split(panel, 2, 3).train_stop
    scaler = SeriesScaler(kind).fit(panel, panel.y, stops)
    expected = [reference(kind, y[:-5].astype(dtype).astype(float)) for y in series]
    center, scale = np.array(expected).T
    assert scaler.center_.dtype == scaler.scale_.dtype == np.float64
    assert_allclose(scaler.center_, center, rtol=1e-13, atol=1e-13)
    assert_allclose(scaler.scale_, scale, rtol=1e-13)
    scaled = scaler.transform_rows(panel, panel.y)
    assert scaled.dtype == dtype
    rows = np.concatenate(
        [(y.astype(dtype) - c) / s for y, c, s in zip(series, center, scale, strict=True)]
    )
    assert_allclose(scaled, rows, rtol=1e-5, atol=1e-5)
    some = scaler.inverse(np.array([[[0.0], [1.0]]] * 2), series=[3, 1])
    assert_allclose(some[:, :, 0], np.stack([center, center + scale], 1)[[3, 1]], rtol=1e-12)
    assert_allclose(scaler.transform(some, series=[3, 1]), [[[0], [1]]] * 2, atol=1e-12)


@pytest.mark.parametrize("kind", ["standard", "robust", "minmax"])
def test_no_scaler_looks_past_its_stop(kind):
    """Neither values nor the number of rows after the stop matter, bitwise."""
    panel = read_panel(ragged())
    stops = split(panel, test_size=5).train_stop
    before = SeriesScaler(kind).fit(panel, panel.y, stops)
    y = panel.y.copy()
    y[np.concatenate([np.arange(s, s + 5) for s in stops])] = 1e9
    for other in (
        SeriesScaler(kind).fit(panel, y, stops),
        SeriesScaler(kind).fit(panel.until(stops), panel.until(stops).y),
        SeriesScaler(kind).fit(panel.select(np.arange(20)), panel.y, stops),
    ):
        assert before.center_.tobytes() == other.center_.tobytes()
        assert before.scale_.tobytes() == other.scale_.tobytes()


@pytest.mark.parametrize("kind", ["standard", "robust", "minmax"])
def test_scalers_of_columns_are_those_of_each(kind):
    panel = read_panel(ragged())
    block = np.random.default_rng(0).normal(size=(panel.n_rows, 3))
    together = SeriesScaler(kind).fit(panel, block, panel.offsets[1:] - 4)
    assert together.center_.shape == (20, 3)
    for k in range(3):
        alone = SeriesScaler(kind).fit(panel, block[:, k], panel.offsets[1:] - 4)
        assert_allclose(together.center_[:, k], alone.center_, rtol=1e-13, atol=1e-15)
        assert_allclose(together.scale_[:, k], alone.scale_, rtol=1e-13)
    assert_allclose(
        together.inverse(together.transform_rows(panel, block)[:20], np.zeros(20, int)),
        together.inverse(
            together.transform(block[:20], panel.series_of(np.arange(20))), np.zeros(20, int)
        ),
    )


@pytest.mark.parametrize("kind", ["standard", "robust", "minmax"])
def test_rows_that_are_not_available_do_not_count(kind):
    series = np.random.default_rng(0).normal(5, 2, (3, 30))
    gappy = series.copy()
    gappy[0, ::3] = np.nan
    gappy[2] = np.nan
    panel = read_panel(gappy, Schema(missing="mask"))
    scaler = SeriesScaler(kind).fit(panel, panel.y)
    for i, y in enumerate((np.delete(series[0], np.s_[::3]), series[1])):
        assert_allclose((scaler.center_[i], scaler.scale_[i]), reference(kind, y), rtol=1e-13)
    assert (scaler.center_[2], scaler.scale_[2]) == (0, 1)
    assert_array_equal(scaler.transform_rows(panel, panel.y)[~panel.mask], 0)


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6 + 0.1])
@pytest.mark.parametrize("kind", ["standard", "robust", "minmax"])
def test_constant_series(kind, value):
    panel = read_panel(np.full((2, 7), value))
    scaler = SeriesScaler(kind).fit(panel, panel.y, [0, 14])
    assert_array_equal(scaler.center_, [0, value])  # a series without a training row
    assert_array_equal(scaler.scale_, [1, 1])


def test_robust_scale_of_mostly_constant_series():
    """Sparse demand: the deviation's median is 0, its spread is not."""
    y = np.array([0.0] * 8 + [100.0, 50.0])
    panel = read_panel(y)
    scaler = SeriesScaler("robust").fit(panel, panel.y)
    assert_allclose(scaler.scale_, y.std() * stats.norm.ppf(0.75), rtol=1e-13)


def test_no_scaler():
    panel = read_panel(ragged())
    scaler = SeriesScaler("none").fit(panel, panel.y)
    assert scaler.transform_rows(panel, panel.y) is panel.y
    assert_array_equal(scaler.inverse(np.ones((20, 2))), 1)
    with pytest.raises(
        ValueError, match="one of 'none', 'standard', 'robust', 'minmax'; got 'max'"
    ):
        SeriesScaler("max")
