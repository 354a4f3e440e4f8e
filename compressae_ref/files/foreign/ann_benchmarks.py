"""Read and write the raw binary formats of ann-benchmarks and big-ann-benchmarks.

========  ==================================================================
.fbin     numbers of rows and columns as uint32, then float32 in C order
.u8bin    the same with uint8, .i8bin with int8; read as float32
.fvecs    each row: its length as int32, then float32
.bvecs    each row: its length as int32, then uint8; read as float32
========  ==================================================================

All are little-endian.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import IO, Any

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.checks import reject
from compressae_ref.errors import FormatError
from compressae_ref.files.foreign.rows import EmbeddingRows
from compressae_ref.files.input_file import FileArray, InputFile

BIG_ANN = {"fbin": "<f4", "u8bin": "u1", "i8bin": "i1"}
VECS = {"fvecs": "<f4", "bvecs": "u1"}


def open_big_ann(file: InputFile, kind: str) -> EmbeddingRows:
    """Open a file of `BIG_ANN`. `sniff.kind_of` has already compared its size with its header."""
    n, d = np.frombuffer(file.read(0, 8), "<u4").tolist()
    rows = FileArray(file, BIG_ANN[kind], (n, d), 8)
    return EmbeddingRows((n, d), np.float32, lambda start, stop: rows[start:stop].astype("<f4"), place=file.path)


def open_vecs(file: InputFile, kind: str) -> EmbeddingRows:
    """Open a file of `VECS`. Each row stores its length; FormatError on reading a row whose length differs."""
    d = int.from_bytes(file.read(0, 4), "little")
    row = np.dtype([("d", "<i4"), ("x", VECS[kind], (d,))])
    rows = FileArray(file, row, (file.size // row.itemsize,), 0)

    def read(start: int, stop: int) -> Floats:
        block = rows[start:stop]
        if (block["d"] != d).any():
            bad = int(np.argmax(block["d"] != d))
            raise FormatError(f"expected rows of {d} values, got {block['d'][bad]} values", row=start + bad)
        return np.ascontiguousarray(block["x"], np.float32)

    return EmbeddingRows((len(rows), d), np.float32, read, place=file.path)


def write_big_ann(file: IO[bytes], shape: tuple[int, int], blocks: Iterable[Floats], kind: str) -> None:
    """Write rows in a format of `BIG_ANN`."""
    if max(shape) >= 2**32:
        raise FormatError(f"expected at most 2**32 − 1 rows and columns for .{kind}, got {shape}")
    file.write(np.array(shape, "<u4").tobytes())
    for first, block in _numbered(blocks):
        file.write(exactly(block, BIG_ANN[kind], first).tobytes())


def write_vecs(file: IO[bytes], shape: tuple[int, int], blocks: Iterable[Floats], kind: str) -> None:
    """Write rows in a format of `VECS`."""
    d = shape[1]
    for first, block in _numbered(blocks):
        rows = np.empty(len(block), [("d", "<i4"), ("x", VECS[kind], (d,))])
        rows["d"], rows["x"] = d, exactly(block, VECS[kind], first)
        file.write(rows.tobytes())


def _numbered(blocks: Iterable[Floats]) -> Iterable[tuple[int, Floats]]:
    first = 0
    for block in blocks:
        yield first, block
        first += len(block)


def exactly(block: Floats, dtype: str, first_row: int) -> Any:
    """Convert a block to another dtype. DomainError for the first row with a value that it cannot hold exactly."""
    with np.errstate(all="ignore"):
        cast = block.astype(dtype)
    lost = ~(cast == block)
    if lost.any():
        value = block[lost][0]
        reject(lost.any(axis=1), f"expected values that {np.dtype(dtype)} holds exactly, got {value!s}", "x", first_row)
    return cast
