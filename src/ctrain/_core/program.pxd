from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t

from ctrain._core.dispatch cimport ct_frame, ct_node, ct_op, ct_param, ct_table, ct_update_args
from ctrain._core.optim cimport Optimizer
from ctrain._core.parallel cimport ct_team
from ctrain._core.source cimport Source
cdef extern from *:
    """
    static int ct_flag(const int *flag) { return __atomic_load_n(flag, __ATOMIC_RELAXED); }
    static void ct_raise_flag(int *flag) { __atomic_store_n(flag, 1, __ATOMIC_RELAXED); }
    """
    int ct_flag(const int *flag) noexcept nogil
    void ct_raise_flag(int *flag) noexcept nogil


cdef struct SlabTensor:  # a tensor that keeps all rows of the slab
    int32_t tensor
    bint is_grad
    Py_ssize_t offset
    Py_ssize_t row_bytes


cdef struct Use:  # one way in which rows reach a parameter
    const ct_node *node
    ct_param param
    int input


cdef struct WeightTile:
    int first_use
    int n_uses
    Py_ssize_t i0
    Py_ssize_t i1
    char *grad
    Py_ssize_t n
    bint squares
    bint add


cdef struct Chunk:  # of the update: whole rows of one parameter
    Py_ssize_t offset
    Py_ssize_t n
    bint decay
    char *transposed  # or NULL
    Py_ssize_t i0
    Py_ssize_t n_rows
    Py_ssize_t n_cols
    Py_ssize_t height


cdef struct Transposed:
    int stage
    int32_t tensor
    Py_ssize_t n_rows
    Py_ssize_t n_cols


cdef struct Late:  # a parameter whose gradient single nodes complete
    char *grad
    Py_ssize_t n


cdef struct Average:  # a parameter that moves towards a value, and its transposed copy or -1
    char *parameter
    int32_t value
    double momentum
    Py_ssize_t n
    int copy


cdef struct Span:  # [begin, end) of one of the order arrays
    int begin
    int end


cdef struct Stage:
    Span single
    Span rows
    Span rows_back
    Span single_back
    Span tiles


cdef struct Batch:  # the rows of one slab
    const int64_t *index
    int64_t first
    const int64_t *row
    ptrdiff_t rows
    ptrdiff_t at
    bint first_slab
    bint last_slab


cdef enum Phase:
    ROWS
    WEIGHTS
    UPDATE


cdef struct Job:  # what a team works on: pieces 0, 1, ... n - 1 of one phase
    Phase phase
    ptrdiff_t n
    const Batch *batch
    ptrdiff_t height  # rows of a tile
    int stage
    bint forward
    bint backward
    const ct_update_args *decayed
    const ct_update_args *plain


cdef class Memory:
    cdef list keep
    cdef char *_take(self, Py_ssize_t n_bytes, bint zeros=*)


cdef class Workspace(Memory):
    cdef ct_team team
    cdef bint weighted
    cdef Job job
    cdef Optimizer optimizer
    cdef ct_frame *frames
    cdef char **fields
    cdef int64_t *rows
    cdef char *slab
    cdef char **out
    cdef ptrdiff_t *bad
    cdef double *squares
    cdef int stopped
    cdef int threads
    cdef double polled
    cdef object error
    cdef Source source
    cdef weigh_alike(self, Program program)
    cdef char *weight(self, Program program) noexcept nogil
    cdef void poll(self) noexcept nogil


cdef class Program(Memory):
    cdef readonly object plan
    cdef readonly int n_threads
    cdef readonly object gradients
    cdef readonly int itemsize
    cdef public object fixed
    cdef object parameters
    cdef Py_ssize_t synced
    cdef list free
    cdef uint64_t seed
    cdef const ct_table *table
    cdef int n_tensors, n_nodes, n_outputs, n_fields, max_fields, n_tiles, n_slab, n_stages
    cdef int n_chunks, n_transposed, loss, count
    cdef bint has_random
    cdef Py_ssize_t tile_rows, slab_rows, tile_bytes, slab_bytes, weight_offset
    cdef double flops
    cdef Py_ssize_t n_weights
    cdef ct_node *nodes
    cdef const ct_op **op
    cdef uint8_t *reads_batch
    cdef uint8_t *param_inputs
    cdef Py_ssize_t *length
    cdef int *order
    cdef Stage *stages
    cdef char **value
    cdef char **grad
    cdef char **transposed
    cdef Py_ssize_t *value_in_tile
    cdef Py_ssize_t *grad_in_tile
    cdef SlabTensor *slab_tensors
    cdef WeightTile *tiles
    cdef Use *uses
    cdef Chunk *chunks
    cdef Transposed *transposes
    cdef int *outputs
    cdef Py_ssize_t *output_bytes
    cdef int *field_tensor
    cdef object bound
    cdef char *arena
    cdef char *grad_arena
    cdef Late *late
    cdef int n_late
    cdef Average *averages
    cdef int n_averages
    cdef _build_memory(self, plan)
    cdef _build_nodes(self, plan)
    cdef _build_stages(self, plan)
    cdef _build_weights(self, plan)
    cdef _build_outputs(self, plan)
    cdef _bind(self, Source source)
    cdef Workspace acquire(self, Source source)
    cdef release(self, Workspace ws)
    cdef void sync(self, Workspace ws) noexcept
    cdef void transpose(self, const Transposed *copy, Py_ssize_t j0, Py_ssize_t j1) noexcept nogil
    cdef void point(self, Workspace ws, ct_frame *frame, Py_ssize_t row) noexcept nogil
    cdef void track(self, Workspace ws) noexcept nogil
    cdef void run_single(self, Workspace ws, int stage, const Batch *batch) noexcept nogil
    cdef void written(self) noexcept
