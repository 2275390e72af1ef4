"""Callbacks: who is told of a fit, in scikit-learn's protocol.

A callback is set with ``estimator.set_callbacks(...)``. scikit-learn's own
(:class:`sklearn.callback.ProgressBar`) work too, also from outside: on a pipeline or a grid search.
"""

from .checkpoint import Checkpoint
from .loggers import CSVLogger, JSONLogger, LivePlot
from .protocol import Callback, OnEpochEnd

__all__ = ["CSVLogger", "Callback", "Checkpoint", "JSONLogger", "LivePlot", "OnEpochEnd"]
