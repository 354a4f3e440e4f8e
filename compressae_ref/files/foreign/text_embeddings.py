"""Read embeddings in text: CSV, TSV and JSON lines, also packed by gzip.

A row's numbers are in one column, or in one column each. Which columns these are:

1. the one that is asked for, by the name of a column or of several that are numbered: ``FILE::v`` for v0, v1, …
2. one of the usual names (`choose_array.EMBEDDING_ENTRIES`), such as ``embedding``, or ``embedding_0``, …
3. the only column of lists of numbers, or the only columns that are numbered from 0 or 1
4. in CSV and TSV, all columns, if all of them hold numbers but those with names like ids; also without a header

Lists in text are JSON, or numbers between commas or spaces, with or without brackets. Rows are float32 if all numbers
of the first rows are float32, or have no more than the nine digits that determine one; otherwise float64.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.checks import no_rows, require_unfolding, short_repr
from compressae_ref.errors import FormatError, ShapeError
from compressae_ref.files.foreign.choose_array import EMBEDDING_ENTRIES, ID_ENTRIES, chosen_entry, id_entry
from compressae_ref.files.foreign.csv_rows import open_csv, open_tsv
from compressae_ref.files.foreign.id_columns import IdColumns, is_name, says_ids, that_say_ids
from compressae_ref.files.foreign.json_rows import open_json
from compressae_ref.files.foreign.numbered_columns import Group, numbered
from compressae_ref.files.foreign.rows import EmbeddingRows, Forwards, Place
from compressae_ref.files.foreign.text_rows import Row, TextRows, read_lines
from compressae_ref.files.input_file import InputFile
from compressae_ref.item_ids import as_ids, written_ids

BRACKETS = ("[]", "()", "{}")
LEAST_UNNAMED = 8
"""Integers in a first line that number the columns though one is missing. Fewer ones may be a row."""

SINGLE_DIGITS = 9
"""Decimal digits that determine a float32."""


def open_text(place: Place, file: InputFile, kind: str) -> EmbeddingRows:
    """Open embeddings in a text file of the kind "csv", "tsv" or "jsonl". It is read once to count its rows.

    Raises
    ------
    FormatError, ShapeError
        If the file is damaged or has no such columns. On reading, with the line: if a row has no numbers, or not as
        many as the first one.
    """
    source = _opened(file, kind)
    first = next((rows for rows in source.rows() if rows), None)
    if first is None:
        raise no_rows(path=place)
    names = _chosen(place, source, first)
    numbers_of = _reader(source, names)
    d = len(numbers_of(first[0]))
    dtype = dtype_of(number for row in first for number in numbers_of(row))
    n = sum(map(len, source.rows()))
    require_unfolding(file.size, n * d * np.dtype(dtype).itemsize, "the rows")

    def blocks() -> Iterator[Floats]:
        return (np.array([_checked(numbers_of(row), d, row) for row in rows], dtype) for rows in source.rows() if rows)

    return EmbeddingRows(
        (n, d),
        dtype,
        Forwards(lambda row: (0, blocks())),
        sequential=True,
        ids=_id_columns(place, file, source, names, n),
        place=place,
    )


def _opened(file: InputFile, kind: str) -> TextRows:
    def lines() -> Iterator[str]:
        return read_lines(file)

    if kind == "jsonl":
        return open_json(lines, lists=EMBEDDING_ENTRIES[0])
    return {"csv": open_csv, "tsv": open_tsv}[kind](lines, is_header=_is_header)


def _is_header(fields: list[str]) -> bool:
    """Return whether the first line names the columns: not all fields are numbers, or they number the columns."""
    if not all(map(_is_number, fields)):
        return True
    for group in numbered(fields).values():
        if group.names == fields == [*map(str, group.numbers)]:
            return group.whole or (group.broken and len(fields) >= LEAST_UNNAMED)
    return False


# -- the columns of the vector ----------------------------------------------------------------------------------------


def _chosen(place: Place, source: TextRows, rows: list[Row]) -> list[str]:
    """Return the columns of the vector, by the rules of this module."""
    values = {name: [_value(source, row, name) for row in rows] for name in source.names}
    groups = {name: [name] for name, found in values.items() if any(map(_is_vector, found))}
    numeric = {name for name, found in values.items() if all(map(_is_number, found))}
    some = {name for name, found in values.items() if any(map(_is_number, found))}  # a wrong number is an error later
    numbers = numbered(name for name in source.names if name in some)
    groups |= {name: of.names for name, of in numbers.items() if of.whole and name not in groups}
    _require_whole(place, numbers, groups)
    others = [name for name in source.names if name not in numeric]
    plain = [name for name in source.names if name in numeric and not _names_ids(name)]
    if not groups and source.written and plain and all(map(_names_ids, others)):
        groups["all columns of numbers"] = plain
    kinds = {name: f"{len(of)} columns" if len(of) > 1 else "" for name, of in groups.items()}
    entries = {**{name: _called(found) for name, found in values.items()}, **kinds}
    name = chosen_entry(place, [*groups], entries)
    return groups.get(name, [name])


def _names_ids(name: str) -> bool:
    return name in ID_ENTRIES or says_ids(name) or is_name(name)


def _require_whole(place: Place, numbers: dict[str, Group], groups: dict[str, list[str]]) -> None:
    """Raise FormatError for numbered columns with a gap, unless another column or larger group is the vector."""
    most = max(map(len, groups.values()), default=0)
    clear = any(name in EMBEDDING_ENTRIES or len(of) == 1 for name, of in groups.items())
    for name, group in numbers.items():
        larger = group.broken and len(group.columns) > most
        if (larger and not clear) if place.entry is None else (name == place.entry and name not in groups):
            group.require_whole(place.file)


def _called(found: list[Any]) -> str:
    kinds = {type(value).__name__ for value in found if value is not None}
    return " or ".join(sorted(kinds)).replace("str", "text")


# -- the numbers of a row ---------------------------------------------------------------------------------------------


def _value(source: TextRows, row: Row, name: str) -> Any:
    return row[1][source.names.index(name)] if source.written else row[1].get(name)


def _reader(source: TextRows, names: list[str]) -> Callable[[Row], list[float]]:
    """Return a function that returns the numbers of a row. FormatError, with the line, if it has others."""
    keys: list[Any] = [source.names.index(name) for name in names] if source.written else names
    place = f"column {names[0]}" if len(names) == 1 else f"columns {names[0]} to {names[-1]}"

    def numbers(row: Row) -> list[float]:
        line, fields = row
        try:
            if len(keys) > 1:
                return as_numbers([fields[key] for key in keys])
            value = fields[keys[0]] if source.written else fields.get(keys[0])
            return vector_in(value) if isinstance(value, str) else as_numbers(value)
        except (ValueError, TypeError, KeyError, OverflowError) as error:
            got = error.args[0] if type(error) is ValueError else f"no value for {error}"
            raise FormatError(f"expected numbers in {place}, {got} in line {line}") from None

    return numbers


def vector_in(text: str) -> list[float]:
    """Return the numbers of a list in text. ValueError for anything else."""
    inside = text.strip()
    if inside[:1] + inside[-1:] in BRACKETS:
        inside = inside[1:-1].strip()
    return as_numbers(inside.split(",") if "," in inside else inside.split())


def as_numbers(values: Any) -> list[float]:
    """Return the numbers, or the strings that write numbers, in a list as floats. ValueError for anything else."""
    if not isinstance(values, list) or not values:
        raise ValueError(f"got {short_repr(values)}")
    kinds = set(map(type, values))
    if kinds == {str}:
        joined = "".join(values)
        plain = joined.isascii() and "_" not in joined  # Python's own numbers may have underscores
    else:
        plain = kinds <= {int, float}
    try:
        if plain:
            return [*map(float, values)]
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"got {short_repr(next(value for value in values if not _is_number(value)))}")


def _is_number(value: Any) -> bool:
    if isinstance(value, str):
        value = float(value) if _is_float(value) else None
    return type(value) is float or (type(value) is int and abs(value) < 2**1023)


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text.isascii() and "_" not in text


def _is_vector(value: Any) -> bool:
    """Return whether a value is a list of numbers, or text with more than one number or with brackets."""
    try:
        numbers = vector_in(value) if isinstance(value, str) else as_numbers(value)
    except ValueError:
        return False
    return len(numbers) > 1 or not isinstance(value, str) or value.strip()[:1] in ("[", "(", "{")


def _checked(numbers: list[float], d: int, row: Row) -> list[float]:
    if len(numbers) != d:
        raise ShapeError(f"expected {d} numbers as in the first row, got {len(numbers)} in line {row[0]}")
    return numbers


def dtype_of(numbers: Iterable[float]) -> Any:
    """Return float32 if it holds all these numbers, or all their digits, else float64."""
    return np.float32 if all(map(_is_single, numbers)) else np.float64


def _is_single(number: float) -> bool:
    """Return whether a float32 holds a number, or all its digits."""
    digits = re.sub(r"e.*|[-.]", "", repr(number)).strip("0")
    with np.errstate(over="ignore"):
        return len(digits) <= SINGLE_DIGITS or float(np.float32(number)) == number


# -- ids --------------------------------------------------------------------------------------------------------------


def _id_columns(place: Place, file: InputFile, source: TextRows, vector: list[str], n: int) -> IdColumns:
    inside = set(vector)
    others = [name for name in source.names if name not in inside]
    likely = [name for name in source.likely if place.ids is True and name not in inside]

    def read(column: str) -> NDArray[Any]:
        values, held = [], 0
        for block in source.blocks(column):
            values += block
            held += sum(len(value) for value in block if isinstance(value, str)) + 8 * len(block)
            require_unfolding(file.size, held, f"column {column}")
        if source.written:
            values = written_ids(values) if all(values) else [value or None for value in values]
        return as_ids(values, n, column, place.file)

    fixed = id_entry(place.file, place.ids, source.names)
    claims = that_say_ids(others) if place.ids is True else []
    return IdColumns(others, n, fixed, claims, likely, source.blocks, read, source.written)
