"""ctrain's side of attention."""

from __future__ import annotations

import numpy as np

from ctrain import Tape
from ctrain._core.plan import compile_plan
from ctrain._core.program import Program, Workspace
from ctrain._core.source import Arrays
from ctrain._core.step import accumulate
from ctrain.layers import learned_positions, multi_head_attention

from . import problem


def block(threads: int, time: int, size: int, heads: int, batch: int):
    """Forward and backward of self-attention over sequences plus learned positions."""
    tape = Tape("float32")
    x = tape.input((time, size), name="x")
    h = tape.add(x, learned_positions(tape, time, size, "positions"))
    y = multi_head_attention(tape, h, h, h, heads, "attention")
    loss = tape.sum(y)
    for name, values in problem.attention(time, size).items():
        tape.parameters.assign(name, values)
    program = Program(compile_plan(tape, batch, loss=loss, backward=True), threads)
    source = Arrays(x=problem.sequences(batch, time, size)[0])

    def call():
        accumulate(program, source, backward=True)

    call()
    gradients = np.abs(program.gradients).sum(dtype=np.float64)
    return call, 1, {"checked": float(gradients), "workspace": Workspace(program).nbytes}
