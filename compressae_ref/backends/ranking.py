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
    order = np.lexsort((ranks[rows], -scores))[:, :top]
    return Hits(np.take_along_axis(rows, order, axis=1), np.take_along_axis(scores, order, axis=1))


def by_score(best: Hits) -> Hits:
    """Sort by descending score; the sort is stable, and items come in the order of their ranks (R10)."""
    order = np.argsort(-best.scores, axis=1, kind="stable")
    return Hits(np.take_along_axis(best.ids, order, axis=1), np.take_along_axis(best.scores, order, axis=1))
