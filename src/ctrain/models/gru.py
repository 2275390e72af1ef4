"""GRU: gated recurrent units over a window, and a decoder."""

from __future__ import annotations

from ..layers import gru
from .recurrent import Recurrent


class GRU(Recurrent):
    """Gated recurrent units.

    Otherwise as :class:`LSTM`.

    Parameters
    ----------
    hidden_size : int, default=200
        Units of each layer.
    num_layers, dropout, bias, decoder_hidden_size, decoder_layers, recurrent, teacher_forcing
        As of :class:`LSTM`.

    Notes
    -----
    Parameters are those of :func:`ctrain.layers.gru` under the name ``encoder``, and those of the
    decoder of :class:`LSTM`.

    References
    ----------
    Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine
    translation", EMNLP 2014.

    Examples
    --------
    >>> import ctrain
    >>> tape = ctrain.Tape()
    >>> inputs = {"past_y": tape.input((168,), name="past_y")}
    >>> ctrain.models.GRU(hidden_size=64, num_layers=1).record(tape, inputs, (24, 3)).shape
    (24, 3)
    """

    def __init__(
        self,
        hidden_size: int = 200,
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

    def _layers(self, tape, x, state):
        return gru(
            tape, x, self.hidden_size, "encoder", num_layers=self.num_layers,
            dropout=self.dropout, bias=self.bias, state=state,
        )  # fmt: skip
