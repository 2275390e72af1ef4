"""Fits that are saved after any of their steps, and everything that a resumed one must agree on."""

from __future__ import annotations

import math

import numpy as np

from ctrain import checkpoint
from ctrain.callbacks import Callback
from ctrain.optimizers import SGD, Adagrad, Adam, AdamW, RMSprop
from ctrain.schedules import OneCycle, ReduceOnPlateau, Schedule


class Cautious(Schedule):
    """A user's own: halves the rate after each epoch that was worse than the mean so far."""

    seen_ = None
    n_worse_ = 0

    def __init__(self, factor=0.5):
        self.factor = factor

    def __call__(self, step, base, length):
        return np.full(np.shape(step), base * self.factor**self.n_worse_)

    def observe(self, history):
        self.seen_ = [*(self.seen_ or []), history["loss"][-1]]
        self.n_worse_ += history["loss"][-1] >= 0.97 * np.mean(self.seen_)


def decaying(step):
    """A user's own function of the step."""
    return 0.02 / (1 + step)


OPTIMIZERS = (
    SGD(), SGD(momentum=0.9, nesterov=True, weight_decay=0.01), Adam(amsgrad=True), AdamW(),
    RMSprop(momentum=0.5, centered=True), Adagrad(lr_decay=0.01),
)  # fmt: skip
SCHEDULES = (
    "constant", "warmup_cosine", OneCycle(), decaying, Cautious(),
    ReduceOnPlateau(factor=0.3, patience=0, threshold=0.05),
)  # fmt: skip
STOPPING = (
    {"early_stopping": False},
    {"early_stopping": True, "n_iter_no_change": 2, "tol": 0.02},
)


class Saves(Callback):
    """A checkpoint after each step, or after some; files are ``<step>.npz``.

    An epoch's last step has two: before the epoch is closed and, ``<step>-end.npz``, after.
    """

    def __init__(self, folder, steps=None):
        self.folder, self.steps = folder, steps

    def due(self, estimator):
        return -math.inf

    def between_steps(self, estimator):
        self._save(estimator, "")

    def on_epoch_end(self, estimator):
        self._save(estimator, "-end")

    def _save(self, estimator, suffix):
        step = estimator._state.step
        if self.steps is None or step in self.steps:
            checkpoint.save(estimator, self.folder / f"{step}{suffix}.npz")


def fingerprint(estimator, X) -> dict:
    """All that a fit has made, as bytes and plain values, but for seconds."""
    state, network = estimator._state, estimator._network
    remembered = {k: v for k, v in vars(state.schedule).items() if k.endswith("_")}
    return {
        "weights": network.parameters.arena.tobytes(),
        "slots": [slot.tobytes() for slot in state.optimizer.slots],
        "t": state.optimizer.t,
        "counts": [getattr(state, name) for name in checkpoint.COUNTS],
        "epochs": {
            name: np.array(column, np.float64).tobytes()
            for name, column in state.history.items()
            if name != "seconds"
        },
        "steps": {name: column.tobytes() for name, column in state.history.steps.items()},
        "schedule": (type(state.schedule), remembered),
        "stopping": repr(state.stopping),
        "best": None if state.best_weights is None else state.best_weights.tobytes(),
        "attributes": (estimator.best_epoch_, estimator.n_iter_, estimator.t_),
        "prediction": estimator.predict(X).tobytes(),
    }


def differences(one: dict, other: dict) -> list[str]:
    """Names of what is not the same."""
    return [name for name in one if one[name] != other[name]]
