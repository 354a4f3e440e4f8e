"""Shuffled batches from a source of rows, without loading it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.row_source import BLOCK_ROWS, RowSource, read_block
from compressae_ref.unit_blocks import HostRows, Rows

BUFFER_ROWS = 65_536
"""Rows that are shuffled with each other, or a batch if that is more."""


def batches(
    rows: Rows, batch_size: int, rng: np.random.Generator, held_out: NDArray[np.int64], buffer_rows: int
) -> Iterator[Any]:
    """Batches without end, where the rows lie: of a source by blocks, of what can be gathered by row numbers."""
    if isinstance(rows, HostRows):
        return shuffled_batches(rows.source, batch_size, rng, held_out=held_out, buffer_rows=buffer_rows, d=rows.d)
    numbers = RowNumbers(len(rows))
    drawn = shuffled_batches(numbers, batch_size, rng, held_out=held_out, buffer_rows=buffer_rows, zeros=True)
    device_rows: Any = rows
    return (device_rows.gather(batch[:, 0].astype(np.int64)) for batch in drawn)


class RowNumbers:
    """The numbers of n rows, as embeddings of one dimension: to shuffle what lies elsewhere."""

    def __init__(self, n: int) -> None:
        self._n = n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, rows: slice) -> Any:
        return np.arange(*rows.indices(self._n), dtype=np.float64)[:, None]


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
