"""Exact neighbours of dense rows by cosine: the truth that compression is measured by."""

from __future__ import annotations

from typing import Any

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.checks import as_embeddings
from compressae_ref.model import unit_rows
from compressae_ref.ranking import ITEMS_PER_BLOCK, QUERIES_PER_BLOCK, Hits, by_score, merged, no_hits


def nearest_dense(queries: Floats, items: Any, top: int) -> Hits:
    """The ``top`` rows with the highest cosine to each query, in blocks.

    Parameters
    ----------
    queries, items : (n_q, d) array and (n, d) source of rows; a row of zeros has cosine 0 with everything
    top : neighbours per query; all, if there are fewer
    """
    x_q = _unit_or_zero(as_embeddings(queries, name="queries", zeros=True))
    starts = range(0, len(x_q), QUERIES_PER_BLOCK)
    found = [_nearest_dense(x_q[start : start + QUERIES_PER_BLOCK], items, min(top, len(items))) for start in starts]
    return Hits(*(np.concatenate(columns) for columns in zip(*found, strict=True)))


def _nearest_dense(x_q: Floats, items: Any, top: int) -> Hits:
    best = no_hits(len(x_q), np.float32)
    for start in range(0, len(items), ITEMS_PER_BLOCK):
        rows = items[start : start + ITEMS_PER_BLOCK]
        block = as_embeddings(rows, name="items", d=x_q.shape[1], first_row=start, zeros=True)
        best = merged(best, x_q @ _unit_or_zero(block).T, np.arange(start, start + len(block)), top)
    return by_score(best)


def _unit_or_zero(x: Floats) -> Floats:
    zero = ~x.any(axis=1, keepdims=True)
    return np.where(zero, 0, unit_rows(np.where(zero, 1, x), np.float32)).astype(np.float32)
