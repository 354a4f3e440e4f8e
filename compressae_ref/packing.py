"""Packed codes, an extension: a code in a tenth of its bytes, the same number for every row.

``spec/packed.md`` is normative: indices by Elias and Fano (E24), then values of a few bits (E25). No cosine depends on
the scale of an item's code, so it is not kept (R18).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.archive import PathLike, write_npz
from compressae_ref.arrays import Bools, Floats
from compressae_ref.backends import Backend, get_backend
from compressae_ref.checks import as_k, as_whole, reject
from compressae_ref.codes import Codes
from compressae_ref.errors import DomainError, DTypeError, FormatError, ShapeError
from compressae_ref.fileformat import PACKED_FORMAT, VERSION, json_array, load_file

BITS = (4, 5, 6, 8)
"""What a value may take (R18)."""

ROWS_AT_ONCE = 4096
"""Rows whose single bits are in memory at once."""

Packed = NDArray[np.uint8]


class Layout(NamedTuple):
    """Where things stand in a row; all but the last are numbers of bits."""

    low: int
    """of an index, as they are"""
    highs: int
    """of all indices together, in unary"""
    bits: int
    """of a value"""
    total: int
    """of a row"""
    row_bytes: int
    """bytes of a row"""

    @classmethod
    def of(cls, n_latents: int, k: int, bits: int) -> Layout:
        """The fewest bits, of equal ones the lowest ``low``.                                                   (E24)"""
        low = min(range(32), key=lambda low: (k * low + ((n_latents - 1) >> low), low))
        highs = k + ((n_latents - 1) >> low)
        total = k * (low + bits) + highs
        return cls(low, highs, bits, total, (total + 7) // 8)


@dataclass(frozen=True, eq=False)
class PackedCodes:
    """n packed codes.

    Parameters
    ----------
    data : (n, bytes) uint8, a row for each code
    n_latents, k : as of the codes
    bits : of a value: 4, 5, 6 or 8
    model : digest of the model that made the codes, or None where that is not known

    Raises
    ------
    ShapeError, DTypeError, DomainError
        If these do not fit together. What the bytes say is looked at when they are unpacked.
    """

    data: Packed
    n_latents: int
    k: int
    bits: int = 5
    model: str | None = None

    def __post_init__(self) -> None:
        as_k(self.k, as_whole(self.n_latents, "n_latents"))
        if self.bits not in BITS:
            raise DomainError(f"bits: expected one of {', '.join(map(str, BITS))}, got {self.bits!r}")
        expected = ("uint8", 2, self.layout.row_bytes)
        found = (str(self.data.dtype), self.data.ndim, self.data.shape[-1])
        if found != expected:
            raise ShapeError(
                f"packed: expected uint8 rows of {expected[2]} bytes, got {found[0]} of shape {self.data.shape}"
            )

    @property
    def layout(self) -> Layout:
        """Where things stand in a row."""
        return Layout.of(self.n_latents, self.k, self.bits)

    @property
    def bytes_per_item(self) -> int:
        """Bytes of a code."""
        return self.layout.row_bytes

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, rows: Any) -> PackedCodes:
        """Some rows: a slice, an array of row numbers or a mask; one number gives one row."""
        if isinstance(rows, (int, np.integer)):
            rows = [range(len(self))[rows]]
        return PackedCodes(self.data[rows], self.n_latents, self.k, self.bits, self.model)

    def __repr__(self) -> str:
        return f"PackedCodes({len(self)} rows of {self.bytes_per_item} bytes, k {self.k} of {self.n_latents} latents)"

    def unpack(self, *, backend: str | Backend | None = None) -> Codes:
        """The codes, with float32 values relative to the largest of each row.

        Raises
        ------
        FormatError
            For bytes that packing does not give, with the row (R20).
        """
        indices, values = get_backend(backend).unpack_rows(self.data, self.n_latents, self.k, self.bits)
        return Codes.trusted(indices, values, self.n_latents, self.model)


def as_codes(codes: Codes | PackedCodes, backend: str | Backend | None = None) -> Codes:
    """Codes as they are, and packed ones unpacked; DTypeError for anything else."""
    if isinstance(codes, PackedCodes):
        return codes.unpack(backend=backend)
    if not isinstance(codes, Codes):
        raise DTypeError(f"codes: expected Codes or PackedCodes, got {type(codes).__name__}")
    return codes


def pack(codes: Codes, bits: int = 5, *, backend: str | Backend | None = None) -> PackedCodes:
    """Codes in few bytes: `unpack` gives the same indices, and values to ``bits`` bits.                  (E24), (E25)

    Parameters
    ----------
    bits : of a value: 4, 5, 6 or 8

    Raises
    ------
    DomainError
        For another number of bits.
    """
    empty = PackedCodes(np.empty((0, _row_bytes(codes, bits)), np.uint8), codes.n_latents, codes.k, bits, codes.model)
    data = get_backend(backend).pack_rows(codes, bits)
    return PackedCodes(data, empty.n_latents, empty.k, bits, empty.model)


def _row_bytes(codes: Codes, bits: Any) -> int:
    if isinstance(bits, bool) or bits not in BITS:
        raise DomainError(f"bits: expected one of {', '.join(map(str, BITS))}, got {bits!r}")
    return Layout.of(codes.n_latents, codes.k, bits).row_bytes


def levels(values: Floats, bits: int) -> NDArray[np.int64]:
    """The number of each value: q, and L more for a negative one.                                              (E25)"""
    largest = np.abs(values).max(axis=1, keepdims=True)
    L = 2 ** (bits - 1)
    share = np.divide(np.abs(values), largest, out=np.zeros_like(values), where=largest > 0)
    numbers: NDArray[np.int64] = np.minimum(L - 1, np.floor(share * L)).astype(np.int64) + L * (values < 0)
    return numbers


def value_of(bits: int) -> Floats:
    """(2^bits,) float32: the value that each number stands for.                                                (E25)"""
    L = 2 ** (bits - 1)
    halves = ((np.arange(L) + 0.5) / L).astype(np.float32)
    return np.concatenate([halves, -halves])


def pack_rows(codes: Codes, bits: int) -> Packed:
    """The bytes of all rows: (n, bytes); those of a row without values are zero (R19)."""
    low, highs, _, _, row_bytes = Layout.of(codes.n_latents, codes.k, bits)
    packed = np.empty((len(codes), row_bytes), np.uint8)
    for start in range(0, len(codes), ROWS_AT_ONCE):
        some = codes[start : start + ROWS_AT_ONCE]
        ones = (some.indices >> low) + np.arange(codes.k)
        high_bits = np.zeros((len(some), highs), np.uint8)
        np.put_along_axis(high_bits, ones, 1, axis=1)
        parts = [_single_bits(some.indices, low), high_bits, _single_bits(levels(some.values, bits), bits)]
        row_bits = np.concatenate(parts, axis=1)
        # spec: "A row without a value other than 0 is zero bytes"
        row_bits[~some.values.any(axis=1)] = 0
        packed[start : start + len(some)] = np.packbits(row_bits, axis=1, bitorder="little")
    return packed


def unpack_rows(data: Packed, n_latents: int, k: int, bits: int, first_row: int = 0) -> tuple[Any, Floats]:
    """Indices and values (n, k) of packed rows; FormatError for those that packing does not give."""
    low, highs, _, total, _ = Layout.of(n_latents, k, bits)
    row_bits = np.unpackbits(data, axis=1, bitorder="little")
    lows, high_bits, numbers, padding = np.split(row_bits, [k * low, k * low + highs, total], axis=1)
    zero = ~data.any(axis=1)
    high_bits[zero, :k] = 1
    wrong = (high_bits.sum(axis=1) != k) | padding.any(axis=1)
    if wrong.any():  # one before it may be bad in another way, and the first is named
        unpack_rows(data[: np.argmax(wrong)], n_latents, k, bits, first_row)
    _refuse(wrong, n_latents, k, bits, first_row)
    ones = np.nonzero(high_bits)[1].reshape(len(data), k)
    indices = ((ones - np.arange(k)) << low) + _numbers(lows, k, low)
    number = _numbers(numbers, k, bits)
    indices[zero] = np.arange(k)
    # spec: "Bytes that packing cannot give are an error that names the row"
    bad: Bools = (np.diff(indices, axis=1) <= 0).any(axis=1) | (indices[:, -1] >= n_latents)
    bad |= ~zero & ((number % 2 ** (bits - 1)).max(axis=1) != 2 ** (bits - 1) - 1)
    _refuse(bad, n_latents, k, bits, first_row)
    values = value_of(bits)[number]
    values[zero] = 0
    return indices.astype(np.int32), values


def _refuse(bad: Bools, n_latents: int, k: int, bits: int, first_row: int) -> None:
    what = f"a code of {k} of {n_latents} latents with values of {bits} bits"
    try:
        reject(bad, f"packed: expected {what}, got other bytes", first_row)
    except DomainError as error:
        raise FormatError(str(error)) from error


def _single_bits(numbers: NDArray[Any], width: int) -> NDArray[np.uint8]:
    """The ``width`` lowest bits of each, the lowest first: (n, k) → (n, k · width)."""
    return ((numbers[:, :, None] >> np.arange(width)) & 1).astype(np.uint8).reshape(len(numbers), -1)


def _numbers(single_bits: NDArray[np.uint8], k: int, width: int) -> NDArray[np.int64]:
    """The reverse of `_single_bits`."""
    numbers: NDArray[np.int64] = single_bits.reshape(len(single_bits), k, width) @ (1 << np.arange(width))
    return numbers


def save_packed(path: PathLike, packed: PackedCodes) -> None:
    """Write a file of packed codes. OSError if that cannot be done; nothing is left behind."""
    meta = {"format": PACKED_FORMAT, "version": VERSION, "bits": packed.bits}
    meta |= {name: getattr(packed, name) for name in ("k", "n_latents", "model")}
    write_npz(path, {"packed": packed.data, "meta": json_array(meta)})


def load_packed(path: PathLike) -> PackedCodes:
    """Read a file of packed codes, and look at every row.

    Raises
    ------
    FormatError
        Naming the file and the reason.
    """
    return load_file(path, PACKED_FORMAT, from_arrays)


def from_arrays(arrays: dict[str, NDArray[Any]], meta: dict[str, Any]) -> PackedCodes:
    """Packed codes from what their file holds."""
    if not isinstance(meta["model"], str | None):
        raise FormatError(f"expected the digest of a model or null, got {meta['model']!r}")
    packed = PackedCodes(arrays["packed"], meta["n_latents"], meta["k"], meta["bits"], meta["model"])
    packed.unpack()
    return packed
