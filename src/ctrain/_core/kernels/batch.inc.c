/* Operations that read every row of the batch. They end a stage, see plan.py. */

/* y (n) = mean over rows of x (rows, n); rows are added in order, one chain per element */
static void FN(batch_mean_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const REAL *x = (const REAL *)frame->value[node->in[0]];
    REAL *y = (REAL *)frame->value[node->out];
    const ptrdiff_t n = node->ints[0];
    const REAL scale = (REAL)(1.0 / (double)rows);
    for (ptrdiff_t j = 0; j < n; j++) y[j] = 0;
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t j = 0; j < n; j++) y[j] += x[r * n + j];
    for (ptrdiff_t j = 0; j < n; j++) y[j] *= scale;
}

/* dx (rows, n) = dy (n) / rows */
static void FN(batch_mean_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const REAL *dy = (const REAL *)frame->grad[node->out];
    const ptrdiff_t n = node->ints[0];
    const REAL scale = (REAL)(1.0 / (double)rows);
    if (node->grad[0] == CT_SKIP) return;
    REAL *dx = (REAL *)frame->grad[node->in[0]];
    if (node->grad[0] == CT_ASSIGN) {
        for (ptrdiff_t r = 0; r < rows; r++)
            for (ptrdiff_t j = 0; j < n; j++) dx[r * n + j] = dy[j] * scale;
    } else {
        for (ptrdiff_t r = 0; r < rows; r++)
            for (ptrdiff_t j = 0; j < n; j++) dx[r * n + j] += dy[j] * scale;
    }
}

/* Degrees of freedom of `rows` rows. ints: n, values in a row, those that are taken off. */
CT_INLINE double FN(freedom)(const ct_node *node, ptrdiff_t rows)
{
    const double left = (double)rows * (double)node->ints[1] - (double)node->ints[2];
    return left > 0 ? left : (double)NAN;
}

/* y (2, n) = mean and variance of all values, from mean and variance of each row, x (rows, 2, n):
   variance = sum over rows of count * (variance_r + (mean_r - mean)^2) / freedom */
static void FN(batch_moments_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const REAL *x = (const REAL *)frame->value[node->in[0]];
    REAL *y = (REAL *)frame->value[node->out];
    const ptrdiff_t n = node->ints[0];
    const double factor = (double)node->ints[1] / FN(freedom)(node, rows);
    enum { BLOCK = 32 };
    for (ptrdiff_t j = 0; j < n; j += BLOCK) {
        const ptrdiff_t width = n - j < BLOCK ? n - j : BLOCK;
        double mean[BLOCK] = {0}, squares[BLOCK] = {0};
        for (ptrdiff_t r = 0; r < rows; r++)
            for (ptrdiff_t i = 0; i < width; i++) mean[i] += (double)x[2 * r * n + j + i];
        for (ptrdiff_t i = 0; i < width; i++) mean[i] /= (double)rows;
        for (ptrdiff_t r = 0; r < rows; r++)
            for (ptrdiff_t i = 0; i < width; i++) {
                const double d = (double)x[2 * r * n + j + i] - mean[i];
                squares[i] += (double)x[(2 * r + 1) * n + j + i] + d * d;
            }
        for (ptrdiff_t i = 0; i < width; i++) {
            y[j + i] = (REAL)mean[i];
            y[n + j + i] = (REAL)(squares[i] * factor);
        }
    }
}

/* dmean_r = dmean / rows + 2 dvariance (mean_r - mean) count / freedom,
   dvariance_r = dvariance count / freedom */
static void FN(batch_moments_backward)(const ct_node *node, const ct_frame *frame,
                                       ptrdiff_t rows)
{
    const REAL *x = (const REAL *)frame->value[node->in[0]];
    const REAL *y = (const REAL *)frame->value[node->out];
    const REAL *dy = (const REAL *)frame->grad[node->out];
    const ptrdiff_t n = node->ints[0];
    const REAL factor = (REAL)((double)node->ints[1] / FN(freedom)(node, rows));
    if (node->grad[0] == CT_SKIP) return;
    REAL *dx = (REAL *)frame->grad[node->in[0]];
    const int add = node->grad[0] == CT_ADD;
    for (ptrdiff_t r = 0; r < rows; r++, x += 2 * n, dx += 2 * n)
        for (ptrdiff_t j = 0; j < n; j++) {
            const REAL spread = dy[n + j] * factor;
            const REAL mean = dy[j] / (REAL)rows + 2 * spread * (x[j] - y[j]);
            dx[j] = add ? dx[j] + mean : mean;
            dx[n + j] = add ? dx[n + j] + spread : spread;
        }
}

/* A running average takes in x, but for what is not finite: the variance of one value. */
static void FN(track)(void *average_, const void *x_, double momentum, ptrdiff_t n)
{
    REAL *average = average_;
    const REAL *x = x_, new = (REAL)momentum, old = (REAL)(1 - momentum);
    for (ptrdiff_t i = 0; i < n; i++)
        if (x[i] - x[i] == 0) average[i] = old * average[i] + new * x[i];
}
