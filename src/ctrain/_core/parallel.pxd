cdef extern from *:
    """
    #include <sched.h>
    #include <time.h>
    /* A team shares one job at a time. The caller opens it, takes pieces like everybody else, and
       closes it: then it waits for those who are inside, not for those who never came. So a
       thread whose core is taken by another process holds nobody up. Every thread begins with
       its own share of the pieces, the same in every step, so that what they touch stays in its
       cache, and then helps the others. */
    typedef struct {
        long next;        /* piece of a thread's share to be taken next */
        char apart[56];   /* on a cache line of its own */
    } ct_share;
    typedef struct {
        ct_share *share;  /* one for each thread */
        int threads;
        int open;         /* whether the job may be entered */
        int active;       /* threads inside, without the caller */
        int generation;   /* number of the job */
        int dismissed;
    } ct_team;
    static void ct_pause(int *idle)
    {
        struct timespec nap = {0, 50000};
        if (*idle < 50000) {
    #if defined(__x86_64__)
            __builtin_ia32_pause();
    #endif
            ++*idle;
        } else {
            nanosleep(&nap, NULL);
        }
    }
    static long ct_begin(const ct_team *t, int thread, long n) { return thread * n / t->threads; }
    static void ct_deal(ct_team *t, int threads, long n)
    {
        t->threads = threads;
        for (int k = 0; k < threads; k++) t->share[k].next = ct_begin(t, k, n);
    }
    /* one of n pieces; n: there are none left */
    static long ct_take(ct_team *t, int thread, long n)
    {
        for (int k = 0; k < t->threads; k++) {
            const int whose = (thread + k) % t->threads;
            const long end = ct_begin(t, whose + 1, n);
            long *next = &t->share[whose].next;
            if (__atomic_load_n(next, __ATOMIC_RELAXED) < end) {
                const long piece = __atomic_fetch_add(next, 1, __ATOMIC_RELAXED);
                if (piece < end) return piece;
            }
        }
        return n;
    }
    static void ct_open(ct_team *t)
    {
        __atomic_add_fetch(&t->generation, 1, __ATOMIC_SEQ_CST);
        __atomic_store_n(&t->open, 1, __ATOMIC_SEQ_CST);
    }
    static void ct_close(ct_team *t)
    {
        int spins = 0;
        __atomic_store_n(&t->open, 0, __ATOMIC_SEQ_CST);
        while (__atomic_load_n(&t->active, __ATOMIC_SEQ_CST))
            if (++spins > 20000) sched_yield();
    }
    static void ct_dismiss(ct_team *t) { __atomic_store_n(&t->dismissed, 1, __ATOMIC_SEQ_CST); }
    /* 1: inside a job that *served does not know yet; 0: dismissed */
    static int ct_enter(ct_team *t, int *served)
    {
        int idle = 0;
        for (;;) {
            if (__atomic_load_n(&t->dismissed, __ATOMIC_SEQ_CST)) return 0;
            if (__atomic_load_n(&t->open, __ATOMIC_RELAXED) &&
                __atomic_load_n(&t->generation, __ATOMIC_RELAXED) != *served) {
                __atomic_add_fetch(&t->active, 1, __ATOMIC_SEQ_CST);
                if (__atomic_load_n(&t->open, __ATOMIC_SEQ_CST)) {
                    *served = __atomic_load_n(&t->generation, __ATOMIC_SEQ_CST);
                    return 1;
                }
                __atomic_sub_fetch(&t->active, 1, __ATOMIC_SEQ_CST);
            }
            ct_pause(&idle);
        }
    }
    static void ct_leave(ct_team *t) { __atomic_sub_fetch(&t->active, 1, __ATOMIC_SEQ_CST); }
    """
    ctypedef struct ct_share:
        pass
    ctypedef struct ct_team:
        ct_share *share
        int dismissed
    void ct_deal(ct_team *, int threads, long n) noexcept nogil
    long ct_take(ct_team *, int thread, long n) noexcept nogil
    void ct_open(ct_team *) noexcept nogil
    void ct_close(ct_team *) noexcept nogil
    void ct_dismiss(ct_team *) noexcept nogil
    int ct_enter(ct_team *, int *served) noexcept nogil
    void ct_leave(ct_team *) noexcept nogil


cdef double now_seconds() noexcept nogil
cdef bint may_fork_join(int n_threads, double flops) noexcept nogil
