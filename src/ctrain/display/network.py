"""A picture of the recorded network."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from .._core.symbols import Level, Tensor
from .._core.tape import Tape
from .boxes import Box, boxes_of
from .layout import layered
from .requires import check_fitted, pyplot

#: points: letters, a line of text, around the text of a box, around the drawing
FONT, LINE, PADDING, MARGIN = 9.0, 12.5, 7.0, 12.0


class NetworkDisplay:
    """A recorded network: layers, shapes and numbers of weights.

    Make it with :meth:`from_estimator` or :meth:`from_tape`. A box is a layer: operations that
    nothing else stands between, with the parameters they read. The fuller its colour, the more of
    the weights it holds; a dashed box is computed from parameters alone, once a step. Shapes are
    those of one row.

    Parameters
    ----------
    boxes : list of ctrain.display.boxes.Box
    edges : list of (int, int)
        Start and end, positions in `boxes`.
    title : str, default=""

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    boxes_ : list of matplotlib FancyBboxPatch
        One for each box.
    edges_ : list of matplotlib FancyArrowPatch
    texts_ : list of matplotlib Text
        Heading and lines of each box, in order.

    References
    ----------
    The drawing is layered, see :func:`ctrain.display.layout.layered`.

    Examples
    --------
    >>> import matplotlib.pyplot as plt
    >>> from sklearn.datasets import load_diabetes
    >>> from ctrain import Regressor
    >>> from ctrain.display import NetworkDisplay
    >>> X, y = load_diabetes(return_X_y=True)
    >>> reg = Regressor((16, 8), max_iter=1, random_state=0).fit(X, y)
    >>> display = NetworkDisplay.from_estimator(reg)
    >>> [box.n_weights for box in display.boxes]
    [0, 176, 136, 9, 0]
    >>> plt.close(display.figure_)
    """

    def __init__(self, *, boxes: list[Box], edges: list[tuple[int, int]], title: str = "") -> None:
        self.boxes = boxes
        self.edges = edges
        self.title = title

    @classmethod
    def from_estimator(cls, estimator, *, ax=None, max_boxes: int = 150) -> NetworkDisplay:
        """Draw what a fitted estimator computes when it predicts.

        Parameters
        ----------
        estimator : Regressor, Classifier or Forecaster
            Fitted.
        ax, max_boxes
            As :meth:`plot` takes them.

        Returns
        -------
        NetworkDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        sklearn.exceptions.NotFittedError
        TypeError
            If it is no estimator of ctrain; of a pipeline, pass the last step.
        ValueError
            As :meth:`plot`.
        """
        pyplot(f"{cls.__name__}.from_estimator")
        check_fitted(estimator, "_network", f"{cls.__name__}.from_estimator")
        network = estimator._network
        return cls._of(network.inference, network.outputs, type(estimator).__name__).plot(
            ax, max_boxes=max_boxes
        )

    @classmethod
    def from_tape(cls, tape: Tape, outputs=None, *, ax=None, max_boxes: int = 150):
        """Draw what a tape has recorded.

        Parameters
        ----------
        tape : Tape
        outputs : dict of str to Tensor, default=None
            Only what these need, with a box for each; None = all that was recorded.
        ax, max_boxes
            As :meth:`plot` takes them.

        Returns
        -------
        NetworkDisplay

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            As :meth:`plot`, and if a tensor belongs to another tape.

        Examples
        --------
        >>> import ctrain
        >>> import matplotlib.pyplot as plt
        >>> from ctrain.display import NetworkDisplay
        >>> tape = ctrain.Tape()
        >>> x = tape.input((4,), name="x")
        >>> y = tape.add(x, tape.tanh(tape.matmul(x, tape.parameter((4, 4), name="w"))))
        >>> display = NetworkDisplay.from_tape(tape, {"y": y})
        >>> display.edges
        [(0, 1), (0, 2), (1, 2), (2, 3)]
        >>> plt.close(display.figure_)
        """
        pyplot(f"{cls.__name__}.from_tape")
        for name, tensor in (outputs or {}).items():
            tape.as_tensor(tensor, f"outputs[{name!r}]")
        return cls._of(tape, outputs, "Tape").plot(ax, max_boxes=max_boxes)

    @classmethod
    def _of(cls, tape: Tape, outputs: dict[str, Tensor] | None, name: str) -> NetworkDisplay:
        boxes, edges = boxes_of(tape, outputs)
        total = sum(box.n_weights for box in boxes)
        weights = f"{total:,} weight{'s' * (total != 1)}"
        return cls(boxes=boxes, edges=edges, title=f"{name}: {weights}, {tape.dtype.name}")

    def plot(self, ax=None, *, max_boxes: int = 150) -> NetworkDisplay:
        """Draw the boxes and edges.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The picture is scaled to it; None = a new figure that is large enough.
        max_boxes : int, default=150
            More are refused: nobody could read them.

        Returns
        -------
        NetworkDisplay
            Itself.

        Raises
        ------
        ImportError
            Without matplotlib.
        ValueError
            If there are more than `max_boxes`, or none.
        """
        plt = pyplot(f"{type(self).__name__}.plot")
        if not 0 < len(self.boxes) <= max_boxes:
            raise ValueError(
                f"the network has {len(self.boxes)} boxes, which must be 1 to max_boxes="
                f"{max_boxes}; tape.describe() lists every operation as text"
            )
        texts = [box.text() for box in self.boxes]
        sizes = [_size_of_text(heading, lines) for heading, lines in texts]
        drawing = layered(sizes, self.edges)
        width, height = (length + 2 * MARGIN for length in drawing.size)
        width = max(width, _width(self.title, bold=True) + 2 * MARGIN)
        left = (width - drawing.size[0]) / 2  # of the drawing in the axes
        title = 2.0 * LINE if self.title else 0.0
        height += title
        if ax is None:
            figure = plt.figure(figsize=(width / 72, height / 72))
            ax = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        self.ax_, self.figure_ = ax, ax.figure
        ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
        ax.set_axis_off()
        extent = ax.get_window_extent()
        scale = min(extent.width / width, extent.height / height) * 72 / self.figure_.dpi

        def write(x, y, text, **style):
            return ax.text(x, y, text, ha="center", va="center", fontsize=FONT * scale,
                           parse_math=False, **style)  # fmt: skip

        if self.title:
            write(width / 2, MARGIN + LINE / 2, self.title, fontweight="bold")
        offset = np.array([left, MARGIN + title])
        most = max(box.n_weights for box in self.boxes)
        self.boxes_, self.edges_, self.texts_ = [], [], []
        for route in drawing.routes:
            self.edges_.append(ax.add_patch(_arrow(route + offset, scale)))
        parts = zip(self.boxes, texts, sizes, drawing.centers + offset, strict=True)
        for box, (heading, lines), size, center in parts:
            self.boxes_.append(ax.add_patch(_frame(box, center, size, most, scale)))
            y = center[1] - LINE * len(lines) / 2
            self.texts_.append(write(center[0], y, heading, fontweight="bold"))
            for k, line in enumerate(lines, 1):
                self.texts_.append(write(center[0], y + LINE * k, line))
        return self


def _width(text: str, bold: bool = False) -> float:
    """Points."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    font = FontProperties(size=FONT, weight="bold" if bold else "normal")
    return text_to_path.get_text_width_height_descent(text, font, ismath=False)[0]


def _size_of_text(heading: str, lines: list[str]) -> tuple[float, float]:
    width = max([_width(heading, bold=True), *(_width(line) for line in lines)])
    return width + 2 * PADDING, (1 + len(lines)) * LINE + 2 * PADDING


def _frame(box: Box, center, size, most: int, scale: float):
    """Rounded box; inputs and outputs have round ends."""
    import matplotlib
    from matplotlib.patches import FancyBboxPatch

    line = matplotlib.rcParams["text.color"]
    face = ("C0", 0.12 + 0.4 * (box.n_weights / most) ** 0.5) if box.n_weights else (line, 0.04)
    rounding = 4.0 if box.kind == "operation" else min(size) / 2
    return FancyBboxPatch(
        center - np.array(size) / 2, *size, facecolor=face, edgecolor=(line, 0.6),
        boxstyle=f"round,pad=0,rounding_size={rounding}", linewidth=0.9 * scale,
        linestyle="-" if box.level == Level.ROW else "--",
    )  # fmt: skip


def _arrow(points: np.ndarray, scale: float):
    """Straight through layers, an S from one to the next."""
    import matplotlib
    from matplotlib.patches import FancyArrowPatch
    from matplotlib.path import Path

    vertices, codes = [points[0]], [Path.MOVETO]
    for (x0, y0), (x1, y1) in pairwise(points):
        if x0 == x1:
            vertices.append((x1, y1))
            codes.append(Path.LINETO)
        else:
            middle = (y0 + y1) / 2
            vertices += [(x0, middle), (x1, middle), (x1, y1)]
            codes += [Path.CURVE4] * 3
    color = matplotlib.rcParams["text.color"]
    return FancyArrowPatch(
        path=Path(vertices, codes), arrowstyle="-|>", mutation_scale=8 * scale, color=(color, 0.6),
        linewidth=0.9 * scale, shrinkA=0, shrinkB=0,
    )  # fmt: skip
