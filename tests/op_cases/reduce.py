"""Test inputs for sums, means, maxima, running sums, softmax, median and ratio."""

from __future__ import annotations

import numpy as np

from .case import Case


def _axes(x, axis):
    """Axes of the row, with the batch in front."""
    if axis is None:
        return tuple(range(1, x.ndim))
    axes = axis if isinstance(axis, tuple) else (axis,)
    return tuple(a if a < 0 else a + 1 for a in axes)


def _normal(*shape):
    return lambda rng, rows: (rng.normal(size=(rows, *shape)),)


def _apart(*shape):
    """Values that are at least 0.05 apart within a row."""

    def sample(rng, rows):
        size = int(np.prod(shape))
        x = np.stack([rng.permutation(size) for _ in range(rows)]) * 0.1
        return ((x + rng.uniform(0.0, 0.05, x.shape) - 0.05 * size).reshape(rows, *shape),)

    return sample


def sum_(x, axis=None):
    return x.sum(axis=_axes(x, axis))


def mean(x, axis=None):
    return x.mean(axis=_axes(x, axis))


def moments(x):
    columns = x.reshape(len(x), -1, x.shape[-1])
    return np.stack([columns.mean(axis=1), columns.var(axis=1)], axis=1)


def max_(x, axis=None):
    return x.max(axis=_axes(x, axis))


def cumsum(x, axis=-1):
    return x.cumsum(axis=_axes(x, axis)[0])


def softmax(x, axis=-1):
    axis = _axes(x, axis)
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def log_softmax(x, axis=-1):
    axis = _axes(x, axis)
    z = x - x.max(axis=axis, keepdims=True)
    return z - np.log(np.exp(z).sum(axis=axis, keepdims=True))


def median(x, mask, axis=None, keepdims=False):
    n = 1 if axis is None else x.ndim - 1  # axes that stay
    cells = [a.reshape(-1, *a.shape[n:]) for a in (x, mask)]
    rows = [row[seen != 0] for row, seen in zip(*cells, strict=True)]
    values = np.array([np.median(row) if row.size else 0.0 for row in rows])
    return values.reshape(*x.shape[:n], *[1] * (x.ndim - n) * keepdims)


def ratio(sum, count):
    return np.divide(sum, count, out=np.zeros_like(sum), where=count != 0)


SHAPES_AND_AXES = [
    ((), None),
    ((1,), None),
    ((7,), None),
    ((16,), 0),
    ((35,), -1),
    ((100,), None),
    ((3, 5), None),
    ((3, 5), 1),
    ((3, 50), -1),
    ((5, 3), 0),
    ((17, 41), 0),
    ((2, 3, 67), 1),
    ((2, 35, 3), (1, 2)),
    ((4, 3, 5), (0, 2)),
    ((4, 3, 18), (2, 0)),
    ((4, 3, 5), (0,)),
    ((2, 1, 3, 1), (1, 3)),
    ((3, 2, 4, 5), (1, 3)),
    ((3, 2, 4, 20), (0, 2)),
    ((2, 3, 2, 3, 2), (0, 2, 4)),
    ((2, 3, 2, 3, 2, 2), (0, 2, 4)),
    ((2, 3, 2, 3, 2, 2), (-1, -3, -5)),
    ((2, 3), ()),
]
ALONG = [
    ((1,), -1),
    ((7,), 0),
    ((16,), -1),
    ((37,), -1),
    ((3, 10), -1),
    ((4, 80), 1),
    ((5, 3), 0),
    ((20, 33), 0),
    ((2, 6, 70), 1),
    ((3, 4, 5), -3),
]


def _reduced(twin, sample) -> list[Case]:
    return [Case(sample(*shape), twin, {"axis": axis}) for shape, axis in SHAPES_AND_AXES]


def _along(twin) -> list[Case]:
    return [Case(_normal(*shape), twin, {"axis": axis}) for shape, axis in ALONG] + [
        Case(_normal(9), twin)
    ]


def _ratio(*shape) -> Case:
    def sample(rng, rows):
        count = rng.uniform(0.5, 3.0, (rows, *shape))
        return rng.normal(size=count.shape), np.where(rng.random(count.shape) < 0.2, 0.0, count)

    return Case(sample, ratio)


def _median(*shape, available=0.7, **attributes) -> Case:
    def sample(rng, rows):
        x = rng.normal(size=(rows, *shape)) * 10.0 ** rng.integers(-3, 4, (rows, *shape))
        return np.round(x, 1), (rng.random(x.shape) < available).astype(float)

    return Case(sample, median, attributes)


CASES: dict[str, list[Case]] = {
    "sum": _reduced(sum_, _normal),
    "mean": _reduced(mean, _normal),
    "moments": [
        Case(_normal(*shape), moments) for shape in [(1,), (5,), (6, 3), (40, 1), (2, 3, 37)]
    ],
    "max": _reduced(max_, _apart),
    "cumsum": _along(cumsum),
    "softmax": _along(softmax),
    "log_softmax": _along(log_softmax),
    "median": [
        _median(),
        _median(1, keepdims=True),
        _median(2, available=1.0),
        _median(7, available=0.1),
        _median(16),
        _median(100, keepdims=True),
        _median(3, 37, available=1.0),
        _median(3, 5, keepdims=True),
        _median(3, 37, axis=-1),
        _median(2, 3, 5, axis=2, keepdims=True),
    ],
    "ratio": [_ratio(), _ratio(1), _ratio(13), _ratio(4, 19)],
}
