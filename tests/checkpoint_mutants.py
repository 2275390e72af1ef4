"""Hostile contents of whole files: valid containers whose network, state or labels are not.

``python checkpoint_mutants.py FOLDER SEED COUNT`` loads COUNT of them under an audit hook and
tracemalloc, predicts and resumes with those that load, and prints a report as JSON. The number of
the mutant that is under way stands in FOLDER/at-SEED, for whoever finds this process dead.
"""

from __future__ import annotations

import copy
import json
import os
import random
import sys
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import classes
import numpy as np
import resumption
import small

import ctrain
from ctrain import archive, checkpoint
from ctrain._core.ops import OPS
from ctrain.schedules import ReduceOnPlateau

X, Y = small.problem()
INSPECTION = ("builtins.id", "object.__getattr__")  # of signatures and arrays
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC


def everything(tape, x):
    """A network with every kind of entry in its list."""
    h = tape.matmul(x, tape.parameter((4, 6), name="a"), tape.parameter((6,), name="b"))
    h = tape.gelu(tape.sub(h, tape.batch_mean(h)))
    h = tape.concat(tape.slice(h, 0, 1, 5), tape.reshape(x, (4,)))
    h = tape.reshape(tape.softmax(tape.reshape(h, (2, 4)), axis=1), (8,))
    h = tape.mul(tape.dropout(h, 0.1), np.linspace(0.5, 2, 8))
    scale = tape.exp(tape.mean(tape.parameter((8, 3), name="c"), axis=1))
    h = tape.sum(tape.mul(tape.reshape(tape.mul(h, scale), (8, 1)), np.ones((1, 3))), axis=0)
    return tape.matmul(h, tape.parameter((3, 1), name="d"))


def bases(folder: Path) -> list[tuple]:
    """Headers and arrays of files that load, with what fits them on."""
    plateau = ReduceOnPlateau(patience=0, threshold=0.2)
    numbers = {"early_stopping": True, "metrics": ["r2"], "schedule": plateau}
    features, index = classes.problem()
    labels = np.array(["a", "bb", "ccc"])[index]
    found = []
    for make, x, y in (
        (lambda: small.small(**numbers), X, Y),
        (lambda: small.small(dtype="float32", optimizer="sgd"), X, Y),
        (lambda: small.small(model=everything), X, Y),
        (lambda: classes.quick(early_stopping=False), features, labels),
    ):
        make().set_callbacks(resumption.Saves(folder, {5})).fit(x, y)
        header, arrays = checkpoint.read(folder / "5.npz")
        found.append((header, arrays, make, x, y))
    return found


# ------------------------------------------------------------------------------------ grammar

NUMBERS = (
    0,
    1,
    2,
    3,
    4,
    7,
    -1,
    -2,
    255,
    2**15,
    2**31 - 1,
    2**31,
    2**32,
    2**62,
    2**63,
    2**64,
    10**38,
)
VALUES = (
    *NUMBERS, None, True, False, 0.5, -1.5, 1e300, float("nan"), float("inf"), "", "x", "mean",
    "float32", "float64", "layer_0.weight", "__import__('os').system('true')", "os.system", [], {},
    [0], [1, 2], [-1], [2**31, 2**31], [[0, 1]], {"list": []}, {"dict": [[1, 2]]},
    {"missing": "os.system", "parameters": {}}, {"object": "losses.Quantile", "parameters": {}},
    {"object": "os.system", "parameters": {}}, {"object": "models.MLP", "parameters": {"x": 1}},
    {"array": [""], "dtype": "<U4000000", "shape": [1]}, {"array": [1], "dtype": "O", "shape": [1]},
    {"array": [1, 2], "dtype": "<f8", "shape": [-1]}, {"array": ["a"], "dtype": "V9", "shape": [1]},
    {"array": [0] * 9, "dtype": "<U100000", "shape": [9]}, {"missing": "a.b"},
    {"array": [], "dtype": "<f8,O", "shape": []},
)  # fmt: skip
ATTRIBUTES = sorted({name for row in OPS.values() for name in row.attributes})
SIZES = (1, 1, 2, 3, 4, 5, 6, 8, 12, 16, 64, 1000, 2**20, 2**31, 2**40)


def attribute(rng):
    kind = rng.random()
    if kind < 0.4:
        return rng.randint(-3, 9)
    if kind < 0.6:
        return [rng.randint(-2, 9) for _ in range(rng.randint(0, 4))]
    return rng.choice((*VALUES, [rng.choice(SIZES), rng.choice(SIZES)]))


def places(value, found: list) -> list:
    for key in value if isinstance(value, dict) else range(len(value)):
        found.append((value, key))
        if isinstance(value[key], (dict, list)):
            places(value[key], found)
    return found


def entries(header) -> list:
    return header["network"]["tensors"]


def any_value(rng, header, arrays):
    container, key = rng.choice(places(header, []))
    container[key] = copy.deepcopy(rng.choice(VALUES))


def of_state(rng, header, arrays):
    container, key = rng.choice(places(header[rng.choice(("state", "learned", "parameters"))], []))
    container[key] = copy.deepcopy(rng.choice(VALUES))


def drop(rng, header, arrays):
    container, key = rng.choice(places(header, []))
    del container[key]


def swap(rng, header, arrays):
    (one, k), (other, j) = (rng.choice(places(header, [])) for _ in range(2))
    one[k], other[j] = copy.deepcopy(other[j]), copy.deepcopy(one[k])


def op_name(rng, header, arrays):
    rng.choice([e for e in entries(header) if "op" in e])["op"] = rng.choice(list(OPS))


def op_inputs(rng, header, arrays):
    entry = rng.choice([e for e in entries(header) if "op" in e])
    n = len(entries(header))
    given = [rng.choice((None, *range(n), rng.randint(-n - 2, 2 * n), True))
             for _ in range(rng.choice((0, 1, 2, 3, len(entry["inputs"]))))]  # fmt: skip
    entry["inputs"] = given


def op_attributes(rng, header, arrays):
    entry = rng.choice([e for e in entries(header) if "op" in e])
    own = OPS[entry["op"]].attributes if entry["op"] in OPS else ()
    name = rng.choice((*own, *own, *own, rng.choice(ATTRIBUTES), "self", "op", "name"))
    entry["attributes"][name] = attribute(rng)


def new_op(rng, header, arrays):
    """One more operation, of shapes that may well fit; mostly it becomes the prediction."""
    n = len(entries(header))
    op = OPS[rng.choice(list(OPS))]
    count = rng.choice((1, 2, 3)) if op.inputs[0].startswith("*") else len(op.inputs)
    count -= rng.choice((0, 0, op.optional))
    entry = {
        "op": op.name,
        "inputs": [rng.randrange(n) for _ in range(max(count, 0))],
        "attributes": {k: attribute(rng) for k in op.attributes if rng.random() < 0.7},
    }
    if rng.random() < 0.5:  # as an attribute that mostly fits
        for name in entry["attributes"]:
            entry["attributes"][name] = {
                "axis": rng.choice((0, -1, 1, [0])), "shape": rng.choice(([-1], [4], [2, 2], [8])),
                "batch": False, "axes": rng.choice(([0], [1, 0])),
            }.get(name, rng.choice((0, 1, 2, 0.5)))  # fmt: skip
    entries(header).append(entry)
    if rng.random() < 0.8:
        header["network"]["outputs"]["prediction"] = n


def outputs(rng, header, arrays):
    name = rng.choice(("prediction", "prediction", "more"))
    header["network"]["outputs"][name] = rng.choice(
        (rng.randrange(len(entries(header))), -1, 10**6)
    )


def input_shape(rng, header, arrays):
    entry = rng.choice([e for e in entries(header) if "input" in e])
    entry["shape"] = [rng.choice(SIZES) for _ in range(rng.choice((0, 1, 1, 1, 2, 3)))]


def parameter_shape(rng, header, arrays):
    """Another shape, with weights of the length that it takes; or of as many weights."""
    listed = header["network"]["parameters"]
    parameter = rng.choice(listed)
    shape = parameter["shape"]
    parameter["shape"] = rng.choice((
        shape[::-1], [int(np.prod(shape))], [*shape, 1], [rng.choice(SIZES[:12]) for _ in shape],
        [rng.choice(SIZES) for _ in shape], [0, *shape], [-1, -1, *shape], [2**32, 2**32],
    ))  # fmt: skip
    total = sum(-(-int(np.prod(p["shape"], dtype=object)) // 16) * 16 for p in listed)
    if 0 <= total < 10**6:
        for name in arrays:
            if name in ("weights", "best_weights") or name.startswith("slot."):
                arrays[name] = np.resize(arrays[name], total)


def parameter_name(rng, header, arrays):
    rng.choice(header["network"]["parameters"])["name"] = rng.choice(
        [p["name"] for p in header["network"]["parameters"]] + ["x", "", 3]
    )


def constant(rng, header, arrays):
    names = [name for name in arrays if name.startswith("constant.")]
    if names:
        name = rng.choice(names)
        shape = [rng.choice(SIZES[:11]) for _ in range(rng.choice((0, 1, 2, 3)))]
        if np.prod(shape, dtype=object) < 10**6:
            arrays[name] = np.full(shape, rng.random(), arrays[name].dtype)
            header["network"]["constants"][int(name[9:])] = shape


def array_values(rng, header, arrays):
    array = arrays[rng.choice(list(arrays))]
    if array.size:
        array.flat[rng.randrange(array.size) :] = rng.choice((np.nan, np.inf, -1, 0, 1e38))


def array_shape(rng, header, arrays):
    name = rng.choice(list(arrays))
    arrays[name] = np.resize(arrays[name], rng.choice((0, 1, 3, arrays[name].size + 16)))


def array_names(rng, header, arrays):
    name = rng.choice(list(arrays))
    arrays[rng.choice(("slot.more", "weights", "constant.99", "history"))] = arrays.pop(name)


def widths(rng, header, arrays):
    """What tables are told of their columns."""
    name = rng.choice(("n_features_in_", "_plain_width", "_plain_width", "_squeeze"))
    header["learned"][name] = rng.choice((0, 1, 3, 5, 2**31, -1, None, "4", True, 4.0))


MUTATIONS = (
    any_value, any_value, of_state, of_state, drop, swap, op_name, op_inputs, op_inputs,
    op_attributes, op_attributes, op_attributes, new_op, new_op, new_op, new_op, outputs,
    input_shape, parameter_shape, parameter_shape, parameter_name, constant, constant, array_values,
    array_shape, array_names, widths,
)  # fmt: skip


def mutant(rng, base) -> tuple[dict, dict]:
    header, arrays = copy.deepcopy(base[0]), {k: a.copy() for k, a in base[1].items()}
    for _ in range(rng.choice((1, 1, 2, 3))):
        try:
            rng.choice(MUTATIONS)(rng, header, arrays)
        except (KeyError, TypeError, IndexError, AttributeError, ValueError, OverflowError):
            continue  # an earlier change took the place away
    return header, arrays


# ---------------------------------------------------------------------------------- a campaign


def use(estimator, base, path: str, told: Counter) -> list[str]:
    """Predict and resume; errors are told, only a wrong kind of answer is returned."""
    wrong = []
    features = [np.zeros((3, 4)), np.ones((70, 4), np.float32)]
    width = getattr(estimator, "_plain_width", None)
    if type(width) is int and 0 <= width < 1000:
        features.append(np.zeros((3, width)))
    for x in features:
        try:
            answer = estimator.predict(x)
        except Exception as error:
            told[f"predict: {type(error).__name__}"] += 1
        else:
            told["predicted"] += 1
            if len(answer) != len(x):
                wrong.append(f"{len(answer)} predictions for {len(x)} rows")
    for action in (lambda: repr(estimator), lambda: estimator.coefs_):
        try:
            action()
        except Exception as error:
            told[f"looked at: {type(error).__name__}"] += 1
    return wrong


def campaign(folder: Path, seed: int, count: int) -> dict:
    """What happened to `count` mutants; "wrong" lists the promises that were broken."""
    path = str(folder / f"mutant-{seed}.npz")
    rng, told, wrong, events = random.Random(seed), Counter(), [], []
    watching = False

    def watch(event, arguments):
        reading = event == "open" and arguments[0] == path and not arguments[2] & WRITING
        if watching and not reading and event not in INSPECTION:
            events.append(f"{event} {arguments!r}"[:200])

    good = bases(folder)
    for base in good:  # they load, and imports and caches are filled
        archive.write(path, *base[:2])
        use(ctrain.load(path), base, path, Counter())
    sys.addaudithook(watch)
    most, longest = 0.0, 0.0
    progress = open(folder / f"at-{seed}", "w")
    for number in range(count):
        progress.seek(0)
        progress.write(f"{number}\n")
        progress.flush()
        base = rng.choice(good)
        header, arrays = mutant(rng, base)
        try:
            pieces = archive._spell(header, arrays, rng.random() < 0.2)
        except (ValueError, TypeError):
            told["no file can say it"] += 1
            continue
        data = b"".join(pieces)
        digest = archive.hashlib.sha256(data).hexdigest().encode()
        Path(path).write_bytes(data + digest)
        limit, estimator = max(64 << 20, 4 * len(data)), None
        tracemalloc.start()
        started, watching = time.thread_time(), True
        try:
            estimator = ctrain.load(path)
        except ctrain.CheckpointError:
            pass
        except BaseException as error:
            watching = False
            wrong.append(f"{number}: {error!r}"[:300])
        watching = False
        seconds = time.thread_time() - started
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        most, longest = max(most, peak / limit), max(longest, seconds)
        if peak > limit or seconds > 3:  # traced, so several times slower
            wrong.append(f"{number}: {seconds:.2f} s, {peak} bytes")
        told["refused" if estimator is None else "loaded"] += 1
        if estimator is not None:
            wrong += [f"{number}: {what}" for what in use(estimator, base, path, told)]
        if number % 5 == 0:
            try:
                base[2]().fit(*base[3:], resume=path)
            except ValueError:
                told["not resumed"] += 1
            except Exception as error:
                told["not resumed"] += 1
                wrong.append(f"{number}, resumed: {error!r}"[:300])
            else:
                told["resumed"] += 1
    progress.close()
    return {"count": count, "told": dict(sorted(told.items())), "longest": longest,
            "most of the allowed memory": most, "events": sorted(set(events)),
            "wrong": wrong}  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(campaign(Path(sys.argv[1]).resolve(), int(sys.argv[2]), int(sys.argv[3]))))
