"""Operations that are linear in each input: matmul, batched_matmul, embedding, broadcast."""

from __future__ import annotations

from .table import Row, op, size_of

MAX_AXES = 6


@op(param_reads=(0,), weights=(1, 2), transposed=(1,))
def matmul(x, w, bias=None, /):
    """Product of ``x`` (..., k) with the matrix ``w`` (k, n), plus ``bias`` (n,).

    Each element of the result is one chain of fused multiply-adds over k that starts from the
    bias.
    """
    if len(x.shape) < 1:
        raise ValueError(f"matmul: x needs an axis to contract, its row shape is {x.shape}")
    if len(w.shape) != 2:
        raise ValueError(f"matmul: w must have two axes (k, n), its shape is {w.shape}")
    k, n = w.shape
    if x.shape[-1] != k:
        raise ValueError(f"matmul: inner sizes differ: x is {x.shape}, w is {w.shape}")
    if bias is not None and bias.shape != (n,):
        raise ValueError(f"matmul: bias must be {(n,)} for w {w.shape}, its shape is {bias.shape}")
    inner = size_of(x.shape[:-1])
    return Row((*x.shape[:-1], n), (inner, k, n), flops=2.0 * inner * k * n)


@op(reads=(0, 1))
def batched_matmul(a, b, /, transpose_b=False):
    """Products of the matrices ``a`` (..., m, k) and ``b`` (..., k, n), both of the row.

    With ``transpose_b``, ``b`` is given as (..., n, k). Axes before the last two are equal: one
    product for each place in them.
    """
    if len(a.shape) < 2 or len(b.shape) != len(a.shape) or a.shape[:-2] != b.shape[:-2]:
        raise ValueError(
            "batched_matmul: a (..., m, k) and b (..., k, n) need equal leading axes and two more: "
            f"a is {a.shape}, b is {b.shape}"
        )
    m, k = a.shape[-2:]
    n, inner = b.shape[-2:] if transpose_b else b.shape[:-3:-1]
    if inner != k:
        how = " transposed" if transpose_b else ""
        raise ValueError(f"batched_matmul: inner sizes differ: a is {a.shape}, b{how} is {b.shape}")
    outer = size_of(a.shape[:-2])
    return Row(
        (*a.shape[:-2], m, n), (outer, m, k, n, bool(transpose_b)), (), 2.0 * outer * m * k * n
    )


@op(param_reads=(0,), weights=(1,), differentiable=(1,))
def embedding(index, table, /):
    """Rows of ``table`` (count, n) by number: ``index`` (...) gives (..., n).

    An index is rounded to the nearest whole number; one that is not in [0, count) gives NaN.
    """
    if len(table.shape) != 2:
        raise ValueError(
            f"embedding: table must have two axes (count, n), its shape is {table.shape}"
        )
    count, n = table.shape
    outer = size_of(index.shape)
    return Row((*index.shape, n), (outer, count, n), flops=outer * n)


@op()
def broadcast(x, /, shape, *, batch: bool = False):
    """``x`` repeated to ``shape`` by NumPy's rules: along axes of length 1 and new leading axes.

    ``batch`` is true where ``x`` is a constant or a parameter and the result has rows: it is
    then the same in each of them.
    """
    shape = tuple(shape)
    if len(shape) > MAX_AXES:
        raise ValueError(f"broadcast: at most {MAX_AXES} axes, shape is {shape}")
    padded = (1,) * (len(shape) - len(x.shape)) + tuple(x.shape)
    if len(padded) != len(shape) or any(
        a not in (1, b) for a, b in zip(padded, shape, strict=True)
    ):
        raise ValueError(f"broadcast: x of shape {x.shape} does not broadcast to {shape}")
    sizes: list[int] = []
    steps: list[int] = []  # of the input along each axis, 0 where it is repeated
    unit = size_of(padded)
    cut = -1  # the axis that holds the first axis of x longer than 1
    for a, b in zip(padded, shape, strict=True):
        unit //= a
        step = 0 if a == 1 else unit
        if b == 1:
            continue
        if sizes and steps[-1] == step * b:
            sizes[-1] *= b
            steps[-1] = step
        else:
            sizes.append(b)
            steps.append(step)
        if cut < 0 and a > 1:
            cut, lead = len(sizes) - 1, unit
    if not sizes:
        sizes, steps = [1], [1]
    units = lead // steps[cut] if cut >= 0 else 1
    return Row(shape, (int(not batch), size_of(padded), cut, units, len(sizes), *sizes, *steps))
