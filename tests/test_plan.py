"""Plans: what runs, where every tensor lives and for how long."""

from __future__ import annotations

from itertools import combinations, pairwise

import pytest
from networks import random_networks

import ctrain
from ctrain._core.ops import OPS
from ctrain._core.plan import ABSENT, ADD, ARENA, ASSIGN, FIXED, SKIP, SLAB, TILE, compile_plan
from ctrain._core.program import Program
from ctrain._core.source import Arrays
from ctrain._core.step import accumulate
from ctrain._core.symbols import Level

NETS = 60


def with_loss(net):
    """A random network and the sum of what it puts out."""
    tape = ctrain.Tape("float64")
    tensors = {k: tape.input(x.shape[1:], name=k) for k, x in net.inputs.items()}
    return tape, tape.sum(net(tape, **tensors))


def two_stages(rows=40, width=7):
    """Features centred and scaled over the batch, between two layers."""
    tape = ctrain.Tape("float64")
    x, y = tape.input((5,), name="x"), tape.input((1,), name="y")
    h = tape.tanh(tape.matmul(x, tape.parameter((5, width), name="w0")))
    centred = tape.sub(h, tape.batch_mean(h))
    spread = tape.sqrt(tape.add(tape.batch_mean(tape.square(centred)), 1e-3))
    h = tape.gelu(tape.mul(tape.div(centred, spread), tape.parameter((width,), name="g")))
    loss = tape.squared_error(tape.matmul(h, tape.parameter((width, 1), name="w1")), y)
    return tape, loss


def moments(plan):
    """(tensor, is gradient) -> all moments at which a tile's memory is read or written.

    Written down once more from the meaning of a replay: inputs arrive, nodes run, gradients run
    back, outputs are copied at the end of a pass without gradients.
    """
    n = len(plan.nodes)
    used: dict[tuple[int, bool], list[int]] = {}

    def use(x, is_grad, moment):
        if x is not None and x.level == Level.ROW:
            used.setdefault((x.id, is_grad), []).append(moment)

    needed = {x.id for node in plan.nodes for x in node.inputs if x is not None}
    for x in plan.tape.inputs.values():
        if x.id in needed:
            use(x, False, -1)
    for k, node in enumerate(plan.nodes):
        for x in (*node.inputs, node.output):
            use(x, False, k)
    at = n
    for stage in reversed(plan.stages):
        for k in stage.rows_back:
            at += 1
            node = plan.nodes[k]
            for read in OPS[node.op].reads:
                use(node.output if read == "out" else node.inputs[read], False, at)
            use(node.output, True, at)
            for x, mode in zip(node.inputs, plan.modes[k], strict=True):
                if mode != SKIP:
                    use(x, True, at)
    if at == n:
        for x in plan.outputs:
            use(x, False, n)
    return used


def overlaps(plan):
    """Pairs of tensors in one tile, alive at one moment in the same bytes."""
    size = plan.tape.dtype.itemsize * plan.tile_rows
    blocks = []
    for (t, is_grad), at in moments(plan).items():
        place = (plan.grad if is_grad else plan.value)[t]
        if place.kind == TILE:
            end = place.offset + plan.tape.tensors[t].size * size
            blocks.append((t, is_grad, min(at), max(at), place.offset, end))
    return [
        (a[:2], b[:2])
        for a, b in combinations(blocks, 2)
        if a[2] <= b[3] and b[2] <= a[3] and a[4] < b[5] and b[4] < a[5]
    ]


@pytest.mark.parametrize("backward", [True, False])
def test_no_two_live_tensors_share_memory(backward):
    reused = 0
    for net in random_networks(NETS):
        tape, loss = with_loss(net)
        plan = compile_plan(tape, 9, loss=loss, backward=backward, outputs=[net_output(tape)])
        assert overlaps(plan) == []
        places = [p.offset for p in (*plan.value, *plan.grad) if p.kind == TILE]
        reused += len(places) - len(set(places))
    assert reused > 10 * NETS, "memory is used again"


def net_output(tape):
    return next(node.output for node in reversed(tape.nodes) if node.op == "concat")


def test_the_overlap_check_finds_overlaps():
    tape, loss = with_loss(random_networks(1)[0])
    plan = compile_plan(tape, 9, loss=loss, backward=True)
    for place in plan.value:
        if place.kind == TILE:
            place.offset = 0
    assert overlaps(plan)


def test_fixed_slab_and_arena_places_are_disjoint():
    for net in random_networks(NETS):
        tape, loss = with_loss(net)
        plan = compile_plan(tape, 9, loss=loss, backward=True)
        row = tape.dtype.itemsize
        for kind, rows, limit in (
            (SLAB, plan.slab_rows, plan.slab_bytes),
            (FIXED, 1, plan.fixed_bytes),
        ):
            blocks = sorted(
                (place.offset, place.offset + x.size * row * rows)
                for places in (plan.value, plan.grad)
                for x, place in zip(tape.tensors, places, strict=True)
                if place.kind == kind
            )
            assert all(a[1] <= b[0] for a, b in pairwise(blocks))
            assert not blocks or blocks[-1][1] <= limit
            assert all(begin % 64 == 0 for begin, _ in blocks)
        arena = [p.offset for p in plan.value if p.kind == ARENA]
        assert len(set(arena)) == len(arena) and all(at % 64 == 0 for at in arena)


def test_gradients_are_assigned_once_then_added():
    """Backwards: in each stage the rows, then the tiles of parameters, then single nodes."""
    continued = 0
    for net in random_networks(NETS):
        tape, loss = with_loss(net)
        plan = compile_plan(tape, 9, loss=loss, backward=True)
        started = set()
        for stage in reversed(plan.stages):
            for part in (stage.rows_back, None, stage.single_back):
                if part is None:
                    tiled = {t for t, _, _ in stage.tiles}
                    assert tiled & started == tiled & plan.continued
                    continued += len(tiled & started)
                    started |= tiled
                    continue
                for k in part:
                    for x, mode in zip(plan.nodes[k].inputs, plan.modes[k], strict=True):
                        if mode != SKIP:
                            assert mode == (ADD if x.id in started else ASSIGN)
                            started.add(x.id)
    assert continued > 0, "rows add to what a later stage has sent"


def test_every_layout_gives_the_same_bits():
    """Memory that is used again, and memory that is not."""
    for net in random_networks(NETS):
        bits = set()
        for keep, tile_rows in ((True, None), (False, None), (False, 1), (False, 2)):
            tape, loss = with_loss(net)
            plan = compile_plan(
                tape, net.rows, loss=loss, backward=True, keep=keep, tile_rows=tile_rows
            )
            program = Program(plan, 1, 0)
            sums = accumulate(program, Arrays(**net.inputs), backward=True)
            bits.add((sums, program.gradients.tobytes()))
        assert len(bits) == 1, net.seed


def test_nodes_that_nothing_needs_do_not_run():
    tape = ctrain.Tape()
    x, w = tape.input((4,), name="x"), tape.parameter((4, 3), name="w")
    idle = tape.parameter((3,), name="idle")
    h = tape.matmul(x, w)
    aside = tape.exp(tape.add(h, idle))
    y = tape.tanh(h)
    loss = tape.mean(y)
    plan = compile_plan(tape, 10, loss=loss, backward=True)
    assert [node.op for node in plan.nodes] == ["matmul", "tanh", "mean"]
    assert plan.value[aside.id].kind == plan.value[idle.id].kind == ABSENT
    assert plan.grad[idle.id].kind == plan.grad[x.id].kind == ABSENT
    assert plan.updated == [w.id]
    outputs = compile_plan(tape, 10, outputs=[aside])
    assert [node.op for node in outputs.nodes] == ["matmul", "broadcast", "add", "exp"]
    assert all(place.kind == ABSENT for place in outputs.grad)


def test_frozen_parameters_cost_no_gradient():
    tape = ctrain.Tape()
    x = tape.input((4,), name="x")
    frozen = tape.parameter((4, 3), name="frozen", trainable=False)
    w = tape.parameter((3, 2), name="w")
    h = tape.tanh(tape.matmul(x, frozen))
    loss = tape.mean(tape.matmul(h, w))
    plan = compile_plan(tape, 10, loss=loss, backward=True)
    assert plan.grad[frozen.id].kind == plan.grad[h.id].kind == ABSENT
    assert plan.updated == [w.id] and plan.transposed == []


def test_kept_tensors():
    """What the weights phase reads lives in the slab, everything else in the tile."""
    tape = ctrain.Tape()
    x, y = tape.input((4,), name="x"), tape.input((2,), name="y")
    w0, w1 = tape.parameter((4, 3), name="w0"), tape.parameter((3, 2), name="w1")
    a = tape.matmul(x, w0)
    h = tape.tanh(a)
    z = tape.matmul(h, w1)
    loss = tape.squared_error(z, y)
    plan = compile_plan(tape, 10, loss=loss, backward=True)
    kept = {t.id for t in tape.tensors if plan.value[t.id].kind == SLAB}
    kept_gradients = {t.id for t in tape.tensors if plan.grad[t.id].kind == SLAB}
    assert kept == {x.id, h.id, loss.id}
    assert kept_gradients == {a.id, z.id, loss.id}
    assert plan.transposed == [w1.id]
    everything = compile_plan(tape, 10, loss=loss, backward=True, keep=True)
    rows = [t.id for t in tape.tensors if t.level == Level.ROW]
    assert all(everything.value[t].kind == everything.grad[t].kind == SLAB for t in rows)


def test_stages():
    tape, loss = two_stages()
    plan = compile_plan(tape, 40, loss=loss, backward=True)
    rows = [[plan.nodes[k].op for k in stage.rows] for stage in plan.stages]
    single = [[plan.nodes[k].op for k in stage.single] for stage in plan.stages]
    # what needs no other rows runs as early as it can: the broadcasts of 1e-3 and of g
    assert single == [["broadcast"], ["batch_mean"], ["batch_mean", "add", "sqrt"]]
    assert rows[0] == ["matmul", "tanh", "broadcast"]
    assert rows[1] == ["broadcast", "sub", "square"]
    assert rows[2] == ["broadcast", "div", "mul", "gelu", "matmul", "squared_error"]
    assert [len(stage.rows_back) for stage in plan.stages] == [3, 3, 6]
    assert plan.slab_rows == plan.batch == 40


@pytest.mark.parametrize("slab_bytes", [1, 1 << 14, 1 << 17, 1 << 40])
def test_slabs_are_bounded_and_cut_at_blocks(slab_bytes):
    tape = ctrain.Tape()
    x = tape.input((30,), name="x")
    h = tape.tanh(tape.matmul(x, tape.parameter((30, 20))))
    loss = tape.mean(tape.matmul(h, tape.parameter((20, 2))))
    plan = compile_plan(tape, 1000, loss=loss, backward=True, slab_bytes=slab_bytes)
    assert plan.slab_rows == 1000 or plan.slab_rows % 64 == 0
    assert plan.slab_bytes <= max(slab_bytes, 64 * plan.slab_bytes // plan.slab_rows) + 64 * 10
    assert plan.tile_rows <= plan.slab_rows
    if slab_bytes == 1 << 40:
        assert plan.slab_rows == 1000


@pytest.mark.parametrize("batch", [1, 7, 31, 200, 5000])
@pytest.mark.parametrize("width", [1, 8, 300, 3000])
def test_tiles_fit_the_cache(batch, width):
    tape = ctrain.Tape()
    x = tape.input((width,), name="x")
    loss = tape.mean(tape.tanh(tape.gelu(tape.matmul(x, tape.parameter((width, width))))))
    plan = compile_plan(tape, batch, loss=loss, backward=True)
    assert 1 <= plan.tile_rows <= min(batch, 64)
    least = 8 if 4 * width**2 <= 1 << 20 else 32  # weights beyond L2 are read by fewer tiles
    assert plan.tile_bytes <= 384 * 1024 or plan.tile_rows <= least
    assert plan.flops * plan.tile_rows <= (5e9 if plan.tile_rows <= 8 else 1e9)


@pytest.mark.parametrize("steps, rows", [(200, 8), (300, 7), (1000, 2), (9000, 1)])
def test_rows_of_much_work_make_low_tiles(steps, rows):
    """2.1 MFLOP for each step; a register tile of rows reads the weights once, so 5 GFLOP are all
    right for it."""
    tape = ctrain.Tape()
    x, w = tape.input((steps, 1), name="x"), tape.parameter((512, 1024), name="w")
    wide = tape.broadcast(x, (steps, 512))
    plan = compile_plan(tape, 64, loss=tape.mean(tape.matmul(wide, w)), backward=True)
    assert plan.tile_rows == rows


def test_weight_tiles_cover_each_parameter_once():
    for batch in (1, 100, 5000):
        tape = ctrain.Tape()
        x = tape.input((70,), name="x")
        shapes = {"w": (70, 130), "row": (1, 130), "b": (130,), "s": (), "v": (130, 1)}
        p = {name: tape.parameter(shape, name=name) for name, shape in shapes.items()}
        h = tape.mul(tape.add(tape.matmul(x, p["w"], p["b"]), p["s"]), p["row"])
        loss = tape.mean(tape.matmul(h, p["v"]))
        plan = compile_plan(tape, batch, loss=loss, backward=True)
        for name, tensor in p.items():
            cuts = [(i0, i1) for s in plan.stages for t, i0, i1 in s.tiles if t == tensor.id]
            length = next((n for n in shapes[name] if n > 1), 1)
            assert cuts[0][0] == 0 and cuts[-1][1] == length
            assert all(a[1] == b[0] for a, b in pairwise(cuts))


@pytest.mark.parametrize("steps, height", [(4, 8), (100, 64)])
def test_what_comes_from_memory_is_read_by_fewer_weight_tiles(steps, height):
    """64 rows of 100 steps leave 13 MB of gradients, which no cache of a core holds."""
    tape = ctrain.Tape()
    x, w = tape.input((steps, 128), name="x"), tape.parameter((128, 512), name="w")
    b = tape.parameter((512,), name="b")
    plan = compile_plan(tape, 64, loss=tape.mean(tape.matmul(x, w, b)), backward=True)
    w_tiles, b_tiles = (
        [(i0, i1) for stage in plan.stages for t, i0, i1 in stage.tiles if t == tensor.id]
        for tensor in (w, b)
    )
    assert w_tiles == [(i, i + height) for i in range(0, 128, height)]
    assert b_tiles == [(0, 512)]


def test_flops_of_a_step():
    """Forward, to the input of the second layer, and to both weights: 2 k n each."""
    tape = ctrain.Tape()
    x = tape.input((16,), name="x")
    h = tape.matmul(x, tape.parameter((16, 8)))
    loss = tape.mean(tape.matmul(h, tape.parameter((8, 4))))
    plan = compile_plan(tape, 10, loss=loss, backward=True)
    products = 2 * 16 * 8 * 2 + 2 * 8 * 4 * 3
    assert products <= plan.flops <= products + 20
    assert compile_plan(tape, 10, loss=loss).flops < plan.flops / 2


def test_losses_must_be_one_number_a_row():
    tape = ctrain.Tape()
    x = tape.input((3,), name="x")
    with pytest.raises(ValueError, match=r"loss must be row-level with shape \(\).*\(3,\)"):
        compile_plan(tape, 10, loss=tape.tanh(x))


def test_outputs_must_have_rows():
    tape = ctrain.Tape()
    tape.input((3,), name="x")
    w = tape.parameter((3,), name="w")
    with pytest.raises(ValueError, match=r"outputs? must be row-level.*w: parameter \(3,\)"):
        compile_plan(tape, 10, outputs=[w])
