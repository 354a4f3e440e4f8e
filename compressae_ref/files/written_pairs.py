"""Read relevance pairs as they are written: text with or without names of columns, qrels of TREC, arrays and tables."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.checks import short_repr
from compressae_ref.errors import DomainError, DTypeError, FormatError, ShapeError, reason
from compressae_ref.files.foreign.columns import Table, open_table
from compressae_ref.files.foreign.csv_rows import quotes_fields
from compressae_ref.files.foreign.embeddings import npy_in_file
from compressae_ref.files.foreign.sniff import HEAD_BYTES, TABLE_NAMES, kind_by_name, table_kind_of
from compressae_ref.files.foreign.text_rows import byte_stream, read_lines
from compressae_ref.files.input_file import InputFile, PathLike
from compressae_ref.files.npz import reading
from compressae_ref.files.pair_columns import columns_of, has_names, is_grade, is_header, is_row_number, names_of

EXPECTED = "relevance pairs: text with a query, an item and optionally a grade in each line, qrels, .npy, or a table"

ITERATIONS = {"0", "Q0", "q0"}
"""The second of the four columns of qrels, which means nothing."""


class Written(NamedTuple):
    """The pairs of a file."""

    queries: list[str]
    items: list[str]
    grades: list[int]
    lines: list[int] | None
    """the line of each pair; None: pair i is row i of an array or of a table"""
    names: list[str] | None = None
    """the names of the query, item and grade columns, if the file has names"""
    qrels: bool = False

    def place(self, pair: int) -> str:
        """Return where a pair is, for messages: "line 7"."""
        return f"row {pair}" if self.lines is None else f"line {self.lines[pair]}"

    def rows(self) -> NDArray[np.int64] | None:
        """Return the row numbers (m, 2) of queries and items, or None if one of them is no integer from 0."""
        if not all(map(is_row_number, (*self.queries, *self.items))):
            return None
        return np.array([[*map(int, self.queries)], [*map(int, self.items)]], np.int64).T.reshape(-1, 2)

    def required_queries(self, n: int) -> NDArray[np.int64]:
        """Return the row numbers of queries, or raise DomainError for the first that is not one from 0 to n - 1."""
        for pair, name in enumerate(self.queries):
            if not is_row_number(name) or int(name) >= n:
                got = f"got {short_repr(name)} in {self.place(pair)}"
                raise DomainError(f"expected the row number of a query from 0 to {n - 1}, {got}", argument="relevance")
        return np.array([*map(int, self.queries)], np.int64)

    def required_rows(self, hint: str | None = None) -> NDArray[np.int64]:
        """Return `rows`, or raise DomainError for the first that is no row number."""
        if (rows := self.rows()) is not None:
            return rows
        pairs = enumerate(zip(self.queries, self.items, strict=True))
        pair, name = next((pair, name) for pair, names in pairs for name in names if not is_row_number(name))
        got = f"got {short_repr(name)} in {self.place(pair)}"
        raise DomainError(f"expected row numbers of queries and items, {got}", argument="relevance", hint=hint)

    @property
    def counted(self) -> list[int]:
        """The grades; in qrels those below 0 count as 0."""
        return [max(grade, 0) for grade in self.grades] if self.qrels else self.grades


def read_pairs(path: PathLike) -> Written:
    """Read relevance pairs of any known form.

    Raises
    ------
    FormatError, ShapeError, DTypeError
        Naming the file, and the line or row.
    BackendError
        If it is a Parquet or Arrow file and pyarrow is not installed.
    """
    with reading(path, EXPECTED):
        file = InputFile(path)
        if file.read(0, 6) == b"\x93NUMPY":
            return _of_array(np.asarray(npy_in_file(file)))
        if Path(path).suffix == ".npy":
            raise FormatError("expected an array of integers or strings (.npy), got a file of another format")
        if file.size == 0:
            return Written([], [], [], [])
        if table_kind_of(Path(path), byte_stream(file).read(HEAD_BYTES)) in TEXTS:
            return _of_text(Path(path), lambda: read_lines(file))
        return _of_table(open_table(path))


TEXTS = ("csv", "tsv", "lines")

# -- text -------------------------------------------------------------------------------------------------------------

Record = tuple[int, list[str]]
"""A line number, and the fields of the line."""


def _of_text(path: Path, lines: Any) -> Written:
    records = [*_records(lines, _separator(path, lines))]
    if not records:
        return Written([], [], [], [])
    width = len(records[0][1])
    for number, fields in records:
        if len(fields) != width:
            raise _wrong_line(f"expected {width} column{'s'[: width != 1]} as in the first line", fields, number)
    first, rest = records[0][1], records[1:]
    header = is_header(first, [fields for _, fields in rest])
    columns = columns_of(first if header else None, width)
    if columns is None:
        expected = "expected a query, an item and optionally a grade, or the four columns of qrels"
        raise _wrong_line(expected, first, records[0][0], "separate columns by tabs, commas or spaces")
    if header and not rest:
        raise _wrong_line("expected pairs below the names of the columns", first, records[0][0])
    queries, items, grades, places = [], [], [], []
    for number, fields in rest if header else records:
        if columns.qrels and fields[1].strip() not in ITERATIONS:
            raise _wrong_line("expected 0 or Q0 in the second of four columns (qrels)", fields, number)
        pair = fields[columns.query], fields[columns.item]
        if not all(map(str.strip, pair)):
            raise _wrong_line("expected a query and an item", fields, number)
        queries.append(pair[0])
        items.append(pair[1])
        grades.append(1 if columns.grade is None else _grade(fields[columns.grade], f"line {number}"))
        places.append(number)
    return Written(queries, items, grades, places, names_of(first, columns) if header else None, columns.qrels)


def _wrong_line(expected: str, fields: Sequence[str], number: int, hint: str | None = None) -> FormatError:
    return FormatError(f"{expected}, got {short_repr(' '.join(fields))} in line {number}", hint=hint)


def _separator(path: Path, lines: Any) -> str | None:
    """Return the tab or the comma, or None for spaces, by the file's name and its lines.

    FormatError if commas and spaces both separate all lines into columns: ids may hold the other one.
    """
    named = TABLE_NAMES.get(kind_by_name(path.with_suffix("") if path.suffix.lower() == ".gz" else path))
    first = next((line for line in lines() if line.strip()), "")
    if "\t" in first:
        mixed = any("\t" not in line for line in lines() if line.strip())
        return None if mixed and not _width(lines, "\t") and _width(lines, None) else "\t"
    if "," not in first:
        return None
    if named == "csv" or not re.search("[^ ,] +[^ ,]", first):
        return ","
    width = _width(lines, None)
    if not width:
        return ","
    if width < 4 and _width(lines, ","):  # four columns are qrels
        raise FormatError(
            "expected columns separated by tabs, commas or spaces, got lines with commas and spaces",
            hint="separate them by tabs, or name the file .csv if commas do",
        )
    return None


def _width(lines: Any, separator: str | None) -> int:
    """Return into how many columns all lines are separated, 2 to 4 of which the last of 3 or 4 has integers, or 0."""
    try:
        records = [*_records(lines, separator)]
    except FormatError:
        return 0
    width = len(records[0][1])
    whole = width == 2 or all(is_grade(fields[-1]) for _, fields in records[1:])
    return width if 2 <= width <= 4 and whole and all(len(fields) == width for _, fields in records) else 0


def _records(lines: Any, separator: str | None) -> Iterator[Record]:
    """Yield the lines that are not blank as their fields."""
    if separator is None:
        for number, line in enumerate(lines(), 1):
            if fields := re.findall(r"[^ \t\r\n\f\v]+", line):  # other spaces of Unicode may be part of an id
                yield number, fields
        return
    quoted = separator == "," or quotes_fields(lines())
    quoting = csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE
    reader, number = csv.reader(lines(), delimiter=separator, quoting=quoting, strict=True), 1  # type: ignore[arg-type]
    try:
        for fields in reader:
            if "".join(fields).strip():
                yield number, fields
            number = reader.line_num + 1
    except csv.Error as error:
        hint = 'write a field with quotes as "a ""quoted"" word"'
        raise FormatError(f"expected a row of fields, got {reason(error)!r} in line {number}", hint=hint) from error


def _grade(text: str, place: str) -> int:
    if not is_grade(text):
        raise FormatError(f"expected an integer grade, got {short_repr(text)} in {place}")
    return int(text.partition(".")[0])


# -- arrays and tables ------------------------------------------------------------------------------------------------


def _of_array(array: NDArray[Any]) -> Written:
    if array.ndim != 2 or array.shape[1] not in (2, 3):
        raise ShapeError(f"expected columns query, item and perhaps grade, got shape {array.shape}")
    if array.dtype.kind not in "iuUS":
        raise DTypeError(f"expected integers or strings, got {array.dtype}")
    return _of_values([[*column] for column in array.T.tolist()], None)


def _of_table(table: Table) -> Written:
    columns = columns_of(table.names, len(table.names))
    if columns is None or (columns.qrels and not has_names(table.names)):
        raise FormatError(f"expected columns query, item and perhaps grade, got {', '.join(map(repr, table.names))}")
    names = names_of(table.names, columns)
    values = [table.values(name) for name in names]
    written = _of_values([each if isinstance(each, list) else each.tolist() for each in values], names)
    return written._replace(qrels=columns.qrels)


def _of_values(values: list[list[Any]], names: list[str] | None) -> Written:
    for column, name in zip(values[:2], ("query", "item"), strict=True):
        for row, value in enumerate(column):
            if not isinstance(value, (str, bytes, int)) or isinstance(value, bool) or value in ("", b""):
                raise DTypeError(f"expected integers or strings, got {short_repr(value)}", argument=name, row=row)
    queries, items = ([_text(value) for value in column] for column in values[:2])
    grades = [1] * len(queries)
    if len(values) == 3:
        grades = [_grade(_text(value), f"row {row}") for row, value in enumerate(values[2])]
    return Written(queries, items, grades, None, names)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
