"""Bytes on a disk or in a store: there complete or not at all, whatever happens on the way."""

from __future__ import annotations

import _thread
import contextlib
import errno
import fcntl
import os
import re
import stat
import time
from collections.abc import Callable, Sequence

#: bytes after which the disk is asked to begin; all at once would keep Ctrl-C waiting
AHEAD = 1 << 24
#: seconds of an fsync from which on a disk is slow
SLOW = 0.02
_took = 0.0  # seconds of the last one

TEMPORARY = re.compile(r"\.ctrain-[0-9a-f]{16}\.tmp")


def save(path, pieces: Sequence, last: Callable[[], bytes]) -> None:
    """Write buffers and what `last` returns, so that `path` is the old file or the new one.

    They go to a new file in the same folder, which is synced and renamed; then the folder is
    synced. `last` is called while the disk takes the buffers, of many bytes in a thread of its own.
    A failure removes the new file.

    Parameters
    ----------
    path : str or path-like
        A file, or a URL (extra ``cloud``).
    pieces : sequence of buffers
    last : callable

    Raises
    ------
    OSError
        The file cannot be written: no such folder, no permission, no space.
    """
    store, target = _resolve(path)
    if store is not None:
        _send(store, target, pieces, last)
        return
    try:
        _replace(target, pieces, last)
    except OSError as error:
        raise OSError(error.errno, f"cannot save: {error.strerror}", target) from error


def load(path, n_last: int, check: Callable[[bytes], object]) -> bytes:
    """Return all bytes of a regular file or a URL, if `check` accepts its last ones.

    Parameters
    ----------
    path : str or path-like
    n_last : int
        Bytes that `check` is given, or all if there are fewer.
    check : callable
        Raises an exception if the rest need not be read.

    Raises
    ------
    OSError
        The file cannot be opened, or is a folder, pipe or device.
    """
    store, target = _resolve(path)
    if store is not None:
        data = store.cat_file(target)
        check(data[-n_last:])
        return data
    _check_regular(target)
    with open(target, "rb", buffering=0) as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - n_last))
        check(file.read(n_last))
        file.seek(0)
        return file.readall()


def check_writable(path) -> None:
    """Raise OSError unless `path` can be written; remove what killed saves left in its folder.

    To be called before the work whose result goes to `path`.
    """
    store, target = _resolve(path)
    if store is not None:
        temporary = _temporary(target.rpartition("/")[0])
        store.pipe_file(temporary, b"")
        store.rm_file(temporary)
        return
    folder = os.path.dirname(target)
    try:
        _check_regular(target, missing_ok=True)
        _sweep(folder)  # first, so that fits that are killed again and again leave one file
        temporary, descriptor = _create(folder)
    except OSError as error:
        raise OSError(
            error.errno,
            f"cannot save into {folder}: {error.strerror}; make the folder, change its permissions "
            "or choose another path",
            target,
        ) from error
    os.close(descriptor)
    os.unlink(temporary)


def _resolve(path) -> tuple:
    """The store of a URL and the name in it; None and the real path of a file."""
    if not isinstance(path, str) or "://" not in path:
        return None, os.path.realpath(os.fsdecode(path))
    try:
        from fsspec.core import url_to_fs
        from fsspec.implementations.local import LocalFileSystem
    except ImportError:
        raise ImportError(f"{path}: URLs need fsspec: pip install 'ctrain[cloud]'") from None
    store, target = url_to_fs(path)
    if isinstance(store, LocalFileSystem):
        return None, os.path.realpath(target)
    return store, target


def _check_regular(target: str, missing_ok: bool = False) -> None:
    """Raise OSError for a folder, pipe or device."""
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        if missing_ok:
            return
        raise
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), target)
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "not a regular file", target)


def _replace(target: str, pieces: Sequence, last: Callable[[], bytes]) -> None:
    _check_regular(target, missing_ok=True)
    folder = os.path.dirname(target)
    temporary, descriptor = _create(folder)
    try:
        rest = _beside(last) if sum(map(len, pieces)) >= AHEAD else last
        written = begun = 0
        for piece in pieces:
            written += _write(descriptor, piece)
            if written - begun >= AHEAD:
                _begin(descriptor, begun)
                begun = written
        _begin(descriptor, begun)
        _write(descriptor, rest())
        _sync(descriptor)
        os.replace(temporary, target)  # still locked: a sweep takes what nobody holds
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    finally:
        os.close(descriptor)
    _sync_folder(folder)


def _temporary(folder: str) -> str:
    return f"{folder}/.ctrain-{os.urandom(8).hex()}.tmp"


def _create(folder: str) -> tuple[str, int]:
    """A new file, locked for as long as its writer lives: see `_sweep`."""
    while True:
        temporary = _temporary(folder)
        descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
        try:
            with contextlib.suppress(OSError):  # a file system without locks is never swept
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:  # else swept before it was locked
                return temporary, descriptor
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            os.close(descriptor)
            raise
        os.close(descriptor)


def _sweep(folder: str) -> None:
    """Remove the files of writers that were killed: nobody holds their locks."""
    try:
        names = os.listdir(folder)
    except OSError:  # a folder that may be written, but not read
        return
    for name in filter(TEMPORARY.fullmatch, names):
        temporary = os.path.join(folder, name)
        with contextlib.suppress(OSError):
            descriptor = os.open(temporary, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.unlink(temporary)
            finally:
                os.close(descriptor)


def _write(descriptor: int, piece) -> int:
    """Write a whole buffer; its length."""
    rest = whole = memoryview(piece)
    while rest:
        written = os.write(descriptor, rest)
        if not written:
            raise OSError(errno.EIO, "the disk took no byte")
        rest = rest[written:]
    return len(whole)


def _begin(descriptor: int, at: int) -> None:
    """Ask the disk to begin with what lies behind `at`, while the next bytes are computed."""
    with contextlib.suppress(OSError):
        os.posix_fadvise(descriptor, at, 0, os.POSIX_FADV_DONTNEED)


def _beside(work: Callable[[], object]) -> Callable[[], object]:
    """Begin a piece of work in a thread; what is returned waits for its answer until Ctrl-C.

    Not a `threading.Thread`: at its end a weak reference's callback runs, in which Python would
    drop a Ctrl-C.
    """
    answers, errors, done = [], [], _thread.allocate_lock()

    def run() -> None:
        try:
            answers.append(work())
        except BaseException as error:
            errors.append(error)
        finally:
            done.release()

    def wait() -> object:
        done.acquire()
        if errors:
            raise errors[0]
        return answers[0]

    done.acquire()
    try:
        _thread.start_new_thread(run, ())
    except RuntimeError:  # no thread is to be had, or the interpreter is about to end
        run()
    return wait


def _sync(descriptor: int) -> None:
    """fsync, beside a caller that Ctrl-C can call away where the last one took long.

    Where it did not, that would cost more than the disk: milliseconds while all cores are busy.
    """
    global _took
    began = time.perf_counter()
    if _took < SLOW:
        os.fsync(descriptor)
    else:
        _beside(lambda: os.fsync(descriptor))()
    _took = time.perf_counter() - began


def _sync_folder(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _sync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # folders that cannot be synced
            raise
    finally:
        os.close(descriptor)


def _send(store, target: str, pieces: Sequence, last: Callable[[], bytes]) -> None:
    temporary = _temporary(target.rpartition("/")[0])
    try:
        with store.open(temporary, "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.write(last())
        store.mv(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            store.rm_file(temporary)
        raise


# ------------------------------------------------------------------------------------ removing


def exists(path) -> bool:
    """Whether there is a file or something behind a URL."""
    store, target = _resolve(path)
    return (os.path if store is None else store).exists(target)


def remove(path) -> None:
    """Remove a file or the object behind a URL; one that is not there is none too many."""
    store, target = _resolve(path)
    if store is not None:
        if store.exists(target):
            store.rm_file(target)
        return
    with contextlib.suppress(FileNotFoundError):
        os.remove(target)
