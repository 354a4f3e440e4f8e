"""Sentences of the tasks that a solution can break: exercise, sentence, a change of `solutions.py`, words of the grade.

Each change breaks one sentence and nothing else. The grader must notice it. Words are "" where the first wrong number is all
that can be said.
"""

from __future__ import annotations

COSINE = "(x_unit * x_hat).sum(axis=1) / (clamped_norm(x_unit) * clamped_norm(x_hat))"
SPARSE = "dots / (clamped_norm(query_values)[:, None] * clamped_norm(values))"
PRODUCT = "np.maximum(norm(query_values)[:, None] * norm(values), values.dtype.type(1e-8))"
ONE_NORM = (
    "def clamped_norm(a):",
    "def norm(a):\n    return np.sqrt((a * a).sum(axis=1))\n\n\ndef clamped_norm(a):",
)
REST = "    np.put_along_axis(grad_pre, indices_rest, grad_values_rest, axis=1)\n"
EARLY = "        params = *params[:2], renormalize(params[2])\n        grad_W_dec = project(grad_W_dec, params[2])\n"
LATE = "    if not may_2025:\n"
FLUSH = "        moment[np.abs(moment) < np.finfo(param.dtype).tiny] = 0\n"
STABLE = 'np.argsort(-scores, axis=1, kind="stable")'
FOLD = "while terms.shape[-1] > 16 and terms.shape[-1] % 2 == 0:"
ADDED = "    total = terms[..., 0].copy()\n    for c in range(1, terms.shape[-1]):\n        total += terms[..., c]\n    return total\n"
LOOPED = "scores[q, i] += u[q, indices[i, t]] * values[i, t]"
PLACES = "    places = np.sort(order[:, :k], axis=1)\n"
KEPT = "np.take_along_axis(values, places, axis=1)\n"
WORDS = "key=lambda w: (-scores[w], -y[w], words[w])"

BROKEN: list[tuple[int, str, list[tuple[str, str]], str]] = [
    (1, "Return the k entries of each code with the largest magnitudes",
     [(PLACES, "    places = np.tile(np.arange(k), (len(values), 1))\n")], "first k stored entries"),
    (1, "A code stores its entries by ascending index", [(PLACES, "    places = order[:, :k]\n")], "(R2)"),
    (1, "the one with the lower index is kept",
     [(PLACES, "    places = np.sort(values.shape[1] - 1 - np.argsort(-np.abs(values[:, ::-1]), axis=1, kind='stable')[:, :k])\n")],
     "higher index"),
    (1, "Values keep their signs", [(KEPT, "abs(np.take_along_axis(values, places, axis=1))\n")], "sign"),
    (2, "score[w] = y[w] · ln(1 + A / f[w])", [("y * np.log(1 + mean / f)", "y * np.log(mean / f)")], "the 1 in ln"),
    (2, "ln is the natural logarithm", [("np.log(", "np.log2(")], "another base"),
    (2, "by descending score", [(WORDS, WORDS.replace("-scores", "scores"))], "lowest scores"),
    (2, "then by descending y", [(WORDS, WORDS.replace("-y", "y"))], "order of descending y"),
    (2, "order of Python's strings, a before b", [(WORDS, "key=lambda w: (-scores[w], -y[w])")], "the last word comes first"),
    (2, "if there are fewer words, return all", [("    return [words[w] for w in order], scores[order]",
      "    order = (order + order)[:top]\n    return [words[w] for w in order], scores[order]")], ""),
    (3, "first multiply each row by 2⁻ᵉ", [("np.ldexp(x, -exponent)", "x")], "squares vanish"),
    (3, "unit rows x̄ᵢ = xᵢ / ‖xᵢ‖", [("scaled / np.sqrt(", "scaled / (")], "the root is missing"),
    (3, "exponent of the largest magnitude in that row",
     [("np.abs(x).max(axis=1, keepdims=True)", "np.abs(x).max()")], "one power of two"),
    (4, "k largest magnitudes |a|", [("np.argsort(-np.abs(pre), axis", "np.argsort(-pre, axis")], "largest"),
    (4, "the one with the lower index is kept (R1)", [("order = np.argsort(-np.abs(pre), axis=1, kind=\"stable\")",
      "order = pre.shape[1] - 1 - np.argsort(-np.abs(pre[:, ::-1]), axis=1, kind=\"stable\")")], "lower index"),
    (4, "Entries are stored by ascending index", [("np.sort(order[:, :k], axis=1)\n    return indices", "order[:, :k]\n    return indices")],
     "ascending"),
    (4, "values keep their signs", [("np.take_along_axis(pre, indices, axis=1) + 0", "abs(np.take_along_axis(pre, indices, axis=1))")],
     "sign"),
    (4, "−0 is stored as +0", [("np.take_along_axis(pre, indices, axis=1) + 0", "np.take_along_axis(pre, indices, axis=1)")],
     "−0"),
    (4, "A selected zero is stored like any other value", [("axis=1, kind=\"stable\")\n    indices",
      "axis=1, kind=\"stable\")[:, : np.count_nonzero(pre, axis=1).min()]\n    indices")], "shape"),
    (5, "x̂ᵢ = Σ_t v[i, t] · W_dec[j[i, t]]", [("values[:, t, None] * W_dec", "abs(values[:, t, None]) * W_dec")], "sign"),
    (6, "There are two clamps, one for each norm", [ONE_NORM, (COSINE, COSINE.replace("clamped_norm(x_unit)", "norm(x_unit)"))],
     "only ‖x̂‖ is clamped"),
    (6, "a norm below 1e-8 counts as 1e-8", [ONE_NORM, (COSINE, COSINE.replace("clamped_norm", "norm"))], "not clamped"),
    (6, "Do not clamp the product of the norms",
     [ONE_NORM, (COSINE, "(x_unit * x_hat).sum(axis=1) / np.maximum(norm(x_unit) * norm(x_hat), x_hat.dtype.type(1e-8))")],
     "one clamp is on the product"),
    (6, "The rows can have any norm", [(COSINE, COSINE.replace("clamped_norm(x_unit) * ", ""))], ""),
    (7, "The second term removes the part along x̂", [(" - along[:, None] * x_hat", "")], "second term of E9' is missing"),
    (7, "Each norm is clamped at 1e-8", [("clamped_norm(x_unit), clamped_norm(x_hat)",
      "clamped_norm(x_unit), np.sqrt((x_hat * x_hat).sum(axis=1))")], "(R6)"),
    (7, "the clamped norm is a constant, and the second term is 0",
     [("    along = np.where(norm_hat > x_hat.dtype.type(1e-8), along, x_hat.dtype.type(0))\n", "")], "ClampedGradient"),
    (8, "∂L/∂v[i, t] = ⟨∂L/∂x̂ᵢ, W_dec[j[i, t]]⟩", [("W_dec[indices]).sum(axis=2)", "W_dec[indices]).sum(axis=2) * values")],
     "multiplied by v"),
    (8, "∂L/∂W_dec[j] = Σ v[i, t] · ∂L/∂x̂ᵢ", [("values[i, :, None] * grad_x_hat[i]", "grad_x_hat[i]")], "v is missing"),
    (8, "over all entries with j[i, t] = j", [("    for i in range(len(indices)):\n        grad_W_dec[indices[i]] += values[i, :, None] * grad_x_hat[i]\n",
      "    grad_W_dec[indices] += values[:, :, None] * grad_x_hat[:, None, :]\n")], "np.add.at"),
    (9, "a = x̄ W_enc + b_enc", [("x_unit @ W_enc + b_enc", "x_unit @ W_enc")], ""),
    (9, "min(4k, h) largest |a| give x̂_aux", [("min(4 * k, h)", "min(2 * k, h)")], ""),
    (9, "loss_k = mean(1 − cos(x̄, x̂_k))", [("np.mean(", "np.sum(")], "losses are sums"),
    (9, "loss = loss_k + loss_aux / 8", [("(loss_k + loss_aux / 8,", "(loss_k + loss_aux,")], "weight 1 in the loss"),
    (9, "the k largest get the gradient of loss_k with respect to x̂_k plus ∂L/∂x̂_aux",
     [("x_unit, x_hat_k) + grad_aux", "x_unit, x_hat_k)")], "do not get the gradient of x̂_aux"),
    (9, "those of the rest included", [(REST, ""), ("grad_W_dec_k + grad_W_dec_rest", "grad_W_dec_k")], "the rest of the entries gets no"),
    (9, "∂L/∂W_enc = x̄ᵀ ∂L/∂a", [("x_unit.T @ grad_pre", "x.T @ grad_pre")], ""),
    (9, "∂L/∂b_enc = Σᵢ ∂L/∂aᵢ", [("grad_pre.sum(axis=0)", "grad_pre.mean(axis=0)")], ""),
    (9, "L is the loss, with both of its terms", [("cosine_backward(grad_cos / 8,", "cosine_backward(grad_cos,")],
     "weight 1 in the gradients"),
    (9, "W_dec gets gradients from both parts", [("grad_W_dec_k + grad_W_dec_rest", "grad_W_dec_k")], ""),
    (10, "m ← β₁ m + (1 − β₁) g", [("(1 - 0.9) * grad", "grad")], ""),
    (10, "v ← β₂ v + (1 − β₂) g²", [("(grad * grad)", "grad")], "not of g²"),
    (10, "(√(v / (1 − β₂ᵗ)) + ε)", [("np.sqrt(v_hat) + 1e-8", "np.sqrt(v_hat + 1e-8)")], "inside the root"),
    (10, "The new m and v are used for p", [("    m = 0.9 * m", "    old = m\n    m = 0.9 * m"), ("m_hat, v_hat = m /", "m_hat, v_hat = old /")], ""),
    (10, "below the smallest normal number", [(FLUSH, "        pass\n")], "smallest normal number is kept"),
    (11, "An atom is a row of W_dec", [("(W_dec * W_dec).sum(axis=1,", "(W_dec * W_dec).sum(axis=0,")], "an atom is a row"),
    (11, "W_dec[j] / ‖W_dec[j]‖", [("(W_dec * W_dec).sum(axis=1, keepdims=True)", "(W_dec * W_dec).sum()")], "whole matrix"),
    (11, "g[j] − ⟨g[j], w[j]⟩ w[j]", [("(grad_W_dec * W_dec).sum(axis=1, keepdims=True)", "(grad_W_dec * W_dec).sum()")], "whole matrix"),
    (12, "may_2025 False: 1. gradients; 2. Adam", [(LATE, "    if False:\n")], "not made unit rows"),
    (12, "2. the atoms are made unit rows; 3. the gradient", [(EARLY, "\n".join(reversed(EARLY.splitlines())) + "\n")], "before the atoms"),
    (12, "3. the gradient of W_dec is projected", [("        grad_W_dec = project(grad_W_dec, params[2])\n", "")], "not projected"),
    (12, "The atoms then stay as Adam moves them", [(LATE, "    if True:\n")], "after Adam, too"),
    (13, "the item with the lower number comes first", [(STABLE, "scores.shape[1] - 1 - np.argsort(-scores[:, ::-1], axis=1, kind='stable')")],
     "(ById)"),
    (13, "the item with the lower number comes first (R10)", [(STABLE, "np.argsort(-scores + 0 * np.arange(scores.shape[1]), axis=1)")], 'kind="stable"'),
    (13, "Return the best items for each query", [(STABLE, 'np.argsort(scores, axis=1, kind="stable")')], "worst items"),
    (13, "max(‖s_q‖, 1e-8)", [(SPARSE, "dots / clamped_norm(values)")], "norm of the query"),
    (13, "Each norm is clamped, not the product", [ONE_NORM, (SPARSE, f"dots / {PRODUCT}")], "one clamp is on the product"),
    (13, "a code of zeros has the score 0, not NaN", [ONE_NORM, (SPARSE, SPARSE.replace("clamped_norm", "norm"))], "0 / 0 is NaN"),
    (14, "score[q, i] = x̄_qᵀ x̂ᵢ / max(‖x̂ᵢ‖, 1e-8)", [("clamped_norm(decode(indices, values, W_dec))", "clamped_norm(values)")],
     "norm of the code"),
    (14, "Only the norm of x̂ is clamped", [ONE_NORM, ("clamped_norm(decode(", "norm(decode(")], "0 / 0 is NaN"),
    (14, "x̄_q is the unit row of a query", [("unit_rows(queries) @", "queries @")], "UnitQuery"),
    (15, "each product and each sum is rounded to the dtype of u", [("np.zeros((len(u), len(indices)), u.dtype)\n    for q", "np.zeros((len(u), len(indices)), np.float64)\n    for q"),
      ("    return scores\n", "    return scores.astype(u.dtype)\n")], "runs in float64"),
    (15, "summed in stored order", [(LOOPED, "scores[q, i] += u[q, indices[i, -1 - t]] * values[i, -1 - t]")], "from the last entry"),
    (16, "add the second half to the first half", [("terms[..., :half] + terms[..., half:]", "terms[..., ::2] + terms[..., 1::2]")], "neighbours"),
    (16, "As long as more than 16 terms are left", [(FOLD, FOLD.replace("> 16", ">= 16"))], "16 terms are folded"),
    (16, "Then add the terms that are left one by one", [(ADDED, "    return np.sum(terms, axis=-1)\n")], "np.sum"),
    (16, "from left to right", [(ADDED, ADDED.replace("terms[..., 0].copy()", "terms[..., -1].copy()").replace("c]", "-1 - c]"))], "another order"),
    (16, "each addition is rounded to the dtype of the terms", [(FOLD, "terms, dtype = terms.astype(np.float64), terms.dtype\n    " + FOLD),
      ("    return total\n", "    return total.astype(dtype)\n")], "each addition is rounded"),
    (3, "returns : x_unit (n, d)", [("scaled / np.sqrt((scaled * scaled).sum(axis=1, keepdims=True))", "(scaled / np.sqrt((scaled * scaled).sum(axis=1, keepdims=True)))[:, :1]")], "shape"),
    (6, "Return the cosines cᵢ = ⟨x̄ᵢ, x̂ᵢ⟩", [("return " + COSINE, "return 1 - " + COSINE)], "1 − c is returned"),
    (6, "So the cosine with a row of zeros is 0, not NaN", [ONE_NORM, (COSINE, COSINE.replace("clamped_norm", "norm"))], "not clamped"),
    (7, "∂L/∂x̂ᵢ = ∂L/∂cᵢ", [("toward = grad_cos / ", "toward = 1 / "), ("along = grad_cos * ", "along = ")], "grad_cos is missing"),
    (7, "So the gradient is orthogonal to x̂", [("/ (norm_hat * norm_hat)", "/ norm_hat")], "not by ‖x̂‖²"),
    (10, "β₁ = 0.9, β₂ = 0.999, ε = 1e-8", [("0.999", "0.99")], ""),
    (12, "Adam for each of the three parameters", [("    params, m, v = zip(*moved", "    moved[1] = params[1], m[1], v[1]\n    params, m, v = zip(*moved")], ""),
    (13, "An item's number is its row", [("    return ids, np.take_along_axis(scores, ids, axis=1)", "    return ids + 1, np.take_along_axis(scores, ids, axis=1)")], "ids"),
    (13, "If there are fewer than top items, return all", [("[:, :top]\n    return ids", "[:, : min(top, scores.shape[1] - 1)]\n    return ids")], ""),
    (14, "The results have the order and the number of exercise 13", [(STABLE, 'np.argsort(scores, axis=1, kind="stable")')], "worst items"),
    (15, "A score is never −0", [("                scores[q, i] +=", "                if t == 0:\n                    scores[q, i] = u[q, indices[i, t]] * values[i, t]\n                else:\n                    scores[q, i] +=")], "starts with 0"),
]  # fmt: skip
"""A change may break two sentences at once, where one follows from the other."""

EXPLANATIONS = (
    "Return the words that name a latent, best first, and their scores: class-based TF-IDF (c-TF-IDF).",
    "The equation is that of `spec/segment-names.md`.",
    "In float32, the square of 1e30 overflows and the square of 1e-30 is 0.",
    "A factor that is a power of two changes no bit of the result.",
    "Return the gradients with respect to x̂.",
    "The first term turns x̂ towards x̄.",
    "Return the gradients of x̂ᵢ = Σ_t v[i, t] · W_dec[j[i, t]] with respect to the values and the atoms.",
    "Return the losses of a batch, and the gradients of the loss with respect to all parameters.",
    "The k largest are among the min(4k, h) largest.",
    "Backward:",
    "The selection itself has no gradient.",
    "g is grad, p is param, α is lr and t is step.",
    "Return the atoms as unit rows:",
    "All norms are near 1, so no square overflows.",
    "A step along an atom changes only its length, and `renormalize` undoes that.",
    "So this part of the gradient is wasted, and the projection removes it.",
    "The original code did so before the step until November 2025: see E12' in `spec/derivations.md`.",
    "Return the losses of step t on a batch, and the parameters and moments after it.",
    "The original code changed its order in 2025, and models of both orders exist: so there are two orders.",
    "Return the best items for each dense query: the query stays dense, and the items are codes.",
    "The grader compiles your function by Numba (numba.njit, with checked bounds), which makes loops fast.",
    "Loops are natural here, but only the numbers are graded.",
    "Use only what Numba can compile; if you call a function of your own, it needs @njit.",
    "Return the sums over the last axis, in the order that all implementations share.",
)
"""Sentences that say why, or what another sentence says in full: no solution can break them alone."""
