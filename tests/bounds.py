"""Rounding bounds (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1), and assertions with them."""

from __future__ import annotations

import numpy as np


def gamma(n: int, dtype) -> float:
    """γ_n = n·u / (1 − n·u): the relative error of a sum of n products, in any order."""
    u = float(np.finfo(dtype).eps) / 2
    return n * u / (1 - n * u)


def assert_within(actual, expected, bound, what: str = "") -> None:
    """|actual − expected| ≤ bound, everywhere; says by how much it fails, and where."""
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, f"{what}: shapes {actual.shape} and {expected.shape}"
    excess = np.abs(actual - expected) - bound
    assert np.all(excess <= 0), (
        f"{what}: differs by {np.abs(actual - expected).max():.3e}, "
        f"{excess.max():.3e} more than allowed, at {np.unravel_index(np.argmax(excess), excess.shape)}"
    )


def assert_same_bits(a, b) -> None:
    """Equal shapes, dtypes and bytes: −0 is not +0 here."""
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    assert (a.shape, a.dtype) == (b.shape, b.dtype)
    assert a.tobytes() == b.tobytes(), f"{np.sum(a != b)} of {a.size} differ"


def assert_same_codes(a, b) -> None:
    """Codes with the same bits, of the same model."""
    assert_same_bits(a.indices, b.indices)
    assert_same_bits(a.values, b.values)
    assert (a.n_latents, a.model) == (b.n_latents, b.model)
