"""Where arrays lie: how they come to the device and back, in whole or in blocks, and what happens if it is full."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from numba import cuda

from compressae_ref.arrays import flat, on_device
from compressae_ref.arrays import to_host as fetch
from compressae_ref.errors import BackendError, DTypeError

ROWS_PER_BLOCK = 1 << 16
"""Rows in the computer's memory that go to the device together, where they fit."""


class DeviceMemoryError(BackendError):
    """The device has not as much free memory as is needed."""


def empty(shape: tuple[int, ...], dtype: Any) -> Any:
    """An uninitialised C-contiguous array on the device."""
    with _memory(int(np.prod(shape)) * np.dtype(dtype).itemsize):
        return cuda.device_array(shape, np.dtype(dtype))


def place(array: Any) -> Any:
    """An array on the device: a copy of one in the computer's memory, or itself, without a copy."""
    if on_device(array):
        return array if hasattr(array, "__cuda_ndarray__") else cuda.as_cuda_array(array)
    array = np.asarray(array)
    if not (array.flags.c_contiguous or array.flags.f_contiguous) or 0 in array.strides:
        array = array.copy()  # also one that is repeated in memory: for a kernel it would be of another type
    with _memory(array.nbytes):
        return cuda.to_device(array)


def rows(array: Any, dtype: Any = None) -> Any:
    """An array on the device that a kernel can read: C-contiguous; of another dtype it is an error, not a copy."""
    if not on_device(array):
        array = np.ascontiguousarray(array)
    array = place(array)
    if dtype is not None and array.dtype != dtype:
        raise DTypeError(f"expected an array of {np.dtype(dtype)}, got {array.dtype}", argument="backend 'cuda'")
    return array


def columns(W: Any) -> Any:
    """Wᵀ as a C-contiguous array on the device: of a matrix that lies there by columns no copy is made."""
    if not by_columns(W):
        return place(np.ascontiguousarray(fetch(W).T))
    W = place(W)
    return W.ravel(order="F").reshape(W.shape[1], W.shape[0])


def by_columns(W: Any) -> bool:
    """Whether a matrix lies on the device by columns, as `params.Params` keeps W_enc."""
    return on_device(W) and bool(place(W).is_f_contiguous())


def like(first: Any, result: Any) -> Any:
    """A result where the first argument of a function lies."""
    return result if on_device(first) else fetch(result)


def by_blocks(arrays: Sequence[Any], work: Callable[..., Any]) -> Any:
    """What ``work`` makes of arrays (n, …): on the device at once, else of blocks of their rows, which are fetched.

    On the device nothing is sliced: Numba cannot slice an array there that holds nothing.
    """
    if on_device(arrays[0]):
        return work(*arrays)
    n = len(arrays[0])
    return np.concatenate(in_blocks(n, ROWS_PER_BLOCK, lambda some: fetch(work(*(each[some] for each in arrays)))))


@contextmanager
def changed(*arrays: Any) -> Iterator[list[Any]]:
    """Arrays on the device, to be changed there; those that lie in the computer's memory are changed with them."""
    placed = [rows(each) for each in arrays]
    yield placed
    for array, there in zip(arrays, placed, strict=True):
        if not on_device(array):
            array[...] = fetch(there).reshape(array.shape)


@contextmanager
def changed_columns(W: Any) -> Iterator[Any]:
    """Wᵀ on the device, to be changed there, and W with it."""
    there = columns(W)
    yield there
    if not on_device(W):
        W[...] = fetch(there).T
    elif not by_columns(W):
        place(W).copy_to_device(np.ascontiguousarray(fetch(there).T))


def flat_numbers(array: Any) -> Any:
    """All numbers of a contiguous array, in the order in which they lie in memory: a view."""
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
                f"expected {size} bytes of free memory on the device, got less", argument="backend 'cuda'"
            ) from error
        raise


def in_blocks(n: int, size: int, work: Callable[[slice], Any]) -> list[Any]:
    """What ``work`` gives for consecutive parts of range(n): where memory runs out, for smaller ones."""
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
    """What ``work`` gives, in a tuple; None where memory ran out, and a smaller part may do."""
    try:
        return (work(part),)
    except DeviceMemoryError:
        if part.stop - part.start <= 1:
            raise
        gc.collect()  # what the attempt has left
        return None
