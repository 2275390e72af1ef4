"""Test inputs of matmul, batched_matmul, embedding and broadcast."""

from __future__ import annotations

import numpy as np

from .case import Case


def _matmul_case(row_shape: tuple[int, ...], n: int, bias: bool) -> Case:
    def sample(rng, rows):
        k = row_shape[-1]
        x = rng.normal(size=(rows, *row_shape))
        w = rng.normal(size=(k, n))
        return x, w, rng.normal(size=n) if bias else None

    return Case(sample, _matmul, weights=(1, 2) if bias else (1,))


def _matmul(x, w, bias=None):
    y = np.einsum("...k,kn->...n", x, w)
    return y if bias is None else y + bias


def _broadcast_case(row_shape: tuple[int, ...], shape: tuple[int, ...]) -> Case:
    def sample(rng, rows):
        return (rng.normal(size=(rows, *row_shape)),)

    return Case(sample, _broadcast, {"shape": shape})


def _broadcast(x, *, shape):
    ones = (1,) * (len(shape) - x.ndim + 1)
    return np.broadcast_to(x.reshape(len(x), *ones, *x.shape[1:]), (len(x), *shape))


def _batched_case(lead: tuple[int, ...], m: int, k: int, n: int, transpose_b: bool) -> Case:
    def sample(rng, rows):
        b = (n, k) if transpose_b else (k, n)
        return rng.normal(size=(rows, *lead, m, k)), rng.normal(size=(rows, *lead, *b))

    return Case(sample, _batched_matmul, {"transpose_b": transpose_b})


def _batched_matmul(a, b, *, transpose_b):
    return a @ (b.swapaxes(-1, -2) if transpose_b else b)


def _embedding_case(row_shape: tuple[int, ...], count: int, n: int) -> Case:
    def sample(rng, rows):
        return rng.integers(count, size=(rows, *row_shape)).astype(float), rng.normal(
            size=(count, n)
        )

    return Case(sample, lambda index, table: table[index.astype(int)], weights=(1,))


CASES = {
    "batched_matmul": [
        _batched_case(lead, m, k, n, transpose_b)
        for lead, m, k, n in [
            ((), 1, 1, 1),
            ((), 4, 4, 4),
            ((2,), 5, 1, 3),
            ((3,), 1, 7, 2),
            ((2, 2), 3, 19, 17),
            ((), 9, 6, 170),
            ((), 2, 300, 5),
        ]
        for transpose_b in (False, True)
    ],
    "embedding": [
        _embedding_case((), 3, 1),
        _embedding_case((2,), 1, 5),
        _embedding_case((5,), 1, 1),
        _embedding_case((3,), 7, 4),
        _embedding_case((2, 3), 20, 19),
    ],
    "matmul": [
        _matmul_case(row_shape, n, bias)
        for row_shape, n in [
            ((5,), 1),
            ((1,), 6),
            ((3,), 2),
            ((7,), 17),
            ((19,), 33),
            ((4, 3), 5),
            ((2, 3, 4), 3),
        ]
        for bias in (False, True)
    ],
    "broadcast": [
        _broadcast_case(row_shape, shape)
        for row_shape, shape in [
            ((), ()),
            ((), (5,)),
            ((3,), (3,)),
            ((1,), (18,)),
            ((3,), (4, 3)),
            ((4, 1), (4, 19)),
            ((1, 3), (2, 3)),
            ((2, 1, 3), (2, 4, 3)),
            ((1, 4, 1), (2, 4, 5)),
            ((2, 1, 2, 1, 3), (2, 2, 2, 3, 3)),
            ((1, 2, 1, 2, 1, 2), (2, 2, 3, 2, 2, 2)),
        ]
    ],
}
