/* Sum, mean, max and running sum over axes of the row; median; ratio.

   A sum along contiguous memory runs over the 16 virtual lanes of lanes.inc.c. A sum
   along strided memory is one chain per output, vectorised over the outputs. So the
   bits depend on neither the target nor the place. */

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

#define FORWARD(op, name, divisor)                                                           \
    static void FN(op##_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows) \
    {                                                                                        \
        const FN(cells) c = FN(cells_of)(node, rows);                                        \
        FN(reduce_##name)(&c, (const REAL *)frame->value[node->in[0]],                       \
                          (REAL *)frame->value[node->out], divisor);                         \
    }
FORWARD(sum, sum, 1)
FORWARD(mean, sum, (REAL)c.count)
FORWARD(max, max, 1)
#undef FORWARD

/* y (2, n) = mean and mean square deviation of the columns of x (m, n); one chain for each
   column. ints: m, n. */
static void FN(moments_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const ptrdiff_t m = node->ints[0], n = node->ints[1];
    const REAL *x = (const REAL *)frame->value[node->in[0]];
    REAL *y = (REAL *)frame->value[node->out];
    for (ptrdiff_t r = 0; r < rows; r++, x += m * n, y += 2 * n)
        for (ptrdiff_t j = 0; j < n; j += W) {
            V sum = V_SET(0), squares = V_SET(0);
            for (ptrdiff_t i = 0; i < m; i++) sum += FN(get)(x + i * n + j, n - j);
            const V mean = sum / V_SET((REAL)m);
            for (ptrdiff_t i = 0; i < m; i++) {
                const V d = FN(get)(x + i * n + j, n - j) - mean;
                squares = V_FMA(d, d, squares);
            }
            FN(put)(y + j, mean, n - j);
            FN(put)(y + n + j, squares / V_SET((REAL)m), n - j);
        }
}

/* dx = (dmean + 2 dvariance (x - mean)) / m */
static void FN(moments_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const ptrdiff_t m = node->ints[0], n = node->ints[1];
    const REAL *x = (const REAL *)frame->value[node->in[0]];
    const REAL *y = (const REAL *)frame->value[node->out];
    const REAL *dy = (const REAL *)frame->grad[node->out];
    if (node->grad[0] == CT_SKIP) return;
    REAL *dx = (REAL *)frame->grad[node->in[0]];
    for (ptrdiff_t r = 0; r < rows; r++, x += m * n, dx += m * n, y += 2 * n, dy += 2 * n)
        for (ptrdiff_t j = 0; j < n; j += W) {
            const V mean = FN(get)(y + j, n - j);
            const V a = FN(get)(dy + j, n - j) / V_SET((REAL)m);
            const V b = FN(get)(dy + n + j, n - j) * V_SET(2) / V_SET((REAL)m);
            for (ptrdiff_t i = 0, p = j; i < m; i++, p += n)
                FN(give)(dx + p, V_FMA(FN(get)(x + p, n - j) - mean, b, a), n - j,
                         node->grad[0]);
        }
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

/* Float bits as integers in the order of the numbers, -0 before 0; its own inverse. */
CT_INLINE INT FN(ordered)(INT bits)
{
    return bits < 0 ? bits ^ ~CT_SIGN : bits;
}

/* How many elements with a mask are at most `top`. */
CT_INLINE ptrdiff_t FN(n_at_most)(const REAL *x, const REAL *mask, ptrdiff_t n, REAL top)
{
    VI count = VI_SET(0);
    ptrdiff_t total = 0;
    for (ptrdiff_t i = 0; i < n; i += W) {
        const V m = FN(get)(mask + i, n - i);  /* 0 beyond the end */
        count -= (FN(get)(x + i, n - i) <= V_SET(top)) & (m != V_SET(0));
    }
    for (int k = 0; k < W; k++) total += (ptrdiff_t)count[k];
    return total;
}

/* The k-th smallest element with a mask, k = 1, 2, ...: the integers are halved until one is
   left, so nothing is sorted and nothing copied. */
CT_INLINE REAL FN(kth)(const REAL *x, const REAL *mask, ptrdiff_t n, ptrdiff_t k)
{
    const REAL top = (REAL)INFINITY, bottom = -(REAL)INFINITY;
    INT low, high;
    REAL value;
    memcpy(&low, &bottom, sizeof low);
    memcpy(&high, &top, sizeof high);
    low = FN(ordered)(low);
    while (low < high) {
        const INT middle = (low & high) + ((low ^ high) >> 1), bits = FN(ordered)(middle);
        memcpy(&value, &bits, sizeof value);
        if (FN(n_at_most)(x, mask, n, value) >= k) high = middle;
        else low = middle + 1;
    }
    low = FN(ordered)(low);
    memcpy(&value, &low, sizeof value);
    return value;
}

static void FN(median_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const ptrdiff_t n = node->ints[0], cells = rows * node->ints[1];
    const REAL *x = (const REAL *)frame->value[node->in[0]];
    const REAL *mask = (const REAL *)frame->value[node->in[1]];
    REAL *y = (REAL *)frame->value[node->out];
    for (ptrdiff_t r = 0; r < cells; r++, x += n, mask += n) {
        const ptrdiff_t count = FN(n_at_most)(x, mask, n, (REAL)INFINITY);
        ptrdiff_t wanted = 0;
        for (ptrdiff_t i = 0; i < n; i++) wanted += mask[i] != 0;
        if (count < wanted) {
            y[r] = (REAL)NAN;
            continue;
        }
        const REAL a = count ? FN(kth)(x, mask, n, (count + 1) / 2) : 0;
        const REAL b = count % 2 || !count ? a : FN(kth)(x, mask, n, count / 2 + 1);
        y[r] = (a + b) / 2 + 0;  /* never -0, which may be either zero */
    }
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
