"""Read the metadata of a Parquet file, which says how much its columns unfold to.

pyarrow decodes columns without a limit: a run of equal values takes a few bytes, whatever its length. Its own access to
this metadata ends the process if the metadata is damaged. Both the footer and the header of each page are structs in
Thrift's compact protocol, of which this file reads numbers, strings, lists and structs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from compressae_ref.checks import require_unfolding
from compressae_ref.errors import FormatError
from compressae_ref.files.input_file import InputFile

MAX_FOOTER_BYTES = 1 << 26
"""The longest footer that is read."""

MAX_PAGE_HEADER_BYTES = 1 << 16
"""The longest header of a page. It may hold the smallest and the largest value of the page."""

MAX_NESTING = 16

WIDTHS = {0: 1, 1: 4, 4: 4}
"""Bytes of an item by Parquet's number of the type: booleans, int32, float. All others take 8 or more."""

FIXED = 7
"""Parquet's number of the type whose items have the number of bytes that the schema states."""

Struct = dict[int, Any]
"""A struct: its values by the numbers of the fields."""


class Chunk(NamedTuple):
    """A column in a row group."""

    column: str
    """the name of the top-level column"""
    width: int
    """bytes of an item"""
    items: int
    start: int
    """byte at which its first page starts"""
    size: int
    """bytes of its pages, compressed"""


class RowGroup(NamedTuple):
    """Rows that are stored together."""

    rows: int
    chunks: list[Chunk]


def read_row_groups(file: InputFile) -> list[RowGroup]:
    """Read the footer of a file. Damage raises errors of any class: call this inside `npz.reading`."""
    end = file.size - 8
    length = int.from_bytes(file.read(end, 4), "little")
    if not 0 < length <= min(MAX_FOOTER_BYTES, end):
        raise FormatError(f"expected a footer of at most {min(MAX_FOOTER_BYTES, end)} bytes, got {length} bytes")
    footer = _Reader(file.read(end - length, length)).struct()
    widths = [
        element.get(2, 0) for element in footer[2] if not element.get(5)
    ]  # of the columns, which have no children
    groups = [
        RowGroup(group[3], [_chunk(chunk[3], width) for chunk, width in zip(group[1], widths, strict=True)])
        for group in footer.get(4, [])
    ]
    if any(group.rows < 0 for group in groups) or sum(group.rows for group in groups) != footer[3]:
        raise FormatError(f"expected {footer[3]} rows, got groups of {sum(group.rows for group in groups)} rows")
    return groups


def _chunk(facts: Struct, fixed: int) -> Chunk:
    start = min(facts[9], facts.get(11) or facts[9])  # a dictionary is stored before the pages
    width = fixed if facts[1] == FIXED else WIDTHS.get(facts[1], 8)
    return Chunk(facts[3][0].decode(), width, facts[5], start, facts[7])


def require_few_items(file: InputFile, group: RowGroup, columns: list[str]) -> None:
    """Raise FormatError if columns of a row group unfold to far more bytes than are stored, by footer or by pages."""
    for chunk in group.chunks:
        if chunk.column in columns:
            pages = [*_pages(file, chunk)]
            items = max(chunk.items, sum(items for items, _ in pages))
            unfolded = max(items * chunk.width, sum(size for _, size in pages))
            require_unfolding(chunk.size, unfolded, f"column {chunk.column}")


def _pages(file: InputFile, chunk: Chunk) -> Iterator[tuple[int, int]]:
    """Yield the items of each page, and its bytes before compression."""
    at, end = chunk.start, chunk.start + chunk.size
    if not 0 <= at <= end <= file.size:
        raise FormatError(f"expected pages in {file.size} bytes, got bytes {at} to {end}", argument=chunk.column)
    while at < end:
        reader = _Reader(file.read(at, min(MAX_PAGE_HEADER_BYTES, end - at)))
        header = reader.struct()
        unfolded, stored = header[2], header[3]
        if unfolded < 0 or stored < 0:
            raise FormatError(f"expected a page of at least 0 bytes, got {stored} bytes", argument=chunk.column)
        kind: Struct = header.get(5) or header.get(8) or {}  # a page of either version; a dictionary counts no items
        yield kind.get(1, 0), unfolded
        at += reader.position + stored


class _Reader:
    """A reader of Thrift's compact protocol."""

    def __init__(self, content: bytes) -> None:
        self._content, self.position = content, 0

    def struct(self, nesting: int = MAX_NESTING) -> Struct:
        """Read a struct."""
        if nesting == 0:
            raise FormatError(f"expected at most {MAX_NESTING} structs in each other, got at least {MAX_NESTING + 1}")
        fields: Struct = {}
        field = 0
        while head := self._byte():
            field = field + (head >> 4) if head >> 4 else self._integer()
            fields[field] = head & 15 == 1 if head & 15 in (1, 2) else self._value(head & 15, nesting)
        return fields

    def _value(self, kind: int, nesting: int) -> Any:
        if kind in (1, 2, 3):
            return self._byte()
        if kind in (4, 5, 6):
            return self._integer()
        if kind == 7:
            return self._bytes(8)
        if kind == 8:
            return self._bytes(self._unsigned())
        if kind in (9, 10):
            head = self._byte()
            size = head >> 4 if head >> 4 < 15 else self._unsigned()
            if size > len(self._content) - self.position:  # each item takes at least a byte
                raise FormatError(f"expected a list in {len(self._content)} bytes, got {size} items")
            return [self._value(head & 15, nesting - 1) for _ in range(size)]
        if kind == 12:
            return self.struct(nesting - 1)
        raise FormatError(f"expected values of the types of Parquet, got type {kind}")

    def _byte(self) -> int:
        self.position += 1
        return self._content[self.position - 1]

    def _bytes(self, size: int) -> bytes:
        if size > len(self._content) - self.position:
            raise FormatError(f"expected {size} bytes, got {len(self._content) - self.position}")
        self.position += size
        return self._content[self.position - size : self.position]

    def _unsigned(self) -> int:
        number = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            number |= (byte & 127) << shift
            if byte < 128:
                return number
        raise FormatError("expected an integer of 64 bits, got a longer one")

    def _integer(self) -> int:
        number = self._unsigned()
        return (number >> 1) ^ -(number & 1)
