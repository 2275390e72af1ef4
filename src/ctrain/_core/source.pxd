from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t

from ctrain._core.dispatch cimport ct_table


cdef class Source:
    cdef readonly tuple names
    cdef readonly tuple shapes
    cdef readonly Py_ssize_t n_rows
    cdef readonly Py_ssize_t n_fields
    cdef ptrdiff_t gather(
        self, const ct_table *kernels, const int64_t *index, int64_t first, ptrdiff_t rows,
        char **fields
    ) noexcept nogil


cdef struct Field:
    bint sparse
    const char *data
    int item
    ptrdiff_t row_stride
    ptrdiff_t col_stride
    ptrdiff_t width
    const char *indices
    int index_item
    const char *indptr
    int indptr_item


cdef class Arrays(Source):
    cdef Field *fields
    cdef list _keep
    cdef _dense(self, Field *field, name, array)
    cdef _sparse(self, Field *field, name, matrix)
    cdef ptrdiff_t gather(
        self, const ct_table *kernels, const int64_t *index, int64_t first, ptrdiff_t rows,
        char **fields
    ) noexcept nogil
