"""The only door to OpenMP's routines and to what a fork does to them.

``prange`` itself stands where the work is, behind ``if may_fork_join(...)``; the plain loop beside
it is not a second way: a region of one thread would still allocate and call the kernel.
"""

import os

import joblib

cdef extern from *:
    """
    #ifdef _OPENMP
    #include <omp.h>
    #define CT_MAX_THREADS() omp_get_max_threads()
    #define CT_OPENMP _OPENMP
    #else
    #define CT_MAX_THREADS() 1
    #define CT_OPENMP 0
    #endif
    /* libgomp's threads do not survive fork(); a region of several threads would wait for them
       for ever, so a forked child runs on one. */
    static int ct_is_child = 0;
    #ifdef _WIN32
    static int ct_watch_fork(void) { return 0; }
    #else
    #include <pthread.h>
    static void ct_after_fork(void) { ct_is_child = 1; }
    static int ct_watch_fork(void) { return pthread_atfork(NULL, NULL, ct_after_fork); }
    #endif
    """
    int ct_is_child
    int CT_OPENMP
    int CT_MAX_THREADS() nogil
    int ct_watch_fork() nogil

if ct_watch_fork() != 0:
    raise ImportError("pthread_atfork failed: out of memory")


#: flops of a phase below which a fork-join costs more than it saves
cdef double PARALLEL_FLOPS = 1.5e6


cdef bint may_fork_join(int n_threads, double flops) noexcept nogil:
    """Whether a phase of so much work is worth several threads, in a process that may have them."""
    return n_threads > 1 and flops > PARALLEL_FLOPS and not ct_is_child


def openmp_version():
    """OpenMP's version date (201511 ...), 0 where the build has none."""
    return CT_OPENMP


def effective_n_threads(n_jobs=None):
    """Resolve ``n_jobs`` to a number of threads.

    Parameters
    ----------
    n_jobs : int or None
        None: all that OpenMP, the affinity mask and the container's quota allow. Negative:
        counted back from that, as joblib does (-1 = all).

    Returns
    -------
    int
        At least 1.
    """
    if n_jobs is not None and (isinstance(n_jobs, bool) or int(n_jobs) != n_jobs or n_jobs == 0):
        raise ValueError(f"n_jobs must be None or an integer other than 0; got {n_jobs!r}")
    if CT_OPENMP == 0 or ct_is_child:
        return 1
    if n_jobs is not None and n_jobs > 0:
        return int(n_jobs)
    allowed = min(CT_MAX_THREADS(), joblib.cpu_count())
    return allowed if n_jobs is None else max(1, allowed + 1 + int(n_jobs))
