"""Optimizers: PyTorch's trajectories, NumPy twins, bits, descent, declarations."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from reference.make_optimizers import CASES, SIZE, START, STEPS, STORE, gradient
from scipy.optimize import minimize, rosen, rosen_der
from sklearn.base import clone

from ctrain._core import dispatch, optim
from ctrain.optimizers import LBFGS, OPTIMIZERS, SGD, Adagrad, Adam, AdamW, RMSprop, resolve

DTYPES = ("float64", "float32")
KERNELS = [name for name, cls in OPTIMIZERS.items() if cls.kernel]
TARGETS = dispatch.available()
FMA_TARGETS = [target for target in TARGETS if target != "baseline"]


def fresh_slots(declaration, n, dtype):
    return [np.full(n, value, dtype) for value in declaration.initial()]


# --- PyTorch's trajectories ---------------------------------------------------------------------


def trajectories() -> dict[str, np.ndarray]:
    """Every case of the reference in both dtypes, on the target in use."""
    kept = {}
    for label, (name, parameters, lr) in CASES.items():
        declaration = resolve(OPTIMIZERS[name](**parameters))
        for dtype in DTYPES:
            weights, slots = START.astype(dtype), fresh_slots(declaration, SIZE, dtype)
            rows = []
            for t in range(1, STEPS[-1] + 1):
                data = gradient(weights.astype("float64"), t).astype(dtype)
                optim.apply_update(declaration, weights, data, slots, t, lr)
                if t in STEPS:
                    rows.append(weights.copy())
            kept[f"{label} {dtype}"] = np.array(rows)
    return kept


@pytest.fixture(scope="module")
def on_target(tmp_path_factory):
    """Trajectories on a target by its name, each made once in a process of its own."""

    @cache
    def run(target):
        store = tmp_path_factory.mktemp("optimizers") / f"{target}.npz"
        code = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            "import numpy, test_optimizers as test\n"
            f"assert test.dispatch.target() == {target!r}\n"
            f"numpy.savez({str(store)!r}, **test.trajectories())"
        )
        env = {**os.environ, "CTRAIN_CPU": target}
        subprocess.run([sys.executable, "-c", code], env=env, check=True)
        return dict(np.load(store))

    return run


@pytest.fixture(scope="module")
def torch_store():
    return dict(np.load(STORE))


def test_store_holds_exactly_the_cases(torch_store):
    wanted = {f"{label} {dtype}" for label in CASES for dtype in DTYPES}
    assert set(torch_store) - {"torch"} == wanted
    assert {name for name, _, _ in CASES.values()} == set(KERNELS)


@pytest.mark.parametrize("label", CASES)
@pytest.mark.parametrize("target", TARGETS)
def test_float64_follows_torch(on_target, torch_store, target, label):
    ours = on_target(target)[f"{label} float64"]
    assert_allclose(ours, torch_store[f"{label} float64"], rtol=1e-12, atol=0)


@pytest.mark.parametrize("label", CASES)
@pytest.mark.parametrize("target", TARGETS)
def test_float32_loses_no_more_than_torch(on_target, torch_store, target, label):
    """At most twice the distance to the float64 trajectory that PyTorch's float32 has."""
    exact = torch_store[f"{label} float64"]
    ours = np.abs(on_target(target)[f"{label} float32"] / exact - 1).max()
    theirs = np.abs(torch_store[f"{label} float32"] / exact - 1).max()
    assert ours <= 2 * theirs


@pytest.mark.skipif(len(FMA_TARGETS) < 2, reason="this machine has one target with FMA")
def test_targets_with_fma_agree_in_every_bit(on_target):
    first, *others = map(on_target, FMA_TARGETS)
    for other in others:
        for key, value in first.items():
            assert value.tobytes() == other[key].tobytes(), key


# --- NumPy twins --------------------------------------------------------------------------------


def twin_sgd(o, w, g, slots, t, lr, decay):
    g = g + o.weight_decay * decay * w
    if o.momentum:
        slots[0] = g if t == 1 else o.momentum * slots[0] + (1 - o.dampening) * g
        g = g + o.momentum * slots[0] if o.nesterov else slots[0]
    return w - lr * g


def twin_adam(o, w, g, slots, t, lr, decay):
    g = g + o.weight_decay * decay * w
    return adam_step(o, w, g, slots, t, lr)


def twin_adamw(o, w, g, slots, t, lr, decay):
    return adam_step(o, w, g, slots, t, lr) - lr * o.weight_decay * decay * w


def adam_step(o, w, g, slots, t, lr):
    b1, b2 = o.betas
    slots[0] = b1 * slots[0] + (1 - b1) * g
    slots[1] = v = b2 * slots[1] + (1 - b2) * g**2
    if o.amsgrad:
        slots[2] = v = np.maximum(slots[2], v)
    return w - lr * (slots[0] / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + o.eps)


def twin_rmsprop(o, w, g, slots, t, lr, decay):
    g = g + o.weight_decay * decay * w
    slots[0] = v = o.alpha * slots[0] + (1 - o.alpha) * g**2
    if o.centered:
        slots[1] = o.alpha * slots[1] + (1 - o.alpha) * g
        v = v - slots[1] ** 2
    g = g / (np.sqrt(v) + o.eps)
    if o.momentum:
        slots[-1] = g = o.momentum * slots[-1] + g
    return w - lr * g


def twin_adagrad(o, w, g, slots, t, lr, decay):
    g = g + o.weight_decay * decay * w
    slots[0] = slots[0] + g**2
    return w - lr / (1 + (t - 1) * o.lr_decay) * g / (np.sqrt(slots[0]) + o.eps)


TWINS = {
    "sgd": twin_sgd,
    "adam": twin_adam,
    "adamw": twin_adamw,
    "rmsprop": twin_rmsprop,
    "adagrad": twin_adagrad,
}
DECLARATIONS = [
    SGD(),
    SGD(weight_decay=0.05),
    SGD(momentum=0.9, dampening=0.3, weight_decay=0.05),
    SGD(momentum=0.9, nesterov=True),
    Adam(),
    Adam(weight_decay=0.05, amsgrad=True),
    AdamW(),
    AdamW(betas=(0.0, 0.5), eps=1e-3, weight_decay=0.3, amsgrad=True),
    RMSprop(weight_decay=0.05),
    RMSprop(momentum=0.9),
    RMSprop(centered=True),
    RMSprop(momentum=0.5, centered=True, weight_decay=0.05),
    Adagrad(),
    Adagrad(lr_decay=0.1, weight_decay=0.05, initial_accumulator_value=0.5),
]
TERMS = [
    {},
    {"factor": 0.25, "clip_value": 0.25},
    {"alpha": 0.05, "l1": 0.02},
    {"factor": 3.0, "clip_value": 1.0, "alpha": 0.05, "l1": 0.02, "decay": 0.0},
]


def name_of(declaration):
    return next(name for name, cls in OPTIMIZERS.items() if cls is type(declaration))


def data(n, dtype, seed=0):
    """Weights, some of them 0, and three gradients, far enough from zero not to be cancelled."""
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.2, 1.0, n) * rng.choice([-1, 1], n) * (np.arange(n) % 5 != 3)
    gradients = rng.uniform(0.5, 1.5, (3, n)) * rng.choice([-1, 1], (3, n))
    return weights.astype(dtype), gradients.astype(dtype)


def test_every_kernel_has_a_twin():
    assert set(TWINS) == set(KERNELS)
    assert {name_of(declaration) for declaration in DECLARATIONS} == set(KERNELS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("terms", TERMS, ids=lambda terms: "+".join(terms) or "plain")
@pytest.mark.parametrize("declaration", DECLARATIONS, ids=repr)
def test_three_steps_like_the_twin(declaration, terms, dtype):
    """Weights and slots, a rounding error of 32 units in the last place allowed."""
    twin, tolerance = TWINS[name_of(declaration)], 32 * np.finfo(dtype).eps
    for n in range(1, 41):
        weights, gradients = data(n, dtype, seed=n)
        slots = fresh_slots(declaration, n, dtype)
        w, s = weights.astype("float64"), fresh_slots(declaration, n, "float64")
        for t, g in enumerate(gradients, 1):
            optim.apply_update(declaration, weights, g, slots, t, 0.01, **terms)
            clip = terms.get("clip_value", np.inf)
            g = np.clip(terms.get("factor", 1.0) * g.astype("float64"), -clip, clip)
            g = g + terms.get("alpha", 0.0) * w + terms.get("l1", 0.0) * np.sign(w)
            w = twin(declaration, w, g, s, t, 0.01, terms.get("decay", 1.0))
        assert_allclose(weights, w, rtol=tolerance, atol=tolerance)
        for slot, expected in zip(slots, s, strict=True):
            assert_allclose(slot, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("declaration", DECLARATIONS, ids=repr)
def test_bits_depend_neither_on_length_nor_on_place(declaration, dtype):
    def run(first, n):
        """Three steps on elements [first, first + n) of longer arrays; the rest must not change."""
        part = slice(first, first + n)
        weights, gradients = data(80, dtype)
        arrays = [weights, *fresh_slots(declaration, 80, dtype)]
        before = [array.copy() for array in arrays]
        for t, g in enumerate(gradients, 1):
            w, *slots = (array[part] for array in arrays)
            optim.apply_update(declaration, w, g[part], slots, t, 0.1, l1=0.01)
        for array, old in zip(arrays, before, strict=True):
            assert_array_equal(np.delete(array, part), np.delete(old, part))
        return [array[part] for array in arrays]

    whole = run(0, 80)
    for first in (0, 1, 7):
        for n in range(1, 41):
            for array, expected in zip(run(first, n), whole, strict=True):
                assert array.tobytes() == expected[first : first + n].tobytes()


# --- single promises ----------------------------------------------------------------------------


@pytest.mark.parametrize("nesterov", [False, True])
def test_first_step_of_momentum_copies_the_gradient(nesterov):
    declaration = SGD(momentum=0.9, dampening=0.0 if nesterov else 0.5, nesterov=nesterov)
    weights, (g, *_) = data(19, "float64")
    old, buffer = weights.copy(), np.full(19, 123.0)
    optim.apply_update(declaration, weights, g, [buffer], 1, 0.1)
    assert_array_equal(buffer, g)
    assert_allclose(weights, old - 0.1 * (1.9 * g if nesterov else g), rtol=1e-15, atol=1e-15)


@pytest.mark.parametrize("name", KERNELS)
def test_no_decay_leaves_weight_decay_out(name):
    results = []
    for weight_decay, decay in ((0.3, 0.0), (0.0, 1.0), (0.3, 1.0)):
        declaration = OPTIMIZERS[name](weight_decay=weight_decay)
        weights, gradients = data(23, "float32")
        slots = fresh_slots(declaration, 23, "float32")
        for t, g in enumerate(gradients, 1):
            optim.apply_update(declaration, weights, g, slots, t, 0.1, decay=decay)
        results.append(weights)
    assert_array_equal(results[0], results[1])
    moved = weights != 0
    assert (results[2][moved] != results[1][moved]).mean() > 0.9


@pytest.mark.parametrize("declaration", DECLARATIONS, ids=repr)
def test_learning_rate_zero_keeps_weights(declaration):
    weights, gradients = data(23, "float32")
    old, slots = weights.copy(), fresh_slots(declaration, 23, "float32")
    for t, g in enumerate(gradients, 1):
        optim.apply_update(declaration, weights, g, slots, t, 0.0)
    assert_array_equal(weights, old)
    assert all(
        np.any(slot != value) for slot, value in zip(slots, declaration.initial(), strict=True)
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("declaration", DECLARATIONS, ids=repr)
def test_a_gradient_that_is_not_finite_is_not_hidden(declaration, bad):
    weights, (g, *_) = data(23, "float32")
    g[7] = bad
    optim.apply_update(declaration, weights, g, fresh_slots(declaration, 23, "float32"), 1, 0.1)
    assert_array_equal(np.flatnonzero(~np.isfinite(weights)), [7])


def test_clip_value_lets_nan_through_and_bounds_infinity():
    weights = np.zeros(3)
    optim.apply_update(
        SGD(), weights, np.array([np.nan, np.inf, -np.inf]), [], 1, 1.0, clip_value=0.5
    )
    assert_array_equal(weights, [np.nan, -0.5, 0.5])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("cls", [Adam, AdamW, RMSprop])
def test_eps_zero_keeps_weights_without_gradient(cls, dtype):
    declaration = cls(eps=0.0, weight_decay=0.0)
    weights, slots = np.ones(19, dtype), fresh_slots(declaration, 19, dtype)
    for t in range(1, 4):
        optim.apply_update(declaration, weights, np.zeros(19, dtype), slots, t, 0.1)
    assert_array_equal(weights, np.ones(19))


@pytest.mark.parametrize("dtype", DTYPES)
def test_centered_variance_of_a_constant_gradient_stays_a_number(dtype):
    """It is zero up to rounding, on either side."""
    declaration = RMSprop(alpha=0.9, centered=True)
    g = np.linspace(0.1, 7.0, 500).astype(dtype)
    weights, slots = np.ones(500, dtype), fresh_slots(declaration, 500, dtype)
    for t in range(1, 1001):
        optim.apply_update(declaration, weights, g, slots, t, 1e-9)
    square, mean = slots
    assert np.any(square.astype("longdouble") < mean.astype("longdouble") ** 2)
    assert np.all(np.isfinite(weights))


@pytest.mark.parametrize(
    "declaration",
    [SGD(momentum=0.5), Adam(betas=(0.5, 0.7)), RMSprop(0.5, momentum=0.5, centered=True)],
    ids=repr,
)
def test_slots_of_dead_units_end_at_zero(declaration):
    """Not at numbers below the smallest normal one, where arithmetic is slow."""
    weights, (g, *_) = data(19, "float32")
    slots = fresh_slots(declaration, 19, "float32")
    for t in range(1, 1001):
        optim.apply_update(declaration, weights, g if t == 1 else np.zeros_like(g), slots, t, 0.1)
    for slot in slots:
        assert_array_equal(slot, 0)


@pytest.mark.parametrize("beta", [0.9, 0.999, 0.9999999])
@pytest.mark.parametrize("t", [1, 2, 3, 1000, 10**6, 2**40 + 1])
def test_bias_correction_is_accurate_at_any_step(beta, t):
    """From empty slots, Adam's step is (1 - b1) / (1 - b1^t) sqrt(1 - b2^t) / sqrt(1 - b2)."""
    correction = -np.expm1(t * np.log1p(-(1 - beta)))
    for betas, expected in (
        ((beta, 0.0), (1 - beta) / correction),
        ((0.0, beta), np.sqrt(correction / (1 - beta))),
    ):
        weights, slots = np.zeros(1), [np.zeros(1), np.zeros(1)]
        optim.apply_update(Adam(betas=betas, eps=0.0), weights, np.ones(1), slots, t, 1.0)
        assert_allclose(-weights, expected, rtol=1e-13)


# --- descent ------------------------------------------------------------------------------------

# learning rates for the parabola and for Rosenbrock's valley
RATES = {
    "sgd": (SGD(momentum=0.9), 0.02, 2e-4),
    "adam": (Adam(), 0.05, 0.01),
    "adamw": (AdamW(weight_decay=0.0), 0.05, 0.01),
    "rmsprop": (RMSprop(), 0.01, 1e-3),
    "adagrad": (Adagrad(), 1.0, 0.5),
}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", KERNELS)
def test_descends(name, dtype):
    declaration, parabola_rate, valley_rate = RATES[name]
    scale = np.linspace(0.5, 5.0, 9)
    problems = (
        (lambda w: (scale * (w - 1) ** 2).sum(), lambda w: 2 * scale * (w - 1), 9, parabola_rate),
        (rosen, rosen_der, 2, valley_rate),
    )
    for loss, derivative, n, lr in problems:
        weights = np.full(n, -1.0, dtype)
        slots = fresh_slots(declaration, n, dtype)
        start = loss(weights.astype("float64"))
        for t in range(1, 5001):
            g = derivative(weights.astype("float64")).astype(dtype)
            optim.apply_update(declaration, weights, g, slots, t, lr)
        assert loss(weights.astype("float64")) < 1e-2 * start


def test_lbfgs_options_are_scipys():
    start = np.array([-1.2, 1.0])
    found = minimize(rosen, start, jac=rosen_der, method="L-BFGS-B", options=LBFGS().options(200))
    assert found.fun < 1e-8
    one = LBFGS(max_iter=1).options(200)
    assert minimize(rosen, start, jac=rosen_der, method="L-BFGS-B", options=one).nit == 1


# --- declarations -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_declarations_are_scikit_learn_objects(name):
    declaration = resolve(name)
    assert type(declaration) is OPTIMIZERS[name]
    assert repr(declaration) == f"{OPTIMIZERS[name].__name__}()"
    for key, value in declaration.get_params().items():
        assert getattr(declaration, key) is value
    assert clone(declaration).get_params() == declaration.get_params()
    assert resolve(declaration) is declaration
    assert len(declaration.initial()) == len(declaration.slots())


@pytest.mark.parametrize(
    ("declaration", "slots"),
    [
        (SGD(), ()),
        (SGD(momentum=0.9), ("momentum_buffer",)),
        (Adam(), ("exp_avg", "exp_avg_sq")),
        (AdamW(amsgrad=True), ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")),
        (RMSprop(), ("square_avg",)),
        (RMSprop(momentum=0.9), ("square_avg", "momentum_buffer")),
        (RMSprop(centered=True), ("square_avg", "grad_avg")),
        (RMSprop(centered=True, momentum=0.9), ("square_avg", "grad_avg", "momentum_buffer")),
        (Adagrad(initial_accumulator_value=0.5), ("sum",)),
        (LBFGS(), ()),
    ],
    ids=repr,
)
def test_state_is_what_the_formula_needs(declaration, slots):
    assert declaration.slots() == slots


@pytest.mark.parametrize(
    ("declaration", "message"),
    [
        (
            AdamW(weight_decay=-1),
            "The 'weight_decay' parameter of AdamW must be a float in the range [0.0, inf). "
            "Got -1 instead.",
        ),
        (Adam(eps=float("nan")), "The 'eps' parameter of Adam must be a float in the range [0.0"),
        (Adam(eps=float("inf")), "[0.0, inf). Got inf instead."),
        (Adam(betas=(0.9, 1.0)), "The 'betas' parameter of Adam must be a pair, each item a float"),
        (Adam(betas=0.9), "Got 0.9 instead."),
        (Adam(amsgrad=1), "The 'amsgrad' parameter of Adam must be an instance of 'bool'. Got 1"),
        (SGD(momentum=1.1), "The 'momentum' parameter of SGD must be a float in the range [0.0, 1"),
        (SGD(momentum="0.9"), "Got '0.9' instead."),
        (SGD(momentum=True), "Got True instead."),
        (SGD(dampening=-0.1), "'dampening'"),
        (SGD(nesterov=True), "SGD with nesterov=True needs momentum > 0 and dampening=0."),
        (SGD(momentum=0.9, dampening=0.1, nesterov=True), "Got momentum=0.9 and dampening=0.1"),
        (RMSprop(alpha=1.0), "The 'alpha' parameter of RMSprop must be a float in the range [0.0"),
        (RMSprop(centered=None), "'centered'"),
        (Adagrad(lr_decay=-1), "'lr_decay'"),
        (Adagrad(initial_accumulator_value=-1), "'initial_accumulator_value'"),
        (LBFGS(max_iter=0), "must be None or an int in the range [1, inf). Got 0 instead."),
        (LBFGS(memory=2.0), "The 'memory' parameter of LBFGS must be an int in the range [1, inf)"),
        (LBFGS(tol=-1e-3), "'tol'"),
    ],
    ids=repr,
)
def test_parameters_out_of_range(declaration, message):
    with pytest.raises(ValueError) as error:
        resolve(declaration)
    assert message in str(error.value)


def test_ends_of_ranges_and_numpy_numbers_are_accepted():
    for declaration in (
        SGD(momentum=1, dampening=1.0),
        AdamW(betas=[0, np.float32(0.5)], eps=0, weight_decay=np.float64(0), amsgrad=np.True_),
        RMSprop(alpha=0.0, momentum=1.0),
        LBFGS(max_iter=np.int64(3), memory=1, tol=0),
    ):
        assert resolve(declaration) is declaration


@pytest.mark.parametrize(
    ("optimizer", "error", "message"),
    [
        ("adamww", ValueError, "'rmsprop', 'sgd']; got 'adamww'; did you mean 'adamw'?"),
        ("AdamW", ValueError, "got 'AdamW'; did you mean 'adamw'?"),
        ("genetic", ValueError, "optimizer must be one of ['adagrad', 'adam', "),
        (AdamW, TypeError, "an object such as AdamW(). Got <class"),
        (None, TypeError, "Got None instead."),
    ],
)
def test_what_is_no_optimizer(optimizer, error, message):
    with pytest.raises(error) as info:
        resolve(optimizer)
    assert message in str(info.value)
