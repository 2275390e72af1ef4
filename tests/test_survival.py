"""Bad days: kills, hostile files, many fits, many threads.

Each campaign is small here and has its full count behind the marker ``slow``.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import checkpoint_mutants
import numpy as np
import pytest
import small

import ctrain
from ctrain.callbacks import Callback

HERE = Path(__file__).parent
X, Y = small.problem()


def script(name: str, *arguments, timeout: float, **variables: str) -> dict:
    """Report of a campaign in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "faulthandler", HERE / name, *map(str, arguments)],
        capture_output=True, text=True, timeout=timeout, env={**os.environ, **variables},
    )  # fmt: skip
    assert done.returncode == 0, f"exit status {done.returncode}\n{done.stderr[-3000:]}"
    return json.loads(done.stdout)


# ------------------------------------------------------------------------------------ kills


@pytest.mark.parametrize("kills", [15, pytest.param(300, marks=pytest.mark.slow)])
def test_killed_at_any_instant(tmp_path, kills):
    """No file is unreadable, and each resumed fit ends with the bits of the whole one."""
    report = script("survivors.py", tmp_path, kills, kills, timeout=1200)
    print(report)
    assert report["wrong"] == [] and report["kills"] == kills
    assert report["inside a save"] >= kills / 5
    assert report["mean step"] > 2  # not only before the first step


# ----------------------------------------------------------------------------- hostile files


@pytest.mark.parametrize("count", [500, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("seed", [0, 1])
def test_hostile_contents_are_refused_or_harmless(tmp_path, seed, count):
    """One exception; bounded memory and time; no import, process or socket; predictions live."""
    report = script(
        "checkpoint_mutants.py", tmp_path, seed, count, timeout=1800, OMP_NUM_THREADS="1"
    )
    print(report)
    assert report["wrong"] == [] and report["events"] == []
    assert report["count"] == count
    told = report["told"]
    assert told["refused"] > count / 2 and told["loaded"] > count / 10
    assert told["predicted"] > count / 10  # they reach the kernels


def test_the_mutants_are_what_they_should_be(tmp_path):
    """All kinds change something; the seed decides all."""
    base = checkpoint_mutants.bases(tmp_path)[2]
    one, two = (
        [checkpoint_mutants.mutant(random.Random(seed), base) for seed in range(200)]
        for _ in range(2)
    )
    assert [repr(h) for h, _ in one] == [repr(h) for h, _ in two]
    changed = [repr(h) != repr(base[0]) or a.keys() != base[1].keys() for h, a in one]
    assert sum(changed) > 150


# ------------------------------------------------------------------------------ many fits

GROWTH = """
import sys
import ctrain, growth, small
from ctrain.callbacks import Callback, Checkpoint

X, y = small.problem(100)
path = sys.argv[1] + "/fit.npz"
whole = small.small(early_stopping=True).fit(X, y)
whole.save(path)
data = bytearray(open(path, "rb").read())
data[len(data) // 2] ^= 1
open(path + ".damaged", "wb").write(data)

class Stop(Callback):
    def on_epoch_end(self, estimator):
        raise KeyboardInterrupt

class Fail(Callback):
    def on_epoch_end(self, estimator):
        raise RuntimeError

def failing():
    try:
        small.small().set_callbacks(Checkpoint(path + ".a"), Fail()).fit(X, y)
    except RuntimeError:
        return
    raise AssertionError

def interrupted():
    reg = small.small(early_stopping=True).set_callbacks(Checkpoint(path + ".b"), Stop())
    try:
        reg.fit(X, y)
    except KeyboardInterrupt:
        return reg.predict(X)
    raise AssertionError

def loading():
    ctrain.load(path).predict(X)

def resuming():
    small.small(early_stopping=True).fit(X, y, resume=path)

def damaged():
    for call in (ctrain.load, lambda path: whole.fit(X, y, resume=path)):
        try:
            call(path + ".damaged")
        except ctrain.CheckpointError:
            continue
        raise AssertionError

def saving():
    whole.save(path + ".c")

growth.report(failing, interrupted, loading, resuming, damaged, saving)
"""


def test_three_hundred_bad_fits_and_loads_grow_memory_by_less_than_a_megabyte(tmp_path):
    """In a folder that takes no time to sync, where there is one."""
    code = f"import sys; sys.path.insert(0, {str(HERE)!r})\n" + GROWTH
    quick = "/dev/shm" if os.path.isdir("/dev/shm") else tmp_path
    with tempfile.TemporaryDirectory(dir=quick) as folder:
        done = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    report = json.loads(done.stdout)
    assert len(report["grown"]) == 6
    assert {name: n for name, n in report["grown"].items() if n >= 1_000_000} == {}
    assert {name: what for name, what in report["left"].items() if what} == {}


# ---------------------------------------------------------------------------- many threads


def in_threads(n: int, work) -> list:
    """Answers and errors of `work` in `n` threads."""
    answers = []

    def run(k):
        try:
            answers.append(work(k))
        except BaseException as error:
            answers.append(error)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


@pytest.mark.parametrize("calls", [100, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("n_jobs", [1, 2])
def test_eight_threads_predict_while_another_fits(tmp_path, n_jobs, calls):
    """A loaded estimator's and a fitted one's predictions keep their bits."""
    x, y = small.problem(300)
    fitted = small.small(hidden_layer_sizes=(32, 16), n_jobs=n_jobs).fit(x, y)
    fitted.save(tmp_path / "a")
    expected = fitted.predict(x)
    loaded, stop, fits = ctrain.load(tmp_path / "a"), threading.Event(), []

    class Stop(Callback):
        def on_epoch_end(self, estimator):
            return stop.is_set()

    def fit():
        while not stop.is_set():
            reg = small.small(hidden_layer_sizes=(64, 64), max_iter=10**6, n_jobs=n_jobs)
            fits.append(reg.set_callbacks(Stop()).fit(x, y).t_)

    def predict(k):
        model, wrong = (fitted, loaded)[k % 2], 0
        for call in range(calls):
            rows = slice(0, 1 + (call * 37 + k) % 300)
            wrong += not small.same_bits(model.predict(x[rows]), expected[rows])
        return wrong

    other = threading.Thread(target=fit)
    other.start()
    try:
        assert in_threads(8, predict) == [0] * 8
    finally:
        stop.set()
        other.join()
    assert fits and fits[0] > 0


def test_eight_threads_predict_with_an_estimator_that_is_being_fitted():
    """Weights of the moment: of some step or between two; finite, of the right shape, no error."""
    x, y = small.problem(300)
    reg = small.small(hidden_layer_sizes=(32,)).fit(x, y)
    done = threading.Event()

    def predict(k):
        calls = 0
        while calls == 0 or not done.is_set():
            answer = reg.predict(x[: 1 + (calls * 37 + k) % 300])
            assert answer.shape == (1 + (calls * 37 + k) % 300,) and np.isfinite(answer).all()
            calls += 1
        return calls

    answers = []
    threads = threading.Thread(target=lambda: answers.extend(in_threads(8, predict)))
    threads.start()
    try:
        for k in range(20):
            reg.set_params(warm_start=k % 2 == 1, early_stopping=k % 3 == 0, max_iter=5)
            reg.fit(x, y)
    finally:
        done.set()
        threads.join()
    assert len(answers) == 8 and all(type(n) is int and n > 0 for n in answers), answers
    reg.set_params(warm_start=False)
    fresh = small.small(hidden_layer_sizes=(32,), max_iter=5, early_stopping=False)
    reg.set_params(early_stopping=False).fit(x, y)
    assert small.same_bits(reg.predict(x), fresh.fit(x, y).predict(x))
