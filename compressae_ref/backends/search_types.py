"""The types of a search: queries, items, hits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Bools, Floats
from compressae_ref.codes import Codes

QUERIES_PER_BLOCK = 256


class Hits(NamedTuple):
    """Search results, best first."""

    ids: NDArray[Any]
    """(n_q, top) ids of items: row numbers, or the ids given to the index; strings in an object array of ``str``"""
    scores: Floats
    """(n_q, top) cosines of these items"""


class Queries(NamedTuple):
    """Query vectors over the latents (E10)."""

    u: Codes | Floats
    """n_q codes, or an array (n_q, h)"""
    norms: Floats
    """(n_q,) norms that the dots of each query are divided by"""
    added: Floats | None = None
    """(n_q,) numbers that `scores` adds after ranking, ⟨μ, x̄⟩ with a centred model (``spec/center.md``)"""

    def blocks(self) -> list[Queries]:
        """Return blocks of at most `QUERIES_PER_BLOCK` queries."""
        starts = range(0, len(self.norms), QUERIES_PER_BLOCK)
        parts = (slice(start, start + QUERIES_PER_BLOCK) for start in starts)
        return [Queries(self.u[part], self.norms[part]) for part in parts]

    def dense(self) -> Floats:
        """Return u as an array (n_q, h)."""
        return self.u.to_dense() if isinstance(self.u, Codes) else self.u

    def scores(self, divided: Floats) -> Floats:
        """Return the scores of divided dots (n_q, m), by which items were ranked."""
        return divided if self.added is None else divided + self.added[:, None]


class Items(NamedTuple):
    """The n codes that are searched, and everything that their scores and order depend on."""

    codes: Codes
    norms: Floats
    """(n,) norms that the dots with each item are divided by"""
    ranks: NDArray[np.int64]
    """(n,) all different; of items with equal scores the lower rank comes first (R10)"""
    allowed: Bools | None
    """(n,) which items may be returned; None: all"""
    index: Any
    """the result of the backend's `build_index`, or None"""

    def found(self, top: int) -> int:
        """Return the number of results per query: min(top, number of allowed items)."""
        return min(top, len(self.codes) if self.allowed is None else int(self.allowed.sum()))


class PackedItems(NamedTuple):
    """Packed codes that are searched, of float32 or float64 norms; a search takes several such parts."""

    data: NDArray[np.uint8]
    """(n, row bytes); bytes that packing cannot produce give any scores"""
    n_latents: int
    k: int
    bits: int
    norms: Floats
    ranks: NDArray[Any] | range
    """(n,) integers, as in `Items`, all different over all parts"""
    allowed: Bools | None

    def found(self) -> int:
        """Return the number of items that may be returned."""
        return len(self.norms) if self.allowed is None else int(self.allowed.sum())

    def rows(self, rows: slice) -> PackedItems:
        """Return some of the items."""
        allowed = None if self.allowed is None else self.allowed[rows]
        return self._replace(data=self.data[rows], norms=self.norms[rows], ranks=self.ranks[rows], allowed=allowed)


def no_hits(n_q: int, dtype: Any, top: int = 0) -> Hits:
    """Return empty results of n_q queries."""
    return Hits(np.zeros((n_q, top), np.int64), np.empty((n_q, top), dtype))


def stacked(parts: list[Hits], items: Items, top: int) -> Hits:
    """Stack the hits of blocks of queries; without blocks, return the hits of no queries."""
    none = no_hits(0, items.norms.dtype, items.found(top))
    return Hits(*(np.concatenate(columns) for columns in zip(none, *parts, strict=True)))


def found_in(
    queries: Queries,
    parts: Sequence[PackedItems],
    top: int,
    best: Callable[[Queries, Sequence[PackedItems], int], Hits],
) -> Hits:
    """Call ``best`` for blocks of queries, with the number of results per query: at most as many as there are items."""
    found = min(top, sum(part.found() for part in parts))
    hits = no_hits(len(queries.norms) if found == 0 else 0, queries.norms.dtype, found)
    blocks = queries.blocks() if found else []
    return Hits(*map(np.concatenate, zip(hits, *(best(block, parts, found) for block in blocks), strict=True)))


def scaled_dots(dots: Floats, query_norms: Floats, norms: Floats) -> Floats:
    """Return dots[q, i] / (query_norms[q] · norms[i])."""
    return dots / (query_norms[:, None] * norms)
