"""Rules and formulas on single numbers, written once for all compiled backends.

They are plain Python, and run as such where nothing is compiled. `backends.numba.rules` registers them with Numba's
CPU compiler and `backends.cuda.rules` with its CUDA compiler. Kernels call them by the names they have here. Every
operation rounds once: no compiler may fuse `mul_rounded` with a following addition.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

COSINE_EPS = 1e-8
"""Lower clamp of each norm in a cosine (R6), as in ``torch.nn.functional.cosine_similarity``."""

LOG2_E = 1.4426950408889634
"""log₂ e."""

LN2_HIGH, LN2_LOW = float.fromhex("0x1.62e42fee00000p-1"), float.fromhex("0x1.a39ef35793c76p-33")
"""ln 2 in two parts. The first has so few digits that its products with exponents are exact (E29)."""

EXP_SERIES = tuple(1 / math.factorial(i) for i in range(13, -1, -1))
"""1 / i! for i = 13, 12, …, 0 (E29)."""

SMALLEST_EXPONENT = -700.0
"""exp(x) is 0 below (E29)."""

RULES: list[Callable[..., Any]] = []
"""All functions of this file, for the compilers to register."""


def rule(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add a function to `RULES`."""
    RULES.append(function)
    return function


def as_overload(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return an implementation for Numba's ``overload``: ``function`` itself, for arguments of any type."""

    def implementation(*arguments: Any) -> Callable[..., Any]:
        return function

    return implementation


# -- order ------------------------------------------------------------------------------------------------------------


@rule
def magnitude(bits: Any, sign: Any) -> Any:
    """Return a key that orders like |value| (R1): the bits of the value without the ``sign`` bit."""
    return bits & ~sign


@rule
def ranks_below(key: Any, rank: Any, other_key: Any, other_rank: Any) -> Any:
    """Return whether an entry comes after another: lower key or score, or equal and higher rank (R1, R10)."""
    return (key < other_key) | ((key == other_key) & (rank > other_rank))


@rule
def halves_again(terms: Any) -> Any:
    """Return whether `reference.fold_sum` halves a sum of this many terms (E1)."""
    return (terms > 16) & (terms % 2 == 0)


# -- numbers ----------------------------------------------------------------------------------------------------------


@rule
def mul_rounded(a: Any, b: Any) -> Any:
    """Return a · b, rounded."""
    return a * b


@rule
def stored(value: Any, zero: Any) -> Any:
    """Return a value as it is stored: −0 becomes +0 (R2)."""
    return value + zero


@rule
def sqrt_rounded(square: Any, zero: Any) -> Any:
    """Return √square in the precision of ``zero``, which matters only in plain Python."""
    return math.sqrt(square) + zero


@rule
def clamped(norm: Any, eps: Any) -> Any:
    """Return max(norm, eps) (R6); NaN stays NaN."""
    return eps if norm < eps else norm


@rule
def scale_exponent(largest: Any) -> Any:
    """Return the exponent e for which largest · 2^e is in [1/2, 1) (E3)."""
    return -math.frexp(largest)[1]


@rule
def scale_factors(exponent: Any, one: Any) -> Any:
    """Return two factors whose product is 2^exponent, which itself may overflow or underflow."""
    half = exponent // 2
    return power_of_two(half, one), power_of_two(exponent - half, one)


@rule
def power_of_two(exponent: Any, one: Any) -> Any:
    """Return 2^exponent by exact products; ``ldexp`` is approximate on some devices."""
    base = one + one if exponent >= 0 else one / (one + one)
    power, left = one, abs(exponent)
    while left > 0:
        if left % 2 == 1:
            power = mul_rounded(power, base)
        left = left // 2
        if left > 0:
            base = mul_rounded(base, base)
    return power


@rule
def scaled(value: Any, factor: Any, other_factor: Any) -> Any:
    """Return value · factor · other_factor: exact, like ``ldexp``."""
    return mul_rounded(mul_rounded(value, factor), other_factor)


@rule
def cosine_grad_scale(grad_cos: Any, cos: Any, norm_hat: Any, eps: Any, zero: Any) -> Any:
    """Return the factor of x̂ in the gradient of a cosine (E9'); 0 where the norm is clamped."""
    return mul_rounded(grad_cos, cos) / mul_rounded(norm_hat, norm_hat) if norm_hat > eps else zero


@rule
def cosine_grad(toward: Any, x: Any, scale: Any, x_hat: Any) -> Any:
    """Return an entry of the gradient of a cosine: toward · x − scale · x̂ (E9')."""
    return mul_rounded(toward, x) - mul_rounded(scale, x_hat)


@rule
def moment(decay: Any, before: Any, rest: Any, new: Any, tiny: Any, zero: Any) -> Any:
    """Return a moment of Adam, a moving average; values below the smallest normal number become 0 (E11)."""
    after = mul_rounded(decay, before) + mul_rounded(rest, new)
    return zero if abs(after) < tiny else after


@rule
def adam_delta(lr: Any, m: Any, v: Any, correction1: Any, correction2: Any, eps: Any) -> Any:
    """Return the amount that Adam subtracts from a parameter (E11)."""
    return mul_rounded(lr, m / correction1) / (math.sqrt(v / correction2) + eps)


@rule
def cosine(dot: Any, norm: Any, other_norm: Any) -> Any:
    """Return a score: dot / (norm · other_norm) (E10)."""
    return dot / mul_rounded(norm, other_norm)
