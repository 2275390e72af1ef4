"""Rules for parameters: ranges, choices and names of a table, and the errors that tell them."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from numbers import Real
from typing import NamedTuple

import numpy as np


class Range(NamedTuple):
    """Where a parameter may lie, printed as scikit-learn prints it."""

    low: float
    high: float = math.inf
    ends: str = "[)"
    kind: type = Real

    def __contains__(self, value: object) -> bool:
        """Whether a value is a number (no bool, no NaN) inside."""
        return (
            isinstance(value, self.kind)
            and not isinstance(value, (bool, np.bool_))
            and (self.low < value or (self.low == value and self.ends[0] == "["))
            and (value < self.high or (value == self.high and self.ends[1] == "]"))
        )

    def __str__(self) -> str:
        name = "a float" if self.kind is Real else "an int"
        return f"{name} in the range {self.ends[0]}{self.low}, {self.high}{self.ends[1]}"


class OneOf(tuple):
    """Ranges, types and values, one of which a parameter must be."""

    def __contains__(self, value: object) -> bool:
        """Whether a value fits one of them."""
        return any(
            value in rule if isinstance(rule, Range)
            else isinstance(value, rule) if isinstance(rule, type)
            else isinstance(value, type(rule)) and value == rule
            for rule in self
        )  # fmt: skip

    def __str__(self) -> str:
        return " or ".join(
            str(rule) if isinstance(rule, Range)
            else f"a {rule.__name__}" if isinstance(rule, type)
            else repr(rule)
            for rule in self
        )  # fmt: skip


POSITIVE_OR_ZERO = Range(0.0)
BELOW_ONE = Range(0.0, 1.0)
UP_TO_ONE = Range(0.0, 1.0, "[]")


def check(owner, rules: Mapping[str, Range | OneOf | type]) -> None:
    """Raise ValueError naming the first parameter of `owner` that breaks its rule."""
    for name, rule in rules.items():
        value = getattr(owner, name)
        if rule is bool:
            require(owner, name, isinstance(value, (bool, np.bool_)), "an instance of 'bool'")
        else:
            require(owner, name, value in rule, rule)


def require(owner, name: str, kept: bool, rule: object) -> None:
    """Raise ValueError naming parameter `name` of `owner`, its rule and its value."""
    if not kept:
        raise wrong(owner, name, rule)


def wrong(owner, name: str, rule: object) -> ValueError:
    """Make the error that `require` raises."""
    return ValueError(
        f"The {name!r} parameter of {type(owner).__name__} must be {rule}. "
        f"Got {getattr(owner, name)!r} instead."
    )


def find(
    what: str, name: str, table: Mapping[str, object], aliases: Mapping[str, str] | None = None
):
    """Return what a name stands for; ValueError with the names and the nearest one if nothing."""
    aliases = aliases or {}
    key = aliases.get(name, name)
    if key in table:
        return table[key]
    hint = nearest(name, [*table, *aliases])
    raise ValueError(f"{what} must be one of {sorted(table)}; got {name!r}{hint}")


def nearest(name: object, names) -> str:
    """``; did you mean 'x'?`` for the name that is spelt most alike, if one is."""
    near = difflib.get_close_matches(str(name).lower(), names, 1)
    return f"; did you mean {near[0]!r}?" if near else ""
