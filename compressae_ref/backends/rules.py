"""Rules and formulas on single numbers, written once for all compiled backends.

They are plain Python: as such they run where nothing is compiled. `numba_scalar` gives them to Numba's compiler for the
CPU, `cuda.scalar` to the one for CUDA; kernels call them by their names here. Every operation rounds once: `times` is a
product that no compiler may fuse with the sum that follows it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

COSINE_EPS = 1e-8
"""Lower clamp of each norm in a cosine (R6), as in ``torch.nn.functional.cosine_similarity``."""

RULES: list[Callable[..., Any]] = []
"""All functions of this file."""


def rule(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function for the compilers."""
    RULES.append(function)
    return function


def as_overload(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a compiler's ``overload`` asks for: it gives the function itself, for arguments of any types."""

    def implementation(*arguments: Any) -> Callable[..., Any]:
        return function

    return implementation


# -- order ------------------------------------------------------------------------------------------------------------


@rule
def magnitude(bits: Any, sign: Any) -> Any:
    """A key that orders like |value| (R1): its bits without the ``sign``, which is the highest one."""
    return bits & ~sign


@rule
def ranks_below(key: Any, rank: Any, other_key: Any, other_rank: Any) -> Any:
    """Whether one comes after another: by a smaller key or score, or by a higher rank if these are equal (R1, R10)."""
    return (key < other_key) | ((key == other_key) & (rank > other_rank))


@rule
def halves_again(terms: Any) -> Any:
    """Whether the second half of so many terms is added onto the first (E1)."""
    return (terms > 16) & (terms % 2 == 0)


# -- numbers ----------------------------------------------------------------------------------------------------------


@rule
def mul_rounded(a: Any, b: Any) -> Any:
    """a · b, rounded."""
    return a * b


@rule
def stored(value: Any, zero: Any) -> Any:
    """A value as it is stored: −0 becomes +0 (R2)."""
    return value + zero


@rule
def sqrt_rounded(square: Any, zero: Any) -> Any:
    """√, in the precision of ``zero`` also where numbers are Python's."""
    return math.sqrt(square) + zero


@rule
def clamped(norm: Any, eps: Any) -> Any:
    """A norm, clamped below (R6); NaN stays NaN."""
    return eps if norm < eps else norm


@rule
def scale_exponent(largest: Any) -> Any:
    """The exponent of the power of two that brings the largest magnitude of a row into [1/2, 1) (E3)."""
    return -math.frexp(largest)[1]


@rule
def scale_factors(exponent: Any, one: Any) -> Any:
    """Two factors whose product is 2^exponent: one may be too large or small for a number."""
    half = exponent // 2
    return power_of_two(half, one), power_of_two(exponent - half, one)


@rule
def power_of_two(exponent: Any, one: Any) -> Any:
    """2^exponent, by products that are exact: ``ldexp`` is an approximation on some devices."""
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
    """value · factor · other factor: exact, as by ldexp."""
    return mul_rounded(mul_rounded(value, factor), other_factor)


@rule
def cosine_grad_scale(grad_cos: Any, cos: Any, norm_hat: Any, eps: Any, zero: Any) -> Any:
    """By how much of x̂ its gradient is less (E9'): nothing, where the norm is clamped."""
    return mul_rounded(grad_cos, cos) / mul_rounded(norm_hat, norm_hat) if norm_hat > eps else zero


@rule
def cosine_grad(toward: Any, x: Any, scale: Any, x_hat: Any) -> Any:
    """An entry of the gradient of a cosine (E9')."""
    return mul_rounded(toward, x) - mul_rounded(scale, x_hat)


@rule
def moment(decay: Any, before: Any, rest: Any, new: Any, tiny: Any, zero: Any) -> Any:
    """A moment of Adam (E11): a moving average; below the smallest normal number it is zero."""
    after = mul_rounded(decay, before) + mul_rounded(rest, new)
    return zero if abs(after) < tiny else after


@rule
def adam_delta(lr: Any, m: Any, v: Any, correction1: Any, correction2: Any, eps: Any) -> Any:
    """What Adam takes from a parameter (E11)."""
    return mul_rounded(lr, m / correction1) / (math.sqrt(v / correction2) + eps)


@rule
def cosine(dot: Any, norm: Any, other_norm: Any) -> Any:
    """A score: dot / (norm · other norm) (E10)."""
    return dot / mul_rounded(norm, other_norm)
