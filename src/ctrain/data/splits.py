"""Splits in time: index arithmetic on the rows of a panel, series by series from their ends."""

from __future__ import annotations

import numbers
from typing import NamedTuple

import numpy as np

from .series import Panel


class Split(NamedTuple):
    """Where parts of each series end; row numbers of the panel, arrays of shape (n_series,).

    Training is ``offsets[i]:train_stop[i]``, validation goes on to ``val_stop[i]``, test to
    ``stop[i]``.
    """

    train_stop: np.ndarray
    val_stop: np.ndarray
    stop: np.ndarray


def split(panel: Panel, val_size: int = 0, test_size: int = 0) -> Split:
    """Cut the last rows of each series off for validation and test.

    Parameters
    ----------
    panel : Panel
    val_size, test_size : int, default=0
        Rows of each series, counted from its own end.

    Returns
    -------
    Split

    Raises
    ------
    ValueError
        A series that has no row left for training.

    Examples
    --------
    >>> import numpy as np
    >>> from ctrain.data import read_panel
    >>> split(read_panel(np.zeros((2, 10))), val_size=3, test_size=2)
    Split(train_stop=array([ 5, 15]), val_stop=array([ 8, 18]), stop=array([10, 20]))
    """
    _check_count("val_size", val_size, 0)
    _check_count("test_size", test_size, 0)
    panel.check_length(val_size + test_size + 1, "val_size + test_size and one row of training")
    stop = panel.offsets[1:]
    return Split(stop - test_size - val_size, stop - test_size, stop)


def cross_validation_rows(
    panel: Panel,
    horizon: int,
    n_windows: int | None = 1,
    step_size: int = 1,
    test_size: int | None = None,
) -> np.ndarray:
    """Which rows the windows of a cross-validation forecast first, the last window at the end.

    Parameters
    ----------
    panel : Panel
    horizon : int
    n_windows : int or None, default=1
        None if `test_size` says it.
    step_size : int, default=1
        Rows from one window to the next.
    test_size : int, default=None
        Rows at the end of each series that windows cover, ``horizon + (n_windows - 1) *
        step_size``; one of both is given. Of a test part that steps do not divide, the first rows
        are left out.

    Returns
    -------
    ndarray of shape (n_windows, n_series)
        Row numbers of the panel; the cutoff is the stamp of the row before.

    Raises
    ------
    ValueError
        A series with no row before the first window.

    Examples
    --------
    >>> import numpy as np
    >>> from ctrain.data import read_panel
    >>> panel = read_panel(np.zeros((2, 10)))
    >>> cross_validation_rows(panel, horizon=2, n_windows=3, step_size=2)
    array([[ 4, 14],
           [ 6, 16],
           [ 8, 18]])
    >>> len(cross_validation_rows(panel, horizon=2, n_windows=None, test_size=5))
    4
    """
    _check_count("horizon", horizon, 1)
    _check_count("step_size", step_size, 1)
    if (n_windows is None) == (test_size is None):
        raise ValueError(
            f"give n_windows or test_size, not both; got n_windows={n_windows}, "
            f"test_size={test_size}"
        )
    if n_windows is None:
        _check_count("test_size", test_size, horizon, "horizon")
        n_windows = (test_size - horizon) // step_size + 1
    _check_count("n_windows", n_windows, 1)
    covered = horizon + (n_windows - 1) * step_size
    panel.check_length(
        covered + 1, f"{n_windows} windows of horizon {horizon}, step_size {step_size}"
    )
    back = np.arange(n_windows - 1, -1, -1) * step_size + horizon
    return panel.offsets[1:] - back[:, None]


def refits(n_windows: int, refit: bool | int = False) -> np.ndarray:
    """Before which windows of a cross-validation the model is fitted.

    Parameters
    ----------
    n_windows : int
    refit : bool or int, default=False
        False: before the first alone; True: before each; k: before every k-th.

    Returns
    -------
    bool ndarray of shape (n_windows,)

    Examples
    --------
    >>> refits(5, 2)
    array([ True, False,  True, False,  True])
    """
    if not isinstance(refit, bool | np.bool_):
        _check_count("refit", refit, 1)
    window = np.arange(n_windows)
    return window % int(refit) == 0 if refit else window == 0


def _check_count(name: str, value, low: int, meaning: str = "") -> None:
    if not isinstance(value, numbers.Integral) or isinstance(value, bool) or value < low:
        words = f"{meaning}, {low}" if meaning else str(low)
        raise ValueError(f"{name} must be an integer of at least {words}; got {value!r}")
