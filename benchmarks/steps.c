/* C steps, and the same steps in loops as a C program of one's own has them: inlined, with numpy's random C library. */
#include <stdint.h>
#include "rewind.h"

/* numpy/random/distributions.h declares it, and asks for Python.h. It is in the library npyrandom. */
extern double random_standard_normal(bitgen_t *rng);

static inline void relax_one(double *x, bitgen_t *rng) { *x = *x * 0.999 + random_standard_normal(rng); }

/* No branch on a coin: a processor guesses it wrong half the time. */
static inline void walk_one(int64_t *x, bitgen_t *rng) { *x += 1 - 2 * (int64_t)(rng->next_uint64(rng->state) >> 63); }

static inline void kick_many(double *x, int n, bitgen_t *rng) {
    for (int i = 0; i < n; i++)
        x[i] = x[i] * 0.999 + random_standard_normal(rng);
}

/* ---- as step functions */

REWIND_EXPORT int nothing(void *state, bitgen_t *rng, const void *params) {
    (void)state, (void)rng, (void)params;
    return 0;
}

REWIND_EXPORT int relax(void *state, bitgen_t *rng, const void *params) {
    (void)params;
    relax_one(state, rng);
    return 0;
}

REWIND_EXPORT int relax_block(void *state, ptrdiff_t n_steps, bitgen_t *rng, const void *params) {
    (void)params;
    double x = *(double *)state;
    for (ptrdiff_t i = 0; i < n_steps; i++)
        relax_one(&x, rng);
    *(double *)state = x;
    return 0;
}

REWIND_EXPORT int walk(void *state, bitgen_t *rng, const void *params) {
    (void)params;
    walk_one(state, rng);
    return 0;
}

REWIND_EXPORT int kick10(void *state, bitgen_t *rng, const void *params) {
    (void)params;
    kick_many(state, 10, rng);
    return 0;
}

REWIND_EXPORT int kick64(void *state, bitgen_t *rng, const void *params) {
    (void)params;
    kick_many(state, 64, rng);
    return 0;
}

/* ---- as loops of one's own */

REWIND_EXPORT double relax_loop(double x, int64_t n, bitgen_t *rng) {
    for (int64_t i = 0; i < n; i++)
        relax_one(&x, rng);
    return x;
}

REWIND_EXPORT int64_t walk_loop(int64_t x, int64_t n, bitgen_t *rng) {
    for (int64_t i = 0; i < n; i++)
        walk_one(&x, rng);
    return x;
}

REWIND_EXPORT void kick10_loop(double *x, int64_t n, bitgen_t *rng) {
    for (int64_t i = 0; i < n; i++)
        kick_many(x, 10, rng);
}

REWIND_EXPORT void kick64_loop(double *x, int64_t n, bitgen_t *rng) {
    for (int64_t i = 0; i < n; i++)
        kick_many(x, 64, rng);
}
