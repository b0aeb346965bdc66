# cython: language_level=3, binding=True, embedsignature=False
"""Exact sums of a metric, and its covariance: the twin of ``sums.py``, with the same names and the same bits.

Only :mod:`rewind.kernel` imports either of them. The arithmetic is in ``_sums.h``.
"""

from cpython.buffer cimport (
    PyBUF_C_CONTIGUOUS,
    PyBUF_FORMAT,
    PyBUF_WRITABLE,
    Py_buffer,
    PyBuffer_Release,
    PyObject_GetBuffer,
)
from libc.math cimport NAN
from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport free
from libc.string cimport strcmp

import math

import numpy as np

__all__ = [
    "Tally",
    "comoments",
    "fold",
    "merged_comoments",
    "rounded",
]


cdef extern from "_sums.h" nogil:
    enum:
        REWIND_DIGITS

    int rewind_level
    int rewind_highest_level()

    ctypedef struct rewind_number:
        int low
        int high

    ctypedef struct rewind_sums:
        rewind_number total
        rewind_number squares
        int64_t count
        int64_t nan_count
        int64_t first_nan
        int64_t pos_inf
        int64_t neg_inf
        int64_t argmin
        int64_t argmax
        double low
        double high

    ctypedef struct rewind_row:
        int64_t count
        int64_t nan_count
        int64_t first_nan
        int64_t pos_inf
        int64_t neg_inf
        int64_t argmin
        int64_t argmax
        double low
        double high
        double last
        size_t at
        int total_low
        int total_size
        int squares_low
        int squares_size

    ctypedef struct rewind_table:
        rewind_row* rows
        uint32_t* digits
        size_t n

    ctypedef struct rewind_columns_of:
        double* mean
        double* comoment
        double* low
        double* high
        int64_t* argmin
        int64_t* argmax
        int64_t* nan_count
        int64_t* first_nan

    void rewind_fold(rewind_sums*, const double*, Py_ssize_t)
    int rewind_bytes(const rewind_number*, unsigned char*)
    int rewind_digit_bytes(const uint32_t*, int, unsigned char*)
    int rewind_append(rewind_table*, const rewind_sums*, int64_t, double)
    void rewind_cut_table(rewind_table*, size_t)
    void rewind_merge_rows(const rewind_table*, size_t, size_t, rewind_sums*, double*)
    int rewind_comoments(
        const double*, Py_ssize_t, Py_ssize_t, int64_t, const double*, const rewind_columns_of*
    )
    void rewind_merge_columns(
        Py_ssize_t, const rewind_columns_of*, const rewind_columns_of*, double, double, const rewind_columns_of*
    )


rewind_level = rewind_highest_level()


def _set_level(int wanted):
    """Use registers of 256 bits (1) or those every processor has (0); return the level until now. For tests."""
    global rewind_level
    before = rewind_level
    if 0 <= wanted <= rewind_highest_level():
        rewind_level = wanted
    return before


cdef enum:
    LONG = 1 << 14  # numbers: so many and the GIL is let go


cdef int open_array(object array, Py_buffer* view, int ndim, bint real, int more_flags) except -1:
    """Open a C-contiguous array of float64 (`real`) or int64; the caller releases the view."""
    cdef bint fits
    PyObject_GetBuffer(array, view, PyBUF_FORMAT | PyBUF_C_CONTIGUOUS | more_flags)
    fits = view.ndim == ndim and view.itemsize == 8 and view.format != NULL
    if fits and real:
        fits = strcmp(view.format, "d") == 0
    elif fits:
        fits = strcmp(view.format, "l") == 0 or strcmp(view.format, "q") == 0
    if not fits:
        PyBuffer_Release(view)
        kind, dimensions = "float64" if real else "int64", "one dimension" if ndim == 1 else "two dimensions"
        raise ValueError(f"this needs a C-contiguous array of {kind} in {dimensions}")
    return 0


# ---- exact sums

cdef object from_bytes = int.from_bytes


cdef object integer_of(const rewind_number* number):
    cdef unsigned char raw[4 * REWIND_DIGITS]
    cdef int n = rewind_bytes(number, raw)
    return from_bytes(raw[:n], "little", signed=True) << 32 * number.low if n else 0


cdef tuple moments_tuple(const rewind_sums* sums, int64_t start):
    """Return what `fold` does, steps counted from `start`."""
    return (
        sums.count,
        integer_of(&sums.total),
        integer_of(&sums.squares),
        sums.nan_count,
        sums.first_nan + start if sums.first_nan >= 0 else -1,
        sums.pos_inf,
        sums.neg_inf,
        sums.low,
        sums.argmin + start if sums.argmin >= 0 else -1,
        sums.high,
        sums.argmax + start if sums.argmax >= 0 else -1,
    )


def fold(values):
    """As in ``sums.py``."""
    cdef Py_buffer view
    cdef rewind_sums sums
    open_array(values, &view, 1, True, 0)
    if view.shape[0] >= LONG:
        with nogil:
            rewind_fold(&sums, <const double*>view.buf, view.shape[0])
    else:
        rewind_fold(&sums, <const double*>view.buf, view.shape[0])
    PyBuffer_Release(&view)
    return moments_tuple(&sums, 0)


def rounded(numerator, denominator, exponent):
    """As in ``sums.py``."""
    try:
        quotient = numerator / denominator  # Python rounds it correctly
        if -1021 < math.frexp(quotient)[1] + exponent < 1024:  # and then a power of two changes no digit
            return math.ldexp(quotient, exponent)
    except OverflowError:
        pass
    if not numerator:
        return 0.0
    try:
        return (numerator << max(exponent, 0)) / (denominator << max(-exponent, 0))
    except OverflowError:
        return math.inf if numerator > 0 else -math.inf


cdef class Tally:
    """Tally()
--

    As in ``sums.py``."""

    cdef rewind_table table

    def __dealloc__(self):
        free(self.table.rows)
        free(self.table.digits)

    def __len__(self):
        return self.table.n

    def append(self, values, int64_t start):
        """As in ``sums.py``."""
        cdef Py_buffer view
        cdef rewind_sums sums
        cdef double last = NAN
        open_array(values, &view, 1, True, 0)
        if view.shape[0] >= LONG:
            with nogil:
                rewind_fold(&sums, <const double*>view.buf, view.shape[0])
        else:
            rewind_fold(&sums, <const double*>view.buf, view.shape[0])
        if view.shape[0]:
            last = (<const double*>view.buf)[view.shape[0] - 1]
        PyBuffer_Release(&view)
        if not rewind_append(&self.table, &sums, start, last):
            raise MemoryError

    def cut(self, Py_ssize_t n):
        """As in ``sums.py``."""
        if not 0 <= n <= <Py_ssize_t>self.table.n:
            raise IndexError(f"cannot keep {n} of {self.table.n} rows")
        rewind_cut_table(&self.table, n)

    def merged(self, Py_ssize_t first, Py_ssize_t stop):
        """As in ``sums.py``."""
        cdef rewind_sums sums
        cdef double last
        if not 0 <= first <= stop <= <Py_ssize_t>self.table.n:
            raise IndexError(f"rows {first} to {stop} of a table of {self.table.n}")
        rewind_merge_rows(&self.table, first, stop, &sums, &last)
        return (*moments_tuple(&sums, 0), last)

    def moments_of(self, Py_ssize_t i):
        """As in ``sums.py``."""
        return self.merged(i, i + 1)

    def column(self, name):
        """As in ``sums.py``."""
        cdef Py_buffer view
        cdef Py_ssize_t i, n = self.table.n
        cdef const rewind_row* row = self.table.rows
        cdef int64_t* integers
        cdef double* numbers
        cdef int which
        if name not in _COLUMNS:
            raise ValueError(f"no column {name!r}; there are {', '.join(_COLUMNS)}")
        if name == "mean":
            return np.array([self._mean(i) for i in range(n)], np.float64)
        if name == "m2":
            return np.array([self._m2(i) for i in range(n)], np.float64)
        which = _COLUMNS.index(name)
        array = np.empty(n, np.int64 if which < 4 else np.float64)
        open_array(array, &view, 1, which >= 4, PyBUF_WRITABLE)
        integers, numbers = <int64_t*>view.buf, <double*>view.buf
        for i in range(n):
            if which == 0:
                integers[i] = row[i].count
            elif which == 1:
                integers[i] = row[i].argmin
            elif which == 2:
                integers[i] = row[i].argmax
            elif which == 3:
                integers[i] = row[i].nan_count
            elif which == 4:
                numbers[i] = row[i].low
            elif which == 5:
                numbers[i] = row[i].high
            else:
                numbers[i] = row[i].last
        PyBuffer_Release(&view)
        return array

    cdef object _integer(self, size_t at, int size):
        cdef unsigned char raw[4 * REWIND_DIGITS]
        cdef int n = rewind_digit_bytes(self.table.digits + at, size, raw)
        return from_bytes(raw[:n], "little", signed=True)

    cdef object _mean(self, Py_ssize_t i):
        cdef const rewind_row* row = &self.table.rows[i]
        if not row.count or row.nan_count or (row.pos_inf and row.neg_inf):
            return math.nan
        if row.pos_inf or row.neg_inf:
            return math.inf if row.pos_inf else -math.inf
        return rounded(self._integer(row.at, row.total_size), row.count, 32 * row.total_low - 1074)

    cdef object _m2(self, Py_ssize_t i):
        cdef const rewind_row* row = &self.table.rows[i]
        cdef int low
        if not row.count or row.nan_count or row.pos_inf or row.neg_inf:
            return math.nan
        total = self._integer(row.at, row.total_size)
        squares = self._integer(row.at + row.total_size, row.squares_size)
        low = min(2 * row.total_low, row.squares_low)
        spread = (row.count * squares << 32 * (row.squares_low - low)) - (
            total * total << 32 * (2 * row.total_low - low)
        )
        return rounded(spread, row.count, 32 * low - 2148)


_COLUMNS = ["count", "argmin", "argmax", "nan_count", "min", "max", "last", "mean", "m2"]


# ---- covariance

cdef enum:
    N_ARRAYS = 8


cdef int open_moments(object moments, Py_buffer* views, rewind_columns_of* out, int more_flags) except -1:
    """Open the arrays of a tuple as `comoments` returns it; the caller closes them."""
    cdef int k = 0
    mean, comoment, low, argmin, high, argmax, _, nan_count, first_nan = moments
    try:
        for array in (mean, comoment, low, high, argmin, argmax, nan_count, first_nan):
            open_array(array, &views[k], 2 if k == 1 else 1, k < 4, more_flags)
            k += 1
            if views[k - 1].shape[0] != views[0].shape[0] or k == 2 and views[1].shape[1] != views[0].shape[0]:
                raise ValueError("arrays of moments differ in length")
    except BaseException:
        close_views(views, k)
        raise
    out.mean, out.comoment, out.low, out.high = (
        <double*>views[0].buf,
        <double*>views[1].buf,
        <double*>views[2].buf,
        <double*>views[3].buf,
    )
    out.argmin, out.argmax, out.nan_count, out.first_nan = (
        <int64_t*>views[4].buf,
        <int64_t*>views[5].buf,
        <int64_t*>views[6].buf,
        <int64_t*>views[7].buf,
    )
    return 0


cdef void close_views(Py_buffer* views, int n) noexcept:
    cdef int k
    for k in range(n):
        PyBuffer_Release(&views[k])


cdef tuple empty_moments(Py_ssize_t d, object last):
    real = np.empty
    return (
        real(d),
        real((d, d)),
        real(d),
        real(d, np.int64),
        real(d),
        real(d, np.int64),
        last,
        real(d, np.int64),
        real(d, np.int64),
    )


def comoments(values, start, shift):
    """As in ``sums.py``."""
    cdef Py_buffer view, shift_view
    cdef Py_buffer views[N_ARRAYS]
    cdef rewind_columns_of out
    cdef Py_ssize_t n, d
    cdef int64_t first = start
    cdef int done
    open_array(values, &view, 2, True, 0)
    try:
        n, d = view.shape[0], view.shape[1]
        open_array(shift, &shift_view, 1, True, 0)
        try:
            if not n or not d or shift_view.shape[0] != d:
                raise ValueError(f"values of shape ({n}, {d}) and a shift of shape ({shift_view.shape[0]},)")
            moments = empty_moments(d, values[n - 1].copy())
            open_moments(moments, views, &out, PyBUF_WRITABLE)
            with nogil:
                done = rewind_comoments(
                    <const double*>view.buf, n, d, first, <const double*>shift_view.buf, &out
                )
            close_views(views, N_ARRAYS)
        finally:
            PyBuffer_Release(&shift_view)
    finally:
        PyBuffer_Release(&view)
    if not done:
        raise MemoryError
    return moments


def merged_comoments(count, moments, later_count, later):
    """As in ``sums.py``."""
    cdef Py_buffer views[N_ARRAYS]
    cdef Py_buffer later_views[N_ARRAYS]
    cdef Py_buffer out_views[N_ARRAYS]
    cdef rewind_columns_of a, b, out
    cdef Py_ssize_t d
    cdef double part = later_count / (count + later_count), weight = count * later_count / (count + later_count)
    open_moments(moments, views, &a, 0)
    try:
        open_moments(later, later_views, &b, 0)
        try:
            d = views[0].shape[0]
            if later_views[0].shape[0] != d:
                raise ValueError("arrays of moments differ in length")
            merged = empty_moments(d, later[6])
            open_moments(merged, out_views, &out, PyBUF_WRITABLE)
            rewind_merge_columns(d, &a, &b, part, weight, &out)
            close_views(out_views, N_ARRAYS)
        finally:
            close_views(later_views, N_ARRAYS)
    finally:
        close_views(views, N_ARRAYS)
    return merged
