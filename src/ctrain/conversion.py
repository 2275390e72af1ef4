"""The way from scikit-learn's multi-layer perceptrons to ours and back.

Both minimise a mean over the rows of a batch, but scikit-learn's gradients are those of half the
squared error, summed over the targets, and its penalty is divided by the rows of the batch. With
``c`` = our gradient / theirs, what is the same there and here is::

    alpha = c * alpha_sklearn / rows        learning_rate (sgd) = learning_rate_sklearn / c
"""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from . import optimizers, schedules
from .labels import check_classes
from .state import State

#: parameters of the same name and meaning
SAME = ("activation", "batch_size", "max_iter", "shuffle", "random_state", "tol", "warm_start",
        "validation_fraction", "n_iter_no_change")  # fmt: skip
#: operations after a hidden layer -> scikit-learn's activation
ACTIVATIONS = {(): "identity", ("relu",): "relu", ("tanh",): "tanh", ("sigmoid",): "logistic"}
#: operations after the last layer of a regressor -> scikit-learn's loss that ends like it
ENDS = {(): "squared_error", ("exp",): "poisson"}


def from_sklearn(kind: type, mlp):
    """Make a fitted estimator of class `kind` that predicts as `mlp` does.

    Parameters
    ----------
    kind : type
        Regressor or Classifier.
    mlp : MLPRegressor or MLPClassifier

    Raises
    ------
    TypeError
        If `mlp` is of another class.
    sklearn.exceptions.NotFittedError, ValueError
        If it has not been fitted, or on one class only.
    """
    theirs = _counterpart(kind)
    if not isinstance(mlp, theirs):
        raise TypeError(
            f"{kind.__name__}.from_sklearn takes a fitted {theirs.__name__}; got "
            f"{type(mlp).__name__}"
        )
    check_is_fitted(mlp, "coefs_")
    classifier = issubclass(kind, ClassifierMixin)
    several = mlp.out_activation_ == "softmax"
    multilabel = classifier and not several and mlp.n_outputs_ > 1
    n_targets = 1 if several else mlp.n_outputs_
    rows = _rows_seen(mlp)
    scale = _scale(mlp.loss, n_targets)
    estimator = kind(**_our_parameters(mlp, "accuracy" if classifier else "r2", scale, rows))
    n_features = estimator.n_features_in_ = mlp.n_features_in_
    estimator._plain_width = n_features
    if hasattr(mlp, "feature_names_in_"):
        estimator.feature_names_in_ = mlp.feature_names_in_
        estimator._plain_width = None
    if classifier:
        check_classes(estimator, mlp.classes_, multilabel)
        estimator.classes_, estimator._multilabel = mlp.classes_, multilabel
        estimator._label_dtype = (np.dtype(int) if multilabel else mlp.classes_.dtype).str
    else:
        estimator._squeeze = n_targets == 1
    state = State(seed=estimator._seed_of_fit())
    state.data = {"n_samples": rows, "n_features": n_features, "n_targets": n_targets,
                  "n_validation": 0}  # fmt: skip
    network = estimator._network_for((n_features,), n_targets, mlp.coefs_[0].dtype, state.seed)
    for k, (weight, bias) in enumerate(zip(mlp.coefs_, mlp.intercepts_, strict=True)):
        network.parameters.assign(f"layer_{k}.weight", weight)
        network.parameters.assign(f"layer_{k}.bias", bias)
    network.parameters.pack()
    estimator._network, estimator._state, estimator.history_ = network, state, state.history
    estimator._describe()
    return estimator


def to_sklearn(estimator):
    """Make a fitted MLPRegressor or MLPClassifier that predicts as `estimator` does.

    Raises
    ------
    sklearn.exceptions.NotFittedError, ValueError
        If it has not been fitted, or if scikit-learn has no such network.
    """
    check_is_fitted(estimator)
    kind = _counterpart(type(estimator))
    classifier = isinstance(estimator, ClassifierMixin)
    *hidden, end = _layers(estimator)
    shape = {"activation": _activation(hidden),
             "hidden_layer_sizes": tuple(w.shape[1] for w in estimator.coefs_[:-1])}  # fmt: skip
    if not classifier:
        shape["loss"] = _loss(estimator, end)
    # one step on one row makes all that scikit-learn keeps of a fit
    mlp = kind(**shape, random_state=0)
    network = estimator._network
    X, y = np.zeros((1, estimator.n_features_in_), network.dtype), np.zeros((1, network.n_targets))
    if not classifier:
        mlp.partial_fit(X, y if network.n_targets > 1 else y[0])
    else:
        y = y.astype(int) if estimator._multilabel else estimator.classes_[:1]
        mlp.partial_fit(X, y, classes=estimator.classes_)
    del mlp._optimizer  # the next partial_fit makes a new one
    mlp.set_params(**_their_parameters(estimator, _scale(mlp.loss, network.n_targets)))
    if hasattr(estimator, "feature_names_in_"):
        mlp.feature_names_in_ = estimator.feature_names_in_
    mlp.coefs_ = [w.copy() for w in estimator.coefs_]
    mlp.intercepts_ = [b.copy() for b in estimator.intercepts_]
    mlp._best_coefs, mlp._best_intercepts = list(mlp.coefs_), list(mlp.intercepts_)
    mlp._no_improvement_count = 0
    mlp.n_iter_, mlp.loss_ = estimator.n_iter_, estimator.loss_
    mlp.t_ = mlp.n_iter_ * estimator._state.data.get("n_samples", 0)
    mlp.loss_curve_ = list(estimator.loss_curve_)
    # where the next fit of a warm start goes on from: its losses and scores are not ours
    stops = mlp.early_stopping
    mlp.best_loss_ = None if stops else np.inf
    mlp.validation_scores_ = [] if stops else None
    mlp.best_validation_score_ = -np.inf if stops else None
    return mlp


def _counterpart(kind: type) -> type:
    from sklearn.neural_network import MLPClassifier, MLPRegressor  # as dear to import as ctrain

    return MLPClassifier if issubclass(kind, ClassifierMixin) else MLPRegressor


def _scale(loss: str, n_targets: int) -> float:
    """Our gradient / theirs."""
    return (2.0 if loss == "squared_error" else 1.0) / n_targets


def _rows_seen(mlp) -> int:
    """Rows of an epoch of a fitted MLP; 0 where it does not tell them, as with lbfgs."""
    epochs = len(getattr(mlp, "loss_curve_", ()))
    return round(mlp.t_ / epochs) if epochs else 0


def _our_parameters(mlp, score: str, scale: float, rows: int) -> dict:
    """Parameters of ours that mean what those of `mlp` do."""
    ours = {name: getattr(mlp, name) for name in SAME}
    sizes = mlp.hidden_layer_sizes
    ours["hidden_layer_sizes"] = tuple(int(n) for n in np.atleast_1d(sizes))
    ours["verbose"] = int(mlp.verbose)
    ours["clip_norm"] = None
    ours["loss"] = mlp.loss
    ours["learning_rate_init"] = mlp.learning_rate_init
    ours["early_stopping"] = mlp.early_stopping and mlp.solver != "lbfgs"
    ours["schedule"] = "constant"
    if ours["early_stopping"]:
        ours["monitor"] = score
    if not mlp.validation_fraction:  # 0 is allowed there where nothing is held out
        del ours["validation_fraction"]
    if mlp.solver == "lbfgs":
        ours["optimizer"] = optimizers.LBFGS(tol=mlp.tol)
        batch = rows
    else:
        batch = 200 if mlp.batch_size == "auto" else mlp.batch_size
        batch = min(batch, rows) if rows else batch
    if mlp.solver == "adam":
        ours["optimizer"] = optimizers.Adam((mlp.beta_1, mlp.beta_2), eps=mlp.epsilon * scale)
    if mlp.solver == "sgd":
        nesterov = mlp.nesterovs_momentum and mlp.momentum > 0
        ours["optimizer"] = optimizers.SGD(momentum=mlp.momentum, nesterov=nesterov)
        ours["learning_rate_init"] = mlp.learning_rate_init / scale
        ours |= _our_schedule(mlp, score)
    if batch:
        ours["alpha"] = scale * mlp.alpha / batch
    elif mlp.alpha:
        warnings.warn(
            f"from_sklearn: alpha={mlp.alpha} is divided by the number of rows, which an MLP "
            f"fitted with solver='lbfgs' does not tell; alpha is 0.0 now, for a further fit set it "
            f"to {scale * mlp.alpha:g} / n_samples",
            stacklevel=5,
        )
    return ours


def _our_schedule(mlp, score: str) -> dict:
    """Schedule for their `learning_rate`, which only sgd reads."""
    if mlp.learning_rate == "invscaling":
        return {"schedule": schedules.InverseScaling(power_t=mlp.power_t)}
    if mlp.learning_rate == "constant":
        return {}
    stops = mlp.early_stopping
    patience = mlp.n_iter_no_change
    plateau = schedules.ReduceOnPlateau(
        monitor=f"validation_{score}" if stops else "loss", mode="max" if stops else "min",
        factor=0.2, patience=int(min(patience, mlp.max_iter)), threshold=mlp.tol,
        threshold_mode="abs",
    )  # fmt: skip
    # a plateau does not end such a fit
    return {"schedule": plateau, "n_iter_no_change": np.inf}


def _their_parameters(estimator, scale: float) -> dict:
    """Parameters of an MLP that mean what ours do; what it does not have stays at its default."""
    theirs = {name: getattr(estimator, name) for name in SAME if name != "activation"}
    theirs["verbose"] = bool(estimator.verbose)
    theirs["learning_rate_init"] = estimator.learning_rate_init
    theirs["early_stopping"] = estimator._state.stopping is not None
    if estimator._state.stopping is None and estimator.early_stopping is True:
        theirs["early_stopping"] = True  # converted, not fitted here
    rows = estimator._state.data.get("n_samples", 0)
    batch = 200 if estimator.batch_size == "auto" else estimator.batch_size
    batch = min(batch, rows) if rows else batch
    batch *= estimator.accumulate_steps
    if estimator.accumulate_steps > 1:
        theirs["batch_size"] = batch
    optimizer = optimizers.resolve(estimator.optimizer)
    penalty = estimator.alpha
    if isinstance(optimizer, optimizers.LBFGS):
        theirs |= {"solver": "lbfgs", "tol": optimizer.tol}
        theirs["max_iter"] = optimizer.max_iter or estimator.max_iter
        batch = rows
    elif isinstance(optimizer, optimizers.SGD):
        theirs |= {"solver": "sgd", "momentum": optimizer.momentum}
        theirs["nesterovs_momentum"] = bool(optimizer.nesterov)
        theirs["learning_rate_init"] = estimator.learning_rate_init * scale
        penalty += optimizer.weight_decay
        schedule = estimator.schedule
        schedule = schedules.resolve(schedule) if isinstance(schedule, str) else schedule
        if isinstance(schedule, schedules.InverseScaling):
            theirs |= {"learning_rate": "invscaling", "power_t": schedule.power_t}
        if isinstance(schedule, schedules.ReduceOnPlateau):
            theirs |= {"learning_rate": "adaptive", "n_iter_no_change": max(1, schedule.patience)}
    elif isinstance(optimizer, optimizers.Adam):  # and AdamW, whose decay has no counterpart
        beta_1, beta_2 = optimizer.betas
        theirs |= {"solver": "adam", "beta_1": beta_1, "beta_2": beta_2}
        if optimizer.eps:
            theirs["epsilon"] = optimizer.eps / scale
        penalty += 0.0 if optimizer._decoupled else optimizer.weight_decay
    theirs["alpha"] = penalty * batch / scale
    return theirs


def _layers(estimator) -> list[tuple[str, ...]]:
    """Operations that follow each dense layer of a fitted network."""
    if estimator.n_layers_ is None:
        raise ValueError(
            f"to_sklearn: {_counterpart(type(estimator)).__name__} has dense layers only; model="
            f"{estimator.model!r} has no counterpart"
        )
    network = estimator._network
    makes = {id(node.output): node for node in network.inference.nodes}
    layers: list[tuple[str, ...]] = []
    after: tuple[str, ...] = ()
    node = makes.get(id(network.outputs["prediction"]))
    while node is not None:
        if node.op == "matmul":
            layers.append(after)
            after = ()
        else:
            after = (node.op, *after)
        node = makes.get(id(node.inputs[0]))
    return layers[::-1]


def _activation(hidden: list[tuple[str, ...]]) -> str:
    """Their name of the activation of all hidden layers."""
    for operations in hidden:
        if operations not in ACTIVATIONS:
            raise ValueError(
                "to_sklearn: scikit-learn has the activations identity, logistic, tanh and relu; "
                f"{' '.join(operations)!r} has no counterpart"
            )
    found = {ACTIVATIONS[operations] for operations in hidden}
    if len(found) > 1:
        raise ValueError(
            "to_sklearn: scikit-learn has one activation for all hidden layers; got "
            f"{', '.join(ACTIVATIONS[operations] for operations in hidden)}"
        )
    return found.pop() if found else "identity"


def _loss(estimator, end: tuple[str, ...]) -> str:
    """Their loss whose network ends like ours."""
    network = estimator._network
    prediction = network.outputs["prediction"]
    if prediction.shape != (network.n_targets,):
        raise ValueError(
            "to_sklearn: MLPRegressor predicts one number for each target; "
            f"loss={estimator.loss!r} has {prediction.shape[-1]}"
        )
    if end not in ENDS:
        raise ValueError(
            "to_sklearn: the network of an MLPRegressor ends with its last layer or the "
            f"exponential of it; loss={estimator.loss!r} ends it with {', '.join(end)}"
        )
    return ENDS[end]
