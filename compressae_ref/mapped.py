"""Arrays of an ``.npz`` where they lie in the file: the system reads what is looked at, when it is looked at."""

from __future__ import annotations

import math
import zipfile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.archive import DAMAGE, PathLike
from compressae_ref.errors import FormatError

LOCAL_HEADER = 30
"""Bytes in front of the name of a member."""


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
            return {info.filename.removesuffix(".npy"): _map(path, file, info, size) for info in archive.infolist()}
    except FormatError:
        raise
    except DAMAGE as error:
        if isinstance(error, OSError) and error.filename is not None:
            raise
        raise FormatError("expected an archive of arrays (.npz), got something else or a part of it") from error


def _map(path: PathLike, file: IO[bytes], info: zipfile.ZipInfo, size: int) -> NDArray[Any]:
    if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
        raise FormatError(f"{info.filename}: expected a member that is not compressed")
    file.seek(info.header_offset)
    header = file.read(LOCAL_HEADER)
    start = info.header_offset + LOCAL_HEADER + sum(int.from_bytes(header[at : at + 2], "little") for at in (26, 28))
    file.seek(start)
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read(file)
    first, length = file.tell(), math.prod(shape) * dtype.itemsize
    if dtype.hasobject or by_columns or first + length != start + info.file_size or first + length > size:
        raise FormatError(f"{info.filename}: expected {info.file_size} bytes of numbers, got another header")
    if length == 0:
        return np.empty(shape, dtype)
    return np.asarray(np.memmap(path, dtype, "c", first, shape))
