/* Steps that tests/steps/test_native.py writes again in Python, with the same operations in the same order. */
#include <stdint.h>
#include "rewind.h"

static double uniform(bitgen_t *rng) { return rng->next_double(rng->state); }

/* A float: the pull of params[0] towards 0, and noise of width params[1], or 0.5 and 1.0. */
REWIND_EXPORT int drift(void *state, bitgen_t *rng, const void *params) {
    double *x = state;
    const double *p = params;
    double pull = p ? p[0] : 0.5, width = p ? p[1] : 1.0;
    *x = *x * pull + width * (uniform(rng) - 0.5);
    return 0;
}

REWIND_EXPORT int drift_block(void *state, ptrdiff_t n_steps, bitgen_t *rng, const void *params) {
    for (ptrdiff_t i = 0; i < n_steps; i++)
        drift(state, rng, params);
    return 0;
}

/* An int: a walk of one up or down, by a half word, so that what a bit generator buffers counts. */
REWIND_EXPORT int walk(void *state, bitgen_t *rng, const void *params) {
    int64_t *x = state;
    (void)params;
    *x += rng->next_uint32(rng->state) & 1 ? 1 : -1;
    return 0;
}

/* The same, which fails with 7 at the first state of params->limit or more. */
struct limits { int64_t limit; };

REWIND_EXPORT int bounded(void *state, bitgen_t *rng, const void *params) {
    const struct limits *p = params;
    if (*(int64_t *)state >= p->limit)
        return 7;
    return walk(state, rng, params);
}

REWIND_EXPORT int bounded_block(void *state, ptrdiff_t n_steps, bitgen_t *rng, const void *params) {
    for (ptrdiff_t i = 0; i < n_steps; i++)
        if (bounded(state, rng, params) != 0)
            return (int)(1 + i);
    return 0;
}

/* Params of every kind, after which comes the length of the list: adds all of it up, times a draw. */
struct mixed { double a; int64_t flag; double list[3]; int64_t n; };

REWIND_EXPORT int add_mixed(void *state, bitgen_t *rng, const void *params) {
    const struct mixed *p = params;
    *(double *)state += (p->a + (double)p->n + (double)p->flag + p->list[0] + p->list[1] + p->list[2]) * uniform(rng);
    return 0;
}

/* Five float64: each mixes with the one after it. */
REWIND_EXPORT int ring(void *state, bitgen_t *rng, const void *params) {
    double *x = state, first = x[0];
    (void)params;
    for (int i = 0; i < 5; i++)
        x[i] = 0.5 * (x[i] + (i < 4 ? x[i + 1] : first)) + uniform(rng);
    return 0;
}

/* Six int64, three rows of two: a random one changes by its place in memory. */
REWIND_EXPORT int cells(void *state, bitgen_t *rng, const void *params) {
    int64_t *x = state, k = (int64_t)(uniform(rng) * 6);
    (void)params;
    x[k] += k + 1;
    return 0;
}

/* Two structs with padding, into which rubbish is written, and a flag that is any byte but 0 for true. */
struct agent { int8_t kind; double x; uint8_t flag; int32_t hits; };

REWIND_EXPORT int agents(void *state, bitgen_t *rng, const void *params) {
    struct agent *a = state;
    (void)params;
    for (int i = 0; i < 2; i++) {
        double u = uniform(rng);
        unsigned char *bytes = (unsigned char *)(a + i);
        bytes[1] = (unsigned char)(256 * u);
        a[i].x += u;
        a[i].kind = (int8_t)(a[i].kind + 1);
        a[i].flag = u < 0.5 ? 0 : (uint8_t)(1 + 254 * u);
        a[i].hits += u < 0.5;
    }
    return 0;
}

/* No bytes at all. */
REWIND_EXPORT int nothing(void *state, bitgen_t *rng, const void *params) {
    (void)state, (void)rng, (void)params;
    return 0;
}

/* A float32, and complex numbers. */
REWIND_EXPORT int single(void *state, bitgen_t *rng, const void *params) {
    float *x = state;
    (void)params;
    *x = *x * 0.5f + (float)uniform(rng);
    return 0;
}

REWIND_EXPORT int spiral(void *state, bitgen_t *rng, const void *params) {
    double *z = state, re = z[0];
    (void)params;
    z[0] = -z[1] + uniform(rng);
    z[1] = re;
    return 0;
}

/* Steps with a memory of their own, which no replay reproduces. */
static int64_t calls = 0;

REWIND_EXPORT int counting(void *state, bitgen_t *rng, const void *params) {
    (void)params;
    *(double *)state += uniform(rng) + (double)++calls;
    return 0;
}

/* A step that takes its time: params->rounds draws. */
struct patience { int64_t rounds; };

REWIND_EXPORT int slow(void *state, bitgen_t *rng, const void *params) {
    const struct patience *p = params;
    double sum = 0;
    for (int64_t i = 0; i < p->rounds; i++)
        sum += uniform(rng);
    *(double *)state = sum;
    return 0;
}

/* What observes natively: the state, its square; a negative state cannot be observed, 7 and more cannot be stepped. */
REWIND_EXPORT int observed(
    void *state, ptrdiff_t n_states, ptrdiff_t n_steps, bitgen_t *rng, const void *params, double *out
) {
    double *x = state;
    (void)rng;
    (void)params;
    for (ptrdiff_t i = 0; i < n_states; i++) {
        if (*x < 0)
            return (int)(-1 - i);
        out[2 * i] = *x;
        out[2 * i + 1] = *x * *x;
        if (i < n_steps) {
            if (*x >= 7)
                return (int)(1 + i);
            *x += 1.0;
        }
    }
    return 0;
}

/* Other signatures. */
REWIND_EXPORT double not_a_step(double x) { return x; }
