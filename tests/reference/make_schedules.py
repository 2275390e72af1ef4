"""Learning rates of PyTorch's schedulers, the oracle of test_schedule_values.py.

``python tests/reference/make_schedules.py`` rewrites schedules.npz; it needs torch, the tests do
not. A scheduler is stepped after each optimizer step, the plateau after each number it is shown.
"""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np

STORE = Path(__file__).with_name("schedules.npz")
BASE = 0.3
STEPS = 60

#: label: name of the schedule, its parameters, steps of the fit; durations are steps
CASES = {
    "step": ("step", {"step_size": 7, "gamma": 0.5}, None),
    "step of one": ("step", {"step_size": 1, "gamma": 0.9}, None),
    "exponential": ("exponential", {"gamma": 0.93}, None),
    "cosine": ("cosine", {}, STEPS),
    "cosine above zero": ("cosine", {"eta_min": 0.01}, STEPS),
    "restarts": ("cosine_restarts", {"t_0": 8}, None),
    "restarts of one": ("cosine_restarts", {"t_0": 1}, None),
    "restarts growing": ("cosine_restarts", {"t_0": 4, "t_mult": 2, "eta_min": 0.001}, None),
    "restarts tripling": ("cosine_restarts", {"t_0": 1, "t_mult": 3}, None),
    "warm-up cosine": ("warmup_cosine", {"warmup": 7}, STEPS),
    "warm-up cosine of one": ("warmup_cosine", {"warmup": 1, "eta_min": 0.002}, STEPS),
    "warm-up linear": ("warmup_linear", {"warmup": 9}, STEPS),
    "warm-up linear above zero": ("warmup_linear", {"warmup": 20, "eta_min": 0.1}, STEPS),
    "one cycle": ("one_cycle", {}, STEPS),
    "one cycle, peak between steps": ("one_cycle", {"pct_start": 0.2}, 57),
    "one cycle, late": ("one_cycle", {"pct_start": 0.9, "div_factor": 10.0}, STEPS),
    "one cycle, straight": (
        "one_cycle",
        {"anneal_strategy": "linear", "final_div_factor": 100.0},
        STEPS,
    ),
}

NAN = float("nan")
_FALL = [3.0, 2.0, 1.0, 1.0, 0.99999, 1.5, 0.5, 0.5, 0.50001, 0.4999, 2.0, 2.0, 2.0, 2.0, 0.1]
#: numbers shown to the plateau; the first script has NaN at every position in turn
SCRIPTS = np.array(
    [
        _FALL,
        *([*_FALL[:i], NAN, *_FALL[i + 1 :]] for i in range(len(_FALL))),
        [NAN] * 15,
        [1.0] * 15,
        [-1.0 - 0.00004 * i for i in range(15)],
        [0.0, -1.0, -1.0, -0.9999, -1.1, NAN, NAN, -1.0, 0.0, 0.0, 0.0, 0.0, -9.0, 0.0, 0.0],
        [float("inf"), float("inf"), 5.0, float("-inf"), 1.0, -9.0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
)
PLATEAUS = {
    f"{mode} {threshold_mode} patience {patience} cooldown {cooldown} {sorted(more.items())}": {
        "mode": mode,
        "threshold_mode": threshold_mode,
        "patience": patience,
        "cooldown": cooldown,
        **more,
    }
    for mode, threshold_mode, patience, cooldown, more in product(
        ("min", "max"),
        ("rel", "abs"),
        (0, 1, 3),
        (0, 2),
        ({}, {"factor": 0.5, "threshold": 0.3, "min_lr": 0.05}, {"eps": 0.01}),
    )
}


def scheduler(name: str, p: dict, total: int | None, optimizer):
    """PyTorch's scheduler with the meaning of ours."""
    from torch.optim import lr_scheduler as torch_schedules

    if name == "step":
        return torch_schedules.StepLR(optimizer, p["step_size"], p["gamma"])
    if name == "exponential":
        return torch_schedules.ExponentialLR(optimizer, p["gamma"])
    if name == "cosine":
        return torch_schedules.CosineAnnealingLR(optimizer, total, p.get("eta_min", 0.0))
    if name == "cosine_restarts":
        return torch_schedules.CosineAnnealingWarmRestarts(
            optimizer, p["t_0"], p.get("t_mult", 1), p.get("eta_min", 0.0)
        )
    if name == "one_cycle":
        return torch_schedules.OneCycleLR(
            optimizer, max_lr=BASE, total_steps=total, cycle_momentum=False, **p
        )
    warmup, eta_min = p["warmup"], p.get("eta_min", 0.0)
    rise = torch_schedules.LinearLR(optimizer, 1 / (warmup + 1), total_iters=warmup)
    if name == "warmup_cosine":
        descent = torch_schedules.CosineAnnealingLR(optimizer, total - warmup, eta_min)
    else:
        descent = torch_schedules.LinearLR(optimizer, 1.0, eta_min / BASE, total - warmup)
    return torch_schedules.SequentialLR(optimizer, [rise, descent], [warmup])


def main() -> None:
    """Write the store."""
    import torch

    def fresh():
        return torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=BASE)

    kept = {"torch": np.array(torch.__version__)}
    for label, (name, parameters, total) in CASES.items():
        optimizer = fresh()
        schedule = scheduler(name, parameters, total, optimizer)
        rates = []
        for _ in range(total or STEPS):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        if name != "one_cycle":  # which has no rate beyond its length
            rates.append(optimizer.param_groups[0]["lr"])
        kept[label] = np.array(rates)
    for label, parameters in PLATEAUS.items():
        rates = np.empty(SCRIPTS.shape)
        for i, script in enumerate(SCRIPTS):
            optimizer = fresh()
            schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, **parameters)
            for j, value in enumerate(script):
                optimizer.step()
                schedule.step(value)
                rates[i, j] = optimizer.param_groups[0]["lr"]
        kept[label] = rates
    np.savez_compressed(STORE, **kept)


if __name__ == "__main__":
    main()
