"""Sparse codes with the same number of stored entries in every row: fixed-k CSR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from compressae_ref import reference
from compressae_ref.arrays import Bools, Floats, Indices, host_array
from compressae_ref.checks import as_integer, require_unfolding
from compressae_ref.errors import DomainError, DTypeError, FormatError, ShapeError
from compressae_ref.optional import require_scipy

if TYPE_CHECKING:
    from scipy.sparse import csr_array


@dataclass(frozen=True, eq=False)
class Codes:
    """n codes over h latents, with exactly k stored entries each (R2).

    Parameters
    ----------
    indices : (n, k) int32, latents in [0, n_latents), strictly ascending in each row
    values : (n, k) float32 or float64, finite; zeros are stored like any other value
    n_latents : h, the number of latents
    model : digest of the model that made the codes, or None if it is not known
    refined : whether they were refined (`extensions.refine`); such codes are for dense queries

    Raises
    ------
    ShapeError, DTypeError, DomainError
        If one of these conditions does not hold; the error has the first bad row.

    Notes
    -----
    ``Codes(...)`` checks its arrays. `Codes.trusted` does not: it is for arrays that a kernel has just made.
    The "cuda" backend leaves the codes of an array on a device there. They can be decoded there; everything else
    needs `to_host`, which copies them into the computer's memory.
    """

    indices: Indices
    values: Floats
    n_latents: int
    model: str | None = None
    refined: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "n_latents", as_integer(self.n_latents, "n_latents", most=2**63 - 1))
        object.__setattr__(self, "indices", _as_indices(self.indices))
        object.__setattr__(self, "values", _as_values(self.values))
        _check_invariants(self.indices, self.values, self.n_latents)

    @classmethod
    def trusted(
        cls, indices: Indices, values: Floats, n_latents: int, model: str | None = None, *, refined: bool = False
    ) -> Codes:
        """Return codes from valid arrays, without a check or a copy."""
        codes = object.__new__(cls)
        fields = {"indices": indices, "values": values, "n_latents": n_latents, "model": model, "refined": refined}
        for name, value in fields.items():
            object.__setattr__(codes, name, value)
        return codes

    @classmethod
    def none(cls, k: int, n_latents: int, dtype: Any = np.float32) -> Codes:
        """Return codes of zero rows, with k entries each."""
        return cls(np.empty((0, k), np.int32), np.empty((0, k), dtype), n_latents)

    @property
    def k(self) -> int:
        """Stored entries per row."""
        return int(self.indices.shape[1])

    @property
    def shape(self) -> tuple[int, int]:
        """(n, h), the shape of the dense equivalent."""
        return len(self), self.n_latents

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, rows: Any) -> Codes:
        """Select rows by a slice, an array of row numbers or a mask; an integer selects one row."""
        if isinstance(rows, (int, np.integer)):
            rows = [range(len(self))[rows]]
        elif not isinstance(rows, slice) and (isinstance(rows, tuple) or np.ndim(rows) != 1):
            raise ShapeError(
                f"expected a slice, an array of row numbers or a mask, got {type(rows).__name__}", argument="codes"
            )
        return self._like(self.indices[rows], self.values[rows])

    def __repr__(self) -> str:
        model = "" if self.model is None else f", model {self.model[:12]}"
        refined = ", refined" if self.refined else ""
        return f"Codes({len(self)} rows, k {self.k} of {self.n_latents} latents, {self.values.dtype}{refined}{model})"

    def astype(self, dtype: Any) -> Codes:
        """Return the codes with values of another dtype; the same object if nothing changes."""
        if self.values.dtype == dtype:
            return self
        return self._like(self.indices, self.values.astype(dtype))

    def to_host(self) -> Codes:
        """Return the codes in the computer's memory: a copy if they lie on a device, else the same object."""
        return self

    def on(self, backend: str) -> Codes:
        """Return the codes if that backend can read them; BackendError for codes on a device that it cannot read."""
        return self

    def truncate(self, k: int) -> Codes:
        """Keep the k largest stored entries of each row by |value|, ties to the lower index (R2).

        The result equals encoding with that k, because the selection is a total order.
        """
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 1 <= k <= self.k:
            raise DomainError(f"expected k from 1 to {self.k} (the stored entries), got {k}", argument="truncate")
        return self._like(*reference.split_code(self.indices, self.values, int(k))[0])

    def entries(self, mask: Bools, k: int) -> Codes:
        """Select stored entries by a mask (n, self.k) that is True exactly k times in each row."""
        return self._like(self.indices[mask].reshape(len(self), k), self.values[mask].reshape(len(self), k))

    def split_signs(self) -> Codes:
        """Return codes over 2h dimensions without negative values: v ≥ 0 of latent j at 2j, v < 0 as |v| at 2j + 1.

        They are for engines that refuse negative values. A dot of two split codes omits the products of values with
        opposite signs, which are negative, and keeps all others. Split codes can be compared with split codes only, so
        they carry no model.
        """
        negative = self.values < 0
        indices = self.indices.astype(np.int64) * 2 + negative
        return Codes(_as_indices(indices), np.abs(self.values), 2 * self.n_latents)

    def to_dense(self) -> Floats:
        """Return an array (n, h) with the stored values at their indices and zeros elsewhere."""
        dense = np.zeros(self.shape, self.values.dtype)
        np.put_along_axis(dense, self.indices, self.values, axis=1)
        return dense

    def to_columns(self) -> Floats:
        """Return the transpose of `to_dense` as an array (h, n) in C order."""
        columns = np.zeros(self.shape[::-1], self.values.dtype)
        columns[self.indices, np.arange(len(self))[:, None]] = self.values
        return columns

    def to_csr(self) -> csr_array:
        """Return a SciPy CSR array (n, h) with n·k stored entries; it shares the memory of ``values`` if possible."""
        indptr = np.arange(len(self) + 1) * self.k
        csr_array = require_scipy("sparse", "SciPy arrays").csr_array
        return csr_array((self.values.ravel(), self.indices.ravel(), indptr), shape=self.shape)

    @classmethod
    def from_csr(cls, matrix: Any, k: int | None = None) -> Codes:
        """Return codes from any SciPy sparse matrix or array of shape (n, h).

        Rows with fewer than k stored entries are padded with zeros at the lowest free indices, so that every row
        stores exactly k (R2). ``k=None`` uses the length of the longest row. Repeated entries are summed, as in SciPy.
        """
        csr = _checked_csr(matrix)
        lengths = np.diff(csr.indptr)
        longest = int(lengths.max(initial=1))
        if k is None:
            require_even_rows(len(lengths), longest, csr.nnz)
        k = longest if k is None else k
        if longest > k:
            row = int(np.argmax(lengths > k))
            raise ShapeError(
                f"expected at most k = {k} stored entries per row, got {lengths[row]}", argument="from_csr", row=row
            )
        if k > csr.shape[1]:
            raise DomainError(f"expected k of at most h = {csr.shape[1]}, got k = {k}", argument="from_csr")
        if (lengths == k).all():
            return cls(csr.indices.reshape(-1, k), csr.data.reshape(-1, k), csr.shape[1])
        return cls(*_filled_rows(csr, lengths, k), csr.shape[1])

    @staticmethod
    def concatenate(parts: Sequence[Codes]) -> Codes:
        """Concatenate codes that agree in k, n_latents and model. The result is refined if all of them are."""
        if not parts:
            raise ShapeError("expected at least one Codes, got none", argument="concatenate")
        first = parts[0]
        for place, part in enumerate(parts):
            same = (part.k, part.n_latents, part.model) == (first.k, first.n_latents, first.model)
            if not same:
                raise ShapeError(
                    f"expected codes like the first ({first!r}), got {part!r} at position {place}",
                    argument="concatenate",
                )
        indices, values = (np.concatenate([getattr(part, name) for part in parts]) for name in ("indices", "values"))
        refined = all(part.refined for part in parts)
        return type(first).trusted(indices, values, first.n_latents, first.model, refined=refined)

    def _like(self, indices: Indices, values: Floats) -> Codes:
        return type(self).trusted(indices, values, self.n_latents, self.model, refined=self.refined)


def refined_entry(codes: Any) -> dict[str, bool]:
    """Return the entry of a file's metadata that marks refined codes. It is absent from other files."""
    return {"refined": True} if codes.refined else {}


def is_refined(meta: dict[str, Any]) -> bool:
    """Return whether the metadata of a file marks its codes as refined."""
    return meta.get("refined") is True


def _as_indices(indices: Any) -> Indices:
    array = host_array(indices, "codes")
    if array.dtype.kind not in "iu":
        raise DTypeError(f"expected integer indices, got {array.dtype}", argument="codes")
    if array.size and (array.min() < 0 or array.max() > np.iinfo(np.int32).max):
        raise DomainError(f"expected indices from 0 to 2**31 - 1, got {array.min()} to {array.max()}", argument="codes")
    return np.ascontiguousarray(array, np.int32)


def _as_values(values: Any) -> Floats:
    array = host_array(values, "codes")
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise DTypeError(f"expected float16, float32 or float64 values, got {array.dtype}", argument="codes")
    floats: Floats = np.ascontiguousarray(array, np.float64 if array.dtype.itemsize == 8 else np.float32)
    return floats + floats.dtype.type(0)  # spec: "−0 is stored as +0"


def _check_invariants(indices: Indices, values: Floats, n_latents: int) -> None:
    if indices.ndim != 2 or indices.shape != values.shape or not 1 <= indices.shape[1] <= n_latents:
        raise ShapeError(
            f"expected indices and values of one shape (n, k) with k from 1 to n_latents = {n_latents}, "
            f"got {indices.shape} and {values.shape}",
            argument="codes",
        )
    for bad, what in (
        ((indices >= n_latents).any(1), f"indices below n_latents = {n_latents}"),
        ((np.diff(indices, axis=1) <= 0).any(1), "indices that ascend strictly"),
        (~np.isfinite(values).all(1), "finite values"),
    ):
        if bad.any():
            row = int(np.argmax(bad))
            raise DomainError(
                f"expected {what}, got {indices[row].tolist()} with {values[row].tolist()}", argument="codes", row=row
            )


def _checked_csr(matrix: Any) -> csr_array:
    """Return a copy in CSR without repeated entries. SciPy's compiled code trusts the entries, so they are checked."""
    if matrix.format in ("csr", "csc", "bsr"):
        _require_valid_entries(matrix)
    csr = matrix.tocsr(copy=True)
    csr.sum_duplicates()
    return csr


def _require_valid_entries(matrix: Any) -> None:
    """Check offsets and indices of a CSR, CSC or BSR matrix. SciPy's own check skips them if the last offset is 0."""
    height, width = getattr(matrix, "blocksize", (1, 1))
    rows, columns = matrix.shape[::-1] if matrix.format == "csc" else matrix.shape
    offsets, indices, stored = matrix.indptr, matrix.indices, len(matrix.data)
    if len(indices) != stored:
        raise FormatError(
            f"expected a valid sparse matrix, got one of {len(indices)} indices with {stored} values", argument="codes"
        )
    if len(offsets) != rows // height + 1 or offsets[0] != 0 or offsets[-1] > stored or (np.diff(offsets) < 0).any():
        raise FormatError(
            f"expected a valid sparse matrix, got one whose row offsets do not ascend from 0 to {stored}",
            argument="codes",
        )
    used = indices[: offsets[-1]]
    if used.size and not (used.min() >= 0 and used.max() < columns // width):
        raise FormatError(
            f"expected a valid sparse matrix, got one whose indices are not from 0 to {columns // width - 1}",
            argument="codes",
        )


def require_even_rows(n: int, longest: int, entries: int) -> None:
    """Raise ShapeError if rows are so uneven that filling them up to the longest takes far more memory than they do."""
    try:
        require_unfolding(8 * (entries + n), 8 * n * longest, "codes")
    except FormatError as error:
        raise ShapeError(
            f"expected rows of about equal length, got one of {longest} entries among {n} rows with {entries} in total",
            argument="codes",
            hint=f"filled up to the longest they take {8 * n * longest / 2**20:,.0f} MB: truncate or split long rows",
        ) from error


def _filled_rows(csr: Any, lengths: Any, k: int) -> tuple[Indices, Floats]:
    """Return indices and values (n, k) of a canonical CSR array whose rows may be shorter than k."""
    indices = np.empty((csr.shape[0], k), np.int32)
    values = np.zeros((csr.shape[0], k), csr.dtype)
    for row, length in enumerate(lengths):
        stored = slice(csr.indptr[row], csr.indptr[row + 1])
        # 2k candidates are enough: at most ``length`` of them are already stored.
        free = np.setdiff1d(np.arange(min(2 * k, csr.shape[1])), csr.indices[stored])[: k - length]
        unsorted = np.concatenate([csr.indices[stored], free])
        order = np.argsort(unsorted)
        indices[row] = unsorted[order]
        values[row] = np.concatenate([csr.data[stored], np.zeros(len(free), csr.dtype)])[order]
    return indices, values
