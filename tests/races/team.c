/* Parallel regions made of pthreads, linked instead of libgomp under -fsanitize=thread.

   The sanitizer sees what pthread_create and pthread_join order. It does not see the futexes of
   libgomp, so that every region of a correct program would be reported. Only the region itself is
   replaced: the hand-out of work inside it is ctrain's own. Beside the sanitizer no build uses
   this file. */
#include <pthread.h>
#include <stdlib.h>

#define HIDDEN __attribute__((visibility("hidden")))

typedef struct {
    void (*run)(void *);
    void *data;
    int number;
} member;

/* in static memory: the loader frees what it would allocate later by locks of its own */
static __thread int number __attribute__((tls_model("initial-exec")));

static void *start(void *given)
{
    member *m = given;
    number = m->number;
    m->run(m->data);
    return NULL;
}

HIDDEN void GOMP_parallel(void (*run)(void *), void *data, unsigned n, unsigned flags)
{
    member members[64];
    pthread_t threads[64];
    (void)flags;
    if (n < 1 || n > 64) abort();
    for (unsigned k = 1; k < n; k++) {
        members[k] = (member){run, data, (int)k};
        if (pthread_create(&threads[k], NULL, start, &members[k])) abort();
    }
    run(data);
    for (unsigned k = 1; k < n; k++)
        if (pthread_join(threads[k], NULL)) abort();
}

HIDDEN int omp_get_thread_num(void) { return number; }

HIDDEN int omp_get_max_threads(void) { return 4; }
