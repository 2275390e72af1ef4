"""Scaled dot-product attention."""

from __future__ import annotations

import math
from operator import index

from .table import Row, op, size_of

MAX_SIZE = 256  # of a head, so that a block of queries and keys fits into scratch


@op(reads=(0, 1, 2, "out"), random=True)
def attention(q, k, v, /, n_heads=1, causal=False, scale=None, rate=0.0):
    """``softmax(scale * q k^T) v`` of several heads: (..., Tq, D), (..., Tk, D), (..., Tk, Dv).

    Head i is columns [i D / n_heads, (i + 1) D / n_heads) of ``q`` and ``k``, and the same share
    of the columns of ``v`` and of the result (..., Tq, Dv). ``scale`` is by default one over the
    square root of a head's size. With ``causal`` time step t sees the steps up to t. ``rate``, in
    [0, 1), is the share of weights that dropout zeroes; the others grow by ``1 / (1 - rate)``.
    No matrix (Tq, Tk) is kept: backward computes the weights again (Vaswani et al., 2017; Dao et
    al., 2022).
    """
    shapes = f"q is {q.shape}, k is {k.shape}, v is {v.shape}"
    ranks = {len(q.shape), len(k.shape), len(v.shape)}
    if ranks != {len(q.shape)} or len(q.shape) < 2:
        raise ValueError(f"attention: q, k and v need the axes (..., time, features): {shapes}")
    if q.shape[:-2] != k.shape[:-2] or k.shape[:-1] != v.shape[:-1] or q.shape[-1] != k.shape[-1]:
        raise ValueError(
            "attention: q (..., Tq, D), k (..., Tk, D) and v (..., Tk, Dv) do not fit together: "
            + shapes
        )
    heads, (queries, size), (keys, v_size) = index(n_heads), q.shape[-2:], v.shape[-2:]
    if heads < 1 or size % heads or v_size % heads:
        raise ValueError(
            f"attention: n_heads must divide the features of q, k and v, it is {n_heads}: {shapes}"
        )
    if max(size, v_size) // heads > MAX_SIZE:
        raise ValueError(
            f"attention: a head has at most {MAX_SIZE} features, n_heads is {n_heads}: {shapes}"
        )
    if causal and queries != keys:
        raise ValueError(f"attention: causal needs as many queries as keys: {shapes}")
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"attention: rate must be in [0, 1), got {rate}")
    scale = (size // heads) ** -0.5 if scale is None else float(scale)
    if not math.isfinite(scale):
        raise ValueError(f"attention: scale must be finite, got {scale}")
    lead = size_of(q.shape[:-2])
    keep = 1.0 - rate
    pairs = lead * queries * keys * (0.5 if causal else 1.0)
    return Row(
        (*q.shape[:-1], v_size),
        (heads, queries, keys, size, v_size, bool(causal), round(keep * 2**32), lead),
        (scale, 1.0 / keep),
        pairs * (2.0 * (size + v_size) + (100.0 if rate else 25.0) * heads),
    )
