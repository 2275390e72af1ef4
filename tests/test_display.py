"""What displays show is what was measured; who may be displayed, and with what."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from small import problem, small

from ctrain.callbacks import OnEpochEnd
from ctrain.display import NetworkDisplay, TrainingCurveDisplay

matplotlib = pytest.importorskip("matplotlib", reason="the extra plot is not installed")
matplotlib.use("agg")
plt = pytest.importorskip("matplotlib.pyplot")

NAN = float("nan")


@pytest.fixture(autouse=True)
def no_figure_left():
    """Each test starts without figures."""
    plt.close("all")
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def fitted():
    X, y = problem(200)
    return small(
        max_iter=30, early_stopping=True, n_iter_no_change=np.inf, validation_interval=3,
        metrics="r2", learning_rate_init=0.05,
    ).fit(X, y)  # fmt: skip


def test_curves_are_the_history(fitted):
    display = TrainingCurveDisplay.from_estimator(fitted)
    train, validation = display.lines_
    assert_array_equal(train.get_ydata(), fitted.history_["loss"])
    assert_array_equal(train.get_xdata(), np.arange(1, 31))
    kept = np.isfinite(fitted.history_["validation_loss"])
    assert kept.sum() == 10
    assert_array_equal(validation.get_xdata(), np.arange(1, 31)[kept])
    assert_array_equal(validation.get_ydata(), np.array(fitted.history_["validation_loss"])[kept])
    assert display.ax_.get_xlabel() == "epoch"
    assert display.ax_.get_ylabel() == "loss (squared_error)"
    assert plt.get_fignums() == [display.figure_.number]


def test_curves_mark_the_best_epoch(fitted):
    assert fitted.best_epoch_ % 3 == 0
    line, point = TrainingCurveDisplay.from_estimator(fitted).best_
    assert set(line.get_xdata()) == {fitted.best_epoch_}
    best = fitted.history_["validation_loss"][fitted.best_epoch_ - 1]
    assert (point.get_xdata()[0], point.get_ydata()[0]) == (fitted.best_epoch_, best)
    assert point.get_label() == f"best epoch {fitted.best_epoch_}: {best:.4g}"


def test_curves_without_validation_mark_nothing():
    X, y = problem()
    display = TrainingCurveDisplay.from_estimator(small().fit(X, y))
    assert display.best_ == [] and len(display.lines_) == 1


def test_a_best_epoch_that_is_told():
    history = {"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "validation_loss": [4.0, NAN, 3.0]}
    line, point = TrainingCurveDisplay(history=history, best=1).plot().best_
    assert (point.get_xdata()[0], point.get_ydata()[0]) == (1, 4.0)
    [line] = TrainingCurveDisplay(history=history, best=2).plot().best_  # was not validated
    assert set(line.get_xdata()) == {2}
    line, _ = TrainingCurveDisplay(history=history).plot().best_
    assert set(line.get_xdata()) == {3}


def test_what_measures_the_same_shares_a_panel(fitted):
    columns = [
        "loss", "train_r2", "validation_loss", "learning_rate", "validation_r2", "seconds",
    ]  # fmt: skip
    display = TrainingCurveDisplay.from_estimator(fitted, columns=columns)
    labels = [panel.get_ylabel() for panel in display.axes_]
    assert labels == ["loss (squared_error)", "r2", "learning rate", "time of an epoch (s)"]
    shown = {
        panel.get_ylabel(): [list(line.get_ydata()) for line in panel.lines]
        for panel in display.axes_
    }
    assert fitted.history_["train_r2"] is not None
    kept = np.isfinite(fitted.history_["train_r2"])
    assert list(np.array(fitted.history_["train_r2"])[kept]) in shown["r2"]
    assert fitted.history_["learning_rate"] in shown["learning rate"]
    assert len(display.lines_) == 6 and display.ax_ is display.axes_[0]
    assert [panel.get_xlabel() for panel in display.axes_] == ["", "", "", "epoch"]
    assert len(display.best_) == 4 + 2  # a line in each panel, points of loss and r2


def test_curves_on_axes_of_the_user(fitted):
    figure, axes = plt.subplots(2)
    display = TrainingCurveDisplay.from_estimator(
        fitted, columns=["loss", "learning_rate"], ax=axes
    )
    assert display.figure_ is figure and list(display.axes_) == list(axes)
    assert plt.get_fignums() == [figure.number]
    with pytest.raises(ValueError, match=r"ax: 2 panels \(loss, learning_rate\) .* got 1"):
        display.plot(axes[0], columns=["loss", "learning_rate"])


def test_two_fits_in_one_axes(fitted):
    _, ax = plt.subplots()
    for name in ("first", "second"):
        TrainingCurveDisplay.from_estimator(fitted, ax=ax, name=name)
    entries = [text.get_text() for text in ax.get_legend().get_texts()]
    assert [e for e in entries if "best" not in e] == [
        "first, training", "first, validation", "second, training", "second, validation",
    ]  # fmt: skip
    colors = [line.get_color() for line in ax.lines if "best" not in line.get_label()]
    assert len({c for c in colors if c != "0.5"}) == 4


def test_line_kw_wins(fitted):
    display = TrainingCurveDisplay.from_estimator(fitted, line_kw={"c": "k", "ms": 9})
    assert {(line.get_color(), line.get_markersize()) for line in display.lines_} == {("k", 9)}


@pytest.mark.parametrize(
    "loss, log_scale, scale",
    [
        ([1.0, 0.1], "auto", "log"), ([1.0, 0.2], "auto", "linear"), ([1.0, 0.0], "auto", "linear"),
        ([1.0, 0.2], True, "log"), ([1.0, 0.1], False, "linear"),
    ],
)  # fmt: skip
def test_log_scale(loss, log_scale, scale):
    history = {"epoch": [1, 2], "loss": loss, "learning_rate": [1e-3, 1e-6]}
    display = TrainingCurveDisplay(history=history).plot(
        columns=["loss", "learning_rate"], log_scale=log_scale
    )
    assert [panel.get_yscale() for panel in display.axes_] == [scale, "linear"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"columns": "validation_los"}, "'validation_los' is none of .* mean 'validation_loss'"),
        ({"columns": []}, "name at least one of"),
        ({"log_scale": "yes"}, "log_scale must be True, False or 'auto'; got 'yes'"),
        ({"log_scale": True}, "positive values; loss is -1 in epoch 2; pass log_scale=False"),
    ],
)
def test_bad_arguments_leave_no_figure(arguments, message):
    history = {"epoch": [1, 2], "loss": [3.0, -1.0], "validation_loss": [1.0, NAN]}
    with pytest.raises(ValueError, match=message):
        TrainingCurveDisplay(history=history).plot(**arguments)
    assert plt.get_fignums() == []


def test_curves_of_one_epoch_and_of_none():
    display = TrainingCurveDisplay(history={"epoch": [1], "loss": [0.5]}).plot()
    assert display.lines_[0].get_marker() == "o"  # a line of one point would show nothing
    display.figure_.canvas.draw()
    shown = [t.get_text() for t in display.ax_.get_xticklabels() if t.get_text()]
    assert "1" in shown and not any("." in t for t in shown)
    empty = TrainingCurveDisplay(history={"epoch": [], "loss": []}).plot(log_scale=True)
    empty.figure_.canvas.draw()
    assert len(empty.lines_[0].get_xdata()) == 0


def test_a_display_keeps_its_history():
    history = {"epoch": [1], "loss": [0.5]}
    display = TrainingCurveDisplay(history=history)
    history["loss"].append(0.1)
    assert display.history == {"epoch": [1], "loss": [0.5]}


HOSTILE = "a\n\x00$\\frac$ _x"


def test_hostile_names_are_drawn_as_they_are():
    history = {"epoch": [1, 2], f"train_{HOSTILE}": [1.0, 2.0], "loss": [1.0, 2.0]}
    display = TrainingCurveDisplay(history=history, label="$\\frac$", name="$\\bad$")
    display.plot(columns=[f"train_{HOSTILE}", "loss"]).figure_.canvas.draw()
    assert display.axes_[1].get_ylabel() == "$\\frac$"
    assert "$\\frac$" in display.ax_.get_ylabel()


def test_curves_of_a_fit_that_is_under_way():
    seen = []

    def look(estimator):
        display = TrainingCurveDisplay.from_estimator(estimator)
        seen.append(len(display.lines_[0].get_xdata()))
        plt.close(display.figure_)

    X, y = problem()
    small(max_iter=3).set_callbacks(OnEpochEnd(look)).fit(X, y)
    assert seen == [1, 2, 3]


# ------------------------------------------------------------------- who may be displayed

DISPLAYS = [TrainingCurveDisplay, NetworkDisplay]


@pytest.mark.parametrize("display", DISPLAYS)
def test_only_fitted_estimators_of_ctrain(display):
    X, y = problem()
    with pytest.raises(NotFittedError):
        display.from_estimator(small())
    pipe = make_pipeline(small()).fit(X, y)
    other = LinearRegression().fit(X, y)
    for stranger in (pipe, other):
        with pytest.raises(TypeError, match=r"is no estimator of ctrain; .* such as pipe\[-1\]"):
            display.from_estimator(stranger)
    assert plt.get_fignums() == []
    assert display.from_estimator(pipe[-1]).figure_ is not None


@pytest.mark.parametrize(
    "call",
    [
        "TrainingCurveDisplay.from_estimator(reg)",
        "TrainingCurveDisplay(history=reg.history_).plot()",
        "NetworkDisplay.from_estimator(reg)",
        "NetworkDisplay.from_tape(ctrain.Tape())",
        "NetworkDisplay(boxes=[], edges=[]).plot()",
    ],
)
def test_without_matplotlib_the_extra_is_named(call, run_python):
    printed = run_python(
        f"""
        sys.modules["matplotlib"] = None
        import ctrain
        from ctrain.curves import curves_svg
        from ctrain.display import NetworkDisplay, TrainingCurveDisplay
        from small import problem, small

        reg = small().fit(*problem())
        assert curves_svg(reg.history_).startswith("<svg")
        try:
            {call}
        except ImportError as error:
            print(error)
        """
    )
    where = call.partition("(")[0]
    where = where if "from" in where else f"{where}.plot"
    assert printed == f"{where} needs matplotlib: pip install ctrain[plot]\n"
