"""An index for exact search over codes that stay packed; items can be added and removed."""

from __future__ import annotations

from dataclasses import replace
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend, get_backend
from compressae_ref.backends.ranking import best_of_ranked
from compressae_ref.backends.search_types import Hits, PackedItems, Queries, scaled_dots
from compressae_ref.checks import ZeroRows, as_zero_rows, short_repr
from compressae_ref.codes import Codes
from compressae_ref.errors import DomainError, ShapeError, naming_file, rows_from
from compressae_ref.extensions.packed_codes import PackedCodes, require_packed
from compressae_ref.files.npz import PathLike
from compressae_ref.item_ids import as_ids, reject_repeated
from compressae_ref.model import Encoder
from compressae_ref.retrieval.index_ids import automatic_ids, require_kind
from compressae_ref.retrieval.packed_index_file import Facts, read_packed_index, write_packed_index
from compressae_ref.retrieval.packed_items import (
    State,
    all_ids,
    appended,
    as_array,
    chunks_of,
    kept,
    members,
    next_after,
)
from compressae_ref.retrieval.spaces import (
    Space,
    as_queries,
    as_top,
    check_pair,
    checked_item_norms,
    rescoring_queries,
    space_for,
)


class PackedIndex:
    """Packed codes to search as they are: a few dozen bytes for each item, and the results of `Index` to the bit.

    Notes
    -----
    An item takes the bytes of its packed code and 4 for its norm (8 if the model is float64). Ids take no memory if
    they are consecutive, 4 bytes if they fit 32 bits, else 8; strings take what Python needs for them. With k = 32 of
    4,096 latents and 5 bits these are 60 to 64 bytes.

    A search reads all codes, in blocks: its time does not depend on the space much. Results, threads, `add`, `remove`
    and pickles are as with `Index`; pickles hold the items themselves.
    """

    def __init__(self, space: Space, like: PackedCodes, model: Encoder | None, backend: Backend) -> None:
        self.space, self.model, self.backend = space, model, backend
        self.like = like[:0]
        """packed codes of zero rows: the k, n_latents, bits and model that added codes must have"""
        self._state = State()
        self._lock = Lock()
        """held by the one writer; readers take ``_state`` once and need no lock"""

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "backend": self.backend.name, "_lock": None}

    def __setstate__(self, pickled: dict[str, Any]) -> None:
        vars(self).update(pickled)
        self._lock, self.backend = Lock(), get_backend(pickled["backend"])

    @classmethod
    def build(
        cls,
        packed: PackedCodes,
        *,
        space: Space | None = None,
        model: Encoder | None = None,
        ids: Any = None,
        backend: str | Backend | None = None,
    ) -> PackedIndex:
        """Build an index over all rows of ``packed``, which may be empty. It keeps views of the bytes, not copies.

        Parameters and errors are those of `Index.build`. FormatError for bytes that packing cannot produce.
        """
        require_packed(packed)
        kernels = get_backend(backend)
        like = packed[:0].unpack(backend=kernels)
        if model is not None:
            model.check_codes(like)
        index = cls(space_for(space, like, model), packed, model, kernels)
        index._add(packed, ids, copy=False)
        return index

    def __len__(self) -> int:
        return len(self._state)

    def __repr__(self) -> str:
        size, of = self.like.bytes_per_item, f"k {self.like.k} of {self.like.n_latents} latents"
        return f"PackedIndex({len(self)} items of {size} bytes, {self.space} space, {of})"

    @property
    def ids(self) -> NDArray[Any]:
        """The ids of all items, in insertion order: int64, or an object array of ``str``."""
        return all_ids(self._state.chunks)

    @property
    def nbytes(self) -> int:
        """Bytes of the items in memory: codes, norms and ids (of strings, only what refers to them)."""
        return sum(chunk.nbytes for chunk in self._state.chunks)

    def add(self, packed: PackedCodes, ids: Any = None) -> None:
        """Add items that are packed as those in the index. Parameters and errors are those of `Index.add`."""
        self._add(packed, ids, copy=True)

    def _add(self, packed: PackedCodes, ids: Any, *, copy: bool) -> None:
        self._require_alike(require_packed(packed))
        norms = self._norms(packed)
        given = None if ids is None else as_ids(ids, len(packed))
        with self._lock:
            state = self._state
            if len(packed):
                new = self._new_ids(state, given, len(packed))
                data = packed.data.copy() if copy else packed.data
                chunks = appended(state.chunks, list(chunks_of(data, norms, new)))
                self._state = State(chunks, next_after(new, state.next_number))
                self.like = replace(self.like, refined=self.like.refined and packed.refined)

    def _require_alike(self, packed: PackedCodes) -> None:
        check_pair(packed[:0].unpack(), self.like.unpack(), "packed")
        for name, unit in (("k", "entries"), ("bits", "bits of a value")):
            expected, got = getattr(self.like, name), getattr(packed, name)
            if got != expected:
                message = f"expected {name} = {expected} {unit} as in the index, got {got}"
                raise ShapeError(message, argument="packed", hint="pack(codes, bits) packs codes again")

    def _new_ids(self, state: State, given: NDArray[Any] | None, n: int) -> NDArray[Any] | range:
        """Return the ids of n new items. DomainError for one that is in the index."""
        if given is None:
            return automatic_ids(state.next_number, n, strings=state.ids_dtype.kind == "O")
        if len(state):
            require_kind(given, state.ids_dtype)
        for chunk, mask in zip(state.chunks, members(state.chunks, given), strict=True):
            if mask.any():
                got = short_repr(as_array(chunk.ids)[mask].tolist()[0])
                raise DomainError(f"expected ids that are not in the index, got {got}", argument="ids")
        return given

    def remove(self, ids: Any) -> None:
        """Remove items by their ids. If an id is unknown, a DomainError names it and nothing is removed."""
        gone = as_ids(ids)
        reject_repeated(gone)
        with self._lock:
            state = self._state
            masks = list(members(state.chunks, gone))
            if sum(int(mask.sum()) for mask in masks) < len(gone):
                known = {*all_ids(kept(state.chunks, iter(masks))).tolist()}
                unknown = next(item for item in gone.tolist() if item not in known)
                raise DomainError(f"expected ids of the index, got {short_repr(unknown)}", argument="ids")
            self._state = State(kept(state.chunks, (~mask for mask in masks)), state.next_number)

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
        """Find the ``top`` items with the highest cosine to each query, exactly. Parameters as in `Index.search`."""
        top, found = as_top(top, rescore, self.model)
        zero_rows = as_zero_rows(zero_rows)
        like = self._codes(self.like)
        vectors = as_queries(self.space, queries, like, self.model, query_k, self.backend, zero_rows)
        state = self._state
        hits = self.backend.best_packed_items(vectors, self._parts(state, allowed), found)
        if rescore is not None:
            vectors = rescoring_queries(queries, like, self.model, self.backend, zero_rows)
            hits = self._rescored(state, vectors, hits, top)
        return Hits(state.ids_of(hits.ids), vectors.scores(hits.scores))

    def save(self, path: PathLike) -> None:
        """Write a file of packed codes with the ids, and the norms of this space, so that `load` need not compute them.

        Every reader of packed codes reads the file. OSError if it cannot be written. No partial file is left.
        """
        state = self._state
        facts = Facts(self.space, None if self.model is None else self.model.digest, state.next_number)
        write_packed_index(path, self.like, state.chunks, facts)

    @classmethod
    def load(
        cls,
        path: PathLike,
        *,
        space: Space | None = None,
        model: Encoder | None = None,
        backend: str | Backend | None = None,
        check: bool = True,
    ) -> PackedIndex:
        """Load an index from its file, or from any file of packed codes.

        Parameters
        ----------
        space, model : as in `build`; the space is None for that of the file
        check : if True, read the file into memory and verify its checksums and all bytes. If False, map the file: its
            pages are read when a search needs them, and other processes share them. A damaged file may then give wrong
            results, and a file that another program shortens may crash the process

        Raises
        ------
        FormatError
            With the file and the reason; DomainError if the model is missing or a different one.
        """
        file = read_packed_index(path, check=check)
        kernels = get_backend(backend)
        with naming_file(path, "packed", "codes"):
            like = file.packed[:0].unpack(backend=kernels)
            if model is not None:
                model.check_codes(like)
            index = cls(space_for(space or file.facts.space, like, model), file.packed, model, kernels)
            norms = file.norms_for(index.space, model, index._dtype)
            if norms is None:
                norms = index._norms(file.packed)
        index._state = State(tuple(chunks_of(file.packed.data, norms, file.ids)), file.facts.next_number)
        return index

    def _parts(self, state: State, allowed: Any) -> list[PackedItems]:
        """Return the chunks as what a backend searches."""
        like = self.like
        allowed = None if allowed is None else as_ids(allowed, name="allowed")
        masks = [None for _ in state.chunks] if allowed is None else members(state.chunks, allowed)
        return [
            PackedItems(chunk.data, like.n_latents, like.k, like.bits, chunk.norms, ranks, mask)
            for chunk, ranks, mask in zip(state.chunks, state.ranks, masks, strict=True)
        ]

    def _rescored(self, state: State, queries: Queries, hits: Hits, top: int) -> Hits:
        """Re-rank ``hits`` by asymmetric cosine."""
        u = self.backend.fetch(queries.dense())
        scores = np.empty(hits.ids.shape, u.dtype)
        for query, rows in enumerate(hits.ids):
            for here, number, places in state.located(rows):
                codes = self._codes(replace(self.like, data=state.chunks[number].data[places]))
                norms = checked_item_norms("asymmetric", codes, self.model, self.backend)
                dots = self.backend.codes_dot(u[query : query + 1], codes)
                scores[query, here] = scaled_dots(dots, np.ones(1, u.dtype), norms)[0]
        return best_of_ranked([(Hits(hits.ids, scores), state.ranks_of(hits.ids))], top)[0]

    def _codes(self, packed: PackedCodes) -> Codes:
        return packed.unpack(backend=self.backend).astype(self._dtype)

    @property
    def _dtype(self) -> np.dtype[Any]:
        return np.dtype(np.float32) if self.model is None else self.model.params.dtype

    def _norms(self, packed: PackedCodes) -> Floats:
        """Return the norms of items, unpacked in blocks."""
        norms = [np.empty(0, self._dtype)]
        for start, codes in packed.unpack_blocks(backend=self.backend):
            with rows_from(start):
                norms.append(checked_item_norms(self.space, codes.astype(self._dtype), self.model, self.backend))
        return np.concatenate(norms)
