"""What each space compares: a vector over the latents for each query, and norms to divide the dots by.

==============  ===================================  =====================================  ==================
space           u of a query                         divided by                             query comes as
==============  ===================================  =====================================  ==================
sparse          its code s                           ‖s_q‖ · ‖s‖                            codes, dense
reconstructed   W_dec (W_decᵀ s) = W_dec x̂           ‖x̂_q‖ · ‖x̂‖                            codes, dense
asymmetric      W_dec x̄                              ‖x̂‖                                    dense
expanded        the largest entries of W_dec x̄       ‖x̂‖                                    dense
==============  ===================================  =====================================  ==================

The expanded space is the asymmetric one for engines that take sparse queries only: what it leaves out of u is small.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from compressae_ref import reference
from compressae_ref.arrays import Floats, on_device, to_host
from compressae_ref.backends import Backend
from compressae_ref.backends.numpy.topk import abs_topk
from compressae_ref.backends.ranking import Queries
from compressae_ref.checks import as_embeddings, as_k
from compressae_ref.codes import Codes
from compressae_ref.device import as_device_embeddings, encode_on_device, placed, unit_rows_on_device
from compressae_ref.errors import DomainError, ShapeError
from compressae_ref.model import ROWS_PER_BLOCK, Model, unit_rows

Space = Literal["sparse", "reconstructed", "asymmetric", "expanded"]
SPACES: tuple[Space, ...] = ("sparse", "reconstructed", "asymmetric", "expanded")

DENSE_ONLY = ("asymmetric", "expanded")
"""Spaces whose queries are never compressed."""

EXPANSION = 8
"""An expanded query has so many times the entries of an item, unless it is told otherwise."""


def as_space(space: Any) -> Space:
    """One of `SPACES`."""
    if space not in SPACES:
        raise DomainError(f"expected one of {', '.join(SPACES)}, got {space!r}", argument="space")
    return space  # type: ignore[no-any-return]


def item_norms(space: Space, codes: Codes, model: Model | None, backend: Backend) -> Floats:
    """What the dots with each item are divided by. → (n,)."""
    with np.errstate(over="ignore", invalid="ignore"):  # looked at by `finite`
        if space == "sparse":
            norms = reference.code_norm(codes.values)
        else:
            W_dec = placed(needed(model, f"the {space} space").params, backend).W_dec
            norms = reconstruction_norms(codes, W_dec, backend)
    return finite(norms, "codes")


def reconstruction_norms(codes: Codes, W_dec: Floats, backend: Backend) -> Floats:
    """‖x̂ᵢ‖ of each code, clamped below at 1e-8 (R6), in blocks of rows. → (n,)."""
    starts = range(0, len(codes), ROWS_PER_BLOCK)
    blocks = [reference.clamped_norm(backend.decode(codes[start : start + ROWS_PER_BLOCK], W_dec)) for start in starts]
    return np.concatenate([np.empty(0, W_dec.dtype), *blocks])


def as_queries(
    space: Space, queries: Codes | Any, like: Codes, model: Model | None, query_k: int | None, backend: Backend
) -> Queries:
    """Queries as vectors over the latents, and what belongs to their norms; ``like`` are codes of items."""
    if isinstance(queries, Codes):
        queries = queries.to_host()
        if query_k is not None:
            raise DomainError("expected dense queries to encode, got codes", argument="query_k")
        return _of_codes(space, _as_query_codes(space, queries, like, model), model, backend)
    if query_k is not None and space == "asymmetric":
        raise DomainError(
            "expected a space in which queries have so many entries, got 'asymmetric'", argument="query_k"
        )
    model = needed(model, "dense queries")
    if space == "expanded":
        k = min(EXPANSION * like.k, like.n_latents) if query_k is None else query_k
    else:
        k = like.k if query_k is None else query_k
    k = as_k(k, like.n_latents, name="query_k")
    if space not in DENSE_ONLY:
        return _of_codes(space, _encoded_queries(queries, k, model, backend), model, backend)
    u = backend.pair_dots(_unit_queries(queries, model, backend), placed(model.params, backend).W_dec)
    return Queries(abs_topk(to_host(u), k) if space == "expanded" else u, np.ones(len(u), u.dtype))


def _encoded_queries(queries: Any, k: int, model: Model, backend: Backend) -> Codes:
    d, there = model.params.d, on_device(queries)
    x = as_device_embeddings(queries, backend, "queries", d) if there else as_embeddings(queries, name="queries", d=d)
    if not len(x):
        return Codes.none(k, model.params.n_latents, model.params.dtype)
    if there:
        return encode_on_device(model.params, x, k, "error", backend, model.digest, "queries").to_host()
    return model.encode(x, k, backend=backend)


def _unit_queries(queries: Any, model: Model, backend: Backend) -> Floats:
    if on_device(queries):
        on: Floats = unit_rows_on_device(queries, model.params, "error", backend, "queries")[0]
        return on
    return unit_rows(as_embeddings(queries, name="queries", d=model.params.d), model.params.dtype)


def _of_codes(space: Space, codes: Codes, model: Model | None, backend: Backend) -> Queries:
    with np.errstate(over="ignore"):
        norms = finite(reference.code_norm(codes.values), "queries")
    if space == "sparse":
        return Queries(codes, norms)
    W_dec = placed(needed(model, f"the {space} space").params, backend).W_dec
    x_hat = backend.decode(codes, W_dec)
    return Queries(backend.pair_dots(x_hat, W_dec), reference.clamped_norm(x_hat))


def _as_query_codes(space: Space, queries: Codes, like: Codes, model: Model | None) -> Codes:
    if space in DENSE_ONLY:
        raise DomainError(f"expected dense embeddings for the {space} space, got codes", argument="queries")
    check_pair(queries, like)
    if model is not None:
        model.check_codes(queries, "queries")
    return queries.astype(like.values.dtype)


def check_pair(queries: Codes, codes: Codes, name: str = "queries") -> None:
    """Raise where codes of queries and of items cannot come from one model."""
    if queries.n_latents != codes.n_latents:
        raise ShapeError(
            f"expected n_latents = {codes.n_latents} as in the items, got {queries.n_latents}", argument=name
        )
    if None not in (queries.model, codes.model) and queries.model != codes.model:
        raise DomainError(
            f"expected codes of model {str(codes.model)[:12]} as the items, "
            f"got codes of model {str(queries.model)[:12]}",
            argument=name,
        )


def needed(model: Model | None, what: str) -> Model:
    """The model; DomainError where there is none."""
    if model is None:
        raise DomainError(f"expected the model that made the codes, for {what}, got none", argument="model")
    return model


def finite(norms: Floats, name: str) -> Floats:
    """Norms that are all finite; DomainError with the first row that is not."""
    if not np.isfinite(norms).all():
        row = int(np.argmax(~np.isfinite(norms)))
        raise DomainError(
            f"expected values whose squares can be added up in {norms.dtype}, got infinity", argument=name, row=row
        )
    return norms
