"""Encoding without all of the pre-activations in the stated order: BLAS rules out most latents.

A matrix product, whose order of summation is its own, gives every pre-activation to within `pre_bound`. Latents that
cannot be among the k largest are dropped. The few that remain are computed again in the stated order, so no number of
the product is ever stored, and the code of a row depends on that row alone.
"""

from __future__ import annotations

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.backends.numpy.blocks import ROWS_PER_BLOCK, map_blocks
from compressae_ref.backends.numpy.sums import chosen_dots
from compressae_ref.backends.numpy.topk import abs_topk
from compressae_ref.backends.rounding import rounding_bound
from compressae_ref.codes import Codes


def encode(x_unit: Floats, W_enc: Floats, b_enc: Floats, k: int) -> Codes:
    """Codes of unit rows: `reference.abs_topk` of `reference.pre_activations` (E4, E5)."""
    product, bound = x_unit @ W_enc, pre_bound(W_enc, b_enc)

    def encode_some(rows: slice) -> Codes:
        return encode_near(product[rows], bound, x_unit[rows], W_enc, b_enc, k)

    return Codes.concatenate(map_blocks(len(x_unit), ROWS_PER_BLOCK, encode_some))


def encode_near(product: Floats, bound: Floats, x_unit: Floats, W_enc: Floats, b_enc: Floats, k: int) -> Codes:
    """`encode`, given x̄ W_enc to within half of ``bound``."""
    near = np.abs(product + b_enc)
    cut = np.partition(near, -k, axis=1)[:, -k, None] - 2 * bound
    # NaN compares false, so `near >= cut` would drop it.
    rows, latents = np.divmod(np.flatnonzero(~(near < cut)), near.shape[1])
    counts = np.bincount(rows, minlength=len(near))
    filled = np.arange(counts.max(initial=k)) < counts[:, None]
    candidates = np.zeros(filled.shape, np.int32)
    candidates[filled] = latents
    pre = chosen_dots(x_unit, W_enc.T, candidates) + b_enc[candidates]
    # Each row has at least k candidates, followed by zeros. Ties go to the lower place, so no filler is selected.
    chosen = abs_topk(np.where(filled, pre, pre.dtype.type(0)), k)
    return Codes.trusted(np.take_along_axis(candidates, chosen.indices, axis=1), chosen.values, W_enc.shape[1])


def pre_bound(W_enc: Floats, b_enc: Floats) -> Floats:
    """Largest difference between two ways to sum one pre-activation of a unit row: 2 γ_{d+8} (maxⱼ ‖wⱼ‖ + maxⱼ |bⱼ|).

    A sum of d products, in any order and fused or not, is within γ_d Σ_c |x̄_c w_cj| ≤ γ_d ‖x̄‖ ‖wⱼ‖ of the exact one
    (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1). The other 8 are the roundings of the bias, of
    ‖x̄‖ ≈ 1 and of this bound. Products that underflow, or are flushed to zero, sum to at most d times the smallest
    normal number, which is far below γ times its root, a term of the norm. If squares overflow, the bound is infinite
    and all latents are computed.
    """
    columns = W_enc.T
    with np.errstate(over="ignore"):
        bound: Floats = rounding_bound(np.einsum("jc,jc->j", columns, columns).max(), np.abs(b_enc).max(), len(W_enc))
    return bound
