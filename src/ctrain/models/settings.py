"""Checks of what a model is told."""

from __future__ import annotations

import numbers

import numpy as np


def require_choice(name: str, value, allowed: tuple) -> None:
    """Raise ValueError unless `value` is one of `allowed`."""
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")


def require_bool(name: str, value) -> None:
    """Raise ValueError unless `value` is True or False."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False; got {value!r}")


def require_rate(name: str, value) -> None:
    """Raise ValueError unless `value` is a probability below 1."""
    if not isinstance(value, numbers.Real) or not 0.0 <= value < 1.0:
        raise ValueError(f"{name} must be in [0, 1); got {value!r}")


def require_share(name: str, value) -> None:
    """Raise ValueError unless `value` is a number from 0 to 1."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or not 0.0 <= value <= 1.0:
        raise ValueError(f"{name} must be in [0, 1]; got {value!r}")


def require_size(name: str, value, least: int = 1) -> None:
    """Raise ValueError unless `value` is an integer of at least `least`."""
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}; got {value!r}")


def sizes_of(name: str, value, count: int | None = None) -> list[int]:
    """List of integers of at least 1, `count` of them unless None; raises ValueError."""
    sizes = listed(value, numbers.Integral)
    many = "a sequence of integers" if count is None else f"{count} integers, one for each stack,"
    if (
        sizes is None
        or isinstance(value, numbers.Integral)
        or not sizes
        or any(isinstance(n, bool) or n < 1 for n in sizes)
        or (count is not None and len(sizes) != count)
    ):
        raise ValueError(f"{name} must be {many} of at least 1; got {value!r}")
    return [int(n) for n in sizes]


def listed(value, kind: type) -> list | None:
    """Make a list of one or several of `kind`; None if it is neither."""
    if isinstance(value, kind):
        return [value]
    values = list(value) if np.iterable(value) and not isinstance(value, str) else [None]
    return values if all(isinstance(v, kind) for v in values) else None
