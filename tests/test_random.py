"""Random numbers: known answers, moments, independence of streams."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import ctrain
from ctrain._core import random
from ctrain._core.plan import compile_plan
from ctrain._core.program import Program
from ctrain._core.source import Arrays
from ctrain._core.step import accumulate, read
from op_cases.random import bernoulli_twin, mix, philox

M = 1_000_000
KEY = random.key(0, "test")

# counter (x0, x1, x2, x3), key (k0, k1) -> words: the published test vectors of Random123,
# Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011
KNOWN_ANSWERS = [
    ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize("counter, key, words", KNOWN_ANSWERS)
def test_the_twin_is_philox(counter, key, words):
    lo, hi = counter[0] | counter[1] << 32, counter[2] | counter[3] << 32
    assert_array_equal(philox(key[0] | key[1] << 32, np.uint64(hi), np.uint64(lo)), words)


@pytest.mark.parametrize("key", [0, 1, 2**63 + 12345, 2**64 - 1, KEY])
def test_uniform_is_philox(key):
    """53 bits of two words of one counter."""
    words = philox(key, np.uint64(0), np.arange(51, dtype=np.uint64)).astype(np.uint64)
    pairs = words.reshape(-1, 2)
    bits = (pairs[:, 0] << np.uint64(21)) ^ (pairs[:, 1] >> np.uint64(11))
    assert_array_equal(random.uniform(key, 101), bits[:101] / 2.0**53)


def test_normal_is_box_muller():
    u = random.uniform(KEY, 2000).reshape(-1, 2)
    radius, angle = np.sqrt(-2 * np.log(1 - u[:, 0])), 2 * np.pi * u[:, 1]
    twin = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).ravel()
    assert_allclose(random.normal(KEY, 1999), twin[:1999], rtol=1e-12, atol=1e-14)


#: moments and four standard errors of a mean over M draws: (transform, mean, variance)
UNIFORM = [
    (lambda u: u, 1 / 2, 1 / 12),
    (lambda u: u**2, 1 / 3, 4 / 45),
    (lambda u: (u < 0.01).astype(float), 0.01, 0.01 * 0.99),
    (lambda u: (u[:-1] - 0.5) * (u[1:] - 0.5), 0.0, 1 / 144),  # neighbours
]
NORMAL = [
    (lambda z: z, 0.0, 1.0),
    (lambda z: z**2, 1.0, 2.0),
    (lambda z: z**3, 0.0, 15.0),
    (lambda z: z**4, 3.0, 96.0),
    (lambda z: (np.abs(z) > 3).astype(float), 0.0026998, 0.0026925),
    (lambda z: z[:-1] * z[1:], 0.0, 1.0),
]


@pytest.mark.parametrize(
    "draw, moments", [(random.uniform, UNIFORM), (random.normal, NORMAL)], ids=["uniform", "normal"]
)
def test_moments(draw, moments):
    x = draw(KEY, M)
    assert np.isfinite(x).all()
    for transform, mean, variance in moments:
        assert abs(transform(x).mean() - mean) < 4 * np.sqrt(variance / M)


def test_uniform_fills_equal_cells():
    """Chi-square over 1,000 cells within four standard errors, sqrt(2 df) each."""
    u = random.uniform(KEY, M)
    assert 0.0 <= u.min() and u.max() < 1.0
    counts = np.bincount((u * 1000).astype(int), minlength=1000)
    assert abs(((counts - M / 1000) ** 2 / (M / 1000)).sum() - 999) < 4 * np.sqrt(2 * 999)


@pytest.mark.parametrize("draw", [random.uniform, random.normal, random.permutation])
def test_no_draws(draw):
    assert draw(KEY, 0).shape == (0,)
    assert draw(KEY, 1).shape == (1,)


@pytest.mark.parametrize("draw", [random.uniform, random.normal])
def test_a_number_does_not_depend_on_how_many_are_drawn(draw):
    assert_array_equal(draw(KEY, 1001)[:333], draw(KEY, 333))


@pytest.mark.parametrize("n", [2, 3, 10, 1000])
def test_permutations_are_permutations(n):
    p = random.permutation(KEY, n)
    assert p.dtype == np.int64
    assert_array_equal(np.sort(p), np.arange(n))


def test_each_epoch_has_its_own_order():
    orders = [random.permutation(random.key(3, "shuffle", e), 100) for e in range(50)]
    assert len({o.tobytes() for o in orders}) == 50
    # two random orders agree in one place on average, with variance one
    agreements = [(a == b).sum() for a, b in combinations(orders, 2)]
    assert abs(np.mean(agreements) - 1.0) < 4 / np.sqrt(len(agreements))


def test_every_order_is_equally_likely():
    """6 orders of 3 in 12,000 draws: chi-square with 5 degrees of freedom, 0.01 % above 25.7."""
    orders = [tuple(random.permutation(random.key(k), 3)) for k in range(12_000)]
    _, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(counts) == 6 and ((counts - 2000) ** 2 / 2000).sum() < 25.7


def test_keys_tell_parts_apart():
    parts = [(), (0,), (1,), ("0",), ("a", "b"), ("ab",), ("a", 1), (1, "a"), (-1,)]
    assert len({random.key(*p) for p in parts}) == len(parts)
    assert all(0 <= random.key(*p) < 2**64 for p in parts)


def test_golden_numbers():
    """Never change them: saved networks and published seeds depend on them."""
    assert random.key() == 13020603013274838756
    assert random.key(0, "shuffle", 7) == 5623984802332606944
    uniform = [0.8202246728319548, 0.8234037202520622, 0.0027833676767292648]
    assert random.uniform(12345, 3).tolist() == uniform
    normal = [0.8244610857162717, -1.659023417067953, 0.058411711678993956]
    assert_allclose(random.normal(12345, 3), normal, rtol=1e-14)  # the C library's log and cos
    assert random.permutation(12345, 10).tolist() == [8, 6, 4, 0, 9, 5, 3, 2, 7, 1]


# --- masks in a network -------------------------------------------------------------------------


def masks(seed=0, steps=(0,), rows=64, width=33, index=None, n_nodes=2, p=0.3, dtype="float32"):
    """Draws of `n_nodes` nodes at each step: (steps, nodes, rows, width)."""
    tape = ctrain.Tape(dtype, random_state=seed)
    x = tape.input((width,), name="x")
    nodes = [tape.bernoulli(x, p=p) for _ in range(n_nodes)]
    plan = compile_plan(tape, rows, outputs=nodes, keep=True)
    program = Program(plan, 1, seed)
    source = Arrays(x=np.zeros((rows, width), dtype))
    answer = []
    for step in steps:
        accumulate(program, source, index=index, step=step)
        n = rows if index is None else len(index)
        answer.append([read(program, node, n) for node in nodes])
    return np.array(answer)


def test_masks_have_the_asked_frequency():
    for p in (0.0, 0.001, 0.3, 0.5, 0.999, 1.0):
        draws = masks(p=p, rows=500, width=500, n_nodes=4)
        assert abs(draws.mean() - p) <= 4 * np.sqrt(p * (1 - p) / draws.size)


def test_streams_are_independent():
    """Masks of other seeds, steps, nodes and rows agree as often as chance would have it."""
    draws = masks(steps=(0, 1, 2), rows=40, width=257, p=0.5)
    other = masks(seed=1, steps=(0, 1, 2), rows=40, width=257, p=0.5)
    lines = np.concatenate([draws.reshape(-1, 257), other.reshape(-1, 257)])
    assert len({line.tobytes() for line in lines}) == len(lines)
    signs = 2 * lines - 1
    correlation = (signs @ signs.T)[np.triu_indices(len(lines), 1)] / 257
    # about 115,000 pairs: the largest of them stays below six standard deviations
    assert np.abs(correlation).max() < 6 / np.sqrt(257)
    assert abs(correlation.mean()) < 4 / np.sqrt(257 * len(correlation))


def test_a_row_keeps_its_mask():
    whole = masks()
    index = np.array([5, 0, 63, 5])
    assert_array_equal(masks(index=index), whole[:, :, index])
    assert_array_equal(masks(dtype="float64"), whole)


def test_a_node_keeps_its_stream_when_others_are_recorded():
    assert_array_equal(masks(n_nodes=5)[:, :2], masks(n_nodes=2))


def test_masks_of_parameters_change_with_the_step():
    """One mask for all rows, drawn at each step."""
    tape = ctrain.Tape()
    x, w = tape.input((50,), name="x"), tape.parameter(np.ones(50), name="w")
    dropped = tape.dropout(w, 0.5)
    y = tape.mul(x, dropped)
    loss = tape.mean(y)
    program = Program(compile_plan(tape, 3, loss=loss, outputs=[y], backward=True, keep=True), 1, 0)
    source = Arrays(x=np.ones((3, 50), np.float32))
    seen = []
    for step in range(4):
        accumulate(program, source, backward=True, step=step)
        rows = read(program, y, 3)
        assert (rows == rows[0]).all() and set(rows[0]) == {0.0, 2.0}
        seen.append(rows[0].tobytes())
    assert len(set(seen)) == 4


def test_masks_are_the_twins():
    """The whole path from seed to bit: what a checkpoint relies on."""
    tape = ctrain.Tape(random_state=9)
    x = tape.input((33,), name="x")
    tape.bernoulli(x)
    stream = tape.stream(tape.nodes[0])
    assert stream == random.key("stream", "bernoulli_0")
    twin = bernoulli_twin(9, stream, 3, np.arange(64), 33, p=0.3)
    assert_array_equal(masks(seed=9, steps=(3,))[0, 0], twin)
    assert mix(9, stream) != mix(stream, 9)
