"""Vectors for numbers: of a category, of a place in time."""

from __future__ import annotations

import numpy as np

from ..initializers import Normal, Uniform


def embedding(tape, index, n_values: int, size: int, name: str):
    """Record the rows of the table ``<name>.weight`` (n_values, size) that `index` names.

    They start from a normal distribution of variance 1, as PyTorch's.

    Parameters
    ----------
    tape : Tape
    index : Tensor of shape (...)
        Whole numbers in [0, n_values); anything else gives NaN.
    n_values : int
        Rows of the table.
    size : int
        Length of a row.
    name : str
        The same name gives the same parameters again.

    Returns
    -------
    Tensor of shape (..., size)

    Examples
    --------
    >>> import ctrain
    >>> from ctrain.layers import embedding
    >>> tape = ctrain.Tape()
    >>> embedding(tape, tape.input((24,), name="hour"), 24, 8, "of_hour").shape
    (24, 8)
    """
    table = tape.parameter((n_values, size), name=f"{name}.weight", init=Normal(1.0))
    return tape.embedding(index, table)


def sinusoidal_positions(tape, time: int, size: int):
    """Record what tells the steps of a sequence apart: sines and cosines of falling frequency.

    Columns 2 k and 2 k + 1 are the sine and the cosine of ``t / 10000 ** (2 * k / size)``.

    Parameters
    ----------
    tape : Tape
    time, size : int

    Returns
    -------
    Tensor of shape (time, size)
        A constant, to be added to a sequence.

    References
    ----------
    Vaswani et al., "Attention is all you need", NeurIPS 2017.

    Examples
    --------
    >>> import ctrain
    >>> from ctrain.layers import sinusoidal_positions
    >>> tape = ctrain.Tape()
    >>> x = tape.input((24, 8), name="x")
    >>> tape.add(x, sinusoidal_positions(tape, 24, 8)).shape
    (24, 8)
    """
    column = np.arange(size)
    angle = np.arange(time)[:, None] / 10000.0 ** (column // 2 * 2 / size)
    return tape.constant(np.where(column % 2, np.cos(angle), np.sin(angle)))


def learned_positions(tape, time: int, size: int, name: str, *, trainable: bool = True):
    """Declare a vector for each step of a sequence, ``<name>.weight`` (time, size).

    They start uniform in 0.02 around zero and are not decayed.

    Parameters
    ----------
    tape : Tape
    time, size : int
    name : str
        The same name gives the same parameters again.
    trainable : bool, default=True
        Whether they have a gradient, or stay where they start.

    Returns
    -------
    Tensor of shape (time, size)
        To be added to a sequence.

    Examples
    --------
    >>> import ctrain
    >>> from ctrain.layers import learned_positions
    >>> tape = ctrain.Tape()
    >>> x = tape.input((24, 8), name="x")
    >>> tape.add(x, learned_positions(tape, 24, 8, "place")).shape
    (24, 8)
    """
    start = Uniform(-0.02, 0.02)
    return tape.parameter(
        (time, size), name=f"{name}.weight", init=start, decay=False, trainable=trainable
    )
