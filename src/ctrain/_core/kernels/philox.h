/* Random bits as a function of a key and a counter: Philox4x32-10 (Salmon, Moraes,
   Dror, Shaw: Parallel random numbers: as easy as 1, 2, 3; SC 2011). */
#ifndef CTRAIN_PHILOX_H
#define CTRAIN_PHILOX_H

#include <stdint.h>

#define CT_PHILOX_ROUNDS 10
#define CT_PHILOX_M0 0xD2511F53u
#define CT_PHILOX_M1 0xCD9E8D57u
#define CT_PHILOX_W0 0x9E3779B9u /* what the key grows by each round */
#define CT_PHILOX_W1 0xBB67AE85u

/* Four words of random bits; the low halves of ctr_lo, ctr_hi and key come first. */
static inline void ct_philox(uint64_t key, uint64_t ctr_hi, uint64_t ctr_lo, uint32_t out[4])
{
    uint32_t k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    uint32_t x0 = (uint32_t)ctr_lo, x1 = (uint32_t)(ctr_lo >> 32);
    uint32_t x2 = (uint32_t)ctr_hi, x3 = (uint32_t)(ctr_hi >> 32);
    for (int i = 0; i < CT_PHILOX_ROUNDS; i++) {
        uint64_t p0 = (uint64_t)CT_PHILOX_M0 * x0, p1 = (uint64_t)CT_PHILOX_M1 * x2;
        x0 = (uint32_t)(p1 >> 32) ^ x1 ^ k0;
        x1 = (uint32_t)p1;
        x2 = (uint32_t)(p0 >> 32) ^ x3 ^ k1;
        x3 = (uint32_t)p0;
        k0 += CT_PHILOX_W0;
        k1 += CT_PHILOX_W1;
    }
    out[0] = x0, out[1] = x1, out[2] = x2, out[3] = x3;
}

/* Spread the bits of z over all of it; one to one (Steele, Lea, Flood: Fast splittable
   pseudorandom number generators; OOPSLA 2014). */
static inline uint64_t ct_spread(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* A key from a key and a number; one to one in each of them. */
static inline uint64_t ct_mix(uint64_t a, uint64_t b)
{
    return ct_spread(ct_spread(a + 0x9E3779B97F4A7C15u) ^ b);
}

#endif
