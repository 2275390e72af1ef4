"""Which kernels run, and on how many threads."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import joblib
import pytest

import ctrain
from ctrain._core import dispatch
from ctrain._core.parallel import effective_n_threads, openmp_version

TARGETS = dispatch.available()
CPUINFO = Path("/proc/cpuinfo")
WANTED = {
    "avx512": {"avx2", "fma", "avx512f", "avx512dq", "avx512bw", "avx512vl"},
    "avx2": {"avx2", "fma"},
}


def able() -> list[str]:
    """Targets that the machine's own description promises, best first."""
    if platform.machine() in ("aarch64", "arm64"):
        return ["neon"]
    if platform.machine() != "x86_64" or not CPUINFO.exists():
        pytest.skip("the features of this CPU cannot be read")
    flags = set(re.search(r"^flags\s*:(.*)$", CPUINFO.read_text(), re.M)[1].split())
    return [target for target, needed in WANTED.items() if needed <= flags]


def test_available_is_what_the_cpu_can_do():
    assert list(TARGETS) == [*able(), "baseline"]


TELL = """
from ctrain._core import dispatch
import ctrain
print(dispatch.target(), ctrain.show_config()["target"], *dispatch.kernel_names())
"""


def test_the_best_target_is_taken(run_python):
    assert run_python(TELL, CTRAIN_CPU="").split()[0] == TARGETS[0]


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_can_be_forced(run_python, target):
    told = run_python(TELL, CTRAIN_CPU=target).split()
    assert told == [target, target, *dispatch.kernel_names()]


@pytest.mark.parametrize("name", ["avx1024", "AVX2"])
def test_a_target_that_is_not_there(name):
    done = subprocess.run(
        [sys.executable, "-c", "import ctrain"],
        env={**os.environ, "CTRAIN_CPU": name},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    message = done.stderr.strip().splitlines()[-1]
    assert message == (
        "ImportError: CTRAIN_CPU must name a target that this machine can run, one of "
        f"{', '.join(TARGETS)}; got {name!r}"
    )


def test_show_config_tells_all():
    config = ctrain.show_config()
    assert config["target"] == dispatch.target()
    assert config["available"] == ", ".join(TARGETS)
    assert config["threads"] == str(effective_n_threads())
    assert config["CTRAIN_CPU"] == os.environ.get("CTRAIN_CPU", "not set")
    assert all(isinstance(value, str) and value for value in config.values())


# --- threads ------------------------------------------------------------------------------------

needs_openmp = pytest.mark.skipif(openmp_version() == 0, reason="this build has no OpenMP")


@needs_openmp
def test_a_number_of_threads_is_taken_at_its_word():
    assert [effective_n_threads(n) for n in (1, 2, 7)] == [1, 2, 7]


@needs_openmp
def test_threads_are_counted_back_from_all():
    every = effective_n_threads()
    assert 1 <= every <= joblib.cpu_count()
    assert effective_n_threads(-1) == every
    assert effective_n_threads(-every) == 1
    assert effective_n_threads(-every - 5) == 1


@pytest.mark.parametrize("n_jobs", [0, True, 1.5])
def test_refused_numbers_of_threads(n_jobs):
    message = rf"n_jobs must be None or an integer other than 0; got {n_jobs}"
    with pytest.raises(ValueError, match=message):
        effective_n_threads(n_jobs)


@needs_openmp
def test_the_environment_limits_threads(run_python):
    code = "from ctrain._core.parallel import effective_n_threads as n; print(n(), n(-1), n(5))"
    assert run_python(code, OMP_NUM_THREADS="1").split() == ["1", "1", "5"]
    mask = "import os; os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])\n"
    assert run_python(mask + code).split() == ["1", "1", "5"]


def test_a_forked_child_runs_on_one_thread(run_python):
    """OpenMP's threads do not survive a fork; the child computes the same bits on its own."""
    code = """
        import os, networks, test_bits
        from ctrain._core.parallel import effective_n_threads
        bits = test_bits.bits(networks.train(networks.everything, n_threads=2, epochs=1))
        child = os.fork()
        if child == 0:
            again = test_bits.bits(networks.train(networks.everything, n_threads=2, epochs=1))
            os._exit(0 if again == bits and effective_n_threads(4) == 1 else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), effective_n_threads(4))
    """
    assert run_python(code).split() == ["0", "4"]
