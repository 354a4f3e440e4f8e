"""The bytes of packed codes: indices by Elias and Fano (E24), then values of a few bits (E25).

``spec/packed.md`` is normative.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Bools, Floats
from compressae_ref.backends.numpy.blocks import map_blocks
from compressae_ref.checks import reject
from compressae_ref.codes import Codes
from compressae_ref.errors import FormatError

BITS = (4, 5, 6, 8)
"""The bits that a value may have (R18)."""

ROWS_AT_ONCE = 4096
"""Rows whose single bits are in memory at once. The choice affects memory and speed only."""

Packed = NDArray[np.uint8]


class Layout(NamedTuple):
    """The layout of a packed row; all fields but the last count bits."""

    low: int
    """of each index, stored as they are"""
    highs: int
    """of all indices together, in unary"""
    bits: int
    """of a value"""
    total: int
    """of a whole row"""
    row_bytes: int
    """bytes of a row"""

    @classmethod
    def of(cls, n_latents: int, k: int, bits: int) -> Layout:
        """Choose the layout with the fewest bits; among equal ones, the smallest ``low`` (E24)."""
        low = min(range(32), key=lambda low: (k * low + ((n_latents - 1) >> low), low))
        highs = k + ((n_latents - 1) >> low)
        total = k * (low + bits) + highs
        return cls(low, highs, bits, total, (total + 7) // 8)


def levels(values: Floats, bits: int) -> NDArray[np.int64]:
    """Quantise each value to its level q, plus L for a negative value (E25)."""
    largest = np.abs(values).max(axis=1, keepdims=True)
    L = 2 ** (bits - 1)
    ratio = np.divide(np.abs(values), largest, out=np.zeros_like(values), where=largest > 0)
    numbers: NDArray[np.int64] = np.minimum(L - 1, np.floor(ratio * L)).astype(np.int64) + L * (values < 0)
    return numbers


def value_of(bits: int) -> Floats:
    """Return the value of each level (E25). → (2^bits,) float32."""
    L = 2 ** (bits - 1)
    halves = ((np.arange(L) + 0.5) / L).astype(np.float32)
    return np.concatenate([halves, -halves])


def pack_rows(codes: Codes, bits: int) -> Packed:
    """Pack all rows; a row of zeros is stored as zero bytes (R19). Codes → (n, bytes)."""
    low, highs, _, _, _ = Layout.of(codes.n_latents, codes.k, bits)

    def pack(rows: slice) -> Packed:
        block = codes[rows]
        ones = (block.indices >> low) + np.arange(codes.k)
        high_bits = np.zeros((len(block), highs), np.uint8)
        np.put_along_axis(high_bits, ones, 1, axis=1)
        parts = [_single_bits(block.indices, low), high_bits, _single_bits(levels(block.values, bits), bits)]
        row_bits = np.concatenate(parts, axis=1)
        # spec: "A row of zeros is stored as zero bytes"
        row_bits[~block.values.any(axis=1)] = 0
        return np.packbits(row_bits, axis=1, bitorder="little")

    return np.concatenate(map_blocks(len(codes), ROWS_AT_ONCE, pack))


def unpack_rows(data: Packed, n_latents: int, k: int, bits: int) -> tuple[Any, Floats]:
    """Return indices and values (n, k); FormatError for the first row that packing cannot produce."""
    starts = range(0, max(1, len(data)), ROWS_AT_ONCE)
    parts = [unpack_block(data[start : start + ROWS_AT_ONCE], n_latents, k, bits, start) for start in starts]
    indices, values = zip(*parts, strict=True)
    return np.concatenate(indices), np.concatenate(values)


def unpack_block(data: Packed, n_latents: int, k: int, bits: int, first_row: int) -> tuple[Any, Floats]:
    """`unpack_rows` for one block; messages count rows from ``first_row``."""
    low, highs, _, total, _ = Layout.of(n_latents, k, bits)
    row_bits = np.unpackbits(data, axis=1, bitorder="little")
    lows, high_bits, numbers, padding = np.split(row_bits, [k * low, k * low + highs, total], axis=1)
    zero = ~data.any(axis=1)
    high_bits[zero, :k] = 1
    wrong = (high_bits.sum(axis=1) != k) | padding.any(axis=1)
    if wrong.any():  # an earlier row may be bad in the other way, and the first bad row is named
        unpack_block(data[: np.argmax(wrong)], n_latents, k, bits, first_row)
    _refuse(wrong, n_latents, k, bits, first_row)
    ones = np.nonzero(high_bits)[1].reshape(len(data), k)
    indices = ((ones - np.arange(k)) << low) + _numbers(lows, k, low)
    number = _numbers(numbers, k, bits)
    indices[zero] = np.arange(k)
    # spec: "Bytes that packing cannot produce are a FormatError"
    bad: Bools = (np.diff(indices, axis=1) <= 0).any(axis=1) | (indices[:, -1] >= n_latents)
    bad |= ~zero & ((number % 2 ** (bits - 1)).max(axis=1) != 2 ** (bits - 1) - 1)
    _refuse(bad, n_latents, k, bits, first_row)
    values = value_of(bits)[number]
    values[zero] = 0
    return indices.astype(np.int32), values


def _refuse(bad: Bools, n_latents: int, k: int, bits: int, first_row: int) -> None:
    what = f"a code of {k} of {n_latents} latents with values of {bits} bits"
    reject(bad, f"expected {what}, got bytes that packing cannot produce", "packed", first_row, FormatError)


def _single_bits(numbers: NDArray[Any], width: int) -> NDArray[np.uint8]:
    """Return the ``width`` lowest bits of each number, lowest first. (n, k) → (n, k · width)."""
    return (
        ((numbers[:, :, None] >> np.arange(width)) & 1).astype(np.uint8).reshape(len(numbers), numbers.shape[1] * width)
    )


def _numbers(single_bits: NDArray[np.uint8], k: int, width: int) -> NDArray[np.int64]:
    """Invert `_single_bits`."""
    numbers: NDArray[np.int64] = single_bits.reshape(len(single_bits), k, width) @ (1 << np.arange(width))
    return numbers
