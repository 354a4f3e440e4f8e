"""Read and write the two forms of pgvector's sparsevec, and write PostgreSQL's binary COPY format.

Binary form, big-endian: the number of dimensions, the number of entries and 0 as int32, then indices from 0 as int32,
then values as float32. No value is zero. Text form: ``{1:0.5,8:-0.25}/4096``, with indices from 1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

import numpy as np

MOST_ENTRIES = 16_000
"""Maximum number of entries of a sparsevec."""

HEAD, END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"
"""First and last bytes of a table in the binary COPY format."""


def as_binary(indices: Sequence[int], values: Sequence[float], width: int) -> bytes:
    """Return the binary form of a vector of ``width`` dimensions."""
    n = len(indices)
    return struct.pack(f">3i{n}i{n}f", width, n, 0, *indices, *values)


def from_binary(content: bytes) -> tuple[list[int], list[float]]:
    """Return the indices and values of a vector in binary form."""
    n = int.from_bytes(content[4:8], "big")
    indices, values = (np.frombuffer(content, kind, n, 12 + at) for kind, at in ((">i4", 0), (">f4", 4 * n)))
    return indices.tolist(), values.tolist()


def as_text(indices: Sequence[int], values: Sequence[float], width: int) -> str:
    """Return the text form of a vector of ``width`` dimensions."""
    entries = (f"{index + 1}:{value!r}" for index, value in zip(indices, values, strict=True))
    return f"{{{','.join(entries)}}}/{width}"


def copied(rows: Iterable[tuple[bytes | None, ...]]) -> bytes:
    """Return a table in the binary COPY format. None is null."""
    parts = [HEAD]
    for row in rows:
        parts.append(struct.pack(">h", len(row)))
        for value in row:
            parts += [struct.pack(">i", -1)] if value is None else [struct.pack(">i", len(value)), value]
    return b"".join([*parts, END])
