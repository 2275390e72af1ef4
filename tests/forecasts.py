"""Series and small networks for the tests of `Forecaster`."""

from __future__ import annotations

import numpy as np

from ctrain import Forecaster
from ctrain.models import (
    GRU,
    LSTM,
    MLP,
    NBEATS,
    NHITS,
    RNN,
    TCN,
    TFT,
    DeepAR,
    DLinear,
    NLinear,
    PatchTST,
    TiDE,
    TSMixer,
    VanillaTransformer,
    iTransformer,
)

HORIZON, INPUT_SIZE = 4, 8
TWO = ((8, 8), (8, 8))

#: each architecture, small
SMALL = {
    "nlinear": NLinear(),
    "dlinear": DLinear(moving_avg_window=3),
    "mlp": MLP((8,)),
    "nbeats": NBEATS(mlp_units=TWO),
    "nhits": NHITS(mlp_units=TWO),
    "tide": TiDE(hidden_size=8, decoder_output_dim=2, temporal_decoder_dim=4),
    "tcn": TCN(dilations=(1, 2), encoder_hidden_size=4, decoder_hidden_size=4),
    "rnn": RNN(hidden_size=4, decoder_hidden_size=16),
    "lstm": LSTM(hidden_size=4, decoder_hidden_size=16),
    "gru": GRU(hidden_size=4, num_layers=1, recurrent=True),
    "patchtst": PatchTST(2, 2, 8, 8, patch_len=4, stride=2),
    "tft": TFT(hidden_size=4, n_head=2),
    "vanillatransformer": VanillaTransformer(hidden_size=4, n_head=2, conv_hidden_size=4),
    "tsmixer": TSMixer(n_block=1, ff_dim=4, dropout=0.1),
    "deepar": DeepAR(hidden_size=4, num_layers=1, trajectory_samples=5),
    "itransformer": iTransformer(hidden_size=8, n_heads=2, e_layers=1, d_ff=8),
}
#: models that read no covariates, or not all three kinds
TAKES_NOT_ALL = (
    "nlinear",
    "dlinear",
    "nbeats",
    "patchtst",
    "vanillatransformer",
    "tsmixer",
    "itransformer",
)
TAKES_COVARIATES = tuple(name for name in SMALL if name not in TAKES_NOT_ALL)


def frame(n_series=3, n_rows=60, seed=0):
    """A dict of arrays: seasonal series of different levels, with covariates."""
    rng = np.random.default_rng(seed)
    t = np.arange(n_rows)
    names = [f"s{i}" for i in range(n_series)]
    y = np.stack([
        10.0 * (i + 1) + np.sin(2 * np.pi * t / 7 + i) + 0.1 * rng.normal(size=n_rows)
        for i in range(n_series)
    ])  # fmt: skip
    stamps = np.datetime64("2024-01-01") + t
    return {
        "unique_id": np.repeat(names, n_rows),
        "ds": np.tile(stamps, n_series),
        "y": y.reshape(-1),
        "promo": rng.integers(0, 2, n_series * n_rows).astype(float),
        "sold": rng.normal(size=n_series * n_rows),
        "area": np.repeat(rng.normal(size=n_series), n_rows),
    }


COVARIATES = {"futr_exog": ("promo",), "hist_exog": ("sold",), "stat_exog": ("area",)}


def forecaster(model="nlinear", **parameters):
    """A forecaster of a few steps, always the same."""
    model = SMALL[model] if isinstance(model, str) else model
    given = {"horizon": HORIZON, "input_size": INPUT_SIZE, "max_steps": 6, "batch_size": 16,
             "learning_rate_init": 0.01, "random_state": 0, "n_jobs": 1} | parameters  # fmt: skip
    return Forecaster(model, **given)


def weights(fc):
    """All weights of a fitted forecaster as bytes."""
    return b"".join(p.value.tobytes() for p in fc._network.parameters)


def bits(answer):
    """What a forecaster answered, as bytes by column."""
    if isinstance(answer, np.ndarray):
        return answer.tobytes()
    columns = answer if isinstance(answer, dict) else {c: answer[c] for c in answer.columns}
    return {name: np.asarray(values).tobytes() for name, values in columns.items()}
