"""Declare and launch kernels.

The annotations of a kernel state its parameter types: ``F2`` is a C-contiguous two-dimensional array of floats, and so
on. They determine the signatures for which it is compiled, in float32 and float64. The simulator has no types, so every
simulated launch is checked against these signatures.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from itertools import product
from typing import Any, TypeAlias

from numba import cuda, typeof
from numba.core import types

from compressae_ref.backends.cuda.rules import SIMULATED
from compressae_ref.errors import BackendError

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
"""F: floats. U: unsigned integers of the same width. I: int32. L: int64. B: uint8. A digit is the number of dimensions
of a C-contiguous array. A: arrays of floats, including float16, in any memory order."""

THREADS = 4 if SIMULATED else 128
"""Threads per block."""

MAX_BLOCKS = 2 if SIMULATED else 1 << 16
"""Blocks per launch at most; kernels loop over their work in strides."""

SHARED_BYTES = 48 << 10
"""Shared memory per block that every device has without opting in."""

KERNELS: list[Kernel] = []
"""All kernels, for tests that compile each of them."""

VARYING = ("FU", "A")
"""Letters whose types vary together."""

NUMBERS: dict[str, list[dict[str, Any]]] = {
    "FU": [{"F": types.float32, "U": types.uint32}, {"F": types.float64, "U": types.uint64}],
    "A": [{"A": types.float16}, {"A": types.float32}, {"A": types.float64}],
}

FIXED = {"I": types.int32, "L": types.int64, "B": types.uint8}


def _by_letter(numbers: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {letter: number for types_of in (FIXED, *numbers) for letter, number in types_of.items()}


def _type(kind: str, numbers: dict[str, Any]) -> Any:
    letter, dimensions = kind[0], kind[1:]
    return (
        types.Array(numbers[letter], int(dimensions), "A" if letter == "A" else "C") if dimensions else numbers[letter]
    )


Bytes: TypeAlias = Callable[[Any, int], int]
"""Compute the shared memory of a block from the first argument of a launch and the number of threads."""


class Kernel:
    """A function that runs on the device, and its signatures."""

    def __init__(self, function: Callable[..., None], threads: int, shared: Bytes) -> None:
        self.function, self.threads, self.shared = function, threads, shared
        self.compiled: Any = cuda.jit(function)
        self.kinds = [str(kind) for name, kind in function.__annotations__.items() if name != "return"]
        self.name = f"{function.__module__.rpartition('.')[2]}.{function.__name__.strip('_')}"
        KERNELS.append(self)

    def signatures(self) -> list[tuple[Any, ...]]:
        """Return the Numba types of the arguments, once for each width of floats."""
        widths = product(*(NUMBERS[letter] for letter in VARYING if any(kind[0] in letter for kind in self.kinds)))
        return [tuple(_type(kind, numbers) for kind in self.kinds) for numbers in map(_by_letter, widths)]

    def __call__(self, work: int, *arguments: Any) -> None:
        """Launch ``work`` blocks, or fewer that loop over the same work."""
        if work <= 0:
            return
        shared = self.shared(arguments[0], self.threads)
        if shared > SHARED_BYTES:
            raise BackendError(
                f"expected rows that fit {SHARED_BYTES} bytes of shared memory, got rows of {shared} bytes",
                argument="backend 'cuda'",
            )
        if SIMULATED:
            self._check_signature(arguments)
        self._configured(min(work, MAX_BLOCKS), shared)(*arguments)

    def _configured(self, blocks: int, shared: int) -> Any:
        """Return the configured kernel, without Numba's warning about fewer than 128 blocks: the work is small then."""
        if blocks >= 128:
            return self.compiled[blocks, self.threads, 0, shared]
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Grid size")
            return self.compiled[blocks, self.threads, 0, shared]

    def _check_signature(self, arguments: Sequence[Any]) -> None:
        got = tuple(_typed(kind, argument) for kind, argument in zip(self.kinds, arguments, strict=True))
        if got not in self.signatures():
            raise TypeError(f"{self.name}: expected one of {self.signatures()}, got {got}")


def kernel(function: Callable[..., None]) -> Kernel:
    """Declare a kernel whose parameters are annotated with types of this module."""
    return Kernel(function, THREADS, lambda first, threads: 0)


def kernel_with(shared: Bytes, threads: int = THREADS) -> Callable[[Callable[..., None]], Kernel]:
    """Declare a kernel with shared memory, or with another number of threads."""
    return lambda function: Kernel(function, threads, shared)


def _typed(kind: str, argument: Any) -> Any:
    """Return the Numba type of an argument, with memory orders that are compiled together made equal."""
    if not hasattr(argument, "shape") or argument.shape == ():
        return typeof(argument)
    found = argument._numba_type_
    layout: Any = "A" if kind[0] == "A" else found.layout if argument.size else "C"
    return types.Array(found.dtype, found.ndim, layout)


def elements(count: int) -> int:
    """Return the number of blocks for a kernel with one thread per element."""
    return -(-count // THREADS)
