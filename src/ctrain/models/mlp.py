"""The multi-layer perceptron."""

from __future__ import annotations

import difflib
import math
import numbers

import numpy as np
from sklearn.base import BaseEstimator

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


class MLP(BaseEstimator):
    """Dense layers, an activation after each but the last.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int, default=(100,)
        Units of each hidden layer; empty for a linear model.
    activation : str or sequence of str, default="relu"
        One for all hidden layers, or one for each.
    dropout : float, default=0.0
        Probability in [0, 1) with which a hidden unit is zeroed in training.

    Notes
    -----
    Weights start from Glorot's uniform distribution, biases from zero; weight decay and penalties
    leave biases out. Layer k is the parameters ``layer_<k>.weight`` of shape (n_in, n_out) and
    ``layer_<k>.bias`` of shape (n_out,).

    Examples
    --------
    >>> import ctrain
    >>> tape = ctrain.Tape()
    >>> x = tape.input((3,), name="x")
    >>> ctrain.models.MLP((8, 4), "gelu").record(tape, {"x": x}, (1,)).shape
    (1,)
    """

    def __init__(self, hidden_layer_sizes=(100,), activation="relu", dropout: float = 0.0) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.dropout = dropout

    def layers(self) -> list[tuple[int, str]]:
        """Size and operation of each hidden layer; raises ValueError with the rule."""
        sizes = _listed(self.hidden_layer_sizes, numbers.Integral)
        if sizes is None or any(isinstance(n, bool) or n < 1 for n in sizes):
            raise ValueError(
                "hidden_layer_sizes must be an integer of at least 1 or a sequence of them; "
                f"got {self.hidden_layer_sizes!r}"
            )
        names = _listed(self.activation, str)
        if isinstance(self.activation, str):
            names = names * len(sizes)
        if names is None or len(names) != len(sizes):
            raise ValueError(
                f"activation must be one name or one for each of the {len(sizes)} hidden layers; "
                f"got {self.activation!r}"
            )
        for name in names:
            if name not in ACTIVATIONS:
                near = difflib.get_close_matches(name.lower(), ACTIVATIONS, 1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(
                    f"activation must be one of {sorted(ACTIVATIONS)}; got {name!r}{hint}"
                )
        if not isinstance(self.dropout, numbers.Real) or not 0.0 <= self.dropout < 1.0:
            raise ValueError(f"dropout must be in [0, 1); got {self.dropout!r}")
        return [(int(n), ACTIVATIONS[name]) for n, name in zip(sizes, names, strict=True)]

    def record(self, tape, inputs: dict, shape: tuple[int, ...]):
        """Record the network.

        Parameters
        ----------
        tape : Tape
        inputs : dict of str to Tensor
            ``x`` of any row shape; it is flattened.
        shape : tuple of int
            Of the prediction.

        Returns
        -------
        Tensor of that shape

        Raises
        ------
        ValueError
            If a size, an activation or the dropout is out of its range.
        """
        h = inputs["x"]
        if len(h.shape) != 1:
            h = tape.reshape(h, (h.size,))
        layers = self.layers()
        for k, (units, activation) in enumerate(layers):
            h = dense(tape, h, units, f"layer_{k}")
            if activation != "identity":
                h = tape.record(activation, h)
            h = tape.dropout(h, self.dropout)
        h = dense(tape, h, math.prod(shape), f"layer_{len(layers)}")
        return h if len(shape) == 1 else tape.reshape(h, shape)


def dense(tape, x, units: int, name: str):
    """Record ``x @ weight + bias`` with parameters ``<name>.weight`` and ``<name>.bias``.

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


def _listed(value, kind: type) -> list | None:
    """Make a list of one or several of `kind`; None if it is neither."""
    if isinstance(value, kind):
        return [value]
    values = list(value) if np.iterable(value) and not isinstance(value, str) else [None]
    return values if all(isinstance(v, kind) for v in values) else None
