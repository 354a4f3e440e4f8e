"""The forms of pgvector's sparsevec, and of the table that PostgreSQL copies.

Binary: dimensions, entries and 0 as int32, indices from 0 as int32, values as float32, big-endian; no value is zero.
As text: ``{1:0.5,8:-0.25}/4096``, with indices from 1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import numpy as np

MOST_ENTRIES = 16_000
"""Entries at most."""

HEAD, END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
"""What a copied table begins and ends with."""


def as_binary(indices: Sequence[int], values: Sequence[float], width: int) -> bytes:
    """The binary form of a vector of so many dimensions."""
    n = len(indices)
    return struct.pack(f">3i{n}i{n}f", width, n, 0, *indices, *values)


def from_binary(content: bytes) -> tuple[list[int], list[float]]:
    """Indices and values."""
    n = int.from_bytes(content[4:8], "big")
    indices, values = (np.frombuffer(content, kind, n, 12 + at) for kind, at in ((">i4", 0), (">f4", 4 * n)))
    return indices.tolist(), values.tolist()


def as_text(indices: Sequence[int], values: Sequence[float], width: int) -> str:
    """The literal."""
    entries = (f"{index + 1}:{value!r}" for index, value in zip(indices, values, strict=True))
    return f"{{{','.join(entries)}}}/{width}"


def copied(rows: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A table of two columns as COPY takes it in binary."""
    parts = [HEAD]
    for key, vector in rows:
        parts += [struct.pack(">hi", 2, len(key)), key, struct.pack(">i", len(vector)), vector]
    return b"".join([*parts, END])
