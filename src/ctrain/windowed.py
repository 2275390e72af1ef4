"""A network over windows of series: scaled in, scaled back out, and a loss that knows gaps."""

from __future__ import annotations

import numpy as np

from ._core.tape import Tape
from .distributions import Scaled
from .losses import Loss
from .masked import masked
from .network import Network, record_model
from .scalers import Scaler


class WindowNetwork(Network):
    """Records a forecasting model between the scaler of its window and the loss.

    A row is a window of one series, or of all series of a panel: then ``past_y`` is
    (n_series, input_size), as the source gathers it, and so are the others. The model sees time
    first: ``past_y`` (input_size, n_series), ``past_mask`` the same, ``past`` and ``future``
    (steps, n_series, n), ``static`` (n_series, n), while training ``future_y``
    (horizon, n_series), and records a forecast (horizon, n_series), or
    (horizon, n_series, n_values). Outputs have the series first again. Scalers know each series
    by itself; the loss is the mean over steps and series.

    Parameters
    ----------
    model : object
        With ``record(tape, inputs, shape)``, or a callable ``model(tape, past_y)``.
    loss : Loss
        Compares scaled values; of counts their likelihood, whose parameters are scaled instead.
    inputs : dict of str to tuple of int
        ``past_y`` and ``past_mask`` of shape (input_size,) or (n_series, input_size), and what
        covariates there are.
    horizon : int
    dtype : dtype
    seed : int
    scaler : Scaler
    gaps : bool
        Whether some steps of training windows may not be available.
    padded : bool
        Whether training windows may begin before their series.
    horizon_weight : ndarray of shape (horizon,) or None
        Weight of each step; None = all alike.
    in_units : bool
        Whether the loss compares what the input ``y_unit`` divides rather than scaled values.
    """

    def __init__(
        self, model, loss: Loss, inputs, horizon: int, dtype, seed: int, *, scaler: Scaler,
        gaps: bool = False, padded: bool = False, horizon_weight: np.ndarray | None = None,
        in_units: bool = False,
    ) -> None:  # fmt: skip
        self.scaler, self.gaps, self.padded = scaler, gaps, padded
        self.in_units, self.horizon_weight = in_units, horizon_weight
        super().__init__(model, loss, inputs, horizon, dtype, seed)

    def knows(self, gaps: bool, padded: bool) -> bool:
        """Whether the training tape may see such windows."""
        return self.gaps >= gaps and (self.gaps or self.padded) >= padded

    def _problem(self, tape: Tape, model, loss: Loss, inputs: dict, shape: tuple[int, ...]):
        past, mask = inputs["past_y"], inputs["past_mask"]
        series = past.shape[:-1]  # their number, where they are forecast together
        target = y = tape.input((*series, self.n_targets), name="y")
        available = tape.input((*series, self.n_targets), name="y_mask")
        if tape.training and not (self.gaps or self.padded):
            mask = tape.constant(np.ones(mask.shape))  # no work for what is never missing
        location, scale = self.scaler.record(tape, past, mask)
        affine = self.scaler.affine(tape)
        values = _scaled(tape, past, location, scale, affine)
        if location is not None or affine is not None:
            values = tape.mul(values, mask)  # what is missing is 0 after scaling too
        target = _scaled(tape, target, location, scale, affine)
        read = {**inputs, "past_y": values, "past_mask": mask}
        if tape.training:
            read["future_y"] = tape.mul(target, available) if self.gaps else target
        counts = loss.head is not None and loss.head.counts
        window = (location, scale) if counts else (None, None)
        if series:
            outputs = _record_together(model, tape, read, shape, series)
        else:
            if loss.head is not None:
                read["distribution"] = Scaled(loss.head, *window)
            outputs = record_model(model, tape, read, shape, x="past_y")
        raw = compared = outputs["prediction"]
        comparing = loss
        if counts:  # the likelihood is of counts; in their place its parameters are scaled
            target, comparing = y, loss.within(*(_of_targets(tape, v, y) for v in window))
            loss = loss.within(*window)
        if self.in_units:
            # a location is the same in both, and leaves their difference as it is
            unit = tape.input((*series, 1), name="y_unit")
            unit = unit if affine is None else tape.mul(unit, affine[0])
            factor = tape.div(1.0 if scale is None else scale, unit)
            compared = tape.mul(raw, _beside(tape, factor, raw))
            target = tape.mul(target, factor)
        if series:  # a loss knows no series: it compares a row's targets
            n = (target.size,)
            compared = tape.reshape(compared, (*n, *compared.shape[2:]))
            target, available = (tape.reshape(x, n) for x in (target, available))
        if self.gaps or self.horizon_weight is not None:
            steps = np.ones(self.n_targets) if self.horizon_weight is None else self.horizon_weight
            weight = tape.constant(np.tile(steps, target.size // self.n_targets))
            if self.gaps:
                weight = tape.mul(available, weight)
            else:
                weight = tape.record("broadcast", weight, shape=weight.shape, batch=True)
            cost = masked(tape, comparing, compared, target, weight)
        else:
            cost = comparing.record(tape, compared, target)
        if tape.training:
            return cost, outputs
        if "samples" in outputs:
            outputs["samples"] = _unscaled(tape, outputs["samples"], location, scale, affine)
            outputs["prediction"] = loss.of_samples(tape, outputs["samples"])
        else:
            units = (None, None, None) if counts else (location, scale, affine)
            outputs["prediction"] = _unscaled(tape, loss.link(tape, raw), *units)
        for k, name in enumerate(forecast_parts(outputs)):
            outputs[name] = _unscaled(tape, outputs[name], location, scale, affine, k == 0)
        return cost, outputs


def _record_together(model, tape: Tape, inputs: dict, shape: tuple[int, ...], series) -> dict:
    """Record a model of all series, which sees time before series, and forecasts so."""
    first = {k: x if k == "static" else _swapped(tape, x) for k, x in inputs.items()}
    shape = (shape[0], *series, *shape[1:])
    outputs = record_model(model, tape, first, shape, x="past_y")
    return {k: _swapped(tape, x) if x.shape == shape else x for k, x in outputs.items()}


def forecast_parts(outputs: dict) -> list[str]:
    """Names of the outputs that add up to the prediction: those of its shape.

    The first one also holds what a scaler took off. A ``backcast`` is of the window, whatever its
    shape.
    """
    shape = outputs["prediction"].shape
    apart = ("prediction", "backcast", "samples")
    others = {name: x for name, x in outputs.items() if name not in apart}
    return [name for name, part in others.items() if part.shape == shape]


def _scaled(tape: Tape, x, location, scale, affine):
    """(x - location) / scale * gain + bias"""
    if location is not None:
        x = tape.sub(x, location)
    if scale is not None:
        x = tape.div(x, scale)
    if affine is not None:
        x = tape.add(tape.mul(x, affine[0]), affine[1])
    return x


def _unscaled(tape: Tape, x, location, scale, affine, whole: bool = True):
    """The inverse, also of several values for each step; of a part without what is added."""
    location, scale = (v if v is None else _beside(tape, v, x) for v in (location, scale))
    if affine is not None:
        x = tape.div(tape.sub(x, affine[1]) if whole else x, affine[0])
    if scale is not None:
        x = tape.mul(x, scale)
    if location is not None and whole:
        x = tape.add(x, location)
    return x


def _beside(tape: Tape, v, x):
    """A number for each series, (n_series, 1), beside several values for each step."""
    together = len(v.shape) == 2 and len(x.shape) == 3
    return tape.reshape(v, (*v.shape, 1)) if together else v


def _of_targets(tape: Tape, v, y):
    """A number for each series, (n_series, 1), as one for each of its targets in a flat vector."""
    if v is None or len(y.shape) == 1:
        return v
    return tape.reshape(tape.broadcast(v, y.shape), (y.size,))


def _swapped(tape: Tape, x):
    """Time before series, or the other way round."""
    return tape.transpose(x, axes=(1, 0, *range(2, len(x.shape))))
