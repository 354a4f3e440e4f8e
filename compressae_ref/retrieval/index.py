"""An index for exact search over codes; items can be added and removed."""

from __future__ import annotations

from copy import copy
from dataclasses import replace
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import require_memory
from compressae_ref.backends import Backend, get_backend
from compressae_ref.backends.ranking import best_of
from compressae_ref.backends.search_types import Hits, Items, Queries, no_hits, scaled_dots
from compressae_ref.checks import ZeroRows, as_integer, as_zero_rows
from compressae_ref.codes import Codes
from compressae_ref.errors import DomainError, ShapeError, naming_file
from compressae_ref.extensions.packed_codes import PackedCodes, as_codes
from compressae_ref.files.npz import PathLike
from compressae_ref.item_ids import as_ids
from compressae_ref.model import Encoder
from compressae_ref.retrieval.index_file import codes_of, ids_of, norms_of, read_index, reading_index, write_index
from compressae_ref.retrieval.index_ids import Ids
from compressae_ref.retrieval.index_segments import Segment, balanced, joined, rows_of
from compressae_ref.retrieval.spaces import (
    Space,
    as_queries,
    as_space,
    check_pair,
    checked_item_norms,
    needed,
    space_for,
)

BYTES_PER_LATENT = 64
"""Bytes that a search takes per latent, whatever the number of items is: lists, columns and dense queries."""


class State(NamedTuple):
    """Everything of an index that changes. A state never changes itself; an index replaces it."""

    segments: tuple[Segment, ...]
    ids: Ids

    def joined(self, backend: Backend) -> State:
        """Return the state without removed items, in at most one segment."""
        if not self.ids.removed:
            return State((joined(self.segments, backend),) if self.segments else (), self.ids)
        whole, alive = joined(self.segments, backend), self.ids.alive
        left = Segment.of(whole.codes[alive], whole.norms[alive], backend)
        return State((left,) if len(left.codes) else (), self.ids.kept())


class Index:
    """Items to search, with their norms in one space computed once.

    Notes
    -----
    Results are ordered by descending score, ties by ascending id (R10). They equal a sort of all scores, whatever was
    added or removed before. Items are kept in segments, each more than twice as large as the next, so an item is
    copied O(log n) times.

    Threads may share an index. A search sees the items before or after each `add` and `remove`, never a part of one,
    and does not wait for them. One `add`, `remove` or `save` runs at a time; the others wait. An index can be copied
    and pickled; a copy and its original change independently.
    """

    def __init__(self, space: Space, like: Codes, model: Encoder | None, backend: Backend) -> None:
        require_memory(BYTES_PER_LATENT * like.n_latents, f"an index over {like.n_latents} latents", "codes")
        self.space, self.model, self.backend = space, model, backend
        self.like = like[:0]
        """codes of zero rows: the k, n_latents, dtype and model that added codes must have"""
        self._state = State((), Ids(np.empty(0, np.int64)))
        self._lock = Lock()
        """held by the one writer; readers take ``_state`` once and need no lock"""

    @classmethod
    def build(
        cls,
        codes: Codes | PackedCodes,
        *,
        space: Space | None = None,
        model: Encoder | None = None,
        ids: Any = None,
        backend: str | Backend | None = None,
    ) -> Index:
        """Build an index over all rows of ``codes``, which may be empty; packed codes are unpacked.

        Parameters
        ----------
        space : "sparse", "reconstructed", "asymmetric" or "expanded" (`spaces`). None: "sparse", or "asymmetric" for
            refined codes
        model : required, except in the sparse space with queries that are codes. In the sparse space an `Encoder` is
            enough
        ids : (n,) integers or strings, all different; what `item_ids.as_ids` accepts. None: row numbers

        Raises
        ------
        DomainError, ShapeError, DTypeError
            For an unknown space, a missing model, codes of another model, or invalid ids.
        """
        codes = as_codes(codes, backend)
        if model is not None:
            model.check_codes(codes)
            codes = codes.astype(model.params.dtype)
        index = cls(space_for(space, codes, model), codes, model, get_backend(backend))
        index.add(codes, ids)
        return index

    def __len__(self) -> int:
        return len(self._state.ids)

    def __repr__(self) -> str:
        return f"Index({len(self)} items, {self.space} space, {self.like!r})"

    @property
    def ids(self) -> NDArray[Any]:
        """The ids of all items, in insertion order: int64, or an object array of ``str``."""
        ids = self._state.ids
        return ids.values[ids.alive]

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
        ids = None if ids is None else as_ids(ids, len(codes))
        with self._lock:
            segments, before = self._state
            after = before.added(ids, len(codes))
            if len(codes):
                added = Segment.of(codes, norms, self.backend)
                segments = tuple(balanced([*segments, added], self.backend))
            self._state = State(segments, after)

    def remove(self, ids: Any) -> None:
        """Remove items by their ids. If an id is unknown, a DomainError names it and nothing is removed."""
        with self._lock:
            state = State(self._state.segments, self._state.ids.without(ids))
            sparse = 2 * len(state.ids) < len(state.ids.values)
            self._state = state.joined(self.backend) if sparse else state

    def search(
        self,
        queries: Codes | Any,
        top: int = 100,
        *,
        query_k: int | None = None,
        allowed: Any = None,
        rescore: int | None = None,
        zero_rows: ZeroRows = "error",
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
        zero_rows : for dense queries of zeros: "error"; "empty" for scores of 0, so that the first items are returned;
            "skip" for no row in the result. The rows of the result are then those of `row_source.nonzero_rows`
        """
        top, zero_rows = as_integer(top, "top"), as_zero_rows(zero_rows)
        if rescore is not None:
            needed(self.model, "re-ranking")
            if as_integer(rescore, "rescore") < top:
                raise DomainError(f"expected at least top = {top} items to re-rank, got {rescore}", argument="rescore")
        vectors = as_queries(self.space, queries, self.like, self.model, query_k, self.backend, zero_rows)
        state = self._state
        hits = self._best(state, vectors, rescore or top, allowed)
        if rescore is not None:
            vectors = self._to_rescore(queries, zero_rows)
            hits = self._rescored(state, vectors, hits, top)
        return Hits(state.ids.values[hits.ids], vectors.scores(hits.scores))

    def save(self, path: PathLike) -> None:
        """Write an index file with all items and the search index of the backend.

        Raises
        ------
        OSError
            If the file cannot be written. No partial file is left.
        """
        with self._lock:
            self._state = state = self._state.joined(self.backend)
        codes, norms, built = self.like, np.empty(0, self.like.values.dtype), None
        if state.segments:
            codes, norms, built = state.segments[0].codes, state.segments[0].norms, state.segments[0].index
        meta = {"space": self.space, "k": codes.k, "n_latents": codes.n_latents, "model": codes.model}
        arrays = {"indices": codes.indices, "values": codes.values, "norms": norms}
        write_index(path, meta, arrays, state.ids, built)

    @classmethod
    def load(
        cls, path: PathLike, *, model: Encoder | None = None, backend: str | Backend | None = None, check: bool = True
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
            ids = ids_of(path, meta, arrays, check)
            segments: tuple[Segment, ...] = ()
            if len(codes):
                built = index.backend.load_index(fields, codes, check) if fields else None
                norms = norms_of(codes, arrays, check)
                built = index.backend.build_index(codes, norms) if built is None else built
                segments = (Segment(codes, norms, built),)
            index._state = State(segments, ids)
        if index.space != "sparse":
            needed(model, f"the {index.space} space")
        if model is not None:
            with naming_file(path):
                model.check_codes(codes)
        return index

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle or a copy holds: its own ids, which a writer changes, and no lists on a device."""
        segments, ids = self._state
        segments = tuple(each if isinstance(each.index, tuple) else replace(each, index=None) for each in segments)
        return {**vars(self), "backend": self.backend.name, "_state": State(segments, copy(ids)), "_lock": None}

    def __setstate__(self, pickled: dict[str, Any]) -> None:
        vars(self).update(pickled)
        self._lock, self.backend = Lock(), get_backend(pickled["backend"])
        for segment in self._state.segments:
            if segment.index is None:
                segment.index = self.backend.build_index(segment.codes, segment.norms)

    def _best(self, state: State, queries: Queries, top: int, allowed: Any) -> Hits:
        """`search` with row numbers instead of ids."""
        mask, ranks, first = state.ids.mask(allowed), state.ids.ranks, 0
        parts = [no_hits(len(queries.norms), self.like.values.dtype)]
        for segment in state.segments:
            rows = slice(first, first + len(segment.codes))
            some = None if mask is None else mask[rows]
            items = Items(segment.codes, segment.norms, ranks[rows], some, segment.index)
            hits = self.backend.best_items(queries, items, top)
            parts.append(Hits(hits.ids + first, hits.scores))
            first = rows.stop
        return parts[1] if len(parts) == 2 else best_of(parts, ranks, top)

    def _to_rescore(self, queries: Any, zero_rows: ZeroRows) -> Queries:
        if isinstance(queries, Codes):
            raise DomainError("expected dense embeddings to re-rank with, got codes", argument="queries")
        return as_queries("asymmetric", queries, self.like, self.model, None, self.backend, zero_rows)

    def _rescored(self, state: State, queries: Queries, hits: Hits, top: int) -> Hits:
        """Re-rank ``hits`` by asymmetric cosine."""
        u = self.backend.fetch(queries.dense())
        for segment in state.segments:
            self._need_norms_hat(segment)
        scores = np.empty(hits.ids.shape, u.dtype)
        for query, rows in enumerate(hits.ids):
            codes, norms_hat = rows_of(state.segments, self.like, rows)
            dots = self.backend.codes_dot(u[query : query + 1], codes)
            scores[query] = scaled_dots(dots, np.ones(1, u.dtype), norms_hat)[0]
        return best_of([Hits(hits.ids, scores)], state.ids.ranks, top)

    def _need_norms_hat(self, segment: Segment) -> None:
        if segment.norms_hat is None:
            known = self.space != "sparse"
            segment.norms_hat = (
                segment.norms if known else checked_item_norms("asymmetric", segment.codes, self.model, self.backend)
            )


def search(
    queries: Codes | Any,
    codes: Codes | PackedCodes,
    top: int = 100,
    *,
    space: Space | None = None,
    model: Encoder | None = None,
    query_k: int | None = None,
    rescore: int | None = None,
    zero_rows: ZeroRows = "error",
    backend: str | Backend | None = None,
) -> Hits:
    """Find the ``top`` rows of ``codes`` with the highest cosine to each query: `Index.build`, then `Index.search`."""
    index = Index.build(codes, space=space, model=model, backend=backend)
    return index.search(queries, top, query_k=query_k, rescore=rescore, zero_rows=zero_rows)
