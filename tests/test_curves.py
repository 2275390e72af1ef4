"""The loss curves that notebooks show: one SVG, made without matplotlib."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from small import problem, small

import ctrain
from ctrain.curves import COLORS, best_epoch, curves_svg, finite, loss_label, thin

NAN = float("nan")
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "a<b>&\"'</svg><script>alert(1)</script>\x00\x1b\ud800"


def history_of(n: int, *, every: int = 1, seed: int = 0) -> dict[str, list]:
    """A falling loss and a validation loss that turns, in every so many epochs."""
    rng = np.random.default_rng(seed)
    epoch = np.arange(1, n + 1)
    fall = 2 * np.exp(-8 * epoch / n)
    validation = fall + 0.05 + 0.2 * (epoch / n) ** 2 + 0.01 * rng.random(n)
    validation[epoch % every != 0] = NAN
    loss = fall + 0.01 + 0.005 * rng.random(n)
    return {
        "epoch": epoch.tolist(), "loss": loss.tolist(), "validation_loss": validation.tolist(),
    }  # fmt: skip


def drawn(svg: str) -> dict[str, np.ndarray]:
    """Points of each polyline, by the name of its column."""
    root = ElementTree.fromstring(svg)
    names = {color: name for name, color in COLORS.items()}
    return {
        names[line.get("stroke")]: np.array(
            [[float(v) for v in point.split(",")] for point in line.get("points").split()]
        )
        for line in root.iter(f"{SVG}polyline")
    }


def marker(svg: str):
    """The one circle with an outline."""
    root = ElementTree.fromstring(svg)
    found = [c for c in root.iter(f"{SVG}circle") if c.get("stroke") == "currentColor"]
    return found[0] if len(found) == 1 else None


def texts(svg: str) -> list[str]:
    return ["".join(t.itertext()) for t in ElementTree.fromstring(svg).iter(f"{SVG}text")]


@pytest.mark.parametrize("offset", [0.0, -1.0], ids=["logarithmic", "linear"])
def test_svg_draws_the_history(offset):
    history = history_of(100, every=3)
    for name in ("loss", "validation_loss"):
        history[name] = [v + offset for v in history[name]]
    svg = curves_svg(history)
    lines = drawn(svg)
    assert ("log scale" in svg) == (offset == 0.0)
    scale = np.log10 if offset == 0.0 else np.asarray
    everything = np.concatenate([finite(history, name)[1] for name in lines])
    heights = np.concatenate([lines[name][:, 1] for name in lines])
    # one affine map takes all values to all heights: equal up to the rounding to 0.1 pixel
    slope, level = np.polyfit(scale(everything), heights, 1)
    assert slope < -10  # up is more
    assert np.abs(slope * scale(everything) + level - heights).max() < 0.11
    for name, points in lines.items():
        epochs, values = finite(history, name)
        assert len(points) == len(values) == (100 if name == "loss" else 33)
        step = (points[-1, 0] - points[0, 0]) / (epochs[-1] - epochs[0])
        assert np.abs(points[0, 0] + step * (epochs - epochs[0]) - points[:, 0]).max() < 0.11


def test_svg_marks_the_best_epoch():
    history = history_of(60)
    best = int(np.argmin(history["validation_loss"])) + 1
    assert 1 < best < 60 and best_epoch(history) == best
    svg = curves_svg(history)
    at = drawn(svg)["validation_loss"][best - 1]
    assert [float(marker(svg).get(k)) for k in ("cx", "cy")] == at.tolist()
    assert f"best epoch {best}: {min(history['validation_loss']):.4g}" in texts(svg)[0]
    told = curves_svg(history, best=7)
    assert float(marker(told).get("cx")) == drawn(told)["validation_loss"][6, 0]
    assert curves_svg(history, best=0) == svg


def test_svg_without_validation_marks_nothing():
    history = {"epoch": [1, 2, 3], "loss": [3.0, 1.0, 2.0]}
    for told in (history, history | {"validation_loss": [NAN] * 3}):
        svg = curves_svg(told)
        assert list(drawn(svg)) == ["loss"] and marker(svg) is None and "best" not in svg


def test_svg_marks_no_epoch_that_was_not_validated():
    history = {"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "validation_loss": [4.0, NAN, 3.0]}
    assert marker(curves_svg(history, best=2)) is None


def test_svg_leaves_out_what_is_not_finite():
    history = {
        "epoch": [1, 2, 3, 4], "loss": [4.0, NAN, 2.0, float("inf")],
        "validation_loss": [NAN, 3.0, -float("inf"), 5.0],
    }  # fmt: skip
    svg = curves_svg(history)
    assert [len(points) for points in drawn(svg).values()] == [2, 2]
    assert best_epoch(history) == 2
    assert "nan" not in svg and "inf" not in svg


@pytest.mark.parametrize("epochs", [[], [1], [1, 2]])
def test_svg_of_nothing_is_nothing(epochs):
    assert curves_svg({"epoch": epochs, "loss": [NAN] * len(epochs)}) == ""


def test_svg_of_one_epoch():
    svg = curves_svg({"epoch": [1], "loss": [0.5], "validation_loss": [0.7]})
    assert "1 epoch<" in svg and {"1"} < set(texts(svg))
    root = ElementTree.fromstring(svg)
    assert len(list(root.iter(f"{SVG}circle"))) == 3  # a line of one point would show nothing


@pytest.mark.parametrize(
    "loss",
    [
        [0.0, 0.0], [5.0, 5.0], [-3.0, -3.0], [1e308, -1e308], [5e-324, 1.0], [1e-310, 2e-310],
        [1000.0001, 1000.0004], [1e7, 1.3e7], [1e-9, 2e-9], [1e300, 1e308], [0.0, 1e-320],
        [0.0, 5e-324], [1.0, 1.0 + 2e-16], [-1e-5, 0.0], [2e-322, 3e-322],
    ],
    ids=str,
)  # fmt: skip
def test_svg_of_awkward_values(loss):
    """Inside the picture, in the right order, with ticks that differ."""
    svg = curves_svg({"epoch": [1, 2], "loss": loss})
    x, y = drawn(svg)["loss"].T
    assert (x > 0).all() and (x < 640).all() and (y > 0).all() and (y < 260).all()
    if 1e300 > max(loss) > 1e-300 and abs(loss[1] - loss[0]) > 1e-9 * max(loss):
        assert np.sign(y[0] - y[1]) == np.sign(loss[1] - loss[0])
    ticks = [t for t in texts(svg)[1:-2] if t not in ("1", "2")]
    assert len(ticks) == len(set(ticks))


def test_svg_of_a_long_fit_is_small_and_keeps_extremes():
    history = history_of(10_000)
    history["loss"][4321] = 30.0  # one wild epoch
    history["loss"][8765] = 0.001
    svg = curves_svg(history)
    assert len(svg) < 50_000
    y = drawn(svg)["loss"][:, 1]
    assert y.min() < 40 and y.max() > 210  # both reach their end of the plot
    assert marker(svg) is not None


def test_thinning_keeps_the_extremes_of_every_column():
    rng = np.random.default_rng(0)
    x, y = np.arange(5000.0), rng.normal(size=5000)
    bins = 50
    thin_x, thin_y = thin(x, y, bins)
    assert len(thin_x) <= 4 * bins and (np.diff(thin_x) > 0).all()
    assert_array_equal(y[thin_x.astype(int)], thin_y)
    for part in np.split(np.arange(5000), bins):
        kept = np.isin(part, thin_x)
        assert {part[0], part[-1]} <= set(thin_x)
        assert y[part][kept].min() == y[part].min() and y[part][kept].max() == y[part].max()
    assert_array_equal(thin(x[:200], y[:200], bins)[0], x[:200])


def test_svg_is_inert_and_escaped():
    svg = curves_svg(history_of(20), label=HOSTILE)
    root = ElementTree.fromstring(svg)
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags == {"svg", "title", "text", "tspan", "line", "polyline", "circle"}
    for element in root.iter():
        assert not {k for k in element.attrib if k.lower().startswith("on") or "href" in k}
    assert "url(" not in svg and svg.count("http") == 1  # the namespace
    assert "a<b>&\"'</svg><script>alert(1)</script>" in root.find(f"{SVG}title").text


def test_svg_suits_any_background():
    svg = curves_svg(history_of(20))
    root = ElementTree.fromstring(svg)
    assert root.get("fill") == "currentColor"
    fixed = {e.get(k) for e in root.iter() for k in ("fill", "stroke")}
    assert fixed == {None, "none", "currentColor", *COLORS.values()}

    def luminance(color):
        parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return np.dot(linear, [0.2126, 0.7152, 0.0722])

    for color in COLORS.values():  # WCAG 2: graphics need a contrast of 3
        for background in ("#ffffff", "#111111"):
            low, high = sorted([luminance(color), luminance(background)])
            assert (high + 0.05) / (low + 0.05) >= 3


def test_loss_label():
    assert loss_label("huber") == "loss (huber)"
    assert loss_label(ctrain.losses.Huber()) == "loss (Huber)"
    assert loss_label(test_loss_label) == "loss (test_loss_label)"


def test_svg_of_a_fit():
    X, y = problem(200)
    reg = small(max_iter=30, early_stopping=True, n_iter_no_change=np.inf, validation_interval=3)
    reg.fit(X, y)
    svg = curves_svg(reg.history_, best=reg.best_epoch_, label=loss_label(reg.loss))
    lines = drawn(svg)
    assert len(lines["loss"]) == 30 and len(lines["validation_loss"]) == 10
    best = lines["validation_loss"][reg.best_epoch_ // 3 - 1]
    assert [float(marker(svg).get(k)) for k in ("cx", "cy")] == best.tolist()
    assert best[1] == lines["validation_loss"][:, 1].max()  # the lowest in the picture
    assert "loss (squared_error)" in svg


def test_svg_of_a_history_from_json():
    """Null stands there for NaN."""
    svg = curves_svg({"epoch": [1, 2], "loss": [2.0, 1.0], "validation_loss": [None, 1.5]})
    assert [len(points) for points in drawn(svg).values()] == [2, 1]


def test_a_fitted_estimator_shows_its_curves_in_a_notebook():
    X, y = problem()
    fitted = small(early_stopping=True).fit(X, y)
    assert fitted._repr_html_().count("<polyline") == 2
    assert fitted._repr_mimebundle_()["text/html"].count("<polyline") == 2
    assert clone(fitted)._repr_html_().count("<polyline") == 0
