"""A fit in a child process that dies, hangs or fails."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import time

import classes
import numpy as np
import polars
import pytest
import resumption
import small
from resumption import differences, fingerprint
from sklearn.base import clone

import ctrain
from ctrain import Forecaster, fit_with_retries, retries
from ctrain.callbacks import Callback, Checkpoint
from ctrain.data import load_air_passengers

X, Y = small.problem()


class Deaths(Callback):
    """Does something to its process in some epochs, once each."""

    def __init__(self, folder, epochs, what):
        self.folder, self.epochs, self.what = folder, epochs, what

    def on_epoch_end(self, estimator):
        epoch = estimator._state.epoch
        mark = self.folder / str(epoch)
        if epoch in self.epochs and not mark.exists():
            mark.touch()
            if self.what == "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            elif self.what == "hangs":
                time.sleep(600)
            elif self.what == "is told to end":
                os.kill(os.getpid(), signal.SIGTERM)
            else:
                os._exit(3)


@pytest.mark.parametrize(
    "what",
    [
        "dies",
        "hangs",
        pytest.param("exits", marks=pytest.mark.slow),
        pytest.param("is told to end", marks=pytest.mark.slow),
    ],
)
def test_a_child_is_replaced_and_the_bits_are_those_of_one(tmp_path, caplog, what):
    whole = small.small(dropout=0.2, max_iter=6).fit(X, Y)
    reg = small.small(dropout=0.2, max_iter=6).set_callbacks(Deaths(tmp_path, {3}, what))
    callbacks = list(reg._skl_callbacks)
    stall = 1.0 if what == "hangs" else None
    path = tmp_path / "fit.npz"
    answer = fit_with_retries(
        reg, X, Y, path=path, every_seconds=1e-9, retries=2, stall_seconds=stall
    )
    assert answer is reg and reg._skl_callbacks == callbacks
    assert differences(fingerprint(whole, X), fingerprint(reg, X)) == []
    told = {
        "dies": "died with exit code -9",
        "hangs": "made no step for 1.0 seconds",
        "exits": "died with exit code 3",
        "is told to end": "died with exit code -15",
    }
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [f"fit_with_retries: the child {told[what]}; 2 retries left"]
    assert ctrain.load(path).n_iter_ == 6


def test_the_last_failure_is_told(tmp_path, caplog):
    reg = small.small().set_callbacks(Deaths(tmp_path, {1, 2}, "dies"))
    path = tmp_path / "fit.npz"
    with pytest.raises(RuntimeError, match="2 children failed, the last one died with exit code"):
        fit_with_retries(reg, X, Y, path=path, every_seconds=1e-9, retries=1)
    assert not hasattr(reg, "history_") and path.exists()
    assert ctrain.load(path).n_iter_ == 1 and len(caplog.records) == 2
    # the next call goes on where that one ended
    fit_with_retries(reg, X, Y, path=path, every_seconds=1e-9, retries=0)
    assert small.same_bits(reg.predict(X), small.small().fit(X, Y).predict(X))


class Odd(Exception):
    """Cannot be unpickled."""

    def __init__(self, one, two):
        super().__init__(one)


def test_an_error_of_the_fit_is_raised_and_not_retried(tmp_path, caplog):
    with pytest.raises(ValueError, match="alpha") as caught:
        fit_with_retries(small.small(alpha=-1.0), X, Y, path=tmp_path / "a")
    assert "in the child process:\nTraceback" in caught.value.__notes__[0]
    assert caplog.records == []


def test_an_error_that_cannot_travel_is_told():
    with pytest.raises(TypeError):
        pickle.loads(pickle.dumps(Odd("a", "b")))
    answer = pickle.loads(pickle.dumps(retries._sendable(Odd("a", "b"))))
    assert repr(answer) == "RuntimeError('Odd: a')" and "Odd: a" in answer.__notes__[0]


def test_data_by_path_and_memory_map(tmp_path, monkeypatch):
    """What is in a file already is not written again."""
    np.save(tmp_path / "X.npy", X)
    raw = np.memmap(tmp_path / "raw", np.float64, "w+", offset=40, shape=(70,))
    raw[10:] = Y
    x = np.load(tmp_path / "X.npy", mmap_mode="r")
    whole = small.small().fit(X, Y, X_val=X, y_val=Y)
    monkeypatch.setattr(retries.np, "save", None)
    reg = fit_with_retries(small.small(), tmp_path / "X.npy", raw[10:], path=tmp_path / "fit",
                           X_val=x, y_val=Y.tolist())  # fmt: skip
    assert differences(fingerprint(whole, X), fingerprint(reg, X)) == []


def test_how_arrays_travel(tmp_path):
    spare = tmp_path / "spare.npy"
    mapped = np.memmap(tmp_path / "raw", np.float32, "w+", offset=8, shape=(50, 4))
    mapped[:] = np.arange(200).reshape(50, 4)
    copied = np.memmap(tmp_path / "raw", np.float32, "c", offset=8, shape=(50, 4))
    copied[3] = -1.0
    given = [X, mapped, mapped[7:], mapped[:, 1:], mapped[::2], copied, mapped[20], Y > 0,
             np.array(["a", "b"]), np.asfortranarray(mapped), mapped[3:3]]  # fmt: skip
    for value in given:
        answer = pickle.loads(pickle.dumps(retries._mapped(value, spare)))
        assert np.array_equal(answer.open(), value), value
    for value in (np.array(["a", "b"], object), [1, 2], None):
        assert retries._mapped(value, spare) is value


@pytest.mark.parametrize(
    "form",
    [
        "path",
        pytest.param("frame", marks=pytest.mark.slow),
        pytest.param("array", marks=pytest.mark.slow),
    ],
)
def test_a_forecaster(tmp_path, monkeypatch, form):
    """Series as a frame, by the path of a file and as an array; the child dies once."""
    data = load_air_passengers()
    if form == "path":
        polars.DataFrame(data).write_csv(tmp_path / "air.csv")
        monkeypatch.chdir(tmp_path)
    given = {"frame": data, "path": "air.csv", "array": data["y"]}[form]
    new = Forecaster("nlinear", horizon=12, input_size=24, max_iter=4, random_state=0)
    whole = clone(new).fit(given, val_size=12)
    new.set_callbacks(Deaths(tmp_path, {2}, "dies"))
    fitted = fit_with_retries(
        new, given, path=tmp_path / "fit.npz", every_seconds=1e-9, retries=1, val_size=12
    )
    assert fitted is new and (tmp_path / "2").exists()
    one, other = fitted.predict(), whole.predict()
    if form != "array":
        one, other = (answer["NLinear"] for answer in (one, other))
    assert np.array_equal(one, other) and fitted.loss_curve_ == whole.loss_curve_
    assert ctrain.load(tmp_path / "fit.npz").n_iter_ == 4


def test_labels_of_any_kind_weights_and_validation_rows(tmp_path):
    features, index = classes.problem()
    weight = np.random.default_rng(0).uniform(0, 2, len(index))
    y = np.array(["a", "bb", "ccc"], object)[index]
    more = {"sample_weight": weight, "X_val": features[:9], "y_val": y[:9].astype(str)}
    whole = classes.quick().fit(features, y, **more)
    again = fit_with_retries(classes.quick(), features, y, path=tmp_path / "a", **more)
    assert again.predict(features).tolist() == whole.predict(features).tolist()
    assert again.classes_.dtype == whole.classes_.dtype


@pytest.mark.slow
def test_a_file_that_is_there_is_resumed_and_another_fit_s_refused(tmp_path):
    small.small().set_callbacks(resumption.Saves(tmp_path, {5})).fit(X, Y)
    reg = fit_with_retries(small.small(), X, Y, path=tmp_path / "5.npz")
    assert small.same_bits(reg.predict(X), small.small().fit(X, Y).predict(X))
    with pytest.raises(ValueError, match=r"resume: .* alpha was 0\.0, is 1\.0"):
        fit_with_retries(small.small(alpha=1.0), X, Y, path=tmp_path / "5.npz")


def test_refused(tmp_path):
    path = tmp_path / "a"
    with pytest.raises(ValueError, match="retries must be at least 0; got -1"):
        fit_with_retries(small.small(), X, Y, path=path, retries=-1)
    with pytest.raises(ValueError, match="stall_seconds must be above 0 or None; got 0"):
        fit_with_retries(small.small(), X, Y, path=path, stall_seconds=0)
    forecaster = Forecaster("nlinear", horizon=2, input_size=4)
    with pytest.raises(ValueError, match="y must be None: Forecaster finds the target in its data"):
        fit_with_retries(forecaster, np.arange(50.0), np.arange(50.0), path=path)
    with pytest.raises(ValueError, match="needs a fit that can be resumed; optimizer is lbfgs"):
        fit_with_retries(small.small(optimizer="lbfgs"), X, Y, path=path)


@pytest.mark.slow
def test_files_that_are_not_there(tmp_path):
    with pytest.raises(OSError, match="cannot save into"):
        fit_with_retries(small.small(), X, Y, path=tmp_path / "none" / "a")
    with pytest.raises(FileNotFoundError):
        fit_with_retries(small.small(), tmp_path / "X.npy", Y, path=tmp_path / "a", retries=0)


def test_whatever_ends_the_waiting_ends_the_child(tmp_path):
    """Ctrl-C while the child trains on and on."""
    alive = []

    def interrupt(*_):
        alive.extend(multiprocessing.active_children())
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 2.0)
        with pytest.raises(KeyboardInterrupt):
            fit_with_retries(small.small(max_iter=10**9), X, Y, path=tmp_path / "a")
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert len(alive) == 1 and alive[0].exitcode == -signal.SIGKILL
    small.small().set_callbacks(Checkpoint(tmp_path / "a")).fit(X, Y)  # its lock went with it
