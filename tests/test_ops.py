"""Every row of the operation table: values, gradients and bits, on every CPU target."""

from __future__ import annotations

import functools
from unittest import mock
from zlib import crc32

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from ctrain._core import dispatch
from ctrain._core import program as program_module
from ctrain._core.ops import OPS
from ctrain._core.parameters import aligned_zeros
from ctrain._core.plan import SLAB, compile_plan
from ctrain._core.program import Program
from ctrain._core.source import Arrays
from ctrain._core.step import accumulate, read
from ctrain._core.symbols import Level
from ctrain._core.tape import Tape
from op_cases import CASES

TARGETS = dispatch.available()
DTYPES = ("float64", "float32")
SEED = 11
ROWS = 11
#: of the largest element: a sum over a hundred elements, or a power, loses a few hundred eps
VALUE_TOLERANCE = {"float64": 1e-12, "float32": 1e-5}
#: of float32 gradients from float64 ones, in units of the largest
GRADIENT_TOLERANCE = 1e-5
#: values are moved, drawn or chosen, not computed
EXACT = {op.name for op in OPS.values() if op.family == "shape"} | {
    "bernoulli",
    "random_uniform",
    "random_poisson",
    "broadcast",
    "where",
    "minimum",
    "maximum",
    "neg",
    "abs",
    "identity",
    "stop_gradient",
    "relu",
}
BUSY = np.ones((160, 160))
RUBBISH = 0x7F  # the byte of large numbers: 3e38 and 1e306
GUARD = 512  # bytes


def samples(name: str, k: int, rows: int = ROWS) -> list[np.ndarray | None]:
    """Inputs of case `k`, numbers that float32 can hold."""
    rng = np.random.default_rng([crc32(name.encode()), k])
    return [
        None if x is None else x.astype(np.float32).astype(np.float64)
        for x in CASES[name][k].sample(rng, rows)
    ]


class Recorded:
    """One case with the loss ``sum(output * upstream)`` and enough else to keep threads busy.

    Parameters
    ----------
    level : Level
        Of the inputs, but for weights.
    again : bool
        Use every input once more, in ``square``, recorded later: so the gradient of the operation
        is added to what is there.
    """

    def __init__(self, name, k, dtype, level=Level.ROW, again=False):
        case = CASES[name][k]
        self.tape = tape = Tape(dtype, random_state=SEED)
        self.arrays, self.inputs = {}, []
        for i, array in enumerate(samples(name, k)):
            if array is None:
                self.inputs.append(None)
            elif i in case.weights:
                self.inputs.append(tape.parameter(array, name=f"x{i}"))
            elif level == Level.PARAMETER:
                self.inputs.append(tape.parameter(array[0], name=f"x{i}"))
            else:
                self.inputs.append(tape.input(array.shape[1:], name=f"x{i}"))
                self.arrays[f"x{i}"] = array.astype(dtype)
        self.present = [x for x in self.inputs if x is not None]
        self.output = getattr(tape, name)(*self.inputs, **case.attributes)
        self.node = tape.nodes[-1]
        rng = np.random.default_rng(k)
        upstream = self._input("upstream", rng.normal(size=(ROWS, *self.output.shape)))
        self.loss = tape.sum(tape.mul(self.output, upstream))
        if again:
            for x in self.present:
                self.loss = tape.add(self.loss, tape.sum(tape.square(x)))
        # 150,000 flops a row, so that eleven rows are above the threshold of one thread
        busy = self._input("busy", rng.normal(size=(ROWS, len(BUSY))))
        busy = tape.matmul(busy, tape.parameter(BUSY, name="busy"))
        self.loss = tape.add(self.loss, tape.mean(busy))

        # recorded last, so that it overwrites what backward does not read, see `forget`
        op = OPS[name]
        read = {*op.reads, *op.param_reads}
        unread = [x for i, x in enumerate(self.node.inputs) if x is not None and i not in read]
        self.unread = [
            (x, tape.scale(self._input(f"not {x.name}", np.full((ROWS, *x.shape), 1e30))))
            for x in (*unread, *([] if "out" in read else [self.output]))
            if x.level == Level.ROW
        ]

    def _input(self, name, array):
        self.arrays[name] = array.astype(self.tape.dtype)
        return self.tape.input(array.shape[1:], name=name)

    def program(self, tile_rows=None, n_threads=1, guards=None, forget=False) -> Program:
        """With `forget`, values that backward need not read are lost before it begins."""
        outputs = [self.output, *self.present, *(other for _, other in self.unread if forget)]
        plan = compile_plan(
            self.tape, ROWS, loss=self.loss, outputs=outputs, backward=True, keep=True,
            tile_rows=tile_rows,
        )  # fmt: skip
        for x, other in self.unread if forget else ():
            plan.value[other.id] = plan.value[x.id]
        if guards is None:
            return Program(plan, n_threads, SEED)
        guards.spread(plan)
        empty = functools.partial(guards, rubbish=True)
        with mock.patch.multiple(program_module, aligned_zeros=guards, aligned_empty=empty):
            return Program(plan, n_threads, SEED)

    def run(self, program, index=None) -> list[np.ndarray | None]:
        """Value of the output and gradient of every input; None where there is none."""
        n = ROWS if index is None else len(index)
        accumulate(program, Arrays(**self.arrays), n, index=index, backward=True)
        return [
            read(program, self.output, n),
            *(read(program, x, n, gradient=True) for x in self.present),
        ]


class Guards:
    """Allocates for one program: kept tensors and scratch are full of rubbish, between guards."""

    def spread(self, plan) -> None:
        """Move the tensors of a plan apart."""
        size = plan.tape.dtype.itemsize
        kept = [
            (place, x)
            for places in (plan.value, plan.grad)
            for place, x in zip(places, plan.tensors, strict=True)
            if place.kind == SLAB
        ]
        for k, (place, _) in enumerate(sorted(kept, key=lambda pair: pair[0].offset)):
            place.offset += k * GUARD
        plan.slab_bytes += len(kept) * GUARD
        self.slab_bytes, self.fixed_bytes = plan.slab_bytes + ROWS * size, plan.fixed_bytes
        self.owned = sorted((place.offset, x.size * ROWS * size) for place, x in kept)
        self.owned.append((plan.slab_bytes, ROWS * size))  # the weights of the rows
        self.blocks = []

    def __call__(self, n, dtype, rubbish=False):
        n_bytes = n * np.dtype(dtype).itemsize
        block = aligned_zeros(GUARD + n_bytes + GUARD, np.uint8)
        is_slab = n_bytes == self.slab_bytes
        rubbish = rubbish or is_slab or n_bytes == self.fixed_bytes
        block[: None if rubbish else GUARD] = RUBBISH
        block[GUARD + n_bytes :] = RUBBISH
        self.blocks.append((block, self.owned if is_slab else [(0, n_bytes)]))
        return block[GUARD : GUARD + n_bytes].view(dtype)

    def intact(self) -> bool:
        """Whether nothing was written outside of the tensors."""
        for block, owned in self.blocks:
            ends = [0, *(GUARD + at + n_bytes for at, n_bytes in owned)]
            begins = [*(GUARD + at for at, _ in owned), block.size]
            if not all((block[e:b] == RUBBISH).all() for e, b in zip(ends, begins, strict=True)):
                return False
        return True


def same_bits(ours, theirs) -> bool:
    """Whether two lists of arrays, or None, are the same bytes."""

    def stored(arrays):
        return [None if x is None else x.tobytes() for x in arrays]

    return stored(ours) == stored(theirs)


def results() -> dict[str, np.ndarray]:
    """Values, gradients and broken promises of all cases, on the target in use."""
    kept, broken = {}, []
    for name, cases in CASES.items():
        for k in range(len(cases)):
            for dtype in DTYPES:
                at = f"{name} {k} {dtype}"
                case = Recorded(name, k, dtype)
                program = case.program()
                whole = case.run(program)
                kept[f"{at} value"] = whole[0]
                for i, gradient in enumerate(whole[1:]):
                    if gradient is not None:
                        kept[f"{at} gradient {i}"] = gradient
                again = Recorded(name, k, dtype, again=True)
                for i, gradient in enumerate(again.run(again.program())[1:]):
                    kept[f"{at} again {i}"] = gradient
                for what in broken_promises(name, k, case, program, whole):
                    broken.append(f"{at}: {what}")
    kept["broken"] = np.array(broken, dtype=str)
    return kept


def broken_promises(name, k, case, program, whole):
    """What bits depend on although they must not, and what is written that must not be."""
    guards = Guards()
    if not same_bits(case.run(case.program(tile_rows=3, n_threads=3, guards=guards)), whole):
        yield "the height of tiles, the number of threads or what was in the memory"
    if not guards.intact():
        yield "written beyond a tensor"
    if not same_bits(case.run(case.program(forget=True))[1:], whole[1:]):
        yield "values that the table does not name in reads"
    if OPS[name].batch:
        return
    row_level = [x.level == Level.ROW for x in (case.output, *case.present)]

    def picked(arrays, r):
        pairs = zip(arrays, row_level, strict=True)
        return [None if x is None else x[r] for x, keep in pairs if keep]

    for r in (0, 4, ROWS - 1):
        if not same_bits(picked(case.run(program, [r]), 0), picked(whole, r)):
            yield f"the rows around row {r}"
    guards = Guards()
    single = Recorded(name, k, case.tape.dtype, Level.PARAMETER)
    answers = single.run(single.program(guards=guards), [0])
    if not same_bits(picked(answers, ...), picked(whole, 0)):
        yield "the level of the inputs"
    if not guards.intact():
        yield "written beyond a tensor without rows"


def error(ours, theirs) -> float:
    """Largest difference in units of the largest element, or of 1 if all are smaller."""
    if ours.size == 0:
        return 0.0
    ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
    return float(np.abs(ours - theirs).max() / max(np.abs(theirs).max(), 1.0))


def test_every_row_has_cases_and_a_kernel():
    assert set(OPS) == set(CASES) == set(dispatch.kernel_names())
    assert all(CASES.values())


@pytest.mark.parametrize("name", CASES)
def test_cases_cover_sizes(name):
    """Fewer elements than a vector, a tail, more than any two vectors."""
    cases = [Recorded(name, k, "float64") for k in range(len(CASES[name]))]
    tensors = [x for case in cases for x in (*case.present, case.output)]
    sizes = {n for x in tensors for n in (x.size, *x.shape[-1:])}
    assert min(sizes) < 8 and any(n % 2 for n in sizes) and max(sizes) > 32


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("target", TARGETS)
def test_values(on_target, target, name):
    kept = on_target(target, "test_ops", "results")
    for k, case in enumerate(CASES[name]):
        inputs = samples(name, k)
        for dtype in DTYPES:
            state = {}
            if OPS[name].random:
                node = Recorded(name, k, dtype)
                stream = node.tape.stream(node.node)
                state = {"seed": SEED, "stream": stream, "step": 0, "dtype": dtype}
            twin = case.twin(*inputs, **case.attributes, **state)
            ours = kept[f"{name} {k} {dtype} value"]
            assert ours.shape == twin.shape
            if name in EXACT:
                assert_array_equal(ours, twin.astype(dtype))
            else:
                assert error(ours, twin) <= VALUE_TOLERANCE[dtype], (k, case.attributes)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("target", TARGETS)
def test_float32_gradients(on_target, target, name):
    kept = on_target(target, "test_ops", "results")
    for k, case in enumerate(CASES[name]):
        for key in [key for key in kept if key.startswith(f"{name} {k} float64 gradient")]:
            single = kept[key.replace("float64", "float32")]
            assert error(single, kept[key]) < GRADIENT_TOLERANCE, (key, case.attributes)


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("target", TARGETS)
def test_gradients_add_up(on_target, target, name):
    """A tensor that is used twice gets the sum of both gradients."""
    kept = on_target(target, "test_ops", "results")
    for k, case in enumerate(CASES[name]):
        for dtype in DTYPES:
            present = [(i, x) for i, x in enumerate(samples(name, k)) if x is not None]
            for j, (i, x) in enumerate(present):
                again = kept[f"{name} {k} {dtype} again {j}"]
                alone = kept.get(f"{name} {k} {dtype} gradient {j}", np.zeros_like(again))
                square = 2 * x * (ROWS if i in case.weights else 1)
                # one more rounding of the sum, and those of the additions before it
                assert error(again, alone + square) <= 64 * np.finfo(dtype).eps, (k, j)


@pytest.mark.parametrize("name", CASES)
def test_only_differentiable_inputs_have_gradients(name):
    for k in range(len(CASES[name])):
        case = Recorded(name, k, "float64")
        allowed = OPS[name].differentiable
        for i, gradient in enumerate(case.run(case.program())[1:]):
            assert (gradient is not None) == (allowed is None or i in allowed), (k, i)


@pytest.mark.parametrize("target", TARGETS)
def test_bits_do_not_depend_on(on_target, target):
    assert on_target(target, "test_ops", "results")["broken"].tolist() == []


@pytest.mark.skipif(not {"avx2", "avx512"} <= set(TARGETS), reason="this CPU has no AVX-512")
def test_the_same_bits_on_every_target_with_fma(on_target):
    wide, narrow = (on_target(t, "test_ops", "results") for t in ("avx512", "avx2"))
    differing = [key for key in wide if wide[key].tobytes() != narrow[key].tobytes()]
    assert set(wide) == set(narrow) and differing == []
