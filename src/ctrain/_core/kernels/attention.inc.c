/* Scaled dot-product attention of several heads.

   Queries are the lanes: a block of QUERIES of them against a chunk of keys gives scores
   (keys, QUERIES), of which every lane is one softmax along the keys in order. So nothing is
   added across lanes, and no bit depends on the width of the vectors. Maximum and sum are carried
   from chunk to chunk (Milakov, Gimelshein: Online normalizer calculation for softmax, 2018);
   backward makes the scores again (Dao et al.: FlashAttention, NeurIPS 2022). */

#define QUERIES 32 /* of a block: as many as one draw of Philox gives words */
#define CHUNK 512  /* keys, at most */
#define GEMM_SCRATCH (128 * 1024)

/* The sizes of one head, and where its parts lie in scratch. */
typedef struct {
    ptrdiff_t queries, keys, size, v_size; /* size: of a query and a key; v_size: of a value */
    ptrdiff_t row, v_row;                  /* from one to the next: all heads side by side */
    ptrdiff_t copy_row, v_copy_row, chunk; /* of the copies of keys and values */
    int causal;
    REAL scale, kept; /* of scores; of a weight that dropout keeps */
    VU threshold;
    uint64_t key;
    REAL *top, *total, *ratio; /* (QUERIES): largest score, sum of weights, factor */
    REAL *q, *g, *o;           /* (size, QUERIES) */
    REAL *p, *s;               /* (chunk, QUERIES) */
    REAL *k, *v;               /* (chunk, size) */
    const REAL *loaded;        /* the keys that k holds */
    void *scratch;
} FN(head);

/* One head of one row; for dropout the identity of the row and the place of the head in it. */
typedef struct {
    const REAL *q, *k, *v, *dy;
    REAL *y, *dq, *dk, *dv;
    const int64_t *row; /* NULL: no dropout */
    ptrdiff_t place;
} FN(part);

/* ints: heads, queries, keys, size and v_size of all heads, causal, threshold of dropout, leading
   size; floats: scale, what a kept weight is multiplied with. */
CT_INLINE FN(head) FN(head_of)(const ct_node *node, const ct_frame *frame)
{
    const int64_t *ints = node->ints;
    FN(head) h = {.queries = ints[1], .keys = ints[2], .row = ints[3], .v_row = ints[4],
                  .causal = (int)ints[5], .scale = (REAL)node->floats[0],
                  .kept = (REAL)node->floats[1], .scratch = frame->scratch};
    h.size = h.row / ints[0];
    h.v_size = h.v_row / ints[0];
    h.copy_row = h.size % 64 ? h.size : h.size + 16; /* spreads lines over the sets of L1 */
    h.v_copy_row = h.v_size % 64 ? h.v_size : h.v_size + 16;
    h.threshold = (VU){0} + (uint64_t)ints[6];
    h.key = ct_mix(ct_mix(frame->seed, node->stream), frame->step);
    const ptrdiff_t wide = h.size > h.v_size ? h.size : h.v_size;
    REAL *at = (REAL *)((char *)frame->scratch + GEMM_SCRATCH);
    ptrdiff_t left = (CT_SCRATCH - GEMM_SCRATCH) / (ptrdiff_t)sizeof(REAL);
    h.top = at;
    h.total = h.top + QUERIES;
    h.ratio = h.total + QUERIES;
    h.q = h.ratio + QUERIES;
    h.g = h.q + wide * QUERIES;
    h.o = h.g + wide * QUERIES;
    h.p = h.o + wide * QUERIES;
    left -= h.p - at;
    h.chunk = left / (2 * QUERIES + h.copy_row + h.v_copy_row) / 8 * 8;
    if (h.chunk > CHUNK) h.chunk = CHUNK;
    h.s = h.p + h.chunk * QUERIES;
    h.k = h.s + h.chunk * QUERIES;
    h.v = h.k + h.chunk * h.copy_row;
    return h;
}

/* dst (size, QUERIES) = src (n, size) transposed, zeros in the lanes behind */
CT_INLINE void FN(to_lanes)(REAL *dst, const REAL *src, ptrdiff_t row, ptrdiff_t n,
                            ptrdiff_t size)
{
    if (n % 16) memset(dst, 0, (size_t)(size * QUERIES) * sizeof(REAL));
    FN(transpose)(src, row, dst, QUERIES, n, size);
}

/* The lanes [0, n) of m lines: line j becomes STEP of its vector x. */
#define EACH_LINE(line, m, n, ...)                                              \
    for (ptrdiff_t j = 0; j < (m); j++)                                         \
        for (ptrdiff_t i = 0; i < (n); i += W) {                                \
            const V x = V_LOAD((line) + j * QUERIES + i);                       \
            V_STORE((line) + j * QUERIES + i, __VA_ARGS__);                     \
        }

/* exp(z) for z <= 0; 0 where it would be subnormal */
CT_INLINE V FN(weight_of)(V z)
{
    const V low = V_SET((REAL)(CT_F64 ? -708 : -87));
    return V_SELECT(z < low, V_SET(0), FN(vexp)(V_MAX(low, z)));
}

/* How many keys some of the queries below q1 see. */
CT_INLINE ptrdiff_t FN(seen)(const FN(head) *h, ptrdiff_t q1)
{
    return h->causal && q1 < h->keys ? q1 : h->keys;
}

/* p = scores of `count` keys from key c for n queries from q0; the keys and values of the chunk
   are copied where they are not there yet. */
static void FN(scores)(FN(head) *h, const FN(part) *part, ptrdiff_t c, ptrdiff_t count,
                       ptrdiff_t q0, ptrdiff_t n)
{
    const REAL *k = part->k + c * h->row, *v = part->v + c * h->v_row;
    if (h->loaded != k) {
        const ptrdiff_t left = h->keys - c;
        for (ptrdiff_t j = 0; j < left && j < h->chunk; j++) {
            memcpy(h->k + j * h->copy_row, k + j * h->row, (size_t)h->size * sizeof(REAL));
            memcpy(h->v + j * h->v_copy_row, v + j * h->v_row,
                   (size_t)h->v_size * sizeof(REAL));
        }
        h->loaded = k;
    }
    FN(gemm)(count, n, h->size, h->k, h->copy_row, 1, h->q, QUERIES, h->p, QUERIES, NULL, 0,
             h->scratch);
    if (!h->causal) return;
    for (ptrdiff_t j = q0 < c ? 0 : q0 - c + 1; j < count; j++)
        for (ptrdiff_t i = 0; i < n && q0 + i < c + j; i++)
            h->p[j * QUERIES + i] = -(REAL)INFINITY;
}

/* p = exp(p - top) with the largest score so far, the sum with it, and ratio what older weights
   shrink by. Every query sees a key in the first chunk. */
static void FN(weigh)(const FN(head) *h, ptrdiff_t count, ptrdiff_t n, const int first)
{
    for (ptrdiff_t i = 0; i < n; i += W) {
        REAL *p = h->p + i;
        const V before = first ? V_SET(-(REAL)INFINITY) : V_LOAD(h->top + i);
        V top[4] = {before, before, before, before};
        ptrdiff_t j = 0;
        for (; j + 4 <= count; j += 4)
            for (int k = 0; k < 4; k++)
                top[k] = FN(larger)(top[k], V_LOAD(p + (j + k) * QUERIES));
        for (; j < count; j++) top[0] = FN(larger)(top[0], V_LOAD(p + j * QUERIES));
        top[0] = FN(larger)(FN(larger)(top[0], top[1]), FN(larger)(top[2], top[3]));
        V total = V_SET(0), ratio = V_SET(0);
        if (!first) {
            ratio = FN(weight_of)(before - top[0]);
            total = V_LOAD(h->total + i) * ratio;
        }
        for (j = 0; j < count; j++, p += QUERIES) {
            V e = FN(weight_of)(V_LOAD(p) - top[0]);
            V_STORE(p, e);
            total += e;
        }
        V_STORE(h->top + i, top[0]);
        V_STORE(h->total + i, total);
        V_STORE(h->ratio + i, ratio);
    }
}

/* What dropout multiplies the weights of key j for the queries from q0 with: 0 or `kept`. */
CT_INLINE void FN(draw_weights)(const FN(head) *h, const FN(part) *part, ptrdiff_t q0,
                                ptrdiff_t j, REAL *mask)
{
    const uint64_t blocks = (uint64_t)((h->queries + QUERIES - 1) / QUERIES);
    const uint64_t line = (uint64_t)(part->place * h->keys + j);
    FN(draw32)(h->key, *part->row, line * blocks + (uint64_t)(q0 / QUERIES), h->threshold,
               h->kept, mask);
}

/* y (queries, v_size) = softmax(scale q k^T) v */
static void FN(attend)(FN(head) *h, const FN(part) *part)
{
    for (ptrdiff_t q0 = 0; q0 < h->queries; q0 += QUERIES) {
        const ptrdiff_t left = h->queries - q0, here = left < QUERIES ? left : QUERIES;
        const ptrdiff_t n = (here + 15) / 16 * 16, end = FN(seen)(h, q0 + here);
        FN(to_lanes)(h->q, part->q + q0 * h->row, h->row, here, h->size);
        EACH_LINE(h->q, h->size, n, x * V_SET(h->scale))
        for (ptrdiff_t c = 0, count; c < end; c += count) {
            count = end - c < h->chunk ? end - c : h->chunk;
            FN(scores)(h, part, c, count, q0, n);
            FN(weigh)(h, count, n, !c);
            if (c) EACH_LINE(h->o, h->v_size, n, x * V_LOAD(h->ratio + i))
            if (part->row)
                for (ptrdiff_t j = 0; j < count; j++) {
                    REAL mask[QUERIES], *p = h->p + j * QUERIES;
                    FN(draw_weights)(h, part, q0, c + j, mask);
                    for (ptrdiff_t i = 0; i < n; i += W)
                        V_STORE(p + i, V_LOAD(p + i) * V_LOAD(mask + i));
                }
            FN(gemm)(h->v_size, n, count, h->v, 1, h->v_copy_row, h->p, QUERIES, h->o, QUERIES,
                     NULL, c > 0, h->scratch);
        }
        EACH_LINE(h->o, h->v_size, n, x / V_LOAD(h->total + i))
        FN(transpose)(h->o, QUERIES, part->y + q0 * h->v_row, h->v_row, h->v_size, here);
    }
}

/* p = weights, s = gradients of the scores from those of the weights, which s holds */
CT_INLINE void FN(score_gradients)(const FN(head) *h, const FN(part) *part, ptrdiff_t c,
                                   ptrdiff_t count, ptrdiff_t q0, ptrdiff_t n,
                                   const REAL *delta)
{
    for (ptrdiff_t j = 0; j < count; j++) {
        REAL mask[QUERIES], *p = h->p + j * QUERIES, *s = h->s + j * QUERIES;
        if (part->row) FN(draw_weights)(h, part, q0, c + j, mask);
        for (ptrdiff_t i = 0; i < n; i += W) {
            V w = V_LOAD(p + i) * V_LOAD(h->ratio + i);
            V m = part->row ? V_LOAD(mask + i) : V_SET(1);
            V g = V_FMA(V_LOAD(s + i), m, -V_LOAD(delta + i));
            V_STORE(s + i, w * g * V_SET(h->scale));
            V_STORE(p + i, w * m);
        }
    }
}

/* Added to dq, dk and dv where they are not NULL:
   dv = p^T dy, ds = p (dy v^T - sum(dy y)) scale, dq = ds k, dk = ds^T q. */
static void FN(attend_back)(FN(head) *h, const FN(part) *part)
{
    for (ptrdiff_t q0 = 0; q0 < h->queries; q0 += QUERIES) {
        const ptrdiff_t left = h->queries - q0, here = left < QUERIES ? left : QUERIES;
        const ptrdiff_t n = (here + 15) / 16 * 16, end = FN(seen)(h, q0 + here);
        const REAL *q = part->q + q0 * h->row, *dy = part->dy + q0 * h->v_row;
        REAL delta[QUERIES];
        FN(to_lanes)(h->g, dy, h->v_row, here, h->v_size);
        FN(to_lanes)(h->o, part->y + q0 * h->v_row, h->v_row, here, h->v_size);
        for (ptrdiff_t i = 0; i < n; i += W) {
            V sum = V_SET(0);
            for (ptrdiff_t d = i; d < h->v_size * QUERIES; d += QUERIES)
                sum = V_FMA(V_LOAD(h->g + d), V_LOAD(h->o + d), sum);
            V_STORE(delta + i, sum);
        }
        FN(to_lanes)(h->q, q, h->row, here, h->size);
        EACH_LINE(h->q, h->size, n, x * V_SET(h->scale))
        for (ptrdiff_t c = 0, count; c < end; c += count) {
            count = end - c < h->chunk ? end - c : h->chunk;
            FN(scores)(h, part, c, count, q0, n);
            FN(weigh)(h, count, n, !c);
        }
        for (ptrdiff_t i = 0; i < n; i += W)
            V_STORE(h->ratio + i, V_SET(1) / V_LOAD(h->total + i));
        for (ptrdiff_t c = 0, count; c < end; c += count) {
            count = end - c < h->chunk ? end - c : h->chunk;
            if (end > h->chunk) { /* p holds the last chunk */
                FN(scores)(h, part, c, count, q0, n);
                EACH_LINE(h->p, count, n, FN(weight_of)(x - V_LOAD(h->top + i)))
            }
            FN(gemm)(count, n, h->v_size, h->v, h->v_copy_row, 1, h->g, QUERIES, h->s, QUERIES,
                     NULL, 0, h->scratch);
            FN(score_gradients)(h, part, c, count, q0, n, delta);
            if (part->dv)
                FN(gemm)(count, h->v_size, here, h->p, QUERIES, 1, dy, h->v_row,
                         part->dv + c * h->v_row, h->v_row, NULL, 1, h->scratch);
            if (part->dk)
                FN(gemm)(count, h->size, here, h->s, QUERIES, 1, q, h->row,
                         part->dk + c * h->row, h->row, NULL, 1, h->scratch);
            if (part->dq)
                FN(gemm)(h->size, n, count, h->k, 1, h->copy_row, h->s, QUERIES, h->o, QUERIES,
                         NULL, c > 0, h->scratch);
        }
        if (!part->dq) continue;
        FN(transpose)(h->o, QUERIES, h->g, h->size, h->size, here);
        for (ptrdiff_t i = 0; i < here; i++)
            for (ptrdiff_t d = 0; d < h->size; d += W)
                FN(give)(part->dq + (q0 + i) * h->row + d,
                         FN(get)(h->g + i * h->size + d, h->size - d), h->size - d, CT_ADD);
    }
}

CT_INLINE void FN(attention_heads)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows,
                                   const int backward)
{
    FN(head) h = FN(head_of)(node, frame);
    const ptrdiff_t heads = node->ints[0], lead = node->ints[7];
    const ptrdiff_t q_size = h.queries * h.row, k_size = h.keys * h.row;
    const ptrdiff_t v_size = h.keys * h.v_row, y_size = h.queries * h.v_row;
    REAL *grad[3] = {NULL, NULL, NULL};
    if (backward)
        for (int i = 0; i < 3; i++) {
            const ptrdiff_t sizes[3] = {q_size, k_size, v_size};
            if (node->grad[i] == CT_SKIP) continue;
            grad[i] = (REAL *)frame->grad[node->in[i]];
            if (node->grad[i] == CT_ASSIGN)
                memset(grad[i], 0, (size_t)(rows * lead * sizes[i]) * sizeof(REAL));
        }
    for (ptrdiff_t r = 0; r < rows * lead; r++)
        for (ptrdiff_t i = 0; i < heads; i++) {
            const ptrdiff_t q = r * q_size + i * h.size, k = r * k_size + i * h.size;
            const ptrdiff_t v = r * v_size + i * h.v_size, y = r * y_size + i * h.v_size;
            const FN(part) part = {
                .q = (const REAL *)frame->value[node->in[0]] + q,
                .k = (const REAL *)frame->value[node->in[1]] + k,
                .v = (const REAL *)frame->value[node->in[2]] + v,
                .y = (REAL *)frame->value[node->out] + y,
                .dy = backward ? (const REAL *)frame->grad[node->out] + y : NULL,
                .dq = grad[0] ? grad[0] + q : NULL,
                .dk = grad[1] ? grad[1] + k : NULL,
                .dv = grad[2] ? grad[2] + v : NULL,
                .row = h.kept == 1 ? NULL : frame->row + r / lead,
                .place = r % lead * heads + i,
            };
            h.loaded = NULL;
            if (backward)
                FN(attend_back)(&h, &part);
            else
                FN(attend)(&h, &part);
        }
}

static void FN(attention_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    FN(attention_heads)(node, frame, rows, 0);
}

static void FN(attention_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    if (node->grad[0] || node->grad[1] || node->grad[2])
        FN(attention_heads)(node, frame, rows, 1);
}

#undef QUERIES
#undef CHUNK
#undef GEMM_SCRATCH
#undef EACH_LINE
