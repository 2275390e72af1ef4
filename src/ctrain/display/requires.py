"""What a display asks for: matplotlib, and a fitted estimator of ctrain."""

from __future__ import annotations

from sklearn.utils.validation import check_is_fitted


def pyplot(caller: str):
    """``matplotlib.pyplot``; ImportError naming the caller and the extra where it is missing."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(f"{caller} needs matplotlib: pip install ctrain[plot]") from error
    return plt


def check_fitted(estimator, attribute: str, caller: str) -> None:
    """Raise NotFittedError, or TypeError if a fitted estimator is none of ctrain's."""
    check_is_fitted(estimator)
    if not hasattr(estimator, attribute):
        raise TypeError(
            f"{caller}: {type(estimator).__name__} is no estimator of ctrain; of a pipeline or a "
            "search, pass the fitted estimator inside, such as pipe[-1]"
        )
