"""Processes of their own: for other targets, for what works once; and files for the command."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from ctrain._core import dispatch


def spawned(code: str, **variables: str) -> subprocess.Popen:
    """A new process that runs `code`, which can import the tests."""
    here = str(Path(__file__).parent)
    code = f"import sys; sys.path.insert(0, {here!r})\n" + textwrap.dedent(code)
    return subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def printed(process: subprocess.Popen) -> str:
    """What a process that must succeed has printed."""
    output, errors = process.communicate()
    assert process.returncode == 0, f"exit status {process.returncode}\n{errors}"
    return output


@pytest.fixture(scope="session")
def run_python():
    """``run_python(code, VARIABLE=value)``: what a new process prints; it can import the tests."""

    def run(code: str, **variables: str) -> str:
        return printed(spawned(code, **variables))

    return run


@pytest.fixture(scope="session")
def on_target(tmp_path_factory):
    """``on_target(target, module, function)``: its dict of arrays, computed on a CPU target.

    The processes of all targets run side by side from the first question on.
    """
    started: dict[tuple[str, str, str], subprocess.Popen] = {}
    folder = tmp_path_factory.mktemp("targets")

    def start(target: str, module: str, function: str) -> None:
        store = str(folder / f"{target} {module} {function}.npz")
        code = f"""
            import numpy, {module}
            from ctrain._core import dispatch
            assert dispatch.target() == {target!r}
            numpy.savez({store!r}, **{module}.{function}())
        """
        started[target, module, function] = spawned(code, CTRAIN_CPU=target)

    @cache
    def run(target: str, module: str, function: str) -> dict[str, np.ndarray]:
        if (target, module, function) not in started:
            for each in dispatch.available():
                start(each, module, function)
        printed(started[target, module, function])
        with np.load(folder / f"{target} {module} {function}.npz") as arrays:
            return dict(arrays)

    yield run
    for process in started.values():
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder of tables and series for the command."""
    from commands import make_files

    return make_files(tmp_path_factory.mktemp("files"))


@pytest.fixture
def in_folder(files, monkeypatch, request):
    """Be in that folder, unless the test has one of its own."""
    if "tmp_path" not in request.fixturenames:
        monkeypatch.chdir(files)


@pytest.fixture(scope="module")
def models(files):
    """Names of models in that folder, one of each kind."""
    from commands import make_models

    return make_models(files)
