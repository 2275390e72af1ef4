"""What all estimators share: training parameters, the call of a fit, fitted attributes, files."""

from __future__ import annotations

import copy

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from . import checkpoint, losses, optimizers, schedules, training
from ._core.parallel import effective_n_threads
from .callbacks.protocol import CallbackSupportMixin, Tasks
from .curves import curves_svg, loss_label
from .held_out import metric_name, scorers
from .state import Settings, State
from .stopping import Stopping
from .validation import (
    check_bool,
    check_choice,
    check_float,
    check_int,
    draw_seed,
    unknown_parameter,
)

#: parameters that a resumed fit may change: no bit depends on them
MAY_DIFFER = {"n_jobs", "verbose", "warm_start", "random_state", "max_time"}


class Estimator(CallbackSupportMixin, BaseEstimator):
    """A network behind scikit-learn's interface; a subclass turns its data into a source.

    It has the training parameters of :class:`ctrain.Regressor`; `_learned` names what else it
    learns from the data.
    """

    _learned: tuple[str, ...] = ()

    # ------------------------------------------------------------------- for subclasses

    def _loss(self) -> losses.Loss:
        """Loss of the network for the targets that were taken."""
        raise NotImplementedError

    # ------------------------------------------------------------------- fitting

    def _begin(self, network, data, settings, seed, saved) -> State:
        """State from which a fit starts: a new one, a warm start's or a checkpoint's."""
        state = State(seed=seed)
        if saved is not None:
            self._check_same(saved[0], data)
            state.begin(settings)  # for a schedule of the user's own, which no file holds
            checkpoint.restore(network, state, *saved)
            return state
        if self.warm_start and hasattr(self, "_network"):
            network.continue_from(self._network)
            state = self._state
        state.data = data
        state.begin(settings)
        return state

    def _train(self, draft, network, state, source, rows, settings, validation, scores, data):
        """Take over what the data taught, then train."""
        draft._network, draft._state, draft.history_ = network, state, state.history
        self.__dict__ = vars(draft)
        columns = [] if validation is None else ["validation_loss"]
        state.history.expect(columns + ([] if scores is None else scores.columns))
        epochs = settings.max_iter
        if settings.max_steps is not None:
            n = source.n_rows if rows is None else len(rows)
            batch = min(settings.batch_size * settings.accumulate_steps, n)
            epochs = -(-settings.max_steps // -(-n // batch))
            if settings.optimizer.kernel is None:
                epochs = settings.max_steps
        try:
            tasks = Tasks.of(self, epochs, self._snapshot, {"X": data[0], "y": data[1]})
            training.fit(
                network, source, rows, settings, state,
                validation=validation, scores=scores, tasks=tasks,
            )  # fmt: skip
        finally:
            self._describe()
        if tasks is not None:
            tasks.end_fit()

    def _snapshot(self) -> dict:
        """Attributes that the training will not change: what a callback may keep."""
        snapshot = copy.copy(self)
        snapshot._network, snapshot._state = copy.deepcopy((self._network, self._state))
        snapshot.history_ = snapshot._state.history
        snapshot._describe()
        return {
            name: value for name, value in vars(snapshot).items()
            if name.endswith("_") or name in ("_network", "_state")
        }  # fmt: skip

    def _seed_of_fit(self) -> int:
        """Seed of a new network; a warm start keeps the one it began with."""
        if self.warm_start and hasattr(self, "_state"):
            return self._state.seed
        return draw_seed(self, "random_state")

    def _check_same(self, header: dict, data: dict[str, int]) -> None:
        """Raise ValueError naming how a checkpoint's fit differs from this one."""
        if header["estimator"] != type(self).__name__:
            raise ValueError(
                f"resume: the checkpoint holds a {header['estimator']}, this is a "
                f"{type(self).__name__}"
            )
        if optimizers.resolve(self.optimizer).kernel is None:
            raise ValueError(
                "resume: lbfgs keeps its memory inside SciPy, which no checkpoint holds; load the "
                "checkpoint and fit on with warm_start=True"
            )
        mine = {name: checkpoint.encode(v) for name, v in self.get_params(deep=False).items()}
        theirs = header["parameters"]
        differ = [
            f"{name} was {checkpoint.decode(theirs.get(name))!r}, is {getattr(self, name)!r}"
            for name in mine
            if name not in MAY_DIFFER and mine[name] != theirs.get(name)
        ]
        saved = header["state"]["data"]
        differ += [f"{k} was {saved.get(k)}, is {n}" for k, n in data.items() if n != saved.get(k)]
        if differ:
            raise ValueError(
                f"resume: this fit is not the checkpoint's: {'; '.join(differ)}; change them back, "
                "or load the checkpoint and fit on with warm_start=True"
            )

    def _settings(self, n_rows: int, stops: bool, *, partial: bool = False) -> Settings:
        batch_size = min(200, n_rows) if self.batch_size == "auto" else int(self.batch_size)
        on_loss = isinstance(self.monitor, str) and self.monitor == "loss"
        stopping = None
        if stops:
            patience = float(self.n_iter_no_change)
            stopping = Stopping("min" if on_loss else "max", patience, float(self.tol))
        return Settings(
            optimizer=optimizers.resolve(self.optimizer),
            schedule=schedules.resolve(self.schedule),
            learning_rate_init=float(self.learning_rate_init),
            batch_size=batch_size,
            accumulate_steps=int(self.accumulate_steps),
            max_iter=1 if partial else int(self.max_iter),
            max_steps=None if partial or self.max_steps is None else int(self.max_steps),
            max_time=None if partial or self.max_time is None else float(self.max_time),
            has_length=not partial,
            shuffle=bool(self.shuffle),
            alpha=float(self.alpha),
            l1=float(self.l1),
            clip_norm=self.clip_norm,
            clip_value=self.clip_value,
            monitor="validation_loss" if on_loss else f"validation_{metric_name(self.monitor)}",
            stopping=stopping,
            validation_interval=int(self.validation_interval),
            n_threads=effective_n_threads(self.n_jobs),
            verbose=int(self.verbose),
        )

    # ------------------------------------------------------------------- files

    def save(self, path, *, compress: bool = False) -> None:
        """Write the fitted estimator to a file that :func:`ctrain.load` reads.

        Parameters
        ----------
        path : str or path-like
            A file, which is replaced only once the new one is complete, or a URL (extra
            ``cloud``).
        compress : bool, default=False

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If it has not been fitted.
        OSError
            If the file cannot be written.

        Notes
        -----
        The file holds weights, optimizer, history and the network as a list of operations, no
        pickle. Functions and models of your own are kept by name only: the loaded estimator
        predicts without them; to fit it further, set them again.
        """
        check_is_fitted(self)
        checkpoint.save(self, path, compress)

    # ------------------------------------------------------------------- parameters

    def _check_parameters(self) -> None:
        for name, value in self.get_params().items():
            if isinstance(value, checkpoint.Missing):
                raise ValueError(
                    f"{name} was {value.name} when this estimator was saved, which a file cannot "
                    f"hold; hand it over again: set_params({name}=...)"
                )
        check_float(self, "learning_rate_init", 0.0, closed=False)
        check_float(self, "alpha", 0.0)
        check_float(self, "l1", 0.0)
        check_float(self, "clip_norm", 0.0, closed=False, also=None)
        check_float(self, "clip_value", 0.0, closed=False, also=None)
        check_int(self, "batch_size", 1, also="auto")
        check_int(self, "accumulate_steps", 1)
        check_int(self, "max_iter", 1)
        check_int(self, "max_steps", 1, also=None)
        check_float(self, "max_time", 0.0, closed=False, also=None)
        check_bool(self, "shuffle")
        check_bool(self, "early_stopping", also="auto")
        check_int(self, "validation_interval", 1)
        check_int(self, "n_iter_no_change", 1, also=np.inf)
        check_float(self, "tol", 0.0)
        check_choice(self, "dtype", ("auto", "float32", "float64"))
        effective_n_threads(self.n_jobs)
        check_bool(self, "warm_start")
        check_int(self, "verbose", 0)
        losses.resolve(self.loss).validate()
        if self.loss in ("mase", "msse") and getattr(self, "season", None) is None:
            raise ValueError(
                f"loss={self.loss!r} is in units of each series' seasonal naive error: it needs "
                "the season of a Forecaster, season=24 for hours with a daily one"
            )
        optimizers.resolve(self.optimizer)
        schedules.resolve(self.schedule)
        scorers(self)
        self._check_model()

    def _check_model(self) -> None:
        if isinstance(self.model, type) or not (
            callable(self.model) or hasattr(self.model, "record")
        ):
            raise TypeError(
                "model must be a callable model(tape, x) or an object with "
                f"record(tape, inputs, shape); got {self.model!r}"
            )

    def set_params(self, **params):
        """Set parameters; an unknown name is answered with what replaces it."""
        valid = self.get_params(deep=False)
        for name in params:
            first, _, inner = name.partition("__")
            if first not in valid:
                raise ValueError(unknown_parameter(type(self).__name__, name, sorted(valid)))
            owner = params.get(first, valid[first])
            if inner and not hasattr(owner, "set_params"):
                raise ValueError(
                    f"{name} needs an object with parameters as {first}, such as "
                    f"ctrain.optimizers.AdamW(); got {first}={owner!r}"
                )
        return super().set_params(**params)

    # ------------------------------------------------------------------- fitted attributes

    def _more_state(self) -> tuple[dict[str, np.ndarray], dict]:
        """Arrays of numbers and plain values that a file keeps beside `_learned`."""
        return {}, {}

    def _set_more_state(self, arrays: dict[str, np.ndarray], plain: dict) -> None:
        """Take them back."""

    def _html_repr(self) -> str:
        """scikit-learn's diagram and, after a fit, the loss curves below it."""
        diagram = super()._html_repr()
        if not hasattr(self, "history_"):
            return diagram
        best = getattr(self, "best_epoch_", None)
        return diagram + curves_svg(self.history_, best=best, label=loss_label(self.loss))

    def _describe(self) -> None:
        """Fitted attributes, with MLPRegressor's names."""
        network, state = self._network, self._state
        history, stopping = state.history, state.stopping
        linked = network.outputs["prediction"].name.rpartition("_")[0]
        self.n_outputs_ = int(np.prod(network.outputs["prediction"].shape))
        self.out_activation_ = {"exp": "exp", "sigmoid": "logistic", "softmax": "softmax"}.get(
            linked, "identity"
        )
        self.loss_curve_ = list(history["loss"])
        self.validation_loss_curve_ = list(history.get("validation_loss", ())) or None
        self.lr_curve_ = list(history["learning_rate"])
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else None
        self.best_loss_ = min(self.loss_curve_) if self.loss_curve_ else None
        self.best_epoch_ = stopping.best_epoch if stopping is not None else None
        scores = None
        if stopping is not None and stopping.mode == "max":
            scores = list(history.get(f"validation_{metric_name(self.monitor)}", ()))
        self.validation_scores_ = scores
        self.best_validation_score_ = None if scores is None else stopping.best
        self.n_iter_ = state.epoch
        self.t_ = state.step
        self.stopped_by_ = state.stopped_by


def load(path):
    """Read an estimator that :meth:`save` or a checkpoint wrote.

    Parameters
    ----------
    path : str or path-like
        A file or a URL.

    Returns
    -------
    Regressor, Classifier or Forecaster
        Predicts as the saved one did, bit by bit. Of a checkpoint: with the weights of that step.

    Raises
    ------
    ctrain.CheckpointError
        If the file is damaged, foreign or too new. Nothing in a file is ever run or imported.
    OSError
        If it cannot be read.

    Examples
    --------
    >>> import ctrain, tempfile
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(100, 4, random_state=0)
    >>> reg = ctrain.Regressor(max_iter=5).fit(X, y)
    >>> path = tempfile.mkdtemp() + "/model.npz"
    >>> reg.save(path)
    >>> bool((ctrain.load(path).predict(X) == reg.predict(X)).all())
    True
    """
    from . import classifier, forecaster, regressor  # noqa: F401  # what a file may name

    return checkpoint.load(path, _kinds(Estimator))


def _kinds(base: type) -> dict[str, type]:
    """Estimators of the package by name."""
    found = {}
    for kind in base.__subclasses__():
        if kind.__module__.startswith("ctrain."):
            found |= {kind.__name__: kind} | _kinds(kind)
    return found


def takes_steps(estimator) -> bool:
    """Whether an estimator has ``partial_fit``; AttributeError with the remedy if not."""
    if estimator.early_stopping is True:
        raise AttributeError(
            "partial_fit holds nothing out, early_stopping=True asks for it; pass 'auto' or False"
        )
    if optimizers.resolve(estimator.optimizer).kernel is None:
        raise AttributeError(
            "partial_fit needs an optimizer that takes single steps; optimizer is lbfgs"
        )
    return True
