/* Recurrent layers over a whole sequence: lstm, gru, rnn.

   A block of sequences runs through all steps. In each step the sums of the gates are two
   products over the block, started from the bias and continued with the state, in scratch
   memory: in the tensors the rows lie pages apart. Then one pass makes the gates and the
   state. For backward, `kept` holds the gates of each step, and LSTM's cell state behind them;
   backward leaves the gradients of the sums in place of the gates, for the weights.

   ints: sequences in a row, T steps, F features, H hidden units, for rnn 1 where relu.
   x (T, F), w_ih (F, gates H), w_hh (H, gates H), bias (sums H), h0 (H), c0 (H). */

#define LSTM 0 /* which cell, known to the compiler */
#define GRU 1
#define RNN 2
#define GATES(cell) ((cell) == LSTM ? 4 : (cell) == GRU ? 3 : 1)
#define SUMS(cell) ((cell) == RNN ? 1 : 4) /* of GRU: r, u, n from x, n from h */
#define KEPT(cell) ((cell) == LSTM ? 5 : SUMS(cell))
#define STATES(cell, t) ((cell) == LSTM ? (t) + 1 : (t)) /* rows of the output; last: c */
#define PACKING (128 * 1024)                                /* bytes that gemm takes of scratch */
#define EACH_UNIT(...)                                                                       \
    for (ptrdiff_t j = 0; j < hidden; j += W) {                                              \
        const ptrdiff_t n = hidden - j;                                                      \
        __VA_ARGS__                                                                          \
    }
#define AT(p) FN(get)((p) + j, n)
#define LAY(p, v) FN(put)((p) + j, v, n)
#define INPUT(k) (node->n_in > (k) && node->in[k] >= 0)
#define VALUE(k) ((const REAL *)(INPUT(k) ? frame->value[node->in[k]] : NULL))

/* A block's memory: sums or their gradients (m, wide), state and cell or their gradients
   (m, H), features (m, F). Rows of `sums` are a cache line apart from a power of 2. */
typedef struct {
    ptrdiff_t sequences, steps, features, hidden; /* all of the call; T, F, H */
    ptrdiff_t height, wide;                       /* sequences in a block; row of sums */
    REAL *sums, *state, *cell, *x;
} FN(recurrence);

CT_INLINE FN(recurrence) FN(recurrence_of)(const ct_node *node, const ct_frame *frame,
                                           ptrdiff_t rows, const int cell)
{
    const int64_t *ints = node->ints;
    FN(recurrence) s = {rows * ints[0], ints[1], ints[2], ints[3], .height = 64};
    s.wide = SUMS(cell) * s.hidden + 16;
    const ptrdiff_t each = s.wide + 2 * s.hidden + s.features;
    const ptrdiff_t most = (CT_SCRATCH - PACKING) / ((ptrdiff_t)sizeof(REAL) * each);
    if (most < s.height) s.height = most < 8 ? most : most / 8 * 8;
    s.sums = (REAL *)((char *)frame->scratch + PACKING);
    s.state = s.sums + s.height * s.wide;
    s.cell = s.state + s.height * s.hidden;
    s.x = s.cell + s.height * s.hidden;
    return s;
}

/* dst (m, n) = src, zeros where there is none */
CT_INLINE void FN(take_rows)(REAL *dst, const REAL *src, ptrdiff_t row, ptrdiff_t m, ptrdiff_t n)
{
    for (ptrdiff_t i = 0; i < m; i++)
        if (src) memcpy(dst + i * n, src + i * row, sizeof(REAL) * (size_t)n);
        else memset(dst + i * n, 0, sizeof(REAL) * (size_t)n);
}

/* Gates and state of one step from the sums z; h, c: of this sequence, y: its place in the
   output, k: what is kept, or NULL. */
CT_INLINE void FN(recurrent_cell)(const int cell, const int relu, ptrdiff_t hidden, const REAL *z,
                                  REAL *h, REAL *c, REAL *y, REAL *k)
{
    const REAL *z1 = z + hidden, *z2 = z1 + hidden, *z3 = z2 + hidden;
    EACH_UNIT({
        V new;
        if (cell == LSTM) {
            V in = FN(vsigmoid)(AT(z)), forget = FN(vsigmoid)(AT(z1));
            V g = FN(vtanh)(AT(z2)), out = FN(vsigmoid)(AT(z3));
            V cn = V_FMA(forget, AT(c), in * g);
            new = out * FN(vtanh)(cn);
            LAY(c, cn);
            if (k) {
                LAY(k, in);
                LAY(k + hidden, forget);
                LAY(k + 2 * hidden, g);
                LAY(k + 3 * hidden, out);
                LAY(k + 4 * hidden, cn);
            }
        } else if (cell == GRU) {
            V r = FN(vsigmoid)(AT(z)), u = FN(vsigmoid)(AT(z1)), q = AT(z3);
            V g = FN(vtanh)(V_FMA(r, q, AT(z2)));
            new = V_FMA(u, AT(h) - g, g);
            if (k) {
                LAY(k, r);
                LAY(k + hidden, u);
                LAY(k + 2 * hidden, g);
                LAY(k + 3 * hidden, q);
            }
        } else {
            new = relu ? V_MAX(V_SET(0), AT(z)) : FN(vtanh)(AT(z));
        }
        LAY(h, new);
        LAY(y, new);
    })
}

CT_INLINE void FN(recurrent_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows,
                                     const int cell)
{
    const FN(recurrence) s = FN(recurrence_of)(node, frame, rows, cell);
    const ptrdiff_t steps = s.steps, hidden = s.hidden, columns = GATES(cell) * hidden;
    const ptrdiff_t both = cell == GRU ? 2 * hidden : columns; /* sums of x and h together */
    const ptrdiff_t row = STATES(cell, steps) * hidden;
    const REAL *x0 = VALUE(0), *w_ih = VALUE(1), *w_hh = VALUE(2), *bias = VALUE(3);
    const REAL *h0 = VALUE(4), *c0 = VALUE(5);
    const int relu = cell == RNN && node->ints[4];
    REAL *y0 = (REAL *)frame->value[node->out];
    REAL *k0 = node->kept >= 0 && cell != RNN ? (REAL *)frame->value[node->kept] : NULL;
    for (ptrdiff_t b = 0, m; b < s.sequences; b += m) {
        m = s.sequences - b < s.height ? s.sequences - b : s.height;
        FN(take_rows)(s.state, h0 ? h0 + b * hidden : NULL, hidden, m, hidden);
        if (cell == LSTM)
            FN(take_rows)(s.cell, c0 ? c0 + b * hidden : NULL, hidden, m, hidden);
        for (ptrdiff_t t = 0; t < steps; t++) {
            const REAL *x = x0 + (b * steps + t) * s.features;
            FN(take_rows)(s.x, x, steps * s.features, m, s.features);
            FN(gemm)(m, columns, s.features, s.x, s.features, 1, w_ih, columns, s.sums, s.wide,
                     bias, 0, frame->scratch);
            FN(gemm)(m, both, hidden, s.state, hidden, 1, w_hh, columns, s.sums, s.wide, NULL, 1,
                     frame->scratch);
            if (cell == GRU)
                FN(gemm)(m, hidden, hidden, s.state, hidden, 1, w_hh + both, columns,
                         s.sums + 3 * hidden, s.wide, bias ? bias + 3 * hidden : NULL, 0,
                         frame->scratch);
            for (ptrdiff_t i = 0; i < m; i++)
                FN(recurrent_cell)(cell, relu, hidden, s.sums + i * s.wide, s.state + i * hidden,
                                   s.cell + i * hidden, y0 + (b + i) * row + t * hidden,
                                   k0 ? k0 + ((b + i) * steps + t) * KEPT(cell) * hidden : NULL);
        }
        if (cell == LSTM)
            for (ptrdiff_t i = 0; i < m; i++)
                memcpy(y0 + (b + i) * row + steps * hidden, s.cell + i * hidden,
                       sizeof(REAL) * (size_t)hidden);
    }
}

/* One step back. dh: gradient that the next step sends to the state, which becomes the part of
   that of the state before that does not pass through a product; dc likewise, of the cell; dy:
   that of the output. before: state (GRU) or cell (LSTM) of the step before, NULL for zeros.
   dz: gradients of the sums, also left in k. */
CT_INLINE void FN(recurrent_uncell)(const int cell, const int relu, ptrdiff_t hidden,
                                    const REAL *dy, const REAL *y, const REAL *before, REAL *dh,
                                    REAL *dc, REAL *k, REAL *dz)
{
    const V one = V_SET(1);
    EACH_UNIT({
        V d = AT(dh) + AT(dy), old = before ? AT(before) : V_SET(0), g0, g1, g2, g3;
        if (cell == LSTM) {
            V in = AT(k), forget = AT(k + hidden), g = AT(k + 2 * hidden);
            V out = AT(k + 3 * hidden), top = FN(vtanh)(AT(k + 4 * hidden));
            V e = V_FMA(d * out, V_FMA(-top, top, one), AT(dc));
            g0 = e * g * (in * (one - in));
            g1 = e * old * (forget * (one - forget));
            g2 = e * in * V_FMA(-g, g, one);
            g3 = d * top * (out * (one - out));
            LAY(dc, e * forget);
        } else if (cell == GRU) {
            V r = AT(k), u = AT(k + hidden), g = AT(k + 2 * hidden), q = AT(k + 3 * hidden);
            g2 = d * (one - u) * V_FMA(-g, g, one);
            g0 = g2 * q * (r * (one - r));
            g1 = d * (old - g) * (u * (one - u));
            g3 = g2 * r;
            LAY(dh, d * u);
        } else {
            V v = AT(y);
            g0 = relu ? V_SELECT(v == V_SET(0), V_SET(0), d) : d * V_FMA(-v, v, one);
        }
        LAY(dz, g0);
        LAY(k, g0);
        if (cell != RNN) {
            LAY(dz + hidden, g1);
            LAY(dz + 2 * hidden, g2);
            LAY(dz + 3 * hidden, g3);
            LAY(k + hidden, g1);
            LAY(k + 2 * hidden, g2);
            LAY(k + 3 * hidden, g3);
        }
    })
}

/* d (m, H) to the gradient of an initial state */
CT_INLINE void FN(give_rows)(const ct_node *node, const ct_frame *frame, int input,
                             const REAL *d, ptrdiff_t at, ptrdiff_t size)
{
    if (!INPUT(input) || node->grad[input] == CT_SKIP) return;
    REAL *g = (REAL *)frame->grad[node->in[input]] + at;
    for (ptrdiff_t j = 0; j < size; j += W)
        FN(give)(g + j, FN(get)(d + j, size - j), size - j, node->grad[input]);
}

CT_INLINE void FN(recurrent_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows,
                                      const int cell)
{
    const FN(recurrence) s = FN(recurrence_of)(node, frame, rows, cell);
    const ptrdiff_t steps = s.steps, hidden = s.hidden, columns = GATES(cell) * hidden;
    const ptrdiff_t both = cell == GRU ? 2 * hidden : columns;
    const ptrdiff_t row = STATES(cell, steps) * hidden, kept = KEPT(cell) * hidden;
    const REAL *back_ih = (const REAL *)frame->transposed[node->in[1]];
    const REAL *back_hh = (const REAL *)frame->transposed[node->in[2]];
    const REAL *y0 = (const REAL *)frame->value[node->out], *h0 = VALUE(4), *c0 = VALUE(5);
    const REAL *dy0 = (const REAL *)frame->grad[node->out];
    const int relu = cell == RNN && node->ints[4];
    const int first = INPUT(4) && node->grad[4] != CT_SKIP; /* step 0 has one before it */
    REAL *k0 = (REAL *)frame->value[node->kept];
    REAL *dx0 = node->grad[0] == CT_SKIP ? NULL : (REAL *)frame->grad[node->in[0]];
    for (ptrdiff_t b = 0, m; b < s.sequences; b += m) {
        m = s.sequences - b < s.height ? s.sequences - b : s.height;
        FN(take_rows)(s.state, NULL, 0, m, hidden);
        if (cell == LSTM)
            FN(take_rows)(s.cell, dy0 + b * row + steps * hidden, row, m, hidden);
        for (ptrdiff_t t = steps - 1; t >= 0; t--) {
            for (ptrdiff_t i = 0; i < m; i++) {
                REAL *k = k0 + ((b + i) * steps + t) * kept;
                const ptrdiff_t at = (b + i) * row + t * hidden;
                const REAL *start = cell == LSTM ? c0 : cell == GRU ? h0 : NULL;
                const REAL *before = !t                 ? start ? start + (b + i) * hidden : NULL
                                     : cell == LSTM ? k - hidden
                                                       : y0 + at - hidden;
                FN(recurrent_uncell)(cell, relu, hidden, dy0 + at, y0 + at, before,
                                     s.state + i * hidden, s.cell + i * hidden, k,
                                     s.sums + i * s.wide);
            }
            if (t || first) {
                FN(gemm)(m, hidden, both, s.sums, s.wide, 1, back_hh, hidden, s.state, hidden,
                         NULL, cell == GRU, frame->scratch);
                if (cell == GRU)
                    FN(gemm)(m, hidden, hidden, s.sums + 3 * hidden, s.wide, 1,
                             back_hh + both * hidden, hidden, s.state, hidden, NULL, 1,
                             frame->scratch);
            }
            if (dx0)
                FN(gemm)(m, s.features, columns, s.sums, s.wide, 1, back_ih, s.features,
                         dx0 + (b * steps + t) * s.features, steps * s.features, NULL,
                         node->grad[0] == CT_ADD, frame->scratch);
        }
        FN(give_rows)(node, frame, 4, s.state, b * hidden, m * hidden);
        if (cell == LSTM) FN(give_rows)(node, frame, 5, s.cell, b * hidden, m * hidden);
    }
}

/* Columns [c0, c1) of dw (k, columns), rows [r0, r1), from x or the states before: sequences and
   steps in order. dz points at the gradient of column 0. */
CT_INLINE void FN(recurrent_product)(const ct_node *node, const ct_frame *frame,
                                     const FN(recurrence) *s, const int cell, int input,
                                     const REAL *dz, ptrdiff_t r0, ptrdiff_t r1, ptrdiff_t c0,
                                     ptrdiff_t c1, int add)
{
    const ptrdiff_t steps = s->steps, hidden = s->hidden, columns = GATES(cell) * hidden;
    const ptrdiff_t step = KEPT(cell) * hidden, row = STATES(cell, steps) * hidden;
    const ptrdiff_t m = r1 - r0, n = c1 - c0;
    const REAL *x = VALUE(0), *h0 = VALUE(4), *y = (const REAL *)frame->value[node->out];
    REAL *dw = (REAL *)frame->grad[node->in[input]] + r0 * columns + c0;
    if (n <= 0) return;
    dz += c0;
    if (input == 1) {
        FN(gemm)(m, n, s->sequences * steps, x + r0, 1, s->features, dz, step, dw, columns, NULL,
                 add, frame->scratch);
    } else if (steps == 1) { /* without h0 there is no state before: zeros */
        FN(gemm)(m, n, h0 ? s->sequences : 0, h0 + (h0 ? r0 : 0), 1, hidden, dz, step, dw, columns,
                 NULL, add, frame->scratch);
    } else {
        for (ptrdiff_t i = 0; i < s->sequences; i++, dz += steps * step) {
            if (h0)
                FN(gemm)(m, n, 1, h0 + i * hidden + r0, 1, hidden, dz, step, dw, columns, NULL,
                         add || i, frame->scratch);
            FN(gemm)(m, n, steps - 1, y + i * row + r0, 1, hidden, dz + step, step, dw, columns,
                     NULL, add || i || h0, frame->scratch);
        }
    }
}

/* dw_ih = sum of x^T dz, dw_hh = sum of h_before^T dz, dbias = sum of dz */
CT_INLINE void FN(recurrent_param)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows,
                                   int input, ptrdiff_t i0, ptrdiff_t i1, int add,
                                   const int cell)
{
    const FN(recurrence) s = FN(recurrence_of)(node, frame, rows, cell);
    const ptrdiff_t hidden = s.hidden, columns = GATES(cell) * hidden;
    const REAL *dz = (const REAL *)frame->value[node->kept];
    if (input == 3) {
        REAL *grad = (REAL *)frame->grad[node->in[3]] + i0;
        if (!add) memset(grad, 0, sizeof(REAL) * (size_t)(i1 - i0));
        FN(add_rows)(grad, dz + i0, KEPT(cell) * hidden, s.sequences * s.steps, i1 - i0);
        return;
    }
    /* a matrix of one row is cut along its columns */
    const int across = (input == 1 ? s.features : hidden) == 1;
    const ptrdiff_t r0 = across ? 0 : i0, r1 = across ? 1 : i1;
    const ptrdiff_t c0 = across ? i0 : 0, c1 = across ? i1 : columns;
    const ptrdiff_t cut = cell == GRU && input == 2 ? 2 * hidden : columns;
    FN(recurrent_product)(node, frame, &s, cell, input, dz, r0, r1, c0, c1 < cut ? c1 : cut, add);
    FN(recurrent_product)(node, frame, &s, cell, input, dz + hidden, r0, r1, c0 < cut ? cut : c0,
                          c1, add);
}

#define RECURRENT(op, cell)                                                                  \
    static void FN(op##_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows) \
    {                                                                                        \
        FN(recurrent_forward)(node, frame, rows, cell);                                      \
    }                                                                                        \
    static void FN(op##_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)\
    {                                                                                        \
        FN(recurrent_backward)(node, frame, rows, cell);                                     \
    }                                                                                        \
    static void FN(op##_param)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows,   \
                               int input, ptrdiff_t i0, ptrdiff_t i1, int add)               \
    {                                                                                        \
        FN(recurrent_param)(node, frame, rows, input, i0, i1, add, cell);                    \
    }
RECURRENT(lstm, LSTM)
RECURRENT(gru, GRU)
RECURRENT(rnn, RNN)
#undef RECURRENT
#undef LSTM
#undef GRU
#undef RNN
#undef GATES
#undef SUMS
#undef KEPT
#undef STATES
#undef PACKING
#undef EACH_UNIT
#undef AT
#undef LAY
#undef INPUT
#undef VALUE
