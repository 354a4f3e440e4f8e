"""Digests of dense vectors, which a store keeps beside codes so that changed vectors are found without encoding."""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import numpy as np

from compressae_ref.arrays import Floats

UNKNOWN = 0
"""Stands for the digest of a code that was written without one."""

BITS = 63
"""Bits of a digest, so that it is a positive number in 64 signed bits."""

PARTS, PART_BITS = 3, 21
"""Numbers that hold a digest in a vector of float32, each exact, and bits of each."""

SUFFIX = "_digest"
"""What follows the name of the field of the codes in the name of its digests."""


def digests_of(x: Floats) -> list[int]:
    """Return a number from 1 to 2^63 − 1 for each vector, from its float32 values. −0 and 0 differ.

    Two different vectors have the same digest with probability 2^−63.
    """
    rows = np.ascontiguousarray(x, "<f4")
    return [int.from_bytes(blake2b(row, digest_size=8).digest(), "little") >> (64 - BITS) or 1 for row in rows]


def as_vector(digest: int) -> list[float]:
    """Return a digest as a vector of `PARTS` numbers, for engines that store vectors alone."""
    return [float(digest >> shift & (1 << PART_BITS) - 1) for shift in range(0, BITS, PART_BITS)]


def from_vector(vector: Any) -> int:
    """Return the digest of `as_vector`, or `UNKNOWN` for None."""
    if vector is None:
        return UNKNOWN
    return sum(int(part) << PART_BITS * place for place, part in enumerate(vector))
