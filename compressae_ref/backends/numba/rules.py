"""The rules of `compressae_ref.backends.rules` for Numba's CPU compiler. Kernels take them from here."""

from __future__ import annotations

from numba.extending import overload

from compressae_ref.backends import rules
from compressae_ref.backends.numba.jit import OPTIONS
from compressae_ref.backends.rules import (
    along,
    change,
    clamped,
    combined,
    cosine,
    halves_again,
    magnitude,
    moment,
    power_of_two,
    root,
    scale_exponent,
    scale_factors,
    scaled,
    stored,
    times,
    worse,
)

__all__ = [
    "along",
    "change",
    "clamped",
    "combined",
    "cosine",
    "halves_again",
    "magnitude",
    "moment",
    "power_of_two",
    "root",
    "scale_exponent",
    "scale_factors",
    "scaled",
    "stored",
    "times",
    "worse",
]


for _rule in rules.RULES:
    overload(_rule, jit_options=OPTIONS, strict=False, target="cpu")(rules.as_it_is(_rule))
