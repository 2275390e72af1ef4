"""Gated layers: what a network may leave out, value by value or variable by variable."""

from __future__ import annotations

import numpy as np

from .dense import activate, linear
from .normalization import layer_norm


def gated_linear_unit(tape, x, units: int, name: str):
    """Record ``(x @ value + b) * sigmoid(x @ gate + c)``.

    Parameters
    ----------
    tape : Tape
    x : Tensor of shape (..., n_in)
    units : int
        Outputs.
    name : str
        Of the linear layers ``<name>.value`` and ``<name>.gate``; the same name gives the same
        parameters again.

    Returns
    -------
    Tensor of shape (..., units)

    References
    ----------
    Dauphin, Fan, Auli, Grangier, "Language modeling with gated convolutional networks", ICML 2017.

    Examples
    --------
    >>> import ctrain
    >>> tape = ctrain.Tape()
    >>> ctrain.layers.gated_linear_unit(tape, tape.input((24, 3), name="x"), 8, "unit").shape
    (24, 8)
    """
    value = linear(tape, x, units, f"{name}.value")
    return tape.mul(value, tape.sigmoid(linear(tape, x, units, f"{name}.gate")))


def gated_residual(
    tape, x, hidden_size: int, name: str, *,
    units: int | None = None, context=None, activation: str = "elu", dropout: float = 0.0,
):  # fmt: skip
    """Record a gated residual network: two dense layers, a gate, a skip connection, a norm.

    Parameters
    ----------
    tape : Tape
    x : Tensor of shape (..., n_in)
    hidden_size : int
        Units of both dense layers.
    name : str
        Of ``<name>.dense``, ``<name>.output``, the gated linear unit ``<name>.glu`` and
        ``<name>.norm``; of ``<name>.context.weight`` and ``<name>.skip`` as far as they are needed.
    units : int, default=None
        Outputs, reached over a linear skip connection. None = n_in, which is added as it is.
    context : Tensor of shape (n,), default=None
        What is known of the whole sequence; joins the first layer by a product without bias.
    activation : str, default="elu"
        Between the dense layers.
    dropout : float, default=0.0
        Probability in [0, 1) with which a value before the gate is zeroed in training.

    Returns
    -------
    Tensor of shape (..., units)
        A single unit is not normalised.

    References
    ----------
    Lim, Arik, Loeff, Pfister, "Temporal fusion transformers for interpretable multi-horizon time
    series forecasting", International Journal of Forecasting 37, 2021.

    Examples
    --------
    >>> import ctrain
    >>> tape = ctrain.Tape()
    >>> x, kind = tape.input((24, 8), name="x"), tape.input((3,), name="kind")
    >>> ctrain.layers.gated_residual(tape, x, 16, "block", context=kind).shape
    (24, 8)
    """
    h = linear(tape, x, hidden_size, f"{name}.dense")
    if context is not None:
        h = tape.add(h, linear(tape, context, hidden_size, f"{name}.context", bias=False))
    h = linear(tape, activate(tape, h, activation), hidden_size, f"{name}.output")
    n_out = x.shape[-1] if units is None else units
    h = gated_linear_unit(tape, tape.dropout(h, dropout), n_out, f"{name}.glu")
    h = tape.add(h, x if units is None else linear(tape, x, units, f"{name}.skip"))
    return h if n_out == 1 else layer_norm(tape, h, f"{name}.norm", eps=1e-3)


def variable_selection(
    tape, variables: list, name: str, *, context=None, activation: str = "elu", dropout: float = 0.0
):
    """Record a weighted mean of variables, the weights chosen by a network.

    Each variable goes through a gated residual network ``<name>.variable_<k>``; another one,
    ``<name>.weights``, sees all of them and gives their weights by a softmax.

    Parameters
    ----------
    tape : Tape
    variables : list of Tensor of shape (..., n)
        An axis of one step counts for all steps of the others.
    name : str
    context, activation, dropout
        As in `gated_residual`; the network of the weights has the context, the others the dropout.

    Returns
    -------
    selected : Tensor of shape (..., n)
    weights : Tensor of shape (..., n_variables) or None
        None for a single variable: its weight is 1, and there is no network to choose it.

    References
    ----------
    As of `gated_residual`.

    Examples
    --------
    >>> import ctrain
    >>> tape = ctrain.Tape()
    >>> variables = [tape.input((24, 8), name=name) for name in ("load", "price", "wind")]
    >>> selected, weights = ctrain.layers.variable_selection(tape, variables, "past")
    >>> selected.shape, weights.shape
    ((24, 8), (24, 3))
    """
    n = variables[0].shape[-1]
    seen = [
        gated_residual(tape, x, n, f"{name}.variable_{k}", activation=activation, dropout=dropout)
        for k, x in enumerate(variables)
    ]
    if len(seen) == 1:
        return seen[0], None
    shape = np.broadcast_shapes(*(x.shape for x in variables))
    every = [x if x.shape == shape else tape.record("broadcast", x, shape=shape) for x in variables]
    scores = gated_residual(
        tape, tape.concat(*every), n, f"{name}.weights",
        units=len(seen), context=context, activation=activation,
    )  # fmt: skip
    weights = tape.softmax(scores)
    selected = tape.mul(seen[0], tape.slice(weights, -1, 0, 1))
    for k, x in enumerate(seen[1:], 1):
        selected = tape.add(selected, tape.mul(x, tape.slice(weights, -1, k, k + 1)))
    return selected, weights
