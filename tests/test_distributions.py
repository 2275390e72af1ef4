"""Distributions: PyTorch's likelihoods, moments of draws, quantiles, and fits by likelihood."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from reference.make_distributions import CASES, FLOORS, STORE, made
from scipy import special, stats

import ctrain
from ctrain import Regressor, distributions
from ctrain._core.plan import compile_plan
from ctrain._core.program import Program
from ctrain._core.source import Arrays
from ctrain._core.step import predict
from ctrain.distributions import (
    DISTRIBUTIONS,
    NegativeBinomial,
    Normal,
    Poisson,
    StudentT,
    empirical_quantiles,
)
from ctrain.losses import CRPS, NegativeLogLikelihood, Quantile

TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
#: parameters, and the law they are those of
LAWS = {
    "normal": ((3.0, 2.0), stats.norm(3, 2)),
    "student_t": ((12.0, 3.0, 2.0), stats.t(12, 3, 2)),
    "poisson": ((7.5,), stats.poisson(7.5)),
    "negative_binomial": ((7.5, 0.4), stats.nbinom(2.5, 1 / (1 + 7.5 * 0.4))),
}


def close(ours, theirs, tolerance):
    assert_allclose(ours, theirs, rtol=0, atol=tolerance * max(1.0, np.abs(theirs).max()))


@pytest.fixture(scope="module")
def store():
    with np.load(STORE) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("label", CASES)
def test_likelihood_and_gradient_are_pytorch_s(store, label, dtype):
    name, _ = CASES[label]
    law = DISTRIBUTIONS[name](**({"floor": FLOORS[name]} if name in FLOORS else {}))
    given = made(label)
    tape = ctrain.Tape(dtype)
    inputs = {k: tape.input(v.shape[1:], name=k) for k, v in given.items()}
    raw, y, *window = inputs.values()
    loss = NegativeLogLikelihood(law).within(*(window or (None, None)))
    each, mean = loss.elements(tape, raw, y), loss.link(tape, raw)
    total = loss.record(tape, raw, y)
    tape.forward(**given)
    tape.backward(total)
    close(tape.value(each), store[f"{label}: nll"], TOLERANCE[dtype])
    close(tape.value(mean), store[f"{label}: mean"], TOLERANCE[dtype])
    close(tape.gradient(raw), store[f"{label}: gradient"], TOLERANCE[dtype])
    assert_allclose(tape.value(total), tape.value(each).mean(axis=1), rtol=1e-5)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_nearly_poisson_nearly_normal(dtype):
    """Large numbers cancel: 1 / dispersion, and the degrees of freedom."""
    tape = ctrain.Tape(dtype)
    y, size = tape.input((50,), name="y"), tape.input((50,), name="size")
    ones = tape.add(tape.scale(y, 0.0), 1.0)
    counts = NegativeBinomial().nll(tape, (tape.scale(ones, 9.0), tape.div(1.0, size)), y)
    heavy = StudentT().nll(tape, (size, tape.scale(ones, 9.0), ones), y)
    rng = np.random.default_rng(0)
    given = {"y": rng.poisson(9.0, (4, 50)), "size": 10.0 ** rng.uniform(1, 6, (4, 50))}
    tape.forward(**given)
    y, size = (v.astype(dtype).astype(float) for v in given.values())
    tolerance = {"float64": 1e-8, "float32": 3e-5}[dtype]
    exact = -stats.nbinom(size, size / (size + 9)).logpmf(y)
    assert_allclose(tape.value(counts), exact, rtol=tolerance, atol=tolerance)
    exact = -stats.t(size, 9).logpdf(y)
    assert_allclose(tape.value(heavy), exact, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_log_rising(dtype):
    """To a few last places of what is subtracted in float64, then rounded."""
    rng = np.random.default_rng(0)
    x = (10.0 ** rng.uniform(-3, 7, (3, 37))).astype(dtype)
    n = np.where(rng.random((3, 37)) < 0.5, 0.5, rng.poisson(20, (3, 37))).astype(dtype)
    tape = ctrain.Tape(dtype)
    inputs = {"x": tape.input((37,), name="x"), "n": tape.input((37,), name="n")}
    y = tape.log_rising(*inputs.values())
    tape.forward(x=x, n=n)
    wide_x, wide_n = x.astype(float), n.astype(float)
    size = np.abs(special.gammaln(wide_x + wide_n)) + np.abs(special.gammaln(wide_x))
    exact = -special.betaln(wide_x, np.maximum(wide_n, 0.5)) + special.gammaln(
        np.maximum(wide_n, 0.5)
    )
    exact = np.where(wide_n == 0, 0.0, exact)
    last = 16 * np.finfo(float).eps * size + np.finfo(dtype).eps * np.abs(exact)
    assert (np.abs(tape.value(y) - exact) <= last).all()


# ------------------------------------------------------------------------- draws, quantiles


def drawn(name, dtype="float64", n_threads=2, seed=0, keys=None, shape=(1000, 1000)):
    """Draws of one law, a row for each key."""
    keys = np.arange(shape[0], dtype=dtype)[:, None] if keys is None else keys
    tape = ctrain.Tape(dtype, random_state=seed)
    key = tape.input((1,), name="key")
    parameters = tuple(
        tape.broadcast(tape.scale(key, 0.0, value), shape[1:]) for value in LAWS[name][0]
    )
    y = DISTRIBUTIONS[name]().sample(tape, parameters, key)
    out = np.empty((len(keys), *shape[1:]), dtype)
    predict(Program(compile_plan(tape, 64, outputs=[y]), n_threads, seed), Arrays(key=keys), [out])
    return out


@pytest.mark.parametrize("name", LAWS)
def test_moments_of_a_million_draws(name):
    law, x = LAWS[name][1], drawn(name)
    skew, kurtosis = (float(v) for v in law.stats(moments="sk"))
    z = (x - law.mean()) / law.std()
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert abs((z**2).mean() - 1) < 4 * np.sqrt((kurtosis + 2) / z.size)
    assert abs((z**3).mean() - skew) < 4 * np.std(z**3) / np.sqrt(z.size)
    assert abs((z[:, 1:] * z[:, :-1]).mean()) < 4 / np.sqrt(z.size)
    for at in law.ppf((0.05, 0.3, 0.8, 0.99)):
        p = law.cdf(at)
        assert abs((x <= at).mean() - p) < 4 * np.sqrt(p * (1 - p) / z.size)


@pytest.mark.parametrize("name", LAWS)
def test_draws_depend_on_seed_and_key_alone(name):
    given = {"shape": (70, 9)}
    whole = drawn(name, **given)
    for n_threads in (1, 3, 7):
        assert_array_equal(drawn(name, n_threads=n_threads, **given), whole)
    few = np.array([[4.0], [69.0], [4.0]])
    assert_array_equal(drawn(name, keys=few, **given), whole[[4, 69, 4]])
    assert (drawn(name, seed=1, **given) != whole).mean() > 0.5


@pytest.mark.parametrize("name", LAWS)
def test_quantiles(name):
    """Exact ones; those of draws within four standard errors, and half a count."""
    levels = np.array((0.001, 0.05, 0.1, 0.5, 0.9, 0.95, 0.999))
    law, tape = DISTRIBUTIONS[name](), ctrain.Tape("float64")
    raw = tape.input((3, law.width) if law.width > 1 else (3,), name="raw")
    parameters = law.parameters(tape, raw)
    q, mean = law.quantiles(tape, parameters, levels, 4000, raw), law.mean(tape, parameters)
    rng = np.random.default_rng(1)
    tape.forward(raw=rng.normal(size=(40, *raw.shape)) * 3)
    p = [tape.value(x)[..., None] for x in parameters]
    if name in ("normal", "student_t"):
        exact = stats.norm(*p) if name == "normal" else stats.t(*p)
        assert_allclose(tape.value(q), exact.ppf(levels), rtol=0, atol=1e-7 * p[-1].max())
        return
    exact = (
        stats.poisson(*p) if name == "poisson" else stats.nbinom(1 / p[1], 1 / (1 + p[0] * p[1]))
    )
    error = 4 * np.sqrt(levels * (1 - levels) / 4000)
    low, high = (exact.ppf(np.clip(levels + e, 1e-5, 1 - 1e-5)) for e in (-error, error))
    assert ((low - 0.5 <= tape.value(q)) & (tape.value(q) <= high + 0.5)).mean() > 0.99
    assert_allclose(tape.value(mean)[..., None], exact.mean())


def test_empirical_quantiles_are_numpy_s():
    levels, x = (0.0, 0.05, 0.5, 0.77, 1.0), np.random.default_rng(0).normal(size=(4, 3, 11))
    tape = ctrain.Tape("float64")
    q = empirical_quantiles(tape, tape.input((3, 11), name="x"), levels)
    tape.forward(x=x)
    assert_allclose(tape.value(q), np.moveaxis(np.quantile(x, levels, axis=-1), 0, -1), rtol=1e-14)


# ------------------------------------------------------------------------- regression


def table(name, n=600):
    """Rows of two kinds and draws of a law for each: their means and parameters differ."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 2, (n, 1)).astype(float)
    first, second = {
        "normal": (stats.norm(1, 0.5), stats.norm(4, 2.0)),
        "student_t": (stats.t(6, 1, 0.5), stats.t(6, 4, 2.0)),
        "poisson": (stats.poisson(2), stats.poisson(9)),
        "negative_binomial": (stats.nbinom(4, 0.5), stats.nbinom(2, 0.2)),
    }[name]
    draws = [law.rvs(n, random_state=rng) for law in (first, second)]
    return X, np.where(X[:, 0] == 0, *draws).astype(float), (first, second)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_regression(name):
    X, y, laws = table(name)
    given = {"optimizer": "lbfgs", "max_iter": 300, "random_state": 0}
    two = np.array([[0.0], [1.0]])
    loss = NegativeLogLikelihood(name)
    reg = Regressor((), loss=loss, **given).fit(X, y)
    assert reg.predict(two).shape == (2,) and reg.score(X, y) > 0.1
    wanted = [y[X[:, 0] == k].mean() for k in (0, 1)]
    assert_allclose(reg.predict(two), wanted, rtol=0.1)
    least = -np.mean([np.where(X[:, 0] == k, _log(law, y), 0) for k, law in enumerate(laws)]) * 2
    assert reg.loss_ < least + 0.01
    levels = (0.05, 0.5, 0.95)
    reg = Regressor((), loss=NegativeLogLikelihood(name, level=90), **given).fit(X, y)
    assert reg.predict(two).shape == (2, 3)
    for law, answer in zip(laws, reg.predict(two), strict=True):
        step = 1 if loss.head.counts else 0  # a quantile of counts is where a step reaches it
        assert (law.cdf(answer + 1e-9) > np.array(levels) - 0.06).all()
        assert (law.cdf(answer - 1e-9 - step) < np.array(levels) + 0.06).all()
    with pytest.raises(ValueError, match=r"score: R2 needs .* the loss makes 3"):
        reg.score(X, y)


def _log(law, y):
    return law.logpmf(y) if hasattr(law.dist, "logpmf") else law.logpdf(y)


def test_several_targets_and_files(tmp_path):
    X, y = np.random.default_rng(0).normal(size=(60, 3)), np.zeros((60, 2))
    y[:] = X[:, :2]
    loss = NegativeLogLikelihood(StudentT(floor=0.01), quantiles=(0.1, 0.9))
    reg = Regressor((4,), loss=loss, max_iter=3, random_state=0).fit(X, y)
    assert reg.predict(X).shape == (60, 2, 2)
    reg.save(tmp_path / "file")
    other = ctrain.load(tmp_path / "file")
    assert_array_equal(other.predict(X[5:7]), reg.predict(X)[5:7])
    assert other.loss.distribution.floor == 0.01


@pytest.mark.parametrize(
    "loss, message",
    [
        (NegativeLogLikelihood("gamma"), "distribution must be one of .*; got 'gamma'"),
        (NegativeLogLikelihood(Normal), r"or an object of ctrain.distributions; .* Normal\(\)\?"),
        (NegativeLogLikelihood(level=100), r"'level' .* in the range \(0, 100\). Got 100"),
        (NegativeLogLikelihood(quantiles=(0.1, 1.0)), "'quantiles' .* range"),
        (NegativeLogLikelihood(level=80, quantiles=(0.1,)), "say the same thing twice"),
        (NegativeLogLikelihood(num_samples=1), r"'num_samples' .* range \[2"),
        (NegativeLogLikelihood(Normal(floor=-1.0)), "'floor' parameter of Normal"),
        (NegativeLogLikelihood(StudentT(floor=None)), "'floor' parameter of StudentT"),
        ("students", "loss must be one of .*; got 'students'; did you mean 'student_t'"),
    ],
)
def test_wrong_parameters(loss, message):
    with pytest.raises((ValueError, TypeError), match=message):
        Regressor(loss=loss).fit(np.zeros((3, 1)), np.zeros(3))


@pytest.mark.parametrize("value", [-1.0, 0.5])
@pytest.mark.parametrize("law", [Poisson(), NegativeBinomial()])
def test_counts_are_whole_numbers(law, value):
    y = np.array([0.0, 3.0, value])
    message = f"{type(law).__name__} is of counts and needs whole numbers y >= 0; row 2 is {value}"
    with pytest.raises(ValueError, match=message):
        Regressor(loss=NegativeLogLikelihood(law)).fit(np.zeros((3, 1)), y)


@pytest.mark.parametrize("name", ["normal", "student_t", "negative_binomial"])
def test_names(name):
    loss = ctrain.losses.resolve(name)
    assert repr(loss) in (
        f"NegativeLogLikelihood(distribution='{name}')",
        "NegativeLogLikelihood()",
    )
    theirs = {"normal": "Normal", "student_t": "StudentT", "negative_binomial": "NegativeBinomial"}
    assert type(distributions.resolve(theirs[name])) is type(loss.head)


def test_crps_is_twice_the_pinball():
    levels = (0.1, 0.5, 0.9)
    tape = ctrain.Tape("float64")
    z, t = tape.input((4, 3), name="z"), tape.input((4,), name="t")
    crps, pinball = (kind(levels).record(tape, z, t) for kind in (CRPS, Quantile))
    rng = np.random.default_rng(0)
    tape.forward(z=rng.normal(size=(5, 4, 3)), t=rng.normal(size=(5, 4)))
    assert_allclose(tape.value(crps), 2 * tape.value(pinball), rtol=1e-14)
    assert CRPS().levels == tuple(np.arange(1, 20) / 20)
