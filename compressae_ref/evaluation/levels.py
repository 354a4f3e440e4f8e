"""Bits and levels of scalar quantisers: Lloyd-Max levels, and bits for the components that need them most."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Floats
from compressae_ref.optional import require_scipy

MOST_BITS = 8
"""Bits of one component, at most."""


def allocated_bits(variances: Floats, budget: int) -> NDArray[np.int64]:
    """Give bits one by one to the component whose squared error falls most. (m,) → (m,), at most `MOST_BITS` each."""
    errors = np.array([normal_error(b) for b in range(MOST_BITS + 1)])
    gains = np.asarray(variances, np.float64)[:, None] * (errors[:-1] - errors[1:])
    order = np.argsort(-gains.ravel(), kind="stable")[:budget]
    return np.bincount(order // MOST_BITS, minlength=len(variances))


@functools.cache
def normal_levels(b: int) -> NDArray[np.float64]:
    """Return the 2^b levels with the least squared error for a normal variable of variance 1 (Lloyd, Max)."""
    start = np.sqrt(3) * _quantiles(2**b)  # the density of good levels: the cube root of theirs
    return _lloyd(_normal_sample(), start, 300)


@functools.cache
def normal_error(b: int) -> float:
    """Return the mean squared error of a normal variable of variance 1 at its nearest of 2^b levels."""
    y, levels = _normal_sample(), normal_levels(b)
    nearest = levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, y)]
    return float(np.mean((y - nearest) ** 2))


def fitted_levels(y: Floats, b: int) -> NDArray[np.float64]:
    """Return 2^b ascending levels for the values y, from those of a normal variable by Lloyd's iterations."""
    return _lloyd(np.sort(y).astype(np.float64), y.mean() + y.std() * normal_levels(b), 20)


def _normal_sample() -> NDArray[np.float64]:
    return _quantiles(100_000)


def _quantiles(n: int) -> NDArray[np.float64]:
    """Return the quantiles (i + 1/2) / n of the normal distribution. → (n,)."""
    quantiles: NDArray[np.float64] = require_scipy("special", "quantisers").ndtri((np.arange(n) + 0.5) / n)
    return quantiles


def _lloyd(ascending: NDArray[np.float64], levels: NDArray[np.float64], iterations: int) -> NDArray[np.float64]:
    """Move each level to the mean of the values that are nearest to it. A level without values stays."""
    sums = np.append(0, np.cumsum(ascending))
    for _ in range(iterations):
        ends = np.concatenate([[0], np.searchsorted(ascending, (levels[1:] + levels[:-1]) / 2), [len(ascending)]])
        counts = np.diff(ends)
        levels = np.where(counts > 0, np.diff(sums[ends]) / np.maximum(counts, 1), levels)
    return levels


def padded(levels: NDArray[np.float64]) -> Floats:
    """Return the levels as float32, the last one repeated up to 2^`MOST_BITS` of them."""
    return np.pad(levels, (0, 2**MOST_BITS - len(levels)), mode="edge").astype(np.float32)
