"""Contrasts of segments between sites, between engagement and exposure, and with each other (E50 to E52)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Bools
from compressae_ref.codes import Codes
from compressae_ref.optional import require_scipy
from compressae_ref.segments.contrast import Doubles, contrast, discoveries, tail
from compressae_ref.segments.counts import Counts
from compressae_ref.segments.dispersion import effective_unit, over, within
from compressae_ref.segments.membership import ROWS_PER_BLOCK, numbers_of, numbers_of_keys
from compressae_ref.segments.trends import RATE

SHRINKAGE = 20.0
"""Items that are added to each side of a ratio at the common share, so that few items deviate little."""


class BySite(NamedTuple):
    """Each segment in each site against the other sites; arrays (S, sites)."""

    weight: Doubles
    ratio: Doubles
    """share in the site divided by the share in the others, shrunk towards 1"""
    z: Doubles
    significant: Bools


class Hidden(NamedTuple):
    """The weight of each segment against its expectation; arrays (S,)."""

    ratio: Doubles
    """weight divided by the weight that as many items of the same bins and sites have on average"""
    z: Doubles
    hidden: Bools
    """whether the segment has more weight than expected, and fewer items than the median segment"""


class Together(NamedTuple):
    """How often items that store one segment's latent store another's; arrays (S, S)."""

    ratio: Doubles
    z: Doubles


def by_site(counts: Counts, q: float = RATE) -> BySite:
    """Contrast every site with all others (E50)."""
    unit = effective_unit(counts)[:, None]
    y, n = over(counts.weights, 1) / unit, over(counts.totals, 0) / unit
    y_other, n_other = over(y, 1)[:, None] - y, over(n, 1)[:, None] - n
    y_other = within(y_other, n_other)
    z = contrast(y, y_other, n, n_other).z
    ratio = _shrunk_ratio(y, n, y_other, n_other)
    return BySite(y * unit, ratio, z, discoveries(2.0 * tail(np.abs(z)), q))


def site_shares(counts: Counts, shrinkage: float = SHRINKAGE) -> Doubles:
    """Return the share of each segment in each bin and site, shrunk towards its share in the bin: (S, bins, sites).

    (y + κ p) / (n + κ), where p is the segment's share in that bin over all sites (E50).
    """
    y, n = over(counts.weights, 2), over(counts.totals, 1)
    p = (y / np.where(n > 0, n, 1.0))[:, :, None]
    return (counts.weights + shrinkage * p) / (counts.totals + shrinkage)


def hidden(counts: Counts, q: float = RATE) -> Hidden:
    """Compare the weight of each segment with its exposure (E51)."""
    n_items, weight = float(counts.total_items.sum()), float(over(over(counts.totals, 1), 0))
    mean = weight / n_items if weight > 0 else 1.0
    cell = (counts.totals + SHRINKAGE * mean) / (counts.total_items + SHRINKAGE)
    expected = over(over(counts.items * cell, 2), 1) / mean
    items = counts.items.sum(axis=(1, 2))
    unit = effective_unit(counts)
    y = over(over(counts.weights, 2), 1)
    # In units of the segment on one side, in items on the other.
    sides = y / unit, expected, np.maximum(weight, y) / unit, np.maximum(n_items, expected)
    z = contrast(*sides).z
    ratio = (y / mean + SHRINKAGE) / (expected + SHRINKAGE)
    strong = discoveries(tail(z), q) & (ratio > 1)
    return Hidden(ratio, z, strong & (items < np.median(items)))


def together(codes: Codes, keys: NDArray[np.int32]) -> Together:
    """Contrast the items that store the entry of one segment with those that do not, for all others (E52)."""
    both, of_key = np.zeros((len(keys), len(keys)), np.int64), numbers_of_keys(keys, codes.n_latents)
    for start in range(0, len(codes), ROWS_PER_BLOCK):
        both += _stored_together(of_key[numbers_of(codes[start : start + ROWS_PER_BLOCK])], len(keys))
    items = np.diag(both).astype(np.float64)
    y, n = both.astype(np.float64), np.broadcast_to(items[:, None], both.shape)
    y_other, n_other = items - y, len(codes) - n
    z = contrast(y, y_other, n, n_other).z
    ratio = _shrunk_ratio(y, n, y_other, n_other)
    for array, value in ((z, 0.0), (ratio, 1.0)):
        np.fill_diagonal(array, value)
    return Together(ratio, z)


def _stored_together(segments: NDArray[np.int32], count: int) -> NDArray[np.int64]:
    """Return how many items store each two segments: (n, k) segments of entries, −1 for none → (S, S)."""
    rows, places = np.nonzero(segments >= 0)
    entries = np.ones(len(rows), np.int64), (rows, segments[rows, places])
    stored = require_scipy("sparse", "segments").csr_array(entries, shape=(len(segments), count))
    counted: NDArray[np.int64] = (stored.T @ stored).toarray()
    return counted


def _shrunk_ratio(y: Doubles, n: Doubles, y_other: Doubles, n_other: Doubles) -> Doubles:
    """Return the ratio of the shares y / n and y′ / n′, both with `SHRINKAGE` counts at the common share."""
    total = n + n_other
    added = SHRINKAGE * (y + y_other) / np.where(total > 0, total, 1.0)
    share, other = (y + added) / (n + SHRINKAGE), (y_other + added) / (n_other + SHRINKAGE)
    return np.where(other > 0, share / np.where(other > 0, other, 1.0), 1.0)
