"""What the estimators of tables share: features and targets become a source."""

from __future__ import annotations

import copy
import time

import numpy as np
from sklearn.utils.validation import check_is_fitted

from . import checkpoint, training
from ._core.parallel import effective_n_threads
from ._core.source import Arrays
from .estimator import Estimator
from .held_out import Scores, scorers, split
from .models import MLP
from .network import Network, NotFiniteError
from .state import State
from .validation import FLOATS, check_features, check_finite, check_float, check_weights

#: rows from which early_stopping="auto" holds some out
AUTO_STOPPING_ROWS = 1000


class Tabular(Estimator):
    """An estimator of rows of features; a subclass says what its targets are.

    It defines ``_loss``, ``_take_targets`` and, if it likes, ``_take_weights`` and ``_strata``.
    """

    _learned = ("n_features_in_", "feature_names_in_", "_plain_width")

    # ------------------------------------------------------------------- for subclasses

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
        held_out = draft._take_held_out(X_val, y_val, sample_weight_val, features, targets, dtype)
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
            "n_samples": source.n_rows, "n_features": _plain(features.shape[1:]),
            "n_targets": targets.shape[1],
            "n_validation": 0 if validation is None else
            validation[0].n_rows if held_out is not None else len(validation[1]),
        }  # fmt: skip
        network = draft._network_for(features.shape[1:], data["n_targets"], dtype, seed)
        training.check(network, settings)
        parts = {"train": (X, y, sample_weight, rows)}
        if held_out is not None:
            parts["validation"] = (X_val, y_val, sample_weight_val, None)
        elif validation is not None:
            parts["validation"] = (X, y, sample_weight, validation[1])
        scores = Scores(self, scorers(self), parts)
        state = draft._begin(network, data, settings, seed, saved)
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
        state = State(seed=draft._seed_of_fit()) if first else self._state
        network = None if first else self._network
        if first or network.training is None:  # loaded from a file
            network = draft._network_for(features.shape[1:], targets.shape[1], dtype, state.seed)
            if not first:
                network.continue_from(self._network)
        settings = draft._settings(source.n_rows, False, partial=True)
        training.check(network, settings)
        state.begin(settings)
        self._train(draft, network, state, source, None, settings, None, None, (X, y))
        return self

    def _take(self, X, y, sample_weight, *, reset: bool = True, **about_targets):
        """Training data as a source, and its parts: features, targets, weights, dtype."""
        features = check_features(self, X, reset=reset, row=None if reset else self._row())
        continued = self.warm_start and self.dtype == "auto" and hasattr(self, "_network")
        if reset and not continued:
            dtype = np.dtype(features.dtype if self.dtype == "auto" else self.dtype)
        else:
            dtype = self._network.dtype
        check_finite(self, features, "X", dtype)
        targets = self._take_targets(y, features.shape[0], dtype, reset=reset, **about_targets)
        weights = self._take_weights(sample_weight, targets, dtype)
        if reset:
            plain = features.ndim == 2 and not hasattr(self, "feature_names_in_")
            self._plain_width = self.n_features_in_ if plain else None
        return _source(features, targets, weights), features, targets, weights, dtype

    def _take_held_out(
        self, X_val, y_val, sample_weight_val, features, targets, dtype
    ) -> Arrays | None:
        """Validation rows that the caller chose."""
        given = {"X_val": X_val, "y_val": y_val}
        if all(value is None for value in given.values()):
            if sample_weight_val is not None:
                raise ValueError("sample_weight_val needs X_val and y_val")
            return None
        for name, value in given.items():
            if value is None:
                raise ValueError(f"X_val and y_val go together; {name} is missing")
        X_val = check_features(self, X_val, "X_val", row=features.shape[1:])
        check_finite(self, X_val, "X_val", dtype)
        y_val = self._take_targets(y_val, X_val.shape[0], dtype, name="y_val")
        if y_val.shape[1] != targets.shape[1]:
            raise ValueError(
                f"y_val must have as many targets as y, {targets.shape[1]}; got {y_val.shape[1]}"
            )
        weights = self._take_weights(sample_weight_val, y_val, dtype, "sample_weight_val")
        return _source(X_val, y_val, weights)

    def _network_for(self, row: tuple[int, ...], n_targets, dtype, seed) -> Network:
        """Record the model for rows of this shape."""
        model = self._mlp() if self.model is None else self.model
        return Network(model, self._loss(), {"x": row}, n_targets, dtype, seed)

    def _row(self) -> tuple[int, ...]:
        """Shape of a row of X."""
        return self._network.inference.inputs["x"].shape

    def _mlp(self) -> MLP:
        return MLP(self.hidden_layer_sizes, self.activation, self.dropout)

    def _check_model(self) -> None:
        check_float(self, "dropout", 0.0, high=1.0)
        check_float(self, "validation_fraction", 0.0, closed=False, high=1.0)
        if self.model is None:
            self._mlp().layers()
        else:
            super()._check_model()

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
            X = check_features(self, X, row=self._row())
        network = self._network
        try:
            out = network.predict(Arrays(x=X), effective_n_threads(self.n_jobs), name)
        except NotFiniteError:
            check_finite(self, X, "X", network.dtype)
            raise
        return out.astype(np.result_type(out, X), copy=False)

    # ------------------------------------------------------------------- scikit-learn's own

    @classmethod
    def from_sklearn(cls, mlp):
        """Make a fitted estimator of scikit-learn's: MLPRegressor or MLPClassifier.

        Parameters
        ----------
        mlp : MLPRegressor or MLPClassifier
            Fitted; of a Regressor the first, of a Classifier the second.

        Returns
        -------
        Regressor or Classifier
            With its weights, its precision and those of its parameters that mean something here;
            a further fit, with ``warm_start=True`` or `partial_fit`, goes on with new slots of the
            optimizer. `history_` begins empty.

        Raises
        ------
        TypeError
            If `mlp` is no such estimator.
        sklearn.exceptions.NotFittedError, ValueError
            If it has not been fitted, or on a single class.

        Warns
        -----
        UserWarning
            If ``solver="lbfgs"`` hides what its `alpha` is divided by.

        Notes
        -----
        `alpha` and, for sgd, `learning_rate_init` are converted to the scale of our losses: a step
        of sgd is the same step. Early stopping looks at the score, as it does there; an MLP without
        it stops on the training loss, which has no counterpart.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.datasets import make_regression
        >>> from sklearn.neural_network import MLPRegressor
        >>> from ctrain import Regressor
        >>> X, y = make_regression(200, 4, random_state=0)
        >>> mlp = MLPRegressor(early_stopping=True, learning_rate_init=0.02, random_state=0)
        >>> reg = Regressor.from_sklearn(mlp.fit(X, y))
        >>> np.allclose(reg.predict(X), mlp.predict(X), rtol=1e-12, atol=1e-12)
        True
        >>> reg.optimizer, reg.monitor
        (Adam(eps=2e-08), 'r2')
        """
        from . import conversion  # who converts can wait for it

        return conversion.from_sklearn(cls, mlp)

    def to_sklearn(self):
        """Make a fitted MLPRegressor or MLPClassifier with these weights.

        Returns
        -------
        MLPRegressor or MLPClassifier
            Predicts the same, and can be pickled, cloned and fitted further, with
            ``warm_start=True`` or `partial_fit`.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If it has not been fitted.
        ValueError
            If no such network exists there: other activations, several quantiles, an own model.

        Notes
        -----
        What scikit-learn does not have, does not change its predictions and is left out: clipping,
        dropout, other losses, optimizers and schedules, class weights. A further fit there is one
        of scikit-learn's.

        Examples
        --------
        >>> import numpy as np
        >>> from sklearn.datasets import make_regression
        >>> from ctrain import Regressor
        >>> X, y = make_regression(200, 4, random_state=0)
        >>> reg = Regressor((16,), optimizer="adam", max_iter=5, random_state=0).fit(X, y)
        >>> mlp = reg.to_sklearn()
        >>> mlp
        MLPRegressor(alpha=0.0, epsilon=5e-09, hidden_layer_sizes=(16,), max_iter=5,
                     random_state=0, validation_fraction=0.2)
        >>> np.allclose(mlp.predict(X), reg.predict(X), rtol=1e-12, atol=1e-12)
        True
        """
        from . import conversion

        return conversion.to_sklearn(self)

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
        weights = [p for p in self._network.parameters if p.name.endswith(".weight")]
        self.n_layers_ = len(weights) + 1 if self.model is None else None
        super()._describe()

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _plain(row: tuple[int, ...]):
    """Number of features, or the sizes of all axes of a row."""
    return row[0] if len(row) == 1 else list(row)


def _source(X, y, sample_weight) -> Arrays:
    """Data as a source; nothing is copied."""
    if sample_weight is None:
        return Arrays(x=X, y=y)
    return Arrays(x=X, y=y, weight=sample_weight)
