"""Loss curves as one inline SVG: no script, no external resource, readable on any background."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping

import numpy as np

WIDTH, HEIGHT = 640, 260  # px
LEFT, RIGHT, TOP, BOTTOM = 84, 24, 34, 40  # margins of the plot
#: both at least 3:1 against white and against #111, and distinct to the colour-blind
COLORS = {"loss": "#3f86cf", "validation_loss": "#d9731f"}
NAMES = {"loss": "training", "validation_loss": "validation"}
BINS = 256  # of the thinned curve: about two pixels each
DOTS = 25  # a curve of up to so many epochs shows them as dots
LARGEST, SMALLEST = 1e300, 1e-300  # what is larger is drawn there: differences stay finite
ALIKE = 1e-9  # relative difference that is drawn as none
LETTERS = 34  # of the vertical axis' label


def finite(history: Mapping, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Epochs and values of a column where it is finite.

    Parameters
    ----------
    history : mapping of str to list of float
        With the column "epoch".
    column : str
        A column that is not there is empty.

    Returns
    -------
    epochs, values : ndarray of shape (n_finite,)
    """
    epochs = np.array(history["epoch"], float)
    values = np.array(history.get(column, [math.nan] * len(epochs)), float)
    kept = np.isfinite(values)
    return epochs[kept], values[kept]


def best_epoch(history: Mapping) -> int | None:
    """Epoch of the smallest validation loss, the first of equal ones; None if none is finite.

    Parameters
    ----------
    history : mapping of str to list of float

    Returns
    -------
    int or None

    Examples
    --------
    >>> from ctrain.curves import best_epoch
    >>> best_epoch({"epoch": [1, 2, 3], "validation_loss": [5.0, 4.0, float("nan")]})
    2
    """
    epochs, values = finite(history, "validation_loss")
    return int(epochs[values.argmin()]) if len(values) else None


def loss_label(loss) -> str:
    """What the axis of the losses says: "loss (huber)" for a name, a Loss or a function."""
    name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
    return f"loss ({printable(name)})"


def thin(x: np.ndarray, y: np.ndarray, bins: int = BINS) -> tuple[np.ndarray, np.ndarray]:
    """Leave out points that a picture of `bins` columns does not show.

    The first, last, smallest and largest point of each column stay, so the lines that are drawn
    cover the same pixels.

    Parameters
    ----------
    x, y : ndarray of shape (n,)
        Finite, x increasing.
    bins : int

    Returns
    -------
    x, y : ndarray of shape (at most 4 * bins,)

    References
    ----------
    Jugel et al., "M4: a visualization-oriented time series data aggregation", VLDB 2014.
    """
    if len(x) <= 4 * bins:
        return x, y
    column = ((x - x[0]) / (x[-1] - x[0]) * bins).astype(int).clip(max=bins - 1)
    starts = np.flatnonzero(np.diff(column, prepend=-1))
    kept = set()
    for start, end in zip(starts, [*starts[1:], len(x)], strict=True):
        part = y[start:end]
        kept |= {start, start + int(part.argmin()), start + int(part.argmax()), end - 1}
    rows = sorted(kept)
    return x[rows], y[rows]


def printable(text) -> str:
    """Text without what XML and fonts cannot show; such characters become '?'."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def is_logarithmic(values: np.ndarray) -> bool:
    """Whether a logarithmic axis shows the values better: positive, over a factor of 10 or more."""
    return bool(len(values) and values.min() > 0 and values.max() / 10 >= values.min())


def curves_svg(history: Mapping, *, best: int | None = None, label: str = "loss") -> str:
    """Draw training and validation loss by epoch.

    Text and axes take the colour of the text around them, so the picture suits light and dark
    themes. Long curves are thinned (:func:`thin`); epochs whose value is not finite are left out.

    Parameters
    ----------
    history : mapping of str to list of float
        The columns "epoch", "loss" and, where rows were held out, "validation_loss".
    best : int, default=None
        Epoch to be marked; None or 0 = :func:`best_epoch`.
    label : str, default="loss"
        What the vertical axis measures.

    Returns
    -------
    str
        One ``<svg>`` element, well-formed XML; empty where no epoch has a finite loss.

    Examples
    --------
    >>> from ctrain.curves import curves_svg
    >>> curves_svg({"epoch": [1, 2], "loss": [1.0, 0.5]})[:4]
    '<svg'
    """
    curves = {name: finite(history, name) for name in COLORS}
    curves = {name: (x, y.clip(-LARGEST, LARGEST)) for name, (x, y) in curves.items() if len(y)}
    if not curves:
        return ""
    best = best or best_epoch(history)
    epochs = np.concatenate([x for x, _ in curves.values()])
    losses = np.concatenate([y for _, y in curves.values()])
    logarithmic = is_logarithmic(losses)
    across = _Axis(epochs.min(), epochs.max(), LEFT, WIDTH - RIGHT, whole=True)
    down = _Axis(losses.min(), losses.max(), HEIGHT - BOTTOM, TOP, logarithmic=logarithmic)

    n_epochs = len(history["epoch"])
    legend, drawn = [], []
    for name, (x, y) in curves.items():
        color = COLORS[name]
        points = [(across(a), down(b)) for a, b in zip(*thin(x, y), strict=True)]
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        drawn.append(
            f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="1.6" '
            'stroke-linejoin="round"/>'
        )
        if len(points) <= DOTS:
            drawn += [_dot(a, b, 2.2, color) for a, b in points]
        legend.append(f'<tspan fill="{color}">&#9632;</tspan> {NAMES[name]} {y[-1]:.4g}')
    marked = "validation_loss" if "validation_loss" in curves else "loss"
    x, y = curves[marked]
    if best in x:
        at, value = across(best), y[list(x).index(best)]
        drawn.append(_line(at, TOP, at, HEIGHT - BOTTOM, 0.5, "3 3"))
        drawn.append(_dot(at, down(value), 4, COLORS[marked], 'stroke="currentColor"'))
        legend.append(
            f'<tspan fill="{COLORS[marked]}">&#9679;</tspan> best epoch {best}: {value:.4g}'
        )

    label = printable(label)
    title = html.escape(
        f"{label}{' (log scale)' if logarithmic else ''} by epoch, "
        f"{n_epochs} epoch{'s' * (n_epochs != 1)}"
    )
    label = html.escape(label if len(label) <= LETTERS else f"{label[: LETTERS - 1]}…")
    middle = (TOP + HEIGHT - BOTTOM) / 2
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'style="width:100%;max-width:{WIDTH}px;height:auto;display:block" role="img" '
        f'aria-label="{title}" font-family="system-ui, sans-serif" font-size="12" '
        'fill="currentColor">',
        f"<title>{title}</title>",
        f'<text x="{LEFT}" y="18">{"&#160;&#160;&#160;&#160;".join(legend)}</text>',
        *(_line(LEFT, down(v), WIDTH - RIGHT, down(v), 0.15) for v in down.ticks),
        *(f'<text x="{LEFT - 7}" y="{down(v) + 4:.1f}" text-anchor="end">{down.name(v)}</text>'
          for v in down.ticks),
        *(f'<text x="{across(v):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">'
          f"{across.name(v)}</text>" for v in across.ticks),
        _line(LEFT, HEIGHT - BOTTOM, WIDTH - RIGHT, HEIGHT - BOTTOM, 0.6),
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 7}" text-anchor="middle">'
        "epoch</text>",
        f'<text transform="translate(13 {middle:.0f}) rotate(-90)" text-anchor="middle">'
        f"{label}</text>",
        *drawn,
        "</svg>",
    ])  # fmt: skip


class _Axis:
    """From values to pixels, with about five round ticks."""

    def __init__(self, low, high, start, end, *, logarithmic=False, whole=False) -> None:
        self.start, self.end, self.logarithmic = start, end, logarithmic
        if logarithmic:
            self.low, self.high = _padded(math.log10(low), math.log10(high))
            self.ticks = _decades(self.low, self.high)
            return
        if high - low <= max(ALIKE * max(abs(low), abs(high)), SMALLEST):
            half = 0.1 * abs(low) if abs(low) > SMALLEST and not whole else 0.5
            low, high = low - half, high + half
        self.low, self.high = low, high = (low, high) if whole else _padded(low, high)
        rough = max((high - low) / 5, 1.0 if whole else 0.0)
        power = 10.0 ** math.floor(math.log10(rough))
        self.step = next(m * power for m in (1, 2, 5, 10) if m * power >= 0.999 * rough)
        first, last = math.ceil(low / self.step - 1e-9), math.floor(high / self.step + 1e-9)
        self.ticks = [k * self.step for k in range(first, last + 1)]

    def __call__(self, value: float) -> float:
        value = math.log10(value) if self.logarithmic else value
        share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def name(self, tick: float) -> str:
        """A tick in as many digits as tell it from the next one."""
        if self.logarithmic:
            return f"{tick:g}"
        largest = max(abs(t) for t in self.ticks)
        digits = math.floor(math.log10(self.step) + 1e-9)
        if largest == 0 or 1e-4 <= largest < 1e6:
            return f"{tick:.{max(0, -digits)}f}"
        return f"{tick:.{max(0, math.floor(math.log10(largest)) - digits)}e}"


def _padded(low: float, high: float) -> tuple[float, float]:
    """Room for dots and for the thickness of lines."""
    room = 0.03 * (high - low)
    return low - room, high + room


def _decades(low: float, high: float) -> list[float]:
    """Ticks of a logarithmic axis from 10 ** low to 10 ** high, at least one decade."""
    factors = (1, 2, 5) if high - low < 2.5 else (1,)
    every = max(1, round((high - low) / 6))
    ticks = [
        float(f"{factor}e{k}")
        for k in range(math.floor(low), math.ceil(high) + 1)
        for factor in factors
        if k % every == 0
    ]
    return [t for t in ticks if t > 0 and low - 1e-9 <= math.log10(t) <= high + 1e-9]


def _line(x1, y1, x2, y2, opacity, dashes="none") -> str:
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="currentColor" '
        f'stroke-opacity="{opacity}" stroke-dasharray="{dashes}"/>'
    )


def _dot(x, y, radius, color, more="") -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{color}" {more}/>'
