"""CUDA kernels that convert and validate embeddings on the device."""

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

VALID, NOT_FINITE, ZERO = 0, 1, 2
"""The status of a row."""


def cast(array: Any, dtype: Any) -> Any:
    """Return an array (n, d) in another dtype, or itself if it is C-contiguous and has this dtype."""
    if not on_device(array):
        return array.astype(dtype, copy=False)
    placed = place(array)
    if placed.dtype == dtype and placed.is_c_contiguous():
        return placed
    copy = empty(placed.shape, dtype)
    _copy(elements(copy.size), placed, copy)
    return copy


def faults(x: Any) -> tuple[Any, Any]:
    """Return which rows of a device array are not finite, and which are zero. → (n,), (n,), in host memory."""
    status = empty((len(x),), np.uint8)
    _faults(elements(len(x)), x, status)
    fetched = fetch(status)
    return fetched == NOT_FINITE, fetched == ZERO


def empty_rows(zero: Any, codes: Codes) -> None:
    """Set the codes of ``zero`` rows to zeros at the indices 0 to k − 1 (R4), in place."""
    if zero.any():
        _empty_rows(elements(codes.indices.size), place(zero.astype(np.uint8)), codes.indices, codes.values)


def take_rows(x: Any, row_numbers: Any) -> Any:
    """Return x[row_numbers] for an array on the device."""
    out = empty((len(row_numbers), x.shape[1]), x.dtype)
    _take_rows(elements(out.size), x, place(row_numbers), out)
    return out


@kernel
def _take_rows(x: F2, row_numbers: L1, out: F2) -> None:
    for number in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        i, c = number // out.shape[1], number % out.shape[1]
        out[i, c] = x[row_numbers[i], c]


@kernel
def _copy(x: A2, copy: F2) -> None:
    for number in range(cuda.grid(1), copy.size, cuda.gridsize(1)):
        i, c = number // copy.shape[1], number % copy.shape[1]
        copy[i, c] = x[i, c]


@kernel
def _faults(x: F2, status: B1) -> None:
    for i in range(cuda.grid(1), x.shape[0], cuda.gridsize(1)):
        finite, zero = True, True
        for c in range(x.shape[1]):
            finite = finite and math.isfinite(x[i, c])
            zero = zero and x[i, c] == 0
        status[i] = (ZERO if zero else VALID) if finite else NOT_FINITE


@kernel
def _empty_rows(zero: B1, indices: I2, values: F2) -> None:
    for number in range(cuda.grid(1), indices.size, cuda.gridsize(1)):
        i, t = number // indices.shape[1], number % indices.shape[1]
        if zero[i]:
            indices[i, t], values[i, t] = t, values.dtype.type(0)
