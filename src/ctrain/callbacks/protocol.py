"""The contact with scikit-learn's callbacks, whose protocol is young: no other file touches it."""

from __future__ import annotations

import math
import traceback
from collections.abc import Callable

from sklearn.callback import CallbackSupportMixin, with_callbacks

__all__ = ["Callback", "CallbackSupportMixin", "OnEpochEnd", "Tasks", "with_callbacks"]


class Callback:
    """What a user's own callback may override; each hook does nothing.

    While a fit runs, the estimator's ``history_`` grows and its ``predict`` answers with the
    weights so far.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from ctrain import Regressor
    >>> from ctrain.callbacks import Callback
    >>> class LossBelow(Callback):
    ...     def __init__(self, threshold):
    ...         self.threshold = threshold
    ...     def on_epoch_end(self, estimator):
    ...         return estimator.history_["loss"][-1] < self.threshold
    >>> X, y = make_regression(100, 4, random_state=0)
    >>> reg = Regressor(random_state=0).set_callbacks(LossBelow(1e9))
    >>> reg.fit(X, y).n_iter_
    1
    """

    def on_fit_begin(self, estimator) -> None:
        """Called once the data and the parameters have been accepted, before the first step."""

    def on_epoch_end(self, estimator) -> bool | None:
        """Called after an epoch and its validation; True ends the fit."""

    def on_fit_end(self, estimator) -> None:
        """Called at the end, also when an error or an interrupt ends the fit."""

    def due(self, estimator) -> float:
        """Time, as ``time.perf_counter`` tells it, after which `between_steps` shall be called."""
        return math.inf

    def between_steps(self, estimator) -> None:
        """Called between two steps, in the middle of an epoch, once the time has come."""

    # scikit-learn's protocol, in whose words a fit is a task and its epochs are subtasks

    def setup(self, estimator, context) -> None:
        self.on_fit_begin(estimator)

    def on_fit_task_begin(self, estimator, context) -> None:
        """Nothing: an epoch begins where the last one ended."""

    def on_fit_task_end(self, estimator, context) -> bool:
        return bool(context.task_name == EPOCH and self.on_epoch_end(estimator))

    def teardown(self, estimator, context) -> None:
        with _Named([self]):
            self.on_fit_end(estimator)


class OnEpochEnd(Callback):
    """Call a function after each epoch; it may end the fit.

    Parameters
    ----------
    function : callable
        ``function(estimator)``; a true answer ends the fit.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from ctrain import Regressor
    >>> from ctrain.callbacks import OnEpochEnd
    >>> X, y = make_regression(100, 4, random_state=0)
    >>> stop = OnEpochEnd(lambda reg: len(reg.history_["loss"]) == 3)
    >>> Regressor().set_callbacks(stop).fit(X, y).n_iter_
    3
    """

    def __init__(self, function: Callable[[object], object]) -> None:
        self.function = function

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.function!r})"

    def on_epoch_end(self, estimator) -> bool:
        return bool(self.function(estimator))


#: name of an epoch's task
EPOCH = "epoch"


class Tasks:
    """The tasks of one fit: the fit itself, and one for each epoch.

    Parameters
    ----------
    estimator : estimator with CallbackSupportMixin
    max_epochs : int
    snapshot : callable
        Gives the attributes that make a copy of the estimator a fitted one.
    data : dict
        ``X``, ``y`` and ``metadata``, as the callbacks get them.
    """

    def __init__(self, estimator, max_epochs: int, snapshot, data: dict) -> None:
        self.estimator, self.snapshot, self.data = estimator, snapshot, data
        self.own = [c for c in getattr(estimator, "_skl_callbacks", ()) if isinstance(c, Callback)]
        with self._named():
            self.context = estimator._init_callback_context(max_subtasks=max_epochs)
            self.context.call_on_fit_task_begin(estimator=estimator, **data)

    @classmethod
    def of(cls, estimator, max_epochs: int, snapshot, data: dict) -> Tasks | None:
        """Tasks, or None where nobody listens: then an epoch costs nothing more."""
        tasks = cls(estimator, max_epochs, snapshot, data)
        return tasks if getattr(estimator, "_skl_callbacks", None) else None

    def begin_epoch(self) -> None:
        self.epoch = self.context.subcontext(task_name=EPOCH)
        with self._named():
            self.epoch.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def end_epoch(self) -> bool:
        with self._named():
            return self.epoch.call_on_fit_task_end(
                estimator=self.estimator, reconstruction_attributes=self.snapshot, **self.data
            )

    def due(self) -> float:
        """When a callback wants to be called between steps."""
        return min((own.due(self.estimator) for own in self.own), default=math.inf)

    def between_steps(self, now: float) -> None:
        with self._named():
            for own in self.own:
                if own.due(self.estimator) <= now:
                    own.between_steps(self.estimator)

    def end_fit(self) -> None:
        with self._named():
            self.context.call_on_fit_task_end(
                estimator=self.estimator, reconstruction_attributes=self.snapshot, **self.data
            )

    def _named(self) -> _Named:
        return _Named(getattr(self.estimator, "_skl_callbacks", ()))


class _Named:
    """Adds to an error which callback raised it."""

    def __init__(self, callbacks) -> None:
        self.callbacks = callbacks

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, error, trace) -> None:
        if not isinstance(error, Exception):
            return
        for frame, _ in traceback.walk_tb(trace):
            owner = frame.f_locals.get("self")
            if any(owner is callback for callback in self.callbacks):
                error.add_note(f"raised by the callback {owner!r}; the fit has ended, the "
                               "estimator holds the weights so far")  # fmt: skip
                return
