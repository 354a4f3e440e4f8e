"""Vectors of 16 numbers for kernels, where the compiler's own vectorizer does not find them.

``load(a, row, column)`` returns a[row, column : column + 16] as one value and ``store`` writes it back. ``+``, ``-``
and ``*`` work lane by lane, each with one rounding. LLVM splits the vectors on CPUs with narrower registers. A loop in
steps of 16 therefore has the bits of the scalar loop, and keeps its sums in registers. Bounds are not checked.
"""

from __future__ import annotations

import operator
import sys
from typing import Any

import numpy as np
from llvmlite import ir
from numba import extending
from numba.core import types
from numba.core.errors import TypingError
from numba.extending import models, overload, register_model

from compressae_ref.arrays import CACHE_LINE_BYTES
from compressae_ref.backends.numba.jit import inlined

intrinsic: Any = extending.intrinsic
"""Numba's decorator for functions that generate LLVM code. Any, because it changes the function's arguments."""

WIDTH = 16


class Lanes(types.Type):
    """The Numba type of a vector of 16 numbers."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, data_models: Any, lanes: Lanes) -> None:
        super().__init__(data_models, lanes, vector(lanes.dtype))


_SCALARS = {types.float32: ir.FloatType(), types.float64: ir.DoubleType(), types.int16: ir.IntType(16)}


def vector(dtype: Any) -> ir.VectorType:
    """Return the LLVM vector type of 16 numbers of a Numba dtype."""
    return ir.VectorType(_SCALARS[dtype], WIDTH)


def require_rows(array: Any) -> None:
    """Raise TypingError unless an array is C-contiguous and two-dimensional: `pointer` assumes both."""
    if array.ndim != 2 or array.layout != "C":
        raise TypingError(f"expected a C-contiguous array of two dimensions, got {array}")


def pointer(context: Any, builder: Any, array_type: Any, array: Any, row: Any, column: Any) -> Any:
    """Return the address of a[row, column] in a C-contiguous two-dimensional array."""
    fields = context.make_array(array_type)(context, builder, array)
    width = builder.extract_value(fields.shape, 1)
    return builder.gep(fields.data, [builder.add(builder.mul(row, width), column)])


def load_vector(builder: Any, address: Any, vector_type: ir.VectorType, align: int) -> Any:
    """Load a vector with the alignment ``align``."""
    loaded = builder.load(builder.bitcast(address, vector_type.as_pointer()))
    loaded.align = align
    return loaded


def store_vector(builder: Any, value: Any, address: Any, align: int) -> None:
    """Store a vector with the alignment ``align``."""
    builder.store(value, builder.bitcast(address, value.type.as_pointer())).align = align


def broadcast(builder: Any, scalar: Any) -> Any:
    """Return a vector with ``scalar`` in every lane."""
    vector_type, index = ir.VectorType(scalar.type, WIDTH), ir.IntType(32)
    undefined = ir.Constant(vector_type, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(index, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(index, WIDTH), [0] * WIDTH))


@intrinsic
def load(typing_context, a, row, column):  # type: ignore[no-untyped-def]
    """Return a[row, column : column + 16]."""
    require_rows(a)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        array = signature.args[0]
        address = pointer(context, builder, array, *arguments)
        return load_vector(builder, address, vector(array.dtype), array.dtype.bitwidth // 8)

    return Lanes(a.dtype)(a, types.intp, types.intp), generate


@intrinsic
def store(typing_context, a, row, column, lanes):  # type: ignore[no-untyped-def]
    """Set a[row, column : column + 16] = lanes."""
    require_rows(a)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        array, (*place, value) = signature.args[0], arguments
        store_vector(builder, value, pointer(context, builder, array, *place), array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(a, types.intp, types.intp, lanes), generate


@intrinsic
def splat(typing_context, scalar):  # type: ignore[no-untyped-def]
    """Return a vector with ``scalar`` in every lane."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return broadcast(builder, arguments[0])

    return Lanes(scalar)(scalar), generate


@intrinsic
def cmp_ge_unordered(typing_context, a, b):  # type: ignore[no-untyped-def]
    """Return 16 bits, lane 0 lowest: 1 where a ≥ b or either is NaN."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        compare = builder.icmp_signed if a.dtype is types.int16 else builder.fcmp_unordered
        bits = builder.bitcast(compare(">=", *arguments), ir.IntType(WIDTH))
        return builder.zext(bits, ir.IntType(64))

    return types.int64(a, b), generate


@intrinsic
def count_trailing_zeros(typing_context, bits):  # type: ignore[no-untyped-def]
    """Return the position of the lowest set bit; 64 if there is none."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), generate


@intrinsic
def load_u64(typing_context, a, row, column):  # type: ignore[no-untyped-def]
    """Return the bytes a[row, column : column + 8] as one little-endian integer."""
    require_rows(a)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        address = pointer(context, builder, signature.args[0], *arguments)
        loaded = builder.load(builder.bitcast(address, ir.IntType(64).as_pointer()))
        loaded.align = 1
        return loaded if sys.byteorder == "little" else builder.bswap(loaded)

    return types.uint64(a, types.intp, types.intp), generate


@intrinsic
def popcount(typing_context, bits):  # type: ignore[no-untyped-def]
    """Return the number of set bits."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.ctpop(arguments[0])

    return types.int64(types.int64), generate


@intrinsic
def as_float(typing_context, bits):  # type: ignore[no-untyped-def]
    """Reinterpret the bits of a uint32 as a float32."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), generate


def _operation(instruction: str) -> Any:
    @intrinsic
    def operate(typing_context, a, b):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return getattr(builder, instruction)(*arguments)

        return a(a, b), generate

    return operate


_add, _sub, _mul = _operation("fadd"), _operation("fsub"), _operation("fmul")


def _choice(comparison: str) -> Any:
    """Make a lane-wise choice: a where the comparison with b holds, else b, also where a is NaN."""

    @intrinsic
    def choose(typing_context, a, b):  # type: ignore[no-untyped-def]
        def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
            return builder.select(builder.fcmp_ordered(comparison, *arguments), *arguments)

        return a(a, b), generate

    return choose


maximum, minimum = _choice(">"), _choice("<")


@overload(operator.add)
def _add_lanes(a, b):  # type: ignore[no-untyped-def]
    if isinstance(a, Lanes) and isinstance(b, Lanes):
        return lambda a, b: _add(a, b)
    return None


@overload(operator.sub)
def _sub_lanes(a, b):  # type: ignore[no-untyped-def]
    if isinstance(a, Lanes) and isinstance(b, Lanes):
        return lambda a, b: _sub(a, b)
    return None


@overload(operator.mul)
def _mul_lanes(a, b):  # type: ignore[no-untyped-def]
    if isinstance(a, Lanes) and isinstance(b, Lanes):
        return lambda a, b: _mul(a, b)
    return None


@inlined
def aligned_rows(rows, columns, dtype):  # type: ignore[no-untyped-def]
    """Return an uninitialized array whose first row is aligned to a cache line; columns are padded to full vectors."""
    columns += -columns % WIDTH
    buffer = np.empty(rows * columns + CACHE_LINE_BYTES, dtype)
    start = (-buffer.ctypes.data % CACHE_LINE_BYTES) // buffer.itemsize
    return buffer[start : start + rows * columns].reshape(rows, columns)
