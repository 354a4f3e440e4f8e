"""Which segment of a new model is which of an earlier one (E54)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.errors import ShapeError
from compressae_ref.optional import require_scipy
from compressae_ref.segments.contrast import Doubles
from compressae_ref.segments.hierarchy import cosines

CONFIDENCE = 0.3
"""Names are carried over if the two segments share at least so much of their items."""


class Match(NamedTuple):
    """Pairs of segments, ascending by the new one; at most min(S, T) pairs."""

    new: NDArray[np.int64]
    old: NDArray[np.int64]
    confidence: Doubles
    """Jaccard index of their items: those in both divided by those in either"""
    cosine: Doubles
    """cosine of their atoms; NaN without atoms"""


def match(
    new: NDArray[np.int32], old: NDArray[np.int32], counts: tuple[int, int],
    atoms: tuple[Doubles, Doubles] | None = None,
) -> Match:  # fmt: skip
    """Match segments one to one, with the largest sum of (Jaccard index + max(0, cosine)) / 2 (E54).

    Parameters
    ----------
    new, old : (n, m), (n, m′): segments of the same items, padded with −1
    counts : S and T, the numbers of segments
    atoms : signed unit atoms (S, d) and (T, d) if both models decode into the same space; without them the sum is that
        of the Jaccard indices

    Pairs that share no item are left out.
    """
    if len(new) != len(old):
        raise ShapeError(f"expected segments of the same items, got {len(new)} and {len(old)} items", argument="match")
    shared = _shared_items(new, old, counts)
    items = [np.bincount(s[s >= 0], minlength=count) for s, count in zip((new, old), counts, strict=True)]
    either = items[0][:, None] + items[1][None] - shared
    jaccard = shared / np.where(either > 0, either, 1)
    cosine = np.full(counts, np.nan) if atoms is None else cosines(*atoms)
    score = jaccard if atoms is None else (jaccard + np.maximum(cosine, 0.0)) / 2.0
    rows, columns = require_scipy("optimize", "segments").linear_sum_assignment(score, maximize=True)
    kept = shared[rows, columns] > 0
    rows, columns = rows[kept], columns[kept]
    return Match(rows, columns, jaccard[rows, columns], cosine[rows, columns])


def _shared_items(new: NDArray[np.int32], old: NDArray[np.int32], counts: tuple[int, int]) -> NDArray[np.int64]:
    shared = np.zeros(counts, np.int64)
    for i in range(new.shape[1]):
        for j in range(old.shape[1]):
            both = (new[:, i] >= 0) & (old[:, j] >= 0)
            np.add.at(shared, (new[both, i], old[both, j]), 1)
    return shared
