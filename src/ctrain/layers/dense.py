"""Dense layers and activations."""

from __future__ import annotations

import math

from ..initializers import Uniform
from ..rules import find

#: scikit-learn's and PyTorch's names -> operation of the tape
ACTIVATIONS = {
    "identity": "identity",
    "relu": "relu",
    "leaky_relu": "leaky_relu",
    "elu": "elu",
    "gelu": "gelu",
    "gelu_tanh": "gelu_tanh",
    "tanh": "tanh",
    "logistic": "sigmoid",
    "sigmoid": "sigmoid",
    "silu": "silu",
    "swish": "silu",
    "softplus": "softplus",
}


def dense(tape, x, units: int, name: str):
    """Record ``x @ weight + bias`` with parameters ``<name>.weight`` and ``<name>.bias``.

    Weights start from Glorot's uniform distribution, the bias from zero.

    Parameters
    ----------
    tape : Tape
    x : Tensor of shape (..., n_in)
    units : int
        Outputs.
    name : str
        The same name gives the same parameters again.

    Returns
    -------
    Tensor of shape (..., units)

    Examples
    --------
    >>> import ctrain
    >>> from ctrain.layers import dense
    >>> tape = ctrain.Tape()
    >>> dense(tape, tape.input((3,), name="x"), 5, "first").shape
    (5,)
    """
    weight = tape.parameter((x.shape[-1], units), name=f"{name}.weight")
    bias = tape.parameter((units,), name=f"{name}.bias", init="zeros", decay=False)
    return tape.matmul(x, weight, bias)


def linear(tape, x, units: int, name: str, *, bias: bool = True):
    """Record ``x @ weight + bias``, both uniform in ``1 / sqrt(n_in)`` around zero at the start.

    The dense layer of the forecasting models: what PyTorch's, and so the published ones, start
    from. With ``bias=False`` there is none. Otherwise as `dense`.
    """
    bound = 1.0 / math.sqrt(x.shape[-1])
    start = Uniform(-bound, bound)
    weight = tape.parameter((x.shape[-1], units), name=f"{name}.weight", init=start)
    shift = None
    if bias:
        shift = tape.parameter((units,), name=f"{name}.bias", init=start, decay=False)
    return tape.matmul(x, weight, shift)


def activate(tape, x, activation: str):
    """Record an activation by its name."""
    return x if activation == "identity" else tape.record(operation(activation), x)


def operation(activation: str) -> str:
    """Operation of the tape for an activation; raises ValueError with the known ones."""
    return find("activation", activation, ACTIVATIONS)
