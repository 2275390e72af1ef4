"""The callback Checkpoint: when it writes, what it refuses, where files go."""

from __future__ import annotations

import os
from pathlib import Path

import joblib
import numpy as np
import pytest
import small
from resumption import differences, fingerprint
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import ctrain
from ctrain import CheckpointError, checkpoint
from ctrain.callbacks import Callback, Checkpoint

X, Y = small.problem()


# --------------------------------------------------------------------- when it is written


class Listing(Callback):
    """What lies in a folder after each epoch; set after a Checkpoint."""

    def __init__(self, folder):
        self.folder, self.pages = folder, []

    def on_epoch_end(self, estimator):
        self.pages.append({f.name: f.read_bytes() for f in sorted(self.folder.iterdir())})


def pages(folder, checkpoint, **parameters) -> list[dict[str, bytes]]:
    listing = Listing(folder)
    small.small(**{"max_iter": 6, **parameters}).set_callbacks(checkpoint, listing).fit(X, Y)
    return listing.pages


def test_every_epoch_one_file(tmp_path):
    path = tmp_path / "fit.npz"
    found = pages(tmp_path, Checkpoint(path))
    assert [set(page) - {"fit.npz.lock"} for page in found] == [{"fit.npz"}] * 6
    assert len({page["fit.npz"] for page in found}) == 6
    assert os.listdir(tmp_path) == ["fit.npz"]  # the lock is gone
    assert ctrain.load(path).n_iter_ == 6


def test_every_second_epoch(tmp_path):
    found = pages(tmp_path, Checkpoint(tmp_path / "{step}", every_epochs=2))
    assert [sorted(page)[0] for page in found[1:]] == ["8", "8", "16", "16", "24"]
    assert "0" not in found[0] and sorted(found[0]) == ["all.lock"]


def test_the_last_files_are_kept(tmp_path):
    found = pages(tmp_path, Checkpoint(tmp_path / "fit-{step:04}.npz", keep_last=3))
    steps = [[int(name[4:8]) for name in page if name.endswith("npz")] for page in found]
    assert steps == [[4], [4, 8], [4, 8, 12], [8, 12, 16], [12, 16, 20], [16, 20, 24]]


def test_seconds_also_in_the_middle_of_an_epoch(tmp_path):
    """One epoch of some seconds."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8_000, 64))
    found = []

    class Watch(Callback):
        def on_epoch_end(self, estimator):
            found.extend(sorted(int(f.name) for f in tmp_path.iterdir() if f.name.isdigit()))
            return True

    every = Checkpoint(tmp_path / "{step}", every_epochs=None, every_seconds=0.1, keep_last=99)
    reg = small.small(hidden_layer_sizes=(512, 512), batch_size=8, early_stopping=False)
    reg.set_callbacks(every, Watch()).fit(x, x[:, 0])
    assert sum(0 < step < reg.t_ for step in found) >= 2  # the last one may end the epoch
    assert ctrain.load(tmp_path / str(found[0]))._state.epoch_step == found[0]


def test_only_the_best_epochs(tmp_path):
    settings = {"early_stopping": True, "learning_rate_init": 0.3, "max_iter": 12}
    best = small.small(**settings).fit(X, Y)
    curve = best.validation_loss_curve_
    records = [k for k, value in enumerate(curve, 1) if value == min(curve[:k])]
    assert 1 < len(records) < len(curve)
    for clock in ({}, {"every_epochs": None, "every_seconds": 1e-9}):
        callback = Checkpoint(tmp_path / "{step}", best=True, keep_last=99, **clock)
        found = pages(tmp_path, callback, **settings)[-1]
        steps = sorted(int(name) for name in found if name.isdigit())
        assert steps == [3 * epoch for epoch in records]  # 48 of 60 rows, 16 a step
        loaded = ctrain.load(tmp_path / str(steps[-1]))
        assert small.same_bits(loaded.predict(X), best.predict(X))
        assert loaded.best_epoch_ == best.best_epoch_
        for name in found:
            (tmp_path / name).unlink(missing_ok=True)


def test_compressed(tmp_path):
    x = np.zeros((60, 500))
    for compress in (False, True):
        callback = Checkpoint(tmp_path / f"{compress}", compress=compress)
        reg = small.small(optimizer="adamw").set_callbacks(callback).fit(x, Y)
        assert small.same_bits(ctrain.load(tmp_path / f"{compress}").predict(x), reg.predict(x))
    assert 2 * (tmp_path / "True").stat().st_size < (tmp_path / "False").stat().st_size


def test_a_checkpoint_changes_no_bit_of_the_fit(tmp_path):
    plain = fingerprint(small.small().fit(X, Y), X)
    for settings in ({}, {"every_epochs": None, "every_seconds": 1e-9}):
        reg = small.small().set_callbacks(Checkpoint(tmp_path / "a", **settings)).fit(X, Y)
        assert differences(plain, fingerprint(reg, X)) == []


def test_searches_have_a_file_for_each_fit(tmp_path):
    reg = small.small().set_callbacks(Checkpoint(tmp_path / "{task}-{step}.npz"))
    with joblib.parallel_config("threading"):
        GridSearchCV(reg, {"alpha": [0.0, 1.0]}, cv=2, n_jobs=2).fit(X, Y)
    files = list(tmp_path.iterdir())
    assert len(files) == 5 and len({file.name.rpartition("-")[0] for file in files}) == 5
    rows = sorted(ctrain.load(file)._state.data["n_samples"] for file in files)
    assert rows == [30] * 4 + [60]


# ------------------------------------------------------------------------------ refused


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"keep_last": 2}, r"keep_last=2 files need \{step\} in path"),
        ({"keep_last": 2, "path": "{task}.npz"}, r"keep_last=2 files need \{step\} in path"),
        ({"path": "{epoch}.npz"}, r"path may contain \{step\} and \{task\}; got \['epoch'\]"),
        ({"path": "{}.npz"}, r"path may contain \{step\} and \{task\}; got \[''\]"),
        ({"path": "{step.npz"}, "lone brace"),
        ({"path": "a}b"}, "lone brace"),
        ({"best": True}, "best=True needs early stopping; set early_stopping=True"),
        ({"every_epochs": None}, "every_epochs and every_seconds are both None; set one"),
        ({"every_epochs": 0}, "every_epochs"),
        ({"every_epochs": 1.5}, "every_epochs"),
        ({"every_seconds": 0}, "every_seconds"),
        ({"keep_last": 0}, "keep_last"),
        ({"best": 1}, "best"),
        ({"compress": "gzip"}, "compress"),
    ],
    ids=str,
)
def test_declarations_are_checked_before_the_first_epoch(tmp_path, settings, told):
    settings = {"path": "a.npz", **settings}
    callback = Checkpoint(**{**settings, "path": tmp_path / settings["path"]})
    listing = Listing(tmp_path)
    with pytest.raises(ValueError, match=told):
        small.small().set_callbacks(callback, listing).fit(X, Y)
    assert listing.pages == [] and os.listdir(tmp_path) == []


def test_inside_a_search_the_path_names_the_task(tmp_path):
    for estimator in (
        GridSearchCV(small.small().set_callbacks(Checkpoint(tmp_path / "a")), {}, cv=2,
                     error_score="raise"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"path must contain \{task\}"):
            estimator.fit(X, Y)
    assert os.listdir(tmp_path) == []


def test_in_a_pipeline(tmp_path):
    callback = Checkpoint(tmp_path / "{task}.npz")
    make_pipeline(StandardScaler(), small.small().set_callbacks(callback)).fit(X, Y)
    assert len(os.listdir(tmp_path)) == 1


def test_a_folder_that_cannot_be_written_is_told_before_the_first_epoch(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for path in ("missing/a.npz", "file/a.npz", "folder"):
        listing = Listing(tmp_path)
        with pytest.raises(OSError, match=r"cannot save into .*; make the folder, change its"):
            small.small().set_callbacks(Checkpoint(tmp_path / path), listing).fit(X, Y)
        assert listing.pages == []
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    # root may write wherever the file system lets it; the kernel's own does not
    folder = tmp_path if os.geteuid() else Path("/sys")
    told = f"cannot save into {folder}: (Permission denied|Read-only file system); make the folder"
    with pytest.raises(OSError, match=told):
        small.small().set_callbacks(Checkpoint(folder / "a")).fit(X, Y)


def test_a_disk_that_fills_up_ends_the_fit_and_keeps_the_last_file(tmp_path, monkeypatch):
    real, calls = checkpoint.archive.write, []

    def full(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise OSError(28, "cannot save: No space left on device", str(tmp_path / "a"))
        real(*arguments)

    monkeypatch.setattr(checkpoint.archive, "write", full)
    reg = small.small().set_callbacks(Checkpoint(tmp_path / "a"))
    with pytest.raises(OSError, match="No space left") as caught:
        reg.fit(X, Y)
    assert "raised by the callback Checkpoint(" in caught.value.__notes__[0]
    assert reg.n_iter_ == 2 and ctrain.load(tmp_path / "a").n_iter_ == 1
    monkeypatch.undo()
    reg.set_callbacks(Checkpoint(tmp_path / "a")).fit(X, Y, resume=tmp_path / "a")
    assert small.same_bits(reg.predict(X), small.small().fit(X, Y).predict(X))


def test_two_fits_on_one_path(tmp_path):
    """In one process: a callback starts a second fit."""

    class Second(Callback):
        def __init__(self, path):
            self.path, self.told = path, []

        def on_epoch_end(self, estimator):
            try:
                small.small().set_callbacks(Checkpoint(self.path)).fit(X, Y)
            except OSError as error:
                self.told.append(str(error))

    second = Second(tmp_path / "a.npz")
    small.small().set_callbacks(Checkpoint(tmp_path / "a.npz"), second).fit(X, Y)
    assert len(second.told) == 3
    assert all("another fit writes its checkpoints there; give each its own" in t
               for t in second.told)  # fmt: skip
    small.small().set_callbacks(Checkpoint(tmp_path / "a.npz")).fit(X, Y)  # one after the other


def test_two_processes_on_one_path(tmp_path, run_python):
    told = []

    class Other(Callback):
        def on_epoch_end(self, estimator):
            told.append(run_python(
                f"""
                import small
                from ctrain.callbacks import Checkpoint
                reg = small.small().set_callbacks(Checkpoint({str(tmp_path / "a")!r}))
                try:
                    reg.fit(*small.problem())
                except OSError as error:
                    print(error)
                """
            ))  # fmt: skip
            return True

    small.small().set_callbacks(Checkpoint(tmp_path / "a"), Other()).fit(X, Y)
    assert "another fit writes its checkpoints there" in told[0]


def test_the_lock_goes_with_a_fit_that_fails(tmp_path):
    path = tmp_path / "a"

    class Broken(Callback):
        def on_fit_begin(self, estimator):
            raise RuntimeError("no")

    for callbacks in ((Checkpoint(path), Broken()), (Broken(), Checkpoint(path))):
        with pytest.raises(RuntimeError, match="no"):
            small.small().set_callbacks(*callbacks).fit(X, Y)
        assert os.listdir(tmp_path) == []
    with pytest.raises(ValueError, match="not finite"):
        small.small(optimizer="sgd", learning_rate_init=1e300).set_callbacks(Checkpoint(path)).fit(
            X, Y
        )
    assert not (tmp_path / "a.lock").exists()


# ------------------------------------------------------------------------------------ URLs


def test_a_store_behind_a_url():
    fsspec = pytest.importorskip("fsspec")
    store = fsspec.filesystem("memory")
    store.makedirs("/bucket")
    try:
        path = "memory://bucket/fit-{step}.npz"
        whole = small.small().set_callbacks(Checkpoint(path, keep_last=2)).fit(X, Y)
        names = sorted(info["name"] for info in store.ls("/bucket"))
        assert names == ["/bucket/fit-12.npz", "/bucket/fit-8.npz"]
        again = ctrain.load("memory://bucket/fit-12.npz")
        assert small.same_bits(again.predict(X), whole.predict(X))
        resumed = small.small().fit(X, Y, resume="memory://bucket/fit-8.npz")
        assert differences(fingerprint(resumed, X), fingerprint(whole, X)) == []
        resumed.save("memory://bucket/model.npz", compress=True)
        again = ctrain.load("memory://bucket/model.npz")
        assert small.same_bits(again.predict(X), whole.predict(X))
        data = store.cat_file("/bucket/model.npz")
        store.pipe_file("/bucket/model.npz", data[:100] + b"\0" + data[101:])
        with pytest.raises(CheckpointError, match="damaged"):
            ctrain.load("memory://bucket/model.npz")
    finally:
        store.rm("/bucket", recursive=True)
