"""Read embeddings in blocks from arrays, memory-mapped files, or any object with a length and slices of rows."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Bools, Floats, host_array, require_array
from compressae_ref.checks import all_zero, as_embeddings, check_floats, checked_rows, no_rows, not_rows
from compressae_ref.errors import CompressaeError, ShapeError

BLOCK_ROWS = 1024
"""Rows per read in training. They stay adjacent until the shuffle buffer mixes them."""

STREAM_ROWS = 8 * BLOCK_ROWS
"""Rows per read when a whole source is read in order."""


class RowSource(Protocol):
    """A source of embeddings: ``source[start:stop]`` is a float array (stop − start, d)."""

    def __len__(self) -> int:
        """Return the number of rows."""

    def __getitem__(self, rows: slice, /) -> Any:
        """Return consecutive rows as an array."""


class Head:
    """The first n rows of a source, as a source."""

    def __init__(self, source: RowSource, n: int) -> None:
        self._source, self._n = source, n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, rows: slice) -> Any:
        start, stop, _ = rows.indices(self._n)
        return self._source[start:stop]


class NonzeroRows:
    """A source without its zero rows, as if they had been deleted before: what "skip" reads (`checks.ZeroRows`).

    One pass finds the zero rows and checks the others. Only the numbers of the zero rows are held in memory.

    Parameters
    ----------
    source : rows to read
    empty : whether it may be that no row is left
    checks : as in `checks.as_embeddings`

    Raises
    ------
    ShapeError, DTypeError, DomainError
        For a row that is not finite, with its number in ``source``. Also if all rows are zero, unless ``empty``.
    """

    ndim = 2

    def __init__(self, source: RowSource, *, empty: bool = False, **checks: Any) -> None:
        self.source, zero, n, first = source, _zero_rows(source, checks), len(source), np.asarray(source[0:1])
        if len(zero) == n > 0 and not empty:
            raise all_zero(n, argument=checks.get("name", "x"))
        self.skipped: int = len(zero)
        """number of zero rows that are left out"""
        self.shape, self.dtype = (n - len(zero), first.shape[1]), first.dtype
        self.sequential = getattr(source, "sequential", False)
        self._left_before = zero - np.arange(len(zero))  # for each zero row, how many rows before it are left

    def __len__(self) -> int:
        return self.shape[0]

    def numbers(self, start: int = 0, stop: int | None = None) -> NDArray[np.int64]:
        """Return the row numbers in the source of the rows from ``start`` to ``stop``, ascending."""
        return self.numbers_of(np.arange(start, len(self) if stop is None else min(stop, len(self)), dtype=np.int64))

    def numbers_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the row numbers in the source of some rows."""
        return rows + np.searchsorted(self._left_before, rows, side="right")

    def __getitem__(self, rows: slice) -> Any:
        start, stop, _ = rows.indices(len(self))
        numbers, parts = self.numbers(start, stop), []
        while len(numbers):  # a gap of any length is not read, or read in bounded memory
            first, n = int(numbers[0]), int(np.searchsorted(numbers, numbers[0] + STREAM_ROWS))
            inside, numbers = numbers[:n] - first, numbers[n:]
            block = np.asarray(self.source[first : first + int(inside[-1]) + 1])
            parts.append(block if len(block) == n else block[inside[inside < len(block)]])
        return parts[0] if len(parts) == 1 else np.concatenate(parts or [np.empty((0, self.shape[1]), self.dtype)])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[0 : len(self)], dtype)


def nonzero_rows(x: RowSource) -> NDArray[np.int64]:
    """Return the numbers of the rows that ``zero_rows="skip"`` keeps, ascending.

    The codes and hits of "skip" belong to these rows: ``ids[nonzero_rows(x)]`` are their ids.
    """
    return NonzeroRows(as_source(x, empty=True), empty=True).numbers()


def row_numbers(source: RowSource) -> list[int]:
    """Return the numbers of the rows of a source in what it was made from: with "skip", zero rows count."""
    return source.numbers().tolist() if isinstance(source, NonzeroRows) else [*range(len(source))]


def _zero_rows(source: RowSource, checks: dict[str, Any]) -> NDArray[np.int64]:
    """Read a whole source; return the numbers of its zero rows."""
    found = [np.empty(0, np.int64)]
    for start in range(0, len(source), STREAM_ROWS):
        _, zero = read_block(source, start, STREAM_ROWS, **{**checks, "zeros": True})
        found.append(start + np.flatnonzero(zero))
    return np.concatenate(found)


def count_rows(x: Any) -> int:
    """The number of rows of what is to be opened as a source, or 0 where it has none and will be refused."""
    shape = getattr(x, "shape", None)  # a sparse matrix has no len()
    return len(x) if shape is None and hasattr(x, "__len__") else math.prod((shape or (0,))[:1])


def as_source(x: Any, name: str = "x", *, empty: bool = False) -> RowSource:
    """Return ``x`` as a source of rows: unchanged if it can be sliced, otherwise as an array.

    Parameters
    ----------
    x : (n, d) floats
    name : the argument's name, for messages
    empty : if True, allow a source without rows

    Raises
    ------
    ShapeError, DTypeError
        If ``x`` is not two-dimensional, has no rows, or does not hold floats.
    """
    require_array(x, name)
    sliced = hasattr(x, "__len__") and hasattr(x, "__getitem__") and not isinstance(x, (list, tuple))
    source = x if sliced else host_array(x, name)
    shape = getattr(source, "shape", (0, 1))
    if len(shape) != 2 or shape[1] == 0:
        raise not_rows(shape, name)
    if len(source) == 0 and not empty:
        raise no_rows(argument=name)
    if hasattr(dtype := getattr(source, "dtype", None), "kind"):
        check_floats(dtype, name)
    return source


def read_blocks(source: RowSource, rows: int, **checks: Any) -> Iterator[Floats]:
    """Yield blocks of rows in order, each checked by `checks.as_embeddings`."""
    for start in range(0, len(source), rows):
        yield read_block(source, start, rows, **checks)[0]


def read_block(source: RowSource, start: int, rows: int, **checks: Any) -> tuple[Floats, Bools]:
    """Read and check up to ``rows`` rows from ``start``; return them, and which are zero.

    ShapeError if the source returns another number of rows.
    """
    block, zero = checked_rows(source[start : start + rows], first_row=start, **checks)
    expected = min(rows, len(source) - start)
    if len(block) != expected:
        raise ShapeError(
            f"expected {expected} rows from row {start} of {len(source)}, got {len(block)}",
            argument=checks.get("name", "x"),
        )
    return block, zero


def check_rows(source: RowSource, **checks: Any) -> None:
    """Read the whole source once, so that invalid rows are found before training starts (R3)."""
    for _ in read_blocks(source, STREAM_ROWS, **checks):
        pass


def read_rows(source: RowSource, rows: NDArray[np.int64], **checks: Any) -> Floats:
    """Read and check single rows, given in ascending order. Only adjacent rows are read at once.

    All rows are checked at once, too. If they are bad, one after the other is checked, so that the error names the row.
    """
    try:
        block = as_embeddings(_unchecked_rows(source, rows, checks.get("name", "x")), **checks)
        if len(block) == len(rows):
            return block
    except CompressaeError:
        pass
    return np.concatenate([read_block(source, row, 1, **checks)[0] for row in rows.tolist()])


def _unchecked_rows(source: RowSource, rows: NDArray[np.int64], name: str) -> NDArray[Any]:
    if isinstance(source, NonzeroRows):  # its own slices look for gaps, which takes longer than the read
        return _unchecked_rows(source.source, source.numbers_of(rows), name)
    runs = np.split(rows, np.flatnonzero(np.diff(rows) != 1) + 1)
    return np.concatenate([host_array(source[int(run[0]) : int(run[-1]) + 1], name) for run in runs])


def read_all(source: RowSource, rows: int = STREAM_ROWS, **checks: Any) -> Floats:
    """Read the whole source into one checked array."""
    return np.concatenate(list(read_blocks(source, rows, **checks)))
