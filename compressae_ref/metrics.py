"""What compression costs and saves."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.codes import Codes
from compressae_ref.errors import ShapeError
from compressae_ref.reference import cosine


def recall_at(found: NDArray[np.int64], true: NDArray[np.int64]) -> float:
    """Mean share of each query's true neighbours that are among those found. (n_q, m), (n_q, top) → from 0 to 1.

    With as many found as true ones this is recall@top; the order within a row does not matter.
    """
    if len(found) != len(true) or len(true) == 0 or true.shape[1] == 0:
        raise ShapeError(
            f"expected results and truth for the same queries, got {found.shape} and {true.shape}", argument="recall_at"
        )
    hits = [len(np.intersect1d(*pair)) for pair in zip(found, true, strict=True)]
    return float(np.mean(hits) / true.shape[1])


def mean_cosine(x_unit: Floats, x_hat: Floats) -> float:
    """Mean cosine of rows with their reconstructions, from −1 to 1; 1 minus the loss at k."""
    return float(np.mean(cosine(x_unit, x_hat), dtype=np.float64))


def latent_usage(codes: Codes) -> NDArray[np.int64]:
    """(h,) how many rows store each latent with a value other than zero."""
    usage: NDArray[np.int64] = np.bincount(codes.indices[codes.values != 0], minlength=codes.n_latents)
    return usage


def dead_latents(codes: Codes) -> int:
    """How many latents no row stores with a value other than zero."""
    return int((latent_usage(codes) == 0).sum())


def effective_latents(codes: Codes) -> float:
    """How many latents carry the codes: exp(−Σ_j p_j log p_j), p_j the share of latent j in all non-zero entries.

    From 0 (no entries at all) and 1 (all in one latent) to h (each latent in as many rows).
    """
    usage = latent_usage(codes)
    if not usage.any():
        return 0.0
    share = usage[usage > 0] / usage.sum()
    return float(np.exp(-np.sum(share * np.log(share))))


def bytes_per_row(stored: Codes | Any) -> int:
    """Bytes of one stored row: 4 + the value's size per entry for codes, d times the item size for a dense array."""
    if isinstance(stored, Codes):
        return stored.k * (stored.indices.itemsize + stored.values.itemsize)
    return int(stored.shape[1] * stored.dtype.itemsize)
