"""A plan with memory: pointers, tiles and frames, ready to be run by ``step.pyx``."""

from cpython.exc cimport PyErr_CheckSignals
from libc.stddef cimport ptrdiff_t
from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t, uintptr_t
from libc.string cimport memcpy

import numpy as np

from ctrain._core.dispatch cimport CT_SCRATCH, ct_frame, ct_node, ct_op, find_op, table
from ctrain._core.parallel cimport ct_share, now_seconds
from ctrain._core.source cimport Source

from ctrain._core import plan as _plan
from ctrain._core.ops import OPS
from ctrain._core.parameters import aligned_empty, aligned_zeros

#: seconds between two looks for signals
cdef double POLL = 0.02
#: elements of a transposed copy that are written between two such looks
cdef Py_ssize_t PANEL = 1 << 19
cdef uint8_t SKIP = _plan.SKIP


cdef class Memory:
    """Arrays that live as long as their owner, who knows them by address."""

    def __cinit__(self):
        self.keep = []

    cdef char *_take(self, Py_ssize_t n_bytes, bint zeros=True):
        array = (aligned_zeros if zeros else aligned_empty)(max(1, n_bytes), np.uint8)
        self.keep.append(array)
        return <char *><uintptr_t>array.ctypes.data


cdef class Workspace(Memory):
    """What one call writes: frames, tiles, the slab, and its flags."""

    @property
    def nbytes(self):
        return sum(array.nbytes for array in self.keep)

    def __cinit__(self, Program program):
        cdef Py_ssize_t n = program.n_threads, n_tensors = program.n_tensors, t, k
        cdef ct_frame *frame
        cdef char *tile
        self.team.share = <ct_share *>self._take(n * sizeof(ct_share))
        self.frames = <ct_frame *>self._take(n * sizeof(ct_frame))
        self.fields = <char **>self._take(n * program.max_fields * sizeof(char *))
        self.rows = <int64_t *>self._take(n * program.tile_rows * sizeof(int64_t))
        self.bad = <ptrdiff_t *>self._take(n * sizeof(ptrdiff_t))
        self.out = <char **>self._take(max(1, program.n_outputs) * sizeof(char *))
        self.squares = <double *>self._take(program.n_tiles * sizeof(double))
        self.slab = self._take(program.slab_bytes)
        for k in range(n):
            frame = &self.frames[k]
            frame.value = <char **>self._take(n_tensors * sizeof(char *))
            frame.grad = <char **>self._take(n_tensors * sizeof(char *))
            frame.transposed = program.transposed
            frame.scratch = self._take(CT_SCRATCH, zeros=False)  # most fits touch little of it
            frame.seed = program.seed
            memcpy(frame.value, program.value, n_tensors * sizeof(char *))
            memcpy(frame.grad, program.grad, n_tensors * sizeof(char *))
            tile = self._take(program.tile_bytes)
            for t in range(n_tensors):
                if program.value_in_tile[t] >= 0:
                    frame.value[t] = tile + program.value_in_tile[t]
                if program.grad_in_tile[t] >= 0:
                    frame.grad[t] = tile + program.grad_in_tile[t]
            program.point(self, frame, 0)
        if program.loss >= 0:
            self.weigh_alike(program)

    cdef weigh_alike(self, Program program):
        """Give every row of the slab the weight 1; it stays until a source brings its own."""
        cdef Py_ssize_t k
        cdef char *weight = self.weight(program)
        for k in range(program.slab_rows):
            if program.itemsize == 4:
                (<float *>weight)[k] = 1.0
            else:
                (<double *>weight)[k] = 1.0

    cdef char *weight(self, Program program) noexcept nogil:
        """Weights of the slab's rows: what seeds the gradient of the loss."""
        return self.slab + program.weight_offset

    cdef void poll(self) noexcept nogil:
        cdef double now = now_seconds()
        if 0.0 <= now - self.polled < POLL:
            return
        self.polled = now
        with gil:
            try:
                PyErr_CheckSignals()
            except BaseException as error:
                self.error = error
                ct_raise_flag(&self.stopped)


cdef class Program(Memory):
    """A plan with memory, ready to run.

    Parameters
    ----------
    plan : Plan
    n_threads : int
    seed : int, default=0
        Of random operations.

    Attributes
    ----------
    plan : Plan
    gradients : ndarray
        Sum of weight * gradient over the rows, as flat as the parameters' arena; not normalised.
    """

    # ------------------------------------------------------------- construction

    def __init__(self, plan, int n_threads=1, uint64_t seed=0):
        tape = plan.tape
        self.plan = plan
        self.free = []
        self.seed = seed
        self.n_threads = n_threads
        self.itemsize = tape.dtype.itemsize
        self.table = table(self.itemsize)
        self.parameters = tape.parameters
        self.synced = -1
        self.n_tensors = len(plan.tensors)
        self.n_nodes = len(plan.nodes)
        self.tile_rows, self.slab_rows = plan.tile_rows, plan.slab_rows
        self.tile_bytes = plan.tile_bytes
        self.weight_offset = plan.slab_bytes
        self.slab_bytes = plan.slab_bytes
        if plan.loss is not None:
            self.slab_bytes += self.slab_rows * self.itemsize
        self.flops = plan.flops
        self.loss = -1 if plan.loss is None else plan.loss.id
        self.count = -1 if plan.count is None else plan.count.id
        self._build_memory(plan)
        self._build_nodes(plan)
        self._build_stages(plan)
        self._build_weights(plan)
        self._build_outputs(plan)
        self.free.append(Workspace.__new__(Workspace, self))

    cdef _build_memory(self, plan):
        """Absolute addresses of what has no batch axis, offsets of the rest."""
        cdef SlabTensor *slab
        cdef int t
        tape = plan.tape
        arena = self.parameters.pack()
        self.keep.append(arena)
        self.arena = <char *><uintptr_t>arena.ctypes.data
        has_gradients = any(p.kind == _plan.ARENA for p in plan.grad)
        self.gradients = aligned_zeros(arena.size if has_gradients else 0, tape.dtype)
        self.grad_arena = <char *><uintptr_t>self.gradients.ctypes.data
        self.fixed = aligned_zeros(plan.fixed_bytes, np.uint8)
        cdef char *fixed = <char *><uintptr_t>self.fixed.ctypes.data
        self.value = <char **>self._take(self.n_tensors * sizeof(char *))
        self.grad = <char **>self._take(self.n_tensors * sizeof(char *))
        self.transposed = <char **>self._take(self.n_tensors * sizeof(char *))
        self.value_in_tile = <Py_ssize_t *>self._take(self.n_tensors * sizeof(Py_ssize_t))
        self.grad_in_tile = <Py_ssize_t *>self._take(self.n_tensors * sizeof(Py_ssize_t))
        self.slab_tensors = <SlabTensor *>self._take(2 * self.n_tensors * sizeof(SlabTensor))
        for t in range(self.n_tensors):
            self.value_in_tile[t] = self.grad_in_tile[t] = -1
            for is_grad, place in ((False, plan.value[t]), (True, plan.grad[t])):
                if place.kind == _plan.SLAB:
                    slab = &self.slab_tensors[self.n_slab]
                    slab.tensor, slab.is_grad, slab.offset = t, is_grad, place.offset
                    slab.row_bytes = plan.tensors[t].size * self.itemsize
                    if is_grad and t == self.loss:
                        slab.offset = self.weight_offset
                    self.n_slab += 1
                elif place.kind == _plan.TILE and is_grad:
                    self.grad_in_tile[t] = place.offset
                elif place.kind == _plan.TILE:
                    self.value_in_tile[t] = place.offset
                elif place.kind == _plan.ARENA and is_grad:
                    self.grad[t] = self.grad_arena + <Py_ssize_t>place.offset
                elif place.kind == _plan.ARENA:
                    self.value[t] = self.arena + <Py_ssize_t>place.offset
                elif place.kind == _plan.FIXED and is_grad:
                    self.grad[t] = fixed + <Py_ssize_t>place.offset
                elif place.kind == _plan.FIXED:
                    self.value[t] = fixed + <Py_ssize_t>place.offset
        for t, array in tape.constants.items():
            if plan.value[t].kind == _plan.FIXED:
                at = plan.value[t].offset
                self.fixed[at : at + array.nbytes] = array.reshape(-1).view(np.uint8)
        if self.loss >= 0 and plan.grad[self.loss].kind == _plan.ABSENT:
            # without a backward pass the weights are still gathered, for the sums
            slab = &self.slab_tensors[self.n_slab]
            slab.tensor, slab.is_grad, slab.offset = self.loss, True, self.weight_offset
            slab.row_bytes = self.itemsize
            self.n_slab += 1

    cdef _build_nodes(self, plan):
        cdef ct_node *node
        cdef int k, i
        cdef int32_t *inputs
        cdef int64_t *ints
        cdef double *floats
        cdef uint8_t *modes
        self.nodes = <ct_node *>self._take(self.n_nodes * sizeof(ct_node))
        self.op = <const ct_op **>self._take(self.n_nodes * sizeof(ct_op *))
        self.reads_batch = <uint8_t *>self._take(self.n_nodes)
        self.param_inputs = <uint8_t *>self._take(self.n_nodes)
        self.length = <Py_ssize_t *>self._take(self.n_tensors * sizeof(Py_ssize_t))
        for k, x in enumerate(plan.tensors):
            self.length[k] = _first_axis(x)
        for k, recorded in enumerate(plan.nodes):
            node = &self.nodes[k]
            inputs = <int32_t *>self._take(len(recorded.inputs) * sizeof(int32_t))
            modes = <uint8_t *>self._take(len(recorded.inputs))
            ints = <int64_t *>self._take(len(recorded.ints) * sizeof(int64_t))
            floats = <double *>self._take(len(recorded.floats) * sizeof(double))
            for i, x in enumerate(recorded.inputs):
                inputs[i] = -1 if x is None else x.id
                modes[i] = plan.modes[k][i]
            for i, number in enumerate(recorded.ints):
                ints[i] = number
            for i, number in enumerate(recorded.floats):
                floats[i] = number
            node.inputs, node.n_in, node.out = inputs, len(recorded.inputs), recorded.output.id
            node.kept = plan.kept[k].id if k in plan.kept else -1
            node.ints, node.floats, node.grad = ints, floats, modes
            node.stream = plan.tape.stream(recorded)
            self.has_random = self.has_random or recorded.draws
            self.reads_batch[k] = OPS[recorded.op].batch
            if recorded.op != "broadcast":
                self.param_inputs[k] = sum(1 << i for i in OPS[recorded.op].weights)
            self.op[k] = find_op(self.table, recorded.op.encode())
            if self.op[k] == NULL:
                raise ValueError(f"no kernel is called {recorded.op!r}")

    cdef _build_stages(self, plan):
        cdef Stage *stage
        cdef int at = 0, s
        self.n_stages = len(plan.stages)
        self.stages = <Stage *>self._take(self.n_stages * sizeof(Stage))
        lists = [(p.single, p.rows, p.rows_back, p.single_back) for p in plan.stages]
        self.order = <int *>self._take(sum(len(part) for ps in lists for part in ps) * sizeof(int))
        for s, parts in enumerate(lists):
            stage = &self.stages[s]
            for span, part in enumerate(parts):
                begin = at
                for k in part:
                    self.order[at] = k
                    at += 1
                if span == 0:
                    stage.single.begin, stage.single.end = begin, at
                elif span == 1:
                    stage.rows.begin, stage.rows.end = begin, at
                elif span == 2:
                    stage.rows_back.begin, stage.rows_back.end = begin, at
                else:
                    stage.single_back.begin, stage.single_back.end = begin, at

    cdef _build_weights(self, plan):
        """Tiles of the weights phase, chunks of the update, transposed copies."""
        cdef WeightTile *tile
        cdef Use *use
        cdef Chunk *chunk
        cdef Transposed *copy
        cdef int n_uses = 0, t
        cdef Py_ssize_t i0
        tape = plan.tape
        tensors = tape.tensors
        first_use = {}
        self.uses = <Use *>self._take(sum(map(len, plan.uses.values())) * sizeof(Use))
        for t, pairs in plan.uses.items():
            first_use[t] = n_uses
            for k, i in pairs:
                use = &self.uses[n_uses]
                use.node, use.param, use.input = &self.nodes[<int>k], self.op[<int>k].param, i
                n_uses += 1
        single_back = {x.id for stage in plan.stages for k in stage.single_back
                       for x, m in zip(plan.nodes[k].inputs, plan.modes[k], strict=True)
                       if x is not None and m != SKIP}
        late = [t for t in plan.updated if t in single_back]
        self.late = <Late *>self._take(len(late) * sizeof(Late))
        for t in late:
            self.late[self.n_late].grad = self.grad[t]
            self.late[self.n_late].n = tensors[t].size
            self.n_late += 1
        self.n_tiles = sum(len(stage.tiles) for stage in plan.stages)
        self.tiles = <WeightTile *>self._take(self.n_tiles * sizeof(WeightTile))
        self.n_tiles = 0
        for s, stage in enumerate(plan.stages):
            self.stages[<int>s].tiles.begin = self.n_tiles
            for t, i0, i1 in stage.tiles:
                tile = &self.tiles[self.n_tiles]
                inner = tensors[t].size // self.length[t]
                tile.first_use, tile.n_uses = first_use[t], len(plan.uses[t])
                tile.i0, tile.i1, tile.n = i0, i1, (i1 - i0) * inner
                tile.grad = self.grad[t] + i0 * <Py_ssize_t>inner * self.itemsize
                tile.add = t in plan.continued
                tile.squares = plan.grad[t].kind == _plan.ARENA and t not in single_back
                self.n_tiles += 1
            self.stages[<int>s].tiles.end = self.n_tiles

        cdef Average *average
        self.averages = <Average *>self._take(len(plan.tracked) * sizeof(Average))
        for tracked in plan.tracked:
            average = &self.averages[self.n_averages]
            parameter = self.parameters[tape.parameter_of[tracked.parameter.id]]
            average.parameter = self.arena + <Py_ssize_t>parameter.offset * self.itemsize
            average.value, average.momentum = tracked.value.id, tracked.momentum
            average.n, average.copy = parameter.size, -1
            if tracked.parameter.id in plan.transposed:
                average.copy = plan.transposed.index(tracked.parameter.id)
            self.n_averages += 1

        stage_of = {plan.nodes[k].output.id: s for s, stage in enumerate(plan.stages)
                    for k in stage.single}
        self.transposes = <Transposed *>self._take(len(plan.transposed) * sizeof(Transposed))
        for t in plan.transposed:
            n_rows, n_cols = tensors[t].shape
            copy = &self.transposes[self.n_transposed]
            copy.tensor, copy.n_rows, copy.n_cols = t, n_rows, n_cols
            # parameters are copied by the update, what is computed whenever it is
            copy.stage = -1 if plan.value[t].kind == _plan.ARENA else stage_of.get(t, -1)
            self.transposed[t] = self._take(tensors[t].size * self.itemsize)
            self.n_transposed += 1

        pieces = []
        for t in plan.updated:
            parameter = self.parameters[tape.parameter_of[t]]
            matrix = self.transposed[t] != NULL
            n_rows, n_cols = tensors[t].shape if matrix else (tensors[t].size, 1)
            height = max(1, _plan.UPDATE_CHUNK // n_cols)
            height = max(16, height // 16 * 16)
            for begin in range(0, n_rows, height):
                pieces.append((t, parameter, begin, min(height, n_rows - begin), n_rows, n_cols))
        self.n_chunks = len(pieces)
        self.chunks = <Chunk *>self._take(self.n_chunks * sizeof(Chunk))
        for k, (t, parameter, begin, height, n_rows, n_cols) in enumerate(pieces):
            chunk = &self.chunks[<int>k]
            chunk.offset, chunk.n = parameter.offset + begin * n_cols, height * n_cols
            chunk.decay = parameter.decay
            self.n_weights += chunk.n
            chunk.transposed = self.transposed[t]
            chunk.i0, chunk.n_rows, chunk.n_cols, chunk.height = begin, n_rows, n_cols, height

    cdef _build_outputs(self, plan):
        self.n_outputs = len(plan.outputs)
        self.outputs = <int *>self._take(self.n_outputs * sizeof(int))
        self.output_bytes = <Py_ssize_t *>self._take(self.n_outputs * sizeof(Py_ssize_t))
        for k, tensor in enumerate(plan.outputs):
            self.outputs[<int>k] = tensor.id
            self.output_bytes[<int>k] = tensor.size * self.itemsize
        self.bound = None
        self.max_fields = len(plan.tape.inputs) + 8
        self.field_tensor = <int *>self._take(self.max_fields * sizeof(int))

    # ------------------------------------------------------------------ binding

    cdef _bind(self, Source source):
        """Connect the source's names with the tape's inputs."""
        cdef int k
        tape = self.plan.tape
        if (source.names, source.shapes) != self.bound:
            if len(source.names) > self.max_fields:
                raise ValueError(f"a source fills at most {self.max_fields} inputs")
            needed = {x.id for node in self.plan.nodes for x in node.inputs if x is not None}
            needed.update(x.id for x in self.plan.outputs)
            for k, (name, shape) in enumerate(zip(source.names, source.shapes, strict=True)):
                self.field_tensor[k] = -1
                if name == "weight" and name not in tape.inputs:
                    if shape != ():
                        raise ValueError(f"weight must have row shape (); the source has {shape}")
                    self.field_tensor[k] = -2 if self.loss >= 0 else -1
                elif name not in tape.inputs:
                    raise ValueError(
                        f"the source has {name!r}, the tape has the inputs {sorted(tape.inputs)}"
                    )
                elif tape.inputs[name].shape != shape:
                    raise ValueError(
                        f"input {name!r} has row shape {tape.inputs[name].shape}; "
                        f"the source has {shape}"
                    )
                elif tape.inputs[name].id in needed:
                    self.field_tensor[k] = tape.inputs[name].id
            wanted = [name for name, x in tape.inputs.items() if x.id in needed]
            missing = sorted(set(wanted) - set(source.names))
            if missing:
                raise ValueError(
                    f"no values for the inputs {missing}; the source has {source.names}"
                )
            self.bound = source.names, source.shapes
            self.n_fields = len(source.names)

    cdef Workspace acquire(self, Source source):
        """Take a workspace of this call's own, so that calls may run side by side."""
        cdef Workspace ws
        if source is not None:
            self._bind(source)
        try:
            ws = self.free.pop()
        except IndexError:
            ws = Workspace.__new__(Workspace, self)
        ws.stopped = 0
        ws.error = None
        ws.polled = now_seconds()
        cdef int k
        for k in range(self.n_threads):
            ws.bad[k] = -1
        ws.source = source
        weighted = source is not None and "weight" in source.names
        if self.loss >= 0 and ws.weighted and not weighted:
            ws.weigh_alike(self)
        ws.weighted = weighted
        return ws

    cdef release(self, Workspace ws):
        ws.source = None
        ws.optimizer = None
        error, ws.error = ws.error, None
        self.free.append(ws)
        if error is not None:
            raise error

    cdef void sync(self, Workspace ws) noexcept:
        """Bring what is computed from parameters up to date with their store.

        A signal cuts it short; the rows of such a call are skipped, and the next call begins anew.
        """
        cdef int k
        cdef Py_ssize_t width, j
        cdef Transposed *copy
        version = self.parameters.version
        if self.synced == version:
            return
        for k in range(self.n_transposed):
            copy = &self.transposes[k]
            if copy.stage >= 0:
                continue
            width = max(1, PANEL // copy.n_rows)
            for j in range(0, copy.n_cols, width):
                self.transpose(copy, j, min(j + width, copy.n_cols))
                ws.poll()
                if ct_flag(&ws.stopped):
                    return
        self.run_single(ws, 0, NULL)
        self.synced = version

    cdef void transpose(self, const Transposed *copy, Py_ssize_t j0, Py_ssize_t j1) noexcept nogil:
        """Copy columns [j0, j1)."""
        self.table.transpose(
            self.value[copy.tensor] + j0 * self.itemsize, copy.n_cols,
            self.transposed[copy.tensor] + j0 * copy.n_rows * self.itemsize, copy.n_rows,
            copy.n_rows, j1 - j0
        )

    cdef void track(self, Workspace ws) noexcept nogil:
        """Let the tracked parameters take in the values of this step."""
        cdef Average *average
        cdef Transposed *copy
        cdef int k
        for k in range(self.n_averages):
            average = &self.averages[k]
            self.table.track(
                average.parameter, ws.frames[0].value[average.value], average.momentum, average.n
            )
            if average.copy >= 0:
                copy = &self.transposes[average.copy]
                self.transpose(copy, 0, copy.n_cols)

    cdef void point(self, Workspace ws, ct_frame *frame, Py_ssize_t row) noexcept nogil:
        """Let a frame's slab tensors begin at `row`."""
        cdef int k
        cdef SlabTensor *slab
        for k in range(self.n_slab):
            slab = &self.slab_tensors[k]
            if slab.is_grad:
                frame.grad[slab.tensor] = ws.slab + slab.offset + row * slab.row_bytes
            else:
                frame.value[slab.tensor] = ws.slab + slab.offset + row * slab.row_bytes

    cdef void run_single(self, Workspace ws, int stage, const Batch *batch) noexcept nogil:
        """Forward of the nodes without a batch axis; those that read the batch see all of it."""
        cdef ct_frame *frame = &ws.frames[0]
        cdef int k, j
        self.point(ws, frame, 0)
        ws.rows[0] = 0  # the identity under which they draw random numbers
        frame.row = ws.rows
        for k in range(self.stages[stage].single.begin, self.stages[stage].single.end):
            j = self.order[k]
            self.op[j].forward(&self.nodes[j], frame, batch.rows if self.reads_batch[j] else 1)
        for k in range(self.n_transposed):
            if self.transposes[k].stage == stage:
                self.transpose(&self.transposes[k], 0, self.transposes[k].n_cols)

    cdef void written(self) noexcept:
        """Count an update; it has copied what it wrote, and nothing that is computed from it."""
        before = self.parameters.version
        self.parameters.version = before + 1
        if self.synced == before and self.stages[0].single.end == self.stages[0].single.begin:
            self.synced = before + 1


def _first_axis(tensor):
    """Length of the first axis longer than 1, along which parameters are cut."""
    return next((n for n in tensor.shape if n > 1), 1)
