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
from threadpoolctl import threadpool_limits

from . import schedules
from ._core import random
from ._core.optim import Optimizer
from ._core.source import Source
from ._core.step import Status, accumulate, run_steps
from .network import Network

logger = logging.getLogger("ctrain")

#: rows whose gradients lbfgs adds in the network's precision; blocks are added in float64
BLOCK = 1 << 13


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
        One piece for each epoch, one number for each step; lbfgs has no learning rate.
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


def check(network: Network, settings: Settings) -> None:
    """Raise ValueError if the optimizer cannot train this network."""
    if settings.optimizer.kernel is not None:
        return
    if settings.l1:
        raise ValueError("optimizer='lbfgs' needs a smooth objective; l1 must be 0.0, use alpha")
    if any(node.op == "bernoulli" for node in network.training.nodes):
        raise ValueError("optimizer='lbfgs' needs a deterministic objective; dropout must be 0.0")


def fit(
    network: Network,
    source: Source,
    rows: np.ndarray | None,
    settings: Settings,
    progress: Progress,
    validation: tuple[Source, np.ndarray | None] | None = None,
) -> None:
    """Train a network in place.

    Parameters
    ----------
    network : Network
    source : Source
    rows : ndarray of int64 or None
        Rows of the source to train on; None for all.
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
    n = source.n_rows if rows is None else len(rows)
    batch = min(settings.batch_size * settings.accumulate_steps, n)
    program = network.trainer(batch, settings.n_threads)
    optimizer = _continued(progress.optimizer, settings.optimizer, network)
    progress.optimizer = optimizer
    per_epoch = -(-n // batch)
    left = settings.max_iter * per_epoch if settings.max_steps is None else settings.max_steps
    first_step = progress.step
    started = time.perf_counter()
    index = np.arange(n) if rows is None else rows
    while left > 0:
        steps = min(per_epoch, left)
        if settings.shuffle:
            index = random.permutation(random.key(settings.seed, "shuffle", progress.epoch), n)
            index = index if rows is None else rows[index]
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


def _continued(old: Optimizer | None, declaration, network: Network) -> Optimizer:
    """Slots for the declared optimizer; those of `old` if it keeps the same ones."""
    new = Optimizer(declaration, network.dtype, network.parameters.arena.size)
    if old is not None and type(old.declaration) is type(declaration) and old.names == new.names:
        for slot, value in zip(new.slots, old.slots, strict=True):
            slot[:] = value
        new.t = old.t
    return new


def _fit_lbfgs(network, source, rows, settings, progress, validation) -> None:
    """Full batch, through SciPy's L-BFGS-B over the same tape; one iteration is one epoch."""
    n = source.n_rows if rows is None else len(rows)
    block = min(n, BLOCK)
    program = network.trainer(block, settings.n_threads)
    if len(program.plan.stages) > 1:  # some operation reads all rows
        block, program = n, network.trainer(n, settings.n_threads)
    parameters = network.parameters
    arena = parameters.arena
    decayed = np.zeros(arena.size, bool)
    for p in parameters:
        decayed[p.offset : p.offset + p.size] = p.decay and p.trainable
    iterate = arena.astype(np.float64)
    mean_loss = norm = math.nan
    started = time.perf_counter()

    def put(weights) -> None:
        with np.errstate(over="ignore"):
            arena[:] = weights
        parameters.version += 1

    def objective(weights):
        nonlocal mean_loss, norm
        put(weights)
        gradient = np.zeros(arena.size)
        loss = total = 0.0
        for begin in range(0, n, block):
            end = min(begin + block, n)
            index = np.arange(begin, end) if rows is None else rows[begin:end]
            sums = accumulate(program, source, index=index, backward=True)
            loss, total = loss + sums[0], total + sums[1]
            gradient += program.gradients
        gradient /= total
        mean_loss, norm = loss / total, float(np.linalg.norm(gradient))
        if not math.isfinite(mean_loss) or not math.isfinite(norm):
            raise ValueError(
                f"the loss is not finite at epoch {progress.epoch + 1}, step {progress.step + 1} "
                "of lbfgs; scale X and y (StandardScaler); the weights are those before this step"
            )
        penalised = weights[decayed]
        gradient[decayed] += settings.alpha * penalised
        return mean_loss + 0.5 * settings.alpha * float(penalised @ penalised), gradient

    def after_epoch() -> None:
        progress.epoch += 1
        progress.loss_curve.append(mean_loss)
        _validate(network, validation, settings, progress)
        _report(settings, progress, started, False)

    def after_iteration(intermediate_result) -> None:
        nonlocal iterate
        iterate = intermediate_result.x.copy()
        progress.step += 1
        progress.step_losses.append(np.array([mean_loss]))
        progress.step_norms.append(np.array([norm]))
        after_epoch()

    first_epoch = progress.epoch
    limit = settings.max_iter if settings.max_steps is None else settings.max_steps
    try:
        # SciPy's vectors are short: BLAS threads would wait 100 times longer than they work
        with threadpool_limits(1, user_api="blas"):
            minimize(
                objective, iterate, jac=True, method="L-BFGS-B", callback=after_iteration,
                options=settings.optimizer.options(limit),
            )  # fmt: skip
    finally:
        put(iterate)
    if progress.epoch == first_epoch:  # the start is a minimum
        after_epoch()


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
