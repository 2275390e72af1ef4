"""The three phases of a batch, cut into pieces that a team of threads takes.

a) *Rows*: each tile of rows runs the whole chain forward and backward in its core's cache.
   *Weights*: each tile of a parameter is owned by one thread, which adds all its uses. *Update*:
   each chunk of the arena is normalised, clipped, updated and copied transposed in one pass.
b) What one piece writes, no other piece writes. Tiles of parameters come from the plan, which never
   sees the number of threads; tiles of rows may be cut anywhere, because a row's bits do not
   depend on its tile. So threads change the time and nothing else.
c) Nothing here needs the GIL or can fail. The calling thread looks for signals after a tile, at
   most every 20 ms; what goes wrong sets a flag, and the tiles that have not begun are skipped.
"""

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int64_t, uint8_t
from libc.string cimport memcpy, memset

from ctrain._core.dispatch cimport ct_frame, ct_node, ct_update_args
from ctrain._core.optim cimport Optimizer
from ctrain._core.parallel cimport (
    ct_close,
    ct_deal,
    ct_enter,
    ct_leave,
    ct_open,
    ct_take,
    may_fork_join,
)
from ctrain._core.program cimport (
    ROWS,
    UPDATE,
    WEIGHTS,
    Batch,
    Chunk,
    Job,
    Program,
    SlabTensor,
    Use,
    WeightTile,
    Workspace,
    ct_flag,
)

from ctrain._core import plan as _plan

cdef Py_ssize_t ROW_BLOCK = _plan.ROW_BLOCK
cdef uint8_t SKIP = _plan.SKIP
cdef uint8_t ADD = _plan.ADD


cdef void drop_weightless(Program p, Workspace ws, ptrdiff_t r0, ptrdiff_t rows) noexcept nogil:
    """Clear what rows of weight 0 have left for the weights phase: 0 * infinity is not 0."""
    cdef const char *weight = ws.weight(p)
    cdef SlabTensor *slab
    cdef ptrdiff_t r
    cdef int k
    for r in range(r0, r0 + rows):
        if p.itemsize == 4 and (<const float *>weight)[r] != 0.0:
            continue
        if p.itemsize == 8 and (<const double *>weight)[r] != 0.0:
            continue
        for k in range(p.n_slab):
            slab = &p.slab_tensors[k]
            memset(ws.slab + slab.offset + r * slab.row_bytes, 0, slab.row_bytes)


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
        if ws.weighted and p.n_stages == 1:
            drop_weightless(p, ws, r0, rows)
    elif stage == p.n_stages - 1:
        for k in range(p.n_outputs):
            if ws.out[k] != NULL:
                memcpy(
                    ws.out[k] + (batch.at + r0) * p.output_bytes[k],
                    frame.value[p.outputs[k]], rows * p.output_bytes[k]
                )
    if thread == 0:
        ws.poll()


cdef void work(Program p, Workspace ws, int thread) noexcept nogil:
    """Take pieces of the open job until there are none."""
    cdef const Job *job = &ws.job
    cdef ptrdiff_t i
    while True:
        i = ct_take(&ws.team, thread, job.n)
        if i == job.n:
            return
        if job.phase == ROWS:
            run_tile(
                p, ws, thread, job.batch, i * job.height, job.height, job.stage, job.forward,
                job.backward
            )
        elif job.phase == WEIGHTS:
            run_weight_tile(p, ws, thread, job.batch, p.stages[job.stage].tiles.begin + i)
        else:
            run_chunk(p, ws.optimizer, job.decayed, job.plain, i)


cdef void share(Program p, Workspace ws, bint many) noexcept nogil:
    """Do the job in the workspace, together with the rest of the team if it is worth it."""
    many = many and ws.job.n > 1 and ws.threads > 1
    ct_deal(&ws.team, ws.threads if many else 1, ws.job.n)
    if many:
        ct_open(&ws.team)
    work(p, ws, 0)
    if many:
        ct_close(&ws.team)


cdef void serve(Program p, Workspace ws, int thread) noexcept nogil:
    """What the other threads of a team do until they are dismissed."""
    cdef int served = 0
    while ct_enter(&ws.team, &served):
        work(p, ws, thread)
        ct_leave(&ws.team)


cdef void run_rows(
    Program p, Workspace ws, const Batch *batch, int stage, bint forward, bint backward
) noexcept nogil:
    # a row's bits do not depend on its tile, so here the cut may look at the threads: as many tiles
    # for each, of whole register tiles
    cdef ptrdiff_t height = p.tile_rows, n = (batch.rows + height - 1) // height
    cdef bint many = batch.rows > 8 and may_fork_join(ws.threads, p.flops * batch.rows)
    if many:
        n = (n + ws.threads - 1) // ws.threads * ws.threads
        height = min(height, ((batch.rows + n - 1) // n + 7) // 8 * 8)
        n = (batch.rows + height - 1) // height
    ws.job.phase, ws.job.n, ws.job.batch, ws.job.height = ROWS, n, batch, height
    ws.job.stage, ws.job.forward, ws.job.backward = stage, forward, backward
    share(p, ws, many)


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
    ws.job.phase, ws.job.batch, ws.job.stage = WEIGHTS, batch, stage
    ws.job.n = p.stages[stage].tiles.end - p.stages[stage].tiles.begin
    share(p, ws, may_fork_join(ws.threads, p.flops * batch.rows))


cdef void run_single_back(Program p, Workspace ws, int stage, const Batch *batch) noexcept nogil:
    cdef ct_frame *frame = &ws.frames[0]
    cdef const ct_node *node
    cdef int k, j, i
    p.point(ws, frame, 0)
    ws.rows[0] = 0  # as in run_single
    frame.row = ws.rows
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


cdef void run_update(Program p, Workspace ws, const ct_update_args *decayed) noexcept nogil:
    cdef ct_update_args plain = decayed[0]
    plain.alpha = plain.l1 = plain.decay = 0.0
    ws.job.phase, ws.job.n, ws.job.decayed, ws.job.plain = UPDATE, p.n_chunks, decayed, &plain
    share(p, ws, may_fork_join(ws.threads, UPDATE_FLOPS * p.n_weights))
