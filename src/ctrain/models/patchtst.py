"""PatchTST: a transformer over patches of one series."""

from __future__ import annotations

import math

import numpy as np
from sklearn.base import BaseEstimator

from ..layers import activate, batch_norm, learned_positions, linear, multi_head_attention
from ..layers.dense import operation
from ..scalers import Standard
from .inputs import last_value, mask_of, shaped, window
from .settings import require_rate, require_size

EPS = 1e-5  # added to the variance of a window


class PatchTST(BaseEstimator):
    """Patch time-series transformer: the window cut into overlapping patches, each a token.

    Every series is forecast by itself, with the same weights. The window is normalised, padded by
    its last value and cut into patches; an encoder of attention and dense layers with batch norm
    reads them, and one linear layer makes the forecast of all that comes out.

    Parameters
    ----------
    encoder_layers : int, default=3
    n_heads : int, default=16
        Heads of attention; `hidden_size` is a multiple of it.
    hidden_size : int, default=128
        Length of a token.
    linear_hidden_size : int, default=256
        Hidden units of the dense layers.
    dropout : float, default=0.2
        Probability in [0, 1) with which a value of a token, an output of attention, a hidden unit
        and an output of the dense layers is zeroed in training.
    head_dropout : float, default=0.0
        The same for values of the normalised forecast.
    attn_dropout : float, default=0.0
        The same for weights of attention.
    patch_len : int, default=16
        Steps of a patch; at most ``input_size + stride`` are taken.
    stride : int, default=8
        Steps from the start of one patch to the next, and by which the window is padded.
    revin : bool, default=True
        Whether the window is normalised, and the forecast put back, inside the network.
    revin_affine : bool, default=False
        Whether a learned gain and bias follow the normalisation.
    revin_subtract_last : bool, default=True
        Whether the last value is taken off, instead of the mean.
    activation : str, default="gelu"
        Of the dense layers.
    res_attention : bool, default=True
        Whether a layer adds the scores of the layer before to its own.
    batch_normalization : bool, default=False
        Whether a part normalises what it reads, instead of its sum with what it reads.
    learn_pos_embed : bool, default=True
        Whether the vectors that tell patches apart are trained.

    Notes
    -----
    The parts are the linear layer ``patch``, ``positions``, for each layer k
    ``layer_<k>.attention`` with ``query``, ``key``, ``value`` and ``out``, ``layer_<k>.hidden``,
    ``layer_<k>.output`` and the norms ``layer_<k>.norm_1`` and ``layer_<k>.norm_2``, the linear
    layer ``head``, and ``revin.gain`` and ``revin.bias``. Names and defaults are those of
    neuralforecast, whose ``fc_dropout`` acts nowhere. Where steps of a window are missing, it is
    normalised by the others, and they are 0.

    References
    ----------
    Nie, Nguyen, Sinthong, Kalagnanam, "A time series is worth 64 words: long-term forecasting with
    transformers", ICLR 2023. Scores are handed on as in He et al., "RealFormer: transformer likes
    residual attention", 2020.

    Examples
    --------
    >>> import ctrain
    >>> tape = ctrain.Tape()
    >>> inputs = {"past_y": tape.input((168,), name="past_y")}
    >>> ctrain.models.PatchTST().record(tape, inputs, (24,)).shape
    (24,)
    """

    def __init__(
        self,
        encoder_layers: int = 3,
        n_heads: int = 16,
        hidden_size: int = 128,
        linear_hidden_size: int = 256,
        dropout: float = 0.2,
        head_dropout: float = 0.0,
        attn_dropout: float = 0.0,
        patch_len: int = 16,
        stride: int = 8,
        revin: bool = True,
        revin_affine: bool = False,
        revin_subtract_last: bool = True,
        activation: str = "gelu",
        res_attention: bool = True,
        batch_normalization: bool = False,
        learn_pos_embed: bool = True,
    ) -> None:
        self.encoder_layers = encoder_layers
        self.n_heads = n_heads
        self.hidden_size = hidden_size
        self.linear_hidden_size = linear_hidden_size
        self.dropout = dropout
        self.head_dropout = head_dropout
        self.attn_dropout = attn_dropout
        self.patch_len = patch_len
        self.stride = stride
        self.revin = revin
        self.revin_affine = revin_affine
        self.revin_subtract_last = revin_subtract_last
        self.activation = activation
        self.res_attention = res_attention
        self.batch_normalization = batch_normalization
        self.learn_pos_embed = learn_pos_embed

    def record(self, tape, inputs: dict, shape: tuple[int, ...]):
        """Record the network.

        Parameters
        ----------
        tape : Tape
        inputs : dict of str to Tensor
            ``past_y`` or ``x``, row shape (input_size,).
        shape : tuple of int
            ``(horizon,)`` or ``(horizon, n_values)``.

        Returns
        -------
        Tensor of that shape

        Raises
        ------
        ValueError
            If a setting is out of its range, the window has several axes, or there are covariates.
        """
        self._check()
        y, mask = window(inputs, "PatchTST"), mask_of(inputs)
        y, back = self._normalized(tape, y, mask) if self.revin else (y, None)
        h = linear(tape, self._patches(tape, y), self.hidden_size, "patch")
        places = learned_positions(tape, *h.shape, "positions", trainable=self.learn_pos_embed)
        h = tape.dropout(tape.add(h, places), self.dropout)
        scores = None
        for k in range(self.encoder_layers):
            h, scores = self._layer(tape, h, scores, f"layer_{k}")
        forecast = linear(tape, shaped(tape, h, (h.size,)), math.prod(shape), "head")
        forecast = tape.dropout(forecast, self.head_dropout)
        return shaped(tape, forecast if back is None else back(forecast), shape)

    def _check(self) -> None:
        for name in ("encoder_layers", "n_heads", "hidden_size", "linear_hidden_size"):
            require_size(name, getattr(self, name))
        for name in ("patch_len", "stride"):
            require_size(name, getattr(self, name))
        for name in ("dropout", "head_dropout", "attn_dropout"):
            require_rate(name, getattr(self, name))
        if self.hidden_size % self.n_heads:
            raise ValueError(
                f"hidden_size must be a multiple of n_heads; got {self.hidden_size} "
                f"and {self.n_heads}"
            )
        operation(self.activation)

    def _normalized(self, tape, y, mask):
        """The window around 0 on the scale 1, and what puts a forecast back."""
        seen = tape.constant(np.ones(y.shape)) if mask is None else mask
        location, scale = Standard(EPS).record(tape, y, seen)
        if self.revin_subtract_last:
            location = last_value(tape, y, mask)
        z = tape.div(tape.sub(y, location), scale)
        if self.revin_affine:
            gain = tape.parameter((1,), name="revin.gain", init="ones", decay=False)
            bias = tape.parameter((1,), name="revin.bias", init="zeros", decay=False)
            z = tape.add(tape.mul(z, gain), bias)

        def back(forecast):
            if self.revin_affine:
                # the gain may pass through 0
                forecast = tape.div(tape.sub(forecast, bias), tape.add(gain, EPS**2))
            return tape.add(tape.mul(forecast, scale), location)

        return z if mask is None else tape.mul(z, mask), back

    def _patches(self, tape, y):
        """Patches (count, patch_len) of the window and `stride` times its last value."""
        stride, length = self.stride, min(self.patch_len, y.size + self.stride)
        count = (y.size + stride - length) // stride + 1
        parts = -(-length // stride)  # a patch is this many pieces of `stride` steps
        end = tape.record("broadcast", tape.slice(y, 0, -1), shape=(stride,))
        behind = (count + parts - 1) * stride - y.size - stride
        y = tape.concat(y, end)
        if behind > 0:
            y = tape.pad(y, ((0, behind),))
        pieces = []
        for k in range(parts):
            piece = tape.slice(y, 0, k * stride, (k + count) * stride)
            piece = tape.reshape(piece, (count, stride))
            left = length - k * stride
            pieces.append(piece if left >= stride else tape.slice(piece, 1, 0, left))
        return pieces[0] if parts == 1 else tape.concat(*pieces)

    def _layer(self, tape, x, scores, name: str):
        """One layer of the encoder, and its scores."""
        if self.batch_normalization:
            x = batch_norm(tape, x, f"{name}.norm_1")
        found, scores = self._attention(tape, x, scores, f"{name}.attention")
        # zeroed once by the attention and once by who reads it: the same as one draw
        x = tape.add(x, tape.dropout(found, 1.0 - (1.0 - self.dropout) ** 2))
        x = batch_norm(tape, x, f"{name}.norm_{2 if self.batch_normalization else 1}")
        h = activate(
            tape, linear(tape, x, self.linear_hidden_size, f"{name}.hidden"), self.activation
        )
        h = linear(tape, tape.dropout(h, self.dropout), self.hidden_size, f"{name}.output")
        x = tape.add(x, tape.dropout(h, self.dropout))
        if not self.batch_normalization:
            x = batch_norm(tape, x, f"{name}.norm_2")
        return x, scores

    def _attention(self, tape, x, scores, name: str):
        """What the patches find in each other, and how much each looked at each: the scores."""
        size, heads = self.hidden_size, self.n_heads
        if not self.res_attention:
            found = multi_head_attention(tape, x, x, x, heads, name, dropout=self.attn_dropout)
            return found, None
        q, k, v = (
            tape.reshape(linear(tape, x, size, f"{name}.{part}"), (-1, heads, size // heads))
            for part in ("query", "key", "value")
        )
        q, v = (tape.transpose(t, (1, 0, 2)) for t in (q, v))
        q = tape.scale(q, (size // heads) ** -0.5)
        own = tape.batched_matmul(q, tape.transpose(k, (1, 2, 0)))
        scores = own if scores is None else tape.add(own, scores)
        weights = tape.dropout(tape.softmax(scores), self.attn_dropout)
        found = tape.transpose(tape.batched_matmul(weights, v), (1, 0, 2))
        return linear(tape, tape.reshape(found, x.shape), size, f"{name}.out"), scores
