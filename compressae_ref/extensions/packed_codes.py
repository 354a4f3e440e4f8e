"""Packed codes, an extension: a code in about a fifth of its bytes, all rows of one size (``spec/packed.md``).

No cosine depends on the scale of an item's code, so the scale is not stored (R18).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.backends import Backend, get_backend
from compressae_ref.backends.numpy.bit_packing import BITS, Layout, Packed
from compressae_ref.checks import as_integer, as_k
from compressae_ref.codes import Codes, is_refined
from compressae_ref.errors import DomainError, DTypeError, FormatError, ShapeError, rows_from

ROWS_PER_BLOCK = 65_536
"""Rows that are unpacked at a time. The choice affects memory and speed only."""


@dataclass(frozen=True, eq=False)
class PackedCodes:
    """n packed codes.

    Parameters
    ----------
    data : (n, bytes) uint8, one row per code
    n_latents, k : of the codes
    bits : bits of a value: 4, 5, 6 or 8
    model : digest of the model that made the codes, or None if it is not known
    refined : whether they were refined before they were packed (`Codes.refined`)

    Raises
    ------
    ShapeError, DTypeError, DomainError
        If these do not fit together. The bytes are checked when they are unpacked.
    """

    data: Packed
    n_latents: int
    k: int
    bits: int = 5
    model: str | None = None
    refined: bool = False

    def __post_init__(self) -> None:
        as_k(self.k, as_integer(self.n_latents, "n_latents"))
        as_bits(self.bits)
        expected = ("uint8", 2, self.layout.row_bytes)
        found = (str(self.data.dtype), self.data.ndim, self.data.shape[-1])
        if found != expected:
            raise ShapeError(
                f"expected uint8 rows of {expected[2]} bytes, got {found[0]} of shape {self.data.shape}",
                argument="packed",
            )

    @property
    def layout(self) -> Layout:
        """The layout of a row in bits."""
        return Layout.of(self.n_latents, self.k, self.bits)

    @property
    def bytes_per_item(self) -> int:
        """Bytes of a code."""
        return self.layout.row_bytes

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, rows: Any) -> PackedCodes:
        """Select rows by a slice, an array of row numbers or a mask; an integer selects one row."""
        if isinstance(rows, (int, np.integer)):
            rows = [range(len(self))[rows]]
        return replace(self, data=self.data[rows])

    def __repr__(self) -> str:
        size, refined = self.bytes_per_item, ", refined" if self.refined else ""
        return f"PackedCodes({len(self)} rows of {size} bytes, k {self.k} of {self.n_latents} latents{refined})"

    @staticmethod
    def concatenate(parts: Sequence[PackedCodes]) -> PackedCodes:
        """Return the rows of all parts, at least one, which must be packed alike."""
        if len({(part.n_latents, part.k, part.bits, part.model, part.refined) for part in parts}) != 1:
            raise ShapeError(f"expected parts that are packed alike, got {parts!r}", argument="packed")
        return replace(parts[0], data=np.concatenate([part.data for part in parts]))

    def unpack(self, *, backend: str | Backend | None = None) -> Codes:
        """Return the codes, with float32 values relative to the largest of each row.

        Raises
        ------
        FormatError
            For bytes that packing cannot produce, with the row (R20).
        """
        kernels = get_backend(backend, numpy_seconds=1e-6 * len(self) * self.k)
        indices, values = kernels.unpack_rows(self.data, self.n_latents, self.k, self.bits)
        return Codes.trusted(indices, values, self.n_latents, self.model, refined=self.refined)

    def unpack_blocks(self, *, backend: str | Backend | None = None) -> Iterator[tuple[int, Codes]]:
        """Yield the number of the first row of each block, and its codes. Errors as `unpack`."""
        for start in range(0, len(self), ROWS_PER_BLOCK):
            with rows_from(start):
                codes = replace(self, data=self.data[start : start + ROWS_PER_BLOCK]).unpack(backend=backend)
            yield start, codes


def require_packed(packed: Any) -> PackedCodes:
    """Return packed codes; DTypeError for anything else."""
    if not isinstance(packed, PackedCodes):
        hint = "pack(codes) packs codes" if isinstance(packed, Codes) else None
        raise DTypeError(f"expected PackedCodes, got {type(packed).__name__}", argument="packed", hint=hint)
    return packed


def as_codes(codes: Codes | PackedCodes, backend: str | Backend | None = None) -> Codes:
    """Return codes unchanged and unpack packed ones; DTypeError for anything else."""
    if isinstance(codes, PackedCodes):
        return codes.unpack(backend=backend)
    if not isinstance(codes, Codes):
        name = type(codes).__name__
        hint = "ResidualIndex searches residual codes" if name == "ResidualCodes" else None
        raise DTypeError(f"expected Codes or PackedCodes, got {name}", argument="codes", hint=hint)
    return codes.to_host()


def pack(codes: Codes, bits: int = 5, *, backend: str | Backend | None = None) -> PackedCodes:
    """Pack codes: `PackedCodes.unpack` returns the same indices, and values rounded to ``bits`` bits (E24, E25).

    Parameters
    ----------
    bits : bits of a value: 4, 5, 6 or 8

    Raises
    ------
    DomainError
        For another number of bits.
    """
    kernels = get_backend(backend, numpy_seconds=1e-6 * len(codes) * codes.k)
    data = kernels.pack_rows(codes.to_host(), as_bits(bits))
    return PackedCodes(data, codes.n_latents, codes.k, bits, codes.model, codes.refined)


def as_bits(bits: Any) -> int:
    """Return ``bits`` if it is one of `BITS` (R18)."""
    if bits not in BITS:
        raise DomainError(f"expected one of {', '.join(map(str, BITS))}, got {bits!r}", argument="bits")
    return bits  # type: ignore[no-any-return]


def from_arrays(arrays: dict[str, NDArray[Any]], meta: dict[str, Any], *, check: bool = True) -> PackedCodes:
    """Return packed codes from the entries of their file. The bytes of the rows are checked if ``check`` is True."""
    if not isinstance(meta["model"], str | None):
        raise FormatError(f"expected the digest of a model or null, got {meta['model']!r}")
    settings = {name: meta[name] for name in ("n_latents", "k", "bits", "model")}
    packed = PackedCodes(arrays["packed"], **settings, refined=is_refined(meta))
    for _ in packed.unpack_blocks() if check else ():
        pass
    return packed
