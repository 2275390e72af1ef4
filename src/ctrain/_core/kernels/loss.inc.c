/* Losses: one number per row, the mean over its ints[0] elements. Within a row
   element i goes to virtual lane i % 16; rows of one element are elements of a
   vector. Gradients: g / n times the derivative by prediction and by target. */

#define LANES (16 / W)
#define ZERO V_SET(0)
#define ONE V_SET(1)
#define HALF V_SET((REAL)0.5)
#define PREDICTION ((const REAL *)frame->value[node->in[0]])
#define TARGET ((const REAL *)frame->value[node->in[1]])
#define LOSSES ((REAL *)frame->value[node->out])
#define UPSTREAM ((const REAL *)frame->grad[node->out])
#define GRAD(k) (node->grad[k] == CT_SKIP ? NULL : (REAL *)frame->grad[node->in[k]])
#define ATTRIBUTE(k) ((REAL)node->floats[k])

/* value, dp, dt: expressions in the vectors p and t */
#define LOSS(op, setup, value, dp, dt)                                          \
    CT_INLINE V FN(op##_value)(const ct_node *node, V p, V t)                   \
    {                                                                           \
        setup                                                                   \
        return value;                                                           \
    }                                                                           \
    CT_INLINE V FN(op##_dp)(const ct_node *node, V p, V t)                      \
    {                                                                           \
        setup                                                                   \
        return dp;                                                              \
    }                                                                           \
    CT_INLINE V FN(op##_dt)(const ct_node *node, V p, V t)                      \
    {                                                                           \
        setup                                                                   \
        return dt;                                                              \
    }                                                                           \
    static void FN(op##_forward)(const ct_node *node, const ct_frame *frame,    \
                                 ptrdiff_t rows)                                \
    {                                                                           \
        FN(loss_forward)(node, frame, rows, FN(op##_value));                    \
    }                                                                           \
    static void FN(op##_backward)(const ct_node *node, const ct_frame *frame,   \
                                  ptrdiff_t rows)                               \
    {                                                                           \
        FN(loss_backward)(node, frame, rows, FN(op##_dp), FN(op##_dt));         \
    }

typedef V (*FN(loss_term))(const ct_node *, V, V);

CT_INLINE void FN(loss_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows,
                                FN(loss_term) value)
{
    const ptrdiff_t n = node->ints[0];
    const REAL *p = PREDICTION, *t = TARGET;
    REAL *out = LOSSES;
    if (n == 1) {
        ptrdiff_t i = 0;
        for (; i + W <= rows; i += W)
            V_STORE(out + i, value(node, V_LOAD(p + i), V_LOAD(t + i)));
        if (i < rows)
            FN(put)(out + i, value(node, FN(get)(p + i, rows - i), FN(get)(t + i, rows - i)),
                    rows - i);
        return;
    }
    for (ptrdiff_t row = 0; row < rows; row++, p += n, t += n) {
        V sum[LANES], x[LANES], y[LANES];
        ptrdiff_t i = 0;
        for (int k = 0; k < LANES; k++) sum[k] = ZERO;
        for (; i + 16 <= n; i += 16)
            for (int k = 0; k < LANES; k++)
                sum[k] += value(node, V_LOAD(p + i + k * W), V_LOAD(t + i + k * W));
        if (i < n) {
            FN(load16)(x, p + i, n - i);
            FN(load16)(y, t + i, n - i);
            for (int k = 0; k < LANES; k++) x[k] = value(node, x[k], y[k]);
            FN(fill16)(x, n - i, 0);
            for (int k = 0; k < LANES; k++) sum[k] += x[k];
        }
        out[row] = FN(sum16)(sum) / (REAL)n;
    }
}

/* m elements at p and t, their gradients scaled by g */
CT_INLINE void FN(loss_step)(const ct_node *node, const REAL *p, const REAL *t, REAL *dp,
                             REAL *dt, V g, ptrdiff_t m, FN(loss_term) by_p, FN(loss_term) by_t)
{
    V x = FN(get)(p, m), y = FN(get)(t, m);
    if (dp) FN(give)(dp, g * by_p(node, x, y), m, node->grad[0]);
    if (dt) FN(give)(dt, g * by_t(node, x, y), m, node->grad[1]);
}

CT_INLINE void FN(loss_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows,
                                 FN(loss_term) by_p, FN(loss_term) by_t)
{
    const ptrdiff_t n = node->ints[0], runs = n == 1 ? 1 : rows, length = n == 1 ? rows : n;
    const REAL *p = PREDICTION, *t = TARGET, *g = UPSTREAM;
    REAL *dp = GRAD(0), *dt = GRAD(1);
    for (ptrdiff_t run = 0; run < runs; run++) {
        const V scale = V_SET(g[run] / (REAL)n);
        ptrdiff_t i = 0;
        for (; i + W <= length; i += W)
            FN(loss_step)(node, p + i, t + i, dp ? dp + i : NULL, dt ? dt + i : NULL,
                          n == 1 ? V_LOAD(g + i) : scale, W, by_p, by_t);
        if (i < length)
            FN(loss_step)(node, p + i, t + i, dp ? dp + i : NULL, dt ? dt + i : NULL,
                          n == 1 ? FN(get)(g + i, length - i) : scale, length - i, by_p, by_t);
        p += n;
        t += n;
        if (dp) dp += n;
        if (dt) dt += n;
    }
}

/* -1, 0 or 1; NaN for NaN */
CT_INLINE V FN(vsign)(V d) { return V_SELECT(d == ZERO, d, V_COPYSIGN(ONE, d)); }

LOSS(squared_error, V d = p - t; (void)node;, d * d, d + d, -(d + d))
LOSS(absolute_error, V d = p - t; (void)node;, V_ABS(d), FN(vsign)(d), -FN(vsign)(d))

/* d^2 / 2 up to delta, delta (|d| - delta / 2) beyond */
#define HUBER V d = p - t, delta = V_SET(ATTRIBUTE(0));
#define BOUNDED V_MIN(delta, V_MAX(-delta, d))
LOSS(huber, HUBER,
     V_SELECT(V_ABS(d) > delta, delta * (V_ABS(d) - delta * HALF), d * d * HALF),
     BOUNDED, -BOUNDED)

/* |d| / max(|t|, eps): the slope by t has a second part where |t| > eps */
#define MAPE                                                                    \
    V d = p - t, eps = V_SET((REAL)(CT_F64 ? 2.220446049250313e-16 : 1.1920929e-7)); \
    V base = V_MAX(eps, V_ABS(t)), slope = FN(vsign)(d) / base;                 \
    (void)node, (void)slope;
LOSS(mape, MAPE, V_ABS(d) / base, slope,
     -slope - V_SELECT(V_ABS(t) > eps, V_ABS(d) / base / V_COPYSIGN(base, t), ZERO))

/* r = 2 |d| / s, s = |p| + |t|: dr/dp = (2 sign(d) - r sign(p)) / s */
#define SMAPE                                                                   \
    V d = p - t, s = V_ABS(p) + V_ABS(t), two = V_SET(2);                       \
    V safe = V_SELECT(s == ZERO, ONE, s), ratio = two * (V_ABS(d) / safe);      \
    (void)node;
LOSS(smape, SMAPE, ratio,
     V_FMA(two, FN(vsign)(d), -ratio * FN(vsign)(p)) / safe,
     -V_FMA(two, FN(vsign)(d), ratio * FN(vsign)(t)) / safe)

LOSS(logcosh, V d = p - t; (void)node;, FN(vlogcosh)(d), FN(vtanh)(d), -FN(vtanh)(d))

/* ints[1]: prediction is the logarithm of the rate */
#define POISSON                                                                 \
    const int log_input = (int)node->ints[1];                                   \
    V rate = log_input ? FN(vexp)(p) : p + V_SET((REAL)1e-8);                   \
    (void)rate, (void)t;
LOSS(poisson, POISSON,
     log_input ? rate - t * p : p - t * FN(vlog)(rate),
     log_input ? rate - t : ONE - t / rate,
     log_input ? -p : -FN(vlog)(rate))

/* Quantile loss of d = t - p at level tau: max(tau d, (tau - 1) d); its slope by p. */
CT_INLINE V FN(pinball)(V d, V tau) { return V_MAX(tau * d, (tau - ONE) * d); }
CT_INLINE V FN(pinball_slope)(V d, V tau)
{
    V slope = V_SELECT(d > ZERO, -tau, ONE - tau);
    return V_SELECT(d == ZERO, ZERO, slope);
}

#define ONE_LEVEL V d = t - p, tau = V_SET(ATTRIBUTE(0)), weight = V_SET(ATTRIBUTE(1));
LOSS(one_quantile, ONE_LEVEL, weight * FN(pinball)(d, tau), weight * FN(pinball_slope)(d, tau),
     -weight * FN(pinball_slope)(d, tau))

/* Elements [i, i + m) of a row with q levels, m <= 16: d, level and weight of each. */
CT_INLINE void FN(level_terms)(const ct_node *node, const REAL *p, const REAL *t, ptrdiff_t i,
                          ptrdiff_t m, V *d, V *tau, V *weight)
{
    const ptrdiff_t q = node->ints[1];
    REAL b[3][16] = {{0}};
    ptrdiff_t element = i / q, level = i % q;
    for (ptrdiff_t j = 0; j < m; j++) {
        b[0][j] = t[element] - p[i + j];
        b[1][j] = ATTRIBUTE(level);
        b[2][j] = ATTRIBUTE(q + level);
        if (++level == q) level = 0, element++;
    }
    FN(load16)(d, b[0], 16);
    FN(load16)(tau, b[1], 16);
    FN(load16)(weight, b[2], 16);
}

/* ints: elements of the prediction in a row, levels; floats: levels, their weights.
   The last axis of the prediction runs over the levels. */
static void FN(quantile_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const ptrdiff_t n = node->ints[0], q = node->ints[1];
    const REAL *p = PREDICTION, *t = TARGET;
    REAL *out = LOSSES;
    if (q == 1) {
        FN(one_quantile_forward)(node, frame, rows);
        return;
    }
    for (ptrdiff_t row = 0; row < rows; row++, p += n, t += n / q) {
        V sum[LANES], d[LANES], tau[LANES], weight[LANES];
        for (int k = 0; k < LANES; k++) sum[k] = ZERO;
        for (ptrdiff_t i = 0; i < n; i += 16) {
            FN(level_terms)(node, p, t, i, n - i < 16 ? n - i : 16, d, tau, weight);
            for (int k = 0; k < LANES; k++) sum[k] += weight[k] * FN(pinball)(d[k], tau[k]);
        }
        out[row] = FN(sum16)(sum) / (REAL)n;
    }
}

static void FN(quantile_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const ptrdiff_t n = node->ints[0], q = node->ints[1];
    const REAL *p = PREDICTION, *t = TARGET, *g = UPSTREAM;
    REAL *dp = GRAD(0), *dt = GRAD(1);
    if (q == 1) {
        FN(one_quantile_backward)(node, frame, rows);
        return;
    }
    for (ptrdiff_t row = 0; row < rows; row++, p += n, t += n / q) {
        const V scale = V_SET(g[row] / (REAL)n);
        REAL slope[16], total = 0;
        for (ptrdiff_t i = 0; i < n; i += 16) {
            const ptrdiff_t m = n - i < 16 ? n - i : 16;
            V d[LANES], tau[LANES], weight[LANES];
            FN(level_terms)(node, p, t, i, m, d, tau, weight);
            for (int k = 0; k < LANES; k++) {
                V step = scale * (weight[k] * FN(pinball_slope)(d[k], tau[k]));
                if (dp) FN(give)(dp + row * n + i + k * W, step, m - k * W, node->grad[0]);
                V_STORE(slope + k * W, step);
            }
            for (ptrdiff_t j = 0; dt && j < m; j++) {
                total -= slope[j];
                if ((i + j + 1) % q) continue;
                REAL *to = dt + (row * n + i + j) / q;
                *to = node->grad[1] == CT_ADD ? *to + total : total;
                total = 0;
            }
        }
    }
}

/* Cross entropy of one logit: log(1 + exp(p)) - t p, t smoothed towards 1/2 */
#define ONE_LOGIT                                                               \
    const REAL smooth = ATTRIBUTE(0);                                           \
    V keep = V_SET(1 - smooth), soft = V_FMA(keep, t, V_SET(smooth / 2));       \
    (void)soft, (void)keep, (void)p;
LOSS(one_logit, ONE_LOGIT,
     FN(vlog1f)(FN(vexp)(-V_ABS(p)), ZERO) + V_MAX(ZERO, p) - soft * p,
     FN(vsigmoid)(p) - soft, -(keep * p))

/* One position of log_loss: logits z (c) against a class index or probabilities.
   share: what of the target falls on classes [i, i + W). */
typedef struct {
    const REAL *z, *t;
    ptrdiff_t c;
    V keep, rest; /* 1 - smoothing, smoothing / c */
    int index;
    REAL label;   /* the index to the nearest whole number; -1: not a class */
} FN(position);

CT_INLINE V FN(share)(const FN(position) *at, ptrdiff_t i, V t)
{
    if (!at->index) return V_FMA(at->keep, t, at->rest);
    V k;
    for (int j = 0; j < W; j++) k[j] = (REAL)j;
    return V_SELECT(k == V_SET(at->label - (REAL)i), at->keep + at->rest, at->rest);
}

CT_INLINE FN(position) FN(position_at)(const ct_node *node, const ct_frame *frame, ptrdiff_t i)
{
    const REAL smooth = ATTRIBUTE(0);
    FN(position) at;
    at.c = node->ints[2];
    at.index = node->ints[1] == 0;
    at.z = PREDICTION + i * at.c;
    at.t = TARGET + (at.index ? i : i * at.c);
    at.keep = V_SET(1 - smooth);
    at.rest = V_SET(smooth / (REAL)at.c);
    const REAL k = at.t[0] + (REAL)0.5;
    at.label = k >= 0 && k < (REAL)at.c ? (REAL)(int64_t)k : -1;
    return at;
}

/* m = max z, sum of exp(z - m), of the shares, of share * (z - m). An index
   that is no class gives NaN. */
CT_INLINE void FN(position_sums)(const FN(position) *at, REAL *top, REAL *sum, REAL *mass,
                                 REAL *dot)
{
    V z[LANES], t[LANES], best[LANES], s0[LANES], s1[LANES], s2[LANES];
    const ptrdiff_t c = at->c;
    for (int k = 0; k < LANES; k++) {
        best[k] = V_SET(-(REAL)INFINITY);
        s0[k] = s1[k] = s2[k] = t[k] = ZERO;
    }
    for (ptrdiff_t i = 0; i < c; i += 16) {
        FN(load16)(z, at->z + i, c - i);
        FN(fill16)(z, c - i, -(REAL)INFINITY);
        for (int k = 0; k < LANES; k++) best[k] = FN(larger)(best[k], z[k]);
    }
    *top = FN(max16)(best);
    for (ptrdiff_t i = 0; i < c; i += 16) {
        FN(load16)(z, at->z + i, c - i);
        FN(fill16)(z, c - i, -(REAL)INFINITY);
        if (!at->index) FN(load16)(t, at->t + i, c - i);
        V share[LANES];
        for (int k = 0; k < LANES; k++) share[k] = FN(share)(at, i + k * W, t[k]);
        FN(fill16)(share, c - i, 0);
        for (int k = 0; k < LANES; k++) {
            V shifted = z[k] - V_SET(*top);
            s0[k] += FN(vexp)(shifted);
            s1[k] += share[k];
            s2[k] += V_SELECT(share[k] == ZERO, ZERO, share[k] * shifted);
        }
    }
    *sum = FN(sum16)(s0);
    *mass = FN(sum16)(s1);
    *dot = FN(sum16)(s2);
    if (at->index) *mass = at->label >= 0 ? 1 : (REAL)NAN;
}

/* The losses of positions [first, first + m), m <= 16, zeros behind. */
CT_INLINE void FN(position_losses)(const ct_node *node, const ct_frame *frame, ptrdiff_t first,
                                   ptrdiff_t m, V *loss)
{
    REAL top, sum[16], mass[16], dot[16];
    for (int j = 0; j < 16; j++) sum[j] = 1, mass[j] = dot[j] = 0;
    for (ptrdiff_t j = 0; j < m; j++) {
        FN(position) at = FN(position_at)(node, frame, first + j);
        FN(position_sums)(&at, &top, sum + j, mass + j, dot + j);
    }
    for (int k = 0; k < LANES; k++)
        loss[k] = V_LOAD(mass + k * W) * FN(vlog)(V_LOAD(sum + k * W)) - V_LOAD(dot + k * W);
}

/* ints: positions in a row, kind of target (0 class index, 1 probabilities,
   2 one logit), classes; floats: label smoothing. */
static void FN(log_loss_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const ptrdiff_t n = node->ints[0];
    REAL *out = LOSSES;
    if (node->ints[1] == 2) {
        FN(one_logit_forward)(node, frame, rows);
        return;
    }
    V loss[LANES], sum[LANES];
    for (ptrdiff_t i = 0; n == 1 && i < rows; i += 16) {
        const ptrdiff_t m = rows - i < 16 ? rows - i : 16;
        FN(position_losses)(node, frame, i, m, loss);
        for (int k = 0; k < LANES; k++) FN(give)(out + i + k * W, loss[k], m - k * W, CT_ASSIGN);
    }
    for (ptrdiff_t row = 0; n > 1 && row < rows; row++) {
        for (int k = 0; k < LANES; k++) sum[k] = ZERO;
        for (ptrdiff_t i = 0; i < n; i += 16) {
            FN(position_losses)(node, frame, row * n + i, n - i < 16 ? n - i : 16, loss);
            for (int k = 0; k < LANES; k++) sum[k] += loss[k];
        }
        out[row] = FN(sum16)(sum) / (REAL)n;
    }
}

/* dz = g (mass softmax(z) - share), dt = g (1 - smoothing) (log sum - (z - top)); 0
   for an index. */
static void FN(log_loss_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const ptrdiff_t n = node->ints[0], c = node->ints[2];
    const REAL *g = UPSTREAM;
    REAL *dp = GRAD(0), *dt = GRAD(1);
    if (node->ints[1] == 2) {
        FN(one_logit_backward)(node, frame, rows);
        return;
    }
    for (ptrdiff_t q = 0; q < rows * n; q++) {
        FN(position) at = FN(position_at)(node, frame, q);
        REAL top, sum, mass, dot;
        FN(position_sums)(&at, &top, &sum, &mass, &dot);
        const V scale = V_SET(g[q / n] / (REAL)n), peak = V_SET(top);
        const V soft = V_SET(mass / sum), log_sum = FN(vlog)(V_SET(sum));
        for (ptrdiff_t i = 0; i < c; i += W) {
            const ptrdiff_t m = c - i < W ? c - i : W;
            V shifted = FN(get)(at.z + i, m) - peak;
            V t = at.index ? ZERO : FN(get)(at.t + i, m);
            if (dp)
                FN(give)(dp + q * c + i,
                         scale * V_FMA(soft, FN(vexp)(shifted), -FN(share)(&at, i, t)), m,
                         node->grad[0]);
            if (dt && !at.index)
                FN(give)(dt + q * c + i, scale * (at.keep * (log_sum - shifted)), m,
                         node->grad[1]);
        }
        if (dt && at.index && node->grad[1] == CT_ASSIGN) dt[q] = 0;
    }
}

#undef LANES
#undef ZERO
#undef ONE
#undef HALF
#undef PREDICTION
#undef TARGET
#undef LOSSES
#undef UPSTREAM
#undef GRAD
#undef ATTRIBUTE
#undef LOSS
#undef HUBER
#undef BOUNDED
#undef MAPE
#undef SMAPE
#undef POISSON
#undef ONE_LEVEL
#undef ONE_LOGIT
