"""Read and write ``.npz`` archives without pickle, and name the file in every error.

Equal content gives equal bytes.
"""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import CACHE_LINE_BYTES, aligned_empty
from compressae_ref.checks import require_unfolding
from compressae_ref.errors import BackendError, CompressaeError, FormatError, format_error, unreadable
from compressae_ref.files.atomic_write import PathLike as PathLike
from compressae_ref.files.atomic_write import replacing
from compressae_ref.files.foreign.sniff import require_own_name
from compressae_ref.files.input_file import InputFile, opened

UNIX = 3
"""The code of Unix in the "created on" field of zip entries."""

MAX_HEADER_BYTES = 10_000
"""The longest header of an array that is read. NumPy has the same limit."""

BYTES_PER_PIECE = 1 << 20
"""Bytes of a member that are unfolded at a time."""

ITEMS_PER_WRITE = 1 << 20
"""Array items that are converted and written at a time, which bounds the memory of the copy."""


@contextmanager
def reading(path: object, expected: str, *, convert: bool = False) -> Iterator[None]:
    """Name a file in every error that its content causes, whatever library raises it.

    Every reader of this package runs inside this function, ids and metadata included. Libraries raise errors of any
    class for damaged files. The original error is the cause of the new one.

    Parameters
    ----------
    path : the file or folder
    expected : the kind of file, for messages: "a model file"
    convert : if True, every error of this package becomes a `FormatError`; otherwise it keeps its class

    Raises
    ------
    CompressaeError
        The original error, with ``path`` unless it already names a file. A `BackendError` passes unchanged.
    OSError
        The original error, if it names a file: the file is missing or cannot be opened.
    FormatError
        For any other error.
    """
    try:
        yield
    except BackendError:  # a missing package is no fault of the file
        raise
    except CompressaeError as error:
        if convert:
            raise format_error(path, error) from error
        error.path = error.path or str(path)
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise unreadable(path, expected, error) from error


class Pieces(NamedTuple):
    """An array that is written piece by piece, so that it never has to fit into memory."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pieces: Iterable[NDArray[Any]]
    """consecutive parts of the array in C order"""


def write_npz(path: PathLike, arrays: Mapping[str, NDArray[Any] | Pieces], *, aligned: bool = False) -> None:
    """Write an archive as ``np.savez`` does, but atomically, with a fixed date, in little-endian C order (R11).

    Parameters
    ----------
    path : the file
    arrays : arrays by name, written in this order
    aligned : if True, the data of each array starts on a cache line of the file, for `memory_map.map_npz`

    Raises
    ------
    FormatError
        If the suffix of the name is that of another format.
    OSError
        If the file cannot be written.
    """
    require_own_name(path)
    with replacing(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            pieces = array if isinstance(array, Pieces) else Pieces(array.shape, array.dtype, [array])
            _write_member(archive, name, pieces, file.tell() if aligned else None)


def _write_member(archive: zipfile.ZipFile, name: str, array: Pieces, start: int | None) -> None:
    little = array.dtype.newbyteorder("<")
    entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system = UNIX  # zipfile would store the current system, and the bytes would differ
    entry.file_size = math.prod(array.shape) * little.itemsize  # zipfile uses it to decide on zip64
    if start is not None:
        entry.extra = _padding(start + 30 + len(entry.filename) + 20 * (entry.file_size * 1.05 > zipfile.ZIP64_LIMIT))
    header = {"descr": np.lib.format.dtype_to_descr(little), "fortran_order": False, "shape": array.shape}
    with archive.open(entry, "w") as member:
        np.lib.format.write_array_header_1_0(member, header)
        written = 0
        for piece in array.pieces:
            flat = piece.reshape(-1)
            for start in range(0, flat.size, ITEMS_PER_WRITE):
                written += member.write(flat[start : start + ITEMS_PER_WRITE].astype(little, copy=False).tobytes())
        if written != entry.file_size:
            raise ValueError(f"{name}: expected {entry.file_size} bytes, got {written}")


def archive_bytes(arrays: Mapping[str, NDArray[Any] | Pieces]) -> int:
    """Return the size of the archive that `write_npz` makes of these arrays, of which only shape and dtype are used."""
    limit, offset, directory = zipfile.ZIP64_LIMIT, 0, 0
    for name, array in arrays.items():
        dtype, header = array.dtype.newbyteorder("<"), io.BytesIO()
        facts = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": array.shape}
        np.lib.format.write_array_header_1_0(header, facts)
        content, title = math.prod(array.shape) * dtype.itemsize, len(f"{name}.npy".encode())
        size = header.tell() + content
        wide = 8 * (2 * (size > limit) + (offset > limit))  # sizes and offset of 8 bytes each
        directory += 46 + title + (4 + wide if wide else 0)
        offset += 30 + title + 20 * (content * 1.05 > limit) + size
    return offset + directory + 22 + 76 * (offset > limit)


def _padding(start: int) -> bytes:
    """Return a zip extra field that moves data from ``start`` to the next cache line. Zip readers ignore it."""
    length = 4 + -(start + 4) % CACHE_LINE_BYTES
    return b"\x35\xd9" + (length - 4).to_bytes(2, "little") + bytes(length - 4)


def member_names(path: PathLike | InputFile) -> set[str]:
    """Return the names of the arrays in an archive, or an empty set for any other file. OSError if it is missing."""
    try:
        with zipfile.ZipFile(opened(path).stream()) as archive:
            return {*members_of(archive)}
    except Exception as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        return set()


def members_of(archive: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the members of an archive by the names of their arrays. Of equal names the last one counts."""
    return {info.filename.removesuffix(".npy"): info for info in archive.infolist()}


def require_first_byte(archive: zipfile.ZipFile) -> None:
    """Raise FormatError unless an archive starts at the first byte of its file."""
    if min((info.header_offset for info in archive.infolist()), default=0) > 0:
        raise FormatError("expected an archive that starts at the first byte of the file, got other bytes first")


def read_npz(file: PathLike | InputFile, *only: str) -> dict[str, NDArray[Any]]:
    """Read all arrays of an archive, or those of the given names that it has. Other members are never unfolded.

    Raises
    ------
    FormatError
        If an entry does not match its header or holds objects. Other damage raises errors of any class: call this
        inside `reading`.
    """
    with zipfile.ZipFile(opened(file).stream()) as archive:
        members = members_of(archive)
        return {name: read_member(archive, info) for name, info in members.items() if not only or name in only}


Header = tuple[tuple[int, ...], bool, np.dtype[Any]]
"""Shape, whether the array is in Fortran order, and dtype."""


def read_header(file: IO[bytes]) -> Header:
    """Read a ``.npy`` header at the current position: shape, whether it is in Fortran order, and dtype."""
    start = file.read(8)
    version = np.lib.format.read_magic(io.BytesIO(start))
    if version not in ((1, 0), (2, 0), (3, 0)):  # otherwise its bytes could be taken for a length of gigabytes
        raise FormatError(
            f"expected an array in version 1.0, 2.0 or 3.0 of .npy, got version {version[0]}.{version[1]}"
        )
    size = file.read(2 if version == (1, 0) else 4)
    length = int.from_bytes(size, "little")
    if length > MAX_HEADER_BYTES:
        raise FormatError(f"expected a header of at most {MAX_HEADER_BYTES} bytes, got {length} bytes")
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    header: Header = read(io.BytesIO(size + file.read(length)))
    shape, _, dtype = header
    if dtype.itemsize == 0 or any(type(side) is not int or side < 0 for side in shape):
        raise FormatError(f"expected sizes from 0 and items of at least a byte, got {dtype} of shape {shape}")
    return header


def read_own_header(file: IO[bytes]) -> Header:
    """Read a header as `read_header` does; FormatError for what `spec/file-format.md` excludes and NumPy reads."""
    prefix = file.read(10)
    header = prefix + file.read(int.from_bytes(prefix[8:], "little"))
    if prefix[6:8] != b"\x01\x00":
        raise FormatError(f"expected an array in version 1.0 of .npy, got version bytes {prefix[6:8].hex(' ')}")
    shape, fortran_order, dtype = read_header(io.BytesIO(header))
    if fortran_order:
        raise FormatError("expected an array in C order, got Fortran order")
    if dtype.str.encode() not in header:  # NumPy also reads descriptions such as '=f4' and 'float32'
        raise FormatError(f"expected a descr with a byte order, such as {dtype.str!r}, got {header[10:].strip()!r}")
    return shape, fortran_order, dtype


def read_member(
    archive: zipfile.ZipFile, info: zipfile.ZipInfo, header: Callable[[IO[bytes]], Header] = read_header
) -> NDArray[Any]:
    """Read one array. Its header must match the size of the entry, so a wrong header cannot allocate memory.

    Compressed data is unfolded in pieces of `BYTES_PER_PIECE`, up to the size that the header states.
    """
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):  # zipfile unfolds others without a limit
        raise FormatError(
            f"expected stored or deflated members, got compression method {info.compress_type}",
            argument=info.filename,
            hint="write the file again with numpy.savez",
        )
    require_unfolding(info.compress_size, info.file_size, info.filename)
    with archive.open(info) as member:
        shape, fortran_order, dtype = header(member)
        if dtype.hasobject:
            raise FormatError("expected an array of numbers or strings, got pickled objects", argument=info.filename)
        expected = math.prod(shape) * dtype.itemsize
        if expected != info.file_size - member.tell():
            raise FormatError(
                f"expected {expected} bytes after the header, got {info.file_size - member.tell()}",
                argument=info.filename,
            )
        content = aligned_empty((expected,), np.uint8)
        done = 0
        while piece := member.read(BYTES_PER_PIECE):
            content[done : done + len(piece)] = np.frombuffer(piece, np.uint8)
            done += len(piece)
        if done != expected:
            raise FormatError(f"expected {expected} bytes of data, got {done}", argument=info.filename)
    return content.view(dtype).reshape(shape, order="F" if fortran_order else "C")
