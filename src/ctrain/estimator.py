"""What the estimators share: parameters are checked, data becomes a source, a fit is called."""

from __future__ import annotations

import copy
import time

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from . import checkpoint, losses, optimizers, schedules, training
from ._core.parallel import effective_n_threads
from ._core.source import Arrays
from .callbacks.protocol import CallbackSupportMixin, Tasks
from .held_out import Scores, metric_name, scorers, split
from .models import MLP
from .network import Network, NotFiniteError
from .stopping import Stopping
from .validation import (
    FLOATS,
    check_bool,
    check_choice,
    check_features,
    check_finite,
    check_float,
    check_int,
    check_weights,
    draw_seed,
    unknown_parameter,
)

#: parameters that a resumed fit may change: no bit depends on them
MAY_DIFFER = {"n_jobs", "verbose", "warm_start", "random_state", "max_time"}
#: rows from which early_stopping="auto" holds some out
AUTO_STOPPING_ROWS = 1000


class Estimator(CallbackSupportMixin, BaseEstimator):
    """A network behind scikit-learn's interface; a subclass says what its targets are.

    It has the parameters of :class:`ctrain.Regressor` and defines ``_loss``, ``_take_targets`` and
    ``_strata``; `_learned` names what else it learns from the data.
    """

    _learned: tuple[str, ...] = ("n_features_in_", "feature_names_in_", "_plain_width")

    # ------------------------------------------------------------------- for subclasses

    def _loss(self) -> losses.Loss:
        """Loss of the network for the targets that were taken."""
        raise NotImplementedError

    def _take_targets(self, y, n_rows: int, dtype, *, name: str = "y", reset: bool = False):
        """Checked targets as floats (n_rows, n_targets); with `reset` learn what they are."""
        raise NotImplementedError

    def _take_weights(self, sample_weight, targets, dtype, name: str = "sample_weight"):
        """Checked weights (n_rows,), or None for all alike."""
        return check_weights(self, sample_weight, len(targets), dtype, name)

    def _strata(self, targets):
        """Label of each row, whose shares a random split keeps; None if there is none."""
        return None

    # ------------------------------------------------------------------- fitting

    def _fit(self, X, y, sample_weight, X_val, y_val, sample_weight_val, resume):
        started = time.perf_counter()
        self._check_parameters()
        draft = copy.copy(self)  # learns from data that may yet be refused
        source, features, targets, weights, dtype = draft._take(X, y, sample_weight)
        saved = None if resume is None else checkpoint.read(resume)
        seed = draft._seed_of_fit() if saved is None else saved[0]["state"]["seed"]
        held_out = draft._take_held_out(X_val, y_val, sample_weight_val, targets, dtype)
        stops = self.early_stopping is True or (
            self.early_stopping == "auto" and source.n_rows >= AUTO_STOPPING_ROWS
        )
        rows = validation = None
        if held_out is not None:
            validation = (held_out, None)
        elif stops:
            rows, chosen = split(
                len(targets), self.validation_fraction, self.shuffle, seed,
                draft._strata(targets), weights,
            )  # fmt: skip
            validation = (source, chosen)
        settings = draft._settings(source.n_rows if rows is None else len(rows), stops)
        data = {
            "n_samples": source.n_rows, "n_features": features.shape[1],
            "n_targets": targets.shape[1],
            "n_validation": 0 if validation is None else
            validation[0].n_rows if held_out is not None else len(validation[1]),
        }  # fmt: skip
        network = draft._network_for(data["n_features"], data["n_targets"], dtype, seed)
        state = training.State(seed=seed)
        training.check(network, settings)
        parts = {"train": (X, y, sample_weight, rows)}
        if held_out is not None:
            parts["validation"] = (X_val, y_val, sample_weight_val, None)
        elif validation is not None:
            parts["validation"] = (X, y, sample_weight, validation[1])
        scores = Scores(self, scorers(self), parts)
        if saved is not None:
            draft._check_same(saved[0], data)
            checkpoint.restore(network, state, *saved)
        else:
            if self.warm_start and hasattr(self, "_network"):
                network.continue_from(self._network)
                state = self._state
            state.data = data
            state.begin(settings)
        self._train(draft, network, state, source, rows, settings, validation, scores, (X, y))
        self.fit_time_ = time.perf_counter() - started
        return self

    def _partial_fit(self, X, y, sample_weight, **about_targets):
        self._check_parameters()
        draft = copy.copy(self)
        first = not hasattr(self, "_network")
        source, features, targets, _, dtype = draft._take(
            X, y, sample_weight, reset=first, **about_targets
        )
        state = training.State(seed=draft._seed_of_fit()) if first else self._state
        network = None if first else self._network
        if first or network.training is None:  # loaded from a file
            network = draft._network_for(features.shape[1], targets.shape[1], dtype, state.seed)
            if not first:
                network.continue_from(self._network)
        settings = draft._settings(source.n_rows, False, partial=True)
        training.check(network, settings)
        state.begin(settings)
        self._train(draft, network, state, source, None, settings, None, None, (X, y))
        return self

    def _train(self, draft, network, state, source, rows, settings, validation, scores, data):
        """Take over what the data taught, then train."""
        plain = not hasattr(draft, "feature_names_in_")
        draft._network, draft._state, draft.history_ = network, state, state.history
        draft._plain_width = draft.n_features_in_ if plain else None
        self.__dict__ = vars(draft)
        epochs = settings.max_iter
        if settings.max_steps is not None:
            n = source.n_rows if rows is None else len(rows)
            batch = min(settings.batch_size * settings.accumulate_steps, n)
            epochs = -(-settings.max_steps // -(-n // batch))
            if settings.optimizer.kernel is None:
                epochs = settings.max_steps
        tasks = Tasks.of(self, epochs, self._snapshot, {"X": data[0], "y": data[1]})
        try:
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

    def _take(self, X, y, sample_weight, *, reset: bool = True, **about_targets):
        """Training data as a source, and its parts: features, targets, weights, dtype."""
        features = check_features(self, X, reset=reset)
        if reset:
            dtype = np.dtype(features.dtype if self.dtype == "auto" else self.dtype)
        else:
            dtype = self._network.dtype
        check_finite(self, features, "X", dtype)
        targets = self._take_targets(y, features.shape[0], dtype, reset=reset, **about_targets)
        weights = self._take_weights(sample_weight, targets, dtype)
        return _source(features, targets, weights), features, targets, weights, dtype

    def _take_held_out(self, X_val, y_val, sample_weight_val, targets, dtype) -> Arrays | None:
        """Validation rows that the caller chose."""
        given = {"X_val": X_val, "y_val": y_val}
        if all(value is None for value in given.values()):
            if sample_weight_val is not None:
                raise ValueError("sample_weight_val needs X_val and y_val")
            return None
        for name, value in given.items():
            if value is None:
                raise ValueError(f"X_val and y_val go together; {name} is missing")
        X_val = check_features(self, X_val, "X_val")
        check_finite(self, X_val, "X_val", dtype)
        y_val = self._take_targets(y_val, X_val.shape[0], dtype, name="y_val")
        if y_val.shape[1] != targets.shape[1]:
            raise ValueError(
                f"y_val must have as many targets as y, {targets.shape[1]}; got {y_val.shape[1]}"
            )
        weights = self._take_weights(sample_weight_val, y_val, dtype, "sample_weight_val")
        return _source(X_val, y_val, weights)

    def _seed_of_fit(self) -> int:
        """Seed of a new network; a warm start keeps the one it began with."""
        if self.warm_start and hasattr(self, "_state"):
            return self._state.seed
        return draw_seed(self, "random_state")

    def _network_for(self, n_features, n_targets, dtype, seed) -> Network:
        """Record the model for data of these sizes."""
        model = self._mlp() if self.model is None else self.model
        return Network(model, self._loss(), {"x": (n_features,)}, n_targets, dtype, seed)

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

    def _settings(self, n_rows: int, stops: bool, *, partial: bool = False) -> training.Settings:
        batch_size = min(200, n_rows) if self.batch_size == "auto" else int(self.batch_size)
        on_loss = isinstance(self.monitor, str) and self.monitor == "loss"
        stopping = None
        if stops:
            patience = float(self.n_iter_no_change)
            stopping = Stopping("min" if on_loss else "max", patience, float(self.tol))
        return training.Settings(
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

    def _mlp(self) -> MLP:
        return MLP(self.hidden_layer_sizes, self.activation, self.dropout)

    # ------------------------------------------------------------------- prediction

    def _output(self, X, name: str = "prediction") -> np.ndarray:
        """One output of the inference tape for each row of X."""
        if not (
            type(X) is np.ndarray
            and X.ndim == 2
            and X.shape[1] == getattr(self, "_plain_width", None)
            and X.dtype in FLOATS
            and len(X)
        ):
            check_is_fitted(self)
            X = check_features(self, X)
        network = self._network
        try:
            return network.predict(Arrays(x=X), effective_n_threads(self.n_jobs), name)
        except NotFiniteError:
            check_finite(self, X, "X", network.dtype)
            raise

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
        check_float(self, "dropout", 0.0, high=1.0)
        check_float(self, "clip_norm", 0.0, closed=False, also=None)
        check_float(self, "clip_value", 0.0, closed=False, also=None)
        check_int(self, "batch_size", 1, also="auto")
        check_int(self, "accumulate_steps", 1)
        check_int(self, "max_iter", 1)
        check_int(self, "max_steps", 1, also=None)
        check_float(self, "max_time", 0.0, closed=False, also=None)
        check_bool(self, "shuffle")
        check_bool(self, "early_stopping", also="auto")
        check_float(self, "validation_fraction", 0.0, closed=False, high=1.0)
        check_int(self, "validation_interval", 1)
        check_int(self, "n_iter_no_change", 1, also=np.inf)
        check_float(self, "tol", 0.0)
        check_choice(self, "dtype", ("auto", "float32", "float64"))
        effective_n_threads(self.n_jobs)
        check_bool(self, "warm_start")
        check_int(self, "verbose", 0)
        losses.resolve(self.loss).validate()
        optimizers.resolve(self.optimizer)
        schedules.resolve(self.schedule)
        scorers(self)
        if self.model is None:
            self._mlp().layers()
        elif isinstance(self.model, type) or not (
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

    @property
    def coefs_(self):
        """Weights ``(n_in, n_out)`` of each layer, not copied; None for a user's model."""
        return self._layers("weight")

    @property
    def intercepts_(self):
        """Biases of each layer, not copied; None for a user's model."""
        return self._layers("bias")

    def _layers(self, what):
        check_is_fitted(self)
        if self.n_layers_ is None:
            return None
        weights = self._network.parameters
        return [weights[f"layer_{k}.{what}"].value for k in range(self.n_layers_ - 1)]

    def _describe(self) -> None:
        """Fitted attributes, with MLPRegressor's names."""
        network, state = self._network, self._state
        history, stopping = state.history, state.stopping
        linked = network.outputs["prediction"].name.rpartition("_")[0]
        self.n_layers_ = len(self._mlp().layers()) + 2 if self.model is None else None
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

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


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
    return checkpoint.load(path, {kind.__name__: kind for kind in Estimator.__subclasses__()})


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


def _source(X, y, sample_weight) -> Arrays:
    """Data as a source; nothing is copied."""
    if sample_weight is None:
        return Arrays(x=X, y=y)
    return Arrays(x=X, y=y, weight=sample_weight)
