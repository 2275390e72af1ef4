/* Softmax and its logarithm along an axis of the row, stable: max(x) is taken off first. */

/* softmax: y = e / sum(e), e = exp(x - max(x)); log: y = x - max(x) - log(sum(e)).
   Contiguous axis. The part behind the last whole 16 stays in registers. */
CT_INLINE void FN(softmax_run)(const REAL *x, REAL *y, ptrdiff_t n, const int logs)
{
    V t[LANES], m[LANES], s[LANES], e[LANES];
    const ptrdiff_t full = n - n % 16, left = n - full;
    FN(load16)(t, x + full, left);
    FN(fill16)(t, left, -(REAL)INFINITY);
    for (int k = 0; k < LANES; k++) m[k] = t[k], s[k] = V_SET(0);
    for (ptrdiff_t i = 0; i < full; i += 16)
        for (int k = 0; k < LANES; k++) m[k] = FN(larger)(m[k], V_LOAD(x + i + k * W));
    const V top = V_SET(FN(max16)(m));
    for (ptrdiff_t i = 0; i < full; i += 16)
        for (int k = 0; k < LANES; k++) {
            V z = V_LOAD(x + i + k * W) - top, ez = FN(vexp)(z);
            V_STORE(y + i + k * W, logs ? z : ez);
            s[k] += ez;
        }
    for (int k = 0; k < LANES; k++) t[k] -= top;
    FN(fill16)(t, left, 0); /* exp(-inf) underflows, which costs a hundred cycles */
    for (int k = 0; k < LANES; k++) e[k] = left > k * W ? FN(vexp)(t[k]) : V_SET(0);
    FN(fill16)(e, left, 0);
    for (int k = 0; k < LANES; k++) {
        s[k] += e[k];
        if (!logs) t[k] = e[k];
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

#define SOFTMAX(op, pass, work, logs)                                                        \
    static void FN(op##_##pass)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)  \
    {                                                                                        \
        FN(work)(node, frame, rows, logs);                                                   \
    }
SOFTMAX(softmax, forward, softmax_all, 0)
SOFTMAX(softmax, backward, softmax_back, 0)
SOFTMAX(log_softmax, forward, softmax_all, 1)
SOFTMAX(log_softmax, backward, softmax_back, 1)
#undef SOFTMAX
