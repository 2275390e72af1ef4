"""What a tape is written in: symbolic tensors, and nodes that connect them.

A tensor has a *level*. Constants and parameters, and what is made of them alone, have no batch
axis; row-level tensors stand for one sample each, and their shape is the shape of one sample.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from .ops import OPS, Op
from .ops.table import size_of


class Level(IntEnum):
    """Whether a tensor has a batch axis."""

    CONSTANT = 0  #: a fixed array
    PARAMETER = 1  #: parameters and what is computed without rows
    ROW = 2  #: one value for each row of the batch


@dataclass(eq=False, frozen=True)
class Tensor:
    """A symbolic value on a tape.

    Attributes
    ----------
    id : int
        Position in ``tape.tensors``.
    shape : tuple of int
        Without the batch axis.
    level : Level
        CONSTANT, PARAMETER or ROW.
    name : str
        Name of the input or parameter, or ``<operation>_<count>``.

    Examples
    --------
    >>> import ctrain
    >>> tape = ctrain.Tape()
    >>> tape.relu(tape.input((3,), name="x"))
    <relu_0: row (3,)>
    """

    id: int
    shape: tuple[int, ...]
    level: Level
    name: str

    @property
    def size(self) -> int:
        """Number of elements, of one row for a row-level tensor."""
        return size_of(self.shape)

    def __repr__(self) -> str:
        return f"<{self.name}: {self.level.name.lower()} {self.shape}>"


@dataclass(eq=False, frozen=True)
class Tracked:
    """A parameter that follows what training computes.

    Attributes
    ----------
    parameter : Tensor
    value : Tensor
        Of the parameter's shape.
    momentum : float
        Share of a step's value in the average.
    """

    parameter: Tensor
    value: Tensor
    momentum: float


@dataclass(eq=False, frozen=True)
class Node:
    """One recorded operation.

    Attributes
    ----------
    op : str
        Row of the operation table.
    inputs : tuple of Tensor or None
        None stands for an absent optional input.
    attributes : dict
        As the user gave them.
    output : Tensor
    flops : float
        Of the forward pass, for one row.

    Examples
    --------
    >>> import ctrain
    >>> tape = ctrain.Tape()
    >>> z = tape.elu(tape.input((3,), name="x"), alpha=2.0)
    >>> [(node.op, node.inputs, node.attributes) for node in tape.nodes]
    [('elu', (<x: row (3,)>,), {'alpha': 2.0})]
    """

    op: str
    inputs: tuple[Tensor | None, ...]
    attributes: dict
    output: Tensor
    flops: float
    ints: tuple[int, ...] = field(repr=False)
    floats: tuple[float, ...] = field(repr=False)
    kept: int = field(repr=False, default=0)

    @property
    def name(self) -> str:
        """Name of the output tensor."""
        return self.output.name

    @property
    def row(self) -> Op:
        """The operation's row of the table."""
        return OPS[self.op]

    @property
    def draws(self) -> bool:
        """Whether it draws random numbers."""
        return self.row.random and self.attributes.get("rate") != 0.0
