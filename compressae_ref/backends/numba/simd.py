"""Vectors of 16 numbers for kernels: what a compiler's own vectoriser leaves on the table.

``load(a, row, column)`` gives a[row, column : column + 16] as one value; ``+``, ``-`` and ``*`` work lane by lane, each
with one rounding, as on the numbers themselves; ``store`` writes them back. LLVM splits them for narrower processors.
So a loop in steps of 16 gives the bits of the loop in steps of 1, and keeps its sums in registers. Nothing checks that
the 16 numbers are there.
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
"""Numba's decorator for functions that write their own LLVM code; what it makes has other arguments."""

WIDTH = 16


class Lanes(types.Type):
    """The type of 16 numbers of one dtype."""

    def __init__(self, dtype: Any) -> None:
        self.dtype = dtype
        super().__init__(name=f"Lanes({dtype})")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, data_models: Any, lanes: Lanes) -> None:
        super().__init__(data_models, lanes, vector(lanes.dtype))


_SCALARS = {types.float32: ir.FloatType(), types.float64: ir.DoubleType(), types.int16: ir.IntType(16)}


def vector(dtype: Any) -> ir.VectorType:
    """LLVM's vector of 16 numbers of a Numba dtype."""
    return ir.VectorType(_SCALARS[dtype], WIDTH)


def require_rows(array: Any) -> None:
    """Refuse to compile for an array that is not C-contiguous with two dimensions: addresses are computed for those."""
    if array.ndim != 2 or array.layout != "C":
        raise TypingError(f"expected a C-contiguous array of two dimensions, got {array}")


def pointer(context: Any, builder: Any, array_type: Any, array: Any, row: Any, column: Any) -> Any:
    """Address of a[row, column] in a C-contiguous array of two dimensions."""
    fields = context.make_array(array_type)(context, builder, array)
    width = builder.extract_value(fields.shape, 1)
    return builder.gep(fields.data, [builder.add(builder.mul(row, width), column)])


def load_vector(builder: Any, address: Any, vector_type: ir.VectorType, align: int) -> Any:
    """A load that need not be aligned to the whole vector."""
    loaded = builder.load(builder.bitcast(address, vector_type.as_pointer()))
    loaded.align = align
    return loaded


def store_vector(builder: Any, value: Any, address: Any, align: int) -> None:
    """A store that need not be aligned to the whole vector."""
    builder.store(value, builder.bitcast(address, value.type.as_pointer())).align = align


def broadcast(builder: Any, scalar: Any) -> Any:
    """A vector whose numbers are all ``scalar``."""
    vector_type, index = ir.VectorType(scalar.type, WIDTH), ir.IntType(32)
    undefined = ir.Constant(vector_type, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(index, 0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(index, WIDTH), [0] * WIDTH))


@intrinsic
def load(typing_context, a, row, column):  # type: ignore[no-untyped-def]
    """a[row, column : column + 16]."""
    require_rows(a)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        array = signature.args[0]
        address = pointer(context, builder, array, *arguments)
        return load_vector(builder, address, vector(array.dtype), array.dtype.bitwidth // 8)

    return Lanes(a.dtype)(a, types.intp, types.intp), generate


@intrinsic
def store(typing_context, a, row, column, lanes):  # type: ignore[no-untyped-def]
    """a[row, column : column + 16] = lanes."""
    require_rows(a)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        array, (*place, value) = signature.args[0], arguments
        store_vector(builder, value, pointer(context, builder, array, *place), array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(a, types.intp, types.intp, lanes), generate


@intrinsic
def splat(typing_context, scalar):  # type: ignore[no-untyped-def]
    """16 times the same number."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return broadcast(builder, arguments[0])

    return Lanes(scalar)(scalar), generate


@intrinsic
def cmp_ge_unordered(typing_context, a, b):  # type: ignore[no-untyped-def]
    """A bit for each lane, the first one lowest: whether a < b does not hold, as where one is NaN."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        compare = builder.icmp_signed if a.dtype is types.int16 else builder.fcmp_unordered
        bits = builder.bitcast(compare(">=", *arguments), ir.IntType(WIDTH))
        return builder.zext(bits, ir.IntType(64))

    return types.int64(a, b), generate


@intrinsic
def count_trailing_zeros(typing_context, bits):  # type: ignore[no-untyped-def]
    """The place of the lowest bit that is set; 64 if none is."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.int64(types.int64), generate


@intrinsic
def load_u64(typing_context, a, row, column):  # type: ignore[no-untyped-def]
    """The eight bytes a[row, column : column + 8] of an array of bytes as one number, the first one lowest."""
    require_rows(a)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        address = pointer(context, builder, signature.args[0], *arguments)
        loaded = builder.load(builder.bitcast(address, ir.IntType(64).as_pointer()))
        loaded.align = 1
        return loaded if sys.byteorder == "little" else builder.bswap(loaded)

    return types.uint64(a, types.intp, types.intp), generate


@intrinsic
def popcount(typing_context, bits):  # type: ignore[no-untyped-def]
    """The number of bits that are set."""

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        return builder.ctpop(arguments[0])

    return types.int64(types.int64), generate


@intrinsic
def as_float(typing_context, bits):  # type: ignore[no-untyped-def]
    """The float32 whose bits are those of an uint32."""

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
    """a where the comparison with b holds, else b, lane by lane: b where a is NaN."""

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
    """An empty array (rows, columns or a few more) whose rows begin with a cache line."""
    columns += -columns % WIDTH
    room = np.empty(rows * columns + CACHE_LINE_BYTES, dtype)
    start = (-room.ctypes.data % CACHE_LINE_BYTES) // room.itemsize
    return room[start : start + rows * columns].reshape(rows, columns)
