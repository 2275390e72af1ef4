"""A tape as a list of plain values, and back: what a file keeps of a network. And as a table."""

from __future__ import annotations

import numpy as np

from .parameters import Parameters
from .symbols import Level
from .tape import Tape


def listed(tape: Tape) -> tuple[list[dict], list[np.ndarray]]:
    """Write a tape down.

    Returns
    -------
    entries : list of dict
        One for each tensor, in order: ``{"input": name, "shape": [...]}``,
        ``{"parameter": name}``, ``{"constant": position}`` or ``{"op": name, "inputs": [...],
        "attributes": {...}}`` with inputs by position in this list.
    constants : list of ndarray
    """
    node_of = {node.output.id: node for node in tape.nodes}
    input_of = {tensor.id: name for name, tensor in tape.inputs.items()}
    entries, constants = [], []
    for tensor in tape.tensors:
        if tensor.id in input_of:
            entry = {"input": input_of[tensor.id], "shape": list(tensor.shape)}
        elif tensor.id in tape.parameter_of:
            entry = {"parameter": tape.parameter_of[tensor.id]}
        elif tensor.id in tape.constants:
            entry = {"constant": len(constants)}
            constants.append(tape.constants[tensor.id])
        else:
            node = node_of[tensor.id]
            entry = {
                "op": node.op,
                "inputs": [None if x is None else x.id for x in node.inputs],
                "attributes": {name: _plain(value) for name, value in node.attributes.items()},
            }
        entries.append(entry)
    return entries, constants


def recorded(
    entries: list[dict], constants: list[np.ndarray], parameters: Parameters, seed: int
) -> Tape:
    """Record an inference tape from its list; shapes and attributes are checked as ever.

    Raises
    ------
    ValueError, TypeError, KeyError, IndexError
        If the list is none that :func:`listed` could have written.
    """
    tape = Tape(parameters.dtype, training=False, random_state=seed, parameters=parameters)
    for position, entry in enumerate(entries):
        if "input" in entry:
            tape.input(tuple(entry["shape"]), name=entry["input"])
        elif "parameter" in entry:
            tape.parameter(parameters[entry["parameter"]].shape, name=entry["parameter"])
        elif "constant" in entry:
            tape.constant(constants[entry["constant"]])
        else:
            inputs = [None if k is None else tape.tensors[k] for k in entry["inputs"]]
            attributes = {name: _rebuilt(value) for name, value in entry["attributes"].items()}
            if attributes.get("batch") and any(x.level == Level.ROW for x in inputs):
                raise ValueError("broadcast: only what has no rows is given some")
            tape.record(entry["op"], *inputs, **attributes)
        if len(tape.tensors) != position + 1:
            raise ValueError(f"entry {position} of the list stands for several tensors")
    return tape


def described(tape: Tape) -> str:
    """Answer :meth:`Tape.describe`."""
    head = ("name", "operation", "inputs", "shape", "flops", "bytes")
    lines = [head]
    itemsize = tape.dtype.itemsize
    for node in tape.nodes:
        present = [x for x in node.inputs if x is not None]
        moved = itemsize * (node.output.size + sum(x.size for x in present))
        lines.append((
            node.name, node.op, ", ".join(x.name for x in present),
            str(node.output.shape), f"{node.flops:,.0f}", f"{moved:,}",
        ))  # fmt: skip
    flops = sum(node.flops for node in tape.nodes)
    weights = sum(tape.parameters[n].size for n in tape.parameter_of.values())
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    rows = [
        "  ".join(c.rjust(w) if i > 3 else c.ljust(w)
                  for i, (c, w) in enumerate(zip(line, widths, strict=True))).rstrip()
        for line in lines
    ]  # fmt: skip
    rows.insert(1, "-" * len(rows[0]))
    rows.append(f"{weights:,} weights, {flops:,.0f} flops forward per row, {tape.dtype.name}")
    return "\n".join(rows)


def _plain(value):
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return value


def _rebuilt(value):
    return tuple(_rebuilt(v) for v in value) if isinstance(value, list) else value
