"""Replays: steps against NumPy, transactions, evaluation and prediction."""

from __future__ import annotations

import re
import signal
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from networks import DATA, N, everything, train, two_stages
from numpy.testing import assert_allclose, assert_array_equal

import ctrain
from ctrain._core.optim import Optimizer
from ctrain._core.plan import compile_plan
from ctrain._core.program import Program
from ctrain._core.source import Arrays
from ctrain._core.step import Status, accumulate, predict, run_steps, update
from ctrain.optimizers import SGD, AdamW

# --- steps against NumPy ------------------------------------------------------------------------


def line(tape):
    x, y = tape.input((24,), name="x"), tape.input((3,), name="y")
    w, b = (
        tape.parameter((24, 3), name="w"),
        tape.parameter((3,), name="b", init="normal", decay=False),
    )
    return tape.squared_error(tape.matmul(x, w, b), y)


def train_line(steps, batch, learning_rate, clip_norm=np.inf, clip_value=np.inf, alpha=0.0, l1=0.0):
    """The twin of ``train(line, declaration=SGD())``."""
    tape = ctrain.Tape("float64")
    line(tape)
    w, b = (tape.parameters[name].value.copy() for name in "wb")
    out = {"loss_sums": [], "weight_sums": [], "norms": []}
    for rows in steps:
        x, y, weight = DATA["x"][rows], DATA["y"][rows], DATA["weight"][rows]
        d = x @ w + b - y
        total = weight.sum()
        scaled = 2 / 3 * weight[:, None] * d / total
        gradients = [x.T @ scaled, scaled.sum(0)]
        norm = np.sqrt(sum((g**2).sum() for g in gradients))
        factor = min(1.0, clip_norm / (norm + 1e-6))
        gw, gb = (np.clip(g * factor, -clip_value, clip_value) for g in gradients)
        w -= learning_rate * (gw + alpha * w + l1 * np.sign(w))
        b -= learning_rate * gb  # no penalty on biases
        out["loss_sums"].append((weight * (d**2).mean(1)).sum())
        out["weight_sums"].append(total)
        out["norms"].append(norm)
    return w, b, {k: np.array(v) for k, v in out.items()}


@pytest.mark.parametrize(
    "kwargs",
    [
        {},
        {"clip_norm": 0.05},
        {"clip_value": 0.01},
        {"alpha": 0.3},
        {"l1": 0.2},
        {"clip_norm": 0.3, "clip_value": 0.02, "alpha": 0.1, "l1": 0.1},
    ],
    ids=str,
)
@pytest.mark.parametrize("batch", [1, 193, 500])
def test_a_step_is_the_textbooks(batch, kwargs):
    kwargs = {"clip_norm": np.inf, "alpha": 0.0, **kwargs}
    ours = train(
        line, dtype="float64", batch=batch, epochs=1, declaration=SGD(), learning_rate=0.05,
        tile_rows=50, slab_bytes=1, **kwargs,
    )  # fmt: skip
    order = np.random.default_rng(0).permutation(N)
    steps = [order[i : i + batch] for i in range(0, N, batch)]
    steps = [rows for rows in steps if DATA["weight"][rows].any()]
    w, b, theirs = train_line(steps, batch, 0.05, **kwargs)
    counted = ours["weight_sums"] > 0
    for key, value in theirs.items():
        assert_allclose(ours[key][counted], value, rtol=1e-11, err_msg=key)
        assert_array_equal(ours[key][~counted], 0.0)
    assert_allclose(ours["arena"][: w.size], w.ravel(), rtol=1e-11, atol=1e-13)
    assert_allclose(ours["arena"][-16:][:3], b, rtol=1e-11, atol=1e-13)


def program_of(network, batch=64, n_threads=1, dtype="float64", **kwargs):
    tape = ctrain.Tape(dtype)
    loss = network(tape)
    plan = compile_plan(tape, batch, loss=loss, backward=True, **kwargs)
    return tape, Program(plan, n_threads, 0)


def steps_of(
    program, fields, index, bounds, progress=None, rates=None, optimizer=None, clip_norm=np.inf
):
    """Call run_steps; answer (steps, status), losses and norms."""
    tape = program.plan.tape
    n = len(bounds) - 1
    out = {k: np.full(n, -1.0) for k in ("loss_sums", "weight_sums", "norms")}
    optimizer = optimizer or Optimizer(SGD(), tape.dtype, tape.parameters.arena.size)
    done = run_steps(
        program, Arrays(**fields), np.asarray(index, np.int64), np.asarray(bounds, np.int64),
        np.full(n, 0.1) if rates is None else rates, optimizer,
        progress or SimpleNamespace(step=0), clip_norm=clip_norm, **out,
    )  # fmt: skip
    return done, out


LINE = {k: DATA[k] for k in ("x", "y")}


def test_learning_rates_are_per_step():
    arenas = []
    for index, bounds, rates in (
        (np.arange(64), [0, 32, 64], [0.0, 0.1]),
        (np.arange(32, 64), [0, 32], [0.1]),
        (np.arange(32), [0, 32], [0.1]),
    ):
        tape, program = program_of(line)
        steps_of(program, LINE, index, bounds, rates=np.array(rates))
        arenas.append(tape.parameters.arena)
    assert_array_equal(arenas[0], arenas[1])
    assert not np.array_equal(arenas[1], arenas[2])


def test_a_batch_without_weight_is_skipped():
    tape, program = program_of(line)
    optimizer = Optimizer(AdamW(), tape.dtype, tape.parameters.arena.size)
    start = tape.parameters.arena.copy()
    fields = {**LINE, "weight": np.zeros(N)}
    progress = SimpleNamespace(step=0)
    done, out = steps_of(program, fields, np.arange(9), [0, 9], progress, optimizer=optimizer)
    assert done == (1, Status.OK) and progress.step == 1
    assert [v.tolist() for v in out.values()] == [[0.0], [0.0], [0.0]]
    assert_array_equal(tape.parameters.arena, start)
    assert optimizer.t == 0


@pytest.mark.parametrize("share", [0.5, 0.999, 1.001, 2.0])
def test_clipping_begins_at_the_bound(share):
    """SGD moves by the learning rate times the clipped norm."""
    tape, program = program_of(line)
    _, out = steps_of(program, LINE, np.arange(64), [0, 64], rates=np.zeros(1))
    norm = out["norms"][0]
    start = tape.parameters.arena.copy()
    steps_of(program, LINE, np.arange(64), [0, 64], clip_norm=share * norm)
    moved = np.linalg.norm(tape.parameters.arena - start) / 0.1
    assert moved == pytest.approx(min(norm, share * norm * norm / (norm + 1e-6)), rel=1e-10)


@pytest.mark.parametrize("network", [everything, two_stages])
def test_steps_are_the_same_in_one_call_or_in_many(network):
    """Nothing but weights, slots and the number of the step goes from one step to the next."""
    index, bounds = np.arange(320), np.arange(6) * 64
    arenas, outs = [], []
    for calls in ([bounds], [bounds[k : k + 2] for k in range(5)]):
        tape = ctrain.Tape("float64")
        loss = network(tape)
        optimizer = Optimizer(AdamW(), tape.dtype, tape.parameters.pack().size)
        progress = SimpleNamespace(step=0)
        sums = []
        for part in calls:
            program = Program(compile_plan(tape, 64, loss=loss, backward=True), 1, 0)
            fields = {k: DATA[k] for k in (*tape.inputs, "weight")}
            _, out = steps_of(program, fields, index, part, progress, optimizer=optimizer)
            sums.append(np.array(list(out.values())))
        arenas.append(tape.parameters.arena.copy())
        outs.append(np.concatenate(sums, axis=1))
    assert_array_equal(outs[0], outs[1])
    assert_array_equal(arenas[0], arenas[1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_of_weight_zero_may_overflow(dtype):
    """Its loss and its derivatives are infinite, and 0 * infinity would be NaN."""

    def network(tape):
        x, y = tape.input((24,), name="x"), tape.input((3,), name="y")
        z = tape.matmul(x, tape.parameter((24, 5), name="v", init="normal"))
        w, b = tape.parameter((5, 3), name="w"), tape.parameter((3,), name="b")
        return tape.squared_error(tape.matmul(tape.exp(z), w, b), y)

    fields = {k: v.astype(dtype) for k, v in {**LINE, "weight": np.ones(N)}.items()}
    fields["weight"][[0, 5, 77]] = 0.0
    gradients, sums = [], []
    for scale in (1.0, np.finfo(dtype).max ** 0.75):
        fields["x"][[0, 5, 77]] *= scale
        tape, program = program_of(network, 128, 2, dtype)
        sums.append(accumulate(program, Arrays(**fields), 128, backward=True))
        gradients.append(program.gradients.copy())
        largest = (fields["x"] @ tape.parameters["v"].value).max(1)
    assert (largest[[0, 5, 77]] > np.log(np.finfo(dtype).max)).all()
    assert np.isfinite(gradients[0]).all()
    assert_array_equal(gradients[0], gradients[1])
    assert sums[0] == sums[1]


def test_the_update_alone_is_the_end_of_a_step():
    arenas = []
    for whole in (True, False):
        tape, program = program_of(everything)
        optimizer = Optimizer(AdamW(), "float64", tape.parameters.arena.size)
        fields = {k: DATA[k] for k in (*tape.inputs, "weight")}
        for _ in range(2):
            if whole:
                steps_of(program, fields, np.arange(64), [0, 64], optimizer=optimizer)
            else:
                _, total = accumulate(program, Arrays(**fields), 64, backward=True)
                update(program, optimizer, 0.1, 1 / total)
        arenas.append(tape.parameters.arena.copy())
    assert_array_equal(*arenas)


@pytest.mark.parametrize("network", [everything, two_stages])
def test_norms_and_sums_are_those_of_the_gradient(network):
    """The norm is that of all parameters, also of those that only functions of them reach."""
    tape, program = program_of(network)
    fields = {k: DATA[k] for k in (*tape.inputs, "weight")}
    loss, total = accumulate(program, Arrays(**fields), 64, backward=True)
    norm = np.linalg.norm(program.gradients) / total
    _, out = steps_of(program, fields, np.arange(64), [0, 64])
    assert (out["loss_sums"][0], out["weight_sums"][0]) == (loss, total)
    assert out["norms"][0] == pytest.approx(norm, rel=1e-12)


def test_gradients_of_one_batch_are_those_of_its_parts():
    """Sums over rows are continued in row order, so parts of a batch add up."""
    _, program = program_of(everything, 500)
    accumulate(program, Arrays(**DATA), backward=True, index=np.arange(300))
    whole = program.gradients.copy()
    parts = np.zeros_like(whole)
    for rows in np.split(np.arange(300), [17, 100]):
        # the dropout mask of a row is drawn for the row
        accumulate(program, Arrays(**DATA), backward=True, index=rows)
        parts += program.gradients
    assert_allclose(parts, whole, rtol=1e-10, atol=1e-12 * np.abs(whole).max())


# --- transactions -------------------------------------------------------------------------------


def log_of_x(tape):
    x = tape.input((24,), name="x")
    w = tape.parameter((24,), name="w", init="ones")
    return tape.mean(tape.exp(tape.mul(x, w)))


def root_of_x(tape):
    x = tape.input((24,), name="x")
    return tape.mean(tape.sqrt(tape.mul(x, tape.parameter((24,), name="w", init="ones"))))


@pytest.mark.parametrize(
    "network, value, status",
    [(log_of_x, 1e4, Status.LOSS_NOT_FINITE), (root_of_x, 0.0, Status.GRADIENT_NOT_FINITE)],
)
def test_a_step_that_is_not_finite_is_abandoned(network, value, status):
    x = np.abs(DATA["x"]) + 0.1
    x[70, 3] = value
    tape, program = program_of(network)
    progress = SimpleNamespace(step=5)
    done, out = steps_of(program, {"x": x}, np.arange(128), [0, 32, 64, 96, 128], progress)
    assert done == (2, status) and progress.step == 7
    after = tape.parameters.arena.copy()
    assert (out["norms"][:2] > 0).all() and out["norms"][3] == -1.0

    tape, program = program_of(network)
    steps_of(program, {"x": x}, np.arange(64), [0, 32, 64])
    assert_array_equal(after, tape.parameters.arena)


class Stop(Exception):
    """Raised by the signal handler."""


def wide(tape):
    x, y = tape.input((24,), name="x"), tape.input((3,), name="y")
    h = tape.tanh(tape.matmul(x, tape.parameter((24, 700), name="w0")))
    h = tape.tanh(tape.matmul(h, tape.parameter((700, 700), name="w1")))
    return tape.squared_error(tape.matmul(h, tape.parameter((700, 3), name="w2")), y)


@pytest.mark.parametrize("n_threads", [1, 2])
def test_a_signal_leaves_the_weights_of_a_whole_step(n_threads):
    """One step is 3 GFLOP: at 100 ms it is under way, and must be abandoned."""
    index, bounds = np.resize(np.arange(N), 100 * 500), np.arange(101) * 500

    def stop(signum, frame):
        raise Stop

    tape, program = program_of(wide, 500, n_threads, "float32")
    fields = {k: v.astype("float32") for k, v in LINE.items()}
    progress = SimpleNamespace(step=0)
    before = signal.signal(signal.SIGALRM, stop)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        started = time.perf_counter()
        with pytest.raises(Stop):
            steps_of(program, fields, index, bounds, progress)
        late = time.perf_counter() - started - 0.1
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert 0 <= progress.step < 100 and late < 0.5
    interrupted = tape.parameters.arena.copy()

    tape, program = program_of(wide, 500, n_threads, "float32")
    if progress.step:
        steps_of(program, fields, index, bounds[: progress.step + 1])
    assert_array_equal(interrupted, tape.parameters.arena)


BAD_CALLS = [
    (lambda p: steps_of(p, LINE, [0, 1], [0, 0, 2]), r"bounds must rise; got 0, 0"),
    (lambda p: steps_of(p, LINE, [0, 1], [0, 3]), r"bounds must lie in \[0, 2\]"),
    (lambda p: steps_of(p, LINE, np.arange(70), [0, 70]), r"a batch has 70 rows; planned for 64"),
    (lambda p: steps_of(p, LINE, [0, N], [0, 2]), r"index 500 is out of range for 500 rows"),
    (lambda p: steps_of(p, LINE, [0, -1], [0, 2]), r"index -1 is out of range"),
    (lambda p: steps_of(p, LINE, [0], [0, 1], rates=np.zeros(0)), r"1 steps need arrays of that"),
    (
        lambda p: steps_of(p, LINE, [0], [0, 1], optimizer=Optimizer(AdamW(), "float64", 3)),
        r"another number of weights",
    ),
    (lambda p: steps_of(p, {"x": DATA["x"]}, [0], [0, 1]), r"no values for the inputs \['y'\]"),
    (lambda p: steps_of(p, {**LINE, "z": DATA["y"]}, [0], [0, 1]), r"the source has 'z'"),
    (
        lambda p: steps_of(p, {**LINE, "y": DATA["x"]}, [0], [0, 1]),
        r"input 'y' has row shape \(3,\); the source has \(24,\)",
    ),
    (lambda p: accumulate(p, Arrays(**LINE), 501), r"n_rows must be in \[1, 500\]; got 501"),
    (lambda p: accumulate(p, Arrays(**LINE), index=[]), "index must hold at least one row"),
    (lambda p: accumulate(p, Arrays(**LINE), index=[500]), "index 500 is out of range for 500"),
]


@pytest.mark.parametrize("call, message", BAD_CALLS, ids=[m for _, m in BAD_CALLS])
def test_refused_before_any_work(call, message):
    tape, program = program_of(line)
    start = tape.parameters.arena.copy()
    with pytest.raises(ValueError, match=message):
        call(program)
    assert_array_equal(tape.parameters.arena, start)
    steps_of(program, LINE, [0, 1], [0, 2])  # still usable


BEYOND = {
    "accumulate(p, Arrays(**LINE, weight=np.ones((N, 2))))": r"weight.*\(\).*\(2,\)",
    "predict(predictor(50), Arrays(x=DATA['x'], y=DATA['y'], mask=DATA['mask']), [None])": r"2.* 1",
    "read(p, p.plan.loss, 10_000_000)": r"64.*10000000",
}


@pytest.mark.parametrize("call, message", BEYOND.items())
def test_refused_what_lies_beyond_the_memory(run_python, call, message):
    """In a process of its own, for to do it would end the process."""
    code = f"""
        import numpy as np
        from test_step import *
        from ctrain._core.step import read
        p = program_of(line)[1]
        accumulate(p, Arrays(**LINE))
        try:
            {call}
        except ValueError as error:
            print(error)
    """
    assert re.search(message, run_python(code))


# --- evaluation and prediction ------------------------------------------------------------------


def test_weights_of_one_source_do_not_reach_the_next():
    _, program = program_of(line)
    plain = accumulate(program, Arrays(**LINE))
    halved = accumulate(program, Arrays(**LINE, weight=np.full(N, 0.5)))
    assert_allclose(halved, np.array(plain) / 2, rtol=1e-12)
    assert accumulate(program, Arrays(**LINE)) == plain
    _, out = steps_of(program, LINE, np.arange(64), [0, 64])
    assert out["weight_sums"] == [64.0]


def test_mean_losses_do_not_depend_on_the_plan():
    sums = {
        accumulate(program_of(everything, batch, threads, "float32", **kwargs)[1], Arrays(
            **{k: v.astype("float32") for k, v in DATA.items()}))
        for batch, threads, kwargs in ((1, 1, {}), (7, 1, {}), (64, 2, {"tile_rows": 3}),
                                       (500, 3, {"slab_bytes": 1}), (500, 1, {}))
    }  # fmt: skip
    assert len(sums) == 1


def predictor(batch, n_threads=1, dtype="float32", **kwargs):
    tape = ctrain.Tape(dtype, training=False)
    everything(tape)
    h, y = tape.nodes[-2].inputs[0], tape.nodes[0].output
    plan = compile_plan(tape, batch, outputs=[h, y], **kwargs)
    return Program(plan, n_threads, 0)


def predicted(program, rows, dtype="float32"):
    fields = {k: DATA[k][rows].astype(dtype) for k in ("x", "y", "mask")}
    outputs = [np.empty((len(rows), *t.shape), dtype) for t in program.plan.outputs]
    assert predict(program, Arrays(**fields), outputs) == -1
    return outputs


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_rows_prediction_does_not_depend_on_its_place(dtype):
    program = predictor(500, dtype=dtype)
    whole = predicted(program, np.arange(N), dtype)
    for rows in (*([r] for r in range(40)), np.arange(N)[::-1], np.arange(3, 90), [7] * 65):
        part = predicted(program, np.asarray(rows), dtype)
        for a, b in zip(part, whole, strict=True):
            assert a.tobytes() == b[rows].tobytes()


@pytest.mark.parametrize(
    "kwargs",
    [{"batch": 1}, {"batch": 37}, {"batch": 500, "n_threads": 3}, {"batch": 99, "tile_rows": 2}],
)
def test_predictions_do_not_depend_on_the_plan(kwargs):
    rows = np.arange(N)
    for a, b in zip(
        predicted(predictor(**kwargs), rows), predicted(predictor(500), rows), strict=True
    ):
        assert a.tobytes() == b.tobytes()


def test_outputs_that_nobody_wants_are_left_out():
    program = predictor(50)
    both = predicted(program, np.arange(N))
    fields = {k: DATA[k].astype("float32") for k in ("x", "y", "mask")}
    out = np.empty_like(both[1])
    predict(program, Arrays(**fields), [None, out])
    assert_array_equal(out, both[1])
    with pytest.raises(ValueError, match=r"output 1 does not fit: \(500, 3\), float32"):
        predict(program, Arrays(**fields), [None, np.empty((500, 3), "float32")])


@pytest.mark.parametrize("n_threads", [1, 3])
def test_the_first_bad_row_is_told(n_threads):
    program = predictor(50, n_threads, tile_rows=4)
    fields = {k: DATA[k].astype("float32") for k in ("x", "y", "mask")}
    for bad in (499, 321, 46, 0):
        fields["x"][bad, 5] = np.nan if bad % 2 else -np.inf
        outputs = [None, np.empty((N, 48), "float32")]
        assert predict(program, Arrays(**fields), outputs) == bad


def test_one_program_serves_several_threads():
    program = predictor(64)
    wanted = [predicted(program, np.arange(k, 500)) for k in range(8)]
    wrong = []

    def ask(k):
        for _ in range(30):
            for a, b in zip(predicted(program, np.arange(k, 500)), wanted[k], strict=True):
                if a.tobytes() != b.tobytes():
                    wrong.append(k)

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_sums_over_many_rows_are_float64():
    """A float32 counter would stand still at 2**24."""
    n = 2**25 + 5
    tape = ctrain.Tape()
    x = tape.input((), name="x")
    plan = compile_plan(tape, 1 << 16, loss=tape.identity(x))
    x = np.broadcast_to(np.float32(0.1), (n,))
    loss, weight = accumulate(Program(plan, 2, 0), Arrays(x=x))
    assert weight == n and loss == pytest.approx(n * float(np.float32(0.1)), rel=1e-9)
