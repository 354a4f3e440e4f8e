"""Find the ids of the rows of a file among its columns: the rule, for all formats with several columns or arrays.

1. The column that the caller names.
2. The column called id, ids or _id (`choose_array.ID_ENTRIES`).
3. The first column whose name says that it holds ids (`says_ids`), such as ``product_id`` or ``SKU``.
4. A column of integers or strings that are all different, with a value in each row: the one called name, or the only
   one, if none is called name. Floats, booleans, dates and columns with nulls never qualify, and neither do strings of
   more than `LONGEST` characters under another name.

For 1 to 3, values that are no ids are an error: no other column is taken in place of one that says it holds ids.
In archives of arrays (NumPy, HDF5, safetensors), 3 needs an array with one value for each row, and only an array
called name qualifies for 4, because different integers there may number anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.errors import CompressaeError
from compressae_ref.item_ids import as_ids
from compressae_ref.item_values import NUMBER

LONGEST = 256
"""Characters of the longest string in a column that counts as ids by its content alone."""

_WORD = "id|key|sku|uuid|guid|asin|isbn|url|doi|code|handle|slug"
_BEFORE = (
    "item|product|user|doc|document|article|query|passage|image|video|movie|book|post|page|row|object|record|[gopqu]"
)
_SAYS_IDS = re.compile(rf"(?:.*[^a-z])?(?:{_WORD}|(?:{_BEFORE})id)s?", re.IGNORECASE)
_CAMEL_CASE = re.compile(rf".*[a-z](?=[A-Z])(?i:{_WORD})s?")
_NUMBER = re.compile(rf"\s*(?:{NUMBER.pattern}|nan|[+-]?inf(?:inity)?)\s*", re.IGNORECASE)
_WHOLE = re.compile(r"\s*[+-]?[0-9]+\s*")


class IdColumns(NamedTuple):
    """The columns beside the embeddings of a file, of which one may hold the ids of the rows."""

    names: list[str]
    """names of all columns but those of the embeddings"""
    n: int
    fixed: str | None
    """the column that the caller or its usual name determines"""
    claims: list[str]
    """columns whose names say that they hold ids, in the order of the file"""
    likely: list[str]
    """columns that may hold ids, as far as their types tell, in the order of the file"""
    blocks: Callable[[str], Iterator[Any]]
    """yields the values of such a column, some rows at a time"""
    read: Callable[[str], NDArray[Any] | None]
    """returns the ids in a column; CompressaeError for ids that `as_ids` refuses"""
    written: bool = False
    """whether numbers are strings, as in CSV"""

    @property
    def named(self) -> str | None:
        """The column that a name determines: given by the caller, usual, or one that says that it holds ids."""
        return next(iter(self.claims), None) if self.fixed is None else self.fixed

    def chosen(self) -> str | None:
        """Return the name of the column of ids, or None. Without a name that decides, columns are read."""
        if self.named is not None:
            return self.named
        candidates = [name for name in self.likely if is_name(name) or not called_name(self.names)]
        found = [*islice(filter(self._qualifies, candidates), 2)]
        return found[0] if len(found) == 1 else None

    def _qualifies(self, name: str) -> bool:
        named = is_name(name)
        return (named or self.n > 1) and are_ids(
            self.blocks(name), self.n, longest=None if named else LONGEST, written=self.written
        )


def says_ids(name: str) -> bool:
    """Return whether a name says that its column holds ids: ``product_id``, ``itemUuid``, ``URL``, not ``paid``."""
    return bool(_SAYS_IDS.fullmatch(name) or _CAMEL_CASE.fullmatch(name))


def is_name(name: str) -> bool:
    """Return whether a column is called name or names."""
    return name.lower() in ("name", "names")


def that_say_ids(names: Iterable[str]) -> list[str]:
    """Return the names that say that their columns hold ids."""
    return [name for name in names if says_ids(name)]


def called_name(names: Iterable[str]) -> list[str]:
    """Return the names of the arrays of an archive that may hold ids by their content."""
    return [name for name in names if is_name(name)]


def one_a_row(shape: tuple[int, ...], n: int) -> bool:
    """Return whether an array has one value for each of n rows, flat or in a column."""
    return shape in ((n,), (n, 1))


def may_be_ids(shape: tuple[int, ...], dtype: np.dtype[Any], n: int) -> bool:
    """Return whether an array may hold the ids of n rows: n integers or strings, flat or in a column."""
    return one_a_row(shape, n) and dtype.kind in "iuSUTO"


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
