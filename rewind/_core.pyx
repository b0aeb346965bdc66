# cython: language_level=3, binding=True, embedsignature=False
"""Compiled kernel: the twin of ``_core_py.py``, with the same names, the same order and the same bits.

Only :mod:`rewind.kernel` imports either of them. What runs per step and per block is here, and nothing else.
"""

from cpython.buffer cimport PyBUF_C_CONTIGUOUS, PyBUF_FORMAT, Py_buffer, PyBuffer_Release, PyObject_GetBuffer
from cpython.exc cimport PyErr_CheckSignals
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.math cimport NAN
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy, memset, strcmp
from numpy.random cimport bitgen_t

import math
import operator
import random

import numpy as np

from .blockseed import BlockSeed
from .errors import ArgumentError, MetricError, StepError, StepReturnError

__all__ = [
    "default_block_size",
    "block_integer",
    "BlockRng",
    "advance",
    "advance_observed",
    "fold",
    "rounds_twice",
]


# ---- blocks


def default_block_size(n_steps):
    """Return the smallest whole number whose square is at least `n_steps`.

    Parameters
    ----------
    n_steps : int
        Number of states of a run, of any size.

    Returns
    -------
    block_size : int
        ``ceil(sqrt(n_steps))``, by integer arithmetic.

    Examples
    --------
    >>> default_block_size(1_000_000), default_block_size(1_000_001)
    (1000, 1001)
    """
    root = math.isqrt(n_steps)
    return root + (root * root < n_steps)


# ---- seeding: numpy's SeedSequence
#
# After M. E. O'Neill's seed_seq_fe (see block_integer) with numpy's words: a pool of four, `hash_const` running
# through INIT_A * MULT_A**k while words go in and INIT_B * MULT_B**k while they come out. All of it is modulo 2**32.

cdef extern from *:
    """
    #define REWIND_INIT_A 0x43b0d7e5u
    #define REWIND_MULT_A 0x931e8875u
    #define REWIND_INIT_B 0x8b51f9ddu
    #define REWIND_MULT_B 0x58f38dedu
    #define REWIND_MIX_L 0xca01f9ddu
    #define REWIND_MIX_R 0x4973f715u
    """
    const uint32_t INIT_A "REWIND_INIT_A"
    const uint32_t MULT_A "REWIND_MULT_A"
    const uint32_t INIT_B "REWIND_INIT_B"
    const uint32_t MULT_B "REWIND_MULT_B"
    const uint32_t MIX_L "REWIND_MIX_L"
    const uint32_t MIX_R "REWIND_MIX_R"

cdef inline uint32_t hashed(uint32_t value, uint32_t* hash_const) noexcept nogil:
    value ^= hash_const[0]
    hash_const[0] *= MULT_A
    value *= hash_const[0]
    return value ^ (value >> 16)


cdef inline uint32_t mixed(uint32_t x, uint32_t y) noexcept nogil:
    cdef uint32_t result = MIX_L * x - MIX_R * y
    return result ^ (result >> 16)


cdef inline void absorb(Pool* pool, uint32_t word) noexcept nogil:
    cdef int k
    for k in range(4):
        pool.word[k] = mixed(pool.word[k], hashed(word, &pool.hash_const))


cdef inline void absorb_block(Pool* pool, uint64_t j) noexcept nogil:
    absorb(pool, <uint32_t>j)
    if j >> 32:
        absorb(pool, <uint32_t>(j >> 32))


cdef inline void draw_words(const Pool* pool, uint64_t* out, int n) noexcept nogil:
    """Write ``generate_state(n, uint64)``."""
    cdef uint32_t hash_const = INIT_B
    cdef uint32_t pair[2]
    cdef int k, half
    for k in range(n):
        for half in range(2):
            pair[half] = pool.word[(2 * k + half) & 3] ^ hash_const
            hash_const *= MULT_B
            pair[half] *= hash_const
            pair[half] ^= pair[half] >> 16
        out[k] = pair[0] | <uint64_t>pair[1] << 32


cdef bytes words_of(object number):
    """Return the uint32 words of a non-negative int, least first, as little-endian bytes; 0 has one word."""
    number = operator.index(number)
    if number < 0:
        raise ValueError("expected non-negative integer")
    return number.to_bytes(4 * max(1, (number.bit_length() + 31) // 32), "little")


cdef inline uint32_t word_at(const unsigned char* raw) noexcept nogil:
    return raw[0] | <uint32_t>raw[1] << 8 | <uint32_t>raw[2] << 16 | <uint32_t>raw[3] << 24


cdef int open_pool(Pool* pool, object seed) except -1:
    """Make the pool of `seed`, ready for the words of a spawn key."""
    cdef bytes raw = words_of(seed).ljust(16, b"\0")  # numpy pads a seed to the size of the pool
    cdef const unsigned char* word = raw
    cdef Py_ssize_t k, n_words = len(raw) >> 2
    cdef int source, target
    pool.hash_const = INIT_A
    for target in range(4):
        pool.word[target] = hashed(word_at(word + 4 * target), &pool.hash_const)
    for source in range(4):
        for target in range(4):
            if source != target:
                pool.word[target] = mixed(pool.word[target], hashed(pool.word[source], &pool.hash_const))
    for k in range(4, n_words):
        absorb(pool, word_at(word + 4 * k))
    return 0


cdef object drawn_integer(const Pool* pool):
    cdef uint64_t out[2]
    draw_words(pool, out, 2)
    return <object>out[1] << 64 | <object>out[0]


def block_integer(seed, key):
    """Return the 128-bit integer at the address `key` below `seed`.

    Parameters
    ----------
    seed : int
        Non-negative, of any size.
    key : tuple of int
        Non-negative integers, of any size.

    Returns
    -------
    integer : int
        The little-endian integer of
        ``numpy.random.SeedSequence(entropy=seed, spawn_key=key).generate_state(4, numpy.uint32)``.

    Raises
    ------
    ValueError
        If `seed` or an integer of `key` is negative.

    Notes
    -----
    The mixing is that of [1]_, as in numpy.

    References
    ----------
    .. [1] M. E. O'Neill, "Developing a seed_seq Alternative", 2015,
       https://www.pcg-random.org/posts/developing-a-seed_seq-alternative.html
    """
    cdef Pool pool
    cdef bytes raw
    cdef const unsigned char* word
    cdef Py_ssize_t k
    open_pool(&pool, seed)
    for number in key:
        raw = words_of(number)
        word = raw
        for k in range(len(raw) >> 2):
            absorb(&pool, word_at(word + 4 * k))
    return drawn_integer(&pool)


# ---- seeding: numpy's PCG64, in place
#
# 128-bit numbers are pairs of uint64, so that any C compiler will do.

cdef struct Wide:
    uint64_t low
    uint64_t high


cdef extern from *:
    """
    #define REWIND_PCG_LOW 4865540595714422341ull
    #define REWIND_PCG_HIGH 2549297995355413924ull
    """
    const uint64_t PCG_LOW "REWIND_PCG_LOW"
    const uint64_t PCG_HIGH "REWIND_PCG_HIGH"


cdef inline Wide wide_sum(Wide x, Wide y) noexcept nogil:
    cdef Wide result
    result.low = x.low + y.low
    result.high = x.high + y.high + (result.low < x.low)
    return result


cdef inline uint64_t high_product(uint64_t x, uint64_t y) noexcept nogil:
    cdef uint64_t x0 = <uint32_t>x, x1 = x >> 32, y0 = <uint32_t>y, y1 = y >> 32
    cdef uint64_t middle = x1 * y0 + (x0 * y0 >> 32)  # at most (2**32 - 1) * 2**32
    cdef uint64_t other = x0 * y1 + <uint32_t>middle
    return x1 * y1 + (middle >> 32) + (other >> 32)


cdef inline Wide pcg_step(Wide state, Wide inc) noexcept nogil:
    """Return ``state * PCG_MULT + inc``, modulo 2**128."""
    cdef Wide product
    product.low = state.low * PCG_LOW
    product.high = high_product(state.low, PCG_LOW) + state.high * PCG_LOW + state.low * PCG_HIGH
    return wide_sum(product, inc)


cdef enum Layout:
    UNKNOWN = 0
    LOW_FIRST = 1
    HIGH_FIRST = 2


cdef inline void pcg_seed(Pcg64* pcg, int layout, const Pool* pool) noexcept nogil:
    """Seed as PCG64 does with four words of a seed sequence: initial state and stream, high halves first."""
    cdef uint64_t drawn[4]
    cdef Wide state, inc
    cdef int low = layout == HIGH_FIRST
    draw_words(pool, drawn, 4)
    inc.low = drawn[3] << 1 | 1
    inc.high = drawn[2] << 1 | drawn[3] >> 63
    state.low = drawn[1]
    state.high = drawn[0]
    state = pcg_step(wide_sum(state, inc), inc)  # the step before it takes 0 to inc
    pcg.number[low] = state.low
    pcg.number[1 - low] = state.high
    pcg.number[2 + low] = inc.low
    pcg.number[3 - low] = inc.high
    pcg.has_uint32 = 0
    pcg.uinteger = 0


cdef bint lies_in(object owner, size_t address, size_t size):
    cdef size_t start = <size_t><PyObject*>owner
    cdef size_t stop = start + <size_t>type(owner).__basicsize__
    return address % sizeof(uint64_t) == 0 and start <= address and address + size <= stop


cdef bitgen_t* bitgen_of(object bit_generator) except NULL:
    return <bitgen_t*>PyCapsule_GetPointer(bit_generator.capsule, "BitGenerator")


cdef Pcg64* pcg_of(object bit_generator) except? NULL:
    """Return the private state, NULL unless all of it lies inside the object: then no look at it can go astray."""
    cdef Pcg64* pcg = <Pcg64*>bitgen_of(bit_generator).state
    if not lies_in(bit_generator, <size_t>pcg, sizeof(Pcg64)):
        return NULL
    return pcg if lies_in(bit_generator, <size_t>pcg.number, 4 * sizeof(uint64_t)) else NULL


def _find_layout(make):
    """Return the layout by which bit generators of the class `make` can be seeded in place, 0 if none is proved.

    First it is only read, and compared with the public state while a half word is buffered. Then it is written, and
    every public state must be the one numpy seeds itself.
    """
    cdef Pcg64* pcg
    cdef bitgen_t* bitgen
    cdef Pool pool
    cdef int layout
    try:
        bit_generator = make(20240229)
        bitgen, pcg = bitgen_of(bit_generator), pcg_of(bit_generator)
        if pcg == NULL:
            return UNKNOWN
        bitgen.next_uint32(bitgen.state)
        public = bit_generator.state
        halves = []
        for number in (public["state"]["state"], public["state"]["inc"]):
            halves += [number & 0xFFFFFFFFFFFFFFFF, number >> 64]
        seen = [pcg.number[0], pcg.number[1], pcg.number[2], pcg.number[3]]
        if seen == halves:
            layout = LOW_FIRST
        elif seen == [halves[1], halves[0], halves[3], halves[2]]:
            layout = HIGH_FIRST
        else:
            return UNKNOWN
        if not pcg.has_uint32 or (pcg.has_uint32, pcg.uinteger) != (public["has_uint32"], public["uinteger"]):
            return UNKNOWN
        for seed, j in ((0, 0), (1, 1 << 32), (1 << 64, 5), ((1 << 130) - 1, (1 << 64) - 1), (314159, 2653)):
            bitgen.next_uint32(bitgen.state)
            open_pool(&pool, seed)
            absorb_block(&pool, j)
            pcg_seed(pcg, layout, &pool)
            if bit_generator.state != make(np.random.SeedSequence(entropy=seed, spawn_key=(j,))).state:
                return UNKNOWN
    except Exception:  # whatever this numpy lacks, its public way is left
        return UNKNOWN
    return layout


_pcg64_layout = _find_layout(np.random.PCG64)


cdef class BlockRng:
    """BlockRng(seed, backend)
--

    One rng, pointed in place to the first draw of any block.

    Parameters
    ----------
    seed : int
        Master seed, non-negative, of any size.
    backend : {"python", "numpy"}
        Whether `rng` is a ``random.Random`` or a ``numpy.random.Generator`` over ``PCG64``.

    Attributes
    ----------
    rng : random.Random or numpy.random.Generator
        The one object `start` returns, undefined before the first `start`.

    Raises
    ------
    ArgumentError
        If there is no such `backend`.
    ValueError
        If `seed` is negative.

    Notes
    -----
    Not to be shared between threads.

    Examples
    --------
    >>> import numpy as np
    >>> blocks = BlockRng(7, "numpy")
    >>> sequence = np.random.SeedSequence(entropy=7, spawn_key=(3,))
    >>> blocks.start(3).random() == np.random.Generator(np.random.PCG64(sequence)).random()
    True
    """

    def __cinit__(self, seed, backend):
        self.seed = operator.index(seed)
        open_pool(&self.pool, self.seed)
        self.pcg = NULL
        self.bitgen = NULL
        self.layout = _pcg64_layout
        if backend == "python":
            self.rng = random.Random(0)
            self.reseed = self.rng.seed
        elif backend == "numpy":
            block_seed = BlockSeed(self.seed)
            self.point = block_seed.point
            bit_generator = np.random.PCG64(block_seed)
            self.rng = np.random.Generator(bit_generator)
            self.bitgen = bitgen_of(bit_generator)
            if self.layout != UNKNOWN:
                self.pcg = pcg_of(bit_generator)
        else:
            raise ArgumentError("backend", backend, "'python' or 'numpy'")

    cdef bint start_nogil(self, uint64_t j) noexcept nogil:
        cdef Pool pool
        if self.pcg == NULL:
            return False
        pool = self.pool
        absorb_block(&pool, j)
        pcg_seed(self.pcg, self.layout, &pool)
        return True

    def start(self, uint64_t j):
        """Point `rng` to the first draw of block `j` and return it.

        Parameters
        ----------
        j : int
            Index of the block, ``0 <= j < 2**64``.

        Returns
        -------
        rng : random.Random or numpy.random.Generator
            Always the same object. Numbers it had buffered are dropped.
        """
        cdef Pool pool = self.pool
        if self.point is not None:
            self.point(j)
        if self.pcg != NULL:
            absorb_block(&pool, j)
            pcg_seed(self.pcg, self.layout, &pool)
        elif self.reseed is not None:
            absorb_block(&pool, j)
            self.reseed(drawn_integer(&pool))
        else:
            sequence = np.random.SeedSequence(entropy=self.seed, spawn_key=(j,))
            self.rng.bit_generator.state = np.random.PCG64(sequence).state
        return self.rng


# ---- replay loops
#
# The vectorcall slot of the function is looked up once, and the arguments lie in an array with a spare place before
# them, where a bound method puts its self (PEP 590). Cython owns the reference a call returns, and raises for NULL.

cdef extern from "Python.h":
    ctypedef object (*vectorcallfunc)(PyObject*, PyObject* const*, size_t, PyObject*)
    vectorcallfunc PyVectorcall_Function(PyObject*)
    object PyObject_Vectorcall(PyObject*, PyObject* const*, size_t, PyObject*)
    const size_t PY_VECTORCALL_ARGUMENTS_OFFSET

cdef enum:
    SIGNAL_MASK = 1023  # a look for signals every 1024 steps: Python steps look by themselves, steps in C never do


cdef inline vectorcallfunc way_to_call(object function) noexcept:
    cdef vectorcallfunc call = PyVectorcall_Function(<PyObject*>function)
    return call if call != NULL else PyObject_Vectorcall


def advance(step_fn, state, rng, Py_ssize_t n, Py_ssize_t t, bint none_allowed):
    """Return the state `n` steps after `state`.

    Parameters
    ----------
    step_fn : callable
        Called as ``state = step_fn(state, rng)``.
    state : object
        The state at step `t`.
    rng : object
        Handed to every call.
    n, t : int
        Number of calls, and step of `state`.
    none_allowed : bool
        Whether None is a state.

    Returns
    -------
    state : object
        The state at step ``t + n``.

    Raises
    ------
    StepError
        From the exception of the call that failed, with the step of the state that call was given.
        What is not an ``Exception``, such as ``KeyboardInterrupt``, comes through untouched.
    StepReturnError
        If a call returned None and None is no state.
    """
    cdef vectorcallfunc call = way_to_call(step_fn)
    cdef PyObject* args[3]
    cdef Py_ssize_t i = 0
    args[0] = NULL
    args[2] = <PyObject*>rng
    try:
        for i in range(n):
            if i & SIGNAL_MASK == 0:
                PyErr_CheckSignals()
            args[1] = <PyObject*>state
            state = call(<PyObject*>step_fn, &args[1], 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)
            if state is None and not none_allowed:
                break
        else:
            return state
    except Exception as error:
        raise StepError(t + i, error) from error
    raise StepReturnError(t + i)


def advance_observed(
    step_fn,
    state,
    rng,
    Py_ssize_t n_states,
    Py_ssize_t n_steps,
    Py_ssize_t t,
    bint none_allowed,
    names,
    metrics,
    buffers,
):
    """Return the state `n_steps` after `state`, having appended the metrics of `n_states` states to `buffers`.

    Parameters
    ----------
    step_fn, state, rng, t, none_allowed
        As for `advance`.
    n_states : int
        Number of states to observe, `state` the first of them.
    n_steps : int
        Number of calls of `step_fn`: `n_states`, or one less for a block no other follows.
    names, metrics : sequence
        Name and function of each metric. None for a function means the state itself.
    buffers : sequence of list
        Where the values of each metric go.

    Returns
    -------
    state : object
        The state at step ``t + n_steps``.

    Raises
    ------
    MetricError
        From the exception of the metric that failed.
    StepError, StepReturnError
        As from `advance`.
    """
    cdef vectorcallfunc call = way_to_call(step_fn)
    cdef PyObject* args[3]
    cdef tuple functions = tuple(metrics), labels = tuple(names), targets = tuple(buffers)
    cdef Py_ssize_t n_metrics = len(functions)
    cdef Py_ssize_t i = 0, k = n_metrics
    cdef list buffer
    if not n_metrics == len(labels) == len(targets):
        raise ValueError("names, metrics and buffers differ in length")
    args[0] = NULL
    args[2] = <PyObject*>rng
    try:
        for i in range(n_states):
            if i & SIGNAL_MASK == 0:
                PyErr_CheckSignals()
            args[1] = <PyObject*>state
            for k in range(n_metrics):
                metric, buffer = functions[k], targets[k]
                if metric is None:
                    buffer.append(state)
                else:
                    value = PyObject_Vectorcall(
                        <PyObject*>metric, &args[1], 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL
                    )
                    buffer.append(value)
            k = n_metrics  # the metrics are done: what fails now is the step
            if i < n_steps:
                state = call(<PyObject*>step_fn, &args[1], 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)
                if state is None and not none_allowed:
                    break
        else:
            return state
    except Exception as error:
        if k < n_metrics:
            raise MetricError(labels[k], t + i, f"raised {type(error).__name__}: {error}") from error
        raise StepError(t + i, error) from error
    raise StepReturnError(t + i)


# ---- exact sums
#
# A finite double is s * m * 2**e in units of 2**-1074, with m < 2**53 and 0 <= e < 2046. Signed mantissas and the parts
# of their squares are added up in one bin per e; full bins go into base-2**32 digits, digits into a Python int.

cdef enum:
    BIN_FILL = 1023  # values a bin holds: 1023 * 2**53 < 2**63 for the mantissas, 1023 * 2**54 < 2**64 for the squares
    CHUNK = 1 << 20  # values the digits hold: a digit takes in less than 2**40 from a bin fill, so 2**51 of 2**63
    SUM_DIGITS = 70  # 2**20 values below 2**2099 take 67, and one deposit reaches two digits up
    SQUARE_DIGITS = 136  # 2**20 values below 2**4198 take 132

cdef struct Bin:
    uint64_t signed_sum  # of s * m, modulo 2**64
    uint64_t aa  # of the squares, for m = a * 2**27 + b: a * a, a * b and b * b
    uint64_t ab
    uint64_t bb

cdef struct Sums:
    int64_t total[SUM_DIGITS]
    int64_t squares[SQUARE_DIGITS]
    int lowest  # e met so far; 2046 and -1 before the first
    int highest

cdef struct Extremes:
    double low
    double high
    Py_ssize_t argmin
    Py_ssize_t argmax
    Py_ssize_t nan_count
    Py_ssize_t first_nan
    Py_ssize_t pos_inf
    Py_ssize_t neg_inf

cdef Bin[2046] bins  # empty between calls, and only touched under the GIL: clearing 64 KB would cost more than a block


cdef inline void deposit(int64_t* digits, int exponent, uint64_t value, int64_t sign) noexcept nogil:
    """Add ``sign * value * 2**exponent``."""
    cdef int k = exponent >> 5, shift = exponent & 31
    cdef uint64_t low = (value & 0xFFFFFFFFu) << shift
    cdef uint64_t high = ((value >> 32) << shift) + (low >> 32)  # below 2**63 + 2**31
    digits[k] += sign * <int64_t>(low & 0xFFFFFFFFu)
    digits[k + 1] += sign * <int64_t>(high & 0xFFFFFFFFu)
    digits[k + 2] += sign * <int64_t>(high >> 32)


cdef void empty_bins(Sums* sums, int lowest, int highest) noexcept nogil:
    cdef int e
    cdef Bin* bin
    for e in range(lowest, highest + 1):
        bin = &bins[e]
        if bin.signed_sum >> 63:
            deposit(sums.total, e, 0 - bin.signed_sum, -1)
        else:
            deposit(sums.total, e, bin.signed_sum, 1)
        deposit(sums.squares, 2 * e, bin.bb, 1)
        deposit(sums.squares, 2 * e + 28, bin.ab, 1)
        deposit(sums.squares, 2 * e + 54, bin.aa, 1)
        memset(bin, 0, sizeof(Bin))


cdef extern from *:
    """
    static inline double rewind_lesser(double x, double y) { return x < y ? x : y; }
    static inline double rewind_greater(double x, double y) { return x > y ? x : y; }
    """
    double lesser "rewind_lesser"(double x, double y) nogil  # y where x is NaN, so one instruction
    double greater "rewind_greater"(double x, double y) nogil


cdef void find_extremes(const double* x, Py_ssize_t n, Py_ssize_t first, Extremes* found) noexcept nogil:
    """Take in `n` values, of which ``x[0]`` has the index `first`; found.low and high are NaN before the first number.

    Four lanes, as each comparison waits for the one before. Their order may turn 0.0 into -0.0, so the value is taken
    from where it is first met.
    """
    cdef double low = found.low, low1 = low, low2 = low, low3 = low
    cdef double high = found.high, high1 = high, high2 = high, high3 = high
    cdef Py_ssize_t i = 0
    while i + 4 <= n:
        low = lesser(x[i], low)
        low1 = lesser(x[i + 1], low1)
        low2 = lesser(x[i + 2], low2)
        low3 = lesser(x[i + 3], low3)
        high = greater(x[i], high)
        high1 = greater(x[i + 1], high1)
        high2 = greater(x[i + 2], high2)
        high3 = greater(x[i + 3], high3)
        i += 4
    while i < n:
        low = lesser(x[i], low)
        high = greater(x[i], high)
        i += 1
    low = lesser(lesser(low1, low2), lesser(low3, low))
    high = greater(greater(high1, high2), greater(high3, high))
    if low < found.low:
        i = 0
        while x[i] != low:
            i += 1
        found.low = x[i]
        found.argmin = first + i
    if high > found.high:
        i = 0
        while x[i] != high:
            i += 1
        found.high = x[i]
        found.argmax = first + i


cdef void add_up(const double* x, Py_ssize_t n, Py_ssize_t first, Sums* sums, Extremes* found) noexcept nogil:
    """Take in `n` <= BIN_FILL values, of which ``x[0]`` has the index `first`."""
    cdef uint64_t bits, m, a, b, minus
    cdef int e, lowest = 2046, highest = -1
    cdef Py_ssize_t i
    cdef Bin* bin
    for i in range(n):
        memcpy(&bits, x + i, sizeof(bits))
        minus = 0 - (bits >> 63)  # all ones for a negative number
        m = bits & 0xFFFFFFFFFFFFFull
        e = <int>(bits >> 52 & 0x7FF) - 1
        if e == 2046:
            if m != 0:
                if found.nan_count == 0:
                    found.first_nan = first + i
                found.nan_count += 1
            elif minus:
                found.neg_inf += 1
            else:
                found.pos_inf += 1
            continue
        if e >= 0:
            m |= 1ull << 52
        elif m == 0:
            continue
        else:
            e = 0  # subnormals have the unit of the smallest normals
        if e < lowest:
            lowest = e
        if e > highest:
            highest = e
        a = m >> 27
        b = m & 0x7FFFFFF
        bin = &bins[e]
        bin.signed_sum += (m ^ minus) - minus
        bin.aa += a * a
        bin.ab += a * b
        bin.bb += b * b
    empty_bins(sums, lowest, highest)
    if lowest < sums.lowest:
        sums.lowest = lowest
    if highest > sums.highest:
        sums.highest = highest


cdef object integer_of(const int64_t* digits, int low, int high):
    """Return the Python int of the digits `low` to `high`; those below are zero."""
    cdef unsigned char raw[4 * SQUARE_DIGITS + 8]
    cdef int64_t rest = 0
    cdef uint64_t last
    cdef int k, byte, n = 0
    for k in range(low, high + 1):
        rest += digits[k]
        for byte in range(4):
            raw[n + byte] = <unsigned char>(<uint64_t>rest >> 8 * byte)
        n += 4
        rest >>= 32  # towards minus infinity: the digit written above is the remainder modulo 2**32
    last = <uint64_t>rest
    for byte in range(8):
        raw[n + byte] = <unsigned char>(last >> 8 * byte)
    return int.from_bytes(raw[: n + 8], "little", signed=True) << 32 * low


def fold(values):
    """Return the exact sums and the extremes of `values`.

    Parameters
    ----------
    values : ndarray of float64, shape (n,)
        In one piece (C-contiguous).

    Returns
    -------
    count : int
        ``n``, whatever the values.
    total : int
        Sum of the finite values, in units of ``2**-1074``.
    squares : int
        Sum of the squares of the finite values, in units of ``2**-2148``.
    nan_count, first_nan : int
        Number of NaNs and index of the first, -1 if there is none.
    pos_inf, neg_inf : int
        Number of infinities.
    min, argmin, max, argmax : float and int
        The extremes, infinities included and NaNs skipped, and where each is first met. NaN and -1 if there is none;
        0.0 and -0.0 are one value.

    Raises
    ------
    ValueError
        If `values` is not such an array.

    Notes
    -----
    Every double is an integer of at most 53 bits, the mantissa, times a power of two. The mantissas that share a power
    are added as integers, so nothing is rounded and no order matters. O(n).

    Examples
    --------
    >>> import numpy as np
    >>> count, total, squares, *_ = fold(np.array([1e16, 1.0, -1e16]))
    >>> total / (count << 1074) == 1 / 3
    True
    """
    cdef Py_buffer view
    cdef Sums sums
    cdef Extremes found
    cdef const double* x
    cdef Py_ssize_t n, start, stop, i = 0
    PyObject_GetBuffer(values, &view, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS)
    try:
        if view.ndim != 1 or view.format == NULL or strcmp(view.format, "d") != 0:
            raise ValueError("fold needs a C-contiguous array of float64 in one dimension")
        x = <const double*>view.buf
        n = view.shape[0]
        memset(&found, 0, sizeof(found))
        found.low = found.high = NAN
        found.argmin = found.argmax = found.first_nan = -1
        while i < n and x[i] != x[i]:
            i += 1
        if i < n:
            found.low = found.high = x[i]
            found.argmin = found.argmax = i

        total = squares = 0
        for start in range(0, n, CHUNK):
            memset(&sums, 0, sizeof(sums))
            sums.lowest, sums.highest = 2046, -1
            stop = min(start + CHUNK, n)
            for i in range(start, stop, BIN_FILL):
                find_extremes(x + i, min(BIN_FILL, stop - i), i, &found)
                add_up(x + i, min(BIN_FILL, stop - i), i, &sums, &found)
            if sums.highest >= 0:
                total += integer_of(sums.total, sums.lowest >> 5, (sums.highest >> 5) + 2)
                squares += integer_of(sums.squares, sums.lowest >> 4, (2 * sums.highest + 54 >> 5) + 2)
    finally:
        PyBuffer_Release(&view)
    return (
        n,
        total,
        squares,
        found.nan_count,
        found.first_nan,
        found.pos_inf,
        found.neg_inf,
        found.low,
        found.argmin,
        found.high,
        found.argmax,
    )


# ---- the build


def rounds_twice(double a, double b, double c):
    """Return whether ``a * b - c`` is zero with the product rounded before the difference is.

    Examples
    --------
    >>> a = 1 + 2**-27  # a * a has 55 bits; a fused multiply-add would leave 2**-54
    >>> rounds_twice(a, a, 1 + 2**-26)
    True
    """
    return a * b - c == 0.0
