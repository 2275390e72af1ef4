"""Layers over sequences: ctrain and PyTorch train the same network on the same data."""

from __future__ import annotations

from .contest import NAMES, Bench
from .page import RATIO_HEAD, table, us, verdict

OURS, THEIRS = "sequences_with_ctrain", "sequences_with_torch"

#: family: work, layer and what it is told, threads, ratio asked
WORKS = {
    "recurrent": [
        ("LSTM 1-128-128", "lstm", {"sizes": [1, 128, 128], "time": 168, "batch": 256}, 1, 1.9),
        ("LSTM 1-128-128", "lstm", {"sizes": [1, 128, 128], "time": 168, "batch": 256}, 2, 1.9),
        ("GRU 1-128-128", "gru", {"sizes": [1, 128, 128], "time": 168, "batch": 256}, 1, 2.1),
        ("GRU 1-128-128", "gru", {"sizes": [1, 128, 128], "time": 168, "batch": 256}, 2, 2.1),
    ],
    "convolution": [
        (
            "TCN of 5 layers, 1-128, taps 2, dilations 1-16",
            "tcn",
            {"channels": 128, "taps": 2, "dilations": [1, 2, 4, 8, 16], "time": 168, "batch": 256},
            2,
            1.5,
        ),
    ],
}


def sequences(bench: Bench) -> str:
    """A step of each: forward, loss of a linear map of the last state, backward, AdamW."""
    rows = [(*RATIO_HEAD, "arithmetic")]
    for works in WORKS.values():
        rows += [_row(bench, *work) for work in works]
    own = {"sizes": [1, 128], "time": 168, "batch": 256}
    (fused, basic), infos = bench.compare((OURS, 2, "lstm", own), (OURS, 2, "own_lstm", own))
    _same("the own cell", infos)
    cell = table(
        ("step of LSTM 1-128, T 168, batch 256, 2 threads", "ctrain", "longer", "asked", "ok"),
        ("the layer", us(fused), "1.00x", "-", "-"),
        ("examples/own_cell.py, from basic operations", us(basic), f"{basic / fused:.2f}x", "3x",
         verdict(basic, 3 * fused, below=True)),
    )  # fmt: skip
    return (
        "Whole optimizer steps of a layer with a linear map of what it says of the last step, mean "
        "squared error, the same weights at the start. *Arithmetic*: the multiply-adds of forward "
        f"and backward at the peak of the cores.\n\n{table(*rows)}\n\n{cell}"
    )


def _row(bench: Bench, work: str, layer: str, args: dict, threads: int, asked: float) -> tuple:
    (ours, time, peak), infos = bench.compare(
        (OURS, threads, layer, args),
        (THEIRS, threads, layer, args),
        ("native", threads, "peak", {"dtype": "float32"}),
    )
    _same(work, infos[:2])
    return (
        f"{work}, T {args['time']}, batch {args['batch']}", threads, NAMES["with_torch"], us(ours),
        us(time), f"{time / ours:.2f}x", f"{asked}x", verdict(time / ours, asked),
        us(infos[0]["flops"] * peak),
    )  # fmt: skip


def _same(work: str, infos: list[dict]) -> None:
    losses = [info["loss"] for info in infos]
    if abs(losses[0] - losses[1]) > 1e-4 * losses[1]:
        raise RuntimeError(f"{work}: not the same network: losses at the start are {losses}")
