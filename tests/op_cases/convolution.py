"""Test inputs of conv1d, avg_pool1d and max_pool1d."""

from __future__ import annotations

import numpy as np

from .case import Case


def _conv_case(row_shape, taps, n_out, bias=True, **attributes) -> Case:
    def sample(rng, rows):
        x = rng.normal(size=(rows, *row_shape))
        w = rng.normal(size=(taps * row_shape[-1], n_out))
        return x, w, rng.normal(size=n_out) if bias else None

    return Case(sample, conv1d, attributes, weights=(1, 2) if bias else (1,))


def conv1d(x, w, bias=None, dilation=1, padding="causal"):
    """Step by step, from an input with zeros around it."""
    *outer, steps, n_in = x.shape
    w = w.reshape(-1, n_in, w.shape[-1])
    span = (len(w) - 1) * dilation
    before = {"causal": span, "same": span // 2, "valid": 0}[padding]
    after = 0 if padding == "valid" else span - before
    padded = np.zeros((*outer, before + steps + after, n_in))
    padded[..., before : before + steps, :] = x
    out = padded.shape[-2] - span
    y = np.zeros((*outer, out, w.shape[-1]))
    for t in range(out):
        for k, tap in enumerate(w):
            y[..., t, :] += padded[..., t + k * dilation, :] @ tap
    return y if bias is None else y + bias


def _separate(rng, rows, shape):
    """Values that lie 0.1 apart within a row."""
    size = int(np.prod(shape))
    order = np.stack([rng.permutation(size) for _ in range(rows)])
    return 0.1 * (order - size / 2).reshape(rows, *shape)


def _pool_case(twin, shape, kernel_size, **attributes) -> Case:
    return Case(
        lambda rng, rows: (_separate(rng, rows, shape),),
        twin,
        {"kernel_size": kernel_size, **attributes},
    )


def _pooled(function):
    def twin(x, kernel_size, stride=None, ceil_mode=False, axis=-2):
        x = np.moveaxis(x, axis if axis < 0 else axis + 1, 0)
        stride = kernel_size if stride is None else stride
        last = len(x) - (1 if ceil_mode else kernel_size)
        pools = []
        for t in range(0, last + 1, stride):
            pools.append(function(x[t : t + kernel_size], axis=0))
            if t + kernel_size >= len(x):
                break
        return np.moveaxis(np.stack(pools), 0, axis if axis < 0 else axis + 1)

    return twin


POOLS = [
    ((6, 1), 2, {}),
    ((7,), 3, {"axis": 0}),
    ((7,), 3, {"axis": 0, "ceil_mode": True}),
    ((5,), 9, {"axis": -1, "ceil_mode": True}),
    ((10, 17), 3, {"stride": 2}),
    ((11, 5), 3, {"stride": 2, "ceil_mode": True}),
    ((2, 9, 3), 4, {"stride": 1}),
    ((2, 9, 3), 2, {"stride": 4, "axis": 1, "ceil_mode": True}),
    ((3, 8), 1, {"stride": 3, "axis": -1}),
    ((4, 4), 4, {}),
]

CASES = {
    "conv1d": [
        _conv_case((1, 1), 1, 1),
        _conv_case((5, 1), 1, 6, bias=False),
        _conv_case((7, 3), 2, 5),
        _conv_case((7, 3), 2, 5, bias=False, dilation=4),
        _conv_case((4, 3), 2, 5, dilation=9),  # no step but the last tap's
        _conv_case((6, 2), 5, 3, dilation=2),  # shorter than the receptive field
        _conv_case((20, 5), 3, 18, dilation=3),
        _conv_case((2, 3, 6, 4), 3, 2, dilation=2),
        _conv_case((40, 17), 3, 33, bias=False),
        _conv_case((7, 3), 3, 5, padding="same"),
        _conv_case((9, 2), 4, 3, padding="same", dilation=3),
        _conv_case((5, 2), 2, 3, padding="same", dilation=3),  # no tap reaches all steps
        _conv_case((5, 2), 2, 3, bias=False, padding="same", dilation=11),
        _conv_case((9, 2), 3, 4, padding="valid"),
        _conv_case((2, 9, 3), 3, 4, bias=False, padding="valid", dilation=4),
        _conv_case((8, 1), 8, 1, padding="valid"),
    ],
    "avg_pool1d": [_pool_case(_pooled(np.mean), s, k, **a) for s, k, a in POOLS],
    "max_pool1d": [_pool_case(_pooled(np.max), s, k, **a) for s, k, a in POOLS],
}
