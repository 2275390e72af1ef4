"""A fit in a process of its own, which may die or hang and is then resumed."""

from __future__ import annotations

import inspect
import logging
import mmap
import multiprocessing
import os
import pickle
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from . import optimizers, storage
from .callbacks import Callback, Checkpoint

__all__ = ["fit_with_retries"]

logger = logging.getLogger("ctrain")

#: seconds between two signs of life
PULSE = 0.5


def fit_with_retries(
    estimator,
    X,
    y=None,
    *,
    path,
    retries: int = 3,
    stall_seconds: float | None = None,
    every_seconds: float = 60.0,
    **fit_params,
):
    """Fit in a child process, and resume from its last checkpoint when the child dies or hangs.

    Parameters
    ----------
    estimator : Regressor, Classifier or Forecaster
        Picklable. Takes over the child's result.
    X, y : array-like, or path to a ``.npy`` file
        Files and contiguous memory maps are mapped in the child, not copied; other arrays of
        numbers are written to temporary files, everything else is pickled. For a forecaster `X`
        is what its ``fit`` takes, a frame, an array or the path of a CSV or Parquet file, which
        the child reads; `y` is None.
    path : str or path-like
        The checkpoint. If it exists, the first child resumes from it too. It is left there.
    retries : int, default=3
        How often a child may be replaced.
    stall_seconds : float or None, default=None
        Seconds without a step, from the first step on, after which a child counts as hanging and
        is killed; None waits for ever.
    every_seconds : float, default=60.0
        Seconds from one checkpoint to the next; each epoch's end makes one too, at most as often.
    **fit_params
        Further arguments of ``fit``; arrays and paths among them likewise.

    Returns
    -------
    estimator
        Fitted; the same bits as without any failure.

    Raises
    ------
    RuntimeError
        If the last child died or hung too; says how.
    ValueError
        With lbfgs, which cannot be resumed; with `y` for a forecaster.
    Exception
        An error that ``fit`` itself raises is not a failure of the process: it is raised here.

    Notes
    -----
    The child is spawned, so a script that calls this guards its entry with
    ``if __name__ == "__main__":``.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import make_regression
    >>> from ctrain import Regressor, fit_with_retries
    >>> X, y = make_regression(100, 4, random_state=0)
    >>> path = tempfile.mkdtemp() + "/fit.npz"
    >>> reg = fit_with_retries(Regressor(max_iter=5), X, y, path=path)
    >>> reg.predict(X).shape
    (100,)
    """
    if retries < 0:
        raise ValueError(f"retries must be at least 0; got {retries}")
    if stall_seconds is not None and not stall_seconds > 0:
        raise ValueError(f"stall_seconds must be above 0 or None; got {stall_seconds}")
    if optimizers.resolve(estimator.optimizer).kernel is None:
        raise ValueError("fit_with_retries needs a fit that can be resumed; optimizer is lbfgs")
    series = "df" in inspect.signature(estimator.fit).parameters
    if series and y is not None:
        raise ValueError(f"y must be None: {type(estimator).__name__} finds the target in its data")
    given = {"df": X} if series else {"X": X, "y": y}
    with tempfile.TemporaryDirectory(prefix="ctrain-") as folder:
        data = {
            name: _mapped(value, Path(folder) / f"{name}.npy", series)
            for name, value in {**given, **fit_params}.items()
        }
        for left in range(retries, -1, -1):
            outcome = _run(estimator, data, os.fspath(path), every_seconds, stall_seconds)
            if isinstance(outcome, str):
                logger.warning("fit_with_retries: the child %s; %d retries left", outcome, left)
                continue
            fitted, error = outcome
            if error is not None:
                raise error
            callbacks = estimator.__dict__.get("_skl_callbacks")
            estimator.__dict__ = vars(fitted)
            estimator.set_callbacks(*(callbacks or ()))
            return estimator
    raise RuntimeError(
        f"fit_with_retries: {retries + 1} children failed, the last one {outcome}; the checkpoint "
        f"{os.fspath(path)!r} holds what was reached"
    )


@dataclass
class _Map:
    """An array in a file, which the child maps; without a shape a ``.npy`` file."""

    path: str
    dtype: np.dtype | None = None
    shape: tuple[int, ...] | None = None
    offset: int = 0

    def open(self) -> np.ndarray:
        if self.shape is None:
            return np.load(self.path, mmap_mode="r")
        return np.memmap(self.path, self.dtype, "r", self.offset, self.shape)


def _mapped(value, spare: Path, series: bool = False):
    """A value as it travels to the child; paths of series are left to their reader."""
    if isinstance(value, (str, os.PathLike)):
        path = os.fspath(value)
        path = path if "://" in path else os.path.abspath(path)  # its folder may be another
        return path if series else _Map(path)
    if value is None or not hasattr(value, "__array__") or hasattr(value, "iloc"):
        return value  # lists, frames and sparse matrices are pickled
    if isinstance(value, np.memmap) and value.flags.c_contiguous and value.size:
        memory = getattr(value, "_mmap", None)
        if memory is not None and value.filename is not None and value.mode != "c":
            start = value.offset - value.offset % mmap.ALLOCATIONGRANULARITY
            begin = np.frombuffer(memory, np.uint8).ctypes.data
            offset = start + value.ctypes.data - begin
            return _Map(os.path.abspath(value.filename), value.dtype, value.shape, offset)
    array = np.asarray(value)
    if array.dtype.hasobject:
        return value
    np.save(spare, array)
    return _Map(str(spare))


def _run(estimator, data: dict, path: str, every_seconds: float, stall_seconds: float | None):
    """One child: what it answered, or how it failed."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    child = context.Process(
        target=_child, args=(theirs, estimator, data, path, every_seconds), daemon=True
    )
    child.start()
    theirs.close()
    heard = None  # when the last step was reported
    try:
        while True:
            if ours.poll(PULSE):
                try:
                    message = ours.recv()
                except EOFError:
                    child.join()
                    return f"died with exit code {child.exitcode}"
                if not isinstance(message, int):
                    child.join()
                    return message
                heard = time.monotonic()
            elif stall_seconds is not None and heard is not None:
                if time.monotonic() - heard > stall_seconds:
                    return f"made no step for {stall_seconds} seconds"
    finally:
        child.kill()
        child.join()
        ours.close()


class _Pulse(Callback):
    """Reports each new step to the parent, at most twice a second."""

    def __init__(self, pipe) -> None:
        self.pipe, self.step, self.next = pipe, -1, 0.0

    def due(self, estimator) -> float:
        return self.next

    def between_steps(self, estimator) -> None:
        self.next = time.perf_counter() + PULSE
        if estimator._state.step != self.step:
            self.step = estimator._state.step
            self.pipe.send(self.step)


def _child(pipe, estimator, data: dict, path: str, every_seconds: float) -> None:
    callbacks = getattr(estimator, "_skl_callbacks", [])
    checkpoint = Checkpoint(path, every_epochs=None, every_seconds=every_seconds)
    estimator.set_callbacks(*callbacks, checkpoint, _Pulse(pipe))
    try:
        arrays = {
            name: value.open() if isinstance(value, _Map) else value for name, value in data.items()
        }
        resume = path if storage.exists(path) else None
        answer = estimator.fit(**arrays, resume=resume), None
    except Exception as error:
        answer = None, _sendable(error)
    else:
        estimator.set_callbacks()
    pipe.send(answer)


def _sendable(error: Exception) -> Exception:
    """An error that can be raised in the parent, with the child's traceback as a note."""
    trace = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note(f"in the child process:\n{trace}")
    return error
