from libc.stdint cimport int64_t

from ctrain._core.dispatch cimport ct_optimizer, ct_update_args

cdef enum:
    MAX_SLOTS = 4


cdef class Optimizer:
    cdef const ct_optimizer *kernel
    cdef readonly object declaration
    cdef readonly object dtype
    cdef readonly tuple names
    cdef readonly list slots
    cdef public int64_t t
    cdef double hyper[16]
    cdef double scalar[8]
    cdef char *memory[MAX_SLOTS]
    cdef int n_slots
    cdef int itemsize
    cdef _attach(self, slot)
    cdef void prepare(self, double lr) noexcept nogil
    cdef void update(
        self, const ct_update_args *args, char *weights, const char *grad, Py_ssize_t offset,
        Py_ssize_t n
    ) noexcept nogil
