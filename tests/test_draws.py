"""Draws from distributions: moments, distribution functions, and what they depend on."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy import stats

import ctrain
from ctrain._core.plan import compile_plan
from ctrain._core.program import Program
from ctrain._core.source import Arrays
from ctrain._core.step import accumulate, predict, read

ROWS, WIDTH = 1000, 1000
SHAPES = (0.05, 0.5, 1.0, 2.5, 30.0, 1e6)
RATES = (0.01, 3.0, 9.99, 10.0, 37.0, 1e4, 1e9)
#: distributions by the draw and its argument
CONTINUOUS = [
    ("random_uniform", 0.0, stats.uniform()),
    ("random_normal", 0.0, stats.norm()),
    *(("random_gamma", a, stats.gamma(a)) for a in SHAPES),
]
COUNTS = [("random_poisson", rate, stats.poisson(rate)) for rate in RATES]


def draws(op, argument, dtype="float64", seed=0, step=0, n_threads=2, shape=(ROWS, WIDTH)):
    """One row for each row of the argument, or the same argument for all."""
    tape = ctrain.Tape(dtype, random_state=seed)
    y = getattr(tape, op)(tape.input(shape[1:], name="x"))
    program = Program(compile_plan(tape, shape[0], outputs=[y], keep=True), n_threads, seed)
    accumulate(program, Arrays(x=np.broadcast_to(argument, shape).astype(dtype)), step=step)
    return read(program, y, shape[0])


@pytest.mark.parametrize("op, argument, law", CONTINUOUS + COUNTS)
def test_moments(op, argument, law):
    """Mean, variance and fourth moment within four standard errors; neighbours do not correlate."""
    x = draws(op, argument)
    assert np.isfinite(x).all()
    z = (x - law.mean()) / law.std()
    kurtosis = float(law.stats(moments="k")) + 3.0
    skew = float(law.stats(moments="s"))
    assert abs(z.mean()) < 4 / np.sqrt(z.size)
    assert abs((z**2).mean() - 1) < 4 * np.sqrt((kurtosis - 1) / z.size)
    for a, b in ((z[:, :-1], z[:, 1:]), (z[:-1], z[1:])):
        assert abs((a * b).mean()) < 4 / np.sqrt(a.size)
    if kurtosis < 30:  # the spread of the third moment needs the sixth
        spread = np.std(z**3) / np.sqrt(z.size)
        assert abs((z**3).mean() - skew) < 4 * spread


@pytest.mark.parametrize("op, argument, law", CONTINUOUS)
def test_distribution_functions(op, argument, law):
    """Kolmogorov and Smirnov's distance of a million draws; a chance of one in a thousand each."""
    x = draws(op, argument).ravel()
    assert stats.kstest(x, law.cdf).pvalue > 1e-3


@pytest.mark.parametrize("op, argument, law", COUNTS)
def test_counts(op, argument, law):
    """Whole numbers; chi-square over cells that each expect at least 1,000 of a million."""
    x = draws(op, argument).ravel()
    assert (x == np.floor(x)).all() and (x >= 0).all()
    edges = np.unique(law.ppf(np.linspace(0.0, 1.0, 201)[1:-1]))
    chance = np.diff(np.concatenate([[0.0], law.cdf(edges), [1.0]]))
    enough = chance * x.size >= 1000
    seen = np.bincount(np.searchsorted(edges, x, side="left"), minlength=len(chance))
    rest = ~enough
    expected = np.append(chance[enough], chance[rest].sum()) * x.size
    found = np.append(seen[enough], seen[rest].sum())
    used = expected > 5
    distance = ((found - expected)[used] ** 2 / expected[used]).sum()
    assert stats.chi2(max(used.sum() - 1, 1)).sf(distance) > 1e-3


@pytest.mark.parametrize("op, argument", [(op, x) for op, x, _ in CONTINUOUS + COUNTS])
def test_float32_draws_are_those_of_float64(op, argument):
    argument = np.float32(argument)
    wide, single = (draws(op, argument, dtype, shape=(50, 200)) for dtype in ("float64", "float32"))
    if op == "random_uniform":
        assert ((wide - single >= 0) & (wide - single < 2.0**-24)).all()
        assert (single < 1).all() and (single > 0).all()
    else:
        assert_array_equal(single, wide.astype(np.float32))


@pytest.mark.parametrize("op", sorted({op for op, *_ in CONTINUOUS + COUNTS}))
def test_draws_depend_on_seed_node_step_row_and_element_alone(op):
    argument = np.linspace(0.1, 40.0, 200)[:, None] * np.ones(37)

    def drawn(**settings):
        return draws(op, argument, shape=argument.shape, **settings)

    whole = drawn()
    for n_threads in (1, 3, 7):
        assert_array_equal(drawn(n_threads=n_threads), whole)
    for other in (drawn(seed=1), drawn(step=1)):
        assert (other != whole).mean() > 0.5
    # another argument of one element leaves the others as they are
    argument[3, 5] = 7.0
    changed = drawn() != whole
    assert changed.sum() <= 1


@pytest.mark.parametrize("op", ["random_gamma", "random_poisson"])
def test_ends(op):
    with np.errstate(invalid="ignore"):
        x = draws(op, np.array([[0.0, -1.0, np.nan, np.inf, 1e-300, 1.0]]), shape=(1, 6))[0]
    assert x[0] == 0 and np.isnan(x[1:4]).all() and x[4] == 0 and np.isfinite(x[5])


def test_a_row_with_a_key_is_known_by_its_content():
    """Its draws are the same wherever it stands, and others' are others."""
    rng = np.random.default_rng(0)
    keys = rng.normal(size=(9, 4))
    keys[7] = keys[2]
    tape = ctrain.Tape("float64")
    x, key = tape.input((5,), name="x"), tape.input((4,), name="key")
    y = tape.random_normal(x, key)
    program = Program(compile_plan(tape, 9, outputs=[y]), 1, 0)

    def predicted(keys):
        out = np.empty((len(keys), 5))
        predict(program, Arrays(x=np.zeros((len(keys), 5)), key=keys), [out])
        return out

    whole = predicted(keys)
    assert_array_equal(predicted(keys[[4, 2]]), whole[[4, 2]])
    assert_array_equal(whole[7], whole[2])
    assert len(np.unique(whole)) == 8 * 5


def test_sort_puts_nan_last_and_shares_gradients():
    tape = ctrain.Tape("float64")
    x = tape.input((6,), name="x")
    weight = tape.input((6,), name="weight")
    y = tape.sort(x)
    loss = tape.sum(tape.mul(y, weight))
    values = np.array([[2.0, -1.0, 2.0, np.inf, 2.0, -np.inf], [0.0, np.nan, 1.0, -2.0, 5.0, 4.0]])
    tape.forward(x=values, weight=np.tile([1.0, 2.0, 3.0, 5.0, 10.0, 100.0], (2, 1)))
    assert_array_equal(tape.value(y), np.sort(values, axis=-1))
    tape.backward(loss)
    wanted = [[6.0, 2.0, 6.0, 100.0, 6.0, 1.0], [2.0, 100.0, 3.0, 1.0, 10.0, 5.0]]
    assert_array_equal(2 * tape.gradient(x), wanted)
    with pytest.raises(ValueError, match="sort: x needs an axis"):
        tape.sort(tape.sum(x))
