"""Files that are there complete or not at all: kills, power loss, full disks, two at once."""

from __future__ import annotations

import errno
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import time

import crashes
import fsspec
import numpy as np
import pytest
from crashes import NEW, OLD, Faulty, Recorder, arrays, schema, step_in

from ctrain import archive, storage


def put(path, header: dict = OLD, n: int = 100) -> None:
    archive.write(path, header, arrays(header, n))


def temporaries(folder) -> list[str]:
    return [name for name in os.listdir(folder) if storage.TEMPORARY.fullmatch(name)]


# ----------------------------------------------------------------------------------------- kills


def test_a_kill_at_each_system_call_of_a_save(tmp_path, run_python):
    """With `ptrace`, at the entry of each call of each thread; the call does not happen."""
    report = json.loads(
        run_python(
            f"""
            import json, pathlib, crashes
            try:
                report = crashes.kills(pathlib.Path({str(tmp_path)!r}))
            except PermissionError as error:
                report = str(error)
            print(json.dumps(report))
            """,
            OPENBLAS_NUM_THREADS="1",
        )
    )
    if isinstance(report, str):
        pytest.skip(report)
    print(json.dumps(report, indent=1))
    for found in report.values():
        assert found["inside a save"] >= max(10, 0.2 * found["kills"])
        assert found["old file after"] and found["new file after"]
        assert found["old file after"] + found["new file after"] == found["kills"]


# ------------------------------------------------------------------------------------ power loss


def outcomes(monkeypatch, folder, old: bool, lies: tuple[str, ...] = ()) -> dict:
    """{(whether the save had returned, step that is read or "unreadable"): number of states}."""
    path = folder / "model.npz"
    path.unlink(missing_ok=True)
    if old:
        put(path)
    before = path.read_bytes() if old else None
    recorder = Recorder(lies)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "os", recorder)
        put(path, NEW)
    after = folder / "after.npz"
    found, seen = {}, {}
    for returned, content in crashes.crash_states(recorder.log, os.path.realpath(path), before):
        if content not in seen:
            after.unlink(missing_ok=True)
            if content is not None:
                after.write_bytes(content)
            try:
                seen[content] = step_in(after)
            except archive.CheckpointError:
                seen[content] = "unreadable"
        found[returned, seen[content]] = found.get((returned, seen[content]), 0) + 1
    return found


@pytest.mark.parametrize("old", [False, True])
def test_after_a_power_loss_there_is_the_old_file_or_the_new_one(tmp_path, monkeypatch, old):
    found = outcomes(monkeypatch, tmp_path, old)
    print(found)
    before = 1 if old else None
    assert found.keys() == {(False, before), (False, 2), (True, 2)}


@pytest.mark.parametrize(
    "lies, consequence",
    [(("fsync",), (False, "unreadable")), (("fsync folder",), (True, 1))],
)
def test_the_replay_finds_a_saver_that_forgets_to_sync(tmp_path, monkeypatch, lies, consequence):
    assert outcomes(monkeypatch, tmp_path, True, lies)[consequence] > 0


# ---------------------------------------------------------------------------- faults of the disk


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("kept", [None, 1, 30])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_fault_at_each_call(tmp_path, monkeypatch, old, kept, code):
    path = tmp_path / "model.npz"
    failed = []
    for number in itertools.count(1):
        path.unlink(missing_ok=True)
        if old:
            put(path)
        faulty = Faulty(number, code, kept)
        with monkeypatch.context() as patch:
            patch.setattr(storage, "os", faulty)
            try:
                put(path, NEW)
            except OSError as error:
                assert error.errno == code and error.filename == str(path)
                assert str(error).startswith(f"[Errno {code}] cannot save: {os.strerror(code)}")
            else:
                if faulty.failed is None:
                    break
        assert faulty.failed
        renamed = "replace" in failed and faulty.failed in ("open", "fsync", "close")
        assert step_in(path) == (2 if renamed else 1 if old else None)
        assert temporaries(tmp_path) == []
        failed.append(faulty.failed)
    assert step_in(path) == 2
    assert set(failed) == {"stat", "open", "fstat", "write", "fsync", "close", "replace"}
    put(path, NEW)


def test_short_writes_are_gone_on_with(tmp_path, monkeypatch):
    class Slow:
        def __getattr__(self, name):
            return getattr(os, name)

        def write(self, descriptor, data):
            return os.write(descriptor, data[:7])

    put(tmp_path / "quick", NEW)
    monkeypatch.setattr(storage, "os", Slow())
    put(tmp_path / "slow", NEW)
    assert (tmp_path / "slow").read_bytes() == (tmp_path / "quick").read_bytes()


def test_a_file_that_may_not_grow(tmp_path):
    """The kernel itself cuts a write short and refuses the next one, at each length."""
    path = tmp_path / "model.npz"
    put(path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    n_bytes = path.stat().st_size
    try:
        for limit in range(0, n_bytes, 3):
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
            with pytest.raises(OSError, match="cannot save: File too large"):
                put(path, NEW)
            assert temporaries(tmp_path) == []
            assert step_in(path) == 1
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, hard))
        put(path, NEW)
        assert step_in(path) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_an_interrupted_save_leaves_nothing(tmp_path, monkeypatch):
    class Interrupted(Recorder):
        def fsync(self, descriptor):
            raise KeyboardInterrupt

    path = tmp_path / "model.npz"
    put(path)
    with monkeypatch.context() as patch:
        patch.setattr(storage, "os", Interrupted())
        with pytest.raises(KeyboardInterrupt):
            put(path, NEW)
    assert step_in(path) == 1 and os.listdir(tmp_path) == ["model.npz"]


# ------------------------------------------------------------------------------- folders, links


@pytest.mark.parametrize("missing", ["folder", "file"])
def test_a_folder_that_cannot_be_written_is_said_before(tmp_path, missing):
    (tmp_path / "file").touch()
    path = tmp_path / missing / "model.npz"
    kind = FileNotFoundError if missing == "folder" else NotADirectoryError
    with pytest.raises(kind, match=f"cannot save into .*{missing}: .*; make the folder, change"):
        storage.check_writable(path)
    with pytest.raises(kind, match="cannot save"):
        put(path)


def test_permissions_are_said_before(tmp_path, monkeypatch):
    class Forbidding(Recorder):
        def open(self, path, flags, mode=0o777):
            raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr(storage, "os", Forbidding())
    with pytest.raises(PermissionError, match=r"cannot save into .*: Permission denied; make the"):
        storage.check_writable(tmp_path / "model.npz")


def test_a_check_leaves_nothing_and_sweeps_what_kills_left(tmp_path):
    path = tmp_path / "model.npz"
    put(path)
    killed = tmp_path / f".ctrain-{'0' * 16}.tmp"
    killed.write_bytes(b"half a che")
    (tmp_path / ".ctrain-notes.tmp").touch()
    temporary, descriptor = storage._create(str(tmp_path))  # of a save that still runs
    storage.check_writable(path)
    assert not killed.exists() and os.path.exists(temporary)
    os.close(descriptor)
    storage.check_writable(path)
    assert sorted(os.listdir(tmp_path)) == [".ctrain-notes.tmp", "model.npz"]


def test_a_sweep_takes_no_file_that_is_about_to_be_renamed(tmp_path, monkeypatch):
    """Another fit may begin in the folder at that very moment."""
    replace = os.replace

    def sweep_first(source, target):
        storage.check_writable(tmp_path / "another.npz")
        replace(source, target)

    monkeypatch.setattr(os, "replace", sweep_first)
    put(tmp_path / "model.npz", NEW)
    assert step_in(tmp_path / "model.npz") == 2


def test_a_check_that_is_killed_leaves_one_file_at_most(tmp_path, monkeypatch):
    killed = tmp_path / f".ctrain-{'0' * 16}.tmp"
    killed.touch()

    def create(folder):
        assert not killed.exists(), "swept before the next one is there"
        raise KeyboardInterrupt

    monkeypatch.setattr(storage, "_create", create)
    with pytest.raises(KeyboardInterrupt):
        storage.check_writable(tmp_path / "model.npz")


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "model.npz").symlink_to(tmp_path / "real" / "step.npz")
    put(tmp_path / "model.npz", NEW)
    assert (tmp_path / "model.npz").is_symlink()
    assert step_in(tmp_path / "real" / "step.npz") == 2


def test_the_mode_is_that_of_a_new_file(tmp_path):
    (tmp_path / "plain").touch()
    put(tmp_path / "model.npz")
    assert (tmp_path / "model.npz").stat().st_mode == (tmp_path / "plain").stat().st_mode


# ---------------------------------------------------------------------------------- two at once


def race(path, n_saves: int, n_loads: int) -> int:
    """Loads beside two writers; returns how often another file was found than before."""
    put(path, OLD, 20_000)
    writing = """
import sys
sys.path.insert(0, sys.argv[3])
import crashes
from ctrain import archive
for step in range(int(sys.argv[2])):
    archive.write(sys.argv[1], {"step": step}, crashes.arrays({"step": step}, 20_000))
"""
    here = os.path.dirname(__file__)
    writers = [
        subprocess.Popen([sys.executable, "-c", writing, str(path), str(n_saves), here])
        for _ in range(2)
    ]
    steps, loads = [], 0
    while loads < n_loads or any(writer.poll() is None for writer in writers):
        steps.append(step_in(path))
        loads += 1
    assert [writer.wait() for writer in writers] == [0, 0]
    return sum(a != b for a, b in itertools.pairwise(steps))


def test_loads_beside_two_writers(tmp_path):
    assert race(tmp_path / "model.npz", 100, 200) > 10
    assert temporaries(tmp_path) == []


@pytest.mark.slow
def test_many_loads_beside_two_writers(tmp_path):
    assert race(tmp_path / "model.npz", 5000, 10_000) > 500
    assert temporaries(tmp_path) == []


# ----------------------------------------------------------------------------------------- URLs


@pytest.fixture
def memory():
    store = fsspec.filesystem("memory")
    store.rm("/", recursive=True)
    yield store
    store.rm("/", recursive=True)


def test_a_url(memory, tmp_path):
    path = "memory://folder/model.npz"
    with pytest.raises(FileNotFoundError):
        archive.read(path, schema)
    storage.check_writable(path)
    put(path)
    put(path, NEW)
    assert step_in(path) == 2
    assert memory.ls("/folder", detail=False) == ["/folder/model.npz"]
    put(tmp_path / "model.npz", NEW)
    assert memory.cat_file("/folder/model.npz") == (tmp_path / "model.npz").read_bytes()
    memory.pipe_file("/folder/model.npz", b"something else")
    with pytest.raises(archive.CheckpointError, match=f"{path}: not a checkpoint"):
        archive.read(path, schema)


def test_a_url_of_a_file_is_a_file(tmp_path):
    put(f"file://{tmp_path}/model.npz", NEW)
    assert step_in(tmp_path / "model.npz") == step_in(f"file://{tmp_path}/model.npz") == 2


def test_a_store_that_fails_keeps_the_old_file(memory, monkeypatch):
    path = "memory://folder/model.npz"
    put(path)

    def mv(*names, **settings):
        raise OSError(errno.EIO, "no connection")

    monkeypatch.setattr(type(memory), "mv", mv)
    with pytest.raises(OSError, match="no connection"):
        put(path, NEW)
    assert step_in(path) == 1
    assert memory.ls("/folder", detail=False) == ["/folder/model.npz"]


def test_a_url_without_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(ImportError, match=r"s3://b/m.npz: URLs need fsspec: pip install 'ctrain\["):
        put("s3://b/m.npz")


# ---------------------------------------------------------------------------------------- speed


@pytest.mark.slow
@pytest.mark.parametrize("megabytes", [1, 4, 16, 64])
def test_a_safe_save_costs_less_than_two_plain_ones(tmp_path, megabytes):
    """Against the same bytes written to a file and synced; medians of alternating saves."""
    weights = np.random.default_rng(0).normal(size=megabytes << 18).astype("f4")

    def safe():
        archive.write(tmp_path / "model.npz", {"step": 1}, {"w": weights})

    safe()
    data = (tmp_path / "model.npz").read_bytes()

    def plain():
        with open(tmp_path / "plain", "wb", buffering=0) as file:
            assert file.write(data) == len(data)
            os.fsync(file.fileno())

    times = {plain: [], safe: []}
    for _ in range(31):
        for way, seconds in times.items():
            started = time.perf_counter()
            way()
            seconds.append(time.perf_counter() - started)
    plain_time, safe_time = map(statistics.median, times.values())
    print(f"{megabytes} MB: {plain_time * 1e3:.2f} ms, safe {safe_time * 1e3:.2f} ms")
    assert safe_time < 2 * plain_time
