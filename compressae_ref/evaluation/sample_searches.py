"""Searches among the codes of a sample, as `sample.Find`: each may be restricted to some of the items."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Bools, Floats
from compressae_ref.backends import Backend
from compressae_ref.backends.search_types import Items, Queries
from compressae_ref.codes import Codes
from compressae_ref.evaluation.sample import Find
from compressae_ref.extensions.residual_codes import ResidualCodes
from compressae_ref.model import Model
from compressae_ref.retrieval.residual_index import ResidualIndex
from compressae_ref.retrieval.spaces import Space, as_queries, checked_item_norms

FETCHED = 4
"""Items that are re-ranked per result, if signs are split (`stores.query.RESCORED`)."""


class SampleSearches:
    """Searches with the same queries; in each space these are encoded once."""

    def __init__(self, model: Model, queries: Floats, backend: Backend) -> None:
        self.model, self.queries, self.backend = model, queries, backend
        self._vectors: dict[tuple[Space, int | None], Queries] = {}

    def vectors(self, space: Space, query_k: int | None) -> Queries:
        """Return the queries as vectors over the latents; they are the same for all codes."""
        if (space, query_k) not in self._vectors:
            like = Codes.none(1, self.model.params.n_latents, self.model.params.dtype)
            self._vectors[space, query_k] = as_queries(space, self.queries, like, self.model, query_k, self.backend)
        return self._vectors[space, query_k]

    def exact(self, space: Space, codes: Codes, query_k: int | None) -> Find:
        """Return the search of `Index.search`."""
        codes = codes.astype(self.model.params.dtype)
        norms, ranks = checked_item_norms(space, codes, self.model, self.backend), np.arange(len(codes))
        built, vectors = self.backend.build_index(codes, norms), self.vectors(space, query_k)

        def find(top: int, allowed: NDArray[np.int64] | None) -> NDArray[np.int64]:
            items = Items(codes, norms, ranks, _mask(allowed, len(codes)), built)
            return self.backend.best_items(vectors, items, top).ids

        return find

    def split(self, space: Space, codes: Codes, query_k: int | None) -> Find:
        """Return the search of an engine that refuses signs: it finds items by split codes, and signed ones re-rank."""
        norms, ranks = checked_item_norms(space, codes, self.model, self.backend), np.arange(len(codes))
        vectors = self.vectors(space, query_k)
        assert isinstance(vectors.u, Codes)
        split, queries = codes.split_signs(), Queries(vectors.u.split_signs(), vectors.norms)
        built, u = self.backend.build_index(split, norms), vectors.dense()

        def find(top: int, allowed: NDArray[np.int64] | None) -> NDArray[np.int64]:
            items = Items(split, norms, ranks, _mask(allowed, len(codes)), built)
            near = self.backend.best_items(queries, items, FETCHED * top).ids
            scores = [
                (query[codes.indices[ids]] * codes.values[ids]).sum(axis=1) / norms[ids]
                for query, ids in zip(u, near, strict=True)
            ]
            order = np.argsort(np.negative(scores), axis=1, kind="stable")[:, :top]
            return np.take_along_axis(near, order, axis=1)

        return find

    def residual(self, codes: ResidualCodes) -> Find:
        """Return the search of `ResidualIndex.search`."""
        index = ResidualIndex(codes, self.model, backend=self.backend)
        return lambda top, allowed: index.search(self.queries, top, allowed=allowed).ids


def _mask(allowed: NDArray[np.int64] | None, n: int) -> Bools | None:
    return None if allowed is None else np.isin(np.arange(n), allowed)
