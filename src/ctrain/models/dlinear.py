"""DLinear: linear maps of a moving average of the window and of what is left of it."""

from __future__ import annotations

import math

from sklearn.base import BaseEstimator

from ..layers import linear
from .inputs import shaped, window
from .settings import require_size


class DLinear(BaseEstimator):
    r"""The sum of a linear map of the trend and one of the seasonality.

    .. math:: \hat y = t W_t + b_t + (y - t) W_s + b_s

    The trend :math:`t` of the window :math:`y` is a centred moving average; beyond its ends the
    window goes on with its first and its last value.

    Parameters
    ----------
    moving_avg_window : int, default=25
        Time steps of the moving average; odd.

    Notes
    -----
    The parameters are ``trend.weight`` and ``seasonality.weight`` of shape (input_size, horizon)
    and a bias of shape (horizon,) of each.

    References
    ----------
    Zeng, Chen, Zhang, Xu, "Are Transformers Effective for Time Series Forecasting?", AAAI 2023.

    Examples
    --------
    >>> import ctrain
    >>> tape = ctrain.Tape()
    >>> y = tape.input((168,), name="x")
    >>> outputs = ctrain.models.DLinear().record(tape, {"x": y}, (24,))
    >>> list(outputs), outputs["trend"].shape
    (['prediction', 'trend', 'seasonality'], (24,))
    """

    def __init__(self, moving_avg_window: int = 25) -> None:
        self.moving_avg_window = moving_avg_window

    def record(self, tape, inputs: dict, shape: tuple[int, ...]) -> dict:
        """Record the network.

        Parameters
        ----------
        tape : Tape
        inputs : dict of str to Tensor
            ``past_y`` or ``x``, row shape (input_size,).
        shape : tuple of int
            ``(horizon,)`` or ``(horizon, n_values)``.

        Returns
        -------
        dict of str to Tensor of that shape
            ``prediction`` and its parts ``trend`` and ``seasonality``.

        Raises
        ------
        ValueError
            If `moving_avg_window` is not an odd number, the window has several axes, or there are
            covariates.
        """
        require_size("moving_avg_window", self.moving_avg_window)
        if self.moving_avg_window % 2 == 0:
            raise ValueError(f"moving_avg_window must be odd; got {self.moving_avg_window}")
        y = window(inputs, "DLinear")
        average = moving_average(tape, y, int(self.moving_avg_window))
        trend = linear(tape, average, math.prod(shape), "trend")
        season = linear(tape, tape.sub(y, average), math.prod(shape), "seasonality")
        parts = {"prediction": tape.add(trend, season), "trend": trend, "seasonality": season}
        return {name: shaped(tape, part, shape) for name, part in parts.items()}


def moving_average(tape, y, width: int):
    """Mean of the `width` values around each, an odd number, with the ends repeated.

    The sum of a window is put together from sums of 1, 2, 4, ... neighbours: a few passes for any
    width, and no cancellation.

    Parameters
    ----------
    tape : Tape
    y : Tensor of shape (n,)
    width : int

    Returns
    -------
    Tensor of shape (n,)

    Examples
    --------
    >>> import numpy as np
    >>> import ctrain
    >>> from ctrain.models.dlinear import moving_average
    >>> tape = ctrain.Tape()
    >>> average = moving_average(tape, tape.input((4,), name="y"), 3)
    >>> tape.forward(y=np.array([[0.0, 3.0, 6.0, 0.0]]))
    >>> tape.value(average)
    array([[1., 3., 3., 2.]], dtype=float32)
    """
    if width == 1:
        return y
    before, after = (
        tape.broadcast(tape.slice(y, 0, i, i + 1), (width // 2,)) for i in (0, y.size - 1)
    )
    sums, size = tape.concat(before, y, after), 1  # of `size` neighbours
    total, done = None, 0  # of the first `done` values of each window
    while True:
        if width & size:
            piece = tape.slice(sums, 0, done, done + y.size)
            total = piece if total is None else tape.add(total, piece)
            done += size
        if done == width:
            return tape.scale(total, 1.0 / width)
        sums = tape.add(tape.slice(sums, 0, None, -size), tape.slice(sums, 0, size))
        size *= 2
