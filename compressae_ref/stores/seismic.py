"""Seismic, an approximate index for sparse vectors in memory, made for values that are not negative.

It takes negative ones, and then loses most of what it should find. So codes go in with split signs, more items are
fetched than were asked for, and those are scored again by the codes themselves, which are kept beside the index.
It is no store: it holds no dense vectors and no payload.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from compressae_ref.codes import Codes
from compressae_ref.extras import needed_package
from compressae_ref.stores.ask import RESCORED
from compressae_ref.stores.contract import Found, checked, engine_errors, nonzero

BUILD = {"n_postings": 3500, "centroid_fraction": 0.1, "min_cluster_size": 2, "summary_energy": 0.4, "doc_cut": 16}
"""Seismic's defaults, except that all of a code of 32 entries may count: ``doc_cut`` keeps its largest ones only."""

CUT, HEAP_FACTOR = 64, 0.7
"""Entries of a query, largest first, whose lists are looked into; and how good a block of a list must look."""


class SeismicCodes:
    """Codes of items as `serving.Serving.items` makes them, in an index over their split signs.

    Parameters
    ----------
    vectors : n codes; items are called 0 to n − 1
    build : settings of Seismic's own
    """

    def __init__(self, vectors: Codes, **build: Any) -> None:
        self._engine = needed_package("seismic", "seismic", "Seismic")
        checked(range(len(vectors)), vectors)
        self._vectors = vectors
        split = vectors.split_signs()
        rows = [*nonzero(split)]
        offsets = np.cumsum([0, *(len(indices) for indices, _ in rows)])
        components = np.concatenate([np.array(indices, np.int64) for indices, _ in rows])
        values = np.concatenate([np.array(row, np.float32) for _, row in rows])
        with engine_errors("seismic", BaseException):
            dataset = self._engine.SeismicDataset()
            dataset.add_documents_by_id([str(row) for row in range(len(rows))], components, values, offsets)
            settings = {**BUILD, "doc_cut": max(BUILD["doc_cut"], split.k), **build}
            self._index = self._engine.SeismicIndex.build_from_dataset(dataset, **settings)

    def search(self, vectors: Codes, top: int, *, fetch: int | None = None, cut: int = CUT) -> list[Found]:
        """The best items for queries of `serving.Serving.queries`: ``fetch`` (4 · top) by bounds, then exactly."""
        fetch = max(fetch or RESCORED * top, top)
        rows = [*nonzero(vectors.split_signs())]
        text = self._engine.get_seismic_string()
        with engine_errors("seismic", BaseException):
            answers = self._index.batch_search(
                queries_ids=np.array([str(query) for query in range(len(rows))], text),
                query_components=[np.array(indices).astype(text) for indices, _ in rows],
                query_values=[np.array(values, np.float32) for _, values in rows],
                k=fetch,
                query_cut=cut,
                heap_factor=HEAP_FACTOR,
            )
        found: dict[int, list[int]] = {int(hits[0][0]): [int(hit[2]) for hit in hits] for hits in answers if hits}
        return [self._rescored(u, found.get(query, []), top) for query, u in enumerate(vectors.to_dense())]

    def _rescored(self, u: Any, items: list[int], top: int) -> Found:
        indices, values = self._vectors.indices[items], self._vectors.values[items]
        scores = np.sum(u[indices] * values, axis=1)
        best = np.lexsort((items, -scores))[:top]
        return Found([items[place] for place in best], scores[best].tolist())
