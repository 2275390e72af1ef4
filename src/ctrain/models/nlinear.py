"""NLinear: one linear map of the window, relative to its last value."""

from __future__ import annotations

import math

from sklearn.base import BaseEstimator

from ..layers import linear
from .inputs import last_value, mask_of, shaped, window


class NLinear(BaseEstimator):
    r"""A linear map of the window, relative to its last value.

    .. math:: \hat y = (y - y_L) W + b + y_L

    for the window :math:`y` of shape (input_size,) with the last available value :math:`y_L`;
    missing ones count as equal to it. The parameters are ``linear.weight`` of shape (input_size,
    horizon) and ``linear.bias`` of shape (horizon,); with several values for a step, such as
    quantiles, each has a map of its own.

    References
    ----------
    Zeng, Chen, Zhang, Xu, "Are Transformers Effective for Time Series Forecasting?", AAAI 2023.

    Examples
    --------
    >>> import numpy as np
    >>> from ctrain import Regressor
    >>> from ctrain.models import NLinear
    >>> y = np.sin(np.arange(400) / 4.0)
    >>> windows = np.lib.stride_tricks.sliding_window_view(y, 24 + 6)
    >>> reg = Regressor(model=NLinear(), random_state=0).fit(windows[:, :24], windows[:, 24:])
    >>> reg.predict(windows[:1, :24]).shape
    (1, 6)
    """

    def record(self, tape, inputs: dict, shape: tuple[int, ...]):
        """Record the network.

        Parameters
        ----------
        tape : Tape
        inputs : dict of str to Tensor
            ``past_y`` or ``x``, row shape (input_size,); ``past_mask``, 0 where it is missing.
        shape : tuple of int
            ``(horizon,)`` or ``(horizon, n_values)``.

        Returns
        -------
        Tensor of that shape

        Raises
        ------
        ValueError
            If the window has several axes, or if there are covariates.
        """
        y = window(inputs, "NLinear")
        mask = mask_of(inputs)
        last = last_value(tape, y, mask)
        distance = tape.sub(y, last)
        if mask is not None:
            distance = tape.mul(distance, mask)
        forecast = linear(tape, distance, math.prod(shape), "linear")
        return shaped(tape, tape.add(forecast, last), shape)
