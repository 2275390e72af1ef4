"""What models are made of: activations, dense layers, the window of a series, checked settings."""

from __future__ import annotations

import math
import numbers

import numpy as np

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
    >>> from ctrain.models.mlp import dense
    >>> tape = ctrain.Tape()
    >>> dense(tape, tape.input((3,), name="x"), 5, "first").shape
    (5,)
    """
    weight = tape.parameter((x.shape[-1], units), name=f"{name}.weight")
    bias = tape.parameter((units,), name=f"{name}.bias", init="zeros", decay=False)
    return tape.matmul(x, weight, bias)


def linear(tape, x, units: int, name: str):
    """Record ``x @ weight + bias``, both uniform in ``1 / sqrt(n_in)`` around zero at the start.

    The dense layer of the forecasting models: what PyTorch's, and so the published ones, start
    from. Otherwise as `dense`.
    """
    bound = 1.0 / math.sqrt(x.shape[-1])
    start = Uniform(-bound, bound)
    weight = tape.parameter((x.shape[-1], units), name=f"{name}.weight", init=start)
    bias = tape.parameter((units,), name=f"{name}.bias", init=start, decay=False)
    return tape.matmul(x, weight, bias)


def activate(tape, x, activation: str):
    """Record an activation by its name."""
    return x if activation == "identity" else tape.record(operation(activation), x)


def window(inputs: dict, model: str, covariates: bool = False):
    """Return the past of the series, row shape (input_size,): ``past_y``, or the columns ``x``.

    Raises
    ------
    ValueError
        If it has several axes, or if there are covariates and the model takes none.
    """
    given = [name for name in ("past", "future", "static") if name in inputs]
    if given and not covariates:
        raise ValueError(
            f"{model} takes no covariates; got {', '.join(given)}: "
            "leave them out, or take MLP, NHITS or TiDE"
        )
    name = "past_y" if "past_y" in inputs else "x"
    y = inputs[name]
    if len(y.shape) != 1:
        raise ValueError(f"{model}: {name} must have row shape (input_size,); got {y.shape}")
    return y


def flatten(tape, tensors: list):
    """Concatenate tensors of any row shape to one vector."""
    flat = [shaped(tape, x, (x.size,)) for x in tensors]
    return flat[0] if len(flat) == 1 else tape.concat(*flat)


def shaped(tape, x, shape: tuple[int, ...]):
    """Reshape `x`, unless it has that shape."""
    return x if x.shape == shape else tape.reshape(x, shape)


def operation(activation: str) -> str:
    """Operation of the tape for an activation; raises ValueError with the known ones."""
    return find("activation", activation, ACTIVATIONS)


def require_choice(name: str, value, allowed: tuple) -> None:
    """Raise ValueError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")


def require_rate(name: str, value) -> None:
    """Raise ValueError unless `value` is a probability below 1."""
    if not isinstance(value, numbers.Real) or not 0.0 <= value < 1.0:
        raise ValueError(f"{name} must be in [0, 1); got {value!r}")


def require_size(name: str, value, least: int = 1) -> None:
    """Raise ValueError unless `value` is an integer of at least `least`."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}; got {value!r}")


def sizes_of(name: str, value, count: int | None = None) -> list[int]:
    """List of integers of at least 1, `count` of them unless None; raises ValueError."""
    sizes = listed(value, numbers.Integral)
    many = "a sequence of integers" if count is None else f"{count} integers, one for each stack,"
    if (
        sizes is None
        or isinstance(value, numbers.Integral)
        or not sizes
        or any(isinstance(n, bool) or n < 1 for n in sizes)
        or (count is not None and len(sizes) != count)
    ):
        raise ValueError(f"{name} must be {many} of at least 1; got {value!r}")
    return [int(n) for n in sizes]


def listed(value, kind: type) -> list | None:
    """Make a list of one or several of `kind`; None if it is neither."""
    if isinstance(value, kind):
        return [value]
    values = list(value) if np.iterable(value) and not isinstance(value, str) else [None]
    return values if all(isinstance(v, kind) for v in values) else None
