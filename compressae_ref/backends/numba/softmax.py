"""The softmax over other rows, with the bits of `backends.numpy.softmax`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.backends.numba.jit import inlined, kernel
from compressae_ref.backends.numba.sums import fold
from compressae_ref.backends.rules import EXP_SERIES, LN2_HIGH, LN2_LOW, LOG2_E, SMALLEST_EXPONENT
from compressae_ref.backends.thread_pool import parallel_for

ROWS_PER_TASK = 64

C13, C12, C11, C10, C9, C8, C7, C6, C5, C4, C3, C2, C1, C0 = EXP_SERIES
"""By name: a loop over them would keep the compiler from vectorizing the loop around it."""


def softmax_others(cosines: Floats, factor: float) -> tuple[Floats, NDArray[np.float64]]:
    shares, totals = np.empty(cosines.shape, cosines.dtype), np.empty((2, len(cosines)))
    rows = np.ascontiguousarray(cosines)
    parallel_for(len(rows), ROWS_PER_TASK, _softmax_others, rows, float(factor), shares, totals)
    return shares, totals[0] + np.log(totals[1])


@kernel
def _softmax_others(cosines, factor, shares, totals, start, stop):  # type: ignore[no-untyped-def]
    n = cosines.shape[1]
    powers, terms = np.empty(n), np.empty(n)
    exponents = np.empty(n, np.int64)
    for row in range(start, stop):
        for j in range(n):
            powers[j] = np.float64(cosines[row, j]) * factor
        largest = _largest_of_others(powers, row)
        powers[row] = largest
        _exponentials(powers, largest, exponents)
        powers[row] = 0.0
        total = fold(powers, terms)
        for j in range(n):
            shares[row, j] = powers[j] / total
        totals[0, row], totals[1, row] = largest, total


def shares_beside(cosines: Floats, factor: float, totals: NDArray[np.float64]) -> Floats:
    shares, rows = np.empty(cosines.shape, cosines.dtype), np.ascontiguousarray(cosines)
    parallel_for(len(rows), ROWS_PER_TASK, _shares_beside, rows, float(factor), totals, shares)
    return shares


@kernel
def _shares_beside(cosines, factor, totals, shares, start, stop):  # type: ignore[no-untyped-def]
    m = totals.size
    powers, exponents = np.empty(m), np.empty(m, np.int64)
    for row in range(start, stop):
        for j in range(m):
            powers[j] = np.float64(cosines[row, j]) * factor
        _exponentials(powers, factor, exponents)
        for j in range(m):
            shares[row, j] = powers[j] / (totals[j] + powers[j])


@inlined
def _largest_of_others(values, own):  # type: ignore[no-untyped-def]
    largest = -np.inf
    for j in range(values.size):
        if j != own and values[j] > largest:
            largest = values[j]
    return largest


@inlined
def _exponentials(x, largest, exponents):  # type: ignore[no-untyped-def]
    """Replace x by exp(x − largest), in loops that the compiler can vectorize (E29)."""
    for j in range(x.size):
        z = x[j] - largest
        n = np.floor(z * LOG2_E + 0.5)
        r = (z - n * LN2_HIGH) - n * LN2_LOW
        series = C13 * r + C12
        series = (((series * r + C11) * r + C10) * r + C9) * r + C8
        series = (((series * r + C7) * r + C6) * r + C5) * r + C4
        series = (((series * r + C3) * r + C2) * r + C1) * r + C0
        exponents[j] = (np.int64(max(n, -1022.0)) + 1023) << 52  # the bits of 2ⁿ
        x[j] = series if z >= SMALLEST_EXPONENT else 0.0
    powers = exponents.view(np.float64)
    for j in range(x.size):
        x[j] *= powers[j]
