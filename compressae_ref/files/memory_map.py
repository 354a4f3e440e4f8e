"""Arrays where they lie in a file, of an ``.npz`` too: the system reads what is looked at, when it is looked at."""

from __future__ import annotations

import math
import mmap
import zipfile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.errors import FormatError, reason
from compressae_ref.files.npz import READ_ERRORS, PathLike, read_header

LOCAL_HEADER = 30
"""Bytes in front of the name of a member."""

CHECKED_AT_ONCE = 1 << 22
"""Bytes that are read together for their checksum."""


class MappedRows(np.memmap[Any, Any]):
    """A mapped file that gives copies of its rows, and forgets what it has read."""

    def __getitem__(self, rows: Any) -> Any:
        if not isinstance(rows, slice):
            return super().__getitem__(rows)
        copy, mapped = np.array(super().__getitem__(rows)), getattr(self, "_mmap", None)
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)  # the system may have the pages back: it can read them again
        return copy


def map_rows(file: IO[bytes] | PathLike, dtype: Any, shape: tuple[int, ...], offset: int) -> Any:
    """An array in a file where it lies. An empty one cannot be mapped, and is made."""
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.memmap(file, dtype, "r", offset, shape).view(MappedRows)


def map_npz(path: PathLike) -> dict[str, NDArray[Any]]:
    """All arrays of an archive whose members are stored as they are, not compressed; nothing but headers is read.

    What is written to the arrays stays in memory: the file never changes.

    Raises
    ------
    FormatError
        Without the name of the file, for a member that is compressed, lies outside of the file, or is not what its
        header says.
    """
    try:
        with open(path, "rb") as file, zipfile.ZipFile(file) as archive:  # noqa: PTH123
            size = file.seek(0, 2)
            members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
            return {name: np.asarray(_map(path, file, info, size)) for name, info in members.items()}
    except FormatError:
        raise
    except READ_ERRORS as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise FormatError(
            f"expected an archive of arrays (.npz), got a file that cannot be read as one ({reason(error)})"
        ) from error


def map_member(path: PathLike, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any] | None:
    """One array of an archive, mapped after its checksum was looked at; None where it is compressed or lies by columns.

    Raises
    ------
    FormatError
        Without the name of the file, as `map_npz`; what zipfile raises for a wrong checksum.
    """
    if info.compress_type != zipfile.ZIP_STORED:
        return None
    with archive.open(info) as member:
        _, by_columns, _ = read_header(member)
        if by_columns:
            return None
        while member.read(CHECKED_AT_ONCE):
            pass
    with open(path, "rb") as file:  # noqa: PTH123
        return _map(path, file, info, file.seek(0, 2))


def _map(path: PathLike, file: IO[bytes], info: zipfile.ZipInfo, size: int) -> NDArray[Any]:
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise FormatError("expected a member that is not compressed", argument=info.filename)
    file.seek(info.header_offset)
    header = file.read(LOCAL_HEADER)
    start = info.header_offset + LOCAL_HEADER + sum(int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    file.seek(start)
    shape, by_columns, dtype = read_header(file)
    first, length = file.tell(), math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise FormatError("expected numbers, got pickled objects", argument=info.filename)
    if by_columns or first + length != start + info.file_size or first + length > size:
        raise FormatError(f"expected {info.file_size} bytes of numbers, got another header", argument=info.filename)
    if length == 0:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "c", first, shape)
