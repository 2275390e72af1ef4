/* 1-d convolution and pooling over time.

   A tap of a convolution is a matrix product of shifted views, so nothing is unfolded. Sequences
   are taken in turn, all taps of one after the other, so that a sequence stays in the cache. */

typedef struct {
    ptrdiff_t outer, steps, out, n_in, n_out, taps, dilation, before;
} FN(conv);

/* Step t of the output reads step t + offset of the input, for t in [t0, t1). */
typedef struct {
    ptrdiff_t offset, t0, t1;
} FN(tap);

CT_INLINE FN(conv) FN(conv_of)(const ct_node *node)
{
    const int64_t *d = node->ints;
    return (FN(conv)){d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]};
}

CT_INLINE FN(tap) FN(tap_of)(const FN(conv) *c, ptrdiff_t k)
{
    FN(tap) tap = {.offset = k * c->dilation - c->before};
    tap.t0 = tap.offset < 0 ? -tap.offset : 0;
    tap.t1 = c->steps - tap.offset < c->out ? c->steps - tap.offset : c->out;
    if (tap.t1 < tap.t0) tap.t1 = tap.t0;
    return tap;
}

/* Whether one matrix product serves the steps of many sequences. */
CT_INLINE int FN(aligned)(const FN(conv) *c, FN(tap) tap)
{
    return !tap.offset && c->steps == c->out;
}

/* Sequences that are taken at once: a few hundred steps. */
CT_INLINE ptrdiff_t FN(together)(const FN(conv) *c, ptrdiff_t left)
{
    ptrdiff_t n = c->steps < 256 ? 256 / c->steps : 1;
    return n < left ? n : left;
}

/* y (steps, n_out) = bias + sum over taps of x[t + offset] w[k]. The tap that reaches every
   step comes first and starts from the bias, the others are added in order. */
static void FN(conv1d_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const FN(conv) c = FN(conv_of)(node);
    const ptrdiff_t n_seq = rows * c.outer, in = c.steps * c.n_in, out = c.out * c.n_out;
    const REAL *w = (const REAL *)frame->value[node->in[1]];
    const REAL *bias = node->n_in > 2 && node->in[2] >= 0
                           ? (const REAL *)frame->value[node->in[2]]
                           : NULL;
    ptrdiff_t first = 0;
    while (first < c.taps) {
        const FN(tap) tap = FN(tap_of)(&c, first);
        if (tap.t0 == 0 && tap.t1 == c.out) break;
        first++;
    }
    for (ptrdiff_t s = 0, many; s < n_seq; s += many) {
        const REAL *x = (const REAL *)frame->value[node->in[0]] + s * in;
        REAL *y = (REAL *)frame->value[node->out] + s * out;
        many = FN(together)(&c, n_seq - s);
        if (first == c.taps)
            for (ptrdiff_t t = 0; t < many * c.out; t++)
                for (ptrdiff_t j = 0; j < c.n_out; j++)
                    y[t * c.n_out + j] = bias ? bias[j] : 0;
        for (ptrdiff_t i = first < c.taps ? -1 : 0; i < c.taps; i++) {
            const ptrdiff_t k = i < 0 ? first : i;
            const FN(tap) tap = FN(tap_of)(&c, k);
            const REAL *start = i < 0 ? bias : NULL;
            const int one = FN(aligned)(&c, tap);
            const ptrdiff_t m = one ? many * c.out : tap.t1 - tap.t0;
            if (i == first || !m) continue;
            for (ptrdiff_t q = 0; q < (one ? 1 : many); q++)
                FN(gemm)(m, c.n_out, c.n_in, x + q * in + (tap.t0 + tap.offset) * c.n_in, c.n_in,
                         1, w + k * c.n_in * c.n_out, c.n_out,
                         y + q * out + tap.t0 * c.n_out, c.n_out, start, i >= 0,
                         frame->scratch);
        }
    }
}

/* dx[t + offset] += dy[t] w[k]^T, from the transposed copy of w, in the same manner. */
static void FN(conv1d_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const FN(conv) c = FN(conv_of)(node);
    const ptrdiff_t n_seq = rows * c.outer, in = c.steps * c.n_in, out = c.out * c.n_out;
    const REAL *w = (const REAL *)frame->transposed[node->in[1]];
    ptrdiff_t first = 0;
    if (node->grad[0] == CT_SKIP) return;
    while (first < c.taps && !FN(aligned)(&c, FN(tap_of)(&c, first))) first++;
    for (ptrdiff_t s = 0, many; s < n_seq; s += many) {
        const REAL *dy = (const REAL *)frame->grad[node->out] + s * out;
        REAL *dx = (REAL *)frame->grad[node->in[0]] + s * in;
        many = FN(together)(&c, n_seq - s);
        if (first == c.taps && node->grad[0] == CT_ASSIGN)
            memset(dx, 0, sizeof(REAL) * (size_t)(many * in));
        for (ptrdiff_t i = first < c.taps ? -1 : 0; i < c.taps; i++) {
            const ptrdiff_t k = i < 0 ? first : i;
            const FN(tap) tap = FN(tap_of)(&c, k);
            const int one = FN(aligned)(&c, tap);
            const ptrdiff_t m = one ? many * c.out : tap.t1 - tap.t0;
            if (i == first || !m) continue;
            for (ptrdiff_t q = 0; q < (one ? 1 : many); q++)
                FN(gemm)(m, c.n_in, c.n_out, dy + q * out + tap.t0 * c.n_out, c.n_out, 1,
                         w + k * c.n_in, c.taps * c.n_in,
                         dx + q * in + (tap.t0 + tap.offset) * c.n_in, c.n_in, NULL,
                         i >= 0 || node->grad[0] == CT_ADD, frame->scratch);
        }
    }
}

/* dw[k] (n_in, n_out) = sum over steps of x[t + offset]^T dy[t], rows [i0, i1) of all taps;
   dbias (n_out) = sum of dy, elements [i0, i1). */
static void FN(conv1d_param)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows,
                             int input, ptrdiff_t i0, ptrdiff_t i1, int add)
{
    const FN(conv) c = FN(conv_of)(node);
    const ptrdiff_t n_seq = rows * c.outer, in = c.steps * c.n_in, out = c.out * c.n_out;
    const REAL *dy = (const REAL *)frame->grad[node->out];
    REAL *grad = (REAL *)frame->grad[node->in[input]];
    if (input == 2) {
        if (!add) memset(grad + i0, 0, sizeof(REAL) * (size_t)(i1 - i0));
        FN(add_rows)(grad + i0, dy + i0, c.n_out, n_seq * c.out, i1 - i0);
        return;
    }
    /* of a single row of w, the first axis longer than 1 is that of the columns */
    const int row = c.taps * c.n_in == 1;
    const ptrdiff_t j0 = row && c.n_out > 1 ? i0 : 0, j1 = row && c.n_out > 1 ? i1 : c.n_out;
    const ptrdiff_t r0 = row ? 0 : i0, r1 = row ? 1 : i1;
    if (!add) memset(grad + r0 * c.n_out + j0, 0,
                     sizeof(REAL) * (size_t)((r1 - r0) * (j1 - j0)));
    for (ptrdiff_t k = r0 / c.n_in; k * c.n_in < r1; k++) {
        const FN(tap) tap = FN(tap_of)(&c, k);
        const ptrdiff_t c0 = r0 > k * c.n_in ? r0 - k * c.n_in : 0;
        const ptrdiff_t c1 = r1 < (k + 1) * c.n_in ? r1 - k * c.n_in : c.n_in;
        const int one = FN(aligned)(&c, tap);
        const ptrdiff_t m = one ? n_seq * c.out : tap.t1 - tap.t0;
        const REAL *x = (const REAL *)frame->value[node->in[0]] +
                        (tap.t0 + tap.offset) * c.n_in + c0;
        if (!m) continue;
        for (ptrdiff_t s = 0; s < (one ? 1 : n_seq); s++)
            FN(gemm)(c1 - c0, j1 - j0, m, x + s * in, 1, c.n_in,
                     dy + s * out + tap.t0 * c.n_out + j0, c.n_out,
                     grad + (k * c.n_in + c0) * c.n_out + j0, c.n_out, NULL, 1, frame->scratch);
    }
}

/* Pools of a row (outer, steps, inner): output t holds the steps [t * stride, t * stride + n)
   of its column, n = kernel but at the end. */
typedef struct {
    ptrdiff_t outer, steps, out, inner, kernel, stride;
} FN(pools);

CT_INLINE FN(pools) FN(pools_of)(const ct_node *node, ptrdiff_t rows)
{
    const int64_t *d = node->ints;
    return (FN(pools)){rows * d[0], d[1], d[2], d[3], d[4], d[5]};
}

/* For each pool: where it begins in x and where it goes in y, the steps that it has. */
#define EACH_POOL(p)                                                                         \
    for (ptrdiff_t o_ = 0; o_ < (p).outer; o_++)                                             \
        for (ptrdiff_t t_ = 0, at = o_ * (p).steps * (p).inner,                              \
                       to = o_ * (p).out * (p).inner,                                        \
                       n = (p).kernel < (p).steps ? (p).kernel : (p).steps;                  \
             t_ < (p).out; t_++, at += (p).stride * (p).inner, to += (p).inner,              \
                       n = (p).steps - t_ * (p).stride < (p).kernel                          \
                               ? (p).steps - t_ * (p).stride                                 \
                               : (p).kernel)

/* y = sum of the pool, steps in order, divided by their number */
static void FN(avg_pool1d_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const FN(pools) p = FN(pools_of)(node, rows);
    const REAL *x = (const REAL *)frame->value[node->in[0]];
    REAL *y = (REAL *)frame->value[node->out];
    EACH_POOL(p) {
        for (ptrdiff_t j = 0; j < p.inner; j++) {
            REAL sum = x[at + j];
            for (ptrdiff_t i = 1; i < n; i++) sum += x[at + i * p.inner + j];
            y[to + j] = sum / (REAL)n;
        }
    }
}

/* dx = sum over the pools that hold a step, in order, of dy / n */
static void FN(avg_pool1d_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const FN(pools) p = FN(pools_of)(node, rows);
    const REAL *dy = (const REAL *)frame->grad[node->out];
    REAL *dx = (REAL *)frame->grad[node->in[0]];
    if (node->grad[0] == CT_SKIP) return;
    if (node->grad[0] == CT_ASSIGN)
        memset(dx, 0, sizeof(REAL) * (size_t)(p.outer * p.steps * p.inner));
    EACH_POOL(p) {
        for (ptrdiff_t i = 0; i < n; i++)
            for (ptrdiff_t j = 0; j < p.inner; j++)
                dx[at + i * p.inner + j] += dy[to + j] / (REAL)n;
    }
}

/* y = largest of the pool; NaN if there is one */
static void FN(max_pool1d_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const FN(pools) p = FN(pools_of)(node, rows);
    const REAL *x = (const REAL *)frame->value[node->in[0]];
    REAL *y = (REAL *)frame->value[node->out];
    EACH_POOL(p) {
        for (ptrdiff_t j = 0; j < p.inner; j++) {
            REAL largest = x[at + j];
            for (ptrdiff_t i = 1; i < n; i++) {
                const REAL v = x[at + i * p.inner + j];
                largest = v > largest || v != v ? v : largest;
            }
            y[to + j] = largest;
        }
    }
}

/* dx of the first element that is the largest gains dy */
static void FN(max_pool1d_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const FN(pools) p = FN(pools_of)(node, rows);
    const REAL *x = (const REAL *)frame->value[node->in[0]];
    const REAL *y = (const REAL *)frame->value[node->out];
    const REAL *dy = (const REAL *)frame->grad[node->out];
    REAL *dx = (REAL *)frame->grad[node->in[0]];
    if (node->grad[0] == CT_SKIP) return;
    if (node->grad[0] == CT_ASSIGN)
        memset(dx, 0, sizeof(REAL) * (size_t)(p.outer * p.steps * p.inner));
    EACH_POOL(p) {
        for (ptrdiff_t j = 0; j < p.inner; j++) {
            ptrdiff_t i = 0;
            while (i + 1 < n && x[at + i * p.inner + j] != y[to + j]) i++;
            dx[at + i * p.inner + j] += dy[to + j];
        }
    }
}

#undef EACH_POOL
