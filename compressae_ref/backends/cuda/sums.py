"""CUDA kernels for dots over d in the order of `compressae_ref.sums`, and sums over the threads of a block."""

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

    def some_dots(some: Any) -> Any:
        there = rows(some, other.dtype)
        dots = empty((len(there), len(other)), there.dtype)
        _pair_dots(len(there) * len(other), there, other, dots)
        return dots

    return by_blocks([a], some_dots)


def chosen_dots(a: Any, b: Any, chosen: Any) -> Any:
    """⟨a[i], b[chosen[i, t]]⟩ of arrays on the device (`backends.numpy.sums.chosen_dots`)."""
    dots = empty(chosen.shape, a.dtype)
    _chosen_dots(chosen.shape[0] * chosen.shape[1], a, b, chosen, dots)
    return dots


def fold_bytes(a: Any, threads: int) -> int:
    """Shared memory for the terms of `fold_dot`: what the first halving leaves of them."""
    d = a.shape[1]
    return int((d // 2 if halves_again(d) else d) * a.dtype.itemsize)


def room_bytes(first: Any, threads: int) -> int:
    """Shared memory for a whole number of each thread."""
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
    """⟨a[i], b[j]⟩ by `reference.fold_sum`, by all threads of a block together: each of them gets it.

    What is halved twice is written by the thread that reads it last; `syncthreads` stands between the halvings.
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
    cuda.syncthreads()  # before somebody writes other terms
    return total


@piece
def block_sum(count: Any, room: Any) -> Any:
    """The sum of a whole number over the threads of a block: each of them gets it.

    ``room`` is shared, a number for each thread; kernels declare it. An array that is declared in a piece comes twice
    into what is linked, where two pieces use that one; and in the simulator threads may get one each, if it is not the
    array of size 0, whose bytes are given at the launch.
    """
    room[cuda.threadIdx.x] = count
    cuda.syncthreads()
    total = room[0]
    for thread in range(1, cuda.blockDim.x):
        total += room[thread]
    cuda.syncthreads()  # before somebody writes other counts
    return total


@piece
def own_part(n: Any) -> Any:
    """Where this thread's share of n neighbours begins and ends, if those of a block share them out."""
    size = (n + cuda.blockDim.x - 1) // cuda.blockDim.x
    start = min(cuda.threadIdx.x * size, n)
    return start, min(start + size, n)


@piece
def sum_before(count: Any, room: Any) -> Any:
    """The sum of a whole number over the threads of a block before this one."""
    me = cuda.threadIdx.x
    room[me] = count
    cuda.syncthreads()
    before = room[me] - count
    for thread in range(me):
        before += room[thread]
    cuda.syncthreads()
    return before
