"""Search with dense queries: score all items for 16 queries at a time.

Lane q of a vector accumulates the dot of query q over the item's entries in their stored order. Each lane therefore
has the bits of `reference.gather`, and each entry is read once for 16 queries.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from compressae_ref.arrays import Floats, aligned_empty
from compressae_ref.backends.numba.jit import inlined, kernel
from compressae_ref.backends.numba.simd import (
    WIDTH,
    aligned_rows,
    cmp_ge_unordered,
    count_trailing_zeros,
    load,
    splat,
    store,
)
from compressae_ref.backends.numba.topk_heap import Heaps, push, sort
from compressae_ref.backends.ranking import best_of
from compressae_ref.backends.search_types import Hits, Items, Queries
from compressae_ref.backends.thread_pool import parallel_for, thread_count

ITEMS_PER_BLOCK = 32
"""Items that are scored before their scores are compared with the heaps."""


class ItemArrays(NamedTuple):
    """The contiguous arrays of `search_types.Items` that kernels read."""

    indices: Any
    values: Any
    norms: Any
    ranks: Any
    allowed: Any
    """(n,), or (0,) if every item is allowed"""

    @classmethod
    def of(cls, items: Items) -> ItemArrays:
        """Return the arrays of ``items``, copied only where they are not contiguous."""
        indices, values = np.ascontiguousarray(items.codes.indices), np.ascontiguousarray(items.codes.values)
        allowed = np.empty(0, np.bool_) if items.allowed is None else items.allowed
        return cls(indices, values, np.ascontiguousarray(items.norms), items.ranks, allowed)


def best_by_scan(queries: Queries, items: Items, top: int) -> Hits:
    """`backends.numpy.search.best_items` for at least one query and one result."""
    n_q, parts = len(queries.norms), max(1, min(thread_count(), len(items.codes) // ITEMS_PER_BLOCK))
    groups = -(-n_q // WIDTH)
    u, norms = by_group(queries.dense(), groups), np.ones((groups, WIDTH), items.norms.dtype)
    norms.reshape(-1)[:n_q] = queries.norms
    best = Heaps.empty((parts, groups * WIDTH, top), items.norms.dtype)
    parallel_for(parts * groups, 1, _scan, n_q, u, norms, ItemArrays.of(items), best)
    hits = [Hits(best.rows[part, :n_q], best.scores[part, :n_q]) for part in range(parts)]
    return best_of(hits, items.ranks, top)


def by_group(u: Floats, groups: int) -> Floats:
    """Return (groups · h, 16): for each group of 16 queries and each latent, their 16 numbers."""
    h = u.shape[1]
    grouped = aligned_empty((groups, h, WIDTH), u.dtype)
    grouped[-1] = 0
    for group in range(groups):
        block = u[group * WIDTH : (group + 1) * WIDTH]
        grouped[group, :, : len(block)] = block.T
    return grouped.reshape(groups * h, WIDTH)


@kernel
def _scan(n_q, u, query_norms, items, best, start, stop):  # type: ignore[no-untyped-def]
    ranks, allowed, (best_scores, best_ranks, best_rows) = items.ranks, items.allowed, best
    n, groups = ranks.size, query_norms.shape[0]
    parts, h, top = best_scores.shape[0], u.shape[0] // groups, best_scores.shape[2]
    scores, cuts, sizes = (
        aligned_rows(ITEMS_PER_BLOCK, WIDTH, u.dtype),
        aligned_rows(1, WIDTH, u.dtype),
        np.empty(WIDTH, np.int64),
    )
    for task in range(start, stop):
        group, part = task // parts, task % parts
        for lane in range(WIDTH):
            cuts[0, lane] = -np.inf if group * WIDTH + lane < n_q else np.inf
        sizes[:] = 0
        for begin in range(part * n // parts, (part + 1) * n // parts, ITEMS_PER_BLOCK):
            end = min(begin + ITEMS_PER_BLOCK, (part + 1) * n // parts)
            _score(u, group * h, query_norms[group], items, begin, end, scores)
            for row in range(begin, end):
                bits = cmp_ge_unordered(load(scores, row - begin, 0), load(cuts, 0, 0))
                if allowed.size > 0 and not allowed[row]:
                    continue
                while bits != 0:
                    lane = count_trailing_zeros(bits)
                    bits &= bits - 1
                    q, size = group * WIDTH + lane, sizes[lane]
                    heap_scores, heap_ranks, heap_rows = best_scores[part, q], best_ranks[part, q], best_rows[part, q]
                    score = scores[row - begin, lane]
                    sizes[lane] = push(heap_scores, heap_ranks, heap_rows, size, score, ranks[row], row)
                    if sizes[lane] == top:
                        cuts[0, lane] = heap_scores[0]
        for lane in range(min(WIDTH, n_q - group * WIDTH)):
            q = group * WIDTH + lane
            sort(best_scores[part, q], best_ranks[part, q], best_rows[part, q], sizes[lane])


@inlined
def _score(u, latent_0, query_norms, items, start, stop, scores):  # type: ignore[no-untyped-def]
    indices, values, norms = items.indices, items.values, items.norms
    for row in range(start, stop):
        dots = splat(u.dtype.type(0))
        for t in range(indices.shape[1]):
            dots = dots + load(u, latent_0 + indices[row, t], 0) * splat(values[row, t])
        store(scores, row - start, 0, dots)
    for row in range(start, stop):
        for lane in range(WIDTH):
            scores[row - start, lane] /= query_norms[lane] * norms[row]
