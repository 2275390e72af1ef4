from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t

from ctrain._core.dispatch cimport ct_series, ct_table, ct_window


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


cdef enum By:  # what picks a row's part of an array
    STEP  # its window
    SERIES  # the series of its window
    ROW  # its number


cdef class Windows(Source):
    cdef By by[8]
    cdef ct_series fields[8]
    cdef Py_ssize_t n_series
    cdef Py_ssize_t per_row  # windows of a row: 1, or all series
    cdef bint together
    cdef int64_t step_size
    cdef const int64_t[::1] origin
    cdef const int64_t[::1] length
    cdef const int64_t[::1] start
    cdef const int64_t[::1] first_row
    cdef list _keep
    cdef _lay_out(self, axes, offsets)
    cdef _enumerate(self, start, count, n_in, n_out, bint known)
    cdef _join(self)
    cdef _for_each_series(self, name, values)
    cdef _add(self, By by, name, array, first, steps, mask=*)
    cdef void find(
        self, ct_window *windows, int64_t *series, const int64_t *index, int64_t first,
        ptrdiff_t begin, ptrdiff_t n
    ) noexcept nogil
    cdef ptrdiff_t gather(
        self, const ct_table *kernels, const int64_t *index, int64_t first, ptrdiff_t rows,
        char **fields
    ) noexcept nogil
