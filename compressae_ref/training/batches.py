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
"""Rows that are shuffled with each other, or one batch if that is more."""


def batches(
    rows: Rows, batch_size: int, rng: np.random.Generator, held_out: NDArray[np.int64], buffer_rows: int
) -> Iterator[Any]:
    """Yield batches for ever, where the rows lie: by blocks of a source, or gathered by shuffled row numbers."""
    if isinstance(rows, HostRows):
        return shuffled_batches(rows.source, batch_size, rng, held_out=held_out, buffer_rows=buffer_rows, d=rows.d)
    numbers = RowNumbers(len(rows))
    drawn = shuffled_batches(numbers, batch_size, rng, held_out=held_out, buffer_rows=buffer_rows, zeros=True)
    device_rows: Any = rows
    return (device_rows.gather(batch[:, 0].astype(np.int64)) for batch in drawn)


class RowNumbers:
    """Row numbers as a source with one dimension: shuffling them shuffles rows that lie elsewhere."""

    def __init__(self, n: int) -> None:
        self._n = n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, rows: slice) -> Any:
        return np.arange(*rows.indices(self._n), dtype=np.float64)[:, None]


def held_out_rows(n: int, n_held_out: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw the rows to hold out for validation. → ascending row numbers."""
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
    """Yield batches of ``batch_size`` rows for ever, without loading the source.

    In each epoch the blocks of the source are read in random order. They fill a buffer, which is shuffled row by row,
    and batches are cut from the sequence of buffers. So every row is drawn once per epoch, up to one buffer. The same
    ``rng`` gives the same batches from any source.
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
        del buffer  # free it before the next buffer is filled


def _next_buffer(left: list[Floats], blocks: Iterator[Floats], size: int) -> Floats:
    """Concatenate the remaining rows with the next blocks, up to ``size`` rows or more."""
    buffer = [*left]
    while sum(map(len, buffer)) < size:
        buffer.append(next(blocks))
    return np.concatenate(buffer)


def _shuffled_blocks(
    source: RowSource, rng: np.random.Generator, held_out: NDArray[np.int64], rows: int, checks: dict[str, Any]
) -> Iterator[Floats]:
    """Yield the blocks of the source in random order, epoch after epoch, without the held-out rows."""
    starts = np.arange(0, len(source), rows)
    while True:
        for start in rng.permutation(starts).tolist():
            block, _ = read_block(source, start, rows, **checks)
            here = held_out[slice(*np.searchsorted(held_out, (start, start + rows)))] - start
            yield np.delete(block, here, axis=0) if len(here) else block
