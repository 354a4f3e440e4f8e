"""Check the heap of an HDF5 file, where strings of any length are stored, before HDF5 reads it.

HDF5 walks through a collection of the heap by the sizes of its objects. It does not check them: an object of size 0
keeps it in a loop that no signal ends, and one that is too long leads it out of its memory. A dataset refers to its
strings by length and place. HDF5 allocates the length, and many references may share one string.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.checks import require_unfolding
from compressae_ref.errors import FormatError
from compressae_ref.files.input_file import InputFile

START = re.compile(rb"GCOL\x01")
"""The first bytes of a collection: its signature and version. HDF5 refuses all others."""

HEADER = 16
"""Bytes of a collection's header, and of an object's."""

LEAST_BYTES = 4096
"""The size of the smallest collection. HDF5 refuses a smaller one, and one that the file does not hold."""

BYTES_PER_PIECE = 1 << 24


def require_strings(h5: Any, dataset: Any) -> None:
    """Raise FormatError unless HDF5 can read a dataset of strings of any length in the memory that its file justifies.

    ``h5`` is the package h5py.
    """
    address, width = dataset.file.id.get_create_plist().get_sizes()
    with open(dataset.file.id.get_vfd_handle(), "rb", closefd=False) as stream:
        file = InputFile.of(stream)
    require_heap(file, width)
    if not dataset.is_virtual:
        lengths = _references(h5, dataset, file, np.dtype([("length", "<u4"), ("place", f"V{address + 4}")]))["length"]
        require_unfolding(file.size, int(lengths.sum(dtype=np.uint64)), dataset.name)


def _references(h5: Any, dataset: Any, file: InputFile, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the stored items of a dataset of strings: HDF5 itself only returns what they refer to."""
    plist = dataset.id.get_create_plist()
    if plist.get_layout() == h5.h5d.CONTIGUOUS and not dataset.external:
        return np.frombuffer(file.read(dataset.id.get_offset(), dataset.size * dtype.itemsize), dtype)
    if plist.get_layout() != h5.h5d.CHUNKED:
        raise FormatError(
            f"expected strings in contiguous or chunked storage, got others in {dataset.name}",
            hint="copy the file with h5repack --layout=CONTI",
        )
    same = h5.h5p.create(h5.h5p.DATASET_CREATE)
    same.set_chunk(dataset.chunks)
    for number in range(plist.get_nfilters()):
        code, flags, values, _ = plist.get_filter(number)
        same.set_filter(code, flags, values)
    with h5.File("strings", "w", driver="core", backing_store=False) as memory:
        space = h5.h5s.create_simple(dataset.shape)
        copy = h5.h5d.create(memory.id, b"x", h5.h5t.py_create(np.dtype(f"V{dtype.itemsize}")), space, same)
        for number in range(dataset.id.get_num_chunks()):
            offset = dataset.id.get_chunk_info(number).chunk_offset
            mask, chunk = dataset.id.read_direct_chunk(offset)
            copy.write_direct_chunk(offset, chunk, mask)
        items: NDArray[Any] = h5.Dataset(copy)[()]
        return items.view(dtype)


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
