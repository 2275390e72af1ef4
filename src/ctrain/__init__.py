"""Neural-network training on CPUs at the speed of the machine, behind the scikit-learn API."""

from . import initializers, losses, models, optimizers, schedules
from ._core.tape import Tape
from .config import show_config
from .gradcheck import check_gradients
from .regressor import Regressor

__version__ = "0.1.0"

__all__ = [
    "Regressor",
    "Tape",
    "check_gradients",
    "initializers",
    "losses",
    "models",
    "optimizers",
    "schedules",
    "show_config",
]
