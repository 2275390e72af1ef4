"""The tape: what it records, what it answers, what it refuses."""

from __future__ import annotations

import inspect
import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import ctrain
from ctrain._core.ops import OPS
from ctrain._core.symbols import Level

RNG = np.random.default_rng(5)
X, Y = RNG.normal(size=(6, 4)), RNG.normal(size=(6, 2))
W, B = RNG.normal(size=(4, 2)), RNG.normal(size=2)


def linear(**kwargs):
    """A tape with a squared loss, and its tensors."""
    tape = ctrain.Tape("float64", **kwargs)
    x, y = tape.input((4,), name="x"), tape.input((2,), name="y")
    w, b = tape.parameter(W, name="w"), tape.parameter(B, name="b")
    z = tape.add(tape.matmul(x, w), b)
    return tape, x, y, w, b, z, tape.squared_error(z, y)


# --- what it answers ----------------------------------------------------------------------------


def test_values_and_gradients_of_every_tensor():
    tape, x, y, w, b, z, loss = linear()
    tape.forward(x=X, y=Y)
    residual = X @ W + B - Y
    for tensor, value in ((x, X), (w, W), (z, X @ W + B), (loss, (residual**2).mean(1))):
        assert_allclose(tape.value(tensor), value, rtol=1e-13)
    tape.backward(loss)
    dz = residual / len(X)  # mean over rows, and over two targets
    for tensor, value in ((x, dz @ W.T), (y, -dz), (w, X.T @ dz), (b, dz.sum(0)), (z, dz)):
        assert_allclose(tape.gradient(tensor), value, rtol=1e-12, atol=1e-14)


def test_weights_of_rows():
    tape, x, _, w, _, _, loss = linear()
    tape.forward(x=X, y=Y)
    weight = np.array([0.0, 1.0, 2.0, 0.5, 0.0, 3.0])
    tape.backward(loss, weight)
    scaled = weight[:, None] * (X @ W + B - Y) / weight.sum()
    assert_allclose(tape.gradient(w), X.T @ scaled, rtol=1e-12)
    assert_array_equal(tape.gradient(x)[[0, 4]], 0.0)


def test_a_ratio_is_a_quotient_of_sums():
    tape = ctrain.Tape("float64")
    x, mask, w = tape.input((4,), name="x"), tape.input((4,), name="mask"), tape.parameter(W)
    kept = tape.sum(tape.mul(tape.square(tape.mean(tape.matmul(x, w))), mask))
    loss = tape.ratio(kept, tape.sum(mask))
    m = (RNG.random(X.shape) < 0.5).astype(float)
    m[2] = 0.0
    tape.forward(x=X, mask=m)
    tape.backward(loss)
    means = (X @ W).mean(1)
    expected = (X * (m.sum(1) * means)[:, None]).sum(0)[:, None] * np.ones(2) / m.sum()
    assert_allclose(tape.gradient(w), expected, rtol=1e-12)
    assert tape.value(loss)[2] == 0.0


def test_forward_again_after_new_weights():
    tape, *_, z, _ = linear()
    tape.forward(x=X, y=Y)
    tape.parameters.assign("w", 2 * W)
    tape.forward(x=X[:1], y=Y[:1])
    assert_allclose(tape.value(z), X[:1] @ (2 * W) + B)


def test_an_answer_is_a_copy():
    tape, x, _, w, *_ = linear()
    tape.forward(x=X, y=Y)
    for tensor in (x, w):
        tape.value(tensor)[:] = 7.0
    assert_array_equal(tape.value(x), X)
    assert_array_equal(tape.value(w), W)


def test_what_the_loss_does_not_reach_has_gradient_zero():
    tape, x, *_, loss = linear()
    other = tape.parameter((3,), name="other")
    aside = tape.exp(x)
    frozen = tape.parameter(np.ones(4), name="frozen", trainable=False)
    total = tape.add(loss, tape.sum(tape.mul(x, frozen)))
    tape.forward(x=X, y=Y)
    tape.backward(total)
    for tensor, shape in ((other, (3,)), (frozen, (4,)), (aside, X.shape)):
        assert_array_equal(tape.gradient(tensor), np.zeros(shape))


def test_numbers_and_arrays_are_constants():
    tape = ctrain.Tape("float64")
    x = tape.input((4,), name="x")
    y = tape.add(tape.mul(2.0, x), np.arange(4))
    z = tape.div([[1.0], [2.0]], y)
    tape.forward(x=X)
    assert_array_equal(tape.value(y), 2 * X + np.arange(4))
    assert_array_equal(tape.value(z), np.array([[1.0], [2.0]]) / (2 * X + np.arange(4))[:, None])
    assert all(t.level == Level.CONSTANT for t in tape.tensors if t.id in tape.constants)


@pytest.mark.parametrize("shapes", [((4,), (3, 1)), ((), (2,)), ((2, 1, 3), (4, 1)), ((5,), (5,))])
@pytest.mark.parametrize("levels", ["rr", "rp", "pr", "rc"])
def test_broadcasting_is_numpys(shapes, levels):
    tape = ctrain.Tape("float64")
    arrays, tensors = {}, []
    values = []
    for k, (shape, level) in enumerate(zip(shapes, levels, strict=True)):
        array = RNG.normal(size=(3, *shape) if level == "r" else shape)
        values.append(array if level == "r" else np.broadcast_to(array, (3, *shape)))
        if level == "r":
            arrays[f"x{k}"] = array
            tensors.append(tape.input(shape, name=f"x{k}"))
        else:
            tensors.append(tape.parameter(array) if level == "p" else tape.constant(array))
    y = tape.sub(*tensors)
    tape.forward(**arrays)
    for row in range(3):
        assert_array_equal(tape.value(y)[row], values[0][row] - values[1][row])


def test_levels():
    tape = ctrain.Tape()
    x, w, c = tape.input((2,), name="x"), tape.parameter((2,)), tape.constant([1.0, 2.0])
    assert [t.level for t in (x, w, c)] == [Level.ROW, Level.PARAMETER, Level.CONSTANT]
    assert tape.add(w, c).level == Level.PARAMETER
    assert tape.add(x, c).level == tape.add(w, x).level == Level.ROW
    assert tape.batch_mean(x).level == Level.PARAMETER


# --- parameters ---------------------------------------------------------------------------------


def test_one_name_is_one_parameter():
    tape = ctrain.Tape()
    assert tape.parameter((3, 2), name="w") is tape.parameter((3, 2), name="w")
    assert len(tape.parameters) == 1


def test_tapes_share_a_store():
    train = ctrain.Tape(random_state=3)
    infer = ctrain.Tape(training=False, random_state=3, parameters=train.parameters)
    train.parameter((3, 2), name="w")
    w = infer.parameter((3, 2), name="w")
    x = infer.input((3,), name="x")
    y = infer.matmul(x, w)
    train.parameters.assign("w", np.ones((3, 2)))
    infer.forward(x=np.ones((1, 3)))
    assert_array_equal(infer.value(y), [[3.0, 3.0]])


def test_initial_weights_depend_on_seed_and_name_alone():
    def weights(seed, *names):
        tape = ctrain.Tape(random_state=seed)
        for name in names:
            tape.parameter((3, 2), name=name)
        return {name: tape.parameters[name].value for name in names}

    first, second = weights(0, "a", "b"), weights(0, "b", "c", "a")
    assert_array_equal(first["a"], second["a"])
    assert_array_equal(first["b"], second["b"])
    assert not np.array_equal(first["a"], first["b"])
    assert not np.array_equal(first["a"], weights(1, "a")["a"])


# --- dropout ------------------------------------------------------------------------------------


def test_dropout_is_the_identity_without_training():
    tape = ctrain.Tape(training=False)
    x = tape.input((4,), name="x")
    assert tape.dropout(x, 0.5) is x
    assert ctrain.Tape().dropout(x, 0.0) is x


def test_dropout_zeroes_and_scales():
    tape = ctrain.Tape("float64")
    x = tape.input((500,), name="x")
    y = tape.dropout(x, 0.2)
    tape.forward(x=np.ones((20, 500)))
    values, counts = np.unique(tape.value(y), return_counts=True)
    assert_array_equal(values, [0.0, 1.25])
    # 10,000 draws: four standard errors are 0.016
    assert abs(counts[0] / counts.sum() - 0.2) < 0.016


# --- what can be read ---------------------------------------------------------------------------


def test_nodes_tell_what_was_recorded():
    tape, x, _, w, b, z, loss = linear()
    product, broadcast, sum_, error = tape.nodes
    assert [n.op for n in tape.nodes] == ["matmul", "broadcast", "add", "squared_error"]
    assert product.inputs == (x, w, None) and product.attributes == {}
    assert broadcast.inputs == (b,) and broadcast.attributes["shape"] == (2,)
    assert sum_.output is z and error.output is loss and error.name == "squared_error_0"
    assert product.row is OPS["matmul"] and product.flops == 2 * 4 * 2
    assert repr(x) == "<x: row (4,)>" and repr(w) == "<w: parameter (4, 2)>"


def test_describe_is_a_table():
    tape, *_ = linear()
    lines = tape.describe().splitlines()
    assert lines[0].split() == ["name", "operation", "inputs", "shape", "flops", "bytes"]
    assert len(lines) == 2 + len(tape.nodes) + 1
    # 4 + 8 numbers in, 2 out, in float64
    assert lines[2].split() == ["matmul_0", "matmul", "x,", "w", "(2,)", "16", "112"]
    flops = sum(node.flops for node in tape.nodes)
    assert lines[-1] == f"10 weights, {flops:,.0f} flops forward per row, float64"
    assert len({len(line) for line in lines[1:-1]}) == 1, "columns are aligned"


@pytest.mark.parametrize("name", OPS)
def test_every_operation_is_a_documented_method(name):
    method = getattr(ctrain.Tape, name)
    assert inspect.getdoc(method) == OPS[name].doc and len(OPS[name].doc) > 5
    parameters = list(inspect.signature(method).parameters)
    assert parameters[0] == "self"
    shown = [*(n.lstrip("*") for n in OPS[name].inputs), *OPS[name].attributes]
    assert parameters[1:] == [n for n in shown if n != "batch"]


# --- what it refuses ----------------------------------------------------------------------------

T = ctrain.Tape("float64")
V3, V4, M32, M53 = (T.input(s, name=n) for n, s in
                    {"v3": (3,), "v4": (4,), "m32": (3, 2), "m53": (5, 3)}.items())  # fmt: skip
P32, P33 = T.parameter((3, 2), name="p32"), T.parameter((3, 3), name="p33")
OTHER = ctrain.Tape("float64").input((3,), name="v3")


@pytest.mark.parametrize("name", OPS)
def test_an_input_that_an_operation_needs_is_not_none(name):
    """A kernel would read through the address that is not there."""
    needed = len(OPS[name].inputs) - OPS[name].optional
    assert needed > 0
    for missing in range(needed):
        inputs = [None if i == missing else V3 for i in range(needed)]
        with pytest.raises(TypeError, match=rf"^{name}: .*got None"):
            T.record(name, *inputs)


REFUSED = [
    # shapes: both are named
    (lambda: T.matmul(V4, P32), r"matmul: inner sizes differ: x is \(4,\), w is \(3, 2\)"),
    (lambda: T.matmul(T.sum(V3), P32), r"matmul: x needs an axis.*\(\)"),
    (lambda: T.matmul(V3, T.constant([1.0])), r"matmul: w must have two axes.*\(1,\)"),
    (lambda: T.matmul(V3, P32, np.ones(3)), r"matmul: bias must be \(2,\).*\(3,\)"),
    (lambda: T.matmul(V3, M32), r"matmul: w must be a parameter.*'m32'"),
    (lambda: T.matmul(V3, P32, V4), r"matmul: bias must be a parameter.*'v4'"),
    (lambda: T.add(V3, V4), r"add: shapes do not broadcast together: v3 \(3,\), v4 \(4,\)"),
    (lambda: T.where(V3, V4, 0.0), r"where: shapes do not broadcast.*\(3,\).*\(4,\)"),
    (lambda: T.broadcast(V3, (4,)), r"broadcast: x of shape \(3,\) does not broadcast to \(4,\)"),
    (lambda: T.squared_error(V3, V4), r"squared_error: shapes differ.*\(3,\).*\(4,\)"),
    (lambda: T.huber(V3, M32), r"huber: shapes differ.*\(3,\).*\(3, 2\)"),
    (lambda: T.quantile(V3, V4, levels=(0.1, 0.9)), r"quantile: .*\(4, 2\).*\(3,\)"),
    (lambda: T.log_loss(M53, M32), r"log_loss: .*\(5,\).*\(5, 3\).*\(3, 2\)"),
    (lambda: T.concat(V3, M32), r"concat: .*input 0 is \(3,\), input 1 is \(3, 2\)"),
    (lambda: T.reshape(M32, (4,)), r"reshape: x of row shape \(3, 2\) has 6.*\(4,\)"),
    (lambda: T.pad(V3, ((1, 1), (0, 0))), r"pad: .*\(3,\).*2"),
    (lambda: T.transpose(M32, (0, 0)), r"transpose: .*\(3, 2\) once, not \(0, 0\)"),
    # attributes
    (lambda: T.sum(V3, axis=1), r"sum: axis 1 is out of range for x of row shape \(3,\)"),
    (lambda: T.mean(M32, axis=(0, 0)), r"mean: an axis is named twice"),
    (lambda: T.softmax(V3, axis=-2), r"softmax: axis -2 is out of range"),
    (lambda: T.slice(V3, 0, 3), r"slice: 3:None:1 of axis 0 is empty.*\(3,\)"),
    (lambda: T.slice(V3, 0, step=0), r"slice: step must not be 0"),
    (lambda: T.clip(V3, 1.0, -1.0), r"clip: low must not exceed high, got low=1.0 and high=-1.0"),
    (lambda: T.power(V3, np.nan), r"power: exponent must be a finite number, got nan"),
    (lambda: T.leaky_relu(V3, -1.0), r"leaky_relu: negative_slope must not be negative, got -1.0"),
    (lambda: T.huber(V3, V3, delta=0), r"huber: delta must be a positive finite number, got 0"),
    (lambda: T.quantile(V3, V3, levels=1.5), r"quantile: levels must lie between 0 and 1.*1.5"),
    (lambda: T.log_loss(M53, M53, label_smoothing=2), r"label_smoothing must lie in \[0, 1\].*2"),
    (lambda: T.bernoulli(V3, p=1.1), r"bernoulli: p must be between 0 and 1, it is 1.1"),
    (lambda: T.dropout(V3, 1.0), r"dropout: rate must be in \[0, 1\); got 1.0"),
    # names, tapes and levels
    (lambda: T.input((3,), name="v3"), r"input: the name 'v3' is taken"),
    (lambda: T.input((0,), name="empty"), r"input: sizes must be integers of at least 1.*\(0,\)"),
    (lambda: T.parameter((2, 3), name="p32"), r"'p32' has shape \(3, 2\); asked for.*\(2, 3\)"),
    (lambda: T.parameter((0,), name="none"), r"'none': sizes must be at least 1; got \(0,\)"),
    (lambda: T.parameter((2,), name="i", init=lambda shape, key: np.ones(3)), r"\(3,\).*\(2,\)"),
    (lambda: T.parameters.assign("p32", np.ones(4)), r"'p32' has shape \(3, 2\); got \(4,\)"),
    (lambda: T.tanh(OTHER), r"tanh: <v3: row \(3,\)> belongs to another tape"),
    (lambda: T.batch_mean(P32), r"batch_mean: x must be row-level; got <p32: parameter"),
    (lambda: T.concat(), r"concat: at least one tensor"),
    (lambda: ctrain.Tape("float16"), r"dtype must be 'float32' or 'float64'; got 'float16'"),
    (
        lambda: ctrain.Tape("float32", parameters=T.parameters),
        r"the shared parameters are float64, the tape is float32",
    ),
]


@pytest.mark.parametrize("call, message", REFUSED, ids=[m for _, m in REFUSED])
def test_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    "call, message",
    [
        (
            lambda: T.tanh("x"),
            r"tanh: expected a tensor of this tape, an array.*; got str",
        ),
        (lambda: T.tanh(), r"tanh: missing a required argument: 'x'; call it as tanh\(x, /\)"),
        (lambda: T.power(V3), r"power: missing.*'exponent'"),
        (lambda: T.tanh(V3, axis=0), r"tanh: .*'axis'"),
        (lambda: T.matmul(V3, w=P32), r"matmul: .*'w'"),
    ],
)
def test_refused_types(call, message):
    with pytest.raises(TypeError, match=message):
        call()


REPLAYS = [
    (lambda tape, loss: tape.value(loss), RuntimeError, r"value: call tape.forward"),
    (lambda tape, loss: tape.backward(loss), RuntimeError, r"backward: call tape.forward"),
    (lambda tape, loss: tape.forward(x=X), ValueError, r"inputs are \['x', 'y'\]; got \['x'\]"),
    (lambda tape, loss: tape.forward(x=X, y=Y, z=Y), ValueError, r"got \['x', 'y', 'z'\]"),
    (lambda tape, loss: tape.forward(x=X, y=X), ValueError, r"y must have shape \(n_rows, 2\)"),
    (lambda tape, loss: tape.forward(x=X, y=Y[:3]), ValueError, r"y has 3 rows, others have 6"),
    (lambda tape, loss: tape.forward(x=X[:0], y=Y[:0]), ValueError, r"x has no rows"),
]


@pytest.mark.parametrize("call, error, message", REPLAYS, ids=[m for *_, m in REPLAYS])
def test_refused_replays(call, error, message):
    tape, *_, loss = linear()
    with pytest.raises(error, match=message):
        call(tape, loss)


def test_refused_losses():
    tape, x, _, w, _, z, loss = linear()
    tape.forward(x=X, y=Y)
    for wrong in (z, x, w):
        with pytest.raises(ValueError, match=r"loss must be row-level with shape \(\)"):
            tape.backward(wrong)
    with pytest.raises(ValueError, match="weights of all rows sum to zero"):
        tape.backward(loss, np.zeros(6))
    with pytest.raises(ValueError, match=r"weight must have shape \(6,\); got \(5,\)"):
        tape.backward(loss, np.ones(5))
    with pytest.raises(RuntimeError, match=r"gradient: call tape.backward"):
        tape.gradient(w)


def test_recording_ends_a_replay():
    tape, *_, z, _ = linear()
    tape.forward(x=X, y=Y)
    tape.tanh(z)
    with pytest.raises(RuntimeError, match="after the last recording"):
        tape.value(z)


def test_a_tape_without_inputs_has_no_rows():
    tape = ctrain.Tape()
    tape.exp(tape.parameter((3,)))
    with pytest.raises(ValueError, match="without inputs has no rows"):
        tape.forward()


def test_a_tape_can_be_pickled():
    tape, *_ = linear()
    again = pickle.loads(pickle.dumps(tape))
    again.forward(x=X, y=Y)
    assert_allclose(again.value(again.nodes[2].output), X @ W + B)
