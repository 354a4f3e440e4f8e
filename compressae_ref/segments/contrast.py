"""One function that compares two counts of everything: words, segments, bins of time and sites (E40 to E42).

Source: Monroe, Colaresi, Quinn, "Fightin' Words", Political Analysis 16 (2008): log-odds with an informative Dirichlet
prior. The prior here has the frequencies of both sides together, so the sign never depends on it. Its default weight is
such that z is within a fifth of that of a Poisson count's tail, up to ten times what is expected.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from compressae_ref.arrays import Bools
from compressae_ref.backends.numpy.softmax import exponential
from compressae_ref.backends.rules import LN2_HIGH, LN2_LOW
from compressae_ref.errors import DomainError

Doubles = NDArray[np.float64]

SQRT_HALF = float.fromhex("0x1.6a09e667f3bcdp-1")
LOG_SERIES = [1 / (2 * i + 1) for i in range(11, -1, -1)]
TAIL_SERIES = 60
"""Terms of the series, or levels of the continued fraction, of `tail`."""


class Contrast(NamedTuple):
    """How much more frequent each thing is on the first side than on the second; three arrays of one shape."""

    delta: Doubles
    """difference of the log-odds"""
    variance: Doubles
    z: Doubles
    """delta divided by its standard deviation"""


def logarithm(x: Any) -> Doubles:
    """Return ln x of positive normal numbers, with stated bits (E40)."""
    m, e = np.frexp(np.asarray(x, np.float64))
    low = m < SQRT_HALF
    m, e = np.where(low, m * 2.0, m), np.where(low, e - 1, e)
    s = (m - 1.0) / (m + 1.0)
    t = s * s
    series = np.full_like(t, LOG_SERIES[0])
    for coefficient in LOG_SERIES[1:]:
        series = series * t + coefficient
    result: Doubles = e * LN2_HIGH + (2.0 * s * series + e * LN2_LOW)
    return result


def contrast(y: Any, y_other: Any, n: Any = None, n_other: Any = None, prior: Any = None) -> Contrast:
    """Compare the counts y of n with the counts y_other of n_other (E41).

    With p = (y + y′) / (n + n′), 1 − p = (n − y + n′ − y′) / (n + n′), a = y + prior · p, b = n − y + prior · (1 − p),
    and a′ and b′ likewise: δ = log(a b′ / (b a′)), variance = 1 / a + 1 / a′, z = δ / √variance. If the sides are
    swapped, δ and z change their signs and no other bit.

    Parameters
    ----------
    y, y_other : counts or weights ≥ 0 of each thing on both sides, arrays that broadcast
    n, n_other : totals of the sides (default: the sums of ``y`` and ``y_other``)
    prior : weight of the common prior, > 0 (default: such that α is half a count, and half of what the smaller side has
        at the common frequency: prior · p = 1/2 + min(n, n′) p / 2)

    Returns
    -------
    Contrast
        All three numbers are 0 for a thing that is on no side, or alone on both.

    Raises
    ------
    DomainError
        If a count is negative, not finite, or larger than its total.
    """
    (y, n), (y_other, n_other) = _side(y, n, "y"), _side(y_other, n_other, "y_other")
    y, y_other, n, n_other = np.broadcast_arrays(y, y_other, n, n_other)
    # What is not y is a difference before the prior is added: 1 − p, or n + prior − a, may round to 0.
    rest, rest_other = n - y, n_other - y_other
    both, neither, total = y + y_other, rest + rest_other, n + n_other
    compared = (both > 0) & (neither > 0)
    total = np.where(compared, total, 2.0)
    p, p_rest = np.where(compared, both, 1.0) / total, np.where(compared, neither, 1.0) / total
    weight = (0.5 + 0.5 * np.minimum(n, n_other) * p) / p if prior is None else _weight(prior)
    alpha, beta = weight * p, weight * p_rest
    a, a_other = np.where(compared, y + alpha, 1.0), np.where(compared, y_other + alpha, 1.0)
    b, b_other = np.where(compared, rest + beta, 1.0), np.where(compared, rest_other + beta, 1.0)
    delta = _log_ratio(a * b_other, b * a_other)
    variance = np.where(compared, 1.0 / a + 1.0 / a_other, 0.0)
    return Contrast(delta, variance, delta / np.sqrt(np.where(compared, variance, 1.0)))


def _log_ratio(x: Doubles, x_other: Doubles) -> Doubles:
    """Return log(x / x′), which changes its sign alone if both are swapped."""
    size = logarithm(np.maximum(x, x_other) / np.minimum(x, x_other))
    return np.where(x < x_other, -size, size)


def tail(z: Any) -> Doubles:
    """Return the probability that a standard normal number is larger than z (E42); in float64, z from −37 to 37."""
    z = np.clip(np.asarray(z, np.float64), -37.0, 37.0)
    x = np.abs(z)
    density = exponential(-0.5 * x * x) * 0.3989422804014327
    near, far = np.minimum(x, 3.0), np.maximum(x, 3.0)
    term = series = near
    for i in range(1, TAIL_SERIES):
        term = term * (near * near) / (2 * i + 1)
        series = series + term
    fraction = far
    for i in range(TAIL_SERIES, 0, -1):
        fraction = far + i / fraction
    upper = np.where(x < 3.0, 0.5 - density * series, density / fraction)
    result: Doubles = np.where(z < 0, 1.0 - upper, upper)
    return result


def discoveries(p: Any, q: float) -> Bools:
    """Return which tests are discoveries at the false-discovery rate q (R31; Benjamini and Hochberg 1995).

    Those with the r smallest p, where r is the largest number of tests with p ≤ q · r / (their count).
    """
    p = np.asarray(p, np.float64)
    ordered = np.sort(p, axis=None)
    passed = np.flatnonzero(ordered * ordered.size <= q * np.arange(1, ordered.size + 1))
    found: Bools = p <= (ordered[passed[-1]] if passed.size else -1.0)
    return found


def _weight(prior: Any) -> Doubles:
    weight = np.asarray(prior, np.float64)
    if not (np.isfinite(weight).all() and (weight > 0).all()):
        raise DomainError(f"expected a weight above 0, got {weight.min()}", argument="prior")
    return weight


def _side(y: Any, n: Any, name: str) -> tuple[Doubles, Doubles]:
    y = np.asarray(y, np.float64)
    bad = ~(np.isfinite(y) & (y >= 0))
    if bad.any():
        row = int(np.argmax(bad.ravel()))
        raise DomainError(f"expected counts of at least 0, got {y.ravel()[row]}", argument=name, row=row)
    n = np.cumsum(y)[-1:].sum() if n is None else np.asarray(n, np.float64)
    if not (np.isfinite(n).all() and (y <= n).all()):
        raise DomainError("expected totals of at least the counts, got a smaller total", argument=name)
    return y, n
