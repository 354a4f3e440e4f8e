"""Find the latents that can be among the k largest of a row, with a product of 16-bit integers.

This costs half as much as a BLAS product and leaves few candidates.

Rows and columns are rounded to integers: x̄ᵢ = (qᵢ + rᵢ)/S and wⱼ = ‖wⱼ‖ (pⱼ + sⱼ)/S, with S = 32,000 and remainders r,
s of at most 1/2. Integer products and sums are exact in any order, because ⟨qᵢ, pⱼ⟩ ≤ ‖qᵢ‖ ‖pⱼ‖ < 2³¹. The only
error is the rounding to integers, which is measured. With δ = max ‖rᵢ‖/S and ε = max ‖sⱼ‖/S,

    |⟨x̄ᵢ, wⱼ⟩ − ‖wⱼ‖ ⟨qᵢ, pⱼ⟩/S²| = |⟨x̄ᵢ, ‖wⱼ‖ sⱼ/S⟩ + ⟨rᵢ/S, ‖wⱼ‖ pⱼ/S⟩| ≤ ‖wⱼ‖ (‖x̄ᵢ‖ ε + δ (1 + ε)).

No value of this product is stored: it only excludes latents, as the BLAS product does in `backends.numpy.encode`.
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
"""S: the norm of a row of integers, with some margin below 2^15."""

MIN_SIZE = 1e-25
"""An encoder smaller than this may underflow, so the filter excludes none of its latents."""

MIN_RELATIVE_NORM = 1e-7
"""Columns shorter than MIN_RELATIVE_NORM · MIN_SIZE count as zero."""

LATENTS_PER_WORD = 4 * WIDTH
"""Latents that are compared at once, one bit each."""

ROWS_PER_BLOCK = 96
"""The magnitudes of this many rows fit the L2 cache."""


class Filter(NamedTuple):
    """An encoder in integers, divided by the larger of its longest column norm and its largest |bias|."""

    columns: Any
    """int32: pairs of int16 in the layout of `int16_gemm.tile`, padded with zeros"""
    affine: Any
    """(2, h) float32: the factor of ⟨qᵢ, pⱼ⟩, and the bias; NaN for latents that cannot be excluded"""
    error: float
    """bound of the error of a pre-activation, without its δ term"""


def make_filter(columns: Floats, b_enc: Floats) -> Filter:
    """Round W_encᵀ (h, d) to integers, with the scales that turn products into pre-activations."""
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
    """Round x · factor to integers; return an upper bound of the norm of the remainder, divided by S."""
    total = x.dtype.type(0)
    for c in range(x.size):
        scaled = x[c] * factor
        nearest = np.rint(scaled)
        integers[c] = np.int16(nearest)
        total += (scaled - nearest) * (scaled - nearest)
    return 1.01 * np.sqrt(np.float64(total)) / SCALE


@inlined
def _interleave(pairs, width, packed):  # type: ignore[no-untyped-def]
    """Set packed[p · width + lane] = pairs[lane, p], in blocks that fit the cache."""
    for block in range(0, pairs.shape[1], 16):
        for lane in range(width):
            for p in range(block, min(block + 16, pairs.shape[1])):
                packed[p * width + lane] = pairs[lane, p]


@inlined
def candidates(x_unit, start, stop, k, prefilter):  # type: ignore[no-untyped-def]
    """Return the latents that may be among the k largest of each row, ascending: starts (rows + 1,) and latents."""
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
    """Multiply the first n rows of integers, rounded up to whole groups, with all columns."""
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
    """Find latents whose magnitude is NaN or at most ``margin`` below the k-th largest; return their number."""
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
    """Find latents whose magnitude is not below ``cut``; return their number.

    Four entries are always written, and surplus entries are overwritten later. A loop of the exact length would be
    slower: its end is unpredictable, and a mispredicted branch costs more than the extra writes.
    """
    count, cuts = 0, splat(cut)
    for block in range(0, near.shape[1], LATENTS_PER_WORD):
        bits = np.int64(0)
        for part in range(4):
            bits |= cmp_ge_unordered(load(near, 0, block + part * WIDTH), cuts) << (part * WIDTH)
        written, after = count, count + popcount(bits)
        while written < after:
            for _ in range(4):
                found[written] = block + count_trailing_zeros(bits)
                bits &= bits - 1
                written += 1
        count = after
    while count > 0 and found[count - 1] >= n_latents:
        count -= 1
    return count


@inlined
def _below_kth(near, n_latents, k):  # type: ignore[no-untyped-def]
    """Return a lower bound of the k-th largest magnitude: the k-th largest of the maxima of groups."""
    per_group = max(1, min(16, n_latents // max(2 * k, 2 * WIDTH)))
    groups = n_latents // per_group
    groups += -groups % WIDTH if per_group == 1 else -(groups % WIDTH)  # the array is padded with zeros
    largest = aligned_rows(1, groups, near.dtype)
    for g in range(0, groups, WIDTH):
        group = splat(near.dtype.type(0))
        for m in range(per_group):
            group = maximum(load(near, 0, m * groups + g), group)
        store(largest, 0, g, group)
    return _kth_largest(largest, k, np.int64(15))


@inner
def _kth_largest(magnitudes, k, last_bit):  # type: ignore[no-untyped-def]
    """Return the k-th largest of non-negative float32 without NaN, down to ``last_bit``, as `topk.kth_largest` does."""
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
