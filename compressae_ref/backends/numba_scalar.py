"""The rules of `compressae_ref.backends.scalar` for Numba's CPU compiler. Kernels take them from here."""

from __future__ import annotations

from numba.extending import overload

from compressae_ref.backends import scalar
from compressae_ref.backends.numba_cache import OPTIONS
from compressae_ref.backends.scalar import (
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


for _rule in scalar.RULES:
    overload(_rule, jit_options=OPTIONS, strict=False, target="cpu")(scalar.as_it_is(_rule))
