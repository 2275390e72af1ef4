/* Which kernels run: the CPU is asked once, a name may force a lower target. */
#include <string.h>

#include "kernels.h"

#define DECLARE(target) \
    extern const ct_table ct_table_f32_##target, ct_table_f64_##target;
#define TABLE(target) (itemsize == 4 ? &ct_table_f32_##target : &ct_table_f64_##target)

DECLARE(baseline)
#if defined(__x86_64__) && defined(__GNUC__)
#define CT_X86 1
DECLARE(avx512)
DECLARE(avx2)

static int has_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static int has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl");
}
#elif defined(__aarch64__)
#define CT_ARM 1
DECLARE(neon)
#endif

const ct_table *ct_table_for(const char *target, int itemsize)
{
#ifdef CT_X86
    if (!strcmp(target, "avx512") && has_avx512()) return TABLE(avx512);
    if (!strcmp(target, "avx2") && has_avx2()) return TABLE(avx2);
#endif
#ifdef CT_ARM
    if (!strcmp(target, "neon")) return TABLE(neon);
#endif
    if (!strcmp(target, "baseline")) return TABLE(baseline);
    return NULL;
}

const char *ct_best_target(void)
{
#ifdef CT_X86
    if (has_avx512()) return "avx512";
    if (has_avx2()) return "avx2";
#endif
#ifdef CT_ARM
    return "neon";
#endif
    return "baseline";
}
