"""RNN: Elman's recurrent layers over a window, and a decoder."""

from __future__ import annotations

from ..layers import rnn
from .recurrent import Recurrent
from .settings import require_choice


class RNN(Recurrent):
    """Elman's recurrent network.

    Otherwise as :class:`LSTM`.

    Parameters
    ----------
    hidden_size : int, default=128
        Units of each layer.
    nonlinearity : {"tanh", "relu"}, default="tanh"
        Of the layers.
    num_layers, dropout, bias, decoder_hidden_size, decoder_layers, recurrent, teacher_forcing
        As of :class:`LSTM`.

    Notes
    -----
    Parameters are those of :func:`ctrain.layers.rnn` under the name ``encoder``, and those of the
    decoder of :class:`LSTM`.

    References
    ----------
    Elman, "Finding structure in time", Cognitive Science 14, 1990.

    Examples
    --------
    >>> import ctrain
    >>> tape = ctrain.Tape()
    >>> inputs = {"x": tape.input((168, 5), name="x")}
    >>> ctrain.models.RNN(hidden_size=32, nonlinearity="relu").record(tape, inputs, (1,)).shape
    (1,)
    """

    def __init__(
        self,
        hidden_size: int = 128,
        nonlinearity: str = "tanh",
        num_layers: int = 2,
        dropout: float = 0.0,
        bias: bool = True,
        decoder_hidden_size: int = 128,
        decoder_layers: int = 2,
        recurrent: bool = False,
        teacher_forcing: float = 0.0,
    ) -> None:
        super().__init__(
            hidden_size, num_layers, dropout, bias, decoder_hidden_size, decoder_layers, recurrent,
            teacher_forcing,
        )  # fmt: skip
        self.nonlinearity = nonlinearity

    def _layers(self, tape, x, state):
        require_choice("nonlinearity", self.nonlinearity, ("tanh", "relu"))
        return rnn(
            tape, x, self.hidden_size, "encoder", num_layers=self.num_layers,
            nonlinearity=self.nonlinearity, dropout=self.dropout, bias=self.bias, state=state,
        )  # fmt: skip
