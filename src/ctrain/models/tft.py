"""TFT: variable selection, a recurrent encoder and decoder, and attention that can be read."""

from __future__ import annotations

import math

from sklearn.base import BaseEstimator

from ..initializers import Normal
from ..layers import (
    gated_linear_unit,
    gated_residual,
    gru,
    layer_norm,
    linear,
    lstm,
    variable_selection,
)
from ..layers.dense import operation
from .inputs import COVARIATES, last_value, mask_of, shaped, window
from .settings import require_bool, require_choice, require_rate, require_size

RECURRENT = {"lstm": lstm, "gru": gru}


class TFT(BaseEstimator):
    """Temporal fusion transformer: recurrent layers and attention over variables that it weighs.

    Each variable of a time step is embedded by itself; a selection network weighs them. A recurrent
    encoder reads the window and a decoder the horizon; static covariates start both and are seen by
    the selection. Causal attention over all steps, whose heads share their values, and gated
    residual networks follow.

    Parameters
    ----------
    hidden_size : int, default=128
        Units of each embedding and layer; a multiple of `n_head`.
    n_head : int, default=4
        Heads of the attention.
    attn_dropout : float, default=0.0
        Probability in [0, 1) with which a weight of the attention is zeroed in training.
    grn_activation : str, default="elu"
        Of the gated residual networks but for those that encode static covariates, which have ELU;
        one of those of `MLP`.
    n_rnn_layers : int, default=1
        Recurrent layers of encoder and decoder.
    rnn_type : {"lstm", "gru"}, default="lstm"
    one_rnn_initial_state : bool, default=False
        Whether static covariates start all recurrent layers from the same state.
    dropout : float, default=0.1
        Probability in [0, 1) with which a value in the gated residual networks, and what attention
        puts out, is zeroed in training.

    Notes
    -----
    The embeddings are ``static_<k>``, ``past_<k>``, ``future_<k>`` and ``target``; selections are
    ``static_selection``, ``past_selection`` (of ``past``, ``future`` and the target, in this order)
    and ``future_selection``. Without covariates of the future the last value of the window stands
    in for one, the same at each step and so looked at once. A selection of one variable has no
    network for its weight, and without static covariates nothing has a context.

    References
    ----------
    Lim, Arik, Loeff, Pfister, "Temporal fusion transformers for interpretable multi-horizon time
    series forecasting", International Journal of Forecasting 37, 2021.

    Examples
    --------
    >>> import ctrain
    >>> tape = ctrain.Tape()
    >>> inputs = {"past_y": tape.input((168,), name="past_y")}
    >>> inputs["future"] = tape.input((192, 3), name="future")
    >>> ctrain.models.TFT().record(tape, inputs, (24,)).shape
    (24,)
    """

    def __init__(
        self,
        hidden_size: int = 128,
        n_head: int = 4,
        attn_dropout: float = 0.0,
        grn_activation: str = "elu",
        n_rnn_layers: int = 1,
        rnn_type: str = "lstm",
        one_rnn_initial_state: bool = False,
        dropout: float = 0.1,
    ) -> None:
        self.hidden_size = hidden_size
        self.n_head = n_head
        self.attn_dropout = attn_dropout
        self.grn_activation = grn_activation
        self.n_rnn_layers = n_rnn_layers
        self.rnn_type = rnn_type
        self.one_rnn_initial_state = one_rnn_initial_state
        self.dropout = dropout

    def record(self, tape, inputs: dict, shape: tuple[int, ...]):
        """Record the network.

        Parameters
        ----------
        tape : Tape
        inputs : dict of str to Tensor
            ``past_y`` or ``x``, row shape (input_size,); ``past_mask``, 0 where it is missing;
            covariates ``past`` (input_size, n), ``future`` (input_size + horizon, n) and
            ``static`` (n,).
        shape : tuple of int
            ``(horizon,)`` or ``(horizon, n_values)``.

        Returns
        -------
        Tensor of that shape

        Raises
        ------
        ValueError
            If a setting is out of its range or the window has several axes.
        """
        self._check()
        y = window(inputs, "TFT", COVARIATES)
        horizon, steps = shape[0], y.shape[0]
        context = enrichment = state = None
        if "static" in inputs:
            context, enrichment, state = self._encoded(tape, inputs["static"])
        if "future" in inputs:
            known = self._embedded(tape, inputs["future"], "future")
            before, after = (
                [tape.slice(x, 0, *part) for x in known] for part in ((0, steps), (steps,))
            )
        else:  # the same at each step, so embedded and looked at once
            last = tape.reshape(last_value(tape, y, mask_of(inputs)), (1, 1))
            before = after = self._embedded(tape, last, "future")
        past = self._embedded(tape, inputs["past"], "past") if "past" in inputs else []
        past += before + self._embedded(tape, tape.reshape(y, (steps, 1)), "target")
        past = self._selected(tape, past, "past_selection", context)
        known = self._selected(tape, after, "future_selection", context)
        if known.shape[0] < horizon:
            known = tape.record("broadcast", known, shape=(horizon, self.hidden_size))

        recurrent, layers = RECURRENT[self.rnn_type], self.n_rnn_layers
        encoded, state = recurrent(
            tape, past, self.hidden_size, "encoder", num_layers=layers, state=state
        )
        decoded, _ = recurrent(
            tape, known, self.hidden_size, "decoder", num_layers=layers, state=state
        )
        h = tape.concat(encoded, decoded, axis=0)
        h = self._gated(tape, h, tape.concat(past, known, axis=0), "recurrent")
        enriched = self._residual(tape, h, "enrichment", enrichment)
        answer = self._attention(tape, enriched, steps)
        answer = self._gated(tape, answer, tape.slice(enriched, 0, steps), "attention")
        answer = self._residual(tape, answer, "positionwise")
        answer = self._gated(tape, answer, tape.slice(h, 0, steps), "positionwise")
        return shaped(tape, linear(tape, answer, math.prod(shape[1:]), "output"), shape)

    def _check(self) -> None:
        for name in ("hidden_size", "n_head", "n_rnn_layers"):
            require_size(name, getattr(self, name))
        if self.hidden_size % self.n_head:
            raise ValueError(
                f"hidden_size must be a multiple of n_head={self.n_head}; got {self.hidden_size}"
            )
        require_rate("attn_dropout", self.attn_dropout)
        require_rate("dropout", self.dropout)
        require_choice("rnn_type", self.rnn_type, tuple(RECURRENT))
        require_bool("one_rnn_initial_state", self.one_rnn_initial_state)
        operation(self.grn_activation)

    def _embedded(self, tape, x, name: str) -> list:
        """Each column of `x` times a vector, plus another one."""
        n, hidden = x.shape[-1], self.hidden_size
        start = Normal(math.sqrt(2.0 / (n + hidden)))
        embedded = []
        for k in range(n):
            stem = name if name == "target" else f"{name}_{k}"
            weight = tape.parameter((1, hidden), name=f"{stem}.weight", init=start)
            bias = tape.parameter((hidden,), name=f"{stem}.bias", init="zeros", decay=False)
            column = x if n == 1 else tape.slice(x, -1, k, k + 1)
            embedded.append(tape.matmul(column, weight, bias))
        return embedded

    def _selected(self, tape, variables: list, name: str, context=None):
        """The weighted mean of the variables."""
        return variable_selection(
            tape, variables, name, context=context,
            activation=self.grn_activation, dropout=self.dropout,
        )[0]  # fmt: skip

    def _residual(self, tape, x, name: str, context=None):
        return gated_residual(
            tape, x, self.hidden_size, name, context=context,
            activation=self.grn_activation, dropout=self.dropout,
        )  # fmt: skip

    def _gated(self, tape, x, skip, name: str):
        """What a gate lets through, beside a skip connection."""
        h = gated_linear_unit(tape, x, self.hidden_size, f"{name}_gate")
        return layer_norm(tape, tape.add(h, skip), f"{name}_norm", eps=1e-3)

    def _encoded(self, tape, static):
        """Contexts of selection and enrichment, and where each recurrent layer starts."""
        variables = self._embedded(tape, static, "static")
        variables = self._selected(tape, variables, "static_selection")

        def context(name: str):
            return gated_residual(
                tape, variables, self.hidden_size, f"static_{name}", dropout=self.dropout
            )

        parts = ("h", "c") if self.rnn_type == "lstm" else ("h",)
        states = []
        for k in range(1 if self.one_rnn_initial_state else self.n_rnn_layers):
            start = tuple(context(f"{part}_l{k}") for part in parts)
            states.append(start if self.rnn_type == "lstm" else start[0])
        if self.one_rnn_initial_state:
            states *= self.n_rnn_layers
        return context("selection"), context("enrichment"), states

    def _attention(self, tape, x, first: int):
        """Causal attention whose heads share their values: their mean, from step `first` on."""
        heads, size = self.n_head, self.hidden_size // self.n_head
        q, k, v = (
            linear(tape, x, units, f"attention.{which}", bias=False)
            for which, units in (("query", heads * size), ("key", heads * size), ("value", size))
        )
        h = tape.attention(
            q, k, tape.concat(*[v] * heads), n_heads=heads, causal=True,
            rate=self.attn_dropout if tape.training else 0.0,
        )  # fmt: skip
        h = tape.slice(h, 0, first)
        h = tape.mean(tape.reshape(h, (-1, heads, size)), axis=1)
        h = linear(tape, h, self.hidden_size, "attention.output", bias=False)
        return tape.dropout(h, self.dropout)
