"""The regressor: stores parameters, validates data, calls ``training.fit``."""

from __future__ import annotations

import copy
import time
import warnings

import numpy as np
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.validation import check_is_fitted, validate_data

from . import losses, optimizers, schedules, training
from ._core import random
from ._core.parallel import effective_n_threads
from ._core.source import Arrays
from .models import MLP
from .network import Network, NotFiniteError
from .validation import (
    FLOATS,
    answers_unknown_names,
    check_bool,
    check_choice,
    check_features,
    check_finite,
    check_float,
    check_int,
    check_numbers,
    check_weights,
    draw_seed,
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
        lbfgs reads all rows in each of its iterations and has a line search: no schedule,
        batches, shuffling, clipping, dropout or `l1`.
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
        random one, or the last rows with ``shuffle=False``. Not used where `X_val` is given.
    model : callable or object, default=None
        ``model(tape, x)`` or an object with ``record(tape, inputs, shape)``; replaces
        `hidden_layer_sizes`, `activation` and `dropout`.
    dtype : {"auto", "float32", "float64"}, default="auto"
        Precision of the computation and of predictions; "auto" follows X.
    n_jobs : int or None, default=None
        Threads; None = all that are allowed, -1 likewise. The result is the same, bit by bit.
    random_state : int, RandomState or None, default=None
        Seed of initial weights, shuffling, dropout and the validation split.
    warm_start : bool, default=False
        Whether the next fit continues with the weights and the optimizer's state: ``max_iter=2``
        and then 3 is, bit by bit, ``max_iter=5``. A schedule starts anew.
    verbose : int, default=0
        One line of progress every so many epochs, through the logger ``ctrain``.

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        Weights ``(n_in, n_out)`` and biases of each layer, the arrays that `predict` reads; None
        for a user's model.
    loss_curve_ : list of float
        Mean training loss of each epoch.
    validation_loss_curve_ : list of float or None
        Loss on the validation rows after each epoch.
    lr_curve_ : list of float or None
        Last learning rate of each epoch; None with lbfgs.
    loss_, best_loss_ : float
        Last and smallest of `loss_curve_`.
    n_iter_, t_ : int
        Epochs and optimizer steps taken.
    n_layers_, n_outputs_, n_features_in_ : int
    out_activation_ : str
        What is applied to the last layer: ``"identity"``, or ``"exp"`` / ``"logistic"`` by loss.
    fit_time_ : float
        Seconds.

    Notes
    -----
    Beside the data, which are read in place, a fit holds: the weights, their gradient, the
    optimizer's slots and a transposed copy of the hidden layers' weights; what one batch must keep
    for its backward pass, at most 256 MB; about 1 MB for each thread; and 16 bytes for each row.

    An error or Ctrl-C during a fit leaves the estimator usable, with the weights of the last whole
    step. Data and parameters that are refused leave it as it was.

    See Also
    --------
    sklearn.neural_network.MLPRegressor : Its parameters have the same names here where they mean
        the same; others are answered with what replaces them.

    References
    ----------
    Loshchilov, Hutter, "Decoupled weight decay regularization", ICLR 2019 (AdamW).
    Pascanu, Mikolov, Bengio, "On the difficulty of training recurrent neural networks", ICML 2013
    (clipping to a norm).

    Examples
    --------
    >>> from sklearn.datasets import make_regression
    >>> from ctrain import Regressor
    >>> X, y = make_regression(300, 5, noise=1.0, random_state=0)
    >>> reg = Regressor((32,), learning_rate_init=0.01, max_iter=300, random_state=0)
    >>> reg.fit(X, y / y.std()).score(X, y / y.std()) > 0.99
    True
    """

    @answers_unknown_names
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
    ):
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

        Raises
        ------
        ValueError, TypeError
            Before any work: if a parameter is out of its range or the data do not fit, naming
            argument, rule, value, row and column. During the fit: if loss or gradient stop being
            finite; the weights are those before that step.
        """
        started = time.perf_counter()
        self._check_parameters()
        loss = losses.resolve(self.loss)
        seed = draw_seed(self, "random_state")
        draft = copy.copy(self)  # takes the columns of data that may yet be refused
        features = check_features(draft, X, reset=True)
        n, width = features.shape
        dtype = np.dtype(features.dtype if self.dtype == "auto" else self.dtype)
        check_finite(self, features, "X", dtype)
        targets, squeeze = self._check_targets(y, "y", n, dtype, loss)
        weights = check_weights(self, sample_weight, n, dtype)
        source = _source(features, targets, weights)
        if X_val is None and y_val is None:
            rows, validation = self._split(source, weights, seed)
        else:
            held_out = self._held_out(draft, X_val, y_val, targets.shape[1], dtype, loss)
            rows, validation = None, (held_out, None)
        settings = self._settings(n if rows is None else len(rows), seed)
        network, progress = self._record(width, targets.shape[1], dtype, loss, seed)
        training.check(network, settings)

        validate_data(self, X, skip_check_array=True)
        self._network, self._progress, self._squeeze = network, progress, squeeze
        self._plain_width = None if hasattr(self, "feature_names_in_") else width
        try:
            training.fit(network, source, rows, settings, progress, validation)
        finally:
            self._describe()
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

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If :meth:`fit` has not been called.
        ValueError
            If X has another number of columns or a value that is not finite; names row and column.
        """
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
            out = network.predict(Arrays(x=X), effective_n_threads(self.n_jobs))
        except NotFiniteError:
            check_finite(self, X, "X", network.dtype)
            raise
        return out.reshape(out.shape[0], *out.shape[2:]) if self._squeeze else out

    def score(self, X, y, sample_weight=None):
        """Compute the coefficient of determination R2 of the prediction.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        float
            At most 1.0; the mean over the targets.
        """
        levels = losses.resolve(self.loss).width
        if levels > 1:
            raise ValueError(
                f"score: R2 needs one prediction for each target, the loss makes {levels}; use "
                "sklearn.metrics.mean_pinball_loss for each level"
            )
        return super().score(X, y, sample_weight)

    @property
    def coefs_(self):
        """Weights ``(n_in, n_out)`` of each layer, not copied; None for a user's model."""
        return self._layers("weight")

    @property
    def intercepts_(self):
        """Biases of each layer, not copied; None for a user's model."""
        return self._layers("bias")

    # ------------------------------------------------------------------- details

    def _layers(self, what):
        check_is_fitted(self)
        if self.n_layers_ is None:
            return None
        weights = self._network.parameters
        return [weights[f"layer_{k}.{what}"].value for k in range(self.n_layers_ - 1)]

    def _check_parameters(self) -> None:
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
        check_bool(self, "shuffle")
        check_float(self, "validation_fraction", 0.0, high=1.0)
        check_choice(self, "dtype", ("auto", "float32", "float64"))
        effective_n_threads(self.n_jobs)
        check_bool(self, "warm_start")
        check_int(self, "verbose", 0)
        losses.resolve(self.loss).validate()
        optimizers.resolve(self.optimizer)
        schedules.resolve(self.schedule)
        if self.model is None:
            self._mlp().layers()
        elif isinstance(self.model, type) or not (
            callable(self.model) or hasattr(self.model, "record")
        ):
            raise TypeError(
                "model must be a callable model(tape, x) or an object with "
                f"record(tape, inputs, shape); got {self.model!r}"
            )

    def _mlp(self) -> MLP:
        return MLP(self.hidden_layer_sizes, self.activation, self.dropout)

    def _check_targets(self, y, name, n_rows, dtype, loss):
        """Targets as a finite float array (n_rows, n_targets), and whether one axis is enough."""
        if y is None:
            raise ValueError(
                f"This {type(self).__name__} estimator requires y to be passed, but the target "
                f"{name} is None"
            )
        y = check_numbers(self, y, name, dtype)
        if y.shape[:1] != (n_rows,):
            raise ValueError(
                f"{name} must have one row for each of the {n_rows} rows of X{name[1:]}; got shape "
                f"{y.shape}"
            )
        if name == "y" and y.ndim == 2 and y.shape[1] == 1:
            warnings.warn(
                "A column-vector y was passed when a 1d array was expected. Please change the "
                "shape of y to (n_samples,), for example using ravel().",
                DataConversionWarning,
                stacklevel=3,
            )
        check_finite(self, y, name, dtype)
        loss.check_target(y, name)
        return (y.reshape(-1, 1), True) if y.ndim == 1 else (y, y.shape[1] == 1)

    def _split(self, source, weights, seed):
        """Rows to train on (None: all), and the source and rows to validate on or None."""
        n = source.n_rows
        n_held_out = int(np.ceil(self.validation_fraction * n))
        if n_held_out == 0:
            return None, None
        if n_held_out >= n:
            raise ValueError(
                f"validation_fraction={self.validation_fraction} of n_samples={n} leaves no row to "
                "train on; lower it or pass X_val and y_val"
            )
        order = np.arange(n)
        if self.shuffle:
            order = random.permutation(random.key(seed, "validation"), n)
        rows, held_out = np.sort(order[:-n_held_out]), np.sort(order[-n_held_out:])
        for part, use in ((rows, "train"), (held_out, "validate")):
            if weights is not None and not weights[part].any():
                raise ValueError(
                    f"validation_fraction={self.validation_fraction} leaves only rows of "
                    f"sample_weight 0 to {use} on; drop those rows or pass X_val and y_val"
                )
        return rows, (source, held_out)

    def _held_out(self, draft, X_val, y_val, n_targets, dtype, loss) -> Arrays:
        """Validation rows that the caller chose."""
        if X_val is None or y_val is None:
            missing = "X_val" if X_val is None else "y_val"
            raise ValueError(f"X_val and y_val go together; {missing} is missing")
        X_val = check_features(draft, X_val, "X_val")
        check_finite(self, X_val, "X_val", dtype)
        y_val, _ = self._check_targets(y_val, "y_val", X_val.shape[0], dtype, loss)
        if y_val.shape[1] != n_targets:
            raise ValueError(
                f"y_val must have as many targets as y, {n_targets}; got {y_val.shape[1]}"
            )
        return _source(X_val, y_val, None)

    def _record(self, n_features, n_targets, dtype, loss, seed):
        """Network to train and its progress; on a warm start with the weights so far."""
        model = self._mlp() if self.model is None else self.model
        network = Network(model, loss, {"x": (n_features,)}, n_targets, dtype, seed)
        if not (self.warm_start and hasattr(self, "_network")):
            return network, training.Progress()
        if self._network.dtype != dtype:
            raise ValueError(
                f"warm_start: the fitted network computes in {self._network.dtype}, these data ask "
                f"for {dtype}; set dtype, or warm_start=False"
            )
        network.continue_from(self._network)
        return network, self._progress

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

    def _describe(self) -> None:
        """Fitted attributes, with MLPRegressor's names."""
        network, progress = self._network, self._progress
        self.n_layers_ = len(self._mlp().layers()) + 2 if self.model is None else None
        self.n_outputs_ = network.n_targets
        linked = network.outputs["prediction"].name.rpartition("_")[0]
        self.out_activation_ = {"exp": "exp", "sigmoid": "logistic"}.get(linked, "identity")
        self.loss_curve_ = list(progress.loss_curve)
        self.validation_loss_curve_ = list(progress.validation_loss_curve) or None
        self.lr_curve_ = [float(rates[-1]) for rates in progress.learning_rates] or None
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else None
        self.best_loss_ = min(self.loss_curve_) if self.loss_curve_ else None
        self.n_iter_ = progress.epoch
        self.t_ = progress.step

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
