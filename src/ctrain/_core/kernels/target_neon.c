/* The kernels for NEON, the floor of every arm64 machine. */
#if defined(__aarch64__)
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <arm_neon.h>
#include "kernels.h"

#define CT_TARGET neon
#define CT_TARGET_NAME "neon"
#define CT_BITS 128
#define CT_HAS_FMA 1
#define CT_F64 1
#include "bodies.inc.h"
#undef CT_F64
#define CT_F64 0
#include "bodies.inc.h"
#else
typedef int ct_no_neon; /* this target does not exist here */
#endif
