"""Convolution over time."""

from __future__ import annotations

import math

from ..initializers import Uniform
from .normalization import weight_norm


def conv1d(
    tape, x, channels: int, kernel_size: int, name: str, *, dilation: int = 1,
    padding: str = "causal", bias: bool = True, normalized: bool = False,
):  # fmt: skip
    """Record a convolution over time with ``<name>.weight`` and ``<name>.bias``.

    Both start uniform in ``1 / sqrt(kernel_size * n_in)`` around zero, as PyTorch's.

    Parameters
    ----------
    tape : Tape
    x : Tensor of shape (..., time, n_in)
    channels : int
        Outputs at each step.
    kernel_size : int
        Taps.
    name : str
        The same name gives the same parameters again.
    dilation : int, default=1
        Steps from one tap to the next.
    padding : {"causal", "same", "valid"}, default="causal"
        Whether a step sees itself and earlier ones, both sides, or is left out where its taps
        reach beyond the ends.
    bias : bool, default=True
    normalized : bool, default=False
        Whether the weight is that of :func:`weight_norm`.

    Returns
    -------
    Tensor of shape (..., time, channels)
        With ``padding="valid"`` shorter by ``(kernel_size - 1) * dilation`` steps.

    Notes
    -----
    The weight has the shape (kernel_size * n_in, channels), the rows of the earliest tap first:
    PyTorch's (channels, n_in, kernel_size) with its axes reversed, and the first two joined.

    References
    ----------
    Bai, Kolter, Koltun, "An empirical evaluation of generic convolutional and recurrent networks
    for sequence modeling", 2018.

    Examples
    --------
    >>> import ctrain
    >>> from ctrain.layers import conv1d
    >>> tape = ctrain.Tape()
    >>> conv1d(tape, tape.input((24, 3), name="x"), 8, 2, "first", dilation=4).shape
    (24, 8)
    """
    rows = kernel_size * x.shape[-1]
    bound = 1.0 / math.sqrt(rows)
    start = Uniform(-bound, bound)
    if normalized:
        weight = weight_norm(tape, (rows, channels), name, start)
    else:
        weight = tape.parameter((rows, channels), name=f"{name}.weight", init=start)
    shift = None
    if bias:
        shift = tape.parameter((channels,), name=f"{name}.bias", init=start, decay=False)
    return tape.conv1d(x, weight, shift, dilation=dilation, padding=padding)
