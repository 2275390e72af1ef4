"""Files of this release that all later ones must load: run once before a release.

``python tests/golden/make_golden.py`` writes them and what they predict into a folder with the
release's version, which is then never touched again.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

import ctrain
from ctrain import Classifier, Forecaster, Regressor, checkpoint
from ctrain.callbacks import Callback
from ctrain.optimizers import SGD, Adagrad, Adam, AdamW, RMSprop
from ctrain.schedules import ReduceOnPlateau

RNG = np.random.default_rng(20260101)
X = RNG.uniform(-2, 2, size=(60, 3))
Y = X[:, 0] - X[:, 0] * X[:, 0] * X[:, 0] / 6 + X[:, 1] * X[:, 2]  # the same bits everywhere
LABELS = np.array(["blue", "green", "red"])[np.digitize(Y, [-0.3, 0.4])]


def bottleneck(tape, x):
    """A model of a user's own; later releases predict without it."""
    h = tape.gelu(tape.matmul(tape.sub(x, tape.mean(x)), tape.parameter((3, 4), name="in")))
    gain = tape.parameter((4,), name="gain", init="ones", decay=False)
    return tape.matmul(tape.mul(h, gain), tape.parameter((4, 1), name="out"))


def regressor(**parameters):
    defaults = {"hidden_layer_sizes": (5,), "max_iter": 2, "batch_size": 16, "random_state": 0}
    return Regressor(**{**defaults, **parameters})


#: estimators whose file holds the end of a fit
FITS = {
    "float64": lambda: regressor(activation="gelu"),
    "float32": lambda: regressor(dtype="float32", hidden_layer_sizes=(5, 4)),
    "quantiles": lambda: regressor(loss=ctrain.losses.Quantile((0.1, 0.9))),
    "own-model": lambda: regressor(model=bottleneck),
    "sgd": lambda: regressor(optimizer=SGD(momentum=0.9, nesterov=True)),
    "adam": lambda: regressor(optimizer=Adam(amsgrad=True), schedule="one_cycle"),
    "adamw": lambda: regressor(optimizer=AdamW(weight_decay=0.1)),
    "rmsprop": lambda: regressor(optimizer=RMSprop(momentum=0.5, centered=True)),
    "adagrad": lambda: regressor(optimizer=Adagrad()),
    "lbfgs": lambda: regressor(optimizer="lbfgs"),
    "classifier": lambda: Classifier((5,), max_iter=2, batch_size=16, random_state=0),
}


def forecaster():
    """Two series named by text, with a covariate that is not known in advance."""
    frame = {"unique_id": np.repeat(["a", "b"], 30), "ds": np.tile(np.arange(30), 2),
             "y": Y, "x": X[:, 0]}  # fmt: skip
    model = Forecaster(
        "mlp", horizon=3, input_size=6, hist_exog=("x",), conformal=5, max_steps=6, batch_size=8,
        series_scaler="standard", random_state=0,
    )  # fmt: skip
    return model.set_params(model=ctrain.models.MLP((5,))).fit(frame)


def unfinished():
    """A fit whose file is written in the middle of its third epoch."""
    return regressor(
        max_iter=6, dropout=0.2, early_stopping=True, n_iter_no_change=2, metrics=["r2"],
        schedule=ReduceOnPlateau(patience=0, threshold=0.2), alpha=1e-3,
    )  # fmt: skip


def targets(estimator):
    return LABELS if isinstance(estimator, Classifier) else Y


class SaveAt(Callback):
    """Writes one file, after one step."""

    def __init__(self, path, step):
        self.path, self.step = path, step

    def due(self, estimator):
        return -np.inf

    def between_steps(self, estimator):
        if estimator._state.step == self.step:
            checkpoint.save(estimator, self.path)


def make(folder: Path) -> None:
    expected = {}
    for k, (name, declare) in enumerate(FITS.items()):
        fitted = declare().fit(X, targets(declare()))
        fitted.save(folder / f"{name}.npz", compress=k % 3 == 2)
        expected[name] = fitted.predict(X)
        if isinstance(fitted, Classifier):
            expected[f"{name}-probabilities"] = fitted.predict_proba(X)
    fitted = forecaster()
    fitted.save(folder / "forecaster.npz")
    for name, values in fitted.predict(level=50).items():
        expected[f"forecaster-{name}"] = values
    ctrain.training.GLANCE = 0.0  # callbacks are asked after each step
    whole = unfinished().set_callbacks(SaveAt(folder / "unfinished.npz", 8)).fit(X, Y)
    expected["unfinished"] = ctrain.load(folder / "unfinished.npz").predict(X)
    expected["resumed"] = whole.predict(X)
    expected["resumed-losses"] = np.array(whole.validation_loss_curve_)
    np.savez_compressed(folder / "expected.npz", X=X, **expected)


if __name__ == "__main__":
    place = Path(__file__).parent / ctrain.__version__
    place.mkdir(exist_ok=True)
    make(place)
