"""What the other compiled modules of the kernel share of ``_draws``."""

from libc.stdint cimport uint32_t


# What follows the object header of a random.Random: private to Python, and proved at import before it is used.
cdef struct Mt:
    int index
    uint32_t state[624]


# The generator inside `rng`, NULL unless the layout is proved and `rng` is a FastRandom. Whoever writes it calls
# forget_gauss(rng) as well: half of a pair of normals may wait there.
cdef Mt* mt_of(object rng) noexcept
cdef void forget_gauss(object rng) noexcept
