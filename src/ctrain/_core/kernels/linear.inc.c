/* matmul, batched_matmul and broadcast: what is linear in its inputs. */

/* dst (n) += sum of the m rows of src (m, n), one chain per column. */
CT_INLINE void FN(add_rows)(REAL *dst, const REAL *src, ptrdiff_t row, ptrdiff_t m, ptrdiff_t n)
{
    ptrdiff_t j = 0;
    for (; j + 4 * W <= n; j += 4 * W) {
        V s0 = V_LOAD(dst + j), s1 = V_LOAD(dst + j + W);
        V s2 = V_LOAD(dst + j + 2 * W), s3 = V_LOAD(dst + j + 3 * W);
        const REAL *p = src + j;
        for (ptrdiff_t i = 0; i < m; i++, p += row) {
            s0 += V_LOAD(p);
            s1 += V_LOAD(p + W);
            s2 += V_LOAD(p + 2 * W);
            s3 += V_LOAD(p + 3 * W);
        }
        V_STORE(dst + j, s0);
        V_STORE(dst + j + W, s1);
        V_STORE(dst + j + 2 * W, s2);
        V_STORE(dst + j + 3 * W, s3);
    }
    for (; j + W <= n; j += W) {
        V s = V_LOAD(dst + j);
        for (ptrdiff_t i = 0; i < m; i++) s += V_LOAD(src + i * row + j);
        V_STORE(dst + j, s);
    }
    if (n - j == 1) {
        REAL s = dst[j];
        for (ptrdiff_t i = 0; i < m; i++) s += src[i * row + j];
        dst[j] = s;
    } else if (j < n) {
        V s = V_LOAD_N(dst + j, n - j);
        for (ptrdiff_t i = 0; i < m; i++) s += V_LOAD_N(src + i * row + j, n - j);
        V_STORE_N(dst + j, s, n - j);
    }
}

/* Sum of x (n) over the 16 virtual lanes. */
CT_INLINE REAL FN(lane_sum)(const REAL *x, ptrdiff_t n)
{
    V sum[LANES], v[LANES];
    FN(load16)(sum, x, n);
    for (ptrdiff_t i = 16; i < n; i += 16) {
        FN(load16)(v, x + i, n - i);
        for (int j = 0; j < LANES; j++) sum[j] += v[j];
    }
    return FN(sum16)(sum);
}

/* y (m, n) = x (m, k) w (k, n) + bias (n), m = rows * ints[0].
   ints: rows of x in one sample, k, n. */
static void FN(matmul_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    ptrdiff_t m = rows * node->ints[0], k = node->ints[1], n = node->ints[2];
    const void *bias = node->n_in > 2 && node->in[2] >= 0 ? frame->value[node->in[2]] : NULL;
    FN(gemm)(m, n, k, frame->value[node->in[0]], k, 1, frame->value[node->in[1]], n,
             frame->value[node->out], n, bias, 0, frame->scratch);
}

/* dx (m, k) = dy (m, n) w^T, from the transposed copy of w. */
static void FN(matmul_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    ptrdiff_t m = rows * node->ints[0], k = node->ints[1], n = node->ints[2];
    if (node->grad[0] == CT_SKIP) return;
    FN(gemm)(m, k, n, frame->grad[node->out], n, 1, frame->transposed[node->in[1]], k,
             frame->grad[node->in[0]], k, NULL, node->grad[0] == CT_ADD, frame->scratch);
}

/* dw (k, n) = x^T dy, rows [i0, i1); dbias (n) = sum of dy over its rows, elements [i0, i1). */
static void FN(matmul_param)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows,
                             int input, ptrdiff_t i0, ptrdiff_t i1, int add)
{
    ptrdiff_t m = rows * node->ints[0], k = node->ints[1], n = node->ints[2];
    const REAL *dy = (const REAL *)frame->grad[node->out];
    REAL *grad = (REAL *)frame->grad[node->in[input]];
    if (input == 1) {
        const REAL *x = (const REAL *)frame->value[node->in[0]];
        if (k == 1) /* the first axis longer than 1 is that of the columns */
            FN(gemm)(1, n > 1 ? i1 - i0 : 1, m, x, 1, 1, dy + i0, n, grad + i0, n, NULL, add,
                     frame->scratch);
        else
            FN(gemm)(i1 - i0, n, m, x + i0, 1, k, dy, n, grad + i0 * n, n, NULL, add,
                     frame->scratch);
    } else {
        if (!add) memset(grad + i0, 0, sizeof(REAL) * (size_t)(i1 - i0));
        FN(add_rows)(grad + i0, dy + i0, n, m, i1 - i0);
    }
}

#define FLIP_ROWS 256 /* of B^T in scratch, behind what the GEMM itself may use */
#define FLIP_COLS 160
#define FLIP_SCRATCH (128 * 1024)

/* C (m, n) = A (m, k) B^T, or added to it; B (n, k) is transposed block by block. */
static void FN(gemm_flipped)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const REAL *a, const REAL *b,
                             REAL *c, int add, void *scratch)
{
    REAL *block = (REAL *)((char *)scratch + FLIP_SCRATCH);
    for (ptrdiff_t j = 0, cols; j < n; j += cols) {
        cols = n - j < FLIP_COLS ? n - j : FLIP_COLS;
        for (ptrdiff_t p = 0, part; p < k; p += part) {
            part = k - p < FLIP_ROWS ? k - p : FLIP_ROWS;
            FN(transpose)(b + j * k + p, k, block, cols, cols, part);
            FN(gemm)(m, cols, part, a + p, k, 1, block, cols, c + j, n, NULL, add || p, scratch);
        }
    }
}

/* C (m, n) = A (m, k) B, B (k, n) or given as (n, k).
   ints: products in one sample, m, k, n, whether B is given transposed. */
static void FN(batched_matmul_forward)(const ct_node *node, const ct_frame *frame,
                                       ptrdiff_t rows)
{
    const ptrdiff_t m = node->ints[1], k = node->ints[2], n = node->ints[3];
    const REAL *a = (const REAL *)frame->value[node->in[0]];
    const REAL *b = (const REAL *)frame->value[node->in[1]];
    REAL *c = (REAL *)frame->value[node->out];
    for (ptrdiff_t r = 0; r < rows * node->ints[0]; r++, a += m * k, b += k * n, c += m * n)
        if (node->ints[4])
            FN(gemm_flipped)(m, n, k, a, b, c, 0, frame->scratch);
        else
            FN(gemm)(m, n, k, a, k, 1, b, n, c, n, NULL, 0, frame->scratch);
}

/* dA = dC B^T and dB = A^T dC, or dA = dC B and dB = dC^T A where B is given transposed */
static void FN(batched_matmul_backward)(const ct_node *node, const ct_frame *frame,
                                        ptrdiff_t rows)
{
    const ptrdiff_t m = node->ints[1], k = node->ints[2], n = node->ints[3];
    const int flipped = (int)node->ints[4], add_a = node->grad[0] == CT_ADD,
              add_b = node->grad[1] == CT_ADD;
    const REAL *a = (const REAL *)frame->value[node->in[0]];
    const REAL *b = (const REAL *)frame->value[node->in[1]];
    const REAL *dc = (const REAL *)frame->grad[node->out];
    REAL *da = (REAL *)frame->grad[node->in[0]], *db = (REAL *)frame->grad[node->in[1]];
    for (ptrdiff_t r = 0; r < rows * node->ints[0]; r++) {
        const ptrdiff_t at = r * m * k, bt = r * k * n, ct = r * m * n;
        if (node->grad[0] != CT_SKIP) {
            if (flipped)
                FN(gemm)(m, k, n, dc + ct, n, 1, b + bt, k, da + at, k, NULL, add_a,
                         frame->scratch);
            else
                FN(gemm_flipped)(m, k, n, dc + ct, b + bt, da + at, add_a, frame->scratch);
        }
        if (node->grad[1] != CT_SKIP) {
            if (flipped)
                FN(gemm)(n, k, m, dc + ct, 1, n, a + at, k, db + bt, k, NULL, add_b,
                         frame->scratch);
            else
                FN(gemm)(k, n, m, a + at, 1, k, dc + ct, n, db + bt, n, NULL, add_b,
                         frame->scratch);
        }
    }
}
#undef FLIP_ROWS
#undef FLIP_COLS
#undef FLIP_SCRATCH

/* One axis of the output of broadcast: its length, and how far one step along it moves in the
   input (0: broadcast) and in the output. */
typedef struct {
    ptrdiff_t size, in, out;
} FN(axis);

#define MAX_AXES 7 /* the rows and six of their own */

/* The axes of `rows` rows of the output, the rows first; of the cut axis units [u0, u1).
   ints: 1 if the input advances with the rows else 0, its elements, the cut axis and how many
   units of it one leading row of the input spans, number of axes, their sizes, their steps in
   the input.
   Rows join the first axis where input and output run on evenly; never a broadcast last axis,
   whose sum belongs to one row. */
static int FN(broadcast_axes)(const int64_t *ints, ptrdiff_t rows, ptrdiff_t u0, ptrdiff_t u1,
                              FN(axis) *axes)
{
    int cut = (int)ints[2], n = (int)ints[4];
    const int64_t *size = ints + 5, *step = size + n;
    ptrdiff_t out = 1;
    for (int d = n; d > 0; d--) {
        axes[d] = (FN(axis)){size[d - 1], step[d - 1], out};
        out *= size[d - 1];
    }
    axes[0] = (FN(axis)){rows, ints[0] ? ints[1] : 0, out};
    if (u1 >= 0 && cut >= 0) axes[cut + 1].size = u1 - u0;
    FN(axis) *next = axes + 1;
    if (axes->in == next->in * next->size && axes->out == next->out * next->size &&
        (next->in || n > 1)) {
        next->size *= rows;
        axes->size = 1;
    }
    return n + 1;
}

/* The two innermost axes, outputs from inputs. The last one is copied (b.in 1) or filled (0). */
CT_INLINE void FN(broadcast_copy)(const REAL *in, REAL *out, FN(axis) a, FN(axis) b)
{
    for (ptrdiff_t i = 0; i < a.size; i++, in += a.in, out += a.out)
        for (ptrdiff_t j = 0; j < b.size; j++) out[j] = in[j * b.in];
}

/* The same backwards: each input gains the sum of its outputs. */
CT_INLINE void FN(broadcast_sum)(REAL *in, const REAL *out, FN(axis) a, FN(axis) b)
{
    if (b.in && !a.in) {
        FN(add_rows)(in, out, a.out, a.size, b.size);
        return;
    }
    for (ptrdiff_t i = 0; i < a.size; i++, in += a.in, out += a.out)
        if (b.in)
            for (ptrdiff_t j = 0; j < b.size; j++) in[j] += out[j];
        else
            *in += FN(lane_sum)(out, b.size);
}

CT_INLINE void FN(broadcast_walk)(const FN(axis) *axes, int n, REAL *in, REAL *out,
                                  const int backward)
{
    ptrdiff_t index[MAX_AXES] = {0};
    for (int d = 0; d >= 0;) {
        if (backward)
            FN(broadcast_sum)(in, out, axes[n - 2], axes[n - 1]);
        else
            FN(broadcast_copy)(in, out, axes[n - 2], axes[n - 1]);
        for (d = n - 3; d >= 0; d--) {
            in += axes[d].in;
            out += axes[d].out;
            if (++index[d] < axes[d].size) break;
            in -= axes[d].in * axes[d].size;
            out -= axes[d].out * axes[d].size;
            index[d] = 0;
        }
    }
}

/* y (*shape) = x, repeated along new axes and those of length 1. */
static void FN(broadcast_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    FN(axis) axes[MAX_AXES];
    int n = FN(broadcast_axes)(node->ints, rows, 0, -1, axes);
    if (!rows) return;
    FN(broadcast_walk)(axes, n, (REAL *)frame->value[node->in[0]],
                       (REAL *)frame->value[node->out], 0);
}

/* dx = sum of dy over the repeated axes, positions in order. */
static void FN(broadcast_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    FN(axis) axes[MAX_AXES];
    int n = FN(broadcast_axes)(node->ints, rows, 0, -1, axes);
    REAL *dx = (REAL *)frame->grad[node->in[0]];
    if (node->grad[0] == CT_SKIP || !rows) return;
    if (node->grad[0] == CT_ASSIGN) memset(dx, 0, sizeof(REAL) * (size_t)(rows * node->ints[1]));
    FN(broadcast_walk)(axes, n, dx, (REAL *)frame->grad[node->out], 1);
}

/* The same summed over the rows in order, for the leading rows [i0, i1) of a parameter. */
static void FN(broadcast_param)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows,
                                int input, ptrdiff_t i0, ptrdiff_t i1, int add)
{
    FN(axis) axes[MAX_AXES];
    const int64_t *ints = node->ints;
    ptrdiff_t u0 = i0 * ints[3], u1 = i1 * ints[3], size = ints[1];
    int n = FN(broadcast_axes)(ints, rows, u0, u1, axes);
    REAL *dx = (REAL *)frame->grad[node->in[input]], *dy = (REAL *)frame->grad[node->out];
    if (ints[2] >= 0) {
        const FN(axis) *cut = axes + 1 + ints[2];
        dx += u0 * cut->in;
        dy += u0 * cut->out;
        size = (u1 - u0) * cut->in;
    }
    if (!add) memset(dx, 0, sizeof(REAL) * (size_t)size);
    if (rows) FN(broadcast_walk)(axes, n, dx, dy, 1);
}

#undef MAX_AXES
