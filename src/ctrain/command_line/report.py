"""What a command says: results to stdout, all else to stderr."""

from __future__ import annotations

import importlib.util
import json
import logging
import math
import sys
from collections.abc import Iterable, Mapping

import numpy as np

#: seconds from one line of progress to the next
REFRESH = 0.1
#: characters that are written at a time: an unbuffered pipe whose reader has gone takes a part of
#: a longer text and says nothing
PIECE = 1 << 15


class Interrupted(Exception):
    """Ctrl-C ended a fit; says what became of the model."""


def note(message: str) -> None:
    """Write one line to stderr."""
    sys.stderr.write(f"ctrain {' '.join(message.split())}\n")


def tell(result: Mapping, as_json: bool, lines: Iterable[str] = ()) -> None:
    """Write a result to stdout: the mapping as JSON, or lines for people."""
    text = json.dumps(plain(result), allow_nan=False) if as_json else "\n".join(lines)
    text = f"{text}\n"
    for begin in range(0, len(text), PIECE):
        sys.stdout.write(text[begin : begin + PIECE])


def plain(value):
    """What JSON can say: NaN and infinities are null, time stamps ISO 8601 text."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray) and value.dtype.kind == "M":
        return [None if np.isnat(stamp) else str(stamp) for stamp in value.reshape(-1)]
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str)) else repr(value)


def aligned(rows: Iterable[tuple[str, object]], indent: str = "") -> list[str]:
    """Names and values in two columns; empty values are left out."""
    rows = [(name, text) for name, value in rows if (text := shown(value)) != ""]
    width = max((len(name) for name, _ in rows), default=0)
    return [f"{indent}{name:<{width}}  {text}" for name, text in rows]


def shown(value) -> str:
    """A value as people read it; "" for None."""
    if value is None:
        return ""
    if isinstance(value, (float, np.floating)):
        return f"{value:.6g}"
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return str(value)


class Progress:
    """Shows the epochs of a fit on a terminal, and nothing elsewhere.

    With rich it is scikit-learn's bar, on stdout; without, or where stdout holds the result, a line
    on stderr that is written over.
    """

    def __init__(self, estimator, as_json: bool) -> None:
        self.handler = None
        if not sys.stderr.isatty():
            return
        if sys.stdout.isatty() and not as_json and importlib.util.find_spec("rich"):
            from sklearn.callback import ProgressBar

            estimator.set_callbacks(ProgressBar())
        else:
            estimator.set_params(verbose=1)
            self.handler = _Line()

    def __enter__(self) -> Progress:
        if self.handler is not None:
            logger = logging.getLogger("ctrain")
            self.level = logger.level
            logger.addHandler(self.handler)
            logger.setLevel(logging.INFO)
        return self

    def __exit__(self, *_) -> None:
        if self.handler is not None:
            logger = logging.getLogger("ctrain")
            logger.removeHandler(self.handler)
            logger.setLevel(self.level)
            self.handler.close()


class _Line(logging.StreamHandler):
    """One line of a terminal."""

    terminator = ""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.due = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        if record.created >= self.due:
            self.due = record.created + REFRESH
            super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        return f"\r\x1b[K{super().format(record)}"

    def close(self) -> None:
        self.stream.write("\r\x1b[K")
        self.flush()
        super().close()
