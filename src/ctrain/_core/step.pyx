"""What Python asks of a program: steps, sums over rows, predictions.

a) Arguments are checked first; then everything runs without the GIL and cannot fail. A step whose
   loss or gradient is not finite, or that a signal interrupts, is abandoned before its update.
b) A parallel region is entered once per call, not once per phase: the calling thread leads, the
   others wait for jobs and take pieces of them. See ``ct_team`` in ``parallel.pxd``.
"""

from cython.parallel cimport parallel, threadid
from libc.math cimport INFINITY, isfinite, sqrt
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t, uintptr_t
from libc.string cimport memcpy

import numpy as np

from ctrain._core.dispatch cimport ct_update_args
from ctrain._core.optim cimport Optimizer
from ctrain._core.parallel cimport ct_dismiss, may_fork_join
from ctrain._core.phases cimport UPDATE_FLOPS, run_batch, run_update, serve, squared_norm
from ctrain._core.program cimport Program, Workspace, ct_flag
from ctrain._core.source cimport Source

from ctrain._core import plan as _plan
from ctrain._core.symbols import Level

cpdef enum Status:
    OK
    LOSS_NOT_FINITE
    GRADIENT_NOT_FINITE


cdef struct Call:  # what the calling thread does while the others serve it
    # one batch; without rows: the update alone
    const int64_t *index
    const int64_t *row
    int64_t step
    ptrdiff_t rows
    bint backward
    double sums[2]
    # many steps, if bounds is not NULL
    const int64_t *bounds
    ptrdiff_t n_steps
    const double *learning_rates
    double clip_norm
    ct_update_args args
    double *loss_sums
    double *weight_sums
    double *norms
    ptrdiff_t done
    Status status


cdef void take_steps(Program p, Workspace ws, Call *c) noexcept nogil:
    """Rows, weights, update, until the steps are done or one must be abandoned."""
    cdef ptrdiff_t s, rows
    cdef double norm
    cdef double *sums = c.sums
    cdef int k
    for s in range(c.n_steps):
        sums[0] = sums[1] = 0.0
        for k in range(p.n_threads):
            ws.frames[k].step = c.step + s
        rows = c.bounds[s + 1] - c.bounds[s]
        run_batch(p, ws, c.index + c.bounds[s], 0, c.row, rows, True, sums)
        if ct_flag(&ws.stopped):
            return
        c.loss_sums[s], c.weight_sums[s], c.norms[s] = sums[0], sums[1], 0.0
        if not isfinite(sums[0]) or not isfinite(sums[1]):
            c.status = LOSS_NOT_FINITE
            return
        if sums[1] != 0.0:
            norm = sqrt(squared_norm(p, ws)) / abs(sums[1])
            c.norms[s] = norm
            if not isfinite(norm):
                c.status = GRADIENT_NOT_FINITE
                return
            c.args.factor = min(1.0, c.clip_norm / (norm + 1e-6)) / sums[1]
            ws.optimizer.prepare(c.learning_rates[s])
            p.track(ws)
            run_update(p, ws, &c.args)
        c.done = s + 1


cdef void lead(Program p, Workspace ws, Call *c) noexcept nogil:
    if c.bounds != NULL:
        take_steps(p, ws, c)
    elif c.rows == 0:
        run_update(p, ws, &c.args)
    else:
        run_batch(p, ws, c.index, 0, c.row, c.rows, c.backward, c.sums)


cdef void run_call(Program p, Workspace ws, Call *c, ptrdiff_t rows) noexcept nogil:
    """Run a call on one thread, or with a team where its batches of `rows` rows are worth it."""
    cdef double update = 0.0 if ws.optimizer is None else UPDATE_FLOPS * p.n_weights
    # a forward pass over so few rows is one tile
    cdef bint alone = rows <= 8 and ws.optimizer is None and not c.backward
    ws.threads = 1
    if not alone and may_fork_join(p.n_threads, p.flops * rows + update):
        ws.threads = p.n_threads
    ws.team.dismissed = 0
    if ws.threads == 1:
        lead(p, ws, c)
        return
    with parallel(num_threads=p.n_threads):
        if threadid() == 0:
            lead(p, ws, c)
            ct_dismiss(&ws.team)
        else:
            serve(p, ws, threadid())


cdef int check_rows(const int64_t[::1] index, ptrdiff_t n_rows) except -1:
    cdef ptrdiff_t k
    for k in range(index.shape[0]):
        if not 0 <= index[k] < n_rows:
            raise ValueError(f"index {index[k]} is out of range for {n_rows} rows")
    return 0


def run_steps(
    Program p, Source source, const int64_t[::1] index, const int64_t[::1] bounds,
    const double[::1] learning_rates, Optimizer optimizer, progress, *,
    double clip_norm=INFINITY, double clip_value=INFINITY, double alpha=0.0, double l1=0.0,
    double[::1] loss_sums, double[::1] weight_sums, double[::1] norms
):
    """Take one optimizer step for each batch.

    Parameters
    ----------
    source : Source
    index : array of int64
        Rows of all batches, one after the other.
    bounds : array of int64, shape (n_steps + 1,)
        Batch s is ``index[bounds[s]:bounds[s + 1]]``.
    learning_rates : array of shape (n_steps,)
    optimizer : Optimizer
    progress : object
        Its attribute ``step`` is the number of the first step, which keys the random streams; it
        is set to the number after the last whole step, also when a signal ends the call.
    clip_norm, clip_value, alpha, l1 : float
    loss_sums, weight_sums, norms : arrays of shape (n_steps,)
        Filled with sum(weight * loss), sum(weight * count) and the norm of the gradient of
        the mean loss.

    Returns
    -------
    steps : int
        Whole steps taken; fewer than n_steps if the next one was abandoned.
    status : int
        OK, LOSS_NOT_FINITE or GRADIENT_NOT_FINITE.
    """
    cdef ptrdiff_t n_steps = bounds.shape[0] - 1, s, longest = 0
    cdef Workspace ws
    cdef Call call
    cdef int64_t first_step = progress.step
    for s in range(n_steps):
        longest = max(longest, bounds[s + 1] - bounds[s])
        if bounds[s + 1] <= bounds[s]:
            raise ValueError(f"bounds must rise; got {bounds[s]}, {bounds[s + 1]}")
    if n_steps and (bounds[0] < 0 or bounds[n_steps] > index.shape[0]):
        raise ValueError(f"bounds must lie in [0, {index.shape[0]}]")
    if longest > p.plan.batch:
        raise ValueError(f"a batch has {longest} rows; planned for {p.plan.batch}")
    check_rows(index, source.n_rows)
    if min(
        learning_rates.shape[0], loss_sums.shape[0], weight_sums.shape[0], norms.shape[0]
    ) < n_steps:
        raise ValueError(f"{n_steps} steps need arrays of that length")
    if optimizer.slots and optimizer.slots[0].size != p.parameters.arena.size:
        raise ValueError("the optimizer was made for another number of weights")
    if n_steps == 0:
        return 0, OK
    cdef const int64_t[::1] row = np.arange(longest)
    call.index, call.bounds, call.row, call.step = &index[0], &bounds[0], &row[0], first_step
    call.n_steps, call.learning_rates, call.clip_norm = n_steps, &learning_rates[0], clip_norm
    call.loss_sums, call.weight_sums, call.norms = &loss_sums[0], &weight_sums[0], &norms[0]
    call.done, call.status = 0, OK
    call.args.clip_value, call.args.alpha, call.args.l1 = clip_value, alpha, l1
    call.args.decay, call.args.hyper, call.args.scalar = 1.0, optimizer.hyper, optimizer.scalar
    ws = p.acquire(source)
    ws.optimizer = optimizer
    p.sync(ws)
    with nogil:
        run_call(p, ws, &call, longest)
    progress.step = first_step + call.done
    if call.done > 0:
        p.written()
    p.release(ws)
    return call.done, call.status


def accumulate(
    Program p, Source source, n_rows=None, *, index=None, bint backward=False, int64_t step=0
):
    """Run rows of a source as one batch.

    Parameters
    ----------
    n_rows : int, default=None
        The first rows; None = all.
    index : array of int64, default=None
        These rows instead.
    backward : bool, default=False
        Whether to sum gradients too, into ``program.gradients`` and, for a plan that keeps
        everything, beside every tensor.
    step : int
        Keys the random streams.

    Returns
    -------
    loss_sum, weight_sum : float
        sum(weight * loss) and sum(weight * count), in float64 and row order.
    """
    cdef Call call
    cdef int k
    cdef const int64_t[::1] rows = None
    cdef ptrdiff_t n
    call.index = call.row = call.bounds = NULL
    if index is not None:
        rows = np.ascontiguousarray(index, np.int64)
        n = rows.shape[0]
        if n == 0:
            raise ValueError("index must hold at least one row")
        check_rows(rows, source.n_rows)
        call.index = &rows[0]
    else:
        n = source.n_rows if n_rows is None else n_rows
        if not 0 < n <= source.n_rows:
            raise ValueError(f"n_rows must be in [1, {source.n_rows}]; got {n_rows}")
    if p.n_stages > 1 and n > p.slab_rows:
        raise ValueError(
            f"an operation that reads the whole batch was planned for {p.slab_rows} rows; got {n}"
        )
    cdef Workspace ws = p.acquire(source)
    call.sums[0] = call.sums[1] = 0.0
    call.rows, call.backward = n, backward
    for k in range(p.n_threads):
        ws.frames[k].step = step
    for k in range(p.n_outputs):
        ws.out[k] = NULL
    p.sync(ws)
    with nogil:
        run_call(p, ws, &call, n)
    p.release(ws)
    return call.sums[0], call.sums[1]


def update(Program p, Optimizer optimizer, double learning_rate, double factor=1.0):
    """Run the update phase alone, on ``factor * program.gradients`` as they are."""
    cdef Call call
    cdef Workspace ws = p.acquire(None)
    call.bounds, call.rows = NULL, 0
    call.args.factor, call.args.clip_value, call.args.decay = factor, INFINITY, 1.0
    call.args.alpha = call.args.l1 = 0.0
    call.args.hyper, call.args.scalar = optimizer.hyper, optimizer.scalar
    ws.optimizer = optimizer
    p.sync(ws)
    optimizer.prepare(learning_rate)
    with nogil:
        run_call(p, ws, &call, 0)
    p.written()
    p.release(ws)


def predict(Program p, Source source, outputs):
    """Compute the plan's outputs for every row of a source.

    Parameters
    ----------
    source : Source
    outputs : list of ndarray or None
        One C-contiguous array of shape (n_rows, ...) for each output, filled.

    Returns
    -------
    int
        -1, or the first row that holds a value which is not finite.
    """
    cdef ptrdiff_t n = source.n_rows, bad = -1
    if p.n_stages > 1 and n > p.slab_rows:
        raise ValueError(
            f"an operation that reads the whole batch was planned for {p.slab_rows} rows; got {n}"
        )
    if len(outputs) != p.n_outputs:
        raise ValueError(f"the plan has {p.n_outputs} outputs; got arrays for {len(outputs)}")
    cdef Workspace ws = p.acquire(source)
    cdef Call call
    cdef int k
    call.index = call.row = call.bounds = NULL
    call.rows, call.backward = n, False
    call.sums[0] = call.sums[1] = 0.0
    for k in range(p.n_outputs):
        array = outputs[k]
        if array is None:
            ws.out[k] = NULL
            continue
        if array.nbytes != n * p.output_bytes[k] or not array.flags.c_contiguous:
            raise ValueError(f"output {k} does not fit: {array.shape}, {array.dtype}")
        ws.out[k] = <char *><uintptr_t>array.ctypes.data
    p.sync(ws)
    with nogil:
        run_call(p, ws, &call, n)
    for k in range(p.n_threads):
        if ws.bad[k] >= 0 and (bad < 0 or ws.bad[k] < bad):
            bad = ws.bad[k]
    p.release(ws)
    return bad


def read(Program p, tensor, Py_ssize_t n_rows, bint gradient=False):
    """Copy a tensor, or its gradient, that the plan keeps after :meth:`accumulate`."""
    if not 0 < n_rows <= p.slab_rows:
        raise ValueError(f"the plan keeps at most {p.slab_rows} rows; got {n_rows}")
    cdef Workspace ws = p.free[len(p.free) - 1]
    cdef int t = tensor.id
    place = p.plan.grad[t] if gradient else p.plan.value[t]
    if place.kind in (_plan.ABSENT, _plan.TILE):
        return None
    p.point(ws, &ws.frames[0], 0)
    cdef char *at = ws.frames[0].grad[t] if gradient else ws.frames[0].value[t]
    shape = (n_rows, *tensor.shape) if tensor.level == Level.ROW else tensor.shape
    out = np.empty(shape, p.plan.tape.dtype)
    cdef char *to = <char *><uintptr_t>out.ctypes.data
    memcpy(to, at, out.nbytes)
    return out
