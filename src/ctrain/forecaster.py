"""The forecaster: its parameters, and frames of series that become windows."""

from __future__ import annotations

import copy
import difflib
import time
from typing import NamedTuple

import numpy as np
from sklearn.base import clone
from sklearn.utils.validation import check_is_fitted

from . import checkpoint, losses, models, scalers, training
from ._core.parallel import effective_n_threads
from ._core.source import Arrays, Windows
from .callbacks.protocol import with_callbacks
from .data import Panel, Schema, cross_validation_rows, read_future, read_like, read_panel, refits
from .data import split as split_panel
from .estimator import Estimator
from .forecasts import Outlook, columns_of, quantile_levels
from .metrics import resolve as resolve_metric
from .network import NotFiniteError
from .units import Units
from .validation import answers_unknown_names, check_bool, check_choice, check_int
from .windowed import WindowNetwork

#: architectures by name
MODELS = {
    "nlinear": models.NLinear,
    "dlinear": models.DLinear,
    "mlp": lambda: models.MLP((1024, 1024)),
    "nbeats": models.NBEATS,
    "nhits": models.NHITS,
    "tide": models.TiDE,
}
#: windows that are forecast in one go where every window is scored
WINDOWS = 1 << 14


class Backtest(NamedTuple):
    """Errors of every window of a backtest.

    Attributes
    ----------
    scores : dict of str to float
        Mean over windows, series and steps that are available.
    by_step : dict of str to ndarray of shape (horizon,)
    n_windows : int
    """

    scores: dict[str, float]
    by_step: dict[str, np.ndarray]
    n_windows: int
