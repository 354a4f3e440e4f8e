"""Embeddings to read from: arrays, memory-mapped files, or anything with a length that gives slices of rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.checks import as_embeddings
from compressae_ref.errors import DTypeError, ShapeError

BLOCK_ROWS = 1024
"""Rows that are read at a time, and that stay neighbours until they are shuffled in the buffer."""

STREAM_ROWS = 8 * BLOCK_ROWS
"""Rows that are read at a time from the first to the last."""


class RowSource(Protocol):
    """What training and encoding read: ``source[start:stop]`` is an array (stop − start, d) of floats."""

    def __len__(self) -> int:
        """Number of rows."""

    def __getitem__(self, rows: slice, /) -> Any:
        """Some consecutive rows."""


class Head:
    """The first rows of a source."""

    ndim = 2

    def __init__(self, source: RowSource, n: int) -> None:
        self._source, self._n = source, n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, rows: slice) -> Any:
        start, stop, _ = rows.indices(self._n)
        return self._source[start:stop]


def as_source(x: Any, name: str = "x", *, empty: bool = False) -> RowSource:
    """``x`` itself if it returns slices of rows, else as an array. Without rows it is refused, unless ``empty``."""
    source = (
        x if hasattr(x, "__len__") and hasattr(x, "__getitem__") and not isinstance(x, (list, tuple)) else np.asarray(x)
    )
    if getattr(source, "ndim", 2) != 2:
        raise ShapeError(f"expected an array (n, d) of embeddings as rows, got shape {source.shape}", argument=name)
    if len(source) == 0 and not empty:
        raise ShapeError("expected at least one row, got none", argument=name)
    kind = getattr(getattr(source, "dtype", None), "kind", "f")
    if kind != "f":
        raise DTypeError(f"expected float16, float32 or float64, got {source.dtype}", argument=name)
    return source


def read_blocks(source: RowSource, rows: int, **checks: Any) -> Iterator[Floats]:
    """Checked blocks of rows in order (`checks.as_embeddings`)."""
    for start in range(0, len(source), rows):
        yield read_block(source, start, rows, **checks)


def read_block(source: RowSource, start: int, rows: int, **checks: Any) -> Floats:
    """Checked rows from ``start``, ``rows`` of them or as many as there are; ShapeError for another number."""
    block = as_embeddings(source[start : start + rows], first_row=start, **checks)
    expected = min(rows, len(source) - start)
    if len(block) != expected:
        raise ShapeError(
            f"expected {expected} rows from row {start} of {len(source)}, got {len(block)}",
            argument=checks.get("name", "x"),
        )
    return block


def check_rows(source: RowSource, **checks: Any) -> None:
    """Read everything once: a bad row is an error now, not when training comes to it, if it ever does (R3)."""
    for _ in read_blocks(source, STREAM_ROWS, **checks):
        pass


def read_rows(source: RowSource, rows: NDArray[np.int64], **checks: Any) -> Floats:
    """Checked rows by ascending number, read one by one: for a sample, not for the bulk."""
    return np.concatenate([as_embeddings(source[row : row + 1], first_row=row, **checks) for row in rows.tolist()])


def read_all(source: RowSource, rows: int = STREAM_ROWS, **checks: Any) -> Floats:
    """The whole source as one checked array, read in blocks."""
    return np.concatenate(list(read_blocks(source, rows, **checks)))
