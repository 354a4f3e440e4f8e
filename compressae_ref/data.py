"""Embeddings to read from: arrays, memory-mapped files, or anything with a length that gives slices of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.checks import as_embeddings
from compressae_ref.errors import DTypeError, ShapeError
from compressae_ref.mapped import map_rows

BLOCK_ROWS = 1024
"""Rows that are read at a time, and that stay neighbours until they are shuffled in the buffer."""

BUFFER_ROWS = 65_536
"""Rows that are shuffled with each other, or a batch if that is more."""


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


def as_source(x: Any, name: str = "x") -> RowSource:
    """``x`` itself where it can give slices of rows, else as an array; refused if it has no rows."""
    source = (
        x if hasattr(x, "__len__") and hasattr(x, "__getitem__") and not isinstance(x, (list, tuple)) else np.asarray(x)
    )
    if getattr(source, "ndim", 2) != 2:
        raise ShapeError(f"{name}: expected an array (n, d) of embeddings as rows, got shape {source.shape}")
    if len(source) == 0:
        raise ShapeError(f"{name}: expected at least one row, got none")
    kind = getattr(getattr(source, "dtype", None), "kind", "f")
    if kind != "f":
        raise DTypeError(f"{name}: expected float16, float32 or float64, got {source.dtype}")
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
        raise ShapeError(f"x: expected {expected} rows from row {start} of {len(source)}, got {len(block)}")
    return block


def check_rows(source: RowSource, **checks: Any) -> None:
    """Read everything once: a bad row is an error now, not when training comes to it, if it ever does (R3)."""
    for _ in read_blocks(source, STREAM_ROWS, **checks):
        pass


def read_rows(source: RowSource, rows: NDArray[np.int64], **checks: Any) -> Floats:
    """Checked rows by ascending number, read one by one: for a sample, not for the bulk."""
    return np.concatenate([as_embeddings(source[row : row + 1], first_row=row, **checks) for row in rows.tolist()])


def held_out_rows(n: int, n_held_out: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Numbers of rows kept for validation, ascending."""
    return np.sort(rng.choice(n, n_held_out, replace=False))


def shuffled_batches(
    source: RowSource,
    batch_size: int,
    rng: np.random.Generator,
    *,
    held_out: NDArray[np.int64],
    buffer_rows: int = BUFFER_ROWS,
    block_rows: int = BLOCK_ROWS,
    **checks: Any,
) -> Iterator[Floats]:
    """Batches without end, each of ``batch_size`` rows, without loading the source.

    In each epoch the source is read in blocks in random order. Blocks fill a buffer, a buffer is shuffled row by row,
    and batches are cut from the sequence of buffers; so every row comes once in an epoch, give or take a buffer. The
    same ``rng`` gives the same batches from any source.
    """
    size = max(batch_size, min(buffer_rows, len(source) - len(held_out)))
    blocks = _shuffled_blocks(source, rng, held_out, block_rows, checks)
    left: list[Floats] = []
    while True:
        n_left = sum(map(len, left))
        buffer = _next_buffer(left, blocks, n_left + size)
        order = np.concatenate([np.arange(n_left), n_left + rng.permutation(len(buffer) - n_left)])
        full = len(buffer) - len(buffer) % batch_size
        for start in range(0, full, batch_size):
            yield buffer[order[start : start + batch_size]]
        left = [buffer[order[full:]]]
        del buffer  # before the next one is filled: it may be most of the memory


def _next_buffer(left: list[Floats], blocks: Iterator[Floats], size: int) -> Floats:
    """What is left, and the next blocks: as many as make it ``size`` rows or more."""
    buffer = [*left]
    while sum(map(len, buffer)) < size:
        buffer.append(next(blocks))
    return np.concatenate(buffer)


def _shuffled_blocks(
    source: RowSource, rng: np.random.Generator, held_out: NDArray[np.int64], rows: int, checks: dict[str, Any]
) -> Iterator[Floats]:
    """Blocks of the source in random order, epoch after epoch, without the rows that are held out."""
    starts = np.arange(0, len(source), rows)
    while True:
        for start in rng.permutation(starts).tolist():
            block = read_block(source, start, rows, **checks)
            here = held_out[slice(*np.searchsorted(held_out, (start, start + rows)))] - start
            yield np.delete(block, here, axis=0) if len(here) else block


def read_all(source: RowSource, rows: int = STREAM_ROWS, **checks: Any) -> Floats:
    """The whole source as one checked array, read in blocks."""
    return np.concatenate(list(read_blocks(source, rows, **checks)))


@contextmanager
def spooled(source: Any, progress: Callable[[int, int], None] | None = None) -> Iterator[Any]:
    """The source itself or, where it is sequential, a copy in a temporary file, which can be read in any order."""
    if not getattr(source, "sequential", False):
        yield source
        return
    with TemporaryFile() as file:
        n = 0
        for start in range(0, len(source), STREAM_ROWS):
            block = source[start : start + STREAM_ROWS]
            if len(block) == 0:  # there are fewer than was said
                break
            file.write(np.ascontiguousarray(block, source.dtype).data)
            n += len(block)
            if progress is not None:
                progress(n, len(source))
        file.flush()
        yield map_rows(file, source.dtype, (n, source.shape[1]), 0)
