"""Type aliases for arrays, and helpers for their memory layout. Docstrings give shapes in terms of n, d, h and k."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from compressae_ref.errors import BackendError, DomainError, DTypeError, ShapeError, reason

Floats = NDArray[np.floating[Any]]
"""float32 or float64; every function keeps the dtype of its input."""
Indices = NDArray[np.int32]
"""Latents, numbered from 0."""
Bools = NDArray[np.bool_]

CACHE_LINE_BYTES = 64
"""Size of a cache line."""


BYTES_AT_ONCE = 1 << 20
"""Bytes of an array that are converted or checked at a time."""


def require_memory(size: int, what: str, argument: str) -> None:
    """Raise DomainError, before anything is allocated, if ``what`` takes more bytes than the computer's memory has."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # Windows does not say
        return
    if size > memory:
        raise DomainError(
            f"expected {what} that fits into the memory of {memory / 2**30:,.0f} GiB, got {size / 2**30:,.0f} GiB",
            argument=argument,
        )


def row_blocks(array: NDArray[Any]) -> Iterator[slice]:
    """Yield at least one slice of consecutive rows of about `BYTES_AT_ONCE`: a copy of it takes little memory."""
    rows = max(1, BYTES_AT_ONCE * len(array) // max(1, array.nbytes))
    for start in range(0, max(1, len(array)), rows):
        yield slice(start, start + rows)


def aligned_empty(shape: tuple[int, ...], dtype: Any) -> Floats:
    """Return an uninitialized C-contiguous array that is aligned to a cache line.

    A vector that straddles two cache lines takes twice as long to load.
    """
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    buffer = np.empty(size + CACHE_LINE_BYTES, np.uint8)
    start = -buffer.ctypes.data % CACHE_LINE_BYTES
    array: Floats = buffer[start : start + size].view(dtype).reshape(shape)
    return array


def aligned_copy(array: Floats) -> Floats:
    """Return a copy in the memory order of ``array`` that is aligned to a cache line."""
    if array.flags.f_contiguous and not array.flags.c_contiguous:
        return aligned_copy(array.T).T
    copy = aligned_empty(array.shape, array.dtype)
    copy[...] = array
    return copy


def on_device(array: Any) -> bool:
    """Return whether an array is in the memory of a CUDA device."""
    return hasattr(array, "__cuda_array_interface__") or hasattr(array, "__cuda_ndarray__")


def host_array(x: Any, name: str, first_row: int = 0) -> NDArray[Any]:
    """Return ``np.asarray(x)``. Every array of a caller comes through here.

    Raises
    ------
    BackendError
        If the array is on a device.
    DTypeError, ShapeError, DomainError
        If ``x`` is no array (`require_array`), is a list of rows of different lengths, or has masked numbers; with the
        row, counted from ``first_row``.
    """
    if on_device(x):
        raise BackendError("expected an array in the computer's memory, got one on a CUDA device", argument=name)
    require_array(x, name)
    reject_masked(x, name, first_row)
    try:
        return np.asarray(x)
    except (ValueError, TypeError, RuntimeError) as error:
        _reject_ragged(x, name, first_row)
        got = f"a {type(x).__name__} that NumPy cannot convert ({reason(error)})"
        raise DTypeError(f"expected an array, got {got}", argument=name) from error


def items_of(values: Any, name: str) -> NDArray[Any]:
    """Return the items of a flat array or list (n,), none of them converted: the array itself, or one of objects.

    Raises
    ------
    DTypeError, ShapeError
        If ``values`` is a single item, has no order, or is not flat. Errors of `host_array`.
    """
    if isinstance(values, (str, bytes, Mapping, Set)) or not isinstance(values, Iterable):
        raise DTypeError(f"expected a flat array or list, got a {type(values).__name__}", argument=name)
    if hasattr(values, "__array__"):
        array = host_array(values, name)
    else:
        items = list(values)
        array = np.fromiter(items, object, len(items))  # np.asarray would turn numbers among strings into strings
    if array.ndim != 1:
        raise ShapeError(f"expected a flat array or list, got shape {array.shape}", argument=name)
    return array


def require_array(x: Any, name: str) -> None:
    """Raise DTypeError for objects that NumPy would convert to something else: sparse matrices, mappings, text."""
    if hasattr(x, "tocsr"):
        got = f"a sparse {type(x).__name__} of shape {x.shape}"
        raise DTypeError(f"expected a dense array, got {got}", argument=name, hint="pass the result of toarray()")
    if isinstance(x, (Mapping, Set, str, bytes)):
        hint = "pass one of its arrays" if isinstance(x, Mapping) else None
        raise DTypeError(f"expected an array, got a {type(x).__name__}", argument=name, hint=hint)


def reject_masked(x: Any, name: str, first_row: int = 0) -> None:
    """Raise DomainError for the first row of a masked array with a masked number: NumPy would drop the mask."""
    if not (hasattr(x, "mask") and isinstance(x, np.ma.MaskedArray)):
        return
    mask = np.atleast_1d(np.ma.getmaskarray(x))
    masked: Bools = np.asarray(mask.reshape(len(mask), -1).any(axis=1))
    if masked.any():
        raise DomainError(
            "expected an array without masked numbers, got a masked one",
            argument=name,
            row=first_row + int(np.argmax(masked)),
            hint="leave these rows out, or fill them",
        )


def _reject_ragged(x: Any, name: str, first_row: int) -> None:
    """Raise ShapeError for the first row of a list that is not as long as the first one."""
    lengths = [len(row) if hasattr(row, "__len__") else 0 for row in x] if isinstance(x, (list, tuple)) else []
    for row, length in enumerate(lengths):
        if length != lengths[0]:
            raise ShapeError(
                f"expected rows of {lengths[0]} numbers as in row {first_row}, got {length}",
                argument=name,
                row=first_row + row,
            )


def to_host(array: Any) -> Any:
    """Return the array itself, or a copy in host memory if it is on a device."""
    if not on_device(array):
        return array
    if not hasattr(array, "copy_to_host"):
        from numba import cuda

        array = cuda.as_cuda_array(array)
    return array.copy_to_host()


def flat(array: Floats) -> Floats:
    """Return a one-dimensional view of a contiguous array, in memory order."""
    view = array.ravel("K")
    if array.size and not np.may_share_memory(view, array):
        raise ValueError(f"expected a contiguous array, got strides {array.strides} for shape {array.shape}")
    return view
