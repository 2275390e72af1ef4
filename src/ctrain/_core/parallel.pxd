cdef bint may_fork_join() noexcept nogil
