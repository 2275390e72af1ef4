/* Reductions over axes of the row, softmax, ratio, and the sum of squares.

   A sum along contiguous memory runs over 16 virtual lanes whatever the vector
   width: element i goes to lane i % 16, and the lanes are added by one tree
   (8 + 8, 4 + 4, 2 + 2, 1 + 1). A sum along strided memory is one chain per
   output, vectorised over the outputs. So the bits depend on neither the target
   nor the place. */

#define LANES (16 / W) /* vectors that hold the 16 virtual lanes */

/* Elements [0, n) of p, zeros behind; n may exceed 16. */
CT_INLINE void FN(load16)(V *v, const REAL *p, ptrdiff_t n)
{
    for (int k = 0; k < LANES; k++) {
        ptrdiff_t left = n - k * W;
        v[k] = left >= W ? V_LOAD(p + k * W) : left > 0 ? V_LOAD_N(p + k * W, left) : V_SET(0);
    }
}

/* Lanes at n and behind become `fill`. */
CT_INLINE void FN(fill16)(V *v, ptrdiff_t n, REAL fill)
{
    VI lane;
    for (int i = 0; i < W; i++) lane[i] = i;
    for (int k = 0; k < LANES; k++)
        v[k] = V_SELECT(lane < VI_SET((INT)(n - k * W)), v[k], V_SET(fill));
}

/* The first n lanes (all, if n > W) of g to p, or added to it. */
CT_INLINE void FN(give)(REAL *p, V g, ptrdiff_t n, int mode)
{
    if (n >= W) {
        if (mode == CT_ADD) g += V_LOAD(p);
        V_STORE(p, g);
    } else if (n > 0) {
        if (mode == CT_ADD) g += V_LOAD_N(p, n);
        V_STORE_N(p, g, n);
    }
}

/* The 16 lanes as pieces of 16 bytes. */
#define PIECE (16 / (int)sizeof(REAL)) /* lanes of a piece */
typedef REAL FN(piece) __attribute__((vector_size(16)));
CT_INLINE void FN(pieces)(FN(piece) *q, const V *v)
{
    for (int k = 0; k < LANES; k++, q += W / PIECE) {
#if CT_BITS == 512 && CT_F64
        q[0] = (FN(piece))_mm512_castpd512_pd128((__m512d)v[k]);
        q[1] = (FN(piece))_mm512_extractf64x2_pd((__m512d)v[k], 1);
        q[2] = (FN(piece))_mm512_extractf64x2_pd((__m512d)v[k], 2);
        q[3] = (FN(piece))_mm512_extractf64x2_pd((__m512d)v[k], 3);
#elif CT_BITS == 512
        q[0] = (FN(piece))_mm512_castps512_ps128((__m512)v[k]);
        q[1] = (FN(piece))_mm512_extractf32x4_ps((__m512)v[k], 1);
        q[2] = (FN(piece))_mm512_extractf32x4_ps((__m512)v[k], 2);
        q[3] = (FN(piece))_mm512_extractf32x4_ps((__m512)v[k], 3);
#elif CT_BITS == 256 && CT_F64
        q[0] = (FN(piece))_mm256_castpd256_pd128((__m256d)v[k]);
        q[1] = (FN(piece))_mm256_extractf128_pd((__m256d)v[k], 1);
#elif CT_BITS == 256
        q[0] = (FN(piece))_mm256_castps256_ps128((__m256)v[k]);
        q[1] = (FN(piece))_mm256_extractf128_ps((__m256)v[k], 1);
#else
        q[0] = (FN(piece))v[k];
#endif
    }
}

/* 16 lanes to one by the fixed tree. */
#define TREE(name, STEP)                                                                     \
    CT_INLINE REAL FN(name)(const V *v)                                                      \
    {                                                                                        \
        FN(piece) q[16 / PIECE];                                                             \
        FN(pieces)(q, v);                                                                    \
        for (int w = 8 / PIECE; w; w /= 2)                                                   \
            for (int i = 0; i < w; i++) q[i] = STEP(q[i], q[i + w]);                         \
        if (PIECE == 4) {                                                                    \
            FN(piece) high = {q[0][PIECE - 2], q[0][PIECE - 1]};                             \
            q[0] = STEP(q[0], high);                                                         \
        }                                                                                    \
        FN(piece) last = {q[0][1]};                                                          \
        q[0] = STEP(q[0], last);                                                             \
        return q[0][0];                                                                      \
    }

/* b where it is larger or not a number, else a */
CT_INLINE V FN(larger)(V a, V b) { return V_SELECT((b > a) | (b != b), b, a); }
CT_INLINE FN(piece) FN(larger_piece)(FN(piece) a, FN(piece) b)
{
    typedef INT BITS __attribute__((vector_size(16)));
    BITS m = (b > a) | (b != b);
    return (FN(piece))((m & (BITS)b) | (~m & (BITS)a));
}
#define LARGER(a, b) (((b) > (a)) | ((b) != (b)) ? (b) : (a))
#define PLUS(a, b) ((a) + (b))
TREE(sum16, PLUS)
TREE(max16, FN(larger_piece))
#undef TREE
#undef PIECE

/* The row (k0, r0, k1, r1, k2, r2, k3) is reduced over the axes r. A cell is k3
   consecutive outputs; what flows into it lies in r0 * r1 runs of (r2, k3). */
typedef struct {
    ptrdiff_t cells, r0, r1, n, inner, count;
    ptrdiff_t k1, k2;
    ptrdiff_t step_r1, step_k1, step_r0, step_k0;
} FN(cells);

CT_INLINE FN(cells) FN(cells_of)(const ct_node *node, ptrdiff_t rows)
{
    const int64_t *d = node->ints;
    FN(cells) c = {.cells = rows * d[0] * d[2] * d[4], .r0 = d[1], .r1 = d[3], .n = d[5],
                   .inner = d[6], .count = d[1] * d[3] * d[5], .k1 = d[2], .k2 = d[4]};
    c.step_r1 = c.k2 * c.n * c.inner;
    c.step_k1 = c.r1 * c.step_r1;
    c.step_r0 = c.k1 * c.step_k1;
    c.step_k0 = d[1] * c.step_r0;
    return c;
}

/* Where cell q begins in the input. */
CT_INLINE ptrdiff_t FN(cell_at)(const FN(cells) *c, ptrdiff_t q)
{
    if (c->k1 * c->k2 == 1) return q * c->step_k0;
    ptrdiff_t m = q / c->k2;
    return m / c->k1 * c->step_k0 + m % c->k1 * c->step_k1 + q % c->k2 * c->n * c->inner;
}

/* run: where each run of a cell begins in it */
#define EACH_RUN(c)                                                                          \
    for (ptrdiff_t a_ = 0; a_ < (c)->r0; a_++)                                               \
        for (ptrdiff_t b_ = 0, run = a_ * (c)->step_r0; b_ < (c)->r1; b_++, run += (c)->step_r1)

CT_INLINE REAL FN(run_sum)(const REAL *x, ptrdiff_t n)
{
    V a[LANES], v[LANES];
    ptrdiff_t full = n - n % 16;
    for (int k = 0; k < LANES; k++) a[k] = V_SET(0);
    for (ptrdiff_t i = 0; i < full; i += 16)
        for (int k = 0; k < LANES; k++) a[k] += V_LOAD(x + i + k * W);
    if (full < n) {
        FN(load16)(v, x + full, n - full);
        for (int k = 0; k < LANES; k++) a[k] += v[k];
    }
    return FN(sum16)(a);
}

CT_INLINE REAL FN(run_max)(const REAL *x, ptrdiff_t n)
{
    V a[LANES], v[LANES];
    ptrdiff_t full = n - n % 16;
    FN(load16)(a, x + full, n - full);
    FN(fill16)(a, n - full, -(REAL)INFINITY);
    for (ptrdiff_t i = 0; i < full; i += 16) {
        FN(load16)(v, x + i, 16);
        for (int k = 0; k < LANES; k++) a[k] = FN(larger)(a[k], v[k]);
    }
    return FN(max16)(a);
}

/* `vecs` vectors of outputs of a cell, or one of n < W lanes */
#define COLUMNS(name, START, STEP)                                                           \
    CT_INLINE void FN(columns_##name)(const FN(cells) *c, const REAL *x, REAL *y,            \
                                      const int vecs, ptrdiff_t n, REAL divisor)             \
    {                                                                                        \
        V a[4];                                                                              \
        for (int k = 0; k < vecs; k++) a[k] = V_SET(START);                                  \
        EACH_RUN(c) {                                                                        \
            const REAL *p = x + run;                                                         \
            for (ptrdiff_t i = 0; i < c->n; i++, p += c->inner)                              \
                for (int k = 0; k < vecs; k++) a[k] = STEP(a[k], FN(get)(p + k * W, n));     \
        }                                                                                    \
        for (int k = 0; k < vecs; k++)                                                       \
            FN(give)(y + k * W, divisor == 1 ? a[k] : a[k] / V_SET(divisor), n, CT_ASSIGN);  \
    }
COLUMNS(sum, 0, PLUS)
COLUMNS(max, -INFINITY, FN(larger))

#define REDUCE(name, START, STEP1)                                                           \
    CT_INLINE void FN(reduce_##name)(const FN(cells) *c, const REAL *x, REAL *y, REAL divisor) \
    {                                                                                        \
        const ptrdiff_t inner = c->inner;                                                    \
        for (ptrdiff_t q = 0; q < c->cells; q++, y += inner) {                               \
            const REAL *p = x + FN(cell_at)(c, q);                                           \
            if (inner == 1) {                                                                \
                REAL a = START;                                                              \
                EACH_RUN(c) {                                                                \
                    REAL b = FN(run_##name)(p + run, c->n);                                  \
                    a = STEP1(a, b);                                                         \
                }                                                                            \
                *y = divisor == 1 ? a : a / divisor;                                         \
                continue;                                                                    \
            }                                                                                \
            ptrdiff_t i = 0;                                                                 \
            for (; i + 4 * W <= inner; i += 4 * W)                                           \
                FN(columns_##name)(c, p + i, y + i, 4, W, divisor);                          \
            for (; i + W <= inner; i += W) FN(columns_##name)(c, p + i, y + i, 1, W, divisor); \
            if (i < inner) FN(columns_##name)(c, p + i, y + i, 1, inner - i, divisor);       \
        }                                                                                    \
    }
REDUCE(sum, 0, PLUS)
REDUCE(max, -(REAL)INFINITY, LARGER)
#undef COLUMNS
#undef REDUCE
#undef PLUS
#undef LARGER

static void FN(sum_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    FN(cells) c = FN(cells_of)(node, rows);
    FN(reduce_sum)(&c, (const REAL *)frame->value[node->in[0]], (REAL *)frame->value[node->out], 1);
}

static void FN(mean_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    FN(cells) c = FN(cells_of)(node, rows);
    FN(reduce_sum)(&c, (const REAL *)frame->value[node->in[0]], (REAL *)frame->value[node->out],
                   (REAL)c.count);
}

static void FN(max_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    FN(cells) c = FN(cells_of)(node, rows);
    FN(reduce_max)(&c, (const REAL *)frame->value[node->in[0]], (REAL *)frame->value[node->out], 1);
}

/* dx = dy / divisor, the same for all that flowed into a cell. */
static void FN(spread)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows, int mean)
{
    const int mode = node->grad[0];
    if (mode == CT_SKIP) return;
    FN(cells) c = FN(cells_of)(node, rows);
    REAL *dx = (REAL *)frame->grad[node->in[0]];
    const REAL *dy = (const REAL *)frame->grad[node->out];
    const REAL divisor = mean ? (REAL)c.count : 1;
    for (ptrdiff_t q = 0; q < c.cells; q++, dy += c.inner) {
        REAL *cell = dx + FN(cell_at)(&c, q);
        EACH_RUN(&c) {
            REAL *p = cell + run;
            if (c.inner == 1) {
                V v = V_SET(*dy) / V_SET(divisor);
                for (ptrdiff_t i = 0; i < c.n; i += W) FN(give)(p + i, v, c.n - i, mode);
                continue;
            }
            for (ptrdiff_t k = 0; k < c.inner; k += W) {
                V v = FN(get)(dy + k, c.inner - k) / V_SET(divisor);
                for (ptrdiff_t i = 0; i < c.n; i++)
                    FN(give)(p + i * c.inner + k, v, c.inner - k, mode);
            }
        }
    }
}

static void FN(sum_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    FN(spread)(node, frame, rows, 0);
}

static void FN(mean_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    FN(spread)(node, frame, rows, 1);
}

/* dy goes to the first element that equals the maximum (the first NaN, if it is NaN). */
static void FN(max_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const int mode = node->grad[0];
    if (mode == CT_SKIP) return;
    FN(cells) c = FN(cells_of)(node, rows);
    const REAL *x = (const REAL *)frame->value[node->in[0]];
    const REAL *y = (const REAL *)frame->value[node->out];
    const REAL *dy = (const REAL *)frame->grad[node->out];
    REAL *dx = (REAL *)frame->grad[node->in[0]];
    if (mode == CT_ASSIGN && c.inner == 1)
        memset(dx, 0, (size_t)(c.cells * c.count) * sizeof(REAL));
    for (ptrdiff_t q = 0; q < c.cells; q++, y += c.inner, dy += c.inner) {
        const ptrdiff_t at = FN(cell_at)(&c, q);
        if (c.inner == 1) {
            int found = 0;
            EACH_RUN(&c) {
                for (ptrdiff_t i = 0, p = at + run; i < c.n && !found; i++, p++)
                    if (x[p] == *y || (x[p] != x[p] && *y != *y)) {
                        dx[p] += *dy;
                        found = 1;
                    }
            }
            continue;
        }
        for (ptrdiff_t k = 0; k < c.inner; k += W) {
            const ptrdiff_t left = c.inner - k;
            const V top = FN(get)(y + k, left), g = FN(get)(dy + k, left);
            VI open = VI_SET(-1);
            EACH_RUN(&c) {
                for (ptrdiff_t i = 0, p = at + run + k; i < c.n; i++, p += c.inner) {
                    V v = FN(get)(x + p, left);
                    VI hit = open & ((v == top) | ((v != v) & (top != top)));
                    FN(give)(dx + p, V_SELECT(hit, g, V_SET(0)), left, mode);
                    open &= ~hit;
                }
            }
        }
    }
}
#undef EACH_RUN

/* y[i] = x[0] + ... + x[i] along an axis: one chain in order, or from the end. */
CT_INLINE void FN(running_sum)(const REAL *x, REAL *y, const int64_t *d, ptrdiff_t rows,
                               const int reverse, const int mode)
{
    const ptrdiff_t n = d[1], inner = d[2], step = reverse ? -inner : inner;
    for (ptrdiff_t o = 0; o < rows * d[0]; o++, x += n * inner, y += n * inner) {
        const ptrdiff_t first = reverse ? (n - 1) * inner : 0;
        if (inner == 1) {
            REAL a = 0;
            for (ptrdiff_t i = 0, p = first; i < n; i++, p += step) {
                a += x[p];
                y[p] = mode == CT_ADD ? y[p] + a : a;
            }
            continue;
        }
        for (ptrdiff_t k = 0; k < inner; k += W) {
            V a = V_SET(0);
            for (ptrdiff_t i = 0, p = first + k; i < n; i++, p += step) {
                a += FN(get)(x + p, inner - k);
                FN(give)(y + p, a, inner - k, mode);
            }
        }
    }
}

static void FN(cumsum_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    FN(running_sum)((const REAL *)frame->value[node->in[0]], (REAL *)frame->value[node->out],
                    node->ints, rows, 0, CT_ASSIGN);
}

static void FN(cumsum_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const REAL *dy = (const REAL *)frame->grad[node->out];
    REAL *dx = (REAL *)frame->grad[node->in[0]];
    if (node->grad[0] == CT_ASSIGN) FN(running_sum)(dy, dx, node->ints, rows, 1, CT_ASSIGN);
    if (node->grad[0] == CT_ADD) FN(running_sum)(dy, dx, node->ints, rows, 1, CT_ADD);
}

/* softmax: y = e / sum(e), e = exp(x - max(x)); log: y = x - max(x) - log(sum(e)).
   Contiguous axis. The part behind the last whole 16 stays in registers. */
CT_INLINE void FN(softmax_run)(const REAL *x, REAL *y, ptrdiff_t n, const int logs)
{
    V t[LANES], m[LANES], s[LANES];
    const ptrdiff_t full = n - n % 16, left = n - full;
    FN(load16)(t, x + full, left);
    FN(fill16)(t, left, -(REAL)INFINITY);
    for (int k = 0; k < LANES; k++) m[k] = t[k], s[k] = V_SET(0);
    for (ptrdiff_t i = 0; i < full; i += 16)
        for (int k = 0; k < LANES; k++) m[k] = FN(larger)(m[k], V_LOAD(x + i + k * W));
    const V top = V_SET(FN(max16)(m));
    for (ptrdiff_t i = 0; i < full; i += 16)
        for (int k = 0; k < LANES; k++) {
            V z = V_LOAD(x + i + k * W) - top, e = FN(vexp)(z);
            V_STORE(y + i + k * W, logs ? z : e);
            s[k] += e;
        }
    for (int k = 0; k < LANES; k++)
        if (left > k * W) {
            V z = t[k] - top, e = FN(vexp)(z);
            s[k] += e;
            t[k] = logs ? z : e;
        }
    V total = V_SET(FN(sum16)(s));
    if (logs) total = FN(vlog)(total);
    for (ptrdiff_t i = 0; i < full; i += W) {
        V v = V_LOAD(y + i);
        V_STORE(y + i, logs ? v - total : v / total);
    }
    for (int k = 0; k < LANES; k++)
        FN(give)(y + full + k * W, logs ? t[k] - total : t[k] / total, left - k * W, CT_ASSIGN);
}

/* The same along a strided axis, n <= W columns at once. */
CT_INLINE void FN(softmax_columns)(const REAL *x, REAL *y, ptrdiff_t n, ptrdiff_t inner,
                                   ptrdiff_t cols, const int logs)
{
    V top = V_SET(-(REAL)INFINITY), total = V_SET(0);
    for (ptrdiff_t i = 0; i < n * inner; i += inner)
        top = FN(larger)(top, FN(get)(x + i, cols));
    for (ptrdiff_t i = 0; i < n * inner; i += inner) {
        V z = FN(get)(x + i, cols) - top, e = FN(vexp)(z);
        FN(give)(y + i, logs ? z : e, cols, CT_ASSIGN);
        total += e;
    }
    if (logs) total = FN(vlog)(total);
    for (ptrdiff_t i = 0; i < n * inner; i += inner) {
        V v = FN(get)(y + i, cols);
        FN(give)(y + i, logs ? v - total : v / total, cols, CT_ASSIGN);
    }
}

CT_INLINE void FN(softmax_all)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows,
                               const int logs)
{
    const REAL *x = (const REAL *)frame->value[node->in[0]];
    REAL *y = (REAL *)frame->value[node->out];
    const ptrdiff_t outer = rows * node->ints[0], n = node->ints[1], inner = node->ints[2];
    for (ptrdiff_t o = 0; o < outer; o++, x += n * inner, y += n * inner) {
        if (inner == 1)
            FN(softmax_run)(x, y, n, logs);
        else
            for (ptrdiff_t k = 0; k < inner; k += W)
                FN(softmax_columns)(x + k, y + k, n, inner, inner - k, logs);
    }
}

static void FN(softmax_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    FN(softmax_all)(node, frame, rows, 0);
}

static void FN(log_softmax_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    FN(softmax_all)(node, frame, rows, 1);
}

/* softmax: dx = y (dy - sum(dy y)); log: dx = dy - exp(y) sum(dy) */
#define SUMMED(a, g, v) (logs ? (a) + (g) : V_FMA(g, v, a))
#define GRADIENT(g, v) (logs ? (g) - FN(vexp)(v) * total : (v) * ((g) - total))
CT_INLINE void FN(softmax_back)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows,
                                const int logs)
{
    const int mode = node->grad[0];
    if (mode == CT_SKIP) return;
    const REAL *y = (const REAL *)frame->value[node->out];
    const REAL *dy = (const REAL *)frame->grad[node->out];
    REAL *dx = (REAL *)frame->grad[node->in[0]];
    const ptrdiff_t outer = rows * node->ints[0], n = node->ints[1], inner = node->ints[2];
    for (ptrdiff_t o = 0; o < outer; o++, y += n * inner, dy += n * inner, dx += n * inner) {
        if (inner == 1) {
            V s[LANES], g[LANES], v[LANES];
            for (int k = 0; k < LANES; k++) s[k] = V_SET(0);
            for (ptrdiff_t i = 0; i < n; i += 16) {
                FN(load16)(g, dy + i, n - i);
                FN(load16)(v, y + i, n - i);
                for (int k = 0; k < LANES; k++) s[k] = SUMMED(s[k], g[k], v[k]);
            }
            const V total = V_SET(FN(sum16)(s));
            for (ptrdiff_t i = 0; i < n; i += W) {
                V gi = FN(get)(dy + i, n - i);
                V vi = FN(get)(y + i, n - i);
                FN(give)(dx + i, GRADIENT(gi, vi), n - i, mode);
            }
            continue;
        }
        for (ptrdiff_t k = 0; k < inner; k += W) {
            const ptrdiff_t cols = inner - k;
            V total = V_SET(0);
            for (ptrdiff_t i = k; i < n * inner; i += inner) {
                V gi = FN(get)(dy + i, cols);
                V vi = FN(get)(y + i, cols);
                total = SUMMED(total, gi, vi);
            }
            for (ptrdiff_t i = k; i < n * inner; i += inner) {
                V gi = FN(get)(dy + i, cols);
                V vi = FN(get)(y + i, cols);
                FN(give)(dx + i, GRADIENT(gi, vi), cols, mode);
            }
        }
    }
}
#undef SUMMED
#undef GRADIENT

static void FN(softmax_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    FN(softmax_back)(node, frame, rows, 0);
}

static void FN(log_softmax_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    FN(softmax_back)(node, frame, rows, 1);
}

/* sum / count, 0 where count is 0 */
CT_INLINE V FN(quotient)(V sum, V count)
{
    return V_SELECT(count == V_SET(0), V_SET(0), sum / count);
}

static void FN(ratio_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const REAL *sum = (const REAL *)frame->value[node->in[0]];
    const REAL *count = (const REAL *)frame->value[node->in[1]];
    REAL *y = (REAL *)frame->value[node->out];
    const ptrdiff_t n = rows * node->ints[0];
    for (ptrdiff_t i = 0; i < n; i += W) {
        V s = FN(get)(sum + i, n - i);
        V d = FN(get)(count + i, n - i);
        FN(give)(y + i, FN(quotient)(s, d), n - i, CT_ASSIGN);
    }
}

static void FN(ratio_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const int mode = node->grad[0];
    if (mode == CT_SKIP) return;
    const REAL *count = (const REAL *)frame->value[node->in[1]];
    const REAL *dy = (const REAL *)frame->grad[node->out];
    REAL *dsum = (REAL *)frame->grad[node->in[0]];
    const ptrdiff_t n = rows * node->ints[0];
    for (ptrdiff_t i = 0; i < n; i += W) {
        V g = FN(get)(dy + i, n - i);
        V d = FN(get)(count + i, n - i);
        FN(give)(dsum + i, FN(quotient)(g, d), n - i, mode);
    }
}

/* Sum of squares over 16 virtual lanes of float64. A float squared is exact in double,
   so only float64 data needs the FMA for one rounding. */
static double FN(sum_squares)(const void *x_, ptrdiff_t n)
{
    typedef CT_CAT(ct_vd, CT_BITS) VD;
    typedef REAL PART __attribute__((vector_size(CT_BITS / 64 * sizeof(REAL))));
    enum { width = CT_BITS / 64, vecs = 16 / width };
    const REAL *x = (const REAL *)x_;
    REAL rest[16] = {0};
    double lane[16];
    VD a[vecs];
    for (int k = 0; k < vecs; k++) a[k] = (VD){0};
    for (; n > 0; x += 16, n -= 16) {
        if (n < 16) {
            memcpy(rest, x, (size_t)n * sizeof(REAL));
            x = rest;
        }
        for (int k = 0; k < vecs; k++) {
            PART p;
            memcpy(&p, x + k * width, sizeof p);
            VD d = __builtin_convertvector(p, VD);
#if CT_F64
            a[k] = V_FMA(d, d, a[k]);
#else
            a[k] += d * d;
#endif
        }
        if (n < 16) break;
    }
    memcpy(lane, a, sizeof lane);
    for (int w = 8; w; w /= 2)
        for (int i = 0; i < w; i++) lane[i] += lane[i + w];
    return lane[0];
}
#undef LANES
