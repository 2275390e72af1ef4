"""Defects of one line, injected on purpose, and the test that must notice each.

``python tests/defects.py`` copies the tree, breaks the copy in one place, rebuilds what is needed,
runs the named test and reports a defect that it lets pass; the tree itself is not touched.
``python tests/defects.py --races`` does the same with data races, in a build under the thread
sanitizer. Needs what the tests need, and Cython and setuptools to build.

Each group is something that has gone wrong in other libraries.
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
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
NATIVE = (".pyx", ".pxd", ".c", ".h")
#: what a build and the tests read
PARTS = ("src", "tests", "setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in")
LIMIT = 900  # seconds for one test; one that hangs has noticed too
PASSED, FAILED, REPORTED = 0, 1, 66  # exit statuses: pytest's, the sanitizer's
REPORT = "WARNING: ThreadSanitizer: data race"
COUNTS_THREADS = "tests/test_bits.py::test_threads_really_run"  # those of libgomp


class Defect(NamedTuple):
    """`old` stands once in `file` (below src/ctrain) and becomes `new`; `test` must fail."""

    what: str
    group: str
    file: str
    old: str
    new: str
    test: str


DEFECTS = (
    # ------------------------------------------------------------------------ the core
    Defect(
        "the last, shorter vector of a row is left out when it has one element",
        "short vectors", "_core/kernels/elementwise.inc.c",
        "        if (i < (n)) {   ",
        "        if (i + 1 < (n)) {",
        "test_ops.py::test_values",
    ),
    Defect(
        "the first moment is not divided by 1 - beta1^t",
        "bias correction", "_core/kernels/optim.inc.c",
        "scalar[0] = -lr / FN(opt_correction)(hyper[0], t);\n"
        "    scalar[1] = 1 / __builtin_sqrt",
        "scalar[0] = -lr;\n    scalar[1] = 1 / __builtin_sqrt",
        "test_optimizers.py::test_float64_follows_torch",
    ),
    Defect(
        "the sum of losses is rounded to float32 at each row",
        "sums in float32", "_core/phases.pyx",
        "sums[0] += w * (<const float *>loss)[r]",
        "sums[0] = <float>(sums[0] + w * (<const float *>loss)[r])",
        "test_step.py::test_sums_over_many_rows_are_float64",
    ),
    Defect(
        "gradients are added to those of the step before",
        "gradients not zeroed", "_core/phases.pyx",
        "tile.add or not (batch.first_slab and r0 == 0 and u == 0)",
        "True",
        "test_step.py::test_a_step_is_the_textbooks",
    ),
    Defect(
        "what rows of weight 0 have left in the slab is not cleared",
        "sample weights", "_core/phases.pyx",
        "memset(ws.slab + slab.offset + r * slab.row_bytes, 0, slab.row_bytes)",
        "pass",
        "test_step.py::test_a_row_of_weight_zero_may_overflow",
    ),
    Defect(
        "blocks in which a shared parameter's uses are added depend on the number of threads",
        "bits and threads", "_core/phases.pyx",
        "batch.rows if tile.n_uses == 1 else ROW_BLOCK",
        "batch.rows if tile.n_uses == 1 else ROW_BLOCK * ws.threads",
        "test_bits.py::test_threads_do_not_change_bits",
    ),
    Defect(
        "signals are looked for every 20 s instead of every 20 ms",
        "signals", "_core/program.pyx",
        "cdef double POLL = 0.02",
        "cdef double POLL = 20.0",
        "test_step.py::test_a_signal_leaves_the_weights_of_a_whole_step",
    ),
    Defect(
        "two calls at a time share one workspace",
        "shared memory", "_core/program.pyx",
        "ws = self.free.pop()",
        "ws = self.free[0]",
        "test_step.py::test_one_program_serves_several_threads",
    ),
    Defect(
        "the key of a dropout mask leaves the step out",
        "random keys", "_core/step.pyx",
        "ws.frames[k].step = c.step + s",
        "ws.frames[k].step = c.step",
        "test_step.py::test_steps_are_the_same_in_one_call_or_in_many",
    ),
    Defect(
        "the gradient is divided by the number of rows, not by the sum of weights",
        "sample weights", "_core/step.pyx",
        "c.args.factor = min(1.0, c.clip_norm / (norm + 1e-6)) / sums[1]",
        "c.args.factor = min(1.0, c.clip_norm / (norm + 1e-6)) / rows",
        "test_step.py::test_a_step_is_the_textbooks",
    ),
    Defect(
        "a gradient that is not finite is applied",
        "not finite", "_core/step.pyx",
        "if not isfinite(norm):",
        "if norm < 0:",
        "test_step.py::test_a_step_that_is_not_finite_is_abandoned",
    ),
    Defect(
        "a forked child does not know that its threads are gone",
        "fork", "_core/parallel.pyx",
        "static void ct_after_fork(void) { ct_is_child = 1; }",
        "static void ct_after_fork(void) { ct_is_child = 0; }",
        "test_signals.py::test_a_forked_process_can_fit",
    ),
    # ------------------------------------------------------------------------ the loop
    Defect(
        "NaN as the first value of the monitor is the best one",
        "NaN is best", "stopping.py",
        "better = finite and not",
        "better = not",
        "test_stopping.py::test_scripted_sequences_with_a_hole_at_every_position",
    ),
    Defect(
        "patience ends one validation late",
        "patience", "stopping.py",
        "self.waited >= self.patience",
        "self.waited > self.patience",
        "test_stopping.py::test_scripted_sequences_with_a_hole_at_every_position",
    ),
    Defect(
        "the best weights are those of now, not a copy",
        "best weights", "training.py",
        "state.best_weights = arena.copy()",
        "state.best_weights = arena",
        "test_stopping.py::test_best_weights_are_those_of_a_fit_that_ends_there",
    ),
    Defect(
        "a second fit begins with the best weights of the first",
        "older state", "state.py",
        "        self.best_weights = None\n",
        "        pass\n",
        "test_stopping.py::test_a_second_fit_looks_for_a_best_epoch_of_its_own",
    ),
    Defect(
        "every epoch has the same order of rows",
        "random keys", "training.py",
        '"shuffle", self.state.epoch)',
        '"shuffle", 0)',
        "test_parameters.py::test_shuffle_draws_a_new_order_of_the_same_rows_each_epoch",
    ),
    Defect(
        "the warm-up is one step behind",
        "schedule", "schedules/curves.py",
        "base * (step + 1) / (warmup + 1)",
        "base * step / (warmup + 1)",
        "test_schedule_values.py::test_exact_at_every_step",
    ),
    Defect(
        "no row to validate on is accepted",
        "nothing to validate on", "held_out.py",
        "if not 0 < count < n:",
        "if not 0 <= count < n:",
        "test_held_out.py::test_split_is_a_partition",
    ),
    Defect(
        "metrics ignore the weights of validation rows",
        "sample weights", "held_out.py",
        "if weight is not None:",
        "if weight is not None and part == 'train':",
        "test_held_out.py::test_validation_is_weighted",
    ),
    Defect(
        "a parameter is taken and ignored: clip_value",
        "ignored parameter", "training.py",
        '"clip_value": math.inf if settings.clip_value is None else settings.clip_value,',
        '"clip_value": math.inf,',
        "test_parameters.py::test_clip_norm_and_clip_value_bound_a_step",
    ),
    Defect(
        "the fitted estimator keeps the data",
        "data kept", "tabular.py",
        "self.fit_time_ = time.perf_counter() - started",
        "self.fit_time_, self._X = time.perf_counter() - started, X",
        "test_state.py::test_the_data_are_not_kept",
    ),
    # ------------------------------------------------------------------------ files
    Defect(
        "a resumed fit begins with empty slots",
        "resume", "checkpoint.py",
        'slot[:] = arrays[f"slot.{name}"]',
        "slot[:] = 0",
        "test_resume.py::test_after_each_step",
    ),
    Defect(
        "a resumed fit counts the optimizer's steps from 0 again",
        "resume", "checkpoint.py",
        'optimizer.t = saved["optimizer"]["t"]',
        "optimizer.t = 0",
        "test_resume.py::test_after_each_step",
    ),
    Defect(
        "a resumed epoch forgets the losses of its first steps",
        "resume", "history.py",
        "history._steps = np.array(steps, np.float64)",
        "history._steps = np.zeros_like(steps, np.float64)",
        "test_resume.py::test_after_each_step",
    ),
    Defect(
        "a checkpoint is written in place",
        "half a file", "storage.py",
        "temporary, descriptor = _create(folder)\n    try:\n        try:",
        "temporary, descriptor = target, os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC)\n"
        "    try:\n        try:",
        "test_storage.py::test_a_kill_at_each_system_call_of_a_save",
    ),
    Defect(
        "a checkpoint is renamed before its bytes are on the disk",
        "power loss", "storage.py",
        "            os.fsync(descriptor)\n        finally:",
        "            pass\n        finally:",
        "test_storage.py::test_after_a_power_loss_there_is_the_old_file_or_the_new_one",
    ),
    Defect(
        "the folder is not synced after the renaming",
        "power loss", "storage.py",
        "        raise\n    _sync_folder(folder)",
        "        raise",
        "test_storage.py::test_after_a_power_loss_there_is_the_old_file_or_the_new_one",
    ),
    Defect(
        "a save that fails leaves its temporary file",
        "leftovers", "storage.py",
        "    except BaseException:\n"
        "        with contextlib.suppress(OSError):\n"
        "            os.unlink(temporary)\n"
        "        raise\n    _sync",
        "    except BaseException:\n        raise\n    _sync",
        "test_storage.py::test_a_fault_at_each_call",
    ),
    Defect(
        "the digest of a file is not compared",
        "damaged file", "archive.py",
        "if digest.encode() != seal[2]:",
        "if not digest:",
        "test_archive.py::test_every_flipped_bit_and_every_cut_is_found",
    ),
    Defect(
        "the schema of a file is not checked",
        "hostile file", "archive.py",
        "_check_table(table, schema(header))",
        "schema(header)",
        "test_archive.py::test_the_schema_decides",
    ),
    Defect(
        "a small file may ask for any amount of memory",
        "hostile file", "archive.py",
        "if _cost(len(body), text, sizes) > _budget(len(body)):",
        "if not sizes:",
        "test_archive.py::test_each_lie_in_the_header_is_named",
    ),
    Defect(
        "a file of a newer format is read as if it were this one",
        "newer file", "archive.py",
        "if int(seal[1]) > FORMAT:",
        "if int(seal[1]) < FORMAT:",
        "test_archive.py::test_a_newer_format_says_so",
    ),
)  # fmt: skip

#: what several threads do; the sanitizer must have nothing to report
PARALLEL = (
    "test_bits.py",
    "test_step.py",
    "test_parameters.py::test_threads_do_not_change_a_bit",
    "test_regressor.py::test_eight_threads_predict_side_by_side",
    "test_regressor.py::test_threads_share_an_estimator_that_was_just_unpickled",
    "test_signals.py::test_a_fit_in_another_thread_gives_the_same_bits",
    "test_windows.py::test_the_first_bad_row_is_told",
)
THREADS = "test_bits.py::test_threads_do_not_change_bits"
#: what it must report while `test` runs
RACES = (
    Defect(
        "the counter of pieces is not atomic", "race", "_core/parallel.pxd",
        "const long piece = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED);",
        "const long piece = (*next)++;",
        THREADS,
    ),
    Defect(
        "a job is closed without waiting for those inside", "race", "_core/parallel.pxd",
        "while (__atomic_load_n(&t->active, __ATOMIC_SEQ_CST))",
        "while (__atomic_load_n(&t->active, __ATOMIC_SEQ_CST) && !spins)",
        THREADS,
    ),
    Defect(
        "who leaves a job does not publish what it wrote", "race", "_core/parallel.pxd",
        "static void ct_leave(ct_team *t) { __atomic_sub_fetch(&t->active, 1, __ATOMIC_SEQ_CST); }",
        "static void ct_leave(ct_team *t) { __atomic_sub_fetch(&t->active, 1, __ATOMIC_RELAXED); }",
        THREADS,
    ),
    Defect(
        "two pieces write one tile of a parameter", "race", "_core/phases.pyx",
        "p.stages[job.stage].tiles.begin + i)",
        "p.stages[job.stage].tiles.begin + i % 2)",
        THREADS,
    ),
    Defect(
        "two pieces write one tile of rows", "race", "_core/phases.pyx",
        "p, ws, thread, job.batch, i * job.height, job.height, job.stage, job.forward,",
        "p, ws, thread, job.batch, i % 2 * job.height, job.height, job.stage, job.forward,",
        THREADS,
    ),
    Defect(
        "two pieces update one chunk of the arena", "race", "_core/phases.pyx",
        "run_chunk(p, ws.optimizer, job.decayed, job.plain, i)",
        "run_chunk(p, ws.optimizer, job.decayed, job.plain, i % 2)",
        THREADS,
    ),
    Defect(
        "all threads share one frame in the weights phase", "race", "_core/phases.pyx",
        "cdef ct_frame *frame = &ws.frames[thread]\n    cdef ptrdiff_t block",
        "cdef ct_frame *frame = &ws.frames[0]\n    cdef ptrdiff_t block",
        THREADS,
    ),
    Defect(
        "two calls at a time share one workspace", "race", "_core/program.pyx",
        "ws = self.free.pop()",
        "ws = self.free[0]",
        "test_step.py::test_one_program_serves_several_threads",
    ),
)  # fmt: skip


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
               "--capture=sys", "--deselect", COUNTS_THREADS]  # fmt: skip
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
    """What the thread sanitizer reports; None if nothing, whatever the test says."""
    at = output.find(REPORT)
    if at < 0:
        return None
    places = re.findall(r"#0 (?:__pyx_f\w+_core_\d[a-z]+_)?(\w+)", output[at : at + 4000])
    return "data race: " + ", ".join(dict.fromkeys(places[:2]))


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
        "TSAN_OPTIONS": f"exitcode={REPORTED}",
        "PYTHONMALLOC": "malloc",  # whose blocks it follows
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
