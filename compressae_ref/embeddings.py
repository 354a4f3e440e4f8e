"""Embeddings from files: ``.npy`` (memory-mapped) and ``.npz``, or from standard input."""

from __future__ import annotations

import io
import mmap
import sys
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.archive import DAMAGE
from compressae_ref.data import as_source
from compressae_ref.errors import FormatError, ShapeError

ZIP_MAGIC = b"PK\x03\x04"
"""The first bytes of an ``.npz``."""

EMBEDDINGS_KEY = "embeddings"
"""The array that is read from an ``.npz`` that holds several."""


def open_embeddings(path: str) -> NDArray[Any]:
    """The two-dimensional float array in a ``.npy`` or ``.npz`` file; ``-`` reads one from standard input.

    A ``.npy`` is mapped, not loaded, and a slice of its rows is a copy: what has been read does not stay in the
    process, however large the file. From an ``.npz`` the entry "embeddings" is taken, or the only one there is.

    Raises
    ------
    FormatError, ShapeError, DTypeError
        Naming the file: not such a file, truncated, pickled; not two-dimensional, not floats, empty. OSError if it is
        not there.
    """
    try:
        array = _read_standard_input() if path == "-" else _read(Path(path))
    except FormatError:
        raise
    except (*DAMAGE, MemoryError, Warning) as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        pickled = "pickle" in str(error) or "Python objects" in str(error)
        reason = "pickled objects" if pickled else "something else or a part of one"
        raise FormatError(f"{_shown(path)}: expected a .npy or .npz file of numbers, got {reason}") from error
    if array.ndim != 2:
        raise ShapeError(f"{_shown(path)}: expected an array (n, d) of embeddings as rows, got shape {array.shape}")
    as_source(array, _shown(path))
    return array


def _read(path: Path) -> NDArray[Any]:
    with path.open("rb") as file:
        is_zip = file.read(len(ZIP_MAGIC)) == ZIP_MAGIC
    if not is_zip:
        with np.errstate(over="raise"):  # a header that lies about its shape: its product of sizes must not wrap
            return np.lib.format.open_memmap(path, mode="r").view(_MappedRows)
    with path.open("rb") as file:
        return _from_archive(file, str(path))


class _MappedRows(np.memmap[Any, Any]):
    """A mapped file that gives copies of its rows, and forgets what it has read."""

    def __getitem__(self, rows: Any) -> Any:
        if not isinstance(rows, slice):
            return super().__getitem__(rows)
        copy, mapped = np.array(super().__getitem__(rows)), getattr(self, "_mmap", None)
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)  # the system may have the pages back: it can read them again
        return copy


def _from_archive(file: IO[bytes], shown: str) -> NDArray[Any]:
    with np.load(file, allow_pickle=False) as archive:
        names = archive.files
        if EMBEDDINGS_KEY not in names and len(names) != 1:
            raise FormatError(
                f"{shown}: expected an entry {EMBEDDINGS_KEY!r} or only one entry, got {', '.join(names) or 'none'}"
            )
        return _array(archive[EMBEDDINGS_KEY if EMBEDDINGS_KEY in names else names[0]])


def _read_standard_input() -> NDArray[Any]:
    content = b"" if sys.stdin is None else sys.stdin.buffer.read()
    if content.startswith(ZIP_MAGIC):
        return _from_archive(io.BytesIO(content), _shown("-"))
    if not content.startswith(b"\x93NUMPY"):  # NumPy would take it for a pickle
        raise ValueError("neither .npy nor .npz")
    return _array(np.load(io.BytesIO(content), allow_pickle=False))


def _array(content: Any) -> NDArray[Any]:
    if not isinstance(content, np.ndarray):
        raise ValueError("no array")
    return content


def _shown(path: str) -> str:
    return "standard input" if path == "-" else path
