"""Neural-network training on CPUs at the speed of the machine, behind the scikit-learn API."""

from . import callbacks, initializers, losses, models, optimizers, schedules
from ._core.tape import Tape
from .checkpoint import CheckpointError
from .classifier import Classifier
from .config import show_config
from .estimator import load
from .forecaster import Forecaster
from .gradcheck import check_gradients
from .regressor import Regressor
from .retries import fit_with_retries

__version__ = "0.1.0"

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
    "load",
    "losses",
    "models",
    "optimizers",
    "schedules",
    "show_config",
]
