/* Rows of the user's data into a tile: any strides, any alignment, float32 or float64
   converted to REAL, and the first row that holds a value which is not finite. */

#ifndef CT_GATHER_ONCE
#define CT_GATHER_ONCE
#define READ(type, p)                    \
    __extension__({                      \
        type value_;                     \
        memcpy(&value_, p, sizeof value_); \
        value_;                          \
    })
#endif

/* -1, or the first of n rows with a value that is not finite. x * 0 is 0 unless x is. */
static ptrdiff_t FN(first_not_finite)(const REAL *x, ptrdiff_t n, ptrdiff_t width)
{
    const ptrdiff_t size = n * width;
    V a = V_SET(0), b = a, c = a, d = a; /* four chains: one would wait for itself */
    REAL sum = 0;
    ptrdiff_t i = 0;
    for (; i + 4 * W <= size; i += 4 * W) {
        a = V_FMA(V_LOAD(x + i), V_SET(0), a);
        b = V_FMA(V_LOAD(x + i + W), V_SET(0), b);
        c = V_FMA(V_LOAD(x + i + 2 * W), V_SET(0), c);
        d = V_FMA(V_LOAD(x + i + 3 * W), V_SET(0), d);
    }
    for (; i < size; i++) sum += x[i] * 0;
    a = (a + b) + (c + d);
    for (int k = 0; k < W; k++) sum += a[k];
    if (sum == 0) return -1;
    for (i = 0; i < size && x[i] * 0 == 0; i++) continue;
    return i / width;
}

/* One row of contiguous columns; the last vector may overlap the one before. */
#define ROW(type)                                                                           \
    CT_INLINE void FN(row_##type)(REAL *dst, const char *src, ptrdiff_t width)              \
    {                                                                                       \
        enum { lanes = sizeof(type) == sizeof(REAL) ? W : CT_BITS / 64 };                   \
        typedef type FROM __attribute__((vector_size(lanes * sizeof(type))));               \
        typedef REAL TO __attribute__((vector_size(lanes * sizeof(REAL))));                 \
        if (width < lanes) {                                                                \
            for (ptrdiff_t c = 0; c < width; c++)                                           \
                dst[c] = (REAL)READ(type, src + c * (ptrdiff_t)sizeof(type));               \
            return;                                                                         \
        }                                                                                   \
        for (ptrdiff_t c = 0;; c = c + 2 * lanes <= width ? c + lanes : width - lanes) {    \
            FROM v = READ(FROM, src + c * (ptrdiff_t)sizeof(type));                         \
            TO w = __builtin_convertvector(v, TO);                                          \
            memcpy(dst + c, &w, sizeof w);                                                  \
            if (c + lanes == width) return;                                                 \
        }                                                                                   \
    }
ROW(float)
ROW(double)
#undef ROW

#define GATHER(type)                                                                        \
    CT_INLINE void FN(gather_##type)(REAL *dst, const char *src, ptrdiff_t row_stride,      \
                                     ptrdiff_t col_stride, const int64_t *index,            \
                                     int64_t first, ptrdiff_t n, ptrdiff_t width)           \
    {                                                                                       \
        const ptrdiff_t item = sizeof(type), block = 16;                                    \
        if (col_stride == item || width == 1) {                                             \
            if (!index && row_stride == width * item) { /* one run */                       \
                FN(row_##type)(dst, src + first * row_stride, n * width);                   \
                return;                                                                     \
            }                                                                               \
            for (ptrdiff_t r = 0; r < n; r++)                                               \
                FN(row_##type)(dst + r * width,                                             \
                               src + (index ? index[r] : first + r) * row_stride, width);   \
            return;                                                                         \
        }                                                                                   \
        /* a column at a time within blocks of rows, so that Fortran order is read in */    \
        /* runs and written into few cache lines */                                         \
        for (ptrdiff_t r0 = 0; r0 < n; r0 += block) {                                       \
            const ptrdiff_t r1 = r0 + block < n ? r0 + block : n;                           \
            for (ptrdiff_t c = 0; c < width; c++)                                           \
                for (ptrdiff_t r = r0; r < r1; r++)                                         \
                    dst[r * width + c] = (REAL)READ(                                        \
                        type,                                                               \
                        src + (index ? index[r] : first + r) * row_stride + c * col_stride); \
        }                                                                                   \
    }
GATHER(float)
GATHER(double)
#undef GATHER

static ptrdiff_t FN(gather)(void *dst, const void *src, int item, ptrdiff_t row_stride,
                            ptrdiff_t col_stride, const int64_t *index, int64_t first,
                            ptrdiff_t n, ptrdiff_t width)
{
    if (n * width == 0) return -1;
    if (item == 4)
        FN(gather_float)(dst, src, row_stride, col_stride, index, first, n, width);
    else
        FN(gather_double)(dst, src, row_stride, col_stride, index, first, n, width);
    return FN(first_not_finite)(dst, n, width);
}

/* values of one CSR row, from position p to q, added to dst */
#define SCATTER(type, itype)                                                        \
    for (; p < q; p++) dst[((const itype *)indices)[p]] += (REAL)((const type *)data)[p];

static ptrdiff_t FN(gather_csr)(void *dst_, const void *data, int item, const void *indices,
                                int index_item, const void *indptr, int indptr_item,
                                const int64_t *index, int64_t first, ptrdiff_t n, ptrdiff_t width)
{
    if (n * width == 0) return -1;
    REAL *dst = (REAL *)dst_;
    memset(dst, 0, (size_t)(n * width) * sizeof(REAL));
    for (ptrdiff_t r = 0; r < n; r++, dst += width) {
        const int64_t row = index ? index[r] : first + r;
        int64_t p, q;
        if (indptr_item == 4) {
            p = ((const int32_t *)indptr)[row], q = ((const int32_t *)indptr)[row + 1];
        } else {
            p = ((const int64_t *)indptr)[row], q = ((const int64_t *)indptr)[row + 1];
        }
        if (item == 4 && index_item == 4) {
            SCATTER(float, int32_t)
        } else if (item == 4) {
            SCATTER(float, int64_t)
        } else if (index_item == 4) {
            SCATTER(double, int32_t)
        } else {
            SCATTER(double, int64_t)
        }
    }
    return FN(first_not_finite)((const REAL *)dst_, n, width);
}
#undef SCATTER

/* Steps of one series, of which src is the first: dst (n, width). */
#define STEPS(type)                                                                         \
    CT_INLINE void FN(steps_##type)(REAL *dst, const char *src, const ct_series *x,         \
                                    ptrdiff_t n)                                            \
    {                                                                                       \
        const ptrdiff_t width = x->width, time = x->time_stride, col = x->col_stride;       \
        const ptrdiff_t item = sizeof(type);                                                \
        if (time == width * item && col == item) {                                          \
            FN(row_##type)(dst, src, n * width);                                            \
        } else if (width > 1 && col == item) {                                              \
            for (ptrdiff_t t = 0; t < n; t++)                                               \
                FN(row_##type)(dst + t * width, src + t * time, width);                     \
        } else {                                                                            \
            for (ptrdiff_t c = 0; c < width; c++)                                           \
                for (ptrdiff_t t = 0; t < n; t++)                                           \
                    dst[t * width + c] = (REAL)READ(type, src + t * time + c * col);        \
        }                                                                                   \
    }
STEPS(float)
STEPS(double)
#undef STEPS

CT_INLINE void FN(steps_of_mask)(REAL *dst, const char *src, ptrdiff_t time, ptrdiff_t n)
{
    if (time == 0 && n > 0) { /* one byte for all */
        const REAL value = (REAL)(*src != 0);
        for (ptrdiff_t t = 0; t < n; t++) dst[t] = value;
    } else if (time == 1) {
        for (ptrdiff_t t = 0; t < n; t++) dst[t] = (REAL)(src[t] != 0);
    } else {
        for (ptrdiff_t t = 0; t < n; t++) dst[t] = (REAL)(src[t * time] != 0);
    }
}

CT_INLINE void FN(apply_mask)(REAL *dst, const char *mask, const ct_series *x, ptrdiff_t n)
{
    const ptrdiff_t width = x->width, time = x->mask_time_stride;
    if (x->hides && width == 1 && time == 1) {
        for (ptrdiff_t t = 0; t < n; t++) dst[t] = mask[t] ? dst[t] : 0;
        return;
    }
    for (ptrdiff_t t = 0; t < n; t++) {
        if (mask[t * time]) continue;
        for (ptrdiff_t c = t * width; c < (t + 1) * width; c++)
            if (x->hides || dst[c] * 0 != 0) dst[c] = 0;
    }
}

static ptrdiff_t FN(gather_windows)(void *dst_, const ct_series *x, const ct_window *windows,
                                    ptrdiff_t n)
{
    const ptrdiff_t steps = x->steps, width = x->width, size = steps * width;
    if (n * size == 0) return -1;
    for (ptrdiff_t i = 0; i < n; i++) {
        const ct_window *w = &windows[i];
        const int64_t begin = w->start + x->first;
        /* its steps lo to hi - 1 are steps of the series */
        ptrdiff_t hi = w->length - begin < steps ? w->length - begin : steps, lo = 0;
        if (hi < 0) hi = 0;
        if (begin < 0) lo = -begin < hi ? -begin : hi;
        REAL *dst = (REAL *)dst_ + i * size, *at = dst + lo * width;
        const ptrdiff_t step = w->origin + begin + lo;
        const char *src = x->data + w->series * x->series_stride + step * x->time_stride;
        if (lo > 0) memset(dst, 0, (size_t)(lo * width) * sizeof(REAL));
        if (x->item == 1)
            FN(steps_of_mask)(at, src, x->time_stride, hi - lo);
        else if (x->item == 4)
            FN(steps_float)(at, src, x, hi - lo);
        else
            FN(steps_double)(at, src, x, hi - lo);
        if (x->mask)
            FN(apply_mask)(at, x->mask + w->series * x->mask_series_stride +
                                   step * x->mask_time_stride, x, hi - lo);
        if (hi < steps) memset(dst + hi * width, 0, (size_t)((steps - hi) * width) * sizeof(REAL));
    }
    return x->item == 1 ? -1 : FN(first_not_finite)((const REAL *)dst_, n, size);
}
