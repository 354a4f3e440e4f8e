"""The codec of residual codes: directions, scales and bits in which residuals are stored (``spec/residual.md``).

A codec is fitted once to rows of the collection (`residual_fit`), by an eigenvalue solver whose bits differ between
machines. So a codec is an input of every equation, as a trained model is, and is stored beside the codes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref import reference
from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend
from compressae_ref.backends.numpy.bit_packing import Layout
from compressae_ref.checks import as_k
from compressae_ref.codes import Codes
from compressae_ref.errors import FormatError
from compressae_ref.extensions.packed_codes import as_bits
from compressae_ref.model import Model

MOST_BITS = 6
"""Most bits of a component."""

LEAST_FACTOR = 2.0**-10
"""Lower clamp of ⟨x̃, x̄⟩ in the scale of a row (E56)."""

RANGE = (2.0**-30, 2.0**30)
"""Range of the scales and lengths of a codec, so that no number of E59 to E63 overflows or is 0 / 0 (R40)."""

MOST_ENTRY = 1 + 2.0**-10
"""Largest magnitude of an entry of the basis, whose rows have norm 1 (R40)."""

UNIT = 2.0**12
"""Levels are integers of 1/4096, which float32 holds exactly."""

POSITIVE_LEVELS = (
    (3268,),
    (1855, 6187),
    (1004, 3097, 5505, 8814),
    (526, 1589, 2690, 3860, 5146, 6628, 8475, 11193),
    (270, 811, 1357, 1912, 2478, 3060, 3664, 4296, 4964, 5678, 6456, 7321, 8310, 9493, 11023, 13356),
    (
        137, 411, 685, 961, 1238, 1517, 1798, 2082, 2370, 2661, 2957, 3258, 3565, 3880, 4201, 4532,
        4873, 5226, 5592, 5973, 6373, 6794, 7240, 7717, 8231, 8793, 9417, 10122, 10946, 11950, 13273, 15336,
    ),
)  # fmt: skip
"""Positive Lloyd–Max levels of the standard normal distribution for 1 to 6 bits, times `UNIT` (E60)."""


def levels(bits: int) -> Floats:
    """Return the levels of ``bits`` bits, ascending (E60). → (2^bits,) float32."""
    positive = np.array(POSITIVE_LEVELS[bits - 1], np.float32) / np.float32(UNIT)
    return np.concatenate([-positive[::-1], positive])


@dataclass(frozen=True, eq=False)
class ResidualCodec:
    """How residuals are stored: everything besides the model that gives the bytes of a row their meaning.

    Parameters
    ----------
    basis : (J, d) float32, unit rows V_j
    scales : (J,) float32, σ_j > 0
    bits : (J,) uint8, bits b_j of each component, 1 to 6
    lengths : (256,) float32, positive and not descending: the lengths that one byte stands for (E58)
    n_latents, k : of the codes of the sparse part
    value_bits : bits of a value of the sparse part
    model : digest of the model

    Raises
    ------
    FormatError
        If these do not fit together.
    """

    basis: Floats
    scales: Floats
    bits: NDArray[np.uint8]
    lengths: Floats
    n_latents: int
    k: int
    value_bits: int
    model: str

    def __post_init__(self) -> None:
        as_k(self.k, self.n_latents)
        as_bits(self.value_bits)
        size = len(self.basis)
        shapes = {"basis": (size, self.d), "scales": (size,), "bits": (size,), "lengths": (256,)}
        for name, shape in shapes.items():
            array, dtype = getattr(self, name), "|u1" if name == "bits" else "<f4"
            if array.shape != shape or array.dtype.str != dtype or size == 0:
                got = f"{array.dtype.str} of shape {array.shape}"
                raise FormatError(f"expected {dtype} of shape {shape} and at least one component, got {got}")
        _require_within(self.scales, "scales", *RANGE)
        _require_within(self.lengths, "lengths", *RANGE)
        _require_within(np.diff(self.lengths), "differences of lengths", 0, RANGE[1])
        _require_within(self.bits, "bits", 1, MOST_BITS)
        _require_within(self.basis, "entries of the basis", -MOST_ENTRY, MOST_ENTRY)

    @property
    def d(self) -> int:
        """Dense dimension."""
        return int(self.basis.shape[-1])

    @cached_property
    def sparse_bytes(self) -> int:
        """Bytes of the sparse part of a row, a packed code."""
        return Layout.of(self.n_latents, self.k, self.value_bits).row_bytes

    @cached_property
    def row_bytes(self) -> int:
        """Bytes of a row: the packed code, one byte for the length, and the components (R41)."""
        return self.sparse_bytes + 1 + (self.total_bits + 7) // 8

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays of the codec, which all rows share."""
        return sum(array.nbytes for array in (self.basis, self.scales, self.bits, self.lengths))

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """(J,) first bit of each component."""
        ends = np.cumsum(self.bits, dtype=np.int64)
        return ends - self.bits

    @property
    def total_bits(self) -> int:
        """Bits of all components of a row."""
        return int(self.bits.sum(dtype=np.int64))

    @cached_property
    def places(self) -> NDArray[np.uint8]:
        """(total_bits,) the place of each stored bit in its number: 0 is the lowest."""
        within: NDArray[np.uint8] = (np.arange(self.total_bits) - np.repeat(self.starts, self.bits)).astype(np.uint8)
        return within

    @cached_property
    def table(self) -> Floats:
        """(7, 64) the level of each number, by bits (E60)."""
        table = np.zeros((MOST_BITS + 1, 2**MOST_BITS), np.float32)
        for bits in range(1, MOST_BITS + 1):
            table[bits, : 2**bits] = levels(bits)
        return table

    def nearest_length(self, lengths: Floats) -> NDArray[np.uint8]:
        """Return the number of the stored length that is nearest: of the midpoints that are ≤ ρ (E58). (n,) → (n,)."""
        stored = self.lengths.astype(lengths.dtype)
        return np.searchsorted((stored[:-1] + stored[1:]) / 2, lengths, side="right").astype(np.uint8)

    def nearest_levels(self, y: Floats) -> NDArray[np.uint8]:
        """Return the number of the nearest level of each component: of the midpoints that are ≤ y (E61). (n, J)."""
        numbers = np.empty(y.shape, np.uint8)
        for bits in range(1, MOST_BITS + 1):
            chosen, table = self.bits == bits, levels(bits).astype(y.dtype)
            numbers[:, chosen] = np.searchsorted((table[:-1] + table[1:]) / 2, y[:, chosen], side="right")
        return numbers

    def level_of(self, numbers: NDArray[np.uint8], dtype: Any) -> Floats:
        """Return the level of each number (E60). (n, J) → (n, J)."""
        flat = self.bits.astype(np.int64) << MOST_BITS
        found: Floats = self.table.astype(dtype).ravel()[flat + numbers]
        return found

    def bytes_of(self, numbers: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Store the numbers of all components, each from its lowest bit (R41). (n, J) → (n, bytes)."""
        single = (np.repeat(numbers, self.bits, axis=1) >> self.places) & 1
        return np.packbits(single, axis=1, bitorder="little")

    def numbers_of(self, data: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Invert `bytes_of`. (n, bytes) → (n, J)."""
        single = np.unpackbits(data, axis=1, bitorder="little", count=self.total_bits) << self.places
        numbers: NDArray[np.uint8] = np.add.reduceat(single, self.starts, axis=1, dtype=np.uint8)
        return numbers

    def scaled_codes(self, found: Floats) -> Codes:
        """Return σ_j · level as codes over the components, for the sum over j of E62. (n, J)."""
        indices = np.broadcast_to(np.arange(len(self.bits), dtype=np.int32), found.shape)
        return Codes.trusted(np.ascontiguousarray(indices), found * self.scales.astype(found.dtype), len(self.bits))


def _require_within(array: NDArray[Any], name: str, least: float, most: float) -> None:
    """Raise FormatError unless all numbers are in a range; NaN is in none."""
    if not ((array >= least) & (array <= most)).all():
        got = f"numbers from {array.min()} to {array.max()}"
        raise FormatError(f"expected {name} from {least} to {most}, got {got}", argument="codec")


def residuals(x_unit: Floats, x_sparse: Floats) -> Floats:
    """Return r = β x̄ − x̃ (E56, E57): what the sparse part leaves of a row, at the scale of the sparse part. (n, d)."""
    real = x_unit.dtype.type
    beta = reference.dot(x_sparse, x_sparse) / np.maximum(reference.dot(x_sparse, x_unit), real(LEAST_FACTOR))
    r: Floats = beta[:, None] * x_unit - x_sparse
    return r


def sparse_rows(codes: Codes, model: Model, backend: Backend) -> Floats:
    """Return x̃ of codes that were packed and read back, in the dtype of the model (E56). → (n, d)."""
    codes = codes.on(backend.name).astype(model.params.dtype)
    x_sparse: Floats = backend.fetch(backend.decode(codes, backend.place_params(model.params).W_dec))
    return x_sparse
