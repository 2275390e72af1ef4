"""TSMixer: dense layers over time and over series in turn."""

from __future__ import annotations

import math

from sklearn.base import BaseEstimator

from ..layers import batch_norm, linear
from .inputs import panel, shaped
from .settings import require_rate, require_size

MOMENTUM, EPS = 0.01, 1e-3  # of the batch norms


class TSMixer(BaseEstimator):
    """All series at once, by dense layers that mix time and series in turn.

    A block first mixes the steps of each series by one layer that all series share, then the series
    of each step by two layers that all steps share; each mixer begins with batch norm and has a
    skip connection. A linear map over time makes the forecast.

    Parameters
    ----------
    n_block : int, default=2
        Blocks.
    ff_dim : int, default=64
        Hidden units of the layers over series.
    dropout : float, default=0.9
        Probability in [0, 1) with which an output of a layer is zeroed in training.
    revin : bool, default=True
        Whether each series is standardised in its window and put back, with a learned gain and
        bias; no gradient flows through its mean and deviation.

    Notes
    -----
    A block has the layers ``block_<k>.time.norm`` and ``.dense``, ``block_<k>.series.norm``,
    ``.dense`` and ``.output``; ``out`` is the linear map, ``window.gain`` and ``window.bias`` are
    of each series. Batch norms know each step of each series by itself. Missing steps are 0 like
    any value.

    References
    ----------
    Chen, Li, Yoder, Arik, Pfister, "TSMixer: An All-MLP Architecture for Time Series Forecasting",
    TMLR 2023.

    Examples
    --------
    >>> import ctrain
    >>> tape = ctrain.Tape()
    >>> y = tape.input((96, 7), name="past_y")
    >>> ctrain.models.TSMixer().record(tape, {"past_y": y}, (24, 7)).shape
    (24, 7)
    """

    multivariate = True

    def __init__(
        self, n_block: int = 2, ff_dim: int = 64, dropout: float = 0.9, revin: bool = True
    ) -> None:
        self.n_block = n_block
        self.ff_dim = ff_dim
        self.dropout = dropout
        self.revin = revin

    def record(self, tape, inputs: dict, shape: tuple[int, ...]):
        """Record the network.

        Parameters
        ----------
        tape : Tape
        inputs : dict of str to Tensor
            ``past_y``, row shape (input_size, n_series).
        shape : tuple of int
            ``(horizon, n_series)`` or ``(horizon, n_series, n_values)``.

        Returns
        -------
        Tensor of that shape

        Raises
        ------
        ValueError
            If a setting is out of its range, the window is not of several series, or there are
            covariates.
        """
        require_size("n_block", self.n_block)
        require_size("ff_dim", self.ff_dim)
        require_rate("dropout", self.dropout)
        x = panel(inputs, "TSMixer")
        if self.revin:
            gain, bias = (
                tape.parameter(x.shape[1:], name=f"window.{name}", init=init, decay=False)
                for name, init in (("gain", "ones"), ("bias", "zeros"))
            )
            mean = tape.stop_gradient(tape.mean(x, axis=0))
            x = tape.sub(x, mean)
            variance = tape.mean(tape.square(x), axis=0)
            deviation = tape.stop_gradient(tape.sqrt(tape.add(variance, 1e-5)))
            x = tape.add(tape.mul(tape.div(x, deviation), gain), bias)
        for k in range(self.n_block):
            x = tape.add(x, self._over_time(tape, x, f"block_{k}.time"))
            x = tape.add(x, self._over_series(tape, x, f"block_{k}.series"))
        horizon, n_series, *values = shape
        out = linear(tape, tape.transpose(x), horizon * math.prod(values), "out")
        out = tape.reshape(out, (n_series, horizon, *values)) if values else out
        out = tape.transpose(out, axes=(1, 0, *range(2, len(shape))))
        if self.revin:
            numbers = (gain, bias, mean, deviation)
            if values:  # beside each value of a step
                numbers = (tape.reshape(v, (n_series, 1)) for v in numbers)
            gain, bias, mean, deviation = numbers
            out = tape.div(tape.sub(out, bias), gain)
            out = tape.add(tape.mul(out, deviation), mean)
        return out

    def _over_time(self, tape, x, name: str):
        h = self._normalized(tape, tape.transpose(x), f"{name}.norm")
        h = tape.relu(linear(tape, h, h.shape[1], f"{name}.dense"))
        return tape.dropout(tape.transpose(h), self.dropout)

    def _over_series(self, tape, x, name: str):
        h = self._normalized(tape, x, f"{name}.norm")
        h = tape.relu(linear(tape, h, self.ff_dim, f"{name}.dense"))
        h = linear(tape, tape.dropout(h, self.dropout), x.shape[1], f"{name}.output")
        return tape.dropout(h, self.dropout)

    def _normalized(self, tape, x, name: str):
        flat = shaped(tape, x, (x.size,))
        return shaped(tape, batch_norm(tape, flat, name, MOMENTUM, EPS), x.shape)
