"""The multi-layer perceptron."""

from __future__ import annotations

import math
import numbers

from sklearn.base import BaseEstimator

from ..layers import activate, dense
from ..layers.dense import operation
from .inputs import flatten, shaped
from .settings import listed, require_rate


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
        """Size and activation of each hidden layer; raises ValueError with the rule."""
        sizes = listed(self.hidden_layer_sizes, numbers.Integral)
        if sizes is None or any(isinstance(n, bool) or n < 1 for n in sizes):
            raise ValueError(
                "hidden_layer_sizes must be an integer of at least 1 or a sequence of them; "
                f"got {self.hidden_layer_sizes!r}"
            )
        names = listed(self.activation, str)
        if isinstance(self.activation, str):
            names = names * len(sizes)
        if names is None or len(names) != len(sizes):
            raise ValueError(
                f"activation must be one name or one for each of the {len(sizes)} hidden layers; "
                f"got {self.activation!r}"
            )
        for name in names:
            operation(name)
        require_rate("dropout", self.dropout)
        return [(int(n), name) for n, name in zip(sizes, names, strict=True)]

    def record(self, tape, inputs: dict, shape: tuple[int, ...]):
        """Record the network.

        Parameters
        ----------
        tape : Tape
        inputs : dict of str to Tensor
            ``x`` of any row shape, or of a window of a series ``past_y`` and the covariates
            ``past``, ``future`` and ``static`` that there are; flattened in this order.
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
        read = ("x", "past_y", "past", "future", "static")
        h = flatten(tape, [inputs[name] for name in read if name in inputs])
        layers = self.layers()
        for k, (units, activation) in enumerate(layers):
            h = activate(tape, dense(tape, h, units, f"layer_{k}"), activation)
            h = tape.dropout(h, self.dropout)
        h = dense(tape, h, math.prod(shape), f"layer_{len(layers)}")
        return shaped(tape, h, shape)
