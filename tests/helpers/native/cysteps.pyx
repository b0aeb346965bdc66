# cython: language_level=3
"""Steps in Cython, which draw with numpy's C distributions."""

cimport rewind
from libc.stdint cimport int64_t
from numpy.random cimport bitgen_t
from numpy.random.c_distributions cimport random_standard_normal


cdef struct Params:
    double pull
    double width


cdef api int ou(void* state, bitgen_t* rng, const void* params) noexcept nogil:
    cdef double* x = <double*>state
    cdef const Params* p = <const Params*>params
    x[0] = x[0] * p.pull + p.width * random_standard_normal(rng)
    return 0


cdef api int ou_block(void* state, Py_ssize_t n_steps, bitgen_t* rng, const void* params) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n_steps):
        ou(state, rng, params)
    return 0


cdef api int raises(void* state, bitgen_t* rng, const void* params) except -1 nogil:
    cdef int64_t* x = <int64_t*>state
    x[0] += 1
    if x[0] == 42:
        with gil:
            raise ValueError("it is 42")
    return 0


cdef api double other(double x) noexcept nogil:
    return x


cdef rewind.step_t typed = ou
cdef rewind.block_step_t typed_block = ou_block
