/* The kernels for what the compiler assumes of every machine: SSE2 on x86-64. */
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include "kernels.h"

#define CT_TARGET baseline
#define CT_TARGET_NAME "baseline"
#define CT_BITS 128
#define CT_HAS_FMA 0
#define CT_F64 1
#include "bodies.inc.h"
#undef CT_F64
#define CT_F64 0
#include "bodies.inc.h"
