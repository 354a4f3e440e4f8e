"""Read and write ``.safetensors`` with NumPy: 8 bytes with the header's length, a JSON header, and the data."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.checks import short_repr
from compressae_ref.errors import FormatError
from compressae_ref.files.foreign.rows import EmbeddingRows
from compressae_ref.files.memory_map import map_rows
from compressae_ref.files.npz import JSON_ERRORS, PathLike, Pieces, reading

MAX_HEADER_BYTES = 100_000_000
"""The largest header that the format allows."""

DTYPES = {
    "F16": "<f2", "F32": "<f4", "F64": "<f8", "BF16": "<u2", "BOOL": "?",
    "U8": "u1", "I8": "i1", "U16": "<u2", "I16": "<i2", "U32": "<u4", "I32": "<i4", "U64": "<u8", "I64": "<i8",
}  # fmt: skip
NAMES = {"f2": "F16", "f4": "F32", "f8": "F64", "i4": "I32", "i8": "I64"}


def open_tensors(path: PathLike) -> tuple[dict[str, Any], dict[str, str]]:
    """Map all arrays of a file and read its metadata. bfloat16 is returned as float32, which holds it exactly.

    Raises
    ------
    FormatError
        If the header is invalid JSON, or if tensors overlap, leave gaps or extend beyond the file. OSError if the file
        is missing.
    """
    with (
        reading(path, "a .safetensors file", *JSON_ERRORS, convert=True),
        open(path, "rb") as file,  # noqa: PTH123
    ):
        return _tensors(path, file, file.seek(0, 2))


def _tensors(path: PathLike, file: IO[bytes], size: int) -> tuple[dict[str, Any], dict[str, str]]:
    file.seek(0)
    length = int.from_bytes(file.read(8), "little")
    if length > min(MAX_HEADER_BYTES, size - 8):
        raise FormatError(f"expected a header of at most {min(MAX_HEADER_BYTES, size - 8)} bytes, got {length} bytes")
    header = json.loads(file.read(length).decode(), object_pairs_hook=_without_repetition)
    metadata = header.pop("__metadata__", {})
    _check_tiling([entry["data_offsets"] for entry in header.values()], size - 8 - length)
    tensors = {name: _tensor(path, name, entry, 8 + length) for name, entry in header.items()}
    return tensors, {str(name): str(value) for name, value in metadata.items()}


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


def _tensor(path: PathLike, name: str, entry: Any, base: int) -> Any:
    if entry["dtype"] not in DTYPES:
        raise FormatError(f"expected a dtype of {', '.join(DTYPES)}, got {entry['dtype']}", argument=name)
    shape, dtype, (start, stop) = tuple(entry["shape"]), np.dtype(DTYPES[entry["dtype"]]), entry["data_offsets"]
    if not all(type(side) is int and side >= 0 for side in shape) or math.prod(shape) * dtype.itemsize != stop - start:
        raise FormatError(
            f"expected {stop - start} bytes by its offsets, got shape {shape} of {entry['dtype']}", argument=name
        )
    mapped = map_rows(str(path), dtype, shape, base + start)
    return _from_bfloat16(mapped) if entry["dtype"] == "BF16" else mapped


def _from_bfloat16(mapped: Any) -> Any:
    if mapped.ndim != 2:
        return _widened(mapped)
    return EmbeddingRows(mapped.shape, np.float32, lambda start, stop: _widened(mapped[start:stop]))


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
