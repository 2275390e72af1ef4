"""ctrain beside PyTorch, JAX, scikit-learn and neuralforecast, and beside what the machine can do.

Every library runs in a process of its own for each number of threads; one works at a time, in
turns of a fraction of a second, so that all see the same machine. A number is the median over the
rounds. It writes ``docs/benchmarks.md``, with ``--only`` those sections of it; ``--quick`` prints
alone.
"""

from __future__ import annotations

import argparse
import os
from datetime import date
from importlib.metadata import version
from pathlib import Path

import numpy as np
from peer import native, problem
from peer.attention import attention
from peer.contest import NAMES, Bench
from peer.forecasting import forecast
from peer.page import RATIO_HEAD, processor, sections, table, us, verdict
from peer.sequences import sequences

PAGE = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
RIVALS = ("with_torch", "with_jax", "with_sklearn")


def machine(bench: Bench) -> str:
    (one, both, double, copied), _ = bench.compare(
        ("native", 1, "peak", {"dtype": "float32"}),
        ("native", 2, "peak", {"dtype": "float32"}),
        ("native", 1, "peak", {"dtype": "float64"}),
        ("native", 2, "copy", {"size": 2**28}),
    )
    return table(
        ("limit of the machine", "measured"),
        ("multiply-adds, float32, one core", f"{1e-9 / one:,.1f} GFLOP/s"),
        ("multiply-adds, float32, two cores", f"{1e-9 / both:,.1f} GFLOP/s"),
        ("multiply-adds, float64, one core", f"{1e-9 / double:,.1f} GFLOP/s"),
        ("copy of 256 MB, two cores, bytes read + written", f"{1e-9 / copied:,.1f} GB/s"),
    )


def gemm(bench: Bench) -> str:
    """One core; beside it SciPy's BLAS, and the peak measured in the same rounds."""
    sizes = [
        (16, 128, 128), (32, 128, 128), (64, 128, 128), (64, 256, 256), (128, 512, 512),
        (256, 512, 512), (512, 1024, 1024),
    ]  # fmt: skip
    rows = [("m x k x n", "form", "ctrain", "of the peak", "SciPy's BLAS", "asked", "ok")]
    for m, k, n in sizes:
        asked = 0.88 if n == 1024 else 0.93
        flops = 2.0 * m * k * n
        for form in ("plain", "A transposed", "B transposed"):
            args = {"m": m, "k": k, "n": n, "form": form}
            (ours, blas, peak), _ = bench.compare(
                ("with_ctrain", 1, "gemm", args),
                ("with_sklearn", 1, "gemm", args),
                ("native", 1, "peak", {"dtype": "float32"}),
            )
            share = flops / ours * peak
            # nothing beats the peak: another process has taken the core from one of the two
            valid = max(share, flops / blas * peak) <= 1.03
            ok = verdict(share, asked) if valid else "**invalid: above the peak**"
            rows.append((
                f"{m} x {k} x {n}", form, f"{1e-9 * flops / ours:.1f} GFLOP/s", f"{share:.1%}",
                f"{1e-9 * flops / blas:.1f}", f"{asked:.0%}", ok,
            ))  # fmt: skip
    return table(*rows)


def steps(bench: Bench) -> str:
    works = [
        ([10, 64, 1], 32, 1, (70, 7, 35)),
        ([10, 64, 1], 32, 2, (70, 7, 35)),
        ([64, 128, 64, 1], 32, 1, (10, 2, 8)),
        ([64, 128, 64, 1], 32, 2, (20, 4.5, 13)),
        ([128, 512, 512, 1], 256, 2, 1.3),
        ([512, 1024, 1024, 1], 512, 2, 1.15),
    ]
    rows = [RATIO_HEAD]
    losses = [("network, batch", "rows", *(NAMES[m] for m in ("with_ctrain", *RIVALS)))]
    for layers, batch, threads, asked in works:
        args = {"layers": layers, "batch": batch, "rows": 8192}
        (ours, *times), infos = bench.compare(
            *((m, threads, "step", args) for m in ("with_ctrain", *RIVALS))
        )
        work = f"step of {_net(layers)}, batch {batch}"
        if isinstance(asked, tuple):
            pairs = zip(RIVALS, times, asked, strict=True)
        else:
            best = int(np.argmin(times))
            pairs = [(RIVALS[best], times[best], asked)]
            work += ", best of all"
        for module, time, ratio in pairs:
            rows.append((
                work, threads, NAMES[module], us(ours), us(time), f"{time / ours:.2f}x",
                f"{ratio}x", verdict(time / ours, ratio),
            ))  # fmt: skip
        if infos[0]["longest_gradient"] >= problem.CLIP_NORM:
            raise RuntimeError(f"{work}: a gradient was clipped; the libraries do not agree")
        losses.append((
            f"{_net(layers)}, {batch}, {threads} threads", 8192,
            *(f"{info['loss']:.6f}" for info in infos),
        ))  # fmt: skip
    return (
        table(*rows)
        + "\n\nMean squared error of all rows after the first epoch:\n\n"
        + table(*losses)
    )


def fits(bench: Bench) -> str:
    """``fit`` as a user calls it, so that nothing around the steps is hidden."""
    rows = [RATIO_HEAD[:-2]]
    for layers, threads in (([10, 64, 1], 1), ([64, 128, 64, 1], 1), ([64, 128, 64, 1], 2)):
        args = {"layers": layers, "batch": 32, "rows": 8192, "epochs": 5}
        (ours, time), _ = bench.compare(
            ("with_ctrain", threads, "fit", args), ("with_sklearn", threads, "fit", args)
        )
        rows.append((
            f"fit of {_net(layers)}, 5 epochs of 8192 rows, batch 32, per step", threads,
            "MLPRegressor.fit", us(ours), us(time), f"{time / ours:.2f}x",
        ))  # fmt: skip
    return table(*rows)


def layers(bench: Bench) -> str:
    rows = [RATIO_HEAD]
    for op in ("gelu", "tanh"):
        for threads in (1, 2):
            args = {"op": op, "rows": 1024, "width": 512}
            (ours, time), _ = bench.compare(
                ("with_ctrain", threads, "layer", args), ("with_torch", threads, "layer", args)
            )
            rows.append((
                f"{op}, 1024 x 512, forward + backward", threads, "PyTorch", us(ours), us(time),
                f"{time / ours:.2f}x", "1.5x", verdict(time / ours, 1.5),
            ))  # fmt: skip
    return table(*rows)


def adamw(bench: Bench) -> str:
    """The update alone on both sides, from gradients that are there."""
    args = {"n": 10_000_000}
    (ours, time), _ = bench.compare(
        ("with_ctrain", 2, "adamw", args), ("with_torch", 2, "adamw", args)
    )
    return table(
        (*RATIO_HEAD, "28 bytes a weight"),
        (
            "AdamW over 10 M weights", 2, "PyTorch", us(ours), us(time), f"{time / ours:.2f}x",
            "1.0x", verdict(time / ours, 1.0),
            f"{28e-9 * args['n'] / ours:.1f} GB/s, PyTorch {28e-9 * args['n'] / time:.1f}",
        ),
    )  # fmt: skip


def predict(bench: Bench) -> str:
    net = [64, 128, 64, 1]
    rows = [RATIO_HEAD]
    one = {"layers": net, "rows": 1, "calls": 100}
    for threads in (1, 2):
        (ours, time), _ = bench.compare(
            ("with_ctrain", threads, "predict", one), ("with_sklearn", threads, "predict", one)
        )
        rows.append((
            f"predict one row, {_net(net)}", threads, "MLPRegressor.predict", us(ours), us(time),
            f"{time / ours:.2f}x", "5x", verdict(time / ours, 5),
        ))  # fmt: skip
    many = {"layers": net, "rows": 100_000, "calls": 1}
    (ours, *times), _ = bench.compare(
        ("with_ctrain", 2, "predict", many),
        *(("with_torch", 2, "predict", many | {"chunk": c}) for c in (100_000, 10_000, 2_000)),
    )
    time = min(times)
    rows.append((
        f"predict 100,000 rows, {_net(net)}", 2, "PyTorch, its best chunk", us(ours), us(time),
        f"{time / ours:.2f}x", "2.5x", verdict(time / ours, 2.5),
    ))  # fmt: skip
    return table(*rows)


def scaling(bench: Bench) -> str:
    """Is time linear in work? The line time = a + b * flops has the least relative deviation."""
    parts = []
    batches = [(_square(128), b) for b in (32, 64, 128, 256, 512, 1024, 2048, 4096)]
    widths = [(_square(w), 256) for w in (64, 128, 256, 512, 1024)]
    for threads in (1, 2):
        for what, points in (("batch", batches), ("width", widths)):
            entries = [
                ("with_ctrain", threads, "step",
                 {"layers": net, "batch": b, "rows": max(8192, 2 * b)})
                for net, b in points
            ]  # fmt: skip
            times, infos = [], []
            for entry in entries:
                (time,), (info,) = bench.compare(entry)
                times.append(time)
                infos.append(info)
            flops = np.array([info["flops"] for info in infos])
            fitted, worst = _line(flops, np.array(times))
            rows = [("network, batch", "MFLOP", "step", "GFLOP/s", "beside the line")]
            for (net, b), work, time, guess in zip(points, flops, times, fitted, strict=True):
                rows.append((
                    f"{_net(net)}, {b}", f"{work * 1e-6:,.1f}", us(time),
                    f"{1e-9 * work / time:.1f}", f"{time / guess - 1:+.1%}",
                ))  # fmt: skip
            parts.append(
                f"Against {what}, {threads} thread{'s' * (threads > 1)}: largest deviation "
                f"{worst:.1%}, asked 10 %: {verdict(worst, 0.1, below=True)}.\n\n{table(*rows)}"
            )
    return "\n\n".join(parts)


def memory(bench: Bench) -> str:
    net, batch, rows = [256, 2048, 2048, 1], 256, 20_000
    lines = [("threads", "measured", "stated", "of it workspace", "deviation", "asked", "ok")]
    for threads in (1, 2):
        info = bench.once(
            "with_ctrain", threads, "memory", {"layers": net, "batch": batch, "rows": rows}
        )
        workspace = info["workspace"] + info["order"]
        stated = info["weights"] * (2 + info["slots"] + 1) + workspace
        off = info["measured"] / stated - 1
        lines.append((
            threads, f"{info['measured'] * 1e-6:.1f} MB", f"{stated * 1e-6:.1f} MB",
            f"{workspace * 1e-6:.1f} MB", f"{off:+.1%}", "10%", verdict(abs(off), 0.1, below=True),
        ))  # fmt: skip
    return (
        f"`Regressor.fit` of {_net(net)}, batch {batch}, {rows:,} rows, float32: growth of the "
        "resident set at its peak, over the data, beside weights x (2 + slots + 1 copy) + "
        "workspace.\n\n" + table(*lines)
    )


def ladder(bench: Bench) -> str:
    net, batch, rows = [64, 128, 64, 1], 256, 8192
    c = {"layers": net, "rows": rows, "order_batch": batch}
    ours = {"layers": net, "batch": batch, "rows": rows}
    times, infos = bench.compare(
        ("native", 1, "ladder", c | {"batch": 1}),
        ("native", 1, "ladder", c | {"batch": batch}),
        ("with_ctrain", 1, "step", ours | {"dtype": "float64"}),
        ("with_ctrain", 2, "step", ours | {"dtype": "float64"}),
        ("with_ctrain", 2, "step", ours | {"dtype": "float32"}),
    )
    rungs = ("naive C, sample by sample", f"mini-batch of {batch}", "SIMD", "2 threads", "float32")
    samples = [*times[:2], *(t / batch for t in times[2:])]
    rows_of_table = [("rung", "per sample", "over the rung before", "over the first", "loss")]
    for i, (rung, time, info) in enumerate(zip(rungs, samples, infos, strict=True)):
        rows_of_table.append((
            rung, f"{time * 1e6:.3f} us", f"{samples[max(i - 1, 0)] / time:.2f}x",
            f"{samples[0] / time:.1f}x", f"{info['loss']:.9f}",
        ))  # fmt: skip
    whole = samples[0] / samples[-1]
    flags = " ".join(native.LADDER_FLAGS)
    return (
        f"{_net(net)}, AdamW; the first two rungs are `ladder.c`, float64, `cc {flags}`, the "
        f"others ctrain. Last over first: {whole:.0f}x, asked 150x: {verdict(whole, 150)}. Loss: "
        f"of all rows after one epoch.\n\n{table(*rows_of_table)}"
    )


def _square(width: int) -> list[int]:
    return [width, width, width, 1]


def _net(layers: list[int]) -> str:
    return "-".join(map(str, layers))


def _line(flops: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, float]:
    """``a + b * flops`` with the least squared relative errors over the points above 1 MFLOP."""
    large = flops > 1e6
    design = np.stack([1 / times, flops / times], axis=1)
    a, b = np.linalg.lstsq(design[large], np.ones(large.sum()), rcond=None)[0]
    fitted = a + b * flops
    return fitted, float(np.abs(times / fitted - 1)[large].max())


WORKS = {
    "machine": ("The machine", machine),
    "gemm": ("Matrix products, float32, one core", gemm),
    "steps": ("One optimizer step, float32", steps),
    "fits": ("A whole fit, float32", fits),
    "layers": ("Activations, float32", layers),
    "adamw": ("The update, float32", adamw),
    "predict": ("Prediction, float32", predict),
    "scaling": ("Time against work, float32", scaling),
    "memory": ("Memory", memory),
    "ladder": ("The speed ladder", ladder),
    "sequences": ("Sequences, float32", sequences),
    "forecast": ("Forecasting, float32", forecast),
    "attention": ("Attention, float32", attention),
}

INTRODUCTION = """\
# Benchmarks

Written by `make bench-peers`, or one section of it by `make bench-peers ONLY=forecast`, on
**{cpu}**, {cores} cores: ctrain {ctrain} ({target} kernels), PyTorch {torch}, JAX {jax},
scikit-learn {sklearn}, neuralforecast {neuralforecast}, Python {python}.

The same network (ReLU), data, AdamW and order of rows for all, float32. ctrain's times are those
of whole steps: gathering, forward, loss, backward, norm, clipping, update. JAX (`jit`, `lax.scan`
over an epoch, the gather inside) clips as well; PyTorch (eager, fused AdamW, `index_select`) and
scikit-learn (`partial_fit` of one epoch, divided by its steps; Adam, for it has no AdamW, from
its own initial weights) do not clip and so do a little less. The norm's bound is so high that no
gradient is shortened: ctrain, PyTorch and JAX walk the same way, as their losses show.

Variables that tune libraries (`OPENBLAS_CORETYPE` ...) are removed: each chooses its own kernels.
Each library runs in a process of its own; they take turns of at least {seconds} s in several
rounds, and each number is the median over them. With one thread a process is bound to one core.
*Asked* is what the project set itself; *ratio* is the rival's time over ctrain's.
"""


def introduction(bench: Bench) -> str:
    from ctrain import show_config

    config = show_config()
    return INTRODUCTION.format(
        cpu=processor(), cores=len(os.sched_getaffinity(0)), ctrain=config["ctrain"],
        target=config["target"], torch=version("torch"), jax=version("jax"),
        sklearn=version("scikit-learn"), neuralforecast=version("neuralforecast"),
        python=config["python"], seconds=bench.seconds,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few short rounds; writes nothing")
    parser.add_argument(
        "--only", nargs="+", choices=WORKS, metavar="WORK",
        help=f"some of {', '.join(WORKS)}; the other sections stay as they are",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=None)
    options = parser.parse_args()
    rounds = options.rounds or (3 if options.quick else 11)
    bench = Bench(rounds, 0.05 if options.quick else 0.2)
    parts = sections(PAGE) if options.only else {}
    parts[""] = introduction(bench)
    try:
        (peak,), _ = bench.compare(("native", 1, "peak", {"dtype": "float32"}))
        told = (
            f"Measured on {date.today().isoformat()} in {rounds} rounds, where one core does "
            f"{1e-9 / peak:,.0f} GFLOP/s in float32."
        )
        for name in options.only or WORKS:
            title, work = WORKS[name]
            parts[title] = f"## {title}\n\n{told}\n\n{work(bench)}\n"
            print(parts[title], flush=True)
    finally:
        bench.close()
    if not options.quick:
        titles = ["", *(title for title, _ in WORKS.values())]
        PAGE.write_text("\n".join(parts[title] for title in titles if title in parts))
        print("written to docs/benchmarks.md")


if __name__ == "__main__":
    main()
