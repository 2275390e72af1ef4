"""Checks of what the user hands over: what is wrong, where, and what would be right."""

from __future__ import annotations

import difflib
import numbers

import numpy as np
import scipy.sparse

#: elements looked at in one go
CHUNK = 1 << 18

#: parameters of MLPRegressor that have another name here
REPLACED = {
    "solver": "optimizer='sgd', 'adam' or 'lbfgs'",
    "learning_rate": "schedule= and learning_rate_init=",
    "power_t": "schedule=, any function of the step",
    "momentum": "optimizer=ctrain.optimizers.SGD(momentum=...)",
    "nesterovs_momentum": "optimizer=ctrain.optimizers.SGD(nesterov=True)",
    "beta_1": "optimizer=ctrain.optimizers.Adam(betas=...)",
    "beta_2": "optimizer=ctrain.optimizers.Adam(betas=...)",
    "epsilon": "optimizer=ctrain.optimizers.Adam(eps=...)",
    "max_fun": "optimizer=ctrain.optimizers.LBFGS(max_iter=...)",
}


def check_finite(array, name: str, estimator: str) -> None:
    """Raise ValueError naming the first row and column that is NaN or infinite."""
    data = array.data if scipy.sparse.issparse(array) else np.asanyarray(array)
    if data.dtype.kind != "f" or data.size == 0:
        return
    step = max(1, CHUNK // max(1, int(np.prod(data.shape[1:]))))
    for begin in range(0, data.shape[0], step):
        piece = data[begin : begin + step]
        if np.isfinite(np.sum(piece, dtype=np.float64)) or np.isfinite(piece).all():
            continue
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(piece))[0])
        value = piece[at]
        where = (begin + at[0], *at[1:])
        if scipy.sparse.issparse(array):
            row = int(np.searchsorted(array.indptr, where[0], side="right")) - 1
            where = (row, int(array.indices[where[0]]))
        place = f"row {where[0]}" + (f", column {where[1]}" if len(where) > 1 else "")
        raise ValueError(
            f"Input {name} contains {'NaN' if np.isnan(value) else 'infinity'} at {place}. "
            f"{estimator} needs finite values: drop such rows, or fill them with "
            "sklearn.impute.SimpleImputer."
        )


def check_weights(sample_weight, n_rows: int, dtype, name: str = "sample_weight"):
    """Return the weights as a finite, non-negative array of shape (n_rows,), or None."""
    if sample_weight is None:
        return None
    if isinstance(sample_weight, numbers.Number):
        sample_weight = np.full(n_rows, sample_weight)
    try:
        weight = np.asarray(sample_weight)
        if weight.dtype.kind not in "fiub":
            weight = weight.astype(np.float64)
        weight = weight.astype(dtype if weight.dtype.kind != "f" else weight.dtype, copy=False)
        if weight.dtype not in (np.float32, np.float64):
            weight = weight.astype(dtype)
    except (TypeError, ValueError):
        raise ValueError(f"{name} must be numbers; got {sample_weight!r}") from None
    if weight.ndim != 1:
        raise ValueError(
            f"Sample weights must be 1D array or scalar; {name} has shape {weight.shape}"
        )
    if weight.shape != (n_rows,):
        raise ValueError(f"{name}.shape == {weight.shape}, expected {(n_rows,)}!")
    bad = np.flatnonzero(~(np.isfinite(weight) & (weight >= 0)))
    if bad.size:
        raise ValueError(
            f"{name} must be finite and not negative; row {bad[0]} is {weight[bad[0]]}"
        )
    if not weight.any():
        raise ValueError(f"{name} must hold at least one weight above 0; all are 0")
    return weight


def check_int(owner, name: str, low: int, *, optional: bool = False) -> None:
    """Check that parameter `name` of an estimator is an integer of at least `low`."""
    value = getattr(owner, name)
    if optional and value is None:
        return
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < low:
        none = " or None" if optional else ""
        raise _wrong(owner, name, f"an int in the range [{low}, inf){none}", value)


def check_float(
    owner, name: str, low: float, *, closed: bool = True, high: float = np.inf, optional: bool = False
) -> None:
    """Check that parameter `name` is a finite number in [low, high), or (low, high)."""
    value = getattr(owner, name)
    if optional and value is None:
        return
    ok = isinstance(value, numbers.Real) and not isinstance(value, bool) and np.isfinite(value)
    if not ok or value < low or (value == low and not closed) or value >= high:
        none = " or None" if optional else ""
        left = "[" if closed else "("
        raise _wrong(owner, name, f"a float in the range {left}{low}, {high}){none}", value)


def check_bool(owner, name: str) -> None:
    """Check that parameter `name` is a bool."""
    value = getattr(owner, name)
    if not isinstance(value, (bool, np.bool_)):
        raise _wrong(owner, name, "a bool", value)


def check_choice(owner, name: str, choices: tuple[str, ...]) -> None:
    """Check that parameter `name` is one of some strings."""
    value = getattr(owner, name)
    if value not in choices:
        near = difflib.get_close_matches(str(value), choices, 1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        error = _wrong(owner, name, f"one of {set(choices)}", value)
        raise type(error)(f"{error}{hint}")


def unknown_parameter(owner: str, name: str, valid: list[str]) -> str:
    """Say what replaces a parameter of MLPRegressor, or what is spelt alike."""
    if name in REPLACED:
        return f"{owner} has no parameter {name!r}: use {REPLACED[name]}"
    near = difflib.get_close_matches(name, valid, 1)
    hint = f"; did you mean {near[0]!r}?" if near else f"; valid parameters are {valid}"
    return f"{owner} has no parameter {name!r}{hint}"


def _wrong(owner, name: str, rule: str, value) -> ValueError:
    kind = type(owner).__name__
    return ValueError(f"The {name!r} parameter of {kind} must be {rule}. Got {value!r} instead.")
