"""Ctrl-C: none is lost, wherever it comes, and none has to wait.

Each campaign is small here and has its full count behind the marker ``slow``.
"""

from __future__ import annotations

import inspect
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from small import problem, same_bits, small

from ctrain import storage
from ctrain.callbacks import Checkpoint, OnEpochEnd

X, Y = problem()


# --------------------------------------------------------------------- at any moment, in time

INTERRUPTED = """
import signal, sys, time
import numpy as np
import ctrain
from ctrain import Regressor
from ctrain.callbacks import Checkpoint

path = sys.argv[1]
number, trials, one_in = map(int, sys.argv[2:])
signal.signal(number, signal.default_int_handler)  # for SIGTERM it is the user's own
rng = np.random.default_rng(0)
X = rng.normal(size=(30_000, 32)).astype("f4")
y = np.sin(X[:, 0])

small = dict(hidden_layer_sizes=(16,), batch_size=32)
large = dict(hidden_layer_sizes=(4096, 4096), batch_size=64)
kinds = (
    small,
    dict(hidden_layer_sizes=(512, 512), batch_size=10_000),
    dict(small, early_stopping=True, n_iter_no_change=10**9, dropout=0.2),
    dict(hidden_layer_sizes=(64,), batch_size=32, max_steps=10**9, schedule=lambda step: 1e-4),
    dict(small, optimizer="lbfgs", hidden_layer_sizes=(64, 64)),
    dict(small, checkpoint=True),
)
handlers = {s: signal.getsignal(s) for s in signal.valid_signals()}
for trial in range(trials):
    settings = dict(kinds[trial % len(kinds)])
    if trial % one_in == one_in - 1:
        settings = dict(large, checkpoint=trial // one_in % 2 == 1)
    saves = settings.pop("checkpoint", False) or number == signal.SIGTERM
    reg = Regressor(max_iter=10**9, random_state=0, **{"early_stopping": False, **settings})
    if saves:
        every = {"every_epochs": 10**9} if number == signal.SIGTERM else {"every_seconds": 0.01}
        reg.set_callbacks(Checkpoint(path, **every))
    try:
        print("ready", flush=True)
        reg.fit(X, y)
    except KeyboardInterrupt:
        caught = time.monotonic()
    fitted = hasattr(reg, "_network")
    where = f"step {reg.t_}" if fitted else "set-up"
    print(caught, settings["hidden_layer_sizes"], saves, where, flush=True)
    assert {s: signal.getsignal(s) for s in signal.valid_signals()} == handlers
    if fitted:
        assert all(np.isfinite(w).all() for w in reg.coefs_)
        assert reg._state.stopped_by is None
        best = reg._state.best_weights
        assert best is None or best.tobytes() == reg._network.parameters.arena.tobytes()
        reg.predict(X[:3])
        if number == signal.SIGTERM:
            assert ctrain.load(path).t_ == reg.t_
    again = dict(settings, early_stopping=False, max_iter=1, max_steps=3, random_state=0)
    if settings["hidden_layer_sizes"][0] < 1000:
        reg.set_callbacks().set_params(**again).fit(X[:64], y[:64])
        fresh = Regressor(**again).fit(X[:64], y[:64])
        assert np.array_equal(reg.predict(X[:3]), fresh.predict(X[:3]))
"""


def latencies(tmp_path, number: int, trials: int, one_in: int) -> list[tuple[float, str]]:
    """Seconds from the signal here to the exception in another process, and in which fit.

    One in so many fits is a large one.
    """
    rng, found = random.Random(trials), []
    arguments = [tmp_path / "fit.npz", int(number), trials, one_in]
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    ) as child:  # fmt: skip
        watchdog = threading.Timer(60 + trials, child.kill)
        watchdog.start()
        try:
            for _ in range(trials):
                assert child.stdout.readline() == "ready\n"
                time.sleep(rng.uniform(0, 0.4))
                sent = time.monotonic()
                child.send_signal(number)
                answer = child.stdout.readline()
                assert answer, f"the fit went on, or died; {found[-3:]} were the last ones to end"
                caught, *which = answer.split(maxsplit=1)
                found.append((float(caught) - sent, *which))
            assert child.wait(timeout=60) == 0
        finally:
            watchdog.cancel()
            child.kill()
    return sorted(found)


@pytest.mark.parametrize(
    "trials, one_in",
    [(18, 18), *(pytest.param(200, one_in, marks=pytest.mark.slow) for one_in in (20, 1))],
)
def test_ctrl_c_at_any_moment_returns_within_100_ms(tmp_path, trials, one_in):
    """Weights are finite, the best ones with early stopping; a new fit is as ever."""
    found = latencies(tmp_path, signal.SIGINT, trials, one_in)
    print(f"median {found[trials // 2][0]:.4f}, worst {found[-6:]}")
    assert found[int(0.99 * (trials - 1))][0] < 0.1


@pytest.mark.parametrize("trials", [12, pytest.param(200, marks=pytest.mark.slow)])
def test_sigterm_at_any_moment_ends_with_a_checkpoint(tmp_path, trials):
    """The user's own handler gets it after the file; large networks take as long as their file."""
    found = latencies(tmp_path, signal.SIGTERM, trials, 20)
    small_ones = [seconds for seconds, which in found if "4096" not in which]
    print(f"median {found[trials // 2][0]:.4f}, worst {found[-14:]}")
    assert small_ones[int(0.99 * (len(small_ones) - 1))] < 0.1


@pytest.mark.parametrize("stuck", ["file", "folder"])
def test_ctrl_c_does_not_wait_for_a_slow_disk(tmp_path, monkeypatch, stuck):
    """Its first fsync tells; one that takes a minute then goes on behind the exception."""
    begun, over, mains = threading.Event(), threading.Event(), []

    class Disk:
        def __getattr__(self, name):
            return getattr(os, name)

        def fsync(self, descriptor):
            mains.append(threading.get_ident() == threading.main_thread().ident)
            time.sleep(storage.SLOW)
            folder = Path(f"/proc/self/fd/{descriptor}").readlink().is_dir()
            if folder == (stuck == "folder") and len(mains) > 2:
                begun.set()
                over.wait(60)

    def interrupt():
        begun.wait(60)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(storage, "os", Disk())
    monkeypatch.setattr(storage, "_took", 0.0)
    # a background shell has it ignored
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    killer = threading.Thread(target=interrupt)
    killer.start()
    started = time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            small().set_callbacks(Checkpoint(tmp_path / "{step}")).fit(X, Y)
        assert time.monotonic() - started < 30
        # Python's waiting ends at a signal wherever it is; that of a true fsync does not
        assert mains[0] and not any(mains[1:])
        assert sorted(os.listdir(tmp_path)) == (["4"] if stuck == "file" else ["4", "8"])
    finally:
        over.set()
        killer.join()
        signal.signal(signal.SIGINT, handler)


# ------------------------------------------------------------------- wherever Python handles it

Visit = Callable[[tuple], None]

FITS = {
    "steps": {},
    "validation": {"early_stopping": True, "dropout": 0.2, "schedule": lambda step: 1e-3},
    "lbfgs": {"optimizer": "lbfgs"},
    "checkpoint": {"max_iter": 1},
    "resume": {},
}


def watched(work: Callable[[], object], visit: Visit) -> None:
    """Do `work` and call `visit` wherever CPython looks for signals, but for the ends of loops.

    That is where a function begins and where one in C has returned. `visit` is told which place of
    the code it is: a file, a line and, of the function in C, its name.
    """

    def profile(frame, event, argument):
        code = frame.f_code
        if event == "c_return":
            visit((code.co_filename, frame.f_lineno, argument.__qualname__))
        elif event == "call" and not code.co_flags & inspect.CO_GENERATOR:  # it may be one's end
            visit((code.co_filename, frame.f_lineno, None))

    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(None)


def visits(work: Callable[[], object], everywhere: bool) -> list[tuple]:
    """Each place and which visit to it, the first and the last one.

    Without `everywhere` the first ones to where a function begins: as finalizers and callbacks do.
    """
    counts = Counter()

    def visit(place):
        counts[place] += 1

    watched(work, visit)
    if everywhere:
        return [(place, k) for place, n in counts.items() for k in {1, n}]
    return [(place, 1) for place in counts if place[2] is None]


def interrupted(work: Callable[[], object], where: tuple, which: int) -> str:
    """What comes of a KeyboardInterrupt that is raised when `work` visits a place."""
    n = 0

    def visit(place):
        nonlocal n
        n += place == where
        if n == which and place == where:
            raise KeyboardInterrupt

    try:
        watched(work, visit)
    except BaseException as error:
        return type(error).__name__
    return "lost" if n >= which else "not there"


@pytest.mark.parametrize("everywhere", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", FITS)
def test_ctrl_c_is_lost_nowhere(tmp_path, monkeypatch, kind, everywhere):
    """Some code drops exceptions: finalizers, callbacks of weak references and of C libraries.

    A Ctrl-C that Python handles there is gone, and the fit goes on. Here it comes once at each
    place that a fit visits; the same estimator must then fit as if nothing had been.
    """
    path, earlier = tmp_path / "fit.npz", tmp_path / "earlier.npz"
    handlers = {s: signal.getsignal(s) for s in signal.valid_signals()}
    dropped, wrong = [], []
    monkeypatch.setattr(sys, "unraisablehook", lambda report: dropped.append(report.object))
    small().set_callbacks(OnEpochEnd(lambda reg: True)).fit(X, Y).save(earlier)

    def estimator():
        reg = small(**FITS[kind])
        return reg.set_callbacks(Checkpoint(path)) if kind == "checkpoint" else reg

    def fit(reg):
        return reg.fit(X, Y, resume=earlier if kind == "resume" else None)

    expected = fit(estimator()).predict(X)  # from now on nothing is done for the first time
    reg, told = estimator(), Counter()
    plan = visits(lambda: fit(reg), everywhere)
    for where, which in plan:
        reg = estimator()
        outcome = interrupted(lambda reg=reg: fit(reg), where, which)
        told[outcome] += 1
        if outcome not in ("KeyboardInterrupt", "not there"):
            wrong.append((where, outcome, dropped[-1:]))
        try:
            if not same_bits(fit(reg).predict(X), expected):
                wrong.append((where, "other bits"))
        except Exception as error:
            wrong.append((where, error))
        if {s: signal.getsignal(s) for s in signal.valid_signals()} != handlers:
            wrong.append((where, "a handler stays"))
        if set(os.listdir(tmp_path)) - {path.name, earlier.name}:
            wrong.append((where, os.listdir(tmp_path)))
    print(told)
    assert wrong == []
    assert told["KeyboardInterrupt"] > max(100, 0.95 * len(plan))
