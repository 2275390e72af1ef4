"""Recurrent layers over a whole sequence: lstm, gru, rnn."""

from __future__ import annotations

from .table import Row, op, size_of

#: numbers of one sequence and step that a kernel works on in its scratch memory
MOST = 48 * 1024


def _cell(name: str, gates: int, sums: int, x, w_ih, w_hh, bias, **states) -> tuple[int, ...]:
    """Check the shapes; leading axes as one number, time steps, features, hidden units."""
    if len(x.shape) < 2:
        raise ValueError(f"{name}: x needs axes (time, features), its row shape is {x.shape}")
    steps, features = x.shape[-2:]
    for key, w in (("w_ih", w_ih), ("w_hh", w_hh)):
        if len(w.shape) != 2 or w.shape[1] % gates:
            raise ValueError(
                f"{name}: {key} must have two axes (n_in, {gates} * hidden), its shape is {w.shape}"
            )
    hidden = w_hh.shape[0]
    if w_hh.shape[1] != gates * hidden:
        raise ValueError(
            f"{name}: w_hh must be (hidden, {gates} * hidden), its shape is {w_hh.shape}"
        )
    if w_ih.shape != (features, gates * hidden):
        raise ValueError(
            f"{name}: w_ih must be {(features, gates * hidden)} for x {x.shape} and w_hh "
            f"{w_hh.shape}, its shape is {w_ih.shape}"
        )
    if bias is not None and bias.shape != (sums * hidden,):
        raise ValueError(
            f"{name}: bias must be {(sums * hidden,)} for w_hh {w_hh.shape}, "
            f"its shape is {bias.shape}"
        )
    wanted = (*x.shape[:-2], hidden)
    for key, state in states.items():
        if state is not None and state.shape != wanted:
            raise ValueError(
                f"{name}: {key} must be {wanted} for x {x.shape}, its row shape is {state.shape}"
            )
    if (sums + 2) * hidden + features + 16 > MOST:
        raise ValueError(
            f"{name}: {sums + 2} * hidden + features must be below {MOST}; got {hidden} hidden "
            f"units and {features} features"
        )
    return size_of(x.shape[:-2]), steps, features, hidden


def _flops(gates: int, lead: int, steps: int, features: int, hidden: int) -> float:
    """Of the products, and some 30 for each sum that goes through a gate."""
    return lead * steps * gates * hidden * (2.0 * (features + hidden) + 30.0)


@op(reads=(5,), param_reads=(0, 4, "out"), weights=(1, 2, 3), transposed=(1, 2))
def lstm(x, w_ih, w_hh, bias=None, h0=None, c0=None, /):
    """Long short-term memory over ``x`` (..., time, features).

    ``i, f, g, o`` are the four parts of ``x[t] @ w_ih + bias + h[t-1] @ w_hh``;
    ``c[t] = sigmoid(f) * c[t-1] + sigmoid(i) * tanh(g)``, ``h[t] = sigmoid(o) * tanh(c[t])``.
    ``w_ih`` is (features, 4 * hidden), ``w_hh`` (hidden, 4 * hidden), ``bias`` (4 * hidden,); the
    initial states ``h0`` and ``c0`` (..., hidden) are zero where absent.

    The result (..., time + 1, hidden) holds h of every step and behind them the last c.
    """
    lead, steps, features, hidden = _cell("lstm", 4, 4, x, w_ih, w_hh, bias, h0=h0, c0=c0)
    return Row(
        (*x.shape[:-2], steps + 1, hidden),
        (lead, steps, features, hidden),
        flops=_flops(4, lead, steps, features, hidden),
        kept=lead * steps * 5 * hidden,
    )


@op(reads=(4, "out"), param_reads=(0, 4, "out"), weights=(1, 2, 3), transposed=(1, 2))
def gru(x, w_ih, w_hh, bias=None, h0=None, /):
    """Gated recurrent units over ``x`` (..., time, features).

    With ``x[t] @ w_ih`` and ``h[t-1] @ w_hh`` in three parts and ``bias`` in four,
    ``r = sigmoid(x_r + h_r + b_r)``, ``u = sigmoid(x_u + h_u + b_u)``,
    ``n = tanh(x_n + b_x + r * (h_n + b_h))`` and ``h[t] = (1 - u) * n + u * h[t-1]``.
    ``w_ih`` is (features, 3 * hidden), ``w_hh`` (hidden, 3 * hidden), ``bias`` (4 * hidden,); the
    initial state ``h0`` (..., hidden) is zero where absent.

    The result (..., time, hidden) holds h of every step.
    """
    lead, steps, features, hidden = _cell("gru", 3, 4, x, w_ih, w_hh, bias, h0=h0)
    return Row(
        (*x.shape[:-2], steps, hidden),
        (lead, steps, features, hidden),
        flops=_flops(3, lead, steps, features, hidden),
        kept=lead * steps * 4 * hidden,
    )


@op(reads=("out",), param_reads=(0, 4, "out"), weights=(1, 2, 3), transposed=(1, 2))
def rnn(x, w_ih, w_hh, bias=None, h0=None, /, nonlinearity="tanh"):
    """Elman's recurrent layer over ``x`` (..., time, features).

    ``h[t] = tanh(x[t] @ w_ih + bias + h[t-1] @ w_hh)``, or relu in place of tanh. ``w_ih`` is
    (features, hidden), ``w_hh`` (hidden, hidden), ``bias`` (hidden,); the initial state ``h0``
    (..., hidden) is zero where absent.

    The result (..., time, hidden) holds h of every step.
    """
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(f"rnn: nonlinearity must be 'tanh' or 'relu', it is {nonlinearity!r}")
    lead, steps, features, hidden = _cell("rnn", 1, 1, x, w_ih, w_hh, bias, h0=h0)
    return Row(
        (*x.shape[:-2], steps, hidden),
        (lead, steps, features, hidden, int(nonlinearity == "relu")),
        flops=_flops(1, lead, steps, features, hidden),
        kept=lead * steps * hidden,
    )
