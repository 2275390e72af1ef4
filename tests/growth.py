"""What work takes of a process's memory for good, and what it leaves to the garbage collector."""

from __future__ import annotations

import gc
import json
import os

N_WARM = 60
N_CALLS = 300


def resident() -> int:
    """Bytes of memory that the process occupies."""
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def left_behind(work) -> list[str]:
    """Types and functions of ctrain that one call leaves in a cycle."""
    gc.collect()
    gc.disable()
    work()
    gc.set_debug(gc.DEBUG_SAVEALL)
    gc.collect()
    gc.set_debug(0)
    gc.enable()
    named = (x if hasattr(x, "__qualname__") else type(x) for x in gc.garbage)
    names = [f"{x.__module__}.{x.__qualname__}" for x in named]
    gc.garbage.clear()
    return [name for name in names if name.startswith("ctrain.")]


def report(*works) -> None:
    """Print, as JSON, bytes and leftovers by the name of each piece of work."""
    grown, left = {}, {}
    for work in works:
        for _ in range(N_WARM):
            work()
        before = resident()
        for _ in range(N_CALLS):
            work()
        grown[work.__name__] = resident() - before
        left[work.__name__] = left_behind(work)
    print(json.dumps({"grown": grown, "left": left}))
