"""DeepAR: neuralforecast's numbers and gradients, and paths that are what they should be."""

from __future__ import annotations

import numpy as np
import pytest
from forecasts import COVARIATES, HORIZON, INPUT_SIZE, bits, forecaster, frame, weights
from numpy.testing import assert_allclose, assert_array_equal
from reference import make_deepar
from reference.make_deepar import CASES, FLOORS, ROWS, STORE, WIDTHS, windows
from scipy import stats

import ctrain
from ctrain import Regressor
from ctrain._core.plan import compile_plan
from ctrain._core.program import Program
from ctrain._core.source import Arrays
from ctrain._core.step import predict
from ctrain.distributions import DISTRIBUTIONS, Normal, Scaled
from ctrain.losses import NegativeLogLikelihood
from ctrain.models import DeepAR

TOLERANCE = {"float64": 1e-10, "float32": 1e-5}
COUNTS = ("negative_binomial", NegativeLogLikelihood("poisson"))


@pytest.fixture(scope="module")
def store():
    with np.load(STORE) as arrays:
        return dict(arrays)


def recorded(label, dtype, training, model=None, horizon=None, law=None):
    """A tape with a case on it: tape, inputs and outputs."""
    settings, name, (_, steps), _ = CASES[label]
    horizon, law = horizon or steps, law or DISTRIBUTIONS[name](FLOORS[name])
    tape = ctrain.Tape(dtype, training=training)
    given = windows(label)
    rows = {k: tape.input(v.shape[1:], name=k) for k, v in given.items() if k != "future_y"}
    future = tape.input((horizon,), name="future_y")
    inputs = {**rows, "distribution": Scaled(law), **({"future_y": future} if training else {})}
    model = DeepAR(**{"dropout": 0.0, **settings}) if model is None else model
    answer = model.record(tape, inputs, (horizon, law.width))
    for p in tape.parameters:
        tape.parameters.assign(p.name, make_deepar.weights(label, p.name, p.shape))
    return tape, future, answer


def close(ours, theirs, tolerance):
    assert_allclose(ours, theirs, rtol=0, atol=tolerance * max(1.0, np.abs(theirs).max()))


def test_store_holds_exactly_the_cases(store):
    assert {key.rsplit(":", 1)[0] for key in store} == set(CASES)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("label", CASES)
def test_outputs_and_gradients_are_those_of_neuralforecast(store, label, dtype):
    name = CASES[label][1]
    tape, future, raw = recorded(label, dtype, training=True)
    loss = NegativeLogLikelihood(DISTRIBUTIONS[name](FLOORS[name])).record(tape, raw, future)
    tape.forward(**windows(label))
    tape.backward(loss)
    close(tape.value(raw), store[f"{label}: raw"], TOLERANCE[dtype])
    assert {p.name for p in tape.parameters} == {n for n, *_ in make_deepar.parameters(label)}
    for p in tape.parameters:
        tensor = tape._tensor_of[p.name]
        close(tape.gradient(tensor), store[f"{label}: {p.name}"], TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("label", CASES)
def test_without_what_comes_the_mean_is_fed_back(store, label, dtype):
    tape, _, answer = recorded(label, dtype, training=False)
    tape.forward(**windows(label))
    close(tape.value(answer["prediction"]), store[f"{label}: alone"], TOLERANCE[dtype])


# ------------------------------------------------------------------------------------ paths


def sampled(model, label="covariates", n_threads=2, seed=0, rows=None, law=None):
    """Paths (rows, horizon, n) of a case, by a program of its own."""
    tape, _, answer = recorded(label, "float64", False, model=model, law=law)
    samples, given = answer["samples"], windows(label)
    given = {k: v if rows is None else v[rows] for k, v in given.items()}
    program = Program(compile_plan(tape, 64, outputs=[samples]), n_threads, seed)
    out = np.empty((len(given["past_y"]), *samples.shape))
    read = {k: v for k, v in given.items() if k in tape.inputs}
    predict(program, Arrays(**read), [out])
    return out


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_path_is_drawn_value_by_value(name):
    """Teach the network its own paths: each value is then a draw of the law that it says."""
    n, label, law = 500, "covariates", DISTRIBUTIONS[name]()
    settings = {"hidden_size": 5, "dropout": 0.0}
    paths = sampled(DeepAR(**settings, trajectory_samples=n), label, law=law)
    assert paths.shape == (ROWS, CASES[label][2][1], n)
    tape, _, raw = recorded(label, "float64", True, model=DeepAR(**settings), law=law)
    parameters = law.parameters(tape, raw)
    given = {k: np.repeat(v, n, axis=0) for k, v in windows(label).items()}
    given["future_y"] = paths.transpose(0, 2, 1).reshape(-1, paths.shape[1])
    tape.forward(**given)
    p = [tape.value(x).reshape(given["future_y"].shape) for x in parameters]
    exact = {
        "normal": lambda: stats.norm(*p),
        "student_t": lambda: stats.t(*p),
        "poisson": lambda: stats.poisson(*p),
        "negative_binomial": lambda: stats.nbinom(1 / p[1], 1 / (1 + p[0] * p[1])),
    }[name]()
    u = exact.cdf(given["future_y"])
    if law.counts:  # anywhere in the step of the distribution function
        below = exact.cdf(given["future_y"] - 1)
        u = below + (u - below) * np.random.default_rng(0).random(u.shape)
    for k in range(u.shape[1]):
        assert stats.kstest(u[:, k], "uniform").pvalue > 1e-3
    ranks = np.abs(np.corrcoef(u.T)[np.triu_indices(u.shape[1], 1)])
    assert ranks.max() < 4 / np.sqrt(len(u))


def test_paths_depend_on_seed_and_window_alone():
    model = DeepAR(hidden_size=5, trajectory_samples=30)
    whole = sampled(model)
    for n_threads in (1, 3, 7):
        assert_array_equal(sampled(model, n_threads=n_threads), whole)
    assert_array_equal(sampled(model, rows=[2, 0]), whole[[2, 0]])
    assert (sampled(model, seed=1) != whole).all()
    assert np.unique(whole).size == whole.size


# ------------------------------------------------------------------------------- forecasts


def small(**settings):
    return DeepAR(hidden_size=6, num_layers=1, trajectory_samples=25, **settings)


def whole_numbers():
    data = frame()
    data["y"] = np.round(data["y"])
    return data


@pytest.mark.parametrize("loss", ["student_t", Normal, *COUNTS])
def test_forecasts(loss, tmp_path):
    loss = NegativeLogLikelihood(loss()) if isinstance(loss, type) else loss
    data = whole_numbers()
    fc = forecaster(small(), loss=loss, n_jobs=2, **COVARIATES).fit(data, val_size=HORIZON)
    future = fc.future_frame()
    future["promo"] = np.zeros(3 * HORIZON)
    answer = fc.predict(future=future, level=80)
    low, middle, high = (answer[f"DeepAR{end}"] for end in ("-lo-80", "", "-hi-80"))
    assert (low <= middle).all() and (middle <= high).all() and (low < high).any()
    if loss in COUNTS:
        assert (low >= 0).all() and np.isfinite(fc.validation_loss_curve_).all()
    fc.save(tmp_path / "file")
    assert bits(ctrain.load(tmp_path / "file").predict(future=future, level=80)) == bits(answer)
    one = fc.set_params(n_jobs=1).predict(future=future, level=80)
    assert bits(one) == bits(answer)


def test_quantiles_are_those_of_the_paths():
    fc = forecaster(small(), loss="normal", quantiles=(0.2, 0.5, 0.7)).fit(frame())
    y = frame()["y"].reshape(3, 60)
    source = ctrain._core.source.Windows(y, INPUT_SIZE, HORIZON, start=52, count=1)
    paths = fc._network.predict(source, 1, "samples")
    assert paths.shape == (3, HORIZON, 25)
    quantiles = np.moveaxis(np.quantile(paths, (0.2, 0.5, 0.7), axis=-1), 0, -1)
    assert_allclose(fc._network.predict(source, 1), quantiles, rtol=1e-5)


@pytest.mark.parametrize("given", [{"loss": "absolute_error"}, {"quantiles": (0.1, 0.5, 0.9)}])
def test_other_losses_feed_back_the_forecast(given):
    fc = forecaster(small(), **given).fit(frame())
    assert np.isfinite(fc.predict()["DeepAR"]).all() and "samples" not in fc._network.outputs


def test_on_arrays():
    """Nobody knows what comes: its own mean is fed back in training, too."""
    X = np.random.default_rng(0).normal(size=(40, 6))
    y = np.cumsum(X, axis=1)[:, :3]
    loss = NegativeLogLikelihood(quantiles=(0.1, 0.9))
    reg = Regressor(model=small(), loss=loss, max_iter=5, random_state=0).fit(X, y)
    assert reg.predict(X).shape == (40, 3, 2)
    assert (reg.predict(X)[..., 0] < reg.predict(X)[..., 1]).mean() > 0.9
    assert_array_equal(reg.predict(X)[7:9], reg.predict(X[7:9]))


def test_widths_are_those_of_the_distributions():
    assert {name: DISTRIBUTIONS[name].width for name in WIDTHS} == WIDTHS


@pytest.mark.parametrize(
    "model, message",
    [
        (DeepAR(hidden_size=0), "hidden_size must be an integer of at least 1; got 0"),
        (DeepAR(trajectory_samples=0), "trajectory_samples must be an integer of at least 1"),
        (DeepAR(decoder_hidden_layers=1), "decoder_hidden_size must be an integer of at least 1"),
        (DeepAR(decoder_hidden_layers=-1), "decoder_hidden_layers must be .* at least 0; got -1"),
        (DeepAR(dropout=1.0), r"dropout must be in \[0, 1\); got 1.0"),
    ],
)
def test_wrong_settings(model, message):
    with pytest.raises(ValueError, match=message):
        forecaster(model, loss="normal").fit(frame())


@pytest.mark.parametrize(
    "given, message",
    [
        ({"series_scaler": "standard"}, "is of counts, whose mean a window scales; .*'none'"),
        ({"scaler": "revin"}, "scaler='revin', .* a scaler without a learned gain"),
        ({"season": 7}, "season=7 .* loss='negative_binomial' is not of errors"),
    ],
)
def test_counts_are_not_scaled(given, message):
    fc = forecaster(loss="negative_binomial", **given)
    with pytest.raises(ValueError, match=message):
        fc.fit(whole_numbers())


def test_levels_are_said_once():
    loss = NegativeLogLikelihood("normal", level=80)
    with pytest.raises(ValueError, match="or a likelihood without levels of its own"):
        forecaster(loss=loss, quantiles=(0.5,)).fit(frame())
    with pytest.raises(ValueError, match=r"NegativeBinomial .* of series 's0' >= 0; row 0 is"):
        forecaster(loss="negative_binomial").fit(frame())
    names = [list(forecaster(loss=x).fit(frame()).predict())[2:] for x in ("normal", loss)]
    assert names[0] == ["NLinear"] + [f"NLinear-{e}-{k}" for k in (80, 90) for e in ("lo", "hi")]
    assert names[1] == ["NLinear", "NLinear-lo-80", "NLinear-hi-80"]


def test_gaps_and_weights_of_steps():
    data = frame()
    data["y"][np.random.default_rng(2).random(180) < 0.15] = np.nan
    given = {"missing": "mask", "horizon_weight": (1.0, 0.0, 2.0, 0.5), "loss": "student_t"}
    fc = forecaster(small(), **given).fit(data)
    other = frame()
    other["y"] = np.where(np.isnan(data["y"]), np.nan, other["y"])
    assert weights(fc) == weights(forecaster(small(), **given).fit(other))
    assert np.isfinite(fc.predict()["DeepAR"]).all()
