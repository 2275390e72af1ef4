"""ctrain and PyTorch on a block of attention: time, and what its memory grows with."""

from __future__ import annotations

from .contest import Bench
from .page import RATIO_HEAD, table, us, verdict

SIZE, HEADS, BATCH = 128, 16, 256
STEPS = (42, 336)
WAYS = ("MultiheadAttention", "scaled_dot_product_attention")


def attention(bench: Bench) -> str:
    """Positions, projections, attention and projection, forward and backward."""
    rows = [(*RATIO_HEAD, *WAYS)]
    for time in STEPS:
        work = {"time": time, "size": SIZE, "heads": HEADS, "batch": BATCH}
        (ours, *theirs), infos = bench.compare(
            ("attention_with_ctrain", 2, "block", work),
            *(("attention_with_torch", 2, "block", work | {"way": way}) for way in WAYS),
        )
        sums = [info["checked"] for info in infos]
        if max(sums) - min(sums) > 1e-3 * abs(sums[0]):
            raise RuntimeError(f"attention over {time} steps: not the same block: {sums}")
        best = min(theirs)
        rows.append((
            f"{HEADS} heads of {SIZE // HEADS}, {time} steps, batch {BATCH}", 2, "PyTorch, best",
            us(ours), us(best), f"{best / ours:.2f}x", "1.5x", verdict(best / ours, 1.5),
            *(us(t) for t in theirs),
        ))  # fmt: skip
    lines = [("steps", "workspace of a step", "over the row before", "matrices of times, if kept")]
    before = None
    for time in (84, 168, 336, 672):
        work = {"time": time, "size": SIZE, "heads": HEADS, "batch": 1}
        found = bench.once("attention_with_ctrain", 2, "block", work)["workspace"]
        lines.append((
            time, f"{found * 1e-6:.2f} MB", "-" if before is None else f"{found / before:.2f}x",
            f"{HEADS * time**2 * 4e-6:.2f} MB",
        ))  # fmt: skip
        before = found
    return (
        "Self-attention of sequences plus learned positions, float32; gradients of all weights, "
        "the positions among them. The sums of these gradients agree.\n\n"
        f"{table(*rows)}\n\nMemory of one row:\n\n{table(*lines)}"
    )
