"""How numbers become a page: sections, tables, units, whether what was asked is reached."""

from __future__ import annotations

import os
from pathlib import Path

RATIO_HEAD = ("work", "threads", "rival", "ctrain", "rival's time", "ratio", "asked", "ok")


def table(*rows: tuple) -> str:
    """A Markdown table; the first row is the head."""
    cells = [[str(c) for c in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def us(seconds: float) -> str:
    return f"{seconds * 1e6:,.{2 if seconds < 1e-4 else 0}f} us"


def verdict(measured: float, asked: float, below: bool = False) -> str:
    return "yes" if (measured <= asked if below else measured >= asked) else "**no**"


def processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return os.uname().machine


def sections(page: Path) -> dict[str, str]:
    """Sections of a page that may be there, by title."""
    parts = page.read_text().split("\n## ")[1:] if page.exists() else []
    return {part.partition("\n")[0]: f"## {part}" for part in parts}
