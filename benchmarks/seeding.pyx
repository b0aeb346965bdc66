# cython: language_level=3
"""The seeding of blocks alone, in a loop in C."""

from libc.stdint cimport uint64_t
from rewind._core cimport BlockRng


def seed_blocks(BlockRng blocks, uint64_t n):
    """Point to the first draw of block 0, 1, ... n - 1; return how many could be."""
    cdef uint64_t j, done = 0
    with nogil:
        for j in range(n):
            done += blocks.start_nogil(j)
    return done
