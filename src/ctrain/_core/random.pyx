"""Counter-based random numbers: a value depends on its key and its position, on nothing else.

A key is made of a seed and a purpose, so that no two purposes share a stream and no generator
state has to be saved.
"""

import hashlib

from cpython.exc cimport PyErr_CheckSignals
from libc.math cimport M_PI, cos, log, sin, sqrt
from libc.stdint cimport int64_t, uint32_t, uint64_t

import numpy as np

cdef extern from "philox.h" nogil:
    void ct_philox(uint64_t key, uint64_t ctr_hi, uint64_t ctr_lo, uint32_t *out)


def key(*parts):
    """Make a 64-bit key of integers and strings."""
    text = "\0".join(f"{type(p).__name__}:{p}" for p in parts).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


#: numbers from one look for signals to the next; even, since two come from one counter
cdef Py_ssize_t BLOCK = 1 << 20


cdef inline double _unit(uint32_t high, uint32_t low) noexcept nogil:
    """53 random bits in [0, 1)."""
    return ((<uint64_t>high << 21) ^ (low >> 11)) * (1.0 / 9007199254740992.0)


cdef _drawn(uint64_t key, Py_ssize_t n, bint gaussian):
    """Numbers in [0, 1), or what the Box-Muller transform makes of each two."""
    out = np.empty(n)
    cdef double[::1] view = out
    cdef uint32_t word[4]
    cdef double first, second, radius, angle
    cdef Py_ssize_t begin, i
    for begin in range(0, n, BLOCK):
        PyErr_CheckSignals()
        with nogil:
            for i in range(begin, min(begin + BLOCK, n), 2):
                ct_philox(key, 0, i >> 1, word)
                first, second = _unit(word[0], word[1]), _unit(word[2], word[3])
                if gaussian:
                    radius = sqrt(-2.0 * log(1.0 - first))
                    angle = 2.0 * M_PI * second
                    first, second = radius * cos(angle), radius * sin(angle)
                view[i] = first
                if i + 1 < n:
                    view[i + 1] = second
    return out


def uniform(uint64_t key, Py_ssize_t n):
    """Draw `n` numbers in [0, 1).

    Parameters
    ----------
    key : int
        Stream, see :func:`key`.
    n : int

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    return _drawn(key, n, False)


def normal(uint64_t key, Py_ssize_t n):
    """Draw `n` standard normal numbers by the Box-Muller transform.

    Parameters
    ----------
    key : int
    n : int

    Returns
    -------
    ndarray of float64, shape (n,)
    """
    return _drawn(key, n, True)


def permutation(uint64_t key, Py_ssize_t n):
    """Shuffle 0 .. n - 1 (Fisher-Yates).

    Parameters
    ----------
    key : int
    n : int

    Returns
    -------
    ndarray of int64, shape (n,)
    """
    out = np.arange(n, dtype=np.int64)
    cdef int64_t[::1] view = out
    cdef uint32_t word[4]
    cdef Py_ssize_t end, i, j
    cdef uint64_t draw
    for end in range(n, 1, -BLOCK):
        PyErr_CheckSignals()
        with nogil:
            for i in range(end - 1, max(end - 1 - BLOCK, 0), -1):
                ct_philox(key, 0, i, word)
                # 64 random bits modulo i + 1: the bias is below n / 2^64
                draw = (<uint64_t>word[0] << 32) | word[1]
                j = <Py_ssize_t>(draw % <uint64_t>(i + 1))
                view[i], view[j] = view[j], view[i]
    return out
