"""Seismic, an approximate index in memory for sparse vectors whose values are not negative.

Seismic accepts negative values, but its recall is then low. Codes are therefore indexed with split signs. A search
fetches more items than requested and re-ranks them by their signed codes, which are stored beside the index.
Seismic is not a `contract.Store`: it holds no dense vectors and no payload.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from compressae_ref.codes import Codes
from compressae_ref.optional import require_package
from compressae_ref.stores.contract import Found, checked, engine_errors, nonzero
from compressae_ref.stores.query import RESCORED

BUILD = {"n_postings": 3500, "centroid_fraction": 0.1, "min_cluster_size": 2, "summary_energy": 0.4, "doc_cut": 16}
"""Default settings of Seismic. `RawSeismic` raises ``doc_cut``, the largest entries kept per item, to k."""

CUT, HEAP_FACTOR = 64, 0.7
"""Number of largest query entries whose lists are searched, and the factor by which blocks of a list are skipped."""


class RawSeismic:
    """Index sparse vectors without a change. Recall is good only if no value is negative.

    Parameters
    ----------
    vectors : n sparse vectors with the ids 0 to n − 1
    build : settings of Seismic
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
        """Return the ids of the vectors with the largest dot products for each query (approximate)."""
        rows, string = [*nonzero(vectors)], self._engine.get_seismic_string()
        with engine_errors("seismic", BaseException):
            results = self._index.batch_search(
                queries_ids=np.array([str(query) for query in range(len(rows))], string),
                query_components=[np.array(indices).astype(string) for indices, _ in rows],
                query_values=[np.array(values, np.float32) for _, values in rows],
                k=top,
                query_cut=cut,
                heap_factor=HEAP_FACTOR,
            )
        ids = {int(hits[0][0]): [int(hit[2]) for hit in hits] for hits in results if hits}
        return [ids.get(query, []) for query in range(len(rows))]


class SeismicCodes:
    """Index the codes of `stored_form.Serving.items` by split signs; re-rank results by the signed codes.

    Parameters
    ----------
    vectors : n codes of items with the ids 0 to n − 1
    build : settings of Seismic
    """

    def __init__(self, vectors: Codes, **build: Any) -> None:
        self._vectors, self._index = vectors, RawSeismic(vectors.split_signs(), **build)

    def search(self, vectors: Codes, top: int, *, fetch: int | None = None, cut: int = CUT) -> list[Found]:
        """Return the best items for `stored_form.Serving.queries`: re-rank ``fetch`` items (None: 4 · top)."""
        items = self._index.search(vectors.split_signs(), max(fetch or RESCORED * top, top), cut=cut)
        return [self._rescored(u, rows, top) for u, rows in zip(vectors.to_dense(), items, strict=True)]

    def _rescored(self, u: Any, items: list[int], top: int) -> Found:
        scores = np.sum(u[self._vectors.indices[items]] * self._vectors.values[items], axis=1)
        best = np.lexsort((items, -scores))[:top]
        return Found([items[row] for row in best], scores[best].tolist())
