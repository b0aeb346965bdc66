/* Exact sums and fixed-order covariance: the arithmetic of _sums.pyx, without Python.

   A loop that runs over lanes is compiled once for any processor and once more for wider registers, which are used
   where the processor has them. Lanes only meet in sums that are exact, so both give the same bits. Nothing here is
   static but the level: any number of threads may call. */

#ifndef REWIND_SUMS_H
#define REWIND_SUMS_H

#include <float.h>
#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

#if defined(FLT_EVAL_METHOD) && (FLT_EVAL_METHOD == 2 || FLT_EVAL_METHOD < 0)
#error "every sum must be rounded to a double: on 32-bit x86, compile with -msse2 -mfpmath=sse"
#endif

#if defined(__GNUC__) || defined(_MSC_VER)
#define REWIND_RESTRICT __restrict
#else
#define REWIND_RESTRICT restrict
#endif

#if defined(__GNUC__)
#define REWIND_BODY static inline __attribute__((always_inline))
#if defined(__clang__)
#define REWIND_LOOP _Pragma("clang loop unroll(disable)")
#define REWIND_UNROLL _Pragma("clang loop unroll(full)")
#else
#define REWIND_UNROLL _Pragma("GCC unroll 4")
#define REWIND_LOOP _Pragma("GCC unroll 1") /* unrolled first, gcc does not see a comparison for all lanes at once */
#endif
#elif defined(_MSC_VER)
#define REWIND_BODY static __forceinline
#else
#define REWIND_BODY static inline
#endif
#ifndef REWIND_LOOP
#define REWIND_LOOP
#define REWIND_UNROLL
#endif

/* REWIND_LEVELS(name, parameters, arguments): the function `name` from the body `name_body`, for both levels. This is
   what target_clones does, but also without ifunc, with clang, and at a level of the caller's choice. */
#if defined(__GNUC__) && defined(__x86_64__)
#define REWIND_LEVELS(name, parameters, arguments)                                            \
    static void name##_narrow parameters { name##_body arguments; }                           \
    static __attribute__((target("avx2"))) void name##_wide parameters { name##_body arguments; } \
    static void name parameters                                                               \
    {                                                                                         \
        if (rewind_level > 0)                                                                 \
            name##_wide arguments;                                                            \
        else                                                                                  \
            name##_narrow arguments;                                                          \
    }
static int rewind_highest_level(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") != 0;
}
#else
#define REWIND_LEVELS(name, parameters, arguments) \
    static void name parameters { name##_body arguments; }
static int rewind_highest_level(void) { return 0; }
#endif

static int rewind_level = 0; /* 1 for 256-bit registers; set when the module is imported */

static inline uint64_t rewind_bits(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static inline double rewind_power(int e) /* 2**e of a normal number */
{
    uint64_t bits = (uint64_t)(e + 1023) << 52;
    double x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* ---- exact sums

   A finite double is an integer below 2**53 in units of a power of two, and sums of integers do not depend on the
   order. The sums of a stretch are in units of 2**-1074 (of squares: 2**-2148), in base 2**32, each digit in an int64
   with room for what was not carried yet. A part of REWIND_PART values gets there in one of two ways:

   slices  Every value is cut, as in [1], into two to four slices of 26 bits: (x + c) - c is x rounded to the last
           place of c. A product of two slices has at most 50 bits and a sign; an anchor is added which leaves these
           in the low bits of the result, and the bits are added up as integers.
   bins    For a part with values that are not finite, too far apart, too large or too small: one bin per exponent.

   [1] K. Ozaki, T. Ogita, S. Oishi, S. M. Rump, "Error-free transformations of matrix multiplication by using fast
       routines of matrix multiplication and its applications", Numerical Algorithms 59 (2012). */

enum {
    REWIND_PART = 1024,      /* values: 1024 * 2**53 <= 2**63 for the sums in a bin, 1024 * 2**54 for its squares */
    REWIND_LANES = 8,
    REWIND_SLICE = 26,       /* bits */
    REWIND_SLICES = 4,
    REWIND_BINS = 128,
    REWIND_DIGITS = 136,     /* 2**63 squares below 2**4198 take 134 */
    REWIND_CARRY = 1 << 20   /* values from carry to carry: a part gives a digit less than 2**44, all of them 2**54 */
};

typedef struct {
    int64_t digit[REWIND_DIGITS];
    int low, high; /* the digits in use */
} rewind_number;

typedef struct {
    rewind_number total, squares;
    int64_t count, nan_count, first_nan, pos_inf, neg_inf, argmin, argmax;
    double low, high;
} rewind_sums;

static void rewind_clear(rewind_sums *sums)
{
    memset(sums, 0, sizeof *sums);
    sums->total.low = sums->squares.low = REWIND_DIGITS;
    sums->total.high = sums->squares.high = -1;
    sums->first_nan = sums->argmin = sums->argmax = -1;
    sums->low = sums->high = NAN;
}

/* Add sign * size * 2**exponent, in the units of the number. */
static inline void rewind_deposit(rewind_number *number, int exponent, uint64_t size, int64_t sign)
{
    int k = exponent >> 5, shift = exponent & 31;
    uint64_t low = (size & 0xFFFFFFFFu) << shift;
    uint64_t high = ((size >> 32) << shift) + (low >> 32); /* below 2**63 + 2**31 */
    number->digit[k] += sign * (int64_t)(low & 0xFFFFFFFFu);
    number->digit[k + 1] += sign * (int64_t)(high & 0xFFFFFFFFu);
    number->digit[k + 2] += sign * (int64_t)(high >> 32);
    number->low = k < number->low ? k : number->low;
    number->high = k + 2 > number->high ? k + 2 : number->high;
}

static inline void rewind_deposit_signed(rewind_number *number, int exponent, int64_t value)
{
    if (value < 0)
        rewind_deposit(number, exponent, 0 - (uint64_t)value, -1);
    else
        rewind_deposit(number, exponent, (uint64_t)value, 1);
}

/* Carry, and leave no digit in use that says nothing: all but the highest are in [0, 2**32), that one in
   [-2**31, 2**31), and neither the lowest is 0 nor the highest a mere continuation of the sign. */
static void rewind_settle(rewind_number *number)
{
    const int64_t base = (int64_t)1 << 32;
    int64_t rest = 0, low;
    int k;
    if (number->high < number->low)
        return;
    for (k = number->low; k <= number->high; k++) {
        number->digit[k] += rest;
        low = (int64_t)((uint64_t)number->digit[k] & 0xFFFFFFFFu);
        rest = (number->digit[k] - low) / base; /* without a remainder, so it does not matter how / rounds */
        number->digit[k] = low;
    }
    number->digit[++number->high] = rest; /* the digits reach two above any deposit, so there is room for one */
    while (number->low < number->high && number->digit[number->low] == 0)
        number->low++;
    while (number->high > number->low) {
        int64_t below = number->digit[number->high - 1], sign = below >= base / 2 ? -1 : 0;
        if (number->digit[number->high] != sign)
            break;
        number->digit[number->high--] = 0;
        number->digit[number->high] = below - (sign ? base : 0);
    }
    if (number->digit[number->high] == 0 && number->low == number->high) {
        number->low = REWIND_DIGITS;
        number->high = -1;
    }
}

/* The lowest and the highest number, inf and -inf where there is none; *odd is 0, NaN if some value is not finite. */
REWIND_BODY void rewind_scan_body(const double *x, ptrdiff_t n, double *lowest, double *highest, double *odd)
{
    double low[REWIND_LANES], high[REWIND_LANES], zero[REWIND_LANES], rest[REWIND_LANES];
    const double *values = x;
    ptrdiff_t i;
    int k;
    for (k = 0; k < REWIND_LANES; k++) {
        low[k] = INFINITY;
        high[k] = -INFINITY;
        zero[k] = 0.0;
    }
    for (i = 0; i < n; i += REWIND_LANES) {
        values = x + i;
        if (i + REWIND_LANES > n) {
            for (k = 0; k < REWIND_LANES; k++)
                rest[k] = x[i + k < n ? i + k : n - 1];
            values = rest;
        }
        REWIND_LOOP
        for (k = 0; k < REWIND_LANES; k++) {
            double v = values[k];
            low[k] = v < low[k] ? v : low[k]; /* so a NaN is passed over */
            high[k] = v > high[k] ? v : high[k];
            zero[k] += v - v;
        }
    }
    for (k = 1; k < REWIND_LANES; k++) {
        low[0] = low[k] < low[0] ? low[k] : low[0];
        high[0] = high[k] > high[0] ? high[k] : high[0];
        zero[0] += zero[k];
    }
    *lowest = low[0];
    *highest = high[0];
    *odd = zero[0];
}

REWIND_LEVELS(rewind_scan, (const double *x, ptrdiff_t n, double *lowest, double *highest, double *odd),
              (x, n, lowest, highest, odd))

/* Pass over values 64 at a time while none of them is `wanted`. */
REWIND_BODY void rewind_pass_body(const double *x, ptrdiff_t n, double wanted, ptrdiff_t *at)
{
    ptrdiff_t i = *at;
    for (; i + 64 <= n; i += 64) {
        uint64_t met = 0;
        int k;
        REWIND_LOOP
        for (k = 0; k < 64; k++)
            met |= x[i + k] == wanted ? UINT64_MAX : 0;
        if (met)
            break;
    }
    *at = i;
}

REWIND_LEVELS(rewind_pass, (const double *x, ptrdiff_t n, double wanted, ptrdiff_t *at), (x, n, wanted, at))

/* The index of the first value that is equal to `wanted`; there is one. */
static ptrdiff_t rewind_find(const double *x, ptrdiff_t n, double wanted)
{
    ptrdiff_t i = 0;
    if (rewind_level > 0) /* 128-bit registers are slower at it than none */
        rewind_pass(x, n, wanted, &i);
    while (x[i] != wanted)
        i++;
    return i;
}

typedef struct {
    int64_t sum[REWIND_SLICES], product[REWIND_SLICES][REWIND_SLICES]; /* of slices j and l <= j */
    double left;                                                      /* 0 if the slices are all there is */
} rewind_slices;

/* The exponent of the unit of slice j of values below 2**exponent: the first slice is at most 2**25 units. */
#define REWIND_UNIT(exponent, j) ((exponent) - 25 - REWIND_SLICE * (j))

REWIND_BODY void rewind_cut_body(const double *x, ptrdiff_t n, int exponent, const int slices, rewind_slices *out)
{
    double cut[REWIND_SLICES], anchor[REWIND_SLICES][REWIND_SLICES], left[REWIND_LANES], rest[REWIND_LANES];
    double sum[REWIND_SLICES][REWIND_LANES];
    uint64_t product[REWIND_SLICES][REWIND_SLICES][REWIND_LANES];
    uint64_t taken = (uint64_t)((n + REWIND_LANES - 1) / REWIND_LANES) * REWIND_LANES;
    ptrdiff_t i;
    int j, k, l;
    for (j = 0; j < slices; j++) {
        cut[j] = 1.5 * rewind_power(52 + REWIND_UNIT(exponent, j));
        for (l = 0; l <= j; l++)
            anchor[j][l] = 1.5 * rewind_power(52 + REWIND_UNIT(exponent, j) + REWIND_UNIT(exponent, l));
        for (k = 0; k < REWIND_LANES; k++) {
            sum[j][k] = 0.0;
            for (l = 0; l <= j; l++)
                product[j][l][k] = 0;
        }
    }
    for (k = 0; k < REWIND_LANES; k++)
        left[k] = 0.0;
    for (i = 0; i < n; i += REWIND_LANES) {
        const double *values = x + i;
        if (i + REWIND_LANES > n) {
            for (k = 0; k < REWIND_LANES; k++)
                rest[k] = i + k < n ? x[i + k] : 0.0;
            values = rest;
        }
        for (k = 0; k < REWIND_LANES; k++) {
            double v = values[k], slice[REWIND_SLICES];
            REWIND_UNROLL
            for (j = 0; j < slices; j++) {
                slice[j] = (v + cut[j]) - cut[j];
                v -= slice[j];
                sum[j][k] += slice[j]; /* at most 2**35 units, so exact */
                for (l = 0; l <= j; l++)
                    product[j][l][k] += rewind_bits(slice[j] * slice[l] + anchor[j][l]);
            }
            left[k] += fabs(v);
        }
    }
    for (j = 0; j < slices; j++) {
        for (k = 1; k < REWIND_LANES; k++)
            sum[j][0] += sum[j][k];
        out->sum[j] = (int64_t)(sum[j][0] * rewind_power(-REWIND_UNIT(exponent, j)));
        for (l = 0; l <= j; l++) {
            uint64_t all = 0 - rewind_bits(anchor[j][l]) * taken;
            for (k = 0; k < REWIND_LANES; k++)
                all += product[j][l][k];
            memcpy(&out->product[j][l], &all, sizeof all);
        }
    }
    for (k = 1; k < REWIND_LANES; k++)
        left[0] += left[k];
    out->left = left[0];
}

#define REWIND_CUTTING (const double *x, ptrdiff_t n, int exponent, rewind_slices *out)
#define REWIND_CUT(slices) \
    REWIND_BODY void rewind_cut##slices##_body REWIND_CUTTING { rewind_cut_body(x, n, exponent, slices, out); } \
    REWIND_LEVELS(rewind_cut##slices, REWIND_CUTTING, (x, n, exponent, out))
REWIND_CUT(2)
REWIND_CUT(3)
REWIND_CUT(4)

/* Add up n <= REWIND_PART finite values, of which `largest` has the greatest absolute value; 0 if slices do not do. */
static int rewind_add_slices(rewind_sums *sums, const double *x, ptrdiff_t n, double largest)
{
    int exponent = (int)(rewind_bits(largest) >> 52 & 0x7FF) - 1022, slices = 2, j, l;
    ptrdiff_t i;
    rewind_slices found;
    if (exponent < -380 || exponent > 480) /* where some product of slices or its anchor is no normal number */
        return 0;
    for (i = 0; i < 3; i++) { /* a few values tell how many slices most need */
        double v = x[i * (n - 1) / 2];
        for (j = 0; j < REWIND_SLICES && v != 0.0; j++) {
            double cut = 1.5 * rewind_power(52 + REWIND_UNIT(exponent, j));
            v -= (v + cut) - cut;
        }
        slices = j > slices ? j : slices;
    }
    for (;; slices++) {
        if (slices == 2)
            rewind_cut2(x, n, exponent, &found);
        else if (slices == 3)
            rewind_cut3(x, n, exponent, &found);
        else
            rewind_cut4(x, n, exponent, &found);
        if (found.left == 0.0)
            break;
        if (slices == REWIND_SLICES)
            return 0;
    }
    for (j = 0; j < slices; j++) {
        int unit = REWIND_UNIT(exponent, j);
        rewind_deposit_signed(&sums->total, unit + 1074, found.sum[j]);
        for (l = 0; l <= j; l++) /* each product of two different slices counts twice */
            rewind_deposit_signed(&sums->squares, unit + REWIND_UNIT(exponent, l) + 2148 + (l < j),
                                  found.product[j][l]);
    }
    return 1;
}

typedef struct {
    uint64_t signed_sum; /* of mantissas, modulo 2**64 */
    uint64_t aa, ab, bb; /* of their squares, for a mantissa a * 2**27 + b: a * a, a * b and b * b */
} rewind_bin;

static void rewind_empty_bin(rewind_sums *sums, int exponent, const rewind_bin *bin)
{
    if (bin->signed_sum >> 63)
        rewind_deposit(&sums->total, exponent, 0 - bin->signed_sum, -1);
    else
        rewind_deposit(&sums->total, exponent, bin->signed_sum, 1);
    rewind_deposit(&sums->squares, 2 * exponent, bin->bb, 1);
    rewind_deposit(&sums->squares, 2 * exponent + 28, bin->ab, 1);
    rewind_deposit(&sums->squares, 2 * exponent + 54, bin->aa, 1);
}

/* The mantissa of a finite number, and its exponent in units of 2**-1074: those of subnormals are 0 as well. */
static inline uint64_t rewind_mantissa(uint64_t bits, int *exponent)
{
    uint64_t field = bits >> 52 & 0x7FF, normal = field != 0;
    *exponent = (int)(field - normal);
    return (bits & 0xFFFFFFFFFFFFFull) | normal << 52;
}

/* Add up n <= REWIND_PART values, of which x[0] has the index `first`. */
static void rewind_add_bins(rewind_sums *sums, const double *x, ptrdiff_t n, int64_t first)
{
    rewind_bin bins[REWIND_BINS];
    int lowest = 2046, highest = -1, e;
    ptrdiff_t i;
    for (i = 0; i < n; i++) {
        uint64_t bits = rewind_bits(x[i]), size = bits & 0x7FFFFFFFFFFFFFFFull;
        if (size >= 0x7FF0000000000000ull) {
            if (size > 0x7FF0000000000000ull) {
                if (sums->nan_count++ == 0)
                    sums->first_nan = first + i;
            } else if (bits >> 63)
                sums->neg_inf++;
            else
                sums->pos_inf++;
        } else if (size != 0) {
            rewind_mantissa(bits, &e);
            lowest = e < lowest ? e : lowest;
            highest = e > highest ? e : highest;
        }
    }
    if (highest < 0)
        return;
    if (highest - lowest < REWIND_BINS)
        memset(bins, 0, (size_t)(highest - lowest + 1) * sizeof *bins);
    for (i = 0; i < n; i++) {
        uint64_t bits = rewind_bits(x[i]), minus = 0 - (bits >> 63), m, a, b;
        rewind_bin *bin = bins;
        if ((bits & 0x7FF0000000000000ull) == 0x7FF0000000000000ull || bits << 1 == 0)
            continue;
        m = rewind_mantissa(bits, &e);
        if (highest - lowest < REWIND_BINS)
            bin += e - lowest;
        else
            memset(bin, 0, sizeof *bin);
        a = m >> 27;
        b = m & 0x7FFFFFF;
        bin->signed_sum += (m ^ minus) - minus;
        bin->aa += a * a;
        bin->ab += a * b;
        bin->bb += b * b;
        if (highest - lowest >= REWIND_BINS)
            rewind_empty_bin(sums, e, bin);
    }
    if (highest - lowest < REWIND_BINS)
        for (e = lowest; e <= highest; e++)
            rewind_empty_bin(sums, e, &bins[e - lowest]);
}

/* Take in all values, and settle the sums. */
static void rewind_fold(rewind_sums *sums, const double *x, ptrdiff_t n)
{
    ptrdiff_t start;
    rewind_clear(sums);
    sums->count = n;
    for (start = 0; start < n; start += REWIND_PART) {
        const double *part = x + start;
        ptrdiff_t length = n - start < REWIND_PART ? n - start : REWIND_PART;
        int64_t numbers = length + sums->nan_count;
        double low, high, odd;
        rewind_scan(part, length, &low, &high, &odd);
        if (odd == 0.0) {
            double largest = high > -low ? high : -low;
            if (largest != 0.0 && !rewind_add_slices(sums, part, length, largest))
                rewind_add_bins(sums, part, length, start);
        } else
            rewind_add_bins(sums, part, length, start);
        numbers -= sums->nan_count;
        /* Lanes do not keep the order of 0.0 and -0.0, so the value is taken from where it is first met. */
        if (numbers > 0 && (sums->argmin < 0 || low < sums->low)) {
            ptrdiff_t at = rewind_find(part, length, low);
            sums->low = part[at];
            sums->argmin = start + at;
        }
        if (numbers > 0 && (sums->argmax < 0 || high > sums->high)) {
            ptrdiff_t at = rewind_find(part, length, high);
            sums->high = part[at];
            sums->argmax = start + at;
        }
        if ((start + length) % REWIND_CARRY == 0) {
            rewind_settle(&sums->total);
            rewind_settle(&sums->squares);
        }
    }
    rewind_settle(&sums->total);
    rewind_settle(&sums->squares);
}

/* ---- a table of sums, one row per block */

typedef struct {
    int64_t count, nan_count, first_nan, pos_inf, neg_inf, argmin, argmax; /* the last two and first_nan are steps */
    double low, high, last;
    size_t at; /* of the digits of total; those of the squares follow */
    int total_low, total_size, squares_low, squares_size;
} rewind_row;

typedef struct {
    rewind_row *rows;
    uint32_t *digits;
    size_t n, room, n_digits, digit_room;
} rewind_table;

/* Return memory of at least `needed` items, NULL where there is none; the old one is then as it was. */
static void *rewind_grown(void *memory, size_t *room, size_t needed, size_t size)
{
    size_t more = *room * 2 > needed ? *room * 2 : needed + 16;
    if (needed <= *room)
        return memory;
    memory = more > SIZE_MAX / size ? NULL : realloc(memory, more * size);
    *room = memory == NULL ? *room : more;
    return memory;
}

static void rewind_put(rewind_table *table, const rewind_number *number, int *low, int *size)
{
    int k;
    *low = number->low;
    *size = number->high >= number->low ? number->high - number->low + 1 : 0;
    for (k = 0; k < *size; k++)
        table->digits[table->n_digits++] = (uint32_t)number->digit[number->low + k];
}

/* Add a row; 0 where there is no memory. */
static int rewind_append(rewind_table *table, const rewind_sums *sums, int64_t start, double last)
{
    rewind_row *rows, *row;
    uint32_t *digits;
    rows = rewind_grown(table->rows, &table->room, table->n + 1, sizeof *rows);
    if (rows == NULL)
        return 0;
    table->rows = rows;
    digits = rewind_grown(table->digits, &table->digit_room, table->n_digits + 2 * REWIND_DIGITS, sizeof *digits);
    if (digits == NULL)
        return 0;
    table->digits = digits;
    row = &table->rows[table->n];
    row->count = sums->count;
    row->nan_count = sums->nan_count;
    row->first_nan = sums->first_nan < 0 ? -1 : sums->first_nan + start;
    row->pos_inf = sums->pos_inf;
    row->neg_inf = sums->neg_inf;
    row->argmin = sums->argmin < 0 ? -1 : sums->argmin + start;
    row->argmax = sums->argmax < 0 ? -1 : sums->argmax + start;
    row->low = sums->low;
    row->high = sums->high;
    row->last = last;
    row->at = table->n_digits;
    rewind_put(table, &sums->total, &row->total_low, &row->total_size);
    rewind_put(table, &sums->squares, &row->squares_low, &row->squares_size);
    table->n++;
    return 1;
}

static void rewind_cut_table(rewind_table *table, size_t n)
{
    table->n_digits = n < table->n ? table->rows[n].at : table->n_digits;
    table->n = n;
}

static void rewind_add_digits(rewind_number *number, const uint32_t *digits, int low, int size)
{
    int k;
    if (size == 0)
        return;
    for (k = 0; k < size - 1; k++)
        number->digit[low + k] += digits[k];
    number->digit[low + k] += (int32_t)digits[k];
    number->low = low < number->low ? low : number->low;
    number->high = low + k > number->high ? low + k : number->high;
}

/* Merge rows first <= i < stop, in order; fewer than 2**31 of them fit the digits between two carries. */
static void rewind_merge_rows(const rewind_table *table, size_t first, size_t stop, rewind_sums *sums, double *last)
{
    size_t i;
    rewind_clear(sums);
    *last = NAN;
    for (i = first; i < stop; i++) {
        const rewind_row *row = &table->rows[i];
        const uint32_t *digits = table->digits + row->at;
        if (row->count == 0)
            continue;
        rewind_add_digits(&sums->total, digits, row->total_low, row->total_size);
        rewind_add_digits(&sums->squares, digits + row->total_size, row->squares_low, row->squares_size);
        sums->count += row->count;
        if (sums->nan_count == 0)
            sums->first_nan = row->first_nan;
        sums->nan_count += row->nan_count;
        sums->pos_inf += row->pos_inf;
        sums->neg_inf += row->neg_inf;
        if (row->argmin >= 0 && (sums->argmin < 0 || row->low < sums->low)) {
            sums->low = row->low;
            sums->argmin = row->argmin;
        }
        if (row->argmax >= 0 && (sums->argmax < 0 || row->high > sums->high)) {
            sums->high = row->high;
            sums->argmax = row->argmax;
        }
        *last = row->last;
        if ((i - first) % REWIND_CARRY == REWIND_CARRY - 1) {
            rewind_settle(&sums->total);
            rewind_settle(&sums->squares);
        }
    }
    rewind_settle(&sums->total);
    rewind_settle(&sums->squares);
}

/* The bytes of a settled number, least first; of the digits of a row. Return how many. */
static int rewind_bytes(const rewind_number *number, unsigned char *raw)
{
    int k, byte, n = 0;
    for (k = number->low; k <= number->high; k++)
        for (byte = 0; byte < 4; byte++)
            raw[n++] = (unsigned char)((uint64_t)number->digit[k] >> 8 * byte);
    return n;
}

static int rewind_digit_bytes(const uint32_t *digits, int size, unsigned char *raw)
{
    int k, byte, n = 0;
    for (k = 0; k < size; k++)
        for (byte = 0; byte < 4; byte++)
            raw[n++] = (unsigned char)(digits[k] >> 8 * byte);
    return n;
}

/* ---- covariance

   Each entry of a sum of products is added up by itself, in the order of the rows; what runs side by side are entries.
   A product is rounded before it is added. So the bits are those of the loop anyone would write. */

enum {
    REWIND_WIDE = 8,         /* entries of a tile side by side, and its rows */
    REWIND_HIGH = 4,
    REWIND_NEAR = 4096       /* numbers that stay near the processor: the rows summed up at a time hold about as many */
};

/* Sums, extremes and NaNs of the columns of x; all but x and shift are added to. */
#define REWIND_COLUMNS                                                                                      \
    (const double *REWIND_RESTRICT x, ptrdiff_t n, ptrdiff_t d, const double *REWIND_RESTRICT shift,        \
     double *REWIND_RESTRICT sum, double *REWIND_RESTRICT low, int64_t *REWIND_RESTRICT argmin,             \
     double *REWIND_RESTRICT high, int64_t *REWIND_RESTRICT argmax, int64_t *REWIND_RESTRICT nan_count)
REWIND_BODY void rewind_columns_body REWIND_COLUMNS
{
    ptrdiff_t t, j;
    for (t = 0; t < n; t++, x += d)
        for (j = 0; j < d; j++) {
            double v = x[j];
            int64_t less = v < low[j], more = v > high[j];
            sum[j] += v - shift[j];
            low[j] = less ? v : low[j];
            argmin[j] = less ? t : argmin[j];
            high[j] = more ? v : high[j];
            argmax[j] = more ? t : argmax[j];
            nan_count[j] += v != v;
        }
}

REWIND_LEVELS(rewind_columns, REWIND_COLUMNS, (x, n, d, shift, sum, low, argmin, high, argmax, nan_count))

/* centred = x - shift - mean in rows of `stride` numbers, and the sums of its columns. */
#define REWIND_CENTRE                                                                                       \
    (const double *REWIND_RESTRICT x, ptrdiff_t n, ptrdiff_t d, ptrdiff_t stride,                           \
     const double *REWIND_RESTRICT shift, const double *REWIND_RESTRICT mean, double *REWIND_RESTRICT centred, \
     double *REWIND_RESTRICT rest)
REWIND_BODY void rewind_centre_body REWIND_CENTRE
{
    ptrdiff_t t, j;
    for (t = 0; t < n; t++, x += d, centred += stride)
        for (j = 0; j < d; j++) {
            double c = x[j] - shift[j] - mean[j];
            rest[j] += c;
            centred[j] = c;
        }
}

REWIND_LEVELS(rewind_centre, REWIND_CENTRE, (x, n, d, stride, shift, mean, centred, rest))

/* product += rows' transpose times rows, its upper triangle; `stride` is a multiple of REWIND_WIDE. */
#define REWIND_UPDATE \
    (const double *REWIND_RESTRICT rows, ptrdiff_t n, ptrdiff_t stride, double *REWIND_RESTRICT product)
REWIND_BODY void rewind_update_body REWIND_UPDATE
{
    ptrdiff_t i0, j0, t;
    int i, j;
    for (i0 = 0; i0 < stride; i0 += REWIND_HIGH)
        for (j0 = i0 - i0 % REWIND_WIDE; j0 < stride; j0 += REWIND_WIDE) {
            const double *row = rows;
            double tile[REWIND_HIGH][REWIND_WIDE];
            for (i = 0; i < REWIND_HIGH; i++)
                for (j = 0; j < REWIND_WIDE; j++)
                    tile[i][j] = product[(i0 + i) * stride + j0 + j];
            for (t = 0; t < n; t++, row += stride)
                for (i = 0; i < REWIND_HIGH; i++)
                    for (j = 0; j < REWIND_WIDE; j++)
                        tile[i][j] += row[i0 + i] * row[j0 + j];
            for (i = 0; i < REWIND_HIGH; i++)
                for (j = 0; j < REWIND_WIDE; j++)
                    product[(i0 + i) * stride + j0 + j] = tile[i][j];
        }
}

REWIND_LEVELS(rewind_update, REWIND_UPDATE, (rows, n, stride, product))

/* One NaN for all of them: which one comes out of inf - inf or of two NaNs differs from processor to processor. */
static inline double rewind_plain(double x)
{
    return x != x ? NAN : x;
}

typedef struct {
    double *mean, *comoment, *low, *high;
    int64_t *argmin, *argmax, *nan_count, *first_nan;
} rewind_columns_of;

/* Write the moments of n >= 1 rows of d columns, the first of which belongs to step `start`; 0 without memory. */
static int rewind_comoments(const double *x, ptrdiff_t n, ptrdiff_t d, int64_t start, const double *shift,
                            const rewind_columns_of *out)
{
    ptrdiff_t stride = d + (REWIND_WIDE - d % REWIND_WIDE) % REWIND_WIDE, at, i, j, t;
    ptrdiff_t near = REWIND_NEAR / stride > 8 ? REWIND_NEAR / stride : 8;
    double *product = calloc((size_t)(stride * stride + near * stride + d), sizeof(double));
    double *rows = product + stride * stride, *rest = rows + near * stride;
    if (product == NULL)
        return 0;
    for (j = 0; j < d; j++) {
        out->mean[j] = 0.0;
        out->low[j] = INFINITY;
        out->high[j] = -INFINITY;
        out->argmin[j] = out->argmax[j] = -1;
        out->nan_count[j] = 0;
    }
    rewind_columns(x, n, d, shift, out->mean, out->low, out->argmin, out->high, out->argmax, out->nan_count);
    for (j = 0; j < d; j++) {
        out->mean[j] /= (double)n;
        out->first_nan[j] = -1;
        if (out->nan_count[j] > 0) {
            for (t = 0; x[t * d + j] == x[t * d + j]; t++)
                ;
            out->first_nan[j] = start + t;
        }
        if (out->nan_count[j] == n)
            out->low[j] = out->high[j] = NAN;
        else if (out->argmin[j] < 0 || out->argmax[j] < 0) { /* inf is not below inf */
            for (t = 0; x[t * d + j] != x[t * d + j]; t++)
                ;
            out->argmin[j] = out->argmin[j] < 0 ? t : out->argmin[j];
            out->argmax[j] = out->argmax[j] < 0 ? t : out->argmax[j];
        }
        out->argmin[j] += out->argmin[j] < 0 ? 0 : start;
        out->argmax[j] += out->argmax[j] < 0 ? 0 : start;
    }
    for (at = 0; at < n; at += near) {
        ptrdiff_t some = n - at < near ? n - at : near;
        rewind_centre(x + at * d, some, d, stride, shift, out->mean, rows, rest);
        rewind_update(rows, some, stride, product);
    }
    for (i = 0; i < d; i++)
        for (j = i; j < d; j++) {
            double entry = rewind_plain(product[i * stride + j] - rest[i] * rest[j] / (double)n);
            out->comoment[i * d + j] = entry;
            out->comoment[j * d + i] = entry;
        }
    for (j = 0; j < d; j++)
        out->mean[j] = rewind_plain(isfinite(rest[j]) ? out->mean[j] + rest[j] / (double)n : out->mean[j]);
    free(product);
    return 1;
}

/* The pairwise update: `part` is the weight of the later mean, `weight` that of the product of differences. */
static void rewind_merge_columns(ptrdiff_t d, const rewind_columns_of *a, const rewind_columns_of *b, double part,
                                 double weight, const rewind_columns_of *out)
{
    ptrdiff_t i, j;
    for (i = 0; i < d; i++) {
        double delta = b->mean[i] - a->mean[i];
        int lower = a->argmin[i] < 0 || b->low[i] < a->low[i], higher = a->argmax[i] < 0 || b->high[i] > a->high[i];
        for (j = 0; j < d; j++)
            out->comoment[i * d + j] = rewind_plain(a->comoment[i * d + j] + b->comoment[i * d + j] +
                                                    delta * (b->mean[j] - a->mean[j]) * weight);
        out->mean[i] = rewind_plain(isinf(a->mean[i]) || isinf(b->mean[i]) ? a->mean[i] + b->mean[i]
                                                                           : a->mean[i] + delta * part);
        out->low[i] = lower ? b->low[i] : a->low[i];
        out->argmin[i] = lower ? b->argmin[i] : a->argmin[i];
        out->high[i] = higher ? b->high[i] : a->high[i];
        out->argmax[i] = higher ? b->argmax[i] : a->argmax[i];
        out->nan_count[i] = a->nan_count[i] + b->nan_count[i];
        out->first_nan[i] = a->first_nan[i] >= 0 ? a->first_nan[i] : b->first_nan[i];
    }
}

#endif
