"""Numba kernels that select the largest entries of rows, in the order of R1."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from compressae_ref.arrays import Floats
from compressae_ref.backends.numba.jit import inner, kernel
from compressae_ref.backends.numba.rules import magnitude, ranks_below
from compressae_ref.backends.thread_pool import parallel_for
from compressae_ref.codes import Codes

ROWS_PER_TASK = 512


def split_codes(codes: Codes, k: int) -> tuple[Codes, Codes]:
    parts = [empty_codes(len(codes), width, codes.values.dtype) for width in (k, codes.k - k)]
    indices, values = np.ascontiguousarray(codes.indices), np.ascontiguousarray(codes.values)
    parallel_for(len(codes), ROWS_PER_TASK, _split, indices, values, ordered(values), *parts)
    kept, rest = (Codes.trusted(*part, codes.n_latents, codes.model) for part in parts)
    return kept, rest


class CodeArrays(NamedTuple):
    """Indices and values of codes, both (n, k)."""

    indices: Any
    values: Any


def empty_codes(n: int, k: int, dtype: Any) -> CodeArrays:
    """Return uninitialized arrays for n codes."""
    return CodeArrays(np.empty((n, k), np.int32), np.empty((n, k), dtype))


def ordered(values: Floats) -> Any:
    """View contiguous floats as unsigned integers; without the sign bit these order like magnitudes."""
    return values.view(f"u{values.itemsize}")


@kernel
def _split(indices, values, bits, kept, rest, start, stop):  # type: ignore[no-untyped-def]
    (kept_indices, kept_values), (rest_indices, rest_values) = kept, rest
    width, k = indices.shape[1], kept_indices.shape[1]
    positions, keys = np.empty((2, width + 1), np.int64), np.empty(width, bits.dtype)
    for row in range(start, stop):
        magnitudes(bits[row], keys)
        positions_of_largest(keys, width, k, positions[0], positions[1])
        for t in range(k):
            i = positions[0, t]
            kept_indices[row, t], kept_values[row, t] = indices[row, i], values[row, i]
        for t in range(width - k):
            i = positions[1, t]
            rest_indices[row, t], rest_values[row, t] = indices[row, i], values[row, i]


@inner
def magnitudes(bits, keys):  # type: ignore[no-untyped-def]
    """Fill ``keys`` with keys that order like |value| (R1): the bits without the sign."""
    sign = bits.dtype.type(1) << bits.dtype.type(8 * bits.itemsize - 1)
    for i in range(bits.size):
        keys[i] = magnitude(bits[i], sign)


@inner
def positions_of_largest(keys, m, k, kept, rest):  # type: ignore[no-untyped-def]
    """Write the positions of the k largest of keys[:m] and of the others, ascending; ties go to the lower position.

    Both arrays need one extra element: every position is written to both, and overwritten where it does not belong.
    """
    threshold = kth_largest(keys[:m], k)
    last = _kth_position(keys[:m], k, threshold)
    t = 0
    for i in range(m):
        kept[t] = rest[i - t] = i
        t += not ranks_below(keys[i], i, threshold, last)


@inner
def _kth_position(keys, k, threshold):  # type: ignore[no-untyped-def]
    """Return the last position that is kept among keys equal to the k-th largest."""
    free = k
    for i in range(keys.size):
        free -= keys[i] > threshold
    for i in range(keys.size):
        free -= keys[i] == threshold
        if free <= 0:
            return i
    return keys.size


@inner
def kth_largest(keys, k):  # type: ignore[no-untyped-def]
    """Return the k-th largest of unsigned keys.

    The result is built from the highest bit down: a bit is set if at least k keys are no smaller with it. Each bit
    takes one pass, which vectorizes. Once exactly k keys are left, their minimum is the result.
    """
    one, threshold = keys.dtype.type(1), keys.dtype.type(0)
    for bit in range(8 * keys.itemsize - 2, -1, -1):
        trial = threshold | (one << keys.dtype.type(bit))
        count = 0
        for i in range(keys.size):
            count += keys[i] >= trial
        if count >= k:
            threshold = trial
        if count == k:
            return _smallest_from(keys, threshold)
    return threshold


@inner
def _smallest_from(keys, threshold):  # type: ignore[no-untyped-def]
    """Return the smallest key of at least ``threshold``."""
    smallest = ~keys.dtype.type(0)
    for i in range(keys.size):
        smallest = keys[i] if keys[i] >= threshold and keys[i] < smallest else smallest
    return smallest
