"""TiDE: a dense encoder and decoder of window and covariates, and a decoder for each step."""

from __future__ import annotations

import math

from sklearn.base import BaseEstimator

from ..layers import layer_norm, linear
from .inputs import COVARIATES, flatten, shaped, window
from .settings import require_rate, require_size


class TiDE(BaseEstimator):
    """Time-series dense encoder: residual blocks over the window and its covariates.

    Covariates are projected to a few values at each time step; an encoder and a decoder turn all
    of it into a vector for each step of the horizon, which a last block decodes beside the known
    covariates of that step. A linear map of the window is added.

    Parameters
    ----------
    hidden_size : int, default=512
        Hidden units of the blocks, and of what encoder and decoder hand on.
    decoder_output_dim : int, default=32
        Values that the decoder gives to each step of the horizon.
    temporal_decoder_dim : int, default=128
        Hidden units of the block that decodes one step.
    dropout : float, default=0.3
        Probability in [0, 1) with which an output of a block is zeroed in training, before the
        skip connection joins it.
    layernorm : bool, default=True
        Whether blocks normalise their output. The last one never does: it is the forecast.
    num_encoder_layers, num_decoder_layers : int, default=1
        Blocks.
    temporal_width : int, default=4
        Values that the covariates of one time step are projected to.

    Notes
    -----
    A block is ``dense``, ReLU and ``output``, beside the linear ``skip``, and ``norm``. The blocks
    are ``past_projection``, ``future_projection``, ``encoder_<k>``, ``decoder_<k>`` and
    ``temporal_decoder``; ``global_skip`` is the linear map of the window.

    References
    ----------
    Das, Kong, Leach, Mathur, Sen, Yu, "Long-term Forecasting with TiDE: Time-series Dense Encoder",
    TMLR 2023.

    Examples
    --------
    >>> import ctrain
    >>> tape = ctrain.Tape()
    >>> inputs = {"past_y": tape.input((168,), name="past_y")}
    >>> inputs["future"] = tape.input((192, 3), name="future")
    >>> ctrain.models.TiDE().record(tape, inputs, (24,)).shape
    (24,)
    """

    def __init__(
        self,
        hidden_size: int = 512,
        decoder_output_dim: int = 32,
        temporal_decoder_dim: int = 128,
        dropout: float = 0.3,
        layernorm: bool = True,
        num_encoder_layers: int = 1,
        num_decoder_layers: int = 1,
        temporal_width: int = 4,
    ) -> None:
        self.hidden_size = hidden_size
        self.decoder_output_dim = decoder_output_dim
        self.temporal_decoder_dim = temporal_decoder_dim
        self.dropout = dropout
        self.layernorm = layernorm
        self.num_encoder_layers = num_encoder_layers
        self.num_decoder_layers = num_decoder_layers
        self.temporal_width = temporal_width

    def record(self, tape, inputs: dict, shape: tuple[int, ...]):
        """Record the network.

        Parameters
        ----------
        tape : Tape
        inputs : dict of str to Tensor
            ``past_y`` or ``x``, row shape (input_size,); covariates ``past`` (input_size, n),
            ``future`` (input_size + horizon, n) and ``static`` (n,).
        shape : tuple of int
            ``(horizon,)`` or ``(horizon, n_values)``.

        Returns
        -------
        Tensor of that shape

        Raises
        ------
        ValueError
            If a setting is out of its range or the window has several axes.
        """
        for name in (
            "hidden_size",
            "decoder_output_dim",
            "temporal_decoder_dim",
            "num_encoder_layers",
            "num_decoder_layers",
            "temporal_width",
        ):
            require_size(name, getattr(self, name))
        require_rate("dropout", self.dropout)
        y = window(inputs, "TiDE", COVARIATES)
        horizon, hidden = shape[0], self.hidden_size
        known = {
            name: self._block(tape, inputs[name], hidden, self.temporal_width, f"{name}_projection")
            for name in ("past", "future")
            if name in inputs
        }
        static = [inputs["static"]] if "static" in inputs else []
        h = flatten(tape, [y, *known.values(), *static])
        for k in range(self.num_encoder_layers):
            h = self._block(tape, h, hidden, hidden, f"encoder_{k}")
        for k in range(self.num_decoder_layers - 1):
            h = self._block(tape, h, hidden, hidden, f"decoder_{k}")
        name = f"decoder_{self.num_decoder_layers - 1}"
        h = self._block(tape, h, hidden, self.decoder_output_dim * horizon, name)
        h = tape.reshape(h, (horizon, self.decoder_output_dim))
        if "future" in known:
            h = tape.concat(h, tape.slice(known["future"], 0, -horizon))
        forecast = self._block(
            tape, h, self.temporal_decoder_dim, math.prod(shape[1:]), "temporal_decoder", last=True
        )
        skip = linear(tape, y, math.prod(shape), "global_skip")
        return tape.add(shaped(tape, forecast, shape), shaped(tape, skip, shape))

    def _block(self, tape, x, hidden: int, units: int, name: str, last: bool = False):
        """A hidden layer and dropout beside a linear skip connection, then the norm."""
        h = tape.relu(linear(tape, x, hidden, f"{name}.dense"))
        h = tape.dropout(linear(tape, h, units, f"{name}.output"), self.dropout)
        h = tape.add(h, linear(tape, x, units, f"{name}.skip"))
        return layer_norm(tape, h, f"{name}.norm") if self.layernorm and not last else h
