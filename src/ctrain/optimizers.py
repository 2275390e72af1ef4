r"""Optimizers: small declarations of what the fused update kernels compute.

An optimizer is a name or an object. Objects follow scikit-learn's conventions (the
constructor only stores, ``get_params``, ``set_params``, ``clone``), so that a grid can search
``optimizer__weight_decay``. Formulas and defaults are PyTorch's. The learning rate, written
:math:`\eta` below, is not theirs: it belongs to the schedule. :math:`g` is the gradient of
the loss after normalisation, clipping and the penalties ``alpha`` and ``l1``.
"""

from __future__ import annotations

from numbers import Integral
from typing import ClassVar

from sklearn.base import BaseEstimator

from .rules import BELOW_ONE, POSITIVE_OR_ZERO, UP_TO_ONE, Range, check, find, require

__all__ = [
    "LBFGS",
    "OPTIMIZERS",
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "RMSprop",
    "resolve",
]


class Optimizer(BaseEstimator):
    """What the training loop asks of an optimizer; a subclass only declares.

    Not for subclassing outside this package: each optimizer is a kernel of the compiled core.

    Examples
    --------
    >>> from ctrain.optimizers import Optimizer, RMSprop
    >>> isinstance(RMSprop(), Optimizer), RMSprop(alpha=0.9).get_params()["alpha"]
    (True, 0.9)
    """

    kernel: str | None = None  #: name of the update kernel; None: not a rule for single steps
    _ranges: ClassVar[dict[str, Range | type]] = {}  # per parameter, in the kernel's order
    _slots: ClassVar[dict[str, str | None]] = {}  # name: the parameter that asks for it, None: kept

    def validate(self) -> None:
        """Raise a ValueError that names the first parameter out of its range."""
        check(self, self._ranges)

    def slots(self) -> tuple[str, ...]:
        """Name the arrays kept beside the weights, each of the weights' size."""
        return tuple(name for name, why in self._slots.items() if why is None or getattr(self, why))

    def initial(self) -> tuple[float, ...]:
        """Give the number that each slot starts from."""
        return (0.0,) * len(self.slots())

    def hyper(self) -> list[float]:
        """Pack the parameters for the kernel."""
        return [float(getattr(self, name)) for name in self._ranges]


class SGD(Optimizer):
    r"""Stochastic gradient descent, with momentum and Nesterov's variant of it.

    .. math::

        g &\leftarrow g + \lambda w \\
        b &\leftarrow \mu b + (1 - \tau) g \qquad (b = g \text{ at the first step}) \\
        w &\leftarrow w - \eta \, b \qquad (\text{Nesterov: } w - \eta (g + \mu b))

    Parameters
    ----------
    momentum : float, default=0.0
        :math:`\mu`: the share of the last update that is kept. 0.9 averages over about ten
        steps and, on smooth losses, acts like a learning rate ten times as large. 0 keeps no
        buffer.
    dampening : float, default=0.0
        :math:`\tau`: weakens the new gradient in the buffer; ``dampening=momentum`` makes the
        buffer a mean instead of a sum.
    nesterov : bool, default=False
        Looks one step ahead along the buffer; needs ``momentum > 0`` and ``dampening=0``.
    weight_decay : float, default=0.0
        :math:`\lambda`: pulls weights towards zero through the gradient, as an L2 penalty of
        half of it times the squared norm does. Parameters declared ``decay=False`` are left out.

    Notes
    -----
    As in PyTorch the learning rate multiplies the buffer, so that a schedule acts at once; in
    Sutskever et al. it multiplies the gradient.

    References
    ----------
    Sutskever, Martens, Dahl, Hinton, "On the importance of initialization and momentum in deep
    learning", ICML 2013.

    Examples
    --------
    >>> from ctrain.optimizers import SGD
    >>> sgd = SGD(momentum=0.9, nesterov=True)
    >>> sgd
    SGD(momentum=0.9, nesterov=True)
    >>> sgd.slots()
    ('momentum_buffer',)
    """

    kernel = "sgd"
    _ranges: ClassVar = {
        "momentum": UP_TO_ONE,
        "dampening": UP_TO_ONE,
        "nesterov": bool,
        "weight_decay": POSITIVE_OR_ZERO,
    }
    _slots: ClassVar = {"momentum_buffer": "momentum"}

    def __init__(self, momentum=0.0, dampening=0.0, nesterov=False, weight_decay=0.0):
        self.momentum = momentum
        self.dampening = dampening
        self.nesterov = nesterov
        self.weight_decay = weight_decay

    def validate(self) -> None:
        """Raise a ValueError that names the first parameter out of its range."""
        super().validate()
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError(
                "SGD with nesterov=True needs momentum > 0 and dampening=0. Got "
                f"momentum={self.momentum!r} and dampening={self.dampening!r} instead."
            )


class Adam(Optimizer):
    r"""Adam: steps scaled by running means of the gradient and of its square.

    .. math::

        g &\leftarrow g + \lambda w \\
        m &\leftarrow \beta_1 m + (1 - \beta_1) g, \qquad
        v \leftarrow \beta_2 v + (1 - \beta_2) g^2 \\
        w &\leftarrow w - \eta \frac{m / (1 - \beta_1^t)}
        {\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    Parameters
    ----------
    betas : tuple of two floats, default=(0.9, 0.999)
        How much of the running means a step keeps. The first smooths the direction (0.9: over
        about ten steps), the second the size of a step (0.999: over about a thousand). A
        smaller second one follows sudden changes of scale faster.
    eps : float, default=1e-8
        Keeps the quotient finite; weights whose gradients are far below it hardly move. A
        larger one makes steps more like plain gradient descent.
    weight_decay : float, default=0.0
        :math:`\lambda`: an L2 penalty that joins the gradient and is scaled with it, so weights
        with large gradients decay less. `AdamW` decays all alike. Parameters declared
        ``decay=False`` are left out.
    amsgrad : bool, default=False
        Divides by the largest mean square so far, so that the size of steps never grows again;
        costs a third slot.

    References
    ----------
    Kingma, Ba, "Adam: A method for stochastic optimization", ICLR 2015.
    Reddi, Kale, Kumar, "On the convergence of Adam and beyond", ICLR 2018 (``amsgrad``).

    Examples
    --------
    >>> from ctrain.optimizers import Adam
    >>> Adam(amsgrad=True).slots()
    ('exp_avg', 'exp_avg_sq', 'max_exp_avg_sq')
    """

    kernel = "adam"
    _ranges: ClassVar = {
        "eps": POSITIVE_OR_ZERO,
        "weight_decay": POSITIVE_OR_ZERO,
        "amsgrad": bool,
    }
    _slots: ClassVar = {"exp_avg": None, "exp_avg_sq": None, "max_exp_avg_sq": "amsgrad"}
    _decoupled = False

    def __init__(self, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False):
        self.betas = betas
        self.eps = eps
        self.weight_decay = weight_decay
        self.amsgrad = amsgrad

    def validate(self) -> None:
        """Raise a ValueError that names the first parameter out of its range."""
        pair = isinstance(self.betas, (tuple, list)) and len(self.betas) == 2
        rule = pair and all(beta in BELOW_ONE for beta in self.betas)
        require(self, "betas", rule, f"a pair, each item {BELOW_ONE}")
        super().validate()

    def hyper(self) -> list[float]:
        """Pack the parameters for the kernel."""
        return [*map(float, self.betas), *super().hyper(), float(self._decoupled)]


class AdamW(Adam):
    r"""Adam with weight decay beside the gradient instead of in it: the default.

    .. math::

        m &\leftarrow \beta_1 m + (1 - \beta_1) g, \qquad
        v \leftarrow \beta_2 v + (1 - \beta_2) g^2 \\
        w &\leftarrow (1 - \eta \lambda) w - \eta \frac{m / (1 - \beta_1^t)}
        {\sqrt{v / (1 - \beta_2^t)} + \epsilon}

    Parameters
    ----------
    betas : tuple of two floats, default=(0.9, 0.999)
        How much of the running means a step keeps. The first smooths the direction (0.9: over
        about ten steps), the second the size of a step (0.999: over about a thousand).
    eps : float, default=1e-8
        Keeps the quotient finite; weights whose gradients are far below it hardly move.
    weight_decay : float, default=0.01
        :math:`\lambda`: each step shrinks weights by the factor
        :math:`1 - \eta \lambda`, whatever their gradients; larger values give smoother fits.
        Parameters declared ``decay=False`` are left out.
    amsgrad : bool, default=False
        Divides by the largest mean square so far, so that the size of steps never grows again;
        costs a third slot.

    Notes
    -----
    As in PyTorch the decay is multiplied by the learning rate of the step; Loshchilov and
    Hutter multiply it by the schedule's factor alone, so their values are smaller by
    ``learning_rate_init``.

    References
    ----------
    Loshchilov, Hutter, "Decoupled weight decay regularization", ICLR 2019.

    Examples
    --------
    >>> from sklearn.base import clone
    >>> from ctrain.optimizers import AdamW
    >>> clone(AdamW(weight_decay=0.1)).set_params(betas=(0.9, 0.95))
    AdamW(betas=(0.9, 0.95), weight_decay=0.1)
    """

    _decoupled = True

    def __init__(self, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01, amsgrad=False):
        super().__init__(betas, eps, weight_decay, amsgrad)


class RMSprop(Optimizer):
    r"""RMSprop: gradients divided by the root of their running mean square.

    .. math::

        g &\leftarrow g + \lambda w, \qquad
        v \leftarrow \alpha v + (1 - \alpha) g^2, \qquad
        a \leftarrow \alpha a + (1 - \alpha) g \\
        d &= \sqrt{v} + \epsilon \qquad (\text{centered: } \sqrt{v - a^2} + \epsilon) \\
        b &\leftarrow \mu b + g / d, \qquad w \leftarrow w - \eta \, b

    Parameters
    ----------
    alpha : float, default=0.99
        How much of the mean square a step keeps (0.99: over about a hundred steps). Not the L2
        penalty of the estimators.
    eps : float, default=1e-8
        Keeps the quotient finite.
    weight_decay : float, default=0.0
        :math:`\lambda`: an L2 penalty that joins the gradient and is scaled with it.
        Parameters declared ``decay=False`` are left out.
    momentum : float, default=0.0
        :math:`\mu`: the share of the last update that is kept. 0 keeps no buffer.
    centered : bool, default=False
        Divides by the standard deviation instead of the root mean square: longer steps where
        gradients agree. A variance that rounding makes negative counts as zero.

    Notes
    -----
    There is no bias correction: the first step is :math:`1 / \sqrt{1 - \alpha}` times as long
    as later ones.

    References
    ----------
    Tieleman, Hinton, "Lecture 6.5: RMSprop", Neural networks for machine learning, 2012.
    Graves, "Generating sequences with recurrent neural networks", 2013 (``centered``).

    Examples
    --------
    >>> from ctrain.optimizers import RMSprop
    >>> RMSprop(momentum=0.9, centered=True).slots()
    ('square_avg', 'grad_avg', 'momentum_buffer')
    """

    kernel = "rmsprop"
    _ranges: ClassVar = {
        "alpha": BELOW_ONE,
        "eps": POSITIVE_OR_ZERO,
        "weight_decay": POSITIVE_OR_ZERO,
        "momentum": UP_TO_ONE,
        "centered": bool,
    }
    _slots: ClassVar = {"square_avg": None, "grad_avg": "centered", "momentum_buffer": "momentum"}

    def __init__(self, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False):
        self.alpha = alpha
        self.eps = eps
        self.weight_decay = weight_decay
        self.momentum = momentum
        self.centered = centered


class Adagrad(Optimizer):
    r"""Adagrad: gradients divided by the root of the sum of all their squares.

    .. math::

        g &\leftarrow g + \lambda w, \qquad s \leftarrow s + g^2 \\
        w &\leftarrow w - \frac{\eta}{1 + (t - 1) \gamma} \frac{g}{\sqrt{s} + \epsilon}

    Parameters
    ----------
    lr_decay : float, default=0.0
        :math:`\gamma`: shortens steps further, to half after :math:`1 / \gamma` of them.
    weight_decay : float, default=0.0
        :math:`\lambda`: an L2 penalty that joins the gradient and is scaled with it.
        Parameters declared ``decay=False`` are left out.
    initial_accumulator_value : float, default=0.0
        Where the sum starts; a larger value shortens the first steps.
    eps : float, default=1e-10
        Keeps the quotient finite.

    Notes
    -----
    Steps only ever shrink. Weights whose gradients are mostly zero keep long steps, which is
    what sparse features want.

    References
    ----------
    Duchi, Hazan, Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization", JMLR 12, 2011.

    Examples
    --------
    >>> from ctrain.optimizers import Adagrad
    >>> Adagrad(initial_accumulator_value=0.1).initial()
    (0.1,)
    """

    kernel = "adagrad"
    _ranges: ClassVar = {
        "lr_decay": POSITIVE_OR_ZERO,
        "weight_decay": POSITIVE_OR_ZERO,
        "initial_accumulator_value": POSITIVE_OR_ZERO,
        "eps": POSITIVE_OR_ZERO,
    }
    _slots: ClassVar = {"sum": None}

    def __init__(self, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10):
        self.lr_decay = lr_decay
        self.weight_decay = weight_decay
        self.initial_accumulator_value = initial_accumulator_value
        self.eps = eps

    def initial(self) -> tuple[float, ...]:
        """Give the number that each slot starts from."""
        return (float(self.initial_accumulator_value),)


class LBFGS(Optimizer):
    """L-BFGS: a quasi-Newton method on the whole data set, through `scipy.optimize`.

    Each iteration reads all rows; a line search sets the length of its step, so there is no
    learning rate and no schedule. The choice for small, smooth problems: some hundred
    iterations reach a minimum that stochastic methods only circle.

    Parameters
    ----------
    max_iter : int or None, default=None
        Most iterations; None takes the estimator's ``max_iter``.
    tol : float, default=1e-5
        Stops when no element of the gradient is larger.
    memory : int, default=10
        Pairs of steps and gradients that describe the curvature, two arrays of the weights'
        size each. More of them take fewer iterations on badly scaled problems.

    References
    ----------
    Byrd, Lu, Nocedal, Zhu, "A limited memory algorithm for bound constrained optimization",
    SIAM Journal on Scientific Computing 16, 1995.

    Examples
    --------
    >>> from ctrain.optimizers import LBFGS
    >>> LBFGS(memory=20).options(max_iter=200)
    {'maxiter': 200, 'maxcor': 20, 'gtol': 1e-05, 'ftol': 0.0}
    """

    _ranges: ClassVar = {"tol": POSITIVE_OR_ZERO, "memory": Range(1, kind=Integral)}

    def __init__(self, max_iter=None, tol=1e-5, memory=10):
        self.max_iter = max_iter
        self.tol = tol
        self.memory = memory

    def validate(self) -> None:
        """Raise a ValueError that names the first parameter out of its range."""
        allowed = Range(1, kind=Integral)
        rule = self.max_iter is None or self.max_iter in allowed
        require(self, "max_iter", rule, f"None or {allowed}")
        super().validate()

    def options(self, max_iter: int) -> dict[str, float]:
        """Options of `scipy.optimize.minimize`; ``max_iter`` counts where the own one is None."""
        return {
            "maxiter": max_iter if self.max_iter is None else int(self.max_iter),
            "maxcor": int(self.memory),
            "gtol": float(self.tol),
            "ftol": 0.0,
        }


OPTIMIZERS: dict[str, type[Optimizer]] = {
    "sgd": SGD,
    "adam": Adam,
    "adamw": AdamW,
    "rmsprop": RMSprop,
    "adagrad": Adagrad,
    "lbfgs": LBFGS,
}


def resolve(optimizer: str | Optimizer) -> Optimizer:
    """Give the optimizer of a name, or the object itself, with its parameters checked.

    Parameters
    ----------
    optimizer : str or Optimizer
        A key of `OPTIMIZERS`, which stands for its class with default parameters, or an object.

    Returns
    -------
    Optimizer
        An object whose parameters are in range.

    Raises
    ------
    ValueError
        If it is an unknown name, or a parameter is out of its range.
    TypeError
        If it is neither.

    Examples
    --------
    >>> from ctrain.optimizers import resolve
    >>> resolve("adamw")
    AdamW()
    """
    if isinstance(optimizer, str):
        optimizer = find("optimizer", optimizer, OPTIMIZERS)()
    if not isinstance(optimizer, Optimizer):
        raise TypeError(
            f"optimizer must be a name ({', '.join(OPTIMIZERS)}) or an object such as AdamW(). "
            f"Got {optimizer!r} instead."
        )
    optimizer.validate()
    return optimizer
