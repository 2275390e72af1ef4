"""The picture of a recorded network shows its operations, shapes and weights, readably."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from small import problem, small

import ctrain
from ctrain.display import NetworkDisplay
from ctrain.display.boxes import boxes_of
from ctrain.display.layout import layered
from ctrain.layers import dense

matplotlib = pytest.importorskip("matplotlib", reason="the extra plot is not installed")
matplotlib.use("agg")
plt = pytest.importorskip("matplotlib.pyplot")

HOSTILE = "a\n\x00$\\frac$ <b>&"


@pytest.fixture(autouse=True)
def no_figure_left():
    """Each test starts without figures."""
    plt.close("all")
    yield
    plt.close("all")


def branches(tape, x):
    """A skip connection, a gate that is an output too, a shared and a normed weight."""
    v = tape.parameter((4, 6), name="norm.v")
    norm = tape.sqrt(tape.sum(tape.square(v), axis=0))
    h = tape.matmul(x, tape.mul(v, tape.div(tape.parameter((6,), name="norm.g"), norm)))
    gate = tape.sigmoid(dense(tape, h, 6, "gate"))
    z = dense(tape, tape.gelu(dense(tape, h, 9, "block.up")), 6, "block.down")
    h = tape.mul(tape.add(h, z), gate)
    w = tape.parameter((6, 6), name="turn")
    h = tape.concat(tape.matmul(tape.tanh(tape.matmul(h, w)), w), h)
    out = tape.mul(0.5, dense(tape, h, 1, "head"))
    return {"prediction": tape.add(out, dense(tape, x, 1, "linear")), "gate": gate}


def all_text(display) -> str:
    return "\n".join(text.get_text() for text in display.ax_.texts)


def test_network_of_an_mlp():
    X, y = problem()
    fitted = small().fit(X, y)
    display = NetworkDisplay.from_estimator(fitted)
    total = sum(w.size for w in [*fitted.coefs_, *fitted.intercepts_])
    assert [box.operations for box in display.boxes] == [
        ["x"], ["matmul", "relu"], ["matmul"], ["prediction"],
    ]  # fmt: skip
    assert display.edges == [(0, 1), (1, 2), (2, 3)]
    assert [box.shape for box in display.boxes] == [(4,), (8,), (1,), (1,)]
    weights = [w.size + b.size for w, b in zip(fitted.coefs_, fitted.intercepts_, strict=True)]
    assert [box.n_weights for box in display.boxes] == [0, *weights, 0]
    text = all_text(display)
    assert f"Regressor: {total} weights, float64" in text
    assert "layer_0\nmatmul · relu\nweight (4, 8) · bias (8,)\n40 weights → (8,)" in text
    assert len(display.boxes_) == 4 and len(display.edges_) == 3


def test_network_of_a_user_with_branches():
    X, y = problem()
    reg = small(model=branches).fit(X, y)
    display = NetworkDisplay.from_estimator(reg)
    boxes = display.boxes
    assert sum(box.n_weights for box in boxes) == sum(p.size for p in reg._network.parameters)
    named = {box.layer or box.operations[0]: k for k, box in enumerate(boxes)}
    assert {"norm", "gate", "block.up", "block.down", "head", "linear", "prediction"} <= set(named)
    edges = {(boxes[a].layer or boxes[a].operations[0], b) for a, b in display.edges}
    assert ("x", named["linear"]) in edges and ("block.up", named["block.down"]) in edges
    assert [boxes[k].operations for k in (named["block.up"], named["head"])] == [
        ["matmul", "gelu"], ["matmul", "mul 0.5"],
    ]  # fmt: skip
    uses = [box for box in boxes if any(p[0] == "turn" for p in box.parameters)]
    assert [box.n_weights for box in uses] == [36, 0]
    assert "turn (6, 6) again" in all_text(display)
    dashed = [k for k, patch in enumerate(display.boxes_) if patch.get_linestyle() == "--"]
    assert [boxes[k].layer for k in dashed] == ["norm", "norm"]  # of parameters alone
    assert not any("squared_error" in op for box in boxes for op in box.operations)


def test_boxes_leave_out_what_the_outputs_do_not_need():
    tape = ctrain.Tape()
    x, unused = tape.input((3,), name="x"), tape.input((3,), name="unused")
    y = tape.exp(x)
    tape.softmax(tape.log(unused))
    boxes, edges = boxes_of(tape, {"y": y})
    assert [box.operations for box in boxes] == [["x"], ["exp"], ["y"]]
    boxes, edges = boxes_of(tape)
    assert [box.operations for box in boxes] == [["x"], ["unused"], ["exp"], ["log"], ["softmax"]]
    assert edges == [(0, 2), (1, 3), (3, 4)]


def test_an_output_that_others_read_ends_its_box():
    tape = ctrain.Tape()
    x = tape.input((3,), name="x")
    h = tape.exp(x)
    y = tape.tanh(h)
    boxes, edges = boxes_of(tape, {"h": h, "y": y, "x": x})
    assert [box.operations for box in boxes] == [["x"], ["exp"], ["tanh"], ["h"], ["y"], ["x"]]
    assert edges == [(0, 1), (1, 2), (1, 3), (2, 4), (0, 5)]


def test_a_reshape_is_named_where_it_stands_alone():
    tape = ctrain.Tape()
    x = tape.input((2, 3), name="x")
    alone = tape.reshape(x, (6,))
    joined = tape.reshape(tape.softmax(alone), (3, 2))
    boxes, _ = boxes_of(tape, {"y": joined})
    assert [box.operations for box in boxes] == [["x"], ["reshape"], ["softmax"], ["y"]]
    assert [box.shape for box in boxes] == [(2, 3), (6,), (3, 2), (3, 2)]


def test_network_of_a_tape():
    tape = ctrain.Tape()
    x = tape.input((4,), name=HOSTILE)
    w = tape.parameter((4, 2), name="$\\frac$" * 20, trainable=False)
    display = NetworkDisplay.from_tape(tape, {"y": tape.matmul(x, w)})
    display.figure_.canvas.draw()
    assert "Tape: 8 weights, float32" in all_text(display)
    assert "fixed $\\frac$" in all_text(display)
    assert max(len(text.get_text()) for text in display.texts_) < 80
    with pytest.raises(ValueError, match="belongs to another tape"):
        NetworkDisplay.from_tape(ctrain.Tape(), {"y": x})


def test_text_fits_its_box():
    X, y = problem()
    display = NetworkDisplay.from_estimator(small(model=branches).fit(X, y))
    check_text_fits(display)
    _, axes = plt.subplots(1, 2, figsize=(8, 12))
    check_text_fits(display.plot(axes[0]))


def check_text_fits(display):
    display.figure_.canvas.draw()
    texts = iter(display.texts_)
    for box, patch in zip(display.boxes, display.boxes_, strict=True):
        frame = patch.get_window_extent()
        for _ in range(1 + len(box.text()[1])):
            extent = next(texts).get_window_extent()
            assert frame.x0 <= extent.x0 and extent.x1 <= frame.x1
            assert frame.y0 <= extent.y0 + 1 and extent.y1 - 1 <= frame.y1
    assert next(texts, None) is None


def test_too_many_boxes_are_refused():
    tape = ctrain.Tape()
    h = tape.input((3,), name="x")
    for _ in range(10):
        h = tape.softmax(h)
    with pytest.raises(ValueError, match=r"12 boxes, which must be 1 to max_boxes=11; tape\.des"):
        NetworkDisplay.from_tape(tape, {"y": h}, max_boxes=11)
    with pytest.raises(ValueError, match="0 boxes"):
        NetworkDisplay.from_tape(ctrain.Tape())
    assert plt.get_fignums() == []
    assert len(NetworkDisplay.from_tape(tape, {"y": h}, max_boxes=12).boxes_) == 12


# ------------------------------------------------------------------- the layered drawing


@pytest.mark.parametrize("seed", range(25))
def test_layered_drawings(seed):
    """No two boxes overlap, edges run downward, end at their boxes and cross no other box.

    Routes are rounded to a thousandth.
    """
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 25))
    sizes = [(float(w), float(h)) for w, h in rng.uniform(5, 120, (n, 2))]
    edges = [(a, b) for b in range(n) for a in range(b) if rng.random() < 2 / (b - a + 1) ** 1.5]
    centers, routes, (width, height) = layered(sizes, edges)
    half = np.array(sizes) / 2
    low, high = centers - half, centers + half
    assert low.min() >= -1e-6 and (high.max(axis=0) <= np.array([width, height]) + 1e-6).all()
    for i in range(n):
        for j in range(i):
            apart = np.maximum(low[i] - high[j], low[j] - high[i])
            assert apart.max() >= 17.99  # beside each other 18, below each other 30
    for (a, b), route in zip(edges, routes, strict=True):
        assert (np.diff(route[:, 1]) > 0).all()  # an arrow's head follows its last piece
        assert np.allclose(route[0], [centers[a, 0], high[a, 1]], rtol=0, atol=1e-3)
        assert (
            np.isclose(route[-1, 1], low[b, 1], rtol=0, atol=1e-3)
            and low[b, 0] < route[-1, 0] < high[b, 0]
        )
        for start, end in pairwise(route):
            points = start + np.linspace(0, 1, 50)[1:-1, None] * (end - start)
            for k in range(n):
                inside = (points > low[k] + 1e-3) & (points < high[k] - 1e-3)
                assert not inside.all(axis=1).any()


def test_long_edges_are_straight():
    """An edge past a chain of ten boxes has its two turns and no more."""
    sizes = [(40.0, 20.0)] * 12
    edges = [(k, k + 1) for k in range(11)] + [(0, 11)]
    routes = layered(sizes, edges).routes
    assert len(np.unique(routes[-1][2:-2, 0])) == 1
    for route in routes[1:-2]:
        assert np.ptp(route[:, 0]) < 1e-3  # the chain itself


def test_edges_that_need_not_cross_do_not():
    sizes = [(40.0, 20.0)] * 4
    x = layered(sizes, [(0, 3), (1, 2)]).centers[:, 0]
    assert (x[0] < x[1]) == (x[3] < x[2])
    x = layered([(40.0, 20.0)] * 7, [(0, 1), (0, 2), (1, 4), (2, 3), (3, 5), (4, 6)]).centers[:, 0]
    assert (x[1] < x[2]) == (x[4] < x[3]) == (x[6] < x[5])


def test_forks_and_joins_are_centred():
    sizes = [(40.0, 20.0), (90.0, 20.0), (20.0, 20.0), (40.0, 20.0)]
    centers, routes, _ = layered(sizes, [(0, 1), (0, 2), (1, 3), (2, 3)])
    x = centers[:, 0]
    assert np.isclose(x[0], x[1:3].mean()) and np.isclose(x[3], x[1:3].mean())
    assert (x[1] < x[2]) == (routes[2][-1, 0] < routes[3][-1, 0])  # they enter side by side


def test_a_source_lies_just_above_its_first_use():
    sizes = [(40.0, 20.0)] * 5
    y = layered(sizes, [(0, 2), (2, 3), (3, 4), (1, 4)]).centers[:, 1]
    assert y[1] == y[3] == y[4] - 50


def test_a_layered_drawing_without_boxes():
    centers, routes, size = layered([], [])
    assert centers.shape == (0, 2) and routes == [] and size == (0.0, 0.0)
