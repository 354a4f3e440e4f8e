"""Scale codes so that the dot product of a vector database is the cosine of any space.

A score is u·s / (‖·‖_q ‖·‖_i) (`spaces`). Both norms are known in advance: an item is stored as s / ‖·‖_i, and a query
is u / ‖·‖_q. In the sparse space both are unit vectors, so their cosine equals their dot product. In the other spaces
‖·‖_i = ‖x̂‖. The cosine of an engine would cancel that norm, so the dot product must be used. With a centred model a
number is added to all scores of a query, after the engine has ranked the items (E28).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend, get_backend
from compressae_ref.checks import ZeroRows, as_embeddings, as_k
from compressae_ref.codes import Codes
from compressae_ref.errors import DomainError
from compressae_ref.extensions.fitted_codes import Anchors, encode_fitted
from compressae_ref.extensions.refine import encode_refined
from compressae_ref.model import Encoder, whole_model
from compressae_ref.retrieval.spaces import Space, as_queries, as_space, checked_item_norms
from compressae_ref.stores.field_names import FieldName


@dataclass(frozen=True)
class Serving:
    """Settings that determine the stored codes and the query vectors of a model."""

    model: Encoder
    k: int
    """stored entries per item"""
    space: Space
    refine: bool
    """whether entries are chosen by matching pursuit (`extensions.refine`)"""
    fitted: bool
    """whether codes are fitted to anchors (`extensions.fitted_codes`)"""
    anchors: Anchors | None
    """those anchors, which codes of items need"""
    backend: Backend

    @property
    def field(self) -> str:
        """Default name of the field, unique to model and settings, such as ``codes_3f2a9c1b_k32``."""
        scaled = self.space != "sparse"  # all other spaces divide by the same norm
        return str(FieldName(self.model.digest[:8], self.k, scaled, self.refine, self.fitted))

    def width(self, *, signed: bool) -> int:
        """Return the dimensions of the field; with split signs, there are two for each latent."""
        return self.model.params.n_latents * (1 if signed else 2)

    def items(self, x: Floats, name: str, zero_rows: ZeroRows) -> Codes:
        """Return the codes of dense vectors, divided by the norms of the space. Codes of zeros do not change."""
        x = as_embeddings(x, name=name, d=self.model.params.d, zeros=zero_rows == "empty")
        settings: dict[str, Any] = {"zero_rows": zero_rows, "backend": self.backend}
        if self.anchors is not None:
            codes = encode_fitted(x, self.model, self.anchors, self.k, **settings)
        elif self.refine:
            codes = encode_refined(x, whole_model(self.model), self.k, **settings)
        else:
            codes = self.model.encode(x, self.k, **settings)
        return divided(codes, checked_item_norms(self.space, codes, self.model, self.backend))

    def queries(self, queries: Any, query_k: int | None) -> Codes:
        """Return dense queries as sparse vectors. In the asymmetric space they have all h entries."""
        return self.queries_and_added(queries, query_k)[0]

    def queries_and_added(self, queries: Any, query_k: int | None) -> tuple[Codes, Floats]:
        """Return `queries`, and the number that is added to all scores of each query (n_q,)."""
        empty = Codes.none(self.k, self.model.params.n_latents, self.model.params.dtype)
        u, norms, added = as_queries(self.space, queries, empty, self.model, query_k, self.backend)
        vectors = divided(u if isinstance(u, Codes) else _all_entries(u), norms)
        return vectors, np.zeros(len(norms), norms.dtype) if added is None else added


def serving(
    model: Encoder,
    k: int | None,
    space: Space,
    refine: bool,
    backend: str | Backend | None,
    *,
    fitted: bool = False,
    anchors: Anchors | None = None,
) -> Serving:
    """Check the settings and return a `Serving`. k is that of the model if it is None; anchors make fitted codes."""
    fitted = fitted or anchors is not None
    if refine and fitted:
        raise DomainError("expected refined or fitted codes, got both", argument="refine")
    k = as_k(model.k if k is None else k, model.params.n_latents)
    return Serving(model, k, as_space(space), refine, fitted, anchors, get_backend(backend))


def divided(codes: Codes, norms: Floats) -> Codes:
    """Divide the values of each row by its norm. Norms are (n,)."""
    values = (codes.values / norms[:, None]).astype(codes.values.dtype, copy=False)
    return Codes.trusted(codes.indices, values, codes.n_latents, codes.model)


def _all_entries(u: Floats) -> Codes:
    """Return a dense array (n_q, h) as codes with all h entries."""
    indices = np.broadcast_to(np.arange(u.shape[1], dtype=np.int32), u.shape)
    return Codes.trusted(indices, u, u.shape[1])
