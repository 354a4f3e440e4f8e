"""Register the rules of `compressae_ref.backends.rules` with Numba's CPU compiler. Kernels import them from here."""

from __future__ import annotations

from numba.extending import overload

from compressae_ref.backends import rules
from compressae_ref.backends.numba.jit import OPTIONS
from compressae_ref.backends.rules import (
    adam_delta,
    clamped,
    cosine,
    cosine_grad,
    cosine_grad_scale,
    halves_again,
    magnitude,
    moment,
    mul_rounded,
    power_of_two,
    ranks_below,
    scale_exponent,
    scale_factors,
    scaled,
    sqrt_rounded,
    stored,
)

for _rule in rules.RULES:
    overload(_rule, jit_options=OPTIONS, strict=False, target="cpu")(rules.as_overload(_rule))
