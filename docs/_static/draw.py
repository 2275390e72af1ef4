"""Draw the pictures of docs/display.md again: ``python docs/_static/draw.py``."""

from pathlib import Path

import matplotlib

matplotlib.use("agg")

from sklearn.datasets import load_diabetes
from sklearn.preprocessing import StandardScaler

from ctrain import Regressor
from ctrain.curves import curves_svg, loss_label
from ctrain.display import NetworkDisplay, TrainingCurveDisplay
from ctrain.layers import dense

HERE = Path(__file__).parent


def gated(tape, x):
    """Two branches: a gated hidden layer, and a linear part."""
    hidden = tape.gelu(dense(tape, x, 32, "hidden"))
    gate = tape.sigmoid(dense(tape, x, 32, "gate"))
    bent = dense(tape, tape.mul(hidden, gate), 1, "head")
    return tape.add(bent, dense(tape, x, 1, "linear"))


def main() -> None:
    """Fit the page's estimator and draw it."""
    X, y = load_diabetes(return_X_y=True)
    X, y = StandardScaler().fit_transform(X), y / 100
    reg = Regressor(
        (64, 32), learning_rate_init=3e-3, batch_size=32, max_iter=60, early_stopping=True,
        n_iter_no_change=25, metrics="r2", random_state=0,
    ).fit(X, y)  # fmt: skip
    columns = ["loss", "validation_loss", "train_r2", "validation_r2", "learning_rate"]
    display = TrainingCurveDisplay.from_estimator(reg, columns=columns)
    display.figure_.savefig(HERE / "training_curves.png", dpi=100)
    svg = curves_svg(reg.history_, best=reg.best_epoch_, label=loss_label(reg.loss))
    (HERE / "notebook.svg").write_text(svg + "\n", encoding="utf-8")
    reg = Regressor(model=gated, max_iter=1, random_state=0).fit(X, y)
    NetworkDisplay.from_estimator(reg).figure_.savefig(HERE / "network.png", dpi=100)


if __name__ == "__main__":
    main()
