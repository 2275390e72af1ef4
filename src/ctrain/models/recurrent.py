"""What the recurrent models share: a window read step by step, and the two ways to a forecast."""

from __future__ import annotations

import math

from sklearn.base import BaseEstimator

from ..layers import linear
from .inputs import COVARIATES, shaped, window
from .settings import require_rate, require_share, require_size


class Recurrent(BaseEstimator):
    """Recurrent layers over a window, decoded for all steps at once or one step after another.

    Subclasses say which layers: ``_layers(tape, x, state)``.
    """

    def __init__(
        self,
        hidden_size: int = 128,
        num_layers: int = 2,
        dropout: float = 0.0,
        bias: bool = True,
        decoder_hidden_size: int = 128,
        decoder_layers: int = 2,
        recurrent: bool = False,
        teacher_forcing: float = 0.0,
    ) -> None:
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.dropout = dropout
        self.bias = bias
        self.decoder_hidden_size = decoder_hidden_size
        self.decoder_layers = decoder_layers
        self.recurrent = recurrent
        self.teacher_forcing = teacher_forcing

    def record(self, tape, inputs: dict, shape: tuple[int, ...]):
        """Record the network.

        Parameters
        ----------
        tape : Tape
        inputs : dict of str to Tensor
            ``past_y`` or ``x``, row shape (input_size,); covariates ``past`` (input_size, n),
            ``future`` (input_size + horizon, n) and ``static`` (n,); ``future_y`` (horizon,) where
            `teacher_forcing` asks for it. Or ``x`` of several features, (time, features).
        shape : tuple of int
            ``(horizon,)`` or ``(horizon, n_values)``.

        Returns
        -------
        Tensor of that shape

        Raises
        ------
        ValueError
            If a setting is out of its range, or the inputs do not fit.
        """
        for name in ("hidden_size", "num_layers", "decoder_hidden_size", "decoder_layers"):
            require_size(name, getattr(self, name))
        require_rate("dropout", self.dropout)
        require_share("teacher_forcing", self.teacher_forcing)
        model = type(self).__name__
        if "x" in inputs and len(inputs["x"].shape) == 2:
            if self.recurrent:
                raise ValueError(
                    f"{model}: recurrent=True feeds forecasts back as the past, so x must have "
                    f"row shape (input_size,); got {inputs['x'].shape}: set recurrent=False"
                )
            return self._of_features(tape, inputs["x"], shape)
        y = window(inputs, model, COVARIATES)
        columns = {name: inputs[name] for name in ("past", "static", "future") if name in inputs}
        if not self.recurrent:
            return self._direct(tape, y, columns, shape)
        truth = None
        if tape.training and self.teacher_forcing:
            truth = inputs.get("future_y")
            if truth is None:
                raise ValueError(
                    f"{model}: teacher_forcing={self.teacher_forcing!r} reads the target, which "
                    "Forecaster gives and Regressor does not; set teacher_forcing=0"
                )
        return self._recursive(tape, y, columns, truth, shape)

    def _of_features(self, tape, x, shape: tuple[int, ...]):
        """All values at once from the state after the last step."""
        sequence, _ = self._layers(tape, x, None)
        last = tape.reshape(tape.slice(sequence, 0, -1), (self.hidden_size,))
        return shaped(tape, self._decoder(tape, last, math.prod(shape)), shape)

    def _direct(self, tape, y, columns: dict, shape: tuple[int, ...]):
        """Each step from a state: of the last steps, or a mixture of all where they are too few."""
        horizon, input_size = shape[0], y.shape[0]
        state, _ = self._layers(tape, self._steps(tape, y, columns, 0, 0), None)
        if horizon > input_size:
            state = linear(tape, tape.transpose(state), horizon, "upsample")
            state = tape.transpose(state)
        else:
            state = tape.slice(state, 0, -horizon)
        if "future" in columns:
            state = tape.concat(state, tape.slice(columns["future"], 0, -horizon))
        return shaped(tape, self._decoder(tape, state, math.prod(shape[1:])), shape)

    def _recursive(self, tape, y, columns: dict, truth, shape: tuple[int, ...]):
        """Each step from the state that has read what came before: the truth or the forecast."""
        horizon, values = shape[0], math.prod(shape[1:])
        if truth is not None and self.teacher_forcing == 1.0 and horizon > 1:
            y = tape.concat(y, tape.slice(truth, 0, 0, -1))
            state, _ = self._layers(tape, self._steps(tape, y, columns, 0, 1), None)
            state = tape.slice(state, 0, -horizon)
            return shaped(tape, linear(tape, state, values, "output"), shape)
        drawn = None
        if truth is not None and self.teacher_forcing < 1.0:
            drawn = tape.bernoulli(truth, p=self.teacher_forcing)
        sequence, state = self._layers(tape, self._steps(tape, y, columns, 0, 1), None)
        forecast = [linear(tape, tape.slice(sequence, 0, -1), values, "output")]
        for k in range(horizon - 1):
            read = tape.reshape(forecast[-1], (values,))
            if values > 1:
                read = tape.mean(read, keepdims=True)
            if drawn is not None:
                place = {"axis": 0, "start": k, "stop": k + 1}
                read = tape.where(tape.slice(drawn, **place), tape.slice(truth, **place), read)
            x = self._steps(tape, read, columns, y.shape[0] + k, 1)
            sequence, state = self._layers(tape, x, state)
            forecast.append(linear(tape, sequence, values, "output"))
        return shaped(tape, tape.concat(*forecast, axis=0), shape)

    def _steps(self, tape, y, columns: dict, start: int, ahead: int):
        """Inputs of steps from `start` on, ``(time, features)``; `future` is read `ahead` of them.

        What is known of the past alone is 0, its mean, where it has ended.
        """
        time = y.shape[0]
        parts = [tape.reshape(y, (time, 1))]
        if "past" in columns:
            past = columns["past"]
            length, n = past.shape
            if start >= length:
                past = tape.broadcast(tape.constant([0.0]), (time, n))
            elif start + time > length:
                past = tape.pad(past, ((0, start + time - length), (0, 0)))
            parts.append(past)
        if "static" in columns:
            static = columns["static"]
            parts.append(tape.broadcast(static, (time, static.shape[0])))
        if "future" in columns:
            first = start + ahead
            parts.append(tape.slice(columns["future"], 0, first, first + time))
        return parts[0] if len(parts) == 1 else tape.concat(*parts)

    def _decoder(self, tape, x, units: int):
        """`decoder_layers` linear maps, ReLU between."""
        for k in range(self.decoder_layers - 1):
            x = tape.relu(linear(tape, x, self.decoder_hidden_size, f"decoder.layer_{k}"))
        return linear(tape, x, units, f"decoder.layer_{self.decoder_layers - 1}")
