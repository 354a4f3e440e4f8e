"""Write embeddings and codes to files. The suffix of the name selects the format. Files are written atomically."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.codes import Codes
from compressae_ref.errors import FormatError, naming_file
from compressae_ref.files.atomic_write import replacing, spool_beside
from compressae_ref.files.codes_file import read_spooled, save_code_blocks, spool_second
from compressae_ref.files.foreign import codes_json, codes_parquet
from compressae_ref.files.foreign.ann_benchmarks import BIG_ANN, VECS, exactly, write_big_ann, write_vecs
from compressae_ref.files.foreign.choose_array import EMBEDDING_ENTRIES
from compressae_ref.files.foreign.codes import CODE_NAMES
from compressae_ref.files.foreign.hdf5 import write_hdf5
from compressae_ref.files.foreign.parquet import write_columns
from compressae_ref.files.foreign.safetensors import write_tensors
from compressae_ref.files.foreign.sniff import EMBEDDING_NAMES, kind_by_name
from compressae_ref.files.id_members import id_members
from compressae_ref.files.npz import PathLike, Pieces, write_npz
from compressae_ref.item_ids import as_ids
from compressae_ref.row_source import STREAM_ROWS, RowSource, read_blocks

WITH_IDS = ("npz", "hdf5", "parquet", "arrow", "jsonl")
"""Formats that store ids."""


def require_format(path: PathLike, kinds: Iterable[str]) -> str:
    """Return the format that a file name selects. FormatError if it is not one of ``kinds``."""
    kind = kind_by_name(path)
    if kind not in kinds:
        names = ", ".join(f".{name}" for name in kinds)
        raise FormatError(f"expected a name that ends in {names}, got {Path(path).suffix or 'no suffix'}", path=path)
    return kind


def require_embedding_format(path: PathLike) -> str:
    """Return the format of embeddings that a file name selects."""
    return require_format(path, [name.removeprefix(".") for name in EMBEDDING_NAMES])


def require_code_format(path: PathLike) -> str:
    """Return the format of codes that a file name selects. Without a suffix it is a codes file of this package."""
    return "npz" if kind_by_name(path) == "" else require_format(path, CODE_NAMES)


def without_ids(path: PathLike, ids: Any) -> str:
    """Return what to tell about ids that the format of a file cannot store, or "" if nothing is lost."""
    stored = ids is None or (kind_by_name(path) or "npz") in WITH_IDS
    return "" if stored else " (without ids, which this format cannot store)"


def write_embeddings(path: PathLike, source: RowSource, *, ids: Any = None, dtype: Any = None) -> None:
    """Write the rows of a source in blocks, with their ids if the format stores ids (`WITH_IDS`).

    Raises
    ------
    CompressaeError
        If the name selects no format of embeddings, if the format cannot hold a value exactly, or for ids that
        `as_ids` refuses.
    BackendError
        If the package that writes the format is not installed. OSError if the file cannot be written.
    """
    kind = require_embedding_format(path)
    ids = None if ids is None else as_ids(ids, len(source))
    shape = (len(source), source[0:1].shape[1])
    dtype = np.dtype(source[0:1].dtype if dtype is None else dtype)
    blocks = (block.astype(dtype) for block in read_blocks(source, STREAM_ROWS, zeros=True))
    rows = Pieces(shape, dtype, blocks)
    if kind == "npz":
        write_npz(path, {EMBEDDING_ENTRIES[0]: rows, **id_members(ids)})
        return
    with naming_file(path, "ids"), replacing(path) as file:
        if kind == "npy":
            _write_npy(file, rows)
        elif kind in BIG_ANN:
            write_big_ann(file, shape, blocks, kind)
        elif kind in VECS:
            write_vecs(file, shape, blocks, kind)
        elif kind == "safetensors":
            write_tensors(file, {EMBEDDING_ENTRIES[0]: rows}, {})
        elif kind == "hdf5":
            write_hdf5(file, shape, dtype, blocks, ids)
        else:
            write_columns(file, kind, shape, dtype, blocks, np.arange(shape[0]) if ids is None else ids)


def _write_npy(file: IO[bytes], rows: Pieces) -> None:
    little = rows.dtype.newbyteorder("<")
    header = {"descr": np.lib.format.dtype_to_descr(little), "fortran_order": False, "shape": rows.shape}
    np.lib.format.write_array_header_1_0(file, header)
    for block in rows.pieces:
        file.write(np.ascontiguousarray(block, little).data)


def write_codes(path: PathLike, blocks: Iterable[Codes], n: int, *, ids: Any = None) -> None:
    """Write n codes that come in blocks, with their ids if the format stores ids.

    Raises
    ------
    CompressaeError
        If the name selects no format of codes, if the format cannot hold an id, or for ids that `as_ids` refuses.
        Ids are checked before the first block is made. Errors of ``blocks`` are passed on.
    BackendError
        If the package that writes the format is not installed. OSError if the file cannot be written.
    """
    kind = require_code_format(path)
    if kind == "npz":
        save_code_blocks(path, blocks, n, ids)
        return
    numbers = np.arange(n) if ids is None else as_ids(ids, n)
    if kind == "jsonl":
        with naming_file(path, "ids"):
            codes_json.check_ids(numbers)
    blocks = iter(blocks)
    first = next(blocks)
    blocks = chain([first], blocks)
    with replacing(path) as file:
        if kind == "csr":
            with spool_beside(path) as values:
                _write_csr(file, values, first, blocks, n)
        elif kind == "jsonl":
            codes_json.write(file, blocks, numbers)
        else:
            codes_parquet.write(file, kind, first, blocks, numbers)


def _write_csr(file: IO[bytes], values: IO[bytes], like: Codes, blocks: Iterable[Codes], n: int) -> None:
    """Write the CSR format of big-ann-benchmarks, see `codes`. The values wait in a temporary file."""
    file.write(np.array([n, like.n_latents, n * like.k], "<i8").tobytes())
    for start in range(0, n + 1, STREAM_ROWS):
        file.write((np.arange(start, min(start + STREAM_ROWS, n + 1), dtype="<i8") * like.k).tobytes())
    for indices in spool_second(_pairs(blocks), values):
        file.write(indices.astype("<i4", copy=False).tobytes())
    for piece in read_spooled(values, "<f4"):
        file.write(piece.tobytes())


def _pairs(blocks: Iterable[Codes]) -> Iterator[tuple[NDArray[Any], Floats]]:
    first = 0
    for codes in blocks:
        yield codes.indices, exactly(codes.values, "<f4", first)
        first += len(codes)
