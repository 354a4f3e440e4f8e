"""The ranking rule of search results (R10): descending score, and of equal scores the item with the lower rank first.

Ranks order the items by their ids. These functions rank what NumPy holds; kernels compare by ``rules.ranks_below``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compressae_ref.backends.search_types import Hits


def best_of(parts: list[Hits], ranks: NDArray[np.int64], top: int) -> Hits:
    """Return the ``top`` best hits of several sets of items; ids are row numbers, which index ``ranks``."""
    rows, scores = (np.concatenate(columns, axis=1) for columns in zip(*parts, strict=True))
    return _in_order(Hits(rows, scores), np.lexsort((ranks[rows], -scores))[:, :top])


Ranked = tuple[Hits, NDArray[np.int64]]
"""Hits, and the rank of each."""


def best_of_ranked(parts: list[Ranked], top: int) -> Ranked:
    """Return the ``top`` best hits of several sets of items, for which no array of all ranks exists."""
    hits = Hits(*(np.concatenate(columns, axis=1) for columns in zip(*(hits for hits, _ in parts), strict=True)))
    ranks = np.concatenate([ranks for _, ranks in parts], axis=1)
    order = np.lexsort((ranks, -hits.scores))[:, :top]
    return _in_order(hits, order), np.take_along_axis(ranks, order, axis=1)


def by_score(best: Hits) -> Hits:
    """Sort by descending score; the sort is stable, and items come in the order of their ranks (R10)."""
    return _in_order(best, np.argsort(-best.scores, axis=1, kind="stable"))


def _in_order(hits: Hits, order: NDArray[np.int64]) -> Hits:
    return Hits(*(np.take_along_axis(column, order, axis=1) for column in hits))
