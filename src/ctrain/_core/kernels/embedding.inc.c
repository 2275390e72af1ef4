/* Rows of a table by their number. */

/* The index to the nearest whole number, -1 where the table has no such row. */
CT_INLINE ptrdiff_t FN(index_of)(REAL x, ptrdiff_t count)
{
    const REAL k = x + (REAL)0.5;
    return k >= 0 && k < (REAL)count ? (ptrdiff_t)k : -1;
}

/* y (n) = table[index], NaN where there is no such row.
   ints: indices of one sample, rows of the table, n. */
static void FN(embedding_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const ptrdiff_t m = rows * node->ints[0], count = node->ints[1], n = node->ints[2];
    const REAL *index = (const REAL *)frame->value[node->in[0]];
    const REAL *table = (const REAL *)frame->value[node->in[1]];
    REAL *y = (REAL *)frame->value[node->out];
    for (ptrdiff_t r = 0; r < m; r++, y += n) {
        const ptrdiff_t k = FN(index_of)(index[r], count);
        if (k >= 0)
            memcpy(y, table + k * n, (size_t)n * sizeof(REAL));
        else
            for (ptrdiff_t j = 0; j < n; j++) y[j] = (REAL)NAN;
    }
}

static void FN(embedding_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    (void)node, (void)frame, (void)rows;
}

/* dtable[index] += dy for the rows [i0, i1) of the table, or for these columns of its only row */
static void FN(embedding_param)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows,
                                int input, ptrdiff_t i0, ptrdiff_t i1, int add)
{
    const ptrdiff_t m = rows * node->ints[0], count = node->ints[1], n = node->ints[2];
    const REAL *index = (const REAL *)frame->value[node->in[0]];
    const REAL *dy = (const REAL *)frame->grad[node->out];
    REAL *grad = (REAL *)frame->grad[node->in[input]];
    const ptrdiff_t from = count > 1 ? i0 * n : i0, to = count > 1 ? i1 * n : n > 1 ? i1 : 1;
    if (!add) memset(grad + from, 0, (size_t)(to - from) * sizeof(REAL));
    for (ptrdiff_t r = 0; r < m; r++, dy += n) {
        const ptrdiff_t k = FN(index_of)(index[r], count);
        if (count == 1 && !k)
            for (ptrdiff_t j = from; j < to; j++) grad[j] += dy[j];
        else if (k >= i0 && k < i1 && count > 1)
            for (ptrdiff_t j = 0; j < n; j++) grad[k * n + j] += dy[j];
    }
}
