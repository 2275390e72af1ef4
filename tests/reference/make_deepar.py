"""DeepAR by neuralforecast, the oracle of test_deepar.py.

``python tests/reference/make_deepar.py`` rewrites deepar.npz; it needs torch and neuralforecast
3.3, the tests do not. Weights and windows are made here from names and shapes, so only outputs,
likelihoods and gradients are stored. Everything is float64.
"""

from __future__ import annotations

import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np

STORE = Path(__file__).with_name("deepar.npz")
ROWS = 3
FLOORS = {"student_t": 0.1, "normal": 0.2}  # neuralforecast's
WIDTHS = {"student_t": 3, "normal": 2}
COVARIATES = {"past": 2, "future": 3, "static": 1}
#: label: settings, distribution, input size and horizon, columns of covariates
CASES = {
    "plain": ({"hidden_size": 5}, "student_t", (9, 4), {}),
    "one layer": ({"hidden_size": 4, "num_layers": 1}, "normal", (6, 3), {}),
    "one step": ({"hidden_size": 4}, "student_t", (5, 1), {}),
    "covariates": ({"hidden_size": 5}, "student_t", (7, 4), COVARIATES),
    "decoder": (
        {"hidden_size": 4, "decoder_hidden_layers": 2, "decoder_hidden_size": 6},
        "normal",
        (7, 4),
        {"future": 2},
    ),
}


def weights(label: str, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """A parameter by its name and shape in ctrain."""
    rng = np.random.RandomState(zlib.crc32(f"{label} {name}".encode()))
    return rng.uniform(-0.8, 0.8, shape)


def windows(label: str) -> dict[str, np.ndarray]:
    """Inputs of a case by their names in ctrain, with what comes."""
    _, _, (steps, horizon), columns = CASES[label]
    rng = np.random.RandomState(zlib.crc32(label.encode()))
    shapes = {"past": (steps,), "future": (steps + horizon,), "static": ()}
    made = {"past_y": rng.uniform(-1, 2, (ROWS, steps))}
    for name, n in columns.items():
        made[name] = rng.uniform(-1, 1, (ROWS, *shapes[name], n))
    return {**made, "future_y": rng.uniform(-1, 2, (ROWS, horizon))}


def parameters(label: str) -> list[tuple[str, str, tuple[int, ...]]]:
    """Name in ctrain, name in neuralforecast, shape in ctrain."""
    settings, law, _, columns = CASES[label]
    hidden, found = settings["hidden_size"], []
    for k in range(settings.get("num_layers", 2)):
        n_in = 1 + sum(columns.values()) if k == 0 else hidden
        for what, shape in (("weight_ih", (n_in, 4 * hidden)), ("weight_hh", (hidden, 4 * hidden)),
                            ("bias", (4 * hidden,))):  # fmt: skip
            theirs = f"hist_encoder.{what.replace('bias', 'bias_ih')}_l{k}"
            found.append((f"lstm.{what}_l{k}", theirs, shape))
    n_hidden = settings.get("decoder_hidden_layers", 0)
    sizes = [hidden, *[settings.get("decoder_hidden_size", 0)] * n_hidden, WIDTHS[law]]
    for k, shape in enumerate(pairwise(sizes)):
        found.append((f"decoder_{k}.weight", f"decoder.layers.{3 * k}.weight", shape))
        found.append((f"decoder_{k}.bias", f"decoder.layers.{3 * k}.bias", shape[1:]))
    return found


def model_of(label: str):
    """neuralforecast's model with these weights."""
    import torch
    from neuralforecast.losses.pytorch import DistributionLoss
    from neuralforecast.models import DeepAR

    settings, law, (steps, horizon), columns = CASES[label]
    names = {key: [f"{key}{i}" for i in range(columns.get(key, 0))] for key in COVARIATES}
    model = DeepAR(
        h=horizon, input_size=steps - 1,  # it takes one more
        h_train=horizon,
        lstm_n_layers=settings.get("num_layers", 2), lstm_hidden_size=settings["hidden_size"],
        decoder_hidden_layers=settings.get("decoder_hidden_layers", 0),
        decoder_hidden_size=settings.get("decoder_hidden_size", 0),
        hist_exog_list=names["past"], futr_exog_list=names["future"],
        stat_exog_list=names["static"],
        loss=DistributionLoss({"student_t": "StudentT", "normal": "Normal"}[law]),
    ).double().eval()  # fmt: skip
    of = dict(model.named_parameters())
    with torch.no_grad():
        for name, theirs, shape in parameters(label):
            of[theirs].copy_(torch.tensor(weights(label, name, shape).T))
            if "bias_ih" in theirs:
                of[theirs.replace("bias_ih", "bias_hh")].zero_()
    return model, of


def main() -> None:
    import torch

    store = {}
    for label, (_, _, (steps, horizon), columns) in CASES.items():
        model, of = model_of(label)
        given = {k: torch.tensor(v) for k, v in windows(label).items()}
        whole = torch.cat((given["past_y"], given["future_y"][:, :-1]), 1)[..., None]
        batch = dict.fromkeys(("hist_exog", "futr_exog", "stat_exog"))
        if "past" in columns:
            rest = torch.zeros(ROWS, horizon, columns["past"], dtype=torch.float64)
            batch["hist_exog"] = torch.cat((given["past"][:, 1:], rest), 1)
        if "future" in columns:
            batch["futr_exog"] = given["future"][:, 1:]
        if "static" in columns:
            batch["stat_exog"] = given["static"]
        raw = model({"insample_y": whole, **batch})
        ones = torch.ones(ROWS, 1, 1, dtype=torch.float64)
        columns_of = model.loss.scale_decouple(model.loss.domain_map(raw), 0 * ones, ones)
        law = model.loss.get_distribution(columns_of)
        (-law.log_prob(given["future_y"][..., None])).mean().backward()
        store[f"{label}: raw"] = raw.detach().numpy()
        for name, theirs, _ in parameters(label):
            store[f"{label}: {name}"] = of[theirs].grad.numpy().T
        model.scaler.x_scale, model.scaler.x_shift = ones[..., None], 0 * ones[..., None]
        with torch.no_grad():  # without what comes: the mean is fed back
            store[f"{label}: alone"] = model._validate_step_recurrent_batch(
                insample_y=whole[:, :steps], insample_mask=torch.ones_like(whole[:, :steps]),
                y_idx=0, **batch,
            ).numpy()  # fmt: skip
    np.savez_compressed(STORE, **store)


if __name__ == "__main__":
    main()
