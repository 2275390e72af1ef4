/* Random values that depend on (seed, stream of the node, step, identity of the row,
   element) alone. A draw that may have to be repeated counts its attempts too. */
#include "philox.h"

#ifndef CT_RANDOM_ONCE
#define CT_RANDOM_ONCE
typedef uint64_t CT_CAT(ct_vu, CT_BITS) __attribute__((vector_size(CT_BITS / 8)));
#define VU CT_CAT(ct_vu, CT_BITS)

/* Product of the low halves of each lane. */
#if CT_BITS == 512
#define VU_MUL(a, b) ((VU)_mm512_mul_epu32((__m512i)(a), (__m512i)(b)))
#elif CT_BITS == 256
#define VU_MUL(a, b) ((VU)_mm256_mul_epu32((__m256i)(a), (__m256i)(b)))
#elif defined(__SSE2__)
#include <emmintrin.h>
#define VU_MUL(a, b) ((VU)_mm_mul_epu32((__m128i)(a), (__m128i)(b)))
#elif CT_HAS_FMA /* NEON */
#define VU_MUL(a, b) \
    ((VU)vmull_u32(vmovn_u64((uint64x2_t)(a)), vmovn_u64((uint64x2_t)(b))))
#else
#define VU_MUL(a, b) (((a) & 0xFFFFFFFFu) * ((b) & 0xFFFFFFFFu))
#endif
#endif

#define VU_LANES (CT_BITS / 64)

/* Words of the counters (hi, lo), (hi, lo + 1), ...: word j of counter lo + i is lane i of
   word[j], in its low half. What stands in the high halves never reaches the low ones. */
CT_INLINE void FN(philox)(uint64_t key, uint64_t hi, uint64_t lo, VU word[4])
{
    VU x0, x1, x2, x3;
    uint64_t k0 = (uint32_t)key, k1 = key >> 32;
    for (int i = 0; i < VU_LANES; i++) x0[i] = lo + (uint64_t)i;
    x1 = x0 >> 32;
    x2 = (VU){0} + hi;
    x3 = x2 >> 32;
    for (int i = 0; i < CT_PHILOX_ROUNDS; i++) {
        VU p0 = VU_MUL(x0, (VU){0} + CT_PHILOX_M0), p1 = VU_MUL(x2, (VU){0} + CT_PHILOX_M1);
        x0 = (p1 >> 32) ^ x1 ^ k0;
        x1 = p1;
        x2 = (p0 >> 32) ^ x3 ^ k1;
        x3 = p0;
        k0 = (uint32_t)(k0 + CT_PHILOX_W0);
        k1 = (uint32_t)(k1 + CT_PHILOX_W1);
    }
    word[0] = x0, word[1] = x1, word[2] = x2, word[3] = x3;
}

/* Group g of the 32-element groups of a row: scale where the element's word is below the
   threshold p * 2^32, else 0. Element 8 j + i is word j of counter 8 g + i, so that whole vectors
   are stored. */
CT_INLINE void FN(draw32)(uint64_t key, int64_t row, uint64_t g, VU threshold, REAL scale,
                          REAL *to)
{
    typedef REAL PART __attribute__((vector_size(VU_LANES * sizeof(REAL))));
    typedef INT BITS __attribute__((vector_size(VU_LANES * sizeof(REAL))));
    const BITS kept = (BITS)((PART){0} + scale);
    for (int v = 0; v < 8; v += VU_LANES) {
        VU word[4];
        FN(philox)(key, (uint64_t)row, 8 * g + (uint64_t)v, word);
        for (int j = 0; j < 4; j++) {
            BITS hit = __builtin_convertvector((word[j] & 0xFFFFFFFFu) < threshold, BITS);
            PART part = (PART)(hit & kept);
            memcpy(to + 8 * j + v, &part, sizeof part);
        }
    }
}

/* y = scale with probability p, else 0. ints = size, threshold. */
static void FN(bernoulli_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const ptrdiff_t n = node->ints[0];
    const VU threshold = (VU){0} + (uint64_t)node->ints[1];
    const REAL scale = (REAL)node->floats[0];
    const uint64_t key = ct_mix(ct_mix(frame->seed, node->stream), frame->step);
    REAL *y = (REAL *)frame->value[node->out], last[32];
    for (ptrdiff_t r = 0; r < rows; r++, y += n)
        for (ptrdiff_t e = 0; e < n; e += 32) {
            REAL *to = n - e < 32 ? last : y + e;
            FN(draw32)(key, frame->row[r], (uint64_t)e / 32, threshold, scale, to);
            if (to == last) memcpy(y + e, last, (size_t)(n - e) * sizeof(REAL));
        }
}

/* The other draws are computed in float64, one lane for each element, and rounded: float32
   draws are those of float64. Attempt k of element e of a row reads the counter (row, k 2^40 + e).
   The functions exist once per target, in the bodies for float64, which come first. */
#if CT_F64
CT_INLINE int FN(any)(VI m)
{
    INT some = 0;
    for (int i = 0; i < W; i++) some |= m[i];
    return some != 0;
}

/* Two numbers (2 k + 1) / 2^53 of (0, 1) for each of W elements, of 52 random bits each. */
CT_INLINE void FN(units)(uint64_t key, uint64_t row, uint64_t e, uint64_t attempt, V u[2])
{
    VU w[4];
    FN(philox)(key, row, attempt << 40 | e, w);
    for (int i = 0; i < 2; i++) {
        VU bits = (w[2 * i] & 0xFFFFFFFFu) << 20 ^ (w[2 * i + 1] & 0xFFFFFFFFu) >> 12;
        u[i] = (V)(bits | 0x3FF0000000000000u) - V_SET(1 - 0x1p-53);
    }
}

CT_INLINE V FN(draw_uniform)(uint64_t key, uint64_t row, uint64_t e, V x)
{
    V u[2];
    FN(units)(key, row, e, 0, u);
    (void)x;
    return u[0];
}

/* Box and Muller: a radius and the cosine of an angle */
CT_INLINE V FN(box_muller)(const V u[2])
{
    return V_SQRT(V_SET(-2) * FN(vlog)(u[0])) * FN(vcos_turns)(u[1]);
}

CT_INLINE V FN(draw_normal)(uint64_t key, uint64_t row, uint64_t e, V x)
{
    V u[2];
    FN(units)(key, row, e, 0, u);
    (void)x;
    return FN(box_muller)(u);
}

/* Marsaglia and Tsang: d (1 + t)^3 with d = a - 1/3, t = normal / sqrt(9 d), accepted if
   log(uniform) < normal^2 / 2 + d (1 - (1 + t)^3 + 3 log(1 + t)). A shape a below 1 is that of
   a + 1 times uniform^(1 / a). */
CT_INLINE V FN(draw_gamma)(uint64_t key, uint64_t row, uint64_t e, V a)
{
    const V one = V_SET(1), three = V_SET(3);
    const VI small = a < one, good = (a >= V_SET(0)) & (a < V_SET((REAL)INFINITY));
    const V d = V_SELECT(small, a + one, a) - V_SET(1.0 / 3), c = one / V_SQRT(V_SET(9) * d);
    V y = V_SELECT(good, V_SET(0), V_SET((REAL)NAN)), power = one;
    VI open = good;
    for (uint64_t k = 0; FN(any)(open); k += 2) {
        V u[2], s[2];
        FN(units)(key, row, e, k, u);
        FN(units)(key, row, e, k + 1, s);
        if (k == 0) power = s[1];
        V x = FN(box_muller)(u), t = c * x, z = one + t;
        V gain = three * FN(vlog1p)(t) - t * V_FMA(t, three + t, three);
        VI hit = open & (FN(vlog)(s[0]) < V_FMA(V_SET(0.5) * x, x, d * gain));
        y = V_SELECT(hit, d * (z * z * z), y);
        open &= ~hit;
    }
    return V_SELECT(small, y * FN(vexp)(FN(vlog)(power) / a), y);
}

/* Rates below 10 by inversion: the first k whose distribution function exceeds the uniform
   number. Others by Hormann's transformed rejection (The transformed rejection method for
   generating Poisson random variables, 1993). */
CT_INLINE V FN(draw_poisson)(uint64_t key, uint64_t row, uint64_t e, V rate)
{
    const VI good = (rate >= V_SET(0)) & (rate < V_SET((REAL)INFINITY));
    VI few = good & (rate < V_SET(10)), open = good & ~few;
    const V one = V_SET(1), half = V_SET(0.5);
    V y = V_SELECT(good, V_SET(0), V_SET((REAL)NAN)), u[2];
    if (FN(any)(few)) {
        FN(units)(key, row, e, 0, u);
        V p = FN(vexp)(-rate);
        for (int k = 1; k < 100; k++) { /* beyond, p is below 1e-60 */
            few &= u[0] >= p;
            if (!FN(any)(few)) break;
            u[0] -= p;
            y = V_SELECT(few, y + one, y);
            p = p * rate / V_SET(k);
        }
    }
    const V b = V_FMA(V_SET(2.53), V_SQRT(rate), V_SET(0.931));
    const V a = V_FMA(V_SET(0.02483), b, V_SET(-0.059));
    const V alpha = V_SET(1.1239) + V_SET(1.1328) / (b - V_SET(3.4));
    const V squeeze = V_SET(0.9277) - V_SET(3.6224) / (b - V_SET(2));
    for (uint64_t i = 0; FN(any)(open); i++) {
        FN(units)(key, row, e, i, u);
        V at = u[0] - half, edge = half - V_ABS(at);
        V k = FN(vfloor)(V_FMA(V_FMA(V_SET(2), a / edge, b), at, rate + V_SET(0.43)));
        VI inside = (edge >= V_SET(0.07)) & (u[1] <= squeeze);
        VI tried = (k >= V_SET(0)) & ((edge >= V_SET(0.013)) | (u[1] <= edge));
        V height = FN(vlog)(u[1] * alpha / (a / (edge * edge) + b));
        VI hit = open & (inside | (tried & (height <= FN(vpoisson)(k, rate))));
        y = V_SELECT(hit, k, y);
        open &= ~hit;
    }
    return y;
}
#endif

/* Who a row is to the generator: the bits of the second input, or its identity. */
CT_INLINE uint64_t FN(drawer)(const ct_node *node, const ct_frame *frame, ptrdiff_t r)
{
    if (node->n_in < 2 || node->in[1] < 0) return (uint64_t)frame->row[r];
    const ptrdiff_t n = node->ints[1];
    const REAL *x = (const REAL *)frame->value[node->in[1]] + r * n;
    uint64_t hash = (uint64_t)n;
    for (ptrdiff_t i = 0; i < n; i++) {
        UINT bits;
        memcpy(&bits, x + i, sizeof bits);
        hash = ct_mix(hash, bits);
    }
    return hash;
}

/* One draw for each element of x. `settle` is what becomes of d before it is rounded. */
#define DRAW(op, settle)                                                                     \
    static void FN(random_##op##_forward)(const ct_node *node, const ct_frame *frame,        \
                                          ptrdiff_t rows)                                    \
    {                                                                                        \
        typedef CT_CAT(ct_vd, CT_BITS) WIDE;                                              \
        typedef REAL PART __attribute__((vector_size(VU_LANES * sizeof(REAL))));             \
        const ptrdiff_t n = node->ints[0];                                                   \
        const uint64_t key = ct_mix(ct_mix(frame->seed, node->stream), frame->step);         \
        const REAL *x = (const REAL *)frame->value[node->in[0]];                             \
        REAL *y = (REAL *)frame->value[node->out];                                           \
        for (ptrdiff_t r = 0; r < rows; r++, x += n, y += n) {                               \
            const uint64_t row = FN(drawer)(node, frame, r);                                 \
            for (ptrdiff_t e = 0; e < n; e += VU_LANES) {                                    \
                const size_t bytes = (size_t)(n - e < VU_LANES ? n - e : VU_LANES) * sizeof(REAL); \
                PART part = {0};                                                             \
                memcpy(&part, x + e, bytes);                                                 \
                WIDE d = __builtin_convertvector(part, WIDE);                          \
                d = CT_CAT(draw_##op##_f64_, CT_TARGET)(key, row, (uint64_t)e, d);           \
                part = __builtin_convertvector(settle, PART);                                \
                memcpy(y + e, &part, bytes);                                                 \
            }                                                                                \
        }                                                                                    \
    }
#if CT_F64
DRAW(uniform, d)
#else
DRAW(uniform, (WIDE)((VU)d & ~(uint64_t)0x1FFFFFFF)) /* down, so that it stays below 1 */
#endif
DRAW(normal, d)
DRAW(gamma, d)
DRAW(poisson, d)
#undef DRAW
#undef VU_LANES
