"""Every row of the operation table, forward and backward, on a batch of rows."""

from __future__ import annotations

import numpy as np

from ctrain import Tape
from ctrain._core.ops import OPS
from ctrain._core.plan import compile_plan
from ctrain._core.program import Program
from ctrain._core.source import Arrays
from ctrain._core.step import accumulate

ROWS = 1024
WIDTH = 256

#: attributes that have no default
ATTRIBUTES = {
    "slice": {"axis": 0, "start": 1, "stop": -1},
    "reshape": {"shape": (16, -1)},
    "pad": {"widths": ((3, 5),)},
    "power": {"exponent": 1.5},
    "clip": {"low": 0.6, "high": 1.4},
    "broadcast": {"shape": (4, WIDTH)},
}
#: row shapes of the inputs by family: as many as the operation has, all of one width
SHAPES = {
    "elementwise": (WIDTH,), "reduce": (WIDTH,), "shape": (WIDTH,), "random": (WIDTH,),
    "loss": (WIDTH,), "batch": (WIDTH,), "linear": (WIDTH,),
}  # fmt: skip
OWN_SHAPE = {"transpose": (16, WIDTH // 16)}


def record(name: str) -> tuple[Tape, object, dict[str, np.ndarray]]:
    """A tape with the operation and a sum behind it, and arrays inside every domain."""
    op = OPS[name]
    if op.family not in SHAPES:
        raise ValueError(f"{name}: the family {op.family!r} has no benchmark; add it to SHAPES")
    shape = OWN_SHAPE.get(name, SHAPES[op.family])
    rng = np.random.default_rng(0)
    tape = Tape("float32")
    count = 2 if op.inputs[0].startswith("*") else len(op.inputs)
    inputs, arrays = [], {}
    for i in range(count):
        if i in op.weights:
            size = (WIDTH, WIDTH) if i == 1 else (WIDTH,)
            inputs.append(tape.parameter(size, name=f"weight_{i}"))
            continue
        inputs.append(tape.input(shape, name=f"x_{i}"))
        arrays[f"x_{i}"] = rng.uniform(0.5, 1.5, size=(ROWS, *shape)).astype(np.float32)
    out = tape.record(name, *inputs, **ATTRIBUTES.get(name, {}))
    if op.batch:  # no rows left: subtract it from them
        out = tape.sub(inputs[0], out)
    return tape, out if out.shape == () else tape.sum(out), arrays


class Operations:
    """One tile after the other through the executor, on one thread; the sum is in the time."""

    params = (sorted(OPS), ("forward", "forward_backward"))
    param_names = ("operation", "direction")

    def setup(self, name, direction):
        tape, loss, arrays = record(name)
        self.backward = direction == "forward_backward"
        plan = compile_plan(tape, ROWS, loss=loss, backward=self.backward, keep=True)
        self.program, self.source = Program(plan, 1), Arrays(**arrays)

    def time_operation(self, name, direction):
        accumulate(self.program, self.source, backward=self.backward)
