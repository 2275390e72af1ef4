"""Files of estimators: what they keep, when they are written, what is refused."""

from __future__ import annotations

import math
import pickle
import tracemalloc

import classes
import joblib
import numpy as np
import pytest
import resumption
import small
from numpy.testing import assert_array_equal
from resumption import differences, fingerprint
from sklearn.exceptions import NotFittedError

import ctrain
from ctrain import CheckpointError, Classifier, Regressor, archive, checkpoint
from ctrain.callbacks import Checkpoint, OnEpochEnd
from ctrain.optimizers import AdamW
from ctrain.schedules import ReduceOnPlateau

X, Y = small.problem()


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
    path = tmp_path / "lbfgs.npz"
    whole = small.small(optimizer="lbfgs").set_callbacks(Checkpoint(path)).fit(X, Y)
    assert small.same_bits(ctrain.load(path).predict(X), whole.predict(X))

    def never(estimator):
        raise AssertionError

    with pytest.raises(ValueError, match=r"resume: lbfgs keeps its memory.*warm_start"):
        small.small(optimizer="lbfgs").set_callbacks(OnEpochEnd(never)).fit(X, Y, resume=path)
    further = ctrain.load(path).set_params(warm_start=True).fit(X, Y)
    assert further.loss_ < whole.loss_


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


# ------------------------------------------------------------------------------- deflated zeros


def deflated(path, header, arrays) -> int:
    """Write a file of zeros, deflated whatever reading it takes; answer its size."""
    arrays = {name: np.zeros_like(array) for name, array in arrays.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "_budget", lambda n_file: math.inf)
        archive.write(path, header, arrays, compress=True)
    return path.stat().st_size


def long_history(header, arrays, n):
    header["state"]["n_epochs"] = n
    arrays["history"] = np.zeros((len(header["state"]["columns"]), n))


def many_steps(header, arrays, n):
    arrays["steps"] = np.zeros((4, n))


def wide(header, arrays, n):
    """The network's own arrays are already as large as they get."""


BOMBS = {
    "weights": ({"optimizer": "sgd"}, wide, 0),
    "slots": ({"optimizer": AdamW(amsgrad=True)}, wide, 0),
    "best weights": ({"optimizer": "sgd", "early_stopping": True}, wide, 0),
    "history": ({}, long_history, 1),
    "history of a validation": ({"early_stopping": True, "metrics": ["r2"]}, long_history, 1),
    "steps": ({}, many_steps, 1),
}


@pytest.mark.parametrize("what", BOMBS)
def test_deflated_zeros_take_no_more_memory_than_is_allowed(tmp_path, monkeypatch, what):
    """From a file of some KB: up to the limit it loads within it, beyond it is refused."""
    floor = 4 << 20
    monkeypatch.setattr(archive, "FLOOR", floor)
    settings, grow, grows = BOMBS[what]
    path, told = tmp_path / "bomb.npz", []
    small.small(max_iter=1).fit(X, Y).save(path)
    ctrain.load(path)  # whatever is imported or cached is
    for n in (1 << k for k in range(13, 22, 2)):
        width = 8 if grows else math.isqrt(n)
        given = {"hidden_layer_sizes": (width, width), "max_iter": 1, "dtype": "float32"} | settings
        header, arrays = checkpoint._contents(small.small(**given).fit(X, Y))
        grow(header, arrays, n)
        total = sum(array.nbytes for array in arrays.values())
        assert 4 * deflated(path, header, arrays) < floor
        tracemalloc.start()
        try:
            ctrain.load(path)
        except CheckpointError as error:
            assert "beyond the limit of 4194304" in str(error)
            told.append(False)
            assert tracemalloc.get_traced_memory()[1] < 1 << 20
        else:
            told.append(True)
        assert tracemalloc.get_traced_memory()[1] < floor
        assert told[-1] or total > floor / 6
        tracemalloc.stop()
    assert told == sorted(told, reverse=True) and True in told and False in told
