# cython: language_level=3, binding=True, embedsignature=False
"""Compiled loops for native steps: the twin of ``native.py``, with the same names, order and bits.

A native step is a C function that changes a state where it lies (see ``include/rewind.h``). Python runs only at the
start and the end of a call: while steps run the GIL is free, and now and then a clock says whether to look for signals.
"""

from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_GET_SIZE
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals, PyErr_Occurred
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact, PyFloat_FromDouble
from cpython.long cimport PyLong_AsLongLongAndOverflow, PyLong_CheckExact
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.stdint cimport int64_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy
from numpy cimport (
    NPY_ARRAY_ALIGNED,
    NPY_ARRAY_C_CONTIGUOUS,
    NPY_ARRAY_F_CONTIGUOUS,
    NPY_ARRAY_WRITEABLE,
    PyArray_CheckExact,
    PyArray_CHKFLAGS,
    PyArray_DATA,
    PyArray_DESCR,
    PyArray_DIMS,
    PyArray_NDIM,
    dtype as Dtype,
    import_array,
    ndarray,
)
from numpy.random cimport bitgen_t

from .._core cimport BlockRng, Pcg64

import numpy as np

from .. import _core
from ..errors import ArgumentError, ArgumentTypeError, NativeStepError, StateError, StepError

__all__ = ["NativeLoop"]

import_array()


cdef extern from "Python.h":
    # Called where no exception can be raised: what they leave is raised by raised() when the steps have been left.
    int look_for_signals "PyErr_CheckSignals"()
    PyObject* call_method "PyObject_CallMethod"(PyObject*, const char*, const char*, ...)
    void Py_XDECREF(PyObject*)

cdef extern from "numpy/arrayobject.h":
    object PyArray_Scalar(void*, Dtype, PyObject*)
    void PyArray_ScalarAsCtype(object, void*)

cdef extern from *:
    """
    #include <math.h>
    #include <stdint.h>
    #include <string.h>
    #ifdef _WIN32
    #ifndef WIN32_LEAN_AND_MEAN
    #define WIN32_LEAN_AND_MEAN
    #endif
    #include <windows.h>
    static int64_t rewind_now(void) { return (int64_t)GetTickCount64(); }
    #else
    #include <time.h>
    #ifdef CLOCK_MONOTONIC_COARSE  /* a fifth of the price, and good to a few milliseconds */
    #define REWIND_CLOCK CLOCK_MONOTONIC_COARSE
    #else
    #define REWIND_CLOCK CLOCK_MONOTONIC
    #endif
    static int64_t rewind_now(void) {
        struct timespec now;
        if (clock_gettime(REWIND_CLOCK, &now) != 0) return 0;
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    }
    #endif

    static double rewind_half(uint16_t bits) {  /* IEEE 754 binary16 */
        double sign = bits >> 15 ? -1.0 : 1.0;
        int exponent = bits >> 10 & 31, fraction = bits & 1023;
        if (exponent == 31) return fraction ? (double)NAN : sign * (double)INFINITY;
        if (exponent == 0) return sign * ldexp(fraction, -24);
        return sign * ldexp(1024 + fraction, exponent - 25);
    }

    /* What lies at `state` as doubles. `place` says how far from there each number is, where they are not in order. */
    #define REWIND_CASE(code, type, value) \\
        case code: \\
            for (i = 0; i < n; i++) { \\
                type x; \\
                memcpy(&x, state + (place ? place[i] : i * (Py_ssize_t)sizeof(type)), sizeof(type)); \\
                out[i] = (double)(value); \\
            } \\
            break;
    static void rewind_numbers(int code, const char *state, const Py_ssize_t *place, Py_ssize_t n, double *out) {
        Py_ssize_t i;
        switch (code) {
            REWIND_CASE('d', double, x)
            REWIND_CASE('q', int64_t, x)
            REWIND_CASE('Q', uint64_t, x)
            REWIND_CASE('f', float, x)
            REWIND_CASE('i', int32_t, x)
            REWIND_CASE('I', uint32_t, x)
            REWIND_CASE('h', int16_t, x)
            REWIND_CASE('H', uint16_t, x)
            REWIND_CASE('b', int8_t, x)
            REWIND_CASE('B', uint8_t, x)
            REWIND_CASE('?', uint8_t, x != 0)
            REWIND_CASE('e', uint16_t, rewind_half(x))
        }
    }
    """
    int64_t now "rewind_now"() noexcept nogil  # milliseconds
    void numbers "rewind_numbers"(int, const char*, const Py_ssize_t*, Py_ssize_t, double*) noexcept nogil


ctypedef int (*Step)(void*, bitgen_t*, const void*) noexcept nogil
ctypedef int (*BlockStep)(void*, Py_ssize_t, bitgen_t*, const void*) noexcept nogil
ctypedef int (*ObservedSteps)(void*, Py_ssize_t, Py_ssize_t, bitgen_t*, const void*, double*) noexcept nogil

cdef enum Kind:
    FLOAT
    INT
    SCALAR
    ARRAY
    PACKED

cdef enum:
    SHORT = 16  # steps: to free the GIL and take it again takes longer than a few steps
    LOOK = 50  # milliseconds between looks for signals
    GIVE_UP = 500  # milliseconds after which a sweep leaves a block that is not its first
    FIRST_CHUNK = 256  # steps between looks at the clock, until it is known how long a step takes
    LAST_CHUNK = 1 << 24
    ANY = -1  # for a width
    NO_AXIS = -2

cdef union Number:
    double real
    int64_t whole
    char raw[32]


# Steps under way: what to call, and when to look up from it.
cdef struct Task:
    void* function
    bint per_block
    bitgen_t* bitgen
    const void* params
    Py_ssize_t chunk  # steps between looks at the clock
    int64_t looked  # when signals were last looked for
    int64_t give_up  # when to stop, 0 for never
    int code  # what the last call returned
    bint raised  # whether a signal handler raised


cdef inline Py_ssize_t go(Task* task, void* state, Py_ssize_t n) noexcept nogil:
    """Return how many of `n` steps were finished; ``task.code`` is not 0 where the next one failed."""
    # In locals, as the step may change anything in memory for all that the compiler knows.
    cdef Step step = <Step>task.function
    cdef bitgen_t* bitgen = task.bitgen
    cdef const void* params = task.params
    cdef Py_ssize_t i
    cdef int code
    if task.per_block:
        task.code = (<BlockStep>task.function)(state, n, bitgen, params)
        return finished(task.code, n)
    for i in range(n):
        code = step(state, bitgen, params)
        if code != 0:
            task.code = code
            return i
    return n


cdef inline Py_ssize_t finished(int code, Py_ssize_t n) noexcept nogil:
    """Return the number of steps a block function says it has finished, 0 where what it says cannot be."""
    if code == 0:
        return n
    return code - 1 if 0 < code <= n else 0


cdef bint looks_up(Task* task, int64_t* began) noexcept nogil:
    """Look at the clock between two chunks, and set the length of the next; return whether to stop."""
    cdef int64_t time = now(), took = time - began[0]
    began[0] = time
    if took < 3:
        task.chunk = min(4 * task.chunk, LAST_CHUNK)
    elif took > 30:
        task.chunk = max(task.chunk // 4, 1)
    if task.give_up != 0:
        return time > task.give_up
    if time - task.looked >= LOOK:
        task.looked = time
        with gil:
            if look_for_signals() != 0:
                task.raised = True
                return True
    return False


cdef Py_ssize_t run(Task* task, void* state, Py_ssize_t n) noexcept nogil:
    """Return how many of `n` steps were finished, less where one failed or the clock said to stop."""
    cdef Py_ssize_t done, some
    cdef int64_t began
    if n <= task.chunk:
        return go(task, state, n)
    done = 0
    began = now()
    while True:
        some = min(n - done, task.chunk)
        done += go(task, <char*>state, some)
        if task.code != 0 or done == n or looks_up(task, &began):
            return done


cdef int raised() except -1:
    """Raise what a signal handler left."""
    return -1


cdef object pending():
    """Return the exception a step left, which only one that takes the GIL can; None if there is none."""
    if PyErr_Occurred() == NULL:
        return None
    try:
        raised()
    except Exception as error:
        return error


cdef class Bound:
    """A generator with the address C functions draw from, and a way back to an earlier place in its stream."""

    cdef object rng
    cdef bitgen_t* bitgen
    cdef Pcg64* pcg  # NULL where the public state has to do

    def __cinit__(self, rng):
        cdef size_t start, address
        self.rng = rng
        self.pcg = NULL
        if not isinstance(rng, np.random.Generator):
            raise ArgumentTypeError(
                "rng", rng, "a numpy.random.Generator", "A native step runs with backend='numpy'"
            )
        bit_generator = rng.bit_generator
        self.bitgen = <bitgen_t*>PyCapsule_GetPointer(bit_generator.capsule, "BitGenerator")
        if type(bit_generator) is np.random.PCG64 and _core._pcg64_layout:
            start, address = <size_t><PyObject*>bit_generator, <size_t>self.bitgen.state
            if start <= address and address + sizeof(Pcg64) <= start + <size_t>np.random.PCG64.__basicsize__:
                self.pcg = <Pcg64*>self.bitgen.state

    cdef object place(self):
        """Return where the stream stands."""
        if self.pcg == NULL:
            return self.rng.bit_generator.state
        cdef Place place = Place.__new__(Place)
        memcpy(place.number, self.pcg.number, sizeof(place.number))
        place.rest = self.pcg[0]
        return place

    cdef int go_back(self, object place) except -1:
        if self.pcg == NULL:
            self.rng.bit_generator.state = place
        else:
            memcpy(self.pcg.number, (<Place>place).number, sizeof((<Place>place).number))
            self.pcg.has_uint32 = (<Place>place).rest.has_uint32
            self.pcg.uinteger = (<Place>place).rest.uinteger
        return 0


cdef class Place:
    cdef uint64_t number[4]
    cdef Pcg64 rest


cdef class NativeLoop:
    """NativeLoop(address, *, per_block, form, params, observed=0, keep=None, explain=None)
--

    As in ``native.py``."""

    cdef void* address
    cdef void* observed
    cdef bint per_block
    cdef object form
    cdef bytes params
    cdef const void* params_at
    cdef object keep, explain, pack, unpack
    cdef Dtype dtype
    cdef type scalar
    cdef bytes mask
    cdef const char* mask_at  # for each byte of an array element: 0 for padding, 2 for a bool, else 1
    cdef Py_ssize_t mask_size  # 0 where all are 1
    cdef Kind kind
    cdef Py_ssize_t itemsize
    cdef Py_ssize_t width
    cdef int code  # of the dtype of the numbers, 0 where there is no width
    cdef bytes places
    cdef const Py_ssize_t* places_at  # how far from its first byte each number of a state lies; NULL: in order
    cdef Py_ssize_t dims[32]
    cdef int ndim, flags
    cdef Bound bound  # the last generator met
    cdef Py_ssize_t chunk  # what the last call found

    def __cinit__(self, address, *, per_block, form, params, observed=0, keep=None, explain=None):
        self.address = <void*><size_t>address
        self.observed = <void*><size_t>observed
        if self.address == NULL:
            raise ValueError("the address of a step is 0")
        self.per_block = per_block
        self.form = form
        self.params = params
        self.params_at = <const void*>PyBytes_AS_STRING(self.params) if self.params else NULL
        self.keep = keep
        self.explain = explain
        self.bound = None
        self.chunk = FIRST_CHUNK
        self.itemsize = form.itemsize
        self.kind = {"float": FLOAT, "int": INT, "scalar": SCALAR, "array": ARRAY, "packed": PACKED}[form.kind]
        self.mask = b""
        self.code = {FLOAT: c"d", INT: c"q"}.get(self.kind, 0)
        self.width = 1 if self.code else 0
        self.places = b""
        if self.kind == PACKED:
            self.pack, self.unpack = form.pack, form.unpack
        elif self.kind == SCALAR or self.kind == ARRAY:
            self.dtype = form.dtype
            self.scalar = form.dtype.type
            self.mask = form.mask
            self.places = form.places
            self.width = form.width
            self.code = ord(form.code) if form.code else 0
            self.ndim = len(form.shape)
            for i, n in enumerate(form.shape):
                self.dims[i] = n
            self.flags = NPY_ARRAY_ALIGNED | NPY_ARRAY_WRITEABLE
            self.flags |= NPY_ARRAY_F_CONTIGUOUS if form.order == "F" else NPY_ARRAY_C_CONTIGUOUS
            if self.kind == SCALAR and self.itemsize > <Py_ssize_t>sizeof(Number):
                raise ValueError("a scalar of more than 32 bytes")

        self.mask_at = PyBytes_AS_STRING(self.mask)
        self.mask_size = len(self.mask)
        self.places_at = <const Py_ssize_t*>PyBytes_AS_STRING(self.places) if self.places else NULL

    # ---- states

    cdef object hold(self, object state, Number* number, char** place):
        """Point `place` to the bytes of `state` and return what owns them, None where that is `number`."""
        cdef int overflow = 0, i
        cdef ndarray array
        if self.kind == FLOAT:
            if PyFloat_CheckExact(state):
                number.real = PyFloat_AS_DOUBLE(state)
                place[0] = number.raw
                return None
        elif self.kind == INT:
            if PyLong_CheckExact(state):
                number.whole = PyLong_AsLongLongAndOverflow(state, &overflow)
                if overflow == 0:
                    place[0] = number.raw
                    return None
        elif self.kind == ARRAY:
            if PyArray_CheckExact(state):
                array = state
                if (
                    PyArray_CHKFLAGS(array, self.flags)
                    and PyArray_NDIM(array) == self.ndim
                    and (<PyObject*>PyArray_DESCR(array) == <PyObject*>self.dtype or array.dtype == self.dtype)
                ):
                    for i in range(self.ndim):
                        if PyArray_DIMS(array)[i] != self.dims[i]:
                            break
                    else:
                        place[0] = <char*>PyArray_DATA(array)
                        return array
        elif self.kind == SCALAR:
            if type(state) is self.scalar or (isinstance(state, np.generic) and state.dtype == self.dtype):
                PyArray_ScalarAsCtype(state, number.raw)
                place[0] = number.raw
                return None
        else:
            buffer = bytearray(self.itemsize)
            self.pack(state, buffer)
            if PyByteArray_GET_SIZE(buffer) != self.itemsize:
                raise ValueError("pack changed the size of its buffer")
            place[0] = PyByteArray_AS_STRING(buffer)
            return buffer
        raise self.misfit(state)

    cdef object misfit(self, object state):
        return StateError("", self.form.misfit(state), self.form.advice(state))

    cdef object release(self, object state, object owner, Number* number):
        """Return the state whose bytes `hold` pointed to."""
        if self.kind == FLOAT:
            return PyFloat_FromDouble(number.real)
        if self.kind == INT:
            return number.whole
        if self.kind == ARRAY:
            return state
        if self.kind == SCALAR:
            return PyArray_Scalar(number.raw, self.dtype, NULL)
        return self.unpack(owner)

    cdef void tidy(self, char* place) noexcept nogil:
        """Make the bytes at `place` those that come back from a checkpoint: no padding, and a bool is 0 or 1."""
        cdef Py_ssize_t i = 0, k
        if self.mask_size == 0:
            return
        while i < self.itemsize:
            for k in range(self.mask_size):
                if self.mask_at[k] == 0:
                    place[i] = 0
                elif self.mask_at[k] == 2:
                    place[i] = place[i] != 0
                i += 1

    cdef Bound bind(self, object rng):
        cdef Bound bound = self.bound
        if bound is None or bound.rng is not rng:
            self.bound = bound = Bound(rng)
        return bound

    cdef void open(self, Task* task, bitgen_t* bitgen) noexcept:
        task.function = self.address
        task.per_block = self.per_block
        task.bitgen = bitgen
        task.params = self.params_at
        task.chunk = self.chunk
        task.looked = 0
        task.give_up = 0
        task.code = 0
        task.raised = False

    # ---- running

    def advance(self, state, rng, Py_ssize_t n, Py_ssize_t t):
        """As in ``native.py``."""
        cdef Bound bound = self.bind(rng)
        cdef Task task
        cdef Number number
        cdef char* place
        cdef Py_ssize_t done
        owner = self.hold(state, &number, &place)
        before = None if self.explain is None else self.remember(place, bound)
        self.open(&task, bound.bitgen)
        PyErr_CheckSignals()
        if n < SHORT:
            done = go(&task, place, n)
        else:
            with nogil:
                done = run(&task, place, n)
            self.chunk = task.chunk
        if task.raised:
            raised()
        if task.code != 0:
            self.fail(state, bound, before, done, t, task.code)
        return self.release(state, owner, &number)

    def observe(self, state, rng, Py_ssize_t n_states, Py_ssize_t n_steps, Py_ssize_t t, out):
        """As in ``native.py``."""
        cdef Bound bound = self.bind(rng)
        cdef Task task
        cdef Number number
        cdef char* place
        cdef double* row
        cdef Py_ssize_t width, done = 0
        if not (n_steps == n_states or n_steps + 1 == n_states):
            raise ValueError("n_steps is neither n_states nor one less")
        row = <double*>table_at(out, np.float64, n_states, ANY, True)
        width = out.shape[1]
        if self.observed == NULL and (width != self.width or self.width == 0):
            raise ValueError("out is not as wide as a state has numbers")
        owner = self.hold(state, &number, &place)
        before = None if self.explain is None else self.remember(place, bound)
        self.open(&task, bound.bitgen)
        PyErr_CheckSignals()
        with nogil:
            if self.observed != NULL:
                done = self.run_observed(&task, place, n_states, n_steps, width, row)
            else:
                done = self.run_numbers(&task, place, n_states, n_steps, width, row)
        self.chunk = task.chunk
        if task.raised:
            raised()
        if task.code != 0:
            self.fail(state, bound, before, done, t, task.code)
        return self.release(state, owner, &number)

    cdef Py_ssize_t run_numbers(
        self,
        Task* task,
        char* place,
        Py_ssize_t n_states,
        Py_ssize_t n_steps,
        Py_ssize_t width,
        double* row,
    ) noexcept nogil:
        cdef Py_ssize_t i, until = task.chunk
        cdef int64_t began = 0
        if n_states > until:
            began = now()
        for i in range(n_states):
            if i == until:
                if looks_up(task, &began):
                    return i
                until += task.chunk
            if self.code == c"d" and width == 1:
                memcpy(row, place, sizeof(double))
            else:
                numbers(self.code, place, self.places_at, width, row)
            row += width
            if i < n_steps and go(task, place, 1) == 0:
                return i
        return n_steps

    cdef Py_ssize_t run_observed(
        self, Task* task, char* place, Py_ssize_t n_states, Py_ssize_t n_steps, Py_ssize_t width, double* row
    ) noexcept nogil:
        cdef Py_ssize_t some, steps, done = 0
        cdef int64_t began = now() if n_states > task.chunk else 0
        while done < n_states:
            some = min(n_states - done, task.chunk)
            steps = min(n_steps - done, some)
            task.code = (<ObservedSteps>self.observed)(
                place, some, steps, task.bitgen, task.params, row + done * width
            )
            if task.code < 0:
                return done - 1 - task.code if -task.code <= some else done
            done += finished(task.code, steps)
            if task.code != 0:
                return done
            if steps < some:
                break
            if done < n_states and looks_up(task, &began):
                break
        return done

    # ---- failures

    cdef tuple remember(self, char* place, Bound bound):
        """Return what is needed to come back here; only arrays are changed in place."""
        return (
            PyBytes_FromStringAndSize(place, self.itemsize) if self.kind == ARRAY else None,
            bound.place(),
        )

    cdef int fail(self, object state, Bound bound, tuple before, Py_ssize_t done, Py_ssize_t t, int code) except -1:
        """As ``_fail`` in ``native.py``."""
        cause = pending()
        if cause is None and before is not None:
            try:
                cause = self.explain(code, self.again(state, bound, before, done), bound.rng)
            except Exception as error:
                cause = error
        if cause is None:
            cause = NativeStepError(code)
        if code < 0 and self.observed != NULL and not isinstance(cause, NativeStepError):
            raise cause
        raise StepError(t + done, cause) from cause

    cdef object again(self, object state, Bound bound, tuple before, Py_ssize_t done):
        """As ``_again`` in ``native.py``."""
        cdef Task task
        cdef Number number
        cdef char* place
        owner = self.hold(state, &number, &place)
        if self.kind == ARRAY:
            memcpy(place, PyBytes_AS_STRING(before[0]), self.itemsize)
        bound.go_back(before[1])
        self.open(&task, bound.bitgen)
        with nogil:
            run(&task, place, done)
        if task.raised:
            raised()
        return self.release(state, owner, &number)

    # ---- whole blocks

    def sweep(
        self, state, BlockRng blocks, uint64_t stream, Py_ssize_t block_size, Py_ssize_t n_blocks, out
    ):
        """As in ``native.py``."""
        cdef Task task
        cdef Number number
        cdef char* place
        cdef char* rows = table_at(out, np.uint8, n_blocks, self.itemsize, True)
        cdef Py_ssize_t k = 0, done = block_size
        cdef int64_t began, time, last
        if blocks.bitgen == NULL:
            raise ArgumentError("backend", "python", "'numpy'", "A native step runs with backend='numpy'")
        owner = self.hold(state, &number, &place)
        first = PyBytes_FromStringAndSize(place, self.itemsize)
        self.open(&task, blocks.bitgen)
        PyErr_CheckSignals()
        with nogil:
            last = began = task.looked = now()
            while k < n_blocks:
                if not self.start(&task, blocks, stream + k):
                    done = 0
                    break
                done = run(&task, place, block_size)
                if done < block_size:
                    break
                self.tidy(place)
                memcpy(rows + k * self.itemsize, place, self.itemsize)
                k += 1
                time = now()
                if time - last > LOOK and task.chunk >= block_size:
                    task.chunk = max(block_size // 4, 1)
                if time - began >= LOOK:
                    break
                last = time
                task.give_up = began + GIVE_UP
        self.chunk = task.chunk
        if task.raised:
            raised()
        pending()
        if done < block_size:
            memcpy(place, rows + (k - 1) * self.itemsize if k else PyBytes_AS_STRING(first), self.itemsize)
        return k, self.release(state, owner, &number)

    def check(self, rows, BlockRng blocks, uint64_t stream, Py_ssize_t block_size, reaches, falses):
        """As in ``native.py``."""
        cdef Py_ssize_t m = len(reaches), k, found = -1
        cdef const char* table = table_at(rows, np.uint8, m + 1, self.itemsize, False)
        cdef const int64_t* reach = <const int64_t*>table_at(reaches, np.int64, m, NO_AXIS, False)
        cdef const int64_t* away = <const int64_t*>table_at(falses, np.int64, m, NO_AXIS, False)
        cdef Task task
        cdef char* live
        if blocks.bitgen == NULL:
            raise ArgumentError("backend", "python", "'numpy'", "A native step runs with backend='numpy'")
        for k in range(m):
            if not (0 <= reach[k] <= block_size and 0 <= away[k] <= block_size):
                raise ValueError("a place outside its block")
        self.open(&task, blocks.bitgen)
        PyErr_CheckSignals()
        live = <char*>malloc(2 * self.itemsize + 1)
        if live == NULL:
            raise MemoryError
        try:
            with nogil:
                task.looked = now()
                for k in range(m - 1, -1, -1):
                    if not self.reproduced(
                        &task, blocks, stream + k, table + k * self.itemsize, block_size, reach[k], away[k], live
                    ):
                        found = k
                        break
        finally:
            free(live)
        if task.raised:
            raised()
        pending()
        return found

    cdef bint reproduced(
        self,
        Task* task,
        BlockRng blocks,
        uint64_t stream,
        const char* row,
        Py_ssize_t block_size,
        Py_ssize_t reach,
        Py_ssize_t away,
        char* live,
    ) noexcept nogil:
        cdef char* inside = live + self.itemsize
        cdef int again
        for again in range(2):
            if again and not self.comes_to(task, blocks, stream, row, away, live):
                return False
            if not self.comes_to(task, blocks, stream, row, reach, live):
                return False
            if again:
                if memcmp_tidied(self, live, inside) != 0:
                    return False
            else:
                memcpy(inside, live, self.itemsize)
                self.tidy(inside)
            if run(task, live, block_size - reach) < block_size - reach:
                return False
            self.tidy(live)
            if memcmp(live, row + self.itemsize, self.itemsize) != 0:
                return False
        return True

    cdef bint comes_to(
        self, Task* task, BlockRng blocks, uint64_t stream, const char* row, Py_ssize_t n, char* live
    ) noexcept nogil:
        """Replay `n` steps from `row` into `live`; return whether none failed."""
        memcpy(live, row, self.itemsize)
        return self.start(task, blocks, stream) and run(task, live, n) == n

    cdef inline bint start(self, Task* task, BlockRng blocks, uint64_t stream) noexcept nogil:
        if not blocks.start_nogil(stream):
            with gil:
                task.raised = not started(blocks, stream)
        return not task.raised

    def trace(self, row, BlockRng blocks, uint64_t stream, Py_ssize_t n, Py_ssize_t room):
        """As in ``native.py``."""
        cdef const char* source = table_at(row, np.uint8, self.itemsize, NO_AXIS, False)
        cdef Py_ssize_t i, kept = min(n, room // max(self.itemsize, 1)), found = -1
        cdef Task task
        cdef char* live
        cdef char* states
        cdef int again
        if blocks.bitgen == NULL:
            raise ArgumentError("backend", "python", "'numpy'", "A native step runs with backend='numpy'")
        if kept <= 0:
            return -1
        self.open(&task, blocks.bitgen)
        PyErr_CheckSignals()
        live = <char*>malloc((kept + 1) * self.itemsize + 1)
        if live == NULL:
            raise MemoryError
        states = live + self.itemsize
        try:
            with nogil:
                task.looked = now()
                for again in range(3):
                    if again == 2 and not self.comes_to(&task, blocks, stream, source, 1, live):
                        found = 1
                        break
                    self.comes_to(&task, blocks, stream, source, 0, live)
                    for i in range(kept):
                        if go(&task, live, 1) == 0:
                            found = i + 1
                            break
                        if again == 0:
                            memcpy(states + i * self.itemsize, live, self.itemsize)
                            self.tidy(states + i * self.itemsize)
                        elif memcmp_tidied(self, live, states + i * self.itemsize) != 0:
                            found = i + 1
                            break
                        if i & 0xFF == 0xFF and now() - task.looked >= LOOK:
                            task.looked = now()
                            with gil:
                                if look_for_signals() != 0:
                                    task.raised = True
                            if task.raised:
                                break
                    if found >= 0 or task.raised:
                        break
        finally:
            free(live)
        if task.raised:
            raised()
        pending()
        return found


cdef int memcmp_tidied(NativeLoop loop, const char* live, const char* kept) noexcept nogil:
    """Compare a live state, which is not to be touched, with a tidy one."""
    cdef Py_ssize_t i = 0, k
    if loop.mask_size == 0:
        return memcmp(live, kept, loop.itemsize)
    while i < loop.itemsize:
        for k in range(loop.mask_size):
            if loop.mask_at[k] == 1 and live[i] != kept[i]:
                return 1
            if loop.mask_at[k] == 2 and (live[i] != 0) != kept[i]:
                return 1
            i += 1
    return 0


cdef bint started(BlockRng blocks, uint64_t stream) noexcept:
    """Point to a block the slow way; return whether that raised nothing."""
    cdef PyObject* rng = call_method(<PyObject*>blocks, "start", "K", <unsigned long long>stream)
    Py_XDECREF(rng)
    return rng != NULL


cdef char* table_at(object array, object dtype, Py_ssize_t n, Py_ssize_t width, bint written) except? NULL:
    """Return where the numbers of `array` lie; ValueError if it is not of this dtype, contiguous and (n, width)."""
    cdef int flags = NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_ALIGNED | (NPY_ARRAY_WRITEABLE if written else 0)
    cdef ndarray a
    if PyArray_CheckExact(array):
        a = array
        if (
            a.dtype == dtype
            and PyArray_CHKFLAGS(a, flags)
            and PyArray_NDIM(a) == (1 if width == NO_AXIS else 2)
            and PyArray_DIMS(a)[0] == n
            and (width < 0 or PyArray_DIMS(a)[1] == width)
        ):
            return <char*>PyArray_DATA(a)
    raise ValueError(f"expected a C-contiguous array of {np.dtype(dtype)}, {n} rows of the right width")
