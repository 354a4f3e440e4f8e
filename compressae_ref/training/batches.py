"""Shuffled batches from a source of rows, without loading it, from any place of the sequence on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.row_source import BLOCK_ROWS, RowSource, read_block
from compressae_ref.training.generator_state import generator_state, set_generator_state
from compressae_ref.unit_blocks import HostRows, Rows

BUFFER_ROWS = 65_536
"""Rows that are shuffled with each other, or one batch if that is more."""


@dataclass(frozen=True)
class Place:
    """A place in the sequence of batches. It holds no rows: they are read from the source again."""

    generator: dict[str, Any]
    """state of the generator before the buffer was filled, as `generator_state` returns it"""
    left: int
    """number of rows that the previous buffer left over; the first batch of the buffer has drawn them all"""
    blocks: NDArray[np.int64]
    """first rows of the blocks that the epoch had left before the buffer was filled, in their order"""
    drawn: int
    """batches that have been drawn from the buffer, at least 1"""


class Related(NamedTuple):
    """The related rows of a batch, by their places in it: row ``rows[m]`` is related to row ``others[m]``."""

    rows: NDArray[np.int64]
    """(m,) ascending; a pair is here in both directions"""
    others: NDArray[np.int64]
    """(m,)"""


class ShuffledBatches:
    """Batches of ``batch_size`` rows for ever, without loading the source.

    In each epoch the blocks of the source are read in random order. They fill a buffer, which is shuffled row by row,
    and batches are cut from the sequence of buffers. So every row is drawn once per epoch, up to one buffer. The same
    ``rng`` gives the same batches from any source.

    Parameters
    ----------
    source : the rows
    batch_size : rows per batch
    rng : the source of randomness
    held_out : ascending numbers of the rows that are never drawn
    buffer_rows : rows that are shuffled together
    block_rows : rows per read
    resumable : if True, `place` is available; the generator must be one of `generator_state.BIT_GENERATORS`
    place : where to go on. The generator is set to its state, and one buffer is read again from the source.
    checks : arguments of `read_block`
    """

    related: Related | None = None
    """the related rows of the last batch, in a training with relations"""

    def __init__(
        self,
        source: RowSource,
        batch_size: int,
        rng: np.random.Generator,
        *,
        held_out: NDArray[np.int64],
        buffer_rows: int = BUFFER_ROWS,
        block_rows: int = BLOCK_ROWS,
        resumable: bool = False,
        place: Place | None = None,
        **checks: Any,
    ) -> None:
        self._source, self._batch_size, self._rng, self._held_out = source, batch_size, rng, held_out
        self._block_rows, self._checks, self._resumable = block_rows, checks, resumable
        self._size = max(batch_size, min(buffer_rows, len(source) - len(held_out)))
        self._blocks: NDArray[np.int64] = np.empty(0, np.int64)
        self._buffer: Any = None
        self._order, self._next = np.empty(0, np.int64), 0
        self._filled_at: tuple[dict[str, Any], int, NDArray[np.int64]] | None = None
        if place is not None:
            set_generator_state(rng, place.generator)
            self._blocks = place.blocks
            self._fill(None, place.left)
            self._next = place.drawn * batch_size

    def __iter__(self) -> ShuffledBatches:
        return self

    def __next__(self) -> Any:
        if len(self._order) - self._next < self._batch_size:
            left = None if self._buffer is None else self._buffer[self._order[self._next :]]
            self._buffer = None  # free it before the next buffer is filled
            self._fill(left, 0 if left is None else len(left))
        start = self._next
        self._next += self._batch_size
        return self._buffer[self._order[start : self._next]]

    def place(self) -> Place:
        """Return the place after the batches drawn so far, at least one. It needs ``resumable``."""
        if self._filled_at is None:
            raise RuntimeError("expected resumable batches of which one has been drawn")
        return Place(*self._filled_at, self._next // self._batch_size)

    def _fill(self, left: Floats | None, n_left: int) -> None:
        """Fill the buffer with the remaining rows and the next blocks, and shuffle the rows of the blocks.

        Without ``left`` the remaining rows are zeros: they have been drawn.
        """
        rng = self._rng
        if self._resumable:
            self._filled_at = generator_state(rng), n_left, self._blocks
        blocks: list[Floats] = []
        while sum(map(len, blocks)) < self._size:
            blocks.append(self._next_block())
        if left is None:
            left = np.zeros((n_left, blocks[0].shape[1]), blocks[0].dtype)
        self._buffer = buffer = np.concatenate([left, *blocks])
        self._order = np.concatenate([np.arange(n_left), n_left + rng.permutation(len(buffer) - n_left)])
        self._next = 0

    def _next_block(self) -> Floats:
        """Return the next block of the epoch without the held-out rows."""
        rows, held_out = self._block_rows, self._held_out
        if not len(self._blocks):
            self._blocks = self._rng.permutation(np.arange(0, len(self._source), rows))
        start, self._blocks = int(self._blocks[0]), self._blocks[1:]
        block, _ = read_block(self._source, start, rows, **self._checks)
        here = held_out[slice(*np.searchsorted(held_out, (start, start + rows)))] - start
        return np.delete(block, here, axis=0) if len(here) else block


class GatheredBatches(ShuffledBatches):
    """Batches of rows that are gathered, where they lie, by shuffled row numbers."""

    def __init__(self, rows: Rows, *arguments: Any, **options: Any) -> None:
        super().__init__(RowNumbers(len(rows)), *arguments, zeros=True, **options)
        self._rows = rows

    def __next__(self) -> Any:
        return self._rows.gather(self.next_numbers())

    def next_numbers(self) -> NDArray[np.int64]:
        """Draw the row numbers of the next batch."""
        numbers: NDArray[np.int64] = super().__next__()[:, 0].astype(np.int64)
        return numbers


class RowNumbers:
    """Row numbers as a source with one dimension: shuffling them shuffles rows that lie elsewhere."""

    def __init__(self, n: int) -> None:
        self._n = n

    def __len__(self) -> int:
        return self._n

    def __getitem__(self, rows: slice) -> Any:
        return np.arange(*rows.indices(self._n), dtype=np.float64)[:, None]


def batches(rows: Rows, batch_size: int, rng: np.random.Generator, **options: Any) -> ShuffledBatches:
    """Return batches for ever, where the rows lie: blocks of a source, or rows gathered by their numbers.

    ``options`` are arguments of `ShuffledBatches`.
    """
    if isinstance(rows, HostRows):
        return ShuffledBatches(rows.source, batch_size, rng, d=rows.d, **options)
    return GatheredBatches(rows, batch_size, rng, **options)


def held_out_rows(n: int, n_held_out: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw the rows to hold out for validation. → ascending row numbers."""
    return np.sort(rng.choice(n, n_held_out, replace=False))
