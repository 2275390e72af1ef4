/* Elementary functions on vectors: branch-free, one polynomial per function.

   The coefficients are minimax fits of our own (relative error, coefficients
   rounded one after the other). NaN goes in and comes out. "1.1, 1.2 ULP" is the
   largest error seen in float and in double, of 10^8 points on every target. */

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
#define POWER_OF_2(sum) ((V)((FN(vu))(sum) << MANTISSA))
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
/* Phi(-a) and Phi(-a) - a phi(a) near a = j / 2, j = 0 .. 15: coefficient k of the
   polynomial in a - j / 2, |a - j / 2| <= 1/4, is [k][j]; the last piece is 0 */
static const REAL FN(TAIL)[8][16] = {
    {0.5f, 0.308537543f, 0.158655256f, 0.066807203f, 0.0227501318f, 0.00620966544f,
     0.00134989806f, 0.000232629085f, 3.16712431e-05f, 3.39767303e-06f, 2.86651527e-07f,
     1.89895584e-08f, 9.86587256e-10f, 4.01599934e-11f, 1.27981317e-12f, 0.0f},
    {-0.398942292f, -0.352065325f, -0.241970733f, -0.1295176f, -0.0539909676f,
     -0.0175283011f, -0.00443184841f, -0.000872682722f, -0.000133830225f, -1.59837509e-05f,
     -1.48672234e-06f, -1.0769817e-07f, -6.07595485e-09f, -2.66962091e-10f,
     -9.13513275e-12f, 0.0f},
    {8.63145203e-07f, 0.0880151317f, 0.120984741f, 0.097137697f, 0.0539910197f,
     0.0219103377f, 0.00664776377f, 0.00152719242f, 0.000267660245f, 3.59635269e-05f,
     3.71683268e-06f, 2.96173937e-07f, 1.82282669e-08f, 8.67652616e-10f, 3.19739617e-11f,
     0.0f},
    {0.0664683804f, 0.0440088212f, 1.4571408e-06f, -0.0269817654f, -0.0269954354f,
     -0.0153371328f, -0.0059091174f, -0.0016362723f, -0.000334574317f, -5.12798324e-05f,
     -5.9464769e-06f, -5.24946472e-07f, -3.54324747e-08f, -1.83439597e-09f,
     -7.30170993e-11f, 0.0f},
    {0.000258728949f, -0.0201181192f, -0.0201371592f, -0.00605002232f, 0.00449660886f,
     0.00593579933f, 0.00332438946f, 0.00117734075f, 0.000289965363f, 5.1685809e-05f,
     6.8106101e-06f, 6.71928774e-07f, 5.0052531e-08f, 2.83170754e-09f, 1.2219617e-10f, 0.0f},
    {-0.0115163326f, -0.00462271227f, 0.003978475f, 0.00582457799f, 0.00225007115f,
     -0.000671556918f, -0.00110871531f, -0.000578957784f, -0.000181853145f,
     -3.88788467e-05f, -5.93503637e-06f, -6.63571939e-07f, -5.51590169e-08f,
     -3.44341555e-09f, -1.62576078e-10f, 0.0f},
    {0.00453782314f, 0.00248628133f, 0.00171722332f, -0.000871553435f, -0.00131251628f,
     -0.000534421473f, 0.000102071725f, 0.000178407397f, 8.28123884e-05f, 2.25800377e-05f,
     4.13162479e-06f, 5.35330287e-07f, 5.04712681e-08f, 3.51893537e-09f, 1.83374857e-10f,
     0.0f},
    {-0.00405152095f, 0.000785265933f, -0.000218476795f, -9.08815491e-05f, 9.87134335e-05f,
     0.000314182864f, 9.36801152e-05f, -1.71759712e-05f, -2.46959262e-05f, -9.30592705e-06f,
     -2.07121434e-06f, -3.08485028e-07f, -3.24489449e-08f, -2.47176768e-09f,
     -1.38592957e-10f, 0.0f}};
static const REAL FN(TAIL_SLOPE)[8][16] = {
    {0.5f, 0.13250488f, -0.0833154693f, -0.127469197f, -0.0852318034f, -0.0376110859f,
     -0.0119456472f, -0.00282176025f, -0.000503649644f, -6.85291598e-05f, -7.14694534e-06f,
     -5.73346995e-07f, -3.54686627e-08f, -1.69504621e-09f, -6.26627777e-11f, 0.0f},
    {-0.797884583f, -0.616114318f, -0.241970718f, 0.0323794f, 0.107981935f, 0.0744952783f,
     0.031022938f, 0.00894499756f, 0.00187362311f, 0.000291703269f, 3.41945488e-05f,
     3.04245668e-06f, 2.06579898e-07f, 1.07449445e-08f, 4.29329711e-10f, 0.0f},
    {1.69195323e-06f, 0.33005932f, 0.362955719f, 0.169993266f, 6.7335759e-07f,
     -0.0492983647f, -0.0332388692f, -0.0125993807f, -0.00321192667f, -0.000584405905f,
     -7.80531118e-05f, -7.77454625e-06f, -5.83308292e-07f, -3.31887584e-08f,
     -1.43894996e-09f, 0.0f},
    {0.26591903f, 0.135693908f, -0.0806576386f, -0.144358322f, -0.0719881877f,
     -0.00200854638f, 0.0162501894f, 0.00993586425f, 0.00330114784f, 0.000725429039f,
     0.000112495123f, 1.26960704e-05f, 1.06127914e-06f, 6.64452529e-08f, 3.13967741e-09f,
     0.0f},
    {0.000494610576f, -0.112216316f, -0.0806403533f, 0.0135945342f, 0.0449627377f,
     0.0213421732f, 7.57119437e-07f, -0.00423877826f, -0.00218600663f, -0.000615306257f,
     -0.000113955255f, -1.48061044e-05f, -1.39252927e-06f, -9.65343787e-08f,
     -4.99041164e-09f, 0.0f},
    {-0.0627741143f, -0.0184076726f, 0.0363135114f, 0.0292985383f, -0.00269185216f,
     -0.011699249f, -0.00465574907f, 0.000319805229f, 0.000889992109f, 0.000367310189f,
     8.52620797e-05f, 1.30664966e-05f, 1.40313432e-06f, 1.08799533e-07f, 6.20160456e-09f,
     0.0f},
    {0.00863111578f, 0.0213414803f, 0.00853832439f, -0.00961892121f, -0.00745332846f,
     0.000930432463f, 0.00252398243f, 0.000738659583f, -0.000130947068f, -0.000148730687f,
     -4.84726406e-05f, -9.22946856e-06f, -1.17044226e-06f, -1.04300007e-07f,
     -6.71590339e-09f, 0.0f},
    {-0.000591361837f, 0.00259898906f, -0.00717618829f, -0.00240968098f, 0.00268636807f,
     0.00154297485f, -0.000341133971f, -0.000446784601f, -8.06794487e-05f, 3.20185281e-05f,
     1.96941273e-05f, 4.9338214e-06f, 7.50451818e-07f, 7.68691706e-08f, 5.55218094e-09f,
     0.0f}};
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

/* exp(x), down to the last subnormal. 1.1, 1.1 ULP. */
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

/* exp(x) - 1 for x <= 0. 1.1, 1.2 ULP. */
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
    FN(vu) bits = (FN(vu))x - (FN(vu))VI_SET(root);
    FN(vu) biased = (bits + (FN(vu))VI_SET(one)) >> MANTISSA;
    *k = (V)(biased | (FN(vu))V_SET(shift)) - V_SET(shift + (REAL)(CT_F64 ? 1023 : 127));
    VI fraction = (VI)bits & VI_SET(((INT)1 << MANTISSA) - 1);
    return (V)(fraction + VI_SET(root)) - V_SET(1);
}

/* the values of log at 0, below 0, at infinity and at NaN */
CT_INLINE V FN(vlog_edges)(V x, V y)
{
    y = V_SELECT(x < V_SET(INFINITE), y, x);
    V edge = V_SELECT(x == V_SET(0), V_SET(-INFINITE), V_SET((REAL)__builtin_nan("")));
    return V_SELECT(x > V_SET(0), y, edge);
}

/* Natural logarithm. 0.9, 0.9 ULP. */
CT_INLINE V FN(vlog)(V x)
{
    const REAL up = (REAL)(CT_F64 ? 18014398509481984.0 : 33554432.0);
    VI tiny = x < V_SET((REAL)(CT_F64 ? 2.2250738585072014e-308 : 1.17549435e-38));
    V k, f = FN(vlog_split)(V_SELECT(tiny, x * V_SET(up), x), &k);
    k -= (V)(tiny & (VI)V_SET((REAL)(CT_F64 ? 54 : 25)));
    V y = V_FMA(k, V_SET(LN2_HI), FN(vlog1f)(f, k * V_SET(LN2_LO)));
    return FN(vlog_edges)(x, y);
}

/* log(1 + x): u = 1 + x rounded, c what the rounding lost. 1.5, 1.4 ULP. */
CT_INLINE V FN(vlog1p)(V x)
{
    V u = x + V_SET(1), b = u - V_SET(1), c = (V_SET(1) - (u - b)) + (x - b), k;
    V f = FN(vlog_split)(u, &k);
    V scale = POWER_OF_2(V_SET(MAGIC) - k); /* beyond 2^60 c is too small to matter */
    f += (V)((x < V_SET((REAL)1152921504606846976.0)) & (VI)(c * scale));
    V y = V_FMA(k, V_SET(LN2_HI), FN(vlog1f)(f, k * V_SET(LN2_LO)));
    return V_SELECT(V_ABS(x) > V_SET(0), FN(vlog_edges)(u, y), x);
}

/* log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)). 1.9, 1.9 ULP. */
CT_INLINE V FN(vsoftplus)(V x)
{
    return V_MAX(V_SET(0), x) + FN(vlog1f)(FN(vexp)(-V_ABS(x)), V_SET(0));
}

/* tanh(a) = -m / (2 + m), m = exp(-2 a) - 1. 2.5, 2.7 ULP. */
CT_INLINE V FN(vtanh)(V x)
{
    V m = FN(vexpm1)(V_SET(-2) * V_ABS(x));
    return V_COPYSIGN(m / (m + V_SET(2)), x);
}

/* log(cosh(d)) = 2 atanh(s): s = tanh(d / 2)^2 keeps the small d, and from 4/3 on
   s = e / (2 + e), e = exp(-2 |d|), with |d| - ln(2) added; both through
   m = exp(-|d|) - 1. 6.1, 6.9 ULP. */
CT_INLINE V FN(vlogcosh)(V d)
{
    V a = V_ABS(d), m = FN(vexpm1)(-a), q = m + V_SET(2), e = m + V_SET(1);
    VI near = a < V_SET((REAL)1.25);
    V s = V_SELECT(near, m * m, e * e) / V_SELECT(near, q * q, V_FMA(e, e, V_SET(2)));
    V y = V_FMA(s * (s * s), POLYNOMIAL(ATANH, s * s), s);
    return V_FMA(V_SET(2), y, V_SELECT(near, V_SET(0), a - V_SET((REAL)0.6931471805599453)));
}

/* 1 / (1 + exp(-x)), without overflow: exp(-|x|) above or 1. 2.5, 2.5 ULP. */
CT_INLINE V FN(vsigmoid)(V x)
{
    V e = FN(vexp)(-V_ABS(x));
    return V_SELECT(x < V_SET(0), e, V_SET(1)) / (e + V_SET(1));
}

#if CT_F64
/* Phi(-a) = phi(a) / (a + w), 0 <= a <= 37.66, w as above, and *phi = exp(-a^2 / 2) / sqrt(2 pi),
   0 from where it would be subnormal. -a^2 / 2 = high + low without error. */
CT_INLINE V FN(vnormal)(V a, V *phi)
{
#if CT_HAS_FMA
    V half = V_SET(-0.5) * a, high = half * a, low = V_FMA(half, a, -high);
#else
    V top = (V)((VI)a & VI_SET(~(INT)0x7ffffff));
    V high = V_SET(-0.5) * top * top, low = V_SET(-0.5) * (a - top) * (a + top);
#endif
    V sum = V_FMA(high, V_SET(LOG2E), V_SET(MAGIC)), n = sum - V_SET(MAGIC);
    V r = V_FMA(n, V_SET(-LN2_HI), high) + V_FMA(n, V_SET(-LN2_LO), low);
    V c = V_SET(0.3989422804014327);
    *phi = V_FMA(V_FMA(r * r, POLYNOMIAL(EXP, r), r), c, c) * POWER_OF_2(sum);
    V w = V_FMA(a, POLYNOMIAL(HAZARD_P, a) / POLYNOMIAL(HAZARD_Q, a), c + c);
    return *phi / (a + w);
}
#define FARTHEST V_SET(37.66)
CT_INLINE V FN(vtail)(V a) { V phi; return FN(vnormal)(a, &phi); }
CT_INLINE V FN(vtail_slope)(V a)
{
    V phi, tail = FN(vnormal)(a, &phi);
    return V_FMA(-a, phi, tail);
}
#else
/* row[j mod 16] in every lane */
CT_INLINE V FN(vlookup)(const REAL *row, VI j)
{
#if CT_BITS == 512
    return (V)_mm512_permutexvar_ps((__m512i)j, (__m512)V_LOAD(row));
#elif CT_BITS == 256
    __m256 low = _mm256_permutevar8x32_ps((__m256)V_LOAD(row), (__m256i)j);
    __m256 high = _mm256_permutevar8x32_ps((__m256)V_LOAD(row + 8), (__m256i)j);
    return (V)_mm256_blendv_ps(low, high, (__m256)((FN(vu))j << 28));
#elif CT_HAS_FMA /* NEON: the row is a table of 64 bytes */
    VI bytes = (j & VI_SET(15)) * VI_SET(0x04040404) + VI_SET(0x03020100);
    return (V)vqtbl4q_u8(vld1q_u8_x4((const uint8_t *)row), (uint8x16_t)bytes);
#else
    V v;
    for (int k = 0; k < W; k++) v[k] = row[j[k] & 15];
    return v;
#endif
}

/* the polynomial of the piece around a, 0 <= a <= 7.5 */
CT_INLINE V FN(vpiece)(const REAL table[8][16], V a)
{
    const V magic = V_SET(12582912);
    V sum = V_FMA(a, V_SET(2), magic), t = V_FMA(sum - magic, V_SET(-0.5f), a);
    V p = FN(vlookup)(table[7], (VI)sum);
#pragma GCC unroll 8
    for (int k = 6; k >= 0; k--) p = V_FMA(p, t, FN(vlookup)(table[k], (VI)sum));
    return p;
}
#define FARTHEST V_SET(7.5f)
/* Phi(-a) and Phi(-a) - a phi(a), 0 <= a <= FARTHEST */
CT_INLINE V FN(vtail)(V a) { return FN(vpiece)(FN(TAIL), a); }
CT_INLINE V FN(vtail_slope)(V a) { return FN(vpiece)(FN(TAIL_SLOPE), a); }
#endif

/* x + x ERF(x^2) below 1/2, 1 - 2 Phi(-sqrt(2) |x|) above. 1.5, 2.6 ULP. */
CT_INLINE V FN(verf)(V x)
{
    V near = V_FMA(x, POLYNOMIAL(ERF, x * x), x);
    V tail = FN(vtail)(V_MIN(FARTHEST, V_ABS(x) * V_SET((REAL)1.4142135623730951)));
    V far = V_COPYSIGN(V_FMA(V_SET(-2), tail, V_SET(1)), x);
    return V_SELECT(V_ABS(x) < V_SET((REAL)0.5), near, far);
}

/* x Phi(x) = max(x, 0) - |x| Phi(-|x|). 2.2, 3.8 ULP of max(|y|, |x| / 1024). */
CT_INLINE V FN(vgelu)(V x)
{
    V a = V_MIN(FARTHEST, V_ABS(x));
    return V_FMA(-a, FN(vtail)(a), V_MAX(V_SET(0), x));
}

/* Phi(x) + x phi(x): one minus that of -x. 0.7, 1.0 ULP of max(|y|, 1). */
CT_INLINE V FN(vgelu_slope)(V x)
{
    V slope = FN(vtail_slope)(V_MIN(FARTHEST, V_ABS(x)));
    return V_SELECT(x < V_SET(0), slope, V_SET(1) - slope);
}

/* x / (1 + exp(-x)) and its derivative, s = sigmoid(x): s + x s (1 - s). With
   e = exp(-|x|), s (1 - s) = e / (1 + e)^2 on both sides. */
CT_INLINE V FN(vsilu)(V x) { return V_MAX(V_SET(-800), x) * FN(vsigmoid)(x); }
CT_INLINE V FN(vsigmoid_pair)(V x, V *product)
{
    V e = FN(vexp)(-V_ABS(x)), d = V_SET(1) / (e + V_SET(1)), ed = e * d;
    *product = ed * d;
    return V_SELECT(x < V_SET(0), ed, d);
}
CT_INLINE V FN(vsilu_slope)(V x)
{
    V product, s = FN(vsigmoid_pair)(x, &product);
    return V_FMA(V_MIN(V_SET(800), V_MAX(V_SET(-800), x)), product, s);
}

/* x / 2 (1 + tanh(u)) = x sigmoid(2 u), 2 u = sqrt(8 / pi) (x + 0.044715 x^3).
   15, 15 ULP of max(|y|, |x| / 1024): what rounding u does to exp(-2 u). */
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
    V xx = x * x, product;
    V u = x * V_FMA(xx, V_SET((REAL)0.07135481627260025), V_SET((REAL)1.5957691216057308));
    V slope = V_FMA(xx, V_SET((REAL)0.21406444881780075), V_SET((REAL)1.5957691216057308));
    V s = FN(vsigmoid_pair)(u, &product);
    return V_FMA(x * slope, product, s);
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
   factors passed go into one logarithm: 6, 5 ULP. Below 0: reflection,
   |Gamma(-y) Gamma(y)| = pi / (y |sin(pi y)|), 4 ULP of max(|y|, 1). */
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
   below 0: digamma(-y) = digamma(y) + 1 / y + pi / tan(pi y). 9, 9 ULP of
   max(|y|, 1), 14 below 0. */
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

#if CT_F64
/* cos(2 pi u) = 2 sin(pi (u - 1/2))^2 - 1 for 0 <= u <= 1, to an ULP or two of 1 */
CT_INLINE V FN(vcos_turns)(V u)
{
    V t = u - V_SET(0.5), s = V_SET(3.141592653589793) * t * POLYNOMIAL(SINPI, t * t);
    return V_FMA(s + s, s, V_SET(-1));
}

/* The largest whole number up to x, x >= 0 */
CT_INLINE V FN(vfloor)(V x)
{
    const V whole = V_SET(4503599627370496.0);
    V y = (x + whole) - whole;
    y -= V_SELECT(y > x, V_SET(1), V_SET(0));
    return V_SELECT(V_ABS(x) < whole, y, x);
}

/* log(rate^k exp(-rate) / k!), rate > 0, k = 0, 1, ...: from 8 on Stirling's series, with
   k log(rate / k) + k - rate = k (log(1 + s) - s), s = (rate - k) / k. */
CT_INLINE V FN(vpoisson)(V k, V rate)
{
    V x = V_MAX(V_SET(8), k), inverse = V_SET(1) / x, s = (rate - x) * inverse;
    V far = x * (FN(vlog1p)(s) - s) - inverse * POLYNOMIAL(STIRLING, inverse * inverse);
    far -= V_FMA(V_SET(0.5), FN(vlog)(x), V_SET(0.9189385332046727));
    V near = V_FMA(k, FN(vlog)(rate), -rate) - FN(vlgamma)(k + V_SET(1));
    return V_SELECT(k < V_SET(8), near, far);
}
#endif

#undef MANTISSA
#undef MAGIC
#undef LN2_HI
#undef LN2_LO
#undef LOG2E
#undef POWER_OF_2
#undef INFINITE
#undef POLYNOMIAL
#undef FARTHEST
