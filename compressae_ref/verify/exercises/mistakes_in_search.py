"""The usual mistakes in exercises about search and sums (chapters 5 and 6)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from compressae_ref import reference
from compressae_ref.arrays import Floats
from compressae_ref.verify.exercises.mistakes_with_codes import Mistake, Options, pairs_of, singles_of

# -- chapter 5: search ------------------------------------------------------------------------------------------------


def _best(scores: Any, top: int, *, how: str = "") -> Any:
    """Return the hits of scores: the best, or ``worst`` first, or of equal scores the ``last`` first."""
    order = reference.best(-scores if how == "worst" else scores, scores.shape[1])
    if how == "last":
        order = scores.shape[1] - 1 - reference.best(scores[:, ::-1], scores.shape[1])
    order = order[:, :top]
    return order, np.take_along_axis(scores, order, axis=1)


def _norms(rows: Any, clamp: str) -> Any:
    """Return the norms of rows; without a clamp, those of zeros are 0, and a score becomes 0 / 0 = NaN."""
    norms = np.sqrt((rows * rows).sum(axis=1))
    return np.maximum(norms, rows.dtype.type(1e-8)) if clamp == "each" else norms


def _sparse(*, how: str = "", by_query: bool = True, by_item: bool = True, clamp: str = "each") -> Mistake:
    """Return search in sparse space without a norm, with other clamps, or with another order of hits."""

    def search(query_indices: Any, query_values: Any, indices: Any, values: Any, n_latents: int, top: int) -> Any:
        u = np.zeros((len(query_indices), n_latents), query_values.dtype)
        np.put_along_axis(u, query_indices, query_values, axis=1)
        of_query = _norms(query_values, clamp)[:, None] if by_query else values.dtype.type(1)
        of_items = _norms(values, clamp) if by_item else values.dtype.type(1)
        norms = of_query * of_items
        norms = np.maximum(norms, values.dtype.type(1e-8)) if clamp == "product" else norms
        return _best(reference.gather(u, indices, values) / norms, top, how=how)

    return search


def _asymmetric(*, how: str = "", norm: str = "x_hat", unit: bool = True, clamp: str = "each") -> Mistake:
    """Return search with dense queries with another norm of items, or with another order of hits."""

    def search(queries: Any, indices: Any, values: Any, W_dec: Any, top: int) -> Any:
        x_unit = reference.unit_rows(queries, values.dtype) if unit else queries.astype(values.dtype)
        scores = reference.gather(reference.over_latents(x_unit, W_dec), indices, values)
        if norm == "x_hat":
            scores = scores / _norms(reference.decode(indices, values, W_dec), clamp)
        if norm == "code":
            scores = scores / _norms(values, clamp)
        return _best(scores, top, how=how)

    return search


def _gathered_in_double(u: Any, indices: Any, values: Any) -> Any:
    return np.add.accumulate((u[:, indices] * values).astype(np.float64), axis=2)[:, :, -1].astype(u.dtype) + 0


def _gathered_from_first(u: Any, indices: Any, values: Any) -> Any:
    return np.add.accumulate(u[:, indices] * values, axis=2)[:, :, -1]


def _gathered_backwards(u: Any, indices: Any, values: Any) -> Any:
    return reference.gather(u, indices[:, ::-1], values[:, ::-1])


# -- chapter 6: sums --------------------------------------------------------------------------------------------------


def _one_by_one(terms: Floats) -> Any:
    return np.cumsum(terms, axis=-1)[..., -1]


def _pairs(terms: Any) -> Any:
    """Add neighbours instead of halves."""
    while terms.shape[-1] > 16 and terms.shape[-1] % 2 == 0:
        terms = terms[..., ::2] + terms[..., 1::2]
    return _one_by_one(terms)


def _to_one(terms: Any) -> Any:
    """Fold as long as the number of terms is even, also below 16."""
    while terms.shape[-1] % 2 == 0:
        half = terms.shape[-1] // 2
        terms = terms[..., :half] + terms[..., half:]
    return _one_by_one(terms)


def _from(threshold: int) -> Mistake:
    def folded(terms: Any) -> Any:
        while terms.shape[-1] >= threshold and terms.shape[-1] % 2 == 0:
            half = terms.shape[-1] // 2
            terms = terms[..., :half] + terms[..., half:]
        return _one_by_one(terms)

    return folded


def _fold(terms: Any) -> Any:
    while terms.shape[-1] > 16 and terms.shape[-1] % 2 == 0:
        half = terms.shape[-1] // 2
        terms = terms[..., :half] + terms[..., half:]
    return terms


def _rounded_once(terms: Any) -> Any:
    return np.apply_along_axis(math.fsum, -1, terms).astype(terms.dtype)


_HIGHER_ID = "of equal scores the item with the higher number comes first (R10)"
_WORST_FIRST = "the worst items come first: argsort is ascending"

_UNCLAMPED = "the norms are not clamped at 1e-8 (R6): 0 / 0 is NaN, which argsort puts last"

_OF_SPARSE: Options = {
    _HIGHER_ID: {"how": "last"},
    _WORST_FIRST: {"how": "worst"},
    "scores are not divided by the norm of the query (E15)": {"by_query": False},
    "scores are not divided by the norms of the items (E15)": {"by_item": False},
    "one clamp is on the product of the norms: clamp each of the two norms (R6)": {"clamp": "product"},
    _UNCLAMPED: {"clamp": ""},  # after the product, which gives the same numbers if none is 0
}

_OF_ASYMMETRIC: Options = {
    _HIGHER_ID: {"how": "last"},
    _WORST_FIRST: {"how": "worst"},
    "scores are not divided by ‖x̂‖ (E17)": {"norm": ""},
    "scores are divided by the norm of the code, not by ‖x̂‖ (E17)": {"norm": "code"},
    "the queries are not made unit rows (E3)": {"unit": False},
    _UNCLAMPED: {"clamp": ""},
}

PAIRS: dict[str, dict[str, Mistake]] = {
    "search_sparse": pairs_of(_sparse, _OF_SPARSE),
    "search_asymmetric": pairs_of(_asymmetric, _OF_ASYMMETRIC),
}
"""By function: two mistakes at once."""

MISTAKES: dict[str, dict[str, Mistake]] = {
    "search_sparse": singles_of(_sparse, _OF_SPARSE),
    "search_asymmetric": singles_of(_asymmetric, _OF_ASYMMETRIC),
    "gather": {
        "the sum runs in float64: add to an array of the dtype of u": _gathered_in_double,
        "the sum starts with the first product: it starts with 0, so that −0 never comes out": _gathered_from_first,
        "the sum runs from the last entry to the first": _gathered_backwards,
        "the entries of u are taken at t, not at indices[i, t]": lambda u, indices, values: (
            u[:, : values.shape[1]] @ values.T
        ),
    },
    "fold_sum": {
        "np.sum adds in its own order": lambda terms: terms.sum(axis=-1),
        "the terms are added one by one: fold while more than 16 are left": _one_by_one,
        "np.sum adds what is left in its own order: add it one by one": lambda terms: _fold(terms).sum(axis=-1),
        "the sum is rounded once, as by math.fsum: each addition is rounded": _rounded_once,
        "the sum runs in float64: each addition is rounded to the dtype of the terms": lambda terms: (
            terms.astype(np.float64).sum(axis=-1).astype(terms.dtype)
        ),
        "neighbours are added: fold the second half onto the first": _pairs,
        "the terms are folded down to an odd number: stop at 16 or fewer": _to_one,
        "16 terms are folded, too: fold only while more than 16 are left": _from(16),
    },
}
"""By function: what is wrong, as a clause, and a function of the arguments that returns what comes out then."""
