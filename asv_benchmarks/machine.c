/* What this machine can do at most: multiply-adds per second and bytes copied per second; and a
   loop around somebody else's sgemm, so that no Python call is timed with it. */
#include <pthread.h>
#include <string.h>

#if defined(__AVX512F__)
#define BYTES 64
#define CHAINS 24
#elif defined(__AVX2__)
#define BYTES 32
#define CHAINS 12
#else
#define BYTES 16
#define CHAINS 24
#endif

typedef float vfloat __attribute__((vector_size(BYTES)));
typedef double vdouble __attribute__((vector_size(BYTES)));

enum { MAX_THREADS = 64, BLOCK = 10000 };

typedef struct {
    int itemsize;
    long blocks;
    double mean; /* of all chains at the end: 1, where acc = 0.999 acc + 0.001 leads */
} peak_job;

/* Enough independent chains to hide the latency of an FMA. All loops over them are unrolled, or
   they would live in memory; volatile asm keeps a result that nobody reads. */
#if defined(__aarch64__)
#define REGISTER "+w"
#elif defined(__x86_64__)
#define REGISTER "+v"
#endif
#define PEAK(V, T)                                                              \
    V acc[CHAINS], x = {0}, y = {0};                                            \
    x += (T)0.999, y += (T)1e-3;                                                \
    _Pragma("GCC unroll 24") for (int i = 0; i < CHAINS; i++) acc[i] = y;       \
    for (long k = 0; k < job->blocks * BLOCK; k++) {                            \
        _Pragma("GCC unroll 24") for (int i = 0; i < CHAINS; i++) {             \
            acc[i] = acc[i] * x + y;                                            \
            __asm__ volatile("" : REGISTER(acc[i]));                                    \
        }                                                                       \
    }                                                                           \
    V sum = {0};                                                                \
    _Pragma("GCC unroll 24") for (int i = 0; i < CHAINS; i++) sum += acc[i];                           \
    for (size_t i = 0; i < BYTES / sizeof(T); i++) job->mean += (double)sum[i]; \
    job->mean /= (double)(CHAINS * BYTES / sizeof(T));

static void *run_peak(void *argument)
{
    peak_job *job = argument;
    if (job->itemsize == 4) {
        PEAK(vfloat, float)
    } else {
        PEAK(vdouble, double)
    }
    return NULL;
}

/* Multiply-adds that wait for nothing, on so many threads; answers the operations done, or -1 if
   the arithmetic did not take place. */
double multiply_add(int threads, int itemsize, long blocks)
{
    pthread_t ids[MAX_THREADS];
    peak_job jobs[MAX_THREADS];
    for (int i = 0; i < threads; i++) {
        jobs[i] = (peak_job){itemsize, blocks, 0.0};
        pthread_create(&ids[i], NULL, run_peak, &jobs[i]);
    }
    for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
    for (int i = 0; i < threads; i++)
        if (jobs[i].mean < 0.99 || jobs[i].mean > 1.01) return -1.0;
    return 2.0 * CHAINS * (double)(BYTES / itemsize) * BLOCK * (double)blocks * threads;
}

typedef struct {
    const char *from;
    char *to;
    size_t bytes;
} copy_job;

static void *run_copy(void *argument)
{
    const copy_job *job = argument;
    memcpy(job->to, job->from, job->bytes);
    return NULL;
}

void copy(int threads, const char *from, char *to, long bytes)
{
    pthread_t ids[MAX_THREADS];
    copy_job jobs[MAX_THREADS];
    long part = bytes / threads;
    for (int i = 0; i < threads; i++) {
        jobs[i] = (copy_job){from + i * part, to + i * part, (size_t)part};
        pthread_create(&ids[i], NULL, run_copy, &jobs[i]);
    }
    for (int i = 0; i < threads; i++) pthread_join(ids[i], NULL);
}

typedef void (*sgemm_function)(char *, char *, int *, int *, int *, float *, float *, int *,
                               float *, int *, float *, float *, int *);

void repeat_sgemm(sgemm_function sgemm, char *left, char *right, int m, int n, int k, float *a,
                  int a_column, float *b, int b_column, float *c, int c_column, int repeat)
{
    float one = 1.0f, zero = 0.0f;
    for (int i = 0; i < repeat; i++)
        sgemm(left, right, &m, &n, &k, &one, a, &a_column, b, &b_column, &zero, c, &c_column);
}
