"""Replays a plan: rows, weights, update.

a) One step is three parallel phases. *Rows*: each tile of rows runs the whole chain forward and
   backward in its core's cache. *Weights*: each tile of a parameter is owned by one thread, which
   adds all its uses. *Update*: each chunk of the arena is normalised, clipped, updated and copied
   transposed in one pass.
b) What one tile writes, no other tile writes. Tiles of parameters come from the plan, which never
   sees the number of threads; tiles of rows may be cut anywhere, because a row's bits do not
   depend on its tile. So threads change the time and nothing else.
c) Everything after the argument checks runs without the GIL and cannot fail. What goes wrong
   (a signal, a loss that is not finite) sets a flag, and the step is abandoned before the update.
d) The calling thread looks for signals after a tile, at most every 20 ms.
"""

from cython.parallel cimport prange, threadid
from libc.math cimport INFINITY, isfinite, sqrt
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t, uint8_t, uintptr_t
from libc.string cimport memcpy

import numpy as np

from ctrain._core.dispatch cimport ct_frame, ct_node, ct_update_args
from ctrain._core.optim cimport Optimizer
from ctrain._core.parallel cimport may_fork_join, now_seconds
from ctrain._core.program cimport (
    Batch,
    Chunk,
    Program,
    Use,
    WeightTile,
    Workspace,
    ct_flag,
)
from ctrain._core.source cimport Source

from ctrain._core import plan as _plan
from ctrain._core.symbols import Level

#: what updating one weight counts for, beside flops of a matrix product
cdef double UPDATE_FLOPS = 80.0
cdef Py_ssize_t ROW_BLOCK = _plan.ROW_BLOCK
cdef uint8_t SKIP = _plan.SKIP
cdef uint8_t ADD = _plan.ADD

cpdef enum Status:
    OK
    LOSS_NOT_FINITE
    GRADIENT_NOT_FINITE


cdef void run_tile(
    Program p, Workspace ws, int thread, const Batch *batch, ptrdiff_t r0, ptrdiff_t height,
    int stage, bint forward, bint backward
) noexcept nogil:
    cdef ptrdiff_t rows = min(height, batch.rows - r0), i, bad
    cdef ct_frame *frame = &ws.frames[thread]
    cdef char **fields
    cdef int64_t *ids
    cdef int k, j, t
    if ct_flag(&ws.stopped):
        return
    p.point(ws, frame, r0)
    if p.has_random:
        if batch.row != NULL:
            frame.row = batch.row + r0
        else:
            ids = ws.rows + thread * p.tile_rows
            for i in range(rows):
                ids[i] = batch.first + r0 + i if batch.index == NULL else batch.index[r0 + i]
            frame.row = ids
    if forward and stage == 0:
        fields = ws.fields + thread * p.max_fields
        for k in range(p.n_fields):
            t = p.field_tensor[k]
            if t >= 0:
                fields[k] = frame.value[t]
            else:
                fields[k] = frame.grad[p.loss] if t == -2 else NULL
        bad = ws.source.gather(
            p.table, NULL if batch.index == NULL else batch.index + r0, batch.first + r0,
            rows, fields
        )
        if bad >= 0 and (ws.bad[thread] < 0 or batch.at + r0 + bad < ws.bad[thread]):
            ws.bad[thread] = batch.at + r0 + bad
    if forward:
        for k in range(p.stages[stage].rows.begin, p.stages[stage].rows.end):
            j = p.order[k]
            p.op[j].forward(&p.nodes[j], frame, rows)
    if backward:
        for k in range(p.stages[stage].rows_back.begin, p.stages[stage].rows_back.end):
            j = p.order[k]
            p.op[j].backward(&p.nodes[j], frame, rows)
    elif stage == p.n_stages - 1:
        for k in range(p.n_outputs):
            if ws.out[k] != NULL:
                memcpy(
                    ws.out[k] + (batch.at + r0) * p.output_bytes[k],
                    frame.value[p.outputs[k]], rows * p.output_bytes[k]
                )
    if thread == 0:
        ws.poll()


cdef void run_rows(
    Program p, Workspace ws, const Batch *batch, int stage, bint forward, bint backward
) noexcept nogil:
    # a row's bits do not depend on its tile, so here the cut may look at the threads: as many tiles
    # for each, of whole register tiles
    cdef ptrdiff_t height = p.tile_rows, n = (batch.rows + height - 1) // height, i
    cdef bint many = batch.rows > 8 and may_fork_join(ws.threads, p.flops * batch.rows)
    if many:
        n = (n + ws.threads - 1) // ws.threads * ws.threads
        height = min(height, ((batch.rows + n - 1) // n + 7) // 8 * 8)
        n = (batch.rows + height - 1) // height
        for i in prange(n, num_threads=p.n_threads, schedule="dynamic", chunksize=1):
            run_tile(p, ws, threadid(), batch, i * height, height, stage, forward, backward)
    else:
        for i in range(n):
            run_tile(p, ws, 0, batch, i * height, height, stage, forward, backward)


cdef void run_weight_tile(
    Program p, Workspace ws, int thread, const Batch *batch, int tile_index
) noexcept nogil:
    cdef WeightTile *tile = &p.tiles[tile_index]
    cdef ct_frame *frame = &ws.frames[thread]
    cdef ptrdiff_t block = batch.rows if tile.n_uses == 1 else ROW_BLOCK
    cdef ptrdiff_t r0 = 0
    cdef Use *use
    cdef int u
    if ct_flag(&ws.stopped):
        return
    while r0 < batch.rows:
        p.point(ws, frame, r0)
        for u in range(tile.n_uses):
            use = &p.uses[tile.first_use + u]
            use.param(
                use.node, frame, min(block, batch.rows - r0), use.input, tile.i0, tile.i1,
                tile.add or not (batch.first_slab and r0 == 0 and u == 0)
            )
        r0 += block
    if tile.squares and batch.last_slab:
        ws.squares[tile_index] = p.table.sum_squares(tile.grad, tile.n)
    if thread == 0 and tile.n * batch.rows > 1000000:
        ws.poll()


cdef void run_weights(Program p, Workspace ws, const Batch *batch, int stage) noexcept nogil:
    cdef int begin = p.stages[stage].tiles.begin, end = p.stages[stage].tiles.end, i
    cdef bint many = end - begin > 1 and may_fork_join(ws.threads, p.flops * batch.rows)
    if many:
        for i in prange(begin, end, num_threads=p.n_threads, schedule="dynamic", chunksize=1):
            run_weight_tile(p, ws, threadid(), batch, i)
    else:
        for i in range(begin, end):
            run_weight_tile(p, ws, 0, batch, i)


cdef void run_single_back(Program p, Workspace ws, int stage, const Batch *batch) noexcept nogil:
    cdef ct_frame *frame = &ws.frames[0]
    cdef const ct_node *node
    cdef int k, j, i
    p.point(ws, frame, 0)
    for k in range(p.stages[stage].single_back.begin, p.stages[stage].single_back.end):
        j = p.order[k]
        node = &p.nodes[j]
        p.op[j].backward(node, frame, batch.rows if p.reads_batch[j] else 1)
        for i in range(node.n_in):
            if p.param_inputs[j] >> i & 1 and node.grad[i] != SKIP:
                p.op[j].param(
                    node, frame, 1, i, 0, p.length[node.inputs[i]], node.grad[i] == ADD
                )


cdef void run_slab(
    Program p, Workspace ws, const Batch *batch, bint forward, bint backward
) noexcept nogil:
    """All stages forward; then backward, weights and single nodes, stage by stage."""
    cdef int s, last = p.n_stages - 1
    for s in range(p.n_stages):
        if s > 0 or (backward and batch.first_slab):
            p.run_single(ws, s, batch)
        run_rows(p, ws, batch, s, True, backward and s == last)
    if backward:
        for s in range(last, -1, -1):
            if s < last:
                run_rows(p, ws, batch, s, False, True)
            run_weights(p, ws, batch, s)
            if batch.last_slab:
                run_single_back(p, ws, s, batch)


cdef void add_losses(Program p, Workspace ws, ptrdiff_t rows, double *sums) noexcept nogil:
    """Add weight * loss and weight * count of each row, in row order; weight 0 is no row."""
    cdef const char *loss = ws.frames[0].value[p.loss]
    cdef const char *count = NULL if p.count < 0 else ws.frames[0].value[p.count]
    cdef const char *weight = ws.weight(p)
    cdef ptrdiff_t r
    cdef double w
    if p.itemsize == 4:
        for r in range(rows):
            w = (<const float *>weight)[r]
            if w != 0.0:
                sums[0] += w * (<const float *>loss)[r]
                sums[1] += w * (1.0 if count == NULL else (<const float *>count)[r])
    else:
        for r in range(rows):
            w = (<const double *>weight)[r]
            if w != 0.0:
                sums[0] += w * (<const double *>loss)[r]
                sums[1] += w * (1.0 if count == NULL else (<const double *>count)[r])


cdef void run_batch(
    Program p, Workspace ws, const int64_t *index, int64_t first, const int64_t *row,
    ptrdiff_t rows, bint backward, double *sums
) noexcept nogil:
    """One logical batch, slab after slab; sums += weight * loss, weight * count."""
    cdef Batch batch
    cdef ptrdiff_t r0 = 0
    while r0 < rows:
        batch.index = NULL if index == NULL else index + r0
        batch.row = NULL if row == NULL else row + r0
        batch.first, batch.at = first + r0, r0
        batch.rows = min(p.slab_rows, rows - r0)
        batch.first_slab, batch.last_slab = r0 == 0, r0 + batch.rows == rows
        run_slab(p, ws, &batch, True, backward)
        if ct_flag(&ws.stopped):
            return
        if p.loss >= 0:
            p.point(ws, &ws.frames[0], 0)
            add_losses(p, ws, batch.rows, sums)
        r0 += batch.rows


cdef double squared_norm(Program p, Workspace ws) noexcept nogil:
    """Of the gradient sums; shares added in tile order."""
    cdef double total = 0.0
    cdef int k
    for k in range(p.n_tiles):
        if p.tiles[k].squares:
            total += ws.squares[k]
    for k in range(p.n_late):
        total += p.table.sum_squares(p.late[k].grad, p.late[k].n)
    return total


cdef void run_chunk(
    Program p, Optimizer optimizer, const ct_update_args *decayed, const ct_update_args *plain,
    int k
) noexcept nogil:
    cdef Chunk *chunk = &p.chunks[k]
    optimizer.update(
        decayed if chunk.decay else plain, p.arena, p.grad_arena, chunk.offset, chunk.n
    )
    if chunk.transposed != NULL:
        p.table.transpose(
            p.arena + chunk.offset * p.itemsize, chunk.n_cols,
            chunk.transposed + chunk.i0 * p.itemsize, chunk.n_rows,
            chunk.height, chunk.n_cols
        )


cdef void run_update(
    Program p, Workspace ws, Optimizer optimizer, const ct_update_args *decayed
) noexcept nogil:
    cdef ct_update_args plain = decayed[0]
    cdef int k
    cdef bint many = p.n_chunks > 1 and may_fork_join(ws.threads, UPDATE_FLOPS * p.n_weights)
    plain.alpha = plain.l1 = plain.decay = 0.0
    if many:
        for k in prange(p.n_chunks, num_threads=p.n_threads, schedule="static"):
            run_chunk(p, optimizer, decayed, &plain, k)
    else:
        for k in range(p.n_chunks):
            run_chunk(p, optimizer, decayed, &plain, k)


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
    cdef ptrdiff_t n_steps = bounds.shape[0] - 1, s, rows, longest = 0
    cdef Workspace ws
    cdef ct_update_args args
    cdef double sums[2]
    cdef double norm, scale, started, now
    cdef int status = OK, k
    cdef int64_t first_step = progress.step
    for s in range(n_steps):
        longest = max(longest, bounds[s + 1] - bounds[s])
        if bounds[s + 1] <= bounds[s]:
            raise ValueError(f"bounds must rise; got {bounds[s]}, {bounds[s + 1]}")
    if n_steps and (bounds[0] < 0 or bounds[n_steps] > index.shape[0]):
        raise ValueError(f"bounds must lie in [0, {index.shape[0]}]")
    if longest > p.plan.batch:
        raise ValueError(f"a batch has {longest} rows; planned for {p.plan.batch}")
    for s in range(index.shape[0]):
        if not 0 <= index[s] < source.n_rows:
            raise ValueError(f"index {index[s]} is out of range for {source.n_rows} rows")
    if min(
        learning_rates.shape[0], loss_sums.shape[0], weight_sums.shape[0], norms.shape[0]
    ) < n_steps:
        raise ValueError(f"{n_steps} steps need arrays of that length")
    if optimizer.slots and optimizer.slots[0].size != p.parameters.arena.size:
        raise ValueError("the optimizer was made for another number of weights")
    cdef const int64_t[::1] row = np.arange(longest)
    ws = p.acquire(source)
    p.sync(ws)
    args.clip_value, args.alpha, args.l1, args.decay = clip_value, alpha, l1, 1.0
    args.hyper, args.scalar = optimizer.hyper, optimizer.scalar
    with nogil:
        s = 0
        started = now_seconds()
        while s < n_steps:
            sums[0] = sums[1] = 0.0
            for k in range(p.n_threads):
                ws.frames[k].step = first_step + s
            rows = bounds[s + 1] - bounds[s]
            ws.threads = p.pace.choose(p.flops * rows)
            run_batch(p, ws, &index[bounds[s]], 0, &row[0], rows, True, sums)
            if ct_flag(&ws.stopped):
                break
            loss_sums[s], weight_sums[s], norms[s] = sums[0], sums[1], 0.0
            if not isfinite(sums[0]) or not isfinite(sums[1]):
                status = LOSS_NOT_FINITE
                break
            if sums[1] != 0.0:
                norm = sqrt(squared_norm(p, ws)) / abs(sums[1])
                norms[s] = norm
                if not isfinite(norm):
                    status = GRADIENT_NOT_FINITE
                    break
                scale = min(1.0, clip_norm / (norm + 1e-6))
                args.factor = scale / sums[1]
                optimizer.prepare(learning_rates[s])
                run_update(p, ws, optimizer, &args)
            s += 1
            now = now_seconds()
            p.pace.learn(p.flops * rows, now - started)
            started = now
    progress.step = first_step + s
    if s > 0:
        p.parameters.version += 1
        p.synced = p.parameters.version if not p.has_single() else -1
    p.release(ws)
    return s, status


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
    cdef double sums[2]
    cdef int k
    cdef const int64_t[::1] rows = None
    cdef const int64_t *at = NULL
    cdef ptrdiff_t n
    if index is not None:
        rows = np.ascontiguousarray(index, np.int64)
        n = rows.shape[0]
        if n == 0 or np.min(rows) < 0 or np.max(rows) >= source.n_rows:
            raise ValueError(f"index must hold rows in [0, {source.n_rows})")
        at = &rows[0]
    else:
        n = source.n_rows if n_rows is None else n_rows
        if not 0 < n <= source.n_rows:
            raise ValueError(f"n_rows must be in [1, {source.n_rows}]; got {n_rows}")
    if p.n_stages > 1 and n > p.slab_rows:
        raise ValueError(
            f"an operation that reads the whole batch was planned for {p.slab_rows} rows; got {n}"
        )
    cdef Workspace ws = p.acquire(source)
    sums[0] = sums[1] = 0.0
    for k in range(p.n_threads):
        ws.frames[k].step = step
    for k in range(p.n_outputs):
        ws.out[k] = NULL
    p.sync(ws)
    with nogil:
        run_batch(p, ws, at, 0, NULL, n, backward, sums)
    p.release(ws)
    return sums[0], sums[1]


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
    cdef Workspace ws = p.acquire(source)
    cdef double sums[2]
    cdef int k
    sums[0] = sums[1] = 0.0
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
        run_batch(p, ws, NULL, 0, NULL, n, False, sums)
    for k in range(p.n_threads):
        if ws.bad[k] >= 0 and (bad < 0 or ws.bad[k] < bad):
            bad = ws.bad[k]
    p.release(ws)
    return bad


def read(Program p, tensor, Py_ssize_t n_rows, bint gradient=False):
    """Copy a tensor, or its gradient, that the plan keeps after :meth:`accumulate`."""
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
