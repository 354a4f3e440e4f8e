"""CUDA kernels for `backends.numpy.search.best_items`: codes stay on the device, queries are sent in batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numba import cuda

from compressae_ref.arrays import Floats
from compressae_ref.arrays import to_host as fetch
from compressae_ref.backends.cuda.launch import B1, F1, F2, I2, L2, U2, elements, kernel
from compressae_ref.backends.cuda.memory import by_blocks, empty, in_blocks, place, rows
from compressae_ref.backends.cuda.rules import SIMULATED
from compressae_ref.backends.cuda.select import largest, unsigned
from compressae_ref.backends.numba.bit_packing import unpack_rows
from compressae_ref.backends.ranking import best_of
from compressae_ref.backends.rules import cosine, mul_rounded
from compressae_ref.backends.search_types import Hits, Items, Queries, no_hits, stacked
from compressae_ref.backends.unpacked_blocks import by_unpacking
from compressae_ref.codes import Codes

QUERIES_PER_THREAD = 2 if SIMULATED else 8
"""Queries that a thread scores each time it reads an item."""

TILE = 16 if SIMULATED else 8192
"""Items of a tile: a block selects its best items, then the best of all tiles are selected."""

QUERIES_PER_BLOCK = 256


class DeviceItems:
    """The arrays of n items that stay on the device between searches."""

    def __init__(self, codes: Codes, norms: Floats) -> None:
        indices, values = rows(codes.indices), rows(codes.values)
        self.n, padded = len(indices), -(-len(indices) // TILE) * TILE
        self.indices = empty((codes.k, padded), np.int32)
        self.values, self.norms = empty((codes.k, padded), values.dtype), place(np.asarray(norms))
        _lay_out(elements(codes.k * padded), indices, values, self.indices, self.values)
        self.rows = place(np.arange(padded, dtype=np.int64).reshape(-1, TILE))
        self.all = place((np.arange(padded) < self.n).astype(np.uint8))

    def ranks(self, items: Items) -> tuple[Any, int]:
        """Return ranks (tiles, TILE) on the device and the highest rank; ascending ranks become row numbers."""
        if (items.ranks[1:] > items.ranks[:-1]).all():
            return self.rows, self.rows.size - 1
        ranks = _padded_ranks(items, self.rows.size)
        return place(ranks.reshape(self.rows.shape)), int(ranks.max())

    def allowed(self, items: Items) -> Any:
        """Return which items may be returned, on the device."""
        if items.allowed is None:
            return self.all
        return place(np.pad(items.allowed, (0, self.rows.size - self.n)).astype(np.uint8))

    @property
    def nbytes(self) -> int:
        """Size of these arrays in bytes."""
        return sum(int(array.nbytes) for array in (self.indices, self.values, self.norms, self.rows, self.all))


def build_index(codes: Codes, norms: Floats) -> DeviceItems:
    """Copy the codes to the device, entry by entry, so that neighboring threads read neighboring items."""
    return DeviceItems(codes, norms)


def load_index(fields: Mapping[str, Any], codes: Codes, check: bool) -> None:
    """Return None: the index of another backend is not used."""


def codes_dot(u: Floats, codes: Codes) -> Any:
    indices, values = rows(codes.indices), rows(codes.values)

    def block_dots(block: Any) -> Any:
        placed = rows(block, values.dtype)
        dots = empty((len(placed), len(values)), placed.dtype)
        _codes_dot(elements(dots.size), placed, indices, values, dots)
        return dots

    return by_blocks([u], block_dots)


@kernel
def _codes_dot(u: F2, indices: I2, values: F2, dots: F2) -> None:
    for number in range(cuda.grid(1), dots.size, cuda.gridsize(1)):
        q, i = number // dots.shape[1], number % dots.shape[1]
        dot = u.dtype.type(0)
        for t in range(indices.shape[1]):
            dot = dot + mul_rounded(u[q, indices[i, t]], values[i, t])
        dots[q, i] = dot


def best_items(queries: Queries, items: Items, top: int) -> Hits:
    """Search as `backends.numpy.search.best_items` does."""
    placed = items.index if isinstance(items.index, DeviceItems) else DeviceItems(items.codes, items.norms)
    found, n_q = items.found(top), len(queries.norms)
    if not found or not n_q:
        return no_hits(n_q, items.norms.dtype, found)
    search = _Search(placed, *placed.ranks(items), placed.allowed(items))
    blocks = in_blocks(n_q, QUERIES_PER_BLOCK, lambda part: search.best(_part(queries, part), found))
    return stacked([best_of([hits], items.ranks, found) for hits in blocks], items, top)


best_packed_items = by_unpacking(unpack_rows, build_index, best_items)
"""`Backend.best_packed_items`; the codes are unpacked on the CPU."""


def _padded_ranks(items: Items, n: int) -> Any:
    """Return the ranks of all items, followed by higher ranks for the padding of the last tile."""
    ranks = np.empty(n, np.int64)
    ranks[: len(items.ranks)] = items.ranks
    ranks[len(items.ranks) :] = np.arange(n - len(items.ranks)) + items.ranks.max(initial=-1) + 1
    return ranks


def _part(queries: Queries, part: slice) -> Queries:
    return Queries(queries.u[part], queries.norms[part])


class _Search:
    """A search of the same items with several blocks of queries."""

    def __init__(self, items: DeviceItems, ranks: Any, max_rank: int, allowed: Any) -> None:
        self.items, self.ranks, self.max_rank, self.allowed = items, ranks, max_rank, allowed

    def best(self, queries: Queries, top: int) -> Hits:
        """Return the ``top`` best items of each query, in any order."""
        n_q, items = len(queries.norms), self.items
        u, norms = self._side_by_side(queries)
        scores = empty((u.shape[1], items.indices.shape[1]), u.dtype)
        _scores(elements(scores.size // QUERIES_PER_THREAD), u, norms, items.indices, items.values, items.norms, scores)
        keys = scores.view(unsigned(scores.dtype))
        _keys(elements(keys.size), scores, self.allowed, keys)
        ids = self._largest(keys[:n_q], top)
        best = empty((n_q, top), scores.dtype)
        _chosen_scores(elements(n_q * top), u, norms, items.indices, items.values, items.norms, ids, best)
        return Hits(fetch(ids).astype(np.int64), fetch(best))

    def _side_by_side(self, queries: Queries) -> tuple[Any, Any]:
        """Return u (h, n_q) and the norms of queries, padded to a multiple of QUERIES_PER_THREAD."""
        dense = rows(queries.dense(), self.items.values.dtype)
        n_q = -(-len(dense) // QUERIES_PER_THREAD) * QUERIES_PER_THREAD
        u, norms = empty((dense.shape[1], n_q), dense.dtype), np.ones(n_q, dense.dtype)
        norms[: len(dense)] = queries.norms
        _turn(elements(u.size), dense, u)
        return u, place(norms)

    def _largest(self, keys: Any, top: int) -> Any:
        """Return item numbers (n_q, top) of the largest keys, selected per tile first where that saves work."""
        n_q, tiles = len(keys), len(self.ranks)
        if tiles == 1 or 2 * top > TILE:
            return largest(keys, top, self.ranks.reshape(1, self.ranks.size), False, self.max_rank)[0]
        in_tiles = keys.reshape(n_q * tiles, TILE)
        kept, _, _ = largest(in_tiles, top, self.ranks, False, self.max_rank)
        ids, best_keys = empty((n_q, tiles * top), np.int32), empty((n_q, tiles * top), keys.dtype)
        ranks = empty((n_q, tiles * top), np.int64)
        _gather(elements(ids.size), in_tiles, self.ranks, kept, ids, best_keys, ranks)
        best, _, _ = largest(best_keys, top, ranks, False, self.max_rank)
        chosen = empty((n_q, top), np.int32)
        _choose(elements(chosen.size), ids, best, chosen)
        return chosen


@kernel
def _lay_out(indices: I2, values: F2, indices_by_entry: I2, values_by_entry: F2) -> None:
    n = indices_by_entry.shape[1]
    for number in range(cuda.grid(1), indices_by_entry.size, cuda.gridsize(1)):
        t, i = number // n, number % n
        real = i < indices.shape[0]
        indices_by_entry[t, i] = indices[i, t] if real else 0
        values_by_entry[t, i] = values[i, t] if real else values.dtype.type(0)


@kernel
def _turn(dense: F2, u: F2) -> None:
    for number in range(cuda.grid(1), u.size, cuda.gridsize(1)):
        j, q = number // u.shape[1], number % u.shape[1]
        u[j, q] = dense[q, j] if q < dense.shape[0] else dense.dtype.type(0)


@kernel
def _scores(u: F2, query_norms: F1, indices: I2, values: F2, norms: F1, scores: F2) -> None:
    dots = cuda.local.array(QUERIES_PER_THREAD, u.dtype)
    n = indices.shape[1]
    for number in range(cuda.grid(1), u.shape[1] // QUERIES_PER_THREAD * n, cuda.gridsize(1)):
        first_query, i = number // n * QUERIES_PER_THREAD, number % n
        for lane in range(QUERIES_PER_THREAD):
            dots[lane] = u.dtype.type(0)
        for t in range(indices.shape[0]):
            j, value = indices[t, i], values[t, i]
            for lane in range(QUERIES_PER_THREAD):
                dots[lane] = dots[lane] + mul_rounded(u[j, first_query + lane], value)
        for lane in range(QUERIES_PER_THREAD):
            norm = norms[i] if i < norms.shape[0] else u.dtype.type(1)
            scores[first_query + lane, i] = cosine(dots[lane], query_norms[first_query + lane], norm)


@kernel
def _chosen_scores(u: F2, query_norms: F1, indices: I2, values: F2, norms: F1, ids: I2, scores: F2) -> None:
    for number in range(cuda.grid(1), ids.size, cuda.gridsize(1)):
        q, t = number // ids.shape[1], number % ids.shape[1]
        i, dot = ids[q, t], u.dtype.type(0)
        for entry in range(indices.shape[0]):
            dot = dot + mul_rounded(u[indices[entry, i], q], values[entry, i])
        scores[q, t] = cosine(dot, query_norms[q], norms[i])


@kernel
def _keys(scores: F2, allowed: B1, keys: U2) -> None:
    """Replace scores by keys that order like them; −0 equals +0, and items that are not allowed come last."""
    sign = keys.dtype.type(1) << keys.dtype.type(8 * keys.itemsize - 1)
    for number in range(cuda.grid(1), keys.size, cuda.gridsize(1)):
        q, i = number // keys.shape[1], number % keys.shape[1]
        zero, bits = scores[q, i] == 0, keys[q, i]
        key = ~bits if bits & sign else bits | sign
        keys[q, i] = (sign if zero else key) if allowed[i] else keys.dtype.type(0)


@kernel
def _gather(keys: U2, ranks: L2, kept: I2, ids: I2, best_keys: U2, best_ranks: L2) -> None:
    tiles, top = ranks.shape[0], kept.shape[1]
    for number in range(cuda.grid(1), ids.size, cuda.gridsize(1)):
        q, entry = number // ids.shape[1], number % ids.shape[1]
        tile, t = entry // top, entry % top
        i = kept[q * tiles + tile, t]
        ids[q, entry] = tile * ranks.shape[1] + i
        best_keys[q, entry] = keys[q * tiles + tile, i]
        best_ranks[q, entry] = ranks[tile, i]


@kernel
def _choose(ids: I2, best: I2, chosen: I2) -> None:
    for number in range(cuda.grid(1), chosen.size, cuda.gridsize(1)):
        q, t = number // chosen.shape[1], number % chosen.shape[1]
        chosen[q, t] = ids[q, best[q, t]]
