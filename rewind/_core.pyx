# cython: language_level=3, binding=True, embedsignature=False
"""Compiled kernel: the twin of ``kernel/core.py``, with the same names, the same order and the same bits.

Only :mod:`rewind.kernel` imports either of them. What runs per step and per block is here, and nothing else. As in
the other compiled modules, a docstring that only names the file of the twin is the twin's: setup.py writes it there.
"""

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memcpy
from numpy.random cimport bitgen_t

from .kernel._draws cimport Mt, forget_gauss, mt_of

import contextlib
import importlib
import math
import operator
import os
import sys

import numpy as np

from .kernel._draws import FastGenerator, FastRandom
from .kernel.block_seed import BlockSeed
from .errors import ArgumentError, ConditionError, MetricError, StepError, StepReturnError

__all__ = [
    "default_block_size",
    "block_integer",
    "BlockRng",
    "Values",
    "advance",
    "advance_observed",
    "MISSING",
    "Turn",
    "Snapshots",
    "Place",
    "copied_record",
    "rounds_twice",
]


# ---- blocks


def default_block_size(n_steps):
    """As in ``core.py``."""
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
    """As in ``core.py``."""
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
    """Return the private state, NULL unless all of it lies inside the object, where reading it is safe."""
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
    except Exception:  # whatever this numpy lacks, there is its public interface
        return UNKNOWN
    return layout


_pcg64_layout = _find_layout(np.random.PCG64)


# ---- seeding: random.Random, in place
#
# M. Matsumoto and T. Nishimura's init_by_array (2002), as random.seed(n) calls it: with the uint32 words of n, least
# first, and no leading zeros.

cdef uint32_t[624] MT_START  # init_genrand(19650218), which every seeding begins with


cdef void fill_mt_start() noexcept:
    cdef uint32_t i
    MT_START[0] = 19650218u
    for i in range(1, 624):
        MT_START[i] = 1812433253u * (MT_START[i - 1] ^ (MT_START[i - 1] >> 30)) + i


fill_mt_start()


cdef void mt_seed(Mt* mt, const Pool* pool) noexcept nogil:
    """Seed with the 128-bit integer of `pool`."""
    cdef uint64_t drawn[2]
    cdef uint32_t key[4]
    cdef uint32_t previous
    cdef uint32_t* word = mt.state
    cdef int i, k = 0, n_words = 4
    draw_words(pool, drawn, 2)
    key[0], key[1] = <uint32_t>drawn[0], <uint32_t>(drawn[0] >> 32)
    key[2], key[3] = <uint32_t>drawn[1], <uint32_t>(drawn[1] >> 32)
    while n_words > 1 and key[n_words - 1] == 0:
        n_words -= 1
    previous = MT_START[0]
    for i in range(1, 624):
        previous = (MT_START[i] ^ ((previous ^ (previous >> 30)) * 1664525u)) + key[k] + k
        word[i] = previous
        k = k + 1 if k + 1 < n_words else 0
    previous = (word[1] ^ ((previous ^ (previous >> 30)) * 1664525u)) + key[k] + k  # the 624th comes round to 1
    word[1] = previous
    for i in range(2, 624):
        previous = (word[i] ^ ((previous ^ (previous >> 30)) * 1566083941u)) - i
        word[i] = previous
    word[1] = (word[1] ^ ((previous ^ (previous >> 30)) * 1566083941u)) - 1
    word[0] = 0x80000000u
    mt.index = 624


cdef class Standing:
    """As in ``core.py``."""

    @property
    def block(self):
        """Index of the block that was begun last."""
        return self.at

    @property
    def starts(self):
        """How many blocks were begun."""
        return self.n_starts


cdef class BlockRng:
    """BlockRng(seed, backend)
--

    As in ``core.py``."""

    def __cinit__(self, seed, backend):
        self.seed = operator.index(seed)
        open_pool(&self.pool, self.seed)
        self.pcg = NULL
        self.mt = NULL
        self.bitgen = NULL
        self.layout = _pcg64_layout
        self.standing = Standing()
        if backend == "python":
            self.rng = FastRandom(0)
            self.mt = mt_of(self.rng)
        elif backend == "numpy":
            self.block_seed = BlockSeed(self.seed, self.standing)
            bit_generator = np.random.PCG64(self.block_seed)
            self.rng = FastGenerator(bit_generator)
            self.bitgen = bitgen_of(bit_generator)
            if self.layout != UNKNOWN:
                self.pcg = pcg_of(bit_generator)
        else:
            raise ArgumentError("backend", backend, "'python' or 'numpy'")

    def start(self, uint64_t j):
        """As in ``core.py``."""
        cdef Pool pool
        if self.start_nogil(j):
            return self.rng
        self.standing.at = j
        self.standing.n_starts += 1
        if self.block_seed is not None:
            sequence = np.random.SeedSequence(entropy=self.seed, spawn_key=(j,))
            self.rng.bit_generator.state = np.random.PCG64(sequence).state
            return self.rng
        pool = self.pool
        absorb_block(&pool, j)
        if self.mt == NULL:
            self.rng.seed(drawn_integer(&pool))
        else:
            mt_seed(self.mt, &pool)
            forget_gauss(self.rng)
        return self.rng

    cdef bint start_nogil(self, uint64_t j) noexcept nogil:
        cdef Pool pool
        if self.pcg == NULL:
            return False
        self.standing.at = j
        self.standing.n_starts += 1
        pool = self.pool
        absorb_block(&pool, j)
        pcg_seed(self.pcg, self.layout, &pool)
        return True

    cdef size_t kept_size(self):
        """Return the bytes of what `keep` writes, 0 where nothing can be kept."""
        return 5 * sizeof(uint64_t) if self.pcg != NULL else sizeof(Mt) if self.mt != NULL else 0

    cdef bint keep(self, char* where):
        """Write where the generator stands; False where more belongs to it than fits there."""
        if self.pcg != NULL:
            if self.block_seed.in_use:
                return False
            memcpy(where, self.pcg.number, 4 * sizeof(uint64_t))
            memcpy(where + 4 * sizeof(uint64_t), &self.pcg.has_uint32, sizeof(uint64_t))
            return True
        if self.rng.gauss_next is not None:
            return False
        memcpy(where, self.mt, sizeof(Mt))
        return True

    cdef void put_back(self, uint64_t j, const char* where):
        """Stand in block `j` as when `keep` wrote."""
        self.standing.at = j
        self.standing.n_starts += 1
        if self.pcg != NULL:
            memcpy(self.pcg.number, where, 4 * sizeof(uint64_t))
            memcpy(&self.pcg.has_uint32, where + 4 * sizeof(uint64_t), sizeof(uint64_t))
        else:
            memcpy(self.mt, where, sizeof(Mt))
            forget_gauss(self.rng)


# ---- replay loops
#
# The vectorcall slot of the function is looked up once, and the arguments lie in an array with a spare place before
# them, where a bound method puts its self (PEP 590). Cython owns the reference a call returns, and raises for NULL.

cdef extern from "Python.h":
    ctypedef object (*vectorcallfunc)(PyObject*, PyObject* const*, size_t, PyObject*)
    vectorcallfunc PyVectorcall_Function(PyObject*)
    object PyObject_Vectorcall(PyObject*, PyObject* const*, size_t, PyObject*)
    object PyObject_GetAttr(object, object)
    object PyObject_GenericGetAttr(object, object)
    PyObject* PyObject_GenericGetDict(PyObject*, void*)
    PyObject* PyDict_GetItem(dict, object)
    Py_ssize_t Py_REFCNT(PyObject*)
    PyObject* PyList_GET_ITEM(PyObject*, Py_ssize_t)
    PyObject* PyTuple_GET_ITEM(PyObject*, Py_ssize_t)
    bint PyDict_Next(PyObject*, Py_ssize_t*, PyObject**, PyObject**)
    ctypedef struct PyTypeObject
    PyTypeObject* Py_TYPE(object)
    object PyType_GenericAlloc(PyTypeObject*, Py_ssize_t)
    void Py_DECREF(object)
    void PyErr_Clear()
    int PyObject_GenericSetAttr(object, object, object) except -1
    double PyFloat_AS_DOUBLE(object)
    long long PyLong_AsLongLongAndOverflow(object, int*) except? -1
    const size_t PY_VECTORCALL_ARGUMENTS_OFFSET

cdef enum:
    SIGNAL_MASK = 1023  # a look for signals every 1024 steps: Python steps look by themselves, steps in C never do


cdef inline vectorcallfunc way_to_call(object function) noexcept:
    cdef vectorcallfunc call = PyVectorcall_Function(<PyObject*>function)
    return call if call != NULL else PyObject_Vectorcall


cdef object run_on(object step_fn, object state, object rng, Py_ssize_t n, Py_ssize_t t, bint none_allowed):
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


def advance(step_fn, state, rng, Py_ssize_t n, Py_ssize_t t, bint none_allowed):
    """As in ``core.py``."""
    return run_on(step_fn, state, rng, n, t, none_allowed)


cdef frozenset NUMBERS = frozenset(
    {np.bool_, np.int8, np.int16, np.int32, np.int64, np.uint8, np.uint16, np.uint32, np.uint64}
    | {np.float16, np.float32, np.longdouble, np.intc, np.uintc, np.longlong, np.ulonglong}
)


@cython.final
cdef class Values:
    """Values(capacity)
--

    As in ``core.py``."""

    cdef double[::1] room
    cdef double* data
    cdef Py_ssize_t n, capacity
    cdef list objects  # None as long as all are numbers

    def __cinit__(self, Py_ssize_t capacity):
        self.n = 0
        self.hold(np.empty(max(capacity, 1)))

    cdef int hold(self, double[::1] room) except -1:
        self.room, self.data, self.capacity = room, &room[0], room.shape[0]
        return 0

    def append(self, value):
        """As in ``core.py``."""
        self.add(value)

    cdef inline int add(self, value) except -1:
        cdef double number
        cdef int overflow = 0
        if self.objects is not None:
            self.objects.append(value)
            return 0
        if isinstance(value, float):
            number = PyFloat_AS_DOUBLE(value)
        elif type(value) is int or type(value) is bool:
            number = <double>PyLong_AsLongLongAndOverflow(value, &overflow)
            if overflow:
                return self.add_long(value)
        elif type(value) in NUMBERS:
            number = float(value)
        else:
            return self.widen(value)
        return self.put(number)

    cdef inline int put(self, double number) except -1:
        if self.n == self.capacity:
            self.grow()
        self.data[self.n] = number
        self.n += 1
        return 0

    cdef int grow(self) except -1:
        return self.hold(np.concatenate([self.room, np.empty(self.n)]))

    cdef int add_long(self, value) except -1:
        try:
            number = float(value)
        except OverflowError:
            return self.widen(value)
        return self.put(number)

    cdef int widen(self, value) except -1:
        self.objects = np.asarray(self.room)[: self.n].tolist()
        self.objects.append(value)
        return 0

    def take(self):
        """As in ``core.py``."""
        cdef Py_ssize_t n = self.n
        objects, self.objects, self.n = self.objects, None, 0
        return np.asarray(self.room)[:n] if objects is None else objects


cdef object attribute_of(object metric):
    """Return the attribute's name of ``operator.attrgetter(name)``, None of anything else."""
    if type(metric) is operator.attrgetter:
        names = metric.__reduce__()[1]
        if len(names) == 1 and "." not in names[0]:
            return names[0]
    return None


@cython.boundscheck(False)
@cython.wraparound(False)
cdef object watch(
    object step_fn,
    object state,
    object rng,
    Py_ssize_t n_states,
    Py_ssize_t n_steps,
    Py_ssize_t t,
    bint none_allowed,
    tuple labels,
    tuple functions,
    tuple attributes,
    tuple targets,
):
    cdef vectorcallfunc call = way_to_call(step_fn)
    cdef PyObject* args[3]
    cdef Py_ssize_t n_metrics = len(functions)
    cdef Py_ssize_t i = 0, k = n_metrics
    cdef Values itself = None  # where the one metric is the state, which needs no call
    if not n_metrics == len(labels) == len(targets) == len(attributes):
        raise ValueError("names, metrics and buffers differ in length")
    if n_metrics == 1 and functions[0] is None and type(targets[0]) is Values:
        itself, n_metrics = targets[0], 0
    args[0] = NULL
    args[2] = <PyObject*>rng
    try:
        for i in range(n_states):
            if i & SIGNAL_MASK == 0:
                PyErr_CheckSignals()
            args[1] = <PyObject*>state
            if itself is not None:
                itself.add(state)
            for k in range(n_metrics):
                metric, name, buffer = functions[k], attributes[k], targets[k]
                if metric is None:
                    value = state
                elif name is not None:
                    value = PyObject_GetAttr(state, name)
                else:
                    value = PyObject_Vectorcall(
                        <PyObject*>metric, &args[1], 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL
                    )
                if type(buffer) is Values:
                    (<Values>buffer).add(value)
                else:
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
    """As in ``core.py``."""
    attributes = tuple([attribute_of(metric) for metric in metrics])
    return watch(
        step_fn, state, rng, n_states, n_steps, t, none_allowed, tuple(names), tuple(metrics), attributes,
        tuple(buffers),
    )


# ---- a place in a run

cdef extern from "pythread.h" nogil:
    ctypedef void* PyThread_type_lock
    PyThread_type_lock PyThread_allocate_lock()
    void PyThread_free_lock(PyThread_type_lock)
    int PyThread_acquire_lock(PyThread_type_lock, int)
    void PyThread_release_lock(PyThread_type_lock)
    unsigned long PyThread_get_thread_ident()

# All turns there are, in a ring, so that a fork finds them. Linked and unlinked with the GIL held.
cdef struct Seat:
    PyThread_type_lock lock
    unsigned long owner  # 0: nobody
    Seat* before
    Seat* after

cdef Seat seats
seats.before = &seats
seats.after = &seats

cdef unsigned long n_forks = 0


def _forked():
    """As in ``core.py``."""
    global n_forks
    cdef unsigned long me = PyThread_get_thread_ident()
    cdef PyThread_type_lock lock
    cdef Seat* seat = seats.after
    n_forks += 1
    while seat != &seats:
        if seat.owner != me:
            lock = PyThread_allocate_lock()
            if lock != NULL:  # the old one is left alone: a thread may have been in the middle of waiting for it
                seat.lock = lock
            seat.owner = 0  # a new thread may have the number of an old one
        seat = seat.after


#: Packages of which modules are imported when they are used: this one, and those that take long to load.
_IMPORTED_LATE = frozenset({__name__.partition(".")[0], "json", "concurrent", "logging", "statistics", "traceback"})


def _before_a_fork():
    """As in ``core.py``."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in _IMPORTED_LATE and getattr(getattr(module, "__spec__", None), "_initializing", False):
            with contextlib.suppress(Exception):  # the thread that imports it gets the error
                importlib.import_module(name)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_a_fork, after_in_child=_forked)


cdef class Turn:
    """Turn()
--

    As in ``core.py``."""

    cdef Seat seat
    cdef Py_ssize_t depth

    def __cinit__(self):
        self.seat.lock = PyThread_allocate_lock()
        if self.seat.lock == NULL:
            raise MemoryError
        self.seat.before, self.seat.after = &seats, seats.after
        self.seat.before.after = self.seat.after.before = &self.seat

    def __dealloc__(self):
        if self.seat.lock != NULL:
            self.seat.before.after, self.seat.after.before = self.seat.after, self.seat.before
            PyThread_free_lock(self.seat.lock)

    def __enter__(self):
        if not self.take():
            self.depth += 1

    def __exit__(self, *error):
        if self.depth:
            self.depth -= 1
        else:
            self.leave()

    def is_mine(self):
        """As in ``core.py``."""
        return self.seat.owner == PyThread_get_thread_ident()

    cdef bint take(self):
        """Wait for one's turn and take it, until `leave`; False if this thread has it already."""
        cdef unsigned long me = PyThread_get_thread_ident()
        if not PyThread_acquire_lock(self.seat.lock, 0):
            if self.seat.owner == me:
                return False
            with nogil:
                PyThread_acquire_lock(self.seat.lock, 1)
        self.seat.owner, self.depth = me, 0
        return True

    cdef void leave(self) noexcept:
        self.seat.owner = 0
        PyThread_release_lock(self.seat.lock)


class _Missing:
    """As in ``core.py``."""

    def __repr__(self):
        return "MISSING"


MISSING = _Missing()

cdef object NDARRAY = np.ndarray
cdef frozenset PLAIN = frozenset({bool, int, float, complex, str, bytes, type(None)}) | (NUMBERS | {np.float64})


def copied_record(value, tuple fields):
    """As in ``core.py``."""
    cdef PyTypeObject* kind = Py_TYPE(value)
    cdef PyObject* attributes = PyObject_GenericGetDict(<PyObject*>value, NULL)
    cdef PyObject* part
    cdef Py_ssize_t n = len(fields)
    if attributes == NULL:
        PyErr_Clear()  # of a class with slots
    else:
        found = <dict>attributes
        Py_DECREF(found)
        if len(<dict>found) != n:
            return None
    new = PyType_GenericAlloc(kind, 0)
    for name in fields:
        if attributes == NULL:
            try:
                value_of = PyObject_GenericGetAttr(value, name)
            except AttributeError:
                return None
            part = <PyObject*>value_of
        else:
            part = PyDict_GetItem(<dict>found, name)
            if part == NULL:
                return None
        if <object>Py_TYPE(<object>part) not in PLAIN:
            return None
        PyObject_GenericSetAttr(new, name, <object>part)
    return new


cdef bint parts_held(PyObject* pointer, fields_of, int depth) except -1:
    """Return whether other code may refer to a mutable part of `pointer`; to an unknown object it always may."""
    cdef object value = <object>pointer, kind = type(value)
    cdef PyObject* part
    cdef PyObject* key
    cdef Py_ssize_t i = 0
    if kind in PLAIN:
        return False
    if depth > 8:
        return True
    if kind is NDARRAY:
        return value.base is not None or value.dtype.hasobject
    if kind is list:
        for i in range(len(<list>value)):
            part = PyList_GET_ITEM(pointer, i)
            if part_held(part, fields_of, depth):
                return True
        return False
    if kind is tuple:
        for i in range(len(<tuple>value)):
            part = PyTuple_GET_ITEM(pointer, i)
            if part_held(part, fields_of, depth):
                return True
        return False
    if kind is not dict:
        if fields_of(kind) is None:
            return True
        attributes = getattr(value, "__dict__", None)
        if attributes is None:
            for name in fields_of(kind):
                if type(getattr(value, name, None)) not in PLAIN:
                    return True
            return False
        pointer = <PyObject*>attributes
    while PyDict_Next(pointer, &i, &key, &part):
        if part_held(part, fields_of, depth):
            return True
    return False


cdef bint part_held(PyObject* part, fields_of, int depth) except -1:
    if <object>Py_TYPE(<object>part) in PLAIN:
        return False
    if Py_REFCNT(part) > 1 and <object>Py_TYPE(<object>part) is not tuple:
        return True
    return parts_held(part, fields_of, depth + 1)


cdef class Snapshots:
    """Snapshots(blocks, n_blocks, per_block, every, copy)
--

    As in ``core.py``."""

    cdef readonly Py_ssize_t every
    cdef readonly Py_ssize_t per_block
    cdef readonly Py_ssize_t n
    cdef size_t size
    cdef list states
    cdef char* raw
    cdef object copy
    cdef bint open

    def __cinit__(self, BlockRng blocks, Py_ssize_t n_blocks, Py_ssize_t per_block, Py_ssize_t every, copy):
        self.every, self.per_block, self.copy = every, per_block, copy
        self.size = blocks.kept_size()
        self.open = self.size > 0 and per_block > 0
        self.n = 0
        self.raw = NULL
        self.states = [None] * (n_blocks * per_block if self.open else 0)
        if self.states:
            self.raw = <char*>PyMem_Malloc(len(self.states) * self.size)
            if self.raw == NULL:
                raise MemoryError

    def __dealloc__(self):
        PyMem_Free(self.raw)

    def __len__(self):
        return self.n

    cdef Py_ssize_t next_from(self, Py_ssize_t offset) noexcept:
        """Return the offset in a block of the first snapshot after `offset`."""
        return (offset // self.every + 1) * self.every

    cdef int take(
        self, Py_ssize_t block, Py_ssize_t offset, PyObject* state, fields_of, BlockRng blocks
    ) except -1:
        """Keep `state`, unless it has a second owner: what that one refers to would not be the copy."""
        cdef Py_ssize_t i = block * self.per_block + offset // self.every - 1
        if not self.open or offset // self.every > self.per_block or self.states[i] is not None:
            return 0
        if <object>Py_TYPE(<object>state) in PLAIN:
            kept = <object>state
        elif Py_REFCNT(state) > 1 or parts_held(state, fields_of, 0):
            kept = None
        else:
            kept = self.copy(<object>state)
        if kept is None:
            self.open = False
            return 0
        if not blocks.keep(self.raw + i * self.size):
            return 0
        self.states[i] = kept
        self.n += 1
        return 0

    cdef Py_ssize_t before(self, Py_ssize_t block, Py_ssize_t offset):
        """Return the offset of the last snapshot at or before `offset`, 0 where there is none."""
        cdef Py_ssize_t m = min(offset // self.every, self.per_block)
        while m > 0 and self.states[block * self.per_block + m - 1] is None:
            m -= 1
        return m * self.every

    cdef object restore(self, Py_ssize_t block, Py_ssize_t offset, uint64_t stream, BlockRng blocks):
        cdef Py_ssize_t i = block * self.per_block + offset // self.every - 1
        blocks.put_back(stream, self.raw + i * self.size)
        state = self.states[i]
        return state if type(state) in PLAIN else self.copy(state)


cdef extern from "Python.h":
    int PyFunction_Check(object)
    PyObject* PyFunction_GET_CODE(object)
    PyObject* PyFunction_GET_DEFAULTS(object)
    PyObject* PyFunction_GET_KW_DEFAULTS(object)
    PyObject* PyDict_GetItemWithError(object, object) except? NULL
    int PyCell_Check(object)
    PyObject* PyCell_GET(object)


cdef inline bint is_at(PyObject* found, object value) noexcept:
    """Whether `value` is what is found; None also where there is nothing."""
    return found == <PyObject*>value or (found == NULL and value is None)


cdef bint as_before(tuple guard) except -1:
    """As ``_as_before`` in ``core.py``."""
    cdef tuple item, parts
    try:
        for item in guard:
            place, key, value = item
            if type(place) is dict:
                if PyDict_GetItemWithError(place, key) != <PyObject*>value:
                    return False
            elif place is None:
                if (key.tobytes() if isinstance(key, np.ndarray) else key) != value:
                    return False
            elif key is not None:
                if place[key] is not value:
                    return False
            elif PyFunction_Check(place):
                parts = value
                if (
                    PyFunction_GET_CODE(place) != <PyObject*>parts[0]
                    or not is_at(PyFunction_GET_DEFAULTS(place), parts[1])
                    or not is_at(PyFunction_GET_KW_DEFAULTS(place), parts[2])
                ):
                    return False
            elif not PyCell_Check(place) or PyCell_GET(place) != <PyObject*>value:
                return False
    except Exception:  # a name that is gone, values that cannot be compared
        return False
    return True


cdef class Place:
    """Place(blocks, grid, stride, restored, codec, fields_of, bind, runs_itself, none_allowed, first=None, turn=None)
--

    As in ``core.py``."""

    cdef readonly BlockRng blocks
    cdef public Snapshots snapshots
    cdef public tuple guard
    cdef public Py_ssize_t t
    cdef readonly Py_ssize_t block
    cdef readonly Py_ssize_t stop
    cdef public object state
    cdef readonly object step_fn
    cdef object restored, codec, copy, bind, first, parked
    cdef Py_ssize_t n_steps, block_size, origin, stride
    cdef bint shares, runs_itself, none_allowed
    cdef Turn turn
    cdef unsigned long forks
    cdef object fields_of, kind
    cdef tuple fields

    def __init__(
        self,
        BlockRng blocks,
        grid,
        stride,
        restored,
        codec,
        fields_of,
        bind,
        runs_itself,
        none_allowed,
        first=None,
        Turn turn=None,
    ):
        self.blocks = blocks
        self.n_steps, self.block_size, self.origin, self.stride = grid.n_steps, grid.block_size, grid.origin, stride
        self.restored, self.codec, self.bind, self.first = restored, codec, bind, first
        self.copy, self.shares = codec.copy, codec.user is None
        self.runs_itself, self.none_allowed = runs_itself, none_allowed
        self.turn = Turn() if turn is None else turn
        self.forks = n_forks
        self.fields_of = fields_of
        self.t = self.block = self.stop = -1

    cdef Py_ssize_t block_of(self, Py_ssize_t t) noexcept:
        return (self.origin + t) // self.block_size - self.origin // self.block_size

    cdef Py_ssize_t base(self, Py_ssize_t block) noexcept:
        """As ``_base`` in ``core.py``."""
        return (self.origin // self.block_size + block) * self.block_size - self.origin

    cdef int stand(self, Py_ssize_t block) except -1:
        cdef Py_ssize_t base = self.base(block)
        self.block = block
        self.stop = self.n_steps if self.n_steps - base <= self.block_size else base + self.block_size
        self.step_fn = self.bind()
        return 0

    def enter(self, Py_ssize_t block, state):
        """As in ``core.py``."""
        self.t = -1
        self.blocks.start(self.origin // self.block_size + block)
        self.stand(block)
        self.state, self.parked = state, None
        if block == 0 and self.first is not None:
            self.first(self)  # until it returns there is no place to go on from
        self.t = max(self.base(block), 0)

    def restore(self, Py_ssize_t block):
        """As in ``core.py``."""
        cdef Py_ssize_t stored = block - block % self.stride
        self.t = -1
        if type(self.restored) is list:
            self.enter(stored, (<list>self.restored)[stored // self.stride])
        else:
            self.enter(stored, self.restored(stored // self.stride))
        while self.block < block:
            self.cross()

    def cross(self):
        """As in ``core.py``."""
        self.go(self.stop - self.t)
        self.enter(self.block + 1, self.codec.again(self.state))

    cdef object steps(self, state, Py_ssize_t n, Py_ssize_t t):
        if self.runs_itself:
            return self.step_fn.advance(state, self.blocks.rng, n, t)
        return run_on(self.step_fn, state, self.blocks.rng, n, t, self.none_allowed)

    def run(self, Py_ssize_t n):
        """As in ``core.py``."""
        self.go(n)

    cdef int go(self, Py_ssize_t n) except -1:
        cdef Py_ssize_t t = self.t, stop = t + n, base, piece
        state = self.state
        self.state, self.t = None, -1  # a step that raises leaves no place to go on from
        if self.snapshots is not None and self.snapshots.open and t >= 0:
            base = self.base(self.block)
            while True:
                piece = min(stop, base + self.snapshots.next_from(t - base))
                if piece == stop:
                    break
                state = self.steps(state, piece - t, t)
                t = piece
                self.snapshots.take(self.block, t - base, <PyObject*>state, self.fields_of, self.blocks)
        self.state = self.steps(state, stop - t, t)
        self.t = stop
        return 0

    def observe(self, names, metrics, values, Py_ssize_t n_states, Py_ssize_t n_steps):
        """As in ``core.py``."""
        cdef Py_ssize_t t = self.t, last = t + n_states, end = t + n_steps, piece, base
        cdef tuple labels = tuple(names), functions = tuple(metrics), targets = tuple(values)
        attributes = tuple([attribute_of(metric) for metric in functions])
        state, rng = self.state, self.blocks.rng
        step_fn = self.single if self.runs_itself else self.step_fn
        self.state, self.t = None, -1
        if self.snapshots is not None and self.snapshots.open and t >= 0:
            base = self.base(self.block)
            while True:
                piece = base + self.snapshots.next_from(t - base)
                if piece >= end:
                    break
                state = watch(
                    step_fn, state, rng, piece - t, piece - t, t, self.none_allowed, labels, functions, attributes,
                    targets,
                )
                t = piece
                self.snapshots.take(self.block, t - base, <PyObject*>state, self.fields_of, self.blocks)
        self.state = watch(
            step_fn, state, rng, last - t, end - t, t, self.none_allowed, labels, functions, attributes, targets
        )
        self.t = end

    def search(self, cond, Py_ssize_t n_states, Py_ssize_t n_steps):
        """As in ``core.py``."""
        cdef vectorcallfunc call, ask = way_to_call(cond)
        cdef PyObject* args[3]
        cdef Py_ssize_t t = self.t, last = t + n_states, end = t + n_steps
        cdef bint asking = False
        state, rng = self.state, self.blocks.rng
        step_fn = self.single if self.runs_itself else self.step_fn
        call = way_to_call(step_fn)
        args[0] = NULL
        args[2] = <PyObject*>rng
        self.state, self.t = None, -1
        try:
            while t < last:
                if t & SIGNAL_MASK == 0:
                    PyErr_CheckSignals()
                args[1] = <PyObject*>state
                asking = True
                found = ask(<PyObject*>cond, &args[1], 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)
                if found:
                    self.state, self.t = state, t
                    return t
                asking = False
                if t < end:
                    state = call(<PyObject*>step_fn, &args[1], 2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)
                    if state is None and not self.none_allowed:
                        break
                t += 1
            else:
                self.state, self.t = state, end
                return -1
        except Exception as error:
            if not asking:
                raise StepError(t, error) from error
            self.state, self.t = state, t
            raise ConditionError.raised(error, t) from error
        raise StepReturnError(t)

    def single(self, state, rng):
        """As in ``core.py``."""
        try:
            return self.step_fn.advance(state, rng, 1, 0)
        except StepError as error:
            cause = error.__cause__
        raise cause

    def seek(self, Py_ssize_t t):
        """As in ``core.py``."""
        self.travel(t)

    cdef int travel(self, Py_ssize_t t) except -1:
        cdef Py_ssize_t block, stored, base, offset
        if self.forks != n_forks:
            self.start_over()
        if self.parked is not None:
            self.unpark()
        if not 0 <= self.t <= t < self.stop or self.snapshots is not None:
            block = self.block_of(t)
            stored = block - block % self.stride
            if self.snapshots is not None:
                base = self.base(block)
                offset = self.snapshots.before(block, t - base)
                if offset and not (self.block == block and base + offset <= self.t <= t):
                    self.t = -1
                    self.stand(block)
                    self.state = self.snapshots.restore(
                        block, offset, self.origin // self.block_size + block, self.blocks
                    )
                    self.t = base + offset
            if self.t < 0 or t < self.t or self.block < stored:
                self.restore(stored)
            while self.block < block:
                self.cross()
        if t > self.t:
            self.go(t - self.t)
        return 0

    cdef int start_over(self) except -1:
        """As ``_start_over`` in ``core.py``."""
        self.forks = n_forks
        self.t, self.state, self.parked = -1, None, None
        self.blocks = BlockRng(self.blocks.seed, "python" if self.blocks.block_seed is None else "numpy")
        return 0

    def park(self):
        """As in ``core.py``."""
        cdef PyObject* state = <PyObject*>self.state
        if self.t < 0 or <object>Py_TYPE(self.state) in PLAIN:
            return
        if Py_REFCNT(state) > 1 or parts_held(state, self.fields_of, 0):
            try:
                self.parked = self.codec.encode(self.state)
            except Exception:  # what cannot be kept cannot be compared
                self.t = -1

    cdef int unpark(self) except -1:
        """As ``_unpark`` in ``core.py``."""
        parked, self.parked = self.parked, None
        if self.t >= 0 and not self.codec.same(parked, self.codec.encode(self.state)):
            self.t = -1
        return 0

    def get(self, t):
        """As in ``core.py``."""
        cdef Py_ssize_t step
        if type(t) is not int:
            return MISSING
        try:
            step = t
        except OverflowError:
            return MISSING
        if not 0 <= step < self.n_steps:
            return MISSING
        if step < self.t and self.snapshots is None and self.block_of(step) == self.block:
            return MISSING  # should another thread move it meanwhile, the way is longer, and as good
        if self.guard is not None and not as_before(self.guard):
            return MISSING
        if not self.turn.take():
            return MISSING
        try:
            if (
                0 <= self.t < step < self.stop
                and self.snapshots is None
                and self.parked is None
                and self.forks == n_forks
            ):  # one step after another: what most questions are
                self.go(step - self.t)
            else:
                self.travel(step)
            if self.shares:
                if type(self.state) in PLAIN:
                    return self.state
                if type(self.state) is not self.kind:
                    self.kind, self.fields = type(self.state), self.fields_of(type(self.state))
                if self.fields is not None:
                    copy = copied_record(self.state, self.fields)
                    if copy is not None:  # its parts are plain, and can only be changed through it
                        if Py_REFCNT(<PyObject*>self.state) > 1:
                            self.park()
                        return copy
            copy = self.copy(self.state)
            self.park()
            return copy
        finally:
            self.turn.leave()


# ---- the build


def rounds_twice(double a, double b, double c):
    """As in ``core.py``."""
    return a * b - c == 0.0
