"""Which latents can be among the k largest of a row: a product of 16-bit integers leaves few, at half the cost of BLAS.

Rows and columns are rounded to integers: x̄ᵢ = (qᵢ + rᵢ)/S and wⱼ = ‖wⱼ‖ (pⱼ + sⱼ)/S, with S = 32,000 and remainders r,
s of at most 1/2. Integers are multiplied and added up without any error, in any order: ⟨qᵢ, pⱼ⟩ ≤ ‖qᵢ‖ ‖pⱼ‖ < 2³¹.
What is left is the rounding to integers, and that is measured: with δ = max ‖rᵢ‖/S and ε = max ‖sⱼ‖/S,

    |⟨x̄ᵢ, wⱼ⟩ − ‖wⱼ‖ ⟨qᵢ, pⱼ⟩/S²| = |⟨x̄ᵢ, ‖wⱼ‖ sⱼ/S⟩ + ⟨rᵢ/S, ‖wⱼ‖ pⱼ/S⟩| ≤ ‖wⱼ‖ (‖x̄ᵢ‖ ε + δ (1 + ε)).

No number of this product is ever stored: it says where `encode` need not look, as BLAS does in `backends.numpy.encode`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from compressae_ref.arrays import Floats, aligned_empty
from compressae_ref.backends.numba.int16_gemm import LATENTS_PER_TILE, ROWS_PER_TILE, tile
from compressae_ref.backends.numba.jit import any_order, inlined, inner, kernel
from compressae_ref.backends.numba.simd import (
    WIDTH,
    aligned_rows,
    as_float,
    cmp_ge_unordered,
    count_trailing_zeros,
    load,
    maximum,
    popcount,
    splat,
    store,
)
from compressae_ref.backends.thread_pool import parallel_for

SCALE = 32_000
"""S: the norm of a row of integers, with some room below 2^15."""

MIN_SIZE = 1e-25
"""Below this size numbers may underflow, and no latent is known."""

MIN_RELATIVE_NORM = 1e-7
"""Columns that are shorter than this times `SMALLEST` are taken for zero."""

LATENTS_PER_WORD = 4 * WIDTH
"""Latents that are compared together: a bit for each."""

ROWS_PER_BLOCK = 96
"""Rows whose magnitudes are in memory at once: the second-level cache holds them until they are looked at."""


class Filter(NamedTuple):
    """An encoder in integers, divided by ``size``: the norm of its longest column, or its largest bias."""

    columns: Any
    """(h / LATENTS, LATENTS · d / 2) int32: pairs of int16 as `int16_gemm.tile` reads them, filled up with zeros"""
    affine: Any
    """(2, h) float32: what ⟨qᵢ, pⱼ⟩ is multiplied by, and the bias; NaN where nothing is known"""
    error: float
    """what a pre-activation may differ by from its exact-order value, but for δ"""


def make_filter(columns: Floats, b_enc: Floats) -> Filter:
    """The integers of W_encᵀ (h, d), and what turns their products into pre-activations."""
    h, d = columns.shape
    norms, remainders = np.empty(h), np.zeros(h)
    packed = aligned_empty((-(-h // LATENTS_PER_TILE), (d + 1) // 2 * LATENTS_PER_TILE), np.int32)
    parallel_for(len(packed), 8, _pack_columns, columns, packed, norms, remainders)
    known = np.isfinite(norms) & np.isfinite(b_enc)
    size = max(norms[known].max(initial=0), np.abs(b_enc[known]).max(initial=0))
    with np.errstate(all="ignore"):
        scales = np.where(known & (size > MIN_SIZE), norms / size / SCALE**2, np.nan)
        affine = np.array([scales, b_enc / size], np.float32)
    rounding = 2 * (d + 8) * np.finfo(columns.dtype).eps + 16 * np.finfo(np.float32).eps
    return Filter(packed, affine, 1.02 * (remainders.max() + MIN_RELATIVE_NORM) + float(rounding))


@any_order
def _sum_of_squares(x):  # type: ignore[no-untyped-def]
    total = 0.0
    for c in range(x.size):
        total += np.float64(x[c]) * np.float64(x[c])
    return total


@kernel
def _pack_columns(columns, packed, norms, remainders, start, stop):  # type: ignore[no-untyped-def]
    h, pairs = columns.shape[0], packed.shape[1] // LATENTS_PER_TILE
    integers = np.zeros((LATENTS_PER_TILE, 2 * pairs), np.int16)
    for place in range(start, stop):
        for lane in range(LATENTS_PER_TILE):
            j = place * LATENTS_PER_TILE + lane
            integers[lane] = 0
            if j < h:
                norms[j] = np.sqrt(_sum_of_squares(columns[j]))
                if MIN_RELATIVE_NORM * MIN_SIZE < norms[j] < np.inf:
                    factor = columns.dtype.type(SCALE / norms[j])
                    remainders[j] = _rounded(columns[j], factor, integers[lane])
        _interleave(integers.view(np.int32), LATENTS_PER_TILE, packed[place])


@inlined
def _pack_rows(x_unit, packed, remainders):  # type: ignore[no-untyped-def]
    integers = np.zeros((ROWS_PER_TILE, 2 * packed.shape[1] // ROWS_PER_TILE), np.int16)
    for row in range(0, x_unit.shape[0], ROWS_PER_TILE):
        count = min(ROWS_PER_TILE, x_unit.shape[0] - row)
        for lane in range(count):
            remainders[row + lane] = _rounded(x_unit[row + lane], x_unit.dtype.type(SCALE), integers[lane])
        _interleave(integers.view(np.int32), ROWS_PER_TILE, packed[row // ROWS_PER_TILE])


@any_order
def _rounded(x, factor, integers):  # type: ignore[no-untyped-def]
    """Round x · factor to integers; returns the norm of the remainder over S, with the rounding of this sum."""
    total = x.dtype.type(0)
    for c in range(x.size):
        scaled = x[c] * factor
        nearest = np.rint(scaled)
        integers[c] = np.int16(nearest)
        total += (scaled - nearest) * (scaled - nearest)
    return 1.01 * np.sqrt(np.float64(total)) / SCALE


@inlined
def _interleave(pairs, width, packed):  # type: ignore[no-untyped-def]
    """packed[p · width + lane] = pairs[lane, p], in blocks of which all lines are in a cache."""
    for block in range(0, pairs.shape[1], 16):
        for lane in range(width):
            for p in range(block, min(block + 16, pairs.shape[1])):
                packed[p * width + lane] = pairs[lane, p]


@inlined
def candidates(x_unit, start, stop, k, prefilter):  # type: ignore[no-untyped-def]
    """Latents that may be among the k largest of each row: starts (rows + 1,) and latents, ascending in each row."""
    columns, affine, error = prefilter
    n_latents, pairs = affine.shape[1], (x_unit.shape[1] + 1) // 2
    integers = np.zeros((ROWS_PER_BLOCK // ROWS_PER_TILE, pairs * ROWS_PER_TILE), np.int32)
    products = aligned_rows(ROWS_PER_BLOCK, columns.shape[0] * LATENTS_PER_TILE, columns.dtype)
    near = aligned_rows(1, n_latents + -n_latents % LATENTS_PER_WORD, affine.dtype)
    near[:] = 0
    starts, found = np.zeros(stop - start + 1, np.int64), np.empty((stop - start) * (k + 64), np.int32)
    errors = np.empty(ROWS_PER_BLOCK)
    for block in range(start, stop, ROWS_PER_BLOCK):
        rows = min(ROWS_PER_BLOCK, stop - block)
        _pack_rows(x_unit[block : block + rows], integers, errors)
        _multiply(integers, rows, columns, pairs, products)
        for r in range(rows):
            used = starts[block + r - start]
            if used + near.size + LATENTS_PER_WORD > found.size:
                found = _longer(found, 2 * found.size + near.size + LATENTS_PER_WORD)
            for j in range(n_latents):
                near[0, j] = abs(np.float32(products[r, j]) * affine[0, j] + affine[1, j])
            margin = np.float32(2.0001 * (error + 1.02 * errors[r]))
            starts[block + r - start + 1] = used + _possible(near, n_latents, k, margin, found[used:])
    return starts, found


@inlined
def _multiply(rows, n, columns, pairs, out):  # type: ignore[no-untyped-def]
    """Products of the first n rows of integers, and of those that fill up their group, with all columns."""
    for place in range(columns.shape[0]):
        for group in range((n + ROWS_PER_TILE - 1) // ROWS_PER_TILE):
            tile(rows, group, columns, place, pairs, out)


@inlined
def _longer(array, size):  # type: ignore[no-untyped-def]
    longer = np.empty(size, array.dtype)
    for i in range(array.size):
        longer[i] = array[i]
    return longer


@inlined
def _possible(near, n_latents, k, margin, found):  # type: ignore[no-untyped-def]
    """Latents whose magnitude is not more than ``margin`` below the k-th largest, or not known. Returns how many."""
    count = _at_least(near, n_latents, _below_kth(near, n_latents, k) - margin, found)
    magnitudes = aligned_rows(1, count, near.dtype)
    magnitudes[:] = 0
    for i in range(count):
        value = near[0, found[i]]
        magnitudes[0, i] = value if value == value else 0
    cut = _kth_largest(magnitudes, k, np.int64(0)) - margin
    kept = 0
    for i in range(count):
        found[kept] = found[i]
        kept += not (near[0, found[i]] < cut)
    return kept


@inlined
def _at_least(near, n_latents, cut, found):  # type: ignore[no-untyped-def]
    """Latents whose magnitude is not below ``cut``. Returns how many.

    Where a word has any, 4 are written in any case, and what is too much is overwritten: a processor cannot guess how
    many there will be, and a wrong guess costs more than the writing.
    """
    count, cuts = 0, splat(cut)
    for block in range(0, near.shape[1], LATENTS_PER_WORD):
        bits = np.int64(0)
        for part in range(4):
            bits |= cmp_ge_unordered(load(near, 0, block + part * WIDTH), cuts) << (part * WIDTH)
        some, after = count, count + popcount(bits)
        while some < after:
            for _ in range(4):
                found[some] = block + count_trailing_zeros(bits)
                bits &= bits - 1
                some += 1
        count = after
    while count > 0 and found[count - 1] >= n_latents:
        count -= 1
    return count


@inlined
def _below_kth(near, n_latents, k):  # type: ignore[no-untyped-def]
    """Something not above the k-th largest magnitude, and close: the k-th largest among the largest of groups."""
    per_group = max(1, min(16, n_latents // max(2 * k, 2 * WIDTH)))
    groups = n_latents // per_group
    groups += -groups % WIDTH if per_group == 1 else -(groups % WIDTH)  # zeros follow the magnitudes
    largest = aligned_rows(1, groups, near.dtype)
    for g in range(0, groups, WIDTH):
        group = splat(near.dtype.type(0))
        for m in range(per_group):
            group = maximum(load(near, 0, m * groups + g), group)
        store(largest, 0, g, group)
    return _kth_largest(largest, k, np.int64(15))


@inner
def _kth_largest(magnitudes, k, last_bit):  # type: ignore[no-untyped-def]
    """The k-th largest of a row of float32 without sign or NaN, down to ``last_bit``: as `numba_select.kth_largest`."""
    threshold = np.uint32(0)
    for bit in range(30, last_bit - 1, -1):
        trial = threshold | (np.uint32(1) << np.uint32(bit))
        count, trials = 0, splat(as_float(trial))
        for block in range(0, magnitudes.shape[1], WIDTH):
            count += popcount(cmp_ge_unordered(load(magnitudes, 0, block), trials))
        if count >= k:
            threshold = trial
        if count == k:
            break
    return as_float(threshold)
