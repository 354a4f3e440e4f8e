"""Read and write ``.safetensors`` with NumPy: 8 bytes with the header's length, a JSON header, and the data."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.checks import short_repr
from compressae_ref.errors import FormatError
from compressae_ref.files.foreign.rows import EmbeddingRows
from compressae_ref.files.input_file import FileArray, InputFile, PathLike, opened
from compressae_ref.files.npz import Pieces, reading

MAX_HEADER_BYTES = 1 << 22
"""The largest header that is read: about 40,000 tensors. Its objects take many times as much memory."""

DTYPES = {
    "F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2", "BOOL": "?",
    "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8", "I64": "<i8",
}  # fmt: skip
NAMES = {"f2": "F16", "f4": "F32", "f8": "F64", "i4": "I32", "i8": "I64"}


class Tensors(Mapping[str, Any]):
    """The tensors of a file by name. A tensor is opened on access and read when its rows are.

    A tensor of a dtype that NumPy lacks raises FormatError on access. The others can still be read.
    """

    def __init__(self, file: InputFile, header: Mapping[str, Any], start: int) -> None:
        self._file, self._header, self._start = file, header, start

    def __getitem__(self, name: str) -> Any:
        entry = self._header[name]
        if entry["dtype"] not in DTYPES:
            raise FormatError(
                f"expected a dtype of {', '.join(DTYPES)}, got {short_repr(entry['dtype'])}",
                argument=name,
                path=self._file.path,
            )
        start = self._start + entry["data_offsets"][0]
        stored = FileArray(self._file, DTYPES[entry["dtype"]], tuple(entry["shape"]), start)
        return _from_bfloat16(self._file.path, stored) if entry["dtype"] == "BF16" else stored

    def __iter__(self) -> Iterator[str]:
        return iter(self._header)

    def __len__(self) -> int:
        return len(self._header)

    def kind(self, name: str) -> str:
        """Return the dtype and the shape of a tensor, for messages."""
        return f"{self._header[name]['dtype']} {self._header[name]['shape']}"

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a tensor, of any dtype."""
        return tuple(self._header[name]["shape"])

    def is_readable(self, name: str) -> bool:
        """Return whether NumPy has the dtype of a tensor."""
        return self._header[name]["dtype"] in DTYPES

    def has_rows(self, name: str) -> bool:
        """Return whether a tensor is two-dimensional and may hold floats."""
        entry = self._header[name]
        return len(entry["shape"]) == 2 and str(entry["dtype"]).startswith(("F", "BF"))


def open_tensors(path: PathLike | InputFile) -> tuple[Tensors, dict[str, str]]:
    """Open a file and read its header and metadata. bfloat16 is returned as float32, which holds it exactly.

    Raises
    ------
    FormatError
        If the header is invalid JSON, or if tensors overlap, leave gaps or extend beyond the file. OSError if the file
        is missing.
    """
    with reading(path, "a .safetensors file", convert=True):
        return _tensors(opened(path))


def _tensors(file: InputFile) -> tuple[Tensors, dict[str, str]]:
    size, length = file.size, int.from_bytes(file.read(0, 8), "little")
    if length > min(MAX_HEADER_BYTES, size - 8):
        raise FormatError(f"expected a header of at most {min(MAX_HEADER_BYTES, size - 8)} bytes, got {length} bytes")
    header = json.loads(file.read(8, length).decode(), object_pairs_hook=_without_repetition)
    metadata = header.pop("__metadata__", {})
    _check_tiling([entry["data_offsets"] for entry in header.values()], size - 8 - length)
    for name, entry in header.items():
        _check_size(name, entry)
    return Tensors(file, header, 8 + length), {str(name): str(value) for name, value in metadata.items()}


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique: dict[str, Any] = {}
    for name, value in pairs:
        if name in unique:
            raise FormatError(f"expected unique names in the header, got {short_repr(name)} twice")
        unique[name] = value
    return unique


def _check_tiling(offsets: list[Any], size: int) -> None:
    """Check that the tensors cover the data of the file without gaps or overlap."""
    end = 0
    for start, stop in sorted(offsets):
        if not (type(start) is type(stop) is int and start == end <= stop):
            raise FormatError(f"expected contiguous tensors, got bytes {start} to {stop} after byte {end}")
        end = stop
    if end != size:
        raise FormatError(f"expected {end} bytes after the header, got {size}")


def _check_size(name: str, entry: Any) -> None:
    """Check the shape of a tensor, and unless its dtype is unknown that it fills its bytes."""
    shape, (start, stop) = tuple(entry["shape"]), entry["data_offsets"]
    itemsize = np.dtype(DTYPES[entry["dtype"]]).itemsize if entry["dtype"] in DTYPES else None
    sizes = all(type(side) is int and side >= 0 for side in shape)
    if not sizes or (itemsize is not None and math.prod(shape) * itemsize != stop - start):
        raise FormatError(
            f"expected {stop - start} bytes by its offsets, got shape {shape} of {entry['dtype']}", argument=name
        )


def _from_bfloat16(path: str, stored: FileArray) -> Any:
    if stored.ndim != 2:
        return _widened(np.asarray(stored))
    shape = (stored.shape[0], stored.shape[1])
    return EmbeddingRows(shape, np.float32, lambda start, stop: _widened(stored[start:stop]), place=path)


def _widened(halves: NDArray[np.uint16]) -> NDArray[np.float32]:
    """Convert bfloat16 to float32: bfloat16 is its upper half."""
    widened: NDArray[np.float32] = (np.asarray(halves).astype(np.uint32) << 16).view(np.float32)
    return widened


def write_tensors(file: IO[bytes], tensors: Mapping[str, Pieces], metadata: Mapping[str, str]) -> None:
    """Write arrays piece by piece in the given order. Equal content gives equal bytes."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, array in tensors.items():
        start, end = end, end + math.prod(array.shape) * array.dtype.itemsize
        header[name] = {"dtype": NAMES[array.dtype.str[1:]], "shape": [*array.shape], "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # so that the data is aligned to 8 bytes
    file.write(len(text).to_bytes(8, "little") + text)
    for array in tensors.values():
        for piece in array.pieces:
            file.write(np.ascontiguousarray(piece, array.dtype.newbyteorder("<")).data)
