"""A small series that comes with the package."""

from __future__ import annotations

from importlib import resources

import numpy as np


def load_air_passengers() -> dict[str, np.ndarray]:
    """Load the monthly totals of international airline passengers, 1949 to 1960, in thousands.

    Returns
    -------
    dict of str to ndarray of shape (144,)
        ``unique_id`` (one series), ``ds`` (the first day of each month) and ``y``: what
        ``Forecaster.fit`` takes, and ``pandas.DataFrame`` and ``polars.DataFrame`` too.

    References
    ----------
    Box and Jenkins, Time Series Analysis: Forecasting and Control, 1970, Series G.

    Examples
    --------
    >>> from ctrain.data import load_air_passengers
    >>> data = load_air_passengers()
    >>> data["ds"][-1], data["y"][-1]
    (np.datetime64('1960-12-01'), np.float64(432.0))
    """
    source = resources.files(__package__).joinpath("air_passengers.csv")
    rows = [line.split(",") for line in source.read_text("ascii").splitlines()[1:]]
    ids, stamps, values = zip(*rows, strict=True)
    return {
        "unique_id": np.array(ids),
        "ds": np.array(stamps, "M8[D]"),
        "y": np.array(values, np.float64),
    }
