"""Read embeddings from files of any known format, or from standard input.

============================  ====================================================================================
.npy, .npz                    read in blocks unless compressed
.fbin .u8bin .i8bin           big-ann-benchmarks (`ann_benchmarks`)
.fvecs .bvecs                 `ann_benchmarks`
.safetensors                  needs NumPy only
.hdf5                         extra ``hdf5``; datasets "train" and "test" of ann-benchmarks, or ``GROUP/NAME``
.parquet, .arrow              extra ``parquet``; a column of lists and an optional column of ids; also Arrow streams
.csv, .tsv, .jsonl            `text_embeddings`; also packed by gzip
a folder or a pattern         its files in natural order (`shards`)
============================  ====================================================================================

A file is opened once and read by its descriptor (`input_file`); HDF5 does so itself. `sniff` detects the format.
``FILE::NAME`` selects an array or column in a file that has several.
"""

from __future__ import annotations

import io
import math
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.errors import CompressaeError, FormatError, naming_file
from compressae_ref.files.foreign.ann_benchmarks import BIG_ANN, open_big_ann, open_vecs
from compressae_ref.files.foreign.choose_array import chosen_entry, id_entry
from compressae_ref.files.foreign.hdf5 import open_hdf5
from compressae_ref.files.foreign.id_columns import IdColumns, called_name, may_be_ids, one_a_row, that_say_ids
from compressae_ref.files.foreign.parquet import open_columns
from compressae_ref.files.foreign.rows import EmbeddingRows, IdEntry, Place, rows_in_file
from compressae_ref.files.foreign.safetensors import open_tensors
from compressae_ref.files.foreign.shards import files_of, join_shards, shard_paths
from compressae_ref.files.foreign.sniff import READ_NAMES, kind_of
from compressae_ref.files.foreign.text_embeddings import open_text
from compressae_ref.files.id_members import LENGTHS, ids_from
from compressae_ref.files.input_file import FileArray, InputFile
from compressae_ref.files.memory_map import stored_array
from compressae_ref.files.model_file import content_of_members
from compressae_ref.files.npz import members_of, read_header, read_member, reading
from compressae_ref.item_ids import as_ids, file_hint
from compressae_ref.row_source import as_source

EXPECTED = f"a file of embeddings ({', '.join(READ_NAMES)})"


def open_embeddings(path: str, ids: IdEntry = True, *, follow_links: bool = False) -> Any:
    """Open the embeddings in a file, or in one array of it (``FILE::NAME``). ``-`` reads from standard input.

    A folder, or a pattern such as ``part-*.parquet``, opens all of its files as one source (`shards`). Rows are read
    only when they are accessed. A slice of rows is a copy, and memory use does not grow with the file.

    Parameters
    ----------
    path : the file, folder or pattern
    ids : the array or column of ids; True: the one that is found (`id_columns`); False: none
    follow_links : whether an HDF5 file may refer to data in other files

    Returns
    -------
    A source of rows (`row_source.RowSource`) with ``shape`` and ``dtype``. `rows.ids_of` returns its ids, if any.
    ``id_name`` is the column that they come from, or None, and ``columns`` are the names of the columns beside the
    embeddings.

    Raises
    ------
    FormatError, ShapeError, DTypeError
        If the format is unknown, or the file is truncated or pickled. Also if the array is not two-dimensional, is
        empty, or does not hold floats.
    BackendError
        If the package that reads the format is not installed. OSError if the file is missing.
    """
    place = place_of(path)._replace(ids=ids)
    paths = None if path == "-" else shard_paths(place)
    if paths is not None:
        return join_shards(path, paths, lambda shard: open_embeddings(shard, ids, follow_links=follow_links))
    with reading(place, "a .npy or .npz file of embeddings" if path == "-" else EXPECTED):
        rows = _read_standard_input(place) if path == "-" else _open(place, follow_links)
        with naming_file(place):
            as_source(rows)
    return rows if isinstance(rows, EmbeddingRows) else rows_in_file(place, rows)


def place_of(path: str) -> Place:
    """Split ``FILE::NAME`` into the file and the name of an array. An existing file with that whole name wins."""
    file, colons, entry = path.rpartition("::")
    if not (file if colons else path):  # the empty path is the current folder, but nobody means it
        raise FormatError(f"expected the name of a file of embeddings, got {path!r}")
    return Place(file, entry) if colons and not Path(path).exists() else Place(path, None)


def input_files(path: str) -> list[str]:
    """Return the files that `open_embeddings` reads, so that none of them is overwritten."""
    place = place_of(path)
    return [place.path, *map(str, files_of(place.path) or [])]


def _open(place: Place, follow_links: bool) -> Any:
    file = InputFile(place.path)
    kind = kind_of(file)
    if place.entry is not None and kind not in _OF_SEVERAL:
        raise FormatError(f"expected a format with named arrays for ::{place.entry}, got .{kind}", path=place.path)
    _require_names(place, kind)
    if kind == "npy":
        return npy_in_file(file)
    if kind in BIG_ANN:
        return open_big_ann(file, kind)
    if kind in ("fvecs", "bvecs"):
        return open_vecs(file, kind)
    if kind == "hdf5":  # HDF5 opens files itself
        return open_hdf5(place, follow_links)
    if kind not in _OF_SEVERAL:
        raise FormatError(f"expected {EXPECTED}, got {_CALLED.get(kind, kind)}", path=place.path)
    return _OF_SEVERAL[kind](place, file)


def _require_names(place: Place, kind: str) -> None:
    """Raise FormatError if an array of ids is asked for by its name in a format without names."""
    if isinstance(place.ids, str) and kind not in _OF_SEVERAL:
        raise FormatError(f"expected a format with named arrays for ids ::{place.ids}, got .{kind}", path=place.file)


def npy_in_file(file: InputFile) -> FileArray:
    """Return the array of a ``.npy``, unread. Call this inside `npz.reading`."""
    stream = file.stream()
    shape, fortran_order, dtype = _header_of_numbers(stream)
    array = FileArray(file, dtype, shape, stream.tell(), fortran_order=fortran_order)
    if array.nbytes > file.size - stream.tell():
        raise FormatError(f"expected {array.nbytes} bytes after the header, got {file.size - stream.tell()}")
    return array


def _open_archive(place: Place, file: InputFile) -> Any:
    return _from_archive(file.stream, place, lambda archive, info: stored_array(file, archive, info))


def _from_archive(
    stream: Callable[[], Any],
    place: Place,
    stored: Callable[[zipfile.ZipFile, zipfile.ZipInfo], FileArray | None] = lambda archive, info: None,
) -> Any:
    with zipfile.ZipFile(stream()) as archive:
        members = members_of(archive)
        try:
            info = members[chosen_entry(place, [*members], dict.fromkeys(members, ""))]
        except FormatError:
            if place.entry is None and (content := content_of_members(members.keys())) is not None:
                raise FormatError(f"expected embeddings, got {content}", path=place.file) from None
            raise
        array = stored(archive, info)
        rows = read_member(archive, info) if array is None else array
    return rows_in_file(place, rows, _ids_of_archive(stream, place, members, info, len(rows)))


def _ids_of_archive(
    stream: Callable[[], Any], place: Place, members: dict[str, zipfile.ZipInfo], rows: zipfile.ZipInfo, n: int
) -> IdColumns:
    def blocks(name: str) -> Iterator[NDArray[Any]]:
        with zipfile.ZipFile(stream()) as archive:
            with archive.open(members[name]) as member:
                shape, _, dtype = read_header(member)
            if may_be_ids(shape, dtype, n):
                yield read_member(archive, members[name])

    def read(name: str) -> NDArray[Any] | None:
        try:
            with zipfile.ZipFile(stream()) as archive:
                found = {each: read_member(archive, members[each]) for each in (name, LENGTHS) if each in members}
        except CompressaeError as error:
            error.path, error.hint = place.file, file_hint(error.hint)
            raise
        return ids_from(found, n, place.file, name)

    def has_one_a_row(name: str) -> bool:
        with zipfile.ZipFile(stream()) as archive, archive.open(members[name]) as member:
            return one_a_row(read_header(member)[0], n)

    names = [name for name, info in members.items() if info is not rows and name != LENGTHS]
    found = names if place.ids is True else []
    claims = [name for name in that_say_ids(found) if has_one_a_row(name)]
    return IdColumns(names, n, id_entry(place.file, place.ids, [*members]), claims, called_name(found), blocks, read)


def _open_tensors(place: Place, file: InputFile) -> Any:
    tensors, _ = open_tensors(file)
    floats = [name for name in tensors if tensors.has_rows(name)]
    rows = [name for name in floats if tensors.is_readable(name)] or floats
    name = chosen_entry(place, rows, {name: tensors.kind(name) for name in tensors})
    chosen = tensors[name]
    names = [each for each in tensors if each != name]

    def blocks(column: str) -> Iterator[NDArray[Any]]:
        if tensors.is_readable(column) and may_be_ids(tensors[column].shape, tensors[column].dtype, len(chosen)):
            yield np.asarray(tensors[column])

    def read(column: str) -> NDArray[Any]:
        return as_ids(np.asarray(tensors[column]), len(chosen), column, place.file)

    found, n = names if place.ids is True else [], len(chosen)
    claims = [name for name in that_say_ids(found) if one_a_row(tensors.shape(name), n)]
    fixed = id_entry(place.file, place.ids, [*tensors])
    return rows_in_file(place, chosen, IdColumns(names, n, fixed, claims, called_name(found), blocks, read))


_OF_SEVERAL: dict[str, Callable[[Place, InputFile], Any]] = {
    "zip": _open_archive,
    "safetensors": _open_tensors,
    "hdf5": lambda place, file: open_hdf5(place, False),
    "parquet": lambda place, file: open_columns(place, file, "parquet"),
    "arrow": lambda place, file: open_columns(place, file, "arrow"),
    "arrow-stream": lambda place, file: open_columns(place, file, "arrow-stream"),
    "csv": lambda place, file: open_text(place, file, "csv"),
    "tsv": lambda place, file: open_text(place, file, "tsv"),
    "jsonl": lambda place, file: open_text(place, file, "jsonl"),
}
"""Functions that open formats with several named arrays."""

_CALLED = {"csr": "a sparse matrix", "pickle": "pickled objects"}


def _read_standard_input(place: Place) -> Any:
    content = b"" if sys.stdin is None else sys.stdin.buffer.read()
    stream = io.BytesIO(content)
    if content.startswith(b"PK\x03\x04"):
        return _from_archive(lambda: io.BytesIO(content), place)
    if not content.startswith(b"\x93NUMPY"):  # np.load would try to read it as a pickle
        raise FormatError(f"expected a .npy or .npz file of embeddings, got input that starts with {content[:8]!r}")
    _require_names(place, "npy")
    shape, fortran_order, dtype = _header_of_numbers(stream)
    array = np.frombuffer(content, dtype, math.prod(shape), stream.tell())
    return array.reshape(shape, order="F" if fortran_order else "C")


def _header_of_numbers(stream: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read a ``.npy`` header. FormatError for Python objects: NumPy's own error would not mention pickles."""
    shape, fortran_order, dtype = read_header(stream)
    if dtype.hasobject:
        raise FormatError("expected an array of numbers, got pickled objects")
    return shape, fortran_order, dtype
