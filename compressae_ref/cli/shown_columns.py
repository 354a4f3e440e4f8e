"""The options ``--items`` and ``--show`` of ``search``: columns of the items that are found, from their table."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from compressae_ref.checks import short_repr
from compressae_ref.cli.terminal import printable, tell
from compressae_ref.errors import DomainError, FormatError
from compressae_ref.files.foreign.choose_array import id_entry, listed
from compressae_ref.files.foreign.columns import Table, open_table
from compressae_ref.files.foreign.id_columns import IdColumns, that_say_ids

TAB, LEAST = 8, 8
"""Characters to the next tab at most, and of a column that is cut."""


class ShownColumns:
    """Chosen columns of a table, of which only the values of found items are held.

    Parameters
    ----------
    options : with ``items``, the table; ``show``, the names of columns, also several between commas; and ``id_column``
    with_ids : whether the codes have ids. Then items are matched by ids, otherwise by row
    n : number of codes

    Raises
    ------
    FormatError, ShapeError
        If the table has no such columns, or not n rows where items are matched by row.
    """

    def __init__(self, options: argparse.Namespace, with_ids: bool, n: int) -> None:
        self._table = open_table(options.items)
        self.names = [self._table.known(name) for name in _split(options.show, self._table.names)]
        self._id_column = _id_column(self._table, options) if with_ids else None
        if not with_ids:
            self._table.require_rows(n, "item")

    def values(self, ids: Iterable[Any]) -> dict[Any, dict[str, Any]]:
        """Return the shown values of items by their ids. DomainError if the table does not have an id, or has it twice.

        The table is read once for its ids, and once for each column.
        """
        rows = self._rows_of(set(ids))
        found: dict[Any, dict[str, Any]] = {item: {} for item in rows}
        by_row = dict(zip(rows.values(), rows, strict=True))
        wanted = np.array(sorted(by_row), np.int64)
        for name in self.names:
            for row, value in _values_at(self._table, name, wanted):
                found[by_row[row]][name] = value
        return found

    def _rows_of(self, ids: set[Any]) -> dict[Any, int]:
        if self._id_column is None:
            return {item: int(item) for item in ids}
        by_text, found, row = {str(item): item for item in ids}, dict[Any, int](), 0  # CSV has integers as text
        for block in self._table.blocks(self._id_column):
            for value in map(str, block if isinstance(block, list) else block.tolist()):
                if value in by_text and (before := found.setdefault(by_text[value], row)) != row:
                    raise self._wrong(f"expected unique ids, got {short_repr(value)} of row {before} again", row)
                row += 1
        if missing := ids - found.keys():
            raise self._wrong(f"expected the id {short_repr(min(missing))} of an item, got no such id")
        return found

    def _wrong(self, message: str, row: int | None = None) -> DomainError:
        hint = "choose another column with --id-column"
        return DomainError(message, argument=self._id_column, path=self._table.path, row=row, hint=hint)


def _split(given: list[str], names: list[str]) -> list[str]:
    """Return the names of columns in options, each of which holds one name, or several between commas."""
    return [*dict.fromkeys(name for each in given for name in ([each] if each in names else each.split(",")))]


def _id_column(table: Table, options: argparse.Namespace) -> str:
    fixed = id_entry(table.path, True if options.id_column is None else options.id_column, table.names)
    claims, likely = ([], []) if fixed else (that_say_ids(table.names), table.likely)
    columns = IdColumns(table.names, table.n, fixed, claims, likely, table.blocks, lambda _: None, table.written)
    name = columns.chosen()
    if name is None:
        raise FormatError(
            f"expected a column with the ids of CODES, got {listed(dict.fromkeys(table.names, ''))}",
            path=table.path,
            hint="choose it with --id-column",
        )
    tell(f"{table.path}: ids: column {name}")
    return name


def _values_at(table: Table, name: str, rows: Any) -> Iterator[tuple[int, Any]]:
    """Yield the row and the value of a column for some rows, which ascend."""
    first = 0
    for block in table.blocks(name):
        inside = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + len(block))]
        for row in inside.tolist():
            yield row, _plain(block[row - first])
        first += len(block)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it: NaN is null, and dates and decimals are strings."""
    value = value.item() if isinstance(value, np.generic) and value.dtype.kind in "iufb" else value
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value if value is None or isinstance(value, (bool, int, float, str, list, dict)) else str(value)


def hit_lines(query: str, ids: list[Any], scores: list[float], shown: dict[Any, dict[str, Any]]) -> str:
    """Return a line for each hit: the query, id, score and the shown values, between tabs. On a terminal they are cut.

    Parameters
    ----------
    query : row number of the query, and its id if there is one, between tabs
    """
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    lines = []
    for item, score in zip(ids, scores, strict=True):
        start = f"{query}\t{printable(item)}\t{score:.6f}"
        texts = [printable(_text(value)) for value in shown[item].values()]
        if width is not None:
            room = (width - len(start.expandtabs()) - 1) // len(texts) - TAB
            texts = [cut(text, max(room, LEAST)) for text in texts]
        lines.append("\t".join([start, *texts]))
    return "\n".join(lines)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else json.dumps(value, ensure_ascii=False)


def cut(text: str, width: int) -> str:
    """Return a text that takes at most ``width`` columns of a terminal; "…" stands for the rest."""
    columns = [1 + (unicodedata.east_asian_width(letter) in "WF") for letter in text]
    if sum(columns) <= width:
        return text
    kept = int(np.searchsorted(np.cumsum(columns), width - 1, side="right"))
    return text[:kept] + "…"
