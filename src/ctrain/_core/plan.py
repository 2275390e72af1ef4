"""What a recorded tape becomes before it runs: an order, and a place for every tensor.

The plan is plain data. It decides nothing about threads and holds no pointer; the executor in
``step.pyx`` turns it into C structs.

A *stage* is a run of row-level nodes that needs no other rows, preceded by nodes without a batch
axis. An operation that reads the whole batch (``batch_mean``) ends a stage. Most networks have
one.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator
from dataclasses import dataclass, field

from .ops import OPS
from .symbols import Level, Node, Tensor, Tracked
from .tape import Tape

SKIP, ASSIGN, ADD = 0, 1, 2  # as in kernels.h
ABSENT, FIXED, TILE, SLAB, ARENA = range(5)  # where a tensor lives

#: rows that one use of a shared parameter adds before the next use does: slabs are cut at
#: multiples of it, so that the order of additions does not depend on them
ROW_BLOCK = 64
TILE_ROWS = 64  #: highest tile: a panel of B stays in L1 for eight register tiles
TILE_BYTES = 768 * 1024  #: of a tile's tensors, about half of them alive at once, to stay in L2
L2_BYTES = 1 << 20  #: of one core
TILE_FLOPS = 1e9  #: no tile works longer than about 50 ms, on a core without vectors
#: of a tile of at most a register tile's rows, 50 ms of a core with vectors: with fewer rows each
#: number of a weight that comes from far away is worth too little
LOW_TILE_FLOPS, LOW_TILE_ROWS = 5e9, 8
SLAB_BYTES = 256 * 2**20  #: tensors that wait for the weights phase
WEIGHT_TILE_FLOPS = 4e5  #: smaller parameter tiles cost more to hand out than to compute
WEIGHT_TILES = 16  #: tiles a large parameter is cut into
#: bytes of the gradient that each tile of a parameter reads, beyond which they come from memory,
#: and rows of a matrix that a tile then has at most, to be worth them; a vector stays whole
FAR_BYTES = 4 * 2**20
FAR_ROWS = 64
UPDATE_CHUNK = 16384  #: weights in one piece of the update


@dataclass
class Place:
    """Where one tensor lives: kind, offset in bytes from the start of that memory."""

    kind: int = ABSENT
    offset: int = 0


@dataclass
class Stage:
    """Nodes between two looks at the whole batch; indices into ``Plan.nodes``."""

    single: list[int] = field(default_factory=list)  #: without a batch axis, forward order
    rows: list[int] = field(default_factory=list)
    single_back: list[int] = field(default_factory=list)  #: backward order
    rows_back: list[int] = field(default_factory=list)
    tiles: list[tuple[int, int, int]] = field(default_factory=list)  #: (tensor, i0, i1)


@dataclass
class Plan:
    """Order and places for one use of a tape.

    Attributes
    ----------
    nodes : list of Node
        Those that are needed, in recorded order.
    modes : list of list of int
        For each node and input: SKIP, ASSIGN or ADD its gradient.
    tensors : list of Tensor
        Those of the tape, and what nodes keep for backward.
    kept : dict of int to Tensor
        Node -> what it keeps.
    value, grad : list of Place
        By tensor id.
    uses : dict of int to list of (int, int)
        Tensor without batch axis -> (node, input) through which rows reach it, tape order.
    continued : set of int
        Tensors to which single nodes of a later stage have sent gradient before the rows do.
    transposed : list of int
        Tensors of which a transposed copy is kept.
    tracked : list of Tracked
        Parameters that a step moves towards a value.
    """

    tape: Tape
    nodes: list[Node]
    modes: list[list[int]]
    stages: list[Stage]
    tensors: list[Tensor]
    kept: dict[int, Tensor]
    value: list[Place]
    grad: list[Place]
    uses: dict[int, list[tuple[int, int]]]
    continued: set[int]
    transposed: list[int]
    tracked: list[Tracked]
    loss: Tensor | None
    count: Tensor | None
    outputs: list[Tensor]
    batch: int
    flops: float  #: of one row, all phases
    tile_rows: int = 0
    slab_rows: int = 0
    tile_bytes: int = 0
    slab_bytes: int = 0
    fixed_bytes: int = 0

    @property
    def updated(self) -> list[int]:
        """Tensor ids of the trainable parameters that the loss reaches, in arena order."""
        return [t for t in self.tape.parameter_of if self.grad[t].kind == ARENA]


def compile_plan(
    tape: Tape,
    batch: int,
    *,
    loss: Tensor | None = None,
    outputs: list[Tensor] | None = None,
    backward: bool = False,
    keep: bool = False,
    slab_bytes: int = SLAB_BYTES,
    tile_rows: int | None = None,
) -> Plan:
    """Order the nodes that `loss` and `outputs` need and give every tensor a place.

    Parameters
    ----------
    tape : Tape
    batch : int
        Largest number of rows of one step.
    loss : Tensor, default=None
        Row-level, shape ``()``.
    outputs : list of Tensor, default=None
        Row-level tensors whose values are wanted.
    backward : bool, default=False
        Whether gradients of the loss are wanted.
    keep : bool, default=False
        Give every tensor a place of its own for the whole batch, and a gradient to inputs too.
    slab_bytes : int
        Bound of the memory for tensors that wait for the weights phase.
    tile_rows : int, default=None
        Height of a tile; None chooses it from the shapes. Bits do not depend on it.
    """
    outputs = list(outputs or [])
    single = [x for x in outputs if x.level != Level.ROW]
    if single and not keep:
        raise ValueError(f"outputs must be row-level; got {single[0].name}: {single[0]!r}")
    total, count = _loss_parts(tape, loss)
    tracked = tape.tracked if backward else []
    needed = [t for t in (total, count) if t is not None] + [t.value for t in tracked] + outputs
    nodes = list(_reachable(tape, needed))
    stage_of = _stages(tape, nodes)
    stages = [Stage() for _ in range(max(stage_of.values(), default=0) + 1)]
    for k, node in enumerate(nodes):
        stage = stages[stage_of[node.output.id]]
        (stage.rows if node.output.level == Level.ROW else stage.single).append(k)

    wanted = _wanted(tape, nodes, keep) if backward else set()
    modes, uses, continued, transposed = _backward(tape, nodes, stages, stage_of, total, wanted)
    tensors, kept = list(tape.tensors), {}
    for k in sorted(k for stage in stages for k in (*stage.rows_back, *stage.single_back)):
        if nodes[k].kept:
            x = nodes[k].output
            kept[k] = Tensor(len(tensors), (nodes[k].kept,), x.level, f"{x.name}.kept")
            tensors.append(kept[k])
    has_grad = set(uses)
    for node, node_modes in zip(nodes, modes, strict=True):
        pairs = zip(node.inputs, node_modes, strict=True)
        has_grad.update(x.id for x, mode in pairs if x is not None and mode != SKIP)
    if total is not None and backward:
        has_grad.add(total.id)

    plan = Plan(
        tape=tape,
        nodes=nodes,
        modes=modes,
        stages=stages,
        tensors=tensors,
        kept=kept,
        value=[Place() for _ in tensors],
        grad=[Place() for _ in tensors],
        uses=uses,
        continued=continued,
        transposed=transposed,
        tracked=tracked,
        loss=total,
        count=count,
        outputs=outputs,
        batch=batch,
        flops=_row_flops(nodes, modes, uses),
    )
    live = {x.id: x for node in nodes for x in (*node.inputs, node.output) if x is not None}
    live.update({t.id: t for t in (*needed, *kept.values())})
    _place_single(plan, live, has_grad)
    saved = _saved(plan, live, has_grad, keep)
    _place_rows(plan, live, has_grad, saved, slab_bytes, tile_rows)
    _cut_weights(plan, stage_of)
    return plan


def _reachable(tape: Tape, targets: list[Tensor]) -> Iterator[Node]:
    """Yield the nodes that `targets` depend on, in recorded order."""
    needed = {t.id for t in targets}
    keep = []
    for node in reversed(tape.nodes):
        if node.output.id in needed:
            needed.update(x.id for x in node.inputs if x is not None)
            keep.append(node)
    return reversed(keep)


def _loss_parts(tape: Tape, loss: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    """Split ``tape.ratio(sum, count)`` into its two tensors; any other loss has no count."""
    if loss is None:
        return None, None
    if loss.level != Level.ROW or loss.shape != ():
        raise ValueError(
            f"loss must be row-level with shape (), one number per row; got {loss!r}; "
            "reduce it with tape.mean or tape.sum"
        )
    for node in tape.nodes:
        if node.output is loss and node.op == "ratio":
            return node.inputs
    return loss, None


def _stages(tape: Tape, nodes: list[Node]) -> dict[int, int]:
    stage_of: dict[int, int] = {}
    for node in nodes:
        stage = max((stage_of.get(x.id, 0) for x in node.inputs if x is not None), default=0)
        stage_of[node.output.id] = stage + OPS[node.op].batch
    return stage_of


def _wanted(tape: Tape, nodes: list[Node], keep: bool) -> set[int]:
    """Tensors whose gradient is wanted: trainable parameters and all that they reach."""
    wanted = {t for t, name in tape.parameter_of.items() if tape.parameters[name].trainable}
    if keep:
        wanted.update(t.id for t in tape.inputs.values())
    for node in nodes:
        if any(x.id in wanted for x in _differentiable(node)):
            wanted.add(node.output.id)
    return wanted


def _differentiable(node: Node) -> list[Tensor]:
    positions = OPS[node.op].differentiable
    return [
        x
        for i, x in enumerate(node.inputs)
        if x is not None and (positions is None or i in positions)
    ]


def _backward(tape, nodes, stages, stage_of, total, wanted):
    """Which inputs get a gradient, whether it is the first, and the uses of each parameter."""
    modes = [[SKIP] * len(node.inputs) for node in nodes]
    uses: dict[int, list[tuple[int, int]]] = {}
    transposed: list[int] = []
    reached = {total.id} if total is not None and total.id in wanted else set()
    back = []
    for k in reversed(range(len(nodes))):
        node = nodes[k]
        if node.output.id not in reached:
            continue
        back.append(k)
        row = OPS[node.op]
        for x in _differentiable(node):
            if x.id in wanted:
                reached.add(x.id)
    # rows reach tensors without batch axis through the weights phase of the tensor's stage
    for k in sorted(back):
        node = nodes[k]
        allowed = OPS[node.op].differentiable
        if node.output.level == Level.ROW:
            for i, x in enumerate(node.inputs):
                if x is None or x.level == Level.ROW or x.id not in wanted:
                    continue
                if allowed is None or i in allowed:
                    uses.setdefault(x.id, []).append((k, i))
    started: set[int] = set()
    continued: set[int] = set()
    for s in reversed(range(len(stages))):
        in_stage = [k for k in back if stage_of[nodes[k].output.id] == s]
        for level_rows in (True, False):
            if not level_rows:  # between rows and single nodes: the weights phase
                tiled = {t for t in uses if stage_of.get(t, 0) == s}
                continued |= tiled & started
                started |= tiled
            for k in in_stage:
                node = nodes[k]
                if (node.output.level == Level.ROW) != level_rows:
                    continue
                row = OPS[node.op]
                for i, x in enumerate(node.inputs):
                    if x is None or x.id not in wanted:
                        continue
                    if row.differentiable is not None and i not in row.differentiable:
                        continue
                    if level_rows and x.level < Level.ROW:
                        continue
                    modes[k][i] = ADD if x.id in started else ASSIGN
                    started.add(x.id)
                if level_rows:
                    stages[s].rows_back.append(k)
                else:
                    stages[s].single_back.append(k)
                if node.kept or any(m != SKIP for m in modes[k]):
                    transposed += [node.inputs[i].id for i in row.transposed]
    return modes, uses, continued, list(dict.fromkeys(transposed))


def _row_flops(nodes, modes, uses) -> float:
    """Forward, backward to rows and backward to weights, of one row."""
    flops = 0.0
    for k, node in enumerate(nodes):
        if node.output.level == Level.ROW:
            flops += node.flops * (1 + any(m != SKIP for m in modes[k]))
    return flops + sum(_use_flops(nodes[k], i) for pairs in uses.values() for k, i in pairs)


def _use_flops(node: Node, i: int) -> float:
    """Of the gradient that one row sends to input `i`, which has no batch axis."""
    largest = max(x.size for x in node.inputs if x is not None and x.level < Level.ROW)
    return node.flops * node.inputs[i].size / largest


def _place_single(plan: Plan, live: dict[int, Tensor], has_grad: set[int]) -> None:
    """Parameters live in the store's arena, everything else without batch axis in fixed memory."""
    itemsize = plan.tape.dtype.itemsize
    parameters, parameter_of = plan.tape.parameters, plan.tape.parameter_of
    parameters.pack()
    offset = 0
    for t, tensor in live.items():
        if tensor.level == Level.ROW:
            continue
        if t in parameter_of:
            at = parameters[parameter_of[t]].offset * itemsize
            plan.value[t] = Place(ARENA, at)
            if t in has_grad:
                plan.grad[t] = Place(ARENA, at)
            continue
        plan.value[t] = Place(FIXED, offset)
        offset += _padded(tensor.size * itemsize)
        if t in has_grad:
            plan.grad[t] = Place(FIXED, offset)
            offset += _padded(tensor.size * itemsize)
    plan.fixed_bytes = offset


def _saved(plan, live, has_grad, keep) -> tuple[set[int], set[int]]:
    """Row tensors, and row gradients, that must survive the tile: for weights or other stages."""
    values: set[int] = set()
    grads: set[int] = set()
    if keep:
        rows = {t for t, x in live.items() if x.level == Level.ROW}
        return rows, rows & has_grad
    for pairs in plan.uses.values():
        for k, _ in pairs:
            node = plan.nodes[k]
            grads.add(node.output.id)
            if k in plan.kept:
                values.add(plan.kept[k].id)
            for read in OPS[node.op].param_reads:
                for x in _read(node, read):
                    if x is not None and x.level == Level.ROW:
                        values.add(x.id)
    if len(plan.stages) > 1:
        rows = {t for t, x in live.items() if x.level == Level.ROW}
        values |= rows
        grads |= rows & has_grad
    for t in (plan.loss, plan.count):
        if t is not None:
            values.add(t.id)
    if plan.loss is not None and plan.loss.id in has_grad:
        grads.add(plan.loss.id)
    return values, grads


def _place_rows(plan, live, has_grad, saved, slab_bytes, tile_rows) -> None:
    """Give row tensors a place in the slab, or in the tile for as long as they live."""
    itemsize = plan.tape.dtype.itemsize
    values, grads = saved
    rows = {t: x for t, x in live.items() if x.level == Level.ROW}

    # the slab
    per_row = itemsize * (sum(rows[t].size for t in values) + sum(rows[t].size for t in grads) + 1)
    slab = plan.batch
    if len(plan.stages) == 1 and per_row * plan.batch > slab_bytes:
        slab = max(1, int(slab_bytes // (per_row * ROW_BLOCK))) * ROW_BLOCK
    plan.slab_rows = min(slab, plan.batch)
    offset = 0
    for place, ids in ((plan.value, values), (plan.grad, grads)):
        for t in sorted(ids):
            place[t] = Place(SLAB, offset)
            offset += _padded(rows[t].size * itemsize * plan.slab_rows)
    plan.slab_bytes = offset

    # the tile: birth and death of everything else on the way forward and back
    spans = _spans(plan, rows, values, grads, has_grad)
    sizes = {key: rows[key[1]].size for key in spans}
    height = _tile_rows(plan, spans, sizes) if tile_rows is None else tile_rows
    plan.tile_rows = max(1, min(height, plan.slab_rows))
    places, plan.tile_bytes = _pack(
        spans, {key: _padded(size * itemsize * plan.tile_rows) for key, size in sizes.items()}
    )
    for (is_grad, t), at in places.items():
        (plan.grad if is_grad else plan.value)[t] = Place(TILE, at)


def _spans(plan, rows, values, grads, has_grad) -> dict[tuple[bool, int], tuple[int, int]]:
    """(is gradient, tensor) -> first and last moment in which its tile memory is in use."""
    n = len(plan.nodes)
    spans: dict[tuple[bool, int], tuple[int, int]] = {}

    def touch(is_grad, x, moment):
        if x is None or x.level != Level.ROW or x.id in (grads if is_grad else values):
            return
        first, last = spans.get((is_grad, x.id), (moment, moment))
        spans[is_grad, x.id] = (min(first, moment), max(last, moment))

    for x in plan.tape.inputs.values():
        if x.id in rows:
            touch(False, x, -1)
    for k, node in enumerate(plan.nodes):
        for x in (*node.inputs, node.output, plan.kept.get(k)):
            touch(False, x, k)
    for stage in plan.stages:
        for k in stage.rows_back:
            node, moment = plan.nodes[k], 2 * n - k
            for read in OPS[node.op].reads:
                for x in _read(node, read):
                    touch(False, x, moment)
            touch(False, plan.kept.get(k), moment)
            touch(True, node.output, moment)
            for x, mode in zip(node.inputs, plan.modes[k], strict=True):
                if mode != SKIP:
                    touch(True, x, moment)
    for x in plan.outputs:
        touch(False, x, n)
    return spans


def _read(node: Node, read: int | str) -> list[Tensor | None]:
    if read == "out":
        return [node.output]
    return [node.inputs[read]] if read < len(node.inputs) else []


def _tile_rows(plan: Plan, spans, sizes) -> int:
    """Most rows of a tile: enough to reuse weights, few enough for the cache and for signals."""
    itemsize = plan.tape.dtype.itemsize
    height = TILE_ROWS
    bytes_per_row = itemsize * sum(sizes.values()) or 1
    weights = itemsize * sum(p.size for p in plan.tape.parameters)
    least = 8 if weights <= L2_BYTES else 32  # each tile reads all weights from further away
    height = min(height, max(least, int(TILE_BYTES // bytes_per_row)))
    flops = max(plan.flops, 1.0)
    low = min(LOW_TILE_ROWS, int(LOW_TILE_FLOPS // flops))
    height = min(height, max(1, low, int(TILE_FLOPS // flops)))
    return height if height < 8 else height // 8 * 8


def _pack(spans, sizes) -> tuple[dict, int]:
    """First-fit addresses: two intervals that overlap in time never overlap in memory."""
    placed: list[tuple[int, int, int, int]] = []  # (address, end, first, last)
    answer = {}
    top = 0
    for key in sorted(spans, key=lambda key: (-sizes[key], spans[key], key)):
        first, last = spans[key]
        address = 0
        for at, end, born, died in placed:  # by address
            overlaps = born <= last and first <= died
            if overlaps and at < address + sizes[key] and end > address:
                address = end
        insort(placed, (address, address + sizes[key], first, last))
        answer[key] = address
        top = max(top, address + sizes[key])
    return answer, top


def _cut_weights(plan: Plan, stage_of: dict[int, int]) -> None:
    """Cut each tensor that rows reach along its first axis longer than 1."""
    for t in sorted(plan.uses):
        tensor = plan.tape.tensors[t]
        length = next((n for n in tensor.shape if n > 1), 1)
        flops = sum(_use_flops(plan.nodes[k], i) for k, i in plan.uses[t]) * plan.batch
        pieces = max(
            1, min(WEIGHT_TILES, int(flops // WEIGHT_TILE_FLOPS)), int(flops // TILE_FLOPS)
        )
        if any(i in OPS[plan.nodes[k].op].whole for k, i in plan.uses[t]):
            pieces = 1
        vector = tensor.size == length
        read = 0.5 * flops / (1 if vector else length)  # numbers, 2 flops for each
        if read * plan.tape.dtype.itemsize > FAR_BYTES:
            pieces = min(pieces, 1 if vector else -(-length // FAR_ROWS))
        height = -(-length // pieces)
        height = min(length, -(-height // 8) * 8)
        stage = plan.stages[stage_of.get(t, 0)]
        stage.tiles.extend((t, i0, min(i0 + height, length)) for i0 in range(0, length, height))


def _padded(n_bytes: int) -> int:
    return -(-n_bytes // 64) * 64
