"""scikit-learn's searches over a network: right answers, no more threads than cores, progress."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from joblib import cpu_count
from scipy.stats import loguniform
from sklearn.base import clone
from sklearn.metrics import accuracy_score, r2_score
from sklearn.model_selection import (
    GridSearchCV,
    KFold,
    ParameterGrid,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from small import problem, same_bits

import ctrain
from ctrain import Classifier, Regressor
from ctrain.callbacks import Callback, Checkpoint
from ctrain.optimizers import SGD, AdamW
from ctrain.schedules import OneCycle

X, Y = problem(90)
X[:, 0] *= 100.0  # not scaled: the first step of the pipeline matters
GRID = {
    "net__optimizer": [SGD(momentum=0.9), AdamW()],
    "net__optimizer__weight_decay": [0.0, 0.3],
    "net__hidden_layer_sizes": [(), (8, 4)],
    "net__schedule": ["constant", "cosine", OneCycle(pct_start=0.2)],
}


def pipeline(**parameters):
    parameters = {"hidden_layer_sizes": (8,), "max_iter": 4, "batch_size": 16, **parameters}
    net = Regressor(learning_rate_init=0.02, random_state=0, **parameters)
    return Pipeline([("scale", StandardScaler()), ("net", net)])


def direct(model, params, splits, y=Y, score=r2_score):
    """Scores of one candidate, without a search."""
    scores = []
    for train, test in splits:
        fitted = clone(model).set_params(**clone(params, safe=False)).fit(X[train], y[train])
        scores.append(score(y[test], fitted.predict(X[test])))
    return scores


@pytest.fixture(scope="module")
def searched():
    return GridSearchCV(pipeline(), GRID, cv=KFold(3), n_jobs=2).fit(X, Y)


def split_scores(search) -> np.ndarray:
    """(n_candidates, n_splits)"""
    results, n = search.cv_results_, search.n_splits_
    return np.stack([results[f"split{k}_test_score"] for k in range(n)], axis=1)


def test_grid_search_equals_direct_fits(searched):
    splits = list(KFold(3).split(X))
    candidates = list(ParameterGrid(GRID))
    assert len(candidates) == len(searched.cv_results_["params"]) == 24
    expected = [direct(pipeline(), params, splits) for params in candidates]
    np.testing.assert_array_equal(split_scores(searched), expected)
    assert len(np.unique(split_scores(searched)[:, 0])) == 24  # each parameter has its effect
    best = int(np.argmax(np.mean(expected, axis=1)))
    assert searched.best_index_ == best
    chosen = clone(pipeline()).set_params(**clone(candidates[best], safe=False)).fit(X, Y)
    assert same_bits(searched.predict(X), chosen.predict(X))


def test_workers_change_nothing(searched):
    alone = clone(searched).set_params(n_jobs=1).fit(X, Y)
    np.testing.assert_array_equal(split_scores(alone), split_scores(searched))
    assert same_bits(alone.predict(X), searched.predict(X))


def test_a_search_leaves_the_declared_objects_alone(searched):
    assert [o.weight_decay for o in GRID["net__optimizer"]] == [0.0, 0.01]
    assert searched.estimator["net"].optimizer == "adamw"
    assert not hasattr(searched.estimator["net"], "history_")


def test_randomized_search():
    search = RandomizedSearchCV(
        pipeline(optimizer=AdamW(), early_stopping=True),
        {
            "net__optimizer__weight_decay": loguniform(1e-4, 1.0),
            "net__learning_rate_init": loguniform(1e-3, 1e-1),
            "net__hidden_layer_sizes": [(4,), (8,)],
        },
        n_iter=5, cv=KFold(2), n_jobs=2, random_state=0,
    ).fit(X, Y)  # fmt: skip
    candidates = search.cv_results_["params"]
    splits = list(KFold(2).split(X))
    expected = [direct(search.estimator, params, splits) for params in candidates]
    np.testing.assert_array_equal(split_scores(search), expected)
    assert search.best_params_ == candidates[int(np.argmax(np.mean(expected, axis=1)))]
    assert search.best_estimator_["net"].best_epoch_ >= 1


def test_classifier_in_a_search():
    labels = np.array(["low", "middle", "high"])[np.digitize(Y, [-0.5, 0.5])]
    net = Classifier(max_iter=4, batch_size=16, learning_rate_init=0.02, random_state=0)
    model = Pipeline([("scale", StandardScaler()), ("net", net)])
    grid = {"net__class_weight": [None, "balanced"], "net__alpha": [0.0, 1.0]}
    cv = StratifiedKFold(3)
    search = GridSearchCV(model, grid, cv=cv, n_jobs=2).fit(X, labels)
    splits = list(cv.split(X, labels))
    expected = [direct(model, p, splits, labels, accuracy_score) for p in ParameterGrid(grid)]
    np.testing.assert_array_equal(split_scores(search), expected)
    assert set(search.predict(X)) <= set(labels)
    assert search.predict_proba(X).shape == (90, 3)
    auc = clone(search).set_params(scoring="roc_auc_ovr").fit(X, labels)
    assert 0.5 < auc.best_score_ <= 1.0


def test_cross_val_score():
    splits = list(KFold(3).split(X))
    expected = direct(pipeline(), {}, splits)
    np.testing.assert_array_equal(cross_val_score(pipeline(), X, Y, cv=KFold(3)), expected)
    np.testing.assert_array_equal(
        cross_val_score(pipeline(), X, Y, cv=KFold(3), n_jobs=2), expected
    )


# ------------------------------------------------------------------------- threads

THREADS = """
import os
os.environ.pop("OMP_NUM_THREADS", None)
import json
import numpy as np
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from ctrain import Regressor
from ctrain._core.parallel import effective_n_threads
from ctrain.callbacks import Callback


def threads():
    return len(os.listdir("/proc/self/task"))


class Count(Callback):
    def on_fit_begin(self, estimator):
        estimator.counted_ = [threads()]

    def on_epoch_end(self, estimator):
        estimator.counted_.append(threads())


def allowed(estimator, X, y):
    return effective_n_threads(estimator[-1].n_jobs)


def started(estimator, X, y):
    counted = estimator[-1].counted_
    return max(counted) - counted[0]


def process(estimator, X, y):
    return os.getpid()


rng = np.random.default_rng(0)
X = rng.normal(size=(400, 64))
net = Regressor((128, 128), max_iter=2, random_state=0).set_callbacks(Count())
answer = {}
for n_jobs in (1, 2):
    search = GridSearchCV(
        make_pipeline(StandardScaler(), net), {"regressor__alpha": [0.0, 1.0]}, cv=2,
        scoring={"allowed": allowed, "started": started, "process": process},
        refit=False, n_jobs=n_jobs, error_score="raise",
    ).fit(X, X[:, 0])
    answer[n_jobs] = {
        name: [v for k in range(2) for v in search.cv_results_[f"split{k}_test_{name}"]]
        for name in ("allowed", "started", "process")
    } | {"here": os.getpid()}
print(json.dumps(answer))
"""


def test_workers_share_the_cores(run_python):
    """Each of two workers runs its networks on its share of the cores, one search alone on all."""
    answer = json.loads(run_python(THREADS))
    cores = cpu_count()
    alone, shared = answer["1"], answer["2"]
    assert set(alone["process"]) == {alone["here"]}
    assert set(alone["allowed"]) == {cores}
    assert alone["started"][0] == cores - 1  # the count sees a team
    assert shared["here"] not in shared["process"]
    share = max(1, cores // 2)
    assert set(shared["allowed"]) == {share}
    assert max(shared["started"]) <= share - 1


# ------------------------------------------------------------------------- callbacks


class Note(Callback):
    """Leaves on the estimator what it saw."""

    def on_epoch_end(self, estimator):
        estimator.noted_ = len(estimator.history_["epoch"])


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_callbacks_are_cloned_into_a_search(n_jobs):
    model = pipeline()
    note = Note()
    model["net"].set_callbacks(note)
    assert clone(model)["net"]._skl_callbacks == [note]
    search = GridSearchCV(model, {"net__max_iter": [2, 3]}, cv=2, n_jobs=n_jobs).fit(X, Y)
    chosen = search.best_estimator_["net"]
    assert chosen.noted_ == chosen.n_iter_ == search.best_params_["net__max_iter"]


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_checkpoints_of_a_search_have_files_of_their_own(n_jobs, tmp_path):
    model = pipeline()
    model["net"].set_callbacks(Checkpoint(tmp_path / "{task}.npz"))
    search = GridSearchCV(model, {"net__alpha": [0.0, 0.5]}, cv=3, n_jobs=n_jobs).fit(X, Y)
    files = sorted(tmp_path.iterdir())
    assert len(files) == 2 * 3 + 1 and {file.suffix for file in files} == {".npz"}
    loaded = [ctrain.load(file) for file in files]
    assert sorted(reg.alpha for reg in loaded).count(0.5) in (3, 4)
    Z = search.best_estimator_[:-1].transform(X)
    same = [same_bits(reg.predict(Z), search.predict(X)) for reg in loaded]
    assert sum(same) == 1  # the last fit, of all rows


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_fits_of_a_search_must_not_share_a_checkpoint(n_jobs, tmp_path):
    model = pipeline()
    model["net"].set_callbacks(Checkpoint(tmp_path / "fit.npz"))
    search = GridSearchCV(
        model, {"net__alpha": [0.0, 0.5]}, cv=2, n_jobs=n_jobs, error_score="raise"
    )
    with pytest.raises(ValueError, match=r"path must contain \{task\}"):
        search.fit(X, Y)
    assert list(tmp_path.iterdir()) == []


# ------------------------------------------------------------------------- progress

PROGRESS = """
import time
import numpy as np
from sklearn.callback import ProgressBar
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from ctrain import Regressor
from ctrain.callbacks import OnEpochEnd

X = np.random.default_rng(0).normal(size=(60, 4))
net = Regressor((4,), max_iter=5).set_callbacks(OnEpochEnd(lambda reg: time.sleep(0.15)))
search = GridSearchCV(make_pipeline(StandardScaler(), net), {"regressor__alpha": [0.0]}, cv=2,
                      n_jobs=N_JOBS)
search.set_callbacks(ProgressBar(max_propagation_depth=None)).fit(X, X[:, 0])
"""


def seen_in_a_terminal(code: str) -> str:
    """What a terminal of 200 columns shows of a program, in the order in which it was written."""
    import pty

    here, there = pty.openpty()
    variables = {**os.environ, "TERM": "xterm", "COLUMNS": "200", "LINES": "50"}
    program = subprocess.Popen(
        [sys.executable, "-c", code], stdin=there, stdout=there, stderr=there, env=variables
    )
    os.close(there)
    written = b""
    while True:
        try:
            piece = os.read(here, 1 << 16)
        except OSError:  # the other side is closed
            break
        if not piece:
            break
        written += piece
    os.close(here)
    text = re.sub(rb"\x1b\[[0-9;?]*[A-Za-z]", b"", written).decode()
    assert program.wait() == 0, text
    return text


def shares(text: str, name: str) -> set[int]:
    """Percentages that the bars of a name have shown."""
    return {int(n) for n in re.findall(rf"{name}[^\n\r%]*?(\d+)%", text)}


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_nested_progress_in_a_terminal(n_jobs):
    """Bars of the search, of each candidate on each fold, of the pipeline's steps, of epochs."""
    text = seen_in_a_terminal(PROGRESS.replace("N_JOBS", str(n_jobs)))
    assert 100 in shares(text, "GridSearchCV - fit")
    for fold in (0, 1):
        assert 100 in shares(text, rf"candidate-split-evaluation \| Pipeline - fit #{fold}")
    assert 100 in shares(text, r"refit-with-best-params \| Pipeline - fit #1")
    # five epochs of 0.15 s, drawn ten times a second: a busy machine may swallow some
    epochs = shares(text, r"fit-final-estimator \| Regressor - fit #1")
    assert 100 in epochs and epochs <= {0, 20, 40, 60, 80, 100}
    assert len(epochs & {20, 40, 60, 80}) >= 3
    assert shares(text, "GridSearchCV - fit") - {0, 100}
