"""Read the metadata of the messages of an Arrow file or stream, which says how much each of them unfolds to.

pyarrow unfolds compressed buffers without a limit, and a batch is read as a whole. The metadata are FlatBuffers: tables
whose fields are found by their numbers. Damage raises errors of any class: call these functions inside `npz.reading`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.checks import require_unfolding
from compressae_ref.errors import FormatError
from compressae_ref.files.input_file import InputFile

CONTINUATION = b"\xff\xff\xff\xff"
"""Mark before the length of a message's metadata. Files of before 2019 lack it."""

DICTIONARY, BATCH = 2, 3
"""Types of messages."""

OLD_COMPRESSION = b"ARROW:experimental_compression"
"""A key that marks compressed buffers in files of 2020."""

BLOCK = np.dtype([("at", "<i8"), ("metadata", "<i4"), ("padding", "<i4"), ("body", "<i8")])
BUFFER = np.dtype([("at", "<i8"), ("size", "<i8")])


def rows_of_stream(file: InputFile) -> list[int]:
    """Return the rows of each batch of a stream. FormatError if a message unfolds to far more than is stored."""
    rows: list[int] = []
    at = 0
    while message := _message(file, at):
        table, body = message
        rows += _checked_rows(file, table, body)
        if (size := table.number(3, "<q")) < 0:
            raise FormatError(f"expected messages of at least 0 bytes, got {size} bytes")
        at = body + size
    return rows


def rows_of_file(file: InputFile) -> list[int]:
    """Return the rows of each batch of a file. FormatError if a message unfolds to far more than is stored."""
    end = file.size - 10
    length = int.from_bytes(file.read(end, 4), "little")
    if not 0 < length <= end:
        raise FormatError(f"expected a footer in {file.size} bytes, got one of {length} bytes")
    footer = _Table.root(file.read(end - length, length))
    rows: list[int] = []
    for number in (2, 3):  # the dictionaries, the batches
        for block in footer.vector(number, BLOCK):
            message = _message(file, int(block["at"]))
            if message is None:
                raise FormatError(f"expected a message at byte {block['at']}, got none")
            rows += _checked_rows(file, message[0], int(block["at"]) + int(block["metadata"]))
    return rows


def _message(file: InputFile, at: int) -> tuple[_Table, int] | None:
    """Return the metadata of a message and the offset of its body, or None at the end."""
    start = file.read(at, 8)
    prefix = 8 if start[:4] == CONTINUATION else 4
    length = int.from_bytes(start[prefix - 4 : prefix], "little")
    return (_Table.root(file.read(at + prefix, length)), at + prefix + length) if length else None


def _checked_rows(file: InputFile, message: _Table, body: int) -> Iterator[int]:
    """Check how much a message unfolds to. Yield its rows if it is a batch of rows."""
    kind = message.number(1, "<B")
    if kind not in (DICTIONARY, BATCH):
        return
    batch = message.table(2)
    batch = batch.table(1) if kind == DICTIONARY else batch
    packed = batch.has(3) or OLD_COMPRESSION in message.content
    sizes = [_unfolded(file, body, buffer) if packed else int(buffer["size"]) for buffer in batch.vector(2, BUFFER)]
    stored = min(message.number(3, "<q"), file.size)
    rows = batch.number(0, "<q")
    if min(rows, stored, *sizes) < 0:
        raise FormatError(f"expected sizes of at least 0, got {min(rows, stored, *sizes)}")
    require_unfolding(stored, sum(sizes), "batch")
    if kind == BATCH:
        yield rows


def _unfolded(file: InputFile, body: int, buffer: Any) -> int:
    """Return the bytes of a compressed buffer when it is unfolded. They come first; −1: it is stored as it is."""
    size = int(buffer["size"])
    unfolded = int.from_bytes(file.read(body + int(buffer["at"]), min(size, 8)), "little", signed=True)
    return size - 8 if unfolded == -1 else unfolded


class _Table:
    """A table of FlatBuffers."""

    def __init__(self, content: bytes, at: int) -> None:
        self.content, self._at = content, at
        self._fields = at - self._read("<i", at)

    @classmethod
    def root(cls, content: bytes) -> _Table:
        """Return the outermost table."""
        return cls(content, *struct.unpack_from("<I", content))

    def _read(self, form: str, at: int) -> int:
        return int(struct.unpack_from(form, self.content, at)[0])

    def has(self, field: int) -> bool:
        """Return whether a field is stored. If not, it has its default, 0."""
        return 4 + 2 * field < self._read("<H", self._fields) and self._read("<H", self._fields + 4 + 2 * field) > 0

    def _place(self, field: int) -> int:
        return self._at + self._read("<H", self._fields + 4 + 2 * field)

    def number(self, field: int, form: str) -> int:
        """Return a number."""
        return self._read(form, self._place(field)) if self.has(field) else 0

    def table(self, field: int) -> _Table:
        """Return a table."""
        at = self._place(field)
        return _Table(self.content, at + self._read("<I", at))

    def vector(self, field: int, dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array of structs."""
        if not self.has(field):
            return np.empty(0, dtype)
        at = self._place(field)
        at += self._read("<I", at)
        return np.frombuffer(self.content, dtype, self._read("<I", at), at + 4)
