"""Step functions in Cython, for ``rewind.native_step(("module", "name"))``.

``cimport rewind`` needs no include path but numpy's. What a step gets and returns is said in ``include/rewind.h``::

    from rewind cimport bitgen_t, step_t

    cdef api int step(void* state, bitgen_t* rng, const void* params) noexcept nogil:
        (<double*>state)[0] += rng.next_double(rng.state)
        return 0
"""

from numpy.random cimport bitgen_t

ctypedef int (*step_t)(void* state, bitgen_t* rng, const void* params) noexcept nogil
ctypedef int (*block_step_t)(void* state, Py_ssize_t n_steps, bitgen_t* rng, const void* params) noexcept nogil
