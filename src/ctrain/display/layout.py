"""A layered drawing of a directed graph: sizes of boxes in, places and routes out."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import coo_array, eye_array, hstack, vstack

SWEEPS = 12  # of the order within layers; the best is kept, so more never hurts
STRAIGHT = (1.0, 2.0, 8.0)  # weight of a sideways way between two boxes, box and bend, two bends
CENTRED = 0.5  # weight of the way between a box and the middle of those it forks into or joins
DIGITS = 3  # of the points of a route: what is one point is drawn as one


class Drawing(NamedTuple):
    """Where boxes and edges lie; x to the right, y downward, in the unit of the sizes."""

    centers: np.ndarray  #: (n_boxes, 2)
    #: of each edge, (n_points, 2): straight down through a layer, then over to the next, and so on
    routes: list[np.ndarray]
    size: tuple[float, float]  #: width, height


def layered(
    sizes: list[tuple[float, float]],
    edges: list[tuple[int, int]],
    across: float = 18.0,
    down: float = 30.0,
) -> Drawing:
    """Place boxes in layers so that every edge runs downward and none crosses a box.

    Parameters
    ----------
    sizes : list of (width, height)
        In an order in which every edge leads from a box to a later one.
    edges : list of (start, end)
        Each pair once.
    across, down : float
        Least distance of two boxes of one layer, and distance of two layers.

    Returns
    -------
    Drawing

    References
    ----------
    Sugiyama, Tagawa, Toda, "Methods for visual understanding of hierarchical system structures",
    IEEE Transactions on Systems, Man, and Cybernetics 11, 1981; places along a layer as in Gansner
    et al., "A technique for drawing directed graphs", IEEE Transactions on Software Engineering 19,
    1993, but by a linear program.

    Examples
    --------
    >>> from ctrain.display.layout import layered
    >>> layered([(10.0, 4.0), (10.0, 4.0)], [(0, 1)], down=20.0).centers.tolist()
    [[5.0, 2.0], [5.0, 26.0]]
    """
    if not sizes:
        return Drawing(np.zeros((0, 2)), [], (0.0, 0.0))
    n_boxes = len(sizes)
    depth = _depths(n_boxes, edges)
    widths = [width for width, _ in sizes]
    layers: list[list[int]] = [[] for _ in range(max(depth) + 1)]
    for box in range(n_boxes):
        layers[depth[box]].append(box)

    # an edge over several layers passes each of them through a bend, a box of no width
    chains, links = [], []
    for start, end in edges:
        chain = [start]
        for level in range(depth[start] + 1, depth[end]):
            layers[level].append(len(widths))
            chain.append(len(widths))
            widths.append(0.0)
        chain.append(end)
        chains.append(chain)
        links += pairwise(chain)
    above = [[] for _ in widths]
    below = [[] for _ in widths]
    for a, b in links:
        above[b].append(a)
        below[a].append(b)

    layers = _ordered(layers, above, below)
    ports = _ports(layers, above, widths)
    x = _places(layers, above, below, widths, n_boxes, across, ports)

    heights = [max(sizes[b][1] if b < n_boxes else 0.0 for b in layer) for layer in layers]
    tops = np.concatenate([[0.0], np.cumsum([h + down for h in heights])])
    middle = [top + height / 2 for top, height in zip(tops, heights, strict=False)]
    half = np.array(widths) / 2
    x -= (x - half).min()
    centers = np.array([[x[b], middle[depth[b]]] for b in range(n_boxes)])
    routes = [
        _route(chain, x, sizes, centers, ports, tops, heights, depth[chain[0]]) for chain in chains
    ]
    return Drawing(centers, routes, (float((x + half).max()), float(tops[-1] - down)))


def _depths(n: int, edges) -> list[int]:
    """Layer of each box: the longest path from a source; a source lies just above its first use."""
    depth = [0] * n
    sources = set(range(n)) - {end for _, end in edges}
    for start, end in sorted(edges, key=lambda edge: edge[1]):
        depth[end] = max(depth[end], depth[start] + 1)
    for box in sources:
        depth[box] = min((depth[end] - 1 for start, end in edges if start == box), default=0)
    return depth


def _ordered(layers, above, below) -> list[list[int]]:
    """Sort every layer by the mean place of its neighbours, down and up, keeping the best."""

    def crossings(layers) -> int:
        count = 0
        for upper, lower in pairwise(layers):
            place = {box: i for i, box in enumerate(lower)}
            ends = [sorted(place[b] for b in below[box]) for box in upper]
            for i, mine in enumerate(ends):
                others = np.array([b for part in ends[i + 1 :] for b in part], int)
                count += sum(int((others < b).sum()) for b in mine)
        return count

    best, fewest = layers, crossings(layers)
    for sweep in range(SWEEPS):
        downward = sweep % 2 == 0
        layers = [list(layer) for layer in layers]
        neighbours = above if downward else below
        for level in range(len(layers)) if downward else reversed(range(len(layers))):
            fixed = level - 1 if downward else level + 1
            if not 0 <= fixed < len(layers):
                continue
            place = {box: i for i, box in enumerate(layers[fixed])}
            rank = {}
            for i, box in enumerate(layers[level]):
                near = [place[b] for b in neighbours[box] if b in place]
                rank[box] = np.mean(near) if near else i
            layers[level].sort(key=rank.__getitem__)
        count = crossings(layers)
        if count < fewest:
            best, fewest = layers, count
    return best


def _ports(layers, above, widths) -> dict[tuple[int, int], float]:
    """Where links enter a box, from its centre: spread over its width, in the order above it."""
    place = {box: i for layer in layers for i, box in enumerate(layer)}
    return {
        (a, b): widths[b] * ((k + 1) / (len(near) + 1) - 0.5)
        for b, near in enumerate(above)
        for k, a in enumerate(sorted(near, key=place.__getitem__))
    }


def _places(layers, above, below, widths, n_boxes, across, ports) -> np.ndarray:
    """Horizontal centres: a linear program for short, straight edges and centred forks.

    It minimises ``sum(weight * abs(x @ row - constant))`` with the boxes of a layer in their order,
    at least `across` apart; each absolute value is a variable of its own, above both signs.
    """
    n = len(widths)
    terms = []  # weight, constant, {box: coefficient}
    for (a, b), port in ports.items():
        terms.append((STRAIGHT[(a >= n_boxes) + (b >= n_boxes)], port, {a: 1.0, b: -1.0}))
    for box in range(n_boxes):
        for side in (above[box], below[box]):
            near = [b for b in side if b < n_boxes]
            if len(near) > 1:
                terms.append((CENTRED, 0.0, {box: 1.0} | dict.fromkeys(near, -1.0 / len(near))))
    pairs = [pair for layer in layers for pair in pairwise(layer)]
    apart = _matrix([{a: 1.0, b: -1.0} for a, b in pairs], n)
    least = np.array([(widths[a] + widths[b]) / 2 + across for a, b in pairs])
    rows = _matrix([coefficients for *_, coefficients in terms], n)
    constants = np.array([constant for _, constant, _ in terms])
    value = eye_array(len(terms))
    solution = linprog(
        np.concatenate([np.zeros(n), [weight for weight, *_ in terms]]),
        A_ub=vstack([hstack([rows, -value]), hstack([-rows, -value]),
                     hstack([apart, coo_array((len(pairs), len(terms)))])]),
        b_ub=np.concatenate([constants, -constants, -least]),
    )  # fmt: skip
    return solution.x[:n]


def _matrix(rows: list[dict[int, float]], n: int) -> coo_array:
    where = [(i, j, v) for i, row in enumerate(rows) for j, v in row.items()]
    i, j, v = np.array(where).reshape(-1, 3).T
    return coo_array((v, (i.astype(int), j.astype(int))), shape=(len(rows), n))


def _route(chain, x, sizes, centers, ports, tops, heights, level) -> np.ndarray:
    """From the lower edge of the first box, along the bends, to a port of the last one."""
    start, *bends, end = chain
    bottom = centers[start, 1] + sizes[start][1] / 2
    points = [(x[start], bottom), (x[start], tops[level] + heights[level])]
    for k, bend in enumerate(bends, level + 1):
        points += [(x[bend], tops[k]), (x[bend], tops[k] + heights[k])]
    port = x[end] + ports[chain[-2], end]
    points += [(port, tops[level + len(chain) - 1]), (port, centers[end, 1] - sizes[end][1] / 2)]
    points = [(round(float(x), DIGITS), round(float(y), DIGITS)) for x, y in points]
    return np.array([p for p, before in zip(points, [None, *points], strict=False) if p != before])
