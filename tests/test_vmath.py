"""Elementary functions: units in the last place, on every CPU target."""

from __future__ import annotations

from functools import cache
from zlib import crc32

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import special

import ctrain
from ctrain._core import dispatch
from ctrain._core.plan import compile_plan
from ctrain._core.program import Program
from ctrain._core.source import Arrays
from ctrain._core.step import predict

TARGETS = dispatch.available()
DTYPES = ("float32", "float64")
POINTS = 100_000
LONG = np.longdouble
assert np.finfo(LONG).nmant >= 63, "references in float64 need a wider type"


def upper_tail(z):
    """exp(z^2) erfc(z) for z >= 1.5, Laplace's continued fraction."""
    t = np.zeros_like(z)
    for n in range(220, 0, -1):
        t = (LONG(n) / 2) / (z + t)
    return 1 / (np.sqrt(LONG(np.pi) + LONG(1.2246467991473532e-16)) * (z + t))


def erf_series(z):
    """erf(z) for |z| <= 1.5: a series of terms of one sign."""
    term = z * 2 / np.sqrt(LONG(np.pi) + LONG(1.2246467991473532e-16))
    total = term.copy()
    for n in range(1, 60):
        term = term * 2 * z * z / (2 * n + 1)
        total += term
    return total * np.exp(-z * z)


def erf(x):
    if x.dtype == np.float64:  # what float32 is compared with
        return special.erf(x)
    z = np.abs(x)
    large = np.clip(z, LONG(1.5), LONG(120))
    far = 1 - upper_tail(large) * np.exp(-large * large)
    return np.copysign(np.where(z <= 1.5, erf_series(np.minimum(z, LONG(1.5))), far), x)


def gelu(x):
    """x Phi(x), Phi(x) = erfc(-x / sqrt(2)) / 2; the limits at infinity."""
    x, infinite = np.where(np.isinf(x), 0, x), np.where(np.isinf(x), np.maximum(x, 0), 0)
    if x.dtype == np.float64:  # what float32 is compared with
        return x * special.ndtr(x) + infinite
    z = np.abs(x) / np.sqrt(LONG(2))
    small = np.minimum(z, LONG(1.5))
    large = np.clip(z, LONG(1.5), LONG(120))
    tail = np.where(z <= 1.5, 1 - erf_series(small), upper_tail(large) * np.exp(-large * large)) / 2
    return np.where(x < 0, x * tail, x - x * tail) + infinite


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def floor_of_gelu(x):
    """gelu is measured against the larger of itself and |x| / 1024."""
    return np.abs(x) / 1024


#: name: reference, range of interest, points with something near them, size to measure by, bound
FUNCTIONS = {
    "exp": (
        np.exp,
        (-110, 92),
        (0, 88.7228, -87.3365, -103.97, 709.7827, -708.3964, -745.13),
        None,
        4,
    ),
    "log": (np.log, (1e-6, 1e6), (1, 0.7071, 1.4142, 2), None, 4),
    "log1p": (np.log1p, (-1, 100), (0, -1, -0.2929, 0.4142), None, 4),
    "tanh": (np.tanh, (-20, 20), (0, 0.5, 9.01, 19.06), None, 4),
    "sigmoid": (sigmoid, (-110, 40), (0, 17.3, 36.7, -87.3, -103.9, -708.4, -745.1), None, 4),
    "erf": (erf, (-6, 6), (0, 0.5, 1.5, 3.9, 5.9), None, 4),
    "gelu": (gelu, (-15, 15), (0, 0.7071, 5.6, 8.3, -7.5, -12, -37.66), floor_of_gelu, 4),
    "sqrt": (np.sqrt, (0, 1e6), (0, 1, 2), None, 0.5),
}


@cache
def points(name: str, dtype: str) -> np.ndarray:
    """A tenth around the interesting points, half spread evenly, the rest all bit patterns."""
    _, (low, high), near, *_ = FUNCTIONS[name]
    rng = np.random.default_rng(crc32(name.encode()))
    tiny, huge, eps = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max, np.finfo(dtype).eps
    corners = [
        0.0,
        -0.0,
        tiny,
        3 * tiny,
        np.finfo(dtype).tiny,
        huge,
        np.inf,
        np.nan,
        eps,
        1.0,
        *near,
    ]
    edges = np.array(corners, dtype)
    edges = np.concatenate([edges, -edges, np.nextafter(edges, huge), np.nextafter(edges, -huge)])
    scale = 10.0 ** rng.uniform(np.log10(eps), 0, POINTS // 10)
    around = rng.choice(near, scale.size) + scale * rng.choice([-1, 1], scale.size)
    bits = rng.integers(0, 2**64, 4 * POINTS // 10, dtype=np.uint64, endpoint=False)
    patterns = (bits >> np.uint64(64 - 8 * edges.itemsize)).astype(f"u{edges.itemsize}").view(dtype)
    spread = rng.uniform(low, high, POINTS // 2).astype(dtype)
    x = np.concatenate([edges, around.astype(dtype), patterns, spread])
    return np.where(np.isnan(x), np.array(np.nan, dtype), x)


def computed(name: str, dtype: str) -> np.ndarray:
    x = points(name, dtype)
    tape = ctrain.Tape(dtype)
    y = getattr(tape, name)(tape.input((), name="x"))
    program = Program(compile_plan(tape, 4096, outputs=[y]), 1, 0)
    out = np.empty_like(x)
    predict(program, Arrays(x=x), [out])
    return out


def values() -> dict[str, np.ndarray]:
    """All points, and the ends, on the target in use."""
    kept = {f"{name} {dtype}": computed(name, dtype) for name in FUNCTIONS for dtype in DTYPES}
    return kept | ends()


def unit(size: np.ndarray) -> np.ndarray:
    """The last place of positive numbers, of the largest and of subnormal ones too."""
    info = np.finfo(size.dtype)
    exponent = np.maximum(np.frexp(size)[1] - 1, info.minexp)
    return np.ldexp(np.ones_like(size), exponent - info.nmant)


def test_there_are_enough_points():
    for name in FUNCTIONS:
        for dtype in DTYPES:
            x = points(name, dtype)
            finite = x[np.isfinite(x)]
            assert len(x) >= POINTS and np.isinf(x).any() and np.isnan(x).any()
            assert (np.abs(finite[finite != 0]) < np.finfo(dtype).tiny).sum() > 10


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("target", TARGETS)
def test_units_in_the_last_place(on_target, target, name, dtype):
    reference, _, _, floor, bound = FUNCTIONS[name]
    x, y = points(name, dtype), on_target(target, "test_vmath", "values")[f"{name} {dtype}"]
    wide = x.astype(np.float64 if dtype == "float32" else LONG)
    with np.errstate(all="ignore"):
        exact = reference(wide)
        rounded = exact.astype(dtype)
    special_value = ~np.isfinite(rounded) & ~(np.isfinite(exact) & np.isfinite(y))
    assert_array_equal(y[special_value], rounded[special_value])
    size = np.abs(rounded[~special_value])
    if floor is not None:
        size = np.maximum(size, floor(x[~special_value])).astype(dtype)
    ulp = unit(np.minimum(size, np.finfo(dtype).max)).astype(exact.dtype)
    errors = np.abs(y[~special_value] - exact[~special_value]) / ulp
    worst = int(errors.argmax())
    # half a unit is the rounding of the exact number
    assert errors[worst] <= bound + 1e-3, (float(x[~special_value][worst]), float(errors[worst]))


#: what happens at and beyond the ends, in both precisions
ENDS = {
    "exp": [(-np.inf, 0.0), (np.inf, np.inf), (1e9, np.inf), (-1e9, 0.0), (0.0, 1.0), (-0.0, 1.0)],
    "log": [(0.0, -np.inf), (-0.0, -np.inf), (-1.0, np.nan), (np.inf, np.inf), (1.0, 0.0)],
    "log1p": [(-1.0, -np.inf), (-2.0, np.nan), (np.inf, np.inf), (0.0, 0.0), (-0.0, -0.0)],
    "tanh": [(np.inf, 1.0), (-np.inf, -1.0), (100.0, 1.0), (0.0, 0.0), (-0.0, -0.0)],
    "sigmoid": [(np.inf, 1.0), (-np.inf, 0.0), (1e4, 1.0), (-1e4, 0.0), (0.0, 0.5)],
    "erf": [(np.inf, 1.0), (-np.inf, -1.0), (100.0, 1.0), (0.0, 0.0), (-0.0, -0.0)],
    "gelu": [(np.inf, np.inf), (1e30, 1e30), (-100.0, 0.0), (0.0, 0.0), (-0.0, -0.0)],
    "sqrt": [(0.0, 0.0), (-0.0, -0.0), (-1.0, np.nan), (np.inf, np.inf)],
}


def ends() -> dict[str, np.ndarray]:
    kept = {}
    for name, pairs in ENDS.items():
        for dtype in DTYPES:
            tape = ctrain.Tape(dtype)
            y = getattr(tape, name)(tape.input((), name="x"))
            tape.forward(x=np.array([*(x for x, _ in pairs), np.nan], dtype))
            kept[f"ends of {name} {dtype}"] = tape.value(y)
    return kept


@pytest.mark.parametrize("name", ENDS)
@pytest.mark.parametrize("target", TARGETS)
def test_ends(on_target, target, name):
    for dtype in DTYPES:
        y = on_target(target, "test_vmath", "values")[f"ends of {name} {dtype}"]
        wanted = np.array([*(y for _, y in ENDS[name]), np.nan], dtype)
        assert_array_equal(y, wanted)
        zero = (wanted == 0) & (np.array([*(x for x, _ in ENDS[name]), 1.0]) == 0)
        assert_array_equal(np.signbit(y[zero]), np.signbit(wanted[zero]))


@pytest.mark.skipif(not {"avx2", "avx512"} <= set(TARGETS), reason="this CPU has no AVX-512")
def test_the_same_bits_on_every_target_with_fma(on_target):
    wide, narrow = (on_target(target, "test_vmath", "values") for target in ("avx512", "avx2"))
    assert [key for key in wide if wide[key].tobytes() != narrow[key].tobytes()] == []
