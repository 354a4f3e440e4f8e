"""Read codes from files of any known format, in blocks.

==============  ========================================================================================================
.npz            codes files of this package, packed or not, and CSR matrices of SciPy
a folder        in parts, as a cluster writes them (`partitioned`)
.csr            big-ann-benchmarks: numbers of rows, columns and entries as int64, then int64 indptr, int32 indices,
                float32 values
.parquet        list columns ``indices`` and ``values``, optional ids; also .arrow; extra ``parquet``
.jsonl          one Qdrant point per line: {"id": 7, "vector": {"codes": {"indices": [...], "values": [...]}}}
==============  ========================================================================================================
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.checks import as_integer, check_floats, require_unfolding, short_repr
from compressae_ref.codes import Codes, require_even_rows
from compressae_ref.errors import DomainError, FormatError
from compressae_ref.files.codes_file import load_codes, load_codes_and_ids
from compressae_ref.files.foreign import codes_json, codes_parquet
from compressae_ref.files.foreign.choose_array import id_entry
from compressae_ref.files.foreign.partitioned import is_parts, opened_parts, read_manifest, read_part_ids, read_parts
from compressae_ref.files.foreign.ragged import ListedCodes
from compressae_ref.files.foreign.rows import IdEntry
from compressae_ref.files.foreign.sniff import kind_of
from compressae_ref.files.id_members import LENGTHS, ids_from
from compressae_ref.files.input_file import FileArray, InputFile, PathLike, opened
from compressae_ref.files.model_file import is_ours
from compressae_ref.files.npz import member_names, read_npz, reading
from compressae_ref.optional import require_scipy
from compressae_ref.row_source import STREAM_ROWS

CSR_HEADER = 24
"""Bytes of the three int64 at the start of a .csr file."""

EXPECTED = "a file of codes"


@dataclass(frozen=True)
class CodeRows:
    """The codes of a file. ``blocks()`` starts a new iteration over them."""

    n: int
    k: int
    """entries of the longest row; all blocks have this k"""
    n_latents: int
    blocks: Callable[[], Iterator[Codes]]
    ids: NDArray[Any] | None = None

    def load(self) -> Codes:
        """Read all blocks."""
        return Codes.concatenate(list(self.blocks()) or [Codes.none(self.k, self.n_latents)])


def open_codes(path: str, n_latents: int | None = None, ids: IdEntry = True) -> CodeRows:
    """Open a file of codes.

    Parameters
    ----------
    path : the file or folder
    n_latents : h; required if the file does not store it, otherwise compared with the file
    ids : the array or column of ids; True: the one called id, ids or _id, if it exists; False: none

    Raises
    ------
    FormatError, DomainError
        With the path, and the row or line. BackendError if the package that reads the format is not installed.
    """
    with reading(path, EXPECTED):
        if is_parts(path):
            rows = _parts(path, ids)
        else:
            file = InputFile(path)
            rows = _OPEN[_kind(file)](file, n_latents, ids)
    if n_latents is not None and rows.n_latents != n_latents:
        raise DomainError(f"expected n_latents = {n_latents}, got {rows.n_latents}", path=path)
    return replace(rows, blocks=lambda: _counted(path, rows))


def _counted(path: str, rows: CodeRows) -> Iterator[Codes]:
    """Yield the blocks of a file. FormatError if they do not have ``rows.n`` rows in total."""
    n = 0
    with reading(path, EXPECTED):
        for codes in rows.blocks():
            n += len(codes)
            yield codes
        if n != rows.n:
            raise FormatError(f"expected {rows.n} rows, got {n}")


def _kind(file: InputFile) -> str:
    kind = kind_of(file)
    if kind == "zip":
        kind = "ours" if is_ours(file) else "scipy"
    if kind not in _OPEN:
        raise FormatError(f"expected codes in {', '.join(f'.{name}' for name in CODE_NAMES)}, got .{kind}")
    return kind


def _ours(file: InputFile, n_latents: int | None, ids: IdEntry) -> CodeRows:
    _only_usual(file.path, f".{kind_of(file)}", ids)
    return _in_memory(*load_codes_and_ids(file)) if ids else _in_memory(load_codes(file))


def _only_usual(path: str, kind: str, ids: IdEntry) -> None:
    """Raise FormatError if ids are asked for by a name, in a format that has one place for them or none."""
    if isinstance(ids, str):
        raise FormatError(f"expected a format with named columns for ids ::{ids}, got {kind}", path=path)


def _in_memory(codes: Codes, ids: NDArray[Any] | None = None) -> CodeRows:
    starts = range(0, max(len(codes), 1), STREAM_ROWS)
    return CodeRows(
        len(codes), codes.k, codes.n_latents, lambda: (codes[start : start + STREAM_ROWS] for start in starts), ids
    )


def _parts(path: str, ids: IdEntry) -> CodeRows:
    _only_usual(path, "a folder of parts", ids)
    manifest = read_manifest(path)
    n, k, h = (manifest[name] for name in ("n", "k", "n_latents"))
    part_file = opened_parts(path)
    found = read_part_ids(path, manifest, part_file) if ids else None
    return CodeRows(n, k, h, lambda: read_parts(manifest, part_file), found)


def _scipy(file: InputFile, n_latents: int | None, ids: IdEntry) -> CodeRows:
    codes = Codes.from_csr(load_sparse(file))
    name = id_entry(file.path, ids, sorted(member_names(file)))
    if name is None:
        return _in_memory(codes)
    return _in_memory(codes, ids_from(read_npz(file, name, LENGTHS), len(codes), file.path, name))


def load_sparse(file: PathLike | InputFile) -> Any:
    """Read a sparse matrix from an ``.npz`` of SciPy: CSR, CSC, COO or BSR. Its content is not checked."""
    sparse = require_scipy("sparse", "codes of other programs")  # imported here: the import is slow
    with reading(file, "a sparse matrix in SciPy's .npz"):
        file = opened(file)
        arrays = read_npz(file, "format", "shape", "data", "indices", "indptr", "row", "col")
        if "format" not in arrays:
            got = f"an archive of {', '.join(sorted(member_names(file))) or 'no arrays'}"
            raise FormatError(f"expected a sparse matrix in SciPy's .npz, got {got}")
        kind, (n, h) = np.array(arrays["format"][()], "S").item().decode(), arrays["shape"].tolist()
        if kind not in ("csr", "csc", "coo", "bsr"):
            raise FormatError(f"expected a matrix in format csr, csc, coo or bsr, got {short_repr(kind)}")
        data = arrays["data"]
        check_floats(data.dtype, "data")
        as_integer(h, "columns", most=2**63 - 1)
        require_unfolding(
            sum(array.nbytes for array in arrays.values()), 8 * as_integer(n, "rows", 0, 2**63 - 1), "rows"
        )
        if kind == "coo":
            return sparse.coo_array((data, (arrays["row"], arrays["col"])), shape=(n, h))
        make = {"csr": sparse.csr_array, "csc": sparse.csc_array, "bsr": sparse.bsr_array}[kind]
        return make((data, arrays["indices"], arrays["indptr"]), shape=(n, h))


def _csr(file: InputFile, n_latents: int | None, ids: IdEntry) -> CodeRows:
    path = file.path
    _only_usual(path, ".csr", ids)
    n, h, nnz = np.frombuffer(file.read(0, CSR_HEADER), "<i8").tolist()
    as_integer(h, "columns")
    after = CSR_HEADER + 8 * (n + 1)
    indptr = np.asarray(FileArray(file, "<i8", (n + 1,), CSR_HEADER))
    indices, values = FileArray(file, "<i4", (nnz,), after), FileArray(file, "<f4", (nnz,), after + 4 * nnz)
    if indptr[0] != 0 or indptr[-1] != nnz or (np.diff(indptr) < 0).any():
        row = int(np.argmin(np.diff(indptr))) if n else 0
        bounds = f"{indptr[0]} to {indptr[-1]}, with {indptr[row]} before {indptr[min(row + 1, n)]}"
        raise FormatError(f"expected row offsets that ascend from 0 to {nnz}, got {bounds}", path=path, row=row)
    k = int(np.diff(indptr).max(initial=1))
    require_even_rows(n, k, nnz)

    def blocks() -> Iterator[Codes]:
        for start in range(0, max(n, 1), STREAM_ROWS):
            offsets = indptr[start : start + STREAM_ROWS + 1]
            part = slice(int(offsets[0]), int(offsets[-1]))
            yield from_lists(path, indices[part], values[part], np.diff(offsets), k, h, start)

    return CodeRows(n, k, h, blocks)


def from_lists(
    path: str, indices: Any, values: Any, lengths: NDArray[Any], k: int, n_latents: int, first_row: int
) -> Codes:
    """Build a block of codes from concatenated entries and the length of each row."""
    sparse = require_scipy("sparse", "codes of other programs")
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


def _columns(file: InputFile, n_latents: int | None, ids: IdEntry) -> CodeRows:
    return _of_lists(file.path, codes_parquet.scan(file.path, file, kind_of(file), ids), n_latents)


def _lines(file: InputFile, n_latents: int | None, ids: IdEntry) -> CodeRows:
    return _of_lists(file.path, codes_json.scan(file.path, file, ids), n_latents)


def _of_lists(path: str, listed: ListedCodes, n_latents: int | None) -> CodeRows:
    """Return the codes of a file that may not store n_latents."""
    h = listed.n_latents if listed.n_latents is not None else n_latents
    if h is None:
        raise DomainError(
            "expected n_latents for a file that does not store it, got None",
            path=path,
            hint="pass n_latents (--n-latents)",
        )
    require_even_rows(listed.n, listed.k, listed.entries)

    def blocks() -> Iterator[Codes]:
        first = 0
        for indices, values, lengths in listed.lists():
            codes = from_lists(path, indices, values, lengths, listed.k, h, first)
            yield Codes.trusted(codes.indices, codes.values, h, listed.model, refined=listed.refined)
            first += len(lengths)

    return CodeRows(listed.n, listed.k, h, blocks, listed.ids)


_OPEN: dict[str, Callable[[InputFile, int | None, IdEntry], CodeRows]] = {
    "ours": _ours,
    "scipy": _scipy,
    "csr": _csr,
    "parquet": _columns,
    "arrow": _columns,
    "arrow-stream": _columns,
    "jsonl": _lines,
}
CODE_NAMES = ("npz", "csr", "parquet", "arrow", "jsonl")
"""Suffixes of files of codes."""
