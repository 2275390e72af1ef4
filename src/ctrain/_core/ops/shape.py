"""Operations that move values: slice, concat, reshape, transpose, pad, sort."""

from __future__ import annotations

from operator import index

from .table import Row, op, size_of

MAX_AXES = 6


def axis_of(name: str, shape: tuple[int, ...], axis: int) -> int:
    """``axis`` counted from the front."""
    if not -len(shape) <= index(axis) < len(shape):
        raise ValueError(f"{name}: axis {axis} is out of range for x of row shape {shape}")
    return index(axis) % len(shape)


def around(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """Sizes before, of and after an axis."""
    return size_of(shape[:axis]), shape[axis], size_of(shape[axis + 1 :])


@op()
def slice_(x, /, axis, start=None, stop=None, step=1):
    """``x[start:stop:step]`` along one axis of the row, with Python's meaning of negative numbers.

    A slice must hold at least one element.
    """
    axis = axis_of("slice", x.shape, axis)
    outer, n, inner = around(x.shape, axis)
    if index(step) == 0:
        raise ValueError("slice: step must not be 0")
    first, last, step = slice(start, stop, step).indices(n)
    length = len(range(first, last, step))
    if length == 0:
        raise ValueError(
            f"slice: {start}:{stop}:{step} of axis {axis} is empty, x has row shape {x.shape}"
        )
    shape = (*x.shape[:axis], length, *x.shape[axis + 1 :])
    return Row(shape, (outer, n, length, first, step, inner))


@op()
def concat(*xs, axis=-1):
    """``xs`` one after the other along an axis that they have; their other axes are equal."""
    if not xs:
        raise ValueError("concat: needs at least one tensor")
    shape = xs[0].shape
    axis = axis_of("concat", shape, axis)
    for i, x in enumerate(xs):
        if (
            len(x.shape) != len(shape)
            or x.shape[:axis] != shape[:axis]
            or x.shape[axis + 1 :] != shape[axis + 1 :]
        ):
            raise ValueError(
                f"concat: row shapes may differ along axis {axis} only: "
                f"input 0 is {shape}, input {i} is {x.shape}"
            )
    outer, _, inner = around(shape, axis)
    sizes = [x.shape[axis] for x in xs]
    shape = (*shape[:axis], sum(sizes), *shape[axis + 1 :])
    return Row(shape, (outer, *(n * inner for n in sizes)))


@op()
def reshape(x, /, shape):
    """The same values in C order under another row shape; one size may be -1, to be inferred."""
    wanted = (shape,) if isinstance(shape, int) else tuple(index(n) for n in shape)
    size = size_of(x.shape)
    if wanted.count(-1) > 1 or any(n < -1 for n in wanted):
        raise ValueError(f"reshape: sizes must not be negative, but for one -1: shape is {wanted}")
    known = size_of(tuple(n for n in wanted if n != -1))
    if -1 in wanted and known and size % known == 0:
        wanted = tuple(size // known if n == -1 else n for n in wanted)
    if size_of(wanted) != size or -1 in wanted:
        raise ValueError(
            f"reshape: x of row shape {x.shape} has {size} elements and does not fit {wanted}"
        )
    return Row(wanted, (size,))


def _permutation(shape: tuple[int, ...], axes: tuple[int, ...]) -> tuple[int, ...]:
    """Shape of the result and the strides it reads with, both filled up to six axes."""
    strides = [size_of(shape[i + 1 :]) for i in range(len(shape))]
    sizes: list[int] = []
    steps: list[int] = []
    for axis in axes:
        n, step = shape[axis], strides[axis]
        if n == 1:
            continue
        if steps and steps[-1] == n * step:  # lies behind the axis before: one axis
            sizes[-1] *= n
            steps[-1] = step
        else:
            sizes.append(n)
            steps.append(step)
    fill = (1,) * (MAX_AXES - len(sizes))
    return (*fill, *sizes, *fill, *steps)


@op()
def transpose(x, /, axes=None):
    """Axes of the row in another order; without ``axes`` reversed. At most six axes."""
    rank = len(x.shape)
    if rank > MAX_AXES:
        raise ValueError(f"transpose: at most {MAX_AXES} axes, x has row shape {x.shape}")
    order = (
        tuple(reversed(range(rank)))
        if axes is None
        else tuple(axis_of("transpose", x.shape, axis) for axis in axes)
    )
    if sorted(order) != list(range(rank)):
        raise ValueError(
            f"transpose: axes must name each of the {rank} axes of x {x.shape} once, not {axes}"
        )
    shape = tuple(x.shape[axis] for axis in order)
    inverse = tuple(order.index(axis) for axis in range(rank))
    return Row(shape, _permutation(x.shape, order) + _permutation(shape, inverse))


@op()
def pad(x, /, widths, value=0.0):
    """``x`` with ``widths = ((before, after), ...)`` elements of ``value`` around each axis."""
    pairs = tuple((index(before), index(after)) for before, after in widths)
    rank = len(x.shape)
    if rank > MAX_AXES:
        raise ValueError(f"pad: at most {MAX_AXES} axes, x has row shape {x.shape}")
    if len(pairs) != rank:
        raise ValueError(
            f"pad: widths needs one (before, after) for each axis of x {x.shape}, "
            f"it has {len(pairs)}"
        )
    if any(n < 0 for pair in pairs for n in pair):
        raise ValueError(f"pad: widths must not be negative, they are {pairs}")
    merged: list[tuple[int, int, int]] = []  # size, before, after; whole axes join the one before
    for n, (before, after) in zip(x.shape, pairs, strict=True):
        if merged and before == after == 0:
            merged[-1] = tuple(v * n for v in merged[-1])
        else:
            merged.append((n, before, after))
    merged = [(1, 0, 0)] * (MAX_AXES - len(merged)) + merged
    shape = tuple(b + n + a for n, (b, a) in zip(x.shape, pairs, strict=True))
    return Row(
        shape,
        (
            *(n for n, _, _ in merged),
            *(before for _, before, _ in merged),
            *(before + n + after for n, before, after in merged),
        ),
        (float(value),),
    )


@op(reads=(0, "out"))
def sort(x, /):
    """``x`` in ascending order along its last axis, NaN last.

    The gradient of a place goes to the element that stands there; equal elements share theirs.
    """
    if not x.shape:
        raise ValueError("sort: x needs an axis, its row shape is ()")
    cells, n, _ = around(x.shape, len(x.shape) - 1)
    return Row(x.shape, (cells, n), flops=4.0 * cells * n * n.bit_length())
