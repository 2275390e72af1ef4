"""Test inputs of the recurrent layers: lstm, gru, rnn."""

from __future__ import annotations

import numpy as np

from .case import Case


def _sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def _lstm(x, w_ih, w_hh, bias=None, h0=None, c0=None):
    hidden = len(w_hh)
    bias = np.zeros(4 * hidden) if bias is None else bias
    h = np.zeros((*x.shape[:-2], hidden)) if h0 is None else h0
    c = np.zeros((*x.shape[:-2], hidden)) if c0 is None else c0
    states = []
    for t in range(x.shape[-2]):
        i, f, g, o = np.split(x[..., t, :] @ w_ih + bias + h @ w_hh, 4, axis=-1)
        c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(g)
        h = _sigmoid(o) * np.tanh(c)
        states.append(h)
    return np.stack([*states, c], axis=-2)


def _gru(x, w_ih, w_hh, bias=None, h0=None):
    hidden = len(w_hh)
    b_r, b_u, b_x, b_h = np.zeros((4, hidden)) if bias is None else np.split(bias, 4)
    h = np.zeros((*x.shape[:-2], hidden)) if h0 is None else h0
    states = []
    for t in range(x.shape[-2]):
        x_r, x_u, x_n = np.split(x[..., t, :] @ w_ih, 3, axis=-1)
        h_r, h_u, h_n = np.split(h @ w_hh, 3, axis=-1)
        r, u = _sigmoid(x_r + h_r + b_r), _sigmoid(x_u + h_u + b_u)
        n = np.tanh(x_n + b_x + r * (h_n + b_h))
        h = (1.0 - u) * n + u * h
        states.append(h)
    return np.stack(states, axis=-2)


def _rnn(x, w_ih, w_hh, bias=None, h0=None, *, nonlinearity="tanh"):
    act = np.tanh if nonlinearity == "tanh" else lambda z: np.maximum(z, 0.0)
    h = np.zeros((*x.shape[:-2], len(w_hh))) if h0 is None else h0
    states = []
    for t in range(x.shape[-2]):
        h = act(x[..., t, :] @ w_ih + (0.0 if bias is None else bias) + h @ w_hh)
        states.append(h)
    return np.stack(states, axis=-2)


#: (leading axes, T, F), hidden units, bias, initial states: one step, one feature and one unit;
#: less than a vector, a tail, more than two vectors; several sequences in a row
SHAPES = [
    ((1, 1), 1, True, 0),
    ((1, 1), 1, False, 2),
    ((1, 3), 5, True, 2),
    ((1, 2), 17, False, 0),
    ((4, 1), 1, True, 1),
    ((3, 5), 3, True, 0),
    ((6, 2), 4, False, 2),
    ((2, 4), 33, True, 1),
    ((2, 3, 3), 2, True, 2),
    ((2, 2, 2, 1), 4, True, 0),
]


def _cases(twin, gates, sums, n_states, **attributes):
    for row_shape, hidden, bias, states in SHAPES:

        def sample(rng, rows, row_shape=row_shape, hidden=hidden, bias=bias, states=states):
            lead, features = row_shape[:-2], row_shape[-1]
            near = 0.2 if attributes else 1.0
            b = rng.normal(size=sums * hidden) * near
            if attributes:  # relu: the bias keeps every sum away from 0
                b = np.where(np.arange(sums * hidden) % 3 == 1, -4.0, 4.0) + b
            return (
                rng.normal(size=(rows, *row_shape)) * near,
                rng.normal(size=(features, gates * hidden)) / (1 + features) * near,
                rng.normal(size=(hidden, gates * hidden)) / (1 + hidden) * near,
                b if bias else None,
                rng.normal(size=(rows, *lead, hidden)) * near if states > 0 else None,
                *([rng.normal(size=(rows, *lead, hidden)) if states > 1 else None] * n_states),
            )

        if bias or not attributes:
            yield Case(sample, twin, attributes, weights=(1, 2, 3) if bias else (1, 2))


CASES = {
    "lstm": [*_cases(_lstm, 4, 4, 1)],
    "gru": [*_cases(_gru, 3, 4, 0)],
    "rnn": [*_cases(_rnn, 1, 1, 0), *_cases(_rnn, 1, 1, 0, nonlinearity="relu")],
}
