"""Numba kernel for `backends.numpy.bit_packing.unpack_rows`; it reads 64 bits at a time."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.backends.numba.jit import inlined, inner, kernel
from compressae_ref.backends.numba.simd import WIDTH, load, load_u64, popcount, splat, store
from compressae_ref.backends.numba.topk import empty_codes
from compressae_ref.backends.numpy import bit_packing
from compressae_ref.backends.thread_pool import parallel_for

ROWS_PER_TASK = 4096

ROWS_PER_BLOCK = 256
"""Rows that are unpacked at a time: they fit the L2 cache, and lighter loops go over all of them."""

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

    @classmethod
    def of(cls, n_latents: int, k: int, bits: int) -> RowFormat:
        """Return the format of codes with k of ``n_latents`` latents and values of ``bits`` bits."""
        low, highs, _, total, _ = bit_packing.Layout.of(n_latents, k, bits)
        return cls(low, highs, bits, total, n_latents)


def unpack_rows(data: NDArray[np.uint8], n_latents: int, k: int, bits: int) -> tuple[Any, Floats]:
    indices, values = empty_codes(len(data), k, np.float32)
    bad = np.zeros(len(data), np.bool_)
    row_format, data = RowFormat.of(n_latents, k, bits), np.ascontiguousarray(data)
    parallel_for(len(data), ROWS_PER_TASK, _unpack, data, row_format, bit_packing.value_of(bits), indices, values, bad)
    if bad.any():
        row = int(np.argmax(bad))
        bit_packing.unpack_block(data[row : row + 1], n_latents, k, bits, row)  # raises the error of this row
    return indices, values


@kernel
def _unpack(data, row_format, value_of, indices, values, bad, start, stop):  # type: ignore[no-untyped-def]
    counts, highs = scratch(indices.shape[1])
    for begin in range(start, stop, ROWS_PER_BLOCK):
        end = min(begin + ROWS_PER_BLOCK, stop)
        unpack_block(data, begin, end, row_format, value_of, indices[begin:end], values[begin:end], counts, highs)
        for i in range(begin, end):
            bad[i] = not _can_be_packed(data[i], row_format, indices[i], values[i], counts[i - begin])


@inlined
def _can_be_packed(row, row_format, indices, values, count):  # type: ignore[no-untyped-def]
    if count == 0:
        return not row.any()
    largest, ascending = values.dtype.type(0), indices[0] >= 0
    for t in range(indices.size):
        largest = max(largest, abs(values[t]))
        ascending &= t == 0 or indices[t] > indices[t - 1]
    padding = row[-1] >> np.uint8(row_format.total % 8) if row_format.total % 8 else np.uint8(0)
    largest_possible = 1 - 1 / (1 << row_format.bits)  # (L − ½)/L
    fits = count == indices.size and ascending and indices[-1] < row_format.n_latents
    return fits and largest == largest_possible and padding == 0


@inlined
def scratch(k):  # type: ignore[no-untyped-def]
    """Return working memory of `unpack_block`: numbers of ones (rows,), and high bits (rows, k + 16)."""
    return np.empty(ROWS_PER_BLOCK, np.int32), np.empty((ROWS_PER_BLOCK, k + WIDTH), np.float32)


@inlined
def unpack_block(data, begin, end, row_format, value_of, indices, values, counts, high_bits):  # type: ignore[no-untyped-def]
    """Unpack rows ``begin`` to ``end``, at most `ROWS_PER_BLOCK`, without a check; ``counts`` are the ones of each row.

    A row with other than k ones becomes a row of zeros. All indices are below highs · 2^low.
    """
    low, highs, bits, _, _ = row_format
    n, row_bytes, k = end - begin, data.shape[1], indices.shape[1]
    source, first = data, begin
    if end * row_bytes + 8 > data.size:  # a 64-bit load would read beyond the end of the array
        source, first = np.zeros((n + 8, row_bytes), np.uint8), 0
        source[:n] = data[begin:end]
    _read_highs(source, first, n, k * low, highs, high_bits, counts)
    _add_lows(source, first, n, low, high_bits, indices)
    _read_values(source, first, n, k * low + highs, bits, value_of, values)
    for i in range(n):
        if counts[i] != k:
            for t in range(k):
                indices[i, t], values[i, t] = t, 0


# One loop for each part of a row: so the compiler vectorizes the last two.

_IS_ONE = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
HIGHS_OF_BYTE = np.zeros((256, WIDTH), np.float32)
"""the positions of the ones of each byte, minus 0, 1, 2, …: the high bits of its latents, as if it were the first"""
HIGHS_OF_BYTE[:, :8] = np.argsort(1 - _IS_ONE, axis=1, kind="stable") - np.arange(8)


@inner
def _read_highs(data, first, n, start, highs, high_bits, counts):  # type: ignore[no-untyped-def]
    """Set high_bits[i, t] to the high bits of latent t, and counts[i] to the number of ones.

    16 entries are always written for a byte, and surplus entries are overwritten later. A loop over the ones would end
    at an unpredictable place, and a mispredicted branch costs more than the extra writes.
    """
    k = high_bits.shape[1] - WIDTH
    for i in range(n):
        count = 0
        for begin in range(0, highs, BITS_PER_READ):
            width = min(BITS_PER_READ, highs - begin)
            word = np.int64(_bits(data, first + i, start + begin, width))
            for bit in range(begin, begin + width, 8):
                t = min(count, k)
                store(high_bits, i, t, load(HIGHS_OF_BYTE, word & 255, 0) + splat(np.float32(bit - t)))
                count += popcount(word & 255)
                word >>= 8
        counts[i] = count


@inner
def _add_lows(data, first, n, low, high_bits, indices):  # type: ignore[no-untyped-def]
    for i in range(n):
        for t in range(indices.shape[1]):
            indices[i, t] = (np.int32(high_bits[i, t]) << np.int32(low)) | np.int32(
                _bits(data, first + i, t * low, low)
            )


@inner
def _read_values(data, first, n, start, bits, value_of, values):  # type: ignore[no-untyped-def]
    for i in range(n):
        for t in range(values.shape[1]):
            values[i, t] = value_of[np.int64(_bits(data, first + i, start + t * bits, bits))]


@inlined
def _bits(data, row, start, width):  # type: ignore[no-untyped-def]
    """Return ``width`` bits from bit ``start`` on, at most `BITS_PER_READ`."""
    return (load_u64(data, row, start >> 3) >> np.uint64(start & 7)) & (
        (np.uint64(1) << np.uint64(width)) - np.uint64(1)
    )
