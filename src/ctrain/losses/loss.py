"""What a loss is, and checks that losses share."""

from __future__ import annotations

import numbers

import numpy as np
from sklearn.base import BaseEstimator

from ..distributions import empirical_quantiles


class Loss(BaseEstimator):
    """What a loss tells the estimator; subclasses record the operations.

    Attributes
    ----------
    width : int
        Values that the network puts out for each target.
    head : Distribution or None
        What they are the parameters of, which a model may draw from.
    quantile_levels : tuple of float or None
        Levels on the last axis of what ``predict`` answers; None for one number.

    Examples
    --------
    >>> from ctrain import Regressor
    >>> from ctrain.losses import Loss
    >>> class FourthPower(Loss):
    ...     def record(self, tape, prediction, target):
    ...         return tape.mean(tape.power(tape.sub(prediction, target), 4.0))
    >>> reg = Regressor(loss=FourthPower())
    """

    width = 1
    head = None
    quantile_levels = None

    def validate(self) -> None:
        """Check the parameters; raise ValueError with the rule."""

    def check_target(self, y: np.ndarray, name: str) -> None:
        """Check that the targets, the argument `name`, lie in the loss's domain."""

    def record(self, tape, prediction, target):
        """Record the loss of one row.

        Parameters
        ----------
        tape : Tape
        prediction : Tensor of shape (n_targets,), or (n_targets, width) if width > 1
            What the network puts out.
        target : Tensor of shape (n_targets,)

        Returns
        -------
        Tensor of shape ()
        """
        raise NotImplementedError

    def link(self, tape, prediction):
        """Record what ``predict`` answers, from what the network puts out."""
        return prediction

    def within(self, location, scale) -> Loss:
        """Return the loss of a network that knows its numbers as ``(y - location) / scale``.

        Called where the head is of counts, whose likelihood is in units of the data.
        """
        return self

    def of_samples(self, tape, samples):
        """Record what ``predict`` answers, from draws of shape (n_targets, n_samples)."""
        if self.quantile_levels is None:
            return tape.mean(samples, axis=-1)
        return empirical_quantiles(tape, samples, self.quantile_levels)


def is_number(value) -> bool:
    """Whether a value is a number, and no bool."""
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def numbers_of(values) -> tuple[float, ...]:
    """One number or a sequence of them; empty if it is anything else."""
    values = [values] if is_number(values) else values
    if isinstance(values, str) or not np.iterable(values):
        return ()
    values = tuple(values)
    return tuple(map(float, values)) if all(map(is_number, values)) else ()


def check_domain(y: np.ndarray, outside: np.ndarray, rule: str) -> None:
    """Raise ValueError naming the first target that is outside the loss's domain."""
    if outside.any():
        row, *column = np.argwhere(outside)[0]
        place = f"row {row}" + (f", column {column[0]}" if column else "")
        raise ValueError(f"{rule}; {place} is {y[row, *column]}; use another loss for such targets")
