"""iTransformer: attention between series, each a token."""

from __future__ import annotations

import math

from sklearn.base import BaseEstimator

from ..layers import layer_norm, linear, transformer_encoder_layer
from .inputs import panel
from .settings import require_rate, require_size

EPS = 1e-5  # added to the variance of a window


class iTransformer(BaseEstimator):
    """Inverted transformer: all series at once, the window of each series one token.

    A linear layer that all series share embeds a window as a whole; an encoder of attention and
    dense layers lets the series look at each other, and a linear layer makes the forecast of each
    from what comes out. Known covariates of each series are further tokens.

    Parameters
    ----------
    hidden_size : int, default=512
        Length of a token.
    n_heads : int, default=8
        Heads of attention; `hidden_size` is a multiple of it.
    e_layers : int, default=2
        Layers of the encoder.
    d_ff : int, default=2048
        Hidden units of its dense layers.
    dropout : float, default=0.1
        Probability in [0, 1) with which a value of a token, a weight or an output of attention, a
        hidden unit and an output of the dense layers is zeroed in training.
    use_norm : bool, default=True
        Whether each series is standardised in its window and put back.

    Notes
    -----
    The parts are the linear layers ``embedding`` and, of the covariates, ``future``, the encoder
    layers ``layer_<k>``, the layer norm ``norm`` and the linear layer ``out``. Names and defaults
    are those of neuralforecast, whose ``d_layers`` and ``factor`` act nowhere. Missing steps are 0
    like any value. Weights do not depend on the number of series.

    References
    ----------
    Liu, Hu, Zhang, Wu, Wang, Ma, Long, "iTransformer: inverted transformers are effective for time
    series forecasting", ICLR 2024.

    Examples
    --------
    >>> import ctrain
    >>> tape = ctrain.Tape()
    >>> y = tape.input((96, 7), name="past_y")
    >>> ctrain.models.iTransformer().record(tape, {"past_y": y}, (24, 7)).shape
    (24, 7)
    """

    multivariate = True

    def __init__(
        self,
        hidden_size: int = 512,
        n_heads: int = 8,
        e_layers: int = 2,
        d_ff: int = 2048,
        dropout: float = 0.1,
        use_norm: bool = True,
    ) -> None:
        self.hidden_size = hidden_size
        self.n_heads = n_heads
        self.e_layers = e_layers
        self.d_ff = d_ff
        self.dropout = dropout
        self.use_norm = use_norm

    def record(self, tape, inputs: dict, shape: tuple[int, ...]):
        """Record the network.

        Parameters
        ----------
        tape : Tape
        inputs : dict of str to Tensor
            ``past_y``, row shape (input_size, n_series); ``future``, row shape
            (input_size + horizon, n_series, n).
        shape : tuple of int
            ``(horizon, n_series)`` or ``(horizon, n_series, n_values)``.

        Returns
        -------
        Tensor of that shape

        Raises
        ------
        ValueError
            If a setting is out of its range, the window is not of several series, or there are
            covariates that are not known in advance.
        """
        for name in ("hidden_size", "n_heads", "e_layers", "d_ff"):
            require_size(name, getattr(self, name))
        require_rate("dropout", self.dropout)
        if self.hidden_size % self.n_heads:
            raise ValueError(
                f"hidden_size must be a multiple of n_heads; got {self.hidden_size} "
                f"and {self.n_heads}"
            )
        x = tape.transpose(panel(inputs, "iTransformer", future=True))  # (n_series, input_size)
        if self.use_norm:
            mean = tape.stop_gradient(tape.mean(x, axis=1, keepdims=True))
            x = tape.sub(x, mean)
            variance = tape.mean(tape.square(x), axis=1, keepdims=True)
            deviation = tape.sqrt(tape.add(variance, EPS))
            x = tape.div(x, deviation)
        h = linear(tape, x, self.hidden_size, "embedding")
        if "future" in inputs:
            known = tape.transpose(inputs["future"], axes=(1, 2, 0))
            known = tape.reshape(known, (-1, known.shape[-1]))
            h = tape.concat(h, linear(tape, known, self.hidden_size, "future"), axis=0)
        h = tape.dropout(h, self.dropout)
        for k in range(self.e_layers):
            h = transformer_encoder_layer(
                tape, h, self.n_heads, self.d_ff, f"layer_{k}",
                activation="gelu", dropout=self.dropout,
            )  # fmt: skip
        h = layer_norm(tape, h, "norm")
        if "future" in inputs:
            h = tape.slice(h, 0, 0, x.shape[0])
        out = linear(tape, h, math.prod(shape) // shape[1], "out")
        if self.use_norm:
            out = tape.add(tape.mul(out, deviation), mean)
        out = tape.reshape(out, (shape[1], shape[0], *shape[2:]))
        return tape.transpose(out, axes=(1, 0, *range(2, len(shape))))
