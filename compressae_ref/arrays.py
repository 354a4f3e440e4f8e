"""Type aliases for arrays, and how arrays lie in memory. Shapes stand in the docstrings, in the alphabet n, d, h, k."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.errors import BackendError

Floats = NDArray[np.floating[Any]]
"""float32 or float64; every function keeps the dtype of what comes in."""
Indices = NDArray[np.int32]
"""Numbers of latents."""
Bools = NDArray[np.bool_]

CACHE_LINE_BYTES = 64
"""Bytes of a cache line."""


def aligned_empty(shape: tuple[int, ...], dtype: Any) -> Floats:
    """An empty C-contiguous array that begins with a cache line: a vector in two of them takes twice as long."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    room = np.empty(size + CACHE_LINE_BYTES, np.uint8)
    start = -room.ctypes.data % CACHE_LINE_BYTES
    array: Floats = room[start : start + size].view(dtype).reshape(shape)
    return array


def aligned_copy(array: Floats) -> Floats:
    """A copy in the memory order of ``array`` that begins with a cache line."""
    if array.flags.f_contiguous and not array.flags.c_contiguous:
        return aligned_copy(array.T).T
    copy = aligned_empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def on_device(array: Any) -> bool:
    """Whether an array lies in the memory of a CUDA device."""
    return hasattr(array, "__cuda_array_interface__") or hasattr(array, "__cuda_ndarray__")


def host_array(x: Any, name: str) -> NDArray[Any]:
    """``np.asarray`` of what lies in the computer's memory; BackendError for an array on a device."""
    if on_device(x):
        raise BackendError("expected an array in the computer's memory, got one on a CUDA device", argument=name)
    return np.asarray(x)


def to_host(array: Any) -> Any:
    """An array in the computer's memory: a copy of one on a device, or itself."""
    if not on_device(array):
        return array
    if not hasattr(array, "copy_to_host"):
        from numba import cuda

        array = cuda.as_cuda_array(array)
    return array.copy_to_host()


def flat(array: Floats) -> Floats:
    """All numbers of a contiguous array, in the order in which they lie in memory: a view, to be changed in place."""
    view = array.ravel("K")
    if array.size and not np.may_share_memory(view, array):
        raise ValueError(f"expected a contiguous array, got strides {array.strides} for shape {array.shape}")
    return view
