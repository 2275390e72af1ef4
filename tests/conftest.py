"""Processes of their own: for other CPU targets, and for what a process can do once."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def run_python():
    """``run_python(code, VARIABLE=value)``: what a new process prints; it can import the tests."""

    def run(code: str, **variables: str) -> str:
        here = str(Path(__file__).parent)
        code = f"import sys; sys.path.insert(0, {here!r})\n" + textwrap.dedent(code)
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stderr}"
        return done.stdout

    return run


@pytest.fixture(scope="session")
def on_target(tmp_path_factory, run_python):
    """``on_target(target, module, function)``: its dict of arrays, computed on a CPU target."""

    @cache
    def run(target: str, module: str, function: str) -> dict[str, np.ndarray]:
        store = str(tmp_path_factory.mktemp("target") / "arrays.npz")
        run_python(
            f"""
            import numpy, {module}
            from ctrain._core import dispatch
            assert dispatch.target() == {target!r}
            numpy.savez({store!r}, **{module}.{function}())
            """,
            CTRAIN_CPU=target,
        )
        with np.load(store) as arrays:
            return dict(arrays)

    return run
