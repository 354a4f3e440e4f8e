"""Check the heap of an HDF5 file, where strings of any length are stored, before HDF5 reads it.

HDF5 walks through a collection of the heap by the sizes of its objects. It does not check them: an object of size 0
keeps it in a loop that no signal ends, and one that is too long leads it out of its memory.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from compressae_ref.errors import FormatError
from compressae_ref.files.input_file import InputFile

START = re.compile(rb"GCOL\x01")
"""The first bytes of a collection: its signature and version. HDF5 refuses all others."""

HEADER = 16
"""Bytes of a collection's header, and of an object's."""

LEAST_BYTES = 4096
"""The size of the smallest collection. HDF5 refuses a smaller one, and one that the file does not hold."""

BYTES_PER_PIECE = 1 << 24


def require_heap(file: InputFile, width: int) -> None:
    """Raise FormatError if an object is outside of its collection. ``width`` is the bytes of a length in this file."""
    left = 2 * file.size
    for at, size in _collections(file, width):
        left -= size
        if left < 0:  # so that the work does not grow with the square of the size
            raise FormatError(f"expected collections of {file.size} bytes at most, got more that overlap")
        _require_objects(file.read(at, size), at, width)


def _collections(file: InputFile, width: int) -> Iterator[tuple[int, int]]:
    """Yield the offset and the size of each collection. What HDF5 refuses by its size is no collection."""
    for start in range(0, file.size, BYTES_PER_PIECE):
        for match in START.finditer(file.read(start, BYTES_PER_PIECE + 4)):
            at = start + match.start()
            size = int.from_bytes(file.read(at + 8, width), "little")
            if LEAST_BYTES <= size <= file.size - at:
                yield at, size


def _require_objects(content: bytes, start: int, width: int) -> None:
    at = HEADER
    while at + HEADER <= len(content):
        number, size = content[at : at + 2], int.from_bytes(content[at + 8 : at + 8 + width], "little")
        # object 0 is the free space, whose size counts its header; others end at a multiple of 8
        end = at + (size if number == b"\0\0" else HEADER + -(-size // 8) * 8)
        if not at < end <= len(content):
            raise FormatError(
                f"expected strings inside their {len(content)} bytes of the heap at byte {start}, got one of {size} "
                f"bytes at byte {start + at}",
                hint="the file is damaged: get it again",
            )
        at = end
