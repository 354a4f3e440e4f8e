"""Ids of items: integers or strings from the caller, or automatic integers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Bools
from compressae_ref.checks import short_repr
from compressae_ref.errors import DomainError, DTypeError, ShapeError

MAX_ID = 2**63 - 1
"""The largest integer id: ids are stored as int64."""


def as_ids(ids: Any, name: str = "ids") -> NDArray[Any]:
    """Return ids as a one-dimensional array of int64 or of strings.

    Raises
    ------
    ShapeError
        If ``ids`` is not one-dimensional.
    DTypeError
        If ``ids`` are neither all integers of 64 bits nor all strings.
    """
    sequence = ids if isinstance(ids, np.ndarray) else list(ids) if isinstance(ids, Iterable) else ids
    array = np.asarray(sequence, np.int64 if isinstance(sequence, list) and not sequence else None)
    if array.ndim != 1 or isinstance(ids, str):
        raise ShapeError(f"expected a flat array or list of ids, got {_described(array, ids)}", argument=name)
    # NumPy turns a list of integers and strings into strings, so the items of a list are checked one by one
    strings = array.dtype.kind == "U" and (sequence is array or all(isinstance(item, str) for item in sequence))
    integers = array.dtype.kind == "i" or (array.dtype.kind == "u" and array.max(initial=0) <= MAX_ID)
    if not (strings or integers):
        raise DTypeError(f"expected 64-bit integers or strings, got {array.dtype}: {short_repr(ids)}", argument=name)
    return array if strings else array.astype(np.int64)


def _described(array: NDArray[Any], ids: Any) -> str:
    return f"{array.dtype} of shape {array.shape}" if array.ndim > 1 else short_repr(ids)


class Ids:
    """The ids of rows, and which rows were removed. Rows keep their numbers until `forget_removed`."""

    def __init__(self, ids: NDArray[Any], next_number: int | None = None) -> None:
        self.values = ids
        self.alive: Bools = np.ones(len(ids), np.bool_)
        self.removed = 0
        self.next_number = next_number
        """the next automatic id; None: the highest id + 1"""
        self._rows: dict[Any, int] | None = None
        self._ranks: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.values) - self.removed

    def add(self, ids: NDArray[Any] | None, n: int) -> None:
        """Append n rows with these ids. If ``ids`` is None, use the integers that follow the highest id ever used."""
        new = self._numbers(n) if ids is None else ids
        if len(new) != n:
            raise ShapeError(f"expected {n} ids, one for each item, got {len(new)}", argument="ids")
        if n == 0:
            return
        if len(self.values) and new.dtype.kind != self.values.dtype.kind:
            raise DTypeError(
                f"expected {_KINDS[self.values.dtype.kind]} ids as in the index, got {_KINDS[new.dtype.kind]} ids",
                argument="ids",
            )
        rows, items = self.rows, new.tolist()
        for item in items:
            if item in rows:
                raise DomainError(f"expected ids that are not in the index, got {short_repr(item)}", argument="ids")
        reject_repeated(items)
        rows.update(zip(items, range(len(self.values), len(self.values) + n), strict=True))
        self.next_number = None if new.dtype.kind == "U" else max(self._next(), int(new.max(initial=-1)) + 1)
        self.values = np.concatenate([self.values, new]) if len(self.values) else new
        self.alive, self._ranks = np.concatenate([self.alive, np.ones(n, np.bool_)]), None

    def remove(self, ids: Any) -> None:
        """Remove ids. If an id is unknown or repeated, raise DomainError and remove nothing."""
        items = as_ids(ids).tolist()
        reject_repeated(items)
        rows = self.rows
        if unknown := [item for item in items if item not in rows]:
            raise DomainError(f"expected ids of the index, got {short_repr(unknown[0])}", argument="ids")
        next_number = self._next() if self.values.dtype.kind == "i" else None
        self.alive[[rows.pop(item) for item in items]] = False
        self.removed += len(items)
        self.next_number = next_number

    def forget_removed(self) -> Bools:
        """Drop the removed rows and renumber the rest. Return the mask of old rows that remain."""
        alive = self.alive
        self.values, self.alive, self.removed = self.values[alive], np.ones(len(self), np.bool_), 0
        self._rows = self._ranks = None
        return alive

    def mask(self, allowed: Any) -> Bools | None:
        """Return the mask of rows that a search may return, or None for all. Unknown ids in ``allowed`` are ignored."""
        if allowed is None:
            return self.alive if self.removed else None
        rows, mask = self.rows, np.zeros(len(self.values), np.bool_)
        mask[[rows[item] for item in as_ids(allowed, "allowed").tolist() if item in rows]] = True
        return mask

    @property
    def rows(self) -> dict[Any, int]:
        """The row of each id that was not removed."""
        if self._rows is None:
            alive = np.flatnonzero(self.alive)
            self._rows = dict(zip(self.values[alive].tolist(), alive.tolist(), strict=True))
        return self._rows

    @property
    def ranks(self) -> NDArray[np.int64]:
        """The rank of each row's id in ascending order. Strings are compared by code points."""
        if self._ranks is None:
            self._ranks = np.empty(len(self.values), np.int64)
            self._ranks[np.argsort(self.values, kind="stable")] = np.arange(len(self.values))
        return self._ranks

    def _numbers(self, n: int) -> NDArray[np.int64]:
        if n and self.values.dtype.kind == "U" and len(self.values):
            raise DTypeError(
                f"expected {n} string ids as in the index, got None",
                argument="ids",
                hint="pass ids: automatic ids are integers",
            )
        first = self._next()
        if first > MAX_ID - n:
            raise DomainError(
                f"expected automatic ids up to 2**63 - 1, got {n} items after id {first - 1}",
                argument="ids",
                hint="pass ids for these items",
            )
        return np.arange(first, first + n, dtype=np.int64)

    def _next(self) -> int:
        highest = -1 if self.values.dtype.kind == "U" else int(self.values.max(initial=-1))
        return highest + 1 if self.next_number is None else self.next_number


def reject_repeated(ids: list[Any]) -> None:
    """Raise DomainError for the first id that repeats an earlier one."""
    if len(set(ids)) < len(ids):
        seen: set[Any] = set()
        repeated = next(item for item in ids if item in seen or seen.add(item))  # type: ignore[func-returns-value]
        raise DomainError(f"expected unique ids, got {short_repr(repeated)} twice", argument="ids")


_KINDS = {"i": "integer", "U": "string"}
