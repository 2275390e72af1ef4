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
