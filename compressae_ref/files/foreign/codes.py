"""Codes from files of any format that is known here, block by block.

==============  ========================================================================================================
.npz            this package's, packed or not, and SciPy's of a CSR matrix
a folder        of parts, as a cluster encodes them (`parts`)
.csr            of big-ann-benchmarks: numbers of rows, columns and entries as int64, then int64 indptr, int32 indices,
                float32 values; mapped
.parquet        columns ``indices`` and ``values`` with lists, perhaps ids; extra ``parquet``; .arrow, too
.jsonl          a point of Qdrant in each line: {"id": 7, "vector": {"codes": {"indices": [...], "values": [...]}}}
==============  ========================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.checks import as_integer
from compressae_ref.codes import Codes
from compressae_ref.errors import CompressaeError, DomainError, FormatError
from compressae_ref.files.codes_file import load_codes, load_ids
from compressae_ref.files.foreign import codes_json, codes_parquet
from compressae_ref.files.foreign.partitioned import is_parts, read_manifest, read_part_ids, read_parts
from compressae_ref.files.foreign.sniff import kind_of
from compressae_ref.files.memory_map import map_rows
from compressae_ref.files.model_file import is_ours
from compressae_ref.files.npz import READ_ERRORS
from compressae_ref.row_source import STREAM_ROWS

CSR_HEADER = 24
"""Bytes of three whole numbers."""


@dataclass(frozen=True)
class CodeRows:
    """Codes of a file, which come in blocks as often as they are asked for."""

    n: int
    k: int
    """entries of the longest row, and of each `Codes`"""
    n_latents: int
    blocks: Callable[[], Iterator[Codes]]
    ids: NDArray[Any] | None = None

    def load(self) -> Codes:
        """All of them."""
        return Codes.concatenate(list(self.blocks()) or [Codes.none(self.k, self.n_latents)])


def open_codes(path: str, n_latents: int | None = None) -> CodeRows:
    """The codes in a file.

    Parameters
    ----------
    n_latents : h, needed where the file does not say it, and held against it where it does

    Raises
    ------
    FormatError, DomainError
        Naming the file, and the row or line. BackendError if the package that reads it is not installed.
    """
    with _errors_of(path):
        rows = _parts(path) if is_parts(path) else _OPEN[_kind(path)](path, n_latents)
    if n_latents is not None and rows.n_latents != n_latents:
        raise DomainError(f"expected n_latents = {n_latents}, got {rows.n_latents}", path=path)
    return replace(rows, blocks=lambda: _counted(path, rows))


def _counted(path: str, rows: CodeRows) -> Iterator[Codes]:
    """The blocks of a file, which must have as many rows as it says."""
    n = 0
    with _errors_of(path):
        for codes in rows.blocks():
            n += len(codes)
            yield codes
        if n != rows.n:
            raise FormatError(f"expected {rows.n} rows, got {n}")


@contextmanager
def _errors_of(path: str) -> Iterator[None]:
    """Errors of any kind as one line with the name of the file."""
    try:
        yield
    except CompressaeError as error:
        error.path = error.path or path
        raise
    except READ_ERRORS as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise FormatError("expected a file of codes, got something else or a part of one", path=path) from error


def _kind(path: str) -> str:
    kind = kind_of(path)
    if kind == "zip":
        kind = "ours" if is_ours(path) else "scipy"
    if kind not in _OPEN:
        raise FormatError(f"expected codes in {', '.join(f'.{name}' for name in CODE_NAMES)}, got .{kind}", path=path)
    return kind


def _ours(path: str, n_latents: int | None) -> CodeRows:
    codes = load_codes(path)
    return _in_memory(codes, load_ids(path, len(codes)))


def _in_memory(codes: Codes, ids: NDArray[Any] | None = None) -> CodeRows:
    starts = range(0, max(len(codes), 1), STREAM_ROWS)
    return CodeRows(
        len(codes), codes.k, codes.n_latents, lambda: (codes[start : start + STREAM_ROWS] for start in starts), ids
    )


def _parts(path: str) -> CodeRows:
    manifest = read_manifest(path)
    n, k, h = (manifest[name] for name in ("n", "k", "n_latents"))
    return CodeRows(n, k, h, lambda: read_parts(path, manifest), read_part_ids(path, manifest))


def _scipy(path: str, n_latents: int | None) -> CodeRows:
    from scipy import sparse  # an encoder need not wait for it

    with open(path, "rb") as file:  # noqa: PTH123
        return _in_memory(Codes.from_csr(sparse.load_npz(file)))


def _csr(path: str, n_latents: int | None) -> CodeRows:
    with open(path, "rb") as file:  # noqa: PTH123
        n, h, nnz = np.frombuffer(file.read(CSR_HEADER), "<i8").tolist()
    as_integer(h, "columns")
    after = CSR_HEADER + 8 * (n + 1)
    indptr = np.array(map_rows(path, "<i8", (n + 1,), CSR_HEADER))
    indices, values = map_rows(path, "<i4", (nnz,), after), map_rows(path, "<f4", (nnz,), after + 4 * nnz)
    if indptr[0] != 0 or indptr[-1] != nnz or (np.diff(indptr) < 0).any():
        raise FormatError(f"expected places of rows that ascend from 0 to {nnz}, got others", path=path)
    k = int(np.diff(indptr).max(initial=1))

    def blocks() -> Iterator[Codes]:
        for start in range(0, max(n, 1), STREAM_ROWS):
            own = indptr[start : start + STREAM_ROWS + 1]
            part = slice(int(own[0]), int(own[-1]))
            yield from_lists(path, indices[part], values[part], np.diff(own), k, h, start)

    return CodeRows(n, k, h, blocks)


def from_lists(
    path: str, indices: Any, values: Any, lengths: NDArray[Any], k: int, n_latents: int, first_row: int
) -> Codes:
    """A block of codes from the entries of its rows one after the other."""
    from scipy import sparse

    if indices.size and not (indices.min() >= 0 and indices.max() < n_latents):
        wrong = int(np.argmax((indices < 0) | (indices >= n_latents)))
        row = first_row + int(np.searchsorted(np.cumsum(lengths), wrong, "right"))
        raise FormatError(f"expected indices from 0 to {n_latents - 1}, got {indices[wrong]}", path=path, row=row)
    if not np.isfinite(values).all():
        wrong = int(np.argmin(np.isfinite(values)))
        row = first_row + int(np.searchsorted(np.cumsum(lengths), wrong, "right"))
        raise FormatError(f"expected finite values, got {values[wrong]}", path=path, row=row)
    indptr = np.concatenate([[0], np.cumsum(lengths)])
    return Codes.from_csr(sparse.csr_array((values, indices, indptr), shape=(len(lengths), n_latents)), k)


def _columns(path: str, n_latents: int | None) -> CodeRows:
    return _of_lists(path, codes_parquet.scan(path, kind_of(path)), n_latents)


def _lines(path: str, n_latents: int | None) -> CodeRows:
    return _of_lists(path, codes_json.scan(path), n_latents)


def _of_lists(path: str, found: Any, n_latents: int | None) -> CodeRows:
    """Codes of what was found in a file that need not say how many latents there are."""
    h = found.n_latents if found.n_latents is not None else n_latents
    if h is None:
        raise DomainError("expected n_latents for a file that does not say it, got none", path=path)

    def blocks() -> Iterator[Codes]:
        first = 0
        for indices, values, lengths in found.lists():
            codes = from_lists(path, indices, values, lengths, found.k, h, first)
            yield Codes.trusted(codes.indices, codes.values, h, found.model)
            first += len(lengths)

    return CodeRows(found.n, found.k, h, blocks, found.ids)


_OPEN: dict[str, Callable[[str, int | None], CodeRows]] = {
    "ours": _ours,
    "scipy": _scipy,
    "csr": _csr,
    "parquet": _columns,
    "arrow": _columns,
    "jsonl": _lines,
}
CODE_NAMES = ("npz", "csr", "parquet", "arrow", "jsonl")
"""How the names of files of codes end."""
