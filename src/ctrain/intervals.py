"""Intervals of forecasts: conformal ones from an inner backtest, and those of trained quantiles."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence

import numpy as np

__all__ = ["Conformal", "check_levels", "levels_of", "uncrossed"]


class Conformal:
    """Symmetric intervals whose half-widths are quantiles of past errors, step by step.

    The interval of a level holds a new value with at least that probability if its error and those
    of the calibration windows are exchangeable. Windows of one series overlap and follow another
    in time, so for series this is an approximation that grows better with more windows.

    Parameters
    ----------
    scores : array of shape (n_windows, horizon)
        ``|y - prediction| / scale`` of forecasts made before `y` was known, of all series and in
        any order; NaN where y is not available.

    Attributes
    ----------
    scores : ndarray of shape (n_windows, horizon)
        Each step's in ascending order, NaN last, float32 or float64 as given.
    n_scores : int64 ndarray of shape (horizon,)

    References
    ----------
    Stankeviciute, Alaa and van der Schaar, Conformal time-series forecasting, NeurIPS 2021.

    Examples
    --------
    >>> import numpy as np
    >>> from ctrain.intervals import Conformal
    >>> conformal = Conformal(np.arange(1.0, 10.0)[:, None] * [1.0, 2.0])  # 9 windows, 2 steps
    >>> conformal.half_width(80), conformal.half_width(90)
    (array([ 8., 16.]), array([ 9., 18.]))
    >>> conformal.interval(np.array([[100.0, 100.0]]), 80)
    (array([[92., 84.]]), array([[108., 116.]]))
    """

    def __init__(self, scores) -> None:
        scores = np.asarray(scores)
        if scores.ndim != 2 or scores.dtype.kind != "f":
            raise ValueError(
                "scores must be floats of shape (n_windows, horizon); got shape "
                f"{scores.shape}, dtype {scores.dtype}"
            )
        self.scores = np.sort(scores, axis=0)
        self.n_scores = (~np.isnan(self.scores)).sum(axis=0)
        if (self.scores < 0).any():
            raise ValueError(f"scores must not be negative; got {np.nanmin(scores)}")

    @classmethod
    def calibrate(cls, y, prediction, mask=None, scale=None) -> Conformal:
        """Take the scores of an inner backtest.

        Parameters
        ----------
        y, prediction : array of shape (n_windows, horizon)
        mask : bool array of shape (n_windows, horizon), default=None
            Where y is available; None for everywhere.
        scale : array of shape (n_windows,), default=None
            Of the series of each window, positive: intervals are proportional to it. None for 1.

        Returns
        -------
        Conformal

        Examples
        --------
        >>> import numpy as np
        >>> from ctrain.intervals import Conformal
        >>> Conformal.calibrate([[1.0], [5.0]], [[2.0], [1.0]], scale=[1.0, 2.0]).scores
        array([[1.],
               [2.]])
        """
        y, prediction = np.asarray(y), np.asarray(prediction)
        if y.shape != prediction.shape:
            raise ValueError(
                f"y has shape {y.shape}, so the prediction must have, too; got {prediction.shape}"
            )
        scores = np.abs(y - prediction)
        if scale is not None:
            scores = scores / _positive(scale)[:, None].astype(scores.dtype)
        return cls(scores if mask is None else np.where(mask, scores, scores.dtype.type(np.nan)))

    @property
    def horizon(self) -> int:
        """Number of steps."""
        return self.scores.shape[1]

    def half_width(self, level: float) -> np.ndarray:
        """Half-width of the interval at each step, in units of the scale.

        Of n scores it is the k-th smallest, ``k = ceil((n + 1) level / 100)``: the n + 1 corrects
        for their finite number.

        Parameters
        ----------
        level : float
            Percent, in (0, 100).

        Returns
        -------
        ndarray of shape (horizon,)

        Raises
        ------
        ValueError
            Too few scores at a step for this level.
        """
        (level,) = check_levels(level)
        # level / 100 is rarely a float; (n + 1) level / 100 must not be lifted by its rounding
        rank = np.ceil(np.round((self.n_scores + 1) * level / 100.0, 9)).astype(np.int64)
        short = rank > self.n_scores
        if short.any():
            step = int(np.argmax(short))
            needed = math.ceil(round(level / (100.0 - level), 9))
            raise ValueError(
                f"level={level:g} needs at least {needed} calibration windows over all series; "
                f"step {step + 1} of the horizon has {self.n_scores[step]}. Ask for more windows, "
                "or for a lower level"
            )
        return self.scores[rank - 1, np.arange(self.horizon)]

    def interval(self, prediction, level: float, scale=None) -> tuple[np.ndarray, np.ndarray]:
        """Lower and upper ends around forecasts.

        Parameters
        ----------
        prediction : array of shape (n_windows, horizon)
        level : float
            Percent, in (0, 100).
        scale : array of shape (n_windows,), default=None
            As in `calibrate`.

        Returns
        -------
        low, high : ndarray of shape (n_windows, horizon)
        """
        prediction = np.asarray(prediction)
        if prediction.ndim != 2 or prediction.shape[1] != self.horizon:
            raise ValueError(
                f"the prediction must have shape (n_windows, {self.horizon}), the steps that were "
                f"calibrated; got {prediction.shape}"
            )
        half = self.half_width(level)
        if scale is not None:
            half = half * _positive(scale)[:, None]
        half = half.astype(prediction.dtype, copy=False)
        return prediction - half, prediction + half


def check_levels(level) -> tuple[float, ...]:
    """Levels of intervals in percent, ascending: one number or several, in (0, 100).

    Examples
    --------
    >>> from ctrain.intervals import check_levels
    >>> check_levels((90, 80)), check_levels(99.5)
    ((80, 90), (99.5,))
    """
    given = [level] if isinstance(level, numbers.Real) else level
    good = isinstance(given, Sequence | np.ndarray | set) and not isinstance(given, str)
    for value in given if good else ():
        number = isinstance(value, numbers.Real) and not isinstance(value, bool)
        good = good and number and 0 < value < 100
    if not good or not len(given):
        raise ValueError(
            f"level must be one number of percent in (0, 100), or several, such as (80, 90); got "
            f"{level!r}"
        )
    return tuple(sorted({_plain(value) for value in given}))


def levels_of(quantiles) -> dict[float, tuple[int, int]]:
    """Which intervals a set of quantiles contains.

    Parameters
    ----------
    quantiles : sequence of float
        In (0, 1), in any order.

    Returns
    -------
    dict
        From the level in percent, ascending, to the positions of its lower and upper quantile.

    Examples
    --------
    >>> from ctrain.intervals import levels_of
    >>> levels_of((0.5, 0.1, 0.9, 0.95))
    {80: (1, 2)}
    """
    place = {round(float(quantile), 9): k for k, quantile in enumerate(quantiles)}
    pairs = {
        _plain(round(100.0 * (1.0 - 2.0 * low), 7)): (k, place[round(1.0 - low, 9)])
        for low, k in place.items()
        if low < 0.5 and round(1.0 - low, 9) in place
    }
    return dict(sorted(pairs.items()))


def uncrossed(prediction, quantiles) -> np.ndarray:
    """Quantile forecasts that do not cross: sorted at each step.

    Sorting never makes the quantile loss larger.

    Parameters
    ----------
    prediction : array of shape (..., n_quantiles)
    quantiles : sequence of float
        In any order; the columns of the answer are in this order, too.

    Returns
    -------
    ndarray of shape (..., n_quantiles)

    References
    ----------
    Chernozhukov, Fernandez-Val and Galichon, Quantile and probability curves without crossing,
    Econometrica 78, 2010.

    Examples
    --------
    >>> from ctrain.intervals import uncrossed
    >>> uncrossed([[5.0, 4.0, 7.0]], (0.9, 0.5, 0.1))
    array([[7., 5., 4.]])
    """
    prediction = np.asarray(prediction)
    if prediction.shape[-1:] != (len(quantiles),):
        raise ValueError(
            f"the prediction must have shape (..., {len(quantiles)}), one column for each "
            f"quantile; got {prediction.shape}"
        )
    answer = np.empty_like(prediction)
    answer[..., np.argsort(quantiles)] = np.sort(prediction, axis=-1)
    return answer


def _plain(level):
    level = float(level)
    return int(level) if level.is_integer() else level


def _positive(scale) -> np.ndarray:
    scale = np.asarray(scale, np.float64)
    if scale.ndim != 1 or not ((scale > 0) & np.isfinite(scale)).all():
        raise ValueError(f"scale must be positive numbers, one for each window; got {scale}")
    return scale
