"""Labels: what a class is, and what it weighs."""

from __future__ import annotations

import numbers
import warnings
from dataclasses import dataclass

import numpy as np
from sklearn.exceptions import DataConversionWarning
from sklearn.utils.validation import check_array

from .validation import check_finite


@dataclass(eq=False)
class Coded:
    """Labels as numbers.

    Attributes
    ----------
    labels : ndarray of shape (n_labels,)
        The distinct ones in sorted order; the column numbers of an indicator matrix.
    index : ndarray of shape (n_samples,) or (n_samples, n_labels)
        Place of each row's label in `labels`, or the indicator matrix as it was given.
    """

    labels: np.ndarray
    index: np.ndarray

    @property
    def multilabel(self) -> bool:
        return self.index.ndim == 2

    @classmethod
    def of(cls, estimator, y, name: str, n_rows: int | None = None) -> Coded:
        """Read the argument `name`; raise ValueError if it does not hold labels."""
        y = _array(estimator, y, name, n_rows)
        if y.ndim == 2:
            _check_indicator(y, name)
            return cls(np.arange(y.shape[1]), y)
        return cls(*np.unique(y, return_inverse=True))

    def among(self, classes, multilabel: bool, name: str) -> np.ndarray:
        """Place of each row's label among the classes (n_samples, 1), or the indicator matrix."""
        if multilabel != self.multilabel or (multilabel and len(self.labels) != len(classes)):
            rule = "labels of shape (n_samples,)"
            rule = f"an indicator matrix of {len(classes)} columns" if multilabel else rule
            shape = self.index.shape
            raise ValueError(f"{name} must be {rule} as in training; got shape {shape}")
        if multilabel:
            return self.index
        known = {label: place for place, label in enumerate(classes.tolist())}
        labels = self.labels.tolist()
        unknown = [label for label in labels if label not in known]
        if unknown:
            raise ValueError(
                f"{name} holds {listed(unknown)}, not among the classes of the training, "
                f"{listed(classes)}"
            )
        return np.array([known[label] for label in labels])[self.index].reshape(-1, 1)


def check_classes(estimator, classes, multilabel: bool) -> None:
    """Raise ValueError if there is one class, or a warm start finds other classes."""
    if len(classes) < 2:
        raise ValueError(
            f"{type(estimator).__name__} needs at least 2 classes; got 1 class, {listed(classes)}"
        )
    if not (estimator.warm_start and hasattr(estimator, "_network")):
        return
    before = estimator.classes_
    if multilabel != estimator._multilabel or classes.tolist() != before.tolist():
        raise ValueError(
            f"warm_start needs the classes of the last fit, {listed(before)}; got "
            f"{listed(classes)}; set warm_start=False to start anew"
        )


def check_class_weight(estimator) -> None:
    """Check the parameter `class_weight`: a dict of label to weight, "balanced" or None."""
    weights = estimator.class_weight
    if weights is None or (isinstance(weights, str) and weights == "balanced"):
        return
    if not isinstance(weights, dict) or not all(map(_is_weight, weights.values())):
        raise ValueError(
            f"The 'class_weight' parameter of {type(estimator).__name__} must be a dict of label "
            f"to weight, finite and not negative, or 'balanced' or None. Got {weights!r} instead."
        )


def weights_of_classes(estimator, index, weights) -> np.ndarray:
    """Weight of each class (n_classes,), from the class numbers and the weights of the rows."""
    class_weight, classes = estimator.class_weight, estimator.classes_
    n = len(classes)
    if not isinstance(class_weight, dict):  # balanced
        sums = np.bincount(index, weights, n).astype(np.float64)
        present = sums > 0
        return np.divide(sums.sum(), present.sum() * sums, out=np.zeros(n), where=present)
    known = classes.tolist()
    strange = [label for label in class_weight if label not in known]
    # a fold of a search may lack a class, but where a class has no weight, a name is misspelt
    if strange and len(class_weight) < n + len(strange):
        raise ValueError(f"class_weight names {listed(strange)}; the classes are {listed(classes)}")
    return np.array([class_weight.get(label, 1.0) for label in known], np.float64)


def listed(labels) -> str:
    """The first ten labels."""
    labels = list(labels.tolist() if isinstance(labels, np.ndarray) else labels)
    return f"{labels[:10]}"[:-1] + (", ...]" if len(labels) > 10 else "]")


def _is_weight(value) -> bool:
    return isinstance(value, numbers.Real) and 0.0 <= value < np.inf


def _array(estimator, y, name: str, n_rows: int | None = None) -> np.ndarray:
    """Labels (n_rows,) or an indicator matrix (n_rows, n_labels), of any dtype."""
    if y is None:
        raise ValueError(
            f"This {type(estimator).__name__} estimator requires y to be passed, but the target "
            f"{name} is None"
        )
    try:
        y = check_array(
            y, dtype=None, ensure_2d=False, ensure_all_finite=False, ensure_min_samples=0,
            input_name=name, estimator=estimator,
        )  # fmt: skip
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name}: {error}") from None
    if y.ndim == 0 or (n_rows is not None and y.shape[0] != n_rows):
        rows = "" if n_rows is None else f", one row for each of the {n_rows} rows of X{name[1:]}"
        raise ValueError(f"{name} must be labels{rows}; got shape {y.shape}")
    if y.ndim == 2 and y.shape[1] == 1:
        if name == "y":
            warnings.warn(
                "A column-vector y was passed when a 1d array was expected. Please change the "
                "shape of y to (n_samples,), for example using ravel().",
                DataConversionWarning,
                stacklevel=8,
            )
        y = y.ravel()
    if y.dtype == object:
        if all(isinstance(label, (numbers.Real, np.bool_)) for label in y.flat):
            y = np.array(y.tolist())
        elif not all(isinstance(label, str) for label in y.flat):
            kinds = sorted({type(label).__name__ for label in y.flat})
            raise ValueError(
                f"{name} must hold labels of one type: strings, numbers or bools; got "
                f"{', '.join(kinds)}"
            )
    if y.dtype.kind == "f":
        check_finite(estimator, y, name, y.dtype)
        broken = y != np.rint(y)
        if broken.any():
            value = y[broken][0]
            raise ValueError(
                f"Unknown label type: continuous. {name} holds {value}; classes are whole numbers, "
                "strings or bools. Use Regressor for numbers."
            )
    return y


def _check_indicator(y, name: str) -> None:
    """Raise ValueError naming the first element that is neither 0 nor 1."""
    rule = (
        f"{name} of shape {y.shape} must be an indicator matrix, 0 and 1, a column for each label"
    )
    if y.dtype.kind not in "biuf":
        raise ValueError(f"{rule}; got {y.dtype}; use sklearn.preprocessing.MultiLabelBinarizer")
    bad = np.argwhere((y != 0) & (y != 1))
    if len(bad):
        row, column = bad[0]
        raise ValueError(f"{rule}; row {row}, column {column} is {y[row, column]}")
