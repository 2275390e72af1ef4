"""Fits that are killed: a server that forks a child for each trial, kills it and resumes.

``python survivors.py FOLDER SEED KILLS`` prints a report as JSON.
"""

from __future__ import annotations

import itertools
import json
import mmap
import os
import random
import signal
import sys
import time
from pathlib import Path

import small
from resumption import Cautious, differences, fingerprint

from ctrain import checkpoint, storage, training
from ctrain.callbacks import Checkpoint
from ctrain.optimizers import AdamW

X, Y = small.problem()
INSIDE, SAVES = 0, 1  # bytes that parent and child share


def estimator():
    return small.small(
        optimizer=AdamW(amsgrad=True), dropout=0.2, schedule=Cautious(), early_stopping=True,
        batch_size=9, n_jobs=1,
    )  # fmt: skip


def fit(path: Path, shared: mmap.mmap) -> None:
    """What a child does: go on where the last one was killed, with a checkpoint after each step."""
    real = storage.save

    def save(*arguments):
        shared[INSIDE] = 1
        real(*arguments)
        shared[INSIDE] = 0
        shared[SAVES] = min(255, shared[SAVES] + 1)

    storage.save = save
    often = Checkpoint(path, every_seconds=1e-9)
    estimator().set_callbacks(often).fit(X, Y, resume=path if path.exists() else None)


def wait_for_a_save(shared: mmap.mmap, further: float) -> None:
    """Until a child is in one, and `further` seconds, but not for long: it may have ended."""
    deadline = time.monotonic() + 0.1
    while not shared[INSIDE] and time.monotonic() < deadline:
        pass
    until = time.monotonic() + further
    while shared[INSIDE] and time.monotonic() < until:
        pass


def campaign(folder: Path, seed: int, kills: int) -> dict:
    rng, shared, wrong = random.Random(seed), mmap.mmap(-1, 2), []
    training.GLANCE = 0.0  # a look at the clock after each step
    whole = fingerprint(estimator().fit(X, Y), X)
    done = inside = steps = left_over = 0
    longest, path = None, folder / "fit.npz"
    for trial in itertools.count():
        if done == kills:
            break
        shared[INSIDE] = shared[SAVES] = 0
        had = path.exists()
        began = time.monotonic()
        child = os.fork()
        if not child:
            status = 1
            try:
                fit(path, shared)
                status = 0
            finally:
                os._exit(status)
        if longest is not None:  # the first one tells how long a fit takes
            time.sleep(rng.uniform(0, longest))
            if trial % 2:  # how many fall into a save is left to no disk: half of them may aim
                wait_for_a_save(shared, rng.uniform(0, 1e-3))
            os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if code == 0:  # it had ended before the kill
            took = time.monotonic() - began
            longest = took if longest is None else 0.7 * longest + 0.3 * took
        elif code != -signal.SIGKILL:
            wrong.append(f"trial {trial}: exit code {code}")
            break
        else:
            done += 1
            inside += shared[INSIDE]
        temporary = [f for f in folder.iterdir() if storage.TEMPORARY.fullmatch(f.name)]
        if len(temporary) > 1:
            wrong.append(f"trial {trial}: {len(temporary)} temporary files")
        left_over += len(temporary)
        if not path.exists():
            if had or shared[SAVES]:
                wrong.append(f"trial {trial}: the file is gone")
            continue
        try:
            header, _ = checkpoint.read(path)
            resumed = estimator().fit(X, Y, resume=path)
        except Exception as error:
            wrong.append(f"trial {trial}: {error!r}")
            break
        steps += header["state"]["step"] if code else 0
        lost = differences(whole, fingerprint(resumed, X))
        if lost:
            wrong.append(f"trial {trial} at step {header['state']['step']}: {lost}")
        if code == 0 or rng.random() < 0.3:
            path.unlink()  # begin anew
    storage.check_writable(path)  # as the next Checkpoint does
    names = {f.name for f in folder.iterdir()} - {"fit.npz", "fit.npz.lock"}
    if names:
        wrong.append(f"left behind: {names}")
    return {"kills": done, "inside a save": inside, "temporary files seen": left_over,
            "mean step": steps / max(done, 1), "wrong": wrong}  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(campaign(Path(sys.argv[1]).resolve(), int(sys.argv[2]), int(sys.argv[3]))))
