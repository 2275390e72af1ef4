"""The classifier: its parameters, and targets that are labels."""

from __future__ import annotations

import numpy as np
from scipy.sparse import issparse
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if

from . import losses
from .callbacks.protocol import with_callbacks
from .estimator import takes_steps
from .labels import Coded, check_class_weight, check_classes, listed, weights_of_classes
from .tabular import Tabular
from .validation import answers_unknown_names


def _takes_parts(estimator) -> bool:
    """Whether a classifier has ``partial_fit``; AttributeError with the remedy if not."""
    if isinstance(estimator.class_weight, str):
        raise AttributeError(
            "partial_fit sees some of the rows, class_weight='balanced' needs all; pass a dict, "
            "such as of sklearn.utils.class_weight.compute_class_weight"
        )
    return takes_steps(estimator)


class Classifier(ClassifierMixin, Tabular):
    """Neural-network classification at the speed of the machine.

    A multi-layer perceptron, or any network written with the operations of :class:`ctrain.Tape`,
    trained by mini-batches. Two classes are one logit and a sigmoid, K > 2 classes are K logits
    and a softmax; an indicator matrix y (multi-label) is one logit and a sigmoid for each column.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Units of each hidden layer; empty for a linear model.
    activation : str or sequence of str, default="relu"
        One for all hidden layers or one for each: relu, tanh, logistic, identity, gelu,
        gelu_tanh, silu, elu, leaky_relu, softplus.
    loss : str, LogLoss or callable, default="log_loss"
        ``"log_loss"``, :class:`ctrain.losses.LogLoss` with its `label_smoothing`, an own
        :class:`ctrain.losses.Loss`, or ``loss(tape, prediction, target)`` that returns one number
        per row. ``prediction`` holds the logits, ``target`` class indices (positions in
        `classes_`): of shapes (1,) and (1,) for two classes, (1, K) and (1,) for K > 2, (L,) and
        (L,) for L labels.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class, ``{label: weight}``, by which the rows' weights are multiplied,
        in training and in the validation loss; a label that is not named has weight 1.
        "balanced": ``W / (K * W_k)``, `W_k` being the sum of the weights of class k and `W` of
        all. Not for multi-label targets.
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
        Share of the rows in (0, 1) that early stopping holds out: of each class a random one, or
        the last rows with ``shuffle=False``. Not used where `X_val` is given.
    validation_interval : int, default=1
        Epochs from one validation to the next.
    n_iter_no_change : int or inf, default=10
        Validations without improvement after which early stopping ends the training.
    tol : float, default=1e-4
        What counts as an improvement, in units of `monitor`. The best epoch is the best one by any
        margin.
    monitor : str or callable, default="loss"
        What early stopping looks at on the validation rows: the loss, or the name of a scorer of
        scikit-learn ("accuracy", "roc_auc", "neg_log_loss", ...), or a scorer.
    metrics : list of str or callable, default=None
        Further scorers that `history_` records on training and validation rows.
    model : callable or object, default=None
        ``model(tape, x)`` or an object with ``record(tape, inputs, shape)`` that puts out logits;
        replaces `hidden_layer_sizes`, `activation` and `dropout`. Its X may have more axes:
        (n_samples, time, n_features), say.
    dtype : {"auto", "float32", "float64"}, default="auto"
        Precision of the computation; "auto" follows X.
    n_jobs : int or None, default=None
        Threads; None = all that are allowed, -1 likewise. The result is the same, bit by bit.
    random_state : int, RandomState or None, default=None
        Seed of initial weights, shuffling, dropout and the validation split.
    warm_start : bool, default=False
        Whether the next fit, which must have the same classes, continues with the weights and the
        optimizer's state: ``max_iter=2`` and then 3 is, bit by bit, ``max_iter=5``. A schedule
        starts anew.
    verbose : int, default=0
        One line of progress every so many epochs, through the logger ``ctrain``.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        Labels in sorted order; the column numbers 0 ... L - 1 of an indicator matrix.
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
        What ended the training, such as ``"max_iter"`` or ``"early_stopping"``.
    n_layers_, n_outputs_, n_features_in_ : int
        Layers with input and output; logits; columns of X.
    out_activation_ : str
        ``"logistic"`` for two classes and for labels, ``"softmax"`` for more classes.
    fit_time_ : float
        Seconds.

    Notes
    -----
    Beside the data, which are read in place, a fit holds: the weights, their gradient, the
    optimizer's slots and a transposed copy of the hidden layers' weights; what one batch must keep
    for its backward pass, at most 256 MB; about 1 MB for each thread; and 24 bytes for each row,
    8 more with `class_weight`.

    An error or Ctrl-C during a fit leaves the estimator usable, with the weights of the last whole
    step. Data and parameters that are refused leave it as it was.

    See Also
    --------
    sklearn.neural_network.MLPClassifier : Its parameters have the same names here where they mean
        the same; others are answered with what replaces them.

    References
    ----------
    Bridle, "Probabilistic interpretation of feedforward classification network outputs", 1990
    (softmax).
    King, Zeng, "Logistic regression in rare events data", Political Analysis 9, 2001 ("balanced").

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from ctrain import Classifier
    >>> X, y = load_iris(return_X_y=True)
    >>> clf = Classifier((16,), learning_rate_init=0.02, batch_size=32, random_state=0)
    >>> clf.fit(X, y).score(X, y) > 0.95
    True
    >>> clf.predict_proba(X[:2]).shape
    (2, 3)
    """

    _learned = (*Tabular._learned, "classes_", "_multilabel", "_label_dtype")

    @answers_unknown_names
    def __init__(
        self,
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        loss="log_loss",
        class_weight=None,
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
        self.class_weight = class_weight
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
        y : array-like of shape (n_samples,) or {array-like, sparse matrix} of shape \
                (n_samples, n_labels)
            Labels of two or more classes: integers, strings, bools; or an indicator matrix of 0
            and 1 with two or more columns (multi-label).
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
        Classifier
            Itself.

        Raises
        ------
        ValueError, TypeError
            Before any work: if a parameter is out of its range or the data do not fit, naming
            argument, rule, value, row and column; if y has a single class, or `y_val` a label that
            y lacks. During the fit: if loss or gradient stop being finite; the weights are those
            before that step.
        """
        y, y_val = _dense(y), _dense(y_val)
        return self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val, resume)

    @available_if(_takes_parts)
    @with_callbacks
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train for one epoch on these rows, with the optimizer's state so far.

        A schedule goes on from call to call; one that is given no length stays at
        `learning_rate_init`.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)
            As many features as the first time.
        y : array-like of shape (n_samples,) or {array-like, sparse matrix} of shape \
                (n_samples, n_labels)
            Labels among `classes`, or an indicator matrix with as many columns as the first time.
        classes : array-like of shape (n_classes,), default=None
            All labels that this and later calls bring. Needed in the first call, unless y is an
            indicator matrix; later the same or None.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        Classifier
            Itself.

        Raises
        ------
        ValueError
            As :meth:`fit`; if features or classes are other ones.
        AttributeError
            With ``early_stopping=True``, because nothing is held out, with
            ``class_weight="balanced"``, which needs all rows, and with lbfgs.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from ctrain import Classifier
        >>> X, y = load_iris(return_X_y=True)
        >>> clf = Classifier(random_state=0).partial_fit(X[:100], y[:100], classes=[0, 1, 2])
        >>> clf.partial_fit(X[100:], y[100:]).n_iter_
        2
        """
        return self._partial_fit(X, _dense(y), sample_weight, partial=True, classes=classes)

    def predict(self, X):
        """Predict labels: the most probable class, or each label of probability above 0.5.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_labels)
            In the dtype of y. A row's label does not depend on the other rows.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If :meth:`fit` has not been called.
        ValueError
            If X has another number of columns or a value that is not finite; names row and column.
        """
        p = self._output(X)
        if self._multilabel:
            return (p > 0.5).astype(self._label_dtype)
        return self.classes_[p.argmax(axis=1)]

    def predict_proba(self, X):
        """Estimate the probability of each class, in the order of `classes_`.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)
            float32 where the fit and X are, else float64. Rows sum to 1, but those of labels, which
            do not exclude each other. A row's bits do not depend on the other rows.

        Raises
        ------
        sklearn.exceptions.NotFittedError, ValueError
            As :meth:`predict`.
        """
        return self._output(X)

    def predict_log_proba(self, X):
        """Compute the logarithm of :meth:`predict_proba`; minus infinity where that is 0.

        Parameters
        ----------
        X : {array-like, CSR matrix} of shape (n_samples, n_features)

        Returns
        -------
        ndarray of shape (n_samples, n_classes) or (n_samples, n_labels)

        Raises
        ------
        sklearn.exceptions.NotFittedError, ValueError
            As :meth:`predict`.
        """
        with np.errstate(divide="ignore"):
            return np.log(self._output(X))

    # ------------------------------------------------------------------- targets

    def _loss(self):
        several = not self._multilabel and len(self.classes_) > 2
        return _OfLogits(losses.resolve(self.loss), len(self.classes_) if several else 1)

    def _take_targets(
        self, y, n_rows, dtype, *, name="y", reset=False, partial=False, classes=None
    ):
        y = Coded.of(self, y, name, n_rows)
        if classes is not None:
            classes = Coded.of(self, classes, "classes").labels
        if reset:
            if partial and classes is None and not y.multilabel:
                raise ValueError(
                    "classes must be passed on the first call to partial_fit: all labels that "
                    "later calls will bring"
                )
            learnt = y.labels if classes is None or y.multilabel else classes
            check_classes(self, learnt, y.multilabel)
            self.classes_, self._multilabel = learnt, y.multilabel
            self._label_dtype = y.index.dtype.str
        numbers = y.among(self.classes_, self._multilabel, name).astype(dtype)
        if classes is not None and classes.tolist() != self.classes_.tolist():
            raise ValueError(
                f"classes must be {listed(self.classes_)}, as in the first call or as the columns "
                f"of y; got {listed(classes)}"
            )
        return numbers

    def _take_weights(self, sample_weight, targets, dtype, name="sample_weight"):
        weights = super()._take_weights(sample_weight, targets, dtype, name)
        if self.class_weight is None:
            return weights
        if self._multilabel:
            raise ValueError(
                "class_weight must be None for multi-label targets, whose rows belong to several "
                "classes; pass sample_weight"
            )
        index = targets[:, 0].astype(np.intp)
        if name == "sample_weight":  # validation rows are weighted like those in training
            self._class_weights = weights_of_classes(self, index, weights)
        weights = self._class_weights[index] * (1.0 if weights is None else weights)
        if not weights.any():
            raise ValueError(f"class_weight and {name} leave no row of a weight above 0")
        return weights

    def _strata(self, targets):
        return None if self._multilabel else targets[:, 0]

    def _check_parameters(self) -> None:
        super()._check_parameters()
        loss = losses.resolve(self.loss)
        while isinstance(loss, losses.Weighted):
            loss = losses.resolve(loss.loss)
        ours = (*losses.LOSSES.values(), losses.NegativeLogLikelihood)
        if isinstance(loss, ours) and not isinstance(loss, losses.LogLoss):
            raise ValueError(
                "loss of a Classifier must be 'log_loss', LogLoss(label_smoothing=...) or an own "
                f"loss of logits and class indices; got {self.loss!r}; use Regressor for numbers"
            )
        check_class_weight(self)

    def _describe(self) -> None:
        super()._describe()
        two = not self._multilabel and len(self.classes_) == 2
        self.n_outputs_ = 1 if two else len(self.classes_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = self.class_weight is None
        return tags


class _OfLogits(losses.Loss):
    """A loss of `width` logits for each target, which predicts probabilities."""

    def __init__(self, loss: losses.Loss, width: int) -> None:
        self.loss = loss
        self.width = width

    def record(self, tape, prediction, target):
        return self.loss.record(tape, prediction, target)

    def link(self, tape, prediction):
        if self.width > 1:
            return tape.softmax(tape.reshape(prediction, (self.width,)))
        if prediction.shape == (1,):  # two classes, both to their last digits
            prediction = tape.concat(tape.neg(prediction), prediction)
        return tape.sigmoid(prediction)


def _dense(y):
    """An indicator matrix as an array."""
    return y.toarray() if issparse(y) else y
