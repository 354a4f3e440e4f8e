"""The dense product of all rows with all latents: by CuPy's cuBLAS where it is installed, else by our own kernel.

No number of it is ever stored: it says where `encode` need not look, and any order of its sums will do. Products in
TF32, which a user of CuPy may ask for, would be further off than the bound of `encode` allows: then ours is used.
"""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from numba import cuda

from compressae_ref.backends.cuda.launch import F2, kernel_with
from compressae_ref.backends.cuda.memory import empty
from compressae_ref.backends.cuda.rules import SIMULATED

THREADS = 2 if SIMULATED else 16
"""A block has so many threads in each direction."""

SUMS = 2 if SIMULATED else 4
"""A thread has so many sums in each direction, in registers."""

PITCH = THREADS + 1
"""Numbers between rows in shared memory: one more than there are, so that rows begin in different banks."""

TILE = THREADS * SUMS
"""Rows, columns and terms of what a block has in shared memory at once."""

INEXACT = ("CUPY_TF32", "CUBLAS_EMULATE_SINGLE_PRECISION", "CUBLAS_EMULATE_DOUBLE_PRECISION")
"""Settings of the environment by which cuBLAS computes with less than it is given."""


def dense_product(a: Any, b: Any) -> Any:
    """a · bᵀ of arrays (n, d) and (h, d) on the device. → (n, h), in any order of the sums."""
    out = empty((len(a), len(b)), a.dtype)
    cupy = _cupy()
    if cupy is None:
        _product(-(-len(a) // TILE) * -(-len(b) // TILE), a, b, out)
    else:
        cupy.matmul(cupy.asarray(a), cupy.asarray(b).T, out=cupy.asarray(out))
    return out


@cache
def _cupy() -> Any:
    """CuPy, where it is installed, works, and is told to compute in full precision."""
    if any(os.environ.get(name, "0") not in ("", "0") for name in INEXACT):
        return None
    try:
        import cupy

        cupy.matmul(cupy.eye(2), cupy.eye(2))
    except Exception:  # not installed, or built for other versions of CUDA than are here
        return None
    return cupy


def tile_bytes(a: Any, threads: int) -> int:
    """Shared memory for a tile of each factor."""
    return int(2 * TILE * PITCH * a.dtype.itemsize)


@kernel_with(tile_bytes, THREADS * THREADS)
def _product(a: F2, b: F2, out: F2) -> None:
    """Tiles of a and b go through shared memory; a thread adds up EACH × EACH sums, SIDE apart."""
    shared = cuda.shared.array(0, a.dtype)
    tile_a, tile_b = shared[: TILE * PITCH], shared[TILE * PITCH :]
    sums = cuda.local.array((SUMS, SUMS), a.dtype)
    n, h, d = a.shape[0], b.shape[0], a.shape[1]
    r, s = cuda.threadIdx.x // THREADS, cuda.threadIdx.x % THREADS
    across = (h + TILE - 1) // TILE
    for tile in range(cuda.blockIdx.x, (n + TILE - 1) // TILE * across, cuda.gridDim.x):
        row, column = tile // across * TILE, tile % across * TILE
        for u in range(SUMS):
            for v in range(SUMS):
                sums[u, v] = a.dtype.type(0)
        for start in range(0, d, THREADS):
            for u in range(SUMS):
                i, j, c = row + r + u * THREADS, column + r + u * THREADS, start + s
                tile_a[(r + u * THREADS) * PITCH + s] = a[i, c] if i < n and c < d else a.dtype.type(0)
                tile_b[(r + u * THREADS) * PITCH + s] = b[j, c] if j < h and c < d else a.dtype.type(0)
            cuda.syncthreads()
            for c in range(THREADS):
                for u in range(SUMS):
                    for v in range(SUMS):
                        sums[u, v] += tile_a[(r + u * THREADS) * PITCH + c] * tile_b[(s + v * THREADS) * PITCH + c]
            cuda.syncthreads()
        for u in range(SUMS):
            for v in range(SUMS):
                i, j = row + r + u * THREADS, column + s + v * THREADS
                if i < n and j < h:
                    out[i, j] = sums[u, v]
