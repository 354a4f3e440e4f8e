"""Measure codes: recall, nDCG, cosine, used latents and bytes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats, host_array, require_memory
from compressae_ref.codes import Codes
from compressae_ref.errors import ShapeError
from compressae_ref.reference import cosine


def recall_at(found: NDArray[np.int64], true: NDArray[np.int64]) -> float:
    """Return the mean of `recall_of_each`, from 0 to 1."""
    return float(np.mean(recall_of_each(found, true)))


def recall_of_each(found: NDArray[np.int64], true: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return for each query the share of true neighbours among the results. (n_q, m), (n_q, top) → (n_q,).

    If m = top, this is recall@top. The order within a row does not matter.

    Raises
    ------
    ShapeError
        If the arrays have different numbers of queries, or no queries, or no true neighbours.
    """
    found, true = host_array(found, "found"), host_array(true, "true")
    if not found.ndim == true.ndim == 2 or len(found) != len(true) or true.size == 0:
        raise ShapeError(
            f"expected ids (n_q, m) and true ids (n_q, top), n_q, top ≥ 1, got {found.shape} and {true.shape}",
            argument="recall_at",
        )
    hits = [len(np.intersect1d(*pair)) for pair in zip(found, true, strict=True)]
    shares: NDArray[np.float64] = np.array(hits) / true.shape[1]
    return shares


def half_width(values: NDArray[np.float64]) -> float:
    """Return half the width of the 95 % interval of a mean over queries, 1.96 s / √n; 0 for a single query.

    s is the sample's standard deviation. The interval is about the drawing of the queries, and not about the seed of
    the training.
    """
    return 0.0 if len(values) < 2 else float(1.96 * np.std(values, ddof=1) / np.sqrt(len(values)))


def ndcg_at(found: NDArray[np.int64], relevance: Mapping[int, Mapping[int, int]]) -> float:
    """Return the mean normalised discounted cumulative gain of ids (n_q, top), from 0 to 1, over the judged queries."""
    return float(np.mean(ndcg_of_each(found, relevance)))


def ndcg_of_each(found: NDArray[np.int64], relevance: Mapping[int, Mapping[int, int]]) -> NDArray[np.float64]:
    """Return the normalised discounted cumulative gain of each query with a relevant item, from ids (n_q, top).

    DCG = Σ_r grade_r / log₂(r + 1) over the ranks r = 1 … top, divided by the DCG of the best possible order. The gain
    is linear, as in trec_eval.
    """
    top = found.shape[1]
    discounts = 1 / np.log2(np.arange(2, top + 2))
    shares = []
    for query, grades in relevance.items():
        gains = [grades.get(item, 0) for item in found[query].tolist()]
        ideal = sorted(grades.values(), reverse=True)[:top]
        shares.append(np.dot(gains, discounts) / np.dot(ideal, discounts[: len(ideal)]))
    return np.array(shares)


def mean_cosine(x_unit: Floats, x_hat: Floats) -> float:
    """Return the mean cosine of unit rows and their reconstructions (E9), from −1 to 1: 1 minus the loss at k.

    Raises
    ------
    ShapeError
        If the arrays are not two of one shape (n, d), n and d ≥ 1.
    """
    x_unit, x_hat = host_array(x_unit, "x_unit"), host_array(x_hat, "x_hat")
    if x_unit.ndim != 2 or x_unit.shape != x_hat.shape or x_unit.size == 0:
        raise ShapeError(
            f"expected two arrays of one shape (n, d), n, d ≥ 1, got {x_unit.shape} and {x_hat.shape}",
            argument="mean_cosine",
        )
    return float(np.mean(cosine(x_unit, x_hat), dtype=np.float64))


def latent_usage(codes: Codes) -> NDArray[np.int64]:
    """Return the number of rows that store each latent with a nonzero value, (h,)."""
    require_memory(8 * codes.n_latents, f"a count for each of {codes.n_latents} latents", "codes")
    usage: NDArray[np.int64] = np.bincount(codes.indices[codes.values != 0], minlength=codes.n_latents)
    return usage


def used_latents(codes: Codes) -> NDArray[np.int64]:
    """Return the counts of `latent_usage` that are above 0. The memory does not grow with h."""
    if codes.n_latents <= codes.indices.size:
        usage = latent_usage(codes)
        return usage[usage > 0]
    counts: NDArray[np.int64] = np.unique(codes.indices[codes.values != 0], return_counts=True)[1]
    return counts


def dead_latents(codes: Codes) -> int:
    """Return the number of latents that no row stores with a nonzero value."""
    return codes.n_latents - len(used_latents(codes))


def effective_latents(codes: Codes) -> float:
    """Return the effective number of latents, exp(−Σ_j p_j log p_j).

    p_j is the share of latent j in all nonzero entries. The result is 0 if there are no such entries, 1 if all of them
    are in one latent, and h if every latent is in the same number of rows.
    """
    usage = used_latents(codes)
    if not usage.size:
        return 0.0
    share = usage / usage.sum()
    return float(np.exp(-np.sum(share * np.log(share))))


def bytes_per_row(stored: Codes | Any) -> int:
    """Return the bytes of one row: k · (4 + size of a value) for codes, d · itemsize for a dense array."""
    if isinstance(stored, Codes):
        return stored.k * (stored.indices.itemsize + stored.values.itemsize)
    return int(stored.shape[1] * stored.dtype.itemsize)
