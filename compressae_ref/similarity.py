"""Cosine similarity of codes, exactly, in three spaces; all of them are one dot product per pair of rows.

Each query becomes a dense vector u over the latents, and the dot with a code gathers k of its entries: O(k) per item.

==============  ===================================  =====================================  ==================
space           u of a query                         divided by                             query comes as
==============  ===================================  =====================================  ==================
sparse          its code s                           ‖s_q‖ · ‖s‖                            codes
reconstructed   W_dec (W_decᵀ s) = W_dec x̂           ‖x̂_q‖ · ‖x̂‖                            codes
asymmetric      W_dec x̄                              ‖x̂‖                                    dense embeddings
==============  ===================================  =====================================  ==================

So the Gram matrix K = W_dec W_decᵀ of the paper is never formed, and its O(k²) per pair is not paid.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from compressae_ref import ops
from compressae_ref.arrays import Floats
from compressae_ref.backends import Backend, get_backend
from compressae_ref.checks import as_embeddings
from compressae_ref.codes import Codes
from compressae_ref.errors import ShapeError
from compressae_ref.model import ROWS_PER_BLOCK, unit_rows
from compressae_ref.params import Params

Space = Literal["sparse", "reconstructed", "asymmetric"]
SPACES: tuple[Space, ...] = ("sparse", "reconstructed", "asymmetric")


def sparse_cosine(queries: Codes, codes: Codes, *, backend: str | Backend | None = None) -> Floats:
    """Cosine in sparse space, s_qᵀ s / (‖s_q‖ ‖s‖). → (n_q, n).                                                  (E15)

    Norms are clamped below at 1e-8 (R6), so a code of zeros has cosine 0 with everything.
    """
    _same_latents(queries, codes.n_latents)
    dots = get_backend(backend).codes_dot(queries.to_dense(), codes)
    return scaled_dots(dots, ops.code_norms(queries), ops.code_norms(codes))


def reconstructed_cosine(
    queries: Codes, codes: Codes, W_dec: Floats, *, backend: str | Backend | None = None
) -> Floats:
    """Cosine of the reconstructions, s_qᵀ K s / (√(s_qᵀ K s_q) √(sᵀ K s)) with K = W_dec W_decᵀ. → (n_q, n).      (E16)

    Equal to the cosine of the decoded rows.
    """
    _same_latents(queries, len(W_dec))
    _same_latents(codes, len(W_dec))
    kernels = get_backend(backend)
    x_hat = kernels.decode(queries, W_dec)
    dots = kernels.codes_dot(kernels.pair_dots(x_hat, W_dec), codes)
    return scaled_dots(dots, ops.clamped_norms(x_hat), reconstruction_norms(codes, W_dec, kernels))


def asymmetric_cosine(queries: Floats, codes: Codes, W_dec: Floats, *, backend: str | Backend | None = None) -> Floats:
    """Cosine of dense queries with reconstructions, x̄_qᵀ x̂ / ‖x̂‖. (n_q, d), Codes → (n_q, n).                   (E17)

    The query is not compressed. With u = W_dec x̄_q once per query, the dot with an item is Σ_t u[j_t] v_t.
    """
    _same_latents(codes, len(W_dec))
    kernels = get_backend(backend)
    x_unit = unit_rows(as_embeddings(queries, name="queries", d=W_dec.shape[1]), W_dec.dtype)
    dots = kernels.codes_dot(kernels.pair_dots(x_unit, W_dec), codes)
    return scaled_dots(dots, np.ones(len(x_unit), W_dec.dtype), reconstruction_norms(codes, W_dec, kernels))


def gram(params: Params) -> Floats:
    """K = W_dec W_decᵀ (h, h): the paper's matrix, for reading and checking; nothing here needs it."""
    return params.W_dec @ params.W_dec.T


def reconstruction_norms(codes: Codes, W_dec: Floats, backend: Backend) -> Floats:
    """‖x̂ᵢ‖ of each code, clamped below at 1e-8 (R6), in blocks of rows. → (n,)."""
    starts = range(0, len(codes), ROWS_PER_BLOCK)
    blocks = [ops.clamped_norms(backend.decode(codes[start : start + ROWS_PER_BLOCK], W_dec)) for start in starts]
    return np.concatenate([np.empty(0, W_dec.dtype), *blocks])


def scaled_dots(dots: Floats, query_norms: Floats, norms: Floats) -> Floats:
    """dots[q, i] / (query_norms[q] · norms[i])."""
    return dots / (query_norms[:, None] * norms)


def _same_latents(codes: Codes, n_latents: int) -> None:
    if codes.n_latents != n_latents:
        raise ShapeError(f"codes: expected n_latents = {n_latents}, got {codes.n_latents}")
