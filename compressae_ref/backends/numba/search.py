"""Search with sparse queries: the inverted index excludes most items, and only the others are scored.

A query is rounded to integers, uⱼ/‖u‖ = (wⱼ + oⱼ)/Q, as the items are, v/‖item‖ = (p + r)/S (`inverted_index`). Adding
up ⟨w, p⟩ over the lists of its latents gives every score to within

    |Q S score − ⟨w, p⟩| = |⟨w, r⟩ + ⟨o, p + r⟩| ≤ (Q‖u‖ + ‖o‖) max ‖r‖ + ‖o‖ max ‖p‖

plus the rounding of a score. Q is as large as 16-bit sums allow. An item whose ⟨w, p⟩ is too small to be among the
best is skipped. All others are scored from their codes in stored order, so the results have the bits of
`backends.numpy.search.best_items`.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from compressae_ref.backends.numba.dense_scan import ItemArrays, best_by_scan
from compressae_ref.backends.numba.inverted_index import InvertedIndex
from compressae_ref.backends.numba.jit import inlined, inner, kernel
from compressae_ref.backends.numba.simd import WIDTH, aligned_rows, cmp_ge_unordered, count_trailing_zeros, load, splat
from compressae_ref.backends.numba.topk_heap import Heaps, push, sort
from compressae_ref.backends.ranking import best_of
from compressae_ref.backends.search_types import Hits, Items, Queries, no_hits, stacked
from compressae_ref.backends.thread_pool import parallel_for, thread_count
from compressae_ref.codes import Codes

MAX_SUM = 32_000
"""The largest 16-bit sum, with some margin."""

EXCLUDED = -32_768
"""The sum of an item that must not be returned."""

SUMS_PER_WORD = 4 * WIDTH
"""Sums that are compared at once, one bit each."""

QUERIES_PER_TASK = 32
"""Queries that go through the blocks together, so that a block's lists are read from the cache."""


class IntegerQueries(NamedTuple):
    """Sparse queries: rounded to integers, and as floats."""

    latents: Any
    """(n_q, k) latents"""
    weights: Any
    """(n_q, k) int16: w"""
    units: Any
    """(n_q,) Q·S"""
    errors: Any
    """(n_q,) bound of |Q·S·score − ⟨w, p⟩|"""
    u: Any
    """(n_q, h)"""
    norms: Any
    """(n_q,)"""


def best_items(queries: Queries, items: Items, top: int) -> Hits:
    search = _best_by_index if isinstance(queries.u, Codes) else best_by_scan
    found = items.found(top)
    if found == 0:
        return no_hits(len(queries.norms), items.norms.dtype)
    return stacked([search(block, items, found) for block in queries.blocks()], items, top)


def _best_by_index(queries: Queries, items: Items, top: int) -> Hits:
    index: InvertedIndex = items.index
    n_q, blocks = len(queries.norms), len(index.starts)
    parts = 1 if n_q >= 4 * thread_count() else min(blocks, thread_count())
    best = Heaps.empty((parts * n_q, top), items.norms.dtype)
    arguments = _as_integers(queries, items), ItemArrays.of(items), index, best
    parallel_for(len(best.scores), QUERIES_PER_TASK if parts == 1 else n_q, _search, *arguments)
    if parts == 1:
        return Hits(best.rows, best.scores)
    by_part = zip(best.rows.reshape(parts, n_q, top), best.scores.reshape(parts, n_q, top), strict=True)
    return best_of([Hits(*hits) for hits in by_part], items.ranks, top)


def _as_integers(queries: Queries, items: Items) -> IntegerQueries:
    """Round queries to integers."""
    codes, index = queries.u, items.index
    assert isinstance(codes, Codes)
    tiny, eps = np.finfo(codes.values.dtype).tiny, np.finfo(codes.values.dtype).eps
    u = codes.values.astype(np.float64) / queries.norms[:, None]
    length = np.linalg.norm(u, axis=1)
    scale = max(0.0, MAX_SUM / max(index.norm, 1.0) - 0.5 * np.sqrt(codes.k))
    Q = np.divide(scale, length, out=np.zeros_like(length), where=length > tiny)
    weights = np.rint(u * Q[:, None])
    off = 1.001 * np.linalg.norm(u * Q[:, None] - weights, axis=1)
    units = Q * index.scale
    rounding = (items.codes.k + 8) * (eps * MAX_SUM + units * (float(tiny) / (queries.norms * index.shortest)))
    errors = 1.001 * ((Q * length + off) * index.remainder + off * index.norm) + rounding + 1
    latents = np.ascontiguousarray(codes.indices)
    return IntegerQueries(latents, weights.astype(np.int16), units, errors, queries.dense(), queries.norms)


@kernel
def _search(queries, items, index, best, start, stop):  # type: ignore[no-untyped-def]
    """Run tasks ``start`` to ``stop``. The first n_q tasks search the first part of the blocks, and so on."""
    latents, weights, units, errors, u, query_norms = queries
    indices, values, norms, ranks, allowed = items
    block, (best_scores, best_ranks, best_rows) = index.block, best
    n, n_q, top = indices.shape[0], u.shape[0], best_scores.shape[1]
    parts, blocks = best_scores.shape[0] // n_q, index.starts.shape[0]
    sums, near, sizes = (
        aligned_rows(1, block + SUMS_PER_WORD, np.int16),
        np.empty(block, np.int32),
        np.zeros(stop - start, np.int64),
    )
    for part in range(start // n_q, (stop - 1) // n_q + 1):
        first_task, last_task = max(start, part * n_q), min(stop, (part + 1) * n_q)
        for b in range(part * blocks // parts, (part + 1) * blocks // parts):
            begin, end = b * block, min((b + 1) * block, n)
            block_sums = sums[0, : end - begin]
            sums[0, end - begin :] = EXCLUDED
            for task in range(first_task, last_task):  # while the lists of the block are in the cache
                q, size = task - part * n_q, sizes[task - start]
                found, found_ranks, found_rows = best_scores[task], best_ranks[task], best_rows[task]
                _add_up(latents[q], weights[q], index, b, block_sums)
                if allowed.size > 0:
                    _exclude(block_sums, allowed[begin:end])
                if size < top:
                    cut = _rounded_down(_kth_largest(block_sums, top) - 2 * errors[q])
                else:
                    cut = _rounded_down(found[0] * units[q] - errors[q])
                for c in range(_find(sums, block_sums.size, cut, near)):
                    row = begin + near[c]
                    score = _dot(u, q, indices, values, row) / (query_norms[q] * norms[row])
                    size = push(found, found_ranks, found_rows, size, score, ranks[row], row)
                sizes[task - start] = size
        for task in range(first_task, last_task):
            sort(best_scores[task], best_ranks[task], best_rows[task], sizes[task - start])


@inlined
def _add_up(latents, weights, index, b, sums):  # type: ignore[no-untyped-def]
    """Set sums to ⟨w, p⟩ for all items of block b."""
    starts, base, column_of = index.starts[b], index.firsts[b], index.column_of[b]
    places, integers, columns = index.places, index.integers, index.columns
    sums[:] = 0
    for t in range(latents.size):
        j, w = latents[t], weights[t]
        if w == 0:
            continue
        if column_of[j] >= 0:
            _add_column(sums, w, columns[column_of[j]])
        else:
            start, stop = base + starts[j], base + starts[j + 1]
            _add_list(sums, w, places[start:stop], integers[start:stop])


@inner
def _add_column(sums, weight, column):  # type: ignore[no-untyped-def]
    for i in range(sums.size):
        sums[i] += weight * column[i]


@inner
def _add_list(sums, weight, places, integers):  # type: ignore[no-untyped-def]
    unrolled = places.size - places.size % 4
    for p in range(0, unrolled, 4):  # unrolled: products need not wait for sums
        a, b, c, d = weight * integers[p], weight * integers[p + 1], weight * integers[p + 2], weight * integers[p + 3]
        sums[places[p]] += a
        sums[places[p + 1]] += b
        sums[places[p + 2]] += c
        sums[places[p + 3]] += d
    for p in range(unrolled, places.size):
        sums[places[p]] += weight * integers[p]


@inlined
def _exclude(sums, allowed):  # type: ignore[no-untyped-def]
    for i in range(sums.size):
        sums[i] = sums[i] if allowed[i] else EXCLUDED


@inlined
def _rounded_down(bound):  # type: ignore[no-untyped-def]
    """Return the smallest sum that an item may have, above `EXCLUDED`."""
    return np.int16(min(max(math.floor(bound), EXCLUDED + 1), -EXCLUDED - 1))


@inner
def _kth_largest(sums, k):  # type: ignore[no-untyped-def]
    """Return the k-th largest sum, or the smallest int16 if there are fewer than k."""
    low, high = EXCLUDED, -EXCLUDED
    while high - low > 1:
        middle = (low + high) // 2
        if _count_at_least(sums, np.int16(middle)) >= k:
            low = middle
        else:
            high = middle
    return low


@inner
def _count_at_least(sums, least):  # type: ignore[no-untyped-def]
    """Count sums of at least ``least``; the count has 16 bits, so that the loop vectorizes."""
    count = np.int16(0)
    for i in range(sums.size):
        count = np.int16(count + np.int16(sums[i] >= least))
    return count


@inlined
def _find(sums, size, least, found):  # type: ignore[no-untyped-def]
    """Find the positions of all sums of at least ``least``; return their number."""
    count, cuts = 0, splat(least)
    for word in range(0, size, SUMS_PER_WORD):
        bits = np.int64(0)
        for part in range(4):
            bits |= cmp_ge_unordered(load(sums, 0, word + part * WIDTH), cuts) << (part * WIDTH)
        while bits != 0:
            found[count] = word + count_trailing_zeros(bits)
            bits &= bits - 1
            count += 1
    return count


@inlined
def _dot(u, q, indices, values, row):  # type: ignore[no-untyped-def]
    """Return ⟨u[q], code⟩, summed in stored order as in `reference.gather`."""
    dot = u.dtype.type(0)
    for t in range(indices.shape[1]):
        dot += u[q, indices[row, t]] * values[row, t]
    return dot
