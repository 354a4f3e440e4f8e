"""Files that are written whole or not at all, and ``.npz`` archives without pickle: same content, same bytes."""

from __future__ import annotations

import errno
import lzma
import math
import os
import tokenize
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import CACHE_LINE_BYTES
from compressae_ref.errors import DomainError, FormatError

PathLike = str | os.PathLike[str]

UNIX = 3
"""What zip archives call the system that they were made on; it goes into the bytes."""

AT_ONCE = 1 << 20
"""Numbers that are copied together on their way to a file."""

READ_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    tokenize.TokenError,
    SyntaxError,
    EOFError,
    LookupError,
    TypeError,
    ValueError,
    ArithmeticError,
    RuntimeError,
    OSError,
)
"""What zipfile, its decompressors, NumPy's headers and json raise for bytes that are not what they expect."""


def require_writable(path: PathLike) -> None:
    """Raise OSError now, not after long work, where a file at ``path`` could not be written."""
    path = Path(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "the output folder does not exist", str(path.parent))
    if str(path) == "-":
        raise OSError(errno.EINVAL, "expected the name of a file to write: a file is written whole, not to a pipe", "-")
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "expected the name of a file to write, got a folder", str(path))
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "expected the name of a file to write, got a device or a pipe", str(path))
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(errno.EACCES, "the output folder cannot be written to", str(path.parent))


def require_output(output: PathLike, *inputs: PathLike) -> None:
    """Refuse an output that cannot be written, or that would take the place of an input."""
    require_writable(output)
    for path in map(Path, inputs):
        if Path(output).exists() and path.exists() and path.samefile(output):
            raise DomainError("expected an output that is not an input, got the same file", path=output)


@contextmanager
def replacing(path: PathLike) -> Iterator[IO[bytes]]:
    """A file to write that takes the place of ``path`` when the block ends well, and vanishes when it does not."""
    require_writable(path)
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with errors_of(path):
            with temporary.open("x+b") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def errors_of(path: PathLike) -> Iterator[None]:
    """Name ``path`` in the errors of files that are written on its behalf."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


class Pieces(NamedTuple):
    """An array that is written piece by piece, each when its turn comes: it never is in memory as a whole."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pieces: Iterable[NDArray[Any]]
    """what lies one after the other in C order"""


def write_npz(path: PathLike, arrays: Mapping[str, NDArray[Any] | Pieces], *, aligned: bool = False) -> None:
    """As ``np.savez``, but with a fixed date and order, little-endian C-order arrays (R11), and all or nothing.

    With ``aligned`` the numbers of each array begin with a cache line of the file, for `mapped.map_npz`.
    """
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            pieces = array if isinstance(array, Pieces) else Pieces(array.shape, array.dtype, [array])
            _write_member(archive, name, pieces, file.tell() if aligned else None)


def _write_member(archive: zipfile.ZipFile, name: str, array: Pieces, start: int | None) -> None:
    little = array.dtype.newbyteorder("<")
    entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system = UNIX  # zipfile writes down the machine's own
    entry.file_size = math.prod(array.shape) * little.itemsize  # so that zip64 is used where it is needed, only there
    if start is not None:
        entry.extra = _padding(start + 30 + len(entry.filename) + 20 * (entry.file_size * 1.05 > zipfile.ZIP64_LIMIT))
    header = {"descr": np.lib.format.dtype_to_descr(little), "fortran_order": False, "shape": array.shape}
    with archive.open(entry, "w") as member:
        np.lib.format.write_array_header_1_0(member, header)
        written = 0
        for piece in array.pieces:
            flat = piece.reshape(-1)
            for start in range(0, flat.size, AT_ONCE):
                written += member.write(flat[start : start + AT_ONCE].astype(little, copy=False).tobytes())
        if written != entry.file_size:
            raise ValueError(f"{name}: expected {entry.file_size} bytes, got {written}")


def _padding(start: int) -> bytes:
    """An extra field that moves what begins at ``start`` to the next cache line; readers of archives pass over it."""
    length = 4 + -(start + 4) % CACHE_LINE_BYTES
    return b"\x35\xd9" + (length - 4).to_bytes(2, "little") + bytes(length - 4)


def member_names(path: PathLike) -> set[str]:
    """Names of the arrays in an archive; none for what is no archive. OSError if there is no such file."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {name.removesuffix(".npy") for name in archive.namelist()}
    except READ_ERRORS as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        return set()


def read_npz(path: PathLike, *only: str) -> dict[str, NDArray[Any]]:
    """All arrays of an archive, or those of these names that are in it.

    Raises
    ------
    FormatError
        Naming the entry that is not what its header says, or that holds objects; any of `READ_ERRORS` for other damage.
    """
    with zipfile.ZipFile(path) as archive:
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        return {name: read_member(archive, info) for name, info in members.items() if not only or name in only}


def read_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether it lies by columns, and dtype of the ``.npy`` that begins where ``file`` stands."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    header: tuple[tuple[int, ...], bool, np.dtype[Any]] = read(file)
    return header


def read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any]:
    """One array; its header must fit the size of the entry, so that a lying header allocates nothing."""
    with archive.open(info) as member:
        shape, by_columns, dtype = read_header(member)
        if dtype.hasobject:
            raise FormatError("expected numbers, got pickled objects", argument=info.filename)
        expected = int(np.prod(shape, dtype=object)) * dtype.itemsize
        if expected != info.file_size - member.tell():
            raise FormatError(
                f"expected {expected} bytes after the header, got {info.file_size - member.tell()}",
                argument=info.filename,
            )
        array = np.frombuffer(member.read(), dtype)
    return array.reshape(shape, order="F" if by_columns else "C").copy()
