"""Every check of scikit-learn's `check_estimator`, with defaults and with everything else."""

from __future__ import annotations

import re
from math import prod

import numpy as np
import pytest
from classes import focal
from sklearn.base import BaseEstimator
from sklearn.utils.estimator_checks import check_estimator
from threadpoolctl import threadpool_limits

from ctrain import Classifier, Regressor
from ctrain.layers import dense
from ctrain.losses import Huber, LogLoss
from ctrain.optimizers import LBFGS, SGD, AdamW
from ctrain.schedules import ReduceOnPlateau

#: Rounding, masks and held-out rows are drawn for each row: a row that is there twice gets two, a
#: weight of 2 one. scikit-learn's perceptrons differ there too.
DRAWN = {
    "check_sample_weight_equivalence_on_dense_data": "a row twice is drawn for twice",
    "check_sample_weight_equivalence_on_sparse_data": "a row twice is drawn for twice",
}


class Gated(BaseEstimator):
    """A model of one's own: a gated layer beside a linear one."""

    def __init__(self, units=10):
        self.units = units

    def record(self, tape, inputs, shape):
        x = inputs["x"]
        gate = tape.sigmoid(dense(tape, x, self.units, "gate"))
        hidden = tape.mul(gate, tape.tanh(dense(tape, x, self.units, "value")))
        out = tape.add(dense(tape, hidden, prod(shape), "out"), dense(tape, x, prod(shape), "skip"))
        return tape.reshape(out, shape)


# A warm start goes on, and some checks fit twice and compare: of a convex problem, the second fit
# starts where the first has converged.
REGRESSORS = [
    Regressor(),
    Regressor(optimizer="sgd", learning_rate_init=0.02),
    Regressor(optimizer=SGD(momentum=0.9, nesterov=True), schedule="one_cycle", max_iter=300),
    Regressor(optimizer="adam", alpha=1e-3, l1=1e-4),
    Regressor(optimizer=AdamW(weight_decay=0.1), activation="gelu", schedule="cosine_restarts"),
    Regressor(optimizer="rmsprop", loss="huber"),
    Regressor(optimizer="adagrad", learning_rate_init=0.05),
    Regressor(optimizer="lbfgs", max_iter=30),
    Regressor(dtype="float32"),
    Regressor(early_stopping=True),
    Regressor(
        early_stopping=True,
        monitor="r2",
        metrics="neg_mean_absolute_error",
        max_iter=40,
        validation_interval=2,
        learning_rate_init=0.01,
    ),
    Regressor(dropout=0.1),
    Regressor((20, 20), ("tanh", "silu"), n_jobs=2, learning_rate_init=0.03, max_iter=20),
    Regressor((), optimizer=LBFGS(tol=1e-9), warm_start=True, alpha=0.01, max_iter=1000),
    Regressor(accumulate_steps=3, batch_size=20, max_steps=200, learning_rate_init=0.01),
    Regressor(schedule=ReduceOnPlateau(patience=2), loss=Huber(0.5), max_iter=150),
    Regressor(schedule="constant", shuffle=False, clip_norm=None, clip_value=10.0),
    Regressor(model=Gated(), max_time=100.0, learning_rate_init=0.02),
]
CLASSIFIERS = [
    Classifier(),
    Classifier(optimizer="sgd", learning_rate_init=0.1),
    Classifier(optimizer=SGD(momentum=0.9, nesterov=True), schedule="one_cycle"),
    Classifier(optimizer="adam", alpha=1e-3, l1=1e-4),
    Classifier(optimizer=AdamW(weight_decay=0.1), activation="gelu", schedule="cosine_restarts"),
    Classifier(optimizer="rmsprop"),
    Classifier(optimizer="adagrad", learning_rate_init=0.05),
    Classifier(optimizer="lbfgs", max_iter=30),
    Classifier(dtype="float32"),
    Classifier(early_stopping=True),
    Classifier(
        early_stopping=True,
        metrics=["accuracy"],
        max_iter=40,
        validation_interval=2,
        learning_rate_init=0.01,
    ),
    Classifier(dropout=0.1),
    Classifier((20, 20), ("tanh", "silu"), n_jobs=2, learning_rate_init=0.03, max_iter=20),
    Classifier((), optimizer=LBFGS(tol=1e-9), warm_start=True, alpha=0.01, max_iter=1000),
    Classifier(accumulate_steps=3, batch_size=20, max_steps=200, learning_rate_init=0.01),
    Classifier(schedule=ReduceOnPlateau(patience=2), loss=LogLoss(label_smoothing=0.1)),
    Classifier(schedule="constant", shuffle=False, clip_norm=None, clip_value=10.0),
    Classifier(class_weight="balanced"),
    Classifier(model=Gated(), max_time=100.0, learning_rate_init=0.02),
    Classifier(loss=focal, learning_rate_init=0.01),
]


def settings(estimator) -> str:
    """The call that makes an estimator, on one line, without addresses of functions."""
    return re.sub(r" at 0x\w+", "", " ".join(repr(estimator).split()))


@pytest.mark.parametrize("estimator", REGRESSORS + CLASSIFIERS, ids=settings)
def test_scikit_learn_checks(estimator, monkeypatch):
    monkeypatch.setenv("SCIPY_ARRAY_API", "1")
    drawn = estimator.dtype == "float32" or estimator.dropout or estimator.early_stopping is True
    excepted = DRAWN if drawn else {}
    with threadpool_limits(1):  # the same bits; on a busy machine threads wait for each other
        results = check_estimator(
            estimator, expected_failed_checks=excepted, on_skip=None, on_fail=None
        )
    assert len(results) > 50
    wrong = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert wrong == {}
    skipped = {r["check_name"]: str(r["exception"]) for r in results if r["status"] == "skipped"}
    # probabilities are what a network has; a margin is not
    if isinstance(estimator, Classifier) and estimator.class_weight is None:
        name = "check_classifiers_multilabel_output_format_decision_function"
        assert skipped == {name: "Classifier does not have a decision_function method."}
    else:
        assert skipped == {}


def test_the_checks_would_find_a_mistake(monkeypatch):
    monkeypatch.setattr(Regressor, "predict", lambda self, X: np.zeros(3))
    results = check_estimator(Regressor(max_iter=1), on_skip=None, on_fail=None)
    assert sum(result["status"] == "failed" for result in results) > 5
