"""Search packed codes by unpacking them block by block, for backends without a kernel that reads the bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.backends.ranking import Ranked, best_of_ranked
from compressae_ref.backends.search_types import Hits, Items, PackedItems, Queries, found_in
from compressae_ref.codes import Codes

ITEMS_PER_BLOCK = 65_536
"""Items that are unpacked at a time. The choice affects memory and speed only."""


def by_unpacking(
    unpack_rows: Callable[..., tuple[Any, Floats]],
    build_index: Callable[[Codes, Floats], Any],
    best_items: Callable[[Queries, Items, int], Hits],
) -> Callable[[Queries, Sequence[PackedItems], int], Hits]:
    """Make `Backend.best_packed_items` from three other kernels of a backend."""

    def best(queries: Queries, parts: Sequence[PackedItems], top: int) -> Hits:
        found: list[Ranked] = []
        for first, part in _blocks(parts):
            indices, values = unpack_rows(part.data, part.n_latents, part.k, part.bits)
            codes = Codes.trusted(indices, values.astype(part.norms.dtype, copy=False), part.n_latents)
            own = part.ranks
            ranks = np.arange(own.start, own.stop) if isinstance(own, range) else own.astype(np.int64)
            hits = best_items(
                queries, Items(codes, part.norms, ranks, part.allowed, build_index(codes, part.norms)), top
            )
            found = [best_of_ranked([*found, (Hits(hits.ids + first, hits.scores), ranks[hits.ids])], top)]
        return found[0][0]

    def best_packed_items(queries: Queries, parts: Sequence[PackedItems], top: int) -> Hits:
        return found_in(queries, parts, top, best)

    return best_packed_items


def _blocks(parts: Sequence[PackedItems]) -> Iterator[tuple[int, PackedItems]]:
    """Yield parts of at most `ITEMS_PER_BLOCK` items, each with the number of its first row among all."""
    first = 0
    for part in parts:
        for start in range(0, len(part.norms), ITEMS_PER_BLOCK):
            yield first + start, part.rows(slice(start, start + ITEMS_PER_BLOCK))
        first += len(part.norms)
