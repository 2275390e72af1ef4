/* Every kernel body, for one target and one dtype, and the table of them. */
#include "simd.h"
#include "vmath.inc.c"
#include "lanes.inc.c"
#include "batch.inc.c"
#include "gemm.inc.c"
#include "linear.inc.c"
#include "convolution.inc.c"
#include "embedding.inc.c"
#include "elementwise.inc.c"
#include "reduce.inc.c"
#include "softmax.inc.c"
#include "recurrent.inc.c"
#include "shape.inc.c"
#include "normalization.inc.c"
#include "random.inc.c"
#include "attention.inc.c"
#include "loss.inc.c"
#include "optim.inc.c"
#include "gather.inc.c"

#define ROW_F(op) {#op, FN(op##_forward), NULL, NULL},
#define ROW_FB(op) {#op, FN(op##_forward), FN(op##_backward), NULL},
#define ROW_FBP(op) {#op, FN(op##_forward), FN(op##_backward), FN(op##_param)},
#define ROW_U(opt) {#opt, FN(opt##_update), FN(opt##_prepare)},

static const ct_op FN(ops)[] = {CT_OPS(ROW_F, ROW_FB, ROW_FBP){NULL, NULL, NULL, NULL}};
static const ct_optimizer FN(optimizers)[] = {CT_UPDATES(ROW_U){NULL, NULL, NULL}};

const ct_table FN(ct_table) = {
    CT_TARGET_NAME,  sizeof(REAL),     FN(ops),    FN(optimizers), FN(gemm),
    FN(transpose),   FN(sum_squares),  FN(track),  FN(gather), FN(gather_csr),
    FN(gather_windows),
};

#undef ROW_F
#undef ROW_FB
#undef ROW_FBP
#undef ROW_U
