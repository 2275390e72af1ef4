from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t

from ctrain._core.dispatch cimport ct_update_args
from ctrain._core.program cimport Program, Workspace

cdef enum:
    UPDATE_FLOPS = 80  # what updating one weight counts for, beside flops of a matrix product


cdef void run_batch(
    Program p, Workspace ws, const int64_t *index, int64_t first, const int64_t *row,
    ptrdiff_t rows, bint backward, double *sums
) noexcept nogil
cdef double squared_norm(Program p, Workspace ws) noexcept nogil
cdef void run_update(Program p, Workspace ws, const ct_update_args *decayed) noexcept nogil
cdef void serve(Program p, Workspace ws, int thread) noexcept nogil
