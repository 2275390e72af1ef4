"""The regressor: stores parameters, validates data, calls ``training.fit``."""

from __future__ import annotations

import time
import warnings

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import DataConversionWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from . import losses, optimizers, schedules, training
from ._core import random
from ._core.parallel import effective_n_threads
from ._core.source import Arrays
from .models import MLP
from .network import Network, NotFiniteError
from .validation import (
    check_bool,
    check_choice,
    check_finite,
    check_float,
    check_int,
    check_weights,
    unknown_parameter,
)


class Regressor(RegressorMixin, BaseEstimator):
    """Neural-network regression at the speed of the machine.

    A multi-layer perceptron, or any network written with the operations of :class:`ctrain.Tape`,
    trained by mini-batches.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Units of each hidden layer; empty for a linear model.
    activation : str or sequence of str, default="relu"
        One for all hidden layers or one for each: relu, tanh, logistic, identity, gelu,
        gelu_tanh, silu, elu, leaky_relu, softplus.
    loss : str, Loss or callable, default="squared_error"
        A name or object of :mod:`ctrain.losses`, or ``loss(tape, prediction, target)`` that
        returns one number per row.
    optimizer : str or object, default="adamw"
        sgd, adam, adamw, rmsprop, adagrad, lbfgs, or an object of :mod:`ctrain.optimizers`.
    learning_rate_init : float, default=1e-3
        What the schedule scales.
    schedule : str, object or callable, default="constant"
        ``"constant"``, or ``schedule(step) -> learning rate`` with steps counted from 0.
    alpha : float, default=0.0
        L2 penalty ``alpha / 2 * sum(w ** 2)`` on weights, not on biases; applied after clipping.
    l1 : float, default=0.0
        L1 penalty ``l1 * sum(|w|)``, likewise.
    dropout : float, default=0.0
        Probability in [0, 1) of dropping a hidden unit in training.
    clip_norm : float or None, default=1.0
        Largest norm of the gradient of the mean loss; larger ones are scaled down to it.
    clip_value : float or None, default=None
        Largest absolute value of one element of the gradient.
    batch_size : int or "auto", default="auto"
        Rows of one step; "auto" is ``min(200, n_samples)``.
    accumulate_steps : int, default=1
        Batches whose gradients are summed for one step; the same bits as a batch of
        ``accumulate_steps * batch_size`` rows.
    max_iter : int, default=100
        Passes over the data (epochs).
    max_steps : int or None, default=None
        Number of optimizer steps; wins over `max_iter`.
    shuffle : bool, default=True
        Whether rows are drawn in a new order in each epoch.
    validation_fraction : float, default=0.0
        Share of the training rows in [0, 1) that is held out for `validation_loss_curve_`: a
        random one, or the last rows with ``shuffle=False``.
    model : callable or object, default=None
        ``model(tape, x)`` or an object with ``record(tape, inputs, width)``; replaces
        `hidden_layer_sizes`, `activation` and `dropout`.
    dtype : {"auto", "float32", "float64"}, default="auto"
        Precision of the computation and of predictions; "auto" follows X.
    n_jobs : int or None, default=None
        Threads; None = all that are allowed, -1 likewise. The result is the same, bit by bit.
    random_state : int, RandomState or None, default=None
        Seed of initial weights, shuffling, dropout and the validation split.
    warm_start : bool, default=False
        Whether the next fit continues with the weights and the optimizer's state.
    verbose : int, default=0
        One line of progress every so many epochs, through the logger ``ctrain``.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        Weights ``(n_in, n_out)`` and biases of each layer; None for a user's model.
    loss_curve_ : list of float
        Mean training loss of each epoch.
    validation_loss_curve_ : list of float or None
        Loss on the validation rows after each epoch.
    lr_curve_ : list of float
        Last learning rate of each epoch.
    loss_, best_loss_ : float
        Last and smallest of `loss_curve_`.
    n_iter_, t_ : int
        Epochs and optimizer steps taken.
    n_layers_, n_outputs_, n_features_in_ : int
    out_activation_ : str
        What is applied to the last layer: ``"identity"``, or ``"exp"`` / ``"logistic"`` by loss.
    fit_time_ : float
        Seconds.

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from ctrain import Regressor
    >>> X, y = make_regression(300, 5, noise=1.0, random_state=0)
    >>> reg = Regressor((32,), learning_rate_init=0.01, max_iter=300, random_state=0)
    >>> reg.fit(X, y / y.std()).score(X, y / y.std()) > 0.99
    True
    """

    def __init__(
        self,
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        loss="squared_error",
        optimizer="adamw",
        learning_rate_init=1e-3,
        schedule="constant",
        alpha=0.0,
        l1=0.0,
        dropout=0.0,
        clip_norm=1.0,
        clip_value=None,
        batch_size="auto",
        accumulate_steps=1,
        max_iter=100,
        max_steps=None,
        shuffle=True,
        validation_fraction=0.0,
        model=None,
        dtype="auto",
        n_jobs=None,
        random_state=None,
        warm_start=False,
        verbose=0,
        **unknown,
    ):
        for name in unknown:
            raise TypeError(unknown_parameter(type(self).__name__, name, self._get_param_names()))
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.loss = loss
        self.optimizer = optimizer
        self.learning_rate_init = learning_rate_init
        self.schedule = schedule
        self.alpha = alpha
        self.l1 = l1
        self.dropout = dropout
        self.clip_norm = clip_norm
        self.clip_value = clip_value
        self.batch_size = batch_size
        self.accumulate_steps = accumulate_steps
        self.max_iter = max_iter
        self.max_steps = max_steps
        self.shuffle = shuffle
        self.validation_fraction = validation_fraction
        self.model = model
        self.dtype = dtype
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    # ------------------------------------------------------------------- fitting

    def fit(self, X, y, sample_weight=None, *, X_val=None, y_val=None):
        """Train the network.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            float32 and float64 are read in place, memory maps too.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        sample_weight : array-like of shape (n_samples,), default=None
            Not negative; a weight of 2 counts like a row that is there twice.
        X_val, y_val : array-like, default=None
            Validation rows, instead of `validation_fraction`.

        Returns
        -------
        Regressor
            Itself.
        """
        started = time.perf_counter()
        self._check_parameters()
        loss = losses.resolve(self.loss)
        X, y, sample_weight, dtype = self._check_data(X, y, sample_weight, loss)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        rows, held_out = self._split(X, y, seed)
        source = _source(X, y, sample_weight)
        validation = None
        if X_val is not None or y_val is not None:
            validation = self._validation_source(X_val, y_val, dtype, loss), None
        elif len(held_out):
            validation = source, held_out
        n_features = X.shape[1]

        continued = self.warm_start and hasattr(self, "_network")
        if continued:
            self._check_continuation(y.shape[1], dtype)
            progress = self._progress
        else:
            model = self.model
            if model is None:
                model = MLP(self.hidden_layer_sizes, self.activation, self.dropout)
            network = Network(model, loss, {"x": (n_features,)}, y.shape[1], dtype, seed)
            self._network, progress = network, training.Progress()
        self._progress = progress
        self._fast = (n_features, dtype, not hasattr(self, "feature_names_in_"))
        settings = self._settings(len(rows), seed)
        try:
            training.fit(self._network, source, rows, settings, progress, validation)
        finally:
            self._describe(progress)
            self.fit_time_ = time.perf_counter() - started
        return self

    def predict(self, X):
        """Predict targets.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets), one more axis for several quantiles
            In the dtype of the fit. A row's bits do not depend on the other rows.
        """
        fast = getattr(self, "_fast", None)
        if not (
            fast is not None
            and type(X) is np.ndarray
            and X.ndim == 2
            and X.shape[1] == fast[0]
            and X.dtype == fast[1]
            and X.shape[0]
            and fast[2]
        ):
            check_is_fitted(self, "loss_curve_")
            X = validate_data(
                self, X, reset=False, accept_sparse="csr", dtype=[np.float64, np.float32],
                ensure_all_finite=False,
            )  # fmt: skip
        try:
            out = self._network.predict(Arrays(x=X), effective_n_threads(self.n_jobs))
        except NotFiniteError:
            check_finite(X, "X", type(self).__name__)
            raise  # finite in its own dtype, too large for the network's
        if self._squeeze:
            return out.reshape(out.shape[0]) if out.ndim == 2 else out[:, 0]
        return out

    # ------------------------------------------------------------------- details

    def _check_parameters(self) -> None:
        check_float(self, "learning_rate_init", 0.0, closed=False)
        check_float(self, "alpha", 0.0)
        check_float(self, "l1", 0.0)
        check_float(self, "dropout", 0.0, high=1.0)
        check_float(self, "clip_norm", 0.0, closed=False, optional=True)
        check_float(self, "clip_value", 0.0, closed=False, optional=True)
        check_float(self, "validation_fraction", 0.0, high=1.0)
        if self.batch_size != "auto":
            check_int(self, "batch_size", 1)
        check_int(self, "accumulate_steps", 1)
        check_int(self, "max_iter", 1)
        check_int(self, "max_steps", 1, optional=True)
        check_int(self, "verbose", 0)
        check_bool(self, "shuffle")
        check_bool(self, "warm_start")
        check_choice(self, "dtype", ("auto", "float32", "float64"))
        effective_n_threads(self.n_jobs)
        losses.resolve(self.loss).validate()
        optimizers.resolve(self.optimizer).validate()
        schedules.resolve(self.schedule)
        if self.model is None:
            MLP(self.hidden_layer_sizes, self.activation, self.dropout).layers()
        elif not callable(self.model) and not hasattr(self.model, "record"):
            raise TypeError(
                "model must be a callable model(tape, x) or have record(tape, inputs, width); "
                f"got {self.model!r}"
            )

    def _check_data(self, X, y, sample_weight, loss):
        X, y = validate_data(
            self, X, y, accept_sparse="csr", dtype=[np.float64, np.float32], multi_output=True,
            y_numeric=True, ensure_all_finite=False,
        )  # fmt: skip
        dtype = np.dtype(X.dtype if self.dtype == "auto" else self.dtype)
        check_finite(X, "X", type(self).__name__)
        y = self._check_target(y, dtype, "y", loss)
        return X, y, check_weights(sample_weight, X.shape[0], dtype), dtype

    def _check_target(self, y, dtype, name, loss):
        if y.ndim == 2 and y.shape[1] == 1:
            warnings.warn(
                f"A column-vector {name} was passed when a 1d array was expected. Please change "
                "the shape of y to (n_samples,), for example using ravel().",
                DataConversionWarning,
                stacklevel=4,
            )
            y = y[:, 0]
        y = y if y.dtype in (np.float32, np.float64) else y.astype(dtype)
        check_finite(y, name, type(self).__name__)
        if name == "y":
            self._squeeze = y.ndim == 1
        loss.check_target(y)
        return y.reshape(-1, 1) if y.ndim == 1 else y

    def _split(self, X, y, seed):
        """Rows to train on and rows held out."""
        n = X.shape[0]
        rows = np.arange(n)
        if self.validation_fraction == 0.0:
            return rows, rows[:0]
        held_out = int(np.ceil(self.validation_fraction * n))
        if held_out >= n:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} of {n} rows leaves none to train "
                "on; lower it or pass X_val and y_val"
            )
        if not self.shuffle:
            return rows[: n - held_out], rows[n - held_out :]
        order = random.permutation(random.key(seed, "validation"), n)
        return np.sort(order[held_out:]), np.sort(order[:held_out])

    def _validation_source(self, X_val, y_val, dtype, loss):
        if X_val is None or y_val is None:
            missing = "X_val" if X_val is None else "y_val"
            raise ValueError(f"X_val and y_val go together; {missing} is missing")
        squeeze = self._squeeze
        X_val = validate_data(
            self, X_val, reset=False, accept_sparse="csr", dtype=[np.float64, np.float32],
            ensure_all_finite=False,
        )  # fmt: skip
        check_finite(X_val, "X_val", type(self).__name__)
        y_val = np.asarray(y_val)
        if y_val.dtype.kind not in "fiub":
            y_val = y_val.astype(np.float64)
        if y_val.ndim not in (1, 2) or y_val.shape[0] != X_val.shape[0]:
            raise ValueError(
                f"y_val must have one row for each of the {X_val.shape[0]} rows of X_val; "
                f"got shape {y_val.shape}"
            )
        if (y_val.ndim == 1) != squeeze and not (squeeze and y_val.shape[1] == 1):
            raise ValueError(f"y_val must have as many axes as y; got shape {y_val.shape}")
        y_val = self._check_target(y_val, dtype, "y_val", loss)
        return _source(X_val, y_val, None)

    def _check_continuation(self, n_targets, dtype) -> None:
        network = self._network
        width = network.training.inputs["x"].shape[0]
        if width != self.n_features_in_ or network.n_targets != n_targets:
            raise ValueError(
                f"warm_start: the fitted network maps {width} features to {network.n_targets} "
                f"targets; got {self.n_features_in_} and {n_targets}; set warm_start=False"
            )
        if network.dtype != dtype:
            raise ValueError(
                f"warm_start: the fitted network is {network.dtype}; got {dtype} data; set dtype"
            )

    def _settings(self, n_rows: int, seed: int) -> training.Settings:
        batch_size = min(200, n_rows) if self.batch_size == "auto" else int(self.batch_size)
        return training.Settings(
            optimizer=optimizers.resolve(self.optimizer),
            schedule=schedules.resolve(self.schedule),
            learning_rate_init=float(self.learning_rate_init),
            batch_size=batch_size,
            accumulate_steps=int(self.accumulate_steps),
            max_iter=int(self.max_iter),
            max_steps=None if self.max_steps is None else int(self.max_steps),
            shuffle=bool(self.shuffle),
            alpha=float(self.alpha),
            l1=float(self.l1),
            clip_norm=self.clip_norm,
            clip_value=self.clip_value,
            seed=seed,
            n_threads=effective_n_threads(self.n_jobs),
            verbose=int(self.verbose),
        )

    def _describe(self, progress: training.Progress) -> None:
        """Fitted attributes, with MLPRegressor's names."""
        network = self._network
        layers = 0
        if self.model is None:
            layers = sum(p.name.endswith(".weight") for p in network.parameters)
        self.coefs_ = self.intercepts_ = None
        if layers:
            self.coefs_ = [network.parameters[f"layer_{k}.weight"].value for k in range(layers)]
            self.intercepts_ = [network.parameters[f"layer_{k}.bias"].value for k in range(layers)]
        self.n_layers_ = layers + 1 if layers else None
        self.n_outputs_ = network.n_targets
        linked = network.outputs["prediction"].name.rpartition("_")[0]
        self.out_activation_ = {"exp": "exp", "sigmoid": "logistic"}.get(linked, "identity")
        self.loss_curve_ = list(progress.loss_curve)
        self.validation_loss_curve_ = list(progress.validation_loss_curve) or None
        self.lr_curve_ = [float(rates[-1]) for rates in progress.learning_rates]
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else None
        self.best_loss_ = min(self.loss_curve_) if self.loss_curve_ else None
        self.n_iter_ = progress.epoch
        self.t_ = progress.step

    def set_params(self, **params):
        """Set parameters; an unknown name is answered with what replaces it."""
        valid = self.get_params(deep=False)
        for name in params:
            if name.partition("__")[0] not in valid:
                raise ValueError(unknown_parameter(type(self).__name__, name, sorted(valid)))
        return super().set_params(**params)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.target_tags.multi_output = True
        return tags


def _source(X, y, sample_weight) -> Arrays:
    """Data as a source; nothing is copied."""
    if sample_weight is None:
        return Arrays(x=X, y=y)
    return Arrays(x=X, y=y, weight=sample_weight)
