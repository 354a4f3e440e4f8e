"""The items of a `PackedIndex`: chunks of packed codes with their norms and ids, in as few bytes as they need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Bools, Floats
from compressae_ref.retrieval.index_ids import Ids

ROWS_PER_CHUNK = 65_536
"""Items of a chunk. Adding or removing an item copies its chunk and no other."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """Items that are stored together."""

    data: NDArray[np.uint8]
    """(n, row bytes)"""
    norms: Floats
    """(n,) norms in the space of the index"""
    ids: NDArray[Any] | range
    """(n,) int32, int64 or an object array of ``str``; a range, which takes no memory, for consecutive integers"""

    def __len__(self) -> int:
        return len(self.norms)

    def __getitem__(self, mask: Bools) -> Chunk:
        """Return a copy of the items of a mask."""
        return Chunk(self.data[mask], self.norms[mask], compact(as_array(self.ids)[mask]))

    @property
    def nbytes(self) -> int:
        """Bytes in memory; of string ids, only what refers to them."""
        ids = 0 if isinstance(self.ids, range) else self.ids.nbytes
        return self.data.nbytes + self.norms.nbytes + ids


def as_array(ids: NDArray[Any] | range) -> NDArray[Any]:
    """Return ids as an array. NumPy's own conversion of a range visits each item in Python."""
    return np.arange(ids.start, ids.stop) if isinstance(ids, range) else ids


def are_strings(ids: NDArray[Any] | range) -> bool:
    """Return whether ids are strings; other ids are integers."""
    return not isinstance(ids, range) and ids.dtype.kind == "O"


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
    ids = compact(np.concatenate([as_array(a.ids), as_array(b.ids)]))
    return Chunk(np.concatenate([a.data, b.data]), np.concatenate([a.norms, b.norms]), ids)


def kept(chunks: Sequence[Chunk], masks: Iterator[Bools]) -> tuple[Chunk, ...]:
    """Return the items where the mask of their chunk is True; chunks that lose nothing are not copied."""
    left = (chunk if mask.all() else chunk[mask] for chunk, mask in zip(chunks, masks, strict=True))
    return appended((), [chunk for chunk in left if len(chunk)])


def members(chunks: Sequence[Chunk], ids: NDArray[Any]) -> Iterator[Bools]:
    """Yield for each chunk which of its items have one of these ids."""
    is_member = _strings_in(ids) if are_strings(ids) else _integers_in(ids)
    for chunk in chunks:
        same_kind = are_strings(chunk.ids) == are_strings(ids)
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


def all_ids(chunks: Sequence[Chunk]) -> NDArray[Any]:
    """Return the ids of all items: int64, or an object array of ``str``."""
    return np.concatenate([np.empty(0, ids_dtype(chunks)), *(as_array(chunk.ids) for chunk in chunks)])


def ids_dtype(chunks: Sequence[Chunk]) -> np.dtype[Any]:
    """Return int64, or object for strings; all chunks have ids of one kind."""
    return np.dtype(object if chunks and are_strings(chunks[0].ids) else np.int64)


def next_after(ids: NDArray[Any] | range, next_number: int) -> int:
    """Return the next automatic id after some ids were added."""
    return next_number if are_strings(ids) else max([next_number, *(int(np.max(ids)) + 1 for _ in ids[:1])])


@dataclass(frozen=True)
class State:
    """Everything of an index that changes. A state never changes itself; an index replaces it."""

    chunks: tuple[Chunk, ...] = ()
    next_number: int = 0
    """the next automatic id"""

    def __len__(self) -> int:
        return sum(map(len, self.chunks))

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """The number of the first row of each chunk, and the number of all rows."""
        return np.cumsum([0, *map(len, self.chunks)])

    @cached_property
    def ranks(self) -> Sequence[NDArray[Any] | range]:
        """Integers that order the items of each chunk by their ids: integer ids themselves, or ranks of strings."""
        if self.ids_dtype == np.int64:
            return [chunk.ids for chunk in self.chunks]
        return np.split(Ids(all_ids(self.chunks)).ranks, self.starts[1:-1])

    def ranks_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the ranks of rows, of the same shape."""
        return self._taken(rows, self.ranks, np.dtype(np.int64))

    def ids_of(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Return the ids of rows, of the same shape."""
        return self._taken(rows, [chunk.ids for chunk in self.chunks], self.ids_dtype)

    def _taken(
        self, rows: NDArray[np.int64], values: Sequence[NDArray[Any] | range], dtype: np.dtype[Any]
    ) -> NDArray[Any]:
        taken: NDArray[Any] = np.empty(rows.size, dtype)
        for here, number, places in self.located(rows.ravel()):
            own = values[number]
            taken[here] = own.start + places if isinstance(own, range) else own[places]
        return taken.reshape(rows.shape)

    def located(self, rows: NDArray[np.int64]) -> Iterator[tuple[Bools, int, NDArray[np.int64]]]:
        """Yield the number of each chunk that has some of these rows, with which of them, and their places in it."""
        chunk_of = np.searchsorted(self.starts, rows, side="right") - 1
        for number in np.unique(chunk_of):
            here = chunk_of == number
            yield here, int(number), rows[here] - self.starts[number]

    @property
    def ids_dtype(self) -> np.dtype[Any]:
        """int64, or object for strings."""
        return ids_dtype(self.chunks)
