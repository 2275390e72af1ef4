"""Bases of the interpretable blocks of N-BEATS: a forecast is coefficients times one of these."""

from __future__ import annotations

import math

import numpy as np
from numpy.polynomial import chebyshev, legendre
from scipy.interpolate import BSpline


def _changepoint(n: int, size: int) -> np.ndarray:
    """Ramps from 0 that start at ``1 / size, 2 / size, ..., 1``."""
    return np.maximum(0.0, np.linspace(0, 1, n)[:, None] - np.arange(1, size + 1) / size)


def _piecewise_linear(n: int, size: int) -> np.ndarray:
    """Triangles of height 1 on the inner knots of ``size`` pieces; the first function is 0."""
    distance = np.abs(np.linspace(0, 1, n)[:, None] - np.arange(size) / size) * size
    return np.maximum(0.0, 1.0 - distance) * (np.arange(size) > 0)


def _linear_hat(n: int, size: int) -> np.ndarray:
    """Triangles of height 1 on ``size`` points from 0 to 1, both ends among them."""
    points = np.linspace(0, 1, size)
    return np.maximum(0.0, 1.0 - np.abs(np.linspace(0, 1, n)[:, None] - points) * (size - 1))


def _spline(n: int, size: int) -> np.ndarray:
    """Cubic B-splines whose knots are equally spaced from 0 to 1."""
    knots = np.r_[[0.0] * 3, np.linspace(0, 1, size - 2), [1.0] * 3]
    return BSpline.design_matrix(np.linspace(0, 1, n), knots, 3).toarray()


#: name -> (n_points, n_functions) -> array of that shape
TREND = {
    "polynomial": lambda n, size: np.vander(np.arange(n) / n, size, increasing=True),
    "legendre": lambda n, size: legendre.legvander(np.linspace(-1, 1, n), size - 1),
    "chebyshev": lambda n, size: chebyshev.chebvander(np.linspace(-1, 1, n), size - 1),
    "changepoint": _changepoint,
    "piecewise_linear": _piecewise_linear,
    "linear_hat": _linear_hat,
    "spline": _spline,
}


def trend(kind: str, n_basis: int, input_size: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth functions of time, each scaled to its own span.

    Parameters
    ----------
    kind : str
        A key of `TREND`.
    n_basis : int
        One less than the number of functions: the degree of a polynomial.
    input_size, horizon : int

    Returns
    -------
    backcast : ndarray of shape (n_basis + 1, input_size)
        Newest point first.
    forecast : ndarray of shape (n_basis + 1, horizon)

    Examples
    --------
    >>> from ctrain.models.bases import trend
    >>> trend("polynomial", 2, 5, 4)[1][1]
    array([0.  , 0.25, 0.5 , 0.75])
    """
    backcast, forecast = (TREND[kind](n, n_basis + 1).T for n in (input_size, horizon))
    return backcast, forecast


def seasonality(n_harmonics: int, input_size: int, horizon: int) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines of the horizon's harmonics, then of each ``1 / n_harmonics`` between them.

    Frequencies are 0 and, in periods for each horizon, from 1 in steps of ``1 / n_harmonics`` to
    below ``horizon / 2``; the paper's basis is ``n_harmonics=1``.

    Parameters
    ----------
    n_harmonics, input_size, horizon : int

    Returns
    -------
    backcast : ndarray of shape (2 * n_frequencies, input_size)
        Newest point first, time counted backwards.
    forecast : ndarray of shape (2 * n_frequencies, horizon)
        All cosines, then all sines.

    Examples
    --------
    >>> from ctrain.models.bases import seasonality
    >>> seasonality(1, 48, 24)[1].shape
    (24, 24)
    """
    steps = np.arange(n_harmonics, math.ceil(n_harmonics * horizon / 2)) / n_harmonics
    frequency = 2 * np.pi * np.r_[0.0, steps][:, None]
    angles = (
        -frequency * np.arange(input_size) / horizon,
        frequency * np.arange(horizon) / horizon,
    )
    backcast, forecast = (np.concatenate((np.cos(a), np.sin(a))) for a in angles)
    return backcast, forecast
