"""Defects of one line, injected on purpose, and the test that must notice each.

``python tests/defects.py`` copies the tree, breaks the copy in one place, rebuilds what is needed,
runs the named test and reports a defect that it lets pass; the tree itself is not touched.
``python tests/defects.py --races`` does the same with data races, in a build under the thread
sanitizer. `injected.py` has the lists. Needs what the tests need, and Cython and setuptools.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from injected import DEFECTS, RACES, Defect

ROOT = Path(__file__).resolve().parents[1]
NATIVE = (".pyx", ".pxd", ".c", ".h")
#: what a build and the tests read
PARTS = ("src", "tests", "setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in")
LIMIT = 900  # seconds for one test; one that hangs has noticed too
PASSED, FAILED, REPORTED = 0, 1, 66  # exit statuses: pytest's, the sanitizer's
REPORT = "WARNING: ThreadSanitizer: data race"
#: what several threads do; the sanitizer must have nothing to report
PARALLEL = (
    "test_races.py",
    "test_bits.py",
    "test_step.py",
    "test_parameters.py::test_threads_do_not_change_a_bit",
    "test_regressor.py::test_eight_threads_predict_side_by_side",
    "test_regressor.py::test_threads_share_an_estimator_that_was_just_unpickled",
    "test_signals.py::test_a_fit_in_another_thread_gives_the_same_bits",
    "test_windows.py::test_the_first_bad_row_is_told",
    "test_batch_norm.py::test_threads_do_not_change_a_fit",
)
#: counts the threads of libgomp; asks for half a second
UNFIT = (
    "tests/test_bits.py::test_threads_really_run",
    "tests/test_step.py::test_a_signal_leaves_the_weights_of_a_whole_step",
)


def native(defect: Defect) -> bool:
    return defect.file.endswith(NATIVE)


def copy(source: Path, target: Path, build: bool) -> Path:
    """A tree to break; its times stay, so that only what is broken is built anew."""
    junk = shutil.ignore_patterns("__pycache__", "lib*", "bdist*")
    for part in (*PARTS, *(("build",) if build else ())):
        if (source / part).is_dir():
            shutil.copytree(source / part, target / part, ignore=junk)
        elif (source / part).exists():
            target.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / part, target / part)
    return target


def build(tree: Path, switches: dict[str, str]) -> None:
    done = subprocess.run(
        [sys.executable, "setup.py", "--quiet", "build_ext", "--inplace"],
        cwd=tree, env={**os.environ, **switches}, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        sys.exit(f"{tree} cannot be built:\n{done.stdout}{done.stderr}")


def inject(tree: Path, defect: Defect) -> None:
    path = tree / "src" / "ctrain" / defect.file
    text = path.read_text(encoding="utf-8")
    if text.count(defect.old) != 1:
        sys.exit(f"{defect.file} does not hold once: {defect.old!r}; bring the defect up to date")
    path.write_text(text.replace(defect.old, defect.new), encoding="utf-8")


def run(tree: Path, tests: Iterable[str], variables: dict[str, str]) -> tuple[int, str]:
    """Exit status and output of pytest in a tree; a test that hangs has failed."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "--tb=short",
               "--capture=sys"]  # fmt: skip
    if variables:
        command += [f"--deselect={test}" for test in UNFIT]
    try:
        done = subprocess.run(
            [*command, *(f"tests/{test}" for test in tests)],
            cwd=tree, env={**os.environ, "PYTHONPATH": str(tree / "src"), **variables},
            capture_output=True, text=True, timeout=LIMIT,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return FAILED, f"no end after {LIMIT} s"
    return done.returncode, done.stdout + done.stderr


def noticed(status: int, output: str) -> str | None:
    """The test that failed; None if all passed."""
    if status < 0:
        return f"killed by signal {-status}"
    if status != FAILED:
        return None
    for line in output.splitlines():
        if line.startswith("FAILED "):
            return line.removeprefix("FAILED tests/").split(" - ")[0]
    return output.splitlines()[-1]


def raced(status: int, output: str) -> str | None:
    """Where the thread sanitizer sees a race in our code; None if nowhere, whatever tests say."""
    for report in output.split(REPORT)[1:]:
        lines = report.split("Thread T", 1)[0].splitlines()
        frames = [line.split()[1] for line in lines if "#" in line and "_core" in line]
        if frames:
            names = (re.sub(r"__pyx_f_\w+_core_\d[a-z]+_", "", frame) for frame in frames)
            return "data race below " + ", ".join(list(dict.fromkeys(names))[:3])
    return None


def under_the_sanitizer() -> dict[str, str]:
    """Variables for a Python that loads modules with the thread sanitizer."""
    compiler = os.environ.get("CC", "cc").split()[0]
    found = []
    for library in ("libtsan.so", "libstdc++.so.6"):
        asked = [compiler, f"-print-file-name={library}"]
        try:
            path = subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
        except (OSError, subprocess.CalledProcessError) as error:
            sys.exit(f"there is no C compiler named {compiler} ({error}): apt install gcc")
        if not os.path.isabs(path):
            sys.exit(f"{compiler} comes without {library}: apt install gcc, and CC=gcc")
        found.append(path)
    variables = {
        "LD_PRELOAD": " ".join(found),
        # a race may make what follows hang
        "TSAN_OPTIONS": f"exitcode={REPORTED}:halt_on_error=1",
        "PYTHONMALLOC": "malloc",  # whose blocks it follows
        "CTRAIN_CPU": "baseline",  # masked vector instructions are not instrumented
        "OPENBLAS_NUM_THREADS": "1",  # which it does not see into
    }
    probe = subprocess.run(
        [sys.executable, "-c", "pass"], env={**os.environ, **variables}, capture_output=True,
        text=True,
    )  # fmt: skip
    if probe.returncode:
        sys.exit(
            f"the thread sanitizer cannot start Python here:\n{probe.stderr}\n"
            "If it names memory mappings: setarch -R make test-races"
        )
    return variables


def table(defects: Iterable[Defect]) -> str:
    """The rows of the tables in docs/design.md."""
    return "\n".join(f"| {d.group} | {d.what} | `{d.file}` | `{d.test}` |" for d in defects)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table", action="store_true", help="print the rows for the docs")
    parser.add_argument("--races", action="store_true", help="data races, thread sanitizer")
    parser.add_argument("--only", default="", metavar="REGEX", help="of group, file and text")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(RACES if arguments.races else DEFECTS))
        return
    if arguments.races:
        defects, look, switches = RACES, raced, {"CTRAIN_SANITIZE": "thread"}
        variables = under_the_sanitizer()
    else:
        defects, look, switches, variables = DEFECTS, noticed, {}, {}
    chosen = [d for d in defects if re.search(arguments.only, f"{d.group} {d.file} {d.what}")]
    tests = sorted({d.test for d in chosen} if not arguments.races else PARALLEL)
    survived = 0
    with tempfile.TemporaryDirectory(prefix="ctrain-defects-") as folder:
        sound = copy(ROOT, Path(folder, "sound"), build=True)
        build(sound, switches)
        status, output = run(sound, tests, variables)
        if status != PASSED:
            sys.exit(f"without a defect pytest ends with status {status}:\n{output}")
        print(f"without a defect: {output.splitlines()[-1]}", flush=True)
        for defect in chosen:
            started = time.perf_counter()
            broken = copy(sound, Path(folder, "broken"), build=native(defect))
            inject(broken, defect)
            if native(defect):
                build(broken, switches)
            status, output = run(broken, [defect.test], variables)
            found = look(status, output)
            seconds = time.perf_counter() - started
            print(f"{found or 'SURVIVED'} <- {defect.file}: {defect.what} ({seconds:.0f} s)")
            sys.stdout.flush()
            if found is None:
                survived += 1
                print(output[-3000:])
            shutil.rmtree(broken)
    print(f"{len(chosen) - survived} of {len(chosen)} defects were noticed")
    sys.exit(bool(survived))


if __name__ == "__main__":
    main()
