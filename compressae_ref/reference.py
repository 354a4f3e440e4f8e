"""CompresSAE: the whole algorithm in one file that imports NumPy and nothing else.

It is slow and plain on purpose. The backends compute the same bits faster, and tests compare them with this file.
Equations (E#) and rules (R#) are those of ``spec/compressae.md``. Shapes: n rows, d dimensions, h latents, k entries
per row. A code is a pair of arrays (indices, values), both (n, k). All floats of one call have one dtype.
Inputs that R3 and R4 refuse (NaN, infinity, zero rows) are refused by `compressae_ref.checks`, not here.
"""

import numpy as np

# == Sums: a stated order, so that two implementations agree to the last bit ===========================================


def fold_sum(terms):
    """Sum over the last axis: add the second half onto the first while more than 16 terms are left (E1)."""
    while terms.shape[-1] > 16 and terms.shape[-1] % 2 == 0:
        half = terms.shape[-1] // 2
        terms = terms[..., :half] + terms[..., half:]
    total = terms[..., 0].copy()
    for c in range(1, terms.shape[-1]):
        total += terms[..., c]
    return total


def dot(a, b):
    """Dot product over the last axis: multiply first, then fold (E2). (..., d), (..., d) → (...)."""
    return fold_sum(a * b)


def norm(a):
    """Euclidean norm over the last axis, ‖a‖ = √⟨a, a⟩ (E2). (..., d) → (...)."""
    return np.sqrt(dot(a, a))


# == Layers: each forward function is followed by its backward =========================================================


def unit_rows(x, dtype):
    """x̄ᵢ = xᵢ / ‖xᵢ‖, in the wider of the two dtypes and then rounded to ``dtype`` (E3). x is data: no backward."""
    x = x.astype(np.result_type(x.dtype, dtype))
    exponent = np.frexp(np.abs(x).max(axis=1, keepdims=True))[1]
    scaled = np.ldexp(x, -exponent)  # largest magnitude in [1/2, 1): no square overflows or vanishes
    return (scaled / norm(scaled)[:, None]).astype(dtype)


def pre_activations(x_unit, W_enc, b_enc):
    """aᵢ = x̄ᵢ W_enc + b_enc (E4). (n, d), (d, h), (h,) → (n, h). Its backward is `add_outer` (E4')."""
    return dot(x_unit[:, None, :], W_enc.T) + b_enc


def abs_topk(pre, k):
    """The k largest |a| of each row (E5), ties to the lower index (R1), stored by ascending index, −0 as +0 (R2).

    Backward (E5', R7): ∂L/∂a is ∂L/∂v at the selected entries, and zero elsewhere.
    """
    order = np.argsort(-np.abs(pre), axis=1, kind="stable")
    indices = np.sort(order[:, :k], axis=1)
    return indices, np.take_along_axis(pre, indices, axis=1) + 0


def encode_rows(x, W_enc, b_enc, k):
    """Codes of embeddings at any scale (E3, E4, E5); a zero row gets zeros at the indices 0 to k − 1 (R4)."""
    zero = ~x.any(axis=1)
    x_unit = unit_rows(np.where(zero[:, None], x.dtype.type(1), x), W_enc.dtype)
    indices, values = abs_topk(pre_activations(x_unit, W_enc, b_enc), k)
    indices[zero], values[zero] = np.arange(k), 0
    return indices, values


def split_code(indices, values, k):
    """Split a code into its k largest entries, which are the code for that k (R2), and the remainder (E6)."""
    order = np.argsort(-np.abs(values), axis=1, kind="stable")
    parts = np.sort(order[:, :k], axis=1), np.sort(order[:, k:], axis=1)
    return [(np.take_along_axis(indices, part, axis=1), np.take_along_axis(values, part, axis=1)) for part in parts]


def decode(indices, values, W_dec):
    """x̂ᵢ = Σ_t v[i, t] · W_dec[j[i, t]], summed in stored order (E7). (n, k), (n, k), (h, d) → (n, d)."""
    x_hat = np.zeros((len(indices), W_dec.shape[1]), values.dtype)
    for t in range(indices.shape[1]):
        x_hat += values[:, t, None] * W_dec[indices[:, t]]
    return x_hat


def decode_backward_values(grad_x_hat, indices, W_dec):
    """∂L/∂v[i, t] = ⟨∂L/∂x̂ᵢ, W_dec[j[i, t]]⟩ (E7'). (n, d), (n, k), (h, d) → (n, k)."""
    return dot(grad_x_hat[:, None, :], W_dec[indices])


def add_outer(weights, indices, y, out):
    """out[j] ← out[j] + s[j] · y for the latents j of one row (E8); over all rows in order: sᵀ y. (k,), (k,), (m,)."""
    out[indices] += weights[:, None] * y


def clamped_norm(a):
    """max(‖a‖, 1e-8), as in ``torch.nn.functional.cosine_similarity`` (R6). (n, d) → (n,)."""
    return np.maximum(norm(a), a.dtype.type(1e-8))


def cosine(x_unit, x_hat):
    """cᵢ = ⟨x̄ᵢ, x̂ᵢ⟩ / (‖x̄ᵢ‖ ‖x̂ᵢ‖), both norms clamped (E9). (n, d), (n, d) → (n,)."""
    return dot(x_unit, x_hat) / (clamped_norm(x_unit) * clamped_norm(x_hat))


def cosine_backward(grad_cos, x_unit, x_hat):
    """∂L/∂x̂ᵢ = ∂L/∂cᵢ · (x̄ᵢ / (‖x̄ᵢ‖ ‖x̂ᵢ‖) − cᵢ x̂ᵢ / ‖x̂ᵢ‖²) (E9'). (n,), (n, d), (n, d) → (n, d)."""
    norm_x, norm_hat = clamped_norm(x_unit), clamped_norm(x_hat)
    toward = grad_cos / (norm_x * norm_hat)
    along = grad_cos * cosine(x_unit, x_hat) / (norm_hat * norm_hat)
    along = np.where(norm_hat > x_hat.dtype.type(1e-8), along, x_hat.dtype.type(0))  # a clamped norm is constant
    return toward[:, None] * x_unit - along[:, None] * x_hat


# == Training: a straight line forward, and the same line in reverse ===================================================


def loss_and_gradients(batch, W_enc, b_enc, W_dec, k, aux_weight=1 / 8):
    """(loss, loss_k, loss_aux), and the gradients of loss with respect to W_enc, b_enc and W_dec (E13, E13', E14)."""
    n, h, real = len(batch), len(b_enc), W_dec.dtype.type
    # forward
    x_unit = unit_rows(batch, W_dec.dtype)
    code_aux = abs_topk(pre_activations(x_unit, W_enc, b_enc), min(4 * k, h))  # R5
    (indices_k, values_k), (indices_rest, values_rest) = split_code(*code_aux, k)
    x_hat_k = decode(indices_k, values_k, W_dec)
    x_hat_aux = x_hat_k + decode(indices_rest, values_rest, W_dec)
    loss_k = np.mean(1 - cosine(x_unit, x_hat_k).astype(np.float64))
    loss_aux = np.mean(1 - cosine(x_unit, x_hat_aux).astype(np.float64))
    # backward
    grad_cos = np.full(n, -1 / n, W_dec.dtype)
    grad_x_hat_aux = cosine_backward(grad_cos * real(aux_weight), x_unit, x_hat_aux)
    grad_x_hat_k = cosine_backward(grad_cos, x_unit, x_hat_k) + grad_x_hat_aux  # x̂_k is a term of x̂_aux
    grad_values_k = decode_backward_values(grad_x_hat_k, indices_k, W_dec)
    grad_values_rest = decode_backward_values(grad_x_hat_aux, indices_rest, W_dec)
    grad_W_enc, grad_b_enc, grad_W_dec = np.zeros_like(W_enc), np.zeros_like(b_enc), np.zeros_like(W_dec)
    for i in range(n):  # in row order (E14): E7'' for W_dec, E4' for W_enc and b_enc, where ∂L/∂a is ∂L/∂v (E5')
        add_outer(values_k[i], indices_k[i], grad_x_hat_k[i], grad_W_dec)
        add_outer(values_rest[i], indices_rest[i], grad_x_hat_aux[i], grad_W_dec)
        add_outer(grad_values_k[i], indices_k[i], x_unit[i], grad_W_enc.T)
        add_outer(grad_values_rest[i], indices_rest[i], x_unit[i], grad_W_enc.T)
        add_outer(grad_values_k[i], indices_k[i], np.ones(1, W_dec.dtype), grad_b_enc[:, None])
        add_outer(grad_values_rest[i], indices_rest[i], np.ones(1, W_dec.dtype), grad_b_enc[:, None])
    return (loss_k + aux_weight * loss_aux, loss_k, loss_aux), (grad_W_enc, grad_b_enc, grad_W_dec)


def power(base, exponent):
    """An integer power by repeated squaring (E11): the last bit of ``**`` differs between C libraries."""
    result = 1.0
    while exponent > 0:
        result = result * base if exponent % 2 == 1 else result
        base, exponent = base * base, exponent // 2
    return result


def adam(p, g, m, v, t, lr, beta1=0.9, beta2=0.999, eps=1e-8):
    """Move p by its gradient g in step t = 1, 2, … as ``torch.optim.Adam`` does (E11, R8). Changes p, m, v in place.

    m ← β₁ m + (1 − β₁) g;  v ← β₂ v + (1 − β₂) g²;  p ← p − α · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)
    """
    constants = [lr, beta1, beta2, 1 - beta1, 1 - beta2, eps, 1 - power(beta1, t), 1 - power(beta2, t)]
    lr, beta1, beta2, rest1, rest2, eps, correction1, correction2 = np.array(constants, p.dtype)  # rounded once
    m[...] = beta1 * m + rest1 * g
    v[...] = beta2 * v + rest2 * (g * g)
    for moment in (m, v):  # a subnormal moment becomes zero
        moment[np.abs(moment) < np.finfo(p.dtype).tiny] = 0
    p -= lr * (m / correction1) / (np.sqrt(v / correction2) + eps)


def renormalize(W_dec):
    """Make the atoms unit rows again, in place: W_dec[j] ← W_dec[j] / ‖W_dec[j]‖ (E12)."""
    W_dec /= norm(W_dec)[:, None]


def project(grad_W_dec, W_dec):
    """Remove from each gradient its part along the unit atom, in place: the order of May 2025 (E12', R8)."""
    grad_W_dec -= dot(grad_W_dec, W_dec)[:, None] * W_dec


def train_step(batch, params, m, v, t, k, lr, may_2025=False):
    """Step t on a batch: gradients, Adam, unit atoms (R8). Changes params, m and v in place and returns the losses."""
    losses, grads = loss_and_gradients(batch, *params, k)
    if may_2025:
        renormalize(params[2])
        project(grads[2], params[2])
    for p, g, m_p, v_p in zip(params, grads, m, v, strict=True):
        adam(p, g, m_p, v_p, t, lr)
    if not may_2025:
        renormalize(params[2])
    return losses


def initial(u_enc, u_dec, tied):
    """W_enc, b_enc, W_dec at the start, from u uniform in [0, 1) (R9). (d, h), (h, d) → float64, to be rounded once."""
    h, d = u_dec.shape
    W_dec = (2 * u_dec - 1) * np.sqrt(6 / d)
    renormalize(W_dec)
    W_enc = W_dec.T if tied else (2 * u_enc - 1) * np.sqrt(6 / h)
    return W_enc, np.zeros(h), W_dec


# == Similarity and search: a query becomes a vector u over the latents, and each score gathers k of its entries =======


def gather(u, indices, values):
    """Σ_t u[q, j[i, t]] · v[i, t], summed in stored order (E10). (n_q, h), (n, k), (n, k) → (n_q, n)."""
    return sum(u[:, indices[:, t]] * values[:, t] for t in range(indices.shape[1]))


def code_norm(values):
    """max(‖s‖, 1e-8) of each code, summed in stored order (R6). (n, k) → (n,)."""
    squares = sum(values[:, t] * values[:, t] for t in range(values.shape[1]))
    return np.maximum(np.sqrt(squares), values.dtype.type(1e-8))


def over_latents(x, W_dec):
    """u = W_dec x for each row: its dots with all atoms (E10). (n_q, d), (h, d) → (n_q, h)."""
    return dot(x[:, None, :], W_dec)


def sparse_cosine(query, item, h):
    """s_qᵀ s / (‖s_q‖ ‖s‖) (E15). Codes of queries and of items → (n_q, n)."""
    u = np.zeros((len(query[0]), h), query[1].dtype)
    np.put_along_axis(u, *query, axis=1)
    return gather(u, *item) / (code_norm(query[1])[:, None] * code_norm(item[1]))


def reconstructed_cosine(query, item, W_dec):
    """s_qᵀ K s / (√(s_qᵀ K s_q) √(sᵀ K s)) with K = W_dec W_decᵀ, which is never formed (E16). Codes → (n_q, n)."""
    x_hat_q, x_hat = decode(*query, W_dec), decode(*item, W_dec)
    return gather(over_latents(x_hat_q, W_dec), *item) / (clamped_norm(x_hat_q)[:, None] * clamped_norm(x_hat))


def asymmetric_cosine(x_unit, item, W_dec):
    """x̄_qᵀ x̂ / ‖x̂‖: the query stays dense (E17). (n_q, d), codes → (n_q, n)."""
    return gather(over_latents(x_unit, W_dec), *item) / clamped_norm(decode(*item, W_dec))


def expanded_cosine(x_unit, item, W_dec, m):
    """As `asymmetric_cosine`, with the m largest entries of u alone (E23). (n_q, d), codes → (n_q, n)."""
    u_dense = over_latents(x_unit, W_dec)
    u = np.zeros_like(u_dense)
    np.put_along_axis(u, *abs_topk(u_dense, m), axis=1)
    return gather(u, *item) / clamped_norm(decode(*item, W_dec))


def best(scores, top):
    """The row numbers of the best items, best first; equal scores by ascending number (R10). (n_q, n) → (n_q, top)."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :top]
