"""Read rows of CSV and TSV files, of which the first line names the columns."""

from __future__ import annotations

import csv
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any

from compressae_ref.errors import FormatError, reason
from compressae_ref.files.foreign.choose_array import require_distinct
from compressae_ref.files.foreign.text_rows import ROWS_PER_BLOCK, Lines, Row, TextRows

MAX_FIELD_CHARACTERS = 1 << 23
"""The longest field that is read."""

_FIELD_LIMIT = threading.Lock()


def open_csv(
    lines: Lines, delimiter: str = ",", *, quoted: bool = True, is_header: Callable[[list[str]], bool] | None = None
) -> TextRows:
    """Open a CSV file. FormatError, also on reading, names the first line that is damaged.

    ``is_header`` says whether the fields of the first line name the columns. Otherwise they are called 0, 1, …
    """

    def read() -> Iterator[list[Row]]:
        reader = csv.reader(
            lines(), delimiter=delimiter, quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE, strict=True
        )
        return _records(reader)

    header: list[str] = next(read(), [(1, [])])[0][1]
    if not header:
        raise FormatError("expected the names of the columns in the first line, got an empty line")
    named = is_header is None or is_header(header)
    if not named:
        header = [*map(str, range(len(header)))]
    require_distinct(header)

    def rows() -> Iterator[list[Row]]:
        skipped = int(named)
        for records in read():
            yield records[skipped:]
            skipped = 0

    def blocks(name: str) -> Iterator[list[str]]:
        column = header.index(name)
        return ([fields[column] for _, fields in records] for records in rows())

    return TextRows(header, header, blocks, rows=rows, likely=header, written=True)


def open_tsv(lines: Lines, *, is_header: Callable[[list[str]], bool] | None = None) -> TextRows:
    """Open a TSV file, as `open_csv`. It is read once to see whether it quotes fields."""
    return open_csv(lines, "\t", quoted=quotes_fields(lines()), is_header=is_header)


def quotes_fields(lines: Iterator[str]) -> bool:
    """Return whether a TSV file encloses fields in quotes, as CSV does. In many files a quote is a letter as any other.

    It does not if each line is a row and some field begins with a quote that does not enclose the whole field.
    """
    quoted, tabs = True, None
    for line in lines:
        tabs = line.count("\t") if tabs is None else tabs
        if tabs == 0 or (line.count("\t") != tabs and line.strip()):
            return True
        if quoted and (line.startswith('"') or '\t"' in line):
            quoted = _is_whole(line, tabs + 1)
    return quoted


def _is_whole(line: str, fields: int) -> bool:
    try:
        with _long_fields():
            return len(next(csv.reader([line], delimiter="\t", strict=True))) == fields
    except csv.Error:
        return False


def _records(reader: Any) -> Iterator[list[Row]]:
    """Yield a few records at a time, which all have as many fields as the first one."""
    width, blank, taken = None, None, 1
    while taken:
        records, taken, line = list[Row](), 0, reader.line_num + 1
        try:
            with _long_fields():
                for fields in islice(reader, ROWS_PER_BLOCK):
                    taken += 1
                    width = len(fields) if width is None else width
                    if fields or not width:
                        _require_width(fields, width, line, blank)
                        records.append((line, fields))
                    elif blank is None:
                        blank = line  # which may be at the end
                    line = reader.line_num + 1
        except csv.Error as error:
            hint = 'write a field with quotes as "a ""quoted"" word"'
            raise FormatError(f"expected a row of fields, got {reason(error)!r} in line {line}", hint=hint) from error
        if records:
            yield records


def _require_width(fields: list[str], width: int, line: int, blank: int | None) -> None:
    if blank is not None:
        raise FormatError(f"expected {width} fields as in the header, got an empty line {blank}")
    if len(fields) != width:
        raise FormatError(f"expected {width} fields as in the header, got {len(fields)} in line {line}")


@contextmanager
def _long_fields() -> Iterator[None]:
    """Let Python's csv module read long fields. Its limit is one for the whole process, so it is set back."""
    with _FIELD_LIMIT:
        before = csv.field_size_limit(MAX_FIELD_CHARACTERS)
        try:
            yield
        finally:
            csv.field_size_limit(before)
