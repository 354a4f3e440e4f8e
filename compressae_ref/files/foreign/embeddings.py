"""Embeddings from files of any format that is known here, or from standard input.

============================  ====================================================================================
.npy, .npz                    mapped where they are not compressed
.fbin .u8bin .i8bin           big-ann-benchmarks (`headerless`), mapped
.fvecs .bvecs                 `headerless`, mapped
.safetensors                  mapped; NumPy alone
.hdf5                         extra ``hdf5``; "train" and "test" of ann-benchmarks
.parquet, .arrow              extra ``parquet``; columns of lists, of one length or any, and a column of ids
============================  ====================================================================================

Which of them a file is, `kinds` decides. In a file with several arrays or columns, ``FILE::NAME`` is one of them.
"""

from __future__ import annotations

import io
import sys
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.errors import CompressaeError, DTypeError, FormatError, ShapeError
from compressae_ref.files.foreign.ann_benchmarks import BIG_ANN, open_big_ann, open_vecs
from compressae_ref.files.foreign.choose_array import chosen_entry, id_entry
from compressae_ref.files.foreign.hdf5 import open_hdf5
from compressae_ref.files.foreign.parquet import open_columns
from compressae_ref.files.foreign.rows import EmbeddingRows, Place
from compressae_ref.files.foreign.safetensors import open_tensors
from compressae_ref.files.foreign.sniff import EMBEDDING_NAMES, kind_of
from compressae_ref.files.memory_map import MappedRows, map_member
from compressae_ref.files.npz import READ_ERRORS, read_member
from compressae_ref.row_source import as_source

EXPECTED = f"expected a file of embeddings ({', '.join(EMBEDDING_NAMES)})"


def open_embeddings(path: str) -> Any:
    """The rows of floats in a file, or in one array of it (``FILE::NAME``); ``-`` reads from standard input.

    Nothing is loaded that need not be: a slice of rows is a copy, and what has been read does not stay in the process,
    however large the file.

    Returns
    -------
    A source of rows (`data.RowSource`) with ``shape`` and ``dtype``; `rows.ids_of` gives its ids, if it has any

    Raises
    ------
    FormatError, ShapeError, DTypeError
        Naming the file: none that is known, truncated, pickled; not two-dimensional, not floats, empty.
    BackendError
        If the package that reads it is not installed. OSError if it is not there.
    """
    place = place_of(path)
    try:
        rows = _read_standard_input() if path == "-" else _open(place)
    except CompressaeError:
        raise
    except (*READ_ERRORS, MemoryError, Warning) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        pickled = "pickle" in str(error) or "Python objects" in str(error)
        reason = "pickled objects" if pickled else "something else or a part of one"
        expected = "expected a .npy or .npz file of embeddings" if path == "-" else EXPECTED
        raise FormatError(f"{expected}, got {reason}", path=place) from error
    if len(rows.shape) != 2:
        raise ShapeError(f"expected an array (n, d) of embeddings as rows, got shape {rows.shape}", path=place)
    if rows.dtype.kind != "f" or rows.dtype.itemsize > 8:
        raise DTypeError(f"expected float16, float32 or float64, got {rows.dtype}", path=place)
    return as_source(rows, str(place))


def place_of(path: str) -> Place:
    """A file, and the name of an array in it where ``::`` and a name follow."""
    file, colons, entry = path.rpartition("::")
    return Place(file, entry) if colons and not Path(path).exists() else Place(path, None)


def _open(place: Place) -> Any:
    kind = kind_of(place.path)
    if place.entry is not None and kind not in _OF_SEVERAL:
        raise FormatError(f"expected a file of several arrays for ::{place.entry}, got .{kind}", path=place.path)
    if kind == "npy":
        with np.errstate(over="raise"):  # a header that lies about its shape: its product of sizes must not wrap
            return np.lib.format.open_memmap(place.path, mode="r").view(MappedRows)
    if kind in BIG_ANN:
        return open_big_ann(place.path, kind)
    if kind in ("fvecs", "bvecs"):
        return open_vecs(place.path, kind)
    if kind not in _OF_SEVERAL:
        raise FormatError(f"{EXPECTED}, got {_CALLED.get(kind, kind)}", path=place.path)
    return _OF_SEVERAL[kind](place)


def _open_archive(place: Place) -> Any:
    with Path(place.path).open("rb") as file:
        return _from_archive(file, place)


def _from_archive(file: IO[bytes], place: Place) -> Any:
    with _errors_named(place), zipfile.ZipFile(file) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        rows = _member(archive, members[chosen_entry(place, [*members], [*members])], place)
        if (name := id_entry([*members])) is None:
            return rows
        ids = read_member(archive, members[name])
    if ids.shape != rows.shape[:1] or ids.dtype.kind not in "iuU":  # of something else
        return rows
    return EmbeddingRows(rows.shape, rows.dtype, lambda start, stop: rows[start:stop], ids=lambda: ids)


@contextmanager
def _errors_named(place: Place) -> Iterator[None]:
    """Name the file in errors about an entry of it."""
    try:
        yield
    except FormatError as error:
        error.path = error.path or str(place.file)
        raise


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
"""What opens files that may hold several arrays."""

_CALLED = {"csr": "a sparse matrix", "jsonl": "lines of JSON", "pickle": "pickled objects"}


def _read_standard_input() -> NDArray[Any]:
    content = b"" if sys.stdin is None else sys.stdin.buffer.read()
    if content.startswith(b"PK\x03\x04"):
        rows: NDArray[Any] = _from_archive(io.BytesIO(content), Place("-", None))
        return rows
    if not content.startswith(b"\x93NUMPY"):  # NumPy would take it for a pickle
        raise ValueError("neither .npy nor .npz")
    return np.asarray(np.load(io.BytesIO(content), allow_pickle=False))
