"""The only door to OpenMP's routines and to what a fork does to them.

The parallel region itself stands in ``step.pyx``, behind ``may_fork_join``: a region of one thread
would still allocate and call the kernel.
"""

import numbers

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
    #include <time.h>
    static double ct_now(void)
    {
        struct timespec t;
        timespec_get(&t, TIME_UTC);
        return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
    }
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
    double ct_now() nogil
    int CT_MAX_THREADS() nogil
    int ct_watch_fork() nogil

if ct_watch_fork() != 0:
    raise ImportError("pthread_atfork failed: out of memory")


cdef double now_seconds() noexcept nogil:
    """Wall-clock time; a jump of the clock moves a look for signals, nothing else."""
    return ct_now()


#: flops of a phase below which a fork-join costs more than it saves
cdef double PARALLEL_FLOPS = 1e6


cdef bint may_fork_join(int n_threads, double flops) noexcept nogil:
    """Whether a phase of so much work is worth several threads, in a process that may have them."""
    return n_threads > 1 and flops > PARALLEL_FLOPS and not ct_is_child


def openmp_version():
    """OpenMP's version date (201511 ...), 0 where the build has none."""
    return CT_OPENMP


#: what joblib says of affinity and quota; reading it takes 50 us, so it is read once
_cpus = 0


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
    global _cpus
    whole = isinstance(n_jobs, numbers.Integral) and not isinstance(n_jobs, bool)
    if n_jobs is not None and not (whole and n_jobs != 0):
        raise ValueError(f"n_jobs must be None or an integer other than 0; got {n_jobs!r}")
    if CT_OPENMP == 0 or ct_is_child:
        return 1
    if n_jobs is not None and n_jobs > 0:
        return int(n_jobs)
    _cpus = _cpus or joblib.cpu_count()
    allowed = min(CT_MAX_THREADS(), _cpus)
    return allowed if n_jobs is None else max(1, allowed + 1 + int(n_jobs))
