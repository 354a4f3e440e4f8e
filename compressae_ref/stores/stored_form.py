"""The cosines of every space as dots of sparse vectors, which is all that a vector database offers.

A score is u·s / (‖·‖_q ‖·‖_i) (`spaces`). Both norms are known before anything is stored or asked: an item is stored as
s / ‖·‖_i, and a query is u / ‖·‖_q. In the sparse space both are unit vectors, so that their cosine is their dot. In
the others ‖·‖_i = ‖x̂‖, which a cosine of the engine's own would divide out again: there only the dot will do.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend, get_backend
from compressae_ref.checks import ZeroRows, as_embeddings, as_k
from compressae_ref.codes import Codes
from compressae_ref.extensions.refine import encode_refined
from compressae_ref.model import Model
from compressae_ref.retrieval.spaces import Space, as_queries, as_space, checked_item_norms


@dataclass(frozen=True)
class Serving:
    """How a model's codes are stored and asked for in a store."""

    model: Model
    k: int
    """stored entries per item"""
    space: Space
    refine: bool
    """entries chosen by matching pursuit (`refinement`)"""
    backend: Backend

    @property
    def field(self) -> str:
        """A name that codes of another model or another kind do not have: ``codes_3f2a9c1b_k32``."""
        scale = "" if self.space == "sparse" else "_reconstruction"  # all other spaces divide by the same norm
        return f"codes_{self.model.digest[:8]}_k{self.k}{scale}" + "_refined" * self.refine

    def items(self, x: Floats, name: str, zero_rows: ZeroRows) -> Codes:
        """Codes of dense vectors as they are stored; codes of zeros stay what they are."""
        x = as_embeddings(x, name=name, d=self.model.params.d, zeros=zero_rows == "empty")
        settings: dict[str, Any] = {"zero_rows": zero_rows, "backend": self.backend}
        if self.refine:
            codes = encode_refined(x, self.model, self.k, **settings)
        else:
            codes = self.model.encode(x, self.k, **settings)
        return divided(codes, checked_item_norms(self.space, codes, self.model, self.backend))

    def queries(self, queries: Any, query_k: int | None) -> Codes:
        """Dense queries as sparse vectors; in the asymmetric space all entries are there."""
        like = Codes.none(self.k, self.model.params.n_latents, self.model.params.dtype)
        u, norms = as_queries(self.space, queries, like, self.model, query_k, self.backend)
        return divided(u if isinstance(u, Codes) else _all_entries(u), norms)


def serving(model: Model, k: int | None, space: Space, refine: bool, backend: str | Backend | None) -> Serving:
    """A `Serving` of checked settings; k is the model's where it is None."""
    k = as_k(model.k if k is None else k, model.params.n_latents)
    return Serving(model, k, as_space(space), refine, get_backend(backend))


def divided(codes: Codes, norms: Floats) -> Codes:
    """Codes with the values of each row divided by one number."""
    values = (codes.values / norms[:, None]).astype(codes.values.dtype, copy=False)
    return Codes.trusted(codes.indices, values, codes.n_latents, codes.model)


def _all_entries(u: Floats) -> Codes:
    indices = np.broadcast_to(np.arange(u.shape[1], dtype=np.int32), u.shape)
    return Codes.trusted(indices, u, u.shape[1])
