"""DeepAR: a recurrent network whose forecasts are paths that it draws value by value."""

from __future__ import annotations

import math

from sklearn.base import BaseEstimator

from ..layers import activate, linear, lstm
from .inputs import COVARIATES, shaped, window
from .settings import require_rate, require_size


class DeepAR(BaseEstimator):
    """Autoregressive recurrent network with a learned distribution of the next value.

    An LSTM reads a value and the covariates of the step that it forecasts, and says what the next
    value is drawn from. In training it reads what came (teacher forcing) and the likelihood of each
    step of the horizon is compared; to forecast it draws `trajectory_samples` paths, each fed back
    its own values, whose quantiles are the forecast. A loss with a distribution is what it is made
    for, ``loss="student_t"``; of others the forecast itself is fed back, and of quantiles their
    mean.

    Parameters
    ----------
    hidden_size : int, default=128
        Units of each layer of the LSTM.
    num_layers : int, default=2
    dropout : float, default=0.1
        Probability in [0, 1) with which an output of a layer but the last is zeroed in training.
    decoder_hidden_layers : int, default=0
        Hidden layers from the LSTM's state to the distribution's parameters; 0 for a linear map.
    decoder_hidden_size : int, default=0
        Units of each of these.
    trajectory_samples : int, default=100
        Paths drawn for each window.

    Notes
    -----
    Parameters are those of the layer ``lstm`` and ``decoder_<k>``. Known covariates are read one
    step ahead of the value; those of the past likewise, and as 0 where they are not known yet. The
    same window has the same paths, alone or among others, on any number of threads. Validation
    feeds back the mean of the distribution.

    References
    ----------
    Salinas, Flunkert, Gasthaus, Januschowski, "DeepAR: Probabilistic forecasting with
    autoregressive recurrent networks", International Journal of Forecasting 36, 2020.

    Examples
    --------
    >>> from ctrain import Forecaster
    >>> from ctrain.data import load_air_passengers
    >>> from ctrain.models import DeepAR
    >>> model = DeepAR(hidden_size=8, trajectory_samples=20)
    >>> fc = Forecaster(model, horizon=12, input_size=24, loss="student_t", max_steps=2)
    >>> list(fc.fit(load_air_passengers()).predict(level=80))[2:]
    ['DeepAR', 'DeepAR-lo-80', 'DeepAR-hi-80']
    """

    def __init__(
        self,
        hidden_size: int = 128,
        num_layers: int = 2,
        dropout: float = 0.1,
        decoder_hidden_layers: int = 0,
        decoder_hidden_size: int = 0,
        trajectory_samples: int = 100,
    ) -> None:
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.dropout = dropout
        self.decoder_hidden_layers = decoder_hidden_layers
        self.decoder_hidden_size = decoder_hidden_size
        self.trajectory_samples = trajectory_samples

    def record(self, tape, inputs: dict, shape: tuple[int, ...]):
        """Record the network.

        Parameters
        ----------
        tape : Tape
        inputs : dict
            ``past_y`` or ``x``, row shape (input_size,); covariates ``past`` (input_size, n),
            ``future`` (input_size + horizon, n) and ``static`` (n,); ``future_y`` (horizon,) where
            the network is trained on what came; ``distribution`` of the loss, if it has one.
        shape : tuple of int
            ``(horizon,)`` or ``(horizon, n_values)``.

        Returns
        -------
        Tensor of that shape, or dict
            With ``samples`` (horizon, trajectory_samples) beside the ``prediction`` where paths
            are drawn.

        Raises
        ------
        ValueError
            If a setting is out of its range or the window has several axes.
        """
        for name in ("hidden_size", "num_layers", "trajectory_samples"):
            require_size(name, getattr(self, name))
        require_size("decoder_hidden_layers", self.decoder_hidden_layers, 0)
        require_size(
            "decoder_hidden_size", self.decoder_hidden_size, int(self.decoder_hidden_layers > 0)
        )
        require_rate("dropout", self.dropout)
        y, horizon = window(inputs, "DeepAR", COVARIATES), shape[0]
        columns, ahead = self._covariates(tape, inputs, y.shape[0], horizon), inputs.get("future_y")
        if ahead is not None:
            known = y if horizon == 1 else tape.concat(y, tape.slice(ahead, 0, 0, -1))
            sequence, _ = self._lstm(tape, known, columns)
            return self._decoded(tape, tape.slice(sequence, 0, -horizon), shape)
        steps = y.shape[0]
        before = None if columns is None else tape.slice(columns, 0, 0, steps)
        sequence, state = self._lstm(tape, y, before)
        first = self._decoded(tape, tape.slice(sequence, 0, -1), (1, *shape[1:]))
        after = None
        if columns is not None and horizon > 1:
            after = tape.slice(columns, 0, steps)
        law = inputs.get("distribution")

        def expected(raw):
            if law is not None:
                return law.mean(tape, raw)
            return raw if len(shape) == 1 else tape.mean(raw, axis=-1)

        raw, _ = self._path(tape, (), first, state, after, horizon, expected)
        if law is None or tape.training:
            return raw

        def drawn(raw):
            return law.sample(tape, raw, y)

        lead = (self.trajectory_samples,)
        _, samples = self._path(tape, lead, first, state, after, horizon, drawn)
        return {"prediction": raw, "samples": samples}

    def _covariates(self, tape, inputs: dict, steps: int, horizon: int):
        """What is read beside the values of all steps but the last; None if there is nothing."""
        length, columns = steps + horizon - 1, []
        if "past" in inputs:
            past = inputs["past"]
            rest = tape.slice(past, 0, 1) if steps > 1 else None
            room = tape.broadcast(
                tape.scale(tape.slice(past, 0, 0, 1), 0.0), (horizon, past.shape[1])
            )
            columns.append(room if rest is None else tape.concat(rest, room, axis=0))
        if "future" in inputs:
            columns.append(tape.slice(inputs["future"], 0, 1))
        if "static" in inputs:
            static = inputs["static"]
            columns.append(tape.broadcast(static, (length, static.shape[0])))
        if not columns:
            return None
        return columns[0] if len(columns) == 1 else tape.concat(*columns)

    def _lstm(self, tape, y, columns, state=None):
        """States of the last layer for values (..., time), and states of all at the end."""
        x = tape.reshape(y, (*y.shape, 1))
        return lstm(
            tape, x if columns is None else tape.concat(x, columns), self.hidden_size, "lstm",
            num_layers=self.num_layers, dropout=self.dropout, state=state,
        )  # fmt: skip

    def _decoded(self, tape, h, shape: tuple[int, ...]):
        """Raw outputs of states (..., hidden_size); `shape` ends in their values, if several."""
        for k in range(self.decoder_hidden_layers):
            h = activate(tape, linear(tape, h, self.decoder_hidden_size, f"decoder_{k}"), "relu")
        values = math.prod(shape) // (h.size // h.shape[-1])
        return shaped(tape, linear(tape, h, values, f"decoder_{self.decoder_hidden_layers}"), shape)

    def _path(self, tape, lead: tuple[int, ...], first, state, after, horizon: int, following):
        """Steps of the horizon, each fed what `following` makes of the one before.

        `lead` is () for one path, (n,) for so many. Answers raw outputs and values, time first.
        """
        values = first.shape[1:]
        raw = tape.broadcast(first, (*(lead or (1,)), *values))
        state = [tuple(_repeated(tape, s, lead) for s in pair) for pair in state]
        outputs, path = [shaped(tape, raw, (1, *lead, *values))], []
        for t in range(horizon):
            y = following(raw)
            path.append(shaped(tape, y, (1, *lead)))
            if t + 1 == horizon:
                break
            columns = None
            if after is not None:
                row = tape.slice(after, 0, t, t + 1)
                columns = _repeated(tape, row, lead)
            sequence, state = self._lstm(tape, shaped(tape, y, (*lead, 1)), columns, state)
            raw = self._decoded(tape, sequence, (*(lead or (1,)), *values))
            outputs.append(shaped(tape, raw, (1, *lead, *values)))
        return (
            tape.concat(*outputs, axis=0) if len(outputs) > 1 else outputs[0],
            tape.concat(*path, axis=0) if len(path) > 1 else path[0],
        )


def _repeated(tape, x, lead: tuple[int, ...]):
    """The same for each path."""
    return tape.broadcast(x, (*lead, *x.shape)) if lead else x
