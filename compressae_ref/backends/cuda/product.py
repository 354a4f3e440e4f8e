"""The dense product of all rows with all latents: cuBLAS through CuPy if it is installed, else our own kernel.

No value of the product is stored: it only excludes latents in `encode`, so its summation order is free. CuPy can be set
to TF32, whose errors exceed the bound that `encode` assumes; our own kernel is used then.
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
"""Threads of a block in each direction."""

SUMS = 2 if SIMULATED else 4
"""Sums of a thread in each direction, held in registers."""

PITCH = THREADS + 1
"""Distance of rows in shared memory: one more than their length, so that they start in different banks."""

TILE = THREADS * SUMS
"""Rows and columns of the tile of the product that a block computes."""

INEXACT = ("CUPY_TF32", "CUBLAS_EMULATE_SINGLE_PRECISION", "CUBLAS_EMULATE_DOUBLE_PRECISION")
"""Environment variables that make cuBLAS compute with lower precision."""


def dense_product(a: Any, b: Any) -> Any:
    """Return a · bᵀ (n, h) of arrays (n, d) and (h, d) on the device, in any summation order."""
    out = empty((len(a), len(b)), a.dtype)
    cupy = _cupy()
    if cupy is None:
        _product(-(-len(a) // TILE) * -(-len(b) // TILE), a, b, out)
    else:
        cupy.matmul(cupy.asarray(a), cupy.asarray(b).T, out=cupy.asarray(out))
    return out


@cache
def _cupy() -> Any:
    """Return CuPy if it is installed, works and is set to full precision, else None."""
    if any(os.environ.get(name, "0") not in ("", "0") for name in INEXACT):
        return None
    try:
        import cupy

        cupy.matmul(cupy.eye(2), cupy.eye(2))
    except Exception:  # not installed, or built for another version of CUDA
        return None
    return cupy


def tile_bytes(a: Any, threads: int) -> int:
    """Return the shared memory for a tile of each factor."""
    return int(2 * TILE * PITCH * a.dtype.itemsize)


@kernel_with(tile_bytes, THREADS * THREADS)
def _product(a: F2, b: F2, out: F2) -> None:
    """Multiply through tiles in shared memory; each thread adds up SUMS × SUMS sums, THREADS apart."""
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
