"""A process that measures one library: ``python -m peer.worker <module> <threads>``.

It reads one JSON object per line and answers one per line. ``prepare`` builds a piece of work:
the module's function of that name answers ``(call, units, info)``, where ``call()`` does ``units``
units and returns when they are done. ``round`` answers seconds per unit.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time

#: what idle threads of OpenMP and BLAS need to stop spinning, so that the next library, in another
#: process, has the machine to itself
SETTLE = 0.1


def measure(call, units: int, seconds: float) -> float:
    """Seconds per unit, over at least so many seconds; the first call only wakes threads."""
    call()
    calls = 0
    started = time.perf_counter()
    while True:
        call()
        calls += 1
        elapsed = time.perf_counter() - started
        if elapsed >= seconds:
            return elapsed / (calls * units)


def main(name: str, threads: int) -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints is no answer
    if threads == 1:
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    library = importlib.import_module(f"peer.{name}")
    call, units = None, 1
    for line in sys.stdin:
        request = json.loads(line)
        if request["do"] == "prepare":
            call = None  # frees the last work's memory
            call, units, answer = getattr(library, request["kind"])(threads, **request["args"])
        else:
            answer = {"seconds": measure(call, units, request["seconds"])}
            time.sleep(SETTLE)
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
