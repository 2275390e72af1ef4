"""What a forecaster minimises: the loss that its parameters ask for, and what does not fit it."""

from __future__ import annotations

from sklearn.base import clone

from . import losses, scalers


def trained(loss, quantiles):
    """The loss of these quantiles; None: those of the loss, of a likelihood levels 80 and 90.

    What it does not know is left as it is.
    """
    loss = losses.resolve(loss) if isinstance(loss, str) else loss
    if isinstance(loss, losses.NegativeLogLikelihood) and loss.quantile_levels is None:
        given = {"level": (80, 90)} if quantiles is None else {"quantiles": tuple(quantiles)}
        return clone(loss).set_params(**given)
    if quantiles is None:
        return loss
    kind = losses.CRPS if isinstance(loss, losses.CRPS) else losses.Quantile
    return kind(tuple(quantiles))


def check(fc) -> None:
    """Raise ValueError where the loss does not go with other parameters of a forecaster."""
    plain, scaler = losses.resolve(fc.loss), scalers.resolve(fc.scaler)
    loss = losses.resolve(trained(fc.loss, fc.quantiles))
    loss.validate()
    own_link = isinstance(loss, losses.Poisson | losses.LogLoss)
    unscaled = type(scaler) is scalers.Scaler and fc.series_scaler == "none"
    if own_link and not unscaled:
        raise ValueError(
            f"loss={fc.loss!r} needs the values as they are; got scaler={fc.scaler!r}, "
            f"series_scaler={fc.series_scaler!r}: set scaler=None, series_scaler='none'"
        )
    counts = loss.head is not None and loss.head.counts
    if counts and (fc.series_scaler != "none" or isinstance(scaler, scalers.RevIN)):
        raise ValueError(
            f"loss={fc.loss!r} is of counts, whose mean a window scales; got scaler="
            f"{fc.scaler!r}, series_scaler={fc.series_scaler!r}: set series_scaler='none' "
            "and a scaler without a learned gain, such as 'standard'"
        )
    no_error = loss.head is not None or isinstance(loss, losses.MAPE | losses.SMAPE)
    if fc.season is not None and (own_link or no_error):
        raise ValueError(
            f"season={fc.season} measures errors in units of each series; loss={fc.loss!r} "
            "is not of errors: set season=None, or loss='absolute_error'"
        )
    if fc.quantiles is None:
        return
    if plain.head is not None and plain.quantile_levels is None:
        return
    if not isinstance(plain, losses.AbsoluteError | losses.Quantile):
        raise ValueError(
            f"quantiles={fc.quantiles} are trained by the quantile loss or a likelihood "
            f"without levels of its own; got loss={fc.loss!r}: leave one of them out"
        )
