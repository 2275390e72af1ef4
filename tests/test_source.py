"""Sources: every layout of arrays arrives as NumPy would have it, and nothing is copied."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from numpy.testing import assert_array_equal
from series import memory_map, read_only, unaligned

import ctrain
from ctrain._core import dispatch
from ctrain._core.plan import compile_plan
from ctrain._core.program import Program
from ctrain._core.source import Arrays
from ctrain._core.step import accumulate, predict, read

RNG = np.random.default_rng(0)
ROWS = 83
WIDTHS = (1, 2, 7, 8, 16, 37, 130)
INDEX = np.array([5, 82, 0, 5, 17, 33, 34, 35, 82, 1])


def gathered(x, dtype, index=None, tile_rows=20):
    """All rows of a source, or some, in the order asked for; and the first bad row."""
    tape = ctrain.Tape(dtype)
    source = Arrays(x=x)
    y = tape.identity(tape.input(source.shapes[0], name="x"))
    n = source.n_rows if index is None else len(index)
    plan = compile_plan(tape, n, outputs=[y], keep=index is not None, tile_rows=tile_rows)
    program = Program(plan, 1, 0)
    if index is None:
        out = np.empty((n, *y.shape), dtype)
        bad = predict(program, source, [out])
        return out, bad
    accumulate(program, source, index=index)
    return read(program, y, n), None


def canonical(x):
    return x.toarray() if sp.issparse(x) else np.asarray(x)


def csr(x, index_dtype):
    matrix = sp.csr_array(np.where(np.abs(x) < 0.6, 0, x))
    matrix.indices, matrix.indptr = (a.astype(index_dtype) for a in (matrix.indices, matrix.indptr))
    return matrix


#: made of a C-ordered array of random numbers, (ROWS, width)
LAYOUTS = {
    "C": lambda x, _: x,
    "Fortran": lambda x, _: np.asfortranarray(x),
    "every other row": lambda x, _: np.repeat(x, 2, 0)[::2],
    "every third column": lambda x, _: np.repeat(x, 3, 1)[:, ::3],
    "rows backwards": lambda x, _: x[::-1].copy()[::-1],
    "columns backwards": lambda x, _: x[:, ::-1].copy()[:, ::-1],
    "both backwards in Fortran order": lambda x, _: np.asfortranarray(x[::-1, ::-1])[::-1, ::-1],
    "columns of a wider array": lambda x, _: np.pad(x, ((0, 0), (3, 2)))[:, 3:-2],
    "one row again and again": lambda x, _: np.broadcast_to(x[0], x.shape),
    "one column again and again": lambda x, _: np.broadcast_to(x[:, :1], x.shape),
    "memory map": lambda x, folder: memory_map(x, folder / "x.npy"),
    "read only": read_only,
    "unaligned": unaligned,
    "CSR, 32-bit indices": lambda x, _: csr(x, np.int32),
    "CSR, 64-bit indices": lambda x, _: csr(x, np.int64),
    "CSR matrix": lambda x, _: sp.csr_matrix(np.where(x > 0, x, 0)),
    "CSR without entries": lambda x, _: sp.csr_array(x.shape, dtype=x.dtype),
}


@pytest.mark.parametrize("computed", ["float32", "float64"])
@pytest.mark.parametrize("stored", ["float32", "float64"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, stored, computed, tmp_path):
    for width in WIDTHS:
        x = LAYOUTS[layout](RNG.normal(size=(ROWS, width)).astype(stored), tmp_path)
        wanted = canonical(x).astype(computed)
        assert wanted.shape == (ROWS, width)
        ours, bad = gathered(x, computed)
        assert bad == -1
        assert_array_equal(ours, wanted)
        assert_array_equal(gathered(x, computed, INDEX)[0], wanted[INDEX])


@pytest.mark.parametrize("shape", [(), (1,), (4, 3), (2, 5, 3)])
def test_row_shapes(shape):
    x = RNG.normal(size=(ROWS, *shape))
    assert_array_equal(gathered(x, "float64")[0], x)
    reordered = np.moveaxis(np.moveaxis(x, 0, -1).copy(), -1, 0)  # rows run fastest
    assert_array_equal(gathered(reordered, "float64", INDEX)[0], x[INDEX])


def test_duplicates_in_a_row_of_a_sparse_matrix_are_summed():
    data, columns = np.array([1.0, 2.0, 4.0, 8.0]), np.array([2, 0, 2, 1])
    x = sp.csr_array((data, columns, np.array([0, 3, 3, 4])), shape=(3, 4))
    assert_array_equal(gathered(x, "float64")[0], [[2, 0, 5, 0], [0, 0, 0, 0], [0, 8, 0, 0]])
    assert x.nnz == 4, "the matrix is left alone"


def targets():
    """Rows of all dense layouts on the target in use."""
    x = np.random.default_rng(1).normal(size=(ROWS, 37))
    return {
        f"{name} {stored} {computed}": gathered(LAYOUTS[name](x.astype(stored), None), computed)[0]
        for name in ("C", "Fortran", "columns backwards", "unaligned", "CSR, 32-bit indices")
        for stored in ("float32", "float64")
        for computed in ("float32", "float64")
    }


@pytest.mark.parametrize("target", dispatch.available())
def test_targets(on_target, target):
    for key, value in on_target(target, "test_source", "targets").items():
        assert_array_equal(value, targets()[key], err_msg=key)


BIG = 200_000  # rows of 16 float64 numbers: 25 MB


@pytest.mark.parametrize(
    "layout", ["C", "Fortran", "both backwards in Fortran order", "memory map", "CSR matrix"]
)
def test_nothing_is_copied(layout, tmp_path):
    x = LAYOUTS[layout](np.ones((BIG, 16)), tmp_path)
    tape = ctrain.Tape("float32")
    loss = tape.mean(tape.input((16,), name="x"))
    program = Program(compile_plan(tape, 512, loss=loss), 1, 0)
    tracemalloc.start()
    try:
        total, count = accumulate(program, Arrays(x=x))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (total, count) == (BIG, BIG)
    # sparse rows are checked to follow one another: their lengths, 8 bytes each
    assert peak < 100_000 + 8 * BIG * sp.issparse(x)


@pytest.mark.parametrize("layout", ["C", "Fortran", "rows backwards", "CSR, 64-bit indices"])
def test_a_source_is_a_view(layout):
    x = LAYOUTS[layout](np.ones((3, 4)), None)
    source = Arrays(x=x)
    tape = ctrain.Tape("float64")
    y = tape.identity(tape.input((4,), name="x"))
    program = Program(compile_plan(tape, 3, outputs=[y]), 1, 0)
    out = np.empty((3, 4))
    (x.data if sp.issparse(x) else x)[...] = 7.0
    predict(program, source, [out])
    assert_array_equal(out, np.full((3, 4), 7.0))


def test_a_source_keeps_its_arrays_alive():
    sources = [Arrays(x=np.full((1000, 100), float(k))) for k in range(20)]
    tape = ctrain.Tape("float64")
    loss = tape.mean(tape.input((100,), name="x"))
    program = Program(compile_plan(tape, 1000, loss=loss), 1, 0)
    assert [accumulate(program, s)[0] / 1000 for s in sources] == list(range(20))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("layout", ["C", "Fortran", "columns backwards", "CSR, 32-bit indices"])
def test_the_first_bad_row_is_told(layout, value):
    for width in (1, 8, 37):
        for rows in ([0], [ROWS - 1], [40, 41], [82, 21, 20]):
            x = RNG.normal(size=(ROWS, width)) + 3.0
            x[rows, width - 1] = value
            for dtype in ("float32", "float64"):
                laid_out = LAYOUTS[layout](x.copy(), None)
                ours, bad = gathered(laid_out, dtype)
                assert bad == min(rows)
                assert_array_equal(ours, canonical(laid_out).astype(dtype))


def test_what_float32_cannot_hold_is_bad():
    x = np.ones((5, 3))
    x[3, 1] = 1e39
    with np.errstate(over="ignore"):
        assert gathered(x, "float32")[1] == 3
    assert gathered(x, "float64")[1] == -1


def test_extremes_are_not_bad():
    x = np.array([[np.finfo("float32").max, -np.finfo("float32").max, 1e-45, -0.0]] * 3, "float32")
    for dtype in ("float32", "float64"):
        ours, bad = gathered(x, dtype)
        assert bad == -1
        assert_array_equal(ours, x)
        assert np.signbit(ours[0, 3])


def test_names_and_shapes():
    source = Arrays(x=np.zeros((5, 3)), y=np.zeros(5), z=sp.csr_array((5, 9)))
    assert source.names == ("x", "y", "z")
    assert source.shapes == ((3,), (), (9,))
    assert source.n_rows == 5


def broken_csr(indices=(0, 1), indptr=(0, 1, 2), data=(1.0, 1.0)):
    matrix = sp.csr_array(np.eye(2))
    matrix.indices, matrix.indptr, matrix.data = map(np.array, (indices, indptr, data))
    return matrix


REFUSED = [
    ({"x": np.zeros((3, 2), int)}, TypeError, r"x must be float32 or float64; got int64"),
    ({"x": np.zeros((3, 2), complex)}, TypeError, r"x must be float32 or float64; got complex128"),
    ({"x": np.zeros((3, 2), ">f8")}, TypeError, r"x must be float32 or float64; got >f8"),
    ({"x": np.array(1.0)}, ValueError, r"x must have a row axis; got a scalar"),
    ({"x": np.zeros((3, 2)), "y": np.zeros(4)}, ValueError, r"y has 4 rows, x has 3"),
    ({"x": sp.csc_array((3, 2))}, TypeError, r"x must be CSR; got csc; call .tocsr\(\)"),
    ({"x": sp.csr_array((3, 2), dtype=int)}, TypeError, r"x must be float32 or float64; got int64"),
    ({"x": broken_csr(indices=(0, 2))}, ValueError, r"x: a column index is not in \[0, 2\)"),
    ({"x": broken_csr(indices=(0, -1))}, ValueError, r"x: a column index is not in \[0, 2\)"),
    ({"x": broken_csr(indptr=(0, 3, 2))}, ValueError, r"x.*indptr"),
    ({"x": broken_csr(indptr=(0, 1, 3))}, ValueError, r"x.*indptr"),
    ({"x": broken_csr(indptr=(0, 1))}, ValueError, r"x.*indptr"),
    ({"x": broken_csr(data=(1.0,))}, ValueError, r"x.*indptr"),
]


@pytest.mark.parametrize("arrays, error, message", REFUSED, ids=[m for *_, m in REFUSED])
def test_refused(arrays, error, message):
    with pytest.raises(error, match=message):
        Arrays(**arrays)
