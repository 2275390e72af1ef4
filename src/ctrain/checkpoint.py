"""The whole state of an estimator as a header and arrays, and back; `archive` makes it a file.

a) Plain values are JSON. Objects of ctrain are their class's name and parameters; whatever else a
   user handed over (functions, models of their own) is kept by name only, as `Missing`: prediction
   does not need it, a further fit asks for it.
b) Nothing that a file says is imported or run: classes come from a table, networks are recorded
   through the checked shape rules.
"""

from __future__ import annotations

import dataclasses
import math
import os
import platform

import numpy as np
import scipy
import sklearn
from sklearn.base import BaseEstimator

from . import archive, distributions, initializers, losses, models, optimizers, scalers, schedules
from ._core.listing import listed
from ._core.optim import Optimizer
from ._core.parameters import Parameters
from ._core.plan import compile_plan
from .archive import CheckpointError
from .history import COLUMNS, History
from .network import Network
from .state import State
from .stopping import Stopping
from .version import __version__

__all__ = ["CheckpointError", "Missing", "load", "read", "save"]

#: numbers of a `State` that are neither arrays nor objects
COUNTS = ("seed", "step", "epoch", "epoch_step", "first_step", "first_epoch", "partial", "data",
          "restored", "stopped_by")  # fmt: skip
#: bytes of labels, values of one row, bytes of a workspace, threads and steps beyond which a file
#: is refused
LARGEST_TEXT = 1 << 24
LARGEST_ROW = 1 << 26
LARGEST_WORKSPACE = 1 << 30
MOST_THREADS = 1 << 10
MOST_STEPS = 1 << 53
#: what a field of `Stopping` may hold
STOPPING_KINDS = {"str": str, "int": int, "float": (int, float)}


def _objects() -> dict[str, type]:
    """Classes that a file may name."""
    found = {}
    for module in (distributions, initializers, losses, models, optimizers, scalers, schedules):
        for thing in vars(module).values():
            if isinstance(thing, type) and issubclass(thing, BaseEstimator):
                found[f"{module.__name__.removeprefix('ctrain.')}.{thing.__name__}"] = thing
    return found


FRESH = State(seed=0)  # the types of what it counts
OBJECTS = _objects()
NAMES = {thing: name for name, thing in OBJECTS.items()}


class Missing:
    """Something of the user's that a file knows by name only.

    Parameters
    ----------
    name : str
    parameters : dict
        Of an object that has ``get_params``.
    """

    def __init__(self, name: str, parameters: dict) -> None:
        self.name, self.parameters = name, parameters

    def __repr__(self) -> str:
        given = ", ".join(f"{name}={value!r}" for name, value in self.parameters.items())
        return f"<missing: {self.name}{f'({given})' if given else ''}>"

    def __eq__(self, other) -> bool:
        return isinstance(other, Missing) and encode(other) == encode(self)

    def __hash__(self) -> int:
        return hash(self.name)


# ------------------------------------------------------------------------ values


def encode(value):
    """JSON of a parameter or attribute."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.ndarray):
        kind = value.dtype.str if value.dtype.kind in "biufU" else "O"
        return {"array": [encode(v) for v in value.reshape(-1).tolist()], "dtype": kind,
                "shape": list(value.shape)}  # fmt: skip
    if isinstance(value, (list, tuple)):
        return {type(value).__name__: [encode(v) for v in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(k), encode(v)] for k, v in value.items()]}
    if type(value) in NAMES:
        parameters = value.get_params(deep=False)
        return {"object": NAMES[type(value)],
                "parameters": {name: encode(v) for name, v in parameters.items()}}  # fmt: skip
    named, parameters = value, {}
    if isinstance(value, Missing):
        name, parameters = value.name, value.parameters
    else:
        if not hasattr(value, "__qualname__"):
            named = type(value)
            if hasattr(value, "get_params"):
                parameters = value.get_params(deep=False)
        # what a spawned process calls the script that its parent runs
        module = "__main__" if named.__module__ == "__mp_main__" else named.__module__
        name = f"{module}.{named.__qualname__}"
    return {"missing": name, "parameters": {k: encode(v) for k, v in parameters.items()}}


def decode(value):
    """What :func:`encode` wrote."""
    if not isinstance(value, dict):
        return value
    if "array" in value:
        flat = [decode(v) for v in value["array"]]
        if value["dtype"] == "O":
            array = np.empty(len(flat), object)
            array[:] = flat
        elif np.dtype(value["dtype"]).kind in "biufU":
            array = np.array(flat, value["dtype"])
        else:
            raise ValueError(f"no array of {value['dtype']!r} is kept")
        return array.reshape(value["shape"])
    if "list" in value:
        return [decode(v) for v in value["list"]]
    if "tuple" in value:
        return tuple(decode(v) for v in value["tuple"])
    if "dict" in value:
        return {decode(k): decode(v) for k, v in value["dict"]}
    if "missing" in value:
        given = {name: decode(v) for name, v in value["parameters"].items()}
        return Missing(str(value["missing"]), given)
    kind = OBJECTS[value["object"]]
    return kind(**{name: decode(v) for name, v in value["parameters"].items()})


# ------------------------------------------------------------------------ writing


def save(estimator, path, compress: bool = False) -> None:
    """Write a fitted estimator, or one that is being fitted, to a file.

    Parameters
    ----------
    estimator : Estimator
    path : str or path-like
        A file or a URL.
    compress : bool, default=False
        Whether to deflate the arrays.
    """
    header, arrays = _contents(estimator)
    archive.write(path, header, arrays, compress, _made(header))


def _contents(estimator) -> tuple[dict, dict[str, np.ndarray]]:
    network, state = estimator._network, estimator._state
    parameters = network.parameters
    parameters.pack()
    entries, constants = listed(network.inference)
    columns, steps = state.history.state()
    arrays = {"weights": parameters.arena, "steps": steps}
    arrays["history"] = np.array(list(columns.values()))
    arrays.update({f"constant.{k}": array for k, array in enumerate(constants)})
    if state.best_weights is not None:
        arrays["best_weights"] = state.best_weights
    optimizer = None
    if state.optimizer is not None:
        optimizer = {"declaration": encode(state.optimizer.declaration), "t": state.optimizer.t}
        for name, slot in zip(state.optimizer.names, state.optimizer.slots, strict=True):
            arrays[f"slot.{name}"] = slot
    more, plain = estimator._more_state()
    arrays.update({f"more.{name}": array for name, array in more.items()})
    learned = {name: encode(vars(estimator)[name]) for name in estimator._learned
               if name in vars(estimator)}  # fmt: skip
    header = {
        "estimator": type(estimator).__name__,
        "versions": _versions(),
        "parameters": {k: encode(v) for k, v in estimator.get_params(deep=False).items()},
        "learned": learned,
        "more": encode(plain),
        "more_arrays": {name: [a.dtype.name, list(a.shape)] for name, a in more.items()},
        "network": {
            "dtype": network.dtype.name,
            "seed": network.seed,
            "n_targets": network.n_targets,
            "parameters": [
                {"name": p.name, "shape": list(p.shape), "decay": p.decay, "trainable": p.trainable}
                for p in parameters
            ],
            "tensors": entries,
            "constants": [list(array.shape) for array in constants],
            "outputs": {name: tensor.id for name, tensor in network.outputs.items()},
        },
        "state": {
            **{name: getattr(state, name) for name in COUNTS},
            "columns": list(columns),
            "n_epochs": len(columns["epoch"]),
            "optimizer": optimizer,
            "schedule": encode(state.schedule),
            "remembered": {k: encode(v) for k, v in _remembered(state.schedule).items()},
            "stopping": None if state.stopping is None else dataclasses.asdict(state.stopping),
            "best_weights": state.best_weights is not None,
        },
    }
    _check_text(header)
    return header, arrays


def _remembered(schedule) -> dict:
    """What a schedule has learned from the history."""
    values = vars(schedule) if isinstance(schedule, (schedules.Schedule, Missing)) else {}
    return {name: value for name, value in values.items() if name.endswith("_")}


def _versions() -> dict[str, str]:
    # not from importlib.metadata, which opens a zip file whose finalizer swallows a Ctrl-C
    return {
        "python": platform.python_version(),
        "ctrain": __version__,
        "numpy": np.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
    }


# ------------------------------------------------------------------------ reading


def read(path) -> tuple[dict, dict[str, np.ndarray]]:
    """Header and arrays of a file, whose names, dtypes and shapes belong together.

    Raises
    ------
    CheckpointError
        If the file is damaged, foreign, too new or inconsistent.
    OSError
        If it cannot be read.
    """
    return archive.read(path, _checked(_schema), _made)


def load(path, kinds: dict[str, type]):
    """Read an estimator that can predict, and be fitted further.

    Parameters
    ----------
    path : str or path-like
    kinds : dict of str to type
        Estimators by name.

    Raises
    ------
    CheckpointError
    OSError
    """
    contents = read(path)
    try:
        return _checked(_build)(*contents, kinds)
    except CheckpointError as error:
        raise CheckpointError(f"{os.fspath(path)}: {error}") from error


def restore(network: Network, state: State, header: dict, arrays: dict) -> None:
    """Bring a network that was recorded anew, and its state, to where a checkpoint stands.

    Raises
    ------
    CheckpointError
        If the network has other parameters.
    """
    _checked(_restore)(network, state, header, arrays)


def _restore(network: Network, state: State, header: dict, arrays: dict) -> None:
    theirs = [(p["name"], tuple(p["shape"])) for p in header["network"]["parameters"]]
    mine = [(p.name, p.shape) for p in network.parameters]
    if mine != theirs or network.dtype.name != header["network"]["dtype"]:
        raise CheckpointError(
            f"resume: the checkpoint's network has the parameters {dict(theirs)} in "
            f"{header['network']['dtype']}, this model {dict(mine)} in {network.dtype.name}"
        )
    if header["state"]["restored"] and header["state"]["stopped_by"] is None:
        raise CheckpointError(
            "resume: this file was saved after an interrupted fit and holds its best weights, not "
            "those of its last step; resume from what a Checkpoint wrote"
        )
    network.parameters.pack()[:] = arrays["weights"]
    network.parameters.version += 1
    _fill(state, header, arrays)


def _check_text(value) -> None:
    """Raise ValueError if the arrays of strings in a header take too much memory."""
    found = _text_bytes(value)
    if found > LARGEST_TEXT:
        raise ValueError(f"labels and other arrays of values take {found} bytes; a file holds up "
                         f"to {LARGEST_TEXT}, use shorter labels")  # fmt: skip


def _text_bytes(value) -> int:
    if isinstance(value, list):
        return sum(map(_text_bytes, value))
    if not isinstance(value, dict):
        return 0
    if isinstance(value.get("array"), list) and isinstance(value.get("dtype"), str):
        return len(value["array"]) * np.dtype(value["dtype"]).itemsize
    return sum(map(_text_bytes, value.values()))


def _checked(function):
    """Let whatever goes wrong with a file's contents be a CheckpointError."""

    def checked(*arguments):
        try:
            return function(*arguments)
        except CheckpointError:
            raise
        except Exception as error:
            raise CheckpointError(
                f"its contents do not fit together ({type(error).__name__}: {str(error)[:200]}); "
                "it was not written by ctrain"
            ) from error

    return checked


def _schema(header: dict) -> dict:
    network, state = header["network"], header["state"]
    dtype = network["dtype"]
    if dtype not in ("float32", "float64"):
        raise ValueError(f"a network computes in float32 or float64, not {dtype!r}")
    _check_text(header)
    for part in (header["parameters"], header["learned"]):
        decode({"dict": [[name, value] for name, value in part.items()]})
    for name, value, kinds in (
        ("estimator", header["estimator"], str),
        ("stopped_by", state["stopped_by"], (str, type(None))),
        *((name, state[name], type(getattr(FRESH, name))) for name in COUNTS[:-1]),
        *((f.name, state["stopping"][f.name], STOPPING_KINDS[f.type])
          for f in dataclasses.fields(Stopping) if state["stopping"] is not None),
    ):  # fmt: skip
        if not isinstance(value, kinds) or (kinds is int and (value is True or value < 0)):
            raise ValueError(f"{name} is {value!r}")
    columns = state["columns"]
    if any(type(name) is not str for name in columns) or not {*COLUMNS} <= {*columns}:
        raise ValueError(f"the history has the columns {columns}")
    if not (
        state["first_epoch"] <= state["epoch"] <= MOST_STEPS
        and max(state["first_step"], state["epoch_step"]) <= state["step"] <= MOST_STEPS
    ):
        raise ValueError("its counts of steps and epochs contradict each other")
    for p in network["parameters"]:
        if any(type(n) is not int or n < 1 for n in p["shape"]):
            raise ValueError(f"parameter {p['name']!r} has the shape {p['shape']}")
    flat = (dtype, (sum(Parameters.room(math.prod(p["shape"])) for p in network["parameters"]),))
    expected = {
        "weights": flat,
        "steps": ("float64", (4, None)),
        "history": ("float64", (len(state["columns"]), state["n_epochs"])),
    }
    for name, (kind, shape) in header["more_arrays"].items():
        expected[f"more.{name}"] = (kind, tuple(shape))
    for k, shape in enumerate(network["constants"]):
        expected[f"constant.{k}"] = (dtype, tuple(shape))
    if state["best_weights"]:
        expected["best_weights"] = flat
    if state["optimizer"] is not None:
        for name in decode(state["optimizer"]["declaration"]).slots():
            expected[f"slot.{name}"] = flat
    return expected


def _made(header: dict) -> int:
    """Bytes that `_build` makes beside the arrays: copies, and lists of the history's columns."""
    wanted, taken = _schema(header), {"steps": 0, "best_weights": 0, "history": 3}
    return sum(
        taken.get(name, 1) * np.dtype(dtype).itemsize * math.prod(n for n in shape if n)
        for name, (dtype, shape) in wanted.items()
    )


def _build(header: dict, arrays: dict, kinds: dict[str, type]):
    listing = header["network"]
    parameters = Parameters(listing["dtype"])
    at = 0
    for p in listing["parameters"]:
        name, shape = p["name"], tuple(p["shape"])
        if type(name) is not str or name in parameters:
            raise ValueError(f"{name!r} is no name of another parameter")
        values = arrays["weights"][at : at + math.prod(shape)].reshape(shape)
        parameters.adopt(name, values, p["decay"], p["trainable"])
        at += parameters.room(values.size)
    parameters.pack()
    constants = [arrays[f"constant.{k}"] for k in range(len(listing["constants"]))]
    network = Network.restored(
        listing["tensors"], constants, listing["outputs"], parameters, listing["n_targets"],
        listing["seed"],
    )  # fmt: skip
    _check_network(network)
    kind = kinds[header["estimator"]]
    estimator = kind(**{name: decode(v) for name, v in header["parameters"].items()})
    if isinstance(estimator.n_jobs, int) and estimator.n_jobs > MOST_THREADS:
        raise ValueError(f"n_jobs is {estimator.n_jobs}, above {MOST_THREADS}")
    for name in kind._learned:
        if name in header["learned"]:
            setattr(estimator, name, decode(header["learned"][name]))
    more = {name: arrays[f"more.{name}"] for name in header["more_arrays"]}
    estimator._set_more_state(more, decode(header["more"]))
    state = State(seed=0)
    _fill(state, header, arrays)
    estimator._network, estimator._state, estimator.history_ = network, state, state.history
    estimator._describe()
    return estimator


def _check_network(network: Network) -> None:
    """Raise ValueError unless a network predicts with a bounded amount of memory."""
    if type(network.n_targets) is not int or type(network.seed) is not int:
        raise ValueError("n_targets and seed are not both integers")
    for tensor in network.inference.tensors:
        if tensor.size > LARGEST_ROW:
            raise ValueError(f"a tensor has more than {LARGEST_ROW} values in a row")
    for output in network.outputs.values():
        plan = compile_plan(network.inference, 1, outputs=[output])
        workspace = plan.tile_bytes + plan.slab_bytes + plan.fixed_bytes
        if workspace > LARGEST_WORKSPACE:
            raise ValueError(f"a prediction takes {workspace} bytes, above {LARGEST_WORKSPACE}")


def _fill(state: State, header: dict, arrays: dict) -> None:
    """Set a state to a checkpoint's."""
    saved = header["state"]
    for name in COUNTS:
        setattr(state, name, saved[name])
    columns = dict(zip(saved["columns"], arrays["history"], strict=True))
    if not (np.abs(columns["epoch"]) <= MOST_STEPS).all():
        raise ValueError("its history counts epochs by other numbers than integers")
    state.history = History.restored(columns, arrays["steps"])
    if state.schedule is None:  # else it is that of the fit, which has the same parameters
        state.schedule = decode(saved["schedule"])
    own = type(state.schedule) in NAMES
    for name, value in saved["remembered"].items():
        value = decode(value)
        if not name.endswith("_") or (own and not isinstance(value, (int, float, type(None)))):
            raise ValueError(f"no schedule remembers {name} = {value!r}")
        setattr(state.schedule, name, value)
    stopping = saved["stopping"]
    state.stopping = None if stopping is None else Stopping(**stopping)
    weights = arrays["weights"]
    state.best_weights = arrays.get("best_weights")
    state.optimizer = None
    if saved["optimizer"] is not None:
        optimizer = Optimizer(
            decode(saved["optimizer"]["declaration"]), weights.dtype, len(weights)
        )
        for name, slot in zip(optimizer.names, optimizer.slots, strict=True):
            slot[:] = arrays[f"slot.{name}"]
        optimizer.t = saved["optimizer"]["t"]
        state.optimizer = optimizer
