"""Checks of what the user hands over: what is wrong, where, and what would be right."""

from __future__ import annotations

import functools
import inspect
import numbers

import numpy as np
import scipy.sparse
from sklearn.utils.validation import check_array, check_random_state, validate_data

from .rules import nearest

FLOATS = (np.dtype(np.float64), np.dtype(np.float32))

#: elements looked at in one go
CHUNK = 1 << 18

#: parameters of MLPRegressor that have another name here
REPLACED = {
    "solver": "optimizer='sgd', 'adam' or 'lbfgs'",
    "learning_rate": "schedule= and learning_rate_init=",
    "power_t": "schedule=ctrain.schedules.InverseScaling(power_t=...)",
    "momentum": "optimizer=ctrain.optimizers.SGD(momentum=...)",
    "nesterovs_momentum": "optimizer=ctrain.optimizers.SGD(nesterov=True)",
    "beta_1": "optimizer=ctrain.optimizers.Adam(betas=...)",
    "beta_2": "optimizer=ctrain.optimizers.Adam(betas=...)",
    "epsilon": "optimizer=ctrain.optimizers.Adam(eps=...)",
    "max_fun": "optimizer=ctrain.optimizers.LBFGS(max_iter=...)",
}


def check_features(
    estimator, X, name: str = "X", *, reset: bool = False, row: tuple[int, ...] | None = None
):
    """Return X as float32 or float64, an array or CSR; one that is so already is not copied.

    With `reset` the estimator takes the number and the names of X's columns; without, X must
    have those, and each row the shape `row` if it is given. More axes than two are for a `model`
    that reads them. Whether the values are finite is left to `check_finite` or to the gather.
    """
    try:
        X = validate_data(
            estimator, X, reset=reset, accept_sparse="csr", dtype=[*FLOATS],
            ensure_all_finite=False, allow_nd=estimator.model is not None,
        )  # fmt: skip
    except (TypeError, ValueError) as error:
        raise _named(error, X, name) from None
    if row is not None and X.shape[1:] != row:
        raise ValueError(f"{name} must have rows of shape {row}, as in fit; got {X.shape[1:]}")
    return X


def check_numbers(estimator, values, name: str, dtype) -> np.ndarray:
    """Return targets or weights as a float array of one or two axes; floats are not copied."""
    try:
        array = check_array(
            values, dtype="numeric", ensure_2d=False, ensure_all_finite=False,
            ensure_min_samples=0, input_name=name, estimator=estimator,
        )  # fmt: skip
    except (TypeError, ValueError) as error:
        raise _named(error, values, name) from None
    return array if array.dtype in FLOATS else array.astype(dtype)


def check_finite(estimator, array, name: str, dtype) -> None:
    """Raise ValueError naming the first row and column that is not finite as `dtype`."""
    data = array.data if scipy.sparse.issparse(array) else np.asanyarray(array)
    step = max(1, CHUNK // max(1, int(np.prod(data.shape[1:]))))
    for begin in range(0, data.shape[0], step):
        with np.errstate(over="ignore", invalid="ignore"):
            piece = data[begin : begin + step].astype(dtype, copy=False)
            if np.isfinite(np.sum(piece)):
                continue
        bad = np.argwhere(~np.isfinite(piece))
        if not len(bad):
            continue
        at = (begin + int(bad[0, 0]), *map(int, bad[0, 1:]))
        value = data[at]
        if scipy.sparse.issparse(array):
            row = int(np.searchsorted(array.indptr, at[0], side="right")) - 1
            at = (row, int(array.indices[at[0]]))
        if np.isfinite(value):
            raise ValueError(
                f"Input {name} contains {value} at {_place(at)}, too large for {np.dtype(dtype)}; "
                "scale it or set dtype='float64'"
            )
        raise ValueError(
            f"Input {name} contains {'NaN' if np.isnan(value) else 'infinity'} at {_place(at)}. "
            f"{type(estimator).__name__} needs finite values: drop such rows, or fill them with "
            "sklearn.impute.SimpleImputer."
        )


def check_weights(estimator, sample_weight, n_rows: int, dtype, name: str = "sample_weight"):
    """Return the weights as a finite, non-negative array of shape (n_rows,), or None."""
    if sample_weight is None:
        return None
    if isinstance(sample_weight, numbers.Real):
        sample_weight = np.full(n_rows, sample_weight, dtype)
    weight = check_numbers(estimator, sample_weight, name, dtype)
    if weight.shape != (n_rows,):
        rows = "X_val" if name.endswith("_val") else "X"
        raise ValueError(
            f"{name} must have shape ({n_rows},), one weight for each row of {rows}; got "
            f"{weight.shape}"
        )
    check_finite(estimator, weight, name, dtype)
    if weight.min() < 0:
        row = int(np.argmax(weight < 0))
        raise ValueError(f"{name} must not be negative; row {row} is {weight[row]}")
    if not weight.astype(dtype, copy=False).any():
        raise ValueError(f"{name} must hold at least one weight above 0; all are zero")
    return weight


def check_int(owner, name: str, low: int, *, also: object = ()) -> None:
    """Check that parameter `name` of an estimator is an integer of at least `low`, or `also`."""
    value = getattr(owner, name)
    if _is_also(value, also):
        return
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < low:
        raise _wrong(owner, name, f"an int in the range [{low}, inf)", also, value)


def check_count(name: str, value, low: int) -> int:
    """Check that an argument is an integer of at least `low`; answer it."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < low:
        raise ValueError(f"{name} must be an int in the range [{low}, inf). Got {value!r} instead.")
    return int(value)


def check_float(
    owner, name: str, low: float, *, closed: bool = True, high: float = np.inf, also: object = ()
) -> None:
    """Check that parameter `name` is a number in [low, high), or (low, high), or `also`."""
    value = getattr(owner, name)
    if _is_also(value, also):
        return
    ok = isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))
    if not ok or not (low <= value if closed else low < value) or not value < high:
        left = "[" if closed else "("
        raise _wrong(owner, name, f"a float in the range {left}{low}, {high})", also, value)


def check_bool(owner, name: str, *, also: object = ()) -> None:
    """Check that parameter `name` is a bool, or `also`."""
    value = getattr(owner, name)
    if not isinstance(value, (bool, np.bool_)) and not _is_also(value, also):
        raise _wrong(owner, name, "a bool", also, value)


def check_choice(owner, name: str, choices: tuple[str, ...]) -> None:
    """Check that parameter `name` is one of some strings."""
    value = getattr(owner, name)
    if not isinstance(value, str) or value not in choices:
        rule = f"one of {', '.join(map(repr, choices))}"
        raise _wrong(owner, name, rule, (), value, nearest(value, choices))


def check_scorer(owner, name: str, metric) -> None:
    """Check that a metric of parameter `name` is a scorer or the name of one."""
    from sklearn.metrics import get_scorer_names  # costs as much to import as all of ctrain

    names = get_scorer_names()
    if callable(metric) or (isinstance(metric, str) and metric in names):
        return
    rule = "a scorer or a name of sklearn.metrics.get_scorer_names()"
    also = "loss" if name == "monitor" else ()
    raise _wrong(owner, name, rule, also, metric, nearest(metric, names))


def draw_seed(owner, name: str) -> int:
    """Draw a seed from parameter `name`: an int, a RandomState or None."""
    value = getattr(owner, name)
    try:
        return int(check_random_state(value).randint(np.iinfo(np.int32).max))
    except (TypeError, ValueError) as error:
        rule = "an int in the range [0, 2**32 - 1], a numpy RandomState"
        raise _wrong(owner, name, rule, None, value) from error


def unknown_parameter(owner: str, name: str, valid: list[str]) -> str:
    """Say what replaces a parameter of MLPRegressor, or what is spelt alike."""
    if name in REPLACED:
        return f"{owner} has no parameter {name!r}: use {REPLACED[name]}"
    hint = nearest(name, valid) or f"; valid parameters are {valid}"
    return f"{owner} has no parameter {name!r}{hint}"


def answers_unknown_names(init):
    """Let ``__init__`` answer a name that it does not take with what replaces it."""
    names = list(inspect.signature(init).parameters)[1:]

    @functools.wraps(init)
    def checked(self, *args, **kwargs):
        for name in kwargs:
            if name not in names:
                raise TypeError(unknown_parameter(type(self).__name__, name, names))
        init(self, *args, **kwargs)

    return checked


def _named(error: Exception, values, name: str) -> Exception:
    """Say which argument scikit-learn's error is about, and which element is not a number."""
    kind = TypeError if isinstance(error, TypeError) else ValueError
    try:
        array = np.asarray(values)
    except ValueError:  # ragged
        array = np.empty(0)
    if array.dtype.kind in "OSU" and array.ndim:
        for at, value in np.ndenumerate(array):
            try:
                float(value)
            except (TypeError, ValueError) as reason:
                return kind(f"{name} must hold numbers; {_place(at)} is {value!r}: {reason}")
    return kind(f"{name}: {error}")


def _place(at: tuple[int, ...]) -> str:
    if len(at) > 3:
        return f"row {at[0]} at {at[1:]}"
    axes = ("row", "step", "feature") if len(at) == 3 else ("row", "column")
    return ", ".join(f"{axis} {i}" for axis, i in zip(axes, at, strict=False))


def _is_also(value, also) -> bool:
    return value is also or (type(value) is type(also) and value == also)


def _wrong(owner, name: str, rule: str, also, value, hint: str = "") -> ValueError:
    rule += "" if also == () else f" or {also!r}"
    kind, end = type(owner).__name__, hint or "."
    return ValueError(
        f"The {name!r} parameter of {kind} must be {rule}. Got {value!r} instead{end}"
    )
