"""Bounds on what another order of sums changes in codes, and what is then known about rows that differ.

Another order of sums changes a sum by at most γ times the sum of its magnitudes (Higham, Accuracy and Stability,
section 3.1).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from compressae_ref.arrays import Bools, Floats
from compressae_ref.backends.rounding import gamma
from compressae_ref.checks import reject
from compressae_ref.model import Encoder


class Judged(NamedTuple):
    """What is known about n rows that differ."""

    wrong: Bools
    tie: Bools
    value_error: Floats
    """largest absolute difference between a stored value and the exact one"""
    selection_error: Floats
    """how much the largest magnitude that is not stored exceeds the smallest that is; 0 for refined and fitted codes"""

    def kind(self, i: int) -> str:
        """Return the kind of a row."""
        return "wrong" if self.wrong[i] else "tie" if self.tie[i] else "rounding"


def relative_bound(model: Encoder, n: int) -> float:
    """Return γ_n, larger by 1 + 2 / (1 − ‖μ‖) with a mean: errors are divided by ‖x̄ − μ‖, at least 1 − ‖μ‖."""
    relative = gamma(n, model.params.dtype)
    if (mean := model.params.mean) is not None:
        relative *= 1 + 2 / (1 - float(np.linalg.norm(mean.astype(np.float64))))
    return relative


def rounding_bounds(model: Encoder) -> Floats:
    """Return (h,) γ_{2d+16} (‖wⱼ‖ + |bⱼ|): a bound on the rounding error of a pre-activation, in any order of sums."""
    W_enc, b_enc = (array.astype(np.float64) for array in (model.params.W_enc, model.params.b_enc))
    relative = relative_bound(model, 2 * len(W_enc) + 16)
    with np.errstate(over="ignore"):
        bounds: Floats = relative * (np.linalg.norm(W_enc, axis=0) + np.abs(b_enc))
    reject(~np.isfinite(bounds), "expected weights whose squares have a finite sum, got an infinite sum", "model")
    return bounds


def packed_errors(
    dense: Floats, kept: Bools, values: Floats, bounds: Floats, bits: int, dtype: np.dtype[np.floating]
) -> tuple[Floats, Bools]:
    """Return the errors of packed values, and which of them are at none of the levels that rounding can reach (E25).

    Parameters
    ----------
    dense, kept : (n, m) stored values, and which are stored
    values, bounds : the exact values, and bounds on their rounding errors
    """
    levels, slack = 2 ** (bits - 1), gamma(4, dtype)
    magnitude = np.abs(values)
    largest = [np.where(kept, magnitude + sign * bounds, 0).max(axis=1, keepdims=True) for sign in (1, -1)]
    tiny = np.finfo(np.float64).tiny
    lowest = np.maximum(magnitude - bounds, 0) / np.maximum(largest[0], tiny) * levels * (1 - slack)
    with np.errstate(over="ignore"):
        highest = (magnitude + bounds) / np.maximum(largest[1], tiny) * levels * (1 + slack)
    q = np.abs(dense) * levels - 0.5
    bad = (q < np.minimum(np.floor(lowest), levels - 1)) | (q > np.minimum(np.floor(highest), levels - 1))
    bad |= (np.sign(dense) != np.where(values < 0, -1, 1)) & (magnitude > bounds)
    scaled = values / np.maximum(np.where(kept, magnitude, 0).max(axis=1, keepdims=True), tiny)
    return np.where(kept, np.abs(dense - scaled), 0), bad & kept
