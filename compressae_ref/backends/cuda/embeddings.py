"""CUDA kernels for embeddings that somebody else has put on the device: what they are, and whether they are sound."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import cuda

from compressae_ref.arrays import on_device
from compressae_ref.arrays import to_host as fetch
from compressae_ref.backends.cuda.launch import A2, B1, F2, I2, L1, elements, kernel
from compressae_ref.backends.cuda.memory import empty, place
from compressae_ref.codes import Codes

SOUND, INFINITE, ZERO = 0, 1, 2
"""What a row is found to be."""


def cast(array: Any, dtype: Any) -> Any:
    """An array (n, d) in another dtype: itself, if it is C-contiguous and has it."""
    if not on_device(array):
        return array.astype(dtype, copy=False)
    there = place(array)
    if there.dtype == dtype and there.is_c_contiguous():
        return there
    copy = empty(there.shape, dtype)
    _copy(elements(copy.size), there, copy)
    return copy


def faults(x: Any) -> tuple[Any, Any]:
    """Which rows of an array on the device are not finite, and which are zero. → (n,), (n,), both fetched."""
    found = empty((len(x),), np.uint8)
    _faults(elements(len(x)), x, found)
    there = fetch(found)
    return there == INFINITE, there == ZERO


def empty_rows(zero: Any, codes: Codes) -> None:
    """Give ``zero`` rows a code of zeros at the indices 0 to k − 1 (R4), in place."""
    if zero.any():
        _empty_rows(elements(codes.indices.size), place(zero.astype(np.uint8)), codes.indices, codes.values)


def some_rows(x: Any, numbers: Any) -> Any:
    """Rows of an array on the device by their numbers."""
    some = empty((len(numbers), x.shape[1]), x.dtype)
    _some_rows(elements(some.size), x, place(numbers), some)
    return some


@kernel
def _some_rows(x: F2, numbers: L1, some: F2) -> None:
    for number in range(cuda.grid(1), some.size, cuda.gridsize(1)):
        i, c = number // some.shape[1], number % some.shape[1]
        some[i, c] = x[numbers[i], c]


@kernel
def _copy(x: A2, copy: F2) -> None:
    for number in range(cuda.grid(1), copy.size, cuda.gridsize(1)):
        i, c = number // copy.shape[1], number % copy.shape[1]
        copy[i, c] = x[i, c]


@kernel
def _faults(x: F2, found: B1) -> None:
    for i in range(cuda.grid(1), x.shape[0], cuda.gridsize(1)):
        finite, zero = True, True
        for c in range(x.shape[1]):
            finite = finite and math.isfinite(x[i, c])
            zero = zero and x[i, c] == 0
        found[i] = (ZERO if zero else SOUND) if finite else INFINITE


@kernel
def _empty_rows(zero: B1, indices: I2, values: F2) -> None:
    for number in range(cuda.grid(1), indices.size, cuda.gridsize(1)):
        i, t = number // indices.shape[1], number % indices.shape[1]
        if zero[i]:
            indices[i, t], values[i, t] = t, values.dtype.type(0)
