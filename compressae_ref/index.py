"""Exact search over codes. `Index` is the seam: a faster index keeps its two methods and its results, to the bit."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref import ops
from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend, get_backend
from compressae_ref.checks import as_embeddings, as_k, as_whole
from compressae_ref.codes import Codes
from compressae_ref.errors import DomainError
from compressae_ref.model import Model, unit_rows
from compressae_ref.order import largest
from compressae_ref.similarity import SPACES, Space, check_pair, reconstruction_norms, scaled_dots

QUERIES_PER_BLOCK = 256
ITEMS_PER_BLOCK = 8192


class Hits(NamedTuple):
    """Search results, best first."""

    ids: NDArray[np.int64]
    """(n_q, top) row numbers of items"""
    scores: Floats
    """(n_q, top) their cosines"""


class Index:
    """Items to search, with what a space needs of them computed once.

    Notes
    -----
    Results are ordered by descending score, ties by ascending id (R10). Blocks of queries and of items bound the memory
    and change nothing else.
    """

    def __init__(self, codes: Codes, norms: Floats, space: Space, model: Model | None, backend: Backend) -> None:
        self.codes, self.norms, self.space, self.model, self.backend = codes, norms, space, model, backend

    @classmethod
    def build(
        cls,
        codes: Codes,
        *,
        space: Space = "sparse",
        model: Model | None = None,
        backend: str | Backend | None = None,
    ) -> Index:
        """An index over all rows of ``codes``; their row numbers are the ids.

        Parameters
        ----------
        space : "sparse", "reconstructed" or "asymmetric" (`similarity`)
        model : needed by all but the sparse space with queries that are codes

        Raises
        ------
        DomainError, ShapeError
            For an unknown space, a missing model, or codes of another model.
        """
        kernels = get_backend(backend)
        if space not in SPACES:
            raise DomainError(f"space: expected one of {', '.join(SPACES)}, got {space!r}")
        if model is not None:
            model.check_codes(codes)
            codes = codes.astype(model.params.dtype)
        with np.errstate(over="ignore", invalid="ignore"):  # looked at by _finite
            if space == "sparse":
                norms = ops.code_norms(codes)
            else:
                norms = reconstruction_norms(codes, _needed(model, space).params.W_dec, kernels)
        return cls(codes, _finite(norms, "codes"), space, model, kernels)

    def search(self, queries: Codes | Any, top: int = 100, *, query_k: int | None = None) -> Hits:
        """The ``top`` items (all, if there are fewer) with the highest cosine to each query, exactly.

        Parameters
        ----------
        queries : dense embeddings (n_q, d), which are encoded where the space needs codes; or codes, in all but the
            asymmetric space
        query_k : entries of the codes that dense queries get; None: as many as the items have. A longer code of the
            query takes no storage, and in sparse space finds more
        """
        top = min(as_whole(top, "top"), len(self.codes))
        query_k = self.codes.k if query_k is None else self._as_query_k(query_k, queries)
        if isinstance(queries, Codes):
            queries = self._as_query_codes(queries)
        else:
            queries = as_embeddings(queries, name="queries", d=_needed(self.model, "dense queries").params.d)
        starts = range(0, len(queries), QUERIES_PER_BLOCK)
        found = [self._search_block(queries[start : start + QUERIES_PER_BLOCK], top, query_k) for start in starts]
        empty = Hits(np.empty((0, top), np.int64), np.empty((0, top), self.norms.dtype))
        return Hits(*(np.concatenate(columns) for columns in zip(empty, *found, strict=True)))

    def _as_query_k(self, query_k: int, queries: Codes | Any) -> int:
        if isinstance(queries, Codes):
            raise DomainError("query_k: expected dense queries to encode, got codes")
        if self.space == "asymmetric":
            raise DomainError("query_k: expected a space in which queries are encoded, got 'asymmetric'")
        return as_k(query_k, self.codes.n_latents, name="query_k")

    def _search_block(self, queries: Codes | Floats, top: int, query_k: int) -> Hits:
        u, norms = self._query_vectors(queries, query_k)
        best = Hits(np.empty((len(u), 0), np.int64), np.empty((len(u), 0), u.dtype))
        for start in range(0, len(self.codes), ITEMS_PER_BLOCK):
            rows = slice(start, start + ITEMS_PER_BLOCK)
            dots = self.backend.codes_dot(u, self.codes[rows])
            best = _merged(best, scaled_dots(dots, norms, self.norms[rows]), start, top)
        return _sorted(best)

    def _query_vectors(self, queries: Codes | Floats, query_k: int) -> tuple[Floats, Floats]:
        """u over the latents (n_q, h) and the norm that belongs to each query (`similarity`)."""
        if self.space == "asymmetric":
            W_dec = _needed(self.model, self.space).params.W_dec
            x_unit = unit_rows(queries, W_dec.dtype)  # type: ignore[arg-type]
            return self.backend.pair_dots(x_unit, W_dec), np.ones(len(x_unit), W_dec.dtype)
        if not isinstance(queries, Codes):
            queries = _needed(self.model, "dense queries").encode(queries, query_k, backend=self.backend)
        if self.space == "sparse":
            return queries.to_dense(), ops.code_norms(queries)
        W_dec = _needed(self.model, self.space).params.W_dec
        x_hat = self.backend.decode(queries, W_dec)
        return self.backend.pair_dots(x_hat, W_dec), ops.clamped_norms(x_hat)

    def _as_query_codes(self, queries: Codes) -> Codes:
        if self.space == "asymmetric":
            raise DomainError("queries: expected dense embeddings for the asymmetric space, got codes")
        check_pair(queries, self.codes)
        if self.model is not None:
            self.model.check_codes(queries, "queries")
        queries = queries.astype(self.codes.values.dtype)
        with np.errstate(over="ignore"):
            _finite(ops.code_norms(queries), "queries")
        return queries


def search(
    queries: Codes | Any,
    codes: Codes,
    top: int = 100,
    *,
    space: Space = "sparse",
    model: Model | None = None,
    query_k: int | None = None,
    backend: str | Backend | None = None,
) -> Hits:
    """The ``top`` rows of ``codes`` with the highest cosine to each query: `Index.build` and `Index.search` in one."""
    return Index.build(codes, space=space, model=model, backend=backend).search(queries, top, query_k=query_k)


def nearest_dense(queries: Floats, items: Any, top: int) -> Hits:
    """Exact neighbours of dense rows by cosine, in blocks: the truth that compression is measured by.

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
    best = Hits(np.empty((len(x_q), 0), np.int64), np.empty((len(x_q), 0), np.float32))
    for start in range(0, len(items), ITEMS_PER_BLOCK):
        rows = items[start : start + ITEMS_PER_BLOCK]
        block = as_embeddings(rows, name="items", d=x_q.shape[1], first_row=start, zeros=True)
        best = _merged(best, x_q @ _unit_or_zero(block).T, start, top)
    return _sorted(best)


def _unit_or_zero(x: Floats) -> Floats:
    zero = ~x.any(axis=1, keepdims=True)
    return np.where(zero, 0, unit_rows(np.where(zero, 1, x), np.float32)).astype(np.float32)


def _merged(best: Hits, scores: Floats, first_id: int, top: int) -> Hits:
    """The ``top`` of the best so far and a block of items; both are in the order of ids, and so is the result."""
    ids = np.broadcast_to(np.arange(first_id, first_id + scores.shape[1]), scores.shape)
    ids, scores = np.concatenate([best.ids, ids], axis=1), np.concatenate([best.scores, scores], axis=1)
    keep = largest(scores, min(top, scores.shape[1]))
    return Hits(ids[keep].reshape(len(ids), -1), scores[keep].reshape(len(ids), -1))


def _sorted(best: Hits) -> Hits:
    """Descending score; the sort is stable, and ids came ascending (R10)."""
    # spec: "by descending score, ties by ascending id"
    order = np.argsort(-best.scores, axis=1, kind="stable")
    return Hits(np.take_along_axis(best.ids, order, axis=1), np.take_along_axis(best.scores, order, axis=1))


def _needed(model: Model | None, what: str) -> Model:
    if model is None:
        raise DomainError(f"model: expected the model that made the codes, for {what}, got none")
    return model


def _finite(norms: Floats, name: str) -> Floats:
    if not np.isfinite(norms).all():
        row = int(np.argmax(~np.isfinite(norms)))
        raise DomainError(
            f"{name}: expected values whose squares can be added up in {norms.dtype}, got infinity in row {row}"
        )
    return norms
