"""CUDA kernels that select the largest entries of rows by keys; ties go to the lower rank.

A block owns a row. As on the CPU, the k-th largest key is built from the highest bit down: a bit is set if at least k
keys are no smaller with it. Nothing is sorted, and no count is atomic.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import cuda

from compressae_ref.backends.cuda.codes import codes_of
from compressae_ref.backends.cuda.launch import F2, I2, L2, U2, L, elements, kernel, kernel_with
from compressae_ref.backends.cuda.memory import empty, like, place, rows
from compressae_ref.backends.cuda.rules import piece
from compressae_ref.backends.cuda.sums import block_sum, room_bytes, sum_before, thread_range
from compressae_ref.backends.rules import magnitude, ranks_below
from compressae_ref.codes import Codes


def split_codes(codes: Codes, k: int) -> tuple[Codes, Codes]:
    indices, values = rows(codes.indices), rows(codes.values)
    kept, rest, _ = largest(magnitudes(values), k, positions(codes.k))
    parts = [taken(indices, values, chosen, *empty_codes(chosen.shape, values.dtype)) for chosen in (kept, rest)]
    first, second = (
        codes_of(like(codes.values, part[0]), like(codes.values, part[1]), codes.n_latents, codes.model)
        for part in parts
    )
    return first, second


def empty_codes(shape: tuple[int, ...], dtype: Any) -> tuple[Any, Any]:
    """Return uninitialized indices and values (n, k) on the device."""
    return empty(shape, np.int32), empty(shape, dtype)


def magnitudes(values: Any, keys: Any = None) -> Any:
    """Return keys that order like |value| for an array (n, m) on the device, in ``keys`` or a new array."""
    keys = empty(values.shape, unsigned(values.dtype)) if keys is None else keys
    _magnitudes(elements(values.size), values.view(keys.dtype), keys)
    return keys


def unsigned(dtype: Any) -> Any:
    """Return the unsigned integer dtype as wide as ``dtype``."""
    return np.dtype(f"u{np.dtype(dtype).itemsize}")


def positions(m: int) -> Any:
    """Return 0, 1, ..., m − 1 as ranks (1, m): ties go to the lower index."""
    return place(np.arange(m, dtype=np.int64).reshape(1, m))


def largest(keys: Any, k: int, ranks: Any, rest: bool = True, max_rank: int | None = None) -> tuple[Any, Any, Any]:
    """Select the k largest of each row of ``keys`` (n, m).

    Row i has the ranks ``ranks[i % len(ranks)]``, which are all different and at most ``max_rank``.

    Returns
    -------
    Ascending positions of the k largest (n, k) and of the others (n, m − k), and the k-th largest keys (n, 1)
    """
    n, m = keys.shape
    kept, others = empty((n, k), np.int32), empty((n, m - k if rest else 0), np.int32)
    kth = empty((n, 1), keys.dtype)
    bits = (m - 1 if max_rank is None else max_rank).bit_length()
    if k:
        _largest(n, keys, ranks, bits, kept, others, kth)
    else:
        _all(elements(n * m), others)
    return kept, others, kth


def taken(indices: Any, values: Any, chosen: Any, out_indices: Any, out_values: Any) -> tuple[Any, Any]:
    """Copy indices and values at the ``chosen`` positions (n, k) of each row to ``out_indices`` and ``out_values``."""
    _taken(elements(chosen.size), indices, values, chosen, out_indices, out_values)
    return out_indices, out_values


@kernel
def _magnitudes(bits: U2, keys: U2) -> None:
    sign = bits.dtype.type(1) << bits.dtype.type(8 * bits.itemsize - 1)
    for number in range(cuda.grid(1), bits.size, cuda.gridsize(1)):
        i, c = number // bits.shape[1], number % bits.shape[1]
        keys[i, c] = magnitude(bits[i, c], sign)


@kernel
def _all(numbers: I2) -> None:
    for number in range(cuda.grid(1), numbers.size, cuda.gridsize(1)):
        i, t = number // numbers.shape[1], number % numbers.shape[1]
        numbers[i, t] = t


@kernel
def _taken(indices: I2, values: F2, chosen: I2, out_indices: I2, out_values: F2) -> None:
    for number in range(cuda.grid(1), chosen.size, cuda.gridsize(1)):
        i, t = number // chosen.shape[1], number % chosen.shape[1]
        out_indices[i, t] = indices[i, chosen[i, t]]
        out_values[i, t] = values[i, chosen[i, t]]


@kernel_with(room_bytes)
def _largest(keys: U2, ranks: L2, bits: L, kept: I2, others: I2, kth: U2) -> None:
    room = cuda.shared.array(0, ranks.dtype)  # int64
    k = kept.shape[1]
    start, stop = thread_range(keys.shape[1])
    for row in range(cuda.blockIdx.x, keys.shape[0], cuda.gridDim.x):
        rank_row = row % ranks.shape[0]
        key = _kth_key(keys, row, k, room)
        rank = _kth_rank(keys, row, key, ranks, rank_row, k, bits, room)
        count = 0
        for i in range(start, stop):
            count += not ranks_below(keys[row, i], ranks[rank_row, i], key, rank)
        to = sum_before(count, room)
        for i in range(start, stop):
            if not ranks_below(keys[row, i], ranks[rank_row, i], key, rank):
                kept[row, to] = i
                to += 1
            elif others.shape[1] > 0:
                others[row, i - to] = i
        if cuda.threadIdx.x == 0:
            kth[row, 0] = key


@piece
def _kth_key(keys: Any, row: Any, k: Any, room: Any) -> Any:
    """Return the k-th largest key of a row."""
    one, key = keys.dtype.type(1), keys.dtype.type(0)
    for step in range(8 * keys.itemsize):
        trial = key | (one << keys.dtype.type(8 * keys.itemsize - 1 - step))
        count = 0
        for i in range(cuda.threadIdx.x, keys.shape[1], cuda.blockDim.x):
            count += keys[row, i] >= trial
        if block_sum(count, room) >= k:
            key = trial
    return key


@piece
def _kth_rank(keys: Any, row: Any, key: Any, ranks: Any, rank_row: Any, k: Any, bits: Any, room: Any) -> Any:
    """Return the highest rank that is kept among keys equal to the k-th largest; the maximum if all are kept."""
    above, tied = 0, 0
    for i in range(cuda.threadIdx.x, keys.shape[1], cuda.blockDim.x):
        above += keys[row, i] > key
        tied += keys[row, i] == key
    free = k - block_sum(above, room)
    if block_sum(tied, room) == free:
        return (1 << bits) - 1
    rank = 0
    for step in range(bits):
        trial = rank | (1 << (bits - 1 - step))
        count = 0
        for i in range(cuda.threadIdx.x, keys.shape[1], cuda.blockDim.x):
            count += (keys[row, i] == key) & (ranks[rank_row, i] < trial)
        if block_sum(count, room) < free:
            rank = trial
    return rank
