"""Callbacks: who is told when, who may stop a fit, and what an error in one does."""

from __future__ import annotations

import itertools
import logging

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.callback import ProgressBar
from small import problem, same_bits, small

from ctrain import Regressor
from ctrain.callbacks import Callback, CSVLogger, OnEpochEnd

X, Y = problem(60)
X_VAL, Y_VAL = problem(20, seed=1)


class Diary(Callback):
    """Writes down what it is told, and how far the fit is then."""

    def __init__(self, name="", pages=None):
        self.name, self.pages = name, [] if pages is None else pages

    def _write(self, what, estimator):
        self.pages.append((self.name + what, len(estimator.history_["epoch"])))

    def on_fit_begin(self, estimator):
        self._write("begin", estimator)

    def on_epoch_end(self, estimator):
        self._write("epoch", estimator)

    def on_fit_end(self, estimator):
        self._write("end", estimator)


class Protocol:
    """A callback that knows scikit-learn's protocol and nothing of ours."""

    def __init__(self):
        self.calls, self.answers = [], []

    def setup(self, estimator, context):
        self.calls.append(("setup", context.task_name, context.max_subtasks))

    def on_fit_task_begin(self, estimator, context, *, X, y):
        self.calls.append(("begin", context.task_name, context.task_id))
        self.data = X, y

    def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator):
        self.calls.append(("end", context.task_name, context.task_id))
        self.answers.append(fitted_estimator)

    def teardown(self, estimator, context):
        self.calls.append(("teardown", context.task_name, context.max_subtasks))


# ------------------------------------------------------------------------- order, and when


@pytest.mark.parametrize("optimizer", ["adamw", "lbfgs"])
def test_order(optimizer):
    diary = Diary()
    small(optimizer=optimizer).set_callbacks(diary).fit(X, Y)
    assert diary.pages == [("begin", 0), ("epoch", 1), ("epoch", 2), ("epoch", 3), ("end", 3)]


def test_several_are_told_in_the_order_in_which_they_were_set():
    pages = []
    fitted = small(max_iter=1).set_callbacks(Diary("a ", pages), Diary("b ", pages)).fit(X, Y)
    assert [what for what, _ in pages] == [
        f"{n} {w}" for w in ("begin", "epoch", "end") for n in "ab"
    ]
    pages.clear()
    fitted.set_callbacks().fit(X, Y)
    assert pages == []


def test_partial_fits_are_fits_of_one_epoch():
    diary = Diary()
    fitted = small().set_callbacks(diary)
    fitted.partial_fit(X, Y).partial_fit(X, Y)
    assert diary.pages == [
        ("begin", 0), ("epoch", 1), ("end", 1), ("begin", 1), ("epoch", 2), ("end", 2),
    ]  # fmt: skip


def test_an_epoch_has_been_validated_when_it_is_told():
    def look(reg):
        error = np.mean((reg.predict(X_VAL) - Y_VAL) ** 2)
        assert reg.history_["validation_loss"][-1] == pytest.approx(error, rel=1e-12)
        assert reg.history_["epoch"][-1] == len(reg.history_["validation_loss"])

    small().set_callbacks(OnEpochEnd(look)).fit(X, Y, X_val=X_VAL, y_val=Y_VAL)


def test_refused_data_are_no_fit():
    diary = Diary()
    fitted = small().set_callbacks(diary)
    with pytest.raises(ValueError, match="NaN"):
        fitted.fit(np.where(X > 2, np.nan, X), Y)
    assert diary.pages == []


def test_callbacks_change_no_bit():
    plain = small(dropout=0.1, early_stopping=True).fit(X, Y)
    told = small(dropout=0.1, early_stopping=True).set_callbacks(Diary(), Protocol()).fit(X, Y)
    assert same_bits(told.predict(X), plain.predict(X))
    assert told.loss_curve_ == plain.loss_curve_


def test_a_clone_keeps_the_callbacks_and_only_callbacks_are_set():
    pages = []
    again = clone(small(max_iter=2).set_callbacks(OnEpochEnd(lambda reg: pages.append(1))))
    again.fit(X, Y)
    assert pages == [1, 1]
    for wrong in (print, Diary, "diary", None):
        with pytest.raises(TypeError, match="FitCallback"):
            small().set_callbacks(wrong)


# ------------------------------------------------------------------- scikit-learn's protocol


@pytest.mark.parametrize(
    "limits, planned, epochs",
    [({"max_iter": 3}, 3, 3), ({"max_steps": 5}, 2, 2), ({"max_steps": 8}, 2, 2)],
)
def test_epochs_are_tasks(limits, planned, epochs):
    told = Protocol()
    fitted = small(**limits).set_callbacks(told).fit(X, Y)
    assert fitted.n_iter_ == epochs
    assert told.calls == [
        ("setup", "fit", planned),
        ("begin", "fit", 0),
        *itertools.chain(*((("begin", "epoch", k), ("end", "epoch", k)) for k in range(epochs))),
        ("end", "fit", 0),
        ("teardown", "fit", planned),
    ]
    assert told.data[0] is X and told.data[1] is Y


def test_the_planned_epochs_of_lbfgs_and_of_held_out_rows():
    told = Protocol()
    small(optimizer="lbfgs", max_iter=3).set_callbacks(told).fit(X, Y)
    assert told.calls[0] == ("setup", "fit", 3)
    told = Protocol()
    small(early_stopping=True, max_steps=4).set_callbacks(told).fit(X, Y)  # 48 rows, 3 steps
    assert told.calls[0] == ("setup", "fit", 2)


def test_the_fitted_estimator_of_an_epoch_stays_as_it_was():
    told = Protocol()
    fitted = small().set_callbacks(told).fit(X, Y)
    assert len(told.answers) == 4
    for k, then in enumerate(told.answers[:3], 1):
        shorter = small(max_iter=k).fit(X, Y)
        assert same_bits(then.predict(X), shorter.predict(X))
        assert then.loss_curve_ == shorter.loss_curve_ and then.n_iter_ == k
    assert same_bits(told.answers[3].predict(X), fitted.predict(X))


def test_the_progress_bar_of_scikit_learn(capsys):
    fitted = small(max_iter=7).set_callbacks(ProgressBar()).fit(X, Y)
    out = capsys.readouterr().out
    assert "Regressor - fit" in out and "100%" in out
    assert fitted.n_iter_ == 7
    assert same_bits(fitted.predict(X), small(max_iter=7).fit(X, Y).predict(X))


def test_a_log_has_the_columns_of_the_history(tmp_path):
    path = tmp_path / "log.csv"
    fitted = small(max_iter=5, validation_interval=2, metrics="r2").set_callbacks(CSVLogger(path))
    fitted.fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    assert path.read_text() == fitted.history_.to_csv()


# ----------------------------------------------------------------------------------- stop


@pytest.mark.parametrize("answer", [True, 1, np.True_, "yes"])
@pytest.mark.parametrize("optimizer", ["adamw", "lbfgs"])
def test_a_true_answer_ends_the_fit(answer, optimizer):
    fitted = small(optimizer=optimizer, max_iter=50)
    fitted.set_callbacks(OnEpochEnd(lambda reg: answer if len(reg.history_["loss"]) == 4 else None))
    fitted.fit(X, Y)
    assert (fitted.n_iter_, fitted.stopped_by_) == (4, "callback")
    shorter = small(optimizer=optimizer, max_iter=4).fit(X, Y)
    assert same_bits(fitted.predict(X), shorter.predict(X))


@pytest.mark.parametrize("answer", [False, None, 0, ""])
def test_another_answer_does_not(answer):
    fitted = small().set_callbacks(OnEpochEnd(lambda reg: answer)).fit(X, Y)
    assert (fitted.n_iter_, fitted.stopped_by_) == (3, "max_iter")


def test_one_of_several_is_enough_and_all_are_told():
    pages = []
    fitted = small().set_callbacks(
        Diary("a ", pages), OnEpochEnd(lambda reg: True), Diary("b ", pages)
    )
    assert fitted.fit(X, Y).n_iter_ == 1
    assert pages == [("a begin", 0), ("b begin", 0), ("a epoch", 1), ("b epoch", 1),
                     ("a end", 1), ("b end", 1)]  # fmt: skip


def test_a_stop_leaves_the_best_weights():
    def worse(regressor, X, y):
        return -len(regressor.history_["epoch"])

    fitted = small(early_stopping=True, monitor=worse, max_iter=50)
    fitted.set_callbacks(OnEpochEnd(lambda reg: len(reg.history_["loss"]) == 4))
    fitted.fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    assert (fitted.n_iter_, fitted.best_epoch_, fitted.stopped_by_) == (4, 1, "callback")
    assert same_bits(fitted.predict(X), small(max_iter=1).fit(X, Y).predict(X))


# -------------------------------------------------------------------------------- errors


class Broken(Callback):
    def __init__(self, at, error=RuntimeError):
        self.at, self.error = at, error

    def __repr__(self):
        return f"Broken({self.at!r})"

    def _raise(self, here, estimator):
        if here == self.at and len(estimator.history_["epoch"]) in (0, 2, 3):
            raise self.error("out of paper")

    def on_fit_begin(self, estimator):
        self._raise("begin", estimator)

    def on_epoch_end(self, estimator):
        self._raise("epoch", estimator)

    def on_fit_end(self, estimator):
        self._raise("end", estimator)


@pytest.mark.parametrize("at, epochs", [("begin", 0), ("epoch", 2), ("end", 3)])
def test_an_error_ends_the_fit_and_names_the_callback(at, epochs):
    diary = Diary()
    fitted = small().set_callbacks(Broken(at), diary)
    with pytest.raises(RuntimeError, match="out of paper") as info:
        fitted.fit(X, Y)
    (note,) = info.value.__notes__
    assert f"raised by the callback Broken({at!r})" in note
    assert fitted.n_iter_ == epochs and len(fitted.loss_curve_) == epochs
    if epochs:
        whole = small(max_iter=epochs).fit(X, Y)
        assert same_bits(fitted.predict(X), whole.predict(X))
        assert fitted.loss_curve_ == whole.loss_curve_
    else:
        assert np.isfinite(fitted.predict(X)).all()
    if at != "begin":
        assert diary.pages[-1] == ("end", epochs)  # the others are told
    assert not hasattr(fitted, "_callback_fit_ctx")
    fitted.set_callbacks().fit(X, Y)
    assert same_bits(fitted.predict(X), small().fit(X, Y).predict(X))


def test_an_error_at_the_begin_leaves_no_attributes_of_an_older_fit():
    fitted = small(max_iter=5).fit(X, -Y)
    fitted.set_callbacks(Broken("begin"))
    with pytest.raises(RuntimeError, match="out of paper"):
        fitted.fit(X, Y)
    assert fitted.n_iter_ == len(fitted.loss_curve_) == len(fitted.history_["loss"])


def test_an_error_with_early_stopping_leaves_the_best_weights():
    def worse(regressor, X, y):
        return -len(regressor.history_["epoch"])

    fitted = small(early_stopping=True, monitor=worse, max_iter=9).set_callbacks(Broken("epoch"))
    with pytest.raises(RuntimeError, match="out of paper"):
        fitted.fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    assert (fitted.n_iter_, fitted.best_epoch_, fitted.stopped_by_) == (2, 1, None)
    assert same_bits(fitted.predict(X), small(max_iter=1).fit(X, Y).predict(X))


@pytest.mark.parametrize("optimizer", ["adamw", "lbfgs"])
def test_ctrl_c_in_a_callback(optimizer):
    fitted = small(optimizer=optimizer).set_callbacks(Broken("epoch", KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        fitted.fit(X, Y)
    assert (fitted.n_iter_, fitted.stopped_by_) == (2, None)
    shorter = small(optimizer=optimizer, max_iter=2).fit(X, Y)
    assert same_bits(fitted.predict(X), shorter.predict(X))


def test_an_error_of_the_fit_is_not_blamed_on_a_callback():
    diary = Diary()
    fitted = small(optimizer="sgd", learning_rate_init=1e300).set_callbacks(diary)
    with pytest.raises(ValueError, match="is not finite") as info:
        fitted.fit(X, Y)
    assert not hasattr(info.value, "__notes__")
    assert diary.pages[0] == ("begin", 0) and diary.pages[-1][0] == "end"


def test_an_error_of_a_function_names_it():
    def my_function(reg):
        raise ZeroDivisionError

    fitted = small().set_callbacks(OnEpochEnd(my_function))
    with pytest.raises(ZeroDivisionError) as info:
        fitted.fit(X, Y)
    assert "my_function" in info.value.__notes__[0]


# ------------------------------------------------------------------------------- silence


def test_a_fit_is_silent(capsys, caplog):
    with caplog.at_level(logging.DEBUG):
        Regressor((4,), max_iter=2).fit(X, Y).predict(X)
    assert capsys.readouterr() == ("", "")
    assert caplog.records == []
