"""Sources: what fills a tile's inputs. None copies the data set; each converts while gathering."""

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t, uintptr_t
from libc.stdlib cimport calloc, free

import numpy as np
import scipy.sparse


cdef class Source:
    """Rows of data under names.

    Attributes
    ----------
    names : tuple of str
        Names of the tape's inputs that it fills, in the order of `gather`'s buffers; ``weight``
        is the weight of each row.
    shapes : tuple of tuple of int
        Row shape under each name.
    n_rows : int
    """

    cdef ptrdiff_t gather(
        self, const ct_table *kernels, const int64_t *index, int64_t first, ptrdiff_t rows,
        char **fields
    ) noexcept nogil:
        """Fill one buffer per name (NULL: not wanted) with `rows` rows: those of `index`, or
        first, first + 1, ... if it is NULL. Answer -1, or the first position of a row that is
        not finite."""
        return -1


cdef class Arrays(Source):
    """Dense arrays of any strides, memory maps and CSR matrices.

    Parameters
    ----------
    **arrays : ndarray or CSR matrix of shape (n_rows, ...)
        float32 or float64; not copied where rows can be walked with two strides.

    Examples
    --------
    >>> import numpy as np
    >>> Arrays(x=np.zeros((5, 3)), y=np.zeros(5)).shapes
    ((3,), ())
    """

    def __cinit__(self, **arrays):
        cdef Field *field
        self.names = tuple(arrays)
        self.n_fields = len(arrays)
        self.fields = <Field *>calloc(max(1, len(arrays)), sizeof(Field))
        if self.fields == NULL:
            raise MemoryError
        self._keep = []
        self.n_rows = -1
        shapes = []
        for k, (name, array) in enumerate(arrays.items()):
            field = &self.fields[k]
            if scipy.sparse.issparse(array):
                self._sparse(field, name, array)
                shapes.append((array.shape[1],))
            else:
                array = np.asanyarray(array)
                self._dense(field, name, array)
                shapes.append(array.shape[1:])
            if self.n_rows < 0:
                self.n_rows = array.shape[0]
            if array.shape[0] != self.n_rows:
                raise ValueError(
                    f"{name} has {array.shape[0]} rows, {self.names[0]} has {self.n_rows}"
                )
        self.shapes = tuple(shapes)

    def __dealloc__(self):
        free(self.fields)

    cdef _dense(self, Field *field, name, array):
        if array.dtype not in (np.float32, np.float64) or not array.dtype.isnative:
            raise TypeError(f"{name} must be float32 or float64; got {array.dtype}")
        if array.ndim == 0:
            raise ValueError(f"{name} must have a row axis; got a scalar")
        width = int(np.prod(array.shape[1:]))
        if array.ndim > 2:
            # one stride must walk a whole row
            array = np.ascontiguousarray(array).reshape(array.shape[0], width)
        self._keep.append(array)
        field.data = <const char *><uintptr_t>array.__array_interface__["data"][0]
        field.item = array.itemsize
        field.row_stride = array.strides[0]
        field.col_stride = array.strides[1] if array.ndim == 2 else array.itemsize
        field.width = width

    cdef _sparse(self, Field *field, name, matrix):
        if matrix.format != "csr":
            raise TypeError(f"{name} must be CSR; got {matrix.format}; call .tocsr()")
        if matrix.dtype not in (np.float32, np.float64):
            raise TypeError(f"{name} must be float32 or float64; got {matrix.dtype}")
        parts = [np.ascontiguousarray(a) for a in (matrix.data, matrix.indices, matrix.indptr)]
        self._keep.extend(parts)
        data, indices, indptr = parts
        if indices.size and not 0 <= indices.min() <= indices.max() < matrix.shape[1]:
            raise ValueError(f"{name}: a column index is not in [0, {matrix.shape[1]})")
        if indptr[0] != 0 or indptr[-1] > indices.size or np.any(np.diff(indptr) < 0):
            raise ValueError(f"{name}: indptr is not a CSR row pointer")
        field.sparse = True
        field.data = <const char *><uintptr_t>data.__array_interface__["data"][0]
        field.item = data.itemsize
        field.indices = <const char *><uintptr_t>indices.__array_interface__["data"][0]
        field.index_item = indices.itemsize
        field.indptr = <const char *><uintptr_t>indptr.__array_interface__["data"][0]
        field.indptr_item = indptr.itemsize
        field.width = matrix.shape[1]

    cdef ptrdiff_t gather(
        self, const ct_table *kernels, const int64_t *index, int64_t first, ptrdiff_t rows,
        char **fields
    ) noexcept nogil:
        cdef ptrdiff_t bad = -1, found
        cdef Py_ssize_t k
        cdef Field *f
        for k in range(self.n_fields):
            if fields[k] == NULL:
                continue
            f = &self.fields[k]
            if f.sparse:
                found = kernels.gather_csr(
                    fields[k], f.data, f.item, f.indices, f.index_item, f.indptr, f.indptr_item,
                    index, first, rows, f.width
                )
            else:
                found = kernels.gather(
                    fields[k], f.data, f.item, f.row_stride, f.col_stride, index, first, rows,
                    f.width
                )
            if found >= 0 and (bad < 0 or found < bad):
                bad = found
        return bad
