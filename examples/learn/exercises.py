"""Sixteen exercises: write the functions of a sparse autoencoder, and let the machine grade them.

Copy this file once, replace a ``raise NotImplementedError``, and grade it:

    cp -n examples/learn/exercises.py my_solution.py
    compressae-ref verify --student my_solution.py --exercise 3
    compressae-ref verify --student my_solution.py

Your functions need NumPy alone. They may call each other. If you skip an exercise that a later one needs, copy its function
from `solutions.py`. The grader compares numbers: a function that you copy or import passes as well as your own.

Rules for all functions:

- Arrays come as arguments and are returned. Return new arrays: an argument must not change.
- A returned array of floats has the dtype of the arguments, float32 or float64. Indices may have any integer dtype.
- Do not check the arguments: they have no NaN, no embedding of zeros and no k > h. Codes and reconstructions can be zeros.

Shapes: n rows, d dimensions, h latents, k stored entries per row. A code is a pair of arrays (indices, values), both
(n, k). Equations (E5) and rules (R1) stand in `spec/compressae.md`. Each example is small enough for paper:
``python -m doctest my_solution.py`` runs them.

Grading a file runs its code with your rights, and nothing protects you from hostile code. Grade no file that you would not
run yourself.
"""

import numpy as np  # noqa: F401  your functions need it

# == Chapter 1: 1_what_a_code_is ========================================================================================


# -- Exercise 1: E6, R2 --------------------------------------------------------------------------------------------------
def truncate(indices, values, k):
    """Return the k entries of each code with the largest magnitudes: the code for a smaller k.

    A code stores its entries by ascending index, and so does the result. Of equal magnitudes, the one with the lower index is
    kept. Values keep their signs.

    indices, values : (n, m) codes, with m ≥ k
    returns : (indices, values), both (n, k)

    Hints: np.argsort sorts in ascending order, and only with kind="stable" it keeps the order of equal numbers.
    np.take_along_axis(values, order, axis=1) takes another column in each row. Sort the places that you keep.

    >>> indices, values = truncate(np.array([[2, 5, 9]]), np.array([[0.1, -0.8, 0.8]]), 2)
    >>> indices.tolist(), values.tolist()
    ([[5, 9]], [[-0.8, 0.8]])
    """
    raise NotImplementedError


# -- Exercise 2: E43, R33 ------------------------------------------------------------------------------------------------
def name_latent(words, y, f, mean, top):
    """Return the words that name a latent, best first, and their scores: class-based TF-IDF (c-TF-IDF).

    score[w] = y[w] · ln(1 + A / f[w])

    The score is high if a word is frequent in the texts of this latent (y) and rare in all texts (f). ln is the natural
    logarithm. Words are ordered by descending score, then by descending y, then in the order of Python's strings, a before b.
    The equation is that of `spec/segment-names.md`.

    words : list of W strings
    y, f : (W,) integers: how many texts of the latent have the word, and how many of all texts
    mean : A, the mean over all latents of the sum of y
    top : number of words to return; if there are fewer words, return all
    returns : (names, scores): a list of at most top strings, and their scores in float64

    Hints: sorted(range(len(words)), key=…) with a tuple as key sorts by several things; −score sorts in descending order.

    >>> names, scores = name_latent(["a", "cat", "dog"], np.array([9, 4, 4]), np.array([90, 4, 5]), 10.0, 2)
    >>> names  # a: 9 ln(1 + 10/90) = 0.95; cat: 4 ln(1 + 10/4) = 5.01; dog: 4 ln(1 + 10/5) = 4.39
    ['cat', 'dog']
    >>> scores.round(2).tolist()
    [5.01, 4.39]
    """
    raise NotImplementedError


# == Chapter 2: 2_forward_by_hand =======================================================================================


# -- Exercise 3: E3 ------------------------------------------------------------------------------------------------------
def unit_rows(x):
    """Return the unit rows x̄ᵢ = xᵢ / ‖xᵢ‖, at any scale of x.

    In float32, the square of 1e30 overflows and the square of 1e-30 is 0. So first multiply each row by 2⁻ᵉ, where e is the
    exponent of the largest magnitude in that row. A factor that is a power of two changes no bit of the result.

    x : (n, d) floats
    returns : x_unit (n, d)

    Hints: np.frexp(a)[1] is the exponent e of a = f · 2ᵉ with ½ ≤ f < 1. np.ldexp(x, -e) is x · 2⁻ᵉ. With
    keepdims=True a maximum or a sum over the axis 1 has the shape (n, 1), which divides rows.

    >>> unit_rows(np.array([[3.0, 4.0], [0.0, -1e200]])).tolist()
    [[0.6, 0.8], [0.0, -1.0]]
    """
    raise NotImplementedError


# -- Exercise 4: E5, R1, R2 ----------------------------------------------------------------------------------------------
def abs_topk(pre, k):
    """Return the code that selects the k largest magnitudes |a| of each row of pre-activations a.

    Of equal magnitudes, the one with the lower index is kept (R1). Entries are stored by ascending index, values keep their
    signs, and −0 is stored as +0 (R2). A selected zero is stored like any other value, so that each row has k entries.

    pre : (n, h) floats
    returns : (indices, values), both (n, k)

    Hints: as in exercise 1. −0.0 + 0 is +0.0.

    >>> indices, values = abs_topk(np.array([[0.5, -2.0, 2.0, 1.0]]), 2)
    >>> indices.tolist(), values.tolist()
    ([[1, 2]], [[-2.0, 2.0]])
    """
    raise NotImplementedError


# -- Exercise 5: E7 ------------------------------------------------------------------------------------------------------
def decode(indices, values, W_dec):
    """Return the reconstructions x̂ᵢ = Σ_t v[i, t] · W_dec[j[i, t]]: sums of atoms, added in stored order.

    indices, values : (n, k) codes
    W_dec : (h, d): each row is an atom
    returns : x_hat (n, d)

    Hints: W_dec[indices[:, t]] is (n, d), the atoms of the entries t of all rows. values[:, t, None] is (n, 1).

    >>> decode(np.array([[0, 2]]), np.array([[2.0, -1.0]]), np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]])).tolist()
    [[1.4, -0.8]]
    """
    raise NotImplementedError


# == Chapter 3: 3_backward_by_hand ======================================================================================


# -- Exercise 6: E9, R6 --------------------------------------------------------------------------------------------------
def cosine(x_unit, x_hat):
    """Return the cosines cᵢ = ⟨x̄ᵢ, x̂ᵢ⟩ / (max(‖x̄ᵢ‖, 1e-8) · max(‖x̂ᵢ‖, 1e-8)).

    There are two clamps, one for each norm: a norm below 1e-8 counts as 1e-8. So the cosine with a row of zeros is 0, not NaN.
    Do not clamp the product of the norms. The rows can have any norm.

    x_unit, x_hat : (n, d)
    returns : cos (n,)

    Hints: (x_unit * x_hat).sum(axis=1) is the dot product of each row. np.maximum compares entry by entry.

    >>> cosine(np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [0.6, 0.0]
    """
    raise NotImplementedError


# -- Exercise 7: E9', R6 -------------------------------------------------------------------------------------------------
def cosine_backward(grad_cos, x_unit, x_hat):
    """Return the gradients with respect to x̂.

    ∂L/∂x̂ᵢ = ∂L/∂cᵢ · (x̄ᵢ / (‖x̄ᵢ‖ ‖x̂ᵢ‖) − cᵢ x̂ᵢ / ‖x̂ᵢ‖²)

    The first term turns x̂ towards x̄. The second term removes the part along x̂, which would only make x̂ longer. So the
    gradient is orthogonal to x̂. Each norm is clamped at 1e-8, as in exercise 6. In rows where ‖x̂‖ ≤ 1e-8, the clamped norm
    is a constant, and the second term is 0.

    grad_cos : (n,), ∂L/∂c
    x_unit, x_hat : (n, d)
    returns : grad_x_hat (n, d)

    Hints: a factor for each row needs the shape (n, 1): a[:, None]. np.where(condition, a, 0) selects entry by entry.

    >>> cosine_backward(np.array([1.0]), np.array([[1.0, 0.0]]), np.array([[0.0, 2.0]])).tolist()  # c = 0
    [[0.5, 0.0]]
    """
    raise NotImplementedError


# -- Exercise 8: E7', E7'', E8 -------------------------------------------------------------------------------------------
def decode_backward(grad_x_hat, indices, values, W_dec):
    """Return the gradients of x̂ᵢ = Σ_t v[i, t] · W_dec[j[i, t]] with respect to the values and the atoms.

    ∂L/∂v[i, t] = ⟨∂L/∂x̂ᵢ, W_dec[j[i, t]]⟩  and  ∂L/∂W_dec[j] = Σ v[i, t] · ∂L/∂x̂ᵢ over all entries with j[i, t] = j

    grad_x_hat : (n, d), ∂L/∂x̂
    indices, values : (n, k) codes
    W_dec : (h, d)
    returns : (grad_values, grad_W_dec): (n, k) and (h, d)

    Hints: W_dec[indices] is (n, k, d). Two rows may store the same latent, and then their contributions add up. Start with
    np.zeros_like(W_dec) and go through the rows in their order.

    >>> grads = decode_backward(np.array([[1.0, 2.0]]), np.array([[1]]), np.array([[3.0]]), np.array([[1.0, 0.0], [0.6, 0.8]]))
    >>> [grad.round(12).tolist() for grad in grads]  # 1 · 0.6 + 2 · 0.8, and 3 · (1, 2) for atom 1
    [[[2.2]], [[0.0, 0.0], [3.0, 6.0]]]
    """
    raise NotImplementedError


# -- Exercise 9: E13, E13', E14, R5, R7 ----------------------------------------------------------------------------------
def gradients(x, W_enc, b_enc, W_dec, k):
    """Return the losses of a batch, and the gradients of the loss with respect to all parameters.

    Forward: x̄ = unit rows of x; a = x̄ W_enc + b_enc; in each row, the entries with the k largest |a| give x̂_k, and those
    with the min(4k, h) largest |a| give x̂_aux. The k largest are among the min(4k, h) largest. The others are the rest.
    loss_k = mean(1 − cos(x̄, x̂_k)), loss_aux = mean(1 − cos(x̄, x̂_aux)), loss = loss_k + loss_aux / 8.

    Backward: L is the loss, with both of its terms. x̂_aux = x̂_k + the sum of the rest. So the rest gets ∂L/∂x̂_aux alone, and
    the k largest get the gradient of loss_k with respect to x̂_k plus ∂L/∂x̂_aux. ∂L/∂a is ∂L/∂v at the selected entries, those
    of the rest included, and 0 elsewhere. Then ∂L/∂W_enc = x̄ᵀ ∂L/∂a and ∂L/∂b_enc = Σᵢ ∂L/∂aᵢ. W_dec gets gradients from both
    parts, too. The selection itself has no gradient.

    x : (n, d) rows at any scale
    W_enc, b_enc, W_dec : (d, h), (h,), (h, d)
    returns : ((loss, loss_k, loss_aux), (grad_W_enc, grad_b_enc, grad_W_dec))

    Hints: use exercises 3 to 8. The loss is a mean of 1 − c: ∂L/∂cᵢ = −1/n. np.full(n, -1 / n, W_dec.dtype) keeps the dtype.
    A Python float times a float32 array is float32; an np.float64 makes it float64.

    >>> row, eye = np.array([[3.0, 4.0]]), np.eye(2)
    >>> losses, grads = gradients(row, eye, np.zeros(2), eye, 1)  # a = (0.6, 0.8): x̂_k = (0, 0.8), x̂_aux = x̄
    >>> [round(float(loss), 12) for loss in losses]
    [0.2, 0.2, 0.0]
    >>> (grads[2] + 0).round(12).tolist()  # −(0.8, 0) · x̄₀ / (1 · 0.8) for atom 1
    [[0.0, 0.0], [-0.6, 0.0]]
    """
    raise NotImplementedError


# == Chapter 4: 4_train =================================================================================================


# -- Exercise 10: E11, R8 ------------------------------------------------------------------------------------------------
def adam(param, grad, m, v, step, lr):
    """Return a parameter and its moments after one step of Adam, with β₁ = 0.9, β₂ = 0.999, ε = 1e-8.

    m ← β₁ m + (1 − β₁) g;  v ← β₂ v + (1 − β₂) g²;  p ← p − α · (m / (1 − β₁ᵗ)) / (√(v / (1 − β₂ᵗ)) + ε)

    g is grad, p is param, α is lr and t is step. The new m and v are used for p. Entries of the new m and v whose magnitude
    is below the smallest normal number, np.finfo(param.dtype).tiny, become 0.

    param, grad, m, v : arrays of one shape and dtype
    step : t, from 1
    lr : the learning rate α, a float
    returns : (param, m, v)

    Hints: compute 1 − β₁ᵗ with Python's floats. Then the result of array operations keeps the dtype of the arrays.

    >>> one, zero = np.array([1.0]), np.array([0.0])
    >>> param, m, v = adam(one, np.array([-5.0]), zero, zero, 1, 0.25)  # the first step moves each number by α
    >>> param.round(6).tolist(), m.round(12).tolist(), v.round(12).tolist()
    ([1.25], [-0.5], [0.025])
    """
    raise NotImplementedError


# -- Exercise 11: E12, E12' ----------------------------------------------------------------------------------------------
def renormalize(W_dec):
    """Return the atoms as unit rows: W_dec[j] / ‖W_dec[j]‖.

    An atom is a row of W_dec. All norms are near 1, so no square overflows.

    W_dec : (h, d)
    returns : W_dec (h, d), a new array

    Hints: np.sqrt((W_dec * W_dec).sum(axis=1)) are the norms of the rows.

    >>> renormalize(np.array([[3.0, 4.0]])).tolist()
    [[0.6, 0.8]]
    """
    raise NotImplementedError


def project(grad_W_dec, W_dec):
    """Return the gradients without their parts along the atoms: g[j] − ⟨g[j], w[j]⟩ w[j], where ‖w[j]‖ = 1.

    A step along an atom changes only its length, and `renormalize` undoes that. So this part of the gradient is wasted, and
    the projection removes it. The original code did so before the step until November 2025: see E12' in `spec/derivations.md`.

    grad_W_dec, W_dec : (h, d); the rows of W_dec are unit rows
    returns : grad_W_dec (h, d), a new array

    Hints: the result is orthogonal to W_dec, row by row.

    >>> project(np.array([[2.0, 3.0]]), np.array([[0.0, 1.0]])).tolist()
    [[2.0, 0.0]]
    """
    raise NotImplementedError


# -- Exercise 12: R8, E13', E11, E12 -------------------------------------------------------------------------------------
def train_step(batch, params, m, v, t, k, lr, may_2025):
    """Return the losses of step t on a batch, and the parameters and moments after it.

    The original code changed its order in 2025, and models of both orders exist: so there are two orders.

    may_2025 False: 1. gradients; 2. Adam for each of the three parameters; 3. the atoms are made unit rows.
    may_2025 True: 1. gradients; 2. the atoms are made unit rows; 3. the gradient of W_dec is projected with these unit atoms;
    4. Adam for each of the three parameters. The atoms then stay as Adam moves them.

    batch : (n, d)
    params : the tuple (W_enc, b_enc, W_dec)
    m, v : tuples of the moments of these, in the same order
    t, k, lr : number of the step from 1, entries per code, learning rate
    may_2025 : True for the order that the original code had in May 2025
    returns : ((loss, loss_k, loss_aux), params, m, v), the last three as tuples of new arrays

    Hints: use exercises 9 to 11. zip(params, grads, m, v) goes through the three parameters.

    >>> zeros = (np.zeros((2, 2)), np.zeros(2), np.zeros((2, 2)))
    >>> params = np.eye(2), np.zeros(2), np.eye(2)
    >>> losses, params, m, v = train_step(np.array([[3.0, 4.0]]), params, zeros, zeros, 1, 1, 0.75, False)
    >>> params[2].round(6).tolist()  # atom 1 moves by α to (0.75, 1), then it becomes a unit row
    [[1.0, 0.0], [0.6, 0.8]]
    """
    raise NotImplementedError


# == Chapter 5: 5_search ================================================================================================


# -- Exercise 13: E15, E10, R6, R10 --------------------------------------------------------------------------------------
def search_sparse(query_indices, query_values, indices, values, n_latents, top):
    """Return the best items for each query, both given as codes: their numbers and cosines, best first.

    score[q, i] = s_qᵀ sᵢ / (max(‖s_q‖, 1e-8) · max(‖sᵢ‖, 1e-8)), where s is the row of n_latents numbers of a code

    An item's number is its row. Of equal scores, the item with the lower number comes first (R10). If there are fewer than
    top items, return all. Each norm is clamped, not the product: a code of zeros has the score 0, not NaN.

    query_indices, query_values : (n_q, m) codes of queries; m may differ from k
    indices, values : (n, k) codes of items
    n_latents : h
    returns : (ids, scores), both (n_q, min(top, n))

    Hints: write the queries into zeros (n_q, h) with np.put_along_axis. u[:, indices] is (n_q, n, k). A stable argsort of
    the negative scores keeps the order of equal ones.

    >>> query = np.array([[0, 1]]), np.array([[3.0, 4.0]])
    >>> ids, scores = search_sparse(*query, np.array([[1], [0], [1]]), np.array([[5.0], [2.0], [1.0]]), 2, 2)
    >>> ids.tolist(), scores.tolist()  # items 0 and 2 have equal scores
    ([[0, 2]], [[0.8, 0.8]])
    """
    raise NotImplementedError


# -- Exercise 14: E17, E10, R6, R10 --------------------------------------------------------------------------------------
def search_asymmetric(queries, indices, values, W_dec, top):
    """Return the best items for each dense query: the query stays dense, and the items are codes.

    score[q, i] = x̄_qᵀ x̂ᵢ / max(‖x̂ᵢ‖, 1e-8)

    x̄_q is the unit row of a query. Only the norm of x̂ is clamped. The results have the order and the number of exercise 13.

    queries : (n_q, d) rows at any scale
    indices, values : (n, k) codes of items
    W_dec : (h, d)
    returns : (ids, scores), both (n_q, min(top, n))

    Hints: x̄ᵀ x̂ = Σ_t (x̄ᵀ W_dec[j_t]) · v_t. So compute the dots u of each query with all atoms once, and gather k of them for
    each item. ‖x̂‖ is the norm of the reconstruction, not of the code.

    >>> ids, scores = search_asymmetric(np.array([[0.0, 9.0]]), np.array([[0], [1]]), np.array([[2.0], [-1.0]]), np.eye(2), 5)
    >>> ids.tolist(), scores.tolist()
    ([[0, 1]], [[0.0, -1.0]])
    """
    raise NotImplementedError


# -- Exercise 15: E10 ----------------------------------------------------------------------------------------------------
def gather(u, indices, values):
    """Return the scores Σ_t u[q, j[i, t]] · v[i, t] of all queries and items, summed in stored order t = 0, 1, …

    The grader compiles your function by Numba (numba.njit, with checked bounds), which makes loops fast. Loops are natural here,
    but only the numbers are graded. Use only what Numba can compile; if you call a function of your own, it needs @njit. The
    grade compares bits: each product and each sum is rounded to the dtype of u. A score is never −0.

    u : (n_q, h) queries over the latents
    indices, values : (n, k) codes of items
    returns : scores (n_q, n)

    Hints: np.zeros((n_q, n), u.dtype) makes the result. Add to scores[q, i] itself: a sum in a variable that starts with 0.0 is
    float64 in Numba. A sum that starts with the first product can be −0, one that starts with 0 cannot.

    >>> gather(np.array([[1.0, 2.0, 3.0]]), np.array([[0, 2]]), np.array([[10.0, -1.0]])).tolist()
    [[7.0]]
    """
    raise NotImplementedError


# == Chapter 6: 6_why_bits_differ =======================================================================================


# -- Exercise 16: E1 -----------------------------------------------------------------------------------------------------
def fold_sum(terms):
    """Return the sums over the last axis, in the order that all implementations share.

    As long as more than 16 terms are left and their number is even, add the second half to the first half, entry by entry.
    Then add the terms that are left one by one, from left to right. The grade compares bits: another order rounds differently,
    and each addition is rounded to the dtype of the terms.

    terms : (…, c) floats
    returns : sums (…), as an array

    Hints: terms[..., :half] works for any number of axes. np.sum has an order of its own.

    >>> fold_sum(np.array([[2.0**53, 1.0, 1.0], [1.0, 1.0, 2.0**53]])).tolist()  # 2⁵³ + 1 is rounded to 2⁵³
    [9007199254740992.0, 9007199254740994.0]
    """
    raise NotImplementedError
