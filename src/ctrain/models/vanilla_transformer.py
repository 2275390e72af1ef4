"""VanillaTransformer: an encoder of the window, and a decoder of the whole horizon at once."""

from __future__ import annotations

import math
import numbers

from sklearn.base import BaseEstimator

from ..initializers import Normal
from ..layers import (
    layer_norm,
    linear,
    sinusoidal_positions,
    transformer_decoder_layer,
    transformer_encoder_layer,
)
from ..layers.dense import operation
from .inputs import shaped, window
from .settings import require_rate, require_size


class VanillaTransformer(BaseEstimator):
    """Transformer with an encoder of the window and a decoder of its end and the horizon.

    Each time step is embedded by a convolution of three steps, its place in the window and the
    covariates that are known in the future. The decoder reads the end of the window and zeros for
    the horizon, looks at what the encoder made of the window, and forecasts all steps at once;
    attention is full.

    Parameters
    ----------
    decoder_input_size_multiplier : float, default=0.5
        Share of the window, in (0, 1), that the decoder reads.
    hidden_size : int, default=128
        Units of the embeddings and of attention; a multiple of `n_head`.
    dropout : float, default=0.05
        Probability in [0, 1) with which a value of an embedding, a weight of attention, a hidden
        unit and an output of each part of a layer is zeroed in training.
    n_head : int, default=4
        Heads of the attention.
    conv_hidden_size : int, default=32
        Hidden units of the dense layers that follow attention.
    activation : str, default="gelu"
        Of those; one of those of `MLP`.
    encoder_layers, decoder_layers : int, default=2, 1

    Notes
    -----
    The layers are ``encoder_<k>`` and ``decoder_<k>``, each chain followed by a norm
    ``encoder_norm`` and ``decoder_norm``, with the embeddings ``encoder_embedding`` and
    ``decoder_embedding``: the convolution, whose first and last step are neighbours, and
    ``<name>.future``, a product without bias.

    References
    ----------
    Vaswani et al., "Attention is all you need", NeurIPS 2017. Zhou et al., "Informer: beyond
    efficient transformer for long sequence time-series forecasting", AAAI 2021.

    Examples
    --------
    >>> import ctrain
    >>> tape = ctrain.Tape()
    >>> inputs = {"past_y": tape.input((168,), name="past_y")}
    >>> inputs["future"] = tape.input((192, 3), name="future")
    >>> ctrain.models.VanillaTransformer().record(tape, inputs, (24,)).shape
    (24,)
    """

    def __init__(
        self,
        decoder_input_size_multiplier: float = 0.5,
        hidden_size: int = 128,
        dropout: float = 0.05,
        n_head: int = 4,
        conv_hidden_size: int = 32,
        activation: str = "gelu",
        encoder_layers: int = 2,
        decoder_layers: int = 1,
    ) -> None:
        self.decoder_input_size_multiplier = decoder_input_size_multiplier
        self.hidden_size = hidden_size
        self.dropout = dropout
        self.n_head = n_head
        self.conv_hidden_size = conv_hidden_size
        self.activation = activation
        self.encoder_layers = encoder_layers
        self.decoder_layers = decoder_layers

    def record(self, tape, inputs: dict, shape: tuple[int, ...]):
        """Record the network.

        Parameters
        ----------
        tape : Tape
        inputs : dict of str to Tensor
            ``past_y`` or ``x``, row shape (input_size,); covariates ``future``
            (input_size + horizon, n).
        shape : tuple of int
            ``(horizon,)`` or ``(horizon, n_values)``.

        Returns
        -------
        Tensor of that shape

        Raises
        ------
        ValueError
            If a setting is out of its range, the window has several axes or is too short for the
            decoder to read a part of it, or there are other covariates.
        """
        y = window(inputs, "VanillaTransformer", ("future",))
        steps, horizon = y.shape[0], shape[0]
        known = self._checked(steps)
        future = inputs.get("future")
        settings = {"activation": self.activation, "dropout": self.dropout}
        sizes = (self.n_head, self.conv_hidden_size)

        past = None if future is None else tape.slice(future, 0, 0, steps)
        memory = self._embedded(tape, y, past, "encoder_embedding")
        for k in range(self.encoder_layers):
            memory = transformer_encoder_layer(tape, memory, *sizes, f"encoder_{k}", **settings)
        memory = layer_norm(tape, memory, "encoder_norm")

        start = tape.pad(tape.slice(y, 0, -known), ((0, horizon),))
        if future is not None:
            future = tape.slice(future, 0, -known - horizon)
        h = self._embedded(tape, start, future, "decoder_embedding")
        for k in range(self.decoder_layers):
            # nothing reads what the last layer would make of the window
            last = horizon if k + 1 == self.decoder_layers else None
            h = transformer_decoder_layer(
                tape, h, memory, *sizes, f"decoder_{k}", steps=last, **settings
            )
        h = layer_norm(tape, h, "decoder_norm")
        return shaped(tape, linear(tape, h, math.prod(shape[1:]), "output"), shape)

    def _checked(self, steps: int) -> int:
        """Check the settings; how many steps of the window the decoder reads."""
        names = ("hidden_size", "n_head", "conv_hidden_size", "encoder_layers", "decoder_layers")
        for name in names:
            require_size(name, getattr(self, name))
        if self.hidden_size % self.n_head:
            raise ValueError(
                f"hidden_size must be a multiple of n_head={self.n_head}; got {self.hidden_size}"
            )
        require_rate("dropout", self.dropout)
        operation(self.activation)
        share = self.decoder_input_size_multiplier
        if not isinstance(share, numbers.Real) or not 0.0 < share < 1.0:
            raise ValueError(f"decoder_input_size_multiplier must be in (0, 1); got {share!r}")
        known = math.ceil(steps * share)
        if known >= steps:
            raise ValueError(
                f"decoder_input_size_multiplier={share} of input_size={steps} is the whole window "
                "when rounded up; the decoder reads a part: take a smaller share or a longer window"
            )
        return known

    def _embedded(self, tape, y, future, name: str):
        """Each step and its neighbours, its place, and what is known of it."""
        hidden, steps = self.hidden_size, y.shape[0]
        ring = tape.concat(tape.slice(y, 0, -1), y, tape.slice(y, 0, 0, 1))
        weight = tape.parameter(
            (3, hidden), name=f"{name}.weight", init=Normal(math.sqrt(2.0 / (3 * 1.0001)))
        )  # fmt: skip
        h = tape.conv1d(tape.reshape(ring, (steps + 2, 1)), weight, padding="valid")
        h = tape.add(h, sinusoidal_positions(tape, steps, hidden))
        if future is not None:
            h = tape.add(h, linear(tape, future, hidden, f"{name}.future", bias=False))
        return tape.dropout(h, self.dropout)
