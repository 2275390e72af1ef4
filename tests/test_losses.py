"""Losses: their definitions, what they predict, and that weights and callables mean the same."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import expit
from sklearn.base import clone

import ctrain
from ctrain import Regressor, losses
from ctrain.losses import (
    CRPS,
    MAPE,
    SMAPE,
    AbsoluteError,
    Huber,
    LogCosh,
    LogLoss,
    Poisson,
    Quantile,
    SquaredError,
    Weighted,
)


def pinball(p, t, q):
    return np.maximum(q * (t - p), (q - 1.0) * (t - p))


def huber(p, t, delta):
    d = np.abs(p - t)
    return np.where(d <= delta, 0.5 * d**2, delta * (d - 0.5 * delta))


def smape(p, t):
    total = np.abs(p) + np.abs(t)
    return np.where(total == 0.0, 0.0, 2.0 * np.abs(p - t) / np.where(total == 0.0, 1.0, total))


def log_loss(z, t, smoothing=0.0):
    t = (1.0 - smoothing) * t + 0.5 * smoothing
    return np.logaddexp(0.0, z) - t * z


EPS = np.finfo(np.float64).eps

# a loss and its definition, one number for each element: of the network's output z and target t
DEFINITIONS = {
    "squared_error": (SquaredError(), lambda z, t: (z - t) ** 2),
    "absolute_error": (AbsoluteError(), lambda z, t: np.abs(z - t)),
    "huber": (Huber(), lambda z, t: huber(z, t, 1.0)),
    "huber 0.3": (Huber(delta=0.3), lambda z, t: huber(z, t, 0.3)),
    "quantile": (Quantile(), lambda z, t: pinball(z, t, 0.5)),
    "quantile 0.9": (Quantile(0.9), lambda z, t: pinball(z, t, 0.9)),
    "crps": (CRPS(0.5), lambda z, t: np.abs(z - t)),
    "mape": (MAPE(), lambda z, t: np.abs(z - t) / np.maximum(np.abs(t), EPS)),
    "smape": (SMAPE(), smape),
    "logcosh": (LogCosh(), lambda z, t: np.log(np.cosh(z - t))),
    "poisson": (Poisson(), lambda z, t: np.exp(z) - t * z),
    "log_loss": (LogLoss(), log_loss),
    "log_loss 0.2": (LogLoss(label_smoothing=0.2), lambda z, t: log_loss(z, t, 0.2)),
}
LINKS = {"poisson": np.exp, "log_loss": expit}


def test_every_loss_has_a_definition():
    assert {name.split()[0] for name in DEFINITIONS} == set(losses.LOSSES)
    for name, kind in losses.LOSSES.items():
        assert type(DEFINITIONS[name][0]) is kind


def values(loss, z, t, dtype="float64"):
    """The loss of each row, through a tape of its own."""
    tape = ctrain.Tape(dtype)
    prediction = tape.input(z.shape[1:], name="z")
    target = tape.input(t.shape[1:], name="t")
    cost = loss.record(tape, prediction, target)
    link = loss.link(tape, prediction)
    tape.forward(z=z, t=t)
    return tape.value(cost), tape.value(link)


def rows(name, n=50, targets=3):
    rng = np.random.default_rng(0)
    z, t = 2.0 * rng.normal(size=(n, targets)), rng.normal(size=(n, targets))
    if name.startswith("poisson"):
        t = rng.poisson(2.0, size=(n, targets)).astype(float)
    if name.startswith("log_loss"):
        t = rng.uniform(size=(n, targets))
    t[:5] = 0.0
    z[3:8] = t[3:8]
    return z, t


@pytest.mark.parametrize("name", DEFINITIONS)
@pytest.mark.parametrize("targets", [1, 3])
def test_definition(name, targets):
    loss, formula = DEFINITIONS[name]
    z, t = rows(name, targets=targets)
    cost, link = values(loss, z, t)
    np.testing.assert_allclose(cost, formula(z, t).mean(axis=1), rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(link, LINKS.get(name.split()[0], np.asarray)(z), rtol=1e-14)


@pytest.mark.parametrize("weights", [None, (1.0, 3.0, 0.5)])
@pytest.mark.parametrize("targets", [1, 2])
def test_several_quantiles(weights, targets):
    levels = (0.1, 0.5, 0.8)
    rng = np.random.default_rng(0)
    z, t = rng.normal(size=(40, targets, 3)), rng.normal(size=(40, targets))
    cost, _ = values(Quantile(levels, weights), z, t)
    scale = np.ones(3) if weights is None else np.array(weights)
    expected = np.mean(scale * pinball(z, t[..., None], np.array(levels)), axis=(1, 2))
    np.testing.assert_allclose(cost, expected, rtol=1e-13)


def test_zero_targets():
    z, zero = np.array([[0.0], [1.0], [-2.0]]), np.zeros((3, 1))
    np.testing.assert_array_equal(values(SMAPE(), z, zero)[0], [0.0, 2.0, 2.0])
    np.testing.assert_allclose(values(MAPE(), z, zero)[0], [0.0, 1.0 / EPS, 2.0 / EPS])
    single = values(MAPE(), z, zero, "float32")[0]
    np.testing.assert_allclose(single, np.array([0.0, 1.0, 2.0]) / np.finfo(np.float32).eps)
    np.testing.assert_allclose(values(Poisson(), z, zero)[0], np.exp(z[:, 0]), rtol=1e-14)


@pytest.mark.parametrize("alias, name", losses.ALIASES.items())
def test_alias_gives_the_same_fit(alias, name):
    assert type(losses.resolve(alias)) is losses.LOSSES[name]
    if alias in ("mase", "msse"):  # of series: test_scaled_losses.py
        return
    X, y = np.linspace(0.1, 1.0, 20)[:, None], np.linspace(0.1, 0.9, 20)
    one, other = (
        Regressor((3,), loss=loss, max_iter=2, random_state=0).fit(X, y).predict(X)
        for loss in (alias, name)
    )
    assert one.tobytes() == other.tobytes()


# ----------------------------------------------------------- what a loss predicts, and weights


def constant(tape, x):
    """A model that answers one number, whatever the input."""
    return tape.add(tape.scale(x, 0.0), tape.parameter((1,), name="c", init="zeros"))


def fitted_constant(loss, y, weight=None):
    X = np.zeros((len(y), 1))
    reg = Regressor(
        model=constant, loss=loss, optimizer="adam", schedule=lambda step: 0.03 * 0.998**step,
        clip_norm=None, max_iter=4000, batch_size=len(y),
    )  # fmt: skip
    return reg.fit(X, y, sample_weight=weight).predict(X[:1])[0]


def least(formula, y, weight, low=-5.0, high=20.0):
    grid = np.linspace(low, high, 25_001)
    cost = np.average(formula(grid[:, None], y[None, :]), axis=1, weights=weight)
    at = grid[np.argmin(cost)]
    best = minimize_scalar(
        lambda z: np.average(formula(z, y), weights=weight),
        bounds=(at - 0.002, at + 0.002), method="bounded", options={"xatol": 1e-10},
    )  # fmt: skip
    return best.x


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("name", DEFINITIONS)
def test_the_best_constant_minimises_the_weighted_mean_of_the_definition(name, weighted):
    rng = np.random.default_rng(5)
    y = rng.gamma(2.0, size=41) + 0.1
    if name.startswith("log_loss"):
        y = rng.uniform(size=41)
    weight = rng.integers(0, 4, size=41).astype(float) if weighted else None
    loss, formula = DEFINITIONS[name]
    expected = LINKS.get(name.split()[0], np.asarray)(least(formula, y, weight))
    assert fitted_constant(loss, y, weight) == pytest.approx(float(expected), abs=2e-3)


@pytest.mark.parametrize(
    "loss, statistic",
    [
        ("squared_error", np.mean),
        ("absolute_error", np.median),
        (Quantile(0.25), lambda y: np.quantile(y, 0.25)),
        ("poisson", np.mean),
    ],
    ids=str,
)
def test_known_statistics(loss, statistic):
    y = np.random.default_rng(6).gamma(2.0, size=41)
    assert fitted_constant(loss, y) == pytest.approx(statistic(y), abs=2e-3)


@pytest.mark.parametrize(
    "loss", ["squared_error", "mae", Huber(0.5), lambda tape, p, t: tape.huber(p, t, delta=0.5)]
)
def test_weighted_is_sample_weight(loss):
    """sum(f(y) l) / sum(f(y)): the same as f(y) handed over as weights, at any scale of f."""
    rng = np.random.default_rng(7)
    X, y = rng.normal(size=(30, 3)), rng.normal(size=30)
    settings = {"hidden_layer_sizes": (4,), "max_iter": 20, "batch_size": 7, "random_state": 0}
    given = Regressor(loss=loss, **settings).fit(X, y, sample_weight=y**2)
    for scale in (1.0, 1e-3):
        weighting = Weighted(
            loss, lambda tape, t, scale=scale: tape.scale(tape.mean(tape.square(t)), scale)
        )
        recorded = Regressor(loss=weighting, **settings).fit(X, y)
        np.testing.assert_allclose(recorded.predict(X), given.predict(X), rtol=1e-9)
        np.testing.assert_allclose(recorded.loss_curve_, given.loss_curve_, rtol=1e-9)


def test_weighted_multiplies_with_sample_weight():
    rng = np.random.default_rng(8)
    X, y, w = rng.normal(size=(30, 3)), rng.normal(size=30), rng.uniform(size=30)
    settings = {"hidden_layer_sizes": (4,), "max_iter": 20, "random_state": 0}
    given = Regressor(loss="mae", **settings).fit(X, y, sample_weight=w * np.abs(y))
    weighting = Weighted("mae", lambda tape, t: tape.mean(tape.abs(t)))
    recorded = Regressor(loss=weighting, **settings).fit(X, y, sample_weight=w)
    np.testing.assert_allclose(recorded.predict(X), given.predict(X), rtol=1e-9)


def test_weighted_quantiles_and_links():
    loss = Weighted(Quantile((0.1, 0.9)), lambda tape, t: tape.mean(tape.square(t)))
    assert loss.width == 2
    rng = np.random.default_rng(9)
    X, y = rng.normal(size=(20, 2)), np.abs(rng.normal(size=20))
    assert Regressor((3,), loss=loss, max_iter=2).fit(X, y).predict(X).shape == (20, 2)
    counts = Weighted("poisson", lambda tape, t: tape.mean(t))
    assert np.all(Regressor((3,), loss=counts, max_iter=2).fit(X, y).predict(X) > 0.0)


# ------------------------------------------------------------------------------ callables

WRITTEN = {
    "squared_error": lambda tape, p, t: tape.squared_error(p, t),
    "huber": lambda tape, p, t: tape.huber(p, t, delta=1.0),
    "quantile": lambda tape, p, t: tape.quantile(p, t, levels=(0.5,)),
    "logcosh": lambda tape, p, t: tape.logcosh(p, t),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_a_callable_is_the_loss_of_that_name(name):
    rng = np.random.default_rng(10)
    X, Y = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    settings = {"hidden_layer_sizes": (5,), "max_iter": 3, "batch_size": 16, "random_state": 0}
    one = Regressor(loss=name, **settings).fit(X, Y)
    other = Regressor(loss=WRITTEN[name], **settings).fit(X, Y)
    assert one.predict(X).tobytes() == other.predict(X).tobytes()
    assert one.loss_curve_ == other.loss_curve_


def test_a_callable_made_of_elementary_operations():
    def cauchy(tape, prediction, target):
        return tape.mean(tape.log1p(tape.square(tape.sub(prediction, target))))

    rng = np.random.default_rng(11)
    X = rng.normal(size=(200, 2))
    y = X @ [1.0, -2.0]
    y[::10] += 50.0  # outliers that the loss forgets
    reg = Regressor((), loss=cauchy, optimizer="lbfgs", max_iter=200).fit(X, y)
    np.testing.assert_allclose(reg.coefs_[0][:, 0], [1.0, -2.0], atol=0.02)
    last = np.mean(np.log1p((reg.predict(X) - y) ** 2))
    assert reg.loss_ == pytest.approx(last, rel=1e-12)


def test_parameters_are_searchable():
    loss = Weighted(Huber(0.3), lambda tape, t: tape.mean(t))
    copy = clone(loss).set_params(loss__delta=2.0)
    assert (loss.loss.delta, copy.loss.delta) == (0.3, 2.0)
    assert Regressor(loss=Quantile(0.3)).get_params()["loss__levels"] == 0.3
