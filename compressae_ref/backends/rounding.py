"""Bounds on rounding errors (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1)."""

from __future__ import annotations

from typing import Any

import numpy as np


def gamma(n: int, dtype: Any) -> float:
    """Return γ_n = n·u / (1 − n·u), which bounds the relative error of a sum of n products in any order.

    u is the unit roundoff.
    """
    u = float(np.finfo(dtype).eps) / 2
    return n * u / (1 - n * u)


def rounding_bound(square: Any, bias: Any, d: int) -> Any:
    """Return 2 γ_{d+8} (√square + bias) for the largest ‖wⱼ‖² and |bⱼ| of an encoder (eps is twice u)."""
    info = np.finfo(square.dtype)
    return 2 * (d + 8) * info.eps * (np.sqrt(square + d * info.tiny) + bias)
