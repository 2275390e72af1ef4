"""Attention of several heads, and the transformer's layers made of it."""

from __future__ import annotations

from .dense import activate, linear
from .normalization import layer_norm


def multi_head_attention(
    tape, query, key, value, n_heads: int, name: str, *,
    causal: bool = False, dropout: float = 0.0, bias: bool = True,
):  # fmt: skip
    """Record attention between projections of three sequences, and the projection of what it found.

    The parameters are those of the linear layers ``<name>.query``, ``<name>.key``,
    ``<name>.value`` and ``<name>.out``, all with as many outputs as `query` has features.

    Parameters
    ----------
    tape : Tape
    query : Tensor of shape (..., time, size)
    key : Tensor of shape (..., key_time, key_size)
        The same tensor as `query` for self-attention.
    value : Tensor of shape (..., key_time, value_size)
    n_heads : int
        Heads; `size` is a multiple of it.
    name : str
        The same name gives the same parameters again.
    causal : bool, default=False
        Whether a time step sees itself and earlier ones only.
    dropout : float, default=0.0
        Probability in [0, 1) with which a weight of attention is zeroed in training.
    bias : bool, default=True
        Whether the four projections add one.

    Returns
    -------
    Tensor of shape (..., time, size)

    Raises
    ------
    ValueError
        If shapes do not fit, or `n_heads` does not divide `size`.

    Notes
    -----
    The numbers are those of PyTorch's MultiheadAttention with ``batch_first=True``. No matrix
    of times by times is kept.

    References
    ----------
    Vaswani et al., "Attention is all you need", NeurIPS 2017.

    Examples
    --------
    >>> import ctrain
    >>> from ctrain.layers import multi_head_attention
    >>> tape = ctrain.Tape()
    >>> x = tape.input((24, 8), name="x")
    >>> multi_head_attention(tape, x, x, x, 2, "self", causal=True).shape
    (24, 8)
    """
    size = query.shape[-1]
    q, k, v = (
        linear(tape, x, size, f"{name}.{part}", bias=bias)
        for part, x in (("query", query), ("key", key), ("value", value))
    )
    found = tape.attention(
        q, k, v, n_heads=n_heads, causal=causal, rate=dropout if tape.training else 0.0
    )
    return linear(tape, found, size, f"{name}.out", bias=bias)


def transformer_encoder_layer(
    tape, x, n_heads: int, units: int, name: str, *, activation: str = "relu",
    dropout: float = 0.1, norm_first: bool = False, causal: bool = False, bias: bool = True,
):  # fmt: skip
    """Record self-attention and two dense layers, each added to what it reads and normalised.

    The parts are the attention ``<name>.attention``, the linear layers ``<name>.hidden`` and
    ``<name>.output``, and the layer norms ``<name>.norm_1`` and ``<name>.norm_2``.

    Parameters
    ----------
    tape : Tape
    x : Tensor of shape (..., time, size)
    n_heads : int
    units : int
        Hidden units of the dense layers.
    name : str
        The same name gives the same parameters again.
    activation : str, default="relu"
    dropout : float, default=0.1
        Probability in [0, 1) with which a weight of attention, a hidden unit, and an output of
        each part is zeroed in training.
    norm_first : bool, default=False
        Whether a part reads its input normalised, instead of its sum with the input being
        normalised.
    causal : bool, default=False
        Whether a time step sees itself and earlier ones only.
    bias : bool, default=True
        Whether linear layers add one.

    Returns
    -------
    Tensor of the shape of `x`

    Notes
    -----
    The numbers are those of PyTorch's TransformerEncoderLayer with ``batch_first=True``.

    References
    ----------
    Vaswani et al., "Attention is all you need", NeurIPS 2017. Xiong et al., "On layer normalization
    in the transformer architecture", ICML 2020.

    Examples
    --------
    >>> import ctrain
    >>> from ctrain.layers import transformer_encoder_layer
    >>> tape = ctrain.Tape()
    >>> x = tape.input((24, 8), name="x")
    >>> transformer_encoder_layer(tape, x, 2, 32, "layer_0", activation="gelu").shape
    (24, 8)
    """

    def attend(y):
        found = multi_head_attention(
            tape, y, y, y, n_heads, f"{name}.attention", causal=causal, dropout=dropout, bias=bias
        )
        return tape.dropout(found, dropout)

    def feed(y):
        return _dense(tape, y, units, name, activation, dropout, bias)

    return _chained(tape, x, (attend, feed), name, norm_first)


def transformer_decoder_layer(
    tape, x, memory, n_heads: int, units: int, name: str, *, activation: str = "relu",
    dropout: float = 0.1, norm_first: bool = False, causal: bool = False, bias: bool = True,
    steps: int | None = None,
):  # fmt: skip
    """Record self-attention, attention to another sequence, and two dense layers.

    Each is added to what it reads and normalised. The parts are the attentions
    ``<name>.attention`` and ``<name>.cross_attention``, the linear layers ``<name>.hidden`` and
    ``<name>.output``, and the layer norms ``<name>.norm_1`` to ``<name>.norm_3``.

    Parameters
    ----------
    tape : Tape
    x : Tensor of shape (..., time, size)
    memory : Tensor of shape (..., memory_time, memory_size)
        What an encoder made of the other sequence.
    n_heads, units, name, activation, dropout, norm_first, causal, bias
        As in `transformer_encoder_layer`; `causal` is for self-attention.
    steps : int, default=None
        How many of the last steps to put out. The others are seen by self-attention, and nothing
        else is computed for them. None = all.

    Returns
    -------
    Tensor of shape (..., steps, size)

    Notes
    -----
    The numbers are those of PyTorch's TransformerDecoderLayer with ``batch_first=True``.

    References
    ----------
    As of `transformer_encoder_layer`.

    Examples
    --------
    >>> import ctrain
    >>> from ctrain.layers import transformer_decoder_layer
    >>> tape = ctrain.Tape()
    >>> x, memory = tape.input((24, 8), name="x"), tape.input((96, 8), name="memory")
    >>> transformer_decoder_layer(tape, x, memory, 2, 32, "layer_0", steps=12).shape
    (12, 8)
    """

    def last(y):
        return y if steps in (None, y.shape[-2]) else tape.slice(y, -2, -steps)

    def attend(y):
        query = y if causal else last(y)
        found = multi_head_attention(
            tape, query, y, y, n_heads, f"{name}.attention",
            causal=causal, dropout=dropout, bias=bias,
        )  # fmt: skip
        return tape.dropout(last(found) if causal else found, dropout)

    def look(y):
        found = multi_head_attention(
            tape, y, memory, memory, n_heads, f"{name}.cross_attention", dropout=dropout, bias=bias
        )
        return tape.dropout(found, dropout)

    def feed(y):
        return _dense(tape, y, units, name, activation, dropout, bias)

    return _chained(tape, x, (attend, look, feed), name, norm_first, last)


def _dense(tape, x, units: int, name: str, activation: str, dropout: float, bias: bool):
    """The two dense layers of a step."""
    h = activate(tape, linear(tape, x, units, f"{name}.hidden", bias=bias), activation)
    h = linear(tape, tape.dropout(h, dropout), x.shape[-1], f"{name}.output", bias=bias)
    return tape.dropout(h, dropout)


def _chained(tape, x, parts: tuple, name: str, norm_first: bool, kept=lambda x: x):
    """Each part added to what is kept of its input, and normalised."""
    h = x
    for k, part in enumerate(parts, 1):
        norm = f"{name}.norm_{k}"
        if norm_first:
            h = tape.add(kept(h), part(layer_norm(tape, h, norm)))
        else:
            h = layer_norm(tape, tape.add(kept(h), part(h)), norm)
    return h
