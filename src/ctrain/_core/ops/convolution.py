"""Operations along time: 1-d convolution, pooling."""

from __future__ import annotations

from operator import index

from .shape import around, axis_of
from .table import Row, op, size_of

PADDINGS = ("causal", "same", "valid")


@op(param_reads=(0,), weights=(1, 2), transposed=(1,))
def conv1d(x, w, bias=None, /, dilation=1, padding="causal"):
    """Convolution of ``x`` (..., time, n_in) over time with the taps ``w`` (taps * n_in, n_out).

    Step t of the result is the sum over taps k of ``x[t + k * dilation - before] @ w[k]``, where
    ``w[k]`` are the rows ``k * n_in`` to ``(k + 1) * n_in`` of ``w``, plus ``bias`` (n_out,). Steps
    outside of ``x`` count as 0. ``before`` is ``(taps - 1) * dilation`` for ``padding="causal"``,
    so that no step sees a later one, half of that (rounded down) for ``"same"``, and 0 for
    ``"valid"``, whose result holds the ``time - (taps - 1) * dilation`` steps that see nothing
    outside.

    Each element of the result is one chain of fused multiply-adds that starts from the bias, tap
    after tap; where one tap reads all steps (the last one of a causal convolution), it comes first.
    """
    if len(x.shape) < 2:
        raise ValueError(f"conv1d: x needs the axes (time, n_in), its row shape is {x.shape}")
    if len(w.shape) != 2:
        raise ValueError(
            f"conv1d: w must have two axes (taps * n_in, n_out), its shape is {w.shape}"
        )
    steps, n_in = x.shape[-2:]
    rows, n_out = w.shape
    if rows % n_in:
        raise ValueError(
            f"conv1d: w must have n_in rows for each tap: x is {x.shape} with n_in {n_in}, "
            f"w is {w.shape}"
        )
    if bias is not None and bias.shape != (n_out,):
        raise ValueError(
            f"conv1d: bias must be {(n_out,)} for w {w.shape}, its shape is {bias.shape}"
        )
    if index(dilation) < 1:
        raise ValueError(f"conv1d: dilation must be at least 1, it is {dilation}")
    if padding not in PADDINGS:
        raise ValueError(f"conv1d: padding must be one of {', '.join(PADDINGS)}, it is {padding!r}")
    taps, span = rows // n_in, (rows // n_in - 1) * index(dilation)
    before = {"causal": span, "same": span // 2, "valid": 0}[padding]
    out = steps - span if padding == "valid" else steps
    if out < 1:
        raise ValueError(
            f"conv1d: {taps} taps at dilation {dilation} span {span + 1} steps, x has {steps}: "
            "padding 'causal' or 'same' takes fewer"
        )
    outer = size_of(x.shape[:-2])
    seen = sum(_overlap(k * index(dilation) - before, steps, out) for k in range(taps))
    return Row(
        (*x.shape[:-2], out, n_out),
        (outer, steps, out, n_in, n_out, taps, index(dilation), before),
        flops=2.0 * outer * seen * n_in * n_out,
    )


def _overlap(offset: int, steps: int, out: int) -> int:
    """Steps t of ``out`` for which ``t + offset`` is one of ``steps``."""
    return max(0, min(out, steps - offset) - max(0, -offset))


def _pools(name: str, x, kernel_size, stride, ceil_mode, axis):
    """Output shape and sizes: before the axis, of it, of the output's, after it, kernel, stride."""
    axis = axis_of(name, x.shape, axis)
    outer, n, inner = around(x.shape, axis)
    kernel = index(kernel_size)
    step = kernel if stride is None else index(stride)
    if kernel < 1 or step < 1:
        raise ValueError(
            f"{name}: kernel_size and stride must be at least 1, they are {kernel} and {step}"
        )
    if ceil_mode:
        out = max(0, -(-(n - kernel) // step)) + 1
        out -= (out - 1) * step >= n  # every pool begins inside
    else:
        out = (n - kernel) // step + 1
    if out < 1:
        raise ValueError(
            f"{name}: kernel_size {kernel} is longer than axis {axis} of x {x.shape}: "
            "ceil_mode=True pools what there is"
        )
    return (*x.shape[:axis], out, *x.shape[axis + 1 :]), (outer, n, out, inner, kernel, step)


@op()
def avg_pool1d(x, /, kernel_size, stride=None, ceil_mode=False, axis=-2):
    """Mean of each ``kernel_size`` neighbours along an axis, every ``stride`` (``kernel_size``).

    ``ceil_mode`` keeps a last pool that reaches beyond the end: the mean of what it has.
    """
    shape, ints = _pools("avg_pool1d", x, kernel_size, stride, ceil_mode, axis)
    return Row(shape, ints, flops=ints[4] * size_of(shape))


@op(reads=(0, "out"))
def max_pool1d(x, /, kernel_size, stride=None, ceil_mode=False, axis=-2):
    """Largest of each ``kernel_size`` neighbours along an axis, every ``stride``; or NaN.

    ``stride`` is ``kernel_size`` unless given; ``ceil_mode`` keeps a last pool that reaches beyond
    the end. The gradient goes to the first of equal elements.
    """
    shape, ints = _pools("max_pool1d", x, kernel_size, stride, ceil_mode, axis)
    return Row(shape, ints, flops=ints[4] * size_of(shape))
