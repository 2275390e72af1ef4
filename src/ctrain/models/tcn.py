"""TCN: dilated causal convolutions over the window, and a decoder for each step."""

from __future__ import annotations

import math

from sklearn.base import BaseEstimator

from ..layers import activate, conv1d, linear
from ..layers.dense import operation
from .inputs import sequence, shaped
from .settings import require_size, sizes_of


class TCN(BaseEstimator):
    """Temporal convolutional network with a dense decoder.

    Causal convolutions whose taps lie further and further apart encode each step of the window. A
    linear map over time turns the encoded steps into those of the horizon, and dense layers decode
    each of them, beside its known covariates.

    Parameters
    ----------
    kernel_size : int, default=2
        Taps of a convolution.
    dilations : sequence of int, default=(1, 2, 4, 8, 16)
        Steps from one tap to the next, for each convolution.
    encoder_hidden_size : int, default=128
        Channels of the convolutions.
    encoder_activation : str, default="relu"
        After each convolution; one of those of `MLP`.
    decoder_hidden_size : int, default=128
        Hidden units of the decoder.
    decoder_layers : int, default=2
        Dense layers of the decoder, the last one without activation.
    decoder_activation : str, default="relu"

    Notes
    -----
    A step of the window is its value and the covariates ``past``, ``static`` and ``future`` of that
    step. The layers are ``conv_<k>``, ``context`` (input_size to horizon) and ``decoder_<k>``. The
    encoder's last step sees ``1 + (kernel_size - 1) * sum(dilations)`` steps; ``context`` sees all
    steps of the window.

    References
    ----------
    Bai, Kolter, Koltun, "An empirical evaluation of generic convolutional and recurrent networks
    for sequence modeling", 2018.

    Examples
    --------
    >>> import ctrain
    >>> tape = ctrain.Tape()
    >>> inputs = {"past_y": tape.input((168,), name="past_y")}
    >>> inputs["future"] = tape.input((192, 3), name="future")
    >>> ctrain.models.TCN().record(tape, inputs, (24,)).shape
    (24,)
    """

    def __init__(
        self,
        kernel_size: int = 2,
        dilations=(1, 2, 4, 8, 16),
        encoder_hidden_size: int = 128,
        encoder_activation: str = "relu",
        decoder_hidden_size: int = 128,
        decoder_layers: int = 2,
        decoder_activation: str = "relu",
    ) -> None:
        self.kernel_size = kernel_size
        self.dilations = dilations
        self.encoder_hidden_size = encoder_hidden_size
        self.encoder_activation = encoder_activation
        self.decoder_hidden_size = decoder_hidden_size
        self.decoder_layers = decoder_layers
        self.decoder_activation = decoder_activation

    def record(self, tape, inputs: dict, shape: tuple[int, ...]):
        """Record the network.

        Parameters
        ----------
        tape : Tape
        inputs : dict of str to Tensor
            ``past_y``, row shape (input_size,), or ``x``, (input_size,) or (input_size, n);
            covariates ``past`` (input_size, n), ``future`` (input_size + horizon, n) and
            ``static`` (n,).
        shape : tuple of int
            ``(horizon,)`` or ``(horizon, n_values)``.

        Returns
        -------
        Tensor of that shape

        Raises
        ------
        ValueError
            If a setting is out of its range or the window has more axes.
        """
        for name in ("kernel_size", "encoder_hidden_size", "decoder_hidden_size", "decoder_layers"):
            require_size(name, getattr(self, name))
        dilations = sizes_of("dilations", self.dilations)
        for activation in (self.encoder_activation, self.decoder_activation):
            operation(activation)
        horizon = shape[0]
        h = sequence(tape, inputs, "TCN")
        for k, dilation in enumerate(dilations):
            h = conv1d(
                tape, h, self.encoder_hidden_size, self.kernel_size, f"conv_{k}", dilation=dilation
            )
            h = activate(tape, h, self.encoder_activation)
        h = tape.transpose(linear(tape, tape.transpose(h), horizon, "context"))
        if "future" in inputs:
            h = tape.concat(h, tape.slice(inputs["future"], 0, -horizon))
        for k in range(self.decoder_layers - 1):
            h = linear(tape, h, self.decoder_hidden_size, f"decoder_{k}")
            h = activate(tape, h, self.decoder_activation)
        last = f"decoder_{self.decoder_layers - 1}"
        return shaped(tape, linear(tape, h, math.prod(shape[1:]), last), shape)
