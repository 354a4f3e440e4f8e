"""Memory-map arrays in files, also inside an ``.npz``. The operating system reads only the pages that are used."""

from __future__ import annotations

import math
import mmap
import zipfile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.errors import FormatError
from compressae_ref.files.npz import PathLike, read_header, reading

LOCAL_HEADER = 30
"""Bytes of a zip entry's local header before the entry's name."""

BYTES_PER_READ = 1 << 22
"""Bytes that are read at a time to verify a checksum."""


class MappedRows(np.memmap[Any, Any]):
    """A memory map whose slices are copies. Pages that were read are released again."""

    def __getitem__(self, rows: Any) -> Any:
        if not isinstance(rows, slice):
            return super().__getitem__(rows)
        copy, mapped = np.array(super().__getitem__(rows)), getattr(self, "_mmap", None)
        if mapped is not None and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)  # the pages can be read again from the file
        return copy


def map_rows(file: IO[bytes] | PathLike, dtype: Any, shape: tuple[int, ...], offset: int) -> Any:
    """Map an array at an offset of a file. Empty arrays cannot be mapped and are created in memory."""
    if 0 in shape:
        return np.empty(shape, dtype)
    return np.memmap(file, dtype, "r", offset, shape).view(MappedRows)


def map_npz(path: PathLike) -> dict[str, NDArray[Any]]:
    """Map all arrays of an uncompressed archive. Only headers are read.

    The maps are copy-on-write: writing to an array never changes the file.

    Raises
    ------
    FormatError
        If a member is compressed, extends beyond the file, or does not match its header.
    """
    with (
        reading(path, "an archive of arrays (.npz)"),
        open(path, "rb") as file,  # noqa: PTH123
        zipfile.ZipFile(file) as archive,
    ):
        size = file.seek(0, 2)
        members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
        return {name: np.asarray(_map(path, file, info, size)) for name, info in members.items()}


def map_member(path: PathLike, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> NDArray[Any] | None:
    """Verify the checksum of one array of an archive and map it. None if it is compressed or in Fortran order.

    Raises
    ------
    FormatError
        As `map_npz`, but without the name of the file. For a wrong checksum, the error of zipfile.
    """
    if info.compress_type != zipfile.ZIP_STORED:
        return None
    with archive.open(info) as member:
        _, fortran_order, _ = read_header(member)
        if fortran_order:
            return None
        while member.read(BYTES_PER_READ):
            pass
    with open(path, "rb") as file:  # noqa: PTH123
        return _map(path, file, info, file.seek(0, 2))


def _map(path: PathLike, file: IO[bytes], info: zipfile.ZipInfo, size: int) -> NDArray[Any]:
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise FormatError(
            f"expected an uncompressed member, got compression type {info.compress_type}", argument=info.filename
        )
    file.seek(info.header_offset)
    header = file.read(LOCAL_HEADER)
    start = info.header_offset + LOCAL_HEADER + sum(int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    file.seek(start)
    shape, fortran_order, dtype = read_header(file)
    first, length = file.tell(), math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise FormatError("expected an array of numbers or strings, got pickled objects", argument=info.filename)
    if fortran_order or first + length != start + info.file_size or first + length > size:
        raise FormatError(
            f"expected a C-order array that fills a member of {info.file_size} bytes, "
            f"got {dtype} of shape {shape}{' in Fortran order' if fortran_order else ''}",
            argument=info.filename,
        )
    if length == 0:
        return np.empty(shape, dtype)
    return np.memmap(path, dtype, "c", first, shape)
