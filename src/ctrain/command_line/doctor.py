"""``ctrain doctor``: whether this installation computes what it should."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import subprocess
import sys

import numpy as np
from threadpoolctl import threadpool_info

from .._core import dispatch, parallel
from .._core.tape import Tape
from ..config import show_config
from ..gradcheck import check_gradients
from ..regressor import Regressor
from .report import aligned, tell

#: extra -> package that it brings
EXTRAS = {"data": "polars", "progress": "rich", "plot": "matplotlib", "tune": "optuna",
          "cloud": "fsspec"}  # fmt: skip
FINGERPRINT = "from ctrain.command_line.doctor import fingerprint; print(fingerprint())"
LONGEST = 120  # seconds that a process of another target may take


def doctor(options) -> int:
    """Say what this build and machine are, and check the kernels."""
    checks = {
        "products against numpy, float32": lambda: products("float32"),
        "products against numpy, float64": lambda: products("float64"),
        "gradients against differences": gradients,
        "same bits on 1, 2 and 3 threads": threads,
        "same bits on all targets": targets,
    }
    outcome = {name: _outcome(check) for name, check in checks.items()}
    config = show_config()
    blas = [
        f"{info['internal_api']} {info.get('version') or ''} ({info['num_threads']} threads)"
        for info in threadpool_info() if info["user_api"] == "blas"
    ]  # fmt: skip
    openmp = [os.path.basename(i["filepath"]) for i in threadpool_info()
              if i["user_api"] == "openmp"]  # fmt: skip
    config |= {
        "cores": str(os.cpu_count()),
        "BLAS": ", ".join(blas),
        "OpenMP runtimes": ", ".join(openmp),
    }
    extras = {extra: _version(package) for extra, package in EXTRAS.items()}
    ok = all(text.startswith("ok") for text in outcome.values())
    told = [
        *aligned(config.items()), "",
        *aligned((f"extra {extra}", version or f"not installed: pip install 'ctrain[{extra}]'")
                 for extra, version in extras.items()), "",
        *aligned(outcome.items()),
    ]  # fmt: skip
    result = {"ok": ok, "config": config, "extras": extras, "checks": outcome}
    tell(result, options.json, told)
    return 0 if ok else 1


def _outcome(check) -> str:
    try:
        return f"ok{check()}"
    except Exception as error:  # a broken build may raise anything; the others are still checked
        return f"FAILED: {type(error).__name__}: {error}"


def _version(package: str) -> str | None:
    if importlib.util.find_spec(package) is None:
        return None
    return f"{package} {importlib.metadata.version(package)}"


def products(dtype: str) -> str:
    """Matrix products lie within n u sum|x||w|, the bound of any order of summation."""
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(257, 131)).astype(dtype), rng.normal(size=(131, 67)).astype(dtype)
    tape = Tape(dtype)
    product = tape.matmul(tape.input((131,), name="x"), tape.parameter(w, name="w"))
    tape.forward(x=x)
    x, w = x.astype(np.longdouble), w.astype(np.longdouble)
    error = np.abs(tape.value(product) - x @ w)
    share = float((error / (np.abs(x) @ np.abs(w))).max()) / (131 * np.finfo(dtype).eps / 2)
    if not share <= 1.0:
        raise ArithmeticError(f"an error is {share:.3g} times the bound n u |x||w|")
    return f", error {share:.2g} of the bound"


def gradients() -> str:
    """Derivatives of a network agree with finite differences."""
    rng = np.random.default_rng(0)

    def network(tape, x, y, a, b):
        hidden = tape.gelu(tape.tanh(tape.matmul(x, a)))
        return tape.squared_error(tape.softplus(tape.matmul(hidden, b)), y)

    error = check_gradients(
        network,
        {"x": rng.normal(size=(9, 5)), "y": rng.normal(size=(9, 2))},
        {"a": rng.normal(size=(5, 7)), "b": rng.normal(size=(7, 2))},
    )
    return f", error {error:.2g}"


def threads() -> str:
    """A fit gives the same weights on any number of threads."""
    found = {n: fingerprint(n) for n in (1, 2, 3)}
    if len(set(found.values())) > 1:
        raise ArithmeticError(f"weights differ: {found}")
    return "" if parallel.openmp_version() else " (this build has one thread)"


def targets() -> str:
    """A fit gives the same weights on all targets with fused multiply-add."""
    found = {}
    for name in dispatch.available():
        if name == "baseline":
            continue
        done = subprocess.run(
            [sys.executable, "-c", FINGERPRINT], env={**os.environ, "CTRAIN_CPU": name},
            capture_output=True, text=True, timeout=LONGEST,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{name}: {done.stderr.strip().splitlines()[-1]}")
        found[name] = done.stdout.strip()
    if len(set(found.values())) > 1:
        raise ArithmeticError(f"weights differ: {found}")
    return f": {', '.join(found) or 'baseline alone'}"


def fingerprint(n_jobs: int | None = None) -> str:
    """First digits of a digest of the weights after a short fit."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(600, 40)).astype("float32")
    y = np.sin(X[:, :3]).sum(axis=1)
    model = Regressor((96, 64), activation="gelu", max_iter=3, batch_size=256, n_jobs=n_jobs,
                      early_stopping=False, random_state=0)  # fmt: skip
    arena = model.fit(X, y)._network.parameters.pack()
    return hashlib.sha256(arena.tobytes()).hexdigest()[:16]
