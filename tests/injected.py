"""Defects of one line, and for each the test that must notice it; `defects.py` injects them."""

from __future__ import annotations

from typing import NamedTuple


class Defect(NamedTuple):
    """`old` stands once in `file` (below src/ctrain) and becomes `new`; `test` must fail."""

    what: str
    group: str
    file: str
    old: str
    new: str
    test: str


#: each group is something that has gone wrong in other libraries
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
        "test_races.py::test_a_signal_handler_may_predict_in_the_middle_of_a_prediction",
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
        "state.best_weights = best\n",
        "state.best_weights = arena\n",
        "test_stopping.py::test_best_weights_are_those_of_a_fit_that_ends_there",
    ),
    Defect(
        "a second fit begins with the best weights of the first",
        "older state", "state.py",
        "        self.best_weights = None\n",
        "        pass\n",
        "test_stopping.py::test_what_follows_does_not_fall_back_to_an_old_best",
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
        "test_held_out.py::test_a_split_without_rows_or_weight_names_the_numbers",
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
        "history._steps = np.asarray(steps, np.float64)",
        "history._steps = np.zeros_like(steps, np.float64)",
        "test_resume.py::test_after_each_step",
    ),
    Defect(
        "a checkpoint is written in place",
        "half a file", "storage.py",
        "temporary, descriptor = _create(folder)\n    try:\n        rest",
        "temporary, descriptor = target, os.open(target, os.O_RDWR | os.O_CREAT | os.O_TRUNC)\n"
        "    try:\n        rest",
        "test_storage.py::test_a_kill_at_each_system_call_of_a_save",
    ),
    Defect(
        "a checkpoint is renamed before its bytes are on the disk",
        "power loss", "storage.py",
        "        _sync(descriptor)\n        os.replace",
        "        os.replace",
        "test_storage.py::test_after_a_power_loss_there_is_the_old_file_or_the_new_one",
    ),
    Defect(
        "the folder is not synced after the renaming",
        "power loss", "storage.py",
        "        os.close(descriptor)\n    _sync_folder(folder)",
        "        os.close(descriptor)",
        "test_storage.py::test_after_a_power_loss_there_is_the_old_file_or_the_new_one",
    ),
    Defect(
        "a save that fails leaves its temporary file",
        "leftovers", "storage.py",
        "    except BaseException:\n"
        "        with contextlib.suppress(OSError):\n"
        "            os.unlink(temporary)\n"
        "        raise\n    finally",
        "    except BaseException:\n        raise\n    finally",
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
        "    if cost > _budget(n_file):",
        "    if not n_file:",
        "test_archive.py::test_each_lie_in_the_header_is_named",
    ),
    Defect(
        "what loading makes of the arrays is not counted as memory",
        "hostile file", "archive.py",
        "return max(n_file, made) + strings",
        "return n_file + strings",
        "test_checkpoint.py::test_deflated_zeros_take_no_more_memory_than_is_allowed",
    ),
    Defect(
        "an operation takes None where its kernel reads",
        "hostile file", "_core/tape.py",
        "            if x is None:\n                raise TypeError",
        "            if False:\n                raise TypeError",
        "test_tape.py::test_an_input_that_an_operation_needs_is_not_none",
    ),
    Defect(
        "a file of a newer format is read as if it were this one",
        "newer file", "archive.py",
        "if int(seal[1]) > FORMAT:",
        "if int(seal[1]) < FORMAT:",
        "test_archive.py::test_a_newer_format_says_so",
    ),
    Defect(
        "a save asks for a version where a finalizer drops a Ctrl-C",
        "lost Ctrl-C", "checkpoint.py",
        '"scipy": scipy.__version__',
        '"scipy": __import__("importlib.metadata").metadata.version("scipy")',
        "test_interrupts.py::test_ctrl_c_is_lost_nowhere",
    ),
    Defect(
        "an interrupted fit keeps the lock of its checkpoint",
        "lost Ctrl-C", "callbacks/checkpoint.py",
        "        self.teardown(estimator, context)  # of",
        "        # of",
        "test_interrupts.py::test_ctrl_c_is_lost_nowhere",
    ),
    Defect(
        "Ctrl-C waits for a slow disk",
        "lost Ctrl-C", "storage.py",
        "    if _took < SLOW:",
        "    if _took >= 0:",
        "test_interrupts.py::test_ctrl_c_does_not_wait_for_a_slow_disk",
    ),
)  # fmt: skip

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
        "test_races.py::test_updates_by_a_team",
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
