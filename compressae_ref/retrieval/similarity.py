"""Cosines of all pairs of queries and codes, exactly; all of them are one dot product per pair of rows.

Each query becomes a dense vector u over the latents (`spaces`), and the dot with a code gathers k of its entries: O(k)
per item. So the Gram matrix K = W_dec W_decᵀ of the paper is never formed, and its O(k²) per pair is not paid.
"""

from __future__ import annotations

import numpy as np

from compressae_ref import reference
from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend, get_backend
from compressae_ref.backends.numpy.topk import abs_topk
from compressae_ref.backends.ranking import scaled_dots
from compressae_ref.checks import as_embeddings, as_k
from compressae_ref.codes import Codes
from compressae_ref.errors import ShapeError
from compressae_ref.model import unit_rows
from compressae_ref.params import Params
from compressae_ref.retrieval.spaces import check_pair, reconstruction_norms


def sparse_cosine(queries: Codes, codes: Codes, *, backend: str | Backend | None = None) -> Floats:
    """Cosine in sparse space, s_qᵀ s / (‖s_q‖ ‖s‖). → (n_q, n).                                                  (E15)

    Norms are clamped below at 1e-8 (R6), so a code of zeros has cosine 0 with everything.
    """
    check_pair(queries, codes)
    queries, codes = queries.to_host(), codes.to_host()
    queries, codes = (each.astype(np.result_type(queries.values, codes.values)) for each in (queries, codes))
    dots = get_backend(backend).codes_dot(queries.to_dense(), codes)
    return scaled_dots(dots, reference.code_norm(queries.values), reference.code_norm(codes.values))


def reconstructed_cosine(
    queries: Codes, codes: Codes, W_dec: Floats, *, backend: str | Backend | None = None
) -> Floats:
    """Cosine of the reconstructions, s_qᵀ K s / (√(s_qᵀ K s_q) √(sᵀ K s)) with K = W_dec W_decᵀ. → (n_q, n).      (E16)

    Equal to the cosine of the decoded rows.
    """
    check_pair(queries, codes)
    queries, codes = (_like_atoms(each, W_dec) for each in (queries, codes))
    kernels = get_backend(backend)
    x_hat = kernels.decode(queries, W_dec)
    dots = kernels.codes_dot(kernels.pair_dots(x_hat, W_dec), codes)
    return scaled_dots(dots, reference.clamped_norm(x_hat), reconstruction_norms(codes, W_dec, kernels))


def asymmetric_cosine(queries: Floats, codes: Codes, W_dec: Floats, *, backend: str | Backend | None = None) -> Floats:
    """Cosine of dense queries with reconstructions, x̄_qᵀ x̂ / ‖x̂‖. (n_q, d), Codes → (n_q, n).                   (E17)

    The query is not compressed. With u = W_dec x̄_q once per query, the dot with an item is Σ_t u[j_t] v_t.
    """
    codes, kernels = _like_atoms(codes, W_dec), get_backend(backend)
    x_unit = unit_rows(as_embeddings(queries, name="queries", d=W_dec.shape[1]), W_dec.dtype)
    dots = kernels.codes_dot(kernels.pair_dots(x_unit, W_dec), codes)
    return scaled_dots(dots, np.ones(len(x_unit), W_dec.dtype), reconstruction_norms(codes, W_dec, kernels))


def expanded_cosine(
    queries: Floats, codes: Codes, W_dec: Floats, query_k: int, *, backend: str | Backend | None = None
) -> Floats:
    """Asymmetric cosine with the ``query_k`` largest |uⱼ| of u = W_dec x̄_q alone. → (n_q, n).    (E23)

    What an engine for sparse vectors gives that stores codes divided by ‖x̂‖, and is asked with u.
    """
    codes, kernels = _like_atoms(codes, W_dec), get_backend(backend)
    x_unit = unit_rows(as_embeddings(queries, name="queries", d=W_dec.shape[1]), W_dec.dtype)
    u = abs_topk(kernels.pair_dots(x_unit, W_dec), as_k(query_k, len(W_dec), name="query_k"))
    dots = kernels.codes_dot(u.to_dense(), codes)
    return scaled_dots(dots, np.ones(len(x_unit), W_dec.dtype), reconstruction_norms(codes, W_dec, kernels))


def gram(params: Params) -> Floats:
    """K = W_dec W_decᵀ (h, h): the paper's matrix, for reading and checking; nothing here needs it."""
    return params.W_dec @ params.W_dec.T


def _like_atoms(codes: Codes, W_dec: Floats) -> Codes:
    if codes.n_latents != len(W_dec):
        raise ShapeError(f"expected n_latents = {len(W_dec)}, got {codes.n_latents}", argument="codes")
    return codes.to_host().astype(W_dec.dtype)
