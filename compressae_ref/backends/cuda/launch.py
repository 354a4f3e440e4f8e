"""How kernels are declared and launched, and where arrays lie.

A kernel says in its annotations what it takes: ``F2`` is a C-contiguous array of floats of two dimensions, and so on.
From that the signatures follow for which it is compiled, with floats of either width; in the simulator, which knows no
types, each launch is held against them. So what is simulated is what is compiled.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any, TypeAlias

import numpy as np
from numba import cuda, typeof
from numba.core import types

from compressae_ref.arrays import flat, on_device
from compressae_ref.arrays import to_host as fetch
from compressae_ref.backends.cuda.rules import SIMULATED
from compressae_ref.errors import BackendError, DTypeError

F1: TypeAlias = Any
F2: TypeAlias = Any
U2: TypeAlias = Any
I1: TypeAlias = Any
I2: TypeAlias = Any
L1: TypeAlias = Any
L2: TypeAlias = Any
B1: TypeAlias = Any
A2: TypeAlias = Any
F: TypeAlias = Any
L: TypeAlias = Any
"""Floats (F), unsigned integers as wide as they (U), int32 (I), int64 (L), uint8 (B); with dimensions, arrays that are
C-contiguous, or (A) floats of any width, including float16, in any memory order."""

THREADS = 4 if SIMULATED else 128
"""Threads of a block."""

MOST_BLOCKS = 2 if SIMULATED else 1 << 16
"""Blocks of a launch: kernels take their work in strides, whatever their number."""

SHARED_BYTES = 48 << 10
"""What every device has for a block without asking."""

ROWS_AT_ONCE = 1 << 16
"""Rows in the computer's memory that go to the device together, where they fit."""

KERNELS: list[Kernel] = []
"""All kernels, for whoever wants to compile each."""

VARYING = ("FU", "A")
"""Kinds whose numbers vary together."""

NUMBERS: dict[str, list[dict[str, Any]]] = {
    "FU": [{"F": types.float32, "U": types.uint32}, {"F": types.float64, "U": types.uint64}],
    "A": [{"A": types.float16}, {"A": types.float32}, {"A": types.float64}],
}

FIXED = {"I": types.int32, "L": types.int64, "B": types.uint8}


def _by_letter(numbers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {letter: number for each in (FIXED, *numbers) for letter, number in each.items()}


def _type(kind: str, numbers: dict[str, Any]) -> Any:
    letter, dimensions = kind[0], kind[1:]
    return (
        types.Array(numbers[letter], int(dimensions), "A" if letter == "A" else "C") if dimensions else numbers[letter]
    )


Bytes: TypeAlias = Callable[[Any, int], int]
"""Shared memory of a block, from the first argument of a launch and the number of threads."""


class Kernel:
    """A function that runs on the device, and the signatures it has."""

    def __init__(self, function: Callable[..., None], threads: int, shared: Bytes) -> None:
        self.function, self.threads, self.shared = function, threads, shared
        self.compiled: Any = cuda.jit(function)
        self.kinds = [str(kind) for name, kind in function.__annotations__.items() if name != "return"]
        self.name = f"{function.__module__.rpartition('.')[2]}.{function.__name__.strip('_')}"
        KERNELS.append(self)

    def signatures(self) -> list[tuple[Any, ...]]:
        """Numba's types of the arguments: with floats of each width, as far as they differ."""
        widths = product(*(NUMBERS[letter] for letter in VARYING if any(kind[0] in letter for kind in self.kinds)))
        return [tuple(_type(kind, numbers) for kind in self.kinds) for numbers in map(_by_letter, widths)]

    def __call__(self, work: int, *arguments: Any) -> None:
        """Launch on ``work`` blocks, or fewer that do their work."""
        if work <= 0:
            return
        shared = self.shared(arguments[0], self.threads)
        if shared > SHARED_BYTES:
            raise BackendError(
                f"backend 'cuda': expected rows that fit {SHARED_BYTES} bytes of shared memory, got {shared} bytes"
            )
        if SIMULATED:
            self._hold_against_signatures(arguments)
        self.compiled[min(work, MOST_BLOCKS), self.threads, 0, shared](*arguments)

    def _hold_against_signatures(self, arguments: Sequence[Any]) -> None:
        got = tuple(_typed(kind, argument) for kind, argument in zip(self.kinds, arguments, strict=True))
        if got not in self.signatures():
            raise TypeError(f"{self.name}: expected one of {self.signatures()}, got {got}")


def kernel(function: Callable[..., None]) -> Kernel:
    """Declare a kernel; its parameters are annotated with kinds."""
    return Kernel(function, THREADS, lambda first, threads: 0)


def kernel_with(shared: Bytes, threads: int = THREADS) -> Callable[[Callable[..., None]], Kernel]:
    """Declare a kernel whose blocks share memory, or have another number of threads."""
    return lambda function: Kernel(function, threads, shared)


def _typed(kind: str, argument: Any) -> Any:
    """The type of an argument, as far as a kind tells apart what is compiled together."""
    if not hasattr(argument, "shape") or argument.shape == ():
        return typeof(argument)
    found = argument._numba_type_
    layout: Any = "A" if kind[0] == "A" else found.layout if argument.size else "C"
    return types.Array(found.dtype, found.ndim, layout)


def elements(count: int) -> int:
    """Blocks for a kernel that gives each thread an element at a time."""
    return -(-count // THREADS)


# -- where arrays lie -------------------------------------------------------------------------------------------------


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
        raise DTypeError(f"backend 'cuda': expected an array of {np.dtype(dtype)}, got {array.dtype}")
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


def by_blocks(first: Any, work: Callable[[slice], Any]) -> Any:
    """What ``work`` makes of all rows of ``first`` (n, …): on the device at once, else in blocks that are fetched."""
    if on_device(first):
        return work(slice(0, len(first)))
    return np.concatenate(in_blocks(len(first), ROWS_AT_ONCE, lambda some: fetch(work(some))))


@contextmanager
def changed(*arrays: Any) -> Iterator[list[Any]]:
    """Arrays on the device, to be changed there; those that lie in the computer's memory are changed with them."""
    placed = [place(each) if on_device(each) else place(np.ascontiguousarray(each)) for each in arrays]
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
    by_columns = array.ndim == 2 and not array.is_c_contiguous()
    return array.ravel(order="F" if by_columns else "C")


@contextmanager
def _memory(size: int) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if "out_of_memory" in f"{type(error).__name__} {error}".lower().replace(" ", "_"):
            raise DeviceMemoryError(
                f"backend 'cuda': expected {size} bytes of free memory on the device, got less"
            ) from error
        raise


def in_blocks(n: int, most: int, work: Callable[[slice], Any]) -> list[Any]:
    """What ``work`` gives for consecutive parts of range(n): where memory runs out, for smaller ones."""
    results: list[Any] = []
    start = 0
    while start < n or not results:
        done = _attempt(work, slice(start, min(start + most, n)))
        if done is not None:
            results.append(done[0])
            start += most
        most = most if done is not None else most // 2
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
