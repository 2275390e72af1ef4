"""The callback that writes checkpoints while a fit runs, also when the process is told to end."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import math
import os
import signal
import string
import threading
import time
from dataclasses import dataclass, field

from .. import checkpoint, storage
from ..state import Pause
from ..validation import check_bool, check_float, check_int
from .protocol import Callback

#: what a path may hold in braces
FIELDS = {"step", "task"}


class _Lock:
    """Keeps a second fit from writing to a path; the system drops it with the process.

    The file object drops it too, if an interrupt comes between the lock and who would release it.
    """

    def __init__(self, path: str) -> None:
        self.file = None
        if "://" in path:
            return
        name = f"{os.path.abspath(path)}.lock"
        while True:
            file = open(name, "ab", buffering=0)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                file.close()
                raise OSError(
                    errno.EBUSY,
                    "another fit writes its checkpoints there; give each its own path",
                    path,
                ) from error
            if os.fstat(file.fileno()).st_nlink:  # else its owner removed it before it was locked
                break
            file.close()
        self.file = file

    def release(self) -> None:
        file, self.file = self.file, None
        if file is not None:
            with contextlib.suppress(FileNotFoundError):
                os.remove(file.name)
            file.close()


@dataclass(eq=False, repr=False)  # `signal` hashes and spells handlers; ours would spell the fit
class _Run:
    """One fit: where its files go and what has been written."""

    state: object
    task: str
    lock: _Lock
    written: list[str] = field(default_factory=list)
    last: float = 0.0
    terminated: bool = False
    previous: object = None

    def terminate(self, number, frame) -> None:
        """The handler of SIGTERM."""
        self.terminated = True
        if self.state.stepping:
            self.state.stepping = False
            raise Pause


class Checkpoint(Callback):
    """Save the whole state of a fit as it goes, so that ``fit(..., resume=path)`` continues it.

    A file replaces the last one only once it is complete and on the disk. The result of a resumed
    fit is, bit by bit, that of one that was not interrupted.

    Parameters
    ----------
    path : str or path-like
        A file or a URL. ``{step}`` stands for the number of optimizer steps, ``{task}`` for the
        place of the fit in a search that encloses it; with ``keep_last`` above 1 it must contain
        the first, inside a search the second.
    every_epochs : int or None, default=1
        Epochs from one checkpoint to the next.
    every_seconds : float or None, default=None
        Seconds from one checkpoint to the next, also in the middle of an epoch.
    keep_last : int, default=1
        Files to keep.
    best : bool, default=False
        Whether to write only epochs that are the best so far; needs early stopping.
    compress : bool, default=False
        Whether to deflate the arrays.

    Raises
    ------
    ValueError
        If a parameter is out of its range, before the first epoch.
    OSError
        If the folder cannot be written or another fit writes to this path, before the first epoch.

    Notes
    -----
    While a fit with a checkpoint runs in the main thread, SIGTERM makes it abandon the step that is
    under way, write a checkpoint, and pass the signal on to whoever would have had it.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.datasets import make_regression
    >>> from ctrain import Regressor
    >>> from ctrain.callbacks import Checkpoint
    >>> X, y = make_regression(100, 4, random_state=0)
    >>> path = tempfile.mkdtemp() + "/fit.npz"
    >>> reg = Regressor(max_iter=20, random_state=0).set_callbacks(Checkpoint(path))
    >>> expected = reg.fit(X, y).predict(X)
    >>> again = Regressor(max_iter=20, random_state=0).fit(X, y, resume=path)
    >>> bool((again.predict(X) == expected).all())
    True
    """

    def __init__(
        self, path, every_epochs=1, every_seconds=None, keep_last=1, best=False, compress=False
    ):
        self.path = path
        self.every_epochs = every_epochs
        self.every_seconds = every_seconds
        self.keep_last = keep_last
        self.best = best
        self.compress = compress
        self._runs: dict[int, _Run] = {}  # by estimator

    def __getstate__(self) -> dict:
        return {**vars(self), "_runs": {}}

    def __repr__(self) -> str:
        return f"Checkpoint({os.fspath(self.path)!r})"

    # ------------------------------------------------------------------- the fit

    def setup(self, estimator, context) -> None:
        enclosed = context.parent is not None
        self._check(estimator, enclosed)
        self.teardown(estimator, context)  # of a fit before, if an interrupt came in between
        task = f"{context.root_uuid.hex[:8]}{_place(context)}"
        path = self._named(task, 0)
        storage.check_writable(path)
        run = _Run(estimator._state, task, _Lock(self._named(task, None)))
        run.last = time.perf_counter()
        self._runs[id(estimator)] = run
        run.previous = signal.getsignal(signal.SIGTERM)  # None: one that Python cannot restore
        if threading.current_thread() is threading.main_thread() and run.previous is not None:
            signal.signal(signal.SIGTERM, run.terminate)

    def on_epoch_end(self, estimator) -> None:
        run = self._runs[id(estimator)]
        state = run.state
        since = state.epoch - state.first_epoch
        due = self.every_epochs is not None and since % self.every_epochs == 0
        due = due or time.perf_counter() >= self._next(run)
        if self.best:
            due = due and state.stopping.best_epoch == state.epoch
        if due or run.terminated:
            self.between_steps(estimator)

    def due(self, estimator) -> float:
        run = self._runs[id(estimator)]
        if run.terminated:
            return -math.inf
        return math.inf if self.best else self._next(run)

    def between_steps(self, estimator) -> None:
        run = self._runs[id(estimator)]
        path = self._named(run.task, run.state.step)
        checkpoint.save(estimator, path, self.compress)
        run.last = time.perf_counter()
        if path in run.written:
            run.written.remove(path)
        run.written.append(path)
        while len(run.written) > self.keep_last:
            storage.remove(run.written.pop(0))
        if run.terminated:
            self._pass_on(run)

    def teardown(self, estimator, context) -> None:
        run = self._runs.get(id(estimator))
        if run is None:
            return
        if signal.getsignal(signal.SIGTERM) == run.terminate:
            signal.signal(signal.SIGTERM, run.previous)
        run.lock.release()
        del self._runs[id(estimator)]
        if run.terminated:
            os.kill(os.getpid(), signal.SIGTERM)

    # ------------------------------------------------------------------- details

    def _pass_on(self, run: _Run) -> None:
        """Let the signal have the effect that it would have had; some processes survive it."""
        run.terminated = False
        signal.signal(signal.SIGTERM, run.previous)
        try:
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            signal.signal(signal.SIGTERM, run.terminate)

    def _next(self, run: _Run) -> float:
        """When the clock asks for the next checkpoint."""
        return math.inf if self.every_seconds is None else run.last + self.every_seconds

    def _check(self, estimator, enclosed: bool) -> None:
        check_int(self, "every_epochs", 1, also=None)
        check_float(self, "every_seconds", 0.0, closed=False, also=None)
        check_int(self, "keep_last", 1)
        check_bool(self, "best")
        check_bool(self, "compress")
        if self.every_epochs is None and self.every_seconds is None:
            raise ValueError("Checkpoint: every_epochs and every_seconds are both None; set one")
        if self.best and estimator._state.stopping is None:
            raise ValueError("Checkpoint: best=True needs early stopping; set early_stopping=True")
        path = os.fspath(self.path)
        try:
            fields = {name for _, name, _, _ in string.Formatter().parse(path) if name is not None}
        except ValueError as error:
            raise ValueError(f"Checkpoint: path {path!r} has a lone brace: {error}") from None
        if fields - FIELDS:
            raise ValueError(
                f"Checkpoint: path may contain {{step}} and {{task}}; got {sorted(fields - FIELDS)}"
            )
        if self.keep_last > 1 and "step" not in fields:
            raise ValueError(
                f"Checkpoint: keep_last={self.keep_last} files need {{step}} in path; got {path!r}"
            )
        if enclosed and "task" not in fields:
            raise ValueError(
                "Checkpoint: inside a search or a pipeline path must contain {task}, so that no "
                f"two fits share a file; got {path!r}"
            )

    def _named(self, task: str, step: int | None) -> str:
        path = os.fspath(self.path)
        return path.format(step="all" if step is None else step, task=task)


def _place(context) -> str:
    """Numbers of the tasks that lead to a fit."""
    place = ""
    while context is not None:
        place = f"-{context.task_id}{place}"
        context = context.parent
    return place
