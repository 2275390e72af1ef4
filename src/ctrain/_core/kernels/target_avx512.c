/* The kernels for AVX-512 (F, DQ, BW, VL). */
#if defined(__x86_64__) && defined(__GNUC__)
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <immintrin.h>
#include "kernels.h"

#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,prefer-vector-width=512")
#endif

#define CT_TARGET avx512
#define CT_TARGET_NAME "avx512"
#define CT_BITS 512
#define CT_HAS_FMA 1
#define CT_F64 1
#include "bodies.inc.h"
#undef CT_F64
#define CT_F64 0
#include "bodies.inc.h"

#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#else
typedef int ct_no_avx512; /* this target does not exist here */
#endif
