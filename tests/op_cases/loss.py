"""Test inputs of the losses."""

from __future__ import annotations

import numpy as np
from scipy import special

from .case import Case

# one element, fewer than the 16 lanes, just 16, a tail behind several, several axes
SHAPES = ((), (1,), (5,), (16,), (3, 7), (37,), (2, 3, 11))


def over_row(elements):
    """Mean of (rows, ...) over all but the first axis."""
    return elements.reshape(len(elements), -1).mean(axis=1)


def away(rng, size, low=-2.0, high=2.0, *kinks):
    """Uniform numbers, at least 0.02 away from each kink."""
    x = rng.uniform(low, high, size)
    for kink in kinks:
        d = x - kink
        x = np.where(np.abs(d) < 0.02, kink + np.where(d < 0, -0.02, 0.02) + d, x)
    return x


def elementwise(element, *attributes, kinks=(), same_sign=False):
    """Equal shapes: a target, and a prediction whose error avoids 0 and the kinks."""

    def case(shape, kwargs):
        def sample(rng, rows):
            size = (rows, *shape)
            t = rng.choice((-1, 1), size) * rng.uniform(0.1, 2, size)
            d = away(rng, size, -2, 2, 0, *kinks)
            return t * np.exp(d) if same_sign else t + d, t

        return Case(sample, lambda p, t, **kw: over_row(element(p, t, **kw)), kwargs)

    return [case(shape, kwargs) for shape in SHAPES for kwargs in (attributes or ({},))]


def huber(p, t, delta=1.0):
    d = np.abs(p - t)
    return np.where(d <= delta, d * d / 2, delta * (d - delta / 2))


def smape(p, t):
    return 2 * np.abs(p - t) / (np.abs(p) + np.abs(t))


def smape_opposite(shape):
    def sample(rng, rows):
        t = away(rng, (rows, *shape), -2, 2, 0)
        return -t * np.exp(rng.uniform(-1, 1, t.shape)), t

    return Case(sample, lambda p, t: over_row(smape(p, t)))


def poisson(p, t, log_input=True):
    return np.exp(p) - t * p if log_input else p - t * np.log(p + 1e-8)


def poisson_case(shape, log_input):
    def sample(rng, rows):
        size = (rows, *shape)
        p = rng.uniform(-2, 2, size)
        return p if log_input else np.exp(p), rng.poisson(2.0, size).astype(float)

    return Case(sample, lambda p, t, **kw: over_row(poisson(p, t, **kw)), {"log_input": log_input})


def quantile(p, t, levels=(0.5,), weights=None):
    tau = np.asarray(levels)
    w = np.ones(len(tau)) if weights is None else np.asarray(weights)
    d = t[..., None] - p.reshape(*t.shape, len(tau))
    return over_row(w * np.maximum(tau * d, (tau - 1) * d))


def quantile_case(shape, axis=True, **kwargs):
    """axis: whether the prediction has an axis over the levels."""
    q = len(kwargs.get("levels", (0.5,)))

    def sample(rng, rows):
        t = rng.normal(size=(rows, *shape))
        p = t[..., None] - away(rng, (rows, *shape, q), -2, 2, 0)
        return p if axis else p[..., 0], t

    return Case(sample, quantile, kwargs)


def log_loss(z, t, label_smoothing=0.0):
    s = label_smoothing
    if z.shape[-1] == 1:
        t = (1 - s) * t + s / 2
        return over_row(np.logaddexp(0, z) - t * z)
    c = z.shape[-1]
    if t.ndim < z.ndim:
        t = np.eye(c)[t.astype(int)]
    t = (1 - s) * t + s / c
    return over_row(-(t * special.log_softmax(z, axis=-1)).sum(axis=-1))


def log_loss_case(shape, kind, **kwargs):
    def sample(rng, rows):
        z = rng.normal(0, 2, (rows, *shape))
        if kind == "index":
            return z, rng.integers(0, shape[-1], z.shape[:-1]).astype(float)
        if kind == "logit":
            return z, rng.uniform(0, 1, z.shape)
        return z, special.softmax(rng.normal(size=z.shape), axis=-1)

    return Case(sample, log_loss, kwargs)


CLASSES = ((2,), (3,), (16,), (37,), (4, 5), (2, 9, 19))

CASES: dict[str, list[Case]] = {
    "squared_error": elementwise(lambda p, t: (p - t) ** 2),
    "absolute_error": elementwise(lambda p, t: np.abs(p - t)),
    "huber": elementwise(huber, kinks=(-1, 1))
    + elementwise(huber, {"delta": 0.4}, kinks=(-0.4, 0.4)),
    "quantile": [
        case
        for shape in SHAPES
        for case in (
            quantile_case(shape),
            quantile_case(shape, axis=False),
            quantile_case(shape, axis=False, levels=(0.85,), weights=(1.5,)),
            quantile_case(shape, levels=(0.1, 0.5, 0.9)),
            quantile_case(shape, levels=(0.3, 0.2), weights=(2.0, 0.5)),
            quantile_case(shape, levels=tuple(np.arange(1, 20) / 20)),
        )
    ],
    "mape": elementwise(lambda p, t: np.abs(p - t) / np.abs(t)),
    "smape": elementwise(smape, same_sign=True) + [smape_opposite(shape) for shape in SHAPES],
    "logcosh": elementwise(lambda p, t: np.log1p(2 * np.sinh((p - t) / 2) ** 2)),
    "poisson": [poisson_case(shape, log) for shape in SHAPES for log in (True, False)],
    "log_loss": [
        log_loss_case(shape, kind, **kwargs)
        for shape in CLASSES
        for kind in ("index", "probabilities")
        for kwargs in ({}, {"label_smoothing": 0.1})
    ]
    + [
        log_loss_case(shape, "logit", **kwargs)
        for shape in ((1,), (5, 1), (37, 1))
        for kwargs in ({}, {"label_smoothing": 0.2})
    ],
}
