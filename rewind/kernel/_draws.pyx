# cython: language_level=3, binding=True, embedsignature=False, boundscheck=False, wraparound=False, cdivision=True
"""Generators for step functions that answer plain calls without overhead: the twin of ``draws.py``.

A method is replaced by one in C that takes the plain calls, numbers in and a number out, and hands every other call
over to the inherited method, whose results and errors it then has. At import each replacement is compared with the
library that runs, and taken off again, alone, if a value, a type or the state after it differs.
"""

cimport numpy as cnp
from cpython.exc cimport PyErr_Clear
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.math cimport acos, exp, fmod, isinf, log, pow, signbit, sqrt
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy
from numpy.random cimport bitgen_t

import _random
import math
import os
import random
import sys

import numpy as np

__all__ = ["FastGenerator", "FastRandom", "accelerated"]

cnp.import_array()

cdef extern from "_draws.h" nogil:
    ctypedef struct Source "rewind_source":
        bitgen_t bitgen
        uint64_t* number
    ctypedef double (*Draw "rewind_draw")(bitgen_t*) noexcept
    ctypedef struct Ziggurat "rewind_ziggurat":
        pass
    int pcg_low "rewind_pcg_low"
    int fused "rewind_fused"
    Ziggurat normal_ziggurat "rewind_normal"
    Ziggurat exponential_ziggurat "rewind_exponential"
    void read_tables "rewind_read_tables"(Ziggurat*, Draw) noexcept
    uint64_t next_word "rewind_word"(Source*) noexcept
    double next_double "rewind_double"(Source*) noexcept
    double standard_normal "rewind_standard_normal"(Source*) noexcept
    double standard_exponential "rewind_standard_exponential"(Source*) noexcept
    double affine "rewind_affine"(double, double, double) noexcept
    void fill_random "rewind_fill_random"(Source*, Py_ssize_t, double*) noexcept
    void fill_normal "rewind_fill_normal"(Source*, Py_ssize_t, double*) noexcept
    void fill_exponential "rewind_fill_exponential"(Source*, Py_ssize_t, double*) noexcept
    void* loaded "rewind_loaded"(const char*, const char*) noexcept
    void* exported_by "rewind_exported"(void*, const char*) noexcept
    int bit_length "rewind_bit_length"(uint64_t) noexcept
    double call_sin "rewind_sin"(double) noexcept
    double call_cos "rewind_cos"(double) noexcept

# numpy's distributions, as linked from its static library. The ones the running numpy has itself are preferred.
cdef extern from "numpy/random/distributions.h" nogil:
    ctypedef struct binomial_t:
        pass
    double random_standard_normal(bitgen_t*) noexcept
    double random_standard_exponential(bitgen_t*) noexcept
    double random_standard_cauchy(bitgen_t*) noexcept
    double random_chisquare(bitgen_t*, double) noexcept
    double random_standard_t(bitgen_t*, double) noexcept
    double random_pareto(bitgen_t*, double) noexcept
    double random_weibull(bitgen_t*, double) noexcept
    double random_power(bitgen_t*, double) noexcept
    double random_rayleigh(bitgen_t*, double) noexcept
    double random_standard_gamma(bitgen_t*, double) noexcept
    double random_gamma(bitgen_t*, double, double) noexcept
    double random_beta(bitgen_t*, double, double) noexcept
    double random_f(bitgen_t*, double, double) noexcept
    double random_laplace(bitgen_t*, double, double) noexcept
    double random_gumbel(bitgen_t*, double, double) noexcept
    double random_logistic(bitgen_t*, double, double) noexcept
    double random_lognormal(bitgen_t*, double, double) noexcept
    double random_wald(bitgen_t*, double, double) noexcept
    double random_vonmises(bitgen_t*, double, double) noexcept
    double random_noncentral_chisquare(bitgen_t*, double, double) noexcept
    double random_noncentral_f(bitgen_t*, double, double, double) noexcept
    double random_triangular(bitgen_t*, double, double, double) noexcept
    int64_t random_poisson(bitgen_t*, double) noexcept
    int64_t random_geometric(bitgen_t*, double) noexcept
    int64_t random_zipf(bitgen_t*, double) noexcept
    int64_t random_logseries(bitgen_t*, double) noexcept
    int64_t random_negative_binomial(bitgen_t*, double, double) noexcept
    int64_t random_binomial(bitgen_t*, double, int64_t, binomial_t*) noexcept
    int64_t random_hypergeometric(bitgen_t*, int64_t, int64_t, int64_t) noexcept
    void random_bounded_uint64_fill(bitgen_t*, uint64_t, uint64_t, cnp.npy_intp, bint, uint64_t*) noexcept

ctypedef double (*Real0)(bitgen_t*) noexcept nogil
ctypedef double (*Real1)(bitgen_t*, double) noexcept nogil
ctypedef double (*Real2)(bitgen_t*, double, double) noexcept nogil
ctypedef double (*Real3)(bitgen_t*, double, double, double) noexcept nogil
ctypedef int64_t (*Whole1)(bitgen_t*, double) noexcept nogil
ctypedef int64_t (*Whole2)(bitgen_t*, double, double) noexcept nogil
ctypedef int64_t (*Binomial)(bitgen_t*, double, int64_t, binomial_t*) noexcept nogil
ctypedef int64_t (*Hypergeometric)(bitgen_t*, int64_t, int64_t, int64_t) noexcept nogil
ctypedef void (*Bounded)(bitgen_t*, uint64_t, uint64_t, cnp.npy_intp, bint, uint64_t*) noexcept nogil
ctypedef void (*Fill)(Source*, Py_ssize_t, double*) noexcept nogil

cdef extern from *:
    """
    #include <structmember.h>
    #include <numpy/arrayscalars.h>

    #define REWIND_NEW_METHOD(type, definition) PyDescr_NewMethod((PyTypeObject *)(type), (definition))

    static Py_ssize_t rewind_slot_offset(PyObject *member) {
        return ((PyMemberDescrObject *)member)->d_member->offset;
    }
    static PyObject *rewind_new_int64(int64_t value) {
        PyObject *scalar = PyInt64ArrType_Type.tp_alloc(&PyInt64ArrType_Type, 0);
        if (scalar != NULL)
            ((PyInt64ScalarObject *)scalar)->obval = value;
        return scalar;
    }
    static int64_t rewind_int64_value(PyObject *scalar) { return ((PyInt64ScalarObject *)scalar)->obval; }
    """
    ctypedef PyObject* (*PyCFunction)(PyObject*, PyObject*)
    ctypedef struct PyTypeObject:
        pass
    ctypedef struct PyMethodDef:
        const char* ml_name
        PyCFunction ml_meth
        int ml_flags
        const char* ml_doc
    int METH_FASTCALL, METH_KEYWORDS, METH_NOARGS, METH_O
    object new_method "REWIND_NEW_METHOD"(object, PyMethodDef*)
    Py_ssize_t slot_offset "rewind_slot_offset"(object)
    PyObject* new_int64 "rewind_new_int64"(int64_t)
    int64_t int64_value "rewind_int64_value"(PyObject*)
    PyTypeObject PyFloat_Type, PyLong_Type, PyList_Type, PyTuple_Type, PyRange_Type, PyUnicode_Type
    PyTypeObject PyArray_Type, PyInt64ArrType_Type, PyDoubleArrType_Type
    PyTypeObject* Py_TYPE(PyObject*)
    PyObject* None_ "Py_None"
    PyObject* True_ "Py_True"
    PyObject* False_ "Py_False"
    void Py_INCREF(PyObject*)
    void Py_DECREF(PyObject*)
    void Py_XDECREF(PyObject*)
    PyObject* PyFloat_FromDouble(double)
    double PyFloat_AS_DOUBLE(PyObject*)
    PyObject* PyLong_FromLongLong(long long)
    PyObject* PyLong_FromUnsignedLongLong(unsigned long long)
    long long PyLong_AsLongLongAndOverflow(PyObject*, int*)
    Py_ssize_t PyTuple_GET_SIZE(PyObject*)
    PyObject* PyTuple_GET_ITEM(PyObject*, Py_ssize_t)
    Py_ssize_t PyList_GET_SIZE(PyObject*)
    PyObject* PyList_GET_ITEM(PyObject*, Py_ssize_t)
    Py_ssize_t PyObject_Size(PyObject*)
    PyObject* PyObject_GetItem(PyObject*, PyObject*)
    PyObject* PyObject_CallOneArg(PyObject*, PyObject*)
    PyObject* PyNumber_Power(PyObject*, PyObject*, PyObject*)
    PyObject* PyObject_Vectorcall(PyObject*, PyObject**, size_t, PyObject*)
    PyObject* PyErr_NoMemory()
    void PyList_SET_ITEM(PyObject*, Py_ssize_t, PyObject*)

cdef extern from *:
    """
    #define REWIND_NDIM(array) PyArray_NDIM((PyArrayObject *)(array))
    #define REWIND_TYPE(array) PyArray_TYPE((PyArrayObject *)(array))
    #define REWIND_SIZE(array) PyArray_SIZE((PyArrayObject *)(array))
    #define REWIND_DATA(array) PyArray_DATA((PyArrayObject *)(array))
    #define REWIND_DIM(array, k) PyArray_DIM((PyArrayObject *)(array), k)
    #define REWIND_STRIDE(array, k) PyArray_STRIDE((PyArrayObject *)(array), k)
    #define REWIND_IS_PLAIN(array) PyArray_ISCARRAY((PyArrayObject *)(array))
    #define REWIND_IS_NATIVE(array) PyArray_ISNOTSWAPPED((PyArrayObject *)(array))
    #define REWIND_ITEM(data, array) PyArray_ToScalar(data, (PyArrayObject *)(array))
    """
    PyObject* PyArray_SimpleNew(int, cnp.npy_intp*, int)
    PyObject* PyArray_FROM_O(PyObject*)
    PyObject* PyArray_ToScalar "REWIND_ITEM"(void*, PyObject*)
    int PyArray_NDIM "REWIND_NDIM"(PyObject*)
    int PyArray_TYPE "REWIND_TYPE"(PyObject*)
    bint PyArray_ISCARRAY "REWIND_IS_PLAIN"(PyObject*)
    bint PyArray_ISNOTSWAPPED "REWIND_IS_NATIVE"(PyObject*)
    cnp.npy_intp PyArray_SIZE "REWIND_SIZE"(PyObject*)
    cnp.npy_intp PyArray_DIM "REWIND_DIM"(PyObject*, int)
    cnp.npy_intp PyArray_STRIDE "REWIND_STRIDE"(PyObject*, int)
    void* PyArray_DATA "REWIND_DATA"(PyObject*)


# ---- what a replaced method knows

cdef enum:
    N_NAMES = 6
    MAX_DIMS = 8
    MANY = 1 << 16  # numbers: from here on other threads may run while an array is filled

cdef enum:  # the methods of FastGenerator, then those of FastRandom
    RANDOM, STANDARD_NORMAL, STANDARD_EXPONENTIAL, NORMAL, UNIFORM, EXPONENTIAL, INTEGERS, CHOICE
    STANDARD_CAUCHY, CHISQUARE, STANDARD_T, PARETO, WEIBULL, POWER, RAYLEIGH, STANDARD_GAMMA, GAMMA, BETA, F
    LAPLACE, GUMBEL, LOGISTIC, LOGNORMAL, WALD, VONMISES, NONCENTRAL_CHISQUARE, NONCENTRAL_F, TRIANGULAR
    POISSON, GEOMETRIC, ZIPF, LOGSERIES, NEGATIVE_BINOMIAL, BINOMIAL, HYPERGEOMETRIC
    PY_RANDOM, PY_GETRANDBITS, PY_RANDBELOW, PY_UNIFORM, PY_TRIANGULAR, PY_NORMALVARIATE, PY_GAUSS
    PY_LOGNORMVARIATE, PY_EXPOVARIATE, PY_VONMISESVARIATE, PY_GAMMAVARIATE, PY_BETAVARIATE, PY_PARETOVARIATE
    PY_WEIBULLVARIATE, PY_RANDRANGE, PY_RANDINT, PY_CHOICE, PY_SHUFFLE
    N_METHODS

cdef struct Method:
    PyObject* inherited
    void* draw  # numpy's distribution
    int n_names  # parameters, in the order of the signature
    int n_required
    int n_numbers  # how many of them, from the first, are floating-point numbers
    PyObject* name[N_NAMES]  # interned
    double default[3]
    double low[3]  # the numbers that are taken here: low <= x <= high, and not -0.0
    double high[3]

cdef Method[N_METHODS] methods
cdef PyMethodDef[N_METHODS] definitions


cdef PyObject* inherited(Method* method, PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    """Hand the call over."""
    cdef PyObject* few[12]
    cdef PyObject** all_args = few
    cdef PyObject* result
    cdef Py_ssize_t n_all = n + (PyTuple_GET_SIZE(kw) if kw != NULL else 0)
    if n_all >= 12:
        all_args = <PyObject**>PyMem_Malloc((n_all + 1) * sizeof(void*))
        if all_args == NULL:
            return PyErr_NoMemory()
    all_args[0] = self
    memcpy(&all_args[1], args, n_all * sizeof(void*))
    result = PyObject_Vectorcall(method.inherited, all_args, n + 1, kw)
    if all_args != few:
        PyMem_Free(all_args)
    return result


cdef bint bind(const Method* method, PyObject** args, Py_ssize_t n, PyObject* kw, PyObject** slot) noexcept:
    """Put the arguments into the places of the parameters; False where a call is not plain, or wrong."""
    cdef Py_ssize_t i, k
    cdef PyObject* key
    if n > method.n_names:
        return False
    for i in range(n):
        slot[i] = args[i]
    for i in range(n, method.n_names):
        slot[i] = NULL
    if kw != NULL:
        for k in range(PyTuple_GET_SIZE(kw)):
            key = PyTuple_GET_ITEM(kw, k)
            for i in range(n, method.n_names):
                if method.name[i] == key:
                    if slot[i] != NULL:
                        return False
                    slot[i] = args[n + k]
                    break
            else:
                return False
    for i in range(method.n_required):
        if slot[i] == NULL:
            return False
    return True


cdef inline bint given(PyObject* slot) noexcept:
    return slot != NULL and slot != None_


cdef inline bint small_int(PyObject* number, int64_t limit, int64_t* value) noexcept:
    """Whether `number` is a plain int of at most `limit` in size."""
    cdef int overflow
    if Py_TYPE(number) != &PyLong_Type:
        return False
    value[0] = PyLong_AsLongLongAndOverflow(number, &overflow)
    return overflow == 0 and -limit <= value[0] <= limit


cdef inline bint is_real(PyObject* number, double* x) noexcept:
    cdef int64_t value
    if Py_TYPE(number) == &PyFloat_Type:
        x[0] = PyFloat_AS_DOUBLE(number)
        return True
    if small_int(number, <int64_t>1 << 52, &value):
        x[0] = <double>value
        return True
    return False


cdef inline bint is_number(PyObject* number, double* x) noexcept:
    """As is_real, for numpy, which makes doubles of its own scalars too."""
    cdef int64_t value
    if Py_TYPE(number) == &PyDoubleArrType_Type:
        x[0] = PyFloat_AS_DOUBLE(number)
        return True
    if Py_TYPE(number) == &PyInt64ArrType_Type:
        value = int64_value(number)
        x[0] = <double>value
        return -(<int64_t>1 << 52) <= value <= (<int64_t>1 << 52)
    return is_real(number, x)


cdef inline bint takes(const Method* method, int i, double x) noexcept:
    return method.low[i] <= x <= method.high[i] and not (x == 0.0 and signbit(x))


cdef inline bint numbers(const Method* method, PyObject** slot, Py_ssize_t n, double* x) noexcept:
    """Read the floating-point parameters from `n` slots."""
    cdef int i
    for i in range(method.n_numbers):
        if i >= n or slot[i] == NULL:
            x[i] = method.default[i]
        elif not is_number(slot[i], &x[i]) or not takes(method, i, x[i]):
            return False
    return True


cdef inline bint plain(const Method* method, PyObject** args, Py_ssize_t n, PyObject* kw, double* x) noexcept:
    """Whether numbers go in and one number comes out: no size, nothing else."""
    cdef PyObject* slot[N_NAMES]
    cdef int i
    if kw == NULL and method.n_required <= n <= method.n_numbers:
        return numbers(method, args, n, x)
    if not bind(method, args, n, kw, slot):
        return False
    for i in range(method.n_numbers, method.n_names):
        if slot[i] != NULL and (i > method.n_numbers or slot[i] != None_):
            return False
    return numbers(method, slot, method.n_names, x)


# ---- FastGenerator: where it draws from


cdef class Bound:
    """What a FastGenerator keeps in its one slot."""

    cdef Source source
    cdef object bit_generator  # kept alive
    cdef object lock

    def __cinit__(self, bit_generator):
        cdef bitgen_t* bitgen = <bitgen_t*>PyCapsule_GetPointer(bit_generator.capsule, "BitGenerator")
        self.source.bitgen = bitgen[0]
        self.source.number = NULL
        self.bit_generator = bit_generator
        self.lock = bit_generator.lock
        if pcg64_word != NULL and type(bit_generator) is PCG64 and bitgen.next_uint64 == pcg64_word:
            self.source.number = (<Pcg64*>bitgen.state).number


cdef Py_ssize_t bound_offset = 0


cdef inline Source* source_of(PyObject* self) noexcept:
    """Return where a FastGenerator draws from, NULL if its ``__init__`` has not run."""
    cdef PyObject* bound = (<PyObject**>(<char*>self + bound_offset))[0]
    return &(<Bound>bound).source if bound != NULL else NULL


# What ``bitgen_t.state`` of a PCG64 points to: private to numpy, so the numpy that runs is looked at.
cdef struct Pcg64:
    uint64_t* number  # state, then increment
    int has_uint32
    uint32_t uinteger

ctypedef uint64_t (*NextWord)(void*) noexcept nogil
cdef NextWord pcg64_word = NULL
cdef object PCG64 = np.random.PCG64


cdef bint lies_in(object owner, size_t address, size_t size):
    cdef size_t start = <size_t><PyObject*>owner
    cdef size_t stop = start + <size_t>type(owner).__basicsize__
    return address % sizeof(uint64_t) == 0 and start <= address and address + size <= stop


cdef NextWord find_pcg64(make) except? NULL:
    """Return numpy's function for the next word of such a PCG64, NULL unless its words can be drawn here as well."""
    cdef Bound bound
    cdef bitgen_t* bitgen
    cdef Pcg64* pcg
    cdef uint64_t mask = <uint64_t>-1
    cdef int before = pcg_low
    global pcg_low
    try:
        mine, theirs = make(20240229), make(20240229)
        bound = Bound(mine)
        bitgen = &bound.source.bitgen
        pcg = <Pcg64*>bitgen.state
        if not lies_in(mine, <size_t>pcg, sizeof(Pcg64)) or not lies_in(mine, <size_t>pcg.number, 32):
            return NULL
        public = mine.state["state"]
        halves = [public["state"] & mask, public["state"] >> 64, public["inc"] & mask, public["inc"] >> 64]
        seen = [pcg.number[0], pcg.number[1], pcg.number[2], pcg.number[3]]
        if seen != halves and seen != [halves[1], halves[0], halves[3], halves[2]]:
            return NULL
        pcg_low = seen != halves
        bound.source.number = pcg.number
        drawn = [next_word(&bound.source) for _ in range(100)]
        if drawn != theirs.random_raw(100).tolist() or mine.state != theirs.state:
            pcg_low = before
            return NULL
        return bitgen.next_uint64
    except Exception:  # whatever this numpy lacks, there are its function pointers
        return NULL


# ---- FastGenerator: numbers


cdef PyObject* real(Method* method, PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    """Draw a float from a distribution of numpy's."""
    cdef Source* source = source_of(self)
    cdef double x[3]
    cdef double value
    if source == NULL or not plain(method, args, n, kw, x):
        return inherited(method, self, args, n, kw)
    if method.n_numbers == 1:
        value = (<Real1>method.draw)(&source.bitgen, x[0])
    elif method.n_numbers == 2:
        value = (<Real2>method.draw)(&source.bitgen, x[0], x[1])
    elif method.n_numbers == 3:
        value = (<Real3>method.draw)(&source.bitgen, x[0], x[1], x[2])
    else:
        value = (<Real0>method.draw)(&source.bitgen)
    return PyFloat_FromDouble(value)


cdef PyObject* whole(Method* method, PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    """Draw an int from a distribution of numpy's."""
    cdef Source* source = source_of(self)
    cdef double x[3]
    if source == NULL or not plain(method, args, n, kw, x):
        return inherited(method, self, args, n, kw)
    if method.n_numbers == 1:
        return PyLong_FromLongLong((<Whole1>method.draw)(&source.bitgen, x[0]))
    return PyLong_FromLongLong((<Whole2>method.draw)(&source.bitgen, x[0], x[1]))


cdef PyObject* g_standard_cauchy(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    return real(&methods[STANDARD_CAUCHY], self, args, n, kw)


cdef PyObject* g_chisquare(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    return real(&methods[CHISQUARE], self, args, n, kw)


cdef PyObject* g_standard_t(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    return real(&methods[STANDARD_T], self, args, n, kw)


cdef PyObject* g_pareto(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    return real(&methods[PARETO], self, args, n, kw)


cdef PyObject* g_weibull(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    return real(&methods[WEIBULL], self, args, n, kw)


cdef PyObject* g_power(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    return real(&methods[POWER], self, args, n, kw)


cdef PyObject* g_rayleigh(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    return real(&methods[RAYLEIGH], self, args, n, kw)


cdef PyObject* g_standard_gamma(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    return real(&methods[STANDARD_GAMMA], self, args, n, kw)


cdef PyObject* g_gamma(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    return real(&methods[GAMMA], self, args, n, kw)


cdef PyObject* g_beta(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    return real(&methods[BETA], self, args, n, kw)


cdef PyObject* g_f(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    return real(&methods[F], self, args, n, kw)


cdef PyObject* g_laplace(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    return real(&methods[LAPLACE], self, args, n, kw)


cdef PyObject* g_gumbel(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    return real(&methods[GUMBEL], self, args, n, kw)


cdef PyObject* g_logistic(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    return real(&methods[LOGISTIC], self, args, n, kw)


cdef PyObject* g_lognormal(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    return real(&methods[LOGNORMAL], self, args, n, kw)


cdef PyObject* g_wald(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    return real(&methods[WALD], self, args, n, kw)


cdef PyObject* g_vonmises(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    return real(&methods[VONMISES], self, args, n, kw)


cdef PyObject* g_noncentral_chisquare(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    return real(&methods[NONCENTRAL_CHISQUARE], self, args, n, kw)


cdef PyObject* g_noncentral_f(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    return real(&methods[NONCENTRAL_F], self, args, n, kw)


cdef PyObject* g_poisson(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    return whole(&methods[POISSON], self, args, n, kw)


cdef PyObject* g_geometric(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    return whole(&methods[GEOMETRIC], self, args, n, kw)


cdef PyObject* g_zipf(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    return whole(&methods[ZIPF], self, args, n, kw)


cdef PyObject* g_logseries(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    return whole(&methods[LOGSERIES], self, args, n, kw)


cdef PyObject* g_triangular(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    cdef Method* method = &methods[TRIANGULAR]
    cdef Source* source = source_of(self)
    cdef double x[3]
    if source == NULL or not plain(method, args, n, kw, x) or not (x[0] <= x[1] <= x[2] and x[0] < x[2]):
        return inherited(method, self, args, n, kw)
    return PyFloat_FromDouble((<Real3>method.draw)(&source.bitgen, x[0], x[1], x[2]))


cdef PyObject* g_negative_binomial(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    return whole(&methods[NEGATIVE_BINOMIAL], self, args, n, kw)


cdef binomial_t binomial_setup  # what numpy keeps from one call to the next, a function of n and p


cdef PyObject* g_binomial(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    cdef Method* method = &methods[BINOMIAL]
    cdef Source* source = source_of(self)
    cdef PyObject* slot[N_NAMES]
    cdef int64_t trials
    cdef double p
    if source == NULL or not bind(method, args, n, kw, slot) or given(slot[2]):
        return inherited(method, self, args, n, kw)
    if not count(slot[0], &trials) or not is_number(slot[1], &p) or not 0.0 <= p <= 1.0 or (p == 0.0 and signbit(p)):
        return inherited(method, self, args, n, kw)
    return PyLong_FromLongLong((<Binomial>method.draw)(&source.bitgen, p, trials, &binomial_setup))


cdef PyObject* g_hypergeometric(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    cdef Method* method = &methods[HYPERGEOMETRIC]
    cdef Source* source = source_of(self)
    cdef PyObject* slot[N_NAMES]
    cdef int64_t good, bad, sample
    if source == NULL or not bind(method, args, n, kw, slot) or given(slot[3]):
        return inherited(method, self, args, n, kw)
    if not (count(slot[0], &good) and count(slot[1], &bad) and count(slot[2], &sample)):
        return inherited(method, self, args, n, kw)
    if good + bad >= 1000000000 or sample > good + bad:
        return inherited(method, self, args, n, kw)
    return PyLong_FromLongLong((<Hypergeometric>method.draw)(&source.bitgen, good, bad, sample))


cdef inline bint is_integer(PyObject* number, int64_t* value) noexcept:
    cdef int overflow
    if Py_TYPE(number) == &PyLong_Type:
        value[0] = PyLong_AsLongLongAndOverflow(number, &overflow)
        return overflow == 0
    if Py_TYPE(number) == &PyInt64ArrType_Type:
        value[0] = int64_value(number)
        return True
    return False


cdef inline bint count(PyObject* number, int64_t* value) noexcept:
    return is_integer(number, value) and 0 <= value[0] <= 0x7FFFFFFF  # what a C long holds everywhere


# ---- FastGenerator: numbers and arrays


cdef PyObject* new_array(PyObject* size, int typenum) noexcept:
    """Return ``numpy.empty(size)`` for a plain size; else NULL, with no error set."""
    cdef cnp.npy_intp shape[MAX_DIMS]
    cdef int64_t length
    cdef Py_ssize_t i, ndim = 1
    cdef PyObject* array
    if Py_TYPE(size) == &PyTuple_Type:
        ndim = PyTuple_GET_SIZE(size)
        if ndim > MAX_DIMS:
            return NULL
    for i in range(ndim):
        if not is_integer(PyTuple_GET_ITEM(size, i) if Py_TYPE(size) == &PyTuple_Type else size, &length):
            return NULL
        if not 0 <= length <= <int64_t>(<size_t>-1 >> 1):
            return NULL
        shape[i] = <cnp.npy_intp>length
    array = PyArray_SimpleNew(<int>ndim, shape, typenum)
    if array == NULL:
        PyErr_Clear()  # numpy will say what is wrong
    return array


cdef int fill_array(PyObject* self, PyObject* array, Fill fill) except -1:
    cdef Py_ssize_t n = PyArray_SIZE(array)
    cdef double* data = <double*>PyArray_DATA(array)
    cdef Bound bound
    if n < MANY:
        fill(source_of(self), n, data)
        return 0
    bound = <Bound>(<PyObject**>(<char*>self + bound_offset))[0]
    with bound.lock:
        with nogil:
            fill(&bound.source, n, data)
    return 0


cdef PyObject* standard(
    Method* method, PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw, Fill fill
) except NULL:
    """Fill an array from a distribution without parameters: size and out."""
    cdef PyObject* slot[N_NAMES]
    cdef PyObject* out
    cdef int i
    cdef double x
    if source_of(self) == NULL or not bind(method, args, n, kw, slot):
        return inherited(method, self, args, n, kw)
    if slot[1] != NULL and slot[1] != <PyObject*>&PyDoubleArrType_Type:  # dtype
        return inherited(method, self, args, n, kw)
    for i in range(2, method.n_names - 1):
        if slot[i] != NULL:
            return inherited(method, self, args, n, kw)
    out = slot[method.n_names - 1]
    if given(out):
        if given(slot[0]) or Py_TYPE(out) != &PyArray_Type or PyArray_TYPE(out) != cnp.NPY_DOUBLE:
            return inherited(method, self, args, n, kw)
        if not PyArray_ISCARRAY(out):
            return inherited(method, self, args, n, kw)
        Py_INCREF(out)
    elif given(slot[0]):
        out = new_array(slot[0], cnp.NPY_DOUBLE)
        if out == NULL:
            return inherited(method, self, args, n, kw)
    else:
        fill(source_of(self), 1, &x)
        return PyFloat_FromDouble(x)
    try:
        fill_array(self, out, fill)
    except:
        Py_DECREF(out)
        raise
    return out


cdef PyObject* g_random(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) except NULL:
    cdef Source* source = source_of(self)
    if n == 0 and kw == NULL and source != NULL:
        return PyFloat_FromDouble(next_double(source))
    return standard(&methods[RANDOM], self, args, n, kw, fill_random)


cdef PyObject* g_standard_normal(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) except NULL:
    cdef Source* source = source_of(self)
    if n == 0 and kw == NULL and source != NULL:
        return PyFloat_FromDouble(standard_normal(source))
    return standard(&methods[STANDARD_NORMAL], self, args, n, kw, fill_normal)


cdef PyObject* g_standard_exponential(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) except NULL:
    cdef Source* source = source_of(self)
    if n == 0 and kw == NULL and source != NULL:
        return PyFloat_FromDouble(standard_exponential(source))
    return standard(&methods[STANDARD_EXPONENTIAL], self, args, n, kw, fill_exponential)


cdef PyObject* filled(
    Method* method, PyObject* self, PyObject* size, Fill fill, double loc, double scale
) except? NULL:
    """Return an array of ``loc + scale * x``; NULL, with no error set, for a size that is not plain."""
    cdef PyObject* array = new_array(size, cnp.NPY_DOUBLE)
    cdef double* data
    cdef Py_ssize_t i
    if array == NULL:
        return NULL
    try:
        fill_array(self, array, fill)
    except:
        Py_DECREF(array)
        raise
    data = <double*>PyArray_DATA(array)
    if fill == fill_exponential:
        for i in range(PyArray_SIZE(array)):
            data[i] = scale * data[i]
    else:
        for i in range(PyArray_SIZE(array)):
            data[i] = affine(loc, scale, data[i])
    return array


cdef PyObject* sized(
    Method* method, PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw, Fill fill
) except NULL:
    """Draw an array from a distribution with parameters."""
    cdef PyObject* slot[N_NAMES]
    cdef double x[3]
    cdef PyObject* array
    cdef double scale
    if source_of(self) == NULL or not bind(method, args, n, kw, slot) or not given(slot[method.n_numbers]):
        return inherited(method, self, args, n, kw)
    if not numbers(method, slot, method.n_names, x) or (fill == fill_random and x[1] < x[0]):
        return inherited(method, self, args, n, kw)
    if fill == fill_exponential:
        array = filled(method, self, slot[1], fill, 0.0, x[0])
    else:
        array = filled(method, self, slot[2], fill, x[0], x[1] - x[0] if fill == fill_random else x[1])
    return array if array != NULL else inherited(method, self, args, n, kw)


cdef PyObject* g_normal(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) except NULL:
    cdef Method* method = &methods[NORMAL]
    cdef Source* source = source_of(self)
    cdef double x[3]
    if source != NULL and plain(method, args, n, kw, x):
        return PyFloat_FromDouble(affine(x[0], x[1], standard_normal(source)))
    return sized(method, self, args, n, kw, fill_normal)


cdef PyObject* g_uniform(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) except NULL:
    cdef Method* method = &methods[UNIFORM]
    cdef Source* source = source_of(self)
    cdef double x[3]
    if source != NULL and plain(method, args, n, kw, x) and x[0] <= x[1]:
        return PyFloat_FromDouble(affine(x[0], x[1] - x[0], next_double(source)))
    return sized(method, self, args, n, kw, fill_random)


cdef PyObject* g_exponential(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) except NULL:
    cdef Method* method = &methods[EXPONENTIAL]
    cdef Source* source = source_of(self)
    cdef double x[3]
    if source != NULL and plain(method, args, n, kw, x):
        return PyFloat_FromDouble(x[0] * standard_exponential(source))
    return sized(method, self, args, n, kw, fill_exponential)


# ---- FastGenerator: integers and choice


cdef PyObject* g_integers(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    cdef Method* method = &methods[INTEGERS]
    cdef Source* source = source_of(self)
    cdef PyObject* slot[N_NAMES]  # low, high, size, dtype, endpoint
    cdef PyObject* array
    cdef int64_t low, high
    cdef uint64_t drawn
    if source == NULL or not bind(method, args, n, kw, slot):
        return inherited(method, self, args, n, kw)
    if slot[3] != NULL and slot[3] != <PyObject*>&PyInt64ArrType_Type:
        return inherited(method, self, args, n, kw)
    if not is_integer(slot[0], &low):
        return inherited(method, self, args, n, kw)
    if not given(slot[1]):
        low, high = 0, low
    elif not is_integer(slot[1], &high):
        return inherited(method, self, args, n, kw)
    if slot[4] == True_:
        if high < low:
            return inherited(method, self, args, n, kw)
    elif (slot[4] == NULL or slot[4] == False_) and low < high:
        high -= 1
    else:
        return inherited(method, self, args, n, kw)
    if not given(slot[2]):
        (<Bounded>method.draw)(&source.bitgen, <uint64_t>low, <uint64_t>high - <uint64_t>low, 1, False, &drawn)
        return new_int64(<int64_t>drawn)
    array = new_array(slot[2], cnp.NPY_INT64)
    if array == NULL:
        return inherited(method, self, args, n, kw)
    if PyArray_SIZE(array) >= MANY:
        Py_DECREF(array)
        return inherited(method, self, args, n, kw)
    (<Bounded>method.draw)(
        &source.bitgen, <uint64_t>low, <uint64_t>high - <uint64_t>low, PyArray_SIZE(array), False,
        <uint64_t*>PyArray_DATA(array),
    )
    return array


cdef bint choice_is_int64 = False  # of two versions of numpy, which one runs


cdef PyObject* g_choice(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    cdef Method* method = &methods[CHOICE]
    cdef Source* source = source_of(self)
    cdef PyObject* array
    cdef PyObject* result
    cdef int64_t length
    cdef uint64_t drawn
    if source == NULL or n != 1 or kw != NULL or Py_TYPE(self) != FAST_GENERATOR:
        return inherited(method, self, args, n, kw)
    if Py_TYPE(args[0]) == &PyLong_Type:
        if not small_int(args[0], 0x7FFFFFFF, &length) or length <= 0:
            return inherited(method, self, args, n, kw)
        (<Bounded>methods[INTEGERS].draw)(&source.bitgen, 0, <uint64_t>(length - 1), 1, False, &drawn)
        return new_int64(<int64_t>drawn) if choice_is_int64 else PyLong_FromLongLong(<int64_t>drawn)
    if Py_TYPE(args[0]) == &PyArray_Type:
        array = args[0]
        Py_INCREF(array)
    elif Py_TYPE(args[0]) == &PyList_Type or Py_TYPE(args[0]) == &PyTuple_Type:
        array = PyArray_FROM_O(args[0])
        if array == NULL:
            PyErr_Clear()
            return inherited(method, self, args, n, kw)
    else:
        return inherited(method, self, args, n, kw)
    if PyArray_NDIM(array) == 1 and PyArray_DIM(array, 0) > 0 and PyArray_ISNOTSWAPPED(array) and (
        PyArray_TYPE(array) < cnp.NPY_OBJECT or PyArray_TYPE(array) in (cnp.NPY_STRING, cnp.NPY_UNICODE)
    ):
        (<Bounded>methods[INTEGERS].draw)(
            &source.bitgen, 0, <uint64_t>(PyArray_DIM(array, 0) - 1), 1, False, &drawn
        )
        result = PyArray_ToScalar(<char*>PyArray_DATA(array) + <int64_t>drawn * PyArray_STRIDE(array, 0), array)
    else:
        result = inherited(method, self, args, n, kw)
    Py_DECREF(array)
    return result


cdef PyTypeObject* FAST_GENERATOR


class FastGenerator(np.random.Generator):
    """As in ``draws.py``."""

    __slots__ = ("_bound",)

    def __init__(self, bit_generator):
        super().__init__(bit_generator)
        cdef PyObject** slot = <PyObject**>(<char*><PyObject*>self + bound_offset)
        cdef PyObject* old = slot[0]
        bound = Bound(bit_generator)
        Py_INCREF(<PyObject*>bound)
        slot[0] = <PyObject*>bound
        Py_XDECREF(old)


FAST_GENERATOR = <PyTypeObject*>FastGenerator
bound_offset = slot_offset(FastGenerator.__dict__["_bound"])
del FastGenerator._bound  # the slot stays, and Python code cannot write there


# ---- FastRandom: the Mersenne Twister
#
# M. Matsumoto and T. Nishimura, "Mersenne Twister: A 623-Dimensionally Equidistributed Uniform Pseudo-Random Number
# Generator", ACM TOMACS 8(1), 1998; n = 624 and m = 397 there.

cdef Py_ssize_t mt_offset = 0  # 0: the layout is not proved
cdef Py_ssize_t gauss_offset = 0
cdef Py_ssize_t changed_offset = 0
cdef PyTypeObject* FAST_RANDOM


cdef inline uint32_t mt_mixed(uint32_t upper, uint32_t lower) noexcept nogil:
    return (((upper & 0x80000000u) | (lower & 0x7FFFFFFFu)) >> 1) ^ ((0u - (lower & 1u)) & 0x9908B0DFu)


cdef void mt_twist(Mt* mt) noexcept nogil:
    cdef int k
    for k in range(624 - 397):
        mt.state[k] = mt.state[k + 397] ^ mt_mixed(mt.state[k], mt.state[k + 1])
    for k in range(624 - 397, 623):
        mt.state[k] = mt.state[k + 397 - 624] ^ mt_mixed(mt.state[k], mt.state[k + 1])
    mt.state[623] = mt.state[396] ^ mt_mixed(mt.state[623], mt.state[0])
    mt.index = 0


cdef inline uint32_t mt_word(Mt* mt) noexcept nogil:
    cdef uint32_t y
    if mt.index >= 624:
        mt_twist(mt)
    y = mt.state[mt.index]
    mt.index += 1
    y ^= y >> 11
    y ^= (y << 7) & 0x9D2C5680u
    y ^= (y << 15) & 0xEFC60000u
    return y ^ (y >> 18)


cdef inline double mt_unit(Mt* mt) noexcept nogil:
    cdef int a = <int>(mt_word(mt) >> 5), b = <int>(mt_word(mt) >> 6)
    return (a * 67108864.0 + b) * (1.0 / 9007199254740992.0)


cdef inline uint64_t mt_bits(Mt* mt, int k) noexcept nogil:
    """``getrandbits(k)``, ``1 <= k <= 64``."""
    cdef uint64_t low
    if k <= 32:
        return mt_word(mt) >> (32 - k)
    low = mt_word(mt)
    return low | <uint64_t>(mt_word(mt) >> (64 - k)) << 32


cdef inline uint64_t mt_below(Mt* mt, uint64_t n) noexcept nogil:
    """Return a whole number less than `n` > 0, as Random does: as many bits as `n` has, again until they are less."""
    cdef int k = bit_length(n)
    cdef uint64_t drawn = mt_bits(mt, k)
    while drawn >= n:
        drawn = mt_bits(mt, k)
    return drawn


cdef inline Mt* own_mt(PyObject* self) noexcept:
    """Return the generator of a FastRandom that was not changed, else NULL.

    In a subclass, or once an attribute is set, the methods of Random call what was overridden.
    """
    if Py_TYPE(self) != FAST_RANDOM or (<PyObject**>(<char*>self + changed_offset))[0] != NULL:
        return NULL
    return <Mt*>(<char*>self + mt_offset)


cdef Mt* mt_of(object rng) noexcept:
    if mt_offset == 0 or not isinstance(rng, FastRandom_):
        return NULL
    return <Mt*>(<char*><PyObject*>rng + mt_offset)


cdef void forget_gauss(object rng) noexcept:
    cdef PyObject** slot
    cdef PyObject* old
    if isinstance(rng, FastRandom_):
        slot = <PyObject**>(<char*><PyObject*>rng + gauss_offset)
        old = slot[0]
        Py_INCREF(None_)
        slot[0] = None_
        Py_XDECREF(old)


# ---- FastRandom: numbers

cdef double PI = math.pi, TWOPI = random.TWOPI, LOG4 = random.LOG4
cdef double NV_MAGICCONST = random.NV_MAGICCONST, SG_MAGICCONST = random.SG_MAGICCONST
cdef object math_exp = math.exp, math_acos = math.acos


cdef inline bint reals(const Method* method, PyObject** args, Py_ssize_t n, PyObject* kw, double* x) noexcept:
    """Read all parameters, each a plain float or an int that is a double."""
    cdef PyObject* slot[N_NAMES]
    cdef PyObject** given_args = args
    cdef int i
    if kw != NULL or n < method.n_required or n > method.n_numbers:
        if not bind(method, args, n, kw, slot):
            return False
        given_args, n = slot, method.n_names
    for i in range(method.n_numbers):
        if i >= n or given_args[i] == NULL:
            x[i] = method.default[i]
        elif not is_real(given_args[i], &x[i]) or not takes(method, i, x[i]):
            return False
    return True


cdef inline double normal_of(Mt* mt) noexcept nogil:
    # A. J. Kinderman and J. F. Monahan, "Computer Generation of Random Variables Using the Ratio of Uniform Deviates",
    # ACM TOMS 3(3), 1977.
    cdef double u1, u2, z
    while True:
        u1 = mt_unit(mt)
        u2 = 1.0 - mt_unit(mt)
        z = NV_MAGICCONST * (u1 - 0.5) / u2
        if z * z / 4.0 <= -log(u2):
            return z


cdef inline double gamma_of(Mt* mt, double alpha) noexcept nogil:
    # R. C. H. Cheng, "The Generation of Gamma Variables with Non-integral Shape Parameter", Applied Statistics 26,
    # 1977; for alpha >= 1. Below that, x may come out 0 or less, where Python's powers have errors of their own.
    cdef double ainv, bbb, ccc, u1, u2, v, x, z, r
    if alpha == 1.0:
        return -log(1.0 - mt_unit(mt))
    ainv = sqrt(2.0 * alpha - 1.0)
    bbb = alpha - LOG4
    ccc = alpha + ainv
    while True:
        u1 = mt_unit(mt)
        if not 1e-7 < u1 < 0.9999999:
            continue
        u2 = 1.0 - mt_unit(mt)
        v = log(u1 / (1.0 - u1)) / ainv
        x = alpha * exp(v)
        z = u1 * u1 * u2
        r = bbb + ccc * v - x
        if r + SG_MAGICCONST - 4.5 * z >= 0.0 or r >= log(z):
            return x


cdef PyObject* p_random(PyObject* self, PyObject* unused) noexcept:
    cdef Mt* mt = own_mt(self)
    if mt != NULL:
        return PyFloat_FromDouble(mt_unit(mt))
    return inherited(&methods[PY_RANDOM], self, &self, 0, NULL)


cdef PyObject* p_getrandbits(PyObject* self, PyObject* k) noexcept:
    cdef Mt* mt = own_mt(self)
    cdef int64_t bits
    if mt != NULL and small_int(k, 64, &bits) and bits > 0:
        return PyLong_FromUnsignedLongLong(mt_bits(mt, <int>bits))
    return inherited(&methods[PY_GETRANDBITS], self, &k, 1, NULL)


cdef PyObject* p_randbelow(PyObject* self, PyObject* n) noexcept:
    cdef Mt* mt = own_mt(self)
    cdef int64_t limit
    if mt != NULL and small_int(n, <int64_t>1 << 62, &limit) and limit > 0:
        return PyLong_FromLongLong(<int64_t>mt_below(mt, <uint64_t>limit))
    return inherited(&methods[PY_RANDBELOW], self, &n, 1, NULL)


cdef PyObject* p_uniform(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    cdef Method* method = &methods[PY_UNIFORM]
    cdef Mt* mt = own_mt(self)
    cdef double x[3]
    if mt != NULL and reals(method, args, n, kw, x):
        return PyFloat_FromDouble(x[0] + (x[1] - x[0]) * mt_unit(mt))
    return inherited(method, self, args, n, kw)


cdef PyObject* p_triangular(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    cdef Method* method = &methods[PY_TRIANGULAR]
    cdef Mt* mt = own_mt(self)
    cdef PyObject* slot[N_NAMES]
    cdef double low = 0.0, high = 1.0, mode, u, c = 0.5
    if mt == NULL or not bind(method, args, n, kw, slot):
        return inherited(method, self, args, n, kw)
    if (slot[0] != NULL and not is_real(slot[0], &low)) or (slot[1] != NULL and not is_real(slot[1], &high)):
        return inherited(method, self, args, n, kw)
    if not -1e300 < low < 1e300 or not -1e300 < high < 1e300 or low == high:
        return inherited(method, self, args, n, kw)
    if given(slot[2]):
        if not is_real(slot[2], &mode) or not -1e300 < mode < 1e300:
            return inherited(method, self, args, n, kw)
        c = (mode - low) / (high - low)
    u = mt_unit(mt)
    if u > c:
        u = 1.0 - u
        c = 1.0 - c
        low, high = high, low
    return PyFloat_FromDouble(low + (high - low) * sqrt(u * c))


cdef PyObject* p_normalvariate(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    cdef Method* method = &methods[PY_NORMALVARIATE]
    cdef Mt* mt = own_mt(self)
    cdef double x[3]
    if mt != NULL and reals(method, args, n, kw, x):
        return PyFloat_FromDouble(x[0] + normal_of(mt) * x[1])
    return inherited(method, self, args, n, kw)


cdef PyObject* p_gauss(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    # G. E. P. Box and M. E. Muller, "A Note on the Generation of Random Normal Deviates", Ann. Math. Stat. 29(2), 1958.
    cdef Method* method = &methods[PY_GAUSS]
    cdef Mt* mt = own_mt(self)
    cdef PyObject** next_ = <PyObject**>(<char*>self + gauss_offset)
    cdef PyObject* old = next_[0]
    cdef PyObject* new = None_
    cdef double x[3]
    cdef double z, angle, radius
    if mt == NULL or not reals(method, args, n, kw, x):
        return inherited(method, self, args, n, kw)
    if old == None_:
        angle = mt_unit(mt) * TWOPI
        radius = sqrt(-2.0 * log(1.0 - mt_unit(mt)))
        z = call_cos(angle) * radius
        new = PyFloat_FromDouble(call_sin(angle) * radius)
        if new == NULL:
            return NULL
    elif old != NULL and Py_TYPE(old) == &PyFloat_Type:
        z = PyFloat_AS_DOUBLE(old)
        Py_INCREF(new)
    else:
        return inherited(method, self, args, n, kw)
    next_[0] = new
    Py_DECREF(old)
    return PyFloat_FromDouble(x[0] + z * x[1])


cdef PyObject* raised(PyObject* function, double x) noexcept:
    """Call a function of the math module, for the error it raises."""
    cdef PyObject* number = PyFloat_FromDouble(x)
    cdef PyObject* result
    if number == NULL:
        return NULL
    result = PyObject_CallOneArg(function, number)
    Py_DECREF(number)
    return result


cdef PyObject* power(double factor, double x, double y) noexcept:
    """``factor * x ** y`` for positive `x`, with the error of an overflow."""
    cdef double result = pow(x, y)
    cdef PyObject* base
    cdef PyObject* exponent
    cdef PyObject* error
    if isinf(result):
        base, exponent = PyFloat_FromDouble(x), PyFloat_FromDouble(y)
        error = PyNumber_Power(base, exponent, None_) if base != NULL and exponent != NULL else NULL
        Py_XDECREF(base)
        Py_XDECREF(exponent)
        if error == NULL:
            return NULL
        Py_DECREF(error)
    return PyFloat_FromDouble(factor * result)


cdef PyObject* p_lognormvariate(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    cdef Method* method = &methods[PY_LOGNORMVARIATE]
    cdef Mt* mt = own_mt(self)
    cdef double x[3]
    cdef double z, value
    if mt == NULL or not reals(method, args, n, kw, x):
        return inherited(method, self, args, n, kw)
    z = x[0] + normal_of(mt) * x[1]
    value = exp(z)
    return raised(<PyObject*>math_exp, z) if isinf(value) else PyFloat_FromDouble(value)


cdef PyObject* p_expovariate(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    cdef Method* method = &methods[PY_EXPOVARIATE]
    cdef Mt* mt = own_mt(self)
    cdef double x[3]
    if mt != NULL and reals(method, args, n, kw, x) and x[0] != 0.0:
        return PyFloat_FromDouble(-log(1.0 - mt_unit(mt)) / x[0])
    return inherited(method, self, args, n, kw)


cdef PyObject* p_vonmisesvariate(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    # D. J. Best and N. I. Fisher, "Efficient Simulation of the von Mises Distribution", Applied Statistics 28, 1979.
    cdef Method* method = &methods[PY_VONMISESVARIATE]
    cdef Mt* mt = own_mt(self)
    cdef double x[3]
    cdef double s, r, z, d, u, q, f, theta
    if mt == NULL or not reals(method, args, n, kw, x):
        return inherited(method, self, args, n, kw)
    if x[1] <= 1e-6:
        return PyFloat_FromDouble(TWOPI * mt_unit(mt))
    s = 0.5 / x[1]
    r = s + sqrt(1.0 + s * s)
    while True:
        z = call_cos(PI * mt_unit(mt))
        d = z / (r + z)
        u = mt_unit(mt)
        if u < 1.0 - d * d or u <= (1.0 - d) * exp(d):
            break
    q = 1.0 / r
    f = (q + z) / (1.0 + q * z)
    u = mt_unit(mt)
    if not -1.0 <= f <= 1.0:
        return raised(<PyObject*>math_acos, f)
    theta = fmod(x[0] + acos(f) if u > 0.5 else x[0] - acos(f), TWOPI)
    if theta == 0.0:
        theta = 0.0  # and never -0.0
    elif theta < 0.0:
        theta += TWOPI
    return PyFloat_FromDouble(theta)


cdef PyObject* p_gammavariate(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    cdef Method* method = &methods[PY_GAMMAVARIATE]
    cdef Mt* mt = own_mt(self)
    cdef double x[3]
    if mt != NULL and reals(method, args, n, kw, x):
        return PyFloat_FromDouble(gamma_of(mt, x[0]) * x[1])
    return inherited(method, self, args, n, kw)


cdef PyObject* p_betavariate(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    cdef Method* method = &methods[PY_BETAVARIATE]
    cdef Mt* mt = own_mt(self)
    cdef double x[3]
    cdef double y
    if mt == NULL or not reals(method, args, n, kw, x):
        return inherited(method, self, args, n, kw)
    y = gamma_of(mt, x[0])
    return PyFloat_FromDouble(y / (y + gamma_of(mt, x[1])) if y != 0.0 else 0.0)


cdef PyObject* p_paretovariate(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    cdef Method* method = &methods[PY_PARETOVARIATE]
    cdef Mt* mt = own_mt(self)
    cdef double x[3]
    if mt != NULL and reals(method, args, n, kw, x):
        return power(1.0, 1.0 - mt_unit(mt), -1.0 / x[0])
    return inherited(method, self, args, n, kw)


cdef PyObject* p_weibullvariate(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    cdef Method* method = &methods[PY_WEIBULLVARIATE]
    cdef Mt* mt = own_mt(self)
    cdef double x[3]
    if mt != NULL and reals(method, args, n, kw, x):
        return power(x[0], -log(1.0 - mt_unit(mt)), 1.0 / x[1])
    return inherited(method, self, args, n, kw)


# ---- FastRandom: integers and sequences

cdef PyObject* p_randrange(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    cdef Method* method = &methods[PY_RANDRANGE]
    cdef Mt* mt = own_mt(self)
    cdef int64_t start = 0, stop
    if mt == NULL or kw != NULL or not 1 <= n <= 2 or not small_int(args[n - 1], <int64_t>1 << 61, &stop):
        return inherited(method, self, args, n, kw)
    if (n == 2 and not small_int(args[0], <int64_t>1 << 61, &start)) or stop <= start:
        return inherited(method, self, args, n, kw)
    return PyLong_FromLongLong(start + <int64_t>mt_below(mt, <uint64_t>(stop - start)))


cdef PyObject* p_randint(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    cdef Method* method = &methods[PY_RANDINT]
    cdef Mt* mt = own_mt(self)
    cdef PyObject* slot[N_NAMES]
    cdef int64_t low, high
    if mt == NULL or not bind(method, args, n, kw, slot) or not small_int(slot[0], <int64_t>1 << 61, &low):
        return inherited(method, self, args, n, kw)
    if not small_int(slot[1], <int64_t>1 << 61, &high) or high < low:
        return inherited(method, self, args, n, kw)
    return PyLong_FromLongLong(low + <int64_t>mt_below(mt, <uint64_t>(high - low + 1)))


cdef PyObject* p_choice(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    cdef Method* method = &methods[PY_CHOICE]
    cdef Mt* mt = own_mt(self)
    cdef PyObject* index
    cdef PyObject* result
    cdef Py_ssize_t length
    if mt == NULL or n != 1 or kw != NULL:
        return inherited(method, self, args, n, kw)
    if Py_TYPE(args[0]) == &PyList_Type:
        length = PyList_GET_SIZE(args[0])
        if length > 0:
            result = PyList_GET_ITEM(args[0], <Py_ssize_t>mt_below(mt, <uint64_t>length))
            Py_INCREF(result)
            return result
    elif Py_TYPE(args[0]) == &PyTuple_Type:
        length = PyTuple_GET_SIZE(args[0])
        if length > 0:
            result = PyTuple_GET_ITEM(args[0], <Py_ssize_t>mt_below(mt, <uint64_t>length))
            Py_INCREF(result)
            return result
    elif Py_TYPE(args[0]) == &PyRange_Type or Py_TYPE(args[0]) == &PyUnicode_Type or Py_TYPE(args[0]) == &PyArray_Type:
        length = PyObject_Size(args[0])
        if length > 0:
            index = PyLong_FromLongLong(<int64_t>mt_below(mt, <uint64_t>length))
            if index == NULL:
                return NULL
            result = PyObject_GetItem(args[0], index)
            Py_DECREF(index)
            return result
        if length < 0:
            PyErr_Clear()
    return inherited(method, self, args, n, kw)


cdef PyObject* p_shuffle(PyObject* self, PyObject** args, Py_ssize_t n, PyObject* kw) noexcept:
    cdef Method* method = &methods[PY_SHUFFLE]
    cdef Mt* mt = own_mt(self)
    cdef PyObject* item
    cdef Py_ssize_t i, j
    if mt == NULL or n != 1 or kw != NULL or Py_TYPE(args[0]) != &PyList_Type:
        return inherited(method, self, args, n, kw)
    for i in range(PyList_GET_SIZE(args[0]) - 1, 0, -1):
        j = <Py_ssize_t>mt_below(mt, <uint64_t>(i + 1))
        item = PyList_GET_ITEM(args[0], i)  # the list owns both all along
        PyList_SET_ITEM(args[0], i, PyList_GET_ITEM(args[0], j))
        PyList_SET_ITEM(args[0], j, item)
    Py_INCREF(None_)
    return None_


class FastRandom(random.Random):
    """As in ``draws.py``."""

    __slots__ = ("gauss_next", "_changed")
    _randbelow = random.Random._randbelow  # or a subclass would get another one, as if it had overridden random()

    def __setattr__(self, name, value):
        cdef PyObject** changed
        if name != "gauss_next":
            changed = <PyObject**>(<char*><PyObject*>self + changed_offset)
            if changed[0] == NULL:
                Py_INCREF(True_)
                changed[0] = True_
        super().__setattr__(name, value)

    def __reduce__(self):
        cls = type(self)
        return (random.Random if cls is FastRandom else cls), (), self.getstate()


cdef object FastRandom_ = FastRandom
FAST_RANDOM = <PyTypeObject*>FastRandom
gauss_offset = slot_offset(FastRandom.__dict__["gauss_next"])
changed_offset = slot_offset(FastRandom.__dict__["_changed"])
del FastRandom._changed


# ---- what is replaced

cdef list kept = []  # what C points to

ANY, NON_NEGATIVE, POSITIVE = (-1e308, 1e308), (0.0, 1e308), (5e-324, 1e308)
MORE_THAN_0 = (1e-6, 1.0)


cdef int intern_names(Method* method, names) except -1:
    cdef int i
    method.n_names = len(names)
    for i, name in enumerate(names):
        interned = sys.intern(name)
        kept.append(interned)
        method.name[i] = <PyObject*>interned
    return 0


cdef int define(int k, name, void* call, int flags, original, defaults, n_required, domains, signature) except -1:
    """Say what the replacement of `name` is, and what it replaces."""
    cdef Method* method = &methods[k]
    cdef PyMethodDef* definition = &definitions[k]
    cdef int i
    method.inherited = <PyObject*>original
    method.n_numbers = len(domains)
    method.n_required = n_required
    for i in range(n_required, method.n_numbers):
        method.default[i] = defaults[i]
    for i, (low, high) in enumerate(domains):
        method.low[i], method.high[i] = low, high
    bytes_name, doc = name.encode(), f"{name}{signature}\n--\n\n{original.__doc__ or ''}".encode()
    kept.extend((original, bytes_name, doc))
    definition.ml_name, definition.ml_doc = bytes_name, doc
    definition.ml_meth = <PyCFunction>call
    definition.ml_flags = flags
    return 0


cdef void* running_numpy = NULL  # which exports its distributions, from the module that has Generator
try:
    _path = sys.modules[np.random.Generator.__module__].__file__
    running_numpy = loaded(os.fsencode(_path), os.fsencode(os.path.basename(_path)))
except Exception:
    pass


cdef void* running(name, void* linked):
    """Return the distribution of the running numpy, or else the one linked."""
    cdef void* exported = exported_by(running_numpy, f"random_{name}".encode()) if running_numpy != NULL else NULL
    if exported == NULL:
        _linked.append(name)
    return exported if exported != NULL else linked


_linked = []
_generator_methods = {}
_random_methods = {}


cdef int numpy_method(int k, name, void* call, draw, void* linked, parameters, others="size") except -1:
    """Replace a method of Generator. `parameters` are (name, default, domain), a default of None: it must be given."""
    original = getattr(np.random.Generator, name, None)
    if original is None:
        return 0
    if draw is not None:
        methods[k].draw = running(draw, linked)
    others = others.split()
    intern_names(&methods[k], [p[0] for p in parameters] + others)
    signature = (original.__doc__ or "").lstrip().partition("\n")[0].partition("(")[2]
    define(
        k, name, call, METH_FASTCALL | METH_KEYWORDS, original, [p[1] for p in parameters],
        sum(p[1] is None for p in parameters), [p[2] for p in parameters if len(p) == 3],
        f"($self, {signature}" if signature else "($self, *args, **kwargs)",
    )
    _generator_methods[name] = k
    return 0


_SIZE_DTYPE_OUT = "size dtype out"
numpy_method(RANDOM, "random", <void*>g_random, None, NULL, [], _SIZE_DTYPE_OUT)
numpy_method(STANDARD_NORMAL, "standard_normal", <void*>g_standard_normal, "standard_normal",
             <void*>random_standard_normal, [], _SIZE_DTYPE_OUT)
numpy_method(STANDARD_EXPONENTIAL, "standard_exponential", <void*>g_standard_exponential, "standard_exponential",
             <void*>random_standard_exponential, [], "size dtype method out")
numpy_method(NORMAL, "normal", <void*>g_normal, None, NULL, [("loc", 0.0, ANY), ("scale", 1.0, NON_NEGATIVE)])
numpy_method(UNIFORM, "uniform", <void*>g_uniform, None, NULL,
             [("low", 0.0, (-8e307, 8e307)), ("high", 1.0, (-8e307, 8e307))])
numpy_method(EXPONENTIAL, "exponential", <void*>g_exponential, None, NULL, [("scale", 1.0, NON_NEGATIVE)])
numpy_method(INTEGERS, "integers", <void*>g_integers, "bounded_uint64_fill", <void*>random_bounded_uint64_fill,
             [("low", None)], "high size dtype endpoint")
numpy_method(CHOICE, "choice", <void*>g_choice, None, NULL, [("a", None)], "")
numpy_method(STANDARD_CAUCHY, "standard_cauchy", <void*>g_standard_cauchy, "standard_cauchy",
             <void*>random_standard_cauchy, [])
numpy_method(CHISQUARE, "chisquare", <void*>g_chisquare, "chisquare", <void*>random_chisquare,
             [("df", None, POSITIVE)])
numpy_method(STANDARD_T, "standard_t", <void*>g_standard_t, "standard_t", <void*>random_standard_t,
             [("df", None, POSITIVE)])
numpy_method(PARETO, "pareto", <void*>g_pareto, "pareto", <void*>random_pareto, [("a", None, POSITIVE)])
numpy_method(WEIBULL, "weibull", <void*>g_weibull, "weibull", <void*>random_weibull, [("a", None, NON_NEGATIVE)])
numpy_method(POWER, "power", <void*>g_power, "power", <void*>random_power, [("a", None, POSITIVE)])
numpy_method(RAYLEIGH, "rayleigh", <void*>g_rayleigh, "rayleigh", <void*>random_rayleigh,
             [("scale", 1.0, NON_NEGATIVE)])
numpy_method(STANDARD_GAMMA, "standard_gamma", <void*>g_standard_gamma, "standard_gamma",
             <void*>random_standard_gamma, [("shape", None, NON_NEGATIVE)], _SIZE_DTYPE_OUT)
numpy_method(GAMMA, "gamma", <void*>g_gamma, "gamma", <void*>random_gamma,
             [("shape", None, NON_NEGATIVE), ("scale", 1.0, NON_NEGATIVE)])
numpy_method(BETA, "beta", <void*>g_beta, "beta", <void*>random_beta, [("a", None, POSITIVE), ("b", None, POSITIVE)])
numpy_method(F, "f", <void*>g_f, "f", <void*>random_f, [("dfnum", None, POSITIVE), ("dfden", None, POSITIVE)])
numpy_method(LAPLACE, "laplace", <void*>g_laplace, "laplace", <void*>random_laplace,
             [("loc", 0.0, ANY), ("scale", 1.0, NON_NEGATIVE)])
numpy_method(GUMBEL, "gumbel", <void*>g_gumbel, "gumbel", <void*>random_gumbel,
             [("loc", 0.0, ANY), ("scale", 1.0, NON_NEGATIVE)])
numpy_method(LOGISTIC, "logistic", <void*>g_logistic, "logistic", <void*>random_logistic,
             [("loc", 0.0, ANY), ("scale", 1.0, NON_NEGATIVE)])
numpy_method(LOGNORMAL, "lognormal", <void*>g_lognormal, "lognormal", <void*>random_lognormal,
             [("mean", 0.0, ANY), ("sigma", 1.0, NON_NEGATIVE)])
numpy_method(WALD, "wald", <void*>g_wald, "wald", <void*>random_wald,
             [("mean", None, POSITIVE), ("scale", None, POSITIVE)])
numpy_method(VONMISES, "vonmises", <void*>g_vonmises, "vonmises", <void*>random_vonmises,
             [("mu", None, ANY), ("kappa", None, NON_NEGATIVE)])
numpy_method(NONCENTRAL_CHISQUARE, "noncentral_chisquare", <void*>g_noncentral_chisquare, "noncentral_chisquare",
             <void*>random_noncentral_chisquare, [("df", None, POSITIVE), ("nonc", None, NON_NEGATIVE)])
numpy_method(NONCENTRAL_F, "noncentral_f", <void*>g_noncentral_f, "noncentral_f", <void*>random_noncentral_f,
             [("dfnum", None, POSITIVE), ("dfden", None, POSITIVE), ("nonc", None, NON_NEGATIVE)])
numpy_method(TRIANGULAR, "triangular", <void*>g_triangular, "triangular", <void*>random_triangular,
             [("left", None, ANY), ("mode", None, ANY), ("right", None, ANY)])
numpy_method(POISSON, "poisson", <void*>g_poisson, "poisson", <void*>random_poisson, [("lam", 1.0, (0.0, 1e15))])
numpy_method(GEOMETRIC, "geometric", <void*>g_geometric, "geometric", <void*>random_geometric,
             [("p", None, MORE_THAN_0)])
numpy_method(ZIPF, "zipf", <void*>g_zipf, "zipf", <void*>random_zipf, [("a", None, (1.0 + 2.0**-52, 1e308))])
numpy_method(LOGSERIES, "logseries", <void*>g_logseries, "logseries", <void*>random_logseries,
             [("p", None, (0.0, 1.0 - 2.0**-53))])
numpy_method(NEGATIVE_BINOMIAL, "negative_binomial", <void*>g_negative_binomial, "negative_binomial",
             <void*>random_negative_binomial, [("n", None, (5e-324, 1e9)), ("p", None, MORE_THAN_0)])
numpy_method(BINOMIAL, "binomial", <void*>g_binomial, "binomial", <void*>random_binomial, [("n", None), ("p", None)])
numpy_method(HYPERGEOMETRIC, "hypergeometric", <void*>g_hypergeometric, "hypergeometric",
             <void*>random_hypergeometric, [("ngood", None), ("nbad", None), ("nsample", None)])


cdef int python_method(int k, name, void* call, domains=(), int flags=METH_FASTCALL | METH_KEYWORDS) except -1:
    """Replace a method of Random: names and defaults of its parameters are the ones it has."""
    original = getattr(random.Random, name, None)
    if original is None:
        return 0
    code = getattr(original, "__code__", None)
    if code is None:
        names, defaults, n_required = (), (), 0
        signature = original.__text_signature__ or "($self, *args)"
    else:
        names = code.co_varnames[1 : code.co_argcount]
        defaults = original.__defaults__ or ()
        n_required = len(names) - len(defaults)
        defaults = (None,) * n_required + defaults
        if code.co_kwonlyargcount or len(names) > N_NAMES or len(names) < len(domains):
            return 0
        if any(type(default) is not float for default in defaults[n_required : len(domains)]):
            return 0
        shown = [*names[:n_required], *(f"{n}={d!r}" for n, d in zip(names[n_required:], defaults[n_required:]))]
        signature = f"({', '.join(['$self', *shown])})"
        intern_names(&methods[k], names)
    define(k, name, call, flags, original, defaults, n_required, domains, signature)
    _random_methods[name] = k
    return 0


_SIZED = (1e-300, 1e300)
python_method(PY_RANDOM, "random", <void*>p_random, (), METH_NOARGS)
python_method(PY_GETRANDBITS, "getrandbits", <void*>p_getrandbits, (), METH_O)
python_method(PY_RANDBELOW, "_randbelow", <void*>p_randbelow, (), METH_O)
python_method(PY_UNIFORM, "uniform", <void*>p_uniform, (ANY, ANY))
python_method(PY_TRIANGULAR, "triangular", <void*>p_triangular)
python_method(PY_NORMALVARIATE, "normalvariate", <void*>p_normalvariate, (ANY, ANY))
python_method(PY_GAUSS, "gauss", <void*>p_gauss, (ANY, ANY))
python_method(PY_LOGNORMVARIATE, "lognormvariate", <void*>p_lognormvariate, (ANY, ANY))
python_method(PY_EXPOVARIATE, "expovariate", <void*>p_expovariate, (ANY,))
python_method(PY_VONMISESVARIATE, "vonmisesvariate", <void*>p_vonmisesvariate, (ANY, (-1e300, 1e8)))
python_method(PY_GAMMAVARIATE, "gammavariate", <void*>p_gammavariate, ((1.0, 1e12), _SIZED))
python_method(PY_BETAVARIATE, "betavariate", <void*>p_betavariate, ((1.0, 1e12), (1.0, 1e12)))
python_method(PY_PARETOVARIATE, "paretovariate", <void*>p_paretovariate, (_SIZED,))
python_method(PY_WEIBULLVARIATE, "weibullvariate", <void*>p_weibullvariate, (ANY, _SIZED))
python_method(PY_RANDRANGE, "randrange", <void*>p_randrange)
python_method(PY_RANDINT, "randint", <void*>p_randint)
python_method(PY_CHOICE, "choice", <void*>p_choice)
python_method(PY_SHUFFLE, "shuffle", <void*>p_shuffle)


# ---- the comparison at import


def _find_mt(make, base):
    """Return where in an object of the class `make` the generator of `base` lies, 0 if that is not proved.

    It is read and compared with the public state, drawn from across two twists, and written.
    """
    cdef Py_ssize_t offset = object.__basicsize__
    cdef Py_ssize_t size = offset + sizeof(Mt), word = sizeof(void*)
    cdef Mt* mt
    cdef Mt* other
    try:
        if base.__basicsize__ != (size + word - 1) // word * word or not issubclass(make, base):
            return 0
        one, two = make(20240229), make(7)
        mt = <Mt*>(<char*><PyObject*>one + offset)
        other = <Mt*>(<char*><PyObject*>two + offset)
        for n_words in (0, 1300):
            if [mt_word(mt) for _ in range(n_words)] != [two.getrandbits(32) for _ in range(n_words)]:
                return 0
            if one.getstate()[1] != (*[mt.state[k] for k in range(624)], mt.index):
                return 0
            other[0] = mt[0]
            if one.getstate() != two.getstate():
                return 0
        return offset
    except Exception:
        return 0


def _proves_pcg64(make):
    """Return whether the words of a PCG64 made by `make` can be drawn without numpy's function."""
    return find_pcg64(make) != NULL


def _same(mine, theirs):
    if type(mine) is not type(theirs):
        return False
    if isinstance(mine, np.ndarray):
        return mine.dtype == theirs.dtype and mine.shape == theirs.shape and mine.tobytes() == theirs.tobytes()
    return mine.hex() == theirs.hex() if isinstance(mine, float) else mine == theirs


def _agree(name, mine, theirs, calls, state):
    """Return whether two generators in one state give the same, and come to the same state."""
    try:
        one, other = getattr(mine, name), getattr(theirs, name)
        for args, kwargs in calls:
            if not _same(one(*args, **kwargs), other(*args, **kwargs)):
                return False
        return state(mine) == state(theirs)
    except Exception:
        return False


def _calls(*args, **kwargs):
    """Return two calls with each tuple of arguments, then one with each row of keyword values."""
    return [(a, {}) for a in args for _ in range(2)] + [((), dict(zip(kwargs, v))) for v in zip(*kwargs.values())]


_MANY = 1024  # normals and exponentials: four from every layer of the ziggurat
_GENERATOR_CALLS = {
    "random": _calls((), (_MANY,), size=[3, (2, 3)]),
    "standard_normal": _calls((), (_MANY,), size=[3, (2, 3)]),
    "standard_exponential": _calls((), (_MANY,), size=[3, (2, 3)]),
    "normal": _calls((), (0.1,), (1.3, 0.7), (-2, 3), (0.1, 0.3, 500), scale=[0.3, 3.0], size=[None, (2, 3)]),
    "uniform": _calls((), (0.1,), (-1.3, 0.7), (-2, 3), (0.1, 0.7, 500), high=[0.3, 3.0], size=[None, (2, 3)]),
    "exponential": _calls((), (0.1,), (3,), (0.7, 500), scale=[0.3, 3.0], size=[None, (2, 3)]),
    "integers": _calls(
        (10,), (1,), (0, 7), (-5, 2**31), (2**32,), (2**40,), (-(2**63), 2**63 - 1), (3 * 2**61,), (0, 9, 5),
        low=[3], high=[5], endpoint=[True],
    ),
    "choice": _calls((5,), ([3, 1, 2],), (("a", "bc"),), (np.arange(5.0)[::2],), ((1, 2.5),)),
    "standard_cauchy": _calls((), (), ()),
    "chisquare": _calls((0.3,), (1,), (7.5,)),
    "standard_t": _calls((0.3,), (1,), (7.5,)),
    "pareto": _calls((0.3,), (1,), (7.5,)),
    "weibull": _calls((0.3,), (1,), (7.5,), (0.0,)),
    "power": _calls((0.3,), (1,), (7.5,)),
    "rayleigh": _calls((), (1,), (7.5,), (0,)),
    "standard_gamma": _calls((0.3,), (1,), (7.5,), (0,)),
    "gamma": _calls((0.3,), (1, 2), (7.5, 0.3), (0, 1)),
    "beta": _calls((0.3, 0.4), (1, 1), (7.5, 0.3), (4, 5)),
    "f": _calls((0.3, 0.4), (1, 1), (7.5, 0.3), (4, 5)),
    "laplace": _calls((), (1,), (7.5, 0.3)),
    "gumbel": _calls((), (1,), (7.5, 0.3)),
    "logistic": _calls((), (1,), (7.5, 0.3)),
    "lognormal": _calls((), (1,), (-0.5, 0.3)),
    "wald": _calls((0.3, 0.4), (1, 1), (7.5, 0.3)),
    "vonmises": _calls((0.3, 0.4), (1, 0), (-7.5, 1e-9), (2.0, 1e7)),
    "noncentral_chisquare": _calls((0.3, 0.4), (1, 0), (7.5, 3)),
    "noncentral_f": _calls((0.3, 0.4, 0.5), (1, 1, 0), (7.5, 3, 2)),
    "triangular": _calls((0.3, 0.4, 0.5), (-1, -1, 2), (7.5, 8, 8)),
    "poisson": _calls((), (0,), (0.3,), (9.9,), (30,), (1e6,), (1e15,)),
    "geometric": _calls((0.1,), (0.3334,), (0.9,), (1,)),
    "zipf": _calls((1.1,), (2,), (5.5,)),
    "logseries": _calls((0.1,), (0.9,), (0.9999,), (0,)),
    "negative_binomial": _calls((0.3, 0.4), (10, 0.01), (7, 1)),
    "binomial": _calls((0, 0.5), (10, 0.1), (10, 0.9), (1000, 0.4), (1000, 0.6), (2**31 - 1, 0.3), (5, 0), (5, 1)),
    "hypergeometric": _calls((5, 4, 3), (100, 50, 30), (10**8, 10**7, 10**5), (3, 0, 2), (0, 0, 0)),
}


def _generator_state(generator):
    return generator.bit_generator.state


def _accelerate_generator(stock=np.random.Generator):
    """Give FastGenerator each method that agrees with the one of `stock`, and no other; return their names."""
    global fused, choice_is_int64
    bit_generators = np.random.PCG64, np.random.PCG64DXSM
    pairs = [(FastGenerator(make(11)), stock(make(11))) for make in bit_generators]
    for name in _generator_methods:
        if name in FastGenerator.__dict__:
            delattr(FastGenerator, name)
    numpys = np.random.Generator(np.random.PCG64(11))
    start = numpys.bit_generator.state
    rounded_once_or_twice = numpys.normal(0.1, 0.3, 64)
    numpys.bit_generator.state = start
    fused = bool((rounded_once_or_twice != 0.1 + 0.3 * numpys.standard_normal(64)).any())
    choice_is_int64 = type(numpys.choice(3)) is np.int64
    on = []
    for name, k in _generator_methods.items():
        setattr(FastGenerator, name, new_method(FastGenerator, &definitions[k]))
        calls = _GENERATOR_CALLS[name]
        if name in _linked:  # from another numpy, maybe, that differs in a rare case
            calls = calls * 50
        good = True
        for mine, theirs in pairs if k < CHOICE else pairs[:1]:
            if not _agree(name, mine, theirs, calls, _generator_state):
                good = False
                mine.bit_generator.state = theirs.bit_generator.state
        if good:
            on.append(name)
        else:
            delattr(FastGenerator, name)
    _on["FastGenerator"] = tuple(sorted(on))
    return _on["FastGenerator"]


_RANDOM_CALLS = {
    "random": _calls((), (), ()),
    "getrandbits": _calls((1,), (31,), (32,), (33,), (64,)),
    "_randbelow": _calls((1,), (7,), (2**32,), (2**33 + 1,), (2**62,)),
    "uniform": _calls((0.1, 0.7), (-1, 3), (2.5, -1)),
    "triangular": _calls((), (2,), (0.1, 0.7), (-1, 3, 1), (1.5, 2.5, 2.5)),
    "normalvariate": _calls((0.1, 0.3), (-1, 3), (2.5, -1)),
    "gauss": _calls((0.1, 0.3), (-1, 3), (2.5, -1)),
    "lognormvariate": _calls((0.1, 0.3), (-1, 3), (2.5, -1)),
    "expovariate": _calls((0.1,), (3,), (-2.5,)),
    "vonmisesvariate": _calls((0.1, 0.3), (-1, 3), (2.5, 0), (0, 1e7)),
    "gammavariate": _calls((1.0, 0.3), (2.5, 3), (70, 1.5)),
    "betavariate": _calls((1.0, 1.3), (2.5, 3), (70, 1.5)),
    "paretovariate": _calls((0.3,), (1,), (7.5,)),
    "weibullvariate": _calls((0.3, 0.4), (1, 1), (-7.5, 3)),
    "randrange": _calls((1,), (10,), (2**40,), (-5, 7), (-(2**60), 2**60)),
    "randint": _calls((1, 1), (0, 9), (-5, 2**40)),
    "choice": _calls(([1, 2, 3],), ((1, 2),), ("abc",), (range(0, 90, 3),), (np.arange(3),)),
    "shuffle": [],
}
_DEFAULTED = ("normalvariate", "gauss", "expovariate")  # without arguments in later versions of Python


def _random_state(generator):
    """Return what ``getstate`` returns, quickly: only asked where the layout is proved."""
    cdef const char* mt = <const char*><PyObject*>generator + mt_offset
    return mt[: sizeof(Mt)], generator.gauss_next


def _shuffled(generator):
    items = list(range(50))
    generator.shuffle(items)
    return items, _random_state(generator)


def _accelerate_random(stock=random.Random):
    """Give FastRandom each method that agrees with the one of `stock`, and no other; return their names."""
    fast, other = FastRandom(11), stock(11)
    on = []
    for name, k in _random_methods.items():
        if name in FastRandom.__dict__:
            delattr(FastRandom, name)
        if mt_offset == 0:
            continue
        setattr(FastRandom, name, new_method(FastRandom, &definitions[k]))
        calls = list(_RANDOM_CALLS[name])
        if name in _DEFAULTED and methods[k].n_required == 0:
            calls += _calls((), (0.5,))
        state = _shuffled if name == "shuffle" else _random_state
        if _agree(name, fast, other, calls, state):
            on.append(name)
        else:
            delattr(FastRandom, name)
            fast.setstate(other.getstate())
    if "_randbelow" not in on:  # else a subclass would get another one, as if it had overridden random()
        FastRandom._randbelow = random.Random._randbelow
    _on["FastRandom"] = tuple(sorted(on))
    return _on["FastRandom"]


def accelerated():
    """As in ``draws.py``."""
    return dict(_on)


_on = {"FastGenerator": (), "FastRandom": ()}
read_tables(&normal_ziggurat, <Draw>methods[STANDARD_NORMAL].draw)
read_tables(&exponential_ziggurat, <Draw>methods[STANDARD_EXPONENTIAL].draw)
pcg64_word = find_pcg64(PCG64)
mt_offset = _find_mt(FastRandom, _random.Random)
_accelerate_generator()
_accelerate_random()
