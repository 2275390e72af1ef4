"""One replay that keeps every tensor, behind ``Tape.forward`` and ``Tape.backward``."""

from __future__ import annotations

import numpy as np

from .parallel import effective_n_threads
from .plan import compile_plan
from .program import Program
from .source import Arrays
from .step import accumulate, read
from .symbols import Level, Tensor
from .tape import Tape


class Run:
    """Values, and after :meth:`backward` gradients, of one batch."""

    def __init__(self, tape: Tape, inputs: dict) -> None:
        self.tape = tape
        self.arrays = _checked(tape, inputs)
        self.n_rows = next(iter(self.arrays.values())).shape[0]
        self.scale = None
        self._program(None)
        accumulate(self.program, Arrays(**self.arrays), self.n_rows)

    def _program(self, loss: Tensor | None) -> None:
        plan = compile_plan(
            self.tape, self.n_rows, loss=loss, outputs=self.tape.tensors,
            backward=loss is not None, keep=True,
        )  # fmt: skip
        self.program = Program(plan, effective_n_threads(), self.tape.random_state)

    def backward(self, loss: Tensor, weight) -> None:
        arrays = dict(self.arrays)
        if weight is not None:
            weight = np.asarray(weight, self.tape.dtype)
            if weight.shape != (self.n_rows,):
                raise ValueError(f"weight must have shape ({self.n_rows},); got {weight.shape}")
            arrays["weight"] = weight
        self._program(loss)
        _, total = accumulate(self.program, Arrays(**arrays), self.n_rows, backward=True)
        if total == 0.0:
            raise ValueError("backward: the weights of all rows sum to zero")
        self.scale = 1.0 / total

    def value(self, tensor: Tensor) -> np.ndarray:
        if tensor.id in self.tape.parameter_of:
            return self.tape.parameters[self.tape.parameter_of[tensor.id]].value.copy()
        if tensor.id in self.tape.constants:
            return self.tape.constants[tensor.id].copy()
        if tensor.name in self.tape.inputs and self.tape.inputs[tensor.name] is tensor:
            return self.arrays[tensor.name].copy()
        return read(self.program, tensor, self.n_rows)

    def gradient(self, tensor: Tensor) -> np.ndarray:
        if self.scale is None:
            raise RuntimeError("gradient: call tape.backward(loss) first")
        raw = read(self.program, tensor, self.n_rows, gradient=True)
        if raw is None:  # the loss does not depend on it
            rows = (self.n_rows,) if tensor.level == Level.ROW else ()
            return np.zeros((*rows, *tensor.shape), self.tape.dtype)
        return raw * self.tape.dtype.type(self.scale)


def _checked(tape: Tape, inputs: dict) -> dict[str, np.ndarray]:
    if set(inputs) != set(tape.inputs):
        raise ValueError(
            f"forward: the tape's inputs are {sorted(tape.inputs)}; got {sorted(inputs)}"
        )
    if not inputs:
        raise ValueError("forward: a tape without inputs has no rows")
    arrays = {}
    n_rows = None
    for name, value in inputs.items():
        array = np.ascontiguousarray(value, dtype=tape.dtype)
        shape = tape.inputs[name].shape
        if array.ndim != len(shape) + 1 or array.shape[1:] != shape:
            raise ValueError(
                f"forward: {name} must have shape (n_rows, {', '.join(map(str, shape))}); "
                f"got {array.shape}"
            )
        if array.shape[0] == 0:
            raise ValueError(f"forward: {name} has no rows")
        n_rows = array.shape[0] if n_rows is None else n_rows
        if array.shape[0] != n_rows:
            raise ValueError(f"forward: {name} has {array.shape[0]} rows, others have {n_rows}")
        arrays[name] = array
    return arrays
