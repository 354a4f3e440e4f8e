"""Exact nearest neighbours of dense rows by brute force: the ground truth that recall is measured against."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from compressae_ref.arrays import Bools, Floats
from compressae_ref.backends.numpy.search import ITEMS_PER_BLOCK, merged
from compressae_ref.backends.ranking import by_score
from compressae_ref.backends.search_types import QUERIES_PER_BLOCK, Hits, no_hits
from compressae_ref.checks import as_embeddings
from compressae_ref.reference import unit_rows


def nearest_dense(queries: Floats, items: Any, top: int) -> Hits:
    """Find the ``top`` rows with the highest cosine to each query, in blocks.

    Parameters
    ----------
    queries, items : (n_q, d) array and (n, d) source of rows; a row of zeros has cosine 0 with everything
    top : neighbours per query; all, if there are fewer
    """
    x_q = unit_or_zero(as_embeddings(queries, name="queries", zeros=True))
    return best_products(x_q, items, top, lambda rows, first: _unit_block(rows, first, x_q.shape[1]))


def _unit_block(rows: Any, first_row: int, d: int) -> Floats:
    return unit_or_zero(as_embeddings(rows, name="items", d=d, first_row=first_row, zeros=True))


def best_products(
    x_q: Floats, items: Any, top: int, read: Callable[[Any, int], Floats] = lambda rows, first: rows
) -> Hits:
    """Find the ``top`` rows with the highest dot product with each query, in blocks of rows and of queries.

    ``read(rows, first_row)`` converts a block of items, which starts at ``first_row``, to floats (m, d).
    """
    starts = range(0, len(x_q), QUERIES_PER_BLOCK)
    top = min(top, len(items))
    hits = [_best_products(x_q[start : start + QUERIES_PER_BLOCK], items, top, read) for start in starts]
    return Hits(*(np.concatenate(columns) for columns in zip(*hits, strict=True)))


def _best_products(x_q: Floats, items: Any, top: int, read: Callable[[Any, int], Floats]) -> Hits:
    best = no_hits(len(x_q), np.float32)
    for start in range(0, len(items), ITEMS_PER_BLOCK):
        block = read(items[start : start + ITEMS_PER_BLOCK], start)
        best = merged(best, x_q @ block.T, np.arange(start, start + len(block)), top)
    return by_score(best)


def unit_or_zero(x: Floats) -> Floats:
    """Return unit rows in float32; a zero row stays zero."""
    zero: Bools = np.logical_not(np.any(x, axis=1))
    x_unit: Floats = unit_rows(np.where(zero[:, None], 1, x) if zero.any() else x, np.float32)
    x_unit[zero] = 0
    return x_unit
