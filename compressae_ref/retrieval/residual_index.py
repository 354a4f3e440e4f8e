"""Search over residual codes with dense queries: the sparse part finds candidates, the whole code ranks them.

A scan of whole codes costs about J terms for each item, several times those of the sparse part. So by default the
sparse part finds a few hundred items in asymmetric space, and only these are scored by E63 (``spec/residual.md``).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref import reference
from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend, get_backend
from compressae_ref.backends.ranking import best_of
from compressae_ref.backends.search_types import Hits, Queries, no_hits
from compressae_ref.center import centred_norms
from compressae_ref.checks import ZeroRows, as_integer, as_zero_rows
from compressae_ref.codes import Codes
from compressae_ref.errors import DomainError
from compressae_ref.extensions.residual_codes import ResidualCodes, require_model, x_hat_of
from compressae_ref.item_ids import as_ids
from compressae_ref.model import Model
from compressae_ref.retrieval.index import Index
from compressae_ref.retrieval.index_ids import Ids
from compressae_ref.retrieval.spaces import as_queries
from compressae_ref.unit_blocks import ROWS_PER_BLOCK, open_rows, unit_blocks

RESCORE = 500
"""Items that the sparse part finds by default, or 5 · top if that is more."""


class ResidualIndex:
    """Residual codes to search with dense queries.

    Results are ordered by descending score, ties by ascending id (R10). Items cannot be added or removed.

    Parameters
    ----------
    codes : n residual codes
    model : the model that made them
    ids : (n,) integers or strings, all different; what `item_ids.as_ids` accepts. None: row numbers
    backend : "numpy", "numba" or "cuda"; ids and scores are the same to the bit

    Raises
    ------
    DomainError, ShapeError, DTypeError
        For codes of another model, or invalid ids. FormatError for a row that encoding cannot produce.
    """

    def __init__(
        self, codes: ResidualCodes, model: Model, ids: Any = None, *, backend: str | Backend | None = None
    ) -> None:
        require_model(codes.codec, model)
        codes.check()
        self.codes, self.model, self.backend = codes, model, get_backend(backend)
        self._sparse = codes.sparse.unpack(backend=self.backend).astype(model.params.dtype)
        self._ids = Ids(np.arange(len(codes)) if ids is None else as_ids(ids, len(codes)))
        self._first_stage: Index | None = None
        self._norms = np.full(len(codes), np.nan, model.params.dtype)
        """norms of items, NaN until a search needs them: most items are never candidates"""

    def __len__(self) -> int:
        return len(self.codes)

    def __repr__(self) -> str:
        return f"ResidualIndex({self.codes!r})"

    @property
    def ids(self) -> NDArray[Any]:
        """The ids of all items: int64, or an object array of ``str``."""
        return self._ids.values

    def search(
        self,
        queries: Any,
        top: int = 100,
        *,
        rescore: int | None = None,
        exact: bool = False,
        allowed: Any = None,
        zero_rows: ZeroRows = "error",
    ) -> Hits:
        """Find the ``top`` items with the highest cosine to each query among the candidates (E63).

        Parameters
        ----------
        queries : (n_q, d) dense embeddings
        rescore : candidates that the sparse part finds, at least ``top``; None: 500, or 5 · top if that is more
        exact : if True, score all items instead
        allowed : return only items with these ids; unknown ids are ignored. None: no restriction
        zero_rows : as in `Index.search`
        """
        top, zero_rows = as_integer(top, "top"), as_zero_rows(zero_rows)
        if isinstance(queries, Codes):
            raise DomainError("expected dense embeddings for residual codes, got codes", argument="queries")
        rescore = max(RESCORE, 5 * top) if rescore is None else as_integer(rescore, "rescore")
        if rescore < top:
            raise DomainError(f"expected at least top = {top} items to re-rank, got {rescore}", argument="rescore")
        over_latents = as_queries("asymmetric", queries, self._sparse, self.model, None, self.backend, zero_rows)
        over_components = self._over_components(queries, zero_rows)
        find = self._scan if exact or rescore >= len(self) else self._re_rank
        hits = find(queries, over_latents, over_components, top, rescore, self._ids.mask(allowed), zero_rows)
        return Hits(self._ids.values[hits.ids], over_latents.scores(hits.scores))

    def _over_components(self, queries: Any, zero_rows: ZeroRows) -> Floats:
        """Return σ_j ⟨V_j, x̄⟩ of each query; zeros for a zero row. → (n_q, J)."""
        dtype, codec = self.model.params.dtype, self.codes.codec
        rows = open_rows(queries, self.backend, "queries", codec.d, empty=True, zero_rows=zero_rows)
        basis, parts = self.backend.place(codec.basis.astype(dtype)), [np.empty((0, len(codec.bits)), dtype)]
        for block in unit_blocks(rows, dtype, self.backend, zero_rows):
            dots = self.backend.fetch(self.backend.pair_dots(block.x_unit, basis)) * codec.scales.astype(dtype)
            parts.append(np.where(block.zero[:, None], dtype.type(0), dots))
        return np.concatenate(parts)

    def _scan(
        self, queries: Any, over: Queries, components: Floats, top: int, rescore: int, allowed: Any, zero_rows: ZeroRows
    ) -> Hits:
        """Score all items, in blocks."""
        rows = np.arange(len(self)) if allowed is None else np.flatnonzero(allowed)
        u, best = self.backend.fetch(over.dense()), no_hits(len(components), components.dtype)
        for start in range(0, len(rows), ROWS_PER_BLOCK):
            block = rows[start : start + ROWS_PER_BLOCK]
            scores = self._scores(u, components, block)
            best = best_of([best, Hits(np.broadcast_to(block, scores.shape), scores)], self._ids.ranks, top)
        return best

    def _re_rank(
        self, queries: Any, over: Queries, components: Floats, top: int, rescore: int, allowed: Any, zero_rows: ZeroRows
    ) -> Hits:
        """Score the candidates that the sparse part finds."""
        if self._first_stage is None:
            self._first_stage = Index.build(self._sparse, space="asymmetric", model=self.model, backend=self.backend)
        some = None if allowed is None else np.flatnonzero(allowed)
        found = self._first_stage.search(queries, rescore, allowed=some, zero_rows=zero_rows).ids
        u, scores = self.backend.fetch(over.dense()), np.empty(found.shape, components.dtype)
        for query, rows in enumerate(found):
            one = slice(query, query + 1)
            scores[query] = self._scores(u[one], components[one], rows)[0]
        return best_of([Hits(found, scores)], self._ids.ranks, top)

    def _scores(self, u: Floats, components: Floats, rows: NDArray[np.int64]) -> Floats:
        """Return the scores of some items, before what a centred model adds (E63). → (n_q, len(rows))."""
        lengths, levels = self.codes[rows].parts(u.dtype)
        dots = self.backend.fetch(self.backend.codes_dot(u, self._sparse[rows]))
        place = self.backend.place
        rest = self.backend.fetch(self.backend.pair_dots(place(components), place(levels)))
        scores: Floats = (dots + lengths * rest) / self._norms_of(rows)
        return scores

    def _norms_of(self, rows: NDArray[np.int64]) -> Floats:
        """Return max(‖x̂‖, 1e-8) of items, or that divided by r with a centred model (E28, E62)."""
        missing, mean = rows[np.isnan(self._norms[rows])], self.model.params.mean
        for start in range(0, len(missing), ROWS_PER_BLOCK):
            block = missing[start : start + ROWS_PER_BLOCK]
            x_hat = x_hat_of(self.codes[block], self.model, self.backend)
            self._norms[block] = reference.clamped_norm(x_hat) if mean is None else centred_norms(x_hat, mean)
        return self._norms[rows]
