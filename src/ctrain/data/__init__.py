"""Series for forecasting: frames in and out, calendars, scaling, splits."""

from .calendar import Calendar
from .covariates import read_future
from .datasets import load_air_passengers
from .frames import Schema
from .reading import read_like, read_panel
from .scaling import SeriesScaler
from .series import Panel
from .splits import Split, cross_validation_rows, refits, split

__all__ = [
    "Calendar",
    "Panel",
    "Schema",
    "SeriesScaler",
    "Split",
    "cross_validation_rows",
    "load_air_passengers",
    "read_future",
    "read_like",
    "read_panel",
    "refits",
    "split",
]
