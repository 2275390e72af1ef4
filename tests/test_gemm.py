"""The matrix kernel against BLAS, and its bits."""

from __future__ import annotations

from hashlib import sha256
from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.linalg import blas

from ctrain._core import dispatch

TARGETS = dispatch.available()
DTYPES = ("float32", "float64")
BLAS = {"float32": blas.sgemm, "float64": blas.dgemm}
LARGEST = 70
#: sizes around every tile height and vector width, then some beyond the caches
EDGES = (1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 23, 24, 25, 31, 32, 33, 47, 48, 49, 63, 64, 65, 70)
BLOCKS = [(1, 1030, 1030), (130, 520, 600), (257, 129, 1025), (9, 2100, 70), (70, 33, 4100)]
FORMS = list(product(["plain", "transposed", "strided"], ["zero", "bias", "add"]))
FEW_FORMS = [("plain", "bias"), ("transposed", "add"), ("strided", "zero")]


def operands(m, n, k, dtype, form="plain", seed=0):
    rng = np.random.default_rng([m, n, k, seed])
    a, b = rng.normal(size=(m, k)).astype(dtype), rng.normal(size=(k, n)).astype(dtype)
    c, bias = rng.normal(size=(m, n)).astype(dtype), rng.normal(size=n).astype(dtype)
    if form == "transposed":
        a = np.asfortranarray(a)
    elif form == "strided":
        a = np.pad(a, ((0, 0), (1, 2)))[:, 1 : k + 1]
    return a, b, c, bias


def product_of(a, b, c, bias, start):
    out = c.copy() if start == "add" else np.full_like(c, np.nan)
    dispatch.gemm(a, b, out, bias=bias if start == "bias" else None, add=start == "add")
    return out


def assert_close(ours, a, b, begin, dtype):
    """Within the bound of any order of summation, k + 1 roundings, of the sum of magnitudes."""
    theirs = np.asarray(BLAS["float64"](1.0, a.astype("f8"), b.astype("f8"))) + begin
    magnitude = np.abs(a).astype("f8") @ np.abs(b).astype("f8") + np.abs(begin)
    bound = (a.shape[1] + 2) * np.finfo(dtype).eps / 2
    # the reference is rounded too, in float64
    assert np.all(np.abs(ours - theirs) <= 2 * bound * magnitude), (a.shape, b.shape)


def begins(c, bias, start):
    return {"zero": 0.0, "bias": bias.astype("f8"), "add": c.astype("f8")}[start]


def sizes():
    """Every edge in each place, the others drawn from all sizes up to 70."""
    rng = np.random.default_rng(0)
    for place in range(3):
        for edge in EDGES:
            size = rng.integers(1, LARGEST + 1, 3)
            size[place] = edge
            yield tuple(int(s) for s in size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form, start", FORMS)
def test_against_blas(form, start, dtype):
    for m, n, k in [*sizes(), *((s, s, s) for s in range(1, LARGEST + 1))]:
        a, b, c, bias = operands(m, n, k, dtype, form)
        assert_close(product_of(a, b, c, bias, start), a, b, begins(c, bias, start), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", BLOCKS, ids=str)
def test_blocks(size, dtype):
    for form, start in FEW_FORMS:
        a, b, c, bias = operands(*size, dtype, form)
        assert_close(product_of(a, b, c, bias, start), a, b, begins(c, bias, start), dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_errors_are_as_small_as_those_of_blas(dtype):
    """Largest error over many products, beside that of SciPy's BLAS in the same precision."""
    ours, theirs = 0.0, 0.0
    for m, n, k in sizes():
        a, b, c, bias = operands(m, n, k, dtype)
        exact = a.astype("g") @ b.astype("g")
        ours = max(ours, float(np.abs(product_of(a, b, c, bias, "zero") - exact).max()))
        theirs = max(theirs, float(np.abs(BLAS[dtype](1.0, a, b) - exact).max()))
    # one chain over k against a few shorter ones
    assert ours <= 4 * theirs


def one_chain(a, b, begin):
    """The promised value: one fused multiply-add after the other over k, in float64 of float32.

    Inputs have 15 bits, so that their product needs more than float32 and its sum with a float32
    number is exact in float64: rounded once, as a fused multiply-add does.
    """
    total = np.broadcast_to(begin, (a.shape[0], b.shape[1])).astype("f4")
    for p in range(a.shape[1]):
        exact = a[:, p, None].astype("f8") * b[p].astype("f8") + total.astype("f8")
        total = exact.astype("f4")
    return total


@pytest.mark.skipif(dispatch.target() == "baseline", reason="the baseline has no FMA")
@pytest.mark.parametrize("start", ["zero", "bias", "add"])
@pytest.mark.parametrize("size", [(5, 17, 70), (9, 33, 300), (1, 1, 64), (65, 130, 1025)], ids=str)
def test_each_element_is_one_chain_of_fma(size, start):
    m, n, k = size
    rng = np.random.default_rng(1)
    a = (rng.integers(-(2**15), 2**15, (m, k)) / 2**15).astype("f4")
    b = (rng.integers(-(2**15), 2**15, (k, n)) / 2**15).astype("f4")
    c, bias = (rng.integers(-99, 99, s).astype("f4") for s in ((m, n), (n,)))
    ours = product_of(a, b, c, bias, start)
    assert_array_equal(ours, one_chain(a, b, {"zero": 0, "bias": bias, "add": c}[start]))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("start", ["zero", "bias", "add"])
def test_a_row_does_not_depend_on_its_place(start, dtype):
    for n, k in ((1, 5), (17, 33), (50, 70), (600, 1100)):
        a, b, c, bias = operands(29, n, k, dtype)
        whole = product_of(a, b, c, bias, start)
        for rows in (*([r] for r in range(29)), np.arange(28, -1, -1), np.arange(3, 20)):
            part = product_of(a[rows], b, c[rows], bias, start)
            assert part.tobytes() == np.ascontiguousarray(whole[rows]).tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_layout_of_a_does_not_matter(dtype):
    for m, n, k in sizes():
        a, b, c, bias = operands(m, n, k, dtype)
        plain = product_of(a, b, c, bias, "bias")
        for form in ("transposed", "strided"):
            other, *_ = operands(m, n, k, dtype, form)
            assert product_of(other, b, c, bias, "bias").tobytes() == plain.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_sum_over_rows_can_be_continued(dtype):
    """What slabs rely on: the product of all rows, or of some and then the others on top."""
    a, b, c, bias = operands(19, 35, 200, dtype, "transposed")
    whole = product_of(a, b, c, bias, "zero")
    part = product_of(a[:, :64], b[:64], c, bias, "zero")
    assert product_of(a[:, 64:], b[64:], part, bias, "add").tobytes() == whole.tobytes()


@pytest.mark.parametrize("dtype", DTYPES)
def test_nothing_is_written_beyond(dtype):
    for m, n, k in sizes():
        a, b, _, bias = operands(m, n, k, dtype)
        memory = np.full(64 + m * n + 64, 7.0, dtype)
        out = memory[64:-64].reshape(m, n)
        dispatch.gemm(a, b, out, bias=bias)
        assert (memory[:64] == 7.0).all() and (memory[-64:] == 7.0).all()


def products() -> dict[str, np.ndarray]:
    """Those with a bias, and digests of all, on the target in use."""
    kept = {
        f"{m} {n} {k} {dtype}": product_of(*operands(m, n, k, dtype), "bias")
        for m, n, k in sizes()
        for dtype in DTYPES
    }
    for dtype, (form, start) in product(DTYPES, FORMS):
        digest = sha256()
        for size in [*sizes(), *(BLOCKS if (form, start) in FEW_FORMS else ())]:
            digest.update(product_of(*operands(*size, dtype, form), start).tobytes())
        kept[f"all of {dtype} {form} {start}"] = np.array(digest.hexdigest())
    return kept


@pytest.mark.skipif(not {"avx2", "avx512"} <= set(TARGETS), reason="this CPU has no AVX-512")
def test_the_same_bits_on_every_target_with_fma(on_target):
    wide, narrow = (on_target(target, "test_gemm", "products") for target in ("avx512", "avx2"))
    assert [key for key in wide if wide[key].tobytes() != narrow[key].tobytes()] == []


@pytest.mark.parametrize("target", TARGETS)
def test_targets(on_target, target):
    kept = on_target(target, "test_gemm", "products")
    for size in sizes():
        for dtype in DTYPES:
            a, b, _, bias = operands(*size, dtype)
            m, n, k = size
            assert_close(kept[f"{m} {n} {k} {dtype}"], a, b, bias.astype("f8"), dtype)


def test_special_values_arrive():
    a = np.array([[np.inf, 1.0], [0.0, np.nan], [1e30, -1e30], [1e38, 1e38]], "f4")
    b = np.array([[1.0], [2.0]], "f4")
    out = np.empty((4, 1), "f4")
    dispatch.gemm(a, b, out)
    assert_array_equal(out[:, 0], np.array([np.inf, np.nan, -1e30, 3e38], "f4"))


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda a, b, c: dispatch.gemm(a, b.T.copy(), c), r"gemm: a is \(3, 4\), b \(5, 4\)"),
        (
            lambda a, b, c: dispatch.gemm(a, b, c[:2]),
            r"gemm: a is \(3, 4\), b \(4, 5\), c \(2, 5\)",
        ),
        (
            lambda a, b, c: dispatch.gemm(a, b, c, np.ones(4)),
            r"bias must have shape \(5,\); got \(4,\)",
        ),
        (lambda a, b, c: dispatch.gemm(a[:0], b, c[:0]), r"gemm: sizes must be at least 1"),
    ],
)
def test_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(np.ones((3, 4)), np.ones((4, 5)), np.ones((3, 5)))
