"""Layers that bring values to one scale."""

from __future__ import annotations

import numpy as np


def layer_norm(tape, x, name: str, eps: float = 1e-5):
    """Normalise the last axis, then scale and shift by ``<name>.weight`` and ``<name>.bias``.

    Parameters
    ----------
    tape : Tape
    x : Tensor of shape (..., n)
    name : str
        The same name gives the same parameters again; they start from ones and zeros.
    eps : float, default=1e-5
        Added to the variance.

    Returns
    -------
    Tensor of the shape of `x`

    References
    ----------
    Ba, Kiros, Hinton, "Layer normalization", arXiv:1607.06450, 2016.

    Examples
    --------
    >>> import ctrain
    >>> tape = ctrain.Tape()
    >>> ctrain.layers.layer_norm(tape, tape.input((5, 8), name="x"), "norm").shape
    (5, 8)
    """
    weight = tape.parameter((x.shape[-1],), name=f"{name}.weight", init="ones", decay=False)
    bias = tape.parameter((x.shape[-1],), name=f"{name}.bias", init="zeros", decay=False)
    return tape.layer_norm(x, weight, bias, eps=eps)


def rms_norm(tape, x, name: str, eps: float = 1e-5):
    """Divide the last axis by its root mean square, then scale by ``<name>.weight``.

    Parameters
    ----------
    tape : Tape
    x : Tensor of shape (..., n)
    name : str
        The same name gives the same parameter again; it starts from ones.
    eps : float, default=1e-5
        Added to the mean square.

    Returns
    -------
    Tensor of the shape of `x`

    References
    ----------
    Zhang, Sennrich, "Root mean square layer normalization", NeurIPS 2019.

    Examples
    --------
    >>> import ctrain
    >>> tape = ctrain.Tape()
    >>> ctrain.layers.rms_norm(tape, tape.input((5, 8), name="x"), "norm").shape
    (5, 8)
    """
    weight = tape.parameter((x.shape[-1],), name=f"{name}.weight", init="ones", decay=False)
    return tape.rms_norm(x, weight, eps=eps)


def batch_norm(tape, x, name: str, momentum: float = 0.1, eps: float = 1e-5):
    """Normalise the last axis over the batch and all other axes, then scale and shift.

    Training uses mean and variance of the batch, inference the running averages that training
    leaves in ``<name>.running_mean`` and ``<name>.running_var``.

    Parameters
    ----------
    tape : Tape
    x : Tensor of shape (..., n)
        Row-level.
    name : str
        Of ``<name>.weight`` and ``<name>.bias`` of shape (n,), and of the averages. The same name
        gives the same parameters again.
    momentum : float, default=0.1
        Share of a step in the running averages.
    eps : float, default=1e-5
        Added to the variance.

    Returns
    -------
    Tensor of the shape of `x`

    Notes
    -----
    The averages are parameters that are not trained: files, best weights and resumed fits have
    them. The running variance is the unbiased one, as PyTorch's. The batch is that of an optimizer
    step, so with ``accumulate_steps=k`` it is all ``k * batch_size`` rows. Each row counts once,
    whatever its sample weight. What depends on the batch runs in a second stage, and such a batch
    is held in memory whole. Of a batch with one value in each column the output is the bias, and
    the running variance is left as it is.

    References
    ----------
    Ioffe and Szegedy, "Batch normalization: accelerating deep network training by reducing internal
    covariate shift", ICML 2015.

    Examples
    --------
    >>> import numpy as np
    >>> import ctrain
    >>> from ctrain.layers import batch_norm
    >>> tape = ctrain.Tape()
    >>> y = batch_norm(tape, tape.input((1,), name="x"), "norm")
    >>> tape.forward(x=np.array([[1.0], [3.0]]))
    >>> tape.value(y).round(3)
    array([[-1.],
           [ 1.]], dtype=float32)
    """
    n = x.shape[-1:]
    weight = tape.parameter(n, name=f"{name}.weight", init="ones", decay=False)
    bias = tape.parameter(n, name=f"{name}.bias", init="zeros", decay=False)
    running = [
        tape.parameter(n, name=f"{name}.{which}", init=init, decay=False, trainable=False)
        for which, init in (("running_mean", "zeros"), ("running_var", "ones"))
    ]
    mean, variance = running
    if tape.training:
        of_row, count = tape.moments(x), x.size // n[0]
        mean, variance = _columns(tape, tape.batch_moments(of_row, count=count))
        unbiased = _columns(tape, tape.batch_moments(of_row, count=count, ddof=1))
        for average, value in zip(running, unbiased, strict=True):
            tape.track(average, value, momentum)
    scale = tape.mul(weight, tape.power(tape.scale(variance, 1.0, eps), -0.5))
    if tape.training:
        # x is centred before it is scaled; the shift is the bias and has the mean's gradient
        center = tape.stop_gradient(mean)
        bias = tape.sub(bias, tape.mul(tape.sub(mean, center), scale))
    else:
        center = mean
    return tape.affine(x, scale, bias, center)


def _columns(tape, moments):
    """Mean and variance of shape (n,) from (2, n)."""
    n = moments.shape[1:]
    return [tape.reshape(tape.slice(moments, 0, k, k + 1), n) for k in (0, 1)]


def weight_norm(tape, shape: tuple[int, int], name: str, init="glorot_uniform"):
    """Record a weight matrix as length times direction, column by column.

    ``weight = g * v / |v|`` with the parameters ``<name>.weight_v`` of the shape given and
    ``<name>.weight_g``, a length for each column, which starts as that of `v`.

    Parameters
    ----------
    tape : Tape
    shape : (int, int)
        Inputs and outputs.
    name : str
    init : str or callable, default="glorot_uniform"
        Of `v`, and so of the weight.

    Returns
    -------
    Tensor of that shape
        Parameter-level: a weight for ``tape.matmul`` or ``tape.conv1d``.

    References
    ----------
    Salimans and Kingma, "Weight normalization: a simple reparameterization to accelerate training
    of deep neural networks", NeurIPS 2016.

    Examples
    --------
    >>> import ctrain
    >>> from ctrain.layers import weight_norm
    >>> tape = ctrain.Tape()
    >>> tape.matmul(tape.input((3,), name="x"), weight_norm(tape, (3, 5), "first")).shape
    (5,)
    """
    direction = tape.parameter(shape, name=f"{name}.weight_v", init=init)
    start = np.linalg.norm(tape.parameters[f"{name}.weight_v"].value.astype(np.float64), axis=0)
    length = tape.parameter(start, name=f"{name}.weight_g")
    norm = tape.sqrt(tape.sum(tape.square(direction), axis=0))
    return tape.mul(direction, tape.div(length, norm))
