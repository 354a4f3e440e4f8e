"""What items are called: row numbers, or whole numbers or texts of the caller's own."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Bools
from compressae_ref.checks import short_repr
from compressae_ref.errors import DomainError, DTypeError, ShapeError

MOST = 2**63 - 1


def as_ids(ids: Any, name: str = "ids") -> NDArray[Any]:
    """Ids as an array of int64 or of texts.

    Raises
    ------
    ShapeError, DTypeError
        For what is no list, and for what is neither all whole numbers of 64 bits nor all texts.
    """
    listed = ids if isinstance(ids, np.ndarray) else list(ids) if isinstance(ids, Iterable) else ids
    array = np.asarray(listed, np.int64 if isinstance(listed, list) and not listed else None)
    if array.ndim != 1 or isinstance(ids, str):
        raise ShapeError(f"expected a list of ids, got {short_repr(ids)}", argument=name)
    texts = array.dtype.kind == "U" and (listed is array or all(isinstance(each, str) for each in listed))
    whole = array.dtype.kind == "i" or (array.dtype.kind == "u" and array.max(initial=0) <= MOST)
    if not (texts or whole):
        raise DTypeError(f"expected 64-bit integers or strings, got {array.dtype}: {short_repr(ids)}", argument=name)
    return array if texts else array.astype(np.int64)


class Ids:
    """The ids of rows that only grow in number, and which of them are still there."""

    def __init__(self, ids: NDArray[Any], next_number: int | None = None) -> None:
        self.values = ids
        self.alive: Bools = np.ones(len(ids), np.bool_)
        self.removed = 0
        self.next_number = next_number
        """What the next item is called that comes without an id; None: the number after the highest"""
        self._rows: dict[Any, int] | None = None
        self._ranks: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.values) - self.removed

    def add(self, ids: NDArray[Any] | None, n: int) -> None:
        """Ids for n more rows; without any, the numbers that follow the highest that there ever was."""
        new = self._numbers(n) if ids is None else ids
        if len(new) != n:
            raise ShapeError(f"expected one for each of {n} items, got {len(new)}", argument="ids")
        if n == 0:
            return
        if len(self.values) and new.dtype.kind != self.values.dtype.kind:
            raise DTypeError(
                f"expected {_KINDS[self.values.dtype.kind]} as before, got {_KINDS[new.dtype.kind]}", argument="ids"
            )
        rows, listed = self.rows, new.tolist()
        for each in listed:
            if each in rows:
                raise DomainError(f"expected ids that are not in the index, got {short_repr(each)}", argument="ids")
        reject_repeated(listed)
        rows.update(zip(listed, range(len(self.values), len(self.values) + n), strict=True))
        self.next_number = None if new.dtype.kind == "U" else max(self._next(), int(new.max(initial=-1)) + 1)
        self.values = np.concatenate([self.values, new]) if len(self.values) else new
        self.alive, self._ranks = np.concatenate([self.alive, np.ones(n, np.bool_)]), None

    def remove(self, ids: Any) -> None:
        """Take ids away; if one of them is not there, or is there twice, nothing is."""
        listed = as_ids(ids).tolist()
        reject_repeated(listed)
        rows = self.rows
        if unknown := [each for each in listed if each not in rows]:
            raise DomainError(f"expected ids of the index, got {short_repr(unknown[0])}", argument="ids")
        next_number = self._next() if self.values.dtype.kind == "i" else None
        self.alive[[rows.pop(each) for each in listed]] = False
        self.removed += len(listed)
        self.next_number = next_number

    def forget_removed(self) -> Bools:
        """Number the rows anew, without those that were removed. Returns which of the old ones are still there."""
        alive = self.alive
        self.values, self.alive, self.removed = self.values[alive], np.ones(len(self), np.bool_), 0
        self._rows = self._ranks = None
        return alive

    def mask(self, allowed: Any) -> Bools | None:
        """Which rows may be found: those that are there and, where ids are given, have one of them; None: all."""
        if allowed is None:
            return self.alive if self.removed else None
        rows, mask = self.rows, np.zeros(len(self.values), np.bool_)
        mask[[rows[each] for each in as_ids(allowed, "allowed").tolist() if each in rows]] = True
        return mask

    @property
    def rows(self) -> dict[Any, int]:
        """The row of each id that is there."""
        if self._rows is None:
            there = np.flatnonzero(self.alive)
            self._rows = dict(zip(self.values[there].tolist(), there.tolist(), strict=True))
        return self._rows

    @property
    def ranks(self) -> NDArray[np.int64]:
        """The place of each row's id in their order: numbers by size, texts by the code points of their characters."""
        if self._ranks is None:
            self._ranks = np.empty(len(self.values), np.int64)
            self._ranks[np.argsort(self.values, kind="stable")] = np.arange(len(self.values))
        return self._ranks

    def _numbers(self, n: int) -> NDArray[np.int64]:
        if n and self.values.dtype.kind == "U" and len(self.values):
            raise DTypeError("expected texts as before, got none", argument="ids")
        first = self._next()
        if first > MOST - n:
            raise DomainError(f"expected ids for items that follow the number {first - 1}, got none", argument="ids")
        return np.arange(first, first + n, dtype=np.int64)

    def _next(self) -> int:
        highest = -1 if self.values.dtype.kind == "U" else int(self.values.max(initial=-1))
        return highest + 1 if self.next_number is None else self.next_number


def reject_repeated(ids: list[Any]) -> None:
    """Raise for the first id that is there twice."""
    if len(set(ids)) < len(ids):
        seen: set[Any] = set()
        again = next(each for each in ids if each in seen or seen.add(each))  # type: ignore[func-returns-value]
        raise DomainError(f"expected ids that are all different, got {short_repr(again)} twice", argument="ids")


_KINDS = {"i": "numbers", "U": "texts"}
