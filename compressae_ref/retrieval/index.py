"""An index for exact search over codes; items can be added and removed."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import require_memory
from compressae_ref.backends import Backend, get_backend
from compressae_ref.backends.ranking import best_of
from compressae_ref.backends.search_types import Hits, Items, Queries, no_hits, scaled_dots
from compressae_ref.checks import as_integer
from compressae_ref.codes import Codes
from compressae_ref.errors import DomainError, ShapeError
from compressae_ref.extensions.packed_codes import PackedCodes, as_codes
from compressae_ref.files.npz import PathLike
from compressae_ref.item_ids import Ids, as_ids
from compressae_ref.model import Model
from compressae_ref.retrieval.index_file import codes_of, ids_of, norms_of, read_index, reading_index, write_index
from compressae_ref.retrieval.index_segments import Segment, balanced, joined, rows_of
from compressae_ref.retrieval.spaces import Space, as_queries, as_space, check_pair, checked_item_norms, needed

BYTES_PER_LATENT = 64
"""Bytes that a search takes per latent, whatever the number of items is: lists, columns and dense queries."""


class Index:
    """Items to search, with their norms in one space computed once.

    Notes
    -----
    Results are ordered by descending score, ties by ascending id (R10). They equal a sort of all scores, whatever was
    added or removed before. Items are kept in segments, each more than twice as large as the next, so an item is
    copied O(log n) times.
    """

    def __init__(self, space: Space, like: Codes, model: Model | None, backend: Backend) -> None:
        require_memory(BYTES_PER_LATENT * like.n_latents, f"an index over {like.n_latents} latents", "codes")
        self.space, self.model, self.backend = space, model, backend
        self.like = like[:0]
        """codes of zero rows: the k, n_latents, dtype and model that added codes must have"""
        self._segments: list[Segment] = []
        self._ids = Ids(np.empty(0, np.int64))

    @classmethod
    def build(
        cls,
        codes: Codes | PackedCodes,
        *,
        space: Space = "sparse",
        model: Model | None = None,
        ids: Any = None,
        backend: str | Backend | None = None,
    ) -> Index:
        """Build an index over all rows of ``codes``, which may be empty; packed codes are unpacked.

        Parameters
        ----------
        space : "sparse", "reconstructed", "asymmetric" or "expanded" (`spaces`)
        model : required, except in the sparse space with queries that are codes
        ids : (n,) integers or strings, all different; None: row numbers

        Raises
        ------
        DomainError, ShapeError, DTypeError
            For an unknown space, a missing model, codes of another model, or invalid ids.
        """
        codes = as_codes(codes, backend)
        if model is not None:
            model.check_codes(codes)
            codes = codes.astype(model.params.dtype)
        index = cls(as_space(space), codes, model, get_backend(backend))
        if space != "sparse":
            needed(model, f"the {space} space")
        index.add(codes, ids)
        return index

    def __len__(self) -> int:
        return len(self._ids)

    def __repr__(self) -> str:
        return f"Index({len(self)} items, {self.space} space, {self.like!r})"

    @property
    def ids(self) -> NDArray[Any]:
        """The ids of all items, in insertion order."""
        return self._ids.values[self._ids.alive]

    def add(self, codes: Codes | PackedCodes, ids: Any = None) -> None:
        """Add items.

        Parameters
        ----------
        codes : codes of the same model, with as many entries as those in the index
        ids : as in `build`, none of them in the index yet; None: the numbers after the highest id used so far

        Raises
        ------
        DomainError, ShapeError, DTypeError
            Nothing is added then.
        """
        codes = as_codes(codes, self.backend)
        check_pair(codes, self.like, "codes")
        if codes.k != self.like.k:
            raise ShapeError(f"expected k = {self.like.k} entries as in the index, got {codes.k}", argument="codes")
        codes = codes.astype(self.like.values.dtype)
        norms = checked_item_norms(self.space, codes, self.model, self.backend)
        self._ids.add(None if ids is None else as_ids(ids), len(codes))
        if len(codes):
            added = Segment.of(codes, norms, self.backend)
            self._segments = balanced([*self._segments, added], self.backend)

    def remove(self, ids: Any) -> None:
        """Remove items by their ids. If an id is unknown, a DomainError names it and nothing is removed."""
        self._ids.remove(ids)
        if 2 * len(self) < len(self._ids.values):
            self._forget_removed()

    def search(
        self,
        queries: Codes | Any,
        top: int = 100,
        *,
        query_k: int | None = None,
        allowed: Any = None,
        rescore: int | None = None,
    ) -> Hits:
        """Find the ``top`` items with the highest cosine to each query, exactly (all items if there are fewer).

        Parameters
        ----------
        queries : dense embeddings (n_q, d), which are encoded if the space needs codes; or codes, in the sparse and the
            reconstructed space
        query_k : entries of encoded queries; None: as many as the items have, in the expanded space 8 times as many.
            A longer query code needs no storage and raises recall in sparse space
        allowed : return only items with these ids; unknown ids are ignored. None: no restriction
        rescore : re-rank this many best items, at least ``top``, by asymmetric cosine. It needs dense queries and the
            model
        """
        top = as_integer(top, "top")
        if rescore is not None:
            needed(self.model, "re-ranking")
            if as_integer(rescore, "rescore") < top:
                raise DomainError(f"expected at least top = {top} items to re-rank, got {rescore}", argument="rescore")
        vectors = as_queries(self.space, queries, self.like, self.model, query_k, self.backend)
        hits = self._best(vectors, rescore or top, allowed)
        if rescore is not None:
            vectors = self._to_rescore(queries)
            hits = self._rescored(vectors, hits, top)
        return Hits(self._ids.values[hits.ids], vectors.scores(hits.scores))

    def save(self, path: PathLike) -> None:
        """Write an index file with all items and the search index of the backend.

        Raises
        ------
        OSError
            If the file cannot be written. No partial file is left.
        """
        self._forget_removed()
        codes, norms, built = self.like, np.empty(0, self.like.values.dtype), None
        if self._segments:
            self._segments = [joined(self._segments, self.backend)]
            codes, norms, built = self._segments[0].codes, self._segments[0].norms, self._segments[0].index
        meta = {
            "space": self.space,
            "k": codes.k,
            "n_latents": codes.n_latents,
            "model": codes.model,
            "next_number": self._ids.next_number,
        }
        arrays = {"indices": codes.indices, "values": codes.values, "norms": norms, "ids": self._ids.values}
        write_index(path, meta, arrays, built)

    @classmethod
    def load(
        cls, path: PathLike, *, model: Model | None = None, backend: str | Backend | None = None, check: bool = True
    ) -> Index:
        """Load an index from its file.

        Parameters
        ----------
        model : required as in `build`
        check : if True, read the file into memory and verify its checksums; later changes of the file have no effect.
            If False, map the file: it opens at once, and only the parts that a search needs are read. A damaged file
            may then give wrong results, and a file that another program changes may crash the process

        Raises
        ------
        FormatError
            With the file and the reason; DomainError if the model is missing or a different one.
        """
        meta, arrays, fields = read_index(path, check)
        with reading_index(path):
            codes = codes_of(meta, arrays, check)
            index = cls(as_space(meta["space"]), codes, model, get_backend(backend))
            index._ids = ids_of(meta, arrays, check)
            if len(codes):
                built = index.backend.load_index(fields, codes, check) if fields else None
                norms = norms_of(codes, arrays, check)
                built = index.backend.build_index(codes, norms) if built is None else built
                index._segments = [Segment(codes, norms, built)]
        if index.space != "sparse":
            needed(model, f"the {index.space} space")
        if model is not None:
            model.check_codes(codes)
        return index

    def _best(self, queries: Queries, top: int, allowed: Any) -> Hits:
        """`search` with row numbers instead of ids."""
        mask, ranks, first = self._ids.mask(allowed), self._ids.ranks, 0
        parts = [no_hits(len(queries.norms), self.like.values.dtype)]
        for segment in self._segments:
            rows = slice(first, first + len(segment.codes))
            some = None if mask is None else mask[rows]
            items = Items(segment.codes, segment.norms, ranks[rows], some, segment.index)
            hits = self.backend.best_items(queries, items, top)
            parts.append(Hits(hits.ids + first, hits.scores))
            first = rows.stop
        return parts[1] if len(parts) == 2 else best_of(parts, ranks, top)

    def _to_rescore(self, queries: Any) -> Queries:
        if isinstance(queries, Codes):
            raise DomainError("expected dense embeddings to re-rank with, got codes", argument="queries")
        return as_queries("asymmetric", queries, self.like, self.model, None, self.backend)

    def _rescored(self, queries: Queries, hits: Hits, top: int) -> Hits:
        """Re-rank ``hits`` by asymmetric cosine."""
        u = self.backend.fetch(queries.dense())
        for segment in self._segments:
            self._need_norms_hat(segment)
        scores = np.empty(hits.ids.shape, u.dtype)
        for query, rows in enumerate(hits.ids):
            codes, norms_hat = rows_of(self._segments, self.like, rows)
            dots = self.backend.codes_dot(u[query : query + 1], codes)
            scores[query] = scaled_dots(dots, np.ones(1, u.dtype), norms_hat)[0]
        return best_of([Hits(hits.ids, scores)], self._ids.ranks, top)

    def _need_norms_hat(self, segment: Segment) -> None:
        if segment.norms_hat is None:
            known = self.space != "sparse"
            segment.norms_hat = (
                segment.norms if known else checked_item_norms("asymmetric", segment.codes, self.model, self.backend)
            )

    def _forget_removed(self) -> None:
        """Drop removed items from memory."""
        if self._ids.removed:
            alive, whole = self._ids.forget_removed(), joined(self._segments, self.backend)
            left = Segment.of(whole.codes[alive], whole.norms[alive], self.backend)
            self._segments = [left] if len(left.codes) else []


def search(
    queries: Codes | Any,
    codes: Codes | PackedCodes,
    top: int = 100,
    *,
    space: Space = "sparse",
    model: Model | None = None,
    query_k: int | None = None,
    rescore: int | None = None,
    backend: str | Backend | None = None,
) -> Hits:
    """Find the ``top`` rows of ``codes`` with the highest cosine to each query: `Index.build`, then `Index.search`."""
    index = Index.build(codes, space=space, model=model, backend=backend)
    return index.search(queries, top, query_k=query_k, rescore=rescore)
