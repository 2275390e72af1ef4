/* C = start + A B from register tiles, and transposition.

   Every element of C is one FMA chain over k, whatever the tile, so its bits
   depend neither on its place nor on the width of the vectors. */

#if CT_BITS == 512 || (CT_BITS == 128 && CT_HAS_FMA)
#define GEMM_ROWS 8 /* 32 registers: 24 sums, 3 of B, 1 of A */
#define GEMM_VECS 3
#elif CT_HAS_FMA
#define GEMM_ROWS 4 /* 16 registers: 12 sums, 3 of B, 1 of A */
#define GEMM_VECS 3
#else
#define GEMM_ROWS 4 /* 16 registers, one of them for the product */
#define GEMM_VECS 2
#endif

/* One tile: rows x vecs sums in registers. The last vector has `last` lanes.
   start: first row of what the sums start from, NULL for zeros. */
CT_INLINE void FN(gemm_tile)(const int rows, const int vecs, const int whole, ptrdiff_t last,
                             ptrdiff_t k, const REAL *a, ptrdiff_t a_row, ptrdiff_t a_col,
                             const REAL *b, ptrdiff_t b_row, REAL *c, ptrdiff_t c_row,
                             const REAL *start, ptrdiff_t start_row)
{
    V sum[GEMM_ROWS][GEMM_VECS];
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < vecs; j++) {
            const REAL *s = start + i * start_row + j * W;
            sum[i][j] = !start                        ? V_SET(0)
                        : whole || j + 1 < vecs ? V_LOAD(s)
                                                : V_LOAD_N(s, last);
        }
    for (ptrdiff_t p = 0; p < k; p++, a += a_col, b += b_row) {
        V bv[GEMM_VECS];
#pragma GCC unroll 4
        for (int j = 0; j < vecs; j++)
            bv[j] = whole || j + 1 < vecs ? V_LOAD(b + j * W) : V_LOAD_N(b + j * W, last);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            V av = V_SET(a[i * a_row]);
#pragma GCC unroll 4
            for (int j = 0; j < vecs; j++) sum[i][j] = V_FMA(av, bv[j], sum[i][j]);
        }
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < vecs; j++) {
            REAL *d = c + i * c_row + j * W;
            if (whole || j + 1 < vecs)
                V_STORE(d, sum[i][j]);
            else
                V_STORE_N(d, sum[i][j], last);
        }
}

#define GEMM_PANEL(vecs, whole)                                                              \
    static void FN(gemm_panel##vecs##whole)(                                                 \
        ptrdiff_t m, ptrdiff_t last, ptrdiff_t k, const REAL *a, ptrdiff_t a_row,            \
        ptrdiff_t a_col, const REAL *b, ptrdiff_t b_row, REAL *c, ptrdiff_t c_row,           \
        const REAL *start, ptrdiff_t start_row)                                              \
    {                                                                                        \
        for (; m >= GEMM_ROWS; m -= GEMM_ROWS) {                                             \
            FN(gemm_tile)(GEMM_ROWS, vecs, whole, last, k, a, a_row, a_col, b, b_row, c,     \
                          c_row, start, start_row);                                          \
            a += GEMM_ROWS * a_row;                                                          \
            c += GEMM_ROWS * c_row;                                                          \
            if (start) start += GEMM_ROWS * start_row;                                       \
        }                                                                                    \
        switch (m) {                                                                         \
            GEMM_REST(1, vecs, whole)                                                        \
            GEMM_REST(2, vecs, whole)                                                        \
            GEMM_REST(3, vecs, whole)                                                        \
            GEMM_REST(4, vecs, whole)                                                        \
            GEMM_REST(5, vecs, whole)                                                        \
            GEMM_REST(6, vecs, whole)                                                        \
            GEMM_REST(7, vecs, whole)                                                        \
        }                                                                                    \
    }
#define GEMM_REST(rows, vecs, whole)                                                         \
    case rows:                                                                               \
        if (rows < GEMM_ROWS)                                                                \
            FN(gemm_tile)(rows < GEMM_ROWS ? rows : 1, vecs, whole, last, k, a, a_row,       \
                          a_col, b, b_row, c, c_row, start, start_row);                      \
        break;

GEMM_PANEL(1, 0)
GEMM_PANEL(1, 1)
GEMM_PANEL(2, 0)
GEMM_PANEL(2, 1)
#if GEMM_VECS > 2
GEMM_PANEL(3, 0)
GEMM_PANEL(3, 1)
#endif

static void FN(gemm)(ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, const void *a_, ptrdiff_t a_row,
                     ptrdiff_t a_col, const void *b_, ptrdiff_t b_row, void *c_,
                     ptrdiff_t c_row, const void *bias, int add, void *scratch)
{
    const REAL *a = a_, *b = b_, *start = bias ? bias : add ? c_ : NULL;
    REAL *c = c_;
    ptrdiff_t start_row = bias ? 0 : c_row;
    (void)scratch;
    for (ptrdiff_t j = 0; j < n;) {
        ptrdiff_t left = (n - j + W - 1) / W, last = W;
        int vecs = left >= GEMM_VECS ? GEMM_VECS : (int)left;
        if (GEMM_VECS == 3 && left == 4) vecs = 2;
        if (vecs == left) last = n - j - (vecs - 1) * W;
        const REAL *s = start ? start + j : NULL;
#define GEMM_CALL(vecs, whole)                                                               \
    FN(gemm_panel##vecs##whole)(m, last, k, a, a_row, a_col, b + j, b_row, c + j, c_row, s,  \
                                start_row)
        switch (2 * vecs + (last == W)) {
        case 2: GEMM_CALL(1, 0); break;
        case 3: GEMM_CALL(1, 1); break;
        case 4: GEMM_CALL(2, 0); break;
        case 5: GEMM_CALL(2, 1); break;
#if GEMM_VECS > 2
        case 6: GEMM_CALL(3, 0); break;
        default: GEMM_CALL(3, 1); break;
#endif
        }
        j += vecs * W;
    }
}

static void FN(transpose)(const void *src_, ptrdiff_t src_row, void *dst_, ptrdiff_t dst_row,
                          ptrdiff_t m, ptrdiff_t n)
{
    const REAL *src = src_;
    REAL *dst = dst_;
    for (ptrdiff_t i = 0; i < m; i += 16)
        for (ptrdiff_t j = 0; j < n; j++)
            for (ptrdiff_t r = i; r < m && r < i + 16; r++) dst[j * dst_row + r] = src[r * src_row + j];
}

#undef GEMM_ROWS
#undef GEMM_VECS
#undef GEMM_PANEL
#undef GEMM_REST
#undef GEMM_CALL
