"""Solutions of the exercises, as a student would write them, each with the mistake that is usual.

The tasks stand in `exercises.py`. ``compressae-ref verify --student examples/learn/solutions.py`` grades this file.
The grader compares numbers, not how they are made: a function that is copied from here, or imported from
`compressae_ref.reference`, passes. It is a check for the one who learns, and no exam.
"""

import numpy as np

# == Chapter 1: 1_what_a_code_is ========================================================================================


# -- Exercise 1 ----------------------------------------------------------------------------------------------------------
def truncate(indices, values, k):
    # Usual mistake: values[:, :k]. Entries are stored by index, so the first ones are not the largest.
    order = np.argsort(-np.abs(values), axis=1, kind="stable")
    places = np.sort(order[:, :k], axis=1)
    return np.take_along_axis(indices, places, axis=1), np.take_along_axis(values, places, axis=1)


# -- Exercise 2 ----------------------------------------------------------------------------------------------------------
def name_latent(words, y, f, mean, top):
    # Usual mistake: ordering by y alone. Then "the" and "of" name every latent.
    scores = y * np.log(1 + mean / f)
    order = sorted(range(len(words)), key=lambda w: (-scores[w], -y[w], words[w]))[:top]
    return [words[w] for w in order], scores[order]


# == Chapter 2: 2_forward_by_hand =======================================================================================


# -- Exercise 3 ----------------------------------------------------------------------------------------------------------
def unit_rows(x):
    # Usual mistake: x / np.linalg.norm(x), which divides by the norm of the whole matrix.
    exponent = np.frexp(np.abs(x).max(axis=1, keepdims=True))[1]
    scaled = np.ldexp(x, -exponent)
    return scaled / np.sqrt((scaled * scaled).sum(axis=1, keepdims=True))


# -- Exercise 4 ----------------------------------------------------------------------------------------------------------
def abs_topk(pre, k):
    # Usual mistake: np.argsort(np.abs(pre))[:, -k:], which does not keep the lower index of equal magnitudes.
    order = np.argsort(-np.abs(pre), axis=1, kind="stable")
    indices = np.sort(order[:, :k], axis=1)
    return indices, np.take_along_axis(pre, indices, axis=1) + 0


# -- Exercise 5 ----------------------------------------------------------------------------------------------------------
def decode(indices, values, W_dec):
    # Usual mistake: x_hat = np.zeros((n, d)), which is float64 and makes everything after it float64, too.
    x_hat = np.zeros((len(indices), W_dec.shape[1]), W_dec.dtype)
    for t in range(indices.shape[1]):
        x_hat += values[:, t, None] * W_dec[indices[:, t]]
    return x_hat


# == Chapter 3: 3_backward_by_hand ======================================================================================


def clamped_norm(a):
    """Return max(‖a‖, 1e-8) of each row, which both directions need."""
    return np.maximum(np.sqrt((a * a).sum(axis=1)), a.dtype.type(1e-8))


# -- Exercise 6 ----------------------------------------------------------------------------------------------------------
def cosine(x_unit, x_hat):
    # Usual mistake: adding 1e-8 to the norm. R6 clamps it, so a norm that is large enough is unchanged.
    return (x_unit * x_hat).sum(axis=1) / (clamped_norm(x_unit) * clamped_norm(x_hat))


# -- Exercise 7 ----------------------------------------------------------------------------------------------------------
def cosine_backward(grad_cos, x_unit, x_hat):
    # Usual mistake: the first term alone. The norm of x̂ depends on x̂, too.
    norm_x, norm_hat = clamped_norm(x_unit), clamped_norm(x_hat)
    toward = grad_cos / (norm_x * norm_hat)
    along = grad_cos * cosine(x_unit, x_hat) / (norm_hat * norm_hat)
    along = np.where(norm_hat > x_hat.dtype.type(1e-8), along, x_hat.dtype.type(0))
    return toward[:, None] * x_unit - along[:, None] * x_hat


# -- Exercise 8 ----------------------------------------------------------------------------------------------------------
def decode_backward(grad_x_hat, indices, values, W_dec):
    # Usual mistake: one statement grad_W_dec[indices] += … for all rows. Of rows with the same latent, one remains.
    grad_values = (grad_x_hat[:, None, :] * W_dec[indices]).sum(axis=2)
    grad_W_dec = np.zeros_like(W_dec)
    for i in range(len(indices)):
        grad_W_dec[indices[i]] += values[i, :, None] * grad_x_hat[i]
    return grad_values, grad_W_dec


# -- Exercise 9 ----------------------------------------------------------------------------------------------------------
def gradients(x, W_enc, b_enc, W_dec, k):
    # Usual mistake: grad_k without grad_aux. The k largest entries are a part of x̂_aux, too.
    n, h = len(x), len(b_enc)
    x_unit = unit_rows(x)
    pre = x_unit @ W_enc + b_enc
    indices_aux, _ = abs_topk(pre, min(4 * k, h))
    indices_k, values_k = abs_topk(pre, k)
    is_rest = ~(indices_aux[:, :, None] == indices_k[:, None, :]).any(axis=2)
    indices_rest = indices_aux[is_rest].reshape(n, -1)
    values_rest = np.take_along_axis(pre, indices_rest, axis=1)
    x_hat_k = decode(indices_k, values_k, W_dec)
    x_hat_aux = x_hat_k + decode(indices_rest, values_rest, W_dec)
    loss_k, loss_aux = np.mean(1 - cosine(x_unit, x_hat_k)), np.mean(1 - cosine(x_unit, x_hat_aux))

    grad_cos = np.full(n, -1 / n, W_dec.dtype)
    grad_aux = cosine_backward(grad_cos / 8, x_unit, x_hat_aux)
    grad_k = cosine_backward(grad_cos, x_unit, x_hat_k) + grad_aux
    grad_values_k, grad_W_dec_k = decode_backward(grad_k, indices_k, values_k, W_dec)
    grad_values_rest, grad_W_dec_rest = decode_backward(grad_aux, indices_rest, values_rest, W_dec)
    grad_pre = np.zeros_like(pre)
    np.put_along_axis(grad_pre, indices_k, grad_values_k, axis=1)
    np.put_along_axis(grad_pre, indices_rest, grad_values_rest, axis=1)
    grads = x_unit.T @ grad_pre, grad_pre.sum(axis=0), grad_W_dec_k + grad_W_dec_rest
    return (loss_k + loss_aux / 8, loss_k, loss_aux), grads


# == Chapter 4: 4_train =================================================================================================


# -- Exercise 10 ---------------------------------------------------------------------------------------------------------
def adam(param, grad, m, v, step, lr):
    # Usual mistake: no bias correction. Then the first steps are about three times as long as they should be.
    m = 0.9 * m + (1 - 0.9) * grad
    v = 0.999 * v + (1 - 0.999) * (grad * grad)
    for moment in (m, v):
        moment[np.abs(moment) < np.finfo(param.dtype).tiny] = 0
    m_hat, v_hat = m / (1 - 0.9**step), v / (1 - 0.999**step)
    return param - lr * m_hat / (np.sqrt(v_hat) + 1e-8), m, v


# -- Exercise 11 ---------------------------------------------------------------------------------------------------------
def renormalize(W_dec):
    # Usual mistake: axis=0, or W_dec /= …, which changes the argument.
    return W_dec / np.sqrt((W_dec * W_dec).sum(axis=1, keepdims=True))


def project(grad_W_dec, W_dec):
    # Usual mistake: (grad_W_dec @ W_dec.T), the dots of all pairs, where one dot for each atom is needed.
    return grad_W_dec - (grad_W_dec * W_dec).sum(axis=1, keepdims=True) * W_dec


# -- Exercise 12 ---------------------------------------------------------------------------------------------------------
def train_step(batch, params, m, v, t, k, lr, may_2025):
    # Usual mistake: projecting before the atoms are unit rows. The projection is right for unit atoms only.
    losses, (grad_W_enc, grad_b_enc, grad_W_dec) = gradients(batch, *params, k)
    if may_2025:
        params = *params[:2], renormalize(params[2])
        grad_W_dec = project(grad_W_dec, params[2])
    grads = grad_W_enc, grad_b_enc, grad_W_dec
    moved = [adam(*arrays, t, lr) for arrays in zip(params, grads, m, v, strict=True)]
    params, m, v = zip(*moved, strict=True)
    if not may_2025:
        params = *params[:2], renormalize(params[2])
    return losses, params, m, v


# == Chapter 5: 5_search ================================================================================================


def best(scores, top):
    """Return ids and scores of the best items, of equal scores the lower number first."""
    ids = np.argsort(-scores, axis=1, kind="stable")[:, :top]
    return ids, np.take_along_axis(scores, ids, axis=1)


# -- Exercise 13 ---------------------------------------------------------------------------------------------------------
def search_sparse(query_indices, query_values, indices, values, n_latents, top):
    # Usual mistake: np.argsort(scores)[:, ::-1], which reverses equal scores, too.
    u = np.zeros((len(query_indices), n_latents), query_values.dtype)
    np.put_along_axis(u, query_indices, query_values, axis=1)
    dots = (u[:, indices] * values).sum(axis=2)
    return best(dots / (clamped_norm(query_values)[:, None] * clamped_norm(values)), top)


# -- Exercise 14 ---------------------------------------------------------------------------------------------------------
def search_asymmetric(queries, indices, values, W_dec, top):
    # Usual mistake: the norm of the code in place of ‖x̂‖. Atoms are not orthogonal, so the two differ.
    u = unit_rows(queries) @ W_dec.T
    dots = (u[:, indices] * values).sum(axis=2)
    return best(dots / clamped_norm(decode(indices, values, W_dec)), top)


# -- Exercise 15 ---------------------------------------------------------------------------------------------------------
def gather(u, indices, values):
    # Usual mistake: total = 0.0, which is float64 in Numba, so that float32 products are added in float64.
    scores = np.zeros((len(u), len(indices)), u.dtype)
    for q in range(len(u)):
        for i in range(len(indices)):
            for t in range(indices.shape[1]):
                scores[q, i] += u[q, indices[i, t]] * values[i, t]
    return scores


# == Chapter 6: 6_why_bits_differ =======================================================================================


# -- Exercise 16 ---------------------------------------------------------------------------------------------------------
def fold_sum(terms):
    # Usual mistake: terms.sum(axis=-1). NumPy adds in an order that depends on the layout of the array.
    while terms.shape[-1] > 16 and terms.shape[-1] % 2 == 0:
        half = terms.shape[-1] // 2
        terms = terms[..., :half] + terms[..., half:]
    total = terms[..., 0].copy()
    for c in range(1, terms.shape[-1]):
        total += terms[..., c]
    return total
