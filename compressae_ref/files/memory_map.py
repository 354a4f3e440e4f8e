"""Memory-map the arrays of an ``.npz``. The operating system reads only the pages that are used."""

from __future__ import annotations

import math
import mmap
import zipfile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.errors import FormatError
from compressae_ref.files.input_file import FileArray, InputFile
from compressae_ref.files.npz import BYTES_PER_PIECE, members_of, read_header, read_member

LOCAL_HEADER = 30
"""Bytes of a zip entry's local header before the entry's name."""


def map_npz(file: InputFile, *, check: bool = False) -> dict[str, NDArray[Any]]:
    """Map all arrays of an uncompressed archive, or with ``check`` read them and verify their checksums.

    The maps are copy-on-write: writing to an array never changes the file. If another program shortens the file, access
    to a map ends the process. Arrays that were read do not depend on the file any more.

    Raises
    ------
    FormatError
        If a member is compressed, extends beyond the file, or does not match its header. Other damage raises errors of
        any class: call this inside `npz.reading`.
    """
    stream = file.stream()
    with zipfile.ZipFile(stream) as archive:
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        arrays: dict[str, NDArray[Any]] = {}
        for name, info in members_of(archive).items():
            dtype, shape, first, fortran_order = _located(stream, info, len(mapped))
            if fortran_order:
                raise FormatError("expected an array in C order, got one in Fortran order", argument=info.filename)
            if check:
                arrays[name] = read_member(archive, info)
            elif 0 in shape:
                arrays[name] = np.empty(shape, dtype)
            else:
                arrays[name] = np.frombuffer(mapped, dtype, math.prod(shape), first).reshape(shape)
        return arrays


def stored_array(file: InputFile, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> FileArray | None:
    """Verify the checksum of one array of an archive, and return it unread. None if it is compressed.

    Raises
    ------
    FormatError
        As `map_npz`. For a wrong checksum, the error of zipfile.
    """
    if info.compress_type != zipfile.ZIP_STORED:
        return None
    with archive.open(info) as member:
        while member.read(BYTES_PER_PIECE):
            pass
    dtype, shape, first, fortran_order = _located(file.stream(), info, file.size)
    return FileArray(file, dtype, shape, first, fortran_order=fortran_order)


def _located(stream: IO[bytes] | Any, info: zipfile.ZipInfo, size: int) -> tuple[Any, tuple[int, ...], int, bool]:
    """Return the dtype, the shape, the first byte, and whether it is in Fortran order, of a stored array."""
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise FormatError(
            f"expected an uncompressed member, got compression type {info.compress_type}", argument=info.filename
        )
    stream.seek(info.header_offset)
    header = stream.read(LOCAL_HEADER)
    start = info.header_offset + LOCAL_HEADER + sum(int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    stream.seek(start)
    shape, fortran_order, dtype = read_header(stream)
    first, length = stream.tell(), math.prod(shape) * dtype.itemsize
    if dtype.hasobject:
        raise FormatError("expected an array of numbers or strings, got pickled objects", argument=info.filename)
    if first + length != start + info.file_size or first + length > size:
        raise FormatError(
            f"expected an array that fills a member of {info.file_size} bytes, got {dtype} of shape {shape}",
            argument=info.filename,
        )
    return dtype, shape, first, fortran_order
