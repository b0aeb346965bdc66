/* What draws are made of: PCG64 without a call through a pointer, and two ziggurats with numpy's own tables.
 *
 * PCG64: M. E. O'Neill, "PCG: A Family of Simple Fast Space-Efficient Statistically Good Algorithms for Random Number
 * Generation", HMC-CS-2014-0905: a 128-bit linear congruential generator with the output function XSL-RR.
 * Ziggurat: G. Marsaglia and W. W. Tsang, "The Ziggurat Method for Generating Random Variables", J. Stat. Softw. 5(8),
 * 2000; their k[i] and w[i] are `limit` and `width` here.
 */
#ifndef REWIND_DRAWS_H
#define REWIND_DRAWS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "numpy/random/bitgen.h"

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <dlfcn.h>
#endif

#if defined(_MSC_VER) && !defined(__clang__)
#include <intrin.h>
#define REWIND_LIKELY(x) (x)
#define REWIND_NOINLINE __declspec(noinline)
#else
#define REWIND_LIKELY(x) __builtin_expect(!!(x), 1)
#define REWIND_NOINLINE __attribute__((noinline))
#endif

/* sin(x) and cos(x) must stay two calls: a compiler may make them one, which rounds as it likes. */
static double (*volatile rewind_sin)(double) = sin;
static double (*volatile rewind_cos)(double) = cos;

/* A module that is loaded already (`name` is without its folder), NULL where that cannot be told; what it exports. */
static void *rewind_loaded(const char *path, const char *name) {
#if defined(_WIN32)
    (void)path;
    return (void *)GetModuleHandleA(name);
#elif defined(RTLD_NOLOAD)
    (void)name;
    return dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
#else
    return NULL;
#endif
}
static void *rewind_exported(void *module, const char *name) {
#if defined(_WIN32)
    return (void *)GetProcAddress((HMODULE)module, name);
#else
    return dlsym(module, name);
#endif
}

/* How the running numpy rounds loc + scale * x: once, where its compiler fused the two operations, else twice. */
static int rewind_fused = 0;

static inline double rewind_affine(double loc, double scale, double x) {
    return REWIND_LIKELY(!rewind_fused) ? loc + scale * x : fma(scale, x, loc);
}

static inline int rewind_bit_length(uint64_t n) {
#if defined(__GNUC__) || defined(__clang__)
    return n ? 64 - __builtin_clzll(n) : 0;
#else
    int k = 0;
    for (; n; n >>= 1)
        k++;
    return k;
#endif
}

/* ---- words */

typedef struct {
    uint64_t low, high, inc_low, inc_high;
} rewind_pcg;

/* Where a Generator draws from; `number` is state and increment of a PCG64, NULL for any other bit generator. */
typedef struct {
    bitgen_t bitgen;
    uint64_t *number;
} rewind_source;

static int rewind_pcg_low = 0; /* place of the low half of a number: 1 where numpy's compiler put the high half first */

static inline rewind_pcg rewind_pcg_load(const uint64_t *number) {
    rewind_pcg pcg;
    pcg.low = number[rewind_pcg_low];
    pcg.high = number[1 - rewind_pcg_low];
    pcg.inc_low = number[2 + rewind_pcg_low];
    pcg.inc_high = number[3 - rewind_pcg_low];
    return pcg;
}

static inline void rewind_pcg_store(uint64_t *number, const rewind_pcg *pcg) {
    number[rewind_pcg_low] = pcg->low;
    number[1 - rewind_pcg_low] = pcg->high;
}

static inline uint64_t rewind_pcg_next(rewind_pcg *pcg) {
    const uint64_t mult_low = 0x4385df649fccf645ull, mult_high = 0x2360ed051fc65da4ull;
    uint64_t word;
    unsigned turn;
#if defined(__SIZEOF_INT128__)
    unsigned __int128 state = (unsigned __int128)pcg->high << 64 | pcg->low;
    state *= (unsigned __int128)mult_high << 64 | mult_low;
    state += (unsigned __int128)pcg->inc_high << 64 | pcg->inc_low;
    pcg->low = (uint64_t)state;
    pcg->high = (uint64_t)(state >> 64);
#else
    uint64_t low, high;
#if defined(_MSC_VER) && defined(_M_X64)
    low = _umul128(pcg->low, mult_low, &high);
#else
    uint64_t x0 = (uint32_t)pcg->low, x1 = pcg->low >> 32, y0 = (uint32_t)mult_low, y1 = mult_low >> 32;
    uint64_t middle = x1 * y0 + (x0 * y0 >> 32);
    high = x1 * y1 + (middle >> 32) + ((x0 * y1 + (uint32_t)middle) >> 32);
    low = pcg->low * mult_low;
#endif
    high += pcg->low * mult_high + pcg->high * mult_low;
    pcg->low = low + pcg->inc_low;
    pcg->high = high + pcg->inc_high + (pcg->low < low);
#endif
    word = pcg->high ^ pcg->low;
    turn = (unsigned)(pcg->high >> 58);
    return word >> turn | word << ((64 - turn) & 63);
}

static inline uint64_t rewind_word(rewind_source *source) {
    if (REWIND_LIKELY(source->number != NULL)) {
        rewind_pcg pcg = rewind_pcg_load(source->number);
        uint64_t word = rewind_pcg_next(&pcg);
        rewind_pcg_store(source->number, &pcg);
        return word;
    }
    return source->bitgen.next_uint64(source->bitgen.state);
}

static inline double rewind_unit(uint64_t word) { /* 53 bits in [0, 1) */
    return (double)(int64_t)(word >> 11) * (1.0 / 9007199254740992.0);
}

static inline double rewind_double(rewind_source *source) {
    if (REWIND_LIKELY(source->number != NULL))
        return rewind_unit(rewind_word(source));
    return source->bitgen.next_double(source->bitgen.state);
}

/* ---- a bit generator that gives back one word, then goes on with another one */

typedef double (*rewind_draw)(bitgen_t *);

typedef struct {
    bitgen_t *bitgen;
    uint64_t word;
    int spent;
} rewind_again;

static uint64_t rewind_again_uint64(void *state) {
    rewind_again *again = (rewind_again *)state;
    if (!again->spent) {
        again->spent = 1;
        return again->word;
    }
    return again->bitgen->next_uint64(again->bitgen->state);
}
static uint32_t rewind_again_uint32(void *state) {
    bitgen_t *bitgen = ((rewind_again *)state)->bitgen;
    return bitgen->next_uint32(bitgen->state);
}
static double rewind_again_double(void *state) {
    bitgen_t *bitgen = ((rewind_again *)state)->bitgen;
    return bitgen->next_double(bitgen->state);
}
static uint64_t rewind_again_raw(void *state) {
    bitgen_t *bitgen = ((rewind_again *)state)->bitgen;
    return bitgen->next_raw(bitgen->state);
}

/* ---- ziggurats */

typedef struct {
    double width[256];
    uint64_t limit[256];
    rewind_draw draw; /* numpy's */
    int index_shift;  /* of the layer's number in a word */
    int index_bits;   /* below `place`, sign included */
    uint64_t mask;    /* of `place` */
} rewind_ziggurat;

static rewind_ziggurat rewind_normal = {{0}, {0}, NULL, 0, 9, 0xfffffffffffffull};
static rewind_ziggurat rewind_exponential = {{0}, {0}, NULL, 3, 11, 0x1fffffffffffffull};

/* The one word in a hundred that lands outside its layer's core: numpy draws from it, and from what follows. */
static REWIND_NOINLINE double rewind_outside(const rewind_ziggurat *ziggurat, bitgen_t *bitgen, uint64_t word) {
    rewind_again again;
    bitgen_t front;
    again.bitgen = bitgen;
    again.word = word;
    again.spent = 0;
    front.state = &again;
    front.next_uint64 = rewind_again_uint64;
    front.next_uint32 = rewind_again_uint32;
    front.next_double = rewind_again_double;
    front.next_raw = rewind_again_raw;
    return ziggurat->draw(&front);
}

/* The sign is xored in: a branch on it would be mispredicted every other time. */
static inline double rewind_normal_core(uint64_t word, uint64_t place, unsigned layer) {
    double x = (double)(int64_t)place * rewind_normal.width[layer];
    uint64_t bits;
    memcpy(&bits, &x, 8);
    bits ^= (word & 0x100) << 55;
    memcpy(&x, &bits, 8);
    return x;
}

#define REWIND_NORMAL(word, x, otherwise)                                                                              \
    do {                                                                                                               \
        unsigned layer_ = (unsigned)(word) & 0xff;                                                                     \
        uint64_t place_ = (word) >> 9 & 0xfffffffffffffull;                                                            \
        if (REWIND_LIKELY(place_ < rewind_normal.limit[layer_]))                                                       \
            x = rewind_normal_core(word, place_, layer_);                                                              \
        else {                                                                                                         \
            otherwise;                                                                                                 \
        }                                                                                                              \
    } while (0)

#define REWIND_EXPONENTIAL(word, x, otherwise)                                                                         \
    do {                                                                                                               \
        unsigned layer_ = (unsigned)((word) >> 3) & 0xff;                                                              \
        uint64_t place_ = (word) >> 11;                                                                                \
        if (REWIND_LIKELY(place_ < rewind_exponential.limit[layer_]))                                                  \
            x = (double)(int64_t)place_ * rewind_exponential.width[layer_];                                            \
        else {                                                                                                         \
            otherwise;                                                                                                 \
        }                                                                                                              \
    } while (0)

static inline double rewind_standard_normal(rewind_source *source) {
    uint64_t word = rewind_word(source);
    double x;
    REWIND_NORMAL(word, x, x = rewind_outside(&rewind_normal, &source->bitgen, word));
    return x;
}

static inline double rewind_standard_exponential(rewind_source *source) {
    uint64_t word = rewind_word(source);
    double x;
    REWIND_EXPONENTIAL(word, x, x = rewind_outside(&rewind_exponential, &source->bitgen, word));
    return x;
}

/* Arrays: a PCG64 stays in registers, and is in its place whenever numpy draws. */
#define REWIND_FILL(name, DRAW, ziggurat)                                                                              \
    static void name(rewind_source *source, ptrdiff_t n, double *out) {                                                \
        ptrdiff_t i;                                                                                                   \
        uint64_t word;                                                                                                 \
        double x;                                                                                                      \
        if (source->number != NULL) {                                                                                  \
            rewind_pcg pcg = rewind_pcg_load(source->number);                                                          \
            for (i = 0; i < n; i++) {                                                                                  \
                word = rewind_pcg_next(&pcg);                                                                          \
                DRAW(word, x, rewind_pcg_store(source->number, &pcg);                                                  \
                     x = rewind_outside(&ziggurat, &source->bitgen, word); pcg = rewind_pcg_load(source->number));     \
                out[i] = x;                                                                                            \
            }                                                                                                          \
            rewind_pcg_store(source->number, &pcg);                                                                    \
            return;                                                                                                    \
        }                                                                                                              \
        for (i = 0; i < n; i++) {                                                                                      \
            word = source->bitgen.next_uint64(source->bitgen.state);                                                   \
            DRAW(word, x, x = rewind_outside(&ziggurat, &source->bitgen, word));                                       \
            out[i] = x;                                                                                                \
        }                                                                                                              \
    }
REWIND_FILL(rewind_fill_normal, REWIND_NORMAL, rewind_normal)
REWIND_FILL(rewind_fill_exponential, REWIND_EXPONENTIAL, rewind_exponential)

static void rewind_fill_random(rewind_source *source, ptrdiff_t n, double *out) {
    ptrdiff_t i;
    if (source->number != NULL) {
        rewind_pcg pcg = rewind_pcg_load(source->number);
        for (i = 0; i < n; i++)
            out[i] = rewind_unit(rewind_pcg_next(&pcg));
        rewind_pcg_store(source->number, &pcg);
        return;
    }
    for (i = 0; i < n; i++)
        out[i] = source->bitgen.next_double(source->bitgen.state);
}

/* ---- numpy's tables, asked from numpy's function
 *
 * A scripted bit generator shows the function one word. That it asked for nothing more means that the word lies in the
 * core of its layer, and there the result is place * width.
 */

typedef struct {
    uint64_t word;
    int asked;
    uint64_t noise;
} rewind_script;

static uint64_t rewind_script_uint64(void *state) {
    rewind_script *script = (rewind_script *)state;
    if (script->asked++ == 0)
        return script->word;
    script->noise ^= script->noise << 13; /* anything that ends a rejection loop will do */
    script->noise ^= script->noise >> 7;
    script->noise ^= script->noise << 17;
    return script->noise;
}
static uint32_t rewind_script_uint32(void *state) { return (uint32_t)(rewind_script_uint64(state) >> 32); }
static double rewind_script_double(void *state) { return rewind_unit(rewind_script_uint64(state)); }

static int rewind_in_core(const rewind_ziggurat *ziggurat, unsigned layer, uint64_t place, double *x) {
    rewind_script script;
    bitgen_t front;
    double drawn;
    script.word = place << ziggurat->index_bits | (uint64_t)layer << ziggurat->index_shift;
    script.asked = 0;
    script.noise = 88172645463325252ull;
    front.state = &script;
    front.next_uint64 = rewind_script_uint64;
    front.next_uint32 = rewind_script_uint32;
    front.next_double = rewind_script_double;
    front.next_raw = rewind_script_uint64;
    drawn = ziggurat->draw(&front);
    if (x != NULL)
        *x = drawn;
    return script.asked == 1;
}

static void rewind_read_tables(rewind_ziggurat *ziggurat, rewind_draw draw) {
    unsigned layer;
    ziggurat->draw = draw;
    for (layer = 0; layer < 256; layer++) {
        uint64_t inside = 0, outside = ziggurat->mask + 1; /* numbers of places below the limit, and above */
        double x;
        ziggurat->width[layer] = rewind_in_core(ziggurat, layer, 1, &x) ? x : 0.0;
        if (layer > 1 && ziggurat->width[layer] > 0.0) { /* the limit is the ratio of two widths, but for rounding */
            double guess = ziggurat->width[layer - 1] / ziggurat->width[layer] * (double)(int64_t)outside;
            if (guess > 64.0 && guess < (double)(int64_t)outside - 64.0) {
                uint64_t near_limit = (uint64_t)guess;
                if (rewind_in_core(ziggurat, layer, near_limit - 8, NULL))
                    inside = near_limit - 7;
                if (!rewind_in_core(ziggurat, layer, near_limit + 8, NULL))
                    outside = near_limit + 8;
            }
        }
        while (inside < outside) {
            uint64_t place = inside + (outside - inside) / 2;
            if (rewind_in_core(ziggurat, layer, place, NULL))
                inside = place + 1;
            else
                outside = place;
        }
        ziggurat->limit[layer] = inside;
    }
}

#endif
