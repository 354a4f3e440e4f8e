"""Numba kernels that select the largest entries: `ops.encode` and `ops.split_codes`, to the bit."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np

from compressae_ref import ops
from compressae_ref.arrays import Floats
from compressae_ref.backends.numba_sums import dot, kernel, row_dots
from compressae_ref.codes import Codes

DIGIT_BITS = 11
"""Bits that one pass of the radix selection looks at: its histogram of 2048 counters stays in the first-level cache."""


def encode(x_unit: Floats, W_enc: Floats, b_enc: Floats, k: int) -> Codes:
    near = x_unit @ W_enc
    near += b_enc
    indices, values = np.empty((len(near), k), np.int32), np.empty((len(near), k), near.dtype)
    columns = np.ascontiguousarray(W_enc.T)
    margin = 2 * ops.pre_bound(W_enc, b_enc, row_dots)
    _encode(near, *_ordered_bits(near), margin, x_unit, columns, b_enc, indices, values)
    return Codes.trusted(indices, values, near.shape[1])


def split_codes(codes: Codes, k: int) -> tuple[Codes, Codes]:
    parts = []
    for width in (k, codes.k - k):
        shape = (len(codes), width)
        parts.append((np.empty(shape, np.int32), np.empty(shape, codes.values.dtype)))
    _split(codes.indices, codes.values, *_ordered_bits(codes.values), *parts[0], *parts[1])
    kept, rest = (Codes.trusted(*part, codes.n_latents, codes.model) for part in parts)
    return kept, rest


def _ordered_bits(values: Floats) -> tuple[Any, int]:
    """The values' bits as unsigned integers (the kernels drop the sign), and how many bits are left without it."""
    return values.view(f"u{values.itemsize}"), 8 * values.itemsize - 1


@kernel(parallel=True)
def _encode(near, order, bits, margin, x_unit, columns, b_enc, indices, values):  # type: ignore[no-untyped-def]
    k = indices.shape[1]
    for row in numba.prange(near.shape[0]):
        possible = _not_below(near[row], _kth_magnitude(near[row], order[row], k, bits) - margin)
        pre, terms = np.empty(possible.size, near.dtype), np.empty(x_unit.shape[1], near.dtype)
        for i in range(possible.size):
            # −0 becomes +0 (R2)
            pre[i] = dot(x_unit[row], columns[possible[i]], terms) + b_enc[possible[i]] + near.dtype.type(0)
        kept = np.empty(k, np.int32)
        _largest(pre.view(order.dtype), bits, kept)
        for t in range(k):
            indices[row, t], values[row, t] = possible[kept[t]], pre[kept[t]]


@kernel()
def _kth_magnitude(near, order, k, bits):  # type: ignore[no-untyped-def]
    """The k-th largest |value| of a row, as a float."""
    key = np.empty(1, order.dtype)
    key[0] = _kth_largest(_magnitudes(order, bits), k, bits)
    return key.view(near.dtype)[0]


@kernel()
def _not_below(near, cut):  # type: ignore[no-untyped-def]
    """Positions whose magnitude is not below ``cut``; NaN never is."""
    positions, found = np.empty(near.size, np.int32), 0
    for j in range(near.size):
        if not (abs(near[j]) < cut):
            positions[found] = j
            found += 1
    return positions[:found]


@kernel(parallel=True)
def _split(  # type: ignore[no-untyped-def]
    indices, values, order, bits, kept_indices, kept_values, rest_indices, rest_values
):
    k = kept_indices.shape[1]
    for row in numba.prange(indices.shape[0]):
        kept = np.empty(k, np.int32)
        _largest(order[row], bits, kept)
        t = 0
        for i in range(indices.shape[1]):
            if t < k and kept[t] == i:
                kept_indices[row, t], kept_values[row, t] = indices[row, i], values[row, i]
                t += 1
            else:
                rest_indices[row, i - t], rest_values[row, i - t] = indices[row, i], values[row, i]


@kernel()
def _largest(order, bits, positions):  # type: ignore[no-untyped-def]
    """Positions of the ``positions.size`` largest keys of a row, ascending; ties to the lower position."""
    k, keys = positions.size, _magnitudes(order, bits)
    threshold = _kth_largest(keys.copy(), k, bits)
    free = k
    for j in range(keys.size):
        free -= keys[j] > threshold
    t = 0
    for j in range(keys.size):
        if keys[j] > threshold:
            positions[t] = j
            t += 1
        elif keys[j] == threshold and free > 0:
            positions[t] = j
            t += 1
            free -= 1


@kernel()
def _magnitudes(order, bits):  # type: ignore[no-untyped-def]
    """Keys that order like |value|: the bits without the sign."""
    return order & order.dtype.type((np.uint64(1) << np.uint64(bits)) - np.uint64(1))


@kernel()
def _kth_largest(keys, k, bits):  # type: ignore[no-untyped-def]
    """The k-th largest of unsigned keys; ``keys`` is overwritten.

    Radix selection from the top digit down: count the digits, find the one that holds the k-th key, keep its keys.
    """
    counts = np.empty(1 << DIGIT_BITS, np.int64)
    m, mask, shift = keys.size, keys.dtype.type((1 << DIGIT_BITS) - 1), bits - DIGIT_BITS
    while True:
        counts[:] = 0
        for i in range(m):
            counts[(keys[i] >> keys.dtype.type(shift)) & mask] += 1
        digit = counts.size - 1
        while counts[digit] < k:
            k -= counts[digit]
            digit -= 1
        kept = 0
        for i in range(m):
            if (keys[i] >> keys.dtype.type(shift)) & mask == digit:
                keys[kept] = keys[i]
                kept += 1
        m = kept
        if shift == 0 or m == 1:
            return keys[0]
        shift = max(shift - DIGIT_BITS, 0)
