"""The four spaces: a vector u over the latents for each query, and the norms that divide its dots with items.

==============  ===================================  =====================================  ==================
space           u of a query                         divided by                             queries are
==============  ===================================  =====================================  ==================
sparse          its code s                           ‖s_q‖ · ‖s‖                            codes, dense
reconstructed   W_dec (W_decᵀ s) = W_dec x̂           ‖x̂_q‖ · ‖x̂‖                            codes, dense
asymmetric      W_dec x̄                              ‖x̂‖                                    dense
expanded        the largest entries of W_dec x̄       ‖x̂‖                                    dense
==============  ===================================  =====================================  ==================

With a centred model (`center`), all spaces but the sparse one estimate the cosine of the original rows (E28). The norm
of an item is ‖x̂‖ / r. A query that is a code stands for z (E27), in place of x̂_q / ‖x̂_q‖. ⟨μ, x̄⟩ is added to the
scores of a query after the ranking, since this is one number for each query.

The expanded space approximates the asymmetric one for engines that accept sparse queries only.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from compressae_ref import reference
from compressae_ref.arrays import Bools, Floats
from compressae_ref.backends import Backend
from compressae_ref.backends.numpy.topk import abs_topk
from compressae_ref.backends.search_types import Queries
from compressae_ref.center import centred_norms, restored
from compressae_ref.checks import ZeroRows, as_k, reject
from compressae_ref.codes import Codes
from compressae_ref.errors import DomainError, ShapeError
from compressae_ref.model import Encoder
from compressae_ref.unit_blocks import ROWS_PER_BLOCK, Rows, open_rows, unit_blocks

Space = Literal["sparse", "reconstructed", "asymmetric", "expanded"]
SPACES: tuple[Space, ...] = ("sparse", "reconstructed", "asymmetric", "expanded")

DENSE_ONLY = ("asymmetric", "expanded")
"""Spaces whose queries are not encoded."""

EXPANSION = 8
"""By default an expanded query has this many times the entries of an item."""


def as_space(space: Any) -> Space:
    """Return ``space`` if it is one of `SPACES`."""
    if space not in SPACES:
        raise DomainError(f"expected one of {', '.join(SPACES)}, got {space!r}", argument="space")
    return space  # type: ignore[no-any-return]


def space_for(space: Any, codes: Codes, model: Encoder | None) -> Space:
    """Return ``space``, checked. None: "sparse", or "asymmetric" for refined codes, which lose recall in sparse space.

    Raises
    ------
    DomainError
        For an unknown space, or a missing model in any space but the sparse one.
    """
    refined = space is None and codes.refined
    chosen = as_space("asymmetric" if refined else "sparse" if space is None else space)
    if chosen != "sparse":
        hint = "space='sparse' searches them without a model, with lower recall" if refined else None
        needed(model, f"{'refined codes in ' * refined}the {chosen} space", hint)
    return chosen


# -- each space, stated once ------------------------------------------------------------------------------------------


def item_norms(space: Space, codes: Codes, W_dec: Any, backend: Backend, mean: Floats | None = None) -> Floats:
    """The norms of items: ‖s‖ in sparse space, else ‖x̂‖ in blocks of rows; clamped below at 1e-8 (R6). → (n,).

    With a mean, ‖x̂‖ / r instead of ‖x̂‖ (E28).
    """
    if space == "sparse":
        norms: Floats = reference.code_norm(codes.values)
        return norms
    starts = range(0, len(codes), ROWS_PER_BLOCK)
    reconstructions = (backend.decode(codes[start : start + ROWS_PER_BLOCK], W_dec) for start in starts)
    blocks = [reference.clamped_norm(x) if mean is None else centred_norms(x, mean) for x in reconstructions]
    return np.concatenate([np.empty(0, codes.values.dtype), *blocks])


def code_queries(space: Space, codes: Codes, W_dec: Any, backend: Backend, mean: Floats | None = None) -> Queries:
    """Queries that are codes: u = s (E15), or u = W_dec x̂ (E16); with a mean u = W_dec z (E28)."""
    if space == "sparse":
        return Queries(codes, reference.code_norm(codes.values))
    x_hat = backend.decode(codes, W_dec)
    if mean is not None:
        return _original_queries(restored(backend.fetch(x_hat), mean), W_dec, backend, mean)
    return Queries(backend.pair_dots(x_hat, W_dec), reference.clamped_norm(x_hat))


def _original_queries(x: Floats, W_dec: Any, backend: Backend, mean: Floats | None) -> Queries:
    """Queries in the space of the original unit rows: u = W_dec x, and what a centred model adds to the scores."""
    u = backend.pair_dots(backend.place(x), W_dec)
    return Queries(u, np.ones(len(u), u.dtype), None if mean is None else reference.dot(backend.fetch(x), mean))


def dense_queries(
    space: Space,
    rows: Rows,
    W_dec: Floats,
    m: int,
    backend: Backend,
    mean: Floats | None = None,
    zero_rows: ZeroRows = "error",
) -> Queries:
    """Queries that stay dense: u = W_dec x̄ (E17), or the m largest entries of it (E23). Their norm is 1.

    If zero rows are allowed, their u is zero, so their score with every item is 0, as that of a code of zeros.
    """
    blocks = unit_blocks(rows, W_dec.dtype, backend, zero_rows, rows_per_block=max(1, len(rows)))
    block = next(blocks, None)
    x_unit = np.empty((0, W_dec.shape[1]), W_dec.dtype) if block is None else block.x_unit
    if block is not None and block.zero.any():
        x_unit = backend.place(np.where(block.zero[:, None], x_unit.dtype.type(0), backend.fetch(x_unit)))
    queries = _original_queries(x_unit, W_dec, backend, mean)
    return queries._replace(u=abs_topk(backend.fetch(queries.u), m)) if space == "expanded" else queries


def _without_scores(queries: Queries, zero: Bools, backend: Backend) -> Queries:
    """Make the scores of zero rows 0 with every item; u is an array."""
    u, added = backend.fetch(queries.u), queries.added
    u, added = np.where(zero[:, None], u.dtype.type(0), u), None if added is None else np.where(zero, 0, added)
    return queries._replace(u=backend.place(u), added=added)


# -- with a model, and with all that can be wrong ---------------------------------------------------------------------


def checked_item_norms(space: Space, codes: Codes, model: Encoder | None, backend: Backend) -> Floats:
    """`item_norms` of codes of a model; DomainError for the first item whose norm is not finite."""
    with np.errstate(over="ignore", invalid="ignore"):
        return finite(item_norms(space, codes, _atoms(space, model, backend), backend, _mean(model)), "codes")


def as_queries(
    space: Space,
    queries: Codes | Any,
    like: Codes,
    model: Encoder | None,
    query_k: int | None,
    backend: Backend,
    zero_rows: ZeroRows = "error",
) -> Queries:
    """Queries as vectors over the latents, with their norms; ``like`` are codes of items."""
    if isinstance(queries, Codes):
        if query_k is not None:
            raise DomainError("expected dense queries to encode, got codes", argument="query_k")
        codes = _as_query_codes(space, queries.to_host(), like, model)
        return _checked_code_queries(space, codes, model, backend, np.arange(len(codes)))
    if query_k is not None and space == "asymmetric":
        raise DomainError(
            "expected a space whose queries have a number of entries, got 'asymmetric', where they stay dense",
            argument="query_k",
        )
    model = needed(model, "dense queries")
    default = min(EXPANSION * like.k, like.n_latents) if space == "expanded" else like.k
    k = as_k(default if query_k is None else query_k, like.n_latents, name="query_k")
    rows = open_rows(queries, backend, "queries", model.params.d, empty=True, zero_rows=zero_rows)
    if space in DENSE_ONLY:
        W_dec = backend.place_params(model.params).W_dec
        return dense_queries(space, rows, W_dec, k, backend, _mean(model), zero_rows)
    parts = [codes.to_host() for codes in model.encode_rows(rows, k, zero_rows, backend)]
    codes = Codes.concatenate(parts) if parts else Codes.none(k, model.params.n_latents, model.params.dtype)
    vectors = _checked_code_queries(space, codes, model, backend, rows.numbers(0, len(rows)))
    if zero_rows != "empty" or vectors.added is None:
        return vectors
    # z of a code of zeros is not zero (E27), but a zero row has no direction
    return _without_scores(vectors, rows.block(0, len(rows), zeros=True)[1], backend)


def _checked_code_queries(
    space: Space, codes: Codes, model: Encoder | None, backend: Backend, numbers: NDArray[np.int64]
) -> Queries:
    """Return codes as queries. ``numbers`` (n,) are their row numbers in messages."""
    with np.errstate(over="ignore"):
        try:
            finite(reference.code_norm(codes.values), "queries")
        except DomainError as error:
            error.row = None if error.row is None else int(numbers[error.row])
            raise
    return code_queries(space, codes, _atoms(space, model, backend), backend, _mean(model))


def _mean(model: Encoder | None) -> Floats | None:
    return None if model is None else model.params.mean


def _atoms(space: Space, model: Encoder | None, backend: Backend) -> Floats | None:
    return None if space == "sparse" else backend.place_params(needed(model, f"the {space} space").params).W_dec


def _as_query_codes(space: Space, queries: Codes, like: Codes, model: Encoder | None) -> Codes:
    if space in DENSE_ONLY:
        raise DomainError(f"expected dense embeddings for the {space} space, got codes", argument="queries")
    check_pair(queries, like)
    if model is not None:
        model.check_codes(queries, "queries")
    return queries.astype(like.values.dtype)


def check_pair(queries: Codes, codes: Codes, name: str = "queries") -> None:
    """Raise if codes of queries and of items cannot come from one model."""
    if queries.n_latents != codes.n_latents:
        raise ShapeError(
            f"expected n_latents = {codes.n_latents} as the items have, got {queries.n_latents}", argument=name
        )
    if None not in (queries.model, codes.model) and queries.model != codes.model:
        raise DomainError(
            f"expected codes of model {str(codes.model)[:12]} as the items, "
            f"got codes of model {str(queries.model)[:12]}",
            argument=name,
        )


def needed(model: Encoder | None, what: str, hint: str | None = None) -> Encoder:
    """Return the model; DomainError if it is None."""
    if model is None:
        raise DomainError(f"expected the model that made the codes, for {what}, got None", argument="model", hint=hint)
    return model


def finite(norms: Floats, name: str) -> Floats:
    """Return norms if all are finite; DomainError with the first row that is not."""
    reject(~np.isfinite(norms), f"expected values whose sum of squares is finite in {norms.dtype}, got infinity", name)
    return norms
