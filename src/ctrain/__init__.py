"""Neural-network training on CPUs at the speed of the machine, behind the scikit-learn API."""

from . import callbacks, initializers, layers, losses, models, optimizers, schedules
from ._core.tape import Tape
from .checkpoint import CheckpointError
from .classifier import Classifier
from .config import show_config
from .estimator import load
from .gradcheck import check_gradients
from .regressor import Regressor
from .version import __version__ as __version__

#: imported when they are asked for: what a fit of a table does not need
_LATER = {"Forecaster": "forecaster", "fit_with_retries": "retries"}

__all__ = [
    "CheckpointError",
    "Classifier",
    "Forecaster",
    "Regressor",
    "Tape",
    "callbacks",
    "check_gradients",
    "fit_with_retries",
    "initializers",
    "layers",
    "load",
    "losses",
    "models",
    "optimizers",
    "schedules",
    "show_config",
]


def __getattr__(name: str):
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f".{_LATER[name]}", __name__), name)
    return value
