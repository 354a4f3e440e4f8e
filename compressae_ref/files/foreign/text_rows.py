"""Read lines of text files, which may be compressed by gzip. `csv_rows` and `json_rows` read rows of them."""

from __future__ import annotations

import codecs
import gzip
import io
from collections.abc import Callable, Iterator
from typing import IO, Any

from compressae_ref.errors import FormatError
from compressae_ref.files.input_file import InputFile

GZIP = b"\x1f\x8b"
"""The first bytes of a file that gzip compressed."""

MAX_LINE_BYTES = 1 << 24
"""The longest line that is read. The objects of a line may take many times as much memory."""

BYTES_PER_READ = 1 << 18
ROWS_PER_BLOCK = 64
"""Rows that are held at a time: texts may have megabytes."""

Lines = Callable[[], Iterator[str]]
"""Reads the lines of a file from its beginning, with their ends."""

Row = tuple[int, Any]
"""The number of a line, and what it holds."""


class TextRows:
    """A text file with columns.

    Parameters
    ----------
    names : of the columns
    textual : those of the columns that hold strings, as far as the first rows tell
    read : called with the name of a column; yields the values of a few rows at a time
    rows : yields a few rows at a time: the number of the line where each begins, and its fields or its object
    likely : columns that may hold ids, as far as the first rows tell
    written : whether the first line names the columns, and numbers are written as strings
    """

    n: int | None = None
    """The number of rows is unknown before they are read."""

    def __init__(
        self,
        names: list[str],
        textual: list[str],
        read: Callable[[str], Iterator[list[Any]]],
        *,
        rows: Callable[[], Iterator[list[Row]]],
        likely: list[str],
        written: bool = False,
    ) -> None:
        self.names, self.textual, self.blocks, self.rows = names, textual, read, rows
        self.likely, self.written = likely, written


def byte_stream(file: InputFile) -> IO[bytes]:
    """Return a stream of the bytes of a file, unpacked if it starts as a file that gzip compressed."""
    stream = io.BufferedReader(file.stream(), 1 << 16)
    return gzip.GzipFile(fileobj=stream) if file.read(0, 2) == GZIP else stream  # type: ignore[return-value]


def read_lines(file: InputFile) -> Iterator[str]:
    """Yield lines of UTF-8 with their ends. A mark of the byte order before the first one is left out.

    FormatError if a line is too long, is not UTF-8, or has a NUL byte.
    """
    stream, rest, number = byte_stream(file), b"", 0
    content = stream.read(BYTES_PER_READ).removeprefix(codecs.BOM_UTF8)
    while content:
        content = rest + content
        end = content.rfind(b"\n") + 1
        content, rest = content[:end], content[end:]
        yield from _decoded(content, number)
        number += content.count(b"\n")
        if len(rest) > MAX_LINE_BYTES:
            raise FormatError(f"expected lines of at most {MAX_LINE_BYTES} bytes, got a longer line {number + 1}")
        content = stream.read(BYTES_PER_READ)
    yield from _decoded(rest, number)


def _decoded(content: bytes, before: int) -> Iterator[str]:
    """Yield the lines of a piece of a file, which has so many lines ``before``."""
    bad, got = content.find(b"\0"), "a NUL byte"
    try:
        text = content[: bad if bad >= 0 else None].decode()
    except UnicodeDecodeError as error:
        bad, got = error.start, f"byte 0x{content[error.start]:02x}"
    if bad >= 0:
        good = content[: content.rfind(b"\n", 0, bad) + 1]
        yield from _decoded(good, before)
        number = before + good.count(b"\n") + 1
        raise FormatError(f"expected text in UTF-8, got {got} in line {number}", hint="save the file as UTF-8")
    yield from io.StringIO(text, newline="\n")


def open_lines(lines: Lines) -> TextRows:
    """Open a file with one text in each line."""

    def blocks(_: str) -> Iterator[list[str]]:
        return batches(line.removesuffix("\n").removesuffix("\r") for line in lines())

    return TextRows(["text"], ["text"], blocks, rows=lambda: batches(enumerate(lines(), 1)), likely=["text"])


def batches(items: Iterator[Any]) -> Iterator[list[Any]]:
    """Yield a few items at a time."""
    block = []
    for item in items:
        block.append(item)
        if len(block) == ROWS_PER_BLOCK:
            yield block
            block = []
    if block:
        yield block
