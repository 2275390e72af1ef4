/* Random values that depend on (seed, stream of the node, step, identity of the row,
   element) alone. */
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

/* Words of the 8 counters (hi, lo), ..., (hi, lo + 7): word j of counter i is lane i of
   word[j], in its low half. What stands in the high halves never reaches the low ones. */
CT_INLINE void FN(philox8)(uint64_t key, uint64_t hi, uint64_t lo, VU word[4][512 / CT_BITS])
{
    for (int v = 0; v < 512 / CT_BITS; v++) {
        VU x0, x1, x2, x3;
        uint64_t k0 = (uint32_t)key, k1 = key >> 32;
        for (int i = 0; i < CT_BITS / 64; i++) x0[i] = lo + (uint64_t)(v * CT_BITS / 64 + i);
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
        word[0][v] = x0, word[1][v] = x1, word[2][v] = x2, word[3][v] = x3;
    }
}

/* Group g of the 32-element groups of a row: scale where the element's word is below the
   threshold p * 2^32, else 0. Element 8 j + i is word j of counter 8 g + i, so that whole vectors
   are stored. */
CT_INLINE void FN(draw32)(uint64_t key, int64_t row, uint64_t g, VU threshold, REAL scale,
                          REAL *to)
{
    typedef REAL PART __attribute__((vector_size(CT_BITS / 64 * sizeof(REAL))));
    typedef INT BITS __attribute__((vector_size(CT_BITS / 64 * sizeof(REAL))));
    VU word[4][512 / CT_BITS];
    FN(philox8)(key, (uint64_t)row, 8 * g, word);
    for (int j = 0; j < 4; j++)
        for (int v = 0; v < 512 / CT_BITS; v++) {
            VU w = word[j][v] & 0xFFFFFFFFu;
            BITS hit = __builtin_convertvector(w < threshold, BITS);
            PART part = (PART)(hit & (BITS)((PART){0} + scale));
            memcpy(to + 8 * j + v * CT_BITS / 64, &part, sizeof part);
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
