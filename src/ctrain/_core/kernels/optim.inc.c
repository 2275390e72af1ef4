/* Optimizers: one pass over weights, gradient and slots.

   Formulas and their order are PyTorch's single-tensor implementations. Every
   element goes through the same vector code, so its bits depend neither on its
   place nor on the length of the chunk. Slots that decay towards zero are
   flushed there: below the smallest normal number arithmetic is slow on many
   machines, and a unit that died would stay there for good. */

#define OPT_TINY ((REAL)(CT_F64 ? 0x1p-1022 : 0x1p-126))

CT_INLINE V FN(opt_load)(const REAL *p, ptrdiff_t lanes)
{
    return lanes == W ? V_LOAD(p) : V_LOAD_N(p, lanes);
}

CT_INLINE void FN(opt_store)(REAL *p, V v, ptrdiff_t lanes)
{
    if (lanes == W) V_STORE(p, v);
    else V_STORE_N(p, v, lanes);
}

/* 0 where |v| is below the smallest normal number; NaN stays */
CT_INLINE V FN(opt_flush)(V v)
{
    return (V)((VI)v & ~(V_ABS(v) < V_SET(OPT_TINY)));
}

/* eps as REAL holds it, at least OPT_TINY: 0 / (sqrt(0) + eps) is 0 even if eps is 0 */
CT_INLINE V FN(opt_eps)(double eps)
{
    REAL e = (REAL)eps;
    return V_SET(e > OPT_TINY ? e : OPT_TINY);
}

/* 1 - beta^t as y from y = 1 - beta: (1 - y)(1 - z) = 1 - (y + z (1 - y)). Only
   positive terms are added, so the relative error stays at a few units in the last place. */
CT_INLINE double FN(opt_correction)(double beta, int64_t t)
{
    double y = 0, z = 1 - beta;
    for (; t > 0; t >>= 1) {
        y += (double)(t & 1) * z * (1 - y);
        z *= 2 - z;
    }
    return y;
}

/* the terms of a gradient: data, L2, L1; plain: neither clipped nor with a penalty */
typedef struct {
    V factor, clip, l2, l1;
    int plain;
} FN(opt_terms);

CT_INLINE FN(opt_terms) FN(opt_terms_of)(const ct_update_args *args, double weight_decay)
{
    const double l2 = args->alpha + weight_decay * args->decay;
    return (FN(opt_terms)){
        V_SET((REAL)args->factor), V_SET((REAL)args->clip_value), V_SET((REAL)l2),
        V_SET((REAL)args->l1), l2 == 0 && args->l1 == 0 && __builtin_isinf(args->clip_value),
    };
}

/* clamp(factor * grad, -clip, clip) + l2 * w + l1 * sign(w); NaN stays NaN */
CT_INLINE V FN(opt_gradient)(const FN(opt_terms) *t, V grad, V w)
{
    if (t->plain) return grad * t->factor;
    V g = V_MAX(-t->clip, V_MIN(t->clip, grad * t->factor));
    V sign = (V)((VI)V_COPYSIGN(t->l1, w) & ~(w == V_SET(0)));
    return V_FMA(w, t->l2, g) + sign;
}

/* Calls body(..., i, lanes) for each vector of n elements, the last one shorter. */
#define OPT_EACH(body, ...)                                          \
    do {                                                             \
        ptrdiff_t i = 0;                                             \
        for (; i + W <= n; i += W) FN(body)(__VA_ARGS__, i, W);      \
        if (i < n) FN(body)(__VA_ARGS__, i, n - i);                  \
    } while (0)

/* --- SGD. hyper: momentum, dampening, nesterov, weight_decay --------------------
   b = momentum * b + (1 - dampening) * g, at the first step b = g;
   w -= lr * (nesterov ? g + momentum * b : b) */

typedef struct {
    FN(opt_terms) terms;
    V lr, keep, gain, momentum; /* -lr here and below, so that w + lr * ... descends */
} FN(opt_sgd);

static void FN(sgd_prepare)(const double *hyper, int64_t t, double lr, double *scalar)
{
    scalar[0] = -lr;
    scalar[1] = t == 1 ? 0 : hyper[0];
    scalar[2] = t == 1 ? 1 : 1 - hyper[1];
}

CT_INLINE void FN(opt_sgd_lanes)(const FN(opt_sgd) *o, int momentum, int nesterov, REAL *w,
                                 const REAL *grad, REAL *buffer, ptrdiff_t i, ptrdiff_t lanes)
{
    V x = FN(opt_load)(w + i, lanes);
    V g = FN(opt_gradient)(&o->terms, FN(opt_load)(grad + i, lanes), x);
    if (momentum) {
        V b = FN(opt_load)(buffer + i, lanes);
        b = FN(opt_flush)(V_FMA(g, o->gain, b * o->keep));
        FN(opt_store)(buffer + i, b, lanes);
        g = nesterov ? V_FMA(b, o->momentum, g) : b;
    }
    FN(opt_store)(w + i, V_FMA(g, o->lr, x), lanes);
}

static void FN(sgd_update)(const ct_update_args *args, void *w, const void *grad,
                           void *const *slots, ptrdiff_t n)
{
    const double *hyper = args->hyper, *scalar = args->scalar;
    FN(opt_sgd) o = {
        FN(opt_terms_of)(args, hyper[3]), V_SET((REAL)scalar[0]), V_SET((REAL)scalar[1]),
        V_SET((REAL)scalar[2]), V_SET((REAL)hyper[0]),
    };
    if (hyper[0] == 0) OPT_EACH(opt_sgd_lanes, &o, 0, 0, w, grad, NULL);
    else if (hyper[2] == 0) OPT_EACH(opt_sgd_lanes, &o, 1, 0, w, grad, slots[0]);
    else OPT_EACH(opt_sgd_lanes, &o, 1, 1, w, grad, slots[0]);
}

/* --- Adam, AdamW. hyper: beta1, beta2, eps, weight_decay, amsgrad, decoupled -------
   m = beta1 m + (1 - beta1) g, v = beta2 v + (1 - beta2) g^2, u = amsgrad ? max(u, v) : v;
   w = w (1 - lr weight_decay) - lr m / c1 / (sqrt(u) / sqrt(c2) + eps), ck = 1 - betak^t */

typedef struct {
    FN(opt_terms) terms;
    V beta1, rest1, beta2, rest2, eps, step, unbias, shrink;
} FN(opt_adam);

static void FN(adam_prepare)(const double *hyper, int64_t t, double lr, double *scalar)
{
    scalar[0] = -lr / FN(opt_correction)(hyper[0], t);
    scalar[1] = 1 / __builtin_sqrt(FN(opt_correction)(hyper[1], t));
    scalar[2] = hyper[5] != 0 ? -lr * hyper[3] : 0;
}

CT_INLINE void FN(opt_adam_lanes)(const FN(opt_adam) *o, int amsgrad, REAL *w, const REAL *grad,
                                  REAL *exp_avg, REAL *exp_avg_sq, REAL *max_exp_avg_sq,
                                  ptrdiff_t i, ptrdiff_t lanes)
{
    V x = FN(opt_load)(w + i, lanes);
    V g = FN(opt_gradient)(&o->terms, FN(opt_load)(grad + i, lanes), x);
    V m = FN(opt_load)(exp_avg + i, lanes), v = FN(opt_load)(exp_avg_sq + i, lanes);
    m = FN(opt_flush)(V_FMA(g, o->rest1, m * o->beta1));
    v = FN(opt_flush)(V_FMA(g * o->rest2, g, v * o->beta2));
    FN(opt_store)(exp_avg + i, m, lanes);
    FN(opt_store)(exp_avg_sq + i, v, lanes);
    if (amsgrad) {
        v = V_MAX(FN(opt_load)(max_exp_avg_sq + i, lanes), v);
        FN(opt_store)(max_exp_avg_sq + i, v, lanes);
    }
    V denominator = V_FMA(V_SQRT(v), o->unbias, o->eps);
    x = V_FMA(x, o->shrink, x) + m * o->step / denominator;
    FN(opt_store)(w + i, x, lanes);
}

static void FN(adam_update)(const ct_update_args *args, void *w, const void *grad,
                            void *const *slots, ptrdiff_t n)
{
    const double *hyper = args->hyper, *scalar = args->scalar;
    FN(opt_adam) o = {
        FN(opt_terms_of)(args, hyper[5] != 0 ? 0 : hyper[3]),
        V_SET((REAL)hyper[0]), V_SET((REAL)(1 - hyper[0])),
        V_SET((REAL)hyper[1]), V_SET((REAL)(1 - hyper[1])),
        FN(opt_eps)(hyper[2]), V_SET((REAL)scalar[0]), V_SET((REAL)scalar[1]),
        V_SET((REAL)(scalar[2] * args->decay)),
    };
    if (hyper[4] == 0) OPT_EACH(opt_adam_lanes, &o, 0, w, grad, slots[0], slots[1], NULL);
    else OPT_EACH(opt_adam_lanes, &o, 1, w, grad, slots[0], slots[1], slots[2]);
}

/* --- RMSprop. hyper: alpha, eps, weight_decay, momentum, centered ------------------
   v = alpha v + (1 - alpha) g^2, a = alpha a + (1 - alpha) g,
   d = sqrt(centered ? v - a^2 : v) + eps; b = momentum b + g / d; w -= lr b */

typedef struct {
    FN(opt_terms) terms;
    V alpha, rest, eps, momentum, lr;
} FN(opt_rmsprop);

static void FN(rmsprop_prepare)(const double *hyper, int64_t t, double lr, double *scalar)
{
    (void)hyper;
    (void)t;
    scalar[0] = -lr;
}

CT_INLINE void FN(opt_rmsprop_lanes)(const FN(opt_rmsprop) *o, int centered, int momentum,
                                     REAL *w, const REAL *grad, REAL *square_avg,
                                     REAL *grad_avg, REAL *buffer, ptrdiff_t i, ptrdiff_t lanes)
{
    V x = FN(opt_load)(w + i, lanes);
    V g = FN(opt_gradient)(&o->terms, FN(opt_load)(grad + i, lanes), x);
    V v = FN(opt_load)(square_avg + i, lanes);
    v = FN(opt_flush)(V_FMA(g * o->rest, g, v * o->alpha));
    FN(opt_store)(square_avg + i, v, lanes);
    if (centered) {
        V a = FN(opt_load)(grad_avg + i, lanes);
        a = FN(opt_flush)(V_FMA(g, o->rest, a * o->alpha));
        FN(opt_store)(grad_avg + i, a, lanes);
        v = V_MAX(V_SET(0), V_FMA(-a, a, v)); /* a variance; rounding may make it negative */
    }
    V denominator = V_SQRT(v) + o->eps;
    if (momentum) {
        V b = FN(opt_load)(buffer + i, lanes);
        b = FN(opt_flush)(b * o->momentum + g / denominator);
        FN(opt_store)(buffer + i, b, lanes);
        x = V_FMA(b, o->lr, x);
    } else {
        x = x + g * o->lr / denominator;
    }
    FN(opt_store)(w + i, x, lanes);
}

static void FN(rmsprop_update)(const ct_update_args *args, void *w, const void *grad,
                               void *const *slots, ptrdiff_t n)
{
    const double *hyper = args->hyper;
    FN(opt_rmsprop) o = {
        FN(opt_terms_of)(args, hyper[2]), V_SET((REAL)hyper[0]), V_SET((REAL)(1 - hyper[0])),
        FN(opt_eps)(hyper[1]), V_SET((REAL)hyper[3]), V_SET((REAL)args->scalar[0]),
    };
    if (hyper[4] != 0 && hyper[3] != 0)
        OPT_EACH(opt_rmsprop_lanes, &o, 1, 1, w, grad, slots[0], slots[1], slots[2]);
    else if (hyper[4] != 0)
        OPT_EACH(opt_rmsprop_lanes, &o, 1, 0, w, grad, slots[0], slots[1], NULL);
    else if (hyper[3] != 0)
        OPT_EACH(opt_rmsprop_lanes, &o, 0, 1, w, grad, slots[0], NULL, slots[1]);
    else
        OPT_EACH(opt_rmsprop_lanes, &o, 0, 0, w, grad, slots[0], NULL, NULL);
}

/* --- Adagrad. hyper: lr_decay, weight_decay, initial value, eps -----------------
   s += g^2; w -= lr / (1 + (t - 1) lr_decay) * g / (sqrt(s) + eps) */

typedef struct {
    FN(opt_terms) terms;
    V eps, lr;
} FN(opt_adagrad);

static void FN(adagrad_prepare)(const double *hyper, int64_t t, double lr, double *scalar)
{
    scalar[0] = -lr / (1 + (double)(t - 1) * hyper[0]);
}

CT_INLINE void FN(opt_adagrad_lanes)(const FN(opt_adagrad) *o, REAL *w, const REAL *grad,
                                     REAL *sum, ptrdiff_t i, ptrdiff_t lanes)
{
    V x = FN(opt_load)(w + i, lanes);
    V g = FN(opt_gradient)(&o->terms, FN(opt_load)(grad + i, lanes), x);
    V s = V_FMA(g, g, FN(opt_load)(sum + i, lanes));
    FN(opt_store)(sum + i, s, lanes);
    x = x + g * o->lr / (V_SQRT(s) + o->eps);
    FN(opt_store)(w + i, x, lanes);
}

static void FN(adagrad_update)(const ct_update_args *args, void *w, const void *grad,
                               void *const *slots, ptrdiff_t n)
{
    FN(opt_adagrad) o = {
        FN(opt_terms_of)(args, args->hyper[1]), FN(opt_eps)(args->hyper[3]),
        V_SET((REAL)args->scalar[0]),
    };
    OPT_EACH(opt_adagrad_lanes, &o, w, grad, slots[0]);
}

#undef OPT_TINY
#undef OPT_EACH
