"""A recorded network as boxes and edges: what a picture of it shows."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass, field

from .._core.symbols import Level, Node, Tensor
from .._core.tape import Tape
from ..curves import printable

COLUMNS = 34  # characters of a line before it is wrapped
LONGEST = 44  # characters of a name before it is cut
HIDDEN = ("shape", "batch")  # attributes that the output's shape tells


@dataclass(eq=False)
class Box:
    """One box: an input, an output, or operations that nothing else stands between.

    Attributes
    ----------
    kind : {"input", "operation", "output"}
    level : Level
        PARAMETER for what is computed once a step, without rows.
    operations : list of str
        In order, with their attributes; the name, for an input or output.
    parameters : list of (name, shape, is_shared, is_trainable)
        Shared ones belong to an earlier box.
    shape : tuple of int
        Of the output, for one row.
    n_weights : int
        Elements of the parameters that are not shared.
    """

    kind: str
    level: Level
    operations: list[str]
    shape: tuple[int, ...]
    parameters: list[tuple[str, tuple[int, ...], bool, bool]] = field(default_factory=list)
    n_weights: int = 0

    @property
    def layer(self) -> str:
        """What the names of all parameters have in common before a dot; "" if nothing."""
        stems = {name.rpartition(".")[0] for name, *_ in self.parameters}
        return stems.pop() if len(stems) == 1 else ""

    def text(self) -> tuple[str, list[str]]:
        """Heading and further lines."""
        operations = " · ".join(_short(operation) for operation in self.operations)
        layer = self.layer
        lines = textwrap.wrap(operations, COLUMNS, break_on_hyphens=False)
        heading = _short(layer) if layer else lines.pop(0)
        used = []
        for name, shape, is_shared, is_trainable in self.parameters:
            name = name[len(layer) + 1 :] if layer else name
            fixed = "" if is_trainable else "fixed "
            used.append(f"{fixed}{_short(name)} {shape}{' again' * is_shared}")
        lines += _wrapped(used)
        if self.kind == "operation":
            weights = f"{self.n_weights:,} weight{'s' * (self.n_weights != 1)} "
            lines.append(f"{weights if self.n_weights else ''}→ {self.shape}")
        else:
            lines.append(str(self.shape))
        return heading, lines


def boxes_of(
    tape: Tape, outputs: dict[str, Tensor] | None = None
) -> tuple[list[Box], list[tuple[int, int]]]:
    """Boxes and edges of what a tape computes.

    Elementwise operations and reshapes join the box before them where nothing else reads it, so a
    dense layer with its activation is one box and a reshape no more than its shape. Parameters and
    constants stand in the box that reads them; broadcasts are left out.

    Parameters
    ----------
    tape : Tape
    outputs : dict of str to Tensor, default=None
        What is computed; None = whatever no operation reads, without output boxes.

    Returns
    -------
    boxes : list of Box
        In the order of the tape.
    edges : list of (int, int)

    Examples
    --------
    >>> import ctrain
    >>> from ctrain.display.boxes import boxes_of
    >>> tape = ctrain.Tape()
    >>> x = tape.input((3,), name="x")
    >>> y = tape.gelu(tape.matmul(x, tape.parameter((3, 2), name="w")))
    >>> boxes, edges = boxes_of(tape, {"prediction": y})
    >>> [box.operations for box in boxes], edges
    ([['x'], ['matmul', 'gelu'], ['prediction']], [(0, 1), (1, 2)])
    """
    producer = {node.output.id: node for node in tape.nodes}

    def source(tensor: Tensor) -> Tensor:
        """Return what was broadcast."""
        while (node := producer.get(tensor.id)) is not None and node.op == "broadcast":
            tensor = node.inputs[0]
        return tensor

    def read_by(node: Node) -> list[Tensor]:
        return list(dict.fromkeys(source(x) for x in node.inputs if x is not None))

    named = {name: source(tensor) for name, tensor in (outputs or {}).items()}
    nodes = [node for node in tape.nodes if node.op != "broadcast"]
    if outputs is not None:
        needed = set(named.values())
        for node in reversed(nodes):
            if node.output in needed:
                needed |= set(read_by(node))
        nodes = [node for node in nodes if node.output in needed]
    n_readers: dict[Tensor, int] = {}
    for tensor in [*named.values(), *(x for node in nodes for x in read_by(node))]:
        n_readers[tensor] = n_readers.get(tensor, 0) + 1

    boxes: list[Box] = []
    edges: dict[tuple[int, int], None] = {}
    box_of: dict[Tensor, int] = {}
    shown: set[str] = set()

    def place(box: Box, sources: list[Tensor]) -> int:
        boxes.append(box)
        edges.update(dict.fromkeys((box_of[x], len(boxes) - 1) for x in sources))
        return len(boxes) - 1

    for name, tensor in tape.inputs.items():
        if tensor in n_readers:
            box_of[tensor] = place(Box("input", tensor.level, [name], tensor.shape), [])
    for node in nodes:
        output, read = node.output, read_by(node)
        sources = [x for x in read if x.level != Level.CONSTANT and x.id not in tape.parameter_of]
        if joins(node, sources, n_readers) and boxes[box_of[sources[0]]].kind == "operation":
            where = box_of[sources[0]]
            box = boxes[where]
        else:
            box = Box("operation", output.level, [], output.shape)
            where = place(box, sources)
        if node.op != "reshape" or not box.operations:  # else the shape says it
            box.operations.append(_operation(node, [tape.constants.get(x.id) for x in read]))
        box.shape = output.shape
        for name in [tape.parameter_of[x.id] for x in read if x.id in tape.parameter_of]:
            parameter = tape.parameters[name]
            if name not in [known for known, *_ in box.parameters]:
                is_shared = name in shown
                box.parameters.append((name, parameter.shape, is_shared, parameter.trainable))
                box.n_weights += 0 if is_shared else parameter.size
                shown.add(name)
        box_of[output] = where
    for name, tensor in named.items():
        if tensor in box_of:
            place(Box("output", tensor.level, [name], tensor.shape), [tensor])
    return boxes, list(edges)


def joins(node: Node, sources: list[Tensor], n_readers: dict[Tensor, int]) -> bool:
    """Whether an operation is shown in the box of its only source."""
    return (
        (node.row.family == "elementwise" or node.op == "reshape")
        and len(sources) == 1
        and n_readers[sources[0]] == 1
    )


def _operation(node: Node, constants: list) -> str:
    """Name, single numbers among the inputs, and attributes where they are few."""
    numbers = [f"{c.item():.4g}" for c in constants if c is not None and c.size == 1]
    given = [f"{k}={v}" for k, v in node.attributes.items() if k not in HIDDEN]
    attributes = ", ".join(given)
    text = " ".join([node.op, *numbers])
    return f"{text}({attributes})" if attributes and len(attributes) <= 24 else text


def _short(name: str) -> str:
    name = printable(name)
    return name if len(name) <= LONGEST else name[: LONGEST - 1] + "…"


def _wrapped(parts: list[str]) -> list[str]:
    """Join parts with dots into lines of about COLUMNS characters; a part stays whole."""
    lines: list[str] = []
    for part in parts:
        if lines and len(lines[-1]) + len(part) + 3 <= COLUMNS:
            lines[-1] += f" · {part}"
        else:
            lines.append(part)
    return lines
