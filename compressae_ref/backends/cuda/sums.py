"""CUDA kernels for dots in the order of `reference.fold_sum`, and sums over the threads of a block."""

from __future__ import annotations

from typing import Any

from numba import cuda

from compressae_ref.arrays import Floats
from compressae_ref.backends.cuda.launch import F2, I2, kernel_with
from compressae_ref.backends.cuda.memory import by_blocks, empty, rows
from compressae_ref.backends.cuda.rules import piece
from compressae_ref.backends.rules import halves_again, mul_rounded


def pair_dots(a: Floats, b: Floats) -> Any:
    other = rows(b)

    def block_dots(block: Any) -> Any:
        placed = rows(block, other.dtype)
        dots = empty((len(placed), len(other)), placed.dtype)
        _pair_dots(len(placed) * len(other), placed, other, dots)
        return dots

    return by_blocks([a], block_dots)


def chosen_dots(a: Any, b: Any, chosen: Any) -> Any:
    """Return ⟨a[i], b[chosen[i, t]]⟩ of arrays on the device (`backends.numpy.sums.chosen_dots`)."""
    dots = empty(chosen.shape, a.dtype)
    _chosen_dots(chosen.shape[0] * chosen.shape[1], a, b, chosen, dots)
    return dots


def fold_bytes(a: Any, threads: int) -> int:
    """Return the shared memory for the terms of `fold_dot` after the first halving."""
    d = a.shape[1]
    return int((d // 2 if halves_again(d) else d) * a.dtype.itemsize)


def room_bytes(first: Any, threads: int) -> int:
    """Return the shared memory for one int64 per thread."""
    return 8 * threads


@kernel_with(fold_bytes)
def _pair_dots(a: F2, b: F2, dots: F2) -> None:
    terms = cuda.shared.array(0, a.dtype)
    for pair in range(cuda.blockIdx.x, a.shape[0] * b.shape[0], cuda.gridDim.x):
        i, j = pair // b.shape[0], pair % b.shape[0]
        dot = fold_dot(a, i, b, j, terms)
        if cuda.threadIdx.x == 0:
            dots[i, j] = dot


@kernel_with(fold_bytes)
def _chosen_dots(a: F2, b: F2, chosen: I2, dots: F2) -> None:
    terms = cuda.shared.array(0, a.dtype)
    for entry in range(cuda.blockIdx.x, chosen.shape[0] * chosen.shape[1], cuda.gridDim.x):
        i, t = entry // chosen.shape[1], entry % chosen.shape[1]
        dot = fold_dot(a, i, b, chosen[i, t], terms)
        if cuda.threadIdx.x == 0:
            dots[i, t] = dot


@piece
def fold_dot(a: Any, i: Any, b: Any, j: Any, terms: Any) -> Any:
    """Return ⟨a[i], b[j]⟩, summed by `reference.fold_sum`, to all threads of a block.

    Within a halving, the thread that overwrites a term is the only one that reads it; `syncthreads` separates halvings.
    """
    left = a.shape[1]
    if halves_again(left):
        left = left // 2
        for c in range(cuda.threadIdx.x, left, cuda.blockDim.x):
            terms[c] = mul_rounded(a[i, c], b[j, c]) + mul_rounded(a[i, c + left], b[j, c + left])
    else:
        for c in range(cuda.threadIdx.x, left, cuda.blockDim.x):
            terms[c] = mul_rounded(a[i, c], b[j, c])
    cuda.syncthreads()
    while halves_again(left):
        left = left // 2
        for c in range(cuda.threadIdx.x, left, cuda.blockDim.x):
            terms[c] = terms[c] + terms[c + left]
        cuda.syncthreads()
    total = terms[0]
    for c in range(1, left):
        total = total + terms[c]
    cuda.syncthreads()  # before another thread overwrites the terms
    return total


@piece
def block_sum(count: Any, room: Any) -> Any:
    """Return the sum of an integer over the threads of a block, to all of them.

    ``room`` is a shared array with one element per thread. The kernel declares it: an array declared in a device
    function is linked twice if two device functions use it. It has size 0, with its bytes given at launch, because the
    simulator may otherwise give every thread its own array.
    """
    room[cuda.threadIdx.x] = count
    cuda.syncthreads()
    total = room[0]
    for thread in range(1, cuda.blockDim.x):
        total += room[thread]
    cuda.syncthreads()  # before another thread overwrites the counts
    return total


@piece
def thread_range(n: Any) -> Any:
    """Return the range of n consecutive elements that belongs to this thread of a block."""
    size = (n + cuda.blockDim.x - 1) // cuda.blockDim.x
    start = min(cuda.threadIdx.x * size, n)
    return start, min(start + size, n)


@piece
def sum_before(count: Any, room: Any) -> Any:
    """Return the sum of an integer over the preceding threads of the block."""
    me = cuda.threadIdx.x
    room[me] = count
    cuda.syncthreads()
    before = room[me] - count
    for thread in range(me):
        before += room[thread]
    cuda.syncthreads()
    return before
