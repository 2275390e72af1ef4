"""The one fit loop: shuffled batches and learning rates in, losses and weights out.

a) A fit is a function of (network, data, settings, state). The state says where it stands, to the
   step; continued from a copy of it, a fit takes the steps that it would have taken.
b) Python runs once for each call of `run_steps`, an epoch or, where a clock has to be watched,
   about a tenth of a second.
"""

from __future__ import annotations

import logging
import math
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from . import schedules
from ._core import random
from ._core.optim import Optimizer
from ._core.parameters import write
from ._core.source import Source
from ._core.step import Status, accumulate, run_steps
from .held_out import Scores
from .network import Network
from .state import Pause, Settings, State

logger = logging.getLogger("ctrain")


#: rows whose gradients lbfgs adds in the network's precision; blocks are added in float64
BLOCK = 1 << 13
#: seconds between two looks at the clock, where somebody waits for it
GLANCE = 0.1
#: steps that nobody will ever take
FOREVER = 1 << 62
#: learning rates computed in one go
RATES = 4096


def check(network: Network, settings: Settings) -> None:
    """Raise ValueError if the optimizer cannot train this network."""
    if settings.optimizer.kernel is not None:
        return
    if settings.l1:
        raise ValueError("optimizer='lbfgs' needs a smooth objective; l1 must be 0.0, use alpha")
    if any(node.draws for node in network.training.nodes):
        raise ValueError("optimizer='lbfgs' needs a deterministic objective; dropout must be 0.0")
    if network.training.tracked:
        raise ValueError(
            "optimizer='lbfgs' takes no steps over batches, which running averages (batch_norm) "
            "follow; use another optimizer or layer_norm"
        )


def fit(
    network: Network,
    source: Source,
    rows: np.ndarray | None,
    settings: Settings,
    state: State,
    *,
    validation: tuple[Source, np.ndarray | None] | None = None,
    scores: Scores | None = None,
    tasks=None,
) -> None:
    """Train a network in place, from where its state stands to the end.

    Parameters
    ----------
    network : Network
    source : Source
    rows : ndarray of int64 or None
        Rows of the source to train on; None for all.
    settings : Settings
    state : State
        Continued; holds the state of the last whole step also when an error or an interrupt ends
        the fit.
    validation : (Source, rows), default=None
        Its loss is computed after each epoch that is due; rows None for all.
    scores : Scores, default=None
        Further metrics by the name of their column, computed with it.
    tasks : object, default=None
        Told of epochs: ``begin_epoch()`` and ``end_epoch() -> whether to stop``; and, once the
        clock has passed ``due()``, called ``between_steps(now)``.

    Raises
    ------
    ValueError
        If the loss or its gradient stops being finite, or no value of the monitor was finite. As
        after an interrupt, the weights are the best ones so far with early stopping, else those of
        the last whole step.
    """
    way = _Steps if settings.optimizer.kernel is not None else _LBFGS
    run = way(network, source, rows, settings, state, validation, scores, tasks)
    with _reporting(settings.verbose):
        try:
            state.stopped_by = None
            state.stopped_by = run.train()
        finally:
            if state.best_weights is not None:
                network.parameters.arena[:] = state.best_weights
                network.parameters.version += 1
                state.restored = True


class _Fit:
    """What the two ways of training share: the end of an epoch."""

    def __init__(self, network, source, rows, settings, state, validation, scores, tasks) -> None:
        self.network, self.source, self.rows = network, source, rows
        self.settings, self.state = settings, state
        self.validation, self.scores, self.tasks = validation, scores, tasks
        self.n = source.n_rows if rows is None else len(rows)
        self.observes = schedules.observes(state.schedule)
        self.deadline = math.inf
        if settings.max_time is not None:
            self.deadline = time.perf_counter() + settings.max_time

    def begin_epoch(self) -> None:
        self.epoch_started = time.perf_counter()
        if self.tasks is not None:
            self.tasks.begin_epoch()

    def end_epoch(self, last: bool) -> str | None:
        """Validate, record, tell; answer what ends the training here, if anything does."""
        settings, state, history = self.settings, self.state, self.state.history
        steps = state.epoch_step
        last = last or time.perf_counter() >= self.deadline
        loss, weight, norm = history.sums(steps)
        row = {
            "epoch": state.epoch + 1,
            "loss": loss / weight if weight else math.nan,
            "learning_rate": history.last_rate(),
            "gradient_norm": norm / steps if steps else math.nan,
        }
        due = last or (state.epoch + 1 - state.first_epoch) % settings.validation_interval == 0
        if due:
            if self.validation is not None:
                row["validation_loss"] = self.network.evaluate(*self.validation, settings.n_threads)
            if self.scores is not None:
                row.update(self.scores())
        row["seconds"] = time.perf_counter() - self.epoch_started
        history.append(row)
        state.epoch += 1
        state.epoch_step = 0
        exhausted = due and self._judge(row)
        self._report(row, last or exhausted)
        if self.tasks is not None and self.tasks.end_epoch():
            return "callback"
        if exhausted:
            return "early_stopping"
        return "max_time" if time.perf_counter() >= self.deadline else None

    def _judge(self, row: dict[str, float]) -> bool:
        """Let the schedule and the stopping rule see a validated epoch."""
        state = self.state
        if self.observes:
            state.schedule.observe(state.history)
        if state.stopping is None:
            return False
        if state.stopping.improves(state.epoch, row[self.settings.monitor]):
            arena = self.network.parameters.arena
            if state.best_weights is None:
                best = np.empty_like(arena)
                write(best, arena)
                state.best_weights = best
            else:
                np.copyto(state.best_weights, arena)
        if state.stopping.exhausted:
            self.check_monitor()
            return True
        return False

    def check_monitor(self) -> None:
        """Raise ValueError if early stopping has never seen a finite value."""
        stopping = self.state.stopping
        if stopping is not None and not stopping.best_epoch:
            name = self.settings.monitor
            raise ValueError(
                f"early_stopping: {name} was not finite in any of the "
                f"{self.state.epoch - self.state.first_epoch} epochs, the last was "
                f"{self.state.history[name][-1]}; look at the validation rows and the metric, or "
                "set early_stopping=False"
            )

    def _report(self, row: dict[str, float], last: bool) -> None:
        """One line every `verbose` epochs."""
        verbose, epoch = self.settings.verbose, row["epoch"]
        if not verbose or (epoch % verbose and not last):
            return
        numbers = {k.replace("_", " "): v for k, v in row.items() if k not in ("epoch", "seconds")}
        line = ", ".join(f"{name} {value:.6g}" for name, value in numbers.items())
        logger.info("epoch %d: %s, %.2f s", epoch, line, row["seconds"])


class _Steps(_Fit):
    """Optimizer steps over shuffled batches."""

    def train(self) -> str:
        settings, state = self.settings, self.state
        self.batch = min(settings.batch_size * settings.accumulate_steps, self.n)
        self.program = self.network.trainer(self.batch, settings.n_threads)
        state.optimizer = _continued(state.optimizer, settings.optimizer, self.network)
        self.per_epoch = -(-self.n // self.batch)
        if state.epoch_step > self.per_epoch:
            raise ValueError(f"{state.epoch_step} steps of an epoch of {self.per_epoch} are taken")
        if settings.max_steps is None:
            epochs, reason = settings.max_iter, "max_iter"
            end = state.first_epoch + epochs
            # whole epochs, whatever steps an interrupted one has left behind
            total = (end - state.epoch) * self.per_epoch + state.step - state.epoch_step
        else:
            total, reason = state.first_step + settings.max_steps, "max_steps"
        total = min(total, FOREVER)
        length = total - state.first_step if settings.has_length else None
        self.length = schedules.Length(length, self.per_epoch)
        bounds = np.minimum(np.arange(self.per_epoch + 1, dtype=np.int64) * self.batch, self.n)
        self.rules = {
            "clip_norm": math.inf if settings.clip_norm is None else settings.clip_norm,
            "clip_value": math.inf if settings.clip_value is None else settings.clip_value,
            "alpha": settings.alpha,
            "l1": settings.l1,
        }
        self.rates, self.rates_from = np.empty(0), state.step
        if state.stopping is not None and state.stopping.exhausted and not state.epoch_step:
            return "early_stopping"  # resumed after its last epoch
        pace = 0.0  # steps a second, measured
        while state.step < total or state.epoch_step:  # or the last epoch is still to be closed
            self.begin_epoch()
            order = self._order()
            while True:
                left = max(0, min(self.per_epoch - state.epoch_step, total - state.step))
                began, before, at = time.perf_counter(), state.step, state.epoch_step
                due = math.inf if self.tasks is None else self.tasks.due()
                wait = min(due, self.deadline) - began
                chunk = left
                if wait < math.inf:
                    chunk = min(left, max(1, int(min(GLANCE, max(wait, 0.0)) * pace)))
                self._take(order, bounds[at : at + chunk + 1], total, wait < math.inf)
                now = time.perf_counter()
                pace = (state.step - before) / max(now - began, 1e-9)
                if self.tasks is not None and self.tasks.due() <= now:
                    self.tasks.between_steps(now)
                if state.step - before == left or (now >= self.deadline and state.epoch_step):
                    break
            stop = self.end_epoch(state.step >= total)
            if stop:
                return stop
        self.check_monitor()
        return reason

    def _order(self) -> np.ndarray:
        """Rows of the source in the order of this epoch."""
        if not self.settings.shuffle:
            return np.arange(self.n) if self.rows is None else self.rows
        order = random.permutation(random.key(self.state.seed, "shuffle", self.state.epoch), self.n)
        return order if self.rows is None else self.rows[order]

    def _take(self, order: np.ndarray, bounds: np.ndarray, total: int, watched: bool) -> None:
        """Some steps of an epoch; `watched` tells that they end in time for who is due."""
        settings, state, n = self.settings, self.state, len(bounds) - 1
        losses, weights, norms, rates = state.history.room(n)
        rates[:] = self._learning_rates(n, total)
        before, status = state.step, Status.OK
        try:
            state.stepping = True
            if not (watched or self.tasks is None) and self.tasks.due() < math.inf:
                raise Pause  # a signal came since that was asked
            _, status = run_steps(
                self.program, self.source, order, bounds, rates, state.optimizer, state,
                loss_sums=losses, weight_sums=weights, norms=norms, **self.rules,
            )  # fmt: skip
            state.stepping = False
        except Pause:
            pass
        finally:
            state.stepping = False
            state.history.n_steps += state.step - before
            state.epoch_step += state.step - before
        if status:
            what = "loss" if status == Status.LOSS_NOT_FINITE else "gradient"
            weights = "of the best epoch" if state.best_weights is not None else "before this step"
            raise ValueError(
                f"the {what} is not finite at epoch {state.epoch + 1}, step {state.step + 1}; "
                "scale X and y (StandardScaler) or lower learning_rate_init "
                f"({settings.learning_rate_init}) or clip_norm ({settings.clip_norm}); the weights "
                f"are those {weights}"
            )

    def _learning_rates(self, n: int, total: int) -> np.ndarray:
        """Rates of the next steps; functions of the step alone are computed far ahead."""
        state, settings = self.state, self.settings
        at = state.step - self.rates_from
        if at + n > len(self.rates):
            ahead = n
            if isinstance(state.schedule, schedules.Schedule) and not self.observes:
                ahead = max(n, min(RATES, total - state.step))
            self.rates = schedules.learning_rates(
                state.schedule, settings.learning_rate_init, state.step - state.first_step, ahead,
                self.length,
            )  # fmt: skip
            self.rates_from, at = state.step, 0
        return self.rates[at : at + n]


def _continued(old: Optimizer | None, declaration, network: Network) -> Optimizer:
    """Slots for the declared optimizer; those of `old` if it keeps the same ones."""
    new = Optimizer(declaration, network.dtype, network.parameters.arena.size)
    if old is not None and type(old.declaration) is type(declaration) and old.names == new.names:
        for slot, value in zip(new.slots, old.slots, strict=True):
            slot[:] = value
        new.t = old.t
    return new


class _LBFGS(_Fit):
    """Full batch, through SciPy's L-BFGS-B over the same tape; one iteration is one epoch."""

    def train(self) -> str:
        settings, state, n = self.settings, self.state, self.n
        block = min(n, BLOCK)
        program = self.network.trainer(block, settings.n_threads)
        if len(program.plan.stages) > 1:  # some operation reads all rows
            block, program = n, self.network.trainer(n, settings.n_threads)
        parameters = self.network.parameters
        arena = parameters.arena
        decayed = np.zeros(arena.size, bool)
        for p in parameters:
            decayed[p.offset : p.offset + p.size] = p.decay and p.trainable
        iterate = arena.astype(np.float64)
        mean_loss = norm = math.nan

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
                index = np.arange(begin, end) if self.rows is None else self.rows[begin:end]
                sums = accumulate(program, self.source, index=index, backward=True)
                loss, total = loss + sums[0], total + sums[1]
                gradient += program.gradients
            gradient /= total
            mean_loss, norm = loss / total, float(np.linalg.norm(gradient))
            if not math.isfinite(mean_loss) or not math.isfinite(norm):
                raise ValueError(
                    f"the loss is not finite at epoch {state.epoch + 1}, step {state.step + 1} of "
                    "lbfgs; scale X and y (StandardScaler); the weights are those before this step"
                )
            penalised = weights[decayed]
            gradient[decayed] += settings.alpha * penalised
            return mean_loss + 0.5 * settings.alpha * float(penalised @ penalised), gradient

        limit = settings.max_iter if settings.max_steps is None else settings.max_steps
        reason = None

        def record() -> str | None:
            if self.tasks is not None:
                self.tasks.begin_epoch()
            row = state.history.room(1)
            row[:, 0] = mean_loss, 1.0, norm, math.nan
            state.history.n_steps += 1
            state.epoch_step += 1
            return self.end_epoch(state.epoch + 1 - state.first_epoch >= limit)

        def after_iteration(intermediate_result) -> None:
            nonlocal iterate, reason
            iterate = intermediate_result.x.copy()
            state.step += 1
            reason = record()
            if reason:
                raise StopIteration
            self.epoch_started = time.perf_counter()

        self.epoch_started = time.perf_counter()
        try:
            # SciPy's vectors are short: BLAS threads would wait 100 times longer than they work
            with threadpool_limits(1, user_api="blas"):
                answer = minimize(
                    objective, iterate, jac=True, method="L-BFGS-B", callback=after_iteration,
                    options=settings.optimizer.options(limit),
                )  # fmt: skip
        finally:
            put(iterate)
        if state.epoch == state.first_epoch:  # the start is a minimum
            reason = record()
        self.check_monitor()
        if reason:
            return reason
        return "max_iter" if answer.status == 1 else "converged"


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
