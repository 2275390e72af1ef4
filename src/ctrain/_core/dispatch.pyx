"""The kernels that fit this machine, chosen once at import; ``CTRAIN_CPU`` forces a target."""

import os

from libc.stdlib cimport free, malloc
from libc.string cimport strcmp

TARGETS = ("avx512", "avx2", "neon", "baseline")

cdef const ct_table *_float
cdef const ct_table *_double


def available():
    """Names of the targets that this machine can run, best first."""
    return tuple(t for t in TARGETS if ct_table_for(t.encode(), 4) != NULL)


def _choose():
    global _float, _double
    name = os.environ.get("CTRAIN_CPU") or ct_best_target().decode()
    if name not in available():
        raise ImportError(
            f"CTRAIN_CPU must name a target that this machine can run, one of "
            f"{', '.join(available())}; got {name!r}"
        )
    _float = ct_table_for(name.encode(), 4)
    _double = ct_table_for(name.encode(), 8)


_choose()


def target():
    """Name of the target in use."""
    return _float.target.decode()


cdef const ct_table *table(int itemsize) noexcept nogil:
    return _float if itemsize == 4 else _double


cdef const ct_op *find_op(const ct_table *kernels, const char *name) noexcept nogil:
    cdef const ct_op *op = kernels.ops
    while op.name != NULL:
        if strcmp(op.name, name) == 0:
            return op
        op += 1
    return NULL


cdef const ct_optimizer *find_optimizer(const ct_table *kernels, const char *name) noexcept nogil:
    cdef const ct_optimizer *optimizer = kernels.optimizers
    while optimizer.name != NULL:
        if strcmp(optimizer.name, name) == 0:
            return optimizer
        optimizer += 1
    return NULL


def kernel_names():
    """Operations that have kernels, in the order of ``kernels.h``."""
    names = []
    cdef const ct_op *op = _float.ops
    while op.name != NULL:
        names.append(op.name.decode())
        op += 1
    return tuple(names)


ctypedef fused real:
    float
    double


def gemm(const real[:, :] a, const real[:, ::1] b, real[:, ::1] c, const real[::1] bias=None,
         bint add=False, int repeat=1):
    """Run ``c = start + a @ b`` with the matrix kernel; for tests and benchmarks.

    Parameters
    ----------
    a : (m, k) array, any strides
    b : (k, n) array
    c : (m, n) array, overwritten
    bias : (n,) array, default=None
        What each row starts from.
    add : bool, default=False
        Start from `c` itself.
    repeat : int, default=1
        How often, without a Python call in between.
    """
    cdef ptrdiff_t m = a.shape[0], k = a.shape[1], n = b.shape[1]
    if b.shape[0] != k or c.shape[0] != m or c.shape[1] != n:
        raise ValueError(f"gemm: a is {(m, k)}, b {(b.shape[0], n)}, c {(c.shape[0], c.shape[1])}")
    if bias is not None and bias.shape[0] != n:
        raise ValueError(f"gemm: bias must have shape ({n},); got ({bias.shape[0]},)")
    if m == 0 or n == 0 or k == 0:
        raise ValueError("gemm: sizes must be at least 1")
    cdef const ct_table *kernels = table(sizeof(real))
    cdef const real *start = NULL if bias is None else &bias[0]
    cdef char *raw = <char *>malloc(CT_SCRATCH + 64)
    if raw == NULL:
        raise MemoryError
    cdef char *scratch = raw + (64 - <size_t>raw % 64) % 64
    cdef ptrdiff_t row = a.strides[0] // <ptrdiff_t>sizeof(real)
    cdef ptrdiff_t col = a.strides[1] // <ptrdiff_t>sizeof(real)
    cdef int _i
    with nogil:
        for _i in range(repeat):
            kernels.gemm(m, n, k, &a[0, 0], row, col, &b[0, 0], n, &c[0, 0], n, start, add, scratch)
    free(raw)
