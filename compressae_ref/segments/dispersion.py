"""Counts over time, and how much more they vary than independent events would (E45 to E47).

All counts are *effective*: weights divided by Σw² / Σw of the segment, so one item of weight 100 counts as one item.
Bins without items are left out.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.errors import DomainError
from compressae_ref.segments.contrast import Doubles, logarithm
from compressae_ref.segments.counts import Counts

PAST = 8
"""Bins of the past that are enough to estimate its dispersion."""
DEGREES = 7.0
"""Degrees of freedom of `long_tailed` where nothing is expected (measured)."""


class Series(NamedTuple):
    """Effective counts of segments in the bins that have items."""

    bins: NDArray[np.int64]
    """(B,) numbers of the bins"""
    y: Doubles
    """(S, B)"""
    n: Doubles
    """(S, B): totals of the bins, in the unit of the segment"""
    unit: Doubles
    """(S,): the weight that counts as one"""


def series_of(counts: Counts) -> Series:
    """Return the effective counts over all sites (E45). DomainError if fewer than two bins have items."""
    bins = np.flatnonzero(counts.totals.sum(axis=1) > 0)
    if len(bins) < 2:
        raise DomainError(
            f"expected items in at least 2 bins of time, got {len(bins)}",
            argument="times",
            hint="choose smaller bins (--bin)",
        )
    unit = effective_unit(counts)
    y, n = over(counts.weights, 2)[:, bins], over(counts.totals, 1)[bins]
    return Series(bins, y / unit[:, None], n / unit[:, None], unit)


def effective_unit(counts: Counts) -> Doubles:
    """Return Σw² / Σw of each segment, or 1 if its weight is 0 (E45)."""
    weights, squares = (over(over(array, 2), 1) for array in (counts.weights, counts.squares))
    return np.where(weights > 0, squares, 1.0) / np.where(weights > 0, weights, 1.0)


def common_dispersion(series: Series) -> float:
    """Return the median over segments of half the mean square of differences between successive bins, at least 1 (E46).

    The differences are those of (y − e) / √e, where e is the count at the segment's overall share.
    """
    y, n = series.y, series.n
    expected = n * (total(y) / total(n))
    present = expected[:, 0] > 0
    if not present.any():
        return 1.0
    y, expected = y[present], expected[present]
    steps = np.diff((y - expected) / np.sqrt(expected), axis=1)
    return max(1.0, float(np.median(total(steps * steps) / (2.0 * steps.shape[1]))))


def long_tailed(z: Any, expected: Any, dispersion: Any) -> Doubles:
    """Return the z of a normal number with about the tail of an over-dispersed count (E47).

    √(ν log(1 + z² / ν)) with the sign of z and ν = 7 + 2 e / (φ − 1), where e counts are expected and φ is their
    dispersion. With φ = 1 it is z.
    """
    z, expected, dispersion = np.broadcast_arrays(np.asarray(z, np.float64), expected, dispersion)
    varied = dispersion > 1.0
    nu = DEGREES + 2.0 * expected / np.where(varied, dispersion - 1.0, 1.0)
    square = z * z / nu
    above = 1.0 + square
    # log(1 + x) x / ((1 + x) − 1) has the digits of x that 1 + x loses, where ν is large.
    rounded = np.where(above > 1.0, above - 1.0, 1.0)
    corrected = np.sqrt(nu * np.where(above > 1.0, logarithm(above) * square / rounded, square))
    signed: Doubles = np.where(varied, np.where(z < 0, -corrected, corrected), z)
    return signed


def own_dispersion(series: Series) -> Doubles:
    """Return the dispersion of each segment before each bin: (S, B).

    While there are fewer than `PAST` bins before, it is at least the dispersion of all other bins.
    """
    count = series.y.shape[1]
    place = np.arange(count)
    own = excess(*(a[:, :-1] for a in prefixes(series))) / np.maximum(place - 1, 1) * (place >= 2)
    others = [total(a) - a for a in sums_of(series)]
    of_others = excess(*others) / max(count - 2, 1)
    return np.where(place < PAST, np.maximum(own, of_others), own)


def excess(y: Doubles, n: Doubles, squares: Doubles) -> Doubles:
    """Return Σ (y − e)² / e of bins with the sums of y, n and y² / n, where e = n Σy / Σn."""
    present = (y > 0) & (n > 0)
    share = np.where(present, y, 1.0) / np.where(present, n, 1.0)
    return np.where(present, np.maximum(squares / share - y, 0.0), 0.0)


def sums_of(series: Series) -> tuple[Doubles, Doubles, Doubles]:
    """Return y, n and y² / n: their sums over bins give the shares and the dispersion of these bins."""
    return series.y, series.n, series.y * series.y / series.n


def prefixes(series: Series) -> list[Doubles]:
    """Return the sums of y, n and y² / n over the first bins: (S, B + 1)."""
    return [np.pad(np.cumsum(a, axis=1), ((0, 0), (1, 0))) for a in sums_of(series)]


def within(y: Doubles, n: Doubles) -> Doubles:
    """Return counts from 0 to n: differences of rounded sums may be just outside."""
    result: Doubles = np.minimum(np.maximum(y, 0.0), n)
    return result


def share_of(y: Doubles, n: Doubles) -> Doubles:
    """Return y / n, or 0 where n is 0: it may be the difference of rounded sums."""
    present = n > 0
    return np.where(present, y, 0.0) / np.where(present, n, 1.0)


def over(array: Doubles, axis: int) -> Doubles:
    """Return the sum over an axis, in order."""
    return np.asarray(np.cumsum(array, axis=axis).take(-1, axis=axis))


def total(array: Doubles) -> Doubles:
    """Return the sum over bins, in order, as an array (S, 1)."""
    result: Doubles = np.cumsum(array, axis=1)[:, -1:]
    return result
