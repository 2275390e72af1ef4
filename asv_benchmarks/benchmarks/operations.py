"""Every row of the operation table, forward alone and with backward."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from ctrain._core.ops import OPS
from ctrain._core.plan import compile_plan
from ctrain._core.program import Program
from ctrain._core.source import Arrays
from ctrain._core.step import accumulate
from ctrain._core.tape import Tape

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from op_cases import CASES

if missing := sorted(set(OPS) - set(CASES)):
    raise RuntimeError(f"operations without inputs, so without a benchmark: {missing}")

ROWS = 4096


def largest_inputs(name: str):
    """The case of an operation with most elements, and its inputs."""
    rng = np.random.default_rng(0)
    drawn = [(case, case.sample(rng, ROWS)) for case in CASES[name]]
    return max(drawn, key=lambda pair: sum(x.size for x in pair[1] if x is not None))


class Operation:
    params = (sorted(CASES), ["float32", "float64"])
    param_names = ("operation", "dtype")

    def setup(self, name, dtype):
        if name not in OPS:
            raise NotImplementedError("newer than the commit")
        case, arrays = largest_inputs(name)
        tape = Tape(dtype)
        inputs, fed = [], {}
        for i, array in enumerate(arrays):
            if array is None:
                inputs.append(None)
            elif i in case.weights:
                inputs.append(tape.parameter(array, name=f"x{i}"))
            else:
                inputs.append(tape.input(array.shape[1:], name=f"x{i}"))
                fed[f"x{i}"] = array.astype(dtype)
        output = getattr(tape, name)(*inputs, **case.attributes)
        loss = tape.sum(output) if output.shape else output
        # outputs: gradients of row-level inputs are computed only for whoever asks
        wanted = [output, *(x for x in inputs if x is not None)]
        plans = {
            backward: compile_plan(
                tape,
                ROWS,
                loss=loss if backward else None,
                outputs=wanted,
                backward=backward,
                keep=backward,
            )
            for backward in (False, True)
        }
        self.programs = {backward: Program(plan, 1, 0) for backward, plan in plans.items()}
        self.source = Arrays(**fed)

    def time_forward(self, name, dtype):
        accumulate(self.programs[False], self.source, ROWS)

    def time_forward_and_backward(self, name, dtype):
        accumulate(self.programs[True], self.source, ROWS, backward=True)
