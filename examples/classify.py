"""A rare class: weights of classes, label smoothing, and the ROC AUC while training."""

from __future__ import annotations

import numpy as np
from sklearn.datasets import make_classification
from sklearn.metrics import log_loss, precision_score, recall_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ctrain import Classifier
from ctrain.losses import LogLoss


def main(epochs: int = 60) -> dict[str, dict[str, float]]:
    X, y = make_classification(
        6000, 20, n_informative=8, weights=[0.95], class_sep=0.8, flip_y=0.02, random_state=0
    )
    y = np.array(["normal", "rare"])[y]
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.4, stratify=y, random_state=0)
    answers = {}
    for name, parameters in {
        "all rows alike": {},
        "balanced": {"class_weight": "balanced"},
        "smoothed": {"loss": LogLoss(label_smoothing=0.05)},
    }.items():
        network = Classifier(
            (64,), batch_size=64, max_iter=epochs, learning_rate_init=3e-3, random_state=0,
            metrics=["roc_auc"], **parameters,
        )  # fmt: skip
        model = make_pipeline(StandardScaler(), network).fit(X, y)
        found = model.predict(X_test)
        answers[name] = {
            "share found": recall_score(y_test, found, pos_label="rare"),
            "share right": precision_score(y_test, found, pos_label="rare"),
            "log loss": log_loss(y_test, model.predict_proba(X_test)),
            "ROC AUC in training": network.history_["validation_roc_auc"][network.best_epoch_ - 1],
        }
        numbers = ", ".join(f"{key} {value:.3f}" for key, value in answers[name].items())
        print(f"{name}: {numbers} ({network.n_iter_} epochs)")
    return answers


if __name__ == "__main__":
    main()
