"""Memory: nothing leaks, nothing is copied or changed, nothing is allocated in a running step."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse

from ctrain import Regressor, losses
from ctrain._core.source import Arrays
from ctrain._core.step import accumulate
from ctrain.network import Network
from ctrain.training import BLOCK

HERE = Path(__file__).parent


def run(code: str, **environment: str) -> str:
    """Output of a program in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], env=os.environ | environment,
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


# ------------------------------------------------------------------------------- inputs


def digest(array) -> str:
    parts = (array.data, array.indices, array.indptr) if scipy.sparse.issparse(array) else (array,)
    return hashlib.sha256(b"".join(np.asarray(part).tobytes() for part in parts)).hexdigest()


@pytest.mark.parametrize("optimizer", ["adamw", "lbfgs"])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_inputs_are_not_changed(optimizer, sparse, dtype):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(50, 4)) * (rng.uniform(size=(50, 4)) > 0.3)
    X = scipy.sparse.csr_array(X) if sparse else X
    y, weight = rng.normal(size=50), rng.uniform(size=50)
    given = (X, y, weight, X[:9], y[:9])
    before = [digest(a) for a in given]
    reg = Regressor((8,), optimizer=optimizer, dtype=dtype, max_iter=3)
    reg.fit(X, y, weight, X_val=given[3], y_val=given[4]).predict(X)
    assert [digest(a) for a in given] == before


def test_read_only_memory_maps_are_read_in_place(tmp_path):
    rng = np.random.default_rng(0)
    arrays = {"X": rng.normal(size=(50, 4)), "y": rng.normal(size=50), "w": rng.uniform(size=50)}
    expected = Regressor((8,), max_iter=3, random_state=0).fit(*arrays.values())
    maps = []
    for name, array in arrays.items():
        np.save(tmp_path / f"{name}.npy", array)
        maps.append(np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
        assert not maps[-1].flags.writeable
    reg = Regressor((8,), max_iter=3, random_state=0).fit(*maps, X_val=maps[0], y_val=maps[1])
    assert reg.predict(maps[0]).tobytes() == expected.predict(arrays["X"]).tobytes()


# ---------------------------------------------------------------------- sums in float64


def linear(tape, x):
    w = tape.parameter((1, 1), name="w", init="zeros")
    return tape.matmul(x, w, tape.parameter((1,), name="b", init="zeros", decay=False))


HUGE = 2**25 + 5  # a float32 counter sticks at 2^24


def repeated(value: float, *row: int) -> np.ndarray:
    """HUGE rows that are one and the same in memory."""
    return np.broadcast_to(np.full((1, *row), value, np.float32), (HUGE, *row))


def test_float32_sums_of_many_rows():
    network = Network(linear, losses.resolve("mse"), {"x": (1,)}, 1, np.float32, 0)
    source = Arrays(x=repeated(1.0, 1), y=repeated(0.5, 1), weight=repeated(3.0))
    program = network.trainer(8192, 1)
    loss, weight = accumulate(program, source)
    assert (loss, weight) == (3.0 * HUGE * 0.25, 3.0 * HUGE)


def test_float32_gradient_of_many_rows():
    """The mean of equal rows has the gradient of one of them, and so the same first iterate."""
    X, y = repeated(1.0, 1), repeated(0.5)
    reg = Regressor(model=linear, optimizer="lbfgs", max_iter=1, n_jobs=1)
    many, few = (reg.fit(X[:n], y[:n]).predict(X[:1]) for n in (HUGE, 100))
    np.testing.assert_allclose(many, few, rtol=2.0**-24 * BLOCK)  # of adding within a block


# --------------------------------------------------------------------------------- growth

GROWTH = f"""
import pickle, sys
sys.path.insert(0, {str(HERE)!r})
import numpy as np
import growth
from ctrain import Regressor

rng = np.random.default_rng(0)
X, y = rng.normal(size=(200, 16)), rng.normal(size=200)

def fit():
    Regressor((32,), max_iter=2, batch_size=64).fit(X, y, X_val=X, y_val=y).predict(X)

def refit():
    kept.fit(X, y).predict(X[:1])

def refused():
    try:
        Regressor((32,)).fit(X, np.where(y > 2, np.nan, y))
    except ValueError:
        return
    raise AssertionError

def overflows():
    try:
        Regressor((32,), optimizer="sgd", learning_rate_init=1e300, max_iter=9).fit(X, y)
    except ValueError:
        return
    raise AssertionError

def interrupted():
    def schedule(step):
        if step:
            raise KeyboardInterrupt
        return 1e-3
    try:
        Regressor((32,), schedule=schedule).fit(X, y)
    except KeyboardInterrupt:
        return
    raise AssertionError

def pickled():
    pickle.loads(pickle.dumps(kept)).predict(X)

kept = Regressor((32,), max_iter=2).fit(X, y)
growth.report(fit, refit, refused, overflows, interrupted, pickled)
"""


def test_three_hundred_fits_grow_memory_by_less_than_a_megabyte():
    report = json.loads(run(GROWTH))
    assert len(report["grown"]) == 6
    assert {name: n for name, n in report["grown"].items() if n >= 1_000_000} == {}
    assert {name: what for name, what in report["left"].items() if what} == {}


# ----------------------------------------------------------------------------------- peak

PEAK = """
import ctypes, gc, sys
import numpy as np
from ctrain import Regressor

def memory(name):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(name))

def reset():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    return memory("VmRSS")
"""

WEIGHTS = """
rng = np.random.default_rng(0)
X, y = rng.normal(size=(128, 512)).astype(dtype), rng.normal(size=128).astype(dtype)
settings = dict(optimizer=optimizer, max_iter=2, batch_size=32, n_jobs=2, random_state=0)
Regressor((16, 16), **settings).fit(X, y)
before = reset()
reg = Regressor((1536, 1536), **settings).fit(X, y)
peak = memory("VmHWM") - before
weights = reg._network.parameters.arena.nbytes
plan = reg._network.trainer(32, 1).plan
scratch = 512 * 1024  # of each thread, beside its tile
stated = weights * (2 + slots + 1) + plan.slab_bytes + 2 * (plan.tile_bytes + scratch)
print(peak, stated, weights)
"""


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer, slots", [("sgd", 0), ("rmsprop", 1), ("adamw", 2)])
def test_peak_memory_of_a_fit(optimizer, slots, dtype):
    """Weights, gradients, the optimizer's slots, one transposed copy, and the stated workspace."""
    settings = f"optimizer, slots, dtype = {optimizer!r}, {slots}, {dtype!r}\n"
    peak, stated, weights = map(int, run(PEAK + settings + WEIGHTS).split())
    assert peak < 1.1 * stated
    assert peak > weights * (2 + slots)  # the measurement sees them


DATA = """
rng = np.random.default_rng(0)
X, y = rng.normal(size=(200_000, 80)), rng.normal(size=200_000)
Regressor((16,), max_steps=3, dtype=dtype).fit(X, y)
before = reset()
reg = Regressor((16,), max_iter=2, dtype=dtype, n_jobs=2, shuffle=shuffle).fit(X, y)
fitted = memory("VmHWM") - before
before = reset()
reg.predict(X)
print(fitted, memory("VmHWM") - before, X.nbytes, y.nbytes)
"""


@pytest.mark.parametrize("dtype, shuffle", [("float32", True), ("float64", False)])
def test_the_data_are_not_copied(dtype, shuffle):
    """128 MB of data; a fit takes two arrays of row numbers and some blocks of 2 MB."""
    settings = f"dtype, shuffle = {dtype!r}, {shuffle}\n"
    fitted, predicted, _, row_numbers = map(int, run(PEAK + settings + DATA).split())
    assert fitted < 2 * row_numbers + 6e6
    assert predicted < row_numbers + 4e6


# -------------------------------------------------------------------------- allocations

COUNTER = r"""
#include <stddef.h>
void *__libc_malloc(size_t); void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t); void *__libc_memalign(size_t, size_t);
static long count;
long counted(void) { return __atomic_load_n(&count, __ATOMIC_RELAXED); }
static void one(void) { __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED); }
void *malloc(size_t n) { one(); return __libc_malloc(n); }
void *calloc(size_t n, size_t m) { one(); return __libc_calloc(n, m); }
void *realloc(void *p, size_t n) { one(); return __libc_realloc(p, n); }
void *memalign(size_t a, size_t n) { one(); return __libc_memalign(a, n); }
void *aligned_alloc(size_t a, size_t n) { one(); return __libc_memalign(a, n); }
int posix_memalign(void **p, size_t a, size_t n)
{
    one();
    *p = __libc_memalign(a, n);
    return *p ? 0 : 12;
}
"""

STEPS = """
import ctypes
import numpy as np
from ctrain import losses, optimizers
from ctrain._core.optim import Optimizer
from ctrain._core.source import Arrays
from ctrain._core.step import run_steps
from ctrain.models import MLP
from ctrain.network import Network
from ctrain.state import State

counted = ctypes.CDLL(None).counted
counted.restype = ctypes.c_long
rng = np.random.default_rng(0)
X, y = rng.normal(size=(640, 24)), rng.normal(size=(640, 1))
source = Arrays(x=X, y=y, weight=np.ones(640))

def trainer(width, batch, threads, **limits):
    network = Network(
        MLP((width, width), "gelu", 0.1), losses.resolve("huber"), {"x": (24,)}, 1, np.float32, 0
    )
    program = network.trainer(batch, threads, **limits)
    optimizer = Optimizer(optimizers.AdamW(), network.dtype, network.parameters.arena.size)
    state = State(seed=0)

    def steps(n):
        index = np.arange(n * batch) % 640
        bounds = np.arange(n + 1) * batch
        rates, losses_, weights, norms = np.full((4, n), 1e-3)
        before = counted()
        done, status = run_steps(
            program, source, index, bounds, rates, optimizer, state, clip_norm=1.0,
            alpha=1e-3, loss_sums=losses_, weight_sums=weights, norms=norms,
        )
        after = counted()
        assert (done, status) == (n, 0)
        return after - before

    return steps

for width, batch, threads, limits in (
    (16, 32, 1, {}), (96, 320, 1, {}), (96, 320, 2, {}), (96, 320, 2, {"slab_bytes": 1 << 17}),
):
    steps = trainer(width, batch, threads, **limits)
    steps(1)
    print(steps(1), steps(100))
"""


def test_a_running_step_allocates_nothing(tmp_path):
    """A call of 100 steps asks the allocator as often as a call of one step, Python's included."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or os.confstr("CS_GNU_LIBC_VERSION") is None:
        pytest.skip("counting allocations takes a C compiler and the GNU C library")
    (tmp_path / "counter.c").write_text(COUNTER)
    library = tmp_path / "counter.so"
    subprocess.run(
        [compiler, "-O1", "-shared", "-fPIC", "-o", library, tmp_path / "counter.c"], check=True
    )
    counts = run(STEPS, LD_PRELOAD=str(library), PYTHONMALLOC="malloc").splitlines()
    assert len(counts) == 4
    for line in counts:
        one, hundred = map(int, line.split())
        assert one == hundred
    assert int(counts[0].split()[0]) > 0  # the counter counts: a call itself allocates
