/* Layer norm and RMS norm: vectors of n elements to one scale. affine: columns to another. */

/* Sum of (x - mean)^2 over the 16 virtual lanes. */
CT_INLINE REAL FN(squares_around)(const REAL *x, V mean, ptrdiff_t n)
{
    V sum[LANES], c[LANES];
    for (int k = 0; k < LANES; k++) sum[k] = V_SET(0);
    for (ptrdiff_t i = 0; i < n; i += 16) {
        FN(load16)(c, x + i, n - i);
        for (int k = 0; k < LANES; k++) c[k] -= mean;
        if (n - i < 16) FN(fill16)(c, n - i, 0);
        for (int k = 0; k < LANES; k++) sum[k] = V_FMA(c[k], c[k], sum[k]);
    }
    return FN(sum16)(sum);
}

/* mean(x), 0 for RMS norm, and 1 / sqrt(mean((x - mean)^2) + eps) */
CT_INLINE void FN(moments)(const REAL *x, ptrdiff_t n, const int centred, REAL eps, V *mean,
                           V *inverse)
{
    *mean = V_SET(centred ? FN(lane_sum)(x, n) / (REAL)n : 0);
    REAL variance = FN(squares_around)(x, *mean, n) / (REAL)n;
    *inverse = V_SET(1) / V_SQRT(V_SET(variance + eps));
}

/* y = xhat w + b, xhat = (x - mean) inverse; ints: vectors of one sample, n; floats: eps. */
CT_INLINE void FN(norm_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows,
                                const int centred)
{
    const ptrdiff_t m = rows * node->ints[0], n = node->ints[1];
    const REAL *x = (const REAL *)frame->value[node->in[0]];
    const REAL *w = (const REAL *)frame->value[node->in[1]];
    const REAL *b = centred ? (const REAL *)frame->value[node->in[2]] : w;
    REAL *y = (REAL *)frame->value[node->out];
    V mean, inverse;
    for (ptrdiff_t r = 0; r < m; r++, x += n, y += n) {
        FN(moments)(x, n, centred, (REAL)node->floats[0], &mean, &inverse);
        for (ptrdiff_t i = 0; i < n; i += W) {
            V hat = (FN(get)(x + i, n - i) - mean) * inverse, v = FN(get)(w + i, n - i);
            FN(put)(y + i, centred ? V_FMA(hat, v, FN(get)(b + i, n - i)) : hat * v, n - i);
        }
    }
}

/* dx = inverse (g - mean(g) - xhat mean(g xhat)), g = dy w; RMS norm has no mean(g). */
CT_INLINE void FN(norm_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows,
                                 const int centred)
{
    const ptrdiff_t m = rows * node->ints[0], n = node->ints[1];
    const int mode = node->grad[0];
    if (mode == CT_SKIP) return;
    const REAL *x = (const REAL *)frame->value[node->in[0]];
    const REAL *w = (const REAL *)frame->value[node->in[1]];
    const REAL *dy = (const REAL *)frame->grad[node->out];
    REAL *dx = (REAL *)frame->grad[node->in[0]];
    V mean, inverse, g[LANES], v[LANES], sum[LANES], dot[LANES];
    for (ptrdiff_t r = 0; r < m; r++, x += n, dy += n, dx += n) {
        FN(moments)(x, n, centred, (REAL)node->floats[0], &mean, &inverse);
        for (int k = 0; k < LANES; k++) sum[k] = dot[k] = V_SET(0);
        for (ptrdiff_t i = 0; i < n; i += 16) {
            FN(load16)(g, dy + i, n - i);
            FN(load16)(v, w + i, n - i);
            for (int k = 0; k < LANES; k++) {
                g[k] *= v[k];
                sum[k] += g[k];
            }
            FN(load16)(v, x + i, n - i);
            for (int k = 0; k < LANES; k++)
                dot[k] = V_FMA(g[k], (v[k] - mean) * inverse, dot[k]);
        }
        const V shift = V_SET(centred ? FN(sum16)(sum) / (REAL)n : 0);
        const V slope = V_SET(FN(sum16)(dot) / (REAL)n);
        for (ptrdiff_t i = 0; i < n; i += W) {
            V hat = (FN(get)(x + i, n - i) - mean) * inverse;
            V gi = FN(get)(dy + i, n - i) * FN(get)(w + i, n - i);
            FN(give)(dx + i, V_FMA(-hat, slope, gi - shift) * inverse, n - i, mode);
        }
    }
}

/* dw = sum of dy xhat, db = sum of dy, over vectors; elements [i0, i1). */
CT_INLINE void FN(norm_param)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows,
                              int input, ptrdiff_t i0, ptrdiff_t i1, int add, const int centred)
{
    const ptrdiff_t m = rows * node->ints[0], n = node->ints[1];
    const REAL *x = (const REAL *)frame->value[node->in[0]];
    const REAL *dy = (const REAL *)frame->grad[node->out];
    REAL *grad = (REAL *)frame->grad[node->in[input]];
    V mean, inverse;
    if (!add) memset(grad + i0, 0, sizeof(REAL) * (size_t)(i1 - i0));
    if (input == 2) {
        FN(add_rows)(grad + i0, dy + i0, n, m, i1 - i0);
        return;
    }
    for (ptrdiff_t r = 0; r < m; r++, x += n, dy += n) {
        FN(moments)(x, n, centred, (REAL)node->floats[0], &mean, &inverse);
        for (ptrdiff_t i = i0; i < i1; i += W) {
            V hat = (FN(get)(x + i, i1 - i) - mean) * inverse;
            V sum = FN(get)(grad + i, i1 - i);
            FN(put)(grad + i, V_FMA(FN(get)(dy + i, i1 - i), hat, sum), i1 - i);
        }
    }
}

#define NORM(op, centred)                                                                    \
    static void FN(op##_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows) \
    {                                                                                        \
        FN(norm_forward)(node, frame, rows, centred);                                        \
    }                                                                                        \
    static void FN(op##_backward)(const ct_node *node, const ct_frame *frame,                \
                                  ptrdiff_t rows)                                            \
    {                                                                                        \
        FN(norm_backward)(node, frame, rows, centred);                                       \
    }                                                                                        \
    static void FN(op##_param)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows,   \
                               int input, ptrdiff_t i0, ptrdiff_t i1, int add)               \
    {                                                                                        \
        FN(norm_param)(node, frame, rows, input, i0, i1, add, centred);                      \
    }
NORM(layer_norm, 1)
NORM(rms_norm, 0)
#undef NORM

/* W columns of x from j on, less their centre if there is one; the first n. */
CT_INLINE V FN(centred)(const REAL *x, const REAL *center, ptrdiff_t n)
{
    if (n >= W) return center ? V_LOAD(x) - V_LOAD(center) : V_LOAD(x);
    return center ? V_LOAD_N(x, n) - V_LOAD_N(center, n) : V_LOAD_N(x, n);
}

/* y (m, n) = (x - center (n)) * scale (n) + shift (n). ints: rows of x in one sample, n. */
static void FN(affine_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const ptrdiff_t m = rows * node->ints[0], n = node->ints[1];
    const REAL *x = (const REAL *)frame->value[node->in[0]];
    const REAL *scale = (const REAL *)frame->value[node->in[1]];
    const REAL *shift = (const REAL *)frame->value[node->in[2]];
    const REAL *center = node->n_in > 3 && node->in[3] >= 0
                             ? (const REAL *)frame->value[node->in[3]]
                             : NULL;
    REAL *y = (REAL *)frame->value[node->out];
    for (ptrdiff_t i = 0; i < m; i++, x += n, y += n) {
        ptrdiff_t j = 0;
        for (; j + W <= n; j += W) {
            const V v = FN(centred)(x + j, center ? center + j : NULL, W);
            V_STORE(y + j, V_FMA(v, V_LOAD(scale + j), V_LOAD(shift + j)));
        }
        if (j < n) {
            const V v = FN(centred)(x + j, center ? center + j : NULL, n - j);
            V_STORE_N(y + j, V_FMA(v, V_LOAD_N(scale + j, n - j), V_LOAD_N(shift + j, n - j)),
                      n - j);
        }
    }
}

/* dx = dy * scale */
static void FN(affine_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const ptrdiff_t m = rows * node->ints[0], n = node->ints[1];
    const REAL *dy = (const REAL *)frame->grad[node->out];
    const REAL *scale = (const REAL *)frame->value[node->in[1]];
    if (node->grad[0] == CT_SKIP) return;
    REAL *dx = (REAL *)frame->grad[node->in[0]];
    for (ptrdiff_t i = 0; i < m; i++, dy += n, dx += n) {
        ptrdiff_t j = 0;
        for (; j + W <= n; j += W)
            FN(give)(dx + j, V_LOAD(dy + j) * V_LOAD(scale + j), W, node->grad[0]);
        if (j < n)
            FN(give)(dx + j, V_LOAD_N(dy + j, n - j) * V_LOAD_N(scale + j, n - j), n - j,
                     node->grad[0]);
    }
}

/* dscale (n) = sum of dy (x - center), dshift (n) = sum of dy, elements [i0, i1). */
static void FN(affine_param)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows,
                             int input, ptrdiff_t i0, ptrdiff_t i1, int add)
{
    const ptrdiff_t m = rows * node->ints[0], n = node->ints[1];
    const REAL *dy = (const REAL *)frame->grad[node->out];
    const REAL *x = (const REAL *)frame->value[node->in[0]];
    const REAL *center = node->n_in > 3 && node->in[3] >= 0
                             ? (const REAL *)frame->value[node->in[3]]
                             : NULL;
    REAL *grad = (REAL *)frame->grad[node->in[input]];
    if (!add) memset(grad + i0, 0, sizeof(REAL) * (size_t)(i1 - i0));
    if (input == 2) {
        FN(add_rows)(grad + i0, dy + i0, n, m, i1 - i0);
        return;
    }
    for (ptrdiff_t j = i0; j < i1; j += W) {
        const ptrdiff_t lanes = i1 - j < W ? i1 - j : W;
        V sum = lanes < W ? V_LOAD_N(grad + j, lanes) : V_LOAD(grad + j);
        for (ptrdiff_t i = 0; i < m; i++) {
            const REAL *g = dy + i * n + j;
            const V v = FN(centred)(x + i * n + j, center ? center + j : NULL, lanes);
            sum = V_FMA(lanes < W ? V_LOAD_N(g, lanes) : V_LOAD(g), v, sum);
        }
        FN(give)(grad + j, sum, lanes, CT_ASSIGN);
    }
}
