"""Search by scoring all items, in blocks of queries and of items that bound the memory and change nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.backends.numpy.bit_packing import unpack_rows
from compressae_ref.backends.numpy.sums import codes_dot
from compressae_ref.backends.numpy.topk import largest
from compressae_ref.backends.ranking import by_score
from compressae_ref.backends.search_types import Hits, Items, Queries, no_hits, scaled_dots, stacked
from compressae_ref.backends.unpacked_blocks import by_unpacking
from compressae_ref.codes import Codes

ITEMS_PER_BLOCK = 8192


def build_index(codes: Codes, norms: Floats) -> None:
    """Return None: this backend keeps no search index."""


def load_index(fields: Mapping[str, Any], codes: Codes, check: bool) -> None:
    """Return None: the index of another backend is not used."""


def best_items(queries: Queries, items: Items, top: int) -> Hits:
    """The ``top`` items with the highest score dot(u, code) / (‖query‖ ‖item‖) for each query (E10, R10).

    Dense equivalent: a stable sort of all scores, descending, with the items in the order of their ranks.

    Returns
    -------
    Hits whose ids are row numbers, min(top, number of allowed items) for each query
    """
    rows = np.argsort(items.ranks)
    rows = rows if items.allowed is None else rows[items.allowed[rows]]
    hits = [_best(block, items, rows, items.found(top)) for block in queries.blocks()]
    return stacked(hits, items, top)


best_packed_items = by_unpacking(unpack_rows, build_index, best_items)
"""`Backend.best_packed_items`."""


def _best(queries: Queries, items: Items, rows: NDArray[np.int64], top: int) -> Hits:
    u = queries.dense()
    best = no_hits(len(u), u.dtype)
    for start in range(0, len(rows), ITEMS_PER_BLOCK):
        block = rows[start : start + ITEMS_PER_BLOCK]
        scores = scaled_dots(codes_dot(u, items.codes[block]), queries.norms, items.norms[block])
        best = merged(best, scores, block, top)
    return by_score(best)


def merged(best: Hits, scores: Floats, rows: NDArray[np.int64], top: int) -> Hits:
    """The ``top`` of the best so far and of a block of items; both are in the order of ranks, and so is the result."""
    ids = np.concatenate([best.ids, np.broadcast_to(rows, scores.shape)], axis=1)
    scores = np.concatenate([best.scores, scores], axis=1)
    keep = largest(scores, min(top, scores.shape[1]))
    return Hits(ids[keep].reshape(len(ids), -1), scores[keep].reshape(len(ids), -1))
