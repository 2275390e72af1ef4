"""The parameter store: names, shapes and flags over one flat, aligned arena of weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .. import initializers
from . import random
from .ops.table import size_of

ALIGN = 16  #: elements; 64 bytes in float32
BLOCK = 1 << 20  #: elements that are copied between two looks for signals


@dataclass(eq=False)
class Parameter:
    """One parameter of a store.

    Attributes
    ----------
    name : str
    shape : tuple of int
    decay : bool
        Whether weight decay and penalties apply.
    trainable : bool
        Whether it gets a gradient.
    value : ndarray
        Current weights; a view of the store's arena once it is packed.
    offset : int
        First element in the arena, -1 before it is packed.

    Examples
    --------
    >>> import ctrain
    >>> tape = ctrain.Tape()
    >>> w = tape.parameter((3, 2), name="w")
    >>> tape.parameters["w"].shape, tape.parameters["w"].decay
    ((3, 2), True)
    """

    name: str
    shape: tuple[int, ...]
    decay: bool
    trainable: bool
    value: np.ndarray
    offset: int = -1

    @property
    def size(self) -> int:
        return size_of(self.shape)


class Parameters:
    """Weights by name, in one flat arena.

    Parameters
    ----------
    dtype : dtype

    Attributes
    ----------
    arena : ndarray
        All weights after :meth:`pack`, each parameter on a 64-byte boundary.
    version : int
        Grows whenever weights are written from outside the update phase.

    Examples
    --------
    >>> import ctrain
    >>> tape = ctrain.Tape()
    >>> b = tape.parameter((2,), name="b", init="zeros")
    >>> tape.parameters.assign("b", [1.0, 2.0])
    >>> tape.parameters["b"].value
    array([1., 2.], dtype=float32)
    """

    def __init__(self, dtype) -> None:
        self.dtype = np.dtype(dtype)
        self.arena = np.zeros(0, self.dtype)
        self.version = 0
        self._by_name: dict[str, Parameter] = {}

    def __getstate__(self) -> dict:
        flags = [(p.name, p.shape, p.decay, p.trainable, np.array(p.value)) for p in self]
        return {"dtype": self.dtype, "parameters": flags}

    def __setstate__(self, state: dict) -> None:
        self.__init__(state["dtype"])
        for name, *rest in state["parameters"]:
            self._by_name[name] = Parameter(name, *rest)

    def __getitem__(self, name: str) -> Parameter:
        return self._by_name[name]

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self._by_name.values())

    def __len__(self) -> int:
        return len(self._by_name)

    def declare(self, name, shape_or_array, init, decay, trainable, seed) -> Parameter:
        """Return the parameter `name`, made now if it is new; another shape is an error."""
        if isinstance(shape_or_array, (int, np.integer)) and not isinstance(shape_or_array, bool):
            shape_or_array = (int(shape_or_array),)
        is_shape = isinstance(shape_or_array, tuple) and all(
            isinstance(n, (int, np.integer)) for n in shape_or_array
        )
        if is_shape:
            shape = tuple(int(n) for n in shape_or_array)
        else:
            array = np.array(shape_or_array, dtype=self.dtype, order="C")
            shape = array.shape
        if any(n < 1 for n in shape):
            raise ValueError(f"parameter {name!r}: sizes must be at least 1; got {shape}")
        known = self._by_name.get(name)
        if known is not None:
            if known.shape != shape:
                raise ValueError(
                    f"parameter {name!r} has shape {known.shape}; asked for again as {shape}"
                )
            return known
        if is_shape:
            key = random.key(seed, "init", name)
            drawn = np.asarray(initializers.resolve(init)(shape, key))
            if drawn.shape != shape:
                raise ValueError(
                    f"parameter {name!r}: init returned shape {drawn.shape}, expected {shape}"
                )
            array = np.empty(shape, self.dtype)
            write(array.reshape(-1), drawn.reshape(-1))
        parameter = Parameter(
            name, shape, bool(decay), bool(trainable), np.ascontiguousarray(array)
        )
        self._by_name[name] = parameter
        return parameter

    def adopt(self, name: str, value: np.ndarray, decay: bool, trainable: bool) -> None:
        """Enter a parameter that has its weights, which are not copied before they are packed."""
        self._by_name[name] = Parameter(name, value.shape, bool(decay), bool(trainable), value)

    def pack(self) -> np.ndarray:
        """Move every weight into one arena, unless that has been done; answer the arena."""
        if all(p.offset >= 0 for p in self):
            return self.arena
        offsets, total = [], 0
        for p in self:
            offsets.append(total)
            total += self.room(p.size)
        arena = aligned_zeros(total, self.dtype)
        views = [arena[at : at + p.size] for p, at in zip(self, offsets, strict=True)]
        for p, view in zip(self, views, strict=True):
            write(view, p.value.reshape(-1))
        self.arena = arena  # now that nothing can interrupt a copy
        for p, at, view in zip(self, offsets, views, strict=True):
            p.offset, p.value = at, view.reshape(p.shape)
        self.version += 1
        return self.arena

    @staticmethod
    def room(size: int) -> int:
        """Elements of the arena that a parameter of `size` takes."""
        return -(-size // ALIGN) * ALIGN

    def assign(self, name: str, value) -> None:
        """Write the weights of one parameter.

        Parameters
        ----------
        name : str
        value : array-like of the parameter's shape

        Raises
        ------
        ValueError
            If the shape differs.
        """
        p = self._by_name[name]
        value = np.asarray(value, dtype=self.dtype)
        if value.shape != p.shape:
            raise ValueError(f"parameter {name!r} has shape {p.shape}; got {value.shape}")
        p.value[...] = value
        self.version += 1


def aligned_zeros(n: int, dtype) -> np.ndarray:
    """Zeros whose first element lies on a 64-byte boundary."""
    return _aligned(np.zeros, n, np.dtype(dtype))


def aligned_empty(n: int, dtype) -> np.ndarray:
    """The same, of whatever the memory holds."""
    return _aligned(np.empty, n, np.dtype(dtype))


def _aligned(allocate, n: int, dtype: np.dtype) -> np.ndarray:
    raw = allocate(n * dtype.itemsize + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + n * dtype.itemsize].view(dtype)


def write(target: np.ndarray, values) -> None:
    """``target[:] = values`` along one axis, in blocks: fresh memory is slow, and Ctrl-C waits."""
    values = np.broadcast_to(values, target.shape)
    for at in range(0, len(target), BLOCK):
        target[at : at + BLOCK] = values[at : at + BLOCK]
