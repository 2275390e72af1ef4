"""Trajectories of PyTorch's optimizers, the oracle of test_optimizers.py.

``python tests/reference/make_optimizers.py`` rewrites optimizers.npz; it needs torch, the tests
do not. The problem pulls each weight to a target of its own, with a little curvature and a
disturbance that never ends: gradients stay away from zero, so that rounding errors die out
instead of growing and 1e-12 means something after a thousand steps.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

STORE = Path(__file__).with_name("optimizers.npz")
STEPS = (1, 2, 10, 100, 1000)
SIZE = 37  # whole vectors and a tail on every target
_i = np.arange(SIZE)
START = (3.0 + _i / 8) * np.where(_i % 3 == 0, -1.0, 1.0)

#: label: name of the optimizer, its parameters, learning rate
CASES = {
    "sgd": ("sgd", {}, 0.05),
    "sgd decay": ("sgd", {"weight_decay": 0.1}, 0.05),
    "sgd momentum": ("sgd", {"momentum": 0.9}, 0.01),
    "sgd dampening": ("sgd", {"momentum": 0.9, "dampening": 0.5}, 0.02),
    "sgd nesterov": ("sgd", {"momentum": 0.9, "nesterov": True}, 0.01),
    "sgd nesterov decay": (
        "sgd",
        {"momentum": 0.8, "nesterov": True, "weight_decay": 0.05},
        0.02,
    ),
    "adam": ("adam", {}, 0.01),
    "adam fast": ("adam", {"betas": (0.8, 0.95)}, 0.01),
    "adam low beta": ("adam", {"betas": (0.3, 0.9)}, 0.01),
    "adam decay": ("adam", {"weight_decay": 0.1}, 0.01),
    "adam amsgrad": ("adam", {"amsgrad": True, "betas": (0.9, 0.99)}, 0.01),
    "adam eps": ("adam", {"eps": 1e-2}, 0.02),
    "adamw": ("adamw", {}, 0.01),
    "adamw decay": ("adamw", {"weight_decay": 0.5}, 0.01),
    "adamw no decay": ("adamw", {"weight_decay": 0.0}, 0.01),
    "adamw amsgrad": ("adamw", {"amsgrad": True, "weight_decay": 0.1}, 0.02),
    "adamw fast": ("adamw", {"betas": (0.95, 0.95), "eps": 1e-6}, 0.005),
    "rmsprop": ("rmsprop", {}, 0.01),
    "rmsprop fast": ("rmsprop", {"alpha": 0.9, "eps": 1e-4}, 0.005),
    "rmsprop momentum": ("rmsprop", {"momentum": 0.9}, 0.002),
    "rmsprop centered": ("rmsprop", {"centered": True}, 0.005),
    "rmsprop all": (
        "rmsprop",
        {"centered": True, "momentum": 0.5, "weight_decay": 0.1},
        0.002,
    ),
    "adagrad": ("adagrad", {}, 0.5),
    "adagrad lr_decay": ("adagrad", {"lr_decay": 0.01}, 0.5),
    "adagrad initial": ("adagrad", {"initial_accumulator_value": 2.0}, 0.5),
    "adagrad all": (
        "adagrad",
        {"lr_decay": 0.001, "weight_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-6},
        0.5,
    ),
}


def gradient(weights: np.ndarray, t: int) -> np.ndarray:
    """Gradient of the problem at step t, in float64."""
    target = np.sign(START) * (1.0 + _i / 16)
    pull = (0.5 + _i / 16) * (weights - target) + 0.2 * np.cos(weights + _i)
    return pull + ((7919 * t + 104729 * _i) % 1009) / 1009 - 0.5


def trajectory(name: str, parameters: dict, lr: float, dtype: str) -> np.ndarray:
    """Weights after each of STEPS, shape (len(STEPS), SIZE)."""
    import torch

    classes = {
        "sgd": torch.optim.SGD,
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "rmsprop": torch.optim.RMSprop,
        "adagrad": torch.optim.Adagrad,
    }
    weights = torch.tensor(START.astype(dtype), requires_grad=True)
    optimizer = classes[name]([weights], lr=lr, foreach=False, **parameters)
    kept = []
    for t in range(1, STEPS[-1] + 1):
        data = gradient(weights.detach().numpy().astype("float64"), t)
        weights.grad = torch.tensor(data.astype(dtype))
        optimizer.step()
        if t in STEPS:
            kept.append(weights.detach().numpy().copy())
    return np.array(kept)


def main() -> None:
    """Write the store."""
    import torch

    torch.set_num_threads(1)
    kept = {"torch": np.array(torch.__version__)}
    for label, case in CASES.items():
        for dtype in ("float64", "float32"):
            kept[f"{label} {dtype}"] = trajectory(*case, dtype)
    np.savez_compressed(STORE, **kept)


if __name__ == "__main__":
    main()
