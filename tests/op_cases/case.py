"""One test case of one operation: inputs away from kinks, and a NumPy twin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Case:
    """Inputs, attributes and the slow twin of one call of an operation.

    ``sample(rng, rows)`` returns one float64 array for each tensor input: ``(rows, *row_shape)``
    for row-level inputs, the plain tensor for the positions in ``weights``; ``None`` for an absent
    optional input. Values stay inside the domain and at least 1e-2 away from kinks and ties.
    ``twin(*inputs, **attributes)`` computes the output, batch axis first, in float64 NumPy.
    """

    sample: Callable[[np.random.Generator, int], tuple[np.ndarray | None, ...]]
    twin: Callable[..., np.ndarray]
    attributes: dict = field(default_factory=dict)
    weights: tuple[int, ...] = ()
