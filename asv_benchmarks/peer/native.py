"""C programs of this directory, compiled when they are needed: the machine's limits, the ladder."""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from . import problem

HERE = Path(__file__).resolve().parents[1]
#: optimised, scalar: GCC 12 and later vectorise some loops at -O2
LADDER_FLAGS = ("-O2", "-fno-tree-vectorize", "-fno-tree-slp-vectorize")


def machine_flags() -> tuple[str, ...]:
    """The widest vectors with FMA of this processor."""
    if os.uname().machine == "x86_64":
        words = set(Path("/proc/cpuinfo").read_text().split())
        if "avx512f" in words:
            return "-O2", "-mavx512f", "-mprefer-vector-width=512"
        if {"avx2", "fma"} <= words:
            return "-O2", "-mavx2", "-mfma"
    return ("-O2",)


def load(name: str) -> ctypes.CDLL:
    """Compile ``<name>.c`` into a temporary directory and load it."""
    flags = LADDER_FLAGS if name == "ladder" else machine_flags()
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder)
    target = f"{folder}/{name}.so"
    compiler = os.environ.get("CC", "cc")
    subprocess.run(
        [compiler, *flags, "-std=gnu11", "-shared", "-fPIC", "-pthread", str(HERE / f"{name}.c"),
         "-o", target, "-lm"],
        check=True,
    )  # fmt: skip
    library = ctypes.CDLL(target)
    for function in ("multiply_add", "train"):
        if hasattr(library, function):
            getattr(library, function).restype = ctypes.c_double
    return library


def address(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def peak(threads: int, dtype: str):
    """Multiply-adds of the widest vectors; a unit is one operation."""
    library = load("machine")
    itemsize = np.dtype(dtype).itemsize
    operations = library.multiply_add(threads, itemsize, ctypes.c_long(1))
    if operations < 0:
        raise RuntimeError("machine.c: the compiler has removed the multiply-adds")
    blocks = max(1, int(5e9 / operations))
    return (
        lambda: library.multiply_add(threads, itemsize, ctypes.c_long(blocks)),
        operations * blocks,
        {},
    )


def copy(threads: int, size: int):
    """``memcpy`` of a large array; a unit is one byte read or written."""
    library = load("machine")
    source, target = np.ones(size, np.uint8), np.ones(size, np.uint8)
    n_bytes = ctypes.c_long(size)
    return lambda: library.copy(threads, address(source), address(target), n_bytes), 2 * size, {}


def ladder(threads: int, layers: list[int], batch: int, rows: int, order_batch: int):
    """The first rungs: scalar float64, ``batch`` samples per update; time per sample."""
    X, y = problem.data(layers[0], rows, "float64")
    index = problem.order(rows, order_batch).reshape(-1)
    sizes = np.array(layers, np.int32)
    pairs = problem.weights(layers, "float64")
    flat = [np.concatenate([w.T.ravel(), b]) for w, b in pairs]  # rows of W are outputs
    weights = np.concatenate(flat)
    state = np.zeros((3, weights.size))
    library = load("ladder")
    hyper = np.array([
        problem.LEARNING_RATE, *problem.BETAS, problem.EPS, problem.WEIGHT_DECAY, problem.CLIP_NORM,
    ])  # fmt: skip
    t = np.zeros(1, np.int64)

    def call():
        return library.train(
            address(sizes), len(layers), address(X), address(y), address(index), len(index), batch,
            address(weights), address(state), address(t), address(hyper),
        )  # fmt: skip

    call()
    after, at = [], 0
    for w, b in pairs:
        after.append(
            (weights[at : at + w.size].reshape(w.T.shape).T, weights[at + w.size :][: b.size])
        )
        at += w.size + b.size
    return call, len(index), {"loss": problem.loss(after, X, y)}
