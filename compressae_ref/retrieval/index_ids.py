"""The ids of an index: those given, or automatic integers that are used once."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Bools
from compressae_ref.checks import short_repr
from compressae_ref.errors import DomainError, DTypeError
from compressae_ref.item_ids import MAX_ID, as_ids, reject_repeated


class Ids:
    """The ids of rows, and which rows were removed. It never changes: `added`, `without` and `kept` return another.

    Any number of threads may read it, and one at a time may call these three.

    Parameters
    ----------
    values : ids of all rows, from `as_ids`
    next_number : the next automatic id; None: the highest id + 1
    alive : which rows were not removed; None: all
    rows : a dictionary like `rows` that the writer may change; None: it is made when it is needed
    """

    def __init__(
        self,
        values: NDArray[Any],
        next_number: int | None = None,
        alive: Bools | None = None,
        rows: dict[Any, int] | None = None,
    ) -> None:
        self.values = values
        self.next_number = next_number
        self.alive: Bools = np.ones(len(values), np.bool_) if alive is None else alive
        self._count = int(self.alive.sum())
        self._rows_of_writer = rows
        self._rows: dict[Any, int] | None = None
        self._ranks: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return self._count

    def __reduce__(self) -> Any:
        return Ids, (self.values, self.next_number, self.alive)

    @property
    def removed(self) -> int:
        """The number of removed rows."""
        return len(self.values) - self._count

    def added(self, ids: NDArray[Any] | None, n: int) -> Ids:
        """Append n rows with these ids. If ``ids`` is None, use the integers that follow the highest id ever used."""
        strings = self.values.dtype.kind == "O" and len(self.values) > 0
        new = np.array(automatic_ids(self._next(), n, strings=strings), np.int64) if ids is None else ids
        if n == 0:
            return self
        if len(self.values):
            require_kind(new, self.values.dtype)
        rows, items = self._writable_rows(), new.tolist()
        for item in items:
            if item in rows:
                raise DomainError(f"expected ids that are not in the index, got {short_repr(item)}", argument="ids")
        self._rows_of_writer = None
        rows.update(zip(items, range(len(self.values), len(self.values) + n), strict=True))
        return Ids(
            np.concatenate([self.values, new]) if len(self.values) else new.copy(),
            None if new.dtype.kind == "O" else max(self._next(), int(new.max()) + 1),
            np.concatenate([self.alive, np.ones(n, np.bool_)]),
            rows,
        )

    def without(self, ids: Any) -> Ids:
        """Remove ids. If an id is unknown or repeated, raise DomainError."""
        array = as_ids(ids)
        reject_repeated(array)
        items, rows = array.tolist(), self._writable_rows()
        if unknown := [item for item in items if item not in rows]:
            raise DomainError(f"expected ids of the index, got {short_repr(unknown[0])}", argument="ids")
        self._rows_of_writer, alive = None, self.alive.copy()
        alive[[rows.pop(item) for item in items]] = False
        return Ids(self.values, self._next() if self.values.dtype.kind == "i" else None, alive, rows)

    def kept(self) -> Ids:
        """Drop the removed rows and renumber the rest."""
        return Ids(self.values[self.alive], self.next_number)

    def mask(self, allowed: Any) -> Bools | None:
        """Return the mask of rows that a search may return, or None for all. Unknown ids in ``allowed`` are ignored."""
        if allowed is None:
            return self.alive if self.removed else None
        rows, mask = self.rows, np.zeros(len(self.values), np.bool_)
        mask[[rows[item] for item in as_ids(allowed, name="allowed").tolist() if item in rows]] = True
        return mask

    @property
    def rows(self) -> dict[Any, int]:
        """The row of each id that was not removed."""
        if self._rows is None:
            self._rows = self._find_rows()
        return self._rows

    def _writable_rows(self) -> dict[Any, int]:
        """Return `rows` for a writer, who changes them and passes them on: a copy at each `added` would be slow."""
        if self._rows_of_writer is None:
            self._rows_of_writer = self._find_rows()
        return self._rows_of_writer

    def _find_rows(self) -> dict[Any, int]:
        alive = np.flatnonzero(self.alive)
        return dict(zip(self.values[alive].tolist(), alive.tolist(), strict=True))

    @property
    def ranks(self) -> NDArray[np.int64]:
        """The rank of each row's id in ascending order. Strings are compared by code points."""
        if self._ranks is None:
            ranks = np.empty(len(self.values), np.int64)
            ranks[self._ascending()] = np.arange(len(self.values))
            self._ranks = ranks  # assigned when it is complete: other threads may read it
        return self._ranks

    def _ascending(self) -> Any:
        """Return the row numbers in ascending order of the ids."""
        if self.values.dtype.kind == "i":
            return np.argsort(self.values, kind="stable")
        items = self.values.tolist()
        return sorted(range(len(items)), key=items.__getitem__)  # faster than NumPy's sort of objects

    def _next(self) -> int:
        highest = -1 if self.values.dtype.kind == "O" else int(self.values.max(initial=-1))
        return highest + 1 if self.next_number is None else self.next_number


_KINDS = {"i": "integer", "O": "string"}


def require_kind(ids: NDArray[Any], dtype: np.dtype[Any]) -> None:
    """Raise DTypeError unless new ids are of the kind of those in an index: integers or strings."""
    if ids.dtype.kind != dtype.kind:
        raise DTypeError(
            f"expected {_KINDS[dtype.kind]} ids as in the index, got {_KINDS[ids.dtype.kind]} ids", argument="ids"
        )


def automatic_ids(first: int, n: int, *, strings: bool) -> range:
    """Return n consecutive ids for new items.

    Raises
    ------
    DTypeError, DomainError
        If the ids of the index are strings, or if an id would be above 2⁶³ − 1.
    """
    if n and strings:
        raise DTypeError(
            f"expected {n} string ids as in the index, got None",
            argument="ids",
            hint="pass ids: automatic ids are integers",
        )
    if first > MAX_ID - n:
        raise DomainError(
            f"expected automatic ids up to 2**63 - 1, got {n} items after id {first - 1}",
            argument="ids",
            hint="pass ids for these items",
        )
    return range(first, first + n)
