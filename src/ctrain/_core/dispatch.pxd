from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

cdef extern from "kernels.h" nogil:
    enum:
        CT_SKIP
        CT_ASSIGN
        CT_ADD
        CT_SCRATCH

    ctypedef struct ct_node:
        const int32_t *inputs "in"
        int32_t n_in
        int32_t out
        int32_t kept
        const int64_t *ints
        const double *floats
        const uint8_t *grad
        uint64_t stream

    ctypedef struct ct_frame:
        char **value
        char **grad
        char **transposed
        const int64_t *row
        uint64_t seed
        uint64_t step
        void *scratch

    ctypedef void (*ct_forward)(const ct_node *, const ct_frame *, ptrdiff_t) noexcept nogil
    ctypedef void (*ct_backward)(const ct_node *, const ct_frame *, ptrdiff_t) noexcept nogil
    ctypedef void (*ct_param)(
        const ct_node *, const ct_frame *, ptrdiff_t, int, ptrdiff_t, ptrdiff_t, int
    ) noexcept nogil

    ctypedef struct ct_op:
        const char *name
        ct_forward forward
        ct_backward backward
        ct_param param

    ctypedef struct ct_update_args:
        double factor
        double clip_value
        double alpha
        double l1
        double decay
        const double *hyper
        const double *scalar

    ctypedef void (*ct_update)(
        const ct_update_args *, void *, const void *, void **, ptrdiff_t
    ) noexcept nogil
    ctypedef void (*ct_prepare)(const double *, int64_t, double, double *) noexcept nogil

    ctypedef struct ct_optimizer:
        const char *name
        ct_update update
        ct_prepare prepare

    ctypedef struct ct_window:
        int64_t series
        int64_t start
        int64_t origin
        int64_t length

    ctypedef struct ct_series:
        const char *data
        const char *mask
        ptrdiff_t series_stride
        ptrdiff_t time_stride
        ptrdiff_t col_stride
        ptrdiff_t mask_series_stride
        ptrdiff_t mask_time_stride
        ptrdiff_t first
        ptrdiff_t steps
        ptrdiff_t width
        int item
        int hides

    ctypedef struct ct_table:
        const char *target
        int32_t itemsize
        const ct_op *ops
        const ct_optimizer *optimizers
        void (*gemm)(
            ptrdiff_t, ptrdiff_t, ptrdiff_t, const void *, ptrdiff_t, ptrdiff_t, const void *,
            ptrdiff_t, void *, ptrdiff_t, const void *, int, void *
        ) noexcept nogil
        void (*transpose)(
            const void *, ptrdiff_t, void *, ptrdiff_t, ptrdiff_t, ptrdiff_t
        ) noexcept nogil
        double (*sum_squares)(const void *, ptrdiff_t) noexcept nogil
        void (*track)(void *, const void *, double, ptrdiff_t) noexcept nogil
        ptrdiff_t (*gather)(
            void *, const void *, int, ptrdiff_t, ptrdiff_t, const int64_t *, int64_t,
            ptrdiff_t, ptrdiff_t
        ) noexcept nogil
        ptrdiff_t (*gather_csr)(
            void *, const void *, int, const void *, int, const void *, int, const int64_t *,
            int64_t, ptrdiff_t, ptrdiff_t
        ) noexcept nogil
        ptrdiff_t (*gather_windows)(
            void *, const ct_series *, const ct_window *, ptrdiff_t
        ) noexcept nogil

    const ct_table *ct_table_for(const char *, int)
    const char *ct_best_target()

cdef const ct_table *table(int itemsize) noexcept nogil
cdef const ct_op *find_op(const ct_table *, const char *name) noexcept nogil
cdef const ct_optimizer *find_optimizer(const ct_table *, const char *name) noexcept nogil
