"""The items of a `PackedIndex`: chunks of packed codes with their norms and ids, in as few bytes as they need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Bools, Floats

ROWS_PER_CHUNK = 65_536
"""Items of a chunk. Adding or removing an item copies its chunk and no other."""


class Chunk(NamedTuple):
    """Items that are stored together."""

    data: NDArray[np.uint8]
    """(n, row bytes)"""
    norms: Floats
    """(n,) norms in the space of the index"""
    ids: NDArray[Any] | range
    """(n,) int32, int64 or an object array of ``str``; a range, which takes no memory, for consecutive integers"""

    def __len__(self) -> int:
        return len(self.norms)

    def rows(self, rows: slice | Bools) -> Chunk:
        """Return a copy of some of the items."""
        ids = self.ids[rows] if isinstance(rows, slice) else np.asarray(self.ids)[rows]
        return Chunk(self.data[rows].copy(), self.norms[rows].copy(), compact(ids))


def compact(ids: NDArray[Any] | range) -> NDArray[Any] | range:
    """Return ids in the least memory: a range if they are consecutive, else int32 if all fit. Strings stay."""
    if isinstance(ids, range) or ids.dtype.kind == "O" or len(ids) == 0:
        return ids if len(ids) else range(0)
    first, last = int(ids[0]), int(ids[-1])
    if last - first == len(ids) - 1 and (ids[1:] - ids[:-1] == 1).all():
        return range(first, last + 1)
    limits = np.iinfo(np.int32)
    narrow = limits.min <= int(ids.min()) and int(ids.max()) <= limits.max
    return ids.astype(np.int32 if narrow else np.int64)


def chunks_of(data: NDArray[np.uint8], norms: Floats, ids: NDArray[Any] | range) -> Iterator[Chunk]:
    """Cut items into chunks. ``data`` and ``norms`` are not copied, so that they may be memory-mapped."""
    for start in range(0, len(norms), ROWS_PER_CHUNK):
        rows = slice(start, start + ROWS_PER_CHUNK)
        yield Chunk(data[rows], norms[rows], compact(ids[rows]))


def appended(chunks: Sequence[Chunk], new: Sequence[Chunk]) -> tuple[Chunk, ...]:
    """Append chunks. A small last chunk is joined with the next, so that chunks stay few."""
    result = list(chunks)
    for chunk in new:
        if result and len(result[-1]) + len(chunk) <= ROWS_PER_CHUNK:
            result[-1] = _joined(result[-1], chunk)
        else:
            result.append(chunk)
    return tuple(result)


def _joined(a: Chunk, b: Chunk) -> Chunk:
    consecutive = isinstance(a.ids, range) and isinstance(b.ids, range) and a.ids.stop == b.ids.start
    ids = (
        range(a.ids.start, b.ids.stop)
        if consecutive
        else compact(np.concatenate([np.asarray(a.ids), np.asarray(b.ids)]))
    )
    return Chunk(np.concatenate([a.data, b.data]), np.concatenate([a.norms, b.norms]), ids)


def kept(chunks: Sequence[Chunk], masks: Iterator[Bools]) -> tuple[Chunk, ...]:
    """Return the items where the mask of their chunk is True; chunks that lose nothing are not copied."""
    left = (chunk if mask.all() else chunk.rows(mask) for chunk, mask in zip(chunks, masks, strict=True))
    return appended((), [chunk for chunk in left if len(chunk)])


def members(chunks: Sequence[Chunk], ids: NDArray[Any]) -> Iterator[Bools]:
    """Yield for each chunk which of its items have one of these ids."""
    is_member = _strings_in(ids) if ids.dtype.kind == "O" else _integers_in(ids)
    for chunk in chunks:
        same_kind = (getattr(chunk.ids, "dtype", ids.dtype).kind == "O") == (ids.dtype.kind == "O")
        yield is_member(chunk.ids) if same_kind else np.zeros(len(chunk), np.bool_)


def _strings_in(ids: NDArray[Any]) -> Callable[[Any], Bools]:
    wanted = set(ids.tolist())
    return lambda stored: np.fromiter((item in wanted for item in stored), np.bool_, len(stored))


def _integers_in(ids: NDArray[Any]) -> Callable[[Any], Bools]:
    wanted = np.unique(ids)

    def is_member(stored: Any) -> Bools:
        if not isinstance(stored, range):
            return np.isin(stored, wanted)
        mask = np.zeros(len(stored), np.bool_)
        mask[wanted[(stored.start <= wanted) & (wanted < stored.stop)] - stored.start] = True
        return mask

    return is_member


def next_after(ids: NDArray[Any] | range, next_number: int) -> int:
    """Return the next automatic id after some ids were added."""
    strings = not isinstance(ids, range) and ids.dtype.kind == "O"
    return next_number if strings else max(next_number, int(np.max(ids)) + 1)
