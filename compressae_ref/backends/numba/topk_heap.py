"""A binary heap of the best results so far, with the worst on top, where a better one replaces it.

A result is a score, a rank and a row number. A higher score is better; of equal scores, the lower rank (R10).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from compressae_ref.backends.numba.jit import inner
from compressae_ref.backends.numba.rules import ranks_below


class Heaps(NamedTuple):
    """The best results of many queries, each array (..., top)."""

    scores: Any
    ranks: Any
    rows: Any

    @classmethod
    def empty(cls, shape: tuple[int, ...], dtype: Any) -> Heaps:
        """Return heaps without results; scores that are never pushed stay −∞."""
        return cls(np.full(shape, -np.inf, dtype), np.zeros(shape, np.int64), np.zeros(shape, np.int64))


@inner
def push(scores, ranks, rows, size, score, rank, row):  # type: ignore[no-untyped-def]
    """Add a result if the heap is not full or the result is better than the worst; return the new size."""
    if size < scores.size:
        at = size
        while at > 0:
            above = (at - 1) // 2
            if not ranks_below(score, rank, scores[above], ranks[above]):
                break
            scores[at], ranks[at], rows[at] = scores[above], ranks[above], rows[above]
            at = above
        scores[at], ranks[at], rows[at] = score, rank, row
        return size + 1
    if size > 0 and ranks_below(scores[0], ranks[0], score, rank):
        _sink(scores, ranks, rows, size, score, rank, row)
    return size


@inner
def sort(scores, ranks, rows, size):  # type: ignore[no-untyped-def]
    """Sort a heap of ``size`` results, best first."""
    for last in range(size - 1, 0, -1):
        score, rank, row = scores[last], ranks[last], rows[last]
        scores[last], ranks[last], rows[last] = scores[0], ranks[0], rows[0]
        _sink(scores, ranks, rows, last, score, rank, row)


@inner
def _sink(scores, ranks, rows, size, score, rank, row):  # type: ignore[no-untyped-def]
    """Replace the top of a heap of ``size`` results and let the new one sink to its place."""
    at = 0
    while True:
        below = 2 * at + 1
        if below >= size:
            break
        if below + 1 < size and ranks_below(scores[below + 1], ranks[below + 1], scores[below], ranks[below]):
            below += 1
        if not ranks_below(scores[below], ranks[below], score, rank):
            break
        scores[at], ranks[at], rows[at] = scores[below], ranks[below], rows[below]
        at = below
    scores[at], ranks[at], rows[at] = score, rank, row
