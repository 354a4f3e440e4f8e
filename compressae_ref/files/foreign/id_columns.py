"""Find the ids of the rows of a file among its columns: the rule, for all formats with several columns or arrays.

1. The column that the caller names.
2. The column called id, ids or _id (`choose_array.ID_ENTRIES`).
3. A column of integers or strings that are all different, with a value in each row. If there are several, one whose
   name is like that of ids (`like_id`), and of those the first one of the file. Floats, booleans, dates and columns
   with nulls never qualify, and neither do strings of more than `LONGEST` characters under another name.

In archives of arrays (NumPy, HDF5, safetensors) only names like those of ids qualify for 3, because an array of
different integers there may number anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import takewhile
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.errors import CompressaeError
from compressae_ref.item_ids import as_ids
from compressae_ref.item_values import NUMBER

LONGEST = 256
"""Characters of the longest string in a column that counts as ids by its content alone."""

_LIKE_ID = re.compile(r"(?:id|key|sku|uuid|guid|asin|isbn|url|doi|code|handle|slug)s?$", re.IGNORECASE)
_NUMBER = re.compile(rf"\s*(?:{NUMBER.pattern}|nan|[+-]?inf(?:inity)?)\s*", re.IGNORECASE)
_WHOLE = re.compile(r"\s*[+-]?[0-9]+\s*")


class IdColumns(NamedTuple):
    """The columns beside the embeddings of a file, of which one may hold the ids of the rows."""

    names: list[str]
    """names of all columns but those of the embeddings"""
    n: int
    fixed: str | None
    """the column that the caller or its usual name determines"""
    likely: list[str]
    """columns that may hold ids, as far as their types tell, in the order of the file"""
    blocks: Callable[[str], Iterator[Any]]
    """yields the values of such a column, some rows at a time"""
    read: Callable[[str], NDArray[Any] | None]
    """returns the ids in a column; CompressaeError for ids that `as_ids` refuses"""
    written: bool = False
    """whether numbers are strings, as in CSV"""

    def chosen(self) -> str | None:
        """Return the name of the column of ids, or None. Columns are read until one qualifies."""
        if self.fixed is not None:
            return self.fixed
        likely = sorted(self.likely, key=like_id)
        return next((name for name in likely if self._qualifies(name)), None)

    def passed_over(self, chosen: str | None) -> list[str]:
        """Say why columns with names like those of ids were not chosen, though they come first."""
        if self.fixed is not None:
            return []
        first = takewhile(lambda name: name != chosen, sorted(self.names, key=like_id))
        return [f"{name} {self._fault(name)}" for name in named_like_ids(first)]

    def _fault(self, name: str) -> str:
        rows = first_repeat(self.blocks(name), written=self.written) if name in self.likely else None
        if rows is None:
            return "does not have an integer or string in each row"
        return f"has duplicates (row {rows[1]} repeats row {rows[0]})"

    def _qualifies(self, name: str) -> bool:
        named = like_id(name) < OTHER
        return (named or self.n > 1) and are_ids(
            self.blocks(name), self.n, longest=None if named else LONGEST, written=self.written
        )


OTHER = 2


def like_id(name: str) -> int:
    """Return how much a name is like that of ids: 0 for ``product_id`` or ``URL``, 1 for ``name``, otherwise 2."""
    if _LIKE_ID.search(name):
        return 0
    return 1 if name.lower() in ("name", "names") else OTHER


def named_like_ids(names: Iterable[str]) -> list[str]:
    """Return the names that are like those of ids."""
    return [name for name in names if like_id(name) < OTHER]


def may_be_ids(shape: tuple[int, ...], dtype: np.dtype[Any], n: int) -> bool:
    """Return whether an array may hold the ids of n rows: n integers or strings, flat or in a column."""
    return shape in ((n,), (n, 1)) and dtype.kind in "iuSUTO"


def are_ids(blocks: Iterable[Any], n: int, *, longest: int | None = None, written: bool = False) -> bool:
    """Return whether values are n different integers, or n different strings.

    Memory is 8 bytes a value: of strings only the hash is held. Two different strings may have one hash, so a column
    may be missed (less than once in a million files of a million rows), but repeated ids are never accepted.

    Parameters
    ----------
    longest : characters of the longest string that is accepted; None: no limit
    written : whether the values are fields of a text file: "" is null, and numbers that are no integers are no ids
    """
    numbers, kinds = _Distinct(), set[str]()
    numeric = whole = written
    for block in blocks:
        try:
            ids = as_ids(block)
        except CompressaeError:
            return False
        kinds.add(ids.dtype.kind)
        if ids.dtype.kind == "O":
            if (longest is not None and max(map(len, ids), default=0) > longest) or (written and "" in ids):
                return False
            numeric = numeric and all(map(_NUMBER.fullmatch, ids))
            whole = whole and all(map(_WHOLE.fullmatch, ids))
        if len(ids) and not numbers.add(_hashed(ids)):
            return False
    return numbers.n == n and len(kinds) <= 1 and (whole or not numeric) and numbers.all_differ()


def first_repeat(blocks: Iterable[Any], *, written: bool = False) -> tuple[int, int] | None:
    """Return the rows (earlier, later) of the first id that repeats an earlier one; None if another value comes first.

    Parameters
    ----------
    written : as in `are_ids`
    """
    numbers, hashes = _Distinct(), list[NDArray[np.int64]]()
    for block in blocks:
        try:
            ids = as_ids(block)
        except CompressaeError:
            break
        if written and ids.dtype.kind == "O" and "" in ids:
            break
        hashes.append(_hashed(ids))
        if len(ids) and not numbers.add(hashes[-1]):
            break
    together = np.concatenate(hashes or [np.empty(0, np.int64)])
    order = np.argsort(together, kind="stable")
    same = np.flatnonzero(together[order[1:]] == together[order[:-1]])
    if len(same) == 0:
        return None
    place = same[np.argmin(order[same + 1])]
    return int(order[place]), int(order[place + 1])


def _hashed(ids: NDArray[Any]) -> NDArray[np.int64]:
    return np.fromiter(map(hash, ids), np.int64, len(ids)) if ids.dtype.kind == "O" else ids


class _Distinct:
    """Numbers that are added in blocks, as long as they differ. They are sorted each time there are twice as many."""

    def __init__(self) -> None:
        self.n, self._sorted_n, self._blocks = 0, 0, list[NDArray[np.int64]]()

    def add(self, block: NDArray[np.int64]) -> bool:
        """Add numbers. Return False if a number is known to repeat."""
        self._blocks.append(block)
        self.n += len(block)
        return self.n < 2 * self._sorted_n or self.all_differ()

    def all_differ(self) -> bool:
        """Return whether all numbers differ."""
        ascending = np.sort(np.concatenate(self._blocks or [np.empty(0, np.int64)]))
        self._blocks, self._sorted_n = [ascending], self.n
        return not (ascending[1:] == ascending[:-1]).any()
