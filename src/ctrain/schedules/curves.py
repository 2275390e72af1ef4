"""Schedules that are functions of the step alone.

Sines and powers are those of the C library, one by one: NumPy's vectors differ between machines.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from numbers import Integral
from typing import ClassVar

import numpy as np

from ..rules import POSITIVE_OR_ZERO, OneOf, Range
from .schedule import DECAY, DURATION, UNIT, Schedule


def _sin(x: np.ndarray) -> np.ndarray:
    x = np.asarray(x)
    return np.fromiter(map(math.sin, x.ravel().tolist()), np.float64, x.size).reshape(x.shape)


_pow = np.frompyfunc(math.pow, 2, 1)


class Constant(Schedule):
    r"""The same learning rate at every step, :math:`\eta_0`.

    Examples
    --------
    >>> import numpy as np
    >>> from ctrain.schedules import Constant, Length
    >>> Constant()(np.arange(3), 0.01, Length())
    array([0.01, 0.01, 0.01])
    """

    def __call__(self, step, base, length):
        """Give the learning rate of each step."""
        return np.full(np.shape(step), base, dtype=np.float64)


class Step(Schedule):
    r"""A factor after each so many epochs: :math:`\eta_0 \gamma^{\lfloor s / S \rfloor}`.

    Parameters
    ----------
    step_size : int or float, default=30
        :math:`S`: the time between two drops, in units, or a share of the fit's length.
    gamma : float, default=0.1
        What a drop leaves of the learning rate.
    unit : {"epoch", "step"}, default="epoch"
        What an int of `step_size` counts.

    References
    ----------
    PyTorch's ``StepLR``.

    Examples
    --------
    >>> import numpy as np
    >>> from ctrain.schedules import Length, Step
    >>> Step(step_size=2, unit="step")(np.arange(5), 1.0, Length()).round(3)
    array([1.  , 1.  , 0.1 , 0.1 , 0.01])
    """

    _rules: ClassVar = {"step_size": DURATION, "gamma": DECAY, "unit": UNIT}

    def __init__(self, step_size=30, gamma=0.1, unit="epoch"):
        self.step_size = step_size
        self.gamma = gamma
        self.unit = unit

    def __call__(self, step, base, length):
        """Give the learning rate of each step."""
        size = length.steps(self.step_size, self.unit)
        if size is None:
            return np.full(np.shape(step), base, dtype=np.float64)
        return base * np.asarray(_pow(self.gamma, np.asarray(step) // max(size, 1)), np.float64)


class Exponential(Schedule):
    r"""A factor for each epoch: :math:`\eta_0 \gamma^{s / U}`, with :math:`U` steps in a unit.

    Parameters
    ----------
    gamma : float, default=0.95
        What a unit leaves of the learning rate.
    unit : {"epoch", "step"}, default="epoch"

    Notes
    -----
    PyTorch's ``ExponentialLR``, stepped once a unit, gives the same values where a unit begins
    and keeps them until the next; here the decay is spread over the steps between.

    Examples
    --------
    >>> import numpy as np
    >>> from ctrain.schedules import Exponential, Length
    >>> Exponential(gamma=0.25)(np.arange(5), 0.1, Length(steps_per_epoch=2))
    array([0.1    , 0.05   , 0.025  , 0.0125 , 0.00625])
    """

    _rules: ClassVar = {"gamma": DECAY, "unit": UNIT}

    def __init__(self, gamma=0.95, unit="epoch"):
        self.gamma = gamma
        self.unit = unit

    def __call__(self, step, base, length):
        """Give the learning rate of each step."""
        passed = np.asarray(step) / length.steps(1, self.unit)
        return base * np.asarray(_pow(self.gamma, passed), np.float64)


class InverseScaling(Schedule):
    r"""scikit-learn's inverse scaling: :math:`\eta_0 / (1 + s / U)^p`, :math:`U` steps in a unit.

    Parameters
    ----------
    power_t : float, default=0.5
        :math:`p`.
    unit : {"epoch", "step"}, default="step"

    Notes
    -----
    Also known as ``"invscaling"``. The time of scikit-learn's ``MLPRegressor`` counts the rows
    seen, and its rate changes once an epoch; here time does not depend on the batch size.

    Examples
    --------
    >>> import numpy as np
    >>> from ctrain.schedules import InverseScaling, Length
    >>> InverseScaling()(np.array([0, 3, 15]), 0.1, Length())
    array([0.1  , 0.05 , 0.025])
    """

    _rules: ClassVar = {"power_t": POSITIVE_OR_ZERO, "unit": UNIT}

    def __init__(self, power_t=0.5, unit="step"):
        self.power_t = power_t
        self.unit = unit

    def __call__(self, step, base, length):
        """Give the learning rate of each step."""
        passed = np.asarray(step) / length.steps(1, self.unit)
        return base * np.asarray(_pow(1 + passed, -self.power_t), np.float64)


def _arc(low: float, high: float, share: np.ndarray) -> np.ndarray:
    """Half a cosine wave from `low` (share 0) to `high` (share 1), without cancellation."""
    return low + (high - low) * np.square(_sin(0.5 * math.pi * share))


def _line(low: float, high: float, share: np.ndarray) -> np.ndarray:
    return low + (high - low) * share


class _Warmup(Schedule):
    """A linear rise, then a descent to `eta_min`, whose form a subclass declares."""

    _descent: ClassVar[Callable]
    _rules: ClassVar = {
        "warmup": OneOf((Range(0, kind=Integral), Range(0.0, 1.0, "[]"))),
        "eta_min": POSITIVE_OR_ZERO,
        "length": OneOf((*DURATION, None)),
        "unit": UNIT,
    }

    def __init__(self, warmup=0.05, eta_min=0.0, length=None, unit="epoch"):
        self.warmup = warmup
        self.eta_min = eta_min
        self.length = length
        self.unit = unit

    def __call__(self, step, base, length):
        """Give the learning rate of each step."""
        total = length.steps(self.length, self.unit)
        if total is None:
            return np.full(np.shape(step), base, dtype=np.float64)
        step = np.asarray(step)
        warmup = min(length._replace(total_steps=total).steps(self.warmup, self.unit), total)
        left = np.clip((total - step) / max(total - warmup, 1), 0.0, 1.0)
        descent = self._descent(self.eta_min, base, left)
        return np.where(step < warmup, base * (step + 1) / (warmup + 1), descent)


class Cosine(_Warmup):
    r"""Half a cosine wave down to `eta_min`.

    .. math::

        \eta_{\min} + (\eta_0 - \eta_{\min}) \, \frac{1 + \cos(\pi s / T)}{2}, \qquad s \le T

    Parameters
    ----------
    eta_min : float, default=0.0
        The learning rate at the end and beyond; the last step, :math:`T - 1`, is just above it.
    length : int, float or None, default=None
        :math:`T`, PyTorch's ``T_max``: in units, a share of the fit's length, or None for all.
    unit : {"epoch", "step"}, default="epoch"
        What an int counts.

    References
    ----------
    Loshchilov, Hutter, "SGDR: Stochastic gradient descent with warm restarts", ICLR 2017.
    PyTorch's ``CosineAnnealingLR``.

    Examples
    --------
    >>> import numpy as np
    >>> from ctrain.schedules import Cosine, Length
    >>> Cosine()(np.arange(5), 1.0, Length(total_steps=4)).round(3)
    array([1.   , 0.854, 0.5  , 0.146, 0.   ])
    """

    warmup = 0
    _descent = staticmethod(_arc)

    def __init__(self, eta_min=0.0, length=None, unit="epoch"):
        self.eta_min = eta_min
        self.length = length
        self.unit = unit


class WarmupCosine(_Warmup):
    r"""A linear rise over :math:`W` steps, then half a cosine wave down to `eta_min`.

    .. math::

        \eta_0 \frac{s + 1}{W + 1} \quad (s < W), \qquad
        \eta_{\min} + (\eta_0 - \eta_{\min}) \,
        \frac{1 + \cos(\pi (s - W) / (T - W))}{2} \quad (W \le s \le T)

    Parameters
    ----------
    warmup : int or float, default=0.05
        :math:`W`: the number of steps below :math:`\eta_0` at the start, in units, or a share of
        the length. No step has a learning rate of zero.
    eta_min : float, default=0.0
        The learning rate at the end and beyond; the last step, :math:`T - 1`, is just above it.
    length : int, float or None, default=None
        :math:`T`, warm-up included: in units, a share of the fit's length, or None for all.
    unit : {"epoch", "step"}, default="epoch"
        What an int counts.

    References
    ----------
    Goyal et al., "Accurate, large minibatch SGD", 2017 (warm-up); Loshchilov, Hutter, "SGDR",
    ICLR 2017. PyTorch's ``LinearLR(1 / (W + 1), total_iters=W)`` and ``CosineAnnealingLR(T - W)``
    in ``SequentialLR`` are the same.

    Examples
    --------
    >>> import numpy as np
    >>> from ctrain.schedules import Length, WarmupCosine
    >>> WarmupCosine(warmup=3, unit="step")(np.arange(8), 1.0, Length(total_steps=7)).round(3)
    array([0.25 , 0.5  , 0.75 , 1.   , 0.854, 0.5  , 0.146, 0.   ])
    """

    _descent = staticmethod(_arc)


class WarmupLinear(_Warmup):
    r"""A linear rise over :math:`W` steps, then a straight line down to `eta_min`.

    .. math::

        \eta_0 \frac{s + 1}{W + 1} \quad (s < W), \qquad
        \eta_{\min} + (\eta_0 - \eta_{\min}) \frac{T - s}{T - W} \quad (W \le s \le T)

    Parameters
    ----------
    warmup : int or float, default=0.05
        :math:`W`: the number of steps below :math:`\eta_0` at the start, in units, or a share of
        the length; 0 for a straight line alone.
    eta_min : float, default=0.0
        The learning rate at the end and beyond; the last step, :math:`T - 1`, is just above it.
    length : int, float or None, default=None
        :math:`T`, warm-up included: in units, a share of the fit's length, or None for all.
    unit : {"epoch", "step"}, default="epoch"
        What an int counts.

    References
    ----------
    Devlin et al., "BERT", NAACL 2019. PyTorch's two ``LinearLR`` in ``SequentialLR``.

    Examples
    --------
    >>> import numpy as np
    >>> from ctrain.schedules import Length, WarmupLinear
    >>> WarmupLinear(warmup=1, unit="step")(np.arange(6), 1.0, Length(total_steps=5))
    array([0.5 , 1.  , 0.75, 0.5 , 0.25, 0.  ])
    """

    _descent = staticmethod(_line)


class CosineRestarts(Schedule):
    r"""Half cosine waves down to `eta_min`, each begun anew at :math:`\eta_0`.

    .. math::

        \eta_{\min} + (\eta_0 - \eta_{\min}) \, \frac{1 + \cos(\pi t / T_i)}{2}, \qquad
        T_i = T_0 \, m^i, \quad t = s - \sum_{j < i} T_j

    Parameters
    ----------
    t_0 : int or float, default=10
        :math:`T_0`: the first wave, in units, or a share of the fit's length.
    t_mult : int, default=1
        :math:`m`: how much longer each wave is than the one before.
    eta_min : float, default=0.0
        Where a wave would end; its last step is just above it.
    unit : {"epoch", "step"}, default="epoch"
        What an int of `t_0` counts.

    References
    ----------
    Loshchilov, Hutter, "SGDR: Stochastic gradient descent with warm restarts", ICLR 2017.
    PyTorch's ``CosineAnnealingWarmRestarts``.

    Examples
    --------
    >>> import numpy as np
    >>> from ctrain.schedules import CosineRestarts, Length
    >>> restarts = CosineRestarts(t_0=2, t_mult=2, unit="step")
    >>> restarts(np.arange(7), 1.0, Length()).round(3)
    array([1.   , 0.5  , 1.   , 0.854, 0.5  , 0.146, 1.   ])
    """

    _rules: ClassVar = {
        "t_0": DURATION,
        "t_mult": Range(1, kind=Integral),
        "eta_min": POSITIVE_OR_ZERO,
        "unit": UNIT,
    }

    def __init__(self, t_0=10, t_mult=1, eta_min=0.0, unit="epoch"):
        self.t_0 = t_0
        self.t_mult = t_mult
        self.eta_min = eta_min
        self.unit = unit

    def __call__(self, step, base, length):
        """Give the learning rate of each step."""
        wave = length.steps(self.t_0, self.unit)
        if wave is None:
            return np.full(np.shape(step), base, dtype=np.float64)
        wave = max(wave, 1)
        passed = np.asarray(step)
        if self.t_mult == 1:
            passed = passed % wave
        else:
            while np.any(over := passed >= wave):
                passed = np.where(over, passed - wave, passed)
                wave = np.where(over, wave * self.t_mult, wave)
        return _arc(self.eta_min, base, (wave - passed) / wave)


class OneCycle(Schedule):
    r"""Up to :math:`\eta_0` and down to almost nothing, in one cycle over the whole length.

    From :math:`\eta_0 / d` at step 0 to :math:`\eta_0` at step :math:`p T - 1`, and on to
    :math:`\eta_0 / (d f)` at the last step, :math:`T - 1`.

    Parameters
    ----------
    pct_start : float, default=0.3
        :math:`p`: the share of the length that rises.
    div_factor : float, default=25.0
        :math:`d`: how far below :math:`\eta_0` it starts.
    final_div_factor : float, default=1e4
        :math:`f`: how far below the start it ends.
    anneal_strategy : {"cos", "linear"}, default="cos"
        Half cosine waves or straight lines.
    length : int, float or None, default=None
        :math:`T`: in units, a share of the fit's length, or None for all.
    unit : {"epoch", "step"}, default="epoch"
        What an int counts.

    Notes
    -----
    ``learning_rate_init`` is PyTorch's ``max_lr``. Momentum is the optimizer's and stays.

    References
    ----------
    Smith, Topin, "Super-convergence: Very fast training of neural networks using large learning
    rates", 2019. PyTorch's ``OneCycleLR``.

    Examples
    --------
    >>> import numpy as np
    >>> from ctrain.schedules import Length, OneCycle
    >>> one_cycle = OneCycle(pct_start=0.5, div_factor=4.0, anneal_strategy="linear")
    >>> one_cycle(np.arange(6), 1.0, Length(total_steps=6)).round(3)
    array([0.25 , 0.625, 1.   , 0.667, 0.333, 0.   ])
    """

    _rules: ClassVar = {
        "pct_start": Range(0.0, 1.0, "[]"),
        "div_factor": Range(1.0),
        "final_div_factor": Range(1.0),
        "anneal_strategy": OneOf(("cos", "linear")),
        "length": OneOf((*DURATION, None)),
        "unit": UNIT,
    }

    def __init__(
        self,
        pct_start=0.3,
        div_factor=25.0,
        final_div_factor=1e4,
        anneal_strategy="cos",
        length=None,
        unit="epoch",
    ):
        self.pct_start = pct_start
        self.div_factor = div_factor
        self.final_div_factor = final_div_factor
        self.anneal_strategy = anneal_strategy
        self.length = length
        self.unit = unit

    def __call__(self, step, base, length):
        """Give the learning rate of each step."""
        total = length.steps(self.length, self.unit)
        if total is None:
            return np.full(np.shape(step), base, dtype=np.float64)
        step, last = np.asarray(step), max(total, 1) - 1
        peak = max(self.pct_start * (last + 1) - 1.0, 0.0)
        start = base / self.div_factor
        end = start / self.final_div_factor
        between = _arc if self.anneal_strategy == "cos" else _line
        rise = np.minimum(step / max(peak, 1.0), 1.0)
        fall = np.clip((last - step) / (last - peak), 0.0, 1.0) if peak < last else step <= last
        return np.where(step < peak, between(start, base, rise), between(end, base, fall))
