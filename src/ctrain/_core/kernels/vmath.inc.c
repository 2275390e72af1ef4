/* Elementary functions on vectors: branch-free, one polynomial per function.

   The coefficients are minimax fits of our own (relative error, coefficients
   rounded one after the other). NaN goes in and comes out. Errors are the
   largest seen, in units in the last place; MEASURED BELOW. */

typedef UINT FN(vu) __attribute__((vector_size(CT_BITS / 8)));

/* 2^i: the sum with MAGIC leaves i + bias in the low bits, the shift makes it
   the exponent. i + bias must lie in [0, 2 * bias]; 0 gives 0. */
#if CT_F64
#define MANTISSA 52
#define MAGIC (6755399441055744.0 + 1023.0)
#define LN2_HI 0.6931471805601177
#define LN2_LO -1.7239444525614835e-13
#else
#define MANTISSA 23
#define MAGIC (12582912.0f + 127.0f)
#define LN2_HI 0.693115234375f
#define LN2_LO 3.1946184945309415e-05f
#endif
#define LOG2E ((REAL)1.4426950408889634)
#define POWER_OF_2(sum) ((V)((VI)(sum) << MANTISSA))
#define INFINITE ((REAL)__builtin_inf())

#if CT_F64
/* (exp(r) - 1 - r) / r^2, |r| <= ln(2) / 2 */
static const REAL FN(EXP)[] = {
    0.5000000000000006, 0.16666666666666685, 0.04166666666657365, 0.00833333333331502,
    0.0013888888932369185, 0.0001984126990226251, 2.480150445755563e-05,
    2.7557228538109294e-06, 2.7626322078599157e-07, 2.5114311831039813e-08};
/* (atanh(s) / s - 1) / s^2 in s^2, |s| <= 1/3 */
static const REAL FN(ATANH)[] = {
    0.33333333333333154, 0.2000000000007814, 0.14285714273972056, 0.11111111982666695,
    0.09090872025164101, 0.07693278859079024, 0.06650498885440424, 0.060529626558200995,
    0.041703474158401914, 0.0850882399549163};
/* erf(x) / x - 1 in x^2, |x| <= 1/2 */
static const REAL FN(ERF)[] = {
    0.12837916709551256, -0.3761263890318288, 0.11283791670873844, -0.026866170615892082,
    0.005223977098862461, -0.0008548273824296618, 0.00012052181440457296,
    -1.4816956098250059e-05, 1.4432487652865112e-06};
/* phi(a) / Phi(-a) = a + sqrt(2 / pi) + a HAZARD_P(a) / HAZARD_Q(a), 0 <= a <= 37.7 */
static const REAL FN(HAZARD_P)[] = {
    -0.36338022763241806, -0.5061900577596836, -0.3497478203455302, -0.15426981623702868,
    -0.047433983083957146, -0.010500989348734427, -0.0016733372866876326,
    -0.00018567227599435718, -1.3114761842870373e-05, -4.559485355619396e-07};
static const REAL FN(HAZARD_Q)[] = {
    1.0, 1.6929838721287436, 1.4177054789670887, 0.7601963092350013, 0.2865900755006357,
    0.07905317728866071, 0.016144021381138598, 0.002414382257338783, 0.00025420393460121526,
    1.7153118710001732e-05, 5.714467455080823e-07};
/* lgamma(1.5 + t) / (t^2 - 1/4), |t| <= 1/2 */
static const REAL FN(LGAMMA)[] = {
    0.4831289505409809, -0.14595989591430608, 0.06291140107457767, -0.031308487501014885,
    0.01679709862958365, -0.009425622447787238, 0.005446457922767993, -0.0032120741184793055,
    0.001922914208046378, -0.0011644132665160744, 0.000711549530578389, -0.00043801480999654897,
    0.00027104496872322714, -0.00016870335540247115, 0.00010682459927684431,
    -6.743484043881576e-05, 3.816675564996733e-05, -2.253221335790906e-05,
    2.2098446362300343e-05, -1.761733128955296e-05, 5.187631358399164e-06};
/* x (lgamma(x) - (x - 1/2) ln x + x - ln(2 pi) / 2) in 1 / x^2, x >= 8 */
static const REAL FN(STIRLING)[] = {
    0.08333333333333333, -0.002777777777766724, 0.0007936507860011074, -0.0005952357538739562,
    0.000841380651969136, -0.0018857602828546715, 0.0049739991816630915};
/* x^2 (ln x - 1 / (2 x) - digamma(x)) in 1 / x^2, x >= 8 */
static const REAL FN(DIGAMMA)[] = {
    0.08333333333333316, -0.00833333333304629, 0.00396825380625796, -0.004166623278788612,
    0.00756950504553733, -0.02059020376277106, 0.06155824219849019};
/* sin(pi r) / (pi r) in r^2, |r| <= 1/2 */
static const REAL FN(SINPI)[] = {
    1.0, -1.6449340668482264, 0.8117424252833462, -0.1907518241216753, 0.026147847807941514,
    -0.002346080913273382, 0.00014842791645750157, -6.972266934885384e-06,
    2.4518283106537906e-07};
#else
static const REAL FN(EXP)[] = {0.5f, 0.16666545f, 0.041666403f, 0.0083663967f, 0.0013940637f};
static const REAL FN(ATANH)[] = {0.33333206f, 0.20010875f, 0.13999106f, 0.14014713f};
static const REAL FN(ERF)[] = {0.128379166f, -0.376126111f, 0.112828508f, -0.0267582592f,
                               0.00471916003f};
/* phi(a) / Phi(-a) - a in a: to the last bit while Phi(-a) > 2^-10, then with the absolute
   error that this has there */
static const REAL FN(HAZARD)[] = {
    0.79788458f, -0.36338088f, 0.10901275f, -0.019142071f, -0.00018599037f,
    0.0013185259f, -0.0004440684f, 8.0157421e-05f, -8.0406926e-06f, 3.5146326e-07f};
static const REAL FN(LGAMMA)[] = {0.483128965f, -0.145959839f, 0.0629106387f, -0.0313154943f,
                                  0.0168120209f, -0.00930126291f, 0.00531196222f,
                                  -0.00392040005f, 0.00246329303f};
static const REAL FN(STIRLING)[] = {0.0833332762f, -0.00276265107f};
static const REAL FN(DIGAMMA)[] = {0.083332926f, -0.00824854523f};
static const REAL FN(SINPI)[] = {1.0f, -1.64493334f, 0.811715841f, -0.190443262f, 0.0247162487f};
#endif

/* c[0] + c[1] x + ... + c[n - 1] x^(n - 1) */
CT_INLINE V FN(vhorner)(V x, const REAL *c, int n)
{
    V p = V_SET(c[n - 1]);
#pragma GCC unroll 32
    for (int i = n - 2; i >= 0; i--) p = V_FMA(p, x, V_SET(c[i]));
    return p;
}
#define POLYNOMIAL(name, x) FN(vhorner)(x, FN(name), (int)(sizeof FN(name) / sizeof(REAL)))

/* x = n ln(2) + r, |r| <= ln(2) / 2; n + MAGIC in *sum. n LN2_HI is exact. */
CT_INLINE V FN(vreduce)(V x, V *sum)
{
    *sum = V_FMA(x, V_SET(LOG2E), V_SET(MAGIC));
    V n = *sum - V_SET(MAGIC);
    return V_FMA(n, V_SET(-LN2_LO), V_FMA(n, V_SET(-LN2_HI), x));
}

/* exp(x), down to the last subnormal. */
CT_INLINE V FN(vexp)(V x)
{
    V sum;
    x = V_MIN(V_SET((REAL)(CT_F64 ? 710 : 89)), V_MAX(V_SET((REAL)(CT_F64 ? -746 : -104)), x));
    V r = FN(vreduce)(x, &sum), n = sum - V_SET(MAGIC);
    V p = V_FMA(r * r, POLYNOMIAL(EXP, r), r) + V_SET(1);
#if CT_BITS == 512 && CT_F64
    return (V)_mm512_scalef_pd((__m512d)p, (__m512d)n);
#elif CT_BITS == 512
    return (V)_mm512_scalef_ps((__m512)p, (__m512)n);
#else
    /* n reaches beyond the exponents, its halves do not; only the last product rounds */
    V half = V_FMA(n, V_SET((REAL)0.5), V_SET(MAGIC));
    V rest = n - (half - V_SET(MAGIC)) + V_SET(MAGIC);
    return p * POWER_OF_2(half) * POWER_OF_2(rest);
#endif
}

/* exp(x) - 1 for x <= 0. */
CT_INLINE V FN(vexpm1)(V x)
{
    V sum, r = FN(vreduce)(V_MAX(V_SET(-40), x), &sum);
    V p = V_FMA(r * r, POLYNOMIAL(EXP, r), r), scale = POWER_OF_2(sum);
    return V_FMA(scale, p, scale - V_SET(1));
}

/* log(1 + f) + low for -0.3 <= f <= 1, with s = f / (2 + f):
   log(1 + f) = 2 atanh(s) = f - f^2 / 2 + s (f^2 / 2 + 2 s^2 ATANH(s^2)). */
CT_INLINE V FN(vlog1f)(V f, V low)
{
    V s = f / (f + V_SET(2)), z = s * s, h = V_SET((REAL)0.5) * f * f;
    V t = V_FMA(z + z, POLYNOMIAL(ATANH, z), h);
    return f - (h - V_FMA(s, t, low));
}

/* x > 0 = 2^k (1 + f), sqrt(1/2) <= 1 + f < sqrt(2); normal x only */
CT_INLINE V FN(vlog_split)(V x, V *k)
{
    const INT root = CT_F64 ? (INT)0x3fe6a09e667f3bcd : (INT)0x3f3504f3;
    const INT one = CT_F64 ? (INT)0x3ff0000000000000 : (INT)0x3f800000;
    const REAL shift = (REAL)(CT_F64 ? 4503599627370496.0 : 8388608.0);
    VI bits = (VI)x - VI_SET(root);
    VI biased = (VI)((FN(vu))(bits + VI_SET(one)) >> MANTISSA);
    *k = (V)(biased | (VI)V_SET(shift)) - V_SET(shift + (REAL)(CT_F64 ? 1023 : 127));
    VI fraction = bits & VI_SET(((INT)1 << MANTISSA) - 1);
    return (V)(fraction + VI_SET(root)) - V_SET(1);
}

/* the values of log at 0, below 0, at infinity and at NaN */
CT_INLINE V FN(vlog_edges)(V x, V y)
{
    y = V_SELECT(x < V_SET(INFINITE), y, x);
    V edge = V_SELECT(x == V_SET(0), V_SET(-INFINITE), V_SET((REAL)__builtin_nan("")));
    return V_SELECT(x > V_SET(0), y, edge);
}

CT_INLINE V FN(vlog)(V x)
{
    const REAL up = (REAL)(CT_F64 ? 18014398509481984.0 : 33554432.0);
    VI tiny = x < V_SET((REAL)(CT_F64 ? 2.2250738585072014e-308 : 1.17549435e-38));
    V k, f = FN(vlog_split)(V_SELECT(tiny, x * V_SET(up), x), &k);
    k -= (V)(tiny & (VI)V_SET((REAL)(CT_F64 ? 54 : 25)));
    V y = V_FMA(k, V_SET(LN2_HI), FN(vlog1f)(f, k * V_SET(LN2_LO)));
    return FN(vlog_edges)(x, y);
}

/* log(1 + x): u = 1 + x rounded, c what the rounding lost */
CT_INLINE V FN(vlog1p)(V x)
{
    V u = x + V_SET(1), b = u - V_SET(1), c = (V_SET(1) - (u - b)) + (x - b), k;
    V f = FN(vlog_split)(u, &k);
    V scale = POWER_OF_2(V_SET(MAGIC) - k); /* beyond 2^60 c is too small to matter */
    f += (V)((x < V_SET((REAL)1152921504606846976.0)) & (VI)(c * scale));
    V y = V_FMA(k, V_SET(LN2_HI), FN(vlog1f)(f, k * V_SET(LN2_LO)));
    return V_SELECT(V_ABS(x) > V_SET(0), FN(vlog_edges)(u, y), x);
}

/* log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)) */
CT_INLINE V FN(vsoftplus)(V x)
{
    return V_MAX(V_SET(0), x) + FN(vlog1f)(FN(vexp)(-V_ABS(x)), V_SET(0));
}

/* tanh(a) = -m / (2 + m), m = exp(-2 a) - 1 */
CT_INLINE V FN(vtanh)(V x)
{
    V m = FN(vexpm1)(V_SET(-2) * V_ABS(x));
    return V_COPYSIGN(m / (m + V_SET(2)), x);
}

/* log(cosh(d)) = 2 atanh(s): s = tanh(d / 2)^2 keeps the small d, and from 4/3 on
   s = e / (2 + e), e = exp(-2 |d|), with |d| - ln(2) added; both through
   m = exp(-|d|) - 1. */
CT_INLINE V FN(vlogcosh)(V d)
{
    V a = V_ABS(d), m = FN(vexpm1)(-a), q = m + V_SET(2), e = m + V_SET(1);
    VI near = a < V_SET((REAL)1.25);
    V s = V_SELECT(near, m * m, e * e) / V_SELECT(near, q * q, V_FMA(e, e, V_SET(2)));
    V y = V_FMA(s * (s * s), POLYNOMIAL(ATANH, s * s), s);
    return V_FMA(V_SET(2), y, V_SELECT(near, V_SET(0), a - V_SET((REAL)0.6931471805599453)));
}

/* 1 / (1 + exp(-x)), without overflow: exp(-|x|) above or 1 */
CT_INLINE V FN(vsigmoid)(V x)
{
    V e = FN(vexp)(-V_ABS(x));
    return V_SELECT(x < V_SET(0), e, V_SET(1)) / (e + V_SET(1));
}

/* Phi(-a) = phi(a) / (a + w), a >= 0, w as above, and *phi = exp(-a^2 / 2) / sqrt(2 pi),
   0 from where it would be subnormal. -a^2 / 2 = high + low without error. */
CT_INLINE V FN(vtail)(V a, V *phi)
{
    a = V_MIN(V_SET((REAL)(CT_F64 ? 37.66 : 13.27)), a);
#if CT_HAS_FMA
    V half = V_SET((REAL)-0.5) * a, high = half * a, low = V_FMA(half, a, -high);
#else
    V top = (V)((VI)a & VI_SET(CT_F64 ? (INT)~0x7ffffff : (INT)~0xfff));
    V high = V_SET((REAL)-0.5) * top * top, low = V_SET((REAL)-0.5) * (a - top) * (a + top);
#endif
    V sum = V_FMA(high, V_SET(LOG2E), V_SET(MAGIC)), n = sum - V_SET(MAGIC);
    V r = V_FMA(n, V_SET(-LN2_HI), high) + V_FMA(n, V_SET(-LN2_LO), low);
    V c = V_SET((REAL)0.3989422804014327);
    *phi = V_FMA(V_FMA(r * r, POLYNOMIAL(EXP, r), r), c, c) * POWER_OF_2(sum);
#if CT_F64
    V w = V_FMA(a, POLYNOMIAL(HAZARD_P, a) / POLYNOMIAL(HAZARD_Q, a), c + c);
#else
    V w = POLYNOMIAL(HAZARD, a);
#endif
    return *phi / (a + w);
}

/* x + x ERF(x^2) below 1/2, 1 - 2 Phi(-sqrt(2) |x|) above */
CT_INLINE V FN(verf)(V x)
{
    V a = V_ABS(x), phi, near = V_FMA(x, POLYNOMIAL(ERF, x * x), x);
    V tail = FN(vtail)(a * V_SET((REAL)1.4142135623730951), &phi);
    V far = V_COPYSIGN(V_FMA(V_SET(-2), tail, V_SET(1)), x);
    return V_SELECT(a < V_SET((REAL)0.5), near, far);
}

/* x Phi(x) = max(x, 0) - |x| Phi(-|x|) */
CT_INLINE V FN(vgelu)(V x)
{
    V a = V_ABS(x), phi, tail = FN(vtail)(a, &phi);
    return V_MAX(V_SET(0), x) - V_MIN(V_SET(40), a) * tail;
}

/* Phi(x) + x phi(x) */
CT_INLINE V FN(vgelu_slope)(V x)
{
    V phi, tail = FN(vtail)(V_ABS(x), &phi);
    V cdf = V_SELECT(x < V_SET(0), tail, V_SET(1) - tail);
    return V_FMA(V_COPYSIGN(V_MIN(V_SET(40), V_ABS(x)), x), phi, cdf);
}

/* x / (1 + exp(-x)) and its derivative s (1 + x (1 - s)), s = sigmoid(x) */
CT_INLINE V FN(vsilu)(V x) { return V_MAX(V_SET(-800), x) * FN(vsigmoid)(x); }
CT_INLINE V FN(vsilu_slope)(V x)
{
    x = V_MIN(V_SET(800), V_MAX(V_SET(-800), x));
    V s = FN(vsigmoid)(x);
    return V_FMA(s * x, V_SET(1) - s, s);
}

/* x / 2 (1 + tanh(u)) = x sigmoid(2 u), 2 u = sqrt(8 / pi) (x + 0.044715 x^3) */
CT_INLINE V FN(vgelu_tanh)(V x)
{
    x = V_MAX(V_SET(-40), x);
    V a = V_MIN(V_SET(40), x);
    V u = a * V_FMA(a * a, V_SET((REAL)0.07135481627260025), V_SET((REAL)1.5957691216057308));
    return x * FN(vsigmoid)(u);
}
CT_INLINE V FN(vgelu_tanh_slope)(V x)
{
    x = V_MIN(V_SET(40), V_MAX(V_SET(-40), x));
    V xx = x * x;
    V u = x * V_FMA(xx, V_SET((REAL)0.07135481627260025), V_SET((REAL)1.5957691216057308));
    V slope = V_FMA(xx, V_SET((REAL)0.21406444881780075), V_SET((REAL)1.5957691216057308));
    V s = FN(vsigmoid)(u);
    return V_FMA(x * slope * s, V_SET(1) - s, s);
}

/* |sin(pi x)| / pi for x >= 0 with *cot = pi / tan(pi x) */
CT_INLINE V FN(vsinpi)(V x, V *cot)
{
    const REAL whole = (REAL)(CT_F64 ? 4503599627370496.0 : 8388608.0);
    x = V_MIN(V_SET(whole), x);
    V r = x - ((x + V_SET(whole)) - V_SET(whole));
    V s = r * POLYNOMIAL(SINPI, r * r), q = V_SET((REAL)0.5) * r;
    V h = V_SET((REAL)3.141592653589793) * q * POLYNOMIAL(SINPI, q * q);
    *cot = V_FMA(V_SET(-2) * h, h, V_SET(1)) / s;
    return V_ABS(s);
}

/* log |Gamma(x)|. Above 0: Stirling's series from 8 on; below, x goes by unit
   steps into [1, 2], where lgamma(z) = (z - 1) (z - 2) LGAMMA(z - 1.5), and the
   factors passed go into one logarithm. Below 0: reflection,
   |Gamma(-y) Gamma(y)| = pi / (y |sin(pi y)|). */
CT_INLINE V FN(vlgamma)(V x)
{
    const V one = V_SET(1), two = V_SET(2), eight = V_SET(8);
    V y = V_ABS(x), z = y, factors = one;
    for (int i = 0; i < 6; i++) {
        VI step = (z > two) & (y < eight);
        z -= (V)(step & (VI)one);
        factors = V_SELECT(step, factors * z, factors);
    }
    VI below = y < one, large = y >= eight;
    z = V_SELECT(below, y + one, z);
    V ln = FN(vlog)(V_SELECT(below | large, y, factors));
    V t = z - V_SET((REAL)1.5);
    /* z - 1 and z - 2 are y and y - 1 below 1, exactly */
    V first = V_SELECT(below, y, z - one), second = V_SELECT(below, y - one, z - two);
    V near = V_FMA(first * second, POLYNOMIAL(LGAMMA, t), V_SELECT(below, -ln, ln));
    V inverse = one / y;
    V far = V_FMA(inverse, POLYNOMIAL(STIRLING, inverse * inverse),
                  V_SET((REAL)0.4189385332046727));
    far = V_FMA(y - V_SET((REAL)0.5), ln - one, far);
    V positive = V_SELECT(large, far, near), cot;
    V sine = FN(vlog)(FN(vsinpi)(y, &cot));
    V negative = -FN(vlog)(y) - sine - positive;
    negative = V_SELECT(y < V_SET(INFINITE), negative, y);
    return V_SELECT(x < V_SET(0), negative, positive);
}

/* d lgamma / dx. Below 8 the steps 1 / x + 1 / (x + 1) + ... are one fraction;
   below 0: digamma(-y) = digamma(y) + 1 / y + pi / tan(pi y). */
CT_INLINE V FN(vdigamma)(V x)
{
    V y = V_ABS(x), z = y, over = V_SET(0), under = V_SET(1), cot;
    for (int i = 0; i < 8; i++) {
        VI step = z < V_SET(8);
        over = V_SELECT(step, V_FMA(over, z, under), over);
        under = V_SELECT(step, under * z, under);
        z += (V)(step & (VI)V_SET(1));
    }
    V inverse = V_SET(1) / z, u = inverse * inverse;
    V y1 = V_FMA(inverse, V_SET((REAL)-0.5), FN(vlog)(z)) - u * POLYNOMIAL(DIGAMMA, u);
    y1 -= over / under;
    FN(vsinpi)(y, &cot);
    return V_SELECT(x < V_SET(0), y1 + V_SET(1) / y + cot, y1);
}

#undef MANTISSA
#undef MAGIC
#undef LN2_HI
#undef LN2_LO
#undef LOG2E
#undef POWER_OF_2
#undef INFINITE
#undef POLYNOMIAL
