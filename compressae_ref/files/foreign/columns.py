"""Read named columns of a table: Parquet, Arrow, CSV, TSV, JSON lines, or a text in each line, also packed by gzip.

Texts are read in blocks, again in each pass. The first bytes and the name of a file decide on its format.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from compressae_ref.checks import require_unfolding, short_repr
from compressae_ref.errors import DTypeError, FormatError, ShapeError
from compressae_ref.files.foreign import arrow_table
from compressae_ref.files.foreign.arrow_columns import ArrowColumns
from compressae_ref.files.foreign.choose_array import listed
from compressae_ref.files.foreign.csv_rows import open_csv, open_tsv
from compressae_ref.files.foreign.json_rows import open_json
from compressae_ref.files.foreign.sniff import HEAD_BYTES, table_kind_of
from compressae_ref.files.foreign.text_rows import GZIP, Lines, TextRows, byte_stream, open_lines, read_lines
from compressae_ref.files.input_file import InputFile, PathLike
from compressae_ref.files.npz import reading
from compressae_ref.files.spool import naming_tmpdir
from compressae_ref.item_values import as_sites, as_weights, number_in

EXPECTED = "a table: Parquet, Arrow, CSV, TSV, JSON lines, or a text in each line"
TEXT_COLUMNS = ("text", "title", "body", "description", "name")
"""Default names of the column of texts, in order of preference."""

COPIED_BYTES = 1 << 20

Block = list[Any] | NDArray[Any]


class Source(Protocol):
    """The rows of a file in one of the formats."""

    names: list[str]
    textual: list[str]
    """columns that hold strings, as far as is known"""
    likely: list[str]
    """columns that may hold ids, as far as is known"""
    written: bool
    """whether the first line names the columns, and numbers are written as strings"""

    @property
    def n(self) -> int | None:
        """The number of rows, if it is known."""

    def blocks(self, name: str, /) -> Iterator[Block]:
        """Yield the values of some rows at a time."""


class Texts:
    """The texts of a column. Each iteration reads the file again, and yields a string or None for each row.

    Errors as of `Table.values`; also a DTypeError for a value that is neither a string nor null.
    """

    def __init__(self, table: Table, column: str) -> None:
        self._table, self.column = table, column

    def __len__(self) -> int:
        return self._table.n

    def __iter__(self) -> Iterator[str | None]:
        row = 0
        for block in self._table.blocks(self.column):
            for text in block:
                if text is not None and not isinstance(text, str):
                    got = f"got {short_repr(text)}"
                    raise DTypeError(f"expected strings, {got}", argument=self.column, path=self._table.path, row=row)
                yield text
                row += 1


class Table:
    """An open file with columns. `open_table` makes it.

    Attributes
    ----------
    path : the file
    names : of its columns
    likely : columns that may hold ids, as far as is known
    written : whether numbers are strings, as in CSV
    """

    def __init__(self, path: str, file: InputFile, source: Source) -> None:
        self.path, self.names, self.likely, self.written = path, source.names, source.likely, source.written
        self._file, self._source, self._n = file, source, source.n

    @property
    def n(self) -> int:
        """The number of rows. Text files are read once to know it."""
        if self._n is None:
            for _ in self.blocks(self.names[0]):
                pass
        return self._n or 0

    def require_rows(self, n: int, each: str = "embedding") -> None:
        """Raise ShapeError unless the file has n rows, one for each embedding (or ``each``)."""
        if self.n != n:
            header = self._source.written and self.n == n - 1
            raise ShapeError(
                f"expected {n} rows, one for each {each}, got {self.n}",
                path=self.path,
                hint="the first line of the file names the columns" if header else None,
            )

    def texts(self, column: str | None = None) -> Texts:
        """Return the texts of a column, by default that of `TEXT_COLUMNS` or the only column of strings.

        Raises
        ------
        FormatError
            If there is no such column.
        """
        return Texts(self, self._text_column() if column is None else self.known(column))

    def values(self, column: str) -> Block:
        """Return the n values of a column, null as None: an array of numbers or datetime64, or a list.

        Raises
        ------
        FormatError
            If there is no such column, or if the file is damaged or changes between passes.
        """
        blocks = [*self._shared(self.known(column))]
        if blocks and all(isinstance(block, np.ndarray) for block in blocks):
            return np.concatenate(blocks)
        return [value for block in blocks for value in (block if isinstance(block, list) else block.tolist())]

    def blocks(self, column: str) -> Iterator[Block]:
        """Yield the values of a column, a few rows at a time. Errors as of `values`."""
        rows = 0
        with reading(self.path, EXPECTED):
            for block in self._source.blocks(column):
                rows += len(block)
                if self._n is not None and rows > self._n:
                    break
                yield block
            if self._n not in (None, rows):
                got = f"got {rows}" if rows < (self._n or 0) else f"got at least {rows}"
                hint = "another program changed the file: start again"
                raise FormatError(f"expected {self._n} rows as in the pass before, {got}", hint=hint)
        self._n = rows

    def _shared(self, column: str) -> Iterator[Block]:
        """Yield `blocks` in which equal strings are one object. FormatError if they take far too much memory."""
        strings: dict[str, str] = {}
        held = 0
        for block in self.blocks(column):
            if isinstance(block, list):
                new = {item for item in block if isinstance(item, str) and item not in strings}
                strings.update(zip(new, new, strict=True))
                held += sum(map(len, new))
                block = [strings[item] if isinstance(item, str) else item for item in block]
            held += 8 * len(block)
            with reading(self.path, EXPECTED):
                require_unfolding(self._file.size, held, f"column {column}")
            yield block

    def known(self, column: str) -> str:
        """Return the name of a column that the table has. FormatError if it has none of this name."""
        if column in self.names:
            return column
        only = self.names[0] if len(self.names) == 1 else ""
        other = self._source.written and any(separator in only for separator in ";,|\t")
        hint = "separate columns by commas (.csv) or tabs (.tsv)" if other else None
        raise FormatError(
            f"expected a column {short_repr(column)}, got {_names(self.names)}", path=self.path, hint=hint
        )

    def _text_column(self) -> str:
        by_lower = {name.lower(): name for name in reversed(self._source.textual)}
        usual = next((by_lower[name] for name in TEXT_COLUMNS if name in by_lower), None)
        if usual is not None or len(self._source.textual) == 1:
            return usual or self._source.textual[0]
        raise FormatError(
            f"expected a column {', '.join(TEXT_COLUMNS)} or a single column of strings, got {_names(self.names)}",
            path=self.path,
            hint="choose the column of texts with --text",
        )

    def weights(self, column: str) -> NDArray[np.float64]:
        """Return a column of weights (n,). Errors as of `values` and `as_weights`, with the file."""
        values = self.values(column)
        with reading(self.path, EXPECTED):
            return as_weights([number_in(value) for value in values] if self._source.written else values, column)

    def sites(self, column: str) -> list[str]:
        """Return a column of the names of sites (n,). Errors as of `values` and `as_sites`, with the file."""
        values = self.values(column)
        with reading(self.path, EXPECTED):
            return as_sites(values, column)


def open_table(path: PathLike) -> Table:
    """Open a table of any of the formats.

    Raises
    ------
    FormatError
        If the file is empty, damaged, or of another format, or if two columns have one name.
    BackendError
        If it is a Parquet or Arrow file and pyarrow is not installed.
    OSError
        If it cannot be opened.
    """
    with reading(path, EXPECTED):
        file = InputFile(path)
        kind = table_kind_of(Path(path), byte_stream(file).read(HEAD_BYTES))
        if kind in OPEN:
            source: Source = OPEN[kind](lambda: read_lines(file))
        else:
            source = ArrowColumns(arrow_table.open_table(_unpacked(file) if file.read(0, 2) == GZIP else file, kind))
        return Table(file.path, file, source)


OPEN: dict[str, Callable[[Lines], TextRows]] = {
    "csv": open_csv,
    "tsv": open_tsv,
    "jsonl": open_json,
    "lines": open_lines,
}


def _unpacked(file: InputFile) -> InputFile:
    """Return a temporary copy of what gzip compressed, which can be read in any order."""
    with naming_tmpdir():
        copy = TemporaryFile()  # noqa: SIM115  the returned file keeps it
    size, stream = 0, byte_stream(file)
    with copy:
        while piece := stream.read(COPIED_BYTES):
            size += len(piece)
            require_unfolding(file.size, size, "gzip")
            with naming_tmpdir():
                copy.write(piece)
        with naming_tmpdir():
            copy.flush()
        unpacked = InputFile.of(copy)
    unpacked.path = file.path
    return unpacked


def _names(names: list[str]) -> str:
    """Return the names of columns for an error message, on one line."""
    shown = [name if name.strip() and name.isprintable() and len(name) <= 40 else short_repr(name) for name in names]
    return listed(dict.fromkeys(shown, ""))
