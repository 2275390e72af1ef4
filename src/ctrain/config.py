"""What this build and this machine are."""

from __future__ import annotations

import os
import platform
import sys

import numpy
import scipy
import sklearn

from ._core import dispatch, parallel
from .version import __version__


def show_config() -> dict[str, str]:
    """Answer versions, CPU target, OpenMP and threads, for a bug report.

    Returns
    -------
    dict of str to str

    Examples
    --------
    >>> import ctrain
    >>> ctrain.show_config()["target"] in ("avx512", "avx2", "neon", "baseline")
    True
    """
    openmp = parallel.openmp_version()
    return {
        "ctrain": __version__,
        "target": dispatch.target(),
        "available": ", ".join(dispatch.available()),
        "CTRAIN_CPU": os.environ.get("CTRAIN_CPU", "not set"),
        "OpenMP": str(openmp) if openmp else "not built in: one thread",
        "threads": str(parallel.effective_n_threads()),
        "machine": platform.machine(),
        "system": platform.platform(),
        "python": sys.version.split()[0],
        "numpy": numpy.__version__,
        "scipy": scipy.__version__,
        "scikit-learn": sklearn.__version__,
    }
