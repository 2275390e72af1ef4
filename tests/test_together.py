"""All series in one row: how it is gathered, and that frames in and out are as ever."""

from __future__ import annotations

import numpy as np
import pytest
from forecasts import COVARIATES, HORIZON, INPUT_SIZE, bits, forecaster, frame, weights
from numpy.testing import assert_array_equal
from series import LAYOUTS, materialised, random_case, windows_of
from sklearn.base import BaseEstimator
from test_windows import assert_same, gathered

import ctrain
from ctrain._core.source import Windows
from ctrain.data import read_panel
from ctrain.scalers import SCALERS


def joined_case(seed, **how):
    """Series whose windows begin together."""
    case = random_case(seed, **how)
    size = case.n_in + (case.n_out if case.future is not None else 0)
    last = min(len(y) for y in case.y) - size
    case.start[:] = max(min(int(case.start[0]), last), 1 - case.n_in)
    case.count[:] = (last - case.start[0]) // case.step + 1
    return case


def joined(case):
    """What each row holds: the windows of all series at a start."""
    return {
        name: np.moveaxis(x.reshape(len(case.y), -1, *x.shape[1:]), 1, 0)
        for name, x in materialised(case).items()
    }


# ------------------------------------------------------------------------------- the source


@pytest.mark.parametrize("seed", range(40))
def test_a_row_is_a_window_of_every_series(seed, tmp_path):
    case, rng = joined_case(seed), np.random.default_rng(seed)
    source = windows_of(case, rng.choice(list(LAYOUTS)), "float64", tmp_path, together=True)
    wanted = joined(case)
    assert source.n_rows == case.count[0]
    assert source.names == tuple(wanted)
    assert source.shapes == tuple(x.shape[1:] for x in wanted.values())
    ours, bad = gathered(source, "float32", None, int(rng.integers(1, 9)), 2)
    assert bad == -1
    assert_same(ours, wanted, "float32")
    index = rng.integers(source.n_rows, size=int(rng.integers(1, 50)))
    assert_same(gathered(source, "float64", index)[0], {k: x[index] for k, x in wanted.items()},
                "float64")  # fmt: skip
    series, start = source.locate(index)
    assert not series.any()
    assert_array_equal(start, case.start[0] + case.step * index)


def test_weights_and_units():
    y, unit = np.random.default_rng(0).normal(size=(50, 20)), np.arange(1.0, 51.0)
    source = Windows(y, 4, 2, unit=unit, weight=np.arange(15.0), together=True)
    assert dict(zip(source.names, source.shapes, strict=True))["y_unit"] == (50, 1)
    assert source.shapes[-1] == ()
    assert_array_equal(gathered(source, "float64")[0]["y_unit"][3, :, 0], unit)


def test_the_first_bad_row_is_told():
    for series in (0, 40, 69):  # a row does not end with what is located in one go
        y = np.zeros((70, 20))
        y[series, 11] = np.nan
        assert gathered(Windows(y, 4, 2, together=True), "float64", tile_rows=3)[1] == 6


@pytest.mark.parametrize("name, values", [("start", [0, 0, 1]), ("count", [3, 3, 2])])
def test_series_that_do_not_begin_together_are_refused(name, values):
    message = f"{name} must be the same for all series; it is {values[0]} for series 0 and"
    given = {"start": 0, "count": 1, name: np.array(values)}
    with pytest.raises(ValueError, match=message):
        Windows(np.zeros((3, 20)), 4, 2, together=True, **given)


# ------------------------------------------------------------------------------- alignment


def test_what_a_series_lacks_is_masked():
    panel = read_panel({"unique_id": list("aaabbc") + ["c"] * 4, "y": np.arange(1.0, 11.0),
                        "ds": [3, 4, 5, 1, 2, 1, 2, 3, 4, 5]})  # fmt: skip
    with pytest.raises(ValueError, match="need a common span: 'a' begins at 3, 'b' ends at 2"):
        panel.aligned()
    whole = panel.select([0, 2]).aligned()
    assert_array_equal(whole.y.reshape(2, 5), [[0, 0, 1, 2, 3], [6, 7, 8, 9, 10]])
    assert_array_equal(whole.mask.reshape(2, 5), [[0, 0, 1, 1, 1], [1] * 5])
    assert_array_equal(whole.start, [1, 1])
    assert whole.aligned() is whole


def test_stamps_between_those_of_another_series():
    rows = {"unique_id": list("aaabbb"), "ds": [0, 2, 4, 1, 3, 5], "y": np.zeros(6)}
    with pytest.raises(ValueError, match="series 'b' at 1 lies between the stamps of series 'a'"):
        read_panel(rows, freq=2).aligned()


def test_covariates_of_rows_that_are_not_there():
    data = {name: values[:-1] for name, values in frame().items()}
    fc = forecaster(Each(), hist_exog=("sold",))
    with pytest.raises(ValueError, match=r"'s2' has 59 of 60 rows, .* covariates at all of them"):
        fc.fit(data)


# ------------------------------------------------------------------------------- forecasts


class Each(BaseEstimator):
    """Forecasts every series by the same linear map of its past and covariates."""

    multivariate = True

    def record(self, tape, inputs, shape):
        together = len(inputs["past_y"].shape) == 2
        horizon, values = shape[0], shape[2 if together else 1 :]
        order = (1, 0, 2)
        read = [inputs["past_y"], *(inputs[k] for k in ("past", "future") if k in inputs)]
        if together:
            n = shape[1]
            assert inputs["past_mask"].shape == inputs["past_y"].shape == (INPUT_SIZE, n)
            assert "future_y" not in inputs or inputs["future_y"].shape == (horizon, n)
            read = [
                tape.transpose(x, axes=order[: len(x.shape)]) for x in read
            ]  # series, time, ...
        h = tape.concat(*[
            tape.reshape(x, (*x.shape[: 1 if together else 0], x.size // (n if together else 1)))
            for x in read
        ], *[inputs[k] for k in ("static",) if k in inputs])  # fmt: skip
        size = h.shape[-1], horizon * (values[0] if values else 1)
        h = tape.matmul(h, tape.parameter(size, name="map"))
        h = tape.reshape(h, (*h.shape[:-1], horizon, *values))
        level = tape.scale(h, 0.5)
        if together:
            h, level = (tape.transpose(x, axes=order[: len(shape)]) for x in (h, level))
        return {"prediction": h, "level": level, "rest": level}


class Alone(Each):
    multivariate = False


GIVEN = {
    "plain": {},
    "quantiles": {"quantiles": (0.1, 0.5, 0.9)},
    "conformal": {"conformal": 6, "series_scaler": "robust"},
    "covariates": COVARIATES,
    "gaps": {"missing": "mask", "start_padding": True},
    "season": {"season": 7, "horizon_weight": (1, 2, 3, 4)},
    **{scaler: {"scaler": scaler} for scaler in SCALERS},
}


@pytest.mark.parametrize("given", GIVEN.values(), ids=list(GIVEN))
def test_a_model_of_each_series_alone_forecasts_as_by_itself(given):
    """The same weights, so the same frames, whether rows hold one series or all."""
    data = frame()
    if "missing" in given:
        data["y"][[5, 70, 119, 179]] = np.nan
    alone, each = (forecaster(model, **given).fit(data) for model in (Alone(), Each()))
    assert each.n_windows_ == alone.n_windows_ / 3 or "missing" in given
    for p in alone._network.parameters:
        each._network.parameters.assign(p.name, p.value)
    each._conformal = alone._conformal
    level = 50 if alone.conformal else None
    future = alone.future_frame() | {"promo": np.ones(3 * HORIZON)} if alone.futr_exog else None

    def same(answer):
        theirs, ours = (list(bits(answer(fc)).values()) for fc in (alone, each))
        assert theirs == ours

    same(lambda fc: fc.predict(level=level, future=future))
    same(lambda fc: fc.predict(frame(seed=5), level=level, future=future))
    same(lambda fc: fc.predict_insample(data, level=level))
    assert each.backtest(data, 9) == alone.backtest(data, 9)
    if not given.get("quantiles"):
        same(lambda fc: fc.decompose(future=future))
    if not alone.hist_exog:
        same(lambda fc: fc.predict(steps=2 * HORIZON + 1))
    each.cross_validation(data, n_windows=2, step_size=3, refit=True)


@pytest.mark.parametrize("loss", ["absolute_error", "student_t", "negative_binomial"])
def test_the_gradient_is_that_of_all_windows(loss):
    """One step on all windows, gaps among them: rows count by their steps, series alike.

    Of counts the parameters of the likelihood are scaled, by each series' own window.
    """
    data = frame()
    data["y"] = data["y"].round()
    data["y"][[5, 70, 119, 150]] = np.nan
    fits = [
        forecaster(model, loss=loss, scaler="standard", missing="mask", dtype="float64",
                   max_steps=1, batch_size=10**4, optimizer="sgd", clip_norm=None).fit(data)
        for model in (Alone(), Each())
    ]  # fmt: skip
    steps = [fc._network.parameters["map"].value for fc in fits]
    np.testing.assert_allclose(*steps, rtol=0, atol=1e-13)


def test_series_of_different_spans():
    data = frame()
    keep = np.ones(180, bool)
    keep[[*range(60, 80), *range(170, 180)]] = False  # one begins later, one ends earlier
    short = {name: values[keep] for name, values in data.items()}
    fc = forecaster(Each()).fit(short)
    answer = fc.predict()
    assert (answer["ds"].reshape(3, HORIZON) == answer["ds"][:HORIZON]).all()
    masked = data | {"y": np.where(keep, data["y"], np.nan)}
    other = forecaster(Each(), missing="mask").fit(masked)
    assert weights(fc) == weights(other)
    assert bits(answer) == bits(other.predict())


def test_other_series_than_those_of_the_fit():
    fc = forecaster(Each()).fit(frame())
    with pytest.raises(ValueError, match=r"Each forecasts the 3 series .*; 's3' is new"):
        fc.predict(frame(n_series=4))
    with pytest.raises(ValueError, match=r"Each forecasts the 3 series .*; 's2' is missing"):
        fc.backtest(frame(n_series=2), 9)


def test_window_weights_are_of_all_series():
    seen = []

    def weight(stamps, values):
        seen.append((stamps, values))
        return (stamps >= np.datetime64("2024-02-01")) * 1.0

    data = frame()
    fc = forecaster(Each(), window_weight=weight).fit(data)
    ((stamps, values),) = seen
    y = data["y"].reshape(3, 60)
    assert_array_equal(values, y[:, INPUT_SIZE : 61 - HORIZON].T)
    assert_array_equal(stamps, data["ds"][INPUT_SIZE : 61 - HORIZON])
    assert fc.n_windows_ == (stamps >= np.datetime64("2024-02-01")).sum()


def test_a_series_alone():
    fc = forecaster(Each()).fit(frame(n_series=1)["y"])
    assert fc.predict().shape == (HORIZON,)


def test_a_value_that_is_not_finite_for_the_network():
    fc = forecaster(Each()).fit(frame())
    data = frame()
    data["y"][100] = 1e300
    with pytest.raises(ValueError, match="all series: a window holds a value that is not finite"):
        fc.predict_insample(data)


def test_a_model_of_ones_own_is_loaded_without_its_code(tmp_path):
    fc = forecaster(Each()).fit(frame())
    fc.save(tmp_path / "model.npz")
    loaded = ctrain.load(tmp_path / "model.npz")
    for answer in (lambda fc: fc.predict(), lambda fc: fc.predict_insample(frame(seed=5))):
        assert bits(answer(loaded)) == bits(answer(fc))
    assert loaded.backtest(frame(), 9) == fc.backtest(frame(), 9)
