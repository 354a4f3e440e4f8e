"""THE MATHEMATICS of CompresSAE in NumPy alone: short, slow, and the truth that every backend is held against.

Each forward function is followed by its backward. Rows are embeddings. Shapes use one alphabet: n rows, d dense
dimensions, h latents, k stored entries per row. E# and R# are the equations and rules of ``spec/compressae.md``.

Every sum has a defined order, so that a kernel can give the same bits: sums over d fold (`fold_sum`), sums over k
run in stored order, sums over rows run in row order. The one product whose order NumPy's BLAS decides,
`dense_product`, is shared by all backends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.codes import Codes
from compressae_ref.order import by_magnitude, largest

COSINE_EPS = 1e-8
"""Lower clamp of each norm in a cosine (R6), as in ``torch.nn.functional.cosine_similarity``."""

PRODUCT_ROWS = 256
"""Rows that one call of BLAS multiplies: block sizes are multiples of it, so that they cannot change a bit."""


TransposeProduct = Callable[[Sequence[tuple[Codes, Floats]], Floats], None]
"""The type of `transpose_product`, which a backend may bring."""


# -- sums and products whose order matters ----------------------------------------------------------------------------


def fold_sum(terms: Floats) -> Floats:
    """Sum over the last axis, in a fixed order that vectorises.                                                  (E1)

    While more than 16 terms are left and their number is even, the second half is added onto the first; what is left
    is added up from left to right.

    Parameters
    ----------
    terms : (..., d)

    Returns
    -------
    (...) sums, in the dtype of ``terms``
    """
    while terms.shape[-1] > 16 and terms.shape[-1] % 2 == 0:
        half = terms.shape[-1] // 2
        terms = terms[..., :half] + terms[..., half:]
    total = terms[..., 0].copy()
    for column in range(1, terms.shape[-1]):
        total += terms[..., column]
    return total


def row_dots(a: Floats, b: Floats) -> Floats:
    """Dot products of rows: Σ_c a[i, c] · b[i, c], summed by `fold_sum`. (n, d), (n, d) → (n,)."""
    return fold_sum(a * b)


def row_norms(x: Floats) -> Floats:
    """Euclidean norms of rows: √(Σ_c x[i, c]²), summed by `fold_sum`. (n, d) → (n,)."""
    return np.sqrt(row_dots(x, x))


def dense_product(a: Floats, b: Floats) -> Floats:
    """a @ b by BLAS, in calls of `PRODUCT_ROWS` rows of a. (n, m), (m, p) → (n, p).                               (E2)

    The order of BLAS's sums is its own, and may depend on the shape of the call. Calls on a fixed grid of rows give the
    same bits for every block size that is a multiple of the grid. A lone row is multiplied twice and kept once: BLAS
    has another routine for one row, and a row's result should not depend on the rows that it came with.
    """
    product = np.empty((a.shape[0], b.shape[1]), np.result_type(a, b))
    for start in range(0, a.shape[0], PRODUCT_ROWS):
        rows = a[start : start + PRODUCT_ROWS]
        if len(rows) == 1:
            product[start:] = (np.repeat(rows, 2, axis=0) @ b)[:1]
        else:
            np.matmul(rows, b, out=product[start : start + PRODUCT_ROWS])
    return product


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
    exponent = np.frexp(np.abs(x).max(axis=1, keepdims=True))[1]
    scaled = np.ldexp(x, -exponent)
    x_unit: Floats = scaled / row_norms(scaled)[:, None]
    return x_unit


def pre_activations(x_unit: Floats, W_enc: Floats, b_enc: Floats) -> Floats:
    """Pre-activations: aᵢ = x̄ᵢ W_enc + b_enc. (n, d), (d, h), (h,) → (n, h).                                    (E4)"""
    return dense_product(x_unit, W_enc) + b_enc


def pre_activations_backward(
    parts: Sequence[Codes],
    x_unit: Floats,
    grad_W_enc: Floats,
    grad_b_enc: Floats,
    product: TransposeProduct | None = None,
) -> None:
    """Add ∂L/∂W_enc = x̄ᵀ ∂L/∂a and ∂L/∂b_enc = Σᵢ ∂L/∂aᵢ to the arrays given.                                  (E4')

    Dense equivalent: ``grad_W_enc += x_unit.T @ grad_pre``, ``grad_b_enc += grad_pre.sum(0)``.

    Parameters
    ----------
    parts : sparse gradients of the pre-activations, disjoint in each row: grad_pre is their sum
    x_unit : (n, d)
    grad_W_enc, grad_b_enc : (d, h) and (h,), changed in place
    """
    product = product or transpose_product
    product([(grad_pre, x_unit) for grad_pre in parts], grad_W_enc.T)
    ones = np.ones((len(x_unit), 1), x_unit.dtype)
    product([(grad_pre, ones) for grad_pre in parts], grad_b_enc[:, None])


def abs_topk(pre: Floats, k: int) -> Codes:
    """Keep the k entries of each row with the largest |pre|, ties to the lower index (R1). (n, h) → Codes.         (E5)

    Stored by ascending index, exactly k, zeros included, −0 as +0 (R2).
    Dense equivalent: a stable sort of each row by descending |pre|, the first k of it.
    """
    kept = largest(by_magnitude(pre), k)
    indices = np.nonzero(kept)[1].reshape(len(pre), k).astype(np.int32)
    return Codes.trusted(indices, pre[kept].reshape(len(pre), k) + pre.dtype.type(0), pre.shape[1])


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
    grad_values = np.empty_like(codes.values)
    for t in range(codes.k):
        grad_values[:, t] = row_dots(grad_x_hat, W_dec[codes.indices[:, t]])
    return grad_values


def decode_backward_weights(
    parts: Sequence[tuple[Codes, Floats]], grad_W_dec: Floats, product: TransposeProduct | None = None
) -> None:
    """Add ∂L/∂W_dec[j] = Σᵢ v[i, j] · ∂L/∂x̂ᵢ to ``grad_W_dec`` (h, d), for pairs (codes, grad_x_hat).         (E7'')"""
    (product or transpose_product)(parts, grad_W_dec)


def transpose_product(parts: Sequence[tuple[Codes, Floats]], out: Floats) -> None:
    """Add Σᵢ s[i, j] · y[i] to ``out[j]``, for every pair (s, y) of ``parts``.                                    (E8)

    Dense equivalent: ``out += sum(s.to_dense().T @ y for s, y in parts)``. The stored indices of the parts are
    disjoint in each row. The sums run in row order, whatever the blocks that the rows come in.

    Parameters
    ----------
    parts : pairs of codes (n rows, h latents) and an array (n, m)
    out : (h, m), changed in place
    """
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
