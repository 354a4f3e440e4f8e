"""Relevance pairs that a user brings: read, check and renumber them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import host_array
from compressae_ref.checks import as_integer, short_repr
from compressae_ref.errors import DomainError, DTypeError, ShapeError, naming_file
from compressae_ref.files.input_file import PathLike
from compressae_ref.files.written_pairs import read_pairs
from compressae_ref.item_ids import as_ids
from compressae_ref.row_source import NonzeroRows, RowSource

Relevance = dict[int, dict[int, int]]
"""For each query with a relevant item: the items with a grade above 0, and their grades."""


def as_pairs(pairs: Any, n_q: int, n: int, columns: tuple[str, str] = ("query", "item")) -> NDArray[np.int64]:
    """Return pairs (m, 2), or (m, 3) with grades, of row numbers below n_q and n, as (m, 3) with grades from 0.

    ``columns`` are the names of the two numbers in messages.

    Raises
    ------
    ShapeError, DTypeError, DomainError
        Naming the first bad row; also if a pair occurs twice, or if no item is relevant.
    """
    array = host_array(pairs, "relevance")
    if array.ndim != 2 or array.shape[1] not in (2, 3):
        raise ShapeError(
            f"expected columns {columns[0]}, {columns[1]} and perhaps grade, got shape {array.shape}",
            argument="relevance",
        )
    if array.dtype.kind not in "iu":
        raise DTypeError(f"expected integers, got {array.dtype}", argument="relevance")
    queries, items = array[:, 0].astype(np.int64), array[:, 1].astype(np.int64)
    grades = array[:, 2].astype(np.int64) if array.shape[1] == 3 else np.ones(len(array), np.int64)
    limits = zip((*columns, "grade"), (queries, items, grades), (n_q - 1, n - 1, 2**31 - 1), strict=True)
    for name, column, most in limits:
        bad = (column < 0) | (column > most)
        if bad.any():
            row = int(np.argmax(bad))
            raise DomainError(f"expected the {name} from 0 to {most}, got {column[row]}", argument="relevance", row=row)
    order = np.lexsort((items, queries))
    again = (np.diff(queries[order]) == 0) & (np.diff(items[order]) == 0)
    if again.any():
        row = int(order[1:][again].min())
        raise DomainError(
            f"expected each pair once, got {queries[row]} and {items[row]} again", argument="relevance", row=row
        )
    if not grades.any():
        raise DomainError("expected at least one pair with a grade above 0, got none", argument="relevance")
    return np.stack([queries, items, grades], axis=1)


def as_relevance(pairs: Any, n_q: int, n: int) -> Relevance:
    """Return the relevance of pairs, which `as_pairs` checks."""
    relevance: Relevance = {}
    for query, item, grade in as_pairs(pairs, n_q, n).tolist():
        if grade > 0:
            relevance.setdefault(query, {})[item] = grade
    return dict(sorted(relevance.items()))


def renumbered(relevance: Relevance, queries: RowSource, items: RowSource) -> Relevance:
    """Return relevance between the rows that are left of two sources; pairs of zero rows that are left out are ignored.

    Raises
    ------
    DomainError
        If no pair is left.
    """
    new_query, new_item = _new_numbers(queries), _new_numbers(items)
    left: Relevance = {}
    for query, grades in relevance.items():
        of_left_items = {new_item[item]: grade for item, grade in grades.items() if item in new_item}
        if query in new_query and of_left_items:
            left[new_query[query]] = of_left_items
    if not left:
        raise DomainError("expected a relevant pair of rows that are not zero, got none", argument="relevance")
    return left


def _new_numbers(source: RowSource) -> Mapping[int, int] | range:
    """Map the numbers of all rows to those of the rows that are left: a range maps each number to itself."""
    if not isinstance(source, NonzeroRows):
        return range(len(source))
    return {number: row for row, number in enumerate(source.numbers().tolist())}


def load_relevance(path: PathLike) -> NDArray[np.int64]:
    """Read pairs of row numbers (m, 3), with grades, from a file of any form that `written_pairs` knows.

    Raises
    ------
    CompressaeError
        Naming the file and the line.
    """
    written = read_pairs(path)
    with naming_file(path, "relevance"):
        return np.column_stack([written.required_rows(), np.array(written.counted, np.int64)])


def relevance_by_ids(pairs: Any, query_ids: Any, item_ids: Any, *, unknown: str = "error") -> NDArray[np.int64]:
    """Return pairs of ids as pairs of row numbers (m, 3) with grades, for `evaluate` and `fit`.

    Parameters
    ----------
    pairs : tuples of the id of a query, the id of an item, and optionally a grade (default 1)
    query_ids, item_ids : the ids of all rows, integers or strings; for `fit` both are the ids of its rows
    unknown : "error", or "ignore" to leave out pairs with ids that are not among these

    Raises
    ------
    CompressaeError
        If ids are refused by `item_ids.as_ids`, and if a pair is not one, has an unknown id or occurs twice, with its
        row. Also if no pair is left.
    """
    if unknown not in ("error", "ignore"):
        raise DomainError(f"expected 'error' or 'ignore', got {short_repr(unknown)}", argument="unknown")
    tables = [
        {item: row for row, item in enumerate(as_ids(ids, len(ids), name).tolist())}
        for ids, name in ((query_ids, "query_ids"), (item_ids, "item_ids"))
    ]
    found, seen = [], set()
    for row, pair in enumerate(pairs):
        ids, grade = _id_pair(pair, row)
        if ids in seen:
            raise DomainError(
                f"expected each pair once, got {ids[0]!r} and {ids[1]!r} again", argument="relevance", row=row
            )
        seen.add(ids)
        missing = [each for each, table in zip(ids, tables, strict=True) if each not in table]
        if not missing:
            found.append((tables[0][ids[0]], tables[1][ids[1]], grade))
        elif unknown == "error":
            hint = 'unknown="ignore" leaves such pairs out'
            got = f"got {short_repr(missing[0])}"
            raise DomainError(f"expected ids of the rows, {got}", argument="relevance", row=row, hint=hint)
    if not found:
        raise DomainError("expected at least one pair of known ids, got none", argument="relevance")
    return as_pairs(np.array(found, np.int64), len(tables[0]), len(tables[1]))


def _id_pair(pair: Any, row: int) -> tuple[tuple[Any, Any], int]:
    """Return the two ids and the grade of a pair."""
    values = () if isinstance(pair, (str, bytes)) or not hasattr(pair, "__iter__") else tuple(pair)
    if len(values) not in (2, 3):
        expected = "expected the id of a query, the id of an item and perhaps a grade"
        raise ShapeError(f"{expected}, got {short_repr(pair)}", argument="relevance", row=row)
    grade = as_integer(values[2], "grade", 0) if len(values) == 3 else 1
    query, item = (as_ids([value], name="relevance").item() for value in values[:2])
    return (query, item), grade
