"""Search layers, learning rate and weight decay with scikit-learn's own tools."""

from __future__ import annotations

from sklearn.compose import TransformedTargetRegressor
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ctrain import Regressor
from ctrain.optimizers import AdamW


def main(epochs: int = 40, folds: int = 5) -> GridSearchCV:
    X, y = load_diabetes(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.25, random_state=0)
    network = Regressor(optimizer=AdamW(), max_iter=epochs, batch_size=32, random_state=0)
    model = TransformedTargetRegressor(
        make_pipeline(StandardScaler(), network), transformer=StandardScaler()
    )
    prefix = "regressor__regressor__"
    search = GridSearchCV(
        model,
        {
            f"{prefix}hidden_layer_sizes": [(), (16,), (32, 32)],
            f"{prefix}learning_rate_init": [1e-3, 1e-2],
            f"{prefix}optimizer__weight_decay": [0.01, 1.0],
        },
        cv=folds,
    )
    search.fit(X, y)
    for name, value in search.best_params_.items():
        print(f"{name.removeprefix(prefix)}: {value}")
    print(f"R2 in cross-validation {search.best_score_:.3f}, "
          f"on new patients {search.score(X_test, y_test):.3f}")  # fmt: skip
    return search


if __name__ == "__main__":
    main()
