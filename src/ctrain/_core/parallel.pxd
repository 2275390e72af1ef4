cdef bint may_fork_join(int n_threads, double flops) noexcept nogil
