"""Test inputs of the operations that read every row of the batch."""

from __future__ import annotations

from .case import Case


def _case(*shape) -> Case:
    return Case(lambda rng, rows: (rng.normal(size=(rows, *shape)),), lambda x: x.mean(axis=0))


CASES = {"batch_mean": [_case(), _case(1), _case(7), _case(16), _case(37), _case(3, 2, 11)]}
