"""N-BEATS: blocks that explain the window step by step, and forecast with what they found."""

from __future__ import annotations

import math
import numbers
from itertools import pairwise

import numpy as np
from sklearn.base import BaseEstimator

from ..layers import activate, linear
from ..layers.dense import operation
from . import bases
from .inputs import last_value, mask_of, shaped, window
from .settings import listed, require_choice, require_rate, require_size, sizes_of

STACKS = ("identity", "trend", "seasonality")


class NBEATS(BaseEstimator):
    """Neural basis expansion analysis: stacks of generic, trend and seasonality blocks.

    Each block reads what the blocks before it left of the window, takes its backcast off that and
    adds its forecast to the last value of the series.

    Parameters
    ----------
    n_harmonics : int, default=2
        Frequencies for each harmonic of the horizon in a seasonality stack.
    n_basis : int, default=2
        One less than the number of functions of a trend stack: the degree of a polynomial.
    basis : str, default="polynomial"
        Of the trend: polynomial, legendre, chebyshev, changepoint, piecewise_linear, linear_hat or
        spline.
    stack_types : sequence of str, default=("identity", "trend", "seasonality")
        "identity" is the paper's generic stack, whose basis is learned.
    n_blocks : sequence of int, default=(1, 1, 1)
        Blocks of each stack.
    mlp_units : sequence of (int, int), default=((512, 512), (512, 512), (512, 512))
        Inputs and outputs of the hidden layers of each block. A linear layer without activation
        comes before them.
    dropout_prob_theta : float, default=0.0
        Probability in [0, 1) with which a hidden unit is zeroed in training.
    activation : str, default="relu"
        Of the hidden layers; one of those of `MLP`.
    shared_weights : bool, default=False
        Whether the blocks of a stack share their parameters.

    Notes
    -----
    Block b of stack s has ``stack_<s>.block_<b>.layer_<k>.weight`` and ``.bias``, and maps its last
    hidden layer to the coefficients of backcast and forecast by ``theta_b`` and ``theta_f``. Time
    runs backwards in the window of a block: its newest value comes first.

    References
    ----------
    Oreshkin, Carpov, Chapados, Bengio, "N-BEATS: Neural basis expansion analysis for interpretable
    time series forecasting", ICLR 2020.

    Examples
    --------
    >>> import ctrain
    >>> tape = ctrain.Tape()
    >>> y = tape.input((168,), name="x")
    >>> outputs = ctrain.models.NBEATS().record(tape, {"x": y}, (24,))
    >>> list(outputs)
    ['prediction', 'level', 'identity', 'trend', 'seasonality', 'backcast']
    """

    def __init__(
        self,
        n_harmonics: int = 2,
        n_basis: int = 2,
        basis: str = "polynomial",
        stack_types=STACKS,
        n_blocks=(1, 1, 1),
        mlp_units=((512, 512), (512, 512), (512, 512)),
        dropout_prob_theta: float = 0.0,
        activation: str = "relu",
        shared_weights: bool = False,
    ) -> None:
        self.n_harmonics = n_harmonics
        self.n_basis = n_basis
        self.basis = basis
        self.stack_types = stack_types
        self.n_blocks = n_blocks
        self.mlp_units = mlp_units
        self.dropout_prob_theta = dropout_prob_theta
        self.activation = activation
        self.shared_weights = shared_weights

    def record(self, tape, inputs: dict, shape: tuple[int, ...]) -> dict:
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
        dict of str to Tensor
            ``prediction``; its parts of that shape, ``level`` (the last value that is available)
            and the forecast of each stack by its type, with its position where a type comes again;
            ``backcast``, what the blocks explain of the window.

        Raises
        ------
        ValueError
            If a setting is out of its range, the window has several axes, there are covariates, or
            a trend or seasonality is asked for a horizon of 1.
        """
        types = self._checked(shape[0])
        y = window(inputs, "NBEATS")
        stacks = {}
        for s, (kind, n) in enumerate(zip(types, self.n_blocks, strict=True)):
            if kind == "trend":
                basis = bases.trend(self.basis, self.n_basis, y.size, shape[0])
            elif kind == "seasonality":
                basis = bases.seasonality(self.n_harmonics, y.size, shape[0])
            else:
                basis = None
            name = kind if types.count(kind) == 1 else f"{kind}_{s}"
            stacks[name] = [
                self._block(
                    tape, f"stack_{s}.block_{0 if self.shared_weights else b}", basis, shape
                )
                for b in range(n)
            ]
        return doubly_residual(tape, y, mask_of(inputs), shape, stacks)

    def _checked(self, horizon: int) -> list[str]:
        require_size("n_harmonics", self.n_harmonics)
        require_choice("basis", self.basis, tuple(bases.TREND))
        require_size("n_basis", self.n_basis, 3 if self.basis == "spline" else 1)
        types = listed(self.stack_types, str) or [self.stack_types]
        for kind in types:
            require_choice("stack_types", kind, STACKS)
        sizes_of("n_blocks", self.n_blocks, len(types))
        check_block(self.mlp_units, self.activation, self.dropout_prob_theta)
        if horizon == 1 and set(types) != {"identity"}:
            raise ValueError(
                "NBEATS: trend and seasonality need a horizon of at least 2; got 1: "
                "set stack_types=('identity',) and n_blocks=(1,)"
            )
        return types

    def _block(self, tape, name: str, basis, shape: tuple[int, ...]):
        """Function of the residual: backcast and forecast."""
        values = math.prod(shape[1:])

        def record(residual):
            h = hidden_layers(
                tape, residual, self.mlp_units, self.activation, self.dropout_prob_theta, name
            )
            size = len(basis[0]) if basis else residual.size
            backcast = linear(tape, h, size, f"{name}.theta_b")
            size = len(basis[1]) if basis else shape[0]
            forecast = linear(tape, h, size * values, f"{name}.theta_f")
            if basis:
                backcast = tape.matmul(backcast, tape.constant(basis[0]))
                if values > 1:
                    forecast = tape.transpose(tape.reshape(forecast, (size, values)))
                forecast = tape.matmul(forecast, tape.constant(basis[1]))
                if values > 1:
                    forecast = tape.transpose(forecast)
            return backcast, shaped(tape, forecast, shape)

        return record


def check_block(mlp_units, activation: str, dropout: float) -> None:
    """Raise ValueError unless hidden layers of these settings can be recorded."""
    pairs = list(mlp_units) if np.iterable(mlp_units) else []
    pairs = [listed(pair, numbers.Integral) for pair in pairs]
    chained = bool(pairs) and all(pair is not None and len(pair) == 2 for pair in pairs)
    if not chained or any(a[1] != b[0] for a, b in pairwise(pairs)):
        raise ValueError(
            "mlp_units must be pairs (inputs, outputs) of layers that follow each other, such as "
            f"((512, 512), (512, 256)); got {mlp_units!r}"
        )
    for pair in pairs:
        sizes_of("mlp_units", pair)
    operation(activation)
    require_rate("dropout_prob_theta", dropout)


def hidden_layers(tape, x, mlp_units, activation: str, dropout: float, name: str):
    """A linear layer, then layers with activation and dropout."""
    h = linear(tape, x, mlp_units[0][0], f"{name}.layer_0")
    for k, (_, units) in enumerate(mlp_units, start=1):
        h = activate(tape, linear(tape, h, units, f"{name}.layer_{k}"), activation)
        h = tape.dropout(h, dropout)
    return h


def doubly_residual(tape, y, mask, shape: tuple[int, ...], stacks: dict) -> dict:
    """Record blocks one after the other, each on what those before left of the window.

    Parameters
    ----------
    tape : Tape
    y : Tensor of shape (input_size,)
    mask : Tensor of shape (input_size,) or None
        0 where the window is missing; what is left there counts as explained.
    shape : tuple of int
        Of the prediction.
    stacks : dict of str to list of callable
        ``block(residual) -> (backcast, forecast)``, newest value first.

    Returns
    -------
    dict of str to Tensor
        ``prediction``, ``level``, the forecast of each stack, ``backcast``.
    """
    prediction = level = tape.broadcast(last_value(tape, y, mask), shape)
    residual, mask = (None if x is None else tape.slice(x, 0, None, None, -1) for x in (y, mask))
    parts = {}
    for name, blocks in stacks.items():
        for block in blocks:
            backcast, forecast = block(residual)
            residual = tape.sub(residual, backcast)
            if mask is not None:
                residual = tape.mul(residual, mask)
            parts[name] = tape.add(parts[name], forecast) if name in parts else forecast
        prediction = tape.add(prediction, parts[name])
    backcast = tape.sub(y, tape.slice(residual, 0, None, None, -1))
    return {"prediction": prediction, "level": level, **parts, "backcast": backcast}
