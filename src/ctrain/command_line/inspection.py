"""``ctrain inspect``: what a model file holds."""

from __future__ import annotations

import inspect as signatures
import os

from .. import checkpoint
from ..display.boxes import boxes_of
from ..estimator import load
from ..forecaster import Forecaster
from .report import aligned, shown, tell

LONGEST = 72  # characters of a value in a table


def inspect(options) -> int:
    """Say what a file holds: estimator, parameters, training, network."""
    header, _ = checkpoint.read(options.model)
    estimator = load(options.model)
    parameters = estimator.get_params(deep=False)
    state, listing = header["state"], header["network"]
    weights = [
        {"name": p.name, "shape": list(p.shape), "size": p.size, "trainable": p.trainable}
        for p in estimator._network.parameters
    ]
    result = {
        "file": options.model,
        "bytes": os.path.getsize(options.model),
        "estimator": header["estimator"],
        "versions": header["versions"],
        "parameters": {name: _plain(value) for name, value in parameters.items()},
        "learned": _learned(estimator),
        "training": _training(estimator, state),
        "network": {
            "dtype": listing["dtype"],
            "inputs": {n: list(t.shape) for n, t in estimator._network.inference.inputs.items()},
            "outputs": {n: list(t.shape) for n, t in estimator._network.outputs.items()},
            "weights": sum(p["size"] for p in weights),
            "operations": sum("op" in entry for entry in listing["tensors"]),
            "parameters": weights,
        },
    }
    tell(result, options.json, _lines(result, estimator))
    return 0


def _plain(value):
    """A parameter for JSON: objects by their representation."""
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)


def _learned(estimator) -> dict:
    """What it learned of the data beside weights."""
    if not isinstance(estimator, Forecaster):
        found = {}
        for name in ("n_features_in_", "feature_names_in_", "classes_"):
            if hasattr(estimator, name):
                value = getattr(estimator, name)
                found[name.strip("_")] = value if isinstance(value, int) else value.tolist()
        return found
    tail = estimator._tail
    return {
        "series": tail.n_series, "first_series": tail.ids[:5].tolist(),
        "freq": tail.calendar.freq, "ends": str(tail.end.max()), "windows": estimator.n_windows_,
        "rows_kept": tail.n_rows, "conformal": estimator._conformal is not None,
    }  # fmt: skip


def _training(estimator, state: dict) -> dict:
    history = estimator.history_
    best = estimator.best_epoch_ or None
    return {
        "epochs": estimator.n_iter_, "steps": estimator.t_, "stopped_by": estimator.stopped_by_,
        "best_epoch": best, "seconds": sum(history["seconds"]), "data": state["data"],
        "first": {n: c[0] for n, c in history.items() if c and n not in ("epoch", "seconds")},
        "last": {n: c[-1] for n, c in history.items() if c and n not in ("epoch", "seconds")},
    }  # fmt: skip


def _lines(result: dict, estimator):
    """The result for people; of the parameters those that are not the default."""
    versions = ", ".join(f"{name} {version}" for name, version in result["versions"].items())
    yield from aligned([
        ("file", f"{result['file']}, {result['bytes']:,} bytes"),
        ("estimator", result["estimator"]), ("written by", versions),
    ])  # fmt: skip
    yield "\nparameters (others are the default)"
    defaults = signatures.signature(type(estimator)).parameters
    given = [
        (name, _cut(repr(value))) for name, value in estimator.get_params(deep=False).items()
        if repr(value) != repr(defaults[name].default)
    ]  # fmt: skip
    yield from aligned(given, "  ")
    yield "\nlearned"
    yield from aligned([(n, _cut(shown(v))) for n, v in result["learned"].items()], "  ")
    training = result["training"]
    yield "\ntraining"
    rows = [(name, training[name]) for name in ("epochs", "steps", "stopped_by", "best_epoch")]
    rows += [("seconds", training["seconds"]), *training["data"].items()]
    yield from aligned(rows, "  ")
    yield from aligned([
        (name, f"{shown(first)} -> {shown(training['last'][name])}")
        for name, first in training["first"].items()
    ], "  ")  # fmt: skip
    network = result["network"]
    yield (f"\nnetwork, {network['dtype']}, {network['weights']:,} weights, "
           f"{network['operations']} operations")  # fmt: skip
    boxes, _ = boxes_of(estimator._network.inference, estimator._network.outputs)
    table = []
    for box in boxes:
        if box.kind != "operation":
            table.append((box.kind, _cut(" ".join(box.operations), 34), str(box.shape), ""))
        elif box.n_weights:
            name = box.layer or " ".join(p for p, *_ in box.parameters)
            row = (" ".join(box.operations), name, str(box.shape), f"{box.n_weights:,}")
            table.append((_cut(row[0], 34), _cut(row[1], 34), *row[2:]))
    widths = [max(len(row[k]) for row in table) for k in range(4)]
    for row in table:
        cells = [f"{cell:<{width}}" for cell, width in zip(row[:3], widths, strict=False)]
        yield "  " + "  ".join([*cells, f"{row[3]:>{widths[3]}}"]).rstrip()


def _cut(text: str, longest: int = LONGEST) -> str:
    text = " ".join(text.split())
    return text if len(text) <= longest else f"{text[: longest - 3]}..."
