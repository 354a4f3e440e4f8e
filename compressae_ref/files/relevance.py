"""Relevance pairs that a user brings: read, check and renumber them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import host_array
from compressae_ref.errors import DomainError, DTypeError, FormatError, ShapeError
from compressae_ref.files.foreign.embeddings import npy_in_file
from compressae_ref.files.input_file import InputFile, PathLike
from compressae_ref.files.npz import reading
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
    """Read pairs from a .npy file of integers, or from a text file with query, item and optional grade in each line.

    Raises
    ------
    FormatError
        Naming the file and the line.
    """
    if Path(path).suffix == ".npy":
        with reading(path, "an array of integers (.npy)"):
            return np.asarray(npy_in_file(InputFile(path)))
    rows: list[list[int]] = []
    for number, line in enumerate(Path(path).read_bytes().splitlines(), 1):
        row = line.split()
        if row and (len(row) not in (2, 3) or len(row) != len(rows[0] if rows else row) or not _are_integers(row)):
            shown = line[:40].decode("utf-8", "replace")
            raise FormatError(
                f"expected two or three integers as in the first line, got {shown!r} in line {number}", path=path
            )
        if row:
            rows.append([int(word) for word in row])
    return np.array(rows, np.int64).reshape(len(rows), -1 if rows else 2)


def _are_integers(words: list[bytes]) -> bool:
    return all(word.isdigit() and len(word) < 19 for word in words)
