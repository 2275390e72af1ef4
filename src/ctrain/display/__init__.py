"""Pictures in the manner of scikit-learn's displays; they need matplotlib, the extra ``plot``.

Notebooks show the loss curves of a fitted estimator without it, see :mod:`ctrain.curves`.
"""

from .decomposition import DecompositionDisplay
from .forecast import BacktestDisplay, ForecastDisplay
from .network import NetworkDisplay
from .training import TrainingCurveDisplay

__all__ = [
    "BacktestDisplay",
    "DecompositionDisplay",
    "ForecastDisplay",
    "NetworkDisplay",
    "TrainingCurveDisplay",
]
