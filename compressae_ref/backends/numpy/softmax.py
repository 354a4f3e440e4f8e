"""The softmax over other rows, with an exponential of stated bits (E29, E30, E36)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compressae_ref import reference
from compressae_ref.arrays import Floats
from compressae_ref.backends.numpy.blocks import ROWS_PER_BLOCK, map_blocks
from compressae_ref.backends.rules import EXP_SERIES, LN2_HIGH, LN2_LOW, LOG2_E, SMALLEST_EXPONENT

Doubles = NDArray[np.float64]


def exponential(x: Doubles) -> Doubles:
    """Return exp(x) for x from −700 to 700, and 0 below (E29)."""
    within = np.maximum(x, SMALLEST_EXPONENT)  # below, the series would overflow
    n = np.floor(within * LOG2_E + 0.5)
    r = (within - n * LN2_HIGH) - n * LN2_LOW
    series = np.full_like(r, EXP_SERIES[0])
    for coefficient in EXP_SERIES[1:]:
        series = series * r + coefficient
    power: Doubles = np.where(x < SMALLEST_EXPONENT, 0.0, np.ldexp(series, n.astype(np.int32)))
    return power


def softmax_others(cosines: Floats, factor: float) -> tuple[Floats, Doubles]:
    """Softmax of factor · cosines over each row without its own entry, and the logarithms of its denominators (E30).

    (n, n) with n ≥ 2, float → (n, n) in the dtype of ``cosines``, computed in float64; (n,)
    """

    def softmax(rows: slice) -> tuple[Floats, Doubles]:
        z = cosines[rows].astype(np.float64) * factor
        own = np.arange(len(z)), np.arange(rows.start, rows.start + len(z))
        z[own] = -np.inf
        largest = z.max(axis=1)
        z[own] = largest
        powers = exponential(z - largest[:, None])
        powers[own] = 0
        total = reference.fold_sum(powers)
        return (powers / total[:, None]).astype(cosines.dtype), largest + np.log(total)

    shares, logarithms = zip(*map_blocks(len(cosines), ROWS_PER_BLOCK, softmax), strict=True)
    return np.concatenate(shares), np.concatenate(logarithms)


def closeness(cosines: Floats, factor: float) -> Doubles:
    """Return exp(factor · (c − 1)), in float64 (E35)."""
    return exponential(cosines.astype(np.float64) * factor - factor)


def shares_beside(cosines: Floats, factor: float, totals: Doubles) -> Floats:
    """Return e / (total + e) with e = exp(factor · (c − 1)): the share of one more row beside those of a total (E36).

    (n, m) cosines and (m,) totals → (n, m) in the dtype of ``cosines``, computed in float64
    """

    def share(rows: slice) -> Floats:
        powers = closeness(cosines[rows], factor)
        return (powers / (totals + powers)).astype(cosines.dtype)

    return np.concatenate(map_blocks(len(cosines), ROWS_PER_BLOCK, share))
