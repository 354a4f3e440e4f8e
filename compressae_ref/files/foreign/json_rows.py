"""Read rows of JSON lines: an object in each line, of which the keys name the columns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from compressae_ref.checks import short_repr
from compressae_ref.errors import FormatError, reason
from compressae_ref.files.foreign.text_rows import Lines, TextRows, batches
from compressae_ref.row_source import STREAM_ROWS


def open_json(lines: Lines, *, lists: str | None = None) -> TextRows:
    """Open a file of JSON lines. Its columns are the keys of the first `STREAM_ROWS` rows; a missing value is None.

    A line that is a list is a row with this list in the column ``lists``, unless that is None. FormatError, also on
    reading, names the first line that is damaged.
    """
    kinds: dict[str, set[type]] = {}
    for number, (_, row) in enumerate(_objects(lines(), lists)):
        if number == STREAM_ROWS:
            break
        for name, value in row.items():
            kinds.setdefault(name, set()).add(type(value))
    if not kinds:
        raise FormatError("expected JSON objects with keys, got none")
    textual = [name for name, found in kinds.items() if str in found]

    likely = [name for name, found in kinds.items() if found in ({int}, {str})]

    def blocks(name: str) -> Iterator[list[Any]]:
        return batches(_value(line, row, name) for line, row in _objects(lines(), lists))

    return TextRows([*kinds], textual, blocks, rows=lambda: batches(_objects(lines(), lists)), likely=likely)


def _objects(lines: Iterator[str], lists: str | None) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number of each line that is not blank, and its object. A list becomes one with the key ``lists``."""
    expected = "expected a JSON object in each line" if lists is None else "expected a JSON object or list in each line"
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = DECODER.decode(line)
        except (ValueError, RecursionError) as error:
            got = f"{short_repr(line[:40])} in line {number} ({reason(error)})"
            raise FormatError(f"{expected}, got {got}") from error
        if lists is not None and isinstance(row, list):
            row = {lists: row}
        if not isinstance(row, dict):
            raise FormatError(f"{expected}, got {short_repr(line[:40])} in line {number}")
        yield number, row


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{short_repr(next(name for name in names if names.count(name) > 1))} twice")
    return row


DECODER = json.JSONDecoder(object_pairs_hook=_unique)


def _value(line: int, row: dict[str, Any], name: str) -> Any:
    """Return a value of a row, None if it is missing. FormatError for a string that no text file can hold."""
    value = row.get(name)
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            got = f"{short_repr(value[error.start])} in line {line}"
            raise FormatError(f"expected strings of valid Unicode, got {got}") from None
    return value
