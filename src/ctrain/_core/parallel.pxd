cdef double now_seconds() noexcept nogil
cdef bint may_fork_join(int n_threads, double flops) noexcept nogil


cdef class Pace:
    cdef int n_threads
    cdef bint all
    cdef bint trying
    cdef int left
    cdef int counted
    cdef double seconds
    cdef double cost[2]
    cdef int choose(self, double flops) noexcept nogil
    cdef void learn(self, double flops, double seconds) noexcept nogil
