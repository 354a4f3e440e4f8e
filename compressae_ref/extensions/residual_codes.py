"""Residual codes, an extension: a short packed code, then a few bits for what it leaves (``spec/residual.md``).

A short sparse code follows the clusters of the data; a long one wins less with each entry. What a short one leaves is
nearly Gaussian, so a transform code stores it in fewer bits than more entries would take.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref import reference
from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend, get_backend
from compressae_ref.center import restored
from compressae_ref.checks import ZeroRows, reject
from compressae_ref.errors import DomainError, FormatError, ShapeError
from compressae_ref.extensions.packed_codes import PackedCodes, pack
from compressae_ref.extensions.refine import refined_with_rows
from compressae_ref.extensions.residual_codec import ResidualCodec, residuals, sparse_rows
from compressae_ref.extensions.residual_fit import candidates_of, residual_codec
from compressae_ref.model import Model
from compressae_ref.row_source import RowSource, as_source
from compressae_ref.unit_blocks import ROWS_PER_BLOCK, HostRows


@dataclass(frozen=True, eq=False)
class ResidualCodes:
    """n residual codes, each in the same number of bytes.

    Parameters
    ----------
    data : (n, bytes) uint8, one row per code
    codec : how the bytes are read

    Raises
    ------
    ShapeError
        If the rows do not have the bytes of the codec (R43). `check` checks the bytes.
    """

    data: NDArray[np.uint8]
    codec: ResidualCodec

    def __post_init__(self) -> None:
        if self.data.dtype != np.uint8 or self.data.ndim != 2 or self.data.shape[1] != self.bytes_per_item:
            got = f"{self.data.dtype} of shape {self.data.shape}"
            raise ShapeError(f"expected uint8 rows of {self.bytes_per_item} bytes, got {got}", argument="residual")

    @property
    def bytes_per_item(self) -> int:
        """Bytes of a code."""
        return self.codec.row_bytes

    @property
    def model(self) -> str:
        """Digest of the model that made the codes."""
        return self.codec.model

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, rows: Any) -> ResidualCodes:
        """Select rows by a slice, an array of row numbers or a mask; an integer selects one row."""
        if isinstance(rows, (int, np.integer)):
            rows = [range(len(self))[rows]]
        return replace(self, data=self.data[rows])

    def __repr__(self) -> str:
        codec = self.codec
        return (
            f"ResidualCodes({len(self)} rows of {self.bytes_per_item} bytes, k {codec.k} of {codec.n_latents} "
            f"latents, {len(codec.bits)} components)"
        )

    @staticmethod
    def concatenate(parts: Sequence[ResidualCodes]) -> ResidualCodes:
        """Return the rows of all parts, at least one, which must share their codec."""
        if len({id(part.codec) for part in parts}) != 1:
            raise ShapeError("expected parts of one codec, got a part of another codec", argument="residual")
        return replace(parts[0], data=np.concatenate([part.data for part in parts]))

    @cached_property
    def sparse(self) -> PackedCodes:
        """The sparse part of each row: packed, refined codes."""
        codec = self.codec
        data = np.ascontiguousarray(self.data[:, : codec.sparse_bytes])
        return PackedCodes(data, codec.n_latents, codec.k, codec.value_bits, codec.model, refined=True)

    def parts(self, dtype: Any) -> tuple[Floats, Floats]:
        """Return the lengths ρ̂ (n,) and the levels T[b_j, m_j] (n, J) of all rows; a row of zero bytes has ρ̂ = 0."""
        codec, rest = self.codec, self.data[:, self.codec.sparse_bytes :]
        lengths = codec.lengths.astype(dtype)[rest[:, 0]]
        lengths[~self.data.any(axis=1)] = 0
        return lengths, codec.level_of(codec.numbers_of(rest[:, 1:]), dtype)

    def check(self) -> None:
        """Read every row; FormatError for the first row that encoding cannot produce (R20, R41, R42)."""
        rest = self.data[:, self.codec.sparse_bytes :]
        padding = np.unpackbits(rest[:, 1:], axis=1, bitorder="little")[:, self.codec.total_bits :].any(axis=1)
        # spec: "If the sparse part is zero bytes, so is the whole row"
        bad = padding | (~self.sparse.data.any(axis=1) & rest.any(axis=1))
        first = int(np.argmax(bad)) if bad.any() else len(self)
        self.sparse[:first].unpack()  # an earlier row may be bad there
        reject(bad, "expected a residual code, got bytes that encoding cannot produce", "residual", 0, FormatError)

    def decode(self, model: Model, *, backend: str | Backend | None = None) -> Floats:
        """Reconstruct rows: x̂ (n, d), not normalised (E62); of a centred model z (n, d), as `Model.decode`.

        Raises
        ------
        DomainError
            For codes of another model.
        """
        require_model(self.codec, model)
        kernels, mean = get_backend(backend), model.params.mean
        starts = range(0, max(1, len(self)), ROWS_PER_BLOCK)
        x_hat = np.concatenate([x_hat_of(self[start : start + ROWS_PER_BLOCK], model, kernels) for start in starts])
        return x_hat if mean is None else restored(x_hat, mean)


def require_model(codec: ResidualCodec, model: Model) -> None:
    """Raise DomainError unless a codec belongs to a model (R40)."""
    if (codec.model, codec.n_latents, codec.d) != (model.digest, model.params.n_latents, model.params.d):
        got = f"a codec of model {str(codec.model)[:12]}"
        raise DomainError(f"expected a codec of model {model.digest[:12]}, got {got}", argument="codes")


def x_hat_of(codes: ResidualCodes, model: Model, backend: Backend) -> Floats:
    """Return x̂ = x̃ + ρ̂ Σ_j σ_j T[b_j, m_j] V_j (E62). → (n, d)."""
    codec, dtype = codes.codec, model.params.dtype
    lengths, found = codes.parts(dtype)
    scaled = codec.scaled_codes(found).on(backend.name)
    toward = backend.fetch(backend.decode(scaled, backend.place(codec.basis.astype(dtype))))
    x_sparse = sparse_rows(codes.sparse.unpack(backend=backend), model, backend)
    x_hat: Floats = x_sparse + lengths[:, None] * toward
    return x_hat


def encode_residual(
    x: RowSource,
    model: Model,
    n_bytes: int,
    k: int | None = None,
    *,
    candidates: int | None = None,
    zero_rows: ZeroRows = "error",
    backend: str | Backend | None = None,
) -> ResidualCodes:
    """Encode rows in at most ``n_bytes`` bytes each, for search with dense queries: fit a codec, and use it.

    Parameters
    ----------
    x : (n, d) array or any source of rows, at any scale
    n_bytes : bytes of a row, without those of the codec, which all rows share
    k : entries of the sparse part; None: 12, or h if that is less
    candidates : latents from which these are chosen; None: min(8k, h)
    zero_rows : "error"; "empty" for rows of zero bytes; "skip" for no codes (`checks.ZeroRows`, R42)
    backend : "numpy", "numba" or "cuda"; with the same codec, the result is the same to the bit

    Raises
    ------
    ShapeError, DTypeError, DomainError
        DomainError also for a number of bytes that is too small or too large.
    """
    codec = residual_codec(x, model, n_bytes, k, candidates=candidates, backend=backend)
    blocks = residual_blocks(x, model, codec, candidates=candidates, zero_rows=zero_rows, backend=backend)
    return ResidualCodes.concatenate(list(blocks) or [ResidualCodes(np.empty((0, codec.row_bytes), np.uint8), codec)])


def residual_blocks(
    x: RowSource,
    model: Model,
    codec: ResidualCodec,
    *,
    candidates: int | None = None,
    zero_rows: ZeroRows = "error",
    backend: str | Backend | None = None,
    first_row: int = 0,
) -> Iterator[ResidualCodes]:
    """Yield residual codes from ``first_row`` on, in blocks of rows, each computed on demand.

    The code of a row depends on the model, the codec, ``candidates`` and the row alone.
    """
    require_model(codec, model)
    rows, kernels = HostRows(as_source(x), d=model.params.d, zero_rows=zero_rows), get_backend(backend)
    m = candidates_of(codec.k, candidates, codec.n_latents)
    for block, codes in refined_with_rows(rows, model, codec.k, m, zero_rows, kernels, first_row):
        packed = pack(codes, codec.value_bits, backend=kernels)
        rest = residual_bytes(packed, kernels.fetch(block.x_unit), model, codec, kernels)
        yield ResidualCodes(np.hstack([packed.data, rest]), codec)


def residual_bytes(
    packed: PackedCodes, x_unit: Floats, model: Model, codec: ResidualCodec, backend: Backend
) -> NDArray[np.uint8]:
    """Return the bytes behind the sparse part: the length of the residual and its components (E56 to E61, R41)."""
    r = residuals(x_unit, sparse_rows(packed.unpack(backend=backend), model, backend))
    number = codec.nearest_length(reference.norm(r))
    scales, basis = codec.scales.astype(r.dtype), codec.basis.astype(r.dtype)
    dots = backend.fetch(backend.pair_dots(backend.place(r), backend.place(basis)))
    y = dots / (codec.lengths.astype(r.dtype)[number][:, None] * scales)
    rest = np.hstack([number[:, None], codec.bytes_of(codec.nearest_levels(y))])
    # spec: "If the sparse part is zero bytes, so is the whole row"
    rest[~packed.data.any(axis=1)] = 0
    return rest
