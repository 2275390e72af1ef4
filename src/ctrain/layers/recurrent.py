"""Recurrent layers: LSTM, GRU and Elman's, stacked."""

from __future__ import annotations

import math

import numpy as np

from .._core import random
from ..initializers import Uniform


def lstm(
    tape, x, hidden_size: int, name: str, *,
    num_layers: int = 1, dropout: float = 0.0, bias: bool = True, state=None,
):  # fmt: skip
    """Record long short-term memory over a sequence, layer upon layer.

    Layer k has the parameters ``<name>.weight_ih_l<k>`` (n_in, 4 * hidden_size),
    ``<name>.weight_hh_l<k>`` (hidden_size, 4 * hidden_size) and ``<name>.bias_l<k>``, the sum of
    PyTorch's two; gates in the order input, forget, cell, output. They start as PyTorch's.

    Parameters
    ----------
    tape : Tape
    x : Tensor of shape (..., time, n_in)
        Other axes before time are more sequences.
    hidden_size : int
        Units of each layer.
    name : str
        The same name gives the same parameters again.
    num_layers : int, default=1
    dropout : float, default=0.0
        Probability in [0, 1) with which an output of a layer is zeroed in training, but for the
        last layer's.
    bias : bool, default=True
    state : list of (h, c), default=None
        Where each layer starts, tensors of shape (..., hidden_size); None = zeros.

    Returns
    -------
    sequence : Tensor of shape (..., time, hidden_size)
        State h of the last layer at each step.
    state : list of (h, c)
        Each layer after the last step, to go on from.

    Raises
    ------
    ValueError
        If shapes do not fit, or `state` is not one pair for each layer.

    References
    ----------
    Hochreiter, Schmidhuber, "Long short-term memory", Neural Computation 9, 1997.

    Examples
    --------
    >>> import ctrain
    >>> from ctrain.layers import lstm
    >>> tape = ctrain.Tape()
    >>> x = tape.input((168, 3), name="x")
    >>> sequence, state = lstm(tape, x, 32, "encoder", num_layers=2)
    >>> sequence.shape, len(state), state[0][1].shape
    ((168, 32), 2, (32,))
    >>> lstm(tape, tape.input((1, 3), name="next"), 32, "encoder", num_layers=2, state=state)[0]
    <slice_9: row (1, 32)>
    """
    final = []
    for k, start in enumerate(_starts("lstm", num_layers, state, 2)):
        weights = _parameters(tape, x, hidden_size, f"{name}.{{}}_l{k}", 4, 4, bias)
        both = tape.lstm(x, *weights, *start)
        time = x.shape[-2]
        x = tape.slice(both, -2, 0, time)
        final.append((_step(tape, x, -1), _step(tape, both, time)))
        x = _between(tape, x, k, num_layers, dropout)
    return x, final


def gru(
    tape, x, hidden_size: int, name: str, *,
    num_layers: int = 1, dropout: float = 0.0, bias: bool = True, state=None,
):  # fmt: skip
    """Record gated recurrent units over a sequence, layer upon layer.

    Parameters are those of `lstm` with three gates, reset, update and new; ``<name>.bias_l<k>``
    has a fourth part, of the product with the state that the reset gate multiplies.

    Parameters
    ----------
    tape, x, hidden_size, name, num_layers, dropout, bias
        As in `lstm`.
    state : list of Tensor, default=None
        Where each layer starts, of shape (..., hidden_size); None = zeros.

    Returns
    -------
    sequence : Tensor of shape (..., time, hidden_size)
    state : list of Tensor
        Each layer after the last step.

    Raises
    ------
    ValueError
        If shapes do not fit, or `state` is not one tensor for each layer.

    References
    ----------
    Cho et al., "Learning phrase representations using RNN encoder-decoder for statistical machine
    translation", EMNLP 2014.

    Examples
    --------
    >>> import ctrain
    >>> from ctrain.layers import gru
    >>> tape = ctrain.Tape()
    >>> sequence, (last,) = gru(tape, tape.input((168, 3), name="x"), 32, "encoder")
    >>> sequence.shape, last.shape
    ((168, 32), (32,))
    """
    final = []
    for k, start in enumerate(_starts("gru", num_layers, state, 1)):
        weights = _parameters(tape, x, hidden_size, f"{name}.{{}}_l{k}", 3, 4, bias)
        x = tape.gru(x, *weights, *start)
        final.append(_step(tape, x, -1))
        x = _between(tape, x, k, num_layers, dropout)
    return x, final


def rnn(
    tape, x, hidden_size: int, name: str, *, nonlinearity: str = "tanh",
    num_layers: int = 1, dropout: float = 0.0, bias: bool = True, state=None,
):  # fmt: skip
    """Record Elman's recurrent layer over a sequence, layer upon layer.

    Parameters are those of `lstm` with one gate.

    Parameters
    ----------
    tape, x, hidden_size, name, num_layers, dropout, bias, state
        As in `gru`.
    nonlinearity : {"tanh", "relu"}, default="tanh"

    Returns
    -------
    sequence : Tensor of shape (..., time, hidden_size)
    state : list of Tensor
        Each layer after the last step.

    Raises
    ------
    ValueError
        If shapes do not fit, or `state` is not one tensor for each layer.

    References
    ----------
    Elman, "Finding structure in time", Cognitive Science 14, 1990.

    Examples
    --------
    >>> import ctrain
    >>> from ctrain.layers import rnn
    >>> tape = ctrain.Tape()
    >>> rnn(tape, tape.input((24, 3), name="x"), 8, "encoder", nonlinearity="relu")[0].shape
    (24, 8)
    """
    final = []
    for k, start in enumerate(_starts("rnn", num_layers, state, 1)):
        weights = _parameters(tape, x, hidden_size, f"{name}.{{}}_l{k}", 1, 1, bias)
        x = tape.rnn(x, *weights, *start, nonlinearity=nonlinearity)
        final.append(_step(tape, x, -1))
        x = _between(tape, x, k, num_layers, dropout)
    return x, final


def _starts(layer: str, num_layers: int, state, parts: int) -> list[tuple]:
    """Initial tensors of each layer, nothing where they are zero."""
    if num_layers < 1:
        raise ValueError(f"{layer}: num_layers must be at least 1; got {num_layers!r}")
    if state is None:
        return [()] * num_layers
    starts = [tuple(s) if parts > 1 else (s,) for s in state]
    if len(starts) != num_layers or any(len(s) != parts for s in starts):
        what = "a pair (h, c)" if parts > 1 else "one tensor"
        raise ValueError(
            f"{layer}: state must hold {what} for each of the {num_layers} layers; got {state!r}"
        )
    return starts


def _parameters(tape, x, hidden: int, name: str, gates: int, sums: int, bias: bool) -> tuple:
    """Weights and bias of one layer; `name` has a place for which."""
    bound = 1.0 / math.sqrt(hidden)
    start = Uniform(-bound, bound)

    def two_biases(shape, key):  # PyTorch adds two; of the last part of GRU's there is one each
        second = start(shape, random.key(key, "second"))
        return start(shape, key) + np.where(np.arange(shape[0]) < shared, second, 0.0)

    shared = sums * hidden if sums == gates else 2 * hidden
    weight_ih = tape.parameter(
        (x.shape[-1], gates * hidden), name=name.format("weight_ih"), init=start
    )
    weight_hh = tape.parameter((hidden, gates * hidden), name=name.format("weight_hh"), init=start)
    if not bias:
        return weight_ih, weight_hh, None
    return weight_ih, weight_hh, tape.parameter(
        (sums * hidden,), name=name.format("bias"), init=two_biases, decay=False
    )  # fmt: skip


def _step(tape, x, t: int):
    """``x[..., t, :]``"""
    stop = None if t == -1 else t + 1
    return tape.reshape(tape.slice(x, -2, t, stop), (*x.shape[:-2], x.shape[-1]))


def _between(tape, x, k: int, num_layers: int, dropout: float):
    return tape.dropout(x, dropout) if k + 1 < num_layers else x
