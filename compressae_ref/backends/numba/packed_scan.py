"""Search packed codes without unpacking them all: a block of items is unpacked, and scored for all queries.

Lane q of a vector accumulates the dot of query q over the item's entries in their stored order, as in `dense_scan`, so
it has the bits of `reference.gather`. Sparse queries are scored as dense ones: with lists of their entries a
search took longer, because the codes are unpacked in either case.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.backends.numba.bit_packing import ROWS_PER_BLOCK, RowFormat, scratch, unpack_block
from compressae_ref.backends.numba.dense_scan import by_group
from compressae_ref.backends.numba.jit import inlined, inner, kernel
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
from compressae_ref.backends.numpy import bit_packing
from compressae_ref.backends.ranking import best_of_ranked
from compressae_ref.backends.search_types import Hits, PackedItems, Queries, found_in
from compressae_ref.backends.thread_pool import parallel_for, thread_count

FEW_QUERIES = 3
"""Up to so many queries are scored one after the other. Their u fits the L1 cache, unlike the lanes of 16."""


class PackedArrays(NamedTuple):
    """What kernels read of `search_types.PackedItems`."""

    data: Any
    row_format: RowFormat
    value_of: Any
    norms: Any
    ranks: Any
    """(n,), or (0,) if they are consecutive"""
    first_rank: int
    first_row: int
    """the number of the first row among all parts"""
    allowed: Any
    """(n,), or (0,) if every item is allowed"""

    @classmethod
    def of(cls, items: PackedItems, first_row: int) -> PackedArrays:
        """Return the arrays of a part."""
        consecutive = isinstance(items.ranks, range)
        return cls(
            np.ascontiguousarray(items.data),
            RowFormat.of(items.n_latents, items.k, items.bits),
            bit_packing.value_of(items.bits).astype(items.norms.dtype),
            np.ascontiguousarray(items.norms),
            np.empty(0, np.int64) if consecutive else items.ranks,
            items.ranks.start if isinstance(items.ranks, range) else 0,
            first_row,
            np.empty(0, np.bool_) if items.allowed is None else items.allowed,
        )


class Best(NamedTuple):
    """The best so far of each thread and query, which the scan of the next part goes on with."""

    heaps: Heaps
    """(threads, n_q, top)"""
    sizes: Any
    """(threads, n_q)"""
    cuts: Any
    """(threads · groups, 16): a lower bound of dot / ‖item‖ of what may enter a heap"""


def best_packed_items(queries: Queries, parts: Sequence[PackedItems], top: int) -> Hits:
    return found_in(queries, parts, top, _best)


def _best(queries: Queries, parts: Sequence[PackedItems], top: int) -> Hits:
    n_q, threads, dtype = len(queries.norms), thread_count(), queries.norms.dtype
    groups = -(-n_q // WIDTH)
    u = _padded(queries.dense(), parts[0])
    u = u if n_q <= FEW_QUERIES else by_group(u, groups)
    cuts = np.full((threads, groups * WIDTH), np.inf, dtype)
    cuts[:, :n_q] = -np.inf
    best = Best(
        Heaps.empty((threads, n_q, top), dtype),
        np.zeros((threads, n_q), np.int64),
        cuts.reshape(threads * groups, WIDTH),
    )
    first_row = 0
    for part in parts:
        parallel_for(threads, 1, _scan, PackedArrays.of(part, first_row), u, queries.norms, best)
        first_row += len(part.norms)
    _sort(best)
    scores, ranks, rows = best.heaps
    of_threads = [(Hits(*hits), rank) for *hits, rank in zip(rows, scores, ranks, strict=True)]
    return best_of_ranked(of_threads, top)[0]


def _padded(u: Floats, items: PackedItems) -> Floats:
    """Append zeros for all indices that any bytes can have: loads are then never out of bounds."""
    row_format = RowFormat.of(items.n_latents, items.k, items.bits)
    size = max(row_format.highs << row_format.low, items.n_latents)
    padded = np.zeros((len(u), size), u.dtype)
    padded[:, : u.shape[1]] = u
    return padded


@kernel
def _sort(best):  # type: ignore[no-untyped-def]
    (scores, ranks, rows), sizes, _ = best
    for thread in range(sizes.shape[0]):
        for q in range(sizes.shape[1]):
            sort(scores[thread, q], ranks[thread, q], rows[thread, q], sizes[thread, q])


@kernel
def _scan(items, u, query_norms, best, start, stop):  # type: ignore[no-untyped-def]
    """Score shares ``start`` to ``stop`` of the items, one share for each thread."""
    row_format, norms, threads = items.row_format, items.norms, best.sizes.shape[0]
    n, groups = norms.size, best.cuts.shape[0] // threads
    h = u.shape[0] // groups
    k = (row_format.total - row_format.highs) // (row_format.low + row_format.bits)
    indices, values = np.empty((ROWS_PER_BLOCK, k), np.int32), np.empty((ROWS_PER_BLOCK, k), norms.dtype)
    counts, high_bits = scratch(k)
    dots = aligned_rows(ROWS_PER_BLOCK, WIDTH, norms.dtype)
    dots[:] = 0  # few queries leave most lanes as they are
    for share in range(start, stop):
        last = (share + 1) * n // threads
        for begin in range(share * n // threads, last, ROWS_PER_BLOCK):
            end = min(begin + ROWS_PER_BLOCK, last)
            unpack_block(items.data, begin, end, row_format, items.value_of, indices, values, counts, high_bits)
            for group in range(groups):
                if best.sizes.shape[1] > FEW_QUERIES:
                    _score(u, group * h, indices, values, end - begin, dots)
                else:
                    _score_few(u, indices, values, end - begin, dots)
                _keep_best(share, group, items, query_norms, begin, end, dots, best)


@inlined
def _score(u, latent_0, indices, values, count, dots):  # type: ignore[no-untyped-def]
    for i in range(count):
        sums = splat(u.dtype.type(0))
        for t in range(indices.shape[1]):
            sums = sums + load(u, latent_0 + indices[i, t], 0) * splat(values[i, t])
        store(dots, i, 0, sums)


@inner
def _score_few(u, indices, values, count, dots):  # type: ignore[no-untyped-def]
    """Score one query after the other, four items at a time: an addition need not wait for that of the same item."""
    for q in range(u.shape[0]):
        for i in range(0, count, 4):
            j, m, n = min(i + 1, count - 1), min(i + 2, count - 1), min(i + 3, count - 1)
            a = b = c = d = u.dtype.type(0)
            for t in range(indices.shape[1]):
                a += u[q, indices[i, t]] * values[i, t]
                b += u[q, indices[j, t]] * values[j, t]
                c += u[q, indices[m, t]] * values[m, t]
                d += u[q, indices[n, t]] * values[n, t]
            dots[i, q], dots[j, q], dots[m, q], dots[n, q] = a, b, c, d


@inlined
def _keep_best(share, group, items, query_norms, begin, end, dots, best):  # type: ignore[no-untyped-def]
    """Push the items whose dots are large enough into the heaps of the queries of a group."""
    (scores, best_ranks, rows), sizes, cuts = best
    norms, ranks, allowed = items.norms, items.ranks, items.allowed
    top, lanes = scores.shape[2], share * (cuts.shape[0] // sizes.shape[0]) + group
    for row in range(begin, end):
        bits = cmp_ge_unordered(load(dots, row - begin, 0), load(cuts, lanes, 0) * splat(norms[row]))
        if allowed.size > 0 and not allowed[row]:
            continue
        while bits != 0:
            lane = count_trailing_zeros(bits)
            bits &= bits - 1
            q = group * WIDTH + lane
            if q >= sizes.shape[1]:  # infinity · 0 is NaN
                continue
            score = dots[row - begin, lane] / (query_norms[q] * norms[row])
            rank = np.int64(ranks[row]) if ranks.size > 0 else items.first_rank + row
            size = push(
                scores[share, q],
                best_ranks[share, q],
                rows[share, q],
                sizes[share, q],
                score,
                rank,
                items.first_row + row,
            )
            sizes[share, q] = size
            if size == top:
                cuts[lanes, lane] = _below(scores[share, q, 0] * query_norms[q])


@inlined
def _below(bound):  # type: ignore[no-untyped-def]
    """Return a number below ``bound`` by more than the roundings of a score; subnormal numbers round absolutely."""
    return bound - abs(bound) * 1e-5 - 1e-37
