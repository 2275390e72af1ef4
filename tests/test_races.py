"""Several threads at once, without a look at the clock: what the thread sanitizer watches."""

from __future__ import annotations

import pickle
import signal
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.sparse
from networks import DATA, N, everything, train, two_stages
from small import problem, same_bits, small
from test_ops import Recorded
from test_ops import same_bits as same_lists

import ctrain
from ctrain._core.optim import Optimizer
from ctrain._core.plan import compile_plan
from ctrain._core.program import Program
from ctrain._core.source import Arrays
from ctrain._core.step import run_steps
from ctrain.optimizers import SGD
from op_cases import CASES

TEAM = 4


@pytest.mark.parametrize("network", [everything, two_stages])
def test_slabs_and_small_tiles_by_a_team(network):
    """Many short jobs: two slabs a batch where rows allow it, tiles of three rows."""
    settings = {"tile_rows": 3, "epochs": 1}
    if network is everything:
        settings["slab_bytes"] = 1  # as few rows as may be: blocks of 64
    one, team = (train(network, n_threads=n, **settings) for n in (1, TEAM))
    assert all(one[key].tobytes() == team[key].tobytes() for key in one)


def layers(tape):
    """98,000 weights: enough for the update to be shared out."""
    x, y = tape.input((24,), name="x"), tape.input((3,), name="y")
    h = tape.tanh(tape.matmul(x, tape.parameter((24, 300), name="w0")))
    h = tape.tanh(tape.matmul(h, tape.parameter((300, 300), name="w1")))
    return tape.squared_error(tape.matmul(h, tape.parameter((300, 3), name="w2")), y)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_updates_by_a_team(dtype):
    one, team = (train(layers, dtype=dtype, n_threads=n, epochs=1) for n in (1, TEAM))
    assert all(one[key].tobytes() == team[key].tobytes() for key in one)


@pytest.mark.parametrize("name", CASES)
def test_every_operation_by_a_team(name):
    """Its last case, in tiles of three rows."""
    case = Recorded(name, len(CASES[name]) - 1, "float32")
    one, team = (case.run(case.program(tile_rows=3, n_threads=n)) for n in (1, TEAM))
    assert same_lists(one, team)


def test_predictions_beside_a_fit():
    X, y = problem(2000, features=32, dtype=np.float32)
    settings = {"hidden_layer_sizes": (96, 48), "batch_size": 500, "n_jobs": TEAM}
    fitted = small(**settings, max_iter=1).fit(X, y)
    expected = fitted.predict(X)
    wrong, ended = [], threading.Event()

    def predict(k):
        mine = pickle.loads(pickle.dumps(fitted)) if k % 2 else fitted
        while True:
            last = ended.is_set()
            if not same_bits(mine.predict(X[k:]), expected[k:]):
                wrong.append(k)
            if last:
                return

    threads = [threading.Thread(target=predict, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    try:
        again = [small(**settings, max_iter=1).fit(X, y).predict(X) for _ in range(3)]
    finally:
        ended.set()
        for thread in threads:
            thread.join()
    assert wrong == [] and all(same_bits(other, expected) for other in again)


def test_fits_beside_each_other():
    """Each with a team of its own; dense and sparse rows, weights, rows held out."""
    X, y = problem(1500, features=32)
    X[np.abs(X) < 0.5] = 0.0
    weight = np.random.default_rng(0).integers(0, 3, len(X)).astype(float)
    settings = {"hidden_layer_sizes": (96, 48), "batch_size": 400, "early_stopping": True}

    def fitted(data, n_jobs):
        return small(**settings, n_jobs=n_jobs).fit(data, y, weight).predict(X)

    expected, answers = fitted(X, 1), []
    threads = [
        threading.Thread(target=lambda data=data: answers.append(fitted(data, TEAM)))
        for data in (X, np.asfortranarray(X), scipy.sparse.csr_array(X))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 3 and all(same_bits(answer, expected) for answer in answers)


class Stop(Exception):
    pass


timer = pytest.mark.skipif(
    not hasattr(signal, "setitimer"), reason="the system has no interval timer"
)


@timer
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_signal_handler_may_predict_in_the_middle_of_a_prediction(n_jobs):
    """Two calls at a time share nothing but the weights, and here it is certain that they meet."""
    X, y = problem(200, dtype=np.float32)
    fitted = small(hidden_layer_sizes=(64, 64), n_jobs=n_jobs).fit(X, y)
    many = np.tile(X, (2000, 1))
    expected, answers = fitted.predict(X), []

    def handler(signum, frame):
        answers.append(fitted.predict(X[:77]))

    before = signal.signal(signal.SIGALRM, handler)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.01, 0.01)
        for _ in range(100):
            found = fitted.predict(many)
            assert same_bits(found, np.tile(expected, 2000))
            if len(answers) > 10:
                break
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert len(answers) > 10
    assert all(same_bits(answer, expected[:77]) for answer in answers)


@timer
def test_a_signal_stops_a_team():
    """The calling thread raises the flag that the others read."""

    def stop(signum, frame):
        raise Stop

    def steps(n, progress):
        tape = ctrain.Tape("float32")
        program = Program(compile_plan(tape, N, loss=layers(tape), backward=True), TEAM, 0)
        out = {k: np.zeros(n) for k in ("loss_sums", "weight_sums", "norms")}
        fields = {k: DATA[k].astype("float32") for k in ("x", "y")}
        arenas.append(tape.parameters.arena)
        run_steps(
            program, Arrays(**fields), np.resize(np.arange(N), n * N), np.arange(n + 1) * N,
            np.full(n, 0.1), Optimizer(SGD(), tape.dtype, tape.parameters.arena.size), progress,
            **out,
        )  # fmt: skip

    before = signal.signal(signal.SIGALRM, stop)
    progress, arenas = SimpleNamespace(step=0), []
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(Stop):
            steps(20_000, progress)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)
    assert progress.step < 20_000
    if progress.step:
        steps(progress.step, SimpleNamespace(step=0))
        assert same_bits(*arenas)
