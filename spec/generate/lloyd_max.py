"""The levels of residual codes: those of Lloyd and Max for the standard normal distribution (``spec/residual.md``)."""

from __future__ import annotations

from functools import cache
from math import erfc, exp, pi, sqrt

SWEEPS = 5000
"""The levels of 6 bits no longer change, at a precision of 1/4096, after half as many."""


@cache
def positive_levels(bits: int) -> list[int]:
    """Return the positive levels in units of 1/4096, ascending. Each is the mean of the numbers that it stands for."""
    n = 2 ** (bits - 1)
    levels = [3.0 * (i + 0.5) / n for i in range(n)]
    for _ in range(SWEEPS):
        borders = [0.0, *((levels[i] + levels[i + 1]) / 2 for i in range(n - 1)), 40.0]
        density, above = [exp(-x * x / 2) / sqrt(2 * pi) for x in borders], [erfc(x / sqrt(2)) / 2 for x in borders]
        levels = [(density[i] - density[i + 1]) / (above[i] - above[i + 1]) for i in range(n)]
    return [round(4096 * level) for level in levels]
