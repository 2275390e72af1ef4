"""Early stopping: which epoch is the best, when it ends, and whose weights stay."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from sklearn.metrics import make_scorer, mean_absolute_error
from small import problem, same_bits, small

from ctrain.network import Network
from ctrain.stopping import Stopping

NAN, INF = math.nan, math.inf
X, Y = problem(60)
X_VAL, Y_VAL = problem(20, seed=1)


def expected(values, mode, patience, min_delta):
    """Best epoch and last epoch (None: not stopped), from the definition.

    The epochs that improve are a chain: each is the first to beat the one before by more than
    `min_delta`. The fit ends where a link is longer than `patience`; the best epoch is the first of
    the least finite values up to there.
    """
    costs = np.array(values, float) * (1.0 if mode == "min" else -1.0)
    costs[~np.isfinite(costs)] = INF
    link, bar, last = 0, INF, None
    while last is None:
        better = np.flatnonzero(costs[link:] < bar)
        following = link + 1 + better[0] if len(better) else INF
        if following > link + patience:
            last = link + patience if link + patience <= len(values) else None
            break
        if following == INF:
            break
        link, bar = following, costs[following - 1] - min_delta
    seen = costs[: len(values) if last is None else int(last)]
    best = int(np.argmin(seen)) + 1 if np.isfinite(seen).any() else 0
    return best, None if last is None else int(last)


def played(values, mode, patience, min_delta):
    """The same answers from the state machine, and the epochs that it called the best so far."""
    stopping, taken = Stopping(mode, patience, min_delta), []
    for epoch, value in enumerate(values, 1):
        if stopping.improves(epoch, value):
            taken.append(epoch)
        if stopping.exhausted:
            return stopping.best_epoch, epoch, taken
    return stopping.best_epoch, None, taken


SEQUENCES = {
    "falling": [8.0, 7.0, 6.0, 5.0, 4.0, 3.0, 2.0],
    "rising": [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0],
    "valley": [5.0, 3.0, 2.0, 1.0, 2.0, 4.0, 6.0],
    "small gains": [5.0, 4.7, 4.4, 4.1, 3.8, 3.5, 3.2],
    "ties": [3.0, 3.0, 2.0, 2.0, 2.0, 3.0, 2.0],
    "zigzag": [4.0, 5.0, 3.0, 6.0, 2.0, 7.0, 1.0],
    "signs": [0.0, -0.0, 1.0, -1.0, 0.5, -1.0, -2.0],
}


@pytest.mark.parametrize("min_delta", [0.0, 0.5, 1.0, 100.0])
@pytest.mark.parametrize("patience", [1, 2, 3, 6, INF])
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("hole", [NAN, INF, -INF])
@pytest.mark.parametrize("name", SEQUENCES)
def test_scripted_sequences_with_a_hole_at_every_position(name, hole, mode, patience, min_delta):
    values = SEQUENCES[name]
    for place in range(len(values) + 1):  # the last one: no hole
        script = [hole if k == place else v for k, v in enumerate(values)]
        best, end, taken = played(script, mode, patience, min_delta)
        assert (best, end) == expected(script, mode, patience, min_delta), script
        assert taken[-1:] == ([best] if best else [])


@pytest.mark.parametrize("mode", ["min", "max"])
def test_every_pattern_of_nan(mode):
    values = [4.0, 2.0, 3.0, 1.0, 2.0, 0.0]
    for pattern in itertools.product([False, True], repeat=len(values)):
        script = [NAN if lost else v for v, lost in zip(values, pattern, strict=True)]
        for patience in (1, 2, 3, INF):
            best, end, _ = played(script, mode, patience, 0.5)
            assert (best, end) == expected(script, mode, patience, 0.5), script


def test_some_answers_by_hand():
    """So that the two implementations above are not wrong in the same way."""
    for values, mode, patience, min_delta, answer in [
        ([3.0, 2.0, 2.5, 2.4], "min", 2, 0.0, (2, 4)),
        ([3.0, 2.0, 2.5, 1.0], "min", 2, 0.0, (4, None)),
        ([NAN, NAN, 1.0], "min", 2, 0.0, (0, 2)),
        ([NAN, 1.0, NAN, NAN], "max", 2, 0.0, (2, 4)),
        ([5.0, 4.9, 4.8, 4.7], "min", 3, 0.5, (4, 4)),  # the best one by any margin
        ([5.0, 4.7, 4.4, 4.1], "min", 2, 0.5, (4, None)),  # gains add up
        ([1.0, 1.5, 1.5, 1.5], "max", 3, 0.5, (2, 4)),  # equal to min_delta is not more
        ([INF, 1.0, -INF, 2.0], "min", 1, 0.0, (0, 1)),
        ([1.0, 2.0, 3.0], "max", 1, 0.0, (3, None)),
    ]:
        assert played(values, mode, patience, min_delta)[:2] == answer, values


# ------------------------------------------------------------------------- in a whole fit


@pytest.fixture(scope="module")
def after_epoch():
    """``after_epoch[k]``: predictions of a fit that simply ends after epoch k."""
    return {k: small(max_iter=k).fit(X, Y).predict(X) for k in range(1, 8)}


def scripted(values):
    """A scorer that answers an epoch's value from a list."""

    def score(regressor, X, y):
        return values[len(regressor.history_["epoch"])]

    return score


def stopped(script, mode, patience, min_delta, monkeypatch):
    """Fit on rows whose validation values are a script."""
    settings = {"max_iter": len(script), "n_iter_no_change": patience, "tol": min_delta}
    fitted = small(early_stopping=True, **settings)
    if mode == "max":
        return fitted.set_params(monitor=scripted(script)).fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    left = iter(script)
    with monkeypatch.context() as patch:
        patch.setattr(Network, "evaluate", lambda *_: next(left))
        return fitted.fit(X, Y, X_val=X_VAL, y_val=Y_VAL)


@pytest.mark.parametrize("min_delta", [0.0, 0.5])
@pytest.mark.parametrize("patience", [1, 2, 3, INF])
@pytest.mark.parametrize("mode", ["min", "max"])
@pytest.mark.parametrize("name", ["valley", "zigzag", "small gains"])
def test_a_fit_follows_the_script(name, mode, patience, min_delta, after_epoch, monkeypatch):
    for place in range(len(SEQUENCES[name]) + 1):
        script = [NAN if k == place else v for k, v in enumerate(SEQUENCES[name])]
        best, end = expected(script, mode, patience, min_delta)
        if not best:
            with pytest.raises(ValueError, match="was not finite in any of the"):
                stopped(script, mode, patience, min_delta, monkeypatch)
            continue
        fitted = stopped(script, mode, patience, min_delta, monkeypatch)
        assert fitted.best_epoch_ == best
        assert fitted.n_iter_ == len(fitted.loss_curve_) == (end or len(script))
        assert fitted.stopped_by_ == ("early_stopping" if end else "max_iter")
        assert same_bits(fitted.predict(X), after_epoch[best])
        column = "validation_score" if mode == "max" else "validation_loss"
        np.testing.assert_array_equal(fitted.history_[column], script[: fitted.n_iter_])
        if mode == "max":
            assert fitted.best_validation_score_ == script[best - 1]
            np.testing.assert_array_equal(fitted.validation_scores_, script[: fitted.n_iter_])
        else:
            assert fitted.validation_scores_ is fitted.best_validation_score_ is None


@pytest.mark.parametrize("optimizer", ["adamw", "lbfgs"])
def test_best_weights_are_those_of_a_fit_that_ends_there(optimizer):
    settings = {"optimizer": optimizer, "hidden_layer_sizes": (32, 32), "learning_rate_init": 0.03}
    fitted = small(**settings, early_stopping=True, n_iter_no_change=5, max_iter=200)
    fitted.fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    curve = fitted.validation_loss_curve_
    assert fitted.stopped_by_ == "early_stopping"
    assert fitted.best_epoch_ == int(np.argmin(curve)) + 1 < fitted.n_iter_ < 200
    shorter = small(**settings, early_stopping=False, max_iter=fitted.best_epoch_).fit(X, Y)
    assert same_bits(fitted.predict(X), shorter.predict(X))
    error = np.mean((fitted.predict(X_VAL) - Y_VAL) ** 2)
    assert min(curve) == pytest.approx(error, rel=1e-12)


def test_the_best_epoch_also_counts_where_patience_never_ends():
    fitted = small(
        hidden_layer_sizes=(32,), learning_rate_init=0.05, early_stopping=True,
        n_iter_no_change=np.inf, max_iter=80,
    ).fit(X, Y, X_val=X_VAL, y_val=Y_VAL)  # fmt: skip
    assert (fitted.n_iter_, fitted.stopped_by_) == (80, "max_iter")
    assert fitted.best_epoch_ == int(np.argmin(fitted.validation_loss_curve_)) + 1 < 80
    error = np.mean((fitted.predict(X_VAL) - Y_VAL) ** 2)
    assert min(fitted.validation_loss_curve_) == pytest.approx(error, rel=1e-12)


@pytest.mark.parametrize(
    "monitor, column, metric",
    [
        ("neg_mean_absolute_error", "validation_neg_mean_absolute_error", -1.0),
        (make_scorer(mean_absolute_error, greater_is_better=False), None, -1.0),
    ],
    ids=["name", "scorer"],
)
def test_monitor_is_any_scorer(monitor, column, metric):
    settings = {"hidden_layer_sizes": (32,), "learning_rate_init": 0.05, "max_iter": 60}
    fitted = small(**settings, early_stopping=True, n_iter_no_change=8, monitor=monitor)
    fitted.fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    scores = fitted.history_[column or "validation_mean_absolute_error"]
    assert scores == fitted.validation_scores_ and len(scores) == fitted.n_iter_
    assert fitted.best_epoch_ == int(np.argmax(scores)) + 1
    error = np.mean(np.abs(fitted.predict(X_VAL) - Y_VAL))
    assert fitted.best_validation_score_ == max(scores) == pytest.approx(metric * error, rel=1e-12)
    by_loss = small(**settings, early_stopping=True, n_iter_no_change=8)
    by_loss.fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    assert by_loss.best_epoch_ != fitted.best_epoch_  # of these two, so that the test can fail


@pytest.mark.parametrize("interval, ends", [(1, 3), (2, 6), (3, 9), (5, 12)])
def test_patience_counts_validations(interval, ends, after_epoch):
    settings = {"n_iter_no_change": 2, "tol": 1e6, "max_iter": 12}
    fitted = small(early_stopping=True, validation_interval=interval, **settings)
    fitted.fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    assert fitted.n_iter_ == ends
    due = [k for k in range(1, ends + 1) if k % interval == 0 or k == ends]
    curve = np.array(fitted.validation_loss_curve_)
    assert np.flatnonzero(np.isfinite(curve)).tolist() == [k - 1 for k in due]
    assert fitted.best_epoch_ == due[int(np.argmin(curve[[k - 1 for k in due]]))]


@pytest.mark.parametrize("n, stops", [(999, False), (1000, True)])
def test_auto_is_on_from_a_thousand_rows(n, stops):
    X, y = problem(n)
    fitted = small(max_iter=2).fit(X, y)
    assert fitted.early_stopping == "auto"
    assert (fitted.best_epoch_ is not None) == stops
    assert (fitted.validation_loss_curve_ is not None) == stops
    assert len(fitted.history_.steps["loss"]) == 2 * -(-(800 if stops else n) // 16)
    given = small(max_iter=2).fit(X, y, X_val=X_VAL, y_val=Y_VAL)
    assert (given.best_epoch_ is not None) == stops
    assert len(given.validation_loss_curve_) == 2


def test_a_second_fit_looks_for_a_best_epoch_of_its_own():
    fitted = small(early_stopping=True, warm_start=True, monitor=scripted([9.0, 8.0, 7.0] * 2))
    fitted.fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    assert (fitted.best_epoch_, fitted.best_validation_score_, fitted.n_iter_) == (1, 9.0, 3)
    fitted.monitor = scripted([0.0] * 3 + [1.0, 3.0, 2.0])
    fitted.fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    assert (fitted.best_epoch_, fitted.best_validation_score_, fitted.n_iter_) == (5, 3.0, 6)


@pytest.mark.parametrize("go_on", ["fit", "partial_fit"])
def test_what_follows_does_not_fall_back_to_an_old_best(go_on, after_epoch):
    fitted = small(early_stopping=True, warm_start=True, max_iter=1).fit(X, Y, X_val=X, y_val=Y)
    assert same_bits(fitted.predict(X), after_epoch[1])
    getattr(fitted.set_params(early_stopping=False), go_on)(X, Y)
    assert same_bits(fitted.predict(X), after_epoch[2])
    assert fitted.best_epoch_ is None


# ------------------------------------------------------------------------------ bad days


@pytest.mark.parametrize("patience, epochs", [(2, 2), (INF, 3)])
@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_a_monitor_that_is_never_finite(value, patience, epochs, after_epoch):
    fitted = small(early_stopping=True, n_iter_no_change=patience, monitor=scripted([value] * 3))
    with pytest.raises(ValueError) as info:
        fitted.fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    assert f"validation_score was not finite in any of the {epochs} epochs" in str(info.value)
    assert f"the last was {value};" in str(info.value)
    assert "set early_stopping=False" in str(info.value)
    assert same_bits(fitted.predict(X), after_epoch[epochs])
    assert (fitted.stopped_by_, fitted.best_epoch_) == (None, 0)
    fitted.set_params(monitor="loss").fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    assert same_bits(fitted.predict(X), after_epoch[3])


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
@pytest.mark.parametrize("at_step, best", [(2, None), (4, 1), (13, 2), (16, 2)])
def test_an_interrupt_leaves_the_best_weights(error, at_step, best, after_epoch):
    """Four steps an epoch; the scores call epoch 2 the best."""

    def schedule(step):
        if step == at_step:
            raise error("stop")
        return 1e-3

    fitted = small(
        early_stopping=True,
        schedule=schedule,
        max_iter=20,
        monitor=scripted([1.0, 2.0] + [0.0] * 9),
    )
    with pytest.raises(error):
        fitted.fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    assert fitted.stopped_by_ is None and fitted.n_iter_ == at_step // 4
    if best is not None:
        assert fitted.best_epoch_ == best
        assert same_bits(fitted.predict(X), after_epoch[best])
    else:  # nothing was validated: the weights of the last whole step, here of the start
        assert np.isfinite(fitted.predict(X)).all()
    fitted.set_params(schedule="constant", max_iter=2).fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    assert same_bits(fitted.predict(X), after_epoch[2])


def test_a_loss_that_overflows_leaves_the_best_weights(after_epoch):
    rates = [1e-3] * 8 + [1e200] * 40
    fitted = small(
        optimizer="sgd", clip_norm=None, schedule=lambda step: rates[step], max_iter=12,
        early_stopping=True,
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"is not finite at .*; the weights are those of the best"):
        fitted.fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    assert fitted.best_epoch_ == 2
    whole = small(optimizer="sgd", clip_norm=None, max_iter=2).fit(X, Y)
    assert same_bits(fitted.predict(X), whole.predict(X))
