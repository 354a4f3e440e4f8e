"""Read embeddings in blocks from arrays, memory-mapped files, or any object with a length and slices of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Bools, Floats, host_array, require_array
from compressae_ref.checks import as_embeddings, check_floats, checked_rows, no_rows, not_rows
from compressae_ref.errors import ShapeError

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
    if len(getattr(source, "shape", (0, 0))) != 2:
        raise not_rows(source.shape, name)
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
    """Read and check single rows, given in ascending order. Rows are read one by one: use this for small samples."""
    return np.concatenate([as_embeddings(source[row : row + 1], first_row=row, **checks) for row in rows.tolist()])


def read_all(source: RowSource, rows: int = STREAM_ROWS, **checks: Any) -> Floats:
    """Read the whole source into one checked array."""
    return np.concatenate(list(read_blocks(source, rows, **checks)))
