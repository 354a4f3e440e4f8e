"""Read embeddings from files of any known format, or from standard input.

============================  ====================================================================================
.npy, .npz                    memory-mapped unless compressed
.fbin .u8bin .i8bin           big-ann-benchmarks (`ann_benchmarks`), memory-mapped
.fvecs .bvecs                 `ann_benchmarks`, memory-mapped
.safetensors                  memory-mapped; needs NumPy only
.hdf5                         extra ``hdf5``; datasets "train" and "test" of ann-benchmarks
.parquet, .arrow              extra ``parquet``; a column of lists and an optional column of ids
============================  ====================================================================================

`sniff` detects the format. ``FILE::NAME`` selects an array or column in a file that has several.
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.errors import FormatError, naming_file
from compressae_ref.files.foreign.ann_benchmarks import BIG_ANN, open_big_ann, open_vecs
from compressae_ref.files.foreign.choose_array import chosen_entry, id_entry
from compressae_ref.files.foreign.hdf5 import open_hdf5
from compressae_ref.files.foreign.parquet import open_columns
from compressae_ref.files.foreign.rows import EmbeddingRows, Place
from compressae_ref.files.foreign.safetensors import open_tensors
from compressae_ref.files.foreign.sniff import EMBEDDING_NAMES, kind_of
from compressae_ref.files.memory_map import MappedRows, map_member
from compressae_ref.files.npz import read_header, read_member, reading
from compressae_ref.row_source import as_source

EXPECTED = f"a file of embeddings ({', '.join(EMBEDDING_NAMES)})"


def open_embeddings(path: str) -> Any:
    """Open the embeddings in a file, or in one array of it (``FILE::NAME``). ``-`` reads from standard input.

    Rows are read only when they are accessed. A slice of rows is a copy, and memory use does not grow with the file.

    Returns
    -------
    A source of rows (`row_source.RowSource`) with ``shape`` and ``dtype``. `rows.ids_of` returns its ids, if any.

    Raises
    ------
    FormatError, ShapeError, DTypeError
        If the format is unknown, or the file is truncated or pickled. Also if the array is not two-dimensional, is
        empty, or does not hold floats.
    BackendError
        If the package that reads the format is not installed. OSError if the file is missing.
    """
    place = place_of(path)
    expected = "a .npy or .npz file of embeddings" if path == "-" else EXPECTED
    with reading(place, expected, MemoryError, Warning):  # wrong headers ask for too much memory, or warn
        rows = _read_standard_input() if path == "-" else _open(place)
    with naming_file(place):
        return as_source(rows)


def place_of(path: str) -> Place:
    """Split ``FILE::NAME`` into the file and the name of an array. An existing file with that whole name wins."""
    file, colons, entry = path.rpartition("::")
    return Place(file, entry) if colons and not Path(path).exists() else Place(path, None)


def _open(place: Place) -> Any:
    kind = kind_of(place.path)
    if place.entry is not None and kind not in _OF_SEVERAL:
        raise FormatError(f"expected a format with named arrays for ::{place.entry}, got .{kind}", path=place.path)
    if kind == "npy":
        with open(place.path, "rb") as file:  # noqa: PTH123
            _require_no_pickle(file)
        with np.errstate(over="raise"):  # the product of sizes in a wrong header must not wrap around
            return np.lib.format.open_memmap(place.path, mode="r").view(MappedRows)
    if kind in BIG_ANN:
        return open_big_ann(place.path, kind)
    if kind in ("fvecs", "bvecs"):
        return open_vecs(place.path, kind)
    if kind not in _OF_SEVERAL:
        raise FormatError(f"expected {EXPECTED}, got {_CALLED.get(kind, kind)}", path=place.path)
    return _OF_SEVERAL[kind](place)


def _open_archive(place: Place) -> Any:
    with Path(place.path).open("rb") as file:
        return _from_archive(file, place)


def _from_archive(file: IO[bytes], place: Place) -> Any:
    with reading(place.file, EXPECTED), zipfile.ZipFile(file) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        rows = _member(archive, members[chosen_entry(place, [*members], [*members])], place)
        if (name := id_entry([*members])) is None:
            return rows
        ids = read_member(archive, members[name])
    if ids.shape != rows.shape[:1] or ids.dtype.kind not in "iuU":  # ids of another array
        return rows
    return EmbeddingRows(rows.shape, rows.dtype, lambda start, stop: rows[start:stop], ids=lambda: ids)


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, place: Place) -> Any:
    mapped = None if place.path == "-" else map_member(place.path, archive, info)
    if mapped is None:
        return read_member(archive, info)
    return mapped.view(MappedRows) if mapped.size else mapped


def _open_tensors(place: Place) -> Any:
    tensors, _ = open_tensors(place.path)
    rows = [name for name, tensor in tensors.items() if len(tensor.shape) == 2 and tensor.dtype.kind == "f"]
    return tensors[chosen_entry(place, rows, [*tensors])]


_OF_SEVERAL: dict[str, Callable[[Place], Any]] = {
    "zip": _open_archive,
    "safetensors": _open_tensors,
    "hdf5": open_hdf5,
    "parquet": lambda place: open_columns(place, "parquet"),
    "arrow": lambda place: open_columns(place, "arrow"),
}
"""Functions that open formats with several named arrays."""

_CALLED = {"csr": "a sparse matrix", "jsonl": "lines of JSON", "pickle": "pickled objects"}


def _read_standard_input() -> NDArray[Any]:
    content = b"" if sys.stdin is None else sys.stdin.buffer.read()
    if content.startswith(b"PK\x03\x04"):
        rows: NDArray[Any] = _from_archive(io.BytesIO(content), Place("-", None))
        return rows
    if not content.startswith(b"\x93NUMPY"):  # np.load would try to read it as a pickle
        raise FormatError(f"expected a .npy or .npz file of embeddings, got input that starts with {content[:8]!r}")
    _require_no_pickle(io.BytesIO(content))
    return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))


def _require_no_pickle(file: IO[bytes]) -> None:
    """Raise FormatError for a ``.npy`` of Python objects. NumPy's own error would not mention pickles."""
    if read_header(file)[2].hasobject:
        raise FormatError("expected an array of floats, got pickled objects")
