"""The inner loop of the integer product in `prefilter`, tiled for the CPU's vector registers."""

from __future__ import annotations

from typing import Any

from llvmlite import binding, ir
from numba.core import types

from compressae_ref.backends.numba.simd import (
    WIDTH,
    broadcast,
    intrinsic,
    load_vector,
    pointer,
    require_rows,
    store_vector,
)

_MANY_REGISTERS = binding.get_host_cpu_features().get("avx512f", False)
ROWS_PER_TILE, VECTORS_PER_TILE = (6, 4) if _MANY_REGISTERS else (3, 2)
"""Rows and 16-latent vectors whose sums stay in registers. Integer sums are exact, so the tile size changes no bit."""

LATENTS_PER_TILE = VECTORS_PER_TILE * WIDTH
"""Latents of a tile."""

_SUMS = ir.VectorType(ir.IntType(32), WIDTH)


@intrinsic
def tile(typing_context, rows, group, columns, place, pairs, out):  # type: ignore[no-untyped-def]
    """Compute the dot products of a group of rows with a group of columns.

    out[group · ROWS_PER_TILE + r, place · LATENTS_PER_TILE + j] = Σ_c q[r, c] p[c, j]

    Parameters
    ----------
    rows : (groups, pairs · ROWS_PER_TILE) int32
    columns : (places, pairs · LATENTS_PER_TILE) int32
        Each int32 holds two int16: the values at c and c + 1. Within a pair they are stored row by row (latent by
        latent), so the loop needs two pointers only. LLVM turns two products and their sum into one instruction where
        the CPU has it
    out : int32
    """
    for array in (rows, columns, out):
        require_rows(array)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        rows, group, columns, place, pairs, out = arguments
        zero, index = ir.Constant(pairs.type, 0), pairs.type
        first_row = pointer(context, builder, signature.args[0], rows, group, zero)
        first_column = pointer(context, builder, signature.args[2], columns, place, zero)
        sums = _sum_of_pairs(builder, first_row, first_column, pairs)
        for r in range(ROWS_PER_TILE):
            row = builder.add(builder.mul(group, ir.Constant(index, ROWS_PER_TILE)), ir.Constant(index, r))
            column = builder.mul(place, ir.Constant(index, LATENTS_PER_TILE))
            target = pointer(context, builder, signature.args[5], out, row, column)
            for v in range(VECTORS_PER_TILE):
                store_vector(builder, sums[r][v], builder.gep(target, [ir.Constant(index, v * WIDTH)]), 4)
        return context.get_dummy_value()

    index = types.intp
    return types.void(rows, index, columns, index, index, out), generate


def _sum_of_pairs(builder: Any, rows: Any, columns: Any, pairs: Any) -> list[list[Any]]:
    """Generate the loop over pairs with all sums in registers; the builder ends up after the loop."""
    entry, body, done = builder.block, builder.append_basic_block("pairs"), builder.append_basic_block("done")
    zero, index = ir.Constant(_SUMS, [0] * WIDTH), pairs.type
    builder.branch(body)
    builder.position_at_end(body)
    pair = builder.phi(index)
    before = [[builder.phi(_SUMS) for _ in range(VECTORS_PER_TILE)] for _ in range(ROWS_PER_TILE)]
    row, column = (
        builder.gep(each, [builder.mul(pair, ir.Constant(index, width))])
        for each, width in ((rows, ROWS_PER_TILE), (columns, LATENTS_PER_TILE))
    )
    after = _add_pair(builder, row, column, before)
    following = builder.add(pair, ir.Constant(index, 1))
    builder.cbranch(builder.icmp_signed("<", following, pairs), body, done)
    builder.position_at_end(done)
    for phi, first, next_one in [
        (pair, ir.Constant(index, 0), following),
        *((before[r][v], zero, after[r][v]) for r in range(ROWS_PER_TILE) for v in range(VECTORS_PER_TILE)),
    ]:
        phi.add_incoming(first, entry)
        phi.add_incoming(next_one, body)
    return after


def _add_pair(builder: Any, rows: Any, columns: Any, sums: list[list[Any]]) -> list[list[Any]]:
    """Add the products of one pair of c to the sums."""

    def at(address: Any, distance: int) -> Any:
        return builder.gep(address, [ir.Constant(ir.IntType(64), distance)])

    b = [load_vector(builder, at(columns, v * WIDTH), _SUMS, 4) for v in range(VECTORS_PER_TILE)]
    a = [broadcast(builder, builder.load(at(rows, r))) for r in range(ROWS_PER_TILE)]
    return [
        [_multiply_add(builder, sums[r][v], a[r], b[v]) for v in range(VECTORS_PER_TILE)] for r in range(ROWS_PER_TILE)
    ]


def _multiply_add(builder: Any, sums: Any, a: Any, b: Any) -> Any:
    """Return sums + a₀ b₀ + a₁ b₁; every lane of a and b holds a pair of int16."""
    halves, wide = ir.VectorType(ir.IntType(16), 2 * WIDTH), ir.VectorType(ir.IntType(32), 2 * WIDTH)
    products = builder.mul(*(builder.sext(builder.bitcast(each, halves), wide) for each in (a, b)))
    lanes = ir.VectorType(ir.IntType(32), WIDTH)
    even, odd = (
        builder.shuffle_vector(
            products, ir.Constant(wide, ir.Undefined), ir.Constant(lanes, list(range(first, 2 * WIDTH, 2)))
        )
        for first in (0, 1)
    )
    return builder.add(sums, builder.add(even, odd))
