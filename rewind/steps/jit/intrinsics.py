"""What generated drivers call: a Generator from an address, params from their slots, checks of what a step returned.

numba is imported here when it is first needed, and it is needed by numba steps only. Of its inside only `generator_at`
makes use, which is tried before it is trusted (`rewind.steps.jit.build`); `pointer_at` and the overloads are what
numba documents for extensions.
"""

# What numba is to compile has no annotations: it compares them between an overload and what stands for it.
# mypy: allow-untyped-defs, allow-untyped-decorators, allow-untyped-calls, allow-incomplete-defs
from __future__ import annotations

import functools
import importlib
from typing import Any

import numpy as np

OTHER_SHAPE = "step_fn returned an array of another shape than it was given; a numba step keeps the shape of its state"

#: What the compiler found out: pairs of numba types, of the state a step was given and of what it returned.
CHANGES: list[tuple[Any, Any]] = []


def module(name: str) -> Any:
    """Return a module of numba's, imported now."""
    return importlib.import_module(name)


def _alike(old: Any, new: Any) -> bool:
    """Whether a state of numba type `new` may follow one of type `old`."""
    types = module("numba.types")
    old, new = types.unliteral(old), types.unliteral(new)
    if isinstance(old, types.Array):
        return isinstance(new, types.Array) and (old.dtype, old.ndim) == (new.dtype, new.ndim)
    if isinstance(old, types.BaseTuple):
        same_class = isinstance(new, types.BaseTuple) and _class(old) is _class(new) and len(old) == len(new)
        return same_class and all(_alike(a, b) for a, b in zip(old, new, strict=True))
    return bool(old == new)


def _class(kind: Any) -> type:
    found: type = getattr(kind, "instance_class", tuple)
    return found


def _require(old: Any, new: Any) -> None:
    if not _alike(old, new):
        CHANGES.append((old, new))
        raise module("numba.core.errors").TypingError(f"step_fn was given {old} and returned {new}")


@functools.cache
def names() -> dict[str, Any]:
    """Return the globals of every driver, `generator_at` excepted."""
    numba, types, extending = module("numba"), module("numba.types"), module("numba.extending")
    overload, register_jitable, carray = extending.overload, extending.register_jitable, numba.carray

    @extending.intrinsic
    def pointer_at(typing_context, address):
        def codegen(context, builder, signature, args):
            return builder.inttoptr(args[0], context.get_value_type(types.voidptr))

        return types.voidptr(types.intp), codegen

    def slot_reader(dtype):
        """Return a function that reads slot `k` of the params: of an address, or of an array of int64."""

        def at(params, k): ...

        def overloaded(params, k):
            if isinstance(params, types.Integer):
                return lambda params, k: carray(pointer_at(params + 8 * k), (1,), dtype)[0]
            return lambda params, k: params[k : k + 1].view(dtype)[0]

        overload(at)(overloaded)
        return at

    int_at, float_at = slot_reader(np.int64), slot_reader(np.float64)

    @register_jitable
    def bool_at(params, k):
        return int_at(params, k) != 0

    def fits(old, new):
        """Return `new` with the type of `old`; a ValueError where an array has another shape."""

    @overload(fits)
    def _fits(old, new):
        _require(old, new)
        if not isinstance(old, types.Array):
            return lambda old, new: new
        return own(old, new)

    def own(old, new):
        """Return an implementation that gives an array of the very type of `old`: `new` itself where it is one."""
        if new == old:

            def as_it_is(old, new):
                if new.shape != old.shape:
                    raise ValueError(OTHER_SHAPE)
                return new

            return as_it_is
        if is_fortran(old):

            def fortran(old, new):
                if new.shape != old.shape:
                    raise ValueError(OTHER_SHAPE)
                return new.T.copy().T

            return fortran

        def c(old, new):
            if new.shape != old.shape:
                raise ValueError(OTHER_SHAPE)
            return new.copy()

        return c

    def is_fortran(kind):
        return bool(kind.layout == "F" and kind.ndim > 1)

    def same(old, new):
        """Return `new`, a tuple that is made as `old` is."""

    @overload(same)
    def _same(old, new):
        _require(old, new)
        return lambda old, new: new

    def away(place, new):
        """Whether `new` is not the very array at `place`."""

    @overload(away)
    def _away(place, new):
        if new != place:
            return lambda place, new: True
        return lambda place, new: new.ctypes.data != place.ctypes.data or new.shape != place.shape

    def apart(place, new, start, size):
        """Return `new` if it may be written to `place` after any other array of the state was; else a copy of it."""

    @overload(apart)
    def _apart(place, new, start, size):
        if new != place:  # a copy in any case
            return lambda place, new, start, size: fits(place, new)
        if is_fortran(place):

            def fortran(place, new, start, size):
                new, address = fits(place, new), new.ctypes.data
                if address != place.ctypes.data and start <= address < start + size:
                    return new.T.copy().T
                return new

            return fortran

        def c(place, new, start, size):
            new, address = fits(place, new), new.ctypes.data
            if address != place.ctypes.data and start <= address < start + size:
                return new.copy()
            return new

        return c

    def back(place, new):
        """Write `new`, of the type and shape of `place`, to where that is."""

    @overload(back)
    def _back(place, new):
        def c(place, new):
            if new.ctypes.data != place.ctypes.data:
                # Not place[...] = new: numba would compile what NumPy says of shapes that differ, for a second.
                to, given = place.reshape(place.size), new.reshape(new.size)
                for k in range(to.size):
                    to[k] = given[k]

        def fortran(place, new):
            if new.ctypes.data != place.ctypes.data:
                back(place.T, new.T)

        return fortran if is_fortran(place) else c

    def put(row, i, column, size, value):
        """Write the numbers of `value`, in C order."""

    @overload(put)
    def _put(row, i, column, size, value):
        if isinstance(value, types.Array) and isinstance(value.dtype, (types.Float, types.Integer, types.Boolean)):

            def numbers(row, i, column, size, value):
                if value.size != size:
                    raise ValueError("an array of another size")
                k = column
                for number in value.flat:
                    row[i, k] = number
                    k += 1

            return numbers
        if isinstance(value, (types.Float, types.Integer, types.Boolean)):

            def number(row, i, column, size, value):
                row[i, column] = value

            return number
        return None

    return {
        "apart": apart,
        "away": away,
        "back": back,
        "bool_at": bool_at,
        "carray": carray,
        "cfunc": numba.cfunc,
        "farray": numba.farray,
        "fits": fits,
        "float32": np.float32,
        "float64": types.float64,
        "float_at": float_at,
        "int32": types.int32,
        "int_at": int_at,
        "intp": types.intp,
        "njit": numba.njit,
        "pointer_at": pointer_at,
        "put": put,
        "same": same,
    }


@functools.cache
def generator_at() -> Any:
    """Return the intrinsic that makes numba's Generator of the address of a ``bitgen_t``: no Python object, no call.

    Raises
    ------
    Exception
        Of any kind, where numba is made otherwise inside.
    """
    types, cgutils, ir = module("numba.types"), module("numba.core.cgutils"), module("llvmlite.ir")
    generator, bits = types.NumPyRandomGeneratorType("Generator"), types.NumPyRandomBitGeneratorType("bit_generator")

    def generator_at(typing_context, address):
        def codegen(context, builder, signature, args):
            word = context.get_value_type(types.intp)
            # bitgen_t of numpy/random/bitgen.h: the state, then next_uint64, next_uint32, next_double, next_raw
            fields = builder.inttoptr(args[0], word.as_pointer())

            def field(k):
                return builder.load(builder.gep(fields, [ir.Constant(ir.IntType(32), k)]))

            bit = cgutils.create_struct_proxy(bits)(context, builder)
            bit.state_address = bit.state = field(0)
            bit.fnptr_next_uint64, bit.fnptr_next_uint32, bit.fnptr_next_double = field(1), field(2), field(3)
            bit.bit_generator = args[0]
            bit.parent = context.get_constant_null(types.pyobject)
            made = cgutils.create_struct_proxy(generator)(context, builder)
            made.bit_generator = bit._getvalue()
            made.meminfo = context.get_constant_null(types.MemInfoPointer(types.voidptr))  # nobody counts references
            made.parent = context.get_constant_null(types.pyobject)
            return made._getvalue()

        return generator(types.intp), codegen

    return module("numba.extending").intrinsic(generator_at)
