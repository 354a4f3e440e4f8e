"""Cosines of all pairs of queries and codes, exactly: one dot product of length k for each pair.

Each query becomes a vector u over the latents (`spaces`), and its dot with a code gathers k of the entries of u. So the
Gram matrix K = W_dec W_decᵀ of the paper is never formed, and its O(k²) operations for each pair are not needed.
"""

from __future__ import annotations

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend, get_backend
from compressae_ref.backends.search_types import Queries, scaled_dots
from compressae_ref.checks import ZeroRows, as_k
from compressae_ref.codes import Codes
from compressae_ref.errors import ShapeError
from compressae_ref.params import Params
from compressae_ref.retrieval.spaces import Space, check_pair, code_queries, dense_queries, item_norms
from compressae_ref.unit_blocks import open_rows


def sparse_cosine(queries: Codes, codes: Codes, *, backend: str | Backend | None = None) -> Floats:
    """Cosine in sparse space, s_qᵀ s / (‖s_q‖ ‖s‖) (E15). → (n_q, n).

    Norms are clamped below at 1e-8 (R6), so a code of zeros has cosine 0 with everything.
    """
    check_pair(queries, codes)
    dtype, kernels = np.result_type(queries.values, codes.values), get_backend(backend)
    queries, codes = (each.to_host().astype(dtype) for each in (queries, codes))
    return _scores("sparse", code_queries("sparse", queries, None, kernels), codes, None, kernels)


def reconstructed_cosine(
    queries: Codes,
    codes: Codes,
    W_dec: Floats,
    *,
    mean: Floats | None = None,
    backend: str | Backend | None = None,
) -> Floats:
    """Cosine of the reconstructions, s_qᵀ K s / (√(s_qᵀ K s_q) √(sᵀ K s)) with K = W_dec W_decᵀ (E16). → (n_q, n).

    It equals the cosine of the decoded rows. ``mean`` (d,) is that of a centred model (E28).
    """
    check_pair(queries, codes)
    kernels = get_backend(backend)
    queries, codes = (_like_atoms(each, W_dec) for each in (queries, codes))
    vectors = code_queries("reconstructed", queries, W_dec, kernels, mean)
    return _scores("reconstructed", vectors, codes, W_dec, kernels, mean)


def asymmetric_cosine(
    queries: Floats,
    codes: Codes,
    W_dec: Floats,
    *,
    mean: Floats | None = None,
    zero_rows: ZeroRows = "error",
    backend: str | Backend | None = None,
) -> Floats:
    """Cosine of dense queries with reconstructions, x̄_qᵀ x̂ / ‖x̂‖ (E17). (n_q, d), Codes → (n_q, n).

    The query is not compressed. With u = W_dec x̄_q, computed once per query, the dot with an item is Σ_t u[j_t] v_t.
    ``mean`` (d,) is that of a centred model: the result then estimates the cosine of the original rows (E28).
    ``zero_rows`` is as in `Index.search`.
    """
    return _of_dense("asymmetric", queries, codes, W_dec, len(W_dec), zero_rows, backend, mean)


def expanded_cosine(
    queries: Floats,
    codes: Codes,
    W_dec: Floats,
    query_k: int,
    *,
    mean: Floats | None = None,
    zero_rows: ZeroRows = "error",
    backend: str | Backend | None = None,
) -> Floats:
    """`asymmetric_cosine` with the ``query_k`` largest |uⱼ| of u = W_dec x̄_q alone (E23). → (n_q, n).

    This is what an engine for sparse vectors returns that stores codes divided by ‖x̂‖ and is queried with u.
    """
    m = as_k(query_k, len(W_dec), name="query_k")
    return _of_dense("expanded", queries, codes, W_dec, m, zero_rows, backend, mean)


def gram(params: Params) -> Floats:
    """K = W_dec W_decᵀ (h, h), the paper's matrix, for reading and checking; nothing in this package needs it."""
    return params.W_dec @ params.W_dec.T


def _of_dense(
    space: Space,
    queries: Floats,
    codes: Codes,
    W_dec: Floats,
    m: int,
    zero_rows: ZeroRows,
    backend: str | Backend | None,
    mean: Floats | None,
) -> Floats:
    codes, kernels = _like_atoms(codes, W_dec), get_backend(backend)
    rows = open_rows(queries, kernels, "queries", W_dec.shape[1], empty=True, zero_rows=zero_rows)
    return _scores(space, dense_queries(space, rows, W_dec, m, kernels, mean, zero_rows), codes, W_dec, kernels, mean)


def _scores(
    space: Space,
    queries: Queries,
    codes: Codes,
    W_dec: Floats | None,
    backend: Backend,
    mean: Floats | None = None,
) -> Floats:
    dots = backend.fetch(backend.codes_dot(queries.dense(), codes))
    return queries.scores(scaled_dots(dots, queries.norms, item_norms(space, codes, W_dec, backend, mean)))


def _like_atoms(codes: Codes, W_dec: Floats) -> Codes:
    if codes.n_latents != len(W_dec):
        raise ShapeError(f"expected n_latents = {len(W_dec)}, got {codes.n_latents}", argument="codes")
    return codes.to_host().astype(W_dec.dtype)
