"""Checks that recorded gradients are the derivatives of recorded values."""

from __future__ import annotations

import numpy as np

from ._core.plan import compile_plan
from ._core.program import Program
from ._core.source import Arrays
from ._core.step import accumulate, read
from ._core.symbols import Level
from ._core.tape import Tape

#: five-point stencil: error h^4 f^(5) / 30 against eps f / h; 1e-3 balances them in float64
STEP = 1e-3
#: elements of one tensor that are looked at one by one
ELEMENTS = 40


def check_gradients(
    fn, inputs=None, parameters=None, *, tolerance=1e-8, wrt=None, random_state=0, training=True
):
    """Compare the gradients of recorded operations with five-point differences in float64.

    The output of `fn` is multiplied by a random upstream gradient and summed; the derivative of
    that number with respect to every given tensor is computed both ways.

    Parameters
    ----------
    fn : callable
        ``fn(tape, **tensors) -> Tensor``, row-level, any shape; it gets one tensor for each name.
    inputs : dict of str to array of shape (n_rows, ...), default=None
        Row-level inputs. Keep them off kinks: no value within 4e-3 of one.
    parameters : dict of str to array, default=None
        Tensors without a batch axis.
    tolerance : float, default=1e-8
        Largest relative error allowed, relative to the largest derivative of that tensor, or to 1
        where all are smaller.
    wrt : sequence of str, default=None
        Names to check; None = all.
    random_state : int, default=0
        Seed of the upstream gradient, of the elements that are looked at in large tensors, and of
        random operations.
    training : bool, default=True
        As in :class:`ctrain.Tape`.

    Returns
    -------
    float
        Largest relative error found.

    Raises
    ------
    AssertionError
        If it is above `tolerance`; names tensor, element and both derivatives.

    Examples
    --------
    >>> import numpy as np
    >>> import ctrain
    >>> x = np.random.default_rng(0).normal(size=(4, 3))
    >>> ctrain.check_gradients(lambda tape, x: tape.tanh(x), {"x": x}) < 1e-8
    True
    """
    rng = np.random.default_rng(random_state)
    inputs = {k: np.array(v, np.float64) for k, v in (inputs or {}).items()}
    parameters = {k: np.array(v, np.float64) for k, v in (parameters or {}).items()}
    n_rows = next((len(v) for v in inputs.values()), 3)
    tape = Tape("float64", training, random_state)
    tensors = {k: tape.input(v.shape[1:], name=k) for k, v in inputs.items()}
    tensors |= {k: tape.parameter(v, name=k) for k, v in parameters.items()}
    output = fn(tape, **tensors)
    upstream = tape.input(output.shape, name="upstream")
    product = tape.mul(output, upstream)
    loss = product if product.shape == () else tape.sum(product)
    arrays = {**inputs, "upstream": rng.normal(size=(n_rows, *output.shape))}

    plan = compile_plan(tape, n_rows, loss=loss, outputs=list(tensors.values()),
                        backward=True, keep=True)  # fmt: skip
    program = Program(plan, 1, random_state)
    source = Arrays(**arrays)
    accumulate(program, source, n_rows, backward=True)
    gradients = {name: read(program, t, n_rows, gradient=True) for name, t in tensors.items()}

    def value() -> float:
        return accumulate(program, source, n_rows)[0]

    worst = 0.0
    for name in tensors if wrt is None else wrt:
        row_level = tensors[name].level == Level.ROW
        array = inputs[name] if row_level else tape.parameters[name].value
        exact = np.zeros_like(array) if gradients[name] is None else gradients[name]
        exact = exact.reshape(-1)
        flat = array.reshape(-1)
        picks = np.arange(flat.size)
        if flat.size > ELEMENTS:
            picks = np.sort(rng.choice(flat.size, ELEMENTS, replace=False))
        numeric = np.empty(len(picks))
        for k, i in enumerate(picks):
            start = flat[i]
            values = []
            for step in (-2, -1, 1, 2):
                flat[i] = start + step * STEP
                tape.parameters.version += not row_level
                values.append(value())
            flat[i] = start
            tape.parameters.version += not row_level
            numeric[k] = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * STEP)
        errors = np.abs(numeric - exact[picks])
        error = float(errors.max() / max(np.abs(exact).max(), np.abs(numeric).max(), 1.0))
        if not error <= tolerance:
            k = int(np.nanargmax(errors)) if np.isfinite(errors).any() else 0
            at = tuple(int(i) for i in np.unravel_index(picks[k], array.shape))
            raise AssertionError(
                f"gradient of {name} is wrong: element {at} is {exact[picks[k]]!r}, differences "
                f"give {numeric[k]!r}; relative error {error:.2e} > {tolerance:.0e}"
            )
        worst = max(worst, error)
    return worst
