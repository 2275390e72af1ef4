"""Networks for tests of gradients, plans, steps and bits, and a way to train them."""

from __future__ import annotations

from itertools import islice
from types import SimpleNamespace

import numpy as np

import ctrain
from ctrain._core.optim import Optimizer
from ctrain._core.plan import SLAB_BYTES, compile_plan
from ctrain._core.program import Program
from ctrain._core.source import Arrays
from ctrain._core.step import Status, run_steps
from ctrain.optimizers import AdamW

KINKED = ("relu", "leaky_relu", "elu", "abs")  # at 0
ACTIVATIONS = (
    "gelu", "gelu_tanh", "tanh", "sigmoid", "silu", "softplus", "identity", *KINKED
)  # fmt: skip
LOSSES = ("squared_error", "logcosh", "poisson", "log_loss", "ratio")


class RandomNet:
    """A function of a tape that records a network drawn from a seed, the same at every call."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.seed, self.rows, self.depth = seed, int(rng.integers(1, 4)), int(rng.integers(1, 6))
        self.inputs = {
            f"x{i}": rng.normal(size=(self.rows, int(n)))
            for i, n in enumerate(rng.integers(2, 6, rng.integers(1, 4)))
        }
        self.n_features = len(self.inputs)
        self.inputs["target"] = rng.normal(size=(self.rows, 3))
        self.inputs["count"] = rng.uniform(0.5, 2, self.rows)
        self.parameters: dict[str, np.ndarray] = {}
        self.tape = ctrain.Tape("float64")
        tensors = {k: self.tape.input(x.shape[1:], name=k) for k, x in self.inputs.items()}
        self.output = self(self.tape, **tensors)

    def __call__(self, tape, **tensors):
        rng = np.random.default_rng([self.seed, 1])
        n_parameters = 0

        def parameter(*shape, low=0.0):
            nonlocal n_parameters
            name = f"p{n_parameters}"
            n_parameters += 1
            bound = np.sqrt(3 / shape[0]) if len(shape) == 2 else 1.0
            value = rng.uniform(-bound, bound, shape)
            value += np.copysign(low, value)
            self.parameters.setdefault(name, value)
            return tensors.get(name) or tape.parameter(value, name=name)

        features = [tensors[f"x{i}"] for i in range(self.n_features)]
        h = tape.concat(*features) if rng.random() < 0.5 else features[-1]
        parts = []
        for _ in range(self.depth):
            n, width = h.shape[0], int(rng.integers(2, 6))
            kind = rng.choice(["dense", "normed", "shared", "gate", "mix", "skip", "batch"])
            if kind == "dense":
                h = tape.add(tape.matmul(h, parameter(n, width)), parameter(width))
            elif kind == "normed":  # w = g * v / |v|, by columns
                v, g = parameter(n, width, low=0.5), parameter(width)
                w = tape.mul(v, tape.div(g, tape.sqrt(tape.sum(tape.square(v), axis=0))))
                h = tape.matmul(h, w, parameter(width))
            elif kind == "shared":
                w = parameter(n, n)
                h = tape.add(tape.matmul(tape.tanh(tape.matmul(h, w)), w), tape.mean(w, axis=0))
            elif kind == "gate":  # a row vector with a parameter, one number with all
                h = tape.add(tape.mul(h, tape.sigmoid(parameter(n))), parameter())
            elif kind == "mix":  # an outer product of row tensors
                other = tape.reshape(features[0], (-1, 1))
                h = tape.mean(tape.mul(other, tape.tanh(h)), axis=0)
            elif kind == "batch":  # one parameter for a row and for the mean of all
                p = parameter(n)
                h = tape.tanh(tape.add(tape.mul(h, p), tape.mul(tape.batch_mean(h), p)))
            else:
                part = tape.slice(tape.concat(h, tape.neg(h)), 0, n // 2, n // 2 + n)
                h = tape.add(h, tape.softmax(part))
            h = getattr(tape, rng.choice(ACTIVATIONS))(h)
            if rng.random() < 0.3:
                h = tape.dropout(h, 0.3)
            if rng.random() < 0.3:
                parts.append(h)  # one more output
            if rng.random() < 0.3:
                tape.exp(tape.mul(h, parameter(h.shape[0])))  # no one uses it
        target = tensors["target"]
        parts.append(tape.matmul(h, parameter(h.shape[0], 3), parameter(3)))
        y = tape.tanh(parts[-1])
        for loss in rng.choice(LOSSES, 2):
            if loss == "poisson":
                parts.append(tape.poisson(y, tape.square(target)))
            elif loss == "log_loss":
                parts.append(tape.log_loss(y, tape.softmax(target)))
            elif loss == "ratio":
                parts.append(tape.ratio(tape.sum(y), tensors["count"]))
            else:
                parts.append(getattr(tape, loss)(y, target))
        return tape.concat(*(tape.reshape(part, -1) for part in parts))

    def kink(self) -> float:
        """How far the inputs of kinked operations are from 0."""
        self.tape.forward(**self.inputs)
        kinked = [node for node in self.tape.nodes if node.op in KINKED]
        return min((np.abs(self.tape.value(k.inputs[0])).min() for k in kinked), default=1.0)


def random_networks(n: int) -> list[RandomNet]:
    """The first `n` seeds whose networks are off the kinks, by thirty steps of the differences."""
    drawn = (RandomNet(seed) for seed in range(10 * n))
    return list(islice((net for net in drawn if net.kink() > 0.03), n))


# --- networks that hold everything that bits could depend on -------------------------------------

RNG = np.random.default_rng(0)
N = 500
DATA = {
    "x": RNG.normal(size=(N, 24)),
    "y": RNG.normal(size=(N, 3)),
    "mask": (RNG.random((N, 3)) < 0.8).astype(float),
    "weight": RNG.integers(0, 3, N).astype(float),
}


def everything(tape):
    """Dropout, shared, normalised and broadcast parameters, reductions, a masked loss."""
    x, y, mask = (
        tape.input((24,), name="x"),
        tape.input((3,), name="y"),
        tape.input((3,), name="mask"),
    )
    h = tape.gelu(
        tape.matmul(x, tape.parameter((24, 48), name="w0"), tape.parameter((48,), name="b"))
    )
    h = tape.dropout(h, 0.2)
    shared, gain = tape.parameter((48, 48), name="shared"), tape.parameter((48,), name="gain")
    for _ in range(2):  # two uses of one matrix and of one vector
        centred = tape.sub(h, tape.mean(h))
        norm = tape.sqrt(tape.add(tape.mean(tape.square(centred)), 1e-5))
        h = tape.tanh(tape.matmul(tape.mul(tape.div(centred, norm), gain), shared))
    h = tape.add(h, tape.softmax(h))
    v, g = tape.parameter((48, 3), name="v"), tape.parameter((3,), name="g", decay=False)
    w = tape.mul(v, tape.div(g, tape.sqrt(tape.sum(tape.square(v), axis=0))))
    error = tape.mul(tape.square(tape.sub(tape.matmul(h, w), y)), mask)
    return tape.ratio(tape.sum(error), tape.sum(mask))


def two_stages(tape):
    """Features normalised over the batch between two layers."""
    x, y = tape.input((24,), name="x"), tape.input((3,), name="y")
    h = tape.matmul(x, tape.parameter((24, 96), name="w0"))
    centred = tape.sub(h, tape.batch_mean(h))
    spread = tape.sqrt(tape.add(tape.batch_mean(tape.square(centred)), 1e-5))
    h = tape.dropout(tape.relu(tape.div(centred, spread)), 0.1)
    return tape.huber(tape.matmul(h, tape.parameter((96, 3), name="w1")), y)


def train(
    network, *, dtype="float32", batch=193, epochs=2, n_threads=1, declaration=None,
    learning_rate=1e-2, slab_bytes=SLAB_BYTES, tile_rows=None, seed=0, **kwargs
):  # fmt: skip
    """Run epochs over shuffled rows; answer arena, sums of losses and weights, norms, status."""
    tape = ctrain.Tape(dtype, random_state=seed)
    loss = network(tape)
    plan = compile_plan(
        tape, batch, loss=loss, backward=True, slab_bytes=slab_bytes, tile_rows=tile_rows
    )
    program = Program(plan, n_threads, seed)
    fields = {k: v.astype(dtype) for k, v in DATA.items() if k in tape.inputs or k == "weight"}
    optimizer = Optimizer(declaration or AdamW(), tape.dtype, tape.parameters.arena.size)
    index = np.concatenate([np.random.default_rng(e).permutation(N) for e in range(epochs)])
    bounds = np.concatenate([np.arange(e * N, (e + 1) * N, batch) for e in range(epochs)])
    bounds = np.append(bounds, epochs * N).astype(np.int64)
    steps = len(bounds) - 1
    out = {k: np.zeros(steps) for k in ("loss_sums", "weight_sums", "norms")}
    rates = np.full(steps, learning_rate)
    done, status = run_steps(
        program, Arrays(**fields), index, bounds, rates, optimizer, SimpleNamespace(step=0), **out,
        **{"clip_norm": 1.0, "alpha": 1e-3, **kwargs},
    )  # fmt: skip
    assert (done, status) == (steps, Status.OK)
    return {"arena": tape.parameters.arena.copy(), **out}
