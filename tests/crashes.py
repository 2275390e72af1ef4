"""Bad days for whoever writes files: kills at each system call, power loss, faults of the disk."""

from __future__ import annotations

import ctypes
import itertools
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from ctrain import archive, storage

SECTOR = 512


# ------------------------------------------------------------------- a kill at each system call

TRACEME, SYSCALL, SETOPTIONS = 0, 24, 0x4200
SYSTEM_CALLS, CLONES, KILL_AT_EXIT = 0x1, 0x8, 0x100000
ALL_THREADS = 0x40000000


def killed_at(number: int, action: Callable[[], None]) -> bool:
    """Whether a child that does `action` made that many system calls; it dies entering the last.

    The call is not carried out. Calls of all threads count.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long

    def ptrace(request: int, process: int, data: int = 0) -> None:
        if libc.ptrace(request, process, None, data):
            raise OSError(ctypes.get_errno(), f"ptrace({request})")

    child = os.fork()
    if not child:
        status = 1
        try:
            ptrace(TRACEME, 0)
            os.kill(os.getpid(), signal.SIGSTOP)
            action()
            status = 0
        finally:
            os._exit(status)
    if not os.WIFSTOPPED(os.waitpid(child, 0)[1]):
        raise PermissionError("this system does not let a process trace its child")
    ptrace(SETOPTIONS, child, SYSTEM_CALLS | CLONES | KILL_AT_EXIT)
    ptrace(SYSCALL, child)
    entered, n_calls, killed = set(), 0, False
    while True:
        try:
            thread, status = os.waitpid(-1, ALL_THREADS)
        except ChildProcessError:
            return killed
        if not os.WIFSTOPPED(status):
            if thread == child and not killed:
                assert os.waitstatus_to_exitcode(status) == 0
            continue
        stop, forward = os.WSTOPSIG(status), 0
        if stop == signal.SIGTRAP | 0x80:
            if thread in entered:
                entered.remove(thread)
            else:
                entered.add(thread)
                n_calls += 1
                if n_calls == number:
                    os.kill(child, signal.SIGKILL)
                    killed = True
                    continue
        elif stop not in (signal.SIGTRAP, signal.SIGSTOP):
            forward = stop
        try:
            ptrace(SYSCALL, thread, forward)
        except ProcessLookupError:  # killed with the others
            continue


OLD, NEW = {"step": 1}, {"step": 2}


def arrays(header: dict, n: int = 100) -> dict[str, np.ndarray]:
    """What belongs to a header, with a mark on each number."""
    return {"w": np.full(n, header["step"], "float32"), "step": np.array(header["step"])}


def schema(header: dict) -> dict:
    return {"w": ("float32", (None,)), "step": ("int64", ())}


def step_in(path) -> int | None:
    """The step of a file that is wholly of one save; None if there is no file."""
    try:
        header, found = archive.read(path, schema)
    except FileNotFoundError:
        return None
    assert (found["w"] == header["step"]).all() and found["step"] == header["step"]
    return header["step"]


def kills(folder: Path) -> dict:
    """Kill saves, the first one and one over an old file, at each of their system calls."""
    report = {}
    for name, old in (("first", None), ("overwriting", 1)):
        path = folder / f"{name}.npz"
        found = []
        for number in itertools.count(1):
            path.unlink(missing_ok=True)
            if old:
                archive.write(path, OLD, arrays(OLD))
            if not killed_at(number, lambda p=path: archive.write(p, NEW, arrays(NEW))):
                break
            found.append((step_in(path), len(list(folder.glob(".ctrain-*")))))
            storage.check_writable(path)
            assert not list(folder.glob(".ctrain-*"))
        assert step_in(path) == 2
        steps = [step for step, _ in found]
        report[name] = {
            "kills": len(found),
            "inside a save": sum(n_left for _, n_left in found),
            "old file after": steps.count(old),
            "new file after": steps.count(2),
        }
        assert steps.count(old) + steps.count(2) == len(steps)
    return report


# ---------------------------------------------------------------------------------- power loss


class Recorder:
    """Stands for the module `os`, and notes what is done to files and folders.

    Names in `lies` are not carried out: a saver that forgets them.
    """

    def __init__(self, lies: tuple[str, ...] = ()):
        self.log, self.lies, self.names = [], lies, {}

    def __getattr__(self, name):
        return getattr(os, name)

    def open(self, path, flags, mode=0o777):
        descriptor = os.open(path, flags, mode)
        self.names[descriptor] = None if flags & os.O_DIRECTORY else path
        if flags & os.O_CREAT:
            self.log.append(("create", path))
        return descriptor

    def write(self, descriptor, data):
        written = os.write(descriptor, data)
        self.log.append(("write", self.names[descriptor], bytes(data[:written])))
        return written

    def fsync(self, descriptor):
        name = self.names[descriptor]
        if ("fsync folder" if name is None else "fsync") not in self.lies:
            self.log.append(("sync folder",) if name is None else ("sync", name))

    def replace(self, source, target):
        os.replace(source, target)
        self.log.append(("rename", source, target))

    def unlink(self, path):
        os.unlink(path)
        self.log.append(("unlink", path))


def crash_states(log: list[tuple], target: str, old: bytes | None) -> Iterator[tuple]:
    """(whether the save had returned, bytes of the target or None) after each legal power loss.

    Legal: a sector that was not synced is there, is zero or is cut off; a change of the folder that
    was not synced took place or not, whatever came before it.
    """
    for length in range(len(log) + 1):
        data, synced, pending = {}, {}, []
        folder = {} if old is None else {target: "old"}
        for operation, *names in log[:length]:
            if operation == "create":
                data[names[0]], synced[names[0]] = b"", 0
                pending.append((names[0], None))
            elif operation == "write":
                data[names[0]] += names[1]
            elif operation == "sync":
                synced[names[0]] = len(data[names[0]])
            elif operation == "rename":
                pending.append(tuple(names))
            elif operation == "sync folder":
                apply(folder, pending)
                pending = []
            else:
                raise AssertionError(operation)
        for kept in itertools.product((False, True), repeat=len(pending)):
            names = dict(folder)
            apply(names, itertools.compress(pending, kept))
            file = names.get(target)
            if file is None or file == "old":
                yield length == len(log), None if file is None else old
                continue
            for content in torn(data[file], synced[file]):
                yield length == len(log), content


def apply(folder: dict, changes) -> None:
    for source, target in changes:
        if target is None:
            folder[source] = source
        else:
            folder.pop(source, None)
            folder[target] = source


def torn(data: bytes, synced: int) -> Iterator[bytes]:
    """What may be left of a file whose first `synced` bytes are safe."""
    starts = [synced, *range(synced - synced % SECTOR + SECTOR, len(data), SECTOR)]
    pieces = [data[a:b] for a, b in itertools.pairwise([*starts, len(data)]) if b > a]
    for kept in itertools.product((True, False), repeat=len(pieces)):
        whole = data[:synced] + b"".join(
            piece if keep else bytes(len(piece)) for piece, keep in zip(pieces, kept, strict=True)
        )
        yield whole
        if False in kept:
            yield whole.rstrip(b"\0") if set(whole[synced:]) != {0} else data[:synced]


# -------------------------------------------------------------------------- faults of the disk


class Faulty:
    """Stands for the module `os`: its n-th call that asks or changes files fails.

    With `kept` a write takes as many bytes first, and the call after it fails.
    """

    CALLS = ("stat", "open", "fstat", "write", "fsync", "close", "replace", "unlink")

    def __init__(self, number: int, code: int, kept: int | None = None):
        self.rest, self.code, self.kept, self.failed = number, code, kept, None

    def __getattr__(self, name):
        function = getattr(os, name)
        if name not in self.CALLS:
            return function

        def call(*arguments, **keywords):
            self.rest -= 1
            if self.rest:
                return function(*arguments, **keywords)
            self.failed = name
            if name == "close":
                function(*arguments)
            if name == "write" and self.kept:
                kept, self.kept, self.rest = self.kept, None, 1  # and the next call fails
                return function(arguments[0], arguments[1][:kept])
            raise OSError(self.code, os.strerror(self.code))

        return call
