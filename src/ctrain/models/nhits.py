"""N-HiTS: N-BEATS whose stacks look at pooled windows and forecast by interpolation."""

from __future__ import annotations

import math

import numpy as np
from sklearn.base import BaseEstimator

from ..layers import linear
from .inputs import COVARIATES, flatten, mask_of, shaped, window
from .nbeats import check_block, doubly_residual, hidden_layers
from .settings import require_choice, sizes_of

POOLING = {"MaxPool1d": "max_pool1d", "AvgPool1d": "avg_pool1d"}
INTERPOLATION = ("linear", "nearest", "cubic", "none")


class NHITS(BaseEstimator):
    """Neural hierarchical interpolation: each stack has a time scale of its own.

    A block pools the window, so that it sees a scale, and forecasts knots from which the horizon
    is interpolated; blocks are chained as in `NBEATS`.

    Parameters
    ----------
    n_blocks : sequence of int, default=(1, 1, 1)
        Blocks of each stack.
    mlp_units : sequence of (int, int), default=((512, 512), (512, 512), (512, 512))
        Inputs and outputs of the hidden layers of each block. A linear layer without activation
        comes before them.
    n_pool_kernel_size : sequence of int, default=(2, 2, 1)
        Time steps that each stack pools to one.
    n_freq_downsample : sequence of int, default=(4, 2, 1)
        Time steps of the horizon for one knot of each stack.
    pooling_mode : {"MaxPool1d", "AvgPool1d"}, default="MaxPool1d"
    interpolation_mode : {"linear", "nearest", "cubic", "none"}, default="linear"
        How knots become the horizon; "none" forecasts each step, whatever `n_freq_downsample`.
    dropout_prob_theta : float, default=0.0
        Probability in [0, 1) with which a hidden unit is zeroed in training.
    activation : str, default="relu"
        Of the hidden layers; one of those of `MLP`.

    Notes
    -----
    Block b of stack s has ``stack_<s>.block_<b>.layer_<k>.weight`` and ``.bias``, and maps its last
    hidden layer to backcast and knots by ``theta_b`` and ``theta_f``. Time runs backwards in the
    window of a block: its newest value comes first. Covariates are pooled as the window is.

    References
    ----------
    Challu, Olivares, Oreshkin, Garza, Mergenthaler-Canseco, Dubrawski, "NHITS: Neural Hierarchical
    Interpolation for Time Series Forecasting", AAAI 2023.

    Examples
    --------
    >>> import ctrain
    >>> tape = ctrain.Tape()
    >>> y = tape.input((168,), name="x")
    >>> outputs = ctrain.models.NHITS().record(tape, {"x": y}, (24,))
    >>> list(outputs)
    ['prediction', 'level', 'stack_0', 'stack_1', 'stack_2', 'backcast']
    """

    def __init__(
        self,
        n_blocks=(1, 1, 1),
        mlp_units=((512, 512), (512, 512), (512, 512)),
        n_pool_kernel_size=(2, 2, 1),
        n_freq_downsample=(4, 2, 1),
        pooling_mode: str = "MaxPool1d",
        interpolation_mode: str = "linear",
        dropout_prob_theta: float = 0.0,
        activation: str = "relu",
    ) -> None:
        self.n_blocks = n_blocks
        self.mlp_units = mlp_units
        self.n_pool_kernel_size = n_pool_kernel_size
        self.n_freq_downsample = n_freq_downsample
        self.pooling_mode = pooling_mode
        self.interpolation_mode = interpolation_mode
        self.dropout_prob_theta = dropout_prob_theta
        self.activation = activation

    def record(self, tape, inputs: dict, shape: tuple[int, ...]) -> dict:
        """Record the network.

        Parameters
        ----------
        tape : Tape
        inputs : dict of str to Tensor
            ``past_y`` or ``x``, row shape (input_size,); ``past_mask``, 0 where it is missing;
            covariates ``past`` (input_size, n), ``future`` (input_size + horizon, n) and
            ``static`` (n,).
        shape : tuple of int
            ``(horizon,)`` or ``(horizon, n_values)``.

        Returns
        -------
        dict of str to Tensor
            ``prediction``; its parts of that shape, ``level`` (the last available value) and the
            forecasts ``stack_<s>``; ``backcast``, what the blocks explain of the window.

        Raises
        ------
        ValueError
            If a setting is out of its range or the window has several axes.
        """
        n_blocks = sizes_of("n_blocks", self.n_blocks)
        kernels = sizes_of("n_pool_kernel_size", self.n_pool_kernel_size, len(n_blocks))
        downsample = sizes_of("n_freq_downsample", self.n_freq_downsample, len(n_blocks))
        require_choice("pooling_mode", self.pooling_mode, tuple(POOLING))
        require_choice("interpolation_mode", self.interpolation_mode, INTERPOLATION)
        check_block(self.mlp_units, self.activation, self.dropout_prob_theta)
        y = window(inputs, "NHITS", COVARIATES)
        stacks = {}
        for s, (n, kernel, step) in enumerate(zip(n_blocks, kernels, downsample, strict=True)):
            moving = [inputs[name] for name in ("past", "future") if name in inputs]
            known = [self._pooled(tape, x, kernel) for x in moving]
            known += [inputs["static"]] if "static" in inputs else []
            stacks[f"stack_{s}"] = [
                self._block(tape, f"stack_{s}.block_{b}", kernel, step, known, shape)
                for b in range(n)
            ]
        return doubly_residual(tape, y, mask_of(inputs), shape, stacks)

    def _block(self, tape, name: str, kernel: int, step: int, known: list, shape):
        """Function of the residual: backcast and forecast."""
        horizon, values = shape[0], math.prod(shape[1:])
        n_knots = horizon if self.interpolation_mode == "none" else max(horizon // step, 1)

        def record(residual):
            h = hidden_layers(
                tape, flatten(tape, [self._pooled(tape, residual, kernel), *known]),
                self.mlp_units, self.activation, self.dropout_prob_theta, name,
            )  # fmt: skip
            backcast = linear(tape, h, residual.size, f"{name}.theta_b")
            forecast = linear(tape, h, values * n_knots, f"{name}.theta_f")
            if values > 1:
                forecast = tape.reshape(forecast, (values, n_knots))
            if n_knots < horizon:
                weights = interpolation(self.interpolation_mode, n_knots, horizon)
                forecast = tape.matmul(forecast, tape.constant(weights))
            if values > 1:
                forecast = tape.transpose(forecast)
            return backcast, shaped(tape, forecast, shape)

        return record

    def _pooled(self, tape, x, kernel: int):
        """One of each `kernel` steps along the first axis; the last pool may be shorter."""
        if kernel == 1:
            return x
        how = {"kernel_size": kernel, "ceil_mode": True, "axis": 0}
        return tape.record(POOLING[self.pooling_mode], x, **how)


def interpolation(mode: str, n_knots: int, horizon: int) -> np.ndarray:
    """Weights of the knots in each step of the horizon.

    Step t lies at ``(t + 0.5) * n_knots / horizon - 0.5`` between the knots ``0, 1, ...``; beyond
    the ends the first and last knot go on.

    Parameters
    ----------
    mode : {"linear", "nearest", "cubic"}
        Cubic is the convolution kernel of Keys with a = -0.75; nearest takes the knot whose span
        holds the beginning of the step.
    n_knots, horizon : int

    Returns
    -------
    ndarray of shape (n_knots, horizon)

    References
    ----------
    Keys, "Cubic convolution interpolation for digital image processing", IEEE Transactions on
    Acoustics, Speech and Signal Processing 29, 1981.

    Examples
    --------
    >>> from ctrain.models.nhits import interpolation
    >>> interpolation("linear", 2, 4)
    array([[1.  , 0.75, 0.25, 0.  ],
           [0.  , 0.25, 0.75, 1.  ]])
    """
    steps = np.arange(horizon)
    weights = np.zeros((n_knots, horizon))
    if mode == "nearest":
        weights[steps * n_knots // horizon, steps] = 1.0
        return weights
    place = (steps + 0.5) * n_knots / horizon - 0.5
    for offset in range(-1, 3):
        knot = np.floor(place).astype(int) + offset
        distance = np.abs(place - knot)
        if mode == "linear":
            share = np.maximum(0.0, 1.0 - distance)
        else:
            near = (1.25 * distance - 2.25) * distance**2 + 1.0
            far = -0.75 * (((distance - 5.0) * distance + 8.0) * distance - 4.0)
            share = np.where(distance <= 1.0, near, far)
        np.add.at(weights, (np.clip(knot, 0, n_knots - 1), steps), share)
    return weights
