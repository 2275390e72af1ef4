"""The same bits for any number of threads, slabs and tiles, and on every target with FMA."""

from __future__ import annotations

import pytest
from networks import everything, train, two_stages
from numpy.testing import assert_allclose

import ctrain
from ctrain._core import dispatch
from ctrain._core.plan import compile_plan

TARGETS = dispatch.available()
NETWORKS = {"everything": everything, "two stages": two_stages}


def bits(run) -> bytes:
    return b"".join(run[k].tobytes() for k in sorted(run))


@pytest.fixture(scope="module")
def one_thread():
    return {name: bits(train(network)) for name, network in NETWORKS.items()}


@pytest.mark.parametrize("n_threads", [2, 3, 7])
@pytest.mark.parametrize("name", NETWORKS)
def test_threads_do_not_change_bits(one_thread, name, n_threads):
    assert bits(train(NETWORKS[name], n_threads=n_threads)) == one_thread[name]


def test_the_number_of_threads_may_change_between_steps():
    """After some twenty steps it is tried whether one thread is faster."""
    one, two = (bits(train(everything, n_threads=n, epochs=16)) for n in (1, 2))
    assert one == two


def test_threads_really_run(run_python):
    """OpenMP starts its threads when they are first needed; they stay."""
    code = """
        import os, networks
        before = len(os.listdir("/proc/self/task"))
        networks.train(networks.everything, n_threads=1, epochs=1)
        one = len(os.listdir("/proc/self/task"))
        networks.train(networks.everything, n_threads=7, epochs=1)
        print(one - before, len(os.listdir("/proc/self/task")) - before)
    """
    assert run_python(code).split() == ["0", "6"]


@pytest.mark.parametrize("slab_rows", [64, 128])
def test_slabs_do_not_change_bits(one_thread, slab_rows):
    tape = ctrain.Tape()
    loss = everything(tape)
    whole = compile_plan(tape, 193, loss=loss, backward=True)
    slab_bytes = whole.slab_bytes * (slab_rows + 20) // 193
    plan = compile_plan(tape, 193, loss=loss, backward=True, slab_bytes=slab_bytes)
    assert (whole.slab_rows, plan.slab_rows) == (193, slab_rows)
    assert bits(train(everything, slab_bytes=slab_bytes)) == one_thread["everything"]


@pytest.mark.parametrize("tile_rows", [1, 5, 17, 64])
@pytest.mark.parametrize("name", NETWORKS)
def test_tiles_do_not_change_bits(one_thread, name, tile_rows):
    run = train(NETWORKS[name], tile_rows=tile_rows, n_threads=2)
    assert bits(run) == one_thread[name]


def runs():
    """Whole trainings on the target in use."""
    return {
        f"{name} {dtype} {key}": value
        for name, network in NETWORKS.items()
        for dtype in ("float32", "float64")
        for key, value in train(network, dtype=dtype, n_threads=2).items()
    }


@pytest.mark.skipif(not {"avx2", "avx512"} <= set(TARGETS), reason="this CPU has no AVX-512")
def test_the_same_bits_on_every_target_with_fma(on_target):
    wide, narrow = (on_target(target, "test_bits", "runs") for target in ("avx512", "avx2"))
    assert [key for key in wide if wide[key].tobytes() != narrow[key].tobytes()] == []


def test_the_baseline_trains_the_same_network(on_target):
    """Without FMA the bits differ; how far is a matter of roundings: 6 steps of 1e-2."""
    plain, best = (on_target(target, "test_bits", "runs") for target in ("baseline", TARGETS[0]))
    for key, value in best.items():
        tolerance = 1e-9 if "float64" in key else 1e-3
        assert_allclose(plain[key], value, rtol=tolerance, atol=tolerance, err_msg=key)


def test_seeds_change_bits(one_thread):
    assert bits(train(everything, seed=1)) != one_thread["everything"]
