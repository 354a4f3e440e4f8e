"""Numba kernel for `backends.numpy.bit_packing.unpack_rows`; it reads 64 bits at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.backends.numba.jit import inlined, kernel
from compressae_ref.backends.numba.simd import count_trailing_zeros, load_u64
from compressae_ref.backends.numba.topk import empty_codes
from compressae_ref.backends.numpy import bit_packing
from compressae_ref.backends.thread_pool import parallel_for

ROWS_PER_TASK = 4096

BITS_PER_READ = 56
"""Bits that one 64-bit load always covers, whichever bit of its first byte they start at."""


class RowFormat(NamedTuple):
    """How a packed row is laid out, in bits (``spec/packed.md``)."""

    low: int
    """low bits of each index, stored as they are"""
    highs: int
    """high bits of all indices together, in unary"""
    bits: int
    """of a value"""
    total: int
    """of a row without its padding"""
    n_latents: int


def unpack_rows(data: NDArray[np.uint8], n_latents: int, k: int, bits: int) -> tuple[Any, Floats]:
    low, highs, _, total, _ = bit_packing.Layout.of(n_latents, k, bits)
    indices, values = empty_codes(len(data), k, np.float32)
    bad = np.zeros(len(data), np.bool_)
    row_format = RowFormat(low, highs, bits, total, n_latents)
    parallel_for(
        len(data),
        ROWS_PER_TASK,
        _unpack,
        np.ascontiguousarray(data),
        row_format,
        bit_packing.value_of(bits),
        indices,
        values,
        bad,
    )
    if bad.any():
        row = int(np.argmax(bad))
        bit_packing.unpack_block(data[row : row + 1], n_latents, k, bits, row)  # raises the error of this row
    return indices, values


@kernel
def _unpack(data, row_format, value_of, indices, values, bad, start, stop):  # type: ignore[no-untyped-def]
    low, highs, bits, total, n_latents = row_format
    row_bytes, k = data.shape[1], indices.shape[1]
    padded = np.zeros((1, row_bytes + 16), np.uint8)
    largest = (1 << (bits - 1)) - 1
    for i in range(start, stop):
        if (i + 1) * row_bytes + 16 <= data.size:
            source, row = data, i
        else:  # a 64-bit load would read beyond the end of the array
            padded[0, :row_bytes] = data[i]
            source, row = padded, 0
        if _is_zero(source, row, row_bytes):
            for t in range(k):
                indices[i, t], values[i, t] = t, 0
            continue
        t = _latents(source, row, low, highs, n_latents, indices[i])
        largest_q = _values(source, row, k * low + highs, bits, value_of, values[i])
        padding = _bits(source, row, total, 8 * row_bytes - total)
        bad[i] = t != k or largest_q != largest or padding != 0


@inlined
def _bits(data, row, start, width):  # type: ignore[no-untyped-def]
    """Return ``width`` bits from bit ``start`` on, at most `BITS_PER_READ`."""
    return (load_u64(data, row, start >> 3) >> np.uint64(start & 7)) & (
        (np.uint64(1) << np.uint64(width)) - np.uint64(1)
    )


@inlined
def _is_zero(data, row, row_bytes):  # type: ignore[no-untyped-def]
    bits = 0
    for c in range(row_bytes):
        bits |= data[row, c]
    return bits == 0


@inlined
def _latents(data, row, low, highs, n_latents, indices):  # type: ignore[no-untyped-def]
    """Read the latents of a row; return their number, or −1 if they do not ascend, are too large or too many."""
    t, k, previous = 0, indices.size, -1
    for start in range(0, highs, BITS_PER_READ):
        ones = np.int64(_bits(data, row, k * low + start, min(BITS_PER_READ, highs - start)))
        while ones != 0:
            if t == k:
                return -1
            high = start + count_trailing_zeros(ones) - t
            ones &= ones - 1
            latent = (high << low) | np.int64(_bits(data, row, t * low, low))
            if latent <= previous or latent >= n_latents:
                return -1
            indices[t], previous = latent, latent
            t += 1
    return t


@inlined
def _values(data, row, start, bits, value_of, values):  # type: ignore[no-untyped-def]
    """Read the values of a row; return the largest q."""
    largest_q, levels = 0, 1 << (bits - 1)
    for t in range(values.size):
        number = np.int64(_bits(data, row, start + t * bits, bits))
        values[t] = value_of[number]
        largest_q = max(largest_q, number & (levels - 1))
    return largest_q
