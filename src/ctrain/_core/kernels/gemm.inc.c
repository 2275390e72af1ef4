/* C = start + A B from register tiles, and transposition.

   Every element of C is one chain of FMAs over k, wherever it lies, so its bits
   depend neither on the tile nor on the width of the vectors. Sums pass through
   C between blocks of k. */

#if CT_BITS == 512 || (CT_BITS == 128 && CT_HAS_FMA)
#define ROWS 8 /* of 32 registers: 24 sums, 3 of B, 1 of A */
#else
#define ROWS 4 /* of 16 registers: 12 sums, 3 of B, 1 of A */
#endif
#define VECS 3
#define LINE (64 / (int)sizeof(REAL)) /* one cache line */
#define BLOCK_K 512                   /* rows of B in a block; the last may be a quarter longer */
#define BLOCK_M (8 * LINE)            /* rows of A that pack_a copies at once */

/* What the tiles of one panel, columns j to j + vecs * W of C, share. Strides in bytes. */
typedef struct {
    ptrdiff_t a_row, a_col, b_row, c_row, start_row;
    ptrdiff_t k;
    ptrdiff_t last;      /* lanes of the last vector */
    ptrdiff_t ahead_row; /* of B, or 0 where there is nothing to fetch */
    REAL *packed;        /* where the first tile leaves its B, (k, vecs * W) */
} FN(panel);
#define STEP(p, bytes) ((const REAL *)((const char *)(p) + (bytes)))

/* One tile: rows x vecs sums in registers. start: first row of what they start from, NULL for
   zeros. ahead: a column of the next panel of B, fetched into L2 on the way. */
CT_INLINE void FN(tile)(const int rows, const int vecs, const int whole, const int pack,
                        const FN(panel) *s, const REAL *a, const REAL *b, REAL *c,
                        const REAL *start, const REAL *ahead)
{
    V sum[ROWS][8];
    ptrdiff_t a_row = s->a_row, a_col = s->a_col, b_row = s->b_row, last = s->last;
    ptrdiff_t ahead_row = s->ahead_row;
    REAL *packed = s->packed;
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 8
        for (int j = 0; j < vecs; j++)
            sum[i][j] = !start                  ? V_SET(0)
                        : whole || j + 1 < vecs ? V_LOAD(start + j * W)
                                                : V_LOAD_N(start + j * W, last);
        if (start) start = STEP(start, s->start_row);
    }
    ptrdiff_t p = s->k;
    do {
        V bv[8];
#pragma GCC unroll 8
        for (int j = 0; j < vecs; j++)
            bv[j] = whole || j + 1 < vecs ? V_LOAD(b + j * W) : V_LOAD_N(b + j * W, last);
        if (pack) {
#pragma GCC unroll 8
            for (int j = 0; j < vecs; j++) V_STORE(packed + j * W, bv[j]);
            packed += vecs * W;
        }
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            V av = V_SET(*STEP(a, i * a_row));
#pragma GCC unroll 8
            for (int j = 0; j < vecs; j++) sum[i][j] = V_FMA(av, bv[j], sum[i][j]);
        }
        __builtin_prefetch(ahead, 0, 2);
        a = STEP(a, a_col);
        b = STEP(b, b_row);
        ahead = STEP(ahead, ahead_row);
    } while (--p);
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
#pragma GCC unroll 8
        for (int j = 0; j < vecs; j++)
            if (whole || j + 1 < vecs)
                V_STORE(c + j * W, sum[i][j]);
            else
                V_STORE_N(c + j * W, sum[i][j], last);
        c = (REAL *)STEP(c, s->c_row);
    }
}

typedef void (*FN(tile_fn))(const FN(panel) *, const REAL *a, const REAL *b, REAL *c,
                            const REAL *start, const REAL *ahead);
#define TILE(name, rows, vecs, whole, pack)                                                  \
    static void FN(name)(const FN(panel) *s, const REAL *a, const REAL *b, REAL *c,          \
                         const REAL *start, const REAL *ahead)                               \
    {                                                                                        \
        FN(tile)(rows, vecs, whole, pack, s, a, b, c, start, ahead);                         \
    }
#define TILES(rows)                                                                          \
    TILE(tile##rows##1n, rows, 1, 0, 0)                                                      \
    TILE(tile##rows##2n, rows, 2, 0, 0)                                                      \
    TILE(tile##rows##3n, rows, 3, 0, 0)                                                      \
    TILE(tile##rows##1, rows, 1, 1, 0)                                                       \
    TILE(tile##rows##2, rows, 2, 1, 0)                                                       \
    TILE(tile##rows##3, rows, 3, 1, 0)
TILES(1)
TILES(2)
TILES(3)
TILES(4)
#if ROWS == 8
TILES(5)
TILES(6)
TILES(7)
TILES(8)
#endif
TILE(tile14, 1, 4, 1, 0)
TILE(tile18, 1, 8, 1, 0)
TILE(tile24, 2, 4, 1, 0)
TILE(tile_pack1, ROWS, 1, 1, 1)
TILE(tile_pack2, ROWS, 2, 1, 1)
TILE(tile_pack3, ROWS, 3, 1, 1)

/* by height, last vector whole, vectors */
#define TILE_ROW(rows)                                                                       \
    {                                                                                        \
        {FN(tile##rows##1n), FN(tile##rows##2n), FN(tile##rows##3n)},                        \
        {FN(tile##rows##1), FN(tile##rows##2), FN(tile##rows##3)},                           \
    }
static const FN(tile_fn) FN(tiles)[ROWS][2][3] = {
    TILE_ROW(1), TILE_ROW(2), TILE_ROW(3), TILE_ROW(4),
#if ROWS == 8
    TILE_ROW(5), TILE_ROW(6), TILE_ROW(7), TILE_ROW(8),
#endif
};
static const FN(tile_fn) FN(tiles_pack)[3] = {FN(tile_pack1), FN(tile_pack2), FN(tile_pack3)};

#if CT_BITS == 512 && CT_F64
#define QUARTERS(a, b, i) ((V)_mm512_shuffle_f64x2((__m512d)(a), (__m512d)(b), i))
#elif CT_BITS == 512
#define QUARTERS(a, b, i) ((V)_mm512_shuffle_f32x4((__m512)(a), (__m512)(b), i))
#elif CT_F64
#define QUARTERS(a, b, i) ((V)_mm256_permute2f128_pd((__m256d)(a), (__m256d)(b), i))
#else
#define QUARTERS(a, b, i) ((V)_mm256_permute2f128_ps((__m256)(a), (__m256)(b), i))
#endif

/* r (W vectors) becomes its transpose: within 128 bits by zips, then whole 128 bits. */
CT_INLINE void FN(transpose_block)(V *r)
{
    enum { L = 16 / sizeof(REAL) };
#pragma GCC unroll 8
    for (int i = 0; i < W; i += L) {
        V *s = r + i;
#if CT_F64
        V low = V_ZIP_LOW(s[0], s[1]), high = V_ZIP_HIGH(s[0], s[1]);
        s[0] = low;
        s[1] = high;
#else
        V a = V_ZIP_LOW(s[0], s[2]), b = V_ZIP_LOW(s[1], s[3]);
        V c = V_ZIP_HIGH(s[0], s[2]), d = V_ZIP_HIGH(s[1], s[3]);
        s[0] = V_ZIP_LOW(a, b);
        s[1] = V_ZIP_HIGH(a, b);
        s[2] = V_ZIP_LOW(c, d);
        s[3] = V_ZIP_HIGH(c, d);
#endif
    }
#if CT_BITS == 512
#pragma GCC unroll 8
    for (int i = 0; i < L; i++) {
        V *s = r + i;
        V a = QUARTERS(s[0], s[L], 0x44), b = QUARTERS(s[0], s[L], 0xee);
        V c = QUARTERS(s[2 * L], s[3 * L], 0x44), d = QUARTERS(s[2 * L], s[3 * L], 0xee);
        s[0] = QUARTERS(a, c, 0x88);
        s[L] = QUARTERS(a, c, 0xdd);
        s[2 * L] = QUARTERS(b, d, 0x88);
        s[3 * L] = QUARTERS(b, d, 0xdd);
    }
#elif CT_BITS == 256
#pragma GCC unroll 8
    for (int i = 0; i < L; i++) {
        V low = QUARTERS(r[i], r[i + L], 0x20), high = QUARTERS(r[i], r[i + L], 0x31);
        r[i] = low;
        r[i + L] = high;
    }
#endif
}

/* The same chains for a few columns of C, vectors running down its rows: groups * W rows, of
   the last vector `lanes`. across: A is given transposed (a_row 1), else a_col is 1. */
CT_INLINE void FN(narrow)(const int cols, const int groups, const int across, ptrdiff_t lanes,
                          ptrdiff_t k, const REAL *a, ptrdiff_t a_row, ptrdiff_t a_col,
                          const REAL *b, ptrdiff_t b_row, REAL *c, ptrdiff_t c_row,
                          const REAL *start, ptrdiff_t start_row)
{
    V sum[4][4];
    REAL column[W];
    const ptrdiff_t whole = groups > 1 || lanes == W;
#pragma GCC unroll 4
    for (int g = 0; g < groups; g++)
#pragma GCC unroll 4
        for (int j = 0; j < cols; j++) {
            if (!start || !start_row) {
                sum[g][j] = V_SET(start ? start[j] : 0);
            } else if (start_row == 1 && whole) {
                sum[g][j] = V_LOAD(start + g * W);
            } else {
                for (ptrdiff_t i = 0; i < W; i++)
                    column[i] = start[j + (g * W + (i < lanes ? i : 0)) * start_row];
                sum[g][j] = V_LOAD(column);
            }
        }
    if (across) {
        for (ptrdiff_t p = 0; p < k; p++, a += a_col, b += b_row)
#pragma GCC unroll 4
            for (int g = 0; g < groups; g++) {
                V av = whole ? V_LOAD(a + g * W) : V_LOAD_N(a, lanes);
#pragma GCC unroll 4
                for (int j = 0; j < cols; j++) sum[g][j] = V_FMA(av, V_SET(b[j]), sum[g][j]);
            }
    } else {
        for (ptrdiff_t p = 0; p < k; p += W, a += W, b += W * b_row) {
            ptrdiff_t left = k - p;
#pragma GCC unroll 4
            for (int g = 0; g < groups; g++) {
                V r[W];
#pragma GCC unroll 16
                for (int i = 0; i < W; i++) {
                    const REAL *row = a + (g * W + (groups > 1 || i < lanes ? i : 0)) * a_row;
                    r[i] = left >= W ? V_LOAD(row) : V_LOAD_N(row, left);
                }
                FN(transpose_block)(r);
#pragma GCC unroll 16
                for (int q = 0; q < W; q++) {
                    if (q >= left) break;
#pragma GCC unroll 4
                    for (int j = 0; j < cols; j++)
                        sum[g][j] = V_FMA(r[q], V_SET(b[q * b_row + j]), sum[g][j]);
                }
            }
        }
    }
#pragma GCC unroll 4
    for (int g = 0; g < groups; g++)
#pragma GCC unroll 4
        for (int j = 0; j < cols; j++) {
            if (c_row == 1 && whole) {
                V_STORE(c + g * W, sum[g][j]);
                continue;
            }
            V_STORE(column, sum[g][j]);
            for (ptrdiff_t i = 0; i < (whole ? W : lanes); i++)
                c[j + (g * W + i) * c_row] = column[i];
        }
}

#define NARROW(name, cols, groups, across)                                                   \
    static void FN(name)(ptrdiff_t m, ptrdiff_t k, const REAL *a, ptrdiff_t a_row,           \
                         ptrdiff_t a_col, const REAL *b, ptrdiff_t b_row, REAL *c,           \
                         ptrdiff_t c_row, const REAL *start, ptrdiff_t start_row)            \
    {                                                                                        \
        for (ptrdiff_t i = 0, step; i < m; i += step) {                                      \
            const int many = groups > 1 && m - i >= groups * W;                              \
            step = many ? groups * W : W;                                                    \
            if (many)                                                                        \
                FN(narrow)(cols, groups, across, W, k, a, a_row, a_col, b, b_row, c, c_row,  \
                           start, start_row);                                                \
            else                                                                             \
                FN(narrow)(cols, 1, across, m - i < W ? m - i : W, k, a, a_row, a_col, b,    \
                           b_row, c, c_row, start, start_row);                               \
            a += step * a_row;                                                               \
            c += step * c_row;                                                               \
            if (start) start += step * start_row;                                            \
        }                                                                                    \
    }
NARROW(narrow1_along, 1, 2, 0)
NARROW(narrow2_along, 2, 2, 0)
NARROW(narrow3_along, 3, 1, 0)
NARROW(narrow4_along, 4, 1, 0)
NARROW(narrow1_across, 1, 4, 1)
NARROW(narrow2_across, 2, 4, 1)
NARROW(narrow3_across, 3, 2, 1)
NARROW(narrow4_across, 4, 2, 1)

typedef void (*FN(narrow_fn))(ptrdiff_t m, ptrdiff_t k, const REAL *a, ptrdiff_t a_row,
                              ptrdiff_t a_col, const REAL *b, ptrdiff_t b_row, REAL *c,
                              ptrdiff_t c_row, const REAL *start, ptrdiff_t start_row);
static const FN(narrow_fn) FN(narrows)[2][4] = {
    {FN(narrow1_along), FN(narrow2_along), FN(narrow3_along), FN(narrow4_along)},
    {FN(narrow1_across), FN(narrow2_across), FN(narrow3_across), FN(narrow4_across)},
};

/* C = start + a b for a column a and a row b. */
CT_INLINE void FN(outer_panel)(const int vecs, ptrdiff_t lanes, ptrdiff_t m, const REAL *a,
                               ptrdiff_t a_row, const REAL *b, REAL *c, ptrdiff_t c_row,
                               const REAL *start, ptrdiff_t start_row)
{
    V bv[4];
#pragma GCC unroll 4
    for (int j = 0; j < vecs; j++) bv[j] = vecs > 1 ? V_LOAD(b + j * W) : V_LOAD_N(b, lanes);
    for (ptrdiff_t i = 0; i < m; i++, a += a_row, c += c_row) {
        V av = V_SET(*a);
#pragma GCC unroll 4
        for (int j = 0; j < vecs; j++) {
            V sum = !start     ? V_SET(0)
                    : vecs > 1 ? V_LOAD(start + j * W)
                               : V_LOAD_N(start, lanes);
            sum = V_FMA(av, bv[j], sum);
            if (vecs > 1)
                V_STORE(c + j * W, sum);
            else
                V_STORE_N(c, sum, lanes);
        }
        if (start) start += start_row;
    }
}

static void FN(outer)(ptrdiff_t m, ptrdiff_t n, const REAL *a, ptrdiff_t a_row, const REAL *b,
                      REAL *c, ptrdiff_t c_row, const REAL *start, ptrdiff_t start_row)
{
    for (ptrdiff_t j = 0, step; j < n; j += step) {
        const REAL *sj = start ? start + j : NULL;
        step = n - j >= 4 * W ? 4 * W : W;
        if (step > W)
            FN(outer_panel)(4, W, m, a, a_row, b + j, c + j, c_row, sj, start_row);
        else
            FN(outer_panel)(1, n - j < W ? n - j : W, m, a, a_row, b + j, c + j, c_row, sj,
                            start_row);
    }
}

/* A (m, k), given transposed, as lines of LINE rows for each p: [m / LINE][k][LINE] with a
   line between the blocks. Lines of A that lie pages apart share one set of L1, which takes
   one miss at a time; neighbours come at once. */
static void FN(pack_a)(const REAL *a, ptrdiff_t a_col, ptrdiff_t m, ptrdiff_t k, REAL *packed)
{
    for (ptrdiff_t p = 0; p < k; p++, a += a_col, packed += LINE) {
        REAL *d = packed;
        ptrdiff_t i = 0;
        for (; i + LINE <= m; i += LINE, d += LINE * (k + 1))
            memcpy(d, a + i, LINE * sizeof(REAL));
        for (; i < m; i++) *d++ = a[i];
    }
}

/* How many vectors wide the next panel is. One or two rows want more sums under way. */
CT_INLINE int FN(panel_vecs)(ptrdiff_t m, ptrdiff_t n)
{
    if (m == 1 && n >= 8 * W) return 8;
    if (m <= 2 && n >= 4 * W) return 4;
    ptrdiff_t vecs = (n + W - 1) / W;
    return vecs < VECS ? (int)vecs : vecs == 4 ? 2 : VECS;
}

CT_INLINE FN(tile_fn) FN(pick_tile)(ptrdiff_t rows, int vecs, int whole)
{
    if (vecs > VECS) return rows == 2 ? FN(tile24) : vecs == 8 ? FN(tile18) : FN(tile14);
    return FN(tiles)[rows - 1][whole][vecs - 1];
}

/* All columns of m rows of C over s->k rows of B, panel by panel. packed: A comes from pack_a;
   large: B is worth packing if m is. next: B behind this block, NULL at the end. */
static void FN(gemm_block)(FN(panel) *s, ptrdiff_t m, ptrdiff_t n, const REAL *a, int packed,
                           const REAL *b, const REAL *next, REAL *c, const REAL *start,
                           int large)
{
    const ptrdiff_t b_row = s->b_row;
    for (ptrdiff_t j = 0; j < n;) {
        const int vecs = FN(panel_vecs)(m, n - j), whole = n - j >= vecs * W;
        const int pack = large && m >= 16 * ROWS && whole;
        const REAL *bj = b + j, *ahead = bj + vecs * W, *sj = start ? start + j : NULL;
        REAL *cj = c + j;
        j += vecs * W;
        s->last = whole ? W : n - j + W;
        s->b_row = s->ahead_row = b_row;
        if (j >= n) {
            ahead = next ? next : b;
            s->ahead_row = next ? b_row : 0;
        }
        for (ptrdiff_t i = 0, rows; i < m; i += rows) {
            rows = m - i < ROWS ? m - i : ROWS;
            /* a rest of one or two rows would have too few sums under way */
            if (rows < m - i && m - i < ROWS + 3 && !packed) rows = (m - i + 1) / 2;
            const REAL *ai =
                packed ? a + i / LINE * (LINE * (s->k + 1)) + i % LINE : STEP(a, i * s->a_row);
            if (i >= VECS * ROWS) s->ahead_row = 0;
            if (pack && !i) {
                FN(tiles_pack)[vecs - 1](s, ai, bj, cj, sj, ahead);
                bj = s->packed;
                s->b_row = vecs * (ptrdiff_t)sizeof(V);
            } else {
                FN(pick_tile)(rows, vecs, whole)(s, ai, bj, cj, sj, ahead);
            }
            cj = (REAL *)STEP(cj, rows * s->c_row);
            if (sj) sj = STEP(sj, rows * s->start_row);
            if (s->ahead_row) ahead += W;
        }
    }
}

static void FN(gemm)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *a_, ptrdiff_t a_row,
                     ptrdiff_t a_col, const void *b_, ptrdiff_t b_row, void *c_,
                     ptrdiff_t c_row, const void *bias, int add, void *scratch)
{
    const REAL *a = a_, *b = b_, *start = bias ? bias : add ? c_ : NULL;
    REAL *c = c_;
    ptrdiff_t start_row = bias ? 0 : c_row;
    if (m >= 4 && (n == 1 || 2 * n < W) && (a_row == 1 || a_col == 1)) {
        for (ptrdiff_t j = 0, cols; j < n; j += cols) {
            cols = n - j < 4 ? n - j : 4;
            FN(narrows)[a_row == 1][cols - 1](m, k, a, a_row, a_col, b + j, b_row, c + j, c_row,
                                              start ? start + j : NULL, start_row);
        }
        return;
    }
    if (!k) {
        for (ptrdiff_t i = 0; i < m; i++)
            for (ptrdiff_t j = 0; j < n; j++)
                c[i * c_row + j] = start ? start[i * start_row + j] : 0;
        return;
    }
    if (k == 1) {
        FN(outer)(m, n, a, a_row, b, c, c_row, start, start_row);
        return;
    }
    /* B that L2 cannot hold is packed; so is A^T where the tiles that share a line of it would
       miss it again and again: two tiles at strides of pages, four at shorter ones already */
    const int large = k * n > (3 << 19) / (ptrdiff_t)sizeof(REAL);
    const int packed = a_row == 1 && m > ROWS && k >= LINE &&
                       a_col % (ROWS == 8 ? 64 * LINE : 8 * LINE) == 0;
    const ptrdiff_t bytes = sizeof(REAL);
    REAL *copy = (REAL *)scratch + BLOCK_K * 5 / 4 * VECS * W;
    FN(panel) s = {.a_row = a_row * bytes,
                   .a_col = (packed ? LINE : a_col) * bytes,
                   .c_row = c_row * bytes,
                   .start_row = start_row * bytes,
                   .packed = scratch};
    do {
        s.k = k <= BLOCK_K * 5 / 4 ? k : BLOCK_K;
        k -= s.k;
        const REAL *next = k ? b + s.k * b_row : NULL;
        for (ptrdiff_t i = 0, rows; i < m; i += rows) {
            rows = packed && m - i > BLOCK_M ? BLOCK_M : m - i;
            const REAL *ai = a + i * a_row;
            if (packed) {
                FN(pack_a)(ai, a_col, rows, s.k, copy);
                ai = copy;
            }
            s.b_row = b_row * bytes;
            FN(gemm_block)(&s, rows, n, ai, packed, b, next, c + i * c_row,
                           start ? start + i * start_row : NULL, large);
        }
        a += s.k * a_col;
        b += s.k * b_row;
        start = c;
        start_row = c_row;
        s.start_row = s.c_row;
    } while (k);
}

/* dst (n, m) = src (m, n) transposed: down the lines of src, so that those of dst fill up, while
   the next ones are fetched. */
static void FN(transpose)(const void *src_, ptrdiff_t src_row, void *dst_, ptrdiff_t dst_row,
                          ptrdiff_t m, ptrdiff_t n)
{
    for (ptrdiff_t line = 0; line < n; line += LINE)
        for (ptrdiff_t i = 0; i < m; i += W)
            for (ptrdiff_t j = line; j < n && j < line + LINE; j += W) {
                const ptrdiff_t h = m - i < W ? m - i : W, w = n - j < W ? n - j : W;
                const REAL *src = (const REAL *)src_ + i * src_row + j;
                REAL *dst = (REAL *)dst_ + j * dst_row + i;
                V r[W];
                if (h == W && w == W) {
#pragma GCC unroll 16
                    for (int l = 0; l < W; l++) {
                        r[l] = V_LOAD(src + l * src_row);
                        __builtin_prefetch(dst + (l + LINE) * dst_row, 1, 3);
                    }
                    FN(transpose_block)(r);
#pragma GCC unroll 16
                    for (int l = 0; l < W; l++) V_STORE(dst + l * dst_row, r[l]);
                } else {
                    for (int l = 0; l < W; l++)
                        r[l] = V_LOAD_N(src + (l < h ? l : 0) * src_row, w);
                    FN(transpose_block)(r);
                    for (int l = 0; l < w; l++) V_STORE_N(dst + l * dst_row, r[l], h);
                }
            }
}

#undef ROWS
#undef VECS
#undef LINE
#undef STEP
#undef QUARTERS
#undef BLOCK_K
#undef BLOCK_M
#undef TILE
#undef TILES
#undef TILE_ROW
#undef NARROW
