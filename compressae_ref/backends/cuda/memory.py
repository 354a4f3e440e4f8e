"""Transfers between host and device, whole or in blocks that shrink when device memory runs out."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numba import cuda

from compressae_ref.arrays import flat, on_device
from compressae_ref.arrays import to_host as fetch
from compressae_ref.errors import BackendError, DTypeError, reason

ROWS_PER_BLOCK = 1 << 16
"""Rows in host memory that are copied to the device together, if they fit."""


class DeviceMemoryError(BackendError):
    """The device does not have enough free memory."""


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """Return an uninitialized C-contiguous array on the device."""
    with _memory(int(np.prod(shape)) * np.dtype(dtype).itemsize):
        return cuda.device_array(shape, np.dtype(dtype))


def place(array: Any) -> Any:
    """Return a copy on the device, or the array itself if it is there already."""
    if on_device(array):
        return array if hasattr(array, "__cuda_ndarray__") else cuda.as_cuda_array(array)
    array = np.asarray(array)
    if not (array.flags.c_contiguous or array.flags.f_contiguous) or 0 in array.strides:
        array = array.copy()  # also a broadcast array, which would have another type in a kernel
    with _memory(array.nbytes):
        return cuda.to_device(array)


def rows(array: Any, dtype: Any = None) -> Any:
    """Return a C-contiguous array on the device. Raise DTypeError for another ``dtype``; it is not converted."""
    if not on_device(array):
        array = np.ascontiguousarray(array)
    array = place(array)
    if dtype is not None and array.dtype != dtype:
        raise DTypeError(f"expected an array of {np.dtype(dtype)}, got {array.dtype}", argument="backend 'cuda'")
    return array


def columns(W: Any) -> Any:
    """Return Wᵀ as a C-contiguous array on the device, without a copy if W is there in Fortran order."""
    if not by_columns(W):
        return place(np.ascontiguousarray(fetch(W).T))
    W = place(W)
    return W.ravel(order="F").reshape(W.shape[1], W.shape[0])


def by_columns(W: Any) -> bool:
    """Return whether a matrix is on the device in Fortran order, as `params.Params` stores W_enc."""
    return on_device(W) and bool(place(W).is_f_contiguous())


def like(first: Any, result: Any) -> Any:
    """Return ``result`` on the device if ``first`` is there, else a copy in host memory."""
    return result if on_device(first) else fetch(result)


def by_blocks(arrays: Sequence[Any], work: Callable[..., Any]) -> Any:
    """Return ``work(*arrays)`` for arrays (n, …). Arrays in host memory are processed in blocks of rows.

    Device arrays are not sliced, because Numba cannot slice empty ones.
    """
    if on_device(arrays[0]):
        return work(*arrays)
    n = len(arrays[0])
    return np.concatenate(in_blocks(n, ROWS_PER_BLOCK, lambda block: fetch(work(*(array[block] for array in arrays)))))


@contextmanager
def changed(*arrays: Any) -> Iterator[list[Any]]:
    """Yield arrays on the device to be changed in place; arrays in host memory are updated at the end."""
    placed = [rows(array) for array in arrays]
    yield placed
    for array, copy in zip(arrays, placed, strict=True):
        if not on_device(array):
            array[...] = fetch(copy).reshape(array.shape)


@contextmanager
def changed_columns(W: Any) -> Iterator[Any]:
    """Yield Wᵀ on the device to be changed in place; W is updated at the end."""
    transposed = columns(W)
    yield transposed
    if not on_device(W):
        W[...] = fetch(transposed).T
    elif not by_columns(W):
        place(W).copy_to_device(np.ascontiguousarray(fetch(transposed).T))


def flat_numbers(array: Any) -> Any:
    """Return a one-dimensional view of a contiguous array, in memory order."""
    if not on_device(array):
        return flat(array)
    return array.ravel(order="C" if array.is_c_contiguous() else "F")


@contextmanager
def _memory(size: int) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if "out_of_memory" in f"{type(error).__name__} {error}".lower().replace(" ", "_"):
            raise DeviceMemoryError(
                f"expected {size} bytes of free memory on the device, got {reason(error)}", argument="backend 'cuda'"
            ) from error
        raise


def in_blocks(n: int, size: int, work: Callable[[slice], Any]) -> list[Any]:
    """Return the results of ``work`` for consecutive slices of range(n); their size is halved when memory runs out."""
    results: list[Any] = []
    start = 0
    while start < n or not results:
        done = _attempt(work, slice(start, min(start + size, n)))
        if done is not None:
            results.append(done[0])
            start += size
        size = size if done is not None else size // 2
    return results


def _attempt(work: Callable[[slice], Any], part: slice) -> tuple[Any] | None:
    """Return ``(work(part),)``, or None if memory ran out and ``part`` can still be split."""
    try:
        return (work(part),)
    except DeviceMemoryError:
        if part.stop - part.start <= 1:
            raise
        gc.collect()  # frees the arrays of the failed attempt
        return None
