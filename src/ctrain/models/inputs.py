"""What a model reads: the window of a series, as a vector or step by step; flat vectors."""

from __future__ import annotations

from .._core.symbols import Level
from ..scalers import Last

COVARIATES = ("past", "future", "static")


def window(inputs: dict, model: str, covariates: tuple = ()):
    """Return the past of the series, row shape (input_size,): ``past_y``, or the columns ``x``.

    Raises
    ------
    ValueError
        If it has several axes, or if there are other covariates than `covariates`.
    """
    given = [name for name in COVARIATES if name in inputs and name not in covariates]
    if given:
        what = f"{' and '.join(covariates)} covariates alone" if covariates else "no covariates"
        raise ValueError(
            f"{model} takes {what}; got {', '.join(given)}: "
            "leave them out, or take a model that reads them, such as NHITS or TiDE"
        )
    name = "past_y" if "past_y" in inputs else "x"
    y = inputs[name]
    if len(y.shape) != 1:
        raise ValueError(f"{model}: {name} must have row shape (input_size,); got {y.shape}")
    return y


def sequence(tape, inputs: dict, model: str):
    """Each step of the window with its covariates, row shape (input_size, n).

    Columns are the value, or those of ``x``; then ``past``, ``static`` and ``future``.

    Raises
    ------
    ValueError
        If the window has more axes than time and columns.
    """
    name = "past_y" if "past_y" in inputs else "x"
    h = inputs[name]
    if len(h.shape) not in ((1,) if name == "past_y" else (1, 2)):
        rule = "(input_size,)" + " or (input_size, n_columns)" * (name == "x")
        raise ValueError(f"{model}: {name} must have row shape {rule}; got {h.shape}")
    steps = h.shape[0]
    columns = [shaped(tape, h, (steps, h.size // steps))]
    if "past" in inputs:
        columns.append(inputs["past"])
    if "static" in inputs:
        static = inputs["static"]
        columns.append(tape.record("broadcast", static, shape=(steps, *static.shape)))
    if "future" in inputs:
        columns.append(tape.slice(inputs["future"], 0, None, steps))
    return columns[0] if len(columns) == 1 else tape.concat(*columns)


def panel(inputs: dict, model: str, future: bool = False):
    """Return the past of all series, row shape (input_size, n_series).

    Raises
    ------
    ValueError
        If it is the past of one series, or if there are covariates, but for those known in advance
        where the model takes them: `future`.
    """
    refused = ("past", "static") if future else ("past", "future", "static")
    given = [name for name in refused if name in inputs]
    if given:
        but = " but those known in advance" if future else ""
        raise ValueError(
            f"{model} takes no covariates{but}; got {', '.join(given)}: leave them out"
        )
    y = inputs.get("past_y")
    if y is None or len(y.shape) != 2:
        raise ValueError(
            f"{model} needs past_y of row shape (input_size, n_series), as Forecaster has it; got "
            f"{ {name: x.shape for name, x in inputs.items()} }"
        )
    return y


def mask_of(inputs: dict):
    """``past_mask``, 0 where the window is missing; None if nothing ever is."""
    mask = inputs.get("past_mask")
    return None if mask is None or mask.level == Level.CONSTANT else mask


def last_value(tape, y, mask=None):
    """Last value of a window, with a mask the last one that is available; shape (1,)."""
    return tape.slice(y, 0, -1) if mask is None else Last().record(tape, y, mask)[0]


def flatten(tape, tensors: list):
    """Concatenate tensors of any row shape to one vector."""
    flat = [shaped(tape, x, (x.size,)) for x in tensors]
    return flat[0] if len(flat) == 1 else tape.concat(*flat)


def shaped(tape, x, shape: tuple[int, ...]):
    """Reshape `x`, unless it has that shape."""
    return x if x.shape == shape else tape.reshape(x, shape)
