"""The regressor: its parameters, and targets that are numbers."""

from __future__ import annotations

import warnings

from sklearn.base import RegressorMixin
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from . import losses
from .callbacks.protocol import with_callbacks
from .estimator import takes_steps
from .tabular import Tabular
from .validation import answers_unknown_names, check_finite, check_numbers


class Regressor(RegressorMixin, Tabular):
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
    schedule : str, object or callable, default="warmup_cosine"
        A name or object of :mod:`ctrain.schedules`, or ``schedule(step) -> learning rate`` with
        steps counted from 0.
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
    max_time : float or None, default=None
        Seconds after which the training ends with the next step; the epoch that it cuts short
        counts as one.
    shuffle : bool, default=True
        Whether rows are drawn in a new order in each epoch.
    early_stopping : bool or "auto", default="auto"
        Whether to end when `monitor` has not improved for `n_iter_no_change` epochs, and to keep
        the weights of the best epoch; "auto": from 1,000 rows. The rows to validate on are `X_val`,
        or are held out.
    validation_fraction : float, default=0.2
        Share of the rows in (0, 1) that early stopping holds out: a random one, or the last rows
        with ``shuffle=False``. Not used where `X_val` is given.
    validation_interval : int, default=1
        Epochs from one validation to the next.
    n_iter_no_change : int or inf, default=10
        Validations without improvement after which early stopping ends the training.
    tol : float, default=1e-4
        What counts as an improvement, in units of `monitor`. The best epoch is the best one by any
        margin.
    monitor : str or callable, default="loss"
        What early stopping looks at on the validation rows: the loss, or the name of a scorer of
        scikit-learn, or a scorer.
    metrics : list of str or callable, default=None
        Further scorers that `history_` records on training and validation rows.
    model : callable or object, default=None
        ``model(tape, x)`` or an object with ``record(tape, inputs, shape)``; replaces
        `hidden_layer_sizes`, `activation` and `dropout`. Its X may have more axes:
        (n_samples, time, n_features), say.
    dtype : {"auto", "float32", "float64"}, default="auto"
        Precision of the computation; "auto" follows X.
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
    history_ : History
        Columns of the epochs and of the steps.
    loss_curve_ : list of float
        Mean training loss of each epoch.
    validation_loss_curve_ : list of float or None
        Loss on the validation rows after each epoch.
    validation_scores_ : list of float or None
        Scores on the validation rows after each epoch, where `monitor` is a scorer.
    lr_curve_ : list of float
        Last learning rate of each epoch; NaN with lbfgs.
    loss_, best_loss_ : float
        Last and smallest of `loss_curve_`.
    best_validation_score_ : float or None
        Best of `validation_scores_`.
    best_epoch_ : int or None
        Epoch, counted from 1, whose weights early stopping has kept.
    n_iter_, t_ : int
        Epochs and optimizer steps taken.
    stopped_by_ : str or None
        What ended the training: ``"max_iter"``, ``"max_steps"``, ``"max_time"``,
        ``"early_stopping"``, ``"callback"``, ``"converged"`` (lbfgs); None after an error.
    n_layers_, n_outputs_, n_features_in_ : int
        Layers with input and output; targets; columns of X.
    feature_names_in_ : ndarray of str
        Names of X's columns, if it had any.
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
    step, with early stopping those of the best epoch so far. Data and parameters that are refused
    leave it as it was.

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

    _learned = (*Tabular._learned, "_squeeze")

    @answers_unknown_names
    def __init__(
        self,
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        loss="squared_error",
        optimizer="adamw",
        learning_rate_init=1e-3,
        schedule="warmup_cosine",
        alpha=0.0,
        l1=0.0,
        dropout=0.0,
        clip_norm=1.0,
        clip_value=None,
        batch_size="auto",
        accumulate_steps=1,
        max_iter=100,
        max_steps=None,
        max_time=None,
        shuffle=True,
        early_stopping="auto",
        validation_fraction=0.2,
        validation_interval=1,
        n_iter_no_change=10,
        tol=1e-4,
        monitor="loss",
        metrics=None,
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
        self.max_time = max_time
        self.shuffle = shuffle
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.validation_interval = validation_interval
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.monitor = monitor
        self.metrics = metrics
        self.model = model
        self.dtype = dtype
        self.n_jobs = n_jobs
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose

    @with_callbacks
    def fit(
        self, X, y, sample_weight=None, *, X_val=None, y_val=None, sample_weight_val=None,
        resume=None,
    ):  # fmt: skip
        """Train the network.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            float32 and float64 are read in place, memory maps too.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
        sample_weight : array-like of shape (n_samples,), default=None
            Not negative; a weight of 2 counts like a row that is there twice.
        X_val, y_val, sample_weight_val : array-like, default=None
            Validation rows and their weights, instead of `validation_fraction`. `X_val` passes a
            pipeline's steps with ``Pipeline(..., transform_input=["X_val"])``.
        resume : str or path-like, default=None
            Checkpoint of an interrupted fit of these data with these parameters; the result is
            that of the whole fit, bit by bit.

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
        return self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val, resume)

    @available_if(takes_steps)
    @with_callbacks
    def partial_fit(self, X, y, sample_weight=None):
        """Train for one epoch on these rows, with the optimizer's state so far.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            As many features as the first time.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            As many targets as the first time.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        Regressor
            Itself.

        Raises
        ------
        ValueError
            As :meth:`fit`; if features or targets are other ones.
        AttributeError
            With ``early_stopping=True``, because nothing is held out, and with lbfgs.

        Notes
        -----
        A schedule goes on from call to call; one that is given no length
        stays at `learning_rate_init`.
        """
        return self._partial_fit(X, y, sample_weight)

    def predict(self, X):
        """Predict targets.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_targets), one more axis for several quantiles
            float32 where the fit and X are, else float64. A row's bits do not depend on the other
            rows.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If :meth:`fit` has not been called.
        ValueError
            If X has another number of columns or a value that is not finite; names row and column.
        """
        out = self._output(X)
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
        check_is_fitted(self)
        shape = self._network.outputs["prediction"].shape
        if len(shape) > 1:
            raise ValueError(
                f"score: R2 needs one prediction for each target, the loss makes {shape[1]}; use "
                "sklearn.metrics.mean_pinball_loss for each level"
            )
        return super().score(X, y, sample_weight)

    # ------------------------------------------------------------------- targets

    def _loss(self):
        return losses.resolve(self.loss)

    def _take_targets(self, y, n_rows, dtype, *, name="y", reset=False):
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
                stacklevel=6,
            )
        check_finite(self, y, name, dtype)
        self._loss().check_target(y, name)
        if reset:
            self._squeeze = y.ndim == 1 or y.shape[1] == 1
        y = y.reshape(-1, 1) if y.ndim == 1 else y
        if not reset and name == "y" and y.shape[1] != self._network.n_targets:
            raise ValueError(
                f"y must have as many targets as in the first call, {self._network.n_targets}; got "
                f"{y.shape[1]}"
            )
        return y

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
