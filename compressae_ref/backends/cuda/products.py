"""CUDA kernels for decoding and the backward products of `compressae_ref.reference`.

One thread owns each number of a result and adds its terms in the specified order. The gradients of the weights need,
for each latent, the list of the rows that store it, in row order. The lists are built without atomics: each block
counts a chunk of rows, one row after another, and within a row no two threads meet the same latent.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numba import cuda

from compressae_ref.arrays import Floats
from compressae_ref.arrays import to_host as fetch
from compressae_ref.backends.cuda.launch import F2, I1, I2, L1, L, elements, kernel, kernel_with
from compressae_ref.backends.cuda.memory import by_blocks, changed, changed_columns, empty, like, place, rows
from compressae_ref.backends.cuda.rules import SIMULATED
from compressae_ref.backends.cuda.sums import chosen_dots, room_bytes, sum_before, thread_range
from compressae_ref.backends.rules import mul_rounded
from compressae_ref.codes import Codes

ROWS_PER_CHUNK = 2 if SIMULATED else 32
"""Rows that a block processes one after another when it builds lists."""


def decode(codes: Codes, W_dec: Floats) -> Any:
    W = rows(W_dec)
    return by_blocks([codes.indices, codes.values], lambda indices, values: _decoded(indices, values, W))


def decode_nested(codes_k: Codes, codes_rest: Codes, W_dec: Floats) -> tuple[Any, Any]:
    W = rows(W_dec)
    x_hat_k = _decoded(codes_k.indices, codes_k.values, W)
    x_hat_aux = _decoded(codes_rest.indices, codes_rest.values, W, x_hat_k)
    return like(codes_k.values, x_hat_k), like(codes_k.values, x_hat_aux)


def _decoded(indices: Any, values: Any, W_dec: Any, base: Any = None) -> Any:
    indices, values = rows(indices), rows(values, W_dec.dtype)
    x_hat = empty((len(values), W_dec.shape[1]), values.dtype)
    base = W_dec[:0] if base is None else base
    _decode(elements(x_hat.size), indices, values, W_dec, base, x_hat)
    return x_hat


@kernel
def _decode(indices: I2, values: F2, W_dec: F2, base: F2, x_hat: F2) -> None:
    for number in range(cuda.grid(1), x_hat.size, cuda.gridsize(1)):
        i, c = number // x_hat.shape[1], number % x_hat.shape[1]
        total = values.dtype.type(0)
        for t in range(indices.shape[1]):
            total = total + mul_rounded(values[i, t], W_dec[indices[i, t], c])
        x_hat[i, c] = base[i, c] + total if base.shape[0] > 0 else total


def decode_backward_values(grad_x_hat: Floats, codes: Codes, W_dec: Floats) -> Any:
    W = rows(W_dec)

    def block_dots(grad: Any, indices: Any) -> Any:
        return chosen_dots(rows(grad, W.dtype), W, rows(indices))

    return by_blocks([grad_x_hat, codes.indices], block_dots)


# -- gradients of the weights -----------------------------------------------------------------------------------------


def weights_backward(
    parts: Sequence[tuple[Codes, Floats]],
    grad_pre: Sequence[Codes],
    x_unit: Floats,
    grad_W_enc: Floats,
    grad_b_enc: Floats,
    grad_W_dec: Floats,
    add: bool,
) -> None:
    """Compute the gradients of all weights (E7'', E4')."""
    x = rows(x_unit)
    ones = place(np.ones((len(x), 1), x.dtype))
    by_latent = _entries_by_latent([codes for codes, _ in parts], len(grad_W_dec))
    with changed(grad_W_dec) as (out,):
        _add_rows(by_latent, [(codes, rows(y)) for codes, y in parts], out, add)
    with changed_columns(grad_W_enc) as out:
        _add_rows(by_latent, [(codes, x) for codes in grad_pre], out, add)
    with changed(grad_b_enc) as (out,):
        _add_rows(by_latent, [(codes, ones) for codes in grad_pre], out.reshape(len(out), 1), add)


def count_latents(codes: Codes) -> Any:
    """Return the number of rows that store each latent (h,), in host memory."""
    return fetch(_counted(rows(codes.indices), codes.n_latents)[1]).astype(np.int64)


def _counted(indices: Any, h: int) -> tuple[Any, Any]:
    """Return how many rows before each chunk store each latent (chunks, h), and how many in total (h,)."""
    chunks = -(-len(indices) // ROWS_PER_CHUNK)
    before, totals = empty((chunks, h), np.int32), empty((h,), np.int32)
    _count(chunks, indices, before)
    _add_up(elements(h), before, totals)
    return before, totals


def _entries_by_latent(parts: Sequence[Codes], h: int) -> tuple[Any, Any]:
    """Return the entries of each latent: starts (h + 1,), and rows and positions in the code (2, entries)."""
    indices = _side_by_side([rows(codes.indices) for codes in parts])
    before, totals = _counted(indices, h)
    starts, entries = empty((h + 1,), np.int64), empty((2, indices.size), np.int32)
    _begin(1, totals, starts)
    _list(len(before), indices, before, starts, entries)
    return starts, entries


def _side_by_side(arrays: Sequence[Any]) -> Any:
    """Return the indices (n, k + …) of several codes of the same rows, side by side."""
    if len(arrays) == 1:
        return arrays[0]
    joined = empty((len(arrays[0]), sum(array.shape[1] for array in arrays)), np.int32)
    column = 0
    for array in arrays:
        _put(elements(array.size), array, column, joined)
        column += array.shape[1]
    return joined


def _add_rows(by_latent: tuple[Any, Any], parts: Sequence[tuple[Codes, Any]], out: Any, add: bool) -> None:
    """Set out[j] = Σᵢ s[i, j] · y[i] in row order (E8), for one or two pairs (codes, array)."""
    (codes, y), (rest, y_rest) = parts[0], parts[-1]
    values, others = rows(codes.values, out.dtype), rows(rest.values, out.dtype)
    _add(elements(out.size), *by_latent, values, y, others, y_rest, int(add), out)


@kernel
def _put(part: I2, column: L, joined: I2) -> None:
    for number in range(cuda.grid(1), part.size, cuda.gridsize(1)):
        i, t = number // part.shape[1], number % part.shape[1]
        joined[i, column + t] = part[i, t]


@kernel
def _count(indices: I2, counts: I2) -> None:
    for chunk in range(cuda.blockIdx.x, counts.shape[0], cuda.gridDim.x):
        for j in range(cuda.threadIdx.x, counts.shape[1], cuda.blockDim.x):
            counts[chunk, j] = 0
        cuda.syncthreads()
        for row in range(chunk * ROWS_PER_CHUNK, min(chunk * ROWS_PER_CHUNK + ROWS_PER_CHUNK, indices.shape[0])):
            for t in range(cuda.threadIdx.x, indices.shape[1], cuda.blockDim.x):
                counts[chunk, indices[row, t]] += 1
            cuda.syncthreads()


@kernel
def _add_up(counts: I2, totals: I1) -> None:
    for j in range(cuda.grid(1), counts.shape[1], cuda.gridsize(1)):
        total = 0
        for chunk in range(counts.shape[0]):
            count = counts[chunk, j]
            counts[chunk, j] = total
            total += count
        totals[j] = total


@kernel_with(room_bytes)
def _begin(totals: I1, starts: L1) -> None:
    room = cuda.shared.array(0, starts.dtype)  # int64
    start, stop = thread_range(totals.shape[0])
    count = 0
    for j in range(start, stop):
        count += totals[j]
    offset = sum_before(count, room)
    for j in range(start, stop):
        starts[j] = offset
        offset += totals[j]
    if stop == totals.shape[0]:
        starts[stop] = offset


@kernel
def _list(indices: I2, before: I2, starts: L1, entries: I2) -> None:
    for chunk in range(cuda.blockIdx.x, before.shape[0], cuda.gridDim.x):
        for row in range(chunk * ROWS_PER_CHUNK, min(chunk * ROWS_PER_CHUNK + ROWS_PER_CHUNK, indices.shape[0])):
            for t in range(cuda.threadIdx.x, indices.shape[1], cuda.blockDim.x):
                j = indices[row, t]
                at = starts[j] + before[chunk, j]
                entries[0, at], entries[1, at] = row, t
                before[chunk, j] += 1
            cuda.syncthreads()


@kernel
def _add(starts: L1, entries: I2, values: F2, y: F2, others: F2, y_rest: F2, add: L, out: F2) -> None:
    k = values.shape[1]
    for number in range(cuda.grid(1), out.size, cuda.gridsize(1)):
        j, c = number // out.shape[1], number % out.shape[1]
        total = out[j, c] if add else out.dtype.type(0)
        for e in range(starts[j], starts[j + 1]):
            row, t = entries[0, e], entries[1, e]
            if t < k:
                total = total + mul_rounded(values[row, t], y[row, c])
            else:
                total = total + mul_rounded(others[row, t - k], y_rest[row, c])
        out[j, c] = total
