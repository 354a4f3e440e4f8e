"""The mean of unit rows: how much it dominates, its subtraction, and the scores that take it into account.

``spec/center.md`` states the equations (E26 to E28). A centred model stores the mean μ and encodes unit rows of x̄ − μ.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref import reference
from compressae_ref.arrays import Floats

DOMINANT = 0.5
"""Mean cosine of pairs above which `fit` should subtract the mean (``spec/evidence.md``)."""

SCALE = 2.0**32
"""Unit rows are summed as integers of this unit: their sum has no order and no rounding."""


MOST_SQUARED_NORM = 1 - 2.0**-16
"""Largest ‖μ‖² (R21). So no unit row equals the mean, and x̄ − μ has enough correct digits in float32."""


class MeanDirection:
    """The mean of unit rows. It does not depend on their order, or on how they are cut into blocks."""

    def __init__(self, d: int) -> None:
        self.n = 0
        self._total = np.zeros(d, np.int64)

    def add(self, x_unit: Floats, sign: int = 1) -> None:
        """Add unit rows (n, d), or remove them if ``sign`` is −1. There is room for 2³¹ rows."""
        self.n += sign * len(x_unit)
        self._total += sign * np.rint(x_unit.astype(np.float64) * SCALE).astype(np.int64).sum(axis=0)

    def mean(self) -> NDArray[np.float64]:
        """Return the mean μ (d,)."""
        mean: NDArray[np.float64] = self._total / (self.n * SCALE)
        return mean

    def mean_cosine(self) -> float:
        """Return the mean cosine of two different rows, (n ‖μ‖² − 1) / (n − 1); NaN for fewer than two rows."""
        if self.n < 2:
            return math.nan
        mean = self.mean()
        return float((self.n * reference.dot(mean, mean) - 1) / (self.n - 1))


def encoded_rows(x: Floats, mean: Floats | None, dtype: Any) -> Floats:
    """Return the rows that a model encodes: x̄ (E3), or with a mean the unit rows of x̄ − μ (E26). (n, d) → (n, d)."""
    x_unit: Floats = reference.unit_rows(x, dtype)
    return x_unit if mean is None else reference.unit_rows(x_unit - mean.astype(dtype), dtype)


def lengths(x_hat: Floats, mean: Floats) -> Floats:
    """Return r > 0 with ‖μ + r x̂ / ‖x̂‖‖ = 1: the lengths of x̄ − μ, if x̂ has their direction (E27). (n, d) → (n,).

    Of the two forms of the root, the one without cancellation is computed.
    """
    one = x_hat.dtype.type(1)
    t = reference.dot(x_hat, mean) / reference.clamped_norm(x_hat)
    room = one - reference.dot(mean, mean)
    w = np.sqrt(t * t + room) + np.abs(t)
    r: Floats = np.where(t < 0, w, room / w)
    return r


def centred_norms(x_hat: Floats, mean: Floats) -> Floats:
    """Return max(‖x̂‖, 1e-8) / r: what the dots of queries with items are divided by (E28). (n, d) → (n,)."""
    norms: Floats = reference.clamped_norm(x_hat) / lengths(x_hat, mean)
    return norms


def restored(x_hat: Floats, mean: Floats) -> Floats:
    """Return z = μ + r x̂ / ‖x̂‖, the estimates of the unit rows (E27). (n, d) → (n, d)."""
    scale = lengths(x_hat, mean) / reference.clamped_norm(x_hat)
    z: Floats = scale[:, None] * x_hat + mean
    return z
