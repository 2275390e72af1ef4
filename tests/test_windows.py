"""Windows of series: what NumPy's sliding_window_view would cut, and no window is ever kept."""

from __future__ import annotations

import tracemalloc
from functools import reduce
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from numpy.testing import assert_array_equal
from series import LAYOUTS, materialised, memory_map, random_case, windows_of

import ctrain
from ctrain._core import dispatch
from ctrain._core.optim import Optimizer
from ctrain._core.plan import compile_plan
from ctrain._core.program import Program
from ctrain._core.source import Arrays, Windows
from ctrain._core.step import Status, accumulate, predict, read, run_steps
from ctrain.losses import SquaredError
from ctrain.network import Network
from ctrain.optimizers import AdamW


def gathered(source, dtype, index=None, tile_rows=20, n_threads=1):
    """What fills each input but the weight, for all rows or some; and the first bad row."""
    tape = ctrain.Tape(dtype)
    shapes = dict(zip(source.names, source.shapes, strict=True))
    shapes.pop("weight", None)
    outputs = [tape.identity(tape.input(shape, name=name)) for name, shape in shapes.items()]
    n = source.n_rows if index is None else len(index)
    plan = compile_plan(tape, n, outputs=outputs, keep=index is not None, tile_rows=tile_rows)
    program = Program(plan, n_threads, 0)
    if index is None:
        arrays = [np.empty((n, *x.shape), dtype) for x in outputs]
        bad = predict(program, source, arrays)
        return dict(zip(shapes, arrays, strict=True)), bad
    accumulate(program, source, index=index)
    return {k: read(program, x, n) for k, x in zip(shapes, outputs, strict=True)}, None


def assert_same(ours, wanted, dtype):
    assert list(ours) == list(wanted)
    for name, value in wanted.items():
        assert_array_equal(ours[name], value.astype(dtype), err_msg=name)


FLOATS = ("float32", "float64")

# --- gathered ----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(150))
def test_random_series_and_windows(seed, tmp_path):
    case, rng = random_case(seed), np.random.default_rng([seed, 1])
    stored, computed = (str(rng.choice(FLOATS)) for _ in range(2))
    source = windows_of(case, rng.choice(list(LAYOUTS)), stored, tmp_path)
    wanted = {name: x.astype(stored) for name, x in materialised(case).items()}
    assert source.n_rows == case.count.sum()
    assert source.names == tuple(wanted)
    assert source.shapes == tuple(x.shape[1:] for x in wanted.values())
    ours, bad = gathered(source, computed, None, int(rng.integers(1, 64)), int(rng.integers(1, 4)))
    assert bad == -1
    assert_same(ours, wanted, computed)
    index = rng.integers(source.n_rows, size=int(rng.integers(1, 200)))
    ours, _ = gathered(source, computed, index)
    assert_same(ours, {name: x[index] for name, x in wanted.items()}, computed)


@pytest.mark.parametrize("computed", FLOATS)
@pytest.mark.parametrize("stored", FLOATS)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, stored, computed, tmp_path):
    for seed in (0, 1, 2, 3):
        case = random_case(seed, masked=True, covariates=True)
        wanted = {name: x.astype(stored) for name, x in materialised(case).items()}
        ours, bad = gathered(windows_of(case, layout, stored, tmp_path), computed)
        assert bad == -1
        assert_same(ours, wanted, computed)


def test_the_cases_hold_what_they_should():
    """Padding on both sides, series without windows, ragged and plain, one and many."""
    cases = [random_case(seed) for seed in range(150)]
    lengths = [np.array([len(y) for y in case.y]) for case in cases]
    ends = [c.start + (c.count - 1) * c.step + c.n_in for c in cases]
    assert sum((c.start[c.count > 0] < 0).any() for c in cases) > 30
    beyond = [e + c.n_out > n for c, e, n in zip(cases, ends, lengths, strict=True)]
    assert sum(x[c.count > 0].any() for c, x in zip(cases, beyond, strict=True)) > 30
    assert sum((c.count == 0).any() for c in cases) > 30
    assert 30 < sum(len(set(n)) == 1 for n in lengths) < 120


def test_a_mix_of_dtypes():
    case = random_case(5, masked=False, covariates=True)
    wanted = materialised(case)
    n = np.cumsum([0, *map(len, case.y)])
    source = Windows(
        np.concatenate(case.y), case.n_in, case.n_out, offsets=n, start=case.start,
        count=case.count, step_size=case.step, past=np.concatenate(case.past).astype("float32"),
        future=np.concatenate(case.future), static=case.static.astype("float32"),
    )  # fmt: skip
    for name in ("past", "static"):
        wanted[name] = wanted[name].astype("float32")
    assert_same(gathered(source, "float64")[0], wanted, "float64")


def test_covariates_without_columns_are_none():
    none = np.zeros((3, 20, 0))
    source = Windows(np.zeros((3, 20)), 4, 2, past=none, future=none, static=none[:, 0])
    assert source.names == ("past_y", "past_mask", "y", "y_mask")


def test_one_series_alone():
    y = np.arange(20.0)
    ours, _ = gathered(Windows(y, 5, 2), "float64")
    windows = sliding_window_view(y, 7)
    assert_array_equal(ours["past_y"], windows[:, :5])
    assert_array_equal(ours["y"], windows[:, 5:])
    assert ours["past_mask"].all() and ours["y_mask"].all()


def test_the_last_window_has_no_target():
    y = np.arange(20.0).reshape(2, 10)
    ours, _ = gathered(Windows(y, 4, 3, start=6, count=1), "float64")
    assert_array_equal(ours["past_y"], y[:, 6:])
    assert not ours["y"].any() and not ours["y_mask"].any()


def test_the_shortest_history_is_one_value():
    ours, _ = gathered(Windows(np.arange(1.0, 9.0), 4, 3, start=-3, count=2), "float64")
    assert_array_equal(ours["past_y"], [[0, 0, 0, 1], [0, 0, 1, 2]])
    assert_array_equal(ours["past_mask"], [[0, 0, 0, 1], [0, 0, 1, 1]])
    assert_array_equal(ours["y"], [[2, 3, 4], [3, 4, 5]])


def targets():
    """Random cases on the target in use."""
    return {
        f"{seed} {stored} {computed} {name}": x
        for seed in range(12)
        for stored in FLOATS
        for computed in FLOATS
        for name, x in gathered(windows_of(random_case(seed), stored=stored), computed)[0].items()
    }


@pytest.mark.parametrize("target", dispatch.available())
def test_targets(on_target, target):
    ours = targets()
    for key, value in on_target(target, "test_windows", "targets").items():
        assert_array_equal(value, ours[key], err_msg=key)


# --- masks and values that are not finite ----------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_mask_excuses_values_that_are_not_finite(seed, value):
    case = random_case(seed, masked=True, covariates=True)
    wanted = materialised(case)
    for s, seen in enumerate(case.available):
        case.y[s][~seen] = value
        case.past[s][~seen, 0] = value
    kept = [np.where(np.isfinite(x), x, 0) for x in case.past]
    case_kept = SimpleNamespace(**{**vars(case), "past": kept})
    wanted["past"] = materialised(case_kept)["past"]  # only what is not finite becomes 0
    for dtype in FLOATS:
        ours, bad = gathered(windows_of(case), dtype)
        assert bad == -1
        assert_same(ours, wanted, dtype)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("name", ["y", "past", "future", "static"])
def test_the_first_bad_row_is_told(name, masked):
    for seed in range(10):
        for value in (np.nan, np.inf, -np.inf):
            case = random_case(seed, masked=masked, covariates=True)
            s = int(np.flatnonzero(case.count)[-1])
            parts = case.static if name == "static" else getattr(case, name)
            at = s if name == "static" else (s, case.start[s] % len(case.y[s]))
            if name == "static":
                parts[at, -1] = value
            else:
                parts[at[0]][at[1]] = value
            if masked and name != "static":
                # a value that is known beforehand has no excuse
                case.available[s][at[1]] = name != "future"
            wanted = materialised(case)
            bad_rows = np.zeros(case.count.sum(), bool)
            for x in wanted.values():
                bad_rows |= ~np.isfinite(x).reshape(len(x), -1).all(axis=1)
            first = int(np.argmax(bad_rows)) if bad_rows.any() else -1
            ours, bad = gathered(windows_of(case), "float64", tile_rows=7, n_threads=2)
            assert bad == first
            assert_same(ours, wanted, "float64")


def test_what_float32_cannot_hold_is_bad():
    y = np.ones(20)
    y[11] = 1e39
    with np.errstate(over="ignore"):
        assert gathered(Windows(y, 4, 2), "float32")[1] == 6
    assert gathered(Windows(y, 4, 2), "float64")[1] == -1


# --- rows ------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_locate(seed):
    case = random_case(seed)
    source = windows_of(case)
    series = np.repeat(np.arange(len(case.y)), case.count)
    start = np.concatenate(
        [a + case.step * np.arange(n) for a, n in zip(case.start, case.count, strict=True)]
    )
    rows = np.arange(source.n_rows)
    for order in (rows, rows[::-1], rows[:, None]):
        ours = source.locate(order)
        assert_array_equal(ours[0], series[order])
        assert_array_equal(ours[1], start[order])
    assert source.locate(0) == (series[0], start[0])
    for row in (-1, source.n_rows):
        with pytest.raises(IndexError, match=rf"rows must lie in \[0, {source.n_rows}\)"):
            source.locate(row)


def test_default_windows_are_those_with_a_whole_horizon():
    offsets = np.array([0, 30, 36, 37, 37, 60])
    source = Windows(np.zeros(60), 5, 2, offsets=offsets, step_size=4)
    series, start = source.locate(np.arange(source.n_rows))
    wanted = [(s, t) for s, n in enumerate(np.diff(offsets)) for t in range(0, n - 6, 4)]
    assert list(zip(series, start, strict=True)) == wanted


def test_many_series():
    """Rows are found among many series, with and without windows."""
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, 30, 5000)
    y = rng.normal(size=lengths.sum())
    source = Windows(y, 7, 3, offsets=np.cumsum([0, *lengths]))
    index = rng.integers(source.n_rows, size=4000)
    series, start = source.locate(index)
    begin = np.cumsum([0, *lengths])[series] + start
    ours, _ = gathered(source, "float64", index)
    assert_array_equal(ours["past_y"], y[begin[:, None] + np.arange(7)])
    assert_array_equal(ours["y"], y[begin[:, None] + np.arange(7, 10)])


# --- training ----------------------------------------------------------------------------------


def forecaster(tape, shapes):
    """A masked loss of what a hidden layer makes of every input."""
    x = {name: tape.input(shape, name=name) for name, shape in shapes.items()}
    features = tape.concat(
        *(tape.reshape(x[k], (-1,)) for k in x if k not in ("y", "y_mask")), axis=0
    )
    h = tape.dropout(tape.gelu(tape.matmul(features, tape.parameter((features.shape[0], 33)))), 0.1)
    horizon = shapes["y"][0]
    out = tape.matmul(h, tape.parameter((33, horizon)), tape.parameter((horizon,)))
    error = tape.mul(tape.square(tape.sub(out, x["y"])), x["y_mask"])
    return tape.ratio(tape.sum(error), tape.sum(x["y_mask"]))


def train(source, dtype, n_threads, tile_rows=None):
    shapes = dict(zip(source.names, source.shapes, strict=True))
    shapes.pop("weight", None)
    tape = ctrain.Tape(dtype, random_state=0)
    loss = forecaster(tape, shapes)
    plan = compile_plan(tape, 100, loss=loss, backward=True, tile_rows=tile_rows)
    program = Program(plan, n_threads, 0)
    optimizer = Optimizer(AdamW(), tape.dtype, tape.parameters.arena.size)
    n = source.n_rows
    index = np.concatenate([np.random.default_rng(epoch).permutation(n) for epoch in range(2)])
    bounds = np.minimum(np.arange(0, 2 * n + 100, 100), 2 * n)
    steps = len(bounds) - 1
    sums = {k: np.zeros(steps) for k in ("loss_sums", "weight_sums", "norms")}
    done, status = run_steps(
        program, source, index, bounds, np.full(steps, 0.01), optimizer, SimpleNamespace(step=0),
        clip_norm=1.0, **sums,
    )  # fmt: skip
    assert (done, status) == (steps, Status.OK)
    return b"".join(x.tobytes() for x in (tape.parameters.arena, *sums.values()))


@pytest.fixture(scope="module")
def long_case():
    """Some 900 windows of five series with everything that a window can have."""
    case = random_case(8, masked=True, covariates=True)
    rng = np.random.default_rng(3)
    lengths = np.array([150, 300, 250, 120, 200])
    case.n_in, case.n_out, case.step = 24, 7, 1
    case.y = [rng.normal(size=n) for n in lengths]
    case.available = [rng.random(n) < 0.9 for n in lengths]
    case.past = [rng.normal(size=(n, 2)) for n in lengths]
    case.future = [rng.normal(size=(n, 3)) for n in lengths]
    case.static = rng.normal(size=(5, 4))
    case.start = np.array([-10, 0, -23, 5, 0])
    case.count = lengths - 31 - case.start + 1
    case.weight = rng.integers(0, 3, case.count.sum()).astype(float)
    return case


@pytest.mark.parametrize("stored", FLOATS)
@pytest.mark.parametrize("dtype", FLOATS)
def test_training_sees_the_same_bits_as_with_arrays(long_case, dtype, stored):
    arrays = materialised(long_case) | {"weight": long_case.weight}
    wanted = train(Arrays(**{k: x.astype(stored) for k, x in arrays.items()}), dtype, 1)
    source = windows_of(long_case, stored=stored, weight=long_case.weight.astype(stored))
    for n_threads in (1, 2, 3, 7):
        assert train(source, dtype, n_threads) == wanted
    for tile_rows in (1, 5, 33, 64):
        assert train(source, dtype, 2, tile_rows) == wanted


class Layer:
    """One matrix product for each input; the simplest model of windows."""

    def record(self, tape, inputs, shape):
        parts = [
            tape.matmul(tape.reshape(x, (-1,)), tape.parameter((int(np.prod(x.shape)), *shape)))
            for name, x in inputs.items()
            if name != "y_mask"
        ]
        return reduce(tape.add, parts)


def fitted(source, dtype, n_threads):
    """Steps, loss and predictions of a network."""
    shapes = dict(zip(source.names, source.shapes, strict=True))
    horizon = shapes.pop("y")[0]
    network = Network(Layer(), SquaredError(), shapes, horizon, dtype, 0)
    program = network.trainer(128, n_threads)
    optimizer = Optimizer(AdamW(), network.dtype, network.parameters.arena.size)
    bounds = np.arange(0, source.n_rows, 128)
    sums = {k: np.zeros(len(bounds) - 1) for k in ("loss_sums", "weight_sums", "norms")}
    index = np.random.default_rng(0).permutation(source.n_rows)
    run_steps(
        program, source, index, bounds, np.full(len(bounds) - 1, 0.01), optimizer,
        SimpleNamespace(step=0), **sums,
    )  # fmt: skip
    loss = network.evaluate(source, index[:200], n_threads)
    prediction = network.predict(source, n_threads)
    return sums["loss_sums"].tobytes(), loss, prediction.tobytes()


@pytest.mark.parametrize("dtype", FLOATS)
def test_a_network_sees_the_same_bits_as_with_arrays(long_case, dtype):
    wanted = fitted(Arrays(**materialised(long_case)), dtype, 1)
    for n_threads in (1, 2, 3, 7):
        assert fitted(windows_of(long_case), dtype, n_threads) == wanted


# --- memory ------------------------------------------------------------------------------------


def peak_of_a_fit(n_steps, input_size, folder):
    """Bytes that building a source and running all of its windows takes at most."""
    y = memory_map(np.zeros(n_steps), folder / "y.npy")
    tape = ctrain.Tape("float32")
    shapes = {"past_y": (input_size,), "past_mask": (input_size,), "y": (24,), "y_mask": (24,)}
    x = {name: tape.input(shape, name=name) for name, shape in shapes.items()}
    forecast = tape.matmul(x["past_y"], tape.parameter((input_size, 24)))
    loss = tape.mean(tape.square(tape.sub(forecast, x["y"])))
    program = Program(compile_plan(tape, 64, loss=loss, backward=True, tile_rows=16), 1, 0)
    tracemalloc.start()
    try:
        source = Windows(y, input_size, 24)
        _, count = accumulate(program, source, backward=True)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == source.n_rows == n_steps - input_size - 23
    return peak


def test_memory_does_not_grow_with_the_windows(tmp_path):
    few, many, long = (
        peak_of_a_fit(*sizes, tmp_path) for sizes in ((1_000, 96), (300_000, 96), (100_000, 336))
    )
    assert max(few, many, long) < 20_000
    assert abs(many - few) < 1_000 and abs(long - few) < 1_000


@pytest.mark.parametrize("layout", ["C", "Fortran", "backwards"])
def test_a_source_is_a_view(layout):
    y = LAYOUTS[layout](np.ones((3, 20)), None)
    past, mask = (np.ones((3, 20, 2)), np.ones((3, 20), bool))
    source = Windows(y, 5, 2, past=past, available=mask)
    y[...], past[...] = 7.0, 8.0
    mask[1] = False
    ours, _ = gathered(source, "float64")
    hidden = source.locate(np.arange(source.n_rows))[0] == 1
    assert (ours["past_y"] == np.where(hidden, 0, 7)[:, None]).all()
    assert (ours["past"] == 8).all()


def test_a_source_keeps_its_arrays_alive():
    sources = [
        Windows(
            np.full(400, float(k)), 100, 10, available=np.ones(400, bool),
            past=np.full((400, 50), float(k)), static=np.full((1, 9), float(k)),
        )
        for k in range(20)
    ]  # fmt: skip
    for k, source in enumerate(sources):
        ours, _ = gathered(source, "float64")
        assert all((ours[name] == k).all() for name in ("past_y", "past", "static", "y"))


# --- errors ------------------------------------------------------------------------------------

Y = np.zeros(20)
ROWS = np.zeros((3, 20))
#: positional arguments, keywords, error, message
REFUSED = [
    ((Y.astype(int), 4, 2), {}, TypeError, r"y must be float32 or float64; got int64"),
    ((Y.astype(">f8"), 4, 2), {}, TypeError, r"y must be float32 or float64; got >f8"),
    ((np.zeros((2, 3, 4)), 4, 2), {}, ValueError, r"y must have shape .* got \(2, 3, 4\)$"),
    ((np.float64(1), 4, 2), {}, ValueError, r"y must have shape .* got \(\)$"),
    ((ROWS, 4, 2), {"offsets": [0, 3]}, ValueError, r"got \(3, 20\) with offsets"),
    ((Y, 0, 2), {}, ValueError, r"input_size must be an integer of at least 1; got 0"),
    ((Y, 4, 2.0), {}, ValueError, r"horizon must be an integer of at least 1; got 2.0"),
    ((Y, 4, 2), {"step_size": -1}, ValueError, r"step_size must be an integer .* got -1"),
    ((Y, 4, 2), {"step_size": True}, ValueError, r"step_size must be an integer .* got True"),
    ((Y, 4, 2), {"offsets": [0, 19]}, ValueError, r"offsets must go from 0 to 20.*\[ 0 19\]"),
    ((Y, 4, 2), {"offsets": [1, 20]}, ValueError, r"offsets must go from 0 to 20.*\[ 1 20\]"),
    ((Y, 4, 2), {"offsets": [20]}, ValueError, r"offsets must go from 0 to 20"),
    ((Y, 4, 2), {"offsets": [0, 9, 8, 20]}, ValueError, r"series 1 goes from 9 to 8"),
    ((Y, 4, 2), {"offsets": [0.0, 20.0]}, TypeError, r"offsets must be integers; got float64"),
    ((Y, 17, 4), {}, ValueError, r"no windows: .* take 21 steps; the longest of 1 .* has 20"),
    ((Y[:0], 4, 2), {}, ValueError, r"no windows: .* the longest of 1 series has 0"),
    ((ROWS[:0], 4, 2), {}, ValueError, r"no windows: .* the longest of 0 series has 0"),
    ((ROWS, 4, 2), {"count": [1, -1, 1]}, ValueError, r"series 1: count must be at least 0.*-1"),
    ((ROWS, 4, 2), {"count": [1, 1]}, ValueError, r"count must be .* shape \(3,\).* got \(2,\)"),
    ((ROWS, 4, 2), {"start": 0.5}, TypeError, r"start must be integers; got float64"),
    (
        (ROWS, 4, 2), {"start": [0, 0, -4]}, ValueError,
        r"series 2: the window at start -4 ends before .* start must be at least -3",
    ),
    (
        (ROWS, 4, 2), {"start": [0, 17, 0], "count": 1}, ValueError,
        r"series 1: the window at start 17 needs past_y at the steps 17 to 20, but the series "
        r"has 20 steps; start must be at most 16",
    ),
    (
        (ROWS, 4, 2), {"count": [1, 1, 5], "step_size": 5}, ValueError,
        r"series 2: the window at start 20 needs past_y",
    ),
    (
        (ROWS, 4, 2), {"count": [15, 16, 16], "future": np.zeros((3, 20, 1))}, ValueError,
        r"series 1: the window at start 15 needs future at the steps 15 to 20.* at most 14",
    ),
    (
        (ROWS, 4, 2), {"count": [1, 2**62, 1], "step_size": 4}, ValueError,
        r"series 1: the window at start 18446744073709551612",
    ),
    ((ROWS, 4, 2), {"start": [0, 2**62, 0], "count": 1}, ValueError, r"series 1: the window"),
    ((ROWS, 40, 2), {"start": [-30, 2**63 - 1, 0], "count": 1}, ValueError, r"series 1: the win"),
    ((ROWS, 4, 2), {"start": [0, -(2**62), 0], "count": 1}, ValueError, r"series 1: the window"),
    (
        (ROWS, 4, 2), {"available": np.ones((3, 20))}, TypeError,
        r"available must be bool; got float64",
    ),
    (
        (ROWS, 4, 2), {"available": np.ones((3, 19), bool)}, ValueError,
        r"available must have shape \(3, 20\); got \(3, 19\)",
    ),
    (
        (Y, 4, 2), {"past": np.zeros((1, 20, 2))}, ValueError,
        r"past must have shape \(20, n_columns\); got \(1, 20, 2\)",
    ),
    ((ROWS, 4, 2), {"past": np.zeros((3, 20, 1), int)}, TypeError, r"past must be float32 or"),
    (
        (ROWS, 4, 2), {"static": np.zeros((2, 4))}, ValueError,
        r"static must have shape \(3, n_columns\); got \(2, 4\)",
    ),
    (
        (Y, 4, 2), {"weight": np.ones(14)}, ValueError,
        r"weight must have shape \(15,\); got \(14,\)",
    ),
]  # fmt: skip


@pytest.mark.parametrize("args, kwargs, error, message", REFUSED, ids=[m for *_, m in REFUSED])
def test_refused(args, kwargs, error, message):
    with pytest.raises(error, match=message):
        Windows(*args, **kwargs)
