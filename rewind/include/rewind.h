/* Step functions in C, for rewind.native_step().
 *
 *     cc -O2 -shared -fPIC -I$(python -c "import rewind; print(rewind.get_include())") \
 *        -I$(python -c "import numpy; print(numpy.get_include())") step.c -o step.so
 */
#ifndef REWIND_H
#define REWIND_H

#include <stddef.h>
#include <numpy/random/bitgen.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Change the state where it lies, by one step.
 *
 * state   a double for a Python float, an int64_t for an int, the value of a numpy number, or the first element of an
 *         array, contiguous in C order (in Fortran order where the run began with such an array). Only this run's, and
 *         not to be kept: the next call may get another address.
 * rng     what to draw from: rng->next_double(rng->state) is uniform on [0, 1), next_uint64 and next_uint32 are bits.
 *         numpy/random/distributions.h has the distributions, in numpy's static library npyrandom. It stands at the
 *         first draw of a block when a block begins. Draw from nothing else.
 * params  the parameters of the run, sorted by name, in slots of 8 bytes: a double for a float, an int64_t for an int
 *         or a bool, a list as its numbers. NULL if there are none.
 *
 * Return 0, or anything else if the step fails: the run stops there, and says so with this number.
 *
 * Called without the GIL and from several threads at once, each with its own state and rng: a state that is not in
 * `state` (a static variable, a cache) makes replays differ, and verify() says so.
 */
typedef int rewind_step(void *state, bitgen_t *rng, const void *params);

/* The same for n_steps steps in one call, which saves the call for each.
 *
 * Return 0, or 1 + the number of steps that were finished before one failed. The number of steps in a call has no
 * meaning: a block may be split over several calls.
 */
typedef int rewind_block_step(void *state, ptrdiff_t n_steps, bitgen_t *rng, const void *params);

/* What PyCapsule_New(function, name, NULL) needs for a name, so that native_step() knows what is inside. */
#define REWIND_STEP_SIGNATURE "int (void *, bitgen_t *, void const *)"
#define REWIND_BLOCK_STEP_SIGNATURE "int (void *, Py_ssize_t, bitgen_t *, void const *)"

/* For a function of a shared library: REWIND_EXPORT int step(void *state, bitgen_t *rng, const void *params) */
#if defined(_WIN32)
#define REWIND_EXPORT __declspec(dllexport)
#elif defined(__GNUC__)
#define REWIND_EXPORT __attribute__((visibility("default")))
#else
#define REWIND_EXPORT
#endif

#ifdef __cplusplus
}
#endif

#endif
