"""LSTM: long short-term memory over a window, and a decoder."""

from __future__ import annotations

from ..layers import lstm
from .recurrent import Recurrent


class LSTM(Recurrent):
    """Long short-term memory.

    Layers read the window step by step, covariates beside it. With ``recurrent=False`` one decoder
    turns each of the last `horizon` states into the forecast of a step, beside the known covariates
    of that step; where the horizon is longer than the window, linear mixtures of all states. With
    ``recurrent=True`` a linear map of the last state is the forecast of the next step, which is
    then read as the past of the one after it.

    Parameters
    ----------
    hidden_size : int, default=128
        Units of each layer.
    num_layers : int, default=2
    dropout : float, default=0.0
        Probability in [0, 1) with which an output of a layer is zeroed in training, but for the
        last layer's.
    bias : bool, default=True
        Whether the layers have one.
    decoder_hidden_size : int, default=128
        Units of the decoder's hidden layers.
    decoder_layers : int, default=2
        Linear maps of the decoder, ReLU between; with ``recurrent=True`` there is no decoder.
    recurrent : bool, default=False
    teacher_forcing : float, default=0.0
        With ``recurrent=True``, the probability in [0, 1] with which a step reads the true value of
        the one before in training, instead of its forecast; drawn for each step of each window.

    Notes
    -----
    Parameters are those of :func:`ctrain.layers.lstm` under the name ``encoder``, and
    ``decoder.layer_<k>``, or ``output`` with ``recurrent=True``, and ``upsample`` where the horizon
    is longer than the window. Where a step has several values, such as quantiles, their mean is
    what the next one reads. `past` covariates are 0, their mean, once the window has ended. A
    missing step of the window is read as the 0 that stands there.

    In a :class:`ctrain.Regressor` over rows of shape (time, features) the decoder turns the state
    after the last step into all targets.

    References
    ----------
    Hochreiter, Schmidhuber, "Long short-term memory", Neural Computation 9, 1997.

    Williams, Zipser, "A learning algorithm for continually running fully recurrent neural
    networks", Neural Computation 1, 1989: teacher forcing.

    Examples
    --------
    >>> import ctrain
    >>> tape = ctrain.Tape()
    >>> inputs = {"past_y": tape.input((168,), name="past_y")}
    >>> inputs["future"] = tape.input((192, 3), name="future")
    >>> ctrain.models.LSTM(recurrent=True).record(tape, inputs, (24,)).shape
    (24,)
    """

    def _layers(self, tape, x, state):
        return lstm(
            tape, x, self.hidden_size, "encoder", num_layers=self.num_layers,
            dropout=self.dropout, bias=self.bias, state=state,
        )  # fmt: skip
