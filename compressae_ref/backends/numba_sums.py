"""Numba kernels for the sums of `compressae_ref.sums`, to the bit; and how all kernels here are compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np

from compressae_ref.arrays import Floats


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """``numba.njit``, with the compiled code kept on disk where there is a place to keep it."""

    def compiled(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, **options)(function)
        except RuntimeError:  # a read-only installation without a cache folder
            return numba.njit(**options)(function)

    return compiled


def pair_dots(a: Floats, b: Floats) -> Floats:
    dots = np.empty((len(a), len(b)), a.dtype)
    _pair_dots(a, b, dots)
    return dots


@kernel(parallel=True)
def _pair_dots(a, b, dots):  # type: ignore[no-untyped-def]
    for j in numba.prange(b.shape[0]):
        terms = np.empty(a.shape[1], a.dtype)
        for i in range(a.shape[0]):
            dots[i, j] = dot(a[i], b[j], terms)


def row_dots(a: Floats, b: Floats) -> Floats:
    dots = np.empty(len(a), a.dtype)
    _row_dots(a, b, dots)
    return dots


@kernel(parallel=True)
def _row_dots(a, b, dots):  # type: ignore[no-untyped-def]
    for row in numba.prange(a.shape[0]):
        dots[row] = dot(a[row], b[row], np.empty(a.shape[1], a.dtype))


@kernel()
def dot(a, b, terms):  # type: ignore[no-untyped-def]
    """`sums.fold_sum` of a · b: the second half is added onto the first, so that every step vectorises."""
    for c in range(a.size):
        terms[c] = a[c] * b[c]
    left = a.size
    while left > 16 and left % 2 == 0:
        left //= 2
        for c in range(left):
            terms[c] += terms[c + left]
    total = terms[0]
    for c in range(1, left):
        total += terms[c]
    return total
