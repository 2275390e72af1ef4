/* Vectors of one target and dtype. Included once per (target, dtype), no guard.

   Before: CT_BITS (512, 256 or 128), CT_HAS_FMA (0 or 1), CT_F64 (0 or 1).
   After:  REAL, INT, UINT    the scalar and the integers of its width
           V, VI, W           vector of REAL, of INT, number of lanes
           V_SET V_LOAD V_STORE V_LOAD_N V_STORE_N V_FMA V_SQRT V_MIN V_MAX
           V_ABS V_COPYSIGN V_SELECT V_ZIP_LOW V_ZIP_HIGH VI_SET
           FN(name)           name of a function of this target and dtype
   + - * / and comparisons are the compiler's own on vector types; a comparison
   gives a VI of 0 and -1. V_MIN(a, b) is a < b ? a : b and V_MAX(a, b) is
   a > b ? a : b: where either is NaN the result is b. */

#undef REAL
#undef INT
#undef UINT
#undef V
#undef VI
#undef W
#undef FN
#undef V_SET
#undef V_FMA
#undef V_SQRT
#undef V_MIN
#undef V_MAX
#undef V_LOAD_N
#undef V_STORE_N
#undef R_FMA
#undef V_ZIP_LOW
#undef V_ZIP_HIGH

#define CT_CAT_(a, b) a##b
#define CT_CAT(a, b) CT_CAT_(a, b)

#if CT_F64
#define REAL double
#define INT int64_t
#define UINT uint64_t
#define V CT_CAT(ct_vd, CT_BITS)
#define VI CT_CAT(ct_vl, CT_BITS)
#define W (CT_BITS / 64)
#define FN(name) CT_CAT(name##_f64_, CT_TARGET)
#else
#define REAL float
#define INT int32_t
#define UINT uint32_t
#define V CT_CAT(ct_vf, CT_BITS)
#define VI CT_CAT(ct_vi, CT_BITS)
#define W (CT_BITS / 32)
#define FN(name) CT_CAT(name##_f32_, CT_TARGET)
#endif

#ifndef CT_SIMD_ONCE
#define CT_SIMD_ONCE
#define CT_INLINE static inline __attribute__((always_inline, unused))
typedef float CT_CAT(ct_vf, CT_BITS) __attribute__((vector_size(CT_BITS / 8)));
typedef double CT_CAT(ct_vd, CT_BITS) __attribute__((vector_size(CT_BITS / 8)));
typedef int32_t CT_CAT(ct_vi, CT_BITS) __attribute__((vector_size(CT_BITS / 8)));
typedef int64_t CT_CAT(ct_vl, CT_BITS) __attribute__((vector_size(CT_BITS / 8)));
#endif

CT_INLINE V FN(load)(const REAL *p) { V v; memcpy(&v, p, sizeof v); return v; }
CT_INLINE void FN(store)(REAL *p, V v) { memcpy(p, &v, sizeof v); }
CT_INLINE VI FN(iset)(INT x) { return (VI){0} + x; }
CT_INLINE V FN(select)(VI m, V a, V b) { return (V)((m & (VI)a) | (~m & (VI)b)); }
#define V_LOAD(p) FN(load)(p)
#define V_STORE(p, v) FN(store)(p, v)
#define V_SELECT(m, a, b) FN(select)(m, a, b)
#define VI_SET(x) FN(iset)(x)
#define CT_SIGN ((INT)((UINT)1 << (8 * sizeof(REAL) - 1)))
#define V_ABS(v) ((V)((VI)(v) & VI_SET(~CT_SIGN)))
#define V_COPYSIGN(v, s) ((V)(((VI)(v) & VI_SET(~CT_SIGN)) | ((VI)(s) & VI_SET(CT_SIGN))))

#if CT_BITS == 512 && CT_F64
#define V_SET(x) ((V)_mm512_set1_pd(x))
#define V_FMA(a, b, c) ((V)_mm512_fmadd_pd((__m512d)(a), (__m512d)(b), (__m512d)(c)))
#define V_SQRT(a) ((V)_mm512_sqrt_pd((__m512d)(a)))
#define V_MIN(a, b) ((V)_mm512_min_pd((__m512d)(a), (__m512d)(b)))
#define V_MAX(a, b) ((V)_mm512_max_pd((__m512d)(a), (__m512d)(b)))
#define V_LOAD_N(p, n) ((V)_mm512_maskz_loadu_pd((__mmask8)((1u << (n)) - 1), p))
#define V_STORE_N(p, v, n) _mm512_mask_storeu_pd(p, (__mmask8)((1u << (n)) - 1), (__m512d)(v))
#elif CT_BITS == 512
#define V_SET(x) ((V)_mm512_set1_ps(x))
#define V_FMA(a, b, c) ((V)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define V_SQRT(a) ((V)_mm512_sqrt_ps((__m512)(a)))
#define V_MIN(a, b) ((V)_mm512_min_ps((__m512)(a), (__m512)(b)))
#define V_MAX(a, b) ((V)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define V_LOAD_N(p, n) ((V)_mm512_maskz_loadu_ps((__mmask16)((1u << (n)) - 1), p))
#define V_STORE_N(p, v, n) _mm512_mask_storeu_ps(p, (__mmask16)((1u << (n)) - 1), (__m512)(v))
#else
#if CT_BITS == 256
/* 0 and -1: the lanes below n */
CT_INLINE __m256i FN(below)(ptrdiff_t n)
{
    VI lane;
    for (int i = 0; i < W; i++) lane[i] = i;
    return (__m256i)(lane < VI_SET((INT)n));
}
#endif
CT_INLINE V FN(load_n)(const REAL *p, ptrdiff_t n)
{
#if CT_BITS == 256 && CT_F64
    return (V)_mm256_maskload_pd(p, FN(below)(n));
#elif CT_BITS == 256
    return (V)_mm256_maskload_ps(p, FN(below)(n));
#else
    V v = {0};
    if (n >= W) return V_LOAD(p);
    if (n > 0) v[0] = p[0];
    if (n > 1) v[1] = p[1];
    if (n > 2) v[2 % W] = p[2];
    return v;
#endif
}
CT_INLINE void FN(store_n)(REAL *p, V v, ptrdiff_t n)
{
#if CT_BITS == 256 && CT_F64
    _mm256_maskstore_pd(p, FN(below)(n), (__m256d)v);
#elif CT_BITS == 256
    _mm256_maskstore_ps(p, FN(below)(n), (__m256)v);
#else
    if (n >= W) V_STORE(p, v);
    else if (n > 0) p[0] = v[0];
    if (n < W && n > 1) p[1] = v[1];
    if (n < W && n > 2) p[2] = v[2 % W];
#endif
}
#define V_LOAD_N(p, n) FN(load_n)(p, n)
#define V_STORE_N(p, v, n) FN(store_n)(p, v, n)
#if CT_BITS == 256 && CT_F64
#define V_SET(x) ((V)_mm256_set1_pd(x))
#define V_FMA(a, b, c) ((V)_mm256_fmadd_pd((__m256d)(a), (__m256d)(b), (__m256d)(c)))
#define V_SQRT(a) ((V)_mm256_sqrt_pd((__m256d)(a)))
#define V_MIN(a, b) ((V)_mm256_min_pd((__m256d)(a), (__m256d)(b)))
#define V_MAX(a, b) ((V)_mm256_max_pd((__m256d)(a), (__m256d)(b)))
#elif CT_BITS == 256
#define V_SET(x) ((V)_mm256_set1_ps(x))
#define V_FMA(a, b, c) ((V)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define V_SQRT(a) ((V)_mm256_sqrt_ps((__m256)(a)))
#define V_MIN(a, b) ((V)_mm256_min_ps((__m256)(a), (__m256)(b)))
#define V_MAX(a, b) ((V)_mm256_max_ps((__m256)(a), (__m256)(b)))
#else
/* 128 bits: NEON or the compiler's own SSE2. Without FMA the baseline rounds twice. */
#if CT_F64
CT_INLINE V FN(set)(REAL x) { return (V){x, x}; }
#else
CT_INLINE V FN(set)(REAL x) { return (V){x, x, x, x}; }
#endif
CT_INLINE V FN(vsqrt)(V a)
{
    V v;
    for (int i = 0; i < W; i++) v[i] = CT_F64 ? __builtin_sqrt(a[i]) : __builtin_sqrtf(a[i]);
    return v;
}
#define V_SET(x) FN(set)(x)
#define V_SQRT(a) FN(vsqrt)(a)
#define V_MIN(a, b) V_SELECT((a) < (b), a, b)
#define V_MAX(a, b) V_SELECT((a) > (b), a, b)
#if CT_HAS_FMA && CT_F64
#define V_FMA(a, b, c) ((V)vfmaq_f64((float64x2_t)(c), (float64x2_t)(a), (float64x2_t)(b)))
#elif CT_HAS_FMA
#define V_FMA(a, b, c) ((V)vfmaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b)))
#else
#define V_FMA(a, b, c) ((a) * (b) + (c))
#endif
#endif
#endif

/* the same rounding for one scalar */
#if !CT_HAS_FMA
#define R_FMA(a, b, c) ((a) * (b) + (c))
#elif CT_F64
#define R_FMA(a, b, c) __builtin_fma(a, b, c)
#else
#define R_FMA(a, b, c) __builtin_fmaf(a, b, c)
#endif

/* Halves of two vectors, interleaved within each 128 bits: a0 b0 a1 b1 from the low ones. */
#if CT_BITS == 512 && CT_F64
#define V_ZIP_LOW(a, b) ((V)_mm512_unpacklo_pd((__m512d)(a), (__m512d)(b)))
#define V_ZIP_HIGH(a, b) ((V)_mm512_unpackhi_pd((__m512d)(a), (__m512d)(b)))
#elif CT_BITS == 512
#define V_ZIP_LOW(a, b) ((V)_mm512_unpacklo_ps((__m512)(a), (__m512)(b)))
#define V_ZIP_HIGH(a, b) ((V)_mm512_unpackhi_ps((__m512)(a), (__m512)(b)))
#elif CT_BITS == 256 && CT_F64
#define V_ZIP_LOW(a, b) ((V)_mm256_unpacklo_pd((__m256d)(a), (__m256d)(b)))
#define V_ZIP_HIGH(a, b) ((V)_mm256_unpackhi_pd((__m256d)(a), (__m256d)(b)))
#elif CT_BITS == 256
#define V_ZIP_LOW(a, b) ((V)_mm256_unpacklo_ps((__m256)(a), (__m256)(b)))
#define V_ZIP_HIGH(a, b) ((V)_mm256_unpackhi_ps((__m256)(a), (__m256)(b)))
#elif CT_F64
#define V_ZIP_LOW(a, b) ((V){(a)[0], (b)[0]})
#define V_ZIP_HIGH(a, b) ((V){(a)[1], (b)[1]})
#else
#define V_ZIP_LOW(a, b) ((V){(a)[0], (b)[0], (a)[1], (b)[1]})
#define V_ZIP_HIGH(a, b) ((V){(a)[2], (b)[2], (a)[3], (b)[3]})
#endif
