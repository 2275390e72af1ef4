"""Attention of several heads, and the transformer's encoder layer made of it."""

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
        y = activate(tape, linear(tape, y, units, f"{name}.hidden", bias=bias), activation)
        y = linear(tape, tape.dropout(y, dropout), x.shape[-1], f"{name}.output", bias=bias)
        return tape.dropout(y, dropout)

    h = x
    for part, norm in ((attend, f"{name}.norm_1"), (feed, f"{name}.norm_2")):
        if norm_first:
            h = tape.add(h, part(layer_norm(tape, h, norm)))
        else:
            h = layer_norm(tape, tape.add(h, part(h)), norm)
    return h
