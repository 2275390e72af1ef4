/* Moving values about: slice, concat, reshape, transpose, pad. No arithmetic but
   the addition of gradients. */

/* n elements from x to y, or added to it. A copy's last vector may overlap the one before. */
CT_INLINE void FN(move)(REAL *y, const REAL *x, ptrdiff_t n, int mode)
{
    if (mode == CT_ADD) {
        for (ptrdiff_t i = 0; i < n; i += W) FN(give)(y + i, FN(get)(x + i, n - i), n - i, mode);
    } else if (n > 32 * W) {
        memcpy(y, x, (size_t)n * sizeof(REAL));
    } else if (n >= W) {
        for (ptrdiff_t i = 0; i + W < n; i += W) V_STORE(y + i, V_LOAD(x + i));
        V_STORE(y + n - W, V_LOAD(x + n - W));
    } else if (n == 1) {
        *y = *x;
    } else {
        V_STORE_N(y, V_LOAD_N(x, n), n);
    }
}

/* n times the same value. */
CT_INLINE void FN(fill)(REAL *y, REAL value, ptrdiff_t n)
{
    ptrdiff_t i = 0;
    for (; i + W <= n; i += W) V_STORE(y + i, V_SET(value));
    if (i < n) V_STORE_N(y + i, V_SET(value), n - i);
}

/* slice: ints = outer, n of x, n of y, start, step, inner; step may be negative.
   Runs of `inner` elements, of all of a slice when step is 1. */
static void FN(slice_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const int64_t *d = node->ints;
    const ptrdiff_t nx = d[1] * d[5], step = d[4] * d[5];
    const ptrdiff_t run = d[4] == 1 ? d[2] * d[5] : d[5], runs = d[4] == 1 ? 1 : d[2];
    const REAL *x = (const REAL *)frame->value[node->in[0]] + d[3] * d[5];
    REAL *y = (REAL *)frame->value[node->out];
    for (ptrdiff_t o = 0; o < rows * d[0]; o++, x += nx)
        for (ptrdiff_t j = 0; j < runs; j++, y += run) FN(move)(y, x + j * step, run, CT_ASSIGN);
}

static void FN(slice_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    if (node->grad[0] == CT_SKIP) return;
    const int64_t *d = node->ints;
    const ptrdiff_t nx = d[1] * d[5], step = d[4] * d[5];
    const ptrdiff_t run = d[4] == 1 ? d[2] * d[5] : d[5], runs = d[4] == 1 ? 1 : d[2];
    const REAL *dy = (const REAL *)frame->grad[node->out];
    REAL *dx = (REAL *)frame->grad[node->in[0]];
    for (ptrdiff_t o = 0; o < rows * d[0]; o++, dx += nx) {
        if (node->grad[0] == CT_ASSIGN) FN(fill)(dx, 0, nx);
        for (ptrdiff_t j = 0; j < runs; j++, dy += run)
            FN(move)(dx + d[3] * d[5] + j * step, dy, run, node->grad[0]);
    }
}

/* concat: ints = outer, then the run of each input */
static void FN(concat_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const int64_t *run = node->ints + 1;
    REAL *y = (REAL *)frame->value[node->out];
    ptrdiff_t total = 0;
    for (int i = 0; i < node->n_in; i++) total += run[i];
    for (int i = 0; i < node->n_in; y += run[i++]) {
        const REAL *x = (const REAL *)frame->value[node->in[i]];
        for (ptrdiff_t o = 0; o < rows * node->ints[0]; o++)
            FN(move)(y + o * total, x + o * run[i], run[i], CT_ASSIGN);
    }
}

static void FN(concat_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const int64_t *run = node->ints + 1;
    const REAL *dy = (const REAL *)frame->grad[node->out];
    ptrdiff_t total = 0;
    for (int i = 0; i < node->n_in; i++) total += run[i];
    for (int i = 0; i < node->n_in; dy += run[i++]) {
        if (node->grad[i] == CT_SKIP) continue;
        REAL *dx = (REAL *)frame->grad[node->in[i]];
        for (ptrdiff_t o = 0; o < rows * node->ints[0]; o++)
            FN(move)(dx + o * run[i], dy + o * total, run[i], node->grad[i]);
    }
}

/* reshape: ints = size */
static void FN(reshape_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    FN(move)((REAL *)frame->value[node->out], (const REAL *)frame->value[node->in[0]],
             rows * node->ints[0], CT_ASSIGN);
}

static void FN(reshape_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    if (node->grad[0] == CT_SKIP) return;
    FN(move)((REAL *)frame->grad[node->in[0]], (const REAL *)frame->grad[node->out],
             rows * node->ints[0], node->grad[0]);
}

/* y (n[0] ... n[5]) in C order from x with strides s[0] ... s[5]. Where another axis
   than the last is contiguous in x, both are moved as one transposed matrix. */
static void FN(permute)(REAL *y, const REAL *x, const int64_t *n, const int64_t *s, int mode,
                        REAL *scratch)
{
    enum { side = 64 };
    ptrdiff_t t[6] = {0, 0, 0, 0, 0, 1}; /* strides of y */
    for (int i = 4; i >= 0; i--) t[i] = t[i + 1] * n[i + 1];
    int p = 5; /* the axis that is contiguous in x */
    for (int i = 0; i < 5 && s[5] != 1; i++)
        if (s[i] == 1 && n[i] > 1) p = i;
    ptrdiff_t m[5]; /* the loops around */
    for (int i = 0; i < 5; i++) m[i] = i == p ? 1 : n[i];
    for (ptrdiff_t a = 0; a < m[0]; a++)
        for (ptrdiff_t b = 0; b < m[1]; b++)
            for (ptrdiff_t c = 0; c < m[2]; c++)
                for (ptrdiff_t d = 0; d < m[3]; d++)
                    for (ptrdiff_t e = 0; e < m[4]; e++) {
                        const REAL *from = x + a * s[0] + b * s[1] + c * s[2] + d * s[3] + e * s[4];
                        REAL *to = y + a * t[0] + b * t[1] + c * t[2] + d * t[3] + e * t[4];
                        if (p == 5 && s[5] == 1) {
                            FN(move)(to, from, n[5], mode);
                        } else if (p == 5) {
                            for (ptrdiff_t i = 0; i < n[5]; i++)
                                to[i] = mode == CT_ADD ? to[i] + from[i * s[5]] : from[i * s[5]];
                        } else if (mode != CT_ADD) {
                            FN(transpose)(from, s[5], to, t[p], n[5], n[p]);
                        } else {
                            for (ptrdiff_t i = 0; i < n[p]; i += side)
                                for (ptrdiff_t j = 0; j < n[5]; j += side) {
                                    ptrdiff_t h = n[p] - i < side ? n[p] - i : side;
                                    ptrdiff_t w = n[5] - j < side ? n[5] - j : side;
                                    FN(transpose)(from + i + j * s[5], s[5], scratch, side, w, h);
                                    for (ptrdiff_t k = 0; k < h; k++)
                                        FN(move)(to + (i + k) * t[p] + j, scratch + k * side, w,
                                                 CT_ADD);
                                }
                        }
                    }
}

/* transpose: ints = shape of y (6) and strides of x (6), shape of x and strides of y */
static void FN(transpose_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const int64_t *d = node->ints;
    const ptrdiff_t size = d[0] * d[1] * d[2] * d[3] * d[4] * d[5];
    const REAL *x = (const REAL *)frame->value[node->in[0]];
    REAL *y = (REAL *)frame->value[node->out];
    for (ptrdiff_t r = 0; r < rows; r++)
        FN(permute)(y + r * size, x + r * size, d, d + 6, CT_ASSIGN, frame->scratch);
}

static void FN(transpose_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    if (node->grad[0] == CT_SKIP) return;
    const int64_t *d = node->ints;
    const ptrdiff_t size = d[0] * d[1] * d[2] * d[3] * d[4] * d[5];
    const REAL *dy = (const REAL *)frame->grad[node->out];
    REAL *dx = (REAL *)frame->grad[node->in[0]];
    for (ptrdiff_t r = 0; r < rows; r++)
        FN(permute)(dx + r * size, dy + r * size, d + 12, d + 18, node->grad[0], frame->scratch);
}

/* pad: ints = shape of x (6), what comes before each axis (6), shape of y (6). The part of
   y that is x, or the borders around it; the last axis moves as runs. */
static void FN(pad_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const int64_t *n = node->ints, *before = n + 6, *m = n + 12;
    const REAL *x = (const REAL *)frame->value[node->in[0]];
    REAL *y = (REAL *)frame->value[node->out];
    const REAL value = (REAL)node->floats[0];
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t a = -before[0]; a < m[0] - before[0]; a++)
            for (ptrdiff_t b = -before[1]; b < m[1] - before[1]; b++)
                for (ptrdiff_t c = -before[2]; c < m[2] - before[2]; c++)
                    for (ptrdiff_t d = -before[3]; d < m[3] - before[3]; d++)
                        for (ptrdiff_t e = -before[4]; e < m[4] - before[4]; e++, y += m[5]) {
                            if (a < 0 || b < 0 || c < 0 || d < 0 || e < 0 || a >= n[0] ||
                                b >= n[1] || c >= n[2] || d >= n[3] || e >= n[4]) {
                                FN(fill)(y, value, m[5]);
                                continue;
                            }
                            FN(fill)(y, value, before[5]);
                            FN(move)(y + before[5], x, n[5], CT_ASSIGN);
                            FN(fill)(y + before[5] + n[5], value, m[5] - before[5] - n[5]);
                            x += n[5];
                        }
}

static void FN(pad_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    if (node->grad[0] == CT_SKIP) return;
    const int64_t *n = node->ints, *before = n + 6, *m = n + 12;
    const REAL *dy = (const REAL *)frame->grad[node->out];
    REAL *dx = (REAL *)frame->grad[node->in[0]];
    for (ptrdiff_t r = 0; r < rows; r++, dy += m[0] * m[1] * m[2] * m[3] * m[4] * m[5])
        for (ptrdiff_t a = before[0]; a < before[0] + n[0]; a++)
            for (ptrdiff_t b = before[1]; b < before[1] + n[1]; b++)
                for (ptrdiff_t c = before[2]; c < before[2] + n[2]; c++)
                    for (ptrdiff_t d = before[3]; d < before[3] + n[3]; d++)
                        for (ptrdiff_t e = before[4]; e < before[4] + n[4]; e++, dx += n[5]) {
                            ptrdiff_t at = (((a * m[1] + b) * m[2] + c) * m[3] + d) * m[4] + e;
                            FN(move)(dx, dy + at * m[5] + before[5], n[5], node->grad[0]);
                        }
}

/* a comes before b: in the order of the numbers, NaN last */
CT_INLINE int FN(before)(REAL a, REAL b) { return a < b || (b != b && a == a); }

/* Element `at` sinks below larger ones in a heap whose largest is y[0]. */
static void FN(sink)(REAL *y, ptrdiff_t at, ptrdiff_t n)
{
    const REAL x = y[at];
    for (ptrdiff_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && FN(before)(y[child], y[child + 1])) child++;
        if (!FN(before)(x, y[child])) break;
        y[at] = y[child];
    }
    y[at] = x;
}

/* ints = cells, length of each */
static void FN(sort_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const ptrdiff_t cells = rows * node->ints[0], n = node->ints[1];
    REAL *y = (REAL *)frame->value[node->out];
    memcpy(y, frame->value[node->in[0]], (size_t)(cells * n) * sizeof(REAL));
    for (ptrdiff_t q = 0; q < cells; q++, y += n) {
        for (ptrdiff_t i = n / 2; i-- > 0;) FN(sink)(y, i, n);
        for (ptrdiff_t i = n - 1; i > 0; i--) {
            REAL largest = y[0];
            y[0] = y[i], y[i] = largest;
            FN(sink)(y, 0, i);
        }
    }
}

/* How many of the sorted y come before x, or do not come behind it. */
CT_INLINE ptrdiff_t FN(place)(const REAL *y, ptrdiff_t n, REAL x, int behind)
{
    ptrdiff_t low = 0;
    while (low < n) {
        ptrdiff_t middle = (low + n) / 2;
        if (behind ? !FN(before)(x, y[middle]) : FN(before)(y[middle], x)) low = middle + 1;
        else n = middle;
    }
    return low;
}

/* dx is dy of the place, the mean over their places for equal elements */
static void FN(sort_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    if (node->grad[0] == CT_SKIP) return;
    const ptrdiff_t cells = rows * node->ints[0], n = node->ints[1];
    const REAL *x = (const REAL *)frame->value[node->in[0]];
    const REAL *y = (const REAL *)frame->value[node->out];
    const REAL *dy = (const REAL *)frame->grad[node->out];
    REAL *dx = (REAL *)frame->grad[node->in[0]];
    for (ptrdiff_t q = 0; q < cells; q++, x += n, y += n, dx += n, dy += n)
        for (ptrdiff_t i = 0; i < n; i++) {
            const ptrdiff_t first = FN(place)(y, n, x[i], 0), end = FN(place)(y, n, x[i], 1);
            REAL sum = dy[first];
            for (ptrdiff_t k = first + 1; k < end; k++) sum += dy[k];
            sum /= (REAL)(end - first);
            dx[i] = node->grad[0] == CT_ADD ? dx[i] + sum : sum;
        }
}
