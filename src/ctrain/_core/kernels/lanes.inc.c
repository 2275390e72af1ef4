/* The 16 virtual lanes that every sum along contiguous memory runs over, whatever
   the vector width: element i goes to lane i % 16, and the lanes are added by one
   tree (8 + 8, 4 + 4, 2 + 2, 1 + 1). So the bits do not depend on the target. */

#define LANES (16 / W) /* vectors that hold the 16 virtual lanes */

/* Elements [0, n) of p, zeros behind; n may exceed 16. */
CT_INLINE void FN(load16)(V *v, const REAL *p, ptrdiff_t n)
{
    for (int k = 0; k < LANES; k++) {
        ptrdiff_t left = n - k * W;
        v[k] = left >= W ? V_LOAD(p + k * W) : left > 0 ? V_LOAD_N(p + k * W, left) : V_SET(0);
    }
}

/* Lanes at n and behind become `fill`. */
CT_INLINE void FN(fill16)(V *v, ptrdiff_t n, REAL fill)
{
    VI lane;
    for (int i = 0; i < W; i++) lane[i] = i;
    for (int k = 0; k < LANES; k++)
        v[k] = V_SELECT(lane < VI_SET((INT)(n - k * W)), v[k], V_SET(fill));
}

/* The first n lanes (all, if n > W) of g to p, or added to it. */
CT_INLINE void FN(give)(REAL *p, V g, ptrdiff_t n, int mode)
{
    if (n >= W) {
        if (mode == CT_ADD) g += V_LOAD(p);
        V_STORE(p, g);
    } else if (n > 0) {
        if (mode == CT_ADD) g += V_LOAD_N(p, n);
        V_STORE_N(p, g, n);
    }
}

/* The 16 lanes as pieces of 16 bytes. */
#define PIECE (16 / (int)sizeof(REAL)) /* lanes of a piece */
typedef REAL FN(piece) __attribute__((vector_size(16)));
CT_INLINE void FN(pieces)(FN(piece) *q, const V *v)
{
    for (int k = 0; k < LANES; k++, q += W / PIECE) {
#if CT_BITS == 512 && CT_F64
        q[0] = (FN(piece))_mm512_castpd512_pd128((__m512d)v[k]);
        q[1] = (FN(piece))_mm512_extractf64x2_pd((__m512d)v[k], 1);
        q[2] = (FN(piece))_mm512_extractf64x2_pd((__m512d)v[k], 2);
        q[3] = (FN(piece))_mm512_extractf64x2_pd((__m512d)v[k], 3);
#elif CT_BITS == 512
        q[0] = (FN(piece))_mm512_castps512_ps128((__m512)v[k]);
        q[1] = (FN(piece))_mm512_extractf32x4_ps((__m512)v[k], 1);
        q[2] = (FN(piece))_mm512_extractf32x4_ps((__m512)v[k], 2);
        q[3] = (FN(piece))_mm512_extractf32x4_ps((__m512)v[k], 3);
#elif CT_BITS == 256 && CT_F64
        q[0] = (FN(piece))_mm256_castpd256_pd128((__m256d)v[k]);
        q[1] = (FN(piece))_mm256_extractf128_pd((__m256d)v[k], 1);
#elif CT_BITS == 256
        q[0] = (FN(piece))_mm256_castps256_ps128((__m256)v[k]);
        q[1] = (FN(piece))_mm256_extractf128_ps((__m256)v[k], 1);
#else
        q[0] = (FN(piece))v[k];
#endif
    }
}

/* 16 lanes to one by the fixed tree. */
#define TREE(name, STEP)                                                                     \
    CT_INLINE REAL FN(name)(const V *v)                                                      \
    {                                                                                        \
        FN(piece) q[16 / PIECE];                                                             \
        FN(pieces)(q, v);                                                                    \
        for (int w = 8 / PIECE; w; w /= 2)                                                   \
            for (int i = 0; i < w; i++) q[i] = STEP(q[i], q[i + w]);                         \
        if (PIECE == 4) {                                                                    \
            FN(piece) high = {q[0][PIECE - 2], q[0][PIECE - 1]};                             \
            q[0] = STEP(q[0], high);                                                         \
        }                                                                                    \
        FN(piece) last = {q[0][1]};                                                          \
        q[0] = STEP(q[0], last);                                                             \
        return q[0][0];                                                                      \
    }

/* b where it is larger or not a number, else a */
CT_INLINE V FN(larger)(V a, V b) { return V_SELECT((b > a) | (b != b), b, a); }
CT_INLINE FN(piece) FN(larger_piece)(FN(piece) a, FN(piece) b)
{
    typedef INT BITS __attribute__((vector_size(16)));
    BITS m = (b > a) | (b != b);
    return (FN(piece))((m & (BITS)b) | (~m & (BITS)a));
}
#define LARGER(a, b) (((b) > (a)) | ((b) != (b)) ? (b) : (a))
#define PLUS(a, b) ((a) + (b))
TREE(sum16, PLUS)
TREE(max16, FN(larger_piece))
#undef TREE
#undef PIECE

#define DOUBLES (1024 / CT_BITS) /* vectors that hold 16 lanes of float64 */
typedef CT_CAT(ct_vd, CT_BITS) FN(doubles);

/* 16 elements squared and added to 16 lanes of float64. A float squared is exact in double, so
   only float64 data needs the FMA for one rounding. */
CT_INLINE void FN(add_squares)(FN(doubles) *a, const REAL *x)
{
    typedef REAL PART __attribute__((vector_size(CT_BITS / 64 * sizeof(REAL)), unused));
    for (int k = 0; k < DOUBLES; k++) {
#if CT_BITS == 512 && !CT_F64 /* GCC 12 converts two halves and joins them */
        FN(doubles) d = (FN(doubles))_mm512_cvtps_pd(_mm256_loadu_ps(x + k * 8));
#else
        PART p;
        memcpy(&p, x + k * (CT_BITS / 64), sizeof p);
        FN(doubles) d = __builtin_convertvector(p, FN(doubles));
#endif
#if CT_F64
        a[k] = V_FMA(d, d, a[k]);
#else
        a[k] += d * d;
#endif
    }
}

/* Sum of squares: four sets of 16 lanes in turn, which hides the latency of the additions. */
static double FN(sum_squares)(const void *x_, ptrdiff_t n)
{
    const REAL *x = (const REAL *)x_;
    REAL rest[16] = {0};
    double lane[16];
    FN(doubles) a[4][DOUBLES] = {{{0}}};
    for (; n >= 64; x += 64, n -= 64)
        for (int q = 0; q < 4; q++) FN(add_squares)(a[q], x + 16 * q);
    for (int q = 0; n > 0; q++, x += 16, n -= 16) {
        if (n < 16) {
            memcpy(rest, x, (size_t)n * sizeof(REAL));
            x = rest;
        }
        FN(add_squares)(a[q], x);
        if (n < 16) break;
    }
    for (int k = 0; k < DOUBLES; k++) a[0][k] = (a[0][k] + a[2][k]) + (a[1][k] + a[3][k]);
    memcpy(lane, a[0], sizeof lane);
    for (int w = 8; w; w /= 2)
        for (int i = 0; i < w; i++) lane[i] += lane[i + w];
    return lane[0];
}
