"""Likelihoods by PyTorch and neuralforecast, the oracle of test_distributions.py.

``python tests/reference/make_distributions.py`` rewrites distributions.npz; it needs torch and
neuralforecast 3.3, the tests do not. Inputs are made here from names and shapes, so only
likelihoods and gradients are stored. Everything is float64.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np

STORE = Path(__file__).with_name("distributions.npz")
ROWS, STEPS = 5, 6
WIDTHS = {"normal": 2, "student_t": 3, "poisson": 1, "negative_binomial": 2}
#: label: distribution, whether a window scales it
CASES = {
    f"{name}{' scaled' * scaled}": (name, scaled) for name in WIDTHS for scaled in (False, True)
}
FLOORS = {"normal": 0.2, "student_t": 0.1}  # neuralforecast's


def made(label: str) -> dict[str, np.ndarray]:
    """Raw outputs, targets, and location and scale of the windows of a case."""
    name, scaled = CASES[label]
    rng = np.random.RandomState(zlib.crc32(label.encode()))
    width = (WIDTHS[name],) if WIDTHS[name] > 1 else ()
    arrays = {"raw": rng.uniform(-2, 3, (ROWS, STEPS, *width))}
    arrays["y"] = rng.uniform(-4, 6, (ROWS, STEPS))
    if name in ("poisson", "negative_binomial"):
        arrays["y"] = np.float64(rng.poisson(rng.gamma(0.8, 9.0, (ROWS, STEPS))))
    if scaled:
        arrays |= {
            "location": rng.uniform(0, 9, (ROWS, 1)),
            "scale": rng.uniform(0.5, 4, (ROWS, 1)),
        }
    return arrays


def main() -> None:
    import torch
    from neuralforecast.losses.pytorch import DistributionLoss
    from torch.nn.functional import softplus

    store = {}
    for label, (name, scaled) in CASES.items():
        given = {k: torch.tensor(v) for k, v in made(label).items()}
        raw = given["raw"].requires_grad_()
        loc, scale = given.get("location"), given.get("scale")
        if name in FLOORS:
            theirs = DistributionLoss({"normal": "Normal", "student_t": "StudentT"}[name])
            columns = torch.unbind(raw, -1)
            if not scaled:  # without a window neuralforecast has no floor
                loc, scale = torch.zeros(1), torch.ones(1)
            law = theirs.get_distribution(theirs.scale_decouple(columns, loc, scale))
        else:
            first = raw if name == "poisson" else raw[..., 0]
            mean = scale * softplus(first + loc / scale) if scaled else softplus(first)
            if name == "poisson":
                law = torch.distributions.Poisson(mean)
            else:
                dispersion = softplus(raw[..., 1]) + 1e-6
                dispersion = dispersion / (1 + scale) if scaled else dispersion
                law = torch.distributions.NegativeBinomial(
                    1 / dispersion, logits=torch.log(dispersion * mean)
                )
        nll = -law.log_prob(given["y"])
        nll.mean().backward()
        store[f"{label}: nll"] = nll.detach().numpy()
        store[f"{label}: gradient"] = raw.grad.numpy()
        store[f"{label}: mean"] = law.mean.detach().expand(ROWS, STEPS).numpy()
    np.savez_compressed(STORE, **store)


if __name__ == "__main__":
    main()
