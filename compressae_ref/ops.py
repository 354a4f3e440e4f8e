"""THE MATHEMATICS of CompresSAE in NumPy alone: short, slow, and the truth that every backend is held against.

Each forward function is followed by its backward. Rows are embeddings. Shapes use one alphabet: n rows, d dense
dimensions, h latents, k stored entries per row. E# and R# are the equations and rules of ``spec/compressae.md``.

Every sum has a defined order, so that a kernel can give the same bits: sums over d fold (`sums`), sums over k run in
stored order, sums over rows run in row order. BLAS, whose order is its own, only says where `encode` need not
look: no number of it is ever stored.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.codes import Codes
from compressae_ref.order import by_magnitude, largest
from compressae_ref.sums import chosen_dots, pair_dots, rounding_bound, row_dots, row_norms

COSINE_EPS = 1e-8
"""Lower clamp of each norm in a cosine (R6), as in ``torch.nn.functional.cosine_similarity``."""


# -- forward and backward, in the order in which data flows -----------------------------------------------------------


def normalize_rows(x: Floats) -> Floats:
    """Unit rows: x̄ᵢ = xᵢ / ‖xᵢ‖.                                                                                (E3)

    Parameters
    ----------
    x : (n, d), finite, no zero row (`checks.as_embeddings` sees to it)

    Returns
    -------
    x_unit : (n, d), same dtype

    Notes
    -----
    Each row is first scaled by the power of two that brings its largest entry into [1/2, 1): this is exact, and the sum
    of squares can neither overflow nor vanish at any scale. So c·x has the same unit rows as x, to the bit, for every
    power of two c. No gradient is taken: x is data.
    """
    # spec: "the power of two that brings its largest magnitude into [1/2, 1)"
    exponent = np.frexp(np.abs(x).max(axis=1, keepdims=True))[1]
    scaled = np.ldexp(x, -exponent)
    x_unit: Floats = scaled / row_norms(scaled)[:, None]
    return x_unit


def pre_activations(x_unit: Floats, W_enc: Floats, b_enc: Floats) -> Floats:
    """Pre-activations: aᵢ = x̄ᵢ W_enc + b_enc. (n, d), (d, h), (h,) → (n, h).                                    (E4)

    They are what `encode` selects from; it does not need all of them.
    """
    return pair_dots(x_unit, W_enc.T) + b_enc


def pre_activations_backward(
    parts: Sequence[Codes], x_unit: Floats, grad_W_enc: Floats, grad_b_enc: Floats, add: bool = True
) -> None:
    """Add ∂L/∂W_enc = x̄ᵀ ∂L/∂a and ∂L/∂b_enc = Σᵢ ∂L/∂aᵢ to the arrays given.                                  (E4')

    Dense equivalent: ``grad_W_enc += x_unit.T @ grad_pre``, ``grad_b_enc += grad_pre.sum(0)``.

    Parameters
    ----------
    parts : sparse gradients of the pre-activations, disjoint in each row: grad_pre is their sum
    x_unit : (n, d)
    grad_W_enc, grad_b_enc : (d, h) and (h,), changed in place
    add : False: they are zero before, whatever they hold
    """
    ones = np.ones((len(x_unit), 1), x_unit.dtype)
    transpose_product([(grad_pre, x_unit) for grad_pre in parts], grad_W_enc.T, add)
    transpose_product([(grad_pre, ones) for grad_pre in parts], grad_b_enc[:, None], add)


def abs_topk(pre: Floats, k: int) -> Codes:
    """Keep the k entries of each row with the largest |pre|, ties to the lower index (R1). (n, h) → Codes.         (E5)

    Stored by ascending index, exactly k, zeros included, −0 as +0 (R2).
    Dense equivalent: a stable sort of each row by descending |pre|, the first k of it.
    """
    kept = largest(by_magnitude(pre), k)
    indices = np.nonzero(kept)[1].reshape(len(pre), k).astype(np.int32)
    return Codes.trusted(indices, pre[kept].reshape(len(pre), k) + pre.dtype.type(0), pre.shape[1])


def encode(x_unit: Floats, W_enc: Floats, b_enc: Floats, k: int) -> Codes:
    """``abs_topk(pre_activations(x_unit, W_enc, b_enc), k)``, to the bit, and fast.                        (E4), (E5)

    BLAS computes all pre-activations to within `pre_bound`. Whatever cannot be among the k largest is left there; the
    few that can are computed again in the stated order. So the codes of a row depend on that row alone: not on the rows
    that it came with, the library or the processor.
    """
    return encode_near(x_unit @ W_enc, pre_bound(W_enc, b_enc), x_unit, W_enc, b_enc, k)


def encode_near(product: Floats, bound: Floats, x_unit: Floats, W_enc: Floats, b_enc: Floats, k: int) -> Codes:
    """`encode`, where the product of x̄ and W_enc is known to within half of ``bound``."""
    near = np.abs(product + b_enc)
    cut = np.partition(near, -k, axis=1)[:, -k, None] - 2 * bound
    rows, latents = np.divmod(np.flatnonzero(~(near < cut)), near.shape[1])  # not ≥: NaN stays in sight
    counts = np.bincount(rows, minlength=len(near))
    filled = np.arange(counts.max(initial=k)) < counts[:, None]
    numbers = np.zeros(filled.shape, np.int32)
    numbers[filled] = latents
    pre = chosen_dots(x_unit, W_enc.T, numbers) + b_enc[numbers]
    # Each row has k entries or more, and then zeros: ties go to the lower place, so that none of these is selected.
    chosen = abs_topk(np.where(filled, pre, pre.dtype.type(0)), k)
    return Codes.trusted(np.take_along_axis(numbers, chosen.indices, axis=1), chosen.values, W_enc.shape[1])


def pre_bound(W_enc: Floats, b_enc: Floats) -> Floats:
    """How far apart two ways to add up one pre-activation of a unit row can be: 2 γ_{d+8} (maxⱼ ‖wⱼ‖ + maxⱼ |bⱼ|).

    A sum of d products, in any order and fused or not, is within γ_d Σ_c |x̄_c w_cj| ≤ γ_d ‖x̄‖ ‖wⱼ‖ of the exact one
    (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1); the 8 more are the roundings of the bias, of
    ‖x̄‖ ≈ 1 and of this bound. Products that underflow, or are flushed to zero, add up to at most d times the smallest
    normal number: far below γ times its root, which stands in the norm. Where squares overflow the bound is infinite:
    then all latents are looked at, and nothing is wrong.
    """
    columns = W_enc.T
    with np.errstate(over="ignore"):
        bound: Floats = rounding_bound(np.einsum("jc,jc->j", columns, columns).max(), np.abs(b_enc).max(), len(W_enc))
    return bound


def abs_topk_backward(grad_values: Floats, codes: Codes) -> Codes:
    """∂L/∂a is ∂L/∂v at the selected entries and zero elsewhere (R7): a sparse array like the codes.           (E5')"""
    return Codes.trusted(codes.indices, grad_values, codes.n_latents)


def split_codes(codes: Codes, k: int) -> tuple[Codes, Codes]:
    """The k largest stored entries of each row, and the rest; both by ascending index (R2).                     (E6)"""
    kept = largest(by_magnitude(codes.values), k)
    return codes.entries(kept, k), codes.entries(~kept, codes.k - k)


def decode(codes: Codes, W_dec: Floats) -> Floats:
    """Reconstruct rows from codes: x̂ᵢ = Σ_t v[i, t] · W_dec[j[i, t]]. Codes, (h, d) → (n, d).                    (E7)

    Dense equivalent: ``codes.to_dense() @ W_dec``. The sum runs over t in stored order.
    """
    x_hat = np.zeros((len(codes), W_dec.shape[1]), codes.values.dtype)
    for t in range(codes.k):
        x_hat += codes.values[:, t, None] * W_dec[codes.indices[:, t]]
    return x_hat


def decode_backward_values(grad_x_hat: Floats, codes: Codes, W_dec: Floats) -> Floats:
    """∂L/∂v[i, t] = ⟨∂L/∂x̂ᵢ, W_dec[j[i, t]]⟩, the dot by `fold_sum`. (n, d) → (n, k).                           (E7')

    Dense equivalent: ``(grad_x_hat @ W_dec.T)`` at the stored indices.
    """
    return chosen_dots(grad_x_hat, W_dec, codes.indices)


def decode_backward_weights(parts: Sequence[tuple[Codes, Floats]], grad_W_dec: Floats, add: bool = True) -> None:
    """Add ∂L/∂W_dec[j] = Σᵢ v[i, j] · ∂L/∂x̂ᵢ to ``grad_W_dec`` (h, d), for pairs (codes, grad_x_hat).         (E7'')"""
    transpose_product(parts, grad_W_dec, add)


def transpose_product(parts: Sequence[tuple[Codes, Floats]], out: Floats, add: bool = True) -> None:
    """Add Σᵢ s[i, j] · y[i] to ``out[j]``, for every pair (s, y) of ``parts``.                                    (E8)

    Dense equivalent: ``out += sum(s.to_dense().T @ y for s, y in parts)``. The stored indices of the parts are
    disjoint in each row. The sums run in row order, whatever the blocks that the rows come in.

    Parameters
    ----------
    parts : pairs of codes (n rows, h latents) and an array (n, m)
    out : (h, m), changed in place
    add : False: it is zero before, whatever it holds
    """
    if not add:
        out[...] = 0
    for row in range(len(parts[0][0])):
        for codes, y in parts:
            out[codes.indices[row]] += codes.values[row, :, None] * y[row]


def cosines(x_unit: Floats, x_hat: Floats) -> Floats:
    """Cosine of each row with its reconstruction, norms clamped below at 1e-8 (R6). (n, d), (n, d) → (n,).        (E9)

    cᵢ = ⟨x̄ᵢ, x̂ᵢ⟩ / (max(‖x̄ᵢ‖, ε) · max(‖x̂ᵢ‖, ε)); the loss of a batch is the mean of 1 − cᵢ.
    """
    return row_dots(x_unit, x_hat) / (clamped_norms(x_unit) * clamped_norms(x_hat))


def cosines_backward(grad_cos: Floats, x_unit: Floats, x_hat: Floats) -> Floats:
    """∂L/∂x̂ᵢ from ∂L/∂cᵢ. (n,), (n, d), (n, d) → (n, d).                                                        (E9')

    ∂cᵢ/∂x̂ᵢ = x̄ᵢ / (‖x̄ᵢ‖ ‖x̂ᵢ‖) − cᵢ x̂ᵢ / ‖x̂ᵢ‖². Where ‖x̂ᵢ‖ is clamped it is constant, and the second term is gone.
    """
    norm_x, norm_hat = clamped_norms(x_unit), clamped_norms(x_hat)
    cos = row_dots(x_unit, x_hat) / (norm_x * norm_hat)
    toward = grad_cos / (norm_x * norm_hat)
    along = np.where(norm_hat > x_hat.dtype.type(COSINE_EPS), grad_cos * cos / (norm_hat * norm_hat), 0)
    return toward[:, None] * x_unit - along.astype(x_hat.dtype)[:, None] * x_hat


def loss_backward(
    x_unit: Floats, x_hat_k: Floats, x_hat_aux: Floats, n_batch: int, aux_weight: float
) -> tuple[Floats, Floats]:
    """Cosines (2, n) with x̂_k and x̂_aux, and ∂L/∂x̂_k and ∂L/∂x̂_aux (2, n, d), of a batch of n_batch rows.      (E13')

    L is the mean over the batch of (1 − c_k) + aux_weight · (1 − c_aux). The first gradient has the second in it,
    because x̂_k is a term of x̂_aux.
    """
    toward_minus_one = np.full(len(x_unit), -1 / n_batch, x_unit.dtype)
    grad_x_hat_aux = cosines_backward(toward_minus_one * x_unit.dtype.type(aux_weight), x_unit, x_hat_aux)
    grad_x_hat_k = cosines_backward(toward_minus_one, x_unit, x_hat_k) + grad_x_hat_aux
    cos = np.stack([cosines(x_unit, x_hat_k), cosines(x_unit, x_hat_aux)])
    return cos, np.stack([grad_x_hat_k, grad_x_hat_aux])


def clamped_norms(x: Floats) -> Floats:
    """Row norms, clamped below at 1e-8 (R6). (n, d) → (n,)."""
    return np.maximum(row_norms(x), x.dtype.type(COSINE_EPS))


# -- retrieval --------------------------------------------------------------------------------------------------------


def codes_dot(u: Floats, codes: Codes) -> Floats:
    """Dot products of dense queries over latents with codes: Σ_t u[q, j[i, t]] · v[i, t]. (n_q, h) → (n_q, n).    (E10)

    Dense equivalent: ``u @ codes.to_dense().T``. The sum runs in the stored order of the codes, that is by ascending
    latent; a query that is itself a code comes as ``to_dense()``, and the dot is symmetric to the bit.
    """
    dots = np.zeros((len(u), len(codes)), u.dtype)
    for t in range(codes.k):
        dots += u[:, codes.indices[:, t]] * codes.values[:, t]
    return dots


def code_norms(codes: Codes) -> Floats:
    """Norms of codes, √(Σ_t v[i, t]²) in stored order, clamped below at 1e-8 (R6). → (n,)."""
    squares = np.zeros(len(codes), codes.values.dtype)
    for t in range(codes.k):
        squares += codes.values[:, t] * codes.values[:, t]
    return np.maximum(np.sqrt(squares), codes.values.dtype.type(COSINE_EPS))
