"""The one fit loop: epochs of shuffled batches, learning rates in, losses and norms out."""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import minimize

from . import schedules
from ._core import random
from ._core.optim import Optimizer
from ._core.source import Source
from ._core.step import Status, accumulate, run_steps
from .network import Network

logger = logging.getLogger("ctrain")


@dataclass
class Settings:
    """What a fit is asked to do; the names are the estimator's.

    ``batch_size`` is a number here, ``schedule`` and ``optimizer`` are objects.
    """

    optimizer: object
    schedule: object
    learning_rate_init: float
    batch_size: int
    accumulate_steps: int
    max_iter: int
    max_steps: int | None
    shuffle: bool
    alpha: float
    l1: float
    clip_norm: float | None
    clip_value: float | None
    seed: int
    n_threads: int
    verbose: int


@dataclass
class Progress:
    """How far the training of one network has come.

    Attributes
    ----------
    step, epoch : int
        Whole optimizer steps and passes over the data so far.
    loss_curve, validation_loss_curve : list of float
        One mean loss for each epoch.
    step_losses, step_norms, learning_rates : list of ndarray
        One piece for each epoch, one number for each step.
    optimizer : Optimizer or None
        Slots of the last optimizer.
    """

    step: int = 0
    epoch: int = 0
    loss_curve: list[float] = field(default_factory=list)
    validation_loss_curve: list[float] = field(default_factory=list)
    step_losses: list[np.ndarray] = field(default_factory=list)
    step_norms: list[np.ndarray] = field(default_factory=list)
    learning_rates: list[np.ndarray] = field(default_factory=list)
    optimizer: Optimizer | None = None


def fit(
    network: Network,
    source: Source,
    rows: np.ndarray,
    settings: Settings,
    progress: Progress,
    validation: tuple[Source, np.ndarray | None] | None = None,
) -> None:
    """Train a network in place.

    Parameters
    ----------
    network : Network
    source : Source
    rows : ndarray of int64
        Rows of the source to train on.
    settings : Settings
    progress : Progress
        Continued; holds the state of the last whole step also when an error or an interrupt ends
        the fit.
    validation : (Source, rows), default=None
        Its loss is computed after each epoch; None for all rows.

    Raises
    ------
    ValueError
        If the loss or its gradient stops being finite; the weights are those before that step.
    """
    with _reporting(settings.verbose):
        if settings.optimizer.kernel is None:
            _fit_lbfgs(network, source, rows, settings, progress, validation)
        else:
            _fit_steps(network, source, rows, settings, progress, validation)


def _fit_steps(network, source, rows, settings, progress, validation) -> None:
    n = len(rows)
    batch = min(settings.batch_size * settings.accumulate_steps, n)
    program = network.trainer(batch, settings.n_threads)
    optimizer = progress.optimizer
    if optimizer is None or type(optimizer.declaration) is not type(settings.optimizer):
        optimizer = Optimizer(settings.optimizer, network.dtype, network.parameters.arena.size)
        progress.optimizer = optimizer
    per_epoch = -(-n // batch)
    left = settings.max_iter * per_epoch if settings.max_steps is None else settings.max_steps
    first_step = progress.step
    started = time.perf_counter()
    while left > 0:
        steps = min(per_epoch, left)
        index = (
            rows[random.permutation(random.key(settings.seed, "shuffle", progress.epoch), n)]
            if settings.shuffle
            else rows
        )
        bounds = np.minimum(np.arange(steps + 1, dtype=np.int64) * batch, n)
        rates = schedules.learning_rates(
            settings.schedule, settings.learning_rate_init, progress.step - first_step, steps
        )
        losses, weights, norms = np.zeros((3, steps))
        done, status = run_steps(
            program, source, index, bounds, rates, optimizer, progress,
            clip_norm=math.inf if settings.clip_norm is None else settings.clip_norm,
            clip_value=math.inf if settings.clip_value is None else settings.clip_value,
            alpha=settings.alpha, l1=settings.l1,
            loss_sums=losses, weight_sums=weights, norms=norms,
        )  # fmt: skip
        if status:
            what = "loss" if status == Status.LOSS_NOT_FINITE else "gradient"
            raise ValueError(
                f"the {what} is not finite at epoch {progress.epoch + 1}, step "
                f"{progress.step + 1}; scale X and y (StandardScaler) or lower "
                f"learning_rate_init ({settings.learning_rate_init}) or clip_norm "
                f"({settings.clip_norm}); the weights are those before this step"
            )
        progress.epoch += 1
        left -= done
        with np.errstate(invalid="ignore"):
            progress.step_losses.append(losses / weights)
        progress.step_norms.append(norms)
        progress.learning_rates.append(rates)
        total = weights.sum()
        progress.loss_curve.append(float(losses.sum() / total) if total else math.nan)
        _validate(network, validation, settings, progress)
        _report(settings, progress, started, left <= 0)


def _fit_lbfgs(network, source, rows, settings, progress, validation) -> None:
    """Full batch, through SciPy's L-BFGS-B over the same tape; losses are the objective's."""
    if settings.l1:
        raise ValueError("optimizer='lbfgs' needs a smooth objective; l1 must be 0.0, use alpha")
    if any(node.op == "bernoulli" for node in network.training.nodes):
        raise ValueError("optimizer='lbfgs' needs a deterministic objective; dropout must be 0.0")
    program = network.trainer(len(rows), settings.n_threads)
    parameters = network.parameters
    arena = parameters.pack()
    decay = np.zeros(arena.size, bool)
    for p in parameters:
        decay[p.offset : p.offset + p.size] = p.decay and p.trainable
    last = {}

    def objective(weights):
        arena[:] = weights
        parameters.version += 1
        loss, total = accumulate(program, source, index=rows, backward=True)
        penalised = arena[decay].astype(np.float64)
        value = loss / total + 0.5 * settings.alpha * float(penalised @ penalised)
        gradient = program.gradients.astype(np.float64) / total
        last["norm"] = float(np.linalg.norm(gradient))
        gradient[decay] += settings.alpha * penalised
        if not np.isfinite(value) or not np.isfinite(last["norm"]):
            raise ValueError(
                f"the loss is not finite at epoch {progress.epoch + 1}, step {progress.step + 1} "
                "of lbfgs; scale X and y (StandardScaler)"
            )
        return value, gradient

    started = time.perf_counter()

    def after_iteration(intermediate_result):
        progress.epoch += 1
        progress.step += 1
        progress.loss_curve.append(float(intermediate_result.fun))
        progress.step_losses.append(np.array([intermediate_result.fun]))
        progress.step_norms.append(np.array([last["norm"]]))
        progress.learning_rates.append(np.array([1.0]))
        progress.best = intermediate_result.x.copy()
        _validate(network, validation, settings, progress)
        _report(settings, progress, started, False)

    start = arena.astype(np.float64)
    best = start
    try:
        result = minimize(
            objective, start, jac=True, method="L-BFGS-B", callback=after_iteration,
            options=settings.optimizer.options(
                settings.max_iter if settings.max_steps is None else settings.max_steps
            ),
        )  # fmt: skip
        best = result.x
    except BaseException:
        best = getattr(progress, "best", start)
        raise
    finally:
        arena[:] = best
        parameters.version += 1
    if not progress.loss_curve:  # already at a minimum
        progress.loss_curve.append(float(result.fun))
        progress.epoch += 1


def _validate(network, validation, settings, progress) -> None:
    if validation is not None:
        progress.validation_loss_curve.append(network.evaluate(*validation, settings.n_threads))


def _report(settings, progress, started, last) -> None:
    """One line every `verbose` epochs."""
    if not settings.verbose or (progress.epoch % settings.verbose and not last):
        return
    line = f"epoch {progress.epoch}: loss {progress.loss_curve[-1]:.6g}"
    if progress.validation_loss_curve:
        line += f", validation loss {progress.validation_loss_curve[-1]:.6g}"
    logger.info("%s, %.2f s", line, time.perf_counter() - started)


@contextmanager
def _reporting(verbose: int) -> Iterator[None]:
    """Show the progress lines on stderr unless the application has set logging up."""
    if not verbose or logger.hasHandlers():
        yield
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
