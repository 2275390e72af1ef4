"""The optimizer's state, one flat arena per slot, and the call of its kernel."""

from libc.math cimport INFINITY
from libc.stdint cimport uintptr_t

import numpy as np

from ctrain._core.dispatch cimport find_optimizer, table

from ctrain._core.parameters import aligned_zeros, write


cdef class Optimizer:
    """Slots and step count of one optimizer over an arena of weights.

    Parameters
    ----------
    declaration : object
        Of :mod:`ctrain.optimizers`: ``kernel``, ``slots()``, ``initial()`` and ``hyper()``.
    dtype : dtype
    n : int
        Elements of the arena.

    Attributes
    ----------
    t : int
        Steps taken.
    slots : list of ndarray
        In the order of `names`.
    """

    def __cinit__(self, declaration, dtype, Py_ssize_t n):
        self.declaration = declaration
        self.dtype = np.dtype(dtype)
        self.itemsize = self.dtype.itemsize
        self.kernel = find_optimizer(table(self.itemsize), declaration.kernel.encode())
        if self.kernel == NULL:
            raise ValueError(f"no optimizer kernel is called {declaration.kernel!r}")
        self.names = tuple(declaration.slots())
        self.n_slots = len(self.names)
        if self.n_slots > MAX_SLOTS:
            raise ValueError(f"an optimizer has at most {MAX_SLOTS} slots; got {self.names}")
        self.slots = []
        for fill in declaration.initial():
            slot = aligned_zeros(n, self.dtype)
            # touched here: fresh pages made the first update, which nothing interrupts, five times
            # as long
            write(slot, fill)
            self._attach(slot)
        hyper = declaration.hyper()
        if len(hyper) > 16:
            raise ValueError("an optimizer has at most 16 hyper-parameters")
        for i, value in enumerate(hyper):
            self.hyper[i] = value

    cdef _attach(self, slot):
        self.memory[len(self.slots)] = <char *><uintptr_t>slot.ctypes.data
        self.slots.append(slot)

    def __reduce__(self):
        n = self.slots[0].size if self.slots else 0
        state = [np.array(slot) for slot in self.slots], self.t
        return _restore, (self.declaration, self.dtype, n, *state)

    cdef void prepare(self, double lr) noexcept nogil:
        """Count one step and compute what it needs once."""
        self.t += 1
        self.kernel.prepare(self.hyper, self.t, lr, self.scalar)

    cdef void update(
        self, const ct_update_args *args, char *weights, const char *grad, Py_ssize_t offset,
        Py_ssize_t n
    ) noexcept nogil:
        """Update weights [offset, offset + n) of the arenas."""
        cdef void *slots[MAX_SLOTS]
        cdef Py_ssize_t at = offset * self.itemsize
        cdef int i
        for i in range(self.n_slots):
            slots[i] = self.memory[i] + at
        self.kernel.update(args, weights + at, grad + at, slots, n)


def _restore(declaration, dtype, n, slots, t):
    optimizer = Optimizer(declaration, dtype, n)
    for mine, saved in zip(optimizer.slots, slots, strict=True):
        mine[:] = saved
    optimizer.t = t
    return optimizer


def apply_update(
    declaration, weights, gradient, slots, int64_t t, double lr, *, double factor=1.0,
    double clip_value=INFINITY, double alpha=0.0, double l1=0.0, double decay=1.0
):
    """Run one update kernel in place; for tests and benchmarks.

    Parameters
    ----------
    declaration : object of :mod:`ctrain.optimizers`
    weights, gradient : ndarray of shape (n,), float32 or float64
    slots : list of ndarray of shape (n,)
    t : int
        Number of this step, from 1.
    lr : float
    factor, clip_value, alpha, l1, decay : float
        As in ``ct_update_args``.
    """
    cdef Py_ssize_t n = weights.size
    for array in (weights, gradient, *slots):
        if array.dtype != weights.dtype or array.shape != (n,) or not array.flags.c_contiguous:
            raise ValueError(
                "weights, gradient and slots must be alike: 1-d, contiguous, one dtype"
            )
    cdef Optimizer optimizer = Optimizer.__new__(Optimizer, declaration, weights.dtype, 0)
    for i, slot in enumerate(slots):
        optimizer.memory[i] = <char *><uintptr_t>slot.ctypes.data
    optimizer.t = t - 1
    cdef ct_update_args args
    args.factor, args.clip_value, args.alpha, args.l1 = factor, clip_value, alpha, l1
    args.decay, args.hyper, args.scalar = decay, optimizer.hyper, optimizer.scalar
    optimizer.prepare(lr)
    optimizer.update(
        &args, <char *><uintptr_t>weights.ctypes.data, <char *><uintptr_t>gradient.ctypes.data, 0, n
    )
