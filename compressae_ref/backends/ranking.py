"""What search takes and returns: queries, items and hits, and how hits of several parts are merged."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Bools, Floats
from compressae_ref.codes import Codes

QUERIES_PER_BLOCK = 256


class Hits(NamedTuple):
    """Search results, best first."""

    ids: NDArray[Any]
    """(n_q, top) ids of items: row numbers, or what the index was told to call them"""
    scores: Floats
    """(n_q, top) their cosines"""


class Queries(NamedTuple):
    """Vectors over the latents to compare items with (E10)."""

    u: Codes | Floats
    """n_q codes, or an array (n_q, h)"""
    norms: Floats
    """(n_q,) what the dots of each query are divided by"""

    def blocks(self) -> list[Queries]:
        """These, some at a time."""
        starts = range(0, len(self.norms), QUERIES_PER_BLOCK)
        return [Queries(*(each[start : start + QUERIES_PER_BLOCK] for each in self)) for start in starts]  # type: ignore[arg-type]

    def dense(self) -> Floats:
        """u as an array (n_q, h)."""
        return self.u.to_dense() if isinstance(self.u, Codes) else self.u


class Items(NamedTuple):
    """What is searched: n codes, and all that a score and its place depend on."""

    codes: Codes
    norms: Floats
    """(n,) what the dots with each item are divided by"""
    ranks: NDArray[np.int64]
    """(n,) all different: of items with equal scores, that of the lower rank comes first (R10)"""
    allowed: Bools | None
    """(n,) which items may be found; None: all"""
    index: Any
    """what the backend made of the codes and norms by its `build_index`, to search them faster"""

    def found(self, top: int) -> int:
        """How many results each query has: ``top``, or all that may be found if they are fewer."""
        return min(top, len(self.codes) if self.allowed is None else int(self.allowed.sum()))


def no_hits(n_q: int, dtype: Any, top: int = 0) -> Hits:
    """Room for results of n_q queries."""
    return Hits(np.zeros((n_q, top), np.int64), np.empty((n_q, top), dtype))


def stacked(parts: list[Hits], items: Items, top: int) -> Hits:
    """The hits of some queries below those of others; of none, if there are none."""
    none = no_hits(0, items.norms.dtype, items.found(top))
    return Hits(*(np.concatenate(columns) for columns in zip(none, *parts, strict=True)))


def scaled_dots(dots: Floats, query_norms: Floats, norms: Floats) -> Floats:
    """dots[q, i] / (query_norms[q] · norms[i])."""
    return dots / (query_norms[:, None] * norms)


def best_of(parts: list[Hits], ranks: NDArray[np.int64], top: int) -> Hits:
    """The ``top`` best of hits among different items, whose ids are row numbers in ``ranks``."""
    rows, scores = (np.concatenate(columns, axis=1) for columns in zip(*parts, strict=True))
    order = np.lexsort((ranks[rows], -scores))[:, :top]
    return Hits(np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1))
