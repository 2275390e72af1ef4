"""Window scalers: what a window's past says of location and scale, as operations of the tape.

The network sees ``(y - location) / scale``, is trained in these units, and its forecast is put back
into those of the series. Statistics are of the available steps of the past alone.
"""

from __future__ import annotations

import numpy as np
from sklearn.base import BaseEstimator

from .rules import find
from .validation import check_float

__all__ = ["SCALERS", "Last", "MinMax", "RevIN", "Robust", "Scaler", "Standard", "resolve"]

#: median absolute deviation of a standard normal variable, the inverse normal of 3 / 4
NORMAL_MAD = 0.6744897501960817


class Scaler(BaseEstimator):
    """Location 0 and scale 1: no scaling. Subclasses say otherwise.

    Examples
    --------
    >>> from ctrain.scalers import Scaler
    >>> class Doubled(Scaler):
    ...     def record(self, tape, past, mask):
    ...         return tape.constant([0.0]), tape.constant([2.0])
    """

    def validate(self) -> None:
        """Raise ValueError if a parameter is out of its range."""

    def record(self, tape, past, mask):
        """Record location and scale of a window.

        Parameters
        ----------
        tape : Tape
        past, mask : Tensor of shape (..., input_size)
            Values, and 1 where there is one, else 0; values are 0 there. Series that are forecast
            together are an axis before time.

        Returns
        -------
        location, scale : Tensor of shape (..., 1) or None
            None where it is always 0 or 1.
        """
        return None, None

    def affine(self, tape):
        """Learned gain and bias of the scaled values, of shape (1,); None for neither."""
        return None


def _available(tape, past, mask):
    """Number and mean of the available values, both of shape (..., 1)."""
    count = tape.maximum(tape.sum(mask, axis=-1, keepdims=True), 1.0)
    return count, tape.div(tape.sum(past, axis=-1, keepdims=True), count)


class Standard(Scaler):
    """Mean and standard deviation (ddof 0) of the window.

    Parameters
    ----------
    eps : float, default=1e-5
        Added to the variance, in units of the series squared; a constant window has the scale
        ``eps ** 0.5``.

    Examples
    --------
    >>> from ctrain.scalers import Standard
    >>> Standard(eps=1e-8)
    Standard(eps=1e-08)
    """

    def __init__(self, eps=1e-5):
        self.eps = eps

    def validate(self) -> None:
        check_float(self, "eps", 0.0, closed=False)

    def record(self, tape, past, mask):
        count, mean = _available(tape, past, mask)
        distance = tape.mul(tape.sub(past, mean), mask)
        variance = tape.div(tape.sum(tape.square(distance), axis=-1, keepdims=True), count)
        return mean, tape.sqrt(tape.add(variance, float(self.eps)))


class RevIN(Standard):
    """Reversible instance normalisation: `Standard`, then a learned gain and bias.

    Parameters
    ----------
    eps : float, default=1e-5

    References
    ----------
    Kim et al., Reversible instance normalization for accurate time-series forecasting against
    distribution shift, ICLR 2022.

    Examples
    --------
    >>> from ctrain.scalers import RevIN
    >>> RevIN()
    RevIN()
    """

    def affine(self, tape):
        gain = tape.parameter((1,), name="revin.gain", init="ones", decay=False)
        return gain, tape.parameter((1,), name="revin.bias", init="zeros", decay=False)


class Robust(Scaler):
    """Median, and median absolute deviation from it, of the window.

    Where more than half of the values are equal the deviation is 0; the scale is then what it is
    for a normal variable whose mean square around the median is the window's, and 1 for a constant
    window.

    Examples
    --------
    >>> from ctrain.scalers import Robust
    >>> Robust()
    Robust()
    """

    def record(self, tape, past, mask):
        median = tape.median(past, mask, axis=-1, keepdims=True)
        distance = tape.mul(tape.abs(tape.sub(past, median)), mask)
        deviation = tape.median(distance, mask, axis=-1, keepdims=True)
        count = tape.maximum(tape.sum(mask, axis=-1, keepdims=True), 1.0)
        square = tape.div(tape.sum(tape.square(distance), axis=-1, keepdims=True), count)
        spread = tape.where(deviation, deviation, tape.scale(tape.sqrt(square), NORMAL_MAD))
        return median, tape.where(spread, spread, tape.constant([1.0]))


class MinMax(Scaler):
    """Minimum, and range, of the window; a constant window has the scale 1.

    Examples
    --------
    >>> from ctrain.scalers import MinMax
    >>> MinMax()
    MinMax()
    """

    def record(self, tape, past, mask):
        hidden = tape.scale(tape.sub(1.0, mask), 1e30)
        high = tape.max(tape.sub(past, hidden), axis=-1, keepdims=True)
        low = tape.neg(tape.max(tape.neg(tape.add(past, hidden)), axis=-1, keepdims=True))
        spread = tape.maximum(tape.sub(high, low), 0.0)  # of no values it is negative
        low = tape.where(tape.max(mask, axis=-1, keepdims=True), low, tape.constant([0.0]))
        return low, tape.where(spread, spread, tape.constant([1.0]))


class Last(Scaler):
    """The last available value of the window, which is taken off; the scale is 1.

    Examples
    --------
    >>> from ctrain.scalers import Last
    >>> Last()
    Last()
    """

    def record(self, tape, past, mask):
        place = tape.mul(mask, np.arange(1.0, past.shape[-1] + 1.0))
        before = tape.sub(tape.max(place, axis=-1, keepdims=True), 1.0)
        at = tape.maximum(tape.sub(place, before), 0.0)  # 1 at the last available step, else 0
        return tape.sum(tape.mul(past, at), axis=-1, keepdims=True), None


SCALERS: dict[str, type[Scaler]] = {
    "none": Scaler,
    "standard": Standard,
    "robust": Robust,
    "minmax": MinMax,
    "last": Last,
    "revin": RevIN,
}


def resolve(scaler) -> Scaler:
    """Return the scaler that a name, an object or None stands for.

    Parameters
    ----------
    scaler : str, Scaler or None

    Returns
    -------
    Scaler

    Raises
    ------
    ValueError
        If it is an unknown name.
    TypeError
        If it is none of these.

    Examples
    --------
    >>> from ctrain.scalers import resolve
    >>> resolve("standard"), resolve(None)
    (Standard(), Scaler())
    """
    if scaler is None:
        return Scaler()
    if isinstance(scaler, Scaler):
        return scaler
    if isinstance(scaler, str):
        return find("scaler", scaler, SCALERS)()
    raise TypeError(f"scaler must be a name, an object of ctrain.scalers or None; got {scaler!r}")
