"""What the other compiled modules of the kernel share of ``_core``."""

from libc.stdint cimport uint32_t, uint64_t
from numpy.random cimport bitgen_t

from .kernel._draws cimport Mt


cdef struct Pool:
    uint32_t word[4]
    uint32_t hash_const


# What ``bitgen_t.state`` of a PCG64 points to. This is private to numpy, and its compiler decides which half of a
# 128-bit number comes first; _find_layout() looks at the numpy that runs.
cdef struct Pcg64:
    uint64_t* number  # state, then increment
    int has_uint32
    uint32_t uinteger


cdef class Standing:
    cdef uint64_t at
    cdef uint64_t n_starts


cdef class BlockRng:
    cdef readonly object rng
    cdef object seed
    cdef object block_seed  # of a Generator, else None
    cdef Standing standing
    cdef Pool pool
    cdef Pcg64* pcg  # NULL where it is not to be written
    cdef Mt* mt  # NULL where it is not to be written
    cdef int layout
    cdef bitgen_t* bitgen  # of a Generator, else NULL

    # Point the bit generator to the first draw of block `j`; False where that needs `start` and the GIL.
    cdef bint start_nogil(self, uint64_t j) noexcept nogil
    cdef size_t kept_size(self)
    cdef bint keep(self, char* where)
    cdef void put_back(self, uint64_t j, const char* where)
