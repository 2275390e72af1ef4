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

    Parameters
    ----------
    model : object
        With ``record(tape, inputs, shape)``, or a callable ``model(tape, past_y)``.
    loss : Loss
        Compares scaled values; of counts their likelihood, whose parameters are scaled instead.
    inputs : dict of str to tuple of int
        ``past_y`` and ``past_mask`` of shape (input_size,), and what covariates there are.
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
        target = y = tape.input((self.n_targets,), name="y")
        available = tape.input((self.n_targets,), name="y_mask")
        past, mask = inputs["past_y"], inputs["past_mask"]
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
        if loss.head is not None:
            read["distribution"] = Scaled(loss.head, *window)
        outputs = record_model(model, tape, read, shape, x="past_y")
        raw = compared = outputs["prediction"]
        if counts:  # the likelihood is of counts; in their place its parameters are scaled
            loss, target = loss.within(*window), y
        if self.in_units:
            # a location is the same in both, and leaves their difference as it is
            unit = tape.input((1,), name="y_unit")
            unit = unit if affine is None else tape.mul(unit, affine[0])
            factor = tape.div(1.0 if scale is None else scale, unit)
            compared, target = tape.mul(raw, factor), tape.mul(target, factor)
        if self.gaps or self.horizon_weight is not None:
            weight = tape.constant(
                np.ones(self.n_targets) if self.horizon_weight is None else self.horizon_weight
            )
            if self.gaps:
                weight = tape.mul(available, weight)
            else:
                weight = tape.record("broadcast", weight, shape=weight.shape, batch=True)
            cost = masked(tape, loss, compared, target, weight)
        else:
            cost = loss.record(tape, compared, target)
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
    if affine is not None:
        x = tape.div(tape.sub(x, affine[1]) if whole else x, affine[0])
    if scale is not None:
        x = tape.mul(x, scale)
    if location is not None and whole:
        x = tape.add(x, location)
    return x
