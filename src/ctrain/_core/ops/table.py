"""The table of operations: one row is all that the tape knows of an operation.

A row is a decorated *shape rule*. Parameters before ``/`` (or ``*xs``) are tensors, those
after it attributes; the rule checks the shapes of its inputs and packs the attributes into
the numbers that the kernels ``<name>_forward``, ``<name>_backward`` and ``<name>_param`` read.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

OPS: dict[str, Op] = {}


class Row(NamedTuple):
    """What a shape rule answers."""

    shape: tuple[int, ...]  #: row shape of the output
    ints: tuple[int, ...] = ()  #: attributes as the kernels read them
    floats: tuple[float, ...] = ()
    flops: float = 0.0  #: of forward, for one row
    #: numbers of one row that forward keeps for backward, where there is one; backward may leave
    #: others in their place for the parameter gradient
    kept: int = 0


@dataclass(frozen=True)
class Op:
    """One operation."""

    name: str
    rule: Callable[..., Row]
    signature: inspect.Signature  #: of the rule
    family: str
    inputs: tuple[str, ...]  #: names of the tensor parameters; a single "*xs" takes any number
    optional: int  #: how many of the last tensor parameters may be None
    attributes: tuple[str, ...]
    reads: tuple[int | str, ...]  #: values that backward reads: input positions, "out"
    param_reads: tuple[int | str, ...]  #: values that the parameter gradient reads
    weights: tuple[int, ...]  #: inputs of parameter level in a row-level operation, see tape
    transposed: tuple[int, ...]  #: matrices among them that backward reads transposed
    whole: tuple[int, ...]  #: those whose gradient is not cut: each piece would read all of x
    differentiable: tuple[int, ...] | None  #: inputs with a gradient; None = all, () = none
    broadcasts: bool  #: inputs are broadcast to one shape before the kernel sees them
    batch: bool  #: reads all rows of the batch; the output has no batch axis
    random: bool  #: draws random numbers, keyed by the identity of each row

    @property
    def required(self) -> Iterable[str]:
        """Names of the tensor parameters that may not be None."""
        if self.inputs[0].startswith("*"):
            return itertools.repeat(self.inputs[0][1:])
        return self.inputs[: len(self.inputs) - self.optional]

    @property
    def doc(self) -> str:
        return inspect.getdoc(self.rule) or ""


def op(
    *,
    reads: tuple[int | str, ...] = (),
    param_reads: tuple[int | str, ...] = (),
    weights: tuple[int, ...] = (),
    transposed: tuple[int, ...] = (),
    whole: tuple[int, ...] = (),
    differentiable: tuple[int, ...] | None = None,
    broadcasts: bool = False,
    batch: bool = False,
    random: bool = False,
) -> Callable[[Callable[..., Row]], Callable[..., Row]]:
    """Enter the decorated shape rule into the table under its own name."""

    def enter(rule: Callable[..., Row]) -> Callable[..., Row]:
        signature = inspect.signature(rule)
        parameters = signature.parameters.values()
        tensors = [p for p in parameters if p.kind is p.POSITIONAL_ONLY]
        variadic = [p for p in parameters if p.kind is p.VAR_POSITIONAL]
        name = rule.__name__.rstrip("_")
        OPS[name] = Op(
            name=name,
            rule=rule,
            signature=signature,
            family=rule.__module__.rpartition(".")[2],
            inputs=("*" + variadic[0].name,) if variadic else tuple(p.name for p in tensors),
            optional=sum(p.default is None for p in tensors),
            attributes=tuple(
                p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
            ),
            reads=reads,
            param_reads=param_reads,
            weights=weights,
            transposed=transposed,
            whole=whole,
            differentiable=differentiable,
            broadcasts=broadcasts,
            batch=batch,
            random=random,
        )
        return rule

    return enter


def size_of(shape: tuple[int, ...]) -> int:
    """Number of elements of a row shape."""
    size = 1
    for n in shape:
        size *= n
    return size
