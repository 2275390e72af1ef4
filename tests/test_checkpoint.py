"""Files of estimators: what they keep, when they are written, what is refused."""

from __future__ import annotations

import os
import pickle

import classes
import joblib
import numpy as np
import pytest
import resumption
import small
from numpy.testing import assert_array_equal
from resumption import differences, fingerprint
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import ctrain
from ctrain import CheckpointError, Classifier, Regressor, checkpoint
from ctrain.callbacks import Callback, Checkpoint
from ctrain.optimizers import AdamW
from ctrain.schedules import ReduceOnPlateau

X, Y = small.problem()
posix = pytest.mark.skipif(os.name != "posix", reason="POSIX signals and locks")


def saved(folder, *data, **parameters) -> str:
    """File of a fitted estimator."""
    path = str(folder / "model.npz")
    small.small(**parameters).fit(*(data or (X, Y))).save(path)
    return path


# ----------------------------------------------------------------------------- save and load


@pytest.mark.parametrize("compress", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("optimizer", [*resumption.OPTIMIZERS, "lbfgs"], ids=str)
def test_a_loaded_estimator_is_the_saved_one(tmp_path, optimizer, dtype, compress):
    settings = {"early_stopping": True} if optimizer != "lbfgs" else {}
    reg = small.small(optimizer=optimizer, dtype=dtype, metrics=["r2"], **settings).fit(X, Y)
    reg.save(tmp_path / "a.npz", compress=compress)
    again = ctrain.load(tmp_path / "a.npz")
    assert type(again) is Regressor and small.same_bits(again.predict(X), reg.predict(X))
    assert {k: repr(v) for k, v in again.get_params().items()} == {
        k: repr(v) for k, v in reg.get_params().items()
    }
    fitted = {name for name in vars(reg) if name.endswith("_")} - {"fit_time_"}
    assert fitted == {name for name in vars(again) if name.endswith("_")}
    for name in fitted - {"history_"}:
        assert_array_equal(getattr(reg, name), getattr(again, name), name)
    if optimizer != "lbfgs":
        assert differences(fingerprint(reg, X), fingerprint(again, X)) == []
    again.save(tmp_path / "b.npz", compress=compress)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@pytest.mark.parametrize("labels", [["no", "yes"], ["a", "bb", "ccc"], [3, -1, 7], [True, False]])
@pytest.mark.parametrize("kind", [np.array, lambda y: np.array(y, object)])
def test_a_loaded_classifier_knows_its_labels(tmp_path, labels, kind):
    features, index = classes.problem(classes=len(labels))
    y = kind(labels)[index]
    model = classes.quick(class_weight="balanced").fit(features, y)
    model.save(tmp_path / "a.npz")
    again = ctrain.load(tmp_path / "a.npz")
    assert type(again) is Classifier
    assert again.classes_.dtype == model.classes_.dtype
    assert again.classes_.tolist() == model.classes_.tolist()
    assert again.predict(features).tolist() == model.predict(features).tolist()
    assert again.predict(features).dtype == model.predict(features).dtype
    assert small.same_bits(again.predict_proba(features), model.predict_proba(features))


def test_several_labels_of_one_row(tmp_path):
    features, y = classes.indicators()
    model = classes.quick().fit(features, y)
    model.save(tmp_path / "a.npz")
    again = ctrain.load(tmp_path / "a.npz")
    assert np.array_equal(again.predict(features), model.predict(features))


def test_names_of_features_are_kept(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(X, columns=list("abcd"))
    again = ctrain.load(saved(tmp_path, frame, Y))
    assert again.feature_names_in_.tolist() == list("abcd")
    assert again.feature_names_in_.dtype == object
    with pytest.raises(ValueError, match="feature names"):
        again.predict(frame[list("bacd")])


@pytest.mark.parametrize("loads", ["checkpoint", "pickle", "joblib"])
def test_a_loaded_estimator_trains_on_as_if_nothing_had_happened(tmp_path, loads):
    def onward(reg):
        reg.set_params(max_iter=2, warm_start=True).fit(X, Y)
        return fingerprint(reg, X)

    parameters = {"optimizer": AdamW(weight_decay=0.1), "dropout": 0.2, "schedule": "constant"}
    reg = small.small(**parameters).fit(X, Y)
    if loads == "checkpoint":
        reg.save(tmp_path / "a")
        again = ctrain.load(tmp_path / "a")
    elif loads == "pickle":
        again = pickle.loads(pickle.dumps(reg))
    else:
        joblib.dump(reg, tmp_path / "a")
        again = joblib.load(tmp_path / "a")
    assert differences(onward(reg), onward(again)) == []
    assert again.n_iter_ == 5


@pytest.mark.parametrize("schedule", ["warmup_cosine", ReduceOnPlateau(patience=0, threshold=0.2),
                                      resumption.Cautious(), resumption.decaying])  # fmt: skip
def test_partial_fits_go_on_after_loading(tmp_path, schedule):
    whole, part = (small.small(schedule=schedule) for _ in range(2))
    for _ in range(6):
        whole.partial_fit(X, Y)
    for _ in range(5):
        part.partial_fit(X, Y).save(tmp_path / "a")
        part = ctrain.load(tmp_path / "a").set_params(schedule=schedule)
    part.partial_fit(X, Y)
    assert differences(fingerprint(whole, X), fingerprint(part, X)) == []


class Deep:
    """A model of the user's own."""

    def __init__(self, width=5):
        self.width = width

    def get_params(self, deep=True):
        return {"width": self.width}

    def set_params(self, **parameters):
        vars(self).update(parameters)
        return self

    def record(self, tape, inputs, shape):
        h = tape.tanh(tape.matmul(inputs["x"], tape.parameter((4, self.width), name="in")))
        return tape.matmul(h, tape.parameter((self.width, *shape), name="out"))


def absolute(tape, prediction, target):
    return tape.mean(tape.abs(tape.sub(prediction, target)))


def test_what_is_the_users_own_is_not_needed_to_predict_and_asked_for_to_fit(tmp_path):
    reg = small.small(model=Deep(7), loss=absolute, schedule=resumption.decaying).fit(X, Y)
    reg.save(tmp_path / "a")
    again = ctrain.load(tmp_path / "a")
    assert small.same_bits(again.predict(X), reg.predict(X))
    assert repr(again.model) == f"<missing: {Deep.__module__}.Deep(width=7)>"
    again.save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    for name, own in (("loss", absolute), ("schedule", resumption.decaying), ("model", Deep(7))):
        with pytest.raises(ValueError, match=r"set_params\(.*=\.\.\.\)"):
            again.fit(X, Y)
        again.set_params(**{name: own})
    assert small.same_bits(again.fit(X, Y).predict(X), reg.predict(X))


def test_a_new_process_loads_without_the_users_code(tmp_path, run_python):
    path = str(tmp_path / "a")
    reg = small.small(model=Deep(), loss=absolute).fit(X, Y)
    reg.save(path)
    told = run_python(
        f"""
        import ctrain, small
        X, _ = small.problem()
        print(ctrain.load({path!r}).predict(X).tobytes().hex())
        """
    )
    assert told.strip() == reg.predict(X).tobytes().hex()


def test_before_a_fit_there_is_nothing_to_save(tmp_path):
    with pytest.raises(NotFittedError):
        small.small().save(tmp_path / "a")
    assert not any(tmp_path.iterdir())


def test_labels_beyond_what_is_read_are_not_written(tmp_path):
    features, y = classes.problem(classes=2)
    model = classes.quick(max_iter=1).fit(features, y)
    model.classes_ = np.array(["x", "y" * 3_000_000])
    with pytest.raises(ValueError, match="24000000 bytes; a file holds up to 16777216"):
        model.save(tmp_path / "a")
    assert not any(tmp_path.iterdir())


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
    assert len(found) >= 2 and 0 < found[0] and found[-1] < reg.t_
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


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(PermissionError, match="cannot save into"):
        small.small().set_callbacks(Checkpoint(tmp_path / "a")).fit(X, Y)


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


@posix
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


@posix
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


@posix
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


# ------------------------------------------------------------------------- resume: bad input


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"alpha": 0.5}, r"alpha was 0\.0, is 0\.5;"),
        ({"max_iter": 9, "dropout": 0.1}, r"dropout was 0\.0, is 0\.1; max_iter was 3, is 9;"),
        ({"optimizer": AdamW(weight_decay=0.5)}, r"optimizer was AdamW\(\), is AdamW\(weight_"),
        ({"schedule": ReduceOnPlateau(patience=3)}, "schedule was 'constant', is ReduceOn"),
        ({"hidden_layer_sizes": (9,)}, r"hidden_layer_sizes was \(8,\), is \(9,\)"),
        ({"dtype": "float32"}, "dtype was 'auto', is 'float32'"),
        ({"loss": absolute}, "loss was 'squared_error', is <function absolute"),
        ({"batch_size": 8}, "batch_size was 16, is 8"),
    ],
    ids=str,
)
def test_another_fit_is_not_resumed(tmp_path, changes, told):
    path = saved(tmp_path, optimizer=AdamW())
    reg = small.small(optimizer=AdamW()).set_params(**changes)
    with pytest.raises(ValueError, match="resume: this fit is not the checkpoint's: " + told):
        reg.fit(X, Y, resume=path)
    assert not hasattr(reg, "_network")


def test_other_parameters_of_the_users_own_objects(tmp_path):
    path = saved(tmp_path, model=Deep(5))
    with pytest.raises(ValueError, match=r"model was <missing: .*Deep\(width=5\)>, is <.*Deep obj"):
        small.small(model=Deep(6)).fit(X, Y, resume=path)
    small.small(model=Deep(5)).fit(X, Y, resume=path)


def test_other_data_are_not_resumed(tmp_path):
    path = saved(tmp_path)
    for data, told in (
        ((X[:50], Y[:50]), "n_samples was 60, is 50;"),
        ((X[:, :3], Y), "n_features was 4, is 3;"),
        ((X, np.stack([Y, Y], axis=1)), "n_targets was 1, is 2;"),
    ):
        with pytest.raises(ValueError, match=f"resume: this fit is not the checkpoint's: {told}"):
            small.small().fit(*data, resume=path)
    with pytest.raises(ValueError, match="n_validation was 0, is 9"):
        small.small().fit(X, Y, X_val=X[:9], y_val=Y[:9], resume=path)
    with pytest.raises(ValueError, match=r"in float64, this model .* in float32"):
        small.small().fit(X.astype("f4"), Y.astype("f4"), resume=path)
    with pytest.raises(ValueError, match="the checkpoint holds a Regressor, this is a Classifier"):
        classes.quick().fit(X, Y > 0, resume=path)


def test_another_model_of_the_same_name(tmp_path):
    """A function's name says nothing of what it records."""
    widths = [5, 6]

    def own(tape, x):
        return tape.matmul(x, tape.parameter((4, 1), name=f"w{widths[0]}"))

    path = saved(tmp_path, model=own)
    widths.pop(0)
    with pytest.raises(CheckpointError, match=r"parameters \{'w5': \(4, 1\)\} .* \{'w6': \(4, 1"):
        small.small(model=own).fit(X, Y, resume=path)


def test_lbfgs_is_not_resumed(tmp_path):
    path = saved(tmp_path, optimizer="lbfgs")
    with pytest.raises(ValueError, match="resume: lbfgs keeps its memory inside SciPy"):
        small.small(optimizer="lbfgs").fit(X, Y, resume=path)


def test_a_resumed_fit_may_use_other_threads_and_another_seed(tmp_path):
    """The seed is the checkpoint's."""
    whole = small.small(max_iter=4).fit(X, Y)
    path = tmp_path / "a"
    small.small(max_iter=4).set_callbacks(resumption.Saves(tmp_path, {5})).fit(X, Y)
    path = tmp_path / "5.npz"
    reg = small.small(max_iter=4, n_jobs=2, random_state=7, verbose=0).fit(X, Y, resume=path)
    assert small.same_bits(reg.predict(X), whole.predict(X))


def test_files_that_are_none(tmp_path):
    with pytest.raises(FileNotFoundError):
        ctrain.load(tmp_path / "none")
    with pytest.raises(IsADirectoryError):
        ctrain.load(tmp_path)
    (tmp_path / "a").write_bytes(pickle.dumps(small.small()))
    np.savez(tmp_path / "b.npz", a=X)
    reg = small.small().fit(X, Y)
    before = fingerprint(reg, X)
    for name in ("a", "b.npz"):
        with pytest.raises(CheckpointError, match=f"{name}: not a checkpoint of ctrain"):
            ctrain.load(tmp_path / name)
        with pytest.raises(CheckpointError, match="not a checkpoint of ctrain"):
            reg.fit(X, Y, resume=tmp_path / name)
    assert differences(before, fingerprint(reg, X)) == []  # a refused resume changes nothing


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
