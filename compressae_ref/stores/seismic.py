"""Seismic, an approximate index for sparse vectors in memory, made for values that are not negative.

It takes negative ones, and then loses most of what it should find. So codes go in with split signs, more items are
fetched than were asked for, and those are scored again by the codes themselves, which are kept beside the index.
It is no store: it holds no dense vectors and no payload.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from compressae_ref.codes import Codes
from compressae_ref.optional import require_package
from compressae_ref.stores.contract import Found, checked, engine_errors, nonzero
from compressae_ref.stores.query import RESCORED

BUILD = {"n_postings": 3500, "centroid_fraction": 0.1, "min_cluster_size": 2, "summary_energy": 0.4, "doc_cut": 16}
"""Seismic's defaults, except that all of a code of 32 entries may count: ``doc_cut`` keeps its largest ones only."""

CUT, HEAP_FACTOR = 64, 0.7
"""Entries of a query, largest first, whose lists are looked into; and how good a block of a list must look."""


class RawSeismic:
    """Vectors as they are, in an index; those whose values are not negative it was made for.

    Parameters
    ----------
    vectors : n sparse vectors; they are called 0 to n − 1
    build : settings of Seismic's own
    """

    def __init__(self, vectors: Codes, **build: Any) -> None:
        self._engine = require_package("seismic", "seismic", "Seismic")
        checked(range(len(vectors)), vectors)
        rows = [*nonzero(vectors)]
        offsets = np.cumsum([0, *(len(indices) for indices, _ in rows)])
        components = np.concatenate([np.array(indices, np.int64) for indices, _ in rows])
        values = np.concatenate([np.array(row, np.float32) for _, row in rows])
        with engine_errors("seismic", BaseException):
            dataset = self._engine.SeismicDataset()
            dataset.add_documents_by_id([str(row) for row in range(len(rows))], components, values, offsets)
            settings = {**BUILD, "doc_cut": max(int(BUILD["doc_cut"]), vectors.k), **build}
            self._index = self._engine.SeismicIndex.build_from_dataset(dataset, **settings)

    def search(self, vectors: Codes, top: int, *, cut: int = CUT) -> list[list[int]]:
        """The vectors with the largest dots, or most of them, for each query."""
        rows, text = [*nonzero(vectors)], self._engine.get_seismic_string()
        with engine_errors("seismic", BaseException):
            answers = self._index.batch_search(
                queries_ids=np.array([str(query) for query in range(len(rows))], text),
                query_components=[np.array(indices).astype(text) for indices, _ in rows],
                query_values=[np.array(values, np.float32) for _, values in rows],
                k=top,
                query_cut=cut,
                heap_factor=HEAP_FACTOR,
            )
        found = {int(hits[0][0]): [int(hit[2]) for hit in hits] for hits in answers if hits}
        return [found.get(query, []) for query in range(len(rows))]


class SeismicCodes:
    """Codes of items as `serving.Serving.items` makes them, found by their split signs and scored as they are.

    Parameters
    ----------
    vectors : n codes; items are called 0 to n − 1
    build : settings of Seismic's own
    """

    def __init__(self, vectors: Codes, **build: Any) -> None:
        self._vectors, self._index = vectors, RawSeismic(vectors.split_signs(), **build)

    def search(self, vectors: Codes, top: int, *, fetch: int | None = None, cut: int = CUT) -> list[Found]:
        """The best items for queries of `serving.Serving.queries`: ``fetch`` (4 · top) by bounds, then exactly."""
        items = self._index.search(vectors.split_signs(), max(fetch or RESCORED * top, top), cut=cut)
        return [self._rescored(u, some, top) for u, some in zip(vectors.to_dense(), items, strict=True)]

    def _rescored(self, u: Any, items: list[int], top: int) -> Found:
        scores = np.sum(u[self._vectors.indices[items]] * self._vectors.values[items], axis=1)
        best = np.lexsort((items, -scores))[:top]
        return Found([items[place] for place in best], scores[best].tolist())
