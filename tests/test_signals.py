"""Signals, forks and the processor's state: a fit is a good citizen of its process."""

from __future__ import annotations

import ctypes
import platform
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest
from small import problem, small

# ------------------------------------------------------------------------------- Ctrl-C

LONG = """
import signal, sys, time
import numpy as np
from ctrain import Regressor

signal.signal(signal.SIGINT, signal.default_int_handler)  # a background shell ignores it
rng = np.random.default_rng(0)
X = rng.normal(size=(65536, 256)).astype("f4")
y = np.sin(X[:, 0])

def estimator(rows, **parameters):
    return Regressor((512, 512), batch_size=rows, random_state=0, **parameters)

# a single step of 400 ms on this machine
rows = 512
estimator(rows, max_steps=1).fit(X[:rows], y[:rows])
started = time.perf_counter()
estimator(rows, max_steps=1).fit(X[:rows], y[:rows])
step = time.perf_counter() - started
rows = min(len(X), int(rows * 0.4 / step))
handlers = {s: signal.getsignal(s) for s in signal.valid_signals()}

def evaluate(reg):
    reg.predict(X)

def fit(reg):
    reg.fit(X[:rows], y[:rows])

def validate(reg):
    reg.set_params(max_iter=10_000, batch_size=64).fit(X[:64], y[:64], X_val=X, y_val=y)

def lbfgs(reg):
    reg.set_params(optimizer="lbfgs", max_iter=10_000).fit(X[:rows], y[:rows])

for call in (fit, fit, fit, validate, lbfgs):
    reg = estimator(rows, max_iter=10_000)
    print("ready", flush=True)
    try:
        call(reg)
    except KeyboardInterrupt:
        caught = time.monotonic()
    print(caught, flush=True)
    assert {s: signal.getsignal(s) for s in signal.valid_signals()} == handlers
    assert all(np.isfinite(w).all() for w in reg.coefs_)
    answer = reg.predict(X[:3])
    again = estimator(64, max_steps=2).fit(X[:64], y[:64]).predict(X[:3])
    reg.set_params(optimizer="adamw", batch_size=64, max_steps=2).fit(X[:64], y[:64])
    assert np.array_equal(reg.predict(X[:3]), again)
print("step", step * rows / 512, flush=True)
"""


def test_ctrl_c_returns_within_100_ms():
    """From the kill in this process to the exception in the other, by the system's one clock."""
    latencies = []
    with subprocess.Popen([sys.executable, "-c", LONG], stdout=subprocess.PIPE, text=True) as child:
        try:
            for k in range(5):
                assert child.stdout.readline() == "ready\n"
                time.sleep(0.5 + 0.07 * k)
                sent = time.monotonic()
                child.send_signal(signal.SIGINT)
                latencies.append(float(child.stdout.readline()) - sent)
            step = float(child.stdout.readline().split()[1])
            assert child.wait(timeout=60) == 0
        finally:
            child.kill()
    assert step > 0.3
    assert max(latencies) < 0.1, latencies


def test_a_handler_runs_in_time_and_its_exception_ends_the_fit():
    class Stop(Exception):
        pass

    rang = []

    def ring(*_):
        rang.append(time.monotonic())
        if len(rang) == 3:
            raise Stop

    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_000, 64)).astype(np.float32)
    reg = small(hidden_layer_sizes=(256, 256), batch_size=len(X), max_iter=10_000)
    previous = signal.signal(signal.SIGALRM, ring)
    try:
        started = time.monotonic()
        signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
        with pytest.raises(Stop):
            reg.fit(X, X[:, 0])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)
    late = [at - started - 0.2 * (k + 1) for k, at in enumerate(rang)]
    assert len(rang) == 3 and max(late) < 0.1, late
    assert np.isfinite(reg.predict(X[:5])).all()
    # the exception may come between the last step and the line that counts its epoch
    assert len(reg.loss_curve_) == reg.n_iter_ and reg.t_ - reg.n_iter_ in (0, 1)


def test_ctrl_c_with_early_stopping_leaves_the_best_weights():
    def ring(*_):
        raise KeyboardInterrupt

    def score(reg, X, y):
        """The third epoch is the best; the signal comes some time after the fifth."""
        epoch = len(reg.history_["epoch"]) + 1
        if epoch == 5:
            signal.setitimer(signal.ITIMER_REAL, 0.05)
        return -abs(epoch - 3)

    X, y = problem(200)
    reg = small(
        early_stopping=True, n_iter_no_change=np.inf, monitor=score, max_iter=10**7,
        hidden_layer_sizes=(64, 64),
    )  # fmt: skip
    previous = signal.signal(signal.SIGALRM, ring)
    try:
        with pytest.raises(KeyboardInterrupt):
            reg.fit(X, y, X_val=X[:20], y_val=y[:20])
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)
    assert (reg.best_epoch_, reg.stopped_by_) == (3, None) and reg.n_iter_ >= 5
    whole = small(hidden_layer_sizes=(64, 64), max_iter=3).fit(X, y)
    assert reg.predict(X).tobytes() == whole.predict(X).tobytes()


def test_signal_handlers_stay():
    handlers = {s: signal.getsignal(s) for s in signal.valid_signals()}
    X, y = problem(200)
    small().fit(X, y).predict(X)
    with pytest.raises(ValueError, match="not finite"):
        small(optimizer="sgd", learning_rate_init=1e300, max_iter=50).fit(X, y)
    assert {s: signal.getsignal(s) for s in signal.valid_signals()} == handlers


def test_a_fit_in_another_thread_gives_the_same_bits():
    X, y = problem(200)
    expected = small().fit(X, y).predict(X).tobytes()
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(small().fit(X, y).predict(X).tobytes()))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected] * 4


# --------------------------------------------------------------------------------- forks

FORKS = """
import os, signal, sys
import numpy as np
from ctrain import Regressor

rng = np.random.default_rng(0)
X = rng.normal(size=(2000, 64))
y = np.sin(X[:, 0])

def fit(n_jobs=2):
    reg = Regressor((128, 64), max_iter=2, batch_size=500, random_state=0, n_jobs=n_jobs)
    return reg.fit(X, y)

reg = fit()  # starts the threads that a fork loses
expected = reg.predict(X)
"""

CHILD = """
for trial in range(5):
    child = os.fork()
    if child == 0:
        signal.alarm(20)
        same = np.array_equal(reg.predict(X), expected) and np.array_equal(
            fit().predict(X), expected
        )
        os._exit(0 if same else 1)
    _, status = os.waitpid(child, 0)
    assert status == 0, status
assert np.array_equal(fit().predict(X), expected)
print("done")
"""

POOL = """
import multiprocessing

def work(seed):
    return Regressor((16,), max_iter=2, random_state=seed).fit(X, y).predict(X[:1])

if __name__ == "__main__":
    with multiprocessing.get_context("fork").Pool(2) as pool:
        answers = pool.map(work, range(4))
    assert np.array_equal(np.array(answers), np.array([work(seed) for seed in range(4)]))
    print("done")
"""


@pytest.mark.parametrize("script", [CHILD, POOL], ids=["child", "pool"])
def test_a_forked_process_can_fit(script):
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKS + textwrap.dedent(script)],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


# ----------------------------------------------------------------------- the processor


def control_words() -> bytes:
    """Rounding, flushing and trap bits of the floating-point unit, without the sticky flags."""
    environment = (ctypes.c_uint8 * 64)()
    ctypes.CDLL(None).fegetenv(environment)
    words = bytes(environment)
    if platform.machine() in ("x86_64", "AMD64"):  # x87 control word; MXCSR at byte 28
        mxcsr = int.from_bytes(words[28:32], "little")
        return words[:2] + (mxcsr & ~0x3F).to_bytes(4, "little")
    return words[:4]  # arm64: FPCR


def test_floating_point_state_stays():
    X, y = problem(200)
    tiny = X * 1e-310
    before = control_words()
    found = []

    def work():
        small(dtype="float32").fit(X, y).predict(X)
        small(optimizer="lbfgs").fit(tiny, y).predict(tiny)
        with pytest.raises(ValueError, match="not finite"):
            small(optimizer="sgd", learning_rate_init=1e300, max_iter=50).fit(X, y)
        found.append(control_words())

    work()
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [before, before]
    assert np.float32(1e-45) * np.float32(1.0) > 0.0  # nothing flushes subnormal numbers
    assert np.array([5e-324])[0] / 1.0 > 0.0


def test_import_changes_no_state():
    code = textwrap.dedent(
        """
        import ctypes, signal, sys
        import numpy, sklearn.base
        def state():
            words = (ctypes.c_uint8 * 64)()
            ctypes.CDLL(None).fegetenv(words)
            return bytes(words)[:2], bytes(words)[29:32], [
                signal.getsignal(s) for s in signal.valid_signals()
            ]
        before = state()
        import ctrain
        assert state() == before
        """
    )
    subprocess.run([sys.executable, "-c", code], check=True)
