"""Operations that are linear in their input: matmul, affine, broadcast."""

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


@op(param_reads=(0, 3), weights=(1, 2, 3), differentiable=(0, 1, 2))
def affine(x, scale, shift, center=None, /):
    """``(x - center) * scale + shift`` along the last axis of ``x`` (..., n); the others are (n,).

    ``center`` is 0 where it is absent, and has no gradient.
    """
    n = x.shape[-1:]
    if not n:
        raise ValueError("affine: x needs an axis, its row shape is ()")
    for name, given in (("scale", scale), ("shift", shift), ("center", center)):
        if given is not None and given.shape != n:
            raise ValueError(
                f"affine: {name} must be {n} for x {x.shape}, its shape is {given.shape}"
            )
    return Row(x.shape, (size_of(x.shape[:-1]), *n), flops=3.0 * size_of(x.shape))


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
