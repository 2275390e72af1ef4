/* What crosses the border between the executor (Cython) and the kernels (C).

   A kernel is a pure function of a recorded node, a frame that says where each
   tensor of one tile of rows lives, and a number of rows. It allocates nothing,
   starts no thread, knows no Python and never aborts.

   Every kernel exists once per CPU target and dtype; ct_table_for() hands out
   the set that fits this machine. */
#ifndef CTRAIN_KERNELS_H
#define CTRAIN_KERNELS_H

#include <stddef.h>
#include <stdint.h>

/* What backward does with the gradient of one input. */
enum { CT_SKIP = 0, CT_ASSIGN = 1, CT_ADD = 2 };

/* Bytes of scratch memory behind ct_frame.scratch, 64-byte aligned. */
#define CT_SCRATCH (512 * 1024)

/* One recorded operation. */
typedef struct {
    const int32_t *in;     /* tensor ids of the inputs */
    int32_t n_in;
    int32_t out;           /* tensor id of the output */
    int32_t kept;          /* of what forward keeps for backward, a value; -1: not kept */
    const int64_t *ints;   /* attributes, packed by the row of the table */
    const double *floats;
    const uint8_t *grad;   /* per input: CT_SKIP, CT_ASSIGN or CT_ADD */
    uint64_t stream;       /* random stream of this node */
} ct_node;

/* Where the tensors of one tile live. value[t] and grad[t] point at the first
   row of the tile for row-level tensors, at the whole tensor otherwise. Rows
   are contiguous. value[] of a weight's transposed copy is transposed[t]. */
typedef struct {
    char **value;
    char **grad;
    char **transposed;         /* W (k, n) kept as (n, k), for matmul's backward */
    const int64_t *row;        /* identity of each row: counts random streams */
    uint64_t seed;
    uint64_t step;
    void *scratch;             /* CT_SCRATCH bytes, private to the thread */
} ct_frame;

typedef void (*ct_forward)(const ct_node *, const ct_frame *, ptrdiff_t rows);
typedef void (*ct_backward)(const ct_node *, const ct_frame *, ptrdiff_t rows);
/* Gradient of parameter-level input `input`, leading-axis rows [i0, i1) of it,
   summed over all rows in row order; add = 0 assigns, 1 continues the sum. */
typedef void (*ct_param)(const ct_node *, const ct_frame *, ptrdiff_t rows,
                         int input, ptrdiff_t i0, ptrdiff_t i1, int add);

/* The operations: F forward, B backward, P gradient of parameter-level inputs. */
#define CT_OPS(F, FB, FBP)                                                      \
    FBP(matmul) FB(batched_matmul) FBP(broadcast) FBP(embedding) FBP(conv1d)    \
    FB(avg_pool1d) FB(max_pool1d) FBP(lstm) FBP(gru) FBP(rnn) FB(attention)     \
    FBP(layer_norm) FBP(rms_norm) FBP(affine) FB(batch_mean) FB(batch_moments)  \
    FB(add) FB(sub) FB(mul) FB(div) FB(minimum) FB(maximum) FB(where)           \
    FB(scale) FB(neg) FB(exp) FB(log) FB(log1p) FB(sqrt) FB(square) FB(abs)     \
    FB(power) FB(clip) FB(lgamma) FB(log_rising) FB(identity) F(stop_gradient)  \
    FB(relu) FB(leaky_relu) FB(elu) FB(gelu) FB(gelu_tanh) FB(tanh)             \
    FB(sigmoid) FB(silu) FB(softplus) FB(erf)                                   \
    FB(sum) FB(mean) FB(moments) FB(max) FB(cumsum) FB(softmax) FB(log_softmax)             \
    FB(slice) FB(concat) FB(reshape) FB(transpose) FB(pad)                      \
    F(bernoulli) F(random_uniform) F(random_normal) F(random_gamma)             \
    F(random_poisson) FB(sort) FB(ratio) F(median)                              \
    FB(squared_error) FB(absolute_error) FB(huber) FB(quantile) FB(mape)        \
    FB(smape) FB(logcosh) FB(poisson) FB(log_loss)

typedef struct {
    const char *name;
    ct_forward forward;
    ct_backward backward;
    ct_param param;
} ct_op;

/* One optimizer step over n consecutive weights of one parameter. The gradient
   that the formula sees is
     g = clamp(factor * grad, -clip_value, clip_value) + alpha * w + l1 * sign(w). */
typedef struct {
    double factor;        /* 1 / sum of weights, times the norm clipping */
    double clip_value;    /* infinity: off */
    double alpha, l1;     /* already 0 for parameters without decay */
    double decay;         /* 1, or 0 for parameters without decay: scales weight_decay */
    const double *hyper;  /* the optimizer's own numbers, as its declaration packs them */
    const double *scalar; /* what <name>_prepare made of them for this step */
} ct_update_args;

typedef void (*ct_update)(const ct_update_args *, void *w, const void *grad,
                          void *const *slots, ptrdiff_t n);
/* Once a step: t = 1, 2, ... and the learning rate; fills at most 8 scalars. */
typedef void (*ct_prepare)(const double *hyper, int64_t t, double lr, double *scalar);

#define CT_UPDATES(X) X(sgd) X(adam) X(rmsprop) X(adagrad)

typedef struct {
    const char *name;
    ct_update update;
    ct_prepare prepare;
} ct_optimizer;

/* C (m, n) = start + A (m, k) B (k, n), one FMA chain over k per element.
   Element (i, p) of A lies at a[i * a_row + p * a_col]; B and C are row-major.
   start: bias (n) if given, else C itself if add, else 0. */
typedef void (*ct_gemm)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k,
                        const void *a, ptrdiff_t a_row, ptrdiff_t a_col,
                        const void *b, ptrdiff_t b_row,
                        void *c, ptrdiff_t c_row,
                        const void *bias, int add, void *scratch);

/* A window begins at step `start` of a series that has the steps 0 to length - 1; step 0 is
   step `origin` of its part of the array. */
typedef struct {
    int64_t series, start, origin, length;
} ct_window;

/* What a window takes of series that share an array, strides in bytes: the steps from `first` on,
   counted from the window's start. Where the mask, a byte for each step, is 0, it takes 0 for
   values that are not finite, and for all if `hides`. */
typedef struct {
    const char *data;
    const char *mask;  /* NULL: ones */
    ptrdiff_t series_stride, time_stride, col_stride;
    ptrdiff_t mask_series_stride, mask_time_stride;
    ptrdiff_t first, steps, width;
    int item;          /* 4 or 8: float32 or float64; 1: a mask */
    int hides;
} ct_series;

typedef struct {
    const char *target;
    int32_t itemsize;
    const ct_op *ops;                /* ends with name == NULL */
    const ct_optimizer *optimizers;  /* ends with name == NULL */
    ct_gemm gemm;
    /* dst (n, m) = src (m, n) transposed, strides in elements */
    void (*transpose)(const void *src, ptrdiff_t src_row, void *dst, ptrdiff_t dst_row,
                      ptrdiff_t m, ptrdiff_t n);
    /* sum of squares in float64, a fixed order whatever the target */
    double (*sum_squares)(const void *x, ptrdiff_t n);
    /* average (n) = (1 - momentum) * average + momentum * x, but where x is not finite */
    void (*track)(void *average, const void *x, double momentum, ptrdiff_t n);
    /* dst (n, width) = rows of a strided array, float32 or float64 (item 4 or 8),
       strides in bytes; index NULL: rows first, first + 1, ... Returns -1, or the
       position of the first row that holds a value which is not finite. */
    ptrdiff_t (*gather)(void *dst, const void *src, int item, ptrdiff_t row_stride,
                        ptrdiff_t col_stride, const int64_t *index, int64_t first,
                        ptrdiff_t n, ptrdiff_t width);
    /* the same from CSR: data of float32 or float64, indices and indptr of 32 or 64 bits */
    ptrdiff_t (*gather_csr)(void *dst, const void *data, int item, const void *indices,
                            int index_item, const void *indptr, int indptr_item,
                            const int64_t *index, int64_t first, ptrdiff_t n, ptrdiff_t width);
    /* dst (n, steps, width) = windows of series; 0 where a series has no step */
    ptrdiff_t (*gather_windows)(void *dst, const ct_series *x, const ct_window *windows,
                                ptrdiff_t n);
} ct_table;

/* float (4) or double (8) kernels of a target: "avx512", "avx2", "neon", "baseline";
   NULL where the machine cannot run it or the build does not have it. */
const ct_table *ct_table_for(const char *target, int itemsize);
/* The best target that this machine can run. */
const char *ct_best_target(void);

#endif
