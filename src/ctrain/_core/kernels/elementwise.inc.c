/* Elementwise operations: y and dx from expressions on vectors. ints[0] is the
   number of elements in a row, floats are the attributes. The tail of the rows
   goes through the same vector code. */

CT_INLINE V FN(get)(const REAL *p, ptrdiff_t m) { return m < W ? V_LOAD_N(p, m) : V_LOAD(p); }
CT_INLINE void FN(put)(REAL *p, V v, ptrdiff_t m)
{
    if (m < W) V_STORE_N(p, v, m);
    else V_STORE(p, v);
}

/* STEP for every vector of n elements: i its first element, m its length */
#define EACH_VECTOR(n, ...)                                                     \
    do {                                                                        \
        ptrdiff_t i = 0;                                                        \
        for (; i + W <= (n); i += W) {                                          \
            enum { m = W };                                                     \
            __VA_ARGS__                                                         \
        }                                                                       \
        if (i < (n)) {                                                          \
            const ptrdiff_t m = (n) - i;                                        \
            __VA_ARGS__                                                         \
        }                                                                       \
    } while (0)
#define GET(p) FN(get)((p) + i, m)
#define PUT(p, v) FN(put)((p) + i, v, m)
#define VALUE_OF(tensor) ((REAL *)frame->value[tensor])
#define GRAD_OF(tensor) ((REAL *)frame->grad[tensor])
#define ATTRIBUTE(k) ((REAL)node->floats[k])
#define SIZE (rows * node->ints[0])
/* dst = or += the gradient, in the manner of CT_ASSIGN or CT_ADD */
#define DELIVER(dst, mode, gradient)                                            \
    do {                                                                        \
        V d_ = gradient;                                                        \
        PUT(dst, (mode) == CT_ADD ? GET(dst) + d_ : d_);                        \
    } while (0)

#define FORWARD_1(op, setup, value)                                             \
    static void FN(op##_forward)(const ct_node *node, const ct_frame *frame,    \
                                 ptrdiff_t rows)                                \
    {                                                                           \
        const REAL *x0 = VALUE_OF(node->in[0]);                                 \
        REAL *y0 = VALUE_OF(node->out);                                         \
        const ptrdiff_t n = SIZE;                                               \
        setup                                                                   \
        EACH_VECTOR(n, { V x = GET(x0); PUT(y0, value); });                     \
    }

/* known: the tensor that `gradient` reads as `v`; g is the gradient of the output */
#define BACKWARD_1(op, setup, known, v, gradient)                               \
    static void FN(op##_backward)(const ct_node *node, const ct_frame *frame,   \
                                  ptrdiff_t rows)                               \
    {                                                                           \
        const int mode = node->grad[0];                                         \
        if (mode == CT_SKIP) return;                                            \
        const REAL *v0 = VALUE_OF(known), *g0 = GRAD_OF(node->out);             \
        REAL *dx0 = GRAD_OF(node->in[0]);                                       \
        const ptrdiff_t n = SIZE;                                               \
        setup                                                                   \
        EACH_VECTOR(n, { V v = GET(v0), g = GET(g0); DELIVER(dx0, mode, gradient); }); \
    }

/* backward from the input x, or from the output y */
#define FROM_X(op, setup, value, gradient)                                      \
    FORWARD_1(op, setup, value)                                                 \
    BACKWARD_1(op, setup, node->in[0], x, gradient)
#define FROM_Y(op, setup, value, gradient)                                      \
    FORWARD_1(op, setup, value)                                                 \
    BACKWARD_1(op, setup, node->out, y, gradient)

#define NONE
#define ZERO V_SET(0)
#define ONE V_SET(1)
#define HALF V_SET((REAL)0.5)

FROM_X(log, NONE, FN(vlog)(x), g / x)
FROM_X(log1p, NONE, FN(vlog1p)(x), g / (ONE + x))
/* 2 / sqrt(pi) exp(-x^2) */
FROM_X(erf, NONE, FN(verf)(x), g * V_SET((REAL)1.1283791670955126) * FN(vexp)(-(x * x)))
FROM_X(square, NONE, x * x, g * (x + x))
FROM_X(abs, NONE, V_ABS(x), V_SELECT(x < ZERO, -g, V_SELECT(x == ZERO, ZERO, g)))
FROM_X(lgamma, NONE, FN(vlgamma)(x), g * FN(vdigamma)(x))
FROM_X(gelu, NONE, FN(vgelu)(x), g * FN(vgelu_slope)(x))
FROM_X(gelu_tanh, NONE, FN(vgelu_tanh)(x), g * FN(vgelu_tanh_slope)(x))
FROM_X(silu, NONE, FN(vsilu)(x), g * FN(vsilu_slope)(x))
FROM_X(clip, const V low = V_SET(ATTRIBUTE(0)); const V high = V_SET(ATTRIBUTE(1));,
       V_MIN(high, V_MAX(low, x)), V_SELECT((x < low) | (x > high), ZERO, g))
FROM_Y(exp, NONE, FN(vexp)(x), g * y)
FROM_Y(sqrt, NONE, V_SQRT(x), g * HALF / y)
FROM_Y(tanh, NONE, FN(vtanh)(x), g * V_FMA(-y, y, ONE))
FROM_Y(sigmoid, NONE, FN(vsigmoid)(x), g * y * (ONE - y))
FROM_Y(softplus, NONE, FN(vsoftplus)(x), -(g * FN(vexpm1)(-y)))
FROM_Y(relu, NONE, V_MAX(ZERO, x), V_SELECT(y == ZERO, ZERO, g))
FROM_Y(leaky_relu, const V slope = V_SET(ATTRIBUTE(0));, V_SELECT(x > ZERO, x, slope * x),
       V_SELECT(y > ZERO, g, slope * g))
FROM_Y(elu, const V alpha = V_SET(ATTRIBUTE(0));,
       V_SELECT(x > ZERO, x, alpha * FN(vexpm1)(V_MIN(ZERO, x))),
       V_SELECT(y > ZERO, g, g * (y + alpha)))

/* backward that reads no value */
#define FROM_G(op, setup, value, gradient)                                      \
    FORWARD_1(op, setup, value)                                                 \
    static void FN(op##_backward)(const ct_node *node, const ct_frame *frame,   \
                                  ptrdiff_t rows)                               \
    {                                                                           \
        const int mode = node->grad[0];                                         \
        if (mode == CT_SKIP) return;                                            \
        const REAL *g0 = GRAD_OF(node->out);                                    \
        REAL *dx0 = GRAD_OF(node->in[0]);                                       \
        const ptrdiff_t n = SIZE;                                               \
        setup                                                                   \
        EACH_VECTOR(n, { V g = GET(g0); DELIVER(dx0, mode, gradient); });       \
    }

FROM_G(scale, const V factor = V_SET(ATTRIBUTE(0)); const V offset = V_SET(ATTRIBUTE(1));
       (void)offset;, V_FMA(factor, x, offset), factor * g)
FROM_G(neg, NONE, -x, -g)
FROM_G(identity, NONE, x, g)
FORWARD_1(stop_gradient, NONE, x)

/* power: the exponent p decides which code runs. Whole numbers and halves up to 16
   are products and a square root, exact where these are; others exp(p log|x|), with
   a relative error of about |p log x| ULP, and the sign that a whole p asks for. */
enum FN(power_kind) {
    FN(POWER_WHOLE),
    FN(POWER_HALF),
    FN(POWER_ODD),
    FN(POWER_EVEN),
    FN(POWER_REAL)
};

static int FN(power_kind)(double p)
{
    double a = p < 0 ? -p : p;
    if (a <= 16 && a == (double)(int)a) return FN(POWER_WHOLE);
    if (a <= 16 && 2 * a == (double)(int)(2 * a)) return FN(POWER_HALF);
    if (a >= 9007199254740992.0) return FN(POWER_EVEN); /* beyond 2^53 all are even */
    if (a == (double)(int64_t)a) return (int64_t)a % 2 ? FN(POWER_ODD) : FN(POWER_EVEN);
    return FN(POWER_REAL);
}

CT_INLINE V FN(vpower)(V x, double p, int kind)
{
    if (kind == FN(POWER_WHOLE) || kind == FN(POWER_HALF)) {
        V square = x, y = kind == FN(POWER_HALF) ? V_SQRT(x) : ONE;
        for (int k = (int)(p < 0 ? -p : p); k; k >>= 1) {
            if (k & 1) y *= square;
            square *= square;
        }
        return p < 0 ? ONE / y : y;
    }
    V y = FN(vexp)(V_SET((REAL)p) * FN(vlog)(kind == FN(POWER_REAL) ? x : V_ABS(x)));
    return kind == FN(POWER_ODD) ? V_COPYSIGN(y, x) : y;
}

#define POWER_P const double p = node->floats[0]; const int kind = FN(power_kind)(p);
#define POWER_SLOPE const double p = node->floats[0] - 1; const int kind = FN(power_kind)(p); \
    const V factor = V_SET((REAL)(p + 1));
FORWARD_1(power, POWER_P, FN(vpower)(x, p, kind))
BACKWARD_1(power, POWER_SLOPE, node->in[0], x,
           p == -1 ? ZERO : g * factor * FN(vpower)(x, p, kind))

/* Two inputs of one shape: y = f(a, b); da and db one after the other, because
   both may be the same tensor. */
#define FORWARD_2(op, value)                                                    \
    static void FN(op##_forward)(const ct_node *node, const ct_frame *frame,    \
                                 ptrdiff_t rows)                                \
    {                                                                           \
        const REAL *a0 = VALUE_OF(node->in[0]), *b0 = VALUE_OF(node->in[1]);    \
        REAL *y0 = VALUE_OF(node->out);                                         \
        const ptrdiff_t n = SIZE;                                               \
        EACH_VECTOR(n, { V a = GET(a0), b = GET(b0); PUT(y0, value); });        \
    }
#define DELIVER_TO(k, loads, gradient)                                          \
    do {                                                                        \
        const int mode = node->grad[k];                                         \
        if (mode == CT_SKIP) break;                                             \
        REAL *d0 = GRAD_OF(node->in[k]);                                        \
        EACH_VECTOR(n, { V g = GET(g0); loads DELIVER(d0, mode, gradient); });  \
    } while (0)
#define BACKWARD_2(op, setup, loads_a, da, loads_b, db)                         \
    static void FN(op##_backward)(const ct_node *node, const ct_frame *frame,   \
                                  ptrdiff_t rows)                               \
    {                                                                           \
        const REAL *g0 = GRAD_OF(node->out);                                    \
        const ptrdiff_t n = SIZE;                                               \
        setup                                                                   \
        DELIVER_TO(0, loads_a, da);                                             \
        DELIVER_TO(1, loads_b, db);                                             \
    }
#define A_ const REAL *a0 = VALUE_OF(node->in[0]);
#define B_ const REAL *b0 = VALUE_OF(node->in[1]);
#define Y_ const REAL *y0 = VALUE_OF(node->out);
#define READ_A V a = GET(a0);
#define READ_B V b = GET(b0);
#define READ_Y V y = GET(y0);

/* g where a wins, half of it where they tie */
#define SHARE(wins) V_SELECT(wins, g, V_SELECT(a == b, HALF * g, ZERO))
#define OR_NAN(y) V_SELECT(a == a, y, a)

FORWARD_2(add, a + b)
BACKWARD_2(add, NONE, NONE, g, NONE, g)
FORWARD_2(sub, a - b)
BACKWARD_2(sub, NONE, NONE, g, NONE, -g)
FORWARD_2(mul, a * b)
BACKWARD_2(mul, A_ B_, READ_B, g * b, READ_A, g * a)
FORWARD_2(div, a / b)
BACKWARD_2(div, B_ Y_, READ_B, g / b, READ_B READ_Y, -(g * y / b))
FORWARD_2(minimum, OR_NAN(V_MIN(a, b)))
BACKWARD_2(minimum, A_ B_, READ_A READ_B, SHARE(a < b), READ_A READ_B, SHARE(b < a))
FORWARD_2(maximum, OR_NAN(V_MAX(a, b)))
BACKWARD_2(maximum, A_ B_, READ_A READ_B, SHARE(a > b), READ_A READ_B, SHARE(b > a))

static void FN(where_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const REAL *c0 = VALUE_OF(node->in[0]), *a0 = VALUE_OF(node->in[1]);
    const REAL *b0 = VALUE_OF(node->in[2]);
    REAL *y0 = VALUE_OF(node->out);
    const ptrdiff_t n = SIZE;
    EACH_VECTOR(n, { PUT(y0, V_SELECT(GET(c0) != ZERO, GET(a0), GET(b0))); });
}

static void FN(where_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const REAL *c0 = VALUE_OF(node->in[0]), *g0 = GRAD_OF(node->out);
    const ptrdiff_t n = SIZE;
    DELIVER_TO(1, V c = GET(c0);, V_SELECT(c != ZERO, g, ZERO));
    DELIVER_TO(2, V c = GET(c0);, V_SELECT(c != ZERO, ZERO, g));
}

/* log(Gamma(x + n) / Gamma(x)) and its derivatives, in float64 in both precisions: the logarithms
   of two large numbers are subtracted. The code sees x and n from element i on, and the bytes m
   of REAL that there are. */
#define WIDTH (CT_BITS / 64)
#define RISING(...)                                                             \
    do {                                                                        \
        typedef CT_CAT(ct_vd, CT_BITS) WIDE;                                    \
        typedef REAL PART __attribute__((vector_size(WIDTH * sizeof(REAL))));   \
        const REAL *a0 = VALUE_OF(node->in[0]), *b0 = VALUE_OF(node->in[1]);    \
        const ptrdiff_t size = SIZE;                                            \
        for (ptrdiff_t i = 0; i < size; i += WIDTH) {                           \
            const size_t m = (size_t)(size - i < WIDTH ? size - i : WIDTH) * sizeof(REAL); \
            PART a = {0}, b = {0}, y;                                           \
            memcpy(&a, a0 + i, m), memcpy(&b, b0 + i, m);                       \
            WIDE x = __builtin_convertvector(a, WIDE), n = __builtin_convertvector(b, WIDE); \
            __VA_ARGS__                                                         \
        }                                                                       \
    } while (0)
#define WIDELY(f, x) CT_CAT(f##_f64_, CT_TARGET)(x)

static void FN(log_rising_forward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    REAL *y0 = VALUE_OF(node->out);
    RISING({
        y = __builtin_convertvector(WIDELY(vlgamma, x + n) - WIDELY(vlgamma, x), PART);
        memcpy(y0 + i, &y, m);
    });
}

static void FN(log_rising_backward)(const ct_node *node, const ct_frame *frame, ptrdiff_t rows)
{
    const REAL *g0 = GRAD_OF(node->out);
    for (int k = 0; k < 2; k++) {
        if (node->grad[k] == CT_SKIP) continue;
        REAL *d0 = GRAD_OF(node->in[k]);
        RISING({
            PART g = {0}, d = {0};
            memcpy(&g, g0 + i, m);
            WIDE slope = WIDELY(vdigamma, x + n);
            if (k == 0) slope -= WIDELY(vdigamma, x);
            y = __builtin_convertvector(__builtin_convertvector(g, WIDE) * slope, PART);
            if (node->grad[k] == CT_ADD) memcpy(&d, d0 + i, m), y += d;
            memcpy(d0 + i, &y, m);
        });
    }
}
#undef RISING
#undef WIDTH
#undef WIDELY

#undef FORWARD_1
#undef BACKWARD_1
#undef FROM_X
#undef FROM_Y
#undef FROM_G
#undef FORWARD_2
#undef BACKWARD_2
#undef DELIVER_TO
#undef POWER_P
#undef POWER_SLOPE
#undef A_
#undef B_
#undef Y_
#undef READ_A
#undef READ_B
#undef READ_Y
#undef SHARE
#undef OR_NAN
#undef NONE
#undef ZERO
#undef ONE
#undef HALF
#undef EACH_VECTOR
#undef GET
#undef PUT
#undef VALUE_OF
#undef GRAD_OF
#undef ATTRIBUTE
#undef SIZE
#undef DELIVER
