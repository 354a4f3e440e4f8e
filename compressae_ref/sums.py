"""Floating-point sums over d in a stated order, so that every backend and every processor gives the same bits."""

from __future__ import annotations

from typing import Any

import numpy as np

from compressae_ref.arrays import Floats, Indices

DOTS_AT_ONCE = 512
"""Rows that are gathered together: as many as a cache holds. They change no bit."""


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
    # spec: "While more than 16 terms are left and their number is even, add the second half onto the first; then add
    # from left to right."
    while terms.shape[-1] > 16 and terms.shape[-1] % 2 == 0:
        half = terms.shape[-1] // 2
        terms = terms[..., :half] + terms[..., half:]
    total = terms[..., 0].copy()
    for column in range(1, terms.shape[-1]):
        total += terms[..., column]
    return total


def row_dots(a: Floats, b: Floats) -> Floats:
    """Dot products of rows: Σ_c a[i, c] · b[i, c], summed by `fold_sum`. (..., d), (..., d) → (...)."""
    return fold_sum(a * b)


def chosen_dots(a: Floats, b: Floats, indices: Indices) -> Floats:
    """Dot products of each row of a with some rows of b, ⟨a[i], b[indices[i, t]]⟩ by `fold_sum`. → (n, m)."""
    dots = np.empty(indices.shape, a.dtype)
    step = max(1, DOTS_AT_ONCE // max(1, indices.shape[1]))
    for start in range(0, len(a), step):
        rows = slice(start, start + step)
        dots[rows] = row_dots(a[rows, None], b[indices[rows]])
    return dots


def row_norms(x: Floats) -> Floats:
    """Euclidean norms of rows: √(Σ_c x[i, c]²), summed by `fold_sum`. (n, d) → (n,)."""
    return np.sqrt(row_dots(x, x))


def gamma(n: int, dtype: Any) -> float:
    """γ_n = n·u / (1 − n·u): the relative error of a sum of n products, in any order (Higham, section 3.1)."""
    u = float(np.finfo(dtype).eps) / 2
    return n * u / (1 - n * u)


def rounding_bound(square: Any, bias: Any, d: int) -> Any:
    """2 γ_{d+8} (√square + bias): `ops.pre_bound` of the largest ‖wⱼ‖² and |bⱼ|; eps is twice the unit roundoff."""
    info = np.finfo(square.dtype)
    return 2 * (d + 8) * info.eps * (np.sqrt(square + d * info.tiny) + bias)


def pair_dots(a: Floats, b: Floats) -> Floats:
    """Dot products of all pairs of rows, ⟨a[i], b[j]⟩ by `fold_sum`. (n, d), (h, d) → (n, h).                     (E2)

    Dense equivalent: ``a @ b.T``, in an order that no shape of a call and no processor can change.
    """
    dots = np.empty((len(a), len(b)), a.dtype)
    for row in range(len(a)):
        dots[row] = fold_sum(a[row] * b)
    return dots
