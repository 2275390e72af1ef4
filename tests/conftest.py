"""Work on every CPU target of this machine, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="session")
def on_target(tmp_path_factory):
    """``on_target(target, module, function)``: its dict of arrays, computed with CTRAIN_CPU set."""

    @cache
    def run(target: str, module: str, function: str) -> dict[str, np.ndarray]:
        store = tmp_path_factory.mktemp("target") / f"{target}.npz"
        code = (
            f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
            f"import numpy, {module}\n"
            "from ctrain._core import dispatch\n"
            f"assert dispatch.target() == {target!r}\n"
            f"numpy.savez({str(store)!r}, **{module}.{function}())"
        )
        env = {**os.environ, "CTRAIN_CPU": target}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{module}.{function} on {target}:\n{done.stderr}"
        with np.load(store) as arrays:
            return dict(arrays)

    return run
