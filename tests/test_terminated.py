"""SIGTERM during a fit with a Checkpoint: a file, then what the signal has always meant."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest
import small

import ctrain
from ctrain import training
from ctrain.callbacks import Callback, Checkpoint

X, Y = small.problem()

TERMINATED = """
import signal, sys
import numpy as np
import ctrain
from ctrain import Regressor
from ctrain.callbacks import Callback, Checkpoint
from ctrain.optimizers import LBFGS

path, mode = sys.argv[1:]
rng = np.random.default_rng(0)
X = rng.normal(size=(4000, 64))
y = np.sin(X[:, 0])
X_val = rng.normal(size=(400_000 if mode == "validating" else 10, 64))
y_val = np.sin(X_val[:, 0])

def estimator(**parameters):
    if mode == "lbfgs":
        return Regressor((256, 256), optimizer=LBFGS(tol=0.0), early_stopping=False, **parameters)
    return Regressor((256, 256) if mode == "one step" else (32,), early_stopping=False, dropout=0.1,
                     batch_size=4000 if mode == "one step" else 16, **parameters)

class Ready(Callback):
    def on_fit_begin(self, estimator):
        print("ready", flush=True)

if mode == "handler":
    def mine(number, frame):
        print("handled", number, flush=True)
        sys.exit(7)
    signal.signal(signal.SIGTERM, mine)
if mode == "goes on":
    signal.signal(signal.SIGTERM, lambda *_: print("handled", flush=True))
    before = signal.getsignal(signal.SIGTERM)
if mode == "ignored":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    before = signal.SIG_IGN
steps = 100_000 if mode in ("goes on", "ignored") else None
every = {"every_epochs": 1} if mode == "saving" else {"every_epochs": 10**6}
reg = estimator(max_iter=10**6, max_steps=steps).set_callbacks(Checkpoint(path, **every), Ready())
reg.fit(X, y, X_val=X_val, y_val=y_val)
assert signal.getsignal(signal.SIGTERM) is before
print("end", reg.t_, flush=True)
"""


def terminated(tmp_path, mode: str, after: float) -> tuple[int, str, float]:
    """Exit code, output and seconds from the signal to the end of a fit that is told to end."""
    path = str(tmp_path / f"{mode}.npz")
    with subprocess.Popen(
        [sys.executable, "-c", TERMINATED, path, mode], stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdout.readline() == "ready\n"
            time.sleep(after)
            sent = time.monotonic()
            child.send_signal(signal.SIGTERM)
            out = child.stdout.read()
            code = child.wait(timeout=60)
            return code, out, time.monotonic() - sent
        finally:
            child.kill()


@pytest.mark.parametrize("mode", ["one step", "steps", "validating", "saving", "lbfgs"])
def test_sigterm_writes_a_checkpoint_and_ends_the_process(tmp_path, mode):
    code, out, seconds = terminated(tmp_path, mode, 0.4)
    assert (code, out) == (-signal.SIGTERM, "")
    reg = ctrain.load(tmp_path / f"{mode}.npz")
    assert reg.t_ > 0 or mode == "one step"
    assert sorted(os.listdir(tmp_path)) == [f"{mode}.npz", f"{mode}.npz.lock"]
    assert seconds < 5.0


def test_sigterm_and_the_users_own_handler(tmp_path):
    code, out, _ = terminated(tmp_path, "handler", 0.3)
    assert (code, out) == (7, "handled 15\n")
    reg = ctrain.load(tmp_path / "handler.npz")
    assert reg.t_ > 0 and os.listdir(tmp_path) == ["handler.npz"]


@pytest.mark.parametrize("mode", ["goes on", "ignored"])
def test_a_process_that_survives_sigterm_fits_on(tmp_path, mode):
    code, out, _ = terminated(tmp_path, mode, 0.2)
    assert code == 0
    assert out == {"goes on": "handled\nend 100000\n", "ignored": "end 100000\n"}[mode]
    reg = ctrain.load(tmp_path / f"{mode}.npz")
    assert 0 <= reg.t_ < 100_000


def test_the_handler_is_there_only_during_the_fit_and_in_the_main_thread(tmp_path):
    seen = []

    class Watch(Callback):
        def on_epoch_end(self, estimator):
            seen.append(signal.getsignal(signal.SIGTERM))
            return True

    def fit(*callbacks):
        small.small().set_callbacks(*callbacks, Watch()).fit(X, Y)

    before = signal.getsignal(signal.SIGTERM)
    fit()
    fit(Checkpoint(tmp_path / "a"))
    assert seen[0] is before and seen[1] is not before
    assert signal.getsignal(signal.SIGTERM) is before
    thread = threading.Thread(target=fit, args=(Checkpoint(tmp_path / "b"),))
    thread.start()
    thread.join()
    assert seen[2] is before and (tmp_path / "b").exists()
    with pytest.raises(ValueError, match="not finite"):
        small.small(optimizer="sgd", learning_rate_init=1e300).set_callbacks(
            Checkpoint(tmp_path / "c")
        ).fit(X, Y)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("moment", ["first", "second"])
def test_a_signal_between_two_questions_is_not_lost(tmp_path, monkeypatch, moment):
    """SIGTERM just before the core begins an epoch of an hour: noted, not raised."""

    class Told(Exception):
        pass

    def tell(*_):
        raise Told

    previous = signal.signal(signal.SIGTERM, tell)
    real, sent = training._Steps._learning_rates, []

    def interrupting(self, n, total):
        rates = real(self, n, total)
        if not sent and (moment == "first" or self.state.epoch == 1):
            sent.append(n)
            os.kill(os.getpid(), signal.SIGTERM)
        return rates

    monkeypatch.setattr(training._Steps, "_learning_rates", interrupting)
    try:
        reg = small.small().set_callbacks(Checkpoint(tmp_path / "a"))
        with pytest.raises(Told):
            reg.fit(X, Y)
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert sent == [4]
    assert ctrain.load(tmp_path / "a").t_ == (0 if moment == "first" else 4)
